# %% [markdown]
# # Which token reads which
#
# **Through which tokens does the answer travel?** The readings that cannot be spared in
# {glue:text}`version`, from the lowest to the highest: {glue:text}`needed_readings`. In brackets,
# the depth as a share of the layers at which half of the loss is won back.
#
# The method is *attention knock-out* {cite:p}`geva2023dissecting`: from a layer up, no head may
# read one given token from another. If accuracy holds, what was to be read had arrived before.
# *Objectives:* read a knock-out curve; tell where heads look from what that is worth. *Time:* 20
# minutes. *Before it:* {doc}`03_circuit`.

# %% tags=["parameters"]
family: str = "smollm2"  # a family in models/
version: str = ""  # the version that is looked into; empty: the reference of the family
format: str = "alternative"  # text format {alternative, standard}
n_scenes: int = 12  # scenes of seven boxes; every box of each is asked for [2, 1000]
n_pairs: int = 21  # clean and corrupt pairs behind the circuit [7, 700]
structure_role: str = ""  # empty: as in its file {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.search import CircuitSettings, find_circuit
from entrack.display.cells import glue, judge, listed, show, table
from entrack.figures import flow as figures
from entrack.patching.attention_knockout import EDGES, knock_out
from entrack.patching.attention_mass import attention_mass
from entrack.sites import GROUPS
from entrack.stats.claims import Claim
from entrack.stats.rules import Nothing, Order, Sign
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import encode
from entrack.versions import families
from entrack.versions.loading import load

# %%
version = version or families.reference(family)
model = load(f"{family}/{version}")
drawn = scenes(n_scenes, split="evaluation", seed=seed)
prompts = encode(model.tokenizer, all_queries(drawn, format=format))
glue("version", model.name)
glue("n_prompts", len(prompts))

# %% [markdown]
# ```{admonition} Predict before you read on
# :class: tip
# In "..., the apple is in Box F, ... . Box F contains the", which reading must be open in the
# *last* layers for the answer "apple", and which only in early ones? Order these: the last token
# reads *apple*; the last token reads the second *F*; the second *F* reads the first.
# ```
#
# ## Blocking one reading at a time
#
# Each panel blocks one reading in all layers from some depth up. At the left edge it is blocked
# everywhere, to the right ever less. Where the curve climbs, the reading takes place: what is
# blocked further up no longer matters. The loss is clear for {glue:text}`n_needed` of
# {glue:text}`n_readings` readings.

# %%
# figure: fig-knockout
# caption: Accuracy with one reading blocked in all layers from a depth up, as a share of the
#   unblocked accuracy. Band: 95 % interval over scenes. Dashed: the paper's Llama-7B, 500 prompts,
#   where it has the reading. Random tokens: here one without a role, in the paper any.
found = knock_out(model, prompts, edges=EDGES, seed=seed)
show(figures.knockout_curves(found, version=version))

# %% [markdown]
# What is each reading worth, and where does it happen? The table gives the change in accuracy with
# the reading blocked in all layers, beside an unblocked accuracy of {glue:text}`unblocked:.2f` over
# {glue:text}`n_prompts` prompts. The half-way depth is the share of layers that must stay open to
# win back half of the loss. Intervals are over scenes.

# %% tags=["hide-input"]
needed = found.needed()
told = (f"{figures.edge_words(edge)} ({depth:.2f})" for edge, depth in needed)
glue("needed_readings", listed(told, none="none of those that were blocked"))
glue("n_needed", len(needed))
glue("n_readings", len(EDGES))
glue("unblocked", found.plain.mean())
table(
    figures.knockout_rows(found),
    ["blocked reading", "change", "half-way depth", "Llama-7B: change", "Llama-7B: half-way depth"],
    caption="What each reading is worth, and where it happens",
)

# %% [markdown]
# *Caveat.* A loss shows that a reading is needed, not that it is enough; without a loss it may be
# spared because what is blocked goes around by a third token. The last panel is such a detour.
# Right after the earlier label stands a comma, or a full stop, and a causal model can collect there
# what the segment said.
#
# ## Where the heads of each group look
#
# Each group gives the token that its role names {glue:text}`least_times` to
# {glue:text}`most_times` times the attention that the mean of all heads gives it there. Looking is
# not telling apart: value fetchers give the right object {glue:text}`on_correct_object`, and the
# other objects together {glue:text}`on_other_objects`. Means over all {glue:text}`n_prompts`
# prompts.

# %%
settings = CircuitSettings(
    format=format,
    n_pairs=n_pairs,
    seed=seed,
    discovery=DiscoveryConfig(structure_role=structure_role or families.structure_role(family)),
)
circuit = find_circuit(model, settings).circuit
roles = dict.fromkeys(circuit.role(name) for name in GROUPS)
masses = {role: attention_mass(model, prompts, role=role) for role in roles}
kept = {name: heads for name, heads in circuit.groups.items() if heads}
groups = {name: masses[circuit.role(name)].of(heads) for name, heads in kept.items()}
average = {name: masses[circuit.role(name)].everywhere for name in kept}

# %%
# figure: fig-attention-mass
# caption: Share of attention that the circuit's heads give to each kind of token, from the token
#   where the group acts; mean over heads and prompts, with 95 % intervals over scenes. Grey ticks:
#   mean of all heads at that token. Each group's bars sum to one.
show(figures.attention_shares(groups, average=average))

# %% tags=["hide-input"]
rows = figures.attention_rows(groups, average=average, circuit=circuit)
times = [row[-1] for row in rows]
glue("least_times", f"{min(times):.1f}")
glue("most_times", f"{max(times):.1f}")
fetchers = groups.get("value_fetcher", {})
for kind in ("correct_object", "other_objects"):
    glue(f"on_{kind}", f"{fetchers[kind]:.2f}" if fetchers else "not measured")
table(
    rows,
    ["group", "heads", "acts at", "should look at", "attention", "of all heads", "times as much"],
    caption="Does each group look where its role says? Mean share of attention, over heads",
)

# %% [markdown]
# ## What the paper claims, what we find, verdict
#
# The paper reads its curves like this: the query label reads the earlier label in early layers, the
# last token reads the query label in the middle and the right object late, and it never reads the
# earlier label itself. The rules judge the sign of a loss and not its size. In Llama-7B the query
# label's reading of the earlier label is worth {glue:text}`recall_paper`, here
# {glue:text}`recall_here`; its reading of the token after it, which the paper did not block, is
# worth {glue:text}`after_here`. The order is judged by the steps between the half-way depths, each
# with its interval over scenes.

# %% tags=["hide-input"]
fetch, pass_on, recall, direct, *_, after = EDGES
change = {edge: found.loss(edge, found.layers[0]) for edge in EDGES}
paper = {edge: f"{figures.published_change(edge):+.2f}" for edge in EDGES[:-1]}
glue("recall_paper", paper[recall])
glue("recall_here", f"{change[recall]:+.2f}")
glue("after_here", f"{change[after]:+.2f}")
readings = [
    Claim(slug, text, change[edge], Sign(-1), paper=paper[edge], finding="ii")
    for slug, text, edge in (
        ("last_reads_object", "the last token must read the right object", fetch),
        ("last_reads_query_label", "the last token must read the query label", pass_on),
        ("query_label_reads_earlier_label", "the query label must read the earlier label", recall),
    )
]

# %% tags=["hide-input"]
skips = Claim(
    slug="last_skips_earlier_label",
    text="the last token does not read the earlier label",
    here=change[direct],
    rule=Nothing(),
    paper=paper[direct],
    finding="ii",
)

# %% tags=["hide-input"]
detour = Claim(
    slug="query_label_reads_after",
    text="the query label must read the token after the earlier label",
    here=change[after],
    rule=Sign(-1),
    ours=True,
    finding="ii",
)

# %% tags=["hide-input"]
ascending = (recall, pass_on, fetch)
depths = ", ".join(figures.depth_words(found.half_way(edge)) for edge in ascending)
theirs = ", ".join(figures.depth_words(figures.published_half_way(edge)) for edge in ascending)
order = Claim(
    slug="order_of_readings",
    text="these three happen in this order: earlier label, query label, right object",
    here=[found.step(recall, pass_on), found.step(pass_on, fetch)],
    rule=Order("half-way depths"),
    paper=theirs,
    finding="ii",
    given={"each of the three costs accuracy": None not in map(found.half_way, ascending)},
    note=f"from depths {depths}",
)
caption = "Finding (ii), first part: the way of the answer through the prompt"
judge(*readings, skips, order, detour, caption=caption)

# %% [markdown]
# ```{exercise} Two roads at once
# :label: ex-flow-detour
#
# Block *two* readings at once: the query label from the earlier label and from the token after it.
# Is the loss more than the sum of the two? `blocked_resid` in
# `entrack/patching/attention_knockout.py` hides one position; what has to change for two?
# ```
#
# ```{solution} ex-flow-detour
# :class: dropdown
#
# `goal` becomes Long[example goal], and `hidden[rows[:, None], 0, 0, goal] = True` hides all of
# them; nothing else changes. If either token could stand in for the other, each alone costs little
# and both together cost much: a sum that is more than its parts is the mark of a detour.
# ```

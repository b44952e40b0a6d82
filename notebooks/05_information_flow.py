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
n_scenes: int = 42  # scenes of seven boxes; every box of each is asked for [2, 1000]
n_pairs: int = 70  # clean and corrupt pairs behind the circuit [7, 700]
structure_role: str = ""  # empty: as in its file {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.search import CircuitSettings, find_circuit
from entrack.display.cells import glue, judge, listed, show
from entrack.figures import flow as figures
from entrack.paper import findings
from entrack.paper.claims import claim
from entrack.patching.attention_knockout import BOTH, EDGES, knock_out
from entrack.patching.attention_mass import attention_mass
from entrack.sites import GROUPS
from entrack.tables import flow as tables
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import encode
from entrack.versions import families
from entrack.versions.loading import load

# %%
version = version or families.reference(family)
model = load(f"{family}/{version}")
drawn = scenes(n_scenes, split="evaluation", seed=seed)
prompts = encode(model.tokenizer, all_queries(drawn, format=format))
glue(version=model.name, n_prompts=len(prompts))

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
glue(
    needed_readings=listed(told, none="none of those that were blocked"),
    n_needed=len(needed),
    n_readings=sum(to != BOTH for _, to in EDGES),
    unblocked=found.plain.mean(),
)
show(tables.readings(found))

# %% [markdown]
# *Caveat.* A loss shows that a reading is needed, not that it is enough; without a loss it may be
# spared because what is blocked goes around by a third token. Right after the earlier label stands
# a comma, or a full stop, and a causal model can collect there what the segment said. So the last
# panel blocks both tokens at once. Its change is {glue:text}`beyond_sum` less the sum of the
# changes with either blocked: where this is below 0, each stands in for the other to some extent.
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
looked = tables.attention(groups, average=average, circuit=circuit)
times = [row[-1] for row in looked.rows]
fetchers = groups.get("value_fetcher", {})
on = {
    f"on_{kind}": f"{fetchers[kind]:.2f}" if fetchers else "not measured"
    for kind in ("correct_object", "other_objects")
}
glue(least_times=f"{min(times):.1f}", most_times=f"{max(times):.1f}", **on)
show(looked)

# %% [markdown]
# ## What the paper claims, what we find, verdict
#
# The paper reads its curves like this: the query label reads the earlier label in early layers, the
# last token reads the query label in the middle and the right object late, and it never reads the
# earlier label itself. The rules judge the sign of a loss and not its size. In Llama-7B the query
# label's reading of the earlier label is worth {glue:text}`recall_paper`, here
# {glue:text}`recall_here`; its reading of the token after it, which the paper did not block, is
# worth {glue:text}`after_here`, and both together are worth {glue:text}`both_here`. The order is
# judged by the steps between the half-way depths, each with its interval over scenes.

# %% tags=["hide-input"]
fetch, pass_on, recall, direct, *_, after, both = EDGES
change = {edge: found.loss(edge, found.layers[0]) for edge in EDGES}
depths = [found.half_way(edge) for edge in (recall, pass_on, fetch)]
steps = [found.step(recall, pass_on), found.step(pass_on, fetch)]
glue(
    recall_paper=f"{findings.knockout_change(recall):+.2f}",
    recall_here=f"{change[recall]:+.2f}",
    after_here=f"{change[after]:+.2f}",
    both_here=f"{change[both]:+.2f}",
    beyond_sum=f"{found.beyond_sum(both, recall, after):+.2f}",
)

# %% tags=["hide-input"]
told = ", ".join(map(tables.depth_words, depths))
judge(
    claim("last_reads_object", change[fetch]),
    claim("last_reads_query_label", change[pass_on]),
    claim("query_label_reads_earlier_label", change[recall]),
    claim("last_skips_earlier_label", change[direct]),
    claim("order_of_readings", steps, given=None not in depths, depths=told),
    claim("query_label_reads_after", change[after]),
    caption="Finding (ii), first part: the way of the answer through the prompt",
)

# %% [markdown]
# ```{exercise} Two roads at once
# :label: ex-flow-detour
#
# The query label reads the earlier label and the token after it. Suppose that the two bring the
# same thing, and either is enough. What do you expect of the change with both blocked, beside the
# changes with either blocked? And what if each brings something of its own?
# ```
#
# ```{solution} ex-flow-detour
# :class: dropdown
#
# If either is enough, each alone costs little and both together cost much: more than the sum of the
# two. If each brings something of its own that is needed, either alone already breaks the answer,
# and both together cost less than the sum, because an answer cannot be lost twice. Here the
# difference is {glue:text}`beyond_sum`.
# ```

# %% [markdown]
# # Which token reads which
#
# **Through which tokens does the answer travel?** {glue:text}`flow_sentence`
#
# The method is *attention knock-out* {cite:p}`geva2023dissecting`: from a layer up, no head may
# read one given token from another. If accuracy holds, what was to be read had arrived before.
# *Objectives:* read a knock-out curve; tell where heads look from what that is worth. *Time:* 20
# minutes. *Before it:* {doc}`03_circuit`.

# %% tags=["parameters"]
family: str = "smollm2"  # a family in models/
version: str = "base"  # the version that is looked into
format: str = "alternative"  # text format {alternative, standard}
n_scenes: int = 12  # scenes of seven boxes; every box of each is asked for [2, 1000]
n_pairs: int = 21  # clean and corrupt pairs behind the circuit [7, 700]
structure_role: str = "after_prev_query_label"  # where structure readers act {after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.search import CircuitSettings, find_circuit
from entrack.display.cells import glue, show, table
from entrack.figures.flow import attention_shares, edge_words, knockout_curves
from entrack.display.style import ROLE_WORDS
from entrack.model.loading import load
from entrack.model.sites import GROUPS
from entrack.paper import published
from entrack.patching.attention_knockout import EDGES, knock_out
from entrack.patching.attention_mass import attention_mass
from entrack.stats.claims import of_ours, verdict
from entrack.task.boxes import all_queries, scenes
from entrack.task.prompts import encode

# %%
model = load(f"{family}/{version}")
prompts = encode(
    model.tokenizer, all_queries(scenes(n_scenes, split="evaluation", seed=seed), format=format)
)
glue("version", model.name)
glue("n_prompts", len(prompts))

# %% [markdown]
# ```{admonition} Predict before you read on
# :class: tip
# In "..., the apple is in Box F, ... . Box F contains the", which reading must be open in the *last* layers for the answer "apple", and
# which only in early ones? Order these: the last token reads *apple*; the last token reads the second *F*; the second *F* reads the first.
# ```
#
# ## Blocking one reading at a time
#
# Each panel blocks one reading in all layers from some depth up. At the left edge it is blocked
# everywhere, to the right ever less. Where the curve climbs, the reading takes place: what is
# blocked further up no longer matters. {glue:text}`halfway_sentence`

# %% mystnb={"figure": {"name": "fig-knockout", "caption": "Accuracy with one reading blocked in all layers from a depth up, as a share of the unblocked accuracy. Band: 95 % interval over scenes. Dashed: the paper's Llama-7B, 500 prompts, where it has the reading. Random tokens: here one without a role, in the paper any."}}
found = knock_out(model, prompts, edges=EDGES, seed=seed)
paper, llama = published.knockout(), published.table1().values["llama"].full
figure, alt = knockout_curves(
    found, version=version, paper=paper.values, paper_accuracy=llama, paper_title="Llama-7B (paper)"
)
show(figure, alt=alt)

# %% tags=["hide-input"]
lowest = {edge: found.loss(edge, found.layers[0]) for edge in EDGES}
half = {edge: found.half_way(edge) for edge in EDGES}


def paper_half(edge):
    """Depth at which half of what blocking everywhere costs is made up for in the paper's curve;
    None without a cost of 0.05.
    """
    curve = paper.values.get("_to_".join(edge))
    if curve is None or llama - curve[0] < 0.05:
        return None
    return next(i for i, y in enumerate(curve) if y >= (curve[0] + llama) / 2) / len(curve)


def depth_text(depth):
    return "no clear loss" if depth is None else f"{depth:.2f}"


table(
    [
        [
            edge_words(edge),
            f"{lowest[edge]:+.2f}",
            depth_text(half[edge]),
            f"{paper.values['_to_'.join(edge)][0] - llama:+.2f}"
            if "_to_".join(edge) in paper.values
            else "not in the paper",
            depth_text(paper_half(edge))
            if "_to_".join(edge) in paper.values
            else "not in the paper",
        ]
        for edge in EDGES
    ],
    [
        "blocked reading",
        "change in accuracy, all layers blocked",
        "half-way depth",
        "Llama-7B: change",
        "Llama-7B: half-way depth",
    ],
    caption=f"What each reading is worth and where it happens, over {len(prompts)} prompts with an unblocked accuracy of {found.plain.mean():.2f}; "
    "95 % intervals over scenes, of no width where no answer changed. Half-way depth: the share of layers that must stay open to win back half of the loss.",
)
ordered = sorted(
    (depth, edge) for edge, depth in half.items() if depth is not None and "random" not in edge
)
glue(
    "halfway_sentence",
    f"The loss is clear for {len(ordered)} of {len(EDGES)} readings."
    if ordered
    else "No reading costs accuracy clearly when it is blocked on these prompts.",
)
glue(
    "flow_sentence",
    f"In {model.name} the readings that cannot be spared happen in this order: "
    + "; then ".join(f"{edge_words(edge)} ({depth:.2f})" for depth, edge in ordered)
    + ". In brackets, the depth as a share of the layers at which half of the loss is won back."
    if ordered
    else f"In {model.name} no single reading that was blocked is indispensable on these prompts.",
)

# %% [markdown]
# *Caveat.* A loss shows that a reading is needed, not that it is enough; without a loss it may be
# spared because what is blocked goes around by a third token. The last panel is such a detour.
# Right after the earlier label stands a comma, or a full stop, and a causal model can collect there
# what the segment said.
#
# ## Where the heads of each group look
#
# {glue:text}`attention_sentence` Means over all {glue:text}`n_prompts` prompts.

# %% mystnb={"figure": {"name": "fig-attention-mass", "caption": "Share of attention that the circuit's heads give to each kind of token, from the token where the group acts; mean over heads and prompts, with 95 % intervals over scenes. Grey ticks: mean of all heads at that token. Each group's bars sum to one."}}
settings = CircuitSettings(
    format=format,
    n_pairs=n_pairs,
    seed=seed,
    discovery=DiscoveryConfig(structure_role=structure_role),
)
circuit = find_circuit(model, settings).circuit
masses = {
    role: attention_mass(model, prompts, role=role)
    for role in dict.fromkeys(circuit.role(name) for name in GROUPS)
}
groups = {
    name: masses[circuit.role(name)].of(heads) for name, heads in circuit.groups.items() if heads
}
average = {name: masses[circuit.role(name)].everywhere for name in groups}
figure, alt = attention_shares(groups, average=average)
show(figure, alt=alt)

# %% tags=["hide-input"]
# Detectors should look where the structure readers act, and these at their own segment.
expected = {
    "value_fetcher": "correct_object",
    "position_transmitter": "query_label",
    "position_detector": circuit.structure_role,
    "structure_reader": "correct_object"
    if circuit.structure_role == "prev_query_label"
    else "prev_query_label",
}
rows = []
for name, kinds in groups.items():
    wanted = expected[name]
    rows.append(
        [
            f"{GROUPS[name].letter} {GROUPS[name].title}",
            len(circuit.groups[name]),
            ROLE_WORDS[circuit.role(name)],
            ROLE_WORDS[wanted],
            f"{kinds[wanted]:.2f}",
            average[name][wanted],
            kinds[wanted].value / average[name][wanted],
        ]
    )
    glue(f"attention_{GROUPS[name].letter}", kinds[wanted].value)
table(
    rows,
    [
        "group",
        "heads",
        "acts at",
        "should look at",
        "share of attention",
        "of all heads there",
        "times as much",
    ],
    caption=f"Does each group look where its role says? Mean over heads and {len(prompts)} prompts, with 95 % intervals over scenes.",
)
glue(
    "attention_sentence",
    f"Each group gives the token that its role names {min(row[6] for row in rows):.1f} to {max(row[6] for row in rows):.1f} times the attention that the mean of all heads gives it there."
    + (
        f" Looking is not telling apart: value fetchers give the right object {groups['value_fetcher']['correct_object']:.2f} and the other objects together {groups['value_fetcher']['other_objects']:.2f}."
        if "value_fetcher" in groups
        else ""
    )
    if rows
    else "No head of the circuit was kept.",
)

# %% [markdown]
# ## What the paper claims, what we find, verdict
#
# The paper reads its curves like this: the query label reads the earlier label in early layers, the
# last token reads the query label in the middle and the right object late, and it never reads the
# earlier label itself. The rules judge the sign of a loss and not its size. In Llama-7B the query
# label's reading of the earlier label is worth {glue:text}`recall_paper`, here
# {glue:text}`recall_here`; its reading of the token after it, which the paper did not block, is
# worth {glue:text}`after_here`.

# %% tags=["hide-input"]
fetch, pass_on, recall, direct = EDGES[0], EDGES[1], EDGES[2], EDGES[3]
after = EDGES[6]
glue("recall_paper", f"{paper.values['query_label_to_prev_query_label'][0] - llama:+.2f}")
glue("recall_here", f"{lowest[recall]:+.2f}")
glue("after_here", f"{lowest[after]:+.2f}")
order_known = all(half[e] is not None for e in (recall, pass_on, fetch))
verdicts = {
    "last_reads_object": verdict(lowest[fetch], expected=-1),
    "last_reads_query_label": verdict(lowest[pass_on], expected=-1),
    "query_label_reads_earlier_label": verdict(lowest[recall], expected=-1),
    "last_skips_earlier_label": verdict(lowest[direct], expected=0),
    "order_of_readings": "undecided"
    if not order_known
    else "replicates"
    if half[recall] < half[pass_on] < half[fetch]
    else "does not replicate",
    "query_label_reads_after": of_ours(verdict(lowest[after], expected=-1)),
}
for slug, value in verdicts.items():
    glue(f"verdict_{slug}", value)
lose = "the interval of the change, all layers blocked, lies below 0"
depths = ", ".join(depth_text(half[e]) for e in (recall, pass_on, fetch))
table(
    [
        [
            "the last token must read the right object",
            f"{paper.values['last_to_correct_object'][0] - llama:+.2f}",
            f"{lowest[fetch]:+.2f}",
            verdicts["last_reads_object"],
            lose,
        ],
        [
            "the last token must read the query label",
            f"{paper.values['last_to_query_label'][0] - llama:+.2f}",
            f"{lowest[pass_on]:+.2f}",
            verdicts["last_reads_query_label"],
            lose,
        ],
        [
            "the query label must read the earlier label",
            f"{paper.values['query_label_to_prev_query_label'][0] - llama:+.2f}",
            f"{lowest[recall]:+.2f}",
            verdicts["query_label_reads_earlier_label"],
            lose,
        ],
        [
            "the last token does not read the earlier label",
            f"{paper.values['last_to_prev_query_label'][0] - llama:+.2f}",
            f"{lowest[direct]:+.2f}",
            verdicts["last_skips_earlier_label"],
            "the interval lies within 0.05 of 0",
        ],
        [
            "these three happen in this order: earlier label, query label, right object",
            ", ".join(depth_text(paper_half(e)) for e in (recall, pass_on, fetch)),
            depths,
            verdicts["order_of_readings"],
            "half-way depths ascend; undecided if one reading costs nothing",
        ],
        [
            "ours: the query label must read the token after the earlier label",
            "-",
            f"{lowest[after]:+.2f}",
            verdicts["query_label_reads_after"],
            lose,
        ],
    ],
    ["claim", "the paper", "here", "verdict", "rule"],
    caption="Finding (ii), first part: the way of the answer through the prompt.",
)

# %% [markdown]
# ```{exercise} Two roads at once
# :label: ex-flow-detour
#
# Block *two* readings at once: the query label from the earlier label and from the token after it. Is the loss more than the
# sum of the two? `blocked_resid` in `entrack/knockout.py` hides one position; what has to change for two?
# ```
#
# ```{solution} ex-flow-detour
# :class: dropdown
#
# `goal` becomes Long[example goal], and `hidden[rows[:, None], 0, 0, goal] = True` hides all of them; nothing else changes. If either token
# could stand in for the other, each alone costs little and both together cost much: a sum that is more than its parts is the mark
# of a detour.
# ```

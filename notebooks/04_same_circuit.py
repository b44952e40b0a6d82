# %% [markdown]
# # The same circuit in every version
#
# **Does fine-tuning build a new circuit, or use the one that was there?** We run the circuit found
# in {glue:text}`base_name` alone, every other head mean-ablated, in every version of the family.
# Its faithfulness is {glue:text}`faithfulness_list`. Of its {glue:text}`circuit_size` heads, the
# circuits searched in the versions themselves contain {glue:text}`shared_list`.
#
# This is the paper's finding (i) {cite:p}`prakash2024finetuning`, with four additions: every
# circuit pruned at the same threshold, random circuits drawn without replacement, completeness with
# a greedy search, and intervals throughout. *Objectives:* tell faithfulness from accuracy; judge an
# overlap against chance; read what a circuit leaves out. *Time:* 20 minutes. *Before it:*
# {doc}`03_circuit`.

# %% tags=["parameters"]
family: str = "smollm2"  # a family in models/
base: str = "base"  # the version whose circuit is run in all others
own: str = "code"  # further versions whose own circuit is searched, separated by spaces
n_pairs: int = 21  # clean and corrupt pairs for path patching in base [7, 700]
n_pairs_own: int = 14  # the same in the other versions [7, 700]
n_held_out: int = 140  # prompts for choosing the size [14, 2000]
n_prune: int = 84  # prompts for minimality, at most n_held_out [14, 2000]
n_means: int = 112  # prompts behind the ablating means [14, 2000]
n_evaluation: int = 119  # prompts on which circuits are scored [14, 5000]
n_complete: int = 42  # prompts for completeness, at most n_evaluation [14, 5000]
structure_role: str = "after_prev_query_label"  # where structure readers act {after_prev_query_label, prev_query_label}
n_random: int = 6  # random circuits per version [1, 1000]
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from dataclasses import replace

import numpy as np

from entrack.circuit.completeness import measure_completeness
from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.faithfulness import measure_faithfulness
from entrack.circuit.overlap import overlaps, rank_correlation
from entrack.circuit.search import CircuitSettings, ablation_means, find_circuit
from entrack.errors import ChapterError
from entrack.figures.circuit import completeness_scatter, cross_grid, minimality_bars
from entrack.display.cells import glue, show, table
from entrack.model.families import lineage, versions
from entrack.model.loading import load
from entrack.model.sites import GROUPS, Head
from entrack.paper import published
from entrack.stats.metrics import difference
from entrack.task.boxes import examples
from entrack.task.prompts import encode

# %%
settings = CircuitSettings(
    n_pairs=n_pairs,
    n_means=n_means,
    n_choose=n_held_out,
    n_prune=min(n_prune, n_held_out),
    seed=seed,
    discovery=DiscoveryConfig(structure_role=structure_role),
)
settings_own = replace(settings, n_pairs=n_pairs_own)
available = versions(family)
unknown = sorted(set(own.split()) - set(available))
if unknown:
    raise ChapterError(
        f"no version {', '.join(unknown)} in {family}; there are {', '.join(available)}. Change the parameter own."
    )
# What base stands on does not do the task: there is nothing to be faithful to.
models = {
    name: load(f"{family}/{name}") for name in available if name not in lineage(family, base)[:-1]
}
found = {base: find_circuit(models[base], settings)}
found |= {name: find_circuit(models[name], settings_own) for name in own.split()}
circuit = found[base].circuit
held_out = encode(models[base].tokenizer, examples(n_evaluation, split="evaluation", seed=seed))
glue("base_name", models[base].name)
glue("n_evaluation_used", len(held_out))

# %% [markdown]
# ## Faithfulness
#
# {glue:text}`rise_sentence`
#
# The circuit of {glue:text}`base_short` runs alone in each version, with that version's own means.
# Faithfulness is the accuracy of the circuit over the accuracy of the whole version, on the same
# {glue:text}`n_evaluation_used` prompts, not rounded before the division. The p-value is that of no
# difference between circuit and version (exact, paired).

# %%
circuits = [f.circuit for f in found.values()]
scores = {
    name: measure_faithfulness(
        model, held_out, circuits=circuits, means=ablation_means(model, settings), n_random=n_random
    )
    for name, model in models.items()
}
rows = []
for name, score in scores.items():
    gap = difference(score.hits[0], score.full)
    rows.append(
        [
            name,
            f"{score.full_accuracy():.2f}",
            f"{score.accuracy(0):.2f}",
            f"{score.random_accuracy():.2f}",
            f"{score.faithfulness(0):.2f}",
            f"{gap.p_value:.2g}",
        ]
    )
    glue(f"full_{name}", f"{score.full_accuracy():.2f}")
    glue(f"circuit_{name}", f"{score.accuracy(0):.2f}")
    glue(f"faithfulness_{name}", f"{score.faithfulness(0):.2f}")
glue(
    "faithfulness_list",
    ", ".join(f"{s.faithfulness(0).value:.2f} in {n}" for n, s in scores.items()),
)
glue("circuit_size", circuit.size)
glue("base_short", base)
rises = {n: difference(s.hits[0], scores[base].hits[0]) for n, s in scores.items() if n != base}
glue(
    "rise_sentence",
    f"Two numbers must not be confused. Faithfulness falls where the whole version improves more than the circuit does; the circuit's own accuracy, beside that in {base}, changes by "
    + ", ".join(f"{gain:+.2f} ({n})" for n, gain in rises.items())
    + "."
    if rises
    else "There is no fine-tuned version to compare.",
)
table(
    rows,
    [
        "version",
        "whole model",
        f"circuit of {base}",
        f"mean of {n_random} random circuits",
        "faithfulness",
        "p",
    ],
    caption=f"The circuit of {base} ({circuit.size} heads) alone in every version: accuracy on {len(held_out)} prompts with 95 % intervals, as in the paper's Table 1.",
)

# %% tags=["hide-input"]
titles = {name: entry["title"] for name, entry in published.models().values.items()}
rows = [
    [titles[name], row.full, row.circuit, row.random, row.faithfulness]
    for name, row in published.table1().values.items()
]
table(
    rows,
    ["model", "whole model", "Llama circuit (72)", "random circuit", "faithfulness"],
    caption="The paper's Table 1: the Llama circuit alone in the 7B models, accuracy on 500 prompts, no intervals.",
)

# %% [markdown]
# Chance is one in seven; a model or circuit that says something else than an object of the scene
# scores below it.
#
# ## Every circuit in every version
#
# Fine-tuned versions may use heads that the circuit of {glue:text}`base_short` lacks, so we search
# their own. {glue:text}`own_sentence`

# %% mystnb={"figure": {"name": "fig-cross", "caption": "Accuracy of every circuit alone (rows) in every version (columns), same prompts; in brackets the number of heads. Last row: the whole version."}}
names = list(scores)
grid = np.array(
    [[scores[v].hits[i].mean() for v in names] for i in range(len(circuits))]
    + [[scores[v].full.mean() for v in names]]
)
owned = {
    n: (
        scores[n].accuracy(list(found).index(n)),
        difference(scores[n].hits[list(found).index(n)], scores[n].hits[0]),
    )
    for n in own.split()
}
glue(
    "own_sentence",
    " ".join(
        f"The circuit searched in {n} gives {own_accuracy:.2f} there, {gap:+.2f} beside the circuit of {base}"
        + (
            ": the search did not find what makes this version better, and its overlap says little."
            if gap.high < 0
            else "."
        )
        for n, (own_accuracy, gap) in owned.items()
    )
    or "None was searched here.",
)
show(
    cross_grid(
        grid,
        rows=[f"{n} ({f.circuit.size})" for n, f in found.items()] + ["whole version"],
        columns=names,
        label="circuit (heads)",
    ),
    alt="Heat map of accuracies: circuits of base and of fine-tuned versions down, versions they are run in across, and the whole versions in the last row.",
)

# %% tags=["hide-input"]
cross = published.cross_evaluation().values
table(
    [
        [
            titles.get(c, "Llama-7B, enlarged to 175 heads"),
            *[
                cross[c][m][0] if m in cross[c] else "not released"
                for m in ("llama", "vicuna", "goat", "float")
            ],
        ]
        for c in cross
    ],
    ["circuit of", "in Llama-7B", "in Vicuna-7B", "in Goat-7B", "in FLoat-7B"],
    caption="The paper's circuits alone in the 7B models: accuracy on 500 prompts, as far as released.",
)

# %% [markdown]
# ## Overlap
#
# Two circuits share some heads by chance. The hypergeometric p-value says how likely at least this
# overlap would be if the second group were drawn at random; a group with no head kept cannot
# overlap. The rank correlation compares the path-patching scores of all heads, kept or not.

# %%
rows, shared = [], {}
for name in own.split():
    counts = overlaps(
        circuit, found[name].circuit, n_heads=models[base].n_layers * models[base].n_heads
    )
    shared[name] = (sum(o.shared for o in counts), found[name].circuit.size)
    for o in counts:
        correlation = rank_correlation(found[base].discovery, found[name].discovery, group=o.group)
        rows.append(
            [
                f"{name}: {GROUPS[o.group].letter} {GROUPS[o.group].title}",
                o.first,
                o.second,
                o.shared,
                round(o.by_chance, 2),
                f"{o.p_value:.1g}",
                correlation,
            ]
        )
    glue(f"size_{name}", found[name].circuit.size)
    glue(f"shared_{name}", shared[name][0])
glue(
    "shared_list",
    ", ".join(f"{s} ({v}, {n} heads)" for v, (s, n) in shared.items())
    or "none, for none was searched",
)
table(
    rows,
    ["version and group", base, "own", "shared", "by chance", "p", "rank correlation"],
    caption=f"Heads that each version's own circuit shares with that of {base}, per group. All circuits pruned at the same threshold.",
)

# %% tags=["hide-input"]
thresholds = published.overlap_by_threshold().values
pruned = {
    "both_at_1_percent": "both pruned at 1 %",
    "candidates": "neither pruned",
    "both_at_0_percent": "both pruned at 0 %",
}
pair_words = {"llama_goat": "Llama and Goat", "llama_float": "Llama and FLoat"}
table(
    [
        [
            f"{pair_words.get(pair, pair)}, {pruned.get(pruning, pruning)}",
            groups["all"].first,
            groups["all"].second,
            groups["all"].shared,
        ]
        for pruning, by_pair in thresholds.items()
        for pair, groups in by_pair.items()
    ],
    ["pair and pruning", "heads in Llama", "in the other", "shared"],
    caption="Overlap in the 7B family had both circuits been pruned alike. The released Goat and FLoat circuits match a threshold of 0 %, Llama's one of 1 %.",
)

# %% [markdown]
# ## Minimality
#
# Is each head needed? For each head, the paper takes away a set K of its rivals, those that most
# make up for its absence, and asks what the head then adds (*minimality*). Heads that add less than
# 1 % go.

# %% mystnb={"figure": {"name": "fig-minimality", "caption": "Minimality score of every candidate head: relative gain in accuracy from the head when its rivals K are gone. Bars above 1 are cut. Grey: dropped. Dotted: the threshold of 1 %."}}
show(
    minimality_bars(found[base].minimality),
    alt="Four bar charts, one per group, of minimality scores; coloured bars reach the one percent threshold and are kept, grey ones are dropped.",
)

# %%
minimality = found[base].minimality
rows = []
for name, group in GROUPS.items():
    heads = minimality.circuit.groups[name]
    kept = {h for h in heads if minimality.scores[name][str(h)] >= minimality.threshold}
    plain = {h for h in heads if minimality.leave_one_out(name, h).low > 0}
    rows.append(
        [f"{group.letter} {group.title}", len(heads), len(kept), len(plain), len(kept & plain)]
    )
table(
    rows,
    ["group", "candidates", "kept by the paper's score", "kept by leave-one-out", "by both"],
    caption="Heads kept by the paper's score, and by a plain alternative: leaving out this head alone lowers the answer's log probability, the 95 % interval excluding zero.",
)
steps = 1 / len(minimality.whole)
glue("resolution", f"{steps:.3f}")
glue("n_minimality", len(minimality.whole))

# %% [markdown]
# With {glue:text}`n_minimality` prompts one prompt is worth {glue:text}`resolution` of accuracy, so
# that verdicts near the line of 1 % hang on single prompts. The plain alternative says how sure it
# is, but it does not see a head whose rivals stand in for it.
#
# ## Completeness
#
# A circuit that holds all that matters is *complete*: taking heads K away hurts it as much as the
# model. The *gap* is the accuracy of the circuit without K minus that of the model without K. Below
# the diagonal, the model has something to fall back on that the circuit lacks.

# %%
complete = measure_completeness(
    models[base],
    held_out.subset(range(min(n_complete, len(held_out)))),
    circuit=circuit,
    means=ablation_means(models[base], settings),
    n_random=4,
    n_greedy=3,
    seed=seed,
)
gaps = {label: complete.gap(i) for i, label in enumerate(complete.labels)}
worst = max(
    (label for label in gaps if label.startswith("group")), key=lambda label: abs(gaps[label].value)
)
greedy = max(
    (label for label in gaps if label.startswith("greedy")),
    key=lambda label: abs(gaps[label].value),
)
glue("completeness_greedy", f"{gaps[greedy]:+.2f}")
glue("n_complete_used", min(n_complete, len(held_out)))
glue("completeness_worst", f"{worst}, {gaps[worst]:+.2f}")
random_gaps = np.array([abs(g.value) for label, g in gaps.items() if label.startswith("random")])
glue("completeness_random", f"{random_gaps.mean():.2f}")

# %% mystnb={"figure": {"name": "fig-completeness", "caption": "Accuracy of the circuit without K against that of the model without K, for K a whole group (letters), a random half of the circuit, or grown greedily to open the gap. Dashed: a complete circuit."}}
show(
    completeness_scatter(complete),
    alt=f"Scatter plot of circuit against model accuracy without heads K; the widest gap is {worst}.",
)

# %% tags=["hide-input"]
rows = [
    [
        label,
        complete.removed[i].size,
        float(complete.circuit_hits[i].mean()),
        float(complete.model_hits[i].mean()),
        f"{gaps[label]:+.2f}",
    ]
    for i, label in enumerate(complete.labels)
    if not label.startswith("random")
]
rows.append(
    [
        "random, mean",
        "half",
        float(
            np.mean(
                [
                    complete.circuit_hits[i].mean()
                    for i, n in enumerate(complete.labels)
                    if n.startswith("random")
                ]
            )
        ),
        float(
            np.mean(
                [
                    complete.model_hits[i].mean()
                    for i, n in enumerate(complete.labels)
                    if n.startswith("random")
                ]
            )
        ),
        f"mean gap {random_gaps.mean():.2f}",
    ]
)
theirs = published.completeness().values["llama"]
rows += [
    [
        f"Llama-7B group {GROUPS[g].letter}",
        len(published.circuits().values["llama"][g]),
        k.circuit,
        k.model,
        f"{k.circuit - k.model:+.2f}",
    ]
    for g, k in theirs.groups.items()
]
table(
    rows,
    ["K", "heads in K", "circuit without K", "model without K", "gap"],
    caption=f"Completeness of the circuit of {base}, accuracy on {min(n_complete, len(held_out))} prompts, and of the paper's Llama circuit. Greedy sets are chosen and scored on the same prompts.",
)

# %% [markdown]
# Without one of its groups, the widest gap is {glue:text}`completeness_worst`; over random halves
# the absolute gap averages {glue:text}`completeness_random`. The greedy search, which the released
# code does not have, opens one of {glue:text}`completeness_greedy`; it chose its heads on the
# {glue:text}`n_complete_used` prompts that it is scored on, so it flatters the gap.
#
# ## Where the rest is
#
# A circuit can fall short in its groups or in its tokens. Here one group at a time gets *all* heads
# at its token, and the others stay as they are. A row that rises names a group that was left too
# small. With all heads for all groups, what is still missing lies at other tokens.

# %%
every = tuple(
    Head(layer, head)
    for layer in range(models[base].n_layers)
    for head in range(models[base].n_heads)
)
grown = {
    "the circuit": circuit,
    **{
        f"all heads for {g.letter}": replace(circuit, groups={**circuit.groups, n: every})
        for n, g in GROUPS.items()
    },
    "all heads for all groups": replace(circuit, groups=dict.fromkeys(GROUPS, every)),
}
rest = measure_faithfulness(
    models[base],
    held_out,
    circuits=list(grown.values()),
    means=ablation_means(models[base], settings),
)
rows = [
    [name, f"{rest.accuracy(i):.2f}", f"{difference(rest.hits[i], rest.hits[0]):+.2f}"]
    for i, name in enumerate(grown)
]
rows.append(
    ["whole model", f"{rest.full_accuracy():.2f}", f"{difference(rest.full, rest.hits[0]):+.2f}"]
)
gains = {
    name: difference(rest.hits[i], rest.hits[0])
    for i, name in enumerate(grown)
    if name.startswith("all heads for ") and "groups" not in name
}
glue(
    "rest_groups",
    ", ".join(
        f"all heads for {name[-1]}, {gain:+.2f}" for name, gain in gains.items() if gain.low > 0
    )
    or "no single group",
)
glue("rest_all", f"{difference(rest.hits[len(grown) - 1], rest.hits[0]):+.2f}")
glue("rest_whole", f"{difference(rest.full, rest.hits[0]):+.2f}")
table(
    rows,
    ["heads kept", "accuracy", "more than the circuit (paired)"],
    caption=f"Growing the circuit of {base} one group at a time: accuracy on {len(held_out)} prompts with 95 % intervals.",
)

# %% [markdown]
# Clearly more than the circuit gives: {glue:text}`rest_groups`. More heads need not mean more
# accuracy: all heads for all groups bring {glue:text}`rest_all`, and the whole model
# {glue:text}`rest_whole`.
#
# ## What the paper claims, what we find, verdict

# %% tags=["hide-input"]
tuned = [n for n in scores if n != base]
values = {n: scores[n].faithfulness(0).value for n in tuned}
above_random = all(scores[n].accuracy(0).low > scores[n].random_accuracy().high for n in tuned)
verdict_faithful = (
    "not run"
    if not tuned
    else "replicates"
    if min(values.values()) >= 0.8 and above_random
    else "partly"
    if above_random
    else "does not replicate"
)
tests = [
    o
    for name in own.split()
    for o in overlaps(
        circuit, found[name].circuit, n_heads=models[base].n_layers * models[base].n_heads
    )
]
significant = sum(o.p_value < 0.05 / max(1, len(tests)) for o in tests)
# The heads of a search that failed say nothing about what a version uses.
own_faithful = {
    name: scores[name].faithfulness(i).value for i, name in enumerate(found) if name != base
}
verdict_overlap = (
    "not run"
    if not tests
    else "undecided"
    if min(own_faithful.values()) < 0.5
    else "replicates"
    if significant == len(tests)
    else "partly"
    if significant
    else "does not replicate"
)
verdict_complete = (
    "replicates"
    if abs(gaps[worst].value) >= 0.1 and gaps[worst].excludes(0)
    else "does not replicate"
)
glue("verdict_same_circuit", verdict_faithful)
glue("verdict_overlap", verdict_overlap)
glue("verdict_incomplete", verdict_complete)
table(
    [
        [
            f"the circuit of {base} does the task in fine-tuned versions",
            "faithfulness 0.97, 0.89, 0.88",
            ", ".join(f"{scores[n].faithfulness(0):.2f} ({n})" for n in tuned) or None,
            verdict_faithful,
            "0.8 or more in every version, and clearly above random circuits; partly: clearly above random circuits in every version",
        ],
        [
            "fine-tuned versions' own circuits share heads with it",
            "54 of 72 heads in Goat and in FLoat, as released",
            ", ".join(
                f"{s} of {circuit.size} ({v}, whose own circuit has a faithfulness of {own_faithful[v]:.2f})"
                for v, (s, _) in shared.items()
            )
            or None,
            verdict_overlap,
            f"every group overlaps above chance after correction ({significant} of {len(tests)} do); undecided where an own circuit has a faithfulness below 0.5 in its own version",
        ],
        [
            "the circuit is not perfectly complete",
            "gaps up to 0.21 in Llama",
            f"{worst}: {gaps[worst]:+.2f}",
            verdict_complete,
            "the widest gap without one group is 0.1 or more and its interval excludes 0",
        ],
    ],
    ["claim", "the paper", "here", "verdict", "rule"],
    caption="Finding (i), second part: is it the same circuit?",
)

# %% [markdown]
# # Finding the circuit
#
# **Which attention heads find the apple?** {glue:text}`size_pruned` of the {glue:text}`n_heads`
# heads of {glue:text}`version`, all others at their mean, answer {glue:text}`acc_circuit` of
# held-out prompts right; the whole model answers {glue:text}`acc_full`. They are searched for
# backwards from the answer, in the paper's four groups, by path patching
# {cite:p}`prakash2024finetuning,wang2023ioi`. A head that serves in two groups counts in both.
#
# *Objectives:* say what path patching does to one head; read the effects of all heads; judge how
# many to keep. *Time:* 20 minutes. *Before it:* {doc}`02_hooks_and_patching`.

# %% tags=["parameters"]
family: str = "smollm2"  # a family in models/
version: str = "base"  # the version whose circuit is searched
n_pairs: int = 21  # clean and corrupt pairs for path patching [7, 700]
n_held_out: int = 140  # prompts for choosing the size [14, 2000]
n_prune: int = 84  # prompts for minimality, at most n_held_out [14, 2000]
n_means: int = 112  # prompts behind the ablating means [14, 2000]
n_evaluation: int = 119  # prompts on which the final circuit is scored [14, 5000]
score: str = "log_odds"  # what path patching measures {log_odds, relative_change}
structure_role: str = "after_prev_query_label"  # where structure readers act {after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
import numpy as np

from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.faithfulness import measure_faithfulness
from entrack.circuit.live_positions import live_positions
from entrack.circuit.search import CircuitSettings, ablation_means, find_circuit
from entrack.figures.circuit import attention_masses, circuit_graph, depths, score_maps, size_curve
from entrack.display.cells import glue, show, table
from entrack.display.style import ROLE_WORDS
from entrack.model.loading import load
from entrack.model.sites import GROUPS
from entrack.paper import published
from entrack.patching.attention_mass import attention_mass
from entrack.patching.path_patching import PathConfig
from entrack.stats.metrics import difference
from entrack.task.boxes import examples, pairs
from entrack.task.prompts import encode, encode_pairs
from entrack.task.prompts import show as show_prompt

# %%
model = load(f"{family}/{version}")
settings = CircuitSettings(
    n_pairs=n_pairs,
    n_means=n_means,
    n_choose=n_held_out,
    n_prune=min(n_prune, n_held_out),
    seed=seed,
    discovery=DiscoveryConfig(structure_role=structure_role, path=PathConfig(score=score)),
)
means = ablation_means(model, settings)
held_out = encode(model.tokenizer, examples(n_evaluation, split="evaluation", seed=seed))
glue("version", model.name)
glue("n_heads", model.n_layers * model.n_heads)
glue("n_pairs_used", n_pairs)

# %% [markdown]
# ## At which tokens?
#
# Before asking which heads, ask where. Let all heads work at a few tokens only (they are *live*
# there) and give every head elsewhere its mean output over other prompts (*mean ablation*). The
# paper's circuit for Llama works at three tokens: the last token, the query label and the *earlier
# label*. In {glue:text}`version` these three give an accuracy of {glue:text}`acc_live_paper`. With
# the *token after the earlier label* as the third they give {glue:text}`acc_live_after`; the whole
# model has {glue:text}`acc_live_whole`.

# %%
pruning = encode(model.tokenizer, examples(n_held_out, split="pruning", seed=seed))
common = ["query_label", "last"]
live = live_positions(
    model,
    pruning,
    means=means,
    sets={
        "query label and last token only": common,
        "with the earlier label (the paper's three)": ["prev_query_label", *common],
        "with the token after it instead": ["after_prev_query_label", *common],
        "with both": ["prev_query_label", "after_prev_query_label", *common],
        "with the tokens after all labels": ["after every label", *common],
        "every token: the whole model": ["all"],
    },
)
for key, name in (
    ("paper", "with the earlier label (the paper's three)"),
    ("after", "with the token after it instead"),
    ("whole", "every token: the whole model"),
):
    glue(f"acc_live_{key}", f"{live.accuracy(name):.2f}")
shift = difference(
    live.hits["with the token after it instead"],
    live.hits["with the earlier label (the paper's three)"],
)
glue("live_shift", f"{shift:+.2f}")
glue(
    "live_where",
    "the token after the earlier label"
    if shift.low > 0
    else "the earlier label itself"
    if shift.high < 0
    else "either of the two, as far as this shows",
)
table(
    [[name, f"{live.accuracy(name):.2f}", float(live.log_prob[name].mean())] for name in live.hits],
    [
        "tokens with live heads",
        "accuracy with 95 % interval",
        "mean log probability of the answer, nats",
    ],
    caption=f"All heads live at these tokens, mean-ablated at all others: accuracy on {n_held_out} prompts of the pruning split.",
)

# %% [markdown]
# The difference is {glue:text}`live_shift`, on the same prompts: this model does its reading at
# {glue:text}`live_where`. The token after an earlier occurrence is where an induction head looks
# {cite:p}`olsson2022induction`. Structure readers (D) are searched at the token that the parameter
# `structure_role` names; the paper's is `prev_query_label`.
#
# We leave the paper's recipe in three places: that token, the score (next section), and how
# receivers and sizes are chosen (after it).
#
# ## One head first
#
# Path patching asks: *what is lost if this head had seen another prompt, and the change may travel
# along one path only?* It needs two prompts. The **clean** one has an answer. The **corrupt** one
# is another scene with other boxes and objects, and its question names a box that is in neither;
# its marks show the tokens whose activations stand in for those of the clean prompt:

# %%
found = find_circuit(model, settings)
pair = pairs(n_pairs, split="discovery", seed=seed)[0]
one_clean, one_corrupt = encode_pairs(model.tokenizer, [pair])
show_prompt(one_clean, 0)

# %%
show_prompt(one_corrupt, 0)

# %% [markdown]
# The head with the largest direct effect is {glue:text}`top_head`. It is the **sender**: its output
# at the last token is taken from the corrupt run; every other head stays frozen at what it did in
# the clean run, and MLPs are recomputed. Over {glue:text}`n_pairs_used` pairs this changes the
# {glue:text}`score_name` by {glue:text}`top_effect` on average. Negative means that the head helps;
# zero, that what it sends makes no difference.
#
# The paper scores the *relative change of the answer's probability*, over 300 pairs. With few
# pairs, one pair on which the model is unsure can dominate that mean, and a pair of which it is
# sure hardly moves it. So we rank heads by log odds. The parameter `score` goes back to the
# paper's.

# %%
direct = found.discovery.scores["value_fetcher"]
top = direct.ranked()[0]
glue("top_head", str(top))
glue(
    "score_name",
    {
        "log_odds": "log odds of the right answer",
        "relative_change": "relative probability of the right answer",
    }[score],
)
glue("score_unit", direct.unit)
glue("top_effect", f"{direct.estimate(top):+.2f}")
table(
    [
        [
            str(h),
            float(direct.values[h.layer, h.head].min()),
            direct.estimate(h).value,
            float(direct.values[h.layer, h.head].max()),
            int((direct.values[h.layer, h.head] < 0).sum()),
        ]
        for h in direct.ranked()[:5]
    ],
    ["head", "most negative pair", "mean", "most positive pair", f"pairs of {n_pairs} with a loss"],
    caption=f"The five heads with the largest direct effect on the answer, over {n_pairs} pairs. Unit: {direct.unit}.",
)

# %% [markdown]
# ```{admonition} Predict before you read on
# :class: tip
# The next stage patches the *queries* of these heads. At which token must the senders sit, if only queries at the last token count?
# ```
#
# ## All heads, four stages
#
# The search runs backwards, and the heads found in one stage are the **receivers** of the next.
# Stage A finds heads at the last token that change the answer directly. B: heads at the last token
# that change it through A's queries. C: heads at the query label that change it through B's values
# there. D: heads at {glue:text}`structure_where` that change it through C's values. The receivers
# are the fewest heads that make up half of the helpful effect of their stage; the paper fixed their
# number, 20, 5 and 10 for Llama. Unit: {glue:text}`score_unit`.

# %% mystnb={"figure": {"name": "fig-score-maps", "caption": "Effect of every head as sender in the four stages, mean over pairs, change of the score. Negative: the head helps. Empty: a layer with no path to the receivers. Each panel has its own colour scale. Hover to read a head."}}
score_maps(found.discovery)

# %%
rows = []
for name, group in GROUPS.items():
    scores = found.discovery.scores[name]
    for head in scores.ranked()[:4]:
        receivers = (
            f"{len(found.discovery.receivers[name])} {GROUPS[group.receivers].letter} heads"
            if group.receivers
            else "logits"
        )
        rows.append(
            [
                f"{group.letter} {head}",
                ROLE_WORDS[found.circuit.role(name)],
                f"{scores.estimate(head):+.2f}",
                receivers,
            ]
        )
glue(
    "structure_where",
    "the " + ROLE_WORDS[found.circuit.structure_role].replace("after earlier", "after the earlier"),
)
table(
    rows,
    ["group and head", "acts at", "mean effect with 95 % interval", "receivers"],
    caption=f"The four strongest heads of each stage, over {n_pairs} pairs; the interval resamples pairs. Unit: {direct.unit}.",
)

# %% [markdown]
# ## How many heads to keep
#
# Path patching ranks heads and says nothing about where to stop. Our rule: keep, per group, the
# fewest heads that make up a share of the group's helpful effect, and take the smallest share whose
# circuit **alone** reaches 95 % of the model's accuracy on scenes that discovery never saw; if none
# does, the smallest that is not clearly less accurate than the best. Alone means that every other
# head, everywhere, gives its mean output. The rule chose a share of {glue:text}`share`,
# {glue:text}`size_candidate` heads, which {glue:text}`reached` that 95 %.

# %%
curve = found.curve
glue("share", f"{curve.shares[curve.chosen]:.0%}")
glue("size_candidate", curve.circuit.size)
glue(
    "reached",
    "reaches"
    if curve.scores.hits[curve.chosen].mean() >= 0.95 * curve.scores.full.mean()
    else "does not reach",
)

# %% mystnb={"figure": {"name": "fig-size", "caption": "Accuracy of candidate circuits alone against their size, before pruning, on the pruning split. Bars and band: 95 % intervals."}}
show(
    size_curve(curve),
    alt=f"Line plot of circuit accuracy against size; the chosen circuit of {curve.circuit.size} heads {'reaches' if curve.scores.hits[curve.chosen].mean() >= 0.95 * curve.scores.full.mean() else 'does not reach'} 95 percent of the model.",
)

# %% [markdown]
# Pruning then drops every head whose minimality score, what it adds when its nearest rivals are
# gone, stays under 1 % ({doc}`next chapter <04_same_circuit>`); {glue:text}`size_pruned` remain. On
# a third set of {glue:text}`n_evaluation_used` scenes the pruned circuit alone answers
# {glue:text}`acc_circuit` right, the candidates before pruning {glue:text}`acc_candidate`, the
# model {glue:text}`acc_full`. The *faithfulness* of the circuit, its accuracy over the model's, is
# {glue:text}`faithfulness`. Ten random circuits of the same sizes answer {glue:text}`acc_random`
# right.
#
# *Caveat.* Pruning goes by accuracy, not by the effects above: {glue:text}`dropped_strong`.

# %%
scores = measure_faithfulness(
    model, held_out, circuits=[found.circuit, curve.circuit], means=means, n_random=10
)
glue("size_pruned", found.circuit.size)
glue("acc_circuit", f"{scores.accuracy(0):.2f}")
glue("acc_candidate", f"{scores.accuracy(1):.2f}")
glue("acc_full", f"{scores.full_accuracy():.2f}")
glue("acc_random", f"{scores.random_accuracy():.2f}")
glue("faithfulness", f"{scores.faithfulness(0):.2f}")
glue("n_evaluation_used", len(held_out))
strong = {
    g.letter: [
        h for h in found.discovery.scores[n].ranked()[:4] if h not in found.circuit.groups[n]
    ]
    for n, g in GROUPS.items()
}
glue(
    "dropped_strong",
    "of the four strongest heads of each stage it dropped "
    + "; ".join(
        f"{len(hs)} in {letter} ({', '.join(map(str, hs))})" for letter, hs in strong.items() if hs
    )
    if any(strong.values())
    else "here it dropped none of the four strongest heads of any stage",
)
table(
    [
        [
            f"{g.letter} {g.title}",
            ROLE_WORDS[found.circuit.role(n)],
            len(curve.circuit.groups[n]),
            len(found.circuit.groups[n]),
            " ".join(
                str(h)
                for h in sorted(
                    found.circuit.groups[n],
                    key=lambda h: found.discovery.scores[n].grid()[h.layer, h.head],
                )[:12]
            )
            + (" …" if len(found.circuit.groups[n]) > 12 else ""),
        ]
        for n, g in GROUPS.items()
    ],
    ["group", "acts at", "candidates", "kept", "kept heads, strongest first"],
    caption="The circuit by group: heads before pruning, and those kept.",
)

# %% mystnb={"figure": {"name": "fig-circuit", "caption": "The circuit over the prompt. A dot is a head at the token where it acts, its size the effect within its group. Arrows: what each group passes on. Dotted: the token that a group should attend to if it does its job."}}
show(
    circuit_graph(found.circuit, found.discovery, n_layers=model.n_layers),
    alt=f"Diagram: structure readers at the {ROLE_WORDS[found.circuit.structure_role]} feed position detectors at the query label, which feed position transmitters and value fetchers at the last token, which name the apple.",
)

# %% [markdown]
# ## Where the strongest heads look
#
# Attention is not effect, but it fits the groups' roles or it does not. A should look at the right
# object: its two strongest kept heads give it {glue:text}`attention_A` of their attention. B should
# look at the query label: {glue:text}`attention_B`. C should look at {glue:text}`structure_where`:
# {glue:text}`attention_C`. D should look at the earlier label: {glue:text}`attention_D`. Where the
# share is near zero, the head has its effect in another way than by reading there. Means over
# {glue:text}`n_evaluation_used` prompts:

# %% mystnb={"figure": {"name": "fig-attention", "caption": "Share of attention of the two strongest kept heads of each group, from the token where the group acts."}}
looks = {
    role: attention_mass(model, held_out, role=role)
    for role in dict.fromkeys(found.circuit.role(name) for name in GROUPS)
}


def attention_to(kind, head, role):
    """Mean attention of a head from `role` to one kind of token; a kind that is the role's own
    token is "itself".
    """
    return looks[role].of([head])["itself" if kind == role else kind]


columns = {
    "right object": "correct_object",
    "other objects": "other_objects",
    "earlier label": "prev_query_label",
    "token after it": "after_prev_query_label",
    "other labels": "other_labels",
    "query label": "query_label",
    "first token": "first",
}
wanted = {"A": "correct_object", "B": "query_label", "C": structure_role, "D": "prev_query_label"}
masses = {}
for name, group in GROUPS.items():
    role = found.circuit.role(name)
    heads = [h for h in found.discovery.scores[name].ranked() if h in found.circuit.groups[name]][
        :2
    ]
    for head in heads:
        masses[f"{group.letter} {head}"] = {
            column: attention_to(kind, head, role).value for column, kind in columns.items()
        }
    glue(
        f"attention_{group.letter}",
        " and ".join(f"{attention_to(wanted[group.letter], h, role):.2f} ({h})" for h in heads)
        or "no head kept",
    )
show(
    attention_masses(masses),
    alt="Heat map of attention shares: two rows per group, columns for the right object, the other objects, the earlier label, the token after it, the other labels, the query label and the first token.",
)

# %% [markdown]
# ## Beside Llama-7B
#
# The paper's Llama circuit has {glue:text}`llama_size` heads, counted once per group, in a model of
# 1,024. Median layers, in Llama-7B: {glue:text}`llama_medians`; here: {glue:text}`our_medians`. The
# order is partly built into the search, for a sender must lie below its receivers.

# %% mystnb={"figure": {"name": "fig-depth", "caption": "Relative depth of the circuit's heads by group, ours above and the released Llama-7B circuit below. Bar: median."}}
llama = published.circuits().values["llama"]
glue("llama_size", sum(len(h) for h in llama.values()))
show(
    depths(
        {
            model.name: (
                {n: [h.layer for h in hs] for n, hs in found.circuit.groups.items()},
                model.n_layers,
            ),
            "Llama-7B, as released": (
                {n: [layer for layer, _ in hs] for n, hs in llama.items()},
                32,
            ),
        }
    ),
    alt="Two strip plots of head depth by group, ours above and Llama-7B below; position detectors, position transmitters and value fetchers follow each other in depth.",
)

# %% [markdown]
# ## What the paper claims, what we find, verdict
#
# Each verdict follows from the rule in its last column.

# %% tags=["hide-input"]
DEPTH = (
    "position_detector",
    "position_transmitter",
    "value_fetcher",
)  # in the released Llama circuit D does not come before C
median = {
    n: float(np.median([h.layer for h in found.circuit.groups[n]]))
    if found.circuit.groups[n]
    else np.nan
    for n in GROUPS
}
theirs = {n: float(np.median([layer for layer, _ in hs])) for n, hs in llama.items()}
ordered = median["position_detector"] <= median["position_transmitter"] <= median["value_fetcher"]


def depth_words(layers):
    return ", ".join(
        f"{GROUPS[n].letter} {layers[n]:g}" for n in reversed(GROUPS) if not np.isnan(layers[n])
    )


glue("llama_medians", depth_words(theirs))
glue("our_medians", depth_words(median))
faithful = scores.faithfulness(0)
half = {n: len(found.discovery.top(n, 0.5)) for n in GROUPS}
sparse = sum(half.values()) <= 0.1 * model.n_layers * model.n_heads
verdicts = {
    "circuit_exists": "replicates"
    if faithful.low >= 0.8
    else "partly"
    if scores.accuracy(0).low > scores.random_accuracy().high
    else "does not replicate",
    "circuit_sparse": "replicates" if sparse else "does not replicate",
    "circuit_order": "replicates" if ordered else "does not replicate",
    "structure_place": "replicates"
    if shift.high < 0
    else "does not replicate"
    if shift.low > 0
    else "partly",
}
for key, value in verdicts.items():
    glue(f"verdict_{key}", value)
glue("half_effect_heads", sum(half.values()))
table(
    [
        [
            "a circuit of few heads does the task alone",
            "faithfulness 1.00 with 72 of 1,024 heads",
            f"{faithful:.2f} with {found.circuit.size} of {model.n_layers * model.n_heads}",
            verdicts["circuit_exists"],
            "lower end of the interval 0.8 or more; partly: clearly more accurate than random circuits",
        ],
        [
            "few heads carry each stage",
            "20, 5 and 10 receivers chosen, of 1,024 heads",
            f"{sum(half.values())} of {model.n_layers * model.n_heads} heads make half the helpful effect of all four stages",
            verdicts["circuit_sparse"],
            "at most a tenth of all heads",
        ],
        [
            "position detectors, position transmitters and value fetchers follow each other in depth",
            ", ".join(f"{GROUPS[n].letter} {theirs[n]:g}" for n in DEPTH),
            ", ".join(f"{GROUPS[n].letter} {median[n]:g}" for n in DEPTH),
            verdicts["circuit_order"],
            "median layers in order C, B, A",
        ],
        [
            "the segment is read at the earlier label",
            "structure readers act there",
            f"at {'the token after it' if shift.low > 0 else 'it' if shift.high < 0 else 'either'}: {shift:+.2f} of accuracy",
            verdicts["structure_place"],
            "live heads there give clearly more than one token later; partly: no clear difference",
        ],
    ],
    ["claim", "the paper", "here", "verdict", "rule"],
    caption="Finding (i), first part: is there such a circuit?",
)

# %% [markdown]
# # Finding the circuit
#
# **Which attention heads find the apple?** In {glue:text}`version` a circuit of {glue:text}`size_pruned` (group, head) items out
# of {glue:text}`n_heads` heads answers {glue:text}`acc_circuit` of held-out prompts right; the whole model answers
# {glue:text}`acc_full`. The heads sort into the paper's four groups, found backwards from the answer by path patching
# {cite:p}`prakash2024finetuning,wang2023ioi`.
#
# In this chapter you learn what path patching does, on one head; then see all heads at once, choose how many to keep, and draw
# the result over the prompt. Allow twenty minutes. {doc}`02_hooks_and_patching` comes before it.

# %% tags=["parameters"]
family: str = "smollm2"  # a family in models/
version: str = "base"  # the version whose circuit is searched
n_pairs: int = 21  # clean and corrupt pairs for path patching [7, 700]
n_held_out: int = 140  # prompts for choosing the size [14, 2000]
n_prune: int = 98  # prompts for minimality, at most n_held_out [14, 2000]
n_means: int = 140  # prompts behind the ablating means [14, 2000]
n_evaluation: int = 147  # prompts on which the final circuit is scored [14, 5000]
score: str = "log_odds"  # what path patching measures {log_odds, relative_change}
structure_role: str = "after_prev_query_label"  # where structure readers act {after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
import numpy as np

from entrack import published
from entrack.attention_mass import attention_mass
from entrack.boxes import examples, pairs
from entrack.circuit import DiscoveryConfig
from entrack.faithfulness import measure_faithfulness
from entrack.figures.circuit import attention_masses, circuit_graph, depths, score_maps, size_curve
from entrack.figures.display import glue, show, table
from entrack.finding import CircuitSettings, ablation_means, find_circuit
from entrack.live_positions import live_positions
from entrack.metrics import difference
from entrack.models import load
from entrack.path_patching import PathConfig
from entrack.prompts import encode, encode_pairs
from entrack.prompts import show as show_prompt
from entrack.sites import GROUPS

# %%
model = load(f"{family}/{version}")
settings = CircuitSettings(n_pairs=n_pairs, n_means=n_means, n_choose=n_held_out, n_prune=min(n_prune, n_held_out), seed=seed,
                           discovery=DiscoveryConfig(structure_role=structure_role, path=PathConfig(score=score)))
means = ablation_means(model, settings)
held_out = encode(model.tokenizer, examples(n_evaluation, split="evaluation", seed=seed))
glue("version", model.name)
glue("n_heads", model.n_layers * model.n_heads)
glue("n_pairs_used", n_pairs)

# %% [markdown]
# ## At which tokens?
#
# Before asking which heads, ask where. Let all heads work at a few tokens only and give every head elsewhere its mean. The paper's
# circuit for Llama works at three: the last token, the queried label, and the *earlier mention* of that label. In
# {glue:text}`version` these three give {glue:text}`acc_live_paper`. One token further on, at what *follows* the earlier mention, they give
# {glue:text}`acc_live_after`; the whole model has {glue:text}`acc_live_whole`.

# %%
pruning = encode(model.tokenizer, examples(n_held_out, split="pruning", seed=seed))
common = ["query_label", "last"]
live = live_positions(model, pruning, means=means, sets={
    "query label and last token only": common,
    "with the earlier label (the paper's three)": ["prev_query_label", *common],
    "with the token after it instead": ["after_prev_query_label", *common],
    "with both": ["prev_query_label", "after_prev_query_label", *common],
    "with the tokens after all labels": ["after every label", *common],
    "every token: the whole model": ["all"],
})
for key, name in (("paper", "with the earlier label (the paper's three)"), ("after", "with the token after it instead"), ("whole", "every token: the whole model")):
    glue(f"acc_live_{key}", f"{live.accuracy(name):.2f}")
shift = difference(live.hits["with the token after it instead"], live.hits["with the earlier label (the paper's three)"])
glue("live_shift", f"{shift:+.2f}")
glue("live_where", "the token after the earlier label" if shift.low > 0 else "the earlier label itself" if shift.high < 0 else "either of the two")
table([[name, f"{live.accuracy(name):.2f}", float(live.log_prob[name].mean())] for name in live.hits],
      ["tokens with live heads", "accuracy with 95 % interval", "mean log probability of the answer"],
      caption=f"All heads live at these tokens, mean-ablated at all others; {n_held_out} prompts of the pruning split.")

# %% [markdown]
# The difference is {glue:text}`live_shift`, on the same prompts: this model does its reading at {glue:text}`live_where`. That is where an
# induction head looks {cite:p}`olsson2022induction`: at the token that came after the last time. So the structure readers (D) are searched
# there in what follows. It is the first of two places where we leave the paper's recipe (the other is the score, below); the parameter `structure_role` goes back to it.
#
# ## One head first
#
# Path patching asks: *what would be lost if this head had seen another prompt, and only what it sends along one path could tell?*
# It needs two prompts. The **clean** one has an answer. The **corrupt** one is another scene with other boxes and objects, and its
# question names a box that is in neither:

# %%
found = find_circuit(model, settings)
pair = pairs(n_pairs, split="discovery", seed=seed)[0]
one_clean, one_corrupt = encode_pairs(model.tokenizer, [pair])
show_prompt(one_clean, 0)

# %%
show_prompt(one_corrupt, 0)

# %% [markdown]
# The head with the largest direct effect is {glue:text}`top_head`. Its **sender** output at the last token is taken from the corrupt
# run; every other head stays frozen at what it did in the clean run, and MLPs are recomputed. On average over
# {glue:text}`n_pairs_used` pairs this moves the {glue:text}`score_name` by {glue:text}`top_effect`. Zero would mean that the head sends
# nothing; negative, that it helps.
#
# The paper scores the *relative change of the answer's probability*, over 300 pairs. With few pairs that mean belongs to the odd pair on
# which the model is unsure, and a model that is sure of itself hardly moves at all. So we rank heads by log odds, where sure and unsure
# pairs weigh alike. The parameter `score` goes back to the paper's.

# %%
direct = found.discovery.scores["value_fetcher"]
top = direct.ranked()[0]
glue("top_head", str(top))
glue("score_name", {"log_odds": "log odds of the right answer", "relative_change": "relative probability of the right answer"}[score])
glue("score_unit", direct.unit)
glue("top_effect", f"{direct.estimate(top):+.2f}")
table(
    [[str(h), float(direct.values[h.layer, h.head].min()), direct.estimate(h).value, float(direct.values[h.layer, h.head].max()),
      int((direct.values[h.layer, h.head] < 0).sum())] for h in direct.ranked()[:5]],
    ["head", "most negative pair", "mean", "most positive pair", f"pairs of {n_pairs} with a loss"],
    caption=f"The five heads with the largest direct effect on the answer, by pair: {direct.unit}.")

# %% [markdown]
# ```{admonition} Predict before you read on
# :class: tip
# The next stage patches the *queries* of these heads. At which token must the senders sit, if only queries at the last token count?
# ```
#
# ## All heads, four stages
#
# The search runs backwards. Stage A finds heads that write the answer, B heads that A's queries listen to, C heads that B's
# values listen to at the queried label, D heads that C's values listen to at the token after the earlier mention. Receivers of a stage
# are the fewest heads that make up half of the helpful effect of the stage before. The paper picked 20, 5 and 10 by hand. The unit:
# {glue:text}`score_unit`.

# %% mystnb={"figure": {"name": "fig-score-maps", "caption": "Effect of every head in the four stages, mean over pairs. Negative: the head helps. Empty: no path to the receivers. Hover to read a head."}}
score_maps(found.discovery)

# %%
rows = []
for name, group in GROUPS.items():
    scores = found.discovery.scores[name]
    for head in scores.ranked()[:4]:
        rows.append([f"{group.letter} {head}", found.circuit.role(name), f"{scores.estimate(head):+.3f}", len(found.discovery.receivers[name]) or "logits"])
table(rows, ["group and head", "acts at", "mean effect with 95 % interval", "receivers"],
      caption=f"The four strongest heads of each stage, over {n_pairs} pairs. The interval resamples pairs.")

# %% [markdown]
# ## How many heads to keep
#
# Path patching ranks heads and gives no cut. Ours: keep, per group, the fewest heads that make up a share of the group's helpful
# effect, and take the smallest share whose circuit **alone** reaches 95 % of the model's accuracy on scenes that discovery
# never saw; if none does, the smallest that is not clearly less accurate than the best. Here that is a share of {glue:text}`share`: {glue:text}`size_candidate` heads.
# Alone means: every other head, everywhere, gives its mean output.

# %%
curve = found.curve
glue("share", f"{curve.shares[curve.chosen]:.0%}")
glue("size_candidate", curve.circuit.size)
glue("reached", "reaches" if curve.scores.hits[curve.chosen].mean() >= 0.95 * curve.scores.full.mean() else "does not reach")

# %% mystnb={"figure": {"name": "fig-size", "caption": "Accuracy of the circuit alone against its size, on the pruning split. Bars are 95 % intervals."}}
show(size_curve(curve), alt=f"Line plot of circuit accuracy against size; the chosen circuit of {curve.circuit.size} heads {'reaches' if curve.scores.hits[curve.chosen].mean() >= 0.95 * curve.scores.full.mean() else 'does not reach'} 95 percent of the model.")

# %% [markdown]
# Pruning then drops every head whose minimality score stays under 1 % (next chapter); {glue:text}`size_pruned` remain. On a third
# set of scenes the pruned circuit alone answers {glue:text}`acc_circuit` right, against {glue:text}`acc_full` for the model:
# a faithfulness of {glue:text}`faithfulness`. Ten random circuits of the same sizes answer {glue:text}`acc_random` right.

# %%
scores = measure_faithfulness(model, held_out, circuits=[found.circuit, curve.circuit], means=means, n_random=10)
glue("size_pruned", found.circuit.size)
glue("acc_circuit", f"{scores.accuracy(0):.2f}")
glue("acc_candidate", f"{scores.accuracy(1):.2f}")
glue("acc_full", f"{scores.full_accuracy():.2f}")
glue("acc_random", f"{scores.random_accuracy():.2f}")
glue("faithfulness", f"{scores.faithfulness(0):.2f}")
glue("n_evaluation_used", len(held_out))
table([[f"{g.letter} {g.title}", found.circuit.role(n), len(curve.circuit.groups[n]), len(found.circuit.groups[n]),
        " ".join(str(h) for h in sorted(found.circuit.groups[n], key=lambda h: found.discovery.scores[n].grid()[h.layer, h.head])[:12])
        + (" …" if len(found.circuit.groups[n]) > 12 else "")] for n, g in GROUPS.items()],
      ["group", "acts at", "candidates", "kept", "kept heads, strongest first"], caption="The circuit by group.")

# %% mystnb={"figure": {"name": "fig-circuit", "caption": "The circuit over the prompt. A dot is a head at the token where it acts, its size the effect; arrows show what each group passes on, dotted lines where the paper says it looks."}}
show(circuit_graph(found.circuit, found.discovery, n_layers=model.n_layers), alt="Diagram: structure readers at the token after the earlier label feed position detectors at the queried label, which feed position transmitters and value fetchers at the last token, which name the apple.")

# %% [markdown]
# ## Where the strongest heads look
#
# Attention is not effect, but it can fit the story or not. By the story, A looks at the right object: its two strongest kept heads give
# it {glue:text}`attention_A` of their attention. B looks at the queried label: {glue:text}`attention_B`. C looks at the token after the
# earlier label: {glue:text}`attention_C`. D, standing there, looks back at that label: {glue:text}`attention_D`. Where the share is near
# zero, the head has its effect in another way than by reading there. Means over {glue:text}`n_evaluation_used` prompts:

# %% mystnb={"figure": {"name": "fig-attention", "caption": "Share of attention of the two strongest kept heads of each group, from the token where the group acts."}}
looks = {role: attention_mass(model, held_out, role=role) for role in dict.fromkeys(found.circuit.role(name) for name in GROUPS)}


def attention_to(kind, head, role):
    """Mean attention of a head from `role` to one kind of token; a kind that is the role's own token is "itself"."""
    return looks[role].of([head])["itself" if kind == role else kind]


columns = {"right object": "correct_object", "other objects": "other_objects", "earlier label": "prev_query_label",
           "token after it": "after_prev_query_label", "other labels": "other_labels", "queried label": "query_label", "first token": "first"}
wanted = {"A": "correct_object", "B": "query_label", "C": structure_role, "D": "prev_query_label"}
masses = {}
for name, group in GROUPS.items():
    role = found.circuit.role(name)
    heads = [h for h in found.discovery.scores[name].ranked() if h in found.circuit.groups[name]][:2]
    for head in heads:
        masses[f"{group.letter} {head}"] = {column: attention_to(kind, head, role).value for column, kind in columns.items()}
    glue(f"attention_{group.letter}", " and ".join(f"{attention_to(wanted[group.letter], h, role):.2f} ({h})" for h in heads) or "no head kept")
show(attention_masses(masses), alt="Heat map of attention shares: two rows per group, columns for the right object, the other objects, the earlier label, the token after it, the other labels, the queried label and the first token.")

# %% [markdown]
# ## Beside Llama-7B
#
# The paper's Llama circuit has {glue:text}`llama_size` items in 1,024 heads. By relative depth:

# %% mystnb={"figure": {"name": "fig-depth", "caption": "Relative depth of the circuit's heads by group, ours and the released Llama-7B circuit."}}
llama = published.circuits().values["llama"]
glue("llama_size", sum(len(h) for h in llama.values()))
show(depths({model.name: ({n: [h.layer for h in hs] for n, hs in found.circuit.groups.items()}, model.n_layers),
             "Llama-7B, as released": ({n: [layer for layer, _ in hs] for n, hs in llama.items()}, 32)}),
     alt="Two strip plots of head depth by group, SmolLM2 above and Llama-7B below; later groups in the chain sit in later layers.")

# %% [markdown]
# ## What the paper claims, what we find, verdict
#
# The verdicts follow from rules, stated in the last column.

# %% tags=["hide-input"]
median = {n: float(np.median([h.layer for h in found.circuit.groups[n]])) if found.circuit.groups[n] else np.nan for n in GROUPS}
ordered = median["structure_reader"] <= median["position_detector"] <= median["position_transmitter"] <= median["value_fetcher"]
faithful = scores.faithfulness(0)
half = {n: len(found.discovery.top(n, 0.5)) for n in GROUPS}
sparse = sum(half.values()) <= 0.1 * model.n_layers * model.n_heads
verdicts = {
    "circuit_exists": "replicates" if faithful.low >= 0.8 else "partly" if scores.accuracy(0).low > scores.random_accuracy().high else "does not replicate",
    "circuit_sparse": "replicates" if sparse else "does not replicate",
    "circuit_order": "replicates" if ordered else "does not replicate",
    "structure_place": "replicates" if shift.high < 0 else "does not replicate" if shift.low > 0 else "partly",
}
for key, value in verdicts.items():
    glue(f"verdict_{key}", value)
glue("half_effect_heads", sum(half.values()))
table([
    ["a circuit of few heads does the task alone", "faithfulness 1.00 with 72 of 1,024 heads", f"{faithful:.2f} with {found.circuit.size} of {model.n_layers * model.n_heads}",
     verdicts["circuit_exists"], "lower end of the interval 0.8 or more; partly: clearly more accurate than random circuits"],
    ["few heads carry each stage", "20, 5 and 10 receivers chosen", f"{sum(half.values())} heads make half the effect of all four stages", verdicts["circuit_sparse"], "at most a tenth of all heads"],
    ["structure readers, detectors, transmitters and fetchers follow each other in depth", "medians in this order", ", ".join(f"{GROUPS[n].letter} {m:g}" for n, m in reversed(median.items())),
     verdicts["circuit_order"], "median layers in order D, C, B, A"],
    ["the segment is read at the earlier mention of the label", "the third token of its circuit", f"at {'the token after it' if shift.low > 0 else 'it' if shift.high < 0 else 'either'}: {shift:+.2f} of accuracy", verdicts["structure_place"],
     "live heads there rather than one token later give more; partly: no clear difference"],
], ["claim", "the paper", "here", "verdict", "rule"], caption="Finding (i), first part: is there such a circuit?")

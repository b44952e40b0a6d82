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
version: str = ""  # the version whose circuit is searched; empty: the reference of the family
n_pairs: int = 70  # clean and corrupt pairs for path patching [7, 700]
n_means: int = 112  # prompts behind the ablating means [14, 2000]
n_evaluation: int = 504  # prompts on which the final circuit is scored [14, 5000]
score: str = "log_odds"  # what path patching measures {log_odds, relative_change}
# empty: as the family file says
structure_role: str = ""  # where structure readers act {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% [markdown]
# Everything below is about one model, and all its sizes and rules stand in one object. Prompts come
# from three sets of scenes that share none: one to discover heads on, one to decide how many to
# keep, and one to score what was kept.

# %%
from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.search import CircuitSettings
from entrack.display.cells import glue
from entrack.patching.path_patching import PathConfig
from entrack.versions import families
from entrack.versions.loading import load

model = load(f"{family}/{version or families.reference(family)}")
structure_role = structure_role or families.structure_role(family)
glue(version=model.name, n_heads=model.n_layers * model.n_heads)

# %%
settings = CircuitSettings(
    n_pairs=n_pairs,
    n_means=n_means,
    seed=seed,
    discovery=DiscoveryConfig(structure_role=structure_role, path=PathConfig(score=score)),
)

# %% [markdown]
# ## At which tokens?
#
# Before asking which heads, ask where. Let all heads work at a few tokens only: they are *live*
# there. Every head elsewhere gives its mean output over other prompts, which tells nothing about
# this one (*mean ablation*). If the model still answers, the work is done at those few tokens.
#
# The paper's circuit for Llama works at three: the last token, the query label and the *earlier
# label*. {doc}`Chapter 1 <01_task>` named them, and the *token after the earlier label* beside
# them, which the paper does not use.
#
# ```{admonition} Predict before you run
# :class: tip
# Here are six sets of tokens. Which is the smallest that will do nearly as well as the whole model?
# ```

# %%
AT, AFTER, ALL = (
    "with the earlier label (the paper's three)",
    "with the token after it",
    "every token",
)
common = ["query_label", "last"]
sets = {
    "query label and last token only": common,
    AT: ["prev_query_label", *common],
    AFTER: ["after_prev_query_label", *common],
    "with both": ["prev_query_label", "after_prev_query_label", *common],
    "with the tokens after all labels": ["after every label", *common],
    ALL: ["all"],
}

# %%
from entrack.circuit.live_positions import live_positions
from entrack.circuit.search import ablation_means
from entrack.display.cells import show
from entrack.tables import circuit as tables
from entrack.task.draws import examples
from entrack.task.prompts import encode

means = ablation_means(model, settings)
deciding = encode(model.tokenizer, examples(settings.n_held_out, split="pruning", seed=seed))
live = live_positions(model, deciding, means=means, sets=sets)
show(tables.live_tokens(live))

# %% tags=["hide-input"]
glue(
    acc_live_paper=live.accuracy(AT),
    acc_live_after=live.accuracy(AFTER),
    acc_live_whole=live.accuracy(ALL),
    live_shift=live.difference(AFTER, AT),
)

# %% [markdown]
# With the paper's three tokens {glue:text}`version` is right on {glue:text}`acc_live_paper` of the
# prompts. With the token after the earlier label in place of the label it is right on
# {glue:text}`acc_live_after`, and with every token live on {glue:text}`acc_live_whole`. From the
# first to the second the change is {glue:text}`live_shift`, on the same prompts: above zero, the
# model reads one token later than the paper's Llama; below, at the label itself.
#
# The token after an earlier occurrence is where an induction head looks
# {cite:p}`olsson2022induction`: one that asks "what followed this letter before?" lands there.
# The parameter `structure_role` says at which of the two tokens the search below looks for
# structure readers (D); the paper's is `prev_query_label`.
#
# We leave the paper's recipe in three places: that token, the score (next section), and how
# receivers and sizes are chosen (after it).
#
# ## One head first
#
# Path patching asks: *what is lost if this head had seen another prompt, and the change may travel
# along one path only?* It needs two prompts. The **clean** one has an answer:

# %%
from entrack.display.prompt_view import show as show_prompt
from entrack.task.draws import pairs
from entrack.task.prompts import encode_pairs

pair = pairs(n_pairs, split="discovery", seed=seed)[0]
one_clean, one_corrupt = encode_pairs(model.tokenizer, [pair])
show_prompt(one_clean, 0)

# %% [markdown]
# The **corrupt** one is another scene with other boxes and objects, and its question names a box
# that is in neither. Its marks show the tokens whose activations stand in for those of the clean
# prompt:

# %%
show_prompt(one_corrupt, 0)

# %% [markdown]
# One call makes the whole search. This section looks at its first step: the direct effect of each
# head on the answer.

# %%
from entrack.circuit.search import find_circuit

found = find_circuit(model, settings)
direct = found.discovery.scores["value_fetcher"]
show(tables.strongest(direct))

# %% tags=["hide-input"]
top = direct.ranked()[0]
glue(
    top_head=str(top),
    top_effect=f"{direct.estimate(top):+.2f}",
    n_pairs_used=n_pairs,
    score_unit=direct.unit,
)

# %% [markdown]
# The first row is head {glue:text}`top_head`. It is the **sender**: its output at the last token is
# taken from the corrupt run. Every other head stays frozen at what it did in the clean run, so the
# change cannot reach the answer through another head; MLPs are recomputed. Over
# {glue:text}`n_pairs_used` pairs the score moves by {glue:text}`top_effect` on average. Negative
# means that the head helps: without what it read here, the right answer is less likely. Zero means
# that what it sends makes no difference.
#
# The paper scores the *relative change of the answer's probability*, over 300 pairs. With few
# pairs, one pair on which the model is unsure can dominate that mean, and a pair of which it is
# sure hardly moves it. So we rank heads by log odds, in which both count alike. The parameter
# `score` goes back to the paper's. Here: {glue:text}`score_unit`.
#
# ```{admonition} Predict before you read on
# :class: tip
# The next stage patches the *queries* of these heads. At which token must the senders sit, if only
# queries at the last token count?
# ```
#
# ## All heads, four stages
#
# The search runs backwards, and the heads found in one stage are the **receivers** of the next:
#
# - **A, value fetchers**: heads at the last token that change the answer directly.
# - **B, position transmitters**: heads at the last token that change it through A's *queries*. A
#   query says what to look for.
# - **C, position detectors**: heads at the query label that change it through B's *values* there.
#   A value is what is handed over.
# - **D, structure readers**: heads at the {glue:text}`structure_where` that change it through C's
#   values.
#
# The receivers are the fewest heads that make up half of the helpful effect of their stage; the
# paper fixed their number, 20, 5 and 10 for Llama.

# %%
# figure: fig-score-maps
# caption: Effect of every head as sender in the four stages, mean over pairs, change of the score.
#   Negative: the head helps. Empty: a layer with no path to the receivers. Each panel has its own
#   colour scale. Hover to read a head.
from entrack.display.cells import show
from entrack.figures.circuit import score_maps

show(score_maps(found.discovery))

# %% [markdown]
# Most of each map is pale. A few heads make most of the effect, and they sit in bands of layers:
# a sender must lie below its receivers.

# %%
from entrack.display.style import ROLE_WORDS

show(tables.stages(found))
glue(structure_where=ROLE_WORDS[structure_role])

# %% [markdown]
# ## How many heads to keep
#
# Path patching ranks heads and says nothing about where to stop. Our rule: keep, per group, the
# fewest heads that make up a share of the group's helpful effect, and take the smallest share whose
# circuit **alone** reaches 95 % of the model's accuracy on scenes that discovery never saw; if none
# does, the smallest that is not clearly less accurate than the best. Alone means that every other
# head, everywhere, gives its mean output.

# %%
# figure: fig-size
# caption: Accuracy of candidate circuits alone against their size, before pruning, on the pruning
#   split. Bars and band: 95 % intervals.
from entrack.figures.circuit import size_curve

curve = found.curve
show(size_curve(curve))

# %% tags=["hide-input"]
chosen = curve.scores.accuracy(curve.chosen)
glue(
    share=f"{curve.shares[curve.chosen]:.0%}",
    size_candidate=curve.circuit.size,
    acc_chosen=chosen.value,
    acc_aim=0.95 * curve.scores.full_accuracy().value,
)

# %% [markdown]
# The rule chose a share of {glue:text}`share`, which is {glue:text}`size_candidate` heads. Alone
# they are right on {glue:text}`acc_chosen:.2f` of these prompts; 95 % of the model's accuracy is
# {glue:text}`acc_aim:.2f`.
#
# Pruning then drops every head whose minimality score, what it adds when its nearest rivals are
# gone, stays under 1 % ({doc}`next chapter <04_same_circuit>`).

# %%

show(tables.groups(found))

# %% [markdown]
# Do the heads that are left do the task? A third set of scenes decides, which neither discovery nor
# pruning has seen. Ten random circuits with as many heads at the same tokens show what any such
# number of heads would do.

# %%
from entrack.circuit.faithfulness import measure_faithfulness
from entrack.stats.metrics import difference, exact

held_out = encode(model.tokenizer, examples(n_evaluation, split="evaluation", seed=seed))
clear = found.minimality.clear()
three = [found.circuit, curve.circuit, clear]
scores = measure_faithfulness(model, held_out, circuits=three, means=means, n_random=10)

# %% tags=["hide-input"]
glue(
    size_pruned=found.circuit.size,
    acc_circuit=scores.accuracy(0),
    acc_candidate=scores.accuracy(1),
    size_clear=clear.size,
    size_unclear=found.circuit.size - clear.size,
    acc_clear=scores.accuracy(2),
    unclear_bring=difference(scores.hits[0], scores.hits[2]),
    acc_full=scores.full_accuracy(),
    acc_random=scores.random_accuracy(),
    faithfulness=scores.faithfulness(0),
    n_evaluation_used=n_evaluation,
)

# %% [markdown]
# On these {glue:text}`n_evaluation_used` prompts the pruned circuit of {glue:text}`size_pruned`
# heads alone answers {glue:text}`acc_circuit` right, the candidates before pruning
# {glue:text}`acc_candidate`, the whole model {glue:text}`acc_full`, the random circuits
# {glue:text}`acc_random`. The *faithfulness* of the circuit, its accuracy over the model's, is
# {glue:text}`faithfulness`.
#
# One head changes the answer to few prompts, and of {glue:text}`size_pruned` heads only
# {glue:text}`size_clear` cost clearly, by an interval above zero, when each is left out alone. The
# other {glue:text}`size_unclear` reach the line of 1 % by their estimate only. Left out all at
# once, they cost {glue:text}`unclear_bring`: the circuit without them answers
# {glue:text}`acc_clear`. Heads that stand in for each other are seen only together.
#
# *Caveat.* Pruning goes by accuracy, not by the effects above. A head with a strong effect can go
# because others do the same work, and one with a weak effect can stay. The last column of the
# table names those of the four strongest heads of each stage that were dropped.

# %%
# figure: fig-circuit
# caption: The circuit over the prompt. A dot is a head at the token where it acts, its size the
#   effect within its group. Arrows: what each group passes on. Dotted: the token that a group
#   should attend to if it does its job.
from entrack.figures.circuit import circuit_graph

show(circuit_graph(found.circuit, found.discovery, n_layers=model.n_layers))

# %% [markdown]
# Read it from below. D notes, one token into the segment, which segment has this label. C, at the
# question's label, reads from there which segment is meant. B brings that to the last token, and
# A uses it to look up the object. This is the paper's reading of the groups; what they carry is
# tested in {doc}`chapter 6 <06_what_the_heads_carry>`.
#
# ## Where the strongest heads look
#
# Attention is not effect, but it fits the groups' roles or it does not. A should look at the right
# object, B at the query label, C at the {glue:text}`structure_where`, D at the earlier label.

# %%
from entrack.circuit.search import attention_of_strongest

looks = attention_of_strongest(model, held_out, found=found)
show(tables.attention(looks, n_prompts=n_evaluation))

# %% [markdown]
# Where the share is near zero, the head has its effect in another way than by reading there: it may
# pass on what an earlier head has already brought to its own token. The map shows where such heads
# look instead.

# %%
# figure: fig-attention
# caption: Share of attention of the two strongest kept heads of each group, from the token where
#   the group acts.
from entrack.figures.circuit import attention_masses

columns = {
    "right object": "correct_object",
    "other objects": "other_objects",
    "earlier label": "prev_query_label",
    "token after it": "after_prev_query_label",
    "other labels": "other_labels",
    "query label": "query_label",
    "first token": "first",
}
show(attention_masses(looks, columns))

# %% [markdown]
# ## Beside Llama-7B
#
# The paper's Llama circuit has {glue:text}`llama_size` heads, counted once per group, in a model of
# 1,024. How deep do the groups lie in it, and how deep here? The order is partly built into the
# search, for a sender must lie below its receivers.

# %%
# figure: fig-depth
# caption: Relative depth of the circuit's heads by group, ours above and the released Llama-7B
#   circuit below. Bar: median.
from entrack.figures.circuit import depths
from entrack.paper.released import N_LAYERS, released_circuit

llama = released_circuit("llama")
side_by_side = {
    model.name: (found.circuit, model.n_layers),
    f"{llama.model}, as released": (llama, N_LAYERS),
}
show(depths(side_by_side))
glue(llama_size=llama.size)

# %%

show(tables.medians(side_by_side))

# %% [markdown]
# ## What the paper claims, what we find
#
# Each verdict follows from the rule in its last column. In the released circuit the median of D
# lies above that of C, so the claim about depth leaves D out.

# %%
from itertools import pairwise

half = sum(len(found.discovery.top(group, 0.5)) for group in found.circuit.groups)
n_heads = model.n_layers * model.n_heads
ascending = ("position_detector", "position_transmitter", "value_fetcher")
medians = [found.circuit.median_layer(group) for group in ascending]
steps = [exact(later - earlier) for earlier, later in pairwise(medians)]

# %% tags=["hide-input"]
from entrack.display.cells import judge
from entrack.paper.claims import claim

standing = scores.over_random(0), scores.faithfulness(0)
judge(
    claim("circuit_exists", standing, size=found.circuit.size, n_heads=n_heads),
    claim("circuit_sparse", exact(half / n_heads), half=half, n_heads=n_heads),
    claim("circuit_order", steps),
    claim("structure_place", live.difference(AT, AFTER)),
    caption="Finding (i), first part: is there such a circuit?",
)

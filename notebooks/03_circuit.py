# %% [markdown]
# # Finding the circuit
#
# A model that says "apple" has found it somehow. If we can name the few parts that do it, we can
# ask what each part does, and later what fine-tuning did to it.
#
# **Which attention {term}`heads <head>` find the apple?** {glue:text}`size_pruned` of the
# {glue:text}`n_heads` heads of {glue:text}`version`, with the outputs of all others replaced by
# their mean over many prompts, answer {glue:text}`acc_circuit` of held-out prompts right; the whole
# model answers {glue:text}`acc_full`. Such a set of heads is a *{term}`circuit`*. They are searched
# for backwards from the answer, in the paper's four groups ({term}`value fetchers <value fetcher>`
# A, {term}`position transmitters <position transmitter>` B, {term}`position detectors <position
# detector>` C and {term}`structure readers <structure reader>` D), by {term}`path patching`
# {cite:p}`prakash2024finetuning,wang2023ioi`. A head that serves in two groups counts in both.
#
# *Objectives:* say what path patching does to one head; read the effects of all heads; judge how
# many to keep. *Time:* 20 minutes. *Before it:* {doc}`02_hooks_and_patching`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # a family in models/
version: str = ""  # the version whose circuit is searched; empty: the reference of the family
n_pairs: int = 70  # clean and corrupt pairs for path patching [7, 700]
n_means: int = 112  # prompts behind the ablating means [14, 2000]
n_evaluation: int = 1540  # prompts on which the final circuit is scored [14, 5000]
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
# this one (*{term}`mean ablation`*). If the model still answers, the work is done at those few
# tokens.

# %%
# figure: fig-how-ablation
# caption: Mean ablation. A square is what the heads of a layer (from below) give at a token (from
#   left to right).
from entrack.display import schematic
from entrack.display.cells import show

show(schematic.mean_ablation())

# %% [markdown]
# The paper's circuit for Llama works at three: the last token, the query label and the
# *earlier label*. {doc}`Chapter 1 <01_task>` named them, and the *token after the earlier label*
# beside them, which the paper does not use.
#
# ```{admonition} Predict before you run
# :class: tip
# Look at the six sets in the next cell. Which is the smallest with which the model will do nearly
# as well as with all heads alive at every token?
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
# {glue:text}`acc_live_after`, and with every token live on {glue:text}`acc_live_whole`. The second
# less the first is {glue:text}`live_shift`, on the same prompts. Above zero, this model reads the
# segment one token later than the paper's Llama does; below zero, at the label itself.
#
# The last row, with every token, is the whole model. No other set comes near it, not even the one
# with the tokens after all labels. So part of the work is done at other tokens. The search below
# looks at three, as the paper's does, and can find only the part that is done there.
#
# The token after an earlier occurrence is where an induction head looks
# {cite:p}`olsson2022induction`: one that asks "what followed this letter before?" lands there. The
# parameter `structure_role` says at which of the two tokens the search below looks for structure
# readers (D); the paper's is `prev_query_label`.
#
# We differ from the paper's recipe in three places: that token, the score (next section), and how
# {term}`receivers <receiver>` and sizes are chosen (the sections about all heads and about size).
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
show(tables.strongest(direct), folded=True)

# %% tags=["hide-input"]
top = direct.ranked()[0]
glue(
    top_head=str(top),
    top_effect=f"{direct.estimate(top):+.2f}",
    n_pairs_used=n_pairs,
    score_unit=direct.unit,
)

# %%
# figure: fig-how-path
# caption: Path patching of one sender. A square is what the heads of a layer give at a token.
show(schematic.path_patching())

# %% [markdown]
# The strongest is head {glue:text}`top_head`. It is the **{term}`sender`**: its output at the last
# token is taken from the corrupt run. Every other head stays frozen at what it did in the clean
# run, so the change cannot reach the answer through another head; MLPs are recomputed. Over
# {glue:text}`n_pairs_used` pairs the score moves by {glue:text}`top_effect` on average. Negative
# means that the head helps: without what it read here, the right answer is less likely. Zero means
# that what it sends makes no difference.
#
# The paper scores the *relative change of the answer's probability*, over 300 pairs. With few
# pairs, one pair on which the model is unsure can dominate that mean, and a pair of which it is
# sure hardly moves it. So we rank heads by log odds, in which both count alike. The parameter
# `score` goes back to the paper's. Here: {glue:text}`score_unit`.
#
# ## On one prompt
#
# The same {term}`patch` on the clean prompt that you saw above, twice. First the sender is head
# {glue:text}`top_head`, and what it read in the corrupt prompt may go to the answer directly. Then
# the sender is head {glue:text}`one_sender`, and what it sends may only change the *queries* of the
# {glue:text}`one_n_receivers` strongest heads of the first step, the **{term}`receivers
# <receiver>`**. While the sender's message travels, the other {glue:text}`one_n_frozen` heads are
# frozen.

# %%
from entrack.heads import one_prompt

asked = one_prompt.ask(one_clean)
second = found.discovery.scores["position_transmitter"].ranked()[0]
receivers = found.discovery.receivers["position_transmitter"]
path = {"role": "last", "corrupt": one_corrupt}
ways = {
    "clean": one_prompt.alone(model, asked),
    f"{top} to the answer": one_prompt.path_patched(model, asked, sender=top, **path),
    f"{second} to queries": one_prompt.path_patched(
        model, asked, sender=second, receivers=receivers, via="q", **path
    ),
}

# %% tags=["hide-input"]
from entrack.tables.patching import one_prompt as table_of_one

table = table_of_one(asked, ways, caption="What the clean prompt is answered, by probability.")
show(table, folded=True)
one_clean_p, one_direct_p, one_queries_p = (float(probs[0]) for probs in ways.values())
glue(
    one_sender=str(second),
    one_n_receivers=len(receivers),
    one_n_frozen=model.n_layers * model.n_heads - 1,
    one_right=next(iter(asked.words)),
    one_clean_p=one_clean_p,
    one_direct_p=one_direct_p,
    one_queries_p=one_queries_p,
)

# %% [markdown]
# The right object, *{glue:text}`one_right`*, has a probability of {glue:text}`one_clean_p:.3f` in
# the clean run. With head {glue:text}`top_head` as the sender it has
# {glue:text}`one_direct_p:.3f`, and with head {glue:text}`one_sender`, through queries only,
# {glue:text}`one_queries_p:.3f`. What changes from the clean run is the effect of that head on this
# prompt, and on a prompt of which the model is sure it can be small. The search takes the mean of
# such changes, in the unit of its score, over all pairs and for every head.
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
# Pale heads have hardly any effect. Look for the few dark ones, and at which layers they sit: a
# sender must lie below its receivers.

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
# {glue:text}`acc_aim:.2f`. Where no candidate comes up to that, as in the figure, the second half
# of the rule decides.
#
# Pruning then drops every head whose {term}`minimality` score, what it adds when its nearest rivals
# are gone, stays under 1 % ({doc}`next chapter <04_same_circuit>`).

# %%
show(tables.groups(found))
glue(circuit_heads=tables.heads_by_name({model.name: found.circuit}))

# %% [markdown]
# All of them by layer, to be held beside other searches ({doc}`15_stability`):
# {glue:text}`circuit_heads`.
#
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
# {glue:text}`acc_random`. The *{term}`faithfulness`* of the circuit, its accuracy over the model's,
# is {glue:text}`faithfulness`.
#
# Is it the left-out heads that the circuit lacks, or the left-out tokens? With *all* heads live at
# its three tokens, the first table had {glue:text}`acc_live_after`, on other prompts. That is about
# what the circuit has. So most of what it lacks is done at other tokens, and more heads at these
# three would bring back little of it, as the flat end of the curve above says too.
#
# Leaving out one head changes the answer to few prompts. Of the {glue:text}`size_pruned` heads,
# {glue:text}`size_clear` cost accuracy clearly when they are left out after their rivals: the
# interval lies above zero. For the other {glue:text}`size_unclear` only the estimate reaches 1 %.
# Leaving out all of these at once costs {glue:text}`unclear_bring`, and the circuit without them
# answers {glue:text}`acc_clear`. Where heads can stand in for each other, only leaving them out
# together shows what they do.
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
# Read it from below. D, at the {glue:text}`structure_where`, notes which segment has this label. C,
# at the question's label, reads from there which segment is meant. B brings that to the last token,
# and A uses it to look for the object. This is the paper's reading of the groups. This chapter
# shows that they matter and through what; what they carry is tested in {doc}`chapter 6
# <06_what_the_heads_carry>`.
#
# ## The circuit reads one prompt
#
# Here is the clean prompt from above once more, once for each group, in the order in which they
# work: D, C, B, A. The dashed frame marks the token from which a group looks. The darker another
# token is, the more attention the group's heads give it.

# %%
from entrack.display.prompt_view import ReadingView

strip = ReadingView(
    one_prompt.reading(model, one_clean, circuit=found.circuit),
    caption="Where each group of the circuit looks in one prompt. Shade: attention from the framed"
    " token, mean over the group's heads. Numbers: tokens that get a tenth or more.",
)
glue(strip_words=strip.alt)
strip

# %% [markdown]
# {glue:text}`strip_words` If the groups do what the paper says, the answer can be followed
# backwards: A looks at the object; B tells it where, from what it finds at the query label; C has
# worked out there which segment is meant, and D has marked that segment. Attention at the first
# token is often a place to rest for a head that has nothing to read.
#
# ## Where the strongest heads look
#
# Attention does not measure an effect, but we can ask whether it fits the groups' roles. A should
# look at the right object, B at the query label, C at the {glue:text}`structure_where`, D at the
# earlier label.

# %%
from entrack.circuit.search import attention_of_strongest

looks = attention_of_strongest(model, held_out, found=found)
show(tables.attention(looks, n_prompts=n_evaluation), folded=True)

# %% [markdown]
# The map has the shares of the two strongest heads of each group, the folded table their intervals.
# Where a share is near zero, as in the strongest head of A, the head has its effect in another way
# than by reading there: it may pass on what an earlier head has already brought to its own token.
# The map shows where the heads look instead; a row that sums to little looks at tokens without a
# column, such as its own. The rows of D have more at the right object than at the label. Both stand
# in one segment, so these heads read more of the segment than its label, and attention does not say
# which of the two they pass on.

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
# ## What the value fetchers write
#
# A head that names the answer need not look at it: what it reads at its own token may be there
# already. So we take each value fetcher's output out of the last {term}`residual stream` and see
# which logits fall. A head that *fetches* lifts the right object above the others. A head that
# lifts all of them says that some object is due, and a *negative head* speaks against the right
# one. Of {glue:text}`n_fetchers` value fetchers {glue:text}`n_lifting` clearly lift the right
# object above the others, and {glue:text}`n_negative` clearly speak against it.

# %%
from entrack.heads.writes import writes

fetching = found.kept("value_fetcher")
written = writes(model, held_out, heads=fetching)
glue(
    n_fetchers=len(fetching),
    n_lifting=sum(w.lead.low > 0 for w in written.values()),
    n_negative=sum(w.lead.high < 0 for w in written.values()),
)
show(tables.writes(list(written.values())), folded=True)

# %% [markdown]
# *Caveat.* This is the direct way to the answer alone. A head can also help by what later layers
# make of its output, and the effects above count that too. So a head that speaks against the right
# object here can still be one that the circuit needs.
#
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
from entrack.paper.published import N_LAYERS, released_circuit

llama = released_circuit("llama")
side_by_side = {
    model.name: (found.circuit, model.n_layers),
    f"{llama.model}, as released": (llama, N_LAYERS),
}
show(depths(side_by_side))
glue(llama_size=llama.size)

# %%
show(tables.medians(side_by_side), folded=True)

# %% [markdown]
# ## What the paper claims, what we find
#
# Each verdict follows from the rule in its last column. In the circuit that the authors released,
# the median layer of D lies above that of C, so the claim about depth leaves D out. Relative to the
# number of layers, every group lies higher here than in Llama.

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

# %% [markdown]
# ## In three sentences
#
# Searched backwards from the answer by path patching, {glue:text}`size_pruned` of
# {glue:text}`n_heads` heads were kept, in four groups of which each acts through the one before. On
# prompts that the search never saw they alone answer {glue:text}`acc_circuit`, the whole model
# {glue:text}`acc_full`, as many random heads {glue:text}`acc_random`. That such a circuit exists,
# as in the paper: *{glue:text}`verdict_circuit_exists`*; that it reads at the same token as there:
# *{glue:text}`verdict_structure_place`*; and for {glue:text}`size_unclear` of its heads it is open
# whether each is needed.
#
# *Next:* {doc}`04_same_circuit` runs it in the fine-tuned versions.

# %% [markdown]
# ## Exercises
#
# They run on a small model of random weights, in seconds. `z_of` gives the outputs of all heads of
# a run. `clean` and `corrupt` are the prompts, `right` is for each pair the token that counts as
# its answer: the one that the small model finds most likely in the clean run. `engine` calls the
# fast path patching of this book and gives `values`, the relative change of the answer's
# probability [layer head pair].

# %% tags=["exercise-setup"]
import numpy as np
import torch

from entrack.course.checks import check
from entrack.model.hooks import Trace, TraceDict
from entrack.patching.path_patching import path_patching
from entrack.sites import Head
from entrack.task.prompts import Prompts
from entrack.versions.tiny import tiny_model, tiny_tokens

small = tiny_model(n_layers=4, seed=0)
clean, corrupt = tiny_tokens(6, 9, seed=1), tiny_tokens(6, 9, seed=2)
right = small.hf(clean).logits[:, -1].argmax(-1)
o_sites = [small.site(layer, "o_proj") for layer in range(small.n_layers)]


# %% tags=["exercise-setup"]
def z_of(tokens):
    """Outputs of all heads in a run of its own [layer example pos head d_head]."""
    with TraceDict(small.hf, o_sites, retain_input=True) as seen:
        small.hf(tokens)
    z = torch.stack([seen[site].input for site in o_sites])
    return z.unflatten(-1, (small.n_heads, small.d_head))


def change(logits):
    """Relative change of the right answer's probability against the clean run [pair]."""
    before, after = small.hf(clean).logits[:, -1].softmax(-1), logits.softmax(-1)
    rows = torch.arange(len(right))
    return after[rows, right] / before[rows, right] - 1


# %% tags=["exercise-setup"]
def as_prompts(tokens):
    """Tokens as the fast engine takes them: all of one length, answered at the last position."""
    n, length = tokens.shape
    return Prompts(
        tokens=tokens,
        lengths=torch.full((n,), length),
        answers=right,
        roles={"last": torch.full((n,), length - 1)},
        segments={},
        texts=("",) * n,
        pieces=((),) * n,
        examples=(None,) * n,
    )


# %% tags=["exercise-setup"]
def engine(*receivers, via="logits"):
    """The fast engine's values for every sender [layer head pair]; NaN: no path."""
    options = {"role": "last", "receivers": [Head(*r) for r in receivers], "via": via}
    sides = as_prompts(clean), as_prompts(corrupt)
    return torch.tensor(path_patching(small, sides[0], corrupt=sides[1], **options).values)


# %% [markdown]
# ::::{exercise} Which senders have a path?
# :label: ex-circuit-paths
# :class: predict
#
# In {numref}`fig-score-maps` some layers are empty: their heads have no path to the receivers. Say
# which, before you run the checks, which ask the fast engine.
#
# :::{admonition} Hint
# :class: dropdown
# One receiver that is reached is enough. In which order does a layer read the stream and write
# into it?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-circuit-paths"]
# Some want the sender below *all* receivers, which would leave out most of the paths of a group
# that spreads over ten layers. Ask next what an effect of exactly zero would mean in place of an
# empty cell, and why the two must not be confused when heads are ranked.

# %% [markdown]
# :::{solution-start} ex-circuit-paths
# :class: dropdown
# :::


# %% tags=["answer", "ex-circuit-paths"]
def layers_with_a_path(receiver_layers, n_layers):
    """Which layers hold senders that can change what the receivers are given.

    receiver_layers: the layers of the receivers, in any order; empty where the logits receive.
    Returns bool [n_layers].
    """
    highest = max(receiver_layers, default=n_layers)
    return torch.arange(n_layers) < highest


# %% [markdown]
# A head reads the stream that enters its layer and writes behind it, so it reaches no head of its
# own layer. What it writes stays in the stream for every layer above, and one receiver there is a
# path. The logits are read behind the last layer: every head has a path to them.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-circuit-paths"]
with check("ex-circuit-paths", "for one receiver the prediction is what the engine finds"):
    reached = engine((2, 1), via="q").isfinite()[:, 0, 0]
    assert layers_with_a_path([2], 4).tolist() == reached.tolist()

with check("ex-circuit-paths", "for receivers in layers 3 and 1 the prediction is what it finds"):
    reached = engine((3, 0), (1, 2), via="q").isfinite()[:, 0, 0]
    assert layers_with_a_path([3, 1], 4).tolist() == reached.tolist()

# %% tags=["hidden-test", "ex-circuit-paths"]
with check("ex-circuit-paths", "every layer has a path to the logits"):
    assert layers_with_a_path([], 4).tolist() == [True] * 4

with check("ex-circuit-paths", "receivers in layer 0 are reached by nothing"):
    assert layers_with_a_path([0], 3).tolist() == [False] * 3


# %% tags=["wrong-answer", "ex-circuit-paths"]
# slip: a sender must lie below all receivers
def layers_with_a_path(receiver_layers, n_layers):
    return torch.arange(n_layers) < min(receiver_layers, default=n_layers)


# %% tags=["wrong-answer", "ex-circuit-paths"]
# slip: heads of the receiver's own layer are counted in
def layers_with_a_path(receiver_layers, n_layers):
    return torch.arange(n_layers) <= max(receiver_layers, default=n_layers)


# %% [markdown]
# ::::{exercise} One path, from scratch
# :label: ex-circuit-direct
# :class: write
#
# Patch the direct path of one head to the answer, with `Trace` or `TraceDict` and nothing else of
# this book but `z_of`. It is the hardest exercise of the book; take it in five steps, and look at
# a shape or a number after each.
#
# 1. Run the clean prompts and keep what every head gives.
# 2. Run the corrupt prompts and keep the same.
# 3. Freeze: run the clean prompts once more with every head's output set to that of step 1. Which
#    logits must come out?
# 4. Change one thing in what is set: the sender at the last position gives what it gave in step 2.
# 5. Read the logits at the last position.
#
# :::{admonition} Hint
# :class: dropdown
# Make the tensor of all that is to be set first, of the shape that `z_of` gives. The edit of a
# `TraceDict` may take a second argument: the name of the module that it is called for.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-circuit-direct"]
# Nearly everyone forgets to freeze, or freezes only the layers above the sender; the second is
# right, and worth asking why. Freezing the MLPs as well answers another question, which part goes
# to the logits without any layer between. Who patches the sender at all positions gets the same
# numbers: ask why, and whether that still holds for a receiver's *values*.
#
# If the group is stuck, do step 3 together. That it gives the clean logits is the proof that the
# edit is at the right place, and it is gone as soon as one site is missing.

# %% [markdown]
# :::{solution-start} ex-circuit-direct
# :class: dropdown
# :::


# %% tags=["answer", "ex-circuit-direct"]
def direct_path(clean, corrupt, layer, head):
    """Logits at the last position [pair token] when one head's direct path to them is patched.

    clean, corrupt: prompts [pair pos]. The head `head` of `layer` gives at the last position what
    it gives in the corrupt run; all else that heads give, at every position, is that of the clean
    run. MLPs and norms are computed anew.
    """
    held = z_of(clean)  # steps 1 and 3: all that is not the sender stays as it was
    held[layer, :, -1, head] = z_of(corrupt)[layer, :, -1, head]  # steps 2 and 4
    by_site = dict(zip(o_sites, held.flatten(3), strict=True))
    with TraceDict(small.hf, o_sites, edit_input=lambda z, site: by_site[site]):
        return small.hf(clean).logits[:, -1]  # step 5


# %% [markdown]
# *Steps 1 and 2.* `z_of` gives [layer pair pos head d_head], once for each kind of prompt. That is
# the input of `o_proj`, where the heads are still apart.
#
# *Step 3.* At every layer the edit throws away what the heads give in this run and puts in what
# they gave in the clean run. Without a sender nothing has changed, and the clean logits come out:
# the first check. Freezing matters above the sender only. What is below it, or before the last
# position, is the same as in the clean run anyway.
#
# *Step 4.* One slice is replaced: one layer, the last position, one head. Now the layers above are
# given another stream, and their heads would give other outputs, but these are overwritten. The
# change goes on through the residual stream and the MLPs, and through no other head.
#
# *Step 5.* The logits follow from what has arrived at the last position. The probability of the
# right answer, against that of the clean run, is the score.
#
# *Compare.* The fast engine gives the same numbers, as the third check shows for one head. It needs
# steps 1 and 2 once, and no pass of the whole model for a sender: with all heads frozen nothing
# moves between positions, so it carries the last position alone through `o_proj`, norms and MLPs,
# for all senders at once. Here each sender costs a whole pass, and a search asks for every head.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-circuit-direct"]
with check("ex-circuit-direct", "frozen, and patched from the clean run itself, nothing changes"):
    same = direct_path(clean, clean, 1, 2)
    assert torch.allclose(same, small.hf(clean).logits[:, -1], atol=1e-4)

with check("ex-circuit-direct", "for a head of the last layer it is the patch of that head alone"):
    theirs, last_site = z_of(corrupt)[3, :, -1, 2], o_sites[3]
    own = torch.arange(32) // small.d_head == 2

    def put(z):
        z[:, -1, own] = theirs
        return z

    with Trace(small.hf, last_site, edit_input=put):
        alone = small.hf(clean).logits[:, -1]
    assert torch.allclose(direct_path(clean, corrupt, 3, 2), alone, atol=1e-4)

with check("ex-circuit-direct", "the fast engine gives the same change for head 1 of layer 0"):
    slow, fast = change(direct_path(clean, corrupt, 0, 1)), engine()[0, 1]
    assert fast.abs().max() > 0.1 and torch.allclose(slow, fast, rtol=1e-3, atol=1e-4)

# %% tags=["hidden-test", "ex-circuit-direct"]
with check("ex-circuit-direct", "the fast engine gives the same changes for every head"):
    fast = engine()
    for layer, head in np.ndindex(small.n_layers, small.n_heads):
        slow = change(direct_path(clean, corrupt, layer, head))
        assert torch.allclose(slow, fast[layer, head], rtol=1e-3, atol=1e-4), (layer, head)


# %% tags=["wrong-answer", "ex-circuit-direct"]
# slip: nothing is frozen, so the change travels through every head above
def direct_path(clean, corrupt, layer, head):
    theirs = z_of(corrupt)[layer, :, -1, head]

    def put(z):
        cut_open = z.unflatten(-1, (small.n_heads, small.d_head))
        cut_open[:, -1, head] = theirs
        return cut_open.flatten(2)

    with Trace(small.hf, o_sites[layer], edit_input=put):
        return small.hf(clean).logits[:, -1]


# %% tags=["wrong-answer", "ex-circuit-direct"]
# slip: all heads of the sender's layer are patched
def direct_path(clean, corrupt, layer, head):
    held = z_of(clean)
    held[layer, :, -1] = z_of(corrupt)[layer, :, -1]
    by_site = dict(zip(o_sites, held.flatten(3), strict=True))
    with TraceDict(small.hf, o_sites, edit_input=lambda z, site: by_site[site]):
        return small.hf(clean).logits[:, -1]


# %% tags=["wrong-answer", "ex-circuit-direct"]
# slip: the MLPs are frozen too
def direct_path(clean, corrupt, layer, head):
    mlps = [f"model.layers.{at}.mlp" for at in range(small.n_layers)]
    with TraceDict(small.hf, mlps) as seen:
        small.hf(clean)
    held = z_of(clean)
    held[layer, :, -1, head] = z_of(corrupt)[layer, :, -1, head]
    by_site = dict(zip(o_sites, held.flatten(3), strict=True))
    with TraceDict(small.hf, o_sites, edit_input=lambda z, site: by_site[site]):
        with TraceDict(small.hf, mlps, edit_output=lambda out, site: seen[site].output):
            return small.hf(clean).logits[:, -1]


# %% tags=["wrong-answer", "ex-circuit-direct"]
# slip: clean and corrupt are swapped, the corrupt prompt is run with a clean head
def direct_path(clean, corrupt, layer, head):
    held = z_of(corrupt)
    held[layer, :, -1, head] = z_of(clean)[layer, :, -1, head]
    by_site = dict(zip(o_sites, held.flatten(3), strict=True))
    with TraceDict(small.hf, o_sites, edit_input=lambda z, site: by_site[site]):
        return small.hf(corrupt).logits[:, -1]


# %% [markdown]
# ::::{exercise} Through one receiver's query
# :label: ex-circuit-query
# :class: write
#
# The second stage asks for senders that change the answer through the *queries* of receivers. It
# takes two passes. In the first all heads are frozen but the sender, and the receiver's query is
# read off. In the second that query alone is put into a clean run in which nothing is frozen. The
# first pass is given, as `query_sent`; write the second.
#
# :::{admonition} Hint
# :class: dropdown
# A query is what `q_proj` gives, all heads side by side. Which piece of it is the receiver's, and
# at which position does a receiver at the last token ask?
# :::
# ::::


# %% tags=["exercise-setup", "ex-circuit-query"]
def query_sent(layer, head, receiver_layer):
    """First pass: what `q_proj` of a layer gives at the last position [pair head*d_head].

    With all heads frozen nothing comes from other positions, so one position goes through alone.
    """
    held = z_of(clean)[:, :, -1]
    held[layer, :, head] = z_of(corrupt)[layer, :, -1, head]
    stream = small.hf.model.embed_tokens(clean[:, -1])
    for block, z in zip(small.hf.model.layers[:receiver_layer], held.flatten(2), strict=False):
        stream = stream + block.self_attn.o_proj(z)
        stream = stream + block.mlp(block.post_attention_layernorm(stream))
    block = small.hf.model.layers[receiver_layer]
    return block.self_attn.q_proj(block.input_layernorm(stream))


# %% [markdown] tags=["teacher", "ex-circuit-query"]
# The two passes freeze opposite things, and students carry the freezing over into the second. Then
# the receiver's output is overwritten and nothing moves at all. Ask what the number would mean if
# it were not zero. With keys in place of queries, ask at which positions they would have to be
# patched, and which heads share one.

# %% [markdown]
# :::{solution-start} ex-circuit-query
# :class: dropdown
# :::


# %% tags=["answer", "ex-circuit-query"]
def through_query(clean, sent, layer, head):
    """Logits at the last position [pair token] when one head asks with the query that was sent.

    clean: prompts [pair pos]; sent: what the first pass had at the last position as the output of
    this layer's `q_proj`, all heads side by side [pair head*d_head]. The query of the head `head`
    of `layer` is taken from it, at the last position; all else is computed as it comes.
    """
    own = slice(head * small.d_head, (head + 1) * small.d_head)

    def ask(q):
        q[:, -1, own] = sent[:, own]
        return q

    with Trace(small.hf, small.site(layer, "q_proj"), edit_output=ask):
        return small.hf(clean).logits[:, -1]


# %% [markdown]
# The receiver looks with another query, reads something else, and whatever follows from that may
# travel anywhere above it: through other heads too. So "through the query of this head" restricts
# what happens *up to* the receiver, and nothing after it.
#
# The rotary embedding turns a query by its position. The one that is put in stands at the same
# position as the one that it replaces, so it may be put in before the turn.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-circuit-query"]
with check("ex-circuit-query", "the clean run's own query changes nothing"):
    with Trace(small.hf, small.site(2, "q_proj")) as asked:
        unpatched = small.hf(clean).logits[:, -1]
    same = through_query(clean, asked.output[:, -1], 2, 1)
    assert torch.allclose(same, unpatched, atol=1e-4)

with check("ex-circuit-query", "the fast engine gives the same change, 0.3 through the q of 2.1"):
    slow = change(through_query(clean, query_sent(0, 3, 2), 2, 1))
    fast = engine((2, 1), via="q")[0, 3]
    assert fast.abs().max() > 0.01, f"{fast}"
    assert torch.allclose(slow, fast, rtol=1e-3, atol=1e-4)

# %% tags=["hidden-test", "ex-circuit-query"]
with check("ex-circuit-query", "every sender gives the engine's change through another receiver"):
    fast = engine((3, 2), via="q")
    for layer, head in np.ndindex(3, small.n_heads):
        slow = change(through_query(clean, query_sent(layer, head, 3), 3, 2))
        assert torch.allclose(slow, fast[layer, head], rtol=1e-3, atol=1e-4), (layer, head)


# %% tags=["wrong-answer", "ex-circuit-query"]
# slip: the heads are frozen in the second pass as well
def through_query(clean, sent, layer, head):
    own = slice(head * small.d_head, (head + 1) * small.d_head)
    held = dict(zip(o_sites, z_of(clean).flatten(3), strict=True))

    def ask(q):
        q[:, -1, own] = sent[:, own]
        return q

    with TraceDict(small.hf, o_sites, edit_input=lambda z, site: held[site]):
        with Trace(small.hf, small.site(layer, "q_proj"), edit_output=ask):
            return small.hf(clean).logits[:, -1]


# %% tags=["wrong-answer", "ex-circuit-query"]
# slip: the key is patched, and with it every head that shares it
def through_query(clean, sent, layer, head):
    own = slice(head * small.d_head, (head + 1) * small.d_head)
    first = head // small.group_size * small.d_head

    def ask(k):
        k[:, -1, first : first + small.d_head] = sent[:, own]
        return k

    with Trace(small.hf, small.site(layer, "k_proj"), edit_output=ask):
        return small.hf(clean).logits[:, -1]


# %% tags=["wrong-answer", "ex-circuit-query"]
# slip: the head asks with this query at every position
def through_query(clean, sent, layer, head):
    own = slice(head * small.d_head, (head + 1) * small.d_head)

    def ask(q):
        q[..., own] = sent[:, None, own]
        return q

    with Trace(small.hf, small.site(layer, "q_proj"), edit_output=ask):
        return small.hf(clean).logits[:, -1]


# %% tags=["wrong-answer", "ex-circuit-query"]
# slip: the queries of all heads of the layer are put in
def through_query(clean, sent, layer, head):
    def ask(q):
        q[:, -1] = sent
        return q

    with Trace(small.hf, small.site(layer, "q_proj"), edit_output=ask):
        return small.hf(clean).logits[:, -1]


# %% [markdown]
# ::::{exercise} Two scores for one patch
# :label: ex-circuit-scores
# :class: write
#
# Path patching gives a probability before and after for each pair. Make of them the paper's score
# and the one that ranks the heads in this chapter. Then find two pairs on which the two scores
# disagree about the *sign* of the head's effect.
#
# :::{admonition} Hint
# :class: dropdown
# Score each pair first. What can a relative change reach at the lower end, and what at the upper?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-circuit-scores"]
# Let them guess what a fall from `0.999` to `0.99` counts in either score, and a rise from `0.001`
# to `0.003`. Then ask which of the two a circuit should be chosen by. The ratio of two means is the
# usual slip, and it hides the trouble: pairs with a small probability do not count in it at all.

# %% [markdown]
# :::{solution-start} ex-circuit-scores
# :class: dropdown
# :::


# %% tags=["answer", "ex-circuit-scores"]
def two_scores(before, after):
    """Mean over pairs of the relative change, and of the change of the log odds in nats.

    before, after: probability of the right answer without and with the patch, strictly between 0
    and 1 [pair]. Log odds are log(p / (1 - p)). Returns two floats, negative where the head helps.
    """
    relative = (after - before) / before
    log_odds = torch.logit(after) - torch.logit(before)
    return float(relative.mean()), float(log_odds.mean())


# %% [markdown]
# A relative change cannot fall below -1 and has no upper end, so an unsure pair whose answer
# becomes three times as likely outweighs a sure one that is lost. A head that helps on one pair and
# disturbs on another can therefore come out as harmful by one score and as helpful by the other:
# the second check has such pairs. Log odds count a change alike on sure and on unsure pairs. Their
# price is that pairs of extreme probability count much for small changes; this book keeps
# probabilities a millionth away from 1 for that reason.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-circuit-scores"]
with check("ex-circuit-scores", "a patch that changes nothing has both scores zero"):
    assert two_scores(torch.tensor([0.2, 0.9]), torch.tensor([0.2, 0.9])) == (0, 0)

with check("ex-circuit-scores", "a sure pair lost and an unsure one doubled: the signs differ"):
    relative, log_odds = two_scores(torch.tensor([0.8, 0.02]), torch.tensor([0.4, 0.04]))
    assert abs(relative - 0.25) < 1e-3, f"the relative change came out as {relative:+.2f}"
    assert abs(log_odds + 0.539) < 1e-3, f"the log odds came out as {log_odds:+.2f}"

with check("ex-circuit-scores", "a loss among sure pairs is small for one score, not for both"):
    relative, log_odds = two_scores(torch.tensor([0.999]), torch.tensor([0.99]))
    assert -0.01 < relative < 0 and log_odds < -2

# %% tags=["hidden-test", "ex-circuit-scores"]
with check("ex-circuit-scores", "the fast engine's values of one sender give the same mean"):
    rows = torch.arange(len(right))
    before = small.hf(clean).logits[:, -1].softmax(-1)[rows, right]
    moved = engine()[0, 1]
    assert abs(two_scores(before, before * (1 + moved))[0] - float(moved.mean())) < 1e-3


# %% tags=["wrong-answer", "ex-circuit-scores"]
# slip: the means are compared in place of the pairs
def two_scores(before, after):
    relative = (after.mean() - before.mean()) / before.mean()
    log_odds = torch.logit(after.mean()) - torch.logit(before.mean())
    return float(relative), float(log_odds)


# %% tags=["wrong-answer", "ex-circuit-scores"]
# slip: the log probability in place of the log odds
def two_scores(before, after):
    relative = (after - before) / before
    log_odds = torch.log(after) - torch.log(before)
    return float(relative.mean()), float(log_odds.mean())


# %% tags=["wrong-answer", "ex-circuit-scores"]
# slip: before less after, which makes helpful heads positive
def two_scores(before, after):
    relative = (before - after) / before
    log_odds = torch.logit(before) - torch.logit(after)
    return float(relative.mean()), float(log_odds.mean())


# %% [markdown]
# :::{exercise} Which control would refute it?
# :label: ex-circuit-control
#
# "{glue:text}`size_pruned` heads alone answer {glue:text}`acc_circuit` of the prompts right, the
# random circuits {glue:text}`acc_random`. So these heads *are* the circuit." Two words of this can
# be wrong: *these*, and *are the*. Which outcome does each of them forbid, and which control could
# show that outcome? Does the control of this chapter test either?
# :::
#
# :::{solution} ex-circuit-control
# :class: dropdown
#
# *These* forbids that other heads do as well. The random circuits were to show it, but heads drawn
# from the whole model are weak rivals: many sit in layers where their group has no strong head. A
# harder control draws them in the layers of the circuit, or from the candidates that pruning
# dropped, without any head of the circuit.
#
# *Are the* forbids that the model goes on answering without them. Take these heads out of the whole
# model, all others left as they are: if the accuracy hardly falls, other heads can do the work and
# the circuit is one of several. That is completeness ({doc}`04_same_circuit`).
#
# How well the circuit alone answers, near to the whole model or far from it, tests neither word.
# :::

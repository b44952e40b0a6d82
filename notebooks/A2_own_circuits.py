# %% [markdown]
# # The versions' own circuits, searched again
#
# {doc}`04_same_circuit` searched a circuit in every fine-tuned version, with fewer pairs of prompts
# than in the base. Without the {term}`value fetchers <value fetcher>` (A) of their own circuits
# `code` and `boxes` still found the object, and without those of *all* circuits no version did. So
# these searches had missed some. **How much of what we say about a version's own circuit hangs on
# its search? And does it need every one of its heads?**
#
# The heads of all these circuits are judged on {glue:text}`n_used` new prompts. And in
# {glue:text}`larger_list` the search is made twice more, with {glue:text}`n_pairs_more` pairs in
# place of {glue:text}`n_pairs_own`, and with as few on other prompts. Without the value fetchers of
# the first search {glue:text}`name_searched` has an accuracy of {glue:text}`left_small`, without
# those of the larger search {glue:text}`left_large`, and without those of the small one on other
# prompts {glue:text}`left_other`.
#
# The paper prunes its circuits on 100 prompts, and prints no interval for a head
# {cite:p}`prakash2024finetuning`; this page is ours. *Objectives:* tell a head that is not needed
# from one of which we cannot say; judge a search by what it missed, beside what a second one of the
# same size misses. *Time:* 10 minutes. *Before it:* {doc}`04_same_circuit`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # a family in models/
base: str = ""  # the version that the others were made from; empty: the reference of the family
own: str = ""  # versions whose own circuit is judged, by spaces; empty: those made from base
more: str = ""  # of these, those searched again, by spaces; empty: the focus, or else the first
n_pairs: int = 70  # clean and corrupt pairs for path patching in base [7, 700]
n_pairs_own: int = 28  # the same in the other versions [7, 700]
n_pairs_more: int = 70  # the same in the larger search; below 7: nothing is searched again [0, 700]
n_means: int = 112  # prompts behind the ablating means [14, 2000]
n_evaluation: int = 504  # prompts on which heads and circuits are judged [14, 5000]
structure_role: str = ""  # empty: as in its file {, after_prev_query_label, prev_query_label}
n_random: int = 2  # draws of random heads in the layers of the value fetchers [1, 1000]
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from dataclasses import replace

from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.faithfulness import measure_faithfulness
from entrack.circuit.search import CircuitSettings, ablation_means, find_circuit
from entrack.display.cells import glue, listed, show
from entrack.display.tables import NOT_RUN, Table
from entrack.errors import SiteError
from entrack.figures import same_circuit as figures
from entrack.heads import one_prompt
from entrack.heads.bounds import ALL_CIRCUITS, FETCHERS, without_fetchers
from entrack.rejudged import rejudge

# %% tags=["hide-input"]
from entrack.sites import GROUPS
from entrack.stats.metrics import difference, rate
from entrack.tables import patching
from entrack.task.draws import examples
from entrack.task.prompts import encode
from entrack.versions import families
from entrack.versions.loading import load

# %%
base = base or families.reference(family)
asked = [*(own.split() or families.tuned_from(family, base)), *more.split()]
searched = [version for version in dict.fromkeys(asked) if version != base]
models = {v: load(f"{family}/{v}") for v in [base, *searched]}
settings = CircuitSettings(
    n_pairs=n_pairs_own,
    n_means=n_means,
    seed=seed,
    discovery=DiscoveryConfig(structure_role=structure_role or families.structure_role(family)),
)
means = {v: ablation_means(model, settings) for v, model in models.items()}
held_out = encode(models[base].tokenizer, examples(n_evaluation, split="evaluation", seed=seed))

# %%
sized = {base: n_pairs} | dict.fromkeys(searched, n_pairs_own)
found = {v: find_circuit(models[v], replace(settings, n_pairs=n)) for v, n in sized.items()}
circuits = {v: search.circuit for v, search in found.items()}
focus = families.focus(family)
name = focus if focus in searched else [*searched, base][0]
if not circuits[name].size:
    raise SiteError(
        f"the pruning left no head in the circuit of {name}; one that does the task has some. Take"
        " another version, or more pairs."
    )

# %% tags=["hide-input"]
glue(
    n_pairs_own=n_pairs_own,
    n_pairs_more=n_pairs_more,
    n_pruning_own=4 * n_pairs_own,
    n_used=len(held_out),
)

# %% [markdown]
# ## On one prompt
#
# To see what a head is for, take it away from the circuit. If another head does the same work, that
# shows nothing. So the paper first takes away a set K of its rivals and then the head
# ({term}`minimality`). K are the heads whose loss, when the pruning was done, hurt most with that
# of the head. Of the {glue:text}`one_group` in the own circuit of {glue:text}`one_name` we take the
# head with the most rivals, {glue:text}`one_head`; its rivals are {glue:text}`one_rivals`. The
# circuit, every other head {term}`mean-ablated <mean ablation>`, reads the first prompt on which
# the head decides once they are gone:
#
# > {glue:text}`one_text`

# %%
judged = {
    v: rejudge(models[v], held_out, circuit=circuits[v], pruning=search.minimality, means=means[v])
    for v, search in found.items()
}

# %%
group = next(group for group, heads in circuits[name].groups.items() if heads)
rivals_of = judged[name].rivals[group]
head = max(rivals_of, key=lambda h: len(rivals_of[h]))
rivals = rivals_of[head]
sets = {"the circuit": (), f"less {head}": (head,), "less K": rivals}
sets[f"less K and {head}"] = (*rivals, head)
less_k, less_both = judged[name].hits[group][circuits[name].groups[group].index(head)]

# %%
one = one_prompt.ask(held_out, int((less_k & ~less_both).argmax()))
ways = {
    way: one_prompt.circuit_alone(
        models[name], one, circuit=circuits[name].without(group, heads), means=means[name]
    )
    for way, heads in sets.items()
}

# %% tags=["hide-input"]
told = "One prompt, by the circuit less some of its heads."
show(patching.one_prompt(one, ways, caption=told), folded=True)
glue(
    one_name=name,
    one_text=one.prompt.texts[0],
    one_group=f"{GROUPS[group].title.lower()}s ({GROUPS[group].letter})",
    one_head=str(head),
    one_rivals=listed(map(str, rivals)),
    **{f"one_{i}": float(probs[0]) for i, probs in enumerate(ways.values())},
)

# %% [markdown]
# The right object has a probability of {glue:text}`one_0:.3f`, without the head
# {glue:text}`one_1:.3f`. Without its rivals it has {glue:text}`one_2:.3f`, and without them and the
# head {glue:text}`one_3:.3f`. The prompt was chosen to show this. Over many prompts, the score of
# the head is the ratio of the accuracies in the last two cases, less 1.
#
# ## Which heads are needed
#
# Every circuit of {doc}`04_same_circuit` was pruned on four prompts for each pair of its search:
# {glue:text}`n_pruning_own` for a version's own. Now the heads that were kept are judged once more,
# on {glue:text}`n_used` other prompts. K stays as the pruning chose it. Chosen anew, on the prompts
# that then score the head, it would pick up their luck.

# %%
# figure: fig-own-minimality
# caption: Minimality score of every head of one version's own circuit, on prompts that neither
#   chose nor pruned it. Bars above 1 are cut. Grey: below the threshold of 1 %, so these prompts
#   would not keep it.
show(figures.minimality_bars(judged[name]))

# %%
counts = {}
for v, again in judged.items():
    costs = again.costs()
    counts[v] = {
        "heads": len(costs),
        "1 % or more again": sum(
            s >= again.threshold for g in again.scores.values() for s in g.values()
        ),
        "clearly help": sum(cost.low > 0 for cost in costs),
        "clearly harm": sum(cost.high < 0 for cost in costs),
        "either, by chance": 0.025 * len(costs),
    }

# %% tags=["hide-input"]
caption = "Heads of every circuit on new prompts, by their score and by the interval of their cost."
header = ["circuit of", *counts[name]]
show(Table([[v, *row.values()] for v, row in counts.items()], header, caption))
n_kept, n_again, n_help, n_harm, n_chance = counts[name].values()
glue(n_kept=n_kept, n_again=n_again, n_help=n_help, n_harm=n_harm)
glue(n_open=n_kept - n_help - n_harm, n_chance=n_chance, n_prompts_1=0.01 * len(held_out))

# %% [markdown]
# Of the {glue:text}`n_kept` heads of {glue:text}`one_name`, {glue:text}`n_again` reach the
# threshold of 1 % again. That threshold asks little: 1 % of the accuracy is at most
# {glue:text}`n_prompts_1:.0f` of these prompts. With the interval of what they cost above zero,
# {glue:text}`n_help` heads *clearly* help when their rivals are gone. {glue:text}`n_harm` clearly
# harm, where {glue:text}`n_chance:.1f` would by chance if no head did anything. Of
# {glue:text}`n_open` we cannot say. What these do together is seen only when all of them go:

# %%
parts = {
    v: measure_faithfulness(
        models[v], held_out, circuits=[again.circuit, again.clear()], means=means[v]
    )
    for v, again in judged.items()
}

# %% tags=["hide-input"]
rows = [[v, rate(s.full), *map(rate, s.hits), difference(*s.hits[::-1])] for v, s in parts.items()]
header = ["version", "whole", "circuit", "clear heads alone", "clear less circuit"]
show(Table(rows, header, "Accuracy of each version, and of parts of its own circuit alone."))
clear_less = {v: difference(*s.hits[::-1]) for v, s in parts.items()}
glue(clear_focus=f"{clear_less[name]:+.2f}")
glue(clear_less_list=listed(f"{gap:+.2f} in {v}" for v, gap in clear_less.items()))

# %% [markdown]
# With the clear heads alone the accuracy changes by {glue:text}`clear_less_list`. In `base` and
# `math` nothing that shows is lost with the heads of which we cannot say. In the other versions
# these carry a part of the work together, and none of them enough of it to be seen alone. The clear
# heads were chosen on the prompts that they are scored on here, so on others a loss would be a
# little larger.
#
# ## A second search, and a larger one
#
# A head can also be missing. So the search is made again in {glue:text}`larger_list`, with
# {glue:text}`n_pairs_more` pairs. But any second search finds other heads. What is owed to the
# number of pairs shows only beside a second search of the *same* size, on other prompts.

# %%
larger = (more.split() or [name]) if n_pairs_more >= 7 else []
SMALL, OTHER = f"{n_pairs_own} pairs", f"{n_pairs_own} other pairs"
LARGE = f"again, {n_pairs_more} pairs"
ways_to_search = {OTHER: {"seed": seed + 1}, LARGE: {"n_pairs": n_pairs_more}}
searches = {
    v: {SMALL: circuits[v]}
    | {
        how: find_circuit(models[v], replace(settings, **change)).circuit
        for how, change in ways_to_search.items()
    }
    for v in larger
}

# %% tags=["hide-input"]
rows = [
    [f"{v}: {GROUPS[g].letter}", *(len(c.groups[g]) for c in of.values())]
    + [len({*of[SMALL].groups[g]} & {*of[how].groups[g]}) for how in ways_to_search]
    for v, of in searches.items()
    for g in GROUPS
]
header = ["circuit and group", SMALL, OTHER, LARGE, "first and second", "first and larger"]
show(Table(rows, header, "Heads found by each search, and by two of them."), folded=True)

# %%
fetchers = {v: {how: {*c.groups[FETCHERS]} for how, c in of.items()} for v, of in searches.items()}
only = {
    "larger": {v: of[LARGE] - of[SMALL] for v, of in fetchers.items()},
    "other": {v: of[OTHER] - of[SMALL] for v, of in fetchers.items()},
    "small": {v: of[SMALL] - of[LARGE] for v, of in fetchers.items()},
}
of_base = {*circuits[base].groups[FETCHERS]}

# %% tags=["hide-input"]
words = {
    which: listed((", ".join(map(str, sorted(h))) or "none" for h in of.values()), none=NOT_RUN)
    for which, of in only.items()
}
glue(larger_list=listed(larger, none="no version"), **{f"only_{k}": v for k, v in words.items()})
shared = [f"{len(h & of_base)} of {len(h)}" for h in only["larger"].values()]
glue(only_larger_base=listed(shared, none=NOT_RUN), base_name=base)

# %% [markdown]
# Value fetchers that the larger search keeps and the first did not: {glue:text}`only_larger`. The
# circuit of {glue:text}`base_name` has {glue:text}`only_larger_base` of them. The second small
# search adds {glue:text}`only_other`. And the first kept some that the larger one does not:
# {glue:text}`only_small`.
#
# All these circuits then run alone, and their value fetchers are taken out of the whole version.

# %%
alone = {
    v: measure_faithfulness(
        models[v], held_out, circuits=[*of.values(), circuits[base]], means=means[v]
    )
    for v, of in searches.items()
}

# %%
without = {
    v: without_fetchers(
        models[v],
        held_out,
        circuits={base: circuits[base], **of},
        apart=(base, *of),
        means=means[v],
        n_random=n_random,
    )
    for v, of in searches.items()
}

# %% tags=["hide-input"]
rows = [[v, *map(rate, s.hits), difference(s.hits[2], s.hits[0])] for v, s in alone.items()]
header = ["version", SMALL, OTHER, LARGE, f"of {base}", "larger less first"]
show(Table(rows, header, "Accuracy of each search's circuit alone."), folded=True)
rows = [
    [f"{v}: {what}", w.n_heads[what], w.accuracy(what)]
    for v, w in without.items()
    for what in w.hits
]
rows += [[f"{v}: random", w.n_heads[ALL_CIRCUITS], w.random_accuracy()] for v, w in without.items()]
header = ["version and what is taken away", "heads", "accuracy"]
show(
    Table(rows, header, "Accuracy of a version less the value fetchers (A) of a search."),
    folded=True,
)

# %% tags=["hide-input"]
left = without.get(name)
for how, key in ((SMALL, "small"), (OTHER, "other"), (LARGE, "large")):
    glue(**{f"left_{key}": f"{left.accuracy(how)}" if left else NOT_RUN})
glue(
    name_searched=name,
    less_small=f"{difference(left.hits[LARGE], left.hits[SMALL]):+.2f}" if left else NOT_RUN,
    less_other=f"{difference(left.hits[LARGE], left.hits[OTHER]):+.2f}" if left else NOT_RUN,
    left_base=f"{left.accuracy(base)}" if left else NOT_RUN,
    left_random=f"{left.random_accuracy()}" if left else NOT_RUN,
    n_small=left.n_heads[SMALL] if left else NOT_RUN,
    n_large=left.n_heads[LARGE] if left else NOT_RUN,
    n_together=left.n_heads[ALL_CIRCUITS] if left else NOT_RUN,
    gain=listed((f"{difference(s.hits[2], s.hits[0]):+.2f}" for s in alone.values()), none=NOT_RUN),
)

# %% [markdown]
# Alone, the circuit of the larger search does no better than the first: its accuracy less that of
# the first is {glue:text}`gain`. So {term}`faithfulness` does not tell which of them holds the
# heads that the version lives on. Taking heads away does. Without the {glue:text}`n_small` value
# fetchers of the first search the version has {glue:text}`left_small`, without the
# {glue:text}`n_large` of the larger one {glue:text}`left_large`, a difference of
# {glue:text}`less_small` on the same prompts. What is left without those of the small search on
# other prompts lies between, {glue:text}`left_other`; there the difference is
# {glue:text}`less_other`. Without the value fetchers of {glue:text}`base_name` the version has
# {glue:text}`left_base`, and without {glue:text}`n_together` random heads, as many as all these
# searches found together, drawn from their layers, {glue:text}`left_random`.
#
# *Caveats.* All searches follow the same rules, so what the method cannot see none can find. The
# clean prompts of the first search are among those of the larger one, with other corrupt prompts
# beside them. One version was searched again, once with each size; how much another larger search
# would differ from this one is not known.
#
# ## In three sentences
#
# Of the {glue:text}`n_kept` heads in the own circuit of {glue:text}`one_name`,
# {glue:text}`n_again` reach the paper's threshold again on new prompts and {glue:text}`n_help`
# clearly help; what the others are worth together, {glue:text}`clear_focus`, no single one of them
# shows. Two searches with {glue:text}`n_pairs_own` pairs find different value fetchers, and without
# either set the version keeps much of its accuracy ({glue:text}`left_small` and
# {glue:text}`left_other`); without those of a search with {glue:text}`n_pairs_more` pairs it has
# next to nothing left ({glue:text}`left_large`). So the value fetchers that such a version
# shares with {glue:text}`base_name` are, if anything, counted too low in {doc}`04_same_circuit`: of
# those that the first search missed, {glue:text}`only_larger_base` are in the circuit of
# {glue:text}`base_name`.
#
# *Next:* {doc}`04_same_circuit` has what the circuits are compared for, {doc}`15_stability` what
# comes back on other prompts and in other lineages.

# %% [markdown]
# # What is stable?
#
# Ask one person on one day, and you know what this person said that day. A chapter of this book is
# one such answer: one base with the versions made from it, one draw of prompts. **Which of our
# findings come back in other models and on other prompts?**
#
# A *sweep* has run the chapters again: on {glue:text}`lineages_list`, and with other prompts. Of
# {glue:text}`n_claims` claims that were measured more than once, {glue:text}`n_one_verdict` have
# the same verdict wherever they were measured. Between prompts of the same model,
# {glue:text}`same_prompts` verdicts agree and {glue:text}`opposite_prompts` are opposite; between
# {term}`lineages <lineage>`, {glue:text}`same_lineage` and {glue:text}`opposite_lineage`. And the
# heads? Of the smaller of two {term}`circuits <circuit>`, the other has {glue:text}`heads_prompts`
# of the heads where the same model was searched on other prompts, {glue:text}`heads_seed` where it
# was trained again with another seed, and {glue:text}`heads_data` where its base was trained on
# other data; heads shuffled within their layers would give {glue:text}`heads_chance` for the last.
#
# This page is ours; the paper has one base. *Objectives:* tell a verdict that changed from one that
# was only too uncertain to see; say what a second search in the same model is good for. *Time:* 15
# minutes. *Before it:* {doc}`04_same_circuit`, {doc}`08_what_improved`, {doc}`12_lineages`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # a family in models/
siblings: str = ""  # families made from the same model, spaces between; empty: as files say
seed: int = 0  # of the draws behind chance [0, 1000000]

# %% tags=["hide-input"]
from collections import Counter

import numpy as np

from entrack.display.cells import glue, judge, listed, show
from entrack.display.tables import NOT_RUN
from entrack.lineages import origin
from entrack.paper.claims import claim
from entrack.sites import GROUPS
from entrack.stats.metrics import rate
from entrack.sweep import forest as shown
from entrack.sweep import heads, stability
from entrack.sweep.recorded import recorded, relatives
from entrack.sweep.stability import OPPOSITE, SAME
from entrack.versions import families

# %% [markdown]
# ## One claim, many runs
#
# This page computes no model. It reads a record that is committed with the book: for each run the
# claims with their numbers and verdicts, and what made them. A *set of runs* is a lineage, the
# prompts with one seed, and the sizes. Those called *published* are chapters of this book as they
# were published, in their full sizes: of the family that the chapters now have, and of the one that
# they had up to edition 3 ({doc}`../book/changes`), with the code and the sizes of that time. The
# others are small, so that they can be held beside each other: their sizes are a little above those
# of the quick edition, and equal in all of them (`workflow/stability.yaml`).

# %%
siblings = siblings.split() or relatives(family)
record = recorded({family, *siblings})
met = stability.across(record).values()
claims = {c.slug: c for c in sorted(met, key=lambda c: c.chapter)}
columns = sorted(
    stability.columns(claims), key=lambda c: (c.lineage != family, c.lineage, not c.edition, c.seed)
)

# %%
differs = {
    "sizes": lambda c: c.edition,
    "prompts": lambda c: c.seed,
    "training seed": lambda c: origin(c.lineage)[1],
    "training data": lambda c: origin(c.lineage)[0],
}
pairs = stability.one_apart(columns, differs)
another_lineage = ("training seed", "training data")

# %% tags=["hide-input"]
measured = [c for c in claims.values() if len(c.measured) > 1]
glue(
    lineages_list=listed(dict.fromkeys(c.lineage for c in columns), none=NOT_RUN),
    columns_list=listed(map(str, columns), none=NOT_RUN),
    n_runs=len(record["runs"]),
    n_claims=len(measured),
    n_one_verdict=sum(c.agreed for c in measured),
)

# %% [markdown]
# The sets here are {glue:text}`columns_list`, with {glue:text}`n_runs` runs in all. Take one claim
# first: that the {term}`value fetchers <value fetcher>` (A) carry the object. The rule is the same
# in every row.

# %%
show(shown.readings(claims.get("A_carries_object"), columns))

# %% [markdown]
# ```{admonition} Predict before you read on
# :class: tip
# What moves a verdict more: other prompts to the same model, or the same prompts to another model?
# And which finding will hold out longest: the same circuit (i), the same job (ii), or the job done
# better (iii)?
# ```
#
# ## The numbers
#
# Each row is a claim that two sets of runs or more have measured, each mark a set with its 95 %
# interval; point at a mark and it tells its number. A star is a number of the paper in the same
# unit, one for each of its models that it gives the number for. Of a claim that is judged version
# by version, the version fine-tuned on look-ups is drawn, for all lineages have it. First the task
# itself, and what tokens carry:

# %%
# figure: fig-stable-task
# caption: Claims about the task and about published errors, in every set of runs. Bars: 95 %
#   intervals. Star: the paper's models.
focus = families.focus(family)
drawn = {name: [c for c in measured if c.finding == name] for name in shown.FINDINGS}
shown.forest(drawn[""], columns, focus=focus, name="the task")

# %% [markdown]
# Finding (i), the circuit and where else it is found:

# %%
# figure: fig-stable-i
# caption: Claims of finding (i), as above.
shown.forest(drawn["i"], columns, focus=focus, name="finding i")

# %% [markdown]
# Finding (ii), what reads what, and what each group carries. The claims of the paper come first,
# then what only we ask.

# %%
# figure: fig-stable-ii
# caption: The paper's claims of finding (ii), as above.
theirs = [c for c in drawn["ii"] if not c.ours]
shown.forest(theirs, columns, focus=focus, name="finding ii, the paper's")

# %%
# figure: fig-stable-ii-ours
# caption: Our claims about finding (ii), as above.
ours = [c for c in drawn["ii"] if c.ours]
shown.forest(ours, columns, focus=focus, name="finding ii, ours")

# %% [markdown]
# Finding (iii), what fine-tuning made better, and by what: first the heads that are patched between
# models, then the other task and the course of training.

# %%
# figure: fig-stable-iii
# caption: Claims of finding (iii) about heads patched between models, as above.
between = [c for c in drawn["iii"] if c.chapter[:2] not in ("13", "14")]
shown.forest(between, columns, focus=focus, name="finding iii, between models")

# %%
# figure: fig-stable-iii-training
# caption: Claims of finding (iii) about another task and the course of training, as above.
along = [c for c in drawn["iii"] if c.chapter[:2] in ("13", "14")]
shown.forest(along, columns, focus=focus, name="finding iii, training")

# %% [markdown]
# Many rows have no star. The paper gives no number for what only we claim, and some of its numbers
# are in units of their own:

# %%
show(shown.without_star(measured))

# %% [markdown]
# Look for marks whose bars do not touch. Bars that overlap can still stand for different numbers,
# and with this many claims some pairs part by chance; the first exercise says how many.
#
# ## The verdicts
#
# A verdict is coarser than a number. It can change for two reasons: the number moved, or the
# interval grew and now leaves both answers open. The second is no contradiction. So we count four
# ways in which two verdicts can stand to each other: the same, undecided in one, *partly* in one,
# and *opposite*. The last is the one that matters: a claim holds, at least in part, in one set, and
# does not in the other. The table by finding is the one to hold beside your prediction.

# %%
show(shown.comparisons(claims, pairs), folded=True)

# %%
show(shown.counts(list(claims.values())))

# %% tags=["hide-input"]
show(shown.opposites(claims, pairs), folded=True)
show(shown.verdicts(list(claims.values()), columns))

# %% tags=["hide-input"]
found = {kind: stability.tally(claims, listed) for kind, listed in pairs.items()}
found["lineage"] = sum((found[kind] for kind in another_lineage), Counter())
told = {
    f"{name}_{kind.replace(' ', '_')}": f"{one[word]} of {sum(one.values())}" if one else NOT_RUN
    for kind, one in found.items()
    for name, word in (("same", SAME), ("opposite", OPPOSITE))
}
glue(**told)

# %% [markdown]
# **What hangs on the sizes.** The published chapters and the small runs use the same model and the
# same seed. {glue:text}`same_sizes` verdicts agree, {glue:text}`opposite_sizes` are opposite. Most
# of the rest are undecided in one of the two sets, which is the price of few prompts.
#
# **What hangs on the prompts.** With other prompts for the same model, {glue:text}`same_prompts`
# verdicts stay. No other model can be expected to agree better with a model than it agrees with
# itself, so the next line is to be read beside this one. Where few verdicts are compared here, this
# is a rough standard.
#
# **What hangs on the lineage.** Train again by the same recipes, with another seed for the data and
# for the first weights, and {glue:text}`same_training_seed` verdicts stay;
# {glue:text}`opposite_training_seed` turn round. Train on other data, as for the base of `smollm2`,
# and {glue:text}`same_training_data` stay; {glue:text}`opposite_training_data` turn round. The last
# two numbers are of chapters as published, with more prompts, so fewer verdicts are undecided there
# and more can be opposite. A folded table above names the opposite ones.
#
# ## The heads
#
# A verdict about heads says what heads of a kind do. Are they the same heads? Each set of runs has
# searched the base for its circuit, and a fine-tuned version as well. The searches in the base come
# first, by group: value fetchers (A), {term}`position transmitters <position transmitter>` (B),
# {term}`position detectors <position detector>` (C) and {term}`structure readers <structure
# reader>` (D).

# %%
reference = families.reference(family)
every = sorted(heads.searches(record), key=lambda s: columns.index(s.column))
bases = [search for search in every if search.version == reference]
others = [search for search in every if search.version != reference]

# %%
# figure: fig-stable-heads
# caption: Heads by group (rows, layer.head) that each search in a base found (columns, by the
#   numbers of the table). Dark: found by every search.
show(shown.heads_found(bases))

# %%
show(shown.named(bases), folded=True)

# %% [markdown]
# The folded table above names the searches. The next one gives the *share* of the heads of the
# smaller circuit that the other one has too. Two searches in the same model on other prompts set
# the {term}`ceiling`. Chance keeps the layers: each head is put at a random place of its own layer,
# so a large circuit holds much of a small one by chance.

# %%
per_layer = families.family_file(family).get("config", {}).get("num_attention_heads", 1)
kinds = stability.one_apart(
    bases, {name: lambda s, get=get: get(s.column) for name, get in differs.items()}
)
kinds["version"] = [(a, b) for a in bases for b in others if a.column == b.column]

# %%
parts = {name: [name] for name in GROUPS} | {"all": list(GROUPS)}
alike = {
    kind: [
        {
            name: heads.shared(a, b, heads_per_layer=per_layer, groups=groups, seed=seed)
            for name, groups in parts.items()
        }
        for a, b in listed
    ]
    for kind, listed in kinds.items()
}
show(shown.overlap(alike), folded=True)

# %% tags=["hide-input"]
always = {
    g: sum(len(w) == len(bases) for w in heads.times_found(bases, g).values()) for g in GROUPS
}
glue(
    heads_prompts=shown.mean_share(alike["prompts"]),
    heads_seed=shown.mean_share(alike["training seed"]),
    heads_data=shown.mean_share(alike["training data"]),
    heads_version=shown.mean_share(alike["version"]),
    heads_chance=shown.mean_share(alike["training data"], by_chance=True),
    n_searches=len(bases),
    always_list=listed(f"{n} of {GROUPS[g].letter}" for g, n in always.items()),
)

# %% tags=["hide-input"]
detectors = {
    kind: shown.mean_share([{"all": one["position_detector"]} for one in alike[kind]])
    for kind in ("prompts", "training seed")
}
glue(detectors_prompts=detectors["prompts"], detectors_seed=detectors["training seed"])

# %% [markdown]
# Every one of the {glue:text}`n_searches` searches found {glue:text}`always_list`. Two
# searches in one model that differ in nothing but their prompts share {glue:text}`heads_prompts`,
# so two models trained with different seeds, which share {glue:text}`heads_seed`, cannot be
# expected to share much more. Of the position detectors (C) alone they share
# {glue:text}`detectors_seed`, where the two searches in one model share
# {glue:text}`detectors_prompts`; these are few heads in each search. A base and the version
# fine-tuned from it share {glue:text}`heads_version`, though the version was searched with fewer
# pairs.
#
# *Caveats.* In the small sizes circuits come from few pairs and are scored on few prompts, so an
# interval is wide, and a search misses heads that a larger one finds. Two searches that differ only
# in prompts show how much of that there is. The two published sets have sizes of their own, and the
# older one was judged by the rules of its time, so a verdict there may differ for these reasons
# too. Claims of one run share its prompts and heads, so counts of verdicts are no independent
# votes. And all lineages come from one pretrained model: what is stable here may still be a trait
# of that one.
#
# ## What we claim, what we find, verdict
#
# The first two claims are about shares, with intervals as wide as few pairs of verdicts make them:
# that none of a handful is opposite does not yet say that few are.

# %% tags=["hide-input"]
n_compared = {kind: sum(one.values()) for kind, one in found.items()}
wrong = {
    kind: rate(np.arange(n_compared[kind]) < one[OPPOSITE]) if one else None
    for kind, one in found.items()
}
excess = {
    f"{a.column.lineage} and {b.column.lineage}": one["all"].excess
    for kind in another_lineage
    for (a, b), one in zip(kinds[kind], alike[kind], strict=True)
}

# %% tags=["hide-input"]
judge(
    claim("stable_lineages", wrong["lineage"], n=n_compared["lineage"]),
    claim("stable_prompts", wrong["prompts"], n=n_compared["prompts"]),
    claim("stable_heads", excess, tests=max(1, len(excess))),
    caption="All findings: what comes back elsewhere",
)

# %% [markdown]
# ## In three sentences
#
# The chapters ran again on {glue:text}`lineages_list` and on other prompts, and
# {glue:text}`n_one_verdict` of {glue:text}`n_claims` claims kept one verdict throughout. That few
# claims which come out in one lineage fail in another, *{glue:text}`verdict_stable_lineages`*; the
# same for other prompts, *{glue:text}`verdict_stable_prompts`*. That two lineages share more heads
# than their layers explain, *{glue:text}`verdict_stable_heads`*.
#
# *Next:* {doc}`../book/conclusion`, all findings on one page.

# %% [markdown]
# ## Exercises
#
# Both are about two runs that disagree. They need no model.

# %% tags=["exercise-setup"]
import numpy as np

from entrack.course.checks import check
from entrack.stats.metrics import Estimate


def made_runs(n_pairs=4000, gap=0.0, seed=0):
    """Pairs of made-up estimates, each with an interval of its own; the truths are `gap` apart."""
    rng = np.random.default_rng(seed)
    errors = rng.uniform(0.01, 0.03, size=(n_pairs, 2))
    values = 0.3 + rng.normal(size=(n_pairs, 2)) * errors + [0, gap]
    made = [
        [Estimate(v, v - 1.96 * e, v + 1.96 * e, 100) for v, e in zip(*row, strict=True)]
        for row in zip(values, errors, strict=True)
    ]
    return [tuple(pair) for pair in made]


# %% [markdown]
# ::::{exercise} Do two runs disagree?
# :label: ex-stable-differ
# :class: write
#
# Two runs on independent prompts give two numbers, each with its 95 % interval. Say whether they
# disagree, so that two runs of the same thing are called different once in twenty times.
#
# :::{admonition} Hint
# :class: dropdown
# The difference has an error too. How do the errors of two independent numbers add up?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-stable-differ"]
# Let them look at the forests first and say which marks disagree. Nearly all go by "do the bars
# touch?", which is too strict (for equal bars, about one in two hundred by chance), some by "does
# one bar hold the other mark?", which is too lax. Then ask how many of the pairs on this page
# should part by chance.

# %% [markdown]
# :::{solution-start} ex-stable-differ
# :class: dropdown
# :::


# %% tags=["answer", "ex-stable-differ"]
def disagree(first, second):
    """Whether two independent estimates differ by more than chance, at the level of 5 %.

    first, second: objects with value, low and high, the last two the ends of a symmetric 95 %
    interval. Returns a bool.
    """
    errors = [(e.high - e.low) / 2 for e in (first, second)]
    return bool(abs(first.value - second.value) > np.hypot(*errors))


# %% [markdown]
# Half the width of an interval is 1.96 standard errors, and the squares of errors add up. So the
# half widths are added as the sides of a right triangle: the bars may overlap by a good part, and
# the runs disagree all the same. Runs on the *same* prompts are not independent; there the
# difference has to be taken prompt by prompt, as the other chapters do.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-stable-differ"]
with check("ex-stable-differ", "two runs of the same thing disagree about once in twenty times"):
    share = np.mean([disagree(*pair) for pair in made_runs()])
    assert 0.035 < share < 0.065, f"{share:.3f}"

with check("ex-stable-differ", "a gap of many errors is always seen, in either direction"):
    for gap in (0.3, -0.3):
        assert all(disagree(*pair) for pair in made_runs(n_pairs=200, gap=gap))

# %% tags=["hidden-test", "ex-stable-differ"]
with check("ex-stable-differ", "a run without error beside another: its own interval decides"):
    sure = Estimate(0.30, 0.30, 0.30, 9)
    assert disagree(sure, Estimate(0.41, 0.31, 0.51, 9))
    assert not disagree(sure, Estimate(0.39, 0.29, 0.49, 9))


# %% tags=["wrong-answer", "ex-stable-differ"]
# slip: the bars must not touch
def disagree(first, second):
    return bool(first.high < second.low or second.high < first.low)


# %% tags=["wrong-answer", "ex-stable-differ"]
# slip: one number lies outside the interval of the other
def disagree(first, second):
    return bool(second.value < first.low or second.value > first.high)


# %% tags=["wrong-answer", "ex-stable-differ"]
# slip: only a larger second number counts
def disagree(first, second):
    errors = [(e.high - e.low) / 2 for e in (first, second)]
    return bool(second.value - first.value > np.hypot(*errors))


# %% [markdown]
# :::{exercise} A verdict that turned round
# :label: ex-stable-turned
#
# A claim holds in one lineage and does not hold in another, on the same prompts. Give three
# explanations of which only one says that the two models work differently, and for each a run that
# would tell.
# :::
#
# :::{solution} ex-stable-turned
# :class: dropdown
#
# First, the number may lie near the line of the rule, so that a small shift turns the verdict: look
# at the intervals, and run more prompts. Second, the heads may be worse in one lineage because the
# search had too few pairs, and then the claim is about other heads: repeat the search with more
# pairs, or patch the heads that one lineage's search found in the other. Third, the models may
# differ: then the verdict stays with more prompts and with better searches, and it also comes back
# with other prompts in each lineage. If it does not come back there, it hung on the prompts.
# :::

# %% [markdown]
# # When does it improve?
#
# **While a model is trained, does the circuit appear, move to other heads, or stay and sharpen?**
# The other chapters compare finished versions. Here we train two of them once more and stop on the
# way: {glue:text}`first_course`, and {glue:text}`second_course`. Boxes are in the data of
# {glue:text}`with_boxes`. Where a training has none, what rises in boxes was not learnt from boxes.
# At each stop, a *checkpoint*, we measure how well the model does boxes, which heads matter there,
# and what the groups of one fixed {term}`circuit` say.
#
# If training builds a circuit, its heads come with the accuracy. If it finds one, they are there
# before. Before half of the gain of {glue:text}`reference_name` is made, are its own heads there?
# {term}`Value fetchers <value fetcher>` (A) *{glue:text}`verdict_course_found_A`*,
# {term}`position transmitters <position transmitter>` (B) *{glue:text}`verdict_course_found_B`*,
# {term}`position detectors <position detector>` (C) *{glue:text}`verdict_course_found_C`*. Do they
# stay while {glue:text}`tuned_name` is made from it? A *{glue:text}`verdict_course_stays_A`*, B
# *{glue:text}`verdict_course_stays_B`*, C *{glue:text}`verdict_course_stays_C`*. And do they
# come to carry more? A *{glue:text}`verdict_course_carries_A`*, B
# *{glue:text}`verdict_course_carries_B`*, C *{glue:text}`verdict_course_carries_C`*.
#
# This test is ours. *Objectives:* tell a circuit that appears from one that sharpens; read two
# curves over the same steps without taking one for the cause of the other. *Time:* 20 minutes.
# *Before it:* {doc}`04_same_circuit`, {doc}`10_messages`, {doc}`12_lineages`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # a family in models/
with_tuned: bool = True  # follow the fine-tuning too; it takes most of the time
steps_base: list[int] = [20, 50]  # stops on the way to the reference [1, 100000]
to_the_end: bool = True  # train to the end too; else each course ends at the version in models/
steps_tuned: list[int] = [25, 75, 150]  # stops on the way from it [1, 100000]
n_scenes: int = 42  # scenes of seven prompts behind every accuracy [2, 1000]
n_pairs: int = 70  # clean and corrupt pairs behind the circuit of the reference [7, 700]
n_pairs_own: int = 28  # the same behind the effects of heads at every checkpoint [7, 700]
n_contents: int = 35  # scenes of seven pairs behind what the groups carry [2, 1000]
structure_role: str = ""  # empty: as in its file {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from entrack.across import training_figures as figures
from entrack.across import training_tables as tables
from entrack.across.checkpoints import recipe_of
from entrack.across.look_ups import BOXES
from entrack.across.practised import subject
from entrack.across.training import (
    FOLLOWED,
    CourseSettings,
    effects,
    follow,
    kept,
    least_alike,
    standing,
)

# %% tags=["hide-input"]
from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.overlap import likeness
from entrack.circuit.search import circuit_of
from entrack.display.cells import glue, judge, listed, show
from entrack.paper.claims import claim
from entrack.sites import GROUPS
from entrack.stats.claims import direction
from entrack.task.draws import scenes
from entrack.versions import families
from entrack.versions.loading import load

# %%
reference, tuned = families.reference(family), families.focus(family)
base = load(f"{family}/{reference}")
stops = {reference: steps_base, tuned: steps_tuned} if with_tuned else {reference: steps_base}
made = {version: recipe for version in stops if (recipe := recipe_of(family, version))}
told = [f"{r.on} to {v}, {r.steps} steps on {subject(r)}" for v, r in made.items()]
with_boxes = [v for v, recipe in made.items() if BOXES in subject(recipe)]
missing = [f"the way to {v}, not followed here" for v in (reference, tuned) if v not in made]
glue(
    first_course=(told + missing)[0],
    second_course=(told + missing)[1],
    with_boxes=listed(with_boxes, none="neither"),
    reference_name=base.name,
    tuned_name=tuned,
)

# %% [markdown]
# The recipes are those that made the versions of this book, with the same data in the same order. A
# family that was not made by one of them has nothing to follow: then this page shows no figure, and
# its claims are *not run*.

# %%
discovery = DiscoveryConfig(structure_role=structure_role or families.structure_role(family))
settings = CourseSettings(n_scenes, n_pairs_own, n_contents, seed, discovery)
search = {"structure_role": discovery.structure_role, "n_pairs": n_pairs, "seed": seed}
circuit = circuit_of(base, **search) if made else None
courses = [
    follow(
        family,
        version,
        steps=stops[version],
        circuit=circuit,
        settings=settings,
        to_the_end=to_the_end,
    )
    for version in made
]

# %% [markdown]
# ## One prompt
#
# The same prompt is put to every checkpoint:
#
# > {glue:text}`prompt`
#
# The right object is *{glue:text}`answer`*. Its probability stays low to the end, although the
# finished versions answer most prompts right. One prompt goes its own way; the curves further down
# are over many.

# %% tags=["hide-input"]
from entrack.task.boxes import Example

QUERY = 2
asked = Example(scenes(1, split="evaluation", seed=seed)[0], QUERY)
glue(prompt=asked.text, answer=asked.answer)

# %%
# figure: fig-one-prompt
# caption: The probability of the right object of one prompt at every checkpoint.
if courses:
    show(figures.one_prompt(courses, query=QUERY))

# %% [markdown]
# ```{admonition} Predict before you read on
# :class: tip
# Draw three curves over the steps of the first course: the accuracy in boxes; how like the heads
# are to those of the finished version; how often an answer follows what the position transmitters
# say. Which rises first? Then draw them for the second course. Which of the three would stay flat
# if fine-tuning *enhances* what is there?
# ```
#
# ## Three curves
#
# The first is the accuracy. The second compares the effects of all heads, by {term}`path
# patching`, with those in {glue:text}`reference_name`, where the first course ends and the second
# begins. That search has other prompts than the checkpoints. So 1, the {term}`ceiling`, is how like
# {glue:text}`reference_name` is to itself on other prompts, as in {doc}`12_lineages`. The third
# takes the heads of *one* circuit, that of {glue:text}`reference_name`, at every checkpoint: they
# are given their output on another prompt, and we count the answers that follow, above the
# {term}`floor`, as in {doc}`06_what_the_heads_carry`.

# %%
elsewhere = effects(base, n_pairs=n_pairs_own, seed=seed + 1, config=discovery) if made else None
again = effects(base, n_pairs=n_pairs_own, seed=seed, config=discovery) if made else None
ceiling = {group: likeness(elsewhere, again, group=group, seed=seed) for group in FOLLOWED if made}
alike = [course.alike(elsewhere, seed=seed) for course in courses]

# %%
# figure: fig-along-training
# caption: Accuracy (top), likeness of the heads to those of {glue:text}`reference_name` as a share
#   of the ceiling (middle) and messages followed (bottom) against the steps of training, on a
#   square-root scale. Grey line: half of the gain in accuracy is made. Whiskers: 95 % intervals;
#   those that leave the middle panels are cut off.
if courses:
    show(figures.courses(courses, alike, ceiling=ceiling))

# %% tags=["hide-input"]
NOT = "not measured"
by_version = {course.version: course for course in courses}
making, tuning = by_version.get(reference), by_version.get(tuned)
glue(
    half_base=making.half if making else NOT,
    before_base=making.before_half if making else NOT,
    half_tuned=tuning.half if tuning else NOT,
    gain_base=making.gain if making else NOT,
    gain_tuned=tuning.gain if tuning else NOT,
    way_base=f"{making.way(making.half):.0%}" if making else NOT,
)

# %% tags=["hide-input"]
more = {
    version: [x for x in course.letters() if direction(course.rise(x)) == "higher"]
    for version, course in by_version.items()
}
first = [(alike[0][0][g], ceiling[g]) for g in FOLLOWED] if making else []
shares = [f"{a.share_of(c).value:.2f}" if a and c else "undefined" for a, c in first]
glue(
    n_own=n_pairs_own,
    first_shares=listed(shares, none=NOT),
    more_base=listed(more.get(reference, [NOT]), none="none of them"),
    more_tuned=listed(more.get(tuned, [NOT]), none="none of them"),
    apart=listed((f"{c.apart:.1%}" for c in courses if c.apart is not None), none=NOT),
)

# %% [markdown]
# The first course gains {glue:text}`gain_base` in accuracy and has made half of it by step
# {glue:text}`half_base`; the second gains {glue:text}`gain_tuned`, half of it by step
# {glue:text}`half_tuned`. What appears rises with the accuracy. What was there and stays is flat
# while the accuracy rises. A circuit that moves in the second course would show as a middle curve
# that falls.
#
# In the first course the likeness of A is high from the first step on, while what all three groups
# carry rises with the accuracy: the fetchers are the same heads from the start, and the answers
# come to follow them. In the second course no likeness clearly falls, and only what A carries
# clearly rises.

# %%
if courses:
    show(tables.changes(courses, alike, ceiling=ceiling))
    show(tables.checkpoints(courses, alike, ceiling=ceiling), folded=True)

# %% [markdown]
# *Likeness, first* in the first course belongs to the model before any of this training: how like
# its heads are to those of {glue:text}`reference_name` was not made here. For A, B and C it is, as
# a share of the ceiling: {glue:text}`first_shares`. A map rests on {glue:text}`n_own` pairs. Where
# few heads carry a group, that is too few for a narrow interval, and a likeness whose interval
# takes in both 0 and 1 says nothing.
#
# The last columns tell whether the same heads then say more. Groups that clearly come to carry more
# in the first course: {glue:text}`more_base`; in the second: {glue:text}`more_tuned`. For A a rise
# says little: its heads name the object, and a version that is right more often names the right one
# more often ({doc}`10_messages`). Where a version gains and a group is not clearly followed more
# than before, the gain is not shown to lie in what this group says.
#
# ## Head by head
#
# The same heads at every checkpoint: the strongest of each group in {glue:text}`reference_name`.

# %%
# figure: fig-heads-along
# caption: Effect of single heads (nats of log odds; negative: the head helps) against the steps of
#   training. Grey line as above. Whiskers: 95 % intervals over pairs of prompts.
if courses:
    strongest = {group: again.scores[group].ranked()[:3] for group in FOLLOWED}
    show(figures.heads(courses, strongest=strongest))

# %% [markdown]
# An effect in nats grows with what there is to lose: a model that is sure of the right object can
# lose more than one that guesses. So a growing effect alone is no new head. The likeness above does
# not see a common factor, since a correlation has no unit.
#
# ## Another run, another end?
#
# Training the same recipe on another processor need not give the same weights, since it may round
# in another way. So each run is held against the version that stands in the book. Its adapters are
# apart from those by {glue:text}`apart`; where that is nothing, the run came out the same. Where
# the two differ in a group by more than their intervals, that group says something about one run,
# not about the recipe.

# %%
if courses and to_the_end:
    book = {c.version: kept(family, c.version, settings=settings) for c in courses}
    show(tables.ends(courses, book, reference=elsewhere, ceiling=ceiling, seed=seed), folded=True)

# %% [markdown]
# *Caveats.* Each course is one run with one seed. At every checkpoint the {term}`receivers
# <receiver>` of B and C are its own heads, so a difference in A passes on. {term}`Structure readers
# <structure reader>` are not followed: their stage takes three quarters of a search. And the
# circuit whose groups are patched is that of {glue:text}`reference_name`: earlier, other heads may
# have carried the same.
#
# ## What we claim, what we find, verdict

# %% tags=["hide-input"]
letters = {GROUPS[group].letter: group for group in FOLLOWED}
likenesses = dict(zip(by_version, alike, strict=True))
there = {
    x: standing(likenesses[reference][making.before_half][g], ceiling[g]) if making else None
    for x, g in letters.items()
}
stays = {
    x: standing(least_alike(likenesses[tuned], g), ceiling[g]) if tuning else None
    for x, g in letters.items()
}

# %% tags=["hide-input"]
rises = {x: {v: c.rise(x) for v, c in by_version.items() if x in c.letters()} for x in letters}
pace = {
    x: {
        v: by_version[v].made(x, by_version[v].half)
        for v, rise in rises[x].items()
        if direction(rise) == "higher" and by_version[v].half < by_version[v].last
    }
    for x in letters
}

# %% tags=["hide-input"]
judge(
    *(claim(f"course_found_{x}", here and {reference: here}) for x, here in there.items()),
    *(claim(f"course_stays_{x}", here and {tuned: here}) for x, here in stays.items()),
    *(claim(f"course_carries_{x}", rises[x]) for x in letters),
    *(claim(f"course_pace_{x}", pace[x]) for x in letters),
    caption="Findings (i) and (iii) in the course of training",
)

# %% [markdown]
# "Before half of the gain" is step {glue:text}`before_base` here, the last stop before it. For
# heads, *partly* says: still more alike than heads shuffled within their layers, and not surely
# within eight tenths of the ceiling. The last three rows look only at courses in which a group
# clearly comes to carry more, and half of the gain is made before the end. Stops are coarse: at the
# first that has half of it, {glue:text}`way_base` of the gain of {glue:text}`reference_name` is
# made.
#
# What would refute "found, not built"? Heads that are no more alike than shuffled ones until the
# accuracy has risen. And "stays"? A stop on the way to {glue:text}`tuned_name` at which they are no
# more alike than that; heads that drift away leave it at *partly*. What a group carries could rise
# after the accuracy, or not at all: then the model improves in another way. Rising together is not
# yet causing; for that, a group is handed over ({doc}`08_what_improved`, {doc}`10_messages`).

# %% [markdown]
# ## In three sentences
#
# Two trainings of this book (boxes in the data of: {glue:text}`with_boxes`) were run once more and
# stopped on the way. That the value fetchers (A) of {glue:text}`reference_name` were there before
# half of its gain in accuracy, *{glue:text}`verdict_course_found_A`*, and the position transmitters
# (B), *{glue:text}`verdict_course_found_B`*; that they stay while {glue:text}`tuned_name` is made,
# A *{glue:text}`verdict_course_stays_A`*, B *{glue:text}`verdict_course_stays_B`*. That the
# transmitters come to carry more in both trainings, *{glue:text}`verdict_course_carries_B`*, and,
# where they do, as early as the accuracy rises, *{glue:text}`verdict_course_pace_B`*.
#
# *Next:* {doc}`15_stability` asks which claims come back elsewhere.

# %% [markdown]
# ## Exercises
#
# The function works on made-up curves; no model is needed.

# %% tags=["exercise-setup"]
from entrack.course.checks import check

STEPS = [0, 10, 25, 50, 100, 250]
ACCURACY = [0.60, 0.62, 0.72, 0.84, 0.90, 0.92]
LOSS = [4.0, 3.0, 1.5, 0.9, 0.6, 0.5]

# %% [markdown]
# ::::{exercise} Half of the way
# :label: ex-training-half
# :class: write
#
# To say which of two curves rises first, each needs a step at which it has made, say, half of its
# way. Write the function. Curves start anywhere, and some of them fall.
#
# :::{admonition} Hint
# :class: dropdown
# An accuracy that starts at `0.60` and ends at `0.92` has made none of its way at `0.60`.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-training-half"]
# The slip to wait for is the share of the last value in place of the share of the change: a curve
# that starts above half of its end is then "half way" before training begins. It is what makes a
# figure with cut axes look like a discovery. Ask what the function should say of a flat curve.

# %% [markdown]
# :::{solution-start} ex-training-half
# :class: dropdown
# :::


# %% tags=["answer", "ex-training-half"]
def half_way(steps, values, share=0.5):
    """The first of the steps at which `share` of the way from the first value to the last is made.

    steps, values: lists of one length, steps ascending. The values may rise or fall as a whole.
    """
    whole = values[-1] - values[0]
    made = [(value - values[0]) / whole for value in values]
    return next(step for step, part in zip(steps, made, strict=True) if part >= share)


# %% [markdown]
# Dividing by the whole change makes 0 of the first value and 1 of the last, whether the curve rises
# or falls. On a flat curve the division fails, and rightly: it has no half.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-training-half"]
with check("ex-training-half", "a curve that starts high has not made half of its way at once"):
    assert half_way(STEPS, ACCURACY) == 50

with check("ex-training-half", "a curve that falls has a half too"):
    assert half_way(STEPS, LOSS) == 25

with check("ex-training-half", "a larger share is reached no earlier"):
    found = [half_way(STEPS, ACCURACY, share) for share in (0.1, 0.3, 0.9, 1)]
    assert found == [25, 25, 100, 250]

# %% tags=["hidden-test", "ex-training-half"]
with check("ex-training-half", "another zero and another unit change nothing"):
    shifted = [10 * value - 7 for value in ACCURACY]
    assert half_way(STEPS, shifted) == half_way(STEPS, ACCURACY)


# %% tags=["wrong-answer", "ex-training-half"]
# slip: a share of the last value, not of the change
def half_way(steps, values, share=0.5):
    return next(s for s, v in zip(steps, values, strict=True) if v >= share * values[-1])


# %% tags=["wrong-answer", "ex-training-half"]
# slip: only curves that rise
def half_way(steps, values, share=0.5):
    goal = values[0] + share * (values[-1] - values[0])
    return next(step for step, value in zip(steps, values, strict=True) if value >= goal)


# %% [markdown]
# :::{exercise} Two curves that rise together
# :label: ex-training-together
#
# Suppose that the accuracy and what the position transmitters carry have made half of their ways at
# the same step. Somebody concludes that the model got better *because* its transmitters say more.
# Name another explanation of the same two curves, and a measurement on the checkpoints that you
# have which would tell the two apart.
# :::
#
# :::{solution} ex-training-together
# :class: dropdown
#
# Perhaps the value fetchers came to read the position better. Then more answers follow the
# transmitters' message, though the message itself is as it was: following takes a sender and a
# reader. To tell them apart, let an early checkpoint send and a late one read, and the other way
# round. If a late message is followed more by the early reader, the message became better; if an
# early message is followed more by the late reader, the reading did.
# :::

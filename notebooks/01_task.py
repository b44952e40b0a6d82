# %% [markdown]
# # The task, and how well each model does it
#
# Can these models tell which object is in which box? The other chapters ask how they do it, and
# there is something to find only where they can. With seven boxes the version
# {glue:text}`reference` is right on {glue:text}`acc_reference` of {glue:text}`n_prompts_each`
# prompts; a guess among the seven objects would be right on {glue:text}`chance:.2f`. Of the
# versions fine-tuned from it, these are better, with the whole interval of the difference above
# zero: {glue:text}`clearly_better`.
#
# *Objectives:* read a prompt with its roles; know what is counted as right; judge a difference by
# its interval. *Time:* 20 minutes. *Before it:* {doc}`../book/reading_guide`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # model family
base: str = ""  # the version that others are compared with; empty: the reference of the family
n_scenes: int = 100  # scenes; each box of each is asked for [4, 2000]
n_scenes_sizes: int = 28  # scenes per number of boxes [2, 500]
seed: int = 0  # of the scenes [0, 1000000]

# %% [markdown]
# ## A prompt and its roles
#
# A *scene* puts seven objects into seven boxes with random letters. A prompt tells the scene and
# then asks for one box. The model is right if the most likely of all {glue:text}`n_tokens:,` tokens
# of its vocabulary is the right object: not the likeliest of the seven, but of everything. A model
# that says another word can therefore be right less often than a guess among the objects.

# %%
from entrack.display.prompt_view import show as show_prompt
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import encode
from entrack.versions import families
from entrack.versions.loading import load

base = base or families.reference(family)
model = load(f"{family}/{base}")
drawn = scenes(n_scenes, split="evaluation", seed=seed)
prompts = encode(model.tokenizer, all_queries(drawn))
show_prompt(prompts, 2)

# %% [markdown]
# The *context* is a row of *segments*, one per box; the *question* follows the full stop. Five
# tokens matter in every chapter. The text calls them by the names in italics, the code by the names
# beside them. Wherever tokens are shown, each has its colour and its underline:
#
# *right object*, `correct_object`
# : the object of the queried box: what must be fetched.
#
# *earlier label*, `prev_query_label`
# : the letter of the queried box in the context. Here, the paper says, {term}`structure readers
#   <structure reader>` (D) collect the segment.
#
# *token after the earlier label*, `after_prev_query_label`
# : in this format a comma, or the full stop. The paper does not look here; {doc}`chapter 3
# <03_circuit>` does.
#
# *query label*, `query_label`
# : the same letter in the question. {term}`Position detectors <position detector>` (C) work out
#   which segment it was.
#
# *last token*, `last`
# : the final "the". {term}`Position transmitters <position transmitter>` (B) say where to look,
#   {term}`value fetchers <value fetcher>` (A) fetch the object.
#
# The context says "the needle is in Box T" and the question "Box T contains the": the *alternative*
# format of the paper {cite:p}`prakash2024finetuning`. Nothing in the context reads "contains the",
# so the model cannot just go on with the longest string that it has seen before. The *standard*
# format of {cite:t}`kim2023entity` says "Box T contains the needle" in the context too.

# %%
show_prompt(encode(model.tokenizer, all_queries(drawn, format="standard")), 2)

# %% [markdown]
# ## How well each version does it
#
# A *family* is a model and the versions that were made from it. In the default family *base* stands
# in for the paper's Llama-7B. It never saw a box: it was trained on small {term}`look-ups
# <look-up>`, written like shell commands, until it did this task about as well as Llama-7B does.
# Most others were trained from there, each on one subject. These can be loaded here:

# %%
from entrack.display.cells import show
from entrack.tables import task as tables

described = families.family_file(family)["versions"]
titles = {version: described[version]["title"] for version in families.versions(family)}
show(tables.described(titles, family=family))

# %% [markdown]
# ```{admonition} Predict before you run
# :class: tip
# Which of these versions will do the task, and which not? Which boxes will be the easy ones: the
# first, the last, those in the middle? Write down your guess for {glue:text}`reference` before you
# read on.
# ```

# %%
from entrack.patching.accuracy import score_family

scores = score_family(family, drawn)
main = {version: scores[version, "alternative"] for version in titles}
gains = {version: found.minus(main[base]) for version, found in main.items() if version != base}
best = max(main, key=lambda version: main[version].accuracy().value)
chance = 1 / drawn[0].n_boxes

# %%
# figure: fig-task-accuracy
# caption: Accuracy with seven boxes by version and text format, with 95 % intervals over scenes.
#   Filled: alternative format, hollow: standard. Grey bars: the paper's models (Table 1), 500
#   prompts in the alternative format.
from entrack.display.cells import show
from entrack.figures.task import accuracy_figure
from entrack.paper import published

table1, models = published.table1().values, published.models().values
paper = {models[name]["title"]: row.full for name, row in table1.items()}
show(accuracy_figure(scores, chance=chance, paper=paper))

# %% [markdown]
# The best version is {glue:text}`best` with {glue:text}`acc_best`. No interval reaches further than
# {glue:text}`half_width_max:.3f` to either side.
#
# The comparison that counts is *paired*: each version against {glue:text}`reference` on the same
# prompts. What makes a prompt easy or hard for both cancels, so that smaller differences show.

# %%
show(tables.versions(scores, base=base, titles=titles))

# %% tags=["hide-input"]
from entrack.display.cells import glue, listed

widest = max(found.accuracy().half_width for found in scores.values())
tuned = {v: gains[v] for v in families.tuned_from(family, base)}
glue(
    reference=base,
    acc_reference=main[base].accuracy(),
    n_prompts_each=len(prompts),
    n_tokens=model.config.vocab_size,
    chance=chance,
    best=best,
    acc_best=main[best].accuracy(),
    clearly_better=listed(version for version, gain in tuned.items() if gain.low > 0),
    half_width_max=widest,
    seed_difference=2**0.5 * widest,
)

# %% [markdown]
# *Caveats.* The intervals take whole scenes as what varies, because seven prompts of one scene are
# not independent. They speak of other scenes drawn by the same rule, not of other objects or other
# wordings. Each version is one training run; how far other runs of its recipe differ stands on the
# {doc}`models page <../book/models>`.
#
# ## Which box is asked for matters
#
# Accuracy over all boxes hides much. Here it is box by box:

# %%
# figure: fig-task-position
# caption: Accuracy by queried box, alternative format, with 95 % intervals. Dashed: 3,000 prompts
#   of an earlier seven-box set in the history of the paper's code; that the model is Llama-7B is
#   inferred.
from entrack.figures.task import position_figure

earlier = published.accuracy_by_position().values["by_position"]
title = f"{models['llama']['title']} (earlier set)"
show(position_figure(main, chance=chance, paper=earlier, paper_title=title))

# %% tags=["hide-input"]
hardest = main[base].hardest
first_alone, last_alone = (main[base].against_middle(box) for box in (0, -1))
glue(
    ends_over_middle=f"{main[base].ends_over_middle():+.2f}",
    last_over_middle=f"{last_alone:+.2f}",
    hardest_box=hardest + 1,
    acc_hardest_box=main[base].by_position()[hardest],
)

# %% [markdown]
# For {glue:text}`reference`, accuracy at the first and the last box together, minus that at the
# boxes between them, is {glue:text}`ends_over_middle`; for the last box alone it is
# {glue:text}`last_over_middle`. The hardest is box {glue:text}`hardest_box` with
# {glue:text}`acc_hardest_box`. In the authors' earlier data, for a model that we take to be
# Llama-7B, both ends are easy and the middle is hard. So every experiment in this book asks for
# each position equally often.
#
# ## How many boxes there are matters
#
# A scene can have fewer boxes, or more. Each number of boxes below has
# {glue:text}`n_scenes_sizes_used` scenes, and every box of each is asked for. A version that was
# trained on scenes of some sizes may fail at others; the {doc}`models page <../book/models>` says
# what each has seen.

# %%
# figure: fig-task-sizes
# caption: Accuracy by number of boxes, alternative format, with 95 % intervals over scenes; chance
#   is one in the number of boxes.
from entrack.figures.task import size_figure
from entrack.patching.accuracy import score_sizes

numbers = range(2, 11)
sizes = {
    version: score_sizes(load(f"{family}/{version}"), n_scenes_sizes, sizes=numbers, seed=seed)
    for version in dict.fromkeys([base, best])
}
show(size_figure(sizes))

# %% tags=["hide-input"]
glue(
    n_scenes_sizes_used=n_scenes_sizes,
    acc_2_boxes=sizes[base][2].accuracy(),
    acc_10_boxes=sizes[base][10].accuracy(),
)

# %% [markdown]
# With two boxes {glue:text}`reference` is right on {glue:text}`acc_2_boxes` of the prompts (a
# guess: one in two), with ten on {glue:text}`acc_10_boxes` (a guess: one in ten).
#
# ## What the paper claims, what we find
#
# The paper's condition for everything that follows is that the base does the task well, and that
# fine-tuning on *something else* improves it. Each verdict follows from the rule in its row, and a
# rule looks at the whole interval. A gain so small that its interval ends below `0.05` counts as
# none. A wide interval around zero does not show that there is no effect: such a claim is
# *undecided*.

# %%
from entrack.stats.metrics import minus

on_arithmetic, on_instructions, on_task = (
    families.tuned_on(family, subject) for subject in ("arithmetic", "instructions", "task")
)


def gains_of(versions):
    return {version: gains[version] for version in versions if version in tuned}


# %% tags=["hide-input"]
from entrack.display.cells import judge
from entrack.paper.claims import claim

judge(
    claim("base_above_chance", minus(main[base].accuracy(), chance)),
    claim("arithmetic_helps", gains_of(on_arithmetic)),
    claim("instructions_do_not_matter", gains_of(on_instructions)),
    claim("something_else_helps", gains_of(v for v in tuned if v not in on_task)),
    claim("u_shape", (first_alone, last_alone)),
    caption=f"Claims about the task itself. Gains are over {base}, on the same prompts.",
)

# %% [markdown]
# ## In three sentences
#
# Every version was asked {glue:text}`n_prompts_each` times for the object in one of seven boxes,
# and was right if the likeliest of all words was that object. {glue:text}`reference` is right on
# {glue:text}`acc_reference` of the prompts, where a guess would be right on
# {glue:text}`chance:.2f`. Of the versions fine-tuned from it, better on the same prompts are
# {glue:text}`clearly_better`; that arithmetic helps, as in the paper:
# *{glue:text}`verdict_arithmetic_helps`*.
#
# *Next:* {doc}`02_hooks_and_patching` opens the model and asks what it carries at each token.

# %% [markdown]
# ## Exercises
#
# Those with a function to write need no model: a prompt is a list of its tokens, and what models
# answered is an array of hits. `words_of` cuts a text as a tokenizer does whose words carry the
# space before them.

# %% tags=["exercise-setup"]
import re

import numpy as np
from scipy import stats

from entrack.course.checks import check


def words_of(text):
    """The tokens of a prompt as text: words with the space before them, commas, full stops."""
    return re.findall(r" ?\w+|[.,]", text)


# %% tags=["exercise-setup"]
def two_versions(n_scenes=40, n_boxes=7, gain=0.5, seed=0):
    """Hits of two made-up versions on the same prompts, and the prompts' scenes, each [prompt].

    Both find the same scenes hard; the second is `gain` better, in logits."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(0.5, 1.5, n_scenes).repeat(n_boxes)
    luck = rng.logistic(size=(2, n_scenes * n_boxes))
    return luck[0] < ease, luck[1] < ease + gain, np.arange(n_scenes).repeat(n_boxes)


# %% [markdown]
# :::{exercise} Another draw of scenes
# :label: ex-task-seed
#
# Run this chapter on other scenes: `entrack run 01 -p seed=1 --compare`. By how much may the
# accuracy of one version differ between the two seeds before you would doubt the intervals?
# :::
#
# :::{solution} ex-task-seed
# :class: dropdown
#
# Each run has its own error, so the difference of two independent runs varies by about √2 times the
# half-width of one: with {glue:text}`half_width_max:.3f` for the widest, expect differences up to
# some {glue:text}`seed_difference:.2f` in 19 of 20 pairs of seeds. With many versions and two
# formats, one that differs by more is no surprise. Several are a reason to look at the scenes, and
# none is a reason to pick the nicer seed.
# :::
#
# :::{exercise} A model that only copies
# :label: ex-task-copy
#
# Suppose a model always answers with the first of the seven objects. What is its accuracy when all
# boxes are asked for equally often, and what on a data set that mostly asks for the first box?
# Which figure of this chapter tells it from a model that guesses?
# :::
#
# :::{solution} ex-task-copy
# :class: dropdown
#
# One in seven, the same as guessing; on the other data set it is the share of questions about the
# first box, which can come near 1. So a high accuracy can come from what is asked, and one at
# chance can hide a rule. {numref}`fig-task-position` tells the two apart: this model would have 1
# at the first box and 0 at all others, and a guess one in seven at each.
# :::

# %% [markdown]
# ::::{exercise} The places of a prompt
# :label: ex-task-roles
# :class: write
#
# Every experiment inside the model acts at a token with a role. Find four of them in a prompt: the
# last token, the query label, the earlier label and the right object. Your function must work in
# both text formats, and where other words stand between the segments.
#
# :::{admonition} Hint
# :class: dropdown
# Begin with the full stop. Then look at the one segment that names the label, from its comma to the
# next.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-task-roles"]
# Nearly all first answers count tokens back from the label, which the alternative format allows and
# the standard format does not. The code released with the paper counts too. Ask what such a patch
# does when the count is one off: it runs, and gives a number.

# %% [markdown]
# :::{solution-start} ex-task-roles
# :class: dropdown
# :::


# %% tags=["answer", "ex-task-roles"]
def roles_of(tokens):
    """Where the roles of a prompt stand, counted from 0.

    tokens: as text; words carry the space before them (" Box", " F"). A label follows "Box", an
    object the "the" of its segment. Commas part the segments, the only full stop ends the context.
    Returns {"last", "query_label", "prev_query_label", "correct_object"}, each an int.
    """
    bare = [token.strip().lower() for token in tokens]
    stop = bare.index(".")
    query = stop + 1 + bare[stop + 1 :].index("box") + 1
    named = [i for i in range(1, stop) if bare[i - 1 : i + 1] == ["box", bare[query]]]
    start = max((i for i in range(named[0]) if bare[i] == ","), default=-1) + 1
    thing = bare.index("the", start) + 1
    places = {"last": len(tokens) - 1, "query_label": query}
    return places | {"prev_query_label": named[0], "correct_object": thing}


# %% [markdown]
# Each role is found by the words around it, and not by how many tokens it stands from another. So
# it is found when the format changes, and when something is put before a segment, as
# {doc}`07_what_counts_as_position` does.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-task-roles"]
with check("ex-task-roles", "in the alternative format all four roles are found"):
    told = "The key is in Box F, the coin is in Box C, the egg is in Box T. Box C contains the"
    found = roles_of(words_of(told))
    wanted = {"last": 24, "query_label": 22, "prev_query_label": 12, "correct_object": 8}
    assert found == wanted, f"{found}"

with check("ex-task-roles", "in the standard format the roles are the right words, in this order"):
    told = "Box F contains the key, Box C contains the coin, Box T contains the egg. Box C"
    tokens = words_of(told + " contains the")
    places = roles_of(tokens)
    in_order = ["prev_query_label", "correct_object", "query_label", "last"]
    assert [tokens[places[role]] for role in in_order] == [" C", " coin", " C", " the"]
    assert sorted(in_order, key=places.get) == in_order

# %% tags=["check", "ex-task-roles"]
with check("ex-task-roles", "a word that reads like the label is not taken for the label"):
    told = "The key is in Box F, as I said, the coin is in Box I. Box I contains the"
    tokens = words_of(told)
    assert roles_of(tokens)["prev_query_label"] == 16
    assert tokens[roles_of(tokens)["correct_object"]] == " coin"

# %% tags=["hidden-test", "ex-task-roles"]
with check("ex-task-roles", "every box of a scene is found, the first and the last too"):
    scene = {" F": " key", " C": " coin", " T": " egg", " A": " hat"}
    context = ", ".join(f"the{thing} is in Box{label}" for label, thing in scene.items())
    for label, thing in scene.items():
        tokens = words_of(f"{context}. Box{label} contains the")
        places = roles_of(tokens)
        assert tokens[places["correct_object"]] == thing
        assert places["prev_query_label"] == places["correct_object"] + 4


# %% tags=["wrong-answer", "ex-task-roles"]
# slip: the label is searched from the end, where the question's own is found first
def roles_of(tokens):
    query = tokens.index(".") + 2
    earlier = max(i for i, token in enumerate(tokens) if token == tokens[query])
    places = {"last": len(tokens) - 1, "query_label": query}
    return places | {"prev_query_label": earlier, "correct_object": earlier - 4}


# %% tags=["wrong-answer", "ex-task-roles"]
# slip: the object is counted back from the label, as one format allows
def roles_of(tokens):
    query = tokens.index(".") + 2
    earlier = [i for i in range(query) if tokens[i].strip() == tokens[query].strip()]
    earlier = next(i for i in earlier if tokens[i - 1].strip() == "Box")
    places = {"last": len(tokens) - 1, "query_label": query}
    return places | {"prev_query_label": earlier, "correct_object": earlier - 4}


# %% tags=["wrong-answer", "ex-task-roles"]
# slip: any earlier word that reads like the label counts
def roles_of(tokens):
    bare = [token.strip().lower() for token in tokens]
    query = bare.index(".") + 2
    earlier = bare.index(bare[query])
    start = max((i for i in range(earlier) if bare[i] == ","), default=-1) + 1
    thing = bare.index("the", start) + 1
    places = {"last": len(tokens) - 1, "query_label": query}
    return places | {"prev_query_label": earlier, "correct_object": thing}


# %% [markdown]
# ::::{exercise} An interval that knows its scenes
# :label: ex-task-interval
# :class: write
#
# Seven prompts about one scene share their context: if a model reads the scene well, it does so for
# all of them. Give an accuracy with the 95 % interval in which whole scenes are what varies.
#
# :::{admonition} Hint
# :class: dropdown
# One number for each scene first. `stats.t.ppf` gives quantiles of the t distribution.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-task-interval"]
# Ask for the extreme first: a model that answers all boxes of a scene right or none. How many
# independent observations are all its prompts then? `np.std` divides by n unless told
# otherwise. With few scenes this makes the interval too narrow, and so does 1.96 in place of the t
# quantile.

# %% [markdown]
# :::{solution-start} ex-task-interval
# :class: dropdown
# :::


# %% tags=["answer", "ex-task-interval"]
def scene_interval(hits, scenes):
    """Accuracy with its 95 % t interval over scenes.

    hits: bool array [prompt]; scenes: int array [prompt], which scene a prompt asks about, in any
    order. There are two scenes or more, all with the same number of prompts. Returns (accuracy,
    low, high).
    """
    by_scene = np.array([hits[scenes == scene].mean() for scene in np.unique(scenes)])
    n = len(by_scene)
    half = stats.t.ppf(0.975, n - 1) * by_scene.std(ddof=1) / np.sqrt(n)
    return by_scene.mean(), by_scene.mean() - half, by_scene.mean() + half


# %% [markdown]
# The more alike the answers within a scene, the more the accuracies of the scenes differ, and the
# wider the interval: nothing has to be assumed about it. With many scenes the quantile comes near
# 1.96; with three it is more than twice that.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-task-interval"]
with check("ex-task-interval", "scenes at 0.4, 0.6 and 0.8 give 0.6, plus or minus 0.497"):
    hits = np.array([1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 1, 0]) > 0
    found = scene_interval(hits, np.arange(3).repeat(5))
    assert np.allclose(found, (0.6, 0.6 - 0.4968, 0.6 + 0.4968), atol=1e-4), f"{found}"

with check("ex-task-interval", "asking every prompt twice tells nothing new"):
    _, hits, scenes = two_versions()
    once, twice = (scene_interval(hits.repeat(n), scenes.repeat(n)) for n in (1, 2))
    assert np.allclose(once, twice)

# %% tags=["hidden-test", "ex-task-interval"]
with check("ex-task-interval", "the order of the prompts does not matter"):
    _, hits, scenes = two_versions()
    mixed = np.random.default_rng(1).permutation(len(hits))
    found = scene_interval(hits[mixed], scenes[mixed])
    assert np.allclose(found, scene_interval(hits, scenes))


# %% tags=["wrong-answer", "ex-task-interval"]
# slip: scenes ignored, every prompt counts as one of its own
def scene_interval(hits, scenes):
    n = len(hits)
    half = stats.t.ppf(0.975, n - 1) * hits.std(ddof=1) / np.sqrt(n)
    return hits.mean(), hits.mean() - half, hits.mean() + half


# %% tags=["wrong-answer", "ex-task-interval"]
# slip: the spread of the scenes in place of the error of their mean
def scene_interval(hits, scenes):
    by_scene = np.array([hits[scenes == scene].mean() for scene in np.unique(scenes)])
    half = stats.t.ppf(0.975, len(by_scene) - 1) * by_scene.std(ddof=1)
    return by_scene.mean(), by_scene.mean() - half, by_scene.mean() + half


# %% tags=["wrong-answer", "ex-task-interval"]
# slip: np.std as it is, which divides by n
def scene_interval(hits, scenes):
    by_scene = np.array([hits[scenes == scene].mean() for scene in np.unique(scenes)])
    n = len(by_scene)
    half = stats.t.ppf(0.975, n - 1) * by_scene.std() / np.sqrt(n)
    return by_scene.mean(), by_scene.mean() - half, by_scene.mean() + half


# %% [markdown]
# ::::{exercise} What pairing buys
# :label: ex-task-paired
# :class: measure
#
# Two versions answer the same prompts. How wide is the interval of their difference if you use
# that, and how wide if you do not? Measure both on `two_versions()`. When would pairing buy
# nothing?
#
# :::{admonition} Hint
# :class: dropdown
# Paired, there is one difference for each scene.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-task-paired"]
# Let them say first which of the two is narrower, and why. Then ask for two versions with which it
# is the other way round: each errs on the scenes that the other finds easy. The paired interval is
# right in that case too: the difference does vary more from scene to scene.

# %% [markdown]
# :::{solution-start} ex-task-paired
# :class: dropdown
# :::


# %% tags=["answer", "ex-task-paired"]
def half_widths(first, second, scenes):
    """Half the 95 % t interval of a difference in accuracy, paired and unpaired, over scenes.

    first, second: bool arrays [prompt] of hits on the same prompts; scenes: int array [prompt].
    There are two scenes or more, with as many prompts each. Unpaired means as if each version had
    met other scenes: the squares of the two half-widths add up. Returns (paired, unpaired).
    """
    known = np.unique(scenes)
    a, b = (np.array([hits[scenes == s].mean() for s in known]) for hits in (first, second))
    factor = stats.t.ppf(0.975, len(known) - 1) / np.sqrt(len(known))
    paired, *single = (factor * values.std(ddof=1) for values in (a - b, a, b))
    return paired, np.hypot(*single)


# %% [markdown]
# What makes a scene hard for both versions is in both accuracies and cancels in their difference.
# So pairing buys much where versions find the same scenes hard, and nothing where what they find
# hard is unrelated. The table that compares the versions pairs for that reason.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-task-paired"]
with check("ex-task-paired", "on prompts that are hard for both, pairing makes it narrower"):
    paired, unpaired = half_widths(*two_versions())
    assert paired < 0.8 * unpaired

with check("ex-task-paired", "two versions that agree on every prompt differ by exactly nothing"):
    hits, _, scenes = two_versions()
    paired, unpaired = half_widths(hits, hits, scenes)
    assert paired == 0 < unpaired

with check("ex-task-paired", "asking every prompt twice makes neither narrower"):
    versions = two_versions()
    once, twice = (half_widths(*(x.repeat(n) for x in versions)) for n in (1, 2))
    assert np.allclose(once, twice)

# %% tags=["check", "ex-task-paired"]
with check("ex-task-paired", "for scenes at 0, 1 and 1 against 0, 0 and 1 both are as by hand"):
    scenes = np.arange(3).repeat(2)
    first, second = (np.array(h).repeat(2) > 0 for h in ([0, 1, 1], [0, 0, 1]))
    found = half_widths(first, second, scenes)
    assert np.allclose(found, (1.4342, 2.0283), atol=1e-4), f"{found[0]:.4f}, {found[1]:.4f}"

# %% tags=["hidden-test", "ex-task-paired"]
with check("ex-task-paired", "where one is right exactly when the other is wrong, it is wider"):
    hits, _, scenes = two_versions()
    paired, unpaired = half_widths(hits, ~hits, scenes)
    assert np.isclose(paired, 2**0.5 * unpaired)


# %% tags=["wrong-answer", "ex-task-paired"]
# slip: scenes ignored, the differences of single prompts are what varies
def half_widths(first, second, scenes):
    a, b = first.astype(float), second.astype(float)
    factor = stats.t.ppf(0.975, len(a) - 1) / np.sqrt(len(a))
    paired, *single = (factor * values.std(ddof=1) for values in (a - b, a, b))
    return paired, np.hypot(*single)


# %% tags=["wrong-answer", "ex-task-paired"]
# slip: the difference of the two half-widths is taken for the paired one
def half_widths(first, second, scenes):
    known = np.unique(scenes)
    a, b = (np.array([hits[scenes == s].mean() for s in known]) for hits in (first, second))
    factor = stats.t.ppf(0.975, len(known) - 1) / np.sqrt(len(known))
    single = [factor * values.std(ddof=1) for values in (a, b)]
    return abs(single[0] - single[1]), np.hypot(*single)


# %% tags=["wrong-answer", "ex-task-paired"]
# slip: unpaired, the half-widths themselves are added
def half_widths(first, second, scenes):
    known = np.unique(scenes)
    a, b = (np.array([hits[scenes == s].mean() for s in known]) for hits in (first, second))
    factor = stats.t.ppf(0.975, len(known) - 1) / np.sqrt(len(known))
    paired, *single = (factor * values.std(ddof=1) for values in (a - b, a, b))
    return paired, sum(single)

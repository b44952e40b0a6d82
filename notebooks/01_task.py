# %% [markdown]
# # The task, and how well each model does it
#
# Can these models tell which object is in which box? With seven boxes the version
# {glue:text}`reference` is right on {glue:text}`acc_reference` of {glue:text}`n_prompts_each`
# prompts; a guess among the seven objects would be right on {glue:text}`chance:.2f`. Of the
# versions fine-tuned from it, these are clearly better: {glue:text}`clearly_better`.
#
# *Objectives:* read a prompt with its roles; know what is counted as right; judge a difference by
# its interval. *Time:* 20 minutes. *Before it:* {doc}`../book/reading_guide`.

# %% tags=["parameters"]
family: str = "smollm2"  # model family
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
# beside them:
#
# *right object*, `correct_object`
# : the object of the queried box: what must be fetched.
#
# *earlier label*, `prev_query_label`
# : the letter of the queried box in the context. Here, the paper says, *structure readers* (D)
# collect the segment.
#
# *token after the earlier label*, `after_prev_query_label`
# : in this format a comma, or the full stop. The paper does not look here; {doc}`chapter 3
# <03_circuit>` does.
#
# *query label*, `query_label`
# : the same letter in the question. *Position detectors* (C) work out which segment it was.
#
# *last token*, `last`
# : the final "the". *Position transmitters* (B) say where to look, *value fetchers* (A) fetch the
# object.
#
# The text says "the needle is in Box T" and the question "Box T contains the": the *alternative*
# format of the paper {cite:p}`prakash2024finetuning`. Nothing in the context reads "contains the",
# so the model cannot just go on with the longest string that it has seen before. The *standard*
# format of {cite:t}`kim2023entity` says "Box T contains the needle" in the context too.

# %%
show_prompt(encode(model.tokenizer, all_queries(drawn, format="standard")), 2)

# %% [markdown]
# ## How well each version does it
#
# A *family* is a model and the versions that were made from it. These are the ones that can be
# loaded here:

# %%
from entrack.display.cells import show
from entrack.tables import task as tables

described = families.family_file(family)["versions"]
titles = {version: described[version]["title"] for version in families.versions(family)}
show(tables.described(titles, family=family))

# %% [markdown]
# ```{admonition} Predict before you run
# :class: tip
# Which of them will do the task, and which not? Which boxes will be the easy ones: the first, the
# last, those in the middle? Write down your guess for {glue:text}`reference` before you read on.
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
# prompts. What makes a prompt easy or hard for both cancels, so small differences show.

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
# {glue:text}`n_scenes_sizes_used` scenes, and every box of each is asked for. What a version was
# trained on bounds what to expect; the {doc}`models page <../book/models>` says it.

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
# none. A wide interval around zero is no evidence of nothing: it is *undecided*.

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
# ```{exercise} Another draw of scenes
# :label: ex-task-seed
#
# Run this chapter on other scenes: `entrack run 01 -p seed=1 --compare`. By how much may the
# accuracy of a version differ between two seeds before you would doubt the intervals?
# ```
#
# ```{solution} ex-task-seed
# :class: dropdown
#
# Each run has its own error, so the difference of two independent runs varies by about √2 times the
# half-width of one: with {glue:text}`half_width_max:.3f` for the widest, expect differences up to
# some {glue:text}`seed_difference:.2f`, in 19 of 20 pairs of seeds. A larger one is a reason to
# look at the scenes, not to pick the nicer seed.
# ```
#
# ```{exercise} A model that only copies
# :label: ex-task-copy
#
# Suppose a model always answers with one of the seven objects, but always with the first. What is
# its accuracy when all boxes are asked equally often, and what would it be on a data set that
# mostly asks for the first box?
# ```
#
# ```{solution} ex-task-copy
# :class: dropdown
#
# One in seven, the same as guessing; on the other data set it is the share of first boxes. An
# accuracy says nothing about a mechanism unless the positions are balanced: compare the ends of the
# curve in {numref}`fig-task-position`.
# ```

# %% [markdown]
# # The task, and how well each model does it
#
# Can these models tell which object is in which box? With seven boxes the version
# {glue:text}`reference` is right on {glue:text}`acc_reference_text` of {glue:text}`n_prompts_each`
# prompts; a guess among the seven objects would be right on {glue:text}`chance:.2f`.
# {glue:text}`gains_sentence`
#
# *Objectives:* read a prompt with its roles; know what is counted as right; judge a difference by
# its interval. *Time:* 20 minutes. *Before it:* {doc}`../book/reading_guide`.

# %% tags=["parameters"]
family: str = "smollm2"  # model family
n_scenes: int = 70  # scenes; each box of each is asked for [4, 2000]
n_scenes_sizes: int = 14  # scenes per number of boxes [2, 500]
seed: int = 0  # of the scenes [0, 1000000]

# %% [markdown]
# ## A prompt and its roles
#
# A *scene* puts seven objects into seven boxes with random letters. A prompt tells the scene and
# then asks for one box. The model is right if the most likely of all {glue:text}`n_tokens:,` tokens
# of its vocabulary is the right object: not the likeliest of the seven, but of everything. A model
# that says another word can therefore be right less often than a guess among the objects.

# %%
from entrack.model.families import family_file, reference
from entrack.model.loading import load
from entrack.task.boxes import all_queries, scenes
from entrack.task.prompts import encode
from entrack.task.prompts import show as show_prompt

chosen = scenes(n_scenes, split="evaluation", seed=seed)
base = reference(family)
model = load(f"{family}/{base}")
prompts = encode(model.tokenizer, all_queries(chosen))
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
show_prompt(encode(model.tokenizer, all_queries(chosen, format="standard")), 2)

# %% [markdown]
# ```{admonition} Predict before you run
# :class: tip
# One version has only been trained to follow instructions in general (`raw`), one has seen this task for
# a few steps (`base`), the others were fine-tuned from `base`. Which boxes will be the easy ones: the first, the last,
# those in the middle? Write down your guess for `raw` and for `base` before you read on.
# ```
#
# ## How well each version does it
#
# {glue:text}`main_sentence`

# %%
from entrack.display.cells import LiveFigure, glue, show, table
from entrack.figures.task import (
    accuracy_figure,
    interval,
    position_figure,
    size_figure,
)
from entrack.paper import published
from entrack.patching.accuracy import score_family, score_sizes

scores = score_family(family, chosen)
versions = list(dict.fromkeys(version for version, _ in scores))
main = {version: scores[version, "alternative"] for version in versions}
chance = 1 / chosen[0].n_boxes

# %% mystnb={"figure": {"name": "fig-task-accuracy", "caption": "Accuracy with seven boxes by version and text format, with 95 % intervals over scenes. Filled: alternative format, hollow: standard. Grey bars: the paper's models (Table 1), 500 prompts in the alternative format."}}
table1, titles = published.table1(), published.models().values
figure, alt = accuracy_figure(
    scores,
    chance=chance,
    paper={titles[name]["title"]: row.full for name, row in table1.values.items()},
)
show(figure, alt=alt)

# %% [markdown]
# The comparison that counts is *paired*: each version against {glue:text}`reference` on the same
# prompts. What makes a prompt easy or hard for both cancels, so small differences show.

# %% tags=["hide-input"]
described = family_file(family)["versions"]
gains = {version: found.minus(main[base]) for version, found in main.items() if version != base}
rows = [
    [
        version,
        described[version]["title"],
        interval(main[version].accuracy()),
        interval(scores[version, "standard"].accuracy()),
        interval(gains[version], "+.2f") if version in gains else "-",
        f"{gains[version].p_value:.1g}" if version in gains else "-",
    ]
    for version in versions
]
table(
    rows,
    ["version", "what it is", "alternative", "standard", f"minus {base}", "p"],
    caption=f"Accuracy on {n_scenes * 7} prompts of seven boxes with 95 % intervals; paired difference to {base} in the "
    "alternative format, with the exact sign test over scenes.",
)

# %% tags=["hide-input"]
from entrack.stats.claims import NOT_RUN, direction, overall, verdict

for (version, format), found in scores.items():
    glue(f"acc_{version}_{format}", found.accuracy().value)
    glue(f"acc_{version}_{format}_text", f"{found.accuracy():.2f}")
for version, gain in gains.items():
    glue(f"diff_{version}", gain.value)
    glue(f"diff_{version}_text", f"{gain:+.2f}")
    glue(f"direction_{version}", direction(gain))
widest = max(found.accuracy().half_width for found in scores.values())
glue("half_width_max", widest)
glue("seed_difference", 2**0.5 * widest)
glue("chance", chance)
glue("reference", base)
glue("n_prompts_each", n_scenes * 7)
glue("n_tokens", model.config.vocab_size)
glue("acc_reference", main[base].accuracy().value)
glue("acc_reference_text", f"{main[base].accuracy():.2f}")
tuned = {version: gain for version, gain in gains.items() if described[version]["on"] == base}
glue(
    "gains_sentence",
    "Fine-tuned from it, "
    + ", ".join(
        f"{v} is at {main[v].accuracy().value:.2f} ({direction(g)})" for v, g in tuned.items()
    )
    + "."
    if tuned
    else "No version fine-tuned from it was there to compare.",
)
best = max(main, key=lambda version: main[version].accuracy().value)
glue(
    "main_sentence",
    f"The best version is {best} with {main[best].accuracy():.2f}. "
    f"No interval reaches further than {widest:.3f} to either side.",
)

# %% [markdown]
# *Caveats.* The intervals resample whole scenes, because seven prompts of one scene are not
# independent. They speak of other scenes drawn by the same rule, not of other objects or other
# wordings. Each version is one training run; how far other runs of its recipe differ stands on the
# {doc}`models page <../book/models>`.
#
# ## Which box is asked for matters
#
# {glue:text}`position_sentence` In the authors' earlier data, for a model that we take to be
# Llama-7B, both ends are easy and the middle is hard. So every experiment in this book asks for
# each position equally often.

# %% mystnb={"figure": {"name": "fig-task-position", "caption": "Accuracy by queried box, alternative format, with 95 % intervals. Dashed: 3,000 prompts of an earlier seven-box set in the history of the paper's code; that the model is Llama-7B is inferred."}}
earlier = published.accuracy_by_position()
figure, alt = position_figure(
    main,
    chance=chance,
    paper=earlier.values["by_position"],
    paper_title="Llama-7B (earlier set)",
)
LiveFigure(figure, alt=alt)

# %% tags=["hide-input"]
from entrack.stats.metrics import mean

u = main[base].ends_over_middle()
hits = main[base].hits
last_alone = mean(hits[:, -1] - hits[:, 1:-1].mean(1))
against = {
    "higher": "higher than",
    "lower": "lower than",
    "no clear difference": "not clearly different from",
}
worst = min(range(7), key=lambda box: main[base].by_position()[box].value)
glue("ends_over_middle", u.value)
glue("ends_over_middle_text", f"{u:+.2f}")
glue("acc_worst_box", main[base].by_position()[worst].value)
glue(
    "position_sentence",
    f"For {base}, accuracy at the first and the last box together is {against[direction(u)]} that between "
    f"them ({u:+.2f}); for the last box alone the difference is {last_alone:+.2f}. The hardest is box {worst + 1} with "
    f"{main[base].by_position()[worst]:.2f}.",
)

# %% [markdown]
# ## How many boxes there are matters
#
# The version {glue:text}`reference` was primed on prompts of two to seven boxes: eight to ten are
# outside its training. {glue:text}`sizes_sentence` Each number of boxes has
# {glue:text}`n_scenes_sizes_used` scenes, and every box of each is asked for.

# %% mystnb={"figure": {"name": "fig-task-sizes", "caption": "Accuracy by number of boxes, alternative format, with 95 % intervals over scenes; chance is one in the number of boxes."}}
compared = list(dict.fromkeys([base, best]))
sizes = {
    version: score_sizes(load(f"{family}/{version}"), n_scenes_sizes, sizes=range(2, 11), seed=seed)
    for version in compared
}
figure, alt = size_figure(sizes)
LiveFigure(figure, alt=alt)

# %% tags=["hide-input"]
few, many = sizes[base][2].accuracy(), sizes[base][10].accuracy()
glue("n_scenes_sizes_used", n_scenes_sizes)
glue("acc_reference_2_boxes_text", f"{few:.2f}")
glue("acc_reference_10_boxes_text", f"{many:.2f}")
glue(
    "sizes_sentence",
    f"With two boxes {base} is right on {few:.2f} of the prompts, with ten on {many:.2f} "
    f"(a guess: {1 / 2:.2f} and {1 / 10:.2f}).",
)

# %% [markdown]
# ## What the paper claims, what we find
#
# The paper's condition for everything that follows is that the base does the task well, and that
# fine-tuning on *something else* improves it. The verdicts follow one rule. A claimed gain
# *replicates* if the 95 % interval lies wholly above zero. It *does not replicate* if the interval
# ends below `0.05`, since so small a gain counts as none. A claim of no difference replicates if
# the interval lies within `0.05` of zero, and does not if it lies wholly outside. All else is
# *undecided*. A claim about several numbers replicates *partly* if only some of them do.

# %% tags=["hide-input"]
from dataclasses import replace

above = main[base].accuracy()
llama = table1.values["llama"].full
claims = {
    "base_above_chance": (
        "The base does the task better than chance",
        f"Llama-7B {llama:.2f} (Table 1)",
        f"{base} minus chance",
        replace(
            above,
            value=above.value - chance,
            low=above.low - chance,
            high=above.high - chance,
        ),
        1,
    )
}
for slug, claim, names, model_name, expected in (
    (
        "arithmetic_helps",
        "Fine-tuning on arithmetic helps",
        ("math", "goat"),
        "goat",
        1,
    ),
    (
        "instructions_do_not_matter",
        "Fine-tuning on instructions makes no difference",
        ("instruct", "vicuna"),
        "vicuna",
        0,
    ),
):
    version = next((name for name in names if name in gains), names[0])
    their = table1.values[model_name].full - llama
    claims[slug] = (
        claim,
        f"{titles[model_name]['title']} {their:+.2f} (Table 1)",
        f"{version} minus {base}",
        gains.get(version),
        expected,
    )
rows = []
for slug, (claim, paper, what, estimate, expected) in claims.items():
    found = verdict(estimate, expected=expected) if estimate is not None else NOT_RUN
    glue(f"verdict_{slug}", found)
    here = f"{what}: {estimate:+.2f}" if estimate is not None else None
    rows.append([claim, paper, here, found])

# Claims about several numbers at once: "partly" where only some of them bear it out.
elsewhere = {version: gain for version, gain in tuned.items() if version != "boxes"}
theirs = {
    titles[name]["title"]: row.full - llama
    for name, row in table1.values.items()
    if name != "llama"
}
first, *middle, last = earlier.values["by_position"]
inner = sum(middle) / len(middle)
first_alone = mean(hits[:, 0] - hits[:, 1:-1].mean(1))
for slug, claim, paper, several in (
    (
        "something_else_helps",
        "Fine-tuning on something else than the task can help",
        ", ".join(f"{title} {gain:+.2f}" for title, gain in theirs.items()) + " (Table 1)",
        elsewhere,
    ),
    (
        "u_shape",
        "The first and the last box are easier than those between",
        f"Llama-7B {first - inner:+.2f} and {last - inner:+.2f} (earlier set)",
        {"the first": first_alone, "the last": last_alone},
    ),
):
    found = overall([verdict(estimate, expected=1) for estimate in several.values()])
    glue(f"verdict_{slug}", found)
    rows.append(
        [
            claim,
            paper,
            ", ".join(f"{name} {estimate:+.2f}" for name, estimate in several.items()) or None,
            found,
        ]
    )
table(
    rows,
    ["claim", "the paper", "here", "verdict"],
    caption="Claims about the task itself, and the verdict by the rule above.",
)

# %% [markdown]
# ```{exercise} Another draw of scenes
# :label: ex-task-seed
#
# Run this chapter on other scenes: `entrack run 01 -p seed=1 --compare`. By how much may the accuracy of a version
# differ between two seeds before you would doubt the intervals?
# ```
#
# ```{solution} ex-task-seed
# :class: dropdown
#
# Each run has its own error, so the difference of two independent runs varies by about √2 times the half-width of
# one: with {glue:text}`half_width_max:.3f` for the widest, expect differences up to some
# {glue:text}`seed_difference:.2f`, in 19 of 20 pairs of seeds. A larger one is a reason to look at the scenes, not
# to pick the nicer seed.
# ```
#
# ```{exercise} A model that only copies
# :label: ex-task-copy
#
# Suppose a model always answers with one of the seven objects, but always with the first. What is its accuracy when
# all boxes are asked equally often, and what would it be on a data set that mostly asks for the first box?
# ```
#
# ```{solution} ex-task-copy
# :class: dropdown
#
# One in seven, the same as guessing; on the other data set it is the share of first boxes. An accuracy says
# nothing about a mechanism unless the positions are balanced: compare the ends of the curve in {numref}`fig-task-position`.
# ```

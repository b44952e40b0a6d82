# %% [markdown]
# # One mechanism, two tasks?
#
# **Why does training on something else make a model better at boxes?** The paper
# {cite:p}`prakash2024finetuning` finds that it does, and that the circuit stays. It leaves open why
# practice on *other* data should reach this circuit at all. Here is an answer that can be tested:
# the other task is done with the same heads. {glue:text}`focus_name` was fine-tuned on small
# look-ups in code, without a box. If look-ups need the same {term}`position transmitters <position
# transmitter>` (B) as boxes do, practice in look-ups also trains what boxes need.
#
# So each scene is told twice, as boxes and as code. Does {glue:text}`focus` do look-ups with the
# {term}`value fetchers <value fetcher>` (A) of boxes? *{glue:text}`verdict_task_heads_A`*. With
# their position transmitters (B)? *{glue:text}`verdict_task_heads_B`*. {term}`Position detectors
# <position detector>` (C)? *{glue:text}`verdict_task_heads_C`*. {term}`Structure readers <structure
# reader>` (D)? *{glue:text}`verdict_task_heads_D`*. Are transmitters that read a *look-up* followed
# in *boxes*, as if they had read boxes? *{glue:text}`verdict_task_message_B`*. And does practice in
# look-ups help boxes less when these heads may not change? *{glue:text}`verdict_task_cause`*.
#
# This test is ours. *Objectives:* tell "the same heads" from "the same message"; read a patch
# across two texts that share no sentence. *Time:* 25 minutes. *Before it:*
# {doc}`06_what_the_heads_carry`, {doc}`10_messages`, {doc}`12_lineages`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # a family in models/
base: str = ""  # the version whose circuit it is; empty: the reference
focus: str = ""  # the version that does both tasks; empty: as the family's file says
n_pairs: int = 70  # clean and corrupt pairs behind the circuit of base [7, 700]
n_pairs_own: int = 28  # the same for every other search [7, 700]
n_evaluation: int = 252  # scenes on which circuits are scored [14, 5000]
n_random: int = 4  # random circuits [1, 1000]
n_scenes: int = 49  # scenes of seven pairs for messages [2, 1000]
n_steps: int = 150  # steps of training with heads held; 0: leave it out [0, 250]
n_held: int = 2  # draws of other heads that are held instead [1, 100]
n_asked: int = 70  # scenes of seven questions behind what such a training brings [2, 1000]
structure_role: str = ""  # empty: as in its file {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from contextlib import suppress
from dataclasses import replace

import torch

from entrack.across import look_up_tables as tables
from entrack.across import look_ups
from entrack.across.checkpoints import recipe_of
from entrack.across.held_heads import START, train_held
from entrack.across.look_ups import BOXES, LOOK_UPS
from entrack.across.practised import last_without, practised, practised_form
from entrack.circuit.contents import CONTENT, whole_groups
from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.faithfulness import measure_faithfulness
from entrack.circuit.overlap import STRONGEST, likeness
from entrack.circuit.search import CircuitSettings, ablation_means, find_circuit

# %% tags=["hide-input"]
from entrack.display.cells import glue, judge, listed, show
from entrack.errors import ChapterError, SiteError
from entrack.figures import same_circuit as figures
from entrack.paper.claims import claim
from entrack.patching.patches import Patch
from entrack.sites import GROUPS, all_heads
from entrack.stats.rules import MARGIN, WORKS
from entrack.tables import same_circuit as likeness_tables
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.draws import examples, scenes
from entrack.task.prompts import encode
from entrack.versions import families
from entrack.versions.loading import load

# %%
base, focus = base or families.reference(family), focus or families.focus(family)
below = families.lineage(family, base)[:-1][-1:]
before = last_without(family, focus, LOOK_UPS) or base
models = {v: load(f"{family}/{v}") for v in dict.fromkeys([*below, before, base, focus])}
seen = {version: practised(family, version) for version in models}
role = structure_role or families.structure_role(family)
settings = CircuitSettings(
    n_pairs=n_pairs, seed=seed, discovery=DiscoveryConfig(structure_role=role)
)
own = replace(settings, n_pairs=n_pairs_own)

# %% tags=["hide-input"]
no_boxes = [version for version, tasks in seen.items() if BOXES not in tasks]
glue(
    base=base,
    focus=focus,
    focus_name=models[focus].name,
    before=before,
    base_saw=listed(sorted(seen[base]), none="neither"),
    no_boxes=listed(no_boxes, none="none of them"),
)

# %% [markdown]
# ## One scene, told twice
#
# Every word that matters has its counterpart: the object, the label after it, the label in the
# question, and a last token where the answer is due. All else differs. There is no box and no "is
# in" in the code, and no arrow in the sentence.

# %%
asked = examples(n_evaluation, split="evaluation", seed=seed)
show(tables.tellings(asked[0]))

# %% [markdown]
# ```{admonition} Predict before you read on
# :class: tip
# Of the two tasks, {glue:text}`base` has seen in training: {glue:text}`base_saw`. Will it do the
# other? And {glue:text}`before` has never been trained on look-ups. Will the same heads in it
# already note *where* the asked name stood in the code?
# ```
#
# ## The circuit of boxes, in the other task
#
# Three circuits run alone, with all other heads at their mean over prompts of the task: that of
# {glue:text}`base` on boxes, that of {glue:text}`focus` on boxes, and the one that the same search
# finds in {glue:text}`focus` when its pairs are look-ups. Random heads stand beside them.

# %%
found = {
    (base, BOXES): find_circuit(models[base], settings),
    (focus, BOXES): find_circuit(models[focus], own),
    (focus, LOOK_UPS): look_ups.find_look_up_circuit(models[focus], own),
}
circuits = {f"{task} ({version})": search.circuit for (version, task), search in found.items()}
prompts = {
    BOXES: encode(models[base].tokenizer, asked),
    LOOK_UPS: look_ups.encode_look_ups(models[base].tokenizer, asked),
}

# %%
means = {BOXES: ablation_means, LOOK_UPS: look_ups.look_up_means}
scores = {
    (version, task): measure_faithfulness(
        model,
        prompts[task],
        circuits=list(circuits.values()),
        means=means[task](model, settings),
        n_random=n_random,
    )
    for version, model in models.items()
    for task in look_ups.TASKS
}
by_place = {f"{version}, {task}": score for (version, task), score in scores.items()}

# %%
# figure: fig-two-tasks
# caption: Accuracy of circuits alone (rows, with the number of their heads) in each version and
#   task (columns), on the same scenes. Last row: the whole version.
show(figures.cross_grid(by_place, owners=list(circuits)))

# %% tags=["hide-input"]
show(tables.circuits_in_tasks(by_place, owners=list(circuits)), folded=True)
form = {version: practised_form(family, version) for version in models}
show(tables.practice(scores, seen=seen, form=form), folded=True)
glue(
    n_scenes_asked=n_evaluation,
    **{
        f"{task}_{name}".replace("-", "_"): f"{scores[version, task].full_accuracy():.2f}"
        for task in look_ups.TASKS
        for name, version in (("base", base), ("focus", focus), ("before", before))
    },
)

# %% [markdown]
# On {glue:text}`n_scenes_asked` scenes {glue:text}`base` answers {glue:text}`look_ups_base` right
# that are told as look-ups and {glue:text}`boxes_base` that are told as boxes; {glue:text}`focus`
# {glue:text}`look_ups_focus` and {glue:text}`boxes_focus`; {glue:text}`before`, which never saw a
# look-up, {glue:text}`look_ups_before` and {glue:text}`boxes_before`. A folded table tells which
# version has practised what: a version that does a task without any practice in it has the means
# from elsewhere. Any token of the vocabulary counts as an answer here, so a model that has no idea
# is far below one in seven.
#
# In {glue:text}`base` and in {glue:text}`focus` the circuits of boxes do about as much of the
# look-ups as of the boxes, or more, and random heads do next to nothing. The circuit that the
# search found on look-ups fails in both tasks. So it is no measure for the others, and the claims
# about circuits stay undecided.
#
# ## Head by head
#
# A circuit is a choice with thresholds. The effects behind it are not. A point is a head, with its
# effect on boxes and on look-ups, both in {glue:text}`focus`.

# %%
# figure: fig-heads-in-two-tasks
# caption: Effect of every head of {glue:text}`focus` (nats of log odds; negative: the head helps)
#   in look-ups and in boxes, by group. Dark: the strongest heads of either. Dotted: equal effects.
maps = {f"{version}, {task}": search.discovery for (version, task), search in found.items()}
here, there = f"{focus}, {LOOK_UPS}", f"{focus}, {BOXES}"
show(figures.effects_in_two(maps[here], maps[there], names=(LOOK_UPS, BOXES)))

# %% [markdown]
# How alike is that? The *{term}`ceiling`* is a second search on other look-ups in
# {glue:text}`focus`. Below it stand boxes in {glue:text}`base`, boxes in {glue:text}`focus`, and
# look-ups in {glue:text}`before`, which was never trained on them. As in {doc}`12_lineages`, what
# counts is the correlation beyond that of heads shuffled within their layers, and its share of the
# ceiling. *Shared* counts how many of the {glue:text}`n_strongest` strongest heads are the same.

# %%
OTHER_PROMPTS = "other look-ups"
maps[OTHER_PROMPTS] = look_ups.look_up_maps(models[focus], replace(own, seed=seed + 1))
# In a version that was never trained on look-ups a stage may find no head that helps.
with suppress(SiteError):
    maps[f"{before}, {LOOK_UPS}"] = look_ups.look_up_maps(models[before], own)
order = [OTHER_PROMPTS, *(name for name in maps if name not in (OTHER_PROMPTS, here))]
alike = {
    name: {group: likeness(maps[here], maps[name], group=group, seed=seed) for group in GROUPS}
    for name in order
}

# %% tags=["hide-input"]
show(likeness_tables.shares_of_ceiling(alike, ceiling=OTHER_PROMPTS), folded=True)
show(likeness_tables.likeness(alike, ceiling=OTHER_PROMPTS))
glue(n_strongest=STRONGEST)

# %% [markdown]
# In every group the effects in the two tasks agree beyond the layers. But two searches on look-ups
# agree only roughly with each other in B and D, and in C hardly at all. So for these groups the
# share of the ceiling tells nothing, and *partly* says no more than this. In A and B even
# {glue:text}`before` has much the same map for look-ups as {glue:text}`focus`.
#
# *Caveat.* The two tasks are told by the same scenes, but a head may also be strong in both because
# it reads any text. The shuffle within layers does not exclude that. The next test asks what the
# heads say.
#
# ## Does one task's message reach the other?
#
# Heads of the {term}`circuit` of boxes read a *look-up*. Their output is patched into a *boxes*
# prompt of another scene. If they say "the third", whatever the text, the model should name the
# third object of its own boxes. In this pair:

# %%
pairs = interchanges(n_scenes, split="evaluation", seed=seed)
patches = whole_groups(found[base, BOXES].circuit, *CONTENT)
titles = {name: f"{GROUPS[name].letter}: {CONTENT[name]}" for name in patches}
if not patches:
    raise ChapterError(
        f"the circuit of {models[base].name} has none of the groups A, B and C; this chapter"
        " patches them. Take more pairs (n_pairs), or another family."
    )
show(tables.pair(pairs[0]), folded=True)

# %%
circuit_heads = found[base, BOXES].circuit.at("last")
others = [
    h for h in all_heads(models[base].n_layers, models[base].n_heads) if h not in circuit_heads
]
sent = {**patches, "others": Patch("last", tuple(others))}
content = {name: CONTENT.get(name, "position") for name in sent}
spoken = {
    v: look_ups.task_messages(models[v], pairs, patches=sent, content=content)
    for v in dict.fromkeys([focus, base, before])
}

# %%
# figure: fig-followed-across
# caption: How often the answer follows heads that read another prompt, above the floor, by group
#   (panel), version and task of the prompt that is answered (row). Full: the heads read a prompt of
#   the same task; hollow: of the other task. Whiskers: 95 % intervals over scenes.
show(tables.followed(spoken, patches=titles))

# %% tags=["hide-input"]
told = titles | {"others": "all others at the last token: position"}
show(tables.messages(spoken, patches=told))
glue(n_messages=len(pairs))

# %% [markdown]
# Read one row of the panel B. The full mark is what {doc}`06_what_the_heads_carry` measures. Where
# the hollow mark lies on it, it makes no difference to the answer which task the heads were
# reading: the message "where" is the same. In boxes it is so, in {glue:text}`base` and in
# {glue:text}`focus`. In look-ups the hollow mark lies lower: heads that read boxes are followed
# there too, but less often than heads that read look-ups.
#
# Then look at the versions that lack practice. {glue:text}`base` practised {glue:text}`base_saw`
# only. Where it follows heads that read the other task, they say there what no training on that
# task has taught them. Never trained on boxes: {glue:text}`no_boxes`. And {glue:text}`before` was
# never trained on look-ups: if boxes follow a look-up there, the message is older than that
# training. But a version that does neither task follows nothing, not even heads that read boxes.
# Then it says nothing either way, and the claim stays undecided:
# *{glue:text}`verdict_task_before_B`* for B.
#
# The two texts can also tell whether heads count entries or *tokens*. A line of code has fewer
# tokens than a segment with its box, so the third entry of the one stands where the second box of
# the other does. If heads counted tokens, the answer would slip to another box. The folded table
# counts only pairs on which the two ideas differ. That transmitters (B) count entries:
# *{glue:text}`verdict_task_order_B`*; detectors (C): *{glue:text}`verdict_task_order_C`*. Against
# tokens counted from the end this is clear, against tokens counted from the start it is not.

# %% tags=["hide-input"]
positions = {n: t for n, t in titles.items() if CONTENT[n] == "position"}
show(tables.order_or_tokens(spoken[focus], patches=positions), folded=True)

# %% [markdown]
# *Caveats.* Shares are of {glue:text}`n_messages` pairs. A position is easy to agree on: both texts
# tell the same number of things in a row. What the test shows is that the same heads write it in
# the same code, not that this code was made for boxes. And value fetchers (A) that read a look-up
# *name* its object, which any model can pass on.
#
# ## From likeness to cause
#
# Shared heads make it likely that practice on look-ups helps boxes *through* them. To show it, we
# take the way away. {glue:text}`focus` is trained once more from {glue:text}`base`, on the same
# look-ups in the same order, for {glue:text}`n_steps` steps. But the heads of the circuit are
# *held*: their part of the adapter stays nothing, whatever is learnt elsewhere. As a control, as
# many of their neighbours are held instead, heads of the same layers outside the circuit.

# %%
recipe = recipe_of(family, focus)
held = None
if n_steps and recipe is not None and recipe.on == base:
    parent = load(f"{family}/{base}", device="cpu", dtype=torch.float32)
    held = train_held(
        parent,
        recipe,
        n_steps,
        circuit=found[base, BOXES].circuit,
        n_random=n_held,
        scenes=scenes(n_asked, split="evaluation", seed=seed),
        look_ups=prompts[LOOK_UPS],
    )

# %% tags=["hide-input"]
glue(n_steps=n_steps)
kept = [held.kept(name, BOXES) for name in held.held if name != START] if held else []
free, without, *others_held = kept or [None, None]
glue(
    kept_circuit=f"{without:.2f}" if held else "not run here",
    kept_others=listed((f"{e:.2f}" for e in others_held), none="not run here"),
    base_form="had practised" if form[base] else "had not practised",
)
if held:
    show(tables.held(held))

# %% [markdown]
# With the circuit held, the training brings this share of what it brings to boxes freely:
# {glue:text}`kept_circuit`. With neighbours held, by draw: {glue:text}`kept_others`. If the first
# were clearly smaller, the gain would need these heads to change. It is not: boxes gain as much
# from look-ups when these heads stay as they were. So their likeness in the two tasks is not shown
# to be the cause of the gain.
#
# *Caveats.* Each training was run once: the intervals are over prompts, and do not say what another
# run of the same training would give. Heads that share a key and value are held together there, so
# a few more than the named ones cannot learn new keys. And other heads can learn to give the held
# ones better input, so the gain may still pass through them. The look-ups that are asked have one
# form, which {glue:text}`base` {glue:text}`base_form` before: what is practised already has little
# left to gain.
#
# ## What we claim, what we find, verdict
#
# A circuit is held beside that of look-ups only if the latter does at least half of its own task. A
# search that found less says nothing about what the version uses.

# %% tags=["hide-input"]
ceiling = alike[OTHER_PROMPTS]
heads = {
    g: None if alike[there][g] is None else (alike[there][g].beyond, share)
    for g in GROUPS
    for share in [alike[there][g].share_of(ceiling[g]) if alike[there][g] else None]
}
place = {name: index for index, name in enumerate(found)}
in_look_ups, in_boxes = scores[focus, LOOK_UPS], scores[focus, BOXES]
ours, theirs = place[base, BOXES], place[focus, LOOK_UPS]

# %% tags=["hide-input"]
followed = {
    name: (spoken[focus].score(LOOK_UPS, BOXES, name), spoken[focus].kept(BOXES, name))
    for name in patches
}
earlier = {name: spoken[before].score(LOOK_UPS, BOXES, name) for name in patches}
able = {name: spoken[before].score(BOXES, BOXES, name).low > MARGIN for name in patches}
[known] = seen[base] if len(seen[base]) == 1 else [None]
unknown = BOXES if known == LOOK_UPS else LOOK_UPS
new = {name: spoken[base].score(unknown, known, name) for name in patches if known}
letters = {name: GROUPS[name].letter for name in GROUPS}
by_order = {name: tables.leads(spoken[focus], name) for name in positions}
POSITIONS = [name for name, what in CONTENT.items() if what == "position"]

# %% tags=["hide-input"]
worked = in_look_ups.faithfulness(theirs).value >= WORKS
shares = {
    "task_circuit": tables.share_of_own(in_look_ups, ours, theirs),
    "task_circuit_back": tables.share_of_own(in_boxes, theirs, ours),
}
circuit_claims = [claim(slug, e, given=worked, n=n_evaluation) for slug, e in shares.items()]

# %% tags=["hide-input"]
causes = [
    claim(slug, held.cost(task) if held else None, given=bool(held) and held.helps(task))
    for slug, task in (("task_cause", BOXES), ("task_cause_look_ups", LOOK_UPS))
]

# %% tags=["hide-input"]
judge(
    *(claim(f"task_heads_{letters[name]}", heads[name]) for name in GROUPS),
    *circuit_claims,
    *(claim(f"task_message_{letters[name]}", followed.get(name)) for name in CONTENT),
    *(claim(f"task_order_{letters[name]}", by_order.get(name)) for name in POSITIONS),
    *(
        claim(f"task_before_{letters[name]}", earlier.get(name), given=able.get(name, False))
        for name in CONTENT
    ),
    *(claim(f"task_new_{letters[name]}", new.get(name)) for name in CONTENT),
    *causes,
    caption="Finding (iii), why other data helps: one mechanism, two tasks?",
)

# %% [markdown]
# What would refute it? Heads that are strong in look-ups and idle in boxes, a message from code
# that boxes do not follow, or a gain that is as large with the circuit held. Only the last is what
# we see. It refutes that these heads must change for boxes to gain, not that they do both tasks.

# %% [markdown]
# ## In three sentences
#
# The same scenes are told as boxes and as look-ups in code: that both tasks use the same position
# transmitters (B), *{glue:text}`verdict_task_heads_B`*; that their message crosses into boxes from
# look-ups, *{glue:text}`verdict_task_message_B`*. That a message from the other task is followed in
# {glue:text}`base`, which practised {glue:text}`base_saw` only, *{glue:text}`verdict_task_new_B`*;
# and in boxes before any training on look-ups, in {glue:text}`before`,
# *{glue:text}`verdict_task_before_B`*. That training on look-ups helps boxes less when these heads
# may not change, *{glue:text}`verdict_task_cause`*.
#
# *Next:* {doc}`14_along_training` asks when the circuit changes.

# %% [markdown]
# ## Exercises
#
# The function works on positions of tokens; no model is needed.

# %% tags=["exercise-setup"]
import random

from entrack.course.checks import check


def told(n_segments, length, first):
    """Positions of the labels of a text whose segments have `length` tokens each."""
    return [first + length * i for i in range(n_segments)]


boxes_labels, code_labels = told(7, 7, 5), told(7, 5, 3)
N_BOXES_TOKENS, N_CODE_TOKENS = 53, 39

# %% [markdown]
# ::::{exercise} What a head that counts tokens would say
# :label: ex-tasks-tokens
# :class: write
#
# A head reads a source and notes where the asked label stands *in tokens*. Patched into a base
# prompt of another length, it points at the label that stands nearest to this place. Which box is
# that, if tokens are counted from the start, and if they are counted from the end?
#
# :::{admonition} Hint
# :class: dropdown
# Counted from the end, the last token of the one text corresponds to the last token of the other.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-tasks-tokens"]
# Let students list, for all seven source segments, which box each way of counting predicts, and
# mark where it differs from the order. For some segments the rivals agree with the order: these
# prompts say nothing, and the chapter leaves them out.

# %% [markdown]
# :::{solution-start} ex-tasks-tokens
# :class: dropdown
# :::


# %% tags=["answer", "ex-tasks-tokens"]
def box_by_tokens(source_place, base_labels, *, from_end=None):
    """The index of the label in `base_labels` (positions, ascending) nearest to where the source's
    label stands at `source_place`; of two as near, the earlier.

    from_end: None to count tokens from the start; else (length of the source, length of the base),
        to count them from the end.
    """
    place = source_place
    if from_end is not None:
        source_length, base_length = from_end
        place = base_length - (source_length - source_place)
    return min(range(len(base_labels)), key=lambda box: abs(base_labels[box] - place))


# %% [markdown]
# `min` takes the first of several that are equal, hence the earlier label.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-tasks-tokens"]
with check("ex-tasks-tokens", "between two prompts of one form both ways agree with the order"):
    for box, place in enumerate(boxes_labels):
        assert box_by_tokens(place, boxes_labels) == box
        lengths = (N_BOXES_TOKENS, N_BOXES_TOKENS)
        assert box_by_tokens(place, boxes_labels, from_end=lengths) == box

with check("ex-tasks-tokens", "counted from the start, later lines of code point at earlier boxes"):
    found = [box_by_tokens(place, boxes_labels) for place in code_labels]
    assert found == [0, 0, 1, 2, 3, 3, 4]

with check("ex-tasks-tokens", "counted from the end, early lines of code point at later boxes"):
    lengths = (N_CODE_TOKENS, N_BOXES_TOKENS)
    found = [box_by_tokens(place, boxes_labels, from_end=lengths) for place in code_labels]
    assert found == [2, 2, 3, 4, 5, 5, 6]

# %% tags=["hidden-test", "ex-tasks-tokens"]
with check("ex-tasks-tokens", "of two labels as near, the earlier one is taken"):
    assert box_by_tokens(5, [2, 8, 20]) == 0

with check("ex-tasks-tokens", "it holds for any texts"):
    rng = random.Random(0)
    for _ in range(20):
        labels = sorted(rng.sample(range(50), 5))
        place = rng.randrange(60)
        best = min(abs(label - place) for label in labels)
        assert abs(labels[box_by_tokens(place, labels)] - place) == best


# %% tags=["wrong-answer", "ex-tasks-tokens"]
# slip: the difference of the lengths is taken the wrong way round
def box_by_tokens(source_place, base_labels, *, from_end=None):
    place = source_place
    if from_end is not None:
        source_length, base_length = from_end
        place = source_place - (base_length - source_length)
    return min(range(len(base_labels)), key=lambda box: abs(base_labels[box] - place))


# %% tags=["wrong-answer", "ex-tasks-tokens"]
# slip: tokens are counted from the start either way
def box_by_tokens(source_place, base_labels, *, from_end=None):
    return min(range(len(base_labels)), key=lambda box: abs(base_labels[box] - source_place))


# %% [markdown]
# :::{exercise} What would an impostor do?
# :label: ex-tasks-impostor
#
# Two groups of heads could pass the test of messages without any notion of a position. One writes
# the *object* that it has read. One writes nothing and leaves the base prompt to itself. What would
# the answers be with each of them patched, and how does a pair of prompts tell them from heads that
# say "the third"?
# :::
#
# :::{solution} ex-tasks-impostor
# :class: dropdown
#
# The first makes the model name the source's object, which stands in no box of the base; the second
# leaves the base's own answer. A pair is drawn so that both differ from the base's object at the
# source's place. So only the third kind of head makes the answer that is counted.
# :::
#
# :::{exercise} Held, but not out of work
# :label: ex-tasks-held
#
# With the circuit's heads held, boxes still gain something. Give two explanations that leave
# the claim standing, and one that does not. What would you hold, train or patch to tell them apart?
# :::
#
# :::{solution} ex-tasks-held
# :class: dropdown
#
# The held heads can be given better input: heads below them may learn to mark the segments more
# clearly. And the answer can be read better: heads and weights above may listen more closely to
# what the held heads write. Both use the old circuit. Or a second circuit is trained beside it,
# and the claim falls. In the first two cases, ablating the held heads after training takes the
# gain away again; in the third it does not.
# :::

# %% [markdown]
# # As published: what the slips of the code change
#
# Without the code that the authors released, this chapter could not have been written. Reading that
# code {cite:p}`prakash2024finetuning` line by line, we met some slips. **Do they matter?** Each is
# made here on purpose, alone, in our own code and on our own models. Of {glue:text}`n_estimates`
# estimates, {glue:text}`n_clear` change by more than chance; of {glue:text}`n_counts` exact counts,
# {glue:text}`n_changed` change. The largest change of a share is {glue:text}`largest_change`
# (“{glue:text}`largest_title`”).
#
# An *estimate* comes from prompts and has an interval. A slip is beyond chance when the interval of
# the *change* excludes 0. The change is taken prompt by prompt where both sides have the same
# prompts. An *exact count*, of {term}`heads <head>` for example, has no interval.
#
# We do not blame anybody: any code of this size has slips, ours too. They matter when a new number
# is compared with a published one. *Objectives:* tell a slip that moves a number from one that does
# not. *Time:* 20 minutes. *Before it:* {doc}`08_what_improved`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # a family in models/
base: str = ""  # the version on which the slips are made; empty: the reference of the family
adapter: str = ""  # the version whose o_proj update is dropped; empty: the focus of the family
n_pairs: int = 70  # pairs behind the circuit [7, 700]
n_noisy: int = 7  # of these, pairs for stage D as released [1, 700]
share: float = 0.8  # share of each group's effect that the candidates make up [0.1, 1]
n_evaluation: int = 252  # prompts on which circuits are scored [14, 5000]
n_random: int = 10  # random circuits, with and without replacement [2, 500]
n_desiderata: int = 98  # pairs of prompts per desideratum, and prompts for input patching [7, 1000]
n_steps: int = 8  # training steps of DCM, of seven pairs each [1, 200]
structure_role: str = ""  # empty: as in its file {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from dataclasses import replace

from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.faithfulness import measure_faithfulness
from entrack.circuit.search import CircuitSettings, ablation_means, find_circuit
from entrack.display.cells import glue, judge, show
from entrack.figures import slips as figures

# %% tags=["hide-input"]
from entrack.paper import batch_slips, circuit_slips, slips
from entrack.paper.claims import claim
from entrack.paper.slip import shown
from entrack.patching import dcm
from entrack.patching.group_patching import Prepared, answers_with
from entrack.patching.patches import Patch
from entrack.tables import slips as tables
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.task.draws import examples, pairs
from entrack.task.prompts import encode, encode_pairs
from entrack.versions import families
from entrack.versions.loading import load

# %%
base = base or families.reference(family)
adapter = adapter or families.focus(family)
model, tuned = load(f"{family}/{base}"), load(f"{family}/{adapter}")
settings = CircuitSettings(
    n_pairs=n_pairs,
    seed=seed,
    discovery=DiscoveryConfig(structure_role=structure_role or families.structure_role(family)),
)
found, means = find_circuit(model, settings), ablation_means(model, settings)
candidate = found.discovery.candidate(share)

# %%
held_out = encode(model.tokenizer, examples(n_evaluation, split="evaluation", seed=seed))
held = examples(settings.n_held_out, split="pruning", seed=seed)
pruned_on = encode(model.tokenizer, held)
glue(
    n_candidates=len(candidate.groups["value_fetcher"]),
    share=share,
    version=model.name,
    adapter=tuned.name,
)

# %% [markdown]
# ## On one prompt
#
# One slip, to see what "with" and "without" mean below. A word after a space and the same word
# without the space are different tokens for most tokenizers. The released code asks for the answer
# that it expects in the second form. Take this prompt:
#
# > {glue:text}`one_text`

# %%
from entrack.heads import one_prompt
from entrack.tables.patching import one_prompt as table_of_one

first = interchanges(1, split="evaluation", seed=seed)[0]
first = replace(first, answer=first.base.answer)
spaced, bare = (
    encode_counterfactuals(model.tokenizer, [replace(first, bare_answer=without)])
    for without in (False, True)
)
forms = {"with its space: ": spaced, "without its space: ": bare}
words = {form + first.base.answer: int(pair.answers[0]) for form, pair in forms.items()}
one = one_prompt.ask(spaced.base, words=words)
ways = {model.name: one_prompt.alone(model, one)}

# %% tags=["hide-input"]
caption = "The right object as an answer, in both forms."
show(table_of_one(one, ways, caption=caption), folded=True)
p_spaced, p_bare = ways[model.name].tolist()
glue(one_text=first.base.text, one_right=first.base.answer, one_spaced=p_spaced, one_bare=p_bare)

# %% [markdown]
# The right object is *{glue:text}`one_right`*. After a space it has a probability of
# {glue:text}`one_spaced:.3f`; without the space, {glue:text}`one_bare:.3f`. A score that asks for
# the second form counts what the model says only if the two are one token.
#
# ## Pruning: three slips in one table of knock-outs
#
# Pruning takes heads out of a {term}`circuit`, one by one and two by two, and drops those without
# which nothing is lost. Here it is done to {glue:text}`n_candidates` candidate {term}`value
# fetchers <value fetcher>` (A), those that make up {glue:text}`share:.0%` of the group's effect.
# Without a slip {glue:text}`pruned_off:.0%` of them stay; with the first slip
# {glue:text}`pruned_on:.0%`, with the second {glue:text}`rounded_on:.0%`, with the third
# {glue:text}`skipped_on:.0%`.
#
# - The released Goat and FLoat circuits equal their candidates pruned at **0 %**, the Llama circuit
#   at 1 %.
# - Accuracies are **rounded** to two decimals before any ratio. One such step is as large as the
#   threshold itself.
# - Two heads of one number in different layers are never removed **together**: `is not` compares
#   two strings that were built apart, and so is always true.

# %%
pruning = circuit_slips.pruning_slips(
    circuit_slips.pruning_scores(
        model, pruned_on, circuit=candidate, group="value_fetcher", means=means
    )
)
show(tables.switched(pruning, "Slips of pruning"), folded=True)
threshold, rounded, skipped = (slip.on.value for slip in pruning)
glue(pruned_off=pruning[0].off.value, pruned_on=threshold, rounded_on=rounded, skipped_on=skipped)

# %% [markdown]
# ## Evaluation: rounding, samples used twice, random circuits
#
# - {term}`Faithfulness <faithfulness>` is a ratio of two **rounded** accuracies.
# - All sets of prompts begin at the first line of the file, so a circuit is scored on prompts that
#   it was **pruned on**.
# - Random circuits are drawn **with replacement**, which makes them smaller than the circuit that
#   they stand beside.
# - A random head is a number, and its layer is computed as **`head // num_layers`** where `head //
#   num_heads` is meant. In a model with as many layers as heads, such as Llama-7B, this is the
#   same: {glue:text}`reach_llama:.0%` of the heads are in reach, and no published number moves. In
#   {glue:text}`version`, of {glue:text}`n_layers` layers with {glue:text}`n_heads` heads each, only
#   {glue:text}`reach_ours:.0%` would be, all in the first {glue:text}`n_reached` layers: a trap for
#   whoever reuses the code.

# %%
circuits = [found.circuit, found.curve.circuit]
unseen = measure_faithfulness(model, held_out, circuits=circuits, means=means)
seen = measure_faithfulness(model, pruned_on, circuits=[found.circuit], means=means)
reach = circuit_slips.random_head_layers(model.n_layers, model.n_heads)
evaluation = [
    circuit_slips.rounded_faithfulness(unseen),
    circuit_slips.sample_overlap(unseen, seen),
    *circuit_slips.random_with_replacement(
        model, pruned_on, circuit=candidate, means=means, n_draws=n_random, seed=seed
    ),
    reach,
]
show(tables.switched(evaluation, "Slips of evaluation"))

# %% tags=["hide-input"]
glue(
    reach_llama=circuit_slips.random_head_layers(n_layers=32, n_heads=32).on.value,
    reach_ours=reach.on.value,
    n_layers=model.n_layers,
    n_heads=model.n_heads,
    n_reached=min(model.n_layers, model.n_heads),
)

# %% [markdown]
# ## Discovery: where stage D reads the corrupt prompt
#
# The effect of the strongest {term}`structure readers <structure reader>` (D), counted as a loss in
# nats of log odds, so positive where they help, is {glue:text}`discovery_off` without the slip and
# {glue:text}`discovery_on` with it. The corrupt prompt's question names no box, so there is no
# earlier label to read from. The released code takes that of a **random** box, drawn anew for every
# head and batch, which adds noise to the effect. With {glue:text}`n_noisy` pairs only a large
# change would show.

# %%
both = encode_pairs(model.tokenizer, pairs(n_pairs, split="discovery", seed=seed))
clean, corrupt = (prompts.subset(range(min(n_noisy, n_pairs))) for prompts in both)
path = settings.discovery.path
stage_d = slips.random_corrupt_position(model, clean, corrupt, found=found, path=path, seed=seed)
glue(discovery_off=shown(stage_d.off), discovery_on=shown(stage_d.on), n_noisy=len(clean))
show(tables.switched([stage_d], "The slip of discovery"), folded=True)

# %% [markdown]
# ## Desiderata: four slips in drawing and scoring
#
# A {term}`desideratum` says which answer a {term}`patch` should bring, and the score is the share
# of pairs that give it. The groups, here {term}`position transmitters <position transmitter>` (B),
# {term}`position detectors <position detector>` (C) and D, are candidates, before any pruning.
#
# - The *label* is scored by the word **without its space**, a token that {glue:text}`version` gave
#   as the answer in {glue:text}`bare:.0%` of the pairs.
# - The base's **position** always comes out as 0. So sources never ask for the first box, and one
#   pair in seven asks for the same position on both sides. Such a pair counts as right with nothing
#   patched, if the answer to the base prompt is right.
# - Where sources are of another length, "last" is **behind their end**.
# - For group D, the source is read where the **base** has its label.

# %%
n_scenes = max(1, n_desiderata // 7)
third = model.n_layers // 3
label = slips.label_without_space(model, layer=third, n_scenes=n_scenes, seed=seed)
floor, score = slips.base_position_zero(model, circuit=candidate, n=n_desiderata, seed=seed)
padded = slips.padded_position(model, circuit=candidate, n=n_desiderata, seed=seed)
moved = slips.structure_reader_position(model, circuit=candidate, n_scenes=n_scenes, seed=seed)
desiderata = [label, floor, score, padded, moved]
glue(bare=label.on.value)
show(tables.switched(desiderata, "Slips of desiderata"))

# %% [markdown]
# ## DCM: two slips in choosing a mask
#
# Desiderata-based component masking (DCM) notes {term}`masks <mask>` while it learns, and keeps the
# one that validates best ({doc}`06_what_the_heads_carry`). Here it learns with the released penalty
# and rate, in {glue:text}`n_steps` steps instead of {glue:text}`n_steps_published`.
#
# - **Other prompts' places.** D acts at the earlier mention of the queried label, or just after it,
#   and that stands elsewhere in every prompt. In validation, the released code looks it up in the
#   *training* batch of the moment. Base and source are then patched at places that their questions
#   do not ask about; of {glue:text}`n_validation` pairs here, {glue:text}`n_same` would keep both
#   by luck. With nothing patched, {glue:text}`kept_none:.0%` of the pairs get the base's own
#   answer; with all of D patched at the right places, {glue:text}`kept_off:.0%`; at others' places,
#   {glue:text}`kept_on:.0%`. Where the last is near the first, validation sees little of what D
#   does. The tokens of A, B and C are counted from the end of the prompt, so these groups are not
#   affected.
# - **Ties.** Where masks validate equally well, the released code keeps the one with **more**
#   heads.
#
# *Caveat.* D alone carries little of the three contents, if any ({doc}`06_what_the_heads_carry`).
# Its masks validate at {glue:text}`dcm_best:.2f` for *position* at best, and the empty mask at
# {glue:text}`dcm_empty:.2f`. Where masks are that close, a choice between them is easily upset,
# with or without a slip.

# %%
train, validation = (
    Prepared(
        model, encode_counterfactuals(model.tokenizer, interchanges(n_scenes, split=s, seed=seed))
    )
    for s in ("discovery", "validation")
)
config = replace(dcm.PUBLISHED, steps=n_steps, batch=7, every=1)
options = {"validation": validation, "circuit": candidate, "target": "position", "config": config}
masks = {
    group: dcm.learn_masks(model, train, group=group, **options)
    for group in ("position_transmitter", "structure_reader")
}

# %%
role, of_d = candidate.role("structure_reader"), masks["structure_reader"]
batch, selected = batch_slips.dcm_validation_batch(
    of_d, train, validation=validation, role=role, seed=seed
)
choosing = [batch, selected, *(slips.tied_masks(learned) for learned in masks.values())]
show(tables.switched(choosing, "Slips of DCM"), folded=True)

# %% tags=["hide-input"]
elsewhere = batch_slips.read_elsewhere(validation.data, train.data, role=role, seed=seed)
unpatched = answers_with(validation, patches=[Patch(role)])[0]
glue(
    n_steps=n_steps,
    n_steps_published=dcm.PUBLISHED.steps,
    n_validation=len(validation.data),
    n_same=batch_slips.same_places(validation.data, elsewhere, role=role),
    kept_off=batch.off.value,
    kept_on=batch.on.value,
    kept_none=float((unpatched == validation.candidates["unchanged"]).double().mean()),
    dcm_best=of_d.paths[0].validation.max(),
    dcm_empty=of_d.paths[0].validation[0],
)

# %% [markdown]
# ## Between models: input patching at the places of a whole batch
#
# With the q of {glue:text}`adapter` in group D, the accuracy of {glue:text}`version` is
# {glue:text}`between_off` without the slip and {glue:text}`between_on` with it. To hand over the
# inputs of D, the released code looks up each prompt's own place in turn, but writes into **all
# prompts of the batch** each time. In the end every prompt is patched at the places of all. A batch
# here holds the questions of one scene, so D gets its q at every box instead of the queried one.
#
# *Caveat.* No published number depends on this: the final notebook does not call that function. It
# would also put back all head outputs before the last token, so that a q patched there could not
# act at all; ours leaves them changed.

# %%
between = batch_slips.cmap_in_batch(tuned, model, circuit=candidate, n_scenes=n_scenes, seed=seed)
glue(between_off=shown(between.off), between_on=shown(between.on))
show(tables.switched([between], "The slip of input patching between models"), folded=True)

# %% [markdown]
# ## Adapters: an update that hooked runs do not see
#
# The accuracy of {glue:text}`adapter` is {glue:text}`adapter_off` as it is and
# {glue:text}`adapter_on` with the slip. Goat is a LoRA on q, k, v and o. Hooked runs multiply by
# the *base* weight of o_proj, so its update is **dropped** there, while Goat's own accuracy is
# measured without {term}`hooks <hook>`. We drop it from {glue:text}`adapter`.

# %%
dropped = slips.dropped_o_proj(model, tuned, n_scenes=n_scenes, seed=seed)
glue(adapter_off=shown(dropped.off), adapter_on=shown(dropped.on))
show(tables.switched([dropped], "The slip of adapters"), folded=True)

# %% [markdown]
# ## All of them
#
# Of {glue:text}`n_estimates` estimates, {glue:text}`n_clear` change by more than chance; of
# {glue:text}`n_counts` exact counts, {glue:text}`n_changed` change.
#
# *Caveat.* Not beyond chance is not the same as harmless: an effect as large as an interval is wide
# can hide in it. The widest of a share reaches {glue:text}`widest:.2f` to either side; the effect
# in stage D rests on the fewest pairs. The paper's own samples are several times larger.

# %%
# figure: fig-slips
# caption: Every slip off (circle) and on (diamond), with 95 % intervals; marks without one are
#   exact counts. The effect in stage D is no share and is not drawn.
shares = [*pruning, *evaluation, *desiderata, *choosing, between, dropped]
every = [*shares, stage_d]
show(figures.slip_bars(shares))

# %% tags=["hide-input"]
counts = [slip for slip in every if slip.counted]
estimates = [slip for slip in every if not slip.counted]
in_shares = [slip for slip in shares if not slip.counted]
largest = max(in_shares, key=lambda slip: abs(slip.change.value))
glue(
    n_estimates=len(estimates),
    n_clear=sum(slip.clear for slip in estimates),
    n_counts=len(counts),
    n_changed=sum(slip.clear for slip in counts),
    largest_change=f"{largest.change:+.2f}",
    largest_title=largest.title,
    widest=max(slip.change.half_width for slip in in_shares),
)

# %% tags=["hide-input"]
show(tables.known({slip.name for slip in every}))

# %% [markdown]
# ## What the paper claims, what we find, verdict
#
# These claims are ours. One about a slip *holds* when the same slip has the same effect here: the
# whole interval of the change, on less off, lies on the side that is claimed.

# %% tags=["hide-input"]
judge(
    claim("slip_label", label.change),
    claim("slip_position", floor.change),
    claim("slip_padded", padded.change),
    claim("slip_threshold", pruning[0].change),
    claim("slip_dcm_batch", batch.change),
    claim("slip_o_proj", dropped.change),
    caption="What we say of the slips, tested on another model",
)

# %% [markdown]
# ## In three sentences
#
# Each slip of the released code was made on purpose, alone, in our own code. Of
# {glue:text}`n_estimates` estimates, {glue:text}`n_clear` change by more than chance, a share by
# {glue:text}`largest_change` at most; of {glue:text}`n_counts` exact counts, {glue:text}`n_changed`
# change. These are one model and few prompts: where an estimate does not change clearly, an effect
# can hide in its interval, and what a slip did to a published number only a run of the paper's
# models can say.
#
# *Next:* {doc}`10_messages`, the test that the paper does not have.

# %% [markdown]
# ## Exercises
#
# Each is about one slip of this chapter. They run in an instant: on lists of heads, on made-up
# accuracies, and on a small model of random weights.

# %% tags=["exercise-setup"]
from itertools import combinations

import numpy as np
import torch

from entrack.course.checks import check
from entrack.versions.tiny import tiny_model, tiny_tokens

small = tiny_model(n_layers=3, seed=0)


# %% [markdown]
# ::::{exercise} What `is not` compares
# :label: ex-slip-pairs
# :class: predict
#
# To find rivals, pruning removes the heads of a group two by two. `both_go` is the condition of the
# released code. Predict for which pairs it holds, without calling it; the checks do.
#
# :::{admonition} Hint
# :class: dropdown
# `==` asks whether two strings say the same, `is` whether they are one object in memory. How many
# times is the string of a layer built here? Small whole numbers exist once in CPython.
# :::
# ::::

# %% tags=["exercise-setup", "ex-slip-pairs"]
some_heads = [(14, 1), (14, 3), (15, 1), (17, 3), (17, 8)]


def both_go(one, other):
    """Whether two heads, each (layer, head), are removed together."""
    first, second = (f"model.layers.{layer}.self_attn.o_proj" for layer, _ in (one, other))
    return first is not second and one[1] is not other[1]


# %% [markdown] tags=["teacher", "ex-slip-pairs"]
# Whoever reads `is not` as "is unequal to" predicts that pairs of one layer are left out as well.
# Ask for the condition that was meant (different layer *or* different number), and for a unit test
# of one line that would have failed. A trap for the quick: strings of one character exist once in
# CPython, as small whole numbers do, so a test on short names would have passed.

# %% [markdown]
# :::{solution-start} ex-slip-pairs
# :class: dropdown
# :::


# %% tags=["answer", "ex-slip-pairs"]
def removed_together(heads):
    """The pairs of `heads` for which `both_go` holds.

    heads: different heads, each (layer, head). Returns a list of pairs of heads, in the order of
    `itertools.combinations(heads, 2)`.
    """
    return [(one, other) for one, other in combinations(heads, 2) if one[1] != other[1]]


# %% [markdown]
# The two strings are built apart, so they are two objects even where they say the same, and the
# first half of the condition always holds. The second half decides alone. Equal head numbers are
# one object, so heads of one number are never removed together, whatever their layers.
#
# Where such a head is the rival of another, the table of pairs does not show it. It is then left in
# when the other is tested, and stands in for it: the other looks needless, and pruning may drop it.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-slip-pairs"]
with check("ex-slip-pairs", "three heads, two of one layer and two of one number, are predicted"):
    three = [(2, 1), (2, 3), (5, 1)]
    assert removed_together(three) == [p for p in combinations(three, 2) if both_go(*p)]

with check("ex-slip-pairs", "each of the ten pairs of `some_heads` is predicted"):
    for pair in combinations(some_heads, 2):
        predicted = pair in removed_together(some_heads)
        assert predicted == both_go(*pair), f"not that of {pair[0]} and {pair[1]}"

# %% tags=["hidden-test", "ex-slip-pairs"]
with check("ex-slip-pairs", "one number in every layer gives no pair at all"):
    assert removed_together([(layer, 4) for layer in range(6)]) == []


# %% tags=["wrong-answer", "ex-slip-pairs"]
# slip: every pair of different heads, which is what was meant
def removed_together(heads):
    return list(combinations(heads, 2))


# %% tags=["wrong-answer", "ex-slip-pairs"]
# slip: `is not` is read as unequal, so that pairs of one layer are left out
def removed_together(heads):
    pairs = combinations(heads, 2)
    return [(one, other) for one, other in pairs if one[0] != other[0] and one[1] != other[1]]


# %% [markdown]
# ::::{exercise} The last token of a padded prompt
# :label: ex-slip-padded
# :class: write
#
# Prompts of different length stand in one table, filled up on the right. Read the logits of each
# prompt where *it* ends.
#
# :::{admonition} Hint
# :class: dropdown
# One row and one column for each prompt: index with two tensors of the same length.
# :::
# ::::

# %% tags=["exercise-setup", "ex-slip-padded"]
uneven = tiny_tokens(3, 9, seed=4)
n_real = torch.tensor([9, 6, 7])
uneven = torch.where(torch.arange(9) < n_real[:, None], uneven, 0)  # 0 fills up


# %% [markdown] tags=["teacher", "ex-slip-padded"]
# The slip gives no error and a plausible number: behind the end of a prompt the model goes on, and
# says something about padding. Ask why the padding on the right cannot disturb a real token, and
# what would change with padding on the left. A slice and a tensor as indices give a table of all
# prompts at all places. Let them print its shape.

# %% [markdown]
# :::{solution-start} ex-slip-padded
# :class: dropdown
# :::


# %% tags=["answer", "ex-slip-padded"]
def last_logits(tokens, lengths):
    """Logits of `small.hf` at the last real token of each prompt [prompt vocabulary].

    tokens: [prompt pos], filled up on the right with any token; lengths: how many tokens of each
    prompt are real [prompt].
    """
    rows = torch.arange(len(tokens))
    return small.hf(tokens).logits[rows, lengths - 1]


# %% [markdown]
# Attention is causal, so a real token never sees what fills up the row behind it, and the prompt
# answers as it does alone. At the end of the row the prompt is over: what is read there, or taken
# from there for a patch, belongs to the padding.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-slip-padded"]
with check("ex-slip-padded", "each prompt answers as it does alone"):
    at_ends = last_logits(uneven, n_real)
    for row, n in enumerate(n_real.tolist()):
        alone = small.hf(uneven[row : row + 1, :n]).logits[0, -1]
        assert at_ends[row].shape == alone.shape, f"{tuple(at_ends.shape)} is the shape"
        assert torch.allclose(at_ends[row], alone, atol=1e-3), f"not prompt {row}, of {n} tokens"

with check("ex-slip-padded", "what the rows are filled up with does not matter"):
    other = torch.where(torch.arange(9) < n_real[:, None], uneven, 7)
    assert torch.allclose(last_logits(uneven, n_real), last_logits(other, n_real), atol=1e-3)

# %% tags=["hidden-test", "ex-slip-padded"]
with check("ex-slip-padded", "in prompts of full length the last column is read"):
    even = tiny_tokens(4, 6, seed=5)
    read = last_logits(even, torch.full((4,), 6))
    assert torch.allclose(read, small.hf(even).logits[:, 5], atol=1e-3)


# %% tags=["wrong-answer", "ex-slip-padded"]
# slip: the last column is read, behind the end of shorter prompts
def last_logits(tokens, lengths):
    return small.hf(tokens).logits[:, -1]


# %% tags=["wrong-answer", "ex-slip-padded"]
# slip: the place after the last real token, since positions count from 0
def last_logits(tokens, lengths):
    behind = lengths.clamp(max=tokens.shape[1] - 1)
    return small.hf(tokens).logits[torch.arange(len(tokens)), behind]


# %% tags=["wrong-answer", "ex-slip-padded"]
# slip: a slice and a tensor, which reads every prompt at the ends of all
def last_logits(tokens, lengths):
    return small.hf(tokens).logits[:, lengths - 1]


# %% [markdown]
# ::::{exercise} Heads drawn at random
# :label: ex-slip-random
# :class: write
#
# A random circuit needs random heads: as many as the circuit has, and from the whole model. Draw
# them. Both can go wrong without an error.
#
# :::{admonition} Hint
# :class: dropdown
# Number all heads of the model. How many numbers does one layer take?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-slip-random"]
# Let them work out how many different heads come of as many draws with replacement as a model has
# heads, then which way this moves the control, and so the claim. The wrong divisor is invisible in
# a square model, such as the one of the paper: ask for the smallest test that would have shown it.

# %% [markdown]
# :::{solution-start} ex-slip-random
# :class: dropdown
# :::


# %% tags=["answer", "ex-slip-random"]
def random_heads(n, n_layers, n_heads, generator):
    """A set of `n` different heads, each (layer, head), drawn so that all are equally likely.

    The model has `n_layers` layers of `n_heads` heads, both counted from 0. generator: of numpy.
    """
    numbers = generator.choice(n_layers * n_heads, size=n, replace=False)
    return {divmod(int(number), n_heads) for number in numbers}


# %% [markdown]
# A layer takes `n_heads` numbers, so a number divided by `n_heads` gives the layer as the whole
# part and the head as the rest. Drawn without replacement, the set has as many heads as were asked
# for. With replacement it has fewer, and a smaller random circuit is a weaker rival.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-slip-random"]
with check("ex-slip-random", "as many different heads come out as were asked for"):
    sizes = {len(random_heads(20, 6, 9, np.random.default_rng(seed))) for seed in range(20)}
    assert sizes == {20}, f"their numbers are {sorted(sizes)}"

with check("ex-slip-random", "asked for all heads, it gives every head of the model"):
    every = {(layer, head) for layer in range(6) for head in range(4)}
    missing = every - random_heads(24, 6, 4, np.random.default_rng(0))
    assert not missing, f"{len(missing)} of 24 are missing"

# %% tags=["hidden-test", "ex-slip-random"]
with check("ex-slip-random", "layers and heads are drawn evenly, and none that is not there"):
    rng = np.random.default_rng(1)
    drawn = np.array([head for _ in range(500) for head in random_heads(3, 10, 4, rng)])
    assert drawn.min() == 0 and tuple(drawn.max(0)) == (9, 3)
    assert np.allclose(drawn.mean(0), [4.5, 1.5], atol=0.25)


# %% tags=["wrong-answer", "ex-slip-random"]
# slip: drawn with replacement
def random_heads(n, n_layers, n_heads, generator):
    numbers = generator.integers(n_layers * n_heads, size=n)
    return {divmod(int(number), n_heads) for number in numbers}


# %% tags=["wrong-answer", "ex-slip-random"]
# slip: the layer is the number over that of the layers
def random_heads(n, n_layers, n_heads, generator):
    numbers = generator.choice(n_layers * n_heads, size=n, replace=False)
    return {(int(number) // n_layers, int(number) % n_heads) for number in numbers}


# %% tags=["wrong-answer", "ex-slip-random"]
# slip: layer and head are swapped
def random_heads(n, n_layers, n_heads, generator):
    numbers = generator.choice(n_layers * n_heads, size=n, replace=False)
    return {divmod(int(number), n_layers) for number in numbers}


# %% [markdown]
# ::::{exercise} Verdicts that rounding turns
# :label: ex-slip-rounding
# :class: measure
#
# For how many heads does rounding turn the verdict? Write a function that counts them, and measure
# it on the value fetchers that the search of this chapter judged:
# `found.minimality.rivals_gone["value_fetcher"].mean(2).T` gives the two rows of accuracies. Then
# compare how many heads are *kept* with and without rounding. How can the two answers differ?
#
# :::{admonition} Hint
# :class: dropdown
# Two wrong verdicts can make one right count.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-slip-rounding"]
# The chapter compares the shares that are kept. Ask whether "no change" there means that the slip
# did nothing. Then: with how many prompts does rounding to two decimals change no accuracy at all,
# and is the threshold of 1 % a good one with so few?

# %% [markdown]
# :::{solution-start} ex-slip-rounding
# :class: dropdown
# :::


# %% tags=["answer", "ex-slip-rounding"]
def verdicts_turned(before, without, threshold):
    """How many heads are kept by exact accuracies and dropped by rounded ones, or the reverse.

    before, without: accuracy with the head's rivals gone, and with the head gone too [head], numpy.
    A head is kept where before / without - 1 reaches `threshold`. Rounded means that both
    accuracies are rounded to two decimals first. Returns an int.
    """
    exact = before / without - 1 >= threshold
    rounded = np.round(before, 2) / np.round(without, 2) - 1 >= threshold
    return int((exact != rounded).sum())


# %% [markdown]
# Verdicts turn both ways: one small gain is rounded away, and another is rounded up to a whole
# step. In the number of heads that are kept the two cancel, so it can stay the same while the
# circuit changes. A comparison head by head sees that, a comparison of two numbers does not.
#
# With 100 prompts every accuracy has two decimals already and there is nothing to round. But then
# one prompt is a step of `0.01`, as large as the threshold.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-slip-rounding"]
with check("ex-slip-rounding", "two verdicts that turn in opposite ways are two"):
    turned = verdicts_turned(np.array([0.854, 0.856]), np.array([0.8452, 0.853]), 0.01)
    assert turned == 2, f"{turned} came out"

with check("ex-slip-rounding", "far from the threshold no verdict turns"):
    assert verdicts_turned(np.array([0.854, 0.854]), np.array([0.601, 0.853]), 0.01) == 0

# %% tags=["hidden-test", "ex-slip-rounding"]
with check("ex-slip-rounding", "accuracies over 100 prompts are not changed by rounding"):
    hits_of_100 = np.random.default_rng(0).integers(40, 95, size=(2, 300)) / 100
    assert verdicts_turned(*hits_of_100, 0.01) == 0


# %% tags=["wrong-answer", "ex-slip-rounding"]
# slip: the numbers of heads kept are compared, in which verdicts cancel
def verdicts_turned(before, without, threshold):
    exact = before / without - 1 >= threshold
    rounded = np.round(before, 2) / np.round(without, 2) - 1 >= threshold
    return abs(int(exact.sum()) - int(rounded.sum()))


# %% tags=["wrong-answer", "ex-slip-rounding"]
# slip: the score is rounded in place of the accuracies
def verdicts_turned(before, without, threshold):
    score = before / without - 1
    return int(((score >= threshold) != (np.round(score, 2) >= threshold)).sum())


# %% [markdown]
# :::{exercise} A score of exactly zero
# :label: ex-slip-zero
#
# In the released results the label is not found in a single trial, for any group of heads and any
# model. "So no head carries the label." Criticise this without looking at the code. What is odd
# about the number itself? Name one control that must be *above* zero, and one that must be high.
# :::
#
# :::{solution} ex-slip-zero
# :class: dropdown
#
# A model that errs mostly names another object of the scene, and now and then that is the one which
# the label {term}`desideratum` expects. So with nothing patched the score has a {term}`floor` above
# zero. Exactly zero everywhere says that the scored answer is one which is never given.
#
# The floor is the first control: score the unpatched runs. The second is a patch that hands the
# label over by force: the whole residual stream at the query label, in an early layer. It must
# score high, or the score cannot see what it is for. Printing the expected answer as text, space
# and all, would have shown the slip as well: {glue:text}`version` gives the word without its space
# in {glue:text}`bare:.0%` of the pairs.
# :::

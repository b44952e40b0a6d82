# %% [markdown]
# # As published: what the slips of the code change
#
# Released research code is a gift: without it, nobody could have found what this chapter tells.
# Reading the paper's code {cite:p}`prakash2024finetuning` line by line, we met some slips. **Do
# they matter?** Each is made here on purpose, alone, in our own code and on our own models.
# {glue:text}`answer_sentence`
#
# An *estimate* comes from prompts and has an interval; it is beyond chance when the intervals
# without and with the slip lie apart. An *exact count*, of heads say, has none.
#
# None of this is a reproach: any code of this size holds slips, ours too. They matter to whoever
# compares a new number with a published one. *Objectives:* tell a slip that moves a number from one
# that does not. *Time:* 20 minutes. *Before it:* {doc}`08_what_improved`.

# %% tags=["parameters"]
family: str = "smollm2"  # a family in models/
base: str = "base"  # the version on which the slips are made
adapter: str = (
    "code"  # the version whose o_proj update is dropped, and whose queries are handed over
)
n_pairs: int = 21  # pairs behind base's circuit [7, 700]
n_noisy: int = 7  # of these, pairs for stage D as released [1, 700]
share: float = 0.8  # share of each group's effect that the candidates make up [0.1, 1]
n_prune: int = 84  # prompts for minimality [14, 2000]
n_evaluation: int = 119  # prompts on which circuits are scored [14, 5000]
n_random: int = 10  # random circuits, with and without replacement [2, 500]
n_desiderata: int = 49  # pairs of prompts per desideratum, and prompts for input patching [7, 1000]
n_steps: int = 8  # training steps of DCM, of seven pairs each [1, 200]
structure_role: str = "after_prev_query_label"  # where structure readers act {after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from dataclasses import replace

from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.faithfulness import measure_faithfulness
from entrack.circuit.search import CircuitSettings, ablation_means, find_circuit
from entrack.display.cells import glue, show, table
from entrack.figures.improved import slip_bars
from entrack.model.loading import load
from entrack.paper import batch_slips, published, slips
from entrack.patching import dcm
from entrack.patching.group_patching import Patch, Prepared, answers_with
from entrack.stats.claims import DOES_NOT, REPLICATES, UNDECIDED, of_ours
from entrack.task.boxes import examples, pairs
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.prompts import encode, encode_counterfactuals, encode_pairs

# %%
model, tuned = load(f"{family}/{base}"), load(f"{family}/{adapter}")
settings = CircuitSettings(
    n_pairs=n_pairs,
    n_prune=n_prune,
    seed=seed,
    discovery=DiscoveryConfig(structure_role=structure_role),
)
found, means = find_circuit(model, settings), ablation_means(model, settings)
held_out = encode(model.tokenizer, examples(n_evaluation, split="evaluation", seed=seed))
pruned_on = encode(model.tokenizer, examples(settings.n_choose, split="pruning", seed=seed)).subset(
    range(n_prune)
)
candidate = found.discovery.candidate(share)
glue("n_candidates", len(candidate.groups["value_fetcher"]))
glue("share", share)
glue("version", model.name)
glue("adapter", tuned.name)
made = {}

# %% [markdown]
# ## Pruning: three slips in one table of knock-outs
#
# {glue:text}`pruning_sentence` All are read from the same knock-outs of {glue:text}`n_candidates`
# candidate value fetchers, those that make up {glue:text}`share:.0%` of the group's effect; the
# number is the share of them that stays.
#
# - The released Goat and FLoat circuits equal their candidates pruned at **0 %**, the Llama circuit
#   at 1 %.
# - Accuracies are **rounded** to two decimals before any ratio. One such step is as large as the
#   threshold itself.
# - Two heads of one number in different layers are never removed **together**: `is not` compares
#   two strings that were built apart, and so is always true.

# %%
made["pruning"] = slips.pruning_slips(
    slips.pruning_scores(model, pruned_on, circuit=candidate, group="value_fetcher", means=means)
)
glue("pruning_sentence", slips.summary(made["pruning"]))

# %% [markdown]
# ## Evaluation: rounding, samples used twice, random circuits
#
# {glue:text}`evaluation_sentence`
#
# - Faithfulness is a ratio of two **rounded** accuracies.
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
unseen = measure_faithfulness(
    model, held_out, circuits=[found.circuit, found.curve.circuit], means=means
)
seen = measure_faithfulness(model, pruned_on, circuits=[found.circuit], means=means)
made["evaluation"] = [
    slips.rounded_faithfulness(unseen),
    slips.sample_overlap(unseen, seen),
    *slips.random_with_replacement(
        model, pruned_on, circuit=candidate, means=means, n_draws=n_random, seed=seed
    ),
    slips.random_head_layers(model.n_layers, model.n_heads),
]
glue("evaluation_sentence", slips.summary(made["evaluation"]))
glue("reach_llama", slips.random_head_layers(n_layers=32, n_heads=32).on.value)  # Llama-7B
glue("reach_ours", made["evaluation"][-1].on.value)
glue("n_layers", model.n_layers)
glue("n_heads", model.n_heads)
glue("n_reached", min(model.n_layers, model.n_heads))

# %% [markdown]
# ## Discovery: where stage D reads the corrupt prompt
#
# The effect of the strongest structure readers is {glue:text}`discovery_told`. The corrupt prompt's
# question names no box, so there is no earlier label to read from. The released code takes that of
# a **random** box, drawn anew for every head and batch: noise on top of the effect. With
# {glue:text}`n_noisy` pairs only a large change would show.

# %%
clean, corrupt = (
    prompts.subset(range(n_noisy))
    for prompts in encode_pairs(model.tokenizer, pairs(n_pairs, split="discovery", seed=seed))
)
made["discovery"] = [slips.random_corrupt_position(model, clean, corrupt, found=found, seed=seed)]
glue("discovery_told", made["discovery"][0].told)
glue("n_noisy", n_noisy)

# %% [markdown]
# ## Desiderata: four slips in drawing and scoring
#
# {glue:text}`desiderata_sentence` The groups are candidates, before any pruning.
#
# - The *label* is scored by the word **without its space**, a token that {glue:text}`version` gave
#   as the answer in {glue:text}`bare:.0%` of the pairs.
# - The base's **position** always comes out as 0. So sources never ask for the first box, and one
#   pair in seven asks for the same position on both sides. Such a pair counts as right with nothing
#   patched, if the base's own answer is right.
# - Where sources are of another length, "last" is **behind their end**.
# - For group D, the source is read where the **base** has its label.

# %%
n_scenes = max(1, n_desiderata // 7)
made["desiderata"] = [
    slips.label_without_space(model, layer=model.n_layers // 3, n_scenes=n_scenes, seed=seed),
    *slips.base_position_zero(model, circuit=candidate, n=n_desiderata, seed=seed),
    slips.padded_position(model, circuit=candidate, n=n_desiderata, seed=seed),
    slips.structure_reader_position(model, circuit=candidate, n_scenes=n_scenes, seed=seed),
]
glue("desiderata_sentence", slips.summary(made["desiderata"]))
glue("bare", made["desiderata"][0].on.value)

# %% [markdown]
# ## DCM: two slips in choosing a mask
#
# {glue:text}`dcm_sentence` DCM notes masks while it learns, and keeps the one that validates best
# ({doc}`06_what_the_heads_carry`). Here it learns with the released penalty and rate, in
# {glue:text}`n_steps` steps instead of {glue:text}`n_steps_published`.
#
# - **Other prompts' places.** D acts at the earlier mention of the queried label, or just after it,
#   and that stands elsewhere in every prompt. In validation, the released code looks it up in the
#   *training* batch of the moment. Base and source are then patched at places that their questions
#   do not ask about; of {glue:text}`n_validation` pairs here, {glue:text}`n_same` would keep both
#   by luck. With nothing patched, {glue:text}`kept_none:.0%` of the pairs get the base's own
#   answer; with all of D patched at the right places, {glue:text}`kept_off:.0%`; at others' places,
#   {glue:text}`kept_on:.0%`. Validation then sees little of what D does. The tokens of A, B and C
#   are counted from the end of the prompt, so these groups escape.
# - **Ties.** Where masks validate equally well, the released code keeps the one with **more**
#   heads.
#
# *Caveat.* D carries none of the three contents alone, so its masks validate at
# {glue:text}`dcm_best:.2f` for *position* at best, and the empty mask at
# {glue:text}`dcm_empty:.2f`. A choice between masks so close is easily upset, with or without a
# slip.

# %%
train, validation = (
    Prepared(
        model, encode_counterfactuals(model.tokenizer, interchanges(n_scenes, split=s, seed=seed))
    )
    for s in ("discovery", "validation")
)
config = replace(dcm.PUBLISHED, steps=n_steps, batch=7, every=1)
masks = {
    name: dcm.learn_masks(
        model,
        train,
        validation=validation,
        circuit=candidate,
        group=name,
        target="position",
        config=config,
    )
    for name in ("position_transmitter", "structure_reader")
}
role = candidate.role("structure_reader")
made["dcm"] = [
    *batch_slips.dcm_validation_batch(
        masks["structure_reader"], train, validation=validation, role=role, seed=seed
    ),
    *(slips.tied_masks(learned) for learned in masks.values()),
]

# %% tags=["hide-input"]
elsewhere = batch_slips.read_elsewhere(validation.data, train.data, role=role, seed=seed)
same = [
    (read.at(role) == own.at(role))
    for read, own in (
        (elsewhere.base, validation.data.base),
        (elsewhere.source, validation.data.source),
    )
]
unpatched = answers_with(validation, patches=[Patch(role)])[0]
path = masks["structure_reader"].paths[0]
glue("dcm_sentence", slips.summary(made["dcm"]))
glue("n_steps", n_steps)
glue("n_steps_published", dcm.PUBLISHED.steps)
glue("n_validation", len(validation.data))
glue("n_same", int((same[0] & same[1]).sum()))
glue("kept_off", made["dcm"][0].off.value)
glue("kept_on", made["dcm"][0].on.value)
glue("kept_none", float((unpatched == validation.candidates["unchanged"]).double().mean()))
glue("dcm_best", path.validation.max())
glue("dcm_empty", path.validation[0])

# %% [markdown]
# ## Between models: input patching at the places of a whole batch
#
# With the q of {glue:text}`adapter` in group D, the accuracy of {glue:text}`version` is
# {glue:text}`between_told`. To hand over the inputs of D, the released code looks up each prompt's
# own place in turn, but writes into **all prompts of the batch** each time. In the end every prompt
# is patched at the places of all. A batch here holds the questions of one scene, so D gets its q at
# every box instead of the queried one.
#
# *Caveat.* No published number depends on this: the final notebook does not call that function. It
# would also put back all head outputs before the last token, so that a q patched there could not
# act at all; ours leaves them changed.

# %%
made["between"] = [
    batch_slips.cmap_in_batch(tuned, model, circuit=candidate, n_scenes=n_scenes, seed=seed)
]
glue("between_told", made["between"][0].told)

# %% [markdown]
# ## Adapters: an update that hooked runs do not see
#
# The accuracy of {glue:text}`adapter` is {glue:text}`adapter_told`. Goat is a LoRA on q, k, v and
# o. Hooked runs multiply by the *base* weight of o_proj, so its update is **dropped** there, while
# Goat's own accuracy is measured without hooks. We drop it from {glue:text}`adapter`.

# %%
made["adapters"] = [slips.dropped_o_proj(model, tuned, n_scenes=n_scenes, seed=seed)]
glue("adapter_told", made["adapters"][0].told)

# %% [markdown]
# ## All of them
#
# {glue:text}`answer_sentence`
#
# *Caveat.* Not beyond chance is not the same as harmless. The intervals here reach up to
# {glue:text}`widest:.2f` to either side, so an effect of that size can hide in them; the paper's
# own samples are several times larger.

# %% mystnb={"figure": {"name": "fig-slips", "caption": "Every slip off (circle) and on (diamond), with 95 % intervals; marks without one are exact counts. All quantities are shares."}}
every = [slip for group in made.values() for slip in group]
show(
    slip_bars([(slip.title, slip.off, slip.on) for slip in every]),
    alt="; ".join(
        f"{slip.title}: {slip.off.value:.2f} becomes {slip.on.value:.2f}" for slip in every
    )
    + ".",
)

# %% tags=["hide-input"]
table(
    [
        [
            slip.title,
            slips.shown(slip.off),
            slips.shown(slip.on),
            f"{round(slip.change, 2) + 0.0:+.2f}",
            "exact count" if slip.counted else "yes" if slip.clear else "no",
        ]
        for slip in every
    ],
    ["slip: what is measured", "off", "on", "change", "beyond chance"],
    caption=f"What each slip changes, in {model.name} and {tuned.name}.",
)
glue("answer_sentence", slips.summary(every))
glue("widest", max(estimate.half_width for slip in every for estimate in (slip.off, slip.on)))

# %% tags=["hide-input"]
tried = {slip.name for slip in every}
table(
    [
        [
            slip["title"],
            slip["where"],
            slip["effect"],
            "measured above" if slip["name"] in tried else None,
        ]
        for slip in published.slips().values
    ],
    ["slip", "in the released code", "in the paper's numbers", "here"],
    caption="All slips that we know of, what they did to the released numbers as far as that can be told, and whether they were made here.",
)

# %% [markdown]
# ## What the paper claims, what we find, verdict
#
# A claim about a slip *holds* when the same slip has the same effect here.

# %% tags=["hide-input"]
by_title = {slip.title: slip for slip in every}


def judge(slip: slips.Slip, sign: int) -> str:
    """Whether the slip moves its number in the direction of `sign`, by more than the intervals
    allow for.
    """
    if slip.counted and not slip.change:
        return of_ours(DOES_NOT)
    return (
        UNDECIDED if not slip.clear else of_ours(REPLICATES if slip.change * sign > 0 else DOES_NOT)
    )


sevens = published.minimality().values
theirs_position = published.dcm().values["llama"]["value_fetcher"]["position"].accuracy
altered = published.variations().values["altered_box_obj_order"]
sizes = ", ".join(
    f"{sum(p.kept_at_0_percent for p in sevens[m].values())} against {sum(p.kept_at_1_percent for p in sevens[m].values())} ({published.models().values[m]['title']})"
    for m in ("goat", "float")
)
void = [
    cell["label"].mean
    for row in published.activation_patching().values.values()
    for groups in row.values()
    for cell in groups.values()
]
rows = []
for slug, claim, theirs, title, sign, rule in (
    (
        "slip_label",
        "scored without its space, the label desideratum is void",
        f"at most {max(void):.2f} % in all {len(void)} cells",
        "label scored without its space: score",
        -1,
        "lower with the slip, intervals apart",
    ),
    (
        "slip_position",
        "drawn as released, position has a floor of about a seventh",
        f"{theirs_position:.3f} with no head patched",
        "position drawn as released: score with no patch",
        1,
        "higher with the slip, intervals apart",
    ),
    (
        "slip_padded",
        "read behind its end, an altered source scores lower",
        f"{altered.patched.mean / 100:.2f} against {altered.dcm_accuracy:.2f}",
        "source read behind its end: score of B",
        -1,
        "lower with the slip, intervals apart",
    ),
    (
        "slip_threshold",
        "pruning at 0 % keeps more heads than at 1 %",
        sizes,
        "pruned at 0 % instead of 1 %: heads kept",
        1,
        "higher with the slip; an exact count",
    ),
    (
        "slip_dcm_batch",
        "validated at other prompts' places, patching D changes fewer answers",
        "not separated",
        "D validated at other prompts' places: answers unchanged",
        1,
        "higher with the slip, intervals apart",
    ),
    (
        "slip_o_proj",
        "without its o_proj update an adapter version does the task worse",
        "not separated",
        f"o_proj update of {adapter} dropped: accuracy",
        -1,
        "lower with the slip, intervals apart",
    ),
):
    slip = by_title[title]
    glue(f"verdict_{slug}", judge(slip, sign))
    rows.append(
        [
            f"ours: {claim}",
            theirs,
            f"{slips.shown(slip.off)} becomes {slips.shown(slip.on)}",
            judge(slip, sign),
            rule,
        ]
    )
table(
    rows,
    ["claim", "the paper", "here", "verdict", "rule"],
    caption="What we say of the slips, tested on another model.",
)

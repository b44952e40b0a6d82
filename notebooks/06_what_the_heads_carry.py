# %% [markdown]
# # What the heads carry
#
# We know which heads matter. We do not know yet what they tell each other: the word itself, or only
# where to find it.
#
# **What does each group pass on: the object, the position, or the label of the box?** In
# {glue:text}`base_name`, heads are patched from another prompt, and the answer that the group's
# role predicts rises above its {term}`floor`: for the object, with {term}`value fetchers <value
# fetcher>` (A) patched, by {glue:text}`carry_A`; for the position, with {term}`position
# transmitters <position transmitter>` (B), by {glue:text}`carry_B`, and with {term}`position
# detectors <position detector>` (C), by {glue:text}`carry_C`. {term}`Structure readers <structure
# reader>` (D) should carry none of the three alone.
#
# This is the paper's finding (ii), its Figure 3 {cite:p}`prakash2024finetuning`. The method,
# *desiderata-based component masking* {cite:p}`davies2023dcm`, learns which heads of a group must
# be patched so that the answer changes as a hypothesis says. *Objectives:* state a hypothesis as a
# pair of prompts and an expected answer; measure floor and {term}`ceiling` before you believe a
# score. *Time:* 40 minutes. *Before it:* {doc}`05_information_flow`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # a family in models/
base: str = ""  # the version whose circuit is tested, also in the others; empty: the reference
format: str = "alternative"  # text format {alternative, standard}
n_train: int = 14  # scenes for learning masks; every box of each is asked for [2, 500]
n_validation: int = 14  # scenes for choosing among masks, and layers of the ceiling [2, 500]
n_test: int = 70  # scenes for every number that is reported [2, 2000]
# A pair of the structure reader reruns half the prompt and costs ten times as much as another.
n_reader: int = 3  # of the training and validation scenes, those for the structure reader [1, 500]
n_seeds: int = 3  # masks learned per group and desideratum [2, 20]
own: str = ""  # versions that learn masks of their own, by spaces; empty: all tuned from base
n_own: int = 35  # scenes that test these masks [2, 2000]
n_pairs: int = 70  # clean and corrupt pairs behind the circuit [7, 700]
# Where structure readers act; empty: as the family's file says.
structure_role: str = ""  # {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from entrack.circuit import contents
from entrack.circuit.search import circuit_of
from entrack.display.cells import glue, judge, listed, show
from entrack.figures import carry
from entrack.figures.position import answer_shares
from entrack.heads import carried as beside
from entrack.heads.own_masks import GIVEN, own_masks
from entrack.paper import findings
from entrack.paper.claims import claim
from entrack.patching.group_patching import patch_pairs
from entrack.patching.masks import DCMConfig
from entrack.sites import GROUPS

# %% tags=["hide-input"]
from entrack.stats.ranks import orders
from entrack.tables import carry as tables
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.versions import families
from entrack.versions.loading import load

# %%
base = base or families.reference(family)
structure_role = structure_role or families.structure_role(family)
model = load(f"{family}/{base}")
circuit = circuit_of(
    model, structure_role=structure_role, n_pairs=n_pairs, format=format, seed=seed
)
groups = [name for name in GROUPS if circuit.groups[name]]
missing = listed(GROUPS[name].title for name in GROUPS if name not in groups)
glue(base_name=model.name, missing_groups=missing)

# %%
n_scenes = {"discovery": n_train, "pruning": n_validation, "evaluation": n_test}
pairs = {
    split: interchanges(n, split=split, seed=seed, format=format) for split, n in n_scenes.items()
}
train, validation, test = (
    encode_counterfactuals(model.tokenizer, drawn) for drawn in pairs.values()
)

# %% [markdown]
# ## A hypothesis is a pair of prompts
#
# Run the **base** prompt, but patch some heads: give them their outputs on the **source** prompt.
# (Two things are called base in this field, this prompt and the version `base`; we say *the base*
# for the prompt.) If the heads carry the object, the answer must become the source's object. If
# they carry the *position*, it must be the base's **own** object at the position that the source
# asks for. If they carry the *label*, the base's own object in the box of that label. Such a rule
# is a *{term}`desideratum`*. In our pairs the three rules name three different words, so that one
# patched run tells them apart:

# %% tags=["hide-input"]
show(tables.pair(pairs["evaluation"][0]))

# %%
# figure: fig-how-interchange
# caption: An interchange. A square is what the heads of a layer (from below) give at a token (from
#   left to right).
from entrack.display import schematic

show(schematic.interchange())

# %% [markdown]
# ## On one prompt
#
# The pair in the table above. The base prompt runs once with nothing patched, and then with all
# heads of one group taken from the source prompt.

# %%
from entrack.heads import one_prompt
from entrack.patching.patches import Patch
from entrack.tables.patching import one_prompt as table_of_one

one = one_prompt.ask(test.base, words=one_prompt.candidates(test))
ways = {"nothing patched": one_prompt.alone(model, one)}
for name in groups:
    patch = Patch(circuit.role(name), circuit.groups[name])
    ways[f"{GROUPS[name].letter} patched"] = one_prompt.patched(model, one, test.source, patch)
show(table_of_one(one, ways, caption="Answers to the base prompt, by probability."), folded=True)

# %% tags=["hide-input"]
told = (f"with {way}, “{one.best(probs)}”" for way, probs in list(ways.items())[1:])
glue(
    one_own=one.best(ways["nothing patched"]),
    one_own_p=float(ways["nothing patched"].max()),
    one_patched=listed(told, none="no group was patched"),
)

# %% [markdown]
# The name before a word says which rule predicts it; a word without a name is another object of the
# base. With nothing patched the likeliest of these words is *{glue:text}`one_own`*, with a
# probability of {glue:text}`one_own_p:.3f`. The likeliest when a group is patched:
# {glue:text}`one_patched`. One pair can go any way. The rest of the chapter counts such answers
# over many pairs.
#
# Base and source have the same labels in another order, and no object in common. Their queried
# positions always differ, and each is asked for once per scene. {term}`Masks <mask>` are learned,
# chosen and tested on scenes of different splits.
#
# ```{admonition} Predict before you read on
# :class: tip
# Take not heads but the *whole* residual stream of the last token from the source. What will the
# answer be if you do it after the last layer? And if you do it in the middle? What, if you do it at
# the query label?
# ```
#
# ## Floor and ceiling
#
# A score is a share of pairs that answer as the desideratum expects. The **floor** is the score
# with nothing patched: object {glue:text}`floor_object:.2f`, position
# {glue:text}`floor_position:.2f`, label {glue:text}`floor_label:.2f`. The **ceiling** is the score
# with the whole {term}`residual stream` of the token patched, at its best layer. It is a yardstick,
# not an upper limit: heads of several layers can do more than the stream of any one layer, which
# also brings everything else about the source.

# %%
# figure: fig-by-layer
# caption: Answers when the residual stream that enters a layer is taken from the source, at one
#   token (panel). Share of validation pairs, of which the token of structure readers (D) has
#   fewer. Unchanged: the base's own answer. Other: none of the four.
roles = list(dict.fromkeys(circuit.role(name) for name in groups))
streams = contents.streams_by_layer(model, validation, roles=roles, n_reader=n_reader)
show(carry.by_layer(streams, n_layers=model.n_layers))

# %% [markdown]
# At the last token the position comes first and the object after it: there the fetching happens. At
# the query label, what the lowest layers carry is just the label's own token, which shows no
# mechanism. ({doc}`02_hooks_and_patching` has such curves for one desideratum at a time.)
#
# ## Which heads: learning a mask
#
# Each head $h$ of a group gets a weight $W_h$ between 0 (patched from the source) and 1 (kept).
# Adam minimises
#
# $$-\text{logit of the expected answer} + \lambda \sum_h (1 - W_h).$$
#
# The price $\lambda$ is in logits: a head is patched if that is worth more than $\lambda$. The
# paper uses one price; we learn masks for several prices (the first in the next cell is the
# paper's) and seeds, and take the *fewest* heads within one standard error of the best validation
# score. (The released code takes the most heads among equals, which fills its lists with heads that
# do nothing.)

# %%
config = DCMConfig(penalties=(0.01, 0.1, 1.0), seeds=tuple(range(n_seeds)))
# A pair of the structure reader costs more: fewer prices, steps and pairs.
reader_config = DCMConfig(
    penalties=(0.03, 0.3), steps=8, batch=7, seeds=tuple(range(min(2, n_seeds)))
)
masks = contents.group_masks(
    model,
    train,
    validation=validation,
    circuit=circuit,
    config=config,
    reader_config=reader_config,
    n_reader=n_reader,
)

# %%
# figure: fig-masks
# caption: Share of validation pairs that answer as the desideratum expects, against the number of
#   heads that a mask patches, for every mask of every seed and each group (panel; in brackets its
#   heads). Zero heads is the floor.
show(carry.mask_paths(masks))

# %% [markdown]
# On the test pairs we patch the heads that more than half of the seeds select.

# %%
selected = contents.content_patches(masks, circuit)
ceilings = contents.ceiling_patches(contents.best_layers(streams))
tested = {base: patch_pairs(model, test, patches={**selected, **ceilings})}
in_base = contents.Contents(masks=masks, tested=tested, base=base)
for target in contents.TARGETS:
    glue(**{f"floor_{target}": tested[base].floor(target).value})
glue(paper_floor=findings.position_floor())

# %% tags=["hide-input"]
show(tables.masks(in_base))

# %% tags=["hide-input"]
taken = [tables.taken_words(learned).split()[0] for learned in masks.values()]
glue(n_masks=len(taken), n_all=taken.count("all"), n_none=taken.count("none"))

# %% [markdown]
# Of {glue:text}`n_masks` masks, {glue:text}`n_all` take all heads of their group and
# {glue:text}`n_none` take none. Such a mask has chosen nothing, and that two seeds agree on it says
# nothing about the heads: the row has no overlap, and what counts is its effect. With all heads
# that is the effect of the whole group. With none, no head was worth its price on the validation
# pairs. The column *less all heads* then says of the whole group, on the test pairs, whether it
# helps towards that answer all the same (below 0) or makes it rarer (above 0). It does help for the
# position in D, a little: D was given few pairs, so its masks missed this.
#
# The position has a floor above 0 because a wrong answer sometimes falls on the box at that
# position. In the released data the floor is about one in seven: base positions were all computed
# as 0, so that a seventh of the pairs have equal positions. Groups without any head after pruning,
# and so not tested here: {glue:text}`missing_groups`.
#
# ## Do the same heads carry the same in the fine-tuned versions?
#
# The heads selected in {glue:text}`base_name` are patched in every version, between the same
# prompts.

# %%
tuned = families.tuned_from(family, base)
for v in tuned:
    tested[v] = patch_pairs(load(f"{family}/{v}"), test, patches=selected)
carried = contents.Contents(masks=masks, tested=tested, base=base)

# %%
# figure: fig-three
# caption: Score less its floor when the heads selected in {glue:text}`base_name` are patched in
#   every version (above; 95 % intervals over scenes), and those of Llama's circuit in the paper's
#   four models (below; means of its runs). Open circles: no head was selected. The paper's object
#   floor is not published: nothing is subtracted there. Void: see the text.
show(carry.figure_three(carried, paper=findings.above_floor(groups)))

# %% [markdown]
# The paper's **label** columns are void. The released code scored the label's object without its
# leading space, a token that no model gives after "the", or an unknown word: every trial gives
# exactly zero. Ours score the right token.

# %% tags=["hide-input"]
show(tables.versions(carried))
fetching = {v: carried.fetching(v) for v in carried.tuned if "value_fetcher" in groups}
show(tables.fetching(fetching, base=base), folded=True)

# %% [markdown]
# The folded table counts how often the source's object is named with the same value fetchers (A)
# patched, beside the same in {glue:text}`base_name`. That better versions name it more often:
# *{glue:text}`verdict_better_fetching`*; `instruct` and `math`, which do the task worse, name it
# less often. But a version that tracks better also has more right objects to fetch in the source,
# so this is no proof of better fetching.
#
# ### More in better versions?
#
# A selection made in {glue:text}`base_name` could favour it. So all heads of a group are patched,
# in every version, and each version is compared with {glue:text}`base_name` on the same pairs.

# %% tags=["hide-input"]
show(tables.changes(carried), folded=True)

# %% tags=["hide-input"]
show(tables.with_accuracy(carried), folded=True)

# %% tags=["hide-input"]
changed = {group: [beside.change(carried, v, group) for v in tuned] for group in groups}
told = {GROUPS[group].letter: beside.counted(found) for group, found in changed.items()}
glue(
    changes="; ".join(f"{letter}: {words}" for letter, words in told.items()),
    n_versions=len(tested),
    n_orders=orders(len(tested)),
    least_p=1 / orders(len(tested)),
)

# %% [markdown]
# How many versions carry clearly more (rise) or less (fall) than {glue:text}`base_name`:
# {glue:text}`changes`. In A it is the better versions that carry more, and the worse that carry
# less. In B and C no version clearly carries more. That what is carried rises with accuracy: A
# *{glue:text}`verdict_carries_with_accuracy_A`*, B *{glue:text}`verdict_carries_with_accuracy_B`*,
# C *{glue:text}`verdict_carries_with_accuracy_C`*.
#
# *Caveat.* Few versions can say little about that. The {glue:text}`n_versions` here can stand in
# {glue:text}`n_orders` orders, one of them perfect, so that no correlation can have a smaller p
# than {glue:text}`least_p:.2g`, and three groups are tried. The versions are not independent
# either: all but {glue:text}`base_name` are made from it. And what a group carries is measured
# through the answers of the version itself, so that a better version, which errs less on the way to
# any answer, may follow the same message more often. {doc}`10_messages` takes the two apart.
#
# ### Masks of their own
#
# The heads were selected in {glue:text}`base_name`. A version that uses *other* heads of a group
# would score low with them without carrying less. So each version learns masks of its own, for what
# the paper says the group carries, in the same way and from the same prompts as
# {glue:text}`base_name` did.

# %%
learners = own.split() or list(tuned)
given = {g: masks[g, t].agreed() for g, t in contents.CONTENT.items() if g in groups}
own_learned = {}
for v in learners if given else []:
    own_learned[v] = own_masks(
        load(f"{family}/{v}"),
        train,
        validation=validation,
        test=contents.first_scenes(test, n_own),
        circuit=circuit,
        given=given,
        config=config,
    )

# %% tags=["hide-input"]
if own_learned:
    show(tables.own_masks(own_learned))

# %% tags=["hide-input"]
chosen = [tables.taken_words(m).split()[0] for o in own_learned.values() for m in o.masks.values()]
glue(n_own_masks=len(chosen), n_own_all=chosen.count("all"), n_own_none=chosen.count("none"))

# %% [markdown]
# Of these {glue:text}`n_own_masks` masks, {glue:text}`n_own_all` take all heads of the group and
# {glue:text}`n_own_none` none; a mask of these two kinds chooses nothing, and is compared by its
# effect alone. The mask of a version may take other heads than base's and do the same: heads that
# give the same message can stand in for each other. So the last two columns of the table compare
# effects, not heads. Where both masks take the same heads, the column *less base's heads* is 0
# without width. That is so in most rows: the version, asked anew, chose the very heads of base's
# mask. Where it chose others, that these carry the same: A *{glue:text}`verdict_own_mask_A`*, B
# *{glue:text}`verdict_own_mask_B`*, C *{glue:text}`verdict_own_mask_C`*.
#
# The paper learned masks in three of its models, in each for the circuit that was found there, so
# that not only the masks but the heads to choose from differ between its columns:

# %% tags=["hide-input"]
show(tables.published_masks(), folded=True)

# %% [markdown]
# Its labels are void for the reason above. Masks that take all heads or none occur there too: in
# Llama, that of A takes all heads for the object and none for the position.
#
# ## Everything that a patched model answers
#
# The scores of three desiderata leave open what the other answers are. Here all heads of each group
# are patched at once, and every answer is counted.

# %%
# figure: fig-answers
# caption: Answers of {glue:text}`base_name` with nothing patched, and with all heads of one group
#   patched from the source. Share of test pairs. Unchanged: the base prompt's own answer. Other:
#   none of the four.
bars = {"nothing patched": tested[base].shares(None)}
for name in groups:
    title = f"{GROUPS[name].letter} {GROUPS[name].title}"
    bars[title] = tested[base].shares(f"{name} all")
show(answer_shares(bars))

# %% tags=["hide-input"]
show(tables.answers(carried), folded=True)

# %% [markdown]
# With A patched the source's object is the commonest answer. With B or C patched it is the base's
# object at the source's position that leads among the words that an idea predicts, and many answers
# are none of these. That no group carries the label: *{glue:text}`verdict_label_not_carried`*.
#
# A patch that makes a model err more makes it name every box more often, also the expected one. A
# small rise of a score may mean no more than that. A group can matter and still meet no
# desideratum: when a model no longer finds its box, it names some other one. What was patched is
# then a step of the look-up, and its content does not show in the answer. D is nearest to this:
# with D patched many answers change, and few of them to a word that an idea predicts. That it
# carries none of the three: *{glue:text}`verdict_D_carries_nothing_seen`*.
#
# *Caveats.* A group may also carry something that we did not ask about; its answers are then
# counted as "other" or "unchanged". Intervals are over scenes and leave out the choice of the
# {term}`circuit` and of the masks; how far seeds agree is in the table of masks. A version's own
# mask chooses among the heads of base's circuit: heads outside it are not asked
# ({doc}`04_same_circuit`).
#
# ## What the paper claims, what we find, verdict

# %%
carrying = {
    (group, target): (carried.above(base, group, target), carried.lead(group, target))
    for group, target in contents.CONTENT.items()
    if group in groups
}
same_content = {v: [carried.above(v, *key) for key in carrying] for v in carried.tuned}
told = listed(f"{GROUPS[group].letter}'s {target}" for group, target in carrying)
reader = None
if "structure_reader" in groups:
    reader = [carried.most("structure_reader", target) for target in contents.TARGETS]
labels = [carried.most(group, "label") for group in groups]

# %% tags=["hide-input"]
letters = listed(GROUPS[group].letter for group in groups)
for key in contents.CONTENT.items():
    score = f"{carrying[key][0]:+.2f}" if key in carrying else "(not run here)"
    glue(**{f"carry_{GROUPS[key[0]].letter}": score})

# %% tags=["hide-input"]
ranked = {
    GROUPS[g].letter: beside.with_accuracy(carried, g) for g in contents.CONTENT if g in groups
}
less = {GROUPS[g].letter: {v: o.beyond(g, GIVEN) for v, o in own_learned.items()} for g in given}
slugs = {(g, t): f"{GROUPS[g].letter}_carries_{t}" for g, t in contents.CONTENT.items()}
better = {v: gain for v, gain in fetching.items() if v in carried.better()}

# %% tags=["hide-input"]
judge(
    *(claim(slug, carrying.get(key)) for key, slug in slugs.items()),
    claim("D_carries_nothing_seen", reader),
    claim("same_roles_when_tuned", same_content if carrying else None, contents=told),
    claim("better_fetching", better),
    claim("label_not_carried", labels or None, groups=letters),
    *(
        claim(f"carries_with_accuracy_{x}", ranked.get(x), n=len(tested), tests=len(ranked))
        for x in "ABC"
    ),
    *(claim(f"own_mask_{x}", less.get(x) or None) for x in "ABC"),
    caption="Finding (ii), second part: what each group carries. Scores are shares of pairs, less"
    " the floor; of selected heads or of all, whichever is more, where nothing is claimed.",
)

# %% [markdown]
# ## In three sentences
#
# Heads of one group are patched from another prompt, and the answer shows what came with them.
# Value fetchers (A) carry the object, *{glue:text}`verdict_A_carries_object`*; position
# transmitters (B) the position, *{glue:text}`verdict_B_carries_position`*; position detectors (C)
# the position, *{glue:text}`verdict_C_carries_position`*. The fine-tuned versions use the groups
# for the same: *{glue:text}`verdict_same_roles_when_tuned`*.
#
# *Next:* {doc}`07_what_counts_as_position` asks what "position" is.

# %% [markdown]
# ## Exercises
#
# Those with a function to write take plain lists, or a small model of random weights that knows
# nothing: what is practised is the method. `tell` writes a prompt, `last_z` reads what the heads of
# the small model's last layer give at the last token, and `answer_logit` is the logit of the
# sources' answers when these heads give something else.

# %% tags=["exercise-setup"]
import torch

from entrack.course.checks import check
from entrack.model.hooks import Trace
from entrack.versions.tiny import tiny_model, tiny_tokens

told_base = [("apple", "F"), ("coin", "C"), ("key", "T"), ("egg", "A"), ("hat", "M")]
told_source = [("leaf", "T"), ("drum", "F"), ("pearl", "C"), ("rope", "M"), ("torch", "A")]


def tell(scene, query):
    """The prompt that tells a scene, a list of (object, label), and asks for one of its boxes."""
    context = ", ".join(f"the {thing} is in Box {label}" for thing, label in scene)
    return f"{context[:1].upper()}{context[1:]}. Box {scene[query][1]} contains the"


# %% tags=["exercise-setup"]
small = tiny_model(n_layers=2, seed=0)
bases, sources = tiny_tokens(6, 8, seed=1), tiny_tokens(6, 8, seed=2)
source_answers = small.hf(sources).logits[:, -1].argmax(-1)


def last_z(tokens):
    """Outputs of the last layer's heads at the last token [example head d_head]."""
    with Trace(small.hf, small.site(1, "o_proj"), retain_input=True) as seen, torch.no_grad():
        small.hf(tokens)
    return seen.input[:, -1].unflatten(-1, (small.n_heads, small.d_head))


# %% tags=["exercise-setup"]
def answer_logit(z):
    """Logit of the sources' answers [example] when the bases' heads give z [example head d_head].

    Gradients flow to z."""

    def put(x):
        return torch.cat([x[:, :-1], z.flatten(1)[:, None]], dim=1)

    with Trace(small.hf, small.site(1, "o_proj"), edit_input=put):
        logits = small.hf(bases).logits[:, -1]
    return logits.gather(1, source_answers[:, None])[:, 0]


# %% [markdown]
# ::::{exercise} A pair that tells the ideas apart
# :label: ex-carry-pair
# :class: write
#
# A desideratum is a pair of prompts and a word. Given two scenes, choose the source's question so
# that all ideas of what a patch carries expect different words, and say which.
#
# :::{admonition} Hint
# :class: dropdown
# Say the four words for one choice of the source's box first. Position and label both name an
# object of the base.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-carry-pair"]
# Position and label get mixed up, and the mistake is silent: a model that follows the position is
# then reported to follow the label. Ask for which source box the two would agree, and what an
# experiment with such pairs could conclude.

# %% [markdown]
# :::{solution-start} ex-carry-pair
# :class: dropdown
# :::


# %% tags=["answer", "ex-carry-pair"]
def position_pair(base, source, query):
    """A base prompt, a source prompt, and what the patched base says under each idea.

    base, source: scenes, lists of (object, label) in the order of the text, with the same labels in
    another order and no object in common. query: which box the base asks for, counted from 0. The
    source asks for its first box for which the four words differ; there is one. Returns (base text,
    source text, {"unchanged", "object", "position", "label"}), the texts as `tell` writes them.
    """
    held = {label: thing for thing, label in base}
    for place, (thing, label) in enumerate(source):
        words = {"unchanged": base[query][0], "object": thing}
        words |= {"position": base[place][0], "label": held[label]}
        if len(set(words.values())) == len(words):
            return tell(base, query), tell(source, place), words


# %% [markdown]
# The source's scene gives one word only, that of the object. The others are the base's own, so that
# a patched base that says one of them has found it in its own context.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-carry-pair"]
with check("ex-carry-pair", "for the two scenes of the set-up, each idea expects the right word"):
    words = position_pair(told_base, told_source, 0)[2]
    right = {"unchanged": "apple", "object": "pearl", "position": "key", "label": "coin"}
    wrong = [idea for idea in right if words[idea] != right[idea]]
    assert not wrong, f"wrong for {', '.join(wrong)}"

with check("ex-carry-pair", "whichever box the base asks for, four words differ"):
    for query in range(5):
        assert len(set(position_pair(told_base, told_source, query)[2].values())) == 4

with check("ex-carry-pair", "each prompt asks for the box that the words speak of"):
    base_text, source_text, _ = position_pair(told_base, told_source, 0)
    assert base_text == tell(told_base, 0) and source_text.endswith(" Box C contains the")

# %% tags=["hidden-test", "ex-carry-pair"]
with check("ex-carry-pair", "of several boxes that would do, the source asks for the first"):
    others = [("leaf", "C"), ("drum", "T"), ("pearl", "F")]
    _, source_text, words = position_pair(told_base[:3], others, 1)
    assert source_text == tell(others, 2) and words["position"] == "key"
    assert position_pair(told_base[:3], others, 2)[2]["position"] == "apple"


# %% tags=["wrong-answer", "ex-carry-pair"]
# slip: position and label are mixed up
def position_pair(base, source, query):
    held = {label: thing for thing, label in base}
    for place, (thing, label) in enumerate(source):
        words = {"unchanged": base[query][0], "object": thing}
        words |= {"label": base[place][0], "position": held[label]}
        if len(set(words.values())) == len(words):
            return tell(base, query), tell(source, place), words


# %% tags=["wrong-answer", "ex-carry-pair"]
# slip: the position is looked up in the source, which gives the object again
def position_pair(base, source, query):
    held = {label: thing for thing, label in base}
    place = next(p for p in range(len(base)) if p != query and held[source[p][1]] != base[p][0])
    words = {"unchanged": base[query][0], "object": source[place][0]}
    words |= {"position": source[place][0], "label": held[source[place][1]]}
    return tell(base, query), tell(source, place), words


# %% tags=["wrong-answer", "ex-carry-pair"]
# slip: the source asks for the next box, whatever its label
def position_pair(base, source, query):
    held = {label: thing for thing, label in base}
    place = (query + 1) % len(base)
    words = {"unchanged": base[query][0], "object": source[place][0]}
    words |= {"position": base[place][0], "label": held[source[place][1]]}
    return tell(base, query), tell(source, place), words


# %% [markdown]
# ::::{exercise} One step of learning a mask
# :label: ex-carry-step
# :class: write
#
# Write one step of gradient descent on the weights $W_h$ of the heads of a group. (The chapter uses
# Adam, which takes other steps on the same loss.)
#
# :::{admonition} Hint
# :class: dropdown
# Mix, loss, gradient, step, bounds, in this order. The loss stands in the chapter.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-carry-step"]
# A wrong sign of the price is found late, because the loss still falls: every head is patched, and
# the score is good. Ask what the price has to do at weights between 0 and 1, and what a weight
# of -2 would mean for the outputs that the model is given.

# %% [markdown]
# :::{solution-start} ex-carry-step
# :class: dropdown
# :::


# %% tags=["answer", "ex-carry-step"]
def mask_step(weights, z_base, z_source, logit, price, rate):
    """The weights [head] after one step of gradient descent, all of them within 0 and 1.

    weights: 1 keeps a head's output on the base, 0 takes that on the source, and between them the
    two are mixed; they stay as they were. z_base, z_source: [example head d_head]. logit: what
    gives the expected answer's logit [example] for such outputs. The loss is minus the mean logit,
    plus `price` for each head that is taken, or its part. rate: of the gradient, in a step.
    """
    free = weights.detach().clone().requires_grad_()
    mixed = free[:, None] * z_base + (1 - free[:, None]) * z_source
    loss = -logit(mixed).mean() + price * (1 - free).sum()
    (slope,) = torch.autograd.grad(loss, free)
    return (free.detach() - rate * slope).clamp(0, 1)


# %% [markdown]
# Where logits are linear in the outputs, the slope at a head is what taking it is worth, in logits,
# less the price. So heads that are worth more than the price go to 0 step by step and all others to
# 1, where the bounds hold them.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-carry-step"]
with check("ex-carry-step", "at weight 1 the model is given the base's output, at 0 the source's"):
    given, z, other = [], last_z(bases), last_z(sources)
    mask_step(torch.tensor([1.0, 0, 1, 0]), z, other, lambda x: given.append(x) or x[:, 0, 0], 0, 0)
    assert torch.equal(given[0][:, [0, 2]], z[:, [0, 2]]), "base"
    assert torch.equal(given[0][:, [1, 3]], other[:, [1, 3]]), "source"

with check("ex-carry-step", "a head that changes no logit is kept more after a step, if it costs"):
    half = torch.full((4,), 0.5)
    moved = mask_step(half, last_z(bases), last_z(sources), lambda z: 0 * z.sum((1, 2)), 1.0, 0.1)
    assert torch.allclose(moved, torch.full((4,), 0.6))

# %% tags=["check", "ex-carry-step"]
with check("ex-carry-step", "worth 2 and 0.1 logits at price 1, heads go from 0.5 to 0.4 and 0.59"):
    worth = torch.tensor([2.0, 0.1])[:, None]
    zero, one = torch.zeros(3, 2, 1), torch.ones(3, 2, 1)
    moved = mask_step(torch.full((2,), 0.5), zero, one, lambda z: (z * worth).sum((1, 2)), 1.0, 0.1)
    assert torch.allclose(moved, torch.tensor([0.4, 0.59])), f"{moved.tolist()}"

with check("ex-carry-step", "no step, however long, leads out of the bounds"):
    half, ends = torch.full((4,), 0.5), []
    for price in (0.0, 1000.0):
        ends.append(mask_step(half, last_z(bases), last_z(sources), answer_logit, price, 50.0))
    assert all(0 <= end.min() and end.max() <= 1 for end in ends)

# %% tags=["hidden-test", "ex-carry-step"]
with check("ex-carry-step", "without a price, steps on the small model raise the expected logit"):
    z, other, weights = last_z(bases), last_z(sources), torch.ones(4)
    for _ in range(20):
        weights = mask_step(weights, z, other, answer_logit, 0.0, 0.05)
    mixed = weights[:, None] * z + (1 - weights[:, None]) * other
    assert answer_logit(mixed).mean() > answer_logit(z).mean()

with check("ex-carry-step", "the weights that were given stay as they were, and nothing is traced"):
    half = torch.full((4,), 0.5)
    moved = mask_step(half, last_z(bases), last_z(sources), answer_logit, 0.1, 0.1)
    assert (half == 0.5).all() and not half.requires_grad and not moved.requires_grad


# %% tags=["wrong-answer", "ex-carry-step"]
# slip: the price is paid for the heads that are kept
def mask_step(weights, z_base, z_source, logit, price, rate):
    free = weights.detach().clone().requires_grad_()
    mixed = free[:, None] * z_base + (1 - free[:, None]) * z_source
    loss = -logit(mixed).mean() + price * free.sum()
    (slope,) = torch.autograd.grad(loss, free)
    return (free.detach() - rate * slope).clamp(0, 1)


# %% tags=["wrong-answer", "ex-carry-step"]
# slip: nothing holds the weights within their bounds
def mask_step(weights, z_base, z_source, logit, price, rate):
    free = weights.detach().clone().requires_grad_()
    mixed = free[:, None] * z_base + (1 - free[:, None]) * z_source
    loss = -logit(mixed).mean() + price * (1 - free).sum()
    (slope,) = torch.autograd.grad(loss, free)
    return free.detach() - rate * slope


# %% tags=["wrong-answer", "ex-carry-step"]
# slip: weight 1 takes the source
def mask_step(weights, z_base, z_source, logit, price, rate):
    free = weights.detach().clone().requires_grad_()
    mixed = free[:, None] * z_source + (1 - free[:, None]) * z_base
    loss = -logit(mixed).mean() + price * (1 - free).sum()
    (slope,) = torch.autograd.grad(loss, free)
    return (free.detach() - rate * slope).clamp(0, 1)


# %% [markdown]
# ::::{exercise} The missing measurement
# :label: ex-carry-floor
# :class: criticise
#
# A colleague reports that a group "carries the position": score {glue:text}`paper_floor:.3f`, the
# same in ten runs. Which one measurement do you ask for? Write the function that reports it beside
# the score.
#
# :::{admonition} Hint
# :class: dropdown
# What would the score be if the patch did nothing?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-carry-floor"]
# "Chance, one in seven" is the usual first answer. It is a guess at what should be measured. Ask
# for a model that errs seldom: its floor is far below chance. And for one that always names the
# first object.

# %% [markdown]
# :::{solution-start} ex-carry-floor
# :class: dropdown
# :::


# %% tags=["answer", "ex-carry-floor"]
def reported(patched, unpatched, expected):
    """What to report of a patch: (score, floor, score less floor).

    patched, unpatched: the base prompts' answers with the patch and without; expected: what the
    desideratum expects. Lists of words, one a pair, of the same length.
    """
    n = len(expected)
    score, floor = (
        sum(said == wanted for said, wanted in zip(answers, expected, strict=True)) / n
        for answers in (patched, unpatched)
    )
    return score, floor, score - floor


# %% [markdown]
# The score with **no** head patched, on the same pairs. In the released data it is
# {glue:text}`paper_floor:.3f` too: a seventh of the pairs have the same position in base and
# source, where the unpatched model is "right". Ten runs that agree say nothing about a floor that
# they share.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-carry-floor"]
with check("ex-carry-floor", "a patch that does nothing has nothing to report but its floor"):
    said = ["key", "egg", "hat", "coin"]
    score, floor, above = reported(said, said, ["key", "egg", "apple", "hat"])
    assert (score, floor, above) == (0.5, 0.5, 0.0)

with check("ex-carry-floor", "a model that never errs towards the expected word has floor 0"):
    expected = ["key", "egg", "hat", "coin"]
    score, floor, above = reported(["key", "egg", "hat", "hat"], ["leaf"] * 4, expected)
    assert (score, floor, above) == (0.75, 0.0, 0.75)

# %% tags=["check", "ex-carry-floor"]
with check("ex-carry-floor", "score and floor are shares of the same pairs, all of them"):
    expected = ["key", "egg", "hat", "coin", "leaf"]
    found = reported(["key", "egg", "hat", "x", "x"], ["key", "x", "y", "x", "x"], expected)
    assert all(abs(a - b) < 1e-9 for a, b in zip(found, (0.6, 0.2, 0.4), strict=True)), f"{found}"

# %% tags=["hidden-test", "ex-carry-floor"]
with check("ex-carry-floor", "a patch that only destroys what was there is below its floor"):
    assert reported(["x", "x"], ["key", "x"], ["key", "egg"]) == (0.0, 0.5, -0.5)


# %% tags=["wrong-answer", "ex-carry-floor"]
# slip: chance is taken for the floor
def reported(patched, unpatched, expected):
    score = sum(map(str.__eq__, patched, expected)) / len(expected)
    floor = 1 / len(set(expected))
    return score, floor, score - floor


# %% tags=["wrong-answer", "ex-carry-floor"]
# slip: the floor is the share of answers that the patch leaves as they were
def reported(patched, unpatched, expected):
    score = sum(map(str.__eq__, patched, expected)) / len(expected)
    floor = sum(map(str.__eq__, patched, unpatched)) / len(expected)
    return score, floor, score - floor


# %% tags=["wrong-answer", "ex-carry-floor"]
# slip: the score is taken over the pairs that the unpatched base does not answer so already
def reported(patched, unpatched, expected):
    floor = sum(map(str.__eq__, unpatched, expected)) / len(expected)
    left = [(p, e) for p, u, e in zip(patched, unpatched, expected, strict=True) if u != e]
    score = sum(p == e for p, e in left) / len(left)
    return score, floor, score - floor


# %% [markdown]
# :::{exercise} What a price buys
# :label: ex-carry-price
#
# The price $\lambda$ = 1 keeps a head out although patching it raises the expected logit by 0.8.
# When would you want such a price, and what does the path of prices show that one price cannot?
# :::
#
# :::{solution} ex-carry-price
# :class: dropdown
#
# When you want the few heads that do the work and not all that take part. The path shows how
# quickly the score falls as fewer heads are patched: a flat path means that a few heads suffice, a
# steep one that the group shares the work.
# :::
#
# :::{exercise} Why another order
# :label: ex-carry-order
#
# Why must the base's and the source's labels stand in another order, when the label desideratum
# alone could do with any order?
# :::
#
# :::{solution} ex-carry-order
# :class: dropdown
#
# In the same order, the box of that label and the box at that position are the same box: position
# and label predict the same word, and the experiment cannot tell them apart.
# :::

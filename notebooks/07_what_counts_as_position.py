# %% [markdown]
# # What counts as position
#
# "The third box", "so many words back", "the one called F": these are three ways to point at the
# same thing, and a model may use any of them.
#
# **If heads carry a position, is it the number of the box, the number of the token, or the label?**
# That it is the number of the box, in {glue:text}`version`: for {term}`position transmitters
# <position transmitter>` (B), rather than the number of tokens from the start,
# *{glue:text}`verdict_order_over_token_from_start_B`*; rather than from the end,
# *{glue:text}`verdict_order_over_token_from_end_B`*; rather than the label,
# *{glue:text}`verdict_order_over_label_B`*. For {term}`position detectors <position detector>` (C),
# in the same order: *{glue:text}`verdict_order_over_token_from_start_C`*,
# *{glue:text}`verdict_order_over_token_from_end_C`* and *{glue:text}`verdict_order_over_label_C`*.
#
# {doc}`06_what_the_heads_carry` found that these two groups carry "the position". In every pair
# there, box number and token number went together, so it stayed open which of them it was. Here
# they are pulled apart. *Objectives:* read a minimal change of a prompt as a question; see that a
# hypothesis is tested only against the rivals that a prompt tells apart. *Time:* 30 minutes.
# *Before it:* {doc}`06_what_the_heads_carry`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # a family in models/
version: str = ""  # the version that is looked into; empty: the family's reference
format: str = "alternative"  # text format {alternative, standard}
n_scenes: int = 70  # scenes per wording of the source; every box of each is asked for [2, 1000]
n_rivals: int = 49  # scenes for telling ordinal, token and label apart [4, 1000]
n_worded: int = 12  # wordings that get a mask of their own, the plain one first [2, 12]
n_learn: int = 5  # scenes for learning a mask per wording, and as many for choosing it [1, 500]
n_masked: int = 10  # of the scenes per wording, so many of the first test its mask [2, 1000]
n_pairs: int = 70  # clean and corrupt pairs behind the circuit [7, 700]
# Where structure readers act; empty: as the family's file says.
structure_role: str = ""  # {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from functools import partial

from entrack.across.understood import understood
from entrack.circuit import wordings
from entrack.circuit.contents import whole_groups
from entrack.circuit.search import circuit_of
from entrack.display.cells import glue, judge, listed, show
from entrack.errors import ChapterError
from entrack.figures import position
from entrack.heads.worded_masks import FEW_STEPS, masked, pooled, worded_masks
from entrack.paper import findings
from entrack.paper.claims import claim

# %% tags=["hide-input"]
from entrack.patching.dcm import PUBLISHED
from entrack.sites import GROUPS
from entrack.stats.power import units_needed
from entrack.stats.rules import MARGIN
from entrack.tables import position as tables
from entrack.tables.carry import taken_words
from entrack.task.boxes import FORMATS
from entrack.versions import families
from entrack.versions.loading import load

# %%
version = version or families.reference(family)
structure_role = structure_role or families.structure_role(family)
model = load(f"{family}/{version}")
circuit = circuit_of(
    model, structure_role=structure_role, n_pairs=n_pairs, format=format, seed=seed
)
patches = whole_groups(circuit, "position_transmitter", "position_detector")
glue(version=model.name)

# %% tags=["hide-input"]
if not patches:
    raise ChapterError(
        f"the circuit of {model.name} has neither position transmitters nor position detectors;"
        " this chapter patches them. Take more pairs (n_pairs), or another version."
    )

# %%
patched_from = partial(wordings.patch_wording, model, patches=patches, format=format, seed=seed)
glue(carriers=listed(f"{GROUPS[n].title.lower()}s ({len(p.heads)})" for n, p in patches.items()))

# %% [markdown]
# ## Ten ways to say the same
#
# The source is reworded, the base prompt stays as it is, and the answer should still be the base's
# own object at the position that the source asks for. Patched from the source are all heads of a
# group: {glue:text}`carriers`. The paper did this with Llama's transmitters (its appendix H), in
# ten wordings and one control, which expects one position too far:

# %%
worded = [patched_from(name, n_scenes=n_scenes) for name in wordings.PAPER_WORDINGS]

# %% tags=["hide-input"]
show(tables.sources(worded))

# %% [markdown]
# ```{admonition} Predict before you read on
# :class: tip
# The table has an example of each wording. Which of these changes moves the *token* of the queried
# segment but not its *number*? Which moves neither? If heads carry token positions, which wordings
# must score less?
# ```

# %%
# figure: fig-variations
# caption: Position score less its floor when all heads of one group are patched (the transmitters
#   if there are any), by wording of the source; 95 % intervals over scenes. Diamonds: the paper's
#   Llama-7B, less its floor. Not comparable are two: the released code reads 'box and object
#   swapped' at a wrong token, and expects no shift for 'segment at the start'.
paper = findings.wordings_above_floor(wordings.PAPER_WORDINGS)
floor = findings.position_floor()
show(position.variation_scores(worded, next(iter(patches)), paper=paper, floor=floor))

# %% tags=["hide-input"]
show(tables.scores(worded, paper=paper))

# %% [markdown]
# Does the position survive a rewording? The claim asks whether most wordings keep half of the plain
# score: *{glue:text}`verdict_position_survives_rewording`*. Least is left with empty boxes before
# the segment. The control should score zero. Here it does not: on some of the pairs the patched
# model answers with the object of the *next* box, in both groups. What these heads carry is then no
# exact number. It is a place with some blur, though the right box is named more often than the
# next. That the same wordings hurt here as in Llama: *{glue:text}`verdict_same_wordings_hurt`*.
#
# ### A mask for each wording
#
# Up to here all heads of a group were patched, whatever the wording. The paper learns a
# {term}`mask` for each wording ({doc}`06_what_the_heads_carry` says how), the control included.
# Does a mask of its own find more where the whole group finds little? We learn one as the paper
# does, with its one price and its choice of the most heads among masks that validate equally well,
# and with {glue:text}`mask_steps` steps instead of {glue:text}`paper_steps`.

# %%
learned = [
    worded_masks(
        model,
        wording,
        circuit=circuit,
        n_learn=n_learn,
        n_test=n_masked,
        format=format,
        seed=seed,
    )
    for wording in worded[:n_worded]
]
glue(mask_steps=FEW_STEPS.steps, paper_steps=PUBLISHED.steps)

# %% tags=["hide-input"]
theirs = findings.masked_wordings(wordings.PAPER_WORDINGS)
for name in patches:
    show(tables.masks(learned, name, paper=theirs if name == "position_transmitter" else {}))

# %% tags=["hide-input"]
for name in ("position_transmitter", "position_detector"):
    words = [taken_words(one.masks[name]).split()[0] for one in learned if name in patches]
    kept = wordings.surviving([one.wording for one in learned], masked(name)) if words else None
    fixed = wordings.surviving([one.wording for one in learned], name) if words else None
    told = {"all": words.count("all"), "none": words.count("none")}
    told |= {"kept": f"{kept.value:.0f}", "fixed": f"{fixed.value:.0f}"} if words else {}
    for what in ("all", "none", "kept", "fixed"):
        glue(**{f"mask_{what}_{GROUPS[name].letter}": told.get(what, "not measured")})
glue(n_wordings=len(learned))

# %% [markdown]
# Of the {glue:text}`n_wordings` masks of transmitters (B), {glue:text}`mask_all_B` take all heads
# and {glue:text}`mask_none_B` none; of detectors (C), {glue:text}`mask_all_C` and
# {glue:text}`mask_none_C`. A mask of all heads *is* the patch of the whole group, and one of none
# scores zero by construction. Of the reworded sources, {glue:text}`mask_kept_B` keep half of the
# plain score with B's masks, where {glue:text}`mask_fixed_B` do with all of B on the same pairs;
# for C it is {glue:text}`mask_kept_C` and {glue:text}`mask_fixed_C`. That where a mask leaves heads
# out the others carry what all do: B *{glue:text}`verdict_wording_mask_B`*, C
# *{glue:text}`verdict_wording_mask_C`*. Where the whole group finds least, with empty boxes before
# the segment, masks find no more. *Caveat.* These are fewer pairs than before, so that the
# interval of a single wording is wide, and a mask is learned from few.
#
# ## Order, tokens, or label
#
# Reworded sources leave a doubt: if the score falls, the strange text may be the reason. So we make
# prompts for which each rival idea *predicts* another answer. Filler as long in tokens as whole
# segments stands before the boxes, after them, or both, and the labels stand in another order than
# in the base. Then four ideas name different boxes of the base: the same **order**, that is the
# number of the box; the same distance in **tokens** from the start; the same distance from the end;
# the same **label**. (With filler on one side only, one of the token distances agrees with the
# order and is left out.) One pair with filler on both sides:

# %%
rivals = [patched_from(name, n_scenes=n_rivals) for name in wordings.WITH_FILLER]

# %% tags=["hide-input"]
show(tables.predictions(rivals[-1].pairs[0]))

# %% [markdown]
# The method on this one pair: the base prompt with nothing patched, and with all heads of a group
# taken from the source. The name before a word says which idea predicts it (*order* is the number
# of the box); a word without a name is another object of the base.

# %%
from entrack.heads import one_prompt
from entrack.tables.patching import one_prompt as table_of_one
from entrack.task.counterfactual_prompts import encode_counterfactuals

one_pair = encode_counterfactuals(model.tokenizer, rivals[-1].pairs[:1])
one = one_prompt.ask(one_pair.base, words=one_prompt.candidates(one_pair, expected="order"))
ways = {"nothing patched": one_prompt.alone(model, one)} | {
    f"{GROUPS[name].letter} patched": one_prompt.patched(model, one, one_pair.source, patch)
    for name, patch in patches.items()
}
show(
    table_of_one(one, ways, caption="What the base prompt is answered, by probability."),
    folded=True,
)

# %% tags=["hide-input"]
told = (f"with {way}, “{one.best(probs)}”" for way, probs in list(ways.items())[1:])
glue(
    one_own=one.best(ways["nothing patched"]).replace("_", " "),
    one_own_p=float(ways["nothing patched"].max()),
    one_patched=listed(told).replace("_", " "),
)

# %% [markdown]
# With nothing patched, the likeliest of these words is *{glue:text}`one_own`*, with a probability
# of {glue:text}`one_own_p:.3f`. The likeliest when a group is patched: {glue:text}`one_patched`.
# One pair shows how it is done and decides nothing: any idea can be ahead on it. The figure counts
# such answers over many pairs.

# %%
# figure: fig-rivals
# caption: Answers of the base prompt with all heads of a group (B or C) patched from a source with
#   filler, and unpatched. Share of pairs; their numbers are in the tables below. Every idea of
#   position predicts another object; unchanged: the base's own answer.
show(position.answers_by_group({wording.title.lower(): wording for wording in rivals}))

# %% tags=["hide-input"]
show(tables.leads(rivals))

# %%
own = {wording.title: wordings.source_accuracy(model, wording) for wording in rivals}

# %% tags=["hide-input"]
show(tables.understood(rivals, own=own), folded=True)

# %% tags=["hide-input"]
answered = [pairs for wording in rivals if (pairs := understood(model, wording))]
if answered:
    show(tables.leads(answered, understood=True), folded=True)

# %% [markdown]
# *Order, or tokens?* Over the label the order leads clearly, in B and in C. Over tokens from the
# end its smallest lead is {glue:text}`end_lead_B` for B and {glue:text}`end_lead_C` for C. How safe
# is that? The width of an interval goes with one over the root of the number of scenes. If value
# and spread stayed as they are with these {glue:text}`n_rivals`, {glue:text}`end_above_B` scenes
# for B and {glue:text}`end_above_C` for C would do to leave out 0. It would take
# {glue:text}`end_none_B` and {glue:text}`end_none_C` to leave out {glue:text}`margin` as well, a
# lead so small that our rule counts it as none. So there is a lead, and whether it is more than a
# small one these scenes cannot say.
#
# A source that the model does not understand has no position to give. By itself the model answers
# most of the sources right that have filler on one side, and fewer of those with filler around.
# Among the sources that it answers right, the smallest leads over tokens from the end are
# {glue:text}`end_right_B` for B and {glue:text}`end_right_C` for C.
#
# Tokens from the start are the nearest rival of B: the order is ahead of them wherever the prompts
# tell the two apart, but no interval leaves 0 out. The bars of the figure show why. Order and
# tokens from the start both get more answers than in the unpatched model, so both may be in the
# message.

# %% tags=["hide-input"]
glue(n_rivals=n_rivals, margin=MARGIN)
for name in ("position_transmitter", "position_detector"):
    lead, right = (wordings.weakest_lead(w, name, "token_from_end") for w in (rivals, answered))
    counts = {
        goal: units_needed(lead, n_units=n_rivals, to_exclude=level) if lead else None
        for goal, level in (("above", 0), ("none", MARGIN))
    }
    told = {goal: f"{n:,}" if n else "no number of" for goal, n in counts.items()}
    told |= {
        goal: f"{found:+.2f}" if found else "not measured"
        for goal, found in (("lead", lead), ("right", right))
    }
    glue(**{f"end_{goal}_{GROUPS[name].letter}": words for goal, words in told.items()})

# %% [markdown]
# *Caveats.* A number of scenes that follows from a lead is as unsure as the lead. With seven boxes
# in base and source, the number counted from the start cannot be told from that counted from the
# end; only the wordings with an extra segment can (see the exercise). Filler is text that the
# versions were not tuned on; unpatched bars show the base prompt, which has none. A rival idea that
# no head follows still gets some answers: the errors that happen to name its box. Each claim below
# is judged by its smallest lead, so it needs more pairs than one lead alone would.
#
# ## The other text format
#
# The same heads, in prompts of the other format, where box and object change places in every
# segment of base and source.

# %%
# figure: fig-formats
# caption: Answers with all heads of a group (B or C) patched from the source, and unpatched, in
#   both text formats. Share of pairs. The heads were found in the format of this chapter's
#   parameters.
in_format = {f: patched_from("label", n_scenes=n_scenes, format=f) for f in FORMATS}
show(position.answers_by_group(in_format))

# %% tags=["hide-input"]
show(tables.formats(in_format), folded=True)

# %% [markdown]
# That the same transmitters carry the position in the other format:
# *{glue:text}`verdict_position_in_other_format`*. Chapters 05, 06 and this one run whole in that
# format, {term}`circuit` and all: `entrack run 06 -p format=standard`.
#
# ## What the paper claims, what we find, verdict

# %%
by_name = {wording.name: wording for wording in worded}
other = FORMATS[1 - FORMATS.index(format)]
B, C = "position_transmitter", "position_detector"
of_b = (
    {
        "survives": wordings.surviving(worded, B),
        "control": by_name[wordings.CONTROL].above(B),
        "alike": wordings.agreement(worded, B, paper=paper),
        "across": in_format[other].patched.above_floor(B, "position"),
    }
    if B in patches
    else {}
)

# %% tags=["hide-input"]
orders = {
    f"order_over_{rival}_{GROUPS[group].letter}": wordings.weakest_lead(rivals, group, rival)
    for rival in wordings.RIVALS
    for group in (B, C)
}
by_mask = {}
for group in patches:
    choosing = [w for w in learned if len(w.taken(group)) < len(w.masks[group].heads)]
    if {w.wording.name for w in choosing} - {"position", wordings.CONTROL}:
        by_mask[group] = pooled(choosing, group)

# %% tags=["hide-input"]
judge(
    claim("position_survives_rewording", of_b.get("survives")),
    claim("next_position_is_not_carried", of_b.get("control")),
    claim("same_wordings_hurt", of_b.get("alike")),
    *(claim(slug, lead) for slug, lead in orders.items()),
    claim("position_in_other_format", of_b.get("across"), format=other),
    *(claim(f"wording_mask_{GROUPS[g].letter}", by_mask.get(g)) for g in (B, C)),
    caption="Finding (ii), third part: what position means. Scores and leads are shares of pairs.",
)

# %% tags=["hide-input"]
group = next(iter(patches))
for name, wording in (
    ("plain_score", "position"),
    ("segment_end", "add_seg_end"),
    ("segment_start", "add_seg_start"),
):
    glue(**{name: f"{by_name[wording].above(group):+.2f}"})
unshifted = by_name["add_seg_start"].patched.above_floor(group, "unshifted")
glue(segment_start_unshifted=f"{unshifted:+.2f}")

# %% [markdown]
# ## Further reading
#
# - *Binding IDs* {cite:p}`feng2023binding`: models tie an entity to its attribute by a vector that
#   both share, and the vectors can be moved to other entities. The order of a box, written where
#   its label is read, would be such a vector.
# - *Mixing mechanisms* {cite:p}`gurarieh2025mixing`: positional, lexical and reflexive look-up work
#   side by side, and the positional one blurs in the middle of long lists. Our "label" is the
#   lexical rival; with more boxes ({doc}`01_task`) the mix may shift.
# - *Lookbacks* {cite:p}`prakash2025lookbacks`: several of the same authors find ordering IDs in
#   larger models that track beliefs.

# %% [markdown]
# ## In three sentences
#
# Box number and token number went together so far; here prompts pull them apart, and the label too.
# That position transmitters (B) carry the order of boxes: rather than tokens from the start,
# *{glue:text}`verdict_order_over_token_from_start_B`*; rather than tokens from the end,
# *{glue:text}`verdict_order_over_token_from_end_B`*; rather than the label,
# *{glue:text}`verdict_order_over_label_B`*. Where a verdict is open, these prompts do not tell the
# two ideas apart; and some answers are one box off, so the place is carried with some blur.
#
# *Next:* {doc}`08_what_improved` asks what the better versions do better.

# %% [markdown]
# ## Exercises
#
# Those with a function to write take plain lists. A base is a list of (object, label) in the order
# of the text. A source has labels of its own and filler before and after its boxes; one piece of
# filler is as long in tokens as a box with its object, as in this chapter.

# %% tags=["exercise-setup"]
import random

from entrack.course.checks import check

IDEAS = ("order", "token_from_start", "token_from_end", "label")
told_base = list(zip("apple coin key egg hat".split(), "FCTAM", strict=True))


# %% tags=["exercise-setup"]
def mixed_answers(n=300, order=0.4, token_from_start=0.25, seed=0):
    """What a made-up model says, and the word that each idea predicts: (words [pair], {idea: words
    [pair]}). It follows two of the ideas in the given shares and else says any of the objects."""
    rng, objects = random.Random(seed), [thing for thing, _ in told_base]
    drawn = [rng.sample(objects, len(IDEAS)) for _ in range(n)]
    predicted = {idea: [words[i] for words in drawn] for i, idea in enumerate(IDEAS)}
    rest = 1 - order - token_from_start
    follow = rng.choices([*IDEAS[:2], None], [order, token_from_start, rest], k=n)
    said = [predicted[f][i] if f else rng.choice(objects) for i, f in enumerate(follow)]
    return said, predicted


# %% [markdown]
# ::::{exercise} What each idea of position predicts
# :label: ex-position-rivals
# :class: write
#
# A base is patched from a source with filler. Say which word it answers if the heads carry the
# number of the box, the distance in tokens from the start or from the end, or the label.
#
# :::{admonition} Hint
# :class: dropdown
# Measure in segments. How many stand before the queried box of the source, and how many behind it?
# In the base, which box has as many?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-position-rivals"]
# The sign of the filler after the boxes is where most go wrong; a drawing of both texts, right
# aligned, settles it. The other slip is Python's own: place -1 is the last box, so that an idea
# which predicts nothing seems to predict something.

# %% [markdown]
# :::{solution-start} ex-position-rivals
# :class: dropdown
# :::


# %% tags=["answer", "ex-position-rivals"]
def predictions(base, labels, query, before, after):
    """The base's object that each idea in IDEAS predicts; None where the base has no such box.

    base: list of (object, label). labels: of the source's boxes, in the order of the text; there
    may be more or fewer than in the base, and labels that the base does not have. query: which box
    the source asks for, from 0. before, after: pieces of filler before the source's first box and
    after its last; the base has none. Returns {idea: object or None}.
    """
    behind = len(labels) - 1 - query + after
    places = [query, query + before, len(base) - 1 - behind]
    at = [base[p][0] if 0 <= p < len(base) else None for p in places]
    named = {label: thing for thing, label in base}
    return dict(zip(IDEAS, [*at, named.get(labels[query])], strict=True))


# %% [markdown]
# Filler before the boxes pushes the queried box away from the start, so the same distance names a
# later box of the base. Filler after them pushes it away from the end, so the same distance names
# an earlier one.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-position-rivals"]
with check("ex-position-rivals", "without filler and reordering, all ideas predict the same word"):
    for query, (thing, _) in enumerate(told_base):
        found = predictions(told_base, "FCTAM", query, 0, 0)
        assert found == dict.fromkeys(IDEAS, thing), f"{found}"

with check("ex-position-rivals", "with filler on both sides, each idea names its own box"):
    found = predictions(told_base, "TFMCA", 2, 1, 2)
    wanted = dict(zip(IDEAS, ["key", "egg", "apple", "hat"], strict=True))
    assert found == wanted, f"{found}"

# %% tags=["check", "ex-position-rivals"]
with check("ex-position-rivals", "an idea that points outside the base predicts nothing"):
    early = predictions(told_base, "TFMCZ", 0, 1, 1)
    late = predictions(told_base, "TFMCZ", 4, 1, 1)
    assert early["token_from_end"] is None and early["token_from_start"] == "coin"
    assert late["token_from_start"] is None and late["label"] is None

# %% tags=["hidden-test", "ex-position-rivals"]
with check("ex-position-rivals", "a source with fewer boxes parts the start from the end"):
    found = predictions(told_base, "TFM", 1, 0, 0)
    wanted = dict(zip(IDEAS, ["coin", "coin", "egg", "apple"], strict=True))
    assert found == wanted, f"{found}"


# %% tags=["wrong-answer", "ex-position-rivals"]
# slip: filler after the boxes is counted in the wrong direction
def predictions(base, labels, query, before, after):
    places = [query, query + before, len(base) - len(labels) + query + after]
    at = [base[p][0] if 0 <= p < len(base) else None for p in places]
    named = {label: thing for thing, label in base}
    return dict(zip(IDEAS, [*at, named.get(labels[query])], strict=True))


# %% tags=["wrong-answer", "ex-position-rivals"]
# slip: a negative place counts from the end of the list
def predictions(base, labels, query, before, after):
    places = [query, query + before, len(base) - len(labels) + query - after]
    at = [base[p][0] if p < len(base) else None for p in places]
    named = {label: thing for thing, label in base}
    return dict(zip(IDEAS, [*at, named.get(labels[query])], strict=True))


# %% tags=["wrong-answer", "ex-position-rivals"]
# slip: the label is looked up among the source's, which is the order again
def predictions(base, labels, query, before, after):
    places = [query, query + before, len(base) - len(labels) + query - after]
    places.append(list(labels).index(labels[query]))
    at = [base[p][0] if 0 <= p < len(base) else None for p in places]
    return dict(zip(IDEAS, at, strict=True))


# %% [markdown]
# ::::{exercise} Sources that can decide
# :label: ex-position-separating
# :class: write
#
# Not every source with filler tells the ideas apart. List those that do.
#
# :::{admonition} Hint
# :class: dropdown
# Five boxes of the base are involved, if you count the one that it asks for itself.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-position-separating"]
# Most compare every rival with the order and forget to compare rivals with each other, and with the
# base's own answer. Ask what a bar "own answer" of `0.4` would mean if a rival named the same box.

# %% [markdown]
# :::{solution-start} ex-position-separating
# :class: dropdown
# :::


# %% tags=["answer", "ex-position-separating"]
def separating(n_boxes, own, origin):
    """The settings in which every answer of the patched base has one reading.

    n_boxes: in base and source. own: which box the base asks for, from 0. origin: for each box of
    the source, where the base has its label. Returns a set of (query, before, after): the source's
    queried box, and the pieces of filler before and after its boxes, 1 to 3 each, for which all
    ideas in IDEAS name a box that the base has, and no two of them, nor the base's own, the same.
    """
    kept = set()
    for query in range(n_boxes):
        for before in (1, 2, 3):
            for after in (1, 2, 3):
                used = [own, query, query + before, query - after, origin[query]]
                if len(set(used)) == 5 and 0 <= min(used) and max(used) < n_boxes:
                    kept.add((query, before, after))
    return kept


# %% [markdown]
# All comparisons count, also those of two rivals. The first and the last box can never be asked for
# by such a source: one of the token distances would lead out of the base. So "every position
# equally often" cannot hold for these sources, and their scores are not to be compared with the
# plain ones without a word about it.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-position-separating"]
with check("ex-position-separating", "no setting leads out of the base"):
    found = separating(7, 0, [3, 0, 5, 1, 6, 2, 4])
    assert found
    assert all(query + before < 7 and query >= after for query, before, after in found)

with check("ex-position-separating", "no two ideas name one box, rivals with rivals included"):
    origin = [3, 0, 5, 1, 6, 2, 4]
    for q, before, after in separating(7, 0, origin):
        assert len({q, q + before, q - after, origin[q]}) == 4, f"query {q}, {before}, {after}"

# %% tags=["check", "ex-position-separating"]
with check("ex-position-separating", "no idea names the box that the base itself asks for"):
    origin = [3, 0, 5, 1, 6, 2, 4]
    found = separating(7, 3, origin)
    assert found
    for q, before, after in found:
        assert 3 not in (q, q + before, q - after, origin[q])

with check("ex-position-separating", "of five boxes in one order, two settings remain"):
    assert separating(5, 0, [2, 0, 4, 1, 3]) == {(2, 1, 1), (3, 1, 1)}

# %% tags=["hidden-test", "ex-position-separating"]
with check("ex-position-separating", "with too few boxes there is none"):
    assert separating(4, 0, [1, 2, 3, 0]) == set()


# %% tags=["wrong-answer", "ex-position-separating"]
# slip: rivals are compared with the order alone
def separating(n_boxes, own, origin):
    kept = set()
    for query in range(n_boxes):
        for before in (1, 2, 3):
            for after in (1, 2, 3):
                rivals = [query + before, query - after, origin[query]]
                inside = all(0 <= place < n_boxes for place in rivals)
                if inside and own not in (query, *rivals) and query not in rivals:
                    kept.add((query, before, after))
    return kept


# %% tags=["wrong-answer", "ex-position-separating"]
# slip: the base's own box is forgotten
def separating(n_boxes, own, origin):
    kept = set()
    for query in range(n_boxes):
        for before in (1, 2, 3):
            for after in (1, 2, 3):
                used = [query, query + before, query - after, origin[query]]
                if len(set(used)) == 4 and 0 <= min(used) and max(used) < n_boxes:
                    kept.add((query, before, after))
    return kept


# %% tags=["wrong-answer", "ex-position-separating"]
# slip: distances wrap around, as if the boxes stood in a ring
def separating(n_boxes, own, origin):
    kept = set()
    for query in range(n_boxes):
        for before in (1, 2, 3):
            for after in (1, 2, 3):
                moved = [(query + before) % n_boxes, (query - after) % n_boxes]
                if len({own, query, *moved, origin[query]}) == 5:
                    kept.add((query, before, after))
    return kept


# %% [markdown]
# ::::{exercise} The weakest lead
# :label: ex-position-lead
# :class: measure
#
# "Heads carry the order" has to hold against every rival. Measure by how much the order leads over
# the rival that comes nearest, and use your function on `mixed_answers()`. What does a clear lead
# not exclude?
#
# :::{admonition} Hint
# :class: dropdown
# Two shares of the same pairs, for each rival.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-position-lead"]
# The made-up model mixes two ideas, and the order leads clearly. Ask what "heads carry the order
# rather than tokens" then means, and which bar of the chapter's figure would show the mixture.

# %% [markdown]
# :::{solution-start} ex-position-lead
# :class: dropdown
# :::


# %% tags=["answer", "ex-position-lead"]
def weakest_lead(said, predicted):
    """The rival that comes nearest to the order, and the order's lead over it.

    said: the patched base's answers, words [pair]. predicted: {idea: words [pair]} with "order" and
    one rival or more; no two ideas predict one word for the same pair. A score is the share of all
    pairs in which the answer is as predicted. Returns (rival, score of the order less its score).
    """
    score = {
        idea: sum(s == word for s, word in zip(said, words, strict=True)) / len(said)
        for idea, words in predicted.items()
    }
    nearest = max((idea for idea in score if idea != "order"), key=score.get)
    return nearest, score["order"] - score[nearest]


# %% [markdown]
# In the made-up answers the order leads, and still many pairs follow the tokens from the start. A
# lead says which idea explains more, not that the other explains nothing. For that, the rival's
# score is held against its own floor: what the unpatched base gives.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-position-lead"]
with check("ex-position-lead", "with rivals at 1 and 2 of 8 pairs and the order at 4, it is 0.25"):
    said = ["key"] * 4 + ["egg"] + ["hat"] * 2 + ["coin"]
    found = weakest_lead(said, {"order": ["key"] * 8, "label": ["egg"] * 8, "token": ["hat"] * 8})
    assert found == ("token", 0.25), f"{found}"

with check("ex-position-lead", "an order that loses has a lead below zero"):
    said = ["egg", "egg", "key", "hat"]
    assert weakest_lead(said, {"order": ["key"] * 4, "label": ["egg"] * 4}) == ("label", -0.25)

# %% tags=["hidden-test", "ex-position-lead"]
with check("ex-position-lead", "in the made-up answers the planted second idea is found"):
    rival, lead = weakest_lead(*mixed_answers(n=2000))
    assert rival == "token_from_start" and abs(lead - 0.15) < 0.05


# %% tags=["wrong-answer", "ex-position-lead"]
# slip: the lead over the mean of the rivals
def weakest_lead(said, predicted):
    score = {
        idea: sum(map(str.__eq__, said, words)) / len(said) for idea, words in predicted.items()
    }
    order = score.pop("order")
    return max(score, key=score.get), order - sum(score.values()) / len(score)


# %% tags=["wrong-answer", "ex-position-lead"]
# slip: only pairs that follow one of the two ideas are counted
def weakest_lead(said, predicted):
    hits = {idea: sum(map(str.__eq__, said, words)) for idea, words in predicted.items()}
    order = hits.pop("order")
    nearest = max(hits, key=hits.get)
    return nearest, (order - hits[nearest]) / (order + hits[nearest])


# %% tags=["wrong-answer", "ex-position-lead"]
# slip: the largest lead in place of the smallest
def weakest_lead(said, predicted):
    score = {
        idea: sum(map(str.__eq__, said, words)) / len(said) for idea, words in predicted.items()
    }
    order = score.pop("order")
    rival = min(score, key=score.get)
    return rival, order - score[rival]


# %% [markdown]
# :::{exercise} A score that falls
# :label: ex-position-understood
#
# "We wrote the sources without the words *is in*, and the position score fell to its floor. So the
# heads read the position from these words." Which measurement is missing, and on which pairs would
# you look again?
# :::
#
# :::{solution} ex-position-understood
# :class: dropdown
#
# How often the model answers the reworded sources right by itself. A source that it does not
# understand gives no position to carry, whatever the heads carry otherwise. So look at the pairs
# whose source is answered right. If the score stays at its floor there, the position of such a
# source is found in another way than by these heads; and even that does not say that the words are
# what the heads read.
# :::
#
# :::{exercise} From the start or from the end
# :label: ex-position-from-the-end
#
# Counted from the start or from the end? With seven boxes on both sides nobody can say. Which pair
# would tell?
# :::
#
# :::{solution} ex-position-from-the-end
# :class: dropdown
#
# A source with fewer boxes than the base. With five boxes in the source and seven in the base, the
# source's second box is number 2 from the start and number 4 from the end: the base's second and
# fourth object differ. Two wordings above do the opposite, with one box more in the source; both
# expect the count from the start. After all others (*segment at the end*) the transmitters score
# {glue:text}`segment_end` against {glue:text}`plain_score` plain; where that is above 0, the count
# from the end does not explain it. Before all others (*segment at the start*) they score
# {glue:text}`segment_start`, and the count from the end, which such a segment does not shift,
# {glue:text}`segment_start_unshifted`. Where that is above 0 too, neither count explains both.
# :::

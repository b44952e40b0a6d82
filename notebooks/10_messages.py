# %% [markdown]
# # Better messages, or better reading?
#
# **When a fine-tuned version does the task better, is it because its {term}`heads <head>` say more,
# or because it understands more of what they say?** {doc}`08_what_improved` {term}`patches <patch>`
# a version's heads into {glue:text}`base_name` *on the same prompt*, where a head that nearly gives
# the answer away also helps. Here no answer can leak. A version reads one prompt,
# {glue:text}`base_name` reads another, and we ask whose position {glue:text}`base_name` follows.
#
# Does {glue:text}`base_name` follow a better version's {term}`position transmitters <position
# transmitter>` (B) more often than its own? *{glue:text}`verdict_message_B`*. Do better versions
# follow the transmitters of {glue:text}`base_name` more often than {glue:text}`base_name` does?
# *{glue:text}`verdict_reading_B`*. Both were asked of the versions that do better than it on these
# prompts: {glue:text}`better_list`.
#
# This test is ours; the paper's finding (iii) {cite:p}`prakash2024finetuning` rests on patches on
# one prompt. *Objectives:* tell a {term}`sender` from a {term}`receiver`; take a gain apart into
# parts that add up. *Time:* 20 minutes. *Before it:* {doc}`08_what_improved`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # a family in models/
base: str = ""  # the version whose circuit it is, one of every two; empty: the reference
n_scenes: int = 84  # scenes of seven pairs of prompts [2, 1000]
n_pairs: int = 70  # clean and corrupt pairs behind the circuit of base [7, 700]
# Where structure readers act; empty: as the family's file says.
structure_role: str = ""  # {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from entrack.circuit.contents import CONTENT, whole_groups
from entrack.circuit.search import circuit_of
from entrack.cross_model.messages import BASE, TUNED, messages
from entrack.display.cells import glue, judge, listed, show
from entrack.errors import ChapterError
from entrack.figures.messages import followed
from entrack.paper.claims import claim
from entrack.patching.patches import Patch
from entrack.sites import GROUPS, all_heads

# %% tags=["hide-input"]
from entrack.stats.claims import direction
from entrack.stats.metrics import difference
from entrack.tables import messages as tables
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.versions import families
from entrack.versions.loading import load

# %%
base = base or families.reference(family)
tuned = families.tuned_from(family, base)
model = load(f"{family}/{base}")
circuit = circuit_of(
    model,
    structure_role=structure_role or families.structure_role(family),
    n_pairs=n_pairs,
    seed=seed,
)
patches = whole_groups(circuit, *CONTENT)

# %% tags=["hide-input"]
if not patches or not tuned:
    raise ChapterError(
        f"{family} has {len(tuned)} versions tuned from {base}, whose circuit has {len(patches)} of"
        " the groups A, B and C; one of each is needed. Take more pairs, or another family."
    )

# %%
drawn = interchanges(n_scenes, split="evaluation", seed=seed)
data = encode_counterfactuals(model.tokenizer, drawn)
titles = {name: f"{GROUPS[name].letter}: {CONTENT[name]}" for name in patches}
glue(base_name=model.name, n_prompts=len(data), base_short=base)

# %% [markdown]
# ## One pair of prompts
#
# The *sender* reads the source prompt, the *receiver* the base prompt. (Two things are called base
# in this field, the prompt and the version; {glue:text}`base_short` is the version.) At the token
# where a group acts, the receiver's heads give the sender's output on the *source*. If the group
# carries the position, the receiver should then name its own object at the position that the source
# asks for: *{glue:text}`expected`* in this pair. The sender never saw the receiver's objects. So it
# cannot have named this one; it can only have said where to look.

# %% tags=["hide-input"]
from entrack.tables import carry

show(carry.pair(drawn[0]))
glue(expected=drawn[0].alternatives["position"])

# %% [markdown]
# What {glue:text}`base_short` answers to the base prompt, with the {glue:text}`one_group` of two
# senders that read the source prompt:

# %%
from entrack.heads import one_prompt
from entrack.tables.patching import one_prompt as table_of_one

focus = families.focus(family)
name = "position_transmitter" if "position_transmitter" in patches else next(iter(patches))
one = one_prompt.ask(data.base, words=one_prompt.candidates(data))
ways = {"nothing patched": one_prompt.alone(model, one)}
for v in (base, focus):
    ways[f"{GROUPS[name].letter} of {v}"] = one_prompt.patched(
        model, one, data.source, patches[name], donor=load(f"{family}/{v}")
    )
show(table_of_one(one, ways, caption=f"What {base} answers to the base prompt, by probability."))

# %% tags=["hide-input"]
place = next(i for i, told in enumerate(one.words) if told.startswith("position"))
nothing, own_message, other_message = (float(probs[place]) for probs in ways.values())
glue(
    one_group=f"{GROUPS[name].title.lower()}s ({GROUPS[name].letter})",
    one_focus=focus,
    one_nothing=nothing,
    one_own=own_message,
    one_other=other_message,
)

# %% [markdown]
# The word at the source's position, *{glue:text}`expected`*, has a probability of
# {glue:text}`one_nothing:.3f` with nothing patched, {glue:text}`one_own:.3f` with the message of
# {glue:text}`base_short`, and {glue:text}`one_other:.3f` with that of {glue:text}`one_focus`.
# On one pair two senders can differ by far more than over all pairs, which are counted below.
#
# ```{admonition} Predict before you read on
# :class: tip
# A version answers more prompts right than base does. Its transmitters are patched into base. Will
# base follow them more often than its own? And the other way round, will the better version follow
# base's transmitters more often than base does? Which of the two would show that fine-tuning made
# the *message* better?
# ```
#
# ## Two senders, two receivers
#
# {term}`Value fetchers <value fetcher>` (A), position transmitters (B) and {term}`position
# detectors <position detector>` (C) of the {term}`circuit` of {glue:text}`base_short` are sent by
# {glue:text}`base_short` and by each version, and received by both. ({term}`Structure readers
# <structure reader>` (D) carry none of the contents asked for here, and are left out.) A score is
# the share of {glue:text}`n_prompts` pairs on which the receiver answers as the message says, less
# the same share with nothing patched (its *{term}`floor`*). All scores are of the same pairs. As a
# control, *all other heads* at the token of B are sent as well.

# %%
others = tuple(
    head for head in all_heads(model.n_layers, model.n_heads) if head not in circuit.at("last")
)
sent = {**patches, "others": Patch("last", others)}
content = {name: CONTENT.get(name, "position") for name in sent}
found = {
    v: messages(model, load(f"{family}/{v}"), data, patches=sent, content=content) for v in tuned
}

# %%
# figure: fig-followed
# caption: How often a receiver follows a sender's message, above its floor, by group (panel) and
#   version (row). Colour and marker: who sends. Hollow: received by {glue:text}`base_short`; full:
#   received by the version. Whiskers: 95 % intervals over scenes.
show(followed(found, patches=titles))

# %% [markdown]
# Read a row from left to right. Two hollow marks apart: the senders differ, and the receiver is the
# same. A hollow and a full mark of one colour apart: the same message, read by two versions.
#
# ## Taking the gain apart
#
# From *base to base* to *tuned to tuned* the score changes by two parts that add up exactly: the
# **message**, another sender on average over both receivers, and the **reading**, another receiver
# on average over both senders. **Agreement** says whether a message is followed better by the
# version that sent it; near zero, each version understands the other's message as well as its own.

# %% tags=["hide-input"]
told = titles | {"others": "all others at the last token: position"}
show(tables.effects(found, patches=told))

# %% tags=["hide-input"]
show(tables.cells(found, patches=told))

# %% [markdown]
# A behaves differently from B and C. In A the sender makes nearly all of the change, the receiver
# nearly none: a sender that names the object right more often is followed more often. In B and C no
# version that does the task better sends a message that is clearly followed more often. What
# changes a little is the reading: the two versions that do the task worse follow the same messages
# less, and `boxes` follows those of B more. Following more often is not doing better, either:
# `instruct` does the task worse, and its message of B is followed a little more. The other heads at
# the last token send hardly any position.
#
# *Caveats.* Following a message is not the same as doing the task: the share of pairs that follow
# has a {term}`ceiling` of its own, and a receiver that errs less on its own prompt has a lower
# floor. The heads are those of the circuit of {glue:text}`base_short`; a version that has moved its
# message into other heads would seem to send a poorer one. And a message may be followed more often
# because it is stronger, not because it is more often right; this test does not tell the two apart.
#
# ## What we claim, what we find, verdict
#
# Claims look at the versions that are better than {glue:text}`base_short` on these prompts. A claim
# that holds in none of them, and clearly not in one, does not hold, even where the interval of
# another version would still allow an effect.

# %%
own = {v: m.patched[TUNED, TUNED] for v, m in found.items()}
first = found[tuned[0]].patched[BASE, BASE]


def right(answers):
    return answers.unpatched == answers.candidates["unchanged"]


edges = {v: difference(right(own[v]), right(first), clusters=first.scenes) for v in tuned}
better = [v for v, edge in edges.items() if direction(edge) == "higher"]
glue(better_list=listed(better))

# %% tags=["hide-input"]
by_letter = {GROUPS[name].letter: name for name in CONTENT}
here = {
    letter: {v: found[v] for v in better} if name in patches else {}
    for letter, name in by_letter.items()
}

# %% tags=["hide-input"]
judge(
    *(
        claim(f"message_{x}", {v: m.message(by_letter[x], into=BASE) for v, m in here[x].items()})
        for x in by_letter
    ),
    *(
        claim(f"reading_{x}", {v: m.reading(by_letter[x], of=BASE) for v, m in here[x].items()})
        for x in by_letter
    ),
    caption="Finding (iii), second part: better messages, or better reading?",
)

# %% [markdown]
# The rows of A say little: a sender's A names the source's object, so a better version's A is right
# about the source more often. B and C are the test. {doc}`08_what_improved` asks whether a better
# version's B makes {glue:text}`base_short` better on the same prompt. A gain there that came from a
# better message about the position would lift the rows of B above zero. Where these rows are not
# above zero, a gain on the same prompt needs another explanation, and better handling of the
# position is not shown to be its cause.

# %% [markdown]
# ## In three sentences
#
# One version read one prompt, another version read another, and only what some heads say passed
# between them, in {glue:text}`n_prompts` pairs. That {glue:text}`base_short` follows a better
# version's position transmitters (B) more often than its own, *{glue:text}`verdict_message_B`*;
# that a better version follows those of {glue:text}`base_short` more often than
# {glue:text}`base_short` does, *{glue:text}`verdict_reading_B`*. Each verdict rests on paired
# intervals; the test sees only the heads of the circuit of {glue:text}`base_short`, and it does not
# tell a stronger message from one that is right more often.
#
# *Next:* {doc}`11_explorer`, one prompt at a time, by your own hand.

# %% [markdown]
# ## Exercises
#
# Those with a function to write run on numbers, or on two small models of random weights. These say
# nothing to each other; what is practised is the method. `z_of` reads what all heads of a layer
# give, before `o_proj` mixes them.

# %% tags=["exercise-setup"]
import torch

from entrack.course.checks import check
from entrack.model.hooks import Trace
from entrack.versions.tiny import tiny_model, tiny_tokens

one, another = tiny_model(n_layers=3, seed=0), tiny_model(n_layers=3, seed=1)
base_tokens, source_tokens = tiny_tokens(4, 9, seed=1), tiny_tokens(4, 9, seed=2)


def z_of(lm, tokens, layer):
    """Outputs of all heads of a layer [example pos head d_head]."""
    with Trace(lm.hf, lm.site(layer, "o_proj"), retain_input=True) as seen, torch.no_grad():
        lm.hf(tokens)
    return seen.input.unflatten(-1, (lm.n_heads, lm.d_head))


# %% tags=["exercise-setup"]
def logits_of(lm, tokens):
    """Logits [example pos token]."""
    with torch.no_grad():
        return lm.hf(tokens).logits


def four_cells(bb, bt, tb, tt):
    """Scores by (sender, receiver): base to base, base to tuned, tuned to base, tuned to tuned."""
    b, t = "base", "tuned"
    return {(b, b): bb, (b, t): bt, (t, b): tb, (t, t): tt}


# %% [markdown]
# ::::{exercise} A gain taken apart
# :label: ex-messages-parts
# :class: write
#
# Two senders and two receivers give four scores. Take them apart into message, reading and
# agreement.
#
# :::{admonition} Hint
# :class: dropdown
# Message and reading must add up to the whole change from *base to base* to *tuned to tuned*,
# whatever the four scores are.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-messages-parts"]
# Many take the message effect into base alone, which the claims of this chapter do use. Then the
# parts do not add up, and what is left over is twice the agreement. Ask what the four scores look
# like when a better version speaks a language of its own.

# %% [markdown]
# :::{solution-start} ex-messages-parts
# :class: dropdown
# :::


# %% tags=["answer", "ex-messages-parts"]
def parts(score):
    """The message effect, the reading effect and the agreement, in this order.

    score: {(sender, receiver): number} for "base" and "tuned" in both parts. Message: the tuned
    sender in place of base, on average over both receivers. Reading: the tuned receiver in place of
    base, on average over both senders. Agreement: the mean score of messages read by the version
    that sent them, less the mean of those read by the other.
    """
    bb, bt = score["base", "base"], score["base", "tuned"]
    tb, tt = score["tuned", "base"], score["tuned", "tuned"]
    message = (tb + tt - bb - bt) / 2
    reading = (bt + tt - bb - tb) / 2
    return message, reading, (bb + tt - tb - bt) / 2


# %% [markdown]
# The averages make the parts add up: what depends on sender and receiver together is shared out
# evenly, and stands in the agreement. With an agreement far from zero, neither of the two effects
# says what another receiver, or another sender, would give.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-messages-parts"]
with check("ex-messages-parts", "a message that all follow more often is a message effect alone"):
    found = parts(four_cells(bb=0.25, bt=0.25, tb=0.75, tt=0.75))
    assert found == (0.5, 0, 0), f"{found}"

with check("ex-messages-parts", "a receiver that follows all more often is a reading effect alone"):
    found = parts(four_cells(bb=0.25, bt=0.5, tb=0.25, tt=0.5))
    assert found == (0, 0.25, 0), f"{found}"

with check("ex-messages-parts", "message and reading add up to the whole change, with sign"):
    message, reading, _ = parts(four_cells(bb=0.5, bt=0.125, tb=0.25, tt=0.75))
    assert message + reading == 0.25, f"{message} and {reading}"

# %% tags=["check", "ex-messages-parts"]
with check("ex-messages-parts", "a score that is 0.5 only among equals is an agreement of 0.5"):
    found = parts(four_cells(bb=0.5, bt=0, tb=0, tt=0.5))
    assert found[2] == 0.5, f"{found[2]}"

# %% tags=["hidden-test", "ex-messages-parts"]
with check("ex-messages-parts", "scores of single pairs give effects of single pairs"):
    cells = four_cells(*torch.tensor([[1.0, 0], [0, 1], [1, 1], [1, 0]]))
    message, reading, agreement = parts(cells)
    assert message.tolist() == [0.5, 0] and reading.tolist() == [-0.5, 0]
    assert agreement.tolist() == [0.5, -1]


# %% tags=["wrong-answer", "ex-messages-parts"]
# slip: the message into base and the reading of base, without the other half
def parts(score):
    bb, bt = score["base", "base"], score["base", "tuned"]
    tb, tt = score["tuned", "base"], score["tuned", "tuned"]
    return tb - bb, bt - bb, (bb + tt - tb - bt) / 2


# %% tags=["wrong-answer", "ex-messages-parts"]
# slip: sender and receiver change places
def parts(score):
    bb, tb = score["base", "base"], score["base", "tuned"]
    bt, tt = score["tuned", "base"], score["tuned", "tuned"]
    return (tb + tt - bb - bt) / 2, (bt + tt - bb - tb) / 2, (bb + tt - tb - bt) / 2


# %% tags=["wrong-answer", "ex-messages-parts"]
# slip: the agreement is what one version gains by reading itself
def parts(score):
    bb, bt = score["base", "base"], score["base", "tuned"]
    tb, tt = score["tuned", "base"], score["tuned", "tuned"]
    return (tb + tt - bb - bt) / 2, (bt + tt - bb - tb) / 2, tt - tb


# %% [markdown]
# ::::{exercise} Send a message
# :label: ex-messages-send
# :class: write
#
# Let one model read the source and another the base, and give a head of the second what the first
# model's head said. The head acts at a token that stands elsewhere in every prompt, such as the
# earlier label.
#
# :::{admonition} Hint
# :class: dropdown
# Two index tensors of one length, side by side, pick one place for each example.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-messages-send"]
# Indexing is where this goes wrong, and nothing raises an error. `x[:, at, head] = message` writes
# every message into every prompt, and one of the patches in the code released with the paper uses
# the last prompt's position for all. Ask which checks could see that with a batch of one.

# %% [markdown]
# :::{solution-start} ex-messages-send
# :class: dropdown
# :::


# %% tags=["answer", "ex-messages-send"]
def sent(sender, receiver, source, base, layer, head, source_at, base_at):
    """The receiver's logits on the base, with a head's output from the sender's run on the source.

    source, base: tokens [example pos], pair by pair; a source may be of another length. source_at,
    base_at: int64 [example], where the head's token stands in each source, and in each base. Only
    one head of `layer` is patched, in each example at one position. Returns [example pos token].
    """
    rows = torch.arange(len(base))
    message = z_of(sender, source, layer)[rows, source_at, head]

    def put(x):
        cut_open = x.unflatten(-1, (receiver.n_heads, receiver.d_head)).clone()
        cut_open[rows, base_at, head] = message
        return cut_open.flatten(2)

    with Trace(receiver.hf, receiver.site(layer, "o_proj"), edit_input=put):
        return logits_of(receiver, base)


# %% [markdown]
# Sender and receiver have a prompt each, and each prompt a place of its own: all of this can be
# mixed up in silence. The first check does not see it, because there the two models, prompts and
# places are the same; the second does.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-messages-send"]
with check("ex-messages-send", "a model that sends itself what it says anyway stays as it is"):
    at = torch.tensor([2, 5, 3, 7])
    patched = sent(one, one, base_tokens, base_tokens, 1, 2, at, at)
    assert torch.equal(patched, logits_of(one, base_tokens))

with check("ex-messages-send", "each message is read at its place, and nothing else is new"):
    said, read = torch.tensor([6, 2, 4, 3]), torch.tensor([2, 5, 3, 7])
    z, theirs = z_of(another, base_tokens, 1), z_of(one, source_tokens, 1)
    for i in range(4):
        z[i, read[i], 2] = theirs[i, said[i], 2]
    written = another.hf.get_submodule(another.site(1, "o_proj"))(z.flatten(2))
    with Trace(another.hf, another.site(1, "o_proj")) as seen:
        sent(one, another, source_tokens, base_tokens, 1, 2, said, read)
    assert torch.allclose(seen.output, written, atol=1e-5)

# %% tags=["check", "ex-messages-send"]
with check("ex-messages-send", "in each example the logits move from its own place on"):
    said, read = torch.tensor([6, 2, 4, 3]), torch.tensor([2, 5, 3, 7])
    patched = sent(one, another, source_tokens, base_tokens, 0, 1, said, read)
    moved = (patched - logits_of(another, base_tokens)).abs().amax(-1) > 0
    assert torch.equal(moved, torch.arange(9) >= read[:, None])

# %% tags=["hidden-test", "ex-messages-send"]
with check("ex-messages-send", "a source may be longer than its base"):
    longer, said = tiny_tokens(4, 12, seed=3), torch.tensor([11, 9, 10, 3])
    read = torch.tensor([8, 5, 3, 7])
    patched = sent(one, another, longer, base_tokens, 2, 0, said, read)
    moved = (patched - logits_of(another, base_tokens)).abs().amax(-1) > 0
    assert torch.equal(moved, torch.arange(9) == read[:, None])


# %% tags=["wrong-answer", "ex-messages-send"]
# slip: the sender reads the base, as in a cross-model patch on one prompt
def sent(sender, receiver, source, base, layer, head, source_at, base_at):
    rows = torch.arange(len(base))
    message = z_of(sender, base, layer)[rows, base_at, head]

    def put(x):
        cut_open = x.unflatten(-1, (receiver.n_heads, receiver.d_head)).clone()
        cut_open[rows, base_at, head] = message
        return cut_open.flatten(2)

    with Trace(receiver.hf, receiver.site(layer, "o_proj"), edit_input=put):
        return logits_of(receiver, base)


# %% tags=["wrong-answer", "ex-messages-send"]
# slip: the source is read where the base's token stands
def sent(sender, receiver, source, base, layer, head, source_at, base_at):
    rows = torch.arange(len(base))
    message = z_of(sender, source, layer)[rows, base_at, head]

    def put(x):
        cut_open = x.unflatten(-1, (receiver.n_heads, receiver.d_head)).clone()
        cut_open[rows, base_at, head] = message
        return cut_open.flatten(2)

    with Trace(receiver.hf, receiver.site(layer, "o_proj"), edit_input=put):
        return logits_of(receiver, base)


# %% tags=["wrong-answer", "ex-messages-send"]
# slip: every example is written at the positions of all
def sent(sender, receiver, source, base, layer, head, source_at, base_at):
    message = z_of(sender, source, layer)[torch.arange(len(base)), source_at, head]

    def put(x):
        cut_open = x.unflatten(-1, (receiver.n_heads, receiver.d_head)).clone()
        cut_open[:, base_at, head] = message
        return cut_open.flatten(2)

    with Trace(receiver.hf, receiver.site(layer, "o_proj"), edit_input=put):
        return logits_of(receiver, base)


# %% [markdown]
# :::{exercise} A language of its own
# :label: ex-messages-language
#
# Suppose fine-tuning only turned the message: what B writes points in another direction, and the
# heads that read it were turned along, so that the tuned version follows itself exactly as often as
# base follows itself. A message in the wrong language is never followed. Predict the message
# effect, the reading effect and the agreement, before you work them out.
# :::
#
# :::{solution} ex-messages-language
# :class: dropdown
#
# Let *s* be the score of base to base; then tuned to tuned is *s* as well, and the two mixed cells
# are 0. Message and reading effect are both 0: what the tuned sender loses in base, it gains in the
# tuned version. The agreement is *s*. Looked at in base alone, the tuned message seems worse by
# *s*, with nothing worse in it. So a poor message into base can be told from a foreign one only
# with the other receiver beside it.
# :::
#
# :::{exercise} A louder message
# :label: ex-messages-louder
#
# Suppose that fine-tuning did nothing but make all outputs of B twice as large. What would the two
# effects of the table be? Which experiment would tell this from a message that is more often right?
# :::
#
# :::{solution} ex-messages-louder
# :class: dropdown
#
# Base would follow the louder message more often, so the message effect is above zero, with nothing
# better in it. To tell the two apart, send messages from source prompts that the sender answers
# *wrong*: a message that is more often right is followed less to the source's position there, a
# louder one is followed just as much. Or scale base's own B by hand, and see how far that goes.
# :::

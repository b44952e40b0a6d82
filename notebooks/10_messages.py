# %% [markdown]
# # Better messages, or better reading?
#
# **When a fine-tuned version does the task better, is it because its heads say more, or because it
# understands more of what they say?** {doc}`08_what_improved` patches a version's heads into
# {glue:text}`base_name` *on the same prompt*, where a head that all but spells the answer also
# helps. Here no answer can leak. A version reads one prompt, {glue:text}`base_name` reads another,
# and we ask whose position {glue:text}`base_name` follows.
#
# That {glue:text}`base_name` follows a better version's position transmitters (B) more often than
# its own: *{glue:text}`verdict_message_B`*. That better versions follow the transmitters of
# {glue:text}`base_name` more often than {glue:text}`base_name` does:
# *{glue:text}`verdict_reading_B`*. Better on these prompts are {glue:text}`better_list`.
#
# This test is ours; the paper's finding (iii) {cite:p}`prakash2024finetuning` rests on patches on
# one prompt. *Objectives:* tell a sender from a receiver; take a gain apart into parts that add up.
# *Time:* 20 minutes. *Before it:* {doc}`08_what_improved`.

# %% tags=["parameters"]
family: str = "smollm2"  # a family in models/
base: str = ""  # the version whose circuit it is, one of every two; empty: the reference
n_scenes: int = 49  # scenes of seven pairs of prompts [2, 1000]
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
# Value fetchers (A), position transmitters (B) and position detectors (C) of the circuit of
# {glue:text}`base_short` are sent by {glue:text}`base_short` and by each version, and received by
# both. (Structure readers carry none of the contents asked for here, and are left out.) A score is
# the share of {glue:text}`n_prompts` pairs on which the receiver answers as the message says, less
# the same share with nothing patched (its *floor*). Everything is paired. As a control, *all other
# heads* at the token of B are sent as well.

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
# version that sent it; near zero, the two versions speak one language.

# %% tags=["hide-input"]
told = titles | {"others": "all others at the last token: position"}
show(tables.effects(found, patches=told))

# %% tags=["hide-input"]
show(tables.cells(found, patches=told))

# %% [markdown]
# *Caveats.* Following a message is not the same as doing the task: the share of pairs that follow
# has a ceiling of its own, and a receiver that errs less on its own prompt has a lower floor. The
# heads are those of the circuit of {glue:text}`base_short`; a version that has moved its message
# into other heads would seem to send a poorer one. And a message may be followed because it is
# louder, not because it is more often right: both count here.
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
# better message about the position would lift the rows of B above zero. Where they are not, a gain
# on the same prompt needs another explanation, and better handling of the position is not yet shown
# to be its cause.
#
# ```{exercise} A louder message
# :label: ex-messages-louder
#
# Suppose that fine-tuning did nothing but make all outputs of B twice as large. What would the two
# effects of the table be? Which experiment would tell this from a message that is more often right?
# ```
#
# ```{solution} ex-messages-louder
# :class: dropdown
#
# Base would follow the louder message more often, so the message effect is above zero, with nothing
# better in it. To tell the two apart, send messages from source prompts that the sender answers
# *wrong*: a message that is more often right is followed less to the source's position there, a
# louder one is followed just as much. Or scale base's own B by hand, and see how far that goes.
# ```

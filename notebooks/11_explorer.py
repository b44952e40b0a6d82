# %% [markdown]
# # The circuit explorer
#
# **What does the model say if some of its {term}`heads <head>` say something else?** The chapters
# before this one report what happens on average, over many prompts. Here you see one prompt at a
# time: which box the model is asked for, where each group of heads looks, and how likely every
# answer is before and after you replace some heads by what they give elsewhere.
#
# The groups are those of the {term}`circuit` of {glue:text}`base_name` ({doc}`03_circuit`). They
# hand a message on: {term}`structure readers <structure reader>` (D) note which segment a label
# belongs to, {term}`position detectors <position detector>` (C) find where the box stands that is
# asked for, {term}`position transmitters <position transmitter>` (B) tell the {term}`value fetchers
# <value fetcher>` (A) where to look, and these fetch the object. *Objectives:* predict what a
# {term}`patch` does to one prompt, then check; see how much single prompts differ. *Time:* 20
# minutes. *Before it:* {doc}`06_what_the_heads_carry` and {doc}`08_what_improved`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # a family in models/
base: str = ""  # the version whose circuit is used, in all versions; empty: the reference
n_prompts: int = 21  # prompts to choose from [1, 49]
n_scenes: int = 8  # scenes of seven boxes from which they are chosen [1, 100]
n_pairs: int = 70  # clean and corrupt pairs behind the circuit [7, 700]
# Where structure readers act; empty: as the family's file says.
structure_role: str = ""  # {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.search import CircuitSettings, ablation_means, find_circuit
from entrack.cross_model.cells import combinations_of
from entrack.cross_model.explorer import both_ways, explore
from entrack.display.cells import glue, listed
from entrack.display.explorer import CircuitExplorer
from entrack.sites import GROUPS
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.versions import families
from entrack.versions.loading import load

# %% tags=["hide-input"]
base = base or families.reference(family)
structure_role = structure_role or families.structure_role(family)
tuned = families.tuned_from(family, base)
models = {v: load(f"{family}/{v}") for v in (base, *tuned)}
discovery = DiscoveryConfig(structure_role=structure_role)
settings = CircuitSettings(n_pairs=n_pairs, seed=seed, discovery=discovery)
found = find_circuit(models[base], settings)
circuit = found.circuit

# %% [markdown]
# ## What can be chosen
#
# There are {glue:text}`n_prompts` prompts, of which {glue:text}`base_name` answers
# {glue:text}`n_right` correctly. They are **no fair sample**: every box is asked for equally often
# or nearly so, and at each position prompts that {glue:text}`base_name` gets right alternate with
# prompts that it gets wrong, where there are both.
#
# You can replace any set of the groups, or one head alone: the one with the strongest effect in
# its group. They are replaced at the token where the group acts, and everything after is computed
# anew. What they give instead comes from one of three sources:
#
# - **another prompt**, read by the same version. It has the same labels in another order and other
#   objects. If a group carries the position, the model should name its own object at the position
#   that the other prompt asks for; if it carries the object, the other prompt's answer, which is
#   not in this prompt at all;
# - **another version** that reads the same prompt ({glue:text}`tuned_list`, or for these
#   {glue:text}`base_version`);
# - **the mean** over many prompts, which holds nothing of this one.

# %% tags=["hide-input"]
pool = interchanges(n_scenes, split="evaluation", seed=seed)
pairs, right = both_ways(
    models[base], encode_counterfactuals(models[base].tokenizer, pool), n=n_prompts
)
strongest = {name: found.kept(name)[0] for name in GROUPS if circuit.groups[name]}
cells = combinations_of(circuit, strongest)

# %% tags=["hide-input"]
glue(
    base_name=models[base].name,
    base_version=base,
    tuned_list=listed(tuned),
    n_prompts=len(pairs),
    n_right=int(right.sum()),
)

# %%
explored = {
    v: explore(
        models[v],
        pairs,
        circuit=circuit,
        cells=cells,
        means=ablation_means(models[v], settings),
        donors=[models[w] for w in (tuned if v == base else [base])],
    )
    for v in models
}
glue(n_answers=sum(each.top.size for each in explored.values()))

# %% [markdown]
# ## The explorer
#
# All {glue:text}`n_answers` combinations were computed above and are stored in this page; nothing
# is computed while you choose. Say what you expect before you choose. The buttons suggest where to
# begin; each takes the prompt on which it works best. Try the same on other prompts too.

# %% tags=["hide-input"]
CircuitExplorer(explored, pairs, circuit=circuit, tokenizer=models[base].tokenizer)

# %% [markdown]
# Some questions to take along:
#
# 1. Replace B from another prompt. Then replace C instead, then D. How early in the chain can you
#    still make the model look elsewhere?
# 2. Replace A from another prompt, then A and B. Why does B matter so little now?
# 3. Take a prompt that {glue:text}`base_name` gets wrong. Which single group of a better version
#    repairs it? Is it the same one on the next prompt?
# 4. Set one group to its mean. Does the answer become another object of the prompt, or no object at
#    all? What does that say about the group?
#
# ## What it cannot show
#
# One prompt proves nothing about the model: on the next one the same switch may do the opposite.
# The averages with their intervals are in {doc}`06_what_the_heads_carry` (another prompt),
# {doc}`08_what_improved` (another version) and {doc}`03_circuit` (the mean). A change of the
# answer shows that the heads *can* carry something, not that they alone do. The shading shows where
# a group looks in the unchanged run; looking is no proof of an effect. And heads of the same group
# are averaged: a group whose heads look at different tokens seems to look everywhere a little.

# %% tags=["hide-input"]
from entrack.display.tables import NOT_RUN

from_another = explored[base].top[0]  # the first source is another prompt [cell example]
said = dict(zip((cell.label for cell in cells), from_another, strict=True))
ideas = {"A": "object", "B": "position", "C": "position"}
followed = {
    letter: int((said[letter] == pairs.alternatives[idea].numpy()).sum())
    for letter, idea in ideas.items()
    if letter in said
}
glue(**{f"n_followed_{letter}": followed.get(letter, NOT_RUN) for letter in ideas})

# %% [markdown]
# ## In three sentences
#
# Groups of heads of {glue:text}`base_name` were replaced by what they give in another prompt, in
# another version or on average, in {glue:text}`n_prompts` prompts. With the value fetchers (A) from
# another prompt, {glue:text}`n_followed_A` of these prompts are answered with its object; with the
# position transmitters (B), {glue:text}`n_followed_B`, and with the position detectors (C),
# {glue:text}`n_followed_C` are answered with the object at its position. The prompts were chosen so
# that about as many are answered right as wrong, so these counts are examples, and how often it
# happens in general is measured in {doc}`06_what_the_heads_carry`.
#
# *Next:* {doc}`12_lineages` asks whether training made these heads, or found them.

# %% [markdown]
# ## Exercises
#
# The explorer answers one prompt at a time. These exercises ask what one may expect of it, and what
# may be concluded. They need no model.

# %% tags=["exercise-setup"]
from itertools import combinations

import numpy as np

from entrack.course.checks import check

GROUP_SETS = ["".join(chosen) for n in (1, 2, 3) for chosen in combinations("ABC", n)]


# %% tags=["exercise-setup"]
def chosen_prompts(n=2000, share_right=0.8, repaired=0.4, broken=0.1, seed=0):
    """A made-up model's hits [prompt], alone and patched, and its accuracy alone on all prompts.

    The prompts are chosen so that it has half of them right alone. The patch repairs and breaks
    answers in the given shares."""
    rng = np.random.default_rng(seed)
    right = np.arange(n) % 2 == 0
    return right, np.where(right, rng.random(n) >= broken, rng.random(n) < repaired), share_right


# %% [markdown]
# ::::{exercise} Which group is followed?
# :label: ex-explorer-chain
# :class: predict
#
# Replace any set of the groups A, B and C from *another prompt*. If the chain works as the text at
# the top of this chapter says, what does the model answer? Predict it for every set, and then try
# the sets in the explorer on several prompts.
#
# :::{admonition} Hint
# :class: dropdown
# Which of the replaced groups is the last to speak? What becomes of the messages that reach it?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-explorer-chain"]
# Some expect the earliest group to decide, because everything follows from it. But a replaced group
# gives what it gave elsewhere, whatever it hears now. On real prompts the prediction fails often;
# ask whether the failures are of the chain or of the floor.

# %% [markdown]
# :::{solution-start} ex-explorer-chain
# :class: dropdown
# :::


# %% tags=["answer", "ex-explorer-chain"]
def follows(replaced):
    """What the model names when groups are replaced from another prompt, as the chain predicts.

    replaced: the letters of the groups that are replaced, of "ABC"; may be empty. C detects the
    position and tells B, B tells A where to look, A fetches the object. The other prompt has other
    objects and asks for another position. Returns "own" for the model's own answer, "position" for
    its object at the other prompt's position, or "object" for the other prompt's object.
    """
    if "A" in replaced:
        return "object"
    return "position" if replaced else "own"


# %% [markdown]
# A replaced group does not listen. So the last group of the chain that is replaced decides, and
# what is replaced before it makes no difference: with A replaced, B's message reaches nobody.
# Prompts where this fails are worth a look. Other heads may bring the position too, and A is not
# all that speaks at the last token.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-explorer-chain"]
with check("ex-explorer-chain", "with nothing replaced the answer is the model's own"):
    assert follows("") == "own"

with check("ex-explorer-chain", "each group alone brings what the chapter says that it carries"):
    alone = {letter: follows(letter) for letter in "ABC"}
    assert alone == {"A": "object", "B": "position", "C": "position"}, f"{alone}"

with check("ex-explorer-chain", "of two or three groups one decides, and it is the right one"):
    told = {letters: follows(letters) for letters in GROUP_SETS if len(letters) > 1}
    wrong = [s for s, answer in told.items() if answer != follows(s[0])]
    assert not wrong and set(told.values()) == {"object", "position"}, f"not for {wrong}"

# %% tags=["hidden-test", "ex-explorer-chain"]
with check("ex-explorer-chain", "the order of the letters does not matter"):
    assert follows("CA") == follows("AC") == "object" and follows("CB") == "position"


# %% tags=["wrong-answer", "ex-explorer-chain"]
# slip: the first group of the chain decides
def follows(replaced):
    if not replaced:
        return "own"
    return "object" if set(replaced) == {"A"} else "position"


# %% tags=["wrong-answer", "ex-explorer-chain"]
# slip: C is thought to be too early in the chain to matter
def follows(replaced):
    if "A" in replaced:
        return "object"
    return "position" if "B" in replaced else "own"


# %% tags=["wrong-answer", "ex-explorer-chain"]
# slip: each group brings the object of the other prompt
def follows(replaced):
    return "object" if replaced else "own"


# %% [markdown]
# ::::{exercise} From chosen prompts to all prompts
# :label: ex-explorer-fair
# :class: write
#
# The prompts of the explorer are no fair sample: right and wrong ones alternate. Use them all the
# same to estimate the accuracy that a patch would give on prompts that nobody chose.
#
# :::{admonition} Hint
# :class: dropdown
# Within the right ones, and within the wrong ones, the sample may be fair. How often does each kind
# come, among all prompts?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-explorer-fair"]
# Let them look at the sign first. A patch that repairs and breaks equal shares of what it meets
# seems to do nothing on a half-and-half sample, and harms a model that is mostly right. Ask what
# besides right and wrong was balanced when the prompts were chosen (the position), and whether that
# has to be undone too.

# %% [markdown]
# :::{solution-start} ex-explorer-fair
# :class: dropdown
# :::


# %% tags=["answer", "ex-explorer-fair"]
def accuracy_of_all(right, patched, share_right):
    """The patched model's accuracy on all prompts, estimated from chosen ones.

    right, patched: bool arrays [prompt], whether the model answers a chosen prompt right alone, and
    when it is patched; there are some of either kind. The prompts were chosen by `right` and by
    nothing else that matters. share_right: the model's accuracy alone on all prompts. Returns a
    float.
    """
    kept, repaired = patched[right].mean(), patched[~right].mean()
    return float(share_right * kept + (1 - share_right) * repaired)


# %% [markdown]
# The share kept among the right ones and the share repaired among the wrong ones do not depend on
# how many of each were chosen. Their weights do, so these are taken from all prompts.
# {doc}`08_what_improved` reports the two shares on their own for the same reason.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-explorer-fair"]
with check("ex-explorer-fair", "3 of 4 kept, 1 of 4 repaired, a model at 0.8: 0.65"):
    right = np.array([1, 1, 1, 1, 0, 0, 0, 0]) > 0
    patched = np.array([1, 1, 1, 0, 1, 0, 0, 0]) > 0
    found = accuracy_of_all(right, patched, 0.8)
    assert np.isclose(found, 0.65), f"{found}"

with check("ex-explorer-fair", "a patch that changes nothing leaves the accuracy as it is"):
    right = np.arange(30) % 2 == 0
    assert np.isclose(accuracy_of_all(right, right, 0.9), 0.9)

# %% tags=["check", "ex-explorer-fair"]
with check("ex-explorer-fair", "it does not depend on how many of each kind were chosen"):
    right, patched, share = chosen_prompts()
    fewer = right | (np.arange(len(right)) % 4 == 1)
    found = [accuracy_of_all(right[use], patched[use], share) for use in (right | ~right, fewer)]
    assert abs(found[0] - found[1]) < 0.03, f"{found[0]:.2f} and {found[1]:.2f}"

# %% tags=["hidden-test", "ex-explorer-fair"]
with check("ex-explorer-fair", "a patch that helps half of the sample can harm on all prompts"):
    right, patched, _ = chosen_prompts(repaired=0.3, broken=0.2)
    assert patched.mean() > right.mean()
    assert accuracy_of_all(right, patched, 0.95) < 0.95


# %% tags=["wrong-answer", "ex-explorer-fair"]
# slip: the accuracy on the chosen prompts
def accuracy_of_all(right, patched, share_right):
    return float(patched.mean())


# %% tags=["wrong-answer", "ex-explorer-fair"]
# slip: the change on the chosen prompts is added to the accuracy
def accuracy_of_all(right, patched, share_right):
    return float(share_right + patched.mean() - right.mean())


# %% tags=["wrong-answer", "ex-explorer-fair"]
# slip: the two weights are exchanged
def accuracy_of_all(right, patched, share_right):
    kept, repaired = patched[right].mean(), patched[~right].mean()
    return float((1 - share_right) * kept + share_right * repaired)


# %% [markdown]
# ::::{exercise} A prompt on which it works
# :label: ex-explorer-best
# :class: measure
#
# Each button of the explorer opens the prompt on which its patch works best. Suppose a patch only
# works on a small share of prompts. Measure how surely the explorer has a prompt to show all the
# same. From which share on is it more likely than not?
#
# :::{admonition} Hint
# :class: dropdown
# It has none to show if the patch fails on every prompt.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-explorer-best"]
# Ask for a guess first. Most expect that a patch has to work on a tenth of the prompts or more.
# Then ask what a paper's figure with one well-chosen prompt shows.

# %% [markdown]
# :::{solution-start} ex-explorer-best
# :class: dropdown
# :::


# %% tags=["answer", "ex-explorer-best"]
def has_one(share, n_prompts):
    """How likely a patch works on at least one of the prompts.

    share: of all prompts on which it works, 0 to 1. n_prompts: how many there are to choose from,
    drawn independently. Returns a probability.
    """
    return 1 - (1 - share) ** n_prompts


# %% [markdown]
# With 21 prompts to choose from, a patch that works on one in thirty has its example more likely
# than not. So the buttons show what an effect looks like on a prompt that has it. How often it
# comes, the averages of the other chapters say.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-explorer-best"]
with check("ex-explorer-best", "with one prompt it is the share; with two, 0.5 becomes 0.75"):
    assert np.isclose(has_one(0.3, 1), 0.3)
    assert has_one(0.5, 2) == 0.75

with check("ex-explorer-best", "it is what counting in many made-up draws gives"):
    rng = np.random.default_rng(0)
    for share in (0.02, 0.05, 0.2):
        seen = (rng.random((20000, 21)) < share).any(1).mean()
        assert abs(has_one(share, 21) - seen) < 0.02, f"{has_one(share, 21):.2f} at {share}"

# %% tags=["hidden-test", "ex-explorer-best"]
with check("ex-explorer-best", "it grows with the number of prompts, from never to always"):
    grown = [has_one(0.1, n) for n in range(0, 200, 10)]
    assert grown == sorted(grown) and grown[0] == 0 and 0.99 < grown[-1] <= 1
    assert has_one(0, 50) == 0 and has_one(1, 1) == 1


# %% tags=["wrong-answer", "ex-explorer-best"]
# slip: the shares are added, beyond 1 if need be
def has_one(share, n_prompts):
    return share * n_prompts


# %% tags=["wrong-answer", "ex-explorer-best"]
# slip: the probability that it works on all of them
def has_one(share, n_prompts):
    return share**n_prompts


# %% [markdown]
# :::{exercise} A head that looks elsewhere
# :label: ex-explorer-looking
#
# "In this prompt the shading of A lies on a wrong object, and yet the answer is right. So A does
# not fetch the object." Give three other explanations, and say what you would replace in the
# explorer to tell them apart.
# :::
#
# :::{solution} ex-explorer-looking
# :class: dropdown
#
# The shading is a mean over the heads of A: one of them may look at the right object and write more
# than all the others. Attention does not tell how much is passed on: what is read at the wrong
# object may be small, or be cancelled. And heads outside A may bring the object in this prompt.
# Replace the strongest head of A alone, from another prompt or by its mean, then all of A. If the
# answer goes with the one head, the mean has hidden it; if it goes with all of A only, several
# heads share the work; if it stays with all of A replaced, others bring the object here.
# :::

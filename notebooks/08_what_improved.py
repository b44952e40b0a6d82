# %% [markdown]
# # What improved
#
# **Why is a fine-tuned version better?** Activations of the fine-tuned versions are patched into
# {glue:text}`base_name`, group by group, on the same prompts. Better than {glue:text}`base_name` on
# these prompts: {glue:text}`better_list`. That their value fetchers make it better:
# *{glue:text}`verdict_improved_values`*; that their position transmitters do:
# *{glue:text}`verdict_improved_positions`*; that neither position detectors nor structure readers
# do: *{glue:text}`verdict_improved_not_cd`*.
#
# This is the paper's finding (iii), its Figure 4 {cite:p}`prakash2024finetuning`: *cross-model
# activation patching*, from a *donor* into a *receiver*. We add four things: as many other heads,
# and all other heads, at the same token; the patch in the opposite direction; what a patch repairs
# and what it breaks; and the weights themselves. The groups are value fetchers (A), position
# transmitters (B), position detectors (C) and structure readers (D). *Objectives:* read a
# cross-model patch, and say what it cannot show. *Time:* 30 minutes. *Before it:*
# {doc}`04_same_circuit`.

# %% tags=["parameters"]
family: str = "smollm2"  # a family in models/
base: str = ""  # the version that receives, and whose circuit is patched; empty: the reference
focus: str = ""  # the version whose q, k, v and weights are looked into; empty: the family's focus
own: str = ""  # versions whose own circuit is patched too, spaces between; empty: the focus
n_scenes: int = 35  # scenes of seven boxes; every box of each is asked for [2, 1000]
n_far: int = 10  # of these, for patches that rerun the context: D, the full circuit [1, 1000]
n_desiderata: int = 21  # scenes of seven pairs for what the groups carry [2, 1000]
n_graft: int = 21  # scenes for versions with parts of an update [2, 1000]
n_pairs: int = 70  # clean and corrupt pairs behind the circuit of base [7, 700]
n_pairs_own: int = 28  # the same for the other versions' own circuits [7, 700]
n_random: int = 3  # random groups per group [1, 20]
# Where structure readers act; empty: as the family's file says.
structure_role: str = ""  # {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
import numpy as np

from entrack.circuit.contents import content_changes, content_of_groups
from entrack.circuit.search import circuit_of
from entrack.cross_model.cmap_suite import cmap, graft_scores
from entrack.cross_model.weight_swap import update_norms
from entrack.display.cells import glue, judge, listed, show
from entrack.errors import ChapterError
from entrack.figures import improved as figures
from entrack.paper.claims import claim
from entrack.stats.claims import direction
from entrack.tables import improved as tables
from entrack.task.draws import scenes
from entrack.versions import families
from entrack.versions.loading import load

# %%
base = base or families.reference(family)
focus = focus or families.focus(family)
own_versions = own.split() or [focus]
structure_role = structure_role or families.structure_role(family)
tuned = families.tuned_from(family, base)
unknown = sorted({focus, *own_versions} - set(tuned))
if unknown:
    raise ChapterError(
        f"{listed(unknown)} is not fine-tuned from {base}; of {family} these are:"
        f" {listed(tuned)}. Change the parameters base, focus and own."
    )
below = families.lineage(family, base)[:-1][-1:]

# %%
models = {v: load(f"{family}/{v}") for v in (*below, base, *tuned)}
search = {"structure_role": structure_role, "seed": seed}
circuit = circuit_of(models[base], n_pairs=n_pairs, **search)
asked = scenes(n_scenes, split="evaluation", seed=seed)
glue(
    base_name=models[base].name,
    focus=focus,
    n_prompts=n_scenes * 7,
    n_prompts_far=min(n_far, n_scenes) * 7,
)

# %% [markdown]
# ## Each group handed over
#
# Donor and receiver read the same {glue:text}`n_prompts` prompts. At the token where a group acts,
# the receiver's heads give the donor's output instead of their own; everything after is the
# receiver's. D and the full circuit rerun the context and are scored on the first
# {glue:text}`n_prompts_far`. Two controls take other heads at the same token: as many random ones,
# and all that are not in the circuit there. (A and B act at the same token, so their second control
# is one and the same.)

# %%
sizes = {"n_far": n_far, "n_random": n_random, "seed": seed}
into_base = {
    v: cmap(models[v], models[base], circuit, scenes=asked, inputs=v == focus, **sizes)
    for v in tuned
}
edges = {v: found.edge() for v, found in into_base.items()}
better = [v for v in tuned if direction(edges[v]) == "higher"]
glue(better_list=listed(better))

# %%
# figure: fig-handed-over
# caption: Accuracy of {glue:text}`base_name` with one group, or several, from each fine-tuned
#   version (full marks), with as many other heads at the same token (open circles), and with all
#   other heads at this token (open squares). Dashed: receiver alone; solid: donor alone; in each
#   row on its own prompts, which are fewer for D and the full circuit. Whiskers: 95 % intervals
#   over scenes.
show(figures.handed_over(list(into_base.values())))

# %% tags=["hide-input"]
show(tables.donors(into_base))
show(tables.gains([*into_base.values()]))

# %% tags=["hide-input"]
show(tables.published_gains())

# %% [markdown]
# Look at the open squares too. The heads *outside* the circuit at the same token are many, and what
# they bring together is the measure of "primarily": if the gain were the circuit's, the full mark
# would stand well to the right of the square. Three claims at the end of this chapter say where it
# does.
#
# *Caveat.* A value fetcher's output at the last token all but spells the answer. Giving base the
# donor's A says little more than that the donor knew the answer and base can read it. And
# {glue:text}`n_prompts_far` prompts of few scenes decide little about D and the full circuit. We
# call a change clear only if its interval leaves out 0; the sign test over scenes asks for more,
# because it sees only in which scenes accuracy rose and in which it fell.
#
# ## What is repaired, what is broken
#
# So we look only at prompts on which base was **wrong**, and ask what share each group repairs; and
# only at those on which it was **right**, and ask what share it breaks. A group that brings
# information repairs more than random heads do. One that does not fit its new surroundings breaks
# more.

# %%
# figure: fig-repaired
# caption: Of the wrong answers of {glue:text}`base_name`, the share that each group of a fine-tuned
#   version repairs (left); of its right ones, the share that it breaks (right). Open grey circles:
#   as many random heads. Whiskers: 95 % intervals over scenes.
show(figures.repaired_and_broken(into_base))

# %% [markdown]
# ## Whose heads: the donor's own circuit
#
# The paper patches the heads of the *donor's* circuit. Here they are, beside those of base's.

# %%
theirs = {v: circuit_of(models[v], n_pairs=n_pairs_own, **search) for v in own_versions}
with_own = {
    v: cmap(models[v], models[base], theirs[v], scenes=asked, seed=seed) for v in own_versions
}

# %% tags=["hide-input"]
show(tables.own_circuits(into_base, with_own))

# %% [markdown]
# ## Which finer part: queries, keys or values
#
# Instead of their outputs, base's heads get the donor's **q** (at the last token), or **k** or
# **v** (at every token before it); a patched head gets its own copy of the k or v that it shares
# with others. q and k decide where a head looks, v what it finds there. Log probabilities show more
# than hits can.

# %%
# figure: fig-inputs
# caption: Gain in the right answer's log probability (nats) when heads of A or of B in
#   {glue:text}`base_name` get the q, k or v of {glue:text}`focus`, several of them, or their
#   outputs z. Whiskers: 95 % intervals over scenes.
show(figures.inputs_bars(into_base[focus]))

# %% tags=["hide-input"]
show(tables.inputs(into_base[focus]))

# %% tags=["hide-input"]
show(tables.published_inputs())

# %% [markdown]
# The q of A is where B's message arrives. A gain from q alone comes from a better message, or from
# how the donor's $W_Q$ reads it; a gain from q and k together that neither has alone may also be a
# new agreement of the two. k alone can hurt: base's queries were not made for it.
#
# ## The other direction: does the fine-tuned version lose what it gained?
#
# If a group carries the gain, base's copy of it, patched into the fine-tuned version, must take the
# gain away: most of the gap between the two must close.

# %%
from_base = {
    v: cmap(models[base], models[v], circuit, scenes=asked, n_random=1, seed=seed) for v in tuned
}

# %% tags=["hide-input"]
show(tables.losses([*from_base.values()]))

# %% [markdown]
# A loss shows that the version *needs* its own group; it may also come from a message that the
# version reads differently by now. So a group that gives little and takes much is a link that has
# to fit, rather than the place of the gain.
#
# ## Does it match what the groups carry?
#
# Finding (ii) asks what a group *carries*: A the object, B and C the position. If a group hands
# over a gain because it does its job better, then within its own version it should carry its
# content better too. Scores are shares of {glue:text}`n_pairs_carried` pairs of prompts whose
# answer follows the source's object or position when the group is patched from it
# ({doc}`06_what_the_heads_carry`). Of {glue:text}`n_brings` groups that make base clearly better,
# {glue:text}`n_carries_more` clearly carry their content better too.

# %%
holds = {
    v: content_of_groups(models[v], circuit, n_scenes=n_desiderata, seed=seed)
    for v in (base, *tuned)
}
changes = content_changes(holds, into_base, base=base)
glue(
    n_pairs_carried=n_desiderata * 7,
    n_brings=sum(change.brings for change in changes),
    n_carries_more=sum(change.brings and change.carries_more for change in changes),
)

# %% tags=["hide-input"]
show(tables.contents(changes, base=base))

# %% [markdown]
# ## Below base: was the mechanism there, unused?
#
# Does the version that base was made from ({glue:text}`below_name`) hold the mechanism without
# using it? In the default family it does not do the task; base was primed on it for a few steps. If
# it had the machinery and only failed to start it, then *messages* of base should set it going:
# with base's queries (q) alone, its own value fetchers, reading its own keys and values, would find
# the object. Base's A as a whole would not show that: it names the object itself. Nor would a mere
# gain: a model below chance gains by naming any of the seven objects, which is right one time in
# seven. So we ask for more than that.

# %%
glue(below_name=listed(models[v].name for v in below))
both_ways = {
    (donor, receiver): cmap(
        models[donor], models[receiver], circuit, scenes=asked, inputs=receiver in below, **sizes
    )
    for v in below
    for donor, receiver in ((base, v), (v, base))
}
into_below = next((both_ways[base, v] for v in below), None)

# %%
# figure: fig-raw-base
# caption: Accuracy of the version below {glue:text}`base_name` with the groups of
#   {glue:text}`base_name` (left), and the other way round (right). Full marks: the group; open
#   circles: as many random heads; open squares: all other heads at this token; dashed: the receiver
#   alone; solid: the donor alone, in each row on its own prompts. Whiskers: 95 % intervals over
#   scenes.
if both_ways:
    show(figures.handed_over(list(both_ways.values())))

# %% tags=["hide-input"]
if into_below:
    show(tables.cells(into_below))

# %% [markdown]
# The row *q of A* is the test: {glue:text}`below_name` with base's queries for A alone. If its
# accuracy lies above guessing one of the objects, part of the mechanism was there, unused:
# *{glue:text}`verdict_improved_raw`*.
#
# ## Where in the weights
#
# An adapter changes the q, k, v and o matrices of every head. How much, relative to the weight? By
# {glue:text}`update_least` to {glue:text}`update_most` on average over all heads, by version and
# matrix; the table tells whether the circuit's groups changed more.

# %%
norms = {v: update_norms(models[v], onto=models[base]) for v in tuned}
means = np.array([found.mean_relative() for found in norms.values()])
glue(update_least=f"{means.min():.1%}", update_most=f"{means.max():.1%}")

# %% tags=["hide-input"]
show(tables.updates(norms, circuit))

# %%
# figure: fig-updates
# caption: Relative size of the update of {glue:text}`focus` in every head (rows) and layer
#   (columns), by matrix. Heads that share a kv-head share its k and v.
show(figures.update_maps(norms[focus]))

# %% [markdown]
# Size is not effect. So we build versions of base in which only *some* heads got their update, and
# score them: does the gain follow the circuit? On {glue:text}`n_graft_prompts` prompts the whole
# update of {glue:text}`focus` brings {glue:text}`graft_all`; in the circuit's
# {glue:text}`graft_n_circuit` heads alone {glue:text}`graft_circuit`, in the
# {glue:text}`graft_n_others` others alone {glue:text}`graft_others`.

# %%
few = asked[:n_graft]
grafts = {
    f"{donor} onto {receiver}": graft_scores(
        models[receiver], models[donor], circuit, scenes=few, seed=seed
    )
    for donor, receiver in ((focus, base), *((base, v) for v in below))
}
onto = grafts[f"{focus} onto {base}"]

# %% tags=["hide-input"]
glue(
    n_graft_prompts=len(few) * 7,
    **{f"graft_{part}": f"{onto.gain(part):+.2f}" for part in ("all", "circuit", "others")},
    **{f"graft_n_{part}": onto.n_heads[part] for part in ("circuit", "others")},
)

# %%
# figure: fig-grafts
# caption: Gain in accuracy when only some heads, or one matrix of all heads, get the update. In
#   brackets: number of heads. Open grey circles: random heads, as many as the circuit has.
#   Whiskers: 95 % intervals over scenes.
show(figures.graft_gains(grafts))

# %% [markdown]
# *Caveat.* Weights act at every token, patches at one. A head of the circuit may owe its better
# input to an update elsewhere, and then the gain shows in its activations and not in its weights.
# The parts need not add up: several can each be enough.
#
# ## What the paper claims, what we find, verdict
#
# The claims are about versions that are better than base on these prompts:
# {glue:text}`better_list`. Guessing one of the objects is right in {glue:text}`chance:.2f` of
# prompts.

# %%
chance = 1 / asked[0].n_boxes
glue(chance=chance)


def gains(letter: str) -> dict:
    """Gain with a group of every better version that has it."""
    return {v: into_base[v].gain(letter) for v in better if letter in into_base[v].letters()}


def shares(cmaps: dict, label: str) -> dict:
    """Share of the gap that a cell closes, of every better version that has it and a gap."""
    found = {v: cmaps[v].closed(label) for v in better}
    return {v: share for v, share in found.items() if share}


# %% tags=["hide-input"]
either = {f"{letter} of {v}": gain for letter in "CD" for v, gain in gains(letter).items()}
over_random = {v: more for v in better if (more := into_base[v].over_random("A"))}
over_rest = {x: {v: more for v in gains(x) if (more := into_base[v].over_others(x))} for x in "ABC"}
taken = {v: (from_base[v].gain("A"), share) for v, share in shares(from_base, "A").items()}
fetched = into_below.over("q of A", chance) if into_below else None
judge(
    claim("improved_values", gains("A")),
    claim("improved_positions", gains("B")),
    claim("improved_not_cd", either),
    claim("improved_full", shares(into_base, "full circuit"), n=min(n_far, n_scenes) * 7),
    claim("improved_specific", over_random),
    *(claim(f"improved_over_others_{x}", over_rest[x]) for x in "ABC"),
    claim("improved_reverse", taken),
    claim("improved_weights", {focus: onto.over_random()}),
    claim("improved_raw", fetched),
    caption="Finding (iii): what improved? Gains and changes are shares of prompts.",
)

# %% [markdown]
# # What improved
#
# When somebody gets better at a task after practising another, we want to know what got better:
# where they look, or what they do with what they find. With models we can swap the parts and see.
#
# **Why is a fine-tuned version better?** Activations of the fine-tuned versions are patched into
# {glue:text}`base_name`, group by group, on the same prompts. The answer is about the versions that
# are clearly better than {glue:text}`base_name` on these prompts: {glue:text}`better_list`. Do
# their {term}`value fetchers <value fetcher>` (A) make it better? The paper says yes, here:
# *{glue:text}`verdict_improved_values`*. Their {term}`position transmitters <position transmitter>`
# (B)? The paper says yes, here: *{glue:text}`verdict_improved_positions`*. Do their {term}`position
# detectors <position detector>` (C) or {term}`structure readers <structure reader>` (D)? The paper
# says no, here: *{glue:text}`verdict_improved_not_cd`*.
#
# This is the paper's finding (iii), its Figure 4 {cite:p}`prakash2024finetuning`:
# *{term}`cross-model activation patching`*, from a *{term}`donor`* into a *{term}`receiver`*. We
# add four things: other heads at the same token, all of them, or as many, some of which are like
# the group; the patch in the opposite direction; what a patch repairs and what it breaks; and the
# weights themselves. *Objectives:* read a cross-model patch, and say what it cannot show. *Time:*
# 30 minutes. *Before it:* {doc}`04_same_circuit`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # a family in models/
base: str = ""  # the version that receives, and whose circuit is patched; empty: the reference
focus: str = ""  # the version whose q, k, v and weights are looked into; empty: the family's focus
own: str = ""  # versions whose own circuit is patched too, spaces between; empty: the focus
n_scenes: int = 84  # scenes of seven boxes; every box of each is asked for [2, 1000]
n_far: int = 20  # of these, for patches that rerun the context: D, the full circuit [1, 1000]
n_desiderata: int = 49  # scenes of seven pairs for what the groups carry [2, 1000]
n_graft: int = 35  # scenes for versions with parts of an update [2, 1000]
n_pairs: int = 70  # clean and corrupt pairs behind the circuit of base [7, 700]
n_pairs_own: int = 28  # the same for the other versions' own circuits [7, 700]
n_matched: int = 35  # scenes for heads that are like a group's [2, 1000]
n_random: int = 3  # random groups per group, of any layers and of the same ones [1, 20]
# Where structure readers act; empty: as the family's file says.
structure_role: str = ""  # {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
import numpy as np

from entrack.circuit.contents import content_changes, content_of_groups
from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.search import CircuitSettings, circuit_of, find_circuit
from entrack.cross_model.at_last import EVERY, INSIDE, REST, at_last
from entrack.cross_model.cmap_suite import cmap, graft_scores
from entrack.cross_model.matched import SharedOut, matched, with_others_at_d
from entrack.cross_model.weight_swap import update_norms

# %% tags=["hide-input"]
from entrack.display.cells import glue, judge, listed, show
from entrack.errors import ChapterError
from entrack.figures import improved as figures
from entrack.paper.claims import claim
from entrack.stats.claims import direction
from entrack.stats.metrics import difference
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

# %% [markdown]
# A *control from below* is a version trained on the subject of {glue:text}`focus`, not from
# {glue:text}`base_name` but straight from what {glue:text}`base_name` was itself made from. Here:
# {glue:text}`control_list`. In the default family it learned from both kinds of look-ups at once,
# those of {glue:text}`base_name` and those of {glue:text}`focus`, in fewer batches than the two
# together.

# %%
about = families.family_file(family)["versions"]
subject = about[focus].get("subject")
alike = families.tuned_on(family, subject) if subject else ()
straight = [v for v in families.versions(family) if v in alike and about[v]["on"] in below]

# %%
models = {v: load(f"{family}/{v}") for v in (*below, base, *tuned, *straight)}
search = {"structure_role": structure_role, "seed": seed}
circuit = circuit_of(models[base], n_pairs=n_pairs, **search)
asked = scenes(n_scenes, split="evaluation", seed=seed)
glue(
    base_name=models[base].name,
    focus=focus,
    control_list=listed(straight, none="none in this family"),
    n_prompts=n_scenes * 7,
    n_prompts_far=min(n_far, n_scenes) * 7,
)

# %% [markdown]
# ## Each group handed over
#
# Donor and receiver read the same {glue:text}`n_prompts` prompts. At the token where a group acts,
# the receiver's heads give the donor's output instead of their own; everything after is the
# receiver's. D and the full {term}`circuit` rerun the context and are scored on the first
# {glue:text}`n_prompts_far`. Two controls take other heads at the same token: as many random ones,
# and all that are not in the circuit there. (A and B act at the same token, so their second control
# is one and the same.)

# %%
# figure: fig-how-cross
# caption: Cross-model activation patching. A square is what the heads of a layer (from below) give
#   at a token (from left to right).
from entrack.display import schematic

show(schematic.cross_model())

# %% [markdown]
# ## On one prompt
#
# The first prompt that {glue:text}`focus` answers right and {glue:text}`base_name` wrong (the very
# first prompt, if there is no such one):
#
# > {glue:text}`one_text`

# %%
from entrack.heads import one_prompt
from entrack.patching.patches import Patch
from entrack.tables.patching import one_prompt as table_of_one
from entrack.task.draws import all_queries
from entrack.task.prompts import encode

receiver, donor = models[base], models[focus]
tried = encode(receiver.tokenizer, all_queries(asked[:8]))
one = one_prompt.ask(tried, one_prompt.first_repaired(receiver, donor, tried))
ways = {base: one_prompt.alone(receiver, one), focus: one_prompt.alone(donor, one)}

# %%
from entrack.sites import GROUPS

for name, heads in circuit.groups.items():
    if heads:
        ways[f"{base}, {GROUPS[name].letter} of {focus}"] = one_prompt.patched(
            receiver, one, one.prompt, Patch(circuit.role(name), heads), donor=donor
        )
show(table_of_one(one, ways, caption="What one prompt is answered, by probability."), folded=True)

# %% tags=["hide-input"]
told = (f"{probs[0]:.3f} ({way})" for way, probs in list(ways.items())[2:])
glue(
    one_text=one.prompt.texts[0],
    one_right=next(iter(one.words)),
    one_base=float(ways[base][0]),
    one_focus=float(ways[focus][0]),
    one_patched=listed(told, none="no group has heads"),
)

# %% [markdown]
# {glue:text}`base_name` alone gives the right object, *{glue:text}`one_right`*, a probability of
# {glue:text}`one_base:.3f`, and {glue:text}`focus` {glue:text}`one_focus:.3f`. With one group's
# outputs handed over: {glue:text}`one_patched`. A prompt chosen for its difference shows how the
# method works. How often it does, the next figure counts over all prompts.


# %%
def handed(donor: str, receiver: str, *, inputs: bool = False):
    """Every group from one version into another, its controls, and all other heads beside each."""
    pair = models[donor], models[receiver], circuit
    sizes = {"n_far": n_far, "n_random": n_random, "seed": seed}
    return with_others_at_d(cmap(*pair, scenes=asked, inputs=inputs, **sizes), *pair, scenes=asked)


# %%
into_base = {v: handed(v, base, inputs=v == focus) for v in tuned}
from_below = {v: handed(v, base) for v in straight}
edges = {v: found.edge() for v, found in into_base.items()}
better = [v for v in tuned if direction(edges[v]) == "higher"]
glue(better_list=listed(better))

# %%
# figure: fig-handed-over
# caption: Accuracy of {glue:text}`base_name` with one group, or several, from each fine-tuned
#   version and from the control (full marks), with as many other heads at the same token (open
#   circles), and with all other heads at this token (open squares). Dashed: receiver alone; solid:
#   donor alone; in each row on its own prompts, which are fewer for D and the full circuit.
#   Whiskers: 95 % intervals over scenes.
show(figures.handed_over([*into_base.values(), *from_below.values()]))

# %% tags=["hide-input"]
show(tables.donors(into_base | from_below), folded=True)
show(tables.gains([*into_base.values(), *from_below.values()]))

# %% tags=["hide-input"]
show(tables.published_gains(), folded=True)

# %%
ahead = {
    f"{focus} less {v}": difference(
        into_base[focus].near.donor_hits, found.near.donor_hits, clusters=found.near.scenes
    )
    for v, found in from_below.items()
}
glue(ahead=listed((f"{more:+.2f} ({pair})" for pair, more in ahead.items()), none="not measured"))

# %% [markdown]
# *The control.* Is a version better for having been made from {glue:text}`base_name`? The
# difference in accuracy, on the same prompts, is {glue:text}`ahead`:
# *{glue:text}`verdict_improved_from_base`*. The control's heads are handed over as well. They were
# never heads of {glue:text}`base_name`, so what they bring is no improvement *of its* mechanism.
# The claims about better versions are of those made from {glue:text}`base_name`, and leave the
# control out.
#
# The open squares stand for the many heads *outside* the circuit at the same token, handed over
# together. If the gain is mainly the circuit's, the full mark stands well to the right of the
# square. At the last token it does, for the better versions: handed over without A and B, all the
# other heads there make {glue:text}`base_name` *worse*. For C the two are nearer. Three claims at
# the end of this chapter say it with intervals.
#
# *Caveat.* A value fetcher's output at the last token nearly gives the answer away. That base
# improves with the donor's A says little more than that the donor knew the answer and base can read
# it. And {glue:text}`n_prompts_far` prompts of few scenes decide little about D and the full
# circuit. We call a change clear only if its interval leaves out 0; the sign test over scenes asks
# for more, because it sees only in which scenes accuracy rose and in which it fell.
#
# ## How much is "primarily"?
#
# The paper attributes the gain *primarily* to a better handling of the position. How much of it is
# the circuit's? All heads at the last token are handed over at once, which brings
# {glue:text}`at_last_all`. Alone, the circuit's heads there (A and B) bring
# {glue:text}`at_last_inside` of that, and all the others {glue:text}`at_last_rest`. Shared out over
# their number, the gain is {glue:text}`at_last_each` for each head of A and B, and
# {glue:text}`at_last_each_other` for each of the others.

# %%
last = {
    v: found for v in better if (found := at_last(models[v], models[base], circuit, scenes=asked))
}
if last:
    show(tables.shares_at_last(last))

# %% tags=["hide-input"]
none = "not measured, for no version is better"
of_whole = {p: [f"{f.share(p).value:.0%} ({v})" for v, f in last.items()] for p in (INSIDE, REST)}
each = {p: [f"{f.per_head(p).value:+.4f} ({v})" for v, f in last.items()] for p in (INSIDE, REST)}
glue(
    at_last_all=listed((f"{f.gain(EVERY):+.2f} ({v})" for v, f in last.items()), none=none),
    at_last_inside=listed(of_whole[INSIDE], none=none),
    at_last_rest=listed(of_whole[REST], none=none),
    at_last_each=listed(each[INSIDE], none=none),
    at_last_each_other=listed(each[REST], none=none),
)

# %% [markdown]
# *Caveat.* These shares need not add up to 1. Where A and B and the others can bring the same gain,
# it counts for both when each part is handed over alone, and for neither when we ask what a part
# adds to the other. The mean of the two answers (Shapley's value) shares the gain out without a
# rest. A and B are {glue:text}`out_heads` of the heads; their share is then {glue:text}`out_share`.
#
# A share below 0 belongs to heads that make base *worse* when they are handed over without the
# rest. They may write for A and B of their own version, while base has its own A and B in place.
# The other part then has a share above 1.

# %% tags=["hide-input"]
out = {v: SharedOut(found) for v, found in last.items()}
if last:
    show(tables.shared_out(last), folded=True)
glue(
    out_heads=listed({f"{f.share_of_heads():.0%}" for f in out.values()}, none=none),
    out_share=listed((f"{f.share():.0%} ({v})" for v, f in out.items()), none=none),
)

# %% [markdown]
# This is about one token. Where in the *weights* the gain was made is asked below.
#
# ## Heads that are like the circuit's
#
# A group may bring more than random heads because of *where* it is, because fine-tuning changed its
# heads more, or because its heads act more strongly on what comes after. So each group gets three
# controls, each of as many heads outside the circuit at its token. The first are random heads of
# the *same layers* (the nearest ones, where a layer has too few left). The second are those whose
# *update* has the nearest norm, over all of a head's q, k, v and o. The third are those whose
# *effect*, in the search that found the group, has the nearest size. The circuit has the heads with
# the largest effects, so the third are the strongest that are left, and some of them act against
# the right answer. On the first {glue:text}`n_prompts_matched` prompts:

# %%
settings = CircuitSettings(
    n_pairs=n_pairs, seed=seed, discovery=DiscoveryConfig(structure_role=structure_role)
)
effects = find_circuit(models[base], settings).discovery.scores
like = {
    v: matched(
        models[v], models[base], circuit,
        effects=effects, scenes=asked[:n_matched], n_draws=n_random, seed=seed,
    )
    for v in better
}  # fmt: skip
like = {v: found for v, found in like.items() if found}
glue(n_prompts_matched=min(n_matched, n_scenes) * 7)

# %% tags=["hide-input"]
for chosen in ([focus], [v for v in like if v != focus]):
    if shown := {v: like[v] for v in chosen if v in like}:
        show(tables.matched(shown), folded=focus not in shown)

# %% [markdown]
# That a group brings more than each of its three controls: A
# *{glue:text}`verdict_improved_matched_A`*, B *{glue:text}`verdict_improved_matched_B`*, C
# *{glue:text}`verdict_improved_matched_C`*. The third column says how well a control is matched. In
# the rows *size of effect* its two numbers are far apart, because no heads with effects as large
# are left outside the circuit; this control is weaker than the group. A control in one respect says
# nothing about the others.
#
# ## What is repaired, what is broken
#
# A gain is what remains when the answers that a patch breaks are taken from those that it repairs.
# So we look only at prompts on which base was **wrong**, and ask what share each group repairs; and
# only at those on which it was **right**, and ask what share it breaks. A group that brings
# information repairs more than random heads do. One that does not work together with base's other
# heads breaks more.

# %%
# figure: fig-repaired
# caption: Of the wrong answers of {glue:text}`base_name`, the share that each group of a fine-tuned
#   version, or of the control, repairs (left); of its right ones, the share that it breaks (right).
#   Open grey circles: as many random heads; open grey squares: all other heads at this token.
#   Whiskers: 95 % intervals over scenes.
show(figures.repaired_and_broken(into_base | from_below))

# %% [markdown]
# A and B of the better versions repair more of base's wrong answers than all the other heads at
# this token do, and break fewer of its right ones.
#
# ## Whose heads: the donor's own circuit
#
# The paper patches the heads of the *donor's* circuit. We do this with {glue:text}`focus` as well.
# Its groups have more heads, yet each brings about as much as the group of base's circuit does.

# %%
theirs = {v: circuit_of(models[v], n_pairs=n_pairs_own, **search) for v in own_versions}
with_own = {
    v: cmap(models[v], models[base], theirs[v], scenes=asked, seed=seed) for v in own_versions
}

# %% tags=["hide-input"]
show(tables.own_circuits(into_base, with_own), folded=True)

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
show(tables.inputs(into_base[focus]), folded=True)

# %% tags=["hide-input"]
show(tables.published_inputs(), folded=True)

# %% [markdown]
# In A, the q and k of {glue:text}`focus` together bring nearly all that its outputs bring: its
# value fetchers look at a better place. In B, its v alone does: its transmitters find something
# else where they look.
#
# The q of A is where B's message arrives. A gain from q alone comes from a better message, or from
# how the donor's $W_Q$ reads it. A gain from q and k together that neither has alone may mean that
# fine-tuning changed both so that they match. k alone can hurt: base's queries were not made for
# it.
#
# ## The other direction: does the fine-tuned version lose what it gained?
#
# If a group carries the gain, base's copy of it, patched into the fine-tuned version, must take the
# gain away: most of the gap between the two must close. That base's A does this to the better
# versions: *{glue:text}`verdict_improved_reverse`*. The folded table has every group.

# %%
from_base = {
    v: cmap(models[base], models[v], circuit, scenes=asked, n_random=1, seed=seed) for v in tuned
}

# %% tags=["hide-input"]
show(tables.losses([*from_base.values()]))

# %% [markdown]
# A loss shows that the version *needs* its own group; it may also come from a message that the
# version reads differently by now. So where a group brings base little, and base's copy of it costs
# the version much, the gain does not sit in this group: the version needs its own copy for another
# reason.
#
# ## Does it match what the groups carry?
#
# Finding (ii) asks what a group *carries*: A the object, B and C the position. If a group hands
# over a gain because it does its job better, then within its own version it should carry its
# content better too. Scores are shares of {glue:text}`n_pairs_carried` pairs of prompts whose
# answer follows the source's object or position when the group is patched from it
# ({doc}`06_what_the_heads_carry`). Of {glue:text}`n_brings` groups that make base clearly better,
# {glue:text}`n_carries_more` clearly carry their content better too. These are groups A. No B or C
# that makes base better clearly carries the position better, so their gain has yet to be explained.

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
# using it? In the default family it does not do the task, and base, which does, learnt from
# look-ups for a few steps, without a box. If it had the machinery and only failed to start it, then
# *messages* of base should set it going: with base's queries (q) alone, its own value fetchers,
# reading its own keys and values, would find the object. Base's A as a whole would not show that:
# it names the object itself. Nor would a mere gain: a model below chance gains by naming any of the
# seven objects, which is right one time in seven. So we ask for more than that.

# %%
glue(below_name=listed(models[v].name for v in below))
both_ways = {
    (donor, receiver): handed(donor, receiver, inputs=receiver in below)
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
# The test is {glue:text}`below_name` with base's queries for A alone (*q of A* in the folded
# table). If its accuracy lies above guessing one of the objects, part of the mechanism was there,
# unused: *{glue:text}`verdict_improved_raw`*. The number stands among the claims below.
#
# ## Where in the weights
#
# An adapter changes the q, k, v and o matrices of every head. How much, relative to the weight? By
# {glue:text}`update_least` to {glue:text}`update_most` on average over all heads, by version and
# matrix. Some groups of the circuit changed a little more than the average head, others less, as
# the folded table shows. The control is left out here and in the next step: it differs from base by
# its own update and by base's, so that a norm, or a graft onto base, would be of two trainings at
# once.

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
# {glue:text}`graft_n_others` others alone {glue:text}`graft_others`. That the circuit's heads bring
# more than as many random ones: *{glue:text}`verdict_improved_weights`*. But the others bring a
# gain without them too, so the gain is not in the circuit's weights alone.

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
# The claims are about versions that are clearly better than base on these prompts:
# {glue:text}`better_list`. A version whose lead is not clear on so few is shown above and not
# judged, even where the larger sample of {doc}`01_task` finds it better. `boxes` was trained on the
# task itself, so what is found in it alone says nothing of training on something else. Guessing one
# of the objects is right in {glue:text}`chance:.2f` of prompts.

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
over_like = {x: {v: m for v, f in like.items() if (m := f.over_each(x))} for x in "ABC"}
taken = {v: (from_base[v].gain("A"), share) for v, share in shares(from_base, "A").items()}
fetched = into_below.over("q of A", chance) if into_below else None

# %% tags=["hide-input"]
divided = [
    claim("improved_share", {v: (f.share(INSIDE), f.over_rest()) for v, f in last.items()}),
    claim("improved_shared_out", {v: f.share() for v, f in out.items()}),
    claim("improved_per_head", {v: f.over_number() for v, f in out.items()}),
]

# %% tags=["hide-input"]
judge(
    claim("improved_values", gains("A")),
    claim("improved_positions", gains("B")),
    claim("improved_not_cd", either),
    claim("improved_full", shares(into_base, "full circuit"), n=min(n_far, n_scenes) * 7),
    claim("improved_specific", over_random),
    *(claim(f"improved_over_others_{x}", over_rest[x]) for x in "ABC"),
    *divided,
    *(claim(f"improved_matched_{x}", over_like[x]) for x in "ABC"),
    claim("improved_reverse", taken),
    claim("improved_weights", {focus: onto.over_random()}),
    claim("improved_raw", fetched),
    claim("improved_from_base", ahead),
    caption="Finding (iii): what improved? Gains and changes are shares of prompts.",
)

# %% [markdown]
# ## In three sentences
#
# Put into {glue:text}`base_name` on the same prompt, the value fetchers (A) of the better versions
# ({glue:text}`better_list`) make it better, *{glue:text}`verdict_improved_values`*, and so do their
# position transmitters (B), *{glue:text}`verdict_improved_positions`*; that position detectors (C)
# and structure readers (D) bring nothing: *{glue:text}`verdict_improved_not_cd`*. That A and B
# bring more than all the other heads at the same token: A
# *{glue:text}`verdict_improved_over_others_A`*, B *{glue:text}`verdict_improved_over_others_B`*;
# more than as many heads that are like them: A *{glue:text}`verdict_improved_matched_A`*, B
# *{glue:text}`verdict_improved_matched_B`*. On one prompt a head may help by spelling the answer,
# so this alone does not tell which part of the work got better.
#
# *Next:* {doc}`09_as_published` checks the paper's code, and {doc}`10_messages` asks the question
# again where no answer can leak.

# %% [markdown]
# ## Exercises
#
# Those with a function to write run on two small models of random weights, or on arrays of hits.
# The small models have the same shape, as two versions of a family have; what is practised is the
# method. `z_of` reads what all heads of a layer give, before `o_proj` mixes them.

# %% tags=["exercise-setup"]
import random

import numpy as np
import torch

from entrack.course.checks import check
from entrack.model.hooks import Trace
from entrack.versions.tiny import tiny_model, tiny_tokens

one, another = tiny_model(n_layers=3, seed=0), tiny_model(n_layers=3, seed=1)
asked_tokens = tiny_tokens(5, 8, seed=2)


def z_of(lm, tokens, layer):
    """Outputs of all heads of a layer [example pos head d_head]."""
    with Trace(lm.hf, lm.site(layer, "o_proj"), retain_input=True) as seen, torch.no_grad():
        lm.hf(tokens)
    return seen.input.unflatten(-1, (lm.n_heads, lm.d_head))


# %% tags=["exercise-setup"]
def logits_of(lm, tokens):
    """Logits [example pos token] of a model that nobody patches."""
    with torch.no_grad():
        return lm.hf(tokens).logits


def hits_of(*rows):
    """Hits [scene box] from rows of 0 and 1."""
    return np.array(rows, dtype=bool)


# %% [markdown]
# ::::{exercise} One head from another version
# :label: ex-improved-head
# :class: write
#
# Run the receiver with one head's output at one token taken from the donor, on the same prompts.
# What is handed over is z, and the receiver's own output matrix reads it.
#
# :::{admonition} Hint
# :class: dropdown
# Two runs, each with a `Trace` at the input of `o_proj`: one keeps it, one edits it.
# {doc}`02_hooks_and_patching` has the edit.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-improved-head"]
# Two slips give results that look better than the truth: handing over all heads of the layer, and
# handing over what leaves `o_proj`, which brings the donor's weights along. Ask which test a patch
# from a model into itself leaves out.

# %% [markdown]
# :::{solution-start} ex-improved-head
# :class: dropdown
# :::


# %% tags=["answer", "ex-improved-head"]
def with_head(donor, receiver, tokens, layer, head, position):
    """The receiver's logits when one head gives at one position what it gives in the donor.

    donor, receiver: models of one shape, with `hf`, `site`, `n_heads` and `d_head` as in the
    set-up. tokens: [example pos], read by both. What the receiver computes after the patched head
    is computed anew. Returns its logits [example pos token].
    """
    given = z_of(donor, tokens, layer)

    def put(x):
        cut_open = x.unflatten(-1, given.shape[2:]).clone()
        cut_open[:, position, head] = given[:, position, head]
        return cut_open.flatten(2)

    with Trace(receiver.hf, receiver.site(layer, "o_proj"), edit_input=put):
        return logits_of(receiver, tokens)


# %% [markdown]
# The patch from a model into itself shows that nothing else is touched, and is blind to a mistake
# about which head or which model: for that, the second check looks at what the receiver's `o_proj`
# makes of the donor's z.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-improved-head"]
with check("ex-improved-head", "from a model into itself, no logit changes by a bit"):
    patched = with_head(one, one, asked_tokens, 1, 2, 5)
    assert torch.equal(patched, logits_of(one, asked_tokens))

with check("ex-improved-head", "the receiver's own matrix reads the new z, and nothing else new"):
    site = another.site(1, "o_proj")
    mixed = z_of(another, asked_tokens, 1)
    mixed[:, 5, 2] = z_of(one, asked_tokens, 1)[:, 5, 2]
    with Trace(another.hf, site) as seen:
        with_head(one, another, asked_tokens, 1, 2, 5)
    written = another.hf.get_submodule(site)(mixed.flatten(2))
    assert torch.allclose(seen.output, written, atol=1e-5)

# %% tags=["check", "ex-improved-head"]
with check("ex-improved-head", "in the last layer it moves this token's logits and no others"):
    patched = with_head(one, another, asked_tokens, 2, 3, 6)
    moved = (patched - logits_of(another, asked_tokens)).abs().amax((0, 2)) > 0
    assert moved.tolist() == [False] * 6 + [True, False], f"{moved.nonzero()[:, 0].tolist()} moved"

# %% tags=["hidden-test", "ex-improved-head"]
with check("ex-improved-head", "later layers are computed anew, and both models stay as they were"):
    before = logits_of(one, asked_tokens), logits_of(another, asked_tokens)
    patched = with_head(one, another, asked_tokens, 0, 1, 2)
    assert ((patched - before[1]).abs().amax((0, 2)) > 0).tolist() == [False] * 2 + [True] * 6
    assert torch.equal(before[0], logits_of(one, asked_tokens))
    assert torch.equal(before[1], logits_of(another, asked_tokens))


# %% tags=["wrong-answer", "ex-improved-head"]
# slip: what leaves o_proj is handed over, with the donor's matrix and all its heads
def with_head(donor, receiver, tokens, layer, head, position):
    site = receiver.site(layer, "o_proj")
    with Trace(donor.hf, site) as given:
        logits_of(donor, tokens)

    def put(x):
        x[:, position] = given.output[:, position]
        return x

    with Trace(receiver.hf, site, edit_output=put):
        return logits_of(receiver, tokens)


# %% tags=["wrong-answer", "ex-improved-head"]
# slip: the head is handed over at every position
def with_head(donor, receiver, tokens, layer, head, position):
    given = z_of(donor, tokens, layer)

    def put(x):
        cut_open = x.unflatten(-1, given.shape[2:]).clone()
        cut_open[:, :, head] = given[:, :, head]
        return cut_open.flatten(2)

    with Trace(receiver.hf, receiver.site(layer, "o_proj"), edit_input=put):
        return logits_of(receiver, tokens)


# %% tags=["wrong-answer", "ex-improved-head"]
# slip: donor and receiver are swapped
def with_head(donor, receiver, tokens, layer, head, position):
    given = z_of(receiver, tokens, layer)

    def put(x):
        cut_open = x.unflatten(-1, given.shape[2:]).clone()
        cut_open[:, position, head] = given[:, position, head]
        return cut_open.flatten(2)

    with Trace(donor.hf, donor.site(layer, "o_proj"), edit_input=put):
        return logits_of(donor, tokens)


# %% [markdown]
# ::::{exercise} The share of the gap
# :label: ex-improved-share
# :class: write
#
# "The patch closes 80 % of the gap." Write the number behind such a sentence, from the hits of
# patched receiver, receiver and donor on the same prompts.
#
# :::{admonition} Hint
# :class: dropdown
# In many scenes there is no gap at all. What would a ratio be there?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-improved-share"]
# A mean of ratios leaves out the scenes without a gap, in which the patch may have broken
# something, and gives a scene with a gap of one prompt the weight of one with seven. Ask also what
# a share above 1, or below 0, says; it is not to be cut off.

# %% [markdown]
# :::{solution-start} ex-improved-share
# :class: dropdown
# :::


# %% tags=["answer", "ex-improved-share"]
def closed(patched, own, donor):
    """Share of the gap from the receiver's accuracy to the donor's that a patch closes.

    patched, own, donor: bool arrays [scene box] of hits on the same prompts: of the patched
    receiver, of the receiver alone, of the donor alone. All prompts count. Returns a float: 0 for
    no change, 1 for the donor's accuracy, below 0 for a patch that harms; nan where the two
    accuracies are the same.
    """
    gap = donor.mean() - own.mean()
    return float((patched.mean() - own.mean()) / gap) if gap else float("nan")


# %% [markdown]
# One ratio of two differences of accuracies. All three come from the same prompts, so what is hard
# about these prompts stands above and below the bar. The interval has to keep that, as the next
# exercise shows.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-improved-share"]
with check("ex-improved-share", "3 of 8 right alone, 5 patched, 7 in the donor: half of the gap"):
    own = hits_of([1, 1, 0, 0], [1, 0, 0, 0])
    patched, donor = hits_of([1, 1, 1, 0], [1, 1, 0, 0]), hits_of([1, 1, 1, 1], [1, 1, 1, 0])
    assert closed(patched, own, donor) == 0.5

with check("ex-improved-share", "what a patch breaks where there is no gap counts against it"):
    own, donor = hits_of([1, 1, 0, 0], [1, 1, 1, 1]), hits_of([1, 1, 1, 1], [1, 1, 1, 1])
    patched = hits_of([1, 1, 1, 1], [1, 1, 0, 1])
    assert closed(patched, own, donor) == 0.5

# %% tags=["check", "ex-improved-share"]
with check("ex-improved-share", "the receiver alone closes nothing, the donor all of it"):
    own, donor = hits_of([1, 0, 0, 1], [0, 1, 0, 0]), hits_of([0, 1, 1, 1], [1, 1, 0, 0])
    assert closed(own, own, donor) == 0 and closed(donor, own, donor) == 1

# %% tags=["hidden-test", "ex-improved-share"]
with check("ex-improved-share", "harm is below zero, more than the donor above 1, no gap is nan"):
    own, donor = hits_of([1, 0, 0, 1]), hits_of([1, 1, 0, 1])
    assert closed(hits_of([0, 0, 0, 1]), own, donor) == -1
    assert closed(hits_of([1, 1, 1, 1]), own, donor) == 2
    assert np.isnan(closed(donor, own, hits_of([0, 0, 1, 1])))


# %% tags=["wrong-answer", "ex-improved-share"]
# slip: the mean of the scenes' ratios, where there is a gap
def closed(patched, own, donor):
    gap = donor.mean(1) - own.mean(1)
    ratios = (patched.mean(1) - own.mean(1))[gap != 0] / gap[gap != 0]
    return float(ratios.mean())


# %% tags=["wrong-answer", "ex-improved-share"]
# slip: the gap to a perfect model in place of the donor
def closed(patched, own, donor):
    return float((patched.mean() - own.mean()) / (1 - own.mean()))


# %% tags=["wrong-answer", "ex-improved-share"]
# slip: the share of prompts repaired, of those that the donor alone has right
def closed(patched, own, donor):
    return float(patched[donor & ~own].mean())


# %% [markdown]
# ::::{exercise} Draw scenes, not prompts
# :label: ex-improved-bootstrap
# :class: write
#
# A ratio has no simple interval. Draw the scenes again and again with replacement, compute the
# statistic each time, and see how far it spreads: the *bootstrap*. (This chapter uses a formula in
# its place, which covers better where scenes are few.)
#
# :::{admonition} Hint
# :class: dropdown
# What is drawn is a row of scene numbers. `np.quantile` does the rest.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-improved-bootstrap"]
# Two slips, one of each sign. Drawing prompts makes the interval too narrow, since prompts of a
# scene are alike. Drawing for each array anew makes it too wide, since what pairs them is lost. Let
# students guess the sign of each before they try.

# %% [markdown]
# :::{solution-start} ex-improved-bootstrap
# :class: dropdown
# :::


# %% tags=["answer", "ex-improved-bootstrap"]
def bootstrap(statistic, arrays, n, seed):
    """The 95 % interval of a statistic, from scenes that are drawn with replacement.

    arrays: one array or more [scene box], of the same scenes in the same order. statistic: a
    function of such arrays, in this order, that gives a number. n times, as many scenes are drawn
    as there are; a scene comes whole, and the same scenes are drawn for all arrays. seed: of
    `np.random.default_rng`. Returns the 2.5 % and the 97.5 % quantile of the n numbers.
    """
    rng, n_scenes = np.random.default_rng(seed), len(arrays[0])
    drawn = (rng.integers(n_scenes, size=n_scenes) for _ in range(n))
    values = [statistic(*(array[scenes] for array in arrays)) for scenes in drawn]
    low, high = np.quantile(values, (0.025, 0.975))
    return low, high


# %% [markdown]
# Whatever is common to the prompts of a scene, and to the arrays, is drawn together and stays
# common. So nothing has to be assumed about it, and any statistic will do.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-improved-bootstrap"]
with check("ex-improved-bootstrap", "of 40 scenes, half of them right, it goes from 0.35 to 0.65"):
    hits = np.arange(40)[:, None] % 2 == np.zeros((40, 7))
    low, high = bootstrap(np.mean, [hits], 2000, 0)
    assert abs(low - 0.35) < 0.03 and abs(high - 0.65) < 0.03, f"{low:.2f} to {high:.2f}"

with check("ex-improved-bootstrap", "an array and itself differ by exactly nothing in every draw"):
    hits = np.random.default_rng(1).random((20, 7)) < 0.6
    low, high = bootstrap(lambda a, b: a.mean() - b.mean(), [hits, hits], 200, 0)
    assert low == high == 0

# %% tags=["hidden-test", "ex-improved-bootstrap"]
with check("ex-improved-bootstrap", "the ends leave out a fortieth on either side, seed by seed"):
    values = np.random.default_rng(2).normal(size=(200, 1))
    low, high = bootstrap(np.mean, [values], 4000, 3)
    half = 1.96 * values.std() / 200**0.5
    assert abs(low - values.mean() + half) < 0.02 and abs(high - values.mean() - half) < 0.02
    assert (low, high) == tuple(bootstrap(np.mean, [values], 4000, 3))


# %% tags=["wrong-answer", "ex-improved-bootstrap"]
# slip: scenes ignored, prompts are drawn
def bootstrap(statistic, arrays, n, seed):
    rng, flat = np.random.default_rng(seed), [array.ravel() for array in arrays]
    drawn = (rng.integers(len(flat[0]), size=len(flat[0])) for _ in range(n))
    values = [statistic(*(array[prompts] for array in flat)) for prompts in drawn]
    return tuple(np.quantile(values, (0.025, 0.975)))


# %% tags=["wrong-answer", "ex-improved-bootstrap"]
# slip: every array draws scenes of its own
def bootstrap(statistic, arrays, n, seed):
    rng, n_scenes = np.random.default_rng(seed), len(arrays[0])
    values = [
        statistic(*(array[rng.integers(n_scenes, size=n_scenes)] for array in arrays))
        for _ in range(n)
    ]
    return tuple(np.quantile(values, (0.025, 0.975)))


# %% tags=["wrong-answer", "ex-improved-bootstrap"]
# slip: scenes are drawn without replacement, which only shuffles them
def bootstrap(statistic, arrays, n, seed):
    rng, n_scenes = np.random.default_rng(seed), len(arrays[0])
    drawn = (rng.permutation(n_scenes) for _ in range(n))
    values = [statistic(*(array[scenes] for array in arrays)) for scenes in drawn]
    return tuple(np.quantile(values, (0.025, 0.975)))


# %% [markdown]
# ::::{exercise} Random heads that could have been the group
# :label: ex-improved-random
# :class: write
#
# The random groups of this chapter (open circles) have as many heads as the group. Write the
# stricter control: as many in every layer, so that it acts where the group does. Where a layer has
# too few, yours refuses; the chapter takes the nearest layer.
#
# :::{admonition} Hint
# :class: dropdown
# From which heads may a control be drawn, and from which not?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-improved-random"]
# A control drawn from all heads contains some of the circuit, the more so the larger the circuit
# is, and then the group seems to do little more than chance. Ask what matching the layers adds: a
# head of the last layer acts on the answer alone, one of an early layer on everything.

# %% [markdown]
# :::{solution-start} ex-improved-random
# :class: dropdown
# :::


# %% tags=["answer", "ex-improved-random"]
def random_control(group, circuit, n_heads, seed):
    """Random heads to compare a group with: as many of each layer, none of the circuit.

    group: list of (layer, head), none twice. circuit: set of (layer, head), all heads of any group
    that acts at the same token; the group is part of it. n_heads: in each layer, numbered from 0.
    seed: of `random.Random`. Returns a sorted list of (layer, head), none twice. Raises ValueError
    where a layer has too few heads outside the circuit.
    """
    rng, drawn, layers = random.Random(seed), [], [layer for layer, _ in group]
    for layer in sorted(set(layers)):
        outside = [(layer, h) for h in range(n_heads) if (layer, h) not in circuit]
        if len(outside) < layers.count(layer):
            raise ValueError(f"{len(outside)} heads outside the circuit in layer {layer}")
        drawn += rng.sample(outside, layers.count(layer))
    return sorted(drawn)


# %% [markdown]
# What a control has in common with the group cannot explain the group's effect: here the number of
# heads, their layers and the token. The rest, that these are the circuit's heads, can. Where a
# layer has too few others the control must fail, and not fall back on something weaker.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-improved-random"]
with check("ex-improved-random", "no head of the control is in the circuit, for any seed"):
    group = [(3, 1), (3, 4), (5, 0)]
    circuit = {*group, (3, 0), (5, 2), (5, 3), (7, 1)}
    for seed in range(30):
        assert not circuit & set(random_control(group, circuit, 8, seed)), f"seed {seed}"

with check("ex-improved-random", "each layer has as many heads as in the group, and none is twice"):
    group = [(3, 1), (3, 4), (3, 6), (5, 0)]
    for seed in range(30):
        drawn = random_control(group, {*group, (5, 1)}, 8, seed)
        assert [layer for layer, _ in drawn] == [3, 3, 3, 5], f"seed {seed}: {drawn}"
        assert len(set(drawn)) == 4, f"seed {seed}: {drawn}"

# %% tags=["hidden-test", "ex-improved-random"]
with check("ex-improved-random", "any outside head can be drawn, and a seed repeats its draw"):
    group = [(2, 0), (2, 1)]
    every = [random_control(group, set(group), 6, seed) for seed in range(60)]
    assert {head for drawn in every for head in drawn} == {(2, h) for h in range(2, 6)}
    assert every[7] == random_control(group, set(group), 6, 7)

with check("ex-improved-random", "a layer with too few others is refused"):
    refused = False
    try:
        random_control([(0, 0), (0, 1)], {(0, 0), (0, 1), (0, 2)}, 4, 0)
    except ValueError:
        refused = True
    assert refused


# %% tags=["wrong-answer", "ex-improved-random"]
# slip: the control is drawn from all heads, the circuit's among them
def random_control(group, circuit, n_heads, seed):
    rng, layers = random.Random(seed), [layer for layer, _ in group]
    drawn = []
    for layer in sorted(set(layers)):
        drawn += [(layer, h) for h in rng.sample(range(n_heads), layers.count(layer))]
    return sorted(drawn)


# %% tags=["wrong-answer", "ex-improved-random"]
# slip: layers are not matched
def random_control(group, circuit, n_heads, seed):
    depth = 1 + max(layer for layer, _ in circuit)
    every = [(layer, h) for layer in range(depth) for h in range(n_heads)]
    outside = [head for head in every if head not in circuit]
    return sorted(random.Random(seed).sample(outside, len(group)))


# %% tags=["wrong-answer", "ex-improved-random"]
# slip: one draw for each head of the group, so that a head can come twice
def random_control(group, circuit, n_heads, seed):
    rng = random.Random(seed)
    drawn = []
    for layer, _ in group:
        outside = [h for h in range(n_heads) if (layer, h) not in circuit]
        drawn.append((layer, rng.choice(outside)))
    return sorted(drawn)


# %% [markdown]
# :::{exercise} The weak link
# :label: ex-improved-link
#
# "With a better version's value fetchers, base does the task as well as that version. As many
# random heads bring nothing. So base's own value fetchers were the weak link." What else explains
# both results, and which results of this chapter could tell?
# :::
#
# :::{solution} ex-improved-link
# :class: dropdown
#
# What A gives at the last token nearly gives the answer away. Whatever made the donor right, in
# whichever heads, has passed through A by then; random heads do not hold it, so they control for
# something else. If base's fetchers themselves were weak, they would stay weak with good inputs:
# then the donor's q, k and v in base's A would bring less than its outputs do. And the donor's
# *weights* in A alone, among base's other heads, would bring the gain. If instead the donor's q of
# A suffices, the gain lay before A, or in how its queries read what comes from there.
# :::

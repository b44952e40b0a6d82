# %% [markdown]
# # The same circuit in every version
#
# Two models can give the same answer in two different ways, and a fine-tuned model is another
# model. If it still answers with the heads of its base, then training has changed how well these
# heads work, and not which heads do it.
#
# **Does fine-tuning build a new {term}`circuit`, or use the one that was there?** We run the
# circuit found in {glue:text}`base_name` alone, every other head {term}`mean-ablated <mean
# ablation>`, in every version of the family. Its {term}`faithfulness` is
# {glue:text}`faithfulness_list`. Of its {glue:text}`circuit_size` heads, the circuits searched in
# the versions themselves contain {glue:text}`shared_list`.
#
# This is the paper's finding (i) {cite:p}`prakash2024finetuning`, with additions: every circuit
# pruned at the same threshold, random circuits drawn without replacement and within layers, all
# heads compared and not only those kept, {term}`completeness` with a greedy search, the
# {term}`value fetchers <value fetcher>` (A) of all circuits taken out together, a fifth group of
# heads, and intervals throughout. *Objectives:* tell faithfulness from accuracy; judge an overlap
# against chance; read what a circuit leaves out. *Time:* 30 minutes. *Before it:*
# {doc}`03_circuit`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # a family in models/
base: str = ""  # the version whose circuit is run in all; empty: the reference of the family
own: str = ""  # versions whose own circuit is searched, by spaces; empty: all from the base
others: str = ""  # versions compared with base, by spaces; empty: those made from it
n_pairs: int = 70  # clean and corrupt pairs for path patching in base [7, 700]
n_pairs_own: int = 28  # the same in the other versions [7, 700]
n_means: int = 112  # prompts behind the ablating means [14, 2000]
n_evaluation: int = 1540  # prompts on which circuits are scored [14, 5000]
n_complete: int = 504  # prompts for completeness, at most n_evaluation [14, 5000]
n_choosing: int = 98  # of these, so many of the first choose in the greedy search [14, 5000]
structure_role: str = ""  # empty: as in its file {, after_prev_query_label, prev_query_label}
n_support: int = 28  # prompts on which further tokens are chosen [7, 1000]
n_judged: int = 280  # prompts on which they are judged, at most n_evaluation [14, 5000]
n_random: int = 4  # random circuits per version, of either kind [1, 1000]
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from dataclasses import replace

from entrack.circuit.completeness import measure_completeness
from entrack.circuit.discovery import DiscoveryConfig, discover
from entrack.circuit.faithfulness import grow, measure_faithfulness
from entrack.circuit.overlap import likeness, overlaps, rank_correlation
from entrack.circuit.search import CircuitSettings, ablation_means, find_circuit
from entrack.display.cells import glue, judge, listed, show
from entrack.figures import same_circuit as figures
from entrack.heads import fifth_group
from entrack.heads.bounds import ALL_CIRCUITS, measure_bounded, without_fetchers
from entrack.heads.segment_looks import segment_looks
from entrack.heads.token_support import PLACES, token_support
from entrack.heads.wide_circuit import measure_wide
from entrack.paper.claims import claim

# %% tags=["hide-input"]
from entrack.sites import GROUPS, all_heads
from entrack.stats.metrics import difference
from entrack.stats.rules import WORKS
from entrack.tables import circuit as circuit_tables
from entrack.tables import same_circuit as tables
from entrack.task.draws import examples, pairs
from entrack.task.prompts import encode, encode_pairs
from entrack.versions import families
from entrack.versions.loading import load

# %%
base = base or families.reference(family)
asked = own.split() or (families.focus(family), *families.tuned_from(family, base))
searched = [version for version in dict.fromkeys(asked) if version != base]
settings = CircuitSettings(
    n_pairs=n_pairs,
    n_means=n_means,
    seed=seed,
    discovery=DiscoveryConfig(structure_role=structure_role or families.structure_role(family)),
)
settings_own = replace(settings, n_pairs=n_pairs_own)

# %% [markdown]
# Compared are the versions that were made from {glue:text}`base_short`. The model that
# {glue:text}`base_short` was made from does not do the task, so there is nothing to be faithful to.

# %%
compared = [base, *(others.split() or families.tuned_from(family, base))]
models = {v: load(f"{family}/{v}") for v in dict.fromkeys([*compared, *searched])}
found = {base: find_circuit(models[base], settings)}
found |= {version: find_circuit(models[version], settings_own) for version in searched}
circuit = found[base].circuit
held_out = encode(models[base].tokenizer, examples(n_evaluation, split="evaluation", seed=seed))

# %% tags=["hide-input"]
glue(
    base_name=models[base].name,
    base_short=base,
    circuit_size=circuit.size,
    n_evaluation_used=len(held_out),
)

# %% [markdown]
# ## On one prompt
#
# The first of the prompts, read by {glue:text}`base_short` and by {glue:text}`one_version`:
#
# > {glue:text}`one_text`
#
# Each version answers it twice, as it is and by the heads of the circuit alone.

# %%
from entrack.heads import one_prompt
from entrack.tables.patching import one_prompt as table_of_one

one = one_prompt.ask(held_out)
ways = {}
for name in (base, *searched[:1]):
    means = ablation_means(models[name], settings)
    ways[name] = one_prompt.alone(models[name], one)
    ways[f"{name}, circuit alone"] = one_prompt.circuit_alone(
        models[name], one, circuit=circuit, means=means
    )
show(table_of_one(one, ways, caption="What one prompt is answered, by probability."), folded=True)

# %% tags=["hide-input"]
*_, last_whole, last_alone = ways.values()
glue(
    one_text=one.prompt.texts[0],
    one_version=next(iter(searched), base),
    one_right=next(iter(one.words)),
    one_base=float(ways[base][0]),
    one_base_alone=float(ways[f"{base}, circuit alone"][0]),
    one_last=float(last_whole[0]),
    one_last_alone=float(last_alone[0]),
)

# %% [markdown]
# In {glue:text}`base_short` the right object, *{glue:text}`one_right`*, has a probability of
# {glue:text}`one_base:.3f`, and by the circuit alone {glue:text}`one_base_alone:.3f`. In
# {glue:text}`one_version` it has {glue:text}`one_last:.3f`, and by the same heads alone
# {glue:text}`one_last_alone:.3f`. On many prompts we only count whether the likeliest word is the
# right one.
#
# ## Faithfulness
#
# The circuit of {glue:text}`base_short` runs alone in each version, with that version's own means.
# Faithfulness is the accuracy of the circuit over the accuracy of the whole version, on the same
# {glue:text}`n_evaluation_used` prompts, not rounded before the division.
#
# Faithfulness falls where the whole version improves more than the circuit does; the circuit's own
# accuracy may rise all the same. So both stand in the table.

# %%
circuits = [search.circuit for search in found.values()]
sizes = {"circuits": circuits, "n_random": n_random}
bounded = {
    name: measure_bounded(model, held_out, means=ablation_means(model, settings), **sizes)
    for name, model in models.items()
}
scores = {name: found_there.scores for name, found_there in bounded.items()}

# %% tags=["hide-input"]
show(tables.faithfulness(scores))
show(tables.gaps(scores, base=base), folded=True)

# %% tags=["hide-input"]
shares = {name: s.faithfulness() for name, s in scores.items() if s.full.any()}
told = listed((f"{e.value:.2f} in {name}" for name, e in shares.items()), none="undefined")
glue(faithfulness_list=told)
show(tables.published_table1(), folded=True)

# %% [markdown]
# Chance is one in seven; a model or circuit that says something else than an object of the scene
# scores below it.
#
# Read the column *circuit* downwards. In `instruct`, `math` and `code` the heads of
# {glue:text}`base_short` alone are right about as often as in {glue:text}`base_short` itself, and
# only in `boxes` more often. So the low faithfulness of `code` does not come from heads that work
# worse: what `code` gained is not in these heads alone. The folded table of differences compares
# them prompt by prompt; its p-value is that of no difference between circuit and version (exact,
# paired).
#
# The paper's abstract says more: the circuit of Llama, alone in the fine-tuned models, does better
# than the *whole* Llama. That asks for two things at once, that the heads work better in the
# version, and that the circuit lacks little. Here the circuit lacks much already in
# {glue:text}`base_short`, where in Llama nothing was missing. So that it does better than the whole
# {glue:text}`base_short`: *{glue:text}`verdict_circuit_over_base`*.
#
# ## Every circuit in every version
#
# Fine-tuned versions may use heads that the circuit of {glue:text}`base_short` lacks, so we search
# their own. Where a version's own circuit is clearly less accurate in it than the circuit of
# {glue:text}`base_short`, the search did not find what makes the version better, and their overlap
# tells us little.

# %%
# figure: fig-cross
# caption: Accuracy of every circuit alone (rows) in every version (columns), same prompts; in
#   brackets the number of heads. Last row: the whole version.
show(figures.cross_grid(scores, owners=list(found)))

# %% [markdown]
# In `code`, `instruct` and `boxes` a version's own circuit is more accurate in it than that of
# {glue:text}`base_short`; in `math` it is a little less accurate.
#
# Two more numbers say what there was to find. The *ceiling*: all heads at the same tokens, no head
# elsewhere. Where the whole version lies far above it, what is missing is not at these tokens, and
# no search among their heads finds it. The *floor*: random heads, as many in each layer and group
# as the circuit has. A circuit that is no better than those tells of layers, not of heads.

# %%
show(tables.bounds(bounded, owners=list(found)), folded=True)
show(tables.own_circuits(scores, owners=list(found)), folded=True)

# %% tags=["hide-input"]
glue(
    ceiling_list=listed(f"{b.ceiling_accuracy().value:.2f} in {v}" for v, b in bounded.items()),
    floor_list=listed(f"{b.floor_accuracy().value:.2f} in {v}" for v, b in bounded.items()),
)

# %% [markdown]
# All heads at these tokens alone have an accuracy of {glue:text}`ceiling_list`; random heads of the
# circuit's layers {glue:text}`floor_list`. This ceiling is no upper limit: heads that are added can
# disturb, and in `math` the circuit of {glue:text}`base_short` does better than all heads. Every
# version as a whole lies well above its ceiling. So in all of them a part of the work is done at
# other tokens.

# %% tags=["hide-input"]
show(tables.published_cross(), folded=True)

# %% [markdown]
# ## Overlap
#
# Two circuits share some heads by chance. The circuit's groups are compared one by one: value
# fetchers (A), {term}`position transmitters <position transmitter>` (B), {term}`position detectors
# <position detector>` (C) and {term}`structure readers <structure reader>` (D). The hypergeometric
# p-value says how likely at least this overlap would be if the second group were drawn at random; a
# group with no head kept cannot overlap. The rank correlation compares the path-patching scores of
# all heads, kept or not. All circuits are pruned at the same threshold.

# %%
n_heads = models[base].n_layers * models[base].n_heads
counts = {v: overlaps(circuit, found[v].circuit, n_heads=n_heads) for v in searched}
maps = {v: (found[base].discovery, found[v].discovery) for v in searched}
correlations = {
    v: {group: rank_correlation(*maps[v], group=group) for group in GROUPS} for v in searched
}

# %% tags=["hide-input"]
show(tables.overlap(counts, correlations, base=base))

# %% tags=["hide-input"]
sizes = {version: found[version].circuit.size for version in searched}
shared = {version: sum(o.shared for o in counts[version]) for version in searched}
told = (f"{shared[version]} ({version}, {sizes[version]} heads)" for version in searched)
glue(shared_list=listed(told, none="none, for none was searched"))
told = circuit_tables.heads_by_name({v: found[v].circuit for v in searched})
glue(own_heads=told or "none was searched")
show(tables.published_overlap(), folded=True)

# %% [markdown]
# That each group of each version shares more heads with {glue:text}`base_short` than chance would
# give, *{glue:text}`verdict_overlap`*. The rank correlations, over all heads, are lowest in B, C
# and D of `boxes`. The released Goat and FLoat circuits match a threshold of 0 %, Llama's one of
# 1 %.
#
# The heads of the circuits searched in the versions themselves are {glue:text}`own_heads`.
#
# ## Head by head
#
# Which heads pass a threshold is partly luck, so we also compare what no threshold has cut: the
# effects of all heads, as path patching scores them. Two searches in one model do not agree fully
# either. So a second search in {glue:text}`base_short`, on other prompts, is the
# {term}`ceiling`: no other model can be more like it than it is itself. And since heads of one kind
# sit in certain layers in any model, chance is effects shuffled among the heads of each layer.

# %%
OTHER_PROMPTS = "other prompts"


def effects_in(version: str, at_seed: int):
    """Effects of all heads of a version, on pairs of one seed."""
    drawn = pairs(n_pairs_own, split="discovery", seed=at_seed)
    clean, corrupt = encode_pairs(models[version].tokenizer, drawn)
    return discover(models[version], clean, corrupt=corrupt, config=settings.discovery)


# %%
tuned = [v for v in models if v != base]
effects = {OTHER_PROMPTS: effects_in(base, seed + 1)} | {v: effects_in(v, seed) for v in tuned}
alike = {
    v: {group: likeness(found[base].discovery, one, group=group, seed=seed) for group in GROUPS}
    for v, one in effects.items()
}
show(tables.shares_of_ceiling(alike, ceiling=OTHER_PROMPTS), folded=True)

# %% tags=["hide-input"]
show(tables.likeness(alike, ceiling=OTHER_PROMPTS))

# %% [markdown]
# By value, the effects of A and B in every version are nearly as like those in
# {glue:text}`base_short` as a second search in {glue:text}`base_short` finds them, those of A with
# the narrower intervals. In C the intervals are too wide to say so. In D the effects in `boxes`
# show no likeness to those in {glue:text}`base_short`; in the other versions they do. That the
# effects are the same in all of them: *{glue:text}`verdict_same_heads`*.
#
# *Caveat.* The {term}`receivers <receiver>` of B, C and D are the heads found one stage before, so
# what differs in A passes on. {doc}`12_lineages` asks the same of models that were not made from
# {glue:text}`base_short`.
#
# ## Minimality
#
# Is each head needed? For each head, the paper takes away a set K of its rivals, those that most
# make up for its absence, and asks what the head then adds (*{term}`minimality`*). Heads that add
# less than 1 % go.

# %%
# figure: fig-minimality
# caption: Minimality score of every candidate head: relative gain in accuracy from the head when
#   its rivals K are gone. Bars above 1 are cut. Grey: dropped. Dotted: the threshold of 1 %.
show(figures.minimality_bars(found[base].minimality))

# %% [markdown]
# A plain alternative: leave out this head alone, and keep it if the answer's log probability
# falls, the 95 % interval excluding zero.

# %%
show(tables.minimality(found[base].minimality), folded=True)
n_pruning = len(found[base].minimality.whole)
glue(n_minimality=n_pruning, resolution=1 / n_pruning)

# %% [markdown]
# With {glue:text}`n_minimality` prompts, one prompt is worth {glue:text}`resolution:.3f` of
# accuracy, so whether a head passes 1 % can depend on a single prompt. The table calls a head
# *clear* if its cost, with its rivals gone, has an interval above zero; {doc}`chapter 3
# <03_circuit>` shows what the others do together. The plain alternative comes with an interval too,
# but it misses a head whose rivals stand in for it.
#
# ## Completeness
#
# A circuit that holds all that matters is *complete*: taking heads K away hurts it as much as the
# model. The *gap* is the accuracy of the circuit without K minus that of the model without K. Below
# the diagonal, the model has something to fall back on that the circuit lacks.

# %%
to_complete = held_out.subset(range(min(n_complete, len(held_out))))
complete_in = {
    v: measure_completeness(
        models[v],
        to_complete,
        circuit=search.circuit,
        means=ablation_means(models[v], settings),
        n_random=4 if v == base else 2,
        n_greedy=3 if v == base else 0,
        n_choosing=n_choosing,
        seed=seed,
    )
    for v, search in found.items()
    if search.circuit.size or v == base
}

# %%
# figure: fig-completeness
# caption: Accuracy of the circuit without K against that of the model without K, for K a whole
#   group (letters), a random half of the circuit, or grown greedily to open the gap. Dashed: a
#   complete circuit.
complete = complete_in[base]
show(figures.completeness_scatter(complete))

# %% tags=["hide-input"]
widest_group, widest_gap = complete.widest("group")
glue(
    widest_group=widest_group,
    widest_gap=f"{widest_gap:+.2f}",
    greedy_gap=f"{complete.widest('greedy')[1]:+.2f}",
    random_gap=complete.mean_gap("random"),
    n_complete_used=len(to_complete),
    n_choosing=min(n_choosing, len(to_complete)),
)
show(tables.completeness(complete))

# %% [markdown]
# Without one of its groups, the widest gap is {glue:text}`widest_gap` ({glue:text}`widest_group`);
# over random halves the absolute gap averages {glue:text}`random_gap:.2f`. The greedy search, which
# the released code does not have, opens one of {glue:text}`greedy_gap`. It chose its heads on the
# first {glue:text}`n_choosing` of the {glue:text}`n_complete_used` prompts, so this gap is a little
# too wide.
#
# The circuits searched in other versions are asked the same, without the greedy search. A gap is
# read beside that of {glue:text}`base_short`: where it is as wide, training has not changed how
# much a circuit leaves out.

# %% tags=["hide-input"]
show(circuit_tables.own_completeness(complete_in), folded=True)

# %% [markdown]
# A circuit without its value fetchers (A) answers next to nothing. So the gap without A is what the
# version itself has left when these heads are gone. `base` and `math` have nothing left, and
# `instruct` little. `code` and `boxes` go on: other heads then fetch the object, which no circuit
# run alone can show. These may be heads that stand in, or value fetchers that the searches in these
# versions missed, for they had fewer pairs than that in `base`. ({doc}`A2_own_circuits` searches in
# one of them again, with more, and judges every head of these circuits on other prompts.)
#
# ## Who stands in?
#
# Each search may have missed some value fetchers. What one missed, another may have found. So the
# same heads are taken out of every version: the value fetchers of all circuits together. Beside
# them stand as many heads drawn from their layers.

# %%
circuits_of = {v: search.circuit for v, search in found.items()}
without = {
    v: without_fetchers(
        models[v],
        to_complete,
        circuits=circuits_of,
        apart=(base, v),
        means=ablation_means(models[v], settings),
        n_random=2,
    )
    for v in models
}

# %% tags=["hide-input"]
show(circuit_tables.without_fetchers(without, base=base))
gone = {v: one.hits[ALL_CIRCUITS] for v, one in without.items()}
stand_ins = {v: difference(gone[v], gone[base]) for v in models if v != base}
known = {v: f"{one.accuracy(base)}" for v, one in without.items()}
glue(
    code_without=known.get("code", "not run here"),
    boxes_without=known.get("boxes", "not run here"),
    n_fetchers=without[base].n_heads[ALL_CIRCUITS],
    gone_list=listed(f"{one.accuracy(ALL_CIRCUITS)} in {v}" for v, one in without.items()),
)

# %% [markdown]
# Without these {glue:text}`n_fetchers` heads the accuracy is {glue:text}`gone_list`. That the
# fine-tuned versions have more left than `base`: *{glue:text}`verdict_stand_ins`*. Random heads of
# the same layers leave most of it. So no other heads stand in, and the searches had missed some.
# The table also says which. Without the value fetchers of {glue:text}`base_short` alone, the
# accuracy of `code` is {glue:text}`code_without`, that of `boxes` {glue:text}`boxes_without`. What
# these versions have gained still passes through the heads that fetched the object before.
#
# *Caveat.* A head that is found by no search is not looked at here. And where many heads of a layer
# are taken away at once, the rest reads a stream that it has never seen; the random heads are the
# measure of that.
#
# ## Where the rest is
#
# A circuit can fall short in its groups or in its tokens. Here one group at a time gets *all* heads
# at its token, and the others stay as they are. If the accuracy rises, that group was left too
# small. With all heads for all groups, what is still missing lies at other tokens.

# %%
grown = grow(circuit, models[base])
rest = measure_faithfulness(
    models[base],
    held_out,
    circuits=list(grown.values()),
    means=ablation_means(models[base], settings),
)

# %% tags=["hide-input"]
glue(
    rest_all=f"{difference(rest.hits[-1], rest.hits[0]):+.2f}",
    rest_whole=f"{difference(rest.full, rest.hits[0]):+.2f}",
)
show(tables.grown(rest, list(grown)), folded=True)

# %% [markdown]
# Only all heads for the position detectors (C) bring clearly more, and less than is missing. All
# heads for all groups bring {glue:text}`rest_all`, and the whole model {glue:text}`rest_whole`. So
# most of what the circuit lacks lies at other tokens.
#
# ## Where, before who
#
# The question of {doc}`03_circuit`, at which tokens heads must be alive, is now asked in every
# version, and without the paper's groups in mind. We begin with the last token alone. The kind of
# token that helps most is added, with all its heads, then the next, until the accuracy is near that
# of the whole version or nothing more is gained. Kinds of tokens are chosen on
# {glue:text}`n_support_used` prompts and judged on {glue:text}`n_judged_used` others.

# %%
choosing = encode(models[base].tokenizer, examples(n_support, split="pruning", seed=seed))
judging = held_out.subset(range(min(n_judged, len(held_out))))
supports = {
    name: token_support(model, choosing, judging, means=ablation_means(model, settings))
    for name, model in models.items()
}
show(circuit_tables.support(supports), folded=True)
glue(n_support_used=n_support, n_judged_used=len(judging))

# %% [markdown]
# In every version tokens of *all* boxes are chosen: it does not only read the segment that is asked
# for. It needs heads alive in the other segments too, and a circuit of three tokens cannot have
# them. Even with all heads at all chosen tokens a version stays below its accuracy as a whole, by
# least in `code`. *Caveat.* The search is greedy: two kinds of tokens that help only together are
# not found.
#
# ## A fifth group
#
# So the circuit gets a fifth group, *E*: heads at the chosen tokens where none of the four groups
# acts, all of these tokens alike. To rank them, each head there gets a dial from 0, its mean, to 1,
# its own output, and all dials are turned up together. What the log probability of the answer gains
# on the way is shared out among the heads by its gradient with respect to each dial
# {cite:p}`sundararajan2017axiomatic`. Of groups of growing size we take the smallest that is right
# on 95 % as many prompts as the best. This is done on {glue:text}`n_widening` prompts and judged on
# {glue:text}`n_judged_used` others.
#
# E is searched for the circuit of {glue:text}`base_short`, in {glue:text}`base_short` and in
# {glue:text}`one_version`, and there for its own circuit too.

# %%
widening = encode(models[base].tokenizer, examples(2 * n_support, split="pruning", seed=seed))
runs = {base: (base, base)}
for v in searched[:1]:
    runs |= {v: (v, base), f"{v}, its own": (v, v)}
widened = {
    name: fifth_group.search_fifth(
        models[v],
        widening,
        circuit=found[owner].circuit,
        places=fifth_group.further_places(supports[v], found[owner].circuit),
        means=ablation_means(models[v], settings),
    )
    for name, (v, owner) in runs.items()
}

# %% tags=["hide-input"]
letters = {name: " ".join(map(str, wide.more[:6])) or "none" for name, wide in widened.items()}
glue(
    n_widening=len(widening),
    fifth_list="; ".join(
        f"{letters[name]} ({name}, {len(wide.more)} heads)" for name, wide in widened.items()
    ),
)

# %% [markdown]
# The six strongest heads of E: {glue:text}`fifth_list`. Beside E stand what the structure readers
# (D) do if they are alive at these tokens too, as many random heads of the layers of E, which is
# its floor, and all heads in its place.

# %%
behind = {
    name: measure_wide(
        models[v],
        judging,
        circuits=fifth_group.rungs(widened[name], models[v], seed=seed),
        places=widened[name].places,
        means=ablation_means(models[v], settings),
    )
    for name, (v, _) in runs.items()
}
whole = {name: scores[v].full[: len(judging)] for name, (v, _) in runs.items()}
show(circuit_tables.fifth_group_rungs(behind, whole), folded=True)
show(circuit_tables.fifth_group_gains(behind, whole), folded=True)

# %% [markdown]
# How to read the accuracies in the first of these tables: what all heads for all five groups lack
# beside the whole version is at other tokens still. What all heads in the place of E lack beside
# all heads for all groups is in A to D, and what E lacks beside all heads in its place was lost in
# the choice of E. Where all five groups with all their heads do no better than the four, the tokens
# of E do not matter, and an E without heads is the right answer.

# %% tags=["hide-input"]
glue(
    e_gain_list=listed(
        f"{one.gain(fifth_group.WITH_E, fifth_group.FOUR):+.2f} in {name}"
        for name, one in behind.items()
    ),
    d_gain_list=listed(
        f"{one.gain(fifth_group.READERS, fifth_group.FOUR):+.2f} in {name}"
        for name, one in behind.items()
    ),
)

# %% [markdown]
# E adds {glue:text}`e_gain_list` to the accuracy of the four groups. Random heads of its layers add
# nothing, so it is these heads and not merely more of them. Letting the structure readers act at
# these tokens adds {glue:text}`d_gain_list`. So a part of what the paper's four groups leave out is
# done in the segments that are *not* asked for. For the circuit of {glue:text}`base_short` it is
# done by other heads than the structure readers; in the larger circuit that was searched in
# {glue:text}`one_version`, structure readers bring about as much as E. It is a part only. In
# {glue:text}`base_short` even all heads at all of these tokens stay well below the whole version.
# In the fine-tuned version they come near it, and what is missing there is in heads that the
# searches did not keep.
#
# What do the heads of E read? In every prompt we look from a segment that is *not* asked for. A
# head that reads its own segment attends to the segment's label or object, if they stand before;
# one that tells the segments' order attends to those before.

# %%
name = [*runs][-1]
version, owner = runs[name]
places, group_e = widened[name].places, widened[name].more
heads = all_heads(models[version].n_layers, models[version].n_heads)
rows = {"E, mean": group_e} | {f"E {head}": [head] for head in group_e[:6]}
rows |= {"D, mean": found[owner].circuit.groups["structure_reader"]}
rows |= {"all heads of the version, mean": heads}
for place in places[:1]:
    looks = segment_looks(models[version], judging, heads=heads, place=place)
    show(circuit_tables.attention_in_segments(looks, rows), folded=True)
words = {role: word for word, role in PLACES.items()}
glue(e_version=name, e_place=words[places[0]] if places else "no further token")

# %% [markdown]
# The circuit is that of {glue:text}`e_version`, seen from: {glue:text}`e_place`. Some of E's
# strongest heads read the object of the segment that they stand in. Others look back at the tokens
# behind earlier labels, a little more than heads do on average, and none looks much at earlier
# labels or objects. So some of E gather what stands in a segment; a head that counts the segments
# before it is not seen here.
#
# *Caveat.* A gradient tells of small changes. That the heads it ranks first do the work is shown by
# the accuracies, in which a head is wholly alive or wholly at its mean; that other heads could not
# do it as well is not shown.
#
# ## What the paper claims, what we find, verdict
#
# The gap that is judged is the widest of four, one per group. The heads of a search that failed
# say nothing about what a version uses, so shared heads are judged where the own circuit has a
# faithfulness of {glue:text}`works:g` or more: {glue:text}`worked_list`. The others are left out:
# {glue:text}`failed_list`. Effects head by head are judged in all.

# %%
in_tuned = {v: (scores[v].over_random(), share) for v, share in shares.items() if v != base}
over_base = {v: difference(scores[v].hits[0], scores[base].full) for v in scores if v != base}
own_shares = {v: scores[v].faithfulness(list(found).index(v)).value for v in searched}
worked = [v for v, share in own_shares.items() if share >= WORKS]
told = listed((v for v in searched if v not in worked), none="none")
glue(works=WORKS, worked_list=listed(worked, none="none of them"), failed_list=told)

# %% tags=["hide-input"]
judged = [(v, o) for v in worked or searched for o in counts[v]]
excess = {f"{GROUPS[o.group].letter} in {v}": o.excess for v, o in judged}
ceiling = alike[OTHER_PROMPTS]
same_heads = {
    f"{GROUPS[group].letter} in {v}": (one.beyond, one.share_of(ceiling[group]))
    for v in tuned
    for group, one in alike[v].items()
    if one and ceiling[group]
}

# %%
wider = {n: one for n, one in behind.items() if widened[n].places and whole[n].any()}
readers = {n: one.gain(fifth_group.READERS, fifth_group.FOUR) for n, one in wider.items()}
fifth = {
    n: tuple(
        one.gain(fifth_group.WITH_E, other) for other in (fifth_group.FOUR, fifth_group.RANDOM)
    )
    for n, one in wider.items()
}
wide = {n: one.share(fifth_group.WITH_E, whole[n]) for n, one in wider.items()}

# %% tags=["hide-input"]
judge(
    claim("same_circuit", in_tuned),
    claim("circuit_over_base", over_base),
    claim("overlap", excess, given=bool(worked), tests=len(excess)),
    claim("same_heads", same_heads),
    claim("incomplete", widest_gap, tests=len(GROUPS), group=widest_group),
    claim("stand_ins", stand_ins if without[base].n_heads[ALL_CIRCUITS] else None),
    claim("readers_at_further_tokens", readers or None),
    claim("fifth_group", fifth or None),
    claim("wide_circuit", wide or None, n=len(judging)),
    caption="Finding (i), second part: is it the same circuit?",
)

# %% [markdown]
# ## In three sentences
#
# The circuit of {glue:text}`base_short`, alone in each version, keeps this share of the version's
# accuracy: {glue:text}`faithfulness_list`; that it is the same circuit, as the paper says,
# *{glue:text}`verdict_same_circuit`*, and that it does better there than the whole
# {glue:text}`base_short`, *{glue:text}`verdict_circuit_over_base`*. That a version's own circuit
# shares heads with it beyond chance, *{glue:text}`verdict_overlap`*; that head by head the effects
# are the same, *{glue:text}`verdict_same_heads`*. It is not all that does the task: that the model
# can fall back on something it lacks, *{glue:text}`verdict_incomplete`*; that fine-tuned versions
# go on without all known value fetchers, more than `base` does, *{glue:text}`verdict_stand_ins`*;
# that a fifth group, at tokens where none of the four acts, makes it more accurate,
# *{glue:text}`verdict_fifth_group`*, and as accurate as the whole version,
# *{glue:text}`verdict_wide_circuit`*.
#
# *Next:* {doc}`05_information_flow` follows the message through the prompt.

# %% [markdown]
# ## Exercises
#
# What decides in this chapter is mostly counting: hits of prompts and sets of heads. So the
# exercises run on small made-up numbers, without a model. A row of hits says of each prompt whether
# it was answered right.

# %% tags=["exercise-setup"]
from collections import Counter

import numpy as np
from scipy import stats

from entrack.course.checks import check
from entrack.stats.metrics import difference, ratio

# The circuit misses some prompts that the model answers, and answers a few that it misses.
coins = np.random.default_rng(0).random((2, 400))
model_hits = coins[0] < 0.7
circuit_hits = np.where(coins[1] < 0.9, model_hits, ~model_hits)

# %% [markdown]
# ::::{exercise} Faithfulness with an interval
# :label: ex-same-faithful
# :class: write
#
# The paper gives faithfulness without an interval. Give it one, by a bootstrap: draw prompts anew,
# with replacement, and see how the ratio varies.
#
# :::{admonition} Hint
# :class: dropdown
# Which prompts does the circuit answer, and which the model, in one draw?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-same-faithful"]
# The usual slip draws twice, once for either row. Ask for the interval of a circuit that answers
# exactly as the model does: drawn twice it is wide, and nothing about that ratio is unsure. Taking
# the model's accuracy as a known number does the same. Ask also why the upper end may lie above 1.

# %% [markdown]
# :::{solution-start} ex-same-faithful
# :class: dropdown
# :::


# %% tags=["answer", "ex-same-faithful"]
def faithfulness(circuit, model, generator):
    """F(C) / F(M), and the ends of its 95 % interval: (value, low, high).

    circuit, model: whether each answers right, bool [prompt]; the same prompts in the same order.
    generator: a numpy generator. The interval is that of a bootstrap: in each of 2,000 draws as
    many prompts as there are, with replacement; its ends are the 2.5 % and 97.5 % quantiles of the
    ratios.
    """
    drawn = generator.integers(len(model), size=(2000, len(model)))
    ratios = circuit[drawn].mean(axis=1) / model[drawn].mean(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return circuit.mean() / model.mean(), low, high


# %% [markdown]
# Circuit and model are scored on the same prompts, and a prompt that is hard for one is mostly hard
# for the other. So a draw picks *prompts*, and both are scored on these. That makes the interval
# narrower than two separate draws would, and rightly so: the question is how the two compare. Above
# 1 the circuit does better than the model, which happens where the ablated heads disturb.
#
# The book's own interval is worked out by a formula and agrees with this one; a bootstrap needs no
# formula, and costs 2,000 draws.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-same-faithful"]
with check("ex-same-faithful", "a circuit that answers as the model does leaves nothing unsure"):
    same = faithfulness(model_hits, model_hits, np.random.default_rng(1))
    assert np.allclose(same, 1), f"the interval came out as {same[1]:.2f} to {same[2]:.2f}"

with check("ex-same-faithful", "the value is the exact ratio, here of 3 hits to 10"):
    few, many = (np.arange(16) < hits for hits in (3, 10))
    assert abs(faithfulness(few, many, np.random.default_rng(1))[0] - 0.3) < 1e-9

with check("ex-same-faithful", "the interval is that of the book's formula, within 0.02"):
    found_here = faithfulness(circuit_hits, model_hits, np.random.default_rng(1))
    by_formula = ratio(circuit_hits, model_hits)
    assert np.allclose(found_here[1:], [by_formula.low, by_formula.high], atol=0.02)

# %% tags=["hidden-test", "ex-same-faithful"]
with check(
    "ex-same-faithful", "a circuit that answers more than the model has an interval above 1"
):
    better = model_hits | (np.arange(400) % 4 == 0)
    value, low, high = faithfulness(better, model_hits, np.random.default_rng(2))
    assert 1 < low < value < high


# %% tags=["wrong-answer", "ex-same-faithful"]
# slip: circuit and model are scored on different draws
def faithfulness(circuit, model, generator):
    def drawn(hits):
        return hits[generator.integers(len(hits), size=(2000, len(hits)))].mean(axis=1)

    low, high = np.quantile(drawn(circuit) / drawn(model), [0.025, 0.975])
    return circuit.mean() / model.mean(), low, high


# %% tags=["wrong-answer", "ex-same-faithful"]
# slip: accuracies are rounded to two decimals before the division
def faithfulness(circuit, model, generator):
    drawn = generator.integers(len(model), size=(2000, len(model)))
    ratios = circuit[drawn].mean(axis=1) / model[drawn].mean(axis=1)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return round(circuit.mean(), 2) / round(model.mean(), 2), low, high


# %% tags=["wrong-answer", "ex-same-faithful"]
# slip: the model's accuracy is taken for a number without error
def faithfulness(circuit, model, generator):
    drawn = generator.integers(len(model), size=(2000, len(model)))
    low, high = np.quantile(circuit[drawn].mean(axis=1), [0.025, 0.975]) / model.mean()
    return circuit.mean() / model.mean(), low, high


# %% [markdown]
# ::::{exercise} What a head adds when its rivals are gone
# :label: ex-same-rivals
# :class: write
#
# Two heads that do the same work look needless, each alone: take either away, and the other is
# there. The minimality score asks what a head adds once its rivals K are gone. Write it, given the
# accuracy of the circuit without any set of heads.
#
# :::{admonition} Hint
# :class: dropdown
# Begin with two heads: for each other head, what does the loss of this one cost once that one is
# gone?
# :::
# ::::

# %% tags=["exercise-setup", "ex-same-rivals"]
five = ["a", "b", "c", "d", "e"]


def accuracy_without(removed):
    """A made-up circuit: a and b do the same work, c other work, d a little, e nothing."""
    a, b, c, d, _ = (head not in removed for head in five)
    return 0.2 + 0.4 * (a or b) + 0.2 * c + 0.05 * d


# %% [markdown] tags=["teacher", "ex-same-rivals"]
# Many take the strongest heads for K. The strongest rival of a head is often one that does nothing
# while the head is there, as b does for a. Let them work out K of c by hand as well: all other
# heads qualify, though none does its work. The score of c is then the larger the less is left, so
# scores of different heads do not compare.

# %% [markdown]
# :::{solution-start} ex-same-rivals
# :class: dropdown
# :::


# %% tags=["answer", "ex-same-rivals"]
def minimality(head, heads, accuracy, n_rivals):
    """What a head adds when its rivals K are gone: F(C less K) / F(C less K and the head) - 1.

    heads: all heads of the circuit; accuracy: takes a set of heads and gives the accuracy of the
    circuit without them. K: the `n_rivals` other heads without which losing `head` costs most
    accuracy, leaving out those without which it costs nothing; of equals, the earlier in `heads`.
    """
    cost = {other: accuracy({other}) - accuracy({other, head}) for other in heads if other != head}
    worst = sorted(cost, key=cost.get, reverse=True)[:n_rivals]
    rivals = {other for other in worst if cost[other] > 0}
    return accuracy(rivals) / accuracy(rivals | {head}) - 1


# %% [markdown]
# Losing a costs nothing while b is there, and much once b is gone, so b is the rival of a. Without
# b the circuit does as before; without both it falls, and the ratio says by how much. A head that
# adds nothing in any company scores 0.
#
# The score does not ask whether a rival does the same work. Once others are gone, less accuracy is
# left to divide by, and a head that nobody can replace scores higher for it. So the threshold of
# 1 % is easily passed by a head whose K is large.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-same-rivals"]
with check("ex-same-rivals", "a head whose double stands in for it is not needless"):
    score = minimality("a", five, accuracy_without, 2)
    assert score > 0.01, f"the score of a came out as {score:.2f}"

with check("ex-same-rivals", "the score is relative to what is left without K and the head"):
    score = minimality("a", five, accuracy_without, 1)
    assert abs(score - (0.85 / 0.45 - 1)) < 1e-9, f"the score of a came out as {score:.3f}"

with check("ex-same-rivals", "heads without which the loss costs nothing do not count as rivals"):
    score = minimality("a", five, accuracy_without, 3)
    assert abs(score - (0.85 / 0.45 - 1)) < 1e-9, f"the score of a came out as {score:.3f}"

# %% tags=["hidden-test", "ex-same-rivals"]
with check("ex-same-rivals", "a head that never matters scores nothing"):
    assert abs(minimality("e", five, accuracy_without, 2)) < 1e-9

with check("ex-same-rivals", "of equal rivals the earlier are taken"):
    assert abs(minimality("c", five, accuracy_without, 2) - (0.45 / 0.25 - 1)) < 1e-9


# %% tags=["wrong-answer", "ex-same-rivals"]
# slip: the head alone is left out, with its rivals there
def minimality(head, heads, accuracy, n_rivals):
    return accuracy(set()) / accuracy({head}) - 1


# %% tags=["wrong-answer", "ex-same-rivals"]
# slip: K holds the heads that matter most by themselves
def minimality(head, heads, accuracy, n_rivals):
    alone = {other: accuracy(set()) - accuracy({other}) for other in heads if other != head}
    rivals = set(sorted(alone, key=alone.get, reverse=True)[:n_rivals])
    return accuracy(rivals) / accuracy(rivals | {head}) - 1


# %% tags=["wrong-answer", "ex-same-rivals"]
# slip: the difference of the accuracies in place of their ratio
def minimality(head, heads, accuracy, n_rivals):
    cost = {other: accuracy({other}) - accuracy({other, head}) for other in heads if other != head}
    worst = sorted(cost, key=cost.get, reverse=True)[:n_rivals]
    rivals = {other for other in worst if cost[other] > 0}
    return accuracy(rivals) - accuracy(rivals | {head})


# %% tags=["wrong-answer", "ex-same-rivals"]
# slip: K is filled up with heads that are no rivals
def minimality(head, heads, accuracy, n_rivals):
    cost = {other: accuracy({other}) - accuracy({other, head}) for other in heads if other != head}
    rivals = set(sorted(cost, key=cost.get, reverse=True)[:n_rivals])
    return accuracy(rivals) / accuracy(rivals | {head}) - 1


# %% [markdown]
# ::::{exercise} Chance, given the layers
# :label: ex-same-chance
# :class: write
#
# The p-value of this chapter draws the second circuit's heads from the whole model. But heads of a
# group sit in a band of layers, in both circuits, and that alone makes them overlap. Test the
# overlap against a chance that keeps the layers.
#
# :::{admonition} Hint
# :class: dropdown
# How many heads does the second circuit have in each layer? What may a draw change, and what not?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-same-chance"]
# Ask what either p-value is a test *of*. Against the whole model, a small one says that the two
# groups are not anywhere; given the layers, that they agree beyond being in the same layers. With
# two circuits that both hold all heads of one layer the second question has no answer, and p must
# be 1. Counting only draws that share *more* makes it 0.

# %% [markdown]
# :::{solution-start} ex-same-chance
# :class: dropdown
# :::


# %% tags=["answer", "ex-same-chance"]
def overlap_given_layers(first, second, n_heads, generator):
    """Shared heads (int), and how often chance shares at least as many (float, 0 to 1).

    first, second: sets of heads, each (layer, head). n_heads: heads in a layer. Chance is 2,000
    draws by a numpy generator: in each layer as many different heads as `second` has there.
    """
    in_layer = Counter(layer for layer, _ in second)
    shared, at_least = len(first & second), 0
    for _ in range(2000):
        picks = {at: generator.choice(n_heads, n, replace=False) for at, n in in_layer.items()}
        drawn = {(at, int(head)) for at, heads in picks.items() for head in heads}
        at_least += len(first & drawn) >= shared
    return shared, at_least / 2000


# %% [markdown]
# A draw replaces the heads of the second circuit and leaves the number of heads in each layer. What
# the two circuits share by being in the same layers, the draws share too, and it drops out.
#
# Where a layer has few heads to choose from, sharing them is no wonder, and the p-value stays
# large. It is the stricter test, and answers the narrower question: are they the same *heads*?
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-same-chance"]
with check("ex-same-chance", "two circuits of all heads of one layer share them by chance too"):
    layer_5 = {(5, head) for head in range(8)}
    assert overlap_given_layers(layer_5, layer_5, 8, np.random.default_rng(0)) == (8, 1.0)

with check("ex-same-chance", "within one layer it is the hypergeometric chance"):
    upper, lower = {(5, head) for head in range(4)}, {(5, head) for head in range(1, 5)}
    shared_heads, p = overlap_given_layers(upper, lower, 8, np.random.default_rng(0))
    assert shared_heads == 3 and abs(p - stats.hypergeom.sf(2, 8, 4, 4)) < 0.05, f"p is {p:.2f}"

# %% tags=["hidden-test", "ex-same-chance"]
with check("ex-same-chance", "two layers with one head each are drawn apart"):
    two_heads = {(0, 0), (1, 0)}
    shared_heads, p = overlap_given_layers(two_heads, two_heads, 4, np.random.default_rng(0))
    assert shared_heads == 2 and abs(p - 1 / 16) < 0.02

with check("ex-same-chance", "circuits in different layers share nothing, as in every draw"):
    assert overlap_given_layers({(0, 1)}, {(1, 1)}, 4, np.random.default_rng(0)) == (0, 1.0)


# %% tags=["wrong-answer", "ex-same-chance"]
# slip: heads are drawn from all layers
def overlap_given_layers(first, second, n_heads, generator):
    shared, at_least = len(first & second), 0
    for _ in range(2000):
        numbers = generator.choice(12 * n_heads, len(second), replace=False)
        drawn = {divmod(int(number), n_heads) for number in numbers}
        at_least += len(first & drawn) >= shared
    return shared, at_least / 2000


# %% tags=["wrong-answer", "ex-same-chance"]
# slip: only draws that share more are counted
def overlap_given_layers(first, second, n_heads, generator):
    in_layer = Counter(layer for layer, _ in second)
    shared, more = len(first & second), 0
    for _ in range(2000):
        picks = {at: generator.choice(n_heads, n, replace=False) for at, n in in_layer.items()}
        drawn = {(at, int(head)) for at, heads in picks.items() for head in heads}
        more += len(first & drawn) > shared
    return shared, more / 2000


# %% tags=["wrong-answer", "ex-same-chance"]
# slip: one head can be drawn twice, so that a draw is smaller than the circuit
def overlap_given_layers(first, second, n_heads, generator):
    in_layer = Counter(layer for layer, _ in second)
    shared, at_least = len(first & second), 0
    for _ in range(2000):
        picks = {at: generator.integers(n_heads, size=n) for at, n in in_layer.items()}
        drawn = {(at, int(head)) for at, heads in picks.items() for head in heads}
        at_least += len(first & drawn) >= shared
    return shared, at_least / 2000


# %% [markdown]
# ::::{exercise} What pairing buys
# :label: ex-same-pairing
# :class: measure
#
# Circuit and model are compared on the same prompts. How much wider would the interval of their
# difference be if each had prompts of its own? Measure it on `circuit_hits` and `model_hits`, then
# on those of this chapter, `scores[base].hits[0]` and `scores[base].full`. How many prompts would
# make up for the pairing?
#
# :::{admonition} Hint
# :class: dropdown
# Paired, each prompt gives one number.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-same-pairing"]
# Let them say first in which case pairing gains nothing: where the two rows have nothing to do with
# each other. Then, in which case it loses: rows that answer opposite prompts. Neither is common
# when two versions of one model are compared.

# %% [markdown]
# :::{solution-start} ex-same-pairing
# :class: dropdown
# :::


# %% tags=["answer", "ex-same-pairing"]
def half_widths(first, second):
    """Half the width of the 95 % interval of a difference in accuracy: (paired, unpaired).

    first, second: whether each answers right, bool [prompt], on the same prompts in the same order.
    The first number makes use of that, the second takes the rows for two sets of prompts. Half a
    width is 1.96 standard errors of the difference.
    """
    change = first.astype(float) - second.astype(float)
    paired = change.var(ddof=1)
    unpaired = first.var(ddof=1) + second.var(ddof=1)
    return tuple(1.96 * np.sqrt(variance / len(first)) for variance in (paired, unpaired))


# %% [markdown]
# Most prompts that the model misses the circuit misses too, and in the difference they cancel. What
# is left varies with the prompts on which the two disagree. A width goes with one over the root of
# the number of prompts, so an interval twice as wide asks for four times as many prompts.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-same-pairing"]
with check("ex-same-pairing", "paired, rows that agree everywhere leave nothing unsure"):
    paired, unpaired = half_widths(model_hits, model_hits)
    assert paired == 0 and unpaired > 0.05

with check("ex-same-pairing", "rows that have nothing to do with each other gain nothing"):
    rows = np.random.default_rng(3).random((2, 4000)) < 0.5
    paired, unpaired = half_widths(*rows)
    assert abs(paired / unpaired - 1) < 0.1, f"the ratio came out as {paired / unpaired:.2f}"

with check("ex-same-pairing", "four times the prompts halve both widths"):
    once = half_widths(circuit_hits, model_hits)
    often = half_widths(np.tile(circuit_hits, 4), np.tile(model_hits, 4))
    assert np.allclose(np.array(often) / once, 0.5, atol=0.01)

# %% tags=["hidden-test", "ex-same-pairing"]
with check("ex-same-pairing", "the paired width is that of the book's paired difference"):
    by_formula = difference(circuit_hits, model_hits).half_width
    assert abs(half_widths(circuit_hits, model_hits)[0] / by_formula - 1) < 0.02


# %% tags=["wrong-answer", "ex-same-pairing"]
# slip: the two variances are added in both, as if nothing were paired
def half_widths(first, second):
    variance = first.var(ddof=1) + second.var(ddof=1)
    return (1.96 * np.sqrt(variance / len(first)),) * 2


# %% tags=["wrong-answer", "ex-same-pairing"]
# slip: the spread of single prompts in place of that of their mean
def half_widths(first, second):
    change = first.astype(float) - second.astype(float)
    unpaired = first.var(ddof=1) + second.var(ddof=1)
    return 1.96 * change.std(ddof=1), 1.96 * np.sqrt(unpaired)


# %% tags=["wrong-answer", "ex-same-pairing"]
# slip: unpaired, the variances are subtracted like the accuracies
def half_widths(first, second):
    change = first.astype(float) - second.astype(float)
    variances = change.var(ddof=1), abs(first.var(ddof=1) - second.var(ddof=1))
    return tuple(1.96 * np.sqrt(variance / len(first)) for variance in variances)


# %% [markdown]
# :::{exercise} A head that stands in
# :label: ex-same-backup
#
# Suppose that a head outside the circuit does the work of one of its value fetchers as soon as that
# one is taken away, and nothing before. Predict: does the circuit's faithfulness show it? Does the
# minimality score of the value fetcher? And where in {numref}`fig-completeness` is the point whose
# K is this value fetcher?
# :::
#
# :::{solution} ex-same-backup
# :class: dropdown
#
# Faithfulness does not: the circuit alone has the value fetcher, and the other head is ablated and
# not missed. Minimality does not either. It takes heads away from the circuit *alone*, in which the
# other head cannot stand in, so the value fetcher scores as one that is needed.
#
# Completeness does. Without K the model falls back on the other head and loses little, while the
# circuit loses the work: the point is below the diagonal. Here the widest gap without one group is
# {glue:text}`widest_gap`.
# :::

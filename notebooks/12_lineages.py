# %% [markdown]
# # Found, or made?
#
# **Did training find a mechanism that was already in the model, or did it build one?** The paper's
# title says that fine-tuning *enhances existing* mechanisms. It could not test the word *existing*:
# all its models come from one base. Here we can train more than one. A *{term}`lineage`* is a base
# and the versions made from it. {glue:text}`base_name` was made from {glue:text}`below_name` by a
# short training on {glue:text}`base_saw`. The bases of other lineages were made from the same
# {glue:text}`below_name`: {glue:text}`others_list`. So one kind of base has practised the boxes
# task itself ({glue:text}`saw_boxes`), and another never saw a box ({glue:text}`no_boxes`).
#
# If both do the task with the same heads, it was not what they practised that chose these heads,
# but the model that they share. Do the bases have the same {term}`value fetchers <value fetcher>`
# (A)? *{glue:text}`verdict_lineage_heads_A`*. The same {term}`position transmitters <position
# transmitter>` (B)? *{glue:text}`verdict_lineage_heads_B`*. {term}`Position detectors <position
# detector>` (C)? *{glue:text}`verdict_lineage_heads_C`*. {term}`Structure readers <structure
# reader>` (D)? *{glue:text}`verdict_lineage_heads_D`*. Does the {term}`circuit` of one base do the
# task in another as well as that one's own? *{glue:text}`verdict_lineage_circuit`*, judged only
# where the own circuit does the task ({glue:text}`worked_list`).
#
# This test is ours. *Objectives:* know what a {term}`ceiling` is and why a likeness needs one; tell
# "the same layers" from "the same heads". *Time:* 20 minutes. *Before it:* {doc}`03_circuit`,
# {doc}`04_same_circuit`, {doc}`10_messages`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # a family in models/
siblings: str = ""  # families made from the same model, spaces between; empty: as its file says
n_pairs: int = 70  # clean and corrupt pairs behind the circuit of the reference [7, 700]
n_pairs_own: int = 28  # the same for every other search [7, 700]
n_evaluation: int = 504  # prompts on which circuits are scored [14, 5000]
n_scenes: int = 49  # scenes of seven pairs for messages [2, 1000]
structure_role: str = ""  # empty: as in its file {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from dataclasses import replace

from entrack.across.checkpoints import recipe_of
from entrack.across.look_ups import BOXES
from entrack.across.practised import subject
from entrack.circuit.contents import CONTENT, whole_groups
from entrack.circuit.discovery import DiscoveryConfig, discover
from entrack.circuit.faithfulness import measure_faithfulness
from entrack.circuit.overlap import STRONGEST, likeness
from entrack.circuit.search import CircuitSettings, ablation_means, find_circuit
from entrack.cross_model.messages import messages
from entrack.display.cells import glue, judge, listed, show
from entrack.figures import same_circuit as figures
from entrack.paper.claims import claim

# %% tags=["hide-input"]
from entrack.sites import GROUPS
from entrack.stats.metrics import ratio
from entrack.stats.rules import WORKS
from entrack.tables import messages as message_tables
from entrack.tables import same_circuit as tables
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.task.draws import examples, pairs
from entrack.task.prompts import encode, encode_pairs
from entrack.versions import families
from entrack.versions.loading import load

# %%
reference, tuned = families.reference(family), families.focus(family)
others = siblings.split() or families.family_file(family).get("siblings", [])
below = families.lineage(family, reference)[:-1]
models = {v: load(f"{family}/{v}") for v in (reference, tuned)}
models |= {name: load(f"{name}/{families.reference(name)}") for name in others}
second = others[0] if others else tuned

# %% tags=["hide-input"]
made_by = {name: recipe_of(name, families.reference(name)) for name in (family, *others)}
saw = {name: subject(recipe) for name, recipe in made_by.items()}
again = [n for n in others if made_by[family] and made_by[n].data == made_by[family].data]
glue(
    base_name=models[reference].name,
    below_name=listed(below, none="nothing below it"),
    base_saw=saw[family],
    second_saw=saw.get(second) or subject(recipe_of(family, tuned)),
    others_list=listed((f"{n} on {saw[n]}" for n in others), none="none for this family"),
    saw_boxes=listed((n for n, what in saw.items() if BOXES in what), none="none here"),
    no_boxes=listed((n for n, what in saw.items() if BOXES not in what), none="none here"),
    same_recipe=listed(again, none="none here"),
    tuned_name=tuned,
)

# %% [markdown]
# ## One search, many models
#
# Each model gets the search of {doc}`03_circuit`. Two more searches say what a likeness is worth.
# One is made in {glue:text}`base_name` again, on *other prompts*: no other model can be more like
# it than it is itself, so this is the **ceiling**. The other is made in the version that was
# fine-tuned from it, {glue:text}`tuned_name`. And we look into {glue:text}`below_name` as it was
# before any of this training, though it does the task badly: {term}`path patching` asks what moves
# the right object's probability, and that can move in a model that is mostly wrong.

# %%
OTHER_PROMPTS = "other prompts"
role = structure_role or families.structure_role(family)
discovery = DiscoveryConfig(structure_role=role)
settings = CircuitSettings(n_pairs=n_pairs, seed=seed, discovery=discovery)
own = replace(settings, n_pairs=n_pairs_own)
found = {reference: find_circuit(models[reference], settings)}
found[OTHER_PROMPTS] = find_circuit(models[reference], replace(own, seed=seed + 1))
found |= {name: find_circuit(model, own) for name, model in models.items() if name != reference}

# %%
maps = {name: search.discovery for name, search in found.items()}
drawn = pairs(n_pairs_own, split="discovery", seed=seed)
clean, corrupt = encode_pairs(models[reference].tokenizer, drawn)
maps |= {
    name: discover(load(f"{family}/{name}"), clean, corrupt=corrupt, config=discovery)
    for name in below[-1:]
}

# %% [markdown]
# ## On one prompt
#
# Head {glue:text}`one_head`, the strongest value fetcher of {glue:text}`base_name`, on one pair of
# prompts and in two models. Its output is taken from the corrupt prompt and goes to the answer
# directly, all other heads frozen. The clean prompt:
#
# > {glue:text}`one_text`

# %%
from entrack.heads import one_prompt
from entrack.tables.patching import one_prompt as table_of_one

head = found[reference].discovery.scores["value_fetcher"].ranked()[0]
beside = next(iter(others), tuned)
one, ways = one_prompt.ask(clean), {}
for name in (reference, beside):
    ways[name] = one_prompt.alone(models[name], one)
    ways[f"{name}, {head} patched"] = one_prompt.path_patched(
        models[name], one, corrupt, role="last", sender=head
    )
show(
    table_of_one(one, ways, caption="What the clean prompt is answered, by probability."),
    folded=True,
)

# %% tags=["hide-input"]
whole, without, their_whole, their_without = (float(probs[0]) for probs in ways.values())
glue(
    one_head=str(head),
    one_text=one.prompt.texts[0],
    one_right=next(iter(one.words)),
    one_beside=beside,
    one_whole=whole,
    one_without=without,
    one_their_whole=their_whole,
    one_their_without=their_without,
)

# %% [markdown]
# In {glue:text}`base_name` the patch takes the probability of *{glue:text}`one_right`* from
# {glue:text}`one_whole:.3f` to {glue:text}`one_without:.3f`; in {glue:text}`one_beside` from
# {glue:text}`one_their_whole:.3f` to {glue:text}`one_their_without:.3f`. Below, this is done with
# every head and many pairs, and then we ask how alike two models are.
#
# ```{admonition} Predict before you read on
# :class: tip
# Two models that come from {glue:text}`below_name`, one trained on {glue:text}`base_saw`, one on
# {glue:text}`second_saw`. Where would you expect the same heads: at the end, where the answer is
# fetched, or at the start, where the text is read? And would {glue:text}`below_name` itself show
# them?
# ```
#
# ## Head by head
#
# Each point is a head, placed by its effect in one base and in the other. A head that is strong in
# both lies far down and to the left; one that works in one base only lies near an axis.

# %%
# figure: fig-two-bases
# caption: Effect of every head (nats of log odds; negative: the head helps) in two models, by
#   group. Dark: the strongest heads of either. Dotted: equal effects.
show(figures.effects_in_two(maps[reference], maps[second], names=(reference, second)))

# %% [markdown]
# How alike are two maps? The *correlation* of the effects over all heads is one answer. The first
# table gives it for the other prompts, which is the ceiling, and below it as a share of that. But a
# few strong heads can decide a correlation, so the folded table also gives it without them. Heads
# of one kind also sit in certain layers in any model. So we shuffle the effects among the heads of
# each layer and correlate again; what is lost by this is the part *beyond* depth, which is about
# single heads, and the claims use it. *Shared* counts how many of the {glue:text}`n_strongest`
# strongest heads are the same.

# %%
alike = {
    name: {group: likeness(maps[reference], one, group=group, seed=seed) for group in GROUPS}
    for name, one in maps.items()
    if name != reference
}
show(tables.shares_of_ceiling(alike, ceiling=OTHER_PROMPTS))
show(tables.likeness(alike, ceiling=OTHER_PROMPTS))
glue(n_strongest=STRONGEST, n_own=n_pairs_own)

# %% [markdown]
# The last row is the model before any of this training. What it shares with its base cannot come
# from it. In A it is already nearly as like its base as the ceiling allows, and in B it is close;
# in C its interval is too wide to tell. A base with the same data and other random draws, here
# {glue:text}`same_recipe`, tells what another run alone changes. Only what a base trained on other
# data has less than that is due to the data.
#
# *Caveats.* Stages build on each other: the {term}`receivers <receiver>` of B, C and D are the
# heads found one stage before, so a difference in A passes on. The search on other prompts has
# {glue:text}`n_own` pairs, like all but the first, and is as noisy as they are. Where a few heads
# carry a group, other pairs can move its correlation far, and the interval of the share is wide:
# *partly* below then says that the heads agree beyond their layers, and leaves open how near to the
# ceiling. And a head can do the same job with another effect size.
#
# ## Circuits exchanged
#
# The same heads may still work differently. So each circuit runs alone in each of the models, with
# all other heads at their mean.

# %%
held_out = encode(
    models[reference].tokenizer, examples(n_evaluation, split="evaluation", seed=seed)
)
circuits = [search.circuit for search in found.values()]
scores = {
    name: measure_faithfulness(
        model, held_out, circuits=circuits, means=ablation_means(model, settings)
    )
    for name, model in models.items()
}

# %%
# figure: fig-circuits-exchanged
# caption: Accuracy of every circuit alone (rows, with the number of its heads) in every model
#   (columns), same prompts. Last row: the whole model.
show(figures.cross_grid(scores, owners=list(found)))

# %% [markdown]
# The circuit of {glue:text}`base_name` alone does more of the task in each of these models than the
# one that the search found in `smollm2`, even in `smollm2` itself. So a weak circuit from a search
# is not yet a model that works otherwise.
#
# ## Do they speak one language?
#
# A head passes on a message, and another head reads it. Two bases that were trained apart might
# encode it differently, so that one cannot read the other. So the heads of one base read a *source*
# prompt, and the other base, on another prompt, is given their output, as in {doc}`10_messages`.
# *Agreement* is how much more often a message is followed by the model that sent it than by the
# other; near zero, they understand each other as well as themselves.

# %%
circuit = found[reference].circuit
patches = whole_groups(circuit, *CONTENT)
content = {name: CONTENT[name] for name in patches}
titles = {name: f"{GROUPS[name].letter}: {CONTENT[name]}" for name in patches}
data = encode_counterfactuals(
    models[reference].tokenizer, interchanges(n_scenes, split="evaluation", seed=seed)
)
spoken = {
    name: messages(models[reference], models[name], data, patches=patches, content=content)
    for name in (tuned, *others)
}

# %% tags=["hide-input"]
show(message_tables.languages(spoken, patches=titles))
glue(n_messages=len(data), n_evaluation_used=n_evaluation)

# %% [markdown]
# No agreement here is clearly above zero: no model clearly follows its own messages more often than
# the other's.
#
# *Caveat.* The heads are those of {glue:text}`base_name`. Where the other base has its transmitters
# elsewhere, its message through these heads is poor, and the agreement tells of that too. Shares
# are of {glue:text}`n_messages` pairs.
#
# ## What we claim, what we find, verdict
#
# A circuit can be held beside another base's own only if the search there found one that works. So
# the claim about circuits is judged where the own circuit has a faithfulness of
# {glue:text}`works:g` or more: {glue:text}`worked_list`.

# %% tags=["hide-input"]
ceiling = alike[OTHER_PROMPTS]
heads = {
    group: {n: (x.beyond, x.share_of(ceiling[group])) for n in others if (x := alike[n][group])}
    for group in GROUPS
}
order = list(found)
own_shares = {n: scores[n].faithfulness(order.index(n)).value for n in others}
worked = [n for n, share in own_shares.items() if share >= WORKS]
whole = {
    n: ratio(scores[n].hits[0], scores[n].hits[order.index(n)])
    for n in worked or others
    if scores[n].hits[order.index(n)].any()
}
glue(works=WORKS, worked_list=listed(worked, none="none of them"))

# %% tags=["hide-input"]
judge(
    *(claim(f"lineage_heads_{GROUPS[name].letter}", heads[name]) for name in GROUPS),
    claim("lineage_circuit", whole, given=bool(worked), n=n_evaluation),
    *(
        claim(
            f"lineage_language_{GROUPS[name].letter}",
            {n: spoken[n].agreement(name) for n in others} if name in patches else {},
        )
        for name in CONTENT
    ),
    caption="Finding (i), the word *existing*: other lineages beside this one",
)

# %% [markdown]
# What would refute "existing"? Bases whose strongest heads agree no better than heads shuffled
# within their layers, while two searches in one base agree well. What would it take to be sure?
# More lineages than these, and a base trained from random weights: all of these share one
# pretraining, and it is the pretraining that we think the heads come from.

# %% [markdown]
# ## In three sentences
#
# Bases that were made from the same model by separate trainings, with boxes or without any, are
# compared head by head; a second search in one of them is the ceiling. That they have the same
# value fetchers (A): *{glue:text}`verdict_lineage_heads_A`*; position transmitters (B):
# *{glue:text}`verdict_lineage_heads_B`*; position detectors (C):
# *{glue:text}`verdict_lineage_heads_C`*; structure readers (D):
# *{glue:text}`verdict_lineage_heads_D`*. That the circuit of one does the task in another as well
# as that one's own, *{glue:text}`verdict_lineage_circuit`*, could be judged in
# {glue:text}`worked_list` only.
#
# *Next:* {doc}`13_two_tasks` asks whether another task is done with the same heads.

# %% [markdown]
# ## Exercises
#
# The functions work on made-up maps of effects [layer head]; no model is needed.

# %% tags=["exercise-setup"]
import numpy as np

from entrack.course.checks import check


def made_map(seed, noise=0.0, again=0):
    """A map of effects [layer head] whose strong heads sit in the upper layers, with noise."""
    effects = np.random.default_rng(seed).exponential(size=(6, 8)) * -np.arange(6)[:, None]
    return effects + noise * np.random.default_rng([seed, again]).normal(size=effects.shape)


# %% [markdown]
# ::::{exercise} The same layers, or the same heads?
# :label: ex-lineage-shuffle
# :class: write
#
# Two maps whose strong heads sit in the same layers correlate, even where no head agrees. Write the
# shuffle that keeps all that is about layers and destroys all that is about heads.
#
# :::{admonition} Hint
# :class: dropdown
# What may change places with what? `Generator.permuted` takes an axis.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-lineage-shuffle"]
# The slip to wait for is the shuffle over all heads: it destroys the layers too, so that any two
# models look alike "beyond chance". Ask which of the two null hypotheses a reader would think of.

# %% [markdown]
# :::{solution-start} ex-lineage-shuffle
# :class: dropdown
# :::


# %% tags=["answer", "ex-lineage-shuffle"]
def shuffled_in_layers(effects, generator):
    """The effects [layer head] in a random order within each layer, a new array.

    generator: a numpy Generator.
    """
    return generator.permuted(effects, axis=1)


# %% [markdown]
# `permuted` draws another order for every row; `permutation` would move whole columns, and heads of
# one number would stay together.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-lineage-shuffle"]
with check("ex-lineage-shuffle", "each layer has the effects that it had"):
    mixed = shuffled_in_layers(made_map(1), np.random.default_rng(0))
    assert np.array_equal(np.sort(mixed, axis=1), np.sort(made_map(1), axis=1))

with check("ex-lineage-shuffle", "heads change places, each layer in an order of its own"):
    places = np.tile(np.arange(8), (6, 1))
    orders = shuffled_in_layers(places, np.random.default_rng(0))
    assert len({tuple(row) for row in orders.tolist()}) > 3

# %% tags=["hidden-test", "ex-lineage-shuffle"]
with check("ex-lineage-shuffle", "the map that is given stays as it was"):
    given = made_map(2)
    shuffled_in_layers(given, np.random.default_rng(0))
    assert np.array_equal(given, made_map(2))


# %% tags=["wrong-answer", "ex-lineage-shuffle"]
# slip: effects move between layers
def shuffled_in_layers(effects, generator):
    return generator.permutation(effects.ravel()).reshape(effects.shape)


# %% tags=["wrong-answer", "ex-lineage-shuffle"]
# slip: the heads of one number stay together
def shuffled_in_layers(effects, generator):
    return generator.permutation(effects, axis=1)


# %% [markdown]
# ::::{exercise} How alike could they be?
# :label: ex-lineage-ceiling
# :class: write
#
# A correlation of `0.7` between two models says little by itself: two searches in one model also
# differ, because each has its own prompts. Write the share of the ceiling.
#
# :::{admonition} Hint
# :class: dropdown
# Two correlations, both with the first map.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-lineage-ceiling"]
# Ask whether the share can be above 1, and what it would mean (noise, or a ceiling from fewer
# pairs). Some correct for noise in both maps and divide once too often.

# %% [markdown]
# :::{solution-start} ex-lineage-ceiling
# :class: dropdown
# :::


# %% tags=["answer", "ex-lineage-ceiling"]
def share_of_ceiling(first, second, again):
    """How alike two models are, as a share of how alike two searches in the first are.

    first, second: maps of two models; again: a second search in the first model, each [layer head].
    Pearson correlations over all heads.
    """
    likeness = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    ceiling = np.corrcoef(first.ravel(), again.ravel())[0, 1]
    return likeness / ceiling


# %% [markdown]
# The noise of the first map lowers both correlations alike, so it falls out. That of the second map
# must be as large as that of the repeated search: as many pairs in both.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-lineage-ceiling"]
with check("ex-lineage-ceiling", "a model that is the first again reaches the ceiling"):
    maps = [made_map(3, noise=1.0, again=i) for i in (1, 2)]
    assert np.isclose(share_of_ceiling(maps[0], maps[1], maps[1]), 1)

with check("ex-lineage-ceiling", "noise in the search does not make two equal models less alike"):
    maps = [made_map(3, noise=2.0, again=i) for i in (1, 2, 3)]
    assert abs(share_of_ceiling(*maps) - 1) < 0.25

with check("ex-lineage-ceiling", "a model with other heads stays below it"):
    maps = [made_map(3, noise=0.5, again=1), made_map(4), made_map(3, noise=0.5, again=2)]
    assert share_of_ceiling(*maps) < 0.9

# %% tags=["hidden-test", "ex-lineage-ceiling"]
with check("ex-lineage-ceiling", "the unit of the effects does not matter"):
    maps = [made_map(3, noise=0.5, again=i) for i in (1, 2, 3)]
    scaled = share_of_ceiling(maps[0], 10 * maps[1] - 3, maps[2])
    assert np.isclose(share_of_ceiling(*maps), scaled)


# %% tags=["wrong-answer", "ex-lineage-ceiling"]
# slip: no ceiling
def share_of_ceiling(first, second, again):
    return np.corrcoef(first.ravel(), second.ravel())[0, 1]


# %% tags=["wrong-answer", "ex-lineage-ceiling"]
# slip: the ceiling is taken against the other model
def share_of_ceiling(first, second, again):
    likeness = np.corrcoef(first.ravel(), second.ravel())[0, 1]
    return likeness / np.corrcoef(second.ravel(), again.ravel())[0, 1]


# %% [markdown]
# :::{exercise} A head that moved next door
# :label: ex-lineage-next-door
#
# Training moves a job from one head to its neighbour in the same layer. What happens to the
# correlation of the maps, to that beyond shuffled layers, and to the accuracy of one model's
# circuit in the other? Which of the three would you trust?
# :::
#
# :::{solution} ex-lineage-next-door
# :class: dropdown
#
# The correlation falls, and what is beyond the layers falls to nothing: both ask for the same head.
# The circuit of one fails in the other, since the head that it keeps has no job there. All three
# say "another mechanism", though the mechanism is the same and only its place has changed. An
# exchange of messages would tell: the neighbour's output is understood.
# :::
#
# :::{exercise} Which control would refute it?
# :label: ex-lineage-refute
#
# Suppose that two bases share their strongest heads, near the ceiling. Name a training that would
# have to give *other* heads if "existing" is right, and one that would have to give the same.
# :::
#
# :::{solution} ex-lineage-refute
# :class: dropdown
#
# A base with the same data and the same order of it, trained from other random weights, has no
# reason to use the same head *numbers*: if it did, the likeness would come from the architecture or
# the data. A base made from the same pretrained model with another optimiser, rank or learning rate
# should give the same heads. If it does not, the heads were chosen by the way of training.
# :::

# %% [markdown]
# # Which token reads which
#
# The object stands early in the prompt, the question at its end, and a model of this kind can only
# look back. So something must be carried from token to token before the answer can be said.
#
# **Through which tokens does the answer travel?** The readings that cannot be spared in
# {glue:text}`version`, from the lowest to the highest: {glue:text}`needed_readings`. In brackets,
# the depth as a share of the layers at which half of the loss is won back.
#
# The method is *{term}`attention knock-out`* {cite:p}`geva2023dissecting`: from a layer up, no head
# may read one given token from another. If accuracy holds, what was to be read had arrived before.
# *Objectives:* read a knock-out curve; tell where heads look from how much it matters. *Time:* 20
# minutes. *Before it:* {doc}`03_circuit`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # a family in models/
version: str = ""  # the version that is looked into; empty: the reference of the family
format: str = "alternative"  # text format {alternative, standard}
n_scenes: int = 84  # scenes of seven boxes; every box of each is asked for [2, 1000]
others: str = ""  # versions compared with it, spaces between; empty: all from the reference on
n_others: int = 28  # scenes for comparing versions, seven prompts each [2, 1000]
n_pairs: int = 70  # clean and corrupt pairs behind the circuit [7, 700]
structure_role: str = ""  # empty: as in its file {, after_prev_query_label, prev_query_label}
seed: int = 0  # of all prompts [0, 1000000]

# %% tags=["hide-input"]
from entrack.circuit.discovery import DiscoveryConfig
from entrack.circuit.search import CircuitSettings, find_circuit
from entrack.display.cells import glue, judge, listed, show
from entrack.figures import flow as figures
from entrack.paper import findings
from entrack.paper.claims import claim
from entrack.patching.attention_knockout import BOTH, EDGES, RANDOM, knock_out
from entrack.patching.attention_mass import attention_mass

# %% tags=["hide-input"]
from entrack.sites import GROUPS
from entrack.stats.claims import direction
from entrack.stats.metrics import difference
from entrack.tables import flow as tables
from entrack.task.draws import all_queries, scenes
from entrack.task.prompts import encode
from entrack.versions import families
from entrack.versions.loading import load

# %%
version = version or families.reference(family)
model = load(f"{family}/{version}")
drawn = scenes(n_scenes, split="evaluation", seed=seed)
prompts = encode(model.tokenizer, all_queries(drawn, format=format))
glue(version=model.name, n_prompts=len(prompts))

# %% [markdown]
# ```{admonition} Predict before you read on
# :class: tip
# In "..., the apple is in Box F, ... . Box F contains the", which reading must be open in the
# *last* layers for the answer "apple", and which only in early ones? Order these: the last token
# reads *apple*; the last token reads the second *F*; the second *F* reads the first.
# ```
#
# ## Blocking one reading at a time
#
# Each panel blocks one reading in all layers from some depth up. At the left edge it is blocked
# everywhere, to the right ever less. Where the curve climbs, the reading takes place: what is
# blocked further up no longer matters. There are {glue:text}`n_readings` readings of one token, two
# of them of a random token, as a control; one more panel blocks two tokens at once. Among the
# readings of one token that are no controls, the loss is clear for {glue:text}`n_needed`.

# %%
# figure: fig-how-knockout
# caption: Attention knock-out of one reading, from some layer up. A square is what the heads of a
#   layer (from below) give at a token (from left to right).
from entrack.display import schematic

show(schematic.knock_out())

# %% [markdown]
# ## On one prompt
#
# > {glue:text}`one_text`
#
# The last token, "the", may not read the right object, *{glue:text}`one_right`*, from some layer
# up: the table below begins with nothing cut, then cuts the upper half of the layers, and cuts ever
# more until it cuts all.

# %%
from entrack.heads import one_prompt
from entrack.tables.patching import one_prompt as table_of_one

one, cut = one_prompt.ask(prompts), ("last", "correct_object")
starts = sorted({model.n_layers // 2, model.n_layers // 4, 0}, reverse=True)
ways = {"nothing cut": one_prompt.alone(model, one)} | {
    f"cut from layer {layer}": one_prompt.cut(model, one, edge=cut, layer=layer) for layer in starts
}
show(table_of_one(one, ways, caption="What one prompt is answered, by probability."), folded=True)

# %% tags=["hide-input"]
half, everywhere = (ways[f"cut from layer {layer}"] for layer in (starts[0], 0))
glue(
    one_text=one.prompt.texts[0],
    one_right=next(iter(one.words)),
    one_open=float(ways["nothing cut"][0]),
    one_half=float(half[0]),
    one_half_layer=starts[0],
    one_cut=float(everywhere[0]),
    one_best=one.best(everywhere),
)

# %% [markdown]
# With nothing cut, *{glue:text}`one_right`* has a probability of {glue:text}`one_open:.3f`; cut
# from layer {glue:text}`one_half_layer` up, {glue:text}`one_half:.3f`; cut in every layer,
# {glue:text}`one_cut:.3f`, and the likeliest object is then *{glue:text}`one_best`*. To cut the
# upper half is enough, so on this prompt the object is read there. The curves below show the same
# for all layers and for other readings, as shares of many prompts.

# %%
# figure: fig-knockout
# caption: Accuracy with one reading blocked in all layers from a depth up, as a share of the
#   unblocked accuracy. Band: 95 % interval over scenes. Dashed: the paper's Llama-7B, 500 prompts,
#   where it has the reading. Random tokens: here one without a role, in the paper any.
found = knock_out(model, prompts, edges=EDGES, seed=seed)
show(figures.knockout_curves(found, version=version))

# %% [markdown]
# How much does each reading matter, and in which layers does it happen? The table gives the change
# in accuracy with the reading blocked in all layers, beside an unblocked accuracy of
# {glue:text}`unblocked:.2f` over {glue:text}`n_prompts` prompts. The half-way depth is the share of
# layers that must stay open to win back half of the loss. Intervals are over scenes.

# %% tags=["hide-input"]
needed = found.needed()
told = (f"{figures.edge_words(edge)} ({depth:.2f})" for edge, depth in needed)
glue(
    needed_readings=listed(told, none="none of those that were blocked"),
    n_needed=len(needed),
    n_readings=sum(to != BOTH for _, to in EDGES),
    unblocked=found.plain.mean(),
)
show(tables.readings(found))

# %% [markdown]
# *Caveat.* A loss shows that a reading is needed, not that it is enough. If there is no loss, the
# information may have come another way, through a third token. Right after the earlier label stands
# a comma, or a full stop, and a causal model can collect there what the segment said. So the last
# panel blocks both tokens at once. The change with both blocked, less the sum of the changes with
# either blocked, is {glue:text}`beyond_sum`. Below 0, each of the two would stand in for the other;
# above 0, the same answers would need both. Near 0 the losses add up, as if some prompts needed the
# one token and others the other. And a clear loss need not be a large one: with many prompts, even
# a blocked random token can cost a little.
#
# The two tokens are also read at different depths: the earlier label in low layers, as in Llama,
# the token after it in the layers just below those in which the last token reads the query label.
#
# ## The same readings in every version
#
# If fine-tuning improves a mechanism and leaves it what it is, a better version needs the readings
# that {glue:text}`version_short` needs. So each reading is blocked in all layers of every version,
# on {glue:text}`n_prompts_others` prompts. Clearly better than {glue:text}`version_short` on these:
# {glue:text}`better_list`. A smaller gain needs more scenes to be clear ({doc}`10_messages`).

# %%
below = families.lineage(family, families.reference(family))[:-1]
compared = others.split() or [v for v in families.versions(family) if v not in below]
fixed = tuple(edge for edge in EDGES if RANDOM not in edge)
asked = scenes(n_others, split="evaluation", seed=seed)
few = encode(model.tokenizer, all_queries(asked, format=format))
by_version = {
    v: knock_out(load(f"{family}/{v}"), few, edges=fixed, layers=(0,), seed=seed)
    for v in dict.fromkeys([version, *compared])
}

# %%
# figure: fig-readings-by-version
# caption: Change in accuracy with one reading blocked in all layers, as a share of the version's
#   unblocked accuracy; -1: no answer is right any more. Whiskers: 95 % intervals over scenes.
show(figures.readings_by_version(by_version))

# %% tags=["hide-input"]
show(tables.readings_by_version(by_version))
own = by_version[version]
edges = {v: difference(k.plain, own.plain, clusters=k.scenes) for v, k in by_version.items()}
better = [v for v, edge in edges.items() if direction(edge) == "higher"]
best = max(by_version, key=lambda v: by_version[v].plain.mean())
glue(
    version_short=version,
    n_prompts_others=len(few),
    better_list=listed(better),
    best_version=best,
)

# %% tags=["hide-input"]
named = {"label": EDGES[2], "after": EDGES[-2], "both": EDGES[-1]}
for when, v in (("own", version), ("best", best)):
    lost = {name: figures.share_lost(by_version[v], edge) for name, edge in named.items()}
    glue(**{f"{name}_lost_{when}": f"{-share.value:.0%}" for name, share in lost.items()})

# %% [markdown]
# Does the most accurate version, {glue:text}`best_version`, need the same as
# {glue:text}`version_short`? Where the query label cannot read the earlier label,
# {glue:text}`label_lost_own` of the right answers are lost in {glue:text}`version_short` and
# {glue:text}`label_lost_best` in {glue:text}`best_version`; where it cannot read the token after
# that label, {glue:text}`after_lost_own` and {glue:text}`after_lost_best`; where it can read
# neither, {glue:text}`both_lost_own` and {glue:text}`both_lost_best`. So the most accurate version
# does only a little worse without the label, as long as it can read the token after it. Without
# both it loses about as much as the other. The figure shows one more difference: it loses more
# where the last token cannot read the query label. But so does `math`, which is not better than
# `base`.
#
# *Caveat.* A reading that is needed in two versions may carry different things in them, by
# different heads. And a version that gets more answers right has more to lose, which is why the
# figure shows shares.
#
# ## Where the heads of each group look
#
# Each group gives the token that its role names {glue:text}`least_times` to {glue:text}`most_times`
# times the attention that the mean of all heads gives it there. The groups are {term}`value
# fetchers <value fetcher>` (A), {term}`position transmitters <position transmitter>` (B),
# {term}`position detectors <position detector>` (C) and {term}`structure readers <structure
# reader>` (D). More attention than usual does not mean that a head singles a token out: value
# fetchers give {glue:text}`on_correct_object` of their attention to the right object, and
# {glue:text}`on_other_objects` to the other objects together. And attention tells where a head
# reads, not whether the answer needs what it reads; that is what the knock-outs are for. These are
# means over all {glue:text}`n_prompts` prompts.

# %%
settings = CircuitSettings(
    format=format,
    n_pairs=n_pairs,
    seed=seed,
    discovery=DiscoveryConfig(structure_role=structure_role or families.structure_role(family)),
)
circuit = find_circuit(model, settings).circuit
roles = dict.fromkeys(circuit.role(name) for name in GROUPS)
masses = {role: attention_mass(model, prompts, role=role) for role in roles}
kept = {name: heads for name, heads in circuit.groups.items() if heads}
groups = {name: masses[circuit.role(name)].of(heads) for name, heads in kept.items()}
average = {name: masses[circuit.role(name)].everywhere for name in kept}

# %%
# figure: fig-attention-mass
# caption: Share of attention that the circuit's heads give to each kind of token, from the token
#   where the group acts; mean over heads and prompts, with 95 % intervals over scenes. Grey ticks:
#   mean of all heads at that token. Each group's bars sum to one.
show(figures.attention_shares(groups, average=average))

# %% tags=["hide-input"]
looked = tables.attention(groups, average=average, circuit=circuit)
times = [row[-1] for row in looked.rows]
fetchers = groups.get("value_fetcher", {})
on = {
    f"on_{kind}": f"{fetchers[kind]:.2f}" if fetchers else "not measured"
    for kind in ("correct_object", "other_objects")
}
glue(least_times=f"{min(times):.1f}", most_times=f"{max(times):.1f}", **on)
show(looked, folded=True)

# %% [markdown]
# ## What the paper claims, what we find, verdict
#
# The paper reads its curves like this: the query label reads the earlier label in early layers, the
# last token reads the query label in the middle and the right object late, and it never reads the
# earlier label itself. The rules judge the sign of a loss and not its size. When the query label
# may not read the earlier label, accuracy changes by {glue:text}`recall_paper` in Llama-7B and by
# {glue:text}`recall_here` here. When it may not read the token after that label, which the paper
# did not block, accuracy changes by {glue:text}`after_here`; with both blocked, by
# {glue:text}`both_here`. The order is judged by the steps between the half-way depths, each with
# its interval over scenes.

# %% tags=["hide-input"]
fetch, pass_on, recall, direct, *_, after, both = EDGES
change = {edge: found.loss(edge, found.layers[0]) for edge in EDGES}
depths = [found.half_way(edge) for edge in (recall, pass_on, fetch)]
steps = [found.step(recall, pass_on), found.step(pass_on, fetch)]
glue(
    recall_paper=f"{findings.knockout_change(recall):+.2f}",
    recall_here=f"{change[recall]:+.2f}",
    after_here=f"{change[after]:+.2f}",
    both_here=f"{change[both]:+.2f}",
    beyond_sum=f"{found.beyond_sum(both, recall, after):+.2f}",
)

# %% tags=["hide-input"]
told = ", ".join(map(tables.depth_words, depths))
words = [figures.edge_words(edge) for edge, _ in needed]
in_better = {v: tuple(by_version[v].loss(e, 0) for e, _ in needed) for v in better if needed}
judge(
    claim("last_reads_object", change[fetch]),
    claim("last_reads_query_label", change[pass_on]),
    claim("query_label_reads_earlier_label", change[recall]),
    claim("last_skips_earlier_label", change[direct]),
    claim("order_of_readings", steps, given=None not in depths, depths=told),
    claim("query_label_reads_after", change[after]),
    claim("readings_in_better", in_better, readings=listed(words, none="none")),
    caption="Finding (ii), first part: the way of the answer through the prompt",
)

# %% [markdown]
# ## In three sentences
#
# A knock-out forbids one token to read another, from some layer up, and accuracy shows how much
# that reading mattered. Those that cannot be spared are {glue:text}`needed_readings`. That the
# three of the paper follow each other in depth as there, *{glue:text}`verdict_order_of_readings`*;
# that every clearly better version needs all of these readings too,
# *{glue:text}`verdict_readings_in_better`*.
#
# *Next:* {doc}`06_what_the_heads_carry` asks what is in the message.

# %% [markdown]
# ## Exercises
#
# Those with a function to write need no model: attention is a table of scores, and a knock-out
# gives a row of accuracies. The numbers are made up.

# %% tags=["exercise-setup"]
import torch

from entrack.course.checks import check

dice = torch.Generator().manual_seed(0)
raw_scores = 2 * torch.randn(3, 6, 6, generator=dice)  # [head query key], before any mask
causal = torch.ones(6, 6, dtype=torch.bool).tril()
unblocked = raw_scores.masked_fill(~causal, -torch.inf).softmax(-1)

# %% [markdown]
# :::{exercise} Two roads at once
# :label: ex-flow-detour
#
# The query label reads the earlier label and the token after it. Suppose that the two bring the
# same thing, and either is enough. What do you expect of the change with both blocked, beside the
# changes with either blocked? And what if each brings something of its own?
# :::
#
# :::{solution} ex-flow-detour
# :class: dropdown
#
# If either is enough, each alone costs little and both together cost much: more than the sum of the
# two. If each brings something of its own that is needed, either alone already breaks the answer,
# and both together cost less than the sum, because an answer cannot be lost twice. Here the
# difference is {glue:text}`beyond_sum`. Near 0, neither story fits all prompts: the losses add up
# as if some prompts needed the one token and others the other.
# :::

# %% [markdown]
# ::::{exercise} Block one reading
# :label: ex-flow-block
# :class: write
#
# Write what a knock-out does inside one layer: from the scores of its heads to their attention,
# when one token may not read one other.
#
# :::{admonition} Hint
# :class: dropdown
# What has to happen to the attention that would have gone to the blocked token? Which score gives a
# weight of exactly nothing?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-flow-block"]
# Three slips give plausible tables. With the weight set to zero afterwards the head says less than
# before, so what is measured is also the loss of volume. With the score set to zero the token is
# read as if it were of middling interest. With rows and columns swapped a causal model is not
# changed at all, and the null result looks like a finding. Ask which check of one's own would have
# noticed each.

# %% [markdown]
# :::{solution-start} ex-flow-block
# :class: dropdown
# :::


# %% tags=["answer", "ex-flow-block"]
def blocked(scores, reader, goal):
    """Attention of a causal layer with one reading blocked [head query key].

    scores: of every query for every key, before mask and softmax [head query key]; they stay as
    they were. No query reads a key behind its own position, and the query at position `reader` does
    not read the key at position `goal` either. The weights of every query sum to 1.
    """
    length = scores.shape[-1]
    readable = torch.ones(length, length, dtype=torch.bool).tril()
    readable[reader, goal] = False
    return scores.masked_fill(~readable, -torch.inf).softmax(-1)


# %% [markdown]
# The block joins the causal mask, before the softmax. What would have gone to the blocked token is
# then shared out among the others, in the proportions that they had. That is what the model would
# do if this token were not there for this reader, and it still hands over values of full weight.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-flow-block"]
with check("ex-flow-block", "the reader gives the goal nothing, and its weights still sum to 1"):
    row = blocked(raw_scores, 5, 2)[:, 5]
    assert (row[:, 2] == 0).all(), f"the goal has {row[:, 2].max():.2f}"
    assert torch.allclose(row.sum(-1), torch.ones(3)), f"a sum is {row.sum(-1).min():.2f}"

with check("ex-flow-block", "all other readers read as before, the goal too"):
    others = [0, 1, 2, 3, 5]
    assert torch.allclose(blocked(raw_scores, 4, 2)[:, others], unblocked[:, others])

with check("ex-flow-block", "what is left keeps its proportions"):
    row, before = blocked(raw_scores, 5, 2)[:, 5], unblocked[:, 5]
    left = [0, 1, 3, 4, 5]
    assert torch.allclose(row[:, left] / row[:, :1], before[:, left] / before[:, :1], rtol=1e-4)

# %% tags=["hidden-test", "ex-flow-block"]
with check("ex-flow-block", "the scores stay as they were, and nobody reads ahead"):
    kept_scores = raw_scores.clone()
    pattern = blocked(raw_scores, 3, 0)
    assert torch.equal(raw_scores, kept_scores) and (pattern.triu(1) == 0).all()

with check("ex-flow-block", "a head that gave nearly all to the goal finds something else to read"):
    steep = raw_scores.clone()
    steep[:, 5, 2] = 200.0
    row = blocked(steep, 5, 2)[:, 5]
    assert row.isfinite().all() and torch.allclose(row.sum(-1), torch.ones(3))


# %% tags=["wrong-answer", "ex-flow-block"]
# slip: the weight is set to zero after the softmax
def blocked(scores, reader, goal):
    length = scores.shape[-1]
    readable = torch.ones(length, length, dtype=torch.bool).tril()
    weights = scores.masked_fill(~readable, -torch.inf).softmax(-1)
    weights[:, reader, goal] = 0
    return weights


# %% tags=["wrong-answer", "ex-flow-block"]
# slip: a score of zero is taken for no attention
def blocked(scores, reader, goal):
    length = scores.shape[-1]
    readable = torch.ones(length, length, dtype=torch.bool).tril()
    lowered = scores.clone()
    lowered[:, reader, goal] = 0
    return lowered.masked_fill(~readable, -torch.inf).softmax(-1)


# %% tags=["wrong-answer", "ex-flow-block"]
# slip: query and key are swapped, and the causal mask hides it
def blocked(scores, reader, goal):
    length = scores.shape[-1]
    readable = torch.ones(length, length, dtype=torch.bool).tril()
    readable[goal, reader] = False
    return scores.masked_fill(~readable, -torch.inf).softmax(-1)


# %% tags=["wrong-answer", "ex-flow-block"]
# slip: the goal is hidden from every later token
def blocked(scores, reader, goal):
    length = scores.shape[-1]
    readable = torch.ones(length, length, dtype=torch.bool).tril()
    readable[goal + 1 :, goal] = False
    return scores.masked_fill(~readable, -torch.inf).softmax(-1)


# %% [markdown]
# ::::{exercise} How much of it goes where
# :label: ex-flow-kinds
# :class: write
#
# {numref}`fig-attention-mass` sums attention over kinds of tokens. In every prompt another object
# is the right one, so a kind stands at another position each time. Write the sum.
#
# :::{admonition} Hint
# :class: dropdown
# A table of zeros and ones that says which token belongs to which kind makes this one product.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-flow-kinds"]
# A mean over the tokens of a kind answers another question, how much *one* other object gets, and
# is the right thing when a head's preference is asked for. Have them say in words what either bar
# would mean for value fetchers: six other objects share what is given to other objects. If the sum
# over all kinds is not 1, something is wrong.

# %% [markdown]
# :::{solution-start} ex-flow-kinds
# :class: dropdown
# :::


# %% tags=["answer", "ex-flow-kinds"]
def attention_by_kind(weights, kinds, n_kinds):
    """Mean share of attention that each head gives to each kind of token [head kind].

    weights: attention from one token [prompt head pos], which sums to 1 over positions; kinds: of
    which kind each token is, 0 to n_kinds - 1 [prompt pos]. A share is all that the tokens of a
    kind get together in a prompt, 0 where it has none; the mean is over all prompts.
    """
    belongs = torch.nn.functional.one_hot(kinds, n_kinds).to(weights.dtype)  # [prompt pos kind]
    return torch.einsum("nhp,npk->nhk", weights, belongs).mean(0)


# %% [markdown]
# Each token belongs to one kind, so the shares of a head sum to 1, as its attention does. The table
# of kinds has a row for each prompt: the right object stands where this prompt's question puts it.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-flow-kinds"]
with check("ex-flow-kinds", "over all kinds the shares of a head sum to 1, empty kinds included"):
    kinds = torch.tensor([[0, 1, 1, 2, 2, 2], [0, 2, 1, 2, 1, 2]])
    shares = attention_by_kind(unblocked[None, :, 5].expand(2, -1, -1), kinds, 4)
    assert shares.shape == (3, 4) and torch.allclose(shares.sum(-1), torch.ones(3))

with check("ex-flow-kinds", "tokens of one kind are taken together"):
    even = torch.full((1, 1, 6), 1 / 6)
    shares = attention_by_kind(even, torch.tensor([[0, 1, 1, 2, 2, 2]]), 3)
    assert torch.allclose(shares, torch.tensor([[1 / 6, 2 / 6, 3 / 6]]))

with check("ex-flow-kinds", "each prompt has its own kinds"):
    first_only = torch.eye(3)[[0, 0]][:, None]
    shares = attention_by_kind(first_only, torch.tensor([[1, 0, 0], [0, 1, 1]]), 2)
    assert torch.allclose(shares, torch.tensor([[0.5, 0.5]])), f"they are {shares.tolist()}"

# %% tags=["hidden-test", "ex-flow-kinds"]
with check("ex-flow-kinds", "a kind that one of two prompts lacks counts as nothing there"):
    last_only = torch.eye(3)[[2, 2]][:, None]
    shares = attention_by_kind(last_only, torch.tensor([[0, 0, 1], [0, 0, 0]]), 2)
    assert abs(float(shares[0, 1]) - 0.5) < 1e-6 and abs(float(shares.sum()) - 1) < 1e-6


# %% tags=["wrong-answer", "ex-flow-kinds"]
# slip: the mean over the tokens of a kind in place of their sum
def attention_by_kind(weights, kinds, n_kinds):
    belongs = torch.nn.functional.one_hot(kinds, n_kinds).to(weights.dtype)
    sizes = belongs.sum(1).clamp(min=1)[:, None]
    return (torch.einsum("nhp,npk->nhk", weights, belongs) / sizes).mean(0)


# %% tags=["wrong-answer", "ex-flow-kinds"]
# slip: attention is averaged over prompts first, and the first prompt's kinds are used for all
def attention_by_kind(weights, kinds, n_kinds):
    belongs = torch.nn.functional.one_hot(kinds[0], n_kinds).to(weights.dtype)
    return weights.mean(0) @ belongs


# %% tags=["wrong-answer", "ex-flow-kinds"]
# slip: summed over prompts, not averaged
def attention_by_kind(weights, kinds, n_kinds):
    belongs = torch.nn.functional.one_hot(kinds, n_kinds).to(weights.dtype)
    return torch.einsum("nhp,npk->hk", weights, belongs)


# %% [markdown]
# ::::{exercise} Where half is won back
# :label: ex-flow-half
# :class: measure
#
# A curve of {numref}`fig-knockout` becomes one number: the depth at which half of the loss is won
# back. Write it, then measure it for a reading of this chapter, such as `EDGES[0]`: the accuracies
# are `found.hits[EDGES[0]].mean(1)`, the layers `found.layers`. Does it agree with
# `found.half_way(EDGES[0])`? What would it say of a reading whose curve is flat?
#
# :::{admonition} Hint
# :class: dropdown
# The loss runs from the accuracy at the left edge to the unblocked one. Half of it is not half of
# the accuracy.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-flow-half"]
# Ask what the number hides: two steps look like one slope, and a curve that wins back half at once
# and the rest at the end has the same number as one that climbs evenly. For a flat curve the number
# is noise divided by noise, which is why the book gives none where blocking everywhere does no
# clear harm.

# %% [markdown]
# :::{solution-start} ex-flow-half
# :class: dropdown
# :::


# %% tags=["answer", "ex-flow-half"]
def half_way_depth(accuracy, layers, plain, n_layers):
    """Depth (0 to 1, a share of the layers) at which half of the loss is won back.

    accuracy: with a reading blocked from each of `layers` up, ascending [layer]; the first one is
    below half way, a later one above it. plain: accuracy with nothing blocked. Between two layers
    the curve is a straight line, and its first crossing counts.
    """
    level = (accuracy[0] + plain) / 2
    above = next(i for i, value in enumerate(accuracy) if value >= level)
    low, high = layers[above - 1], layers[above]
    climbed = (level - accuracy[above - 1]) / (accuracy[above] - accuracy[above - 1])
    return float(low + climbed * (high - low)) / n_layers


# %% [markdown]
# The level is half way between the blocked and the unblocked accuracy, and the crossing is read off
# the line between the two layers beside it. Divided by the number of layers it can be compared with
# a model of another depth. A flat curve has no loss to win back: the level lies among its wiggles,
# and the number means nothing.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-flow-half"]
with check("ex-flow-half", "an even climb from 0.2 to 1 over ten layers is half done after five"):
    depth = half_way_depth([0.2, 0.36, 0.52, 0.68, 0.84, 1.0], [0, 2, 4, 6, 8, 10], 1.0, 10)
    assert abs(depth - 0.5) < 1e-6, f"it came out as {depth:.3f}"

with check("ex-flow-half", "half of a small loss is crossed between the layers beside the step"):
    depth = half_way_depth([0.8, 0.8, 0.9, 0.9], [0, 4, 8, 12], 0.9, 16)
    assert abs(depth - 6 / 16) < 1e-6, f"it came out as {depth:.3f}"

# %% tags=["hidden-test", "ex-flow-half"]
with check("ex-flow-half", "of two crossings the first counts"):
    depth = half_way_depth([0.0, 1.0, 0.2, 1.0], [0, 1, 2, 3], 1.0, 4)
    assert abs(depth - 0.125) < 1e-6


# %% tags=["wrong-answer", "ex-flow-half"]
# slip: half of the unblocked accuracy in place of half of the loss
def half_way_depth(accuracy, layers, plain, n_layers):
    level = plain / 2
    above = max(1, next(i for i, value in enumerate(accuracy) if value >= level))
    low, high = layers[above - 1], layers[above]
    climbed = (level - accuracy[above - 1]) / max(accuracy[above] - accuracy[above - 1], 1e-9)
    return float(low + climbed * (high - low)) / n_layers


# %% tags=["wrong-answer", "ex-flow-half"]
# slip: the number of the point is taken for that of the layer
def half_way_depth(accuracy, layers, plain, n_layers):
    level = (accuracy[0] + plain) / 2
    above = next(i for i, value in enumerate(accuracy) if value >= level)
    climbed = (level - accuracy[above - 1]) / (accuracy[above] - accuracy[above - 1])
    return float(above - 1 + climbed) / n_layers


# %% tags=["wrong-answer", "ex-flow-half"]
# slip: the first layer above half way, with no line between the layers
def half_way_depth(accuracy, layers, plain, n_layers):
    level = (accuracy[0] + plain) / 2
    return next(at for at, value in zip(layers, accuracy, strict=True) if value >= level) / n_layers


# %% [markdown]
# :::{exercise} Round the block
# :label: ex-flow-around
#
# Suppose that in some model nothing is lost when the last token may not read the query label.
# "So the last token needs nothing from the query label." Criticise this: name another
# explanation, and the knock-out that tells the two apart. What would a random token, blocked in
# the label's place, tell you?
# :::
#
# :::{solution} ex-flow-around
# :class: dropdown
#
# Between the two stands "contains". It may read the label, and the last token may read it from
# there: the same information takes another way. Block both readings of the last token, or let
# neither "contains" nor the last token read the label. If the accuracy then falls by more than the
# two losses together, the detour was in use; if nothing falls, the claim stands.
#
# A random token does not help here. It tells how much a knock-out costs that blocks nothing of
# use, and so guards against the opposite mistake: taking for a reading what is only the disturbance
# of a block.
# :::

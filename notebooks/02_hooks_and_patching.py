# %% [markdown]
# # Hooks and patching, from the first step
#
# What does a model hold at a token, and in which layer? To find out, we have to change what it
# holds there. A *{term}`patch`* takes an activation from another prompt and puts it in; then we see
# what the answer becomes. In {glue:text}`model_name`, a patch of the last token makes up to
# {glue:text}`best_position_last` of the prompts follow the *position* that the other prompt asks
# for; without a patch {glue:text}`floor_position:.2f` give that answer. A patch of the query label
# does so in up to {glue:text}`best_position_query_label`.
#
# *Objectives:* see what a hook sees; patch by hand and know that the patch happened; read a
# patching curve against its {term}`floor`; read an attention pattern and know what it does not
# prove. *Time:* 45 minutes. *Before it:* {doc}`01_task`; the idea of attention {term}`heads <head>`
# and of a {term}`residual stream`.

# %% tags=["parameters"]
family: str = "smollm2-unprimed"  # model family
model: str = ""  # family/version, a folder, or hub id@revision; empty: the family reference
n_prompts: int = 84  # per desideratum; 42, 84, ... balance positions [42, 4200]
n_patterns: int = 21  # prompts whose attention is read [7, 500]
seed: int = 0  # of the scenes [0, 1000000]

# %% [markdown]
# ## What a hook sees
#
# A *{term}`hook`* is a function that runs whenever a module of the model runs, and is shown what
# goes in and what comes out. `Trace`, named after the class of the library `baukit`
# {cite:p}`bau2022baukit`, keeps both for the length of a `with` block.
#
# The place to look at a single head is the *input* of `o_proj`. There the outputs of all heads
# stand side by side, not yet mixed. The paper calls one head's share *z*.
#
# ```{admonition} Predict before you run
# :class: tip
# Before you open the table: with the sizes printed first, which shapes do the input and the output
# of `o_proj` have? Which side can be cut into heads?
# ```

# %%
from entrack.task.draws import examples
from entrack.task.prompts import encode
from entrack.versions import families
from entrack.versions.loading import load

lm = load(model or f"{family}/{families.reference(family)}")
prompts = encode(lm.tokenizer, examples(7, split="evaluation", seed=seed))
print(f"{lm.n_layers} layers of {lm.n_heads} heads, {lm.n_kv_heads} key-value heads")
print(f"d_head {lm.d_head}, d_model {lm.d_model}")
print(f"{len(prompts)} prompts of {prompts.tokens.shape[1]} tokens")

# %%
import torch

from entrack.model.hooks import Trace, TraceDict

layer = lm.n_layers // 2
site, o_site, k_site = f"model.layers.{layer}", lm.site(layer, "o_proj"), lm.site(layer, "k_proj")
tokens = prompts.tokens.to(lm.device)

with TraceDict(lm.hf, [site, o_site, k_site], retain_input=True) as traces, torch.no_grad():
    clean = lm.hf(tokens).logits
z = traces[o_site].input.unflatten(-1, (lm.n_heads, lm.d_head))

# %%
from entrack.display.cells import show
from entrack.tables import patching as tables

seen = {
    "residual stream entering the layer": ("[example pos d_model]", traces[site].input),
    "entering o_proj: z, heads side by side": ("[example pos head*d_head]", traces[o_site].input),
    "the same, cut into heads": ("[example pos head d_head]", z),
    "leaving o_proj: heads mixed": ("[example pos d_model]", traces[o_site].output),
    "keys, leaving k_proj": ("[example pos kv_head*d_head]", traces[k_site].output),
}
show(tables.shapes(seen, layer=layer), folded=True)

# %% [markdown]
# After `o_proj` a head can no longer be cut out, but its contribution can still be computed: the
# matrix is a row of blocks, one per head, and the output is the sum of what each block makes of its
# own z. The cell checks it.

# %%
with torch.no_grad():
    # [d_model head d_head]
    blocks = lm.hf.get_submodule(o_site).weight.unflatten(1, z.shape[2:])
    by_head = torch.einsum("bphd,mhd->bphm", z, blocks)
gap = (by_head.sum(2) - traces[o_site].output).abs().max().item()
largest = by_head.abs().max().item()
assert gap < 1e-2 * largest
print(f"heads summed, minus o_proj's output: at most {gap / largest:.1e} of the largest part")

# %% [markdown]
# ## Patch with itself
#
# The first patch of any project should change nothing: replace a value by *itself*. If the logits
# move, the code is wrong, and you know it before you have a result that you like.

# %%
own = traces[site].input

with Trace(lm.hf, site, edit_input=lambda x: own), torch.no_grad():
    patched = lm.hf(tokens).logits
moved = (patched - clean).abs().max().item()
assert moved == 0

# %%
with Trace(lm.hf, site, edit_input=lambda x: own.roll(1, dims=0)), torch.no_grad():
    swapped = lm.hf(tokens).logits
moved_by_others = (swapped - clean).abs().max().item()
assert moved_by_others > 0

# %% tags=["hide-input"]
from entrack.display.cells import glue

glue(model_name=lm.name, identity_difference=moved, swap_difference=moved_by_others)

# %% [markdown]
# Patched with itself, the logits differ by {glue:text}`identity_difference:.1f`: not a bit has
# changed. Patched with the next prompt's stream, they differ by up to
# {glue:text}`swap_difference:.0f`. Both numbers are needed: a hook that does nothing at all also
# passes the identity test.
#
# ## What goes wrong without a word
#
# Code that patches models often fails without an error. Here are four ways, shown on this model and
# these prompts with PyTorch's own hooks, as they are often used.
#
# **1. Modules that are called with keywords only.** transformers gives attention its input by
# keyword. An ordinary hook is shown an empty tuple.

# %%
attention = lm.hf.get_submodule(f"{site}.self_attn")
shown = []
handle = attention.register_forward_pre_hook(lambda module, args: shown.append(args))
with torch.no_grad():
    lm.hf(tokens)
handle.remove()

# %%
attention_site = f"model.layers.{layer}.self_attn"
with Trace(lm.hf, attention_site, retain_input=True) as trace, torch.no_grad():
    lm.hf(tokens)
print(f"ordinary hook: {shown[0]};  Trace: a tensor of shape {tuple(trace.input.shape)}")

# %% [markdown]
# **2. A cache that is edited later.** A hook that keeps a tensor keeps the tensor itself, no copy
# of it. An edit *in place* further on reaches back and changes what was kept as "clean".

# %%
kept = []
o_proj = lm.hf.get_submodule(o_site)
last = prompts.tokens.shape[1] - 1


def zero_in_place(module, args):
    args[0][:, last] = 0  # the classic edit


keep = o_proj.register_forward_pre_hook(lambda module, args: kept.append(args[0]))
edit = o_proj.register_forward_pre_hook(zero_in_place)
with torch.no_grad():
    lm.hf(tokens)
keep.remove()
edit.remove()


# %%
def zero_last(x):
    x[:, last] = 0
    return x


with Trace(lm.hf, o_site, retain_input=True, edit_input=zero_last) as traced, torch.no_grad():
    lm.hf(tokens)
size_kept = kept[0][:, last].abs().max().item()
size_traced = traced.input[:, last].abs().max().item()
print("largest 'clean' value at the last token:")
print(f"kept by an ordinary hook {size_kept:.2f}, by Trace {size_traced:.2f}")

# %% [markdown]
# **3. An index meant for a tuple.** Layers used to return a tuple, so old code edits `output[0]`.
# Today they return the tensor, and `output[0]` is the first *example*: one prompt of the batch is
# edited, at the wrong axis, and the rest are the clean run.


# %%
def old_edit(module, args, output):
    output[0][last] = 0  # meant: the last token of every prompt


handle = lm.hf.get_submodule(site).register_forward_hook(old_edit)
with torch.no_grad():
    old = lm.hf(tokens).logits
handle.remove()
edited_old = int(((old - clean).abs().amax((1, 2)) > 0).sum())

with Trace(lm.hf, site, edit_output=zero_last), torch.no_grad():
    new = lm.hf(tokens).logits
edited_new = int(((new - clean).abs().amax((1, 2)) > 0).sum())
print(f"prompts that changed, of {len(prompts)}: old code {edited_old}, Trace {edited_new}")

# %% [markdown]
# **4. An edit that never happens.** A hook on a module that this run does not reach does nothing,
# and the result looks like a careful null result. `Trace` raises an error instead.

# %%
from entrack.errors import EntrackError

try:
    with Trace(lm.hf, "lm_head", edit_output=lambda x: 0 * x), torch.no_grad():
        lm.hf.model(tokens)  # stops before lm_head
except EntrackError as error:
    refused = f"{type(error).__name__}: {error}"
print(refused)

# %% tags=["hide-input"]
assert not shown[0] and trace.input.ndim == 3
assert size_kept == 0 < size_traced
assert edited_old == 1 and edited_new == len(prompts)
edited = "{} of " + f"{len(prompts)} prompts edited"
rows = [
    ["attention called by keyword", "no tensor seen", "the tensor seen"],
    ["cache edited in place later", f"'clean' is {size_kept:.2f}", f"clean is {size_traced:.2f}"],
    ["output[0] of a tensor", edited.format(edited_old), edited.format(edited_new)],
    ["module never reached", "the clean run, as if patched", refused.partition(":")[0]],
]
show(tables.silent_failures(rows), folded=True)

# %% [markdown]
# ## One patch by hand
#
# Now a patch that asks something. The *base* prompt is run with a piece of the *source* prompt's
# run. The two share no object, and they ask for different positions, so each idea of what was
# carried predicts another answer:
#
# - if the token carried the **object**, the base answers with the source's object;
# - if it carried the **position**, the base answers with *its own* object at the position that the
#   source asks for;
# - if it carried the **label**, the base answers with its own object in the box that the source
#   names. This needs pairs of their own, in which base and source have that label at different
#   positions.
#
# A rule of this kind, with its prompts and its expected answer, is a *{term}`desideratum`*
# {cite:p}`davies2023dcm`.
#
# ```{admonition} Predict before you run
# :class: tip
# We patch the last token, "the", at one layer after the other. What will the answer be at layer 0?
# After the last layer? And between?
# ```

# %%
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.task.desiderata import build

counterfactuals = {
    name: build(name, n_prompts, split="evaluation", seed=seed)
    for name in ("object", "position", "label")
}
pairs = encode_counterfactuals(lm.tokenizer, counterfactuals["position"])

# %%
from entrack.model.answers import answers_of

# The first four pairs whose prompts are both answered rightly.
tried = pairs.subset(range(min(14, n_prompts)))
both_right = (answers_of(lm, tried.base).hit & answers_of(lm, tried.source).hit)[:, 0]
first_four = both_right.int().argsort(descending=True, stable=True)[:4].tolist()
few = pairs.subset(first_four)
show(tables.pair(few))

# %%
entering = [f"model.layers.{layer}" for layer in range(lm.n_layers)] + ["model.norm"]
with TraceDict(lm.hf, entering, retain_input=True) as source, torch.no_grad():
    lm.hf(few.source.tokens.to(lm.device))


def answers_with_patch(layer):
    """The bases' answers when the last token's stream entering `layer` is the source's."""

    def put(x):
        return torch.cat([x[:, :-1], source[entering[layer]].input[:, -1:]], dim=1)

    with Trace(lm.hf, entering[layer], edit_input=put), torch.no_grad():
        best = lm.hf(few.base.tokens.to(lm.device), logits_to_keep=1).logits[:, -1].argmax(-1)
    return [lm.tokenizer.decode(token).strip() for token in best]


# %%
layers = [0, *range(lm.n_layers // 2, lm.n_layers, 3), lm.n_layers]
answers = {layer: answers_with_patch(layer) for layer in layers}


def meaning(word, pair):
    """The answer, and which idea of what was carried predicts it."""
    predicted = {pair.base.answer: "own", pair.answer: "position", pair.source.answer: "object"}
    return f"{word} ({predicted.get(word, 'other')})"


# %% tags=["hide-input"]
four = [counterfactuals["position"][index] for index in first_four]
told = {layer: list(map(meaning, answers[layer], four)) for layer in layers}
show(tables.answers_by_layer(told))

# %% [markdown]
# *Own* is the base's own answer, *position* its object at the place where the source asks, *object*
# the source's answer, *other* none of these. Every third layer was tried, and the table has a row
# for each at which an answer changes; the number of layers stands for what leaves the last one.
#
# Four pairs are an illustration and prove nothing. They are the first four whose two prompts the
# model answers right, whatever their patches then show. The next section counts.
#
# ## The same for many prompts
#
# The score of a patch is the share of prompts whose most likely token is the expected answer. Two
# numbers belong to it:
#
# - the **floor**: how often the *unpatched* base gives that answer. It is not zero, because a model
#   that errs sometimes errs this way. Dotted in the figures.
# - the **end**: behind the last layer, the object's score is the share of source prompts that the
#   model answers right, {glue:text}`source_right:.2f`. At its best layer it differs from that by
#   {glue:text}`over_source`. More is possible: a base that is patched late may keep what the
#   source's own last layers undo.
#
# Each share below is over {glue:text}`n_prompts_used` prompts per desideratum.

# %%
from entrack.patching.residual_patching import patch_residual

curves = {
    name: patch_residual(lm, made, roles=["last", "query_label"])
    for name, made in counterfactuals.items()
}

# %%
# figure: fig-resid-last
# caption: Residual stream patched at the last token: share of prompts with the answer that each
#   desideratum expects, by layer. Bars: 95 % intervals (Wilson). Dotted: the floor, without a
#   patch.
from entrack.display.cells import show
from entrack.figures.patching import layer_curves

show(layer_curves([by_role["last"] for by_role in curves.values()]))

# %%
# figure: fig-resid-label
# caption: Residual stream patched at the query label: share of prompts with the answer that each
#   desideratum expects, by layer. Bars: 95 % intervals (Wilson). Dotted: the floor, without a
#   patch.
show(layer_curves([by_role["query_label"] for by_role in curves.values()]))

# %%
show(tables.carried(curves), folded=True)

# %% tags=["hide-input"]
thing, position = curves["object"]["last"], curves["position"]["last"]
at_label = curves["position"]["query_label"]
glue(
    n_prompts_used=n_prompts,
    source_right=float(thing.source_right.mean()),
    over_source=thing.over_source,
    end_object=float(thing.hits[-1].mean()),
    object_takes_over=thing.steepest,
    floor_position=float(position.floor.mean()),
    best_position_last=position.best,
    best_position_query_label=at_label.best,
)

# %% [markdown]
# Compare the two figures: what does each of the two tokens carry, and in which layers? At the query
# label it is first the label, and in higher layers the position. At the last token it is first the
# position, and above that the object. The object's share there rises most across layer
# {glue:text}`object_takes_over`: that layer brings most of the object there.
#
# The folded table names the layers: those around the best that reach at least half of its share
# above the floor. Read a row as: patch this token at one of these layers, and so many prompts take
# this from the source.
#
# *Caveats.* A patch of the whole stream says that something is there, not which heads put it there
# or read it: that takes heads and paths, from {doc}`the next chapter <03_circuit>` on. And
# "carried" has a meaning only against the floor, which a patch can itself raise. The source's
# letter, put into the question at an early layer, names a box that the base does not have; a model
# that must guess hits the expected position about one time in seven. That can lift the position's
# curve at the query label above its dotted floor in the early layers.
#
# ## Reading attention
#
# Which heads could bring the object? Those that look from the last token at the right object.
# Attention is read here from the clean run: each head's query at the last token against all keys.

# %%
from entrack.model.attention import patterns
from entrack.sites import Head

every_head = [Head(layer, head) for layer in range(lm.n_layers) for head in range(lm.n_heads)]
looked = encode(lm.tokenizer, examples(n_patterns, split="evaluation", seed=seed))
attended = patterns(lm, looked, every_head, role="last")
on_object = attended.on("correct_object").mean(0).unflatten(0, (lm.n_layers, lm.n_heads))
# The head that looks there most, in the layer that the curve points at.
head = Head(thing.steepest, int(on_object[thing.steepest].argmax()))

# %%
# figure: fig-attention-map
# caption: Mean share of attention from the last token to the right object, every head of the model.
#   Ringed: the head that looks there most in the layer across which the object's curve rises most.
from entrack.figures.patching import head_map

show(head_map(on_object, found=head))

# %% [markdown]
# The layer comes from the curve of the object, the head from the map: {glue:text}`found_head`. One
# prompt, as an example:

# %%
# figure: fig-attention-bars
# caption: Where the ringed head of the map looks from the last token in one prompt, share of
#   attention by token. Hover for the words.
from entrack.figures.patching import pattern_bars

index = every_head.index(head)
show(pattern_bars(attended, 2, head=index))

# %% [markdown]
# And over all {glue:text}`n_patterns_used` prompts:

# %%
right = attended.on("correct_object")[:, index]
objects = attended.by_box("object")[:, index].sum(1)
labels = attended.by_box("label")[:, index].sum(1)
asked = attended.on("query_label")[:, index]
parts = {
    "the right object": right,
    "the other objects together": objects - right,
    "the labels in the context": labels,
    "the query label": asked,
    "everything else": 1 - objects - labels - asked,
}
show(tables.attention_parts(parts, head=head), folded=True)

# %% tags=["hide-input"]
n_others = looked.segments["object"].shape[1] - 1
glue(
    found_head=str(head),
    n_patterns_used=n_patterns,
    found_head_on_object=float(right.mean()),
    found_head_on_other_object=float((objects - right).mean()) / n_others,
)

# %% [markdown]
# The head gives the right object {glue:text}`found_head_on_object:.2f` of its attention, and each
# other object {glue:text}`found_head_on_other_object:.2f` on average.
#
# *Caveat.* A pattern says where a head reads from, not what it passes on, nor whether anything
# reads that. It is a hint where to patch next.
#
# ## What the paper claims, what we find
#
# The paper patches groups of heads and not the stream: position transmitters (B) at the last token,
# position detectors (C) at the query label. So its numbers and ours are not on one scale; what can
# be compared is *what is carried where*. The number for "before" is the share of prompts with the
# position less that with the object, at the layer that is best for the position. Each other is a
# share of prompts at the best layer, minus the share without a patch, on the same prompts.

# %%
from entrack.stats.metrics import difference

at_peak = position.layers.index(position.peak)
before_object = difference(position.hits[at_peak], thing.hits[at_peak])

# %% tags=["hide-input"]
from entrack.display.cells import judge
from entrack.paper.claims import claim

judge(
    claim("position_at_last", position.over_floor),
    claim("position_at_query_label", at_label.over_floor),
    claim("position_before_object", before_object, layer=position.peak),
    claim("label_at_query_label", curves["label"]["query_label"].over_floor),
    caption=f"What is carried where, in {lm.name}; the paper's numbers are Llama-7B's.",
)

# %% [markdown]
# The last claim is ours. The released code scores a wrong token for the label, so that the paper's
# number for it is void ({doc}`09_as_published`).

# %% [markdown]
# ## In three sentences
#
# In one layer after the other, what {glue:text}`model_name` holds at one token was replaced by what
# it held there in another prompt, and we counted the answers. Patched at the last token, up to
# {glue:text}`best_position_last` of the prompts follow the position that the source asks for, where
# {glue:text}`floor_position:.2f` give that answer without a patch; that the last token holds where
# to look in lower layers than the object: *{glue:text}`verdict_position_before_object`*. Each share
# is that of the best layer, chosen on the same prompts, and a patch of the whole stream does not
# say which heads did it.
#
# *Next:* {doc}`03_circuit` asks which heads bring the object there.

# %% [markdown]
# ## Exercises
#
# Those with a function to write run on a small model of random weights, in a second. It knows
# nothing: what is practised is the method. `z_of` reads the outputs of all heads of a layer, and
# `stream_with` gives the residual stream entering each layer, and after the last, when these
# outputs are edited.

# %% tags=["exercise-setup"]
import torch

from entrack.course.checks import check
from entrack.model.hooks import Trace, TraceDict
from entrack.versions.tiny import tiny_model, tiny_tokens

small = tiny_model(n_layers=4, seed=0)
ours, theirs = tiny_tokens(5, 8, seed=1), tiny_tokens(5, 8, seed=2)
entering_small = [f"model.layers.{layer}" for layer in range(small.n_layers)] + ["model.norm"]


# %% tags=["exercise-setup"]
def z_of(tokens, layer):
    """Outputs of all heads of a layer [example pos head d_head]."""
    with Trace(small.hf, small.site(layer, "o_proj"), retain_input=True) as seen, torch.no_grad():
        small.hf(tokens)
    return seen.input.unflatten(-1, (small.n_heads, small.d_head))


def stream_with(tokens, layer, edit):
    """The stream [entering pos d_model], with `edit` at the input of `o_proj` of a layer."""
    site = small.site(layer, "o_proj")
    with TraceDict(small.hf, entering_small, retain_input=True) as seen:
        with Trace(small.hf, site, edit_input=edit), torch.no_grad():
            small.hf(tokens)
    return torch.stack([seen[name].input for name in entering_small])


# %% [markdown]
# :::{exercise} The two ends of the curve
# :label: ex-patch-ends
#
# Look at {numref}`fig-resid-last`. Why is the share of every desideratum at layer 0 exactly its
# floor? Why is the object's share behind the last layer exactly the share of source prompts that
# the model answers right?
# :::
#
# :::{solution} ex-patch-ends
# :class: dropdown
#
# Entering layer 0, the last token is nothing but the embedding of "the", the same in base and
# source: the patch is the identity. Behind the last layer only the output norm and matrix follow,
# so the base says what the source says: {glue:text}`end_object:.2f` against
# {glue:text}`source_right:.2f`.
# :::

# %% [markdown]
# ::::{exercise} Where an edit can be felt
# :label: ex-patch-reach
# :class: predict
#
# One head of one layer is edited at one position. At which layers and positions can the residual
# stream differ from the clean run? Write the answer down before you run the checks, which compare
# it with the small model.
#
# :::{admonition} Hint
# :class: dropdown
# `o_proj` writes into the stream of its own position. How does anything get from one position to
# another, and in which layer does that happen first?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-patch-reach"]
# Most draw a rectangle: everything to the right and above. Ask which module could have carried the
# change to the next position inside the edited layer. Then ask what this means for a patch of the
# last layer at a position before the last: can it change the answer?

# %% [markdown]
# :::{solution-start} ex-patch-reach
# :class: dropdown
# :::


# %% tags=["answer", "ex-patch-reach"]
def can_differ(layer, position, n_layers, n_positions):
    """Where the stream can differ when a head of `layer` is edited at `position`.

    Returns bool [n_layers + 1, n_positions]: row l is the stream entering layer l, and the last
    row what leaves the last layer.
    """
    reach = torch.zeros(n_layers + 1, n_positions, dtype=torch.bool)
    reach[layer + 1, position] = True
    reach[layer + 2 :, position:] = True
    return reach


# %% [markdown]
# The edited layer writes into its own position only. The next layer's heads read that position
# from every later one, so behind that layer all later positions can differ. Nothing flows back to
# earlier positions: attention is causal.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-patch-reach"]
with check("ex-patch-reach", "what enters the edited layer is the clean run still"):
    assert not can_differ(1, 3, small.n_layers, 8)[:2].any()

with check("ex-patch-reach", "the prediction is what the small model does, layer 1, position 3"):
    clean_stream = stream_with(ours, 1, lambda x: x)
    nudged = stream_with(ours, 1, lambda x: x + (torch.arange(8) == 3)[:, None])
    differs = (nudged != clean_stream).any(-1).any(1)
    assert torch.equal(can_differ(1, 3, small.n_layers, 8), differs)

# %% tags=["hidden-test", "ex-patch-reach"]
with check("ex-patch-reach", "in the last layer an edit stays where it is"):
    last_row = can_differ(3, 2, 4, 8)
    assert last_row.nonzero().tolist() == [[4, 2]]


# %% tags=["wrong-answer", "ex-patch-reach"]
# slip: later positions differ at once, without a layer to carry it
def can_differ(layer, position, n_layers, n_positions):
    reach = torch.zeros(n_layers + 1, n_positions, dtype=torch.bool)
    reach[layer + 1 :, position:] = True
    return reach


# %% tags=["wrong-answer", "ex-patch-reach"]
# slip: the row of the edited layer is counted in
def can_differ(layer, position, n_layers, n_positions):
    reach = torch.zeros(n_layers + 1, n_positions, dtype=torch.bool)
    reach[layer, position] = True
    reach[layer + 1 :, position:] = True
    return reach


# %% [markdown]
# ::::{exercise} A hook that patches one head
# :label: ex-patch-head
# :class: write
#
# Write the edit that puts the output of one head at one position, as another run had it, into this
# run. It goes to the *input* of `o_proj`, where the heads stand side by side.
#
# :::{admonition} Hint
# :class: dropdown
# Cut the last axis into heads, change one place of a copy, and join the heads again.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-patch-head"]
# The slip to wait for is the one that works: a patch of all positions moves the logits too, and
# more. Ask how one would notice. A second one is to cut the axis into d_head groups instead of
# n_heads, which fits here by its size and patches pieces of every head.

# %% [markdown]
# :::{solution-start} ex-patch-head
# :class: dropdown
# :::


# %% tags=["answer", "ex-patch-head"]
def head_patch(source, head, position):
    """An edit for the input of `o_proj` that takes one head at one position from another run.

    source: the other run's head outputs [example pos head d_head]. Returns a function of
    x [example pos head*d_head] that gives x with this one piece replaced.
    """

    def edit(x):
        cut_open = x.unflatten(-1, source.shape[2:]).clone()
        cut_open[:, position, head] = source[:, position, head]
        return cut_open.flatten(2)

    return edit


# %% [markdown]
# The copy matters where the hook is given the run's own tensor: an edit in place would reach back
# into what was kept as clean, as the second of the four failures above shows.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-patch-head"]
with check("ex-patch-head", "patched with its own run, the stream does not change by a bit"):
    same = stream_with(ours, 1, head_patch(z_of(ours, 1), 2, 5))
    assert torch.equal(same, stream_with(ours, 1, lambda x: x))

with check("ex-patch-head", "the chosen head at the chosen position is the source's"):
    given, donor = z_of(ours, 1), z_of(theirs, 1)
    patched_z = head_patch(donor, 2, 5)(given.flatten(2)).unflatten(-1, given.shape[2:])
    assert torch.equal(patched_z[:, 5, 2], donor[:, 5, 2])

with check("ex-patch-head", "no other head and no other position changes"):
    given, donor = z_of(ours, 1), z_of(theirs, 1)
    patched_z = head_patch(donor, 2, 5)(given.flatten(2)).unflatten(-1, given.shape[2:])
    changed = (patched_z != given).any(-1).any(0).nonzero().tolist()
    assert changed == [[5, 2]], f"{len(changed)} pairs of position and head changed"

# %% tags=["hidden-test", "ex-patch-head"]
with check("ex-patch-head", "the tensor that the hook is given stays as it was"):
    given = z_of(ours, 0).flatten(2)
    before = given.clone()
    head_patch(z_of(theirs, 0), 3, -1)(given)
    assert torch.equal(given, before)


# %% tags=["wrong-answer", "ex-patch-head"]
# slip: every position is patched
def head_patch(source, head, position):
    def edit(x):
        cut_open = x.unflatten(-1, source.shape[2:]).clone()
        cut_open[:, :, head] = source[:, :, head]
        return cut_open.flatten(2)

    return edit


# %% tags=["wrong-answer", "ex-patch-head"]
# slip: the axis is cut into d_head pieces of n_heads, which are pieces of every head
def head_patch(source, head, position):
    def edit(x):
        cut_open = x.unflatten(-1, source.shape[:1:-1]).clone()
        cut_open[:, position, :, head] = source[:, position, head]
        return cut_open.flatten(2)

    return edit


# %% [markdown]
# ::::{exercise} Mean ablation by hand
# :label: ex-patch-mean
# :class: write
#
# Take away what a head says about *this* prompt, and leave what it says about any: put in its mean
# over many prompts.
#
# :::{admonition} Hint
# :class: dropdown
# A head's output depends on where it stands. Over which axes may you average, and over which not?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-patch-mean"]
# Ask what each wrong mean keeps or destroys. A mean over positions as well makes every position
# wrong for the layers above, and so makes the head look more important than it is. A mean over the
# prompts under test lets each prompt keep a share of its own output.

# %% [markdown]
# :::{solution-start} ex-patch-mean
# :class: dropdown
# :::


# %% tags=["answer", "ex-patch-mean"]
def mean_ablated(z, reference, head):
    """Head outputs with one head replaced, at each position, by its mean over other prompts.

    z: of the run to change [example pos head d_head]; reference: of the other prompts, of any
    number, at the same positions. Returns a tensor shaped like z; z stays as it was.
    """
    with_mean = z.clone()
    with_mean[:, :, head] = reference[:, :, head].mean(dim=0)
    return with_mean


# %% [markdown]
# One mean a position, from prompts that are not under test. Zero would do something else: the
# layers above have never seen a head that says nothing.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-patch-mean"]
with check("ex-patch-mean", "each position gets the mean of the reference at that position"):
    theirs_z = z_of(theirs, 2)
    got = mean_ablated(z_of(ours, 2), theirs_z, 1)[:, :, 1]
    for place in range(8):
        wanted = sum(theirs_z[:, place, 1]) / len(theirs_z)
        assert torch.allclose(got[:, place], wanted), f"not at position {place}"

with check("ex-patch-mean", "all prompts hold the same at the head, so nothing of them is left"):
    got = mean_ablated(z_of(ours, 2), z_of(theirs, 2), 1)[:, :, 1]
    assert torch.equal(got, got[:1].expand_as(got)) and got.abs().max() > 0

with check("ex-patch-mean", "the other heads are as they were"):
    given = z_of(ours, 2)
    got = mean_ablated(given, z_of(theirs, 2), 1)
    assert torch.equal(got[:, :, [0, 2, 3]], given[:, :, [0, 2, 3]])

# %% tags=["hidden-test", "ex-patch-mean"]
with check("ex-patch-mean", "the number of reference prompts may differ from that of the run"):
    got = mean_ablated(z_of(ours, 2), z_of(theirs, 2)[:1], 0)
    assert torch.equal(got[:, :, 0], z_of(theirs, 2)[:1, :, 0].expand_as(got[:, :, 0]))


# %% tags=["wrong-answer", "ex-patch-mean"]
# slip: one mean over prompts and positions
def mean_ablated(z, reference, head):
    with_mean = z.clone()
    with_mean[:, :, head] = reference[:, :, head].mean(dim=(0, 1))
    return with_mean


# %% tags=["wrong-answer", "ex-patch-mean"]
# slip: the mean of the run under test in place of the reference's
def mean_ablated(z, reference, head):
    with_mean = z.clone()
    with_mean[:, :, head] = z[:, :, head].mean(dim=0)
    return with_mean


# %% tags=["wrong-answer", "ex-patch-mean"]
# slip: zero in place of a mean
def mean_ablated(z, reference, head):
    with_mean = z.clone()
    with_mean[:, :, head] = 0
    return with_mean


# %% [markdown]
# :::{exercise} Silence one head, and prove that you did
# :label: ex-patch-silence
#
# Set the output z of the ringed head to zero at the last token, on the prompts of the first
# section. How often does the right answer's probability fall? Which check tells you that the edit
# happened, and touched only this head?
# :::
#
# :::{solution-start} ex-patch-silence
# :class: dropdown
# :::


# %%
keep = torch.ones(lm.n_heads, lm.d_head, device=lm.device, dtype=lm.dtype)
keep = keep.index_fill(0, torch.tensor(head.head, device=lm.device), 0).flatten()


def silence(z):
    return torch.cat([z[:, :-1], z[:, -1:] * keep], dim=1)


there = lm.site(head.layer, "o_proj")
with Trace(lm.hf, there, retain_input=True, edit_input=silence) as trace, torch.no_grad():
    silenced = lm.hf(tokens).logits

# %%
change = (silence(trace.input) - trace.input).unflatten(-1, (lm.n_heads, lm.d_head))
touched = change.abs().amax((0, 3)) > 0  # [pos head]
assert touched.nonzero().tolist() == [[last, head.head]]  # nothing else
assert torch.equal(silenced[:, :-1], clean[:, :-1])  # earlier tokens cannot change


# %%
def right_answer(logits):
    """Log-probability of the right answer at the last token [example]."""
    right = prompts.answers.to(lm.device)[:, None]
    return logits[:, -1].log_softmax(-1).gather(1, right)[:, 0]


fell = int((right_answer(silenced) < right_answer(clean)).sum())
print(f"the right answer became less likely in {fell} of {len(prompts)} prompts")

# %% [markdown]
# The assertions are the check: one token and one head changed, and no earlier token's logits moved.
# The count alone proves little either way. A head with few losses need not be useless: it also
# looks at the other objects, and with its output at zero their names may be weakened too. And many
# losses may come from the zero itself, for the layers above have never seen a head that says
# nothing.
#
# :::{solution-end}
# :::

# %% [markdown]
# ::::{exercise} The best of many layers
# :label: ex-patch-best
# :class: measure
#
# We report the best layer's score, chosen on the same prompts. How much does that flatter? Choose
# the layer on the first half of the prompts, and score it on the other. Then use your function on
# the curve of this chapter, `torch.from_numpy(position.hits)`, and explain what you see.
#
# :::{admonition} Hint
# :class: dropdown
# The second half must have no say in the choice.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-patch-best"]
# Let them guess the sign first, then the size, and how the size depends on the number of layers and
# of prompts. With two layers and a thousand prompts, is there anything to correct?

# %% [markdown]
# :::{solution-start} ex-patch-best
# :class: dropdown
# :::


# %% tags=["answer", "ex-patch-best"]
def held_out(hits):
    """The layer that is best on the first half of the prompts, and its share on either half.

    hits: bool [layer example], an even number of examples. Returns the row of the layer (int), its
    share on the first half, and its share on the second (floats).
    """
    first, second = hits.float().chunk(2, dim=1)
    row = int(first.mean(dim=1).argmax())
    return row, float(first[row].mean()), float(second[row].mean())


# %%
half = n_prompts // 2
choosing, scoring = position.hits[:, :half], position.hits[:, half:]
at = choosing.mean(1).argmax()
print(f"position at the last token, layer {position.layers[at]} chosen on one half:")
print(f"{choosing[at].mean():.2f} there, {scoring[at].mean():.2f} on the other half")

# %% [markdown]
# The cell does it for the curve of this chapter. The share on the other half is an honest estimate
# for the chosen layer. That on the first half is too high on average, because it was chosen for
# being high: the more so, the more layers were tried and the fewer prompts they had. In a single
# draw the other half can also come out higher, by the luck of its prompts.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-patch-best"]
with check("ex-patch-best", "the layer is the best of the first half, whatever the second says"):
    few_hits = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 1], [0, 0, 1, 1]]).bool()
    assert held_out(few_hits)[0] == 0

with check("ex-patch-best", "the two shares are those of the two halves, in this order"):
    few_hits = torch.tensor([[1, 1, 0, 1], [0, 1, 1, 1], [0, 0, 1, 1]]).bool()
    assert held_out(few_hits)[1:] == (1.0, 0.5)

# %% tags=["hidden-test", "ex-patch-best"]
with check("ex-patch-best", "where nothing is to be found, the held-out share is chance"):
    noise = torch.rand(30, 40, generator=torch.Generator().manual_seed(0)) < 0.5
    row, flattered, honest = held_out(noise)
    assert flattered > 0.6 and honest == noise[row, 20:].float().mean()


# %% tags=["wrong-answer", "ex-patch-best"]
# slip: the layer is chosen on all prompts
def held_out(hits):
    first, second = hits.float().chunk(2, dim=1)
    row = int(hits.float().mean(dim=1).argmax())
    return row, float(first[row].mean()), float(second[row].mean())


# %% tags=["wrong-answer", "ex-patch-best"]
# slip: each half is scored at its own best layer
def held_out(hits):
    first, second = hits.float().chunk(2, dim=1)
    row = int(first.mean(dim=1).argmax())
    return row, float(first.mean(dim=1).max()), float(second.mean(dim=1).max())


# %% [markdown]
# ::::{exercise} Which control would refute it?
# :label: ex-patch-control
# :class: criticise
#
# "We patched a head at the last token with its output on other prompts, whose *first token* is
# another one, and the logits moved. So the head carries the first token." Write the prompts of a
# control that can refute this.
#
# :::{admonition} Hint
# :class: dropdown
# If the head carried only what the claim says, for which other prompts would the patch change
# nothing?
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-patch-control"]
# The first idea is usually to change the first token alone. That is the claim's own experiment made
# cleaner, and the claim expects what it shows: the logits move. If they do not, that speaks against
# it, but a head that carries the first token *and more* passes. Ask for the outcome that the claim
# forbids.

# %% [markdown]
# :::{solution-start} ex-patch-control
# :class: dropdown
# :::


# %% tags=["answer", "ex-patch-control"]
def control_prompts(tokens, others, position):
    """Source prompts for a control of "the head carries the token at `position`".

    tokens: the patched prompts [example pos]; others: prompts that differ from them in every
    respect, of the same shape. Returns prompts of that shape; the arguments stay as they were.
    """
    controls = others.clone()
    controls[:, position] = tokens[:, position]
    return controls


# %% [markdown]
# Everything differs except the token that the claim is about. The claim forbids that a patch from
# these prompts moves the logits; if it does, the head carries something else as well. A patch from
# the prompts themselves changes nothing under any claim, so it refutes none.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-patch-control"]
with check("ex-patch-control", "in the control the claim forbids an effect"):
    assert torch.equal(control_prompts(ours, theirs, 0)[:, 0], ours[:, 0])

with check("ex-patch-control", "whatever the claim does not name differs, so an effect can show"):
    assert torch.equal(control_prompts(ours, theirs, 0)[:, 1:], theirs[:, 1:])

# %% tags=["hidden-test", "ex-patch-control"]
with check("ex-patch-control", "it works for another position and leaves its arguments alone"):
    kept_ours, kept_theirs = ours.clone(), theirs.clone()
    made = control_prompts(ours, theirs, 4)
    assert (made == ours).sum() >= len(ours) and torch.equal(made[:, 4], ours[:, 4])
    assert torch.equal(ours, kept_ours) and torch.equal(theirs, kept_theirs)


# %% tags=["wrong-answer", "ex-patch-control"]
# slip: only the named token is changed, which repeats the claim's own experiment
def control_prompts(tokens, others, position):
    controls = tokens.clone()
    controls[:, position] = others[:, position]
    return controls


# %% tags=["wrong-answer", "ex-patch-control"]
# slip: the prompts themselves, from which a patch never does anything
def control_prompts(tokens, others, position):
    return tokens.clone()

# %% [markdown]
# # Hooks and patching, from the first step
#
# What does a model carry at a token, and in which layer? Take an activation from another prompt,
# put it in, and see what the answer becomes. In {glue:text}`model_name`, a patch of the last token
# makes up to {glue:text}`best_position_last` of the prompts follow the *position* that the other
# prompt asks for; without a patch {glue:text}`floor_position:.2f` give that answer. A patch of the
# query label does so in up to {glue:text}`best_position_query_label`.
#
# *Objectives:* see what a hook sees; patch by hand and know that the patch happened; read a
# patching curve against its floor; read an attention pattern and know what it does not prove.
# *Time:* 45 minutes. *Before it:* {doc}`01_task`; the idea of attention heads and a residual
# stream.

# %% tags=["parameters"]
family: str = "smollm2"  # model family
model: str = ""  # family/version, a folder, or hub id@revision; empty = the family reference
n_prompts: int = 84  # per desideratum; 42, 84, ... balance positions [42, 4200]
n_patterns: int = 21  # prompts whose attention is read [7, 500]
seed: int = 0  # of the scenes [0, 1000000]

# %% [markdown]
# ## What a hook sees
#
# A *hook* is a function that runs whenever a module of the model runs, and is shown what goes in
# and what comes out. `Trace`, named after the class of the library `baukit`
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
show(tables.shapes(seen, layer=layer))

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

glue(
    model_name=lm.name,
    identity_difference=moved,
    swap_difference=moved_by_others,
)

# %% [markdown]
# Patched with itself, the logits differ by {glue:text}`identity_difference:.1f`: not a bit has
# changed. Patched with the next prompt's stream, they differ by up to
# {glue:text}`swap_difference:.0f`. The second number belongs to the first: a hook that does nothing
# at all also passes the identity test.
#
# ## What goes wrong without a word
#
# Code that patches models fails quietly. Four ways, shown with PyTorch's own hooks as most
# published notebooks use them, on this model and these prompts.
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
show(tables.silent_failures(rows))

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
# A rule of this kind, with its prompts and its expected answer, is a *desideratum*
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
show(tables.carried(curves))

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
# The layers in the table are those around the best that reach at least half of its share above the
# floor. Read a row as: patch this token at one of these layers, and so many prompts take this from
# the source. Compare the two tokens: what the query label carries, and what the last token does,
# and in which order. The object's share at the last token rises most across layer
# {glue:text}`object_takes_over`: that layer brings most of the object there.
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
show(tables.attention_parts(parts, head=head))

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
# The paper patches groups of heads and not the stream, so its numbers and ours are not on one
# scale; what can be compared is *what is carried where*. Each number below is a share of prompts at
# the best layer, minus the share without a patch, on the same prompts.

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
# ## Exercises
#
# ```{exercise} The two ends of the curve
# :label: ex-patch-ends
#
# Look at {numref}`fig-resid-last`. Why is the share of every desideratum at layer 0 exactly its
# floor? Why is the object's share behind the last layer exactly the share of source prompts that
# the model answers right?
# ```
#
# ```{solution} ex-patch-ends
# :class: dropdown
#
# Entering layer 0, the last token is nothing but the embedding of "the", the same in base and
# source: the patch is the identity. Behind the last layer only the output norm and matrix follow,
# so the base says what the source says: {glue:text}`end_object:.2f` against
# {glue:text}`source_right:.2f`.
# ```
#
# ```{exercise} Silence one head, and prove that you did
# :label: ex-patch-silence
#
# Set the output z of the ringed head to zero at the last token, on the prompts of the first
# section. How often does the right answer's probability fall? Which check tells you that the edit
# happened, and touched only this head?
# ```
#
# ```{solution-start} ex-patch-silence
# :class: dropdown
# ```


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
# Few losses do not say that the head is useless. It also looks at the other objects, and with its
# output at zero their names are weakened too.
#
# ```{solution-end}
# ```
#
# ```{exercise} The best of many layers
# :label: ex-patch-best
#
# We report the best layer's score, chosen on the same prompts. How much does that flatter? Choose
# the layer on one half of the prompts, and score it on the other.
# ```
#
# ```{solution-start} ex-patch-best
# :class: dropdown
# ```

# %%
half = n_prompts // 2
choosing, scoring = position.hits[:, :half], position.hits[:, half:]
at = choosing.mean(1).argmax()
print(f"position at the last token, layer {position.layers[at]} chosen on one half:")
print(f"{choosing[at].mean():.2f} there, {scoring[at].mean():.2f} on the other half")

# %% [markdown]
# ```{solution-end}
# ```

# %% [markdown]
# # Your own model
#
# Every chapter runs on a model of yours: a folder on your disk or an id on a hub, told of in one
# JSON file. This page makes a tiny model with random weights, writes that file, loads it, shows
# what is refused and why, and says what the chapters need and cost. It ran in seconds and without
# any language model; do the same with your own, and only the first step is different.
#
# *Objectives:* write a family file; know what loading proves; know before you start whether a
# model suits a chapter, and what that takes. *Time:* 20 minutes. *Before it:* {doc}`01_task`.

# %% tags=["parameters"]
seed: int = 0  # of the random weights [0, 1000000]

# %% [markdown]
# ## A model to walk through with
#
# Yours is there already, so skip this section. The page needs a tokenizer with the task's words and
# two models of a few thousand weights. They go into a folder that is gone when the page has run;
# `ENTRACK_MODELS` tells the package to look for families there too.

# %%
import json
import os
import tempfile
from pathlib import Path

place = tempfile.TemporaryDirectory()
folder = Path(place.name)
os.environ |= {"ENTRACK_MODELS": str(folder), "ENTRACK_CACHE": str(folder / "cache")}

# %%
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from entrack.task.boxes import LABELS, NOUNS

words = ["<unk>", *"The the is in Box contains and a , .".split(), *LABELS, *NOUNS]
vocabulary = {word: index for index, word in enumerate(dict.fromkeys(words))}
inner = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
inner.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", pad_token="<unk>")

# %%
import torch
from transformers import AutoConfig, AutoModelForCausalLM

size = {"vocab_size": len(vocabulary), "hidden_size": 64, "intermediate_size": 128}
size |= {"num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}


def save(kind, name, **settings):
    """A random model of an architecture, with the tokenizer, in a folder."""
    torch.manual_seed(seed)
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **size, **settings))
    made.save_pretrained(folder / name)
    tokenizer.save_pretrained(folder / name)
    return made


# %% [markdown]
# The second version is an *adapter*: a LoRA on the first one, as fine-tuning saves it.

# %%
from peft import LoraConfig, get_peft_model

plain = save("qwen3", "plain", max_position_embeddings=128)
lora = LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
get_peft_model(plain, lora).save_pretrained(folder / "tuned")

# %% [markdown]
# ## The family file
#
# A family is a base model and versions made from it. `reference` is the version that all others are
# compared with, `focus` the one whose gain the later chapters look into. A version that stands `on`
# nothing is a whole model. One that stands on another is an adapter where its folder has an
# `adapter_config.json`, and else a whole model too; `title`, `colour` and `marker` are for tables
# and figures.

# %%
looks = {"plain": ("#4c64f5", "o"), "tuned": ("#1d788d", "D")}
versions = {
    name: {"on": None if name == "plain" else "plain", "title": f"{name}, random weights"}
    | {"folder": name, "colour": colour, "marker": marker}
    for name, (colour, marker) in looks.items()
}
described = {"title": "Mine", "licence": "none", "source": {"kind": "folder"}}
described |= {"reference": "plain", "focus": "tuned"}
described |= {"structure_role": "after_prev_query_label", "versions": versions}
(folder / "mine.json").write_text(json.dumps(described, indent=1))
print(json.dumps(described, indent=1))

# %% [markdown]
# For weights on a hub, the source is `{"kind": "hub"}`, and a version has `"hub": "org/name"` and
# `"revision"`, the commit, in place of its folder: a result must say which weights made it. Such a
# version is an adapter where it stands on another. Folders and hub ids may stand in one file.
# Weights are read from safetensors only, never from pickled files.
#
# `structure_role` is where {term}`structure readers <structure reader>` (D) are looked for:
# `prev_query_label`, the earlier label, as in the paper, or `after_prev_query_label`, the token
# behind it, as in SmolLM2. If you do not know, begin with either: {doc}`chapter 3 <03_circuit>`
# measures which of the two does more.
#
# `entrack models mine` (or `entrack models path/to/mine.json`) then says what is where and what it
# needs. Here is what it prints:

# %%
from entrack.versions.model_list import family_text

print(family_text("mine"))

# %% [markdown]
# ## What loading proves
#
# Experiments see a model through one view of its layers, whatever its architecture. Before a model
# is handed out, this view is run on random tokens beside the model's own forward pass: the
# embedding, each layer, each layer's {term}`heads <head>`, the logits, and prompts longer than a
# layer's window. Where they differ by more than rounding, the model is refused. The same happens to
# weights that are missing, or that have no place in the model that the config names.

# %%
from entrack.versions.loading import load

lm, other = load("mine/plain", device="cpu"), load("mine/tuned", device="cpu")
tokens = torch.arange(12)[None]
with torch.no_grad():
    moved = (lm.hf(tokens).logits - other.hf(tokens).logits).abs().max().item()
print(f"{lm.config.model_type}: {lm.n_layers} layers of {lm.n_heads} heads; checked")
print(f"the adapter moves the logits by up to {moved:.2f}")

# %% [markdown]
# Three models that are refused, each in a sentence that says what was wrong, what is allowed, and
# what to do. The first has attention *sinks*, an extra term in each softmax that no experiment here
# knows. The second says `llama` in its config and holds the weights of another architecture:
# `transformers` alone would load it without a word, and it would compute something else. The third
# is larger than the memory; the headers of its files say so before anything is read.

# %%
import struct

save("gpt_oss", "sinks", num_local_experts=2, num_experts_per_tok=1)
save("qwen2", "mislabelled")
config = json.loads((folder / "mislabelled/config.json").read_text())
(folder / "mislabelled/config.json").write_text(json.dumps(config | {"model_type": "llama"}))
save("llama", "huge")
shape = {"dtype": "F16", "shape": [10**7, 10**6], "data_offsets": [0, 2 * 10**13]}
header = json.dumps({"weight": shape}).encode()
(folder / "huge/model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)

# %%
from entrack.errors import EntrackError

refused = 0
for name in ("sinks", "mislabelled", "huge"):
    try:
        load(str(folder / name), device="cpu")
    except EntrackError as error:
        refused += 1
        print(str(error).replace(str(folder), "my-models"), end="\n\n")

# %% tags=["hide-input"]
from entrack.display.cells import glue

assert refused == 3
glue(n_refused=refused)

# %% [markdown]
# All {glue:text}`n_refused` were refused, as a command would: `entrack run` ends with such a
# sentence and an exit code of 1, and leaves nothing half-written.
#
# ## What the chapters need of a model
#
# *Words of one token.* Every object and every label must be one token, and the answer too: an
# experiment {term}`patches <patch>` a word at one place. The tokenizer must be a fast one, since
# words are found by their characters. Not every noun of the list needs to pass if you bring words
# of your own (`words=` of `entrack.task.draws.scenes`), but the chapters use the list as it is.

# %%
from entrack.task.draws import examples, pairs
from entrack.task.prompts import encode, encode_pairs

prompts = encode(lm.tokenizer, examples(14, split="evaluation"))
clean, corrupt = encode_pairs(lm.tokenizer, pairs(7, split="discovery"))
one_token = sum(len(tokenizer(f"the {word}")["input_ids"]) == 2 for word in (*NOUNS, *LABELS))
print(f"{one_token} of {len(NOUNS) + len(LABELS)} words are one token")
print(f"prompts of {sorted(set(prompts.lengths.tolist()))} tokens, all of one length")

# %%
from entrack.errors import TaskError

unusual = ["tea-pot", *NOUNS[:6]]
try:
    encode(lm.tokenizer, examples(1, split="evaluation", words=unusual))
except TaskError as error:
    print(error)

# %% [markdown]
# *Prompts of one length.* With words of one token, all prompts of one number of boxes have the same
# length, so that positions can be averaged and clean and corrupt prompts lie on each other. A token
# before the text (`<bos>`) does no harm, one behind it does. The prompt must fit into the model's
# window.
#
# *A model that does the task.* Not needed to run, but for something to be found: in a model that
# guesses there is no {term}`circuit`, and the chapters that look for one end by saying so.

# %% tags=["hide-input"]
from entrack.display.cells import show
from entrack.display.tables import Table

needed = [
    ["1, 2", "one version", "nothing more"],
    ["3, 5, 7", "one version", "a circuit, so a version that does the task"],
    ["4, 8", "reference, focus, others", "the same tokenizer and shape in all versions"],
    ["6, 9", "reference, others", "a circuit; gradients (twice the memory of a pass)"],
    ["8, grafts", "two versions", "q, k and v as projections of their own, not fused into one"],
    ["10, 11", "reference, others", "a circuit"],
    ["12", "reference, focus", "siblings in the file: families made from the same model"],
    ["13, 14", "reference, focus", "a recipe in the package; without one, no training is repeated"],
    ["15", "none", "the record of a sweep (make sweep)"],
]

# %% tags=["hide-input"]
header = ["chapters", "versions", "and"]
show(Table(needed, header, caption="What each chapter needs beyond the words."))

# %% [markdown]
# ## What it costs
#
# Costs are counted in *passes*: one prompt once through all layers. {term}`Path patching <path
# patching>` is not made of whole passes; it costs as many operations as so many passes. Operations
# follow from the shape of the model and of the prompts, by the formulas of
# `entrack.versions.costs`. On the tiny model, here is what they say beside what PyTorch counts as
# the four stages run:

# %%
from torch.utils.flop_counter import FlopCounterMode

from entrack.patching.path_patching import path_patching
from entrack.sites import GROUPS, Head
from entrack.versions import costs

lm.hf.set_attn_implementation("eager")  # plain products, which are counted
receivers = {"value_fetcher": 5, "position_transmitter": 4, "position_detector": 3}
shape, text = costs.Shape.of(lm.config), costs.Text.of(clean)
by_formula = costs.stages(shape, text, {name: [layer] for name, layer in receivers.items()})

# %%
counted = {}
for name, group in GROUPS.items():
    heads = [Head(receivers[group.receivers], 0)] if group.receivers else []
    settings = {"role": group.role, "receivers": heads, "via": group.composition}
    with FlopCounterMode(display=False) as counter:
        path_patching(lm, clean, corrupt=corrupt, **settings)
    counted[name] = counter.get_total_flops() / len(clean)

# %%
rows = [
    [GROUPS[name].title, f"{by_formula[name] / 1e6:.2f}", f"{found / 1e6:.2f}"]
    for name, found in counted.items()
]
header = ["stage", "by formula", "counted"]
show(Table(rows, header, caption="Million operations for one pair."), folded=True)
off = max(abs(by_formula[name] / found - 1) for name, found in counted.items())
assert off < 0.05
glue(formula_off=f"{off:.1%}")

# %% [markdown]
# They differ by {glue:text}`formula_off` at most: where prompts differ in how many tokens are run
# again, the formulas take the mean.
#
# The table for real sizes comes from the same formulas, with the parameters that the chapters have
# by default. What a search finds is not known before, so a circuit of usual size is assumed: take
# the numbers as right within a factor of two. A test holds them against the times that the
# published chapters took.

# %%
sizes = {"135M": (30, 9, 3, 64, 1536, 49152), "1B": (16, 32, 8, 64, 8192, 128256)}
sizes["7B"] = (32, 32, 32, 128, 11008, 32000)
shares_embedding = ("135M", "1B")  # the embedding is the unembedding too
shapes = {
    name: costs.Shape(layers, heads * width, heads, kv, width, mlp, words)
    for name, (layers, heads, kv, width, mlp, words) in sizes.items()
}

# %%
from entrack.book.chapters import project
from entrack.versions.chapter_costs import CHAPTERS, operations

defaults = {
    c.name[:2]: {p.name: p.default for p in c.parameters if p.name.startswith("n_")}
    for c in project().chapters()
}
cost = {
    (number, name): operations(number, defaults[number], shape=shape, text=text)
    for number in CHAPTERS
    for name, shape in shapes.items()
}

# %%
passes = {name: costs.whole(shape, text) for name, shape in shapes.items()}
rows = [
    [f"chapter {n.lstrip('0')}", *[f"{cost[n, name] / passes[name]:,.0f}" for name in shapes]]
    for n in CHAPTERS
]
total = {name: sum(cost[number, name] for number in CHAPTERS) for name in shapes}
rows.append(["all", *[f"{total[name] / passes[name]:,.0f}" for name in shapes]])
told = "Passes that each chapter costs from nothing, by size of model."
show(Table(rows, ["", *shapes], caption=told))

# %% [markdown]
# On a larger model most chapters take more passes, and each pass takes longer: path patching tries
# every head, and a 7B model has {glue:text}`heads_7b:,` of them, SmolLM2 {glue:text}`heads_135m`.
# Chapters share results (the circuit is searched once), so all of them together cost less than the
# sum.
#
# Memory is that of the weights, of the clean runs that are held at once, and of what is computed on
# the way. The tiny model's run takes as many bytes as the formula says:

# %%
from entrack.model.activations import CHUNK, clean_run

run = clean_run(lm, prompts)
held = sum(x.numel() * x.element_size() for x in (run.resid, run.keys, run.values, run.z))
tiny_run = shape.run_bytes(run.length, lm.dtype.itemsize) * len(prompts)
assert held == tiny_run
print(f"formula {tiny_run:,} bytes, held {held:,} bytes")

# %%
weights = {
    name: shape.n_layers * shape.layer
    + (1 if name in shares_embedding else 2) * shape.vocabulary * shape.d_model
    for name, shape in shapes.items()
}

# %%
rows = [
    [name, kind, f"{weights[name] * bytes_ / 1e9:.1f}", f"{CHUNK * run_of(bytes_) / 1e9:.1f}"]
    for name, shape in shapes.items()
    for kind, bytes_ in (("float32", 4), ("bfloat16", 2))
    for run_of in [lambda size, shape=shape: shape.run_bytes(text.tokens, size)]
]
memory = Table(
    rows,
    ["model", "dtype", "weights of a version, GB", f"a run of {CHUNK} prompts, GB"],
    caption="Memory by size. Chapters 4, 8 and A2 hold all versions; two runs are held at once.",
)
show(memory, folded=True)

# %% [markdown]
# How long is that? The operations, divided by what the machine does in a second. The cell measures
# that on the products of this page's machine, with the widths of each model.

# %%
import time


def rate(shape, n_tokens=8 * 53):
    """Operations a second of the product that an MLP begins with."""
    a, b = torch.randn(n_tokens, shape.d_model), torch.randn(shape.d_model, shape.d_mlp)
    a @ b
    started = time.perf_counter()
    a @ b
    return 2 * n_tokens * shape.d_model * shape.d_mlp / (time.perf_counter() - started)


rates = {name: rate(shape) for name, shape in shapes.items()}

# %%
hours = {name: total[name] / rates[name] / 3600 for name in shapes}
minutes = {name: total[name] / 3e14 / 60 for name in shapes}
rows = [
    [name, f"{rates[name] / 1e9:.0f}", passes[name] / rates[name], hours[name], minutes[name]]
    for name in shapes
]
header = ["model", "GFLOP/s", "seconds a pass", "hours, all chapters", "minutes at 300 TFLOP/s"]
show(
    Table(
        rows,
        header,
        caption="Time on the machine that executed this page, and on a far faster one.",
    )
)

# %% tags=["hide-input"]
glue(passes_135m=round(total["135M"] / passes["135M"]))
glue(heads_7b=shapes["7B"].n_layers * shapes["7B"].n_heads)
glue(heads_135m=shapes["135M"].n_layers * shapes["135M"].n_heads)
glue(hours_135m=f"{hours['135M']:.1f}")
glue(days_7b=f"{hours['7B'] / 24:.0f}")
glue(gb_7b=f"{weights['7B'] * 2 / 1e9:.1f}")

# %% [markdown]
# In a model of the size of SmolLM2 all chapters cost {glue:text}`passes_135m:,` passes, each
# chapter from nothing. That is about {glue:text}`hours_135m` hours on the machine of this page; a
# 7B model would take some {glue:text}`days_7b` days there, and wants a GPU. The rate in the last
# column is what such a card is taken to reach at best; it was not measured, for no GPU was at hand.
#
# ## The paper's own models
#
# The family `llama-7b` is the paper's. `make paper-7b` runs every chapter on it, in bfloat16 where
# there is CUDA and in float32 elsewhere:
#
# 1. It first checks that the weights are in the hub's cache or can be fetched, that the disk has
#    room for what is fetched, and the memory for all versions at once, for some chapters hold them
#    together ({glue:text}`gb_7b` GB each in bfloat16). If not, it says so in a sentence and stops.
# 2. Then `entrack run` runs each chapter into `runs/`. One that fails is named, and the others go
#    on. The same command, given again, finds what had finished.
#
# The weights are not distributed here. Llama and Vicuna come from the hub at a pinned revision. For
# Goat and FLoat no revision is known to us, and a version whose weights nobody can name is left
# out: the command says so and compares the versions that are there, with Vicuna as the focus. If
# you have them, copy `models/llama-7b.json`, write the commit as `revision`, or a local `folder` in
# place of `hub`, and run `make paper-7b FAMILY=my/llama-7b.json`. Goat is a LoRA on Llama: put its
# `adapter_config.json` and `adapter_model.safetensors` into its folder, and it is merged at
# loading.
#
# None of this was run here.
#
# ## In three sentences
#
# A model of your own needs one JSON file, and is handed out only if its layers, as the experiments
# see them, compute what its own forward pass does; {glue:text}`n_refused` that do not were refused.
# What the chapters cost comes from formulas, which differ from a count on a tiny model by
# {glue:text}`formula_off` at most. For a real model take the costs as right within a factor of two,
# for the size of its circuit is not known before; on seven billion parameters nothing was run here.
#
# *Next:* {doc}`../book/reference/overview` lists what one can call from a notebook.

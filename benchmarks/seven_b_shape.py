"""Path patching in a model of Llama-7B's shape with random weights: all four stages, and what they
take beside what was estimated.

Time and memory depend on the shape, not on what the weights say. Receivers are as many heads as the
paper chose (20, 5 and 10), in the layers of the circuit that it released. Nothing is downloaded:
the words are those of the tests' tokenizer.

    python benchmarks/seven_b_shape.py --json benchmarks/results/seven_b_shape.json
        the whole shape, 300 pairs: for a GPU
    python benchmarks/seven_b_shape.py --layers 4 --heads 8 --pairs 14
        the same, scaled down: for any machine
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import torch
from path_patching import machine, machine_rate, measured
from transformers import LlamaConfig, LlamaForCausalLM

from entrack.model.activations import CHUNK
from entrack.model.decoder import Model
from entrack.paper.published import N_LAYERS, released_circuit
from entrack.patching.path_patching import PathConfig, path_patching
from entrack.sites import GROUPS, STRUCTURE_ROLES, Head
from entrack.task.draws import pairs
from entrack.task.prompts import encode_pairs
from entrack.versions.costs import Shape, Text, path_patched
from entrack.versions.needs import default_device, default_dtype, free_memory, parameters

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from tokenizers_for_tests import make_tokenizer  # noqa: E402

HEADS, WIDTH, VOCABULARY = 32, 128, 32000
MLP_PER_WIDTH = 11008 / 4096
RECEIVERS = {"value_fetcher": 20, "position_transmitter": 5, "position_detector": 10}
BUDGET = 4 * 10**9
"""Bytes for what one replay makes on the way."""
SECONDS, GIGABYTES = 150, 40
"""What the whole shape with 300 pairs may take on one H200."""


def config(layers: int, heads: int) -> LlamaConfig:
    """Llama-7B's config with fewer layers and heads, each head as wide."""
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=heads * WIDTH,
        intermediate_size=round(heads * WIDTH * MLP_PER_WIDTH),
        num_hidden_layers=layers,
        num_attention_heads=heads,
    )


def random_model(shape: LlamaConfig, device: str, dtype: torch.dtype) -> Model:
    with torch.device(device):
        hf = LlamaForCausalLM._from_config(shape, dtype=dtype)
    return Model.of(
        hf.eval().requires_grad_(False), make_tokenizer(), name="7B shape", digest="random"
    )


def receivers(layers: int, heads: int) -> dict[str, tuple[Head, ...]]:
    """Group -> heads that receive, as far up in the model as those that the authors released."""
    found = {}
    for name, wanted in RECEIVERS.items():
        there = released_circuit("llama").groups[name]
        chosen = there[:: max(1, len(there) // wanted)][:wanted]
        found[name] = tuple(
            sorted(
                {
                    Head(max(1, head.layer * layers // N_LAYERS), head.head * heads // HEADS)
                    for head in chosen
                }
            )
        )
    return found


def memory(shape: Shape, config: LlamaConfig, text: Text, dtype: torch.dtype, chunk: int) -> int:
    """Bytes at most: weights, a clean and a corrupt run, all senders in one MLP, one replay."""
    rows = 1 + shape.n_layers * shape.n_heads
    senders = rows * (3 * shape.d_mlp + 6 * shape.d_model) * dtype.itemsize
    kept = 2 * shape.run_bytes(text.tokens, dtype.itemsize)
    return parameters(config) * dtype.itemsize + chunk * (kept + senders) + BUDGET + 2**30


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--layers", type=int, default=N_LAYERS)
    parser.add_argument("--heads", type=int, default=HEADS)
    parser.add_argument("--pairs", type=int, default=300)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    device = default_device()
    dtype, chunk = default_dtype(device), min(CHUNK, options.pairs)
    llama = config(options.layers, options.heads)
    shape = Shape.of(llama)
    clean, corrupt = encode_pairs(make_tokenizer(), pairs(options.pairs, split="discovery"))
    text, heads = Text.of(clean), receivers(options.layers, options.heads)
    stages = {
        name: {
            "role": STRUCTURE_ROLES[0] if group.role in STRUCTURE_ROLES else group.role,
            "receivers": () if group.receivers is None else heads[group.receivers],
            "via": group.composition,
        }
        for name, group in GROUPS.items()
    }
    estimated = {
        name: options.pairs
        * path_patched(
            shape, text, role=stage["role"], layers=[head.layer for head in stage["receivers"]]
        )
        for name, stage in stages.items()
    }
    needed, free = memory(shape, llama, text, dtype, chunk), free_memory(device)
    total = sum(estimated.values())
    print(
        f"{options.layers} layers of {options.heads} heads, d_model {shape.d_model},"
        f" {parameters(llama) / 1e9:.2f} billion parameters, {dtype}, {device};"
        f" {options.pairs} pairs of {text.tokens} tokens\n"
        f"estimated: {total / 1e12:,.1f} TFLOP, at most {needed / 1e9:.1f} GB"
    )
    if free < needed:
        print(
            f"this shape needs {needed / 1e9:.1f} GB; {free / 1e9:.1f} GB are free on {device}."
            " Run it on a GPU that has them, or a smaller shape with --layers and --heads.",
            file=sys.stderr,
        )
        return 1
    rate = machine_rate(dtype, torch.device(device))
    print(f"{rate / 1e9:,.0f} GFLOP/s on 4096 x 4096 matrices: {total / rate:.1f} s at that rate")
    model = random_model(llama, device, dtype)
    few = range(min(7, options.pairs))
    small = clean.subset(few), corrupt.subset(few)
    found = {}
    print(f"{'stage':<24}{'seconds':>9}{'peak GB':>9}{'TFLOP':>9}{'counted/estimated':>19}")
    for name, stage in stages.items():
        patch = partial(path_patching, model, config=PathConfig(chunk=chunk, budget=BUDGET))
        _, seconds, counted, peak = measured(
            lambda patch=patch, stage=stage: patch(clean, corrupt=corrupt, **stage),
            lambda patch=patch, stage=stage: patch(small[0], corrupt=small[1], **stage),
        )
        counted *= options.pairs / len(few)
        found[GROUPS[name].letter] = {
            "seconds": seconds,
            "peak_gb": peak * 2**30 / 1e9,
            "tflop_estimated": estimated[name] / 1e12,
            "counted_over_estimated": counted / estimated[name],
        }
        row = found[GROUPS[name].letter]
        print(
            f"{GROUPS[name].letter} {GROUPS[name].title:<22}{seconds:>9.1f}{row['peak_gb']:>9.1f}"
            f"{estimated[name] / 1e12:>9.1f}{row['counted_over_estimated']:>19.2f}",
            flush=True,
        )
    seconds = sum(row["seconds"] for row in found.values())
    peak = max(row["peak_gb"] for row in found.values())
    print(
        f"four stages: {seconds:.1f} s, {peak:.1f} GB (estimated at most {needed / 1e9:.1f}),"
        f" {total / seconds / rate:.2f} of the machine's rate"
    )
    if (options.layers, options.heads, options.pairs) == (N_LAYERS, HEADS, 300):
        met = seconds < SECONDS and peak < GIGABYTES
        print(f"under {SECONDS} s and {GIGABYTES} GB: {'yes' if met else 'no'}")
    if options.json:
        written = {
            "layers": options.layers,
            "heads": options.heads,
            "pairs": options.pairs,
            "dtype": str(dtype),
            "seconds_all_stages": seconds,
            "peak_gb": peak,
            "estimated_gb": needed / 1e9,
            "share_of_machine": total / seconds / rate,
            "machine": machine(torch.device(device)),
            "stages": found,
        }
        options.json.write_text(json.dumps(written, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Path patching: ours beside the plain way, in one run on one machine.

The plain way is the algorithm as written, two whole passes per sender (one for the logits), by
hooks and batched over examples: `tests/reference/literal_path_patching.py`. Running it for every
sender takes hours, so it is timed on a sample of senders and scaled to all; the table says so.

    python benchmarks/path_patching.py                          the base of smollm2
    python benchmarks/path_patching.py --model folder/of/a/model
"""

import argparse
import gc
import json
import platform
import resource
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from entrack.circuit.discovery import Discovery
from entrack.model.activations import CHUNK, clean_run
from entrack.patching.path_patching import path_patching, send
from entrack.sites import GROUPS
from entrack.task.draws import pairs
from entrack.task.prompts import encode_pairs
from entrack.versions.loading import load

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from reference.literal_path_patching import literal_effect, prepare  # noqa: E402


def measured(run, small):
    """Result, seconds and peak GB (of the process on a CPU, allocated on CUDA) of `run`, and FLOPs
    of `small`,
    the same call on few examples: counting slows a call down."""
    gc.collect()
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    result = run()
    if cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    peak = (
        torch.cuda.max_memory_allocated()
        if cuda
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    with FlopCounterMode(display=False) as counter:
        small()
    return result, seconds, counter.get_total_flops(), peak / 2**30


def machine_rate(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of large matrix products on this machine."""
    a, b = (torch.randn(4096, 4096, device=device, dtype=dtype) for _ in range(2))
    a @ b
    start = time.perf_counter()
    for _ in range(5):
        a @ b
    if device.type == "cuda":
        torch.cuda.synchronize()
    return 5 * 2 * 4096**3 / (time.perf_counter() - start)


def machine(device: torch.device) -> dict[str, object]:
    """What the numbers were made on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
    }


def sender_rate(model, clean, corrupt):
    """FLOP/s of the sender pass (step 2) over all layers at the last token."""
    few = clean.subset(range(min(CHUNK, len(clean))))
    run = clean_run(model, few)
    change = (
        clean_run(model, corrupt.subset(range(len(few)))).z_at("last").float()
        - run.z_at("last").float()
    )

    def whole():
        for _ in send(model, run, change, role="last", until=model.n_layers):
            pass

    whole()
    start = time.perf_counter()
    whole()
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    with FlopCounterMode(display=False) as counter:
        whole()
    return counter.get_total_flops() / seconds


def main() -> None:
    """Run the four stages both ways and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="smollm2/base")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument(
        "--senders",
        type=int,
        default=4,
        help="senders of each stage that the plain way is timed on",
    )
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    model = load(options.model)
    clean, corrupt = encode_pairs(model.tokenizer, pairs(options.pairs, split="discovery"))
    found, receivers, stages = {}, {}, {}
    discovery = Discovery(found, receivers, model.name)
    total = 0.0
    print(
        f"{model.name}, {options.pairs} pairs of {clean.tokens.shape[1]} tokens, {model.dtype},"
        f" {model.device}, {torch.get_num_threads()} threads"
    )
    print(
        f"{'stage':<24}{'ours s':>9}{'plain s*':>11}{'wall ratio':>12}{'FLOP ratio':>12}"
        f"{'peak GB':>9}{'max diff':>11}"
    )
    for name, group in GROUPS.items():
        receivers[name] = () if group.receivers is None else discovery.top(group.receivers, 0.5)
        settings = {"role": group.role, "receivers": receivers[name], "via": group.composition}
        few = range(min(7, len(clean)))
        pairs_of = {"all": (clean, corrupt), "few": (clean.subset(few), corrupt.subset(few))}

        def ours(which, settings=settings, pairs_of=pairs_of):
            return path_patching(model, pairs_of[which][0], corrupt=pairs_of[which][1], **settings)

        scores, seconds, flops, peak = measured(partial(ours, "all"), partial(ours, "few"))
        found[name] = scores
        reachable = scores.ranked()
        sample = [reachable[round(i)] for i in np.linspace(0, len(reachable) - 1, options.senders)]

        def plain(which, settings=settings, pairs_of=pairs_of, sample=sample):
            literal = {**settings, "receivers": [(r.layer, r.head) for r in settings["receivers"]]}
            prepared = prepare(model, *pairs_of[which])
            return [
                literal_effect(
                    model, *pairs_of[which], sender=(h.layer, h.head), prepared=prepared, **literal
                )
                for h in sample
            ]

        effects, plain_seconds, plain_flops, _ = measured(
            partial(plain, "all"), partial(plain, "few")
        )
        _, once, flops_once, _ = measured(
            lambda p=pairs_of: prepare(model, *p["all"]),
            lambda p=pairs_of: prepare(model, *p["few"]),
        )
        plain_seconds, plain_flops = plain_seconds - once, plain_flops - flops_once
        # The literal algorithm runs every sender of the model, reachable or not.
        factor = model.n_layers * model.n_heads / len(sample)
        difference = max(
            float(np.abs(scores.values[h.layer, h.head] - e).max())
            for h, e in zip(sample, effects, strict=True)
        )
        stages[group.letter] = {
            "wall_ratio": (plain_seconds * factor + once) / seconds,
            "flop_ratio": (plain_flops * factor + flops_once) / flops,
            "peak_gb": peak,
            "max_abs_diff": difference,
            "seconds": seconds,
            "receivers": len(receivers[name]),
        }
        total += seconds
        row = stages[group.letter]
        print(
            f"{group.letter} {group.title:<22}{seconds:>9.1f}{plain_seconds * factor:>11.0f}"
            f"{row['wall_ratio']:>12.1f}{row['flop_ratio']:>12.1f}"
            f"{peak:>9.2f}{difference:>11.1e}",
            flush=True,
        )
    rate, own = machine_rate(model.dtype, model.device), sender_rate(model, clean, corrupt)
    print(
        f"four stages: {total:.0f} s; sender pass {own / 1e9:.0f} GFLOP/s, {own / rate:.2f} of the"
        f" machine's {rate / 1e9:.0f} on 4096 x 4096 matrices"
    )
    print(
        f"* measured on {options.senders} of {model.n_layers * model.n_heads} senders a stage and"
        " scaled"
    )
    if options.json:
        options.json.write_text(
            json.dumps(
                {
                    "model": model.name,
                    "pairs": options.pairs,
                    "dtype": str(model.dtype),
                    "senders_sampled": options.senders,
                    "seconds_all_stages": total,
                    "sender_pass_share_of_machine": own / rate,
                    "machine": machine(model.device),
                    "stages": stages,
                },
                indent=1,
            )
            + "\n"
        )


if __name__ == "__main__":
    main()

"""Tables of hooks and of patched residual streams."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from torch import Tensor

from entrack.display.style import ROLE_WORDS
from entrack.display.tables import Table
from entrack.heads.one_prompt import Asked
from entrack.patching.residual_patching import ResidualPatching
from entrack.sites import Head
from entrack.task.counterfactual_prompts import CounterfactualPrompts

UNLIKELY = 0.01
"""Probability below which an object gets no row of its own."""


def shapes(seen: Mapping[str, tuple[str, Tensor]], *, layer: int) -> Table:
    """What hooks see: its name -> (the names of its axes, the tensor)."""
    return Table(
        [[what, axes, " × ".join(map(str, x.shape))] for what, (axes, x) in seen.items()],
        ["what", "axes", "shape"],
        f"What hooks see in layer {layer}.",
    )


def silent_failures(rows: Sequence[Sequence[str]]) -> Table:
    """What was written, what ordinary hooks made of it, and what `Trace` says."""
    return Table(
        rows,
        ["what was written", "ordinary hooks", "Trace"],
        "Four silent failures, each run above. Nothing here raised an error by itself.",
    )


def pair(pairs: CounterfactualPrompts) -> Table:
    """The texts of the first pair."""
    return Table(
        [["base", pairs.base.texts[0]], ["source", pairs.source.texts[0]]],
        ["", "prompt"],
        f"Base and source prompt of the first of {len(pairs)} pairs.",
    )


def answers_by_layer(told: Mapping[int, Sequence[str]]) -> Table:
    """Layer -> the answers of a few pairs; a row for each layer at which one changes."""
    layers = list(told)
    changing = [b for a, b in zip([None, *layers], layers, strict=False) if told[b] != told.get(a)]
    return Table(
        [[layer, *told[layer]] for layer in changing],
        ["from layer", *(f"pair {i + 1}" for i in range(len(told[layers[0]])))],
        "The bases' answers when the last token is patched by hand, where one changes.",
    )


def carried(curves: Mapping[str, Mapping[str, ResidualPatching]]) -> Table:
    """Patched token, desideratum, best share of expected answers, the floor, and the layers around
    the best that carry it ("none above the floor"), by token and then by desideratum.

    Args:
        curves: desideratum -> role -> what patching there did.
    """
    roles = list(dict.fromkeys(role for by_role in curves.values() for role in by_role))
    rows = []
    for role in roles:
        for name, by_role in curves.items():
            found, floor = by_role[role], float(by_role[role].floor.mean())
            rows.append([ROLE_WORDS.get(role, role), name, found.best, floor, _layers(found)])
    return Table(
        rows,
        ["patched at", "carried", "best share", "floor", "layers"],
        "What each of the two tokens carries, and in which layers.",
    )


def one_prompt(asked: Asked, ways: Mapping[str, np.ndarray], *, caption: str) -> Table:
    """What one prompt may be answered, and how likely each word is in each way of running it.

    Args:
        asked: the words. What an idea predicts, as `candidates` names it, has a row; where there
            are no ideas, the first word is marked as the right one. Objects that stay unlikely in
            every way share a row.
        ways: what was done -> the probability of each word [word].

    The last row is the probability of all other words together, 0 at least.
    """
    names, probs = list(asked.words), np.array(list(ways.values()), dtype=float)  # [way word]
    plain = not any(": " in name for name in names)
    kept = [
        i
        for i, name in enumerate(names)
        if ": " in name or plain and i == 0 or probs[:, i].max() >= UNLIKELY
    ]
    rows = [[names[i].replace("_", " "), *probs[:, i].tolist()] for i in kept]
    if plain:
        rows[0][0] += " (right)"
    if len(kept) < len(names):
        left = [i for i in range(len(names)) if i not in kept]
        name = "1 other object" if len(left) == 1 else f"{len(left)} other objects"
        rows.append([name, *probs[:, left].sum(1).tolist()])
    rows.append(["any other word", *np.clip(1 - probs.sum(1), 0, None).tolist()])
    return Table(rows, ["answer", *ways], caption, digits=3)


def attention_parts(parts: Mapping[str, Iterable[float]], *, head: Head) -> Table:
    """Kind of token -> the share of a head's attention that it gets [example]; means are shown."""
    return Table(
        [[what, float(share.mean())] for what, share in parts.items()],
        ["where", "share of attention"],
        f"Head {head} from the last token.",
    )


def _layers(found: ResidualPatching) -> str:
    carried = found.layers_carrying()
    if carried is None:
        return "none above the floor"
    first, last = carried
    return str(first) if first == last else f"{first} to {last}"

"""Made-up accuracies with parts of the heads at the last token handed over."""

import numpy as np

from entrack.cross_model.at_last import EVERY, INSIDE, REST, AtLast
from entrack.cross_model.cells import Cell
from entrack.cross_model.cmap import CrossPatch
from entrack.sites import Head, all_heads


def made(inside, rest, every, own=20, n=100):
    """Hits of the first so many of 100 prompts with each part, and with nothing patched."""
    rows = [np.arange(n) < share for share in (inside, rest, every, own, n)]
    heads = {INSIDE: (Head(3, 1),), REST: tuple(all_heads(2, 4)), EVERY: tuple(all_heads(3, 3))}
    cells = tuple(Cell(label, {"last": chosen}) for label, chosen in heads.items())
    hits, zeros = np.stack(rows), np.zeros((5, n))
    return AtLast(
        CrossPatch(
            cells, hits[:3], zeros[:3], hits[3], zeros[3], hits[4], zeros[4], np.arange(n), "d", "r"
        )
    )

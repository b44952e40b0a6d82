"""Messages between two versions, of which it is known how often each is followed."""

import numpy as np

from entrack.cross_model.messages import CELLS, TUNED, Messages
from entrack.patching.patches import Patch, Patched

N = 40


def planted(**followed):
    """Of 40 pairs, so many follow in each cell; the tuned receiver's floor is 4 pairs, base's 0."""
    cells = {}
    for sender, receiver in CELLS:
        position = np.ones(N, dtype=int)
        hits = np.arange(N) < followed[f"{sender}_{receiver}"]
        floor = np.arange(N) < (4 if receiver == TUNED else 0)
        cells[sender, receiver] = Patched(
            patches={"B": Patch("last")},
            candidates={"position": position},
            answers=np.where(hits, 1, 0)[None],
            unpatched=np.where(floor, 1, 0),
            scenes=np.arange(N),
            model=receiver,
        )
    return Messages(cells, {"B": "position"}, "base", "tuned")

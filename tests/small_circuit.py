"""A circuit of the tiny models with two or three heads in each group."""

from entrack.circuits import Circuit
from entrack.sites import Head

H = Head
CIRCUIT = Circuit(
    {
        "value_fetcher": (H(3, 0), H(4, 2)),
        "position_transmitter": (H(2, 1), H(2, 3)),
        "position_detector": (H(1, 0), H(2, 0), H(3, 1)),
        "structure_reader": (H(0, 2), H(1, 3)),
    },
    "tiny",
)

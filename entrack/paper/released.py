"""The circuits that the authors released, as circuits of this package."""

from entrack.circuits import Circuit
from entrack.paper.published import circuits, models
from entrack.sites import Head

N_LAYERS = 32
"""Layers of the paper's four models, all of the size of Llama-7B."""
STRUCTURE_ROLE = "prev_query_label"
"""Where their structure readers act (paper, section 4.1)."""


def released_circuit(name: str = "llama") -> Circuit:
    """One of the three released circuits: "llama", "goat" or "float"."""
    groups = {
        group: tuple(sorted(Head(*head) for head in heads))
        for group, heads in circuits().values[name].items()
    }
    return Circuit(groups, models().values[name]["title"], STRUCTURE_ROLE)

"""Notebooks whose cells judged claims, made without executing them."""

import nbformat
import pytest

from entrack.display.cells import judge
from entrack.stats.claims import Claim
from entrack.stats.metrics import Estimate
from entrack.stats.rules import Sign

HELPS, HARMS, UNCLEAR = (
    Estimate(sum(ends) / 2, *ends, 70) for ends in ((0.1, 0.2), (-0.2, -0.1), (-0.1, 0.2))
)


def claim(slug, here, **options):
    return Claim(slug, f"{slug} < b", here, Sign(+1), **({"paper": "+0.3"} | options))


def recorded(*claims):
    """The outputs of a cell that judges claims."""
    outputs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "entrack.display.cells.display", lambda data, raw, metadata=None: outputs.append(data)
        )
        judge(*claims, caption="A <test> & more.")
    return [nbformat.v4.new_output("display_data", data) for data in outputs]


def notebook(*claims):
    cells = [
        nbformat.v4.new_markdown_cell("# The title\n\ntext"),
        nbformat.v4.new_markdown_cell("## What we find, verdict"),
        nbformat.v4.new_code_cell("x", outputs=recorded(*claims)),
    ]
    return nbformat.v4.new_notebook(cells=cells)

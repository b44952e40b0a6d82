"""The table of one prompt: which rows it has, and that they sum to one."""

import numpy as np

from entrack.heads.one_prompt import Asked
from entrack.tables.patching import one_prompt


def test_unlikely_objects_share_a_row(prompts):
    asked = Asked(prompts.subset([0]), {"leaf": 1, "watch": 2, "coin": 3, "egg": 4})
    ways = {"clean": np.array([0.0, 0.5, 0.004, 0.001]), "cut": np.array([0.1, 0.0, 0.004, 0.0])}
    rows = one_prompt(asked, ways, caption="One.").rows
    assert [row[0] for row in rows] == [
        "leaf (right)",
        "watch",
        "2 other objects",
        "any other word",
    ]
    assert np.allclose(
        [row[1:] for row in rows], [[0, 0.1], [0.5, 0], [0.005, 0.004], [0.495, 0.896]]
    )


def test_each_idea_keeps_its_row(prompts):
    words = {"unchanged: leaf": 1, "token_from_end: coin": 3, "egg": 4, "cup": 5}
    asked = Asked(prompts.subset([0]), words)
    table = one_prompt(asked, {"B": np.array([0.6, 0.0, 0.5, 0.0])}, caption="One.")
    assert table.rows == [
        ["unchanged: leaf", 0.6],
        ["token from end: coin", 0.0],
        ["egg", 0.5],
        ["1 other object", 0.0],
        ["any other word", 0.0],
    ]
    assert "0.600" in table.html

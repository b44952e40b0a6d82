"""The sweep that is committed with the book: `recorded.json` beside this module.

`workflow/stability.yaml` says how it is made. Chapter 15 reads it, and computes no model."""

import json
from collections.abc import Collection
from importlib.resources import files


def recorded(families: Collection[str]) -> dict:
    """What `records.stable` gave, of the runs on `families` alone; none for a family that no run
    was made on.
    """
    text = files("entrack.sweep").joinpath("recorded.json").read_text(encoding="utf-8")
    collected = json.loads(text)
    runs = {
        name: run
        for name, run in collected["runs"].items()
        if run["parameters"].get("family") in families
    }
    return {"format": collected["format"], "runs": runs}

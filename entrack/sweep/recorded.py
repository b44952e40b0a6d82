"""The sweep that is committed with the book: `recorded.json` beside this module.

`workflow/stability.yaml` says how it is made. Chapter 15 reads it, and computes no model."""

import json
from collections.abc import Collection
from importlib.resources import files

from entrack.versions.families import families, family_file


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


def relatives(family: str) -> list[str]:
    """The other families made from the same model: those that the file of `family` names as its
    siblings, then those whose files name it. So a lineage that is added needs a line in its own
    file only, and leaves what was made of the others as fresh as it was.

    Raises ModelError for an unknown family.
    """
    named = family_file(family).get("siblings", [])
    naming = [one for one in families() if family in family_file(one).get("siblings", [])]
    return list(dict.fromkeys([*named, *naming]))

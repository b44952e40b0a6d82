"""A family of three versions of a tiny random Llama, written to a folder in a second."""

import json
from pathlib import Path

from tiny_models import fine_tuned, tiny_model

VERSIONS = ("plain", "tuned", "other")
LAYERS, WEIGHTS = 8, 32
"""Weights with which every stage of path patching finds heads above the layers that receive."""


def write_family(folder: Path) -> Path:
    """Write three models and the family's file; returns the file. `plain` is the reference, the two
    others are `plain` with a change of rank one, as a LoRA makes it.
    """
    models = (
        tiny_model(n_layers=LAYERS, seed=WEIGHTS),
        *(fine_tuned(seed=seed, n_layers=LAYERS, weights=WEIGHTS) for seed in (1, 2)),
    )
    looks = (("#4c64f5", "o"), ("#1d788d", "D"), ("#cc1228", "v"))
    versions = {}
    for name, model, (colour, marker) in zip(VERSIONS, models, looks, strict=True):
        place = folder / "random" / name
        model.hf.save_pretrained(place)
        model.tokenizer.save_pretrained(place)
        versions[name] = {
            "on": None if name == "plain" else "plain",
            "title": f"{name} random weights",
            "subject": None if name == "plain" else "nothing",
            "folder": f"random/{name}",
            "colour": colour,
            "marker": marker,
        }
    described = {
        "title": "Random",
        "licence": "none needed",
        "source": {"kind": "folder"},
        "reference": "plain",
        "focus": "tuned",
        "structure_role": "after_prev_query_label",
        "versions": versions,
    }
    file = folder / "random.json"
    file.write_text(json.dumps(described, indent=1))
    return file

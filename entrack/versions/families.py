"""A family: a base model and its fine-tuned versions, described by `models/<family>.json`.

A version is a whole model, or an adapter that stands on another version. Names are
`family/version` (`smollm2/base`). What the chapters must know of a family stands in its file too:
the version that the others are compared with, the one whose gain they look into, where its
structure readers act, and how its versions are drawn."""

import difflib
import os
from pathlib import Path

from entrack.errors import ModelError
from entrack.versions.weights import read_json

MODELS = Path(__file__).resolve().parents[2] / "models"
"""The families of the book."""

DEFAULT = "smollm2-unprimed"
"""The family of the chapters: its base never saw the task that they ask it to do."""


def folders() -> tuple[Path, ...]:
    """Where families are looked for: the folder that the environment variable `ENTRACK_MODELS`
    names, if any, then the book's own `models/`.
    """
    own = os.environ.get("ENTRACK_MODELS")
    return (Path(own), MODELS) if own else (MODELS,)


def families() -> tuple[str, ...]:
    """The families that there are, the default one first."""
    stems = {path.stem for folder in folders() for path in folder.glob("*.json")}
    return tuple(sorted(stems, key=lambda family: (family != DEFAULT, family)))


def family_path(family: str) -> Path:
    """The file that describes `family`; ModelError names the families there are."""
    for folder in folders():
        if (folder / f"{family}.json").is_file():
            return folder / f"{family}.json"
    near = difflib.get_close_matches(family, families(), n=1)
    raise ModelError(
        f"no family {family!r}; there are {', '.join(families())}. "
        + (f"Did you mean {near[0]!r}?" if near else "Use one of those.")
    )


def family_file(family: str) -> dict:
    """The description of `family`; ModelError names the families there are."""
    return read_json(family_path(family))


def versions(family: str) -> tuple[str, ...]:
    """The versions of `family` whose weights can be loaded: those without an adapter, and those
    whose adapter stands in `models/` with its card, which `entrack train` writes last. Versions on
    a hub of which no revision is pinned are left out."""
    described = family_file(family)
    if described["source"]["kind"] != "wheel":
        return tuple(v for v in described["versions"] if not unpinned(family, v))
    return tuple(
        v
        for v, d in described["versions"].items()
        if d["on"] is None or (adapter_folder(family, v) / "card.json").is_file()
    )


def lineage(family: str, version: str) -> tuple[str, ...]:
    """The versions that `version` stands on, the first of the family first, itself last."""
    described = family_file(family)["versions"]
    if version not in described:
        raise ModelError(
            f"no version {version!r} in family {family!r}; there are {', '.join(described)}. Use"
            " one of those."
        )
    chain = [version]
    while described[chain[0]]["on"] is not None:
        chain.insert(0, described[chain[0]]["on"])
    return tuple(chain)


def tuned_from(family: str, base: str) -> tuple[str, ...]:
    """The versions fine-tuned from `base` whose weights can be loaded.

    Those are the adapters that stand on it and, beside a base that stands on nothing, the other
    whole models: a hub does not tell what these were trained from.
    """
    described = family_file(family)["versions"]
    below = lineage(family, base)
    parents = {base} if len(below) > 1 else {base, None}
    return tuple(v for v in versions(family) if described[v]["on"] in parents and v not in below)


def adapter_folder(family: str, version: str) -> Path:
    """Where the adapter that makes `version` lies, if it is one."""
    return family_path(family).parent / family / version


def model_folder(family: str, version: str) -> Path:
    """Where the whole model `version` of a family of folders lies, by its "folder", which counts
    from the family's file.
    """
    return family_path(family).parent / family_file(family)["versions"][version]["folder"]


def brings_adapter(family: str, version: str) -> bool:
    """Whether `version`, from a folder or a hub, is an adapter on the version that it stands on.
    A folder holds one where it has an adapter_config.json; on a hub, what stands on another is one.
    """
    about = family_file(family)["versions"][version]
    if "folder" in about:
        return (model_folder(family, version) / "adapter_config.json").is_file()
    return about["on"] is not None


def unpinned(family: str, version: str) -> str:
    """Why `version` is refused: it, or one that it stands on, comes from a hub and no revision is
    pinned; "" where none does."""
    for step in lineage(family, version):
        about = family_file(family)["versions"][step]
        if "folder" not in about and about.get("hub") and about.get("revision") is None:
            return (
                f"{family}/{step} comes from {about['hub']!r} and no revision is pinned; results"
                " must say which weights made them. Write the commit into the family file, or load"
                " a local folder."
            )
    return ""


def reference(family: str) -> str:
    """The version that all others are compared with: the file's "reference"."""
    return _named(family, "reference")


def focus(family: str) -> str:
    """The fine-tuned version whose gain the chapters look into: the file's "focus". Where no
    revision of it is pinned, the first fine-tuned version that can be loaded stands in for it."""
    named = _named(family, "focus")
    if not unpinned(family, named):
        return named
    return next(iter(tuned_from(family, reference(family))), named)


def structure_role(family: str) -> str:
    """The token role at which the family's structure readers act, as the file says; `model.sites`
    explains the two that there are."""
    return str(_entry(family, "structure_role"))


def tuned_on(family: str, subject: str) -> tuple[str, ...]:
    """The versions whose "subject" in the family's file is `subject`: what they were fine-tuned on,
    such as "arithmetic", "instructions" or "task"."""
    described = family_file(family)["versions"]
    return tuple(v for v, about in described.items() if about.get("subject") == subject)


def looks(family: str) -> dict[str, tuple[str, str]]:
    """{version: (colour, marker)} of all versions in the family's file, for figures."""
    return {
        version: (about["colour"], about["marker"])
        for version, about in family_file(family)["versions"].items()
        if {"colour", "marker"} <= about.keys()
    }


def _named(family: str, key: str) -> str:
    version = str(_entry(family, key))
    if version not in family_file(family)["versions"]:
        raise ModelError(
            f"{key} {version!r} in {family}.json is none of its versions; there are"
            f" {', '.join(family_file(family)['versions'])}. Write one of those."
        )
    return version


def _entry(family: str, key: str) -> object:
    described = family_file(family)
    if key not in described:
        raise ModelError(
            f"{family}.json has no {key!r}; the chapters need it to know what to compare. Add it as"
            f" in {DEFAULT}.json."
        )
    return described[key]

"""What the paper and its released results say, number by number, with the source of each.

Every item carries tags that say how far it can be trusted:

    paper     stated in the paper. Its full text was not at hand: this is as others quote it, or a
    figure of the README. repo      in a result file or a notebook output of the released code, at
    commit 379765d. history   only in the git history of the released code; may differ from the
    paper. derived   computed by us from released files. inferred  our reading; no source confirms
    it.

Models and circuits are keyed "llama", "vicuna", "goat", "float" (of 7B parameters, 32 layers of 32
heads), groups by their names in `sites.GROUPS`, plus "all" in overlaps. A head is a pair (layer,
head), both from 0. No function can fail; a file is read once."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Generic, TypeVar

from entrack.circuits import Circuit
from entrack.paper.published_rows import (
    CompletenessRow,
    DonatedRow,
    FaithfulnessRow,
    KnockedRow,
    LayerHead,
    OverlapRow,
    PatchedRow,
    PathPatchingRow,
    PrunedHeadRow,
    PruningRow,
    ScoredHeadRow,
    SelectedRow,
    StageRow,
    VariationRow,
)
from entrack.sites import Head

N_LAYERS = 32
"""Layers of the paper's four models, all of the size of Llama-7B."""
STRUCTURE_ROLE = "prev_query_label"
"""Where the structure readers of the released circuits act (paper, section 4.1)."""

Values = TypeVar("Values")


@dataclass(frozen=True)
class Published(Generic[Values]):
    """One published table or figure.

    Attributes:
        name: key in the data file.
        title: what it shows.
        values: the numbers; the function that returns the item says in what form.
        unit: unit of the values.
        tags: how far they can be trusted, see above.
        where: the section, figure or file they stand in.
        note: what a reader must know before comparing; "" if nothing.
        tags_of: closer tags of single keys of `values`, where they differ.
    """

    name: str
    title: str
    values: Values
    unit: str
    tags: tuple[str, ...]
    where: str
    note: str
    tags_of: Mapping[str, tuple[str, ...]]

    @property
    def source(self) -> str:
        """Tags and place in one line: "paper, repo: Table 1; experiment_1/circuit_eval.ipynb"."""
        return f"{', '.join(self.tags)}: {self.where}"


def about() -> Mapping[str, Any]:
    """The paper, the commit of its code, and the meaning of the tags."""
    return _file()["about"]


def names() -> tuple[str, ...]:
    """Every item; each is a function of this module."""
    return tuple(_file()["items"])


def models() -> Published[Mapping[str, Mapping[str, str]]]:
    """values[model]["title" or "what"]: the name in prose, and what it is."""
    return _item("models", dict)


def table1() -> Published[Mapping[str, FaithfulnessRow]]:
    """values[model]; the circuit is Llama's. Chance is 1/7."""
    return _item("table1", _map(lambda row: FaithfulnessRow(**row)))


def cross_evaluation() -> Published[Mapping[str, Mapping[str, tuple[float, float]]]]:
    """values[circuit][model] = (accuracy, faithfulness); circuit "llama_enlarged_175" is Llama's
    best 175 heads.
    """
    return _item("cross_evaluation", _map(_map(tuple)))


def circuits() -> Published[Mapping[str, Mapping[str, tuple[LayerHead, ...]]]]:
    """values[circuit][group], heads by path-patching score, strongest first."""
    return _item("circuits", _map(_map(_heads)))


def released_circuit(name: str = "llama") -> Circuit:
    """One of the three released circuits, "llama", "goat" or "float", as a circuit of this
    package.
    """
    groups = {
        group: tuple(sorted(Head(*head) for head in heads))
        for group, heads in circuits().values[name].items()
    }
    return Circuit(groups, models().values[name]["title"], STRUCTURE_ROLE)


def overlap() -> Published[Mapping[str, Mapping[str, OverlapRow]]]:
    """values["llama_goat", "llama_float" or "goat_float"][group or "all"]."""
    return _item("overlap", _map(_map(_form(OverlapRow))))


def overlap_by_threshold() -> Published[Mapping[str, Mapping[str, Mapping[str, OverlapRow]]]]:
    """values["candidates", "both_at_1_percent" or "both_at_0_percent"][pair][group or "all"]."""
    return _item("overlap_by_threshold", _map(_map(_map(_form(OverlapRow)))))


def path_patching() -> Published[Mapping[str, PathPatchingRow]]:
    """values[model].stages[group]."""
    return _item(
        "path_patching", _map(lambda row: PathPatchingRow(row["seed"], _map(_stage)(row["stages"])))
    )


def seed_sweeps() -> Published[Mapping[str, Mapping[str, float]]]:
    """values["llama" or "goat"][group]: mean overlap of the candidates of two seeds, 1 = the same
    heads.
    """
    return _item("seed_sweeps", dict)


def minimality() -> Published[Mapping[str, Mapping[str, PruningRow]]]:
    """values[circuit][group]."""
    return _item("minimality", _map(_map(_pruning)))


def completeness() -> Published[Mapping[str, CompletenessRow]]:
    """values[circuit]; the closer the two accuracies of a K, the more complete."""
    pair = _form(KnockedRow)
    form = _map(
        lambda row: CompletenessRow(_map(pair)(row["groups"]), tuple(map(pair, row["random"])))
    )
    return _item("completeness", form)


def dcm() -> Published[Mapping[str, Mapping[str, Mapping[str, SelectedRow]]]]:
    """values[circuit][group]["object", "position" or "label"]; label is void."""
    return _item(
        "dcm",
        _map(
            _map(_map(lambda row: SelectedRow(_heads(row["heads"]), row["group"], row["accuracy"])))
        ),
    )


def activation_patching() -> Published[
    Mapping[str, Mapping[str, Mapping[str, Mapping[str, PatchedRow]]]]
]:
    """values[circuit][model][group]["object", "position" or "label"]; label is void."""
    return _item("activation_patching", _map(_map(_map(_map(_patched)))))


def variations() -> Published[Mapping[str, VariationRow]]:
    """values[desideratum]: "position" and its eleven variations, by their names in
    `desiderata.DESIDERATA`.
    """
    form = _map(lambda row: VariationRow(_heads(row["heads"]), row["dcm_accuracy"], _patched(row)))
    return _item("variations", form)


def cmap() -> Published[Mapping[str, Mapping[str, DonatedRow]]]:
    """values[donor][group or "full_circuit"]."""
    return _item("cmap", _map(_map(_form(DonatedRow))))


def cmap_earlier() -> Published[Mapping[str, Mapping[str, Any]]]:
    """values["output"][group or "full_circuit"] and values["input"][group][inputs, such as "q" or
    "qkv"]: accuracies.
    """
    return _item("cmap_earlier", dict)


def knockout() -> Published[Mapping[str, tuple[float, ...]]]:
    """values["<from>_to_<to>"][first blocked layer], roles by their names in `boxes.ROLES`, or
    "random".
    """
    return _item("knockout", _map(tuple))


def accuracy_by_position() -> Published[Mapping[str, Any]]:
    """values["by_position"][box] and values["all"]."""
    return _item("accuracy_by_position", dict)


def slips() -> Published[tuple[Mapping[str, str], ...]]:
    """values: one mapping per slip of the released code, with "name", "title", "where", "effect"
    and "certainty".
    """
    return _item("slips", tuple)


def exhibits() -> Published[tuple[Mapping[str, str], ...]]:
    """values: one mapping per figure or table, with "name", "what" and "status" (where its numbers
    are here).
    """
    return _item("exhibits", tuple)


@cache
def _file() -> Mapping[str, Any]:
    return json.loads(files("entrack.paper").joinpath("published.json").read_text(encoding="utf-8"))


def _item(name: str, form: Callable[[Any], Values]) -> Published[Values]:
    raw = _file()["items"][name]
    return Published(
        name=name,
        title=raw["title"],
        values=form(raw["values"]),
        unit=raw["unit"],
        tags=tuple(raw["tags"]),
        where=raw["where"],
        note=raw.get("note", ""),
        tags_of={key: tuple(tags) for key, tags in raw.get("tags_of", {}).items()},
    )


def _map(form: Callable[[Any], Any]) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """The same mapping with `form` applied to its values."""
    return lambda raw: {key: form(value) for key, value in raw.items()}


def _form(kind: Callable[..., Any]) -> Callable[[Any], Any]:
    """From a row in the file to a tuple with names."""
    return lambda row: kind(*row)


def _head(text: str) -> LayerHead:
    return tuple(map(int, text.split(".")))


def _heads(text: str) -> tuple[LayerHead, ...]:
    return tuple(map(_head, text.split()))


def _stage(raw: Mapping[str, Any]) -> StageRow:
    return StageRow(
        receivers=raw["receivers"],
        candidates=raw["candidates"],
        cutoff=raw["cutoff"],
        offset=raw["offset"],
        signs=tuple(raw["negative_positive_zero"]),
        top=tuple(ScoredHeadRow(_head(head), score) for head, score in raw["top"]),
        circuit=tuple(ScoredHeadRow(_head(head), score) for head, score in raw["circuit"]),
    )


def _pruning(raw: Mapping[str, Any]) -> PruningRow:
    heads = tuple(PrunedHeadRow(_head(head), *numbers) for head, *numbers in raw["heads"])
    return PruningRow(**{**raw, "knockout": tuple(raw["knockout"]), "heads": heads})


def _patched(raw: Mapping[str, Any]) -> PatchedRow:
    return PatchedRow(raw["mean"], raw["sd"], tuple(raw["runs"]))

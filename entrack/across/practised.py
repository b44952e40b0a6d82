"""Which of the two tasks a version has seen in training, on the whole way to it (ours).

Whether a message was there *before* a training, or crosses into a task that a model never saw, is a
question about the way to that model. In one family the base was trained on boxes, in another on
look-ups, so the recipes are asked which version saw what."""

from collections.abc import Iterator
from itertools import takewhile

from entrack.across.checkpoints import recipe_of
from entrack.across.look_ups import BOXES, LOOK_UPS
from entrack.finetune.boxes_data import BoxesData
from entrack.finetune.code_data import CodeData
from entrack.finetune.data import DataConfig, MixedData
from entrack.finetune.recipes import Recipe
from entrack.versions.families import lineage

FORM = "redirection"
"""The template of `finetune.code_data` that scenes are told in by `task.look_ups`."""
OTHER = "other data"
_TASK_OF = {BoxesData: BOXES, CodeData: LOOK_UPS}


def subject(recipe: Recipe | None) -> str:
    """What one recipe trains on, in words: "boxes", "look-ups", both of them, or "other data"; the
    last for None, a version that no recipe of this book made, too.
    """
    parts = _parts(recipe.data) if recipe else ()
    return " and ".join(sorted({_TASK_OF.get(type(d), OTHER) for d in parts})) or OTHER


def practised(family: str, version: str) -> set[str]:
    """The tasks of `look_ups.TASKS` that a version has seen in training, on the way from the first
    version to it. What no recipe of this book made counts as having seen neither.
    """
    return {_TASK_OF[type(d)] for d in _data(family, version) if type(d) in _TASK_OF}


def practised_form(family: str, version: str) -> bool:
    """Whether any of these look-ups were told in the form in which the scenes are (`FORM`)."""
    return any(isinstance(d, CodeData) and FORM in d.templates for d in _data(family, version))


def last_without(family: str, version: str, task: str) -> str | None:
    """The last version on the way to `version`, itself left out, that has not seen `task` in
    training; None where nothing stands below it or all of it has.
    """
    way = lineage(family, version)[:-1]
    clean = [*takewhile(lambda step: task not in practised(family, step), way)]
    return clean[-1] if clean else None


def _data(family: str, version: str) -> Iterator[DataConfig]:
    """All data on the way to a version, the parts of mixed data one by one."""
    for step in lineage(family, version):
        if recipe := recipe_of(family, step):
            yield from _parts(recipe.data)


def _parts(data: DataConfig) -> Iterator[DataConfig]:
    if isinstance(data, MixedData):
        for part in data.parts:
            yield from _parts(part)
    else:
        yield data

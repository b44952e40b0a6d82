"""What a desideratum is: a rule that says which answer patching should give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from entrack.task.boxes import Example, RoleText

# Segments' worth of filler on one side; more would leave the lengths that models were tuned on.
MAX_FILLER = 3


class Setting(NamedTuple):
    """What is free in a counterfactual once its base is given.

    Attributes:
        query: the segment that the source asks for.
        shared: the base's segment whose label the source asks for; None = a label that the base
            does not have.
        before, after: segments' worth of filler before the first and after the last segment of the
            source.
    """

    query: int
    shared: int | None = None
    before: int = 0
    after: int = 0


@dataclass(frozen=True)
class Desideratum:
    """A rule that makes a counterfactual out of a base and a source.

    Attributes:
        name: key in DESIDERATA.
        title: for tables and figures.
        rule: the source's text and the expected answer, in one sentence.
        origin: "paper", "paper, variation" or "beyond the paper".
        candidates: (setting, n_boxes) -> candidate name -> segment of the base whose object is that
            answer; the first is the expected one. Empty where the source's object is expected.
        reword: (source, setting, an object and a label that are in neither scene) -> the source's
            text.
        shares_label: the source asks for a label that the base has too.
        filler: sides of the source's context that take filler: "before", "after".
        reorders: the source has the base's labels in another order.
    """

    name: str
    title: str
    rule: str
    origin: str
    candidates: Callable[[Setting, int], Mapping[str, int]]
    reword: Callable[[Example, Setting, tuple[str, str]], RoleText]
    shares_label: bool = False
    filler: tuple[str, ...] = ()
    reorders: bool = False

    def settings(self, base_query: int, n_boxes: int) -> list[Setting]:
        """Every setting in which all candidates exist and differ from each other and from the
        base's own answer.
        """
        labels = range(n_boxes) if self.shares_label else (None,)
        before, after = (
            range(1, MAX_FILLER + 1) if side in self.filler else (0,)
            for side in ("before", "after")
        )
        every = (
            Setting(query, shared, a, b)
            for query in range(n_boxes)
            for shared in labels
            for a in before
            for b in after
        )
        return [setting for setting in every if self.separates(setting, base_query, n_boxes)]

    def separates(self, setting: Setting, base_query: int, n_boxes: int) -> bool:
        """Whether all candidates exist, and no two of them and the base's own answer are the
        same.
        """
        used = [base_query, *self.candidates(setting, n_boxes).values()]
        inside = all(0 <= index < n_boxes for index in used)
        return inside and len(set(used)) == len(used) and setting.query != base_query

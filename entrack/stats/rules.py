"""Rules that turn numbers into verdicts: when a claim replicates, in words and as a function.

A rule looks at intervals, never at a value alone, and can always answer "undecided".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Protocol

from entrack.errors import ConfigError
from entrack.stats.metrics import LEVEL, Difference, Estimate

VERDICTS = REPLICATES, PARTLY, DOES_NOT, UNDECIDED, NOT_RUN = (
    "replicates",
    "partly",
    "does not replicate",
    "undecided",
    "not run",
)


OF_OURS = {REPLICATES: "holds", DOES_NOT: "does not hold"}
"""What the first and the third are called for a claim of this book."""


MARGIN = 0.05
"""How large a share of prompts still counts as none."""


WORKS = 0.5
"""Faithfulness from which a search has found a circuit. The heads of one below it say nothing about
what a version uses."""


class Rule(Protocol):
    """When a claim replicates, in `words`, and the verdict on one measurement."""

    @property
    def words(self) -> str: ...

    def judge(self, here: Estimate | Sequence[Estimate]) -> str: ...


@dataclass(frozen=True)
class Sign:
    """A difference is claimed to be positive (`expected` +1) or negative (-1).

    Replicates if the whole interval lies on that side of 0. Does not if the interval ends before
    `MARGIN` on that side: what is left counts as none, or has the other sign. Else undecided.
    """

    expected: int

    @property
    def words(self) -> str:
        side = "above" if self.expected > 0 else "below"
        return (
            f"the interval lies {side} 0; does not if it ends {_short(MARGIN)} {side} 0 or before"
        )

    def judge(self, here: Estimate) -> str:
        low, high = sorted((self.expected * here.low, self.expected * here.high))
        return REPLICATES if low > 0 else DOES_NOT if high < MARGIN else UNDECIDED


@dataclass(frozen=True)
class Nothing:
    """No difference is claimed.

    Replicates if the whole interval lies within `margin` of 0, does not if it lies wholly outside.
    A wide interval around 0 is no evidence of nothing: it is undecided.
    """

    margin: float = MARGIN

    @property
    def words(self) -> str:
        return (
            f"the interval lies within {_short(self.margin)} of 0; does not if it lies wholly"
            " outside"
        )

    def judge(self, here: Estimate) -> str:
        if -self.margin <= here.low and here.high <= self.margin:
            return REPLICATES
        outside = here.low > self.margin or here.high < -self.margin
        return DOES_NOT if outside else UNDECIDED


@dataclass(frozen=True)
class AtLeast:
    """A number is claimed to reach `level`; `partly` is a lower step, for a weaker form.

    Replicates if the whole interval reaches `level`, partly if it reaches `partly`. Does not if
    the interval ends below the lowest step. Else undecided.
    """

    level: float
    partly: float | None = None

    @property
    def words(self) -> str:
        step = "" if self.partly is None else f"; partly: {_short(self.partly)} or more"
        return (
            f"the whole interval is {_short(self.level)} or more{step}; does not if it ends below"
        )

    def judge(self, here: Estimate) -> str:
        lowest = self.level if self.partly is None else self.partly
        if here.low >= self.level:
            return REPLICATES
        if here.low >= lowest:
            return PARTLY
        return DOES_NOT if here.high < lowest else UNDECIDED


@dataclass(frozen=True)
class AtMost:
    """A number is claimed to stay at or below `level`; judged as `AtLeast` is."""

    level: float

    @property
    def words(self) -> str:
        return f"the whole interval is {_short(self.level)} or less; does not if it begins above"

    def judge(self, here: Estimate) -> str:
        if here.high <= self.level:
            return REPLICATES
        return DOES_NOT if here.low > self.level else UNDECIDED


@dataclass(frozen=True)
class Order:
    """Numbers are claimed to ascend. `here` are the steps from each to the next.

    Replicates if no step's interval goes below 0, does not if one lies wholly below, else
    undecided. Equal numbers (a step of exactly 0) are in order.
    """

    what: str

    @property
    def words(self) -> str:
        return f"{self.what} ascend: no step's interval goes below 0; does not if one lies below it"

    def judge(self, here: Sequence[Estimate]) -> str:
        if any(step.high < 0 for step in here):
            return DOES_NOT
        return REPLICATES if all(step.low >= 0 for step in here) else UNDECIDED


@dataclass(frozen=True)
class Graded:
    """A claim with a weak and a strong form: `here` holds a number for each of `rules`, weak first.

    Replicates if every rule does, partly if the first does but a later one does not; otherwise the
    verdict is the first one's. `meanings` say what the numbers are, in the same order.
    """

    rules: tuple[Rule, ...]
    meanings: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.rules) != len(self.meanings) or len(self.rules) < 2:
            raise ConfigError(
                f"{len(self.rules)} rules with {len(self.meanings)} meanings; a graded rule has two"
                " or more, each with its meaning. Give as many of both."
            )

    @property
    def words(self) -> str:
        told = " and ".join(
            f"{meaning}: {rule.words}"
            for meaning, rule in zip(self.meanings, self.rules, strict=True)
        )
        return f"{told}; partly: only the first"

    def judge(self, here: Sequence[Estimate]) -> str:
        first, *later = (rule.judge(e) for rule, e in zip(self.rules, here, strict=True))
        if first != REPLICATES:
            return first
        return REPLICATES if set(later) == {REPLICATES} else PARTLY


@dataclass(frozen=True)
class Every:
    """The same is claimed of several numbers at once, `here` in the order that `what` names.

    Replicates if `rule` does for every one, does not if it does not for one, else undecided.
    """

    rule: Rule
    what: str

    @property
    def words(self) -> str:
        return f"{self.what}, each: {self.rule.words}; does not if one does not"

    def judge(self, here: Sequence[Estimate]) -> str:
        verdicts = {self.rule.judge(e) for e in here}
        if verdicts <= {REPLICATES}:
            return REPLICATES
        return DOES_NOT if DOES_NOT in verdicts else UNDECIDED


@dataclass(frozen=True)
class Beyond:
    """More is claimed than chance gives: `here` is a difference, or another estimate that has a
    p-value.

    Replicates if the difference is positive and its p-value, times the number of `tests` made, is
    below 5 %; does not if the interval ends at 0 or below; else undecided.
    """

    tests: int

    @property
    def words(self) -> str:
        return (
            f"positive with p below {_short(1 - LEVEL)}, corrected for {self.tests} tests; does not"
            " if the interval ends at 0 or below"
        )

    def judge(self, here: Difference) -> str:
        if here.value > 0 and here.p_value * self.tests < 1 - LEVEL:
            return REPLICATES
        return DOES_NOT if here.high <= 0 else UNDECIDED


@dataclass(frozen=True)
class Apart:
    """A difference of either sign is claimed: `here` is the largest of `tests` that were made.

    Replicates if its p-value, times the number of tests, is below 5 %; does not if the interval
    lies within `MARGIN` of 0; else undecided.
    """

    tests: int

    @property
    def words(self) -> str:
        return (
            f"not 0 with p below {_short(1 - LEVEL)}, corrected for {self.tests} tests; does not if"
            f" the interval lies within {_short(MARGIN)} of 0"
        )

    def judge(self, here: Difference) -> str:
        if here.p_value * self.tests < 1 - LEVEL:
            return REPLICATES
        within = -MARGIN <= here.low and here.high <= MARGIN
        return DOES_NOT if within else UNDECIDED


def overall(verdicts: Sequence[str]) -> str:
    """One verdict for a claim about several versions, from the verdict of each.

    "replicates" when it does in all, "partly" when in some or in part, "does not replicate" when
    in none and clearly not in some, "undecided" when in none and not clearly in any, "not run" when
    there are none.
    """
    if not verdicts:
        return NOT_RUN
    if {REPLICATES, PARTLY} & set(verdicts):
        return REPLICATES if set(verdicts) == {REPLICATES} else PARTLY
    return DOES_NOT if DOES_NOT in verdicts else UNDECIDED


def _short(number: Real) -> str:
    return f"{number:g}"

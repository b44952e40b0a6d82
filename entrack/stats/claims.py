"""Claims as data: what is claimed, what was measured, and the rule that turns numbers into a
verdict.

No verdict is written by hand. A `Claim` holds the numbers, its `Rule` says in words when they bear
it out, and the same object judges them. A rule looks at intervals, never at a value alone, and can
always answer "undecided". The paper's claims *replicate* or do not; a claim that nobody made before
this book *holds* or does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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

Here = Estimate | Sequence[Estimate] | Mapping[str, Estimate | Sequence[Estimate]] | None
"""What was measured: one number, the numbers that a rule asks for in its order, or one of either
for each of several versions. None where nothing could be measured."""


class Rule(Protocol):
    """When a claim replicates, in `words`, and the verdict on one measurement."""

    @property
    def words(self) -> str: ...

    def judge(self, here: Estimate | Sequence[Estimate]) -> str: ...


@dataclass(frozen=True)
class Sign:
    """A difference is claimed to be positive (`expected` +1) or negative (-1).

    Replicates if the whole interval lies on that side of 0. Does not if the interval ends before
    `margin` on that side: what is left counts as none, or has the other sign. Else undecided.
    """

    expected: int
    margin: float = MARGIN

    @property
    def words(self) -> str:
        side = "above" if self.expected > 0 else "below"
        return (
            f"the interval lies {side} 0; does not if it ends {_short(self.margin)} {side} 0 or"
            " before"
        )

    def judge(self, here: Estimate) -> str:
        low, high = sorted((self.expected * here.low, self.expected * here.high))
        return REPLICATES if low > 0 else DOES_NOT if high < self.margin else UNDECIDED


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
class Beyond:
    """More is claimed than chance gives: `here` holds differences whose p-values count.

    Replicates if the difference is positive and its p-value, times the number of `tests` made, is
    below 5 %; does not if the interval ends below `margin`; else undecided.
    """

    tests: int
    margin: float = 0.0

    @property
    def words(self) -> str:
        return (
            f"positive with p below {_short(1 - LEVEL)}, corrected for {self.tests} tests; does not"
            f" if the interval ends at {_short(self.margin)} or below"
        )

    def judge(self, here: Difference) -> str:
        if here.value > 0 and here.p_value * self.tests < 1 - LEVEL:
            return REPLICATES
        return DOES_NOT if here.high <= self.margin else UNDECIDED


@dataclass(frozen=True)
class Claim:
    """One claim, what was measured for it, and its rule.

    Attributes:
        slug: its name in code, prose and records, e.g. "improved_values".
        text: what is claimed, a sentence without a full stop.
        here: what was measured here (`Here`); a mapping is judged version by version: "partly" when
            only some bear the claim out.
        rule: how numbers become a verdict.
        paper: the paper's own number, in words; "" where it has none.
        source: where in the paper, or in its released results, that number stands.
        ours: whether the claim is this book's and not the paper's.
        finding: "i", "ii" or "iii", the finding of the paper that it belongs to; "" for others.
        spec: format of the numbers, "+.2f" for differences.
        given: a condition in words -> whether it is met. Where one is not, the claim is undecided:
            the numbers are about something else.
        note: what the table adds to the numbers, such as a denominator.
    """

    slug: str
    text: str
    here: Here
    rule: Rule
    paper: str = ""
    source: str = ""
    ours: bool = False
    finding: str = ""
    spec: str = "+.2f"
    given: Mapping[str, bool] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        if not self.slug.isidentifier():
            raise ConfigError(
                f"claim slug {self.slug!r}; letters, digits and underscores, a letter first."
                " Rename it."
            )
        if self.ours == bool(self.paper):
            raise ConfigError(
                f"claim {self.slug!r} is {'ours and' if self.ours else 'not ours and'} has"
                f" {'a' if self.paper else 'no'} number of the paper; a claim of the paper has one,"
                " a claim of ours has none. Set paper or ours."
            )

    @property
    def verdict(self) -> str:
        """One of VERDICTS."""
        if self.here is None or (isinstance(self.here, Mapping) and not self.here):
            return NOT_RUN
        if not all(self.given.values()):
            return UNDECIDED
        if isinstance(self.here, Mapping):
            return overall([self.rule.judge(here) for here in self.here.values()])
        return self.rule.judge(self.here)

    @property
    def verdict_words(self) -> str:
        """The verdict as readers see it: a claim of ours holds, or does not."""
        return OF_OURS.get(self.verdict, self.verdict) if self.ours else self.verdict

    @property
    def paper_words(self) -> str:
        """The paper's number with where it stands; "-" for a claim of ours."""
        return f"{self.paper} ({self.source})" if self.source else self.paper or "-"

    @property
    def rule_words(self) -> str:
        """The rule, with what applies when several versions are judged and what it presupposes."""
        words = self.rule.words
        if isinstance(self.here, Mapping):
            words += "; in every version, partly: in some"
        unless = " or ".join(f"unless {condition}" for condition in self.given)
        return f"{words}; undecided {unless}" if unless else words

    @property
    def measured(self) -> str | None:
        """The numbers in words; None where nothing was measured."""
        if self.verdict == NOT_RUN:
            return None
        if isinstance(self.here, Mapping):
            told = ", ".join(f"{self._told(here)} ({name})" for name, here in self.here.items())
        else:
            told = self._told(self.here)
        return f"{told}, {self.note}" if self.note else told

    def record(self) -> dict[str, object]:
        """The claim as plain data, for the notebook's outputs: what the pages of claims and
        `entrack run --compare` read.
        """
        named = self.here if isinstance(self.here, Mapping) else {"": self.here}
        return {
            "slug": self.slug,
            "text": self.text,
            "finding": self.finding,
            "ours": self.ours,
            "paper": self.paper,
            "source": self.source,
            "measured": self.measured,
            "estimates": {
                name: [[e.value, e.low, e.high, e.n] for e in _listed(here)]
                for name, here in named.items()
                if here is not None
            },
            "rule": self.rule_words,
            "verdict": self.verdict,
        }

    def _told(self, here: Estimate | Sequence[Estimate]) -> str:
        return " and ".join(
            f"{e.value:{self.spec}}" if e.low == e.high else f"{e:{self.spec}}"
            for e in _listed(here)
        )


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


def direction(estimate: Estimate) -> str:
    """Where the interval of a difference lies: "higher" or "lower" than 0, or "no clear
    difference" across it.
    """
    return "higher" if estimate.low > 0 else "lower" if estimate.high < 0 else "no clear difference"


def _listed(here: Estimate | Sequence[Estimate]) -> Sequence[Estimate]:
    return (here,) if isinstance(here, Estimate) else here


def _short(number: Real) -> str:
    return f"{number:g}"

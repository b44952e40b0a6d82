"""Claims as data: what is claimed, what was measured, and the rule that turns numbers into a
verdict.

No verdict is written by hand. A `Claim` holds the numbers, its `Rule` says in words when they bear
it out, and the same object judges them. A rule looks at intervals, never at a value alone, and can
always answer "undecided". The paper's claims *replicate* or do not; a claim that nobody made before
this book *holds* or does not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isnan

from entrack.errors import ConfigError
from entrack.stats.metrics import Estimate
from entrack.stats.rules import NOT_RUN, OF_OURS, UNDECIDED, Rule, overall

Here = Estimate | Sequence[Estimate] | Mapping[str, Estimate | Sequence[Estimate]] | None
"""What was measured: one number, the numbers that a rule asks for in its order, or one of either
for each of several versions. None, or an estimate that is NaN, where nothing could be measured."""


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
        each: what the keys of a mapping name.
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
    each: str = "version"

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
        if not self._measured_all:
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
            words += f"; in every {self.each}, partly: in some"
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
        measured = list(named.items()) if self._measured_all else []
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
                for name, here in measured
            },
            "parts": {name: self._told(here) for name, here in measured},
            "rule": self.rule_words,
            "verdict": self.verdict,
        }

    @property
    def _measured_all(self) -> bool:
        if self.here is None:
            return False
        named = self.here.values() if isinstance(self.here, Mapping) else [self.here]
        numbers = [e.value for here in named for e in _listed(here)]
        return bool(numbers) and not any(map(isnan, numbers))

    def _told(self, here: Estimate | Sequence[Estimate]) -> str:
        return " and ".join(
            f"{e.value:{self.spec}}" if e.low == e.high else f"{e:{self.spec}}"
            for e in _listed(here)
        )


def direction(estimate: Estimate) -> str:
    """Where the interval of a difference lies: "higher" or "lower" than 0, or "no clear
    difference" across it.
    """
    return "higher" if estimate.low > 0 else "lower" if estimate.high < 0 else "no clear difference"


def _listed(here: Estimate | Sequence[Estimate]) -> Sequence[Estimate]:
    return (here,) if isinstance(here, Estimate) else here

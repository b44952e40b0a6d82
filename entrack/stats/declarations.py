"""What is claimed, before anything is measured: its words, the paper's number, and the rule."""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from string import Formatter

from entrack.errors import ConfigError
from entrack.stats.claims import Claim, Here
from entrack.stats.rules import Rule


@dataclass(frozen=True)
class Declaration:
    """A claim without its measurement. The fields are those of `Claim`, save for these.

    Attributes:
        text, note: may hold names in braces, "{n} prompts": words that the chapter fills in.
        rule: how numbers become a verdict; or a function of words that only the chapter knows,
            such as the number of tests, that gives the rule.
        given: what the claim presupposes, in words; "" for nothing. The chapter says whether it is
            met, and where it is not, the claim is undecided.
    """

    slug: str
    text: str
    rule: Rule | Callable[..., Rule]
    paper: str = ""
    source: str = ""
    ours: bool = False
    finding: str = ""
    spec: str = "+.2f"
    given: str = ""
    note: str = ""
    each: str = "version"

    @property
    def words(self) -> set[str]:
        """The names that text, note and rule take from the chapter."""
        told = (name for part in (self.text, self.note) for _, name, *_ in Formatter().parse(part))
        return {name for name in (*told, *self._taken) if name}

    def measured(self, here: Here, *, given: bool | None = None, **words) -> Claim:
        """The claim with what was measured, `given` whether what it presupposes is met, and the
        words that it takes by name.

        Raises ConfigError for words that are missing or that it does not take, and for `given`
        where nothing is presupposed or without it where something is."""
        if set(words) != self.words:
            raise ConfigError(
                f"claim {self.slug!r} got the words {_names(words)}; it takes {_names(self.words)}."
                " Pass these by name, and no others."
            )
        if self.given and given is None:
            raise ConfigError(
                f"claim {self.slug!r} presupposes that {self.given}, and nothing says whether it is"
                " so. Pass given=True or given=False."
            )
        if not self.given and given is not None:
            raise ConfigError(
                f"claim {self.slug!r} got given={given} and presupposes nothing. Leave given out."
            )
        rule = self.rule
        if callable(rule):
            rule = rule(**{name: words[name] for name in self._taken})
        return Claim(
            self.slug,
            self.text.format(**words),
            here,
            rule,
            paper=self.paper,
            source=self.source,
            ours=self.ours,
            finding=self.finding,
            spec=self.spec,
            given={self.given: given} if self.given else {},
            note=self.note.format(**words),
            each=self.each,
        )

    @property
    def _taken(self) -> list[str]:
        """The names of what a rule takes that is a function."""
        return list(inspect.signature(self.rule).parameters) if callable(self.rule) else []


def _names(words: Iterable[str]) -> str:
    return ", ".join(sorted(words)) or "none"

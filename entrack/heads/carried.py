"""What a group carries in other versions, beside base, and whether it goes with their accuracy.

The same heads are patched in every version, between the same prompts (`circuit.contents`), so each
version is compared with base pair by pair. Ours; the paper reports the scores (section 5.3)."""

from collections.abc import Sequence

import numpy as np

from entrack.circuit.contents import CONTENT, Contents
from entrack.cross_model.messages import followed_more
from entrack.stats.claims import direction
from entrack.stats.metrics import Difference, difference, rate
from entrack.stats.ranks import RankOrder, rising


def content(group: str) -> str:
    """What is asked of a group: what it carries according to the paper; of structure readers the
    position.
    """
    return CONTENT.get(group, "position")


def change(contents: Contents, version: str, group: str) -> Difference:
    """Score above floor with all heads of `group` patched, in `version` less in base: paired, each
    version with its own floor. Positive = the version's group carries more.
    """
    first, second = (_above(contents, v, group) for v in (version, contents.base))
    return difference(first, second, clusters=contents.tested[contents.base].scenes)


def accuracy(contents: Contents, version: str) -> float:
    """Share of the unpatched base prompts of the pairs that a version answers right."""
    answers = contents.tested[version]
    return rate(answers.unpatched == answers.candidates["unchanged"]).value


def with_accuracy(contents: Contents, group: str) -> RankOrder | None:
    """Rank correlation over base and the other versions: their accuracy, and the score above floor
    with all heads of `group` patched. None for fewer than four versions, or where they do not
    differ.

    Its interval is over versions alone, as if each number were exact."""
    versions = list(contents.tested)
    return rising(
        [accuracy(contents, v) for v in versions],
        [float(_above(contents, v, group).mean()) for v in versions],
    )


def counted(changes: Sequence[Difference]) -> str:
    """How many of some changes are clear, in words: "2 rise, 0 fall, 2 unclear"."""
    found = [direction(change) for change in changes]
    names = {"higher": "rise", "lower": "fall", "no clear difference": "unclear"}
    return ", ".join(f"{found.count(where)} {told}" for where, told in names.items())


def _above(contents: Contents, version: str, group: str) -> np.ndarray:
    return followed_more(contents.tested[version], f"{group} all", content(group))

"""How claims came out, counted: by finding, and apart from those that could hardly have failed."""

from collections import Counter
from collections.abc import Sequence
from html import escape

from entrack.book.pages import JudgedClaim
from entrack.display.tables import badge, table_html
from entrack.stats.rules import VERDICTS

FINDINGS = {
    "i": "The same circuit is there",
    "ii": "It does the same job",
    "iii": "It does the job better",
}
"""What the paper found, in its order."""

EASY = {
    "base_above_chance": "the base was trained on this task until it could do it",
    "circuit_order": "groups are searched backwards from the answer, each for what feeds the one"
    " before, so that they lie ever earlier in depth",
    "slip_label": "a token that no model gives as its answer is never given",
}
"""Claims that could hardly have failed, with why. They are counted as judged, and say little."""


def by_finding_html(claims: Sequence[JudgedClaim]) -> str:
    """A row for each finding, and one for claims of none: how many claims of the paper, and how
    many of ours, came out in which way.
    """
    rows = []
    for finding, title in {**FINDINGS, "": "The task, the tools, the released code"}.items():
        mine = [claim for claim in claims if claim.record["finding"] == finding]
        for ours, whose in ((False, "the paper's"), (True, "ours")):
            counts = Counter(c.record["verdict"] for c in mine if c.record["ours"] == ours)
            if counts:
                name = f"({finding}) {title}" if finding else title
                rows.append([name, whose, *(counts[v] for v in VERDICTS), counts.total()])
    names = ["yes", "partly", "no", "undecided", "not run"]
    return table_html(
        rows,
        ["finding", "claims", *names, "all"],
        caption="Claims by finding: replicated or held (yes), in part, not, left open",
    )


def easy_html(claims: Sequence[JudgedClaim]) -> str:
    """The claims that could hardly have failed, each with its verdict and why."""
    lines = [
        f"<li>{escape(sentence(str(c.record['text'])))}: {badge(c.verdict_words)}; "
        f"{escape(EASY[str(c.record['slug'])])}.</li>"
        for c in claims
        if c.record["slug"] in EASY
    ]
    return f"<ul>{''.join(lines)}</ul>"


def sentence(text: str) -> str:
    """A claim's words with a capital first letter."""
    return text[0].upper() + text[1:]


def without_easy(claims: Sequence[JudgedClaim]) -> list[JudgedClaim]:
    """The claims that could have failed."""
    return [claim for claim in claims if claim.record["slug"] not in EASY]

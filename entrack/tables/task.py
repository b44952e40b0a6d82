"""Tables of the task: what the versions are, and how well each does it."""

from collections.abc import Mapping

from entrack.display.tables import Table
from entrack.patching.accuracy import TaskScores


def described(titles: Mapping[str, str], *, family: str) -> Table:
    """Version and what it is (`titles`)."""
    return Table(
        list(titles.items()), ["version", "what it is"], f"The versions of the family {family}."
    )


def versions(
    scores: Mapping[tuple[str, str], TaskScores], *, base: str, titles: Mapping[str, str]
) -> Table:
    """Version, what it is, accuracy in each format, and its gain over `base` in the first format
    with the p-value; "-" for `base` itself.

    Args:
        scores: by (version, format).
        titles: version -> what it is.
    """
    formats = list(dict.fromkeys(format for _, format in scores))
    rows = []
    for version in dict.fromkeys(version for version, _ in scores):
        accuracies = [scores[version, format].accuracy() for format in formats]
        gain = scores[version, formats[0]].minus(scores[base, formats[0]])
        compared = ["-", "-"] if version == base else [gain, f"{gain.p_value:.1g}"]
        rows.append([version, titles[version], *accuracies, *compared])
    n, n_boxes = scores[base, formats[0]].hits.size, scores[base, formats[0]].hits.shape[-1]
    return Table(
        rows,
        ["version", "what it is", *formats, f"minus {base}", "p"],
        f"Accuracy on {n} prompts of {n_boxes} boxes with 95 % intervals; paired difference to"
        f" {base} in the {formats[0]} format, with the exact sign test over scenes.",
    )

"""Tables of what counts as position: reworded sources, rivals, both text formats.

Scores are shares of pairs, with 95 % intervals over scenes."""

from collections.abc import Mapping, Sequence

from entrack.circuit.wordings import RIVALS, Wording
from entrack.display.tables import Table
from entrack.figures.position import CANDIDATE_WORDS
from entrack.heads.worded_masks import WordedMasks
from entrack.sites import GROUPS
from entrack.stats.metrics import Estimate, difference
from entrack.tables.carry import taken_words
from entrack.task.desiderata import Counterfactual


def sources(wordings: Sequence[Wording]) -> Table:
    """The first pair of every wording: source (cut), base's own answer, expected answer."""
    firsts = [(wording.title, wording.pairs[0]) for wording in wordings]
    return Table(
        [[title, _cut(pair), pair.base.answer, pair.answer] for title, pair in firsts],
        ["wording", "source (cut)", "base's own answer", "expected answer"],
        "The first pair of every wording: from the source, its start, its queried segment and its"
        " end.",
    )


def scores(wordings: Sequence[Wording], *, paper: Mapping[str, float]) -> Table:
    """Wording, number of pairs, score above floor of every group, floor, the paper's score."""
    return Table(
        [
            [
                w.title,
                len(w.pairs),
                *[w.above(group) for group in w.groups],
                w.floor().value,
                f"{paper[w.name]:+.2f}",
            ]
            for w in wordings
        ],
        [
            "wording of the source",
            "pairs",
            *_columns(wordings, "above floor"),
            "floor",
            "paper: B above floor",
        ],
        "Share of pairs that answer as expected, less the floor (nothing patched), with 95 %"
        " intervals over scenes.",
    )


def masks(found: Sequence[WordedMasks], group: str, *, paper: Mapping[str, str]) -> Table:
    """Wording, heads that its own mask takes, their score above floor, and that less the score of
    all heads; the paper's words by wording, none for a group whose masks it did not learn.
    """
    rows, n = [], min(len(one.wording.patched.unpatched) for one in found)
    for one in found:
        taken, scenes = taken_words(one.masks[group]), one.wording.patched.scenes
        beyond = one.beyond(group)
        less = (
            "the same"
            if taken.startswith("all")
            else difference(beyond, 0 * beyond, clusters=scenes)
        )
        theirs = [paper[one.wording.name]] if paper else []
        rows.append([one.wording.title, taken, one.above(group), less, *theirs])
    return Table(
        rows,
        [
            "wording of the source",
            "heads selected",
            "score above floor",
            "less all heads",
            *(["paper: above floor (heads)"] if paper else []),
        ],
        f"{GROUPS[group].title}s ({GROUPS[group].letter}): a mask learned for each wording, on"
        f" {n} test pairs or more; 95 % intervals over scenes.",
    )


def predictions(pair: Counterfactual) -> Table:
    """What each idea of position predicts for one pair, below its texts."""
    ideas = {name: word for name, word in pair.alternatives.items() if name != "unchanged"}
    return Table(
        [
            ["base", pair.base.text],
            ["source", pair.source.text],
            ["base's own answer", pair.base.answer],
            [CANDIDATE_WORDS["ordinal"], pair.answer],
            *[[CANDIDATE_WORDS.get(name, name), word] for name, word in ideas.items()],
        ],
        ["", "text or answer"],
        "What each idea of position predicts for one pair.",
    )


def leads(wordings: Sequence[Wording], *, understood: bool = False) -> Table:
    """Source, rival, and how far the order of boxes is ahead of it, for every group; `understood`:
    the pairs are those whose source the model answers right, as the caption then says.
    """
    which = "the runs whose source the model answers right" if understood else "the same runs"
    return Table(
        [
            [w.title, RIVALS[rival], *[w.lead(group, rival) for group in w.groups]]
            for w in wordings
            for rival in w.rivals
        ],
        ["source", "rival", *_columns(wordings, "order less rival", colon=True)],
        "Share of answers that the order of boxes predicts, less the share that the rival predicts,"
        f" on {which}; 95 % intervals over scenes.",
    )


def understood(wordings: Sequence[Wording], *, own: Mapping[str, Estimate]) -> Table:
    """Source, number of pairs, share that the model itself answers right (`own`, by title), and
    the order's score above floor for every group.
    """
    return Table(
        [
            [w.title, len(w.pairs), own[w.title], *[w.above(group) for group in w.groups]]
            for w in wordings
        ],
        [
            "source",
            "pairs",
            "answered right",
            *_columns(wordings, "order above floor", colon=True),
        ],
        "Share of sources that the model itself answers right, with nothing patched, and order"
        " score above floor; 95 % intervals over scenes. A source that the model does not"
        " understand has no position to give.",
    )


def formats(found: Mapping[str, Wording]) -> Table:
    """Format -> its pairs, patched: the position's score above floor for every group."""
    return Table(
        [
            [format, *[w.patched.above_floor(group, "position") for group in w.groups]]
            for format, w in found.items()
        ],
        ["format", *_columns([*found.values()], "position above floor", colon=True)],
        "Position score less its floor in both formats; 95 % intervals over scenes.",
    )


def _columns(wordings: Sequence[Wording], words: str, *, colon: bool = False) -> list[str]:
    """A title for each group, by its letter."""
    between = ": " if colon else " "
    return [f"{GROUPS[group].letter}{between}{words}" for group in wordings[0].groups]


def _cut(pair: Counterfactual) -> str:
    """What a reader needs of a source: its first words and all around the queried segment."""
    text, spans = pair.source.text, pair.source.spans
    start, end = sorted((spans["correct_object"][0], spans["prev_query_label"][1]))
    low = max(0, start - 28)
    inside, tail = text[low : end + 12], text[spans["query_label"][0] - 40 :]
    inside = inside if low == 0 else inside.split(" ", 1)[1]
    first, inside = text[:24].rsplit(" ", 1)[0], inside.rsplit(" ", 1)[0]
    return f"{first} … {inside} … {tail.split(' ', 1)[1]}"

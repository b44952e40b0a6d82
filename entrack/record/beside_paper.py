"""Which of our numbers can stand on one axis with a number of the paper, and both of them.

Most claims have a number here and one in the paper that measure the same thing in the same unit.
Those that do not (a p-value, a list of layers, a count of heads) are named and left out: no number
is bent to fit an axis.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from entrack.book.pages import JudgedClaim
from entrack.paper import findings, published

FAITHFULNESS = "Faithfulness: the circuit's accuracy over the model's"
DIFFERENCE = "Difference of accuracy, as a share of prompts"
GAIN = "Change of accuracy, as a share of prompts"
BLOCKED = "Change of accuracy with a reading blocked in all layers"
FLOOR = "Patching score less its floor, as a share of prompts"
GAP = "Share of the gap to the donor that is closed"

UNITS = (DIFFERENCE, GAIN, FAITHFULNESS, BLOCKED, FLOOR, GAP)
"""What the axes show, in the order in which a finding's drawing has them."""


@dataclass(frozen=True)
class Mark:
    """A number with its 95 % interval, or one of the paper, which has none: then low and high are
    equal to value.

    Attributes:
        name: whose number: a version of ours, or a model of the paper.
    """

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Compared:
    """A claim whose number here and in the paper share a unit.

    Attributes:
        claim: as a chapter recorded it.
        unit: one of UNITS.
        here: a mark for each version that was judged.
        paper: a mark for each of the paper's models that it gives the number for.
    """

    claim: JudgedClaim
    unit: str
    here: tuple[Mark, ...]
    paper: tuple[Mark, ...]


@dataclass(frozen=True)
class _Pair:
    """What to draw of a claim: the unit, the paper's numbers by model, and which of the numbers
    that the claim measured is the one in this unit.
    """

    unit: str
    paper: Callable[[], Mapping[str, float]]
    which: int = 0


def _table1(*models: str, column: str = "faithfulness") -> dict[str, float]:
    rows = published.table1().values
    return {findings.title(model): getattr(rows[model], column) for model in models}


def _gains(*models: str) -> dict[str, float]:
    alone = _table1(findings.RECEIVER, column="full")[findings.title(findings.RECEIVER)]
    return {name: full - alone for name, full in _table1(*models, column="full").items()}


def _blocked(*edge: str) -> Callable[[], Mapping[str, float]]:
    return lambda: _of_llama(findings.knockout_change(edge))


def _score(group: str, target: str) -> Callable[[], Mapping[str, float]]:
    """The score less its floor; that of the object, whose floor is not published, as it stands."""

    def paper():
        score = published.dcm().values[findings.RECEIVER][group][target].accuracy
        return _of_llama(score - (findings.position_floor() if target == "position" else 0))

    return paper


def _of_llama(value: float) -> dict[str, float]:
    return {findings.title(findings.RECEIVER): value}


def _circuit_over_base() -> dict[str, float]:
    rows, whole = published.table1().values, _table1(findings.RECEIVER, column="full")
    others = _table1(*(model for model in rows if model != findings.RECEIVER), column="circuit")
    return {
        name: value - whole[findings.title(findings.RECEIVER)] for name, value in others.items()
    }


_PAIRS: Mapping[str, _Pair] = {
    "something_else_helps": _Pair(GAIN, lambda: _gains("vicuna", "goat", "float")),
    "u_shape": _Pair(DIFFERENCE, lambda: _of_llama(findings.ends_over_middle()[0])),
    "circuit_over_base": _Pair(GAIN, _circuit_over_base),
    "arithmetic_helps": _Pair(GAIN, lambda: _gains("goat", "float")),
    "instructions_do_not_matter": _Pair(GAIN, lambda: _gains("vicuna")),
    "circuit_exists": _Pair(FAITHFULNESS, lambda: _table1("llama"), which=1),
    "same_circuit": _Pair(FAITHFULNESS, lambda: _table1("vicuna", "goat", "float"), which=1),
    "last_reads_object": _Pair(BLOCKED, _blocked("last", "correct_object")),
    "last_reads_query_label": _Pair(BLOCKED, _blocked("last", "query_label")),
    "query_label_reads_earlier_label": _Pair(BLOCKED, _blocked("query_label", "prev_query_label")),
    "last_skips_earlier_label": _Pair(BLOCKED, _blocked("last", "prev_query_label")),
    "A_carries_object": _Pair(FLOOR, _score("value_fetcher", "object")),
    "B_carries_position": _Pair(FLOOR, _score("position_transmitter", "position")),
    "C_carries_position": _Pair(FLOOR, _score("position_detector", "position")),
    "D_carries_nothing_seen": _Pair(FLOOR, _score("structure_reader", "position"), which=1),
    "better_fetching": _Pair(
        GAIN, lambda: {findings.title("goat"): findings.fetching_gain("goat")}
    ),
    "next_position_is_not_carried": _Pair(
        FLOOR,
        lambda: _of_llama(
            findings.wordings_above_floor(["incorrect_segment"])["incorrect_segment"]
        ),
    ),
    "improved_values": _Pair(GAIN, lambda: findings.cmap_gains("value_fetcher")),
    "improved_positions": _Pair(GAIN, lambda: findings.cmap_gains("position_transmitter")),
    "improved_not_cd": _Pair(
        GAIN,
        lambda: {
            f"{letter} of {model}": gain
            for letter, group in (("C", "position_detector"), ("D", "structure_reader"))
            for model, gain in findings.cmap_gains(group).items()
        },
    ),
    "improved_full": _Pair(GAP, findings.gap_closed),
}


def same_unit(slug: str) -> tuple[int, dict[str, float]]:
    """Which of a claim's numbers has the paper's in the same unit, and these, by model; the first
    and none for a claim whose numbers do not share a unit.
    """
    pair = _PAIRS.get(slug)
    return (pair.which, dict(pair.paper())) if pair else (0, {})


def compared(claims: Sequence[JudgedClaim]) -> list[Compared]:
    """Those claims of the paper that were measured here and have a number of the paper in the same
    unit, in order.
    """
    found = []
    for claim in claims:
        pair = _PAIRS.get(str(claim.record["slug"]))
        estimates = claim.record["estimates"]
        if pair is None or not estimates:
            continue
        here = tuple(
            Mark(name or "here", *numbers[pair.which][:3]) for name, numbers in estimates.items()
        )
        paper = tuple(Mark(name, *[value] * 3) for name, value in pair.paper().items())
        found.append(Compared(claim, pair.unit, here, paper))
    return found


def without_axis(claims: Sequence[JudgedClaim]) -> list[JudgedClaim]:
    """The claims of the paper that `compared` leaves out, in order."""
    drawn = {row.claim.record["slug"] for row in compared(claims)}
    return [c for c in claims if not c.record["ours"] and c.record["slug"] not in drawn]

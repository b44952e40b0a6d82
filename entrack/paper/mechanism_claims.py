"""Claims about where the mechanism comes from and how it changes, as data: other lineages
(12), and which claims are stable (15)."""

from functools import partial

from entrack.sites import GROUPS
from entrack.stats.declarations import Declaration
from entrack.stats.rules import AtLeast, AtMost, Beyond, Graded, Nothing, Sign

HIGHER = Sign(+1)


def declared() -> list[Declaration]:
    """All of them, in the order of the book."""
    return [*_lineages(), *_stability()]


def _lineages() -> list[Declaration]:
    """Chapter 12: finding (i), whether the mechanism existed before."""
    ours = partial(Declaration, finding="i", ours=True, each="lineage")
    alike = Graded(
        (HIGHER, AtLeast(0.8)),
        ("correlation of effects beyond that of heads shuffled in their layers", "of the ceiling"),
    )
    return [
        *(
            ours(
                f"lineage_heads_{group.letter}",
                f"A base trained on other data has the same {group.title.lower()}s"
                f" ({group.letter})",
                alike,
            )
            for group in GROUPS.values()
        ),
        ours(
            "lineage_circuit",
            "The circuit of one base does the task in another as well as that one's own",
            AtLeast(0.8, partly=0.5),
            spec=".2f",
            note="accuracy alone over that of its own circuit, of {n} prompts",
        ),
        *(
            ours(
                f"lineage_language_{group.letter}",
                f"Two bases follow each other's {group.title.lower()}s ({group.letter}) as they"
                " follow their own",
                Nothing(),
            )
            for name, group in GROUPS.items()
            if name != "structure_reader"
        ),
    ]


def _stability() -> list[Declaration]:
    """Chapter 15: the claims of the other chapters, in many runs."""
    ours = partial(Declaration, ours=True)
    never = partial(ours, rule=AtMost(0), spec=".0f", note="opposite, of {n} pairs of verdicts")
    return [
        never("stable_lineages", "No claim that comes out in one lineage fails in another"),
        never("stable_prompts", "No claim that comes out on some prompts fails on others"),
        ours(
            "stable_heads",
            "Searches in two lineages share more heads than heads of the same layers would",
            lambda tests: Beyond(tests),
            finding="i",
            each="pair of lineages",
            spec="+.1f",
            note="heads more than by chance",
        ),
    ]

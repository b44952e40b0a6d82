"""Claims about where the mechanism comes from and how it changes, as data: other lineages (12),
another task (13)."""

from functools import partial

from entrack.sites import GROUPS
from entrack.stats.declarations import Declaration
from entrack.stats.rules import AtLeast, Graded, Nothing, Sign

HIGHER = Sign(+1)


def declared() -> list[Declaration]:
    """All of them, in the order of the book."""
    return [*_lineages(), *_tasks()]


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


def _tasks() -> list[Declaration]:
    """Chapter 13: finding (iii), whether one mechanism does two tasks."""
    ours = partial(Declaration, finding="iii", ours=True)
    alike = Graded(
        (HIGHER, AtLeast(0.8)),
        ("correlation of effects beyond that of heads shuffled in their layers", "of the ceiling"),
    )
    followed = Graded(
        (HIGHER, AtLeast(0.8)),
        ("followed above the floor", "of what the same heads do that read boxes"),
    )
    letters = {name: group for name, group in GROUPS.items() if name != "structure_reader"}
    return [
        *(
            ours(
                f"task_heads_{group.letter}",
                f"Look-ups in code are done with the {group.title.lower()}s ({group.letter}) of"
                " boxes",
                alike,
            )
            for group in GROUPS.values()
        ),
        ours(
            "task_circuit",
            "The circuit of boxes does look-ups as well as the circuit of look-ups",
            AtLeast(0.8, partly=0.5),
            spec=".2f",
            note="accuracy alone over that of the task's own circuit, of {n} prompts",
        ),
        ours(
            "task_circuit_back",
            "The circuit of look-ups does boxes as well as the circuit of boxes",
            AtLeast(0.8, partly=0.5),
            spec=".2f",
            note="accuracy alone over that of the task's own circuit, of {n} prompts",
        ),
        *(
            ours(
                f"task_message_{group.letter}",
                f"{group.title}s ({group.letter}) that read a look-up are followed in boxes as"
                " those that read boxes",
                followed,
            )
            for group in letters.values()
        ),
        *(
            ours(
                f"task_order_{letter}",
                f"What {title} ({letter}) say of a look-up counts the entries, not the tokens",
                HIGHER,
                each="way to count tokens",
            )
            for letter, title in (("B", "transmitters"), ("C", "detectors"))
        ),
        *(
            ours(
                f"task_before_{group.letter}",
                f"Before any training on look-ups, {group.title.lower()}s ({group.letter}) that"
                " read one are followed in boxes",
                HIGHER,
            )
            for group in letters.values()
        ),
    ]

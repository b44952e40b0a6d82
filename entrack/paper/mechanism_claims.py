"""Claims about what groups carry in other versions and under other masks (06, 07), the circuit's
heads beside others that are like them (08), where the mechanism comes from and how it changes, as
data: other lineages (12), another task (13), the way there while a version is trained (14), and
which claims are stable (15)."""

from functools import partial

from entrack.sites import GROUPS
from entrack.stats.declarations import Declaration
from entrack.stats.rules import MARGIN, WORKS, AtLeast, AtMost, Beyond, Every, Graded, Nothing, Sign

HIGHER = Sign(+1)
ALIKE = Graded(
    (HIGHER, AtLeast(0.8)),
    ("correlation of effects beyond that of heads shuffled in their layers", "of the ceiling"),
)
"""When the heads of two searches are called the same."""
CARRIERS = [group for name, group in GROUPS.items() if name != "structure_reader"]
"""The groups that carry a message of their own."""


def declared() -> list[Declaration]:
    """All of them, in the order of the book."""
    chapters = (_carrying, _beside_others, _lineages, _tasks, _training, _stability)
    return [declaration for chapter in chapters for declaration in chapter()]


def _carrying() -> list[Declaration]:
    """Chapters 06 and 07: finding (ii), what groups carry beside base, and with other masks."""
    ours = partial(Declaration, finding="ii", ours=True)
    return [
        *(
            ours(
                f"carries_with_accuracy_{group.letter}",
                f"The better a version, the more its {group.title.lower()}s ({group.letter}) carry",
                lambda tests: Beyond(tests),
                note="rank correlation over {n} versions",
            )
            for group in CARRIERS
        ),
        *(
            ours(
                f"own_mask_{group.letter}",
                f"{group.title}s that a version's own mask selects ({group.letter}) carry what"
                " those of base's mask do",
                Nothing(),
                note="own less base's, paired; 0 where both select the same heads",
            )
            for group in CARRIERS
        ),
        *(
            ours(
                f"wording_mask_{group.letter}",
                f"Where a wording's own mask leaves {group.title.lower()}s ({group.letter}) out,"
                " the others carry what all do",
                Nothing(),
                note="mask less all heads, mean over such wordings",
            )
            for group in CARRIERS[1:]
        ),
    ]


def _beside_others() -> list[Declaration]:
    """Chapter 08: finding (iii), whether it is the circuit's heads that improved, and from base."""
    ours = partial(Declaration, finding="iii", ours=True)
    kinds = "less heads of the same layers, of as large an update and of as large an effect"
    return [
        *(
            ours(
                f"improved_matched_{group.letter}",
                f"{group.title}s ({group.letter}) bring more than as many heads that are like them",
                Every(HIGHER, f"accuracy with {group.letter} {kinds}"),
            )
            for group in CARRIERS
        ),
        ours(
            "improved_shared_out",
            "Of the gain at the last token, shared out, most is of the circuit's heads (A and B)",
            AtLeast(0.5),
            spec=".0%",
        ),
        ours(
            "improved_per_head",
            "Head for head, A and B bring more of that gain than the other heads do",
            HIGHER,
            note="share of the gain less share of the heads",
        ),
        ours(
            "improved_from_base",
            "A version made from base does the task better than one trained on the same subject"
            " straight from below base",
            HIGHER,
            each="pair of versions",
        ),
    ]


def _lineages() -> list[Declaration]:
    """Chapter 12: finding (i), whether the mechanism existed before."""
    ours = partial(Declaration, finding="i", ours=True, each="lineage")
    return [
        *(
            ours(
                f"lineage_heads_{group.letter}",
                f"A base that was trained apart has the same {group.title.lower()}s"
                f" ({group.letter})",
                ALIKE,
            )
            for group in GROUPS.values()
        ),
        ours(
            "lineage_circuit",
            "The circuit of one base does the task in another as well as that one's own",
            AtLeast(0.8, partly=0.5),
            spec=".2f",
            note="accuracy alone over that of its own circuit, of {n} prompts",
            given=f"each own circuit has a faithfulness of {WORKS:g} or more",
        ),
        *(
            ours(
                f"lineage_language_{group.letter}",
                f"Two bases follow each other's {group.title.lower()}s ({group.letter}) as they"
                " follow their own",
                Nothing(),
            )
            for group in CARRIERS
        ),
    ]


def _tasks() -> list[Declaration]:
    """Chapter 13: finding (iii), whether one mechanism does two tasks."""
    ours = partial(Declaration, finding="iii", ours=True)
    followed = Graded(
        (HIGHER, AtLeast(0.8)),
        ("followed above the floor", "of what the same heads do that read boxes"),
    )
    return [
        *(
            ours(
                f"task_heads_{group.letter}",
                f"Look-ups in code are done with the {group.title.lower()}s ({group.letter}) of"
                " boxes",
                ALIKE,
            )
            for group in GROUPS.values()
        ),
        ours(
            "task_circuit",
            "The circuit of boxes does look-ups as well as the circuit of look-ups",
            AtLeast(0.8, partly=0.5),
            spec=".2f",
            note="accuracy alone over that of the task's own circuit, of {n} prompts",
            given=f"the circuit of look-ups has a faithfulness of {WORKS:g} or more in look-ups",
        ),
        ours(
            "task_circuit_back",
            "The circuit of look-ups does boxes as well as the circuit of boxes",
            AtLeast(0.8, partly=0.5),
            spec=".2f",
            note="accuracy alone over that of the task's own circuit, of {n} prompts",
            given=f"the circuit of look-ups has a faithfulness of {WORKS:g} or more in look-ups",
        ),
        *(
            ours(
                f"task_message_{group.letter}",
                f"{group.title}s ({group.letter}) that read a look-up are followed in boxes as"
                " those that read boxes",
                followed,
            )
            for group in CARRIERS
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
        ours(
            "task_cause",
            "With the circuit's heads held, training on look-ups helps boxes less than with as many"
            " of their neighbours held",
            HIGHER,
            note="accuracy in boxes with neighbours held less that with the circuit held",
            given="the training with no head held clearly helps boxes",
        ),
        ours(
            "task_cause_look_ups",
            "The same training helps look-ups themselves less",
            HIGHER,
            note="accuracy in look-ups with neighbours held less that with the circuit held",
            given="the training with no head held clearly helps look-ups",
        ),
        *(
            ours(
                f"task_before_{group.letter}",
                f"Before any training on look-ups, {group.title.lower()}s ({group.letter}) that"
                " read one are followed in boxes",
                HIGHER,
                given="the version follows these heads clearly when they read boxes",
            )
            for group in CARRIERS
        ),
        *(
            ours(
                f"task_new_{group.letter}",
                f"{group.title}s ({group.letter}) that read a task which the base never practised"
                " are followed in the one that it did",
                HIGHER,
            )
            for group in CARRIERS
        ),
    ]


def _training() -> list[Declaration]:
    """Chapter 14: findings (i) and (iii), while a version is trained. Structure readers are not
    followed.
    """
    found = partial(Declaration, finding="i", ours=True, each="course")
    better = partial(Declaration, finding="iii", ours=True, each="course")
    return [
        *(
            found(
                f"course_found_{group.letter}",
                f"While the base is made, its {group.title.lower()}s ({group.letter}) are there"
                " before half of its gain in accuracy",
                ALIKE,
            )
            for group in CARRIERS
        ),
        *(
            found(
                f"course_stays_{group.letter}",
                f"While a version is made from the base, the {group.title.lower()}s"
                f" ({group.letter}) stay the base's, at the checkpoint where they are least like"
                " them",
                ALIKE,
            )
            for group in CARRIERS
        ),
        *(
            better(
                f"course_carries_{group.letter}",
                f"In the course of training, the {group.title.lower()}s ({group.letter}) of the"
                " base's circuit come to carry more",
                HIGHER,
            )
            for group in CARRIERS
        ),
        *(
            better(
                f"course_pace_{group.letter}",
                "When half of the gain in accuracy is made, so is half of what the"
                f" {group.title.lower()}s ({group.letter}) come to carry",
                AtLeast(0.5),
                spec=".2f",
                note="share of the rise in what they carry",
            )
            for group in CARRIERS
        ),
    ]


def _stability() -> list[Declaration]:
    """Chapter 15: the claims of the other chapters, in many runs."""
    ours = partial(Declaration, ours=True)
    few = partial(ours, rule=AtMost(MARGIN), spec=".2f", note="opposite, of {n} pairs of verdicts")
    return [
        few("stable_lineages", "Few claims that come out in one lineage fail in another"),
        few("stable_prompts", "Few claims that come out on some prompts fail on others"),
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

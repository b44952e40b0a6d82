"""Tables of courses of training: every checkpoint with its measurements."""

from collections.abc import Mapping, Sequence

from entrack.across.training import FOLLOWED, Course
from entrack.circuit.discovery import Discovery
from entrack.circuit.overlap import Likeness, likeness
from entrack.display.tables import Table
from entrack.patching.accuracy import TaskScores
from entrack.sites import GROUPS


def checkpoints(
    found: Sequence[Course],
    alike: Sequence[Mapping[int, Mapping[str, Likeness | None]]],
    *,
    ceiling: Mapping[str, Likeness | None],
) -> Table:
    """A row per checkpoint: accuracy, the share of the gain that is made, likeness to the reference
    as a share of the ceiling for each group, and how often each group's message is followed.
    """
    rows = [
        [
            f"{course.version}, step {step}",
            course.scores[step].accuracy(),
            f"{course.way(step):.0%}",
            *(_share(likenesses[step][name], ceiling[name]) for name in FOLLOWED),
            *(_carried(course, GROUPS[name].letter, step) for name in FOLLOWED),
        ]
        for course, likenesses in zip(found, alike, strict=True)
        for step in course.steps
    ]
    letters = [GROUPS[name].letter for name in FOLLOWED]
    return Table(
        rows,
        [
            "on the way to",
            "accuracy",
            "of the gain",
            *(f"{letter}: likeness" for letter in letters),
            *(f"{letter}: followed" for letter in letters),
        ],
        "Every checkpoint: accuracy, likeness of the heads to the reference's as a share of the"
        " ceiling, and how often a group's message is followed, above the floor",
    )


def changes(
    found: Sequence[Course],
    alike: Sequence[Mapping[int, Mapping[str, Likeness | None]]],
    *,
    ceiling: Mapping[str, Likeness | None],
) -> Table:
    """A row per course and group: likeness to the reference at both ends, as a share of the
    ceiling, and how often the group's message is followed there, with the paired change.
    """
    rows = []
    for course, likenesses in zip(found, alike, strict=True):
        ends = (course.first, course.last)
        for name in FOLLOWED:
            letter = GROUPS[name].letter
            rise = course.rise(letter) if letter in course.letters() else "no head"
            rows.append(
                [
                    f"{course.start} to {course.version}, {letter}",
                    *(_share(likenesses[step][name], ceiling[name]) for step in ends),
                    *(_carried(course, letter, step) for step in ends),
                    rise,
                ]
            )
    return Table(
        rows,
        [
            "course and group",
            "likeness, first",
            "likeness, last",
            "followed, first",
            "followed, last",
            "rise (paired)",
        ],
        "First and last step: likeness of the heads as a share of the ceiling, and how often a"
        " group's message is followed, above the floor",
    )


def ends(
    found: Sequence[Course],
    kept: Mapping[str, tuple[TaskScores, Discovery] | None],
    *,
    reference: Discovery,
    ceiling: Mapping[str, Likeness | None],
    seed: int = 0,
) -> Table:
    """The last checkpoint of every course beside the version in `models/`: how far the adapters are
    apart, accuracy, and likeness to the reference as a share of the ceiling.

    kept: version -> what `training.kept` gives.
    """
    rows = []
    for course in found:
        last = course.scores[course.last], course.maps[course.last]
        for title, one in (("end of this run", last), ("in the book", kept[course.version])):
            if one is None:
                rows.append([f"{course.version}, {title}", *["not there"] * (2 + len(FOLLOWED))])
                continue
            alike = [likeness(reference, one[1], group=n, seed=seed) for n in FOLLOWED]
            here = "-" if course.apart is None or title == "in the book" else f"{course.apart:.1%}"
            shares = [_share(a, ceiling[n]) for a, n in zip(alike, FOLLOWED, strict=True)]
            rows.append([f"{course.version}, {title}", here, one[0].accuracy(), *shares])
    return Table(
        rows,
        [
            "version",
            "adapter apart",
            "accuracy",
            *(f"{GROUPS[name].letter}: likeness" for name in FOLLOWED),
        ],
        "How near each run comes to the version in the book: distance of the adapters as a share of"
        " the norm, accuracy, likeness of the heads to the reference's",
    )


def _share(one: Likeness | None, most: Likeness | None):
    return "too few heads" if one is None or most is None else one.share_of(most)


def _carried(course: Course, letter: str, step: int):
    return course.carries(letter, step) if letter in course.letters() else "no head"

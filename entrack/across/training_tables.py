"""Tables of courses of training: every checkpoint with its measurements."""

from collections.abc import Mapping, Sequence

from entrack.across.training import FOLLOWED, Course
from entrack.circuit.overlap import Likeness
from entrack.display.tables import Table
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


def _share(one: Likeness | None, most: Likeness | None):
    return "too few heads" if one is None or most is None else one.share_of(most)


def _carried(course: Course, letter: str, step: int):
    return course.carries(letter, step) if letter in course.letters() else "no head"

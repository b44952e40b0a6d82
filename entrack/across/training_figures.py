"""Figures of courses of training: what rises, what stays, and one prompt on the way.

They show what results hold; nothing is computed here. Intervals are 95 %."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

from entrack.across.training import FOLLOWED, Course
from entrack.circuit.overlap import Likeness
from entrack.display import style
from entrack.display.cells import Picture
from entrack.sites import GROUPS, Head
from entrack.stats.metrics import Estimate

Alike = Mapping[int, Mapping[str, Likeness | None]]
"""step -> group -> its likeness to the reference, as `Course.alike` gives it."""

MARKERS = {"value_fetcher": "o", "position_transmitter": "s", "position_detector": "^"}
SHARES = (-0.5, 2)
"""Shares of the ceiling that are shown whatever they are; whiskers beyond are cut off."""
ASIDE = 0.012
"""Between the groups at one step, as a share of the width of a panel."""
DASHES = ("-", "--", ":")


def courses(
    found: Sequence[Course], alike: Sequence[Alike], *, ceiling: Mapping[str, Likeness | None]
) -> Picture:
    """A column per course, steps on a square-root scale. Rows: accuracy; how alike the effects of
    heads are to those of the reference, as a share of the ceiling; how often an answer follows what
    a group carries, above the floor. A grey line stands where half of the gain in accuracy is made.
    In the middle row all points are shown, but whiskers far beyond `SHARES` are cut off.
    """
    told, points = [], list(SHARES)
    with style.look():
        figure, grid = plt.subplots(
            3, len(found), squeeze=False, sharex="col", sharey="row", figsize=(style.WIDTH, 7.2)
        )
        for column, (course, likenesses) in enumerate(zip(found, alike, strict=True)):
            top, middle, bottom = grid[:, column]
            shares = _shares(likenesses, ceiling)
            points += [e.value for share in shares.values() for e in share.values()]
            accuracy = {step: course.scores[step].accuracy() for step in course.steps}
            _line(top, accuracy, style.version_colour(course.version), "D")
            for name, share in shares.items():
                _group(middle, share, name, course)
            carried = _carried(course)
            for name, score in carried.items():
                _group(bottom, score, name, course)
            middle.axhline(1, color="black", lw=0.8, ls=":")
            for axes in (top, middle, bottom):
                axes.axvline(course.half, color=style.NEUTRAL, lw=1.2)
            top.set_title(f"{course.start} to {course.version}")
            _steps(bottom, course)
            told.append(_words(course, accuracy, shares, carried))
        _label(grid)
        low, high = grid[1, 0].get_ylim()
        grid[1, 0].set_ylim(max(low, np.nanmin(points)), min(high, np.nanmax(points)))
    return Picture(figure, f"Along the training, from the first step to the last. {' '.join(told)}")


def heads(found: Sequence[Course], *, strongest: Mapping[str, Sequence[Head]]) -> Picture:
    """A row per group, a column per course: the effect of some heads at every checkpoint, with
    their intervals over pairs of prompts.

    Args:
        strongest: group -> up to three heads, the same in every course.
    """
    told = []
    with style.look():
        figure, grid = plt.subplots(
            len(strongest),
            len(found),
            squeeze=False,
            sharex="col",
            sharey="row",
            figsize=(style.WIDTH, 2.1 * len(strongest) + 0.6),
        )
        for row, (name, chosen) in zip(grid, strongest.items(), strict=True):
            for axes, course in zip(row, found, strict=True):
                axes.axhline(0, color="black", lw=0.8)
                axes.axvline(course.half, color=style.NEUTRAL, lw=1.2)
                for head, dashes in zip(chosen, DASHES, strict=False):
                    effect = {s: m.scores[name].estimate(head) for s, m in course.maps.items()}
                    _line(axes, effect, style.GROUPS[name], MARKERS[name], str(head), dashes)
                    first, last = effect[course.first].value, effect[course.last].value
                    told.append(f"{head} in {course.version} {first:+.2f} to {last:+.2f}")
            row[0].set_ylabel(f"{GROUPS[name].letter}: effect, nats")
            row[-1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
        for axes, course in zip(grid[0], found, strict=True):
            axes.set_title(f"{course.start} to {course.version}")
        for axes, course in zip(grid[-1], found, strict=True):
            _steps(axes, course)
    return Picture(figure, f"Effect of single heads from first to last step: {', '.join(told)}.")


def one_prompt(found: Sequence[Course], *, query: int) -> Picture:
    """A strip per course: the probability of the right object for one box of the first scene, a
    cell for each checkpoint.
    """
    told = []
    with style.look():
        figure, rows = plt.subplots(
            len(found), 1, squeeze=False, figsize=(style.WIDTH, 1.05 * len(found) + 0.2)
        )
        for (axes,), course in zip(rows, found, strict=True):
            shares = [float(np.exp(s.log_prob[0, query])) for s in course.scores.values()]
            image = axes.imshow([shares], vmin=0, vmax=1, aspect="auto", cmap=style.SEQUENTIAL)
            for place, share in enumerate(shares):
                ink = style.ink_on(image.cmap(image.norm(share)))
                axes.text(place, 0, f"{share:.2f}", ha="center", va="center", color=ink)
            axes.set_xticks(range(len(shares)), course.steps)
            axes.set_yticks([])
            axes.set_xlabel(f"step from {course.start} to {course.version}")
            axes.grid(False)
            told.append(f"{course.start} to {course.version}, {shares[0]:.2f} to {shares[-1]:.2f}")
    return Picture(figure, f"Probability of the right object of one prompt: {'; '.join(told)}.")


def _shares(alike: Alike, ceiling: Mapping[str, Likeness | None]) -> dict[str, dict[int, Estimate]]:
    """group -> step -> share of the ceiling, where both can be compared."""
    return {
        name: {
            step: one[name].share_of(ceiling[name])
            for step, one in alike.items()
            if one[name] is not None and ceiling[name] is not None
        }
        for name in FOLLOWED
    }


def _carried(course: Course) -> dict[str, dict[int, Estimate]]:
    letters = course.letters()
    return {
        name: {step: course.carries(GROUPS[name].letter, step) for step in course.steps}
        for name in FOLLOWED
        if GROUPS[name].letter in letters
    }


def _line(
    axes: Axes,
    values: Mapping[float, Estimate],
    colour: str,
    marker: str,
    label: str | None = None,
    dashes: str = "-",
) -> None:
    centre = [e.value for e in values.values()]
    ends = np.array([[e.value - e.low, e.high - e.value] for e in values.values()]).T
    axes.errorbar(
        list(values),
        centre,
        yerr=np.maximum(ends, 0) if len(values) else None,
        color=colour,
        marker=marker,
        ls=dashes,
        lw=1.4,
        elinewidth=0.9,
        label=label,
    )


def _group(axes: Axes, values: Mapping[int, Estimate], name: str, course: Course) -> None:
    """A line of one group, moved aside a little so that no interval hides another."""
    aside = ASIDE * (FOLLOWED.index(name) - 1) * np.sqrt(course.last)
    moved = {_square(np.sqrt(step) + aside): value for step, value in values.items()}
    _line(axes, moved, style.GROUPS[name], MARKERS[name], GROUPS[name].letter)


def _steps(axes: Axes, course: Course) -> None:
    axes.set_xscale("function", functions=(_root, _square))
    axes.set_xticks(course.steps, _labels(course.steps))
    axes.set_xlim(-course.last * 0.0015, course.last * 1.07)
    axes.minorticks_off()
    axes.set_xlabel("step")


def _labels(steps: Sequence[int]) -> list[str]:
    """A label for every step that does not stand too near to the next label."""
    shown, room = [steps[-1]], 0.09 * np.sqrt(steps[-1])
    for step in reversed(steps[:-1]):
        if np.sqrt(shown[-1]) - np.sqrt(step) >= room:
            shown.append(step)
    return [str(step) if step in shown else "" for step in steps]


def _root(steps: np.ndarray) -> np.ndarray:
    """Axes reach a little below 0."""
    return np.sign(steps) * np.sqrt(np.abs(steps))


def _square(roots: np.ndarray) -> np.ndarray:
    return np.sign(roots) * np.square(roots)


def _label(grid: np.ndarray) -> None:
    grid[0, 0].set(ylabel="accuracy", ylim=(0, 1))
    grid[1, 0].set(ylabel="heads like the reference's\n(1: as alike as can be)")
    grid[2, 0].set(ylabel="follows the message,\nabove the floor")
    for row in grid[1:]:
        row[-1].legend(title="group", loc="center left", bbox_to_anchor=(1, 0.5))


def _words(
    course: Course,
    accuracy: Mapping[int, Estimate],
    shares: Mapping[str, Mapping[int, Estimate]],
    carried: Mapping[str, Mapping[int, Estimate]],
) -> str:
    def way(values: Mapping[int, Estimate]) -> str:
        first, *_, last = values.values()
        return f"{first.value:.2f} to {last.value:.2f}"

    alike = ", ".join(f"{GROUPS[n].letter} {way(v)}" for n, v in shares.items() if len(v) > 1)
    follows = ", ".join(f"{GROUPS[n].letter} {way(v)}" for n, v in carried.items())
    return (
        f"{course.start} to {course.version}: accuracy {way(accuracy)}; likeness of the heads"
        f" {alike or 'not measured'}; messages followed {follows or 'not measured'}."
    )

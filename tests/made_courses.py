"""Courses of training of which every number is known."""

import numpy as np

from entrack.across.training import FOLLOWED, Course
from entrack.circuit.discovery import Discovery
from entrack.patching.accuracy import TaskScores
from entrack.patching.head_scores import HeadScores
from entrack.patching.patches import Patch, Patched
from entrack.sites import GROUPS

N, LAYERS, HEADS = 40, 6, 8
STEPS = (0, 10, 20, 40)
LETTERS = ("A", "B", "C")


def answers(share):
    """Scores of N scenes of two boxes; so many of the scenes are answered right."""
    hits = np.repeat((np.arange(N) < share * N)[:, None], 2, axis=1)
    return TaskScores(hits, np.log(np.where(hits, 0.75, 0.25)), "made", "alternative")


def said(share, floor=0.0):
    """Patched answers that follow every group's message in so many of N pairs."""
    return Patched(
        patches={letter: Patch("last") for letter in LETTERS},
        candidates={"object": np.ones(N, int), "position": np.ones(N, int)},
        answers=np.tile(np.where(np.arange(N) < share * N, 1, 0), (3, 1)),
        unpatched=np.where(np.arange(N) < floor * N, 1, 0),
        scenes=np.arange(N),
        model="made",
    )


def truth(seed=0):
    """Effects [layer head] of few strong heads, all in the upper half."""
    generator = np.random.default_rng(seed)
    grid = generator.normal(0, 0.05, (LAYERS, HEADS))
    grid[3:] -= generator.exponential(1.0, (LAYERS - 3, HEADS)) ** 2
    return grid


def searched(grid, seed, noise=0.1):
    """A search that finds `grid` in every stage, with noise of its own."""
    generator = np.random.default_rng(seed)
    scores = {
        name: HeadScores(
            grid[..., None] + generator.normal(0, noise, (*grid.shape, 20)),
            "nats",
            np.zeros(20),
            "",
        )
        for name in FOLLOWED
    }
    return Discovery(scores, dict.fromkeys(FOLLOWED, ()), "made")


def moved(grid, seed=7):
    """The same effects in other heads of the same layers."""
    return np.random.default_rng(seed).permuted(grid, axis=1)


def course(accuracy, carried, grids, version="tuned"):
    """One number, or one grid of effects, for each of STEPS."""
    return Course(
        version,
        "base",
        scores=dict(zip(STEPS, map(answers, accuracy), strict=True)),
        maps={s: searched(g, 10 + s) for s, g in zip(STEPS, grids, strict=True)},
        carried=dict(zip(STEPS, map(said, carried), strict=True)),
    )


assert [GROUPS[name].letter for name in FOLLOWED] == list(LETTERS)

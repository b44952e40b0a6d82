"""Pairs of scenes made so that one patched answer tells object, position and label apart.

A base scene and a source scene share their labels in another order and no object. Every box of the base is asked for
once, and with it one box of the source, such that four objects of the pair are different words:

    object      the source's own answer
    position    the base's object at the position that the source asks for
    label       the base's object in the box whose label the source asks for
    unchanged   the base's own answer

So the three desiderata of the paper (section 5.1) are three readings of one patched run, on the same prompts, and
compete for it. All questions of a scene share its context, which makes them cheap to run.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from entrack.boxes import NOUNS, Example, Scene, check_n_boxes, scenes
from entrack.desiderata import Counterfactual, counterfactual
from entrack.errors import TaskError

CANDIDATES = ("object", "position", "label", "unchanged")
DRAWS = 1000


def interchanges(
    n_scenes: int, *, split: str, n_boxes: int = 7, seed: int = 0, format: str = "alternative", words: Sequence[str] = NOUNS
) -> list[Counterfactual]:
    """`n_scenes * n_boxes` counterfactuals of the label desideratum, the boxes of a base scene in order.

    Every position of the base and of the source is asked for once per pair of scenes. All scenes are of `split`; fewer
    scenes are the beginning of the same list.

    Raises TaskError: fewer than three boxes, or words that do not give two scenes without a common object.
    """
    check_n_boxes(n_boxes)
    if n_boxes < 3:
        raise TaskError(f"n_boxes {n_boxes}; an interchange needs 3 or more to keep its four answers apart. Use more boxes.")
    out = []
    for index, base in enumerate(scenes(n_scenes, split=split, n_boxes=n_boxes, seed=seed, words=words)):
        rng = random.Random(f"entrack interchange {n_boxes} {seed} {index}")
        origin = _shuffled(rng, [{place} for place in range(n_boxes)])  # origin[p]: where the base has the label of source box p
        source = _source(rng, base, origin, words)
        asked = _shuffled(rng, [{query, origin.index(query)} for query in range(n_boxes)])
        for query, place in enumerate(asked):
            out.append(counterfactual("label", Example(base, query, format), Example(source, place, format)))
    return out


def _shuffled(rng: random.Random, forbidden: Sequence[set[int]]) -> list[int]:
    """A random order of 0, 1, ... in which place i does not hold what `forbidden[i]` names."""
    order = list(range(len(forbidden)))
    while True:
        rng.shuffle(order)
        if all(value not in banned for value, banned in zip(order, forbidden, strict=True)):
            return order


def _source(rng: random.Random, base: Scene, origin: Sequence[int], words: Sequence[str]) -> Scene:
    """A scene of the base's split with the base's labels in the order of `origin` and other objects."""
    others = [word for word in words if word not in base.objects]
    if len(others) < base.n_boxes:
        raise TaskError(f"a list of {len(words)} words; base and source need {2 * base.n_boxes} different objects. Give more words.")
    labels = tuple(base.labels[place] for place in origin)
    for _ in range(DRAWS):
        scene = Scene(tuple(rng.sample(others, base.n_boxes)), labels)
        if scene.split == base.split:
            return scene
    raise TaskError(f"no source for a scene of {base.n_boxes} boxes in split {base.split!r}; {len(words)} words do not give one. Give more words.")

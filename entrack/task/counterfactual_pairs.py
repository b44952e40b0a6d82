"""Pairs of scenes made so that one patched answer tells object, position and label apart.

A base scene and a source scene share their labels in another order and no object. Every box of the
base is asked for once, and with it one box of the source, such that four objects of the pair are
different words:

    object      the source's own answer
    position    the base's object at the position that the source asks for
    label       the base's object in the box whose label the source asks for
    unchanged   the base's own answer

So the three desiderata of the paper (section 5.1) are three readings of one patched run, on the
same prompts, and compete for it. The other desiderata reword the source of the same pairs. All
questions of a scene share its context, which makes them cheap to run."""

from __future__ import annotations

import random
from collections.abc import Sequence

from entrack.errors import TaskError
from entrack.task.boxes import NOUNS, Example, check_n_boxes
from entrack.task.desiderata import Counterfactual, counterfactual, find
from entrack.task.desideratum import MAX_FILLER, Setting
from entrack.task.draws import DRAWS, scenes, source_scene

CANDIDATES = ("object", "position", "label", "unchanged")


def interchanges(
    n_scenes: int,
    *,
    split: str,
    name: str = "label",
    n_boxes: int = 7,
    seed: int = 0,
    format: str = "alternative",
    words: Sequence[str] = NOUNS,
) -> list[Counterfactual]:
    """Counterfactuals of desideratum `name` for every box of `n_scenes` base scenes, in their
    order.

    With the same other arguments all desiderata get the same scenes, and those that expect the same
    position the same questions. Every position of the base is asked for once per pair of scenes,
    and so is every position of the source, unless the desideratum allows too few of them (then a
    base may even be left out). All scenes are of `split`; fewer scenes are the beginning of the
    same list.

    Raises TaskError: an unknown name, fewer than three boxes, or words that do not give two scenes
    without a common object."""
    check_n_boxes(n_boxes)
    if n_boxes < 3:
        raise TaskError(
            f"n_boxes {n_boxes}; an interchange needs 3 or more to keep its four answers apart. Use"
            " more boxes."
        )
    wanted, out = find(name), []
    for index, base in enumerate(
        scenes(n_scenes, split=split, n_boxes=n_boxes, seed=seed, words=words)
    ):
        rng = random.Random(f"entrack interchange {n_boxes} {seed} {index}")
        places = range(n_boxes)
        # origin[p] is where the base has the label of the source's box p.
        origin = _assigned(rng, [[place for place in places if place != p] for p in places])
        labels = tuple(base.labels[place] for place in origin)
        source = source_scene(rng, base, words, lambda labels=labels: labels)
        before, after = (
            rng.randint(1, MAX_FILLER) if side in wanted.filler else 0
            for side in ("before", "after")
        )
        asked = _assigned(
            rng,
            [
                [
                    p
                    for p in places
                    if origin[p] != query
                    and wanted.separates(Setting(p, origin[p], before, after), query, n_boxes)
                ]
                for query in places
            ],
        )
        out += [
            counterfactual(
                name,
                Example(base, query, format),
                Example(source, place, format),
                before=before,
                after=after,
            )
            for query, place in enumerate(asked)
            if place is not None
        ]
    return out


def expected_candidate(name: str) -> str:
    """What the expected answer of a desideratum is called among the candidates: "position",
    "object", "ordinal", ...
    """
    return next(iter(find(name).candidates(Setting(0, 0), 1)), "object")


def _assigned(rng: random.Random, options: Sequence[Sequence[int]]) -> list[int | None]:
    """One of its options for every index, all different if that can be; None for an index without
    options.
    """
    order = list(range(len(options)))
    for _ in range(DRAWS):
        rng.shuffle(order)
        if all(value in allowed for value, allowed in zip(order, options, strict=True)):
            return list(order)
    return [rng.choice(allowed) if allowed else None for allowed in options]

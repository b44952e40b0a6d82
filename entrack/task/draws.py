"""Random scenes and prompts: the same arguments give the same list on every machine."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from entrack.errors import TaskError
from entrack.task.boxes import LABELS, NOUNS, Example, Scene, check_n_boxes, check_split

DRAWS = 1000  # tries before a draw that must fit something is given up


def scenes(
    n: int, *, split: str, n_boxes: int = 7, seed: int = 0, words: Sequence[str] = NOUNS
) -> list[Scene]:
    """`n` different random scenes of one split.

    Scenes are drawn uniformly (objects and labels without replacement) and kept if their hash falls
    in the split. The same arguments give the same list on every machine, and a smaller `n` gives
    its beginning.

    Raises TaskError: fewer than one scene, an unknown split, `n_boxes` outside 2-10, repeated or
    too few words, or a word list so short that `n` different scenes are not found."""
    check_n_boxes(n_boxes)
    check_split(split)
    check_count(n)
    words = tuple(words)
    repeated = next((word for word in dict.fromkeys(words) if words.count(word) > 1), None)
    if repeated is not None:
        raise TaskError(f"word {repeated!r} twice in the word list; all must differ. Remove one.")
    if len(words) < n_boxes:
        raise TaskError(
            f"a list of {len(words)} words; {n_boxes} boxes need as many different objects. Give"
            " more words."
        )
    rng = random.Random(f"entrack scenes {n_boxes} {seed}")
    found: dict[Scene, None] = {}
    for _ in range(10_000 + 50 * n):
        scene = Scene(tuple(rng.sample(words, n_boxes)), tuple(rng.sample(LABELS, n_boxes)))
        if scene.split == split:
            found[scene] = None
            if len(found) == n:
                return list(found)
    raise TaskError(
        f"only {len(found)} of {n} scenes; {len(words)} words in {n_boxes} boxes do not give more"
        f" in split {split!r}. Ask for fewer scenes or give more words."
    )


def examples(
    n: int,
    *,
    split: str,
    n_boxes: int = 7,
    seed: int = 0,
    format: str = "alternative",
    words: Sequence[str] = NOUNS,
) -> list[Example]:
    """`n` prompts, one per scene; prompt i queries box i mod `n_boxes`, so that positions are
    balanced.

    Balance matters: accuracy depends strongly on the queried position. Raises TaskError as `scenes`
    does."""
    drawn = scenes(n, split=split, n_boxes=n_boxes, seed=seed, words=words)
    return [Example(scene, index % n_boxes, format) for index, scene in enumerate(drawn)]


def all_queries(scenes: Sequence[Scene], *, format: str = "alternative") -> list[Example]:
    """Every box of every scene, scene by scene."""
    return [Example(scene, query, format) for scene in scenes for query in range(scene.n_boxes)]


@dataclass(frozen=True)
class Pair:
    """A clean prompt, and a corrupt one of the same shape that tells nothing about it."""

    clean: Example
    corrupt: Example


def pairs(
    n: int,
    *,
    split: str,
    n_boxes: int = 7,
    seed: int = 0,
    format: str = "alternative",
    words: Sequence[str] = NOUNS,
    as_published: bool = False,
) -> list[Pair]:
    """Clean prompts as `examples` gives them, each with a corrupt one for path patching (paper,
    section 4.1).

    The corrupt prompt tells another scene of the same list, its query position is the clean one
    plus one (modulo `n_boxes`), and its question names a random letter that is a label in neither
    scene.

    Args:
        as_published: as in the released code, where the corrupt scene may be the clean one itself
            and the letter may by chance be a label of either.

    Raises TaskError as `scenes` does.
    """
    check_count(n)
    drawn = scenes(max(n, 2), split=split, n_boxes=n_boxes, seed=seed, words=words)
    rng = random.Random(f"entrack pairs {n_boxes} {seed} {as_published}")
    out = []
    for index, scene in enumerate(drawn[:n]):
        query = index % n_boxes
        step = rng.randrange(0 if as_published else 1, len(drawn))
        other = drawn[(index + step) % len(drawn)]
        letters = (
            LABELS if as_published else sorted(set(LABELS) - set(scene.labels) - set(other.labels))
        )
        corrupt = Example(other, (query + 1) % n_boxes, format, query_label=rng.choice(letters))
        out.append(Pair(Example(scene, query, format), corrupt))
    return out


def source_scene(
    rng: random.Random,
    base: Scene,
    words: Sequence[str],
    labels: Callable[[], tuple[str, ...]],
) -> Scene:
    """A random scene of the split of `base` with none of its objects; `labels` draws its labels
    anew for each try.

    Raises TaskError for words that do not give one."""
    others = [word for word in words if word not in base.objects]
    if len(others) < base.n_boxes:
        raise TaskError(
            f"a list of {len(words)} words; base and source need {2 * base.n_boxes} different"
            " objects. Give more words."
        )
    for _ in range(DRAWS):
        drawn = labels()
        scene = Scene(tuple(rng.sample(others, base.n_boxes)), drawn)
        if scene.split == base.split:
            return scene
    raise TaskError(
        f"no source for a scene of {base.n_boxes} boxes in split {base.split!r}; {len(words)} words"
        " do not give one. Give more words."
    )


def check_count(n: int) -> None:
    """Raise TaskError unless at least one item is asked for."""
    if n < 1:
        raise TaskError(f"n {n}; at least one is needed. Ask for 1 or more.")

"""Desiderata: what a patched model must answer if the patched heads carry what we think they carry.

A *base* prompt is run with some heads' outputs taken from a *source* prompt. Heads that carry the
object make the base answer with the source's object; heads that carry the position, with the base's
own object at the position that the source asks for; heads that carry the label, with the object in
the base's box of that name (paper, section 5.1 and figure 2). Eleven variations of the source ask
what counts as "position" (paper, appendix). Three more, which are ours, set the position in the
order of boxes against the position in tokens and against the label.

By default base and source share no object and never query the same position, and the source queries
every position, so that every candidate answer is another word. `as_published=True` draws and scores
as the released code does: sources never query box 0 (nor labels B and T, which its test for the
position finds in "The" and "Box") but may query the base's position; scenes may share objects; the
label's answer is scored without its leading space; an added first segment does not move the
expected position; the shortened source is read behind its last token."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from entrack.errors import TaskError
from entrack.task.boxes import LABELS, NOUNS, Example, RoleText, Scene
from entrack.task.desideratum import Desideratum, Setting
from entrack.task.desideratum_rules import DESIDERATA, find
from entrack.task.draws import DRAWS, examples, scenes, source_scene

__all__ = ["DESIDERATA", "Counterfactual", "Desideratum", "build", "counterfactual", "find"]

PUBLISHED_POOL = 500  # the released code draws sources from that many prompts


@dataclass(frozen=True)
class Counterfactual:
    """A base prompt, a source prompt, and what the base must answer when it is patched from the
    source.

    Attributes:
        desideratum: name in DESIDERATA.
        base: the prompt that is patched.
        source: the prompt that the activations come from; `source.answer` is its own correct
            answer.
        answer: the expected answer.
        alternatives: other answers by name: "unchanged" (the base's own), "object" (the source's
            own, unless that is expected), and what rival ideas of position predict. All differ,
            unless made `as_published`.
        bare_answer: score the word piece without its leading space, or "unknown" (released code,
            label).
        padded_source: read the source where the base ends, behind its own last token (released
            code).
    """

    desideratum: str
    base: Example
    source: RoleText
    answer: str
    alternatives: Mapping[str, str]
    bare_answer: bool = False
    padded_source: bool = False


def counterfactual(
    name: str,
    base: Example,
    source: Example,
    *,
    before: int = 0,
    after: int = 0,
    as_published: bool = False,
) -> Counterfactual:
    """The counterfactual of one desideratum for one base and one source: a pure function of its
    arguments.

    Args:
        before, after: segments' worth of filler at the start and the end of the source's context,
            for the desiderata that have filler; 0 for the others.

    Raises TaskError: an unknown name, scenes of different size, a label that must be in the base
    and is not, or (unless `as_published`) candidate answers that coincide or do not exist."""
    wanted = find(name, as_published=as_published)
    n_boxes = base.scene.n_boxes
    if source.scene.n_boxes != n_boxes:
        raise TaskError(
            f"a source of {source.scene.n_boxes} boxes; the base has {n_boxes}. Use scenes of one"
            " size."
        )
    label, labels = source.question_label, base.scene.labels
    if wanted.shares_label and label not in labels:
        raise TaskError(
            f"no box {label!r} in the base; desideratum {name!r} asks the source for a label that"
            " the base has too. Query another box."
        )
    setting = Setting(
        source.query, labels.index(label) if wanted.shares_label else None, before, after
    )
    segments = dict(wanted.candidates(setting, n_boxes))
    if as_published:
        if name == "add_seg_start":
            segments = {"position": source.query}
        extra = ("apple", "O")
    else:
        _check_separate(wanted, setting, base, source)
        extra = _spare(base.scene, source.scene)
    text = wanted.reword(source, setting, extra)
    answers = {key: base.scene.objects[index] for key, index in segments.items()} or {
        "object": text.answer
    }
    expected = next(iter(answers))
    return Counterfactual(
        desideratum=name,
        base=base,
        source=text,
        answer=answers[expected],
        alternatives={
            key: word
            for key, word in ({"unchanged": base.answer, "object": text.answer} | answers).items()
            if key != expected
        },
        bare_answer=as_published and name == "label",
        # The released code's last segment keeps the full stop inside, so its text is not shorter.
        padded_source=as_published
        and name == "altered_box_obj_order"
        and source.query < n_boxes - 1,
    )


def build(
    name: str,
    n: int,
    *,
    split: str,
    n_boxes: int = 7,
    seed: int = 0,
    format: str = "alternative",
    words: Sequence[str] = NOUNS,
    as_published: bool = False,
) -> list[Counterfactual]:
    """`n` counterfactuals of one desideratum; the same arguments give the same list on every
    machine.

    A smaller `n` gives the beginning of the list (`as_published`, where sources come from the
    prompts themselves: up to PUBLISHED_POOL). Bases are those of `boxes.examples`, so base i
    queries box i mod `n_boxes`; the sources of each base position go through all positions that the
    desideratum allows. All scenes are of `split`.

    Raises TaskError: an unknown name or bad arguments (see `boxes.scenes`), too few boxes for the
    desideratum, or a word list that leaves too few words for a second scene."""
    wanted = find(name, as_published=as_published)
    bases = examples(n, split=split, n_boxes=n_boxes, seed=seed, format=format, words=words)
    options = {query: wanted.settings(query, n_boxes) for query in range(n_boxes)}
    if not as_published and not all(options.values()):
        raise TaskError(
            f"n_boxes {n_boxes}; desideratum {name!r} needs more to keep its answers apart. Use"
            " more boxes."
        )
    rng = random.Random(f"entrack desiderata {name} {n_boxes} {seed}")
    pool_size = max(n, PUBLISHED_POOL)
    pool = (
        scenes(pool_size, split=split, n_boxes=n_boxes, seed=seed, words=words)
        if as_published
        else ()
    )
    out = []
    for index, base in enumerate(bases):
        if as_published:
            source = _published_source(rng, base, pool, wanted)
            out.append(counterfactual(name, base, source, as_published=True))
            continue
        allowed = options[base.query]
        queries = sorted({setting.query for setting in allowed})
        query = queries[index // n_boxes % len(queries)]
        setting = rng.choice([setting for setting in allowed if setting.query == query])
        source = _source(rng, base, setting, wanted, words)
        out.append(counterfactual(name, base, source, before=setting.before, after=setting.after))
    return out


def _check_separate(wanted: Desideratum, setting: Setting, base: Example, source: Example) -> None:
    """Raise TaskError unless every candidate is another word than the others and than the base's
    own answer.
    """
    for side in ("before", "after"):
        size = getattr(setting, side)
        if (size > 0) != (side in wanted.filler):
            need = "needs some" if side in wanted.filler else "has none"
            raise TaskError(
                f"{size} segments of filler {side}; desideratum {wanted.name!r} {need}. Change"
                f" {side!r}."
            )
    if not wanted.separates(setting, base.query, base.scene.n_boxes):
        raise TaskError(
            f"source query {source.query} for base query {base.query}; the answers of desideratum"
            f" {wanted.name!r} would coincide or lie outside the scene. Query another box."
        )
    common = sorted(set(base.scene.objects) & set(source.scene.objects))
    if common:
        raise TaskError(
            f"object {common[0]!r} in base and source; their answers could not be told apart."
            " Change one."
        )


def _spare(base: Scene, source: Scene) -> tuple[str, str]:
    """An object and a label that neither scene has; the paper's own, apple and O, where they are
    free.
    """
    thing = next(word for word in ("apple", *NOUNS) if word not in base.objects + source.objects)
    return thing, next(
        label for label in ("O", *LABELS) if label not in base.labels + source.labels
    )


def _source(
    rng: random.Random, base: Example, setting: Setting, wanted: Desideratum, words: Sequence[str]
) -> Example:
    """A random source of the base's split for this setting: other objects, and the queried label
    shared or not.
    """
    taken = base.scene.labels
    free = [label for label in LABELS if label not in taken]

    def labels() -> tuple[str, ...]:
        label = rng.choice(free) if setting.shared is None else taken[setting.shared]
        others = [other for other in (taken if wanted.reorders else LABELS) if other != label]
        rest = rng.sample(others, base.scene.n_boxes - 1)
        return *rest[: setting.query], label, *rest[setting.query :]

    return Example(source_scene(rng, base.scene, words, labels), setting.query, base.format)


def _published_source(
    rng: random.Random, base: Example, pool: Sequence[Scene], wanted: Desideratum
) -> Example:
    """A random prompt of the pool as the released code takes it (experiment_2, data_utils.py)."""
    for _ in range(DRAWS):
        scene = rng.choice(pool)
        source = Example(scene, rng.randrange(scene.n_boxes), base.format)
        label = source.question_label
        if wanted.shares_label:
            if label in base.scene.labels and label != base.question_label:
                return source
        elif source.query != 0 and label not in "BT":
            return source
    raise TaskError(
        f"no source among {len(pool)} scenes for desideratum {wanted.name!r} as published; none"
        " asks for a box of the base. Ask for more."
    )

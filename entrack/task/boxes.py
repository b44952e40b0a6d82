"""The world of the task: boxes, what is in them, and the texts that say so. No tensors here.

A *scene* puts one object into each of n labelled boxes. A *prompt* tells the scene, one segment per
box, and then asks for the content of one of them (paper, section 3):

    alternative   The apple is in Box F, the coin is in Box C. Box F contains the
    standard      Box F contains the apple, Box C contains the coin. Box F contains the

In the alternative format the question never repeats the wording of the context, so the model cannot
just continue the longest repeated string. Scenes belong to one of five *splits* by a hash of their
content, so two splits never share a scene, whatever the seeds."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from entrack.errors import TaskError

LINKS = {"alternative": " is in ", "standard": " contains "}
FORMATS = tuple(LINKS)
SPLITS = ("training", "validation", "discovery", "pruning", "evaluation")
LABELS = tuple(string.ascii_uppercase)
ROLES = ("last", "query_label", "prev_query_label", "correct_object")
MIN_BOXES, MAX_BOXES = 2, 10

# The rule for this list, which is ours and not the paper's: everyday words for a thing that one can
# see and count; singular; never a container; one token after a space in SmolLM2's vocabulary; the
# thing is the word's usual meaning (no "ring", "match" or "letter"); and no two words that sound
# alike.
NOUNS = tuple(
    """
        apple banana lemon grape cherry olive onion carrot potato tomato mushroom egg cake cookie
    sandwich pizza
    sausage hat shirt coat jacket shoe glove necklace helmet crown button ribbon
    hammer knife fork spoon needle rope hook key lock lamp candle torch shovel ladder broom
    camera radio laptop phone keyboard battery telescope compass
    newspaper magazine pencil pen notebook coin painting
    doll puppet kite puzzle drum guitar violin flute piano trumpet
    brick feather leaf flower bone pearl
    pillow blanket towel curtain carpet sponge mirror
    sword arrow medal trophy
    """.split()
)


@dataclass(frozen=True)
class RoleText:
    """A text and the places of the words that matter in it: what `prompts.encode` turns into
    tokens.

    Attributes:
        text: the whole prompt, from the first character of the context to the end of the question.
        answer: the word that completes it.
        spans: [start, end) in characters, without the space before, of every role in ROLES and of
            every box's words: "object_0", "label_0", "object_1", ... in the order of the text.
    """

    text: str
    answer: str
    spans: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Word:
    """A piece of a text under construction that is to be found again by `name`."""

    text: str
    name: str


def write(parts: Sequence[str | Word], *, query: int, answer: str) -> RoleText:
    """Join the parts of a prompt and note where each named word landed. The first letter becomes a
    capital.

    The parts must name "query_label", "last" and the words of segment `query`, which become
    "prev_query_label" and "correct_object".
    """
    pieces, spans, length = [], {}, 0
    for part in parts:
        piece = part if isinstance(part, str) else part.text
        if isinstance(part, Word):
            spans[part.name] = (length, length + len(piece))
        pieces.append(piece)
        length += len(piece)
    text = "".join(pieces)
    spans["prev_query_label"] = spans[f"label_{query}"]
    spans["correct_object"] = spans[f"object_{query}"]
    return RoleText(text[:1].upper() + text[1:], answer, spans)


@dataclass(frozen=True)
class Scene:
    """Which object is in which box, in the order in which the text tells it.

    Attributes:
        objects: one word per box, all different.
        labels: one capital letter per box, all different.

    Raises TaskError for fewer than two or more than ten boxes, and for repeated objects or labels.
    """

    objects: tuple[str, ...]
    labels: tuple[str, ...]

    def __post_init__(self) -> None:
        check_n_boxes(len(self.labels))
        if len(self.objects) != len(self.labels):
            raise TaskError(
                f"a scene of {len(self.objects)} objects and {len(self.labels)} labels; "
                "every box holds one object. Give as many objects as labels."
            )
        for label in self.labels:
            check_label(label)
        for kind, names in (("object", self.objects), ("box label", self.labels)):
            repeated = next((name for name in names if names.count(name) > 1), None)
            if repeated is not None:
                raise TaskError(
                    f"{kind} {repeated!r} twice in one scene; all must differ. Use it once."
                )

    @property
    def n_boxes(self) -> int:
        """Number of boxes, and of segments in the context."""
        return len(self.labels)

    @cached_property
    def split(self) -> str:
        """The split this scene belongs to, by a hash of its words in their order: a fifth of all
        scenes each.
        """
        content = " ".join(
            f"{o}:{label}" for o, label in zip(self.objects, self.labels, strict=True)
        )
        return SPLITS[int(hashlib.sha256(content.encode()).hexdigest(), 16) % len(SPLITS)]


@dataclass(frozen=True)
class Example:
    """One prompt: a scene and the box that is asked for.

    Attributes:
        scene: the scene told by the context.
        query: index of the queried box, 0 = the first in the text.
        format: "alternative" or "standard".
        query_label: the label written in the question when it is not the queried box's own: corrupt
            prompts only. The roles and `answer` still follow `query`.

    Raises TaskError for a query outside the scene, an unknown format or a label that is not a
    capital letter."""

    scene: Scene
    query: int
    format: str = "alternative"
    query_label: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        check_format(self.format)
        if not 0 <= self.query < self.scene.n_boxes:
            last = self.scene.n_boxes - 1
            raise TaskError(
                f"query {self.query}; the boxes of this scene are 0 to {last}. Use one of them."
            )
        if self.query_label is not None:
            check_label(self.query_label)

    @property
    def answer(self) -> str:
        """The object in box `query`."""
        return self.scene.objects[self.query]

    @property
    def question_label(self) -> str:
        """The label written in the question."""
        return self.query_label or self.scene.labels[self.query]

    @property
    def context(self) -> str:
        """The sentence that tells the scene, with its full stop."""
        return self.text[: -len(self.question)]

    @property
    def question(self) -> str:
        """What comes after the full stop: " Box F contains the"."""
        return f" Box {self.question_label} contains the"

    @property
    def text(self) -> str:
        """The whole prompt."""
        return self.role_text().text

    def role_text(self) -> RoleText:
        """The prompt with the places of its roles."""
        parts: list[str | Word] = []
        for index in range(self.scene.n_boxes):
            parts += [", "] if index else []
            parts += segment(self.scene, index, self.format)
        parts += [".", *question(self.question_label)]
        return write(parts, query=self.query, answer=self.answer)


def segment(scene: Scene, index: int, format: str, *, link: str | None = None) -> list[str | Word]:
    """The words for one box: "the apple is in Box F", or "Box F contains the apple" in the standard
    format.

    `link` replaces what stands between the two, LINKS[format], spaces included.
    """
    link = LINKS[format] if link is None else link
    box, thing = (
        Word(scene.labels[index], f"label_{index}"),
        Word(scene.objects[index], f"object_{index}"),
    )
    if format == "standard":
        return ["Box ", box, f"{link}the ", thing]
    return ["the ", thing, f"{link}Box ", box]


def question(label: str) -> list[str | Word]:
    """The words after the context's full stop, up to the last "the"."""
    return [" Box ", Word(label, "query_label"), " contains ", Word("the", "last")]


def check_n_boxes(n_boxes: int) -> None:
    """Raise TaskError unless a prompt can have this many boxes."""
    if not MIN_BOXES <= n_boxes <= MAX_BOXES:
        raise TaskError(
            f"n_boxes {n_boxes}; a scene has {MIN_BOXES} to {MAX_BOXES} boxes. Choose a number in"
            " that range."
        )


def check_label(label: str) -> None:
    """Raise TaskError unless the label is one of LABELS."""
    if label not in LABELS:
        raise TaskError(
            f"box label {label!r}; labels are single letters from A to Z. Use a capital letter."
        )


def check_format(format: str) -> None:
    """Raise TaskError unless the format is one of FORMATS."""
    if format not in FORMATS:
        raise TaskError(
            f"unknown format {format!r}; the formats are {', '.join(FORMATS)}. Use one of them."
        )


def check_split(split: str) -> None:
    """Raise TaskError unless the split is one of SPLITS."""
    if split not in SPLITS:
        raise TaskError(
            f"unknown split {split!r}; the splits are {', '.join(SPLITS)}. Use one of them."
        )

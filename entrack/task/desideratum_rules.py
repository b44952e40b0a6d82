"""The rules behind the counterfactuals: how each desideratum words its source, and which answer it
expects.

Three rules are the paper's (section 5.1), eleven vary the source of the position rule (its
appendix), and three are ours: they set the position in the order of boxes against the position in
tokens and against the label, by filler that is as long in tokens as whole segments are, so that a
rival idea of position points exactly at another box."""

from __future__ import annotations

from collections.abc import Mapping

from entrack.errors import TaskError
from entrack.task.boxes import Example, RoleText, question, segment, write
from entrack.task.desideratum import Desideratum, Setting

# What stands between box and object, by format: two tokens more than usual, a negation, a comma.
_LONGER = {"alternative": " is contained in the ", "standard": " contains inside it "}
_NEGATED = {"alternative": " is not in ", "standard": " does not contain "}
_COMMA = {"alternative": ", is in ", "standard": ", contains "}
# Exactly as many tokens as one segment with its comma has: 7 and 6.
_FILLER = {"alternative": "there is not much to see, ", "standard": "there is little to see, "}


def _reword(
    source: Example,
    *,
    start: str = "",
    end: str = "",
    before_queried: str = "",
    separator: str = ", ",
    link: str | None = None,
    everywhere: bool = False,
    swap: bool = False,
) -> RoleText:
    """The source with words added, its queried segment (or all, `everywhere`) linked otherwise, or
    its order swapped.
    """
    other = {"alternative": "standard", "standard": "alternative"}[source.format]
    parts = [start]
    for index in range(source.scene.n_boxes):
        queried = index == source.query
        parts += [separator if index else "", before_queried if queried else ""]
        format = other if swap and queried else source.format
        parts += segment(source.scene, index, format, link=link if everywhere or queried else None)
    parts += [end, ".", *question(source.question_label)]
    return write(parts, query=source.query, answer=source.answer)


def _one_more(source: Example, extra: tuple[str, str]) -> str:
    """One more segment in the source's format, as plain words."""
    thing, label = extra
    return (
        f"the {thing} is in Box {label}"
        if source.format == "alternative"
        else f"Box {label} contains the {thing}"
    )


def _plain(source: Example, setting: Setting, extra: tuple[str, str]) -> RoleText:
    return source.role_text()


def _filled(source: Example, setting: Setting, extra: tuple[str, str]) -> RoleText:
    filler = _FILLER[source.format]
    end = ", " + filler * setting.after if setting.after else ""
    return _reword(source, start=filler * setting.before, end=end.removesuffix(", "))


def _position(setting: Setting, n_boxes: int) -> dict[str, int]:
    return {"position": setting.query}


def _rivals(setting: Setting, n_boxes: int) -> dict[str, int]:
    rivals = {"ordinal": setting.query, "label": setting.shared}
    if setting.before:
        rivals["token_from_start"] = setting.query + setting.before
    if setting.after:
        rivals["token_from_end"] = setting.query - setting.after
    return rivals


_SAME = "the answer is still the base's object at the position that the source asks for."


def _variation(name: str, title: str, change: str, **wording: object) -> Desideratum:
    """A position desideratum whose source is reworded; `change` is the first half of its rule."""

    def reword(source: Example, setting: Setting, extra: tuple[str, str]) -> RoleText:
        by_case = {
            key: (
                value(source, extra)
                if callable(value)
                else value[source.format]
                if isinstance(value, dict)
                else value
            )
            for key, value in wording.items()
        }
        return _reword(source, **by_case)

    return Desideratum(name, title, f"{change}; {_SAME}", "paper, variation", _position, reword)


DESIDERATA: Mapping[str, Desideratum] = {
    entry.name: entry
    for entry in (
        Desideratum(
            "object",
            "Object",
            "The answer is the object that the source asks for.",
            "paper",
            lambda s, n: {},
            _plain,
        ),
        Desideratum(
            "position",
            "Position",
            "The answer is the base's object at the position that the source asks for.",
            "paper",
            _position,
            _plain,
        ),
        Desideratum(
            "label",
            "Label",
            "The answer is the object in the base's box whose label the source asks for.",
            "paper",
            lambda s, n: {"label": s.shared, "position": s.query},
            _plain,
            shares_label=True,
        ),
        _variation(
            "random_text_start",
            "Text at the start",
            "The source begins with words that say nothing",
            start="there are a bunch of boxes containing objects, ",
        ),
        _variation(
            "random_text_end",
            "Text at the end",
            "The source's context ends with words that say nothing",
            end=", these are a bunch of boxes containing objects",
        ),
        _variation(
            "add_tokens_btw_box_and_obj",
            "Tokens between box and object",
            "Two more tokens stand between the queried box and its object",
            link=_LONGER,
        ),
        Desideratum(
            "add_seg_start",
            "Segment at the start",
            "The source begins with one more box; the answer is the base's object one position"
            " later than the source would ask for without it.",
            "paper, variation",
            lambda s, n: {"position": s.query + 1, "unshifted": s.query},
            lambda source, setting, extra: _reword(source, start=_one_more(source, extra) + ", "),
        ),
        _variation(
            "add_seg_end",
            "Segment at the end",
            "The source's context ends with one more box",
            end=lambda source, extra: ", " + _one_more(source, extra),
        ),
        _variation(
            "add_box_before_correct_segment",
            "Empty boxes before the segment",
            "Three boxes without content are named before the queried segment",
            before_queried="there are three additional boxes, Box PP, Box BB and Box AA, ",
        ),
        Desideratum(
            "incorrect_segment",
            "Next segment (control)",
            "The source is unchanged and the answer is the base's object one position too late (the"
            " first after the last), which no head should give.",
            "paper, variation",
            lambda s, n: {"next_position": (s.query + 1) % n, "position": s.query},
            _plain,
        ),
        _variation(
            "altered_box_obj_order",
            "Box and object swapped",
            "In the queried segment box and object stand in the other order",
            swap=True,
        ),
        _variation(
            "altered_box_obj_association",
            "Association denied",
            "The queried segment says that the object is not in the box",
            link=_NEGATED,
        ),
        _variation("no_comma", "No commas", "The source has no commas", separator=" "),
        _variation(
            "add_comma",
            "More commas",
            "Every segment has a comma before its verb",
            link=_COMMA,
            everywhere=True,
        ),
        Desideratum(
            "filler_before",
            "Filler before the boxes",
            "Filler as long as whole segments comes first, so that order, tokens from the start and"
            " label name three boxes; the answer follows the order.",
            "beyond the paper",
            _rivals,
            _filled,
            shares_label=True,
            filler=("before",),
        ),
        Desideratum(
            "filler_after",
            "Filler after the boxes",
            "Filler as long as whole segments comes before the question, so that order, tokens from"
            " the end and label name three boxes; the answer follows the order.",
            "beyond the paper",
            _rivals,
            _filled,
            shares_label=True,
            filler=("after",),
        ),
        Desideratum(
            "boxes_reordered",
            "Boxes reordered, filler around",
            "The source has the base's labels in another order and filler on both sides, so that"
            " order, tokens from either end and label name four boxes; the answer follows the"
            " order.",
            "beyond the paper",
            _rivals,
            _filled,
            shares_label=True,
            filler=("before", "after"),
            reorders=True,
        ),
    )
}
"""All desiderata by name: the paper's three, its eleven variations of the position, three beyond
it.
"""


def find(name: str, *, as_published: bool = False) -> Desideratum:
    """The desideratum of that name. Raises TaskError for an unknown one, or one that has no
    published form.
    """
    if name not in DESIDERATA:
        raise TaskError(
            f"unknown desideratum {name!r}; there are {', '.join(DESIDERATA)}. Use one of them."
        )
    if as_published and DESIDERATA[name].origin == "beyond the paper":
        raise TaskError(
            f"desideratum {name!r} as published; the paper does not have it. Leave out"
            " as_published."
        )
    return DESIDERATA[name]

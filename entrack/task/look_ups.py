"""The scenes of the task told as another task: small look-ups in code.

    echo apple > f
    echo coin > c
    cat f # prints

A scene keeps its objects, labels (as small letters) and their order, so that one scene can be asked
in both tasks. Every role of the boxes task has its counterpart: the label in the question, its
earlier mention, the object, and the last token, where the answer is due. The form is a template of
`finetune.code_data`, "redirection"; `across.practised` tells which versions were trained on it."""

from dataclasses import replace

from entrack.task.boxes import Example, RoleText, Word, write


def as_look_up(told: Example | RoleText) -> RoleText:
    """A prompt of the boxes task as a look-up in code, with the places of its roles. Filler, where
    it has some, is left out.

    The answer stays. So does a question about a label of no box, as corrupt prompts have it.
    """
    boxes = told.role_text() if isinstance(told, Example) else told
    n_boxes = sum(name.startswith("label_") for name in boxes.spans)
    parts: list[str | Word] = []
    for index in range(n_boxes):
        parts += ["echo ", Word(_word(boxes, f"object_{index}"), f"object_{index}")]
        parts += [" > ", Word(_word(boxes, f"label_{index}").lower(), f"label_{index}"), "\n"]
    asked = Word(_word(boxes, "query_label").lower(), "query_label")
    parts += ["cat ", asked, " # ", Word("prints", "last")]
    query = next(i for i in range(n_boxes) if _segment(boxes, i) == boxes.spans["prev_query_label"])
    found = write(parts, query=query, answer=boxes.answer)
    # A sentence begins with a capital letter, a line of code does not.
    return replace(found, text=found.text[:1].lower() + found.text[1:])


def _word(told: RoleText, name: str) -> str:
    return told.text[slice(*told.spans[name])]


def _segment(told: RoleText, index: int) -> tuple[int, int]:
    return told.spans[f"label_{index}"]

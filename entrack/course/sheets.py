"""The exercises of a chapter, read from its source, and what is refused in them.

A cell's tags say what it is: `exercise-setup` (with labels, or for all exercises), `answer`,
`check`, `hidden-test`, `wrong-answer` (each with the label of one exercise), `teacher`. What stands
between `{solution-start}` and `{solution-end}`, or in `{solution}`, is the solution."""

import ast
from dataclasses import dataclass

from nbformat import NotebookNode

from entrack.book.notebooks import (
    ANSWER,
    CHECK,
    EXERCISE_CODE,
    HIDDEN,
    SETUP,
    TEACHER,
    WRONG,
    cell_tree,
)
from entrack.course.exercises import (
    KINDS,
    Exercise,
    calls_of_check,
    function_of,
    refuse_bad_checks,
    stub_of,
    wrong_answer,
)
from entrack.course.fences import Fence, blocks
from entrack.course_errors import ExerciseError
from entrack.errors import ChapterError

PROSE, MEASURED, SOLUTION = "prose", "measured", "solution"
_LABEL = "ex-"


@dataclass(frozen=True)
class Cell:
    """A cell with its part in the course.

    Attributes:
        role: PROSE, MEASURED or SOLUTION, or one of the tags named above.
        label: of its exercise; "" where it belongs to none.
        node: the cell itself.
        visible: of a prose cell, its text without any solution.
        starts: labels of the exercises whose text it holds.
    """

    role: str
    label: str
    node: NotebookNode
    visible: str = ""
    starts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sheet:
    """A chapter as the course sees it.

    Attributes:
        chapter: its name.
        cells: all its cells, in order.
        exercises: {label: exercise}, in order.
    """

    chapter: str
    cells: tuple[Cell, ...]
    exercises: dict[str, Exercise]

    @property
    def coded(self) -> list[Exercise]:
        """The exercises that are answered by a function."""
        return [exercise for exercise in self.exercises.values() if exercise.function]


def read_sheet(chapter: str, notebook: NotebookNode) -> Sheet:
    """The exercises of `notebook`, a chapter's source or the same with outputs.

    Raises:
        ExerciseError: anything that the guide in CONTRIBUTING.md rules out; the message says the
            exercise, what is wrong and what mends it. Nothing is executed.
    """
    try:
        cells, texts = _cells(notebook)
        sheet = Sheet(chapter, cells, {t.options["label"]: _exercise(t, cells) for t in texts})
        _refuse_solutions_in_use(cells)
    except (ExerciseError, ChapterError) as error:
        raise ExerciseError(f"chapter {chapter}: {error}") from None
    return sheet


def _cells(notebook: NotebookNode) -> tuple[tuple[Cell, ...], list[Fence]]:
    cells, texts, solving = [], [], ""
    for node in notebook.cells:
        if node.cell_type != "markdown":
            cells.append(_code(node, solving))
            continue
        if TEACHER in node.metadata.get("tags", []):
            cells.append(Cell(TEACHER, _label(node), node))
            continue
        before, kept, starts = solving, [], []
        for block in blocks(node.source):
            if not isinstance(block, Fence):
                kept += [] if solving else [block]
                continue
            if block.name in ("solution", "solution-start", "solution-end"):
                solving = _solution(block, solving, texts)
                continue
            if block.name == "exercise" and not solving:
                _add(block, texts)
                starts.append(block.options["label"])
            kept += [] if solving else [block.source]
        visible = "\n\n".join(kept).strip("\n")
        role = PROSE if visible.strip() or not (before or solving) else SOLUTION
        cells.append(Cell(role, before if role == SOLUTION else "", node, visible, tuple(starts)))
    if solving:
        raise ExerciseError(
            f"the solution of {solving} is not closed; `{{solution-end}}` ends it. Add one."
        )
    known = {text.options["label"] for text in texts}
    for cell in cells:
        if cell.label and cell.label not in known:
            raise ExerciseError(
                f"a cell tagged {cell.role} names {cell.label}, which is no exercise of this"
                f" chapter; there are {', '.join(sorted(known)) or 'none'}. Mend the tag."
            )
    return tuple(cells), texts


def _add(text: Fence, texts: list[Fence]) -> None:
    label, kind = text.options.get("label", ""), text.options.get("class", "")
    if not label.startswith(_LABEL):
        raise ExerciseError(
            f"the exercise {text.argument!r} has the label {label!r}; one that begins with"
            f" {_LABEL!r} is needed. Write `:label: {_LABEL}...` under its first line."
        )
    if any(label == other.options["label"] for other in texts):
        raise ExerciseError(f"two exercises are called {label}; a label is used once. Rename one.")
    if kind and kind not in KINDS:
        raise ExerciseError(
            f"{label} is of the kind {kind!r}; there are {', '.join(KINDS)}. Mend its `:class:`."
        )
    texts.append(text)


def _solution(block: Fence, solving: str, texts: list[Fence]) -> str:
    """The label of the solution that is open after `block`; "" where none is."""
    if block.name == "solution-end":
        if not solving:
            raise ExerciseError("a `{solution-end}` closes no solution; take it away.")
        return ""
    if solving:
        raise ExerciseError(
            f"the solution of {solving} is still open where that of {block.argument} begins; write"
            " `{solution-end}` between them."
        )
    if block.argument not in {text.options["label"] for text in texts}:
        raise ExerciseError(
            f"a solution names {block.argument!r}, and no exercise before it has that label. Mend"
            " the label, or write the exercise first."
        )
    return block.argument if block.name == "solution-start" else ""


def _label(node: NotebookNode) -> str:
    return next((t for t in node.metadata.get("tags", []) if t.startswith(_LABEL)), "")


def _code(node: NotebookNode, solving: str) -> Cell:
    tags = node.metadata.get("tags", [])
    roles, label = sorted(EXERCISE_CODE & set(tags)), _label(node)
    first = (node.source.strip().splitlines() or [""])[0]
    if len(roles) > 1 or (label and not roles):
        raise ExerciseError(
            f"the cell {first!r} is tagged {', '.join(tags)}; a label goes with one of"
            f" {', '.join(sorted(EXERCISE_CODE))}. Mend its tags."
        )
    if not roles:
        if any(True for _ in calls_of_check(cell_tree(node.source))):
            raise ExerciseError(
                f"the cell {first!r} calls check and is not tagged; `check` or `hidden-test` and"
                " the label of its exercise are needed. Tag it."
            )
        return Cell(SOLUTION if solving else MEASURED, solving, node)
    if roles[0] != SETUP and not label:
        raise ExerciseError(
            f"the cell {first!r} is tagged {roles[0]} and names no exercise; a label such as"
            f" {_LABEL}mean is needed. Add it to the tags."
        )
    if roles[0] == ANSWER and solving != label:
        raise ExerciseError(
            f"the answer of {label} stands outside its solution; `{{solution-start}} {label}` goes"
            " before it and `{solution-end}` after it. Move it."
        )
    if roles[0] != ANSWER and solving:
        raise ExerciseError(
            f"a cell tagged {roles[0]} stands in the solution of {solving}; only the answer does."
            " Move it behind `{solution-end}`."
        )
    return Cell(roles[0], label, node)


def _exercise(text: Fence, cells: tuple[Cell, ...]) -> Exercise:
    label, kind = text.options["label"], text.options.get("class", "")
    own = {
        role: tuple(c.node.source for c in cells if c.role == role and c.label == label)
        for role in EXERCISE_CODE
    }
    if not own[ANSWER]:
        for role in (CHECK, HIDDEN, WRONG):
            if own[role]:
                raise ExerciseError(
                    f"{label} has a cell tagged {role} and no answer; one function in a cell tagged"
                    f" `answer`, `{label}` is needed. Add it, or mend the tag."
                )
        if kind:
            raise ExerciseError(
                f"{label} is of the kind {kind} and has no answer; only an exercise that is"
                " answered in words goes without. Add the answer, or take `:class:` away."
            )
        return Exercise(label, text.argument, kind)
    if len(own[ANSWER]) > 1:
        raise ExerciseError(f"{label} has {len(own[ANSWER])} answers; one is needed. Join them.")
    if not kind:
        raise ExerciseError(
            f"{label} has an answer and no kind; there are {', '.join(KINDS)}. Write"
            " `:class: write`, or another, under its label."
        )
    function = function_of(label, own[ANSWER][0])
    for role, least in ((CHECK, 2), (HIDDEN, 1)):
        refuse_bad_checks(label, role, own[role], least, function)
    setup = [
        c.node.source
        for c in cells
        if c.role == SETUP and label in (c.label or label, *c.node.metadata.get("tags", []))
    ]
    wrong = dict(wrong_answer(label, source, function) for source in own[WRONG])
    if len(wrong) < 2 or len(wrong) < len(own[WRONG]):
        raise ExerciseError(
            f"{label} lists {len(wrong)} different wrong answers; two or more are needed, each with"
            " its own `# slip:`. Write the slips that students make."
        )
    return Exercise(
        label,
        text.argument,
        kind,
        function,
        own[ANSWER][0],
        stub_of(label, own[ANSWER][0]),
        tuple(setup),
        own[CHECK],
        own[HIDDEN],
        wrong,
    )


def _refuse_solutions_in_use(cells: tuple[Cell, ...]) -> None:
    """A measurement may use nothing that an exercise binds: the chapter's execution leaves the
    exercises out, and a student's notebook has other answers.
    """
    bound: dict[str, str] = {}
    for cell in cells:
        if cell.node.cell_type != "code" or cell.role in (HIDDEN, WRONG):
            continue
        tree = cell_tree(cell.node.source)
        names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
        stored = {n.id for n in names if isinstance(n.ctx, ast.Store)}
        defined = {n.name for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
        if cell.role == MEASURED:
            loaded = {n.id for n in names if isinstance(n.ctx, ast.Load)}
            for name in sorted((loaded - stored) & bound.keys()):
                raise ExerciseError(
                    f"a measurement uses {name!r}, which {bound[name]} defines; it must not need"
                    " an exercise. Define it outside, or rename one of the two."
                )
            for name in stored | defined:
                bound.pop(name, None)
        else:
            kind = {SETUP: "the set-up", CHECK: "a check"}.get(cell.role, "the solution")
            whose = f" of {cell.label}" if cell.label else " of the exercises"
            bound |= dict.fromkeys(stored | defined, kind + whose)

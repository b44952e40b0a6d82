"""Tables and figure of the mechanism in two tasks. They show what results hold.

Shares of pairs above the floor; 95 % intervals over scenes, paired."""

from collections.abc import Collection, Mapping, Sequence

from matplotlib import pyplot as plt

from entrack.across.held_heads import START, HeldCourses
from entrack.across.look_ups import BOXES, COUNTS, LOOK_UPS, TASKS, TaskMessages
from entrack.circuit.faithfulness import Faithfulness
from entrack.display import style
from entrack.display.cells import Picture
from entrack.display.tables import Table
from entrack.stats.metrics import Difference, Estimate, ratio
from entrack.task.boxes import Example
from entrack.task.desiderata import Counterfactual
from entrack.task.look_ups import as_look_up

PREDICTS = {
    "object": "the heads carry the object",
    "position": "the heads carry the position",
    "unchanged": "the patch changes nothing",
}
SHIFT = 0.14
"""Between the rows of one base task's two source tasks."""


def tellings(example: Example) -> Table:
    """One scene and question in both tasks, line by line of the code."""
    boxes, code = example.role_text(), as_look_up(example)
    told = dict(zip(TASKS, (boxes.text, code.text.replace("\n", " ; ")), strict=True))
    return Table(
        [[task, text, boxes.answer] for task, text in told.items()],
        ["told as", "prompt", "answer"],
        "One scene, told twice (; stands for a new line)",
    )


def pair(item: Counterfactual) -> Table:
    """A base told as boxes and its source told as a look-up, and what each idea predicts."""
    expected = {name: item.alternatives[name] for name in ("object", "position", "unchanged")}
    return Table(
        [
            ["source", as_look_up(item.source).text.replace("\n", " ; ")],
            ["base", item.base.text],
            *([f"if {PREDICTS[name]}", word] for name, word in expected.items()),
        ],
        ["", "prompt or answer"],
        "A pair across the tasks (; stands for a new line)",
    )


def circuits_in_tasks(scores: Mapping[str, Faithfulness], *, owners: Sequence[str]) -> Table:
    """A row per version with task: the whole version, random heads, and every circuit alone.

    scores: "version, task" -> the same circuits scored there; owners: names of the circuits.
    """
    return Table(
        [
            [
                place,
                s.full_accuracy(),
                s.random_accuracy(),
                *(s.accuracy(i) for i in range(len(owners))),
            ]
            for place, s in scores.items()
        ],
        ["version, task", "whole version", "random heads", *(f"circuit: {o}" for o in owners)],
        "Accuracy on the same scenes, of the whole version and of circuits alone",
    )


def practice(
    scores: Mapping[tuple[str, str], Faithfulness],
    *,
    seen: Mapping[str, Collection[str]],
    form: Mapping[str, bool],
) -> Table:
    """A row per version: whether it was trained on either task, and how well it does both.

    Args:
        scores: (version, task) -> accuracy of the whole version there.
        seen: version -> tasks it saw in training, as `practised.practised` gives them.
        form: version -> whether it saw look-ups in the form that is asked here.
    """
    return Table(
        [
            [
                version,
                *("yes" if task in tasks else "no" for task in TASKS),
                "yes" if form[version] else "no",
                *(scores[version, task].full_accuracy() for task in TASKS),
            ]
            for version, tasks in seen.items()
        ],
        [
            "version",
            "trained on boxes",
            "on look-ups",
            "in this form",
            "boxes right",
            "look-ups right",
        ],
        "What each version was trained on, and what it does",
    )


def share_of_own(scores: Faithfulness, index: int, own: int) -> Estimate | None:
    """Accuracy of one circuit alone over that of the task's own, on the same prompts; None where
    the latter answers nothing right.
    """
    return ratio(scores.hits[index], scores.hits[own]) if scores.hits[own].any() else None


def followed(found: Mapping[str, TaskMessages], *, patches: Mapping[str, str]) -> Picture:
    """A panel per patch, a row per version and task of the base prompt: how often it follows heads
    that read its own task (full marks) and the other task (hollow), above the floor.

    Args:
        found: version -> its messages.
        patches: name of a patch, a group -> title of its panel.
    """
    rows = [(version, base) for version in found for base in TASKS]
    with style.look():
        figure, panels = plt.subplots(
            1,
            len(patches),
            sharex=True,
            sharey=True,
            figsize=(style.WIDTH, 0.55 * len(rows) + 1.5),
            squeeze=False,
        )
        for axes, (patch, title) in zip(panels[0], patches.items(), strict=True):
            axes.set_title(title, fontsize=10)
            axes.axvline(0, color="black", lw=0.8)
            for row, (version, base) in enumerate(rows):
                for source in TASKS:
                    _mark(axes, found[version], patch, row, source, base)
            axes.set(ylim=(len(rows) - 0.5, -0.5), xlabel="above floor")
            axes.grid(axis="y", visible=False)
        panels[0, 0].set_yticks(range(len(rows)), [f"{v} does {base}" for v, base in rows])
        keys = [("source of its own task", style.NEUTRAL), ("source of the other task", "none")]
        figure.legend(
            handles=[
                plt.Line2D([], [], color=style.NEUTRAL, marker="o", ls="none", mfc=fill, label=text)
                for text, fill in keys
            ],
            loc="outside lower center",
            ncols=2,
        )
    told = "; ".join(
        f"{version} does {base}, {title}: {_words(found[version], base, patch)}"
        for version, base in rows
        for patch, title in patches.items()
    )
    return Picture(figure, f"How often heads that read another prompt are followed. {told}.")


def messages(found: Mapping[str, TaskMessages], *, patches: Mapping[str, str]) -> Table:
    """A row per version, task of the base prompt and patch: followed with sources of its own task,
    of the other task, and the difference.
    """
    return Table(
        [
            [
                f"{version} does {base}, {title}",
                told.score(base, base, patch),
                told.score(_other(base), base, patch),
                told.lost(base, patch),
            ]
            for version, told in found.items()
            for base in TASKS
            for patch, title in patches.items()
        ],
        ["version, task, patch", "source of its own task", "of the other task", "difference"],
        "Pairs on which the answer follows the source, above the floor",
    )


def held(found: HeldCourses) -> Table:
    """A row per training: heads that had to stay as they were, accuracy and gain in both tasks."""
    return Table(
        [
            [
                name,
                n,
                found.accuracy(name, BOXES),
                "-" if name == START else found.gain(name, BOXES),
                found.accuracy(name, LOOK_UPS),
                "-" if name == START else found.gain(name, LOOK_UPS),
            ]
            for name, n in found.held.items()
        ],
        ["training", "heads held", "boxes", "gain in boxes", "look-ups", "gain in look-ups"],
        "Accuracy in both tasks after training on look-ups, with some heads held or none",
    )


def leads(told: TaskMessages, patch: str) -> dict[str, Difference]:
    """Way to count tokens -> the lead of the order over it, boxes that follow heads which read
    look-ups; ways that no pair tells apart from the order are left out.
    """
    found = {way: told.order_over_tokens(LOOK_UPS, BOXES, patch, way) for way in COUNTS}
    return {way: lead for way, lead in found.items() if lead is not None}


def order_or_tokens(told: TaskMessages, *, patches: Mapping[str, str]) -> Table:
    """A row per patch and way to count: pairs that tell the two ideas apart, and the lead."""
    return Table(
        [
            [f"{title}, tokens {way}", lead.n, lead]
            for patch, title in patches.items()
            for way, lead in leads(told, patch).items()
        ],
        ["patch and rival", "pairs", "order minus tokens"],
        "Boxes that follow heads which read look-ups: by the order, or by the count of tokens?",
    )


def _mark(axes, told: TaskMessages, patch: str, row: int, source: str, base: str) -> None:
    score, own = told.score(source, base, patch), source == base
    axes.errorbar(
        [score.value],
        [row + (-SHIFT if own else SHIFT)],
        xerr=[[score.value - score.low], [score.high - score.value]],
        fmt="o",
        color=style.GROUPS[patch],
        markerfacecolor=style.GROUPS[patch] if own else "none",
        lw=1.2,
    )


def _words(told: TaskMessages, base: str, patch: str) -> str:
    own, other = (told.score(source, base, patch) for source in (base, _other(base)))
    return f"{own.value:+.2f} by its own task, {other.value:+.2f} by the other"


def _other(task: str) -> str:
    return next(t for t in TASKS if t != task)

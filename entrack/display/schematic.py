"""Drawings of the methods: which runs there are, what is taken from one and put into another, and
what is computed anew. They show no measurement.

Each run is a grid: a column per token, from left to right, and a row per layer, from below. A
square is what the heads of a layer give at a token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from entrack.display import style
from entrack.display.cells import Picture

LAYERS, TOKENS = 4, 4
CLEAN, OTHER = style.GROUPS["value_fetcher"], style.GROUPS["position_detector"]
FROZEN, MEAN, ANEW = "frozen", "mean", "anew"
SIDE = 0.72  # of a square, in units of the grid


@dataclass(frozen=True)
class Drawn:
    """One run in a drawing.

    Attributes:
        title: what it reads, and in which model.
        colour: of its own activations.
        marks: (layer, token) -> FROZEN, MEAN, ANEW, or the colour of the run it is taken from. A
            square without a mark is the run's own.
        says: what it answers; "" for a run whose answer does not matter.
    """

    title: str
    colour: str
    marks: Mapping[tuple[int, int], str] = field(default_factory=dict)
    says: str = ""


def path_patching() -> Picture:
    """One sender, frozen heads, a direct path to the answer."""
    sender = (1, 3)
    frozen = {(layer, token): FROZEN for layer in range(LAYERS) for token in range(TOKENS)}
    return _drawing(
        [
            Drawn("clean run", CLEAN, says="apple"),
            Drawn("corrupt run", OTHER, says="key"),
            Drawn(
                "clean run, patched", CLEAN, {**frozen, sender: OTHER}, says="apple, less likely"
            ),
        ],
        arrows=[((1, *sender), (2, *sender))],
        alt="Path patching. The clean and the corrupt prompt are run. In a third run, on the clean"
        " prompt, one head at the last token gives what it gave in the corrupt run, and all other"
        " heads are held at what they gave in the clean run. So the change reaches the answer by no"
        " other head.",
    )


def mean_ablation() -> Picture:
    """A circuit alone: its heads work, all others give their mean."""
    circuit = {(0, 1), (1, 2), (2, 3), (3, 3)}
    means = {
        (layer, token): MEAN
        for layer in range(LAYERS)
        for token in range(TOKENS)
        if (layer, token) not in circuit
    }
    return _drawing(
        [
            Drawn("many other prompts", OTHER),
            Drawn(
                "this prompt, the circuit alone",
                CLEAN,
                means | dict.fromkeys(circuit, ANEW),
                "apple?",
            ),
        ],
        arrows=[((0, 2, 1), (1, 2, 1))],
        alt="Mean ablation. Every head outside the circuit gives its mean output over many other"
        " prompts, which says nothing of this prompt. The heads of the circuit are computed as"
        " usual, from what is left. If the model still answers, the circuit was enough.",
    )


def knock_out() -> Picture:
    """A reading that is forbidden, from some layer up."""
    later = {(layer, token): ANEW for layer in range(1, LAYERS) for token in (3,)}
    return _drawing(
        [Drawn("one prompt, a reading forbidden", CLEAN, later, says="apple?")],
        forbidden=((0.0, 1), (3, 3)),
        alt="Attention knock-out. From a layer up, no head at the last token may read one earlier"
        " token. What the last token holds from there on is computed anew without it. If the answer"
        " stays, what was to be read had arrived before, or by another way.",
    )


def interchange() -> Picture:
    """A group's output from a source prompt, put into a base prompt."""
    return _handed_over(
        ("source prompt", "key"),
        ("base prompt, patched", "apple, watch or key?"),
        alt="An interchange. A group of heads gives, on the base prompt, what it gave on the source"
        " prompt, and everything after it is computed anew. The answer tells what came with it: the"
        " source's object, or the base's own object at the source's position.",
    )


def cross_model() -> Picture:
    """A group's output from another version, on the same prompt."""
    return _handed_over(
        ("donor: fine-tuned version", "apple"),
        ("receiver: base, same prompt", "apple?"),
        alt="Cross-model activation patching. Donor and receiver read the same prompt. A group of"
        " heads of the receiver gives what it gave in the donor, and everything after it is"
        " computed anew. Where the receiver becomes right, what it lacked was handed over.",
    )


def _handed_over(giver: tuple[str, str], taker: tuple[str, str], *, alt: str) -> Picture:
    """One square of a run put into another; each run is told by its title and what it says."""
    anew = {(layer, 3): ANEW for layer in (2, 3)}
    return _drawing(
        [
            Drawn(giver[0], OTHER, says=giver[1]),
            Drawn(taker[0], CLEAN, {**anew, (1, 3): OTHER}, says=taker[1]),
        ],
        arrows=[((0, 1, 3), (1, 1, 3))],
        alt=alt,
    )


def _drawing(
    runs: Sequence[Drawn],
    *,
    alt: str,
    arrows: Sequence[tuple[tuple[int, int, int], tuple[int, int, int]]] = (),
    forbidden: tuple[tuple[float, int], tuple[int, int]] | None = None,
) -> Picture:
    """The runs side by side.

    Args:
        arrows: from and to, each (run, layer, token).
        forbidden: the reading that is crossed out in the first run, (layer, token) to another.
    """
    gap = TOKENS + 1.1
    with style.look():
        figure, axes = plt.subplots(figsize=(max(2.6 * len(runs), 4.2), 3.1))
        for i, run in enumerate(runs):
            _grid(axes, run, i * gap)
        for start, end in arrows:
            ends = [(run * gap + token, layer) for run, layer, token in (start, end)]
            _arrow(axes, *ends)
        if forbidden:
            (layer, token), (to_layer, to_token) = forbidden
            _arrow(axes, (token, layer), (to_token, to_layer - 1))
            middle = ((token + to_token) / 2, (layer + to_layer - 1) / 2)
            axes.plot(*middle, "x", ms=13, mew=3, color="black", zorder=5)
        axes.set(xlim=(-0.6, gap * len(runs) - 0.7), ylim=(-1.5, LAYERS + 0.9), aspect="equal")
        axes.axis("off")
        axes.legend(handles=_keys(runs), loc="upper center", bbox_to_anchor=(0.5, 0.04), ncols=3)
    return Picture(figure, alt)


def _grid(axes: Axes, run: Drawn, x: float) -> None:
    for layer in range(LAYERS):
        for token in range(TOKENS):
            look = _look(run.marks.get((layer, token), run.colour))
            corner = (x + token - SIDE / 2, layer - SIDE / 2)
            axes.add_patch(Rectangle(corner, SIDE, SIDE, lw=1.1, zorder=2, **look))
    axes.text(x + 1.5, -0.75, run.title, ha="center", va="top", fontsize=9.5)
    if run.says:
        says = f"“{run.says}”"
        axes.text(x + TOKENS - 1, LAYERS - 0.35, says, ha="right", va="bottom", weight="bold")


def _look(mark: str) -> dict:
    """How a square is drawn: own and taken ones full, others as their kind."""
    if mark == FROZEN:
        return {"facecolor": CLEAN, "edgecolor": "black", "alpha": 0.3, "hatch": "////"}
    if mark == MEAN:
        return {"facecolor": style.NEUTRAL, "edgecolor": style.NEUTRAL, "alpha": 0.35}
    if mark == ANEW:
        return {"facecolor": "none", "edgecolor": CLEAN}
    return {"facecolor": mark, "edgecolor": mark, "alpha": 0.8}


def _keys(runs: Sequence[Drawn]) -> list[Rectangle]:
    """A key for each kind of square that the drawing has."""
    marks = {mark for run in runs for mark in run.marks.values()}
    words = {
        FROZEN: "held at the clean run",
        MEAN: "mean over other prompts",
        ANEW: "computed anew",
        OTHER: "taken from the other run",
    }
    return [
        Rectangle((0, 0), 1, 1, label=told, **_look(mark))
        for mark, told in words.items()
        if mark in marks
    ]


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    look = {"arrowstyle": "-|>", "lw": 2, "color": "black", "shrinkA": 9, "shrinkB": 9}
    axes.annotate("", end, start, arrowprops=look | {"connectionstyle": "arc3,rad=-0.2"}, zorder=4)

"""Figures of the task: who does it how well, for which box, among how many boxes. They draw;
nothing is computed here.

Intervals are 95 %.
"""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from entrack.display.cells import LiveFigure, Picture
from entrack.display.style import NEUTRAL, look, version_colour, version_marker
from entrack.patching.accuracy import TaskScores
from entrack.stats.metrics import Estimate

PLOTLY_MARKERS = {
    "x": "x",
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
}


def accuracy_figure(
    scores: Mapping[tuple[str, str], TaskScores], *, chance: float, paper: Mapping[str, float]
) -> Picture:
    """One row per version: filled marks for the first format, hollow ones for the others; the
    paper's models below.

    Args:
        scores: by (version, format).
        chance: accuracy of a guess among the objects of the scene.
        paper: title of the paper's model -> its accuracy.
    """
    versions = list(dict.fromkeys(version for version, _ in scores))
    formats = list(dict.fromkeys(format for _, format in scores))
    rows = [*versions, *paper]
    with look():
        figure = Figure(figsize=(4.8, 0.7 + 0.36 * len(rows)))
        axes = figure.subplots()
        axes.axvline(chance, color=NEUTRAL, linestyle=":")
        for place, version in enumerate(versions):
            for index, format in enumerate(formats):
                found, colour = scores[version, format].accuracy(), version_colour(version)
                axes.errorbar(
                    found.value,
                    place + 0.3 * index - 0.15,
                    xerr=[[found.value - found.low], [found.high - found.value]],
                    marker=version_marker(version),
                    color=colour,
                    markerfacecolor="none" if index else colour,
                    linestyle="none",
                )
        for place, value in enumerate(paper.values(), start=len(versions)):
            axes.plot(
                value,
                place,
                marker="|",
                markersize=11,
                markeredgewidth=2.5,
                color=NEUTRAL,
                linestyle="none",
            )
        axes.set(
            yticks=range(len(rows)),
            yticklabels=rows,
            xlim=(0, 1.02),
            xlabel="share of answers that are right",
        )
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        fills = ["black", "none"]
        keys = [
            Line2D(
                [],
                [],
                color="black",
                marker="o",
                markerfacecolor=fill,
                linestyle="none",
                label=f"{format} format",
            )
            for fill, format in zip(fills, formats, strict=False)
        ]
        keys += [
            Line2D(
                [],
                [],
                color=NEUTRAL,
                marker="|",
                markersize=11,
                markeredgewidth=2.5,
                linestyle="none",
                label="paper",
            ),
            Line2D([], [], color=NEUTRAL, linestyle=":", label="chance"),
        ]
        figure.legend(
            handles=keys, loc="outside upper left", ncols=2, handletextpad=0.4, columnspacing=1.2
        )
    told = "; ".join(f"{v} {scores[v, formats[0]].accuracy():.2f}" for v in versions)
    theirs = "; ".join(f"{title} {value:.2f}" for title, value in paper.items())
    return Picture(
        figure,
        f"Accuracy by version in the {formats[0]} format: {told}. The paper's models: {theirs}."
        f" Chance is {chance:.2f}.",
    )


def position_figure(
    scores: Mapping[str, TaskScores], *, chance: float, paper: Sequence[float], paper_title: str
) -> LiveFigure:
    """Accuracy by place of the queried box, one line per version, and a line of the paper's
    authors.
    """
    lines = [
        _line(version, list(range(1, found.hits.shape[1] + 1)), found.by_position())
        for version, found in scores.items()
    ]
    lines.append(
        {
            "type": "scatter",
            "name": paper_title,
            "x": list(range(1, len(paper) + 1)),
            "y": list(paper),
            "mode": "lines",
            "line": {"color": NEUTRAL, "dash": "dash", "width": 3},
        }
    )
    told = "; ".join(
        f"{v} " + ", ".join(f"{e.value:.2f}" for e in found.by_position())
        for v, found in scores.items()
    )
    theirs = ", ".join(f"{y:.2f}" for y in paper)
    return LiveFigure(
        _layout(lines, "queried box, in the order of the text", chance=chance),
        alt=f"Accuracy for each queried box, first to last: {told}; {paper_title} {theirs}.",
    )


def size_figure(scores: Mapping[str, Mapping[int, TaskScores]]) -> LiveFigure:
    """Accuracy by number of boxes, one line per version, and chance, one in the number of boxes."""
    lines = [
        _line(version, list(found), [s.accuracy() for s in found.values()])
        for version, found in scores.items()
    ]
    sizes = sorted({n for found in scores.values() for n in found})
    lines.append(
        {
            "type": "scatter",
            "name": "chance",
            "x": sizes,
            "y": [1 / n for n in sizes],
            "mode": "lines",
            "line": {"color": NEUTRAL, "dash": "dot"},
        }
    )
    told = "; ".join(
        f"{version} from {found[min(found)].accuracy().value:.2f} with {min(found)} to "
        f"{found[max(found)].accuracy().value:.2f} with {max(found)}"
        for version, found in scores.items()
    )
    return LiveFigure(
        _layout(lines, "boxes in the scene"), alt=f"Accuracy by number of boxes: {told}."
    )


def _line(version: str, x: list[int], y: Sequence[Estimate]) -> dict:
    colour = version_colour(version)
    return {
        "type": "scatter",
        "name": version,
        "x": x,
        "y": [e.value for e in y],
        "mode": "lines+markers",
        "line": {"color": colour},
        "marker": {"symbol": PLOTLY_MARKERS[version_marker(version)], "size": 8},
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [e.high - e.value for e in y],
            "arrayminus": [e.value - e.low for e in y],
            "color": f"{colour}66",
            "thickness": 1.5,
            "width": 0,
        },
    }


def _layout(lines: list[dict], x: str, *, chance: float | None = None) -> dict:
    layout = {
        "height": 400,
        "hovermode": "x unified",
        "margin": {"l": 45, "r": 10, "t": 10, "b": 45},
        "xaxis": {"title": {"text": x}, "dtick": 1},
        "yaxis": {"title": {"text": "share right"}, "range": [0, 1.03]},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    }
    if chance is not None:
        layout["shapes"] = [
            {
                "type": "line",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "y0": chance,
                "y1": chance,
                "line": {"color": NEUTRAL, "dash": "dot"},
            }
        ]
        layout["annotations"] = [
            {
                "xref": "paper",
                "x": 1,
                "y": chance,
                "yanchor": "bottom",
                "xanchor": "right",
                "text": "chance",
                "showarrow": False,
            }
        ]
    return {"data": lines, "layout": layout}

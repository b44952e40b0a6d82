"""Figures and rows of the primer: what each layer carries, and where a head looks. They draw;
nothing is computed here. Intervals are 95 %."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from entrack.display.cells import LiveFigure
from entrack.display.style import GROUPS, NEUTRAL, ROLE_WORDS, SEQUENTIAL
from entrack.model.attention import Patterns
from entrack.patching.residual_patching import ResidualPatching
from entrack.sites import Head

COLOURS = {
    "object": GROUPS["value_fetcher"],
    "position": GROUPS["position_transmitter"],
    "label": GROUPS["structure_reader"],
}
SYMBOLS = {"object": "circle", "position": "diamond", "label": "triangle-up"}


def layer_curves(results: Sequence[ResidualPatching]) -> LiveFigure:
    """Share of expected answers by patched layer, a line per desideratum, all at one role; dotted:
    their floors.
    """
    lines, told = [], []
    for found in results:
        scores, name = found.scores(), found.desideratum
        colour, floor = COLOURS.get(name, NEUTRAL), float(found.floor.mean())
        lines.append(
            {
                "type": "scatter",
                "name": name,
                "x": list(found.layers),
                "y": [s.value for s in scores],
                "mode": "lines+markers",
                "line": {"color": colour},
                "marker": {"symbol": SYMBOLS.get(name, "circle"), "size": 7},
                "legendgroup": name,
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [s.high - s.value for s in scores],
                    "arrayminus": [s.value - s.low for s in scores],
                    "color": f"{colour}77",
                    "thickness": 1.5,
                    "width": 0,
                },
            }
        )
        lines.append(
            {
                "type": "scatter",
                "name": f"{name}, no patch",
                "x": [found.layers[0], found.layers[-1]],
                "y": [floor, floor],
                "mode": "lines",
                "line": {"color": colour, "dash": "dot", "width": 1.5},
                "legendgroup": name,
                "showlegend": False,
            }
        )
        told.append(
            f"{name} up to {found.best.value:.2f} at layer {found.peak}, {floor:.2f} without a"
            " patch"
        )
    layout = {
        "height": 400,
        "hovermode": "x unified",
        "margin": {"l": 45, "r": 10, "t": 10, "b": 45},
        "xaxis": {"title": {"text": "layer whose input is patched"}},
        "yaxis": {"title": {"text": "share with the expected answer"}, "range": [-0.02, 1.03]},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    }
    where = ROLE_WORDS.get(results[0].role, results[0].role)
    return LiveFigure(
        {"data": lines, "layout": layout},
        alt=f"Share of expected answers after patching the {where}, by layer: {'; '.join(told)}.",
    )


def head_map(weights: Tensor, *, found: Head) -> LiveFigure:
    """Mean attention of every head to one token as a map of layers and heads; a ring around the
    head `found`.

    Args:
        weights: [layer head].
    """
    n_layers, n_heads = weights.shape
    heat = {
        "type": "heatmap",
        "name": "mean attention",
        "z": weights.tolist(),
        "x": list(range(n_heads)),
        "y": list(range(n_layers)),
        "colorscale": SEQUENTIAL.capitalize(),
        "zmin": 0,
        "colorbar": {"thickness": 12, "title": {"text": ""}},
        "hovertemplate": "head %{y}.%{x}<br>attention %{z:.2f}<extra></extra>",
    }
    ring = {
        "type": "scatter",
        "name": f"head {found}",
        "x": [found.head],
        "y": [found.layer],
        "mode": "markers",
        "showlegend": False,
        "marker": {"symbol": "circle-open", "size": 16, "color": "#ffffff", "line": {"width": 2.5}},
        "hoverinfo": "skip",
    }
    layout = {
        "height": 520,
        "margin": {"l": 45, "r": 10, "t": 10, "b": 45},
        "xaxis": {"title": {"text": "head"}, "dtick": 1, "showgrid": False},
        "yaxis": {"title": {"text": "layer"}, "showgrid": False},
    }
    strong = int((weights > 0.2).sum())
    return LiveFigure(
        {"data": [heat, ring], "layout": layout},
        alt=(
            f"Mean attention from the last token to the right object for {n_layers} layers of"
            f" {n_heads} heads: {strong} heads give it more than 0.2; the ringed head {found} gives"
            f" it {weights[found.layer, found.head]:.2f}."
        ),
    )


def pattern_bars(patterns: Patterns, example: int, *, head: int = 0) -> LiveFigure:
    """Where one head looks in one prompt: a bar per token, coloured and named by role; the others
    grey.

    Args:
        example: index of the prompt.
        head: index in `patterns.heads`.
    """
    prompts = patterns.prompts
    n_tokens = int(prompts.lengths[example])
    weights = patterns.weights[example, head, :n_tokens].tolist()
    words = [piece.strip() for piece in prompts.pieces[example]]
    kinds = _kinds(prompts.roles, prompts.segments, example)
    bars = []
    for kind, colour in (
        ("right object", GROUPS["value_fetcher"]),
        ("other objects", GROUPS["position_transmitter"]),
        ("labels", GROUPS["structure_reader"]),
        ("other words", NEUTRAL),
    ):
        chosen = [i for i in range(n_tokens) if kinds.get(i, "other words") == kind]
        bars.append(
            {
                "type": "bar",
                "name": kind,
                "x": chosen,
                "y": [weights[i] for i in chosen],
                "marker": {"color": colour},
                "width": 0.9,
                "text": [words[i] for i in chosen],
                "textposition": "none",
                "hovertemplate": "%{x}: %{text}<br>attention %{y:.2f}<extra></extra>",
            }
        )
    top = max(range(n_tokens), key=weights.__getitem__)
    layout = {
        "height": 340,
        "barmode": "overlay",
        "bargap": 0.15,
        "margin": {"l": 45, "r": 10, "t": 10, "b": 45},
        "xaxis": {"title": {"text": "token of the prompt"}, "range": [-0.7, n_tokens - 0.3]},
        "yaxis": {"title": {"text": "attention"}, "range": [0, max(weights) * 1.15]},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        "annotations": [
            {
                "x": top,
                "y": weights[top],
                "text": words[top],
                "showarrow": False,
                "yanchor": "bottom",
            }
        ],
    }
    return LiveFigure(
        {"data": bars, "layout": layout},
        alt=(
            f"Attention of head {patterns.heads[head]} from the"
            f" {ROLE_WORDS.get(patterns.role, patterns.role)} in one prompt: most,"
            f" {weights[top]:.2f}, on token {top}, {words[top]!r}"
            f" ({kinds.get(top, 'other words')})."
        ),
    )


def _kinds(
    roles: Mapping[str, Tensor], segments: Mapping[str, Tensor], example: int
) -> dict[int, str]:
    """Token index -> what it is, for the tokens that carry content."""
    kinds = {int(place): "other objects" for place in segments["object"][example]}
    kinds |= {int(place): "labels" for place in segments["label"][example]}
    return kinds | {int(roles["correct_object"][example]): "right object"}

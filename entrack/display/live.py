"""A plotly figure as plain data: a JSON specification, and the same numbers as HTML tables."""

import base64
import json
import math
from html import escape

import numpy as np

MAX_ROWS = 400
"""Rows of one trace that the folded table lists; it says so where there are more."""


def plotly_spec(figure) -> dict:
    """The figure as plain lists and numbers: arrays decoded, floats to six significant digits, no
    template.

    NaN and infinity become null, which plotly leaves blank. Raises nothing of its own.
    """
    spec = figure if isinstance(figure, dict) else figure.to_dict()
    spec = _plain(spec)
    spec.setdefault("data", [])
    spec.setdefault("layout", {}).pop("template", None)
    return spec


def _plain(value):
    if isinstance(value, dict):
        if set(value) >= {"dtype", "bdata"}:
            return _plain(_decode(value))
        return {str(key): _plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "to_plotly_json"):
        return _plain(value.to_plotly_json())
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _decode(array: dict) -> np.ndarray:
    """Unpack plotly's base64 arrays: little-endian values, `shape` as "rows, columns" where there
    are two axes.
    """
    values = np.frombuffer(
        base64.b64decode(array["bdata"]), dtype=np.dtype(array["dtype"]).newbyteorder("<")
    )
    if "shape" in array:
        values = values.reshape([int(n) for n in str(array["shape"]).split(",")])
    return values


def data_tables(spec: dict) -> str:
    """One HTML table per trace with the numbers that the trace draws."""
    axes = spec["layout"]
    parts = []
    for i, trace in enumerate(spec["data"]):
        header, rows = _grid(trace) if _is_grid(trace) else _columns(trace, axes)
        if rows:
            parts.append(_html(str(trace.get("name") or f"Series {i + 1}"), header, rows))
    return "\n".join(parts)


def _is_grid(trace: dict) -> bool:
    z = trace.get("z")
    return isinstance(z, list) and bool(z) and isinstance(z[0], list)


def _grid(trace: dict) -> tuple[list, list[list]]:
    """A heat map: column names from x, row names from y."""
    z = trace["z"]
    x = trace.get("x") or list(range(len(z[0])))
    y = trace.get("y") or list(range(len(z)))
    return ["", *x], [[name, *row] for name, row in zip(y, z, strict=False)]


def _columns(trace: dict, layout: dict) -> tuple[list, list[list]]:
    """Any other trace: its one-dimensional lists side by side, under the axis titles where there
    are some.
    """
    columns = {}
    if trace.get("type") == "sankey":
        names = trace["node"].get("label", [])
        link = trace["link"]
        columns = {
            "from": [names[i] for i in link["source"]],
            "to": [names[i] for i in link["target"]],
            "value": link["value"],
        }
    for key in ("x", "y", "z", "labels", "parents", "values", "r", "theta", "text"):
        if isinstance(trace.get(key), list):
            columns[_title(key, trace, layout)] = trace[key]
    for key in ("error_x", "error_y"):
        error = trace.get(key, {})
        for side in ("arrayminus", "array"):
            if isinstance(error.get(side), list):
                columns[f"{key[-1]} error {'below' if side == 'arrayminus' else 'above'}"] = error[
                    side
                ]
    length = max((len(column) for column in columns.values()), default=0)
    rows = [
        [column[i] if i < len(column) else None for column in columns.values()]
        for i in range(length)
    ]
    return list(columns), rows


def _title(key: str, trace: dict, layout: dict) -> str:
    axis = str(trace.get(key + "axis", key))
    title = (
        layout.get(axis[0] + "axis" + axis[1:], {}).get("title", key) if key in ("x", "y") else key
    )
    return str(title.get("text", key) if isinstance(title, dict) else title)


def _html(name: str, header: list, rows: list[list]) -> str:
    note = f" (the first {MAX_ROWS} of {len(rows)} rows)" if len(rows) > MAX_ROWS else ""
    head = "".join(f'<th scope="col">{escape(_text(cell))}</th>' for cell in header)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{escape(_text(cell))}</td>" for cell in row) + "</tr>"
        for row in rows[:MAX_ROWS]
    )
    return (
        f"<table><caption>{escape(name + note)}</caption>\n<thead><tr>{head}</tr></thead>\n"
        f"<tbody>\n{body}\n</tbody></table>"
    )


def _text(value) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def live_html(spec: dict, alt: str, tables: str) -> str:
    """The element that the page's script draws into, its data as JSON, and what stands in without a
    script.
    """
    text = json.dumps(
        spec, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    text = text.replace("</", "<\\/")  # a "</script>" in a label would end the element
    height = spec["layout"].get("height", 420)
    return (
        f'<div class="live-figure"><div class="live-canvas" role="img" aria-label="{escape(alt)}"'
        f' style="min-height:{height}px"></div>\n<script'
        f' type="application/json">{text}</script>\n<noscript><p>{escape(alt)} The figure is drawn'
        " by JavaScript; its data stand below.</p></noscript>\n<details"
        ' class="live-data"><summary>Data as a table</summary>\n<div class="live-tables"'
        ' role="region" tabindex="0" aria-label="Data of the'
        f' figure">{tables}</div></details></div>\n'
    )

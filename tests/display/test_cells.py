"""What a cell shows: numbers by name, figures with words, tables, live figures as data."""

import itertools
import json
import re
from xml.dom import minidom

import numpy as np
import pytest
from colours import DARK_PAGE, contrast, linear
from IPython.core.formatters import DisplayFormatter
from matplotlib import pyplot as plt

from entrack.display import style
from entrack.display.cells import CLAIMS, LiveFigure, Picture, glue, judge, listed, show
from entrack.display.tables import Table
from entrack.errors import EntrackError, FigureError
from entrack.stats.claims import Claim
from entrack.stats.metrics import Difference, Estimate
from entrack.stats.rules import Sign
from entrack.versions.families import looks

ALT = "Line plot: accuracy falls in the middle."


@pytest.fixture
def shown(monkeypatch):
    """Everything that is displayed, as (data, metadata)."""
    outputs = []
    monkeypatch.setattr(
        "entrack.display.cells.display",
        lambda data, raw, metadata=None: outputs.append((data, metadata or {})),
    )
    return outputs


def draw():
    with style.look():
        figure, axes = plt.subplots()
        axes.plot([0, 1, 2], [0.9, 0.3, 0.8], color=style.version_colour("base"), label="base")
        axes.imshow(np.arange(6.0).reshape(2, 3))
        axes.legend()
    return figure


# -- glue
# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, text",
    [
        (0.625, "0.625"),
        (3, "3"),
        (True, "True"),
        ("not measured", "'not measured'"),
        (np.float32(0.5), "0.5"),
        (np.int64(7), "7"),
        (np.array(0.25), "0.25"),
    ],
)
def test_glue_records_a_plain_value(shown, value, text):
    glue(accuracy=value)
    ((data, metadata),) = shown
    assert data == {"application/papermill.record/text/plain": text}
    assert metadata == {
        "scrapbook": {"name": "accuracy", "mime_prefix": "application/papermill.record/"}
    }


@pytest.mark.parametrize(
    "estimate, text",
    [
        (Estimate(0.5, 0.25, 0.75, 10), "0.50 [0.25, 0.75]"),
        (Difference(0.5, 0.25, 0.75, 10, 5, 0, 0.1), "+0.50 [+0.25, +0.75]"),
        (Estimate(*[float("nan")] * 3, 10), "not measured"),
    ],
)
def test_glue_takes_an_estimate_with_its_interval(shown, estimate, text):
    glue(accuracy=estimate)
    assert shown[0][0] == {"application/papermill.record/text/plain": repr(text)}


def test_names_are_listed_as_a_sentence_has_them():
    assert listed(["code"]) == "code" and listed([]) == "none"
    assert listed(["code", "math", "boxes"]) == "code, math and boxes"


def test_glue_takes_a_torch_scalar(shown):
    torch = pytest.importorskip("torch")
    glue(loss=torch.tensor(0.5, dtype=torch.bfloat16))
    assert shown[0][0] == {"application/papermill.record/text/plain": "0.5"}


def test_myst_nb_reads_the_record_back(monkeypatch):
    """The record is read by the library that renders the book, and formats as the role does."""
    from myst_nb.core.variables import format_plain_text
    from myst_nb.ext.glue import extract_glue_data_cell
    from nbformat.v4 import new_code_cell, new_output

    outputs = []
    monkeypatch.setattr(
        "entrack.display.cells.display",
        lambda data, raw, metadata: outputs.append(
            new_output("display_data", data=data, metadata=metadata)
        ),
    )
    glue(accuracy=np.float64(0.625))
    ((name, output),) = extract_glue_data_cell(new_code_cell(outputs=outputs))
    assert name == "accuracy"
    assert format_plain_text(output["data"]["text/plain"], ".1f") == "0.6"


@pytest.mark.parametrize(
    "value, message",
    [
        (
            float("nan"),
            (
                "glued value 'x' is nan; a finite number is needed. If it was not measured, pass"
                ' the text "not measured".'
            ),
        ),
        (np.float32("inf"), "glued value 'x' is inf; a finite number"),
        (np.zeros(3), "glued value 'x' of shape (3,); a single number is needed. Reduce it first."),
        ([1.0], "glued value 'x' of type list; text, bool or a real number is needed. Convert it."),
        (1j, "glued value 'x' of type complex;"),
        (None, "glued value 'x' of type NoneType;"),
    ],
)
def test_glue_refuses(shown, value, message):
    with pytest.raises(FigureError) as error:
        glue(x=value)
    assert str(error.value).startswith(message)
    assert not shown


@pytest.mark.parametrize("name", ["", "two words", "a:b", "1st", "a-b"])
def test_glue_refuses_a_name_that_the_role_cannot_hold(shown, name):
    with pytest.raises(
        FigureError, match=re.escape(f"glue name {name!r}; letters, digits and underscores")
    ):
        glue(**{name: 1})


# -- show
# --------------------------------------------------------------------------------------------------


def test_show_gives_an_svg_named_by_its_alt(shown):
    show(Picture(draw(), 'He said "<look>" at this.'))
    ((data, metadata),) = shown
    root = minidom.parseString(data["image/svg+xml"]).documentElement
    assert root.getAttribute("role") == "img"
    assert root.getAttribute("aria-label") == data["text/plain"] == 'He said "<look>" at this.'
    assert metadata["image/svg+xml"]["alt"] == 'He said "<look>" at this.'
    assert root.getElementsByTagName("path")


def test_show_follows_the_theme_and_carries_no_date(shown):
    show(Picture(draw(), ALT))
    svg = shown[0][0]["image/svg+xml"]
    assert "currentColor" in svg and style.version_colour("base") in svg
    assert "#000000" not in svg and "#ffffff" not in svg, "neither fixed ink nor a white slab"
    assert "<metadata" not in svg and "<style" not in svg and "Matplotlib" not in svg


def test_show_is_deterministic_and_closes_the_figure(shown):
    before = set(plt.get_fignums())
    for _ in range(2):
        show(Picture(draw(), ALT))
    assert shown[0] == shown[1]
    assert set(plt.get_fignums()) == before


def test_two_figures_of_one_page_share_no_id(shown):
    show(Picture(draw(), ALT))
    with style.look():
        figure, axes = plt.subplots()
        axes.plot([0, 1], [1, 0])
    show(Picture(figure, ALT))
    first, second = (set(re.findall(r' id="([^"]+)"', data["image/svg+xml"])) for data, _ in shown)
    assert first and second and not first & second
    for data, _ in shown:
        svg = data["image/svg+xml"]
        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', svg)) == set(
            re.findall(r' id="([^"]+)"', svg)
        )


@pytest.mark.parametrize("alt", ["", "  \n ", "figure", "a plot"])
def test_a_figure_without_words_is_refused(shown, alt):
    figure = draw()
    try:
        for call in (lambda: show(Picture(figure, alt)), lambda: LiveFigure({"data": []}, alt=alt)):
            with pytest.raises(FigureError) as error:
                call()
            assert (
                str(error.value)
                == f"alt text {alt!r}; a sentence on what the figure shows is needed. Pass"
                ' alt="...".'
            )
    finally:
        plt.close(figure)
    assert not shown and issubclass(FigureError, EntrackError)


def test_a_figure_too_heavy_for_a_notebook_is_refused(shown):
    figure, axes = plt.subplots()
    axes.scatter(*np.random.default_rng(0).random((2, 8000)))
    with pytest.raises(
        FigureError, match=r"figure of \d+ kB; at most 400 kB\. .*set_rasterized\(True\)"
    ):
        show(Picture(figure, ALT))
    plt.close(figure)


# -- live figures
# --------------------------------------------------------------------------------------------------


def spec_of(figure: LiveFigure) -> dict:
    html = figure._repr_mimebundle_()["text/html"]
    return json.loads(
        re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL).group(1)
    )


def test_live_figure_is_data_not_a_program():
    plotly = pytest.importorskip("plotly.graph_objects")
    figure = plotly.Figure(
        plotly.Scatter(x=np.arange(3), y=np.array([0.123456789, np.nan, 0.5]), name="base")
    )
    figure.update_layout(yaxis_title="effect </script>", xaxis_title="layer")
    live = LiveFigure(figure, alt=ALT)
    spec = spec_of(live)
    assert spec["data"] == [
        {"name": "base", "type": "scatter", "x": [0, 1, 2], "y": [0.123457, None, 0.5]}
    ]
    assert (
        "template" not in spec["layout"]
        and spec["layout"]["yaxis"]["title"]["text"] == "effect </script>"
    )
    bundle = live._repr_mimebundle_()
    assert set(bundle) == {"text/html", "text/plain"} and bundle["text/plain"] == ALT
    assert f'role="img" aria-label="{ALT}"' in bundle["text/html"]
    assert not re.search(r"https?://|src=", bundle["text/html"])
    assert bundle == LiveFigure(figure, alt=ALT)._repr_mimebundle_()


def test_live_figure_lists_its_numbers_as_a_table():
    error = {"array": [0.01, 0.02]}
    spec = {
        "data": [
            {"type": "scatter", "name": "a<b", "x": [1, 2], "y": [0.25, 0.5], "error_y": error},
            {"type": "heatmap", "x": ["L1", "L2"], "y": ["H1"], "z": [[0.125, None]]},
            {
                "type": "sankey",
                "node": {"label": ["A", "B"]},
                "link": {"source": [0], "target": [1], "value": [3]},
            },
        ],
        "layout": {"xaxis": {"title": {"text": "layer"}}},
    }
    html = LiveFigure(spec, alt=ALT)._repr_mimebundle_()["text/html"]
    tables = minidom.parseString(
        f"<t>{re.search('<details.*</details>', html, re.DOTALL).group()}</t>"
    )
    rows = [
        [
            [cell.firstChild.data if cell.firstChild else "" for cell in row.childNodes]
            for row in found.getElementsByTagName("tr")
        ]
        for found in tables.getElementsByTagName("table")
    ]
    assert rows == [
        [["layer", "y", "y error above"], ["1", "0.25", "0.01"], ["2", "0.5", "0.02"]],
        [["", "L1", "L2"], ["H1", "0.125", ""]],
        [["from", "to", "value"], ["A", "B", "3"]],
    ]
    assert tables.getElementsByTagName("caption")[0].firstChild.data == "a<b"


def test_a_long_trace_says_that_its_table_is_cut():
    live = LiveFigure({"data": [{"type": "scatter", "name": "s", "y": list(range(500))}]}, alt=ALT)
    html = live._repr_mimebundle_()["text/html"]
    assert "s (the first 400 of 500 rows)" in html and html.count("<tr>") == 401
    assert len(spec_of(live)["data"][0]["y"]) == 500


def test_live_figure_refuses_frames_and_bulk():
    with pytest.raises(
        FigureError,
        match="live figure with animation frames; traces only. Make one trace per state",
    ):
        LiveFigure({"data": [], "frames": [{"data": []}]}, alt=ALT)
    with pytest.raises(
        FigureError, match=r"live figure of \d+ kB; at most 400 kB. Pass fewer points."
    ):
        LiveFigure(
            {"data": [{"type": "scatter", "y": list(np.random.default_rng(0).random(60_000))}]},
            alt=ALT,
        )


def test_live_figure_leaves_the_given_dictionary_alone():
    spec = {"data": [{"y": np.arange(2)}], "layout": {"template": "x"}}
    LiveFigure(spec, alt=ALT)
    assert spec["layout"] == {"template": "x"} and isinstance(spec["data"][0]["y"], np.ndarray)


def test_ipython_takes_the_bundle():
    data, _ = DisplayFormatter().format(LiveFigure({"data": []}, alt=ALT))
    assert data["text/plain"] == ALT and data["text/html"].startswith('<div class="live-figure">')


# -- tables
# --------------------------------------------------------------------------------------------------


def test_table_names_its_rows_and_says_what_was_not_run(shown):
    show(
        Table(
            [["base", np.float64(0.661), 560], ["a&b", None, 7]],
            ["version", "accuracy", "prompts"],
            caption="The base does the task.",
        )
    )
    ((data, _),) = shown
    html = minidom.parseString(data["text/html"])
    assert [node.firstChild.data for node in html.getElementsByTagName("td")] == [
        "0.66",
        "560",
        "not run here",
        "7",
    ]
    assert [node.getAttribute("scope") for node in html.getElementsByTagName("th")] == [
        "col"
    ] * 3 + ["row"] * 2
    assert html.getElementsByTagName("caption")[0].firstChild.data == "The base does the task."
    assert data["text/plain"].splitlines() == [
        "The base does the task.",
        "version  accuracy      prompts",
        "base     0.66          560",
        "a&b      not run here  7",
    ]


@pytest.mark.parametrize(
    "rows, caption, message",
    [
        ([["a", 1]], " ", 'table with an empty caption; a sentence is needed. Pass caption="...".'),
        ([["a", 1], ["b"]], "c", "table row 1 of 1 cells; the header has 2. Make them agree."),
        ([["a", float("nan")]], "c", "table cell is nan; a finite number is needed."),
    ],
)
def test_table_refuses(shown, rows, caption, message):
    with pytest.raises(FigureError) as error:
        show(Table(rows, ["name", "n"], caption=caption))
    assert str(error.value).startswith(message)


def test_a_table_shows_estimates_with_their_intervals_and_pairs_as_links(shown):
    gain = Difference(0.25, 0.2, 0.3, 70, better=20, worse=2, p_value=0.001)
    rows = [["base", Estimate(0.66, 0.62, 0.7, 70), gain, ("chapter <3>", "03.html#x")]]
    show(Table(rows, ["version", "accuracy", "gain", "where"], caption="Estimates.", digits=1))
    ((data, _),) = shown
    html = minidom.parseString(data["text/html"])
    cells = html.getElementsByTagName("td")
    assert [cell.firstChild.data for cell in cells[:2]] == ["0.7 [0.6, 0.7]", "+0.2 [+0.2, +0.3]"]
    (link,) = html.getElementsByTagName("a")
    assert (link.getAttribute("href"), link.firstChild.data) == ("03.html#x", "chapter <3>")


# -- claims
# --------------------------------------------------------------------------------------------------


def claim(slug="it_helps", **options):
    gain = Difference(0.25, 0.2, 0.3, 70, better=20, worse=2, p_value=0.001)
    return Claim(slug, "It <helps>", {"code": gain}, Sign(+1), **({"paper": "+0.3"} | options))


def words(node) -> str:
    return node.data if node.nodeType == node.TEXT_NODE else "".join(map(words, node.childNodes))


def test_a_long_table_is_folded_under_its_caption_and_a_short_one_is_not():
    short, long = (Table([[str(i), i] for i in range(n)], ["a", "b"], "Rows") for n in (10, 11))
    assert not short.html.startswith("<details")
    assert long.html.startswith('<details class="entrack-long"><summary>Rows (11 rows)</summary>')
    assert long.html.count("<tr>") == 12


def test_a_short_table_is_folded_where_the_chapter_says_so(shown):
    rows = Table([["one", 1]], ["a", "b"], "Rows")
    show(rows)
    show(rows, folded=True)
    (open_data, _), (folded_data, _) = shown
    assert not open_data["text/html"].startswith("<details")
    opening = '<details class="entrack-long"><summary>Rows (1 row)</summary>'
    assert folded_data["text/html"].startswith(opening)
    assert folded_data["text/plain"] == open_data["text/plain"]


def test_claims_are_shown_recorded_and_glued(shown):
    ours = claim("ours", paper="", ours=True)
    judge(claim(), ours, caption="Finding (iii).")
    (data, _), *glued = shown
    rows = minidom.parseString(data["text/html"]).getElementsByTagName("tr")
    first = [words(cell) for cell in rows[1].childNodes]
    assert first[:2] == ["It <helps>", "+0.3"] and first[2] == "+0.25 [+0.20, +0.30] (code)"
    assert first[3:] == ["replicates", claim().rule_words]
    assert data[CLAIMS] == [claim().record(), ours.record()]
    assert [data["application/papermill.record/text/plain"] for data, _ in glued] == [
        "'replicates'",
        "'holds'",
    ]
    assert [m["scrapbook"]["name"] for _, m in glued] == ["verdict_it_helps", "verdict_ours"]


def test_a_slug_names_one_claim(shown):
    with pytest.raises(FigureError, match="claim 'it_helps' twice in one table; each has its own"):
        judge(claim(), claim(), caption="Two.")
    assert not shown


# -- style
# --------------------------------------------------------------------------------------------------

VERSIONS = {version: colour for version, (colour, _) in looks("smollm2").items()}

VISION = {  # Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = (
        np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
        @ rgb
    )
    xyz = xyz / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("page", ["#ffffff", DARK_PAGE])
@pytest.mark.parametrize(
    "colour",
    sorted({*VERSIONS.values(), *style.GROUPS.values(), *style.ROLES.values(), style.NEUTRAL}),
)
def test_every_colour_stands_out_from_both_pages(colour, page):
    assert contrast(colour, page) >= 3.0


@pytest.mark.parametrize(
    "colours", [VERSIONS, style.GROUPS, style.ROLES], ids=["versions", "groups", "roles"]
)
@pytest.mark.parametrize("vision", VISION)
def test_colours_stay_apart_for_the_colour_blind(colours, vision):
    seen = {
        name: lab(np.clip(VISION[vision] @ linear(colour), 0, 1))
        for name, colour in colours.items()
    }
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 15, (one, other)


def test_no_version_rests_on_colour_alone():
    assert len({marker for _, marker in looks("smollm2").values()}) == len(VERSIONS)
    assert style.version_colour("my own") == style.NEUTRAL and style.version_marker("my own") == "P"


@pytest.mark.parametrize(
    "colour", ["#ffffff", "#000000", "#4c64f5", "#fde725", "#440154", "#21918c"]
)
def test_ink_on_a_filled_cell_is_readable_and_keeps_its_colour(colour):
    assert contrast(style.ink_on(colour), colour) >= 4.0
    assert style.ink_on(colour) != "#000000", "pure black would follow the reader's theme"


def test_the_look_ends_with_its_block():
    before = plt.rcParams["axes.grid"], plt.rcParams["svg.hashsalt"]
    with style.look():
        assert plt.rcParams["svg.hashsalt"] == "entrack"
    assert (plt.rcParams["axes.grid"], plt.rcParams["svg.hashsalt"]) == before

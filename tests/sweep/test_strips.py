"""Strips: what is drawn lies where its number says, and is told in words too."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from judged import HARMS, HELPS

from entrack.stats.metrics import Estimate
from entrack.sweep.strips import LIMITS, MARKERS, TICKS, Row, Strips, across, fits

ROWS = (
    Row("It helps & <more>", (HELPS, HARMS), (0.5, -0.25)),
    Row("One set has no number", (None, HELPS)),
)
DRAWN = Strips("some", ("first", "second"), ROWS, "Two claims are drawn here.")


def percent(text):
    assert text.endswith("%")
    return float(text[:-1])


@pytest.fixture
def page():
    return ElementTree.fromstring(DRAWN.html)


def strips(page):
    return [item.find("svg") for item in page.iter("li")]


def test_a_place_is_a_share_of_the_axis():
    assert across(LIMITS[0]) == "0.0%" and across(LIMITS[1]) == "100.0%"
    assert percent(across(0)) == pytest.approx(100 * 1.05 / 2.5)


def test_a_mark_lies_at_its_number_and_its_line_spans_the_interval(page):
    first, second = strips(page)
    marks = first.findall("g")
    for mark, estimate, kind in zip(marks, (HELPS, HARMS), ("s0", "s1"), strict=True):
        line, shape = mark.find("line"), mark.find("use")
        assert mark.get("class") == kind
        assert (line.get("x1"), line.get("x2")) == (across(estimate.low), across(estimate.high))
        assert shape.get("x") == across(estimate.value)
        assert shape.get("y") == line.get("y1") == line.get("y2")
        assert mark.find("title").text.endswith(f"{estimate:+.2f}")
    (only,) = second.findall("g")
    assert only.get("class") == "s1", "a set without a number leaves its line empty"
    assert only.find("use").get("y") == marks[1].find("use").get("y")


def test_the_papers_numbers_are_stars_on_a_line_of_their_own(page):
    first, second = strips(page)
    stars = first.findall("use")
    assert [star.get("x") for star in stars] == [across(0.5), across(-0.25)]
    titles = [star.find("title").text for star in stars]
    assert titles == ["the paper: +0.50", "the paper: -0.25"]
    lowest = max(float(mark.find("use").get("y")) for mark in first.findall("g"))
    assert all(lowest < float(star.get("y")) < float(first.get("height")) for star in stars)
    assert not second.findall("use") and float(second.get("height")) < float(first.get("height"))


def test_every_strip_tells_its_numbers_in_words(page):
    first, second = strips(page)
    assert first.get("aria-label") == (
        f"first: {HELPS:+.2f}; second: {HARMS:+.2f}; the paper: +0.50, -0.25"
    )
    assert second.get("aria-label") == f"second: {HELPS:+.2f}"
    assert page.get("aria-label") == DRAWN.alt == DRAWN._repr_mimebundle_()["text/plain"]
    assert [item.find("p").text for item in page.iter("li")] == [row.text for row in ROWS]


def test_every_shape_that_is_used_is_in_the_legend(page):
    made = {path.get("id") for path in page.iter("path")}
    used = {use.get("href").removeprefix("#") for use in page.iter("use")}
    assert made == used == {"some-0", "some-1", "some-star"}
    legend = page.find("p")
    assert [part.find("svg").tail.strip() for part in legend] == ["first", "second", "the paper"]


def test_shapes_begin_again_where_there_are_more_sets():
    n = len(MARKERS) + 1
    many = Strips(
        "m", tuple(map(str, range(n))), (Row("A claim", (HELPS,) * n),), "One claim here."
    )
    page = ElementTree.fromstring(many.html)
    shapes = [path.get("d") for path in page.iter("path")]
    assert shapes == [*MARKERS, MARKERS[0]], "no star where the paper has no number"
    kinds = [mark.get("class") for mark in strips(page)[0].findall("g")]
    assert kinds == [f"s{i % len(MARKERS)}" for i in range(n)]
    sheet = (Path(__file__).parents[2] / "book/vendor/strips.css").read_text()
    assert all(f".{kind}" in sheet for kind in kinds), "a set without a colour has no interval"


def test_the_axis_is_labelled_above_and_below(page):
    axes = [div for div in page.iter("div") if div.get("class") == "axis"]
    assert len(axes) == 2
    for axis in axes:
        texts = axis.findall("svg/text")
        assert [text.text for text in texts] == ["-1", "-0.5", "0", "+0.5", "+1"]
        assert [text.get("x") for text in texts] == [across(tick) for tick in TICKS]


def test_what_lies_off_the_axis_does_not_fit():
    assert fits([HELPS, HARMS]) and not fits([HELPS, Estimate(9, 8, 10, 10)])
    assert not fits([Estimate(-0.9, -1.2, -0.6, 10)])


def test_without_rows_the_words_stand_alone():
    assert Strips("x", (), (), "No run <here> at all.").html == "<p>No run &lt;here&gt; at all.</p>"

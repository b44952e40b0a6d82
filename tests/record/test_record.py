"""What the claims come to together: counted, drawn beside the paper's numbers, and as the picture
that stands beside a link.
"""

import re
from html import unescape
from xml.etree import ElementTree

import pytest
from closeness import assert_printed
from judged import HARMS, HELPS, UNCLEAR, notebook
from judged import claim as judged

from entrack.book import pages
from entrack.book.chapters import project
from entrack.paper.claims import CLAIMS
from entrack.paper.claims import claim as declared
from entrack.record import beside_paper, counts, forest
from entrack.record.preview import save_preview
from entrack.stats.metrics import Estimate

VALUES = {"code": Estimate(0.24, 0.19, 0.28, 245), "boxes": Estimate(0.31, 0.27, 0.35, 245)}


def found(*claims):
    return pages.claims({"08_x": notebook(*claims)})


@pytest.fixture(scope="module")
def committed():
    return pages.claims(pages.read_notebooks(project().notebooks))


def test_a_claim_stands_beside_the_papers_number_in_the_same_unit():
    (row,) = beside_paper.compared(found(declared("improved_values", VALUES)))
    assert row.unit == beside_paper.GAIN
    assert {m.name: (m.value, m.low, m.high) for m in row.here} == {
        "code": (0.24, 0.19, 0.28),
        "boxes": (0.31, 0.27, 0.35),
    }
    assert {m.name: round(m.value, 2) for m in row.paper} == {"Goat-7B": 0.16, "FLoat-7B": 0.16}
    assert all(m.low == m.value == m.high for m in row.paper)


def test_what_was_not_measured_or_is_ours_is_not_drawn():
    ours = judged("mine", HELPS, paper="", ours=True)
    claims = found(declared("improved_values", None), judged("other", HELPS), ours)
    assert beside_paper.compared(claims) == []
    left = [c.record["slug"] for c in beside_paper.without_axis(claims)]
    assert left == ["improved_values", "other"]


def test_every_claim_that_is_drawn_is_declared():
    assert set(beside_paper._PAIRS) <= set(CLAIMS) and set(counts.EASY) <= set(CLAIMS)


@pytest.mark.parametrize("slug", sorted(beside_paper._PAIRS))
def test_the_papers_number_is_the_one_that_its_claim_tells(slug):
    """Less its floor or chance, where the claim tells one."""
    told = CLAIMS[slug].paper
    numbers = [float(n) for n in re.findall(r"[-+]?\d+\.\d+", told)]
    numbers += [float(n) / 100 for n in re.findall(r"(\d+)%", told)]
    floors = [float(n) for n in re.findall(r"(?:floor|chance) (\d\.\d+)", told)] + [0.0]
    possible = [(n - floor, 2 if floor else 1) for n in numbers for floor in floors]
    for value in beside_paper._PAIRS[slug].paper().values():
        nearest, rounded = min(possible, key=lambda given: abs(value - given[0]))
        assert_printed(value, nearest, decimals=2, half_units=rounded)


def test_the_number_of_a_claim_that_shares_a_unit_with_the_papers_is_told():
    which, paper = beside_paper.same_unit("circuit_exists")
    assert which == 1 and paper == {"Llama-7B": pytest.approx(1.0, rel=0.01)}
    assert beside_paper.same_unit("structure_place") == (0, {})


def test_a_drawing_has_its_words_and_every_mark(committed):
    rows = [r for r in beside_paper.compared(committed) if r.claim.record["finding"] == "iii"]
    tree = ElementTree.fromstring(forest.forest_html(rows, title="(iii) It does"))
    drawing = tree.find("svg")
    assert drawing.get("role") == "img" and "It does. " in drawing.get("aria-label")
    for row in rows:
        assert row.claim.record["text"] in drawing.get("aria-label")
    legend = 1
    assert len(list(drawing.iter("circle"))) == sum(len(r.here) for r in rows) + legend
    diamonds = [e for e in drawing.iter("svg") if e.get("class") == "paper"]
    assert len(diamonds) == sum(len(r.paper) for r in rows) + legend
    assert forest.forest_html([], title="none") == ""


def test_marks_lie_where_the_axis_says(committed):
    for row in beside_paper.compared(committed):
        marks = (*row.here, *row.paper)
        ticks = forest._ticks(min(m.low for m in marks), max(m.high for m in marks))
        assert 0 in ticks and ticks == sorted(ticks) and 2 <= len(ticks) <= 7
        assert ticks[0] <= min(m.low for m in marks) and max(m.high for m in marks) <= ticks[-1]
        assert forest._across(ticks[0], ticks) == forest.LEFT
        assert forest._across(ticks[-1], ticks) == forest.RIGHT


def test_lines_fit_a_phone(committed):
    tree = forest.forest_html(beside_paper.compared(committed), title="all")
    lines = re.findall(r'<text class="claim"[^>]*>([^<]*)<', tree)
    assert lines and max(len(unescape(line)) for line in lines) <= forest.COLUMN


def test_claims_are_counted_by_finding():
    claims = found(
        judged("a", HELPS, finding="i"),
        judged("b", HARMS, finding="i"),
        judged("c", UNCLEAR, finding="i", paper="", ours=True),
        judged("d", HELPS),
    )
    table = ElementTree.fromstring(counts.by_finding_html(claims)).find("table")
    rows = [["".join(cell.itertext()) for cell in row] for row in table.iter("tr")]
    assert [row[1:] for row in rows[1:]] == [
        ["the paper's", "1", "0", "1", "0", "0", "2"],
        ["ours", "0", "0", "0", "1", "0", "1"],
        ["the paper's", "1", "0", "0", "0", "0", "1"],
    ]
    assert rows[1][0] == rows[2][0] == "(i) The same circuit is there"


def test_claims_that_could_hardly_fail_stand_apart(committed):
    listed = ElementTree.fromstring(counts.easy_html(committed))
    assert len(listed) == len(counts.EASY)
    others = counts.without_easy(committed)
    assert len(others) == len(committed) - len(counts.EASY)


def test_the_picture_for_links_is_the_same_for_the_same_claims(committed, tmp_path):
    for name in ("one", "two"):
        save_preview(committed, tmp_path / f"{name}.png")
    save_preview(committed[:-5], tmp_path / "other.png")
    one, two, other = ((tmp_path / f"{n}.png").read_bytes() for n in ("one", "two", "other"))
    assert one == two != other
    assert one[16:24] == (1200).to_bytes(4) + (630).to_bytes(4)  # width and height of a PNG

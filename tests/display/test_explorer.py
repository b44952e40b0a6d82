"""The explorer's page: its data hold every combination and are the measured numbers; in a browser
it shows these numbers, by mouse and by keyboard, on a phone and in both colour schemes.
"""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, visit
from colours import contrast
from devtools import keys_pressed
from tiny_models import CIRCUIT, fine_tuned

from entrack.cross_model.cells import combinations_of, group_cell
from entrack.cross_model.explorer import KINDS, explore
from entrack.display.explorer import CircuitExplorer
from entrack.errors import FigureError, SiteError
from entrack.model.activations import mean_z
from entrack.sites import GROUPS
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.task.draws import examples
from entrack.task.prompts import encode

ROOT = Path(__file__).resolve().parents[2]
VENDOR = ROOT / "book" / "vendor"
STRONGEST = {name: heads[0] for name, heads in CIRCUIT.groups.items()}


@pytest.fixture(scope="module")
def explored(model, tmp_path_factory):
    """Two versions, each with the other as a donor, on seven prompts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENTRACK_CACHE", str(tmp_path_factory.mktemp("cache")))
        data = encode_counterfactuals(model.tokenizer, interchanges(1, split="evaluation"))
        means = mean_z(model, encode(model.tokenizer, examples(7, split="discovery")))
        models = {"plain": model, "tuned": replace(fine_tuned(), name="tiny/tuned")}
        cells = combinations_of(CIRCUIT, STRONGEST)
        found = {
            v: explore(
                m,
                data,
                circuit=CIRCUIT,
                cells=cells,
                means=means,
                donors=[other for other in models.values() if other is not m],
            )
            for v, m in models.items()
        }
    return found, data


@pytest.fixture(scope="module")
def explorer(model, explored):
    found, data = explored
    return CircuitExplorer(found, data, circuit=CIRCUIT, tokenizer=model.tokenizer)


def test_the_data_hold_every_combination_as_it_was_measured(model, explored, explorer):
    found, data = explored
    html = explorer._repr_mimebundle_()["text/html"]
    text = re.search(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)[1]
    held = json.loads(text)
    sets = {"".join(c for i, c in enumerate("ABCD") if n >> i & 1) for n in range(1, 16)}
    heads = {f"{GROUPS[name].letter} {head}" for name, head in STRONGEST.items()}
    assert set(held["cells"]) == sets | heads and len(held["cells"]) == 19
    assert [v["name"] for v in held["versions"]] == ["plain", "tuned"]
    assert held["versions"][0]["sources"] == ["another prompt", "tuned", "mean"]
    assert held["versions"][1]["sources"] == ["another prompt", "plain", "mean"]
    for version, measured in zip(held["versions"], found.values(), strict=True):
        probs = np.array(version["probs"])
        assert probs.shape == (3, 19, 7, len(KINDS)) == measured.probs.shape
        assert np.abs(probs / 1000 - measured.probs).max() <= 0.00051
        assert np.abs(np.array(version["own"]) / 1000 - measured.own).max() <= 0.00051
        top = np.array(held["words"])[np.array(version["top"])]
        decoded = [model.tokenizer.decode([token]).strip() for token in measured.top.ravel()]
        said = [word or "(blank)" for word in decoded]
        assert top.ravel().tolist() == said
        for name, values in measured.attention.items():
            shown = np.array(version["attention"][GROUPS[name].letter])
            assert np.abs(shown / 1000 - values).max() <= 0.00051
    for prompt, base, source in zip(
        held["prompts"], data.base.examples, data.source.examples, strict=True
    ):
        assert (prompt["right"], prompt["asked"]) == (base.answer, base.query)
        assert prompt["position"] == base.scene.objects[prompt["otherAsked"]]
        assert prompt["source"] == source.answer and prompt["otherText"] == source.text
        assert "".join(prompt["tokens"]) == base.role_text().text
        assert prompt["tokens"][prompt["rightAt"]].strip() == prompt["right"]
        assert prompt["tokens"][prompt["otherAt"]].strip() == prompt["position"]


def test_suggestions_are_where_their_effect_is_greatest(explored, explorer):
    found, data = explored
    first = found["plain"]
    look, name, repair = explorer.experiments
    gain = first.probs - first.own[:, None]
    cells = explorer.data["cells"]
    third = [i for i, p in enumerate(explorer.data["prompts"]) if p["otherAsked"] == 2]
    assert look.title == "Make the model look into the third box" and look.prompt in third
    assert gain[0, cells.index("B"), look.prompt, 1] == gain[0, cells.index("B"), third, 1].max()
    assert gain[0, cells.index("A"), name.prompt, 2] == gain[0, cells.index("A"), :, 2].max()
    wrong = first.own_top != data.base.answers.numpy()
    singles = [cells.index(letter) for letter in "ABCD"]
    assert wrong[repair.prompt] and repair.source == "tuned"
    best = gain[1, cells.index(repair.cell), repair.prompt, 0]
    assert best == gain[1][singles][:, wrong, 0].max()


def test_only_a_mistake_is_repaired(model, explored):
    """With one prompt answered wrong the repair is of that one; with none there is no repair."""
    found, data = explored
    answers = data.base.answers.numpy()
    for wrong in (2, 5, None):
        said = np.where(np.arange(len(data)) == wrong, answers + 1, answers)
        first = replace(found["plain"], own_top=said)
        page = CircuitExplorer(
            {"plain": first, "tuned": found["tuned"]},
            data,
            circuit=CIRCUIT,
            tokenizer=model.tokenizer,
        )
        assert [e.prompt for e in page.experiments[2:]] == ([] if wrong is None else [wrong])
        assert [i for i, p in enumerate(page.data["prompts"]) if not p["ownRight"]] == (
            [] if wrong is None else [wrong]
        )


def test_the_table_that_stands_in_is_the_first_suggestion(explorer):
    bundle = explorer._repr_mimebundle_()
    assert "<form hidden " in bundle["text/html"]  # until the script takes over
    first, version = explorer.experiments[0], explorer.data["versions"][0]
    cell = explorer.data["cells"].index(first.cell)
    for before, after in zip(
        version["own"][0][first.prompt], version["probs"][0][cell][first.prompt], strict=True
    ):
        assert f"{before / 10:.1f}%" in bundle["text/plain"]
        assert f"{after / 10:.1f}%" in bundle["text/html"].split('class="explorer-static"')[1]


def test_what_cannot_be_shown_is_refused_in_words(model, explored, monkeypatch):
    found, data = explored
    fewer = replace(found["tuned"], cells=(group_cell(CIRCUIT, "A"),))
    options = {"circuit": CIRCUIT, "tokenizer": model.tokenizer}
    with pytest.raises(FigureError, match="versions with different cells; the page has one set"):
        CircuitExplorer({"plain": found["plain"], "tuned": fewer}, data, **options)
    monkeypatch.setattr("entrack.display.explorer.MAX_BYTES", 1000)
    with pytest.raises(FigureError, match=r"an explorer of \d+ kB; at most 1 kB. Take fewer"):
        CircuitExplorer(found, data, **options)
    empty = CIRCUIT
    for name, heads in CIRCUIT.groups.items():
        empty = empty.without(name, heads)
    with pytest.raises(SiteError, match="the circuit of tiny has no heads; there is nothing to"):
        combinations_of(empty, {})


# -- in a browser
# --------------------------------------------------------------------------------------------------

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
THEME = """html { --pst-color-text-base: #222832; --pst-color-text-muted: #48566b;
 --pst-color-surface: #f3f4f5; --pst-color-border: #d1d5da; --pst-color-link: #176de8;
 --pst-color-background: #fff; }
html[data-theme=dark] { --pst-color-text-base: #ced6dd; --pst-color-text-muted: #9ca4af;
 --pst-color-surface: #222832; --pst-color-border: #48566b; --pst-color-link: #5ca3ff;
 --pst-color-background: #14181e; }
body { background: var(--pst-color-background); color: var(--pst-color-text-base);
 font-family: sans-serif; margin: 1rem; }"""


@pytest.fixture(scope="module")
def page(explorer, tmp_path_factory):
    """The explorer on a page of its own, with the theme's colours and the book's files."""
    folder = tmp_path_factory.mktemp("page")
    for name in ("circuit-explorer.js", "circuit-explorer.css", "entrack.css"):
        shutil.copy(VENDOR / name, folder)
    file = folder / "page.html"
    file.write_text(
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport"'
        f' content="width=device-width"><title>Explorer</title><style>{THEME}</style>'
        '<link rel="stylesheet" href="entrack.css"><link rel="stylesheet"'
        ' href="circuit-explorer.css"><script src="circuit-explorer.js"></script><body'
        f' class="bd-content">{explorer._repr_mimebundle_()["text/html"]}</body></html>'
    )
    return file


CLICKS = """async (page, window) => {
  const form = page.querySelector("form"), fields = form.elements, seen = [];
  const numbers = () => Array.from(page.querySelectorAll(".explorer-answers tbody tr"),
    (row) => Array.from(row.cells, (cell) => cell.textContent));
  const state = () => ({ prompt: fields.prompt.selectedIndex, version: fields.version.value,
    source: fields.source.value, head: fields.head.value,
    groups: Array.from(form.querySelectorAll("[name=group]:checked"), (box) => box.value).join(""),
    numbers: numbers(), said: page.querySelector(".explorer-result").textContent });
  const pick = (field, index) => {
    field.selectedIndex = index;
    field.dispatchEvent(new window.Event("change", { bubbles: true }));
  };
  seen.push(state());
  form.querySelectorAll("button").forEach((button) => { button.click(); seen.push(state()); });
  for (const version of [0, 1]) for (const source of [0, 1, 2]) for (const prompt of [0, 3, 6]) {
    pick(fields.version, version); pick(fields.source, source); pick(fields.prompt, prompt);
    form.querySelectorAll("[name=group]").forEach((box) => { box.click(); seen.push(state()); });
    pick(fields.head, 1 + (prompt + source) % 4);
    seen.push(state());
  }
  page.querySelector(".explorer-attention summary").click();
  await new Promise((done) => window.setTimeout(done, 200));
  const attention = Array.from(page.querySelectorAll(".explorer-attention tbody tr"),
    (row) => Array.from(row.cells, (cell) => cell.textContent));
  const ink = (theme) => {
    page.documentElement.dataset.theme = theme;
    const texts = ".explorer-result, .explorer-token, legend, td, select";
    return Array.from(page.querySelectorAll(texts), (e) => window.getComputedStyle(e).color);
  };
  const columns = Array.from(page.querySelectorAll(".explorer-answers thead th"),
    (head) => head.getBoundingClientRect().width);
  return { seen, attention, columns, wide: page.documentElement.scrollWidth,
    unlabelled: Array.from(form.querySelectorAll("input, select"),
      (field) => field.labels.length).filter((n) => n !== 1).length,
    live: page.querySelector(".explorer-result").getAttribute("aria-live"),
    fallback: page.querySelector(".explorer-static").hidden,
    light: ink("light"), dark: ink("dark") };
}"""


@pytest.fixture(scope="module")
def clicked(page, tmp_path_factory):
    found, console = visit([page], tmp_path_factory.mktemp("clicks"), measure=CLICKS)
    assert not console
    return found[page]


def shown_of(data, state):
    """The numbers and the word that belong to a state of the page, from the data."""
    version = next(v for v in data["versions"] if v["name"] == state["version"])
    source, prompt = version["sources"].index(state["source"]), state["prompt"]
    kept = range(5) if state["source"] == "another prompt" else (0, 3, 4)
    before = [f"{version['own'][source][prompt][k] / 10:.1f}%" for k in kept]
    label = state["head"] or state["groups"]
    if not label:
        return before, ["–"] * len(before), data["words"][version["said"][prompt]]
    cell = data["cells"].index(label)
    after = [f"{version['probs'][source][cell][prompt][k] / 10:.1f}%" for k in kept]
    return before, after, data["words"][version["top"][source][cell][prompt]]


@needs_browser
def test_the_page_shows_the_stored_numbers(explorer, clicked):
    assert len(clicked["seen"]) == 1 + 3 + 18 * 5
    assert len({json.dumps(state["numbers"]) for state in clicked["seen"]}) > 60
    for state in clicked["seen"]:
        before, after, word = shown_of(explorer.data, state)
        assert [row[1] for row in state["numbers"]] == before
        assert [row[2] for row in state["numbers"]] == after
        assert f"“{word}”" in state["said"]
        assert not (state["head"] and state["groups"])
    for state, experiment in zip(clicked["seen"][1:4], explorer.experiments, strict=True):
        assert (state["prompt"], state["source"], state["groups"]) == (
            experiment.prompt,
            experiment.source,
            experiment.cell,
        )
    last = clicked["seen"][-1]
    version = explorer.data["versions"][1]
    for place, row in enumerate(clicked["attention"]):
        values = [version["attention"][letter][last["prompt"]][place] for letter in "ABCD"]
        assert row[1:] == [f"{value / 10:.1f}%" for value in values]
    assert len(clicked["attention"]) == len(explorer.data["prompts"][last["prompt"]]["tokens"])


@needs_browser
def test_the_page_serves_a_phone_both_schemes_and_a_screen_reader(clicked):
    assert clicked["wide"] <= 390
    first, second = clicked["columns"][1:3]
    assert round(first - second) in (-1, 0, 1), "bars of one length, to a pixel"
    assert clicked["unlabelled"] == 0 and clicked["live"] == "polite" and clicked["fallback"]
    for colours, paper in ((clicked["light"], "#ffffff"), (clicked["dark"], "#14181e")):
        for colour in set(colours):
            red, green, blue = map(int, re.findall(r"\d+", colour)[:3])
            assert contrast(f"#{red:02x}{green:02x}{blue:02x}", paper) >= 4.5


@needs_browser
def test_the_keyboard_alone_is_enough(explorer, page, tmp_path):
    """Tab to the first button and press it; on to the prompt, one back; on to D, and add it."""
    look = explorer.experiments[0]
    tabs = ["Tab"] * len(explorer.experiments)
    keys = ["Tab", "Enter", *tabs, "ArrowUp", "Tab", "Tab", "Tab", "Tab", "Tab", "Space"]
    state = keys_pressed(page, keys, tmp_path, read=STATE)
    assert state["prompt"] == look.prompt - 1 and state["groups"] == "BD"
    before, after, word = shown_of(explorer.data, state)
    assert [row[1:] for row in state["numbers"]] == [
        list(x) for x in zip(before, after, strict=True)
    ]
    assert f"“{word}”" in state["said"] and state["focus"] == "D"


STATE = """(() => {
  const fields = document.querySelector("form").elements;
  return { prompt: fields.prompt.selectedIndex, version: fields.version.value,
    source: fields.source.value, head: fields.head.value, focus: document.activeElement.value,
    groups: Array.from(document.querySelectorAll("[name=group]:checked"), (b) => b.value).join(""),
    numbers: Array.from(document.querySelectorAll(".explorer-answers tbody tr"),
      (row) => Array.from(row.cells, (cell) => cell.textContent)),
    said: document.querySelector(".explorer-result").textContent };
})()"""

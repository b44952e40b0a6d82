"""The rendered book: builds without a warning or a network, and reads well offline, on a phone and
without eyes.
"""

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import jupytext
import pytest
import yaml
from browser import CHROMIUM, visit
from rendered_book import NOTEBOOKS, ROOT, network_can_be_cut

PROSE = [
    *sorted((ROOT / "book").glob("*.md")),
    *sorted((ROOT / "book/course").glob("*.md")),
    *sorted((ROOT / "notebooks").glob("[0-9A-Z][0-9]_*.py")),
]
MAX_PAGE = 1_000_000
MAX_BOOK = 25_000_000


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""


class Reader(HTMLParser):
    """All elements of a page in order, each with the text directly inside it."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[Element] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append(Element(tag, {key: value or "" for key, value in attrs}))

    def handle_data(self, data):
        if self.elements:
            self.elements[-1].text += data


@pytest.fixture(scope="session")
def pages(site) -> dict[Path, list[Element]]:
    """Every built page with its elements."""
    found = {
        path: Reader(path.read_text(encoding="utf-8")).elements
        for path in sorted(site.rglob("*.html"))
        if "_static" not in path.parts
    }
    assert len(found) > 3
    return found


def chapters() -> list[str]:
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    parts = toc.get("parts", [toc])
    return [toc["root"], *(entry["file"] for part in parts for entry in part["chapters"])]


def reading_pages(site: Path) -> list[Path]:
    return [site / f"{name}.html" for name in chapters()]


# -- state
# --------------------------------------------------------------------------------------------------


def test_the_status_page_calls_the_chapters_fresh_that_it_renders(site):
    """Though their pages leave out what a reader does not see, which their stamps count."""
    html = (site / "book/status.html").read_text()
    shown = re.findall(r"<td[^>]*>(fresh|stale|hollow|failed|unexecuted|out-of-order)</td>", html)
    assert len(shown) == len(list((ROOT / "notebooks").glob("[0-9A-Z][0-9]_*.py")))
    assert set(shown) == {"fresh"}


# -- contents
# --------------------------------------------------------------------------------------------------


def test_the_contents_list_what_there_is():
    listed = chapters()
    assert len(listed) == len(set(listed))
    for name in listed:
        assert (ROOT / f"{name}.md").is_file() or (ROOT / f"{name}.ipynb").is_file(), name
    assert {f"notebooks/{path.stem}" for path in NOTEBOOKS} <= set(listed), (
        "an executed chapter that no page shows"
    )


def test_the_build_needs_no_network(site):
    """`site` was built in a network namespace without any interface."""
    if not network_can_be_cut():
        pytest.skip("unshare -rn is not permitted here, so the build ran with the network on")
    assert (site / "index.html").is_file()


# -- offline
# --------------------------------------------------------------------------------------------------

LOADS = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "embed": ("src",),
    "object": ("data",),
    "track": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
    "form": ("action",),
    "input": ("src",),
}
LOADING_LINKS = {
    "stylesheet",
    "icon",
    "preload",
    "prefetch",
    "preconnect",
    "dns-prefetch",
    "modulepreload",
    "manifest",
    "shortcut",
}
OUTSIDE = re.compile(r"^\s*(https?:)?//", re.IGNORECASE)
CSS_LOAD = re.compile(
    r"""@import\s+(?:url\()?["']?([^"')]+)|url\(\s*["']?([^"')]+)""", re.IGNORECASE
)


def loads(element: Element) -> list[str]:
    """Addresses that a browser fetches for this element without being asked."""
    found = [
        element.attributes[name]
        for name in LOADS.get(element.tag, ())
        if name in element.attributes
    ]
    if element.tag == "link" and LOADING_LINKS & set(element.attributes.get("rel", "").split()):
        found.append(element.attributes.get("href", ""))
    styles = element.attributes.get("style", "") + (element.text if element.tag == "style" else "")
    return found + ["".join(match) for match in CSS_LOAD.findall(styles)]


def test_no_page_loads_anything_from_elsewhere(pages):
    outside = [
        (path.name, element.tag, address)
        for path, elements in pages.items()
        for element in elements
        for address in loads(element)
        if OUTSIDE.match(address)
    ]
    assert not outside


def test_no_inline_script_names_another_host(pages):
    for path, elements in pages.items():
        for element in elements:
            if element.tag == "script" and element.attributes.get("type", "") != "application/json":
                assert not re.search(r"""["'](https?:)?//\w""", element.text), (
                    path.name,
                    element.text[:200],
                )


def test_no_style_sheet_loads_anything_from_elsewhere(site):
    sheets = list(site.rglob("*.css"))
    assert sheets
    outside = [
        (sheet.name, "".join(match))
        for sheet in sheets
        for match in CSS_LOAD.findall(sheet.read_text(encoding="utf-8"))
        if OUTSIDE.match("".join(match))
    ]
    assert not outside


def test_every_file_that_a_page_loads_is_there(pages, site):
    missing = []
    for path, elements in pages.items():
        for element in elements:
            for address in loads(element):
                target = address.split("?")[0].split("#")[0]
                if (
                    target
                    and not target.startswith("data:")
                    and not (path.parent / target).exists()
                ):
                    missing.append((path.name, address))
    assert not missing


def test_scripts_come_only_to_the_pages_that_use_them(pages):
    for path, elements in pages.items():
        scripts = [
            e.attributes["src"].split("?")[0]
            for e in elements
            if e.tag == "script" and "src" in e.attributes
        ]
        live = any(e.attributes.get("class") == "live-figure" for e in elements)
        assert sum(name.endswith("plotly.min.js") for name in scripts) == live, path.name
        assert len(scripts) == len(set(scripts)), f"a script twice on {path.name}"


def test_links_between_pages_lead_somewhere(pages):
    broken = []
    for path, elements in pages.items():
        for element in elements:
            address = element.attributes.get("href", "") if element.tag == "a" else ""
            target, _, anchor = address.partition("#")
            if re.match(r"\w+:", address) or not address:
                continue
            other = (path.parent / target).resolve() if target else path
            if not other.exists():
                broken.append((path.name, address))
            elif (
                anchor
                and other in pages
                and not any(e.attributes.get("id") == anchor for e in pages[other])
            ):
                broken.append((path.name, address))
    assert not broken


# -- for everybody
# --------------------------------------------------------------------------------------------------


def test_every_image_has_words(pages):
    for path, elements in pages.items():
        for element in elements:
            if element.tag == "img":
                assert element.attributes.get("alt", "").strip(), (path.name, element.attributes)
            if element.attributes.get(
                "role"
            ) == "img" and "live-canvas" not in element.attributes.get("class", ""):
                assert len(element.attributes.get("aria-label", "").split()) >= 3, (
                    path.name,
                    element.attributes,
                )


@pytest.mark.skipif(not NOTEBOOKS, reason="no chapter has been executed yet")
def test_the_chapters_show_figures_of_both_kinds(pages):
    """Otherwise the tests of figures would have nothing to fail on."""
    classes = {
        element.attributes.get("class", "") for elements in pages.values() for element in elements
    }
    assert {"entrack-figure", "live-figure"} <= classes


def test_every_live_figure_has_words_and_its_data(pages):
    for path, elements in pages.items():
        classes = [element.attributes.get("class", "") for element in elements]
        canvases = [
            element for element in elements if element.attributes.get("class") == "live-canvas"
        ]
        assert len(canvases) == classes.count("live-figure") == classes.count("live-tables")
        for canvas in canvases:
            assert len(canvas.attributes["aria-label"].split()) >= 3, path.name


def test_headings_do_not_skip_a_level(pages, site):
    for path in reading_pages(site):
        article = next(
            i
            for i, e in enumerate(pages[path])
            if "bd-article" in e.attributes.get("class", "").split()
        )
        levels = [int(e.tag[1]) for e in pages[path][article:] if re.fullmatch("h[1-6]", e.tag)]
        assert levels.count(1) == 1, path.name
        assert all(
            after <= before + 1 for before, after in zip(levels, levels[1:], strict=False)
        ), (path.name, levels)


def test_pages_and_notebooks_stay_light(site):
    heavy = [
        (path.name, path.stat().st_size)
        for path in [*NOTEBOOKS, *reading_pages(site)]
        if path.stat().st_size > MAX_PAGE
    ]
    assert not heavy


def test_the_book_stays_light(site):
    files = [path for path in site.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MAX_BOOK


# -- numbers
# --------------------------------------------------------------------------------------------------

NOT_PROSE = re.compile(
    r"```.*?```|\$\$.*?\$\$|\{[\w:]+\}`[^`]*`|`[^`]*`|\$[^$\n]*\$|\]\([^)]*\)", re.DOTALL
)


def prose(path: Path) -> str:
    """Text that an author typed: no code, mathematics, roles, link targets or options."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        cells = jupytext.reads(text, fmt="py:percent").cells
        text = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return NOT_PROSE.sub(" ", text)


@pytest.mark.parametrize("path", PROSE, ids=lambda path: path.name)
def test_no_result_is_typed_into_prose(path):
    """A measured fraction or percentage is glued; a definition such as a threshold stands in `code`
    or mathematics.
    """
    typed = re.findall(r".{0,40}(?<![\w.])(?:0?\.\d+|\d+\.\d+\s?%)(?![\w.]).{0,20}", prose(path))
    assert not typed


# -- in a browser
# --------------------------------------------------------------------------------------------------

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")

MEASURE = """async (page, window) => {
  const root = page.documentElement;
  const inked = ".live-canvas .gtitle, .live-canvas .xtick text";
  const ink = () => Array.from(page.querySelectorAll(inked), (e) => e.style.fill);
  const figures = page.querySelectorAll(".live-figure").length;
  const drawn = page.querySelectorAll(".live-canvas .plot-container").length;
  const wide = Math.max(root.scrollWidth, page.body.scrollWidth);
  root.dataset.theme = "light"; await new Promise((done) => window.setTimeout(done, 300));
  const light = ink();
  root.dataset.theme = "dark"; await new Promise((done) => window.setTimeout(done, 600));
  const dark = ink();
  const csv = page.querySelectorAll(".live-csv").length;
  const figure = page.querySelector("svg.entrack-figure");
  return { figures, drawn, csv, wide, light, dark, text: window.getComputedStyle(page.body).color,
           ink: figure ? window.getComputedStyle(figure).color : null,
           maths: page.querySelectorAll(".math").length,
           typeset: page.querySelectorAll("mjx-container").length };
}"""


@pytest.fixture(scope="session")
def seen(site, tmp_path_factory):
    found, _ = visit(reading_pages(site), tmp_path_factory.mktemp("measured"), measure=MEASURE)
    return found


@needs_browser
def test_the_console_stays_quiet_from_the_file_system(site, tmp_path):
    search = site / "search.html"
    _, console = visit([*reading_pages(site), search], tmp_path)
    assert not console


@needs_browser
def test_no_page_is_wider_than_a_phone(seen):
    assert {path.name: page["wide"] for path, page in seen.items() if page["wide"] > 390} == {}


@needs_browser
def test_live_figures_are_drawn_and_offer_their_data(seen):
    for path, page in seen.items():
        assert page["drawn"] == page["csv"] == page["figures"], path.name


@needs_browser
def test_figures_follow_the_theme(seen):
    for path, page in seen.items():
        if page["ink"]:
            assert page["ink"] == page["text"], (
                f"{path.name}: drawn text in the dark has not the colour of the page's"
            )
        if page["light"]:
            assert not set(page["light"]) & set(page["dark"]), path.name


@needs_browser
def test_mathematics_is_typeset(seen):
    for path, page in seen.items():
        assert page["typeset"] >= page["maths"], path.name


def test_search_knows_every_page(site):
    index = (site / "searchindex.js").read_text(encoding="utf-8")
    docnames = json.loads(re.search(r'"docnames":\s*(\[.*?\])', index).group(1))
    assert set(chapters()) <= set(docnames)

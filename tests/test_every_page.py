"""Every page of the rendered book in a browser, once: on a laptop and on a phone, in light and in
dark, and with axe-core where it is at hand.
"""

import json

import pytest
from browser import CHROMIUM
from tabs import AXE, Tabs

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
LAPTOP, PHONE = 1300, 390
BAD = ("serious", "critical")

STATES = ((LAPTOP, "light"), (LAPTOP, "dark"), (PHONE, "dark"), (PHONE, "light"))

# Whole pages in light; in dark and on a phone what these can change.
RULES = {(LAPTOP, "light"): None, (LAPTOP, "dark"): ["color-contrast"]}
RULES[PHONE, "light"] = ["scrollable-region-focusable", "target-size"]

# What is wrong with the page as it is laid out now, as sentences.
MEASURE = """((labels) => {
  const found = { wide: [], cut: [], labels: [] };
  const root = document.documentElement;
  const wide = Math.max(root.scrollWidth, document.body.scrollWidth);
  if (wide > root.clientWidth) found.wide.push(`${wide} of ${root.clientWidth} px`);
  const told = (e) => `<${e.tagName.toLowerCase()} class="${e.getAttribute("class") || ""}"> ` +
    e.textContent.trim().replace(/\\s+/g, " ").slice(0, 60);
  const shown = (e) => e.getClientRects().length > 0;

  // A table, a block of code or a drawing ends inside the nearest box that scrolls or cuts.
  for (const wide of document.querySelectorAll("article :is(table, pre, svg.entrack-figure)")) {
    if (!shown(wide) || wide.closest(".live-canvas")) continue;
    let box = wide;
    const goes = wide.tagName === "PRE" ? wide.scrollWidth : wide.getBoundingClientRect().width;
    while (box && !/auto|scroll|hidden|clip/.test(getComputedStyle(box).overflowX))
      box = box.parentElement;
    const cuts = box && /hidden|clip/.test(getComputedStyle(box).overflowX);
    const room = (box || document.querySelector("article")).clientWidth;
    if ((cuts || !box || box === document.body) && goes > room + 1)
      found.cut.push(`${told(wide)}: ${goes} of ${room} px`);
  }

  // Two texts of one drawing on top of each other. matplotlib draws letters as shapes: a group that
  // is scaled holds a line of text.
  const texts = (svg) => [...svg.querySelectorAll("text"),
    ...[...svg.querySelectorAll("g[transform*=scale]")].filter((g) => g.querySelector("use"))];
  for (const svg of labels ? document.querySelectorAll("article svg") : []) {
    if (!shown(svg) || svg.closest("mjx-container")) continue;
    const boxes = [];
    for (const text of texts(svg)) {
      const turned = /rotate\\((-?[\\d.]+)/.exec(text.getAttribute("transform") || "");
      if (turned && Number(turned[1]) % 90 !== 0) continue;
      const style = getComputedStyle(text);
      const rect = text.getBoundingClientRect();
      if (style.visibility === "hidden" || Number(style.opacity) === 0 || rect.width < 1) continue;
      boxes.push([text, rect]);
    }
    for (let i = 0; i < boxes.length; i += 1) for (let j = 0; j < i; j += 1) {
      const [a, b] = [boxes[i][1], boxes[j][1]];
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1.5 && down > 0.35 * Math.min(a.height, b.height))
        found.labels.push(`${(svg.getAttribute("aria-label") || svg.closest("[aria-label]")
          ?.getAttribute("aria-label") || "?").slice(0, 70)}: ` +
          `"${boxes[j][0].textContent.trim()}" and "${boxes[i][0].textContent.trim()}"` +
          ` at ${Math.round(a.left)}, ${Math.round(a.top)}`);
    }
  }
  return found;
})"""

AXE_RUN = """axe.run(document, { preload: false, resultTypes: ["violations"], %s })
  .then((found) => found.violations.map((v) => [v.impact, v.id, v.nodes.map((node) =>
    node.target.join(" ") + ": " + (node.any[0] || node.all[0] || node.none[0]).message)]))"""


def complaints(tab: Tabs, rules) -> list[str]:
    """The serious and critical violations that axe-core finds on the page, by node."""
    if not tab.ask("typeof axe === 'object'"):
        tab.send("Runtime.evaluate", expression=AXE.read_text(encoding="utf-8"))
    only = f"runOnly: {json.dumps(rules)}" if rules else ""
    found = tab.ask(AXE_RUN % only)
    return [f"{rule} {node}" for impact, rule, nodes in found if impact in BAD for node in nodes]


BAD_PAGE = """<!doctype html><html lang="en"><title>Bad</title><style>
article { width: 300px } .box { overflow: hidden; width: 100px }
</style><body><main><h1>Bad</h1><article><div style="width: 2000px">wide</div>
<div class="box"><table><tr><td><div style="width: 400px">a cell</div></td></tr></table></div>
<svg width="200" height="40" role="img" aria-label="Two words on one place"><text x="5" y="20">one
</text><text x="9" y="22">two</text></svg><p style="color: #ccc">pale</p><input>
</article></main><script>console.error("planted")</script></body></html>"""


def test_what_is_wrong_is_seen(tmp_path):
    page = tmp_path / "bad.html"
    page.write_text(BAD_PAGE)
    with Tabs(tmp_path) as tab:
        tab.open(page, width=LAPTOP)
        found = tab.ask(f"{MEASURE}(true)")
        assert {kind: len(lines) for kind, lines in found.items()} == {
            "wide": 1,
            "cut": 1,
            "labels": 1,
        }
        assert tab.console == ["planted"]
        if AXE.is_file():
            told = complaints(tab, None)
            assert {line.split()[0] for line in told} == {"color-contrast", "label"}


@pytest.fixture(scope="module")
def seen(site, tmp_path_factory):
    """{page: what was found on it, by kind}: each page is opened once."""
    found = {}
    with Tabs(tmp_path_factory.mktemp("tabs")) as tab:
        for page in sorted(site.rglob("*.html")):
            moved = 'http-equiv="Refresh"' in page.read_text(encoding="utf-8")
            if "_static" in page.parts or moved:
                continue
            here = {"seconds": tab.open(page, width=LAPTOP), "axe": []}
            for width, theme in STATES:
                tab.resize(width)
                tab.theme(theme)
                if (width, theme) == (PHONE, "light"):
                    tab.wait(350)  # for the theme's script, which looks for what scrolls
                # text lies where it lies in both themes, and looking at all pairs takes its time
                told = tab.ask(f"{MEASURE}({json.dumps(theme == 'light')})")
                for kind, lines in told.items():
                    here.setdefault(kind, []).extend(f"{width} {theme}: {x}" for x in lines)
                here["console"] = list(tab.console)  # before axe, which has much to say itself
                if AXE.is_file() and (width, theme) in RULES:
                    lines = complaints(tab, RULES[width, theme])
                    here["axe"] += [f"{width} {theme}: {line}" for line in lines]
            found[str(page.relative_to(site))] = here
    assert len(found) > 3
    return found


def listed(seen, kind) -> str:
    return "\n".join(f"{page}: {line}" for page, here in seen.items() for line in here[kind])


def test_no_page_moves_sideways(seen):
    assert not listed(seen, "wide")


def test_what_is_wide_scrolls_in_its_box(seen):
    assert not listed(seen, "cut")


def test_no_label_of_a_drawing_lies_on_another(seen):
    assert not listed(seen, "labels")


def test_no_page_complains_in_the_console(seen):
    assert not listed(seen, "console")


@pytest.mark.skipif(not AXE.is_file(), reason="no axe.min.js; CONTRIBUTING.md says how to get it")
def test_axe_finds_nothing_serious(seen):
    assert not listed(seen, "axe")

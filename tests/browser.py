"""Headless Chromium on built pages: what it logs, and what a page looks like once its scripts have
run.
"""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

# What the theme and Sphinx log on every page, and what is no complaint.
HARMLESS = (
    "Got invalid theme mode: . Resetting to auto.",
    "[PST]: ",
    "[togglebutton]: Adding toggle buttons",
)

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
)

_HARNESS = """<!doctype html><body><script>
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const measure = %s;
(async () => {
  const found = {};
  for (const url of %s) {
    const frame = document.createElement("iframe");
    frame.style.cssText = "width:390px;height:2000px;border:0";
    const loaded = new Promise((done) => { frame.onload = done; });
    frame.src = url;
    document.body.append(frame);
    await loaded;
    await pause(1500);
    found[url] = measure ? await measure(frame.contentDocument, frame.contentWindow) : true;
    frame.remove();
  }
  document.body.innerHTML = "<pre id=found></pre>";
  document.getElementById("found").textContent = JSON.stringify(found);
})();
</script></body>"""


def visit(pages: list[Path], scratch: Path, *, measure: str = "null") -> tuple[dict, list[str]]:
    """Open each page at phone width, one after the other; returns {page: what `measure` gave} and
    the console's lines.

    measure: a JavaScript function of the page's document and window. Only then may scripts read
    across files; without it the pages stand under the rules of a reader's own browser."""
    harness = scratch / "harness.html"
    harness.write_text(_HARNESS % (measure, json.dumps([page.as_uri() for page in pages])))
    across = ["--allow-file-access-from-files"] if measure != "null" else []
    run = subprocess.run(
        [
            CHROMIUM,
            *_FLAGS,
            *across,
            f"--user-data-dir={scratch / 'profile'}",
            "--window-size=800,2100",
            f"--virtual-time-budget={4000 * len(pages) + 4000}",
            "--enable-logging=stderr",
            "--dump-dom",
            harness.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=170,
        stdin=subprocess.DEVNULL,
    )
    text = re.search(r'<pre id="found">(.*?)</pre>', run.stdout, re.DOTALL)
    assert text, f"the pages were not all visited; Chromium said: {run.stderr[-800:]}"
    lines = [line.split("CONSOLE", 1)[1] for line in run.stderr.splitlines() if "CONSOLE" in line]
    found = json.loads(html.unescape(text.group(1)))
    return {page: found[page.as_uri()] for page in pages}, [
        x for x in lines if not any(h in x for h in HARMLESS)
    ]

"""How soon the page of each chapter shows, opened from disk in headless Chromium.

In every round each page is opened once, in an order drawn anew, and an empty page beside them: what
else the machine does then falls on all of them alike, and the empty page says what the browser
alone takes. Three moments are taken, each in seconds from the start of the navigation:

    painted   the first text or picture is on the screen (first contentful paint)
    loaded    the load event: the page, its styles, its scripts and its data have been read
    drawn     mathematics is set and every live figure is drawn

    python benchmarks/page_load.py                          the pages in _build/html
    python benchmarks/page_load.py --pages folder --rounds 3
    python benchmarks/page_load.py --json benchmarks/results/page_load.json

Run it on a machine that does nothing else.
"""

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))
from browser import CHROMIUM  # noqa: E402
from tabs import Tabs  # noqa: E402

MOMENTS = ("painted", "loaded", "drawn")
EMPTY = "an empty page"
WIDTH = 1300  # CSS pixels, a laptop

# A paint is reported some frames after it happened.
READ = """new Promise((done) => {
  const [page] = performance.getEntriesByType("navigation");
  const look = (left) => {
    const [first] = performance.getEntriesByName("first-contentful-paint");
    if (first || !left) done([first ? first.startTime : null, page.loadEventStart]);
    else setTimeout(look, 20, left - 1);
  };
  look(250);
})"""


def seconds_of(tab: Tabs, page: Path) -> dict[str, float | None]:
    """The three moments of one opening; `painted` is None where nothing was painted."""
    tab.open(page, width=WIDTH)
    drawn = tab.ask("performance.now()")
    painted, loaded = tab.ask(READ)
    told = dict(zip(MOMENTS, (painted, loaded, drawn), strict=True))
    return {moment: None if ms is None else round(ms / 1000, 3) for moment, ms in told.items()}


def measured(pages: Mapping[str, Path], *, rounds: int, seed: int = 0) -> dict[str, dict]:
    """{name: {moment: seconds, one for each round}} of the pages, opened side by side."""
    found = {name: {moment: [] for moment in MOMENTS} for name in pages}
    order, draw = list(pages), random.Random(seed)
    with tempfile.TemporaryDirectory() as scratch, Tabs(Path(scratch)) as tab:
        for _ in range(rounds):
            draw.shuffle(order)
            for name in order:
                for moment, seconds in seconds_of(tab, pages[name]).items():
                    found[name][moment].append(seconds)
    return found


def browser_name() -> str:
    """Name and version of the browser, as it says itself."""
    told = subprocess.run([CHROMIUM, "--version"], capture_output=True, text=True)
    return told.stdout.strip() or "Chromium"


def told(name: str, times: Mapping[str, Sequence[float | None]]) -> str:
    """A line of the table: median and longest of each moment."""
    line = f"{name:<28}"
    for moment in MOMENTS:
        known = [seconds for seconds in times[moment] if seconds is not None]
        shown = f"{median(known):.2f} ({max(known):.2f})" if known else "-"
        line += f"{shown:>16}"
    return line


def main() -> int:
    """Open the pages and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pages", type=Path, default=ROOT / "_build" / "html", help="built pages")
    parser.add_argument("--rounds", type=int, default=5, help="how often each page is opened")
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    chapters = sorted((options.pages / "notebooks").glob("*.html"))
    if CHROMIUM is None or not chapters or options.rounds < 1:
        missing = (
            "no Chromium on this machine; install chromium, or run this elsewhere"
            if CHROMIUM is None
            else f"no chapters' pages in {options.pages}; build them first (make html)"
            if not chapters
            else f"{options.rounds} rounds; 1 or more are needed"
        )
        print(missing, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as scratch:
        empty = Path(scratch) / "empty.html"
        empty.write_text("<!doctype html><title>empty</title><p>Nothing.</p>")
        pages = {EMPTY: empty} | {page.stem: page for page in chapters}
        times = measured(pages, rounds=options.rounds)
    head = "".join(f"{moment:>16}" for moment in MOMENTS)
    print(f"seconds, median (longest) of {options.rounds}\n{'':<28}{head}")
    for name, found in times.items():
        print(told(name, found))
    if options.json:
        machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
        record = {"browser": browser_name(), "machine": machine, "rounds": options.rounds}
        record |= {"seconds": times}
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

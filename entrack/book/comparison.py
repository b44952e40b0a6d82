"""A run beside the published one, and one edition beside the next: every claim with its numbers and
verdict, then what differs.

`python -m entrack.book.comparison NAME` keeps the claims of the published chapters in
`book/editions/NAME.json`; the page of changes sets the next edition beside them."""

import json
import sys
from collections.abc import Iterator, Mapping

from nbformat import NotebookNode

from entrack.book.chapters import Project, glued, project
from entrack.book.pages import claims, read_notebooks
from entrack.display.tables import table_html
from entrack.errors import DataError, EntrackError
from entrack.store.digests import write_atomic

AGREES, DIFFERS, NEW, GONE = "agrees", "differs", "only in this run", "only published"


def compare(here: NotebookNode, published: NotebookNode | None) -> str:
    """What this run says beside the published notebook, as lines of text.

    A claim agrees when its verdict is the same; its numbers stand beside each other with their
    intervals. Then come the glued numbers that differ, with the difference. Without a published
    notebook, everything is new.
    """
    return "\n".join([*_claims(here, published), *_numbers(here, published)])


def agreement(here: NotebookNode, published: NotebookNode | None) -> str:
    """How many claims of a page come out as published, and which do not, in sentences of MyST."""
    now, then = _records(here), _records(published)
    if not now:
        return ""
    same = [slug for slug in now if _agreement(then.get(slug), now[slug]) == AGREES]
    others = "; ".join(str(now[slug]["text"]) for slug in now if slug not in same)
    told = f" Not: {others}." if others else ""
    return (
        f"{len(same)} of {len(now)} claims come out as published.{told} All numbers stand side by"
        " side on the page {doc}`../book/claims`."
    )


def beside_html(
    here: Mapping[str, NotebookNode], published: Mapping[str, NotebookNode], *, link: str
) -> str:
    """A table for each chapter: every claim with value, interval and verdict here and published.

    here, published: {chapter: notebook}; link: a format with {chapter} for the address of a page.
    """
    parts = []
    for chapter, notebook in here.items():
        now, then = _records(notebook), _records(published.get(chapter))
        rows = []
        for slug in dict.fromkeys([*then, *now]):
            old, new = then.get(slug), now.get(slug)
            told = [(r["measured"], r["verdict"]) if r else (None, "-") for r in (old, new)]
            text = (new or old)["text"]
            rows.append([text, *told[0], *told[1], _agreement(old, new)])
        if rows:
            header = ["claim", "published", "verdict", "this edition", "verdict", "agreement"]
            caption = f"Chapter {chapter[:2]}", link.format(chapter=chapter)
            parts.append(table_html(rows, header, caption=caption))
    return '<div class="entrack-claims">' + "".join(parts) + "</div>"


def keep(project: Project, name: str) -> None:
    """Write what each published claim says, measured and judged, to `book/editions/NAME.json`.

    Raises DataError for a name that an edition has already: an edition is not written twice."""
    path = project.root / "book" / "editions" / f"{name}.json"
    if path.exists():
        raise DataError(
            f"there is an edition {name} already; an edition keeps what it said. Name another."
        )
    text = json.dumps(_kept(read_notebooks(project.notebooks)), indent=1, ensure_ascii=False)
    write_atomic(path, (text + "\n").encode())


def changes_html(project: Project, notebooks: Mapping[str, NotebookNode]) -> str:
    """A table for each edition, the latest first: the claims whose verdict is not what it was in
    the edition before, and those that are new or gone.
    """
    files = sorted((project.root / "book" / "editions").glob("*.json"))
    editions = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}
    editions["this one"] = _kept(notebooks)
    names, parts = list(editions), []
    for before, name in reversed(list(zip(names, names[1:], strict=False))):
        old, new = editions[before], editions[name]
        rows = []
        for slug in dict.fromkeys([*new, *old]):
            now, then = new.get(slug), old.get(slug)
            if now is None or then is None or now["verdict"] != then["verdict"]:
                told = [(c["measured"], c["verdict"]) if c else ("-", "-") for c in (then, now)]
                rows.append([(now or then)["text"], *told[0], *told[1]])
        header = ["claim", f"edition {before}", "verdict", f"edition {name}", "verdict"]
        caption = f"From edition {before} to {name}: {len(rows)} of {len(new)} claims"
        parts.append(table_html(rows, header, caption=caption))
    return '<div class="entrack-claims">' + "".join(parts) + "</div>"


def _kept(notebooks: Mapping[str, NotebookNode]) -> dict[str, dict]:
    """{slug: the words of a claim and of what came of it}."""
    return {
        str(claim.record["slug"]): {
            "text": claim.record["text"],
            "measured": claim.record["measured"],
            "verdict": claim.verdict_words,
        }
        for claim in claims(notebooks)
    }


def _claims(here: NotebookNode, published: NotebookNode | None) -> Iterator[str]:
    now, then = _records(here), _records(published)
    if not now and not then:
        return
    yield "claims"
    for slug in dict.fromkeys([*then, *now]):
        old, new = then.get(slug), now.get(slug)
        yield f"  {(new or old)['text']}: {_agreement(old, new)}"
        for name, record in (("published", old), ("this run", new)):
            if record is not None:
                told = record["measured"] or "not run here"
                yield f"    {name:9}  {record['verdict']:18}  {told}"


def _agreement(old: Mapping | None, new: Mapping | None) -> str:
    if old is None:
        return NEW
    if new is None:
        return GONE
    return AGREES if old["verdict"] == new["verdict"] else DIFFERS


def _records(notebook: NotebookNode | None) -> dict[str, Mapping]:
    found = claims({"": notebook}) if notebook is not None else []
    return {str(claim.record["slug"]): claim.record for claim in found}


def _numbers(here: NotebookNode, published: NotebookNode | None) -> Iterator[str]:
    now, then = glued(here), glued(published) if published is not None else {}
    changed = [name for name in sorted({*now, *then}) if now.get(name) != then.get(name)]
    if not changed:
        yield "no glued number differs"
        return
    width = max(len("number"), *map(len, changed))
    yield f"{'number':{width}}  {'published':>12}  {'this run':>12}  {'difference':>12}"
    for name in changed:
        before, after = then.get(name), now.get(name)
        both = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (before, after))
        gap = f"{after - before:+.4g}" if both else ""
        yield f"{name:{width}}  {_short(before):>12}  {_short(after):>12}  {gap:>12}"


def _short(value: object) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(
            "entrack: one name for the edition is needed, such as 2. Give it behind the module."
        )
    try:
        keep(project(), sys.argv[1])
    except EntrackError as error:
        sys.exit(f"entrack: {error}")

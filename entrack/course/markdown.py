"""MyST as the pages write it -> the plain Markdown that JupyterLab and Colab show."""

import html
import posixpath
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Protocol

from entrack.book.chapters import Project
from entrack.course.fences import Fence, blocks
from entrack.course_errors import ExerciseError

_ROLE = re.compile(r"\{(?P<role>[\w:-]+)\}`(?P<text>[^`]+)`")
_TITLED = re.compile(r"(?P<title>.+?)\s*<(?P<target>[^<>]+)>", re.DOTALL)
_TARGET = re.compile(r"^\([\w-]+\)=\n", re.MULTILINE)
_EQUATION = re.compile(r"\$\$[ ]*\((?P<name>[\w:-]+)\)[ ]*$", re.MULTILINE)
_NOTES = {"admonition", "note", "tip", "hint", "warning", "important", "caution", "seealso"}
_HTML_TAG = re.compile(r"<[^>]+>")
_ENTRY = re.compile(r"@\w+\{(?P<key>[^,\s]+),(?P<fields>.*?)\n\}", re.DOTALL)
_SOLUTIONS = {"solution", "solution-start", "solution-end"}


class Numbers(Protocol):
    """What `References` offers: titles, numbers and sources by name."""

    def title(self, page: str) -> str: ...
    def figure(self, name: str) -> str: ...
    def equation(self, name: str) -> str: ...
    def citation(self, key: str) -> tuple[str, str]: ...


@dataclass(frozen=True)
class Plain:
    """A writer of plain Markdown for one chapter.

    Attributes:
        chapter: its name; links are read from its folder.
        glued: {name: value} that its prose may use.
        numbers: of the built pages.
        chapters: names of the notebooks that lie beside it in the edition, which links lead to.
    """

    chapter: str
    glued: Mapping[str, object]
    numbers: Numbers
    chapters: frozenset[str]

    def text(self, text: str) -> str:
        """`text` without directives and roles; solutions stand under a heading of their own.

        Raises ExerciseError for a directive or role that this does not know, a value that no cell
        glued, and a page, figure, equation or source that is not there."""
        pieces = [self._block(b) if isinstance(b, Fence) else self._prose(b) for b in blocks(text)]
        return "\n\n".join(piece for piece in (p.strip("\n") for p in pieces) if piece.strip())

    def exercises_only(self, text: str, labels: Collection[str]) -> str:
        """The exercises of `text` that have one of `labels`, and nothing between them."""
        wanted = [b for b in blocks(text) if isinstance(b, Fence) and b.name == "exercise"]
        return "\n\n".join(self._block(b) for b in wanted if b.options["label"] in labels)

    def _block(self, fence: Fence) -> str:
        if fence.name == "exercise":
            kind = fence.options.get("class", "")
            about = f" ({kind}, `{fence.options['label']}`)" if kind else ""
            return f"### Exercise: {fence.argument}{about}\n\n{self.text(fence.body)}"
        if fence.name in _SOLUTIONS:
            heading = "" if fence.name == "solution-end" else f"**Solution of `{fence.argument}`**"
            return f"{heading}\n\n{self.text(fence.body)}"
        if fence.name in _NOTES:
            return self._note(fence)
        if fence.name == "math":
            return f"$$\n{fence.body}\n$$"
        raise ExerciseError(
            f"{self.chapter} has a directive {{{fence.name}}}, which plain Markdown cannot say;"
            f" known are exercise, solution, math and {', '.join(sorted(_NOTES))}. Use one of"
            " these, or teach entrack.course.markdown the new one."
        )

    def _note(self, fence: Fence) -> str:
        title = self._prose(fence.argument) or fence.name.capitalize()
        body = self.text(fence.body)
        if "dropdown" in fence.options.get("class", ""):
            return f"<details><summary>{title}</summary>\n\n{body}\n\n</details>"
        quoted = "\n".join(f"> {line}".rstrip() for line in body.splitlines())
        return f"> **{title}**\n>\n{quoted}"

    def _prose(self, text: str) -> str:
        text = _TARGET.sub("", text)
        text = _EQUATION.sub(lambda m: f"\\tag{{{self.numbers.equation(m['name'])[1:-1]}}}$$", text)
        return _ROLE.sub(lambda m: self._role(m["role"], " ".join(m["text"].split())), text)

    def _role(self, role: str, text: str) -> str:
        titled = _TITLED.fullmatch(text)
        title, target = (titled["title"], titled["target"]) if titled else ("", text)
        if role == "glue:text":
            return self._value(text)
        if role == "doc":
            return self._link(target, title)
        if role == "numref":
            number = self.numbers.figure(target)
            return title.replace("%s", number.split()[-1]) if title else number
        if role == "eq":
            return self.numbers.equation(target)
        if role == "ref" or role == "term":
            return f"*{title or target}*"
        if role == "math":
            return f"${text}$"
        if role in ("cite:p", "cite:t"):
            sources = [self.numbers.citation(key.strip()) for key in text.split(",")]
            if role == "cite:t":
                return ", ".join(f"{authors} ({year})" for authors, year in sources)
            return f"({'; '.join(f'{authors}, {year}' for authors, year in sources)})"
        raise ExerciseError(
            f"{self.chapter} has a role {{{role}}}, which plain Markdown cannot say; known are"
            " glue:text, doc, numref, eq, ref, term, math, cite:p and cite:t. Use one of these, or"
            " teach entrack.course.markdown the new one."
        )

    def _value(self, text: str) -> str:
        name, _, form = text.partition(":")
        if name not in self.glued:
            raise ExerciseError(
                f"{self.chapter} shows {name!r}, which none of its visible cells glues; glue it"
                " outside every solution, or move the sentence into the solution."
            )
        return format(self.glued[name], form)

    def _link(self, target: str, title: str) -> str:
        page = posixpath.normpath(posixpath.join("notebooks", target.removesuffix(".md")))
        title = title or self.numbers.title(page)
        folder, name = posixpath.split(page)
        if folder == "notebooks" and name in self.chapters:
            return f"[{title}]({name}.ipynb)"
        return f"*{title}*"


@dataclass(frozen=True)
class References:
    """The references of one book, read from `_build/html` and `book/references.bib`.

    Attributes:
        project: whose book.
    """

    project: Project

    def title(self, page: str) -> str:
        """The first heading of the built page `page`, such as "notebooks/01_task".

        Raises ExerciseError where the page is not built."""
        found = re.search(r'<h1>([^\n]*?)<a class="headerlink"', self._html(page))
        return (
            html.unescape(_HTML_TAG.sub("", found[1])).strip()
            if found
            else posixpath.basename(page)
        )

    def figure(self, name: str) -> str:
        """The number that the built pages give the figure `name`, such as "Fig. 4"."""
        return self._number(rf'<figure[^>]* id="{re.escape(name)}"', "caption-number", name)

    def equation(self, name: str) -> str:
        """The number that the built pages give the equation `name`, such as "(1)"."""
        return self._number(rf'id="equation-{re.escape(name.lower())}"', "eqno", name)

    def citation(self, key: str) -> tuple[str, str]:
        """Authors and year of a source: ("Prakash et al.", "2024").

        Raises ExerciseError for a key that the bibliography does not have."""
        if key not in self._sources:
            raise ExerciseError(
                f"no source {key!r} in book/references.bib; there are"
                f" {', '.join(sorted(self._sources))}. Cite one, or add it."
            )
        return self._sources[key]

    def _html(self, page: str) -> str:
        path = self.project.build / "html" / f"{page}.html"
        if not path.is_file():
            raise ExerciseError(
                f"no built page {page}.html in _build/html; titles and numbers come from the built"
                " pages. Run `make html` first, or mend the link."
            )
        return _text(path, path.stat().st_mtime_ns)

    def _number(self, anchor: str, kind: str, name: str) -> str:
        for path in sorted((self.project.build / "html").rglob("*.html")):
            text = _text(path, path.stat().st_mtime_ns)
            if place := re.search(anchor, text):
                number = re.compile(rf'class="{kind}">(.*?)<').search(text, place.end())
                if number:
                    return html.unescape(number[1]).strip()
        raise ExerciseError(
            f"no built page has {name!r}; numbers come from the built pages. Run `make html`"
            " first, or mend the reference."
        )

    @cached_property
    def _sources(self) -> dict[str, tuple[str, str]]:
        path = self.project.root / "book" / "references.bib"
        text = path.read_text() if path.is_file() else ""
        found = {}
        for entry in _ENTRY.finditer(text):
            fields = dict(re.findall(r"(\w+)\s*=\s*\{(.*)\},?\s*$", entry["fields"], re.MULTILINE))
            names = [name.partition(",")[0] for name in fields.get("author", "").split(" and ")]
            authors = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
            found[entry["key"]] = (authors.strip("{} "), fields.get("year", "n.d."))
        return found


@cache
def _text(path: Path, mtime_ns: int) -> str:
    return path.read_text()

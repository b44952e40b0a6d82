"""A built page as a tree of elements, from which slides are cut."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import unescape
from html.parser import HTMLParser

_NAME = re.compile(r"<([^\s/>]+)")
_VOID = set("area base br col embed hr img input link meta source track wbr".split())


@dataclass
class Element:
    """An element as it was written, with what stands in it.

    Attributes:
        start: its start tag; "" for the whole page.
        attributes: {name: value}, names in small letters.
        children: elements and text, character references as they were written.
        closed: whether an end tag belongs to it.
    """

    start: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    children: "list[Element | str]" = field(default_factory=list)
    closed: bool = True

    @property
    def name(self) -> str:
        """Its tag, as it was written; "" for the whole page."""
        return self.start and _NAME.match(self.start)[1]

    def walk(self) -> "Iterator[Element]":
        """Itself and all elements in it, in the order of the page."""
        yield self
        for child in self.children:
            if isinstance(child, Element):
                yield from child.walk()

    def text(self) -> str:
        """Its words, without those of links to the place itself."""
        parts = (c if isinstance(c, str) else c.text() for c in self.children)
        return "" if _is_mark(self) else unescape("".join(parts))

    def html(self) -> str:
        """Its source. Links become their words: a slide may be read where the book is not."""
        if _is_mark(self):
            return ""
        inner = self.inner_html()
        return inner if self.name == "a" else f"{self.start}{inner}{self._end}"

    def inner_html(self) -> str:
        """The same of what stands in it."""
        return "".join(c if isinstance(c, str) else c.html() for c in self.children)

    @property
    def _end(self) -> str:
        return f"</{self.name}>" if self.start and self.closed else ""


def read_page(source: str) -> Element:
    """The text of a built page, its `<article>`, without what the theme puts around it.

    A page without an article is taken whole."""
    start = source.find('<article class="bd-article')
    end = source.find("</article>", start)
    parser = _Parser()
    parser.feed(source[start:end] if 0 <= start < end else source)
    parser.close()
    return parser.open[0]


class _Parser(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=False)
        self.open = [Element()]

    def _add(self, child: Element | str) -> None:
        self.open[-1].children.append(child)

    def handle_starttag(self, tag, attrs):
        void = tag in _VOID
        made = Element(self.get_starttag_text(), {k: v or "" for k, v in attrs}, closed=not void)
        self._add(made)
        if not void:
            self.open.append(made)

    def handle_startendtag(self, tag, attrs):
        self._add(Element(self.get_starttag_text(), {k: v or "" for k, v in attrs}, closed=False))

    def handle_endtag(self, tag):
        names = [element.name.lower() for element in self.open]
        if tag in names:
            last = len(names) - 1 - names[::-1].index(tag)
            del self.open[last:]

    def handle_data(self, data):
        self._add(data)

    def handle_entityref(self, name):
        self._add(f"&{name};")

    def handle_charref(self, name):
        self._add(f"&#{name};")


def _is_mark(element: Element) -> bool:
    """Whether it is the sign beside a heading or figure that links to it."""
    return element.name == "a" and "headerlink" in element.attributes.get("class", "").split()

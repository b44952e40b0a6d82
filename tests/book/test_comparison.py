"""A run beside the published one."""

from xml.etree import ElementTree

import nbformat
import pytest
from judged import HARMS, HELPS, claim, notebook

from entrack.book.chapters import Project
from entrack.book.comparison import changes_html, compare, keep
from entrack.errors import DataError


def glueing(made, **values):
    """The notebook with a cell that glues `values`."""
    outputs = [
        nbformat.v4.new_output(
            "display_data",
            {"application/papermill.record/text/plain": repr(value)},
            metadata={"scrapbook": {"name": name}},
        )
        for name, value in values.items()
    ]
    made.cells.append(nbformat.v4.new_code_cell("y", outputs=outputs))
    return made


def test_claims_stand_beside_the_published_ones():
    then = notebook(claim("a", HELPS), claim("b", HELPS), claim("gone", HELPS))
    now = notebook(claim("a", HELPS), claim("b", {"code": HARMS}), claim("new", None))
    lines = [line.split("  ") for line in compare(now, then).splitlines()]
    told = [[part.strip() for part in line if part.strip()] for line in lines]
    assert told[:10] == [
        ["claims"],
        ["a < b: agrees"],
        ["published", "replicates", "+0.15 [+0.10, +0.20]"],
        ["this run", "replicates", "+0.15 [+0.10, +0.20]"],
        ["b < b: differs"],
        ["published", "replicates", "+0.15 [+0.10, +0.20]"],
        ["this run", "does not replicate", "-0.15 [-0.20, -0.10] (code)"],
        ["gone < b: only published"],
        ["published", "replicates", "+0.15 [+0.10, +0.20]"],
        ["new < b: only in this run"],
    ]
    assert told[10] == ["this run", "not run", "not run here"]


def test_glued_numbers_that_differ_are_told_and_others_are_not():
    then = glueing(notebook(), same=3, size=24, word="A", old=1)
    now = glueing(notebook(), same=3, size=21.5, word="B")
    assert [line.split() for line in compare(now, then).splitlines()] == [
        ["number", "published", "this", "run", "difference"],
        ["old", "1", "-"],
        ["size", "24", "21.5", "-2.5"],
        ["word", "A", "B"],
    ]
    assert compare(then, then) == "no glued number differs"


def test_without_a_published_notebook_everything_is_new():
    told = compare(glueing(notebook(claim("a", HELPS)), size=2), None)
    assert "a < b: only in this run" in told and "size" in told


def test_an_edition_beside_the_one_before_tells_what_moved_and_what_is_new(tmp_path):
    book = Project(tmp_path)
    book.notebooks.mkdir()
    nbformat.write(
        notebook(claim("a", HELPS), claim("b", HELPS), claim("gone", HELPS)),
        book.notebooks / "01_x.ipynb",
    )
    keep(book, "1")
    now = {"01_x": notebook(claim("a", HELPS), claim("b", HARMS), claim("new", HELPS))}
    tree = ElementTree.fromstring(changes_html(book, now))
    rows = [["".join(cell.itertext()) for cell in row] for row in tree.iter("tr")]
    helps, harms = (
        ("+0.15 [+0.10, +0.20]", "replicates"),
        ("-0.15 [-0.20, -0.10]", "does not replicate"),
    )
    assert rows[1:] == [
        ["b < b", *helps, *harms],
        ["new < b", "-", "-", *helps],
        ["gone < b", *helps, "-", "-"],
    ]
    assert "From edition 1 to this one: 3 of 3 claims" in "".join(tree.itertext())
    with pytest.raises(DataError, match="there is an edition 1 already; an edition keeps what it"):
        keep(book, "1")

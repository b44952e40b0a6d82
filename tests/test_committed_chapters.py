"""The chapters that are committed: every one executed, by today's code, and light enough to
read.
"""

import pytest

from entrack.book.chapters import project

CHAPTERS = project().chapters()


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[c.name for c in CHAPTERS])
def test_a_committed_chapter_is_fresh(chapter):
    state = chapter.state()
    assert state.fresh, (
        f"{chapter.name} is {state.name}: {state.reason}. Mend with: entrack build --publish"
        f" {chapter.name}"
    )


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[c.name for c in CHAPTERS])
def test_a_committed_chapter_is_under_a_megabyte(chapter):
    assert chapter.notebook.stat().st_size < 1_000_000


def test_the_book_has_its_nine_chapters_in_order():
    assert [c.name[:2] for c in CHAPTERS] == [f"{n:02}" for n in range(1, 10)]

"""The small book with one chapter more, which has a measurement and two exercises."""

from pathlib import Path

import jupytext
from small_book import small_book

from entrack.book.chapters import Project
from entrack.book.notebooks import normalise
from entrack.course.sheets import Sheet, read_sheet

SOURCE = '''\
# %% [markdown]
# # Means
#
# See {doc}`02_show`.

# %% tags=["parameters"]
n: int = 2  # how many [1, 9]

# %%
from entrack.shapes import glue

total = sum(range(n))
glue("total", total)

# %% [markdown]
# The total is {glue:text}`total:.1f`.

# %% tags=["exercise-setup"]
import functools

from entrack.course.checks import check

# %% [markdown]
# ::::{exercise} Mean of a list
# :label: ex-mean
# :class: write
#
# Write the mean, **not** rounded.
#
# :::{admonition} Hint
# :class: dropdown
# Divide.
# :::
# ::::

# %% [markdown] tags=["teacher", "ex-mean"]
# Ask what an empty list should give, before anybody runs it.

# %% [markdown]
# :::{solution-start} ex-mean
# :class: dropdown
# :::

# %% tags=["answer", "ex-mean"]
@functools.cache
def mean(*numbers):
    """Mean of some numbers."""
    total_of_numbers = sum(numbers)
    return total_of_numbers / len(numbers)


# %%
glue("secret_mean", 7654.25)

# %% [markdown]
# Division, not floor division: {glue:text}`secret_mean`.
#
# :::{solution-end}
# :::

# %% tags=["check", "ex-mean"]
with check("ex-mean", "the mean of 1, 2 and 3 is 2"):
    assert mean(1, 2, 3) == 2

with check("ex-mean", "halves survive"):
    assert mean(1, 2) == 1.5, "it was rounded"

# %% tags=["hidden-test", "ex-mean"]
with check("ex-mean", "negative numbers count as well"):
    assert mean(-7, -8) == -7.5

# %% tags=["wrong-answer", "ex-mean"]
# slip: floor division
def mean(*numbers):
    return sum(numbers) // len(numbers)


# %% tags=["wrong-answer", "ex-mean"]
# slip: the sum is not
#   divided
def mean(*numbers):
    return sum(numbers)


# %% [markdown]
# :::{exercise} In words
# :label: ex-words
#
# Why divide?
# :::
#
# :::{solution} ex-words
# Because a mean does not grow with the list.
# :::
'''


def taught_book(root: Path) -> Project:
    """The small book and `notebooks/03_means.py` under `root`."""
    project = small_book(root)
    (project.notebooks / "03_means.py").write_text(SOURCE)
    with open(root / "_toc.yml", "a") as toc:
        toc.write("- file: notebooks/03_means\n")
    config = root / "_config.yml"
    config.write_text(
        config.read_text()
        + "parse:\n  myst_enable_extensions: [colon_fence]\n"
        + "sphinx:\n  extra_extensions: [sphinx_exercise]\n"
    )
    return project


def sheet_of(source: str = SOURCE) -> Sheet:
    """The chapter whose text is `source`, as the course sees it."""
    return read_sheet("03_means", normalise(jupytext.reads(source, fmt="py:percent")))


def edited(*changes: tuple[str, str]) -> str:
    """The chapter's text with each first text, which must stand in it, replaced by the second."""
    text = SOURCE
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    return text

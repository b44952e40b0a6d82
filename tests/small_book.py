"""A book of two chapters with a package of its own, made in a temporary folder: what the chapter
tests work on.
"""

from pathlib import Path

from entrack.book.chapters import Project

FILES = {
    "entrack/__init__.py": "",
    "entrack/doubling.py": (
        '"""Twice."""\n\n\ndef double(x):\n    """Two times x."""\n    return 2 * x\n'
    ),
    "entrack/shapes.py": (
        "from IPython.display import display\n\n\ndef show(text):\n   "
        " display({'text/html': f'<p>{text}</p>', 'text/plain': text}, raw=True)\n\n\n"
        "def glue(name, value):\n   "
        ' display({"application/papermill.record/text/plain": repr(value)}, raw=True,\n           '
        ' metadata={"scrapbook": {"name": name, "mime_prefix": "application/papermill.record/"}})\n'
    ),
    "models/tiny.json": '{"versions": {"base": {}, "other": {}}}\n',
    "models/tiny/base/card.json": "{}\n",
    "notebooks/01_double.py": (
        "# %% [markdown]\n# # Doubling\n# A sentence of prose.\n\n"
        '# %% tags=["parameters"]\n'
        "n: int = 3  # what to double [0, 9]\n"
        'word: str = "a"  # what to say {a, b}\n\n'
        "# %%\nimport sys\n\nfrom entrack.doubling import double\n\n"
        'print(double(n))\nprint(word)\nprint("waiting", file=sys.stderr)\n\n'
        "# %%\n{1: double(n)}\n"
    ),
    "notebooks/02_show.py": (
        "# %% [markdown]\n# # Showing\n\n"
        '# %% tags=["parameters"]\nfamily: str = "tiny"  # model family\n\n'
        "# %%\n# figure: fig-line\n# caption: A line\n#   that rises.\n"
        'from entrack.shapes import glue, show\n\nshow("a figure")\n\n'
        '# %%\nglue("answer", 42)\n\n'
        "# %% [markdown]\n# The answer is {glue:text}`answer`.\n"
    ),
    "book/intro.md": (
        "# A small book\n\nOnce {glue:text}`../notebooks/02_show.ipynb::answer:d` was the answer.\n"
    ),
    "_toc.yml": (
        "format: jb-book\nroot: book/intro\nchapters:\n- file: notebooks/01_double\n- file:"
        " notebooks/02_show\n"
    ),
    "_config.yml": (
        "title: Small\nonly_build_toc_files: true\nexecute:\n  execute_notebooks: 'off'\n"
    ),
}


def small_book(root: Path) -> Project:
    """Write the files under `root`; none of the chapters is executed."""
    for name, text in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Project(root)


def edit(path: Path, before: str, after: str) -> None:
    """Replace `before`, which must stand in the file, by `after`."""
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))

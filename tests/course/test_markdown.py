"""MyST becomes plain Markdown, by the built pages' own titles and numbers."""

import pytest
from small_book import small_book

from entrack.course.markdown import Plain, References
from entrack.course_errors import ExerciseError

PAGE = (
    '<section><h1>The <em>task</em> &amp; more<a class="headerlink" href="#x">#</a></h1>'
    '<figure class="align-default" id="fig-line"><figcaption><p>'
    '<span class="caption-number">Fig. 4 </span></p></figcaption></figure>'
    '<div class="math" id="equation-loss"><span class="eqno">(2)<a></a></span></div></section>'
)
BIB = (
    "@misc{one2020a,\n  author = {One, Ann},\n  year = {2020}\n}\n\n"
    "@misc{two2021b,\n  author = {One, Ann and Two, Ben},\n  year = {2021},\n  x = {y}\n}\n\n"
    "@misc{many2022,\n  author = {Van Many, A and B, B and C, C},\n  year = {2022}\n}\n"
)


@pytest.fixture
def plain(tmp_path):
    project = small_book(tmp_path)
    (tmp_path / "_build/html/notebooks").mkdir(parents=True)
    (tmp_path / "_build/html/notebooks/01_double.html").write_text(PAGE)
    (tmp_path / "_build/html/notebooks/09_gone.html").write_text(PAGE)
    (tmp_path / "book/references.bib").write_text(BIB)
    values = {"share": 0.256, "name": "tiny"}
    return Plain("02_show", values, References(project), frozenset({"01_double"}))


@pytest.mark.parametrize(
    "myst, markdown",
    [
        ("{glue:text}`share:.2f` of {glue:text}`name`", "0.26 of tiny"),
        ("{doc}`01_double`", "[The task & more](01_double.ipynb)"),
        ("{doc}`the first <01_double>`", "[the first](01_double.ipynb)"),
        ("{doc}`09_gone`", "*The task & more*"),
        ("{numref}`fig-line`", "Fig. 4"),
        ("{numref}`figure %s <fig-line>`", "figure 4"),
        ("{eq}`loss`", "(2)"),
        ("$$x$$ (loss)", "$$x\\tag{2}$$"),
        ("{cite:p}`one2020a`", "(One, 2020)"),
        ("{cite:p}`two2021b,many2022`", "(One and Two, 2021; Van Many et al., 2022)"),
        ("{cite:t}`two2021b`", "One and Two (2021)"),
        ("{term}`heads <head>` {math}`x`", "*heads* $x$"),
        ("(a-label)=\n## Here", "## Here"),
        ("```{tip} Look\nTwice.\n```", "> **Look**\n>\n> Twice."),
        (
            ":::{admonition} Hint\n:class: dropdown\nNo.\n:::",
            "<details><summary>Hint</summary>\n\nNo.\n\n</details>",
        ),
        (":::{exercise} A\n:label: ex-a\n\nB.\n:::", "### Exercise: A\n\nB."),
        (
            ":::{exercise} A\n:label: ex-a\n:class: write\n\nB.\n:::",
            "### Exercise: A (write, `ex-a`)\n\nB.",
        ),
        (":::{solution} ex-a\nC.\n:::", "**Solution of `ex-a`**\n\nC."),
        ("```python\n:::\nx = 1\n```", "```python\n:::\nx = 1\n```"),
    ],
)
def test_it_is_plain(plain, myst, markdown):
    assert plain.text(myst) == markdown


@pytest.mark.parametrize(
    "myst, words",
    [
        ("{glue:text}`gone`", "02_show shows 'gone', which none of its visible cells glues"),
        ("{doc}`08_not_there`", "no built page notebooks/08_not_there.html"),
        ("{numref}`fig-none`", "no built page has 'fig-none'"),
        ("{cite:p}`nobody`", "no source 'nobody' in book/references.bib; there are many2022"),
        ("{download}`x`", "02_show has a role {download}"),
        ("```{video} x\n```", "02_show has a directive {video}"),
        ("```{tip}\nopen", "is not closed"),
    ],
)
def test_what_is_not_known_is_refused(plain, myst, words):
    with pytest.raises(ExerciseError) as caught:
        plain.text(myst)
    assert words in str(caught.value)

"""A prompt in the colours of its roles, and the strip of where the groups look in it."""

import html.parser
import re
from pathlib import Path

import numpy as np
import pytest

from entrack.display import style
from entrack.display.prompt_view import ReadingView, show
from entrack.heads.one_prompt import Reading
from entrack.sites import GROUPS

CSS = Path(__file__).parents[2] / "book" / "vendor" / "entrack.css"


class Text(html.parser.HTMLParser):
    """The text of a page, and whether every tag is closed."""

    def __init__(self, page):
        super().__init__()
        self.found, self.open_tags = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.open_tags.append(tag)

    def handle_endtag(self, tag):
        assert self.open_tags.pop() == tag

    def handle_data(self, data):
        self.found.append(data)


def test_every_role_has_a_colour_a_line_and_words():
    assert set(style.ROLES) == set(style.ROLE_LINES) <= set(style.ROLE_WORDS)
    assert len(set(style.ROLE_LINES.values())) == len(set(style.ROLES.values())) == 5


def test_the_style_sheet_has_the_colours_of_the_code():
    variables = dict(re.findall(r"--entrack-([\w-]+): (#[0-9a-f]{6})", CSS.read_text()))
    roles = {role.replace("_", "-"): colour for role, colour in style.ROLES.items()}
    groups = {GROUPS[name].letter: colour for name, colour in style.GROUPS.items()}
    assert variables == roles | groups


@pytest.mark.parametrize("role", style.ROLES)
def test_a_role_is_told_by_colour_underline_and_name(prompts, role):
    page = show(prompts, 3)._repr_html_()
    box = next(box for box in page.split("<li ")[1:] if style.ROLE_WORDS[role] + "<" in box)
    assert f"border:2px solid var(--entrack-{role.replace('_', '-')},{style.ROLES[role]})" in box
    assert f"underline {style.ROLE_LINES[role]}" in box and f">{style.ROLE_WORDS[role]}<" in box
    legend = page[page.index("Roles:") : page.index("<ol")]
    assert f">{style.ROLE_WORDS[role]}<" in legend
    assert f"underline {style.ROLE_LINES[role]} 2px;text-decoration-color:var(" in legend


def test_a_colour_always_comes_from_a_variable(prompts):
    page = show(prompts, 3)._repr_html_()
    assert page.count("#") == len(re.findall(r"var\(--entrack-[a-z-]+,#[0-9a-f]{6}\)", page)) > 5


@pytest.fixture
def view(prompts):
    one = prompts.subset([2])
    length, looks = one.tokens.shape[1], {}
    for name, at in (("value_fetcher", "correct_object"), ("structure_reader", "prev_query_label")):
        looks[name] = np.full(length, 0.3 / (length - 1))
        looks[name][int(one.at(at)[0])] = 0.7
    acts = {
        "value_fetcher": int(one.at("last")[0]),
        "structure_reader": int(one.at("after_prev_query_label")[0]),
    }
    return ReadingView(Reading(one, looks, acts), "Where they look.")


def test_the_strip_goes_from_the_first_reader_to_the_answer(view, prompts):
    page = view._repr_html_()
    rows = page.split("<li ")[1:]
    assert "<b>D</b>" in rows[0] and "<b>A</b>" in rows[1] and len(rows) == 2
    assert "from the token after earlier label" in rows[0] and "from the last token" in rows[1]
    for row in rows:
        assert row.count('class="acts"') == 1 and row.count("<small>") == 1
    assert Text(page).open_tags == []


def test_the_strip_holds_the_prompt_as_it_reads(view, prompts):
    row = view._repr_html_().split("</p><p>")[1].split("</p>")[0]
    text = re.sub(r"\s+", "", "".join(Text(row.replace("<small>70%</small>", "")).found))
    assert re.sub(r"\s+", "", prompts.texts[2]) in text


def test_the_strip_says_in_words_where_each_group_looks(view, prompts):
    label = prompts.pieces[2][int(prompts.at("prev_query_label")[2])].strip()
    answer = prompts.examples[2].answer
    assert f"looks at “{label}” (70%); A, from “the”, looks at “{answer}” (70%)." in view.alt
    assert f'aria-label="{view.alt}"' in view._repr_html_() and "Where they look." in repr(view)


def test_a_strip_without_groups_says_so(prompts):
    assert "No group has a head" in ReadingView(Reading(prompts.subset([0]), {}, {}), "None.").alt

"""Heads, the table of groups, and what is refused."""

import pytest

from entrack.errors import SiteError
from entrack.sites import ACTING_ROLES, COMPOSITIONS, GROUPS, Head, check_heads, group
from entrack.task.boxes import ROLES
from entrack.task.prompts import AFTER_LABEL


def test_a_head_reads_back_what_it_writes():
    assert str(Head(14, 7)) == "14.7"
    assert Head.parse("14.7") == Head.parse(" 14.7 ") == Head(14, 7)


def test_heads_sort_by_layer_then_head():
    assert sorted([Head(10, 0), Head(9, 8), Head(9, 2)]) == [Head(9, 2), Head(9, 8), Head(10, 0)]


@pytest.mark.parametrize("text", ["", "14", "14.", "14.7.1", "a.b", "-1.2", "14,7"])
def test_text_that_is_no_head_is_refused(text):
    with pytest.raises(SiteError) as error:
        Head.parse(text)
    assert (
        str(error.value)
        == f"head {text!r}; a head is written <layer>.<head>. Write it like '14.7'."
    )


def test_negative_numbers_are_refused():
    with pytest.raises(SiteError) as error:
        Head(3, -1)
    assert str(error.value) == "head 3.-1; layers and heads count from 0. Use numbers of 0 or more."


def test_the_groups_form_the_papers_chain():
    assert [g.letter for g in GROUPS.values()] == ["A", "B", "C", "D"]
    assert [g.receivers for g in GROUPS.values()] == [None, *list(GROUPS)[:3]]
    assert [g.composition for g in GROUPS.values()] == ["logits", "q", "v", "v"]
    assert [g.role for g in GROUPS.values()] == [
        "last",
        "last",
        "query_label",
        "after_prev_query_label",
    ]


def test_the_groups_speak_of_known_roles_and_inputs():
    assert {g.role for g in GROUPS.values()} <= set(ACTING_ROLES) <= {*ROLES, AFTER_LABEL}
    assert {g.composition for g in GROUPS.values()} <= set(COMPOSITIONS)
    assert all(g.name == name for name, g in GROUPS.items())


def test_a_group_is_found_by_name_and_by_letter():
    assert group("C") is group("position_detector") is GROUPS["position_detector"]
    with pytest.raises(SiteError) as error:
        group("E")
    assert (
        str(error.value)
        == "unknown head group 'E'; the groups are A value_fetcher, B position_transmitter, C"
        " position_detector, D structure_reader. Use a name or a letter."
    )


def test_heads_of_the_model_pass_in_their_order():
    heads = [Head(29, 8), Head(0, 0)]
    assert check_heads(heads, 30, 9) == tuple(heads)
    assert check_heads(iter(heads), 30, 9) == tuple(heads)


@pytest.mark.parametrize("head", [Head(30, 0), Head(0, 9)])
def test_a_head_that_the_model_lacks_is_named(head):
    with pytest.raises(SiteError) as error:
        check_heads([Head(1, 1), head], 30, 9)
    assert (
        str(error.value)
        == f"no head {head}; this model has 30 layers of 9 heads, counted from 0. Use a layer up to"
        " 29 and a head up to 8."
    )

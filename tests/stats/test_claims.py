"""Rules that turn numbers into verdicts, and claims that carry them."""

import json

import pytest

from entrack.errors import ConfigError
from entrack.stats.claims import Claim, direction
from entrack.stats.metrics import Difference, Estimate, exact
from entrack.stats.rules import (
    Apart,
    AtLeast,
    AtMost,
    Beyond,
    Every,
    Graded,
    Nothing,
    Order,
    Sign,
    overall,
)


def between(low, high):
    return Estimate((low + high) / 2, low, high, 100)


def claim(here, rule, **options):
    return Claim("slug", "It helps", here, rule, **({"paper": "+0.3"} | options))


@pytest.mark.parametrize(
    "rule, low, high, found",
    [
        (Sign(+1), 0.01, 0.2, "replicates"),
        (Sign(+1), 0.01, 0.04, "replicates"),
        (Sign(+1), 0.0, 0.2, "undecided"),
        (Sign(+1), -0.01, 0.2, "undecided"),
        (Sign(+1), -0.03, 0.06, "undecided"),
        (Sign(+1), -0.03, 0.04, "does not replicate"),
        (Sign(+1), -0.2, -0.01, "does not replicate"),
        (Sign(-1), -0.2, -0.01, "replicates"),
        (Sign(-1), -0.2, 0.01, "undecided"),
        (Sign(-1), -0.04, 0.03, "does not replicate"),
        (Sign(-1), 0.01, 0.2, "does not replicate"),
        (Nothing(), -0.03, 0.05, "replicates"),
        (Nothing(), 0.01, 0.04, "replicates"),
        (Nothing(), 0.01, 0.06, "undecided"),
        (Nothing(), -0.3, 0.3, "undecided"),
        (Nothing(), 0.06, 0.2, "does not replicate"),
        (Nothing(), -0.2, -0.06, "does not replicate"),
        (Nothing(margin=0.1), -0.08, 0.08, "replicates"),
        (AtLeast(0.8), 0.8, 0.9, "replicates"),
        (AtLeast(0.8), 0.7, 0.9, "undecided"),
        (AtLeast(0.8), 0.7, 0.79, "does not replicate"),
        (AtLeast(0.8, partly=0.5), 0.6, 0.9, "partly"),
        (AtLeast(0.8, partly=0.5), 0.4, 0.9, "undecided"),
        (AtLeast(0.8, partly=0.5), 0.4, 0.49, "does not replicate"),
        (AtMost(0.1), 0.05, 0.1, "replicates"),
        (AtMost(0.1), 0.05, 0.2, "undecided"),
        (AtMost(0.1), 0.11, 0.2, "does not replicate"),
    ],
)
def test_a_verdict_follows_the_interval(rule, low, high, found):
    assert rule.judge(between(low, high)) == found


def test_order_looks_at_every_step():
    rule = Order("the layers")
    assert rule.judge([exact(0.0), exact(2.0)]) == "replicates", "equal numbers are in order"
    assert rule.judge([exact(3.0), exact(-1.0)]) == "does not replicate"
    assert rule.judge([between(0.1, 0.3), between(-0.1, 0.2)]) == "undecided"


def test_a_graded_claim_holds_partly_in_its_weak_form():
    rule = Graded((Sign(+1), AtLeast(0.8)), ("above random circuits", "faithfulness"))
    clear, unclear = between(0.1, 0.2), between(-0.1, 0.2)
    assert rule.judge([clear, between(0.85, 0.9)]) == "replicates"
    assert rule.judge([clear, between(0.7, 0.9)]) == "partly"
    assert rule.judge([unclear, between(0.85, 0.9)]) == "undecided"
    assert rule.judge([between(-0.3, -0.1), between(0.85, 0.9)]) == "does not replicate"
    assert rule.words.startswith("above random circuits: the interval lies above 0")
    with pytest.raises(ConfigError, match="2 rules with 1 meanings; a graded rule has two or more"):
        Graded((Sign(+1), Sign(+1)), ("one",))


def test_a_claim_of_several_numbers_needs_every_one():
    rule = Every(Nothing(0.1), "A and B")
    none, some, unclear = between(-0.05, 0.05), between(0.2, 0.4), between(-0.05, 0.4)
    assert rule.judge([none, none]) == "replicates"
    assert rule.judge([none, unclear]) == "undecided"
    assert rule.judge([none, unclear, some]) == "does not replicate"
    assert rule.words.startswith("A and B, each: the interval lies within 0.1 of 0")
    assert rule.words.endswith("; does not if one does not")


def test_more_than_chance_is_corrected_for_the_number_of_tests():
    overlap = Difference(2.1, 0.5, 3.0, 12, better=4, worse=0, p_value=0.02)
    assert Beyond(tests=1).judge(overlap) == "replicates"
    assert Beyond(tests=4).judge(overlap) == "undecided"
    below = Difference(-0.4, -0.9, 0.0, 12, better=0, worse=0, p_value=1.0)
    assert Beyond(tests=1).judge(below) == "does not replicate"


@pytest.mark.parametrize(
    "low, high, p_value, found",
    [
        (-0.4, -0.1, 0.01, "replicates"),
        (0.1, 0.4, 0.01, "replicates"),
        (-0.4, -0.1, 0.02, "undecided"),
        (-0.04, 0.03, 0.9, "does not replicate"),
        (-0.04, 0.06, 0.9, "undecided"),
    ],
)
def test_a_difference_of_either_sign_is_corrected_for_the_number_of_tests(
    low, high, p_value, found
):
    widest = Difference((low + high) / 2, low, high, 42, better=3, worse=9, p_value=p_value)
    assert Apart(tests=4).judge(widest) == found


def test_a_mapping_may_be_of_groups():
    found = claim({"A": between(1, 2), "B": between(-2, -1)}, Sign(+1), each="group")
    assert found.verdict == "partly" and "in every group, partly: in some" in found.rule_words


@pytest.mark.parametrize(
    "low, high, found",
    [
        (0.1, 0.2, "higher"),
        (-0.2, -0.1, "lower"),
        (-0.1, 0.1, "no clear difference"),
        (0, 0.1, "no clear difference"),
    ],
)
def test_direction(low, high, found):
    assert direction(between(low, high)) == found


@pytest.mark.parametrize(
    "verdicts, found",
    [
        (["replicates", "replicates"], "replicates"),
        (["replicates", "undecided"], "partly"),
        (["replicates", "does not replicate"], "partly"),
        (["partly", "does not replicate"], "partly"),
        (["does not replicate", "undecided"], "does not replicate"),
        (["undecided"], "undecided"),
        ([], "not run"),
    ],
)
def test_several_versions_get_one_verdict(verdicts, found):
    assert overall(verdicts) == found


def test_a_claim_is_judged_version_by_version():
    helped, unclear = between(0.1, 0.2), between(-0.1, 0.2)
    assert claim({"code": helped, "boxes": helped}, Sign(+1)).verdict == "replicates"
    found = claim({"code": helped, "math": unclear}, Sign(+1), note="of 70 prompts")
    assert found.verdict == "partly"
    assert (
        found.measured == "+0.15 [+0.10, +0.20] (code), +0.05 [-0.10, +0.20] (math), of 70 prompts"
    )
    assert found.rule_words.endswith("; in every version, partly: in some")


@pytest.mark.parametrize("here", [None, {}])
def test_nothing_measured_is_not_run(here):
    found = claim(here, Sign(+1), given={"the circuit fails": False})
    assert (found.verdict, found.measured) == ("not run", None)


def test_a_condition_that_is_not_met_leaves_a_claim_undecided():
    found = claim(between(0.1, 0.2), Sign(+1), given={"its own circuit works": False})
    assert found.verdict == "undecided"
    assert found.rule_words.endswith("; undecided unless its own circuit works")
    assert claim(between(0.1, 0.2), Sign(+1), given={"it works": True}).verdict == "replicates"


def test_a_claim_of_ours_holds_or_does_not():
    ours = {"paper": "", "ours": True}
    assert claim(between(0.1, 0.2), Sign(+1), **ours).verdict_words == "holds"
    assert claim(between(-0.2, -0.1), Sign(+1), **ours).verdict_words == "does not hold"
    assert claim(between(-0.1, 0.2), Sign(+1), **ours).verdict_words == "undecided"
    assert claim(between(0.1, 0.2), Sign(+1)).verdict_words == "replicates"
    assert claim(between(0.1, 0.2), Sign(+1), **ours).paper_words == "-"
    assert claim(between(0.1, 0.2), Sign(+1), source="Table 1").paper_words == "+0.3 (Table 1)"


@pytest.mark.parametrize("options", [{"paper": ""}, {"paper": "+0.3", "ours": True}])
def test_a_claim_is_the_papers_or_ours(options):
    with pytest.raises(ConfigError, match="a claim of the paper has one, a claim of ours has none"):
        claim(between(0.1, 0.2), Sign(+1), **options)


def test_a_slug_is_a_name():
    with pytest.raises(ConfigError, match="claim slug 'a claim'; letters, digits and underscores"):
        Claim("a claim", "It helps", None, Sign(+1), paper="+0.3")


def test_the_record_is_plain_data_with_all_numbers():
    rule = Graded((Sign(+1), AtLeast(0.8)), ("above chance", "faithfulness"))
    found = claim({"code": (between(0.1, 0.2), exact(0.9))}, rule, source="Table 1", finding="i")
    record = json.loads(json.dumps(found.record()))
    assert record["estimates"] == {
        "code": [[pytest.approx(0.15), 0.1, 0.2, 100], [0.9, 0.9, 0.9, 1]]
    }
    assert (record["verdict"], record["finding"], record["ours"]) == ("replicates", "i", False)
    assert record["measured"] == "+0.15 [+0.10, +0.20] and +0.90 (code)"
    assert claim(None, rule).record()["estimates"] == {}


def test_a_number_that_could_not_be_measured_is_not_judged():
    missing = exact(float("nan"))
    for here in (
        missing,
        (between(0.1, 0.2), missing),
        {"code": between(0.1, 0.2), "math": missing},
    ):
        found = claim(here, Sign(+1))
        assert found.verdict == "not run" and found.measured is None
        assert "NaN" not in json.dumps(found.record())

"""Claims before they are measured: words are filled in by name, and none is missing or too many."""

import pytest

from entrack.errors import ConfigError
from entrack.stats.declarations import Declaration
from entrack.stats.metrics import Estimate
from entrack.stats.rules import Beyond, Sign

HELPS = Estimate(0.2, 0.1, 0.3, 70)
PLAIN = Declaration("plain", "It helps", Sign(+1), "+0.3", "Table 1", finding="i")
FILLED = Declaration(
    "filled",
    "It helps {whom}",
    lambda tests: Beyond(tests=tests),
    ours=True,
    note="of {n} prompts",
    given="there are prompts",
)


def test_a_measured_claim_has_what_was_declared():
    claim = PLAIN.measured(HELPS)
    assert (claim.text, claim.paper_words, claim.finding) == ("It helps", "+0.3 (Table 1)", "i")
    assert claim.verdict == "replicates" and claim.measured == "+0.20 [+0.10, +0.30]"


def test_text_note_and_rule_take_words_by_name():
    assert FILLED.words == {"whom", "tests", "n"}
    claim = FILLED.measured(HELPS, given=False, whom="A", tests=4, n=49)
    assert claim.text == "It helps A" and claim.measured.endswith(", of 49 prompts")
    assert "corrected for 4 tests" in claim.rule_words
    assert claim.rule_words.endswith("undecided unless there are prompts")
    assert claim.verdict == "undecided", "what it presupposes is not met"


@pytest.mark.parametrize(
    "declaration, words, message",
    [
        (
            FILLED,
            {"given": True, "whom": "A", "n": 49},
            "claim 'filled' got the words n, whom; it takes n, tests, whom. Pass these by name, and"
            " no others.",
        ),
        (
            PLAIN,
            {"n": 49},
            "claim 'plain' got the words n; it takes none. Pass these by name, and no others.",
        ),
        (
            FILLED,
            {"whom": "A", "tests": 4, "n": 49},
            "claim 'filled' presupposes that there are prompts, and nothing says whether it is so."
            " Pass given=True or given=False.",
        ),
        (
            PLAIN,
            {"given": True},
            "claim 'plain' got given=True and presupposes nothing. Leave given out.",
        ),
    ],
)
def test_words_that_do_not_fit_are_refused(declaration, words, message):
    with pytest.raises(ConfigError) as error:
        declaration.measured(HELPS, **words)
    assert str(error.value) == message

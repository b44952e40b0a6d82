"""What counts as position: which sources are counted, and the least lead over a rival."""

import numpy as np
import pytest
from tiny_models import CIRCUIT, tiny_model

from entrack.circuit.contents import whole_groups
from entrack.circuit.wordings import (
    CONTROL,
    PAPER_WORDINGS,
    WITH_FILLER,
    Wording,
    agreement,
    patch_wording,
    source_accuracy,
    surviving,
    weakest_lead,
)
from entrack.patching.patches import Patch, Patched

pytestmark = pytest.mark.usefixtures("own_cache")

B, N = "position_transmitter", 100
REWORDED = [name for name in PAPER_WORDINGS if name not in ("position", CONTROL)]


def wording(name, *, hits, candidates=("position", "label"), rival_hits=0):
    """`hits` of 100 answers are the expected one, and `rival_hits` the second candidate's."""
    tokens = {candidate: np.full(N, place) for place, candidate in enumerate(candidates)}
    answers = np.full((1, N), 8)
    answers[0, :hits] = 0
    answers[0, hits : hits + rival_hits] = 1
    patched = Patched({B: Patch("last")}, tokens, answers, np.full(N, 9), np.arange(N), "m")
    return Wording(name, (), patched)


def test_the_paper_has_ten_wordings_beside_plain_and_control():
    assert len(REWORDED) == 10 and len(PAPER_WORDINGS) == 12


def test_wordings_that_keep_half_are_counted_without_plain_and_control():
    some = [wording(name, hits=hits) for name, hits in zip(REWORDED, (70, 42, 38, 5), strict=False)]
    found = surviving([wording("position", hits=80), wording(CONTROL, hits=90), *some], B)
    assert (found.value, found.low, found.high, found.n) == (2, 1, 3, 4)


def test_agreement_is_over_comparable_wordings_and_none_without_a_difference():
    paper = {name: place / 10 for place, name in enumerate(PAPER_WORDINGS)}
    alike = [wording(name, hits=int(100 * paper[name]) // 2) for name in PAPER_WORDINGS]
    found = agreement(alike, B, paper=paper)
    assert found.value == pytest.approx(1) and found.n == 8
    assert agreement([wording(name, hits=9) for name in PAPER_WORDINGS], B, paper=paper) is None


def test_the_weakest_lead_is_the_one_with_the_lowest_end():
    names = ("ordinal", "label")
    first, second = (
        wording("filler_before", hits=60, candidates=names, rival_hits=10),
        wording("filler_after", hits=40, candidates=names, rival_hits=30),
    )
    assert weakest_lead([first, second], B, "label").value == pytest.approx(0.1)
    assert weakest_lead([first], B, "token_from_start") is None
    assert weakest_lead([first], "position_detector", "label") is None


def test_a_wording_is_patched_group_by_group_and_scored_by_its_own_expectation():
    model, patches = tiny_model(), whole_groups(CIRCUIT, B, "position_detector")
    for name in WITH_FILLER:
        found = patch_wording(model, name, patches=patches, n_scenes=4)
        assert found.groups == [B, "position_detector"] and "label" in found.rivals
        assert found.above(B) == found.patched.above_floor(B, "ordinal")
        assert found.lead(B, "label") == found.patched.lead(B, "ordinal", "label")
        assert source_accuracy(model, found).n == len(found.pairs)

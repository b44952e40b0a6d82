"""Pairs whose source the model understands: which are kept, and that their answers stay theirs."""

import numpy as np
import pytest
from tiny_models import CIRCUIT, tiny_model

from entrack.across import understood as understood_module
from entrack.across.understood import chosen, understood
from entrack.circuit import wordings
from entrack.circuit.contents import whole_groups
from entrack.circuit.wordings import Wording, patch_wording, source_accuracy
from entrack.figures.position import CANDIDATE_WORDS
from entrack.patching.patches import Patch, Patched
from entrack.tables import position as tables
from entrack.task.counterfactual_pairs import interchanges

pytestmark = pytest.mark.usefixtures("own_cache")

B = "position_transmitter"


def wording():
    """Seven pairs; the order of boxes is followed in the first three, a rival in the next two."""
    pairs = tuple(interchanges(1, split="evaluation", name="filler_before"))
    tokens = {name: np.full(7, place) for place, name in enumerate(["ordinal", "label"])}
    answers = np.array([[0, 0, 0, 1, 1, 8, 8]])
    made = Patched({B: Patch("last")}, tokens, answers, np.arange(7), np.arange(7), "m")
    return Wording("filler_before", pairs[:7], made)


def test_chosen_pairs_keep_their_answers():
    whole, kept = wording(), np.array([0, 1, 1, 0, 1, 0, 0], dtype=bool)
    part = chosen(whole, kept)
    assert len(part.pairs) == 3 and part.pairs[0] == whole.pairs[1]
    assert part.lead(B, "label").value == pytest.approx(1 / 3)
    assert part.patched.unpatched.tolist() == part.patched.scenes.tolist() == [1, 2, 4]
    assert whole.lead(B, "label").value == pytest.approx(1 / 7)


def test_the_table_says_which_pairs_its_leads_are_of():
    assert "label" in CANDIDATE_WORDS
    plain, part = (tables.leads([wording()], understood=u) for u in (False, True))
    assert "on the same runs;" in plain.caption
    assert "on the runs whose source the model answers right;" in part.caption


def test_a_model_that_answers_no_source_right_understands_none():
    model, patches = tiny_model(), whole_groups(CIRCUIT, B)
    found = patch_wording(model, "filler_before", patches=patches, n_scenes=2)
    assert source_accuracy(model, found).value == 0
    assert understood(model, found) is None


def test_the_sources_kept_are_those_that_the_model_answers_right(monkeypatch):
    """The answers are those behind `source_accuracy`: the same call, and so the same result."""
    calls = []

    def answered(model, data, **settings):
        calls.append((model.name, data.base.texts, sorted(data.alternatives), settings))
        tokens, right = data.answers.numpy(), np.arange(len(data)) % 3 == 0
        unpatched = np.where(right, tokens, tokens + 1)
        same = np.arange(len(data))
        return Patched(
            settings["patches"], {"object": tokens}, unpatched[None], unpatched, same, model.name
        )

    model, made = tiny_model(), wording()
    for module in (wordings, understood_module):
        monkeypatch.setattr(module, "patch_pairs", answered)
    share, part = source_accuracy(model, made).value, understood(model, made)
    assert calls[0] == calls[1]
    assert share == pytest.approx(3 / 7) and len(part.pairs) == 3
    assert part.pairs == (made.pairs[0], made.pairs[3], made.pairs[6])

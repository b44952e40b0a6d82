"""Tokens added until the accuracy is the whole version's: in a model whose tokens are known."""

import pytest
from planted_family import VERSIONS, planted_model

from entrack.circuit.live_positions import ALL, live_positions
from entrack.circuit.search import CircuitSettings, ablation_means
from entrack.heads import token_support as module
from entrack.heads.token_support import PLACES, token_support, with_places
from entrack.tables.circuit import support
from entrack.task.draws import examples
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")

SIZES = CircuitSettings(n_means=28)


@pytest.fixture(scope="module")
def planted():
    return planted_model("better", VERSIONS["better"])


def prompts(model, n, split):
    return encode(model.tokenizer, examples(n, split=split))


def test_it_finds_the_tokens_of_the_planted_circuit(planted):
    """The places that layer 0 writes at every token are those of their means: the same in every
    prompt. So only the tokens of the groups are needed."""
    choosing, judging = prompts(planted, 14, "pruning"), prompts(planted, 28, "evaluation")
    means = ablation_means(planted, SIZES)
    found = token_support(planted, choosing, judging, means=means)
    after = {"token after it", "tokens after all labels"}
    assert "query label" in found.order and after & set(found.order)
    assert set(found.order) <= after | {"query label"}
    assert found.accuracy(len(found.order)).value >= 0.9 * found.accuracy(-1).value
    assert found.accuracy(0).value < 0.5
    # What it says of the way is what the same tokens give when asked for directly.
    roles = ["last", *(PLACES[name] for name in found.order)]
    again = live_positions(planted, with_places(judging), sets={"x": roles}, means=means)
    assert (again.hits["x"] == found.live.hits[found.order[-1]]).all()
    (row,) = support({"better": found}).rows
    assert row[1] == ", ".join(("last token", *found.order)) and row[4].n == 28
    assert row[5].value == pytest.approx(row[3].value - row[4].value)


def test_it_ends_where_nothing_more_is_gained_or_enough_is_there(planted, monkeypatch):
    choosing, judging = prompts(planted, 14, "pruning"), prompts(planted, 14, "evaluation")
    means = ablation_means(planted, SIZES)
    with monkeypatch.context() as patch:
        patch.setattr(module, "MOST", 1)
        assert len(token_support(planted, choosing, judging, means=means).order) == 1
    monkeypatch.setattr(module, "PLACES", {"all": ALL})
    everything = token_support(planted, choosing, judging, means=means)
    assert everything.order == ("all",) and everything.short(1).value == 0
    useless = {"first token": "first", "last token again": "last"}
    monkeypatch.setattr(module, "PLACES", useless)
    assert len(token_support(planted, choosing, judging, means=means).order) == 1

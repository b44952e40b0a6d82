"""Heads judged on prompts that did not choose their rivals: by whole circuits, one at a time."""

from dataclasses import replace

import numpy as np
import pytest
from planted_family import PLANTED_CIRCUIT as CIRCUIT
from planted_family import VERSIONS, planted_model

from entrack.circuit.ablation import score_circuits
from entrack.circuit.minimality import MinimalityConfig, measure_minimality
from entrack.circuit.search import means_over
from entrack.errors import SiteError
from entrack.rejudged import rejudge
from entrack.sites import Head
from entrack.task.draws import examples
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")
GROUP = "value_fetcher"


@pytest.fixture(scope="module")
def model():
    """It answers some prompts right, and fewer without each of its heads."""
    return planted_model("plain", VERSIONS["plain"])


@pytest.fixture(scope="module")
def prompts(model):
    return encode(model.tokenizer, examples(42, split="evaluation"))


@pytest.fixture
def means(model):
    return means_over(model, encode(model.tokenizer, examples(28, split="discovery")))


@pytest.fixture
def pruning(model, means):
    return measure_minimality(
        model,
        encode(model.tokenizer, examples(42, split="pruning")),
        circuit=CIRCUIT,
        means=means,
        config=MinimalityConfig(share=0.5),
    )


def test_scores_are_those_of_whole_circuits_without_the_rivals_of_the_pruning(
    model, prompts, means, pruning
):
    found = rejudge(model, prompts, circuit=CIRCUIT, pruning=pruning, means=means)

    def hits(group, removed):
        circuits = [CIRCUIT.without(group, removed)]
        return score_circuits(model, prompts, circuits=circuits, means=means).hits[0]

    clear = 0
    for group, heads in CIRCUIT.groups.items():
        for head in heads:
            k = pruning.removed_first[group][str(head)]
            assert k and found.rivals[group][head] == k
            before, without = hits(group, k), hits(group, [*k, head])
            assert before.mean() > without.mean(), "a head that costs nothing says nothing"
            cost = found.cost(group, head)
            assert cost.value == pytest.approx(before.mean() - without.mean())
            expected = before.mean() / without.mean() - 1 if without.any() else np.inf
            assert found.scores[group][str(head)] == pytest.approx(expected)
            assert (head in found.clear().groups[group]) == (cost.low > 0)
            clear += cost.low > 0
    assert 0 < clear < CIRCUIT.size, "some heads are clear and some are not"
    assert len(found.costs()) == CIRCUIT.size and found.threshold == pruning.threshold


def test_rivals_that_the_circuit_lost_are_not_taken_away_again(model, prompts, means, pruning):
    head, rival = next(
        (h, k[0]) for h in CIRCUIT.groups[GROUP] if (k := pruning.removed_first[GROUP][str(h)])
    )
    smaller = CIRCUIT.without(GROUP, [rival])
    found = rejudge(model, prompts, circuit=smaller, pruning=pruning, means=means)
    assert rival not in found.rivals[GROUP][head]
    before = score_circuits(
        model, prompts, circuits=[smaller.without(GROUP, found.rivals[GROUP][head])], means=means
    ).hits[0]
    index = smaller.groups[GROUP].index(head)
    assert before.any() and np.array_equal(found.hits[GROUP][index, 0], before)


def test_an_empty_group_has_no_heads_to_judge(model, prompts, means, pruning):
    empty = CIRCUIT.without(GROUP, CIRCUIT.groups[GROUP])
    found = rejudge(model, prompts, circuit=empty, pruning=pruning, means=means)
    assert found.hits[GROUP].shape == (0, 2, len(prompts)) and found.scores[GROUP] == {}
    assert len(found.costs()) == empty.size and found.clear().groups[GROUP] == ()


def test_a_head_that_the_pruning_did_not_judge_is_refused(model, prompts, means, pruning):
    other = next(
        Head(layer, 0) for layer in range(9) if Head(layer, 0) not in CIRCUIT.groups[GROUP]
    )
    more = {**CIRCUIT.groups, GROUP: (*CIRCUIT.groups[GROUP], other)}
    circuit = replace(CIRCUIT, groups=more)
    with pytest.raises(SiteError, match=f"head {other} of {GROUP} was not judged by this pruning"):
        rejudge(model, None, circuit=circuit, pruning=pruning, means=means)

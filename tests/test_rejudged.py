"""Heads judged on prompts that did not choose their rivals: by whole circuits, one at a time."""

from dataclasses import replace

import numpy as np
import pytest
from tiny_models import CIRCUIT, tiny_model

from entrack.circuit.ablation import score_circuits
from entrack.circuit.minimality import MinimalityConfig, measure_minimality
from entrack.errors import SiteError
from entrack.model.activations import mean_z
from entrack.model.answers import answers_of
from entrack.rejudged import rejudge
from entrack.sites import Head
from entrack.task.draws import examples
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")
GROUP = "position_detector"


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def guessed(model, split):
    """Prompts whose answers are what the model says, so that its accuracy is not 0."""
    prompts = encode(model.tokenizer, examples(14, split=split))
    object.__setattr__(prompts, "answers", answers_of(model, prompts).top[:, 0])
    return prompts


@pytest.fixture(scope="module")
def means(model):
    return mean_z(model, encode(model.tokenizer, examples(20, split="discovery")))


@pytest.fixture
def pruning(model, means):
    config = MinimalityConfig(share=0.5)
    prompts = guessed(model, "pruning")
    found = measure_minimality(model, prompts, circuit=CIRCUIT, means=means, config=config)
    heads = CIRCUIT.groups[GROUP]
    # A model this small may give no head a rival, so here each has all others.
    each = {str(h): tuple(k for k in heads if k != h) for h in heads}
    return replace(found, removed_first={**found.removed_first, GROUP: each})


def test_scores_are_those_of_whole_circuits_without_the_rivals_of_the_pruning(
    model, means, pruning
):
    prompts = guessed(model, "evaluation")
    found = rejudge(model, prompts, circuit=CIRCUIT, pruning=pruning, means=means)

    def hits(removed):
        circuits = [CIRCUIT.without(GROUP, removed)]
        return score_circuits(model, prompts, circuits=circuits, means=means).hits[0]

    for head in CIRCUIT.groups[GROUP]:
        k = pruning.removed_first[GROUP][str(head)]
        before, without = hits(k), hits([*k, head])
        assert found.rivals[GROUP][head] == k
        cost = found.cost(GROUP, head)
        assert cost.value == pytest.approx(before.mean() - without.mean())
        if without.any():
            expected = before.mean() / without.mean() - 1
            assert found.scores[GROUP][str(head)] == pytest.approx(expected)
        assert (head in found.clear().groups[GROUP]) == (cost.low > 0)
    assert len(found.costs()) == CIRCUIT.size and found.threshold == pruning.threshold


def test_rivals_that_the_circuit_lost_are_not_taken_away_again(model, means, pruning):
    head, rival = next(
        (h, k[0]) for h in CIRCUIT.groups[GROUP] if (k := pruning.removed_first[GROUP][str(h)])
    )
    smaller = CIRCUIT.without(GROUP, [rival])
    prompts = guessed(model, "evaluation")
    found = rejudge(model, prompts, circuit=smaller, pruning=pruning, means=means)
    assert rival not in found.rivals[GROUP][head]
    before = score_circuits(
        model, prompts, circuits=[smaller.without(GROUP, found.rivals[GROUP][head])], means=means
    ).hits[0]
    index = smaller.groups[GROUP].index(head)
    assert np.array_equal(found.hits[GROUP][index, 0], before)


def test_an_empty_group_has_no_heads_to_judge(model, means, pruning):
    empty = CIRCUIT.without(GROUP, CIRCUIT.groups[GROUP])
    prompts = guessed(model, "evaluation")
    found = rejudge(model, prompts, circuit=empty, pruning=pruning, means=means)
    assert found.hits[GROUP].shape == (0, 2, len(prompts)) and found.scores[GROUP] == {}
    assert len(found.costs()) == empty.size and found.clear().groups[GROUP] == ()


def test_a_head_that_the_pruning_did_not_judge_is_refused(model, means, pruning):
    other = next(
        Head(layer, 0) for layer in range(9) if Head(layer, 0) not in CIRCUIT.groups[GROUP]
    )
    more = {**CIRCUIT.groups, GROUP: (*CIRCUIT.groups[GROUP], other)}
    circuit = replace(CIRCUIT, groups=more)
    with pytest.raises(SiteError, match=f"head {other} of {GROUP} was not judged by this pruning"):
        rejudge(model, None, circuit=circuit, pruning=pruning, means=means)

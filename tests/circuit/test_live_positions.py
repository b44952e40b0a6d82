"""Heads live at some tokens only: the two ends, and errors."""

import pytest
from closeness import additions, assert_apart, assert_close
from tiny_models import last_logits

from entrack.circuit.ablation import score_circuits
from entrack.circuit.live_positions import live_positions
from entrack.circuits import Circuit
from entrack.errors import AlignmentError, ConfigError
from entrack.model.activations import mean_z
from entrack.model.answers import answers_of
from entrack.sites import GROUPS, Head
from entrack.task.draws import examples
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")


def test_the_two_ends(model, prompts):
    """All tokens live is the model; the circuit of all heads is all heads at its three roles."""
    means = mean_z(model, encode(model.tokenizer, examples(20, split="discovery")))
    roles = ["after_prev_query_label", "query_label", "last"]
    found = live_positions(
        model,
        prompts,
        sets={
            "whole": ["all"],
            "three": roles,
            "more": [*roles, "every label", "after every label"],
        },
        means=means,
    )
    same = {
        "terms": additions(model, prompts.tokens.shape[1]),
        "magnitude": last_logits(model, prompts),
    }
    clean = answers_of(model, prompts).log_prob[:, 0]
    assert_close(found.log_prob["whole"], clean, **same)
    every = tuple(
        Head(layer, head) for layer in range(model.n_layers) for head in range(model.n_heads)
    )
    circuit = Circuit(
        {name: every if name != "position_transmitter" else () for name in GROUPS}, model.name
    )
    whole = score_circuits(model, prompts, circuits=[circuit], means=means)
    assert_close(found.log_prob["three"], whole.log_prob[0], unlike=clean, **same)
    assert_apart(found.log_prob["three"], found.log_prob["more"], **same)
    assert found.accuracy("whole").n == len(prompts)


def test_bad_sets_are_refused(model, prompts):
    means = mean_z(model, prompts)
    with pytest.raises(
        ConfigError, match=r"no tokens in \['none'\]; each set needs at least one role"
    ):
        live_positions(model, prompts, sets={"none": []}, means=means)
    with pytest.raises(AlignmentError, match="unknown role 'first'"):
        live_positions(model, prompts, sets={"odd": ["first"]}, means=means)

"""Heads taken out of the whole model, from the first token that they matter for."""

import numpy as np
import pytest
from planted_family import PLANTED_CIRCUIT, VERSIONS, planted_model
from small_circuit import CIRCUIT

from entrack.circuit.ablation import score_removed
from entrack.circuit.completeness import hits_without, measure_completeness
from entrack.circuit.search import means_over
from entrack.errors import SiteError
from entrack.sites import GROUPS, Head
from entrack.task.draws import examples
from entrack.task.prompts import encode

GROUP = "value_fetcher"


def test_it_is_what_a_rerun_of_the_whole_context_gives(own_cache):
    model = planted_model("plain", VERSIONS["plain"])
    asked = encode(model.tokenizer, examples(70, split="evaluation"))
    means = means_over(model, encode(model.tokenizer, examples(28, split="discovery")))
    late = PLANTED_CIRCUIT.without("structure_reader", PLANTED_CIRCUIT.groups["structure_reader"])
    one = late.without(GROUP, PLANTED_CIRCUIT.groups[GROUP][:1]).only(GROUP)
    none = late.only("structure_reader")
    removed = [*(PLANTED_CIRCUIT.only(name) for name in GROUPS), PLANTED_CIRCUIT, late, one, none]
    found = hits_without(model, asked, removed=removed, means=means)
    literal = score_removed(model, asked, removed=removed, means=means).hits
    assert (found == literal).all()
    for index in range(len(GROUPS)):
        assert (found[index] != found[-1]).any(), "each group matters, or the test says nothing"
    assert (found[-2] != found[-1]).any() and len(np.unique(found, axis=0)) > 4


def test_a_head_that_is_not_there_is_refused(model, prompts):
    none = CIRCUIT.without("structure_reader", CIRCUIT.groups["structure_reader"]).only(GROUP)
    wrong = none.without(GROUP, none.groups[GROUP])
    wrong = type(wrong)({**wrong.groups, GROUP: (Head(99, 0),)}, "other", wrong.structure_role)
    with pytest.raises(SiteError, match="99"):
        hits_without(model, prompts, removed=[wrong], means=means_over(model, prompts))


def test_the_first_prompts_choose_in_the_greedy_search_and_all_are_scored(own_cache):
    model = planted_model("plain", VERSIONS["plain"])
    asked = encode(model.tokenizer, examples(70, split="evaluation"))
    means = means_over(model, encode(model.tokenizer, examples(28, split="discovery")))
    given = {"circuit": PLANTED_CIRCUIT, "means": means, "n_random": 0, "n_greedy": 3, "seed": 1}
    found = measure_completeness(model, asked, **given, n_choosing=7)
    few = measure_completeness(model, asked.subset(range(7)), **given)
    every = measure_completeness(model, asked, **given)
    chosen = [found.removed[i] for i in found.of("greedy")]
    assert chosen == [few.removed[i] for i in few.of("greedy")]
    assert chosen != [every.removed[i] for i in every.of("greedy")], "7 choose as 70: says nothing"
    literal = score_removed(model, asked, removed=chosen, means=means).hits
    assert (found.model_hits[found.of("greedy")] == literal).all()

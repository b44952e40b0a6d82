"""Discovery, selection, files, and the evaluation of circuits."""

import numpy as np
import pytest
import torch
from closeness import additions, assert_apart, assert_close
from small_circuit import CIRCUIT, H
from tiny_models import last_logits, tiny_model

from entrack.circuit import faithfulness
from entrack.circuit.completeness import measure_completeness
from entrack.circuit.discovery import Discovery, DiscoveryConfig, discover
from entrack.circuit.faithfulness import choose_size, measure_faithfulness, random_circuit
from entrack.circuit.minimality import MinimalityConfig, measure_minimality
from entrack.circuit.overlap import overlaps, rank_correlation
from entrack.circuit.search import CircuitSettings, find_circuit
from entrack.circuits import Circuit
from entrack.errors import ConfigError, SiteError
from entrack.model.activations import mean_z
from entrack.model.answers import answers_of
from entrack.patching.head_scores import HeadScores
from entrack.patching.path_patching import UNITS, path_patching
from entrack.sites import GROUPS
from entrack.task.draws import examples
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")


def discovery_with(effects):
    """A discovery whose every stage has these mean effects, {head: value}."""
    grid = np.zeros((5, 4, 2), dtype=np.float32)
    for head, value in effects.items():
        grid[head.layer, head.head] = value
    grid[4, :] = np.nan
    score = HeadScores(
        values=grid, unit=UNITS["relative_change"], baseline=np.ones(2), label="made by hand"
    )
    return Discovery({name: score for name in GROUPS}, {name: () for name in GROUPS}, "tiny")


def test_share_keeps_the_fewest_heads_that_make_it_up():
    found = discovery_with({H(0, 1): -0.5, H(2, 2): -0.3, H(3, 0): -0.2, H(1, 1): 0.4})
    assert found.top("value_fetcher", 0.5) == (H(0, 1),)
    assert found.top("value_fetcher", 0.51) == (H(0, 1), H(2, 2))
    assert found.top("value_fetcher", 1.0) == (H(0, 1), H(2, 2), H(3, 0))
    candidate = found.candidate(0.8)
    assert candidate.groups["position_transmitter"] == (H(0, 1), H(2, 2))
    assert candidate.groups["value_fetcher"] == (), "heads of B do not count in A as well"


def test_discovery_chains_the_stages(model, pair_prompts):
    clean, corrupt = pair_prompts
    found = discover(model, clean, corrupt=corrupt)
    assert list(found.scores) == list(GROUPS)
    for name, group in GROUPS.items():
        if group.receivers:
            assert found.receivers[name] == found.top(group.receivers, 0.5)
            highest = max(h.layer for h in found.receivers[name])
            assert np.isnan(found.scores[name].values[highest:]).all()
    with pytest.raises(ConfigError, match="receiver_share 0; allowed is more than 0 and at most 1"):
        DiscoveryConfig(receiver_share=0)


def test_a_planted_head_is_found(model, pair_prompts):
    """Only three heads write anything: every other head's direct effect is exactly nothing."""
    planted = tiny_model("gqa", seed=3)
    alive = [(2, 1), (3, 0), (4, 3)]
    for layer, block in enumerate(planted.layers.blocks):
        weight = block.self_attn.o_proj.weight
        for head in range(planted.n_heads):
            if (layer, head) not in alive:
                weight[:, head * planted.d_head : (head + 1) * planted.d_head] = 0
    clean, corrupt = pair_prompts
    grid = np.abs(path_patching(planted, clean, corrupt=corrupt, role="last").values).max(-1)
    # Exactly nothing is added for the others; the weakest of the three is far above rounding.
    assert {tuple(map(int, where)) for where in np.argwhere(grid > 1e-3)} == set(alive)


def test_a_head_that_writes_nothing_is_pruned(prompts):
    planted = tiny_model("gqa", seed=5)
    planted.layers.blocks[3].self_attn.o_proj.weight[:, :8] = 0  # head 3.0
    means = mean_z(planted, encode(planted.tokenizer, examples(20, split="discovery")))
    found = measure_minimality(planted, prompts, circuit=CIRCUIT, means=means)
    assert found.scores["value_fetcher"]["3.0"] == 0
    assert H(3, 0) not in found.pruned().groups["value_fetcher"]
    nothing = found.cost("value_fetcher", H(3, 0))
    assert (nothing.value, nothing.low <= 0 <= nothing.high) == (0, True)
    gain = found.leave_one_out("value_fetcher", H(3, 0))
    other = found.leave_one_out("value_fetcher", H(4, 2))
    same = {
        "terms": additions(planted, prompts.tokens.shape[1]),
        "magnitude": last_logits(planted, prompts),
    }
    assert_close(gain.value, 0.0, **same)
    assert_apart(other.value, 0.0, **same)


def test_minimality_scores_follow_the_paper(model, prompts):
    """Recomputed from whole circuits: K from the pair effects, then the ratio."""
    from entrack.circuit.ablation import score_circuits

    means = mean_z(model, encode(model.tokenizer, examples(20, split="discovery")))
    answers = answers_of(model, prompts)
    guessed = prompts.subset(range(len(prompts)))
    object.__setattr__(
        guessed, "answers", answers.top[:, 0]
    )  # tokens it does say, so that accuracy is not 0
    found = measure_minimality(
        model, guessed, circuit=CIRCUIT, means=means, config=MinimalityConfig(share=0.5)
    )

    def accuracy(removed):
        return score_circuits(
            model, guessed, circuits=[CIRCUIT.without("position_detector", removed)], means=means
        ).hits.mean()

    for v in CIRCUIT.groups["position_detector"]:
        others = [u for u in CIRCUIT.groups["position_detector"] if u != v]
        effect = {u: accuracy([u]) - accuracy([v, u]) for u in others}
        best = sorted(others, key=lambda u: (-effect[u], u))[:2]
        chosen = [u for u in best if effect[u] > 0]
        assert set(found.removed_first["position_detector"][str(v)]) == set(chosen)
        low, high = accuracy([*chosen, v]), accuracy(chosen)
        expected = (high / low - 1) if low else (np.inf if high else 0.0)
        assert found.scores["position_detector"][str(v)] == pytest.approx(expected)
        cost = found.cost("position_detector", v)
        assert cost.value == pytest.approx(high - low)
        clear = v in found.clear().groups["position_detector"]
        assert clear == (cost.low > 0 and expected >= found.threshold)


def test_faithfulness_of_a_model_with_itself(model, prompts):
    one = prompts.subset([0] * 4)
    object.__setattr__(one, "answers", answers_of(model, one).top[:, 0])
    found = measure_faithfulness(
        model, one, circuits=[CIRCUIT], means=mean_z(model, prompts.subset([0])), n_random=3
    )
    assert found.faithfulness().value == 1 and found.full_accuracy().value == 1
    assert found.random.shape == (3, 4) and found.random_accuracy().value == 1


def test_random_circuits_have_the_sizes_and_no_head_twice(model):
    for seed in range(20):
        drawn = random_circuit(model, CIRCUIT, seed=seed)
        assert [len(drawn.groups[n]) for n in GROUPS] == [len(CIRCUIT.groups[n]) for n in GROUPS]
        at_last = [*drawn.groups["value_fetcher"], *drawn.groups["position_transmitter"]]
        assert len(set(at_last)) == len(at_last)
    assert (
        random_circuit(model, CIRCUIT, seed=1)
        == random_circuit(model, CIRCUIT, seed=1)
        != random_circuit(model, CIRCUIT, seed=2)
    )


def test_size_is_the_smallest_that_reaches_the_target(model, prompts, pair_prompts, monkeypatch):
    monkeypatch.setattr(faithfulness, "TARGET", 0)
    clean, corrupt = pair_prompts
    means = mean_z(model, encode(model.tokenizer, examples(20, split="discovery")))
    curve = choose_size(
        model,
        prompts,
        discovery=discover(model, clean, corrupt=corrupt),
        means=means,
        shares=(0.3, 1.0),
    )
    assert curve.chosen == 0 and curve.circuit == curve.scores.circuits[0]
    assert curve.scores.circuits[1].size > curve.circuit.size
    # No candidate can be twice as good as the model: the smallest that is not clearly below the
    # best is taken.
    monkeypatch.setattr(faithfulness, "TARGET", 2)
    best = choose_size(
        model,
        prompts,
        discovery=discover(model, clean, corrupt=corrupt),
        means=means,
        shares=(0.3, 1.0),
    )
    assert best.scores.hits.mean() == 0 and best.chosen == 0


def test_completeness_lists_groups_random_and_greedy(model, prompts):
    means = mean_z(model, encode(model.tokenizer, examples(20, split="discovery")))
    found = measure_completeness(
        model, prompts, circuit=CIRCUIT, means=means, n_random=3, n_greedy=2
    )
    assert found.labels == (
        "group A",
        "group B",
        "group C",
        "group D",
        "random 1",
        "random 2",
        "random 3",
        "greedy 1",
        "greedy 2",
    )
    assert found.circuit_hits.shape == found.model_hits.shape == (9, 14)
    assert found.removed[0] == CIRCUIT.only("value_fetcher") and found.removed[-1].size == 2
    gap = found.circuit_hits[0].mean() - found.model_hits[0].mean()
    assert found.gap(0).value == pytest.approx(gap)
    nothing = Circuit(dict.fromkeys(CIRCUIT.groups, ()), "tiny")
    with pytest.raises(SiteError, match="the circuit of tiny has no heads"):
        measure_completeness(model, prompts, circuit=nothing, means=means)


def test_overlap_with_chance():
    same = overlaps(CIRCUIT, CIRCUIT, n_heads=20)
    assert [o.shared for o in same] == [2, 2, 3, 2]
    assert same[0].by_chance == pytest.approx(0.2) and same[0].p_value == pytest.approx(1 / 190)
    found = discovery_with({H(0, 1): -0.5, H(2, 2): -0.3})
    assert rank_correlation(found, found, group="value_fetcher").value == pytest.approx(1)
    constant = discovery_with({})
    assert rank_correlation(found, constant, group="value_fetcher") is None


def test_a_circuit_names_every_group(model):
    with pytest.raises(SiteError, match="a circuit of groups value_fetcher; it has exactly"):
        Circuit({"value_fetcher": ()}, "tiny")
    empty = Circuit({**CIRCUIT.groups, "structure_reader": ()}, "tiny")
    with pytest.raises(SiteError, match="the group structure_reader of this circuit is empty"):
        measure_minimality(model, None, circuit=empty, means=None)


def test_finding_is_stored_and_goes_on(model, monkeypatch):
    """The second search computes nothing; a search that was interrupted computes only what was
    left.
    """
    import entrack.circuit.discovery as circuit

    settings = CircuitSettings(n_pairs=7, n_means=7, discovery=DiscoveryConfig(receiver_share=1.0))
    calls = []
    original = circuit.path_patching
    monkeypatch.setattr(
        circuit,
        "path_patching",
        lambda *a, **k: calls.append(k["role"]) or _interrupted(original, calls, a, k),
    )
    with pytest.raises(KeyboardInterrupt):
        find_circuit(model, settings)
    assert calls == ["last", "last", "query_label"]
    monkeypatch.setattr(
        circuit, "path_patching", lambda *a, **k: calls.append(k["role"]) or original(*a, **k)
    )
    first = find_circuit(model, settings)
    assert calls[3:] == ["query_label", "after_prev_query_label"]
    again = find_circuit(model, settings)
    assert len(calls) == 5 and again.circuit == first.circuit
    assert torch.equal(
        torch.tensor(again.discovery.scores["structure_reader"].baseline),
        torch.tensor(first.discovery.scores["structure_reader"].baseline),
    )


def _interrupted(original, calls, args, options):
    if len(calls) == 3:
        raise KeyboardInterrupt
    return original(*args, **options)

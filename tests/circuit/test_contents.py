"""What groups carry: which patches are tested, and which numbers are put side by side."""

import numpy as np
import pytest
from tiny_models import CIRCUIT, HEADS, fine_tuned, tiny_model

from entrack.circuit.contents import (
    TARGETS,
    Contents,
    best_layers,
    ceiling_patches,
    content_changes,
    content_of_groups,
    content_patches,
    group_masks,
    streams_by_layer,
    whole_groups,
)
from entrack.circuits import Circuit
from entrack.cross_model.cmap_suite import cmap
from entrack.patching.dcm import DCMConfig
from entrack.patching.group_patching import patch_pairs
from entrack.patching.patches import Patch, Patched
from entrack.sites import GROUPS
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.task.draws import scenes

pytestmark = pytest.mark.usefixtures("own_cache")

QUICK = DCMConfig(penalties=(0.1,), steps=2, batch=7, seeds=(0, 1))


def pairs(n=2, split="evaluation"):
    return encode_counterfactuals(tiny_model().tokenizer, interchanges(n, split=split))


def test_empty_groups_get_no_patch():
    partial = Circuit({**HEADS, "position_detector": ()}, "tiny")
    patches = whole_groups(partial, "position_transmitter", "position_detector")
    assert patches == {"position_transmitter": Patch("last", HEADS["position_transmitter"])}


def test_streams_of_the_context_run_on_fewer_scenes_and_layers():
    roles = ["last", "after_prev_query_label"]
    found = streams_by_layer(tiny_model(), pairs(2), roles=roles, n_reader=1)
    layers = {role: [p.resid for p in found[role].patches.values()] for role in roles}
    assert layers == {"last": [0, 2, 4], "after_prev_query_label": [0]}
    assert [len(found[role].unpatched) for role in roles] == [14, 7]


def test_the_best_layer_is_never_that_of_the_token_itself():
    answers = np.array([[1, 1, 1, 1], [1, 1, 2, 2], [1, 2, 2, 2]])
    patches = {f"last {layer}": Patch("last", resid=layer) for layer in (0, 2, 4)}
    tokens = {"object": np.full(4, 1), "position": np.full(4, 2), "label": np.full(4, 3)}
    found = Patched(patches, tokens, answers, np.zeros(4, int), np.arange(4), "m")
    best = best_layers({"last": found})
    assert best == {("last", "object"): 2, ("last", "position"): 4, ("last", "label"): 2}
    patch = ceiling_patches(best)["ceiling last position"]
    assert (patch.role, patch.resid, patch.heads) == ("last", 4, ())


def test_contents_of_a_version_and_of_one_tuned_from_it():
    model, circuit = tiny_model(), CIRCUIT
    masks = group_masks(
        model,
        pairs(1, "discovery"),
        validation=pairs(1, "pruning"),
        circuit=circuit,
        config=QUICK,
        reader_config=QUICK,
        n_reader=1,
    )
    assert list(masks) == [(group, target) for group in GROUPS for target in TARGETS]
    patches = content_patches(masks, circuit)
    assert len(patches) == 4 * 3 + 4 and patches["structure_reader all"].heads
    ceilings = ceiling_patches({("last", "object"): 2})
    tested = {
        "base": patch_pairs(model, pairs(), patches={**patches, **ceilings}),
        "tuned": patch_pairs(fine_tuned(), pairs(), patches=patches),
    }
    found = Contents(masks=masks, tested=tested, base="base")
    assert found.tuned == ["tuned"] and found.groups == list(GROUPS)
    base = tested["base"]
    stream = base.score("ceiling last object", "object")
    assert found.ceiling("value_fetcher", "object") == stream
    assert found.ceiling("value_fetcher", "label") is None
    above = found.above("base", "value_fetcher", "object")
    assert above == base.above_floor("value_fetcher object", "object")
    whole = base.above_floor("value_fetcher all", "object")
    assert found.most("value_fetcher", "object").value == max(above.value, whole.value)
    rivals = [base.lead("value_fetcher object", "object", t) for t in ("position", "label")]
    assert found.lead("value_fetcher", "object").low == min(lead.low for lead in rivals)
    hits = [tested[v].hits("value_fetcher object", "object").mean() for v in ("tuned", "base")]
    assert found.fetching("tuned").value == pytest.approx(hits[0] - hits[1])


def answered(share, n=20):
    """A version that answers a share of the unpatched prompts right."""
    tokens = {"unchanged": np.full(n, 4), "object": np.full(n, 1)}
    right = np.where(np.arange(n) < share * n, 4, 9)
    return Patched({"p": Patch("last")}, tokens, right[None], right, np.arange(n), "m")


def test_only_clearly_better_versions_are_better():
    tested = {"base": answered(0.3), "same": answered(0.35), "tuned": answered(0.9)}
    assert Contents(masks={}, tested=tested, base="base").better() == ["tuned"]


def test_what_groups_carry_is_read_with_a_patch_per_group():
    found = content_of_groups(tiny_model(), CIRCUIT, n_scenes=2)
    assert list(found.patches) == ["A", "B", "C"] and found.answers.shape == (3, 14)
    assert found.patches["C"].role == "query_label"
    assert {"object", "position", "label", "unchanged"} == set(found.candidates)


def test_content_stands_beside_the_gain():
    base, tuned = tiny_model(), fine_tuned()
    holds = {"base": content_of_groups(base, CIRCUIT, n_scenes=2)}
    holds["tuned"] = content_of_groups(tuned, CIRCUIT, n_scenes=2)
    given = cmap(tuned, base, CIRCUIT, scenes=scenes(2, split="evaluation"))
    changes = content_changes(holds, {"tuned": given}, base="base")
    assert [(c.letter, c.content) for c in changes] == [
        ("A", "object"),
        ("B", "position"),
        ("C", "position"),
    ]
    for change in changes:
        assert change.change.value == pytest.approx(change.after.value - change.before.value)
        assert change.gain == given.gain(change.letter)

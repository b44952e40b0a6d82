"""Patching heads and residual streams between pairs, against hooks in whole passes."""

import numpy as np
import pytest
import torch
from closeness import additions, assert_close
from hooked import hooked_logits
from tiny_models import tiny_model

from entrack.errors import ConfigError, ModelError, SiteError
from entrack.model.activations import clean_run
from entrack.model.hooks import Trace
from entrack.model.shared_runs import run_shared
from entrack.patching.group_patching import Prepared, answers_with, patch_pairs
from entrack.patching.patches import Patch, Patched
from entrack.sites import Head
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.task.desiderata import build

pytestmark = pytest.mark.usefixtures("own_cache")

HEADS = (Head(1, 0), Head(1, 3), Head(3, 2))


@pytest.fixture(scope="module")
def data():
    return encode_counterfactuals(tiny_model().tokenizer, interchanges(3, split="discovery"))


@pytest.mark.parametrize("role", ["last", "query_label", "prev_query_label"])
def test_heads_equal_hooks(any_model, data, role):
    found = answers_with(Prepared(any_model, data), patches=[Patch(role, HEADS)])[0]
    expected = hooked_logits(any_model, data, role=role, heads=HEADS).argmax(-1)
    plain = answers_with(Prepared(any_model, data), patches=[Patch(role)])[0]
    assert torch.equal(found, expected)
    assert (found != plain).any()


@pytest.mark.parametrize("role", ["last", "query_label", "prev_query_label"])
def test_a_donor_reads_the_source_and_the_receiver_the_base(model, data, role):
    donor = tiny_model("gqa", seed=1)
    patches = {"heads": Patch(role, HEADS)}
    found = patch_pairs(model, data, patches=patches, donor=donor).answers[0]
    expected = hooked_logits(model, data, role=role, heads=HEADS, donor=donor).argmax(-1)
    assert torch.equal(torch.from_numpy(found), expected)
    own = patch_pairs(model, data, patches=patches).answers[0]
    assert (found != own).any()
    itself = patch_pairs(model, data, patches=patches, donor=model).answers[0]
    assert (itself == own).all()


def test_a_donor_of_another_shape_is_refused(model, data):
    with pytest.raises(ModelError, match="differ in shape .*; donor and receiver must have one"):
        patch_pairs(model, data, patches={"x": Patch("last", HEADS)}, donor=tiny_model("mha"))


@pytest.mark.parametrize("role", ["last", "query_label", "prev_query_label"])
@pytest.mark.parametrize("layer", [0, 2])
def test_residual_stream_equals_a_hook(model, data, role, layer):
    rows, name = torch.arange(len(data)), f"model.layers.{layer}"
    with torch.no_grad():
        with Trace(model.hf, name, retain_input=True) as trace:
            model.hf(data.source.tokens)
        taken = trace.input[rows, data.source.at(role)]

        def edit(h):
            return h.index_put((rows, data.base.at(role)), taken)

        with Trace(model.hf, name, edit_input=edit):
            logits = model.hf(data.base.tokens).logits[rows, data.base.at("last")]
    found = answers_with(Prepared(model, data), patches=[Patch(role, resid=layer)])[0]
    assert torch.equal(found, logits.argmax(-1))


def test_nothing_patched_is_hugging_faces_own_answer(any_model, data):
    with torch.no_grad():
        logits = any_model.hf(data.base.tokens).logits[
            torch.arange(len(data)), data.base.at("last")
        ]
    assert torch.equal(
        answers_with(Prepared(any_model, data), patches=[Patch("last")])[0], logits.argmax(-1)
    )


def test_the_source_itself_patched_changes_nothing(model, data):
    same = type(data)(
        base=data.base, source=data.base, answers=data.answers, alternatives=data.alternatives
    )
    patches = [
        Patch("last"),
        Patch("last", HEADS),
        Patch("query_label", HEADS),
        Patch("query_label", resid=2),
    ]
    found = answers_with(Prepared(model, same), patches=patches)
    assert (found == found[0]).all()


def test_the_whole_last_token_gives_the_sources_answer(model, data):
    """The residual stream that leaves the last layer at the last token decides the answer alone."""
    with torch.no_grad():
        logits = model.hf(data.source.tokens).logits[
            torch.arange(len(data)), data.source.at("last")
        ]
    found = answers_with(Prepared(model, data), patches=[Patch("last", resid=model.n_layers)])[0]
    assert torch.equal(found, logits.argmax(-1))


def test_shared_contexts_run_once_and_equal_whole_runs(any_model, data, monkeypatch):
    whole = clean_run(any_model, data.base)
    ran = []
    monkeypatch.setattr(
        "entrack.model.shared_runs.clean_run",
        lambda model, prompts: ran.append(len(prompts)) or clean_run(model, prompts),
    )
    shared = run_shared(any_model, data.base)
    assert ran == [3]
    for name in ("resid", "keys", "values", "z"):
        assert_close(
            getattr(shared, name),
            getattr(whole, name),
            terms=additions(any_model, data.base.tokens.shape[1]),
        )


def test_prompts_without_a_common_context_take_the_plain_way(model, prompts):
    shared, plain = run_shared(model, prompts), clean_run(model, prompts)
    for name in ("resid", "keys", "values", "z"):
        # Exactly: the plain way is the same pass.
        assert torch.equal(getattr(shared, name), getattr(plain, name)), name


def test_sources_longer_than_the_base_are_read_at_their_own_roles(model):
    data = encode_counterfactuals(
        model.tokenizer, build("random_text_start", 14, split="discovery")
    )
    assert (data.source.lengths > data.base.lengths).all()
    found = answers_with(Prepared(model, data, "position"), patches=[Patch("query_label", HEADS)])[
        0
    ]
    assert torch.equal(
        found, hooked_logits(model, data, role="query_label", heads=HEADS).argmax(-1)
    )


def test_scores_count_what_they_say():
    patched = Patched(
        patches={"a": Patch("last", HEADS)},
        candidates={"object": np.array([1, 2, 3, 4]), "position": np.array([5, 6, 7, 8])},
        answers=np.array([[1, 2, 7, 9]]),
        unpatched=np.array([1, 6, 0, 0]),
        scenes=np.array([0, 0, 1, 1]),
        model="m",
    )
    assert patched.score("a", "object").value == 0.5
    assert patched.floor("object").value == 0.25
    assert patched.above_floor("a", "object").value == 0.25
    assert patched.lead("a", "object", "position").value == 0.25
    assert patched.shares("a") == {"object": 0.5, "position": 0.25, "other": 0.25}
    assert patched.shares(None) == {"object": 0.25, "position": 0.25, "other": 0.5}


def test_results_are_found_again_and_say_which_scenes(model, data, monkeypatch):
    patches = {
        "a": Patch("last", HEADS),
        "none": Patch("last"),
        "all": Patch("query_label", resid=1),
    }
    first = patch_pairs(model, data, patches=patches)
    monkeypatch.setattr("entrack.patching.group_patching.answers_with", None)
    again = patch_pairs(model, data, patches=patches)
    assert np.array_equal(first.answers, again.answers) and again.patches == patches
    assert first.scenes.tolist() == [i // 7 for i in range(21)]
    assert np.array_equal(first.answers[1], first.unpatched)


def test_bad_patches_are_refused(model, data):
    with pytest.raises(SiteError, match=r"no head 9\.0; this model has 5 layers of 4 heads"):
        patch_pairs(model, data, patches={"a": Patch("last", (Head(9, 0),))})
    with pytest.raises(
        SiteError, match="no residual stream at layer 6; tiny/gqa has layers 0 to 5"
    ):
        patch_pairs(model, data, patches={"a": Patch("last", resid=6)})
    with pytest.raises(ConfigError, match="no patches; at least one is needed"):
        patch_pairs(model, data, patches={})
    with pytest.raises(
        ConfigError, match="patch 'a' of 3 heads and of the residual stream; it is one or the other"
    ):
        patch_pairs(model, data, patches={"a": Patch("last", HEADS, resid=2)})

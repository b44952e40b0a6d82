"""Every experiment on every architecture, against whole passes of Hugging Face's own model."""

import numpy as np
import pytest
import torch
from architectures import FUSED, MULTI_HEAD, PROVED, REFUSED, tiny_decoder
from closeness import additions, assert_close, finite_differences
from reference.literal_decoder import activations, last_logits, path_patched_logits, whole_pass
from tokenizers_for_tests import make_tokenizer

from entrack.circuit.ablation import score_circuits
from entrack.circuits import Circuit
from entrack.cross_model.cells import Cell
from entrack.cross_model.cmap import cross_patch
from entrack.cross_model.weight_swap import graft, per_head
from entrack.errors import ModelError
from entrack.model.activations import clean_run, mean_z
from entrack.model.attention import patterns
from entrack.model.edits import Edit
from entrack.model.replay import Replay, rerun
from entrack.patching.accuracy import score_task
from entrack.patching.attention_knockout import blocked_resid
from entrack.patching.dcm import target_logit
from entrack.patching.group_patching import Prepared, answers_with
from entrack.patching.patches import Patch
from entrack.patching.path_patching import path_patching
from entrack.sites import GROUPS, Head
from entrack.task.counterfactual_pairs import interchanges
from entrack.task.counterfactual_prompts import encode_counterfactuals
from entrack.task.draws import all_queries, pairs, scenes
from entrack.task.prompts import encode, encode_pairs

pytestmark = pytest.mark.usefixtures("own_cache")

HEADS = {
    "value_fetcher": (Head(2, 1), Head(3, 2)),
    "position_transmitter": (Head(2, 0), Head(3, 3)),
    "position_detector": (Head(1, 1), Head(2, 2)),
    "structure_reader": (Head(0, 3),),
}
CIRCUIT = Circuit(HEADS, "tiny")


@pytest.fixture(scope="module", params=list(PROVED))
def decoder(request):
    return tiny_decoder(request.param)


@pytest.fixture(scope="module")
def pair_prompts():
    return encode_pairs(make_tokenizer(), pairs(3, split="discovery", n_boxes=3))


@pytest.fixture(scope="module")
def questions():
    return encode(make_tokenizer(), all_queries(scenes(2, split="evaluation", n_boxes=3)))


@pytest.fixture(scope="module")
def data():
    drawn = interchanges(1, split="discovery", n_boxes=3)
    return encode_counterfactuals(make_tokenizer(), drawn)


def close(model, found, expected, unlike=None):
    """Logits equal up to the rounding of a pass, and unlike those without the patch."""
    terms = additions(model, 40)
    assert_close(found, expected, terms=terms, magnitude=expected, unlike=unlike)


def log_prob(logits, answers):
    return logits.float().log_softmax(-1)[torch.arange(len(logits)), answers]


def final_logits(model, final):
    """Of what a replay leaves at its last slot [example vocabulary]."""
    return model.layers.logits(final[:, 0, -1])


def test_the_view_passes_its_own_check(decoder):
    decoder.self_check()


def test_a_whole_replay_and_a_rerun_are_the_models_own_pass(decoder, questions):
    run = clean_run(decoder, questions)
    own = last_logits(decoder, questions)
    every = torch.arange(questions.tokens.shape[1])[None].expand(len(questions), -1)
    close(decoder, final_logits(decoder, Replay(decoder, run, positions=every).final()), own)
    again = rerun(decoder, run, positions=every, edits=[])
    for name in ("resid", "keys", "values", "z"):
        close(decoder, getattr(again, name), getattr(run, name))


@pytest.mark.parametrize("kind", ["z", "q", "k", "v"])
def test_edits_at_several_positions_equal_the_edited_whole_pass(decoder, questions, kind):
    run = clean_run(decoder, questions)
    rows, n = torch.arange(len(questions)), decoder.n_heads
    last = questions.at("last")
    positions = last[:, None] - torch.tensor([4, 2, 0])
    own = activations(decoder, questions.tokens)
    value = own[kind, 1][rows, :, questions.at("correct_object")]  # another position's own vectors
    masks = {0: (0, 3), 1: (2,)}
    edits = []
    for slot, heads in masks.items():
        mask = torch.zeros(1, 1, n, dtype=torch.bool)
        mask[..., list(heads)] = True
        edits.append(Edit(kind, 1, slot, value[:, None], mask))
    # Positions that are not replayed keep their clean keys and values: all that follow are.
    every = last[:, None] - torch.arange(4, -1, -1)
    edits = [Edit(e.kind, e.layer, 2 * e.slot, e.value, e.mask) for e in edits]

    def write(at, layer, vectors):
        if at == kind and layer == 1:
            vectors = vectors.clone()
            for slot, heads in masks.items():
                for head in heads:
                    vectors[rows, head, positions[:, slot]] = value[:, head]
        return vectors

    found = final_logits(decoder, Replay(decoder, run, positions=every, edits=edits).final())
    close(
        decoder,
        found,
        last_logits(decoder, questions, write),
        unlike=last_logits(decoder, questions),
    )


@pytest.mark.parametrize("group", list(GROUPS))
def test_path_patching_equals_two_whole_passes(decoder, pair_prompts, group):
    clean, corrupt = pair_prompts
    stage = GROUPS[group]
    receivers = () if stage.receivers is None else HEADS[stage.receivers]
    settings = {"role": stage.role, "receivers": receivers, "via": stage.composition}
    found = path_patching(decoder, clean, corrupt=corrupt, **settings)
    own = last_logits(decoder, clean)
    before = log_prob(own, clean.answers)
    highest = max((h.layer for h in receivers), default=decoder.n_layers)
    pairs_of = [(h.layer, h.head) for h in receivers]
    moved = 0.0
    for sender in [(0, 1), (0, 3), (1, 0), (2, 2), (3, 1)]:
        if sender[0] >= highest:
            assert np.isnan(found.values[sender]).all()
            continue
        options = {**settings, "receivers": pairs_of}
        logits = path_patched_logits(decoder, clean, corrupt, sender=sender, **options)
        change = log_prob(logits, clean.answers) - before
        scale = {"terms": additions(decoder, 40), "magnitude": logits}
        assert_close(np.log1p(found.values[sender]), change, **scale)
        moved = max(moved, change.abs().max().item())
    assert moved > 1e-4, "effects too small to be compared"


def test_a_circuit_alone_equals_a_whole_pass_of_means(decoder, questions):
    means = mean_z(decoder, questions)
    found = score_circuits(decoder, questions, circuits=[CIRCUIT], means=means)
    rows = torch.arange(len(questions))

    def ablate(kind, layer, vectors):
        if kind != "z":
            return vectors
        given = means.z[layer].transpose(0, 1).expand_as(vectors).clone()
        for role in {CIRCUIT.role(name) for name in GROUPS}:
            for head in (h.head for h in CIRCUIT.at(role) if h.layer == layer):
                place = questions.at(role)
                given[rows, head, place] = vectors[rows, head, place]
        return given

    logits = last_logits(decoder, questions, ablate)
    expected = log_prob(logits, questions.answers)
    plain = log_prob(last_logits(decoder, questions), questions.answers)
    scale = {"terms": additions(decoder, 40), "magnitude": logits}
    assert_close(found.log_prob[0], expected.numpy(), unlike=plain.numpy(), **scale)


def test_a_knock_out_equals_blocked_whole_passes(decoder, questions):
    run, rows = clean_run(decoder, questions), torch.arange(len(questions))
    reader, goal = questions.at("last"), questions.at("last") - 3  # inside every window

    def block(kind, layer, vectors):
        if kind == "scores" and layer >= 1:
            vectors = vectors.clone()
            vectors[rows, :, reader, goal] = float("-inf")
        return vectors

    final = blocked_resid(decoder, run, reader=reader, goal=goal, layer=1)
    expected = last_logits(decoder, questions, block)
    close(decoder, decoder.layers.logits(final), expected, unlike=last_logits(decoder, questions))


def test_attention_patterns_are_those_of_the_whole_pass(decoder, questions):
    heads = [Head(layer, head) for layer in range(decoder.n_layers) for head in range(4)]
    found = patterns(decoder, questions, heads, role="query_label")
    own, rows = activations(decoder, questions.tokens), torch.arange(len(questions))
    expected = [own["pattern", h.layer][rows, h.head, questions.at("query_label")] for h in heads]
    scores = max(
        own["scores", layer].clamp_min(-1e4).tril().abs()[own["scores", layer] > -1e4].max()
        for layer in range(decoder.n_layers)
    )
    assert_close(
        found.weights, torch.stack(expected, 1), terms=additions(decoder, 40), magnitude=scores
    )


def test_the_gradient_of_a_mask_is_that_of_finite_differences(decoder, data):
    prepared = Prepared(decoder, data)
    heads, role = (Head(1, 1), Head(2, 3)), "query_label"
    options = {"heads": heads, "role": role, "target": "label"}
    indices = list(range(len(data)))

    def loss(weights):
        return target_logit(prepared, indices, weights=weights[None], **options).mean()

    weights = torch.tensor([0.4, 0.7], requires_grad=True)
    loss(weights).backward()
    step = 0.1
    numeric = finite_differences(loss, weights.detach(), step=step)
    # The rounding of the loss, of logits of size one, is divided by the step.
    size = torch.tensor(1 / step)
    assert_close(weights.grad, numeric, terms=additions(decoder, 40), magnitude=size)
    assert weights.grad.abs().max() > 3e-4
    # The blend itself, against a whole pass.
    theirs, rows = activations(decoder, data.source.tokens), torch.arange(len(data))
    share = {(h.layer, h.head): 1 - w for h, w in zip(heads, weights.tolist(), strict=True)}

    def blend(kind, layer, vectors):
        if kind == "z":
            vectors = vectors.clone()
            for (at, head), part in share.items():
                if at == layer:
                    own = vectors[rows, head, data.base.at(role)]
                    given = theirs["z", at][rows, head, data.source.at(role)]
                    vectors[rows, head, data.base.at(role)] = torch.lerp(own, given, part)
        return vectors

    logits = last_logits(decoder, data.base, blend)
    expected = logits[rows, prepared.candidates["label"]].mean()
    scale = {"terms": additions(decoder, 40), "magnitude": logits}
    assert_close(loss(weights.detach()), expected, **scale)


def test_the_residual_stream_and_heads_of_a_source_are_patched(decoder, data):
    """Whole streams at the last layer's end are the source's answer, and patched heads answer as in
    a whole pass."""
    prepared, rows = Prepared(decoder, data), torch.arange(len(data))
    heads = (Head(1, 0), Head(3, 2))
    found = answers_with(
        prepared, patches=[Patch("last", resid=decoder.n_layers), Patch("last", heads)]
    )
    assert torch.equal(found[0], last_logits(decoder, data.source).argmax(-1))
    theirs = activations(decoder, data.source.tokens)

    def swap(kind, layer, vectors):
        if kind == "z":
            vectors = vectors.clone()
            for head in (h.head for h in heads if h.layer == layer):
                taken = theirs["z", layer][rows, head, data.source.at("last")]
                vectors[rows, head, data.base.at("last")] = taken
        return vectors

    assert torch.equal(found[1], last_logits(decoder, data.base, swap).argmax(-1))


def test_a_model_handed_its_own_activations_answers_as_ever(decoder, questions):
    other = tiny_decoder(decoder.config.model_type, seed=1)
    cells = [
        Cell("z", {"query_label": HEADS["position_detector"], "last": HEADS["value_fetcher"]}),
        Cell("qkv", {"last": HEADS["value_fetcher"]}, "qkv"),
    ]
    own = cross_patch(decoder, decoder, questions, cells=cells)
    logits = last_logits(decoder, questions)
    scale = {"terms": additions(decoder, 40), "magnitude": logits}
    for row in own.log_prob:
        assert_close(row, own.own_log_prob, **scale)
    assert_close(own.own_log_prob, log_prob(logits, questions.answers).numpy(), **scale)
    # Another model's activations do change it, as in whole passes of both.
    theirs, rows = activations(other, questions.tokens), torch.arange(len(questions))

    def hand_over(kind, layer, vectors):
        if kind == "z":
            vectors = vectors.clone()
            for role, heads in cells[0].heads.items():
                for head in (h.head for h in heads if h.layer == layer):
                    place = questions.at(role)
                    vectors[rows, head, place] = theirs["z", layer][rows, head, place]
        return vectors

    expected = log_prob(last_logits(decoder, questions, hand_over), questions.answers)
    found = cross_patch(other, decoder, questions, cells=cells)
    assert_close(found.log_prob[0], expected.numpy(), unlike=found.own_log_prob, **scale)
    assert np.abs(found.log_prob[1] - found.own_log_prob).max() > 1e-3


def test_questions_on_one_context_are_whole_prompts(decoder):
    drawn = scenes(2, split="evaluation", n_boxes=3)
    found = score_task(decoder, drawn)
    prompts = encode(decoder.tokenizer, all_queries(drawn))
    logits = last_logits(decoder, prompts)
    expected = log_prob(logits, prompts.answers).reshape(2, 3)
    scale = {"terms": additions(decoder, 40), "magnitude": logits}
    assert_close(found.log_prob, expected.numpy(), **scale)


def test_grafts_where_heads_have_projections_and_a_refusal_where_not(decoder, questions):
    kind = decoder.config.model_type
    other = tiny_decoder(kind, seed=1)
    if kind in FUSED:
        with pytest.raises(ModelError, match=rf"tiny/{kind}, a '{kind}' model, has no .*_proj of"):
            graft(decoder, other, heads=[Head(1, 1)])
        return
    close(decoder, last_logits(per_head(decoder), questions), last_logits(decoder, questions))
    made = graft(decoder, other, heads=[Head(1, 1)], matrices="o")
    found, plain = last_logits(made, questions), last_logits(decoder, questions)
    assert (found - plain).abs().max() > 1e-3


@pytest.mark.parametrize("kind", REFUSED)
def test_what_does_not_pass_is_refused_with_the_reason(kind):
    settings, reason = REFUSED[kind]
    if kind != "gpt_oss":
        settings = {**settings, "num_key_value_heads": None}
    with pytest.raises(ModelError, match=f"tiny/{kind}, a '{kind}' model, .*{reason}"):
        tiny_decoder(kind, settings).self_check()


@pytest.mark.parametrize(
    ("kind", "attribute", "wrong"),
    [
        ("gemma2", "final_logit_softcapping", None),
        ("granite", "logits_scaling", 1.0),
    ],
)
def test_a_scalar_that_is_not_known_is_seen(kind, attribute, wrong, monkeypatch):
    model = tiny_decoder(kind)
    own = model.layers._scaled
    settings = type("Settings", (), {attribute: wrong})

    def blind(logits):
        true = getattr(model.config, attribute)
        setattr(model.config, attribute, settings.__dict__[attribute])
        try:
            return own(logits)
        finally:
            setattr(model.config, attribute, true)

    monkeypatch.setattr(model.layers, "_scaled", blind)
    with pytest.raises(ModelError, match="the logits comes? out with a relative error"):
        model.self_check()


@pytest.mark.parametrize("off", [None, 6])
def test_a_window_that_is_not_known_is_seen(off, monkeypatch):
    """No window, and one that is off by one."""
    model = tiny_decoder("mistral")
    own = type(model.layers).forward

    def blind(view, layer, h, places, attend):
        def widened(inputs):
            object.__setattr__(inputs, "window", off)
            return attend(inputs)

        return own(view, layer, h, places, widened)

    monkeypatch.setattr(type(model.layers), "forward", blind)
    with pytest.raises(ModelError, match="layer 0 .*out with a relative error of 0"):
        model.self_check()


def test_nothing_is_left_behind(decoder, questions):
    before = decoder.hf.config._attn_implementation
    with pytest.raises(ZeroDivisionError):
        decoder.layers.forward(
            1,
            torch.zeros(1, 1, decoder.d_model),
            decoder.layers.places(torch.zeros(1, 1, dtype=torch.long), length=1),
            lambda inputs: 1 / 0,
        )
    assert decoder.hf.config._attn_implementation == before
    own = whole_pass(decoder, questions.tokens)
    assert torch.isfinite(own).all()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in decoder.hf.modules())
    assert decoder.n_kv_heads == (4 if decoder.config.model_type in MULTI_HEAD else 2)


def test_an_embedding_of_another_width_is_refused_in_words():
    with pytest.raises(ModelError, match="tiny/opt, a 'opt' model, .*its parts do not fit"):
        tiny_decoder("opt", {"ffn_dim": 48, "word_embed_proj_dim": 16}).self_check()

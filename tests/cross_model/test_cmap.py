"""Cross-model patching against whole passes with hooks; identities; refusals in words."""

import numpy as np
import pytest
import torch
from closeness import additions, assert_apart, assert_close
from hooked import logits_with
from tiny_models import CIRCUIT, HEADS, fine_tuned, last_logits, tiny_model
from tokenizers_for_tests import make_tokenizer

from entrack.circuits import Circuit
from entrack.cross_model.cells import Cell, group_cell, other_cells
from entrack.cross_model.cmap import cross_patch
from entrack.errors import AlignmentError, ConfigError, ModelError, SiteError
from entrack.model.activations import clean_run
from entrack.sites import GROUPS, Head
from entrack.task.draws import all_queries, examples, scenes
from entrack.task.prompts import encode

pytestmark = pytest.mark.usefixtures("own_cache")


def hooked(receiver, prompts, z, edits):
    """Log probability of the answers in one pass of the whole prompts, with z(role, head) [example
    d_head] put in by hooks.
    """
    logits = logits_with(receiver, prompts, z, edits)
    return logits.log_softmax(-1)[torch.arange(len(prompts)), prompts.answers].numpy()


def whole_pass(donor, receiver, prompts, edits):
    given = clean_run(donor, prompts)
    return hooked(
        receiver, prompts, lambda role, head: given.z_at(role)[head.layer, :, head.head], edits
    )


def rounding(donor, receiver, prompts):
    return {
        "terms": additions(receiver, prompts.tokens.shape[1]),
        "magnitude": torch.cat([last_logits(m, prompts) for m in (donor, receiver)]),
    }


@pytest.mark.parametrize("kind", ["mha", "gqa", "mqa"])
def test_outputs_are_exchanged_as_by_hooks_in_whole_passes(kind):
    donor, receiver = fine_tuned(kind), tiny_model(kind)
    prompts = encode(receiver.tokenizer, all_queries(scenes(3, split="evaluation")))
    cells = [
        group_cell(CIRCUIT, "A"),
        group_cell(CIRCUIT, "C"),
        group_cell(CIRCUIT, "D"),
        group_cell(CIRCUIT, "A", "C"),
        group_cell(CIRCUIT),
    ]
    found = cross_patch(donor, receiver, prompts, cells=cells)
    same = rounding(donor, receiver, prompts)
    for cell in cells:
        expected = whole_pass(donor, receiver, prompts, list(cell.heads.items()))
        patched = found.log_prob[found.index(cell.label)]
        assert_close(patched, expected, unlike=found.own_log_prob, **same)
    assert_close(found.own_log_prob, whole_pass(donor, receiver, prompts, []), **same)
    assert_close(found.donor_log_prob, whole_pass(donor, donor, prompts, []), **same)
    assert_apart(found.donor_log_prob, found.own_log_prob, **same)
    assert found.scenes.tolist() == [0] * 7 + [1] * 7 + [2] * 7


def literal_inputs(donor, receiver, prompts, heads, role, inputs):
    """z of `heads` at `role`, written out head by head: softmax(q k) v with the donor's q at the
    role, k and v before it.
    """
    from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

    rows = torch.arange(len(prompts))
    ours, theirs = clean_run(receiver, prompts), clean_run(donor, prompts)
    z = {}
    resid = ours.resid_at(role)[min(h.layer for h in heads)]
    for layer in range(min(h.layer for h in heads), receiver.n_layers):
        block = receiver.layers.blocks[layer]
        for row in rows.tolist():
            place = int(prompts.at(role)[row])
            cos, sin = receiver.hf.model.rotary_emb(resid[None], torch.tensor([[place]]))
            x = block.input_layernorm(resid[row])
            q, k, v = (getattr(block.self_attn, f"{m}_proj")(x).view(-1, 8) for m in "qkv")
            y = donor.layers.blocks[layer].input_layernorm(theirs.resid_at(role)[layer, row])
            q_given = donor.layers.blocks[layer].self_attn.q_proj(y).view(-1, 8)
            out = []
            for head in range(4):
                kv, patched = head // receiver.group_size, Head(layer, head) in heads
                source = {n: theirs if patched and n in inputs else ours for n in "kv"}
                query, key = apply_rotary_pos_emb(
                    (q_given if patched and "q" in inputs else q)[head].view(1, 1, 1, 8),
                    k[kv].view(1, 1, 1, 8),
                    cos,
                    sin,
                )
                keys = torch.cat([source["k"].keys[layer, row, kv, :place], key[0, 0]])
                values = torch.cat([source["v"].values[layer, row, kv, :place], v[kv][None]])
                pattern = (keys @ query[0, 0, 0] * 8**-0.5).softmax(-1)
                out.append(pattern @ values)
            z[layer, row] = torch.stack(out)
        outputs = torch.stack([z[layer, row].flatten() for row in rows.tolist()])
        mid = resid + block.self_attn.o_proj(outputs)
        resid = mid + block.mlp(block.post_attention_layernorm(mid))
    return z


@pytest.mark.parametrize("kind", ["mha", "gqa", "mqa"])
@pytest.mark.parametrize("inputs", ["q", "k", "v", "qkv"])
def test_inputs_reach_the_chosen_query_heads_alone(kind, inputs):
    donor, receiver = fine_tuned(kind), tiny_model(kind)
    prompts = encode(receiver.tokenizer, examples(3, split="evaluation"))
    cell = group_cell(CIRCUIT, "B", inputs=inputs)
    found = cross_patch(donor, receiver, prompts, cells=[cell, group_cell(CIRCUIT, "B")])
    with torch.no_grad():
        z = literal_inputs(donor, receiver, prompts, HEADS["position_transmitter"], "last", inputs)

    def patched(role, head):
        return torch.stack([z[head.layer, row][head.head] for row in range(3)])

    expected = hooked(receiver, prompts, patched, [("last", HEADS["position_transmitter"])])
    same = rounding(donor, receiver, prompts)
    assert_close(found.log_prob[0], expected, unlike=found.own_log_prob, **same)
    if inputs != "qkv":  # all three together are nearly the output
        assert_apart(found.log_prob[0], found.log_prob[1], **same)


def test_a_model_patched_with_itself_is_itself(any_model):
    prompts = encode(any_model.tokenizer, all_queries(scenes(2, split="evaluation")))
    cells = [group_cell(CIRCUIT)] + [
        group_cell(CIRCUIT, g, inputs=i) for g in "ABCD" for i in ("z", "q", "k", "v", "qkv")
    ]
    found = cross_patch(any_model, any_model, prompts, cells=cells)
    assert_close(
        found.log_prob,
        np.broadcast_to(found.own_log_prob, found.log_prob.shape),
        **rounding(any_model, any_model, prompts),
    )
    # Exactly: the same pass of the same model.
    np.testing.assert_array_equal(found.own_log_prob, found.donor_log_prob)
    assert found.gain("full circuit").value == 0


def test_repaired_and_broken_partition_the_prompts():
    donor, receiver = fine_tuned(), tiny_model()
    prompts = encode(receiver.tokenizer, all_queries(scenes(2, split="evaluation")))
    found = cross_patch(donor, receiver, prompts, cells=[group_cell(CIRCUIT, "A")])
    own = np.array([True] * 4 + [False] * 10)
    patched = np.array([True, True, False, True] + [True] * 3 + [False] * 7)
    made = type(found)(**{**vars(found), "own_hits": own, "hits": patched[None]})
    assert made.repaired("A").value == pytest.approx(0.3) and made.broken(
        "A"
    ).value == pytest.approx(0.25)
    assert made.gain("A").value == pytest.approx((3 - 1) / 14) and (
        made.gain("A").better,
        made.gain("A").worse,
    ) == (3, 1)
    better = np.array(
        [True] * 12 + [False] * 2
    )  # the donor is 8 of 14 ahead, of which the patch closes 2
    closed = type(found)(**{**vars(made), "donor_hits": better}).closed("A")
    assert closed.value == pytest.approx(2 / 8) and closed.low < closed.value < closed.high
    assert np.isnan(type(found)(**{**vars(made), "donor_hits": own}).closed("A").value)
    nothing_wrong = type(found)(**{**vars(found), "own_hits": np.ones(14, bool)})
    assert nothing_wrong.repaired("A") is None
    with pytest.raises(ConfigError, match="no cell 'Z'; there are A"):
        made.gain("Z")


def test_controls_have_the_size_of_the_group_and_none_of_its_heads(model):
    cells = other_cells(model, CIRCUIT, "A", n_random=4, seed=2)
    assert [c.label for c in cells] == [
        "random A 1",
        "random A 2",
        "random A 3",
        "random A 4",
        "all others at A",
    ]
    inside = CIRCUIT.at("last")
    for cell in cells[:-1]:
        assert len(set(cell.heads["last"])) == 2 and not inside & set(cell.heads["last"])
    assert len({cell.heads["last"] for cell in cells[:-1]}) == 4
    assert set(cells[-1].heads["last"]) | inside == {Head(n, h) for n in range(5) for h in range(4)}
    full = Circuit(
        {
            n: tuple(Head(a, b) for a in range(5) for b in range(4)) if n == "value_fetcher" else ()
            for n in GROUPS
        },
        "tiny",
    )
    with pytest.raises(
        SiteError, match="0 heads outside the circuit at last; a random group needs 20"
    ):
        other_cells(model, full, "A")


def test_pairs_that_do_not_fit_are_refused_in_words(model, prompts):
    cells = [group_cell(CIRCUIT, "A")]
    with pytest.raises(
        ModelError,
        match=(
            r"tiny/mqa and tiny/gqa differ in shape \(n_kv_heads 1 and 2\); donor and receiver must"
            r" have one"
        ),
    ):
        cross_patch(tiny_model("mqa"), model, prompts, cells=cells)
    other = tiny_model("gqa", seed=3)
    object.__setattr__(other, "tokenizer", make_tokenizer(bos=True))
    with pytest.raises(
        AlignmentError,
        match="the tokenizer of tiny/gqa reads 'The .*as other tokens than these prompts",
    ):
        cross_patch(other, model, prompts, cells=cells)


def test_cells_that_cannot_be_are_refused_in_words(model, prompts):
    with pytest.raises(SiteError, match="unknown head group 'E'; the groups are A value_fetcher"):
        group_cell(CIRCUIT, "E")
    empty = Circuit({**HEADS, "structure_reader": ()}, "smollm2/raw")
    with pytest.raises(
        SiteError,
        match=(
            "the circuit of smollm2/raw has no heads in group D structure_reader; a group that is"
            " patched"
        ),
    ):
        group_cell(empty, "D")
    assert set(group_cell(empty).heads) == {"last", "query_label"}
    with pytest.raises(SiteError, match="no heads in the cell 'x'; something must be patched"):
        Cell("x", {"last": ()})
    with pytest.raises(ConfigError, match="inputs 'x'; allowed are z, q, k, v"):
        group_cell(CIRCUIT, "A", inputs="x")
    with pytest.raises(
        ConfigError,
        match="inputs at 2 roles in the cell 'q of A and C'; inputs are patched at one role",
    ):
        group_cell(CIRCUIT, "A", "C", inputs="q")
    with pytest.raises(SiteError, match="no head 9.0; this model has 5 layers"):
        cross_patch(model, model, prompts, cells=[Cell("x", {"last": (Head(9, 0),)})])
    with pytest.raises(ConfigError, match="cells A, A: A twice; each needs its own label"):
        cross_patch(model, model, prompts, cells=[group_cell(CIRCUIT, "A")] * 2)
    with pytest.raises(ConfigError, match="no cells; at least one is needed"):
        cross_patch(model, model, prompts, cells=[])

"""The engine against the plain way: whole forward passes edited by hooks."""

import pytest
import torch
from closeness import additions, assert_close, finite_differences
from tiny_models import tiny_model
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from entrack.errors import AlignmentError, SiteError
from entrack.model.activations import clean_run, project
from entrack.model.answers import read_out
from entrack.model.edits import Edit, by_suffix, suffix
from entrack.model.hooks import TraceDict
from entrack.model.replay import Replay, rerun

TERMS = additions(tiny_model(), 60)
STEP = 0.1


def close(actual, expected):
    """Equal up to the rounding of a whole pass over the longest prompts here. A difference that
    should vanish is judged beside values of size one at least.
    """
    assert_close(actual, expected, terms=TERMS, magnitude=torch.ones(1))


def heads(*which):
    mask = torch.zeros(1, 1, 4, dtype=torch.bool)
    mask[..., list(which)] = True
    return mask


def everything(prompts):
    return torch.arange(prompts.tokens.shape[1])[None].expand(len(prompts), -1)


def hooked(model, prompts, *, layer, kind, head, position, value):
    """Final residual stream of a whole pass in which one head's vector is replaced by a hook."""
    rows = torch.arange(len(prompts))

    def edit(x):
        split = x.unflatten(-1, (-1, model.d_head)).clone()
        split[rows, position, head] = value
        return split.flatten(-2)

    name = model.site(layer, "o_proj" if kind == "z" else f"{kind}_proj")
    option = {"edit_input": edit} if kind == "z" else {"edit_output": edit}
    with TraceDict(model.hf, [name], **option), torch.no_grad():
        return model.hf.model(prompts.tokens).last_hidden_state


def rotated(model, vectors, positions):
    """Vectors [example d_head] as attention reads them at each position."""
    rotary = model.hf.model.rotary_emb(vectors, positions[:, None])
    found, _ = apply_rotary_pos_emb(vectors[:, None, None], vectors[:, None, None], *rotary)
    return found[:, 0, 0]


def test_clean_run_is_hugging_faces_own(any_model, prompts):
    run = clean_run(any_model, prompts)
    with torch.no_grad():
        own = any_model.hf(prompts.tokens).logits
        again = any_model.hf.lm_head(any_model.hf.model.norm(run.resid[-1]))
    assert torch.equal(own, again)


def test_replay_without_edits_is_the_clean_run(any_model, prompts):
    run = clean_run(any_model, prompts)
    final = Replay(any_model, run, positions=everything(prompts)).final()
    close(final[:, 0], run.resid[-1])


@pytest.mark.parametrize("kind", ["z", "q", "k", "v"])
@pytest.mark.parametrize("role", ["last", "query_label", "prev_query_label"])
def test_edit_equals_hook(any_model, prompts, kind, role):
    """One head replaced at another position in each example; k and v by kv-head, as a hook can
    reach them.
    """
    run, layer = clean_run(any_model, prompts), 1
    kv = 0
    group = any_model.group_size if kind in ("k", "v") else 1
    value = 5 * torch.randn(
        len(prompts), any_model.d_head, generator=torch.Generator().manual_seed(3)
    )
    hidden = hooked(
        any_model, prompts, layer=layer, kind=kind, head=kv, position=prompts.at(role), value=value
    )
    expected = hidden[torch.arange(len(prompts)), prompts.at("last")]
    moved = 0.0
    for indices in by_suffix(prompts, role):
        part = clean_run(any_model, prompts.subset(indices))
        mask = heads(*range(kv * group, (kv + 1) * group))
        given = value[indices]
        if kind in ("q", "k"):
            given = rotated(any_model, given, prompts.at(role)[indices])
        edit = Edit(kind, layer, 0, given[:, None, None].expand(-1, 1, 4, -1), mask)
        final = Replay(any_model, part, positions=suffix(part, role), edits=[edit]).final()
        close(any_model.hf.model.norm(final[:, 0, -1]), expected[indices])
        moved = max(
            moved,
            (final[:, 0, -1] - run.resid[-1][indices, prompts.at("last")[indices]])
            .abs()
            .max()
            .item(),
        )
    # A key or query alone can change a saturated softmax little; the others must move the result
    # visibly.
    assert moved > (0.05 if kind in ("z", "v") else 1e-4)


def test_value_of_one_query_head_alone(prompts, model):
    """Under grouped-query attention, patching v of one query head changes that head's output and no
    other's.
    """
    run = clean_run(model, prompts)
    seen = {}
    position = everything(prompts)
    value = torch.ones(1, 1, 4, model.d_head)
    Replay(model, run, positions=position, edits=[Edit("v", 2, 5, value, heads(1))]).final(
        on_layer=lambda layer, h, asked, z: seen.setdefault(layer, z)
    )
    moved = (seen[2] - run.z[2]).abs().amax((0, 1, 3))
    assert moved[1] > 1e-3
    close(moved[[0, 2, 3]], torch.zeros(3))


def test_variants_are_independent(model, prompts):
    """Each variant gives what it gives alone, whatever the chunk size."""
    run = clean_run(model, prompts)
    position = prompts.at("last")[:, None]
    masks = torch.eye(4, dtype=torch.bool)[None]
    value = torch.randn(len(prompts), 4, 4, model.d_head)
    edit = Edit("z", 3, 0, value, masks)
    together = Replay(model, run, positions=position, edits=[edit], variants=4).outcomes()
    tight = Replay(model, run, positions=position, edits=[edit], variants=4).outcomes(budget=1)
    for variant in range(4):
        alone = Replay(
            model, run, positions=position, edits=[edit.of_variants(slice(variant, variant + 1))]
        ).outcomes()
        close(together.log_prob[:, variant], alone.log_prob[:, 0])
    close(together.log_prob, tight.log_prob)
    assert (together.log_prob.std(1) > 1e-3).all()


def test_positions_outside_the_replay_stay_clean(model, prompts):
    """An edit at the query label does not reach the last token unless the last token is replayed
    too.
    """
    run = clean_run(model, prompts)
    positions = torch.stack([prompts.at("query_label"), prompts.at("last")], 1)
    value = torch.ones(1, 1, 4, model.d_head)
    both = Replay(
        model, run, positions=positions, edits=[Edit("z", 1, 0, value, heads(0, 1, 2, 3))]
    ).final()
    alone = Replay(
        model, run, positions=positions[:, 1:], edits=[Edit("z", 1, 0, value, heads())]
    ).final()
    clean = run.resid_at("last")[-1]
    close(alone[:, 0, 0], clean)
    assert (both[:, 0, 1] - clean).abs().max() > 0.01


def test_rerun_is_a_run_to_patch_on(model, prompts):
    """Patching on top of an edited run equals making both edits at once."""
    run = clean_run(model, prompts)
    positions = torch.stack([prompts.at("query_label"), prompts.at("last")], 1)
    value = torch.ones(1, 1, 4, model.d_head)
    first, second = Edit("z", 1, 0, value, heads(0, 2)), Edit("z", 3, 1, value, heads(1))
    at_once = Replay(model, run, positions=positions, edits=[first, second]).final()[:, 0, 1]
    edited = rerun(model, run, positions=positions, edits=[first])
    later = Edit("z", 3, 0, value, heads(1))
    close(
        Replay(model, edited, positions=positions[:, 1:], edits=[later]).final()[:, 0, 0], at_once
    )


def test_gradient_of_a_blend_matches_finite_differences(model, prompts):
    few = prompts.subset(range(3))
    run = clean_run(model, few)
    value = torch.randn(3, 1, 4, model.d_head)

    def loss(weights):
        edit = Edit("z", 1, 0, value, weights[None, None])
        final = Replay(model, run, positions=few.at("last")[:, None], edits=[edit]).final()
        return read_out(model, final[:, :, -1], few.answers).logit.mean()

    weights = torch.tensor([0.2, 0.5, 0.7, 0.9], requires_grad=True)
    loss(weights).backward()
    # A step of s divides the rounding of the loss by s; s**4 remains of the true difference.
    numeric = finite_differences(loss, weights.detach(), step=STEP)
    assert_close(weights.grad, numeric, terms=TERMS, magnitude=torch.tensor(10 / STEP))
    assert weights.grad.abs().max() > 0.01


def test_project_makes_the_vectors_attention_uses(any_model, prompts):
    run = clean_run(any_model, prompts)
    where = {"length": run.length, "layer": 2}
    for kind, kept in (("v", run.values), ("k", run.keys)):
        made = project(any_model, run.resid[2], everything(prompts), kind=kind, **where)
        close(made[..., :: any_model.group_size, :].transpose(1, 2), kept[2])
    with pytest.raises(SiteError, match="no projection 'z'; allowed are q, k and v"):
        project(any_model, run.resid[2], everything(prompts), kind="z", **where)


def test_bad_replays_are_refused(model, prompts):
    run = clean_run(model, prompts)
    last, value = prompts.at("last")[:, None], torch.ones(1, 1, 4, model.d_head)
    with pytest.raises(
        SiteError, match="an edit in layer 9 would not fire; this replay covers layers 0 to 4"
    ):
        Replay(
            model, run, positions=last, edits=[Edit("z", 9, 0, value, heads(0))], start=0
        ).final()
    with pytest.raises(
        SiteError, match="an edit in layer 1 would not fire; this replay covers layers 2 to 4"
    ):
        Replay(
            model, run, positions=last, edits=[Edit("z", 1, 0, value, heads(0))], start=2
        ).final()
    with pytest.raises(SiteError, match="slot 1 would not fire; this replay has slots 0 to 0"):
        Replay(model, run, positions=last, edits=[Edit("z", 1, 1, value, heads(0))]).final()
    with pytest.raises(SiteError, match="no edit of kind 'mlp'; allowed are q, k, v, z"):
        Replay(model, run, positions=last, edits=[Edit("mlp", 1, 0, value, heads(0))]).final()
    with pytest.raises(AlignmentError, match="do not ascend or lie beyond the end"):
        Replay(model, run, positions=last + 1).final()
    with pytest.raises(AlignmentError, match="one replay needs the same number in each"):
        suffix(run, "prev_query_label")

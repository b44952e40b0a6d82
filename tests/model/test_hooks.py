"""Hooks see what they claim, edit what they claim, and are gone afterwards, whatever happens."""

import importlib.util

import pytest
import torch
from torch import nn

from entrack.errors import HookError, NotFiredError
from entrack.model.hooks import Trace, TraceDict, get_module

O_PROJ = "model.layers.{}.self_attn.o_proj"


@pytest.fixture
def tokens(prompts):
    return prompts.tokens[:3]


@pytest.fixture
def run(model, tokens):
    def forward():
        with torch.no_grad():
            return model.hf(tokens).logits

    return forward


class Block(nn.Module):
    """A module that is given its tensors by keyword and gives a tuple, as attention is and does."""

    def forward(self, *, hidden, scale=1.0, other=None):
        return hidden * scale, other


class Stack(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.block, self.second, self.unused = (
            nn.Linear(4, 4),
            Block(),
            nn.Linear(4, 4),
            nn.Linear(4, 4),
        )

    def forward(self, x):
        return self.second(self.block(hidden=self.first(x), other=torch.ones(2))[0])


@pytest.fixture
def stack():
    torch.manual_seed(0)
    net = Stack()
    yield net
    assert not hooks(net)


def hooks(net):
    return [m for m in net.modules() if m._forward_hooks or m._forward_pre_hooks]


def test_looking_changes_nothing(model, run):
    clean = run()
    names = [name for name, _ in model.hf.named_modules() if name]
    reached = [name for name in names if not name.endswith(("layers", "act_fn"))]
    with TraceDict(model.hf, reached, retain_input=True):
        assert torch.equal(run(), clean)


def test_input_and_output_are_what_flows(stack):
    x = torch.randn(2, 4)
    with Trace(stack, "first", retain_input=True) as trace:
        stack(x)
    assert torch.equal(trace.input, x) and torch.equal(trace.output, stack.first(x))
    assert trace.fired == 1


def test_head_outputs_are_the_input_of_o_proj(model, run, tokens):
    with TraceDict(model.hf, [O_PROJ.format(1)], retain_input=True) as traces:
        run()
    trace = traces[O_PROJ.format(1)]
    assert trace.input.shape == (*tokens.shape, model.n_heads * model.d_head)
    assert torch.equal(model.layers.blocks[1].self_attn.o_proj(trace.input), trace.output)


def test_a_module_called_with_keywords_only_is_seen(stack):
    x = torch.randn(2, 4)
    with Trace(stack, "block", retain_input=True) as trace:
        stack(x)
    assert torch.equal(trace.input, stack.first(x))
    assert torch.equal(trace.output[0], trace.input) and torch.equal(trace.output[1], torch.ones(2))


def test_llamas_attention_is_seen_and_edited(model, run):
    """transformers gives attention its hidden states by keyword; old hooks saw an empty tuple
    here.
    """
    clean = run()
    with Trace(
        model.hf, "model.layers.1.self_attn", retain_input=True, edit_input=lambda x: x * 0
    ) as trace:
        edited = run()
    assert trace.input.shape[-1] == model.d_model and trace.input.abs().max() > 0
    assert not torch.equal(edited, clean)


def test_edit_by_keyword_reaches_the_module(stack):
    x = torch.randn(2, 4)
    with Trace(stack, "block", edit_input=lambda h: h + 1):
        edited = stack(x)
    assert torch.equal(edited, stack.second(stack.first(x) + 1))


def test_edited_output_flows_on_and_is_what_is_retained(stack):
    x = torch.randn(2, 4)
    with Trace(stack, "first", edit_output=lambda h: h * 2) as trace:
        edited = stack(x)
    assert torch.equal(trace.output, stack.first(x) * 2)
    assert torch.equal(edited, stack.second(trace.output))


def test_retained_input_is_from_before_the_edit(stack):
    x = torch.randn(2, 4)
    with Trace(stack, "second", retain_input=True, edit_input=lambda h: h * 0) as trace:
        edited = stack(x)
    assert torch.equal(trace.input, stack.first(x))
    assert torch.equal(edited, stack.second.bias.expand(2, 4))


def test_writing_into_what_an_edit_is_given_reaches_nothing_else(stack):
    """An edit in place works on a copy: what other hooks kept, and the caller's own tensor, stay as
    they were.
    """
    x = torch.randn(2, 4)
    before = x.clone()

    def in_place(h):
        h[:] = 0
        return h

    with (
        Trace(stack, "second", retain_input=True) as outer,
        Trace(stack, "first", edit_input=in_place),
    ):
        stack(x)
    assert torch.equal(x, before)
    kept = outer.input.clone()
    with Trace(stack, "second", edit_input=in_place):
        stack(x)
    assert torch.equal(outer.input, kept)


def test_a_later_write_does_not_reach_back_into_what_was_kept(stack):
    x = torch.randn(2, 4)
    with Trace(stack, "first", retain_input=True) as trace:
        out = stack(x)
    before = x.clone()
    x.zero_()
    out.zero_()
    assert torch.equal(trace.input, before)


def test_without_a_copy_it_is_the_tensor_itself(stack):
    x = torch.randn(2, 4)
    with Trace(stack, "first", retain_input=True, clone=False) as trace:
        stack(x)
    assert trace.input is x


def test_gradients_reach_what_was_kept(stack):
    x = torch.randn(2, 4)
    with Trace(stack, "first", retain_grad=True) as trace:
        stack(x).sum().backward()
    assert torch.allclose(trace.output.grad, stack.second.weight.sum(0).expand(2, 4))
    with Trace(stack, "first", detach=True) as trace:
        stack(x)
    assert not trace.output.requires_grad


def test_an_edit_of_a_tuple(stack):
    x = torch.randn(2, 4)
    with Trace(stack, "block", edit_output=lambda pair: (pair[0] * 3, pair[1])):
        edited = stack(x)
    assert torch.equal(edited, stack.second(stack.first(x) * 3))


@pytest.mark.parametrize(
    "edit",
    [
        lambda h, layer: h * (2 if layer == "first" else 0),
        lambda h, name: h * (2 if name == "first" else 0),
        lambda h, *, layer, inputs: h * 2 + 0 * inputs.sum(),
        lambda h, layer, inputs: h * (2 if layer == "first" and inputs.shape == (2, 4) else 0),
        lambda h, **given: h * (2 if sorted(given) == ["inputs", "layer"] else 0),
        lambda h, factor=2: h * factor,
    ],
)
def test_an_edit_is_told_the_layer_and_the_inputs_it_asks_for(stack, edit):
    x = torch.randn(2, 4)
    with Trace(stack, "first", edit_output=edit):
        edited = stack(x)
    assert torch.equal(edited, stack.second(stack.first(x) * 2))


@pytest.mark.parametrize(
    "edit, told",
    [
        (lambda h: None, r"returned nothing for \(2, 4\)"),
        (lambda h: h[0], r"returned \(4,\) for \(2, 4\)"),
        (lambda h: (h, h), r"returned \[\(2, 4\), \(2, 4\)\] for \(2, 4\)"),
        (lambda h: h.T, r"returned \(4, 2\) for \(2, 4\)"),
    ],
)
@pytest.mark.parametrize("side", ["edit_input", "edit_output"])
def test_an_edit_of_another_shape_is_refused(stack, edit, told, side):
    with pytest.raises(
        HookError, match=f"the edit at 'first' {told}; it must return the whole tensor"
    ):
        with Trace(stack, "first", **{side: edit}):
            stack(torch.randn(2, 4))


def test_a_module_that_never_ran(stack):
    with pytest.raises(
        NotFiredError,
        match=(
            "module 'unused' never ran inside the block, so nothing was retained or edited. Run the"
        ),
    ):
        with Trace(stack, "unused"):
            stack(torch.randn(2, 4))


def test_nothing_to_read_yet_or_not_kept(stack):
    with Trace(stack, "first") as trace:
        with pytest.raises(
            NotFiredError,
            match="module 'first' has not run yet; run the model inside the `with` first",
        ):
            trace.output  # noqa: B018
        stack(torch.randn(2, 4))
    with pytest.raises(
        HookError, match="the input of 'first' was not kept; ask for it with retain_input=True"
    ):
        trace.input  # noqa: B018


def test_stop_ends_the_pass(stack):
    with Trace(stack, "first", stop=True) as trace, Trace(stack, "block") as later:
        stack(torch.randn(2, 4))
        raise AssertionError("the pass went on")
    assert trace.output.shape == (2, 4) and later.fired == 0


def test_stop_of_several_waits_for_the_last_in_the_models_order(model, run):
    with TraceDict(
        model.hf, [O_PROJ.format(2), O_PROJ.format(0)], retain_input=True, stop=True
    ) as traces:
        run()
        raise AssertionError("the pass went on")
    assert all(trace.fired == 1 for trace in traces.values())


def test_stop_at_a_module_that_never_ran_says_so(stack):
    with pytest.raises(NotFiredError, match="module 'unused' never ran"):
        with Trace(stack, "unused", stop=True):
            stack(torch.randn(2, 4))


@pytest.mark.parametrize("fail", [ValueError, KeyboardInterrupt])
def test_an_exception_passes_through_and_leaves_no_hooks(model, run, fail):
    clean = run()

    def edit(h):
        raise fail("in the middle")

    with pytest.raises(fail, match="in the middle"):
        with TraceDict(model.hf, [O_PROJ.format(0), O_PROJ.format(1)], edit_output=edit):
            run()
    assert not [
        m for m in model.layers.blocks.modules() if m._forward_hooks or m._forward_pre_hooks
    ]
    assert torch.equal(run(), clean)


def test_an_exception_of_the_caller_is_not_hidden_by_a_module_that_never_ran(stack):
    with pytest.raises(ZeroDivisionError):
        with Trace(stack, "unused"):
            1 / 0  # noqa: B018


def test_a_second_name_that_is_wrong_leaves_no_hooks(model):
    with pytest.raises(
        HookError,
        match="no module 'model.layers.9.mlp' in LlamaForCausalLM; near it are model.layers",
    ):
        TraceDict(model.hf, ["model.layers.0.mlp", "model.layers.9.mlp"])


@pytest.mark.parametrize(
    "name, near",
    [("model.layer.0", "model.layers.0"), ("model.layers.1.self_attn.oproj", "o_proj")],
)
def test_a_module_that_is_not_there(model, name, near):
    with pytest.raises(
        HookError,
        match=(
            rf"no module '{name}' in LlamaForCausalLM; near it are .*{near}.*\. Use one of those"
            r" names\."
        ),
    ):
        get_module(model.hf, name)


def test_no_layers_named(model):
    with pytest.raises(HookError, match=r"no layer was named; name at least one. Pass layers="):
        TraceDict(model.hf, [])


def test_a_module_itself_and_a_name_twice(stack):
    x = torch.randn(2, 4)
    with Trace(stack.first) as trace, TraceDict(stack, ["second", "second"]) as traces:
        stack(x)
    assert torch.equal(trace.output, stack.first(x)) and list(traces) == ["second"]


def test_close_ends_the_watch_before_the_block_does(stack):
    x = torch.randn(2, 4)
    with TraceDict(stack, ["first"]) as traces:
        stack(x)
        kept = traces["first"].output
        traces.close()
        stack(x + 1)
    assert torch.equal(traces["first"].output, kept)


def test_the_same_numbers_as_baukit(model, run):
    """A notebook written for baukit's TraceDict on o_proj gives the same numbers with ours."""
    if importlib.util.find_spec("baukit") is None:
        pytest.skip(
            "baukit is not installed; it is on no package registry (environment.yml takes it from"
            " its repository)"
        )
    import baukit

    names = [O_PROJ.format(layer) for layer in range(model.n_layers)]

    def without_a_head(output, layer):
        return output if layer != names[2] else output * 0.5

    found = []
    for kind in (TraceDict, baukit.TraceDict):
        with (
            torch.no_grad(),
            kind(model.hf, names, retain_input=True, edit_output=without_a_head) as traces,
        ):
            logits = run()
        found.append((logits, [traces[n].input for n in names], [traces[n].output for n in names]))
    (ours, our_inputs, our_outputs), (theirs, their_inputs, their_outputs) = found
    assert torch.equal(ours, theirs) and not torch.equal(ours, run())
    assert all(map(torch.equal, our_inputs, their_inputs)) and all(
        map(torch.equal, our_outputs, their_outputs)
    )

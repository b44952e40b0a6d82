"""Look at, or change, what flows through any module of a model, for the length of a ``with`` block.

The words are baukit's (`Trace`, `TraceDict`, `retain_input`, `retain_output`, `edit_output`,
`stop`), so a notebook written for baukit reads the same. Four things differ, because on current
transformers the old behaviour fails without a word:

* modules that are called with keywords only are seen (`LlamaAttention` is one);
* what is retained is a copy, so a later edit cannot reach back into it;
* an edit gets a copy of its own and must return a tensor of the same shape;
* a block whose module never ran raises :class:`~entrack.errors.NotFiredError`.

This is the only module of the package that registers hooks.
"""

import difflib
import inspect
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn

from entrack.errors import HookError, NotFiredError


class StopForward(Exception):
    """Raised inside a forward pass to end it early; caught by the `Trace` that asked for it."""


def get_module(model: nn.Module, name: str) -> nn.Module:
    """The submodule of `model` with dotted `name`; HookError names the nearest ones when there is
    none.
    """
    modules = dict(model.named_modules())
    if name in modules:
        return modules[name]
    near = difflib.get_close_matches(name, modules, n=3) or list(modules)[1:4]
    raise HookError(
        f"no module {name!r} in {type(model).__name__}; near it are {', '.join(near)}. Use one of"
        " those names."
    )


class Trace:
    """Retain or edit the input or output of one module while the block lasts.

    ::

        with Trace(model, "model.layers.3.self_attn.o_proj", retain_input=True) as trace:
            model(tokens)
        z = trace.input                     # [example pos n_heads*d_head]

    Args:
        module: the model, or the module itself when `layer` is None.
        layer: dotted name of a submodule.
        retain_output: keep the (edited) output as `.output`.
        retain_input: keep the input, as it was before any edit of this trace, as `.input`: the
            tensor given by position, the tuple when there are several, or the first tensor given by
            keyword.
        clone: copy what is retained. Off, `.output` is the very tensor that flows on.
        detach: cut what is retained from the gradient graph.
        retain_grad: keep `.grad` on the retained tensors (implies no copy and no detaching).
        edit_output: function of the output, and of `layer` and `inputs` if it names them; returns
            the tensor (or tuple) to use instead, of the same shape.
        edit_input: the same for the single tensor that the module is given.
        stop: end the forward pass once this module has run.

    Raises:
        HookError: no such module; an edit returned nothing, or another shape.
        NotFiredError: on leaving the block, when the module never ran.
    """

    def __init__(
        self,
        module: nn.Module,
        layer: str | None = None,
        *,
        retain_output: bool = True,
        retain_input: bool = False,
        clone: bool = True,
        detach: bool = False,
        retain_grad: bool = False,
        edit_output: Callable[..., Any] | None = None,
        edit_input: Callable[..., Any] | None = None,
        stop: bool = False,
    ):
        self.layer = layer
        self.module = module if layer is None else get_module(module, layer)
        self.retain_output, self.retain_input = retain_output, retain_input
        self.clone, self.detach, self.retain_grad = clone, detach, retain_grad
        self.edit_output, self.edit_input, self.stop = edit_output, edit_input, stop
        self.fired = 0
        self._input = self._output = None
        self._handles: list[Any] = []

    def __enter__(self) -> "Trace":
        self._handles = [
            self.module.register_forward_pre_hook(self._before, with_kwargs=True),
            self.module.register_forward_hook(self._after, with_kwargs=True),
        ]
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, traceback: Any) -> bool:
        self.close()
        stopped = self.stop and kind is not None and issubclass(kind, StopForward)
        if (kind is None or stopped) and not self.fired:
            raise NotFiredError(
                f"module {self._name()} never ran inside the block, so nothing was retained or"
                " edited. Run the model inside the `with`, and name a module that this run"
                " reaches."
            )
        return stopped

    def close(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @property
    def input(self) -> Any:
        """What the module was given the last time it ran."""
        return self._kept(self._input, "input")

    @property
    def output(self) -> Any:
        """What the module gave the last time it ran, after any edit."""
        return self._kept(self._output, "output")

    def _kept(self, kept: Any, side: str) -> Any:
        if not self.fired:
            raise NotFiredError(
                f"module {self._name()} has not run yet; run the model inside the `with` first."
            )
        if kept is None:
            raise HookError(
                f"the {side} of {self._name()} was not kept; ask for it with retain_{side}=True."
            )
        return kept

    def _name(self) -> str:
        return repr(self.layer) if self.layer is not None else type(self.module).__name__

    def _before(self, module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
        tensors = [a for a in (*args, *kwargs.values()) if isinstance(a, torch.Tensor)]
        if self.retain_input:
            self._input = self._keep(args[0] if len(args) == 1 else args or tensors[0])
        if self.edit_input is None:
            return None
        given = tensors[0]
        edited = self._edit(self.edit_input, given, given)
        if args:
            return (edited, *args[1:]), kwargs
        name = next(k for k, v in kwargs.items() if v is given)
        return args, {**kwargs, name: edited}

    def _after(self, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> Any:
        self.fired += 1
        if self.edit_output is not None:
            inputs = args[0] if len(args) == 1 else args or tuple(kwargs.values())
            output = self._edit(self.edit_output, output, inputs)
        if self.retain_output:
            self._output = self._keep(output)
            if not self.clone or self.retain_grad:
                output = self._output
        if self.stop:
            raise StopForward
        return output

    def _edit(self, function: Callable[..., Any], value: Any, inputs: Any) -> Any:
        extras = {"layer": self.layer, "inputs": inputs}
        names = list(inspect.signature(function).parameters.values())
        by_name = {p.name: extras[p.name] for p in names[1:] if p.name in extras}
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in names):
            by_name = extras
        # As in baukit, a second positional parameter of any other name is the layer's.
        unnamed = [
            p
            for p in names[1:]
            if p.name not in extras
            and p.default is p.empty
            and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
        ]
        positional = [self.layer, inputs][: len(unnamed)]
        edited = function(_map(torch.clone, value), *positional, **by_name)
        if _shapes(edited) != _shapes(value):
            raise HookError(
                f"the edit at {self._name()} returned {_shapes(edited) or 'nothing'} for"
                f" {_shapes(value)}; it must return the whole tensor, edited, in the same shape."
            )
        return edited

    def _keep(self, value: Any) -> Any:
        if self.retain_grad:

            def keep(tensor: torch.Tensor) -> torch.Tensor:
                if not tensor.requires_grad:
                    tensor.requires_grad_(True)
                tensor.retain_grad()
                return tensor

            return _map(keep, value)
        if self.detach:
            value = _map(torch.detach, value)
        return _map(torch.clone, value) if self.clone else value


class TraceDict(OrderedDict):
    """Several `Trace` blocks at once, by layer name: ``traces["model.layers.3.mlp"].output``.

    Takes the arguments of `Trace` (they hold for every layer); `stop` ends the pass once the
    last of `layers`, in the order in which the model runs them, has run."""

    def __init__(
        self, module: nn.Module, layers: Sequence[str], *, stop: bool = False, **options: Any
    ):
        super().__init__()
        names = list(dict.fromkeys(layers))
        if not names:
            raise HookError("no layer was named; name at least one. Pass layers=[...].")
        for name in names:
            self[name] = Trace(module, name, **options)
        if stop:
            last = [name for name, _ in module.named_modules() if name in self][-1]
            self[last].stop = True

    def __enter__(self) -> "TraceDict":
        with ExitStack() as stack:
            for trace in self.values():
                stack.enter_context(trace)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type | None, value: BaseException | None, traceback: Any) -> bool:
        return self._stack.__exit__(kind, value, traceback)

    def close(self) -> None:
        """Remove all hooks."""
        for trace in self.values():
            trace.close()


def _map(function: Callable[[torch.Tensor], torch.Tensor], value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, (tuple, list)):
        return type(value)(_map(function, v) for v in value)
    if isinstance(value, dict):
        return {k: _map(function, v) for k, v in value.items()}
    return value


def _shapes(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, (tuple, list)):
        return [_shapes(v) for v in value]
    return None

"""One comparison of floating point numbers for all tests, so that they hold on any machine.

Two right ways of computing one number differ by rounding, and processors round differently: they
add the terms of a product in other orders. How far apart right results may be follows from the
dtype, from the size of what was added and from how many numbers were added, never from a constant
that one machine happened to keep.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from entrack.model.decoder import Model

# Right results are at most this many standard roundings apart. Measured on the random models of
# these tests in float32 against float64, with the instruction sets of three generations of
# processors: 2.7 for `tiny_model`, 7.8 for `fine_tuned`, whose softmax is sharp. Both sides of a
# comparison are rounded, hence twice that.
FACTOR = 16

# An effect smaller than this many tolerances is no evidence: code that did nothing, or half of
# what it should, would come too close.
FLOOR = 10


def additions(model: Model, length: int) -> int:
    """How many numbers are added one after another from a token of a prompt of `length` tokens to
    its logits: in each layer those of q, the attention score, the mix over positions, o and the
    two products of the MLP, and at the end those of the unembedding.
    """
    config = model.config
    mlp = getattr(config, "intermediate_size", None) or 4 * model.d_model
    heads = model.d_model + model.d_head + length + model.n_heads * model.d_head
    return model.n_layers * (heads + model.d_model + mlp) + model.d_model


def tolerance(*compared: Any, terms: int, magnitude: Any = None) -> float:
    """How far apart two right results may be: `FACTOR * eps * sqrt(terms) * size`.

    The square root, not `terms` itself: each addition rounds up or down by at most half an eps of
    the partial sum, as a coin falls, so that the roundings make a random walk (Higham and Mary
    2019, "A new approach to probabilistic rounding error analysis"). The bound that holds even if
    all roundings fell to one side, linear in `terms`, is 30 times as wide for a pass of these
    models, and what was measured (see `FACTOR`) stays within the square root.

    Args:
        compared: the two sides.
        terms: how many numbers were added one after another; `additions` for a pass.
        magnitude: the values that went into the sums, or the largest of them, where they are larger
            than the sums: logits for a log probability or for the difference of two, everything
            that was added for a mean that cancels. The size is the largest absolute value among
            these and what was expected.

    The eps is that of the coarsest dtype among `compared` and `magnitude`, so that a float64 array
    made of float32 logits is judged as float32 if the logits are its magnitude.
    """
    assert terms >= 1, "a sum has at least one term"
    values = [_tensor(v) for v in compared] + ([] if magnitude is None else [_tensor(magnitude)])
    eps = max((torch.finfo(v.dtype).eps for v in values if v.is_floating_point()), default=None)
    assert eps is not None, "no floating point numbers; whole numbers are compared with =="
    size = max(v.double().abs().max().item() for v in values[1:])
    return FACTOR * eps * terms**0.5 * size


def assert_close(
    found: Any, expected: Any, *, terms: int, magnitude: Any = None, unlike: Any = None
) -> None:
    """`found` is `expected` up to rounding (see `tolerance`); arrays, tensors or numbers.

    Args:
        unlike: what code that did nothing would give: the unpatched run for a patch. Where it is
            given, `expected` must be further from it than `FLOOR` tolerances somewhere; else the
            comparison would pass whatever the code does, and is refused.

    Fails where shapes differ (nothing is broadcast), where nothing is compared, and for any NaN or
    infinity on either side.
    """
    _check(found, expected)
    allowed = tolerance(found, expected, terms=terms, magnitude=magnitude)
    if unlike is not None:
        assert_apart(expected, unlike, terms=terms, magnitude=magnitude)
    difference = (_tensor(found).double() - _tensor(expected).double()).abs()
    assert difference.max() <= allowed, (
        f"{int((difference > allowed).sum())} of {difference.numel()} values differ by more than"
        f" rounding: {difference.max():.3g} at {_place(difference)}, allowed are {allowed:.3g}"
    )


def assert_apart(found: Any, other: Any, *, terms: int, magnitude: Any = None) -> None:
    """`found` differs from `other` somewhere, visibly: by more than `FLOOR` tolerances.

    Fails for shapes, emptiness, NaN and infinity as `assert_close` does.
    """
    _check(found, other)
    needed = FLOOR * tolerance(found, other, terms=terms, magnitude=magnitude)
    difference = (_tensor(found).double() - _tensor(other).double()).abs().max().item()
    assert difference > needed, (
        f"the effect is {difference:.3g}, too small to be told from rounding: {needed:.3g} or more"
        " is needed. Compare something that has a larger effect"
    )


def assert_printed(found: float, printed: float, *, decimals: int, half_units: float = 1) -> None:
    """`found` agrees with a number that was printed with `decimals` digits after the point.

    Args:
        half_units: how many halves of the last digit may lie between them: one where only
            `printed` was rounded, more where `found` was computed from printed numbers too.
    """
    assert np.isfinite(found) and np.isfinite(printed)
    allowed = half_units * 0.5 * 10**-decimals
    # A number just between two digits is printed either way, hence the last roundings.
    slack = 4 * np.finfo(float).eps * max(abs(found), abs(printed))
    assert abs(found - printed) <= allowed + slack, (
        f"{found} is not {printed} as printed with {decimals} decimals (up to {allowed:g} away)"
    )


def finite_differences(loss: Callable[[torch.Tensor], torch.Tensor], at: torch.Tensor, step=1e-2):
    """The gradient of `loss` at `at` from central differences, extrapolated from two steps so that
    the error falls with the fourth power of the step.
    """

    def central(index: tuple[int, ...], h: float) -> torch.Tensor:
        shift = torch.zeros_like(at)
        shift[index] = h
        return (loss(at + shift) - loss(at - shift)) / (2 * h)

    with torch.no_grad():
        found = [
            (4 * central(index, step / 2) - central(index, step)) / 3
            for index in np.ndindex(*at.shape)
        ]
    return torch.stack(found).reshape(at.shape)


def _tensor(values: Any) -> torch.Tensor:
    if isinstance(values, torch.Tensor):
        return values.detach().cpu()
    return torch.as_tensor(np.asarray(values))


def _place(difference: torch.Tensor) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(int(difference.argmax()), difference.shape))


def _check(found: Any, expected: Any) -> None:
    found, expected = _tensor(found), _tensor(expected)
    assert found.shape == expected.shape, (
        f"shape {tuple(found.shape)} is not {tuple(expected.shape)}"
    )
    assert found.numel() > 0, "nothing is compared"
    for name, values in (("found", found), ("expected", expected)):
        wrong = int((~torch.isfinite(values)).sum())
        assert not wrong, f"{wrong} values of what was {name} are NaN or infinite"

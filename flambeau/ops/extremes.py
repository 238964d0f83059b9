"""Bounds and choices by size: clamp, maximum, minimum, nan_to_num; hypot; and what belongs to whole numbers (gcd, lcm)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.ops import samples
from flambeau.ops.comparison import where
from flambeau.ops.record import ErrorSample, Sample, by_tensor, pointwise
from flambeau.ops.refusals import ALL_BUT_FLOATING, refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor

# --- bounds --------------------------------------------------------------------------------------------------


def _clamp(x, min, max):
    # At ties NumPy returns its second argument: in this order -0.0 stays -0.0, as in PyTorch.
    if min is not None:
        x = np.maximum(min, x)
    return x if max is None else np.minimum(max, x)


def _grad_of_clamped(g, input, min, max):
    if max is None:
        return where(input >= min, g, 0)
    if min is None:
        return where(input <= max, g, 0)
    return where((input >= min) & (input <= max), g, 0)


def _grad_of_lower_bound(g, input, min, max):
    return where(input < min if max is None else (input < min) & (min < max), g, 0)


def _grad_of_upper_bound(g, input, min, max):
    return where(input > max if min is None else (input > max) | (max < min), g, 0)


def _refuse_complex_bounds(*operands) -> None:
    for x in operands:
        if x.__class__ is complex or isinstance(x, dispatch.Tensor) and x._dtype.kind == dtypes.COMPLEX:
            raise NotImplementedError("clamp is not supported for complex types")
    bounds = [x for x in operands[1:] if x is not None]
    if len(bounds) == 1 and isinstance(bounds[0], dispatch.Tensor):
        return  # a minimum or a maximum, which booleans have too
    if all([x is None or x.__class__ is bool or isinstance(x, dispatch.Tensor) and x._dtype is dtypes.bool for x in operands]):
        raise NotImplementedError("\"clamp_scalar_cpu\" not implemented for 'Bool'")


def _lower_clamp(b, x, low, high):
    x = x if low is None else b.max(low, x)  # at ties the second one: -0.0 stays -0.0
    return x if high is None else b.min(high, x)


@pointwise(
    lower=_lower_clamp,
    kernel=_clamp,
    tensors="input min max",
    only="input",
    fits=True,
    grad={"input": _grad_of_clamped, "min": _grad_of_lower_bound, "max": _grad_of_upper_bound},
    overload=lambda inputs, attrs: int(not any(isinstance(bound, dispatch.Tensor) for bound in inputs[1:])),
    inplace=True,
    out="same",
    aliases=("clip",),
    samples=lambda make: [
        Sample(make(3, 4), -0.5, 0.5),
        Sample(make(4, 3).t(), min=0.1),
        Sample(make(3), max=0.1),
        Sample(make(3, 4), make(4, low=-1.0, high=-0.5), make(3, 1, low=0.5, high=1.0)),
        Sample(make(3), make(), None),
        Sample(make(0, 2), 0.0, 1.0),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "At least one of 'min' or 'max' must not be None", make(2))],
)
def clamp(input: Tensor, min: Tensor | Number | complex | None = None, max: Tensor | Number | complex | None = None):
    r"""Element-wise :math:`\min(\max(input, min), max)`. The bounds are numbers or tensors; either may be ``None``.

    Where ``min > max`` the result is ``max``.

    Raises ``RuntimeError`` where neither bound is given.

    >>> import flambeau as torch
    >>> torch.clamp(torch.tensor([-2.0, 0.5, 2.0]), min=-1, max=1)
    tensor([-1.0000,  0.5000,  1.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.clamp.html
    """
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    _refuse_complex_bounds(input, min, max)
    return (input, min, max), {}


@pointwise(
    overload=by_tensor(1),
    lower=lambda b, x, low: b.max(low, x),
    kernel=lambda x, min: np.maximum(min, x),
    tensors="input min",
    only="input",
    fits=True,
    grad={
        "input": lambda g, input, min: where(input >= min, g, 0),
        "min": lambda g, input, min: where(input < min, g, 0),
    },
    inplace=True,
    out=True,
    samples=samples.binary(number=0.1),
)
def clamp_min(input: Tensor, min: Tensor | Number | complex):
    r"""Element-wise :math:`\max(input, min)`.

    >>> import flambeau as torch
    >>> torch.clamp_min(torch.tensor([-1, 2]), 0)
    tensor([0, 2])

    Source: PyTorch's operator ``aten::clamp_min``.
    """
    _refuse_complex_bounds(input, min)
    return (input, min), {}


@pointwise(
    overload=by_tensor(1),
    lower=lambda b, x, high: b.min(high, x),
    kernel=lambda x, max: np.minimum(max, x),
    tensors="input max",
    only="input",
    fits=True,
    grad={
        "input": lambda g, input, max: where(input <= max, g, 0),
        "max": lambda g, input, max: where(input > max, g, 0),
    },
    inplace=True,
    out=True,
    samples=samples.binary(number=0.1),
)
def clamp_max(input: Tensor, max: Tensor | Number | complex):
    r"""Element-wise :math:`\min(input, max)`.

    >>> import flambeau as torch
    >>> torch.clamp_max(torch.tensor([-1, 2]), 0)
    tensor([-1,  0])

    Source: PyTorch's operator ``aten::clamp_max``.
    """
    _refuse_complex_bounds(input, max)
    return (input, max), {}


# --- of two --------------------------------------------------------------------------------------------------


def _refuse_complex(name: str, input, other) -> None:
    if dtypes.COMPLEX in (input._dtype.kind, other._dtype.kind):
        raise RuntimeError(f"{name} not implemented for complex tensors.")


def _halved_at_ties(g, input, other):
    return where(input == other, g / 2, g)


@pointwise(
    lower=lambda b, x, y: b.max(x, y),
    kernel=np.maximum,
    tensors="input other",
    grad={
        "input": lambda g, input, other: _halved_at_ties(g, input, other).masked_fill(input < other, 0),
        "other": lambda g, input, other: _halved_at_ties(g, input, other).masked_fill(input > other, 0),
    },
    out=True,
    samples=samples.binary(number=None),
)
def maximum(input: Tensor, other: Tensor):
    """Element-wise larger of two tensors; NaN where either is NaN. At ties each gets half of the gradient.

    >>> import flambeau as torch
    >>> torch.maximum(torch.tensor([1.0, torch.nan]), torch.tensor([2.0, 0.0]))
    tensor([2., nan])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.maximum.html
    """
    _refuse_complex("maximum", input, other)
    return (input, other), {}


@pointwise(
    lower=lambda b, x, y: b.min(x, y),
    kernel=np.minimum,
    tensors="input other",
    grad={
        "input": lambda g, input, other: _halved_at_ties(g, input, other).masked_fill(input > other, 0),
        "other": lambda g, input, other: _halved_at_ties(g, input, other).masked_fill(input < other, 0),
    },
    out=True,
    samples=samples.binary(number=None),
)
def minimum(input: Tensor, other: Tensor):
    """Element-wise smaller of two tensors; NaN where either is NaN. At ties each gets half of the gradient.

    >>> import flambeau as torch
    >>> torch.minimum(torch.tensor([1.0, torch.nan]), torch.tensor([2.0, 0.0]))
    tensor([1., nan])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.minimum.html
    """
    _refuse_complex("minimum", input, other)
    return (input, other), {}


@pointwise(
    lower=lambda b, x, y: b.fmax(x, y) if x.dtype.kind == dtypes.FLOATING else b.max(x, y),
    kernel=np.fmax,
    tensors="input other",
    grad={
        "input": lambda g, input, other: where((input >= other) | other.isnan(), g, 0),
        "other": lambda g, input, other: where((input >= other) | other.isnan(), 0, g),
    },
    out=True,
    samples=samples.binary(number=None),
)
def fmax(input: Tensor, other: Tensor):
    """Element-wise larger of two tensors; where one is NaN, the other.

    >>> import flambeau as torch
    >>> torch.fmax(torch.tensor([1.0, torch.nan]), torch.tensor([2.0, 0.0]))
    tensor([2., 0.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fmax.html
    """
    _refuse_complex("fmax", input, other)
    return (input, other), {}


@pointwise(
    lower=lambda b, x, y: b.fmin(x, y) if x.dtype.kind == dtypes.FLOATING else b.min(x, y),
    kernel=np.fmin,
    tensors="input other",
    grad={
        "input": lambda g, input, other: where((input <= other) | other.isnan(), g, 0),
        "other": lambda g, input, other: where((input <= other) | other.isnan(), 0, g),
    },
    out=True,
    samples=samples.binary(number=None),
)
def fmin(input: Tensor, other: Tensor):
    """Element-wise smaller of two tensors; where one is NaN, the other.

    >>> import flambeau as torch
    >>> torch.fmin(torch.tensor([1.0, torch.nan]), torch.tensor([2.0, 0.0]))
    tensor([1., 0.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fmin.html
    """
    _refuse_complex("fmin", input, other)
    return (input, other), {}


@pointwise(
    kernel=np.hypot,
    tensors="input other",
    only="input other",
    grad={"input": lambda g, out, input: g * (input / out), "other": lambda g, out, other: g * (other / out)},
    inplace=True,
    out=True,
    samples=samples.binary(0.5, 2.0, number=None),
)
def hypot(input: Tensor, other: Tensor):
    r"""Element-wise length :math:`\sqrt{input^2 + other^2}`, without overflow on the way.

    >>> import flambeau as torch
    >>> torch.hypot(torch.tensor([3.0, 3e30]), torch.tensor([4.0, 4e30]))
    tensor([5.0000e+00, 5.0000e+30])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.hypot.html
    """
    refuse("hypot_cpu", input, other, kinds=ALL_BUT_FLOATING)
    return (input, other), {}


# --- replacement ---------------------------------------------------------------------------------------------


def _lower_nan_to_num(b, x, nan, posinf, neginf):
    if x.dtype.kind != dtypes.FLOATING:
        return x
    finite = b.select(b.eq(x, np.inf), posinf, b.select(b.eq(x, -np.inf), neginf, x))
    return b.select(b.isnan(x), nan, finite)


@pointwise(
    lower=_lower_nan_to_num,
    kernel=lambda x, nan, posinf, neginf: np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf),
    grad={"input": lambda g, input: g * input.isfinite()},
    inplace=True,
    out="same",
    samples=lambda make: [*samples.unary()(make), Sample(make(3), nan=1.0, posinf=2.0, neginf=-2.0)],
)
def nan_to_num(input: Tensor, nan: float | None = None, posinf: float | None = None, neginf: float | None = None):
    """``input`` with NaN replaced by ``nan`` (0) and infinities by ``posinf`` and ``neginf`` (the dtype's extremes).

    >>> import flambeau as torch
    >>> torch.nan_to_num(torch.tensor([torch.nan, torch.inf, 1.0]), posinf=9.0)
    tensor([0., 9., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nan_to_num.html
    """
    if input._dtype.kind < dtypes.FLOATING:
        return (input,), {"nan": 0, "posinf": 0, "neginf": 0}
    limits = dtypes.finfo(input._dtype)
    return (input,), {
        "nan": 0.0 if nan is None else float(nan),
        "posinf": limits.max if posinf is None else float(posinf),
        "neginf": limits.min if neginf is None else float(neginf),
    }


# --- whole numbers -------------------------------------------------------------------------------------------


def _integers(make):
    def integers(*shape):
        return make(*shape, low=-9, high=9).long()

    return [Sample(integers(3, 4), integers(4)), Sample(integers(), integers(2)), Sample(integers(0, 2), integers(2))]


_NOT_INTEGERS = (dtypes.BOOLEAN, dtypes.FLOATING, dtypes.COMPLEX)


@pointwise(kernel=np.gcd, tensors="input other", only="input other", inplace=True, out=True, samples=_integers)
def gcd(input: Tensor, other: Tensor):
    """Element-wise greatest common divisor of integers, not negative.

    >>> import flambeau as torch
    >>> torch.gcd(torch.tensor([12, -9, 0]), torch.tensor([18, 6, 5]))
    tensor([6, 3, 5])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.gcd.html
    """
    refuse("gcd_cpu", input, other, kinds=_NOT_INTEGERS)
    return (input, other), {}


@pointwise(kernel=np.lcm, tensors="input other", only="input other", inplace=True, out=True, samples=_integers)
def lcm(input: Tensor, other: Tensor):
    """Element-wise least common multiple of integers, not negative.

    >>> import flambeau as torch
    >>> torch.lcm(torch.tensor([4, -6]), torch.tensor([6, 4]))
    tensor([12, 12])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.lcm.html
    """
    refuse("lcm_cpu", input, other, kinds=_NOT_INTEGERS)
    return (input, other), {}

"""Whole quotients, and what they leave: floors, truncations and remainders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.scalars import wrapped
from flambeau.ops import samples
from flambeau.ops.limits import can_divide
from flambeau.ops.numerics import select
from flambeau.ops.record import ErrorSample, by_tensor, pointwise
from flambeau.ops.refusals import NOT_REAL_NUMBERS, no_derivative, refuse
from flambeau.ops.rounding import trunc

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor


def _is_integer(x) -> bool:
    return x.dtype.kind in "iub" if isinstance(x, np.ndarray) else isinstance(x, int)


def both_integer(x, y) -> bool:
    return _is_integer(x) and _is_integer(y)


def _refuse_zero(x, y) -> None:
    """Raises where integers are divided by 0."""
    if both_integer(x, y) and np.any(np.equal(y, 0)):
        raise RuntimeError("ZeroDivisionError: an integer is divided by 0")


def _floor_divide(x, y):
    _refuse_zero(x, y)
    return np.floor_divide(x, y)


def _truncated(x, y):
    _refuse_zero(x, y)
    quotient = np.floor_divide(x, y)
    return quotient + ((quotient < 0) & (quotient * y != x)).astype(quotient.dtype)


def _remainder(x, y):
    _refuse_zero(x, y)
    if both_integer(x, y):
        return np.remainder(x, y)
    # Not np.remainder: PyTorch keeps the sign of a zero from fmod.
    r = np.fmod(x, y)
    return select((r != 0) & ((r < 0) != np.less(y, 0)), r + y, r)


def _fmod(x, y):
    _refuse_zero(x, y)
    return np.fmod(x, y)


def _verify(inputs: tuple, attrs: dict) -> bool:
    """Whether it is known that no integer is divided by 0."""
    for x in inputs:
        if isinstance(x, float) or isinstance(x, dispatch.Tensor) and x._dtype.kind >= dtypes.FLOATING:
            return True
    dividend, divisor = inputs[:2]
    if not isinstance(divisor, dispatch.Tensor):
        return bool(wrapped(divisor, dividend._dtype))
    values = dispatch.known(divisor)
    if values is None or not values.all():
        return False
    return not isinstance(dividend, dispatch.Tensor) or bool(values.astype(dividend._dtype.np).all())  # it may be computed in that


def _expand_division(lower):
    def expand(e, x, y):
        if e.node.op.checked and e.node.dtype.kind != dtypes.FLOATING:
            e.check(lambda b, x, y: b.eq(y, 0), x, y)
        return e.map(lower, x, y)

    return expand


def _lower_remainder(b, x, y):
    if b.result.kind != dtypes.FLOATING:
        return b.rem(x, y)
    r = b.fmod(x, y)
    return b.select(b.and_(b.ne(r, 0), b.xor(b.lt(r, 0), b.lt(y, 0))), b.add(r, y), r)


_no_gradient = {"input": lambda g: g * 0, "other": lambda g: g * 0}
"""Of functions that are constant between their jumps."""


def _integers_by_zero(make):
    return [ErrorSample(RuntimeError, "ZeroDivisionError", (make(3) > 0).long(), 0)]


@pointwise(
    expand=_expand_division(lambda b, x, y: b.floordiv(x, y)),
    kernel=_floor_divide,
    tensors="input other",
    grad={"input": no_derivative("floor_divide", aten=True), "other": no_derivative("floor_divide", aten=True)},
    backward_name="NotImplemented",
    checked=True,
    sure=can_divide,
    verify=_verify,
    inplace=True,
    out=True,
    samples=samples.binary(low=0.6, high=0.9, number=0.4),
    errors=_integers_by_zero,
)
def floor_divide(input: Tensor, other: Tensor | Number | complex):
    """Element-wise quotient, rounded down, as Python's ``//``. ``RuntimeError`` where an integer is divided by 0.

    It has no derivative, as in PyTorch: ``div(..., rounding_mode="floor")`` has one, which is 0.

    >>> import flambeau as torch
    >>> torch.floor_divide(torch.tensor([7, -7]), 2)
    tensor([ 3, -4])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.floor_divide.html
    """
    refuse("div_floor_cpu", input, other, kinds=NOT_REAL_NUMBERS)
    return (input, other), {}


@pointwise(
    wraps=True,
    expand=_expand_division(lambda b, x, y: b.floordiv(x, y)),
    kernel=_floor_divide,
    tensors="input other",
    grad=_no_gradient,
    name="_floored_quotient",
    backward_name="DivBackward2",
    checked=True,
    sure=can_divide,
    verify=_verify,
    method=False,
    errors=_integers_by_zero,
)
def floored_quotient(input: Tensor, other: Tensor | Number | complex):
    """Element-wise quotient, rounded down: what ``div`` records."""
    refuse("div_floor_cpu", input, other, kinds=NOT_REAL_NUMBERS)
    return (input, other), {}


@pointwise(
    expand=_expand_division(lambda b, x, y: b.truncdiv(x, y)),
    kernel=_truncated,
    tensors="input other",
    name="_truncated_divide",
    checked=True,
    sure=can_divide,
    verify=_verify,
    method=False,
    errors=_integers_by_zero,
)
def truncated_divide(input: Tensor, other: Tensor | Number | complex):
    """Element-wise quotient of integers, rounded towards zero."""
    refuse("div_trunc_cpu", input, other, kinds=NOT_REAL_NUMBERS)
    return (input, other), {}


@pointwise(
    overload=by_tensor(1),
    expand=_expand_division(_lower_remainder),
    kernel=_remainder,
    tensors="input other",
    grad={"input": lambda g: g, "other": lambda g, input, other: -g * floored_quotient(input, other)},
    checked=True,
    sure=can_divide,
    verify=_verify,
    inplace=True,
    out=True,
    samples=samples.binary(low=0.6, high=0.9, number=0.4),
    errors=_integers_by_zero,
)
def remainder(input: Tensor | Number | complex, other: Tensor | Number | complex):
    r"""Element-wise remainder :math:`input - other \lfloor input / other \rfloor`, as Python's ``%``.

    It has the sign of ``other``. ``RuntimeError`` where an integer is divided by 0.

    >>> import flambeau as torch
    >>> torch.remainder(torch.tensor([-3.0, 3.0]), 2)
    tensor([1., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.remainder.html
    """
    refuse("remainder_cpu", input, other, kinds=NOT_REAL_NUMBERS)
    return (input, other), {}


@pointwise(
    overload=by_tensor(1),
    expand=_expand_division(lambda b, x, y: b.fmod(x, y)),
    kernel=_fmod,
    tensors="input other",
    only="input",
    grad={"input": lambda g: g, "other": lambda g, input, other: -g * trunc(input / other)},
    checked=True,
    sure=can_divide,
    verify=_verify,
    inplace=True,
    out=True,
    samples=samples.binary(low=0.6, high=0.9, number=0.4),
    errors=_integers_by_zero,
)
def fmod(input: Tensor, other: Tensor | Number | complex):
    """Element-wise remainder with the sign of ``input``, as C's ``fmod``.

    >>> import flambeau as torch
    >>> torch.fmod(torch.tensor([-3.0, 3.0]), 2)
    tensor([-1.,  1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fmod.html
    """
    refuse("fmod_cpu", input, other, kinds=NOT_REAL_NUMBERS)
    return (input, other), {}

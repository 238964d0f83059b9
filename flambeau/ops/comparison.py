"""Comparisons, choices by a condition, and tests of values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import c_name, scalar_name
from flambeau.core.errors import describe
from flambeau.core.scalars import fitting
from flambeau.core.size import broadcast_shapes
from flambeau.ops import layouts, samples
from flambeau.ops.numerics import select
from flambeau.ops.record import ErrorSample, Sample, by_tensor, composite, op, pointwise
from flambeau.ops.refusals import refuse, refuse_complex

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor

# --- comparisons ---------------------------------------------------------------------------------------------


@pointwise(
    lower=lambda b, x, y: b.eq(x, y),
    kernel=np.equal,
    tensors="input other",
    only="input",
    result="bool",
    inplace=True,
    out=True,
    samples=samples.binary(),
)
def eq(input: Tensor, other: Tensor | Number | complex):
    """Element-wise ``input == other``, as a bool tensor.

    >>> import flambeau as torch
    >>> torch.eq(torch.tensor([1, 2]), 2)
    tensor([False,  True])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.eq.html
    """
    return (input, other), {}


@pointwise(
    lower=lambda b, x, y: b.ne(x, y),
    kernel=np.not_equal, tensors="input other", only="input", result="bool", inplace=True, out=True, aliases=("not_equal",),
    samples=samples.binary(),
)  # fmt: skip
def ne(input: Tensor, other: Tensor | Number | complex):
    """Element-wise ``input != other``, as a bool tensor.

    >>> import flambeau as torch
    >>> torch.ne(torch.tensor([1, 2]), torch.tensor([1, 3]))
    tensor([False,  True])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ne.html
    """
    return (input, other), {}


@pointwise(
    lower=lambda b, x, y: b.lt(x, y),
    kernel=np.less, tensors="input other", only="input", result="bool", inplace=True, out=True, aliases=("less",),
    samples=samples.binary(),
)  # fmt: skip
def lt(input: Tensor, other: Tensor | Number | complex):
    """Element-wise ``input < other``, as a bool tensor.

    >>> import flambeau as torch
    >>> torch.lt(torch.tensor([1, 2, 3]), 2)
    tensor([ True, False, False])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.lt.html
    """
    refuse("lt_cpu", input, other)
    return (input, other), {}


@pointwise(
    lower=lambda b, x, y: b.le(x, y),
    kernel=np.less_equal, tensors="input other", only="input", result="bool", inplace=True, out=True, aliases=("less_equal",),
    samples=samples.binary(),
)  # fmt: skip
def le(input: Tensor, other: Tensor | Number | complex):
    """Element-wise ``input <= other``, as a bool tensor.

    >>> import flambeau as torch
    >>> torch.le(torch.tensor([1, 2, 3]), 2)
    tensor([ True,  True, False])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.le.html
    """
    refuse("le_cpu", input, other)
    return (input, other), {}


@pointwise(
    lower=lambda b, x, y: b.gt(x, y),
    kernel=np.greater, tensors="input other", only="input", result="bool", inplace=True, out=True, aliases=("greater",),
    samples=samples.binary(),
)  # fmt: skip
def gt(input: Tensor, other: Tensor | Number | complex):
    """Element-wise ``input > other``, as a bool tensor.

    >>> import flambeau as torch
    >>> torch.gt(torch.tensor([1, 2, 3]), 2)
    tensor([False, False,  True])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.gt.html
    """
    refuse("gt_cpu", input, other)
    return (input, other), {}


@pointwise(
    lower=lambda b, x, y: b.ge(x, y),
    kernel=np.greater_equal, tensors="input other", only="input", result="bool", inplace=True, out=True, aliases=("greater_equal",),
    samples=samples.binary(),
)  # fmt: skip
def ge(input: Tensor, other: Tensor | Number | complex):
    """Element-wise ``input >= other``, as a bool tensor.

    >>> import flambeau as torch
    >>> torch.ge(torch.tensor([1, 2, 3]), 2)
    tensor([False,  True,  True])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ge.html
    """
    refuse("ge_cpu", input, other)
    return (input, other), {}


# --- choices -------------------------------------------------------------------------------------------------


@op(
    wraps=True,
    layout=layouts.elementwise,
    lower=lambda b, condition, x, y: b.select(condition, b.cast(x, b.result), b.cast(y, b.result)),
    kernel=select,
    tensors="condition input other",
    grad={
        "input": lambda g, condition: _where(condition, g, 0),
        "other": lambda g, condition: _where(condition, 0, g),
    },
    out=True,
    fits=True,
    name="_where",
    method=False,
    backward_name="WhereBackward0",
)
def _where(condition: Tensor, input: Tensor, other: Tensor):
    """``input`` where ``condition`` holds, else ``other``: :func:`where` with all three arguments."""
    if not isinstance(condition, dispatch.Tensor):
        raise TypeError(f"where(): argument 'condition' (position 1) must be Tensor, not {describe(condition)}")
    if condition._dtype is not dtypes.bool:
        if condition._dtype is not dtypes.uint8:
            raise RuntimeError(
                f"where expected condition to be a boolean tensor, but got a tensor with dtype {condition._dtype}: "
                "compare first, for example `condition != 0`"
            )
        condition = condition != 0
    for position, x in enumerate((input, other), 2):
        if not isinstance(x, (dispatch.Tensor, int, float, complex, np.generic)):
            name = "input" if position == 2 else "other"
            raise TypeError(f"where(): argument '{name}' (position {position}) must be Tensor or a number, not {describe(x)}")
    dtype = dispatch.result_type(input, other)
    shapes = [condition._shape]
    operands = []
    for x in (input, other):
        if isinstance(x, dispatch.Tensor):
            shapes.append(x._shape)
            if x._dtype is not dtype:
                x = x.to(dtype)
        operands.append(x if isinstance(x, dispatch.Tensor) else fitting(x, dtype))
    return broadcast_shapes(*shapes), dtype, (condition, *operands), {}


@composite(
    out="same",
    method=False,
    samples=lambda make: [
        Sample(make(3, 4) > 0, make(3, 4), make(3, 4)),
        Sample(make(4) > 0, make(3, 1), make()),
        Sample(make(3, 1) > 0, 2.5, make(4)),
        Sample(make(3) > 0, make(3), 1),
        Sample(make() > 0, make(2), make(2, 2).t()),
        Sample(make(0, 3) > 0, make(3), make(0, 3)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "expected condition to be a boolean tensor", make(3), make(3), make(3)),
        ErrorSample(RuntimeError, "must match the size", make(3) > 0, make(2), make(3)),
    ],
)
def where(
    condition: Tensor, input: Tensor | Number | complex | None = None, other: Tensor | Number | complex | None = None
) -> Tensor:
    """``input`` where ``condition`` holds, else ``other``; the three broadcast.

    ``input`` and ``other`` may be numbers. With ``condition`` alone: the indices of its nonzero elements, as
    ``torch.nonzero(condition, as_tuple=True)``.

    Raises ``TypeError`` where only one of ``input`` and ``other`` is given.

    >>> import flambeau as torch
    >>> x = torch.tensor([-1.0, 2.0])
    >>> torch.where(x > 0, x, 0)
    tensor([0., 2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.where.html
    """
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    return _where(condition, input, other)


@composite(name="Tensor.where")
def _where_method(self: Any, condition: Tensor, other: Tensor | Number | complex):
    """``self`` where ``condition`` holds, else ``other``; see :func:`torch.where`.

    >>> import flambeau as torch
    >>> torch.tensor([1, 2]).where(torch.tensor([True, False]), 0)
    tensor([1, 0])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.where.html
    """
    return _where(condition, self, other)


@op(
    overload=by_tensor(2),
    lower=lambda b, x, mask, value: b.select(mask, b.cast(value, b.result), x),
    kernel=lambda x, mask, value: select(mask, value, x),
    tensors="input mask value",
    fits=True,
    grad={
        "input": lambda g, mask: masked_fill(g, mask, 0),
        "value": lambda g, mask: _where(mask, g, 0).sum(),
    },
    inplace=True,
    samples=lambda make: [
        Sample(make(3, 4), make(3, 4) > 0, 2.0),
        Sample(make(4, 3).t(), make(4) > 0, make()),
        Sample(make(4), make(3, 1) > 0, -1e9),
        Sample(make(), make() > 0, 1),
        Sample(make(0, 2), make(2) > 0, 1),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "masked_fill_ only supports boolean masks", make(2), make(2), 0),
        ErrorSample(RuntimeError, "only supports a 0-dimensional value tensor", make(2), make(2) > 0, make(1)),
        ErrorSample(RuntimeError, "must match the size", make(2), make(3) > 0, 0),
    ],
)
def masked_fill(input: Tensor, mask: Tensor, value: Tensor | Number | complex):
    """``input`` with ``value`` (a number or 0-dim tensor) where ``mask``, a bool tensor that broadcasts, holds.

    Raises ``RuntimeError`` for a mask of another dtype and for a value that the dtype cannot hold.

    >>> import flambeau as torch
    >>> torch.arange(3).masked_fill(torch.tensor([True, False, False]), 7)
    tensor([7, 1, 2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.masked_fill.html
    """
    if mask._dtype is not dtypes.bool:
        raise RuntimeError(f"masked_fill_ only supports boolean masks, but got mask with dtype {mask._dtype}")
    if isinstance(value, dispatch.Tensor):
        if value._shape:
            raise RuntimeError(
                f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with {len(value._shape)} dimension(s)."
            )
        if value._dtype.kind > input._dtype.kind and value._dtype.kind == dtypes.COMPLEX:
            raise RuntimeError(f"value cannot be converted to type {c_name(input._dtype)} without overflow")
        value = value.to(input._dtype)
    else:
        value = fitting(value, input._dtype)
    return broadcast_shapes(mask._shape, input._shape), input._dtype, (input, mask, value), {}


# --- closeness -----------------------------------------------------------------------------------------------


def _isclose(x, y, rtol, atol, equal_nan):
    close = x == y
    if equal_nan:
        close |= (x != x) & (y != y)
    if not (rtol == 0 and atol == 0):
        if x.dtype.kind in "iub":
            x, y = x.astype(np.float32), y.astype(np.float32)
        error = np.abs(x - y)
        close |= np.isfinite(error) & (error <= atol + np.abs(rtol * y))
    return close


def _lower_isclose(b, x, y, rtol, atol, equal_nan):
    close = b.eq(x, y)
    if equal_nan:
        close = b.or_(close, b.and_(b.ne(x, x), b.ne(y, y)))
    if rtol == 0 and atol == 0:
        return close
    if x.dtype.kind != dtypes.FLOATING:
        x, y = b.cast(x, dtypes.float32), b.cast(y, dtypes.float32)
    error = b.abs(b.sub(x, y))
    near = b.le(error, b.add(atol, b.abs(b.mul(rtol, y))))
    return b.or_(close, b.and_(b.lt(error, np.inf), near))


@pointwise(
    lower=_lower_isclose,
    kernel=_isclose,
    tensors="input other",
    result="bool",
    samples=lambda make: [
        *samples.binary(number=None)(make),
        Sample(make(3, 4), make(3, 4), rtol=0.5, atol=0.25),
        Sample(make(3), make(3), equal_nan=True),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "did not match", make(2), make(2).float()),
        ErrorSample(RuntimeError, "rtol must be greater", make(2), make(2), rtol=-1),
    ],
)
def isclose(input: Tensor, other: Tensor | Number | complex, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False):
    r"""Whether each :math:`|input - other| \le atol + rtol \times |other|`, as a bool tensor.

    Equal infinities are close; NaN is close to NaN only with ``equal_nan=True``.

    Raises ``RuntimeError`` for different dtypes and negative tolerances.

    >>> import flambeau as torch
    >>> torch.isclose(torch.tensor([1.0, 1.0, torch.nan]), torch.tensor([1.000001, 1.1, torch.nan]))
    tensor([ True, False, False])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.isclose.html
    """
    if not isinstance(other, dispatch.Tensor):
        raise TypeError(f"isclose(): argument 'other' (position 2) must be Tensor, not {describe(other)}")
    if input._dtype is not other._dtype:
        raise RuntimeError(
            f"{scalar_name(input._dtype)} did not match {scalar_name(other._dtype)}: isclose() compares tensors of "
            "the same dtype, convert one with .to(other.dtype)"
        )
    for name, tolerance in (("rtol", rtol), ("atol", atol)):
        if tolerance < 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {tolerance}")
    return (input, other), {"rtol": float(rtol), "atol": float(atol), "equal_nan": bool(equal_nan)}


@composite
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False):
    """Whether all elements are close, as a Python bool; see :func:`isclose`.

    >>> import flambeau as torch
    >>> torch.allclose(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0001]))
    False
    >>> torch.allclose(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0001]), rtol=1e-3)
    True

    Source: https://docs.pytorch.org/docs/stable/generated/torch.allclose.html
    """
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@composite
def is_same_size(input: Tensor, other: Tensor):
    """Whether two tensors are of one shape.

    >>> import flambeau as torch
    >>> torch.is_same_size(torch.zeros(2, 1), torch.ones(2, 1))
    True

    Source: PyTorch's operator ``aten::is_same_size``.
    """
    return input.shape == other.shape


@composite
def equal(input: Tensor, other: Tensor):
    """Whether two tensors have the same shape and equal elements, as a Python bool.

    >>> import flambeau as torch
    >>> torch.equal(torch.tensor([1, 2]), torch.tensor([1.0, 2.0]))
    True
    >>> torch.equal(torch.tensor([1, 2]), torch.tensor([[1, 2]]))
    False

    Source: https://docs.pytorch.org/docs/stable/generated/torch.equal.html
    """
    return input._shape == other._shape and bool(eq(input, other).all())


# --- tests of values -----------------------------------------------------------------------------------------


@pointwise(lower=lambda b, x: b.ne(x, x), kernel=np.isnan, result="bool", samples=samples.unary())
def isnan(input: Tensor):
    """Whether each element is NaN (of a complex number: either part).

    >>> import flambeau as torch
    >>> torch.isnan(torch.tensor([1.0, torch.nan]))
    tensor([False,  True])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.isnan.html
    """
    return (input,), {}


def _lower_infinite(b, x, sign=0):
    if x.dtype.kind != dtypes.FLOATING:
        return b.ne(x, x)
    return b.eq(x, sign * np.inf) if sign else b.eq(b.abs(x), np.inf)


@pointwise(lower=_lower_infinite, kernel=np.isinf, result="bool", samples=samples.unary())
def isinf(input: Tensor):
    """Whether each element is infinite (of a complex number: either part).

    >>> import flambeau as torch
    >>> torch.isinf(torch.tensor([1.0, -torch.inf]))
    tensor([False,  True])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.isinf.html
    """
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.lt(b.abs(x), np.inf) if x.dtype.kind == dtypes.FLOATING else b.eq(x, x),
    kernel=np.isfinite,
    result="bool",
    samples=samples.unary(),
)
def isfinite(input: Tensor):
    """Whether each element is neither infinite nor NaN.

    >>> import flambeau as torch
    >>> torch.isfinite(torch.tensor([1.0, torch.inf, torch.nan]))
    tensor([ True, False, False])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.isfinite.html
    """
    return (input,), {}


@pointwise(
    lower=lambda b, x: _lower_infinite(b, x, 1), kernel=lambda x: x == np.inf, result="bool", out="same", samples=samples.unary()
)
def isposinf(input: Tensor):
    """Whether each element is positive infinity.

    Raises ``RuntimeError`` for complex numbers.

    >>> import flambeau as torch
    >>> torch.isposinf(torch.tensor([torch.inf, -torch.inf]))
    tensor([ True, False])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.isposinf.html
    """
    if input._dtype.kind == dtypes.COMPLEX:
        raise RuntimeError("isposinf does not support complex inputs.")
    return (input,), {}


@pointwise(
    lower=lambda b, x: _lower_infinite(b, x, -1), kernel=lambda x: x == -np.inf, result="bool", out="same", samples=samples.unary()
)
def isneginf(input: Tensor):
    """Whether each element is negative infinity.

    Raises ``RuntimeError`` for complex numbers.

    >>> import flambeau as torch
    >>> torch.isneginf(torch.tensor([torch.inf, -torch.inf]))
    tensor([False,  True])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.isneginf.html
    """
    if input._dtype.kind == dtypes.COMPLEX:
        raise RuntimeError("isneginf does not support complex inputs.")
    return (input,), {}


@pointwise(kernel=np.isreal, result="bool", samples=samples.unary())
def isreal(input: Tensor):
    """Whether each element's imaginary part is 0.

    >>> import flambeau as torch
    >>> torch.isreal(torch.tensor([1 + 0j, 1j]))
    tensor([ True, False])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.isreal.html
    """
    return (input,), {}


@op(
    kernel=lambda x, tests, invert: np.isin(x, tests, invert=invert),
    tensors="elements test_elements",
    out="same",
    method=False,
    samples=lambda make: [Sample(make(3, 4).round(), make(5).round()), Sample(make(3).round(), 1.0, invert=True)],
)
def isin(
    elements: Tensor | Number | complex,
    test_elements: Tensor | Number | complex,
    *,
    assume_unique: bool = False,
    invert: bool = False,
):
    """Whether each of ``elements`` is among ``test_elements`` (with ``invert=True``: is not). One may be a number.

    Raises ``TypeError`` where neither is a tensor.

    >>> import flambeau as torch
    >>> torch.isin(torch.tensor([1, 2, 3]), torch.tensor([2, 5]))
    tensor([False,  True, False])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.isin.html
    """
    for x in (elements, test_elements):
        if isinstance(x, dispatch.Tensor):
            refuse_complex("isin", x)
        elif not isinstance(x, (int, float, complex)):
            raise TypeError(
                f"isin() received an invalid combination of arguments - got ({describe(elements)}, {describe(test_elements)})"
            )
    shape = elements._shape if isinstance(elements, dispatch.Tensor) else ()
    return shape, dtypes.bool, (elements, test_elements), {"invert": bool(invert)}

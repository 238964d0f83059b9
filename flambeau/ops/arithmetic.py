"""Arithmetic: sums, products, quotients, blends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import c_name
from flambeau.core.errors import describe
from flambeau.core.scalars import factor
from flambeau.ops import layouts, samples
from flambeau.ops.complexes import conj_of
from flambeau.ops.division import floored_quotient, truncated_divide
from flambeau.ops.numerics import select
from flambeau.ops.record import ErrorSample, Sample, by_number, by_tensor, composite, pointwise
from flambeau.ops.refusals import NOT_FLOATING, refuse
from flambeau.ops.rounding import trunc

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor


def is_bool(x) -> bool:
    return x._dtype is dtypes.bool if isinstance(x, dispatch.Tensor) else x.__class__ is bool


def is_integral(x) -> bool:
    """Whether a tensor or number is of an integer type or bool."""
    return x._dtype.kind < dtypes.FLOATING if isinstance(x, dispatch.Tensor) else isinstance(x, (int, np.integer))


# --- sums ----------------------------------------------------------------------------------------------------


def _checked_alpha(input, other, alpha):
    """The factor of ``other``; ``None`` for 1."""
    result = dispatch.result_type(input, other)
    if alpha.__class__ is bool and result is not dtypes.bool:
        raise RuntimeError("Boolean alpha only supported for Boolean results.")
    if result.kind < dtypes.FLOATING and not isinstance(alpha, (int, np.integer)):
        raise RuntimeError("For integral input tensors, argument alpha must not be a floating point number.")
    if result.kind != dtypes.COMPLEX and isinstance(alpha, complex):
        raise RuntimeError("For non-complex input tensors, argument alpha must not be a complex number.")
    alpha = factor(alpha, result)
    return None if alpha == 1 else alpha


@pointwise(
    wraps=True,
    lower=lambda b, x, y, alpha: b.add(x, y if alpha is None else b.mul(alpha, y)),
    kernel=lambda x, y, alpha: x + y if alpha is None else x + alpha * y,
    tensors="input other alpha",
    grad={"input": lambda g: g, "other": lambda g, alpha: g if alpha is None else g * conj_of(alpha)},
    inplace=True,
    out=True,
    samples=lambda make: [*samples.binary()(make), Sample(make(3, 4), make(4), alpha=2.5)],
    errors=lambda make: [
        ErrorSample(RuntimeError, "must match the size", make(3), make(4)),
        ErrorSample(RuntimeError, "argument alpha must not be a floating", make(3) > 0, make(3) > 0, alpha=0.5),
    ],
)
def add(input: Tensor, other: Tensor | Number | complex, *, alpha: Number | complex = 1):
    r"""Element-wise sum :math:`input + alpha \times other`, with broadcasting and type promotion.

    >>> import flambeau as torch
    >>> torch.add(torch.tensor([1.0, 2.0]), 1, alpha=10)
    tensor([11., 12.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.add.html
    """
    return (input, other, None if alpha == 1 and alpha is not True else _checked_alpha(input, other, alpha)), {}


@pointwise(
    wraps=True,
    lower=lambda b, x, y, alpha: b.sub(x, y if alpha is None else b.mul(alpha, y)),
    kernel=lambda x, y, alpha: x - y if alpha is None else x - alpha * y,
    tensors="input other alpha",
    grad={"input": lambda g: g, "other": lambda g, alpha: -g if alpha is None else g * -conj_of(alpha)},
    inplace=True,
    out=True,
    aliases=("subtract",),
    samples=lambda make: [*samples.binary()(make), Sample(make(3, 4), make(4), alpha=2.5)],
    errors=lambda make: [
        ErrorSample(RuntimeError, "Subtraction, the `-` operator, with two bool", make(3) > 0, make(3) > 0),
        ErrorSample(RuntimeError, "Subtraction, the `-` operator, with a bool", make(3), make(3) > 0),
    ],
)
def sub(input: Tensor, other: Tensor | Number | complex, *, alpha: Number | complex = 1):
    r"""Element-wise difference :math:`input - alpha \times other`. Not for bools: use ``^`` or ``logical_xor``.

    Raises ``RuntimeError`` for bools and for an ``alpha`` that the dtype cannot hold.

    >>> import flambeau as torch
    >>> torch.sub(torch.tensor([5, 7]), 2, alpha=2)
    tensor([1, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.sub.html
    """
    _refuse_bools(input, other)
    return (input, other, None if alpha == 1 and alpha is not True else _checked_alpha(input, other, alpha)), {}


def _refuse_bools(input, other) -> None:
    if is_bool(other) or is_bool(input):
        if is_bool(other) and is_bool(input):
            raise RuntimeError(
                "Subtraction, the `-` operator, with two bool tensors is not supported. "
                "Use the `^` or `logical_xor()` operator instead."
            )
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. "
            "If you are trying to invert a mask, use the `~` or `logical_not()` operator instead."
        )


@pointwise(
    layout=layouts.second_first,
    overload=by_number(1),
    lower=lambda b, x, y, alpha: b.sub(y, x if alpha is None else b.mul(alpha, x)),
    kernel=lambda x, y, alpha: y - x if alpha is None else y - alpha * x,
    tensors="input other alpha",
    only="input",
    grad={"input": lambda g, alpha: -g if alpha is None else g * -conj_of(alpha), "other": lambda g: g},
    samples=samples.binary(),
)
def rsub(input: Tensor, other: Tensor | Number | complex, *, alpha: Number | complex = 1):
    r"""Element-wise :math:`other - alpha \times input`.

    Raises ``RuntimeError`` for bools.

    >>> import flambeau as torch
    >>> torch.rsub(torch.tensor([1, 2]), 10)
    tensor([9, 8])

    Source: PyTorch's operator ``aten::rsub``.
    """
    _refuse_bools(input, other)
    return (input, other, None if alpha == 1 and alpha is not True else _checked_alpha(other, input, alpha)), {}


@pointwise(
    lower=lambda b, x: b.neg(x),
    kernel=np.negative,
    grad={"input": lambda g: -g},
    inplace=True,
    out="same",
    aliases=("negative",),
    samples=samples.unary(),
)
def neg(input: Tensor):
    """Element-wise :math:`-input`.

    Raises ``RuntimeError`` for bools: ``~`` inverts a mask.

    >>> import flambeau as torch
    >>> torch.neg(torch.tensor([1, -2]))
    tensor([-1,  2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.neg.html
    """
    if input._dtype is dtypes.bool:
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. "
            "If you are trying to invert a mask, use the `~` or `logical_not()` operator instead."
        )
    return (input,), {}


# --- products and quotients ----------------------------------------------------------------------------------


@pointwise(
    wraps=True,
    lower=lambda b, x, y: b.mul(x, y),
    kernel=np.multiply,
    tensors="input other",
    grad={"input": lambda g, other: g * conj_of(other), "other": lambda g, input: g * conj_of(input)},
    inplace=True,
    out=True,
    aliases=("multiply",),
    samples=samples.binary(),
    errors=lambda make: [ErrorSample(RuntimeError, "must match the size", make(3), make(4))],
)
def mul(input: Tensor, other: Tensor | Number | complex):
    r"""Element-wise product :math:`input \times other`.

    >>> import flambeau as torch
    >>> torch.mul(torch.tensor([[1], [2]]), torch.tensor([10, 20]))
    tensor([[10, 20],
            [20, 40]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.mul.html
    """
    return (input, other), {}


def _grad_of_divisor(g, out, other):
    return -g * conj_of(out / other)


@pointwise(
    wraps=True,
    lower=lambda b, x, y: b.div(x, y),
    kernel=np.true_divide,
    tensors="input other",
    result="float",
    grad={"input": lambda g, other: g / conj_of(other), "other": _grad_of_divisor},
    inplace=True,
    out=True,
    backward_name="DivBackward0",
    samples=samples.binary(low=0.5, high=3.0),
)
def true_divide(input: Tensor, other: Tensor | Number | complex):
    """Element-wise quotient :math:`input / other`; integers are divided as floating-point numbers.

    >>> import flambeau as torch
    >>> torch.true_divide(torch.tensor([7, -7]), 2)
    tensor([ 3.5000, -3.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.true_divide.html
    """
    return (input, other), {}


@composite(
    inplace=True,
    out=True,
    aliases=("divide",),
    samples=lambda make: [
        *samples.binary(low=0.5, high=3.0)(make),
        Sample(make(3, 4), make(3, 4, low=0.5, high=0.7), rounding_mode="trunc"),
        Sample(make(3, 4), make(4, low=0.5, high=0.7), rounding_mode="floor"),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "div expected rounding_mode", make(3), 2, rounding_mode="up")],
)
def div(input: Tensor, other: Tensor | Number | complex, *, rounding_mode: str | None = None) -> Tensor:
    """Element-wise quotient :math:`input / other`.

    ``rounding_mode``: ``None`` (true division, integers give floating-point results), ``"trunc"`` (rounded towards
    zero, as C's integer division) or ``"floor"`` (rounded down, as Python's ``//``).

    Raises ``RuntimeError`` for another ``rounding_mode``, and where an integer is divided by 0 and rounded.

    >>> import flambeau as torch
    >>> torch.div(torch.tensor([-7, 7]), 2, rounding_mode="floor")
    tensor([-4,  3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.div.html
    """
    if rounding_mode is None:
        return true_divide(input, other)
    if rounding_mode == "floor":
        return floored_quotient(input, other)
    if rounding_mode == "trunc":
        if dispatch.result_type(input, other).kind == dtypes.FLOATING:
            return trunc(true_divide(input, other))  # the quotient is rounded to its dtype first
        return truncated_divide(input, other)
    raise RuntimeError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'")


@pointwise(
    lower=lambda b, x: b.div(1, x),
    kernel=lambda x: 1 / x,
    result="float",
    grad={"input": lambda g, out: -g * conj_of(out * out)},
    inplace=True,
    out=True,
    samples=samples.unary(low=0.5, high=3.0),
)
def reciprocal(input: Tensor):
    """Element-wise :math:`1 / input`; integers give floating-point numbers.

    >>> import flambeau as torch
    >>> torch.reciprocal(torch.tensor([2, 4]))
    tensor([0.5000, 0.2500])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.reciprocal.html
    """
    return (input,), {}


# --- blends --------------------------------------------------------------------------------------------------


def _triples(make):
    def m(*shape):
        return make(*shape, low=0.5, high=2.0)

    return [
        Sample(m(3, 4), m(3, 4), m(3, 4), value=0.5),
        Sample(m(4, 3).t(), m(4), m(3, 1)),
        Sample(m(), m(2), m(2)),
        Sample(m(0, 2), m(2), m(1)),
    ]


def _checked_value(name: str, input, tensor1, tensor2, value):
    """The factor of a product; ``None`` for 1."""
    for x in (input, tensor1, tensor2):
        if not isinstance(x, dispatch.Tensor):
            raise TypeError(f"{name}(): expected three tensors, but got {describe(x)}")
    if value == 1:
        return None
    return factor(value, dispatch.result_type(input, tensor1, tensor2))


def _scaled(g, value):
    return g if value is None else g * conj_of(value)


@pointwise(
    lower=lambda b, x, y, z, value: b.add(x, b.mul(y if value is None else b.mul(value, y), z)),
    kernel=lambda x, y, z, value: x + y * z if value is None else x + value * y * z,
    tensors="input tensor1 tensor2 value",
    grad={
        "input": lambda g: g,
        "tensor1": lambda g, tensor2, value: _scaled(g, value) * conj_of(tensor2),
        "tensor2": lambda g, tensor1, value: _scaled(g, value) * conj_of(tensor1),
    },
    inplace=True,
    out=True,
    samples=_triples,
)
def addcmul(
    input: Tensor,
    tensor1: Tensor,
    tensor2: Tensor,
    *,
    value: Number | complex = 1,
):
    r"""Element-wise :math:`input + value \times tensor1 \times tensor2`; not for bools.

    Raises ``NotImplementedError`` for bools, ``RuntimeError`` for shapes that do not broadcast.

    >>> import flambeau as torch
    >>> torch.addcmul(torch.tensor([1.0]), torch.tensor([2.0]), torch.tensor([3.0]), value=0.5)
    tensor([4.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.addcmul.html
    """
    if all([isinstance(x, dispatch.Tensor) and x._dtype is dtypes.bool for x in (input, tensor1, tensor2)]):
        raise NotImplementedError("\"addcmul_cpu_out\" not implemented for 'Bool'")
    return (input, tensor1, tensor2, _checked_value("addcmul", input, tensor1, tensor2, value)), {}


@pointwise(
    lower=lambda b, x, y, z, value: b.add(x, b.div(y if value is None else b.mul(value, y), z)),
    kernel=lambda x, y, z, value: x + y / z if value is None else x + value * y / z,
    tensors="input tensor1 tensor2 value",
    grad={
        "input": lambda g: g,
        "tensor1": lambda g, tensor2, value: _scaled(g, value) / conj_of(tensor2),
        "tensor2": lambda g, tensor1, tensor2, value: -_scaled(g, value) * conj_of(tensor1 / (tensor2 * tensor2)),
    },
    inplace=True,
    out=True,
    samples=_triples,
)
def addcdiv(
    input: Tensor,
    tensor1: Tensor,
    tensor2: Tensor,
    *,
    value: Number | complex = 1,
):
    r"""Element-wise :math:`input + value \times tensor1 / tensor2`; not for a quotient of integers.

    Raises ``RuntimeError`` where ``tensor1`` and ``tensor2`` are both of integers.

    >>> import flambeau as torch
    >>> torch.addcdiv(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([2.0]), value=2)
    tensor([4.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.addcdiv.html
    """
    if is_integral(tensor1) and is_integral(tensor2):
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future release addcdiv will perform a true "
            "division of tensor1 and tensor2: make one of them floating-point, for example with .float()"
        )
    return (input, tensor1, tensor2, _checked_value("addcdiv", input, tensor1, tensor2, value)), {}


def _lerp(start, end, weight):
    # From the nearer end, so that weight 1 gives exactly ``end``.
    near = np.abs(weight) < 0.5
    if isinstance(near, np.ndarray):
        return select(near, start + weight * (end - start), end - (end - start) * (1 - weight))
    return start + weight * (end - start) if near else end - (end - start) * (1 - weight)


def _lower_lerp(b, start, end, weight):
    span = b.sub(end, start)
    near = b.lt(b.abs(weight), 0.5)
    return b.select(near, b.add(start, b.mul(weight, span)), b.sub(end, b.mul(span, b.sub(1, weight))))


@pointwise(
    fits=True,
    overload=by_tensor(2),
    lower=_lower_lerp,
    kernel=_lerp,
    tensors="input end weight",
    grad={
        "input": lambda g, weight: g * (1 - conj_of(weight)),
        "end": lambda g, weight: g * conj_of(weight),
        "weight": lambda g, input, end: g * conj_of(end - input),
    },
    inplace=True,
    out="same",
    samples=lambda make: [
        Sample(make(3, 4), make(3, 4), make(3, 4)),
        Sample(make(4, 3).t(), make(4), 0.3),
        Sample(make(2), make(2), 0.8),
        Sample(make(), make(), make(3)),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "expected dtype .* for `end`", make(3), make(3).float(), 0.5)],
)
def lerp(input: Tensor, end: Tensor | Number | complex, weight: Tensor | Number | complex):
    r"""Linear interpolation :math:`input + weight \times (end - input)`; ``weight`` is a tensor or a number.

    Raises ``RuntimeError`` for tensors of different dtypes, ``TypeError`` for an ``end`` that is no tensor.

    >>> import flambeau as torch
    >>> torch.lerp(torch.tensor([0.0, 10.0]), torch.tensor([1.0, 20.0]), 0.5)
    tensor([ 0.5000, 15.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.lerp.html
    """
    for name, x in (("end", end), ("weight", weight)):
        if isinstance(x, dispatch.Tensor):
            if x._dtype is not input._dtype:
                raise RuntimeError(f"expected dtype {c_name(input._dtype)} for `{name}` but got dtype {c_name(x._dtype)}")
        elif name == "end":
            raise TypeError(f"lerp(): argument 'end' (position 2) must be Tensor, not {describe(x)}")
    refuse(f"lerp_kernel_{'tensor' if isinstance(weight, dispatch.Tensor) else 'scalar'}", input, kinds=NOT_FLOATING)
    return (input, end, weight), {}

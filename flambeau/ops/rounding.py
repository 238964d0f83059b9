"""Rounding, signs, and the parts of floating-point numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.errors import describe
from flambeau.ops import layouts, samples
from flambeau.ops.comparison import where
from flambeau.ops.complexes import conj_of
from flambeau.ops.record import ErrorSample, Sample, by_number, composite, op, pointwise
from flambeau.ops.refusals import ALL_BUT_FLOATING, NOT_FLOATING, NOT_REAL_NUMBERS, no_derivative, refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor

# --- to whole numbers ----------------------------------------------------------------------------------------


def _flat(g):
    """The gradient of a function that is constant between its jumps."""
    return g * 0


def _refuse_complex(name: str, input) -> None:
    if input._dtype.kind == dtypes.COMPLEX:
        raise NotImplementedError(f"{name} is not supported for complex inputs")


def _integers_unchanged(round):
    return lambda x: x if x.dtype.kind in "iu" else round(x)


def _lower_rounding(name: str):
    return lambda b, x: getattr(b, name)(x) if x.dtype.kind == dtypes.FLOATING else x


@pointwise(
    lower=_lower_rounding("ceil"),
    kernel=_integers_unchanged(np.ceil), grad={"input": _flat}, inplace=True, out="same", samples=samples.unary(0.1, 0.9)
)  # fmt: skip
def ceil(input: Tensor):
    r"""Element-wise :math:`\lceil input \rceil`, the smallest whole number not below.

    >>> import flambeau as torch
    >>> torch.ceil(torch.tensor([1.2, -1.2]))
    tensor([ 2., -1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ceil.html
    """
    _refuse_complex("ceil", input)
    refuse("ceil_vml_cpu", input, kinds=NOT_REAL_NUMBERS)
    return (input,), {}


@pointwise(
    lower=_lower_rounding("floor"),
    kernel=_integers_unchanged(np.floor), grad={"input": _flat}, inplace=True, out="same", samples=samples.unary(0.1, 0.9)
)  # fmt: skip
def floor(input: Tensor):
    r"""Element-wise :math:`\lfloor input \rfloor`, the largest whole number not above.

    >>> import flambeau as torch
    >>> torch.floor(torch.tensor([1.2, -1.2]))
    tensor([ 1., -2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.floor.html
    """
    _refuse_complex("floor", input)
    refuse("floor_vml_cpu", input, kinds=NOT_REAL_NUMBERS)
    return (input,), {}


@pointwise(
    lower=_lower_rounding("trunc"),
    kernel=_integers_unchanged(np.trunc), grad={"input": _flat}, inplace=True, out="same", aliases=("fix",),
    samples=samples.unary(0.1, 0.9),
)  # fmt: skip
def trunc(input: Tensor):
    """Element-wise whole part: rounded towards zero.

    >>> import flambeau as torch
    >>> torch.trunc(torch.tensor([1.7, -1.7]))
    tensor([ 1., -1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.trunc.html
    """
    _refuse_complex("trunc", input)
    refuse("trunc_vml_cpu", input, kinds=NOT_REAL_NUMBERS)
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.sub(x, b.trunc(x)),
    kernel=lambda x: x - np.trunc(x), grad={"input": lambda g: g}, inplace=True, out="same", samples=samples.unary(0.1, 0.9)
)  # fmt: skip
def frac(input: Tensor):
    """Element-wise fractional part :math:`input - trunc(input)`, with the sign of ``input``.

    >>> import flambeau as torch
    >>> torch.frac(torch.tensor([1.5, -1.5]))
    tensor([ 0.5000, -0.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.frac.html
    """
    refuse("frac_cpu", input, kinds=ALL_BUT_FLOATING)
    return (input,), {}


def _round(x, decimals):
    if x.dtype.kind in "iu":
        return x
    if decimals == 0:
        return np.rint(x)
    if decimals > 0:
        scale = x.dtype.type(10**decimals)
        return np.rint(x * scale) / scale
    scale = x.dtype.type(10**-decimals)
    return np.rint(x / scale) * scale


def _lower_round(b, x, decimals):
    if x.dtype.kind != dtypes.FLOATING:
        return x
    if abs(decimals) > 30:
        b.refuse("a factor that float32 may not have")
    scale = 10 ** abs(decimals)
    if decimals > 0:
        return b.div(b.rint(b.mul(x, scale)), scale)
    return b.mul(b.rint(b.div(x, scale)), scale) if decimals else b.rint(x)


@pointwise(
    overload=lambda inputs, attrs: int(bool(attrs.get("decimals"))),
    lower=_lower_round,
    kernel=_round,
    grad={"input": _flat},
    inplace=True,
    out="same",
    aliases=("special.round",),
    samples=lambda make: [*samples.unary(0.1, 0.4)(make), Sample(make(3, low=0.11, high=0.14), decimals=1)],
    errors=lambda make: [ErrorSample(NotImplementedError, "not implemented for 'Long'", make(2).long(), decimals=1)],
)
def round_(input: Tensor, *, decimals: int = 0):
    """Element-wise nearest number with ``decimals`` digits after the point; halves go to the even neighbour.

    >>> import flambeau as torch
    >>> torch.round(torch.tensor([0.5, 1.5, -0.2]))
    tensor([0., 2., -0.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.round.html
    """
    refuse("round_vml_cpu", input, kinds=NOT_REAL_NUMBERS)
    if decimals:
        refuse("round_cpu", input, kinds=NOT_FLOATING)
    return (input,), {"decimals": int(decimals)}


# --- signs ---------------------------------------------------------------------------------------------------


def _sign(x):
    if x.dtype.kind == "b":
        return x
    return (x > 0).astype(x.dtype) - (x < 0)  # 0 for NaN, as in PyTorch


def _lower_sign(b, x):
    return x if x.dtype is dtypes.bool else b.sub(b.cast(b.gt(x, 0), x.dtype), b.cast(b.lt(x, 0), x.dtype))


@pointwise(lower=_lower_sign, kernel=_sign, grad={"input": _flat}, inplace=True, out="same", samples=samples.unary(0.5, 2.0))
def sign(input: Tensor):
    """Element-wise sign: -1, 0 or 1. For complex numbers see :func:`sgn`.

    Raises ``NotImplementedError`` for complex numbers.

    >>> import flambeau as torch
    >>> torch.sign(torch.tensor([-3.0, 0.0, 5.0]))
    tensor([-1.,  0.,  1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.sign.html
    """
    if input._dtype.kind == dtypes.COMPLEX:
        raise NotImplementedError(
            "Unlike NumPy, torch.sign is not intended to support complex numbers. Please use torch.sgn instead."
        )
    return (input,), {}


def _sgn(x):
    if x.dtype.kind != "c":
        return _sign(x)
    length = np.abs(x)
    return np.where(length == 0, 0, x / np.where(length == 0, 1, length))


def _grad_of_sgn(g, input):
    if input._dtype.kind != dtypes.COMPLEX:
        return g * 0
    # The part of g across z, shortened by |z|: (g - Re(g conj(s)) s) / |z| with s = z / |z|.
    length = input.abs()
    nonzero = length.masked_fill(length == 0, 1)
    s = input / nonzero
    return where(length == 0, 0, (g - (g * conj_of(s)).real * s) / nonzero)


@pointwise(
    lower=_lower_sign,
    kernel=_sgn,
    grad={"input": _grad_of_sgn},
    inplace=True,
    out="same",
    samples=lambda make: [*samples.unary(0.5, 2.0)(make), Sample(make(3, dtype=dtypes.complex128))],
)
def sgn(input: Tensor):
    """Element-wise sign; of a complex number :math:`z / |z|`, and 0 of 0.

    >>> import flambeau as torch
    >>> torch.sgn(torch.tensor([3 + 4j, 0j]))
    tensor([0.6000+0.8000j, 0.0000+0.0000j])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.sgn.html
    """
    return (input,), {}


def _grad_of_abs(g, input):
    return g * sgn(input)


def _absolute(x):
    return np.abs(x)


@op(
    layout=layouts.elementwise,
    lower=lambda b, x: b.abs(x),
    kernel=_absolute,
    grad={"input": _grad_of_abs},
    inplace=True,
    out="same",
    aliases=("absolute",),
    samples=lambda make: [
        *samples.unary(0.5, 2.0)(make),
        Sample(make(3, low=-2.0, high=-0.5)),
        Sample(make(3, dtype=dtypes.complex128)),
    ],
)
def abs_(input: Tensor):
    """Element-wise absolute value; of a complex number its length, a real number.

    >>> import flambeau as torch
    >>> torch.abs(torch.tensor([3 + 4j]))
    tensor([5.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.abs.html
    """
    refuse("abs_cpu", input, kinds=(dtypes.BOOLEAN,))
    return input._shape, input._dtype.to_real(), (input,), {}


@composite
def positive(input: Tensor):
    """``input`` itself: the ``+`` of a number. Not for bools.

    Raises ``RuntimeError`` for bools.

    >>> import flambeau as torch
    >>> torch.positive(torch.tensor([-1, 2]))
    tensor([-1,  2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.positive.html
    """
    if input._dtype is dtypes.bool:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


def _signbit(x):
    return np.signbit(x) if x.dtype.kind == "f" else x < 0


def _lower_signbit(b, x):
    if x.dtype.kind == dtypes.FLOATING:
        return b.lt(b.copysign(1, x), 0)
    return b.lt(x, 0) if x.dtype.kind == dtypes.INTEGRAL else b.ne(x, x)


@pointwise(lower=_lower_signbit, kernel=_signbit, result="bool", out="same", samples=samples.unary())
def signbit(input: Tensor):
    """Whether each element has its sign bit set: negative numbers and ``-0.0``.

    Raises ``NotImplementedError`` for complex numbers.

    >>> import flambeau as torch
    >>> torch.signbit(torch.tensor([-1.0, -0.0, 0.0]))
    tensor([ True,  True, False])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.signbit.html
    """
    if input._dtype.kind == dtypes.COMPLEX:
        raise NotImplementedError("signbit is not implemented for complex tensors.")
    return (input,), {}


def _grad_of_copysign(g, out, input):
    # d copysign / d input is the sign by which they differ, and 0 at 0.
    return g * where(input == 0, 0, out / input)


@pointwise(
    overload=by_number(1),
    lower=lambda b, x, y: b.copysign(x, y),
    kernel=np.copysign,
    tensors="input other",
    only="input",
    result="float",
    grad={"input": _grad_of_copysign, "other": _flat},
    inplace=True,
    out=True,
    samples=samples.binary(0.5, 2.0, number=-1.5),
)
def copysign(input: Tensor, other: Tensor | Number | complex):
    """Element-wise magnitude of ``input`` with the sign of ``other`` (also of ``-0.0``).

    >>> import flambeau as torch
    >>> torch.copysign(torch.tensor([1.0, 2.0]), torch.tensor([-0.0, 3.0]))
    tensor([-1.,  2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.copysign.html
    """
    return (input, other), {}


def _heaviside(x, values):
    return np.where(x == 0, values, (x > 0).astype(x.dtype))


@pointwise(
    lower=lambda b, x, values: b.select(b.eq(x, 0), values, b.cast(b.gt(x, 0), x.dtype)),
    kernel=_heaviside,
    tensors="input values",
    inplace=True,
    out="same",
    samples=samples.binary(0.5, 2.0, number=None),
    grad={"input": no_derivative("heaviside", aten=True), "values": no_derivative("heaviside", aten=True)},
    backward_name="NotImplemented",
)
def heaviside(input: Tensor, values: Tensor):
    """Element-wise step: 0 for negative ``input`` (and NaN), ``values`` for 0, 1 for positive.

    Raises ``RuntimeError`` for tensors of different dtypes and for complex numbers.

    >>> import flambeau as torch
    >>> torch.heaviside(torch.tensor([-2.0, 0.0, 3.0]), torch.tensor(0.5))
    tensor([0.0000, 0.5000, 1.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.heaviside.html
    """
    if dtypes.COMPLEX in (input._dtype.kind, values._dtype.kind):
        raise RuntimeError("heaviside is not yet implemented for complex tensors.")
    if input._dtype is not values._dtype:
        raise RuntimeError("heaviside is not yet implemented for tensors with different dtypes.")
    return (input, values), {}


# --- floating-point numbers ----------------------------------------------------------------------------------


@pointwise(
    kernel=np.nextafter,
    tensors="input other",
    only="input other",
    grad={"input": lambda g, input, other: where(input == other, 0, g), "other": _flat},
    inplace=True,
    out=True,
    samples=samples.binary(number=None),
)
def nextafter(input: Tensor, other: Tensor):
    """Element-wise next floating-point number after ``input`` towards ``other``.

    >>> import flambeau as torch
    >>> torch.nextafter(torch.tensor([1.0]), torch.tensor([2.0])) > 1
    tensor([True])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nextafter.html
    """
    refuse("nextafter_cpu", input, other, kinds=ALL_BUT_FLOATING)
    return (input, other), {}


@pointwise(
    name="_ldexp",
    kernel=lambda x, exponent: np.ldexp(x, np.clip(exponent, -5000, 5000).astype(np.int32)),
    tensors="input exponent",
    grad={"input": lambda g, exponent: ldexp(g, exponent)},
    backward_name="LdexpBackward0",
    method=False,
)
def _ldexp(input: Tensor, exponent: Tensor | Number | complex):
    return (input, exponent), {}


@composite(
    inplace=True,
    out=True,
    samples=lambda make: [
        Sample(make(3, 4), make(4, low=-3, high=3).long()),
        Sample(make(3, 4), make(4, low=-3, high=3)),
        Sample(make(2, low=1e-30, high=1e-20), make(2, low=90, high=200).long()),
    ],
)
def ldexp(input: Tensor, other: Tensor) -> Tensor:
    r"""Element-wise :math:`input \times 2^{other}`: exact for whole exponents, however large the power is by itself.

    Raises ``TypeError`` for an ``other`` that is no tensor.

    >>> import flambeau as torch
    >>> torch.ldexp(torch.tensor([1.0, 3.0]), torch.tensor([3, -1]))
    tensor([8.0000, 1.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ldexp.html
    """
    if not isinstance(other, dispatch.Tensor):
        raise TypeError(f"ldexp(): argument 'other' (position 2) must be Tensor, not {describe(other)}")
    if input.is_floating_point() and other.dtype.kind == dtypes.INTEGRAL:
        return _ldexp(input, other)
    return input * 2.0**other


@op(
    layout=layouts.elementwise,
    kernel=np.frexp,
    outputs=("mantissa", "exponent"),
    nondifferentiable=("exponent",),
    grad={"input": lambda g, exponent: g / 2.0**exponent},
    out=True,
    samples=samples.unary(0.6, 0.9),
    errors=lambda make: [ErrorSample(RuntimeError, "only supports floating-point", make(2).long())],
)
def frexp(input: Tensor):
    r"""``(mantissa, exponent)`` with :math:`input = mantissa \times 2^{exponent}`, :math:`0.5 \le |mantissa| < 1`.

    Raises ``RuntimeError`` for other dtypes than floating ones.

    >>> import flambeau as torch
    >>> torch.frexp(torch.tensor([8.0]))
    torch.return_types.frexp(
    mantissa=tensor([0.5000]),
    exponent=tensor([4], dtype=torch.int32))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.frexp.html
    """
    if not input._dtype.is_floating_point:
        raise RuntimeError(f"torch.frexp() only supports floating-point dtypes, but got {input._dtype}")
    return (input._shape,) * 2, (input._dtype, dtypes.int32), (input,), {}

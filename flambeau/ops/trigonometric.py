"""Trigonometric and hyperbolic functions, and their inverses."""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING

import numpy as np

from flambeau.ops import samples
from flambeau.ops.comparison import where
from flambeau.ops.complexes import conj_of
from flambeau.ops.numerics import in_double
from flambeau.ops.record import pointwise
from flambeau.ops.refusals import refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- circular ------------------------------------------------------------------------------------------------


@pointwise(
    lower=lambda b, x: b.sin(x),
    kernel=np.sin, result="float", grad={"input": lambda g, input: g * conj_of(cos(input))}, inplace=True, out=True,
    samples=samples.unary(),
)  # fmt: skip
def sin(input: Tensor):
    r"""Element-wise sine, of radians.

    >>> import flambeau as torch
    >>> torch.sin(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8415])
    """
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.cos(x),
    kernel=np.cos, result="float", grad={"input": lambda g, input: -g * conj_of(sin(input))}, inplace=True, out=True,
    samples=samples.unary(),
)  # fmt: skip
def cos(input: Tensor):
    """Element-wise cosine, of radians."""
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.tan(x),
    kernel=in_double(np.tan), result="float", grad={"input": lambda g, out: g * conj_of(1 + out * out)}, inplace=True,
    out=True, samples=samples.unary(-1.0, 1.0),
)  # fmt: skip
def tan(input: Tensor):
    """Element-wise tangent, of radians."""
    return (input,), {}


@pointwise(
    kernel=in_double(np.arcsin), result="float",
    grad={"input": lambda g, input: g * conj_of((1 - input * input).rsqrt())}, inplace=True, out=True,
    aliases=("arcsin",), samples=samples.unary(-0.9, 0.9),
)  # fmt: skip
def asin(input: Tensor):
    r"""Element-wise inverse sine, in :math:`[-\pi/2, \pi/2]`; NaN for real numbers outside of :math:`[-1, 1]`."""
    return (input,), {}


@pointwise(
    kernel=np.arccos, result="float", grad={"input": lambda g, input: -g * conj_of((1 - input * input).rsqrt())},
    inplace=True, out=True, aliases=("arccos",), samples=samples.unary(-0.9, 0.9),
)  # fmt: skip
def acos(input: Tensor):
    r"""Element-wise inverse cosine, in :math:`[0, \pi]`; NaN for real numbers outside of :math:`[-1, 1]`."""
    return (input,), {}


@pointwise(
    kernel=np.arctan, result="float", grad={"input": lambda g, input: g / conj_of(input * input + 1)}, inplace=True,
    out=True, aliases=("arctan",), samples=samples.unary(),
)  # fmt: skip
def atan(input: Tensor):
    r"""Element-wise inverse tangent, in :math:`[-\pi/2, \pi/2]`."""
    return (input,), {}


def _inverse_square_length(input, other):
    """``1 / (input^2 + other^2)``, and 0 at the origin, where the angle has no derivative."""
    inverse = (input * input + other * other).reciprocal()
    return inverse.masked_fill(inverse == float("inf"), 0)


@pointwise(
    kernel=in_double(np.arctan2),
    tensors="input other",
    only="input other",
    result="float",
    grad={
        "input": lambda g, input, other: g * other * _inverse_square_length(input, other),
        "other": lambda g, input, other: g * -input * _inverse_square_length(input, other),
    },
    inplace=True,
    out=True,
    aliases=("arctan2",),
    samples=samples.binary(0.5, 2.0, number=None),
)
def atan2(input: Tensor, other: Tensor):
    r"""Element-wise angle of the point with ordinate ``input`` and abscissa ``other``, in :math:`[-\pi, \pi]`."""
    refuse("atan2_cpu", input, other)
    return (input, other), {}


def _sinc(x):
    turned = x * x.real.dtype.type(pi)
    return np.where(x == 0, 1, np.sin(turned) / np.where(x == 0, 1, turned))


def _grad_of_sinc(g, input):
    turned = input * pi
    slope = (turned * cos(turned) - sin(turned)) / (turned * input)
    return g * conj_of(where(turned * input == 0, 0, slope))


@pointwise(
    kernel=_sinc, result="float", grad={"input": _grad_of_sinc}, inplace=True, out=True,
    aliases=("special.sinc",), samples=samples.unary(0.2, 2.0),
)  # fmt: skip
def sinc(input: Tensor):
    r"""Element-wise :math:`\frac{\sin(\pi x)}{\pi x}`; 1 at 0."""
    return (input,), {}


@pointwise(
    kernel=lambda x: x * (pi / 180), result="float", grad={"input": lambda g: g * (pi / 180)}, inplace=True, out=True,
    samples=samples.unary(),
)  # fmt: skip
def deg2rad(input: Tensor):
    """Element-wise radians of degrees."""
    _refuse_complex("deg2rad", input)
    return (input,), {}


@pointwise(
    kernel=lambda x: x * (180 / pi), result="float", grad={"input": lambda g: g * (180 / pi)}, inplace=True, out=True,
    samples=samples.unary(),
)  # fmt: skip
def rad2deg(input: Tensor):
    """Element-wise degrees of radians."""
    _refuse_complex("rad2deg", input)
    return (input,), {}


def _refuse_complex(name: str, input) -> None:
    if input._dtype.is_complex:
        raise RuntimeError(f"{name} is not supported for complex tensors.")


# --- hyperbolic ----------------------------------------------------------------------------------------------


@pointwise(
    kernel=np.sinh, result="float", grad={"input": lambda g, input: g * conj_of(cosh(input))}, inplace=True, out=True,
    samples=samples.unary(),
)  # fmt: skip
def sinh(input: Tensor):
    r"""Element-wise hyperbolic sine :math:`(e^x - e^{-x}) / 2`."""
    return (input,), {}


@pointwise(
    kernel=np.cosh, result="float", grad={"input": lambda g, input: g * conj_of(sinh(input))}, inplace=True, out=True,
    samples=samples.unary(),
)  # fmt: skip
def cosh(input: Tensor):
    r"""Element-wise hyperbolic cosine :math:`(e^x + e^{-x}) / 2`."""
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.tanh(x),
    kernel=np.tanh, result="float", grad={"input": lambda g, out: g * conj_of(1 - out * out)}, inplace=True, out=True,
    aliases=("nn.functional.tanh",), samples=samples.unary(),
)  # fmt: skip
def tanh(input: Tensor):
    r"""Element-wise hyperbolic tangent :math:`\frac{e^x - e^{-x}}{e^x + e^{-x}}`."""
    return (input,), {}


@pointwise(
    kernel=np.arcsinh, result="float", grad={"input": lambda g, input: g * conj_of((input * input + 1).rsqrt())},
    inplace=True, out=True, aliases=("arcsinh",), samples=samples.unary(),
)  # fmt: skip
def asinh(input: Tensor):
    """Element-wise inverse hyperbolic sine."""
    return (input,), {}


def _grad_of_acosh(g, input):
    if input._dtype.is_complex:  # on the branch of the function
        return g / conj_of((input - 1).sqrt() * (input + 1).sqrt())
    return g * (input * input - 1).rsqrt()


@pointwise(
    kernel=np.arccosh, result="float", grad={"input": _grad_of_acosh}, inplace=True, out=True, aliases=("arccosh",),
    samples=samples.unary(1.5, 3.0),
)  # fmt: skip
def acosh(input: Tensor):
    """Element-wise inverse hyperbolic cosine; NaN for real numbers below 1."""
    return (input,), {}


@pointwise(
    kernel=np.arctanh, result="float", grad={"input": lambda g, input: g / conj_of(1 - input * input)}, inplace=True,
    out=True, aliases=("arctanh",), samples=samples.unary(-0.9, 0.9),
)  # fmt: skip
def atanh(input: Tensor):
    """Element-wise inverse hyperbolic tangent; NaN for real numbers outside of :math:`[-1, 1]`."""
    return (input,), {}

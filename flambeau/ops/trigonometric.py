"""Trigonometric and hyperbolic functions, and their inverses."""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING

import numpy as np

from flambeau.ops import samples
from flambeau.ops.comparison import where
from flambeau.ops.complexes import conj_of
from flambeau.ops.half_gradients import rounded_once
from flambeau.ops.numerics import in_double
from flambeau.ops.record import pointwise
from flambeau.ops.refusals import refuse
from flambeau.ops.special_loops import lower_atan, lower_atan2

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

    Source: https://docs.pytorch.org/docs/stable/generated/torch.sin.html
    """
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.cos(x),
    kernel=np.cos, result="float", grad={"input": lambda g, input: -g * conj_of(sin(input))}, inplace=True, out=True,
    samples=samples.unary(),
)  # fmt: skip
def cos(input: Tensor):
    """Element-wise cosine, of radians.

    >>> import flambeau as torch
    >>> torch.cos(torch.tensor([0.0, torch.pi]))
    tensor([ 1., -1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cos.html
    """
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.tan(x),
    kernel=in_double(np.tan), result="float", grad={"input": lambda g, out: g * conj_of(1 + out * out)}, inplace=True,
    out=True, samples=samples.unary(-1.0, 1.0),
)  # fmt: skip
def tan(input: Tensor):
    """Element-wise tangent, of radians.

    >>> import flambeau as torch
    >>> torch.tan(torch.tensor([0.0, torch.pi / 4]))
    tensor([0., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.tan.html
    """
    return (input,), {}


@pointwise(
    kernel=in_double(np.arcsin), result="float",
    grad={"input": lambda g, input: g * conj_of((1 - input * input).rsqrt())}, inplace=True, out=True,
    aliases=("arcsin",), samples=samples.unary(-0.9, 0.9),
)  # fmt: skip
def asin(input: Tensor):
    r"""Element-wise inverse sine, in :math:`[-\pi/2, \pi/2]`; NaN for real numbers outside of :math:`[-1, 1]`.

    >>> import flambeau as torch
    >>> torch.asin(torch.tensor([1.0, 0.0, 2.0]))
    tensor([1.5708, 0.0000,    nan])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.asin.html
    """
    return (input,), {}


@pointwise(
    kernel=np.arccos, result="float", grad={"input": lambda g, input: -g * conj_of((1 - input * input).rsqrt())},
    inplace=True, out=True, aliases=("arccos",), samples=samples.unary(-0.9, 0.9),
)  # fmt: skip
def acos(input: Tensor):
    r"""Element-wise inverse cosine, in :math:`[0, \pi]`; NaN for real numbers outside of :math:`[-1, 1]`.

    >>> import flambeau as torch
    >>> torch.acos(torch.tensor([1.0, 0.0, -1.0]))
    tensor([0.0000, 1.5708, 3.1416])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.acos.html
    """
    return (input,), {}


@pointwise(
    kernel=np.arctan, lower=lower_atan, result="float", grad={"input": lambda g, input: g / conj_of(input * input + 1)}, inplace=True,
    out=True, aliases=("arctan",), samples=samples.unary(),
)  # fmt: skip
def atan(input: Tensor):
    r"""Element-wise inverse tangent, in :math:`[-\pi/2, \pi/2]`.

    >>> import flambeau as torch
    >>> torch.atan(torch.tensor([0.0, 1.0, torch.inf]))
    tensor([0.0000, 0.7854, 1.5708])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.atan.html
    """
    return (input,), {}


def _inverse_square_length(input, other):
    """``1 / (input^2 + other^2)``, and 0 at the origin, where the angle has no derivative."""
    inverse = (input * input + other * other).reciprocal()
    return inverse.masked_fill(inverse == float("inf"), 0)


@pointwise(
    kernel=in_double(np.arctan2),
    lower=lower_atan2,
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
    r"""Element-wise angle of the point with ordinate ``input`` and abscissa ``other``, in :math:`[-\pi, \pi]`.

    >>> import flambeau as torch
    >>> torch.atan2(torch.tensor([1.0, 1.0]), torch.tensor([1.0, -1.0]))
    tensor([0.7854, 2.3562])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.atan2.html
    """
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
    r"""Element-wise :math:`\frac{\sin(\pi x)}{\pi x}`; 1 at 0.

    >>> import flambeau as torch
    >>> torch.sinc(torch.tensor([0.0, 0.5]))
    tensor([1.0000, 0.6366])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.sinc.html
    """
    return (input,), {}


@pointwise(
    kernel=lambda x: x * (pi / 180), result="float", grad={"input": lambda g: g * (pi / 180)}, inplace=True, out=True,
    samples=samples.unary(),
)  # fmt: skip
def deg2rad(input: Tensor):
    """Element-wise radians of degrees.

    >>> import flambeau as torch
    >>> torch.deg2rad(torch.tensor([180.0, 90.0]))
    tensor([3.1416, 1.5708])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.deg2rad.html
    """
    _refuse_complex("deg2rad", input)
    return (input,), {}


@pointwise(
    kernel=lambda x: x * (180 / pi), result="float", grad={"input": lambda g: g * (180 / pi)}, inplace=True, out=True,
    samples=samples.unary(),
)  # fmt: skip
def rad2deg(input: Tensor):
    """Element-wise degrees of radians.

    >>> import flambeau as torch
    >>> torch.rad2deg(torch.tensor([torch.pi, 1.0]))
    tensor([180.0000,  57.2958])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.rad2deg.html
    """
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
    r"""Element-wise hyperbolic sine :math:`(e^x - e^{-x}) / 2`.

    >>> import flambeau as torch
    >>> torch.sinh(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 1.1752])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.sinh.html
    """
    return (input,), {}


@pointwise(
    kernel=np.cosh, result="float", grad={"input": lambda g, input: g * conj_of(sinh(input))}, inplace=True, out=True,
    samples=samples.unary(),
)  # fmt: skip
def cosh(input: Tensor):
    r"""Element-wise hyperbolic cosine :math:`(e^x + e^{-x}) / 2`.

    >>> import flambeau as torch
    >>> torch.cosh(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 1.5431])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cosh.html
    """
    return (input,), {}


@pointwise(
    lower=lambda b, x: b.tanh(x),
    kernel=np.tanh, result="float",
    grad={"input": lambda g, out: rounded_once(lambda g, out: g * conj_of(1 - out * out), g, out)}, inplace=True, out=True,
    aliases=("nn.functional.tanh",), samples=samples.unary(),
)  # fmt: skip
def tanh(input: Tensor):
    r"""Element-wise hyperbolic tangent :math:`\frac{e^x - e^{-x}}{e^x + e^{-x}}`.

    >>> import flambeau as torch
    >>> torch.tanh(torch.tensor([0.0, 1.0, 20.0]))
    tensor([0.0000, 0.7616, 1.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.tanh.html
    """
    return (input,), {}


@pointwise(
    kernel=np.arcsinh, result="float", grad={"input": lambda g, input: g * conj_of((input * input + 1).rsqrt())},
    inplace=True, out=True, aliases=("arcsinh",), samples=samples.unary(),
)  # fmt: skip
def asinh(input: Tensor):
    """Element-wise inverse hyperbolic sine.

    >>> import flambeau as torch
    >>> torch.asinh(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.8814])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.asinh.html
    """
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
    """Element-wise inverse hyperbolic cosine; NaN for real numbers below 1.

    >>> import flambeau as torch
    >>> torch.acosh(torch.tensor([1.0, 2.0, 0.0]))
    tensor([0.0000, 1.3170,    nan])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.acosh.html
    """
    return (input,), {}


@pointwise(
    kernel=np.arctanh, result="float", grad={"input": lambda g, input: g / conj_of(1 - input * input)}, inplace=True,
    out=True, aliases=("arctanh",), samples=samples.unary(-0.9, 0.9),
)  # fmt: skip
def atanh(input: Tensor):
    """Element-wise inverse hyperbolic tangent; NaN for real numbers outside of :math:`[-1, 1]`.

    >>> import flambeau as torch
    >>> torch.atanh(torch.tensor([0.0, 0.5, 1.0]))
    tensor([0.0000, 0.5493,    inf])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.atanh.html
    """
    return (input,), {}

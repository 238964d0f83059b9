r"""Bessel functions of orders 0 and 1.

Each kernel joins an integral, computed by the trapezoidal rule, with an asymptotic series for large arguments. For these
integrands the rule converges geometrically: a handful of nodes gives float64's precision.
Source of the formulas: NIST Digital Library of Mathematical Functions, chapter 10, https://dlmf.nist.gov/10
(10.9 integrals, 10.17 and 10.40 asymptotic series, 10.8 and 10.31 power series).
"""

from __future__ import annotations

from math import pi, sqrt

import numpy as np

from flambeau.ops import samples
from flambeau.ops.numerics import in_blocks, in_double, polynomial
from flambeau.ops.record import pointwise
from flambeau.ops.refusals import refuse

_FAR = 30.0
"""From here on the asymptotic series are used."""

_EULER = 0.57721566490153286061


def _asymptotic(order: int) -> tuple[float, ...]:
    r"""The coefficients :math:`a_k = \prod_{j \le k} \frac{4 n^2 - (2j - 1)^2}{8 j}` of the series in :math:`1 / x`."""
    a = [1.0]
    for k in range(1, 22):
        a.append(a[-1] * (4 * order * order - (2 * k - 1) ** 2) / (8 * k))
    return tuple(a)


_SERIES = (_asymptotic(0), _asymptotic(1))
_ALTERNATING = tuple(tuple(c * (-1) ** k for k, c in enumerate(series)) for series in _SERIES)
_QUARTER = (np.arange(16) + 0.5) * (pi / 32)
"""Nodes in a quarter of a period; the integrands have its symmetries."""


# --- modified, of the first kind -----------------------------------------------------------------------------


def _scaled_i(order: int):
    r""":math:`e^{-|x|} I_n(x)`, from :math:`I_n(x) = \frac{1}{\pi} \int_0^\pi e^{x \cos t} \cos(nt)\, dt`."""

    @in_double
    @in_blocks
    def kernel(x: np.ndarray) -> np.ndarray:
        size = np.abs(x)
        near = np.minimum(size, _FAR)
        total = np.zeros_like(size)
        for c in np.cos(_QUARTER):
            if order:
                total -= c * np.exp(near * (c - 1)) * np.expm1(-2 * near * c)
            else:
                total += np.exp(near * (c - 1)) + np.exp(-near * (c + 1))
        total /= 2 * len(_QUARTER)
        far = np.maximum(size, _FAR)
        series = polynomial(_ALTERNATING[order], 1 / far) / np.sqrt(2 * pi * far)
        result = np.where(size < _FAR, total, series)
        return np.copysign(result, x) if order else result

    return kernel


i0e_kernel, i1e_kernel = _scaled_i(0), _scaled_i(1)


def _i(scaled):
    @in_double
    def kernel(x):
        # exp in two steps, so that it overflows no earlier than the function.
        root = np.exp(np.abs(x) / 2)
        return root * scaled(x) * root

    return kernel


@pointwise(
    kernel=_i(i0e_kernel), result="float", grad={"input": lambda g, input: g * i1(input)}, inplace=True, out=True,
    aliases=("special.i0", "special.modified_bessel_i0"), samples=samples.unary(),
)  # fmt: skip
def i0(input):
    """Element-wise modified Bessel function of the first kind of order 0."""
    refuse("i0", input)
    return (input,), {}


@pointwise(
    kernel=i0e_kernel, result="float", grad={"input": lambda g, input, out: g * (i1e(input) - input.sgn() * out)},
    out=True, name="special.i0e", samples=samples.unary(),
)  # fmt: skip
def i0e(input):
    r"""Element-wise scaled modified Bessel function :math:`e^{-|x|} I_0(x)`."""
    refuse("i0e", input)
    return (input,), {}


def _over(out, input, at_zero: float):
    """``out / input``, and its limit at 0."""
    return (out / input.masked_fill(input == 0, 1)).masked_fill(input == 0, at_zero)


@pointwise(
    kernel=_i(i1e_kernel), result="float", grad={"input": lambda g, input: g * (i0(input) - _over(i1(input), input, 0.5))},
    out=True, name="special.i1", aliases=("special.modified_bessel_i1",), samples=samples.unary(),
)  # fmt: skip
def i1(input):
    """Element-wise modified Bessel function of the first kind of order 1."""
    refuse("i1", input)
    return (input,), {}


def _grad_of_i1e(g, input):
    value = i1e(input)
    return g * (i0e(input) - value * input.sgn() - _over(value, input, 0.5))


@pointwise(
    kernel=i1e_kernel, result="float", grad={"input": _grad_of_i1e}, out=True, name="special.i1e", samples=samples.unary(),
)  # fmt: skip
def i1e(input):
    r"""Element-wise scaled modified Bessel function :math:`e^{-|x|} I_1(x)`."""
    refuse("i1e", input)
    return (input,), {}

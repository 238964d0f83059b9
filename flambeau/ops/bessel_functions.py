r"""Bessel functions of orders 0 and 1.

Each kernel joins an integral, computed by the trapezoidal rule, with an asymptotic series for large arguments. For these
integrands the rule converges geometrically: a handful of nodes gives float64's precision.
Source of the formulas: NIST Digital Library of Mathematical Functions, chapter 10, https://dlmf.nist.gov/10
(10.9 integrals, 10.17 and 10.40 asymptotic series, 10.8 and 10.31 power series).
"""

from __future__ import annotations

from math import pi
from typing import TYPE_CHECKING

import numpy as np

from flambeau.ops import samples
from flambeau.ops.numerics import in_blocks, in_double, polynomial
from flambeau.ops.record import pointwise
from flambeau.ops.refusals import refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

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
        infinite, x = np.isinf(x), np.clip(x, -1500, 1500)
        root = np.exp(np.abs(x) / 2)
        return np.where(infinite, np.nan, root * scaled(x) * root)

    return kernel


@pointwise(
    kernel=_i(i0e_kernel), result="float", grad={"input": lambda g, input: g * i1(input)}, inplace=True, out=True,
    aliases=("special.i0", "special.modified_bessel_i0"), samples=samples.unary(),
)  # fmt: skip
def i0(input: Tensor):
    """Element-wise modified Bessel function of the first kind of order 0.

    >>> import flambeau as torch
    >>> torch.i0(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 1.2661])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.i0.html
    """
    refuse("i0", input)
    return (input,), {}


@pointwise(
    kernel=i0e_kernel, result="float", grad={"input": lambda g, input, out: g * (i1e(input) - input.sgn() * out)},
    out=True, name="special.i0e", samples=samples.unary(),
)  # fmt: skip
def i0e(input: Tensor):
    r"""Element-wise scaled modified Bessel function :math:`e^{-|x|} I_0(x)`.

    >>> import flambeau as torch
    >>> torch.special.i0e(torch.tensor([0.0, 1.0, 1000.0]))
    tensor([1.0000, 0.4658, 0.0126])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.i0e
    """
    refuse("i0e", input)
    return (input,), {}


def _over(out, input, at_zero: float):
    """``out / input``, and its limit at 0."""
    return (out / input.masked_fill(input == 0, 1)).masked_fill(input == 0, at_zero)


@pointwise(
    kernel=_i(i1e_kernel), result="float", grad={"input": lambda g, input: g * _at_zero(i0(input) - _over(i1(input), input, 0.5), input)},
    out=True, name="special.i1", aliases=("special.modified_bessel_i1",), samples=samples.unary(),
)  # fmt: skip
def i1(input: Tensor):
    """Element-wise modified Bessel function of the first kind of order 1.

    >>> import flambeau as torch
    >>> torch.special.i1(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.5652])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.i1
    """
    refuse("i1", input)
    return (input,), {}


def _grad_of_i1e(g, input):
    value = i1e(input)
    return g * _at_zero(i0e(input) - value * input.sgn() - _over(value, input, 0.5), input)


def _at_zero(slope, input):
    """``slope``, which is 1/2 at 0; what is no number counts as that in PyTorch."""
    return slope.masked_fill((input == 0) | (input != input), 0.5)


@pointwise(
    kernel=i1e_kernel, result="float", grad={"input": _grad_of_i1e}, out=True, name="special.i1e", samples=samples.unary(),
)  # fmt: skip
def i1e(input: Tensor):
    r"""Element-wise scaled modified Bessel function :math:`e^{-|x|} I_1(x)`.

    >>> import flambeau as torch
    >>> torch.special.i1e(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.2079])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.i1e
    """
    refuse("i1e", input)
    return (input,), {}


# --- of the first and second kind ----------------------------------------------------------------------------

_WAVES = 25.0
"""The asymptotic series of the oscillating functions are used from here on."""

_angles = (np.arange(32) + 0.5) * (pi / 64)
_orders = np.arange(1, 31)[:, None]
_sines = np.sin(_angles).tolist()
# Neumann's series of the functions of the second kind, sums over J_{2k} and J_{2k+1}, as weights of the nodes.
_WEIGHTS_0 = ((-1.0) ** _orders * np.cos(2 * _orders * _angles) / _orders).sum(0).tolist()
_WEIGHTS_1 = (
    ((-1.0) ** _orders * np.sin((2 * _orders + 1) * _angles) * (2 * _orders + 1) / (_orders * (_orders + 1))).sum(0).tolist()
)


def _near_waves(x, order: int):
    """``J`` and Neumann's sum, from the integral of ``cos(n t - x sin t)``."""
    first, second = np.zeros_like(x), np.zeros_like(x)
    for s, w0, w1 in zip(_sines, _WEIGHTS_0, _WEIGHTS_1, strict=True):
        wave = np.sin(x * s) if order else np.cos(x * s)
        first += wave * s if order else wave
        second += wave * (w1 if order else w0)
    return first / len(_sines), second / len(_sines)


def _far_waves(x, order: int):
    """``J`` and ``Y`` by Hankel's series."""
    series, t = _SERIES[order], 1 / (x * x)
    signs = [(-1) ** (k // 2) for k in range(len(series))]
    signed = [c * s for c, s in zip(series, signs, strict=True)]
    p, q = polynomial(tuple(signed[0::2]), t), polynomial(tuple(signed[1::2]), t) / x
    # cos and sin of x - pi/4 (order 0) or x - 3 pi/4 (order 1), times sqrt(2).
    plus, minus = np.sin(x) + np.cos(x), np.sin(x) - np.cos(x)
    cosine, sine = (minus, -plus) if order else (plus, minus)
    scale = 1 / np.sqrt(pi * x)
    return scale * (p * cosine - q * sine), scale * (p * sine + q * cosine)


def _bessel_j(order: int):
    @in_double
    @in_blocks
    def kernel(x: np.ndarray) -> np.ndarray:
        size = np.abs(x)
        near, _ = _near_waves(np.minimum(size, _WAVES), order)
        far, _ = _far_waves(np.maximum(size, _WAVES), order)
        result = np.where(size < _WAVES, near, far)
        return np.where(x < 0, -result, result) if order else result

    return kernel


def _bessel_y(order: int):
    @in_double
    @in_blocks
    def kernel(x: np.ndarray) -> np.ndarray:
        small = np.minimum(x, _WAVES)
        first, second = _near_waves(small, order)
        near = (np.log(small / 2) + _EULER - order) * first
        near -= second + _near_waves(small, 0)[0] / small if order else 2 * second
        near *= 2 / pi
        _, far = _far_waves(np.maximum(x, _WAVES), order)
        result = np.where(x < _WAVES, near, far)
        return np.where(x == 0, -np.inf, np.where(x < 0, np.nan, result))

    return kernel


@pointwise(
    kernel=_bessel_j(0), result="float", grad={"input": lambda g, input: -g * bessel_j1(input)}, out=True,
    name="special.bessel_j0", samples=samples.unary(),
)  # fmt: skip
def bessel_j0(input: Tensor):
    """Element-wise Bessel function of the first kind of order 0.

    >>> import flambeau as torch
    >>> torch.special.bessel_j0(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.7652])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.bessel_j0
    """
    refuse("bessel_j0_cpu", input)
    return (input,), {}


@pointwise(
    kernel=_bessel_j(1), result="float",
    grad={"input": lambda g, input: g * (bessel_j0(input) - _over(bessel_j1(input), input, 0.5))}, out=True,
    name="special.bessel_j1", samples=samples.unary(),
)  # fmt: skip
def bessel_j1(input: Tensor):
    """Element-wise Bessel function of the first kind of order 1.

    >>> import flambeau as torch
    >>> torch.special.bessel_j1(torch.tensor([0.0, 1.0]))
    tensor([0.0000, 0.4401])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.bessel_j1
    """
    refuse("bessel_j1_cpu", input)
    return (input,), {}


@pointwise(
    kernel=_bessel_y(0), result="float", grad={"input": lambda g, input: -g * bessel_y1(input)}, out=True,
    name="special.bessel_y0", samples=samples.unary(0.5, 3.0),
)  # fmt: skip
def bessel_y0(input: Tensor):
    """Element-wise Bessel function of the second kind of order 0; NaN for negative numbers.

    >>> import flambeau as torch
    >>> torch.special.bessel_y0(torch.tensor([1.0, -1.0]))
    tensor([0.0883,    nan])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.bessel_y0
    """
    refuse("bessel_y0_cpu", input)
    return (input,), {}


@pointwise(
    kernel=_bessel_y(1), result="float",
    grad={"input": lambda g, input: g * (bessel_y0(input) - bessel_y1(input) / input)}, out=True,
    name="special.bessel_y1", samples=samples.unary(0.5, 3.0),
)  # fmt: skip
def bessel_y1(input: Tensor):
    """Element-wise Bessel function of the second kind of order 1; NaN for negative numbers.

    >>> import flambeau as torch
    >>> torch.special.bessel_y1(torch.tensor([1.0, -1.0]))
    tensor([-0.7812,     nan])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.bessel_y1
    """
    refuse("bessel_y1_cpu", input)
    return (input,), {}


@pointwise(
    kernel=in_double(lambda x: np.where(x == 0, 1, np.where(np.isinf(x), 0, np.sin(x) / x))),
    result="float",
    out=True,
    name="special.spherical_bessel_j0",
)
def spherical_bessel_j0(input: Tensor):
    r"""Element-wise spherical Bessel function :math:`\sin(x) / x`.

    >>> import flambeau as torch
    >>> torch.special.spherical_bessel_j0(torch.tensor([0.0, 1.0]))
    tensor([1.0000, 0.8415])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.spherical_bessel_j0
    """
    refuse("spherical_bessel_j0_cpu", input)
    return (input,), {}


# --- modified, of the second kind ----------------------------------------------------------------------------

_NODES = 48


def _small_k(x, order: int):
    """``K`` for ``x < 2``, from Neumann's series and the Wronskian."""
    i0, i1 = np.exp(x) * i0e_kernel(x), np.exp(x) * i1e_kernel(x)
    quarter = x * x / 4
    term, harmonic, total = np.ones_like(x), 0.0, np.zeros_like(x)
    for k in range(1, 16):
        term = term * quarter / (k * k)
        harmonic += 1 / k
        total += harmonic * term
    k0 = total - (np.log(x / 2) + _EULER) * i0
    return (1 / x - i1 * k0) / i0 if order else k0


def _scaled_k(order: int):
    r""":math:`e^x K_n(x)`, from :math:`K_n(x) = \int_0^\infty e^{-x \cosh t} \cosh(nt)\, dt` with nodes to where it vanishes."""

    @in_double
    @in_blocks
    def kernel(x: np.ndarray) -> np.ndarray:
        middle = np.clip(x, 2, _FAR)
        step = np.arccosh(1 + 40 / middle) / _NODES
        total = np.full_like(x, 0.5)
        for j in range(1, _NODES):
            cosh = np.cosh(j * step)
            total += np.exp(-middle * (cosh - 1)) * (cosh if order else 1)
        small = np.minimum(x, 2)
        far = np.maximum(x, _FAR)
        series = polynomial(_SERIES[order], 1 / far) * np.sqrt(pi / (2 * far))
        result = np.where(x < 2, _small_k(small, order) * np.exp(small), np.where(x < _FAR, total * step, series))
        return np.where(x == 0, np.inf, np.where(x < 0, np.nan, result))

    return kernel


def _k(scaled):
    @in_double
    def kernel(x):
        return scaled(x) * np.exp(-x)

    return kernel


@pointwise(
    kernel=_k(_scaled_k(0)), result="float", out=True, name="special.modified_bessel_k0",
    grad={"input": lambda g, input: -g * modified_bessel_k1(input)}, samples=samples.unary(0.5, 3.0),
)  # fmt: skip
def modified_bessel_k0(input: Tensor):
    """Element-wise modified Bessel function of the second kind of order 0.

    >>> import flambeau as torch
    >>> torch.special.modified_bessel_k0(torch.tensor([1.0, 2.0]))
    tensor([0.4210, 0.1139])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.modified_bessel_k0
    """
    refuse("modified_bessel_k0_cpu", input)
    return (input,), {}


@pointwise(
    kernel=_k(_scaled_k(1)), result="float", out=True, name="special.modified_bessel_k1",
    grad={"input": lambda g, input: -g * (modified_bessel_k0(input) + modified_bessel_k1(input) / input)},
    samples=samples.unary(0.5, 3.0),
)  # fmt: skip
def modified_bessel_k1(input: Tensor):
    """Element-wise modified Bessel function of the second kind of order 1.

    >>> import flambeau as torch
    >>> torch.special.modified_bessel_k1(torch.tensor([1.0, 2.0]))
    tensor([0.6019, 0.1399])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.modified_bessel_k1
    """
    refuse("modified_bessel_k1_cpu", input)
    return (input,), {}


@pointwise(
    kernel=_scaled_k(0), result="float", out=True, name="special.scaled_modified_bessel_k0",
    grad={"input": lambda g, out, input: g * (out - scaled_modified_bessel_k1(input))}, samples=samples.unary(0.5, 3.0),
)  # fmt: skip
def scaled_modified_bessel_k0(input: Tensor):
    """Element-wise :math:`e^x K_0(x)`.

    >>> import flambeau as torch
    >>> torch.special.scaled_modified_bessel_k0(torch.tensor([1.0, 2.0]))
    tensor([1.1445, 0.8416])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.scaled_modified_bessel_k0
    """
    refuse("scaled_modified_bessel_k0_cpu", input)
    return (input,), {}


@pointwise(
    kernel=_scaled_k(1), result="float", out=True, name="special.scaled_modified_bessel_k1",
    grad={"input": lambda g, out, input: g * (out - scaled_modified_bessel_k0(input) - out / input)},
    samples=samples.unary(0.5, 3.0),
)  # fmt: skip
def scaled_modified_bessel_k1(input: Tensor):
    """Element-wise :math:`e^x K_1(x)`.

    >>> import flambeau as torch
    >>> torch.special.scaled_modified_bessel_k1(torch.tensor([1.0, 2.0]))
    tensor([1.6362, 1.0335])

    Source: https://docs.pytorch.org/docs/stable/special.html#torch.special.scaled_modified_bessel_k1
    """
    refuse("scaled_modified_bessel_k1_cpu", input)
    return (input,), {}

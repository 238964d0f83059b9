r"""Special functions as instructions of loops: the ``lower`` rules of functions that have no instruction of their own.

The formulas are those of the kernels in NumPy (:mod:`~flambeau.ops.gamma_functions`, :mod:`~flambeau.ops.error_functions`), written
so that a vector needs few logarithms and divisions: what only one of several cases takes the logarithm of is chosen first. They are
computed in float64, unless said otherwise; for float32 results series end sooner.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log, nan, pi, sqrt, tan
from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import dtypes

if TYPE_CHECKING:
    from flambeau.core.dtypes import dtype as Dtype
    from flambeau.engine.lowering import Body, Val


def _polynomial(b: Body, coefficients: Sequence[float], x: Val) -> Val:
    r""":math:`\sum_k c_k x^k`, by Horner's rule."""
    y = b.const(coefficients[-1], x.dtype)
    for c in coefficients[-2::-1]:
        y = b.fma(y, x, c)
    return y


def _chebyshev(b: Body, coefficients: Sequence[float], t: Val) -> Val:
    r""":math:`\sum_k c_k T_k(t)`, by Clenshaw's recurrence."""
    double = b.mul(t, 2.0)
    b1, b2 = b.const(coefficients[-1], t.dtype), b.const(0.0, t.dtype)
    for c in coefficients[-2:0:-1]:
        b1, b2 = b.fma(double, b1, b.sub(c, b2)), b1
    return b.fma(t, b1, b.sub(coefficients[0], b2))


def _is_short(b: Body) -> bool:
    return b.result is not dtypes.float64


# --- the gamma function --------------------------------------------------------------------------------------


def lower_lgamma(b: Body, x: Val, near_two: Sequence[float], stirling: Sequence[float], large: int) -> Val:
    """``near_two``: the series of the logarithm of Gamma(2 + z); ``stirling``: that of large arguments, from ``large`` on."""
    if _is_short(b):
        near_two, stirling = near_two[:15], stirling[:4]
    x = b.cast(x, dtypes.float64)
    t = b.abs(x)
    # t = n + 2 + z with |z| <= 1/2, and Gamma(t) = (t - 1) ... (2 + z) Gamma(2 + z).
    small = b.min(t, float(large))
    n = b.sub(b.rint(small), 2.0)
    product = b.const(1.0, dtypes.float64)
    for j in range(1, large - 1):
        product = b.select(b.ge(n, float(j)), b.mul(product, b.sub(small, float(j))), product)
    rising = b.select(b.eq(n, -1.0), small, b.mul(small, b.add(small, 1.0)))  # what n < 0 divides by
    is_far, is_near_zero = b.ge(t, float(large)), b.lt(n, 0.0)
    logarithm = b.log(b.select(is_far, t, b.select(is_near_zero, rising, product)))
    near = b.add(_polynomial(b, near_two, b.sub(small, b.add(n, 2.0))), b.select(is_near_zero, b.neg(logarithm), logarithm))
    inverse = b.div(1.0, t)
    series = b.fma(_polynomial(b, stirling, b.mul(inverse, inverse)), inverse, log(2 * pi) / 2)
    far = b.add(b.sub(b.mul(t, b.sub(logarithm, 1.0)), b.mul(logarithm, 0.5)), series)
    positive = b.select(is_far, far, near)
    sine = b.abs(b.sin(b.mul(b.sub(x, b.rint(x)), pi)))
    is_tiny = b.lt(t, 1e-150)
    other = b.log(b.select(is_tiny, t, b.mul(b.mul(t, sine), 1 / pi)))
    reflected = b.neg(b.select(is_tiny, other, b.add(other, positive)))
    value = b.select(b.lt(x, 0.0), b.select(b.eq(sine, 0.0), inf, reflected), positive)
    return b.cast(b.select(b.isnan(x), x, b.select(b.eq(t, inf), inf, value)), b.result)


def lower_digamma(b: Body, x: Val, series: Sequence[float], large: int) -> Val:
    """``series``: that of large arguments, from ``large`` on, in powers of the inverse square."""
    if _is_short(b):
        series = series[:5]
    x = b.cast(x, dtypes.float64)
    is_negative = b.lt(x, 0.0)
    t = b.select(is_negative, b.sub(1.0, x), x)
    # The sum of 1 / (t + k): as one quotient where its rounding does not show.
    total, below = b.const(0.0, dtypes.float64), b.const(1.0, dtypes.float64)
    for _ in range(large):
        small = b.lt(t, float(large))
        if _is_short(b):
            total = b.select(small, b.fma(total, t, below), total)
            below = b.select(small, b.mul(below, t), below)
        else:
            total = b.select(small, b.add(total, b.div(1.0, t)), total)
        t = b.select(small, b.add(t, 1.0), t)
    total = b.div(total, below) if _is_short(b) else total
    inverse = b.div(1.0, t)
    square = b.mul(inverse, inverse)
    tail = b.fma(square, _polynomial(b, series, square), b.mul(inverse, 0.5))
    value = b.sub(b.sub(b.log(t), tail), total)
    fraction = b.sub(x, b.trunc(x))
    reflected = b.sub(value, b.div(pi, b.tan(b.mul(fraction, pi))))
    value = b.select(is_negative, b.select(b.eq(fraction, 0.0), nan, reflected), value)
    pole = b.copysign(b.const(inf, dtypes.float64), b.neg(x))
    return b.cast(b.select(b.eq(x, 0.0), pole, value), b.result)


# --- the error function --------------------------------------------------------------------------------------


def lower_erfinv(b: Body, y: Val, centre: Sequence[float], tails: Sequence[float]) -> Val:
    """The first guess of the kernel, which is good enough for float32: ``erfinv(y) / y`` in terms of ``-ln(1 - y^2)``."""
    if not _is_short(b):
        b.refuse("erfinv of float64")
    y = b.cast(y, dtypes.float64)
    size = b.abs(y)
    rest = b.sub(1.0, size)
    w = b.neg(b.log(b.mul(rest, b.add(size, 1.0))))
    low, high = sqrt(5), 6.1
    inner = _chebyshev(b, centre, b.fma(b.min(w, 5.0), 0.4, -1.0))
    root = b.sqrt(b.max(b.min(w, high * high), 5.0))
    outer = _chebyshev(b, tails, b.mul(b.fma(root, 2.0, -(low + high)), 1 / (high - low)))
    z = b.mul(size, b.select(b.lt(w, 5.0), inner, outer))
    z = b.select(b.eq(rest, 0.0), inf, z)
    return b.cast(b.copysign(b.select(b.le(size, 1.0), z, nan), y), b.result)


# --- angles --------------------------------------------------------------------------------------------------

# arctan(z) / z in powers of z^2, for |z| <= tan(pi / 8): interpolated at Chebyshev points, to 1e-9 and to 1e-18.
_ARCTAN_SINGLE = (1.0, -0.33333306893, 0.19998183040, -0.14239532657, 0.10569828716, -0.060263049934)
_ARCTAN = (
    1.0, -0.3333333333333332, 0.1999999999999576, -0.1428571428521902, 0.11111111080150231, -0.09090907914127427,
    0.07692278496517994, -0.06666174202584331, 0.05876585172526277, -0.05215988512120316, 0.04495011981836246,
    -0.03330004741375593, 0.015038382431436084,
)  # fmt: skip


def _angle(b: Body, y: Val, x: Val) -> Val:
    """The angle of the point (x, y), in the dtype at hand; ``y / x`` is brought below tan(pi / 8) by half an angle."""
    rise, run = b.abs(y), b.abs(x)
    steep = b.gt(rise, run)
    low, high = b.min(rise, run), b.max(rise, run)
    upper = b.or_(b.gt(low, b.mul(high, tan(pi / 8))), b.eq(low, inf))
    z = b.div(b.select(upper, b.sub(low, high), low), b.select(upper, b.add(low, high), high))
    z = b.select(b.or_(b.eq(low, 0.0), b.eq(low, high)), 0.0, z)  # where that is 0 / 0, or inf - inf
    square = b.mul(z, z)
    series = _polynomial(b, (_ARCTAN_SINGLE if y.dtype is dtypes.float32 else _ARCTAN)[1:], square)
    quarter, quarter_rest = _parts(pi / 4, z.dtype)
    correction = b.fma(b.mul(z, square), series, b.select(upper, b.const(quarter_rest, z.dtype), 0.0))
    angle = b.add(b.add(correction, z), b.select(upper, b.const(quarter, z.dtype), 0.0))
    for condition, turn in ((steep, pi / 2), (b.lt(b.copysign(b.const(1.0, z.dtype), x), 0.0), pi)):
        whole, rest = _parts(turn, z.dtype)
        angle = b.select(condition, b.add(b.sub(whole, angle), rest), angle)
    angle = b.copysign(angle, y)
    return b.select(b.isnan(x), x, b.select(b.isnan(y), y, angle))


def _parts(x: float, dtype: Dtype) -> tuple[float, float]:
    """A number as it is rounded, and what is left of it."""
    whole = float(np.asarray(x, dtype.np))
    return whole, x - whole


def lower_atan(b: Body, x: Val) -> Val:
    return _angle(b, x, b.const(1.0, x.dtype))


def lower_atan2(b: Body, y: Val, x: Val) -> Val:
    if y.dtype is not dtypes.float32:
        b.refuse("atan2 of float64, where sums may be infinite")
    return _angle(b, y, x)

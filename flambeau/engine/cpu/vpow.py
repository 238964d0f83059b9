"""Powers on vectors, written in IR; see :mod:`vmath`.

``x**y = 2**(y * log2(x))``: the exponent is as large as 1024, so the logarithm needs ten bits more than the result.
float32 has them in float64; for float64 the logarithm is a sum of two numbers.
"""

from __future__ import annotations

from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.vmath import (
    INF,
    LN_2,
    LOG2_E,
    NAN,
    clamp,
    exponential,
    nearest,
    polynomial,
    powers_of_two,
    split,
)
from flambeau.engine.cpu.vmath import log2 as log2_double

LOG2_E_LOW = 2.0355273740931033e-17
THIRD, THIRD_LOW = 0.3333333333333333, 1.850371707708594e-17
# (atanh(s) / s - 1 - s**2 / 3) / s**4 in s**2, for |s| <= 0.1716
ATANH = (
    0.20000000000000193, 0.14285714285499312, 0.11111111181786261, 0.09090898734194659, 0.07693092743365874,
    0.0663467622346929, 0.06543626439692961,
)  # fmt: skip


def _product(a: Value, b: Value | float) -> tuple[Value, Value]:
    """``a * b`` and what rounding took from it."""
    b = a.like(b)
    high = a * b
    if a.code.machine.fma:
        return high, a.fma(b, -high)
    (a1, a2), (b1, b2) = _halves(a), _halves(b)
    return high, a2 * b2 - (((high - a1 * b1) - a2 * b1) - a1 * b2)


def _halves(a: Value) -> tuple[Value, Value]:
    """Two numbers of half the digits, whose sum is ``a``."""
    big = a * 134217729.0  # 2**27 + 1
    high = big - (big - a)
    return high, a - high


def _log2(x: Value) -> tuple[Value, Value]:
    """``log2(x)`` for positive finite ``x`` as a sum, the first being the larger."""
    m, integer = split(x)
    n = integer.convert("sitofp", "double")
    f, g = m - 1.0, m + 1.0
    g_low = m - (g - 1.0)
    # s = f / (m + 1) in two parts; log(m) = 2 * atanh(s)
    s = f / g
    back, back_low = _product(s, g)
    s_low = (((f - back) - back_low) - s * g_low) / g
    # a = atanh(s) / s in two parts
    z, z_low = _product(s, s)
    z_low = (s + s).fma(s_low, z_low)
    third, third_low = _product(z, THIRD)
    third_low = z_low.fma(THIRD, z.fma(THIRD_LOW, third_low))
    series = third_low + z * z * polynomial(z, ATANH)
    middle = third + series
    middle_low = (third - middle) + series
    a = middle + 1.0
    a_low = ((1.0 - a) + middle) + middle_low
    # 2 * log2(e) * s * a + n
    log, log_low = _product(s, a)
    log_low = s.fma(a_low, s_low.fma(a, log_low))
    high, low = _product(log, 2 * LOG2_E)
    low = log.fma(2 * LOG2_E_LOW, log_low.fma(2 * LOG2_E, low))
    total = n + high
    return total, ((n - total) + high) + low


def _power_of_positive(x: Value, y: Value, long: bool) -> Value:
    """``x**y`` for ``x >= 0``, but for the cases that :func:`pow` treats; ``long`` for all of float64."""
    if not long:
        exponent, low = y * log2_double(x), None
    else:
        # No result changes: even the number next to 1 to that power is 0 or infinite.
        y = clamp(y, -(2.0**66), 2.0**66)
        log, log_low = _log2(x)
        exponent, low = _product(y, log)
        low = y.fma(log_low, low)
        ends = x.compare("ueq", 0.0) | x.compare("ueq", INF)
        limit = x.compare("oeq", 0.0).select(-INF, x) * y
        exponent, low = ends.select(limit, exponent), ends.select(0.0, low)
    bounded = clamp(exponent, -1100.0, 1100.0)
    n, integer = nearest(bounded, 1.0)
    r = bounded - n
    if low is not None:
        r = r + exponent.compare("oeq", bounded).select(low, 0.0)
    first, second = powers_of_two(integer)
    return (exponential(r * LN_2) + 1.0) * first * second


def pow(x: Value, y: Value) -> Value:
    """``x**y`` with the special cases of C's ``pow``."""
    kind = x.kind
    x, y = x.convert("fpext", "double"), y.convert("fpext", "double")
    size = x.abs()
    result = _power_of_positive(size, y, kind == "double")
    whole = y.intrinsic("floor").compare("oeq", y)
    half = y * 0.5
    odd = whole & half.intrinsic("floor").compare("une", half)
    result = odd.select(result.intrinsic("copysign", x), result)
    rootless = x.compare("olt", 0.0) & x.compare("ogt", -INF) & ~whole
    result = rootless.select(NAN, result)
    one = y.compare("oeq", 0.0) | x.compare("oeq", 1.0)
    one = one | (size.compare("oeq", 1.0) & y.abs().compare("oeq", INF))
    return one.select(1.0, result).convert("fptrunc", kind)


FUNCTIONS = {"pow": pow}

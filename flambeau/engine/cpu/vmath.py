"""Elementary functions on vectors of float32, written in IR.

Every function here is straight code without branches, right for every argument: subnormal, infinite, NaN, -0.0.
The polynomials are minimax fits (Remez), of the degree that leaves their error below a tenth of an ulp.
"""

from __future__ import annotations

from collections.abc import Sequence

from flambeau.engine.cpu.emit import Value

INF = float("inf")
NAN = float("nan")

LOG2_E = 1.4426950408889634
# ln 2 in two parts; the first has trailing zeros, so that its product with a small integer is exact.
LN2_HI = 0.693359375
LN2_LO = -2.12194440e-4

ROUNDER = 12582912.0  # 1.5 * 2**23: adding it leaves an integer in the low bits of the significand
ROUNDER_BITS = 0x4B400000

# (e**r - 1 - r) / r**2 for |r| <= ln(2) / 2
EXP = (0.4999999403953552, 0.1666651964187622, 0.04166839271783829, 0.008368780836462975, 0.0013814462581649423)
# (log(1 + f) - f + f**2 / 2) / f**3 for sqrt(1/2) <= 1 + f <= sqrt(2)
LOG = (
    0.3333333134651184, -0.2500081956386566, 0.20001226663589478, -0.1662335842847824,
    0.14201761782169342, -0.13160182535648346, 0.12761564552783966, -0.07634483277797699,
)  # fmt: skip


def polynomial(x: Value, coefficients: Sequence[float]) -> Value:
    """``c[0] + c[1] * x + c[2] * x**2 + ...`` by Horner's rule."""
    result = x.like(coefficients[-1])
    for c in coefficients[-2::-1]:
        result = result.fma(x, c)
    return result


def clamp(x: Value, low: float, high: float) -> Value:
    """``x`` within bounds; NaN stays."""
    x = x.compare("olt", low).select(low, x)
    return x.compare("ogt", high).select(high, x)


def _reduce(x: Value) -> tuple[Value, Value]:
    """``(p, n)`` with ``e**x = (1 + p) * 2**n``, ``n`` an integer and ``|x| < 2**22``."""
    shifted = x.fma(LOG2_E, ROUNDER)
    n = shifted - ROUNDER
    r = n.fma(-LN2_LO, n.fma(-LN2_HI, x))
    return (r * r).fma(polynomial(r, EXP), r), shifted.bits() - ROUNDER_BITS


def power_of_two(n: Value) -> Value:
    """``2**n`` for integers ``-127 < n < 128``."""
    return ((n + 127) << 23).convert("bitcast", "float")


def scale(x: Value, n: Value) -> Value:
    """``x * 2**n`` for ``-252 < n < 255``, rounded once: the first of two factors cannot make a subnormal of it."""
    half = n.binary("ashr", 1)
    return x * power_of_two(half) * power_of_two(n - half)


def exp(x: Value) -> Value:
    p, n = _reduce(clamp(x, -105.0, 90.0))
    return scale(p + 1.0, n)


def expm1(x: Value) -> Value:
    p, n = _reduce(clamp(x, -30.0, 89.0))
    unit = power_of_two(n - 1)  # 2**128 is not finite: half of it, twice
    result = p.fma(unit, unit - 0.5) * 2.0
    return x.abs().compare("olt", 2.0**-30).select(x, result)


def tanh(x: Value) -> Value:
    size = x.abs()
    size = size.compare("ogt", 10.0).select(10.0, size)
    p, n = _reduce(size + size)
    unit = power_of_two(n)
    e = p.fma(unit, unit - 1.0)  # e**2x - 1
    return (e / (e + 2.0)).intrinsic("copysign", x)


def sigmoid(x: Value) -> Value:
    e = exp(-x.abs())
    return x.compare("oge", 0.0).select(1.0, e) / (e + 1.0)


def _split(x: Value) -> tuple[Value, Value]:
    """``(f, n)`` with ``x = (1 + f) * 2**n`` for positive finite ``x``; ``n`` is a float."""
    tiny = x.compare("olt", 2.0**-126)
    bits = tiny.select(x * 2.0**23, x).bits()
    n = (bits - 0x3F3504F3).binary("ashr", 23)  # the bits of sqrt(1/2)
    f = (bits - (n << 23)).convert("bitcast", "float") - 1.0
    n = n.convert("sitofp", "float")
    return f, tiny.select(n - 23.0, n)


def log_limits(x: Value, result: Value) -> Value:
    """``result`` with the values of a logarithm where ``x`` is not positive and finite."""
    result = x.compare("ule", 0.0).select(x.compare("oeq", 0.0).select(x.like(-INF), NAN), result)
    return x.compare("oeq", INF).select(x, result)


def log(x: Value) -> Value:
    f, n = _split(x)
    square = f * f
    tail = n.fma(LN2_LO, square * f * polynomial(f, LOG))
    return log_limits(x, n.fma(LN2_HI, f + square.fma(-0.5, tail)))


def rsqrt(x: Value) -> Value:
    return 1.0 / x.sqrt()


FUNCTIONS = {
    "exp": exp, "expm1": expm1, "log": log, "tanh": tanh, "sigmoid": sigmoid, "rsqrt": rsqrt,
}  # fmt: skip

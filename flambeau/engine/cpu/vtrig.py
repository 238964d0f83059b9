"""Sines, cosines and tangents on vectors, written in IR; see :mod:`vmath`.

float32 is computed in float64, which costs little more than the care that float32 would need. Arguments so large
that three parts of pi/2 do not suffice go to the C library, lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable

from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.vmath import nearest, polynomial

HALF_PI = (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21)
"""pi/2 in three parts; the first two have 33 bits, so that their products with integers below 2**20 are exact."""

TWO_OVER_PI = 0.6366197723675814
LIMIT = 2.0**20

# (sin(r) - r) / r**3 and (cos(r) - 1 + r**2 / 2) / r**4 in r**2, for |r| <= pi/4: for float32 and for float64.
SIN = (-0.16666666640788808, 0.008333329303307786, -0.00019839311648744078, 2.718114935348108e-06)
COS = (0.04166666661946677, -0.0013888883497680826, 2.4799459469141768e-05, -2.720569432575189e-07)
SIN_LONG = (
    -0.1666666666666663, 0.00833333333332212, -0.00019841269829589325, 2.755731362069826e-06,
    -2.505074756390681e-08, 1.5896213887974176e-10,
)  # fmt: skip
COS_LONG = (
    0.041666666666666595, -0.001388888888887304, 2.4801587288841397e-05, -2.7557314176226743e-07,
    2.0875700413079287e-09, -1.1358513753583607e-11,
)  # fmt: skip


def _sin_cos(x: Value, long: bool) -> tuple[Value, Value, Value]:
    """``sin(r)``, ``cos(r)`` and ``n`` with ``x = n * pi/2 + r`` and ``|r| <= pi/4``; ``long`` for all of float64."""
    n, integer = nearest(x, TWO_OVER_PI)
    first, second, third = HALF_PI
    r = x - n * first
    if not long:
        r = r - n * second
        z = r * r
        return (z * r).fma(polynomial(z, SIN), r), (z * z).fma(polynomial(z, COS), z.fma(-0.5, 1.0)), integer
    # r + low, to twice the precision: what every subtraction loses is kept.
    part = n * second
    middle = r - part
    lost = (r - middle) - part
    part = n * third
    r = middle - part
    low = ((middle - r) - part) + lost
    z = r * r
    half = z * 0.5
    sine = r + (z * r).fma(polynomial(z, SIN_LONG), low * (1.0 - half))
    main = 1.0 - half
    rest = (1.0 - main) - half
    cosine = main + (z * z).fma(polynomial(z, COS_LONG), (-low).fma(r, rest))
    return sine, cosine, integer


def _negate_if(bit: Value, x: Value) -> Value:
    """``-x`` where the integer ``bit`` (0 or 1) is set."""
    return (x.bits() ^ (bit << 63)).convert("bitcast", "double")


def _sin(x: Value, long: bool) -> Value:
    sine, cosine, n = _sin_cos(x, long)
    return _negate_if(n.binary("lshr", 1) & 1, (n & 1).compare("ne", 0).select(cosine, sine))


def _cos(x: Value, long: bool) -> Value:
    sine, cosine, n = _sin_cos(x, long)
    return _negate_if((n + 1).binary("lshr", 1) & 1, (n & 1).compare("ne", 0).select(sine, cosine))


def _tan(x: Value, long: bool) -> Value:
    sine, cosine, n = _sin_cos(x, long)
    odd = (n & 1).compare("ne", 0)
    return _negate_if(n & 1, odd.select(cosine, sine) / odd.select(sine, cosine))


def _function(name: str, formula: Callable[[Value, bool], Value]) -> Callable[[Value], Value]:
    def function(x: Value) -> Value:
        kind = x.kind
        wide = x.convert("fpext", "double")
        result = formula(wide, kind == "double")
        large = wide.abs().compare("oge", LIMIT).any()

        def exact() -> list[Value]:
            return [x.code.by_lane(lambda lane: x.code.call(name, [lane], "double", 0), wide)]

        result = x.code.when(large, [result], exact)[0].convert("fptrunc", kind)
        return result if name == "cos" else x.compare("oeq", 0.0).select(x, result)  # the sign of -0.0

    return function


FUNCTIONS = {"sin": _function("sin", _sin), "cos": _function("cos", _cos), "tan": _function("tan", _tan)}

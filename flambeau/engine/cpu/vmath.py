"""Elementary functions on vectors of float32 and float64, written in IR: exponentials, logarithms, erf.

The code is right for every argument: subnormal, infinite, NaN, -0.0; no error is larger than 2 ulp, of ``normal_cdf`` than 2 of 1
(the tests measure them all). The polynomials are minimax fits (``tools/minimax.py``), of the degree that leaves their own error below a
tenth of an ulp; what remains is rounding. One formula serves both precisions, with the constants of a :class:`Format`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flambeau.engine.cpu.emit import Value

INF = float("inf")
NAN = float("nan")
LOG2_E = 1.4426950408889634
LOG10_E = 0.4342944819032518
LN_2 = 0.6931471805599453
ROOT_HALF = 0.7071067811865476


class Format(NamedTuple):
    """What the formulas need to know of a floating-point type."""

    kind: str
    digits: int  # bits of the significand that are stored
    bias: int  # of the exponent
    sqrt_half: int  # the bits of the square root of 1/2
    ln2: tuple[float, float]  # in two parts; the first has trailing zeros: its product with an exponent is exact
    log10_2: tuple[float, float]
    exp_range: tuple[float, float]  # beyond them, e**x is 0 or infinite
    exp: tuple[float, ...]  # (e**r - 1 - r) / r**2 for |r| <= ln(2) / 2
    log: tuple[float, ...]  # (log(1 + f) - f + f**2 / 2) / f**3 for sqrt(1/2) <= 1 + f <= sqrt(2)
    tanh: tuple[float, ...]  # (tanh(x) - x) / x**3 as a polynomial in x**2, for x <= 0.55
    erf_small: tuple[float, ...]  # erf(x) / x - 1 as a polynomial in x**2, for x <= 1
    erf_large: tuple[float, ...]  # -log(1 - erf(x)) for 1 <= x <= erf_end
    erf_end: float  # from here erf(x) rounds to 1
    normal_tail: tuple[float, ...] = ()  # -log2 of the probability beyond x of a normal distribution, for 0 <= x <= normal_end
    normal_end: float = 0.0  # what is beyond does not count beside 1

    @property
    def rounder(self) -> float:
        """Adding it leaves a small integer in the low bits of the significand."""
        return 1.5 * 2.0**self.digits

    @property
    def smallest(self) -> float:
        """The smallest normal number."""
        return 2.0 ** (1 - self.bias)


SINGLE = Format(
    "float", 23, 127, 0x3F3504F3, (0.693359375, -2.12194440e-4), (0.30078125, 0.00024874566398119526), (-105.0, 89.0),
    exp=(0.4999999403953552, 0.1666651964187622, 0.04166839271783829, 0.008368780836462975, 0.0013814462581649423),
    log=(
        0.3333333134651184, -0.2500081956386566, 0.20001226663589478, -0.1662335842847824,
        0.14201761782169342, -0.13160182535648346, 0.12761564552783966, -0.07634483277797699,
    ),
    tanh=(-0.33333319425582886, 0.13332624733448029, -0.053851544857025146, 0.02105534076690674, -0.006238153669983149),
    erf_small=(
        0.12837916612625122, -0.3761262595653534, 0.1128358542919159, -0.026853814721107483,
        0.005188330542296171, -0.0008010202436707914, 7.853849820094183e-05,
    ),
    erf_large=(
        0.00034152352600358427, 1.1270891427993774, 0.638144850730896, 0.10310674458742142,
        -0.021838055923581123, 0.0029476557392627, -0.0001863788638729602,
    ),
    erf_end=4.0,
    normal_tail=(
        0.9999999782831244, 1.1511057234853406, 0.4592049075751821, 0.052505027883249004, -0.007075470925052784,
        0.00014586975173604778, 0.00018254765571613205, -3.8620738620727806e-05, 2.7720469520026156e-06,
    ),
    normal_end=5.5,
)  # fmt: skip

DOUBLE = Format(
    "double", 52, 1023, 0x3FE6A09E667F3BCD, (0.6931471803691238, 1.9082149292705877e-10),
    (0.30102999566224753, 1.7336659603752853e-12), (-750.0, 710.0),
    exp=(
        0.500000000000001, 0.16666666666666674, 0.04166666666652095, 0.008333333333322127, 0.0013888888948140007,
        0.00019841269886836392, 2.4801486965350888e-05, 2.7557242059340425e-06, 2.7632791582662336e-07,
        2.5110154340462048e-08,
    ),
    log=(
        0.33333333333333454, -0.2499999999999892, 0.19999999999946136, -0.16666666666914362, 0.1428571429384108,
        -0.12499999982022328, 0.11111110516066741, -0.10000000383100714, 0.09090933504942353, -0.08333345765111556,
        0.07691714492001248, -0.07141999988074278, 0.06675147966385435, -0.06269801908372584, 0.058177828469569724,
        -0.05326775275775763, 0.05415957727320352, -0.06275044464706636, 0.056968866037088825, -0.02427629726516167,
    ),
    tanh=(
        -0.33333333333333315, 0.13333333333329017, -0.0539682539648043, 0.021869488407853563, -0.008863232857794525,
        0.003592093758897744, -0.001455549374984897, 0.0005884554661642834, -0.0002333752574267448,
        8.326545947986512e-05, -1.9440914799680953e-05,
    ),
    erf_small=(
        0.1283791670955126, -0.3761263890318375, 0.11283791670954858, -0.02686617064507296, 0.00522397762478137,
        -0.0008548326978765149, 0.00012055331037551108, -1.4925593518728226e-05, 1.6460972954153765e-06,
        -1.635002619207727e-07, 1.4657883530919653e-08, -1.136567067182716e-09, 5.945255584223488e-11,
    ),
    erf_large=(
        1.7963711507059644e-07, 1.1283773290868984, 0.6366284897845554, 0.10274724949244854, -0.01907814939374862,
        -0.00028049852250270046, 0.001769012395243802, -0.000641183468290013, 4.4830253030519974e-05,
        7.036213639451134e-05, -4.5035298531489464e-05, 1.651317955155476e-05, -4.32682584162963e-06,
        8.505270907610891e-07, -1.2569722932990578e-07, 1.3625781307604912e-08, -1.0256247533360058e-09,
        4.795649022066038e-11, -1.049528660856488e-12,
    ),
    erf_end=6.0,
)  # fmt: skip

FORMATS = {"float": SINGLE, "double": DOUBLE}


# --- pieces --------------------------------------------------------------------------------------------------


def polynomial(x: Value, coefficients: Sequence[float]) -> Value:
    """``c[0] + c[1] * x + c[2] * x**2 + ...`` by Horner's rule."""
    result = x.like(coefficients[-1])
    for c in coefficients[-2::-1]:
        result = result.fma(x, c)
    return result


def at_most(x: Value, high: float) -> Value:
    """The smaller of the two; NaN stays."""
    return x.compare("ogt", high).select(high, x)


def clamp(x: Value, low: float, high: float) -> Value:
    """``x`` within bounds; NaN stays."""
    return at_most(x.compare("olt", low).select(low, x), high)


def nearest(x: Value, factor: float) -> tuple[Value, Value]:
    """The integer nearest to ``x * factor``, where it is small: as a float and as an integer."""
    rounder = FORMATS[x.kind].rounder
    shifted = x.fma(factor, rounder)
    return shifted - rounder, shifted.bits() - shifted.like(rounder).bits()


def power_of_two(n: Value) -> Value:
    """``2**n`` for integers that are exponents of normal numbers."""
    form = SINGLE if n.kind == "i32" else DOUBLE
    return ((n + form.bias) << form.digits).convert("bitcast", form.kind)


def powers_of_two(n: Value) -> tuple[Value, Value]:
    """Two factors whose product is ``2**n``, for any result; the product with both is rounded once only."""
    half = n.binary("ashr", 1)
    return power_of_two(half), power_of_two(n - half)


def exponential(r: Value) -> Value:
    """``e**r - 1`` for ``|r| <= ln(2) / 2``."""
    return (r * r).fma(polynomial(r, FORMATS[r.kind].exp), r)


def _exp_parts(x: Value) -> tuple[Value, Value]:
    """``(p, n)`` with ``e**x = (1 + p) * 2**n``, ``n`` an integer."""
    high, low = FORMATS[x.kind].ln2
    n, integer = nearest(x, LOG2_E)
    return exponential(n.fma(-low, n.fma(-high, x))), integer


def split(x: Value) -> tuple[Value, Value]:
    """``(m, n)`` with ``x = m * 2**n`` and ``m`` around 1, for positive finite ``x``."""
    form = FORMATS[x.kind]
    tiny = x.compare("olt", form.smallest)
    bits = tiny.select(x * 2.0**form.digits, x).bits()
    n = (bits - form.sqrt_half).binary("ashr", form.digits)
    m = (bits - (n << form.digits)).convert("bitcast", form.kind)
    return m, tiny.select(n - form.digits, n)


def _mantissa_log(f: Value, extra: Value | None = None) -> Value:
    """``log(1 + f)``, and something small that is added on the way."""
    square = f * f
    cube, series = square * f, polynomial(f, FORMATS[f.kind].log)
    tail = cube * series if extra is None else cube.fma(series, extra)
    return f + square.fma(-0.5, tail)


def _limits(x: Value, result: Value) -> Value:
    """``result`` with the values of a logarithm where ``x`` is not positive and finite."""
    result = x.compare("ule", 0.0).select(x.compare("oeq", 0.0).select(x.like(-INF), NAN), result)
    return x.compare("oeq", INF).select(x, result)


# --- exponentials --------------------------------------------------------------------------------------------


def exp(x: Value) -> Value:
    p, n = _exp_parts(clamp(x, *FORMATS[x.kind].exp_range))
    first, second = powers_of_two(n)
    return (p + 1.0) * first * second


def exp2(x: Value) -> Value:
    form = FORMATS[x.kind]
    x = clamp(x, -form.bias - form.digits - 2.0, form.bias + 2.0)
    n, integer = nearest(x, 1.0)
    first, second = powers_of_two(integer)
    return (exponential((x - n) * LN_2) + 1.0) * first * second


def expm1(x: Value) -> Value:
    p, n = _exp_parts(clamp(x, -40.0, FORMATS[x.kind].exp_range[1]))
    unit = power_of_two(n - 1)  # the largest power may be infinite: half of it, twice
    result = p.fma(unit, unit - 0.5) * 2.0
    return x.abs().compare("olt", 2.0**-60).select(x, result)


def tanh(x: Value) -> Value:
    square = x * x
    small = x.fma(square * polynomial(square, FORMATS[x.kind].tanh), x)
    size = at_most(x.abs(), 20.0)
    p, n = _exp_parts(size + size)
    unit = power_of_two(n)
    e = p.fma(unit, unit - 1.0)  # e**2x - 1
    return size.compare("olt", 0.55).select(small, e / (e + 2.0)).intrinsic("copysign", x)


def sigmoid(x: Value) -> Value:
    form = FORMATS[x.kind]
    p, n = _exp_parts(-clamp(x, form.exp_range[0], 40.0))
    # 1 / (1 + e**-x), in two steps where e**-x is not finite or the result not normal.
    finite = n.compare("sgt", form.bias - 1).select(form.bias - 1, n)
    unit = power_of_two(finite)
    one = unit + 1.0
    below = p.fma(unit, one)
    lost = p.fma(unit, one - below)
    ratio = 1.0 / below
    rest = lost.fma(-ratio, below.fma(-ratio, 1.0))  # 1 - ratio * (below + lost)
    return rest.fma(ratio, ratio) * power_of_two(finite - n)


# --- logarithms ----------------------------------------------------------------------------------------------


def log(x: Value) -> Value:
    high, low = FORMATS[x.kind].ln2
    m, integer = split(x)
    n = integer.convert("sitofp", x.kind)
    return _limits(x, n.fma(high, _mantissa_log(m - 1.0, n * low)))


def log1p(x: Value) -> Value:
    high, low = FORMATS[x.kind].ln2
    _, integer = split(x + 1.0)
    first, second = powers_of_two(-integer)
    f = (x * first).fma(second, (first * second) - 1.0)  # (1 + x) / 2**n - 1 without the rounding of 1 + x
    n = integer.convert("sitofp", x.kind)
    result = _limits(x + 1.0, n.fma(high, _mantissa_log(f, n * low)))
    return x.abs().compare("olt", 2.0**-60).select(x, result)


def log2(x: Value) -> Value:
    m, n = split(x)
    return _limits(x, _mantissa_log(m - 1.0).fma(LOG2_E, n.convert("sitofp", x.kind)))


def log10(x: Value) -> Value:
    high, low = FORMATS[x.kind].log10_2
    m, integer = split(x)
    n = integer.convert("sitofp", x.kind)
    return _limits(x, n.fma(high, _mantissa_log(m - 1.0).fma(LOG10_E, n * low)))


# --- others --------------------------------------------------------------------------------------------------


def erf(x: Value) -> Value:
    form = FORMATS[x.kind]
    small = x.fma(polynomial(x * x, form.erf_small), x)
    size = x.abs()
    p, n = _exp_parts(-polynomial(at_most(size, form.erf_end), form.erf_large))
    unit = power_of_two(n)
    large = (-p).fma(unit, 1.0 - unit).intrinsic("copysign", x)
    return size.compare("olt", 1.0).select(small, large)


def normal_cdf(x: Value) -> Value:
    """How probable it is that a normal variable is at most ``x``, to the digits of the greatest probability.

    Small ones have fewer digits, as in (1 + erf) / 2; so one polynomial does where ``erf`` needs two.
    """
    form = FORMATS[x.kind]
    if not form.normal_tail:
        return (erf(x * ROOT_HALF) + 1.0) * 0.5
    size = x.abs()
    bits = -polynomial(at_most(size, form.normal_end), form.normal_tail)
    n, integer = nearest(bits, 1.0)
    unit = power_of_two(integer)
    tail = size.compare("ogt", form.normal_end).select(0.0, exponential((bits - n) * LN_2).fma(unit, unit))
    return x.compare("ogt", 0.0).select(1.0 - tail, tail)


def rsqrt(x: Value) -> Value:
    return 1.0 / x.sqrt()


FUNCTIONS = {
    "exp": exp, "exp2": exp2, "expm1": expm1, "tanh": tanh, "sigmoid": sigmoid,
    "log": log, "log2": log2, "log10": log10, "log1p": log1p, "erf": erf, "rsqrt": rsqrt,
    "normal_cdf": normal_cdf,
}  # fmt: skip

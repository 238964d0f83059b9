"""Fits the polynomials of flambeau's elementary functions (flambeau/engine/cpu/v*.py), by Remez's exchange.

    python tools/minimax.py          prints every fit with the logarithm of its error
    python tools/minimax.py exp      those whose names contain "exp"

Needs mpmath. Each fit minimises the largest error of the function that is computed in the end: the weight turns the
error of the polynomial into a relative one of the result.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import mpmath as m
from mpmath import mpf

m.mp.dps = 60
TINY = mpf(10) ** -20

Function = Callable[[mpf], mpf]


def remez(f: Function, weight: Function, low, high, degree: int, rounds: int = 25, grid: int = 1200) -> tuple[mpf, list[mpf]]:
    """The error and the coefficients of the polynomial p that minimises ``max |weight * (f - p)|``."""
    low, high = mpf(low), mpf(high)
    count = degree + 2

    def chebyshev(n: int) -> list[mpf]:
        return [(low + high) / 2 - (high - low) / 2 * m.cos(m.pi * k / (n - 1)) for k in range(n)]

    points, places = chebyshev(grid), chebyshev(count)
    values = [(x, f(x), weight(x)) for x in points]
    best: tuple[mpf, list[mpf]] = (m.inf, [])
    for _ in range(rounds):
        matrix, right = m.matrix(count, count), m.matrix(count, 1)
        for row, x in enumerate(places):
            w = weight(x)
            for power in range(degree + 1):
                matrix[row, power] = w * x**power
            matrix[row, degree + 1] = (-1) ** row
            right[row] = w * f(x)
        solution = m.lu_solve(matrix, right)
        coefficients = [solution[k] for k in range(degree + 1)]
        errors = [w * (y - m.polyval(coefficients[::-1], x)) for x, y, w in values]
        worst = max(abs(e) for e in errors)
        best = min(best, (worst, coefficients), key=lambda b: b[0])
        extremes = [0]
        for k in range(1, grid):
            if (errors[k] > 0) != (errors[extremes[-1]] > 0):
                extremes.append(k)
            elif abs(errors[k]) > abs(errors[extremes[-1]]):
                extremes[-1] = k
        while len(extremes) > count:
            extremes.pop(0 if abs(errors[extremes[0]]) < abs(errors[extremes[-1]]) else -1)
        if len(extremes) < count or worst < 1.01 * abs(solution[degree + 1]):
            break
        places = [points[k] for k in extremes]
    return best


def series(value: Function, near_zero: Function) -> Function:
    """``value``, but ``near_zero`` where it would divide by nothing."""
    return lambda x: value(x) if abs(x) > TINY else near_zero(x)


def of_square(function: Function, at_zero: float) -> Function:
    """``function(x) / x`` as a function of ``x**2``."""
    return series(lambda z: function(m.sqrt(z)) / m.sqrt(z), lambda z: at_zero)


exp = series(lambda r: (m.exp(r) - 1 - r) / r**2, lambda r: mpf(1) / 2)
log = series(lambda f: (m.log(1 + f) - f + f**2 / 2) / f**3, lambda f: mpf(1) / 3)
log_weight = series(lambda f: f**3 / m.log(1 + f), lambda f: mpf(0))
sin, tanh, erf = of_square(m.sin, 1), of_square(m.tanh, 1), of_square(m.erf, 2 / m.sqrt(m.pi))
sin_tail = series(lambda z: (sin(z) - 1) / z, lambda z: -mpf(1) / 6)
cos_tail = series(lambda z: (m.cos(m.sqrt(z)) - 1 + z / 2) / z**2, lambda z: mpf(1) / 24)
tanh_tail = series(lambda z: (tanh(z) - 1) / z, lambda z: -mpf(1) / 3)
atanh_tail = series(lambda z: (m.atanh(m.sqrt(z)) / m.sqrt(z) - 1 - z / 3) / z**2, lambda z: mpf(1) / 5)

HALF_LN2 = m.log(2) / 2 * mpf("1.001")
QUARTER_PI = (m.pi / 4 * mpf("1.0001")) ** 2
ROOT = (m.sqrt(mpf(1) / 2) - 1, m.sqrt(2) - 1)

# name: (function, weight, interval, degrees for float32 and float64)
FITS = {
    "exp": (exp, lambda r: r**2 / m.exp(r), (-HALF_LN2, HALF_LN2), (4, 9)),
    "log": (log, log_weight, ROOT, (7, 19)),
    "tanh": (tanh_tail, lambda z: z / tanh(z), (0, mpf("0.3026")), (4, 10)),
    "erf_small": (lambda z: erf(z) - 1, lambda z: 1 / erf(z), (0, 1), (6, 12)),
    "erf_large, float32": (lambda x: -m.log(m.erfc(x)), lambda x: m.erfc(x) / m.erf(x), (1, 4), (6,)),
    "erf_large, float64": (lambda x: -m.log(m.erfc(x)), lambda x: m.erfc(x) / m.erf(x), (1, 6), (18,)),
    "normal_tail": (lambda x: -m.log(m.ncdf(-x), 2), lambda x: m.ncdf(-x) * m.log(2), (0, mpf("5.5")), (8,)),
    "sin": (sin_tail, lambda z: z / sin(z), (0, QUARTER_PI), (3, 5)),
    "cos": (cos_tail, lambda z: z**2 / m.cos(m.sqrt(z)), (0, QUARTER_PI), (3, 5)),
    "atanh of pow": (atanh_tail, lambda z: z**2, (0, mpf("0.029438")), (6,)),
}


def main() -> None:
    for name, (function, weight, interval, degrees) in FITS.items():
        if any(word in name for word in sys.argv[1:] or [""]):
            for degree in degrees:
                error, coefficients = remez(function, weight, *interval, degree)
                print(f"{name}, degree {degree}: 2**{float(m.log(error, 2)):.1f}")
                print("   ", ", ".join(repr(float(c)) for c in coefficients))


if __name__ == "__main__":
    main()

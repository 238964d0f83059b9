"""The engine's elementary functions: errors in units of the last place over the whole range, and special values."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from flambeau.core import dtypes as D
from flambeau.engine.cpu.codegen import loop_kernel
from flambeau.engine.loops import Access, Instr, Loop
from tests.test_engine_loops import session_of

INF, NAN = np.inf, np.nan


@pytest.fixture(params=["", "avx2", "generic"], ids=lambda m: m or "host")
def session(request):
    return session_of(request.param)


def evaluate(op, session, *arrays):
    """``op`` of arrays of one length and dtype, by a kernel."""
    dtype = D.from_numpy(arrays[0].dtype)
    n, access = len(arrays[0]), Access(dtype, (1,))
    body = [Instr("input", dtype, (), k) for k in range(len(arrays))]
    body.append(Instr(op, dtype, tuple(range(len(arrays)))))
    loop = Loop((n,), 0, (access,) * len(arrays), (), tuple(body), ((len(arrays), access),))
    result = np.empty_like(arrays[0])
    args = (ctypes.c_void_p * (len(arrays) + 2))(*(a.ctypes.data for a in (*arrays, result)), 0)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(loop_kernel(loop, session))(ctypes.addressof(args))
    return result


def ulps(got, exact):
    """The distances from ``got`` to ``exact`` (of more digits), in spacings of the type of ``got`` there."""
    kind = got.dtype.type
    with np.errstate(all="ignore"):
        rounded = exact.astype(kind)
        spacing = np.spacing(np.minimum(np.abs(rounded), np.finfo(kind).max)).astype(exact.dtype)
        error = np.abs(got.astype(exact.dtype) - exact) / spacing
    same = (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    # What rounds to infinity may be off by one unit too: the largest finite number is next to it.
    largest = np.isinf(rounded) & (np.abs(got) == np.finfo(kind).max) & (np.sign(got) == np.sign(rounded))
    error = np.where(same, np.where(np.isfinite(error), error, 0), np.where(largest, 1, error))
    return np.where(np.isnan(error), INF, error)


def erf(x):
    return np.array([math.erf(v) for v in x])


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


REFERENCE = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10,
    "log1p": np.log1p, "tanh": np.tanh, "sigmoid": sigmoid, "erf": erf, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "rsqrt": lambda x: 1 / np.sqrt(x),
}  # fmt: skip

MOST = {
    "exp": 1.0, "exp2": 1.0, "expm1": 1.5, "log": 1.0, "log2": 2.0, "log10": 2.0, "log1p": 1.5, "tanh": 2.0,
    "sigmoid": 2.0, "erf": 1.5, "sin": 1.0, "cos": 1.0, "tan": 2.0, "rsqrt": 1.5, "pow": 1.0,
}  # fmt: skip
"""The largest errors that are allowed, in units of the last place."""


@pytest.mark.parametrize("op", sorted(REFERENCE))
def test_float32(session, op):
    """Every 8191st of all float32 numbers, the infinities and NaNs too, and all the ones around some places."""
    bits = np.arange(0, 1 << 32, 8191, dtype=np.uint64).astype(np.uint32)
    around = np.array([0.0, 0.25, 0.5, 0.6931472, 1.0, 2.0, np.pi / 2, 4.0, 88.7, 89.0, 103.9], np.float32).view(np.uint32)
    near = (around[:, None] + np.arange(-200, 200, dtype=np.int64)).astype(np.uint32).ravel()
    x = np.concatenate([bits, near, near ^ np.uint32(1 << 31)]).view(np.float32)
    if op == "erf":
        x = x[::4].copy()
    with np.errstate(all="ignore"):
        exact = REFERENCE[op](x.astype(np.float64))
    error = ulps(evaluate(op, session, x), exact)
    worst = np.argmax(error)
    assert error[worst] <= MOST[op], f"{op}({x[worst]!r}) is off by {error[worst]:.2f} ulp"


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_normal_cdf(session, kind):
    """Probabilities to the digits of the greatest ones."""
    x = np.concatenate(
        [np.linspace(-9, 9, 100001), np.nextafter(kind(5.5), [kind(0), kind(9)]), [5.5, -5.5, 1e-40, -1e-40, 3e38, -3e38]]
    )
    x = x.astype(kind)
    exact = 0.5 * np.array([math.erfc(v) for v in x.astype(np.float64) * -math.sqrt(0.5)])
    got = evaluate("normal_cdf", session, x)
    assert got.min() == 0 and got.max() == 1
    assert np.abs(got - exact).max() <= 2 * np.spacing(kind(0.5))


def doubles(rng, op):
    """Arguments of every size, and more of those where the function is neither flat nor infinite."""
    sizes = np.exp2(rng.uniform(-1074, 1023, 700))
    usual = np.exp2(rng.uniform(-12, 10, 700))
    x = np.concatenate([sizes, usual, rng.uniform(0, 3, 400), rng.uniform(0.5, 1.5, 300)])
    if op not in ("log", "log2", "log10", "rsqrt"):
        x = np.concatenate([x, -x])
    if op == "log1p":
        x = np.concatenate([x[x > -1], np.exp2(rng.uniform(-53, 0, 200)) - 1])
    return x


@pytest.mark.parametrize("op", sorted(REFERENCE))
def test_float64(session, op):
    """Against mpmath."""
    mpmath = pytest.importorskip("mpmath")
    x = doubles(np.random.default_rng(7), op)
    got = evaluate(op, session, x)
    exact = {
        "exp2": lambda v: mpmath.mpf(2) ** v, "log2": lambda v: mpmath.log(v) / mpmath.ln2, "log10": mpmath.log10,
        "sigmoid": lambda v: 1 / (1 + mpmath.exp(-v)), "rsqrt": lambda v: 1 / mpmath.sqrt(v),
        "log1p": lambda v: mpmath.log1p(v),
    }.get(op) or getattr(mpmath, op)  # fmt: skip
    with mpmath.workdps(60):
        error = [distance(mpmath, exact(mpmath.mpf(float(v))), float(r)) for v, r in zip(x, got)]
    worst = int(np.argmax(error))
    assert error[worst] <= MOST[op], f"{op}({x[worst]!r}) = {got[worst]!r} is off by {error[worst]:.2f} ulp"


def distance(mpmath, exact, got):
    """From ``got``, a float64, to the mpmath number ``exact`` in units of the last place."""
    if math.isnan(got):
        return INF
    largest = np.finfo(np.float64).max
    if math.isinf(got):
        return 0.0 if abs(exact) > largest and (exact > 0) == (got > 0) else INF
    rounded = min(abs(float(exact)), largest)
    return float(abs(exact - mpmath.mpf(got)) / mpmath.mpf(float(np.spacing(rounded))))


SPECIAL = {
    "exp": [(-INF, 0), (INF, INF), (0.0, 1), (-0.0, 1)],
    "exp2": [(-INF, 0), (INF, INF), (3.0, 8), (-1.0, 0.5)],
    "expm1": [(-INF, -1), (INF, INF), (0.0, 0.0), (-0.0, -0.0), (1e-42, 1e-42)],
    "log": [(0.0, -INF), (-0.0, -INF), (-1.0, NAN), (-INF, NAN), (INF, INF), (1.0, 0.0)],
    "log2": [(0.0, -INF), (-1.0, NAN), (INF, INF), (1.0, 0.0), (8.0, 3), (2.0**-140, -140)],
    "log10": [(0.0, -INF), (-1.0, NAN), (INF, INF), (1.0, 0.0), (1000.0, 3)],
    "log1p": [(-1.0, -INF), (-1.5, NAN), (-INF, NAN), (INF, INF), (0.0, 0.0), (-0.0, -0.0), (1e-42, 1e-42)],
    "tanh": [(INF, 1), (-INF, -1), (0.0, 0.0), (-0.0, -0.0), (1e-42, 1e-42)],
    "sigmoid": [(INF, 1), (-INF, 0), (0.0, 0.5)],
    "erf": [(INF, 1), (-INF, -1), (0.0, 0.0), (-0.0, -0.0)],
    "normal_cdf": [(INF, 1), (-INF, 0), (0.0, 0.5), (-0.0, 0.5)],
    "sin": [(INF, NAN), (-INF, NAN), (0.0, 0.0), (-0.0, -0.0)],
    "cos": [(INF, NAN), (0.0, 1), (-0.0, 1)],
    "tan": [(INF, NAN), (0.0, 0.0), (-0.0, -0.0)],
    "rsqrt": [(0.0, INF), (-0.0, -INF), (INF, 0), (-1.0, NAN), (4.0, 0.5)],
}


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("op", sorted(SPECIAL))
def test_special_values(session, op, kind):
    x, want = np.array([*SPECIAL[op], (NAN, NAN)]).astype(kind).T.copy()
    got = evaluate(op, session, x)
    np.testing.assert_array_equal(got, want)
    numbers = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(want)[numbers])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_pow_special_values(session, kind):
    """Every pair of special numbers, as C's pow has them."""
    special = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 1e-40, 1e30, -1e30, INF, -INF, NAN]
    x, y = (v.ravel().copy() for v in np.meshgrid(np.array(special, kind), np.array(special, kind)))
    got = evaluate("pow", session, x, y)
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.float64), y.astype(np.float64)).astype(kind)
    np.testing.assert_allclose(got, want, rtol=2 * np.finfo(kind).eps, atol=0)
    numbers = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got)[numbers], np.signbit(want)[numbers])


def pairs(rng, n, smallest, largest):
    """Bases and exponents whose powers are spread over the whole range."""
    x = np.exp2(rng.uniform(smallest, largest, n))
    x[: n // 3] = rng.uniform(0.5, 2, n // 3)
    x[n // 3 : n // 2] = 1 + rng.uniform(-1, 1, n // 2 - n // 3) * 2.0 ** rng.uniform(-20, 0, n // 2 - n // 3)
    with np.errstate(all="ignore"):
        y = rng.uniform(smallest, largest, n) / np.log2(x)
    return x, y


def test_pow_float32(session):
    x, y = (v.astype(np.float32) for v in pairs(np.random.default_rng(1), 300_000, -149, 127))
    with np.errstate(all="ignore"):
        exact = np.power(x.astype(np.float64), y.astype(np.float64))
    error = ulps(evaluate("pow", session, x, y), exact)
    worst = np.argmax(error)
    assert error[worst] <= MOST["pow"], f"{x[worst]!r} ** {y[worst]!r} is off by {error[worst]:.2f} ulp"


def test_pow_float64(session):
    mpmath = pytest.importorskip("mpmath")
    x, y = pairs(np.random.default_rng(2), 3000, -1074, 1023)
    got = evaluate("pow", session, x, y)
    with mpmath.workdps(60):
        exact = [mpmath.power(mpmath.mpf(float(a)), mpmath.mpf(float(b))) for a, b in zip(x, y)]
        error = [distance(mpmath, e, float(r)) for e, r in zip(exact, got)]
    worst = int(np.argmax(error))
    assert error[worst] <= MOST["pow"], f"{x[worst]!r} ** {y[worst]!r} = {got[worst]!r} is off by {error[worst]:.2f} ulp"

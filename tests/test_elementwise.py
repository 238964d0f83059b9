"""Elementwise kernels: special functions against exact values and identities, choices on bits, edges of the number line."""

from __future__ import annotations

import math

import numpy as np
import pytest

import flambeau as torch
from flambeau.ops.numerics import in_double, select
from flambeau.ops.record import registry

RNG = np.random.default_rng(0)


def kernel(name):
    return registry[name].kernel


def close(name, x, expected, rtol, *args):
    with np.errstate(all="ignore"):
        got = kernel(name)(np.asarray(x), *args)
    np.testing.assert_allclose(got, expected, rtol=rtol, err_msg=name)


@pytest.mark.parametrize(("dtype", "rtol"), [(np.float64, 4e-15), (np.float32, 5e-7)])
@pytest.mark.parametrize("name", ["erf", "erfc", "lgamma"])
def test_against_the_math_module(name, dtype, rtol):
    x = np.concatenate([RNG.normal(size=500) * 3, 10 ** RNG.uniform(-30, 1.3, 300)]).astype(dtype)
    if name == "lgamma":
        x = x[x > 0]
        x = x[(abs(x - 1) > 0.05) & (abs(x - 2) > 0.05)]
        rtol *= 8  # math.lgamma's own errors, near its zeros
    if dtype is np.float32:
        x = x[x < 9]  # the results of erfc must stay normal float32 numbers
    close(name, x, [getattr(math, name)(v) for v in x.tolist()], rtol)


def test_lgamma_keeps_its_digits_at_its_zeros():
    z = 10 ** RNG.uniform(-12, -4, 100)
    euler, zeta2, zeta3 = 0.5772156649015329, math.pi**2 / 6, 1.2020569031595942
    one, two = 1 + z, 2 + z
    z1, z2 = one - 1, two - 2
    close("lgamma", one, z1 * (-euler + z1 * (zeta2 / 2 - z1 * zeta3 / 3 + z1**2 * math.pi**4 / 360)), 1e-14)
    close("lgamma", two, z2 * (1 - euler + z2 * ((zeta2 - 1) / 2 - z2 * (zeta3 - 1) / 3 + z2**2 * 0.0205808)), 1e-13)


KNOWN = [  # from the NIST Digital Library of Mathematical Functions and its tables
    ("digamma", (1.0,), -0.5772156649015329),
    ("digamma", (0.5,), -1.9635100260214235),
    ("digamma", (-0.5,), 0.03648997397857652),
    ("i0", (1.0,), 1.2660658777520084),
    ("special.i1", (1.0,), 0.5651591039924850),
    ("i0", (50.0,), 2.9325537838493363e20),
    ("special.bessel_j0", (1.0,), 0.7651976865579666),
    ("special.bessel_j1", (1.0,), 0.4400505857449335),
    ("special.bessel_j0", (30.0,), -0.0863679835810400),
    ("special.bessel_y0", (1.0,), 0.0882569642156769),
    ("special.bessel_y1", (1.0,), -0.7812128213002887),
    ("special.bessel_y1", (40.0,), -0.00579350582154963),
    ("special.modified_bessel_k0", (1.0,), 0.4210244382407083),
    ("special.modified_bessel_k1", (1.0,), 0.6019072301972346),
    ("special.modified_bessel_k0", (10.0,), 1.7780062316167652e-05),
    ("special.zeta", (2.0, 1.0), math.pi**2 / 6),
    ("special.zeta", (3.0, 1.0), 1.2020569031595942),
    ("special.erfcx", (10.0,), 0.05614099274382259),
    ("special.ndtri", (0.975,), 1.959963984540054),
    ("special.log_ndtr", (-10.0,), -53.23128515051247),
    ("igamma", (1.0, 2.0), 1 - math.exp(-2)),
    ("igammac", (3.0, 5.0), 18.5 * math.exp(-5)),
]


@pytest.mark.parametrize(("name", "args", "expected"), KNOWN)
def test_known_values(name, args, expected):
    close(name, np.array([args[0]]), [expected], 2e-13, *[np.array([a]) for a in args[1:]])


def test_identities():
    x = RNG.uniform(0.1, 24.0, 300)
    with np.errstate(all="ignore"):
        j0, j1, y0, y1, i0, i1, k0, k1 = (
            kernel("special." + n)(x)
            for n in ("bessel_j0", "bessel_j1", "bessel_y0", "bessel_y1", "modified_bessel_i0", "modified_bessel_i1",
                      "modified_bessel_k0", "modified_bessel_k1")
        )  # fmt: skip
        np.testing.assert_allclose(j1 * y0 - j0 * y1, 2 / (math.pi * x), rtol=2e-13)
        np.testing.assert_allclose(i0 * k1 + i1 * k0, 1 / x, rtol=2e-14)
        p = RNG.uniform(1e-6, 1 - 1e-6, 300)
        np.testing.assert_allclose(kernel("special.ndtr")(kernel("special.ndtri")(p)), p, rtol=1e-14)
        np.testing.assert_allclose(kernel("erf")(kernel("erfinv")(p)), p, rtol=2e-15)
        below = -RNG.uniform(0.05, 0.95, 300)  # psi'(1 - x) + psi'(x) = (pi / sin(pi x))^2, and 0! psi' = zeta(2, x)
        reflected = (math.pi / np.sin(math.pi * below)) ** 2 - kernel("special.zeta")(np.full(300, 2.0), 1 - below)
        np.testing.assert_allclose(
            torch.polygamma(1, torch.tensor(below.tolist(), dtype=torch.float64)).numpy(), reflected, rtol=1e-12
        )


def test_edges_of_special_functions():
    inf, nan = math.inf, math.nan
    edges = np.array([inf, -inf, nan, 0.0])
    for name, expected in {
        "erf": [1, -1, nan, 0], "erfc": [0, 2, nan, 1], "erfinv": [nan, nan, nan, 0], "special.erfcx": [0, inf, nan, 1],
        "lgamma": [inf, inf, nan, inf], "digamma": [inf, nan, nan, -inf], "i0": [nan, nan, nan, 1], "special.i1e": [0, 0, nan, 0],
        "special.ndtr": [1, 0, nan, 0.5], "special.ndtri": [nan, nan, nan, -inf], "special.log_ndtr": [0, -inf, nan, math.log(0.5)],
    }.items():  # fmt: skip
        close(name, edges, expected, 1e-15)
    close("erfinv", [1.0, -1.0, 1.5], [inf, -inf, nan], 0)
    close("lgamma", [-1.0, -7.0], [inf, inf], 0)
    close("digamma", [-1.0, -0.0], [nan, inf], 0)


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "c8", "c16", "?", "u1"])
def test_select_is_where(dtype):
    condition = RNG.random((3, 4)) < 0.5
    x, y = (RNG.integers(0, 5, (3, 4)).astype(dtype) for _ in range(2))
    for a, b in ((x, y), (x.T[:, :3], y.T[:, :3]), (x[0], y), (x, 0), (0, y), (x, x[0, 0])):
        c = condition if getattr(a, "shape", (3, 4)) != (4, 3) else condition.T
        result = select(c, a, b)
        np.testing.assert_array_equal(result, np.where(c, a, b))
        assert result.dtype == np.where(c, a, b).dtype
    assert select(np.array(True), np.float32(2.0), 0) == 2


def test_select_passes_what_it_does_not_choose():
    bad = np.array([np.nan, np.inf, -0.0], np.float32)
    np.testing.assert_array_equal(select(np.array([False] * 3), bad, 0), [0, 0, 0])
    assert np.signbit(select(np.array([True] * 3), bad, 0))[2]


def test_numbers_are_rounded_to_float32_before_float64_is_used():
    seen = []
    in_double(lambda x, y: seen.append((x.dtype, y)) or x)(np.zeros(1, np.float32), 2.7)
    in_double(lambda x, y: seen.append((x.dtype, y)) or x)(np.zeros(1), 2.7)
    assert seen == [(np.float64, float(np.float32(2.7))), (np.float64, 2.7)]


def test_negative_zero_stays():
    zero = torch.tensor([-0.0] * 20)
    F = torch.nn.functional
    for f in (
        torch.relu,
        F.relu6,
        F.elu,
        F.leaky_relu,
        lambda t: t.clamp(0, 1),
        lambda t: t.clamp(max=0),
        lambda t: t % 2,
    ):
        assert np.signbit(f(zero).numpy()).all()


def test_integers_by_zero():
    for f in (torch.floor_divide, torch.remainder, torch.fmod, lambda a, b: torch.div(a, b, rounding_mode="trunc")):
        with pytest.raises(RuntimeError, match="ZeroDivisionError"):
            f(torch.tensor([1]), 0).tolist()
        assert not math.isfinite(f(torch.tensor([1.0]), 0.0).item())


@pytest.mark.parametrize("pending", [False, True])
@pytest.mark.parametrize(
    "f", [torch.floor_divide, torch.remainder, torch.fmod, lambda a, b: torch.div(a, b, rounding_mode="trunc")]
)
def test_integers_by_zero_after_many_by_others(f, pending):
    """Calls that repeat are not looked at in full, but their divisors are."""
    a = torch.tensor([7, -7])

    def by(n):
        return f(a, torch.tensor([1, n]) * 1 if pending else n).tolist()

    by_three = by(3)
    assert all(by(3) == by_three for _ in range(6))
    with pytest.raises(RuntimeError, match="ZeroDivisionError"):
        by(0)
    assert by(3) == by_three
    assert f(a, 2.0).dtype == torch.float32


def test_integer_powers():
    base = torch.tensor([2, 1, -1, 3])
    assert (base ** torch.tensor([-1, -2, -3, 2])).tolist() == [0, 1, -1, 9]
    assert (2 ** torch.tensor([0, 3])).tolist() == [1, 8]
    assert torch.tensor([True, False]).pow(2).dtype == torch.int64


def test_gradients_at_bends():
    x = torch.tensor([-1.0, 0.0, 1.0], requires_grad=True)
    F = torch.nn.functional
    for f, expected in (
        (torch.relu, [0, 0, 1]), (torch.abs, [-1, 0, 1]), (lambda t: t.clamp(0, 1), [0, 1, 1]), (F.relu6, [0, 0, 1]),
        (lambda t: F.hardtanh(t), [0, 1, 0]), (lambda t: torch.maximum(t, t.detach()), [0.5, 0.5, 0.5]),
        (lambda t: F.threshold(t, 0, 5), [0, 0, 1]), (lambda t: t.pow(0), [0, 0, 0]),
    ):  # fmt: skip
        (g,) = torch.autograd.grad(f(x).sum(), x)
        assert g.tolist() == expected

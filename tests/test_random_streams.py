"""The random streams: values stored from PyTorch 2.13, the state, and what the samples should be like."""

import copy
import pickle
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from flambeau.core import random
from flambeau.core.random import Generator
from flambeau.core.random.boxmuller import fma
from flambeau.core.random.distributions import _shuffle, _shuffle_inside_out


def f32(*values):
    return np.array(values, np.float32)


def state_of(g):
    return np.asarray(g.get_state())


def test_values_of_a_long_sequence():
    """One stream, through every kind of draw: ``torch.manual_seed(42)`` and the calls of the same name."""
    g = Generator().manual_seed(42)
    close = np.testing.assert_allclose  # the values are stored with eleven digits
    close(random.uniform(g, 4), f32(0.8822692633, 0.9150039554, 0.3828637600, 0.9593056440), 1e-7)
    close(random.normal(g, 3), f32(0.2344623655, 0.2303330302, -1.1228563786), 1e-7)
    normals = random.normal(g, 20)
    close(normals[:3], f32(-0.2482575029, -1.2082147598, -0.4776674509), 1e-7)
    close(normals[-3:], f32(2.1227850914, -1.2346531153, -0.4879138768), 1e-7)
    assert random.integers(g, 8, 0, 10).tolist() == [3, 7, 0, 9, 0, 9, 6, 9]
    assert random.integers(g, 2, 0, 2**40).tolist() == [272587671032, 562039164388]
    assert random.permutation(g, 8).tolist() == [2, 1, 4, 3, 6, 7, 5, 0]
    assert random.bernoulli(g, 10, 0.3).tolist() == [0, 0, 0, 0, 0, 0, 0, 1, 0, 1]
    p = f32(0.1, 0.2, 0.3, 0.4)
    assert random.multinomial(g, p, 3).tolist() == [1, 3, 2]
    assert random.multinomial(g, p, 6, replacement=True).tolist() == [3, 3, 1, 3, 0, 1]
    close(random.exponential(g, 2), f32(1.5962736607, 0.6033945680), 1e-7)
    assert random.poisson(g, f32(0.5, 4, 40, 400)).tolist() == [1, 6, 34, 417]
    close(random.uniform(g, 2, dtype=np.float64), [0.0233578619, 0.1262248861], 1e-8)
    close(random.gamma(g, f32(0.5, 2)), f32(0.0780364051, 2.1902000904), 1e-7)
    assert random.binomial(g, f32(10, 100), f32(0.5, 0.3)).tolist() == [2, 29]
    state = state_of(g)
    assert state[:16].tolist() == [42, 0, 0, 0, 0, 0, 0, 0, 208, 1, 0, 0, 1, 0, 0, 0] and int(state.sum()) == 320769
    assert random.integers(g, 1, 0, 2**62).tolist() == [1845385993357653831]


# --- the state ---------------------------------------------------------------------------------------------------


def test_seeding():
    g = Generator()
    assert g.initial_seed() == 67280421310721 and str(g.device) == "cpu"
    assert g.manual_seed(-1) is g and g.initial_seed() == 2**64 - 1
    first = random.uniform(g.manual_seed(5), 4)
    random.normal(g, 1)  # leaves a cached sample, which seeding forgets
    np.testing.assert_array_equal(random.uniform(g.manual_seed(5), 4), first)
    np.testing.assert_array_equal(random.normal(g.manual_seed(5), 3), random.normal(Generator().manual_seed(5), 3))
    assert g.seed() == g.initial_seed() != g.seed()
    assert random.uniform(Generator().manual_seed(2**32 + 5), 1) == first[0]  # the twister takes 32 bits of the seed


def test_seeding_errors():
    for seed in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match="Overflow when unpacking"):
            Generator().manual_seed(seed)
    with pytest.raises(RuntimeError, match="manual_seed expected a long, but got float"):
        Generator().manual_seed(1.0)
    with pytest.raises(RuntimeError, match="cuda"):
        Generator("cuda")


def test_default_generator_differs_between_processes():
    code = "from flambeau.core.random import default_generator as g; print(g.initial_seed())"
    seeds = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(2)}
    assert len(seeds) == 2


@pytest.mark.parametrize("used", [0, 1, 623, 624, 625, 5000])
def test_state_round_trip(used):
    g = Generator().manual_seed(3)
    g.raw32(used)
    random.normal(g, used % 2)
    state = state_of(g)
    assert state.dtype == np.uint8 and state.shape == (5056,)
    ahead = random.normal(g, 5), random.uniform(g, 700)
    other = Generator()
    other.set_state(state)
    np.testing.assert_array_equal(state_of(other), state)
    for g in (other, copy.deepcopy(other), pickle.loads(pickle.dumps(other)), other.clone_state()):
        assert g.initial_seed() == 3
    again = random.normal(g, 5), random.uniform(g, 700)
    np.testing.assert_array_equal(np.concatenate(again), np.concatenate(ahead))
    np.testing.assert_array_equal(state_of(other), state)  # copies do not move the original


def test_state_errors():
    g = Generator()
    with pytest.raises(RuntimeError, match="size 5056 but found the input RNG state size to be 3"):
        g.set_state(np.zeros(3, np.uint8))
    with pytest.raises(TypeError, match="RNG state must be a torch.ByteTensor"):
        g.set_state(np.zeros(5056, np.int8))
    with pytest.raises(RuntimeError, match="Invalid mt19937 state"):
        g.set_state(np.zeros(5056, np.uint8))


def test_empty_draws_consume_nothing():
    g = Generator().manual_seed(1)
    random.normal(g, 1)
    before = state_of(g)
    for n in (0, (3, 0)):
        for draw in (
            random.uniform,
            random.normal,
            random.integers,
            random.random,
            random.exponential,
            random.log_normal,
        ):
            assert draw(g, n).size == 0
        random.bernoulli(g, n, 0.5)
    random.permutation(g, 0)
    random.permutation(g, 1)
    np.testing.assert_array_equal(state_of(g), before)


# --- kernels -----------------------------------------------------------------------------------------------------


def test_small_normals_use_the_cached_sample():
    """Fewer than 16: three and three are the six; 16 or more ignore the cached sample."""
    g = Generator().manual_seed(7)
    six = random.normal(Generator().manual_seed(7), 6)
    np.testing.assert_array_equal(np.concatenate([random.normal(g, 3), random.normal(g, 3)]), six)
    random.normal(g, 1)
    cached = g.next_normal
    random.normal(g, 16)
    assert g.next_normal == cached
    np.testing.assert_array_equal(random.normal(g, 1), f32(cached))


@pytest.mark.parametrize("dtype, words", [("float32", 16 + 1 + 16), ("float64", 2 * 33), ("float16", 32), (ml_dtypes.bfloat16, 32)])
def test_words_of_17_normals(dtype, words):
    g, other = Generator(), Generator()
    random.normal(g, 17, dtype=dtype)
    other.raw32(words)
    assert g.raw32(1) == other.raw32(1)


def test_complex_normals_share_the_variance():
    z = random.normal(Generator().manual_seed(0), 50_000, 0, 2, np.complex64)
    assert abs(z.real.var() - 2) < 0.05 and abs(z.imag.var() - 2) < 0.05 and abs((z.real * z.imag).mean()) < 0.05


def test_uniform_stays_below_the_upper_end():
    for dtype in (np.float16, ml_dtypes.bfloat16, np.float32):
        for low, high in [(0, 1), (1, 1.01), (0, 0.1), (-3, 5)]:
            values = random.uniform(Generator(), 50_000, low, high, dtype)
            assert values.dtype == dtype and values.min() >= np.dtype(dtype).type(low) and values.max() < np.dtype(dtype).type(high)


@pytest.mark.parametrize("low, high, words", [(0, 2**28 - 1, 1), (0, 2**28, 2), (-(2**63), 2**63 - 1, 2), (-(2**63), None, 2)])
def test_words_of_an_integer(low, high, words):
    g, other = Generator(), Generator()
    values = random.integers(g, 100, low, high)
    other.raw32(100 * words)
    assert g.raw32(1) == other.raw32(1)
    assert (values >= low).all() and (high is None or (values < high).all())


def swapped(partners):
    order = list(range(len(partners)))
    for i, j in enumerate(partners):
        order[i], order[j] = order[j], order[i]
    return order


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, 50, 1000])
def test_shuffles_against_the_loop(n):
    g = np.random.default_rng(n)
    for _ in range(10):
        i = np.arange(n)
        later, earlier = i + g.integers(0, 2**32, n) % (n - i), g.integers(0, 2**32, n) % (i + 1)
        assert _shuffle(later).tolist() == swapped(later)
        assert _shuffle_inside_out(earlier).tolist() == swapped(earlier)


def test_rejection_samplers_give_back_what_they_do_not_use():
    g, other = Generator(), Generator()
    for _ in range(5):
        random.poisson(g, np.array([3.0]))
    random.poisson(other, np.full(5, 3.0))
    np.testing.assert_array_equal(state_of(g), state_of(other))


@pytest.mark.parametrize("by_columns", [False, True])
def test_multinomial_without_replacement_repeats_nothing(by_columns):
    p = np.random.default_rng(0).random((6, 9), np.float32)
    p = np.asfortranarray(p) if by_columns else p
    for row in random.multinomial(Generator(), p, 9):
        assert sorted(row) == list(range(9))


def test_multinomial_never_draws_the_impossible():
    p = np.array([[0, 1, 0, 1], [1, 0, 0, 0]], np.float64)
    drawn = random.multinomial(Generator(), p, 500, replacement=True)
    assert set(drawn[0]) == {1, 3} and set(drawn[1]) == {0}
    assert set(random.multinomial(Generator(), p[0], 2)) == {1, 3}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fused_multiply_add_rounds_once(dtype):
    eps = np.finfo(dtype).eps
    a = np.array([1 + eps, 1 - eps, 3], dtype)
    np.testing.assert_array_equal(fma(a, a, -(a * a)), np.array([eps**2, eps**2, 0], dtype))
    large = fma(np.array([1e30], dtype), dtype(1e30), dtype(0))
    np.testing.assert_array_equal(large, np.inf if dtype is np.float32 else 1e30 * 1e30)


def test_fused_multiply_add_where_float64_lies_half_way():
    """A product half-way between two float32 numbers and something far below it, which decides."""
    a, b = f32(1 + 2**-12, -1 - 2**-12), f32(1 + 2**-12, 1 + 2**-12)  # 1 + 2**-11 + 2**-24 in size
    below, above = f32(1 + 2**-11, 1 + 2**-11 + 2**-23)
    np.testing.assert_array_equal(fma(a, b, np.float32(0)), [below, -below])
    np.testing.assert_array_equal(fma(a, b, np.float32(2**-70)), [above, -below])
    np.testing.assert_array_equal(fma(a, b, f32(-(2**-70), -(2**-70))), [below, -above])


# --- what the samples are like -----------------------------------------------------------------------------------

MOMENTS = [
    (lambda g, n: random.uniform(g, n, -1, 3), 1, 16 / 12),
    (lambda g, n: random.uniform(g, n, dtype=np.float64), 0.5, 1 / 12),
    (lambda g, n: random.normal(g, n, 2, 3), 2, 9),
    (lambda g, n: random.normal(g, n, 2, 3, contiguous=False), 2, 9),
    (lambda g, n: random.normal(g, n, dtype=ml_dtypes.bfloat16).astype(float), 0, 1),
    (lambda g, n: random.normal(g, n, np.full(n, 2.0), np.full(n, 3.0)), 2, 9),
    (lambda g, n: random.integers(g, n, -5, 6), 0, 10),
    (lambda g, n: random.bernoulli(g, n, 0.3), 0.3, 0.21),
    (lambda g, n: random.bernoulli(g, n, np.full(n, 0.3, np.float32)), 0.3, 0.21),
    (lambda g, n: random.exponential(g, n, 0.5), 2, 4),
    (lambda g, n: random.geometric(g, n, 0.25), 4, 12),
    (lambda g, n: np.log(random.log_normal(g, n, 1, 0.5)), 1, 0.25),
    (lambda g, n: np.arctan(random.cauchy(g, n)), 0, np.pi**2 / 12),
    (lambda g, n: random.poisson(g, np.full(n, 4.0)), 4, 4),
    (lambda g, n: random.poisson(g, np.full(n, 25.0)), 25, 25),
    (lambda g, n: random.gamma(g, np.full(n, 0.5)), 0.5, 0.5),
    (lambda g, n: random.gamma(g, np.full(n, 7.0)), 7, 7),
    (lambda g, n: random.binomial(g, np.full(n, 10.0), np.full(n, 0.3)), 3, 2.1),
    (lambda g, n: random.binomial(g, np.full(n, 90.0), np.full(n, 0.6)), 54, 21.6),
    (lambda g, n: random.dirichlet(g, np.full((n, 4), 1.0))[:, 0], 1 / 4, 3 / 80),
]


@pytest.mark.parametrize("draw, mean, variance", MOMENTS)
def test_moments(draw, mean, variance):
    n = 40_000
    samples = draw(Generator().manual_seed(11), n).astype(np.float64)
    assert abs(samples.mean() - mean) < 5 * np.sqrt(variance / n)
    assert abs(samples.var() / variance - 1) < 0.08  # fourth moments are at most 9 variances squared: 5 standard errors


def test_dirichlet_sums_to_one():
    samples = random.dirichlet(Generator(), np.full((50, 3), 0.3, np.float32))
    np.testing.assert_allclose(samples.sum(-1), 1, rtol=1e-6)


@pytest.mark.parametrize(
    "call, error, message",
    [
        (lambda g: random.uniform(g, 2, 2, 1), RuntimeError, "uniform_ expects to return a"),
        (lambda g: random.uniform(g, 2, 0, 1e6, np.float16), RuntimeError, "to is out of bounds for"),
        (lambda g: random.uniform(g, 2, dtype=np.int32), NotImplementedError, "not implemented for 'Int'"),
        (lambda g: random.normal(g, 2, 0, -1), RuntimeError, "normal expects std >= 0.0, but found std -1"),
        (lambda g: random.integers(g, 2, 5, 5), RuntimeError, "'from' to be less than 'to', but got from=5 >= to=5"),
        (lambda g: random.integers(g, 2, 0, 300, np.uint8), RuntimeError, "to - 1 is out of bounds for"),
        (lambda g: random.permutation(g, -1), RuntimeError, "negative dimension -1"),
        (lambda g: random.bernoulli(g, 2, 1.5), RuntimeError, "bernoulli_ expects p to be in"),
        (lambda g: random.bernoulli(g, 1, np.array([np.nan])), RuntimeError, "Expected p_in >= 0"),
        (lambda g: random.exponential(g, 2, 0), RuntimeError, "exponential_ expects lambda > 0.0"),
        (lambda g: random.geometric(g, 2, 1), RuntimeError, "geometric_ expects p to be in"),
        (lambda g: random.cauchy(g, 2, 0, 0), RuntimeError, "cauchy_ expects sigma > 0.0"),
        (lambda g: random.log_normal(g, 2, 0, 0), RuntimeError, "log_normal_ expects std > 0.0"),
        (lambda g: random.multinomial(g, np.ones(2), 3), RuntimeError, "without replacement"),
        (lambda g: random.multinomial(g, np.zeros(2), 1), RuntimeError, "sum of probabilities <= 0"),
        (lambda g: random.poisson(g, np.array([-1.0])), RuntimeError, "invalid Poisson rate"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call(Generator())


def test_16_bit_ranges_beyond_the_digits_warn():
    with pytest.warns(UserWarning, match="to - 1 is out of bounds"):
        random.integers(Generator(), 2, 0, 5000, np.float16)

"""The random streams against PyTorch: the same seed and the same calls give the same numbers and end in the same state."""

import pickle
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from flambeau.core import random as ours  # noqa: E402
from flambeau.core.random.boxmuller import fma  # noqa: E402

REAL = ["float32", "float64", "float16", "bfloat16"]
COMPLEX = ["complex64", "complex128"]
INTEGERS = ["uint8", "int8", "int16", "int32", "int64"]
SIZES = [0, 1, 2, 3, 15, 16, 17, 31, 32, 40, 1000, (3, 5), (4, 9), (2, 3, 16)]


def np_dtype(name):
    return np.dtype(ml_dtypes.bfloat16) if name == "bfloat16" else np.dtype(name)


def to_numpy(t):
    return t.view(torch.int16).numpy().view(ml_dtypes.bfloat16) if t.dtype == torch.bfloat16 else t.numpy()


def empty(size, dtype):
    return torch.empty(size, dtype=getattr(torch, dtype))


def assert_same(got, expected, ulps=0):
    expected = to_numpy(expected)
    assert got.dtype == expected.dtype and got.shape == expected.shape
    if ulps == 0:
        np.testing.assert_array_equal(got, expected)
    else:
        np.testing.assert_array_max_ulp(got.view(got.real.dtype), expected.view(got.real.dtype), ulps)


@pytest.fixture(params=[0, 1, 20260101, 2**40 + 7])
def pair(request):
    """Two generators at the same place, ours and PyTorch's; afterwards they must still be at the same place."""
    mine, theirs = ours.Generator().manual_seed(request.param), torch.Generator().manual_seed(request.param)
    yield mine, theirs
    assert_in_step(mine, theirs)


def assert_in_step(mine, theirs):
    a, b = np.asarray(mine.get_state()), theirs.get_state().numpy()
    np.testing.assert_array_equal(a[:5024], b[:5024])
    np.testing.assert_array_equal(a[5040:], b[5040:])
    # The cached normal sample is a product of a logarithm and a sine in float64: see test_double_precision.
    np.testing.assert_array_max_ulp(a[5024:5032].view(np.float64), b[5024:5032].view(np.float64), 3)


# NumPy's float64 log, log1p, sin and cos may each be an ulp off the C library's, which PyTorch calls; a normal sample is a
# product of two of them. Rounded to 32 bits or fewer the difference is gone but for one sample in 10**8.
ULPS = {"float64": 3, "complex128": 3}


@pytest.mark.parametrize("dtype", REAL + COMPLEX)
@pytest.mark.parametrize("size", SIZES)
def test_uniform(pair, size, dtype):
    mine, theirs = pair
    for low, high in [(0, 1), (0, 0.1), (-0.3, 0.8), (5, 5), (-1e4, 1e4), (1, 1.01)]:
        assert_same(
            ours.uniform(mine, size, low, high, np_dtype(dtype)),
            empty(size, dtype).uniform_(low, high, generator=theirs),
        )


@pytest.mark.parametrize("dtype", REAL + COMPLEX)
@pytest.mark.parametrize("size", SIZES)
def test_normal(pair, size, dtype):
    mine, theirs = pair
    for mean, std in [(0, 1), (0, 0.02), (1, 1), (-0.3, 1.7), (2, 0)]:
        got = ours.normal(mine, size, mean, std, np_dtype(dtype))
        # A sample that nearly cancels against the mean keeps the absolute error of the larger number.
        expected = empty(size, dtype).normal_(mean, std, generator=theirs)
        if dtype in ULPS and mean != 0:
            np.testing.assert_allclose(got, expected.numpy(), rtol=0, atol=2e-15)
        else:
            assert_same(got, expected, ULPS.get(dtype, 0))


@pytest.mark.parametrize("dtype", REAL)
def test_normal_not_contiguous(pair, dtype):
    mine, theirs = pair
    for n in (1, 40, 41):
        expected = empty((n, 2), dtype)[:, 0].normal_(0, 1.5, generator=theirs)
        assert_same(ours.normal(mine, n, 0, 1.5, np_dtype(dtype), contiguous=n == 1), expected.clone(), ULPS.get(dtype, 0))


def test_normal_with_tensors(pair):
    mine, theirs = pair
    mean, std = torch.arange(20.0), torch.arange(20.0) / 7
    assert_same(ours.normal(mine, 20, mean.numpy(), std.numpy()), torch.normal(mean, std, generator=theirs))
    assert_same(ours.normal(mine, 20, 1.5, std.numpy()), torch.normal(1.5, std, generator=theirs))
    assert_same(ours.normal(mine, 20, mean.numpy(), 0.3), torch.normal(mean, 0.3, generator=theirs))


def test_double_precision():
    """How far float64 normals are off: rarely at all, and never by more than three units in the last place."""
    mine, theirs = ours.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    got = ours.normal(mine, 200_000, dtype=np.float64)
    expected = torch.randn(200_000, generator=theirs, dtype=torch.float64).numpy()
    off = np.abs(got - expected) / np.spacing(np.abs(expected))
    assert off.max() <= 3 and (off > 0).mean() < 0.02


@pytest.mark.parametrize("dtype", REAL + INTEGERS + ["bool"])
def test_random(pair, dtype):
    mine, theirs = pair
    for size in (1, (3, 7)):
        assert_same(ours.random(mine, size, np_dtype(dtype)), empty(size, dtype).random_(generator=theirs))


RANGES = [
    (0, 1), (0, 2), (-5, 5), (0, 127), (3, 100), (0, 2**28 - 1), (0, 2**28), (-(2**30), 2**30), (0, 2**31 - 1),
    (0, 2**32), (-(2**31), 2**31), (5, 2**40), (-(2**62), 2**62), (-(2**63), 2**63 - 1), (-(2**63), None), (0, None), (-7, None),
    (60, None), (2**24 + 1, 2**24 + 9), (2**25 + 1, 2**26 + 3), (-2049, 2049), (0, 65504), (250, 260), (-(2**53) - 1, 2**53 + 1),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*out of bounds")
@pytest.mark.parametrize("dtype", REAL + INTEGERS + ["bool", "uint16", "uint32", "uint64"])
@pytest.mark.parametrize("low, high", RANGES)
def test_integers(pair, low, high, dtype):
    mine, theirs = pair
    size = (3, 5)
    try:
        expected = empty(size, dtype).random_(low, high, generator=theirs)
    except Exception as error:
        with pytest.raises(type(error)) as caught:
            ours.integers(mine, size, low, high, np_dtype(dtype))
        # "out of bounds for c10::Half" is ours "out of bounds for float16"
        assert str(caught.value).startswith(str(error).split(" is out of bounds for ")[0])
    else:
        assert_same(ours.integers(mine, size, low, high, np_dtype(dtype)), expected)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 100, 2049, 30_000])
@pytest.mark.parametrize("dtype", ["int64", "int32", "float32", "float64"])
def test_permutation(pair, n, dtype):
    mine, theirs = pair
    assert_same(ours.permutation(mine, n, np_dtype(dtype)), torch.randperm(n, generator=theirs, dtype=getattr(torch, dtype)))


@pytest.mark.parametrize("dtype", REAL + INTEGERS + ["bool"])
def test_bernoulli(pair, dtype):
    mine, theirs = pair
    for p in (0, 0.1, 0.5, 1):
        assert_same(ours.bernoulli(mine, (5, 8), p, np_dtype(dtype)), empty((5, 8), dtype).bernoulli_(p, generator=theirs))
    for kind in REAL:
        p = torch.linspace(0, 1, 8, dtype=getattr(torch, kind))
        expected = empty((5, 8), dtype).bernoulli_(p, generator=theirs)
        assert_same(ours.bernoulli(mine, (5, 8), to_numpy(p), np_dtype(dtype)), expected)


def test_dropout():
    x = torch.ones(7, 11)
    torch.manual_seed(5)
    mask = torch.nn.functional.dropout(x, 0.3) != 0
    np.testing.assert_array_equal(ours.bernoulli(ours.Generator().manual_seed(5), (7, 11), 1 - 0.3, bool), mask.numpy())


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("size", [1, 9, 1000])
@pytest.mark.parametrize(
    "draw, method, parameters",
    [
        (ours.exponential, "exponential_", [(1.0,), (0.3,), (float("inf"),)]),
        (ours.geometric, "geometric_", [(0.1,), (0.5,), (0.99,)]),
        (ours.cauchy, "cauchy_", [(0.0, 1.0), (3.0, 0.2)]),
        (ours.log_normal, "log_normal_", [(0.0, 1.0), (1.0, 2.0)]),
    ],
)
def test_continuous(pair, draw, method, parameters, size, dtype):
    mine, theirs = pair
    for values in parameters:
        expected = getattr(empty(size, dtype), method)(*values, generator=theirs)
        got = draw(mine, size, *values, np_dtype(dtype))
        if dtype == "float64" and method in (
            "log_normal_",
            "cauchy_",
        ):  # an error before exp, or before adding the median
            np.testing.assert_allclose(got, expected.numpy(), rtol=5e-15)
        else:
            assert_same(got, expected, 2 if method == "exponential_" and dtype == "float64" else 0)


def test_geometric_of_integers(pair):
    mine, theirs = pair
    for dtype in INTEGERS:
        assert_same(ours.geometric(mine, 50, 0.3, np_dtype(dtype)), empty(50, dtype).geometric_(0.3, generator=theirs))


@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize("shape", [(6,), (4, 6), (0, 6), (3, 1)])
@pytest.mark.parametrize("replacement", [False, True])
def test_multinomial(pair, shape, replacement, dtype):
    mine, theirs = pair
    p = torch.rand(shape, generator=torch.Generator().manual_seed(9)).to(getattr(torch, dtype))
    for n in (1, 4, 6, 20):
        # Without replacement several samples are sorted by 16-bit keys, of which some are equal: their order is arbitrary.
        if replacement or n == 1 or (n <= shape[-1] and p.itemsize > 2):
            assert_same(
                ours.multinomial(mine, to_numpy(p), n, replacement),
                torch.multinomial(p, n, replacement, generator=theirs),
            )


def test_multinomial_of_transposed(pair):
    mine, theirs = pair
    p = torch.rand(5, 7, generator=torch.Generator().manual_seed(9)).t()
    for n, replacement in [(1, False), (4, False), (9, True)]:
        assert_same(ours.multinomial(mine, p.numpy(), n, replacement), torch.multinomial(p, n, replacement, generator=theirs))


@pytest.mark.parametrize("dtype", REAL)
def test_poisson(pair, dtype):
    mine, theirs = pair
    rate = torch.tensor([[0, 0.1, 1, 5, 9.9, 10], [11, 30, 100, 1000, 3e4, 0]], dtype=getattr(torch, dtype)).repeat(20, 1)
    assert_same(ours.poisson(mine, to_numpy(rate)), torch.poisson(rate, generator=theirs))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gamma_and_dirichlet(pair, dtype):
    mine, theirs = pair
    alpha = torch.tensor([0, 1e-3, 0.1, 0.9, 1, 1.5, 10, 1e4], dtype=getattr(torch, dtype)).repeat(40, 1)
    ulps = 0 if dtype == "float32" else 8  # a normal sample is up to 3 ulps off and enters by its cube
    assert_same(ours.gamma(mine, to_numpy(alpha)), torch._standard_gamma(alpha, generator=theirs), ulps)
    alpha = alpha[:, 2:7].contiguous()
    assert_same(ours.dirichlet(mine, to_numpy(alpha)), torch._sample_dirichlet(alpha, generator=theirs), max(ulps, 1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_binomial(pair, dtype):
    mine, theirs = pair
    count = torch.tensor([0, 1, 5, 20, 40, 200, 256], dtype=getattr(torch, dtype)).repeat(40, 1)
    prob = torch.tensor([0, 0.01, 0.3, 0.5, 0.7, 0.99, 1], dtype=getattr(torch, dtype))[:, None].expand(7, 7).repeat(6, 1)[:40]
    assert_same(ours.binomial(mine, to_numpy(count), to_numpy(prob)), torch.binomial(count, prob, generator=theirs))


# --- sequences and states ----------------------------------------------------------------------------------------

CALLS = [
    (lambda g, n: ours.uniform(g, n), lambda g, n: torch.rand(n, generator=g)),
    (lambda g, n: ours.uniform(g, n, dtype=np.float64), lambda g, n: torch.rand(n, generator=g, dtype=torch.float64)),
    (lambda g, n: ours.normal(g, n), lambda g, n: torch.randn(n, generator=g)),
    (
        lambda g, n: ours.normal(g, n, dtype=np_dtype("bfloat16")),
        lambda g, n: torch.randn(n, generator=g, dtype=torch.bfloat16),
    ),
    (lambda g, n: ours.integers(g, n, 0, 10), lambda g, n: torch.randint(10, (n,), generator=g)),
    (lambda g, n: ours.integers(g, n, 0, 2**40), lambda g, n: torch.randint(2**40, (n,), generator=g)),
    (lambda g, n: ours.permutation(g, n), lambda g, n: torch.randperm(n, generator=g)),
    (lambda g, n: ours.bernoulli(g, n, 0.4), lambda g, n: torch.empty(n).bernoulli_(0.4, generator=g)),
    (lambda g, n: ours.exponential(g, n), lambda g, n: torch.empty(n).exponential_(generator=g)),
    (lambda g, n: ours.log_normal(g, n), lambda g, n: torch.empty(n).log_normal_(generator=g)),
    (
        lambda g, n: ours.poisson(g, np.full(n, 12.5, np.float32)),
        lambda g, n: torch.poisson(torch.full((n,), 12.5), generator=g),
    ),
    (
        lambda g, n: ours.gamma(g, np.full(n, 0.7, np.float32)),
        lambda g, n: torch._standard_gamma(torch.full((n,), 0.7), generator=g),
    ),
]


@pytest.mark.parametrize("seed", range(25))
def test_sequences(seed):
    choice = np.random.default_rng(seed)
    mine, theirs = ours.Generator().manual_seed(seed - 12), torch.Generator().manual_seed(seed - 12)
    for _ in range(40):
        draw, expected = CALLS[choice.integers(len(CALLS))]
        n = int(choice.integers(0, [4, 20, 700][choice.integers(3)]))
        assert_same(draw(mine, n), expected(theirs, n))
        if choice.integers(8) == 0:
            state = theirs.get_state()
            assert_in_step(mine, theirs)
            mine, theirs = ours.Generator(), torch.Generator()
            mine.set_state(state.numpy())
            theirs.set_state(torch.from_numpy(np.asarray(mine.get_state())))
    assert_in_step(mine, theirs)


def test_state_of_a_new_generator():
    assert_in_step(ours.Generator(), torch.Generator())
    assert ours.Generator().initial_seed() == torch.Generator().initial_seed()


@pytest.mark.parametrize("seed", [-1, -(2**63), 2**64 - 1, 2**32, True, np.int64(5)])
def test_seeds(seed):
    mine, theirs = ours.Generator().manual_seed(seed), torch.Generator().manual_seed(int(seed))
    assert mine.initial_seed() == theirs.initial_seed()
    assert_same(ours.uniform(mine, 5), torch.rand(5, generator=theirs))


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1, 1.5, "7", None])
def test_bad_seeds(seed):
    with pytest.raises(Exception) as theirs:
        torch.Generator().manual_seed(seed)
    with pytest.raises(type(theirs.value)) as mine:
        ours.Generator().manual_seed(seed)
    assert str(mine.value).startswith(str(theirs.value))


@pytest.mark.parametrize("bad", [np.zeros(10, np.uint8), np.zeros(5056, np.float32), np.zeros(5056, np.uint8)])
def test_bad_states(bad):
    with pytest.raises(Exception) as theirs:
        torch.Generator().set_state(torch.from_numpy(bad))
    with pytest.raises(type(theirs.value)) as mine:
        ours.Generator().set_state(bad)
    assert str(mine.value).startswith(str(theirs.value))


def test_pickle():
    g = ours.Generator().manual_seed(8)
    ours.normal(g, 3)
    copy = pickle.loads(pickle.dumps(g))
    theirs = torch.Generator().manual_seed(8)
    torch.randn(3, generator=theirs)
    assert_same(ours.normal(copy, 4), torch.randn(4, generator=theirs))


@pytest.mark.parametrize(
    "call, expected",
    [
        (lambda g: ours.uniform(g, 3, 2, 1), lambda: torch.empty(3).uniform_(2, 1)),
        (lambda g: ours.uniform(g, 3, -3e38, 3e38), lambda: torch.empty(3).uniform_(-3e38, 3e38)),
        (lambda g: ours.uniform(g, 3, dtype=np.int64), lambda: empty(3, "int64").uniform_()),
        (lambda g: ours.normal(g, 3, 0, -1), lambda: torch.empty(3).normal_(0, -1)),
        (lambda g: ours.normal(g, 3, dtype=np.int64), lambda: empty(3, "int64").normal_()),
        (lambda g: ours.normal(g, 2, 0, np.array([1, -1])), lambda: torch.normal(0, torch.tensor([1.0, -1]))),
        (lambda g: ours.integers(g, 3, 5, 5), lambda: torch.randint(5, 5, (3,))),
        (lambda g: ours.integers(g, 3, 0, 5, np.complex64), lambda: empty(3, "complex64").random_(0, 5)),
        (lambda g: ours.random(g, 3, np.uint16), lambda: empty(3, "uint16").random_()),
        (lambda g: ours.permutation(g, -1), lambda: torch.randperm(-1)),
        (lambda g: ours.permutation(g, 300, np.uint8), lambda: torch.randperm(300, dtype=torch.uint8)),
        (lambda g: ours.permutation(g, 3000, np.float16), lambda: torch.randperm(3000, dtype=torch.float16)),
        (lambda g: ours.permutation(g, 3, bool), lambda: torch.randperm(3, dtype=torch.bool)),
        (lambda g: ours.bernoulli(g, 3, 1.5), lambda: torch.empty(3).bernoulli_(1.5)),
        (lambda g: ours.bernoulli(g, 1, np.array([1.5])), lambda: torch.bernoulli(torch.tensor([1.5]))),
        (lambda g: ours.bernoulli(g, 1, np.array([1])), lambda: torch.bernoulli(torch.tensor([1]))),
        (lambda g: ours.exponential(g, 3, 0), lambda: torch.empty(3).exponential_(0)),
        (lambda g: ours.exponential(g, 3, dtype=np.int32), lambda: empty(3, "int32").exponential_()),
        (lambda g: ours.geometric(g, 3, 1), lambda: torch.empty(3).geometric_(1)),
        (lambda g: ours.geometric(g, 3, 0.5, bool), lambda: empty(3, "bool").geometric_(0.5)),
        (lambda g: ours.cauchy(g, 3, 0, 0), lambda: torch.empty(3).cauchy_(0, 0)),
        (lambda g: ours.log_normal(g, 3, 0, 0), lambda: torch.empty(3).log_normal_(0, 0)),
        (lambda g: ours.poisson(g, np.array([-1.0])), lambda: torch.poisson(torch.tensor([-1.0]))),
        (lambda g: ours.poisson(g, np.array([1])), lambda: torch.poisson(torch.tensor([1]))),
        (lambda g: ours.multinomial(g, np.array([-1.0, 1]), 1), lambda: torch.tensor([-1.0, 1]).multinomial(1)),
        (
            lambda g: ours.multinomial(g, np.array([-1.0, 1]), 2, True),
            lambda: torch.tensor([-1.0, 1]).multinomial(2, True),
        ),
        (lambda g: ours.multinomial(g, np.zeros(2), 1), lambda: torch.zeros(2).multinomial(1)),
        (lambda g: ours.multinomial(g, np.zeros(2), 2, True), lambda: torch.zeros(2).multinomial(2, True)),
        (lambda g: ours.multinomial(g, np.ones(2), 3), lambda: torch.ones(2).multinomial(3)),
        (lambda g: ours.multinomial(g, np.ones(2), 0), lambda: torch.ones(2).multinomial(0)),
        (lambda g: ours.multinomial(g, np.ones((2, 2, 2)), 1), lambda: torch.ones(2, 2, 2).multinomial(1)),
        (lambda g: ours.multinomial(g, np.ones(2, int), 1), lambda: torch.ones(2, dtype=int).multinomial(1)),
    ],
)
def test_errors(call, expected):
    with pytest.raises(Exception) as theirs:
        expected()
    with pytest.raises(type(theirs.value)) as mine:
        call(ours.Generator())
    assert str(mine.value).startswith(str(theirs.value).split(".  (Could this")[0])


def test_fused_multiply_add():
    """The fused multiply-add in float64 against exact rational arithmetic."""
    g = np.random.default_rng(0)
    a, b, c = g.standard_normal((3, 500)) * 2.0 ** g.integers(-40, 40, (3, 500))
    exact = [float(Fraction(x) * Fraction(y) + Fraction(z)) for x, y, z in zip(a, b, c)]
    np.testing.assert_array_equal(fma(a, b, c), exact)

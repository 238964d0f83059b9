"""Pools of the compiled tier, and their gradients, against their meaning in NumPy."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
import pytest

pytest.importorskip("llvmlite")
pytest.importorskip("hypothesis")

from hypothesis import given, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

import flambeau as torch  # noqa: E402
from flambeau.core import config, dtypes  # noqa: E402
from flambeau.engine import plans  # noqa: E402
from flambeau.engine.cpu import compiler, threads  # noqa: E402
from flambeau.engine.cpu.pooling import pool_kernel  # noqa: E402
from flambeau.engine.cpu.specs import BinSpec, PoolSpec, ScatterSpec  # noqa: E402
from flambeau.engine.run import run_pending  # noqa: E402
from flambeau.nn import functional as F  # noqa: E402
from flambeau.ops import pooling, pooling_adaptive  # noqa: E402

LEVELS = ["", "avx2", "generic"]
CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
TYPES = {"float32": dtypes.float32, "float64": dtypes.float64}


@cache
def session(level: str) -> compiler.Session:
    try:
        return compiler.Session(compiler.machine(level))
    except ValueError as error:
        pytest.skip(str(error))


def strides(x: np.ndarray) -> tuple[int, ...]:
    return tuple(s // x.itemsize for s in x.strides)


def run(spec, arrays, level: str = "") -> None:
    address, words = pool_kernel(spec, session(level))
    block = np.array([*(a.ctypes.data for a in arrays), *words], np.int64)
    CALL(address)(block.ctypes.data)


def guarded(shape, dtype) -> np.ndarray:
    """Memory for a result, between numbers that have to stay as they are."""
    size = int(np.prod(shape))
    memory = np.full(size + 64, -77, dtype)
    return memory, memory[32 : 32 + size].reshape(shape)


def unharmed(memory: np.ndarray) -> bool:
    return (memory[:32] == -77).all() and (memory[-32:] == -77).all()


@st.composite
def windows(draw, means: bool = False):
    """Settings of a pool of a plane, and how many windows it has."""
    size, kernel, stride, padding, dilation, outputs = [], [], [], [], [], []
    for _ in range(2):
        n, k, s = draw(st.integers(1, 40)), draw(st.sampled_from([1, 2, 3, 4, 9])), draw(st.sampled_from([1, 2, 2, 3, 18]))
        d = 1 if means else draw(st.integers(1, 2))
        n = max(n, d * (k - 1) + 1)
        p = draw(st.integers(0, k // 2))
        size.append(n), kernel.append(k), stride.append(s), padding.append(p), dilation.append(d)
        outputs.append(pooling._windows(n, k, s, p, d, draw(st.booleans())))
    return tuple(size), tuple(kernel), tuple(stride), tuple(padding), tuple(dilation), tuple(outputs)


def images(draw, shape, dtype: str, special: bool = False) -> np.ndarray:
    """Numbers with ties, in one of several layouts."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    x = np.round(rng.standard_normal(shape), 1).astype(dtype)
    if special:
        x.flat[rng.integers(x.size, size=x.size // 8)] = np.nan
        x.flat[rng.integers(x.size, size=x.size // 4)] = -np.inf
    layout = draw(st.sampled_from([(0, 1, 2, 3), (0, 2, 3, 1), (0, 1, 3, 2), "part", "one column"]))
    if layout == "part":
        wide = np.zeros((*shape[:2], shape[2] + 1, 2 * shape[3] + 1), x.dtype)
        part = wide[:, :, 1:, 1::2]
        part[...] = x
        return part
    if layout == "one column":
        return np.broadcast_to(x[..., :1], shape)
    return np.ascontiguousarray(x.transpose(layout)).transpose(np.argsort(layout))


SETTINGS = dict(max_examples=25, deadline=None, derandomize=True)


@pytest.mark.parametrize("level", LEVELS)
@settings(**SETTINGS)
@given(data=st.data(), case=windows(), dtype=st.sampled_from(list(TYPES)), special=st.booleans())
def test_maxima(level, data, case, dtype, special):
    size, kernel, stride, padding, dilation, outputs = case
    x = images(data.draw, (2, 3, *size), dtype, special)
    best, places = pooling._max_pool_kernel(x, kernel, stride, padding, dilation, outputs)
    (around, y), (beside, indices) = guarded(best.shape, dtype), guarded(best.shape, np.int64)
    spec = PoolSpec("max", TYPES[dtype], (2, 3), size, outputs, kernel, stride, padding, dilation, strides(x))
    run(spec, [x, y, indices], level)
    np.testing.assert_array_equal(y, best)
    np.testing.assert_array_equal(indices, places)
    assert unharmed(around) and unharmed(beside)


@pytest.mark.parametrize("level", LEVELS)
@settings(**SETTINGS)
@given(
    data=st.data(),
    case=windows(means=True),
    dtype=st.sampled_from(list(TYPES)),
    padded=st.booleans(),
    divisor=st.sampled_from([None, None, 5, -2]),
)
def test_means(level, data, case, dtype, padded, divisor):
    size, kernel, stride, padding, dilation, outputs = case
    counting = {"count_include_pad": padded, "divisor_override": divisor}
    x, dy = images(data.draw, (2, 3, *size), dtype), images(data.draw, (2, 3, *outputs), dtype)
    shared = (TYPES[dtype], (2, 3), size, outputs, kernel, stride, padding, dilation)
    (around, y), (beside, dx) = guarded((2, 3, *outputs), dtype), guarded((2, 3, *size), dtype)
    run(PoolSpec("mean", *shared, strides(x), divisor, padded), [x, y], level)
    np.testing.assert_array_equal(y, pooling._avg_pool_kernel(x, kernel, stride, padding, outputs, size, **counting))
    run(PoolSpec("mean gradient", *shared, strides(dy), divisor, padded), [dy, dx], level)
    exact = pooling._avg_pool_grad_kernel(dy, kernel, stride, padding, outputs, size, **counting)
    np.testing.assert_array_equal(dx, exact)
    assert unharmed(around) and unharmed(beside)


@pytest.mark.parametrize("level", LEVELS)
@settings(**SETTINGS)
@given(
    data=st.data(),
    size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    outputs=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from(list(TYPES)),
    special=st.booleans(),
)
def test_bins(level, data, size, outputs, dtype, special):
    x, dy = images(data.draw, (2, 3, *size), dtype, special), images(data.draw, (2, 3, *outputs), dtype)
    shared = (TYPES[dtype], (2, 3), size, outputs)
    (around, y), (beside, indices) = guarded((2, 3, *outputs), dtype), guarded((2, 3, *outputs), np.int64)
    run(BinSpec("max", *shared, strides(x)), [x, y, indices], level)
    best, places = pooling_adaptive._adaptive_max_kernel(x, outputs)
    np.testing.assert_array_equal(y, best)
    np.testing.assert_array_equal(indices, places)
    assert unharmed(around) and unharmed(beside)

    x = np.nan_to_num(x, neginf=-1)
    few = 8 * np.finfo(dtype).eps  # NumPy adds pairwise where windows do not overlap
    run(BinSpec("mean", *shared, strides(x)), [x, y], level)
    np.testing.assert_allclose(y, pooling_adaptive._adaptive_mean_kernel(x, outputs), rtol=few, atol=few)
    around, dx = guarded((2, 3, *size), dtype)
    run(BinSpec("mean gradient", *shared, strides(dy)), [dy, dx], level)
    exact = pooling_adaptive._adaptive_mean_grad_kernel(dy, size)
    np.testing.assert_allclose(dx, exact, rtol=few, atol=few * np.prod(outputs))
    assert unharmed(around)


@settings(**SETTINGS)
@given(data=st.data(), size=st.integers(1, 50), outputs=st.tuples(st.integers(1, 7), st.integers(1, 7)))
def test_gradients_are_added_where_the_maxima_are(data, size, outputs):
    dy = images(data.draw, (2, 3, *outputs), "float32")
    indices = np.random.default_rng(0).integers(0, size, dy.shape)
    around, dx = guarded((2, 3, size), "float32")
    run(ScatterSpec(dtypes.float32, (2, 3), size, outputs, strides(dy)), [dy, indices, dx])
    np.testing.assert_array_equal(dx, pooling._added_at(dy.reshape(2, 3, -1), indices.reshape(2, 3, -1), (size,)))
    assert unharmed(around)


def test_places_that_are_none_are_not_written_to():
    dy, indices = np.ones((1, 1, 1, 4), np.float32), np.array([0, -1, 5, 1 << 40])
    around, dx = guarded((1, 1, 5), "float32")
    run(ScatterSpec(dtypes.float32, (1, 1), 5, (1, 4), strides(dy)), [dy, indices, dx])
    assert dx.ravel().tolist() == [1, 0, 0, 0, 0]
    assert unharmed(around)


def test_same_bits_for_any_number_of_threads():
    x = np.random.default_rng(0).standard_normal((8, 32, 40, 40)).astype("float32")
    shared = (dtypes.float32, (8, 32), (40, 40), (20, 20), (3, 3), (2, 2), (1, 1), (1, 1))
    results = []
    try:
        for count in (1, 2, 3):
            threads.resize(count)
            best, mean = (np.empty((8, 32, 20, 20), np.float32) for _ in range(2))
            indices, dx = np.empty(best.shape, np.int64), np.empty_like(x)
            run(PoolSpec("max", *shared, strides(x)), [x, best, indices])
            run(PoolSpec("mean", *shared, strides(x), None, False), [x, mean])
            run(PoolSpec("mean gradient", *shared, strides(mean), None, False), [mean, dx])
            results.append([best, indices, mean, dx])
    finally:
        threads.resize(config.num_threads)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def many(count: int, make) -> int:
    """How many kernels LLVM compiles for so many specs."""
    fresh = compiler.Session(compiler.machine(""))
    for _ in range(count):
        address, words = pool_kernel(make(), fresh)
        assert address and all(isinstance(w, int) for w in words)
    return fresh.stats.compiled


@pytest.mark.parametrize("last", [False, True], ids=["rows", "channels last"])
def test_sizes_need_no_kernels(last):
    rng = np.random.default_rng(0)

    def plane(part: str, kernel: int, stride: int, padding: int, ceil: bool, padded: bool = True) -> PoolSpec:
        (n, c), size = rng.integers(2, 20, 2).tolist(), tuple(rng.integers(9, 300, 2).tolist())
        outputs = tuple([pooling._windows(x, kernel, stride, padding, 1, ceil) for x in size])
        h, w = outputs if part == "mean gradient" else size
        apart = (c * h * w, 1, w * c, c) if last else (c * h * w, h * w, w, 1)
        settings = [(x, x) for x in (kernel, stride, padding, 1)]
        return PoolSpec(part, dtypes.float32, (n, c), size, outputs, *settings, apart, None, padded)

    def bins(part: str) -> BinSpec:
        (n, c), size = rng.integers(2, 20, 2).tolist(), tuple(rng.integers(9, 300, 2).tolist())
        outputs = (1, 1) if rng.random() < 0.5 else (3, 5)
        h, w = outputs if part == "mean gradient" else size
        return BinSpec(part, dtypes.float32, (n, c), size, outputs, (c * h * w, 1, w * c, c) if last else (c * h * w, h * w, w, 1))

    # One for planes as narrow as a vector and one for others, times two where sizes decide about borders.
    for part, *case in (
        ("max", 2, 2, 0, False),
        ("max", 3, 2, 1, False),
        ("mean", 2, 2, 0, False),
        ("mean", 3, 1, 1, False, False),
    ):
        assert many(50, lambda: plane(part, *case)) <= 2  # noqa: B023
        if part == "mean":
            assert many(50, lambda: plane("mean gradient", *case)) <= 2  # noqa: B023
    assert many(50, lambda: plane("max", 3, 2, 0, True)) <= 8
    for part in ("max", "mean", "mean gradient"):
        assert many(50, lambda: bins(part)) <= 5  # noqa: B023
    assert (
        many(50, lambda: ScatterSpec(dtypes.float32, (3, 4), *(n := rng.integers(2, 99, 2).tolist())[:1], tuple(n), (99, 9, 5, 1)))
        == 1
    )


# --- in plans ----------------------------------------------------------------------------------------------------------


POOLS = {
    "max_pool1d": (1, lambda x: F.max_pool1d(x, 3, 2, 1, return_indices=True)),
    "max_pool2d": (2, lambda x: F.max_pool2d(x, 2, return_indices=True)),
    "max_pool2d, dilated": (2, lambda x: F.max_pool2d(x, 3, 2, 1, 2, True, True)),
    "avg_pool1d": (1, lambda x: F.avg_pool1d(x, 3, 1, 1)),
    "avg_pool2d": (2, lambda x: F.avg_pool2d(x, 3, 2, 1, True, False)),
    "avg_pool2d, divided by 3": (2, lambda x: F.avg_pool2d(x, 2, divisor_override=3)),
    "adaptive_avg_pool1d": (1, lambda x: F.adaptive_avg_pool1d(x, 4)),
    "adaptive_avg_pool2d": (2, lambda x: F.adaptive_avg_pool2d(x, (3, 4))),
    "adaptive_max_pool2d": (2, lambda x: F.adaptive_max_pool2d(x, (3, 4), True)),
    "adaptive_max_pool2d, even": (2, lambda x: F.adaptive_max_pool2d(x, 4, True)),
    "lp_pool2d": (2, lambda x: F.lp_pool2d(x.abs() + 0.5, 2, 2)),
}
VIEWS = {
    "whole": lambda x: x * 1,
    "columns first": lambda x: (x * 1).transpose(-1, -2) if x.dim() == 4 else x.flip(-1),
    "channels last": lambda x: (x * 1).movedim(1, -1).contiguous().movedim(-1, 1),
    "a part": lambda x: (x * 1)[:, 1:],
    "without images": lambda x: (x * 1)[0],
    "the same image": lambda x: (x * 1)[:1].expand(3, *x.shape[1:]),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize(("dims", "pool"), POOLS.values(), ids=POOLS)
def test_plans(dims, pool, view, monkeypatch):
    data = np.random.default_rng(0).standard_normal((2, 3, *[8] * dims)).astype("float32")

    def program():
        x = torch.tensor(data, requires_grad=True)
        results = pool(view(x))
        out = results[0] if isinstance(results, tuple) else results
        weights = torch.arange(float(out.numel())).reshape(out.shape).cos()
        (out * weights).sum().backward()
        return [x.grad.numpy(), *(r.detach().numpy() for r in (results if isinstance(results, tuple) else [out]))]

    run_pending()
    monkeypatch.setattr(config, "compiled", False)
    expected = program()
    monkeypatch.setattr(config, "compiled", True)
    monkeypatch.setattr(config, "compile_after", 0)
    plans.clear()
    seen = program()
    for a, b in zip(expected, seen, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)  # sums of a window's elements in another order
    assert plans.plans
    inside = [plan.nodes[step.node].op.name for plan in plans.plans.values() for step in plan.steps if not step.compiled]
    assert not [name for name in inside if "pool" in name]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("size", [6, 7])
def test_means_of_negative_zeros_are_zeros(size, compiled, monkeypatch):
    monkeypatch.setattr(config, "compiled", compiled)
    monkeypatch.setattr(config, "compile_after", 0)
    x = -torch.zeros(1, 1, size)
    pool = torch.nn.functional
    for pooled in (pool.adaptive_avg_pool1d(x, 2), pool.avg_pool1d(x, 3), pool.adaptive_avg_pool2d(x[None], 2)):
        assert not torch.signbit(pooled).any()

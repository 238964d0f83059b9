"""Matrix products of the compiled tier against NumPy in float64."""

from __future__ import annotations

import ctypes
from functools import cache

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from flambeau.core import config, dtypes  # noqa: E402
from flambeau.engine.cpu import compiler, threads  # noqa: E402
from flambeau.engine.cpu.gemm import choose, gemm_kernel, tiling  # noqa: E402
from flambeau.engine.cpu.specs import GemmSpec  # noqa: E402

LEVELS = ["", "avx2", "generic"]
TYPES = {np.float32: dtypes.float32, np.float64: dtypes.float64}
CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


@cache
def session(level: str) -> compiler.Session:
    try:
        return compiler.Session(compiler.machine(level))
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def strides(x: np.ndarray) -> tuple[int, ...]:
    return tuple(s // x.itemsize for s in x.strides)


def call(spec, arrays, level=""):
    """Runs the kernel for these arrays."""
    address, words = gemm_kernel(spec, session(level))
    CALL(address)((ctypes.c_int64 * (len(arrays) + len(words)))(*(x.ctypes.data for x in arrays), *words))


def run(a, b, c, d=None, *, alpha=1.0, beta=1.0, level=""):
    """Runs the kernel for these arrays, as their strides are."""
    spec = GemmSpec(
        TYPES[c.dtype.type], a.shape[-2], b.shape[-1], a.shape[-1], strides(a), strides(b), strides(c),
        None if d is None else strides(d), c.shape[:-2], alpha, beta,
    )  # fmt: skip
    call(spec, [x for x in (a, b, c, d) if x is not None], level)


def check(a, b, c, expected_of=lambda product: product, scale=1.0, extra=0.0):
    """``c`` is as near to the exact result as sums of ``k`` products in its type must be."""
    wide = a.astype(np.float64) @ b.astype(np.float64)
    magnitude = np.abs(a.astype(np.float64)) @ np.abs(b.astype(np.float64))
    k = a.shape[-1]
    bound = (k + 8) * np.finfo(c.dtype).eps * (scale * magnitude + extra)
    error = np.abs(c - expected_of(wide))
    assert (error <= bound).all(), f"error {error.max()} where {bound.min()} is allowed"


def laid_out(rng, rows, columns, layout, dtype):
    """A matrix whose rows (``"n"``) or columns (``"t"``) are contiguous, or that is a slice of a larger one."""
    if layout == "n":
        return rng.standard_normal((rows, columns)).astype(dtype)
    if layout == "t":
        return rng.standard_normal((columns, rows)).astype(dtype).T
    return rng.standard_normal((2 * rows + 1, 3 * columns + 1)).astype(dtype)[1::2, 1::3]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("layouts", ["nn", "nt", "tn", "tt", "sn", "ns", "ss"])
def test_every_layout(rng, level, dtype, layouts):
    for m, n, k in [(7, 5, 3), (8, 48, 16), (13, 50, 37), (64, 10, 100), (33, 129, 65), (50, 20, 600)]:
        a, b = laid_out(rng, m, k, layouts[0], dtype), laid_out(rng, k, n, layouts[1], dtype)
        c = np.full((m, n), np.nan, dtype)
        run(a, b, c, level=level)
        check(a, b, c)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", TYPES)
def test_every_tail(rng, level, dtype):
    for m in (1, 2, 3, 4, 5, 9, 12, 13):
        for n in (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 47, 49, 64, 65):
            for turned in (False, True):
                k = 1 + (m * n) % 21
                a, b = laid_out(rng, m, k, "n", dtype), laid_out(rng, k, n, "nt"[turned], dtype)
                around = np.full((m + 2, n + 2), 7, dtype)
                c = around[1:-1, 1:-1]
                run(a, b, c, level=level)
                check(a, b, c)
                around[1:-1, 1:-1] = 7
                assert (around == 7).all(), "something outside of C was written"


@pytest.mark.parametrize("level", LEVELS)
def test_result_with_contiguous_columns(rng, level):
    a, b = laid_out(rng, 20, 30, "n", np.float32), laid_out(rng, 30, 40, "n", np.float32)
    c = np.empty((40, 20), np.float32).T
    run(a, b, c, level=level)
    check(a, b, c)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("k", [5, 40, 700])
def test_addends_and_factors(rng, level, dtype, k):
    a, b = laid_out(rng, 21, k, "n", dtype), laid_out(rng, k, 35, "n", dtype)
    bias = rng.standard_normal(35).astype(dtype)
    rows = np.broadcast_to(bias, (21, 35))
    c = np.empty((21, 35), dtype)
    run(a, b, c, rows, level=level)
    check(a, b, c, lambda p: p + bias, extra=np.abs(bias))
    other = rng.standard_normal((21, 70)).astype(dtype)[:, :35]
    run(a, b, c, other, alpha=0.5, beta=-2.0, level=level)
    check(a, b, c, lambda p: 0.5 * p - 2.0 * other.astype(np.float64), scale=0.5, extra=2 * np.abs(other))
    run(a, b, c, alpha=0.3, level=level)
    check(a, b, c, lambda p: 0.3 * p, scale=0.3)
    run(a, b, c, other, alpha=-0.1, beta=3.0, level=level)
    check(a, b, c, lambda p: -0.1 * p + 3.0 * other.astype(np.float64), scale=0.1, extra=3 * np.abs(other))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("k", [40, 700])
@pytest.mark.parametrize("m", [1, 21])
def test_addends_that_lie_in_any_way(rng, level, m, k):
    a = laid_out(rng, m, k, "n", np.float32)
    other = rng.standard_normal((m, 35)).astype(np.float32)
    number = rng.standard_normal((1, 1)).astype(np.float32)
    for layout in "nt":
        b = laid_out(rng, k, 35, layout, np.float32)
        for d in (other[:, :1], np.asfortranarray(other), np.repeat(other, 3, 1)[:, ::3], number, other[:1]):
            c = np.full((m, 35), np.nan, np.float32)
            run(a, b, c, np.broadcast_to(d, c.shape), beta=0.5, level=level)
            check(a, b, c, lambda p, d=d: p + 0.5 * d.astype(np.float64), extra=np.abs(d))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("turned", [False, True])
def test_update_in_place(rng, level, turned):
    """``w -= lr * x.T @ g`` as one product, also of a parameter that lies transposed."""
    x, g = laid_out(rng, 64, 50, "n", np.float32), laid_out(rng, 64, 30, "n", np.float32)
    w = laid_out(rng, 50, 30, "nt"[turned], np.float32)
    before = w.astype(np.float64)
    run(x.T, g, w, w, alpha=-0.01, level=level)
    check(x.T, g, w, lambda p: before - 0.01 * p, scale=0.01, extra=np.abs(before))


@pytest.mark.parametrize("level", LEVELS)
def test_batches(rng, level):
    a = rng.standard_normal((3, 4, 9, 11)).astype(np.float32)
    b = rng.standard_normal((4, 6, 11)).astype(np.float32).swapaxes(-1, -2)
    c = np.empty((3, 4, 9, 6), np.float32)
    run(a, np.broadcast_to(b, (3, 4, 11, 6)), c, level=level)
    check(a, b, c)
    heads = rng.standard_normal((2, 10, 3, 8)).astype(np.float32).transpose(0, 2, 1, 3)  # as attention has them
    c = np.empty((2, 3, 10, 10), np.float32)
    run(heads, heads.swapaxes(-1, -2), c, level=level)
    check(heads, heads.swapaxes(-1, -2), c)
    weight = rng.standard_normal((8, 5)).astype(np.float32)
    bias = rng.standard_normal(5).astype(np.float32)
    x = rng.standard_normal((4, 10, 8)).astype(np.float32)
    c = np.empty((4, 10, 5), np.float32)
    run(x, np.broadcast_to(weight, (4, 8, 5)), c, np.broadcast_to(bias, c.shape), level=level)
    check(x, weight, c, lambda p: p + bias, extra=np.abs(bias))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("k", [1, 15, 64, 1000, 4099])
def test_matrix_vector_and_dot(rng, level, dtype, k):
    for m in (1, 2, 7, 40):
        a, x = laid_out(rng, m, k, "n", dtype), laid_out(rng, k, 1, "n", dtype)
        c = np.empty((m, 1), dtype)
        run(a, x, c, level=level)
        check(a, x, c)
        c = np.empty((1, m), dtype)
        run(x.T, a.T, c, level=level)
        check(x.T, a.T, c)
        transposed = np.asfortranarray(a)
        c = np.empty((m, 1), dtype)
        run(transposed, x, c, level=level)
        check(a, x, c)


def test_nothing_to_do(rng):
    for m, n, k in [(0, 3, 4), (3, 0, 4), (0, 0, 0)]:
        c = np.empty((m, n), np.float32)
        run(np.ones((m, k), np.float32), np.ones((k, n), np.float32), c)
    c = np.full((2, 3), 9, np.float32)
    run(np.ones((2, 0), np.float32), np.ones((0, 3), np.float32), c)
    assert (c == 0).all()
    run(np.ones((2, 0), np.float32), np.ones((0, 3), np.float32), c, np.full((2, 3), 4, np.float32))
    assert (c == 4).all()
    c = np.empty((0, 2, 3), np.float32)
    run(np.ones((0, 2, 4), np.float32), np.ones((0, 4, 3), np.float32), c)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("turned", [False, True])
def test_nan_and_infinity_stay_in_their_rows_and_columns(rng, level, turned):
    a, b = laid_out(rng, 20, 40, "n", np.float32), laid_out(rng, 40, 30, "nt"[turned], np.float32)
    a[3, 5], a[10, 2], b[7, 11] = np.nan, np.inf, -np.inf
    c = np.empty((20, 30), np.float32)
    run(a, b, c, level=level)
    with np.errstate(invalid="ignore"):
        expected = a.astype(np.float64) @ b.astype(np.float64)
    assert (np.isnan(c) == np.isnan(expected)).all()
    assert (np.isposinf(c) == np.isposinf(expected)).all()
    assert (np.isneginf(c) == np.isneginf(expected)).all()


def test_without_addend_nothing_is_read_from_the_result():
    c = np.full((4, 4), np.nan, np.float32)
    run(np.ones((4, 900), np.float32), np.ones((900, 4), np.float32), c)
    assert (c == 900).all()


def test_same_bits_every_time(rng):
    a, b = laid_out(rng, 100, 700, "n", np.float32), laid_out(rng, 700, 90, "t", np.float32)
    first = np.empty((100, 90), np.float32)
    run(a, b, first)
    for _ in range(5):
        again = np.empty_like(first)
        run(a, b, again)
        assert (again == first).all()


@pytest.mark.parametrize(
    "batch, m, n, k, layouts",
    [
        ((), 64, 400, 100, "nn"),  # divided by rows
        ((), 40, 500, 130, "nt"),  # by panels
        ((), 600, 520, 1100, "tn"),  # by bands of rows, A copied
        ((20,), 30, 64, 64, "nt"),  # by matrices
        ((), 2, 3000, 400, "nt"),  # inner products
    ],
)
def test_same_bits_for_any_number_of_threads(rng, batch, m, n, k, layouts):
    a = rng.standard_normal((*batch, m, k) if layouts[0] == "n" else (*batch, k, m)).astype(np.float32)
    b = rng.standard_normal((*batch, k, n) if layouts[1] == "n" else (*batch, n, k)).astype(np.float32)
    a = a if layouts[0] == "n" else a.swapaxes(-1, -2)
    b = b if layouts[1] == "n" else b.swapaxes(-1, -2)
    results = []
    try:
        for count in (1, 2, 3):
            threads.resize(count)
            for _ in range(3):
                c = np.full((*batch, m, n), np.nan, np.float32)
                run(a, b, c)
                results.append(c)
    finally:
        threads.resize(config.num_threads)
    check(a, b, results[0])
    assert all((c == results[0]).all() for c in results)


def test_choice():
    def spec(m, n, k, b):
        return GemmSpec(dtypes.float32, m, n, k, (k, 1), b, (n, 1))

    assert choose(spec(64, 100, 1000, (1, 1000))) == "tiles"
    assert choose(spec(1, 100, 1000, (1, 1000))) == "dots"
    assert choose(spec(1, 100, 1000, (100, 1))) == "tiles"


def test_what_has_no_kernel():
    spec = GemmSpec(dtypes.float32, 4, 4, 4, (4, 1), (4, 1), (8, 2))
    assert not spec.supported()
    with pytest.raises(ValueError, match="no kernel"):
        gemm_kernel(spec)
    assert not GemmSpec(dtypes.int8, 4, 4, 4, (4, 1), (4, 1), (4, 1)).supported()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", TYPES)
def test_rectified(rng, level, dtype):
    """What is less than 0 becomes 0 when all blocks are summed, and not before; NaN and -0.0 stay."""
    for m, n, k, layouts in [(7, 5, 3, "nn"), (40, 50, 900, "nt"), (64, 100, 1000, "nn"), (300, 70, 40, "tn")]:
        a, b = laid_out(rng, m, k, layouts[0], dtype), laid_out(rng, k, n, layouts[1], dtype)
        bias = rng.standard_normal(n).astype(dtype)
        bias[0] = np.nan
        plain, rectified = np.full((m, n), 7, dtype), np.full((m, n), 7, dtype)
        for c, flag in ((plain, False), (rectified, True)):
            spec = GemmSpec(TYPES[dtype], m, n, k, strides(a), strides(b), strides(c), (0, 1), (), 1.0, 1.0, flag)
            call(spec, (a, b, c, bias), level)
        # Where blocks of the inner dimension are divided between threads the order of sums differs.
        if layouts == "nn" and k == 1000:
            np.testing.assert_allclose(
                rectified, np.where(plain < 0, 0, plain), rtol=1e-4, atol=1e-3 if dtype is np.float32 else 1e-11
            )
        else:
            np.testing.assert_array_equal(rectified, np.where(plain < 0, 0, plain))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", TYPES)
def test_blocks_of_the_inner_dimension(rng, level, dtype):
    """Threads take blocks of a long inner dimension; the sums do not depend on how many threads there are."""
    threads.pool()
    for m, n, k in [(64, 100, 1000), (33, 70, 2000), (5, 200, 700)]:
        a, b, d = (rng.standard_normal(s).astype(dtype) for s in ((m, k), (k, n), (m, n)))
        found = []
        try:
            for count in (1, 2, 3):
                threads.resize(count)
                c = np.full((m, n), np.nan, dtype)
                run(a, b, c, d, alpha=0.5, beta=-2.0, level=level)
                found.append(c)
        finally:
            threads.resize(config.num_threads)
        check(a, b, found[0], lambda product, d=d: 0.5 * product - 2.0 * d.astype(np.float64), 0.5, 2.0 * np.abs(d))
        for other in found[1:]:
            np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("layouts", ["nn", "tn"])
def test_what_is_fetched_ahead(rng, layouts):
    """Large operands, whose lines tiles fetch before they need them."""
    for m, n, k in [(600, 300, 260), (1030, 520, 130)]:
        a, b = laid_out(rng, m, k, layouts[0], np.float32), laid_out(rng, k, n, layouts[1], np.float32)
        c = np.full((m, n), np.nan, np.float32)
        run(a, b, c)
        check(a, b, c)


# --- all sizes by few kernels --------------------------------------------------------------------------------


def random_matrix(rng, batch, rows, columns, dtype):
    """Matrices that lie in memory in any order of dims, some with gaps, some the same one all along a dim of the batch."""
    shape = [*(1 if rng.random() < 0.2 else n for n in batch), rows, columns]
    order = rng.permutation(len(shape)) if rng.random() < 0.5 else np.arange(len(shape))
    gaps = rng.integers(1, 3, len(shape)) if rng.random() < 0.2 else np.ones(len(shape), int)
    memory = rng.standard_normal([shape[d] * gaps[d] for d in order]).astype(dtype)
    x = memory[tuple(slice(None, None, gaps[d]) for d in order)].transpose(np.argsort(order))
    return np.broadcast_to(x, (*batch, rows, columns))


def random_product(rng, dtype):
    """A, B and D or ``None`` of a product of any size."""
    m, n, k = (int(rng.choice([1, 2, 4, 7, 16, 33, 64, 129, rng.integers(1, 300)])) for _ in range(3))
    m, n, k = [(m, n, k), (m, n, 5 * k), (64, n, 900), (3, n, 400), (700, n, k), (m, n, 0)][rng.integers(6)]
    batch = [(), (), (3,), (2, 3), (2, 1, 5)][rng.integers(5)] if m * n * k < 1 << 18 else ()
    a, b = random_matrix(rng, batch, m, k, dtype), random_matrix(rng, batch, k, n, dtype)
    added = [None, None, (1, n), (m, 1), (m, n)][rng.integers(5)]
    d = None if added is None else np.broadcast_to(random_matrix(rng, batch, *added, dtype), (*batch, m, n))
    return a, b, d


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", TYPES)
def test_products_of_any_kind(rng, level, dtype):
    for _ in range(40):
        a, b, d = random_product(rng, dtype)
        shape = (*a.shape[:-1], b.shape[-1])
        rows, columns = shape[-2:]
        around = np.full((*shape[:-2], rows + 2, columns + 2), 7, dtype)
        c = around[..., 1:-1, 1:-1]
        if rng.random() < 0.3:
            around = np.full((*shape[:-2], columns + 2, rows + 2), 7, dtype)
            c = around[..., 1:-1, 1:-1].swapaxes(-1, -2)
        run(a, b, c, d, alpha=0.5, beta=-2.0, level=level)
        extra = 0.0 if d is None else 2 * np.abs(d.astype(np.float64))
        check(a, b, c, lambda p, d=d: 0.5 * p if d is None else 0.5 * p - 2.0 * d.astype(np.float64), 0.5, extra)
        c[...] = 7
        assert (around == 7).all(), "something outside of C was written"


def sums_in_order(a, b, block, lanes, fma):
    """Yields the sums of blocks of the inner dimension, each added step by step; where there are ``lanes``, as so many sums
    apart from each other, of which halves are added."""
    dtype = a.dtype.type
    wide = np.longdouble if fma else dtype  # holds a product of two of these numbers exactly
    for start in range(0, max(1, a.shape[1]), block):
        x, y = a[:, start : start + block], b[start : start + block]
        fill = -x.shape[1] % lanes
        x = np.pad(x, ((0, 0), (0, fill))).reshape(a.shape[0], -1, lanes).astype(wide)
        y = np.pad(y, ((0, fill), (0, 0))).reshape(-1, lanes, b.shape[1]).astype(wide)
        sums = np.zeros((a.shape[0], b.shape[1], lanes), dtype)
        for step in range(x.shape[1]):
            sums = (x[:, None, step] * y[step].T[None] + sums).astype(dtype)
        while sums.shape[-1] > 1:
            half = sums.shape[-1] // 2
            sums = sums[..., :half] + sums[..., half:]
        yield sums[..., 0]


@pytest.mark.parametrize("level", LEVELS)
def test_order_of_sums(rng, level):
    """The bits are those of sums in the order that ``tiling`` and ``choose`` decide on, whatever else is decided."""
    on, one = session(level), np.float32
    for _ in range(25):
        a, b, d = random_product(rng, one)
        if a.ndim > 2 or a.shape[1] > 1500 or a.shape[0] * b.shape[1] > 30_000:
            continue
        c = np.full((a.shape[0], b.shape[1]), np.nan, one)
        run(a, b, c, d, alpha=0.7, beta=-2.1, level=level)
        spec = GemmSpec(dtypes.float32, *c.shape, a.shape[1], strides(a), strides(b), strides(c)).oriented()
        lanes = on.machine.vector_bytes // 4
        block, lanes = (a.shape[1], lanes) if choose(spec) == "dots" else (tiling(on, spec).block, 1)
        total = None if d is None else d * one(-2.1)
        for found in sums_in_order(a, b, block, lanes, on.machine.fma):
            total = found * one(0.7) if total is None else total + found * one(0.7)
        np.testing.assert_array_equal(c, total)


def test_a_kernel_computes_products_of_other_sizes(rng):
    """With their words, and whatever the sizes were that it was first asked for."""
    found = {}
    for m, n, k in [(40, 70, 30), (41, 100, 31), (90, 65, 7), (200, 129, 12)]:
        spec = GemmSpec(dtypes.float32, m, n, k, (k, 1), (n, 1), (n, 1))
        found[m, n, k] = gemm_kernel(spec, session(""))
        a, b, c = laid_out(rng, m, k, "n", np.float32), laid_out(rng, k, n, "n", np.float32), np.empty((m, n), np.float32)
        call(spec, (a, b, c))
        check(a, b, c)
    assert len({address for address, _ in found.values()}) == 1
    assert len({words for _, words in found.values()}) == 4


def encoder_products(batch, length, width=64, heads=4, hidden=128):
    """The products of a layer of an encoder, forward and backward: (m, n, k, strides of A and B, strides of the addend, batch)."""
    rows, each = batch * length, width // heads
    for inner, outer in ((width, 3 * width), (width, width), (width, hidden), (hidden, width)):
        yield rows, outer, inner, (inner, 1), (1, inner), (0, 1), ()  # x @ w.T + bias
        yield rows, inner, outer, (outer, 1), (inner, 1), None, ()  # its gradients
        yield outer, inner, rows, (1, outer), (inner, 1), None, ()
    three, apart = 3 * width, length * 3 * width
    scores = heads * length * length, length * length, length, 1
    for k, n, a, b in (
        (each, length, (apart, each, three, 1), (apart, each, 1, three)),  # q @ k.T
        (length, each, scores, (apart, each, three, 1)),  # scores @ v, and gradients of q
        (length, each, (*scores[:2], 1, length), (apart, each, three, 1)),  # gradients of k and v
        (each, length, (length * width, each, width, 1), (apart, each, 1, three)),  # gradients of scores
    ):
        yield length, n, k, a, b, None, (batch, heads)


def test_programs_of_all_sizes_need_few_kernels(rng):
    """Forms, each a kernel of its own, and tiles, which they share."""
    on = compiler.Session(compiler.machine(""), session("").disk)
    addresses = set()
    for _ in range(60):
        batch, length = int(rng.integers(1, 65)), int(rng.integers(2, 200))
        for m, n, k, a, b, d, dims in encoder_products(batch, length):
            c = (4 * m * n, m * n, n, 1) if dims else (n, 1)
            addresses.add(gemm_kernel(GemmSpec(dtypes.float32, m, n, k, a, b, c, d, dims), on)[0])
    assert len(addresses) < 40
    assert on.stats.compiled + on.stats.loaded < 130

"""Attention in one kernel: values and gradients against NumPy in float64, for strided heads and every kind of shape."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from flambeau.core import config
from flambeau.core import dtypes as D
from flambeau.engine.cpu import compiler, threads
from flambeau.engine.cpu.attention import AttentionSpec, attention_kernel

SHAPES = [  # batch, heads, queries, keys, width, depth
    (1, 1, 1, 2, 1, 1), (2, 3, 5, 7, 4, 6), (1, 2, 33, 50, 17, 40), (1, 2, 70, 33, 16, 16), (1, 3, 200, 150, 8, 24),
]  # fmt: skip


@pytest.fixture
def team():
    yield threads.resize
    threads.resize(config.num_threads)


def call(kernel: tuple, *arrays: np.ndarray) -> None:
    address, words = kernel
    block = (ctypes.c_int64 * (len(arrays) + len(words)))(*(a.ctypes.data for a in arrays), *words)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(address)(ctypes.addressof(block))


def heads_of(packed: np.ndarray, start: int, heads: int, width: int) -> np.ndarray:
    """(batch, heads, rows, width) of an array (batch, rows, columns), as views of a packed projection give it."""
    batch, rows, _ = packed.shape
    return packed[:, :, start : start + heads * width].reshape(batch, rows, heads, width).swapaxes(1, 2)


def strides(x: np.ndarray) -> tuple[int, ...]:
    return tuple(s // x.itemsize for s in x.strides)


def expected(q, k, v, g, causal, scale):
    scores = q @ k.swapaxes(-1, -2) * scale
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    top = scores.max(-1, keepdims=True)
    weights = np.exp(scores - top)
    total = weights.sum(-1, keepdims=True)
    weights /= total
    out = weights @ v
    slopes = weights * (g @ v.swapaxes(-1, -2) - (g * out).sum(-1, keepdims=True)) * scale
    return out, top[..., 0], total[..., 0], slopes @ k, slopes.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ g


def results(session, shape, causal, dtype, q, k, v, g, rows_first=True):
    batch, heads, queries, keys, width, depth = shape

    def empty(*shape):
        return np.full(shape, np.nan, dtype.np)

    def laid_out(batch, heads, rows, columns):
        """What is made, seen as (batch, heads, rows, columns)."""
        return empty(batch, rows, heads, columns).swapaxes(1, 2) if rows_first else empty(batch, heads, rows, columns)

    geometry = (dtype, batch, heads, queries, keys, width, depth, causal, 0.3, rows_first)
    seen = tuple(strides(x)[:3] for x in (q, k, v))
    out, top, total = laid_out(batch, heads, queries, depth), empty(batch, heads, queries), empty(batch, heads, queries)
    call(attention_kernel(AttentionSpec("forward", *geometry, seen), session), q, k, v, out, top, total)
    grads = [laid_out(batch, heads, *x) for x in ((queries, width), (keys, width), (keys, depth))]
    spec = AttentionSpec("backward", *geometry, (*seen, strides(g)[:3]))
    call(attention_kernel(spec, session), g, q, k, v, out, top, total, *grads)
    return out, top, total, *grads


def session_of(level):
    try:
        machine = compiler.machine(level)
    except ValueError as e:
        pytest.skip(str(e))
    threads.pool()  # kernels of other sessions call the pool of this process
    return compiler.Session(machine, compiler.session().disk)


def arrays(rng, shape, dtype, packed=True):
    """Queries, keys, values and a gradient of the result, as parts of packed projections or each on its own."""
    batch, heads, queries, keys, width, depth = shape
    if not packed:
        return [
            rng.standard_normal((batch, heads, *s)).astype(dtype.np)
            for s in ((queries, width), (keys, width), (keys, depth), (queries, depth))
        ]
    projected = rng.standard_normal((batch, max(queries, keys), heads * (2 * width + depth))).astype(dtype.np)
    q = heads_of(projected, 0, heads, width)[:, :, :queries]
    k = heads_of(projected, heads * width, heads, width)[:, :, :keys]
    v = heads_of(projected, 2 * heads * width, heads, depth)[:, :, :keys]
    return q, k, v, heads_of(rng.standard_normal((batch, queries, heads * depth)).astype(dtype.np), 0, heads, depth)


def check(session, shape, causal, dtype, given, rows_first):
    got = results(session, shape, causal, dtype, *given, rows_first)
    want = expected(*(x.astype(np.float64) for x in given), causal, 0.3)
    # Sums of up to some hundred products; gradients are differences of terms of the size of the values'.
    tolerance = 40 * np.finfo(dtype.np).eps
    for name, a, b in zip(("out", "top", "total", "dq", "dk", "dv"), got, want, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max()), err_msg=f"{name} of {shape}")


LEVELS = ["", "avx2", "generic"]


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [D.float32, D.float64], ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_values_and_gradients(level, dtype, causal):
    on, rng = session_of(level), np.random.default_rng(0)
    for shape in SHAPES:
        check(on, shape, causal, dtype, arrays(rng, shape, dtype), shape[1] % 2 == 0)


@pytest.mark.parametrize("level", LEVELS)
def test_random_sizes_by_few_kernels(level):
    """Of every kind there is one kernel, which is right for sizes that it was not first asked for."""
    on, rng = session_of(level), np.random.default_rng(3)
    addresses = {}
    for _ in range(40):
        queries, keys = (int(rng.choice([1, 2, 7, 8, 16, 31, 32, 33, 65, rng.integers(1, 150)])) for _ in range(2))
        width, depth = (int(rng.choice([1, 3, 8, 16, 17, 32, rng.integers(1, 70)])) for _ in range(2))
        shape = (int(rng.integers(1, 4)), int(rng.integers(1, 4)), queries, keys, width, depth)
        dtype, causal, packed, rows_first = (bool(b) for b in rng.integers(0, 2, 4))
        kind = D.float64 if dtype else D.float32
        check(on, shape, causal, kind, arrays(rng, shape, kind, packed), rows_first)
        seen = ((1, 1, 1),) * 4
        for part, inputs in (("forward", 3), ("backward", 4)):
            spec = AttentionSpec(part, kind, *shape, causal, 0.3, rows_first, seen[:inputs])
            addresses.setdefault((part, kind, causal), set()).add(attention_kernel(spec, on)[0])
    assert len(addresses) == 8 and all(len(found) == 1 for found in addresses.values())


@pytest.mark.parametrize("shape", [(2, 4, 64, 64, 32, 32), (5, 1, 41, 70, 24, 40)])
def test_same_bits_on_threads(team, shape):
    given = arrays(np.random.default_rng(1), shape, D.float32)
    found = []
    for count in (1, 2, 3):
        team(count)
        found.append(results(compiler.session(), shape, True, D.float32, *given))
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_special_values():
    """A score of +inf makes its row NaN, one of -inf weighs nothing; other rows do not see them."""
    shape = (1, 1, 4, 20, 4, 4)
    rng = np.random.default_rng(2)
    q, k, v, g = (rng.standard_normal((1, 1, n, 4)).astype(np.float32) for n in (4, 20, 20, 4))
    q[0, 0, 0] = k[0, 0, 5] = 0
    q[0, 0, 0, 0], k[0, 0, 5, 0] = 1e30, 1e30
    q[0, 0, 1], q[0, 0, 1, 0] = 0, -1e30
    out = results(compiler.session(), shape, False, D.float32, q, k, v, g)[0][0, 0]
    assert np.isnan(out[0]).all()
    with np.errstate(over="ignore", invalid="ignore"):
        want = expected(q, k, v, g, False, np.float32(0.3))[0][0, 0]
    np.testing.assert_allclose(out[1:], want[1:], rtol=1e-5, atol=1e-6)

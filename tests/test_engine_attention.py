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


def call(address: int, *arrays: np.ndarray) -> None:
    block = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
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


@pytest.mark.parametrize("level", ["", "avx2", "generic"])
@pytest.mark.parametrize("dtype", [D.float32, D.float64], ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_values_and_gradients(level, dtype, causal):
    try:
        machine = compiler.machine(level)
    except ValueError as e:
        pytest.skip(str(e))
    session = compiler.Session(machine)
    threads.pool()  # kernels of other sessions call the pool of this process
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        batch, heads, queries, keys, width, depth = shape
        rows = max(queries, keys)
        packed = rng.standard_normal((batch, rows, heads * (2 * width + depth))).astype(dtype.np)
        q = heads_of(packed, 0, heads, width)[:, :, :queries]
        k = heads_of(packed, heads * width, heads, width)[:, :, :keys]
        v = heads_of(packed, 2 * heads * width, heads, depth)[:, :, :keys]
        g = heads_of(rng.standard_normal((batch, queries, heads * depth)).astype(dtype.np), 0, heads, depth)
        got = results(session, shape, causal, dtype, q, k, v, g, heads % 2 == 0)
        want = expected(*(x.astype(np.float64) for x in (q, k, v, g)), causal, 0.3)
        # Sums of up to 150 products; gradients are differences of terms of the size of the values'.
        tolerance = 40 * np.finfo(dtype.np).eps
        for name, a, b in zip(("out", "top", "total", "dq", "dk", "dv"), got, want, strict=True):
            np.testing.assert_allclose(
                a, b, rtol=0, atol=tolerance * max(1.0, np.abs(b).max()), err_msg=f"{name} of {shape}"
            )


def test_same_bits_on_threads(team):
    shape = (2, 4, 64, 64, 32, 32)
    rng = np.random.default_rng(1)
    q, k, v, g = (rng.standard_normal((2, 4, 64, 32)).astype(np.float32) for _ in range(4))
    found = []
    for count in (1, 2, 3):
        team(count)
        found.append(results(compiler.session(), shape, True, D.float32, q, k, v, g))
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

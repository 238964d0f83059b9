"""Convolutions of volumes in the compiled tier, and both their gradients, against their meaning in NumPy."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

import flambeau as torch
from flambeau.core import config
from flambeau.nn import functional as F

three = st.tuples(*[st.integers(1, 3)] * 3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=25, deadline=None)
@given(
    sizes=st.tuples(*[st.integers(1, 8)] * 3),
    kernel=three,
    stride=three,
    padding=st.tuples(*[st.integers(0, 2)] * 3),
    dilation=st.tuples(*[st.integers(1, 2)] * 3),
    batch=st.integers(1, 3),
    groups=st.integers(1, 2),
    transposed=st.booleans(),
    channels_last=st.booleans(),
    biased=st.booleans(),
)
def test_agree(dtype, sizes, kernel, stride, padding, dilation, batch, groups, transposed, channels_last, biased):
    reach = [d * (k - 1) for d, k in zip(dilation, kernel)]
    if transposed:
        assume(all((n - 1) * s + r + 1 > 2 * p for n, s, r, p in zip(sizes, stride, reach, padding)))
    else:
        assume(all(n + 2 * p > r for n, p, r in zip(sizes, padding, reach)))
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, 2 * groups, *sizes)).astype(dtype)
    weights = rng.standard_normal((2 * groups, 3 if transposed else 2, *kernel)).astype(dtype)
    biases = rng.standard_normal(3 * groups if transposed else 2 * groups).astype(dtype)
    convolve = F.conv_transpose3d if transposed else F.conv3d
    how = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}

    def program() -> list[np.ndarray]:
        x, w, b = (torch.tensor(a, requires_grad=True) for a in (images, weights, biases))
        given = x.contiguous(memory_format=torch.channels_last_3d) if channels_last else x
        y = convolve(given, w, b if biased else None, **how)
        (y * torch.arange(y.numel(), dtype=y.dtype).reshape(y.shape).cos()).sum().backward()
        return [t.numpy().copy() for t in (y.detach(), x.grad, w.grad, *([b.grad] if biased else []))]

    before = config.compiled, config.compile_after
    try:
        config.compiled, config.compile_after = False, 0
        expected = program()
        config.compiled = True
        found = program()
    finally:
        config.compiled, config.compile_after = before
    tolerance = 1e-4 if dtype == "float32" else 1e-11
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance * 10)

"""Samples at the places of a grid, and their gradients: kernels, NumPy and what is recorded for second derivatives agree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("llvmlite")

import flambeau as torch
from flambeau.core import config
from flambeau.engine.cpu import grids, threads
from flambeau.nn import functional as F

SETTINGS = [
    {"mode": mode, "padding_mode": padding, "align_corners": align}
    for mode in ("bilinear", "nearest")
    for padding in ("zeros", "border", "reflection")
    for align in (False, True)
]
LAID_OUT = {
    "whole": lambda x: x * 1,
    "last dim first": lambda x: (x * 1).movedim(-1, 1).contiguous().movedim(1, -1),
    "a part": lambda x: torch.cat([x, x], -1)[..., : x.shape[-1]],
    "apart": lambda x: (x * 1).repeat_interleave(2, -2)[..., ::2, :],
    "the same for all": lambda x: (x * 1)[:1].expand(x.shape),
}


def results(images, grid, views, settings, weights, graph: bool) -> list[np.ndarray]:
    x, places = (torch.tensor(a, requires_grad=True) for a in (images, grid))
    out = F.grid_sample(views[0](x), views[1](places), **settings)
    weights = out.new_ones(()).expand(out.shape) if weights is None else torch.tensor(weights)
    grads = torch.autograd.grad(out, (x, places), weights, create_graph=graph)
    return [t.detach().numpy().copy() for t in (out, *grads)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@settings(max_examples=10, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=3),
    batch=st.integers(1, 3),
    channels=st.integers(1, 4),
    places=st.integers(1, 40),
    how=st.sampled_from(SETTINGS),
    views=st.tuples(st.sampled_from(sorted(LAID_OUT)), st.sampled_from(sorted(LAID_OUT))),
    even=st.booleans(),
    seed=st.integers(0, 99),
)
def test_agree(dtype, sizes, batch, channels, places, how, views, even, seed):
    rng = np.random.default_rng(seed)
    images = rng.standard_normal((batch, channels, *sizes)).astype(dtype)
    grid = rng.uniform(-2.5, 2.5, (batch, *(2,) * (len(sizes) - 1), places, len(sizes))).astype(dtype)
    weights = None if even else rng.standard_normal((batch, channels, *grid.shape[1:-1])).astype(dtype)
    chosen = [LAID_OUT[v] for v in views]
    found = []
    before = config.compiled, config.compile_after
    try:
        for compiled in (False, True):
            config.compiled, config.compile_after = compiled, 0
            found += [results(images, grid, chosen, how, weights, graph) for graph in (False, True)]
    finally:
        config.compiled, config.compile_after = before
    tolerance = 2e-4 if dtype == "float32" else 1e-9
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("how", SETTINGS, ids=lambda how: " ".join(str(x) for x in how.values()))
def test_places_that_are_none(how):
    """NaN and what is infinite read inside of the image, and give what NumPy gives."""
    grid = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.5, 1.0, -1.0], np.float32)
    grid = np.stack(np.meshgrid(grid, grid), -1)[None]
    images = np.random.default_rng(0).standard_normal((1, 2, 3, 4)).astype(np.float32)
    found = []
    for compiled in (False, True):
        before = config.compiled, config.compile_after
        config.compiled, config.compile_after = compiled, 0
        try:
            found.append(F.grid_sample(torch.tensor(images), torch.tensor(grid), **how).numpy())
        finally:
            config.compiled, config.compile_after = before
    if how["padding_mode"] == "reflection":  # where numbers so large are folded to is a matter of rounding
        sane = ((np.abs(grid) < 1e9) | ~np.isfinite(grid)).all(-1)
        found = [np.where(sane[:, None], x, 0) for x in found]
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_threads(mode, monkeypatch):
    """Blocks of places that threads do have the bits that one thread gives, the gradients too."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 3, 20, 30)).astype(np.float32)
    grid = rng.uniform(-1.2, 1.2, (2, 75, 80, 2)).astype(np.float32)
    monkeypatch.setattr(config, "compile_after", 0)
    monkeypatch.setattr(grids, "WORTH_DIVIDING", 1 << 10)
    found = []
    try:
        for count in (1, 2, 3):
            threads.resize(count)
            found.append(results(images, grid, [LAID_OUT["whole"]] * 2, {"mode": mode, "align_corners": False}, None, False))
    finally:
        threads.resize(config.num_threads)
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(b, a)

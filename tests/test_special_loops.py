"""Special functions in loops: what their kernels in NumPy give, at the edges and elsewhere."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import config

EDGES = [
    0.0,
    -0.0,
    0.5,
    -0.5,
    1.0,
    -1.0,
    1.5,
    2.0,
    -2.0,
    2.5,
    3.0,
    9.99,
    10.0,
    10.01,
    -9.5,
    -10.25,
    100.0,
    -100.5,
    1e-30,
    -1e-30,
    1e10,
]
EDGES += [3e38, np.inf, -np.inf, np.nan, 0.9999999, -0.9999999, 0.41421357, 2.4142135]
FUNCTIONS = [torch.lgamma, torch.digamma, torch.erfinv, torch.atan, torch.atan2]


def values(dtype) -> np.ndarray:
    rng = np.random.default_rng(0)
    wide = rng.standard_normal(4000) * np.exp(3 * rng.standard_normal(4000))
    return np.concatenate([EDGES, wide, rng.uniform(-1, 1, 1000), rng.uniform(0.5, 2.5, 1000)]).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_loops_are_the_kernels(function, dtype, monkeypatch):
    if config.lacks_compiler:
        pytest.skip("there are no loops")
    monkeypatch.setattr(config, "compile_after", 0)
    monkeypatch.setattr(config, "eager", False)
    x = values(dtype)
    edges = np.array(EDGES, dtype)
    grid = np.repeat(edges, len(edges)), np.tile(edges, len(edges))
    pairs = [grid, (x, np.roll(x, 7))] if function is torch.atan2 else [(x,)]
    for arrays in pairs:
        found = []
        for compiled in (False, True):
            monkeypatch.setattr(config, "compiled", compiled)
            found.append(function(*[torch.tensor(a) for a in arrays]).numpy().copy())
        expected, got = found
        np.testing.assert_array_equal(np.signbit(got)[~np.isnan(got)], np.signbit(expected)[~np.isnan(expected)])
        # Where a logarithm is near a root, what is left of it has the rounding error of the terms.
        unit = np.finfo(dtype).eps
        np.testing.assert_allclose(
            got, expected, rtol=4 * unit if dtype is np.float32 else 1e-14, atol=1e-14 if dtype is np.float64 else 0
        )

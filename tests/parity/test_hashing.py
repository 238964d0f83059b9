"""``hash_tensor`` and ``special.airy_ai``, which have no relatives among the families."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16", "int64", "int8", "uint8", "bool"])
def test_hashes(dtype):
    values = np.random.default_rng(0).normal(size=(2, 3, 4)) * 3

    def hashes(lib):
        x = lib.tensor(values).to(getattr(lib, dtype))
        for dim in ((), 0, (0, 2), (1,)):
            for keepdim in (False, True):
                h = lib.hash_tensor(x, dim, keepdim=keepdim)
                yield str(h.dtype), tuple(h.shape), h.tolist()
        yield x.hash_tensor().tolist()

    assert list(hashes(flambeau)) == list(hashes(torch))


def test_airy():
    x = np.concatenate([np.linspace(-30, 30, 301), [0.0, 103.0, 110.0, np.inf, -np.inf, np.nan]])
    ours, theirs = (lib.special.airy_ai(lib.tensor(x)).numpy() for lib in (flambeau, torch))
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=4e-6)  # PyTorch's own error near -2.09
    positive = np.isfinite(x) & (x > 0)
    np.testing.assert_allclose(ours[positive], theirs[positive], rtol=1e-11)
    assert not flambeau.special.airy_ai(flambeau.ones(2, requires_grad=True)).requires_grad

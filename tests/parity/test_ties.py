"""Among equal elements PyTorch's choice: ``topk`` in every order, NaN among them."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 16, 17, 33, 64, 100, 257, 1000])
def test_topk(n, in_order, largest):
    rng = np.random.default_rng(n)
    for kinds in (1, 2, 3, 10, 1000):
        x = rng.integers(0, kinds, (3, n)).astype(np.float32)
        if kinds == 10:
            x[rng.random(x.shape) < 0.2] = np.nan
        for k in {1, 2, n // 64, n // 3, n - 1, n} & set(range(n + 1)):
            ours = flambeau.tensor(x).topk(k, 1, largest, in_order).indices.tolist()
            assert ours == torch.tensor(x).topk(k, 1, largest, in_order).indices.tolist(), (kinds, k)
    x = rng.integers(0, 4, (n, 2)).astype(np.int64)
    ours = flambeau.tensor(x).topk(n // 2, 0, largest, in_order).indices.tolist()
    assert ours == torch.tensor(x).topk(n // 2, 0, largest, in_order).indices.tolist()

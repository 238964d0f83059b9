"""What ``flex_attention`` returns besides its result, against PyTorch."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import flambeau
from flambeau.nn.attention import flex_attention as ours

torch = pytest.importorskip("torch")
from torch.nn.attention import flex_attention as theirs  # noqa: E402


@pytest.mark.parametrize("request_", [(False, False), (True, False)])  # PyTorch gives no greatest scores on a CPU
def test_what_is_returned_besides(request_):
    values = [np.random.default_rng(i).standard_normal((1, 2, 16, 16)).astype(np.float32) for i in range(3)]

    def run(lib, module):
        q, k, v = [lib.tensor(x) for x in values]
        with lib.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch would rather be compiled
            result, aux = module.flex_attention(q, k, v, lambda s, b, h, i, j: s + h, return_aux=module.AuxRequest(*request_))
        return result.numpy(), [None if x is None else x.numpy() for x in aux]

    (a, mine), (b, expected) = run(flambeau, ours), run(torch, theirs)
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert [x is None for x in mine] == [x is None for x in expected] == [not asked for asked in request_]
    for x, y in zip(mine, expected, strict=True):
        if x is not None:
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_greatest_scores():
    q = flambeau.randn(1, 2, 16, 16)
    _, aux = ours.flex_attention(q, q, q, return_aux=ours.AuxRequest(max_scores=True))
    assert aux.lse is None and (aux.max_scores == (q @ q.mT / 4).amax(-1)).all()

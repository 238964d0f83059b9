"""Derivatives and second derivatives at arguments that are 0, or that make a matrix singular, beside PyTorch's.

There a rule may divide by what is 0, or keep nothing of what the gradient depends on; random samples never come there.
"""

from __future__ import annotations

import itertools
import math

import pytest

torch = pytest.importorskip("torch")

import flambeau  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:index_reduce")

VECTORS = [[0.0, 0.0, 2.0, 3.0], [0.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 0.0], [-1.0, 0.0, 0.5, 2.0], [0.0, 0.0, 0.0, 0.0]]
FUNCTIONS = {
    "prod": lambda t, x: x.prod(),
    "prod of a dim": lambda t, x: x.reshape(2, 2).prod(1, keepdim=True),
    "cumprod": lambda t, x: x.cumprod(0),
    "det": lambda t, x: t.linalg.det(t.diag(x)),
    "det of several": lambda t, x: t.linalg.det(t.stack([t.diag(x), t.diag(x + 5)])),
    "scatter_reduce": lambda t, x: (x + 0).scatter_reduce(0, t.tensor([1, 1, 0, 2]), x, "prod"),
    "scatter_reduce alone": lambda t, x: (x + 2).scatter_reduce(0, t.tensor([0, 1, 2, 3]), x, "prod", include_self=False),
    "index_reduce": lambda t, x: (x + 1).index_reduce(0, t.tensor([3, 1, 0, 1]), x, "prod"),
    "power": lambda t, x: x**2,
    "powers": lambda t, x: x.pow(t.tensor([2.0, 1.0, 0.0, 3.0], dtype=t.float64)),
    "norm": lambda t, x: x.norm(),
    "norm of 3": lambda t, x: x.norm(3),
    "sinc": lambda t, x: t.sinc(x),
    "xlogy": lambda t, x: t.xlogy(x, x + 1),
    "logsumexp": lambda t, x: x.logsumexp(0),
    "std": lambda t, x: x.std(),
    "normalize": lambda t, x: t.nn.functional.normalize(x, dim=0),
    **{
        name: lambda t, x, name=name: getattr(t.nn.functional, name)(x)
        for name in ("elu", "celu", "selu", "softplus", "hardswish", "mish", "silu", "gelu")
    },
}


def _derivatives(t, function, values):
    x = t.tensor(values, dtype=t.float64, requires_grad=True)
    (g,) = t.autograd.grad(function(t, x).sum(), x, create_graph=True)
    if not g.requires_grad:
        return g.tolist(), None
    try:
        (h,) = t.autograd.grad((g * t.tensor([1.0, 2.0, 3.0, 4.0], dtype=t.float64)).sum(), x, allow_unused=True)
    except RuntimeError as error:
        assert "Double backward is unsupported" in str(error)  # PyTorch's, of products with several zeros at a place
        return g.tolist(), None
    return g.tolist(), None if h is None else h.tolist()


@pytest.mark.parametrize(("name", "values"), list(itertools.product(FUNCTIONS, VECTORS)))
def test_derivatives_where_numbers_are_zero(name, values):
    wanted, found = (_derivatives(t, FUNCTIONS[name], values) for t in (torch, flambeau))
    assert found[0] == pytest.approx(wanted[0], abs=1e-12, nan_ok=True)
    if wanted[1] is not None and not any(map(math.isnan, wanted[1])):
        assert found[1] == pytest.approx(wanted[1], abs=1e-12)

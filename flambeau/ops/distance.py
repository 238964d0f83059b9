"""Distances, similarities and directions of vectors."""

from __future__ import annotations

from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.core.size import broadcast_shapes
from flambeau.ops.product_helpers import require_tensors
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor


@composite(
    name="nn.functional.cosine_similarity",
    aliases=("cosine_similarity",),
    samples=lambda make: [
        Sample(make(3, 4), make(3, 4)),
        Sample(make(3, 4), make(1, 4), dim=0),
        Sample(make(4), make(4), 0, 1e-3),
        Sample(make(2, 3, 2), make(3, 1), dim=-1),
    ],
    errors=lambda make: [ErrorSample(IndexError, "Dimension out of range", make(3), make(3), 2)],
)
def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    r""":math:`x_1 \cdot x_2 / (\max(\|x_1\|, eps) \max(\|x_2\|, eps))` along ``dim`` of the broadcast operands.

    Raises ``RuntimeError`` for other dtypes than floating ones.

    >>> import flambeau as torch
    >>> torch.cosine_similarity(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 0.0]), dim=0)
    tensor(0.6000)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cosine_similarity.html
    """
    require_tensors("cosine_similarity", x1=x1, x2=x2)
    shape = broadcast_shapes(x1._shape, x2._shape)
    common = dispatch.result_type(x1, x2)
    if common.kind < dtypes.FLOATING:
        raise RuntimeError(f"expected common dtype to be floating point, yet common dtype is {scalar_name(common)}")
    x1, x2 = x1.to(common).expand(shape), x2.to(common).expand(shape)

    def unit(x):
        return x / x.norm(2, dim, keepdim=True).clamp_min(eps)

    return (unit(x1) * unit(x2)).sum(dim)


@composite(
    name="nn.functional.pairwise_distance",
    aliases=("pairwise_distance",),
    samples=lambda make: [
        Sample(make(3, 4), make(3, 4)),
        Sample(make(3, 4), make(4), p=1, keepdim=True),
        Sample(make(4), make(4), p=3.0, eps=0.1),
    ],
)
def pairwise_distance(x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Tensor:
    r""":math:`\|x_1 - x_2 + eps\|_p` along the last dim of the broadcast operands.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.pairwise_distance(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([5.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pairwise_distance.html
    """
    return (x1 - x2 + eps).norm(p, -1, keepdim)


@lru_cache(16)
def _pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of all pairs of ``n`` rows, each before the ones after it."""
    return np.triu_indices(n, 1)


def _pdist_kernel(x, p):
    first, second = _pairs(x.shape[-2])
    total = np.zeros((*x.shape[:-2], len(first)), x.dtype)
    for m in range(x.shape[-1]):
        apart = np.abs(x[..., first, m] - x[..., second, m])
        if p == 0:
            apart = np.minimum(np.ceil(apart), 1)  # 1 where there is a difference, and NaN stays
        total = np.maximum(total, apart) if p == inf else total + (apart * apart if p == 2 else apart)
    return np.sqrt(total) if p == 2 else total


def _pdist_gradient(g, input, out, p):
    if p == 0:
        return input.new_zeros(input.shape)
    first, second = map(dispatch.wrap, _pairs(input.shape[-2]))
    apart = input.index_select(-2, first) - input.index_select(-2, second)
    if p == 2:
        share = (g / out).masked_fill(out == 0, 0).unsqueeze(-1) * apart
    else:
        share = g.unsqueeze(-1) * apart.sign()
        if p == inf:  # that of the greatest difference alone
            share = share * (apart.abs() == out.unsqueeze(-1))
    return input.new_zeros(input.shape).index_add(-2, first, share).index_add(-2, second, -share)


@op(name="aten.pdist", kernel=_pdist_kernel, grad={"input": _pdist_gradient}, backward_name="PdistBackward0")
def _pdist(input: Tensor, p):
    """Distances between rows by the exponents that are no powers, 0, 1, 2 and infinity: what ``pdist`` records."""
    *batch, n, _ = input.shape
    return (*batch, n * (n - 1) // 2), input.dtype, (input,), {"p": p}


@composite(
    name="nn.functional.pdist",
    aliases=("pdist",),
    samples=lambda make: [Sample(make(4, 3)), Sample(make(3, 2), p=1.0), Sample(make(3, 2), p=3.0), Sample(make(1, 2))],
    errors=lambda make: [ErrorSample(RuntimeError, "pdist only supports 2D tensors", make(3))],
)
def pdist(input: Tensor, p: float = 2) -> Tensor:
    """The p-norm distances between the rows of an input (N, M): row pairs (0, 1), (0, 2), ..., (N - 2, N - 1).

    Raises ``RuntimeError`` unless ``input`` has 2 dims, and for a negative ``p``.

    >>> import flambeau as torch
    >>> torch.pdist(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    tensor([5.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pdist.html
    """
    if input.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {input.dim()}D")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    if p in (0, 1, 2, inf) and input._dtype in (dtypes.float32, dtypes.float64):
        return _pdist(input, float(p))
    first, second = map(dispatch.wrap, _pairs(input._shape[0]))
    difference = input.index_select(0, first) - input.index_select(0, second)
    return difference.norm(float(p), -1)


@composite(
    name="nn.functional.normalize",
    out=True,
    samples=lambda make: [
        Sample(make(3, 4)),
        Sample(make(3, 4), p=1, dim=0),
        Sample(make(4), p=4.0, dim=0),
        Sample(make(2, 3), p=3, dim=(0, 1), eps=0.5),
    ],
    errors=lambda make: [ErrorSample(IndexError, "Dimension out of range", make(3))],
)
def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    r""":math:`x / \max(\|x\|_p, eps)` along ``dim``: vectors of length 1.

    >>> import flambeau as torch
    >>> torch.nn.functional.normalize(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.normalize.html
    """
    return input / input.norm(p, dim, keepdim=True).clamp_min(eps)

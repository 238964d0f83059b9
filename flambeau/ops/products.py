"""Products over dims, and their gradients where elements are zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.ops.comparison import where
from flambeau.ops.record import Sample, op
from flambeau.ops.reduction import of_dims, one_dim, one_dim_samples, reduced_shape, restore, wrap_dims

if TYPE_CHECKING:
    from flambeau.core.dtypes import dtype
    from flambeau.tensor.types import Tensor


def leave_one_out(x, dim: int):
    """``x`` repeated along a new dim after ``dim``, where copy ``k`` has 1 in place of its element ``k``."""
    n = x.shape[dim]
    own = dispatch.wrap(np.eye(n, dtype=bool)).reshape((n, n) + (1,) * (x.dim() - dim - 1))
    return x.unsqueeze(dim).masked_fill(own, 1)


def _prod_gradient(g, input, out, dim, keepdim):
    if not dim:
        return g
    whole = len(dim) > 1
    x = input.reshape(-1) if whole else input
    d = 0 if whole else dim[0]
    g = g.reshape((1,)) if whole else restore(g, input.shape, dim, keepdim)

    def divided():
        return (out.reshape((1,)) if whole else restore(out, input.shape, dim, keepdim)) / x

    if dispatch.grad_mode.enabled:
        # A further derivative is wanted. out / x has one of every order, but only where no element is zero.
        if bool((input.detach() == 0).any()):
            others = leave_one_out(x, d).prod(d + 1)
        else:
            others = divided()
    else:
        first = dispatch.wrap(np.arange(x.shape[d]) == 0).reshape((-1,) + (1,) * (x.dim() - d - 1))
        before = x.roll(1, d).masked_fill(first, 1).cumprod(d)
        after = x.flip(d).roll(1, d).masked_fill(first, 1).cumprod(d).flip(d)
        zero = x == 0
        others = where(zero.any(), before * after, divided())  # both are right but for what is not finite
        if whole:
            others = others.masked_fill(zero.sum() > 1, 0)
    return (g * others.conj_physical()).reshape(input.shape)


@op(
    expand=lambda e, x, dim, keepdim: e.fold("prod", x, dim, keepdim),
    kernel=lambda x, dim, keepdim: np.prod(x, axis=dim, keepdims=keepdim),
    out="dtype",
    grad={"input": _prod_gradient},
    overload=of_dims,
    samples=lambda make: [Sample(make(3, 2)), *one_dim_samples(make), Sample(make(0)), Sample(make(2, 3).relu(), 1)],
)
def prod(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: dtype | None = None):
    r"""The product :math:`\prod_i x_i` over ``dim`` (an int; all dims without it). The gradient is right where elements are 0.

    Integers and booleans multiply to ``int64`` unless ``dtype`` says otherwise.

    >>> import flambeau as torch
    >>> torch.prod(torch.tensor([[1, 2], [3, 4]]), dim=1)
    tensor([ 2, 12])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.prod.html
    """
    if dtype is None:
        dtype = input.dtype if input.dtype.kind >= dtypes.FLOATING else dtypes.int64
    dims = wrap_dims(None if dim is None else one_dim("prod", dim, input.dim()), input.dim())
    shape = reduced_shape(input.shape, dims, keepdim)
    return shape, dtype, (input.to(dtype),), {"dim": dims, "keepdim": bool(keepdim)}

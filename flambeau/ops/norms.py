"""Norms of vectors and matrices."""

from __future__ import annotations

from math import inf

import numpy as np

from flambeau.core import dtypes
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.reduction import accurate_sum, reduced_shape, restore, wrap_dims
from flambeau.ops.refusals import scalar_name

# --- vectors -------------------------------------------------------------------------------------------------


def _vector_norm_kernel(x, ord, dim, keepdim):
    if ord == 0:
        return np.count_nonzero(x, axis=dim, keepdims=keepdim) if dim else x != 0
    if ord == 2:
        return np.sqrt(accurate_sum((x * x.conj()).real if x.dtype.kind == "c" else x * x, dim, keepdim))
    size = np.abs(x)
    if ord == inf:
        return np.max(size, axis=dim, keepdims=keepdim, initial=0)
    if ord == -inf:
        return np.min(size, axis=dim, keepdims=keepdim, initial=np.inf)
    if ord == 1:
        return accurate_sum(size, dim, keepdim)
    p = size.dtype.type(ord)
    return np.power(accurate_sum(np.power(size, p), dim, keepdim), 1 / p)


def _vector_norm_gradient(g, input, out, ord, dim, keepdim):
    """Zero where the norm has no derivative: PyTorch's choice of subgradient."""
    shape = input.shape
    g, out = restore(g, shape, dim, keepdim), restore(out, shape, dim, keepdim)
    if ord == 0:
        return (input * 0).masked_fill(input == input, 0) * g
    if ord == 1:
        return input.sgn() * g
    if ord == 2:
        return (input / out).masked_fill(out == 0, 0) * g
    size = input.abs()
    if ord in (inf, -inf):
        mask = (size == out) | (size.isnan() & out.isnan())
        return input.sgn() * (g / mask.sum(dim, keepdim=True) * mask)
    if ord < 1:
        return (input * size.pow(ord - 2)).masked_fill(input == 0, 0) * (g * out.pow(1 - ord))
    if ord < 2:
        return input.sgn() * size.pow(ord - 1) * (g * out.pow(1 - ord)).masked_fill(out == 0, 0)
    return input * size.pow(ord - 2) * (g / out.pow(ord - 1)).masked_fill(out == 0, 0)


def _vector_norm_samples(make):
    return [
        Sample(make(3, 4)),
        Sample(make(3, 4), 2, 1),
        Sample(make(2, 3), 1, 0, keepdim=True),
        Sample(make(2, 3), inf, -1),
        Sample(make(2, 3), 3, (0, 1)),
        Sample(make(2, 3), 1.5),
        Sample(make()),
    ]


def _require_inexact(name: str, x) -> None:
    if x.dtype.kind < dtypes.FLOATING:
        raise RuntimeError(
            f"{name}: Expected a floating point or complex tensor as input. Got {scalar_name(x.dtype)}. "
            "Convert it first, for example with .float()."
        )


@op(
    kernel=_vector_norm_kernel,
    name="linalg.vector_norm",
    tensors="input",
    backward_name="LinalgVectorNormBackward0",
    out=True,
    grad={"input": _vector_norm_gradient},
    samples=_vector_norm_samples,
    errors=lambda make: [
        ErrorSample(RuntimeError, "cannot compute the inf norm on an empty", make(0), inf),
        ErrorSample(IndexError, "Dimension out of range", make(2, 3), dim=2),
    ],
)
def vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None):
    r"""The vector norm :math:`(\sum_i |x_i|^p)^{1/p}` over ``dim`` (all dims without it), with ``p`` given as ``ord``.

    ``inf`` and ``-inf`` give the greatest and least magnitude, 0 the number of elements that are not 0. The result is
    real.

    >>> import flambeau as torch
    >>> torch.linalg.vector_norm(torch.tensor([3.0, 4.0]))
    tensor(5.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.vector_norm.html
    """
    _require_inexact("linalg.vector_norm", x)
    dims = wrap_dims(dim, x.dim())
    shape = reduced_shape(x.shape, dims, keepdim)
    ord = float(ord)
    if (ord < 0 or ord == inf) and any(x.shape[d] == 0 for d in dims):
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {ord:g} norm on an empty tensor because the operation does not have an "
            f"identity; the shape is {list(x.shape)}"
        )
    if dtype is not None:
        if dtype.kind < x.dtype.kind:
            raise RuntimeError(
                f"linalg.vector_norm: the dtype of the input ({x.dtype}) should be convertible without narrowing to the "
                f"specified dtype ({dtype})"
            )
        x = x.to(dtype)
    return shape, x.dtype.to_real(), (x,), {"ord": ord, "dim": dims, "keepdim": bool(keepdim)}

"""Norms of vectors and matrices."""

from __future__ import annotations

from functools import reduce
from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.core.size import wrap_dim
from flambeau.ops import layouts
from flambeau.ops.comparison import where
from flambeau.ops.linalg import inv_ex, require_matrix, require_square
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.reduction import accurate_sum, reduced_shape, restore, wrap_dims
from flambeau.ops.singular_values import svdvals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.core.dtypes import dtype
    from flambeau.tensor.types import Number, Tensor

# --- vectors -------------------------------------------------------------------------------------------------


_BLOCK = 1024


def _sum_of_squares(x: np.ndarray, dim: tuple[int, ...], keepdim: bool) -> np.ndarray:
    if x.dtype.kind == "c":
        return accurate_sum((x * x.conj()).real, dim, keepdim)
    if len(dim) < x.ndim or x.size < _BLOCK or not x.flags.c_contiguous:
        return accurate_sum(x * x, dim, keepdim)
    # Of all elements: dot products of short pieces, which make no array of squares.
    flat = x.reshape(-1)
    rest = flat[x.size // _BLOCK * _BLOCK :]
    pieces = flat[: x.size - rest.size].reshape((-1, _BLOCK))
    total = np.einsum("ij,ij->i", pieces, pieces).sum() + np.dot(rest, rest)
    return total.reshape((1,) * x.ndim if keepdim else ())


def _vector_norm_kernel(x, ord, dim, keepdim):
    if ord == 0:
        return np.count_nonzero(x, axis=dim, keepdims=keepdim) if dim else x != 0
    if ord == 2:
        return np.sqrt(_sum_of_squares(x, dim, keepdim))
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
        return None  # a number of elements
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


def _combined(b, x, ord):
    """What a norm adds up, or takes the greatest or least of, over the elements."""
    if ord == 0:
        return b.sum(b.cast(b.ne(x, 0), x.dtype))
    if ord == 2:
        return b.sum(b.mul(x, x))
    size = b.abs(x)
    if ord == inf:
        return b.amax(size)
    if ord == -inf:
        return b.amin(size)
    return b.sum(size if ord == 1 else b.pow(size, ord))


def _root(b, total, ord):
    """The norm that :func:`_combined` leads to."""
    if ord == 2:
        return b.sqrt(total)
    return total if ord in (0, 1, inf, -inf) else b.pow(total, 1 / ord)


def _expand_vector_norm(e, x, ord, dim, keepdim):
    if not dim:
        e.refuse("of no dims")
    return e.map(lambda b, t: _root(b, t, ord), e.reduce(lambda b, x: _combined(b, x, ord), dim, x, keepdim=keepdim))


@op(
    kernel=_vector_norm_kernel,
    expand=_expand_vector_norm,
    name="linalg.vector_norm",
    tensors="input",
    backward_name="LinalgVectorNormBackward0",
    out="same",
    grad={"input": _vector_norm_gradient},
    samples=_vector_norm_samples,
    errors=lambda make: [
        ErrorSample(RuntimeError, "cannot compute the inf norm on an empty", make(0), inf),
        ErrorSample(IndexError, "Dimension out of range", make(2, 3), dim=2),
    ],
)
def vector_norm(
    x: Tensor,
    ord: Number | complex = 2,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
):
    r"""The vector norm :math:`(\sum_i |x_i|^p)^{1/p}` over ``dim`` (all dims without it), with ``p`` given as ``ord``.

    ``inf`` and ``-inf`` give the greatest and least magnitude, 0 the number of elements that are not 0. The result is
    real.

    Raises ``RuntimeError`` for a norm that empty vectors have not, and for a ``dtype`` that narrows.

    >>> import flambeau as torch
    >>> torch.linalg.vector_norm(torch.tensor([3.0, 4.0]))
    tensor(5.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.vector_norm.html
    """
    _require_inexact("linalg.vector_norm", x)
    dims = wrap_dims(dim, x.dim())
    shape = reduced_shape(x.shape, dims, keepdim)
    order: Any = ord
    ord = float(order)
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


def _total_norm_kernel(*tensors, ord):
    norms = [_vector_norm_kernel(x.reshape(-1), ord, (0,), False) for x in tensors]
    return _vector_norm_kernel(np.stack(norms), ord, (0,), False)


def _expand_total_norm(e, *tensors, ord):
    if ord == 0:
        e.refuse("counts the norms that are not 0")
    totals = [
        e.reduce(lambda b, x: _combined(b, x, ord), tuple(range(len(x.shape))), x, keepdim=False) if x.shape
        else e.map(lambda b, x: _combined_alone(b, x, ord), x)
        for x in tensors
    ]  # fmt: skip
    while len(totals) > 1:
        totals = [e.map(lambda b, *some: _joined(b, some, ord), *totals[i : i + 8]) for i in range(0, len(totals), 8)]
    return e.map(lambda b, t: _root(b, t, ord), totals[0])


def _combined_alone(b, x, ord):
    """:func:`_combined` of one element."""
    return b.mul(x, x) if ord == 2 else b.abs(x) if ord in (1, inf, -inf) else b.pow(b.abs(x), ord)


def _joined(b, totals, ord):
    """What :func:`_combined` would give for several tensors together."""
    join = {inf: b.max, -inf: b.min}.get(ord, b.add)
    return reduce(join, totals)


@op(
    kernel=_total_norm_kernel,
    expand=_expand_total_norm,
    name="_total_norm",
    tensors="*tensors",
    method=False,
    samples=lambda make: [
        Sample(make(3, 4), make(5), make(), ord=2.0),
        Sample(make(2, 2), ord=1.0),
        Sample(make(3), make(2), ord=inf),
        Sample(*[make(2) for _ in range(20)], ord=3.0),
    ],
)
def _total_norm(*tensors: Tensor | Sequence[Tensor], ord):
    """The norm of tensors of one dtype as if they were one vector; off the tape."""
    first: Any = tensors[0]
    return (), first._dtype, tensors, {"ord": ord}


@composite(out=True, method=True, samples=lambda make: [Sample(make(2, 3), make(2, 3)), Sample(make(2, 3), make(3), 1)])
def dist(input: Tensor, other: Tensor, p: Number | complex = 2) -> Tensor:
    """The ``p``-norm of the difference: :func:`linalg.vector_norm` of ``input - other``.

    >>> import flambeau as torch
    >>> torch.dist(torch.tensor([0.0, 0.0]), torch.tensor([3.0, 4.0]))
    tensor(5.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.dist.html
    """
    return vector_norm(input - other, p)


# --- matrices ------------------------------------------------------------------------------------------------


def _matrix_dims(dim, ndim: int) -> tuple[int, int]:
    dims = tuple(dim)
    if len(dims) != 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {' '.join(map(str, dims))}")
    first, second = [wrap_dim(d, ndim) for d in dims]
    if first == second:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({first}, {second})")
    return first, second


@composite(
    name="linalg.matrix_norm",
    out="same",
    samples=lambda make: (
        [Sample(make(2, 3), p) for p in ("fro", "nuc", 1, -1, 2, -2, inf, -inf)]
        + [Sample(make(2, 3, 2), "nuc", (0, 2), keepdim=True), Sample(make(2, 3, 2), 1, (2, 0))]
    ),
    errors=lambda make: [
        ErrorSample(RuntimeError, "must have at least 2 dimensions", make(3)),
        ErrorSample(RuntimeError, "order 3 not supported", make(2, 2), 3),
    ],
)
def matrix_norm(
    A: Tensor,
    ord: Number | complex | str = "fro",
    dim: Sequence[int] = (-2, -1),
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    r"""A norm of matrices: ``fro`` (Frobenius), ``nuc`` (sum of singular values), 2 and -2 (the greatest and the least of
    them), ``inf`` and ``-inf`` (greatest and least sum of a row's magnitudes), 1 and -1 (of a column's).

    Raises ``RuntimeError`` for fewer than 2 dims and for another ``ord``.

    >>> import flambeau as torch
    >>> torch.linalg.matrix_norm(torch.tensor([[3.0, 0.0], [4.0, 0.0]]))
    tensor(5.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.matrix_norm.html
    """
    if A.dim() < 2:
        raise RuntimeError(f"linalg.matrix_norm: The input tensor A must have at least 2 dimensions, got {list(A.shape)}")
    _require_inexact("linalg.matrix_norm", A)
    first, second = _matrix_dims(dim, A.dim())
    if ord == "fro":
        return vector_norm(A, 2, (first, second), keepdim, dtype=dtype)
    if dtype is not None:
        A = A.to(dtype)
    if ord == "nuc" or ord in (2, -2):
        S = svdvals(A.movedim((first, second), (-2, -1)))
        if not S.shape[-1] and ord == 2:
            S = S.new_zeros((*S.shape[:-1], 1))  # of a matrix without elements
        result = S.sum(-1) if ord == "nuc" else S.amax(-1) if ord == 2 else S.amin(-1)
        for d in sorted((first, second)) if keepdim else ():
            result = result.unsqueeze(d)
        return result
    if isinstance(ord, str) or abs(ord) not in (1, inf):
        raise RuntimeError(f"linalg.matrix_norm: order {ord if isinstance(ord, str) else f'{ord:g}'} not supported.")
    if abs(ord) == inf:
        first, second = second, first
    sums = vector_norm(A, 1, first, True)
    if not sums.shape[second] and ord in (1, inf):  # of a matrix without elements
        sums = sums.new_zeros([1 if d == second else size for d, size in enumerate(sums.shape)])
    extreme = sums.amax(second, keepdim=True) if ord in (1, inf) else sums.amin(second, keepdim=True)
    return extreme if keepdim else extreme.squeeze((first, second))


@composite(
    name="linalg.norm",
    out="same",
    samples=lambda make: [
        Sample(make(2, 3)),
        Sample(make(2, 3), "nuc"),
        Sample(make(2, 3), 1),
        Sample(make(2, 3), 3, 1),
        Sample(make(3), inf),
    ],
)
def linalg_norm(
    A: Tensor,
    ord: Number | complex | str | None = None,
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    *,
    dtype: dtype | None = None,
) -> Tensor:
    """A vector or matrix norm: the 2-norm of all elements; with ``ord``, of a vector for one dim and of a matrix for two.

    See :func:`linalg.vector_norm` and :func:`linalg.matrix_norm`.

    Raises ``RuntimeError`` for more than two dims together with ``ord``.

    >>> import flambeau as torch
    >>> torch.linalg.norm(torch.tensor([[3.0, 0.0], [4.0, 0.0]]), ord=1)
    tensor(7.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.norm.html
    """
    if ord is None:
        return vector_norm(A, 2, dim, keepdim, dtype=dtype)
    dims = (dim,) if isinstance(dim, int) else dim
    if dims is not None and len(dims) not in (1, 2):
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}")
    if dims is None and A.dim() not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got a {A.dim()}-dimensional tensor"
        )
    if isinstance(ord, str) or (len(dims) == 2 if dims is not None else A.dim() == 2):
        return matrix_norm(A, ord, (-2, -1) if dims is None else dims, keepdim, dtype=dtype)
    return vector_norm(A, ord, dims, keepdim, dtype=dtype)


@composite(
    out="same",
    samples=lambda make: [
        Sample(make(2, 3)),
        Sample(make(2, 3), 1),
        Sample(make(2, 3), "nuc"),
        Sample(make(2, 3), 2, 0, True),
    ],
)
def norm(
    input: Tensor,
    p: float | str | None = "fro",
    dim: int | Sequence[int] | None = None,
    keepdim: bool = False,
    dtype: dtype | None = None,
) -> Tensor:
    """The ``p``-norm of all elements, or over ``dim``, as of a vector; ``nuc`` is the matrix norm.

    Raises ``RuntimeError`` for another string than ``"fro"`` and ``"nuc"``.

    >>> import flambeau as torch
    >>> torch.tensor([3.0, 4.0]).norm()
    tensor(5.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.norm.html
    """
    if p == "nuc":
        return matrix_norm(input, "nuc", (-2, -1) if dim is None else dim, keepdim, dtype=dtype)
    if isinstance(p, str) and p != "fro":
        raise RuntimeError(f"only valid string values are 'fro' and 'nuc', found {p}")
    return vector_norm(input, 2 if p is None or p == "fro" else p, dim, keepdim, dtype=dtype)


@composite(
    name="linalg.cond",
    out=True,
    samples=lambda make: [Sample(make(3, 3)), Sample(make(3, 3), 1), Sample(make(2, 3), -2)],
)
def cond(A: Tensor, p: Number | complex | str | None = None) -> Tensor:
    r"""The condition number :math:`\|A\| \, \|A^{-1}\|` in the norm ``p``: 2 unless given; see :func:`linalg.matrix_norm`.

    >>> import flambeau as torch
    >>> torch.linalg.cond(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor(2.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.cond.html
    """
    require_matrix("linalg.cond", A)
    if p is None or p in (2, -2):
        S = svdvals(A)
        if not S.shape[-1]:
            return S.new_zeros(S.shape[:-1])
        return S[..., -1] / S[..., 0] if p == -2 else S[..., 0] / S[..., -1]
    require_square(f"linalg.cond({p})", A)
    if A.numel() == 0:
        return A.new_zeros(A.shape[:-2]).real
    inverse, info = inv_ex(A)
    product = matrix_norm(A, p) * matrix_norm(inverse, p)
    return product.masked_fill(info != 0, inf)


@composite(
    layout=layouts.row_major,
    inplace=True,
    out="same",
    samples=lambda make: [Sample(make(2, 3), 2, 0, 0.5), Sample(make(2, 3), 1, 1, 10.0)],
    errors=lambda make: [ErrorSample(RuntimeError, "needs at least 2 dimensions", make(3), 2, 0, 1.0)],
)
def renorm(input: Tensor, p: Number | complex, dim: int, maxnorm: Number | complex) -> Tensor:
    """Each slice along ``dim`` scaled down to the ``p``-norm ``maxnorm`` where its norm is greater.

    Raises ``RuntimeError`` for a ``p`` that is not positive, a negative ``maxnorm``, or fewer than 2 dims.

    >>> import flambeau as torch
    >>> torch.renorm(torch.tensor([[3.0, 4.0], [0.3, 0.4]]), p=2, dim=0, maxnorm=1)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.renorm.html
    """
    order: Any = p
    largest: Any = maxnorm
    if order <= 0:
        raise RuntimeError(f"renorm: non-positive-norm not supported, got p={p}")
    if input.dim() < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {input.dim()} dimensions")
    if largest < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm:g}")
    d = wrap_dim(dim, input.dim())
    others = tuple([i for i in range(input.dim()) if i != d])
    kept = ~(vector_norm(input.detach(), p, others, True) > maxnorm)  # NaN is
    scaled = input.masked_fill(kept, 0)  # so that no gradient comes by way of the norms of the rest
    return where(kept, input, scaled * (maxnorm / (vector_norm(scaled, p, others, True) + 1e-7)))

"""Cholesky factorizations of symmetric positive-definite matrices, and what is solved by them.

The last two dims are the matrix, dims before them a batch. The gradient follows Murray, Differentiation of the Cholesky
decomposition (2016).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import dtypes
from flambeau.core.size import broadcast_shapes
from flambeau.ops import decompositions, layouts
from flambeau.ops.linalg import (
    LinAlgError,
    eye,
    first_failures,
    require_square,
    solve_triangular,
    square_errors,
    substitute,
    where_failed,
)
from flambeau.ops.product_helpers import conjugate_transpose
from flambeau.ops.record import Sample, composite, op

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- Cholesky ------------------------------------------------------------------------------------------------


def _bad_minor(matrix: np.ndarray) -> int:
    """The order of the first leading minor that is not positive-definite; 0 where there is none."""
    for k in range(1, len(matrix) + 1):
        try:
            decompositions.cholesky(matrix[:k, :k])
        except np.linalg.LinAlgError:
            return k
    return 0


def _cholesky_ex_kernel(a):
    info = np.zeros(a.shape[:-2], np.int32)
    try:
        return decompositions.cholesky(a), info
    except np.linalg.LinAlgError:
        info = first_failures(_bad_minor, a)
        good = info[..., None, None] == 0
        return np.where(good, decompositions.cholesky(np.where(good, a, np.eye(a.shape[-1], dtype=a.dtype))), np.tril(a)), info


def _cholesky_kernel(a):
    factor, info = _cholesky_ex_kernel(a)
    if info.any():
        where, k = where_failed(info)
        raise LinAlgError(
            f"linalg.cholesky: {where}The factorization could not be completed because the input is not positive-definite "
            f"(the leading minor of order {k} is not positive-definite)."
        )
    return factor


def _cholesky_gradient(g, out):
    """``L^-H sym(L^H g) L^-1 / 2``, where ``sym`` mirrors the lower triangle."""
    lower = (conjugate_transpose(out) @ g).tril()
    symmetric = lower.tril(-1) + conjugate_transpose(lower)
    left = solve_triangular(conjugate_transpose(out), symmetric, upper=True)
    return solve_triangular(out, left, upper=False, left=False) * 0.5


def _positive_samples(make):
    x = make(2, 3, 3, requires_grad=False)
    return [Sample(x @ x.mT + 3 * eye(3, x))]


@op(
    layout=layouts.columns,
    kernel=_cholesky_kernel,
    name="aten.linalg_cholesky",
    backward_name="LinalgCholeskyExBackward0",
    checked=True,
    grad={"A": _cholesky_gradient},
)
def _cholesky(A: Tensor):
    """The lower Cholesky factor: what ``linalg.cholesky`` records."""
    return A.shape, A.dtype, (A,), {}


@composite(name="linalg.cholesky", out="same", samples=_positive_samples, errors=square_errors)
def linalg_cholesky(A: Tensor, *, upper: bool = False) -> Tensor:
    r"""The Cholesky factor of a symmetric (Hermitian) positive-definite matrix: :math:`A = L L^H`; :math:`L^H` where ``upper``.

    Reads the lower triangle (the upper where ``upper``). Raises ``LinAlgError`` where ``A`` is not positive-definite.

    >>> import flambeau as torch
    >>> torch.linalg.cholesky(torch.tensor([[4.0, 2.0], [2.0, 5.0]]))
    tensor([[2., 0.],
            [1., 2.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.cholesky.html
    """
    require_square("linalg.cholesky", A)
    return conjugate_transpose(_cholesky(conjugate_transpose(A))) if upper else _cholesky(A)


@op(
    layout=(layouts.columns, None),
    kernel=_cholesky_ex_kernel,
    name="aten.linalg_cholesky_ex",
    backward_name="LinalgCholeskyExBackward0",
    tensors="A",
    outputs=("L", "info"),
    nondifferentiable=("info",),
    grad={"A": lambda g, L: _cholesky_gradient(g, L)},
)
def _cholesky_ex(A: Tensor):
    """The lower Cholesky factor and ``info``: what ``linalg.cholesky_ex`` records."""
    return (A.shape, A.shape[:-2]), (A.dtype, dtypes.int32), (A,), {}


@composite(name="linalg.cholesky_ex", out=True, samples=_positive_samples, errors=square_errors)
def cholesky_ex(A: Tensor, *, upper: bool = False, check_errors: bool = False):
    """The Cholesky factor, and ``info``: 0, or the order of the first minor that is not positive-definite.

    >>> import flambeau as torch
    >>> torch.linalg.cholesky_ex(torch.tensor([[1.0, 2.0], [2.0, 1.0]])).info
    tensor(2, dtype=torch.int32)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.cholesky_ex.html
    """
    require_square("linalg.cholesky_ex", A)
    if check_errors:
        linalg_cholesky(A.detach(), upper=upper).tolist()
    result = _cholesky_ex(conjugate_transpose(A) if upper else A)
    return type(result)((conjugate_transpose(result.L), result.info)) if upper else result


@composite(out=True, samples=_positive_samples, errors=square_errors)
def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """The Cholesky factor: :func:`linalg.cholesky`.

    >>> import flambeau as torch
    >>> torch.linalg.cholesky(torch.tensor([[4.0, 2.0], [2.0, 5.0]]))  # the newer name
    tensor([[2., 0.],
            [1., 2.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cholesky.html
    """
    return linalg_cholesky(input, upper=upper)


def _cholesky_solve_kernel(b, factor, upper):
    lower = factor.conj().swapaxes(-2, -1) if upper else factor
    half = substitute(lower, b, upper=False)
    return substitute(lower.conj().swapaxes(-2, -1), half, upper=True)


def _factor_gradient(common, L, upper):
    """At the factor, from ``common`` at ``A``: of ``L L^H`` or ``U^H U``."""
    common = common + conjugate_transpose(common)
    return -(L @ common) if upper else -(common @ L)


@op(
    layout=layouts.columns,
    kernel=_cholesky_solve_kernel,
    tensors="B L",
    out=True,
    grad={
        "B": lambda g, L, upper: cholesky_solve(g, L, upper),
        "L": lambda g, L, out, upper: _factor_gradient(cholesky_solve(g, L, upper) @ conjugate_transpose(out), L, upper),
    },
    samples=lambda make: [
        Sample(make(3, 2), make(3, 3, requires_grad=False)),
        Sample(make(3, 2), make(3, 3, requires_grad=False), upper=True),
    ],
)
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False):
    r"""The solution of :math:`A X = B`, given the Cholesky factor of ``A``.

    Raises ``RuntimeError`` for what are no matrices.

    >>> import flambeau as torch
    >>> L = torch.tensor([[2.0, 0.0], [1.0, 2.0]])
    >>> torch.cholesky_solve(torch.tensor([[6.0], [7.0]]), L)  # of L @ L.T @ X = B
    tensor([[1.],
            [1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cholesky_solve.html
    """
    if B.dim() < 2:
        raise RuntimeError(f"b should have at least 2 dimensions, but has {B.dim()} dimensions instead")
    require_square("cholesky_solve", L)
    batch = broadcast_shapes(B.shape[:-2], L.shape[:-2])
    return (*batch, *B.shape[-2:]), B.dtype, (B, L), {"upper": bool(upper)}


@op(
    layout=layouts.columns,
    kernel=lambda L, upper: _cholesky_solve_kernel(np.eye(L.shape[-1], dtype=L.dtype), L, upper),
    name="aten.cholesky_inverse",
    grad={"L": lambda g, L, out, upper: _factor_gradient(out @ g @ out, L, upper)},
)
def _cholesky_inverse(L: Tensor, upper: bool):
    """The inverse from a factor, of which one triangle is read: what ``cholesky_inverse`` records."""
    return L.shape, L.dtype, (L,), {"upper": upper}


@composite(
    out=True,
    samples=lambda make: [Sample(make(3, 3, requires_grad=False)), Sample(make(3, 3, requires_grad=False), upper=True)],
    errors=square_errors,
)
def cholesky_inverse(L: Tensor, upper: bool = False) -> Tensor:
    """The inverse of a matrix, given its Cholesky factor.

    >>> import flambeau as torch
    >>> torch.cholesky_inverse(torch.tensor([[2.0]]))
    tensor([[0.2500]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cholesky_inverse.html
    """
    require_square("cholesky_inverse", L)
    return _cholesky_inverse(L, bool(upper))

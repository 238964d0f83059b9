"""LU factorizations of matrices with row exchanges, and systems that are solved by them.

The last two dims are the matrix, dims before them a batch. The gradient follows Walter and Lehmann, Algorithmic
differentiation of linear algebra functions (2010).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import dtypes
from flambeau.core.results import return_type
from flambeau.core.size import broadcast_shapes
from flambeau.ops import layouts
from flambeau.ops.joining import cat
from flambeau.ops.linalg import (
    eye,
    require_matrix,
    require_square,
    solve_triangular,
)
from flambeau.ops.product_helpers import conjugate_transpose
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from flambeau.core.dtypes import dtype
    from flambeau.tensor.types import Tensor

# --- LU ------------------------------------------------------------------------------------------------------


def _lu_kernel(a):
    """Gaussian elimination with partial pivoting, in double precision."""
    from flambeau.engine.cpu import blas  # ctypes, which most programs do without

    m, n = a.shape[-2:]
    lu = a.reshape((prod(a.shape[:-2]), m, n)).astype(np.complex128 if a.dtype.kind == "c" else np.float64)
    k = min(m, n)
    pivots = np.empty((len(lu), k), np.int32)
    info = np.zeros(len(lu), np.int32)
    if k and len(lu) <= 2 * k and blas.factorizes(lu.dtype):  # of many small ones each step is done for all at once
        with blas.one_thread():
            for i, matrix in enumerate(lu):
                columns = np.array(matrix, order="F")
                pivots[i], info[i] = blas.lu(columns)
                matrix[...] = columns
    else:
        _eliminate(lu, pivots, info)
    batch = a.shape[:-2]
    return lu.reshape(a.shape), pivots.reshape((*batch, k)), info.reshape(batch)


def _eliminate(lu: np.ndarray, pivots: np.ndarray, info: np.ndarray) -> None:
    """Fills in the factors of a whole batch, in the place of its matrices, the exchanges, and which pivot is zero."""
    rows, k = np.arange(len(lu)), pivots.shape[1]
    for i in range(k):
        column = lu[:, i:, i]
        p = i + np.argmax(np.abs(column.real) + np.abs(column.imag), axis=1)  # LAPACK's measure of size
        pivots[:, i] = p + 1
        swapped = lu[rows, p]
        lu[rows, p] = lu[:, i]
        lu[:, i] = swapped
        pivot = lu[:, i, i]
        info[(info == 0) & (pivot == 0)] = i + 1
        lu[:, i + 1 :, i] /= np.where(pivot == 0, 1, pivot)[:, None]
        lu[:, i + 1 :, i + 1 :] -= lu[:, i + 1 :, i, None] * lu[:, i, None, i + 1 :]


def _permutation_kernel(pivots, m):
    flat = pivots.reshape((prod(pivots.shape[:-1]), pivots.shape[-1]))
    order = np.tile(np.arange(m), (len(flat), 1))
    rows = np.arange(len(flat))
    for i in range(flat.shape[1]):
        p = flat[:, i] - 1
        swapped = order[rows, p]
        order[rows, p] = order[:, i]
        order[:, i] = swapped
    matrix = np.zeros((len(flat), m, m))
    matrix[rows[:, None], order, np.arange(m)] = 1
    return matrix.reshape((*pivots.shape[:-1], m, m))


@op(kernel=_permutation_kernel, name="aten.permutation_of_pivots")
def _permutation(pivots: Tensor, m, dtype: dtype | None):
    """The permutation matrix ``P`` that a sequence of row exchanges makes."""
    return (*pivots.shape[:-1], m, m), dtype, (pivots,), {"m": m}


def _lu_gradient(g, LU, pivots):
    m, n = LU.shape[-2:]
    k = min(m, n)
    L, U = _lower(LU), _upper(LU)
    gL, gU = g[..., :, :k].tril(-1), g[..., :k, :].triu()
    L1, gL1, U1, gU1 = L[..., :k, :], gL[..., :k, :], U[..., :, :k], gU[..., :, :k]
    lower = conjugate_transpose(L1) @ gL1
    upper = gU1 @ conjugate_transpose(U1)
    if n > m:
        lower = lower - gU[..., k:] @ conjugate_transpose(U[..., k:])
    if m > n:
        upper = upper - conjugate_transpose(L[..., k:, :]) @ gL[..., k:, :]
    phi = lower.tril(-1) + upper.triu()
    phi = solve_triangular(conjugate_transpose(U1), phi, upper=False, left=False)
    result = solve_triangular(conjugate_transpose(L1), phi, upper=True, unitriangular=True)
    if n > m:
        more = solve_triangular(conjugate_transpose(L1), gU[..., k:], upper=True, unitriangular=True)
        result = cat([result, more], -1)
    if m > n:
        more = solve_triangular(conjugate_transpose(U1), gL[..., k:, :], upper=False, left=False)
        result = cat([result, more], -2)
    return _permutation(pivots, m, LU.dtype) @ result


def _lower(LU):
    k = min(LU.shape[-2:])
    return LU[..., :, :k].tril(-1) + eye(LU.shape[-2], LU)[:, :k]


def _upper(LU):
    return LU[..., : min(LU.shape[-2:]), :].triu()


def _lu_samples(make):
    return [Sample(make(3, 3)), Sample(make(2, 2, 3)), Sample(make(3, 2))]


@op(
    layout=(layouts.columns, None, None),
    kernel=_lu_kernel,
    name="linalg.lu_factor_ex",
    outputs=("LU", "pivots", "info"),
    nondifferentiable=("pivots", "info"),
    tensors="A",
    out=True,
    grad={"A": _lu_gradient},
    samples=_lu_samples,
    errors=lambda make: [ErrorSample(RuntimeError, "LU without pivoting is not implemented on the CPU", make(2, 2), pivot=False)],
)
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False):
    """The LU factorization in one matrix, the pivots, and ``info``: 0, or the number of the first pivot that is 0.

    Raises ``RuntimeError`` for ``pivot=False``.

    >>> import flambeau as torch
    >>> torch.linalg.lu_factor_ex(torch.zeros(2, 2)).info
    tensor(1, dtype=torch.int32)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu_factor_ex.html
    """
    require_matrix("linalg.lu_factor_ex", A)
    if not pivot:
        raise RuntimeError("linalg.lu_factor: LU without pivoting is not implemented on the CPU")
    if check_errors:
        linalg_lu_factor(A.detach())
    shapes = (A.shape, (*A.shape[:-2], min(A.shape[-2:])), A.shape[:-2])
    return shapes, (A.dtype, dtypes.int32, dtypes.int32), (A,), {}


_LUFactor = return_type("linalg_lu_factor", "LU", "pivots")
_PLU = return_type("linalg_lu", "P", "L", "U")


@composite(name="linalg.lu_factor", out=True, samples=_lu_samples)
def linalg_lu_factor(A: Tensor, *, pivot: bool = True):
    r"""The LU factorization :math:`A = P L U` in one matrix, and the pivots as LAPACK's row exchanges, counted from 1.

    >>> import flambeau as torch
    >>> torch.linalg.lu_factor(torch.tensor([[1.0, 2.0], [4.0, 0.0]]))
    torch.return_types.linalg_lu_factor(
    LU=tensor([[4.0000, 0.0000],
            [0.2500, 2.0000]]),
    pivots=tensor([2, 2], dtype=torch.int32))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu_factor.html
    """
    require_matrix("linalg.lu_factor", A)
    return _LUFactor(lu_factor_ex(A, pivot=pivot)[:2])


@composite(name="linalg.lu", out=True, samples=_lu_samples)
def linalg_lu(A: Tensor, *, pivot: bool = True):
    r"""The LU factorization :math:`A = P L U`: a permutation, a lower triangle with ones on the diagonal, an upper triangle.

    >>> import flambeau as torch
    >>> P, L, U = torch.linalg.lu(torch.tensor([[1.0, 2.0], [4.0, 0.0]]))
    >>> L
    tensor([[1.0000, 0.0000],
            [0.2500, 1.0000]])
    >>> P @ L @ U
    tensor([[1., 2.],
            [4., 0.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu.html
    """
    require_matrix("linalg.lu", A)
    LU, pivots, _ = lu_factor_ex(A, pivot=pivot)
    return _PLU((_permutation(pivots, A.shape[-2], A.dtype), _lower(LU), _upper(LU)))


_LU = return_type("lu", "LU", "pivots")
_LUWithInfo = return_type("lu", "LU", "pivots", "info")


@composite(out=True, samples=lambda make: [Sample(make(3, 3))])
def lu(A: Tensor, pivot: bool = True, get_infos: bool = False):
    """The LU factorization in one matrix and the pivots; with ``get_infos`` ``info`` as well.

    >>> import flambeau as torch
    >>> torch.linalg.lu_factor(torch.tensor([[1.0, 2.0], [4.0, 0.0]])).pivots  # the newer name
    tensor([2, 2], dtype=torch.int32)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.lu.html
    """
    result = lu_factor_ex(A, pivot=pivot)
    return _LUWithInfo(result) if get_infos else _LU(result[:2])


_Unpacked = return_type("lu_unpack", "P", "L", "U")


@composite(method=False, out=True)
def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True):
    """``(P, L, U)`` from what :func:`linalg.lu_factor` gives; what is not asked for is empty.

    Raises ``RuntimeError`` for pivots of another dtype than int32.

    >>> import flambeau as torch
    >>> LU, pivots = torch.linalg.lu_factor(torch.tensor([[1.0, 2.0], [4.0, 0.0]]))
    >>> torch.lu_unpack(LU, pivots).U
    tensor([[4., 0.],
            [0., 2.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.lu_unpack.html
    """
    if LU_pivots.dtype is not dtypes.int32:
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype. "
            "Note: this function is intended to be used with the output produced by torch.linalg.lu_factor"
        )
    empty = LU_data.new_empty((0,))
    P = _permutation(LU_pivots, LU_data.shape[-2], LU_data.dtype) if unpack_pivots else empty
    return _Unpacked((P, _lower(LU_data), _upper(LU_data)) if unpack_data else (P, empty, empty))


@composite(name="linalg.lu_solve", out=True)
def linalg_lu_solve(LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False):
    r"""The solution of :math:`A X = B` given the LU factorization of ``A``; of :math:`A^H X = B` where ``adjoint``, of
    :math:`X A = B` where not ``left``.

    >>> import flambeau as torch
    >>> LU, pivots = torch.linalg.lu_factor(torch.tensor([[1.0, 2.0], [4.0, 0.0]]))
    >>> torch.linalg.lu_solve(LU, pivots, torch.tensor([[3.0], [4.0]]))
    tensor([[1.],
            [1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu_solve.html
    """
    require_square("torch.linalg.lu_solve", LU)
    if not left:
        transposed = linalg_lu_solve(LU, pivots, conjugate_transpose(B), adjoint=not adjoint)
        return conjugate_transpose(transposed)
    P = _permutation(pivots, LU.shape[-1], LU.dtype)
    batch = broadcast_shapes(LU.shape[:-2], B.shape[:-2])
    B = B.expand((*batch, *B.shape[-2:]))
    if adjoint:
        half = solve_triangular(conjugate_transpose(LU), B, upper=False)
        return P @ solve_triangular(conjugate_transpose(LU), half, upper=True, unitriangular=True)
    half = solve_triangular(LU, P.mT @ B, upper=False, unitriangular=True)
    return solve_triangular(LU, half, upper=True)


@composite(out=True)
def lu_solve(b: Tensor, LU_data: Tensor, LU_pivots: Tensor):
    """The solution of a linear system, given an LU factorization: :func:`linalg.lu_solve`.

    >>> import flambeau as torch
    >>> LU, pivots = torch.linalg.lu_factor(torch.tensor([[1.0, 2.0], [4.0, 0.0]]))
    >>> torch.linalg.lu_solve(LU, pivots, torch.tensor([[3.0], [4.0]])).T  # the newer name
    tensor([[1., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.lu_solve.html
    """
    return linalg_lu_solve(LU_data, LU_pivots, b)

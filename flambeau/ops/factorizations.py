"""Factorizations of matrices: Cholesky, LU, QR.

The last two dims are the matrix, dims before them a batch. Gradients follow Murray, Differentiation of the Cholesky
decomposition (2016); Walter and Lehmann, Algorithmic differentiation of linear algebra functions (2010); and Roberts and
Roberts, QR and LQ decomposition matrix backpropagation algorithms (2020).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.results import return_type
from flambeau.core.size import broadcast_shapes
from flambeau.ops import layouts
from flambeau.ops.joining import cat
from flambeau.ops.linalg import (
    LinAlgError,
    eye,
    first_failures,
    require_matrix,
    require_square,
    solve_triangular,
    square_errors,
    substitute,
    where_failed,
)
from flambeau.ops.matmul import conjugate_transpose
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from flambeau.core.dtypes import dtype
    from flambeau.tensor.types import Tensor

# --- Cholesky ------------------------------------------------------------------------------------------------


def _bad_minor(matrix: np.ndarray) -> int:
    """The order of the first leading minor that is not positive-definite; 0 where there is none."""
    for k in range(1, len(matrix) + 1):
        try:
            np.linalg.cholesky(matrix[:k, :k])
        except np.linalg.LinAlgError:
            return k
    return 0


def _cholesky_ex_kernel(a):
    info = np.zeros(a.shape[:-2], np.int32)
    try:
        return np.linalg.cholesky(a), info
    except np.linalg.LinAlgError:
        info = first_failures(_bad_minor, a)
        good = info[..., None, None] == 0
        return np.where(good, np.linalg.cholesky(np.where(good, a, np.eye(a.shape[-1]))), np.tril(a)), info


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
        "L": lambda g, L, out, upper: _factor_gradient(
            cholesky_solve(g, L, upper) @ conjugate_transpose(out), L, upper
        ),
    },
    samples=lambda make: [
        Sample(make(3, 2), make(3, 3, requires_grad=False)),
        Sample(make(3, 2), make(3, 3, requires_grad=False), upper=True),
    ],
)
def cholesky_solve(B: Tensor, L: Tensor, upper: bool = False):
    r"""The solution of :math:`A X = B`, given the Cholesky factor of ``A``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cholesky_solve.html
    """
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

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cholesky_inverse.html
    """
    require_square("cholesky_inverse", L)
    return _cholesky_inverse(L, bool(upper))


# --- LU ------------------------------------------------------------------------------------------------------


def _lu_kernel(a):
    """Gaussian elimination with partial pivoting, on a whole batch at once, in double precision."""
    m, n = a.shape[-2:]
    lu = a.reshape((prod(a.shape[:-2]), m, n)).astype(np.complex128 if a.dtype.kind == "c" else np.float64)
    k = min(m, n)
    pivots = np.empty((len(lu), k), np.int32)
    info = np.zeros(len(lu), np.int32)
    rows = np.arange(len(lu))
    for i in range(k):
        column = lu[:, i:, i]
        p = i + np.argmax(np.abs(column.real) + np.abs(column.imag), axis=1)  # LAPACK's measure of size
        pivots[:, i] = p + 1
        swapped = lu[rows, p]
        lu[rows, p] = lu[:, i]
        lu[:, i] = swapped
        pivot = lu[:, i, i]
        info = np.where((info == 0) & (pivot == 0), i + 1, info)
        lu[:, i + 1 :, i] /= np.where(pivot == 0, 1, pivot)[:, None]
        lu[:, i + 1 :, i + 1 :] -= lu[:, i + 1 :, i, None] * lu[:, i, None, i + 1 :]
    batch = a.shape[:-2]
    return lu.reshape(a.shape), pivots.reshape((*batch, k)), info.reshape(batch)


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
    errors=lambda make: [
        ErrorSample(RuntimeError, "LU without pivoting is not implemented on the CPU", make(2, 2), pivot=False)
    ],
)
def lu_factor_ex(A: Tensor, *, pivot: bool = True, check_errors: bool = False):
    """The LU factorization in one matrix, the pivots, and ``info``: 0, or the number of the first pivot that is 0.

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

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lu_factor.html
    """
    require_matrix("linalg.lu_factor", A)
    return _LUFactor(lu_factor_ex(A, pivot=pivot)[:2])


@composite(name="linalg.lu", out=True, samples=_lu_samples)
def linalg_lu(A: Tensor, *, pivot: bool = True):
    r"""The LU factorization :math:`A = P L U`: a permutation, a lower triangle with ones on the diagonal, an upper triangle.

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

    Source: https://docs.pytorch.org/docs/stable/generated/torch.lu.html
    """
    result = lu_factor_ex(A, pivot=pivot)
    return _LUWithInfo(result) if get_infos else _LU(result[:2])


_Unpacked = return_type("lu_unpack", "P", "L", "U")


@composite(method=False, out=True)
def lu_unpack(LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True):
    """``(P, L, U)`` from what :func:`linalg.lu_factor` gives; what is not asked for is empty.

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

    Source: https://docs.pytorch.org/docs/stable/generated/torch.lu_solve.html
    """
    return linalg_lu_solve(LU_data, LU_pivots, b)


# --- QR ------------------------------------------------------------------------------------------------------


def _halved_diagonal(x):
    return x - x.diagonal(0, -2, -1).diag_embed() * 0.5


def _qr_gradient(gs, Q, R, mode):
    gQ, gR = gs
    if mode == "r":
        raise RuntimeError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
            "linalg.qr(A, mode='reduced') if you are going to require derivatives."
        )
    m, n = Q.shape[-2], R.shape[-1]
    if mode == "complete" and m > n:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols; use mode='reduced'"
        )
    inner = None
    if gR is not None:
        inner = gR @ conjugate_transpose(R)
    if gQ is not None:
        part = conjugate_transpose(Q) @ gQ
        inner = -part if inner is None else inner - part
    if m >= n:
        upper = inner.triu()
        result = Q @ _halved_diagonal(upper + conjugate_transpose(upper))
        result = result if gQ is None else result + gQ
        return solve_triangular(conjugate_transpose(R), result, upper=False, left=False)
    lower = _halved_diagonal((conjugate_transpose(inner) - inner).tril())
    square = conjugate_transpose(R[..., :, :m])
    result = solve_triangular(square, Q @ lower, upper=False, left=False)
    result = cat([result, result.new_zeros((*result.shape[:-1], n - m))], -1)
    return result if gR is None else result + Q @ gR


def _qr_kernel(a, mode):
    if mode == "r":
        return np.zeros((0,), a.dtype), np.linalg.qr(a, "r")
    q, r = np.linalg.qr(a, mode)
    return q, r


@op(
    layout=layouts.columns,
    kernel=_qr_kernel,
    name="linalg.qr",
    outputs=("Q", "R"),
    tensors="A",
    out=True,
    backward_name="LinalgQrBackward0",
    grad={"A": _qr_gradient},
    samples=lambda make: [Sample(make(3, 3)), Sample(make(2, 4, 2)), Sample(make(2, 3))],
    errors=lambda make: [ErrorSample(RuntimeError, "qr received unrecognized mode 'full'", make(2, 2), "full")],
)
def linalg_qr(A: Tensor, mode: str = "reduced"):
    r"""The QR factorization :math:`A = Q R`: orthonormal columns and an upper triangle.

    ``mode`` is ``reduced``, ``complete`` (a square ``Q``) or ``r`` (an empty ``Q``).

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.qr.html
    """
    require_matrix("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    *batch, m, n = A.shape
    k = m if mode == "complete" else min(m, n)
    shapes = ((*batch, m, k) if mode != "r" else (0,), (*batch, k, n))
    return shapes, (A.dtype, A.dtype), (A,), {"mode": mode}


@composite(out=True, samples=lambda make: [Sample(make(3, 2))])
def qr(input: Tensor, some: bool = True):
    """The QR factorization, with a square ``Q`` where not ``some``: :func:`linalg.qr`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.qr.html
    """
    return linalg_qr(input, "reduced" if some else "complete")


def _geqrf_kernel(a):
    h, tau = np.linalg.qr(a, "raw")
    return h.swapaxes(-2, -1), tau


@op(
    layout=(layouts.columns, None),
    kernel=_geqrf_kernel,
    tensors="input",
    outputs=("a", "tau"),
    out=True,
    samples=lambda make: [Sample(make(3, 2, requires_grad=False))],
)
def geqrf(input: Tensor):
    """The QR factorization as LAPACK's Householder reflectors: ``(a, tau)``, for :func:`linalg.householder_product`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.geqrf.html
    """
    require_matrix("geqrf", input)
    *batch, m, n = input.shape
    return (input.shape, (*batch, min(m, n))), (input.dtype, input.dtype), (input,), {}


def _reflector(A, i: int):
    """The vector of the ``i``-th elementary reflector, a column."""
    column, m = A[..., :, i : i + 1], A.shape[-2]
    below = dispatch.wrap(np.arange(m) > i).unsqueeze(-1)
    one = eye(m, A)[:, i : i + 1]
    return column.masked_fill(~below, 0) + one


def _reflect(Q, v, tau):
    """``(I - tau v v^H) Q``."""
    return Q - tau.unsqueeze(-1).unsqueeze(-1) * (v @ (conjugate_transpose(v) @ Q))


@composite(
    layout=layouts.columns,
    name="linalg.householder_product",
    aliases=("orgqr",),
    method=True,
    out=True,
    samples=lambda make: [Sample(make(3, 2), make(2)), Sample(make(2, 3, 3), make(2, 2))],
)
def householder_product(A: Tensor, tau: Tensor) -> Tensor:
    r"""The first columns of a product of Householder reflections :math:`H_i = I - \tau_i v_i v_i^H`.

    The ``v_i`` stand below the diagonal of ``A``, as :func:`geqrf` gives them.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.householder_product.html
    """
    require_matrix("torch.linalg.householder_product", A)
    m, n = A.shape[-2:]
    if m < n:
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-2] must be greater than or equal to input.shape[-1]"
        )
    Q = A.clone().copy_(eye(m, A)[:, :n])
    for i in reversed(range(tau.shape[-1])):
        Q = _reflect(Q, _reflector(A, i), tau[..., i])
    return Q


@composite(
    out="same",
    layout=layouts.columns,
    samples=lambda make: [
        Sample(make(3, 2), make(2), make(3, 2)),
        Sample(make(3, 2), make(2), make(2, 3), left=False, transpose=True),
    ],
)
def ormqr(input: Tensor, tau: Tensor, other: Tensor, left: bool = True, transpose: bool = False) -> Tensor:
    """The product of a matrix with the orthogonal matrix that Householder reflectors make.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ormqr.html
    """
    if not left:
        product = ormqr(input, tau, conjugate_transpose(other), True, not transpose)
        return conjugate_transpose(product)
    order = range(tau.shape[-1])
    if not order:
        return other.clone()
    conjugate = transpose and tau.dtype.is_complex
    for i in order if transpose else reversed(order):
        factor = tau[..., i]
        other = _reflect(other, _reflector(input, i), factor.conj_physical() if conjugate else factor)
    return other

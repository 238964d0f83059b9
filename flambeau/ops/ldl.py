"""The LDL factorization of symmetric (Hermitian) matrices that need not be positive-definite.

Source: Bunch and Kaufman, Some stable methods for calculating inertia and solving symmetric linear systems (1977), in
LAPACK's layout (sytrf, hetrf): ``pivots[k] = p`` where rows ``k`` and ``p`` were exchanged (counted from 1), and a pair of
equal negative numbers where ``D`` has a block of 2 x 2 and the second row was exchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import dtypes
from flambeau.core.results import return_type
from flambeau.core.size import broadcast_shapes
from flambeau.ops import layouts
from flambeau.ops.linalg import LinAlgError, require_matrix, require_square, square_errors
from flambeau.ops.product_helpers import require_tensors
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

_ALPHA = (1 + 17**0.5) / 8  # bounds the growth of elements for blocks of either size


def _size(x):
    return np.abs(x.real) + np.abs(x.imag)


def _choose_pivot(s: np.ndarray) -> tuple[int, int]:
    """Which row of the matrix that is left comes first (second, for a block of 2), and the size of the block."""
    first, column = _size(s[0, 0]), _size(s[1:, 0])
    largest = column.max(initial=0)
    if first >= _ALPHA * largest:
        return 0, 1
    r = 1 + int(column.argmax())
    row = _size(s[r])
    row[r] = 0
    if first >= _ALPHA * largest * (largest / row.max()):
        return 0, 1
    return (r, 1) if _size(s[r, r]) >= _ALPHA * row.max() else (r, 2)


def _factor(a: np.ndarray, hermitian: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """``LD``, pivots and ``info`` of one matrix, of which the lower triangle is read."""
    n = len(a)
    below = np.tril(a, -1).T
    s = np.tril(a) + (below.conj() if hermitian else below)
    if hermitian:
        np.fill_diagonal(s, s.diagonal().real)
    factor, pivots, info = np.zeros_like(s), np.empty(n, np.int32), 0
    k = 0
    while k < n:
        left = s[k:, k:]  # what is left to be factored, whole
        p, width = _choose_pivot(left)
        order = np.arange(n - k)
        order[[width - 1, p]] = order[[p, width - 1]]
        left[:] = left[np.ix_(order, order)]
        pivots[k : k + width] = (k + p + 1) if width == 1 else -(k + p + 1)
        block, columns = left[:width, :width], left[width:, :width]
        factor[k : k + width, k : k + width] = np.tril(block)
        if not block.any():
            info = info or k + 1
        else:
            lower = np.linalg.solve(block.T, columns.T).T
            factor[k + width :, k : k + width] = lower
            left[width:, width:] -= lower @ (columns.conj().T if hermitian else columns.T)
        k += width
    return factor, pivots, info


def _ldl_kernel(a, hermitian):
    wide = a.astype(np.complex128 if a.dtype.kind == "c" else np.float64)
    batch = a.shape[:-2]
    LD, pivots, info = np.empty_like(wide), np.empty(a.shape[:-1], np.int32), np.empty(batch, np.int32)
    for i in np.ndindex(batch):
        LD[i], pivots[i], info[i] = _factor(wide[i], hermitian)
    return LD, pivots, info


def _symmetric_samples(make):
    x = make(2, 3, 3, requires_grad=False)
    return [Sample(x + x.mT), Sample(make(3, 3, dtype=dtypes.complex128, requires_grad=False), hermitian=True)]


@op(
    layout=(layouts.columns, None, None),
    kernel=_ldl_kernel,
    name="linalg.ldl_factor_ex",
    outputs=("LD", "pivots", "info"),
    tensors="A",
    out=True,
    samples=_symmetric_samples,
    errors=square_errors,
)
def ldl_factor_ex(A: Tensor, *, hermitian: bool = False, check_errors: bool = False):
    """The LDL factorization, and ``info``: 0, or the number of the first element of ``D`` that is 0.

    >>> import flambeau as torch
    >>> torch.linalg.ldl_factor_ex(torch.tensor([[4.0, 2.0], [2.0, 3.0]])).info
    tensor(0, dtype=torch.int32)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.ldl_factor_ex.html
    """
    require_square("torch.linalg.ldl_factor_ex", A)
    if check_errors:
        ldl_factor(A.detach(), hermitian=hermitian)
    attrs = {"hermitian": bool(hermitian) and A.dtype.is_complex}
    return (A.shape, A.shape[:-1], A.shape[:-2]), (A.dtype, dtypes.int32, dtypes.int32), (A,), attrs


_LDL = return_type("linalg_ldl_factor", "LD", "pivots")


@composite(name="linalg.ldl_factor", out=True, samples=_symmetric_samples, errors=square_errors)
def ldl_factor(A: Tensor, *, hermitian: bool = False):
    r"""The factorization :math:`A = L D L^T` (:math:`L D L^H` where ``hermitian``), for :func:`linalg.ldl_solve`.

    ``LD`` holds the unit lower triangle ``L`` and the block diagonal ``D``; ``pivots`` the exchanges of rows.

    Raises ``LinAlgError`` for a singular matrix.

    >>> import flambeau as torch
    >>> torch.linalg.ldl_factor(torch.tensor([[4.0, 2.0], [2.0, 3.0]])).LD
    tensor([[4.0000, 0.0000],
            [0.5000, 2.0000]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.ldl_factor.html
    """
    require_square("torch.linalg.ldl_factor", A)
    LD, pivots, info = ldl_factor_ex(A, hermitian=hermitian)
    if not info._opaque and bool(info.any()):
        raise LinAlgError("torch.linalg.ldl_factor: D has an element that is zero: the input matrix is singular.")
    return _LDL((LD, pivots))


def _solve(factor: np.ndarray, pivots: np.ndarray, b: np.ndarray, hermitian: bool) -> np.ndarray:
    """The solution for one matrix: exchange and eliminate downwards, divide by the blocks of ``D``, and back."""
    x, n = b.copy(), len(factor)
    starts, k = [], 0
    while k < n:
        starts.append(k)
        k += 1 if pivots[k] > 0 else 2
    for k in starts:
        width = 1 if pivots[k] > 0 else 2
        end, p = k + width, abs(pivots[k]) - 1
        x[[end - 1, p]] = x[[p, end - 1]]
        x[end:] -= factor[end:, k:end] @ x[k:end]
        block = factor[k:end, k:end]
        strict = np.tril(block, -1).T
        x[k:end] = np.linalg.solve(block + (strict.conj() if hermitian else strict), x[k:end])
    for k in reversed(starts):
        width = 1 if pivots[k] > 0 else 2
        end, p = k + width, abs(pivots[k]) - 1
        columns = factor[end:, k:end]
        x[k:end] -= (columns.conj() if hermitian else columns).T @ x[end:]
        x[[end - 1, p]] = x[[p, end - 1]]
    return x


def _ldl_solve_kernel(factor, pivots, b, hermitian):
    batch = np.broadcast_shapes(factor.shape[:-2], b.shape[:-2])
    factor = np.broadcast_to(factor, batch + factor.shape[-2:])
    pivots = np.broadcast_to(pivots, batch + pivots.shape[-1:])
    b = np.broadcast_to(b, batch + b.shape[-2:])
    x = np.empty(b.shape, b.dtype)
    for i in np.ndindex(batch):
        x[i] = _solve(factor[i], pivots[i], b[i], hermitian)
    return x


def _factored(make):
    x = make(2, 3, 3, requires_grad=False)
    return [Sample(*ldl_factor(x + x.mT), make(2, 3, 2, requires_grad=False))]


@op(
    layout=layouts.columns,
    kernel=_ldl_solve_kernel,
    name="linalg.ldl_solve",
    tensors="LD pivots B",
    out="same",
    samples=_factored,
    errors=lambda make: [
        ErrorSample(RuntimeError, "Incompatible matrix sizes", make(3, 3), make(3).int(), make(2, 1)),
    ],
)
def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False):
    r"""The solution of :math:`A X = B`, given what :func:`linalg.ldl_factor` makes of ``A``.

    Raises ``RuntimeError`` for shapes that do not fit.

    >>> import flambeau as torch
    >>> LD, pivots = torch.linalg.ldl_factor(torch.tensor([[4.0, 2.0], [2.0, 3.0]]))
    >>> torch.linalg.ldl_solve(LD, pivots, torch.tensor([[6.0], [5.0]]))
    tensor([[1.],
            [1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.ldl_solve.html
    """
    require_square("torch.linalg.ldl_solve", LD)
    require_matrix("torch.linalg.ldl_solve", B)
    require_tensors("linalg_ldl_solve", LD=LD, pivots=pivots)
    if LD.shape[-1] != B.shape[-2]:
        raise RuntimeError(
            f"Incompatible matrix sizes for torch.linalg.ldl_solve: each A matrix is {LD.shape[-2]} by {LD.shape[-1]} but "
            f"each b matrix is {B.shape[-2]} by {B.shape[-1]}"
        )
    batch = broadcast_shapes(LD.shape[:-2], B.shape[:-2])
    attrs = {"hermitian": bool(hermitian) and LD.dtype.is_complex}
    return (*batch, *B.shape[-2:]), B.dtype, (LD, pivots, B), attrs

"""Singular values, and what is computed from them: pseudo-inverse, rank, approximations of low rank.

The last two dims are the matrix, dims before them a batch. Gradients: Wan and Zhang, Automatic differentiation for complex
valued SVD (2019); Golub and Pereyra, The differentiation of pseudo-inverses (1973).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.results import return_type
from flambeau.ops import decompositions, layouts
from flambeau.ops.eigenvalues import eigvalsh, gaps_of, require_finite, skew
from flambeau.ops.factorization_qr import linalg_qr
from flambeau.ops.linalg import require_matrix, require_square
from flambeau.ops.product_helpers import conjugate_transpose
from flambeau.ops.random import randn
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- singular values -----------------------------------------------------------------------------------------


def _svd_kernel(a, full):
    require_finite("linalg.svd", a)
    return decompositions.svd(a, full)


def _svd_gradient(gs, U, S, Vh):
    gU, gS, gVh = gs
    k = S.shape[-1]
    m, n = U.shape[-2], Vh.shape[-1]
    U, Vh = U[..., :, :k], Vh[..., :k, :]
    gU = None if gU is None else gU[..., :, :k]
    gVh = None if gVh is None else gVh[..., :k, :]
    if gU is None and gVh is None:
        return (U * gS.unsqueeze(-2)) @ Vh
    Uh, V = conjugate_transpose(U), conjugate_transpose(Vh)
    gaps = gaps_of(S * S, inf)
    inner = None if gS is None else gS.diag_embed()
    if gU is not None:
        turn = skew(Uh @ gU)
        part = turn / gaps * S.unsqueeze(-2)
        if U.dtype.is_complex:  # the phase that U and V share stands on the diagonal
            part = part + (turn.diagonal(0, -2, -1) / (2 * S)).diag_embed()
        inner = part if inner is None else inner + part
    if gVh is not None:
        gV = conjugate_transpose(gVh)
        part = S.unsqueeze(-1) * (skew(Vh @ gV) / gaps)
        inner = part if inner is None else inner + part
    result = U @ inner @ Vh
    if gU is not None and m > k:
        outside = (gU - U @ (Uh @ gU)) / S.unsqueeze(-2)
        result = result + outside @ Vh
    if gVh is not None and n > k:
        outside = (gVh - (gVh @ V) @ Vh) / S.unsqueeze(-1)
        result = result + U @ outside
    return result


def _svd_samples(make):
    return [Sample(make(3, 3)), Sample(make(2, 2, 3), False)]


@op(
    layout=(layouts.columns, None, layouts.columns),
    kernel=_svd_kernel,
    name="linalg.svd",
    outputs=("U", "S", "Vh"),
    checked=True,
    out=True,
    tensors="A",
    backward_name="LinalgSvdBackward0",
    grad={"A": _svd_gradient},
    samples=_svd_samples,
    errors=lambda make: [ErrorSample(RuntimeError, "must have at least 2 dimensions", make(3))],
)
def linalg_svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None):
    r"""The singular value decomposition :math:`A = U \operatorname{diag}(S) V^H`, with ``S`` descending: ``(U, S, Vh)``.

    ``U`` and ``V`` are square where ``full_matrices``. The gradient is finite where singular values are distinct.

    Raises ``RuntimeError`` for a ``driver``, which is for CUDA.

    >>> import flambeau as torch
    >>> A = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> U, S, Vh = torch.linalg.svd(A)
    >>> S, (U @ S.diag() @ Vh).allclose(A)
    (tensor([4., 3.]), True)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.svd.html
    """
    require_matrix("linalg.svd", A)
    if driver is not None:
        raise RuntimeError(f"torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs, got {driver!r}")
    *batch, m, n = A.shape
    k = min(m, n)
    rows, columns = (m, n) if full_matrices else (k, k)
    shapes = ((*batch, m, rows), (*batch, k), (*batch, columns, n))
    return shapes, (A.dtype, A.dtype.to_real(), A.dtype), (A,), {"full": bool(full_matrices)}


def _svdvals_kernel(a):
    require_finite("linalg.svd", a)
    return decompositions.svdvals(a)


def _svdvals_gradient(g, A):
    U, _, Vh = linalg_svd(A, False)
    return (U * g.unsqueeze(-2)) @ Vh


@op(
    kernel=_svdvals_kernel,
    name="linalg.svdvals",
    checked=True,
    out="same",
    tensors="A",
    backward_name="LinalgSvdBackward0",
    grad={"A": _svdvals_gradient},
    samples=lambda make: [Sample(make(3, 2)), Sample(make(2, 2, 3))],
)
def svdvals(A: Tensor, *, driver: str | None = None):
    """The singular values of a matrix, descending.

    >>> import flambeau as torch
    >>> torch.linalg.svdvals(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    tensor([4., 3.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.svdvals.html
    """
    require_matrix("linalg.svdvals", A)
    return (*A.shape[:-2], min(A.shape[-2:])), A.dtype.to_real(), (A,), {}


_SVD = return_type("svd", "U", "S", "V")


@composite(out=True, samples=lambda make: [Sample(make(3, 3)), Sample(make(2, 2, 3))])
def svd(input: Tensor, some: bool = True, compute_uv: bool = True):
    r"""The singular value decomposition :math:`A = U \operatorname{diag}(S) V^H` as ``(U, S, V)``; see :func:`linalg.svd`.

    ``U`` and ``V`` are square where not ``some``, and zeros where not ``compute_uv``.

    >>> import flambeau as torch
    >>> U, S, V = torch.svd(torch.tensor([[3.0, 0.0], [0.0, 4.0]]))
    >>> S
    tensor([4., 3.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.svd.html
    """
    if not compute_uv:
        m, n = input.shape[-2:]
        batch = input.shape[:-2]
        return _SVD((input.new_zeros((*batch, m, m)), svdvals(input), input.new_zeros((*batch, n, n))))
    U, S, Vh = linalg_svd(input, not some)
    return _SVD((U, S, conjugate_transpose(Vh)))


# --- pseudo-inverse and rank ---------------------------------------------------------------------------------


def _cutoff(S, shape, atol, rtol):
    """The size up to which a singular value counts as zero; ``S`` has a size for each."""
    if rtol is None:
        given = atol is not None
        default = np.finfo(S.dtype.np).eps * max(shape[-2:])
        if isinstance(atol, dispatch.Tensor):
            rtol = (atol <= 0).to(S.dtype) * default
        else:
            rtol = 0.0 if given and atol > 0 else default
    atol = 0.0 if atol is None else atol
    largest = S.amax(-1) if S.shape[-1] else S.sum(-1)
    relative = largest * rtol
    if isinstance(atol, dispatch.Tensor) or isinstance(relative, dispatch.Tensor) and atol:
        atol = atol if isinstance(atol, dispatch.Tensor) else relative.new_full((), atol)
        return relative.maximum(atol.to(relative.dtype)).unsqueeze(-1)
    return relative.unsqueeze(-1)


def _pinv_kernel(a, cutoff, hermitian):
    if hermitian:
        values, vectors = decompositions.eigh(a, True)
        scale = np.where(np.abs(values) > cutoff, 1 / values, 0).astype(values.dtype)
        return (vectors * scale[..., None, :]) @ vectors.conj().swapaxes(-2, -1)
    u, s, vh = decompositions.svd(a, False)
    scale = np.where(s > cutoff, 1 / s, 0).astype(s.dtype)
    return (vh.conj().swapaxes(-2, -1) * scale[..., None, :]) @ u.conj().swapaxes(-2, -1)


def pinv_gradient(g, A, out):
    P, Ph, gh = out, conjugate_transpose(out), conjugate_transpose(g)
    if A.shape[-2] <= A.shape[-1]:
        K = gh @ P
        KPh = K @ Ph
        return -conjugate_transpose(P @ K) + KPh - (A @ P) @ KPh + (Ph @ P) @ (gh - K @ A)
    K = P @ gh
    PhK = Ph @ K
    return -conjugate_transpose(K @ P) + (gh - A @ K) @ P @ Ph + PhK - (PhK @ P) @ A


@op(
    kernel=_pinv_kernel,
    name="aten.linalg_pinv",
    backward_name="LinalgPinvBackward0",
    tensors="A cutoff",
    grad={"A": pinv_gradient},
)
def _pinv(A: Tensor, cutoff: Tensor, hermitian: bool):
    """The pseudo-inverse, given the size up to which singular values count as zero: what ``linalg.pinv`` records."""
    return (*A.shape[:-2], A.shape[-1], A.shape[-2]), A.dtype, (A, cutoff), {"hermitian": hermitian}


@composite(name="linalg.pinv", out=True, samples=lambda make: [Sample(make(3, 2)), Sample(make(2, 2, 3)), Sample(make(3, 3))])
def pinv(
    A: Tensor,
    rcond: Tensor | float | None = None,
    hermitian: bool = False,
    *,
    atol: Tensor | float | None = None,
    rtol: Tensor | float | None = None,
) -> Tensor:
    """The Moore-Penrose pseudo-inverse, by singular values (eigenvalues where ``hermitian``).

    Values up to ``max(atol, rtol * largest)`` count as zero; ``rtol`` is ``eps * max(rows, columns)`` unless given.

    >>> import flambeau as torch
    >>> torch.linalg.pinv(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.0000]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.pinv.html
    """
    require_matrix("linalg.pinv", A)
    if hermitian:
        require_square("linalg.pinv", A)
    rtol = rcond if rtol is None else rtol
    if A.numel() == 0:
        return A.mT.clone()
    fixed = A.detach()
    S = eigvalsh(fixed).abs() if hermitian else svdvals(fixed)
    return _pinv(A, _cutoff(S, A.shape, atol, rtol), bool(hermitian))


@composite(samples=lambda make: [Sample(make(3, 2))])
def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """The pseudo-inverse: :func:`linalg.pinv`.

    >>> import flambeau as torch
    >>> torch.pinverse(torch.tensor([[2.0, 0.0], [0.0, 0.0]]))
    tensor([[0.5000, 0.0000],
            [0.0000, 0.0000]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.pinverse.html
    """
    return pinv(input, rcond)


@composite(name="linalg.matrix_rank", out=True, samples=lambda make: [Sample(make(3, 2)), Sample(make(2, 3, 3), atol=0.5)])
def matrix_rank(
    A: Tensor,
    tol: Tensor | float | None = None,
    hermitian: bool = False,
    *,
    atol: Tensor | float | None = None,
    rtol: Tensor | float | None = None,
) -> Tensor:
    """The number of singular values greater than ``max(atol, rtol * largest)``. See :func:`linalg.pinv` for these.

    >>> import flambeau as torch
    >>> torch.linalg.matrix_rank(torch.tensor([[1.0, 2.0], [2.0, 4.0]]))
    tensor(1)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.matrix_rank.html
    """
    require_matrix("linalg.matrix_rank", A)
    if tol is not None:  # an absolute tolerance
        atol, rtol = tol, 0.0
    A = A.detach()
    if A.numel() == 0:
        return A.new_zeros(A.shape[:-2], dtype=dtypes.int64)
    S = eigvalsh(A).abs() if hermitian else svdvals(A)
    return (S > _cutoff(S, A.shape, atol, rtol)).sum(-1)


# --- random projections --------------------------------------------------------------------------------------


def _range_basis(A, q: int, niter: int):
    """Orthonormal columns that nearly span the range of ``A``, from products with random vectors."""
    Q = linalg_qr(A @ randn(A.shape[-1], q, dtype=A.dtype)).Q
    Ah = conjugate_transpose(A)
    for _ in range(niter):
        Q = linalg_qr(Ah @ Q).Q
        Q = linalg_qr(A @ Q).Q
    return Q


@composite(method=False, samples=lambda make: [Sample(make(4, 3), q=3), Sample(make(3, 4), q=3)])
def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None):
    r"""An approximate singular value decomposition of low rank ``q`` of ``A - M``: ``(U, S, V)``, by random projections.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> torch.svd_lowrank(torch.outer(torch.tensor([3.0, 4.0]), torch.ones(4)), q=1)[1]
    tensor([10.])

    Source: Halko, Martinsson and Tropp, Finding structure with randomness (2011), algorithm 5.1;
    https://docs.pytorch.org/docs/stable/generated/torch.svd_lowrank.html
    """
    q = 6 if q is None else q
    if M is not None:
        A = A - M
    m, n = A.shape[-2:]
    wide = m < n
    if wide:
        A = conjugate_transpose(A)
    Q = _range_basis(A, q, 2 if niter is None else niter)
    U, S, Vh = linalg_svd(conjugate_transpose(Q) @ A, full_matrices=False)
    U, V = Q @ U, conjugate_transpose(Vh)
    return (V, S, U) if wide else (U, S, V)


@composite(
    method=False,
    samples=lambda make: [Sample(make(4, 3), q=2), Sample(make(4, 3), q=3, center=False)],
    errors=lambda make: [ErrorSample(ValueError, "must be non-negative integer and not greater than", make(3, 3), q=4)],
)
def pca_lowrank(A: Tensor, q: int | None = None, center: bool = True, niter: int = 2):
    """The first ``q`` (6 unless given) principal components of the rows of ``A``: :func:`svd_lowrank` of ``A``, centred.

    Raises ``ValueError`` for a ``q`` or ``niter`` that is negative, and a ``q`` above the sizes.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> rows = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    >>> torch.pca_lowrank(rows, q=1)[2].abs()  # they lie on a line
    tensor([[0.6000],
            [0.8000]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.pca_lowrank.html
    """
    m, n = A.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)

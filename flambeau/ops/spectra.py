"""Eigenvalues and singular values, and what is computed from them: pseudo-inverse, rank, least squares.

The last two dims are the matrix, dims before them a batch. Gradients: Giles, An extended collection of matrix derivative
results (2008); Wan and Zhang, Automatic differentiation for complex valued SVD (2019); Golub and Pereyra, The
differentiation of pseudo-inverses (1973).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.results import return_type
from flambeau.core.size import broadcast_shapes
from flambeau.ops import layouts
from flambeau.ops.factorizations import linalg_qr
from flambeau.ops.linalg import LinAlgError, require_matrix, require_square, square_errors
from flambeau.ops.linalg import solve as linalg_solve
from flambeau.ops.matmul import conjugate_transpose
from flambeau.ops.random import randn
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor


def _gaps(x, diagonal: float):
    """``x_j - x_i`` for each pair, with ``diagonal`` on the diagonal."""
    gaps = x.unsqueeze(-2) - x.unsqueeze(-1)
    n = x.shape[-1]
    return gaps.masked_fill(dispatch.wrap(np.eye(n, dtype=bool)), diagonal)


def _skew(x):
    return x - conjugate_transpose(x)


# --- eigenvalues ---------------------------------------------------------------------------------------------


def _require_finite(name: str, a: np.ndarray) -> None:
    if not np.isfinite(a).all():
        raise LinAlgError(
            f"{name}: The algorithm failed to converge because the input matrix contained non-finite values."
        )


def _finite_only(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zeros in place of the matrices that are not finite, and which these are: of them all results are NaN."""
    bad = ~np.isfinite(a).all((-2, -1))
    return (np.where(bad[..., None, None], 0, a), bad) if bad.any() else (a, bad)


def _eigh_kernel(a, lower):
    a, bad = _finite_only(a)
    values, vectors = np.linalg.eigh(a, "L" if lower else "U")
    values[bad], vectors[bad] = np.nan, np.nan
    return values, vectors


def _eigh_gradient(gs, eigenvalues, eigenvectors):
    gL, gV = gs
    V, Vh = eigenvectors, conjugate_transpose(eigenvectors)
    if gV is None:
        return (V * gL.unsqueeze(-2)) @ Vh
    inner = _skew(Vh @ gV) / (2 * _gaps(eigenvalues, inf))  # only symmetric changes of A count
    if gL is not None:
        inner = inner + gL.diag_embed()
    return V @ inner @ Vh


def _lower(UPLO: str) -> bool:
    if UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return UPLO.upper() == "L"


def _symmetric_samples(make):
    x = make(2, 3, 3, requires_grad=False)
    return [Sample(x + x.mT), Sample(x + x.mT, "U")]


@op(
    layout=(None, layouts.columns),
    kernel=_eigh_kernel,
    name="aten.linalg_eigh",
    outputs=("eigenvalues", "eigenvectors"),
    checked=True,
    backward_name="LinalgEighBackward0",
    grad={"A": _eigh_gradient},
)
def _eigh(A: Tensor, lower):
    """The eigenvalues and eigenvectors of a symmetric matrix, of which one triangle is read: what ``linalg.eigh`` records."""
    return (A.shape[:-1], A.shape), (A.dtype.to_real(), A.dtype), (A,), {"lower": lower}


@composite(name="linalg.eigh", out=True, samples=_symmetric_samples, errors=square_errors)
def eigh(A: Tensor, UPLO: str = "L"):
    r"""The eigenvalues, ascending, and orthonormal eigenvectors of a symmetric (Hermitian) matrix: :math:`A = V \Lambda V^H`.

    Reads the triangle that ``UPLO`` names. The gradient is finite where eigenvalues are distinct.

    >>> import flambeau as torch
    >>> torch.linalg.eigh(torch.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
    tensor([1., 2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.eigh.html
    """
    require_square("linalg.eigh", A)
    return _eigh(A, _lower(UPLO))


def _eigvalsh_kernel(a, lower):
    a, bad = _finite_only(a)
    values = np.asarray(np.linalg.eigvalsh(a, "L" if lower else "U"))
    values[bad] = np.nan
    return values


def _eigvalsh_gradient(g, A, lower):
    V = _eigh(A, lower).eigenvectors
    return (V * g.unsqueeze(-2)) @ conjugate_transpose(V)


@op(
    kernel=_eigvalsh_kernel,
    name="aten.linalg_eigvalsh",
    checked=True,
    backward_name="LinalgEighBackward0",
    grad={"A": _eigvalsh_gradient},
)
def _eigvalsh(A: Tensor, lower):
    """The eigenvalues of a symmetric matrix, of which one triangle is read: what ``linalg.eigvalsh`` records."""
    return A.shape[:-1], A.dtype.to_real(), (A,), {"lower": lower}


@composite(name="linalg.eigvalsh", out="same", samples=_symmetric_samples, errors=square_errors)
def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues, ascending, of a symmetric (Hermitian) matrix. See :func:`linalg.eigh`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.eigvalsh.html
    """
    require_square("linalg.eigvalsh", A)
    return _eigvalsh(A, _lower(UPLO))


def _distinct_samples(make):
    # Real eigenvalues: of complex eigenvectors the phase is LAPACK's choice, which no gradient follows.
    x = make(3, 3)
    return [Sample(x + x.mT)]


def _eig_kernel(a):
    if not np.isfinite(a).all():
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")
    return tuple(np.linalg.eig(a))


def _eig_gradient(gs, eigenvalues, eigenvectors):
    gL, gV = gs
    V, Vh = eigenvectors, conjugate_transpose(eigenvectors)
    if gV is None:
        return linalg_solve(Vh, gL.unsqueeze(-1) * Vh)
    inner = Vh @ gV
    # The eigenvectors have norm 1: what would change it does not count.
    inner = inner - (Vh @ (V * inner.diagonal(0, -2, -1).real.unsqueeze(-2)))
    inner = inner / _gaps(eigenvalues, inf).conj_physical()
    if gL is not None:
        inner = inner + gL.diag_embed()
    return linalg_solve(Vh, inner @ Vh)


@op(
    layout=(None, layouts.columns),
    kernel=_eig_kernel,
    name="linalg.eig",
    outputs=("eigenvalues", "eigenvectors"),
    checked=True,
    out=True,
    tensors="A",
    backward_name="LinalgEigBackward0",
    grad={"A": _eig_gradient},
    samples=_distinct_samples,
    errors=square_errors,
)
def eig(A: Tensor):
    r"""The eigenvalues and eigenvectors (of norm 1) of a square matrix, both complex: :math:`A V = V \Lambda`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.eig.html
    """
    require_square("linalg.eig", A)
    dtype = A.dtype.to_complex()
    return (A.shape[:-1], A.shape), (dtype, dtype), (A,), {}


def _eigvals_kernel(a):
    if not np.isfinite(a).all():
        raise RuntimeError("torch.linalg.eigvals: input tensor should not contain infs or NaNs.")
    return np.linalg.eigvals(a)


def _eigvals_gradient(g, A):
    # The order of the eigenvalues is the kernel's, which is the same in both.
    Vh = conjugate_transpose(eig(A).eigenvectors)
    return linalg_solve(Vh, g.unsqueeze(-1) * Vh)


@op(
    kernel=_eigvals_kernel,
    name="linalg.eigvals",
    checked=True,
    out=True,
    tensors="A",
    backward_name="LinalgEigBackward0",
    grad={"A": _eigvals_gradient},
    samples=_distinct_samples,
    errors=square_errors,
)
def eigvals(A: Tensor):
    """The eigenvalues of a square matrix, complex, in no particular order. See :func:`linalg.eig`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.eigvals.html
    """
    require_square("linalg.eigvals", A)
    return A.shape[:-1], A.dtype.to_complex(), (A,), {}


# --- singular values -----------------------------------------------------------------------------------------


def _svd_kernel(a, full):
    _require_finite("linalg.svd", a)
    return tuple(np.linalg.svd(a, full_matrices=full))


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
    gaps = _gaps(S * S, inf)
    inner = None if gS is None else gS.diag_embed()
    if gU is not None:
        turn = _skew(Uh @ gU)
        part = turn / gaps * S.unsqueeze(-2)
        if U.dtype.is_complex:  # the phase that U and V share stands on the diagonal
            part = part + (turn.diagonal(0, -2, -1) / (2 * S)).diag_embed()
        inner = part if inner is None else inner + part
    if gVh is not None:
        gV = conjugate_transpose(gVh)
        part = S.unsqueeze(-1) * (_skew(Vh @ gV) / gaps)
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

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.svd.html
    """
    require_matrix("linalg.svd", A)
    if driver is not None:
        raise RuntimeError(
            f"torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs, got {driver!r}"
        )
    *batch, m, n = A.shape
    k = min(m, n)
    rows, columns = (m, n) if full_matrices else (k, k)
    shapes = ((*batch, m, rows), (*batch, k), (*batch, columns, n))
    return shapes, (A.dtype, A.dtype.to_real(), A.dtype), (A,), {"full": bool(full_matrices)}


def _svdvals_kernel(a):
    _require_finite("linalg.svd", a)
    return np.linalg.svd(a, compute_uv=False)


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

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.svdvals.html
    """
    require_matrix("linalg.svdvals", A)
    return (*A.shape[:-2], min(A.shape[-2:])), A.dtype.to_real(), (A,), {}


_SVD = return_type("svd", "U", "S", "V")


@composite(out=True, samples=lambda make: [Sample(make(3, 3)), Sample(make(2, 2, 3))])
def svd(input: Tensor, some: bool = True, compute_uv: bool = True):
    r"""The singular value decomposition :math:`A = U \operatorname{diag}(S) V^H` as ``(U, S, V)``; see :func:`linalg.svd`.

    ``U`` and ``V`` are square where not ``some``, and zeros where not ``compute_uv``.

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
        values, vectors = np.linalg.eigh(a)
        scale = np.where(np.abs(values) > cutoff, 1 / values, 0).astype(values.dtype)
        return (vectors * scale[..., None, :]) @ vectors.conj().swapaxes(-2, -1)
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    scale = np.where(s > cutoff, 1 / s, 0).astype(s.dtype)
    return (vh.conj().swapaxes(-2, -1) * scale[..., None, :]) @ u.conj().swapaxes(-2, -1)


def _pinv_gradient(g, A, out):
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
    grad={"A": _pinv_gradient},
)
def _pinv(A: Tensor, cutoff: Tensor, hermitian: bool):
    """The pseudo-inverse, given the size up to which singular values count as zero: what ``linalg.pinv`` records."""
    return (*A.shape[:-2], A.shape[-1], A.shape[-2]), A.dtype, (A, cutoff), {"hermitian": hermitian}


@composite(
    name="linalg.pinv", out=True, samples=lambda make: [Sample(make(3, 2)), Sample(make(2, 2, 3)), Sample(make(3, 3))]
)
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

    Source: https://docs.pytorch.org/docs/stable/generated/torch.pinverse.html
    """
    return pinv(input, rcond)


@composite(
    name="linalg.matrix_rank", out=True, samples=lambda make: [Sample(make(3, 2)), Sample(make(2, 3, 3), atol=0.5)]
)
def matrix_rank(
    A: Tensor,
    tol: Tensor | float | None = None,
    hermitian: bool = False,
    *,
    atol: Tensor | float | None = None,
    rtol: Tensor | float | None = None,
) -> Tensor:
    """The number of singular values greater than ``max(atol, rtol * largest)``. See :func:`linalg.pinv` for these.

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


# --- least squares -------------------------------------------------------------------------------------------

_Lstsq = return_type("linalg_lstsq", "solution", "residuals", "rank", "singular_values")
_BY_SINGULAR_VALUES = ("gelsd", "gelss")
_DRIVERS = ("gels", "gelsy", *_BY_SINGULAR_VALUES)


@composite(
    name="linalg.lstsq",
    out=True,
    samples=lambda make: [
        Sample(make(4, 2), make(4, 3)),
        Sample(make(2, 3, 2), make(2, 3, 1)),
        Sample(make(2, 3), make(2, 2)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "input must have at least 2 dimensions", make(2), make(2, 2)),
        ErrorSample(RuntimeError, "size\\(-2\\) should match", make(3, 2), make(2, 2)),
    ],
)
def lstsq(A: Tensor, B: Tensor, rcond: float | None = None, *, driver: str | None = None):
    r"""The least-squares solution of :math:`A X = B`, of the least norm where there are several.

    The result is ``(solution, residuals, rank, singular_values)``; what a driver does not give is empty. ``driver`` is
    ``gels`` (which takes the rank to be full), ``gelsy`` (the default), ``gelsd`` or ``gelss``: all but ``gels`` give the
    rank, the last two the singular values, all but ``gelsy`` the residuals, sums of squares, where ``A`` has more rows
    than columns and full rank.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lstsq.html
    """
    if A.dim() < 2:
        raise RuntimeError(f"torch.linalg.lstsq: input must have at least 2 dimensions, got shape {list(A.shape)}")
    if B.dim() < 1:
        raise RuntimeError("torch.linalg.lstsq: other must have at least 1 dimension.")
    driver = "gelsy" if driver is None else driver
    if driver not in _DRIVERS:
        raise RuntimeError(
            f"torch.linalg.lstsq: parameter `driver` should be one of ({', '.join(_DRIVERS)}), got {driver!r}"
        )
    vector = A.dim() - 1 == B.dim() and B.shape == A.shape[:-1]
    b = B.unsqueeze(-1) if vector else B
    if b.shape[-2] != A.shape[-2]:
        raise RuntimeError(
            "torch.linalg.lstsq: input.size(-2) should match other.size(-2): "
            f"got shapes {list(A.shape)} and {list(B.shape)}"
        )
    m, n = A.shape[-2:]
    batch = broadcast_shapes(A.shape[:-2], b.shape[:-2])
    fixed = A.detach()
    S = svdvals(fixed)
    cutoff = _cutoff(S, A.shape, None, rcond)
    rank = (S > cutoff).sum(-1)
    X = (_pinv(A, cutoff, False) @ b).expand((*batch, n, b.shape[-1]))
    residuals = (X.real if X.dtype.is_complex else X).reshape(-1)[:0]
    if m > n and (driver == "gels" or driver in _BY_SINGULAR_VALUES and bool((rank == n).all())):
        difference = A @ X - b
        squares = (difference * difference.conj_physical()).real if A.dtype.is_complex else difference * difference
        residuals = squares.sum(-2)
    return _Lstsq(
        (
            X.squeeze(-1) if vector else X,
            residuals,
            A.new_empty((0,), dtype=dtypes.int64) if driver == "gels" else rank,
            S if driver in _BY_SINGULAR_VALUES else S.new_empty((0,)),
        )
    )


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
    Q = _range_basis(A, q, niter)
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

    Source: https://docs.pytorch.org/docs/stable/generated/torch.pca_lowrank.html
    """
    m, n = A.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)

"""Eigenvalues and eigenvectors of general and of symmetric matrices.

The last two dims are the matrix, dims before them a batch. Gradients: Giles, An extended collection of matrix derivative
results (2008).
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.ops import decompositions, layouts
from flambeau.ops.linalg import LinAlgError, require_square, square_errors
from flambeau.ops.linalg import solve as linalg_solve
from flambeau.ops.product_helpers import conjugate_transpose
from flambeau.ops.record import Sample, composite, op

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor


def gaps_of(x, diagonal: float):
    """``x_j - x_i`` for each pair, with ``diagonal`` on the diagonal."""
    gaps = x.unsqueeze(-2) - x.unsqueeze(-1)
    n = x.shape[-1]
    return gaps.masked_fill(dispatch.wrap(np.eye(n, dtype=bool)), diagonal)


def skew(x):
    return x - conjugate_transpose(x)


# --- eigenvalues ---------------------------------------------------------------------------------------------


def require_finite(name: str, a: np.ndarray) -> None:
    if not np.isfinite(a).all():
        raise LinAlgError(f"{name}: The algorithm failed to converge because the input matrix contained non-finite values.")


def _finite_only(a: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Zeros in place of the matrices that are not finite, and which these are: of them all results are NaN."""
    bad = ~np.isfinite(a).all((-2, -1))
    return (np.where(bad[..., None, None], 0, a), bad) if bad.any() else (a, bad)


def _eigh_kernel(a, lower):
    a, bad = _finite_only(a)
    values, vectors = decompositions.eigh(a, lower)
    values[bad], vectors[bad] = np.nan, np.nan
    return values, vectors


def _eigh_gradient(gs, eigenvalues, eigenvectors):
    gL, gV = gs
    V, Vh = eigenvectors, conjugate_transpose(eigenvectors)
    if gV is None:
        return (V * gL.unsqueeze(-2)) @ Vh
    inner = skew(Vh @ gV) / (2 * gaps_of(eigenvalues, inf))  # only symmetric changes of A count
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
    values = decompositions.eigvalsh(a, lower)
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

    >>> import flambeau as torch
    >>> torch.linalg.eigvalsh(torch.tensor([[2.0, 1.0], [1.0, 2.0]]))
    tensor([1., 3.])

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
    inner = inner / gaps_of(eigenvalues, inf).conj_physical()
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

    >>> import flambeau as torch
    >>> values, vectors = torch.linalg.eig(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    >>> values
    tensor([2.+0.j, 3.+0.j])
    >>> vectors
    tensor([[1.+0.j, 0.+0.j],
            [0.+0.j, 1.+0.j]])

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

    >>> import flambeau as torch
    >>> torch.linalg.eigvals(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
    tensor([0.+1.j, 0.-1.j])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.eigvals.html
    """
    require_square("linalg.eigvals", A)
    return A.shape[:-1], A.dtype.to_complex(), (A,), {}

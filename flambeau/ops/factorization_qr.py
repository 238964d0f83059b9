"""QR factorizations, and products of Householder reflections.

The last two dims are the matrix, dims before them a batch. The gradient follows Roberts and Roberts, QR and LQ decomposition
matrix backpropagation algorithms (2020).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.ops import decompositions, layouts
from flambeau.ops.joining import cat
from flambeau.ops.linalg import (
    eye,
    require_matrix,
    solve_triangular,
)
from flambeau.ops.product_helpers import conjugate_transpose
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

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
        raise RuntimeError("The QR decomposition is not differentiable when mode='complete' and nrows > ncols; use mode='reduced'")
    inner: Any = None
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
    return decompositions.qr(a, mode)


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

    Raises ``RuntimeError`` for another ``mode``.

    >>> import flambeau as torch
    >>> Q, R = torch.linalg.qr(torch.tensor([[3.0, 1.0], [4.0, 2.0]]))
    >>> (Q @ R).round()
    tensor([[3., 1.],
            [4., 2.]])
    >>> (Q.T @ Q).round().abs()
    tensor([[1., 0.],
            [0., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.qr.html
    """
    require_matrix("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'")
    *batch, m, n = A.shape
    k = m if mode == "complete" else min(m, n)
    shapes = ((*batch, m, k) if mode != "r" else (0,), (*batch, k, n))
    return shapes, (A.dtype, A.dtype), (A,), {"mode": mode}


@composite(out=True, samples=lambda make: [Sample(make(3, 2))])
def qr(input: Tensor, some: bool = True):
    """The QR factorization, with a square ``Q`` where not ``some``: :func:`linalg.qr`.

    >>> import flambeau as torch
    >>> Q, R = torch.linalg.qr(torch.ones(3, 2))  # the newer name
    >>> Q.shape, R.shape
    (torch.Size([3, 2]), torch.Size([2, 2]))

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

    >>> import flambeau as torch
    >>> a, tau = torch.geqrf(torch.tensor([[3.0], [4.0]]))
    >>> a[0].abs(), torch.linalg.householder_product(a, tau)[:, 0].abs()
    (tensor([5.]), tensor([0.6000, 0.8000]))

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

    Raises ``RuntimeError`` for fewer rows than columns.

    >>> import flambeau as torch
    >>> A = torch.tensor([[3.0], [4.0]])
    >>> torch.linalg.householder_product(*torch.geqrf(A)).abs()
    tensor([[0.6000],
            [0.8000]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.householder_product.html
    """
    require_matrix("torch.linalg.householder_product", A)
    m, n = A.shape[-2:]
    if m < n:
        raise RuntimeError("torch.linalg.householder_product: input.shape[-2] must be greater than or equal to input.shape[-1]")
    if n < tau.shape[-1]:
        raise RuntimeError("torch.linalg.householder_product: input.shape[-1] must be greater than or equal to tau.shape[-1]")
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

    Raises ``RuntimeError`` for shapes that do not fit.

    >>> import flambeau as torch
    >>> a, tau = torch.geqrf(torch.tensor([[3.0], [4.0]]))
    >>> torch.ormqr(a, tau, torch.eye(2)).abs()
    tensor([[0.6000, 0.8000],
            [0.8000, 0.6000]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ormqr.html
    """
    for name, x, least in (("input", input, 2), ("other", other, 2), ("tau", tau, 1)):
        if x.dim() < least:
            raise RuntimeError(f"torch.ormqr: {name} must have at least {least} dimensions.")
    side = -2 if left else -1
    if tau.shape[-1] != min(other.shape[side], input.shape[-1]):
        raise RuntimeError(f"torch.ormqr: tau.shape[-1] must be equal to min(other.shape[{side}], input.shape[-1])")
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

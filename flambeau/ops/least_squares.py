"""Least squares: the solutions of systems with more equations than unknowns, or fewer.

The last two dims are the matrix, dims before them a batch. Gradients: Golub and Pereyra, The differentiation of pseudo-inverses
(1973).
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import dtypes
from flambeau.core.results import return_type
from flambeau.core.size import broadcast_shapes
from flambeau.ops import decompositions
from flambeau.ops.eigenvalues import require_finite
from flambeau.ops.linalg import LinAlgError
from flambeau.ops.product_helpers import conjugate_transpose
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.singular_values import pinv, pinv_gradient

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor


def _least_squares_kernel(a, b, driver, rcond):
    require_finite("linalg.lstsq", a)
    batch, (m, n) = a.shape[:-2], a.shape[-2:]
    count = prod(batch)
    solved, ranks, values, info = decompositions.least_squares(
        a.reshape(count, m, n),
        b.reshape(count, m, b.shape[-1]),
        driver,
        np.finfo(a.dtype).eps * max(m, n) if rcond is None else rcond,
    )
    if info.any():
        i = int(np.flatnonzero(info)[0])
        where = f"(Batch element {i}): " if batch else ""
        why = (
            f"the input matrix does not have full rank (error code: {info[i]})." if driver == "gels"
            else f"the algorithm for computing the SVD failed to converge (error code: {info[i]})."
        )  # fmt: skip
        raise LinAlgError(f"torch.linalg.lstsq: {where}The least squares solution could not be computed because {why}")
    return solved.reshape(*batch, n, b.shape[-1]), ranks.reshape(batch), values.reshape(*batch, min(m, n))


@op(
    kernel=_least_squares_kernel,
    name="_linalg_lstsq",
    tensors="A B",
    outputs=("solution", "rank", "singular_values"),
    nondifferentiable=("rank", "singular_values"),
    checked=True,
    backward_name="LinalgLstsqBackward0",
    grad={
        "A": lambda g, A, B: pinv_gradient(g @ conjugate_transpose(B), A, pinv(A)),
        "B": lambda g, A: conjugate_transpose(pinv(A)) @ g,
    },
)
def _least_squares(A: Tensor, B: Tensor, driver: str, rcond: float | None):
    """The solutions, ranks and singular values (zeros where the driver has none) of one batch: what ``linalg.lstsq`` records."""
    *batch, m, n = A.shape
    shapes = ((*batch, n, B.shape[-1]), tuple(batch), (*batch, min(m, n)))
    return shapes, (A.dtype, dtypes.int64, A.dtype.to_real()), (A, B), {"driver": driver, "rcond": rcond}


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

    Raises ``RuntimeError`` for shapes that do not fit and for another ``driver``.

    >>> import flambeau as torch
    >>> points = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> torch.linalg.lstsq(points, torch.tensor([[1.0], [3.0], [5.0]])).solution.round().flatten()  # y = 1 + 2 x
    tensor([1., 2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.lstsq.html
    """
    if A.dim() < 2:
        raise RuntimeError(f"torch.linalg.lstsq: input must have at least 2 dimensions, got shape {list(A.shape)}")
    if B.dim() < 1:
        raise RuntimeError("torch.linalg.lstsq: other must have at least 1 dimension.")
    driver = "gelsy" if driver is None else driver
    if driver not in _DRIVERS:
        raise RuntimeError(f"torch.linalg.lstsq: parameter `driver` should be one of ({', '.join(_DRIVERS)}), got {driver!r}")
    vector = A.dim() - 1 == B.dim() and B.shape == A.shape[:-1]
    b = B.unsqueeze(-1) if vector else B
    if b.shape[-2] != A.shape[-2]:
        raise RuntimeError(
            f"torch.linalg.lstsq: input.size(-2) should match other.size(-2): got shapes {list(A.shape)} and {list(B.shape)}"
        )
    m, n = A.shape[-2:]
    batch = broadcast_shapes(A.shape[:-2], b.shape[:-2])
    known = "gelss" if driver in _BY_SINGULAR_VALUES else driver  # the two give the same
    X, rank, S = _least_squares(
        A.expand((*batch, m, n)), b.expand((*batch, *b.shape[-2:])), known, None if rcond is None else float(rcond)
    )
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

"""Powers and exponentials of matrices."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.core import dtypes
from flambeau.ops.joining import cat
from flambeau.ops.linalg import (
    eye,
    inv,
    require_matrix,
    require_square,
    require_square_shape,
    square_errors,
    square_samples,
)
from flambeau.ops.product_helpers import conjugate_transpose
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor


@composite(
    name="linalg.matrix_power",
    out=True,
    samples=lambda make: [Sample(make(3, 3), n) for n in (0, 1, 3, -2)],
    errors=lambda make: [ErrorSample(RuntimeError, "must be batches of square matrices", make(2, 3), 2)],
)
def linalg_matrix_power(A: Tensor, n: int) -> Tensor:
    r"""The ``n``-th power of a square matrix; of its inverse where ``n`` is negative.

    >>> import flambeau as torch
    >>> torch.linalg.matrix_power(torch.tensor([[1.0, 1.0], [0.0, 1.0]]), 3)
    tensor([[1., 3.],
            [0., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.matrix_power.html
    """
    if A.dim() < 2 or A.dtype.kind >= dtypes.FLOATING:
        require_matrix("linalg.matrix_power", A)
    require_square_shape("linalg.matrix_power", A)
    if n == 0:
        return A.clone().copy_(eye(A.shape[-1], A))
    if n < 0:
        A, n = inv(A), -n
    result: Any = None
    while True:
        if n & 1:
            result = A if result is None else result @ A
        n >>= 1
        if not n:
            return result
        A = A @ A


@composite(out="same", samples=lambda make: [Sample(make(3, 3), 2)])
def matrix_power(input: Tensor, n: int) -> Tensor:
    """The ``n``-th power of a square matrix: :func:`linalg.matrix_power`.

    >>> import flambeau as torch
    >>> torch.matrix_power(torch.tensor([[2.0]]), -1)
    tensor([[0.5000]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.matrix_power.html
    """
    return linalg_matrix_power(input, n)


_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_PADE_RADIUS = 5.371920351148152


def _matrix_exp_kernel(a):
    """Scaling and squaring with a Padé approximant of degree 13, in double precision.

    Source: Higham, The scaling and squaring method for the matrix exponential revisited (2005).
    """
    a = a.astype(np.complex128 if a.dtype.kind == "c" else np.float64)
    if a.size == 0:
        return a
    b, unit = _PADE, np.eye(a.shape[-1])
    size = float(np.abs(a).sum(-2).max())
    squarings = max(0, int(np.ceil(np.log2(size / _PADE_RADIUS)))) if 0 < size < inf else 0
    a = a / 2.0**squarings
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    odd = a @ (a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * unit)
    even = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * unit
    result = np.linalg.solve(even - odd, even + odd)
    for _ in range(squarings):
        result = result @ result
    return result


def _matrix_exp_gradient(g, A):
    """The derivative stands in the corner of the exponential of a block matrix.

    Source: Mathias, A chain rule for matrix functions and applications (1996).
    """
    n = A.shape[-1]
    A = conjugate_transpose(A)
    upper = cat([A, g], -1)
    block = cat([upper, cat([g.new_zeros(A.shape), A], -1)], -2)
    return matrix_exp(block)[..., :n, n:]


@op(
    kernel=_matrix_exp_kernel,
    name="linalg.matrix_exp",
    grad={"A": _matrix_exp_gradient},
    backward_name="LinalgMatrixExpBackward0",
    samples=square_samples,
    errors=square_errors,
)
def matrix_exp(A: Tensor):
    r"""The exponential of a square matrix: :math:`\sum_k A^k / k!`.

    >>> import flambeau as torch
    >>> torch.linalg.matrix_exp(torch.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([[1., 1.],
            [0., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.matrix_exp.html
    """
    require_square("linalg.matrix_exp", A)
    return A.shape, A.dtype, (A,), {}


@composite(name="matrix_exp", samples=square_samples)
def torch_matrix_exp(input: Tensor) -> Tensor:
    """The exponential of a square matrix: :func:`linalg.matrix_exp`.

    >>> import flambeau as torch
    >>> torch.matrix_exp(torch.zeros(2, 2))
    tensor([[1., 0.],
            [0., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.matrix_exp.html
    """
    return matrix_exp(input)

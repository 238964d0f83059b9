"""Linear algebra on tensors of more dims, read as matrices, and small matrix builders."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from flambeau.core import dtypes
from flambeau.ops.joining import cat
from flambeau.ops.linalg import inv, solve
from flambeau.ops.record import ErrorSample, Sample, composite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor


@composite(
    name="linalg.tensorinv",
    out=True,
    samples=lambda make: [Sample(make(2, 3, 6)), Sample(make(4, 2, 2), ind=1)],
    errors=lambda make: [ErrorSample(RuntimeError, "prod\\(self.shape\\[ind:\\]\\)", make(2, 3, 4))],
)
def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of :func:`tensordot` with ``A`` over ``ind`` dims.

    Raises ``RuntimeError`` where the dims before ``ind`` have not as many elements as those after it.

    >>> import flambeau as torch
    >>> torch.linalg.tensorinv(torch.eye(4).reshape(4, 2, 2), ind=1).shape
    torch.Size([2, 2, 4])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.tensorinv.html
    """
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', got {ind}")
    left, right = A.shape[:ind], A.shape[ind:]
    if prod(left) != prod(right):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{prod(right)} != {prod(left)}"
        )
    return inv(A.reshape((prod(left), prod(right)))).reshape((*right, *left))


@composite(
    name="linalg.tensorsolve",
    out=True,
    samples=lambda make: [Sample(make(2, 3, 6), make(2, 3)), Sample(make(6, 2, 3), make(2, 3), dims=(0,))],
)
def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """The ``X`` whose :func:`tensordot` with ``A`` over its last dims is ``B``; ``dims`` of ``A`` go to its end first.

    Raises ``RuntimeError`` for shapes that do not fit.

    >>> import flambeau as torch
    >>> torch.linalg.tensorsolve(2 * torch.eye(4).reshape(2, 2, 4), torch.ones(2, 2))
    tensor([0.5000, 0.5000, 0.5000, 0.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.tensorsolve.html
    """
    if dims is not None:
        n = A.dim()
        A = A.movedim(list(dims), list(range(n - len(dims), n)))
    shape = A.shape[B.dim() :]
    if B.numel() != prod(shape):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), but "
            f"got {prod(shape)} != {B.numel()}"
        )
    return solve(A.reshape((B.numel(), prod(shape))), B.reshape(-1)).reshape(shape)


@composite(
    name="linalg.vecdot",
    out="same",
    samples=lambda make: [Sample(make(2, 3), make(2, 3)), Sample(make(3, 2), make(3, 1), dim=0)],
)
def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    r"""The dot products along ``dim``: :math:`\sum_i \bar x_i y_i`.

    >>> import flambeau as torch
    >>> torch.linalg.vecdot(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([1.0, 10.0]))
    tensor([21., 43.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.vecdot.html
    """
    return ((x.conj_physical() if x.dtype.is_complex else x) * y).sum(dim)


@composite(name="linalg.diagonal", samples=lambda make: [Sample(make(3, 3)), Sample(make(2, 3, 4), offset=1)])
def linalg_diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices: :func:`diagonal`, of the last two dims by default.

    >>> import flambeau as torch
    >>> torch.linalg.diagonal(torch.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.diagonal.html
    """
    return A.diagonal(offset, dim1, dim2)


@composite(name="linalg.vander", samples=lambda make: [Sample(make(3)), Sample(make(2, 3), N=4)])
def vander(x: Tensor, N: int | None = None) -> Tensor:
    r"""The Vandermonde matrix: rows :math:`1, x_i, x_i^2, \ldots, x_i^{N-1}`.

    Raises ``RuntimeError`` for an ``N`` that is not greater than 1.

    >>> import flambeau as torch
    >>> torch.linalg.vander(torch.tensor([2, 3]), N=3)
    tensor([[1, 2, 4],
            [1, 3, 9]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linalg.vander.html
    """
    x = x if x.dim() else x.reshape(1)
    n = x.shape[-1] if N is None else N
    if n <= 1:
        raise RuntimeError(f"N must be greater than 1, got {n}")
    return _powers(x, n)


def _powers(x, n: int):
    """Those of each element, from 0 on."""
    one = x.new_ones((*x.shape, 1), dtype=x.dtype if x.dtype is not dtypes.bool else dtypes.int64)
    powers = x.unsqueeze(-1).expand((*x.shape, n - 1)).cumprod(-1)
    return cat([one.to(powers.dtype), powers], -1)


@composite(name="vander", method=False, samples=lambda make: [Sample(make(3)), Sample(make(3), 2, True)])
def torch_vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    r"""The Vandermonde matrix of a vector, with powers descending from left to right unless ``increasing``.

    Raises ``RuntimeError`` for other than one dim and a negative ``N``.

    >>> import flambeau as torch
    >>> torch.vander(torch.tensor([2, 3]), N=3)
    tensor([[4, 2, 1],
            [9, 3, 1]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.vander.html
    """
    if x.dim() != 1:
        raise RuntimeError(f"x must be a one-dimensional tensor, got shape {list(x.shape)}")
    if N is not None and N < 0:
        raise RuntimeError("N must be non-negative.")
    n = x.shape[0] if N is None else N
    powers = _powers(x, n) if n else x.new_empty((x.shape[0], 0))
    return powers if increasing else powers.flip(-1)

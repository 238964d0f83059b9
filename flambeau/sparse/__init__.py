"""``torch.sparse``: functions of sparse tensors.

>>> import flambeau as torch
>>> a = torch.tensor([[0.0, 2.0], [3.0, 0.0]]).to_sparse()
>>> torch.sparse.mm(a, torch.eye(2))
tensor([[0., 2.],
        [3., 0.]])

Source: https://docs.pytorch.org/docs/stable/sparse.html
"""

from __future__ import annotations

from typing import Any, NoReturn

import flambeau
from flambeau.sparse import products, rules
from flambeau.sparse.creation import sparse_coo_tensor
from flambeau.sparse.invariants import check_sparse_tensor_invariants
from flambeau.sparse.legacy import (
    BFloat16Tensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    HalfTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
)  # fmt: skip
from flambeau.sparse.tensor import SparseTensor
from flambeau.tensor.tensor import Tensor

__all__ = [
    "SparseSemiStructuredTensor", "addmm", "as_sparse_gradcheck", "check_sparse_tensor_invariants", "log_softmax", "mm", "sampled_addmm", "softmax", "spdiags", "spsolve", "sum",
    "to_sparse_semi_structured",
]  # fmt: skip


def mm(mat1: Tensor, mat2: Tensor, reduce: str | None = None) -> Tensor:
    """The product of a sparse matrix and a dense or sparse one; gradients flow to both.

    Args:
        reduce: ``"sum"``, ``"mean"``, ``"amax"`` or ``"amin"``: what is done with the products of a row, of a CSR matrix.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.sparse.mm.html
    """
    if not isinstance(mat1, SparseTensor) and not isinstance(mat2, SparseTensor):
        return flambeau.mm(mat1, mat2)
    if reduce in (None, "sum"):
        return products.mm(mat1, mat2)
    if reduce not in ("mean", "amax", "amin"):
        raise RuntimeError(f"reduce argument must be either sum, mean, amax or amin, got {reduce}")
    c: Any = mat1.to_coo()  # type: ignore[attr-defined]
    terms = c._v.unsqueeze(1) * mat2.index_select(0, c._parts[0][1])
    out = flambeau.zeros((c.shape[0], mat2.shape[1]), dtype=terms.dtype)
    index = c._parts[0][0].unsqueeze(1).expand_as(terms)
    return out.scatter_reduce(0, index, terms, reduce, include_self=False)


def addmm(mat: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """``beta * mat + alpha * (mat1 @ mat2)`` with a sparse ``mat1``."""
    return products.addmm(mat, mat1, mat2, beta=beta, alpha=alpha)


def sum(input: Tensor, dim: Any = None, dtype: Any = None) -> Tensor:
    """The sum of all elements, or over some dims; sparse where sparse dims are left.

    >>> import flambeau as torch
    >>> torch.sparse.sum(torch.eye(2).to_sparse(), 0).to_dense()
    tensor([1., 1.])
    """
    return rules.total(input, dim, dtype=dtype)


def softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """Softmax over the elements that are there: what is missing counts as minus infinity.

    >>> import flambeau as torch
    >>> torch.sparse.softmax(torch.tensor([[0.0, 1.0], [1.0, 1.0]]).to_sparse(), 1).to_dense()
    tensor([[0.0000, 1.0000],
            [0.5000, 0.5000]])
    """
    return rules.softmax(input, dim, dtype)


def log_softmax(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The logarithm of :func:`softmax`."""
    return rules.log_softmax(input, dim, dtype)


def sampled_addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: float = 1.0, alpha: float = 1.0, out: Tensor | None = None
) -> Tensor:
    """``beta * input + alpha * (mat1 @ mat2)`` at the places of a sparse ``input`` alone."""
    c: Any = input.to_coo()  # type: ignore[attr-defined]
    rows, columns = c._parts[0]
    products = (mat1.index_select(0, rows) * mat2.t().index_select(0, columns)).sum(1)
    return input._with(c._v * beta + products * alpha)  # type: ignore[attr-defined, no-any-return]


def spdiags(diagonals: Tensor, offsets: Tensor, shape: tuple[int, int], layout: Any = None) -> Tensor:
    """A sparse matrix with the rows of ``diagonals`` on the diagonals ``offsets``.

    >>> import flambeau as torch
    >>> torch.sparse.spdiags(torch.tensor([[1, 2, 3]]), torch.tensor([1]), (3, 3)).to_dense()
    tensor([[0, 2, 0],
            [0, 0, 3],
            [0, 0, 0]])
    """
    diagonals = diagonals.reshape(-1, diagonals.shape[-1])
    places, values = [], []
    for row, offset in zip(diagonals, offsets.reshape(-1).tolist(), strict=True):
        first, last = max(0, offset), min(shape[1], shape[0] + offset, len(row))
        columns = flambeau.arange(first, max(first, last))
        places.append(flambeau.stack([columns - offset, columns]))
        values.append(row[first : max(first, last)])
    made: Any = sparse_coo_tensor(flambeau.cat(places, 1), flambeau.cat(values), shape)
    return made if layout is None else made.coalesce().to_sparse(layout=layout)  # type: ignore[no-any-return]


def spsolve(input: Tensor, other: Tensor, *, left: bool = True) -> NoReturn:
    """Raises: PyTorch's CPU build has no sparse solver either."""
    raise RuntimeError(
        "Calling linear solver with sparse tensors requires compiling PyTorch with CUDA cuDSS and is not supported in ROCm build."
    )


solve = spsolve


class SparseSemiStructuredTensor(Tensor):
    """A class for ``isinstance``: tensors with two of four elements are there on GPUs only."""


def to_sparse_semi_structured(original_tensor: Tensor, transposed: bool = False) -> NoReturn:
    """Raises ``RuntimeError``: such tensors are there on GPUs only."""
    raise RuntimeError(
        f"Error original_tensor.device={original_tensor.device} is not supported! Only CUDA tensors are currently supported."
    )


def as_sparse_gradcheck(gradcheck: Any) -> Any:
    """``gradcheck`` for functions of sparse tensors: they are given the values."""

    def of_values(func: Any, inputs: Any, **settings: Any) -> Any:
        settings.pop("masked", None)
        given = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
        dense = tuple(x._v.detach().requires_grad_() if isinstance(x, SparseTensor) and x.requires_grad else x for x in given)

        def call(*values: Any) -> Any:
            args = [
                x._with(v) if isinstance(x, SparseTensor) and x.requires_grad else v for x, v in zip(given, values, strict=True)
            ]
            out = func(*args)
            return out.to_dense() if isinstance(out, SparseTensor) else out

        return gradcheck(call, dense, **settings)

    return of_values

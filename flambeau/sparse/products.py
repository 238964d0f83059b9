"""Products of sparse tensors, with dense tensors and with each other."""

from __future__ import annotations

from typing import Any

import numpy as np

import flambeau
from flambeau.core.memory_format import sparse_coo
from flambeau.sparse.rules import is_sparse, rule, select
from flambeau.sparse.tensor import SparseTensor, added_rows, coo, from_array
from flambeau.tensor.tensor import Tensor

# --- products -------------------------------------------------------------------------------------------------


def _times_dense(a: SparseTensor, b: Tensor) -> Tensor:
    """A sparse matrix (m, k) times a dense one (k, n)."""
    c = a.to_coo()
    if c.sparse_dim() != 2 or c.dense_dim():
        raise RuntimeError(
            f"mm: expected a sparse matrix with 2 sparse dims, but got {c.sparse_dim()} sparse and {c.dense_dim()} dense dims"
        )
    rows, columns = c._parts[0][0], c._parts[0][1]
    dtype = flambeau.promote_types(c.dtype, b.dtype)
    terms = c._v.to(dtype).unsqueeze(1) * b.to(dtype).index_select(0, columns)
    return added_rows(terms, rows, c.shape[0])


def mm(a: Any, b: Any) -> Tensor:
    """The product of two matrices, of which one or both are sparse."""
    if a.dim() != 2 or b.dim() != 2:
        raise RuntimeError(f"mm: expected 2D tensors, but got {a.dim()}D and {b.dim()}D tensors")
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({a.shape[0]}x{a.shape[1]} and {b.shape[0]}x{b.shape[1]})")
    if is_sparse(a) and is_sparse(b):
        return _times_sparse(a, b)
    if is_sparse(a):
        return _times_dense(a, b)
    return _times_dense(b.t(), a.t()).t().contiguous()


def _times_sparse(a: SparseTensor, b: SparseTensor) -> Tensor:
    """Each element of ``a`` times the row of ``b`` that it meets."""
    kind = a._kind
    x, y = a.to_coo().coalesce(), b.to_coo().coalesce()
    left, right = x._parts[0]._array(), y._parts[0]._array()
    begins = np.searchsorted(right[0], np.arange(b.shape[0] + 1))
    counts = np.diff(begins)[left[1]]
    mine = np.repeat(np.arange(left.shape[1]), counts)
    starts = (
        np.repeat(begins[left[1]] - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts) if len(mine) else np.zeros(0, np.int64)
    )
    theirs = np.arange(len(mine)) + starts
    values = x._v[from_array(mine)] * y._v[from_array(theirs)]
    places = np.stack([left[0][mine], right[1][theirs]]) if len(mine) else np.zeros((2, 0), np.int64)
    made = coo(from_array(places), values, (a.shape[0], b.shape[1])).coalesce()
    return made if kind is sparse_coo else made.to_compressed(kind)


@rule("mm", "matmul", "mv")
def _matmul(a: Any, b: Any) -> Tensor:
    if a.dim() == 2 and b.dim() == 1:
        if is_sparse(b):
            raise NotImplementedError("a matrix times a sparse vector: use .to_dense()")
        if a.shape[1] != b.shape[0]:
            raise RuntimeError(f"size mismatch, got input ({a.shape[0]}x{a.shape[1]}), vec ({b.shape[0]})")
        return _times_dense(a, b.unsqueeze(1)).squeeze(1)
    if a.dim() == 2 and b.dim() == 2:
        return mm(a, b)
    if a.dim() == 3 and is_sparse(a):
        return _bmm(a, b)  # type: ignore[no-any-return]
    if a.dim() == 1 and b.dim() == 2 and not is_sparse(a):
        return mm(a.unsqueeze(0), b).squeeze(0)
    if is_sparse(a) and b.dim() > 2:
        return flambeau.stack([_matmul(a, m) for m in b.reshape(-1, *b.shape[-2:])]).reshape(*b.shape[:-2], a.shape[0], b.shape[-1])
    raise NotImplementedError(f"matmul of tensors with {a.dim()} and {b.dim()} dims, one of them sparse")


@rule("bmm")
def _bmm(a: Any, b: Any) -> Tensor:
    if not is_sparse(a):
        return _bmm(b.transpose(1, 2), a.transpose(1, 2)).transpose(1, 2)  # type: ignore[no-any-return]
    return flambeau.stack([mm(select(a, 0, i), b[i]) for i in range(a.shape[0])])


@rule("addmm", "Tensor.addmm")
def addmm(input: Any, mat1: Any, mat2: Any, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """``beta * input + alpha * mat1 @ mat2``."""
    product = mm(mat1, mat2)
    product = product if alpha == 1 else product * alpha
    if is_sparse(product) and not is_sparse(input):
        product = product.to_dense()
    scaled = input if beta == 1 else input * beta
    return scaled + product if not is_sparse(scaled) or is_sparse(product) else product + scaled.to_dense()


@rule("nn.functional.linear")
def _linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    rows = input if input.dim() == 2 else input.reshape(-1, input.shape[-1])
    out = mm(rows, weight.t())
    out = out if bias is None else out + bias
    return out if input.dim() == 2 else out.reshape(*input.shape[:-1], weight.shape[0])

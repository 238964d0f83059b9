"""Sparse tensors in pickles, as PyTorch writes them."""

from __future__ import annotations

from typing import Any

from flambeau.core.memory_format import layout, sparse_coo, sparse_csc, sparse_csr
from flambeau.sparse.creation import sparse_compressed_tensor, sparse_coo_tensor

__all__ = ["parts_of", "rebuild_sparse_tensor", "reduce_sparse"]


def parts_of(x: Any) -> tuple:
    """What a sparse tensor is made of."""
    if x._kind is sparse_coo:
        return x._parts[0], x._v.detach(), x.shape, x._is_coalesced
    return *x._parts, x._v.detach(), x.shape


def rebuild_sparse_tensor(kind: layout, data: tuple) -> Any:
    """A sparse tensor of its parts, which are checked."""
    if kind is sparse_coo:
        indices, values, size, *rest = data
        made = sparse_coo_tensor(indices, values, size)
        if rest and rest[0]:
            flat = made._flat()  # type: ignore[attr-defined]
            made._is_coalesced = bool((flat[1:] > flat[:-1]).all())  # type: ignore[attr-defined]
        return made
    if kind in (sparse_csr, sparse_csc):
        begins, others, values, size = data
        return sparse_compressed_tensor(begins, others, values, size, layout=kind)
    raise NotImplementedError(f"rebuilding sparse tensor for layout {kind}")


def reduce_sparse(x: Any) -> tuple:
    """``x.__reduce_ex__()``."""
    return rebuild_sparse_tensor, (x._kind, parts_of(x))

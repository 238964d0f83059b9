"""How sparse tensors are written."""

from __future__ import annotations

from typing import Any

from flambeau.core import dtypes
from flambeau.core.memory_format import sparse_coo, sparse_csr
from flambeau.tensor.printing import append, format_values

__all__ = ["sparse_repr"]


_INDENT = len("tensor(")


def _contents(t: Any, name: str) -> str:
    """The text of a dense part."""
    prefix = f"{name}=tensor("
    array = t.detach()._array()
    values = format_values(array, _INDENT + len(prefix)) if array.size else "[]"
    return prefix + values + (f", size={tuple(t.shape)}" if not array.size else "") + ")"


def sparse_repr(x: Any) -> str:
    """``repr`` of a sparse tensor, as PyTorch writes it."""
    if x._kind is sparse_coo:
        parts = [("indices", x._parts[0])]
    elif x._kind is sparse_csr:
        parts = [("crow_indices", x._parts[0]), ("col_indices", x._parts[1])]
    else:
        parts = [("ccol_indices", x._parts[0]), ("row_indices", x._parts[1])]
    text = "tensor(" + (",\n" + " " * _INDENT).join([_contents(t, name) for name, t in [*parts, ("values", x._v)]])
    suffixes = [f"size={tuple(x.shape)}", f"nnz={x._nnz()}"]
    if x.dtype not in (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool, dtypes.complex64):
        suffixes.append(f"dtype={x.dtype}")
    suffixes.append(f"layout={x._kind}")
    if x.grad_fn is not None:
        suffixes.append(f"grad_fn=<{x.grad_fn.name()}>")
    elif x.requires_grad:
        suffixes.append("requires_grad=True")
    if x._kind is sparse_coo:
        text, suffixes = f"{text},\n{' ' * _INDENT}{suffixes[0]}", suffixes[1:]
    return append(text, suffixes, _INDENT) + ")"

"""Making sparse tensors of coordinates and values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import flambeau
from flambeau.core import dtypes
from flambeau.core.device import check as check_device
from flambeau.core.memory_format import layout, sparse_bsc, sparse_bsr, sparse_coo, sparse_csc, sparse_csr, strided
from flambeau.core.size import Size
from flambeau.sparse.invariants import check_compressed, check_sparse_tensor_invariants
from flambeau.sparse.tensor import SparseTensor, compressed, coo, from_dense
from flambeau.tensor.tensor import Tensor

__all__ = [
    "sparse_bsc_tensor",
    "sparse_bsr_tensor",
    "sparse_compressed_tensor",
    "sparse_coo_tensor",
    "sparse_csc_tensor",
    "sparse_csr_tensor",
    "to_sparse",
]


def _integers(x: Any) -> Tensor:
    t = x if isinstance(x, Tensor) else flambeau.tensor(x)
    if t.dtype is dtypes.int64:
        return t.detach()
    return t.detach().to(dtypes.int64)


def _values(values: Any, dtype: Any) -> Tensor:
    t = values if isinstance(values, Tensor) else flambeau.tensor(values, dtype=dtype)
    return t if dtype is None or t.dtype is dtype else t.to(dtype)


def _finished(x: SparseTensor, requires_grad: bool) -> SparseTensor:
    if requires_grad:
        x._v = x._v.detach()
        x.requires_grad_()
    return x


def sparse_coo_tensor(
    indices: Any = None, values: Any = None, size: Any = None, *, dtype: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False, check_invariants: bool | None = None, is_coalesced: bool | None = None,
) -> Tensor:  # fmt: skip
    """A sparse tensor of coordinates (dims, elements) and values (elements, ...): layout ``torch.sparse_coo``.

    Values at one place are added up. ``sparse_coo_tensor(size)`` has no elements. Gradients flow to ``values``.

    >>> import flambeau as torch
    >>> torch.sparse_coo_tensor([[0, 1, 1], [2, 0, 2]], [3.0, 4.0, 5.0], (2, 3)).to_dense()
    tensor([[0., 0., 3.],
            [4., 0., 5.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.sparse_coo_tensor.html
    """
    check_device(device)
    if values is None:
        shape = Size(size if size is not None else indices if not isinstance(indices, int) else (indices,))
        empty = flambeau.zeros(0, dtype=dtype)
        return _finished(coo(flambeau.zeros(len(shape), 0, dtype=dtypes.int64), empty, shape, True), requires_grad)
    places, elements = _integers(indices), _values(values, dtype)
    if places.dim() != 2:
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(places.shape)}")
    if not elements.dim():
        elements = elements.expand(places.shape[1])
    if elements.shape[0] != places.shape[1]:
        raise RuntimeError(
            f"number of dimensions must be sparse_dim ({places.shape[0]}) + dense_dim: indices and values must have same nnz, but got nnz from indices: {places.shape[1]}, nnz from values: {elements.shape[0]}"
        )
    known = places._array()
    if size is None:
        if known.size and known.min() < 0:
            raise RuntimeError(f"found negative index {known.min()}")
        largest = known.max(axis=1) + 1 if known.shape[1] else np.zeros(len(known), np.int64)
        size = (*[int(n) for n in largest], *elements.shape[1:])
    else:
        size = Size(size)
        if len(size) != places.shape[0] + elements.dim() - 1:
            raise RuntimeError(
                f"number of dimensions must be sparse_dim ({places.shape[0]}) + dense_dim ({elements.dim() - 1}), but got {len(size)}"
            )
        if tuple(size[places.shape[0] :]) != tuple(elements.shape[1:]):
            raise RuntimeError(
                f"values has incorrect size, expected {[elements.shape[0], *size[places.shape[0] :]]}, got {list(elements.shape)}"
            )
        for d, row in enumerate(known):
            if row.size and (row.min() < 0 or row.max() >= size[d]):
                if row.min() < 0:
                    raise RuntimeError(f"found negative index {row.min()} for dim {d}")
                raise RuntimeError(f"size is inconsistent with indices: for dim {d}, size is {size[d]} but found index {row.max()}")
    return _finished(coo(places, elements, size, bool(is_coalesced)), requires_grad)


def sparse_compressed_tensor(
    compressed_indices: Any, plain_indices: Any, values: Any, size: Any = None, *, dtype: Any = None, layout: layout | None = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False, check_invariants: bool | None = None,
) -> Tensor:  # fmt: skip
    """A sparse matrix of where its rows (CSR) or columns (CSC) begin, the other coordinate of each element, and the values."""
    check_device(device)
    if layout in (sparse_bsr, sparse_bsc):
        raise _no_blocks(layout)
    if layout not in (sparse_csr, sparse_csc):
        raise RuntimeError(f"sparse_compressed_tensor: expected layout torch.sparse_csr or torch.sparse_csc, but got {layout}")
    begins, others, elements = _integers(compressed_indices), _integers(plain_indices), _values(values, dtype)
    if begins.dim() == others.dim() != 1:
        raise NotImplementedError("batches of sparse compressed tensors: flambeau has single matrices")
    if size is None:
        columns = others._array()
        lines, widest = begins.shape[0] - 1, int(columns.max()) + 1 if len(columns) else 0
        size = ((lines, widest) if layout is sparse_csr else (widest, lines)) + tuple(elements.shape[1:])
    in_full = check_sparse_tensor_invariants.is_enabled() if check_invariants is None else check_invariants
    check_compressed(layout, begins, others, elements, size, order=in_full)
    return _finished(compressed(layout, begins, others, elements, size), requires_grad)


def sparse_csr_tensor(crow_indices: Any, col_indices: Any, values: Any, size: Any = None, **settings: Any) -> Tensor:
    """A sparse matrix of layout ``torch.sparse_csr``: ``crow_indices`` says where rows begin, ``col_indices`` the column of each
    value.

    >>> import flambeau as torch
    >>> torch.sparse_csr_tensor([0, 2, 3], [0, 1, 1], [1.0, 2.0, 3.0], (2, 2)).to_dense()
    tensor([[1., 2.],
            [0., 3.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.sparse_csr_tensor.html
    """
    return sparse_compressed_tensor(crow_indices, col_indices, values, size, **{**settings, "layout": sparse_csr})


def sparse_csc_tensor(ccol_indices: Any, row_indices: Any, values: Any, size: Any = None, **settings: Any) -> Tensor:
    """A sparse matrix of layout ``torch.sparse_csc``."""
    return sparse_compressed_tensor(ccol_indices, row_indices, values, size, **{**settings, "layout": sparse_csc})


def sparse_bsr_tensor(*args: Any, **settings: Any) -> Tensor:
    """Raises ``NotImplementedError``: flambeau has no blocks."""
    raise _no_blocks(sparse_bsr)


def sparse_bsc_tensor(*args: Any, **settings: Any) -> Tensor:
    """Raises ``NotImplementedError``: flambeau has no blocks."""
    return sparse_bsr_tensor()


_MAKERS = ("zeros", "empty", "zeros_like", "new_zeros", "new_empty")


def of_layout(function: Callable, args: tuple, kwargs: dict) -> Tensor:
    """What a function that makes tensors gives for ``layout=`` a sparse one: a tensor of that shape without elements.

    Raises for functions whose values are not zeros, as PyTorch does.

    >>> import flambeau as torch
    >>> torch.zeros(2, 3, layout=torch.sparse_coo)._nnz()
    0
    """
    kind, name = kwargs["layout"], function.__name__
    if name in ("ones", "full"):
        raise RuntimeError("full(...) is not implemented for sparse layout")
    if name not in _MAKERS:
        backend = "SparseCPU" if kind is sparse_coo else "SparseCsrCPU"
        raise NotImplementedError(
            f"Could not run 'aten::{name}' with arguments from the '{backend}' backend: only zeros and empty make tensors of {kind}"
        )
    check_device(kwargs.get("device"))
    settings = {k: v for k, v in kwargs.items() if k not in ("layout", "device", "requires_grad", "pin_memory", "memory_format")}
    like = function(*args, **settings, device="meta")
    return _finished(without_elements(kind, like.shape, like.dtype, name), kwargs.get("requires_grad", False))


def without_elements(kind: layout, shape: Size, dtype: Any, name: str) -> SparseTensor:
    """A tensor of zeros of a sparse layout, made by the function ``name``."""
    if kind is sparse_coo:
        return coo(flambeau.zeros(len(shape), 0, dtype=dtypes.int64), flambeau.zeros(0, dtype=dtype), shape, True)
    if kind in (sparse_bsr, sparse_bsc):
        raise _no_blocks(kind)
    if len(shape) != 2:
        raise RuntimeError(
            f"torch.{name}: Only batched sparse compressed (non-block) tensors are supported, but got size {list(shape)}"
        )
    begins = flambeau.zeros(shape[0 if kind is sparse_csr else 1] + 1, dtype=dtypes.int64)
    return compressed(kind, begins, begins[:0], flambeau.zeros(0, dtype=dtype), shape)


def _no_blocks(kind: layout) -> NotImplementedError:
    return NotImplementedError(f"{kind}: flambeau has the layouts torch.sparse_coo, torch.sparse_csr and torch.sparse_csc")


def lookup(weight: Tensor, indices: Tensor, rows: Any, padding_idx: int, scale: bool) -> Tensor:
    """``rows(weight, indices)``, with a sparse gradient of ``weight``."""
    from flambeau.sparse.lookup import lookup

    return lookup(weight, indices, rows, padding_idx, scale)


def masked(x: Tensor, mask: Any) -> Tensor:
    """The elements of a dense tensor at the places of a sparse one."""
    from flambeau.sparse.rules import _at

    if not isinstance(mask, SparseTensor):
        raise RuntimeError("sparse_mask(): the mask must be a sparse tensor")
    if x.shape != mask.shape:
        raise RuntimeError(
            f"sparse_mask(): operands have incompatible sizes; self has size {list(x.shape)} but mask has size {list(mask.shape)}"
        )
    return mask._with(_at(x, mask))


def to_sparse(
    x: Tensor, *args: Any, layout: Any = None, sparse_dim: Any = None, dense_dim: Any = None, blocksize: Any = None
) -> Tensor:
    """The elements of a dense tensor that are not zero."""
    if layout is strided:
        return x
    if layout in (sparse_csr, sparse_csc):
        return from_dense(x, 2).to_compressed(layout)
    if layout in (sparse_bsr, sparse_bsc):
        raise _no_blocks(layout)
    return from_dense(x, args[0] if args else sparse_dim)


def _convert_indices_from_coo_to_csr(input: Tensor, size: int, *, out_int32: bool = False) -> Tensor:
    """Where rows begin, for the sorted row of each element: (size + 1)."""
    counts = np.bincount(input._array(), minlength=size) if input.numel() else np.zeros(size, np.int64)
    begins = flambeau.from_numpy(np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    return begins.to(dtypes.int32) if out_int32 else begins


def _convert_indices_from_csr_to_coo(
    crow_indices: Tensor, col_indices: Tensor, *, out_int32: bool = False, transpose: bool = False
) -> Tensor:
    """The row and column of each element, for where rows begin: (2, elements)."""
    begins = crow_indices._array()
    rows = flambeau.from_numpy(np.repeat(np.arange(len(begins) - 1), np.diff(begins)).astype(np.int64))
    columns = col_indices.to(dtypes.int64)
    pair = flambeau.stack([columns, rows] if transpose else [rows, columns])
    return pair.to(dtypes.int32) if out_int32 else pair

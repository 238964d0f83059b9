"""Sparse tensors: where elements that are not zero stand, and what they are.

A sparse tensor holds dense ones: the coordinates (COO), or the coordinates of one dim and where the rows of the other begin (CSR,
CSC), and the values. What is computed of it is computed of the values by dense ops (:mod:`flambeau.sparse.rules`), so the tape
needs to know nothing of sparse tensors: a gradient of a sparse tensor is one of its values.

Source: https://docs.pytorch.org/docs/stable/sparse.html
"""

from __future__ import annotations

from typing import Any, NoReturn, SupportsIndex

import numpy as np

import flambeau
from flambeau.core import config, dtypes
from flambeau.core import device as devices
from flambeau.core.memory_format import layout, sparse_coo, sparse_csc, sparse_csr
from flambeau.core.size import Size
from flambeau.tensor.interception import Presence
from flambeau.tensor.tensor import Tensor, disabled_torch_function

__all__ = ["SparseTensor", "compressed", "coo"]


_IN_WORDS = {sparse_coo: "coordinate", sparse_csr: "row compressed", sparse_csc: "column compressed"}
_IN_ERRORS = {sparse_coo: "Sparse", sparse_csr: "SparseCsr", sparse_csc: "SparseCsc"}


class _NoStorage:
    """In place of a storage: sparse tensors have none."""

    is_meta = is_inference = exposed = False
    segment = None

    def __getattr__(self, name: str) -> NoReturn:
        raise NotImplementedError("Cannot access storage of SparseTensorImpl: call .values(), .indices() or .to_dense()")


class SparseTensor(Tensor):
    """A sparse tensor, of layout ``torch.sparse_coo``, ``torch.sparse_csr`` or ``torch.sparse_csc``."""

    __torch_function__ = disabled_torch_function  # calls come by _intercept
    _kind: layout
    _parts: tuple[Tensor, ...]  # of COO: (indices,); of CSR and CSC: (where rows begin, columns)
    _v: Tensor
    _presence: Presence
    _is_coalesced = False
    _leaf = False
    _opaque = True  # type: ignore[assignment]
    _storage: Any = _NoStorage()
    is_sparse = property(lambda self: self._kind is sparse_coo)  # type: ignore[assignment]
    is_sparse_csr = property(lambda self: self._kind is sparse_csr)  # type: ignore[assignment]
    is_meta = property(lambda self: False)  # type: ignore[assignment]

    @classmethod
    def _intercept(cls, function: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        from flambeau.sparse.rules import apply

        return apply(function, args, kwargs)

    # --- what it is -------------------------------------------------------------------------------------------

    @property
    def layout(self) -> layout:  # type: ignore[override]
        return self._kind

    @property
    def device(self) -> devices.device:
        return devices.CPU

    @property
    def requires_grad(self) -> bool:  # type: ignore[override]
        return self._v.requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Makes it a leaf whose gradient is sparse too."""
        if requires_grad and self._v.grad_fn is None:
            self._leaf = True
        self._v.requires_grad_(requires_grad)
        return self

    @property
    def grad_fn(self) -> Any:  # type: ignore[override]
        return self._v.grad_fn

    @property
    def is_leaf(self) -> bool:  # type: ignore[override]
        return self._v.grad_fn is None

    @property
    def grad(self) -> Tensor | None:  # type: ignore[override]
        """Of a leaf, the gradient: sparse, with elements where it has them. Elements at one place share the gradient of that place."""
        if not self._leaf or self._v.grad is None:
            return None
        g, shares = self._v.grad, self._shares()
        return self._with(g if shares is None else g * shares)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        shares = None if value is None else self._shares()
        self._v.grad = None if value is None else value._v if shares is None else value._v / shares  # type: ignore[attr-defined]

    def _shares(self) -> Tensor | None:
        """1 over the number of elements at each element's place; ``None`` where that is 1."""
        if self._kind is not sparse_coo or self._is_coalesced:
            return None
        _, which, counts = np.unique(self._parts[0]._array(), axis=1, return_inverse=True, return_counts=True)
        return flambeau.tensor(1 / counts[which.reshape(-1)], dtype=self._v.dtype).reshape(-1, *[1] * (self._v.dim() - 1))

    @property
    def _on_tape(self) -> Tensor:  # type: ignore[override]
        return self._v

    def _values_of(self, gradient: Tensor) -> Tensor:
        """A gradient of this tensor as one of its values: of the elements that it has."""
        if isinstance(gradient, SparseTensor):
            same = gradient._kind is self._kind and all(
                p is q or p.equal(q) for p, q in zip(gradient._parts, self._parts, strict=True)
            )
            if same:
                return gradient._v
            gradient = gradient.to_dense()
        return gradient.sparse_mask(self)._v  # type: ignore[no-any-return]

    def backward(
        self, gradient: Tensor | None = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None
    ) -> None:
        flambeau.autograd.backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    @property  # type: ignore[misc]
    def data(self) -> Tensor:  # type: ignore[override]
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, SparseTensor):
            raise RuntimeError(
                "Attempted to call `variable.set_data(tensor)`, but `variable` and `tensor` have incompatible tensor type."
            )
        self._take(value.detach().requires_grad_(self.requires_grad))  # type: ignore[arg-type]

    @property
    def _version(self) -> int:  # type: ignore[override]
        return self._version_before + self._v._version

    def detach(self) -> Tensor:
        return self._with(self._v.detach())

    def _alias(self, cls: type | None = None) -> Tensor:
        return self._with(self._v)

    def _with(self, values: Tensor) -> SparseTensor:
        """A tensor of other values at these places."""
        return _make(self._kind, self._parts, values, self._shape, self._is_coalesced)

    def is_contiguous(self, memory_format: Any = None) -> bool:
        return False

    def stride(self, dim: int | None = None) -> Any:  # type: ignore[override]
        if self._kind is not sparse_coo:
            raise RuntimeError("Sparse CSR tensors do not have strides")
        return (0,) * self.dim() if dim is None else 0

    def _array(self) -> NoReturn:
        raise TypeError(f"can't convert {_IN_ERRORS[self._kind]} layout tensor to numpy. Use Tensor.to_dense() first.")

    numpy = data_ptr = _array  # type: ignore[assignment]

    def tolist(self) -> NoReturn:
        raise NotImplementedError("tolist of a sparse tensor: use Tensor.to_dense() first")

    def item(self) -> Any:
        if self.numel() != 1:
            raise RuntimeError(f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
        return flambeau.Tensor.item(self.to_dense().reshape(()))

    def __len__(self) -> int:
        if not self._shape:
            raise TypeError("len() of a 0-d tensor")
        return self._shape[0]

    def __getitem__(self, key: Any) -> Tensor:
        from flambeau.sparse.rules import getitem

        return getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        raise TypeError("Cannot assign to a sparse tensor")

    def __deepcopy__(self, memo: dict) -> Tensor:
        if id(self) not in memo:
            made = _make(
                self._kind, tuple(p.clone() for p in self._parts), self._v.detach().clone(), self._shape, self._is_coalesced
            )
            if self._leaf:
                made.requires_grad_(self._v.requires_grad)
            memo[id(self)] = made
        return memo[id(self)]

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]  # whose keyword mypy forgets
        from flambeau.sparse.printing import sparse_repr

        return sparse_repr(self)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple:
        if config.pickled is not None:
            return config.pickled(self)
        from flambeau.sparse.rebuilding import reduce_sparse

        return reduce_sparse(self)

    # --- its parts --------------------------------------------------------------------------------------------

    def _need(self, kind: Any, name: str) -> None:
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if self._kind not in kinds:
            wanted = " or ".join(_IN_WORDS[k] for k in kinds)
            raise RuntimeError(f"{name} expected sparse {wanted} tensor layout but got {_IN_ERRORS[self._kind]}")

    def _nnz(self) -> int:
        return self._v.shape[0]

    def sparse_dim(self) -> int:
        return self._parts[0].shape[0] if self._kind is sparse_coo else 2

    def dense_dim(self) -> int:
        return self._v.dim() - 1

    def is_coalesced(self) -> bool:
        """Whether places are sorted and each is there once."""
        self._need(sparse_coo, "is_coalesced")
        return self._is_coalesced

    def _coalesced_(self, coalesced: bool) -> SparseTensor:
        """Says that places are sorted and each is there once, or that they are not."""
        self._need(sparse_coo, "_coalesced_")
        self._is_coalesced = coalesced
        return self

    def indices(self) -> Tensor:
        """The coordinates (dims, elements) of a coalesced tensor."""
        self._need(sparse_coo, "indices")
        if not self._is_coalesced:
            raise RuntimeError("Cannot get indices on an uncoalesced tensor, please call .coalesce() first")
        return self._parts[0]

    def values(self) -> Tensor:
        """The elements, of COO of a coalesced tensor."""
        if self._kind is sparse_coo and not self._is_coalesced:
            raise RuntimeError("Cannot get values on an uncoalesced tensor, please call .coalesce() first")
        return self._v

    def _indices(self) -> Tensor:
        self._need(sparse_coo, "_indices")
        return self._parts[0]

    def _values(self) -> Tensor:
        """The elements as they are in memory, off the tape: gradients flow through :meth:`values` alone."""
        return self._v.detach()

    def crow_indices(self) -> Tensor:
        self._need(sparse_csr, "crow_indices")
        return self._parts[0]

    def col_indices(self) -> Tensor:
        self._need(sparse_csr, "col_indices")
        return self._parts[1]

    def ccol_indices(self) -> Tensor:
        self._need(sparse_csc, "ccol_indices")
        return self._parts[0]

    def row_indices(self) -> Tensor:
        self._need(sparse_csc, "row_indices")
        return self._parts[1]

    # --- other forms ------------------------------------------------------------------------------------------

    def coalesce(self) -> SparseTensor:
        """With sorted places, each once; values at one place are added up."""
        self._need(sparse_coo, "coalesce")
        if self._is_coalesced:
            return self
        flat = self._flat()
        places, inverse = np.unique(flat, return_inverse=True)
        sizes = tuple(self._shape[: self.sparse_dim()])
        if len(places) == len(flat):
            values = self._v[from_array(np.argsort(flat, kind="stable"))]
        else:
            values = added_rows(self._v, from_array(inverse.reshape(-1)), len(places))
        return _make(sparse_coo, (from_array(unflat(places, sizes)),), values, self._shape, True)

    def _is_sorted(self) -> bool:
        """Whether places are sorted and each is there once, whatever has been said of them."""
        return self._is_coalesced or bool((np.diff(self._flat()) > 0).all())

    def _flat(self) -> np.ndarray:
        """The place of each element in the sparse dims, row by row."""
        indices = self._parts[0]._array()
        sizes = tuple(self._shape[: self.sparse_dim()])
        flat = np.zeros(indices.shape[1], np.int64)
        for row, size in zip(indices, sizes):
            flat = flat * size + row
        return flat

    def to_dense(self, dtype: Any = None, *, masked_grad: Any = None) -> Tensor:
        """The dense tensor of these elements, zeros elsewhere."""
        x = self.to_coo()
        sizes, rest = x._shape[: x.sparse_dim()], x._shape[x.sparse_dim() :]
        rows = int(np.prod(sizes)) if sizes else 1
        values = x._v
        if values.dtype is dtypes.bool:
            dense = added_rows(values.to(dtypes.int8), from_array(x._flat()), rows).to(dtypes.bool)
        else:
            dense = added_rows(values, from_array(x._flat()), rows)
        dense = dense.reshape((*sizes, *rest))
        return dense if dtype is None else dense.to(dtype)

    def to_coo(self) -> SparseTensor:
        """This tensor in coordinates (COO)."""
        if self._kind is sparse_coo:
            return self
        begins, others = self._parts[0]._array(), self._parts[1]._array()
        lines = np.repeat(np.arange(len(begins) - 1), np.diff(begins))
        pair = (lines, others) if self._kind is sparse_csr else (others, lines)
        return _make(sparse_coo, (from_array(np.stack(pair).astype(np.int64)),), self._v, self._shape, self._kind is sparse_csr)

    def to_compressed(self, kind: Any) -> SparseTensor:
        """This tensor with where rows (CSR) or columns (CSC) begin."""
        if self._kind is kind:
            return self
        x = self.to_coo().coalesce()
        if x.sparse_dim() != 2:
            raise RuntimeError(f"to_sparse_csr expected a tensor with 2 sparse dims, but got {x.sparse_dim()}")
        rows, columns = x._parts[0]._array()
        values = x._v
        if kind is sparse_csc:
            order = np.lexsort((rows, columns))
            rows, columns, values = columns[order], rows[order], values[from_array(order)]
        lines = self._shape[0 if kind is sparse_csr else 1]
        begins = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=lines))]).astype(np.int64)
        return _make(kind, (from_array(begins), from_array(np.ascontiguousarray(columns))), values, self._shape, True)

    def to_sparse(self, *args: Any, layout: Any = None, **settings: Any) -> SparseTensor:
        kind: Any = layout or sparse_coo
        return self.to_coo() if kind is sparse_coo else self.to_compressed(kind)

    def to_sparse_coo(self) -> SparseTensor:
        return self.to_coo()

    def to_sparse_csr(self, dense_dim: int | None = None) -> SparseTensor:
        return self.to_compressed(sparse_csr)

    def to_sparse_csc(self, dense_dim: int | None = None) -> SparseTensor:
        return self.to_compressed(sparse_csc)

    def sparse_mask(self, mask: Tensor) -> SparseTensor:
        """Its elements at the places of ``mask``."""
        return self.to_dense().sparse_mask(mask)  # type: ignore[no-any-return]

    def sparse_resize_(self, size: Any, sparse_dim: int, dense_dim: int) -> SparseTensor:
        """Another size in place; dims may only grow where there are elements."""
        if self._nnz() and any(n < m for n, m in zip(size, self._shape)):
            raise RuntimeError(
                "shrinking the size of sparse dimensions (from "
                + str(list(self._shape))
                + " to "
                + str(list(size))
                + ") on a non-empty sparse tensor is not supported."
            )
        self._shape = Size(size)
        return self

    def sparse_resize_and_clear_(self, size: Any, sparse_dim: int, dense_dim: int) -> SparseTensor:
        """Another size in place, without elements."""
        self._shape = Size(size)
        self._parts = (flambeau.zeros(sparse_dim, 0, dtype=dtypes.int64),)
        self._v = flambeau.zeros((0, *self._shape[sparse_dim:]), dtype=self._dtype)
        return self

    def resize_as_sparse_(self, the_template: SparseTensor) -> SparseTensor:
        """The size of another one in place, and its numbers of sparse and dense dims."""
        return self.sparse_resize_(the_template._shape, the_template.sparse_dim(), the_template.dense_dim())

    def _take(self, other: SparseTensor) -> SparseTensor:
        """Becomes what another one is."""
        self._version_before += self._v._version - other._v._version + 1
        self._kind, self._parts, self._v, self._shape, self._dtype = other._kind, other._parts, other._v, other._shape, other._dtype
        self._is_coalesced = other._is_coalesced
        return self


SparseTensor.__module__, SparseTensor.__name__, SparseTensor.__qualname__ = "torch", "Tensor", "Tensor"


def _make(kind: layout, parts: tuple[Tensor, ...], values: Tensor, shape: Any, coalesced: bool) -> SparseTensor:
    self = object.__new__(SparseTensor)
    self._presence = Presence()
    self._kind, self._parts, self._v, self._shape, self._dtype = kind, parts, values, Size(shape), values.dtype
    self._is_coalesced = coalesced
    return self


def from_array(array: np.ndarray) -> Tensor:
    """A tensor of integers."""
    return flambeau.from_numpy(np.ascontiguousarray(array, np.int64))


def unflat(places: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Coordinates for places that are counted row by row."""
    out = np.empty((len(sizes), len(places)), np.int64)
    for d in range(len(sizes) - 1, -1, -1):
        places, out[d] = np.divmod(places, max(sizes[d], 1))
    return out


def added_rows(values: Tensor, rows: Tensor, count: int) -> Tensor:
    """Zeros (count, ...) to which each of ``values`` is added at its row."""
    return flambeau.zeros((count, *values.shape[1:]), dtype=values.dtype).index_add(0, rows, values)


def coo(indices: Tensor, values: Tensor, size: Any, coalesced: bool = False) -> SparseTensor:
    """A tensor of coordinates and values that are known to fit."""
    return _make(sparse_coo, (indices,), values, size, coalesced or values.shape[0] == 0)


def compressed(kind: layout, begins: Tensor, others: Tensor, values: Tensor, size: Any) -> SparseTensor:
    """A tensor of layout CSR or CSC of parts that are known to fit."""
    return _make(kind, (begins, others), values, size, True)


def from_dense(x: Tensor, sparse_dim: int | None = None) -> SparseTensor:
    """The elements of a dense tensor that are not zero; with ``sparse_dim``, its rows with such."""
    dims = x.dim() if sparse_dim is None else sparse_dim
    if not 0 <= dims <= x.dim():
        raise RuntimeError(f"sparse_dim must be at most {x.dim()}, but got {dims}")
    nonzero = x.detach()._array() != 0
    if dims < x.dim():
        nonzero = nonzero.any(axis=tuple(range(dims, x.dim())))
    places = np.stack(np.nonzero(nonzero)) if dims else np.zeros((0, int(nonzero)), np.int64)
    if dims == 0:
        return coo(from_array(places), x.unsqueeze(0)[: places.shape[1]], x.shape, True)
    flat = x.reshape(-1, *x.shape[dims:])
    picked = flat[from_array(np.flatnonzero(nonzero))]
    return coo(from_array(places), picked, x.shape, True)

"""The class of masked tensors: data, and a mask that says which elements count.

What is computed of a masked tensor is computed of its data, which is on the tape in its place; the mask goes along
(:mod:`flambeau.masked.rules`). Reductions leave out what the mask does, so nothing flows there in backward passes either. The
gradient of data that a masked tensor was made of (:func:`as_masked_tensor`) is a masked tensor too: where the mask says no, it has
no value.

Source: https://docs.pytorch.org/docs/stable/masked.html
"""

from __future__ import annotations

import warnings
from typing import Any

from flambeau.autograd.function import Function
from flambeau.core import dtypes
from flambeau.core.memory_format import layout, sparse_coo, sparse_csr, strided
from flambeau.tensor.interception import Presence
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.wrapping import WrappingTensor

__all__ = ["MaskedTensor", "as_masked_tensor", "is_masked_tensor", "masked_tensor"]

_DTYPES = (dtypes.float16, dtypes.float32, dtypes.float64, dtypes.bool, dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64)


class MaskedTensor(WrappingTensor):
    """Data and a mask of its shape: ``True`` where an element counts.

    It is a leaf with a copy of the data. See :func:`masked_tensor`, and :func:`as_masked_tensor` for one that gradients flow
    through.

    Raises:
        TypeError: data or mask is no tensor, the mask is not of dtype ``bool``, or the data's dtype is not supported.
        ValueError: they are of different shapes, or sparse with as many elements at other places.
    """

    _mask: Tensor

    def __new__(cls, data: Tensor, mask: Tensor, requires_grad: bool = False) -> MaskedTensor:
        if is_masked_tensor(data) or not isinstance(data, Tensor):
            raise TypeError("data must be a Tensor")
        if is_masked_tensor(mask) or not isinstance(mask, Tensor):
            raise TypeError("mask must be a Tensor")
        if data.requires_grad:
            warnings.warn(
                "It is not recommended to create a MaskedTensor with a tensor that requires_grad. To avoid this, you can use data.detach().clone()",
                UserWarning,
                stacklevel=2,
            )
        if data.layout is not mask.layout:
            raise TypeError("data and mask must have the same layout.")
        if data.layout is not strided:
            data, mask = _at_same_places(data, mask)
        return masked(data.detach().clone().requires_grad_(requires_grad), mask.clone())

    def __init__(self, data: Tensor, mask: Tensor, requires_grad: bool = False) -> None:
        pass

    @classmethod
    def _intercept(cls, function: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        from flambeau.masked.rules import apply

        return apply(function, args, kwargs)

    def _with(self, values: Tensor) -> MaskedTensor:
        return masked(values, self._mask)

    # --- what it is made of -----------------------------------------------------------------------------------

    def get_data(self) -> Tensor:
        """The data, also where the mask says no; gradients flow through it."""
        return self._v

    def get_mask(self) -> Tensor:
        """The mask."""
        return self._mask

    def to_tensor(self, value: float) -> Tensor:
        """The data with ``value`` wherever the mask says no."""
        return self.get_data().masked_fill(~self.get_mask(), value)

    # --- what it is -------------------------------------------------------------------------------------------

    @property
    def layout(self) -> layout:  # type: ignore[override]
        return self._v.layout

    def is_sparse_coo(self) -> bool:
        return self.layout is sparse_coo

    def is_sparse_csr(self) -> bool:  # type: ignore[override]
        return self.layout is sparse_csr

    @property
    def is_sparse(self) -> bool:  # type: ignore[override]
        return self.layout is not strided

    def stride(self, dim: int | None = None, *, axis: int | None = None) -> Any:
        dim = axis if dim is None else dim
        return self._v.stride() if dim is None else self._v.stride(dim)

    def is_contiguous(self, memory_format: Any = None) -> bool:
        if self.is_sparse:
            raise ValueError("MaskedTensors with sparse data do not have is_contiguous")
        return self._v.is_contiguous() if memory_format is None else self._v.is_contiguous(memory_format=memory_format)

    def to_dense(self, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
        return masked(self._v.to_dense(dtype), self._mask.to_dense()) if self.is_sparse else self._with(self._v)

    def to_sparse(self, *args: Any, **kwargs: Any) -> Tensor:
        """With data and mask of the same sparse layout, at the places that the mask selects."""
        return self if self.is_sparse_coo() else self._at(self._mask.to_sparse(*args, **kwargs).coalesce())

    def to_sparse_coo(self) -> Tensor:
        return self.to_sparse()

    def to_sparse_csr(self, dense_dim: int | None = None) -> Tensor:
        if self.dim() != 2:
            raise ValueError(f"Only 2D tensors can be converted to the SparseCsr layout but got shape: {self._v.size()}")
        return self if self.is_sparse_csr() else self._at(self._mask.to_sparse_csr())

    def _at(self, places: Tensor) -> MaskedTensor:
        return masked(self._v.sparse_mask(places), places)

    def item(self) -> Any:
        if not self._mask.item():
            raise ValueError("item(): the only element of this MaskedTensor is masked out")
        return self._v.item()

    _scalar = item

    def __getitem__(self, key: Any) -> MaskedTensor:
        return masked(self._v[key], self._mask[key])

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        data, mask = (t.detach().to_dense() if self.is_sparse else t.detach() for t in (self._v, self._mask))
        if not self.dim():
            return f"MaskedTensor({_formatted(data.item()) if mask.item() else '--'}, {mask.item()})"
        return "MaskedTensor(\n" + _indented(_rows(data.tolist(), mask.tolist())) + "\n)"

    def __reduce_ex__(self, protocol: Any) -> tuple:
        return masked, (self._v, self._mask)


def _formatted(value: Any) -> str:
    return f"{value:8.4f}" if isinstance(value, float) else str(value)


def _indented(text: str) -> str:
    return "\n".join("  " + line for line in text.split("\n"))


def _rows(data: list, mask: list) -> str:
    if data and isinstance(data[0], list):
        return "[\n" + ",\n".join(_indented(_rows(d, m)) for d, m in zip(data, mask, strict=True)) + "\n]"
    texts = [_formatted(d) for d in data]
    width = max((len(text) if m else 8 for text, m in zip(texts, mask, strict=True)), default=0)
    return "[" + ", ".join(text if m else "--".rjust(width) for text, m in zip(texts, mask, strict=True)) + "]"


def _at_same_places(data: Any, mask: Any) -> tuple[Tensor, Tensor]:
    """Sparse data and its mask with elements at the same places: those of the mask, where it does not have as many."""
    if data.layout is sparse_coo:
        data, mask = data.coalesce(), mask.coalesce()
    if data._nnz() != mask._nnz():
        data = data.detach().sparse_mask(mask)
        data._values().masked_fill_(~mask._values(), 0)
    elif any(not p.equal(q) for p, q in zip(data._parts, mask._parts, strict=True)):
        kind, what = ("COO", "have the same indices") if data.layout is sparse_coo else ("CSR", "share either crow or col indices")
        raise ValueError(f"data and mask are both sparse {kind} tensors but do not {what}.")
    return data, mask


def masked(data: Tensor, mask: Tensor) -> MaskedTensor:
    """A masked tensor over ``data`` itself, which may be on the tape."""
    if mask.dtype is not dtypes.bool:
        raise TypeError("mask must have dtype bool.")
    if data.dtype not in _DTYPES:
        raise TypeError(f"{data.dtype} is not supported in MaskedTensor.")
    if data.dim() != mask.dim():
        raise ValueError("data.dim() must equal mask.dim()")
    if data.shape != mask.shape:
        raise ValueError("data.size() must equal mask.size()")
    self = object.__new__(MaskedTensor)
    self._v, self._mask, self._shape, self._dtype, self._storage = data, mask, data._shape, data._dtype, data._storage
    self._presence = Presence()
    return self


class _Masked(Function):
    """The data unchanged; the gradient that leaves it is masked."""

    @staticmethod
    def forward(ctx: Any, data: Tensor, mask: Tensor) -> Tensor:
        ctx.mask = mask
        return data.view_as(data)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient if is_masked_tensor(gradient) else masked(gradient, ctx.mask), None


def is_masked_tensor(obj: Any, /) -> bool:
    """Whether ``obj`` is a :class:`MaskedTensor`."""
    return isinstance(obj, MaskedTensor)


def masked_tensor(data: Tensor, mask: Tensor, requires_grad: bool = False) -> MaskedTensor:
    """A masked tensor with a copy of ``data``: a leaf.

    >>> import flambeau as torch
    >>> mt = torch.masked.masked_tensor(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([True, False, True]), requires_grad=True)
    >>> mt * 2
    MaskedTensor(
      [  2.0000,       --,   8.0000]
    )
    >>> (mt * mt).mean().backward()
    >>> mt.grad
    MaskedTensor(
      [  1.0000,       --,   4.0000]
    )
    """
    return MaskedTensor(data, mask, requires_grad)


def as_masked_tensor(data: Tensor, mask: Tensor) -> MaskedTensor:
    """A masked tensor that gradients flow through to ``data``, which get a masked one.

    >>> import flambeau as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> torch.masked.as_masked_tensor(x / torch.tensor([0.0, 1.0]), torch.tensor([False, True])).sum().backward()
    >>> x.grad
    MaskedTensor(
      [      --,   1.0000]
    )
    """
    if isinstance(data, MaskedTensor):
        return data
    on_tape = data.requires_grad and data.layout is strided
    return masked(_Masked.apply(data, mask) if on_tape else data, mask)

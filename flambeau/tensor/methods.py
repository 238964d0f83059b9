"""Tensor's methods and operators, derived from the op records."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from sys import getrefcount
from types import CellType, FunctionType
from typing import Any

import numpy as np

from flambeau import dispatch
from flambeau.core.dtypes import scalar_name
from flambeau.core.memory_format import channels_last, channels_last_3d, contiguous_format, sparse_csc, sparse_csr
from flambeau.core.size import Size, contiguous_strides
from flambeau.ops.complexes import conj_view, neg_view, view_as_real
from flambeau.ops.creation import sizes_of
from flambeau.ops.record import Op, registry
from flambeau.ops.spelling import respelled
from flambeau.tensor.exchange import tensor
from flambeau.tensor.order import normal_strides
from flambeau.tensor.storages import AnyStorage, resize
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.typed_storages import TypedStorage


def as_method(function: Callable, name: str) -> Callable:
    """The function as a method: another object, since programs tell ``torch.add`` and ``torch.Tensor.add`` apart."""
    code, closure = function.__code__, function.__closure__  # type: ignore[attr-defined]
    cells = {free: cell for free, cell in zip(code.co_freevars, closure or (), strict=True)}
    own = cells["function"] = CellType()
    method = FunctionType(code, function.__globals__, name, None, tuple([cells[free] for free in code.co_freevars]))  # type: ignore[attr-defined]
    method.__dict__.update(function.__dict__)
    method.__doc__, method.__module__, method.__qualname__ = function.__doc__, "torch", f"Tensor.{name}"
    own.cell_contents = method
    return method


_OPERANDS = (Tensor, int, float, complex, np.generic)


def inplace_function(op: Op, short: str) -> Callable:
    """``name_``: computes the op and writes the result into its first argument."""
    function = op.function

    def in_place(input=None, *args, **kwargs):
        if input is None:  # given by a keyword
            kwargs = respelled(("input",), kwargs)
            if "input" not in kwargs:
                raise TypeError(f'{short}_() missing 1 required positional arguments: "input"')
            input = kwargs.pop("input")
        return dispatch.inplace(function, input, args, kwargs)

    in_place.__name__ = in_place.__qualname__ = short + "_"
    in_place.__doc__ = f"In-place form of ``{short}``."
    in_place.__module__ = "torch"
    made: Any = in_place
    made.__wrapped__, made.op = op.check, op
    return made


def derive() -> None:
    """Gives Tensor a method for every record that has one, and its in-place form."""
    for full, op in registry.items():
        space, _, short = full.rpartition(".")
        if short.startswith("_") or space not in ("", "Tensor"):
            continue
        if op.method and short not in Tensor.__dict__:
            setattr(Tensor, short, as_method(op.function, short))
        if op.inplace and short + "_" not in Tensor.__dict__:
            setattr(Tensor, short + "_", inplace_function(op, short))


def _operator(name: str, reflected: bool = False):
    function = Tensor.__dict__.get(_METHODS.get(name, name), registry[name].function)

    def method(self, other):
        if not isinstance(other, _OPERANDS):
            if hasattr(type(other), "__torch_function__"):
                return function(other, self) if reflected else function(self, other)
            if not isinstance(other, np.ndarray):
                return NotImplemented
            other = dispatch.wrap(np.array(other))
        return function(other, self) if reflected else function(self, other)

    return method


def _inplace_operator(name: str):
    function = registry[name].function

    def method(self, other):
        if not isinstance(other, _OPERANDS):
            if not isinstance(other, np.ndarray):
                return NotImplemented
            other = dispatch.wrap(np.array(other))
        return dispatch.inplace(function, self, (other,), {})

    return method


_METHODS = {"true_divide": "div"}
"""The methods that arithmetic is known by, where these are other ops'."""
_BINARY = {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "true_divide", "div": "true_divide", "floordiv": "floor_divide", "mod": "remainder",
    "pow": "pow", "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
}  # fmt: skip
_COMPARISON = ("eq", "ne", "lt", "le", "gt", "ge")


def derive_operators() -> None:
    """``+`` and its like, forwards, reflected and in place."""
    made = {}
    for python, name in _BINARY.items():
        made[f"__{python}__"], made[f"__r{python}__"] = _operator(name), _operator(name, reflected=True)
        made[f"__i{python}__"] = _inplace_operator(name)
    made["__radd__"], made["__rmul__"], made["__rsub__"] = _operator("add"), _operator("mul"), _operator("rsub")
    made["__rtruediv__"] = lambda self, other: self.reciprocal() * other
    made |= {f"__{name}__": _operator(name) for name in _COMPARISON}
    made["__invert__"] = lambda self: self.bitwise_not()
    made["__reversed__"] = lambda self: self.flip(0) if self.dim() else self
    for name, method in made.items():
        method.__name__, method.__qualname__ = name, f"Tensor.{name}"
        setattr(Tensor, name, method)
    Tensor.__rdiv__ = Tensor.__rtruediv__  # type: ignore[attr-defined]
    for python, name in {"neg": "neg", "pos": "positive", "abs": "abs"}.items():
        setattr(Tensor, f"__{python}__", Tensor.__dict__[name])


# --- what is no op: geometry and identity --------------------------------------------------------------------


def _t_property(self):
    """The dims in reverse order (a matrix's transpose)."""
    if self.dim() != 2:
        _warn_of_transposed("T", self)
    return self.permute(tuple(range(self.dim()))[::-1])


def _warn_of_transposed(name: str, t: Tensor) -> None:
    warnings.warn(
        f"The use of `x.{name}` on tensors of dimension other than 2 to reverse their shape is deprecated and it will throw "
        "an error in a future release. Consider `x.mT` to transpose batches of matrices or "
        f"`x.permute(*torch.arange(x.ndim - 1, -1, -1))` to reverse the dimensions of a tensor (this one has {t.dim()}).",
        UserWarning,
        stacklevel=3,
    )


def _transposed(name: str, adjoint: bool, batches: bool) -> property:
    """``mT``, ``mH`` and ``H``: the last two dims exchanged, conjugated where ``adjoint``."""

    def get(self):
        if not self.dim():
            _warn_of_transposed(name, self)
            return self.conj() if adjoint else self
        if self.dim() < 2 or self.dim() > 2 and not batches:
            what = "matrices or batches of matrices" if batches else "matrices (2-D tensors)"
            more = " For batches of matrices, consider using tensor.mH" if self.dim() > 2 else ""
            raise RuntimeError(f"tensor.{name} is only supported on {what}. Got {self.dim()}-D tensor.{more}")
        out = self.transpose(-2, -1)
        return out.conj() if adjoint and self.is_complex() else out

    return property(get, doc="The conjugate transpose." if adjoint else "The last two dims exchanged.")


def _part(name: str, i: int) -> property:
    """``real`` and ``imag``: views of a complex tensor's memory. The real part of a real tensor is the tensor itself."""

    def get(self):
        if self.is_complex():
            if not self.is_conj():
                return view_as_real(self).select(-1, i)
            part = view_as_real(conj_view(self)).select(-1, i)
            return neg_view(part) if i else part
        if i:
            raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
        return self

    def set(self, value) -> None:
        get(self)[...] = value

    return property(get, set, doc=f"The {name} part.")


def resize_(self, *sizes, memory_format=None):
    """Gives the tensor another size in place. Its memory grows where it is too short, for all tensors on it: with zeros.

    ``RuntimeError`` for a tensor that requires grad, and where memory would have to grow that NumPy also sees.
    """
    shape = Size(sizes_of(sizes, "resize_"))
    if self.requires_grad and not dispatch.grad_mode.inference:
        raise RuntimeError("cannot resize variables that require grad")
    if memory_format is not None and memory_format.name == "preserve_format":
        raise RuntimeError("Unsupported memory format Preserve")
    strides = self.stride() if shape == self._shape else contiguous_strides(shape)
    if memory_format is not None:
        strides = memory_format.strides(shape)
    self._storage.check_write()
    self._storage.version += shape != self._shape
    _grow(self, self._offset + 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if shape.numel() else 0)
    self._shape, self._strides, self._layout = shape, strides if self._bits else normal_strides(shape, strides), None
    return self


_ONE_TENSOR = 3
"""References to a storage: one tensor's, that of a variable, and the question's."""


def _grow(t: Tensor, elements: int) -> None:
    """Makes the memory of ``t`` long enough for so many elements of its dtype."""
    storage = t._storage
    need = -(-elements * t._dtype.itemsize // storage.dtype.itemsize)
    if need <= storage.size:
        return
    alone = getrefcount(storage) <= _ONE_TENSOR
    resize(storage, need * storage.dtype.itemsize, alone)


def resize_as_(self, other, *, memory_format=None):
    """``self.resize_(other.size())``; ``torch.preserve_format`` is the memory format of ``other``."""
    if memory_format is not None and memory_format.name == "preserve_format":
        memory_format = next(
            (f for f in (channels_last, channels_last_3d) if f.matches(other._shape, other.stride())), contiguous_format
        )
    return self.resize_(other._shape, memory_format=memory_format)


def set_(self, source=None, storage_offset=0, size=None, stride=None):
    """Makes the tensor a view of another tensor's, or a storage's, memory."""
    if source is None:
        source = dispatch.wrap(np.empty(0, self._dtype.np), self._dtype)
    elif isinstance(source, AnyStorage):
        if isinstance(source, TypedStorage) and source.dtype is not self._dtype:
            raise RuntimeError(
                f"Expected a Storage of type {scalar_name(self._dtype)} or an UntypedStorage, but got type {scalar_name(source.dtype)} for argument 1 'storage'"
            )
        source = source.as_tensor(self._dtype)
    self._storage.check_write()
    if dispatch.grad_mode.enabled and self.requires_grad:
        dispatch.rebase(self, source)  # which refuses leaves and their views
        raise RuntimeError("derivative for set_ is not implemented: set the tensor under torch.no_grad()")
    like = source
    if size is not None:  # first: what is refused changes nothing
        like = source.as_strided(size, contiguous_strides(tuple(size)) if stride is None else stride, storage_offset)
    self._bring_version(source._storage)
    self._version_before += 1
    self._storage, self._dtype, self._layout = source._storage, source._dtype, None
    self._accumulator = None  # gradients have another shape from now on
    self._shape, self._strides, self._offset = like._shape, like._strides, like._offset
    if size is None:
        self._bits = source._bits
    return self


def _geometry_in_place(name: str):
    """``t_``, ``squeeze_`` and their like: the tensor itself becomes the view."""
    function = registry[name].function

    def method(self, *args, **kwargs):
        if type(self)._opaque is True:  # of many samples
            return self._become(function(self._alias(), *args, **kwargs))
        self._storage.check_write()
        self._storage.version += 1
        self._storage.unseen += self._from_data
        on_tape = dispatch.grad_mode.enabled and self.requires_grad
        if on_tape:
            dispatch.refuse_write(self)
        out = function(self._alias(), *args, **kwargs)
        self._shape, self._strides, self._offset, self._bits, self._layout = out._shape, out._strides, out._offset, out._bits, None
        if out._grad_fn is not None:
            self._grad_fn, self._output_nr = out._grad_fn, out._output_nr
        if out._tangent is not None:
            self._tangent = out._tangent
        if on_tape and self._base is None:
            self._storage.history += 1  # its views have another place on the tape
        return self

    method.__name__ = method.__qualname__ = name + "_"
    method.__wrapped__ = registry[name].check  # type: ignore[attr-defined]
    method.__doc__ = f"In-place form of ``{name}``."
    return method


def is_set_to(self, tensor) -> bool:
    """Whether both tensors are the same view of the same memory."""
    return self._storage is tensor._storage and (self._shape, self.stride(), self._offset) == (
        tensor._shape,
        tensor.stride(),
        tensor._offset,
    )


def apply_(self, function):
    """Replaces each element by ``function(element)``, slowly; for tensors off the tape."""
    if self.requires_grad:
        raise RuntimeError("Can't call apply_() on Variable that requires grad. Use var.detach().apply_() instead.")
    return self.copy_(tensor([function(v) for v in self.reshape(-1).tolist()], dtype=self._dtype).reshape(self._shape))


def map_(self, other, function):
    """Replaces each element by ``function(element, element of other)``, slowly; for tensors off the tape."""
    if self.requires_grad:
        raise RuntimeError("Can't call map_() on Variable that requires grad. Use var.detach().map_() instead.")
    pairs = zip(self.reshape(-1).tolist(), other.expand(self._shape).reshape(-1).tolist(), strict=True)
    return self.copy_(tensor([function(a, b) for a, b in pairs], dtype=self._dtype).reshape(self._shape))


def __delitem__(self, key) -> None:
    raise TypeError("Tensor does not support deleting items")


def share_memory_(self):
    """Moves the tensor's storage into memory that other processes see; nothing happens where it is there already.

    A process that is started afterwards, or that gets the tensor through :mod:`torch.multiprocessing`, reads and writes the same
    memory.
    """
    import flambeau.tensor.sharing  # noqa: F401  # multiprocessing, which most programs do without

    self._storage.share()
    return self


def is_shared(self) -> bool:
    """Whether the tensor's storage lies in memory that other processes may see."""
    return self._storage.segment is not None


def pin_memory(self, device=None):
    if self._storage.is_meta:
        raise RuntimeError(f"cannot pin '{self.type()}' only dense CPU tensors can be pinned")
    return self


def dim_order(self) -> tuple[int, ...]:
    """The dims from the outermost in memory to the innermost."""
    strides = self.stride()
    return tuple(sorted(range(self.dim()), key=lambda d: (-strides[d], d)))


def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False):
    """A tensor with a copy of ``data`` and this tensor's dtype."""
    device = self._storage.device if device is None else device
    return tensor(data, dtype=dtype or self._dtype, device=device, requires_grad=requires_grad)


def new(self, *args, **kwargs):
    """The old way to make a tensor of the same dtype: sizes or data."""
    return dispatch.legacy_tensor(Tensor, self._dtype, args, kwargs)


def to_sparse(self, *args, **kwargs):
    """The elements that are not zero, as a sparse tensor: ``to_sparse(sparse_dim)`` or ``to_sparse(layout=...)``.

    >>> import flambeau as torch
    >>> torch.tensor([0.0, 3.0]).to_sparse()
    tensor(indices=tensor([[1]]),
           values=tensor([3.]),
           size=(2,), nnz=1, layout=torch.sparse_coo)
    """
    return dispatch.sparse().to_sparse(self, *args, **kwargs)


def to_sparse_coo(self):
    """The elements that are not zero, with their coordinates."""
    return to_sparse(self)


def to_sparse_csr(self, dense_dim=None):
    """The elements of a matrix that are not zero, row by row."""
    return to_sparse(self, layout=sparse_csr)


def to_sparse_csc(self, dense_dim=None):
    """The elements of a matrix that are not zero, column by column."""
    return to_sparse(self, layout=sparse_csc)


def to_dense(self, dtype=None, *, masked_grad=None):
    """The tensor itself, which is dense."""
    return self if dtype is None else self.to(dtype)


def sparse_mask(self, mask):
    """The elements at the places of a sparse tensor."""
    return dispatch.sparse().masked(self, mask)


_KINDS = {
    "crow_indices": "row compressed ",
    "col_indices": "row compressed ",
    "ccol_indices": "column compressed ",
    "row_indices": "column compressed ",
    "values": "",
}
"""Which sparse tensors have a method, as errors say it; the others' are "coordinate"."""


def _of_sparse(name: str):
    """A method that only sparse tensors have."""

    def method(self, *args, **kwargs):
        own = getattr(type(self), name)
        if own is not method:  # Tensor.crow_indices(x)
            return own(self, *args, **kwargs)
        kind = _KINDS.get(name, "coordinate ")
        raise RuntimeError(f"{name} expected sparse {kind}tensor layout but got Strided: make one by to_sparse()")

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"``{name}`` of a sparse tensor."
    return method


def _of_quantized(name: str):
    """A method that only quantized tensors have."""

    def method(self):
        raise NotImplementedError(
            f"Could not run 'aten::{name}' with arguments from the 'CPU' backend: the tensor is not quantized"
        )

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"``{name}`` of a quantized tensor."
    return method


def _always(value: bool) -> property:
    """A property that is the same for all tensors."""
    return property(lambda self: value)


def install() -> None:
    """Completes the class."""
    derive()
    derive_operators()
    properties = {
        "T": property(_t_property),
        "mT": _transposed("mT", adjoint=False, batches=True),
        "mH": _transposed("mH", adjoint=True, batches=True),
        "H": _transposed("H", adjoint=True, batches=False),
        "real": _part("real", 0),
        "imag": _part("imaginary", 1),
    }
    for name, made in properties.items():
        setattr(Tensor, name, made)
    for function in (resize_, resize_as_, set_, apply_, map_, __delitem__, is_set_to, share_memory_, is_shared, pin_memory, dim_order, new_tensor, new, to_sparse,
                     to_sparse_coo, to_sparse_csr, to_sparse_csc, to_dense, sparse_mask):  # fmt: skip
        setattr(Tensor, function.__name__, function)
    for name in ("t", "transpose", "squeeze", "unsqueeze", "swapaxes", "swapdims", "as_strided"):
        setattr(Tensor, name + "_", _geometry_in_place(name))
    for name, value in {"is_cuda": False, "is_sparse": False, "is_quantized": False, "is_mkldnn": False, "is_ipu": False, "is_maia": False, "is_mtia": False, "is_vulkan": False, "is_xpu": False,
                        "is_mps": False, "is_nested": False, "is_xla": False,
                        "is_sparse_csr": False}.items():  # fmt: skip
        setattr(Tensor, name, _always(value))
    for name in ("coalesce", "is_coalesced", "indices", "values", "_indices", "_values", "_nnz", "crow_indices", "col_indices", "ccol_indices",
                 "row_indices", "sparse_resize_", "sparse_resize_and_clear_"):  # fmt: skip
        if name not in Tensor.__dict__:
            setattr(Tensor, name, _of_sparse(name))
    for name in (
        "int_repr",
        "qscheme",
        "q_scale",
        "q_zero_point",
        "q_per_channel_scales",
        "q_per_channel_zero_points",
        "q_per_channel_axis",
    ):
        setattr(Tensor, name, _of_quantized(name))
    plain: dict[str, Callable] = {
        "dequantize": lambda self: self.float(), "dense_dim": lambda self: self.dim(), "sparse_dim": lambda self: 0,
        "is_pinned": lambda self, device=None: False,
    }  # fmt: skip
    for name, function in plain.items():
        setattr(Tensor, name, function)

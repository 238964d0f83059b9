"""Tensors as files describe them: storage types, geometries, attributes.

No tensor takes more memory than its storage, however large it claims to be: whoever reads a file of some hundred bytes
gets a tensor over some hundred bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from inspect import getattr_static
from math import prod
from pickle import UnpicklingError
from typing import Any

from flambeau.core import dtypes, memory_format
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.memory_format import layout
from flambeau.core.size import Size
from flambeau.nn import Module
from flambeau.nn.parameter import Parameter
from flambeau.ops.creation import empty_strided
from flambeau.tensor import Tensor
from flambeau.tensor.storages import AnyStorage
from flambeau.tensor.typed_storages import LEGACY

MAX_DIMS = 64


STORAGE_TYPES: dict[Dtype, Any] = {cls.dtype: cls for cls in LEGACY.values()}  # type: ignore[attr-defined]
"""The classes by which files name the dtype of a storage's elements."""
QUANTIZED = {"QInt8Storage": dtypes.int8, "QUInt8Storage": dtypes.uint8, "QInt32Storage": dtypes.int32}
"""The names of PyTorch's classes of storages of quantized tensors, and of what dtype their integers are."""
STORAGE_TYPES.update({dtypes.by_name(name[:-7].lower()): type(name, (), {"dtype": d}) for name, d in QUANTIZED.items()})


def check_geometry(size: Sequence[int], stride: Sequence[int], offset: int, itemsize: int, bytes_there: int) -> None:
    """``RuntimeError`` unless a tensor of this geometry, in elements, lies within a storage of so many bytes."""
    if not all(type(n) is int for n in (*plain(size, tuple, list, Size), *plain(stride, tuple, list, Size), offset)):
        raise TypeError("sizes, strides and offset of a tensor must be integers")
    if len(size) != len(stride) or len(size) > MAX_DIMS or min((*size, *stride, offset), default=0) < 0:
        raise RuntimeError(
            f"a tensor cannot have size {list(size)[:9]}, stride {list(stride)[:9]} and storage offset {offset}: expected "
            f"as many strides as sizes, at most {MAX_DIMS}, and none of the numbers negative"
        )
    last = sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if 0 not in size else -1
    needed = (offset + last + 1) * itemsize
    if needed > bytes_there or prod(size) >= 1 << 63:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and itemsize {itemsize} "
            f"requiring a storage size of {needed} are out of bounds for storage of size {bytes_there}"
        )


def _rebuild_tensor_v3(
    storage: AnyStorage,
    offset: int,
    size: Sequence[int],
    stride: Sequence[int],
    requires_grad: bool,
    backward_hooks: Any,
    dtype: Dtype,
    metadata: dict | None = None,
) -> Tensor:
    """A tensor of ``dtype`` over part of a storage. Hooks are never restored."""
    if not isinstance(storage, AnyStorage) or not isinstance(dtype, Dtype):
        raise TypeError("a tensor is made from a storage and a dtype")
    check_geometry(size, stride, offset, dtype.itemsize, storage.nbytes())
    tensor = Tensor._from_storage(storage._storage, dtype, size, stride, offset)
    flags = [flag for flag in ("conj", "neg") if metadata and plain(metadata, dict).get(flag)]
    if flags and dtype is dtypes.bool or "conj" in flags and not dtype.is_complex:
        raise UnpicklingError(f"a tensor of {dtype} cannot be marked as {' and '.join(flags)}")
    if flags:  # its elements are conjugated or negated when they are read, not here
        tensor._strides, tensor._bits = tuple(stride), frozenset(flags)
    return tensor.requires_grad_(plain(requires_grad, bool, int) != 0)


def _rebuild_tensor_v2(
    storage: AnyStorage,
    offset: int,
    size: Sequence[int],
    stride: Sequence[int],
    requires_grad: bool = False,
    backward_hooks: Any = None,
    metadata: dict | None = None,
) -> Tensor:
    """A tensor of the storage's own dtype over part of it."""
    dtype = storage.dtype if isinstance(storage, AnyStorage) else None
    return _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, backward_hooks, dtype, metadata)  # type: ignore[arg-type]


def _rebuild_meta_tensor_no_storage(dtype: Dtype, size: Sequence[int], stride: Sequence[int], requires_grad: bool) -> Tensor:
    """A tensor on the device ``meta``."""
    if not isinstance(dtype, Dtype):
        raise TypeError("a tensor has a dtype")
    check_geometry(size, stride, 0, dtype.itemsize, 1 << 62)
    return empty_strided(tuple(size), tuple(stride), dtype=dtype, device="meta", requires_grad=plain(requires_grad, bool, int) != 0)


def _rebuild_parameter(data: Tensor, requires_grad: bool, backward_hooks: Any) -> Parameter:
    return Parameter(data, bool(requires_grad))


def _rebuild_parameter_with_state(data: Tensor, requires_grad: bool, backward_hooks: Any, state: Any) -> Tensor:
    parameter = Parameter(data, bool(requires_grad))
    set_attributes(parameter, _public(state))
    return parameter


def _rebuild_from_type_v2(function: Callable, cls: type, args: tuple, state: Any) -> Tensor:
    """A tensor with attributes, or of a subclass that the user has declared safe."""
    if function not in TENSOR_MAKERS.values() or not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise UnpicklingError("a tensor with attributes is made by a function that makes tensors, and of a tensor class")
    tensor = function(*args)
    if type(tensor) is not cls:
        tensor = Tensor._make_subclass(cls, tensor, tensor.requires_grad)
    set_attributes(tensor, _public(state))
    return tensor


def _public(state: Any) -> dict:
    """The attributes of a tensor in a file, but for those that are PyTorch's own."""
    if isinstance(state, tuple) and len(state) == 2:  # attributes, and those in slots
        state = {**plain(state[0] or {}, dict), **plain(state[1] or {}, dict)}
    return {name: value for name, value in plain(state, dict).items() if not (type(name) is str and name[:1] == "_")}


def as_text(name: Any) -> Any:
    """``name``, which is bytes where Python 2 wrote it and strings of that time are left bytes."""
    return name.decode("ascii", "replace") if type(name) is bytes else name


def set_attributes(obj: Any, state: Any) -> None:
    """Gives ``obj`` attributes, none of which may hide something that its class has."""
    state = {as_text(name): value for name, value in plain(state, dict).items()}
    for name in state:
        if hasattr(type(obj), plain(name, str)):
            raise UnpicklingError(f"a file may not set the attribute {name!r:.80} of {type(obj).__name__}")
    vars(obj).update(state)


def check_methods(cls: type, state: Any) -> dict[str, Any]:
    """``state``, the attributes of an object of ``cls``, none of which may hide a method or property of the class."""
    for name in plain(state, dict):
        hidden = getattr_static(cls, plain(name, str), None)
        if isinstance(hidden, (type, Module, cached_property)):
            continue
        if callable(hidden) or hasattr(type(hidden), "__get__"):
            raise UnpicklingError(f"a file may not replace the method {name!r:.80} of {cls.__name__}")
    return dict(state)


def plain(value: Any, *types: type) -> Any:
    """``value``, which must be of one of these types itself, not of a subclass."""
    if type(value) not in types:
        raise TypeError(f"expected {' or '.join(t.__name__ for t in types)}, got {type(value).__name__}")
    return value


def _rebuild_sparse_tensor(kind: layout, data: tuple) -> Tensor:
    """A sparse tensor of its parts; what they say is checked."""
    from flambeau.sparse import rebuilding

    if not isinstance(kind, layout) or not all(isinstance(part, (Tensor, Size, tuple, list, bool)) for part in plain(data, tuple)):
        raise TypeError("a sparse tensor is made of a layout, tensors and a size")
    return rebuilding.rebuild_sparse_tensor(kind, data)


def _get_layout(name: str) -> layout:
    """The layout of a name: ``torch.sparse_coo``."""
    found = getattr(memory_format, plain(name, str).removeprefix("torch."), None)
    if not isinstance(found, layout):
        raise UnpicklingError(f"{name!r:.40} is no layout")
    return found


def _rebuild_qtensor(
    storage: AnyStorage,
    offset: int,
    size: Sequence[int],
    stride: Sequence[int],
    how: tuple,
    requires_grad: bool = False,
    backward_hooks: Any = None,
) -> Tensor:
    """A quantized tensor of its integers, and of how they stand for numbers: a scheme with a scale and a zero point, or with
    tensors of them."""
    from flambeau.quantized.tensor import per_channel, per_tensor

    ints: Any = _rebuild_tensor_v2(storage, offset, size, stride)
    dtype = next((q for q, d in _INTEGERS.items() if d is ints.dtype), None)
    if dtype is None or len(plain(how, tuple)) not in (3, 4):
        raise UnpicklingError("a quantized tensor is made of integers, a scheme, scales and zero points")
    if len(how) == 3:
        return per_tensor(ints, float(plain(how[1], float, int)), plain(how[2], int), dtype, integers=True)
    _, scales, zero_points, axis = how
    if not all(isinstance(t, Tensor) and t.shape == (ints.shape[axis],) for t in (scales, zero_points)):
        raise UnpicklingError("a tensor that is quantized by channels has a scale and a zero point for each")
    return per_channel(ints, scales, zero_points, plain(axis, int), dtype, integers=True)


_INTEGERS = {dtypes.by_name(name[:-7].lower()): d for name, d in QUANTIZED.items()}

TENSOR_MAKERS: dict[str, Callable] = {
    "torch._utils._rebuild_qtensor": _rebuild_qtensor,
    "torch._utils._rebuild_sparse_tensor": _rebuild_sparse_tensor,
    "torch.serialization._get_layout": _get_layout,
    "torch._utils._rebuild_tensor": _rebuild_tensor_v2,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor_v2,
    "torch._utils._rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils._rebuild_meta_tensor_no_storage": _rebuild_meta_tensor_no_storage,
    "torch._utils._rebuild_parameter": _rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": _rebuild_parameter_with_state,
}
"""PyTorch's names of the functions above."""

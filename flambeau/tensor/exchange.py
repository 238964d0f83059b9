"""Tensors from Python data and from other libraries, and back: NumPy, the buffer protocol, DLPack."""

from __future__ import annotations

import warnings
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import device as devices
from flambeau.core import dtypes
from flambeau.core.size import Size, size_of_ints
from flambeau.dispatch import grad_mode
from flambeau.engine.graph import strided
from flambeau.tensor.storage import Storage
from flambeau.tensor.storages import AnyStorage
from flambeau.tensor.tensor import Tensor, make_tensor

if TYPE_CHECKING:
    from flambeau.tensor.types import Device


def tensor(
    data: Any,
    *,
    dtype: dtypes.dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
    pin_memory: bool | None = False,
) -> Tensor:
    """A new tensor with a copy of ``data``: a number, nested sequences, an array or a tensor.

    The dtype follows the data: bool, int64, the default dtype for floats, or the array's own.

    >>> import flambeau as torch
    >>> torch.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.tensor.html
    """
    if (
        dispatch.watch is not None
        and (offered := _offered(tensor, (data,), dtype=dtype, device=device, requires_grad=requires_grad)) is not None
    ):
        return offered
    dtype = dtype and dtypes.as_dtype(dtype, "tensor")
    if isinstance(data, Tensor):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
            UserWarning,
            stacklevel=2,
        )
        out = data.detach().clone() if dtype in (None, data.dtype) else data.detach().to(dtype)
    else:
        array, found = _as_array(data, dtype)
        out = dispatch.wrap(array, dtype or found)
    if device is not None:
        out = _on(out, device)
    return out.requires_grad_() if requires_grad else out


def _on(t: Tensor, device) -> Tensor:
    """``t``, which is on the CPU or without values, on ``device``."""
    return t if devices.check(device) is t._storage.device else t.to(device)


def _offered(function, args: tuple, **settings):
    """What a mode makes of a call; ``None`` where none is on."""
    return dispatch.offered(
        function, args, {name: value for name, value in settings.items() if value is not None and value is not False}
    )


def as_tensor(data: Any, dtype: dtypes.dtype | None = None, device: Device = None) -> Tensor:
    """``data`` as a tensor, without a copy where it is a tensor or an array of the right dtype."""
    if dispatch.watch is not None and (offered := _offered(as_tensor, (data,), dtype=dtype, device=device)) is not None:
        return offered
    dtype = dtype and dtypes.as_dtype(dtype, "as_tensor")
    if isinstance(data, Tensor):
        return data if dtype is device is None else data.to(device, dtype)
    if isinstance(data, np.ndarray) and data.flags.writeable:
        out = from_numpy(data)
        return out if dtype is device is None else out.to(device, dtype)
    return tensor(data, dtype=dtype, device=device)


def asarray(
    obj: Any, *, dtype: dtypes.dtype | None = None, device: Device = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """``obj`` as a tensor; ``copy`` says whether it must (True) or must not (False) be a copy."""
    if dispatch.watch is not None:
        settings = {"dtype": dtype, "device": device, "copy": copy, "requires_grad": requires_grad}
        if (offered := _offered(asarray, (obj,), **settings)) is not None:
            return offered
    if type(obj).__name__ == "PyCapsule" or hasattr(obj, "__dlpack__") and not isinstance(obj, (Tensor, np.ndarray)):
        obj = from_dlpack(obj)
    elif not isinstance(obj, (Tensor, np.ndarray, np.generic, str)) and _is_buffer(obj):
        obj = frombuffer(obj, dtype=dtype and dtypes.as_dtype(dtype, "asarray") or dtypes.get_default_dtype())
    if copy is False and not isinstance(obj, (Tensor, np.ndarray)):
        raise ValueError(f"can't alias arbitrary sequence into a tensor: a {type(obj).__name__} has no memory to share")
    out = tensor(obj, dtype=dtype, device=device) if copy and not isinstance(obj, Tensor) else as_tensor(obj, dtype, device)
    if copy and out is obj:
        out = out.clone()
    return out.detach().requires_grad_() if requires_grad else out


def _is_buffer(obj) -> bool:
    """Whether an object has memory that others may look into."""
    try:
        memoryview(obj)
    except TypeError:
        return False
    return True


def _as_array(data, dtype) -> tuple[np.ndarray, dtypes.dtype]:
    """A fresh array with ``data``'s values, and the dtype that PyTorch infers for it."""
    regular = _regular(data)
    if regular is not None:
        shape, leaves, kinds = regular
        found = _inferred(kinds)
        array = _converted(leaves, dtype or found, kinds)
        return array if array.shape == shape else array.reshape(shape), found
    if isinstance(data, np.ndarray) and data.dtype != object:
        return np.array(data, order="C"), dtype or dtypes.from_numpy(data.dtype)
    if isinstance(data, np.generic):
        return np.array(data), dtypes.from_numpy(data.dtype)
    if isinstance(data, (bool, int, float, complex)):
        found = _inferred({data.__class__})
        return _converted(data, dtype or found), found
    if hasattr(data, "__array__") and not isinstance(data, (list, tuple)):
        array = np.array(data.__array__())
        return array, dtypes.from_numpy(array.dtype)
    if not hasattr(data, "__len__") or isinstance(data, (str, bytes, dict, set)):
        kind = type(data).__name__
        if isinstance(data, (str, bytes)):
            raise TypeError(f"new(): invalid data type '{kind}'")
        raise RuntimeError(f"Could not infer dtype of {kind}")
    leaves = []
    shape = _shape_and_leaves(data, leaves, 0)
    if not leaves:
        return np.zeros(shape, np.float64), dtypes.get_default_dtype()
    found = _inferred({x.__class__ for x in leaves})
    return _converted(leaves, dtype or found).reshape(shape), found


_REAL = frozenset((float, int, bool))
_NESTED = (frozenset((list,)), frozenset((tuple,)))


def _regular(data) -> tuple[tuple[int, ...], list | tuple, set[type]] | None:
    """Shape, numbers and the types of these of a real number, or of lists of lists of real numbers that fit together.

    ``None`` for all else: what is rarer, empty or wrong is looked at element by element (:func:`_shape_and_leaves`).
    """
    kind = data.__class__
    if kind in _REAL:
        return (), (data,), {kind}
    if kind is not list and kind is not tuple:
        return None
    shape: tuple[int, ...] = (len(data),)
    while True:
        kinds = set(map(type, data))
        if kinds <= _REAL:
            return (shape, data, kinds) if data else None
        if kinds not in _NESTED or len(shape) == 64:
            return None
        n, *others = set(map(len, data))
        if others:
            return None
        shape = (*shape, n)
        data = list(chain.from_iterable(data))


def _shape_and_leaves(data, leaves: list, depth: int) -> tuple[int, ...]:
    """Appends the numbers of nested sequences to ``leaves`` and returns their shape."""
    if isinstance(data, Tensor):
        if data.numel() != 1:
            raise ValueError(
                "only one element tensors can be converted to Python scalars: inside a list stands a tensor of shape "
                f"{list(data.shape)}; join tensors with torch.stack() or torch.cat()"
            )
        leaves.append(data._array().reshape(-1)[0])  # a number of the tensor's own dtype
        return ()
    if isinstance(data, np.ndarray):
        leaves.extend(data.reshape(-1))
        return data.shape
    if isinstance(data, (str, bytes)):
        raise ValueError("too many dimensions 'str'")
    if not hasattr(data, "__len__"):
        if not isinstance(data, (bool, int, float, complex, np.generic)):
            raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")
        leaves.append(data)
        return ()
    n = len(data)
    if n and all(x.__class__ in _REAL for x in data):
        leaves.extend(data)
        return (n,)
    inner: tuple[int, ...] | None = None
    for x in data:
        shape = _shape_and_leaves(x, leaves, depth + 1)
        if inner is None:
            inner = shape
        elif shape != inner:
            want = inner[0] if inner else "a number"
            got = shape[0] if shape else "a number"
            if not inner or not shape:
                raise TypeError(
                    f"not a sequence: expected {'a sequence of length ' + str(want) if inner else 'a number'} at dim {depth + 1}"
                )
            raise ValueError(f"expected sequence of length {want} at dim {depth + 1} (got {got})")
    return (n, *(inner or ()))


def _inferred(kinds: set[type]) -> dtypes.dtype:
    """The dtype that numbers of these types promote to; NumPy's have their own."""
    found = None
    for kind in kinds:
        if kind is int:
            d = dtypes.int64
        elif kind is float:
            d = dtypes.get_default_dtype()
        elif issubclass(kind, np.generic):
            d = dtypes.from_numpy(np.dtype(kind))
        elif issubclass(kind, (bool, int)):
            d = dtypes.bool if kind is bool else dtypes.int64
        else:
            d = dtypes.get_default_dtype() if issubclass(kind, float) else dtypes.get_default_dtype().to_complex()
        found = d if found is None else dtypes.promote_types(found, d)
    return found  # type: ignore[return-value]


_FLOATS = {float}
_LIMITS = {
    d: (int(np.iinfo(d.np).min) or -int(np.iinfo(d.np).max), int(np.iinfo(d.np).max))
    for d in dtypes.ALL
    if d.kind == dtypes.INTEGRAL
}
_MODERATE = 1e38  # in float32's range


def _converted(leaves, dtype: dtypes.dtype, kinds: set[type] | None = None) -> np.ndarray:
    """Numbers, perhaps known to be of Python's types ``kinds``, as an array of ``dtype``."""
    if dtype.kind == dtypes.INTEGRAL:
        return _integers(leaves, dtype)
    if dtype is dtypes.float32 and kinds == _FLOATS and len(leaves) <= 16 and -_MODERATE < min(leaves) <= max(leaves) < _MODERATE:
        return np.array(leaves, dtype.np)  # a few: to see that NumPy has nothing to warn of is faster than to silence it
    array = np.array(leaves)
    if array.dtype == dtype.np:
        return array
    if array.dtype.kind == "c" and dtype.kind == dtypes.FLOATING:
        raise TypeError("must be real number, not complex")
    with np.errstate(over="ignore"):  # too large for the type: inf
        return dtypes.cast(array, dtype)


def _integers(leaves, dtype: dtypes.dtype) -> np.ndarray:
    """Numbers as integers, cut towards zero; what does not fit is an error, but that an unsigned type takes ``-1``."""
    array = np.array(leaves)
    if array.dtype == dtype.np:
        return array
    if array.dtype.kind == "c":
        raise TypeError("'complex' object cannot be interpreted as an integer")
    low, high = _LIMITS[dtype]
    low = max(low, 0) if array.dtype.kind == "f" and not dtype.is_signed else low
    if array.size and not (array.min() >= low and array.max() <= high):  # also where one is NaN
        if array.dtype.kind == "f":
            raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
        if dtype.itemsize == 8 or array.dtype == object or array.dtype == np.uint64:
            raise ValueError(f"Overflow when unpacking long long: {array.max() if array.max() > high else array.min()}")
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
    return array.astype(dtype.np)


def from_numpy(array: np.ndarray) -> Tensor:
    """A tensor on the memory of ``array``: writes to either show in the other."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    dtype = dtypes.from_numpy(array.dtype)
    if not array.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion between byte orders is currently not supported."
        )
    flags = array.flags
    if not flags.writeable:
        warnings.warn(
            "The given NumPy array is not writable, and PyTorch does not support non-writable tensors. Writing to this "
            "tensor raises an error; copy the array first to be able to.",
            UserWarning,
            stacklevel=2,
        )
    if flags.c_contiguous:
        return make_tensor(Storage.from_numpy(array, dtype, exposed=True), size_of_ints(array.shape), dtype)
    if any(s % array.itemsize for s in array.strides):
        raise ValueError(
            "given numpy array strides not a multiple of the element byte size. Copy the numpy array to reallocate the memory."
        )
    if any(s < 0 for s in array.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative strides are not currently "
            "supported. (You can probably work around this by making a copy of your array  with array.copy().) "
        )
    strides = tuple(s // array.itemsize for s in array.strides)
    extent = 1 + sum((n - 1) * s for n, s in zip(array.shape, strides, strict=True)) if array.size else 0
    memory = np.lib.stride_tricks.as_strided(array, (extent,), (array.itemsize,))
    storage = Storage.from_numpy(memory, dtype, exposed=True)
    return Tensor._from_storage(storage, dtype, array.shape, strides, 0)


def frombuffer(buffer: Any, *, dtype: dtypes.dtype, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A 1-d tensor on the memory of an object with the buffer protocol."""
    length = memoryview(buffer).nbytes
    if length == 0 or count == 0:
        raise ValueError(f"both buffer length ({length}) and count ({count}) must not be 0")
    if count < 0 and (length - offset) % dtype.itemsize:
        raise ValueError(
            f"buffer length ({length} bytes) after offset ({offset} bytes) must be a multiple of element size ({dtype.itemsize})"
        )
    array = np.frombuffer(buffer, dtype.np, count, offset)
    if not array.flags.writeable:
        warnings.warn(
            "The given buffer is not writable, and PyTorch does not support non-writable tensors.", UserWarning, stacklevel=2
        )
    out = make_tensor(Storage.from_numpy(array, dtype, exposed=True), Size(array.shape), dtype)
    return out.requires_grad_() if requires_grad else out


def numpy(self: Tensor, *, force: bool = False) -> np.ndarray:
    """The values as a NumPy array on the same memory. ``force=True`` detaches first.

    Raises ``RuntimeError`` for a tensor that requires grad, where operations are put on the tape.
    """
    if grad_mode.enabled and self.requires_grad and not force:
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
    if self._bits:
        if not force:
            raise RuntimeError(
                "Can't call numpy() on Tensor that has conjugate bit set. Use tensor.resolve_conj().numpy() instead."
                if self.is_conj()
                else "Can't call numpy() on Tensor that has negative bit set. Use tensor.resolve_neg().numpy() instead."
            )
        self = self.resolve_conj().resolve_neg()
    if self._storage.is_meta:
        raise TypeError("can't convert meta device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.")
    if self._dtype.is_extension:
        name = dtypes.scalar_name(self._dtype)
        raise TypeError(f"Got unsupported ScalarType {name}: NumPy has no such type; convert with .float() first")
    flat = self._storage.array()
    self._storage.expose()
    if self._strides is None and flat.size == self._shape.numel() and flat.dtype == self._dtype.np:
        return flat.reshape(self._shape)
    return (
        strided(flat, self._shape, self.stride(), self._offset, self._dtype)
        if 0 not in self._shape
        else np.empty(self._shape, self._dtype.np)
    )


def __array__(self: Tensor, dtype=None, copy=None) -> np.ndarray:
    array = numpy(self)
    if dtype is not None and array.dtype != dtype:
        return array.astype(dtype)
    return array.copy() if copy else array


def __array_wrap__(self: Tensor, array: np.ndarray, context=None, return_scalar=False) -> Tensor:
    return from_numpy(np.ascontiguousarray(array) if array.ndim else np.array(array))


def __dlpack__(self: Tensor, *, stream=None, max_version=None, dl_device=None, copy=None):
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    return numpy(self).__dlpack__()


def __dlpack_device__(self: Tensor) -> tuple[int, int]:
    return (1, 0)


class _Capsule:
    """What ``to_dlpack`` gives, as an object that can be asked for it."""

    def __init__(self, capsule) -> None:
        self.capsule = capsule

    def __dlpack__(self, **settings):
        return self.capsule

    __dlpack_device__ = __dlpack_device__


def from_dlpack(source: Any) -> Tensor:
    """A tensor on the memory of another library's array (``__dlpack__``)."""
    if isinstance(source, Tensor):
        return source.detach()
    array = np.from_dlpack(source if hasattr(source, "__dlpack__") else _Capsule(source))
    return from_numpy(array if array.flags.writeable else np.asarray(_Writable(array)))


class _Writable:
    """The memory of an array that NumPy has marked as read-only on import, without the mark."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.__array_interface__ = {**array.__array_interface__, "data": (array.ctypes.data, False)}


def to_dlpack(t: Any) -> Any:
    """A DLPack capsule on the tensor's memory."""
    return t.__dlpack__()


def legacy_tensor(cls, only: dtypes.dtype | None, args: tuple, kwargs: dict) -> Tensor:
    """``torch.Tensor(2, 3)`` (sizes) and ``torch.Tensor([1, 2])`` (data): the constructors of old.

    ``only`` is the dtype of ``torch.LongTensor`` and its like; without it a tensor is taken as it is.
    """
    dtype = only or dtypes.get_default_dtype()
    device = kwargs.pop("device", None)
    if kwargs:
        raise TypeError(f"new() received unexpected keyword arguments: {', '.join(kwargs)}")
    if not args:
        out = dispatch.wrap(np.empty(0, dtype.np), dtype)
    elif len(args) == 1 and isinstance(args[0], Tensor):
        if only not in (None, args[0].dtype):
            raise TypeError(f"expected {dtype} (got {args[0].dtype}): convert it with .to({dtype})")
        out = args[0].detach()
    elif len(args) == 1 and isinstance(args[0], AnyStorage):
        out = dispatch.wrap(np.empty(0, dtype.np), dtype).set_(args[0])
    elif len(args) == 1 and isinstance(args[0], (float, complex)):
        raise TypeError(f"new(): data must be a sequence (got {type(args[0]).__name__})")
    elif len(args) == 1 and not isinstance(args[0], (int, Size)):
        array, _ = _as_array(args[0], dtype)
        out = dispatch.wrap(array, dtype)
    else:
        shape = args[0] if isinstance(args[0], Size) else args
        if not all(isinstance(n, int) for n in shape):
            raise TypeError(
                f"new() received an invalid combination of arguments - got ({', '.join(type(a).__name__ for a in args)})"
            )
        out = dispatch.wrap(np.zeros(shape, dtype.np), dtype)
    if device is not None:
        out = _on(out, device)
    return out._alias(cls) if cls is not Tensor else out


def legacy_type(name: str, dtype: dtypes.dtype) -> type:
    """``torch.FloatTensor`` and its like: calling it makes a tensor, ``isinstance`` asks for the dtype."""

    class Meta(type):
        def __instancecheck__(cls, x) -> bool:
            return isinstance(x, Tensor) and x.dtype is dtype

        def __call__(cls, *args, **kwargs):
            return legacy_tensor(Tensor, dtype, args, kwargs)

    return Meta(name, (), {"dtype": dtype, "__module__": "torch", "__doc__": f"A tensor of dtype {dtype}, the old way."})


dispatch.legacy_tensor = legacy_tensor
for _function in (numpy, __array__, __array_wrap__, __dlpack__, __dlpack_device__):
    setattr(Tensor, _function.__name__, _function)

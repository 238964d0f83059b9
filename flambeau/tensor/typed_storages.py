"""Storages whose elements have a dtype: ``torch.TypedStorage``, and ``torch.FloatStorage`` and its like.

Source: https://docs.pytorch.org/docs/stable/storage.html#legacy-typed-storage
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex

import numpy as np

from flambeau import dispatch
from flambeau.core import config, dtypes
from flambeau.core import device as devices
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.dtypes import scalar_name
from flambeau.core.errors import warn_once
from flambeau.tensor.storage import Storage
from flambeau.tensor.storages import AnyStorage, UntypedStorage, checked_size, resize
from flambeau.tensor.tensor import Tensor

STORAGE_NAMES = {
    f"{scalar_name(dtype)}Storage": dtype for dtype in dtypes.ALL if dtype.name not in ("uint16", "uint32", "uint64", "complex32")
}
"""The dtypes that have a class of storages, by its name."""
_NAME_OF = {dtype: name for name, dtype in STORAGE_NAMES.items()}


def _warn() -> None:
    warn_once(
        "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be the only storage class. This "
        "should only matter to you if you are using storages directly.  To access UntypedStorage directly, use "
        "tensor.untyped_storage() instead of tensor.storage()"
    )


class TypedStorage(AnyStorage):
    """The memory of tensors as numbers of one dtype. Deprecated, in PyTorch too: :class:`UntypedStorage` is what remains.

    ``torch.FloatStorage`` and its like are this class with a dtype: ``torch.FloatStorage([1, 2])`` is
    ``torch.TypedStorage([1, 2], dtype=torch.float32)``, and ``isinstance`` asks for the dtype.

    >>> import flambeau as torch
    >>> numbers = torch.IntStorage([1, 2, 3])
    >>> numbers[1] = 5
    >>> numbers.tolist(), numbers.nbytes(), isinstance(numbers, torch.IntStorage)
    ([1, 5, 3], 12, True)

    Source: https://docs.pytorch.org/docs/stable/storage.html#torch.TypedStorage
    """

    def __init__(
        self, *args: Any, wrap_storage: UntypedStorage | None = None, dtype: Dtype | None = None, device: Any = None, _forms: str | None = None
    ) -> None:  # fmt: skip
        _warn()
        forms = _forms or "TypedStorage.__init__" + _FORMS.format(
            "(*, torch.device device, torch.dtype dtype)",
            *[", *, torch.device device, torch.dtype dtype"] * 2,
            ", torch.dtype dtype",
        )
        if wrap_storage is not None:
            if args:
                raise RuntimeError(forms + "\nNo positional arguments should be given when using 'wrap_storage'")
            if dtype is None:
                raise RuntimeError(forms + "\nArgument 'dtype' must be specified")
            if not isinstance(dtype, Dtype):
                raise TypeError(forms + f"\nArgument 'dtype' must be torch.dtype, not {type(dtype)}")
            if device is not None:
                raise RuntimeError(forms + "\nArgument 'device' should not be specified when 'wrap_storage' is given")
            if not isinstance(wrap_storage, UntypedStorage):
                raise TypeError(forms + f"\nArgument 'wrap_storage' must be UntypedStorage, but got {type(wrap_storage)}")
            self._storage, self.dtype = wrap_storage._storage, dtype
            return
        devices.check(device)
        self.dtype = dtypes.as_dtype(dtype, "TypedStorage") if dtype is not None else dtypes.get_default_dtype()
        if len(args) > 1:
            raise RuntimeError(forms + "\nToo many positional arguments")
        data = args[0] if args else 0
        if isinstance(data, SupportsIndex):
            self._storage = Storage.from_numpy(np.zeros(checked_size(data), self.dtype.np), self.dtype)
        elif isinstance(data, str):
            raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
        elif isinstance(data, (Sequence, np.ndarray)):
            self._storage = dispatch.legacy_tensor(Tensor, self.dtype, (data,), {}).reshape(-1)._storage
        else:
            raise TypeError(forms + f"\nArgument type not recognized: {type(data)}")

    @classmethod
    def _of(cls, storage: Storage, dtype: Dtype) -> TypedStorage:
        self = TypedStorage.__new__(TypedStorage)
        self._storage, self.dtype = storage, dtype
        return self

    def _like(self, storage: Storage) -> TypedStorage:
        return TypedStorage._of(storage, self.dtype)

    def _tensor(self) -> Tensor:
        return self.as_tensor(self.dtype)

    def size(self) -> int:
        """The number of elements."""
        return self.nbytes() // self.dtype.itemsize

    __len__ = size

    def element_size(self) -> int:
        """The bytes of one element."""
        return self.dtype.itemsize

    def untyped(self) -> UntypedStorage:
        """This memory as bytes."""
        return UntypedStorage._of(self._storage)

    _untyped_storage = property(untyped)  # the name by which libraries and torch.testing ask for it

    def clone(self) -> TypedStorage:
        """A copy."""
        return self._like(self._copied())

    def tolist(self) -> list:
        return self._tensor().tolist()

    def __iter__(self) -> Iterator:
        return iter(self.tolist())

    def __getitem__(self, i: Any) -> Any:
        if isinstance(i, slice):
            raise RuntimeError("slices are only supported in UntypedStorage.__getitem__")
        if not isinstance(i, int):
            raise RuntimeError(f"can't index a {type(self)} with {type(i)}")
        size = self.size()
        if not -size <= i < size:
            raise IndexError(f"index {i} out of range for storage of size {size}")
        return self._tensor()[i].item()

    def __setitem__(self, i: Any, value: Any) -> None:
        if not isinstance(i, (int, slice)):
            raise RuntimeError(f"can't index a {type(self)} with {type(i)}")
        if isinstance(value, AnyStorage):
            raise RuntimeError(f"cannot set item with value type {type(value)}")
        self._tensor()[i] = value

    def fill_(self, value: Any) -> TypedStorage:
        """Sets all elements."""
        self[:] = value
        return self

    def resize_(self, size: int) -> None:
        """Gives it so many elements; new ones are zero. ``RuntimeError`` where somebody outside uses the memory."""
        resize(self._storage, operator.index(size) * self.dtype.itemsize)

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The name of the class of such storages; with ``dtype``, a class or its name, a copy as one of these."""
        if dtype is None:
            return f"torch.{self.pickle_storage_type()}"
        name = str(dtype).removeprefix("torch.") if isinstance(dtype, str) else dtype.__name__
        if name not in STORAGE_NAMES:
            raise RuntimeError(f"{name!r:.80} is no class of storages")
        return self._converted(STORAGE_NAMES[name])

    def _converted(self, dtype: Dtype) -> TypedStorage:
        return self if dtype is self.dtype else TypedStorage._of(self._tensor().to(dtype)._storage, dtype)

    def pickle_storage_type(self) -> str:
        """The name of the class of such storages."""
        if self.dtype not in _NAME_OF:
            raise KeyError(f"dtype {self.dtype} is not recognized")
        return _NAME_OF[self.dtype]

    @classmethod
    def from_buffer(cls, *args: Any, dtype: Dtype | None = None, device: Any = None, **kwargs: Any) -> TypedStorage:
        """A copy of numbers in a buffer; see :meth:`UntypedStorage.from_buffer`."""
        devices.check(device)
        dtype = dtype or dtypes.get_default_dtype()
        return TypedStorage._of(UntypedStorage.from_buffer(*args, dtype=dtype, **kwargs)._storage, dtype)  # type: ignore[misc]

    @classmethod
    def from_file(cls, filename: str | os.PathLike, shared: bool = False, size: int = 0) -> TypedStorage:
        """The memory of a file with ``size`` numbers; see :meth:`UntypedStorage.from_file`."""
        dtype = cls.__dict__.get("dtype") or dtypes.get_default_dtype()
        file = UntypedStorage.from_file(filename, shared, size * dtype.itemsize)
        self = TypedStorage._of(file._storage, dtype)
        self.filename = file.filename
        return self

    def _shape(self) -> str:
        return f"torch.storage.TypedStorage(dtype={self.dtype}, device={self.device}) of size {len(self)}"

    def __reduce__(self) -> tuple:
        if config.pickled is not None:
            return config.pickled(self)
        from flambeau.tensor.pickling import rebuild_typed

        return rebuild_typed, (self._storage, self.dtype)


def _conversion(name: str, dtype: Dtype) -> Any:
    def untyped(self: UntypedStorage) -> TypedStorage:
        _warn()
        return TypedStorage._of(self._storage, dtypes.uint8)._converted(dtype)

    def typed(self: TypedStorage) -> TypedStorage:
        return self._converted(dtype)

    for cls, convert in ((UntypedStorage, untyped), (TypedStorage, typed)):
        convert.__name__, convert.__qualname__ = name, f"{cls.__name__}.{name}"
        convert.__doc__ = f"The numbers as a storage of {dtype}."
        setattr(cls, name, convert)


for _name, _dtype in STORAGE_NAMES.items():
    _conversion(_name.removesuffix("Storage").replace("ComplexF", "Complex_f").replace("ComplexD", "Complex_d").lower(), _dtype)
TypedStorage.__module__ = "torch.storage"

_FORMS = " received an invalid combination of arguments. Expected one of:\n * {}\n * (int size{})\n * (Sequence data{})\n * (*, UntypedStorage wrap_storage{})"


class _Legacy(type):
    """The class of ``torch.FloatStorage`` and its like, which have no instances of their own."""

    dtype: Dtype

    def __instancecheck__(cls, x: object) -> bool:
        return isinstance(x, TypedStorage) and x.dtype is cls.dtype

    def __call__(cls, *args: Any, wrap_storage: UntypedStorage | None = None, **kwargs: Any) -> TypedStorage:
        forms = f"{cls}.__new__" + _FORMS.format("no arguments", "", "", "")
        for name in ("device", "dtype"):
            if kwargs.pop(name, None) is not None:
                raise RuntimeError(f"{forms}\nKeyword argument '{name}' cannot be specified")
        return TypedStorage(*args, wrap_storage=wrap_storage, dtype=cls.dtype, _forms=forms, **kwargs)


def _from_buffer(cls: Any, *args: Any, dtype: Dtype | None = None, device: Any = None, **kwargs: Any) -> TypedStorage:
    for name, value in (("dtype", dtype), ("device", device)):
        if value is not None:
            raise RuntimeError(
                f"from_buffer: '{name}' can only be specified in UntypedStorage.from_buffer and TypedStorage.from_buffer"
            )
    return TypedStorage.from_buffer(*args, dtype=cls.dtype, **kwargs)


LEGACY = {
    name: _Legacy(
        name,
        (TypedStorage,),
        {"dtype": dtype, "from_buffer": classmethod(_from_buffer), "__module__": "torch", "__doc__": f"Storages of {dtype}."},
    )
    for name, dtype in STORAGE_NAMES.items()
}
"""``torch.FloatStorage`` and its like, by name."""


def storage(self: Tensor) -> TypedStorage:
    """The tensor's memory as elements of its dtype; ``untyped_storage()`` has the bytes."""
    _warn()
    return TypedStorage._of(self._storage, self._dtype)


def storage_type(self: Tensor) -> type:
    """The class of the tensor's ``storage()``."""
    _warn()
    return LEGACY[_NAME_OF[self._dtype]]


def from_file(
    filename: str, shared: bool | None = None, size: int | None = 0, *, dtype: Dtype | None = None, layout: Any = None, device: Any = None,
    pin_memory: bool | None = None,
) -> Tensor:  # fmt: skip
    """A tensor (size,) whose memory is a file's. With ``shared``, writes reach the file, which is made or grows where it must.

    Raises:
        RuntimeError: without ``shared``, the file is too short.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.from_file.html
    """
    devices.check(device)
    kind = dtype or dtypes.get_default_dtype()
    count = size or 0
    return UntypedStorage.from_file(filename, bool(shared), count * kind.itemsize).as_tensor(kind)


Tensor.storage, Tensor.storage_type = storage, storage_type  # type: ignore[method-assign, assignment]

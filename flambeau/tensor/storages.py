"""Storages as programs see them: the memory of tensors as bytes. ``typed_storages.py`` has the same as numbers.

Source: https://docs.pytorch.org/docs/stable/storage.html
"""

from __future__ import annotations

import gc
import mmap
import operator
import os
import sys
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex

import numpy as np

from flambeau import dispatch
from flambeau.core import config, dtypes
from flambeau.core import device as devices
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.size import Size
from flambeau.tensor.storage import MetaStorage, Storage
from flambeau.tensor.tensor import Tensor, make_tensor

_ORDERS = {"native": sys.byteorder, "little": "little", "big": "big"}
_ONE_BYTE = frozenset({dtypes.uint8, dtypes.int8, dtypes.bool})


def resize(storage: Storage, nbytes: int, alone: bool = False) -> None:
    """Gives ``storage`` so many bytes; what is new holds zeros.

    Tensors that show more than is left raise an error when they are read. ``alone``: no tensor but the caller's is on it.

    Raises:
        RuntimeError: somebody outside, such as NumPy or another process, has been given the memory.
    """
    if nbytes < 0:
        raise RuntimeError(f"a storage cannot have {nbytes} bytes: the size must not be negative")
    if not storage.is_meta and (storage.segment is not None or not storage.resizable):
        raise RuntimeError("Trying to resize storage that is not resizable")
    storage.resize(nbytes)
    if alone:
        return
    for holder in gc.get_referrers(storage):  # what is known of the tensors on it is true no longer; this looks at all objects
        if isinstance(holder, Tensor):
            holder._layout = None
        elif isinstance(holder, dict) and holder.get("_storage") is storage:
            holder["_layout"] = None


class AnyStorage:
    """What both kinds of storage have: a place on the CPU, and conversions."""

    _storage: Storage
    dtype: Any
    is_cuda = is_hpu = is_sparse = False
    filename: str | None = None

    @property
    def device(self) -> devices.device:
        return self._storage.device

    def get_device(self) -> int | None:
        """The number of the device; ``None``, as the CPU has none."""
        return self.device.index

    def nbytes(self) -> int:
        """The number of bytes."""
        return self._storage.size * self._storage.dtype.itemsize

    def data_ptr(self) -> int:
        """The address of the first byte."""
        if self._storage.is_meta:
            return 0
        return self._storage.array().ctypes.data

    @property
    def _cdata(self) -> int:
        return id(self._storage)

    def is_pinned(self, device: Any = "cuda") -> bool:
        return False

    def resizable(self) -> bool:
        """Whether :meth:`resize_` can be called: nobody outside has ever used the memory."""
        return self._storage.is_meta or self._storage.segment is None and self._storage.resizable

    def is_shared(self) -> bool:
        """Whether other processes may see the memory."""
        return self._storage.segment is not None

    def as_tensor(self, dtype: Dtype) -> Tensor:
        """The whole memory as a one-dimensional tensor of ``dtype``."""
        own = self._storage.dtype
        flat = make_tensor(self._storage, Size((self._storage.size,)), own)
        if own is dtype:
            return flat
        rest = self.nbytes() % dtype.itemsize
        if rest or not self.nbytes():
            flat = flat.view(dtypes.uint8)[: self.nbytes() - rest]
        return flat.view(dtype)

    def copy_(self, source: Any, non_blocking: bool | None = None) -> Any:
        """Copies the bytes of ``source``, a storage of as many."""
        if not isinstance(source, AnyStorage):
            raise TypeError(f"copy_ takes a storage, not {type(source).__name__}")
        if source.nbytes() != self.nbytes():
            raise RuntimeError(f"size does not match, self was {self.nbytes()} bytes but src was {source.nbytes()} bytes")
        self.as_tensor(dtypes.uint8).copy_(source.as_tensor(dtypes.uint8))
        return self

    def share_memory_(self) -> Any:
        """Moves it into memory that other processes may see."""
        self._storage.share()
        return self

    def cpu(self) -> Any:
        return self

    def to(self, *, device: Any, non_blocking: bool = False) -> Any:
        if devices.check(device) is self._storage.device:
            return self
        if self._storage.is_meta:
            self._storage.array()  # raises
        return self._like(MetaStorage(self._storage.size, self._storage.dtype))  # type: ignore[attr-defined]

    def cuda(self, device: Any = None, non_blocking: bool = False) -> Any:
        devices.check("cuda")

    def pin_memory(self, device: Any = "cuda") -> Any:
        raise RuntimeError("Cannot access accelerator device when none is available: memory is pinned for a GPU")

    def _copied(self) -> Storage:
        return self._storage.copied()

    def _shape(self) -> str:
        return f"(device={self.device}) of size {len(self)}"  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return " " + "\n ".join(map(str, self.tolist())) + f"\n[{self._shape()}]"  # type: ignore[attr-defined]

    def __copy__(self) -> Any:
        return self.clone()  # type: ignore[attr-defined]

    def __deepcopy__(self, memo: dict) -> Any:
        storage = memo.get(id(self._storage))
        if storage is None:
            storage = memo[id(self._storage)] = self._copied()
        copy = memo[id(self)] = self._like(storage)  # type: ignore[attr-defined]
        return copy

    def __sizeof__(self) -> int:
        return object.__sizeof__(self) + self.nbytes()


class StorageBase(AnyStorage):
    """What untyped storages are: memory without a dtype."""


StorageBase.__module__ = "torch._C"


class UntypedStorage(StorageBase):
    """The memory of tensors as bytes: ``tensor.untyped_storage()``.

    ``UntypedStorage(3)`` has three bytes, ``UntypedStorage([1, 2, 3])`` these.

    >>> import flambeau as torch
    >>> memory = torch.arange(3, dtype=torch.int16).untyped_storage()
    >>> memory.tolist()
    [0, 0, 1, 0, 2, 0]
    >>> memory[1] = 1
    >>> torch.tensor([], dtype=torch.int16).set_(memory)
    tensor([256,   1,   2], dtype=torch.int16)

    Source: https://docs.pytorch.org/docs/stable/storage.html#torch.UntypedStorage
    """

    dtype = dtypes.uint8

    def __init__(self, size: int | Sequence[int] = 0, *, device: Any = None) -> None:
        device = devices.check(device)
        if isinstance(size, SupportsIndex) and device is devices.META:
            self._storage = MetaStorage(checked_size(size), dtypes.uint8)
            self._storage.untyped = weakref.ref(self)
            return
        if isinstance(size, SupportsIndex):
            data = np.zeros(checked_size(size), np.uint8)
        elif isinstance(size, Sequence):
            for item in size:
                if not isinstance(item, int):
                    raise RuntimeError(
                        f"torch.UntypedStorage(): tried to construct a storage from a sequence ({type(size).__name__}), but one of "
                        f"the items was of type {type(item).__name__} instead of int"
                    )
            data = np.array([item & 255 for item in size], np.uint8)
        else:
            raise TypeError(f"UntypedStorage() takes a number of bytes or a sequence of them, not {type(size).__name__}")
        self._storage = Storage.from_numpy(data, dtypes.uint8)
        self._storage.untyped = weakref.ref(self)

    @classmethod
    def _of(cls, storage: Storage) -> UntypedStorage:
        """What programs see of ``storage``: the same object as long as they keep it."""
        self = storage.untyped() if storage.untyped is not None else None
        if self is None:
            self = cls.__new__(cls)
            self._storage = storage
            storage.untyped = weakref.ref(self)
        return self

    _like = _of

    def size(self) -> int:
        return self.nbytes()

    __len__ = size

    def element_size(self) -> int:
        """1: the elements are bytes."""
        return 1

    def type(self, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The name of the class."""
        if dtype is not None:
            raise RuntimeError("the bytes of a storage have no other type: tensor.view(dtype) shows them as numbers")
        return "torch.storage.UntypedStorage"

    def untyped(self) -> UntypedStorage:
        return self

    def new(self) -> UntypedStorage:
        """An empty storage."""
        return type(self)()

    def clone(self) -> UntypedStorage:
        """A copy."""
        return type(self)._of(self._copied())

    def tolist(self) -> list[int]:
        if self._storage.is_meta:
            raise NotImplementedError("Not available for 'meta' device type")
        return self._storage.array().view(np.uint8).tolist()

    def __iter__(self) -> Iterator[int]:
        return iter(self.tolist())

    def __getitem__(self, i: Any) -> Any:
        """A byte, or a storage on a part of the same memory."""
        if isinstance(i, slice):
            part = self._storage.array().view(np.uint8)[_range(i, self.nbytes())]
            self._storage.expose()  # as two storages write to it
            return type(self)._of(Storage.from_numpy(part, dtypes.uint8, exposed=True))
        if not isinstance(i, SupportsIndex):
            raise TypeError(f"can't index a torch.UntypedStorage with {type(i).__name__}")
        i, size = operator.index(i), self.nbytes()
        if not -size <= i < size:
            raise IndexError(f"index {i if i >= 0 else i + size} out of range for storage of size {size}")
        return int(self._storage.array().view(np.uint8)[i])

    def __setitem__(self, i: Any, value: int) -> None:
        if not isinstance(value, int):
            raise RuntimeError(f"can only set storage content with a int types, but got {type(value).__name__} instead")
        if isinstance(i, slice):
            i = _range(i, self.nbytes())
        elif not isinstance(i, SupportsIndex):
            raise TypeError(f"can't index a torch.UntypedStorage with {type(i).__name__}")
        elif not -self.nbytes() <= operator.index(i) < self.nbytes():
            raise RuntimeError("out of bounds")
        self.as_tensor(dtypes.uint8)[i] = value & 255

    def fill_(self, value: int) -> UntypedStorage:
        """Sets all bytes."""
        self[:] = value
        return self

    def resize_(self, size: int) -> UntypedStorage:
        """Gives it so many bytes; new ones are zero. ``RuntimeError`` where somebody outside uses the memory."""
        resize(self._storage, operator.index(size))
        return self

    def byteswap(self, dtype: Dtype) -> None:
        """Reverses the bytes of each element of ``dtype``, in place."""
        width = dtype.itemsize // (2 if dtype.is_complex else 1)
        if self.nbytes() % width:
            raise RuntimeError(f"the length of data is not a multiple of {width}")
        swapped = self._storage.array().view(np.uint8).reshape(-1, width)[:, ::-1].reshape(-1).copy()
        self.copy_(type(self)._of(Storage.from_numpy(swapped, dtypes.uint8)))

    @classmethod
    def from_buffer(
        cls, buffer: Any, byte_order: str | None = None, count: int = -1, offset: int = 0, dtype: Dtype | None = None
    ) -> Any:
        """A copy of ``count`` elements of ``dtype`` from ``offset`` on, which are in the ``byte_order`` ``"big"``, ``"little"`` or
        ``"native"``."""
        if dtype is None:
            raise RuntimeError("argument 'dtype' cannot be None")
        if byte_order is None and dtype not in _ONE_BYTE - {dtypes.bool}:
            raise RuntimeError("function missing required argument 'byte_order' (pos 2)")
        if byte_order is not None and byte_order not in _ORDERS:
            raise ValueError(f"invalid byte_order '{byte_order}' (expected 'big', 'little', or 'native')")
        data = np.frombuffer(memoryview(buffer).cast("B"), np.uint8) if memoryview(buffer).nbytes else np.empty(0, np.uint8)
        width = dtype.itemsize
        if not 0 <= offset <= len(data):
            raise ValueError(f"offset must be non-negative and no greater than buffer length ({len(data)}) , but got {offset}")
        if count < 0:
            if (len(data) - offset) % width:
                raise ValueError(f"buffer size ({len(data)}) must be a multiple of element size ({width})")
            count = (len(data) - offset) // width
        if count * width > len(data) - offset:
            raise ValueError(
                f"buffer has only {len(data) - offset} elements after offset {offset}, but specified a size of {count}"
            )
        storage = cls._of(Storage.from_numpy(data[offset : offset + count * width].copy(), dtypes.uint8))
        if dtype is dtypes.bool:
            storage.copy_(storage.as_tensor(dtypes.uint8).ne(0).untyped_storage())
        elif _ORDERS[byte_order or "native"] != sys.byteorder:
            storage.byteswap(dtype)
        return storage

    @classmethod
    def from_file(cls, filename: str | os.PathLike, shared: bool = False, nbytes: int = 0) -> UntypedStorage:
        """The memory of a file. With ``shared``, writes reach the file, which is made or grows where it must; otherwise they do
        not."""
        name = os.fspath(filename)
        with open(name, "a+b" if shared else "rb") as file:
            have = os.fstat(file.fileno()).st_size
            if shared and have < nbytes:
                file.truncate(nbytes)
            elif have < nbytes:
                raise RuntimeError(f"unable to mmap {nbytes} bytes from file <{name}>: the file has {have}")
            if shared and nbytes:
                with open(name, "r+b") as both:
                    memory = mmap.mmap(both.fileno(), nbytes)
            else:
                memory = mmap.mmap(file.fileno(), nbytes, access=mmap.ACCESS_COPY) if nbytes else bytearray()  # type: ignore[assignment]
        data = np.frombuffer(memory, np.uint8, nbytes) if nbytes else np.empty(0, np.uint8)
        self = cls._of(Storage.from_numpy(data, dtypes.uint8, exposed=True))
        self.filename = name if shared else None
        return self

    def __repr__(self) -> str:
        return f"...\n[{self._shape()}]" if self._storage.is_meta else super().__repr__()

    def _shape(self) -> str:
        return f"torch.storage.UntypedStorage{super()._shape()}"

    def __reduce__(self) -> tuple:
        if config.pickled is not None:
            return config.pickled(self)
        from flambeau.tensor.pickling import rebuild_untyped

        return rebuild_untyped, (self._storage,)


def checked_size(size: SupportsIndex) -> int:
    size = operator.index(size)
    if size < 0:
        raise RuntimeError(f"Storage size calculation overflowed: a storage cannot have {size} elements")
    return size


def _range(part: slice, size: int) -> slice:
    start, stop, step = part.indices(size)
    if step != 1:
        raise RuntimeError(f"Trying to slice with a step of {step}, but only a step of 1 is supported")
    return slice(start, max(start, stop))


UntypedStorage.__module__ = "torch.storage"
dispatch.untyped_storage = lambda t: UntypedStorage._of(t._storage)

"""Writes the pickle of a checkpoint in the words that PyTorch reads.

Tensors become calls of PyTorch's rebuilding functions, flambeau's classes and functions get their PyTorch names, and
the storages' bytes stay outside: the pickle refers to them by key.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from types import FunctionType
from typing import IO, Any

import numpy as np

from flambeau import nn, ops, optim
from flambeau.core.device import device
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.memory_format import layout, strided
from flambeau.core.qscheme import qscheme
from flambeau.core.size import Size
from flambeau.nn import functional
from flambeau.nn.parameter import Parameter
from flambeau.serialization import rebuilding, vocabulary
from flambeau.serialization.locations import location_tag
from flambeau.serialization.rebuilding import STORAGE_TYPES
from flambeau.tensor import Tensor
from flambeau.tensor.pickling import user_attributes
from flambeau.tensor.storage import Storage
from flambeau.tensor.storages import AnyStorage, UntypedStorage

_PythonPickler: Any = pickle._Pickler  # type: ignore[attr-defined]  # the one in C cannot rename what it writes
_PUBLIC_HOMES = (("torch.nn", nn), ("torch.nn.functional", functional), ("torch.optim", optim), ("torch", ops))
_TORCH_NAMES: dict[Any, str] = {
    **{function: name for name, function in vocabulary.FUNCTIONS.items() if name.startswith("torch.")},
    Size: "torch.Size",
    device: "torch.device",
    Tensor: "torch.Tensor",
    Parameter: "torch.nn.parameter.Parameter",
    UntypedStorage: "torch.storage.UntypedStorage",
    **{cls: f"torch.{cls.__name__}" for cls in STORAGE_TYPES.values()},
}


class StorageRef:
    """Stands in a pickle for the bytes of a storage, which hold elements of ``dtype``."""

    __slots__ = ("key", "storage", "dtype")

    def __init__(self, key: str, storage: Storage, dtype: Dtype) -> None:
        self.key = key
        self.storage = storage
        self.dtype = dtype

    def bytes(self) -> np.ndarray:
        return self.storage.array().view(np.uint8)

    def persistent_id(self) -> tuple:
        storage_type = STORAGE_TYPES.get(self.dtype, UntypedStorage)
        count = self.bytes().size // storage_type.dtype.itemsize
        return ("storage", storage_type, self.key, location_tag(UntypedStorage._of(self.storage)), count)


class CheckpointPickler(_PythonPickler):
    """Pickles to ``file``; afterwards ``storages`` are those to be written beside it."""

    def __init__(self, file: IO[bytes], protocol: int, zipped: bool = True) -> None:
        super().__init__(file, protocol)
        self.protocol = protocol
        self._rest = () if zipped else (None,)  # the older format says of which storage one is a part
        self._refs: dict[tuple[int, Dtype | None], StorageRef] = {}

    @property
    def storages(self) -> list[StorageRef]:
        return list(self._refs.values())

    def _ref(self, storage: Storage, dtype: Dtype) -> StorageRef:
        key = id(storage), None if storage.size else dtype  # what has no elements may be seen as several dtypes
        ref = self._refs.get(key)
        if ref is None:
            ref = self._refs[key] = StorageRef(str(len(self._refs)), storage, dtype)
        elif ref.dtype is not dtype:
            raise RuntimeError(
                "Cannot save multiple tensors or storages that view the same data as different types: "
                f"one is {ref.dtype}, another {dtype}; clone() one of them"
            )
        return ref

    def persistent_id(self, obj: Any) -> tuple | None:
        if isinstance(obj, AnyStorage):
            obj = self._ref(obj._storage, obj.dtype)
        return (*obj.persistent_id(), *self._rest) if type(obj) is StorageRef else None

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Tensor):
            return tensor_as_call(obj, self._ref, _Call)
        if isinstance(obj, (Dtype, qscheme)):
            return obj.name  # a global: see save_global
        if isinstance(obj, layout):
            return rebuilding._get_layout, (repr(obj),)
        if isinstance(obj, (Size, device)):
            return type(obj), obj.__reduce__()[1]
        return NotImplemented

    def save_global(self, obj: Any, name: str | None = None) -> None:
        torch_name = _torch_name(obj)
        if torch_name is None:
            super().save_global(obj, name)
            return
        module, _, short_name = torch_name.rpartition(".")
        self.write(pickle.GLOBAL + f"{module}\n{short_name}\n".encode())
        self.memoize(obj)

    dispatch = {**_PythonPickler.dispatch, FunctionType: save_global}


def tensor_as_call(t: Tensor, ref: Callable[[Storage, Dtype], Any], call: Callable[[Any, tuple], Any]) -> tuple:
    """A tensor as a function of PyTorch's and its arguments; ``ref`` stands for a storage, and ``call`` for a call among them."""
    make: Any
    args: tuple
    if t.is_nested:
        raise NotImplementedError(
            "torch.save of a nested tensor: save its .values() and .offsets(), of which nested_tensor_from_jagged makes it again"
        )
    if t.is_quantized:
        q: Any = t
        own = (q._scale, q._zero) if q._axis is None else (q._scale, q._zero, q._axis)
        return rebuilding._rebuild_qtensor, (
            ref(t._storage, t.dtype),
            t.storage_offset(),
            tuple(t.shape),
            t.stride(),
            (q.qscheme(), *own),
            False,
            OrderedDict(),
        )
    if t.layout is not strided:
        from flambeau.sparse.rebuilding import parts_of

        return rebuilding._rebuild_sparse_tensor, (t.layout, parts_of(t))
    if t.is_meta:
        make, args = rebuilding._rebuild_meta_tensor_no_storage, (t.dtype, tuple(t.shape), t.stride(), t.requires_grad)
        return _of_its_class(t, call, make, args, (*args[:3], False))
    args = (ref(t._storage, t.dtype), t.storage_offset(), tuple(t.shape), t.stride(), t.requires_grad, OrderedDict())
    make = rebuilding._rebuild_tensor_v2
    if t.dtype not in STORAGE_TYPES:
        make, args = rebuilding._rebuild_tensor_v3, (*args, t.dtype)
    if t._bits:
        args = (*args, dict.fromkeys(sorted(t._bits), True))
    return _of_its_class(t, call, make, args, (*args[:4], False, *args[5:]))


def _of_its_class(t: Tensor, call: Callable, make: Any, args: tuple, data: tuple) -> tuple:
    """``make(*args)`` for ``t``; ``data`` are the arguments that make the tensor of a parameter."""
    attributes = user_attributes(t)
    if type(t) is Parameter:
        args = (call(make, data), t.requires_grad, OrderedDict())
        make = rebuilding._rebuild_parameter
        if attributes:
            make, args = rebuilding._rebuild_parameter_with_state, (*args, attributes)
    elif type(t) is not Tensor or attributes:
        make, args = rebuilding._rebuild_from_type_v2, (make, type(t), args, attributes)
    return make, args


class _Call:
    """Pickles as the call of a function."""

    def __init__(self, function: Any, args: tuple) -> None:
        self.reduced = (function, args)

    def __reduce__(self) -> tuple:
        return self.reduced


def _torch_name(obj: Any) -> str | None:
    """The name that PyTorch has for ``obj``; ``None`` where pickle's own way of finding one is right."""
    if isinstance(obj, (Dtype, qscheme)):
        return f"torch.{obj.name}"
    if not isinstance(obj, (type, FunctionType)):
        return None
    if obj in _TORCH_NAMES:
        return _TORCH_NAMES[obj]
    module, name = obj.__module__ or "", obj.__name__
    if module.partition(".")[0] in ("flambeau", "torch"):
        for home, namespace in _PUBLIC_HOMES:
            if vars(namespace).get(name) is obj:
                return f"{home}.{name}"
    return None

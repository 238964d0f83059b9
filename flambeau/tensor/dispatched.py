"""Classes of tensors with a ``__torch_dispatch__``: their tensors, most of which are made of others and have no values of their
own.

What a call of an op with such a tensor comes to is asked of its class, as one of ATen's operators
(:mod:`flambeau.library.dispatched`).

Source: https://docs.pytorch.org/docs/stable/notes/extending.html#extending-torch-native-api
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from importlib import import_module
from math import prod
from typing import Any

from flambeau.core import device as devices
from flambeau.core import dtypes
from flambeau.core.device import device as Device
from flambeau.core.size import Size
from flambeau.tensor.attributes import contents_of
from flambeau.tensor.interception import Presence
from flambeau.tensor.storage import MetaStorage
from flambeau.tensor.tensor import Tensor

__all__ = ["METHODS", "adopt_dispatching", "asks", "make_wrapper"]


def asks(cls: type) -> bool:
    """Whether a class of tensors is asked by its ``__torch_dispatch__``."""
    return getattr(cls, "__torch_dispatch__", None) is not None


class WrapperStorage(MetaStorage):
    """In place of the memory of a tensor that is made of others."""

    def __init__(self, size: int, dtype: dtypes.dtype, where: Device, shown: str) -> None:
        super().__init__(size, dtype)
        self.device, self.shown = where, shown

    def another(self, size: int, dtype: dtypes.dtype) -> WrapperStorage:
        return WrapperStorage(size, dtype, self.device, self.shown)

    def refuse_value(self) -> Any:
        raise RuntimeError(f"a value is asked for of a tensor of class {self.shown}, which has none itself")

    def refuse_others(self, tensors: list) -> None:
        """What they mean together is said by the class."""


def _place(given: Any) -> Device:
    """A device that a tensor says it is on: any, as nothing lies there."""
    named = Device("cpu" if given is None else given)
    return devices.check(named) if named.type in ("cpu", "meta") else named


def make_wrapper(cls: type, size: Any, settings: dict[str, Any]) -> Tensor:
    """A tensor of class ``cls`` with a shape, a dtype and a device, and no values; see :meth:`Tensor._make_wrapper_subclass`."""
    if not asks(cls):
        raise TypeError(f"{cls.__name__} must define __torch_dispatch__: what its tensors are made of is known to it alone")
    t: Any = object.__new__(cls)
    shape, dtype = Size(size), settings.get("dtype") or dtypes.get_default_dtype()
    strides, offset = settings.get("strides"), settings.get("storage_offset") or 0
    t._shape, t._dtype = shape, dtype
    t._storage = WrapperStorage(prod(shape), dtype, _place(settings.get("device")), cls.__name__)
    if strides is not None:
        t._strides = import_module("flambeau.tensor.order").normal_strides(shape, tuple(strides))
    if offset:
        t._offset = offset
    t._requires_grad = bool(settings.get("requires_grad"))
    t._presence = Presence()
    return t


def _slots(cls: type) -> list[str]:
    found = []
    for base in cls.__mro__:
        names = base.__dict__.get("__slots__", ())
        found += [names] if isinstance(names, str) else list(names)
    return [name for name in found if not name.startswith("__")]


def _alias(self: Any, cls: type | None = None) -> Tensor:
    """Another object with all that this one has, at the same place on the tape."""
    if cls is not None and cls is not type(self):
        return Tensor._alias(self, cls)
    out: Any = object.__new__(type(self))
    contents_of(out).update(contents_of(self))
    for name in _slots(type(self)):
        if hasattr(self, name):
            setattr(out, name, getattr(self, name))
    out._layout = None
    if self._requires_grad:
        out._requires_grad, out._grad_fn = False, import_module("flambeau.dispatch").accumulator(self)
    return out


def _asked(name: str) -> Callable:
    def method(self: Any) -> Any:
        return import_module("flambeau.library.dispatched").call(name, self)

    return method


def _tolist(self: Any) -> Any:
    raise RuntimeError(f".tolist() is not supported for tensor subclasses, got {type(self).__name__}")


def _numpy(self: Any, *, force: bool = False) -> Any:
    raise RuntimeError(".numpy() is not supported for tensor subclasses.")


def _deepcopy(self: Any, memo: dict) -> Any:
    """A clone, with copies of what programs have set on it that the clone lacks."""
    if id(self) not in memo:
        copied = self.clone().detach()
        if type(copied) is not type(self):
            raise RuntimeError(
                f"The default implementation of __deepcopy__() for wrapper subclasses only works for subclass types that properly implement clone(): {type(self)}"
            )
        memo[id(self)] = copied.requires_grad_(self.requires_grad)
        known = copied.__dict__
        known.update({k: deepcopy(v, memo) for k, v in self.__dict__.items() if k not in known})
    return memo[id(self)]


METHODS: Mapping[str, Callable] = {
    "_asked_to_detach": _asked("aten::detach"), "item": _asked("aten::_local_scalar_dense"), "tolist": _tolist, "numpy": _numpy, "__deepcopy__": _deepcopy,
}  # fmt: skip
"""Methods that are no ops, and that read values of their own elsewhere."""


def adopt_dispatching(cls: type, own: set[str]) -> None:
    """Has calls with tensors of a new class asked of it; ``own``: the names that it, or a base other than Tensor, has itself."""
    asking = import_module("flambeau.library.dispatched")

    def intercept(cls: type, function: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        return asking.intercept(function, args, kwargs)

    for name, value in {"_intercept": classmethod(intercept), "_alias": _alias, "_scalar": lambda self: self.item()}.items():
        setattr(cls, name, value)
    for name, method in METHODS.items():
        if name not in own:
            setattr(cls, name, method)

"""The names that a file may use, and what they do.

A name stands for a value (a dtype, a storage type), or for one of the functions below, which check their arguments and
build tensors or plain containers. Classes and functions that the user has declared safe are added to them. No other
name means anything: nothing is imported, looked up or called for a file.
"""

from __future__ import annotations

import re
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from math import prod
from pickle import UnpicklingError
from types import NoneType
from typing import Any

import numpy as np

from flambeau import nn, ops
from flambeau.core import dtypes
from flambeau.core.device import device
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.qscheme import SCHEMES
from flambeau.core.size import Size
from flambeau.nn import functional
from flambeau.nn.parameter import Parameter
from flambeau.serialization.rebuilding import (
    MAX_DIMS,
    QUANTIZED,
    STORAGE_TYPES,
    TENSOR_MAKERS,
    _rebuild_from_type_v2,
    check_methods,
    plain,
    set_attributes,
)
from flambeau.tensor import Tensor
from flambeau.tensor.storages import UntypedStorage
from flambeau.tensor.typed_storages import LEGACY

_REFUSED_MODULES = frozenset(("sys", "os", "posix", "nt"))  # even where the user has declared something of them safe


# --- what a file may call ------------------------------------------------------------------------------------


def make_ordered_dict(items: Sequence = ()) -> OrderedDict:
    return OrderedDict([(_key(key), value) for key, value in map(_pair, plain(items, list, tuple))])


def make_counter(counts: dict | None = None) -> Counter:
    return Counter({_key(key): plain(n, int, float) for key, n in plain(counts or {}, dict).items()})


def make_set(items: list | None = None) -> set:
    return set(map(_key, plain(items or [], list)))


def make_bytes(text: str = "", encoding: str = "latin-1") -> bytes:
    if plain(encoding, str) not in ("latin1", "latin-1"):
        raise ValueError(f"bytes are written as latin-1 text, not {encoding!r:.40}")
    return plain(text, str).encode("latin-1")


def make_bytearray(data: str | bytes = b"", encoding: str = "latin-1") -> bytearray:
    return bytearray(make_bytes(data, encoding) if isinstance(data, str) else plain(data, bytes))


def make_complex(real: float, imag: float) -> complex:
    return complex(plain(real, float, int), plain(imag, float, int))


def make_size(items: tuple = ()) -> Size:
    return Size([plain(n, int) for n in plain(items, list, tuple, Size)])


def make_device(*args: Any) -> device:
    return device(*args)


def _pair(value: Any) -> Any:
    return plain(value, list, tuple)


def _key(value: Any) -> Any:
    """Keys that arrive inside an argument: of the kinds that files have, which take no time to hash."""
    if type(value) is tuple:
        return tuple([plain(part, str, int, float, bool, bytes, type(None)) for part in value])
    return plain(value, str, int, float, bool, bytes, type(None), Size, Dtype)


FUNCTIONS: dict[str, Callable] = {
    **TENSOR_MAKERS,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type_v2,
    "torch.Size": make_size,
    "torch.device": make_device,
    "collections.OrderedDict": make_ordered_dict,
    "collections.Counter": make_counter,
    "builtins.set": make_set,
    "builtins.bytes": make_bytes,
    "builtins.bytearray": make_bytearray,
    "builtins.complex": make_complex,
    "_codecs.encode": make_bytes,
}
VALUES: dict[str, Any] = {
    **{f"torch.{dtype.name}": dtype for dtype in (*dtypes.ALL, *dtypes.STORED)},
    **{f"torch.{name}": cls for name, cls in LEGACY.items()},
    **{f"torch.{name}": STORAGE_TYPES[d] for name, d in QUANTIZED.items()},
    **{f"torch.{name[:-7].lower()}": dtypes.by_name(name[:-7].lower()) for name in QUANTIZED},
    **{f"torch.{name}": scheme for name, scheme in SCHEMES.items()},
    "torch.storage.UntypedStorage": UntypedStorage,
    "torch.Tensor": Tensor,
    "torch.nn.parameter.Parameter": Parameter,
}


# --- what it may call besides with weights_only=False: still nothing that could do harm -----------------------


def make_default_dict(factory: type | None = None) -> defaultdict:
    if factory not in (None, *_FACTORIES.values()):
        raise UnpicklingError("a file may not give a defaultdict a function of its own")
    return defaultdict(factory)


def make_frozenset(items: list | None = None) -> frozenset:
    return frozenset(make_set(items))


def make_slice(*args: int | None) -> slice:
    return slice(*[plain(n, int, type(None)) for n in args])


def make_range(*args: int) -> range:
    return range(*[plain(n, int) for n in args])


def make_numpy_dtype(name: str, align: bool = False, copy: bool = True) -> np.dtype:
    if not re.fullmatch(r"[biufcSU]\d{1,9}", plain(name, str)):
        raise UnpicklingError(f"only NumPy arrays of numbers and strings are read, not of {name!r:.40}")
    return np.dtype(name, False, True)  # a copy, so that it can be told from others


def make_numpy_array(cls: type, shape: tuple, code: Any) -> np.ndarray:
    if cls is not np.ndarray:
        raise UnpicklingError("only plain NumPy arrays are read")
    return np.empty(0)  # its state follows


def make_numpy_scalar(dtype: np.dtype, data: bytes) -> np.generic:
    if not isinstance(dtype, np.dtype):
        raise UnpicklingError("a NumPy number has a dtype and bytes")
    return np.frombuffer(plain(data, bytes), dtype, 1)[0]


_FACTORIES: dict[str, type] = {f"builtins.{t.__name__}": t for t in (list, dict, set, int, float, str)}
_MORE_FUNCTIONS: dict[str, Callable] = {
    "collections.defaultdict": make_default_dict,
    "builtins.frozenset": make_frozenset,
    "builtins.slice": make_slice,
    "builtins.range": make_range,
    "numpy.dtype": make_numpy_dtype,
    **{
        f"numpy.{core}.multiarray.{name}": function
        for core in ("core", "_core")
        for name, function in (("_reconstruct", make_numpy_array), ("scalar", make_numpy_scalar))
    },
}
_MORE_VALUES: dict[str, Any] = {**_FACTORIES, "numpy.ndarray": np.ndarray, "builtins.Ellipsis": ...}


def _ordered_numpy_dtype(dtype: np.dtype, state: Any) -> np.dtype:
    """``dtype`` in the byte order of ``state``. NumPy would change the dtype itself, and to whatever the state says."""
    _, order, *rest = plain(state, tuple)
    if order not in ("<", ">", "|", "=") or rest[:3] != [None, None, None]:
        raise UnpicklingError("only NumPy dtypes of numbers and strings are read")
    if rest[3:4] not in ([], [-1], [dtype.itemsize]):
        raise UnpicklingError(f"a NumPy dtype {dtype} cannot have {rest[3]!r:.20} bytes")
    return dtype.newbyteorder(order)


def _fill_numpy_array(array: np.ndarray, state: Any) -> None:
    _, shape, dtype, fortran, data = plain(state, tuple)
    if not isinstance(dtype, np.dtype) or array.size:
        raise UnpicklingError("the state of a NumPy array is a shape, a dtype and bytes")
    size = prod(plain(n, int) for n in plain(shape, tuple))
    if min(shape, default=0) < 0 or len(shape) > MAX_DIMS or len(plain(data, bytes)) != size * dtype.itemsize:
        raise UnpicklingError(f"a NumPy array of shape {shape!s:.80} and {dtype} cannot have {len(data)} bytes")
    array.__setstate__((1, shape, dtype, plain(fortran, bool, int) != 0, data))  # type: ignore[arg-type]


def _fill_module(module: nn.Module, state: Any) -> None:
    """The attributes of a module. What it does is its class's business: a file brings no methods and no hooks."""
    for name, value in check_methods(type(module), state).items():
        kind = _PARTS.get(name)
        if kind is not None and any(not isinstance(part, (kind, NoneType)) for part in _contents(value)):
            raise UnpicklingError(f"{name} of a {type(module).__name__} holds something that does not belong there")
        if name in _HOOKS and _contents(value):
            raise UnpicklingError(f"a file may not give a {type(module).__name__} {name}")
    nn.Module.__setstate__(module, state)


def _contents(value: Any) -> list[Any]:
    return list(plain(value, dict, OrderedDict).values())


_PARTS = {"_parameters": Tensor, "_buffers": Tensor, "_modules": nn.Module}
_HOOKS = [name for name in vars(nn.Module()) if name.endswith("_hooks")]


# --- what the user has declared safe -------------------------------------------------------------------------

_safe: list[Any] = []


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Lets ``torch.load`` make objects of these classes and call these functions, for every file from now on.

    Each entry is a class or function, or a pair of one and the full name that files give it. Do so only with what is
    harmless whatever its arguments.

    >>> import flambeau as torch
    >>> from collections import defaultdict
    >>> torch.serialization.add_safe_globals([defaultdict])
    >>> torch.serialization.get_safe_globals()
    [<class 'collections.defaultdict'>]
    >>> torch.serialization.clear_safe_globals()
    """
    _safe.extend(entry for entry in safe_globals if entry not in _safe)


def get_safe_globals() -> list[Any]:
    """What :func:`add_safe_globals` and :class:`safe_globals` have declared safe."""
    return list(_safe)


def clear_safe_globals() -> None:
    """Takes back everything that was declared safe."""
    _safe.clear()


class safe_globals:
    """:func:`add_safe_globals` for the length of a ``with`` block."""

    def __init__(self, safe_globals: list[Any]) -> None:
        self.safe_globals = safe_globals

    def __enter__(self) -> None:
        self._before = get_safe_globals()
        add_safe_globals(self.safe_globals)

    def __exit__(self, *exc: object) -> None:
        _safe[:] = self._before


def _declared_safe() -> dict[str, Any]:
    names = {}
    for entry in _safe:
        if isinstance(entry, tuple):
            if len(entry) != 2:
                raise ValueError(
                    f"Expected tuple of length 2 (global, str of callable full path), but got tuple of length: {len(entry)}"
                )
            entry, name = entry
            if type(name) is not str:
                raise TypeError(f"Expected second item in tuple to be str of callable full path, but got: {type(name)}")
            names[name] = entry
        else:
            names[f"{entry.__module__}.{entry.__qualname__}"] = entry
    return names


# --- all of it -----------------------------------------------------------------------------------------------


class Vocabulary:
    """Decides what the names, calls, objects and states of one file become.

    With ``weights_only`` the names are those that PyTorch allows. Without, some harmless types are added, and modules:
    an object of an ``nn.Module`` class that the program has already defined is filled with its attributes, without any
    of the class's code being run; functions of ``nn.functional`` and of tensors can be among the attributes.

    ``size``: that of the file. A pickle can name a large argument again and again, and a function that copies it would
    fill the memory; so what all calls together are given is limited by the size of the file.
    """

    def __init__(self, weights_only: bool, size: int = 0) -> None:
        self.weights_only = weights_only
        self.credit = _COPIES * size + _FREE
        self.safe = _declared_safe()
        self.functions = dict(FUNCTIONS)
        self.values = dict(VALUES)
        if not weights_only:
            self.functions.update(_MORE_FUNCTIONS)
            self.values.update(_MORE_VALUES)
        self.callable = set(self.functions.values())

    def find(self, module: str, name: str) -> Any:
        """What ``module.name`` stands for."""
        full_name = f"{module}.{name}"
        if module in _REFUSED_MODULES:
            raise UnpicklingError(f"Trying to load unsupported GLOBAL {full_name} whose module {module} is blocked.")
        for names in (self.functions, self.values, self.safe):
            if full_name in names:
                return names[full_name]
        found = _find_namespace(full_name) or _find_module_class(module, name) or _find_operation(module, name)
        if found is not None and (not self.weights_only or self._is_safe(found)):
            return found
        full_name = full_name.removeprefix("builtins.")
        raise UnpicklingError(
            f"Unsupported global: GLOBAL {full_name} was not an allowed global by default. Please use "
            f"`torch.serialization.add_safe_globals([{full_name}])` or the "
            f"`torch.serialization.safe_globals([{full_name}])` context manager to allowlist this global if you trust "
            "this class/function."
        )

    def knows(self, module: str, name: str) -> bool:
        """Whether :meth:`find` finds ``module.name``."""
        try:
            self.find(module, name)
        except UnpicklingError:
            return False
        return True

    def _is_safe(self, obj: Any) -> bool:
        return any(obj is safe for safe in self.safe.values())

    def call(self, function: Any, args: Any) -> Any:
        """``function(*args)``, where a file may call it."""
        if type(args) is tuple:
            if self._is_safe(function):
                return function(*args)
            if _is_function(function) and function in self.callable:
                self._pay(args)
                return function(*args)
        raise UnpicklingError(f"Trying to call reduce for unrecognized function {_name(function)}")

    def new(self, cls: Any, args: Any) -> Any:
        """A new object of ``cls``, without ``__init__``."""
        if type(args) is tuple:
            if self._is_safe(cls) and isinstance(cls, type):
                return cls.__new__(cls, *args)
            if not args and not self.weights_only and isinstance(cls, type) and _is_fillable_class(cls):
                return object.__new__(cls)
        raise UnpicklingError(f"Can only create new object for classes allowlisted via `add_safe_globals` but got {_name(cls)}")

    def _pay(self, value: Any) -> None:
        self.credit -= _weight(value)
        if self.credit < 0:
            raise UnpicklingError("the objects of this file need much more memory than the file: it is hostile")

    def build(self, obj: Any, state: Any) -> Any:
        """``obj`` with its state, or what stands for it from then on."""
        cls = type(obj)
        self._pay(state)
        if isinstance(obj, np.dtype):  # also where the user has declared it safe: there is one of each, for everybody
            return _ordered_numpy_dtype(obj, state)
        if cls is OrderedDict:
            set_attributes(obj, state)
        elif self._is_safe(cls):
            if hasattr(obj, "__setstate__"):
                obj.__setstate__(state)
            else:
                attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
                vars(obj).update(check_methods(cls, attributes or {}))
                for name, value in (slots or {}).items():
                    setattr(obj, name, value)
        elif not self.weights_only and isinstance(obj, nn.Module):
            _fill_module(obj, state)
        elif not self.weights_only and _is_fillable_class(cls):
            vars(obj).update(check_methods(cls, state))
        elif not self.weights_only and cls is np.ndarray:
            _fill_numpy_array(obj, state)
        else:
            raise UnpicklingError(f"Can only build OrderedDict or types allowlisted via `add_safe_globals`, but got {_name(cls)}")
        return obj

    def check_fillable(self, target: Any) -> None:
        """``UnpicklingError`` unless a file may set items of ``target``."""
        if type(target) not in (dict, OrderedDict, Counter, defaultdict) and not self._is_safe(type(target)):
            raise UnpicklingError(f"Can only set items of dictionaries, but got {_name(type(target))}")


_COPIES, _FREE = 2, 1 << 16  # items of arguments for a byte of the file, each of which is a byte of it at least


def _weight(value: Any) -> int:
    """How large an argument is: the bytes of strings, the items of containers."""
    if type(value) is tuple:
        return len(value) + sum([len(part) for part in value if isinstance(part, _SIZED)])
    return len(value) if isinstance(value, _SIZED) else 1


_SIZED = (str, bytes, bytearray, tuple, list, dict, set, frozenset)


def _name(obj: Any) -> str:
    """What an error calls ``obj``; its ``repr`` could be as long as a file makes it."""
    return obj.__qualname__ if isinstance(obj, (type, type(_name))) else f"an object of type {type(obj).__name__}"


def _is_function(obj: Any) -> bool:
    return type(obj) is type(_is_function)


def _is_fillable_class(cls: type) -> bool:
    return issubclass(cls, nn.Module) or cls is _find_namespace("argparse.Namespace")


def _find_namespace(full_name: str) -> type | None:
    """``argparse.Namespace``: many training scripts save their options with the model."""
    if full_name != "argparse.Namespace":
        return None
    from argparse import Namespace  # slow to import, and only wanted here

    return Namespace


def _find_module_class(module: str, name: str) -> type | None:
    """The ``nn.Module`` class of this name, of flambeau or of the running program."""
    ours = module.replace("torch.nn", "flambeau.nn", 1) if module == "torch.nn" or module.startswith("torch.nn.") else None
    for home in (sys.modules.get(module), *((sys.modules.get(ours), nn) if ours else ())):
        cls = vars(home).get(name) if home is not None else None
        if isinstance(cls, type) and issubclass(cls, nn.Module):
            return cls
    return None


def _find_operation(module: str, name: str) -> Callable | None:
    """A function on tensors, kept as an attribute of a module (``self.act = F.relu``); a file cannot call it."""
    if module in ("torch", "torch._C._nn", "torch.nn.functional", "torch._VariableFunctions") and name[0] != "_":
        for home in (functional, ops):
            found = vars(home).get(name)
            if _is_function(found):
                return found
    return None

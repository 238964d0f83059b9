"""``torch.ops``: operators by namespace, name and overload, and how a call finds its kernel.

An operator has a schema and kernels by dispatch key. A call takes, of those that it has, the first of these: for autocast, where
that is on; for the tape (a kernel of the user's, or the formulas of ``register_autograd``); for the device of its tensors; the one
for all devices. flambeau's own functions are operators of the namespace ``aten`` (see :mod:`flambeau.library.aten`).

Source: https://docs.pytorch.org/docs/stable/library.html
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from flambeau import dispatch
from flambeau.library.keys import AUTOGRAD, DispatchKey, excluded
from flambeau.library.schema import Argument, FunctionSchema
from flambeau.library.schema_types import ListType, OptionalType, TensorType
from flambeau.tensor import overriding
from flambeau.tensor.overriding import state
from flambeau.tensor.watching import tensors_in

__all__ = ["OpOverload", "OpOverloadPacket", "find", "lookup", "namespaces", "ops"]

# Namespaces whose operators flambeau has, and the module that defines them when one of them is first asked for.
KNOWN = {
    "aten": "flambeau.library.aten",
    "image": "flambeau.library.images",
    "profiler": "flambeau.library.profiler",
    "quantized": "flambeau.library.quantized",
    "torchvision": "flambeau.library.torchvision",
}
# Compiled libraries that are known by the names of their files: what they define is written in flambeau.
LIBRARIES = {"torchvision/_C": "torchvision", "torchvision/image": "image"}


def takes_tensors(argument: Argument) -> bool:
    """Whether an argument is a tensor, perhaps, or a list of them."""
    kind = argument.type
    while isinstance(kind, (OptionalType, ListType)):
        kind = kind.element
    return isinstance(kind, TensorType)


def lists_tensors(argument: Argument) -> bool:
    """Whether an argument is a list of tensors."""
    kind = argument.type.element if isinstance(argument.type, OptionalType) else argument.type
    return isinstance(kind, ListType) and takes_tensors(argument)


class OpOverload:
    """One overload of an operator, as ``torch.ops.aten.add.Tensor``."""

    def __init__(self, packet: OpOverloadPacket, schema: FunctionSchema, tags: tuple = ()) -> None:
        self._overloadpacket, self._schema, self._tags = packet, schema, list(tags)
        self._overloadname = schema.overload_name or "default"
        self._name = schema.name + (f".{schema.overload_name}" if schema.overload_name else "")
        self.__name__ = self.__qualname__ = f"{packet.__name__}.{self._overloadname}"
        self.kernels: dict[str, Callable] = {}
        self.autograd: Any = None  # the user's Function that register_autograd makes, see flambeau/library/gradients.py
        self.fake: Callable | None = None
        self.vmap: Callable | None = None
        self.rules: dict[
            type, Callable
        ] = {}  # by the class of a mode, or of tensors, what is called in place of its __torch_dispatch__

    @property
    def namespace(self) -> str:
        return self._schema.name.partition("::")[0]

    @property
    def _namespace(self) -> str:
        return self.namespace

    @property
    def op(self) -> OpOverload:
        return self

    _op = op

    @property
    def overloadpacket(self) -> OpOverloadPacket:
        return self._overloadpacket

    @property
    def tags(self) -> list:
        return self._tags

    @property
    def is_view(self) -> bool:
        returns = self._schema.returns
        return bool(returns) and returns[0].alias_info is not None and not returns[0].alias_info.is_write

    def name(self) -> str:
        return self._name

    def has_kernel_for_dispatch_key(self, key: Any) -> bool:
        return getattr(key, "name", key) in self.kernels

    def has_kernel_for_any_dispatch_key(self, keys: Any) -> bool:
        return any(self.has_kernel_for_dispatch_key(key) for key in keys)

    def py_impl(self, key: Any) -> Callable:
        """A decorator: the kernel of a call with the dispatch key ``key``. Modes and classes of tensors are refused."""
        if not isinstance(key, DispatchKey):
            raise NotImplementedError(
                f"py_impl: {key} is no dispatch key; what a mode or a class of tensors does is said by torch.library.register_torch_dispatch"
            )

        def register(function: Callable) -> Callable:
            self.kernels[key.name] = function
            return function

        return register

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        asked = _asked(self, args, kwargs)
        if asked is not NotImplemented:
            return asked
        return self._run(*self._schema.bind(args, kwargs))

    def _run(self, args: list, kwargs: dict[str, Any]) -> Any:
        """The call with bound arguments."""
        return _told(len(observers), self, args, kwargs) if observers else self._chosen(args, kwargs)

    def _chosen(self, args: list, kwargs: dict[str, Any]) -> Any:
        """The call of the kernel that is to be called first."""
        kernels = self.kernels
        left_out = excluded.names
        if dispatch.autocast.cast is not None and "AutocastCPU" in kernels and "AutocastCPU" not in left_out:
            return self._call("AutocastCPU", args, kwargs)
        for key in ("AutogradCPU", "Autograd"):
            if key in kernels and key not in left_out:
                return self._call(key, args, kwargs)
        if self.autograd is not None and "Autograd" not in left_out:
            return self.autograd(args, kwargs)
        return self.below_autograd(args, kwargs)

    def below_autograd(self, args: list, kwargs: dict[str, Any]) -> Any:
        """The call of the kernel for the tensors' device."""
        kernels = self.kernels
        if any(t.device.type == "meta" for t in tensors_in((*args, *kwargs.values()))):
            if "Meta" in kernels:
                return self._call("Meta", args, kwargs)
            if self.fake is not None:
                args, kwargs = self._schema.without_defaults(args, kwargs)
                return self.fake(*args, **kwargs)
            if "CompositeImplicitAutograd" not in kernels and "CompositeExplicitAutograd" not in kernels:
                raise NotImplementedError(
                    f"{self._schema.name}: attempted to run this operator with Meta tensors, but there was no fake impl or Meta "
                    "kernel registered. You may have run into this message while using an operator with PT2 compilation APIs "
                    "(torch.compile/torch.export); in order to use this operator with those APIs you'll need to add a fake impl. "
                    "Please see the following for next steps:  https://pytorch.org/tutorials/advanced/custom_ops_landing_page.html"
                )
        for key in ("CPU", "CompositeExplicitAutograd", "CompositeExplicitAutogradNonFunctional", "CompositeImplicitAutograd"):
            if key in kernels:
                return self._call(key, args, kwargs)
        raise NotImplementedError(
            f"Could not run '{self._schema.name}' with arguments from the 'CPU' backend. This could be because the operator "
            "doesn't exist for this backend, or was omitted during the selective/custom build process (if using custom build). "
            f"'{self._schema.name}' is only available for these backends: [{', '.join(kernels)}]."
        )

    def _call(self, key: str, args: list, kwargs: dict[str, Any]) -> Any:
        args, kwargs = self._schema.without_defaults(args, kwargs)
        kernel = self.kernels[key]
        if getattr(kernel, "with_keyset", False):
            from flambeau.library.keys import DispatchKeySet

            return kernel(DispatchKeySet(DispatchKey[key]), *args, **kwargs)
        return kernel(*args, **kwargs)

    def redispatch(self, keyset: Any, /, *args: Any, **kwargs: Any) -> Any:
        """The call without the kernels for keys that are not in ``keyset``."""
        before = excluded.names
        excluded.names = before | {key.name for key in DispatchKey if not keyset.has(key) and _is_above_backends(key.name)}
        try:
            return self(*args, **kwargs)
        finally:
            excluded.names = before

    def __repr__(self) -> str:
        return f"<OpOverload(op='{self.namespace}.{self._overloadpacket.__name__}', overload='{self._overloadname}')>"

    def __str__(self) -> str:
        return f"{self.namespace}.{self.__name__}"

    def __hash__(self) -> int:
        return hash(self._name)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __reduce__(self) -> tuple:
        return _again, (self._name, self._overloadname)

    def __deepcopy__(self, memo: Any = None) -> OpOverload:
        return self


def _again(name: str, overload: str) -> OpOverload:
    return getattr(find(name.partition(".")[0]), overload)


def _is_above_backends(name: str) -> bool:
    return name in AUTOGRAD or name.startswith("Autocast")


observers: list[Any] = []
"""``observer(overload, args, kwargs, run)`` makes the call of an operator, by ``run(args, kwargs)``; the last one is asked first.
"""


def _told(count: int, overload: OpOverload, args: list, kwargs: dict[str, Any]) -> Any:
    """What the first ``count`` observers make of a call."""
    if not count:
        return overload._chosen(args, kwargs)
    return observers[count - 1](overload, args, kwargs, lambda args, kwargs: _told(count - 1, overload, args, kwargs))


def _asked(function: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What a mode, or a class among the arguments, makes of a call; ``NotImplemented`` where nobody is to be asked."""
    found = overriding.overriding((*args, *kwargs.values()), []) if state.subclasses else []
    if not found and not (state.modes and state.functions):
        return NotImplemented
    return overriding.handle(function, found, args, kwargs)


class OpOverloadPacket:
    """All overloads of an operator; a call takes the first that the arguments fit."""

    def __init__(self, namespace: str, name: str) -> None:
        self._qualified_op_name = f"{namespace}::{name}"
        self.__name__ = self.__qualname__ = name
        self._overloads: dict[str, OpOverload] = {}

    @property
    def _overload_names(self) -> list[str]:
        return list(self._overloads)

    @property
    def _schemas(self) -> dict[str, FunctionSchema]:
        return {("" if n == "default" else n): o._schema for n, o in self._overloads.items()}

    @property
    def op(self) -> OpOverloadPacket:
        return self

    _op = op

    def overloads(self) -> list[str]:
        return list(self._overloads)

    def __getattr__(self, name: str) -> OpOverload:
        overloads = self.__dict__.get("_overloads", {})
        if name in overloads:
            return overloads[name]
        if name.startswith("__"):
            raise AttributeError(
                f"'{self}' can't have an overload name beginning with '__' and the underlying op has no attribute {name}"
            )
        raise AttributeError(f"The underlying op of '{self}' has no overload name '{name}'")

    def __iter__(self) -> Iterator[str]:
        return iter(self._overloads)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        asked = _asked(self, args, kwargs)
        if asked is not NotImplemented:
            return asked
        overloads = self._overloads
        if len(overloads) == 1:
            for overload in overloads.values():
                return overload._run(*overload._schema.bind(args, kwargs))
        problems = []
        for overload in overloads.values():
            try:
                bound = overload._schema.bind(args, kwargs)
            except RuntimeError as error:
                problems.append(str(error))
                continue
            return overload._run(*bound)
        raise RuntimeError("Overloaded torch operator invoked from Python failed to match any schema:\n" + "\n\n".join(problems))

    def __dir__(self) -> list[str]:
        return [*object.__dir__(self), *self._overloads]

    def __repr__(self) -> str:
        return f"<OpOverloadPacket(op='{self}')>"

    def __str__(self) -> str:
        return self._qualified_op_name.replace("::", ".")

    def __hash__(self) -> int:
        return hash(self._qualified_op_name)

    def __reduce__(self) -> tuple:
        return find_packet, (self._qualified_op_name,)

    def __deepcopy__(self, memo: Any = None) -> OpOverloadPacket:
        return self


class OpNamespace(types.ModuleType):
    """The operators of one namespace, ``torch.ops.mylib``."""

    def __init__(self, name: str, hidden: Any = None) -> None:
        super().__init__("torch.ops." + name)
        self.name, self._hidden = name, hidden
        self._dir: list[str] = []
        self.__file__ = "torch.ops"

    def __getattr__(self, name: str) -> Any:
        if name in ("__file__", "__path__", "__all__", "__wrapped__", "_hidden"):  # which Python asks modules for
            raise AttributeError(name)
        packet = find_packet(f"{self.name}::{name}", missing=None)
        if packet is None:
            if self._hidden is not None and hasattr(self._hidden, name):
                return getattr(self._hidden, name)
            raise AttributeError(f"'_OpNamespace' '{self.name}' object has no attribute '{name}'")
        self.__dict__[name] = packet
        self._dir.append(name)
        return packet

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hidden is None:
            raise TypeError("'_OpNamespace' object is not callable")
        return self._hidden(*args, **kwargs)

    def __iter__(self) -> Iterator[str]:
        return iter(self._dir)

    def __dir__(self) -> list[str]:
        packets = namespaces.get(self.name, {})
        return sorted({*object.__dir__(self), *packets})


namespaces: dict[str, dict[str, OpOverloadPacket]] = {}
"""The operators that are defined: namespace -> name -> packet."""


def _open(namespace: str) -> dict[str, OpOverloadPacket] | None:
    """The operators of a namespace; those that flambeau has are defined when they are first asked for."""
    module = KNOWN.pop(namespace, None)
    if module is not None:
        import_module(module).define()
    return namespaces.get(namespace)


_RAISE: Any = object()


def find_packet(name: str, missing: Any = _RAISE) -> OpOverloadPacket:
    """The packet of ``namespace::name``."""
    space, _, short = name.partition("::")
    packets = _open(space)
    found = None if packets is None else packets.get(short)
    if found is None:
        if missing is _RAISE:
            raise RuntimeError(f"operator {name} does not exist")
        return missing
    return found


def find(name: str) -> Any:
    """The packet of ``namespace::name``, or the overload of ``namespace::name.overload``.

    Raises:
        RuntimeError: there is none.
    """
    full, _, overload = name.partition(".")
    packet = find_packet(full)
    if not overload:
        return packet
    if overload not in packet._overloads:
        raise RuntimeError(f"operator {name} does not exist")
    return packet._overloads[overload]


def lookup(op: Any) -> OpOverload:
    """The one overload that is meant: by an object or by its name, without an overload's name the default one."""
    if isinstance(op, OpOverload):
        return op
    if isinstance(op, OpOverloadPacket):
        return op._overloads["default"]
    if not isinstance(op, str):
        inner = getattr(op, "_opoverload", None)
        if inner is not None:
            return inner
        raise ValueError(f"expected an operator or its name, but got {type(op).__name__}")
    found = find(op)
    if isinstance(found, OpOverloadPacket):
        if "default" not in found._overloads:
            raise RuntimeError(f"operator {op} does not exist")
        return found._overloads["default"]
    return found


def define(schema: FunctionSchema, tags: tuple = ()) -> OpOverload:
    """A new operator, or a new overload of one.

    Raises:
        RuntimeError: there is one of that name.
    """
    space, _, short = schema.name.partition("::")
    _open(space)
    packet = namespaces.setdefault(space, {}).setdefault(short, OpOverloadPacket(space, short))
    overload = OpOverload(packet, schema, tags)
    if overload._overloadname in packet._overloads:
        raise RuntimeError(
            f"Tried to register an operator ({schema}) with the same name and overload name multiple times. Each overload's schema "
            "should only be registered with a single call to def()."
        )
    packet._overloads[overload._overloadname] = overload
    root = sys.modules["flambeau.ops"]
    if space in root.__dict__ and not isinstance(root.__dict__[space], OpNamespace):
        # What is called so in flambeau.ops stays there, behind the user's namespace.
        root.__dict__[space] = _spaces[space] = OpNamespace(space, root.__dict__[space])
    return overload


def forget(overload: OpOverload) -> None:
    """Takes an operator away again."""
    space, _, short = overload._schema.name.partition("::")
    packet = overload._overloadpacket
    if packet._overloads.get(overload._overloadname) is overload:
        del packet._overloads[overload._overloadname]
    if not packet._overloads:
        namespaces[space].pop(short, None)
        space_object = _spaces.get(space)
        if space_object is not None:
            space_object.__dict__.pop(short, None)


def schemas_of(name: str) -> list[FunctionSchema]:
    """The schemas of all overloads of ``namespace::name``."""
    packet = find_packet(name, missing=None)
    return [] if packet is None else [overload._schema for overload in packet._overloads.values()]


def all_schemas() -> list[FunctionSchema]:
    """The schemas of all operators."""
    for space in [*KNOWN]:
        _open(space)
    return [o._schema for packets in namespaces.values() for packet in packets.values() for o in packet._overloads.values()]


def has_kernel(name: str, key: str) -> bool:
    """Whether an operator has a kernel for a dispatch key."""
    return lookup(name).has_kernel_for_dispatch_key(key)


_spaces: dict[str, OpNamespace] = {}


class Ops:
    """What ``torch.ops`` adds to the functions of :mod:`flambeau.ops`: namespaces, and libraries that are loaded."""

    loaded_libraries: set[str] = set()

    def namespace(self, name: str) -> OpNamespace:
        return _spaces.setdefault(name, OpNamespace(name))

    def load_library(self, path: str | os.PathLike) -> None:
        """Defines the operators of a compiled library that flambeau has an own form of; no machine code is loaded.

        Raises:
            OSError: it is another library. Operators of PyTorch's are compiled against its C++ parts, which are not there.
        """
        path = os.path.realpath(os.fspath(path))
        folder, file = os.path.split(path)
        name = f"{os.path.basename(folder)}/{file.partition('.')[0]}"
        if name not in LIBRARIES or not os.path.exists(path):
            raise OSError(
                f"Could not load this library: {path}: it is compiled against PyTorch's C++ parts, which flambeau does not have. "
                "Define its operators in Python, with torch.library.custom_op"
            )
        _open(LIBRARIES[name])
        self.loaded_libraries.add(path)

    def load_all_libraries(self) -> None:
        raise NotImplementedError("torch.ops.load_all_libraries: flambeau loads no compiled libraries")

    def import_module(self, module: str) -> None:
        """Imports a module, which may define operators."""
        import_module(module)


ops = Ops()

for _class, _name in ((OpOverload, "OpOverload"), (OpOverloadPacket, "OpOverloadPacket"), (OpNamespace, "_OpNamespace")):
    _class.__module__, _class.__name__, _class.__qualname__ = "torch._ops", _name, _name

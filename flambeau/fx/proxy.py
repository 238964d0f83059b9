"""Proxies: what stands for a value while a program is traced, and writes down what is done with it."""

from __future__ import annotations

import collections
import dis
import enum
import operator
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import flambeau
from flambeau.core import memory_format as formats
from flambeau.core.device import device
from flambeau.core.dtypes import dtype
from flambeau.core.size import Size
from flambeau.fx.graph import Graph
from flambeau.fx.node import Node, map_aggregate
from flambeau.tensor import Tensor
from flambeau.tensor.interception import Presence
from flambeau.tensor.overriding import is_method

__all__ = [
    "Attribute",
    "GraphAppendingTracer",
    "ParameterProxy",
    "Proxy",
    "Scope",
    "ScopeContextManager",
    "TraceError",
    "TracerBase",
]

base_types = (
    str,
    int,
    float,
    bool,
    complex,
    dtype,
    device,
    formats.memory_format,
    formats.layout,
    Size,
    type(None),
    type(...),
    range,
    enum.Enum,
)


class TraceError(ValueError):
    """A program does with a traced value what tracing cannot write down."""


class Scope:
    """The module whose forward is being traced: its path and its type."""

    def __init__(self, module_path: str, module_type: Any) -> None:
        self.module_path, self.module_type = module_path, module_type


class ScopeContextManager:
    """Makes a scope the current one inside of a ``with``."""

    def __init__(self, scope: Scope, current_scope: Scope) -> None:
        self._before = Scope(scope.module_path, scope.module_type)
        scope.module_path, scope.module_type = current_scope.module_path, current_scope.module_type
        self._scope = scope

    def __enter__(self) -> Scope:
        return self._scope

    def __exit__(self, *error: Any) -> None:
        self._scope.module_path, self._scope.module_type = self._before.module_path, self._before.module_type


class TracerBase:
    """What tracers have in common: making nodes and proxies, and arguments of nodes from values.

    Source: https://docs.pytorch.org/docs/stable/fx.html#torch.fx.Tracer
    """

    graph: Graph
    record_stack_traces = False
    _record_forward_stack_traces_only = False
    check_mutable_operations = False
    trace_asserts = False
    proxy_buffer_attributes = False
    traced_func_name = "forward"
    scope: Scope
    module_stack: collections.OrderedDict[str, tuple[str, Any]]

    def create_node(
        self, kind: str, target: Any, args: tuple, kwargs: dict, name: str | None = None, type_expr: Any = None
    ) -> Node:
        """Makes a node in the graph; subclasses may look at it, or refuse."""
        node = self.graph.create_node(kind, target, args, kwargs, name, type_expr)
        if kind == "call_module" or getattr(self, "module_stack", None):
            stack = collections.OrderedDict(getattr(self, "module_stack", {}))
            if stack and kind == "call_module":
                node.meta["nn_module_stack"] = stack
            elif stack:
                node.meta["nn_module_stack"] = stack
        return node

    def proxy(self, node: Node) -> Proxy:
        """The proxy for a node's value."""
        return Proxy(node, self)

    def create_proxy(
        self, kind: str, target: Any, args: tuple, kwargs: dict, name: str | None = None, type_expr: Any = None,
        proxy_factory_fn: Callable[[Node], Proxy] | None = None,
    ) -> Any:  # fmt: skip
        """Makes a node of values that may be, or contain, proxies; returns the proxy for its value."""
        node = self.create_node(kind, target, self.create_arg(args), self.create_arg(kwargs), name, type_expr)
        proxy = proxy_factory_fn(node) if proxy_factory_fn else self.proxy(node)
        if self.record_stack_traces and not node.stack_trace:
            node.stack_trace = "".join(traceback.format_list(_frames_of_program()))
        return proxy

    def create_arg(self, a: Any) -> Any:
        """A value as an argument of nodes: nodes for proxies, and nests of such. ``NotImplementedError`` for what has no place in
        code."""
        if isinstance(a, Proxy):
            return a.node
        if hasattr(a, "__fx_create_arg__"):
            return a.__fx_create_arg__(self)
        if isinstance(a, tuple) and hasattr(a, "_fields"):
            return type(a)(*[self.create_arg(x) for x in a])
        if isinstance(a, Size) and not any(isinstance(x, Proxy) for x in a):
            return a
        if isinstance(a, (tuple, list)):
            return type(a)([self.create_arg(x) for x in a]) if type(a) in (tuple, list) else [self.create_arg(x) for x in a]
        if isinstance(a, dict):
            for key in a:
                if map_aggregate(key, lambda x: x) is not key and isinstance(key, Proxy) or isinstance(key, (Proxy, Node)):
                    raise RuntimeError(f"Keys for dictionaries used as an argument cannot contain a Node. Got key: {key}")
            return {k: self.create_arg(v) for k, v in a.items()}
        if isinstance(a, slice):
            return slice(self.create_arg(a.start), self.create_arg(a.stop), self.create_arg(a.step))
        if isinstance(a, range):
            return range(self.create_arg(a.start), self.create_arg(a.stop), self.create_arg(a.step))
        if isinstance(a, (Node, *base_types)) or callable(a) and not isinstance(a, Tensor) and hasattr(a, "__module__"):
            return a
        if _is_dataclass_instance(a):
            import dataclasses

            fields = {f.name: self.create_arg(getattr(a, f.name)) for f in dataclasses.fields(a)}
            return self.create_node("call_function", type(a), (), fields)
        raise NotImplementedError(f"argument of type: {type(a)}")

    def to_bool(self, obj: Proxy) -> bool:
        """Called where a proxy is used as a condition."""
        raise TraceError("symbolically traced variables cannot be used as inputs to control flow")

    def iter(self, obj: Proxy) -> Iterator:
        """Called where a proxy is iterated over."""
        raise TraceError(
            "Proxy object cannot be iterated. This can be attempted when the Proxy is used in a loop or as a *args or **kwargs "
            "function argument. See the torch.fx docs on pytorch.org for a more detailed explanation of what types of control "
            "flow can be traced, and check out the Proxy docstring for help troubleshooting Proxy iteration errors"
        )

    def keys(self, obj: Proxy) -> Any:
        """Called for ``**proxy`` and ``proxy.keys()``."""
        return Attribute(obj, "keys")()


def _is_dataclass_instance(a: Any) -> bool:
    return hasattr(type(a), "__dataclass_fields__") and not isinstance(a, type)


def _frames_of_program() -> list:
    """The frames of the program that is traced, from the outermost on."""
    frames = traceback.extract_stack()
    return [f for f in frames if "/flambeau/" not in f.filename.replace("\\", "/")]


class GraphAppendingTracer(TracerBase):
    """A tracer that only puts nodes into a graph: for proxies of nodes that are there."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.scope = Scope("", None)
        self.module_stack = collections.OrderedDict()


def _is_method(function: Any) -> bool:
    """Whether a function is a method of tensors."""
    return is_method(function) or bool(getattr(getattr(function, "op", None), "name", "").startswith("Tensor."))


class Proxy:
    """Stands for the value of a node: what is done with it becomes more nodes.

    Where a program decides by a value (``if``, ``len``, iterating), nothing can be written down: that raises :class:`TraceError`.

    >>> import flambeau as torch
    >>> def twice(x):
    ...     print(type(x).__name__)
    ...     return 2 * x
    >>> traced = torch.fx.symbolic_trace(twice)
    Proxy
    >>> traced(torch.ones(2))
    tensor([2., 2.])

    Source: https://docs.pytorch.org/docs/stable/fx.html#torch.fx.Proxy
    """

    __getitem__: ClassVar[Callable[[Proxy, Any], Any]]  # as all operators, see _OPERATORS

    def __init__(self, node: Node, tracer: TracerBase | None = None) -> None:
        self.tracer = tracer if tracer is not None else GraphAppendingTracer(node.graph)
        self.node = node
        self._presence = Presence()

    def __repr__(self) -> str:
        return f"Proxy({self.node.name})"

    def __getattr__(self, k: str) -> Attribute:
        if k in ("node", "tracer", "_presence"):
            raise AttributeError(k)
        return Attribute(self, k)

    def __deepcopy__(self, memo: dict) -> Proxy:
        return type(self)(self.node, self.tracer)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.tracer.create_proxy("call_method", "__call__", (self, *args), kwargs)

    def __iter__(self) -> Iterator:
        count = _unpacked_into(sys._getframe(1))
        if count is not None:
            return iter([self[i] for i in range(count)])
        return self.tracer.iter(self)

    def __abs__(self) -> Any:
        return self.tracer.create_proxy("call_function", operator.abs, (self,), {})

    def __bool__(self) -> bool:
        if self.tracer.trace_asserts:
            message = _asserted(sys._getframe(1))
            if message is not None:
                self.tracer.create_proxy("call_function", flambeau._assert, (self, "assertion error"), {})
                return True
        return self.tracer.to_bool(self)

    def __index__(self) -> int:
        raise TraceError("symbolically traced variables cannot be used as indices of Python sequences, or as sizes of a loop")

    def keys(self) -> Any:
        return self.tracer.keys(self)

    def __len__(self) -> int:
        raise RuntimeError(
            "'len' is not supported in symbolic tracing by default. If you want this call to be recorded, please call "
            "torch.fx.wrap('len') at module scope"
        )

    @classmethod
    def _intercept(cls, function: Any, types: Any, args: tuple, kwargs: dict) -> Any:
        return cls.__torch_function__(function, types, args, kwargs)

    @classmethod
    def __torch_function__(cls, orig_method: Any, types: Any, args: tuple | None = None, kwargs: dict | None = None) -> Any:
        args, kwargs = args or (), kwargs or {}
        tracers: dict[Any, None] = {}

        def note(a: Any) -> Any:
            if isinstance(a, Proxy):
                tracers[a.tracer] = None
            return a

        map_aggregate((args, kwargs), note)
        if len(tracers) > 1:
            raise RuntimeError(f"Found multiple different tracers {list(tracers)} while trying to trace operations {orig_method}")
        tracer: Any = next(iter(tracers))
        if isinstance(orig_method, str) or _is_method(orig_method):
            name = orig_method if isinstance(orig_method, str) else orig_method.__name__
            return tracer.create_proxy("call_method", name, args, kwargs)
        return tracer.create_proxy("call_function", orig_method, args, kwargs)


class Attribute(Proxy):
    """An attribute of a proxy; a node only where it is used, since methods that are called need none."""

    def __init__(self, root: Proxy, attr: str) -> None:
        self.root, self.attr, self.tracer = root, attr, root.tracer
        self._node: Node | None = None

    def __getattr__(self, k: str) -> Attribute:
        if k in ("root", "attr", "_node", "tracer", "_presence"):
            raise AttributeError(k)
        return Attribute(self, k)

    @property
    def node(self) -> Node:  # type: ignore[override]
        if self._node is None:
            self._node = self.tracer.create_proxy("call_function", getattr, (self.root, self.attr), {}).node
        return self._node

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.tracer.create_proxy("call_method", self.attr, (self.root, *args), kwargs)


class ParameterProxy(Proxy):
    """Stands for a parameter, whose shape is known."""

    def __init__(self, tracer: TracerBase, node: Node, name: str, param: Tensor) -> None:
        super().__init__(node, tracer)
        self.param, self.name = param, name

    def __repr__(self) -> str:
        return f"ParameterProxy({self.name})"

    @property
    def shape(self) -> Any:
        return self.param.shape

    def size(self, dim: int | None = None) -> Any:
        return self.param.size() if dim is None else self.param.size(dim)

    def dim(self) -> int:
        return self.param.dim()

    @property
    def ndim(self) -> int:
        return self.param.ndim

    def numel(self) -> int:
        return self.param.numel()

    def nelement(self) -> int:
        return self.param.numel()


# --- how a proxy is used where it is called -------------------------------------------------------------------


def _instruction(frame: Any) -> dis.Instruction | None:
    at = frame.f_lasti
    return next((i for i in dis.get_instructions(frame.f_code) if i.offset == at), None)


def _unpacked_into(frame: Any) -> int | None:
    """Into how many names a frame is unpacking."""
    found = _instruction(frame)
    return found.argval if found is not None and found.opname == "UNPACK_SEQUENCE" else None


def _asserted(frame: Any) -> bool | None:
    """True where a frame is about to look at the condition of an ``assert``."""
    code = list(dis.get_instructions(frame.f_code))
    at = next((n for n, i in enumerate(code) if i.offset == frame.f_lasti), None)
    if at is None:
        return None
    following = [i for i in code[at : at + 4] if i.opname == "LOAD_ASSERTION_ERROR"]
    return True if following else None


_REFLECTED = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "floordiv": operator.floordiv, "truediv": operator.truediv,
    "mod": operator.mod, "pow": operator.pow, "lshift": operator.lshift, "rshift": operator.rshift, "and": operator.and_,
    "or": operator.or_, "xor": operator.xor, "matmul": operator.matmul,
}  # fmt: skip
_OPERATORS: dict[str, Callable[..., Any]] = {
    **_REFLECTED, "eq": operator.eq, "ne": operator.ne, "lt": operator.lt, "gt": operator.gt, "le": operator.le, "ge": operator.ge,
    "pos": operator.pos, "neg": operator.neg, "invert": operator.invert, "getitem": operator.getitem, "setitem": operator.setitem,
}  # fmt: skip
_NAMES_OF_METHODS = {
    "truediv": "div",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "and": "__and__",
    "or": "__or__",
    "xor": "__xor__",
    "lshift": "__lshift__",
    "rshift": "__rshift__",
}


def _forwards(function: Callable) -> Callable:
    def method(*args: Any) -> Any:
        return args[0].tracer.create_proxy("call_function", function, args, {})

    return method


def _backwards(name: str, function: Callable) -> Callable:
    def method(self: Proxy, other: Any) -> Any:
        if isinstance(other, Tensor):  # whose own method was asked first, and would have been traced
            return self.tracer.create_proxy("call_method", _NAMES_OF_METHODS.get(name, name), (other, self), {})
        return self.tracer.create_proxy("call_function", function, (other, self), {})

    return method


for _name, _function in _OPERATORS.items():
    setattr(Proxy, f"__{_name}__", _forwards(_function))
for _name, _function in _REFLECTED.items():
    setattr(Proxy, f"__r{_name}__", _backwards(_name, _function))
Proxy.__hash__ = object.__hash__  # type: ignore[method-assign]  # __eq__ makes a node

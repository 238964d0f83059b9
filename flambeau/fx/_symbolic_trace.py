"""Symbolic tracing: a function or module is called with proxies, and what it does with them is its graph."""

from __future__ import annotations

import builtins
import collections
import functools
import inspect
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

from flambeau import checks
from flambeau.core import nests
from flambeau.fx._compatibility import compatibility as compatibility
from flambeau.fx.codegen import _PyTreeCodeGen, _PyTreeInfo
from flambeau.fx.graph import Graph
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node, map_aggregate
from flambeau.fx.proxy import ParameterProxy, Proxy, Scope, ScopeContextManager, TracerBase
from flambeau.jit.modules import ScriptObject as ScriptObject
from flambeau.nn.modules.module import Module
from flambeau.nn.parameter import Parameter
from flambeau.tensor import Tensor
from flambeau.tensor.interception import overriding

__all__ = ["PH", "ProxyableClassMeta", "Tracer", "is_fx_symbolic_tracing", "is_fx_tracing", "symbolic_trace", "wrap"]

_tracing = 0


def is_fx_tracing() -> bool:
    """Whether a program is being traced."""
    return _tracing > 0


is_fx_symbolic_tracing = is_fx_tracing


class ProxyableClassMeta(type):
    """A metaclass: where an instance is made of proxies, that becomes a call in the graph.

    >>> import flambeau as torch
    >>> class Pair(metaclass=torch.fx.ProxyableClassMeta):
    ...     def __init__(self, a, b):
    ...         self.a, self.b = a, b
    """

    def __init__(cls, name: str, bases: tuple, attrs: dict) -> None:
        super().__init__(name, bases, attrs)

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        found: list = []

        def note(a: Any) -> Any:
            if isinstance(a, Proxy):
                found.append(a)
            return a

        map_aggregate((args, kwargs), note)
        if is_fx_tracing() and found:
            return found[0].tracer.create_proxy("call_function", cls, args, kwargs)
        return super().__call__(*args, **kwargs)


class PHBase:
    """The value of ``concrete_args`` for an argument that stays one, inside of a nest."""

    def __repr__(self) -> str:
        return "PH"


PH = PHBase()


class _Patcher:
    """Changes of attributes and of items of dicts that are taken back in the end."""

    def __init__(self) -> None:
        self.done: list[Callable[[], None]] = []
        self.seen: set[tuple[int, str]] = set()

    def attribute(self, owner: Any, name: str, value: Any) -> None:
        before = owner.__dict__.get(name, _patches_nothing)
        setattr(owner, name, value)
        self.done.append(lambda: delattr(owner, name) if before is _patches_nothing else setattr(owner, name, before))

    def item(self, names: dict, name: str, value: Any) -> None:
        if (id(names), name) in self.seen:
            return
        self.seen.add((id(names), name))
        there = name in names
        before = names.get(name)
        names[name] = value

        def restore() -> None:
            if there:
                names[name] = before
            else:
                names.pop(name, None)

        self.done.append(restore)

    def restore(self) -> None:
        while self.done:
            self.done.pop()()

    # PyTorch's names, which tracers of libraries use.

    def patch_method(self, cls: type, name: str, new_fn: Callable, deduplicate: bool = True) -> None:
        self.attribute(cls, name, new_fn)

    def patch(self, frame_dict: dict, name: str, new_fn: Callable, deduplicate: bool = True) -> None:
        self.item(frame_dict, name, new_fn)

    def __enter__(self) -> _Patcher:
        return self

    def __exit__(self, *error: Any) -> None:
        self.restore()


_patches_nothing = object()
_wrapped_functions: dict[tuple[int, str], dict] = {}
"""Names in modules that :func:`wrap` was told of: (id of the module's names, name) -> these names."""
_wrapped_methods: list[tuple[type, str]] = []


def wrap(fn_or_name: str | Callable) -> Any:
    """Says that a function of this module is a leaf of traces: its calls with proxies become nodes, and are not looked into.

    To be called at the top level of the module, with the function or its name, or as a decorator.

    >>> import flambeau as torch
    >>> torch.fx.wrap("len")
    'len'

    Source: https://docs.pytorch.org/docs/stable/fx.html#torch.fx.wrap
    """
    if not callable(fn_or_name) and not isinstance(fn_or_name, str):
        raise RuntimeError("Unsupported type for global function! Must be either a callable or string name")
    name = fn_or_name if isinstance(fn_or_name, str) else fn_or_name.__name__
    frame = sys._getframe(1)
    if frame.f_code.co_name != "<module>" and not frame.f_code.co_filename.startswith(("<doctest", "<eval_with_key>")):
        raise NotImplementedError("wrap must be called at the top level of a module")
    _wrapped_functions[id(frame.f_globals), name] = frame.f_globals
    return fn_or_name


def _leaf(function: Callable) -> Callable:
    """``function`` as a leaf of traces."""
    if getattr(function, "_fx_already_patched", None) is function:
        return function

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        found = [a for a in overriding((args, kwargs), []) if isinstance(a, Proxy)]
        if not found:
            return function(*args, **kwargs)
        proxy = found[0].tracer.create_proxy("call_function", function, args, kwargs)
        proxy.node.meta["is_wrapped"] = True
        return proxy

    wrapped._fx_already_patched = True  # type: ignore[attr-defined]
    return wrapped


_orig_module_call, _orig_module_getattr = Module.__call__, Module.__getattr__


def _patch_wrapped_functions(patcher: _Patcher) -> None:
    """Makes leaves of the functions that :func:`wrap` was told of."""
    for (_, name), names in list(_wrapped_functions.items()):
        if name in names or hasattr(builtins, name):
            patcher.item(names, name, _leaf(names[name] if name in names else getattr_static(builtins, name)))


def _autowrap_check(patcher: _Patcher, frame_dict: dict[str, Any], function_ids: set[int]) -> None:
    """Makes leaves of the functions to be wrapped that a module knows."""
    for name, value in list(frame_dict.items()):
        if not name.startswith("_") and callable(value) and id(value) in function_ids:
            patcher.item(frame_dict, name, _leaf(value))


class Tracer(TracerBase):
    """Traces a module or a function; subclasses decide what is a leaf.

    Args:
        autowrap_modules: Python modules whose functions are leaves.
        autowrap_functions: functions that are leaves.
        param_shapes_constant: the shapes of parameters are numbers, rather than traced.

    >>> import flambeau as torch
    >>> class Deep(torch.fx.Tracer):
    ...     def is_leaf_module(self, module, name):
    ...         return False
    >>> print(Deep().trace(torch.nn.Linear(2, 3)))
    graph():
        %input_1 : [num_users=1] = placeholder[target=input]
        %weight : [num_users=1] = get_attr[target=weight]
        %bias : [num_users=1] = get_attr[target=bias]
        %linear : [num_users=1] = call_function[target=torch.nn.functional.linear](args = (%input_1, %weight, %bias), kwargs = {})
        return linear

    Source: https://docs.pytorch.org/docs/stable/fx.html#torch.fx.Tracer
    """

    def __init__(
        self,
        autowrap_modules: tuple[ModuleType, ...] = (math,),
        autowrap_functions: tuple[Callable, ...] = (),
        param_shapes_constant: bool = False,
    ) -> None:
        super().__init__()
        self._leaf_functions = [f for m in autowrap_modules for n, f in vars(m).items() if not n.startswith("_") and callable(f)]
        self._leaf_functions += list(autowrap_functions)
        self._autowrap_function_ids = {id(f) for f in self._leaf_functions}
        self._autowrap_search = list(autowrap_modules)
        self.param_shapes_constant = param_shapes_constant
        self.submodule_paths: dict[Module, str] | None = None
        self.root_module_name = ""
        self.scope = Scope("", None)
        self.module_stack = collections.OrderedDict()
        self.num_calls: dict[str, int] = {}
        self.tensor_attrs: dict[Any, str] = {}

    # --- what subclasses change -------------------------------------------------------------------------------

    def is_leaf_module(self, m: Module, module_qualified_name: str) -> bool:
        """Whether calls of a module become one node: those of ``torch.nn``, but for ``Sequential``."""
        name = type(m).__module__
        own = name.startswith(("torch.nn", "torch.ao.nn", "flambeau.nn", "flambeau.ao.nn"))
        return own and type(m).__name__ != "Sequential"

    def path_of_module(self, mod: Module) -> str:
        """Where a module is in the root module: ``"layers.0.conv"``."""
        if self.submodule_paths:
            path = self.submodule_paths.get(mod)
            if path is None:
                raise NameError("module is not installed as a submodule")
            return path
        for name, module in self.root.named_modules():
            if module is mod:
                return name
        raise NameError("module is not installed as a submodule")

    def call_module(self, m: Module, forward: Callable, args: tuple, kwargs: dict) -> Any:
        """Called for each call of a module: a node for leaves; the forward of others is traced."""
        path = self.path_of_module(m)
        with ScopeContextManager(self.scope, Scope(path, type(m))):
            count = self.num_calls.get(path, 0)
            key = f"{path}@{count}" if count else path
            self.num_calls[path] = count + 1
            self.module_stack[key] = (path, type(m))
            try:
                if self.is_leaf_module(m, path):
                    return self.create_proxy("call_module", path, args, kwargs)
                return forward(*args, **kwargs)
            finally:
                self.module_stack.popitem(last=True)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Called for each attribute of a module: a proxy for parameters, and for buffers where ``proxy_buffer_attributes``."""
        members: Iterator[tuple[str, Tensor]]
        if isinstance(attr_val, Parameter):
            members = self.root.named_parameters()
        elif self.proxy_buffer_attributes and isinstance(attr_val, Tensor):
            members = self.root.named_buffers()
        else:
            return attr_val
        for name, value in members:
            if value is attr_val:
                if name not in parameter_proxy_cache:
                    settings: dict[str, Any] = {}
                    if self.param_shapes_constant and isinstance(attr_val, Parameter):
                        settings["proxy_factory_fn"] = partial(self._parameter_proxy, name, attr_val)
                    parameter_proxy_cache[name] = self.create_proxy("get_attr", name, (), {}, **settings)
                return parameter_proxy_cache[name]
        return attr_val

    def _parameter_proxy(self, name: str, value: Tensor, node: Node) -> ParameterProxy:
        return ParameterProxy(self, node, name, value)

    _module_getattr = getattr

    def create_arg(self, a: Any) -> Any:
        """As in :class:`TracerBase`; parameters, buffers and submodules are attributes of the root, other tensors become such."""
        if isinstance(a, Parameter):
            for name, parameter in self.root.named_parameters():
                if parameter is a:
                    return self.create_node("get_attr", name, (), {})
            raise NameError("parameter is not a member of this module")
        if isinstance(a, Tensor):
            for name, buffer in self.root.named_buffers():
                if buffer is a:
                    return self.create_node("get_attr", name, (), {})
            return self.create_node("get_attr", self._constant(a, "_tensor_constant"), (), {})
        if isinstance(a, Module):
            for name, module in self.root.named_modules():
                if module is a:
                    return self.create_node("get_attr", name, (), {})
        if isinstance(a, tuple) and hasattr(a, "_fields"):
            return self.create_node("call_function", type(a), tuple(self.create_arg(x) for x in a), {})
        if type(a).__class__ is ProxyableClassMeta:
            return self.create_node("get_attr", self._constant(a, f"_{type(a).__name__}_constant_"), (), {})
        return super().create_arg(a)

    def _constant(self, value: Any, prefix: str) -> str:
        """The name of an attribute of the root that holds ``value``."""
        try:
            name = self.tensor_attrs.get(value)
        except TypeError:
            name = None
        if name is None:
            i = 0
            while hasattr(self.root, f"{prefix}{i}"):
                i += 1
            name = self.tensor_attrs[value] = f"{prefix}{i}"
            setattr(self.root, name, value)
        return name

    def get_fresh_qualname(self, prefix: str) -> str:
        """A name that the root module has no attribute of."""
        i = 0
        while hasattr(self.root, f"{prefix}{i}"):
            i += 1
        return f"{prefix}{i}"

    # --- arguments --------------------------------------------------------------------------------------------

    def _proxy_placeholder(self, name: str, concrete_args: Any, sig: inspect.Signature, fn_for_analysis: Callable) -> Any:
        key = name.lstrip("*")
        default: tuple = ()
        if not name.startswith("*") and key in sig.parameters and sig.parameters[key].default is not inspect.Parameter.empty:
            default = (sig.parameters[key].default,)
        if concrete_args is not None and name in concrete_args:
            count = 0

            def replace(x: Any) -> Any:
                nonlocal count
                count += 1
                out = self.create_proxy("placeholder", f"{name}_{count}", default, {})
                if isinstance(x, PHBase):
                    return out
                self._check_given(name, out, x)
                return x

            return nests.tree_map(replace, concrete_args[name])
        annotation = getattr_static(fn_for_analysis, "__annotations__").get(key)
        return self.create_proxy(
            "placeholder", name, default, {}, type_expr=annotation if not isinstance(annotation, str) else None
        )

    def _check_given(self, name: str, out: Proxy, value: Any) -> None:
        """Records a check that the caller gives the value again with which an argument was traced, where values can be compared."""
        message = f"{name} has been specialized to have value {value} but got another value"
        if value is None:
            self.create_proxy("call_function", _assert_is_none, (out, message), {})
        elif isinstance(value, (bool, int, float, str)):
            self.create_proxy("call_function", checks._assert, (out == value, message), {})
        else:
            warnings.warn(
                f"Was not able to add assertion to guarantee correct input {name} to specialized function. It is up to the user to make "
                "sure that your inputs match the inputs you specialized the function with.",
                stacklevel=2,
            )

    def create_args_for_root(
        self, root_fn: Callable, is_module: bool, concrete_args: dict[str, Any] | tuple | None = None
    ) -> tuple:
        """The function to call, and the proxies to call it with: one for each argument that ``concrete_args`` does not give."""
        analysed = inspect.unwrap(root_fn)
        code = analysed.__code__
        total = code.co_argcount + code.co_kwonlyargcount
        names = iter(code.co_varnames)
        args: list[Any] = []
        skip = 0
        if is_module:
            if total == 0:
                raise RuntimeError("``self`` argument cannot be part of *args expansion!")
            skip = 1
            next(names)
            args.append(self.root)
        sig = inspect.signature(analysed)
        if isinstance(concrete_args, tuple):
            if len(concrete_args) != total - skip:
                raise RuntimeError(
                    f"concrete_args must have the same number of elements as the function has arguments: expected {total - skip}, got {len(concrete_args)}"
                )
            concrete_args = dict(zip(code.co_varnames[skip:total], concrete_args, strict=True))
        names_of_args = [next(names) for _ in range(skip, total)]
        args += [self._proxy_placeholder(name, concrete_args, sig, analysed) for name in names_of_args]
        if code.co_kwonlyargcount > 0 or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
            if code.co_flags & inspect.CO_VARARGS:
                args.append(self._proxy_placeholder("*" + next(names), concrete_args, sig, analysed))
            if code.co_flags & inspect.CO_VARKEYWORDS:
                args.append(self._proxy_placeholder("**" + next(names), concrete_args, sig, analysed))
            root_fn = _without_stars(analysed, len(args))
        structure = nests.tree_structure(list(args[skip:]))
        if not all(child.is_leaf() for child in structure.children_specs):
            self.graph._codegen = _PyTreeCodeGen(
                _PyTreeInfo(["self", *names_of_args] if is_module else names_of_args, structure, None)
            )
        return root_fn, args

    # --- tracing ----------------------------------------------------------------------------------------------

    def trace(self, root: Module | Callable, concrete_args: dict[str, Any] | None = None) -> Graph:
        """The graph of a module's ``forward``, or of a function. ``concrete_args`` are values of arguments that are not traced."""
        global _tracing
        self.num_calls = {}
        self.module_stack = collections.OrderedDict()
        if isinstance(root, Module):
            fn: Any = getattr_static(type(root), self.traced_func_name)
            self.root = root
            self.root_module_name = root._get_name()
            self.submodule_paths = {mod: name for name, mod in root.named_modules()}
        else:
            self.root, fn = Module(), root
            if isinstance(fn, MethodType) or not isinstance(inspect.unwrap(fn), FunctionType):
                fn = _as_function(fn)
        self.graph = Graph(tracer_cls=type(self))
        self.tensor_attrs = self._tensors_of(self.root)
        patches = _Patcher()
        cache: dict[str, Any] = {}
        call, get = Module.__call__, Module.__getattr__
        before = _tracing
        try:
            fn, args = self.create_args_for_root(fn, isinstance(root, Module), concrete_args)

            def module_getattr(mod: Module, attr: str) -> Any:
                return self.getattr(attr, get(mod, attr), cache)

            def module_call(mod: Module, *args: Any, **kwargs: Any) -> Any:
                def forward(*args: Any, **kwargs: Any) -> Any:
                    return call(mod, *args, **kwargs)

                _autowrap_check(patches, getattr_static(mod.forward, "__globals__", {}), self._autowrap_function_ids)
                return self.call_module(mod, forward, args, kwargs)

            patches.attribute(Module, "__getattr__", module_getattr)
            patches.attribute(Module, "__call__", module_call)
            _patch_wrapped_functions(patches)
            _autowrap_check(patches, getattr_static(inspect.unwrap(fn), "__globals__", {}), self._autowrap_function_ids)
            for module in self._autowrap_search:
                _autowrap_check(patches, vars(module), self._autowrap_function_ids)
            _tracing += 1
            result = fn(*args)
            self.create_node("output", "output", (self.create_arg(result),), {}, type_expr=_annotation_of_result(fn))
        finally:
            _tracing = before
            patches.restore()
            self.submodule_paths = None
        return self.graph

    @staticmethod
    def _tensors_of(root: Module) -> dict[Any, str]:
        """The tensors that modules have as plain attributes, and their names."""
        found: dict[Any, str] = {}

        def collect(module: Module, prefix: list[str]) -> None:
            for name, value in module.__dict__.items():
                if isinstance(value, Tensor):
                    found[value] = ".".join([*prefix, name])
            for name, child in module.named_children():
                collect(child, [*prefix, name])

        collect(root, [])
        return found


def getattr_static(obj: Any, name: str, default: Any = None) -> Any:
    """``getattr``: in the class above it is a method."""
    found = getattr(obj, name, default)
    return {} if found is None and name == "__annotations__" else found


def _annotation_of_result(fn: Any) -> Any:
    found = getattr(fn, "__annotations__", {}).get("return", None)
    return None if isinstance(found, str) else found


def _assert_is_none(value: Any, message: str) -> None:
    """Refuses a value of an argument that was traced without one."""
    assert value is None, message


def _as_function(fn: Callable) -> FunctionType:
    """A function with the code of a method, or one that calls an object, or a function of the library, with the same arguments."""
    signature, target = inspect.signature(fn), fn
    names = []
    for p in signature.parameters.values():
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        names.append(p.name)
    call = ", ".join(names)
    scope: dict[str, Any] = {"_target": target}
    exec(f"def {getattr(fn, '__name__', 'forward')}({call}):\n    return _target({call})\n", scope)
    made = scope[getattr(fn, "__name__", "forward")]
    made.__defaults__ = tuple(p.default for p in signature.parameters.values() if p.default is not p.empty) or None
    made.__wrapped_target__ = target
    return made


def _without_stars(fn: Any, count: int) -> FunctionType:
    """``fn`` with ``*args`` and ``**kwargs`` as two plain arguments, so that they can be proxies."""
    code = fn.__code__
    flags = code.co_flags & ~(inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)
    made = FunctionType(
        code.replace(co_flags=flags, co_argcount=count, co_posonlyargcount=0, co_kwonlyargcount=0), fn.__globals__, fn.__name__,
        fn.__defaults__, fn.__closure__,
    )  # fmt: skip
    made.__annotations__ = dict(fn.__annotations__)
    return made


def symbolic_trace(root: Module | Callable, concrete_args: dict[str, Any] | tuple | None = None) -> GraphModule:
    """A :class:`GraphModule` that does what ``root``, a module or a function, did when it was called with proxies.

    >>> import flambeau as torch
    >>> class Net(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.linear = torch.nn.Linear(4, 5)
    ...     def forward(self, x):
    ...         return self.linear(x).clamp(min=0.0, max=1.0)
    >>> print(torch.fx.symbolic_trace(Net()).code.strip())
    def forward(self, x):
        linear = self.linear(x);  x = None
        clamp = linear.clamp(min = 0.0, max = 1.0);  linear = None
        return clamp

    Source: https://docs.pytorch.org/docs/stable/fx.html#torch.fx.symbolic_trace
    """
    tracer = Tracer()
    graph = tracer.trace(root, concrete_args)  # type: ignore[arg-type]
    name = type(root).__name__ if isinstance(root, Module) else getattr(root, "__name__", type(root).__name__)
    return GraphModule(tracer.root, graph, name)

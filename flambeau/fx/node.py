"""Nodes: the calls that a graph is made of."""

from __future__ import annotations

import builtins
import inspect
import operator
import types
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flambeau.fx.immutable_collections import immutable_dict, immutable_list

if TYPE_CHECKING:
    from flambeau.fx.graph import Graph

__all__ = ["Argument", "BaseArgumentTypes", "Node", "Target", "has_side_effect", "map_aggregate", "map_arg"]

Target = Any
Argument = Any
BaseArgumentTypes = Any

OPS = ("placeholder", "get_attr", "call_function", "call_module", "call_method", "output", "root")

_side_effectful: set[Callable] = {setattr, operator.setitem}


def has_side_effect(fn: Callable) -> Callable:
    """Says that calls of ``fn`` do something besides returning a result, so that they are not dead where nobody uses it."""
    _side_effectful.add(fn)
    return fn


def map_aggregate(a: Any, fn: Callable[[Any], Any]) -> Any:
    """``fn`` of every leaf of nested tuples, lists, dicts and slices; the lists and dicts of the result cannot be changed.

    >>> from flambeau.fx.node import map_aggregate
    >>> map_aggregate((1, [2, {"a": 3}]), lambda x: x * 10)
    (10, [20, {'a': 30}])
    """
    if isinstance(a, tuple):
        parts = [map_aggregate(x, fn) for x in a]
        return type(a)(*parts) if hasattr(a, "_fields") else tuple(parts)
    if isinstance(a, list):
        return immutable_list([map_aggregate(x, fn) for x in a])
    if isinstance(a, dict):
        return immutable_dict({k: map_aggregate(v, fn) for k, v in a.items()})
    if isinstance(a, slice):
        return slice(map_aggregate(a.start, fn), map_aggregate(a.stop, fn), map_aggregate(a.step, fn))
    return fn(a)


def map_arg(a: Any, fn: Callable[[Node], Any]) -> Any:
    """``fn`` of every node among arguments; what else there is stays."""
    return map_aggregate(a, lambda x: fn(x) if isinstance(x, Node) else x)


def _own_name(module: str) -> str:
    """The name that a module of flambeau's has for programs."""
    return "torch" + module[len("flambeau") :] if module == "flambeau" or module.startswith("flambeau.") else module


def _get_qualified_name(func: Callable) -> str:
    """The name by which code calls ``func``: ``torch.nn.functional.relu``."""
    name = getattr(func, "__name__", None)
    if name is None:
        return str(func)
    if getattr(builtins, name, None) is func:
        return name
    if isinstance(func, (types.MethodDescriptorType, types.WrapperDescriptorType)):
        return f"{func.__objclass__.__module__}.{func.__objclass__.__name__}.{name}"
    module = _own_name(getattr(func, "__module__", None) or "")
    name = getattr(func, "__qualname__", name) if isinstance(func, type) else name
    return f"{module}.{name}" if module else name


def _type_repr(obj: Any) -> str:
    """The text of a type in code."""
    if isinstance(obj, type) and not isinstance(obj, types.GenericAlias):
        module = _own_name(obj.__module__)
        return obj.__qualname__ if module == "builtins" else f"{module}.{obj.__qualname__}"
    if obj is ...:
        return "..."
    if isinstance(obj, types.FunctionType):
        return obj.__name__
    return repr(obj)


class Node:
    """One call, argument or result of a :class:`Graph`.

    ``op`` is one of ``placeholder`` (an argument), ``get_attr`` (a parameter, or what else the root module has), ``call_function``,
    ``call_module``, ``call_method`` and ``output``; ``target`` says of which; ``args`` and ``kwargs`` are its arguments, in which
    other nodes stand for their results. ``users`` are the nodes that use this one, ``meta`` is for passes to write into.

    >>> import flambeau as torch
    >>> graph = torch.fx.symbolic_trace(torch.relu).graph
    >>> [(node.op, node.name) for node in graph.nodes]
    [('placeholder', 'input_1'), ('call_function', 'relu'), ('output', 'output')]

    Source: https://docs.pytorch.org/docs/stable/fx.html#torch.fx.Node
    """

    def __init__(
        self, graph: Graph, name: str, op: str, target: Target, args: tuple, kwargs: dict, return_type: Any | None = None
    ) -> None:
        if op not in OPS:
            raise AssertionError(f"{op!r} is no op of a node; ops are {', '.join(OPS)}")
        if op == "call_function" and not callable(target):
            raise ValueError(
                f"Node [graph = {graph}, name = '{name}'] target {target} has type {type(target)} but a Callable is expected"
            )
        if op not in ("call_function", "root") and not isinstance(target, str):
            raise ValueError(
                f"Node [graph = {graph}, name = '{name}'] target {target} has type {type(target)} but a str is expected"
            )
        self.graph, self.name, self.op, self.target, self.type = graph, name, op, target, return_type
        self._input_nodes: dict[Node, None] = {}
        self.users: dict[Node, None] = {}
        self._args: tuple = ()
        self._kwargs: dict = {}
        self._prev = self._next = self
        self._erased = False
        self._repr_fn: Callable[[Node], str] | None = None
        self.meta: dict[str, Any] = {}
        self._set_arguments(args, kwargs)

    # --- its place ---------------------------------------------------------------------------------------------

    @property
    def next(self) -> Node:
        """The node behind it."""
        return self._next

    @property
    def prev(self) -> Node:
        """The node before it."""
        return self._prev

    def prepend(self, x: Node) -> None:
        """Moves ``x``, a node of the same graph, in front of this one."""
        if self.graph is not x.graph:
            raise AssertionError("Attempting to move a Node into a different Graph")
        if self is x:
            return
        x._leave()
        p = self._prev
        p._next, x._prev, x._next, self._prev = x, p, self, x

    def append(self, x: Node) -> None:
        """Moves ``x`` behind this one."""
        self._next.prepend(x)

    def _leave(self) -> None:
        p, n = self._prev, self._next
        p._next, n._prev = n, p

    _remove_from_list = _leave

    def _place(self) -> int:
        return next(i for i, node in enumerate(self.graph.nodes) if node is self)

    def __lt__(self, other: Node) -> bool:
        return self._place() < other._place()

    def __gt__(self, other: Node) -> bool:
        return self._place() > other._place()

    def __le__(self, other: Node) -> bool:
        return self is other or self < other

    def __ge__(self, other: Node) -> bool:
        return self is other or self > other

    # --- its arguments -----------------------------------------------------------------------------------------

    def _set_arguments(self, args: Any, kwargs: Any) -> None:
        def use(node: Node) -> Node:
            self._input_nodes.setdefault(node)
            node.users.setdefault(self)
            return node

        for old in self._input_nodes:
            old.users.pop(self, None)
        self._input_nodes = {}
        self._args, self._kwargs = map_arg(args, use), map_arg(kwargs, use)

    @property
    def args(self) -> tuple:
        """The positional arguments; assign a new tuple to change them."""
        return self._args

    @args.setter
    def args(self, a: Iterable[Any]) -> None:
        self._set_arguments(tuple(a), self._kwargs)

    @property
    def kwargs(self) -> dict:
        """The keyword arguments; assign a new dict to change them."""
        return self._kwargs

    @kwargs.setter
    def kwargs(self, k: dict) -> None:
        self._set_arguments(self._args, k)

    @property
    def all_input_nodes(self) -> list[Node]:
        """The nodes among the arguments, each once."""
        return list(self._input_nodes)

    def update_arg(self, idx: int, arg: Any) -> None:
        """Replaces one positional argument."""
        args = list(self.args)
        args[idx] = arg
        self.args = tuple(args)

    def update_kwarg(self, key: str, arg: Any) -> None:
        """Replaces one keyword argument."""
        self.kwargs = {**self.kwargs, key: arg}

    def insert_arg(self, idx: int, arg: Any) -> None:
        """Puts one more positional argument at ``idx``."""
        if not 0 <= idx <= len(self.args):
            raise AssertionError("insert_args index must be between 0 and len(self.args)")
        self.args = (*self.args[:idx], arg, *self.args[idx:])

    def replace_input_with(self, old_input: Node, new_input: Node) -> None:
        """Puts ``new_input`` wherever ``old_input`` is among the arguments."""

        def put(node: Node) -> Node:
            return new_input if node is old_input else node

        self._set_arguments(map_arg(self.args, put), map_arg(self.kwargs, put))

    def replace_all_uses_with(
        self, replace_with: Node, delete_user_cb: Callable[[Node], bool] = lambda user: True, *, propagate_meta: bool = False
    ) -> list[Node]:
        """Lets the nodes that use this one use ``replace_with``; returns them. ``delete_user_cb`` says for which users."""
        if propagate_meta:
            if replace_with.meta:
                raise AssertionError(
                    "Called node.replace_all_uses_with(replace_with, propagate_meta=True), but replace_with already has .meta keys"
                )
            replace_with.meta = dict(self.meta)
        changed = []
        for user in list(self.users):
            if delete_user_cb(user):
                user.replace_input_with(self, replace_with)
                changed.append(user)
        return changed

    def is_impure(self, impure_random: bool = True) -> bool:
        """Whether the call does more than returning a result, so that it may not be left out where nobody uses that."""
        if self.op in ("placeholder", "output"):
            return True
        if self.op == "call_function":
            return (
                self.target in _side_effectful
                or getattr(self.target, "__name__", "").endswith("_")
                and not getattr(self.target, "__name__", "").endswith("__")
            )
        if self.op == "call_module":
            if self.graph.owning_module is None:
                raise AssertionError("self.graph.owning_module not set for purity check")
            module = self.graph.owning_module.get_submodule(self.target)
            return getattr(module, "_is_impure", False)
        return self.op == "call_method" and self.target.endswith("_") and not self.target.endswith("__")

    def normalized_arguments(
        self, root: Any, arg_types: Any = None, kwarg_types: Any = None, normalize_to_only_use_kwargs: bool = False
    ) -> Any:
        """The arguments by the names that the called function or module gives them: ``(args, kwargs)``; ``None`` where it does not
        say.

        With ``normalize_to_only_use_kwargs`` all of them by name.
        """
        if self.op == "call_function":
            target: Any = getattr(self.target, "__wrapped__", self.target)
        elif self.op == "call_module":
            target = root.get_submodule(self.target).forward
        else:
            return None
        try:
            bound = inspect.signature(target).bind(*self.args, **self.kwargs)
        except (TypeError, ValueError):
            return None
        bound.apply_defaults()
        kinds = {p.kind for p in inspect.signature(target).parameters.values()}
        if kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}:
            return ArgsKwargsPair(self.args, self.kwargs)
        if normalize_to_only_use_kwargs:
            return ArgsKwargsPair((), dict(bound.arguments))
        n = len(self.args)
        names = list(bound.arguments)
        return ArgsKwargsPair(tuple(bound.arguments[k] for k in names[:n]), {k: bound.arguments[k] for k in names[n:]})

    # --- its text ----------------------------------------------------------------------------------------------

    @property
    def stack_trace(self) -> str | None:
        """Where in the program the call was, if the tracer was told to note it."""
        return self.meta.get("stack_trace")

    @stack_trace.setter
    def stack_trace(self, trace: str | None) -> None:
        self.meta["stack_trace"] = trace

    def __repr__(self) -> str:
        return self._repr_fn(self) if self._repr_fn else self.name

    def _pretty_print_target(self, target: Any) -> str:
        if isinstance(target, str):
            return target
        if getattr(target, "__module__", None) in ("_operator", "builtins"):
            return f"{target.__module__.lstrip('_')}.{target.__name__}"
        return _get_qualified_name(target)

    def format_node(
        self,
        placeholder_names: list[str] | None = None,
        maybe_return_typename: list[str] | None = None,
        *,
        include_tensor_metadata: bool = False,
    ) -> str | None:
        """The text of the node in that of a graph; names of arguments go into ``placeholder_names`` where that is given."""
        if self.op == "placeholder":
            name = str(self.target) + (f": {_type_repr(self.type)}" if self.type else " ")
            if placeholder_names:
                placeholder_names.append(name)
                return None
            default = "(default=" + repr(self.args[0]) + ")" if self.args else ""
            text = f"{_type_repr(self.type)} " if self.type else ""
            return f"%{self.name} : {text}[num_users={len(self.users)}] = {self.op}[target={self.target}]{default}"
        text = f"{_type_repr(self.type)} " if self.type else ""
        if self.op == "get_attr":
            return (
                f"%{self.name} : {text}[num_users={len(self.users)}] = {self.op}[target={self._pretty_print_target(self.target)}]"
            )
        if self.op == "output":
            if self.type and maybe_return_typename:
                maybe_return_typename[0] = f" -> {_type_repr(self.type)}"
            return f"return {self.args[0]}"
        return (
            f"%{self.name} : {text}[num_users={len(self.users)}] = {self.op}[target={self._pretty_print_target(self.target)}]"
            f"(args = {_format_arg(self.args)}, kwargs = {_format_arg(self.kwargs)})"
        )


class ArgsKwargsPair(tuple):
    """``args`` and ``kwargs`` of a call."""

    def __new__(cls, args: tuple, kwargs: dict) -> ArgsKwargsPair:
        return super().__new__(cls, (args, kwargs))

    args = property(lambda self: self[0])
    kwargs = property(lambda self: self[1])


def _format_arg(arg: Any) -> str:
    """The text of an argument, in which nodes have a ``%`` before their names."""
    if hasattr(arg, "_custom_fx_repr_fn"):
        return arg._custom_fx_repr_fn()
    if isinstance(arg, list):
        return "[" + ", ".join([_format_arg(a) for a in arg]) + "]"
    if isinstance(arg, tuple):
        return "(" + ", ".join([_format_arg(a) for a in arg]) + ("," if len(arg) == 1 else "") + ")"
    if isinstance(arg, dict):
        return "{" + ", ".join([f"{k}: {_format_arg(v)}" for k, v in arg.items()]) + "}"
    return "%" + str(arg) if isinstance(arg, Node) else str(arg)

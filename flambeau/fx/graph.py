"""Graphs: calls in the order in which they are made."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.fx.codegen import CodeGen, Namespace, PythonCode, _PyTreeCodeGen, _PyTreeInfo
from flambeau.fx.node import Node, map_arg

__all__ = ["CodeGen", "Graph", "PythonCode", "_PyTreeCodeGen", "_PyTreeInfo"]


def _snake_case(s: str) -> str:
    """``Linear`` -> ``linear``, ``BatchNorm2d`` -> ``batch_norm2d``."""
    return re.sub(r"(?<!^)(?<![A-Z_])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", s).lower()


class _node_list:
    """The nodes of a graph in order, or from the last to the first; they may be erased meanwhile."""

    def __init__(self, graph: Graph, direction: str = "_next") -> None:
        self.graph, self.direction = graph, direction

    def __len__(self) -> int:
        return self.graph._len

    def __iter__(self) -> Iterator[Node]:
        root = self.graph._root
        node = getattr(root, self.direction)
        while node is not root:
            if not node._erased:
                yield node
            node = getattr(node, self.direction)

    def __reversed__(self) -> _node_list:
        return _node_list(self.graph, "_prev" if self.direction == "_next" else "_next")


class _InsertPoint:
    """Where nodes are put, until the end of a ``with``."""

    def __init__(self, graph: Graph, new: Callable[[Node], None]) -> None:
        self.graph, self.before = graph, graph._insert
        graph._insert = new

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: Any) -> None:
        self.graph._insert = self.before


class Graph:
    """Calls in the order in which they are made: arguments, calls of functions, methods and modules, and one result.

    >>> import flambeau as torch
    >>> graph = torch.fx.Graph()
    >>> x = graph.placeholder("x")
    >>> y = graph.call_function(torch.relu, (x,))
    >>> _ = graph.output(y)
    >>> print(graph)
    graph():
        %x : [num_users=1] = placeholder[target=x]
        %relu : [num_users=1] = call_function[target=torch.relu](args = (%x,), kwargs = {})
        return relu
    >>> torch.fx.GraphModule(torch.nn.Module(), graph)(torch.tensor([-1.0, 2.0]))
    tensor([0., 2.])

    Source: https://docs.pytorch.org/docs/stable/fx.html#torch.fx.Graph
    """

    def __init__(
        self, owning_module: Any = None, tracer_cls: type | None = None, tracer_extras: dict[str, Any] | None = None
    ) -> None:
        self._root = Node(self, "", "root", "", (), {})
        self._insert: Callable[[Node], None] = self._root.prepend
        self._len = 0
        self._graph_namespace = Namespace()
        self._owning_module = owning_module
        self._tracer_cls, self._tracer_extras = tracer_cls, tracer_extras
        self._codegen = CodeGen()
        self._co_fields: dict[str, Any] = {}

    @property
    def owning_module(self) -> Any:
        """The GraphModule that the graph belongs to."""
        return self._owning_module

    @owning_module.setter
    def owning_module(self, mod: Any) -> None:
        self._owning_module = mod

    @property
    def nodes(self) -> _node_list:
        """The nodes in order."""
        return _node_list(self)

    def find_nodes(self, *, op: str, target: Any = None, sort: bool = True) -> list[Node]:
        """The nodes with an op, and a target where one is given."""
        if op == "call_function" and target is None:
            raise AssertionError("find_nodes(op='call_function') needs a target")
        return [n for n in self.nodes if n.op == op and (target is None or n.target == target)]

    def output_node(self) -> Node:
        """The node of the result."""
        return next(n for n in reversed(self.nodes) if n.op == "output")

    # --- making nodes -----------------------------------------------------------------------------------------

    def create_node(
        self,
        op: str,
        target: Any,
        args: tuple | None = None,
        kwargs: dict | None = None,
        name: str | None = None,
        type_expr: Any = None,
    ) -> Node:
        """Makes a node and puts it where nodes are inserted: at the end, unless inside of :meth:`inserting_before` or its like."""
        args, kwargs = () if args is None else args, {} if kwargs is None else kwargs
        if not isinstance(args, tuple):
            raise AssertionError("args must be a tuple")
        if not isinstance(kwargs, dict):
            raise AssertionError("kwargs must be a dict")
        free = self._graph_namespace.create_name(name or self._target_to_str(target), None)
        node = Node(self, free, op, target, args, kwargs, type_expr)
        self._graph_namespace.associate_name_with_obj(free, node)
        self._insert(node)
        self._len += 1
        return node

    def _target_to_str(self, target: Any) -> str:
        name = target if isinstance(target, str) else getattr(target, "__name__", type(target).__name__)
        if (
            isinstance(target, str)
            and name.startswith("__")
            and name.endswith("__")
            or not isinstance(target, str)
            and name.startswith("__")
            and name.endswith("__")
        ):
            name = name[2:-2]
        return _snake_case(name)

    def placeholder(self, name: str, type_expr: Any = None, default_value: Any = ...) -> Node:
        """An argument."""
        return self.create_node("placeholder", name, () if default_value is ... else (default_value,), {}, type_expr=type_expr)

    def get_attr(self, qualified_name: str, type_expr: Any = None) -> Node:
        """A parameter, or what else the root module has, such as ``layer.weight``."""
        return self.create_node("get_attr", qualified_name, (), {}, type_expr=type_expr)

    def call_module(self, module_name: str, args: tuple | None = None, kwargs: dict | None = None, type_expr: Any = None) -> Node:
        """A call of a submodule of the root module."""
        return self.create_node("call_module", module_name, args, kwargs, type_expr=type_expr)

    def call_method(self, method_name: str, args: tuple | None = None, kwargs: dict | None = None, type_expr: Any = None) -> Node:
        """A call of a method of the first of ``args``."""
        return self.create_node("call_method", method_name, args, kwargs, type_expr=type_expr)

    def call_function(
        self,
        the_function: Callable,
        args: tuple | None = None,
        kwargs: dict | None = None,
        type_expr: Any = None,
        name: str | None = None,
    ) -> Node:
        """A call of a function."""
        return self.create_node("call_function", the_function, args, kwargs, name=name, type_expr=type_expr)

    def output(self, result: Any, type_expr: Any = None) -> Node:
        """The result."""
        return self.create_node("output", "output", (result,), {}, type_expr=type_expr)

    def node_copy(self, node: Node, arg_transform: Callable[[Node], Any] = lambda x: x) -> Node:
        """A copy of another graph's node; ``arg_transform`` gives the nodes here for those that are its arguments there."""
        args, kwargs = map_arg(node.args, arg_transform), map_arg(node.kwargs, arg_transform)
        copied = self.create_node(node.op, node.target, args, kwargs, node.name, node.type)
        copied.meta = dict(node.meta)
        return copied

    def graph_copy(self, g: Graph, val_map: dict[Node, Any], return_output_node: bool = False) -> Any:
        """Copies all nodes of ``g`` but its output to where nodes are inserted; returns what the output would be."""
        for node in g.nodes:
            if node in val_map:
                continue
            if node.op == "output":
                result = map_arg(node.args[0], lambda n: val_map[n])
                return (result, node) if return_output_node else result
            val_map[node] = self.node_copy(node, lambda n: val_map[n])
        return None

    def __deepcopy__(self, memo: dict | None = None) -> Graph:
        memo = {} if memo is None else memo
        copied = Graph(tracer_cls=self._tracer_cls, tracer_extras=self._tracer_extras)
        copied._codegen = self._codegen
        values: dict[Node, Any] = {}
        result = copied.graph_copy(self, values, return_output_node=True)
        if result is not None:
            value, old = result
            node = copied.output(value, type_expr=old.type)
            node.meta = dict(old.meta)
            values[old] = node
        memo[id(self)] = copied
        return copied

    # --- changing the graph -----------------------------------------------------------------------------------

    def inserting_before(self, n: Node | None = None) -> _InsertPoint:
        """Puts nodes in front of ``n``, or at the beginning, until the end of the ``with``.

        >>> import flambeau as torch
        >>> traced = torch.fx.symbolic_trace(torch.relu)
        >>> relu = next(n for n in traced.graph.nodes if n.name == "relu")
        >>> with traced.graph.inserting_before(relu):
        ...     relu.args = (traced.graph.call_method("neg", relu.args),)
        >>> traced.recompile().src.splitlines()[4:6]
        ['    input_1 = input', '    neg = input_1.neg();  input_1 = None']
        """
        if n is None:
            return self.inserting_after(self._root)
        self._check_own(n)
        return _InsertPoint(self, n.prepend)

    def inserting_after(self, n: Node | None = None) -> _InsertPoint:
        """Puts nodes behind ``n``, or at the end, until the end of the ``with``."""
        if n is None:
            return _InsertPoint(self, self._root.prepend)
        self._check_own(n)
        place = n

        def insert(node: Node) -> None:
            nonlocal place
            place.append(node)
            place = node

        return _InsertPoint(self, insert)

    def _check_own(self, n: Node) -> None:
        if n.graph is not self:
            raise AssertionError("Node to insert at is not in graph.")

    def erase_node(self, to_erase: Node) -> None:
        """Takes a node out of the graph; ``RuntimeError`` where another uses it."""
        if to_erase.users:
            raise RuntimeError(
                f"Tried to erase Node {to_erase} but it still had {len(to_erase.users)} users in the graph: {to_erase.users}!"
            )
        if to_erase.graph is not self:
            raise RuntimeError(f"Attempting to remove {to_erase} from wrong graph!")
        if to_erase._erased:
            return
        to_erase._leave()
        to_erase._erased = True
        self._len -= 1
        to_erase._set_arguments((), {})

    def eliminate_dead_code(self, is_impure_node: Callable[[Node], bool] | None = None) -> bool:
        """Takes out calls whose results nobody uses; says whether there were some.

        >>> import flambeau as torch
        >>> def f(x):
        ...     x.exp()
        ...     return x + 1
        >>> graph = torch.fx.symbolic_trace(f).graph
        >>> graph.eliminate_dead_code(), [node.name for node in graph.nodes]
        (True, ['x', 'add', 'output'])
        """
        self.lint()
        impure = is_impure_node or (lambda node: node.is_impure())
        changed = False
        for node in reversed(self.nodes):
            if not node.users and not impure(node):
                self.erase_node(node)
                changed = True
        return changed

    def process_inputs(self, *args: Any) -> Any:
        return self._codegen.process_inputs(*args)

    def process_outputs(self, out: Any) -> Any:
        return self._codegen.process_outputs(out)

    # --- code and text ----------------------------------------------------------------------------------------

    def python_code(self, root_module: str, *, verbose: bool = False, **settings: Any) -> PythonCode:
        """The graph as a function ``forward``; ``root_module`` is what the code calls the module.

        >>> import flambeau as torch
        >>> print(torch.fx.symbolic_trace(lambda x: torch.relu(x) + 1).graph.python_code("self").src.strip())
        def forward(self, x):
            relu = torch.relu(x);  x = None
            add = relu + 1;  relu = None
            return add
        """
        namespace = Namespace()
        with self._override_repr(namespace):
            return self._codegen._gen_python_code(self.nodes, root_module, namespace, verbose=verbose)

    @contextmanager
    def _override_repr(self, namespace: Namespace) -> Iterator[None]:
        """Lets nodes have names that are free in the code."""
        before = {node: node._repr_fn for node in self.nodes}
        for node in before:
            node._repr_fn = lambda n: namespace.create_name(n.name, n)
        try:
            yield
        finally:
            for node, text in before.items():
                node._repr_fn = text

    def set_codegen(self, codegen: CodeGen) -> None:
        """Writes code in another way."""
        self._codegen = codegen

    def on_generate_code(self, make_transformer: Callable) -> Any:
        """Changes the lines of the code: ``make_transformer(the transformer before, or None)`` returns a function of lines."""
        before = self._codegen._body_transformer
        self._codegen._body_transformer = make_transformer(before)

        @contextmanager
        def restored() -> Iterator[None]:
            try:
                yield
            finally:
                self._codegen._body_transformer = before

        return restored()

    def __str__(self) -> str:
        names: list[str] = []
        returned = [""]
        lines = [text for node in self.nodes if (text := node.format_node(names, returned)) is not None]
        return f"graph({', '.join(names)}){returned[0]}:" + "".join("\n    " + line for line in lines)

    def print_tabular(self) -> None:
        """Prints the nodes as a table; needs the package ``tabulate``."""
        try:
            from tabulate import tabulate
        except ImportError:
            print(
                "`print_tabular` relies on the library `tabulate`, which could not be found on this machine. Run `pip install tabulate` to install the library."
            )
            raise
        rows = [[n.op, n.name, n.target, n.args, n.kwargs] for n in self.nodes]
        print(tabulate(rows, headers=["opcode", "name", "target", "args", "kwargs"]))

    def lint(self) -> None:
        """Raises ``RuntimeError`` where the graph is not sound: a node is used before its place, names or targets are not there."""
        names: set[str] = set()
        seen: set[Node] = set()

        for node in self.nodes:
            if node.graph is not self:
                raise RuntimeError(f"Node '{node}' does not belong to this Graph!")
            for used in node._input_nodes:
                if used.graph is not self:
                    raise RuntimeError(
                        f"Argument '{used}' of Node '{node}' does not belong to this Graph, but was used as an argument! If you are copying nodes from another graph, make sure to use ``arg_transform`` on node_copy() to remap values\n{self}"
                    )
                if used not in seen:
                    raise RuntimeError(
                        f"Argument '{used}' of Node '{node}' was used before it has been defined! Please check that Nodes in the graph are topologically ordered\n{self}"
                    )
            seen.add(node)
            if node.name in names:
                raise RuntimeError(f"Node redefined name {node.name}!")
            names.add(node.name)
        if self.owning_module is None:
            return
        for node in self.nodes:
            if node.op not in ("get_attr", "call_module"):
                continue
            place = self.owning_module
            for part in node.target.split("."):
                if not hasattr(place, part):
                    raise RuntimeError(
                        f"Node {node} target {node.target} references nonexistent attribute {part} of {type(place).__name__}"
                    )
                place = getattr(place, part)
            if node.op == "call_module" and not callable(place):
                raise RuntimeError(f"Node {node} target {node.target} does not reference an nn.Module")

"""From the straight line of calls that a trace wrote down to a graph."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from flambeau.fx.graph import Graph
from flambeau.fx.node import Node
from flambeau.jit.operators import find_operator

__all__ = ["graph_of"]

_BINARY: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_VALUES = {"ops.flambeau.dtype", "ops.flambeau.format", "ops.flambeau.device", "ops.flambeau.slice"}
"""Calls that make settings, not values of the program."""


class _Converter:
    def __init__(self, graph: Graph, found: Callable[[str], Any]) -> None:
        self.graph, self.found = graph, found
        self.nodes: dict[str, Any] = {}
        self.texts: dict[str, Any] = {}

    def statement(self, s: ast.stmt) -> Any:
        if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name):
            self.nodes[s.targets[0].id] = self.value(s.value)
            return None
        if isinstance(s, ast.Expr):
            self.value(s.value)
            return None
        if isinstance(s, ast.Return) and s.value is not None:
            return (self.value(s.value),)
        raise RuntimeError(f"a {type(s).__name__} in a trace")

    def once(self, e: ast.expr, make: Callable[[], Any]) -> Any:
        """The node for an expression, one for all places where it stands."""
        text = ast.unparse(e)
        if text not in self.texts:
            self.texts[text] = make()
        return self.texts[text]

    def value(self, e: ast.expr) -> Any:
        if isinstance(e, ast.Constant):
            return e.value
        if isinstance(e, ast.Name):
            if e.id in ("inf", "nan"):
                return float(e.id)
            return self.nodes[e.id] if e.id in self.nodes else self.found(e.id)
        if isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.USub):
            return -self.value(e.operand)
        if isinstance(e, ast.Tuple):
            return tuple(self.value(x) for x in e.elts)
        if isinstance(e, ast.List):
            return [self.value(x) for x in e.elts]
        if isinstance(e, ast.Dict):
            return {self.value(k): self.value(v) for k, v in zip(e.keys, e.values) if k is not None}
        if isinstance(e, ast.BinOp):
            return self.once(e, lambda: self.graph.call_function(_BINARY[type(e.op)], (self.value(e.left), self.value(e.right))))
        if isinstance(e, ast.Attribute):
            return self.found(ast.unparse(e))
        if isinstance(e, ast.Subscript):
            inside = self.value(e.value)
            if not isinstance(inside, Node):
                return inside[self.value(e.slice)]
            return self.once(e, lambda: self.graph.call_function(operator.getitem, (inside, self.value(e.slice))))
        if isinstance(e, ast.Call):
            return self.call(e)
        raise RuntimeError(f"a {type(e).__name__} in a trace")

    def call(self, e: ast.Call) -> Any:
        path = ast.unparse(e.func)
        if path == "getattr":
            return self.found(ast.unparse(e))
        args = [self.value(a) for a in e.args]
        if path == "complex":
            return complex(*args)
        function = find_operator(path)
        if path == "ops.flambeau.slice":
            return slice(*args)
        if path in _VALUES:
            return function(*args)
        if path == "ops.flambeau.size":
            return self.once(e, lambda: self.graph.call_function(_size_of, tuple(args), name="sym_size_int"))
        kwargs = {str(k.arg): self.value(k.value) for k in e.keywords}
        name = path.rpartition(".")[2]
        if path == "ops.flambeau.getitem":
            function, name = operator.getitem, "getitem"
        return self.graph.call_function(function, tuple(args), kwargs, name=name)


def _size_of(x: Any, dim: int) -> int:
    """One size of a tensor."""
    return x.size(dim)  # type: ignore[no-any-return]


_size_of.__name__ = _size_of.__qualname__ = "sym_size"


def graph_of(source: str, graph: Graph, found: Callable[[str], Any]) -> tuple[Any, dict[str, Any]]:
    """Puts the calls of a trace into a graph; the value that it returns, and the nodes by the names in the code.

    ``found`` gives the node for a name that is no result: an argument, ``self.weight``, or ``CONSTANTS.c0``.
    """
    code = ast.parse(source).body[0]
    assert isinstance(code, ast.FunctionDef)
    converter = _Converter(graph, found)
    returned: Any = None
    for s in code.body:
        result = converter.statement(s)
        if result is not None:
            returned = result[0]
    return returned, converter.nodes

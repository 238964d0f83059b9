"""What passes have in common: names of nodes' targets, and nodes by the tensors that they use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node, _get_qualified_name

__all__ = [
    "CALLABLE_NODE_OPS",
    "NodeList",
    "NodeSet",
    "get_acc_ops_name",
    "get_node_target",
    "is_node_output_tensor",
    "legalize_graph",
]

NodeList = list[Node]
NodeSet = set[Node]
CALLABLE_NODE_OPS = {"call_module", "call_function", "call_method"}


def get_node_target(submodules: Any, node: Node) -> str:
    """The name of what a node calls: of a module its type, of a function its full name."""
    if node.op not in CALLABLE_NODE_OPS:
        raise AssertionError("Expect op types of " + ", ".join(sorted(CALLABLE_NODE_OPS)) + f", but found {node.op}")
    if node.op == "call_module":
        module = submodules[node.target]
        return f"{type(module).__module__}.{type(module).__name__}".replace("flambeau.", "torch.")
    if node.op == "call_function":
        return _get_qualified_name(node.target)
    return str(node.target)


def get_acc_ops_name(k: Any) -> str:
    return k if isinstance(k, str) else _get_qualified_name(k)


def is_node_output_tensor(node: Node) -> bool:
    """Whether a node's value is a tensor, as far as :class:`~flambeau.fx.passes.shape_prop.ShapeProp` has noted."""
    from flambeau.tensor import Tensor

    kind = node.meta.get("type")
    return kind is not None and issubclass(kind, Tensor)


def legalize_graph(gm: GraphModule) -> GraphModule:
    """Puts the nodes of a graph in an order in which each comes behind those that it uses; raises where there is none."""
    done: set[Node] = set()
    left: list[Node] = list(gm.graph.nodes)
    root = gm.graph._root
    while left:
        ready = [n for n in left if _all_in(n.all_input_nodes, done)]
        if not ready:
            raise RuntimeError(f"Input graph has cycles, unable to add {[n.name for n in left]}")
        for node in ready:
            root.prepend(node)
            done.add(node)
        left = [n for n in left if n not in done]
    output = gm.graph.output_node()
    root.prepend(output)
    gm.recompile()
    return gm


def _all_in(nodes: Iterable[Node], done: set[Node]) -> bool:
    return all(n in done for n in nodes)

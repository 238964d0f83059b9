"""Pictures of graphs, by the package ``pydot``."""

from __future__ import annotations

from typing import Any

from flambeau.fx.graph_module import GraphModule

__all__ = ["FxGraphDrawer"]


class FxGraphDrawer:
    """Draws a GraphModule; :meth:`get_dot_graph` returns an object of ``pydot``, which must be installed.

    Source: https://docs.pytorch.org/docs/stable/fx.html
    """

    def __init__(self, graph_module: GraphModule, name: str, **settings: Any) -> None:
        try:
            import pydot
        except ImportError as error:
            raise RuntimeError(
                "FXGraphDrawer requires the pydot package to be installed. Please install pydot through your favorite Python package manager."
            ) from error
        self._dot = pydot.Dot(name, rankdir="TB")
        for node in graph_module.graph.nodes:
            label = f"{{name={node.name}|op_code={node.op}|target={node._pretty_print_target(node.target)}|num_users={len(node.users)}}}"
            for bracket in "<>":
                label = label.replace(bracket, "\\" + bracket)
            self._dot.add_node(pydot.Node(node.name, label=f'"{label}"', shape="record"))
            for used in node.all_input_nodes:
                self._dot.add_edge(pydot.Edge(used.name, node.name))

    def get_dot_graph(self, submod_name: str | None = None) -> Any:
        """The picture, as an object of ``pydot``."""
        return self._dot

    get_main_dot_graph = get_dot_graph

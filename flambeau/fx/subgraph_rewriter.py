"""Replacing patterns in graphs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from flambeau.fx._symbolic_trace import symbolic_trace
from flambeau.fx.graph import Graph
from flambeau.fx.graph_module import GraphModule
from flambeau.fx.node import Node
from flambeau.fx.passes.utils.matcher_utils import SubgraphMatcher
from flambeau.nn.modules.module import Module

__all__ = ["Match", "ReplacedPatterns", "replace_pattern", "replace_pattern_with_filters"]


class Match(NamedTuple):
    """Where a pattern was found: the last node of it, and the node of the graph for each node of the pattern."""

    anchor: Node
    nodes_map: dict[Node, Node]


@dataclass
class ReplacedPatterns:
    """As :class:`Match`, with the nodes that were put in its place."""

    anchor: Node
    nodes_map: dict[Node, Node]
    replacements: list[Node] = field(default_factory=list)


def replace_pattern(gm: GraphModule, pattern: Callable | GraphModule, replacement: Callable | GraphModule) -> list[Match]:
    """Replaces every place where ``gm`` does what ``pattern`` does by ``replacement``; both are functions or traced modules.

    Places that overlap with an earlier one are left as they are. Returns the places.

    >>> import flambeau as torch
    >>> traced = torch.fx.symbolic_trace(lambda x: torch.relu(x) + torch.relu(x * 2))
    >>> len(torch.fx.replace_pattern(traced, lambda a: torch.relu(a), lambda a: torch.sigmoid(a)))
    2
    >>> traced(torch.zeros(1))
    tensor([1.])

    Source: https://docs.pytorch.org/docs/stable/fx.html#torch.fx.replace_pattern
    """
    return [Match(anchor=m.anchor, nodes_map=m.nodes_map) for m in _replace(gm, pattern, replacement)]


def replace_pattern_with_filters(
    gm: GraphModule, pattern: Any, replacement: Any = None, match_filters: list[Callable] | None = None, ignore_literals: bool = False,
    replacement_callback: Callable | None = None, node_name_match: str = "",
) -> list[ReplacedPatterns]:  # fmt: skip
    """As :func:`replace_pattern`, where all of ``match_filters`` (of the match, the graph and the pattern) say True."""
    return _replace(gm, pattern, replacement, match_filters, ignore_literals, replacement_callback)


def _graph_of(pattern: Any) -> Graph:
    if isinstance(pattern, GraphModule):
        return pattern.graph
    return pattern if isinstance(pattern, Graph) else symbolic_trace(pattern).graph


def _replace(
    gm: GraphModule, pattern: Any, replacement: Any, match_filters: list[Callable] | None = None, ignore_literals: bool = False,
    replacement_callback: Callable | None = None,
) -> list[ReplacedPatterns]:  # fmt: skip
    wanted, graph = _graph_of(pattern), gm.graph
    matches = SubgraphMatcher(
        wanted, match_output=False, match_placeholder=False, remove_overlapping_matches=True, ignore_literals=ignore_literals
    ).match(graph)
    matches = [m for m in matches if all(f(m, graph, wanted) for f in match_filters or [])]
    ready = _graph_of(replacement) if replacement_callback is None else None
    replaced: list[ReplacedPatterns] = []
    put: dict[Node, Node] = {}
    for match in matches:
        put_in = ready if ready is not None else replacement_callback(match, graph, wanted)  # type: ignore[misc]
        new_inputs = [n for n in put_in.nodes if n.op == "placeholder"]
        if len(new_inputs) != len(match.placeholder_nodes):
            raise AssertionError(f"the pattern has {len(match.placeholder_nodes)} arguments, the replacement {len(new_inputs)}")
        values: dict[Node, Any] = {}
        for new, given in zip(new_inputs, match.placeholder_nodes, strict=True):
            values[new] = put.get(given, given) if isinstance(given, Node) else given
        returned = set(match.returning_nodes)
        inside = {match.nodes_map[n] for n in wanted.nodes if n.op not in ("placeholder", "output") and n in match.nodes_map}
        first_user = next((n for n in graph.nodes if n not in inside and any(u in returned for u in n._input_nodes)), None)
        before = set(graph.nodes)
        with graph.inserting_before(first_user if first_user is not None else graph.output_node()):
            result = graph.graph_copy(put_in, values)
        results = list(result) if isinstance(result, (tuple, list)) else [result]
        if len(results) != len(match.returning_nodes):
            raise AssertionError("the pattern and the replacement return different numbers of values")
        for old, new in zip(match.returning_nodes, results, strict=True):
            old.replace_all_uses_with(new)
            put[old] = new
        for node in reversed(list(graph.nodes)):
            if node in inside and not node.users and node.op not in ("placeholder", "output"):
                graph.erase_node(node)
        replaced.append(ReplacedPatterns(match.anchors[0], match.nodes_map, [n for n in graph.nodes if n not in before]))
    gm.recompile()
    if isinstance(replacement, Module):
        _take_over(gm, replacement)
    return replaced


def _take_over(gm: GraphModule, replacement: Module) -> None:
    """Gives the graph's module the submodules and parameters that the replacement names."""
    from flambeau.fx.graph_module import _copy_attr

    gm.delete_all_unused_submodules()
    for node in gm.graph.nodes:
        if node.op not in ("call_module", "get_attr"):
            continue
        try:
            _reach(gm, node.target)
        except AttributeError:
            try:
                _reach(replacement, node.target)
            except AttributeError:
                raise RuntimeError(
                    f'Attempted to create a "{node.op}" node during subgraph rewriting with target {node.target}, but the referenced attribute does not exist'
                ) from None
            _copy_attr(replacement, gm, node.target)
    gm.graph.lint()


def _reach(module: Any, target: str) -> Any:
    for part in target.split("."):
        module = getattr(module, part)
    return module

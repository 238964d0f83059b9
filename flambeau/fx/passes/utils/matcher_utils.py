"""Finding the places in a graph that look like a pattern."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flambeau.fx.graph import Graph
from flambeau.fx.node import Node
from flambeau.nn.modules.module import Module

__all__ = ["InternalMatch", "SubgraphMatcher"]


@dataclass
class InternalMatch:
    """One place: its last nodes, the node for each of the pattern's, what is given to it and what it returns."""

    anchors: list[Node]
    nodes_map: dict[Node, Any] = field(default_factory=dict)
    placeholder_nodes: list[Any] = field(default_factory=list)
    returning_nodes: list[Node] = field(default_factory=list)
    name_node_map: dict[str, Node] = field(default_factory=dict)


class SubgraphMatcher:
    """Finds a pattern in graphs.

    Args:
        match_output: the output of the pattern must be that of the graph.
        match_placeholder: arguments of the pattern match arguments only.
        remove_overlapping_matches: of places that share nodes, only the first is kept.
        ignore_literals: numbers and strings among arguments may be others.

    Source: https://docs.pytorch.org/docs/stable/fx.html#torch.fx.replace_pattern
    """

    def __init__(
        self, pattern: Graph, match_output: bool = False, match_placeholder: bool = False, remove_overlapping_matches: bool = True,
        ignore_literals: bool = False,
    ) -> None:  # fmt: skip
        self.pattern, self.match_output, self.match_placeholder = pattern, match_output, match_placeholder
        self.remove_overlapping_matches, self.ignore_literals = remove_overlapping_matches, ignore_literals
        if not len(pattern.nodes):
            raise ValueError("SubgraphMatcher cannot be initialized with an empty pattern")
        for node in pattern.nodes:
            if node.op != "output" and not node.users:
                raise AssertionError("SubgraphMatcher cannot be initialized with an pattern with dead code")
        self.pattern_placeholder_nodes = [n for n in pattern.nodes if n.op == "placeholder"]
        output = pattern.output_node()
        self.pattern_returning_nodes = output.all_input_nodes
        self.pattern_anchors = [output] if match_output else [n for n in self.pattern_returning_nodes if len(n.users) == 1]

    def match(self, graph: Graph, node_name_match: str = "") -> list[InternalMatch]:
        """The places, in the order of their first last nodes from the end of the graph on."""
        found: list[InternalMatch] = []
        candidates = [[n for n in graph.nodes if self._alike(anchor, n)] for anchor in self.pattern_anchors]
        partial: list[InternalMatch] = [InternalMatch(anchors=[])]
        for anchor, nodes in zip(self.pattern_anchors, candidates, strict=True):
            grown = []
            for match in partial:
                for node in nodes:
                    attempt = InternalMatch([*match.anchors, node], dict(match.nodes_map))
                    if self._match(anchor, node, attempt):
                        grown.append(attempt)
            partial = grown
        for match in partial:
            match.placeholder_nodes = [match.nodes_map.get(p) for p in self.pattern_placeholder_nodes]
            match.returning_nodes = [match.nodes_map[r] for r in self.pattern_returning_nodes]
            if self._closed(match):
                found.append(match)
        return self._apart(found) if self.remove_overlapping_matches else found

    def _apart(self, matches: list[InternalMatch]) -> list[InternalMatch]:
        kept: list[InternalMatch] = []
        taken: set[Node] = set()
        for match in matches:
            own = {n for p, n in match.nodes_map.items() if p.op not in ("placeholder", "output")}
            if not own & taken:
                kept.append(match)
                taken |= own
        return kept

    def _closed(self, match: InternalMatch) -> bool:
        """Whether nobody else uses what is inside of the place."""
        returned = set(match.returning_nodes)
        inside = {n for p, n in match.nodes_map.items() if p.op != "placeholder"}
        return all(
            user in inside
            for p, n in match.nodes_map.items()
            if p.op not in ("placeholder", "output") and n not in returned
            for user in n.users
        )

    def _alike(self, wanted: Node, node: Node) -> bool:
        if not self.match_placeholder and wanted.op == "placeholder":
            return True
        if wanted.op != node.op:
            return False
        if wanted.op in ("placeholder", "output"):
            return True
        if wanted.op == "get_attr":
            return _type_at(wanted) == _type_at(node)
        if wanted.op == "call_module":
            a, b = _type_at(wanted), _type_at(node)
            return wanted.target == node.target if a is None or b is None else a == b
        return wanted.target == node.target

    def _match(self, wanted: Node, node: Any, match: InternalMatch) -> bool:
        if wanted in match.nodes_map:
            return match.nodes_map[wanted] is node or not isinstance(node, Node) and match.nodes_map[wanted] == node
        if not isinstance(node, Node):
            return self._match_literal(wanted, node, match)
        if any(n is node for p, n in match.nodes_map.items() if p.op != "placeholder") and wanted.op != "placeholder":
            return False
        if not self._alike(wanted, node):
            return False
        match.nodes_map[wanted] = node
        if wanted.op == "placeholder":
            return True
        saved = dict(match.nodes_map)
        a, b = _arguments(wanted, node)
        if self._match_arguments(a, b, match):
            return True
        match.nodes_map = saved
        del match.nodes_map[wanted]
        return False

    def _match_literal(self, wanted: Node, value: Any, match: InternalMatch) -> bool:
        if wanted.op != "placeholder" or self.match_placeholder:
            return False
        match.nodes_map[wanted] = value
        return True

    def _match_arguments(self, a: Any, b: Any, match: InternalMatch) -> bool:
        if isinstance(a, Node):
            return self._match(a, b, match)
        if isinstance(b, Node):
            return False
        if isinstance(a, (list, tuple)):
            return (
                isinstance(b, (list, tuple)) and len(a) == len(b) and all(self._match_arguments(x, y, match) for x, y in zip(a, b))
            )
        if isinstance(a, dict):
            return isinstance(b, dict) and a.keys() == b.keys() and all(self._match_arguments(a[k], b[k], match) for k in a)
        if isinstance(a, slice):
            return isinstance(b, slice) and self._match_arguments((a.start, a.stop, a.step), (b.start, b.stop, b.step), match)
        return self.ignore_literals or type(a) is type(b) and a == b


def _arguments(a: Node, b: Node) -> tuple[Any, Any]:
    """The arguments of two nodes, in the same form where one has by name what the other has by place."""
    x, y = (list(a.args), dict(a.kwargs)), (list(b.args), dict(b.kwargs))
    if len(x[0]) != len(y[0]) or x[1].keys() != y[1].keys():
        own, other = (
            a.normalized_arguments(a.graph.owning_module, normalize_to_only_use_kwargs=True),
            b.normalized_arguments(b.graph.owning_module, normalize_to_only_use_kwargs=True),
        )
        if own is not None and other is not None:
            return ([*own[0]], own[1]), ([*other[0]], other[1])
    return x, y


def _type_at(node: Node) -> Any:
    """The type of the module or attribute that a node names; ``None`` where the graph has no module."""
    place: Any = node.graph.owning_module
    if place is None:
        return None
    for part in node.target.split("."):
        place = getattr(place, part, None)
    return type(place) if isinstance(place, Module) or place is not None else None

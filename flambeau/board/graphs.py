"""A model's graph as it is drawn: modules as boxes that fold, in layers from the inputs down."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from flambeau.board.events import fields

_UNSEEN = ("Parameter", "prim::Constant", "prim::ListConstruct")
"""Nodes that say what an operation is given: its weights, which boxes count, and its settings."""


class Node(NamedTuple):
    """A node of a graph in an event file."""

    name: str
    op: str
    inputs: list[str]
    shape: list[int] | None


class Box(NamedTuple):
    """An operation, or a module with all that is in it."""

    key: str
    label: str
    kind: str
    shape: list[int] | None
    operations: int
    weights: int
    layer: int
    column: int


def nodes_of(data: bytes) -> list[Node]:
    """The nodes of a ``GraphDef``, in the order in which they are computed."""
    found = []
    for message in fields(data).get(1, ()):
        node = fields(message)
        name, op = (node.get(number, [b""])[0].decode("utf-8", "replace") for number in (1, 2))
        found.append(Node(name, op, [i.decode("utf-8", "replace") for i in node.get(3, ())], _shape(node.get(5, ()))))
    return found


def _shape(attributes: Any) -> list[int] | None:
    """What ``_output_shapes`` says of the first result."""
    for entry in map(fields, attributes):
        if entry.get(1) == [b"_output_shapes"]:
            for kept in fields(entry[2][0]).get(1, ()):
                for shape in fields(kept).get(7, ()):
                    return [fields(dim).get(1, [0])[0] for dim in fields(shape).get(2, ())]
    return None


def folded(nodes: list[Node], opened: Collection[str]) -> dict[str, Any]:
    """The boxes and the arrows between them, where the modules in ``opened``, named by their paths, show what is in them.

    Modules at the top are always open, and so is one whose parent is not shown: a path opens itself alone.

    >>> chain = [Node("x", "IO Node", [], None), Node("Net/A/1", "aten::exp", ["x"], [2]), Node("Net/A/2", "aten::log", ["Net/A/1"], [2])]
    >>> [box.label for box in folded(chain, [])["boxes"]], folded(chain, [])["arrows"]
    (['x', 'A'], [(0, 1)])
    >>> [box.label for box in folded(chain, ["Net/A"])["boxes"]]
    ['x', 'exp', 'log']
    """
    place: dict[str, str] = {}  # the key of the box that each node is in
    first: dict[str, Node] = {}
    last: dict[str, Node] = {}
    operations: dict[str, int] = {}
    weights: dict[str, int] = {}
    inputs: dict[str, set[str]] = {}
    passed = {node.name: node.inputs for node in nodes if node.op in _UNSEEN}
    for node in nodes:
        key = _box_of(node, opened)
        if node.op == "Parameter":
            weights[key] = weights.get(key, 0) + 1
        if node.op in _UNSEEN:
            continue
        place[node.name] = key
        first.setdefault(key, node)
        last[key] = node
        operations[key] = operations.get(key, 0) + 1
        given = [x for name in node.inputs for x in passed.get(name, (name,))]  # lists stand for what is in them
        inputs.setdefault(key, set()).update(place[name] for name in given if name in place and place[name] != key)
    order = {key: number for number, key in enumerate(first)}
    layers: dict[str, int] = {}
    columns: dict[int, int] = {}
    boxes = []
    for key, node in first.items():
        layer = layers[key] = 1 + max((layers[before] for before in inputs[key] if before in layers), default=-1)
        column = columns[layer] = columns.get(layer, -1) + 1
        module = key != node.name
        label = key.rpartition("/")[2] if module else node.name if "IO" in node.op else node.op.rpartition("::")[2]
        boxes.append(
            Box(key, label, "module" if module else node.op, last[key].shape, operations[key], weights.get(key, 0), layer, column)
        )
    arrows = sorted((order[before], order[key]) for key, befores in inputs.items() for before in befores)
    return {"boxes": boxes, "arrows": arrows, "open": sorted(opened)}


def _box_of(node: Node, opened: Collection[str]) -> str:
    """The outermost module around a node that is not open, or the node itself."""
    parts = node.name.split("/")
    if "IO" in node.op:
        return node.name
    for depth in range(2, len(parts)):
        path = "/".join(parts[:depth])
        if path not in opened:
            return path
    return node.name

"""A trace's signature: what two steps of a program must have in common to run by the same plan."""

from __future__ import annotations

from flambeau.engine.graph import Node

kinds: dict[tuple, object] = {}
"""By everything that matters of a node but who its inputs are: the object that stands for it in signatures."""


def kind_of(node: Node) -> object:
    """What ``node`` has in common with all nodes of the same op, settings, shape, dtype and sorts of numbers.

    Python takes 1, 1.0 and True, and 0.0 and -0.0, for equal; here they differ.
    """
    op = node.op
    numbers = tuple(
        [x is None if x is None or x.__class__ is Node else (x.__class__, repr(x)) if op.static else x.__class__
         for x in node.inputs]
    )  # fmt: skip
    key = (op, node.shape, node.dtype, numbers, *[exact(value) for value in node.attrs.values()])
    return kinds.setdefault(key, object())


def exact(value):
    """A setting as a key in which what Python takes for equal, but is not the same, differs."""
    if value.__class__ is float:
        return float, repr(value)
    if value.__class__ is tuple:
        return tuple([exact(v) for v in value])
    return bool if value.__class__ is bool else None, value


class Trace:
    """A marked trace, its leaves and numbers, its targets, and its signature."""

    __slots__ = ("key", "leaves", "nodes", "numbers", "targets")

    def __init__(self, todo: list, storages: dict) -> None:
        nodes = [node for node in todo if node is not None]
        leaves: list[Node] = []
        numbers: list = []
        key: list = []
        add = key.append
        self.targets: list[tuple] = []  # (storage, number of the node that it takes, slot of its old content)
        try:
            for i, node in enumerate(nodes):
                node.number = i
                kind = node.kind
                if kind is None:
                    kind = node.kind = kind_of(node)
                add(kind)
                add(node.kept)
                for x in node.inputs:
                    if x.__class__ is Node:
                        if x.op is None and x.number >= 0:
                            x.number = ~len(leaves)
                            leaves.append(x)
                            key += (x.shape, x.dtype)
                        add(x.number)
                    elif x is not None:
                        numbers.append(x)
            for storage, node in storages.items():
                if node.op is None:
                    continue
                old = storage.leaf
                if old.number >= 0:
                    old.number = ~len(leaves)
                    leaves.append(old)
                    key += (old.shape, old.dtype)
                self.targets.append((storage, node.number, ~old.number))
                key += ("target", node.number, old.number)
        finally:
            for x in leaves:
                x.number = 0
        self.nodes, self.leaves, self.numbers, self.key = nodes, leaves, numbers, tuple(key)

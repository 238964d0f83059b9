"""A trace's signature: what two steps of a program must have in common to run by the same plan."""

from __future__ import annotations

from flambeau.engine.graph import Node


class Trace:
    """A marked trace, its leaves and numbers, its targets, and its signature."""

    __slots__ = ("key", "leaves", "nodes", "numbers", "targets")

    def __init__(self, todo: list, storages: dict) -> None:
        nodes = [node for node in todo if node is not None]
        leaves: list[Node] = []
        slots: dict[Node, int] = {}
        numbers: list = []
        key: list = []
        for i, node in enumerate(nodes):
            node.number = i
            inputs = node.inputs
            key += (node.op, node.shape, node.dtype, node.kept, len(inputs))
            for x in inputs:
                if x.__class__ is Node:
                    if x.op is not None:
                        key.append(x.number)
                    else:
                        slot = slots.get(x)
                        if slot is None:
                            slot = slots[x] = len(leaves)
                            leaves.append(x)
                            key += (x.shape, x.dtype)
                        key.append(~slot)
                elif x is None:
                    key.append(None)
                else:
                    numbers.append(x)
                    key += (x.__class__, repr(x)) if node.op.static else (x.__class__,)
            if node.attrs:
                key += node.attrs.values()
        self.targets: list[tuple] = []  # (storage, number of the node that it takes, slot of its old content)
        for storage, node in storages.items():
            old = storage.leaf
            if node.op is None:
                continue
            slot = slots.get(old)
            if slot is None:
                slot = slots[old] = len(leaves)
                leaves.append(old)
                key += (old.shape, old.dtype)
            self.targets.append((storage, node.number, slot))
            key += ("target", node.number, slot)
        self.nodes, self.leaves, self.numbers, self.key = nodes, leaves, numbers, tuple(key)

"""A trace's signature: what two steps of a program must have in common to run by the same plan."""

from __future__ import annotations

from operator import gt
from sys import getrefcount

from flambeau.engine.graph import Node

MAX_KINDS = 65536
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
    if len(kinds) >= MAX_KINDS:
        kinds.clear()  # a plan that is found by old ones is made again
    found = node.kind = kinds.setdefault(key, object())
    return found


def exact(value):
    """A setting as a key in which what Python takes for equal, but is not the same, differs."""
    if value.__class__ is float:
        return float, repr(value)
    if value.__class__ is tuple:
        return tuple([exact(v) for v in value])
    return bool if value.__class__ is bool else None, value


class Structure:
    """Who reads whom in traces of one signature: how often each node and each leaf is an input."""

    __slots__ = ("leaf_uses", "unseen", "uses")

    def __init__(self, nodes: list[Node], leaves: int) -> None:
        self.uses = [0] * len(nodes)
        self.leaf_uses = [0] * leaves
        for node in nodes:
            for x in node.inputs:
                if x.__class__ is Node:
                    if x.op is None:
                        self.leaf_uses[~x.number] += 1
                    else:
                        self.uses[x.number] += 1
        self.unseen = [n + _ALONE for n in self.uses]  # references to each node if nobody else can see it


def _references(nodes: list) -> list[int]:
    return [getrefcount(node) for node in nodes]


_ALONE = _references([object()])[0]

structures: dict[tuple, Structure] = {}


def forget(used: set[Structure]) -> None:
    """Keeps only these structures, and the kinds of their nodes."""
    for signature in [signature for signature, structure in structures.items() if structure not in used]:
        del structures[signature]
    kept = {part for signature in structures for part in signature if part.__class__ is object}
    for key in [key for key, kind in kinds.items() if kind not in kept]:
        del kinds[key]


class Trace:
    """A trace, its leaves and numbers, its targets, and its signature: the structure, and which nodes are kept.

    As :func:`flambeau.engine.interpreter.mark_needed` does, this finds out from reference counts which results can still
    be seen; for a structure that is known, by comparing them with what they are where nobody looks.
    """

    __slots__ = ("dead", "key", "leaves", "nodes", "numbers", "structure", "targets")

    def __init__(self, nodes: list[Node], storages: dict, history: list) -> None:
        leaves: list[Node] = []
        numbers: list = []
        key: list = []
        add = key.append
        targets: list[tuple] = []  # (storage, number of the node that it takes, slot of its old content)
        try:
            i = 0
            for node in nodes:
                node.number = i
                i += 1
                add(node.kind or kind_of(node))
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
                targets.append((storage, node.number, ~old.number))
                key += ("target", node.number, old.number)
            signature = tuple(key)
            structure = structures.get(signature)
            if structure is None:
                structure = structures[signature] = Structure(nodes, len(leaves))
        finally:
            node = x = old = None  # type: ignore[assignment]  # they would count as references
            for leaf in leaves:
                leaf.number = 0
        self.nodes, self.leaves, self.numbers, self.targets, self.structure = nodes, leaves, numbers, targets, structure
        self.dead: set[int] = set()
        references = _references(nodes)
        for _, node in history:  # it does not count: these are no results that somebody can see
            if node.op is not None:
                references[node.number] -= 1
        self.key = structure, tuple(map(gt, references, structure.unseen))

    def mark(self) -> None:
        """Marks the nodes that are kept, and finds those that nobody needs."""
        _, kept = self.key
        uses = list(self.structure.uses)
        for i in range(len(uses) - 1, -1, -1):
            node = self.nodes[i]
            node.kept = kept[i]
            if not (kept[i] or uses[i] or node.op.checked):
                self.dead.add(i)
                for x in node.inputs:
                    if x.__class__ is Node and x.op is not None:
                        uses[x.number] -= 1

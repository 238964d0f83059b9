"""A stretch of the trace, to be recorded again on other values without asking how it came about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from threading import get_ident
from typing import Any

from flambeau.core.errors import caller_site
from flambeau.engine import graph
from flambeau.engine.graph import PROJECT, Node
from flambeau.engine.trace import kind_of

_new = object.__new__

MAX_WRITTEN = 100
"""Nodes that are recorded by code of their own: with more of them, compiling that costs much and gains little."""


def may_fail(node: Node) -> None:
    """Notes the user's line and thread with a node that may refuse its values when it runs."""
    node.site, node.thread = caller_site(), get_ident()
    graph.fallible = True


class Segment:
    """Nodes that read each other, numbers and *given* nodes; ``results`` are those that somebody wants.

    Only what leads to a result, or may refuse its values, is part of it, and all results of such a node: so a step that is
    recorded by segments has the nodes that it had when it was recorded in full.
    """

    def __init__(
        self, nodes: Sequence[Node], given: Sequence[Node], results: Sequence[Node], shared=(), verify: Callable = may_fail
    ) -> None:
        """``shared`` are leaves that always have the same value, besides those that say so themselves.

        ``verify(node)`` is called with each node of an op that relies on values which have been looked at: it looks at the
        new ones, or makes the node one that may fail.

        Raises ``KeyError`` where a node reads anything else.
        """
        needed = set(results)
        for node in reversed(nodes):
            if node in needed or node.op.checked:
                needed.add(node)
                needed.update(x for x in node.inputs if x.__class__ is Node)
        needed.update([node for node in nodes if node.op is PROJECT and node.inputs[0] in needed])
        self.constants: list = []
        places: dict[Node, int] = {}
        for i, node in enumerate(given):
            places.setdefault(node, i)  # of several that are the same, the one that was known first
        kept = [node for node in nodes if node in needed]
        constants = [x for node in kept for x in node.inputs if x.__class__ is not Node]
        leaves = [x for node in kept for x in node.inputs if x.__class__ is Node and x not in places]
        leaves += [x for x in results if x not in places]
        constants += dict.fromkeys([x for x in leaves if x in shared or x.is_constant])
        for x in constants:
            if x.__class__ is Node:
                places[x] = len(given) + len(self.constants)
                x = x if x in shared else _own(x)
            self.constants.append(x)
        numbers = iter(range(len(given), len(given) + len(self.constants)))
        steps = []
        for node in kept:
            inputs = [places[x] if x.__class__ is Node else next(numbers) for x in node.inputs]
            only = inputs[0] if len(inputs) == 1 else None
            pick = itemgetter(*inputs) if len(inputs) > 1 else _nothing
            prepare = may_fail if node.op.checked else verify if _relies_on_values(node.op) else None
            steps.append(((node.op, node.attrs, node.shape, node.dtype, kind_of(node)), only, pick, prepare))
            places[node] = len(given) + len(self.constants) + len(steps) - 1
        self.steps = steps
        self.results = [places[node] for node in results]

    def record(self, given: Sequence[Node]) -> list[Node]:
        """Records the nodes on other given ones, and returns the results."""
        values = [*given, *self.constants]
        add = values.append
        new = _new
        start = len(values)
        for what, only, pick, prepare in self.steps:
            node = new(Node)
            node.op, node.attrs, node.shape, node.dtype, node.kind = what
            node.inputs = pick(values) if only is None else (values[only],)
            if prepare is not None:
                prepare(node)
            add(node)
        graph.trace += values[start:]
        return [values[i] for i in self.results]

    def text(self, name: str, given: Sequence[str], known: dict[str, Any]) -> tuple[list[str], list[str]]:
        """What :meth:`record` does, as straight-line code: its lines, and the results' names.

        ``name`` begins with a letter, and is part of the names of all nodes; ``given`` are the given ones' names. ``known``
        gets the values of other names, of which the lines have the same for all segments of one form. They also take
        ``new``, ``Node`` and the trace's ``extend`` for known.
        """
        if len(self.steps) > MAX_WRITTEN:
            known[f"record_{name}"] = self.record
            results = [f"{name}_{i}" for i in range(len(self.results))]
            return [f"[{', '.join(results)}] = record_{name}(({''.join(x + ', ' for x in given)}))"], results
        constants = {f"constant_{name}_{i}": x for i, x in enumerate(self.constants)}
        known.update(constants)
        names, lines = [*given, *constants], []
        start = len(names)
        for i, (what, only, pick, prepare) in enumerate(self.steps):
            n = f"{name}_{i}"
            inputs = pick(names) if only is None else (names[only],)  # type: ignore[arg-type]
            known[f"what_{n}"] = what
            lines += [
                f"{n} = new(Node)",
                f"{n}.op, {n}.attrs, {n}.shape, {n}.dtype, {n}.kind = what_{n}",
                f"{n}.inputs = ({''.join(x + ', ' for x in inputs)})",
            ]
            if prepare is not None:
                known[f"prepare_{n}"] = prepare
                lines += [f"prepare_{n}({n})"]
            names.append(n)
        lines += [f"extend(({''.join(x + ', ' for x in names[start:])}))"]
        return lines, [names[i] for i in self.results]


def _own(x: Node) -> Node:
    """A constant leaf to be read again and again, also where another segment is made of what this one records."""
    if x.value.flags.writeable:
        x = graph.private_leaf(x)
        x.is_constant = True
    return x


def _relies_on_values(op) -> bool:
    """Whether this is the twin of a checked op, for values that have been looked at."""
    return not op.checked and getattr(op, "verify", None) is not None


def _nothing(values: list) -> tuple:
    """The inputs of a node that has none."""
    return ()

"""The short way of little traces: from a few nodes straight to the kernels of their plan.

Where values are asked for one by one, a trace is a node or two on a few elements, and all that a run does around the kernels
takes many times as long as they do. So a plan of that kind is also known by the kinds of its nodes. Such a trace stays where it
is until its results are there: nothing is taken, and so there is nothing to lose if a signal handler raises on the way, or runs
the trace itself. The kernels run in one native call (see :func:`flambeau.engine.cpu.compiler.launcher`), which also tells them where
values are. Then nodes become leaves, all of them between two calls of Python's, where nobody else runs.
"""

from __future__ import annotations

from array import array
from itertools import chain
from math import prod
from operator import attrgetter
from sys import getrefcount
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.core import config
from flambeau.engine.graph import NO_ATTRS, Node, trace

if TYPE_CHECKING:
    from flambeau.engine.plan import Plan
    from flambeau.engine.trace import Trace

MOST = 3
"""Nodes of a little trace."""
LITTLE = 4096
"""Elements that a little trace reads and makes, and passes from node to node; its kernels run with the GIL held."""
MAX_WAYS, MAX_LIKE = 1024, 4
"""How many ways there are, and how many for traces of the same nodes, which differ in what they read and who is kept."""

ways: dict[tuple, list[Way]] = {}
"""By the kinds of the nodes (of one alone, its kind) and the shape of the first input."""

_kind, _inputs = attrgetter("kind"), attrgetter("inputs")


class Way:
    """How one sort of little traces runs.

    ``wanted``   for each input of the nodes, one after the other: ``None`` for a number; the number of the node that it is; of a leaf
                 its shape and dtype, or ``~slot`` where it is read again
    ``alone``    how many references to each node :func:`run` finds if nobody else sees it; ``kept``: whether somebody does
    ``numbers``  which inputs kernels take as numbers
    ``outputs``  shape and dtype of the results that are kept
    """

    __slots__ = ("_memory", "alone", "code", "kept", "launch", "numbers", "outputs", "plan", "wanted")

    def __init__(self, plan: Plan, trace: Trace) -> None:
        from flambeau.engine.cpu.compiler import launcher

        structure, kept = trace.key
        self.plan, self.launch = plan, launcher()
        inputs = list(chain.from_iterable(map(_inputs, trace.nodes)))
        numbered = {node: i for i, node in enumerate(trace.nodes)}
        slots: dict[Node, int] = {}
        self.wanted: list = []
        for x in inputs:
            if x.__class__ is not Node:
                self.wanted.append(None)
            elif x in numbered:
                self.wanted.append(numbered[x])
            elif x in slots:
                self.wanted.append(~slots[x])
            else:
                slots[x] = len(slots)
                self.wanted.append((x.shape, x.dtype))
        places = [i for i, x in enumerate(inputs) if x is not None and x.__class__ is not Node]
        self.numbers = [places[n] for n in plan.number_order]
        lists = 1 if len(trace.nodes) == 1 else 2  # that have what nodes read
        rest = MOST - len(trace.nodes)
        self.alone = [4 + lists * uses for uses in structure.uses] + [0] * rest  # two lists, a variable and an argument
        self.kept = (*kept, *[False] * rest)
        self.outputs = [(self._shape(i), plan.nodes[i].dtype.np) if is_kept else None for i, is_kept in enumerate(self.kept)]
        self._lay_out(len(slots))

    def _shape(self, i: int) -> tuple[int, ...]:
        return tuple(self.plan.nodes[i].shape)

    def _lay_out(self, leaves: int) -> None:
        """Makes arguments of its own, since those of the plan are told only of what has changed since it ran last."""
        plan = self.plan
        arguments = array("Q", plan.arguments)
        old, new = plan.arguments.buffer_info()[0], arguments.buffer_info()[0]
        table = array("Q", plan.table)
        for i in range(1, len(table), 2):
            table[i] += new - old
        kept = [i for i, output in enumerate(self.outputs) if output is not None]
        given = {~slot: slot for slot in range(leaves)} | {i: leaves + k for k, i in enumerate(kept)}
        code = array("Q", (table.buffer_info()[0], len(table) // 2, 0, id(np.ndarray)))
        for source, where in plan.dynamic.items():
            for place, offset in where:
                code.extend((0, 1 + given[source], new + 8 * place, offset))
        integers = {place for place, _ in plan.integers}
        numbers = plan.numbers.buffer_info()[0]
        for k in range(len(plan.number_order)):
            code.extend((2 if k in integers else 1, 1 + leaves + len(kept) + k, numbers + 8 * k, 0))
        code[2] = (len(code) - 4) // 4
        self._memory = arguments, table, code, plan.numbers
        self.code = code.buffer_info()[0]


def run() -> bool:
    """Runs the trace if there is a short way for it; whether it has run."""
    first: Any
    second: Any = None
    third: Any = None
    x: Any
    nodes = trace[:]
    count = len(nodes)
    if count == 1:
        (first,) = nodes
        like, inputs = first.kind, first.inputs
    elif count == 2:
        first, second = nodes
        like, inputs = (first.kind, second.kind), first.inputs + second.inputs
    elif count == MOST:
        first, second, third = nodes
        like, inputs = (first.kind, second.kind, third.kind), first.inputs + second.inputs + third.inputs
    else:
        return False
    if not inputs:
        return False
    for way in ways.get((like, getattr(inputs[0], "shape", None)), ()):
        x = None
        alone, kept = way.alone, way.kept
        if (getrefcount(first) > alone[0]) is not kept[0]:
            continue
        if count > 1 and (getrefcount(second) > alone[1]) is not kept[1]:
            continue
        if count > 2 and (getrefcount(third) > alone[2]) is not kept[2]:
            continue
        leaves: list = []
        given: list = []
        for x, want in zip(inputs, way.wanted):
            if want.__class__ is tuple:
                if x.op is not None or x.dtype is not want[1] or x.shape != want[0] or x in leaves:
                    break
                leaves.append(x)
                given.append(x.value)
            elif want is not None and x is not (leaves[~want] if want < 0 else first if not want else second):
                break
        else:
            value = value2 = value3 = None
            made, made2, made3 = way.outputs
            if made is not None:
                value = np.empty(*made)
                given.append(value)
            if made2 is not None:
                value2 = np.empty(*made2)
                given.append(value2)
            if made3 is not None:
                value3 = np.empty(*made3)
                given.append(value3)
            for place in way.numbers:
                given.append(inputs[place])
            if way.launch(way.code, *given) is not None:
                return False
            way.plan.runs += 1
            if trace != nodes:
                return False  # a signal handler has run it, or another thread has recorded more
            del trace[:]  # no call from the line before on
            if value is not None:
                first.value, first.op, first.attrs, first.inputs = value, None, NO_ATTRS, ()
            if value2 is not None:
                second.value, second.op, second.attrs, second.inputs = value2, None, NO_ATTRS, ()
            if value3 is not None:
                third.value, third.op, third.attrs, third.inputs = value3, None, NO_ATTRS, ()
            return True
    return False


def note(plan: Plan, trace: Trace) -> None:
    """Remembers the short way of a trace whose plan is about to run, if there is one."""
    if not plan.all_native or len(plan.calls) != 1 or trace.targets or len(trace.nodes) > MOST or config.guard:
        return
    if any([node.op.checked for node in trace.nodes]) or any([step.checked for step in plan.steps]):
        return
    shapes = [x.shape for x in (*trace.nodes, *trace.leaves)]
    if not trace.nodes or not trace.nodes[0].inputs:
        return
    if any([node.dtype.__class__ is tuple for node in trace.nodes]) or sum(map(prod, shapes)) > LITTLE:
        return
    if set(plan.dynamic) - {~slot for slot in range(len(trace.leaves))} != {i for i, kept in enumerate(trace.key[1]) if kept}:
        return
    kinds = tuple(map(_kind, trace.nodes))
    like = kinds if len(kinds) > 1 else kinds[0], getattr(trace.nodes[0].inputs[0], "shape", None)
    if any([way.plan is plan for way in ways.get(like, ())]):
        return
    if len(ways) >= MAX_WAYS:
        ways.clear()
    known = ways.setdefault(like, [])
    if len(known) >= MAX_LIKE:
        del known[0]
    known.append(Way(plan, trace))

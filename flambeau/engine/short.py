"""The short way of little traces: from a few nodes straight to the kernels of their plan.

Where values are asked for one by one, a trace is a node or two on a few elements, and all that a run does around the kernels
takes many times as long as they do. So a plan of that kind is also known by the kinds of its nodes. Such a trace stays where it
is until its results are there: nothing is taken, and so there is nothing to lose if a signal handler raises on the way, or runs
the trace itself. The kernels run in one native call (see :func:`flambeau.engine.cpu.compiler.launcher`), which also tells them
where values are. Then nodes become leaves, all of them between two calls of Python's, where nobody else runs.

A trace of which NumPy computes everything (a sort and what takes its results apart) is as little: there its functions are called.
"""

from __future__ import annotations

from array import array
from itertools import chain
from math import prod
from operator import attrgetter, gt
from sys import getrefcount
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flambeau.core import config
from flambeau.core.errors import is_passing
from flambeau.engine import graph
from flambeau.engine.graph import NO_ATTRS, PROJECT, VIEW, EngineOp, Node, trace
from flambeau.engine.interpreter import compute
from flambeau.engine.trace import Trace, kind_of

if TYPE_CHECKING:
    from flambeau.engine.plan import Plan

MOST, KEPT = 24, 12
"""Nodes of a little trace, and results of it that somebody sees."""
LITTLE = 1 << 17
"""Elements that a little trace reads and makes, and passes from node to node; its kernels run with the GIL held. Three arrays of
40,000 are as little: all that is done around their kernels takes longer than these."""
MAX_WAYS, MAX_LIKE = 1024, 4
"""How many ways there are, and how many for traces of the same nodes, which differ in what they read and who is kept."""

ways: dict[tuple, list[Way]] = {}
"""By the kinds of the nodes (of one alone, its kind) and the shape of the first input."""

_kind, _inputs = attrgetter("kind"), attrgetter("inputs")


_names = [[name for name in ("value", "op", "attrs", "inputs") for _ in range(count)] for count in range(KEPT + 1)]
"""Of what changes in so many nodes when they become leaves."""


class Output(NamedTuple):
    """The result of a node that somebody sees."""

    number: int
    shape: tuple[int, ...]
    dtype: np.dtype


class Way:
    """How one sort of little traces runs.

    ``wanted``      for each input of the nodes, one after the other: ``None`` for a number; the number of the node that it is; of a
                    leaf its shape and dtype, or ``~slot`` where it is read again
    ``alone``       how many references to each node :func:`run` finds if nobody else sees it; ``references``: that there were last
                    time
    ``kept``        which nodes somebody sees, and ``outputs``: what these get
    ``numbers``     which inputs kernels take as numbers; behind these come the ``fixed`` ones
    ``fault``       where kernels note that they refuse their values
    ``order``       where NumPy computes everything: which nodes, views among them
    """

    __slots__ = (
        "_memory", "alone", "code", "fault", "fixed", "kept", "launch", "numbers", "order", "outputs", "plan", "references", "wanted",
    )  # fmt: skip

    def __init__(self, plan: Plan, trace: Trace, order: list[int] | None) -> None:
        from flambeau.engine.cpu.compiler import launcher

        structure, kept = trace.key
        self.plan, self.launch, self.fault = plan, launcher(), plan.fault
        self.order = order
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
        self.numbers = [places[n] for n in plan.number_order if n >= 0]
        self.fixed = [plan.fixed[n] for n in plan.number_order if n < 0]
        self.alone = [3 + uses for uses in structure.uses]  # two lists and an argument
        self.references: list[int] | None = None
        self.kept = kept
        places = [i for i, is_kept in enumerate(kept) if is_kept]
        outputs = [Output(i, tuple(trace.nodes[i].shape), trace.nodes[i].dtype.np) for i in places]
        self.outputs = outputs
        if self.order is None:
            self._lay_out(len(slots), places)

    def _lay_out(self, leaves: int, places: list[int]) -> None:
        """Makes arguments of its own, since those of the plan are told only of what has changed since it ran last."""
        plan = self.plan
        arguments = array("Q", plan.arguments)
        old, new = plan.arguments.buffer_info()[0], arguments.buffer_info()[0]
        table = array("Q", plan.table)
        for i in range(1, len(table), 2):
            table[i] += new - old
        given = {~slot: slot for slot in range(leaves)} | {i: leaves + k for k, i in enumerate(places)}
        code = array("Q", (table.buffer_info()[0], len(table) // 2, 0, id(np.ndarray)))
        for source, where in plan.dynamic.items():
            for place, offset in where:
                code.extend((0, 1 + given[source], new + 8 * place, offset))
        integers = {place for place, _ in plan.integers}
        numbers = plan.numbers.buffer_info()[0]
        order = [k for k, n in enumerate(plan.number_order) if n >= 0] + [k for k, n in enumerate(plan.number_order) if n < 0]
        for argument, k in enumerate(order, 1 + leaves + len(places)):
            code.extend((2 if k in integers else 1, argument, numbers + 8 * k, 0))
        code[2] = (len(code) - 4) // 4
        self._memory = arguments, table, code, plan.numbers
        self.code = code.buffer_info()[0]


def run() -> bool:
    """Runs the trace if there is a short way for it; whether it has run."""
    nodes = trace[:]
    if not nodes:
        return False
    like: Any
    inputs: Any
    if len(nodes) == 1:
        references, inputs = [getrefcount(nodes[0])], nodes[0].inputs
        like = nodes[0].kind or kind_of(nodes[0])
    elif len(nodes) == 2:
        references, inputs = [getrefcount(nodes[0]), getrefcount(nodes[1])], nodes[0].inputs + nodes[1].inputs
        like = nodes[0].kind or kind_of(nodes[0]), nodes[1].kind or kind_of(nodes[1])
    else:
        # The inputs in one call, in which no signal handler runs the trace: nodes have none afterwards.
        references, inputs = list(map(getrefcount, nodes)), list(chain.from_iterable(map(_inputs, nodes)))
        like = tuple([node.kind or kind_of(node) for node in nodes])
    if not inputs:  # there are none, or a signal handler has run the trace
        return False
    for way in ways.get((like, getattr(inputs[0], "shape", None)), ()):
        if references != way.references:
            if tuple(map(gt, references, way.alone)) != way.kept:
                continue
            way.references = references
        leaves: list = []
        given: list = []
        for x, want in zip(inputs, way.wanted):
            if want.__class__ is tuple:
                if x.op is not None or x.dtype is not want[1] or x.shape != want[0] or x in leaves:
                    break
                leaves.append(x)
                given.append(x.value)
            elif want is not None and x is not (leaves[~want] if want < 0 else nodes[want]):
                break
        else:
            outputs = way.outputs
            first = outputs[0]
            if way.order is not None:
                values = _values_by_numpy(way, nodes, given)
                if not values:
                    return False
                value = values[0]
            else:
                value = np.empty(first.shape, first.dtype)
                given.append(value)
                if len(outputs) > 1:
                    values = [value, *[np.empty(shape, dtype) for _, shape, dtype in outputs[1:]]]
                    given += values[1:]
                for place in way.numbers:
                    given.append(inputs[place])
                if way.fixed:
                    given += way.fixed
                if way.launch(way.code, *given) is not None:
                    return False
                if 1 in way.fault:  # it has refused its values: the interpreter says why
                    way.fault[:] = array("q", [0] * len(way.fault))
                    return False
            way.plan.runs += 1
            others: Any = ()
            if len(outputs) > 1:  # in one call, which no code of Python's interrupts
                made, count = [nodes[number] for number, _, _ in outputs], len(outputs)
                others = map(setattr, made * 4, _names[count], [*values, *[None] * count, *[NO_ATTRS] * count, *[()] * count])
            if trace != nodes:
                return False  # a signal handler has run it, or another thread has recorded more
            del trace[:]  # no call between this line and the last
            graph.fallible = False
            x = nodes[first.number]
            x.value, x.op, x.attrs, x.inputs = value, None, NO_ATTRS, ()
            any(others)
            return True
    return False


def _values_by_numpy(way: Way, nodes: list[Node], read: list) -> list[np.ndarray]:
    """The values of the outputs, by the meaning of the nodes in NumPy; none where one cannot be computed: the interpreter says why."""
    if any([value.__class__ is not np.ndarray for value in read]):  # one that could not be computed
        return []
    values: dict[Node, Any] = {}
    with np.errstate(all="ignore"):
        for number in way.order:  # type: ignore[union-attr]
            node = nodes[number]
            args = [x if x.__class__ is not Node else x.value if x.op is None else values[x] for x in node.inputs]
            try:
                values[node] = args[0][node.attrs["index"]] if node.op is PROJECT else compute(node, args)
            except Exception as error:
                if not isinstance(error, MemoryError) and is_passing(error, node.op.kernel):
                    raise
                return []
    return [values[nodes[number]] for number, _, _ in way.outputs]


def note(plan: Plan, trace: Trace) -> None:
    """Remembers the short way of a trace whose plan is about to run, if there is one."""
    if trace.targets or len(trace.nodes) > MOST or config.guard or not 0 < sum(trace.key[1]) <= KEPT:
        return
    if not trace.nodes or not trace.nodes[0].inputs:
        return
    kept, order = {i for i, is_kept in enumerate(trace.key[1]) if is_kept}, None
    if any([x.dtype.__class__ is tuple for x in [*trace.leaves, *[trace.nodes[i] for i in kept]]]):
        return
    if sum([prod(x.shape) for x in [*trace.nodes, *trace.leaves] if x.dtype.__class__ is not tuple]) > LITTLE:
        return
    if plan.all_native:
        told = set(plan.dynamic) - {~slot for slot in range(len(trace.leaves))}
        if len(plan.calls) != 1 or told != kept:
            return
    else:
        order = _by_numpy(plan, trace)
        if not kept <= set(order) or any([trace.nodes[i].op is VIEW for i in kept]):
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
    known.append(Way(plan, trace, order))


def _by_numpy(plan: Plan, trace: Trace) -> list[int]:
    """Which nodes NumPy computes, in order, and the views that they read; none where a plan does anything else."""
    nodes, calls = trace.nodes, set(plan.calls)
    if not all([call.__class__ is int and call < len(nodes) and plan.nodes[call].op is nodes[call].op for call in calls]):
        return []
    order = [i for i, node in enumerate(nodes) if i in calls or node.op is VIEW]
    if any([nodes[i].op.__class__ is EngineOp and nodes[i].op not in (PROJECT, VIEW) for i in order]):
        return []
    made = {nodes[i] for i in order}
    read = [x for node in made for x in node.inputs if x.__class__ is Node]
    return order if all([x.op is None or x in made for x in read]) else []

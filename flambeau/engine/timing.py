"""How long what runs takes, kernel by kernel: for profiles, and for pictures of what was fused.

Without somebody who listens nothing of this is there. While somebody does, traces run at once when they run, not while Python goes
on, and each kernel by itself, with its time; what is recorded, fused and computed is the same.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from flambeau.engine import interpreter, plans, run, short
from flambeau.engine.execution import Execution


class Kernel(NamedTuple):
    """What ran in one go: a ``"loop"``, a ``"kernel"`` of its own, or one in ``"NumPy"``.

    ``start`` is when, by ``time.perf_counter``, and ``seconds`` how long; 0 where nothing had to be computed. ``ops`` are the names
    of what it computes, ``nodes`` the places of these in the trace, the same ones several times where an op has several parts in
    it. Of a kernel of its own the first is what takes the time.
    ``group`` is its number in the plan, -1 where the interpreter ran it.
    """

    kind: str
    start: float
    seconds: float
    ops: list[str]
    nodes: list[int]
    group: int


class Ran(NamedTuple):
    """A trace that has run, from ``start`` to ``end``.

    ``number`` is what ``flambeau.engine.run.taken`` was while it was recorded; ``plan`` is ``None`` where the interpreter ran it.
    """

    number: int
    names: list[str]
    start: float
    end: float
    kernels: list[Kernel]
    plan: Any


class _Running:
    """The trace that is running now."""

    def __init__(self, nodes: list) -> None:
        self.places = {id(node): i for i, node in enumerate(nodes)}
        self.names = [node.op.name for node in nodes]
        self.plan: Any = None
        self.before: tuple = ()
        self.kernels: dict[int, tuple[float, float]] = {}
        """By the place in the plan's table: when each kernel began and how long it took."""
        self.numpy: dict[int, tuple[float, float]] = {}
        """By the number of a node that NumPy computes: when it began and how long it took."""
        self.interpreted: list[Kernel] = []


_listeners: list[Callable[[Ran], None]] = []
_undo: list[Callable[[], None]] = []
_running: list[_Running] = []


def listen(told: Callable[[Ran], None]) -> None:
    """Has ``told`` called with each trace that has run."""
    if not _listeners:
        _install()
    _listeners.append(told)


def forget(told: Callable[[Ran], None]) -> None:
    """Calls it no more."""
    _listeners.remove(told)
    if not _listeners:
        for undo in reversed(_undo):
            undo()
        _undo.clear()


def _replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    before = getattr(owner, name)
    setattr(owner, name, make(before))
    _undo.append(lambda: setattr(owner, name, before))


def _install() -> None:
    """Puts a clock around what runs traces, plans, and single nodes."""
    _replace(run, "_execute", _timed_run)
    _replace(plans, "find", _timed_plan)
    _replace(short, "run", lambda before: lambda: False)  # the short way runs no plan
    _replace(interpreter, "compute", _timed_node)
    _replace(Execution, "_compute", _timed_step)


def _timed_run(execute: Callable) -> Callable:
    def executed(taken: Any, wanted: Any, ahead: bool) -> Any:
        running = _Running(taken.nodes)
        number, start = run.taken - 1, time.perf_counter()
        _running.append(running)
        try:
            return execute(taken, wanted, False)
        finally:
            _running.pop()
            end = time.perf_counter()
            if running.plan is not None:
                running.plan.drive, running.plan.flight = running.before
            ran = Ran(number, running.names, start, end, [*_kernels(running), *running.interpreted], running.plan)
            for told in list(_listeners):
                told(ran)

    return executed


def _timed_plan(find: Callable) -> Callable:
    def found(trace: Any) -> Any:
        plan = find(trace)
        if plan is not None and _running:
            running = _running[-1]
            running.plan, running.before = plan, (plan.drive, plan.flight)
            plan.drive, plan.flight = _timed_driver(plan, running), None
        return plan

    return found


def _timed_driver(plan: Any, running: _Running) -> Callable[[int, int], None]:
    """Has the plan's kernels run one by one. The driver is told where two words are: the first kernel's, and how many have run."""
    drive, table = plan.drive, plan.table.buffer_info()[0]

    def timed(state: int, count: int) -> None:
        words = (ctypes.c_int64 * 2).from_address(state)
        while words[1] < count:
            done = words[1]
            start = time.perf_counter()
            while words[1] == done:
                drive(state, done + 1)
            running.kernels[(words[0] - table) // 8 + 2 * done] = start, time.perf_counter() - start

    return timed


def _timed_step(compute: Callable) -> Callable:
    def computed(execution: Any, i: int) -> Any:
        start = time.perf_counter()
        value = compute(execution, i)
        if _running:
            _running[-1].numpy[i] = start, time.perf_counter() - start
        return value

    return computed


def _timed_node(compute: Callable) -> Callable:
    def computed(node: Any, args: list) -> Any:
        start = time.perf_counter()
        value = compute(node, args)
        place = _running[-1].places.get(id(node)) if _running else None
        if place is not None:
            _running[-1].interpreted.append(Kernel("NumPy", start, time.perf_counter() - start, [node.op.name], [place], -1))
        return value

    return computed


# --- whose kernels they are ------------------------------------------------------------------------------------


def _kernels(running: _Running) -> list[Kernel]:
    """What the plan has run: of each of its groups one step at most, in the same order."""
    plan, found, at = running.plan, [], 0
    if plan is None:
        return []
    owners = _owners(plan, running.names)
    for k, group in enumerate(plan.groups):
        start, seconds, kind = 0.0, 0.0, "NumPy"
        if at < len(plan.steps) and _is_step_of(plan.steps[at], group, plan):
            step = plan.steps[at]
            kind = "loop" if step.loop is not None else "kernel" if step.native else "NumPy"
            start, seconds = (
                running.kernels.get(plan.entries[at], (0.0, 0.0)) if step.compiled else running.numpy.get(step.node, (0.0, 0.0))
            )
            at += 1
        members = [owner for i in group.members for owner in owners.get(i, ())]
        found.append(Kernel(kind, start, seconds, [plan.lowered.nodes[i].op.name for i in group.members], members, k))
    return found


def _is_step_of(step: Any, group: Any, plan: Any) -> bool:
    if group.body is None:
        return step.loop is None and step.node == group.members[0]
    return step.loop is not None and any(i in plan.in_memory for i in group.members)


def _owners(plan: Any, names: list[str]) -> dict[int, list[int]]:
    """The nodes of the trace that each node of a plan computes, or is a part of: what reads a part belongs to the same op.

    A product whose rectifier is computed in the same kernel stands where the rectifier stood; both are its owners, the product
    first.
    """
    recorded, nodes = plan.recorded, plan.lowered.nodes
    owners = {i: [i] for i in range(recorded)}
    joined: dict[str, list[int]] = {}
    readers: dict[int, int] = {}
    for i, node in enumerate(nodes):
        if node is None:
            if i < recorded:
                joined.setdefault(names[i], []).append(i)
            continue
        if i < recorded and node.op.name != names[i] and joined.get(node.op.name):
            owners[i] = [joined[node.op.name].pop(), i]
        for x in node.inputs:
            source = getattr(x, "source", -1)
            if source >= recorded:
                readers.setdefault(source, i)
    for i in range(recorded, len(nodes)):
        at, seen = i, 0
        while at >= recorded and at in readers and seen < len(nodes):
            at, seen = readers[at], seen + 1
        if at < recorded:
            owners[i] = [at]
        elif nodes[i] is not None:  # a check, which nobody reads
            name = nodes[i].op.name.removesuffix(" part")
            owners[i] = [names.index(name)] if name in names else []
    return owners

"""How a computation was fused: which of its operations run in which loop, what the loop computes, and how long it takes."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from flambeau.core import config
from flambeau.engine import graph, plans, short
from flambeau.engine.report import PlanReport
from flambeau.engine.run import run_pending
from flambeau.ops.record import Op
from flambeau.tensor import Tensor
from flambeau.tensor.observing import Observer


class Group(NamedTuple):
    """What runs as one: a ``"loop"``, a ``"kernel"`` of its own, or a kernel in ``"NumPy"``.

    ``ops`` are the names of what it computes, ``calls`` numbers of the calls whose results it makes, ``gradients`` of those whose
    gradients it makes. ``text`` is what the engine says of it, ``ir`` the loop, ``us`` the microseconds that it took (0: not known).
    """

    kind: str
    ops: list[str]
    calls: list[int]
    gradients: list[int]
    text: str
    ir: str
    us: float


class Places(Observer):
    """Notes which call, and which rule for gradients, has recorded which nodes. It holds no tensors, which would keep values alive."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, int]] = []
        """From which node of the trace on, and up to which, each call has recorded, in the order of calls."""
        self.rules: list[tuple[int, int]] = []
        """How many nodes there were when the gradient arrived at a call's entry on the tape, and the call's number."""

    def called(self, op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
        if op.form == "composite" or self.rules:
            return self.run(op, args, kwargs)
        begin, number = len(graph.trace), len(self.calls)
        self.calls.append((begin, begin))
        result = self.run(op, args, kwargs)
        self.calls[number] = begin, len(graph.trace)
        first = next((r for r in (result if isinstance(result, (tuple, list)) else (result,)) if isinstance(r, Tensor)), None)
        if first is not None and first.grad_fn is not None:
            first.grad_fn.register_prehook(lambda grads: self.rules.append((len(graph.trace), number)))
        return result

    def of_nodes(self, count: int) -> tuple[dict[int, int], dict[int, int]]:
        """The call of each of ``count`` nodes, and the call whose rule has recorded it."""
        calls = {node: number for number, (begin, end) in enumerate(self.calls) for node in range(begin, end)}
        rules: dict[int, int] = {}
        for (begin, number), (end, _) in zip(self.rules, [*self.rules[1:], (count, 0)]):
            rules.update(dict.fromkeys(range(begin, end), number))
        return calls, rules


class _Plans:
    """The plan that runs, and how long each of its kernels takes, by its place in the plan's table."""

    def __init__(self) -> None:
        self.plan: Any = None
        self.seconds: dict[int, float] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Has what is pending compiled at first sight, and looked at."""
        find, run_short, settings = plans.find, short.run, (config.compile_after, config.compiled)

        def noted(trace: Any) -> Any:
            plan = find(trace)
            if plan is not None:
                self.plan, self.seconds = plan, {}
                self._time(plan)
            return plan

        plans.find, short.run = noted, lambda: False
        config.compile_after, config.compiled = 0, True
        try:
            yield
        finally:
            plans.find, short.run = find, run_short
            config.compile_after, config.compiled = settings
            if self.plan is not None:
                self.plan.drive, self.plan.flight = self._before

    def _time(self, plan: Any) -> None:
        """Has the kernels of ``plan`` run one by one. The driver is told where two words are: the first kernel's, and how many have run."""
        self._before = plan.drive, plan.flight
        drive, table = plan.drive, plan.table.buffer_info()[0]

        def timed(state: int, count: int) -> None:
            words = (ctypes.c_int64 * 2).from_address(state)
            while words[1] < count:
                done = words[1]
                start = time.perf_counter()
                while words[1] == done:
                    drive(state, done + 1)
                self.seconds[(words[0] - table) // 8 + 2 * done] = time.perf_counter() - start

        plan.drive, plan.flight = timed, None


def fused(compute: Callable[[], Any]) -> list[Group]:
    """Runs ``compute()`` so that it is compiled as one trace, twice, the second time with a clock; how it was fused.

    Where nothing is compiled (there is no llvmlite, or values were asked for on the way) there are no groups.
    """
    watched, places, recorded = _Plans(), Places(), 0
    for _ in range(2):
        places = Places()
        run_pending()
        places.open()
        try:
            results = compute()
        finally:
            places.close()
        recorded = len(graph.trace)
        with watched.watching():
            run_pending()
        del results
    plan = watched.plan
    return [] if plan is None or plan.recorded != recorded else _groups(plan, places, watched.seconds)


def _groups(plan: Any, places: Places, seconds: dict[int, float]) -> list[Group]:
    calls, rules = places.of_nodes(plan.recorded)
    found, at = [], 0
    for group, told in zip(plan.groups, PlanReport(plan).groups, strict=True):
        ir, us = "", 0.0
        if at < len(plan.steps) and _is_step_of(plan.steps[at], group, plan):
            step = plan.steps[at]
            ir, us = "" if step.loop is None else str(step.loop), 1e6 * seconds.get(plan.entries[at], 0.0)
            at += 1
        made = sorted({calls[i] for i in group.members if i in calls})
        gradients = sorted({rules[i] for i in group.members if i in rules and i not in calls})
        found.append(Group(told.kind, list(told.ops), made, gradients, str(told), ir, us))
    return found


def _is_step_of(step: Any, group: Any, plan: Any) -> bool:
    """Whether a step of a plan is that of a group: most have one, in the same order."""
    if group.body is None:
        return step.loop is None and step.node == group.members[0]
    return step.loop is not None and any(i in plan.in_memory for i in group.members)

"""How a computation was fused: which of its operations run in which loop, what the loop computes, and how long it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from flambeau.core import config
from flambeau.engine import graph, timing
from flambeau.engine.loops import Loop
from flambeau.engine.report import PlanReport
from flambeau.engine.run import run_pending
from flambeau.ops.record import Op
from flambeau.tensor import Tensor
from flambeau.tensor.observing import Observer

MOST_LOOPS, MOST_LINES = 32, 1500
"""Machine code is told of so many loops, and where it has so many lines, at most."""


class Group(NamedTuple):
    """What runs as one: a ``"loop"``, a ``"kernel"`` of its own, or a kernel in ``"NumPy"``.

    ``ops`` are the names of what it computes, ``calls`` numbers of the calls whose results it makes, ``gradients`` of those whose
    gradients it makes. ``text`` is what the engine says of it, ``ir`` the loop and ``code`` the machine code of it (``""``: there
    is none, or it is too long), ``us`` the microseconds that it took (0: not known).
    """

    kind: str
    ops: list[str]
    calls: list[int]
    gradients: list[int]
    text: str
    ir: str
    code: str
    us: float


class Places(Observer):
    """Notes which call, and which rule for gradients, has recorded which nodes. It holds no tensors, which would keep values alive."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[int, int]] = []
        """From which node of the trace on, and up to which, each call has recorded, in the order of calls."""
        self.recorded = 0
        """How many nodes there are in the end."""
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

    def close(self) -> None:
        super().close()
        self.recorded = len(graph.trace)

    def of_nodes(self, count: int) -> tuple[dict[int, int], dict[int, int]]:
        """The call of each of ``count`` nodes, and the call whose rule has recorded it."""
        calls = {node: number for number, (begin, end) in enumerate(self.calls) for node in range(begin, end)}
        rules: dict[int, int] = {}
        for (begin, number), (end, _) in zip(self.rules, [*self.rules[1:], (count, 0)]):
            rules.update(dict.fromkeys(range(begin, end), number))
        return calls, rules


@contextmanager
def _compiling() -> Iterator[None]:
    """Has what is pending compiled at first sight."""
    settings = config.compile_after, config.compiled
    config.compile_after, config.compiled = 0, True
    try:
        yield
    finally:
        config.compile_after, config.compiled = settings


def fused(compute: Callable[[], Any]) -> list[Group]:
    """Runs ``compute()`` so that it is compiled as one trace, twice, the second time with what is known of it warm; how it was
    fused.

    Where nothing is compiled (there is no llvmlite, or values were asked for on the way) there are no groups.
    """
    places = Places()
    seen: list = []
    for _ in range(2):
        places = Places()
        run_pending()
        places.open()
        try:
            results = compute()
        finally:
            places.close()
        timing.listen(seen.append)
        try:
            with _compiling():
                run_pending()
        finally:
            timing.forget(seen.append)
        del results
    ran = seen[-1] if seen else None
    return [] if ran is None or ran.plan is None or places.recorded != len(ran.names) else _groups(ran, places)


def _groups(ran: timing.Ran, places: Places) -> list[Group]:
    calls, rules = places.of_nodes(len(ran.names))
    sizes = ran.plan.sizes
    loops = [step.loop if sizes is None else sizes.value_of(step.loop) for step in ran.plan.steps if step.loop is not None]
    texts = iter([(str(loop), _assembly(loop) if len(loops) <= MOST_LOOPS else "") for loop in loops])
    found = []
    for kernel, told in zip(ran.kernels, PlanReport(ran.plan).groups, strict=True):
        made = sorted({calls[i] for i in kernel.nodes if i in calls})
        gradients = sorted({rules[i] for i in kernel.nodes if i in rules and i not in calls})
        ir, code = next(texts) if kernel.kind == "loop" else ("", "")
        found.append(Group(told.kind, kernel.ops, made, gradients, str(told), ir, code, 1e6 * kernel.seconds))
    return found


def _assembly(loop: Loop) -> str:
    """The machine code that a loop becomes here, as text."""
    from flambeau.engine.cpu.codegen import loop_ir
    from flambeau.engine.cpu.compiler import session

    compiler = session()
    text = compiler.assembly(loop_ir(loop, compiler.machine, "loop"))
    text = text[text.find("\nloop:") + 1 :]  # behind the constants
    lines = [line for line in text.splitlines() if not line.lstrip().startswith(".") or line.rstrip().endswith(":")]
    return "\n".join(lines) if len(lines) <= MOST_LINES else ""

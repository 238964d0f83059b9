"""The plans of a process: which traces are compiled, when, and what came of it.

A trace that is new runs in the interpreter, which needs no preparation, unless that would take longer than compiling does, or the
program trains, which shall give the same bits whatever ran before. One that comes again is compiled, at once. Where
traces come again and again that differ in their sizes alone, a *family*, what a plan does is decided for all sizes (see
:mod:`flambeau.engine.lowered`), and a new member of the family needs no more than that its numbers are put in.

All that a program can lose by compiling is :data:`ALLOWANCE`. Beyond it compiling has to pay: either plans have saved by now what
compiling has cost, or the trace in question has already spent in the interpreter what its compilation will take, so
that it cannot cost more than twice what would have been best. So a program whose graphs come twice each and never again
soon stops compiling.

These costs are estimates from what there is to do, not times: kernels add up in another order than NumPy, so if the clock
decided what is compiled, the last bits of a program's results would differ from run to run.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
import warnings
from collections.abc import Callable
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any

from flambeau.core import config
from flambeau.core.errors import is_passing
from flambeau.engine import flight, report, short
from flambeau.engine import trace as signatures
from flambeau.engine.graph import Node
from flambeau.engine.symbols import Unfit
from flambeau.engine.trace import Trace
from flambeau.engine.verify import OutOfBounds

if TYPE_CHECKING:
    from flambeau.engine.lowered import Lowered
    from flambeau.engine.plan import Plan

ALLOWANCE = 2.0
"""Seconds of compiling that need not pay."""
PLANNING, FITTING, KERNEL = 0.5e-3, 15e-6, 10e-3
"""Seconds that compiling takes for each node, that other sizes take for each node, and that each kernel takes which the
process has not had before, about."""
SIZES = 2
"""How many members of a family are interpreted before a plan is made for all of them, ..."""
WAYS = 8
"""... and how many such plans a family may have, for sizes that are not treated alike."""
MAX_FAMILIES = 1024
LOADING = 0.15
"""Seconds that loading LLVM takes, about."""
CALL, ELEMENT, PRODUCT = 8e-6, 1e-9, 4e-11
"""Seconds that the interpreter takes for each node, for each element that it reads or makes, and for each multiplication of
products and convolutions, about."""
MOST = 1000.0
"""Seconds in the interpreter from which on a trace is not compiled before it has run: its values may be more than memory holds,
which a loop that keeps none of them would not find out."""
MAX_PLANS = 1024
MAX_NODES = 1 << 18
"""How many nodes all plans together have that were made for a member of a family, and all that was lowered for families; what is
forgotten is made again soon enough."""
MAX_SEEN = 1 << 18
"""How many nodes all traces together have that are remembered without a plan."""
MAX_CODE = 256 << 20
"""Bytes of machine code after which no new plans are made: it lives as long as the process."""
MAX_KERNELS = 8192
"""Kernels after which none are made: each takes some mappings of memory, of which Linux gives a process 65,530."""
SAVED = 0.5
"""How much of the interpreter's time a plan saves, about: this part of it counts for further compiling."""


class Seen:
    """A signature without a plan: how often it was interpreted, and the seconds that this takes, about."""

    __slots__ = ("cost", "refused", "times")

    def __init__(self, cost: float) -> None:
        self.times = 0
        self.cost = cost
        self.refused = False  # whether compiling it has failed


class Family:
    """Traces that differ in their sizes alone.

    ``times``    how many of them have been interpreted when they came for the first time, and the seconds that this took, about
    ``kernels``  how many kernels were new in the last plan for one of them
    ``lowered``  what is decided for all sizes; ``refused`` where that has failed
    ``first``    the sizes of the first of them, and ``varied`` in which places others had other sizes, when that was looked at
    """

    __slots__ = ("cost", "first", "kernels", "lowered", "refused", "times", "varied")

    def __init__(self, sizes: list[int]) -> None:
        self.first = sizes
        self.varied: set[int] = set()
        self.times = self.kernels = 0
        self.refused = False
        self.cost = 0.0
        self.lowered: list[Lowered] = []


plans: dict[tuple, Plan] = {}
"""By signature."""
seen: dict[tuple, Seen] = {}
"""Signatures without a plan."""
families: dict[tuple, Family] = {}
"""By signature without sizes."""


class Totals:
    """What the table of plans no longer shows."""

    def __init__(self) -> None:
        self.compiled = 0  # plans
        self.nodes = 0  # theirs
        self.seconds = 0.0  # of compiling
        self.cost = 0.0  # the same, as estimated
        self.code = 0  # bytes of machine code
        self.kernels = 0  # that it is made of
        self.seen = 0  # the nodes of the traces that have been seen without a plan
        self.fitted = 0  # plans that were made by putting in numbers, and ...
        self.fitted_nodes = 0  # ... the nodes of those that are there
        self.lowered_nodes = 0  # the nodes of what is lowered for all sizes
        self.interpreted = 0  # traces
        self.interpreted_seconds = 0.0
        self.hits = 0  # of plans that have been dropped
        self.native_nodes = 0  # that these have run by kernels
        self.numpy_nodes = 0  # that they, or the interpreter, have run by NumPy
        self.native_seconds = 0.0  # in them
        self.saved = 0.0  # seconds in the interpreter that they have replaced, as estimated
        self.refused: dict[str, int] = {}  # traces that could not be compiled, by what went wrong


totals = Totals()


def find(trace: Trace) -> Plan | None:
    """The plan for a trace, compiled now if it is time for that; ``None`` where the interpreter shall run it."""
    plan = plans.get(trace.key)
    if plan is None:
        before = seen.get(trace.key)
        times = 0 if before is None else before.times
        if before is not None and before.refused or sys.is_finalizing():  # when nothing can be imported any more
            return None
        if times >= config.compile_after:
            # On first sight by request.
            if cost_of(trace) < MOST if before is None else _worthwhile(len(trace.nodes), times * before.cost):
                plan = _compile(trace)
        elif times == 0 and cost_of(trace) < MOST:
            plan = _member(trace)
            if plan is None and (_is_heavy(trace) or _at_once() and _worthwhile(len(trace.nodes), 0.0)):
                plan = _compile(trace)
        if plan is None:
            return None
    plan.runs += 1
    if plan.special and plan.runs >= plan.special_after:
        _specialise(plan)
    return plan


def _member(trace: Trace) -> Plan | None:
    """A plan for a trace that has not come before, though others of its family have."""
    key, sizes = trace.form()
    family = families.get(key)
    if family is None:
        if len(families) >= MAX_FAMILIES or totals.lowered_nodes > MAX_NODES:
            families.clear()
            totals.lowered_nodes = 0
        family = families[key] = Family(sizes)
    if family.refused:
        return None
    cost = cost_of(trace)
    cheap = config.deterministic or family.kernels * KERNEL < cost or _affordable()
    plan = _fitted(trace, family, sizes, cost) if cheap else None
    if plan is not None:
        return plan
    family.times += 1
    family.cost += cost
    if family.times <= (1 if _at_once() else max(SIZES, config.compile_after)) or not _worthwhile(len(trace.nodes), family.cost):
        return None
    plan = None if cheap else _fitted(trace, family, sizes, cost)
    if plan is not None or len(family.lowered) >= WAYS:
        return plan
    plan = _compile(trace, family, sizes, None, cost)
    if family.lowered:
        totals.lowered_nodes += len(family.lowered[0].nodes)
    return plan


def _fitted(trace: Trace, family: Family, sizes: list[int], cost: float) -> Plan | None:
    """A plan by what was lowered for all sizes of a family, if that holds for these; ``cost`` is as in :func:`_compile`."""
    for k, lowered in enumerate(family.lowered):
        with contextlib.suppress(Unfit):
            plan = _compile(trace, family, sizes, lowered, cost)
            if k:  # the next member is likely to be like this one
                family.lowered.insert(0, family.lowered.pop(k))
            return plan
    return None


def _at_once() -> bool:
    """Whether traces are compiled on first sight, so that the bits of results do not depend on what has run before in the process."""
    return config.deterministic or config.training and not config.eager


SAMPLED = 16
"""One of so many runs of a plan is timed; the first is not, since it meets memory that is new."""
NOTED = 64
"""In the second of so many runs it is seen whether there is a short way."""


def run(plan: Plan, trace: Trace, journal, wanted: Node | None, ahead: bool) -> bool:
    """Runs a plan that :func:`find` gave; returns whether it could. See :func:`flambeau.engine.run.run_ahead`."""
    if plan.runs % NOTED == 2:
        short.note(plan, trace)
    if plan.runs % SAMPLED != 2:
        samples, seconds = plan.sampled
        return plan.run(trace, journal, wanted, seconds / max(1, samples) if ahead else None)
    flight.land()
    start = time.perf_counter()
    done = plan.run(trace, journal)
    samples, seconds = plan.sampled
    plan.sampled = samples + 1, seconds + time.perf_counter() - start
    return done


def interpreted(key: tuple, nodes: int, cost: float, seconds: float) -> None:
    """Takes note that the interpreter has run a trace for which there was no plan, at a cost as :func:`cost_of` gives it."""
    totals.interpreted += 1
    totals.interpreted_seconds += seconds
    totals.numpy_nodes += nodes
    before = seen.get(key)
    if before is None:
        if totals.seen + nodes > MAX_SEEN:
            _forget(key)
        totals.seen += nodes
        before = seen[key] = Seen(cost)
    before.times += 1


def cost_of(trace: Trace) -> float:
    """The seconds that the interpreter takes for a trace, about."""
    if trace.cost:
        return trace.cost
    structure, nodes = trace.structure, trace.nodes
    elements = 0
    touched = chain([n + 1 for n in structure.uses], structure.leaf_uses)  # how often each value is written or read
    for x, uses in zip(chain(nodes, trace.leaves), touched):
        elements += uses * (prod(x.shape) if x.dtype.__class__ is not tuple else sum(map(prod, x.shape)))
    trace.cost = CALL * len(nodes) + ELEMENT * elements + PRODUCT * multiplications(nodes)
    return trace.cost


def multiplications(nodes: list[Node]) -> int:
    """How many numbers are multiplied by ops that multiply many for each element."""
    rules = [(MULTIPLIED.get(node.op.name), node) for node in nodes]
    return sum([rule(node, *node.inputs) for rule, node in rules if rule is not None])


def _inner(node: Node, a: Node) -> int:
    """The multiplications of a matrix product whose left side is ``a``."""
    return prod(node.shape) * a.shape[-1] if a.shape else 0


MULTIPLIED: dict[str, Callable[..., int]] = {
    **dict.fromkeys(["mm", "bmm", "mv", "dot", "aten.matmul"], lambda node, a, b: _inner(node, a)),
    **dict.fromkeys(["addmm", "baddbmm"], lambda node, d, a, *rest: _inner(node, a)),
    "_convolution": lambda node, x, weight, *bias: prod(node.shape) * prod(weight.shape[1:]),
    "_convolution_input": lambda node, grad, weight, *bias: prod(grad.shape) * prod(weight.shape[1:]),
    "_convolution_weight": lambda node, x, grad: prod(grad.shape) * prod(node.shape[1:]),
}
"""How many numbers are multiplied, by the op's name, for ops that multiply many for each element."""

PRODUCTS = frozenset([*MULTIPLIED, "_attention", "_attention_grad", "_recurrence", "_recurrence_grad"])
"""The ops whose meaning in NumPy is made of products."""


def calm(nodes: list) -> contextlib.AbstractContextManager:
    """What a trace for which there is no plan is interpreted in: NumPy's products then use one thread.

    They are small, or the trace would have been compiled. More threads gain nothing, wait for each other where other
    processes use the cores, and change the last bits.
    """
    if PRODUCTS.isdisjoint([node.op.name for node in nodes]) or sys.is_finalizing():
        return contextlib.nullcontext()
    from flambeau.engine.cpu import blas  # ctypes, which most programs do without

    return blas.one_thread()


def clear() -> None:
    """Forgets all plans and what was seen."""
    families.clear()
    totals.lowered_nodes = 0
    _drop(list(plans))
    _forget()


def _forget(*but: tuple) -> None:
    """Forgets signatures that have no plan."""
    seen.clear()
    totals.seen = 0
    signatures.forget({structure for structure, _ in (*plans, *but)})


GAIN = 0.25
"""How much of the interpreter's time kernels for a plan's own sizes save, about."""


def _specialise(plan: Plan) -> None:
    """Gives a plan kernels for its own sizes, for which it has run often enough: their bits are the same."""
    from flambeau.engine.cpu.compiler import session

    stats = session().stats
    if totals.code > MAX_CODE or totals.kernels > MAX_KERNELS:
        plan.special_after = math.inf
        return
    start, known = time.perf_counter(), stats.compiled + stats.loaded
    try:
        plan.specialise()
    finally:
        totals.seconds += time.perf_counter() - start
        totals.cost += KERNEL * (stats.compiled + stats.loaded - known)
        totals.code, totals.kernels = stats.bytes, stats.compiled + stats.loaded


def _is_heavy(trace: Trace) -> bool:
    """Whether the interpreter would take longer for a trace, this time alone, than compiling it will."""
    cost = cost_of(trace)
    if cost < PLANNING * len(trace.nodes) or totals.code > MAX_CODE or totals.kernels > MAX_KERNELS:
        return False
    kernels = len({node.op for node in trace.nodes} | {node.kind for node in trace.nodes if node.op.name in MULTIPLIED})
    compiling = PLANNING * len(trace.nodes) + KERNEL * kernels
    if totals.nodes:
        compiling = min(compiling, totals.cost / totals.nodes * len(trace.nodes))
    return cost > compiling + (0.0 if "flambeau.engine.cpu.compiler" in sys.modules else LOADING)


def _worthwhile(nodes: int, spent: float) -> bool:
    """Whether so many nodes may be compiled, for which the interpreter has taken so many seconds by now."""
    if totals.code > MAX_CODE or totals.kernels > MAX_KERNELS:
        return False
    return config.deterministic or _affordable() or spent > totals.cost / max(1, totals.nodes) * nodes


def _affordable() -> bool:
    """Whether compiling has taken no more than is allowed, or has been worth it by now."""
    return totals.cost < ALLOWANCE or totals.cost < ALLOWANCE + SAVED * (totals.saved + sum(map(_replaced, plans.values())))


def _compile(
    trace: Trace, family: Family | None = None, sizes: list[int] | None = None, lowered: Lowered | None = None, cost: float = 0.0
) -> Plan | None:
    """Makes a plan: for a trace with its sizes, or for all sizes of a family and then for these, or by what was ``lowered`` for
    all.

    ``cost`` is what the interpreter takes for it, about, if that is known.
    """
    before = seen.pop(trace.key, None)
    start = time.perf_counter()
    try:
        from flambeau.engine.cpu.compiler import session  # LLVM and what uses it are loaded with the first plan
        from flambeau.engine.lowered import Lowered
        from flambeau.engine.plan import Plan

        stats = session().stats
        known = stats.compiled + stats.loaded
        if lowered is None:
            totals.cost += PLANNING * len(trace.nodes)
            trace.mark()
            if family is None or sizes is None:
                lowered = Lowered(trace)
            else:
                family.varied.update([k for k, (a, b) in enumerate(zip(family.first, sizes, strict=True)) if a != b])
                lowered = Lowered(trace, sizes, sorted(family.varied))
                family.lowered.insert(0, lowered)
        totals.cost += FITTING * len(trace.nodes)
        plan = Plan(lowered, sizes)
        fresh = stats.compiled + stats.loaded - known
        totals.cost += KERNEL * fresh
        if family is not None:
            family.kernels = fresh
    except Unfit:
        raise
    except OutOfBounds:
        if before is None:  # the interpreter shall find out
            return None
        raise
    except Exception as error:
        if config.strict or is_passing(error) or None in trace.nodes:  # a signal handler has had it run meanwhile
            raise
        _note_refusal(trace, error)
        if family is not None:
            family.refused = True
            return None
        seen[trace.key] = before = before or Seen(cost_of(trace))
        before.refused = True
        return None
    finally:
        totals.seconds += time.perf_counter() - start
    totals.compiled += 1
    totals.nodes += len(trace.nodes)
    totals.code, totals.kernels = stats.bytes, stats.compiled + stats.loaded
    plan.recorded = len(trace.nodes)
    plan.interpreted = cost or (cost_of(trace) if before is None else before.cost)
    plan.special_after = KERNEL * len(plan.special) / (GAIN * max(CALL, plan.interpreted))
    if sizes is not None:
        totals.fitted += 1
        totals.fitted_nodes += len(plan.nodes)
    if len(plans) >= MAX_PLANS or totals.fitted_nodes > MAX_NODES:
        _make_room()
    plans[trace.key] = plan
    if report.wanted("plan"):
        report.write("plan", str(report.PlanReport(plan)))
    return plan


def _make_room() -> None:
    """Drops the plans that have run the least."""
    _drop(sorted(plans, key=lambda key: plans[key].runs)[: len(plans) // 2])
    for kept in plans.values():  # what was used long ago counts for less and less
        _retire(kept)
        kept.runs = 0
    signatures.forget({structure for structure, _ in (*plans, *seen)})


MAX_REASONS = 64
"""Refusals are told apart until there are so many."""


def _note_refusal(trace: Trace, error: Exception) -> None:
    """Counts a trace that cannot be compiled, and says so the first time: it is a bug of flambeau's that costs speed."""
    reason = f"{type(error).__name__}: {error}"
    known = totals.refused
    if reason not in known and len(known) >= MAX_REASONS:
        reason = "others"
    known[reason] = known.get(reason, 0) + 1
    report.write("plan", f"a trace of {len(trace.nodes)} nodes is not compiled: {error!r}")
    if sum(known.values()) == 1:
        text = (
            f"flambeau cannot compile a part of this program ({reason}): NumPy computes it each time, which is right but may be "
            "slow. This is a bug; torch.engine_stats()['refused'] counts such parts."
        )
        with contextlib.suppress(Warning):  # an error must not come from within the engine
            warnings.warn(text, RuntimeWarning, stacklevel=2)


def _drop(keys: list[tuple]) -> None:
    short.ways.clear()
    for key in keys:
        plan = plans.pop(key)
        _retire(plan)
        if plan.sizes is not None:
            totals.fitted_nodes -= len(plan.nodes)


def _retire(plan: Plan) -> None:
    totals.hits += plan.runs
    native, numpy = _nodes_run(plan)
    totals.native_nodes += native
    totals.numpy_nodes += numpy
    totals.native_seconds += _running(plan)
    totals.saved += _replaced(plan)


def _nodes_run(plan: Plan) -> tuple[int, int]:
    """How many nodes a plan has run by kernels, and by NumPy."""
    numpy = sum([not step.compiled for step in plan.steps])
    return plan.runs * (plan.recorded - numpy), plan.runs * numpy


def _running(plan: Plan) -> float:
    """Seconds that the runs of a plan have taken, about."""
    samples, seconds = plan.sampled
    return plan.runs * seconds / max(1, samples)


def _replaced(plan: Plan) -> float:
    """Seconds that the interpreter would have taken for the runs of a plan, about."""
    return plan.runs * plan.interpreted


def engine_stats() -> dict[str, Any]:
    """Figures of the engine, since the program began. Not in PyTorch.

    ======================  ==================================================================================
    ``plans``               plans that are there now
    ``compiled``            plans that have been compiled
    ``fitted``              those of them that took no more than other numbers for what is known of all sizes
    ``compile_ms``          milliseconds that compiling took, loading LLVM included
    ``hits``                traces that a plan has run
    ``misses``              traces that the interpreter has run, for lack of a plan
    ``nodes_native``        nodes that kernels have run
    ``nodes_numpy``         nodes that NumPy has run, in the interpreter or within plans
    ``refused``             how many traces could not be compiled, by the reason: a bug, where there are any
    ``interpreted_ms``      milliseconds that the interpreter took, for ``misses``
    ``native_ms``           time in plans' runs, estimated from one in 16
    ``flights``             runs of plans that went on while Python did something else
    ``kernels_compiled``    kernels that LLVM has compiled
    ``kernels_loaded``      kernels whose machine code came from the cache on disk
    ``code_bytes``          machine code in memory
    ``arena_bytes``         memory for intermediate values, shared by all plans
    ======================  ==================================================================================

    >>> import flambeau as torch
    >>> stats = torch.engine_stats()
    >>> stats["hits"] >= 0 and sorted(stats)[:3]
    ['arena_bytes', 'code_bytes', 'compile_ms']
    """
    plan, compiler = (sys.modules.get(f"flambeau.engine.{name}") for name in ("plan", "cpu.compiler"))
    kernels = compiler.session().stats if compiler is not None else None
    nodes = [_nodes_run(plan) for plan in plans.values()]
    return {
        "plans": len(plans),
        "compiled": totals.compiled,
        "fitted": totals.fitted,
        "compile_ms": totals.seconds * 1e3,
        "hits": totals.hits + sum(plan.runs for plan in plans.values()),
        "misses": totals.interpreted,
        "nodes_native": totals.native_nodes + sum([n for n, _ in nodes]),
        "nodes_numpy": totals.numpy_nodes + sum([n for _, n in nodes]),
        "refused": dict(totals.refused),
        "interpreted_ms": totals.interpreted_seconds * 1e3,
        "native_ms": (totals.native_seconds + sum(map(_running, plans.values()))) * 1e3,
        "flights": flight.launched,
        "kernels_compiled": kernels.compiled if kernels else 0,
        "kernels_loaded": kernels.loaded if kernels else 0,
        "code_bytes": totals.code,
        "arena_bytes": plan.arena.used if plan is not None else 0,
    }

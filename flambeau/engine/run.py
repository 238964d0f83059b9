"""Running what is pending.

A signal handler of Python's runs in the middle of whatever Python code there is: when a function is called or has returned, and
when a loop begins anew. It may raise, and it may use tensors. So a trace that has been taken stays in a journal, :data:`current`,
until all is done, and each step towards that either counts itself in one go (stores to attributes, lists and memory with no
call in between) or may be done again. What was interrupted is left as it is: whoever comes next, be it the handler itself, goes
on with a plan whose kernels have begun, and puts anything else back to what is pending.
"""

from __future__ import annotations

from contextlib import nullcontext
from sys import is_finalizing
from threading import get_ident
from time import perf_counter
from typing import Any

from flambeau.core import config
from flambeau.core.errors import is_passing, out_of_memory, raise_first
from flambeau.engine import flight, graph, short, uncompiled
from flambeau.engine.flight import lock
from flambeau.engine.graph import VIEW, Node
from flambeau.engine.interpreter import Failed, forget_uses, interpret, interpret_alone, mark_needed, why_pending


class Run:
    """A trace that has been taken and is not done yet.

    ``nodes``      its nodes in program order; ``None`` for those that the interpreter is done with
    ``storages``   who takes which content in the end; ``written`` refers to them
    ``history``    what contents are taken back to after an error (see ``graph.history``)
    ``execution``  the plan that runs it, once it has begun
    ``live``       whether it is still to be done: it has not been put back, and is not over
    """

    execution: Any = None
    live = True

    nodes: list
    storages: dict
    written: list
    history: list


current: Run | None = None
"""The run that is going on, or was interrupted."""
taken = 0
"""How many there have been."""


def run_pending(wanted: Node | None = None) -> None:
    """Runs the trace: every node whose value can still be seen gets it, and storages take their new content.

    Raises the first error that a kernel raised, after everything that does not depend on it has run. Where memory ran out,
    nodes stay pending, and the error is raised again for who wants one of these.
    """
    if len(graph.trace) > short.MOST or not _run_short():
        _run(wanted, False)
    if flight.aloft is not None:
        flight.land()


def run_ahead(wanted: Node | None = None) -> None:
    """Starts the trace: as :func:`run_pending`, but only ``wanted`` is sure to have its content on return, the rest may still be
    in the air."""
    if len(graph.trace) > short.MOST or not _run_short():
        _run(wanted, True)


def _run_short() -> bool:
    """Runs a little trace that there is a short way for; whether it has run."""
    global fresh_bytes, taken
    done = False
    with lock:
        if current is None and not graph.written and not graph.history and flight.aloft is None and config.compiled:
            try:
                done = short.run()
            except MemoryError as shortage:
                raise out_of_memory(shortage) from None
            if done:
                taken += 1
    if done:
        fresh_bytes = 0
    return done


def _run(wanted: Node | None, ahead: bool) -> None:
    nested = lock._is_owned()  # type: ignore[attr-defined]  # where a handler's work goes back to, kernels may be about to run
    with lock:  # taken first: what is asked for may be running in another thread
        if config.values_unknown and wanted is not None:
            return interpret_alone(wanted)
        run = None
        try:
            while run is None:
                if current is not None:
                    _settle(current)
                if not graph.trace and not graph.written:
                    return
                run = _take()
            errors = _execute(run, wanted, ahead and not nested)
        except MemoryError as short:
            raise out_of_memory(short) from None
        except Exception as wrong:
            if run is None or run.live or is_passing(wrong):
                raise
            errors = []  # a signal handler has gone on with this run: what it left is nothing to work on
        _commit(run)
    own = [error for error, thread in errors if thread in (0, get_ident())]  # another thread's is raised where its value is read
    errors.clear()  # it is known to frames that the errors know
    raise_first(own)
    if wanted is not None and wanted.value is None:
        raise_first([why_pending(wanted)])


def _take() -> Run | None:
    """Takes what is pending; ``None`` where a signal handler has done so meanwhile."""
    global current, fresh_bytes, taken
    before = taken
    # Other threads go on recording. Their storages are taken before the trace, so that it has the nodes of all.
    written = graph.written[:]
    storages = {} if not written else {storage: storage.node for storage in [ref() for ref in written] if storage is not None}
    writes, run = len(written), Run()
    if taken != before or current is not None:
        return None
    current, taken = run, before + 1  # no call from the line before on
    run.storages, run.written = storages, written
    run.nodes, run.history = graph.trace[:], graph.history[:]
    del graph.trace[:], graph.history[:], graph.written[:writes]
    graph.fallible, fresh_bytes = False, 0
    return run


def _settle(run: Run) -> None:
    """Does what is left of a run that was interrupted, or makes it pending again."""
    if run.execution is not None and run.execution.go_on():
        _commit(run)
    else:
        _put_back(run)


def _execute(run: Run, wanted: Node | None, ahead: bool) -> list[tuple[Exception, int]]:
    nodes, history = run.nodes, run.history
    seen = None
    if config.compiled and (_tier or not is_finalizing()):  # when nothing can be imported any more
        plans, Trace = _tier or _compiled_tier()
        trace = Trace(nodes, run.storages, history)
        try:
            plan = plans.find(trace)
            if plan is None:
                seen = trace.key, len(nodes), plans.cost_of(trace)
            elif plans.run(plan, trace, run, wanted, ahead):
                return []
        except Exception as error:
            # What kernels have written cannot be taken back: where they have begun, they go on later.
            wrong = not isinstance(error, MemoryError) and (config.strict or is_passing(error))
            if run.execution is not None or wrong:
                raise
        del trace
        run.execution = None
    elif config.lacks_compiler:
        uncompiled.note(nodes)
    flight.land()
    start = perf_counter()
    forget_uses(nodes)
    with nullcontext() if seen is None else plans.calm(nodes):
        _hold(history)
        mark_needed(nodes)
        errors = interpret(nodes, set(run.storages.values()))
    # One that fails is not seen: what is wrong with it may be what plans rely on. Nor is one for which there was no memory:
    # kernels that are one need none, and would run for days.
    if seen is not None and not errors and not any(nodes):
        plans.interpreted(*seen, perf_counter() - start)
    return errors


_tier: tuple = ()


def _compiled_tier() -> tuple:
    """What knows plans, and what they are found by: loaded when the first trace runs."""
    global _tier
    from flambeau.engine import plans
    from flambeau.engine.trace import Trace

    _tier = plans, Trace
    return _tier


def _commit(run: Run) -> None:
    """Gives storages the contents that have been computed, and ends the run."""
    global current
    if not run.live:
        return
    if run.history:
        _restore(run.history, run.storages)
    for storage, node in run.storages.items():
        if run.live:
            storage.commit(node)
    if run.execution is None and run.live and any(run.nodes):  # for lack of memory
        _put_back(run)
    if run.live:  # no call from here on
        run.live = False
        current = None


def _put_back(run: Run) -> None:
    """Makes all of a run that has not been computed pending again, before what has been recorded since."""
    global current
    left: list[Node] = []
    known: set[Node] = set()
    for node in run.nodes:
        if node is not None and node.value is None:
            _put(node, left, known)
        elif node is not None and (node.kept or node.op is not VIEW):
            _leave(node, left, known)
    for _, node in run.history:
        _leave(node, left, known)
    done = [None] * len(run.nodes)
    written, history = run.written, [entry for entry in run.history if entry[0]() is not None]
    fallible = bool(history) or any([node.op.checked for node in left])
    if run.live:  # no call from here on
        run.live = False
        graph.trace[:0] = left
        graph.written[:0] = written
        graph.history[:0] = history
        graph.fallible = graph.fallible or fallible
        run.nodes[:] = done
        current = None


def _put(node: Node, left: list, known: set) -> None:
    """Adds a node that has no value to those that are ``left``, after views that it reads."""
    if node not in known:
        known.add(node)
        for x in node.inputs:
            if x.__class__ is Node:
                x.uses = 0
                _leave(x, left, known)
        node.uses = 0
        left.append(node)


def _leave(node: Node, left: list, known: set) -> None:
    """Lets a node that has a value forget how that came about; a view of another one's memory is to be made again."""
    if node.value is None or node.op is None:
        return
    if node.op is VIEW and not node.kept:
        node.value = None
        _put(node, left, known)
    else:
        node.uses = 0
        node.op, node.attrs, node.inputs = None, graph.NO_ATTRS, ()


def _hold(history: list) -> None:
    """Counts the history as a use: its nodes are no results that somebody can see, but are there after an error."""
    for _, node in history:
        node.uses += 1


def _restore(history: list, storages: dict) -> None:
    """Gives storages whose newest content failed the last one that did not."""
    for ref, node in reversed(history):
        storage = ref()
        if storage is None or storage.node.value.__class__ is not Failed:
            continue
        if node.value is not None and node.value.__class__ is not Failed:
            node.op, node.attrs, node.inputs, node.uses = None, graph.NO_ATTRS, (), 0
            storage.node = node
            if storage in storages:
                storages[storage] = node


FEW = 3


def is_short(nodes: list) -> bool:
    """Whether so little is pending that waiting for more gains nothing where a value is about to be written away."""
    return len(nodes) <= FEW


fresh_bytes = 0
"""Memory of the tensors that have been made from data since the trace ran; the trace may hold on to all of it."""


def after_creation(size: int) -> None:
    """Counts the memory of a new tensor, and runs the trace before it holds on to too much that nobody else needs."""
    global fresh_bytes
    fresh_bytes += size
    if fresh_bytes > config.max_pending_bytes:
        run_pending()


def after_record() -> None:
    """Runs the trace in immediate mode, and where it is so long that waiting gains nothing."""
    if config.eager or len(graph.trace) >= config.max_pending_nodes:
        run_ahead()

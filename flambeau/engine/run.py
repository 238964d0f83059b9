"""Running what is pending."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the functions of signal, without what their enums cost
import threading
from collections.abc import Callable
from functools import cache
from time import perf_counter

from flambeau.core import config
from flambeau.engine import flight, graph
from flambeau.engine.flight import lock
from flambeau.engine.graph import Node
from flambeau.engine.interpreter import Failed, interpret, mark_needed


def run_pending() -> None:
    """Runs the trace: every node whose value can still be seen gets it, and storages take their new content.

    Raises the first error that a kernel raised, after everything that does not depend on it has run.
    """
    _run(None, False)
    flight.land()


def run_ahead(wanted: Node | None = None) -> None:
    """The same, but only ``wanted`` is sure to have its content on return: the rest may still be in the air."""
    _run(wanted, True)


def _run(wanted: Node | None, ahead: bool) -> None:
    global fresh_bytes
    with lock:  # taken first: what is asked for may be running in another thread
        if not graph.trace and not graph.written:
            return
        release_interrupts = _hold_interrupts()
        # Other threads go on recording. Their storages are taken before the trace, so that it has the nodes of all.
        refs = graph.written[:]
        del graph.written[: len(refs)]
        storages = {storage: storage.node for storage in [ref() for ref in refs] if storage is not None}
        todo = graph.trace[:]
        del graph.trace[: len(todo)]
        history = graph.history[:]
        del graph.history[: len(history)]
        graph.fallible, fresh_bytes = False, 0
        try:
            error = _execute(todo, storages, history, wanted, ahead)
            if error is not None:
                _restore(history, storages)
            for storage, node in storages.items():
                storage.commit(node)
        finally:
            release_interrupts()
    if error is not None:
        raise error


def _execute(todo: list, storages: dict, history: list, wanted: Node | None, ahead: bool) -> BaseException | None:
    seen = None
    if config.compiled:
        plans, Trace = _compiled_tier()
        trace = Trace(todo, storages, history)
        plan = plans.find(trace)
        if plan is None:
            seen = trace.key, len(todo), plans.cost_of(trace)
        else:
            if plans.run(plan, trace, wanted, ahead):
                return None
        del trace
    flight.land()
    start = perf_counter()
    _hold(history)
    mark_needed(todo)
    error = interpret(todo, set(storages.values()))
    if seen is not None and error is None:  # one that fails is not seen: what is wrong with it may be what plans rely on
        plans.interpreted(*seen, perf_counter() - start)
    return error


@cache
def _compiled_tier() -> tuple:
    """What knows plans, and what they are found by: loaded when the first trace runs."""
    from flambeau.engine import plans
    from flambeau.engine.trace import Trace

    return plans, Trace


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


def _hold_interrupts() -> Callable[[], None]:
    """Lets Ctrl-C wait until values and storages are consistent again; returns what ends that."""
    handler = _signal.getsignal(_signal.SIGINT)
    if threading.get_ident() != _MAIN_THREAD or not callable(handler):
        return lambda: None
    caught: list[tuple] = []
    _signal.signal(_signal.SIGINT, lambda *args: caught.append(args))

    def release() -> None:
        _signal.signal(_signal.SIGINT, handler)
        if caught:
            handler(*caught[0])

    return release


_MAIN_THREAD = threading.main_thread().ident
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

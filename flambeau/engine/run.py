"""Running what is pending."""

from __future__ import annotations

import threading

import numpy as np

from flambeau.core import config
from flambeau.engine import graph
from flambeau.engine.interpreter import interpret, mark_needed

lock = threading.RLock()
"""Held while a trace runs and storages take their content."""


def run_pending() -> None:
    """Runs the trace: every node whose value can still be seen gets it, and storages take their new content.

    Raises the first error that a kernel raised, after everything that does not depend on it has run.
    """
    with lock:  # taken first: what is asked for may be running in another thread
        if not graph.trace and not graph.written:
            return
        # Other threads go on recording. Their storages are taken before the trace, so that it has the nodes of all.
        refs = graph.written[:]
        del graph.written[: len(refs)]
        storages = {storage: storage.node for storage in [ref() for ref in refs] if storage is not None}
        todo = graph.trace[:]
        del graph.trace[: len(todo)]
        mark_needed(todo)
        error = _execute(todo, storages)
        for storage, node in storages.items():
            storage.commit(node)
    if error is not None:
        raise error


def _execute(todo: list, storages: dict) -> BaseException | None:
    if config.compiled:
        from flambeau.engine.plan import Trace, find

        trace = Trace(todo, storages)
        plan = find(trace)
        if plan is not None:
            todo.clear()
            with np.errstate(all="ignore"):
                return plan.run(trace)
        del trace
    return interpret(todo)


def after_record() -> None:
    """Runs the trace in immediate mode, and where it is so long that waiting gains nothing."""
    if config.eager or len(graph.trace) >= config.max_pending_nodes:
        run_pending()

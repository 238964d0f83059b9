"""Backward passes inside of backward passes: a custom function's ``backward``, or a hook, may run one itself.

Each level takes some of Python's stack. So every so often a level runs in a thread of its own, which has a stack of its own,
and they may be nested as deep as memory allows.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from typing import Any

from flambeau.core.errors import raise_first
from flambeau.dispatch import autocast, grad_mode

MAX_NESTED = 25
"""Levels in one thread: a few hundred frames of Python's thousand, as each level has the user's too."""


class _Nesting(threading.local):
    """How deep a thread is inside of backward passes."""

    depth = 0


_nesting = _Nesting()


def nested(function: Callable, *args: Any) -> Any:
    """``function(*args)``, which may run a backward pass."""
    _nesting.depth += 1
    try:
        return function(*args) if _nesting.depth % MAX_NESTED else _in_thread(function, args)
    finally:
        _nesting.depth -= 1


def _in_thread(function: Callable, args: tuple) -> Any:
    modes = grad_mode.enabled, grad_mode.inference, grad_mode.asked, autocast.cast
    outcome: list = []

    def run() -> None:
        try:
            grad_mode.enabled, grad_mode.inference, grad_mode.asked, autocast.cast = modes
            outcome.extend((function(*args), None))
        except BaseException as error:
            outcome[:] = [None, error]

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        _wait(thread)
    except BaseException as error:  # of a signal handler, or from the thread that waits for this one
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(type(error)))
        _wait(thread)
        raise
    result = outcome.pop(0)
    raise_first(outcome)
    return result


def _wait(thread: threading.Thread) -> None:
    while thread.is_alive():
        thread.join(0.1)  # not for ever: an exception that is set for this thread is raised between two waits

"""A thread that moves on what has been started, while the program computes.

MPI moves nothing by itself: data flows while somebody calls it. So the thread asks again and again whether operations are done that
nobody waits for yet, with short sleeps in between. It decides nothing: which operations there are and in which order is said where
they are started, in the program's thread, so all processes agree on it.
"""

from __future__ import annotations

import os
import threading
import time

from flambeau.distributed._errors import DistError
from flambeau.distributed._transport import Pending

__all__ = ["move_on", "stop"]

NAP, LONG_NAP = 50e-6, 1e-3
"""Seconds between questions: a message of 1 MB takes some ten of them, so longer ones would be felt. Of operations that are open
for ``PATIENCE`` seconds, the other processes are late, and there are few questions."""
PATIENCE = 1.0


class _Mover:
    """The thread, and what it moves."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self._open: list[Pending] = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="flambeau-communication", daemon=True)
        self._thread.start()

    def add(self, pending: Pending) -> None:
        with self._changed:
            self._open.append(pending)
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        last = time.monotonic()
        while True:
            with self._changed:
                while not self._open and not self._ended:
                    self._changed.wait()
                    last = time.monotonic()
                if self._ended:
                    return
                asked = list(self._open)
            for pending in asked:
                if _is_over(pending):
                    last = time.monotonic()
                    with self._changed:
                        self._open.remove(pending)
            time.sleep(NAP if time.monotonic() < last + PATIENCE else LONG_NAP)


def _is_over(pending: Pending) -> bool:
    try:
        return pending.test()
    except DistError:  # who waits for it is told
        return True


_mover: _Mover | None = None


def move_on(pending: Pending) -> Pending:
    """``pending``, which goes on from now on without being asked."""
    global _mover
    if not pending.test():
        if _mover is None or _mover.process != os.getpid():  # a fork has no threads
            _mover = _Mover()
        _mover.add(pending)
    return pending


def stop() -> None:
    """Ends the thread, before MPI ends."""
    global _mover
    if _mover is not None and _mover.process == os.getpid():
        _mover.stop()
    _mover = None

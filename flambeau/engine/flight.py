"""Flights: kernels of a plan that a worker runs while Python goes on.

A program that asks for its loss needs the forward pass; the backward pass and the update of the parameters have time until
somebody looks at what they write. So where a plan is all native code, and long enough to be worth it, only the kernels up to
the value that is asked for run at once; the rest is launched, and the program records its next step meanwhile, as it would
with a GPU. One flight is aloft at a time. Whoever may write to the memory of values calls :func:`land` first, and whoever only
reads a value :func:`settle`.

Where other processes use the cores, a worker may not run when it should. A flight that has to be waited for longer than its
kernels take has been a mistake: nothing flies for a multiple of that time then.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Callable, Collection
from functools import cache
from time import perf_counter

import numpy as np

from flambeau.core import config

lock = threading.RLock()
"""Held while a trace runs and storages take their content, and while somebody waits for a flight."""

aloft: Flight | None = None
"""The flight that may still be going on."""

launched = 0
"""How many flights there have been."""

ALL = 1 << 62


class Flight:
    """What is in the air: all memory that its kernels use lives as long as this."""

    __slots__ = ("_over", "_owners", "land", "read", "ready", "seconds", "waited", "written")

    def __init__(
        self,
        land: Callable[[int, int], None],
        ready: Callable[[np.ndarray], int],
        seconds: float,
        written: Collection[np.ndarray],
        read: object,
    ) -> None:
        self.land = land  # native: waits until so many kernels (second argument) have run, and says so (at the first)
        self.ready = ready  # how many kernels must have run until an array has its content
        self.seconds = seconds  # that they take on all threads, about; 0.0: not known
        self.waited = 0.0  # seconds that it has been waited for
        self.written = written
        self.read = read
        self._owners: set[int] | None = None
        self._over = array("q", [0])

    def writes(self, value: np.ndarray) -> bool:
        """Whether it may write to memory of ``value``."""
        if self._owners is None:
            self._owners = {id(_owner(a)) for a in self.written}
        return id(_owner(value)) in self._owners

    def wait(self, enough: int) -> None:
        """Waits until so many kernels have run."""
        global grounded_until
        start = perf_counter()
        over = self._over
        address = over.buffer_info()[0]
        over[0] = 0
        while not over[0]:  # it comes back for signal handlers
            self.land(address, enough)
        end = perf_counter()
        self.waited += end - start
        if enough == ALL and 0.0 < LATE * self.seconds < self.waited:
            grounded_until = end + PENALTY * min(self.waited, LONGEST * self.seconds)


def _owner(a):
    while a.__class__ is np.ndarray and a.base is not None:
        a = a.base
    return a


LATE = 1.1
"""A flight that has been waited for so many times as long as its kernels take has been a mistake."""
PENALTY, LONGEST = 20.0, 4.0
"""Nothing flies for so many times as long; of a wait that was much longer only so many times the kernels' time count."""
grounded_until = 0.0
"""The time until which nothing flies."""


def launch(
    state: array, count: int, ready: Callable[[np.ndarray], int], seconds: float, written: Collection[np.ndarray], read: object
) -> None:
    """Has a worker make the calls that :func:`flambeau.engine.cpu.compiler.driver` would; none may be aloft.

    They count as made at once. If this is interrupted, they are the flight's, or are still to be made.
    """
    global aloft, launched
    team = _team()
    launched += 1
    aloft = Flight(team.land, ready, seconds, written, read)  # first: it holds what the worker uses
    team.launch(state.buffer_info()[0], count)


@cache
def _team():
    """The pool, which is loaded when something is launched for the first time."""
    from flambeau.engine.cpu.threads import pool

    return pool()


def land() -> None:
    """Waits until nothing is aloft, and helps."""
    global aloft
    if aloft is None:
        return
    with lock:
        flight = aloft
        if flight is not None:
            flight.wait(ALL)
            aloft = None


def settle(value: np.ndarray) -> None:
    """Waits until ``value`` has its content."""
    if aloft is None:
        return
    with lock:
        flight = aloft
        if flight is not None and flight.writes(value):
            flight.wait(flight.ready(value))


def worth_launching(seconds: float) -> bool:
    """Whether kernels that take so long should fly."""
    return seconds >= config.ahead and config.num_threads > 1 and perf_counter() >= grounded_until


if hasattr(os, "register_at_fork"):
    # A fork waits for the trace that another thread runs or compiles: the child would find LLVM's lock taken for ever. What
    # is called at forks loses the exceptions of signal handlers, as a function of Python's; a lock's methods run none.
    os.register_at_fork(before=land)
    os.register_at_fork(before=lock.acquire, after_in_parent=lock.release, after_in_child=lock.release)

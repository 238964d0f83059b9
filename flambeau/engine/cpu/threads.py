"""The pool of threads that large loops are split over, in native code.

A kernel calls ``flambeau_parallel(function, context, tasks)``, which has ``function(context, first, last)`` called for
ranges that make up ``0 .. tasks``, on this thread and on the pool's, and returns when all are done. What a range
computes must not depend on how the tasks are divided.

Every thread of the team has a segment of the tasks, the same one each time, so that it finds in its cache what it
wrote last time; it takes them in chunks, then helps with the segments of the others. So nobody waits for a thread
that is not running: at the worst this one does all the work. Workers spin for some 30 us after their last chunk, then
sleep; where they are wanted again within a millisecond, as in a training loop, they spin for that long (and yield to
other processes). Waking one takes longer than many a region.

A worker that finds itself on the CPU of the thread that it is to help would only take its time away, so it moves to
another one; schedulers that save energy put it there. Where workers do not help, because other processes use the
cores or because the loops are over before a worker is awake, or where one has to be waited for, regions run on this
thread alone for a multiple of the time that this has cost. One region runs at a time; another Python thread that
wants one meanwhile does its work alone. After a fork the child makes workers of its own when it needs them.

The first worker also *flies*: it runs kernels of a plan while the thread that launched it does something else (see
:mod:`flambeau.engine.flight`). The regions of these kernels are the worker's then, and who waits for it to land helps.
"""

from __future__ import annotations

import atexit
import ctypes
import math
import os
from functools import cache

import llvmlite.binding as llvm

from flambeau.core import config
from flambeau.engine import flight
from flambeau.engine.cpu.compiler import driver, method, session
from flambeau.engine.cpu.workers import MOST, runtime

ENTRY = "flambeau_parallel"
LIGHT_ENTRY = "flambeau_parallel_light"
"""What divides regions that are shorter than waking a worker takes: they have help only of those that are awake."""


class _Pool:
    def __init__(self) -> None:
        on = session()
        driver()  # what flights run kernels by
        llvm.add_symbol(ENTRY, on.compile_ir(runtime(), ENTRY))
        for name in (LIGHT_ENTRY, "flambeau_launch", "flambeau_land"):
            llvm.add_symbol(name, on.address(name))
        self.launch, self.land = method("flambeau_launch"), method("flambeau_land")
        procedure = ctypes.CFUNCTYPE(None)
        self.reset = procedure(on.address("flambeau_threads_reset"))
        self.stop = procedure(on.address("flambeau_threads_stop"))
        self.limit = ctypes.CFUNCTYPE(None, ctypes.c_int64)(on.address("flambeau_threads_limit"))
        self.reset()
        os.register_at_fork(after_in_child=self.reset)
        atexit.register(self._end)

    def _end(self) -> None:
        """Before the interpreter goes, and with it memory: what flies lands, and nothing flies or has help any more."""
        flight.land()
        flight.grounded_until = math.inf
        self.stop()


@cache
def pool() -> _Pool:
    """The pool of this process; kernels that call ``flambeau_parallel`` can be linked once it is there."""
    made = _Pool()
    made.limit(min(config.num_threads, MOST) - 1)
    return made


def resize(threads: int) -> None:
    """Lets regions use ``threads`` threads, the caller's included. No flight is aloft."""
    pool().limit(min(threads, MOST) - 1)


def entry(light: bool) -> int:
    """The address of ``flambeau_parallel``, or of the one for short regions, for kernels that are told it when they run."""
    pool()
    return session().symbol(LIGHT_ENTRY if light else ENTRY)

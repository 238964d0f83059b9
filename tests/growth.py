"""How much a piece of work leaves behind."""

from __future__ import annotations

import gc
from collections.abc import Callable


def objects_kept(work: Callable[[], object], rounds: int = 5) -> int:
    """The number of objects that stay after ``work()``, each time that it is done; circles of objects count, too.

    The least of several rounds: what is kept once (a plan made, a kernel that another test asked for and that a thread
    is still compiling) is in some of them, what leaks is in all.
    """
    kept = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            before = len(gc.get_objects())
            work()
            kept.append(len(gc.get_objects()) - before)
    finally:
        gc.enable()
    return min(kept)

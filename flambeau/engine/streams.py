"""The native kernels of random numbers, for :mod:`flambeau.core.random`, which the engine stands above."""

from __future__ import annotations

import sys
from collections.abc import Callable

from flambeau.core import config
from flambeau.engine import report
from flambeau.engine.flight import lock

_refused = False  # whether they could not be made


def kernel(name: str, load: bool) -> Callable | None:
    """A kernel, if LLVM is loaded or shall be; none where nothing is to be compiled."""
    global _refused
    if _refused or not config.compiled or not (load or "flambeau.engine.cpu.compiler" in sys.modules):
        return None
    try:
        with lock:  # one thread at a time compiles
            from flambeau.engine.cpu import random

            return random.kernel(name)
    except Exception as error:
        if config.strict:
            raise
        report.write("plan", f"random numbers are drawn by NumPy: {error!r}")
        _refused = True
        return None

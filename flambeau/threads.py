"""How many threads an operation may use."""

from __future__ import annotations

import sys

from flambeau.core import config


def get_num_threads() -> int:
    """The number of threads that one operation may use."""
    return config.num_threads


def set_num_threads(n: int) -> None:
    """Sets the number of threads that one operation may use, NumPy's matrix products included."""
    if not isinstance(n, int) or isinstance(n, bool):
        raise TypeError(f"set_num_threads expects an int, but got {type(n).__name__}")
    if n <= 0:
        raise RuntimeError("set_num_threads expects a positive integer")
    from flambeau.engine.cpu import blas  # ctypes, which most programs do without

    config.num_threads = n
    blas.set_num_threads(n)
    pool = sys.modules.get("flambeau.engine.cpu.threads")  # not loaded before something has been compiled
    if pool is not None:
        pool.resize(n)


def get_num_interop_threads() -> int:
    return 1


def set_num_interop_threads(n: int) -> None:
    """Operations run one after another: there is nothing to set."""

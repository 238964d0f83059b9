"""The threads of the BLAS library that NumPy brings.

It is found through the symbols of the NumPy extension that is linked with it. Where it does not let itself be asked (other
libraries than OpenBLAS, static builds), nothing is known and nothing is set.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from functools import cache

import numpy.linalg._umath_linalg as linked

_NAMES = ("scipy_openblas_{}64_", "scipy_openblas_{}", "openblas_{}64_", "openblas_{}")


@cache
def _function(name: str) -> ctypes._FuncPtr | None:  # type: ignore[name-defined]
    try:
        library = ctypes.CDLL(linked.__file__)
    except OSError:
        return None
    return next((f for n in _NAMES if (f := getattr(library, n.format(name), None)) is not None), None)


def get_num_threads() -> int | None:
    """How many threads the library uses; ``None`` if it is not known."""
    function = _function("get_num_threads")
    return None if function is None else int(function())


def set_num_threads(count: int) -> None:
    """Has the library use ``count`` threads."""
    function = _function("set_num_threads")
    if function is not None:
        function(count)


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Has the library use one thread meanwhile."""
    count = get_num_threads()
    if count is None or count == 1:
        yield
        return
    try:
        set_num_threads(1)
        yield
    finally:
        set_num_threads(count)

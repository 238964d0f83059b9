"""The BLAS library that NumPy brings: its threads, and what NumPy has no function for.

It is found through the symbols of the NumPy extension that is linked with it. Where it does not let itself be asked (other
libraries than OpenBLAS, static builds), nothing is known and nothing is set.
"""

from __future__ import annotations

import contextlib
import ctypes
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import numpy.linalg._umath_linalg as linked

_NAMES = ("{}openblas_{}64_", "{}openblas_{}")
_ROUTINES = ("{}cblas_{}64_", "{}cblas_{}")
LAPACK = ("{}{}_64_", "{}{}_")
"""How its functions are called, the longer names where integers have 64 bits; NumPy's own build has "scipy_" before them."""

LETTERS = {"f": "s", "d": "d", "F": "c", "D": "z"}
"""The letters of dtypes in the names of its routines, by NumPy's."""

_ROW_MAJOR, _LEFT, _AS_IT_IS, _TRANSPOSED, _UPPER, _LOWER, _NOT_UNIT, _UNIT = 101, 141, 111, 112, 121, 122, 131, 132


@cache
def function(names: tuple[str, str], name: str) -> tuple[Any, type] | None:
    """A function of the library, and the integers that it takes; ``None`` where it has none of that name."""
    try:
        library = ctypes.CDLL(linked.__file__)
    except OSError:
        return None
    for prefix in ("scipy_", ""):
        for pattern, integer in zip(names, (ctypes.c_int64, ctypes.c_int), strict=True):
            function = getattr(library, pattern.format(prefix, name), None)
            if function is not None:
                return function, integer
    return None


def get_num_threads() -> int | None:
    """How many threads the library uses; ``None`` if it is not known."""
    found = function(_NAMES, "get_num_threads")
    return None if found is None else int(found[0]())


def set_num_threads(count: int) -> None:
    """Has the library use ``count`` threads."""
    found = function(_NAMES, "set_num_threads")
    if found is not None:
        found[0](count)


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


@cache
def _triangular_solver(kind: str) -> ctypes._FuncPtr | None:  # type: ignore[name-defined]
    """``cblas_?trsm`` for NumPy's letter of a dtype."""
    letter = LETTERS.get(kind)
    found = None if letter is None else function(_ROUTINES, f"{letter}trsm")
    if found is None:
        return None
    routine, integer = found
    number = {"s": ctypes.c_float, "d": ctypes.c_double}.get(letter, ctypes.c_void_p)  # type: ignore[arg-type]
    matrix = ctypes.c_void_p, integer
    routine.argtypes = [*[ctypes.c_int] * 5, integer, integer, number, *matrix, *matrix]
    routine.restype = None
    return routine


def solves_triangular(dtype: np.dtype) -> bool:
    """Whether :func:`solve_triangular` takes matrices of this dtype."""
    return _triangular_solver(dtype.char) is not None


def solve_triangular(a: np.ndarray, b: np.ndarray, upper: bool, unit: bool) -> None:
    """Replaces the matrix ``b``, which has its rows one after the other, by ``a^-1 @ b`` for a triangular ``a``."""
    function = _triangular_solver(b.dtype.char)
    assert function is not None and b.flags.c_contiguous
    turned = not a.flags.c_contiguous and a.flags.f_contiguous
    a = a if turned else np.ascontiguousarray(a)
    one = np.ones((), b.dtype)
    function(
        _ROW_MAJOR, _LEFT, _UPPER if upper ^ turned else _LOWER, _TRANSPOSED if turned else _AS_IT_IS, _UNIT if unit else _NOT_UNIT,
        *b.shape, one.ctypes.data if b.dtype.kind == "c" else 1.0, a.ctypes.data, max(len(a), 1), b.ctypes.data, max(b.shape[1], 1),
    )  # fmt: skip


@cache
def _lu_factorizer(kind: str) -> tuple | None:
    """LAPACK's ``?getrf`` for NumPy's letter of a dtype of double precision, and the integers that it takes."""
    found = function(LAPACK, f"{LETTERS[kind]}getrf") if kind in "dD" else None
    if found is not None:
        found[0].argtypes, found[0].restype = [ctypes.c_void_p] * 6, None
    return found


def factorizes(dtype: np.dtype) -> bool:
    """Whether :func:`lu` takes matrices of this dtype."""
    return _lu_factorizer(dtype.char) is not None


def lu(a: np.ndarray) -> tuple[np.ndarray, int]:
    """Replaces the matrix ``a``, which has its columns one after the other, by its factors, with partial pivoting.

    Returns which row each one was exchanged with, counted from 1, and the first pivot that is zero, likewise; 0: none is.
    """
    found = _lu_factorizer(a.dtype.char)
    assert found is not None and a.flags.f_contiguous
    function, integer = found
    rows, columns, lead, info = integer(a.shape[0]), integer(a.shape[1]), integer(max(a.shape[0], 1)), integer(0)
    pivots = np.zeros(max(min(a.shape), 1), np.dtype(integer))
    by = ctypes.byref
    function(by(rows), by(columns), a.ctypes.data, by(lead), pivots.ctypes.data, by(info))
    return pivots[: min(a.shape)], info.value

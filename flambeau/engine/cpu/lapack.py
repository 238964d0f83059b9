"""LAPACK in the library that NumPy brings: routines that NumPy has no function for, or has in double precision only.

Matrices have their columns one after the other, and are of single or double precision, real or complex.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np

from flambeau.engine.cpu import blas

_BLOCK = 64
"""How many columns routines do at a time, if they are given memory for it."""


@cache
def _routine(name: str):
    """The routine, and the integers that it takes; ``None`` where the library has none."""
    found = blas.function(blas.LAPACK, name)
    if found is not None:
        found[0].restype = None
    return found


def _name(dtype: np.dtype, name: str) -> str:
    """A routine's name with the letter of the dtype before it."""
    if dtype.kind == "c" and name.startswith("or"):
        name = "un" + name[2:]  # orthogonal matrices are unitary there
    return blas.LETTERS[dtype.char] + name


def has(dtype: np.dtype, *names: str) -> bool:
    """Whether there are routines of these names, without their first letter, for a dtype."""
    return dtype.char in blas.LETTERS and all([_routine(_name(dtype, name)) is not None for name in names])


class _Call:
    """A routine with what it is given: arrays, integers, and letters as ``bytes``. Each call runs it again.

    A call returns LAPACK's ``info``, which comes after what is given.
    """

    def __init__(self, name: str, *given) -> None:
        self.routine, integer = _routine(name)
        self.info = integer(0)
        self.given = given  # keeps arrays alive
        self.passed = [self._passed(x, integer) for x in given]
        self.passed.append(ctypes.byref(self.info))
        self.passed += [ctypes.c_size_t(1) for x in given if isinstance(x, bytes)]  # Fortran is told strings' lengths, last

    @staticmethod
    def _passed(x, integer: type) -> Any:
        if isinstance(x, np.ndarray):
            return ctypes.c_void_p(x.ctypes.data)
        return x if isinstance(x, bytes) else ctypes.byref(integer(x))

    def __call__(self) -> int:
        self.routine(*self.passed)
        return int(self.info.value)


def qr(a: np.ndarray) -> np.ndarray:
    """Replaces ``a`` by its QR factorization: reflectors below the diagonal, ``R`` from there on. Returns their scales."""
    m, n = a.shape
    tau, work = np.zeros(min(m, n), a.dtype), np.empty(max(n, 1) * _BLOCK, a.dtype)
    _Call(_name(a.dtype, "geqrf"), m, n, a, max(m, 1), tau, work, work.size)()
    return tau


def orthonormal(a: np.ndarray, tau: np.ndarray) -> None:
    """Replaces reflectors, as :func:`qr` gives them, by the first columns of their product."""
    m, n = a.shape
    work = np.empty(max(n, 1) * _BLOCK, a.dtype)
    _Call(_name(a.dtype, "orgqr"), m, n, len(tau), a, max(m, 1), tau, work, work.size)()


def least_squares(a: np.ndarray, b: np.ndarray, driver: str, rcond: float) -> tuple[np.ndarray, ...]:
    """For each matrix of ``a`` (count, m, n) the solution of least norm of those for which ``a @ x - b`` is least.

    ``driver`` is ``gels``, which takes the rank to be full, ``gelsy`` or ``gelss``, for which singular values up to ``rcond``
    times the greatest are zero. Returns solutions, ranks, the singular values, where the driver is ``gelss``, and LAPACK's
    ``info``.
    """
    (count, m, n), columns, dtype = a.shape, b.shape[-1], a.dtype
    k, rows, name, real = min(m, n), max(m, n), _name(dtype, driver), dtype.char.lower()
    solved, ranks = np.empty((count, n, columns), dtype), np.full(count, k)
    values, info = np.zeros((count, k), real), np.zeros(count, np.int64)
    matrix, sides = np.empty((m, n), dtype, "F"), np.zeros((rows, columns), dtype, "F")
    work = np.empty(4 * k + 2 * n + (m + n + columns + 1) * _BLOCK, dtype)
    shared = m, n, columns, matrix, max(m, 1), sides, max(rows, 1)
    if driver == "gels":
        run = _Call(name, b"N", *shared, work, work.size)
    else:
        integer = np.dtype(_routine(name)[1])
        found, rank = np.zeros(max(n, 1), integer if driver == "gelsy" else real), np.zeros(1, integer)
        real_work = [np.empty(max(2 * n, 5 * k, 1), real)] if dtype.kind == "c" else []
        run = _Call(name, *shared, found, np.array(rcond, real), rank, work, work.size, *real_work)
    for i in range(count):
        matrix[...], sides[:m], sides[m:] = a[i], b[i], 0
        if driver == "gelsy":
            found[...] = 0  # every column may change its place
        info[i] = run()
        solved[i] = sides[:n]
        if driver != "gels":
            ranks[i] = rank[0]
        if driver == "gelss":
            values[i] = found[:k]
    return solved, ranks, values, info

"""NumPy's decompositions, each in the precision of its operand.

NumPy's own functions take matrices of single precision to double precision and round what they get, which costs twice the time and
gives another answer than LAPACK's routines for single precision, PyTorch's. The loops for single precision are in NumPy all the
same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.linalg import _umath_linalg as loops

_SIGNATURES = {
    "eigh": {"f": "f->ff", "F": "F->fF"},
    "eigvalsh": {"f": "f->f", "F": "F->f"},
    "svd": {"f": "f->fff", "F": "F->FfF"},
    "svdvals": {"f": "f->f", "F": "F->f"},
    "cholesky": {"f": "f->f", "F": "F->F"},
    "inv": {"f": "f->f", "F": "F->F"},
    "solve": {"f": "ff->f", "F": "FF->F"},
}
"""By NumPy's letters of the dtypes that its own functions would convert."""


_WORTH_THREADS = 1 << 24
"""Rows times columns times the fewer of these, from which on more threads than one help; below, they wait for each other."""


def _threads_for(a: np.ndarray) -> contextlib.AbstractContextManager:
    """What matrices are decomposed in: with one thread of the library's, unless they are large."""
    from flambeau.engine.cpu import blas  # ctypes, which most programs do without

    return contextlib.nullcontext() if prod(a.shape[-2:]) * min(a.shape[-2:]) >= _WORTH_THREADS else blas.one_thread()


def _fail(message: str, *_) -> None:
    raise np.linalg.LinAlgError(message)


def _decomposed(
    name: str, loop: str, otherwise: Callable, a: np.ndarray, *more: np.ndarray, error: str = "did not converge"
) -> Any:
    """What NumPy's ``loop`` gives for matrices of single precision; what ``otherwise()`` gives for others, and where it has none."""
    signature, found = _SIGNATURES[name].get(a.dtype.char), getattr(loops, loop, None)
    with _threads_for(a):
        if signature is None or found is None or signature not in found.types or any([x.dtype != a.dtype for x in more]):
            return otherwise()
        with np.errstate(call=partial(_fail, f"{name}: {error}"), invalid="call", over="ignore", divide="ignore", under="ignore"):
            return found(a, *more, signature=signature)


def eigh(a: np.ndarray, lower: bool) -> tuple[np.ndarray, np.ndarray]:
    """The eigenvalues, ascending, and eigenvectors of symmetric matrices, of which one triangle is read."""
    loop = "eigh_lo" if lower else "eigh_up"
    values, vectors = _decomposed("eigh", loop, lambda: np.linalg.eigh(a, "L" if lower else "U"), a)
    return values, vectors


def eigvalsh(a: np.ndarray, lower: bool) -> np.ndarray:
    """The eigenvalues of symmetric matrices, ascending."""
    loop = "eigvalsh_lo" if lower else "eigvalsh_up"
    return np.asarray(_decomposed("eigvalsh", loop, lambda: np.linalg.eigvalsh(a, "L" if lower else "U"), a))


def svd(a: np.ndarray, full: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left singular vectors, singular values, descending, and right singular vectors; as many as fit unless ``full``."""
    u, s, vh = _decomposed("svd", "svd_f" if full else "svd_s", lambda: np.linalg.svd(a, full_matrices=full), a)
    return u, s, vh


def svdvals(a: np.ndarray) -> np.ndarray:
    """The singular values, descending."""
    return np.asarray(_decomposed("svdvals", "svd", lambda: np.linalg.svd(a, compute_uv=False), a))


def cholesky(a: np.ndarray) -> np.ndarray:
    """Lower triangles of which matrices are products with their conjugate transposes; ``LinAlgError`` where one has none."""
    return np.asarray(_decomposed("cholesky", "cholesky_lo", lambda: np.linalg.cholesky(a), a, error="not positive-definite"))


def inv(a: np.ndarray) -> np.ndarray:
    """Inverses; ``LinAlgError`` where one has none."""
    return np.asarray(_decomposed("inv", "inv", lambda: np.linalg.inv(a), a, error="singular matrix"))


def solve(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The ``x`` for which ``a @ x`` is ``b``; ``LinAlgError`` where a matrix has no inverse."""
    return np.asarray(_decomposed("solve", "solve", lambda: np.linalg.solve(a, b), a, b, error="singular matrix"))


def qr(a: np.ndarray, mode: Literal["reduced", "complete"]) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal columns, ``complete`` or ``reduced`` to as many as fit, and the upper triangle."""
    from flambeau.engine.cpu import lapack

    with _threads_for(a):
        if a.dtype.char not in _SIGNATURES["svd"] or not a.size or not lapack.has(a.dtype, "geqrf", "orgqr"):
            q, r = np.linalg.qr(a, mode)
            return q, r
        *batch, m, n = a.shape
        k = m if mode == "complete" else min(m, n)
        q, r = np.empty((*batch, m, k), a.dtype), np.empty((*batch, k, n), a.dtype)
        for i in np.ndindex(*batch):
            made = np.zeros((m, max(k, n)), a.dtype, order="F")
            made[:, :n] = a[i]
            scales = lapack.qr(made[:, :n])
            r[i] = np.triu(made[:k, :n])
            lapack.orthonormal(made[:, :k], scales)
            q[i] = made[:, :k]
        return q, r


def least_squares(a: np.ndarray, b: np.ndarray, driver: str, rcond: float) -> tuple[np.ndarray, ...]:
    """Solutions, ranks, singular values and LAPACK's ``info``: see :func:`flambeau.engine.cpu.lapack.least_squares`."""
    from flambeau.engine.cpu import lapack

    (count, m, n), columns = a.shape, b.shape[-1]
    with _threads_for(a):
        if min(m, n) and lapack.has(a.dtype, driver):
            return lapack.least_squares(a, b, driver, rcond)
        solved, ranks, values = (
            np.zeros((count, n, columns), a.dtype),
            np.zeros(count, np.int64),
            np.zeros((count, min(m, n)), a.real.dtype),
        )
        for i in range(count if min(m, n) else 0):  # another library than LAPACK's usual ones
            solved[i], _, ranks[i], values[i] = np.linalg.lstsq(a[i], b[i], rcond)
        return solved, ranks, values, np.zeros(count, np.int64)

"""The BLAS library that NumPy brings: its C functions, called without NumPy.

It is found through the symbols of the NumPy extension that is linked with it, under the names that OpenBLAS, MKL, Accelerate
and plain builds use. Where none is found (a static build), products are made by generated tiles alone.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy.linalg._umath_linalg as linked

_NAMES = (
    ("scipy_cblas_{}64_", "scipy_openblas_{}64_", "i64"),  # the wheels of NumPy
    ("scipy_cblas_{}", "scipy_openblas_{}", "i32"),
    ("cblas_{}64_", "openblas_{}64_", "i64"),
    ("cblas_{}_64", "openblas_{}_64", "i64"),
    ("cblas_{}$NEWLAPACK$ILP64", "", "i64"),  # macOS
    ("cblas_{}", "openblas_{}", "i32"),
)


class Blas(NamedTuple):
    """What a library offers: the addresses of its products, and its threads where it lets itself be asked."""

    name: str
    integer: str  # LLVM's name of the type of its sizes
    gemm: dict[str, int]  # "float", "double": the address of cblas_?gemm
    set_threads: Callable[[int], None] | None
    get_threads: Callable[[], int] | None


@cache
def blas() -> Blas | None:
    """NumPy's library, or ``None``."""
    try:
        library = ctypes.CDLL(linked.__file__)
    except OSError:
        return None
    for products, settings, integer in _NAMES:
        gemm = {
            kind: _address(library, products.format(name)) for kind, name in (("float", "sgemm"), ("double", "dgemm"))
        }
        if all(gemm.values()):
            set_threads = getattr(library, settings.format("set_num_threads"), None)
            get_threads = getattr(library, settings.format("get_num_threads"), None)
            if set_threads is not None:
                set_threads.argtypes, set_threads.restype = [ctypes.c_int], None
            name = "OpenBLAS" if set_threads is not None else products.format("gemm")
            return Blas(name, integer, gemm, set_threads, get_threads)
    return None


def _address(library: ctypes.CDLL, name: str) -> int:
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
    except AttributeError:
        return 0

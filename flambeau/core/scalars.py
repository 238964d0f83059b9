"""Python numbers beside tensors: which ones there are, and what becomes of those that a dtype cannot hold.

Arithmetic wraps an integer that is too large for the tensor's dtype around, as C does. Ops that put a number into a tensor
(``fill_``, ``masked_fill``, ``clamp``) refuse it. Both follow from the number and the dtype alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from flambeau.core import dtypes

LOWEST, HIGHEST = -(1 << 63), (1 << 64) - 1
"""The integers that PyTorch's numbers can be: those of int64 and of uint64."""


@cache
def _limits(dtype: dtypes.dtype) -> dtypes.iinfo | dtypes.finfo:
    return dtypes.iinfo(dtype) if dtype.kind == dtypes.INTEGRAL else dtypes.finfo(dtype)


def factor(x: Any, dtype: dtypes.dtype) -> Any:
    """A number that values of ``dtype`` are multiplied by: half precision is computed with in float32."""
    return fitting(x, dtypes.float32 if dtype.itemsize == 2 and dtype.is_floating_point else dtype)


def as_python(x: Any) -> Any:
    """A number as one of Python's: a scalar of NumPy's counts as what it holds.

    ``OverflowError`` for integers of more than 64 bits.
    """
    if isinstance(x, np.generic):
        x = x.item()
    if isinstance(x, int) and not LOWEST <= x <= HIGHEST:
        raise OverflowError("int too big to convert" if x > 0 else "can't convert negative int to unsigned")
    return x


def wrapped(x: Any, dtype: dtypes.dtype) -> Any:
    """A number as arithmetic in ``dtype`` takes it: wrapped around where an integer type is too narrow for it."""
    x = as_python(x)
    if dtype.kind != dtypes.INTEGRAL or x is None:
        return x
    bits = 8 * dtype.itemsize
    low = -(1 << bits - 1) if dtype.is_signed else 0
    value = (int(x) - low) % (1 << bits) + low
    return x if x.__class__ is int and value == x else value  # the very number tells recipes that it is taken as it is


def fitting(x: Any, dtype: dtypes.dtype) -> Any:
    """A number as one of ``dtype``; ``RuntimeError`` where it does not fit. Negative integers may wrap, as in C."""
    value = x = as_python(x)
    if x is None:
        return None
    fits = True
    if isinstance(x, complex) and dtype.kind in (dtypes.INTEGRAL, dtypes.FLOATING):
        value, fits = x.real, x.imag == 0
    if dtype.kind == dtypes.BOOLEAN:
        value = bool(x)
    elif dtype.kind == dtypes.INTEGRAL:
        limits = _limits(dtype)
        lowest = limits.min if isinstance(value, float) else limits.min or -limits.max
        fits = fits and lowest <= value <= limits.max
        if fits:
            value = int(value)
            if value < limits.min:
                value += limits.max + 1
    else:
        largest = _limits(dtype).max
        parts = (value.real, value.imag) if isinstance(value, complex) else (value,)
        fits = fits and not any([largest < abs(part) < float("inf") for part in parts])
    if not fits:
        raise RuntimeError(f"value cannot be converted to type {dtypes.c_name(dtype)} without overflow: {x}")
    return value


def open_range(kind: type, dtype: dtypes.dtype, fits: bool) -> tuple:
    """Between which bounds numbers of a class are taken as they are, beside tensors of ``dtype``.

    ``fits``: by :func:`fitting`, else by :func:`wrapped`. Infinities and NaN are not meant: floating types have them.
    """
    low, high = (LOWEST, -LOWEST - 1) if kind is int else (-float("inf"), float("inf"))
    if dtype.kind == dtypes.INTEGRAL:
        limits = _limits(dtype)
        low, high = max(low, limits.min), min(high, limits.max)
    elif fits and dtype.kind >= dtypes.FLOATING:
        largest = _limits(dtype).max
        low, high = max(low, -largest), min(high, largest)
    return low, high

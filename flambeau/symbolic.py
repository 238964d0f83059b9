"""Numbers that are symbols, of PyTorch's exporter: their classes, and functions that take them and plain numbers alike.

Sizes are always plain numbers here, so nothing is an instance of the classes, and the functions are those of plain numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

__all__ = [
    "SymBool",
    "SymFloat",
    "SymInt",
    "sym_constrain_range",
    "sym_constrain_range_for_size",
    "sym_float",
    "sym_fresh_size",
    "sym_int",
    "sym_ite",
    "sym_max",
    "sym_min",
    "sym_not",
    "sym_sqrt",
    "sym_sum",
]


class _Symbol:
    def __init__(self, *args: Any) -> None:
        raise RuntimeError(f"torch.{type(self).__name__}: flambeau follows no symbols; sizes are plain numbers")


class SymInt(_Symbol):
    """An integer that is a symbol; there are none, so ``isinstance`` is False."""


class SymFloat(_Symbol):
    """A floating-point number that is a symbol; there are none."""


class SymBool(_Symbol):
    """A truth value that is a symbol; there are none."""


def sym_int(a: Any) -> int:
    """``a`` as an integer, cut off towards zero.

    >>> sym_int(-2.5)
    -2
    """
    return math.trunc(a)


def sym_float(a: Any) -> float:
    """``a`` as a floating-point number."""
    return float(a)


def sym_not(a: Any) -> bool:
    """Whether ``a`` is not true."""
    return not a


def sym_max(a: Any, b: Any) -> Any:
    """The greater of two numbers; a floating-point one where one is."""
    return float(max(a, b)) if isinstance(a, float) or isinstance(b, float) else max(a, b)


def sym_min(a: Any, b: Any) -> Any:
    """The smaller of two numbers; a floating-point one where one is."""
    return float(min(a, b)) if isinstance(a, float) or isinstance(b, float) else min(a, b)


def sym_sum(args: Iterable) -> Any:
    """The sum of some integers."""
    return sum(args)


def sym_ite(b: Any, t: Any, f: Any) -> Any:
    """``t`` where ``b`` is true, else ``f``; both of one type."""
    if not isinstance(b, bool) or type(t) is not type(f):
        raise AssertionError("sym_ite: expected a bool, and two values of one type")
    return t if b else f


def sym_sqrt(a: Any) -> float:
    """The square root."""
    return math.sqrt(a)


def sym_constrain_range(size: Any, *, min: int | None = None, max: int | None = None) -> None:
    """Checks that a size lies between two bounds.

    Raises:
        RuntimeError: it does not.
    """
    low, high = -(2**63) if min is None else min, 2**63 - 1 if max is None else max
    if not low <= int(size) <= high:
        raise RuntimeError(f"Invalid value range for {int(size)} between [{low}, {high}].")


def sym_constrain_range_for_size(size: Any, *, min: int | None = None, max: int | None = None) -> None:
    """Checks that a size, which is not negative, lies between two bounds."""
    sym_constrain_range(size, min=0 if min is None else min, max=max)


def sym_fresh_size(expr: Any) -> Any:
    """A size that is not yet known: here the number itself."""
    return expr

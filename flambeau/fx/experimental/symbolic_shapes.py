"""``torch.fx.experimental.symbolic_shapes``: questions about sizes, which are always numbers here."""

from __future__ import annotations

from typing import Any

__all__ = [
    "GuardOnDataDependentSymNode", "free_symbols", "free_unbacked_symbols", "guard_bool", "guard_float", "guard_int", "guard_or_false", "guard_or_true", "guard_scalar",
    "guard_size_oblivious", "has_free_symbols", "has_free_unbacked_symbols", "hint_int", "is_concrete_bool", "is_concrete_int", "is_symbolic", "statically_known_false",
    "statically_known_true", "sym_and", "sym_eq", "sym_or",
]  # fmt: skip


class GuardOnDataDependentSymNode(RuntimeError):
    """What PyTorch raises where a program decides by a size that depends on values; sizes are known here."""


def guard_or_false(a: Any) -> bool:
    """``bool(a)``: whether it holds is known."""
    return bool(a)


guard_or_true = guard_size_oblivious = guard_bool = statically_known_true = guard_or_false


def statically_known_false(x: Any) -> bool:
    return not x


def guard_scalar(a: Any) -> Any:
    """The number."""
    return a


def guard_int(a: Any) -> int:
    return int(a)


def guard_float(a: Any) -> float:
    return float(a)


def hint_int(a: Any, fallback: int | None = None) -> int:
    return int(a)


def is_concrete_int(a: Any) -> bool:
    """Whether it is a number rather than a symbol."""
    return isinstance(a, int)


def is_concrete_bool(a: Any) -> bool:
    return isinstance(a, bool)


def is_symbolic(val: Any) -> bool:
    """False: there are no symbols."""
    return False


def free_symbols(val: Any) -> set:
    """The symbols in a size: none."""
    return set()


free_unbacked_symbols = free_symbols


def has_free_symbols(val: Any) -> bool:
    return False


has_free_unbacked_symbols = has_free_symbols


def sym_eq(x: Any, y: Any) -> bool:
    """Whether two sizes, or tuples of them, are equal."""
    return tuple(x) == tuple(y) if isinstance(x, (tuple, list)) else x == y


def sym_and(x: Any, *others: Any) -> bool:
    return bool(x) and all(map(bool, others))


def sym_or(x: Any, *others: Any) -> bool:
    return bool(x) or any(map(bool, others))

"""Refusals of dtypes, in PyTorch's words."""

from __future__ import annotations

from collections.abc import Callable

from flambeau import dispatch
from flambeau.core.dtypes import BOOLEAN, COMPLEX, FLOATING, INTEGRAL, scalar_name

NOT_FLOATING = (BOOLEAN, INTEGRAL)
NOT_INTEGRAL = (FLOATING, COMPLEX)
NOT_REAL_NUMBERS = (BOOLEAN, COMPLEX)
ALL_BUT_FLOATING = (BOOLEAN, INTEGRAL, COMPLEX)


def refuse(kernel: str, *operands, kinds: tuple[int, ...] = (COMPLEX,)) -> None:
    """Raises ``NotImplementedError`` where the common dtype of tensors and numbers is of one of the ``kinds``."""
    kind = operands[0]._dtype.kind if len(operands) == 1 else max(map(_kind, operands))
    if kind in kinds:
        d = operands[0]._dtype if len(operands) == 1 else dispatch.result_type(*operands)
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{scalar_name(d)}'")


def _kind(x) -> int:
    if isinstance(x, dispatch.Tensor):
        return x._dtype.kind
    if x.__class__ is float:
        return FLOATING
    return INTEGRAL if x.__class__ is int else dispatch.result_type(x).kind


def no_derivative(name: str, aten: bool = False) -> Callable:
    """The gradient of an op that has none in PyTorch either: results require grad, and asking for it raises.

    ``aten``: PyTorch knows no derivative at all, rather than one that is not implemented.
    """

    def refused(g):
        if aten:
            raise RuntimeError(f"derivative for aten::{name} is not implemented")
        raise NotImplementedError(f"the derivative for '{name}' is not implemented.")

    return refused

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


_UNSORTED = " {} does not support complex dtypes on CPU"
_WITHOUT_ORDER = {
    "sort": _UNSORTED.format("Sort"), "topk": _UNSORTED.format("topk"), "isin": "Unsupported input type encountered for isin(): {}",
    **{name: f"{name}(): does not support complex input" for name in ("max", "min", "argmax", "argmin")},
}  # fmt: skip
"""By op, what PyTorch says of complex numbers where it is no ``NotImplementedError`` of a kernel."""


def refuse_complex(op: str, input, kernel: str | None = None) -> None:
    """Refuses complex numbers where an op needs an order; with ``kernel`` it is named as :func:`refuse` does."""
    if input._dtype.kind == COMPLEX:
        if kernel is not None:
            refuse(kernel, input)
        raise RuntimeError(_WITHOUT_ORDER[op].format(scalar_name(input._dtype)))


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

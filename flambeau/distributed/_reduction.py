"""How values of several processes become one."""

from __future__ import annotations

from enum import Enum
from typing import Any

from flambeau.core.dtypes import dtype as Dtype

__all__ = ["ReduceOp", "reduce_op"]


class ReduceOp(Enum):
    """How values of several processes become one; of one process the value itself."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7
    PREMUL_SUM = 8

    RedOpType = property(lambda self: ReduceOp)

    def __str__(self) -> str:
        return f"RedOpType.{self.name}"


class reduce_op:
    """The old name of :class:`ReduceOp`."""

    SUM, PRODUCT, MIN, MAX = ReduceOp.SUM, ReduceOp.PRODUCT, ReduceOp.MIN, ReduceOp.MAX


_BITWISE = (ReduceOp.BAND, ReduceOp.BOR, ReduceOp.BXOR)
_ALL = {"all_reduce", "all_reduce_coalesced"}


def check_reduction(op: Any, dtype: Dtype, name: str) -> ReduceOp:
    """``op``, once it is clear that numbers of ``dtype`` can be reduced by it, in the collective ``name``.

    Raises:
        RuntimeError: they cannot, as with bits of floating-point numbers.
    """
    if not isinstance(op, ReduceOp):
        raise TypeError(f"{name}(): op must be a ReduceOp, not {type(op).__name__}")
    if op is ReduceOp.PREMUL_SUM:
        raise RuntimeError("Cannot use ReduceOp.PREMUL_SUM with Gloo")
    if dtype.is_complex:
        if op not in (ReduceOp.SUM, ReduceOp.AVG):
            problem = f"{name} does not support {op} on complex tensors"
            raise ValueError(problem) if name in _ALL else RuntimeError(problem)
    elif dtype.is_floating_point:
        if op in _BITWISE:
            raise RuntimeError(f"Cannot use {type(op).__name__}.{op.name} with non-integral dtype")
        if dtype.itemsize == 1:
            raise RuntimeError(f"Invalid scalar type: {dtype} has no sums; convert to a wider dtype first")
    elif op is ReduceOp.AVG:
        raise RuntimeError(f"result type Float can't be cast to the desired output type {dtype}")
    return op

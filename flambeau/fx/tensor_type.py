"""Types of tensors in graphs whose shapes are known in part.

>>> from flambeau.fx.tensor_type import Dyn, TensorType, is_consistent, is_more_precise
>>> known, unknown = TensorType((1, 2, 3)), TensorType((1, Dyn, 3))
>>> is_consistent(known, unknown), is_more_precise(known, unknown), is_more_precise(unknown, known)
(True, True, False)
"""

from __future__ import annotations

from typing import Any

__all__ = ["Dyn", "TensorType", "is_consistent", "is_more_precise"]


class TensorType:
    """A tensor's type: its sizes, each a number or :data:`Dyn`."""

    def __init__(self, dim: Any) -> None:
        self.__origin__ = TensorType
        self.__args__ = dim

    @property
    def dims(self) -> Any:
        return self.__args__

    def __repr__(self) -> str:
        return f"TensorType[{self.dims}]"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TensorType) and list(self.dims) == list(other.dims)

    __hash__ = None  # type: ignore[assignment]

    def __class_getitem__(cls, *args: Any) -> TensorType:
        return TensorType(tuple(args[0] if len(args) == 1 and isinstance(args[0], tuple) else args))


class _DynType:
    """That nothing is known."""

    def __init__(self) -> None:
        self.__name__ = "_DynType"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _DynType)

    def __hash__(self) -> int:
        return hash(_DynType)

    def __repr__(self) -> str:
        return "Dyn"


Dyn = _DynType()


def is_consistent(t1: Any, t2: Any) -> bool:
    """Whether two types may be of the same value: they agree wherever both say something."""
    if t1 == t2 or t1 == Dyn or t2 == Dyn:
        return True
    if not (isinstance(t1, TensorType) and isinstance(t2, TensorType)):
        return False
    return len(t1.dims) == len(t2.dims) and all(map(is_consistent, t1.dims, t2.dims))


def is_more_precise(t1: Any, t2: Any) -> bool:
    """Whether ``t1`` says all that ``t2`` does, and perhaps more."""
    if t1 == t2 or isinstance(t2, _DynType):
        return True
    if not (isinstance(t1, TensorType) and isinstance(t2, TensorType)):
        return False
    return len(t1.dims) == len(t2.dims) and all(map(is_more_precise, t1.dims, t2.dims))

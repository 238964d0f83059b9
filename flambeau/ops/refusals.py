"""Refusals of dtypes, in PyTorch's words."""

from __future__ import annotations

from flambeau import dispatch
from flambeau.core.dtypes import BOOLEAN, COMPLEX, FLOATING, INTEGRAL, dtype

_SCALAR_NAMES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
    "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64", "float16": "Half", "bfloat16": "BFloat16",
    "float32": "Float", "float64": "Double", "complex64": "ComplexFloat", "complex128": "ComplexDouble",
}  # fmt: skip

NOT_FLOATING = (BOOLEAN, INTEGRAL)
NOT_INTEGRAL = (FLOATING, COMPLEX)
NOT_REAL_NUMBERS = (BOOLEAN, COMPLEX)
ALL_BUT_FLOATING = (BOOLEAN, INTEGRAL, COMPLEX)


def scalar_name(d: dtype) -> str:
    """The name that PyTorch's messages give a dtype: ``'Float'``, ``'Long'``."""
    return _SCALAR_NAMES[d.name]


def refuse(kernel: str, *operands, kinds: tuple[int, ...] = (COMPLEX,)) -> None:
    """Raises ``NotImplementedError`` where the common dtype of tensors and numbers is of one of the ``kinds``."""
    kind = 0
    for x in operands:
        k = x._dtype.kind if isinstance(x, dispatch.Tensor) else _kind_of_number(x)
        if k > kind:
            kind = k
    if kind in kinds:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{scalar_name(dispatch.result_type(*operands))}'")


def _kind_of_number(x) -> int:
    if x.__class__ is float:
        return FLOATING
    return dispatch.result_type(x).kind if x is not None else BOOLEAN

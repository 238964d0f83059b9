"""Refusals of dtypes, in PyTorch's words."""

from __future__ import annotations

from flambeau import dispatch
from flambeau.core.dtypes import BOOLEAN, COMPLEX, FLOATING, INTEGRAL, dtype

_SCALAR_NAMES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
    "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64", "float16": "Half", "bfloat16": "BFloat16",
    "float32": "Float", "float64": "Double", "complex64": "ComplexFloat", "complex128": "ComplexDouble",
}  # fmt: skip

_C_NAMES = {
    "bool": "bool", "float16": "c10::Half", "bfloat16": "c10::BFloat16", "float32": "float", "float64": "double",
    "complex64": "c10::complex<float>", "complex128": "c10::complex<double>",
}  # fmt: skip

NOT_FLOATING = (BOOLEAN, INTEGRAL)
NOT_INTEGRAL = (FLOATING, COMPLEX)
NOT_REAL_NUMBERS = (BOOLEAN, COMPLEX)
ALL_BUT_FLOATING = (BOOLEAN, INTEGRAL, COMPLEX)


def scalar_name(d: dtype) -> str:
    """The name that PyTorch's messages give a dtype: ``'Float'``, ``'Long'``."""
    return _SCALAR_NAMES[d.name]


def c_name(d: dtype) -> str:
    """The name that some of PyTorch's messages give a dtype instead: ``'float'``, ``'int64_t'``."""
    return _C_NAMES.get(d.name, d.name + "_t")


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

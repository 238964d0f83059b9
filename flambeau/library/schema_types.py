"""Types of operators' arguments: what each accepts, and how it is written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.core import dtypes, memory_format
from flambeau.core.device import device
from flambeau.core.random import Generator
from flambeau.tensor import Tensor


class Type:
    """The type of an argument or a result. It prints as PyTorch's: ``List[int]``, ``Optional[Tensor]``."""

    def __init__(self, written: str, annotation: str, accepts: Callable[[Any], bool]) -> None:
        self.written, self.annotation_str, self.accepts = written, annotation, accepts

    def __str__(self) -> str:
        return self.annotation_str

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Type) and self.annotation_str == other.annotation_str

    def __hash__(self) -> int:
        return hash(self.annotation_str)

    def kind(self) -> str:
        return type(self).__name__

    def convert(self, value: Any) -> Any:
        """What a kernel gets where a program gives ``value``."""
        return value


class TensorType(Type):
    pass


class OptionalType(Type):
    def __init__(self, element: Type) -> None:
        super().__init__(f"{element.written}?", f"Optional[{element}]", lambda v: v is None or element.accepts(v))
        self.element = element

    def getElementType(self) -> Type:
        return self.element

    def convert(self, value: Any) -> Any:
        return None if value is None else self.element.convert(value)


class ListType(Type):
    """A list; one of a given size may also be given as the number that all its elements are."""

    def __init__(self, element: Type, size: int | None = None) -> None:
        def accepts(v: Any) -> bool:
            if isinstance(v, (list, tuple)):
                return all(map(element.accepts, v))
            return size is not None and element.accepts(v)

        super().__init__(f"{element.written}[{'' if size is None else size}]", f"List[{element}]", accepts)
        self.element, self.size = element, size

    def getElementType(self) -> Type:
        return self.element

    def convert(self, value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [self.element.convert(v) for v in value]
        return [value] * self.size if self.size is not None else value


class NumberType(Type):
    pass


def _is_int(v: Any) -> bool:
    return isinstance(v, int) and not isinstance(v, bool) or _is_whole(v)


def _is_whole(v: Any) -> bool:
    """Whether it stands for an integer as those of NumPy do, and 0-dim integer tensors."""
    if isinstance(v, Tensor):
        return not v.dim() and v.dtype.kind == dtypes.INTEGRAL and not v.requires_grad
    return hasattr(v, "__index__") and not isinstance(v, bool)


def _is_float(v: Any) -> bool:
    if isinstance(v, Tensor):
        return not v.dim() and not v.requires_grad and not v.dtype.is_complex
    return _is_int(v) or hasattr(v, "__float__") and not isinstance(v, (bool, str))


class IntType(Type):
    def convert(self, value: Any) -> Any:
        return value if type(value) is int or not hasattr(value, "__index__") else value.__index__()


class FloatType(Type):
    def convert(self, value: Any) -> Any:
        return float(value) if isinstance(value, int) else value


class DeviceObjType(Type):
    pass


_int = IntType("int", "int", _is_int)
_SIMPLE: dict[str, Type] = {
    "Tensor": TensorType("Tensor", "Tensor", lambda v: isinstance(v, Tensor)),
    "int": _int,
    "SymInt": IntType("SymInt", "int", _is_int),
    "float": FloatType("float", "float", _is_float),
    "SymFloat": FloatType("SymFloat", "float", _is_float),
    "bool": Type("bool", "bool", lambda v: isinstance(v, bool) or type(v).__name__ in ("bool_", "bool")),
    "SymBool": Type("SymBool", "bool", lambda v: isinstance(v, bool)),
    "str": Type("str", "str", lambda v: isinstance(v, str)),
    "complex": Type("complex", "complex", lambda v: isinstance(v, (int, float, complex)) and not isinstance(v, bool)),
    "Scalar": NumberType("Scalar", "number", lambda v: isinstance(v, (bool, complex)) or _is_float(v)),
    "ScalarType": Type("ScalarType", "int", lambda v: isinstance(v, (dtypes.dtype, int))),
    "Layout": Type("Layout", "int", lambda v: isinstance(v, (memory_format.layout, int))),
    "MemoryFormat": Type("MemoryFormat", "int", lambda v: isinstance(v, (memory_format.memory_format, int))),
    "Device": DeviceObjType("Device", "Device", lambda v: isinstance(v, (device, str))),
    "Generator": Type("Generator", "Generator", lambda v: isinstance(v, Generator)),
}
NumberOrTensor = TensorType("Tensor", "Tensor", lambda v: isinstance(v, (Tensor, bool, int, float, complex)))
"""Of PyTorch's own operators: a number stands for a tensor of it."""
_ANYTHING = (
    "t",
    "Any",
    "AnyEnumType",
    "Dimname",
    "DimnameList",
    "Stream",
    "Storage",
    "QScheme",
    "ConstQuantizerPtr",
    "NoneType",
)


def simple_type(name: str) -> Type:
    if name in _SIMPLE:
        return _SIMPLE[name]
    if name in _ANYTHING or "." in name or name.startswith(("Dict(", "Future(", "Await(", "RRef(", "Union[")):
        return Type(name, name, lambda v: True)
    raise RuntimeError(f"Unknown type specifier:\n{name}\n{'~' * len(name)} <--- HERE")

"""Data types and PyTorch's type promotion.

Every dtype is one object, so that ``is`` compares them. ``dtype.np`` is the NumPy type that holds its values.
Source: https://docs.pytorch.org/docs/stable/tensor_attributes.html#torch.dtype
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from flambeau.core import config


class dtype:
    """The type of a tensor's elements, for example ``torch.float32``."""

    __slots__ = (
        "name",
        "np",
        "itemsize",
        "is_floating_point",
        "is_complex",
        "is_signed",
        "is_stored",
        "is_extension",
        "kind",
        "code",
    )

    def __init__(self, name: str, np_type: np.typing.DTypeLike, kind: int, code: int) -> None:
        self.name = name
        self.np = np.dtype(np_type)
        self.itemsize = self.np.itemsize
        self.kind = kind
        self.code = code
        self.is_floating_point = kind == FLOATING
        self.is_complex = kind == COMPLEX
        self.is_signed = name not in ("bool", "uint8", "uint16", "uint32", "uint64")
        # It is stored, moved and converted, but little or nothing is computed with it.
        self.is_stored = kind == FLOATING and self.itemsize == 1 or kind == COMPLEX and self.itemsize == 4
        self.is_extension = self.is_stored or self.np.kind == "V"  # NumPy itself does not know it

    def __repr__(self) -> str:
        return "torch." + self.name

    @property
    def abbr(self) -> str:
        """The name in short: ``f32`` of ``float32``."""
        name = {"bool": "b8", "bfloat16": "bf16", "bits8": "b8x1", "bits16": "b16x1"}.get(self.name, self.name.replace("_", ""))
        if name.lstrip("uint") in tuple("1234567"):
            return name
        for word, letter in (("float", "f"), ("complex", "c"), ("uint", "u"), ("int", "i"), ("bits", "b")):
            if name.startswith(word):
                return letter + name[len(word) :]
        return name

    def __reduce__(self) -> str | tuple:
        return (by_name, (self.name,)) if config.pickled is None else config.pickled(self)

    def __copy__(self) -> dtype:
        return self

    def __deepcopy__(self, memo: dict) -> dtype:
        return self

    def to_complex(self) -> dtype:
        """The complex type whose parts are of this type; ``RuntimeError`` for integers and bool."""
        if self.kind < FLOATING:
            raise RuntimeError(f"Unknown Complex ScalarType for {scalar_name(self)}")
        return _COMPLEX_OF.get(self, self)

    def to_real(self) -> dtype:
        """The type of the real part."""
        return _REAL_OF.get(self, self)


dtype.__module__ = "torch"
_PYTHON_TYPES: dict = {}  # what float, int, bool and complex stand for as a dtype

BOOLEAN, INTEGRAL, FLOATING, COMPLEX = range(4)

bool = dtype("bool", np.bool_, BOOLEAN, 11)
uint8 = dtype("uint8", np.uint8, INTEGRAL, 0)
int8 = dtype("int8", np.int8, INTEGRAL, 1)
int16 = dtype("int16", np.int16, INTEGRAL, 2)
int32 = dtype("int32", np.int32, INTEGRAL, 3)
int64 = dtype("int64", np.int64, INTEGRAL, 4)
uint16 = dtype("uint16", np.uint16, INTEGRAL, 27)
uint32 = dtype("uint32", np.uint32, INTEGRAL, 28)
uint64 = dtype("uint64", np.uint64, INTEGRAL, 29)
float16 = dtype("float16", np.float16, FLOATING, 5)
float32 = dtype("float32", np.float32, FLOATING, 6)
float64 = dtype("float64", np.float64, FLOATING, 7)
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16, FLOATING, 15)
float8_e5m2 = dtype("float8_e5m2", ml_dtypes.float8_e5m2, FLOATING, 23)
float8_e4m3fn = dtype("float8_e4m3fn", ml_dtypes.float8_e4m3fn, FLOATING, 24)
float8_e5m2fnuz = dtype("float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz, FLOATING, 25)
float8_e4m3fnuz = dtype("float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz, FLOATING, 26)
float8_e8m0fnu = dtype("float8_e8m0fnu", ml_dtypes.float8_e8m0fnu, FLOATING, 44)
complex32 = dtype("complex32", [("real", np.float16), ("imag", np.float16)], COMPLEX, 8)
complex64 = dtype("complex64", np.complex64, COMPLEX, 9)
complex128 = dtype("complex128", np.complex128, COMPLEX, 10)

ALL = (
    bool, uint8, int8, int16, int32, int64, uint16, uint32, uint64,
    float16, bfloat16, float32, float64, complex64, complex128,
)  # fmt: skip
FLOATS8 = (float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz, float8_e8m0fnu)
STORED = (*FLOATS8, complex32)
"""Those that tensors are stored and moved in, but hardly computed with; all others are in ``ALL``."""


class AbsentType(dtype):
    """A dtype of PyTorch's that no tensor has here. Programs look whether others are of it; whatever would make one refuses."""

    __slots__ = ()

    def __init__(self, name: str, itemsize: int, kind: int, code: int) -> None:
        self.name, self.itemsize, self.kind, self.code = name, itemsize, kind, code
        self.is_floating_point, self.is_complex, self.is_signed = kind == FLOATING, kind == COMPLEX, name[0] != "u"
        self.is_stored = self.is_extension = True

    @property
    def np(self):  # type: ignore[override]
        raise NotImplementedError(f"flambeau has no tensors of the dtype {self}")


AbsentType.__module__, AbsentType.__name__, AbsentType.__qualname__ = "torch", "dtype", "dtype"

_bits = dict(zip(("bits1x8", "bits2x4", "bits4x2", "bits8", "bits16"), range(18, 23)))
_few = {f"{sign}int{n}": code + n for sign, code in (("u", 29), ("", 36)) for n in range(1, 8)}
ABSENT = (
    AbsentType("float4_e2m1fn_x2", 1, FLOATING, 45),
    *[AbsentType(name, 4 if name == "qint32" else 1, INTEGRAL, code) for code, name in enumerate(("qint8", "quint8", "qint32"), 12)],
    *[AbsentType(name, 1, INTEGRAL, code) for code, name in enumerate(("quint4x2", "quint2x4"), 16)],
    *[AbsentType(name, 2 if name == "bits16" else 1, INTEGRAL, code) for name, code in (_bits | _few).items()],
)  # fmt: skip
ALIASES = {
    "half": float16, "float": float32, "double": float64, "cfloat": complex64, "cdouble": complex128,
    "short": int16, "int": int32, "long": int64, "chalf": complex32,
}  # fmt: skip
_PYTHON_TYPES.update({type(0.0): float64, type(0): int64, type(True): bool, type(0j): complex128})

_BY_NAME = {d.name: d for d in (*ALL, *STORED, *ABSENT)} | ALIASES
qint8, quint8, qint32 = _BY_NAME["qint8"], _BY_NAME["quint8"], _BY_NAME["qint32"]  # of quantized tensors
_BY_NUMPY = {d.np: d for d in (*ALL, *STORED)}
_COMPLEX_OF = {float16: complex32, bfloat16: complex64, float32: complex64, float64: complex128}
_REAL_OF = {complex32: float16, complex64: float32, complex128: float64}


def by_name(name: str) -> dtype:
    """The dtype called ``name`` (``"float32"``, ``"long"``, ...)."""
    return _BY_NAME[name]


def as_dtype(value, name: str) -> dtype:
    """The ``dtype=`` argument of the function ``name``: a dtype, or ``float``, ``int``, ``bool``, ``complex``."""
    if value.__class__ is dtype:
        return value
    if value.__class__ is AbsentType:
        return value.np  # which refuses
    try:
        return _PYTHON_TYPES[value]
    except (KeyError, TypeError):
        raise TypeError(f"{name}(): argument 'dtype' must be torch.dtype, not {type(value).__name__}") from None


# --- the names that PyTorch's legacy types and messages have for dtypes ------------------------------------------

_SCALAR_NAMES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
    "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64", "float16": "Half", "bfloat16": "BFloat16",
    "float32": "Float", "float64": "Double", "complex32": "ComplexHalf", "complex64": "ComplexFloat", "complex128": "ComplexDouble",
    **{d.name: d.name.capitalize() for d in FLOATS8},
}  # fmt: skip

_C_NAMES = {
    "bool": "bool", "float16": "c10::Half", "bfloat16": "c10::BFloat16", "float32": "float", "float64": "double",
    "int32": "int", "complex32": "c10::complex<c10::Half>", "complex64": "c10::complex<float>", "complex128": "c10::complex<double>",
}  # fmt: skip


def scalar_name(d: dtype | np.dtype) -> str:
    """The name that legacy types and most messages give a dtype: ``'Float'``, ``'Long'``."""
    return _SCALAR_NAMES.get(d.name, d.name)


def c_name(d: dtype) -> str:
    """The name that some messages give a dtype instead: ``'float'``, ``'int64_t'``."""
    return _C_NAMES.get(d.name, d.name + "_t")


def from_numpy(np_dtype: np.dtype) -> dtype:
    """The dtype that holds values of a NumPy dtype; ``TypeError`` where there is none."""
    try:
        return _BY_NUMPY[np_dtype.newbyteorder("=")]
    except KeyError:
        names = ", ".join(str(d.np) for d in ALL if not d.is_extension)
        raise TypeError(
            f"can't convert np.ndarray of type {np_dtype if np_dtype != object else 'numpy.object_'}. "
            f"The only supported types are: {names}."
        ) from None


def cast(values: np.ndarray, d: dtype) -> np.ndarray:
    """``values`` of a type that NumPy computes with in another dtype; an imaginary part must not be lost."""
    if d is float16 and values.dtype.itemsize > 2:
        values = values.astype(
            np.float32, copy=False
        )  # by way of which PyTorch converts to half precision: what is halfway is rounded twice
    return stored(values, d) if d.is_stored else values.astype(d.np)


def widened(values: np.ndarray) -> np.ndarray:
    """Values of a type that NumPy does not know, or of half precision, in the narrowest of those that it computes with."""
    if values.dtype != complex32.np:
        return values.astype(np.float32)
    parts = np.ascontiguousarray(values).reshape(-1).view(np.float16)
    return parts.astype(np.float32).view(np.complex64).reshape(values.shape)


def stored(values: np.ndarray, d: dtype) -> np.ndarray:
    """``values`` in a dtype of ``STORED``: the nearest ones, among equally near ones the even one.

    Where there is no infinity, what is too large becomes the largest value; the scale ``float8_e8m0fnu`` has no sign and no 0.
    """
    if d is complex32:
        with np.errstate(over="ignore"):
            return values.astype(np.complex64).reshape(-1).view(np.float32).astype(np.float16).view(d.np).reshape(values.shape)
    values = np.asarray(values, np.float32)  # by way of which PyTorch converts other numbers
    if d is float8_e4m3fn:
        values = np.where(np.isnan(values), values, np.clip(values, -448, 448))
    if d is float8_e8m0fnu:
        return _scales(values)
    with np.errstate(all="ignore"):
        found = values.astype(d.np)
    if d is float8_e5m2:
        bits = found.view(np.uint8)
        bits[np.isnan(values)] |= 0x7F
    return found


def _scales(values: np.ndarray) -> np.ndarray:
    """Powers of two: the exponents of floats, one more from the middle on, as to which even is the larger one."""
    bits = values.view(np.uint32)
    exponents, mantissas = bits >> 23 & 0xFF, bits & 0x7FFFFF
    up = (mantissas > 1 << 22) | (mantissas == 1 << 22) & (exponents > 0)
    return np.where(exponents == 0xFF, 0xFF, exponents + up).astype(np.uint8).view(float8_e8m0fnu.np)


# --- the default dtype ---------------------------------------------------------------------------------------

_default = float32


def get_default_dtype() -> dtype:
    """The dtype of ``tensor([1.0])``: ``float32`` unless changed by :func:`set_default_dtype`."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """Sets the dtype of tensors made from Python floats. ``d`` must be a floating-point dtype."""
    global _default
    if d.__class__ is not dtype:
        raise TypeError(f"invalid dtype object: only floating-point types are supported as the default type, got {d!r}")
    if not d.is_floating_point:
        raise TypeError(f"only floating-point types are supported as the default type, got {d}")
    if d is not _default:
        _default = d
        for forget in depending_on_default:
            forget()


depending_on_default: list[Callable[[], None]] = []
"""Called when the default dtype changes: those forget who remember what followed from it."""


# --- promotion -----------------------------------------------------------------------------------------------


def _promote(a: dtype, b: dtype) -> dtype:
    if a is b:
        return a
    if a in FLOATS8 or b in FLOATS8:
        names = scalar_name(a), scalar_name(b)
        raise RuntimeError(f"Promotion for Float8 Types is not supported, attempted to promote {names[0]} and {names[1]}")
    if a.kind < b.kind:
        a, b = b, a
    if a.kind != FLOATING and not {"uint16", "uint32", "uint64"}.isdisjoint((a.name, b.name)):
        names = scalar_name(a), scalar_name(b)
        raise RuntimeError(
            f"Promotion for uint16, uint32, uint64 types is not supported, attempted to promote {names[0]} and {names[1]}"
        )
    if a.kind == COMPLEX:
        real = a.to_real()
        return (_promote(real, b.to_real()) if b.kind >= FLOATING else real).to_complex()
    if a.kind == FLOATING:
        if b.kind != FLOATING:
            return a
        if float64 in (a, b):
            return float64
        return float32  # two different types of at most 32 bits: float16 with bfloat16 makes float32
    if b.kind == BOOLEAN:
        return a
    if a.is_signed == b.is_signed:
        return a if a.itemsize >= b.itemsize else b
    signed, unsigned = (a, b) if a.is_signed else (b, a)
    return signed if unsigned.itemsize < signed.itemsize else int16


_TABLE: dict[tuple[dtype, dtype], dtype] = {}


def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest dtype that both ``a`` and ``b`` promote to (``torch.promote_types``)."""
    try:
        return _TABLE[a, b]
    except KeyError:
        result = _TABLE[a, b] = _promote(as_dtype(a, "promote_types"), as_dtype(b, "promote_types"))
        return result


def can_cast(from_: dtype, to: dtype):  # -> bool, a name that is taken here
    """Whether an in-place op may write ``from_`` values into ``to``: not into a lower category (``torch.can_cast``)."""
    return from_.kind <= to.kind


class finfo:
    """Limits of a floating-point dtype: ``bits eps max min tiny smallest_normal resolution dtype``."""

    def __init__(self, type: dtype | None = None) -> None:
        d = type or _default
        if d.kind < FLOATING:
            raise TypeError(f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{d}'")
        d = d.to_real()
        info: Any = ml_dtypes.finfo(d.np) if d.is_extension else np.finfo(d.np)
        self.bits = d.itemsize * 8
        self.eps, self.max, self.min = float(info.eps), float(info.max), float(info.min)
        self.tiny = self.smallest_normal = float(info.smallest_normal)
        self.resolution = 1.0 if d.is_stored else float(f"{float(info.resolution):.0e}")  # a power of ten, which bfloat16 rounds
        self.dtype = d.name

    def __eq__(self, other: object):
        return isinstance(other, finfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
            f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer dtype: ``bits max min dtype``."""

    def __init__(self, type: dtype) -> None:
        if type.np.kind == "b":
            raise TypeError(f"{type} is not supported by torch.iinfo")
        if type.kind != INTEGRAL:
            raise TypeError(f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{type}'")
        info = np.iinfo(type.np)  # type: ignore[type-var]
        self.bits, self.max, self.min, self.dtype = int(info.bits), int(info.max), int(info.min), type.name

    def __eq__(self, other: object):
        return isinstance(other, iinfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"

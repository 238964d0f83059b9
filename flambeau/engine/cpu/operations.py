"""What each instruction of the loop IR is in LLVM IR, for scalars and vectors alike."""

from __future__ import annotations

from collections.abc import Callable

from flambeau.core.dtypes import BOOLEAN, FLOATING, bfloat16, float16, float32, float64
from flambeau.core.dtypes import dtype as Dtype
from flambeau.engine.cpu import vmath, vpow, vtrig
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.loops import COMPARISONS, Instr

# Kinds in registers. 16-bit floats are carried as bits: they only move and are cast.
_KINDS = {
    "bool": "i1", "uint8": "i8", "int8": "i8", "int16": "i16", "uint16": "i16", "int32": "i32", "uint32": "i32",
    "int64": "i64", "uint64": "i64", "float16": "i16", "bfloat16": "i16", "float32": "float", "float64": "double",
}  # fmt: skip


def kind(dtype: Dtype) -> str:
    """The kind of LLVM value that holds a ``dtype`` in registers."""
    return _KINDS[dtype.name]


def memory_kind(dtype: Dtype) -> str:
    """The kind of LLVM value that holds a ``dtype`` in memory."""
    return "i8" if dtype.kind == BOOLEAN else _KINDS[dtype.name]


def from_memory(value: Value, dtype: Dtype) -> Value:
    return value.compare("ne", 0) if dtype.kind == BOOLEAN else value


def to_memory(value: Value, dtype: Dtype) -> Value:
    return value.convert("zext", "i8") if dtype.kind == BOOLEAN else value


def constant(code: Code, number: float, dtype: Dtype, lanes: int = 0) -> Value:
    """``number`` as a ``dtype``."""
    if dtype in (float16, bfloat16):
        return cast(code.const(number, "float", lanes), float32, dtype)
    return code.const(number, kind(dtype), lanes)


# --- casts ---------------------------------------------------------------------------------------------------


def cast(x: Value, source: Dtype, target: Dtype) -> Value:
    """``x``, a ``source``, as a ``target``. Floats become integers by truncation, anything but 0 becomes True."""
    if source is target:
        return x
    if source in (float16, bfloat16):
        x, source = (_from_half(x) if source is float16 else _from_bfloat(x)), float32
    if target in (float16, bfloat16):
        x = cast(x, source, float32)
        return _to_half(x) if target is float16 else _to_bfloat(x)
    to = kind(target)
    if source.kind == FLOATING:
        if target.kind == FLOATING:
            return x.convert("fpext" if target is float64 else "fptrunc", to)
        if target.kind == BOOLEAN:
            return x.compare("une", 0.0)
        if target.name == "uint64":
            return x.convert("fptoui", to)
        # Through a wider type: what does not fit wraps as it does in C on this machine.
        wide = "i64" if target.name in ("int64", "uint32") else "i32"
        return x.convert("fptosi", wide).convert("trunc", to)
    if target.kind == BOOLEAN:
        return x.compare("ne", 0)
    if target.kind == FLOATING:
        return x.convert("sitofp" if source.is_signed else "uitofp", to)
    if target.itemsize <= source.itemsize and source.kind != BOOLEAN:
        return x.convert("trunc", to)
    return x.convert("sext" if source.is_signed else "zext", to)


def _from_bfloat(x: Value) -> Value:
    return (x.convert("zext", "i32") << 16).convert("bitcast", "float")


def _to_bfloat(x: Value) -> Value:
    bits = x.bits()
    odd = bits.binary("lshr", 16) & 1
    rounded = (bits + 0x7FFF + odd).binary("lshr", 16)  # to nearest, ties to even
    quiet = bits.binary("lshr", 16) | 0x40
    return x.compare("uno", x).select(quiet, rounded).convert("trunc", "i16")


def _from_half(x: Value) -> Value:
    if x.code.machine.half:
        return x.convert("bitcast", "half").convert("fpext", "float")
    bits = x.convert("zext", "i32")
    # As the bits of a float the number is 2**112 times too small; that product is exact, for subnormals too.
    shifted = (bits & 0x7FFF) << 13
    size = shifted.convert("bitcast", "float") * 2.0**112
    special = (shifted | 0x7F800000).convert("bitcast", "float")
    size = size.compare("oge", 65536.0).select(special, size)
    return (size.bits() | ((bits & 0x8000) << 16)).convert("bitcast", "float")


def _to_half(x: Value) -> Value:
    if x.code.machine.half:
        return x.convert("fptrunc", "half").convert("bitcast", "i16")
    bits = x.bits()
    sign = bits.binary("lshr", 16) & 0x8000
    size = bits & 0x7FFFFFFF
    odd = size.binary("lshr", 13) & 1
    normal = (size + (0xFFF - (112 << 23)) + odd).binary("lshr", 13)
    # Adding 0.5 leaves a subnormal's bits, rounded, at the end of the significand.
    small = (size.convert("bitcast", "float") + 0.5).bits() - 0x3F000000
    result = size.compare("ult", 0x38800000).select(small, normal)
    result = size.compare("ugt", 0x477FEFFF).select(0x7C00, result)  # 65520 and more
    result = size.compare("ugt", 0x7F800000).select(size.binary("lshr", 13) & 0x3FF | 0x7E00, result)
    return (result | sign).convert("trunc", "i16")


# --- arithmetic ----------------------------------------------------------------------------------------------


def maximum(a: Value, b: Value, dtype: Dtype) -> Value:
    """The larger one, or NaN where either is."""
    if dtype.kind != FLOATING:
        return a.compare("sgt" if dtype.is_signed else "ugt", b).select(a, b)
    return a.compare("uno", a).select(a, a.compare("ogt", b).select(a, b))


def minimum(a: Value, b: Value, dtype: Dtype) -> Value:
    """The smaller one, or NaN where either is."""
    if dtype.kind != FLOATING:
        return a.compare("slt" if dtype.is_signed else "ult", b).select(a, b)
    return a.compare("uno", a).select(a, a.compare("olt", b).select(a, b))


def _fmax(a: Value, b: Value, dtype: Dtype) -> Value:
    return b.compare("uno", b).select(a, a.compare("ogt", b).select(a, b))


def _fmin(a: Value, b: Value, dtype: Dtype) -> Value:
    return b.compare("uno", b).select(a, a.compare("olt", b).select(a, b))


def _abs(a: Value, dtype: Dtype) -> Value:
    if dtype.kind == FLOATING:
        return a.abs()
    return a.compare("slt", 0).select(-a, a) if dtype.is_signed else a


def _safe_divisor(a: Value, b: Value, dtype: Dtype) -> tuple[Value, Value]:
    """A divisor that does not trap: 1 for 0 and for -1; and ``a / b`` where ``b`` is -1."""
    unsafe = b.compare("eq", 0)
    if dtype.is_signed:
        minus = b.compare("eq", -1)
        return (unsafe | minus).select(1, b), minus
    return unsafe.select(1, b), unsafe


def _truncdiv(a: Value, b: Value, dtype: Dtype) -> Value:
    divisor, minus = _safe_divisor(a, b, dtype)
    if not dtype.is_signed:
        return a.binary("udiv", divisor)
    return minus.select(-a, a.binary("sdiv", divisor))


def _floordiv(a: Value, b: Value, dtype: Dtype) -> Value:
    if dtype.kind == FLOATING:
        return _floordiv_float(a, b)
    if not dtype.is_signed:
        return _truncdiv(a, b, dtype)
    quotient = _truncdiv(a, b, dtype)
    rest = a - quotient * b
    below = rest.compare("ne", 0) & (rest ^ b).compare("slt", 0)
    return below.select(quotient - 1, quotient)


def _floordiv_float(a: Value, b: Value) -> Value:
    """``floor(a / b)`` of the exact quotient, as Python's ``//``."""
    rest = _fmod(a, b)
    quotient = (a - rest) / b
    below = rest.compare("une", 0.0) & (b.compare("olt", 0.0) ^ rest.compare("olt", 0.0))
    quotient = below.select(quotient - 1.0, quotient)
    floor = quotient.intrinsic("floor")
    floor = (quotient - floor).compare("ogt", 0.5).select(floor + 1.0, floor)
    zero = (a / b).like(0.0).intrinsic("copysign", a / b)
    result = quotient.compare("oeq", 0.0).select(zero, floor)
    return b.compare("oeq", 0.0).select(a / b, result)


def _rem(a: Value, b: Value, dtype: Dtype) -> Value:
    if dtype.kind != FLOATING:
        return a - _floordiv(a, b, dtype) * b
    rest = _fmod(a, b)
    other = b.compare("olt", 0.0) ^ rest.compare("olt", 0.0)
    zero = rest.like(0.0).intrinsic("copysign", b)
    return rest.compare("oeq", 0.0).select(zero, other.select(rest + b, rest))


def _fmod(a: Value, b: Value) -> Value:
    """The exact remainder of the truncated quotient: the library's, lane by lane."""
    function = "fmodf" if a.kind == "float" else "fmod"
    return a.code.by_lane(lambda x, y: a.code.call(function, [x, y], a.kind, 0), a, b)


def compare(op: str, a: Value, b: Value, dtype: Dtype) -> Value:
    """``a op b`` for values of ``dtype``."""
    if dtype.kind == FLOATING:
        return a.compare("une" if op == "ne" else "o" + op, b)
    if op in ("eq", "ne"):
        return a.compare(op, b)
    return a.compare(("s" if dtype.is_signed and dtype.kind != BOOLEAN else "u") + op, b)


_SIMPLE: dict[str, Callable[..., Value]] = {
    "add": lambda a, b, d: a + b,
    "sub": lambda a, b, d: a - b,
    "mul": lambda a, b, d: a * b,
    "div": lambda a, b, d: a / b,
    "neg": lambda a, d: -a,
    "abs": _abs,
    "min": minimum,
    "max": maximum,
    "fmin": _fmin,
    "fmax": _fmax,
    "fma": lambda a, b, c, d: a.fma(b, c),
    "copysign": lambda a, b, d: a.intrinsic("copysign", b),
    "truncdiv": _truncdiv,
    "floordiv": _floordiv,
    "rem": _rem,
    "fmod": lambda a, b, d: _fmod(a, b) if d.kind == FLOATING else a - _truncdiv(a, b, d) * b,
    "and": lambda a, b, d: a & b,
    "or": lambda a, b, d: a | b,
    "xor": lambda a, b, d: a ^ b,
    "not": lambda a, d: ~a,
    "shl": lambda a, b, d: a << b,
    "shr": lambda a, b, d: a.binary("ashr" if d.is_signed else "lshr", b),
    "sqrt": lambda a, d: a.sqrt(),
    "floor": lambda a, d: a.intrinsic("floor"),
    "ceil": lambda a, d: a.intrinsic("ceil"),
    "trunc": lambda a, d: a.intrinsic("trunc"),
    "rint": lambda a, d: a.intrinsic("rint"),
}


_FUNCTIONS: dict[str, Callable[..., Value]] = vmath.FUNCTIONS | vtrig.FUNCTIONS | vpow.FUNCTIONS


def evaluate(instr: Instr, args: list[Value], given: list[Dtype]) -> Value:
    """The result of ``instr``, neither a source nor a reduction, for arguments of dtypes ``given``."""
    op = instr.op
    if op == "cast":
        return cast(args[0], given[0], instr.dtype)
    if op == "select":
        return args[0].select(args[1], args[2])
    if op == "isnan":
        return args[0].compare("uno", args[0])
    if op in COMPARISONS:
        return compare(op, args[0], args[1], given[0])
    if op in _SIMPLE:
        return _SIMPLE[op](*args, instr.dtype)
    return _FUNCTIONS[op](*args)


# --- reductions ----------------------------------------------------------------------------------------------

_COMBINE: dict[str, Callable[..., Value]] = {
    "sum": lambda a, b, d: a + b,
    "prod": lambda a, b, d: a * b,
    "max": maximum,
    "min": minimum,
    "any": lambda a, b, d: a | b,
    "all": lambda a, b, d: a & b,
}


def combine(op: str, so_far: Value, value: Value, dtype: Dtype) -> Value:
    """One step of a reduction."""
    return _COMBINE[op](so_far, value, dtype)


def identity(op: str, dtype: Dtype) -> float:
    """What a reduction starts from."""
    if op in ("sum", "any"):
        return 0
    if op in ("prod", "all"):
        return 1
    sign = -1 if op == "max" else 1
    if dtype.kind == FLOATING:
        return sign * float("inf")
    if not dtype.is_signed:
        return 0 if op == "max" else (1 << 8 * dtype.itemsize) - 1
    return -(1 << 8 * dtype.itemsize - 1) if op == "max" else (1 << 8 * dtype.itemsize - 1) - 1

"""Vectors from memory and to memory: contiguous, broadcast or strided, all lanes or some.

A stride is a number of elements; or the vector of how far each lane is from the first one.
"""

from __future__ import annotations

from flambeau.engine.cpu.emit import BITS, Code, Value

_NAMES = {"float": "f32", "double": "f64"}


def load(pointer: Value, kind: str, lanes: int, stride: int | Value, mask: Value | None) -> Value:
    """``lanes`` elements ``stride`` apart; where ``mask`` is given, only those of the lanes that it sets."""
    code = pointer.code
    if stride == 0:
        return pointer.load(kind).splat(lanes)
    if stride == 1 and mask is None:
        return pointer.load(kind, lanes)
    if stride == 1:
        name, places = f"llvm.masked.load.{_type(kind, lanes)}.p0", pointer
    else:
        name, places = f"llvm.masked.gather.{_type(kind, lanes)}.v{lanes}p0", _places(pointer, kind, lanes, stride)
    return code.call(name, [places, *_masking(code, kind, lanes, mask), code.const(0, kind, lanes)], kind, lanes)


def store(pointer: Value, value: Value, stride: int | Value, mask: Value | None) -> None:
    """Stores the lanes of ``value`` ``stride`` elements apart; where ``mask`` is given, only those that it sets."""
    code, kind, lanes = pointer.code, value.kind, value.lanes
    if stride == 1 and mask is None:
        pointer.store(value)
        return
    if stride == 1 and mask is not None and mask.ref == code.vector([k == 0 for k in range(lanes)], "i1").ref:
        pointer.store(value.lane(0))  # LLVM 20 stores a lane alone, if it has been truncated, as wide as it was before
        return
    if stride == 1:
        name, places = f"llvm.masked.store.{_type(kind, lanes)}.p0", pointer
    else:
        name, places = f"llvm.masked.scatter.{_type(kind, lanes)}.v{lanes}p0", _places(pointer, kind, lanes, stride)
    code.perform(name, [value, places, *_masking(code, kind, lanes, mask)])


def _type(kind: str, lanes: int) -> str:
    return f"v{lanes}{_NAMES.get(kind, kind)}"


def _masking(code: Code, kind: str, lanes: int, mask: Value | None) -> list[Value]:
    return [code.const(BITS[kind] // 8, "i32"), mask or code.const(True, "i1", lanes)]


def _places(pointer: Value, kind: str, lanes: int, stride: int | Value) -> Value:
    if isinstance(stride, Value):
        return pointer.offset(stride, kind)
    width = "i32" if abs(stride) * lanes < 1 << 31 else "i64"
    return pointer.offset(pointer.code.vector([k * stride for k in range(lanes)], width), kind)

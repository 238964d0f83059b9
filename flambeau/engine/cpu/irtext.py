"""A small writer of LLVM assembly: numbered values, counted loops, vectors with a tail.

Kernels are written as text, because text is what is hashed, kept and parsed, and what one reads when one looks for a fault.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class Loop:
    """What is known inside :meth:`Writer.loop`: the counter, and the values carried from round to round."""

    __slots__ = ("carried", "i", "next")

    def __init__(self, i: str, carried: list[str]) -> None:
        self.i = i
        self.carried = carried
        self.next: Sequence[str] = carried


class Writer:
    """Writes one function, instruction by instruction, in static single assignment."""

    def __init__(self, name: str, parameters: str, linkage: str = "", attributes: str = "nounwind") -> None:
        self.lines = [f"define {linkage} void @{name}({parameters}) {attributes} {{", "entry:"]
        self.block = "%entry"
        self._names = 0

    def name(self) -> str:
        """A name that no other value has."""
        self._names += 1
        return f"%v{self._names}"

    def let(self, instruction: str) -> str:
        """Writes an instruction that has a result, and gives the result's name."""
        name = self.name()
        self.lines.append(f"  {name} = {instruction}")
        return name

    def do(self, instruction: str) -> None:
        """Writes an instruction without a result."""
        self.lines.append("  " + instruction)

    def label(self, name: str) -> None:
        """Begins a block. ``name`` has its percent sign."""
        self.lines.append(name[1:] + ":")
        self.block = name

    def finish(self) -> str:
        """The function's text."""
        return "\n".join([*self.lines, "  ret void", "}", ""])

    # -- numbers and addresses ------------------------------------------------------------------------------------------

    def at(self, pointer: str, offset: int | str) -> str:
        """The address ``offset`` bytes after ``pointer``."""
        return pointer if offset == 0 else self.let(f"getelementptr i8, ptr {pointer}, i64 {offset}")

    def times(self, i: int | str, factor: int) -> int | str:
        """``i * factor``, folded where it can be."""
        if isinstance(i, int):
            return i * factor
        if factor in (0, 1):
            return i if factor else 0
        return self.let(f"mul i64 {i}, {factor}")

    def plus(self, i: int | str, j: int | str) -> int | str:
        """``i + j``, folded where it can be."""
        if isinstance(i, int) and isinstance(j, int):
            return i + j
        if i == 0 or j == 0:
            return j if i == 0 else i
        return self.let(f"add i64 {i}, {j}")

    # -- control --------------------------------------------------------------------------------------------------------

    @contextmanager
    def loop(self, count: int | str, carry: Sequence[tuple[str, str]] = ()) -> Iterator[Loop]:
        """Runs the body ``count`` times, at least once. ``carry`` has the type and the first value of what is carried.

        The body sets ``next`` to the values for the next round; after the loop these are the last ones.
        """
        before, head = self.block, self.name()
        self.do(f"br label {head}")
        self.label(head)
        loop = Loop(self.name(), [self.name() for _ in carry])
        place = len(self.lines)
        yield loop
        step = self.let(f"add nuw nsw i64 {loop.i}, 1")
        phis = [f"  {loop.i} = phi i64 [ 0, {before} ], [ {step}, {self.block} ]"]
        for (kind, first), inside, after in zip(carry, loop.carried, loop.next):
            phis.append(f"  {inside} = phi {kind} [ {first}, {before} ], [ {after}, {self.block} ]")
        self.lines[place:place] = phis
        again, done = self.let(f"icmp ult i64 {step}, {count}"), self.name()
        self.do(f"br i1 {again}, label {head}, label {done}")
        self.label(done)

    @contextmanager
    def each(self, count: int) -> Iterator[int | str]:
        """The body for every number below ``count``; no loop where there is only one."""
        if count == 1:
            yield 0
        else:
            with self.loop(count) as loop:
                yield loop.i

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """The body only where ``condition`` (an ``i1``) holds."""
        inside, after = self.name(), self.name()
        self.do(f"br i1 {condition}, label {inside}, label {after}")
        self.label(inside)
        yield
        self.do(f"br label {after}")
        self.label(after)


class Vectors:
    """Vectors of ``lanes`` numbers of one type (``float`` or ``double``) and the instructions on them."""

    def __init__(self, scalar: str, lanes: int) -> None:
        self.scalar = scalar
        self.size = 4 if scalar == "float" else 8
        self.lanes = lanes
        self.type = f"<{lanes} x {scalar}>"
        self.suffix = f"v{lanes}f{8 * self.size}"
        self.bytes = lanes * self.size
        self._masks = f"<{lanes} x i1>"

    def declarations(self) -> str:
        """What a module that uses these vectors declares."""
        t, m, s = self.type, self._masks, self.suffix
        return (
            f"declare {t} @llvm.fmuladd.{s}({t}, {t}, {t})\n"
            f"declare {t} @llvm.masked.load.{s}.p0(ptr, i32, {m}, {t})\n"
            f"declare void @llvm.masked.store.{s}.p0({t}, ptr, i32, {m})\n"
            f"declare {t} @llvm.masked.gather.{s}.v{self.lanes}p0(<{self.lanes} x ptr>, i32, {m}, {t})\n"
            f"declare void @llvm.masked.scatter.{s}.v{self.lanes}p0({t}, <{self.lanes} x ptr>, i32, {m})\n"
        )

    def mask(self, count: int) -> str:
        """The constant mask of the first ``count`` lanes."""
        return f"{self._masks} <{', '.join(f'i1 {int(i < count)}' for i in range(self.lanes))}>"

    def constant(self, number: float) -> str:
        """A literal of the scalar type."""
        if self.size == 4:
            number = struct.unpack("f", struct.pack("f", number))[0]
        return "0x" + struct.pack(">d", number).hex().upper()

    def splat(self, w: Writer, scalar: str) -> str:
        """All lanes equal to ``scalar``."""
        one = w.let(f"insertelement {self.type} poison, {self.scalar} {scalar}, i32 0")
        return w.let(f"shufflevector {self.type} {one}, {self.type} poison, <{self.lanes} x i32> zeroinitializer")

    def broadcast(self, w: Writer, pointer: str) -> str:
        """All lanes equal to the number at ``pointer``."""
        return self.splat(w, w.let(f"load {self.scalar}, ptr {pointer}, align {self.size}"))

    def _pointers(self, w: Writer, pointer: str, step: int) -> str:
        offsets = ", ".join(f"i64 {i * step}" for i in range(self.lanes))
        return w.let(f"getelementptr i8, ptr {pointer}, <{self.lanes} x i64> <{offsets}>")

    def load(self, w: Writer, pointer: str, count: int | None = None, step: int | None = None, aligned: bool = False) -> str:
        """The first ``count`` lanes from numbers ``step`` bytes apart (``None``: contiguous), zeros in the others."""
        count = self.lanes if count is None else count
        if step == 0:
            return self.broadcast(w, pointer)
        if step is not None and step != self.size:
            addresses = self._pointers(w, pointer, step)
            return w.let(
                f"call {self.type} @llvm.masked.gather.{self.suffix}.v{self.lanes}p0"
                f"(<{self.lanes} x ptr> {addresses}, i32 {self.size}, {self.mask(count)}, {self.type} zeroinitializer)"
            )
        if count == self.lanes:
            return w.let(f"load {self.type}, ptr {pointer}, align {self.bytes if aligned else self.size}")
        return w.let(
            f"call {self.type} @llvm.masked.load.{self.suffix}.p0"
            f"(ptr {pointer}, i32 {self.size}, {self.mask(count)}, {self.type} zeroinitializer)"
        )

    def store(
        self, w: Writer, value: str, pointer: str, count: int | None = None, step: int | None = None, aligned: bool = False
    ) -> None:
        """Stores the first ``count`` lanes ``step`` bytes apart (``None``: contiguous)."""
        count = self.lanes if count is None else count
        if step is not None and step != self.size:
            addresses = self._pointers(w, pointer, step)
            w.do(
                f"call void @llvm.masked.scatter.{self.suffix}.v{self.lanes}p0"
                f"({self.type} {value}, <{self.lanes} x ptr> {addresses}, i32 {self.size}, {self.mask(count)})"
            )
        elif count == self.lanes:
            w.do(f"store {self.type} {value}, ptr {pointer}, align {self.bytes if aligned else self.size}")
        else:
            w.do(
                f"call void @llvm.masked.store.{self.suffix}.p0"
                f"({self.type} {value}, ptr {pointer}, i32 {self.size}, {self.mask(count)})"
            )

    def fma(self, w: Writer, a: str, b: str, c: str) -> str:
        """``a * b + c``, rounded once where the machine can."""
        t = self.type
        return w.let(f"call {t} @llvm.fmuladd.{self.suffix}({t} {a}, {t} {b}, {t} {c})")

    def binary(self, w: Writer, op: str, a: str, b: str) -> str:
        """``fadd``, ``fmul`` ..."""
        return w.let(f"{op} {self.type} {a}, {b}")

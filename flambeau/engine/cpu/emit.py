"""LLVM IR as text: a function under construction, and the values in it.

A :class:`Value` is a scalar (``lanes == 0``) or a vector, and has Python's operators, so that formulas read as
formulas; Python numbers become constants. Values wider than a register are fine: LLVM splits them, which is how
loops are unrolled here.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from flambeau.engine.cpu.compiler import Machine

FLOATS = ("float", "double")
_SUFFIX = {"float": "f32", "double": "f64", "half": "f16", "ptr": "p0"}
BITS = {"i1": 1, "i8": 8, "i16": 16, "i32": 32, "i64": 64, "float": 32, "double": 64, "half": 16, "ptr": 64}


class Value:
    """One IR value: its text ``ref``, the ``kind`` of its elements and the number of ``lanes``, 0 for a scalar."""

    __slots__ = ("code", "ref", "kind", "lanes")

    def __init__(self, code: Code, ref: str, kind: str, lanes: int) -> None:
        self.code = code
        self.ref = ref
        self.kind = kind
        self.lanes = lanes

    @property
    def type(self) -> str:
        return f"<{self.lanes} x {self.kind}>" if self.lanes else self.kind

    def like(self, number: Value | float, kind: str = "") -> Value:
        """``number`` as a constant of this value's lanes, and kind unless another is named; values pass."""
        if isinstance(number, Value):
            return number
        return self.code.const(number, kind or self.kind, self.lanes)

    def _binary(self, op: str, other: Value | float, swap: bool = False) -> Value:
        a, b = self, self.like(other)
        if swap:
            a, b = b, a
        return self.code.new(f"{op} {a.type} {a.ref}, {b.ref}", self.kind, self.lanes)

    def _op(self, op: str) -> str:
        return "f" + op if self.kind in FLOATS else op

    def __add__(self, other: Value | float) -> Value:
        return self._binary(self._op("add"), other)

    def __radd__(self, other: float) -> Value:
        return self._binary(self._op("add"), other, swap=True)

    def __sub__(self, other: Value | float) -> Value:
        return self._binary(self._op("sub"), other)

    def __rsub__(self, other: float) -> Value:
        return self._binary(self._op("sub"), other, swap=True)

    def __mul__(self, other: Value | float) -> Value:
        return self._binary(self._op("mul"), other)

    def __rmul__(self, other: float) -> Value:
        return self._binary(self._op("mul"), other, swap=True)

    def __truediv__(self, other: Value | float) -> Value:
        return self._binary("fdiv", other)

    def __rtruediv__(self, other: float) -> Value:
        return self._binary("fdiv", other, swap=True)

    def __and__(self, other: Value | int) -> Value:
        return self._binary("and", other)

    def __or__(self, other: Value | int) -> Value:
        return self._binary("or", other)

    def __xor__(self, other: Value | int) -> Value:
        return self._binary("xor", other)

    def __lshift__(self, other: Value | int) -> Value:
        return self._binary("shl", other)

    def __neg__(self) -> Value:
        if self.kind in FLOATS:
            return self.code.new(f"fneg {self.type} {self.ref}", self.kind, self.lanes)
        return 0 - self

    def __invert__(self) -> Value:
        return self ^ -1

    def binary(self, op: str, other: Value | float) -> Value:
        """LLVM's instruction ``op``, for example ``"udiv"``."""
        return self._binary(op, other)

    def compare(self, how: str, other: Value | float) -> Value:
        """Bits: ``how`` as LLVM spells it: ``"olt"``, ``"uno"`` of floats, ``"slt"``, ``"eq"`` of integers."""
        other = self.like(other)
        op = "fcmp" if self.kind in FLOATS else "icmp"
        return self.code.new(f"{op} {how} {self.type} {self.ref}, {other.ref}", "i1", self.lanes)

    def select(self, yes: Value | float, no: Value | float) -> Value:
        """Lane by lane ``yes`` where this is set, else ``no``; at most one of them may be a Python number."""
        typed = yes if isinstance(yes, Value) else no
        assert isinstance(typed, Value)
        a, b = typed.like(yes), typed.like(no)
        return self.code.new(f"select {self.type} {self.ref}, {a.type} {a.ref}, {b.type} {b.ref}", a.kind, a.lanes)

    def convert(self, op: str, kind: str) -> Value:
        """LLVM's conversion ``op`` (``"fpext"``, ``"sitofp"``, ``"bitcast"``, ...) to elements of ``kind``."""
        if self.kind == kind:
            return self
        to = f"<{self.lanes} x {kind}>" if self.lanes else kind
        return self.code.new(f"{op} {self.type} {self.ref} to {to}", kind, self.lanes)

    def bits(self) -> Value:
        """The representation of a floating-point value."""
        return self.convert("bitcast", f"i{BITS[self.kind]}")

    def intrinsic(self, name: str, *others: Value | float) -> Value:
        """``llvm.name`` of this and others of the same type, with a result of that type."""
        args = [self, *(self.like(o) for o in others)]
        return self.code.call(f"llvm.{name}.{self._mangled()}", args, self.kind, self.lanes)

    def _mangled(self) -> str:
        suffix = _SUFFIX.get(self.kind, self.kind)
        return f"v{self.lanes}{suffix}" if self.lanes else suffix

    def any(self) -> Value:
        """Whether a bit of any lane is set."""
        return self.code.call(f"llvm.vector.reduce.or.{self._mangled()}", [self], "i1", 0) if self.lanes else self

    def abs(self) -> Value:
        return self.intrinsic("fabs")

    def sqrt(self) -> Value:
        return self.intrinsic("sqrt")

    def fma(self, b: Value | float, c: Value | float) -> Value:
        """``self * b + c``; of floating-point numbers rounded once, where the machine can do that."""
        if self.kind not in FLOATS or not self.code.machine.fma:
            return self * b + c
        return self.intrinsic("fma", b, c)

    def splat(self, lanes: int) -> Value:
        """A vector of this scalar."""
        if lanes == 0 or self.lanes:
            return self
        if not self.ref.startswith("%"):
            return Value(self.code, f"splat ({self.kind} {self.ref})", self.kind, lanes)
        vector = f"<{lanes} x {self.kind}>"
        one = self.code.name(f"insertelement {vector} poison, {self.kind} {self.ref}, i64 0")
        expr = f"shufflevector {vector} {one}, {vector} poison, <{lanes} x i32> zeroinitializer"
        return self.code.new(expr, self.kind, lanes)

    def part(self, start: int, stop: int) -> Value:
        """Lanes ``start`` to ``stop`` as a vector."""
        which = ", ".join(f"i32 {k}" for k in range(start, stop))
        expr = f"shufflevector {self.type} {self.ref}, {self.type} poison, <{stop - start} x i32> <{which}>"
        return self.code.new(expr, self.kind, stop - start)

    def reversed(self) -> Value:
        """The lanes from the last to the first."""
        which = ", ".join(f"i32 {k}" for k in range(self.lanes - 1, -1, -1))
        expr = f"shufflevector {self.type} {self.ref}, {self.type} poison, <{self.lanes} x i32> <{which}>"
        return self.code.new(expr, self.kind, self.lanes)

    def lane(self, k: int) -> Value:
        return self.code.new(f"extractelement {self.type} {self.ref}, i64 {k}", self.kind, 0)

    def offset(self, elements: Value | int, kind: str) -> Value:
        """The pointer ``elements`` of ``kind`` further on."""
        if elements == 0:
            return self
        index = f"{elements.type} {elements.ref}" if isinstance(elements, Value) else f"i64 {elements}"
        lanes = elements.lanes if isinstance(elements, Value) else 0
        return self.code.new(f"getelementptr {kind}, ptr {self.ref}, {index}", "ptr", lanes)

    def load(self, kind: str, lanes: int = 0, align: int = 0) -> Value:
        """What this pointer points to."""
        type = f"<{lanes} x {kind}>" if lanes else kind
        return self.code.new(f"load {type}, ptr {self.ref}, align {align or BITS[kind] // 8}", kind, lanes)

    def store(self, value: Value, align: int = 0) -> None:
        """Stores ``value`` where this pointer points to."""
        align = align or BITS[value.kind] // 8
        self.code.line(f"store {value.type} {value.ref}, ptr {self.ref}, align {align}")


def literal(number: float, kind: str) -> str:
    """``number`` as LLVM spells a constant of ``kind``; floats are rounded to it, integers wrap."""
    if kind in FLOATS:
        number = float(number)
        if kind == "float":
            try:
                number = struct.unpack("<f", struct.pack("<f", number))[0]
            except OverflowError:
                number = float("inf") if number > 0 else float("-inf")
        return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    if kind == "i1":
        return "true" if number else "false"
    return str(int(number) & ((1 << BITS[kind]) - 1))


class Code:
    """The text of one function (and the declarations it needs), instruction by instruction."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.lines: list[str] = []
        self.allocations: list[str] = []  # of the entry block, whose stack memory lasts as long as the function
        self.declarations: dict[str, str] = {}
        self.block = "entry"  # label of the basic block being written
        self._count = 0

    # --- instructions ---------------------------------------------------------------------------------------

    def line(self, text: str) -> None:
        self.lines.append("  " + text)

    def name(self, expr: str) -> str:
        """Writes ``expr`` and returns the name of its result."""
        self._count += 1
        name = f"%v{self._count}"
        self.lines.append(f"  {name} = {expr}")
        return name

    def new(self, expr: str, kind: str, lanes: int) -> Value:
        return Value(self, self.name(expr), kind, lanes)

    def const(self, number: float, kind: str, lanes: int = 0) -> Value:
        """A constant."""
        text = literal(number, kind)
        return Value(self, f"splat ({kind} {text})" if lanes else text, kind, lanes)

    def index(self, number: int) -> Value:
        """A scalar ``i64``."""
        return Value(self, str(number), "i64", 0)

    def vector(self, numbers: Sequence[float], kind: str) -> Value:
        """A constant of several lanes."""
        text = ", ".join(f"{kind} {literal(n, kind)}" for n in numbers)
        return Value(self, f"<{text}>", kind, len(numbers))

    def call(self, function: str, args: Sequence[Value], kind: str, lanes: int) -> Value:
        """A call of an external function whose result is a value."""
        result = f"<{lanes} x {kind}>" if lanes else kind
        return self.new(self._call(function, args, result), kind, lanes)

    def perform(self, function: str, args: Sequence[Value]) -> None:
        """A call of an external function that returns nothing."""
        self.line(self._call(function, args, "void"))

    def _call(self, function: str, args: Sequence[Value], result: str) -> str:
        if function not in self.declarations:
            types = ", ".join(a.type for a in args)
            self.declarations[function] = f"declare {result} @{function}({types})"
        given = ", ".join(f"{a.type} {a.ref}" for a in args)
        return f"call {result} @{function}({given})"

    def invoke(self, address: Value, args: Sequence[Value]) -> None:
        """A call of the function at ``address``, which returns nothing."""
        given = ", ".join(f"{a.type} {a.ref}" for a in args)
        self.line(f"call void {address.ref}({given})")

    def allocate(self, kind: str, count: int | Value) -> Value:
        """Stack memory for ``count`` elements, for as long as the function runs."""
        self._count += 1
        name = f"%m{self._count}"
        if isinstance(count, Value):
            self.line(f"{name} = alloca {kind}, i64 {count.ref}, align 64")
            return Value(self, name, "ptr", 0)
        self.allocations.append(f"  {name} = alloca [{count} x {kind}], align 64")
        return Value(self, name, "ptr", 0)

    def by_lane(self, function: Callable[..., Value], *args: Value) -> Value:
        """``function`` of scalars, for every lane of vectors of one type."""
        kind, lanes = args[0].kind, args[0].lanes
        if not lanes:
            return function(*args)
        places = [self.allocate(kind, lanes) for _ in args]
        for place, arg in zip(places, args):
            place.store(arg, align=64)

        def step(k: Value, _: list[Value]) -> list[Value]:
            at = [place.offset(k, kind) for place in places]
            at[0].store(function(*(a.load(kind) for a in at)))
            return []

        self.loop(self.index(0), self.index(lanes), 1, [], step)
        return places[0].load(kind, lanes, align=64)

    # --- control flow ---------------------------------------------------------------------------------------

    def _label(self, label: str) -> None:
        self.lines.append(f"{label}:")
        self.block = label

    def loop(
        self,
        start: Value,
        stop: Value,
        step: int | Value,
        carried: Sequence[Value],
        body: Callable[[Value, list[Value]], Sequence[Value]],
    ) -> list[Value]:
        """``for i in range(start, stop, step): carried = body(i, carried)``; returns the last ``carried``."""
        self._count += 1
        n = self._count
        before = self.block
        self.line(f"br label %head{n}")
        self._label(f"head{n}")
        phis = len(self.lines)
        index = Value(self, f"%i{n}", "i64", 0)
        values = [Value(self, f"%c{n}.{k}", c.kind, c.lanes) for k, c in enumerate(carried)]
        self.lines.extend([""] * (1 + len(carried)))
        self.line(f"%more{n} = icmp slt i64 %i{n}, {stop.ref}")
        self.line(f"br i1 %more{n}, label %body{n}, label %exit{n}")
        self._label(f"body{n}")
        results = body(index, values)
        self.line(f"%next{n} = add i64 %i{n}, {step.ref if isinstance(step, Value) else step}")
        self.line(f"br label %head{n}")
        self.lines[phis] = f"  %i{n} = phi i64 [ {start.ref}, %{before} ], [ %next{n}, %{self.block} ]"
        for k, (first, value, result) in enumerate(zip(carried, values, results, strict=True)):
            sources = f"[ {first.ref}, %{before} ], [ {result.ref}, %{self.block} ]"
            self.lines[phis + 1 + k] = f"  {value.ref} = phi {value.type} {sources}"
        self._label(f"exit{n}")
        return values

    def when(self, condition: Value, default: Sequence[Value], body: Callable[[], Sequence[Value]]) -> list[Value]:
        """``body()`` where the scalar ``condition`` is set, else ``default``."""
        self._count += 1
        n = self._count
        before = self.block
        self.line(f"br i1 {condition.ref}, label %then{n}, label %join{n}")
        self._label(f"then{n}")
        results = body()
        after = self.block
        self.line(f"br label %join{n}")
        self._label(f"join{n}")
        return [
            self.new(f"phi {d.type} [ {d.ref}, %{before} ], [ {r.ref}, %{after} ]", d.kind, d.lanes)
            for d, r in zip(default, results, strict=True)
        ]

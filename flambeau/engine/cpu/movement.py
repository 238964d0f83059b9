"""Elements moved from place to place: along strides, and to or from where index tensors say.

``movement_kernel(spec)`` gives the address of ``void kernel(i8** args)`` with ``args = {values..., result[, fault][, numbers]}``;
``numbers`` points to those that are known only when the kernel runs, as doubles or ``i64``. What is added to one place is
added in the order of the move's shape, by one thread. Every index is looked at before anything is written: where one is out
of range, ``fault`` (an ``i64``) is set and nothing else happens. In a kernel that is not ``checked``, since somebody else has
looked at them, such an index means the first place: there is none that leads outside of an argument.
"""

from __future__ import annotations

from flambeau.core import dtypes
from flambeau.engine.cpu import memory
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.frame import Frame, bytes_on, kernel, parameter, run_part
from flambeau.engine.cpu.specs import Lookup, Move, MovementSpec

_BY_SIZE = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}

WORTH_DIVIDING = 1 << 21
"""Moves of this many bytes are divided between threads."""


def movement_kernel(spec: MovementSpec, session: Session | None = None) -> int:
    """The address of the kernel for ``spec``."""
    session = session or process_session()
    spec = spec._replace(moves=tuple(m.collapsed() for m in spec.moves))
    if spec not in session.memo:
        session.memo[spec] = _written(session, spec)
    address: int = session.memo[spec]
    return address


def _written(session: Session, spec: MovementSpec) -> int:
    writer = _Movement(session, spec)
    large = 2 * spec.size * spec.dtype.itemsize >= WORTH_DIVIDING
    apart = spec.begin == "" and len(spec.moves) == 1 and not spec.checked and spec.moves[0].shape
    scatters = apart and spec.moves[0].lookups and not spec.moves[0].reads
    if not (large and apart) or scatters:
        writer.write()
        return kernel(session, "movement", spec, writer.code)
    outer = Code(session.machine)
    tasks = writer.divide()
    run_part(outer, parameter(outer, "args"), tasks, divided=tasks > 1)
    return kernel(session, "movement", spec, outer, writer.code)


class _Movement(Frame):
    def __init__(self, session: Session, spec: MovementSpec) -> None:
        floating = any(m.add for m in spec.moves) and spec.dtype.kind == dtypes.FLOATING
        kind = _BY_SIZE[spec.dtype.itemsize]
        super().__init__(session, {"i32": "float", "i64": "double"}[kind] if floating else kind)
        self.spec = spec
        self.values = self.arguments(spec.arguments)
        self.result = self.arguments(spec.arguments + 1)[-1]
        if spec.numbers:
            self.number = self._number(self.arguments(spec.arguments + 2 + spec.checked)[-1])

    def _number(self, numbers: Value) -> Value:
        """The number that is given, as an element."""
        if self.spec.dtype.kind == dtypes.FLOATING:
            value = numbers.load("double")
            return (
                value.convert("fptrunc", "float").bits() if self.kind == "i32" else value.convert("bitcast", self.kind)
            )
        if self.spec.dtype is dtypes.bool:
            return numbers.load("double").compare("une", 0.0).convert("zext", "i8")
        return numbers.load("i64").convert("trunc", self.kind)

    def scalar(self, move: Move) -> Value | None:
        """What a move writes that has no source."""
        if move.constant is not None:
            kind = {"float32": "float", "float64": "double"}.get(self.spec.dtype.name, self.kind)
            value = self.code.const(move.constant, kind)
            return (
                value
                if kind == self.kind
                else self.code.new(f"bitcast {kind} {value.ref} to {self.kind}", self.kind, 0)
            )
        return self.number if move.source < 0 else None

    def write(self) -> None:
        """The whole kernel."""
        if not self.spec.checked:
            self.all()
            return
        fault = self.arguments(self.spec.arguments + 2)[-1]
        wrong = self.code.const(False, "i1")
        for lookup in {x: None for m in self.spec.moves for x in m.lookups}:
            wrong = wrong | self.beyond(lookup, self.shape_of(lookup))
        self.when(wrong, lambda: fault.store(self.code.index(1)))
        self.when(~wrong, self.all)

    def divide(self) -> int:
        """The only move as parts for threads; gives how many."""
        move = self.spec.moves[0]
        rows, inner = move.shape[0], self.spec.size * self.size // move.shape[0]
        block = max(1, (1 << 18) // max(inner, 1))

        def part(first: Value | int, count: int) -> None:
            starts = [
                self.go(self.go(p, first, s[0]), a, 1) for p, s, a in zip(self.ends(move), move.strides, move.starts)
            ]
            indices = [self.at_index(self.values[x.argument], first, x.strides[0], x) for x in move.lookups]
            self.nest(move, (count, *move.shape[1:]), 0, starts, indices)

        self.walk(rows, block, part, divided=True)
        return -(-rows // block)

    def shape_of(self, lookup: Lookup) -> tuple[int, ...]:
        return next(m.shape for m in self.spec.moves if lookup in m.lookups)

    def ends(self, move: Move) -> tuple[Value, Value]:
        return self.result if move.source < 0 else self.values[move.source], self.result

    def all(self) -> None:
        spec, code = self.spec, self.code
        size = code.index(spec.size * self.size)
        no = Value(code, "false", "i1", 0)
        if spec.begin == "zeros":
            code.perform("llvm.memset.p0.i64", [self.result, Value(code, "0", "i8", 0), size, no])
        elif spec.begin == "base":
            base = self.values[0]
            same = code.new(f"icmp ne ptr {base.ref}, {self.result.ref}", "i1", 0)
            self.when(same, lambda: code.perform("llvm.memcpy.p0.p0.i64", [self.result, base, size, no]))
        for move in spec.moves:
            starts = [self.go(p, a, 1) for p, a in zip(self.ends(move), move.starts)]
            self.nest(move, move.shape, 0, starts, [self.values[x.argument] for x in move.lookups])

    # --- indices -----------------------------------------------------------------------------------------

    def at_index(self, pointer: Value, i: Value | int, stride: int, lookup: Lookup) -> Value:
        return bytes_on(pointer, i * (stride * lookup.dtype.itemsize)) if stride else pointer

    def entry(self, pointer: Value, lookup: Lookup) -> Value:
        return pointer.load(_BY_SIZE[lookup.dtype.itemsize]).convert("sext", "i64")

    def beyond(self, lookup: Lookup, shape: tuple[int, ...]) -> Value:
        """Whether an entry of an index tensor is out of range."""
        code = self.code
        dims = [(n, s) for n, s in zip(shape, lookup.strides, strict=True) if s]

        def walk(d: int, pointer: Value, wrong: Value) -> Value:
            if d == len(dims):
                i = self.entry(pointer, lookup)
                if lookup.wraps:
                    return wrong | (i + lookup.extent).compare("uge", 2 * lookup.extent)
                return wrong | i.compare("uge", lookup.extent)
            n, stride = dims[d]

            def step(i: Value, carried: list[Value]) -> list[Value]:
                return [walk(d + 1, self.at_index(pointer, i, stride, lookup), carried[0])]

            return code.loop(code.index(0), code.index(n), 1, [wrong], step)[0]

        return walk(0, self.values[lookup.argument], code.const(False, "i1"))

    def shifted(self, move: Move, ends: list[Value], indices: list[Value]) -> list[Value]:
        """The places in source and result with what the indices say."""
        which = 0 if move.reads else 1
        for pointer, lookup in zip(indices, move.lookups, strict=True):
            i = self.entry(pointer, lookup)
            if lookup.wraps:
                i = i.compare("slt", 0).select(i + lookup.extent, i)
            if not self.spec.checked:  # it has been looked at elsewhere: whatever it is now, it is no place outside
                i = i.compare("ult", lookup.extent).select(i, 0)
            ends = list(ends)
            ends[which] = self.go(ends[which], i, lookup.step)
        return ends

    # --- loops -------------------------------------------------------------------------------------------

    def nest(self, move: Move, shape: tuple[int, ...], d: int, ends: list[Value], indices: list[Value]) -> None:
        """The loops over the dims of ``shape`` from number ``d`` on."""
        if indices and not any(any(x.strides[d:]) for x in move.lookups):
            ends, indices = self.shifted(move, ends, indices), []
        if d >= len(shape) - 1 and not indices:
            n, *strides = (shape[d], move.strides[0][d], move.strides[1][d]) if d < len(shape) else (1, 1, 1)
            self.row(move, n, strides[0], strides[1], ends)
            return

        def body(i: Value | int) -> None:
            at = [self.go(p, i, s[d]) for p, s in zip(ends, move.strides, strict=True)]
            places = [self.at_index(p, i, x.strides[d], x) for p, x in zip(indices, move.lookups)]
            self.nest(move, shape, d + 1, at, places)

        self.each(shape[d], body)

    def row(self, move: Move, n: int, source: int, target: int, ends: list[Value]) -> None:
        """Moves ``n`` elements with those strides."""
        code, kind, lanes = self.code, self.kind, self.lanes
        if not move.add and source == target == 1 and n > 1 and move.source >= 0:
            size, no = code.index(n * self.size), Value(code, "false", "i1", 0)
            code.perform("llvm.memcpy.p0.p0.i64", [ends[1], ends[0], size, no])
            return
        scalar = self.scalar(move)
        many = None if scalar is None else scalar.splat(lanes)
        if target == 1 and source in (0, 1) and n >= lanes:

            def vectors(j: Value | int, count: int) -> None:
                mask = None if count == lanes else code.vector([k < count for k in range(lanes)], "i1")
                value = many or memory.load(self.go(ends[0], j, source), kind, lanes, source, mask)
                place = self.go(ends[1], j, 1)
                memory.store(place, memory.load(place, kind, lanes, 1, mask) + value if move.add else value, 1, mask)

            self.walk(n, lanes, vectors)
            return

        def single(i: Value | int) -> None:
            value = scalar or self.go(ends[0], i, source).load(kind)
            place = self.go(ends[1], i, target)
            place.store(place.load(kind) + value if move.add else value)

        self.each(n, single)

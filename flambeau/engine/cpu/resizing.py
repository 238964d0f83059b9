"""Resizing: planes whose rows and columns are weighted sums of those of other planes.

``resize_kernel(spec)`` gives the address of ``void kernel(i8** args)``; ``args`` are ``{x, y}``. For each row of the result
the rows of the source are added first; then its columns are gathered, a vector of neighbours at a time.
"""

from __future__ import annotations

from collections.abc import Sequence

from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.emit import BITS, Value, literal
from flambeau.engine.cpu.memory import store
from flambeau.engine.cpu.planes import Planes
from flambeau.engine.cpu.specs import ResizeSpec, Weights

_UNROLLED = 4
"""Terms of a column that are code of their own."""


def resize_kernel(spec: ResizeSpec, session: Session | None = None) -> int:
    """The address of the kernel for ``spec``."""
    session = session or process_session()
    if spec not in session.memo:
        session.memo[spec] = _Resize(session, spec).kernel("resize")
    address: int = session.memo[spec]
    return address


def _picks(weights: Weights) -> bool:
    """Whether each result is one of the elements."""
    return all(len(terms) == 1 and terms[0][1] == 1 for terms in weights)


class _Resize(Planes):
    def __init__(self, session: Session, spec: ResizeSpec) -> None:
        super().__init__(session, spec)
        made = len(spec.rows) * len(spec.columns)
        self.others = [(self.kind, made)]
        self.terms = max(1, *map(len, spec.columns))
        self.work = made * self.terms
        down, up = spec.strides[2] * self.size, range(len(spec.rows))
        starts = [sum(map(len, spec.rows[:t])) for t in (*up, len(spec.rows))]
        self.starts = self.constant("starts", "i64", starts)
        self.rows = self.constant("rows", "i64", [n * down for terms in spec.rows for n, _ in terms])
        self.row_weights = self.constant("row_weights", self.kind, [w for terms in spec.rows for _, w in terms])
        # Columns by vectors, the terms of a vector after each other; -1 where a column has fewer terms.
        padded = [[*terms, *[(-1, 0.0)] * (self.terms - len(terms))] for terms in spec.columns]
        padded += [[(-1, 0.0)] * self.terms] * (-len(padded) % self.lanes)
        order = [
            padded[u + lane][k]
            for u in range(0, len(padded), self.lanes) for k in range(self.terms) for lane in range(self.lanes)
        ]  # fmt: skip
        self.columns = self.constant("columns", "i32", [n for n, _ in order])
        self.column_weights = self.constant("column_weights", self.kind, [w for _, w in order])
        self.line = self.code.allocate(self.kind, spec.size[1] + self.lanes)

    def constant(self, name: str, kind: str, numbers: Sequence[float]) -> Value:
        """A table in the kernel's memory."""
        text = ", ".join(f"{kind} {literal(n, kind)}" for n in numbers or [0])
        count = max(1, len(numbers))
        self.code.declarations[name] = f"@{name} = internal constant [{count} x {kind}] [{text}], align 64"
        return Value(self.code, f"@{name}", "ptr", 0)

    def plane(self, x: Value, *others: Value) -> None:
        spec, code = self.spec, self.code
        wide = len(spec.columns)

        def row(t: Value) -> None:
            first = self.starts.offset(t, "i64").load("i64")
            if _picks(spec.rows):
                line, across = x.offset(self.rows.offset(first, "i64").load("i64"), "i8"), spec.strides[3]
            else:
                self.add_rows(x, first, self.starts.offset(t + 1, "i64").load("i64"))
                line, across = self.line, 1

            def columns(u: Value, _: list[Value]) -> list[Value]:
                written = (u.splat(self.lanes) + code.vector(range(self.lanes), "i64")).compare("slt", wide)
                store(others[0].offset(t * wide + u, self.kind), self.gathered(line, across, u * self.terms), 1, written)
                return []

            code.loop(code.index(0), code.index(wide), self.lanes, [], columns)

        self.between(code.index(0), code.index(len(spec.rows)), row)

    def add_rows(self, x: Value, first: Value, last: Value) -> None:
        """The sum of rows, with their weights, into ``line``."""
        spec, code, lanes = self.spec, self.code, self.lanes

        def piece(u: Value, _: list[Value]) -> list[Value]:
            inside = (u.splat(lanes) + code.vector(range(lanes), "i64")).compare("slt", spec.size[1])

            def term(k: Value, sums: list[Value]) -> list[Value]:
                source = x.offset(self.rows.offset(k, "i64").load("i64"), "i8").offset(u * spec.strides[3], self.kind)
                weight = self.row_weights.offset(k, self.kind).load(self.kind)
                return [sums[0] + self.masked(source, inside, 0.0, spec.strides[3]) * weight.splat(lanes)]

            (total,) = code.loop(first, last, 1, [code.const(0.0, self.kind, lanes)], term)
            self.line.offset(u, self.kind).store(total)
            return []

        code.loop(code.index(0), code.index(spec.size[1]), lanes, [], piece)

    def gathered(self, line: Value, across: int, place: Value) -> Value:
        """The columns whose terms begin at ``place`` in the tables."""
        code, lanes = self.code, self.lanes

        def picked(k: Value | int) -> Value:
            at = place + k * lanes
            numbers = self.columns.offset(at, "i32").load("i32", lanes)
            there = numbers.compare("sge", 0)
            places = line.offset(numbers * across if across != 1 else numbers, self.kind)
            args = [places, code.const(self.size, "i32"), there, code.const(0.0, self.kind, lanes)]
            bits = BITS[self.kind]
            value = code.call(f"llvm.masked.gather.v{lanes}f{bits}.v{lanes}p0", args, self.kind, lanes)
            if _picks(self.spec.columns):
                return value
            return value * self.column_weights.offset(at, self.kind).load(self.kind, lanes)

        if self.terms > _UNROLLED:
            zero = code.const(0.0, self.kind, lanes)
            return code.loop(code.index(0), code.index(self.terms), 1, [zero], lambda k, sums: [sums[0] + picked(k)])[0]
        total = picked(0)
        for k in range(1, self.terms):
            total = total + picked(k)
        return total

"""Scaled dot-product attention and its gradient, a few queries at a time: no matrix of all weights is made.

``attention_kernel(spec)`` gives the address of ``void kernel(i8** args)``; ``args`` are

    forward:  q, k, v, out, top, total
    backward: g, q, k, v, out, top, total, dq, dk, dv

with the meaning that ``ops/attention.py`` gives them. A task is one head of one element of the batch. Keys (and, for the
gradient, values) are packed once, transposed, as register tiles read them; a block of queries then has its scores, their
softmax and the product with the values while they are in the cache. The gradient makes the weights again from the largest
score and the sum of each row (Dao et al., "FlashAttention", 2022, section 3.1). Under a causal mask what is masked for all
queries of a block is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flambeau.core.dtypes import dtype as DType
from flambeau.engine.cpu import packing, tiles, vmath
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.frame import Frame, evenly, kernel, parameter, run_part
from flambeau.engine.cpu.gemm import WORTH_DIVIDING
from flambeau.engine.cpu.specs import KINDS

BLOCK, LONG_BLOCK = 32, 64
"""Queries at a time; of many."""


class AttentionSpec(NamedTuple):
    """``strides`` are those of q, k, v (and, of the gradient, g), in elements: batch, head, row; rows have no gaps. The others
    are contiguous: (batch, row, head, column) where ``rows_first``, else (batch, head, row, column), and (batch, head, row) for
    ``top`` and ``total``."""

    part: str  # "forward" or "backward"
    dtype: DType
    batch: int
    heads: int
    queries: int
    keys: int
    width: int  # of queries and keys
    depth: int  # of values
    causal: bool
    scale: float
    rows_first: bool
    strides: tuple[tuple[int, int, int], ...]

    def steps(self) -> int:
        """How many numbers are multiplied."""
        each = (self.width + self.depth) * (5 if self.part == "backward" else 2) // 2
        return self.batch * self.heads * self.queries * self.keys * each // (1 + self.causal)


def attention_kernel(spec: AttentionSpec, session: Session | None = None) -> int:
    """The address of the kernel for ``spec``."""
    session = session or process_session()
    if spec not in session.memo:
        writer = (_Forward if spec.part == "forward" else _Backward)(session, spec)
        writer.write()
        outer, tasks = Code(session.machine), spec.batch * spec.heads
        run_part(outer, parameter(outer, "args"), tasks, divided=tasks > 1 and spec.steps() >= WORTH_DIVIDING)
        session.memo[spec] = kernel(session, "attention", spec, outer, writer.code)
    address: int = session.memo[spec]
    return address


class _Product:
    """``c = alpha * a @ b``, or that added to ``c``, for matrices of ``columns`` columns with the same strides each time.

    ``a`` are the strides of A (row, step), ``b_row`` and ``c_row`` those of the rows; B is packed if ``b_row`` is ``None``.
    """

    def __init__(
        self,
        frame: _Heads,
        columns: int,
        a: tuple[int, int],
        b_row: int | None,
        c_row: int,
        alpha: float = 1.0,
        add: bool = False,
        rows: int = 0,
    ) -> None:
        self.frame, self.columns, self.a, self.c_row, self.packed = frame, columns, a, c_row, b_row is None
        self.steps = 1  # of B, if it is packed
        few, total = frame.session.machine.registers < 32, -(-columns // frame.lanes)
        if rows:
            self.rows, self.vectors = rows, 3 if total % 3 == 0 and not few else 2
        elif few:
            self.rows, self.vectors = (6, 2) if total > 1 else (8, 1)
        elif total <= 2:
            self.rows, self.vectors = 12, total
        else:
            self.rows, self.vectors = (6, 4) if total % 4 == 0 else (8, 3)
        self.vectors = min(self.vectors, total)
        self.job, size = frame.stack(tiles.JOB_BYTES), frame.size
        one = frame.code.const(1.0, "double")
        fields: dict[int, Value | int] = {tiles.A_ROWS + r: a[0] * size * (r + 1) for r in range(4)}
        fields |= {tiles.A_STEP: a[1] * size, tiles.C_ROW: c_row * size, tiles.D_ROW: c_row * size}
        fields |= {tiles.ADDEND: int(add), tiles.ALPHA: frame.code.const(alpha, "double"), tiles.BETA: one}
        fields |= {tiles.B_STEP: (b_row or 0) * size}
        for field, number in fields.items():
            frame.set(self.job, field, number)

    def pack(self, to: Value, source: Value, steps: int, across: int) -> None:
        """Packs B, whose columns lie ``across`` elements apart and have no gaps."""
        frame, self.steps = self.frame, steps

        def panel(first: Value | int, columns: int) -> None:
            width = -(-columns // frame.lanes) * frame.lanes * frame.size
            target, begin = frame.go(to, first, steps), frame.go(source, first, across)

            def strip(left: Value | int, count: int) -> None:
                part = packing.pack_transposed(frame.session, frame.kind)
                into, from_ = frame.go(target, left, 1), frame.go(begin, left, across)
                frame.perform(part, into, from_, steps, across * frame.size, count, width)

            frame.walk(columns, frame.lanes, strip)

        frame.walk(self.columns, self.vectors * frame.lanes, panel)

    def multiply(
        self,
        a: Value,
        b: Value,
        c: Value,
        rows: int,
        steps: Value | int,
        right: Value | None = None,
        bottom: Value | None = None,
    ) -> None:
        """For that many rows. Tiles from column ``right`` or from row ``bottom`` on are left out."""
        frame = self.frame

        def panel(first: Value | int, columns: int) -> None:
            frame.only(right, first, lambda: down(first, columns))

        def down(first: Value | int, columns: int) -> None:
            vectors, rest = -(-columns // frame.lanes), columns % frame.lanes
            frame.set(self.job, tiles.MASK, (1 << rest) - 1)
            if self.packed:
                frame.set(self.job, tiles.B_STEP, vectors * frame.lanes * frame.size)
            from_b, to = frame.go(b, first, self.steps), frame.go(c, first, 1)

            def tile(top: Value | int, high: int) -> None:
                name = tiles.tile(frame.session, frame.kind, high, vectors, rest != 0)
                x, y = frame.go(a, top, self.a[0]), frame.go(to, top, self.c_row)
                frame.only(bottom, top, lambda: frame.perform(name, x, from_b, y, y, steps, self.job))

            frame.walk(rows, min(self.rows, rows), tile)

        frame.walk(self.columns, self.vectors * frame.lanes, panel)


class _Heads(Frame):
    """Writes ``part(args, first, last)``, a range of the heads."""

    names: tuple[str, ...]

    def __init__(self, session: Session, spec: AttentionSpec) -> None:
        super().__init__(session, KINDS[spec.dtype.name])
        self.spec = spec
        self.at = dict(zip(self.names, self.arguments(len(self.names))))
        strides = dict(zip(("q", "k", "v", "g"), spec.strides))
        rows = {"out": (spec.queries, spec.depth), "dq": (spec.queries, spec.width)}
        rows |= {"dk": (spec.keys, spec.width), "dv": (spec.keys, spec.depth)}
        for name, (count, wide) in rows.items():
            within = (wide, spec.heads * wide) if spec.rows_first else (count * wide, wide)
            strides[name] = (count * spec.heads * wide, *within)
        strides |= dict.fromkeys(("top", "total"), (spec.heads * spec.queries, spec.queries, 1))
        self.strides = strides
        self.block = evenly(spec.queries, BLOCK if spec.queries <= 4 * BLOCK else LONG_BLOCK)
        # Rows of weights have an odd number of vectors: read down, they do not compete for places in the cache.
        self.padded = (-(-spec.keys // self.lanes) | 1) * self.lanes

    def row(self, name: str) -> int:
        return self.strides[name][2]

    def write(self) -> None:
        """Everything."""
        self.prepare()
        self.memory, held = self.heap()
        self.walk(self.spec.batch * self.spec.heads, 1, self.head, divided=True)
        self.release(held)

    def room(self, elements: int) -> Callable[[], Value]:
        """Memory of a task."""
        start = self.take(elements)
        return lambda: self.memory.offset(start, "i8")

    def head(self, i: Value | int, _: int) -> None:
        assert isinstance(i, Value)
        b, h = i.binary("udiv", self.spec.heads), i.binary("urem", self.spec.heads)
        here = {n: self.go(self.go(p, b, self.strides[n][0]), h, self.strides[n][1]) for n, p in self.at.items()}
        self.begin(here)
        self.walk(self.spec.queries, self.block, lambda top, rows: self.queries(here, top, rows))

    def limit(self, top: Value | int, rows: int) -> Value | None:
        """How many keys the queries of a block see; all if ``None``."""
        if not self.spec.causal:
            return None
        end = top + rows
        end = end if isinstance(end, Value) else self.code.index(end)
        return end.intrinsic("umin", self.spec.keys)

    def only(self, limit: Value | None, place: Value | int, body: Callable[[], None]) -> None:
        """``body()`` where ``place`` is before the limit."""
        if limit is None:
            body()
        else:
            self.when(limit.compare("ugt", place), body)

    def rows_of(self, top: Value | int, rows: int, body: Callable[[Value, Value], None]) -> None:
        """``body(r, seen)`` for each row of a block, with the number of keys that this query sees."""

        def row(r: Value) -> None:
            seen = (
                (r + top + 1).intrinsic("umin", self.spec.keys) if self.spec.causal else self.code.index(self.spec.keys)
            )
            body(r, seen)

        self.between(self.code.index(0), self.code.index(rows), row)

    def along(self, count: Value | int, carried: list[Value], body: Callable[..., list[Value]]) -> list[Value]:
        """Vectors of ``count`` elements: ``body(j, mask, carried)``."""
        code, lanes = self.code, self.lanes
        end = count if isinstance(count, Value) else code.index(count)

        def vector(j: Value, carried: list[Value]) -> list[Value]:
            return body(
                j, (j.splat(lanes) + code.vector(range(lanes), "i64")).compare("slt", end.splat(lanes)), carried
            )

        return code.loop(code.index(0), end, lanes, carried, vector)

    def prepare(self) -> None:
        """Memory and products, the same for all heads."""
        raise NotImplementedError

    def begin(self, here: dict[str, Value]) -> None:
        """What comes before the blocks of a head."""
        raise NotImplementedError

    def queries(self, here: dict[str, Value], top: Value | int, rows: int) -> None:
        """A block of queries."""
        raise NotImplementedError


def _halves(value: Value, combine: Callable[[Value, Value], Value]) -> Value:
    """The lanes combined, by halves."""
    lanes = value.lanes
    while lanes > 1:
        lanes //= 2
        value = combine(value.part(0, lanes), value.part(lanes, 2 * lanes))
    return value.lane(0)


def _larger(x: Value, y: Value) -> Value:
    return x.compare("ogt", y).select(x, y)


class _Forward(_Heads):
    names = ("q", "k", "v", "out", "top", "total")

    def prepare(self) -> None:
        spec = self.spec
        self.scores = _Product(self, spec.keys, (self.row("q"), 1), None, self.padded, spec.scale)
        self.values = _Product(self, spec.depth, (self.padded, 1), self.row("v"), self.row("out"))
        self.packed = self.room(self.padded * spec.width)
        self.weights = self.room(self.block * self.padded)

    def begin(self, here: dict[str, Value]) -> None:
        self.scores.pack(self.packed(), here["k"], self.spec.width, self.row("k"))

    def queries(self, here: dict[str, Value], top: Value | int, rows: int) -> None:
        spec, code, kind, lanes, weights = self.spec, self.code, self.kind, self.lanes, self.weights()
        limit = self.limit(top, rows)
        self.scores.multiply(
            self.go(here["q"], top, self.row("q")), self.packed(), weights, rows, spec.width, right=limit
        )
        out = self.go(here["out"], top, self.row("out"))
        sums = [self.go(here[n], top, 1) for n in ("top", "total")]

        def softmax(r: Value, seen: Value) -> None:
            line = self.go(weights, r, self.padded)
            lowest = code.const(float("-inf"), kind, lanes)

            def largest(j: Value, mask: Value, found: list[Value]) -> list[Value]:
                return [_larger(mask.select(line.offset(j, kind).load(kind, lanes), lowest), found[0])]

            most = _halves(self.along(seen, [lowest], largest)[0], _larger)

            def weigh(j: Value, mask: Value, sums: list[Value]) -> list[Value]:
                place = line.offset(j, kind)
                weight = mask.select(
                    vmath.exp(place.load(kind, lanes) - most.splat(lanes)), code.const(0.0, kind, lanes)
                )
                place.store(weight)
                return [sums[0] + weight]

            total = _halves(self.along(seen, [code.const(0.0, kind, lanes)], weigh)[0], lambda x, y: x + y)
            for place, number in zip(sums, (most, total), strict=True):
                place.offset(r, kind).store(number)
            if limit is not None:  # what others of the block see and this one does not
                start = (seen + (lanes - 1)).binary("udiv", lanes) * lanes

                def clear(j: Value, _: list[Value]) -> list[Value]:
                    line.offset(j, kind).store(code.const(0.0, kind, lanes))
                    return []

                code.loop(start, limit, lanes, [], clear)

        def divide(r: Value, _: Value) -> None:
            line, total = self.go(out, r, self.row("out")), sums[1].offset(r, kind).load(kind).splat(lanes)

            def vector(j: Value, mask: Value, _: list[Value]) -> list[Value]:
                place = line.offset(j, kind)
                tiles.masked_store(place, tiles.masked_load(place, kind, mask) / total, mask)
                return []

            self.along(spec.depth, [], vector)

        self.rows_of(top, rows, softmax)
        self.values.multiply(weights, here["v"], out, rows, spec.keys if limit is None else limit)
        self.rows_of(top, rows, divide)


class _Backward(_Heads):
    names = ("g", "q", "k", "v", "out", "top", "total", "dq", "dk", "dv")

    def prepare(self) -> None:
        spec = self.spec
        even = min(8, self.lanes)  # rows of a tile: what a block does not see begins with a vector, and so with a tile
        self.scores = _Product(self, spec.keys, (self.row("q"), 1), None, self.padded, spec.scale)
        self.slopes = _Product(self, spec.keys, (self.row("g"), 1), None, self.padded)
        self.dq = _Product(self, spec.width, (self.padded, 1), self.row("k"), self.row("dq"))
        self.dk = _Product(self, spec.width, (1, self.padded), self.row("q"), self.row("dk"), add=True, rows=even)
        self.dv = _Product(self, spec.depth, (1, self.padded), self.row("g"), self.row("dv"), add=True, rows=even)
        self.packed_k = self.room(self.padded * spec.width)
        self.packed_v = self.room(self.padded * spec.depth)
        self.weights = self.room(self.block * self.padded)
        self.changes = self.room(self.block * self.padded)

    def begin(self, here: dict[str, Value]) -> None:
        spec, code = self.spec, self.code
        self.scores.pack(self.packed_k(), here["k"], spec.width, self.row("k"))
        self.slopes.pack(self.packed_v(), here["v"], spec.depth, self.row("v"))
        for name, wide in (("dk", spec.width), ("dv", spec.depth)):

            def row(r: Value, name: str = name, wide: int = wide) -> None:
                line = self.go(here[name], r, self.row(name))

                def clear(j: Value, mask: Value, _: list[Value]) -> list[Value]:
                    tiles.masked_store(line.offset(j, self.kind), code.const(0.0, self.kind, self.lanes), mask)
                    return []

                self.along(wide, [], clear)

            self.between(code.index(0), code.index(spec.keys), row)

    def queries(self, here: dict[str, Value], top: Value | int, rows: int) -> None:
        spec, code, kind, lanes = self.spec, self.code, self.kind, self.lanes
        weights, changes, limit = self.weights(), self.changes(), self.limit(top, rows)
        q, g, out, dq = (self.go(here[n], top, self.row(n)) for n in ("q", "g", "out", "dq"))
        self.scores.multiply(q, self.packed_k(), weights, rows, spec.width, right=limit)
        self.slopes.multiply(g, self.packed_v(), changes, rows, spec.depth, right=limit)
        sums = [self.go(here[n], top, 1) for n in ("top", "total")]
        zero = code.const(0.0, kind, lanes)

        def change(r: Value, seen: Value) -> None:
            g_line, out_line = self.go(g, r, self.row("g")), self.go(out, r, self.row("out"))

            def dot(j: Value, mask: Value, found: list[Value]) -> list[Value]:
                x, y = (tiles.masked_load(p.offset(j, kind), kind, mask) for p in (g_line, out_line))
                return [found[0] + x * y]

            mean = _halves(self.along(spec.depth, [zero], dot)[0], lambda x, y: x + y).splat(lanes)
            most, total = (p.offset(r, kind).load(kind) for p in sums)
            most, share = most.splat(lanes), (1.0 / total).splat(lanes)

            def vector(j: Value, _: list[Value]) -> list[Value]:
                mask = (j.splat(lanes) + code.vector(range(lanes), "i64")).compare("slt", seen.splat(lanes))
                places = [self.go(p, r, self.padded).offset(j, kind) for p in (weights, changes)]
                score, slope = (p.load(kind, lanes) for p in places)
                weight = mask.select(vmath.exp(score - most) * share, zero)
                places[0].store(weight)
                places[1].store(mask.select(weight * (slope - mean) * spec.scale, zero))
                return []

            code.loop(code.index(0), code.index(spec.keys) if limit is None else limit, lanes, [], vector)

        self.rows_of(top, rows, change)
        self.dq.multiply(changes, here["k"], dq, rows, spec.keys if limit is None else limit)
        self.dk.multiply(changes, q, here["dk"], spec.keys, rows, bottom=limit)
        self.dv.multiply(weights, g, here["dv"], spec.keys, rows, bottom=limit)

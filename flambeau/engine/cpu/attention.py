"""Scaled dot-product attention and its gradient, a few queries at a time: no matrix of all weights is made.

``attention_kernel(spec)`` gives the address of ``void kernel(i8** args)``, and words. ``args`` are, before the words,

    forward:  q, k, v, out, top, total
    backward: g, q, k, v, out, top, total, dq, dk, dv

with the meaning that ``ops/attention.py`` gives them. All sizes are among the words: one kernel serves all of a dtype, with a
causal mask or without.

A task is one head of one element of the batch. Keys (and, for the gradient, values) are packed once, transposed, as register
tiles read them; a block of queries then has its scores, their softmax and the product with the values while they are in the
cache. The gradient makes the weights again from the largest score and the sum of each row (Dao et al., "FlashAttention", 2022,
section 3.1). Under a causal mask what is masked for all queries of a block is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from flambeau.core.dtypes import dtype as DType
from flambeau.engine.cpu import threads, tiles, vmath
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.frame import Frame, Reader, bytes_on, evenly, kernel, lanes_of, parameter, run_divided
from flambeau.engine.cpu.gemm import WORTH_DIVIDING
from flambeau.engine.cpu.panels import WORDS, Product, cut
from flambeau.engine.cpu.specs import KINDS
from flambeau.engine.symbols import computed, found

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


# The words: these numbers; the strides, in bytes, of the arrays that have rows; how the products are cut.
NUMBERS = "entry", "tasks", "heads", "queries", "keys", "width", "depth", "block", "padded", "scale"
SEEN = "q", "k", "v", "g"
MADE = {"forward": ("out",), "backward": ("out", "dq", "dk", "dv")}
STRIDES = "batch", "head", "row"
PRODUCTS = {"forward": ("scores", "values"), "backward": ("scores", "slopes", "dq", "dk", "dv")}


class Form(NamedTuple):
    """What the text of a kernel depends on."""

    part: str
    kind: str
    causal: bool

    def names(self) -> list[str]:
        """Those of the numbers."""
        rows = *SEEN[: 4 if self.part == "backward" else 3], *MADE[self.part]
        return [*NUMBERS, *(f"{name}_{stride}" for name in rows for stride in STRIDES)]


def attention_kernel(spec: AttentionSpec, session: Session | None = None) -> tuple[int, list[int]]:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments."""
    session = session or process_session()
    form = Form(spec.part, KINDS[spec.dtype.name], spec.causal)
    if form not in session.memo:
        writer = (_Forward if spec.part == "forward" else _Backward)(session, form)
        writer.write()
        outer = Code(session.machine)
        args = parameter(outer, "args")
        number = Reader(args.offset(len(writer.arrays), "i64"), form.names())
        run_divided(outer, args, number("tasks"), number("entry", "ptr"))
        session.memo[form] = kernel(session, "attention", form, outer, writer.code)
    address: int = session.memo[form]
    return address, _words(session, form, spec)


def _words(session: Session, form: Form, spec: AttentionSpec) -> list[int]:
    heads, queries, keys, width, depth = spec[3:8]
    lanes, few, size = lanes_of(session, form.kind), session.machine.registers < 32, spec.dtype.itemsize
    block = computed(_block, queries)
    # Rows of weights have an odd number of vectors: read down, they do not compete for places in the cache.
    vectors = -(-keys // lanes)
    padded = (vectors + 1 - vectors % 2) * lanes
    tasks = spec.batch * heads
    entry = found(_entry, tasks, spec.steps())
    (scale,) = struct.unpack("q", struct.pack("d", spec.scale))
    words = [entry, tasks, heads, queries, keys, width, depth, block, padded, scale]
    words += [size * s for strides in spec.strides for s in strides]
    for rows, wide in ((queries, depth), (queries, width), (keys, width), (keys, depth))[: len(MADE[spec.part])]:
        within = (wide, heads * wide) if spec.rows_first else (rows * wide, wide)
        words += [size * s for s in (rows * heads * wide, *within)]
    blocks, even = (block, queries % block), min(8, lanes)

    def product(columns: int) -> list[int]:
        """Of a block of queries."""
        total = -(-columns // lanes)
        rows, vectors = computed(_rows, total, few), computed(_vectors, total, few)
        return cut(session, form.kind, columns, rows, vectors, blocks)

    def sums(columns: int) -> list[int]:
        """Over queries: what a block does not see begins with a vector, and so with a tile."""
        vectors = computed(_vectors_of_sums, -(-columns // lanes), few)
        return cut(session, form.kind, columns, even, vectors, (keys, 0))

    scores = product(keys)
    if spec.part == "forward":
        return words + scores + product(depth)
    return words + scores + scores + product(width) + sums(width) + sums(depth)


def _block(queries: int, _: None) -> int:
    """How many queries are done at a time."""
    return evenly(queries, BLOCK if queries <= 4 * BLOCK else LONG_BLOCK)


def _entry(tasks: int, steps: int) -> int:
    return threads.entry(False) if tasks > 1 and steps >= WORTH_DIVIDING else 0


def _rows(total: int, few: bool) -> int:
    """Rows of the tiles of products with so many vectors in a row, where there are ``few`` registers or not."""
    if few:
        return 6 if total > 1 else 8
    return 12 if total <= 2 else 6 if total % 4 == 0 else 8


def _vectors(total: int, few: bool) -> int:
    """Their vectors."""
    if few:
        return 2 if total > 1 else 1
    return total if total <= 2 else 4 if total % 4 == 0 else 3


def _vectors_of_sums(total: int, few: bool) -> int:
    return 3 if total % 3 == 0 and not few else 2


class _Heads(Frame):
    """Writes ``part(args, first, last)``, a range of the heads."""

    arrays: tuple[str, ...]

    def __init__(self, session: Session, form: Form) -> None:
        super().__init__(session, form.kind)
        self.form, names = form, form.names()
        self.at = dict(zip(self.arrays, self.arguments(len(self.arrays))))
        words = parameter(self.code, "args").offset(len(self.arrays), "i64")
        self.number = Reader(words, names)
        starts = range(len(names), len(names) + WORDS * len(PRODUCTS[form.part]), WORDS)
        self.cuts = {name: words.offset(k, "i64") for name, k in zip(PRODUCTS[form.part], starts, strict=True)}
        self.line = self.number("padded") * self.size  # bytes of a row of weights
        self.scale = self.number("scale", "double")

    def write(self) -> None:
        """Everything."""
        rooms = self.prepare()
        ends = [self.code.index(0)]
        for size in rooms.values():
            ends.append(ends[-1] + ((size + 63) & -64))
        memory, held = self.heap(ends[-1])
        self.room = {name: bytes_on(memory, start) for name, start in zip(rooms, ends)}
        self.between(parameter(self.code, "first", "i64"), parameter(self.code, "last", "i64"), self.head)
        self.release(held)

    def product(self, name: str, a: tuple[Value, Value | int], c_row: Value, **more) -> Product:
        return Product(self, self.cuts[name], a, c_row, **more)

    def row(self, name: str) -> Value:
        """The bytes from row to row of an array."""
        return self.number(name + "_row")

    def head(self, i: Value) -> None:
        """One head of one element of the batch."""
        heads, queries = self.number("heads"), self.number("queries")
        b, h = i.binary("udiv", heads), i.binary("urem", heads)
        here = {}
        for name, pointer in self.at.items():
            if name in ("top", "total"):
                here[name] = bytes_on(pointer, i * queries * self.size)
            else:
                here[name] = bytes_on(pointer, b * self.number(name + "_batch") + h * self.number(name + "_head"))
        self.begin(here)

        def block(top: Value, _: list[Value]) -> list[Value]:
            size = self.number("block")
            rows = (queries - top).intrinsic("smin", size)
            self.queries(here, top, rows, rows.compare("ne", size).convert("zext", "i64"))
            return []

        self.code.loop(self.code.index(0), queries, self.number("block"), [], block)

    def limit(self, top: Value, rows: Value) -> Value | None:
        """How many keys the queries of a block see; all if ``None``."""
        return (top + rows).intrinsic("umin", self.number("keys")) if self.form.causal else None

    def rows_of(self, top: Value, rows: Value, body: Callable[[Value, Value], None]) -> None:
        """``body(r, seen)`` for each row of a block, with the number of keys that this query sees."""
        keys = self.number("keys")

        def row(r: Value) -> None:
            body(r, (r + top + 1).intrinsic("umin", keys) if self.form.causal else keys)

        self.between(self.code.index(0), rows, row)

    def along(self, count: Value, carried: list[Value], body: Callable[..., list[Value]], end: Value | None = None) -> list[Value]:
        """Vectors of ``count`` elements, or as many as there are to ``end``: ``body(j, mask, carried)``."""
        code, lanes = self.code, self.lanes

        def vector(j: Value, carried: list[Value]) -> list[Value]:
            mask = (j.splat(lanes) + code.vector(range(lanes), "i64")).compare("slt", count.splat(lanes))
            return body(j, mask, carried)

        return code.loop(code.index(0), count if end is None else end, lanes, carried, vector)

    def prepare(self) -> dict[str, Value]:
        """Products, the same for all heads, and the memory of a task: how many bytes each room has."""
        raise NotImplementedError

    def begin(self, here: dict[str, Value]) -> None:
        """What comes before the blocks of a head."""
        raise NotImplementedError

    def queries(self, here: dict[str, Value], top: Value, rows: Value, which: Value) -> None:
        """A block of queries; ``which`` is 1 if there are fewer than in others, else 0."""
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
    arrays = ("q", "k", "v", "out", "top", "total")

    def prepare(self) -> dict[str, Value]:
        width, line = self.number("width"), self.line
        self.scores = self.product("scores", (self.row("q"), self.size), line, steps=width, alpha=self.scale)
        self.values = self.product("values", (line, self.size), self.row("out"), b_row=self.row("v"))
        return {"keys": line * width, "weights": line * self.number("block")}

    def begin(self, here: dict[str, Value]) -> None:
        self.scores.pack(self.room["keys"], here["k"], self.number("width"), self.row("k"))

    def queries(self, here: dict[str, Value], top: Value, rows: Value, which: Value) -> None:
        code, kind, lanes, weights = self.code, self.kind, self.lanes, self.room["weights"]
        q, out = (bytes_on(here[n], top * self.row(n)) for n in ("q", "out"))
        sums = [here[n].offset(top, kind) for n in ("top", "total")]
        limit = self.limit(top, rows)
        self.scores.multiply(which, q, self.room["keys"], weights, self.number("width"), end=limit)

        def softmax(r: Value, seen: Value) -> None:
            line = bytes_on(weights, r * self.line)
            lowest = code.const(float("-inf"), kind, lanes)

            def largest(j: Value, mask: Value, found: list[Value]) -> list[Value]:
                return [_larger(mask.select(line.offset(j, kind).load(kind, lanes), lowest), found[0])]

            most = _halves(self.along(seen, [lowest], largest)[0], _larger)

            def weigh(j: Value, mask: Value, sums: list[Value]) -> list[Value]:
                place = line.offset(j, kind)
                weight = mask.select(vmath.exp(place.load(kind, lanes) - most.splat(lanes)), code.const(0.0, kind, lanes))
                place.store(weight)
                return [sums[0] + weight]

            total = _halves(self.along(seen, [code.const(0.0, kind, lanes)], weigh)[0], lambda x, y: x + y)
            for place, number in zip(sums, (most, total), strict=True):
                place.offset(r, kind).store(number)
            if limit is not None:  # what others of the block see and this one does not
                start = (seen + (lanes - 1)) & -lanes

                def clear(j: Value, _: list[Value]) -> list[Value]:
                    line.offset(j, kind).store(code.const(0.0, kind, lanes))
                    return []

                code.loop(start, limit, lanes, [], clear)

        def divide(r: Value, _: Value) -> None:
            line, total = bytes_on(out, r * self.row("out")), sums[1].offset(r, kind).load(kind).splat(lanes)

            def vector(j: Value, mask: Value, _: list[Value]) -> list[Value]:
                place = line.offset(j, kind)
                tiles.masked_store(place, tiles.masked_load(place, kind, mask) / total, mask)
                return []

            self.along(self.number("depth"), [], vector)

        self.rows_of(top, rows, softmax)
        self.values.multiply(which, weights, here["v"], out, self.number("keys") if limit is None else limit)
        self.rows_of(top, rows, divide)


class _Backward(_Heads):
    arrays = ("g", "q", "k", "v", "out", "top", "total", "dq", "dk", "dv")

    def prepare(self) -> dict[str, Value]:
        width, depth, line, size, row = self.number("width"), self.number("depth"), self.line, self.size, self.row
        self.scores = self.product("scores", (row("q"), size), line, steps=width, alpha=self.scale)
        self.slopes = self.product("slopes", (row("g"), size), line, steps=depth)
        self.dq = self.product("dq", (line, size), row("dq"), b_row=row("k"))
        self.dk = self.product("dk", (self.code.index(size), line), row("dk"), d_row=row("dk"), b_row=row("q"))
        self.dv = self.product("dv", (self.code.index(size), line), row("dv"), d_row=row("dv"), b_row=row("g"))
        weights = line * self.number("block")
        return {"keys": line * width, "values": line * depth, "weights": weights, "changes": weights}

    def begin(self, here: dict[str, Value]) -> None:
        code = self.code
        for product, name, to, wide in ((self.scores, "k", "keys", "width"), (self.slopes, "v", "values", "depth")):
            product.pack(self.room[to], here[name], self.number(wide), self.row(name))
        for name, wide in (("dk", "width"), ("dv", "depth")):

            def row(r: Value, name: str = name, wide: str = wide) -> None:
                line = bytes_on(here[name], r * self.row(name))

                def clear(j: Value, mask: Value, _: list[Value]) -> list[Value]:
                    tiles.masked_store(line.offset(j, self.kind), code.const(0.0, self.kind, self.lanes), mask)
                    return []

                self.along(self.number(wide), [], clear)

            self.between(code.index(0), self.number("keys"), row)

    def queries(self, here: dict[str, Value], top: Value, rows: Value, which: Value) -> None:
        code, kind, lanes, none = self.code, self.kind, self.lanes, self.code.index(0)
        weights, changes, limit = self.room["weights"], self.room["changes"], self.limit(top, rows)
        q, g, out, dq = (bytes_on(here[n], top * self.row(n)) for n in ("q", "g", "out", "dq"))
        self.scores.multiply(which, q, self.room["keys"], weights, self.number("width"), end=limit)
        self.slopes.multiply(which, g, self.room["values"], changes, self.number("depth"), end=limit)
        sums = [here[n].offset(top, kind) for n in ("top", "total")]
        zero, scale = code.const(0.0, kind, lanes), self.scale.convert("fptrunc", kind).splat(lanes)

        def change(r: Value, seen: Value) -> None:
            g_line, out_line = (bytes_on(p, r * self.row(n)) for n, p in (("g", g), ("out", out)))

            def dot(j: Value, mask: Value, found: list[Value]) -> list[Value]:
                x, y = (tiles.masked_load(p.offset(j, kind), kind, mask) for p in (g_line, out_line))
                return [found[0] + x * y]

            mean = _halves(self.along(self.number("depth"), [zero], dot)[0], lambda x, y: x + y).splat(lanes)
            most, total = (p.offset(r, kind).load(kind) for p in sums)
            most, share = most.splat(lanes), (1.0 / total).splat(lanes)
            lines = [bytes_on(p, r * self.line) for p in (weights, changes)]

            def vector(j: Value, mask: Value, _: list[Value]) -> list[Value]:
                places = [p.offset(j, kind) for p in lines]
                score, slope = (p.load(kind, lanes) for p in places)
                weight = mask.select(vmath.exp(score - most) * share, zero)
                places[0].store(weight)
                places[1].store(mask.select(weight * (slope - mean) * scale, zero))
                return []

            self.along(seen, [], vector, limit)

        self.rows_of(top, rows, change)
        self.dq.multiply(which, changes, here["k"], dq, self.number("keys") if limit is None else limit)
        self.dk.multiply(none, changes, q, here["dk"], rows, bottom=limit)
        self.dv.multiply(none, weights, g, here["dv"], rows, bottom=limit)

"""Resizing: planes whose rows and columns are weighted sums of those of other planes.

``resize_kernel(spec)`` gives the address of ``void kernel(i8** args)`` with ``args = {x, y, words...}``, and the words. For each
row of the result the rows of the source are added first; then its columns are gathered, a vector of neighbours at a time. Which
ones these are, and with which weights, stands in tables among the words.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.emit import BITS, Value
from flambeau.engine.cpu.frame import bytes_on, lanes_of
from flambeau.engine.cpu.memory import store
from flambeau.engine.cpu.planes import NUMPY, SHARED, Planes, added, gathers, planes_kernel, shared_by
from flambeau.engine.cpu.specs import KINDS, LONGEST, ResizeSpec

_UNROLLED = 4
"""Terms of a column that are code of their own."""
NONE = -(1 << 31)
"""In the table of columns: no column."""


class Form(NamedTuple):
    """What the text of a kernel depends on."""

    kind: str
    picks_rows: bool  # whether each row, and each column, is one of those of the source
    picks_columns: bool
    terms: int  # of a column; 0 for a number that is given at run time
    narrow: bool  # whether one vector holds a row of the result
    places: str  # the kind of the numbers of columns in the table
    reads: str  # how neighbouring columns of the source lie, see ``gathers``


def resize_kernel(spec: ResizeSpec, session: Session | None = None) -> tuple[int, tuple[int, ...]]:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments."""
    session = session or process_session()
    kind = KINDS[spec.dtype.name]
    lanes, dtype = lanes_of(session, kind), NUMPY[kind]
    down, across = spec.rows, spec.columns
    high, wide, terms = len(down.counts), len(across.counts), max(1, int(across.counts.max()))
    apart = spec.strides[3] if down.picks() else 1  # rows that are added lie in a line
    index = np.int32 if abs(apart) * spec.size[1] < 1 << 31 else np.int64
    # Columns by vectors, the terms of a vector after each other; NONE where a column has fewer terms.
    vectors = -(-wide // lanes)
    columns, weights = np.full((vectors * lanes, terms), NONE, index), np.zeros((vectors * lanes, terms), dtype)
    place = (
        np.repeat(np.arange(wide), across.counts),
        np.arange(len(across.elements)) - np.repeat(across.starts[:-1], across.counts),
    )
    columns[place], weights[place] = across.elements * apart, across.weights
    by_vectors = [x.reshape(vectors, lanes, terms).swapaxes(1, 2).ravel() for x in (columns, weights)]
    rows = down.elements.astype(np.int64) * (spec.strides[2] * spec.dtype.itemsize)
    tables = [down.starts.astype(np.int64), rows, down.weights.astype(dtype), *by_vectors]
    sizes = [-(-x.nbytes // 8) for x in tables]
    text = b"".join([x.tobytes().ljust(8 * n, b"\0") for x, n in zip(tables, sizes, strict=True)])
    places = dict(zip(_TABLES, (8 * sum(sizes[:k]) for k in range(len(sizes))), strict=True))
    form = Form(
        kind,
        down.picks(),
        across.picks(),
        terms if terms <= _UNROLLED else 0,
        wide <= lanes,
        f"i{8 * index().itemsize}",
        gathers(spec.strides[3]),
    )
    words = {"made": high * wide, "high": high, "wide": wide, "terms": terms, "size": spec.size[1]}
    words |= shared_by(spec, high * wide * terms) | places
    return planes_kernel(session, _Resize, form, words, np.frombuffer(text, np.int64).tolist())


_TABLES = ("starts", "rows", "row_weights", "columns", "column_weights")
"""The tables, which begin so many bytes behind the words: where the terms of each row begin, where these rows are, in bytes, and
their weights; for each vector of columns where those of each term are, in elements, and their weights."""


class _Resize(Planes):
    names = (*SHARED, "made", "high", "wide", "terms", "size", *_TABLES)
    made = (("", "made"),)
    form: Form

    def prepare(self) -> None:
        n = self.n
        for name in _TABLES:
            setattr(n, name, bytes_on(self.tables, getattr(n, name)))
        if self.form.terms:
            n.terms = self.code.index(self.form.terms)
        self.sizes = self.wide(n.size), self.wide(n.wide)
        self.lanes_apart = self.apart(n.column, self.form.reads)
        if self.form.narrow:
            self.whole = self.terms_at(self.code.index(0))
        if not self.form.picks_rows:
            self.line = self.code.allocate(self.kind, LONGEST + self.lanes)

    def plane(self, x: Value, *others: Value) -> None:
        form, code, n, zero = self.form, self.code, self.n, self.code.index(0)

        def row(t: Value, at: list[Value]) -> list[Value]:
            (to,) = at
            first = n.starts.offset(t, "i64").load("i64")
            if form.picks_rows:
                line = bytes_on(x, n.rows.offset(first, "i64").load("i64"))
            else:
                self.add_rows(x, first, n.starts.offset(t + 1, "i64").load("i64"))
                line = self.line

            def columns(u: Value, place: list[Value]) -> list[Value]:
                written = self.along(u).compare("slt", self.sizes[1])
                store(to.offset(u, self.kind), self.gathered(line, place[0], self.terms_at(place[0])), 1, written)
                return [place[0] + n.terms * self.lanes]

            if form.narrow:
                store(to, self.gathered(line, zero, self.whole), 1, self.along(zero).compare("slt", self.sizes[1]))
            else:
                code.loop(zero, n.wide, self.lanes, [zero], columns)
            return [to.offset(n.wide, self.kind)]

        code.loop(zero, n.high, 1, [others[0]], row)

    def add_rows(self, x: Value, first: Value, last: Value) -> None:
        """The sum of rows, with their weights, into ``line``."""
        code, n, lanes = self.code, self.n, self.lanes

        def piece(u: Value, _: list[Value]) -> list[Value]:
            inside = self.along(u).compare("slt", self.sizes[0])
            column = x.offset(u if self.lanes_apart is None else u * n.column, self.kind)

            def term(k: Value, sums: list[Value]) -> list[Value]:
                source = bytes_on(column, n.rows.offset(k, "i64").load("i64"))
                weight = n.row_weights.offset(k, self.kind).load(self.kind)
                return [sums[0] + self.masked(source, inside, 0.0, self.lanes_apart) * weight.splat(lanes)]

            (total,) = code.loop(first, last, 1, [code.const(0.0, self.kind, lanes)], term)
            self.line.offset(u, self.kind).store(total)
            return []

        code.loop(code.index(0), n.size, lanes, [], piece)

    def terms_at(self, place: Value) -> list[tuple[Value, Value]]:
        """The terms, if they are code of their own, of the columns for which these begin at ``place`` in the tables."""
        return [self.term(place + k * self.lanes) for k in range(self.form.terms)]

    def term(self, at: Value) -> tuple[Value, Value]:
        """Which elements a term of some columns is, and their weights."""
        numbers = self.n.columns.offset(at, self.form.places).load(self.form.places, self.lanes)
        return numbers, self.n.column_weights.offset(at, self.kind).load(self.kind, self.lanes)

    def gathered(self, line: Value, place: Value, terms: list[tuple[Value, Value]]) -> Value:
        """The columns whose terms begin at ``place`` in the tables."""
        code, lanes, bits = self.code, self.lanes, BITS[self.kind]

        def picked(numbers: Value, weight: Value) -> Value:
            there = numbers.compare("ne", NONE)
            args = [line.offset(numbers, self.kind), code.const(self.size, "i32"), there, code.const(0.0, self.kind, lanes)]
            value = code.call(f"llvm.masked.gather.v{lanes}f{bits}.v{lanes}p0", args, self.kind, lanes)
            return value if self.form.picks_columns else value * weight

        if terms:
            return added([picked(*term) for term in terms])
        zero, end = code.const(0.0, self.kind, lanes), place + self.n.terms * lanes
        return code.loop(place, end, lanes, [zero], lambda at, sums: [sums[0] + picked(*self.term(at))])[0]

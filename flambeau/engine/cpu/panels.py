"""Products inside of kernels: blocks of a few rows, each with the same matrix, panel by panel, by register tiles.

How such a product is cut is found out where a kernel is told its sizes (:func:`cut`), and stands in words that the kernel
reads (:class:`Product`), with the addresses of the tiles.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from flambeau.engine.cpu import packing, tiles
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import Frame, bytes_on, lanes_of, symbol_address
from flambeau.engine.symbols import computed, found

COLUMNS, PANEL, HIGH, BLOCKS = range(4)
EACH = 5
WORDS = BLOCKS + 2 * EACH
"""The words: the columns of the matrix and of a panel, and the rows of a tile; then, for blocks as they mostly are and for the last
one, how many of their rows are in whole tiles, and the addresses of tiles: for whole panels the whole one and the one for the rows
that are left, and the same for the panel that has fewer columns."""


def cut(session: Session, kind: str, columns: int, rows: int, vectors: int, blocks: Sequence[int]) -> list[int]:
    """The words of a product with tiles of so many rows and vectors; ``blocks`` are the rows of a block and of the last one."""
    lanes = lanes_of(session, kind)
    panel = computed(min, vectors, -(-columns // lanes)) * lanes
    whole, narrow = computed(_whole, columns, panel), columns % panel
    words = [columns, panel, rows]
    tile = partial(_tile, session, kind, lanes)
    for count in blocks:
        high, low = computed(_whole, count, rows), count % rows
        words.append(count - low)
        words += [found(tile, r, wide) for wide in (whole, narrow) for r in (high, low)]
    return words


def _whole(total: int, part: int) -> int:
    """``part``, where there is one in ``total``, else 0."""
    return part if total >= part else 0


def _tile(session: Session, kind: str, lanes: int, rows: int, columns: int) -> int:
    """The address of a tile; 0 where it has no rows or columns."""
    if not (rows and columns):
        return 0
    return symbol_address(session, tiles.tile, kind, rows, -(-columns // lanes), columns % lanes != 0)


class Matrix:
    """How the columns of a matrix are cut into panels, in a kernel that is being written. ``words`` are where they begin."""

    def __init__(self, frame: Frame, words: Value) -> None:
        self.frame = frame
        self.columns, self.panel, self.high = (words.offset(k, "i64").load("i64") for k in (COLUMNS, PANEL, HIGH))

    def vectors(self, columns: Value) -> Value:
        """The bytes of a row of so many columns, in whole vectors."""
        return ((columns + (self.frame.lanes - 1)) & -self.frame.lanes) * self.frame.size

    def mask(self, columns: Value) -> Value:
        """The columns that the last vector has, as bits, if it is not whole."""
        return (self.frame.code.index(1) << (columns & (self.frame.lanes - 1))) - 1

    def each(
        self,
        carried: list[Value],
        body: Callable[[Value, Value, Value, list[Value]], list[Value]],
        end: Value | None = None,
    ) -> None:
        """``carried = body(first, columns, narrow, carried)`` for each panel that begins before column ``end``: its first column,
        how many it has, and whether these are fewer than those of others."""

        def panel(first: Value, carried: list[Value]) -> list[Value]:
            left = self.columns - first
            narrow = left.compare("slt", self.panel)
            return body(first, narrow.select(left, self.panel), narrow, carried)

        code = self.frame.code
        code.loop(code.index(0), self.columns if end is None else end, self.panel, carried, panel)

    def pack(self, to: Value, source: Value, steps: Value, stride: Value, copies: Sequence[Value] | None = None) -> None:
        """Packs the matrix as tiles read it, from rows that lie ``stride`` bytes apart, by ``copies`` of whole and of narrow
        panels; or, without these, from its transpose."""
        frame = self.frame

        def panel(first: Value, columns: Value, narrow: Value, _: list[Value]) -> list[Value]:
            target, width = bytes_on(to, first * steps * frame.size), self.vectors(columns)
            if copies is None:
                name = packing.pack_transposed(frame.session, frame.kind)
                frame.perform(name, target, bytes_on(source, first * stride), steps, stride, columns, width)
            else:
                begin, copy = bytes_on(source, first * frame.size), narrow.select(copies[1], copies[0])
                frame.code.invoke(copy, [target, begin, steps, stride, self.mask(columns), width])
            return []

        self.each([], panel)


class Product(Matrix):
    """``c = alpha * a @ b + d`` for a block of rows of A. All strides are in bytes.

    ``a`` are the strides of A (row, step), ``b_row``, ``c_row`` and ``d_row`` those of the other rows. Without ``d_row`` nothing is
    added; without ``b_row`` B is packed, and has ``steps`` rows.
    """

    def __init__(
        self, frame: Frame, words: Value, a: tuple[Value, Value | int], c_row: Value, d_row: Value | int | None = None,
        b_row: Value | None = None, steps: Value | None = None, alpha: Value | None = None,
    ) -> None:  # fmt: skip
        super().__init__(frame, words)
        self.blocks, self.packed = words.offset(BLOCKS, "i64"), b_row is None
        self.right = self.panel * frame.size
        self.b_right = self.right if steps is None else self.right * steps
        self.down = a[0] * self.high, c_row * self.high, self.high * (d_row or 0)
        self.job, one = frame.stack(tiles.JOB_BYTES), frame.code.const(1.0, "double")
        fields: dict[int, Value | int] = {tiles.A_ROWS + r: a[0] * (r + 1) for r in range(4)}
        fields |= {tiles.A_STEP: a[1], tiles.B_STEP: b_row or 0, tiles.C_ROW: c_row, tiles.D_ROW: d_row or 0}
        fields |= {tiles.ADDEND: int(d_row is not None), tiles.ALPHA: alpha or one, tiles.BETA: one}
        for field, number in fields.items():
            frame.set(self.job, field, number)

    def multiply(
        self, which: Value, a: Value, b: Value, c: Value, steps: Value, d: Value | None = None,
        end: Value | None = None, bottom: Value | None = None, times: tuple[Value, Value, Value] | None = None,
    ) -> None:  # fmt: skip
        """For the rows of a block: 1 if it is the last one (``which``), else 0. The addend is C itself unless ``d`` is given.

        Panels from column ``end`` on, or tiles from row ``bottom`` on, are left out. ``times`` if there are several such blocks
        of A and C: how many, and how far they are apart.
        """
        frame, code = self.frame, self.frame.code
        block = self.blocks.offset(which * EACH, "i64")
        whole = block.load("i64")
        until = whole if bottom is None else whole.intrinsic("smin", bottom)
        calls = block.offset(1, "i64")

        def panel(_: Value, columns: Value, narrow: Value, at: list[Value]) -> list[Value]:
            frame.set(self.job, tiles.MASK, self.mask(columns))
            if self.packed:
                frame.set(self.job, tiles.B_STEP, self.vectors(columns))
            pair = calls.offset(narrow.convert("zext", "i64") * 2, "i64")
            tile, rest = pair.load("ptr"), pair.offset(1, "i64").load("ptr")
            left = rest.compare("ne", Value(code, "null", "ptr", 0))
            if bottom is not None:
                left = left & whole.compare("slt", bottom)
            b, c, *other = at

            def rows(i: Value | int) -> None:
                starts = [a, c, *other]
                if times is not None:
                    starts[:2] = [bytes_on(p, i * apart) for p, apart in zip(starts, times[1:])]

                def call(tile: Value, at: list[Value]) -> None:
                    code.invoke(tile, [at[0], b, at[1], at[-1], steps, self.job])

                def one(_: Value, at: list[Value]) -> list[Value]:
                    call(tile, at)
                    return [bytes_on(p, stride) for p, stride in zip(at, self.down)]

                below = code.loop(code.index(0), until, self.high, starts, one)
                frame.when(left, lambda: call(rest, below))

            if times is None:
                rows(0)
            else:
                frame.between(code.index(0), times[0], rows)
            return [bytes_on(p, stride) for p, stride in zip(at, (self.b_right, self.right, self.right))]

        self.each([b, c] if d is None else [b, c, d], panel, end)

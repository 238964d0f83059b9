"""Register tiles: the inside of a matrix product, and the packing that feeds it.

A tile holds ``rows x vectors`` accumulators in registers. Each step along the inner dimension loads ``vectors`` vectors of B
and broadcasts one number of A for each row (Goto and van de Geijn, "Anatomy of high-performance matrix multiplication",
ACM TOMS 34, 2008).
"""

from __future__ import annotations

from typing import NamedTuple

from flambeau.engine.cpu.irtext import Vectors, Writer


class Tile(NamedTuple):
    """One register tile: its size, and how its operands lie in memory (strides in bytes)."""

    rows: int
    vectors: int
    columns: int  # how many columns are real: at most vectors * lanes
    a: tuple[int, int]  # row stride, step along the inner dimension
    b: int  # step of B's rows along the inner dimension
    packed: bool  # B lies in a packed panel: padded to whole vectors, aligned
    c: tuple[int, int]
    d: tuple[int, int] | None  # the addend's row and column strides
    scaled: bool  # the product is multiplied by %alpha
    weighted: bool  # the addend is multiplied by %beta
    blocked: bool  # the inner dimension comes in blocks: %later says that this is not the first

    def counts(self, lanes: int) -> list[int]:
        """The real columns of each vector."""
        return [min(lanes, self.columns - v * lanes) for v in range(self.vectors)]


def tile_function(name: str, tile: Tile, vec: Vectors) -> str:
    """A function that computes one tile: ``C = beta * D + alpha * A @ B`` over ``%k`` steps; later blocks add to C."""
    w = Writer(name, f"ptr %a, ptr %b, ptr %c, ptr %d, i64 %k, i1 %later, {vec.type} %alpha, {vec.type} %beta", "internal")
    counts = tile.counts(vec.lanes)
    acc = _accumulate(w, tile, vec, counts)
    if tile.blocked:
        later, first, done = w.name(), w.name(), w.name()
        w.do(f"br i1 %later, label {later}, label {first}")
        w.label(later)
        _store(w, tile._replace(d=tile.c, weighted=False), vec, counts, acc, "%c")
        w.do(f"br label {done}")
        w.label(first)
        _store(w, tile, vec, counts, acc, "%d")
        w.do(f"br label {done}")
        w.label(done)
    else:
        _store(w, tile, vec, counts, acc, "%d")
    return w.finish()


def _accumulate(w: Writer, tile: Tile, vec: Vectors, counts: list[int]) -> list[list[str]]:
    carry = [("ptr", "%a"), ("ptr", "%b")] + [(vec.type, "zeroinitializer")] * (tile.rows * tile.vectors)
    with w.loop("%k", carry) as loop:
        a, b, *acc = loop.carried
        columns = []
        for v, count in enumerate(counts):
            p = w.at(b, v * vec.bytes)
            columns.append(vec.load(w, p, aligned=True) if tile.packed else vec.load(w, p, count))
        new = []
        for r in range(tile.rows):
            x = vec.broadcast(w, w.at(a, r * tile.a[0]))
            new += [vec.fma(w, x, y, acc[r * tile.vectors + v]) for v, y in enumerate(columns)]
        loop.next = [w.at(a, tile.a[1]), w.at(b, tile.b), *new]
    return [new[r * tile.vectors : (r + 1) * tile.vectors] for r in range(tile.rows)]


def _store(w: Writer, tile: Tile, vec: Vectors, counts: list[int], acc: list[list[str]], addend: str) -> None:
    for r, row in enumerate(acc):
        c = w.at("%c", r * tile.c[0])
        d = w.at(addend, r * tile.d[0]) if tile.d else ""
        for v, (value, count) in enumerate(zip(row, counts)):
            if tile.scaled:
                value = vec.binary(w, "fmul", value, "%alpha")
            if tile.d:
                old = vec.load(w, w.at(d, v * vec.lanes * tile.d[1]), count, tile.d[1])
                if tile.weighted:
                    old = vec.binary(w, "fmul", old, "%beta")
                value = vec.binary(w, "fadd", old, value)
            vec.store(w, value, w.at(c, v * vec.lanes * tile.c[1]), count, tile.c[1])


# -- packing ------------------------------------------------------------------------------------------------------------


def pack_rows_function(name: str, vec: Vectors, vectors: int, columns: int, step: int, width: int) -> str:
    """Copies ``%k`` rows of ``columns`` numbers, ``step`` bytes apart in a row and ``width`` bytes from row to row."""
    w = Writer(name, "ptr %to, ptr %from, i64 %k", "internal")
    with w.loop("%k", [("ptr", "%to"), ("ptr", "%from")]) as loop:
        to, source = loop.carried
        for v in range(vectors):
            count = min(vec.lanes, columns - v * vec.lanes)
            value = vec.load(w, w.at(source, v * vec.lanes * step), count, step)
            vec.store(w, value, w.at(to, v * vec.bytes), aligned=True)
        loop.next = [w.at(to, vectors * vec.bytes), w.at(source, width)]
    return w.finish()


def pack_transposed_function(name: str, vec: Vectors, vectors: int, columns: int, stride: int) -> str:
    """Packs the transpose of ``columns`` rows of ``%k`` contiguous numbers, ``stride`` bytes from row to row.

    Square blocks are transposed in registers. The last steps, less than a block, are copied one number at a time.
    """
    w = Writer(name, "ptr %to, ptr %from, i64 %k", "internal")
    blocks = w.let(f"udiv i64 %k, {vec.lanes}")
    done = w.let(f"mul i64 {blocks}, {vec.lanes}")
    rest = w.let(f"sub i64 %k, {done}")
    width = vectors * vec.bytes
    with w.when(w.let(f"icmp ne i64 {blocks}, 0")):
        for v in range(vectors):
            count = min(vec.lanes, columns - v * vec.lanes)
            first_to, first_from = w.at("%to", v * vec.bytes), w.at("%from", v * vec.lanes * stride)
            with w.loop(blocks, [("ptr", first_to), ("ptr", first_from)]) as loop:
                to, source = loop.carried
                for i, row in enumerate(_transposed(w, vec, source, stride, count)):
                    vec.store(w, row, w.at(to, i * width), aligned=True)
                loop.next = [w.at(to, vec.lanes * width), w.at(source, vec.bytes)]
    with w.when(w.let(f"icmp ne i64 {rest}, 0")):
        to, source = w.at("%to", w.times(done, width)), w.at("%from", w.times(done, vec.size))
        with w.loop(rest, [("ptr", to), ("ptr", source)]) as loop:
            to, source = loop.carried
            for v in range(vectors):
                count = min(vec.lanes, columns - v * vec.lanes)
                value = vec.load(w, w.at(source, v * vec.lanes * stride), count, stride)
                vec.store(w, value, w.at(to, v * vec.bytes), aligned=True)
            loop.next = [w.at(to, width), w.at(source, vec.size)]
    return w.finish()


def _transposed(w: Writer, vec: Vectors, source: str, stride: int, count: int) -> list[str]:
    """The columns of a ``lanes x lanes`` block, of which ``count`` rows are real and the others zero.

    Quarters of 16 bytes from rows that lie ``lanes / quarters`` apart are joined while they are loaded; what is left is to
    transpose small squares inside the quarters, which shuffles do without crossing them.
    """
    per = 16 // vec.size  # numbers in a quarter
    quarters = vec.lanes // per
    small = f"<{per} x {vec.scalar}>"
    columns: list[list[str]] = []
    for q in range(quarters):  # which quarter of the columns
        rows = []
        for r in range(per):
            parts = []
            for j in range(quarters):
                row = j * per + r
                if row < count:
                    p = w.at(source, row * stride + q * 16)
                    parts.append(w.let(f"load {small}, ptr {p}, align {vec.size}"))
                else:
                    parts.append("zeroinitializer")
            rows.append(_joined(w, vec.scalar, per, parts))
        columns += _squares(w, vec, per, rows)
    return columns


def _joined(w: Writer, scalar: str, lanes: int, parts: list[str]) -> str:
    """The parts one after the other in one vector."""
    while len(parts) > 1:
        indices = ", ".join(f"i32 {i}" for i in range(2 * lanes))
        kind = f"<{lanes} x {scalar}>"
        parts = [
            w.let(f"shufflevector {kind} {a}, {kind} {b}, <{2 * lanes} x i32> <{indices}>")
            for a, b in zip(parts[::2], parts[1::2])
        ]
        lanes *= 2
    return parts[0]


def _squares(w: Writer, vec: Vectors, per: int, rows: list[str]) -> list[str]:
    """Transposes the ``per x per`` squares inside each quarter of ``per`` vectors."""

    def shuffle(a: str, b: str, pick: list[int]) -> str:
        indices = [q * per + (i if i < per else vec.lanes + i - per) for q in range(vec.lanes // per) for i in pick]
        chosen = ", ".join(f"i32 {i}" for i in indices)
        return w.let(f"shufflevector {vec.type} {a}, {vec.type} {b}, <{vec.lanes} x i32> <{chosen}>")

    if per == 2:
        return [shuffle(rows[0], rows[1], [0, 2]), shuffle(rows[0], rows[1], [1, 3])]
    low01, high01 = shuffle(rows[0], rows[1], [0, 4, 1, 5]), shuffle(rows[0], rows[1], [2, 6, 3, 7])
    low23, high23 = shuffle(rows[2], rows[3], [0, 4, 1, 5]), shuffle(rows[2], rows[3], [2, 6, 3, 7])
    return [
        shuffle(low01, low23, [0, 1, 4, 5]),
        shuffle(low01, low23, [2, 3, 6, 7]),
        shuffle(high01, high23, [0, 1, 4, 5]),
        shuffle(high01, high23, [2, 3, 6, 7]),
    ]

"""Matrix products by generated register tiles.

``gemm_kernel(spec)`` gives the address of ``void kernel(i8** args)`` with ``args = {A, B, C[, D][, scalars]}`` that computes

    C = alpha * A @ B + beta * D

for every matrix of a batch. Strides are free (a transpose is a pair of strides); ``D`` may be ``C`` itself, a bias (row
stride 0) or any other matrix; ``scalars`` points to those of alpha and beta, as doubles, that are known only when the
kernel runs.

The order of every sum depends on the shape alone. Where threads share the inner dimension, as blocks of the same size
whatever their number, the sums of blocks are kept apart and added in order. (OpenBLAS is not
called: its results change in the last bits with its number of threads, and its threads spin in the way of ours, while it is
ahead of the tiles by 5 % at the most, from about 1,000 rows, columns and steps on. ``benchmarks/products.py`` compares.)
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

from flambeau.engine.cpu import packing, tiles
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.frame import Frame, evenly, kernel, lanes_of, parameter, parts, run_part
from flambeau.engine.cpu.schedule import BUFFER_BYTES
from flambeau.engine.cpu.specs import KINDS, GemmSpec


class Tiling(NamedTuple):
    """How a product is cut into tiles."""

    rows: int
    vectors: int
    block: int  # steps along the inner dimension that one pass takes
    pack_a: bool  # whether A is copied first, so that each tile reads it without gaps
    pack_b: bool  # whether panels of B are copied first
    height: int  # rows of A that all panels of B pass before the next ones


def tiling(session: Session, spec: GemmSpec) -> Tiling:
    """The tiles for an oriented product, from what was measured (``benchmarks/products.py``)."""
    lanes, size = lanes_of(session, KINDS[spec.dtype.name]), spec.dtype.itemsize
    total = max(1, -(-spec.n // lanes))
    contiguous = spec.b[-1] == 1 or spec.n == 1
    apart = spec.b[-2] * size  # bytes from row to row of B: far apart, they compete for few places in the cache
    worth = spec.m >= 256 or (spec.m >= 32 and spec.k * spec.n * size >= (1 << 19 if spec.m >= 96 else 1 << 20))
    pack_b = not contiguous or (worth and apart >= 512)
    # Where the rows of A are neighbours, it is read line by line, each from another page: fewer of them at a time, or copied.
    tall = spec.a[-2] == 1 and spec.a[-1] != 1
    if session.machine.registers < 32:
        rows, vectors = (6, 2) if total > 1 else (8, 1)
    elif spec.m <= 4:
        rows, vectors = 4, {1: 8, 2: 6}.get(spec.m, 4)
    elif total <= 2:
        rows, vectors = 12, total
    elif pack_b and not tall and spec.m < 512 and (total <= 8 or (total <= 24 and -(-total // 4) % 2)):
        rows, vectors = 12, 2  # more panels, as many for each of two threads
    else:
        rows, vectors = (6, 4) if total % 4 == 0 or total >= 32 else (8, 3)
    rows = evenly(spec.m, rows)
    pack_a = tall and spec.n >= 512 and spec.m * spec.k * size > 1 << 20
    block = evenly(spec.k, 128 if tall and not pack_a else 512 if pack_b else 256)
    if _shares_weights(spec) and -(-spec.k // block) % 2:
        block = -(-spec.k // (-(-spec.k // block) + 1))  # as many for each of two threads
    height = spec.m
    if spec.m * block * size > 1 << 20:
        bands = -(-spec.m // 480)
        height = -(-spec.m // (bands + bands % 2))  # as many for each of two threads
    return Tiling(rows, min(vectors, total), -(-block // lanes) * lanes, pack_a, pack_b, -(-height // rows) * rows)


def gemm_kernel(spec: GemmSpec, session: Session | None = None) -> int:
    """The address of the kernel for ``spec``. Raises ``ValueError`` where there is none (see ``GemmSpec.supported``)."""
    session = session or process_session()
    if spec not in session.memo:
        if not spec.supported():
            raise ValueError(f"no kernel for this product: {spec}")
        make = {"tiles": tiled_kernel, "dots": dots_kernel}[choose(spec)]
        session.memo[spec] = make(session, spec)
    address: int = session.memo[spec]
    return address


FAR_AWAY = 1 << 19
"""Bytes of A or C from which on it is not expected in the second cache."""


def _shares_weights(spec: GemmSpec) -> bool:
    """Whether threads take blocks of the inner dimension each: a large B, row by row, is then read by the threads that
    have written these rows of it, as updates of weights are divided."""
    size = spec.dtype.itemsize
    few = not spec.rectified and 2 * spec.m <= 256 and prod(spec.batch) == 1 and spec.k >= 512
    return (
        few and spec.b[-2] > spec.b[-1] == 1 and 1 << 17 <= spec.k * spec.n * size and spec.m * spec.n * size <= 1 << 15
    )


def division(session: Session, spec: GemmSpec, cut: Tiling) -> tuple[str, int]:
    """What of an oriented product threads divide between them, and how many tasks that makes."""
    panels, rows = -(-spec.n // (cut.vectors * lanes_of(session, KINDS[spec.dtype.name]))), -(-spec.m // cut.rows)
    bands, blocks, batch = -(-spec.m // cut.height), -(-spec.k // cut.block), prod(spec.batch)
    aside = spec.d is not None and spec.n > 1 and spec.d[-1] != 1
    if spec.steps() < LIGHT:
        return "", 1
    memory = blocks * spec.m * spec.n * spec.dtype.itemsize
    if _shares_weights(spec) and 1 < blocks <= 16 and memory <= BUFFER_BYTES and not aside and not cut.pack_a:
        return "blocks", blocks
    if batch >= 4:
        return "batch", batch
    if bands > 1:
        return "bands", bands
    even = panels % 2 == 0 or panels > 6
    if panels > rows // 12 and even and cut.pack_b:  # each row would pack the same panels again
        return "panels", panels
    tasks, how = max((rows, "rows"), (panels, "panels"))
    return (how, tasks) if tasks > 1 else ("", 1)


WORTH_DIVIDING = 1 << 20
"""Products of this many multiplications, some 12 us, are divided between threads; ..."""
LIGHT = 1 << 19
"""... such products between those that are awake."""


def choose(spec: GemmSpec) -> str:
    """``"tiles"`` or ``"dots"`` (inner products), whichever is faster for this product."""
    o = spec.merged().oriented()
    # Tiles would copy B, for few rows. Inner products need no copy, but the lanes of each have to be added.
    inner = o.a[-1] == 1 and o.b[-2] == 1 and (o.b[-1] != 1 or o.n == 1)
    return "dots" if not o.rectified and inner and o.m <= 16 and 28 * o.m < o.k and not o.empty() else "tiles"


def tiled_kernel(session: Session, spec: GemmSpec, cut: Tiling | None = None) -> int:
    """A kernel of register tiles."""
    spec = spec.merged()
    if spec.empty():
        return kernel(session, "gemm", spec, Code(session.machine))
    oriented = spec.oriented()
    cut = cut or tiling(session, oriented)
    how, tasks = division(session, oriented, cut)
    writer = Tiles(session, oriented, oriented is not spec, cut, how)
    writer.write()
    if how == "blocks":
        return joined(session, oriented, cut, writer, tasks)
    return finished(session, "gemm", (spec, cut), writer, tasks)


def joined(session: Session, spec: GemmSpec, cut: Tiling, writer: Tiles, tasks: int) -> int:
    """The address of the kernel whose tasks are blocks of the inner dimension: their sums are added when all are there."""
    outer = Code(session.machine)
    args, place = parameter(outer, "args"), outer.allocate("ptr", 2)
    sums = outer.allocate(writer.kind, tasks * spec.m * spec.n)
    place.store(args)
    place.offset(1, "ptr").store(sums)
    run_part(outer, place, tasks, divided=True, light=spec.steps() < WORTH_DIVIDING)
    add = Writer(session, spec, writer.turned, outer)
    c, d = add.operands[2][0], add.operands[-1][0]
    job = add.new_job(add.factors[1], spec.d, 0)
    name = tiles.sum_of_blocks(session, add.kind, tasks)
    add.perform(name, c, sums, d, job, spec.m, spec.n)
    return kernel(session, "gemm", (spec, cut, writer.turned), outer, writer.code)


def finished(session: Session, prefix: str, what: object, writer: Writer, tasks: int) -> int:
    """The address of the kernel that was written, as a whole or as parts for threads."""
    if tasks == 1:
        return kernel(session, prefix, what, writer.code)
    outer = Code(session.machine)
    run_part(outer, parameter(outer, "args"), tasks, divided=True, light=writer.spec.steps() < WORTH_DIVIDING)
    return kernel(session, prefix, what, outer, writer.code)


class Writer(Frame):
    """Writes a product's frame: its arguments, and the loops over the batch."""

    def __init__(
        self, session: Session, spec: GemmSpec, turned: bool, code: Code | None = None, args: Value | None = None
    ) -> None:
        """``turned`` if the product was transposed, such that A is the second argument."""
        super().__init__(session, KINDS[spec.dtype.name], code)
        self.spec = spec
        self.turned = turned
        strides = [spec.a, spec.b, spec.c] + ([spec.d] if spec.d is not None else [])
        pointers = self.arguments(len(strides), args)
        if turned:
            pointers[:2] = pointers[1::-1]
        self.operands = list(zip(pointers, strides, strict=True))
        # Tiles read the addend as whole vectors; another one is copied into the result first.
        self.scattered = spec.d is not None and spec.n > 1 and spec.d[-1] != 1
        self.factors: list[Value] = []
        given = 0
        for factor in (spec.alpha, spec.beta):
            if factor is None:
                scalars = self.arguments(len(strides) + 1, args)[-1]
                self.factors.append(scalars.offset(given, "double").load("double"))
                given += 1
            else:
                self.factors.append(self.code.const(factor, "double"))

    def matrices(self, body: Callable[[Value, Value, Value, Value], None], divided: bool = False) -> None:
        """``body(a, b, c, d)`` for every matrix of the batch; without addend ``d`` is ``c``."""
        batch = self.spec.batch

        def matrix(i: Value | int, _: int) -> None:
            at = [p for p, _ in self.operands]
            for dim in reversed(range(len(batch))):
                place = i.binary("urem", batch[dim]) if isinstance(i, Value) and dim else i
                i = i.binary("udiv", batch[dim]) if isinstance(i, Value) and dim else i
                at = [self.go(p, place, s[dim]) for p, (_, s) in zip(at, self.operands)]
            body(at[0], at[1], at[2], at[-1])

        self.walk(prod(batch), 1, matrix, divided)

    def copy_addend(self, c: Value, d: Value, rows: int, columns: int) -> None:
        """Copies the addend of one tile to its place in the result."""
        assert self.spec.d is not None
        from_row, across, to_row = (s * self.size for s in (*self.spec.d[-2:], self.spec.c[-2]))
        copy = packing.pack_strided(self.session, self.kind)
        self.perform(copy, c, d, rows, from_row, columns, to_row, across)

    def new_job(self, beta: Value, addend: tuple[int, ...] | None, a_row: int) -> Value:
        """What the tiles have in common."""
        job, spec, size = self.stack(tiles.JOB_BYTES), self.spec, self.size
        d_row = spec.c[-2] if self.scattered or addend is None else addend[-2]
        fields: dict[int, Value | int] = {tiles.A_ROWS + r: a_row * size * (r + 1) for r in range(4)}
        fields |= {tiles.A_STEP: spec.a[-1] * size, tiles.C_ROW: spec.c[-2] * size}
        fields |= {tiles.D_ROW: d_row * size, tiles.ADDEND: int(addend is not None)}
        fields |= {tiles.ALPHA: self.factors[0], tiles.BETA: beta}
        for field, number in fields.items():
            self.set(job, field, number)
        return job


class Tiles(Writer):
    """Writes the loops around the tiles."""

    def __init__(self, session: Session, spec: GemmSpec, turned: bool, cut: Tiling, divided: str) -> None:
        code, args = Code(session.machine), None
        if divided == "blocks":  # the tasks are given a place for their sums
            context = parameter(code, "args")
            args, self.sums = context.load("ptr"), context.offset(1, "ptr").load("ptr")
        super().__init__(session, spec, turned, code, args)
        if divided == "blocks":
            self.spec = spec = spec._replace(c=(spec.n, 1), d=None)
        self.cut, self.divided = cut, divided
        self.blocks = max(1, -(-spec.k // cut.block))
        a_row = 1 if cut.pack_a else spec.a[-2]
        self.ahead = self.after()
        self.job = self.new_job(self.factors[1], spec.d, a_row)
        if self.blocks > 1 and divided != "blocks":  # blocks after the first add to what is there
            self.later_job = self.new_job(self.code.const(1.0, "double"), spec.c, a_row)
        if cut.pack_b:
            self.b_panel = self.stack(cut.vectors * self.lanes * min(cut.block, spec.k) * self.size)

    def after(self) -> tuple[int, int] | None:
        """What of A a tile has brought to the cache: how far from its own that begins, and the bytes from step to step.

        Of an A that is read down its columns these are the same columns in the next block, else the rows of the next tile.
        ``None`` where A and C are expected to be there.
        """
        spec, cut, size = self.spec, self.cut, self.size
        down, along = spec.a[-2:]
        far = not cut.pack_a and spec.m * spec.k * size >= FAR_AWAY
        if min(spec.k, cut.block) < 2 * tiles.MOST_LINES or not (far or spec.m * spec.n * size >= FAR_AWAY):
            return None
        if far and down == 1 and along != 1:
            return cut.block * along * size, along * size
        if far and along == 1 and down == spec.k and self.blocks == 1:
            return cut.rows * down * size, cut.rows * size
        return 0, 0

    def new_job(self, beta: Value, addend: tuple[int, ...] | None, a_row: int) -> Value:
        job = super().new_job(beta, addend, a_row)
        if self.ahead is not None:
            cut, row, line = self.cut, self.spec.c[-2] * self.size, self.lanes * self.size
            lines = [r * row + v * line for r in range(cut.rows) for v in range(cut.vectors)]
            for k in range(tiles.MOST_LINES):
                self.set(job, tiles.LINES + k, lines[k % len(lines)])
            self.set(job, tiles.AHEAD, self.ahead[0])
            self.set(job, tiles.AHEAD_STEP, self.ahead[1])
        return job

    def write(self) -> None:
        """Everything."""
        spec, cut = self.spec, self.cut
        if cut.pack_a:
            self.take(min(cut.height, spec.m) * cut.block)
            self.a_panels, memory = self.heap()
        self.matrices(self.matrix, self.divided == "batch")
        if cut.pack_a:
            self.release(memory)

    def matrix(self, a: Value, b: Value, c: Value, d: Value) -> None:
        """One matrix of the batch: blocks along the inner dimension, in which panels of B pass the rows of A."""
        if self.divided != "blocks":
            self.each(self.blocks, lambda block: self.block(a, b, c, d, block))
            return
        first, last = (parameter(self.code, n, "i64") for n in ("first", "last"))

        def apart(block: Value) -> None:
            sums = self.go(self.sums, block, self.spec.m * self.spec.n)
            self.block(a, b, sums, sums, block)

        self.between(first, last, apart)

    def block(self, a: Value, b: Value, c: Value, d: Value, block: Value | int) -> None:
        spec, cut, code = self.spec, self.cut, self.code
        steps: Value | int = spec.k
        job, later = self.job, None
        if isinstance(block, Value):
            start = block * cut.block
            steps = code.call("llvm.umin.i64", [code.index(spec.k) - start, code.index(cut.block)], "i64", 0)
            if self.divided != "blocks":
                later = block.compare("ne", 0)
                job = later.select(self.later_job, job)
            a, b = self.go(a, start, spec.a[-1]), self.go(b, start, spec.b[-2])
        d_strides = spec.d or spec.c

        def band(top: Value | int, height: int) -> None:
            down = ((a, spec.a), (c, spec.c), (d, d_strides))
            a_band, c_band, d_band = (self.go(p, top, s[-2]) for p, s in down)
            if cut.pack_a:
                self.pack_a(a_band, steps, height)
            last = block.compare("eq", self.blocks - 1) if isinstance(block, Value) else None
            self.panels(a_band, c_band, d_band, b, steps, job, later, height, last)

        self.walk(spec.m, cut.height, band, self.divided == "bands")

    def panels(
        self,
        a: Value,
        c: Value,
        d: Value,
        b: Value,
        steps: Value | int,
        job: Value,
        later: Value | None,
        height: int,
        last: Value | None,
    ) -> None:
        """Panels of B pass ``height`` rows of A. ``later`` if this is not the first block, ``last`` if it is the last one."""
        spec, cut = self.spec, self.cut
        d_strides = spec.d or spec.c
        first_block = ~later if later is not None else Value(self.code, "true", "i1", 0)

        def panel(first: Value | int, columns: int) -> None:
            vectors, rest = -(-columns // self.lanes), columns % self.lanes
            self.set(job, tiles.MASK, (1 << rest) - 1)
            self.set(job, tiles.B_STEP, vectors * self.lanes * self.size if cut.pack_b else spec.b[-2] * self.size)
            from_b, to_c, from_d = (self.go(p, first, s[-1]) for p, s in ((b, spec.b), (c, spec.c), (d, d_strides)))
            if cut.pack_b:
                self.pack_b(from_b, steps, columns)
                from_b = self.b_panel

            def tile(top: Value | int, rows: int) -> None:
                down = ((a, spec.a), (to_c, spec.c), (from_d, d_strides))
                x, y, z = (self.go(p, top, s[-2]) for p, s in down)
                if cut.pack_a:
                    self.set(job, tiles.A_STEP, rows * self.size)
                    x = self.go(self.a_panels, top, self.cut.block)
                if self.scattered:
                    self.when(first_block, lambda: self.copy_addend(y, z, rows, columns))
                    z = y
                elif later is not None:
                    z = later.select(y, z)

                def perform(rectified: bool) -> None:
                    name = tiles.tile(
                        self.session, self.kind, rows, vectors, rest != 0, False, rectified, self.ahead is not None
                    )
                    self.perform(name, x, from_b, y, z, steps, job)

                if last is None or not spec.rectified:
                    perform(spec.rectified)
                else:
                    self.when(last, lambda: perform(True))
                    self.when(~last, lambda: perform(False))

            self.walk(height, cut.rows, tile, self.divided == "rows")

        self.walk(spec.n, cut.vectors * self.lanes, panel, self.divided == "panels")

    def pack_a(self, a: Value, steps: Value | int, height: int) -> None:
        """Copies ``height`` rows of A."""
        for first, count, rows in parts(height, self.cut.rows):
            pack = packing.pack_panels(self.session, self.kind, rows)
            to, source = self.go(self.a_panels, first, self.cut.block), self.go(a, first, 1)
            width = rows * self.cut.block * self.size
            self.perform(pack, to, source, steps, self.spec.a[-1] * self.size, count, width)

    def pack_b(self, b: Value, steps: Value | int, columns: int) -> None:
        """Copies a panel of B."""
        spec, size = self.spec, self.size
        vectors, rest = -(-columns // self.lanes), columns % self.lanes
        width = vectors * self.lanes * size
        if spec.b[-1] == 1 or spec.n == 1:
            pack = packing.pack_rows(self.session, self.kind, vectors, rest != 0)
            self.perform(pack, self.b_panel, b, steps, spec.b[-2] * size, (1 << rest) - 1, width)
            return

        def strip(first: Value | int, lanes: int) -> None:
            to, source = self.go(self.b_panel, first, 1), self.go(b, first, spec.b[-1])
            if spec.b[-2] == 1:
                pack = packing.pack_transposed(self.session, self.kind)
                self.perform(pack, to, source, steps, spec.b[-1] * size, lanes, width)
            else:
                pack = packing.pack_strided(self.session, self.kind)
                self.perform(pack, to, source, steps, spec.b[-2] * size, lanes, width, spec.b[-1] * size)

        self.walk(columns, self.lanes, strip)


def dots_kernel(session: Session, spec: GemmSpec) -> int:
    """A kernel of inner products: the rows of A and the columns of B are both contiguous."""
    spec = spec.merged()
    oriented = spec.oriented()
    writer = Dots(session, oriented, oriented is not spec)
    return finished(session, "dots", spec, writer, writer.write())


class Dots(Writer):
    """Writes the loops around inner products."""

    def write(self) -> int:
        """Everything; gives the number of tasks that threads can share."""
        spec, size = self.spec, self.size
        most = 24 if self.session.machine.registers >= 32 else 10
        self.rows = evenly(spec.m, 4)
        most //= self.rows
        self.columns = next((n for n in range(most, most // 2, -1) if spec.n % n == 0), min(spec.n, most))
        tasks = -(-spec.n // self.columns) if spec.steps() >= LIGHT else 1
        self.divided = tasks > 1
        self.sums = self.stack(self.rows * self.columns * self.lanes * size)
        table = self.stack(self.columns * 8)
        for j in range(self.columns):
            self.set(table, j, j * spec.b[-1] * size)
        self.vectors, rest = divmod(spec.k, self.lanes)
        self.job = self.new_job(self.factors[1], spec.d, spec.a[-2])
        self.set(self.job, tiles.MASK, (1 << rest) - 1)
        self.set(self.job, tiles.TABLE, table)
        self.set(self.job, tiles.IMAGES, 1)
        self.matrices(self.matrix)
        return tasks

    def matrix(self, a: Value, b: Value, c: Value, d: Value) -> None:
        spec = self.spec
        d_strides = spec.d or spec.c
        zero, no = Value(self.code, "0", "i8", 0), Value(self.code, "false", "i1", 0)

        def some(left: Value | int, wide: int) -> None:
            b_at, c_at, d_at = (self.go(p, left, s[-1]) for p, s in ((b, spec.b), (c, spec.c), (d, d_strides)))

            def strip(top: Value | int, high: int) -> None:
                bytes_ = self.code.index(high * wide * self.lanes * self.size)
                self.code.perform("llvm.memset.p0.i64", [self.sums, zero, bytes_, no])
                dot = tiles.dot(self.session, self.kind, high, wide)
                totals = tiles.totals(self.session, self.kind, high, wide)
                x, y, z = (self.go(p, top, s[-2]) for p, s in ((a, spec.a), (c_at, spec.c), (d_at, d_strides)))
                self.perform(dot, x, b_at, self.sums, self.vectors, self.job)
                if self.scattered:
                    self.copy_addend(y, z, high, wide)
                    z = y
                self.perform(totals, y, self.sums, z, self.job)

            self.walk(spec.m, self.rows, strip)

        self.walk(spec.n, self.columns, some, self.divided)

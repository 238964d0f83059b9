"""Matrix products: generated register tiles, or NumPy's own BLAS where that is as fast.

``gemm_kernel(spec)`` gives the address of ``void kernel(i8** args)`` with ``args = {A, B, C[, D][, scalars]}`` that computes

    C = alpha * A @ B + beta * D

for every matrix of a batch. Strides are free (a transpose is a pair of strides); ``D`` may be ``C`` itself, a bias (row
stride 0) or any other matrix; ``scalars`` points to those of alpha and beta, as doubles, that are known only when the
kernel runs.

The inner dimension is never divided between threads, so results don't depend on their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import NamedTuple

from flambeau.core.dtypes import dtype as DType
from flambeau.engine.cpu import tiles
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.tiles import bytes_on

KINDS = {"float32": "float", "float64": "double"}


class GemmSpec(NamedTuple):
    """One matrix product. Strides are in elements: one for each dimension of ``batch``, then row and column."""

    dtype: DType
    m: int
    n: int
    k: int
    a: tuple[int, ...]
    b: tuple[int, ...]
    c: tuple[int, ...]
    d: tuple[int, ...] | None = None
    batch: tuple[int, ...] = ()
    alpha: float | None = 1.0  # None: given when the kernel runs
    beta: float | None = 1.0

    def transposed(self) -> GemmSpec:
        """The same product written as ``C.T = B.T @ A.T``."""
        return self._replace(
            m=self.n,
            n=self.m,
            a=_swapped(self.b),
            b=_swapped(self.a),
            c=_swapped(self.c),
            d=None if self.d is None else _swapped(self.d),
        )

    def oriented(self) -> GemmSpec:
        """This product, or its transpose, such that the columns of C are neighbours in memory."""
        down = self.c[-2] == 1 and (self.c[-1] != 1 or self.n == 1)
        return self.transposed() if down and self.m > 1 else self

    def supported(self) -> bool:
        """Whether there is a kernel: floating point, and no gaps between the columns (or else the rows) of C and D."""
        o = self.oriented()
        gaps = o.n > 1 and (o.c[-1] != 1 or (o.d is not None and o.d[-1] != 1))
        return self.dtype.name in KINDS and not gaps


def _swapped(strides: tuple[int, ...]) -> tuple[int, ...]:
    return (*strides[:-2], strides[-1], strides[-2])


class Tiling(NamedTuple):
    """How a product is cut into tiles."""

    rows: int
    vectors: int
    block: int  # steps along the inner dimension that one pass over a panel of B takes
    pack_a: bool
    pack_b: bool
    rows_packed: int  # rows of A that are packed at a time


def tiling(session: Session, spec: GemmSpec) -> Tiling:
    """The tiles for an oriented product, from what was measured (``benchmarks/gemm.py``)."""
    lanes, size = tiles.lanes_of(session, KINDS[spec.dtype.name]), spec.dtype.itemsize
    wide = session.machine.registers >= 32
    vectors = -(-spec.n // lanes)
    if wide:
        shape = {1: (12, 1), 2: (12, 2), 4: (8, 2)}.get(vectors, (8, 3))
    else:
        shape = (6, min(vectors, 2))
    block = min(max(spec.k, 1), 512)
    contiguous = spec.b[-1] == 1 or spec.n == 1
    apart = spec.b[-2] * size  # bytes from row to row of B
    pack_b = not contiguous or (spec.m >= 4 * shape[0] and spec.k >= 32 and apart >= 1024)
    pack_a = spec.a[-2] == 1 and spec.a[-1] * size >= 1024 and spec.m >= 2 * shape[0] and spec.k >= 128 and vectors > 1
    return Tiling(*shape, block, pack_a, pack_b, shape[0] * (64 // shape[0]))


def gemm_kernel(spec: GemmSpec, session: Session | None = None) -> int:
    """The address of the kernel for ``spec``. Raises ``ValueError`` where there is none (see ``GemmSpec.supported``)."""
    session = session or process_session()
    if spec not in session.memo:
        if not spec.supported():
            raise ValueError(f"no kernel for this product: {spec}")
        session.memo[spec] = tiled_kernel(session, spec.oriented())
    address: int = session.memo[spec]
    return address


def tiled_kernel(session: Session, spec: GemmSpec, cut: Tiling | None = None) -> int:
    """A kernel of register tiles for an oriented product."""
    cut = cut or tiling(session, spec)
    name = "flambeau_gemm_" + sha256(repr((spec, cut)).encode()).hexdigest()[:24]
    code = Code(session.machine)
    if spec.m and spec.n and all(spec.batch):
        _Writer(session, code, spec, cut).write()
    return session.compile_ir(tiles.define(code, name, "ptr %args"), name)


class _Writer:
    """Writes the loops around the tiles."""

    def __init__(self, session: Session, code: Code, spec: GemmSpec, cut: Tiling) -> None:
        self.session = session
        self.code = code
        self.spec = spec
        self.cut = cut
        self.kind = KINDS[spec.dtype.name]
        self.size = spec.dtype.itemsize
        self.lanes = tiles.lanes_of(session, self.kind)
        self.blocks = max(1, -(-spec.k // cut.block))

    def write(self) -> None:
        spec, code, cut = self.spec, self.code, self.cut
        args = tiles.parameter(code, "args")
        count = 3 if spec.d is None else 4
        pointers = [args.offset(i, "ptr").load("ptr") for i in range(count)]
        factors = []
        given = 0
        for factor in (spec.alpha, spec.beta):
            if factor is None:
                factors.append(args.offset(count, "ptr").load("ptr").offset(given, "double").load("double"))
                given += 1
            else:
                factors.append(code.const(factor, "double"))
        self.job = self.stack(tiles.JOB_BYTES)
        fields = {
            tiles.A_ROW: spec.a[-2] * self.size,
            tiles.A_STEP: spec.a[-1] * self.size,
            tiles.C_ROW: spec.c[-2] * self.size,
            tiles.D_ROW: spec.d[-2] * self.size if spec.d else 0,
            tiles.ADDEND: int(spec.d is not None),
        }
        if cut.pack_a:
            fields |= {tiles.A_ROW: self.size, tiles.A_STEP: cut.rows * self.size}
            self.a_panels = self.stack(cut.rows_packed * min(cut.block, spec.k) * self.size)
        if cut.pack_b:
            self.b_panel = self.stack(cut.vectors * self.lanes * min(cut.block, spec.k) * self.size)
        for field, number in fields.items():
            self.set(self.job, field, number)
        self.set(self.job, tiles.ALPHA, factors[0])
        self.set(self.job, tiles.BETA, factors[1])
        if self.blocks > 1:  # blocks after the first add to what is there
            self.later_job = self.stack(tiles.JOB_BYTES)
            for field, number in (fields | {tiles.D_ROW: fields[tiles.C_ROW], tiles.ADDEND: 1}).items():
                self.set(self.later_job, field, number)
            self.set(self.later_job, tiles.ALPHA, factors[0])
            self.set(self.later_job, tiles.BETA, code.const(1.0, "double"))
        strides = [spec.a, spec.b, spec.c] + ([spec.d] if spec.d is not None else [])

        def matrices(dim: int, at: list[Value]) -> None:
            if dim == len(spec.batch):
                self.matrix(at[0], at[1], at[2], at[3] if spec.d is not None else at[2])
                return
            steps = [s[dim] for s in strides]
            self.each(spec.batch[dim], lambda i: matrices(dim + 1, [self.go(p, i, s) for p, s in zip(at, steps)]))

        matrices(0, pointers)

    # --- pieces ---

    def stack(self, size: int) -> Value:
        return self.code.new(f"alloca i8, i64 {max(size, 64)}, align 64", "ptr", 0)

    def set(self, job: Value, field: int, value: Value | int) -> None:
        job.offset(field, "i64").store(value if isinstance(value, Value) else self.code.index(value))

    def each(self, count: int, body: Callable[[Value | int], None]) -> None:
        """``body(i)`` for every ``i`` below ``count``."""
        if count == 1:
            body(0)
        else:

            def step(i: Value, _: list[Value]) -> list[Value]:
                body(i)
                return []

            self.code.loop(self.code.index(0), self.code.index(count), 1, [], step)

    def go(self, pointer: Value, i: Value | int, stride: int) -> Value:
        """The address ``i * stride`` elements further on."""
        if isinstance(i, int):
            return bytes_on(pointer, i * stride * self.size)
        return bytes_on(pointer, i * (stride * self.size)) if stride else pointer

    def perform(self, name: str, *args: Value | int) -> None:
        self.code.perform(name, [a if isinstance(a, Value) else self.code.index(a) for a in args])

    # --- loops ---

    def matrix(self, a: Value, b: Value, c: Value, d: Value) -> None:
        spec, width = self.spec, self.cut.vectors * self.lanes
        for first, count, columns in _parts(spec.n, width):
            vectors, rest = -(-columns // self.lanes), columns % self.lanes
            for job in (self.job, self.later_job) if self.blocks > 1 else (self.job,):
                self.set(job, tiles.MASK, (1 << rest) - 1)
                self.set(job, tiles.B_STEP, vectors * self.lanes * self.size if self.cut.pack_b else spec.b[-2] * self.size)

            def panel(i: Value | int, first=first, columns=columns) -> None:
                at = [self.go(self.go(p, first, s), i, s * width) for p, s in self.across(b, c, d)]
                self.each(self.blocks, lambda block: self.block(a, *at, columns, block))

            self.each(count, panel)

    def across(self, b: Value, c: Value, d: Value) -> list[tuple[Value, int]]:
        spec = self.spec
        return [(b, spec.b[-1]), (c, spec.c[-1]), (d, (spec.d or spec.c)[-1])]

    def block(self, a: Value, b: Value, c: Value, d: Value, columns: int, block: Value | int) -> None:
        """One pass of a panel of B over the rows of A."""
        spec, cut, code = self.spec, self.cut, self.code
        start: Value | int = 0
        steps: Value | int = spec.k
        job = self.job
        if isinstance(block, Value):
            start = block * cut.block
            steps = code.call("llvm.umin.i64", [code.index(spec.k) - start, code.index(cut.block)], "i64", 0)
            later = block.compare("ne", 0)
            job, d = later.select(self.later_job, job), later.select(c, d)
            a, b = self.go(a, start, spec.a[-1]), self.go(b, start, spec.b[-2])
        if cut.pack_b:
            self.pack_b(b, steps, columns)
            b = self.b_panel
        vectors, masked = -(-columns // self.lanes), columns % self.lanes != 0
        d_row = (spec.d or spec.c)[-2]

        def some(rows: int, a: Value, c: Value, d: Value) -> None:
            name = tiles.tile(self.session, self.kind, rows, vectors, masked)
            self.perform(name, a, b, c, d, steps, job)

        def strip(rows: int, count: int, a: Value, c: Value, d: Value) -> None:
            """``count`` tiles below each other."""
            a_stride = min(cut.block, spec.k) if cut.pack_a else spec.a[-2]
            self.each(
                count,
                lambda i: some(rows, *(self.go(p, i, s * rows) for p, s in ((a, a_stride), (c, spec.c[-2]), (d, d_row)))),
            )

        def down(i: Value | int, stride: int) -> list[Value]:
            return [self.go(p, i, s * stride) for p, s in ((a, spec.a[-2]), (c, spec.c[-2]), (d, d_row))]

        if not cut.pack_a:
            for first, count, rows in _parts(spec.m, cut.rows):
                strip(rows, count, *down(first, 1))
            return
        for first, count, height in _parts(spec.m, cut.rows_packed):
            for inner, tall, rows in _parts(height, cut.rows):

                def packed(i: Value | int, first=first, inner=inner, tall=tall, rows=rows) -> None:
                    source, c, d = (self.go(p, i, s * cut.rows_packed) for p, s in self.rows_at(down(first + inner, 1), d_row))
                    width = rows * min(cut.block, spec.k) * self.size
                    pack = tiles.pack_panels(self.session, self.kind, rows)
                    self.perform(pack, self.a_panels, source, steps, spec.a[-1] * self.size, tall, width)
                    strip(rows, tall, self.a_panels, c, d)

                self.each(count, packed)

    def rows_at(self, at: list[Value], d_row: int) -> Iterator[tuple[Value, int]]:
        return zip(at, (self.spec.a[-2], self.spec.c[-2], d_row), strict=True)

    def pack_b(self, b: Value, steps: Value | int, columns: int) -> None:
        spec, size = self.spec, self.size
        vectors, rest = -(-columns // self.lanes), columns % self.lanes
        width = vectors * self.lanes * size
        if spec.b[-1] == 1 or spec.n == 1:
            pack = tiles.pack_rows(self.session, self.kind, vectors, rest != 0)
            self.perform(pack, self.b_panel, b, steps, spec.b[-2] * size, (1 << rest) - 1, width)
            return
        for first, count, lanes in _parts(columns, self.lanes):

            def strip(i: Value | int, first=first, lanes=lanes) -> None:
                to = self.go(bytes_on(self.b_panel, first * size), i, self.lanes)
                source = self.go(self.go(b, first, spec.b[-1]), i, spec.b[-1] * self.lanes)
                if spec.b[-2] == 1:
                    pack = tiles.pack_transposed(self.session, self.kind)
                    self.perform(pack, to, source, steps, spec.b[-1] * size, lanes, width)
                else:
                    pack = tiles.pack_strided(self.session, self.kind)
                    self.perform(pack, to, source, steps, spec.b[-2] * size, lanes, width, spec.b[-1] * size)

            self.each(count, strip)


def _parts(total: int, size: int) -> list[tuple[int, int, int]]:
    """``total`` cut into parts: (where they start, how many there are, their size)."""
    full, rest = divmod(total, size)
    return [(0, full, size)] * (full > 0) + [(full * size, 1, rest)] * (rest > 0)

"""Matrix products by generated register tiles.

``gemm_kernel(spec)`` gives a kernel, ``void kernel(i8** args)`` with ``args = {A, B, C[, D], words}``, and the words. It
computes

    C = alpha * A @ B + beta * D

for every matrix of a batch. Strides are free (a transpose is a pair of strides); ``D`` may be ``C`` itself, a bias (row
stride 0) or any other matrix. What is decided here goes into the sizes, so that few kernels serve all products
(:mod:`flambeau.engine.cpu.nest`).

The order of every sum depends on the shape alone. Where threads share the inner dimension, as blocks of the same size
whatever their number, the sums of blocks are kept apart and added in order. (OpenBLAS is not
called: its results change in the last bits with its number of threads, and its threads spin in the way of ours, while it is
ahead of the tiles by 5 % at the most, from about 1,000 rows, columns and steps on. ``benchmarks/products.py`` compares.)
"""

from __future__ import annotations

from functools import partial
from itertools import chain
from math import prod
from struct import pack, unpack
from typing import NamedTuple

from flambeau.engine.cpu import packing, threads, tiles
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.frame import Made, evenly, lanes_of, symbol_address
from flambeau.engine.cpu.nest import CALLS, Form, Numbers, calls_of, product_kernel
from flambeau.engine.cpu.schedule import BUFFER_BYTES
from flambeau.engine.cpu.specs import FACTORS, KINDS, GemmSpec
from flambeau.engine.symbols import computed, found


class Tiling(NamedTuple):
    """How a product is cut into tiles."""

    rows: int
    columns: int
    block: int  # steps along the inner dimension that one pass takes
    pack_a: bool = False  # whether A is copied first, so that each tile reads it without gaps
    pack_b: bool = False  # whether panels of B are copied first
    height: int = 0  # rows of A that all panels of B pass before the next ones
    dots: bool = False  # whether tiles are of inner products


def tiling(session: Session, spec: GemmSpec) -> Tiling:
    """The tiles for an oriented product, from what was measured (``benchmarks/products.py``)."""
    lanes, size = lanes_of(session, FACTORS[spec.dtype.name]), spec.dtype.itemsize
    total = max(1, -(-spec.n // lanes))
    contiguous = spec.b[-1] == 1 or spec.n == 1
    apart = spec.b[-2] * size  # bytes from row to row of B: far apart, they compete for few places in the cache
    # What layers have constant is asked first, here and below: where rows are symbols, each question about them is another way.
    large = spec.k * spec.n * size >= 1 << 20 and spec.m >= 32 or spec.k * spec.n * size >= 1 << 19 and spec.m >= 96
    pack_b = not contiguous or apart >= 512 and (large or spec.m >= 256)
    # Where the rows of A are neighbours, it is read line by line, each from another page: fewer of them at a time, or copied.
    tall = spec.a[-2] == 1 and spec.a[-1] != 1
    if session.machine.registers < 32:
        rows, vectors = (6, 2) if total > 1 else (8, 1)
    elif spec.m <= 4:
        rows, vectors = 4, 8 if spec.m == 1 else 6 if spec.m == 2 else 4
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
    block, height = -(-block // lanes) * lanes, -(-height // rows) * rows
    return Tiling(rows, min(vectors * lanes, spec.n), block, pack_a, pack_b, height)


def dots(session: Session, spec: GemmSpec) -> Tiling:
    """Tiles of inner products."""
    most = 24 if session.machine.registers >= 32 else 10
    rows = evenly(spec.m, 4)
    most //= rows
    return Tiling(rows, computed(_fitting, spec.n, most), spec.k, height=-(-spec.m // rows) * rows, dots=True)


def _fitting(total: int, most: int) -> int:
    """Into how many at a time ``total`` columns are divided without a rest, if that is more than half of ``most``."""
    return next((n for n in range(most, most // 2, -1) if total % n == 0), min(total, most))


def choose(spec: GemmSpec) -> str:
    """``"tiles"`` or ``"dots"`` (inner products), whichever is faster for this oriented product."""
    # Tiles would copy B, for few rows. Inner products need no copy, but the lanes of each have to be added.
    inner = spec.a[-1] == 1 and spec.b[-2] == 1 and (spec.b[-1] != 1 or spec.n == 1)
    return "dots" if not spec.rectified and inner and spec.m <= 16 and 28 * spec.m < spec.k else "tiles"


FAR_AWAY = 1 << 19
"""Bytes of A or C from which on it is not expected in the second cache."""


def _shares_weights(spec: GemmSpec) -> bool:
    """Whether threads take blocks of the inner dimension each: a large B, row by row, is then read by the threads that
    have written these rows of it, as updates of weights are divided."""
    size = spec.dtype.itemsize
    large = spec.k >= 512 and spec.b[-2] > spec.b[-1] == 1 and 1 << 17 <= spec.k * spec.n * size
    return large and not spec.rectified and prod(spec.batch) == 1 and spec.m <= 128 and spec.m * spec.n * size <= 1 << 15


def division(spec: GemmSpec, cut: Tiling) -> tuple[str, int]:
    """What of an oriented product threads divide between them, and how many tasks that makes."""
    panels, rows = -(-spec.n // cut.columns), -(-spec.m // cut.rows)
    bands, blocks, batch = -(-spec.m // cut.height), -(-spec.k // cut.block), prod(spec.batch)
    if spec.steps() < LIGHT:
        return "", 1
    if cut.dots:
        return ("panels", panels) if panels > 1 else ("", 1)
    memory = blocks * spec.m * spec.n * spec.dtype.itemsize
    if _shares_weights(spec) and 1 < blocks <= 16 and memory <= BUFFER_BYTES and not spec.scattered() and not cut.pack_a:
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


def gemm_kernel(spec: GemmSpec, session: Session | None = None) -> Made:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments.

    Sizes may be symbols; the words are then made of these. Raises ``ValueError`` where there is no kernel (see
    ``GemmSpec.supported``).
    """
    session = session or process_session()
    if not spec.supported():
        raise ValueError(f"no kernel for this product: {spec}")
    spec = spec.merged()
    if spec.empty():
        return product_kernel(session, Form(3 + (spec.d is not None), tall=True, wide=True)), (0,) * (CALLS + 8)
    oriented = spec.oriented()
    cut = dots(session, oriented) if choose(oriented) == "dots" else tiling(session, oriented)
    form, words = Words(session, oriented, oriented is not spec, cut).made()
    return product_kernel(session, form), words


class Words:
    """What a product's kernel reads: see :mod:`flambeau.engine.cpu.nest`."""

    def __init__(self, session: Session, spec: GemmSpec, turned: bool, cut: Tiling) -> None:
        """``turned`` if the product was transposed, such that A is the second argument."""
        self.session = session
        self.kind = FACTORS[spec.dtype.name]
        self.lanes = lanes_of(session, self.kind)
        self.size = spec.dtype.itemsize
        self.turned = turned
        self.cut = cut
        self.divided, self.tasks = division(spec, cut)
        self.given = spec
        self.spec = spec._replace(c=(spec.n, 1), d=None) if self.divided == "blocks" else spec
        self.blocks = 1 if cut.dots else max(1, -(-spec.k // cut.block))
        self.scattered = spec.scattered()
        self.ahead = self.after()
        self.lines = () if self.ahead is None else (*_NOTHING, *self.ahead, *self.lines_of_result())
        bits_of = _bits if spec.dtype.name in KINDS else _wrapped
        self.alpha, self.beta, self.one = (bits_of(factor) for factor in (spec.alpha, spec.beta, 1))
        self.jobs: dict[tuple, tuple[int, tuple[int, ...]]] = {}  # by what it is for: where each begins, in words, and the job

    def made(self) -> tuple[Form, tuple[int, ...]]:
        """The form of the kernel, and the words."""
        spec, given, cut, size = self.spec, self.given, self.cut, self.size
        a_row, a_step = (s * size for s in spec.a[-2:])
        b_row, b_column = (s * size for s in spec.b[-2:])
        c_row = spec.c[-2] * size
        d_row, d_column = (s * size for s in (spec.d or spec.c)[-2:])
        tiles_, rest_rows = -(-spec.m // cut.rows), spec.m % cut.rows
        panels, rest = -(-spec.n // cut.columns), spec.n % cut.columns
        full, last = spec.k // self.lanes, spec.k - (self.blocks - 1) * cut.block
        scattered = self.scattered
        strided = 1 not in spec.b[-2:] and spec.n > 1
        form = Form(
            3 + (given.d is not None), len(spec.batch), self.blocks > 1, cut.height < spec.m, tiles_ > 1, panels > 1,
            self.divided, cut.pack_a, ("strided" if strided else "copied") if cut.pack_b else "", scattered,
        )  # fmt: skip
        numbers: dict[str, int] = {}
        if cut.pack_a:
            room, packed = min(cut.height, spec.m) * cut.block * size, cut.rows * cut.block * size
            numbers |= {"a_room": room, "a_packed": packed, "a_step": a_step}
            numbers |= {"pack_a": self.packs(cut.rows), "pack_rest": self.packs(rest_rows)}
        if cut.pack_b:
            numbers |= self.copies(rest)
        if scattered:
            numbers |= {
                "put": self.address(packing.pack_strided(self.session, self.kind)), "d_row": d_row, "d_column": d_column,
                "c_row": c_row, "rows": cut.rows, "rest_rows": rest_rows, "panel": cut.columns, "rest": rest,
            }  # fmt: skip
        start = CALLS + calls_of(form) + 5 * form.rank
        calls = self.calls(start, form, rest, rest_rows)
        if self.divided == "blocks":
            one, job = spec.m * spec.n * size, self.job(given, cut.columns, cut.rows, given.d is not None, False)
            numbers |= {
                "c_block": one, "sums": self.blocks * one, "join": self.address(tiles.sum_of_blocks(self.session, self.kind)),
                "join_job": 8 * self.place(start, ("join",), job), "m": spec.m, "n": spec.n,
            }  # fmt: skip
        batch: list[int] = []
        for walk in zip(spec.batch, spec.a, spec.b, spec.c, spec.d or spec.c):  # as long as the batch has dims
            batch += (walk[0], *(s * size for s in walk[1:]))
        words = Numbers(
            a=int(self.turned), b=1 - self.turned, d=2 if spec.d is None else 3, batch=prod(spec.batch), tasks=self.tasks,
            entry=found(_entry, spec.steps()) if self.divided else 0,
            blocks=self.blocks, steps=cut.block, last_steps=full if cut.dots else last,
            a_block=cut.block * a_step, b_block=cut.block * b_row,
            bands=-(-spec.m // cut.height), band=cut.height // cut.rows,
            tiles=tiles_, whole=spec.m // cut.rows,
            panels=panels, rest_panel=panels - 1 if rest else -1,
            a_tile=cut.rows * a_row, c_tile=cut.rows * c_row, d_tile=cut.rows * d_row,
            b_panel=cut.columns * b_column, c_panel=cut.columns * spec.c[-1] * size, d_panel=cut.columns * d_column,
            **numbers,
        )  # fmt: skip
        return form, tuple(chain(words, calls, batch, *[job for _, job in self.jobs.values()]))

    def address(self, name: str) -> int:
        """Where the shared part of that name is."""
        address: int = self.session.memo[name]
        return address

    def packs(self, rows: int) -> int:
        """The address of what copies a tile's rows."""
        address: int = found(partial(_packs, self.session, self.kind), rows)
        return address

    def copies(self, rest: int) -> dict[str, int]:
        """The numbers that say how panels of B are copied."""
        session, kind, lanes, (row, column) = self.session, self.kind, self.lanes, self.spec.b[-2:]
        whole, few = (-(-columns // lanes) * lanes * self.size for columns in (self.cut.columns, rest))
        numbers = {"b_room": whole * min(self.cut.block, self.spec.k), "width": whole, "rest_width": few}
        if column == 1 or self.spec.n == 1:
            for which, columns in (("", self.cut.columns), ("rest_", rest)):
                copy = found(partial(_copies, session, kind, lanes), columns)
                numbers |= {which + "copy": copy, which + "columns": (1 << columns % lanes) - 1}
            return numbers | {"b_stride": row * self.size}
        pack = (packing.pack_transposed if row == 1 else packing.pack_strided)(session, kind)
        numbers |= {"copy": self.address(pack), "rest_copy": self.address(pack)}
        numbers |= {"columns": self.cut.columns, "rest_columns": rest, "b_across": column * self.size}
        return numbers | {"b_stride": (column if row == 1 else row) * self.size}

    def calls(self, start: int, form: Form, rest: int, rest_rows: int) -> list[int]:
        """The calls of tiles. Jobs begin at word ``start``."""
        cut, spec = self.cut, self.spec
        calls: list[int] = []
        # What the block is, whether it adds to what is there, and whether it is the last one.
        kinds = [(False, False), (True, False), (True, True)] if form.many else [(False, True)]
        for later, last in kinds:
            for panel, columns in enumerate((cut.columns, rest)):
                if not columns:
                    calls += [0] * 4
                    continue
                for some, rows in enumerate((cut.rows, rest_rows)):
                    job = self.job(spec, columns, rows, later or spec.d is not None, later)
                    place = self.place(start, (later, panel, cut.pack_a and some), job)
                    calls += [self.tile(rows, columns, last and spec.rectified), 8 * place]
        return calls

    def place(self, start: int, what: tuple, job: tuple[int, ...]) -> int:
        """Where the job that is for that lies among the words; it gets a place if it has none yet."""
        place, _ = self.jobs.setdefault(what, (start + len(self.jobs) * len(job), job))
        return place

    def tile(self, rows: int, columns: int, rectified: bool) -> int:
        """The address of a tile."""
        what = partial(_tile, self.session, self.kind, self.lanes, self.cut.dots, rectified, self.ahead is not None)
        address: int = found(what, rows, columns)
        return address

    def job(self, spec: GemmSpec, columns: int, rows: int, adds: bool, later: bool) -> tuple[int, ...]:
        """What tiles have in common; blocks of the inner dimension that come ``later`` add to what is there."""
        cut, size, lanes = self.cut, self.size, self.lanes
        row = size if cut.pack_a else spec.a[-2] * size
        step = rows * size if cut.pack_a else spec.a[-1] * size
        b_step = -(-columns // lanes) * lanes if cut.pack_b else spec.b[-1 if cut.dots else -2]
        c_row = spec.c[-2] * size
        d_row = c_row if later or spec.d is None or self.scattered else spec.d[-2] * size
        mask = (1 << (spec.k if cut.dots else columns) % lanes) - 1
        return (
            row, 2 * row, 3 * row, 4 * row, step, b_step * size, c_row, d_row, mask, int(adds),
            self.alpha, self.one if later else self.beta, *self.lines,
        )  # fmt: skip

    def lines_of_result(self) -> list[int]:
        """Where the lines of a tile's result lie, again and again."""
        row, line, vectors = self.spec.c[-2] * self.size, self.lanes * self.size, -(-self.cut.columns // self.lanes)
        return [k // vectors % self.cut.rows * row + k % vectors * line for k in range(tiles.MOST_LINES)]

    def after(self) -> tuple[int, int] | None:
        """What of A a tile has brought to the cache: how far from its own that begins, and the bytes from step to step.

        Of an A that is read down its columns these are the same columns in the next block, else the rows of the next tile.
        ``None`` where A and C are expected to be there.
        """
        spec, cut, size = self.spec, self.cut, self.size
        down, along = spec.a[-2:]
        far = not cut.pack_a and spec.m * spec.k * size >= FAR_AWAY
        close = not (far or spec.m * spec.n * size >= FAR_AWAY)
        if cut.dots or close or min(spec.k, cut.block) < 2 * tiles.MOST_LINES:
            return None
        if far and down == 1 and along != 1:
            return cut.block * along * size, along * size
        if far and along == 1 and down == spec.k and self.blocks == 1:
            return cut.rows * down * size, cut.rows * size
        return 0, 0


def _entry(steps: int, _: None) -> int:
    return threads.entry(steps < WORTH_DIVIDING)


def _tile(session: Session, kind: str, lanes: int, dots: bool, rectified: bool, ahead: bool, rows: int, columns: int) -> int:
    if not (rows and columns):
        return 0
    if dots:
        return symbol_address(session, tiles.inner, kind, rows, columns)
    vectors, over = -(-columns // lanes), columns % lanes != 0
    return symbol_address(session, tiles.tile, kind, rows, vectors, over, False, rectified, ahead)


def _packs(session: Session, kind: str, rows: int, _: None) -> int:
    return symbol_address(session, packing.pack_panels, kind, rows) if rows else 0


def _copies(session: Session, kind: str, lanes: int, columns: int, _: None) -> int:
    if not columns:
        return 0
    return symbol_address(session, packing.pack_rows, kind, -(-columns // lanes), columns % lanes != 0)


def _bits(number: float) -> int:
    """The representation of a double."""
    bits: int = unpack("<q", pack("<d", number))[0]
    return bits


def _wrapped(number: float) -> int:
    """An integer, as a word."""
    return (int(number) + (1 << 63)) % (1 << 64) - (1 << 63)


_NOTHING = (0,) * (tiles.AHEAD - tiles.BETA - 1)
"""What lies in a job between the numbers of all tiles and those of tiles that fetch ahead."""

"""Convolutions, and their gradients, by register tiles.

``conv_kernel(spec)`` gives the address of ``void kernel(i8** args)``, and the words that follow the pointers in ``args``: these are
``{x, w, y[, bias]}`` forward, ``{dy, w, dx[, bias]}`` for the gradient of the input and ``{x, dy, dw}`` for that of the weight.
A kernel reads all sizes from its words, so there are few of them.

Forward and the gradient of the input are *passes*. A pass computes, for all output positions ``(t, u)``,

    out[m, t, u] = sum over channels c and taps k of  a[m, c, k] * source[c, t * row_step + row[k], u * column_step + column[k]]

with zeros outside of the source. Forward is one pass; the gradient of the input is one pass for each remainder that rows and
columns leave when divided by the stride, with the taps that reach it. The source's channels are copied, once for every column
of the kernel (and each remainder of its rows), such that the positions a tap reads follow each other without gaps. Then a
pass is a matrix product whose rows of B overlap: ``a`` times rows that begin at an offset for each (channel, tap).

The gradient of the weight (:mod:`flambeau.engine.cpu.conv_weight`) is made from the same copies.

The order of every sum depends on the shape alone, not on the number of threads. The zeros of the padding take part in the
sums: where a weight is infinite or NaN, so are the results at the border (PyTorch's blocked kernels leave them out).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flambeau.engine.cpu import packing, tiles
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.conv_copies import (
    Convolution,
    Copied,
    Copies,
    Pass,
    Room,
    Words,
    copied,
    dividing,
    passes,
    taps,
    written,
)
from flambeau.engine.cpu.conv_weight import weight_kernel
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import Frame, Made, Reader, bytes_on, evenly, lanes_of, remembered
from flambeau.engine.cpu.gemm import WORTH_DIVIDING
from flambeau.engine.cpu.specs import KINDS, ConvSpec


def conv_kernel(spec: ConvSpec, session: Session | None = None) -> Made:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments.

    Raises ``ValueError`` where there is none (see ``ConvSpec.supported``).
    """
    return remembered(session or process_session(), "convolution", spec, weight_kernel if spec.part == "weight" else _pass_kernel)


# --- words -------------------------------------------------------------------------------------------------------------


class Numbers(NamedTuple):
    """The first record. A task is an image, or one of several ``bands`` of its rows."""

    tasks: int
    entry: int
    shared: int
    scratch: int
    bands: int
    groups: int
    passes: int
    passes_at: int
    channels: int  # of a group,
    out: int  # and of its result
    places: int  # numbers in the kernel of one channel
    from_image: int
    from_group: int
    to_image: int
    to_group: int
    to_channel: int


class PassNumbers(NamedTuple):
    """One pass: its bands of rows, the strips of channels of the result that are tiles high, and its memory."""

    bands: int
    whole: int  # bands that have as many rows as others
    band: int  # rows of one
    sides: int  # what bands have, and behind it, what the one has that has fewer rows
    corner: int
    down: int  # from row to row of the result
    across: int
    columns: int
    positions: int  # bytes of a channel without gaps
    direct: int  # whether the result has no gaps
    spread: int  # what else brings it to its place
    gapless: int
    copies: int  # how the source is copied, ...
    copied: int  # ... and where to
    taps: int
    taps_at: int
    places_at: int
    table: int  # in the shared memory: where the rows of B lie, ...
    packed: int  # ... and the weights in the order of the tiles
    steps: int
    a_row: int
    a_group: int
    a_strip: int
    c_row: int
    c_strip: int
    strips: int
    whole_strips: int
    tall: int
    rest_tall: int
    biases: int
    vectors: int
    d_row: int


class Side(NamedTuple):
    """The tiles of a band, side by side: some have a vector more than others, the last one may have a vector that is not whole."""

    rows: int
    wide: int
    narrow: int
    wide_step: int
    narrow_step: int
    mask: int
    wide_tile: int
    narrow_tile: int
    last_tile: int
    short_wide_tile: int  # the same for the strip that has fewer channels
    short_narrow_tile: int
    short_last_tile: int


def _pass_kernel(session: Session, spec: ConvSpec) -> Made:
    kind, forward = KINDS[spec.dtype.name], spec.part == "forward"
    words = Words(Numbers._fields)
    source = (spec.h, spec.w) if forward else spec.size()
    from_strides, to_strides = (spec.x, spec.y) if forward else (spec.y, spec.x)
    channels, out = (spec.c // spec.groups, spec.o // spec.groups)[:: 1 if forward else -1]
    todo = [p for p in passes(spec) if p.rows and p.columns and spec.n and out]
    work = spec.n * spec.groups * out * channels * sum(p.rows * p.columns * len(p.taps) for p in todo)
    bands = -(-8 // spec.n) if len(todo) == 1 and work >= WORTH_DIVIDING else 1  # tasks enough for some threads
    size = spec.dtype.itemsize
    shared, records, scratch = Room(size), [], 0
    for p in todo:
        copies = Copies(p, *source, from_strides)
        copies.limit(channels, size, bands)
        own = Room(size)  # the copies of one pass are not needed by the next
        records.append(_PassWords(session, spec, kind, p, copies, channels, out, to_strides).made(words, shared, own))
        scratch = max(scratch, own.size)
    bands = records[0].bands if len(records) == 1 else 1
    numbers = Numbers(
        tasks=spec.n * bands if records else 0, entry=dividing(work), shared=shared.size, scratch=scratch, bands=bands,
        groups=spec.groups, passes=len(records), passes_at=words.add([n for record in records for n in record]),
        channels=channels, out=out, places=spec.kernel[0] * spec.kernel[1],
        from_image=from_strides[0] * size, from_group=from_strides[1] * channels * size,
        to_image=to_strides[0] * size, to_group=to_strides[1] * out * size, to_channel=to_strides[1] * size,
    )  # fmt: skip
    return written(session, _Passes, kind, spec.part, spec.bias), words.behind(numbers)


class _PassWords:
    """The words of one pass."""

    def __init__(
        self,
        session: Session,
        spec: ConvSpec,
        kind: str,
        p: Pass,
        copies: Copies,
        channels: int,
        out: int,
        to_strides: tuple[int, ...],
    ) -> None:
        self.session = session
        self.spec = spec
        self.kind = kind
        self.p = p
        self.copies = copies
        self.channels = channels
        self.out = out
        self.to_strides = to_strides
        self.lanes = lanes_of(session, kind)
        self.tall, self.vectors = self.tile()

    def tile(self) -> tuple[int, int]:
        """Rows and vectors of the tiles."""
        total = -(-self.copies.rows * self.p.columns // self.lanes)
        if self.session.machine.registers < 32:
            rows, vectors = 6, 2
        elif self.out <= 4:
            rows, vectors = 4, {1: 8, 2: 6}.get(self.out, 4)
        else:
            rows, vectors = (6, 4) if total % 4 == 0 and total % 3 else (8, 3)
        return evenly(self.out, rows), evenly(total, vectors)

    def made(self, words: Words, shared: Room, own: Room) -> PassNumbers:
        p, copies, size, kind, session = self.p, self.copies, self.spec.dtype.itemsize, self.kind, self.session
        down, across = (s * x for s, x in zip(p.step, self.to_strides[2:]))
        direct = (across == 1 or p.columns == 1) and (down == p.columns or p.rows == 1)
        positions, steps = copies.rows * p.columns, self.channels * len(p.taps)
        c_row = self.to_strides[1] if direct else positions
        d_row = self.vectors * self.lanes
        rest = p.rows % copies.rows
        sides = words.add(self.side(copies.rows))
        words.add(self.side(rest) if rest else ())
        step = across if across <= 2 else None
        turned = self.spec.part == "input"
        return PassNumbers(
            bands=-(-p.rows // copies.rows), whole=p.rows // copies.rows, band=copies.rows, sides=sides,
            corner=sum(at * s for at, s in zip(p.start, self.to_strides[2:])) * size, down=down * size, across=across * size,
            columns=p.columns, positions=positions * size, direct=int(direct),
            spread=0 if direct else session.memo[packing.spread(session, kind, step)],
            gapless=0 if direct else own.take(self.tall * positions),
            copies=copied(words, session, kind, size, p, copies, self.channels),
            copied=0 if copies.none else own.take(self.channels * copies.channel()),
            taps=len(p.taps), taps_at=taps(words, p, copies, size), places_at=words.add([tap.place for tap in p.taps]),
            table=shared.take(steps * 8 // size), packed=shared.take(self.spec.groups * self.out * steps) if turned else 0,
            steps=steps, a_row=steps * size, a_group=self.out * steps * size, a_strip=self.tall * steps * size,
            c_row=c_row * size, c_strip=self.tall * self.to_strides[1] * size,
            strips=-(-self.out // self.tall), whole_strips=self.out // self.tall, tall=self.tall, rest_tall=self.out % self.tall,
            biases=own.take(self.tall * d_row) if self.spec.bias else 0, vectors=self.vectors, d_row=d_row * size,
        )  # fmt: skip

    def side(self, rows: int) -> Side:
        """As many tiles as needed, none much narrower than the others: narrow ones wait for their own sums."""
        lanes, size = self.lanes, self.spec.dtype.itemsize
        total = rows * self.p.columns
        vectors, rest = -(-total // lanes), total % lanes
        count = -(-vectors // self.vectors)
        narrow, wide = divmod(vectors, count)
        kinds = [(narrow + 1 if wide else 0, False), (narrow if count - 1 - wide else 0, False), (narrow, rest != 0)]
        calls = [self.address(tall, *kind) for tall in (self.tall, self.out % self.tall) for kind in kinds]
        steps = (narrow + 1) * lanes * size, narrow * lanes * size
        return Side(rows, wide, count - 1 - wide, *steps, (1 << rest) - 1, *calls)

    def address(self, tall: int, vectors: int, masked: bool) -> int:
        """The address of a tile; 0 where there is none of that kind."""
        if not (tall and vectors):
            return 0
        name = tiles.tile(self.session, self.kind, tall, vectors, masked, True, self.spec.rectified)
        address: int = self.session.memo[name]
        return address


# --- the kernel --------------------------------------------------------------------------------------------------------


class _Passes(Convolution):
    """Writes the passes of a convolution or of the gradient of its input."""

    def __init__(self, session: Session, kind: str, part: str, bias: bool) -> None:
        super().__init__(session, kind, 4 if bias else 3, Numbers._fields)
        self.turns = part == "input"
        self.bias = self.pointers[3] if bias else None
        self.job = self.stack(tiles.JOB_BYTES)

    def each_pass(self, w: Frame, number: Reader, body: Callable[[Reader], None]) -> None:
        """``body(numbers)`` for each pass."""
        at = number("passes_at")
        w.times(number("passes"), lambda i: body(self.record(at + i * (8 * len(PassNumbers._fields)), PassNumbers._fields, number)))

    def prepare(self, shared: Value) -> None:
        """The tables, and the weights in the order of the tiles."""

        def one(p: Reader) -> None:
            copies = self.record(p("copies"), Copied._fields, self.outer_number)
            self.fill_table(bytes_on(shared, p("table")), copies("channels"), copies("channel"), p("taps"), p("taps_at"))
            if self.turns:
                self.turn_weights(p, bytes_on(shared, p("packed")))

        self.each_pass(self.outer, self.outer_number, one)

    def turn_weights(self, p: Reader, to: Value) -> None:
        """a[c, o, tap] = w[o, c, tap], with the taps of this pass only."""
        w, number = self.outer, self.outer_number
        channels, out, places, count = number("channels"), number("out"), number("places"), p("taps")
        which = bytes_on(number.words, p("places_at"))

        def channel(g: Value, c: Value) -> None:
            source = self.outer_pointers[1].offset((g * channels * out + c) * places, w.kind)
            target, across = to.offset((g * out + c) * channels * count, w.kind), out * places

            def copy(o: Value, n: Value) -> None:
                place = o * across + which.offset(n, "i64").load("i64")
                target.offset(o * count + n, w.kind).store(source.offset(place, w.kind).load(w.kind))

            one = count.compare("eq", 1)
            w.when(one, lambda: w.times(channels, lambda o: copy(o, w.code.index(0))))
            w.when(~one, lambda: w.times(channels, lambda o: w.times(count, lambda n: copy(o, n))))

        w.times(number("groups"), lambda g: w.times(out, lambda c: channel(g, c)))

    def task(self, task: Value) -> None:
        """An image, or a band of rows of one."""
        number = self.number
        bands = number("bands")
        n, band = task.binary("udiv", bands), task.binary("urem", bands)
        source = bytes_on(self.pointers[0], n * number("from_image"))
        result = bytes_on(self.pointers[2], n * number("to_image"))

        def one(p: Reader) -> None:
            self.begin(p)
            last = bands.compare("eq", 1).select(p("bands"), band + 1)

            def group(g: Value) -> None:
                from_g, to_g = bytes_on(source, g * number("from_group")), bytes_on(result, g * number("to_group"))
                self.between(band, last, lambda i: self.band(p, from_g, to_g, g, i))

            self.times(number("groups"), group)

        self.each_pass(self, number, one)

    def begin(self, p: Reader) -> None:
        """Fills in what the tiles of a pass have in common."""
        one = self.code.const(1.0, "double")
        fields: dict[int, Value | int] = {tiles.A_ROWS + r: p("a_row") * (r + 1) for r in range(4)}
        fields |= {tiles.A_STEP: self.size, tiles.B_STEP: 0, tiles.TABLE: bytes_on(self.shared, p("table"))}
        fields |= {tiles.C_ROW: p("c_row"), tiles.D_ROW: p("d_row"), tiles.ADDEND: int(self.bias is not None)}
        for field, value in (fields | {tiles.ALPHA: one, tiles.BETA: one}).items():
            self.set(self.job, field, value)

    def band(self, p: Reader, source: Value, result: Value, g: Value, i: Value) -> None:
        """A band of rows of all channels of the result."""
        start, short = i * p("band"), i.compare("eq", p("whole"))
        copies = self.record(p("copies"), Copied._fields)
        to = bytes_on(self.scratch, p("copied"))
        b, _ = self.gather(copies, source, to, start, self.code.index(1))
        result = bytes_on(bytes_on(result, p("corner")), start * p("down"))
        side = self.record(p("sides") + short.convert("zext", "i64") * (8 * len(Side._fields)), Side._fields)
        self.set(self.job, tiles.MASK, side("mask"))
        weights = bytes_on(self.shared, p("packed")) if self.turns else self.pointers[1]
        weights = bytes_on(weights, g * p("a_group"))
        gapless, direct = bytes_on(self.scratch, p("gapless")), p("direct").compare("ne", 0)

        def strip(s: Value) -> None:
            short = s.compare("eq", p("whole_strips"))
            tall = short.select(p("rest_tall"), p("tall"))
            c = bytes_on(result, s * p("c_strip"))
            if self.bias is not None:
                self.spread_bias(p, self.bias.offset(g * self.number("out") + s * p("tall"), self.kind), tall)
            self.tiles(p, side, short, bytes_on(weights, s * p("a_strip")), b, direct.select(c, gapless))
            self.when(~direct, lambda: self.spread(p, c, gapless, tall, side("rows")))

        self.times(p("strips"), strip)

    def tiles(self, p: Reader, side: Reader, short: Value, a: Value, b: Value, c: Value) -> None:
        """The tiles of a strip."""
        d, steps = bytes_on(self.scratch, p("biases")), p("steps")

        def tile(name: str) -> Value:
            return short.select(side(f"short_{name}_tile", "ptr"), side(f"{name}_tile", "ptr"))

        def some(name: str, at: list[Value]) -> list[Value]:
            address, step = tile(name), side(f"{name}_step")

            def one(_: Value, at: list[Value]) -> list[Value]:
                self.code.invoke(address, [a, *at, d, steps, self.job])
                return [bytes_on(x, step) for x in at]

            return self.code.loop(self.code.index(0), side(name), 1, at, one)

        last = tile("last")
        self.code.invoke(last, [a, *some("narrow", some("wide", [b, c])), d, steps, self.job])

    def spread_bias(self, p: Reader, bias: Value, tall: Value) -> None:
        """Rows of one number each, for the tiles to add."""
        place, vectors = bytes_on(self.scratch, p("biases")), p("vectors")

        def row(r: Value) -> None:
            number = bias.offset(r, self.kind).load(self.kind).splat(self.lanes)
            to = place.offset(r * vectors * self.lanes, self.kind)
            self.times(vectors, lambda v: to.offset(v * self.lanes, self.kind).store(number))

        self.times(tall, row)

    def spread(self, p: Reader, c: Value, gapless: Value, tall: Value, rows: Value) -> None:
        """From rows without gaps to their places in the result."""

        def one(r: Value) -> None:
            to, source = bytes_on(c, r * self.number("to_channel")), bytes_on(gapless, r * p("positions"))
            self.code.invoke(p("spread", "ptr"), [to, source, rows, p("columns"), p("down"), p("across")])

        self.times(tall, one)

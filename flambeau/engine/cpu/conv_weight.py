"""The gradient of a convolution's weight: for each output channel and (channel, tap) the sum over all positions of the
result's gradient times the copy's number.

Where there are channels enough, it is made of outer products: at each position the gradients of some output channels, as
vectors, times the numbers of some (channel, tap)s. The gradient is transposed first, such that the output channels of a
position are neighbours. Else it is made of inner products over the positions, whose vectors have to be summed in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flambeau.engine.cpu import memory, packing, tiles
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.conv_copies import (
    COPIES,
    Convolution,
    Copied,
    Copies,
    Pass,
    Room,
    Tap,
    Words,
    copied,
    dividing,
    passes,
    taps,
    written,
)
from flambeau.engine.cpu.emit import BITS, Code, Value
from flambeau.engine.cpu.frame import Made, bytes_on, evenly, lanes_of, parameter, shared
from flambeau.engine.cpu.gemm import WORTH_DIVIDING
from flambeau.engine.cpu.specs import KINDS, ConvSpec

UNIT = 576
"""Positions that a unit of the gradient of the weight should have: some rows of them fit into the first cache."""

BLOCK = 28 << 10
"""Bytes of the copies that meet all strips of the gradient before the next ones do."""

SUMS = 1 << 20
"""Bytes of the sums of a task of the gradient of the weight."""

TASKS = 4
"""Into how many tasks that gradient is divided, if it can be: each of them reads the whole gradient of the result."""

_ITSELF = (Tap(0, 0, 0),)


def weight_kernel(session: Session, spec: ConvSpec) -> Made:
    """The address of a kernel for ``spec``, whichever is faster, and the words that follow the pointers among its arguments."""
    outer = _OuterWords(session, spec)
    filled = outer.out >= 0.6 * outer.wide and outer.all_channels * len(outer.p.taps) >= FEWEST
    worth = filled and min(spec.n, outer.p.rows, outer.p.columns) > 0
    words, writes = (outer.made(), _Outer) if worth else (_DotsWords(session, spec).made(), _Dots)
    return written(session, writes, outer.kind), words


def _gradients(p: Pass, spec: ConvSpec, rows: int) -> tuple[Pass, Copies]:
    """How the gradient of the result is made to have no gaps, for so many of its rows at a time."""
    same = Pass(p.rows, p.columns, 1, 1, _ITSELF)
    copies = Copies(same, p.rows, p.columns, spec.y)
    copies.none = spec.y[3] == 1 and spec.y[2] == p.columns
    copies.rows = rows
    return same, copies


class _Words:
    """What the words of both sorts of gradients are made from."""

    def __init__(self, session: Session, spec: ConvSpec) -> None:
        self.session = session
        self.spec = spec
        self.kind = KINDS[spec.dtype.name]
        self.lanes = lanes_of(session, self.kind)
        self.size = spec.dtype.itemsize
        (self.p,) = passes(spec)
        self.out, self.all_channels = spec.o // spec.groups, spec.c // spec.groups


# --- inner products ----------------------------------------------------------------------------------------------------


class _DotsNumbers(NamedTuple):
    """A task is some of the channels of a group (or, where there are few, some of the output channels)."""

    tasks: int
    entry: int
    shared: int
    scratch: int
    clear: int  # bytes of a result to which nothing is added
    parts: int  # of the channels of a group, ...
    out_parts: int  # ... and of its output channels
    x_group: int
    x_part: int
    dy_group: int
    dy_part: int
    dw_group: int
    dw_part: int
    dw_out: int
    n: int
    together: int  # images of a unit
    rows: int
    band: int
    row: int  # positions in one
    x_image: int
    dy_image: int
    copies: int
    copied: int
    gradients: int
    dense: int
    table: int
    channels: int
    taps: int
    taps_at: int
    sums: int
    sums_size: int
    a_row: int
    c_row: int
    out: int  # output channels of a task,
    columns: int  # and its (channel, tap)s
    block: int
    high: int
    wide: int  # columns of a tile,
    rest_wide: int  # and in the block that has fewer
    calls: int  # for each block, strip and tile, whether whole or not: what adds to its sums, and what makes the total of them


class _DotsWords(_Words):
    """The words of a gradient that is made of inner products."""

    def __init__(self, session: Session, spec: ConvSpec) -> None:
        super().__init__(session, spec)
        self.columns = self.all_channels * len(self.p.taps)  # of the weight seen as a matrix
        self.height, self.width = (4, 6) if session.machine.registers >= 32 else (2, 5)

    def made(self) -> tuple[int, ...]:
        spec, p, size, session, kind = self.spec, self.p, self.size, self.session, self.kind
        words = Words(_DotsNumbers._fields)
        work = spec.n * spec.groups * self.out * self.columns * p.rows * p.columns
        if not work:
            total = spec.groups * self.out * self.columns * size
            return words.behind(_DotsNumbers(0, 0, 0, 0, total, *[0] * (len(_DotsNumbers._fields) - 5)))
        channels, out = self.divide(work)
        copies = Copies(p, spec.h, spec.w, spec.x)
        copies.limit(channels, size)
        copies.rows = min(copies.rows, evenly(p.rows, max(1, UNIT // p.columns)))
        same, gradients = _gradients(p, spec, copies.rows)
        together = 1 if copies.rows < p.rows else evenly(spec.n, -(-UNIT // (p.rows * p.columns)))
        shared, own = Room(size), Room(size)
        table = shared.take(channels * len(p.taps) * 8 // size)
        columns = channels * len(p.taps)
        # Channels whose copies stay in the first cache while all strips of the gradient pass them.
        per_channel = together * size * (p.rows * p.columns if copies.none else copies.channel())
        fitting = [n for n in range(1, channels + 1) if channels % n == 0 and (n <= BLOCK // per_channel or n <= 2)]
        block = len(p.taps) * max(fitting, key=lambda n: (self.filled(n * len(p.taps)), n))
        high, rest = evenly(out, self.height), columns % block
        widths = evenly(block, self.width), evenly(rest, self.width)
        calls = [
            session.memo[make(session, kind, rows, count)] if rows and count else 0
            for some, wide in zip((block, rest), widths)
            for rows in (high, out % high)
            for count in ((wide, some % wide) if some else (0, 0))
            for make in (tiles.dot, tiles.totals)
        ]
        numbers = _DotsNumbers(
            tasks=spec.groups * (self.all_channels // channels) * (self.out // out), entry=dividing(work), shared=shared.size,
            scratch=0, clear=0, parts=self.all_channels // channels, out_parts=self.out // out,
            x_group=spec.x[1] * self.all_channels * size, x_part=spec.x[1] * channels * size,
            dy_group=spec.y[1] * self.out * size, dy_part=spec.y[1] * out * size,
            dw_group=self.out * self.columns * size, dw_part=columns * size, dw_out=out * self.columns * size,
            n=spec.n, together=together, rows=p.rows, band=copies.rows, row=p.columns,
            x_image=spec.x[0] * size, dy_image=spec.y[0] * size,
            copies=copied(words, session, kind, size, p, copies, channels),
            copied=0 if copies.none else own.take(together * channels * copies.channel()),
            gradients=copied(words, session, kind, size, same, gradients, out),
            dense=0 if gradients.none else own.take(together * out * gradients.channel()),
            table=table, channels=channels, taps=len(p.taps), taps_at=taps(words, p, copies, size),
            sums=own.take(out * columns * self.lanes), sums_size=out * columns * self.lanes * size,
            a_row=gradients.channel() * size, c_row=self.columns * size, out=out, columns=columns, block=block,
            high=high, wide=widths[0], rest_wide=widths[1], calls=words.add(calls),
        )  # fmt: skip
        return words.behind(numbers._replace(scratch=own.size))

    def divide(self, work: int) -> tuple[int, int]:
        """Of how many channels and output channels a task is made: such that its sums stay in the cache, and, where that is
        worth it, such that there are some tasks."""
        per_channel = self.out * len(self.p.taps) * self.lanes * self.size
        most = max(1, SUMS // per_channel)
        if work >= WORTH_DIVIDING and self.spec.groups < TASKS:
            most = min(most, max(-(-self.all_channels // TASKS), -(-2 * self.width // len(self.p.taps))))
        channels = next(n for n in range(min(most, self.all_channels), 0, -1) if self.all_channels % n == 0)
        if channels == self.all_channels and work >= WORTH_DIVIDING and self.spec.groups == 1:
            for out in range(self.height, self.out, self.height):
                if self.out % out == 0 and self.out // out <= TASKS:
                    return channels, out
        return channels, self.out

    def filled(self, columns: int) -> float:
        """How much of their width tiles use on so many columns."""
        return columns / (-(-columns // self.width) * self.width)


class _Dots(Convolution):
    """Writes the gradient of the weight: for each output channel and (channel, tap) an inner product over all positions.

    The positions are taken a *unit* at a time: several images, or a band of rows of one. Each unit adds to the result.
    """

    def __init__(self, session: Session, kind: str) -> None:
        super().__init__(session, kind, 3, _DotsNumbers._fields)
        self.job = self.stack(tiles.JOB_BYTES)

    def prepare(self, shared: Value) -> None:
        w, number = self.outer, self.outer_number
        w.clear(self.outer_pointers[2], number("clear"))
        some = number("tasks").compare("ne", 0)
        copies = self.record(number("copies"), Copied._fields, number)

        def fill() -> None:
            table = bytes_on(shared, number("table"))
            self.fill_table(table, number("channels"), copies("channel"), number("taps"), number("taps_at"))

        w.when(some, fill)

    def begin(self, a_image: Value, b_image: Value) -> None:
        """Fills in what the tiles have in common."""
        number, one = self.number, self.code.const(1.0, "double")
        fields: dict[int, Value | int] = {tiles.A_ROWS + r: number("a_row") * (r + 1) for r in range(4)}
        fields |= {tiles.C_ROW: number("c_row"), tiles.D_ROW: 0, tiles.ADDEND: 0, tiles.ALPHA: one, tiles.BETA: one}
        for field, value in (fields | {tiles.A_IMAGE: a_image, tiles.B_IMAGE: b_image}).items():
            self.set(self.job, field, value)

    def task(self, task: Value) -> None:
        number = self.number
        parts, out_parts = number("parts"), number("out_parts")
        o, rest = task.binary("urem", out_parts), task.binary("udiv", out_parts)
        g, c = rest.binary("udiv", parts), rest.binary("urem", parts)
        x = bytes_on(self.pointers[0], g * number("x_group") + c * number("x_part"))
        dy = bytes_on(self.pointers[1], g * number("dy_group") + o * number("dy_part"))
        dw = bytes_on(self.pointers[2], g * number("dw_group") + c * number("dw_part") + o * number("dw_out"))
        self.sums = bytes_on(self.scratch, number("sums"))
        self.clear(self.sums, number("sums_size"))

        def unit(first: Value, images: Value, _: Value) -> None:
            from_x, from_dy = bytes_on(x, first * number("x_image")), bytes_on(dy, first * number("dy_image"))
            self.parts(number("rows"), number("band"), lambda start, rows, _: self.unit(from_x, from_dy, images, start, rows))

        self.parts(number("n"), number("together"), unit)

        def total(top: Value, left: Value, sums: Value, calls: Value) -> None:
            c = bytes_on(dw, top * number("c_row") + left * self.size)
            self.code.invoke(calls.offset(1, "i64").load("ptr"), [c, sums, c, self.job])

        self.each_tile(total)

    def each_tile(self, body: Callable[[Value, Value, Value, Value], None]) -> None:
        """``body(top, left, sums, calls)`` for all tiles of a task."""
        number, vector = self.number, self.lanes * self.size
        all_calls = bytes_on(number.words, number("calls"))

        def block(start: Value, some: Value, is_rest: Value) -> None:
            sums_of_block = bytes_on(self.sums, start * number("out") * vector)
            calls_of_block = all_calls.offset(is_rest.convert("zext", "i64") * 8, "i64")
            wide = is_rest.select(number("rest_wide"), number("wide"))

            def strip(top: Value, high: Value, is_rest: Value) -> None:
                sums = bytes_on(sums_of_block, top * some * vector)
                calls = calls_of_block.offset(is_rest.convert("zext", "i64") * 4, "i64")

                def tile(left: Value, _: Value, is_rest: Value) -> None:
                    place = bytes_on(sums, left * high * vector)
                    body(top, start + left, place, calls.offset(is_rest.convert("zext", "i64") * 2, "i64"))

                self.parts(some, wide, tile)

            self.parts(number("out"), number("high"), strip)

        self.parts(number("columns"), number("block"), block)

    def unit(self, x: Value, dy: Value, images: Value, start: Value, rows: Value) -> None:
        number = self.number
        copies, gradients = (self.record(number(n), Copied._fields) for n in ("copies", "gradients"))
        b, b_image = self.gather(copies, x, bytes_on(self.scratch, number("copied")), start, images)
        a, a_image = self.gather(gradients, dy, bytes_on(self.scratch, number("dense")), start, images)
        self.begin(a_image, b_image)
        positions = rows * number("row")
        vectors, rest = positions.binary("udiv", self.lanes), positions.binary("urem", self.lanes)
        self.set(self.job, tiles.MASK, (self.code.index(1) << rest) - 1)
        self.set(self.job, tiles.IMAGES, images)
        table = bytes_on(self.shared, number("table"))

        def tile(top: Value, left: Value, sums: Value, calls: Value) -> None:
            self.set(self.job, tiles.TABLE, table.offset(left, "i64"))
            self.code.invoke(calls.load("ptr"), [bytes_on(a, top * number("a_row")), b, sums, vectors, self.job])

        self.each_tile(tile)


# --- outer products ----------------------------------------------------------------------------------------------------

POSITIONS = 128
"""Positions that all tiles meet before the next ones do: their gradients stay in the first cache."""

FEWEST = 48
"""With fewer (channel, tap)s, transposing the gradient takes longer than it saves."""


class _OuterNumbers(NamedTuple):
    """A task is some of the channels of a group in some of the images, or in bands of their rows. It has sums of its own."""

    tasks: int
    entry: int
    shared: int
    scratch: int
    blocks: int  # of channels
    per_group: int
    parts: int  # of the units
    per: int  # units of one
    units: int
    x_block: int
    dy_group: int
    dw_group: int
    dw_block: int
    dw_out: int
    n: int
    together: int  # images of a unit
    bands: int
    rows: int
    band: int
    row: int  # positions in one
    positions: int  # of a unit's images,
    step: int  # and those that all tiles meet before the next ones do
    x_image: int
    dy_image: int
    copies: int
    copied: int
    gradients: int
    dense: int
    turned: int
    turned_vector: int  # bytes of a vector of output channels at all positions of a unit
    table: int
    channels: int
    taps: int
    taps_at: int
    sums: int
    sums_size: int
    sums_vector: int  # bytes of a vector of output channels for all columns
    out: int
    columns: int
    vectors: int  # of output channels
    panel: int  # vectors of one
    high: int
    calls: int  # for each panel and tile, whether whole or not


class _OuterWords(_Words):
    """The words of a gradient that is made of outer products."""

    def __init__(self, session: Session, spec: ConvSpec) -> None:
        super().__init__(session, spec)
        self.vectors, count, many = -(-self.out // self.lanes), len(self.p.taps), session.machine.registers >= 32
        self.wide = self.vectors * self.lanes
        most = max(1, min(self.all_channels, SUMS // max(1, count * self.wide * self.size)))
        self.channels = next(n for n in range(most, 0, -1) if self.all_channels % n == 0)
        self.columns = self.channels * count  # of the weight seen as a matrix
        self.panel = evenly(self.vectors, 4 if many else 2)
        self.high = evenly(self.columns, min((24 if many else 12) // self.panel, 12))

    def made(self) -> tuple[int, ...]:
        spec, p, size, session, kind = self.spec, self.p, self.size, self.session, self.kind
        words = Words(_OuterNumbers._fields)
        channels, columns, out = self.channels, self.columns, self.out
        work = spec.n * spec.o * self.all_channels * len(p.taps) * p.rows * p.columns
        per_group = self.all_channels // channels
        blocks = spec.groups * per_group
        copies = Copies(p, spec.h, spec.w, spec.x)
        copies.limit(channels, size, -(-TASKS // (spec.n * blocks)) if work >= WORTH_DIVIDING else 1)
        bands, positions = -(-p.rows // copies.rows), copies.rows * p.columns
        together = 1
        if bands == 1:
            memory = 0 if copies.none else channels * copies.channel() * size
            together = max(1, min(-(-spec.n // TASKS), POSITIONS // positions, COPIES // max(memory, 1)))
        units = -(-spec.n // together) * bands
        parts = max(1, min(units, -(-TASKS // blocks)))
        per = -(-units // parts)
        parts = -(-units // per)
        same, gradients = _gradients(p, spec, copies.rows)
        shared, own = Room(size), Room(size)
        calls = [
            session.memo[_outer_tile(session, kind, high, wide)] if high and wide else 0
            for wide in (self.panel, self.vectors % self.panel)
            for high in (self.high, columns % self.high)
        ]
        across = per_group * columns * size  # from output channel to output channel
        numbers = _OuterNumbers(
            tasks=blocks * parts, entry=dividing(work), shared=0, scratch=0, blocks=blocks, per_group=per_group,
            parts=parts, per=per, units=units, x_block=spec.x[1] * channels * size, dy_group=spec.y[1] * out * size,
            dw_group=out * across, dw_block=columns * size, dw_out=across, n=spec.n, together=together, bands=bands, rows=p.rows,
            band=copies.rows, row=p.columns, positions=positions, step=evenly(positions, POSITIONS),
            x_image=spec.x[0] * size, dy_image=spec.y[0] * size,
            copies=copied(words, session, kind, size, p, copies, channels),
            copied=0 if copies.none else own.take(together * channels * copies.channel()),
            gradients=copied(words, session, kind, size, same, gradients, out),
            dense=0 if gradients.none else own.take(together * out * gradients.channel()),
            turned=own.take(together * positions * self.wide), turned_vector=together * positions * self.lanes * size,
            table=shared.take(columns * 8 // size), channels=channels, taps=len(p.taps), taps_at=taps(words, p, copies, size),
            sums=shared.take(blocks * parts * columns * self.wide), sums_size=columns * self.wide * size,
            sums_vector=columns * self.lanes * size, out=out, columns=columns, vectors=self.vectors, panel=self.panel,
            high=self.high, calls=words.add(calls),
        )  # fmt: skip
        packing.pack_transposed(session, kind)
        return words.behind(numbers._replace(shared=shared.size, scratch=own.size))


class _Outer(Convolution):
    """Writes the gradient of the weight as sums of outer products; see :class:`_OuterNumbers`."""

    def __init__(self, session: Session, kind: str) -> None:
        super().__init__(session, kind, 3, _OuterNumbers._fields)

    def prepare(self, shared: Value) -> None:
        number = self.outer_number
        copies = self.record(number("copies"), Copied._fields, number)
        table = bytes_on(shared, number("table"))
        self.fill_table(table, number("channels"), copies("channel"), number("taps"), number("taps_at"))

    def task(self, task: Value) -> None:
        number = self.number
        parts, per = number("parts"), number("per")
        block, part = task.binary("udiv", parts), task.binary("urem", parts)
        x = bytes_on(self.pointers[0], block * number("x_block"))
        dy = bytes_on(self.pointers[1], block.binary("udiv", number("per_group")) * number("dy_group"))
        sums = bytes_on(bytes_on(self.shared, number("sums")), task * number("sums_size"))
        self.clear(sums, number("sums_size"))
        first = part * per
        last = (first + per).intrinsic("umin", number("units"))
        self.between(first, last, lambda unit: self.unit(x, dy, sums, unit))

    def unit(self, x: Value, dy: Value, sums: Value, unit: Value) -> None:
        """Some images, or a band of one: its copies, its gradients turned, and all tiles."""
        number = self.number
        bands, together = number("bands"), number("together")
        image, start = unit.binary("udiv", bands) * together, unit.binary("urem", bands) * number("band")
        images = (number("n") - image).intrinsic("umin", together)
        rows = (number("rows") - start).intrinsic("umin", number("band"))
        copies, gradients = (self.record(number(n), Copied._fields) for n in ("copies", "gradients"))
        from_x, from_dy = bytes_on(x, image * number("x_image")), bytes_on(dy, image * number("dy_image"))
        b, b_image = self.gather(copies, from_x, bytes_on(self.scratch, number("copied")), start, images)
        a, a_image = self.gather(gradients, from_dy, bytes_on(self.scratch, number("dense")), start, images)
        a_channel = gradients("channel")
        positions = rows * number("row")
        self.times(images, lambda n: self.turn(bytes_on(a, n * a_image), a_channel, n, positions))

        def some(at: Value, count: Value, _: Value) -> None:
            self.block(bytes_on(b, at * self.size), at, count, images, b_image, sums)

        self.parts(positions, number("step"), some)

    def each_panel(self, body: Callable[[Value, Value, Value], None]) -> None:
        """``body(first, wide, is_rest)`` for panels of output channels: where they begin and how wide they are, in vectors."""
        self.parts(self.number("vectors"), self.number("panel"), body)

    def turn(self, source: Value, channel: Value, n: Value, positions: Value) -> None:
        """Transposes the gradients of an image into panels: one after the other, in which positions follow each other."""
        number, vector = self.number, self.lanes * self.size
        name = packing.pack_transposed(self.session, self.kind)
        turned = bytes_on(self.scratch, number("turned"))

        def panel(first: Value, wide: Value, _: Value) -> None:
            place = bytes_on(turned, first * number("turned_vector") + n * number("positions") * wide * vector)

            def one(v: Value) -> None:
                top = (first + v) * self.lanes
                count = (number("out") - top).intrinsic("umin", self.lanes)
                rows = bytes_on(source, top * channel)
                self.perform(name, bytes_on(place, v * vector), rows, positions, channel, count, wide * vector)

            self.times(wide, one)

        self.each_panel(panel)

    def block(self, b: Value, at: Value, steps: Value, images: Value, apart: Value, sums: Value) -> None:
        """All tiles, for some positions of some images."""
        number, vector = self.number, self.lanes * self.size
        turned, table = bytes_on(self.scratch, number("turned")), bytes_on(self.shared, number("table"))
        all_calls = bytes_on(number.words, number("calls"))

        def panel(first: Value, wide: Value, is_rest: Value) -> None:
            gradients = bytes_on(turned, first * number("turned_vector") + at * wide * vector)
            place = bytes_on(sums, first * number("sums_vector"))
            calls = all_calls.offset(is_rest.convert("zext", "i64") * 2, "i64")

            def tile(top: Value, _: Value, is_rest: Value) -> None:
                address = calls.offset(is_rest.convert("zext", "i64"), "i64").load("ptr")
                to = bytes_on(place, top * wide * vector)
                self.code.invoke(address, [b, gradients, to, table.offset(top, "i64"), steps, images, apart])

            self.parts(number("columns"), number("high"), tile)

        self.each_panel(panel)

    def conclude(self, shared: Value) -> None:
        """The sums of all parts, added in order, to their places."""
        w, number, lanes = self.outer, self.outer_number, self.lanes
        columns, size, vector = number("columns"), number("sums_size"), lanes * self.size
        across = number("dw_out").binary("udiv", self.size).splat(lanes) * w.code.vector(range(lanes), "i64")
        per, sums = number("per_group"), bytes_on(shared, number("sums"))

        def block(i: Value) -> None:
            to = bytes_on(self.outer_pointers[2], i.binary("udiv", per) * number("dw_group"))
            to = bytes_on(to, i.binary("urem", per) * number("dw_block"))
            source = bytes_on(sums, i * number("parts") * size)

            def panel(first: Value, wide: Value, _: Value) -> None:
                from_panel = bytes_on(source, first * number("sums_vector"))

                def one(v: Value) -> None:
                    top = (first + v) * lanes
                    places = top.splat(lanes) + w.code.vector(range(lanes), "i64")
                    mask = places.compare("slt", number("out").splat(lanes))
                    to_vector = bytes_on(to, top * number("dw_out"))

                    def column(j: Value) -> None:
                        place = bytes_on(from_panel, (j * wide + v) * vector)

                        def add(k: Value, total: list[Value]) -> list[Value]:
                            return [total[0] + bytes_on(place, k * size).load(self.kind, lanes)]

                        start = [place.load(self.kind, lanes)]
                        (total,) = w.code.loop(w.code.index(1), number("parts"), 1, start, add)
                        memory.store(to_vector.offset(j, self.kind), total, across, mask)

                    w.times(columns, column)

                w.times(wide, one)

            w.parts(number("vectors"), number("panel"), panel)

        w.times(number("blocks"), block)


def _outer_tile(session: Session, kind: str, rows: int, vectors: int) -> str:
    """``tile(a, b, sums, table, steps, images, apart)``: adds outer products to ``rows x vectors`` sums.

    A step's numbers of A lie at the offsets that the table has, and from step to step they are neighbours; B has vectors
    that follow each other without gaps. Images are ``apart`` bytes from each other in A.
    """
    lanes, size = lanes_of(session, kind), BITS[kind] // 8

    def write(code: Code) -> None:
        a, b, place, table = (parameter(code, n) for n in ("a", "b", "sums", "table"))
        steps, images, apart = (parameter(code, n, "i64") for n in ("steps", "images", "apart"))
        offsets = [table.offset(r, "i64").load("i64") for r in range(rows)]
        sums = tiles.Columns(code, kind, lanes, rows * vectors, None)
        columns = tiles.Columns(code, kind, lanes, vectors, None)

        def image(n: Value, carried: list[Value]) -> list[Value]:
            start = bytes_on(a, n * apart)
            numbers = [bytes_on(start, offset) for offset in offsets]

            def step(at: Value, carried: list[Value]) -> list[Value]:
                p, *totals = carried
                ys = columns.load(p)
                for r, number in enumerate(numbers):
                    x = bytes_on(number, at).load(kind).splat(lanes)
                    for v, y in enumerate(ys):
                        totals[r * vectors + v] = x.fma(y, totals[r * vectors + v])
                return [bytes_on(p, vectors * lanes * size), *totals]

            return code.loop(code.index(0), steps * size, size, carried, step)

        found = code.loop(code.index(0), images, 1, [b, *sums.load(place)], image)
        sums.store(place, found[1:])

    parameters = "ptr %a, ptr %b, ptr %sums, ptr %table, i64 %steps, i64 %images, i64 %apart"
    return shared(session, f"flambeau_outer_{kind}_{rows}x{vectors}", parameters, write)

"""The gradient of a convolution's weight: for each output channel and (channel, tap) the sum over all positions of the
result's gradient times the copy's number.

Where there are channels enough, it is made of outer products: at each position the gradients of some output channels, as
vectors, times the numbers of some (channel, tap)s. The gradient is transposed first, such that the output channels of a
position are neighbours. Else it is made of inner products over the positions, whose vectors have to be summed in the end.
"""

from __future__ import annotations

from collections.abc import Callable

from flambeau.engine.cpu import packing, tiles
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.conv_copies import COPIES, Convolution, Copies, Pass, Tap, passes
from flambeau.engine.cpu.emit import BITS, Code, Value
from flambeau.engine.cpu.frame import bytes_on, evenly, lanes_of, parameter, shared
from flambeau.engine.cpu.gemm import WORTH_DIVIDING
from flambeau.engine.cpu.memory import store
from flambeau.engine.cpu.specs import ConvSpec

UNIT = 576
"""Positions that a unit of the gradient of the weight should have: some rows of them fit into the first cache."""

BLOCK = 28 << 10
"""Bytes of the copies that meet all strips of the gradient before the next ones do."""

SUMS = 1 << 20
"""Bytes of the sums of a task of the gradient of the weight."""

TASKS = 4
"""Into how many tasks that gradient is divided, if it can be: each of them reads the whole gradient of the result."""

_ITSELF = (Tap(0, 0, 0),)


class _Dots(Convolution):
    """Writes the gradient of the weight: for each output channel and (channel, tap) an inner product over all positions.

    A task is some of the channels of a group (or, where there are few, some of the output channels). The positions are taken
    a *unit* at a time: several images, or a band of rows of one. Each unit adds to the result.
    """

    def __init__(self, session: Session, spec: ConvSpec) -> None:
        super().__init__(session, spec, 3)
        (self.p,) = passes(spec)
        self.out, self.channels = spec.o // spec.groups, spec.c // spec.groups
        self.columns = self.channels * len(self.p.taps)  # of the weight seen as a matrix
        self.height, self.width = (4, 6) if session.machine.registers >= 32 else (2, 5)

    def write(self) -> None:
        spec, p, code = self.spec, self.p, self.outer.code
        total = spec.groups * self.out * self.columns * self.size
        zero, no = Value(code, "0", "i8", 0), Value(code, "false", "i1", 0)
        work = spec.n * spec.groups * self.out * self.columns * p.rows * p.columns
        if not work:
            code.perform("llvm.memset.p0.i64", [self.outer_pointers[2], zero, code.index(total), no])
            return
        channels, out = self.divide(work)
        tasks = spec.groups * (self.channels // channels) * (self.out // out)
        copies = self.copies = Copies(p, spec.h, spec.w, spec.x)
        copies.limit(channels, self.size)
        copies.rows = min(copies.rows, evenly(p.rows, max(1, UNIT // p.columns)))
        gapless = spec.y[3] == 1 and spec.y[2] == p.columns
        self.same = Pass(p.rows, p.columns, 1, 1, _ITSELF)
        self.gradients = Copies(self.same, p.rows, p.columns, spec.y)
        self.gradients.none = gapless
        self.gradients.rows = copies.rows
        self.together = 1 if copies.rows < p.rows else evenly(spec.n, -(-UNIT // (p.rows * p.columns)))
        table = self.outer.take(channels * len(p.taps) * 8 // self.size)
        shared, memory = self.outer.heap()
        self.fill_table(bytes_on(shared, table), channels, copies.channel(), copies.offsets(p))
        copied = 0 if copies.none else self.take(self.together * channels * copies.channel())
        dense = 0 if gapless else self.take(self.together * out * self.gradients.channel())
        sums = self.take(out * channels * len(p.taps) * self.lanes)
        self.table = bytes_on(self.shared, table)
        scratch, own = self.heap()
        self.copied, self.dense, self.sums = (bytes_on(scratch, at) for at in (copied, dense, sums))
        # Channels whose copies stay in the first cache while all strips of the gradient pass them.
        per_channel = self.together * self.size * (p.rows * p.columns if copies.none else copies.channel())
        fitting = [n for n in range(1, channels + 1) if channels % n == 0 and (n <= BLOCK // per_channel or n <= 2)]
        self.block = len(p.taps) * max(fitting, key=lambda n: (self.filled(n * len(p.taps)), n))
        self.prepare_job(channels, out)
        self.tasks(lambda task: self.task(task, channels, out))
        self.release(own)
        self.finish(tasks, work, shared, memory)

    def divide(self, work: int) -> tuple[int, int]:
        """Of how many channels and output channels a task is made: such that its sums stay in the cache, and, where that is
        worth it, such that there are some tasks."""
        per_channel = self.out * len(self.p.taps) * self.lanes * self.size
        most = max(1, SUMS // per_channel)
        if work >= WORTH_DIVIDING and self.spec.groups < TASKS:
            most = min(most, max(-(-self.channels // TASKS), -(-2 * self.width // len(self.p.taps))))
        channels = next(n for n in range(min(most, self.channels), 0, -1) if self.channels % n == 0)
        if channels == self.channels and work >= WORTH_DIVIDING and self.spec.groups == 1:
            for out in range(self.height, self.out, self.height):
                if self.out % out == 0 and self.out // out <= TASKS:
                    return channels, out
        return channels, self.out

    def filled(self, columns: int) -> float:
        """How much of their width tiles use on so many columns."""
        return columns / (-(-columns // self.width) * self.width)

    def prepare_job(self, channels: int, out: int) -> None:
        spec, size = self.spec, self.size
        self.job = self.stack(tiles.JOB_BYTES)
        self.a_row = self.gradients.channel()
        one = self.code.const(1.0, "double")
        fields: dict[int, Value | int] = {tiles.A_ROWS + r: (r + 1) * self.a_row * size for r in range(4)}
        fields |= {tiles.C_ROW: self.columns * size, tiles.D_ROW: 0, tiles.ADDEND: 0, tiles.ALPHA: one, tiles.BETA: one}
        fields[tiles.A_IMAGE] = (spec.y[0] if self.gradients.none else out * self.a_row) * size
        fields[tiles.B_IMAGE] = (spec.x[0] if self.copies.none else channels * self.copies.channel()) * size
        for field, value in fields.items():
            self.set(self.job, field, value)

    def task(self, task: Value, channels: int, out: int) -> None:
        spec = self.spec
        g: Value | int = task
        c: Value | int = 0
        o: Value | int = 0
        if channels < self.channels:
            g, c = task.binary("udiv", self.channels // channels), task.binary("urem", self.channels // channels)
        elif out < self.out:
            g, o = task.binary("udiv", self.out // out), task.binary("urem", self.out // out)
        x = self.go(self.go(self.pointers[0], g, spec.x[1] * self.channels), c, spec.x[1] * channels)
        dy = self.go(self.go(self.pointers[1], g, spec.y[1] * self.out), o, spec.y[1] * out)
        dw = self.go(self.go(self.pointers[2], g, self.out * self.columns), c, channels * len(self.p.taps))
        dw = self.go(dw, o, out * self.columns)

        columns = channels * len(self.p.taps)
        size = out * columns * self.lanes * self.size
        zero, no = Value(self.code, "0", "i8", 0), Value(self.code, "false", "i1", 0)
        self.code.perform("llvm.memset.p0.i64", [self.sums, zero, self.code.index(size), no])

        def unit(first: Value | int, images: int) -> None:
            from_x, from_dy = self.go(x, first, spec.x[0]), self.go(dy, first, spec.y[0])

            def band(start: Value | int, rows: int) -> None:
                self.unit(from_x, from_dy, images, start, rows, channels, out)

            self.walk(self.p.rows, self.copies.rows, band)

        self.walk(spec.n, self.together, unit)

        def total(top: Value | int, high: int, left: Value | int, wide: int, sums: Value) -> None:
            part = tiles.totals(self.session, self.kind, high, wide)
            c = self.go(self.go(dw, top, self.columns), left, 1)
            self.perform(part, c, sums, c, self.job)

        self.each_tile(out, columns, total)

    def each_tile(
        self, out: int, columns: int, body: Callable[[Value | int, int, Value | int, int, Value], None]
    ) -> None:
        """``body(top, rows, left, columns, sums)`` for all tiles of a task."""

        def block(start: Value | int, some: int) -> None:
            sums_of_block = self.go(self.sums, start, out * self.lanes)

            def strip(top: Value | int, high: int) -> None:
                sums = self.go(sums_of_block, top, some * self.lanes)

                def tile(left: Value | int, wide: int) -> None:
                    body(top, high, start + left, wide, self.go(sums, left, high * self.lanes))

                self.walk(some, evenly(some, self.width), tile)

            self.walk(out, evenly(out, self.height), strip)

        self.walk(columns, self.block, block)

    def unit(self, x: Value, dy: Value, images: int, start: Value | int, rows: int, channels: int, out: int) -> None:
        a, b = self.go(dy, start, self.p.columns), self.go(x, start, self.p.columns)
        if not self.copies.none:
            b = self.copied
            self.copy_images(self.p, self.copies, x, b, channels, images, start)
        if not self.gradients.none:
            a = self.dense
            self.copy_images(self.same, self.gradients, dy, a, out, images, start)
        vectors, rest = divmod(rows * self.p.columns, self.lanes)
        self.set(self.job, tiles.MASK, (1 << rest) - 1)
        self.set(self.job, tiles.IMAGES, images)

        def tile(top: Value | int, high: int, left: Value | int, wide: int, sums: Value) -> None:
            self.set(self.job, tiles.TABLE, self.table.offset(left, "i64"))
            part = tiles.dot(self.session, self.kind, high, wide)
            self.perform(part, self.go(a, top, self.a_row), b, sums, vectors, self.job)

        self.each_tile(out, channels * len(self.p.taps), tile)

    def copy_images(
        self, p: Pass, copies: Copies, source: Value, to: Value, channels: int, images: int, start: Value | int
    ) -> None:
        def one(n: Value | int) -> None:
            place = self.go(to, n, channels * copies.channel())
            self.copy(p, copies, self.go(source, n, copies.strides[0]), place, channels, start)

        self.each(images, one)


# --- outer products ----------------------------------------------------------------------------------------------------

POSITIONS = 128
"""Positions that all tiles meet before the next ones do: their gradients stay in the first cache."""

FEWEST = 48
"""With fewer (channel, tap)s, transposing the gradient takes longer than it saves."""


class _Outer(Convolution):
    """A task is some of the channels of a group in some of the images, or in bands of their rows. It has sums of its own."""

    def __init__(self, session: Session, spec: ConvSpec) -> None:
        super().__init__(session, spec, 3)
        (self.p,) = passes(spec)
        self.out, self.all_channels = spec.o // spec.groups, spec.c // spec.groups
        vectors, taps, many = -(-self.out // self.lanes), len(self.p.taps), session.machine.registers >= 32
        self.wide = vectors * self.lanes
        most = max(1, min(self.all_channels, SUMS // (taps * self.wide * self.size)))
        self.channels = next(n for n in range(most, 0, -1) if self.all_channels % n == 0)
        self.columns = self.channels * taps  # of the weight seen as a matrix
        self.vectors = evenly(vectors, 4 if many else 2)
        self.height = evenly(self.columns, min((24 if many else 12) // self.vectors, 12))
        # Panels of output channels: where they begin and how wide they are, in vectors.
        self.panels = [(v, min(self.vectors, vectors - v)) for v in range(0, vectors, self.vectors)]

    def write(self) -> None:
        spec, p = self.spec, self.p
        work = spec.n * spec.o * self.all_channels * len(p.taps) * p.rows * p.columns
        self.blocks = spec.groups * (self.all_channels // self.channels)
        copies = self.copies = Copies(p, spec.h, spec.w, spec.x)
        copies.limit(self.channels, self.size, -(-TASKS // (spec.n * self.blocks)) if work >= WORTH_DIVIDING else 1)
        self.bands = -(-p.rows // copies.rows)
        self.positions = copies.rows * p.columns
        self.together = 1  # images of a unit
        if self.bands == 1:
            size = 0 if copies.none else self.channels * copies.channel() * self.size
            self.together = max(1, min(-(-spec.n // TASKS), POSITIONS // self.positions, COPIES // max(size, 1)))
        self.units = -(-spec.n // self.together) * self.bands
        parts = max(1, min(self.units, -(-TASKS // self.blocks)))
        self.per = -(-self.units // parts)
        self.parts = -(-self.units // self.per)
        self.same = Pass(p.rows, p.columns, 1, 1, _ITSELF)
        self.gradients = Copies(self.same, p.rows, p.columns, spec.y)
        self.gradients.none = spec.y[3] == 1 and spec.y[2] == p.columns
        self.gradients.rows = copies.rows

        table = self.outer.take(self.columns * 8 // self.size)
        sums = self.outer.take(self.blocks * self.parts * self.columns * self.wide)
        common, memory = self.outer.heap()
        self.fill_table(bytes_on(common, table), self.channels, copies.channel(), copies.offsets(p))
        copied = 0 if copies.none else self.take(self.together * self.channels * copies.channel())
        dense = 0 if self.gradients.none else self.take(self.together * self.out * self.gradients.channel())
        turned = self.take(self.together * self.positions * self.wide)
        self.table, self.sums = bytes_on(self.shared, table), bytes_on(self.shared, sums)
        scratch, own = self.heap()
        self.copied, self.dense, self.turned = (bytes_on(scratch, at) for at in (copied, dense, turned))
        self.tasks(self.task)
        self.release(own)
        self.finish(self.blocks * self.parts, work, common, memory, lambda: self.add_parts(bytes_on(common, sums)))

    def task(self, task: Value) -> None:
        spec, code = self.spec, self.code
        block, part = task.binary("udiv", self.parts), task.binary("urem", self.parts)
        g = block.binary("udiv", self.all_channels // self.channels)
        x = self.go(self.pointers[0], block, spec.x[1] * self.channels)
        dy = self.go(self.pointers[1], g, spec.y[1] * self.out)
        sums = self.go(self.sums, task, self.columns * self.wide)
        zero, no = Value(code, "0", "i8", 0), Value(code, "false", "i1", 0)
        code.perform("llvm.memset.p0.i64", [sums, zero, code.index(self.columns * self.wide * self.size), no])
        first = part * self.per
        last = (first + self.per).intrinsic("umin", self.units)
        self.between(first, last, lambda unit: self.unit(x, dy, sums, unit))

    def unit(self, x: Value, dy: Value, sums: Value, unit: Value) -> None:
        """Some images, or a band of one: its copies, its gradients turned, and all tiles."""
        spec, p, copies = self.spec, self.p, self.copies
        images: Value | int = 1
        start: Value | int = 0
        rows: Value | int = p.rows
        image = unit * self.together
        if self.bands > 1:
            image, start = unit.binary("udiv", self.bands), unit.binary("urem", self.bands) * copies.rows
            rows = (p.rows - start).intrinsic("umin", copies.rows)
        elif self.together > 1:
            images = (spec.n - image).intrinsic("umin", self.together)
        b, a = self.go(x, image, spec.x[0]), self.go(dy, image, spec.y[0])
        b_image, (a_image, a_channel) = spec.x[0], spec.y[:2]
        if copies.none:
            b = self.go(b, start, p.columns)
        else:
            b_image = self.channels * copies.channel()
            source = b
            b = self.copied
            self.repeat(images, lambda n: self.copy(
                p, copies, self.go(source, n, spec.x[0]), self.go(b, n, b_image), self.channels, start))  # fmt: skip
        if self.gradients.none:
            a = self.go(a, start, p.columns)
        else:
            a_channel = self.gradients.channel()
            a_image = self.out * a_channel
            given = a
            a = self.dense
            self.repeat(images, lambda n: self.copy(
                self.same, self.gradients, self.go(given, n, spec.y[0]), self.go(a, n, a_image), self.out, start))  # fmt: skip
        positions = rows * p.columns
        self.repeat(images, lambda n: self.turn(self.go(a, n, a_image), a_channel, n, positions))
        if self.together > 1:
            self.block(b, 0, self.positions, images, b_image, sums)
            return

        size = evenly(self.positions, POSITIONS)

        def some(at: Value, _: list[Value]) -> list[Value]:
            left = (positions - at) if isinstance(positions, Value) else self.code.index(positions) - at
            self.block(self.go(b, at, 1), at, left.intrinsic("umin", size), 1, 0, sums)
            return []

        end = positions if isinstance(positions, Value) else self.code.index(positions)
        self.code.loop(self.code.index(0), end, size, [], some)

    def repeat(self, count: Value | int, body: Callable[[Value | int], None]) -> None:
        if isinstance(count, Value):
            self.between(self.code.index(0), count, body)
        else:
            self.each(count, body)

    def turn(self, source: Value, channel: int, n: Value | int, positions: Value | int) -> None:
        """Transposes the gradients of an image into panels: one after the other, in which positions follow each other."""
        part = packing.pack_transposed(self.session, self.kind)
        for first, wide in self.panels:
            panel = self.go(self.turned, self.together * self.positions, first * self.lanes)
            panel = self.go(panel, n, self.positions * wide * self.lanes)
            for v in range(wide):
                top = (first + v) * self.lanes
                rows = self.go(source, top, channel)
                count = min(self.lanes, self.out - top)
                to = self.go(panel, v, self.lanes)
                self.perform(part, to, rows, positions, channel * self.size, count, wide * self.lanes * self.size)

    def block(self, b: Value, at: Value | int, steps: Value | int, images: Value | int, apart: int, sums: Value) -> None:
        """All tiles, for some positions of some images."""
        for first, wide in self.panels:
            gradients = self.go(self.turned, self.together * self.positions, first * self.lanes)
            gradients = self.go(gradients, at, wide * self.lanes)
            place = self.go(sums, self.columns, first * self.lanes)

            def tile(top: Value | int, high: int, gradients=gradients, place=place, wide=wide) -> None:
                name = _outer_tile(self.session, self.kind, high, wide)
                to = self.go(place, top, wide * self.lanes)
                table = self.table.offset(top, "i64")
                self.perform(name, b, gradients, to, table, steps, images, apart * self.size)

            self.walk(self.columns, self.height, tile)

    def add_parts(self, sums: Value) -> None:
        """The sums of all parts, added in order, to their places."""
        w, size = self.outer, self.columns * self.wide
        per = self.all_channels // self.channels
        across = per * self.columns  # from output channel to output channel

        def block(number: Value | int) -> None:
            g, b = (number.binary(op, per) if isinstance(number, Value) else 0 for op in ("udiv", "urem"))
            to = w.go(w.go(self.outer_pointers[2], g, self.out * across), b, self.columns)
            source = w.go(sums, number, self.parts * size)
            for first, wide in self.panels:
                panel = w.go(source, self.columns, first * self.lanes)
                for v in range(wide):
                    top = (first + v) * self.lanes
                    mask = None
                    if self.out - top < self.lanes:
                        mask = w.code.vector([k < self.out - top for k in range(self.lanes)], "i1")

                    def column(j: Value | int, panel=panel, v=v, wide=wide, top=top, mask=mask) -> None:
                        place = w.go(w.go(panel, j, wide * self.lanes), v, self.lanes)
                        total = place.load(self.kind, self.lanes)
                        for k in range(1, self.parts):
                            total = total + w.go(place, k, size).load(self.kind, self.lanes)
                        store(w.go(w.go(to, top, across), j, 1), total, across, mask)

                    w.each(self.columns, column)

        w.each(self.blocks, block)


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


def weight_writer(session: Session, spec: ConvSpec) -> Convolution:
    """What writes the kernel for ``spec``, whichever is faster."""
    outer = _Outer(session, spec)
    filled = outer.out >= 0.6 * outer.wide and outer.all_channels * len(outer.p.taps) >= FEWEST
    worth = filled and min(spec.n, outer.p.rows, outer.p.columns) > 0
    return outer if worth else _Dots(session, spec)

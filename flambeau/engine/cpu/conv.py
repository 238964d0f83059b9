"""Convolutions, and their gradients, by register tiles.

``conv_kernel(spec)`` gives the address of ``void kernel(i8** args)``; ``args`` are ``{x, w, y[, bias]}`` forward,
``{dy, w, dx[, bias]}`` for the gradient of the input and ``{x, dy, dw}`` for that of the weight.

Forward and the gradient of the input are *passes*. A pass computes, for all output positions ``(t, u)``,

    out[m, t, u] = sum over channels c and taps k of  a[m, c, k] * source[c, t * row_step + row[k], u * column_step + column[k]]

with zeros outside of the source. Forward is one pass; the gradient of the input is one pass for each remainder that rows and
columns leave when divided by the stride, with the taps that reach it. The source's channels are copied, once for every column
of the kernel (and each remainder of its rows), such that the positions a tap reads follow each other without gaps. Then a
pass is a matrix product whose rows of B overlap: ``a`` times rows that begin at an offset for each (channel, tap).

The gradient of the weight is made of inner products over the same copies, several images at a time.
"""

from __future__ import annotations

from typing import NamedTuple

from flambeau.engine.cpu import packing, tiles
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.frame import Frame, bytes_on, evenly, kernel, lanes_of, parts
from flambeau.engine.cpu.specs import KINDS, ConvSpec

COPIES = 384 << 10
"""Bytes that the copies of the source may take: with what is read beside them they should stay in the second cache."""


class Tap(NamedTuple):
    """One element of the convolution's kernel: where its source lies for position (0, 0), and its place in the weight."""

    row: int
    column: int
    place: int


class Pass(NamedTuple):
    """See the module's text. The result goes to ``(start + t * step)``, for rows and for columns."""

    rows: int
    columns: int
    row_step: int
    column_step: int
    taps: tuple[Tap, ...]
    start: tuple[int, int] = (0, 0)
    step: tuple[int, int] = (1, 1)


def passes(spec: ConvSpec) -> list[Pass]:
    """The passes of a convolution, or of the gradient of its input."""
    kernel = [(i, j) for i in range(spec.kernel[0]) for j in range(spec.kernel[1])]
    (dr, dc), (pr, pc), (sr, sc) = spec.dilation, spec.padding, spec.stride
    if spec.part != "input":
        taps = tuple(Tap(i * dr - pr, j * dc - pc, n) for n, (i, j) in enumerate(kernel))
        return [Pass(*spec.size(), sr, sc, taps)]
    found = []
    for a in range(min(sr, spec.h)):
        for b in range(min(sc, spec.w)):
            shifts = [(a + pr - i * dr, b + pc - j * dc, n) for n, (i, j) in enumerate(kernel)]
            taps = tuple(Tap(i // sr, j // sc, n) for i, j, n in shifts if i % sr == 0 and j % sc == 0)
            found.append(Pass(-(-(spec.h - a) // sr), -(-(spec.w - b) // sc), 1, 1, taps, (a, b), (sr, sc)))
    return found


class Plane(NamedTuple):
    """One copy of a channel: row ``i`` is source row ``(i + low) * row_step + remainder``, its columns are shifted."""

    remainder: int
    low: int
    reach: int  # rows that it has beyond those of the result
    shift: int


class Copies:
    """How the copies of a source are laid out for ``rows`` rows of a pass at a time."""

    def __init__(self, p: Pass, height: int, width: int, strides: tuple[int, ...]) -> None:
        self.height = height
        self.width = width
        self.strides = strides
        offsets: dict[tuple[int, int], list[int]] = {}
        for tap in p.taps:
            offsets.setdefault((tap.row % p.row_step, tap.column), []).append(tap.row // p.row_step)
        self.planes = [Plane(r, min(e), max(e) - min(e), shift) for (r, shift), e in offsets.items()]
        below = all(0 <= t.row and t.row + p.rows <= height for t in p.taps)
        gapless = all(t.column == 0 for t in p.taps) and p.columns == width and (strides[2], strides[3]) == (width, 1)
        self.none = below and gapless and (p.row_step, p.column_step) == (1, 1)  # the source itself will do
        self.rows = p.rows
        self.columns = p.columns

    def limit(self, channels: int, size: int) -> None:
        """Has the pass done in bands of rows, if its copies would take too much memory."""
        per_row = channels * len(self.planes) * self.columns * size
        if not self.none and self.channel() * channels * size > COPIES and per_row:
            reach = max(p.reach for p in self.planes)
            self.rows = evenly(self.rows, max(COPIES // per_row - reach, 1))

    def starts(self) -> list[int]:
        """Where the planes of a channel begin, and where the last one ends, in elements."""
        at = [0]
        for plane in self.planes:
            at.append(at[-1] + (self.rows + plane.reach) * self.columns)
        return at

    def channel(self) -> int:
        """Elements from channel to channel."""
        return self.strides[1] if self.none else self.starts()[-1]

    def offsets(self, p: Pass) -> list[int]:
        """Where the row of B for each tap begins, in elements."""
        if self.none:
            return [tap.row * self.columns for tap in p.taps]
        starts = self.starts()
        found = []
        for tap in p.taps:
            at = next(i for i, x in enumerate(self.planes) if (x.remainder, x.shift) == (tap.row % p.row_step, tap.column))
            found.append(starts[at] + (tap.row // p.row_step - self.planes[at].low) * self.columns)
        return found


def conv_kernel(spec: ConvSpec, session: Session | None = None) -> int:
    """The address of the kernel for ``spec``. Raises ``ValueError`` where there is none (see ``ConvSpec.supported``)."""
    session = session or process_session()
    if spec not in session.memo:
        if not spec.supported():
            raise ValueError(f"no kernel for this convolution: {spec}")
        writer = {"forward": _Passes, "input": _Passes, "weight": _Weight}[spec.part](session, spec)
        writer.write()
        session.memo[spec] = kernel(session, "conv", spec, writer.code)
    address: int = session.memo[spec]
    return address


class _Convolution(Frame):
    """What the kernels have in common: a scratch memory, and the copies."""

    def __init__(self, session: Session, spec: ConvSpec) -> None:
        super().__init__(session, KINDS[spec.dtype.name])
        self.spec = spec
        self.taken = 0

    def take(self, elements: int) -> int:
        """Reserves room in the scratch memory, with a vector to spare; gives where it begins, in bytes."""
        start = self.taken
        self.taken += -(-(elements + self.lanes) * self.size // 64) * 64
        return start

    def fill_table(self, table: Value, channels: int, stride: int, offsets: list[int]) -> None:
        """For each channel and tap where its row of B begins, in bytes."""

        def channel(i: Value | int) -> None:
            base = i * (stride * self.size) if isinstance(i, Value) else i
            place = table.offset(i * len(offsets), "i64") if isinstance(i, Value) else table
            for n, offset in enumerate(offsets):
                at = base + offset * self.size if isinstance(base, Value) else self.code.index(offset * self.size)
                place.offset(n, "i64").store(at)

        self.each(channels, channel)

    def copy(self, p: Pass, copies: Copies, source: Value, to: Value, channels: int, start: Value | int) -> None:
        """Copies the channels that begin at ``source`` for the band of rows that begins at ``start``."""
        code, size = self.code, self.size
        image, channel, down, across = copies.strides
        step = p.column_step if across == 1 and p.column_step <= 2 else None
        part = packing.pack_plane(self.session, self.kind, step)
        starts = copies.starts()

        def one(c: Value | int) -> None:
            source_c, to_c = self.go(source, c, channel), self.go(to, c, copies.channel())
            for plane, at in zip(copies.planes, starts):
                # The first and the last row, and the columns, that are inside of the source.
                first = -(plane.remainder // p.row_step) - plane.low
                last = -(-(copies.height - plane.remainder) // p.row_step) - plane.low
                low = min(max(-(plane.shift // p.column_step), 0), copies.columns)
                high = min(max(-(-(copies.width - plane.shift) // p.column_step), low), copies.columns)
                corner = (plane.low * p.row_step + plane.remainder) * down + plane.shift * across
                begin = self.go(bytes_on(source_c, corner * size), start, p.row_step * down)
                seen = [code.index(x) - start if isinstance(start, Value) else x - start for x in (first, last)]
                steps = [p.row_step * down * size, copies.columns, low, high, p.column_step * across * size]
                self.perform(part, bytes_on(to_c, at * size), begin, copies.rows + plane.reach, *seen, *steps)

        self.each(channels, one)


class _Passes(_Convolution):
    """Writes the passes of a convolution or of the gradient of its input."""

    def write(self) -> None:
        spec = self.spec
        args = self.arguments(4 if spec.bias else 3)
        forward = spec.part == "forward"
        self.source, self.weight, self.result = args[:3]
        self.bias = args[3] if spec.bias else None
        self.from_strides, self.to_strides = (spec.x, spec.y) if forward else (spec.y, spec.x)
        self.channels, self.out = (spec.c // spec.groups, spec.o // spec.groups)[:: 1 if forward else -1]
        height, width = (spec.h, spec.w) if forward else spec.size()
        todo = []
        for p in passes(spec):
            if not (p.rows and p.columns and spec.n and self.out):
                continue
            copies = Copies(p, height, width, self.from_strides)
            copies.limit(self.channels, self.size)
            todo.append((p, copies))
        if not todo:
            return
        plans = [_Plan(self, p, copies) for p, copies in todo]
        self.cut = plans[0].cut
        shared = self.taken
        most = 0
        for plan in plans:  # the copies of one pass are not needed by the next
            self.taken = shared
            plan.reserve()
            most = max(most, self.taken)
        self.taken = most
        scratch, memory = self.heap(self.taken)
        for plan in plans:
            plan.prepare(scratch)
        self.each(spec.n, lambda n: self.image(plans, n))
        self.release(memory)

    def image(self, plans: list[_Plan], n: Value | int) -> None:
        source, result = self.go(self.source, n, self.from_strides[0]), self.go(self.result, n, self.to_strides[0])

        def group(g: Value | int) -> None:
            for plan in plans:
                plan.group(
                    self.go(source, g, self.from_strides[1] * self.channels),
                    self.go(result, g, self.to_strides[1] * self.out),
                    g,
                )

        self.each(self.spec.groups, group)


class _Plan:
    """One pass: its tiles, its place in the scratch memory, and the code for one group of one image."""

    def __init__(self, w: _Passes, p: Pass, copies: Copies) -> None:
        self.w = w
        self.p = p
        self.copies = copies
        self.steps = w.channels * len(p.taps)
        down, across = w.to_strides[2] * p.step[0], w.to_strides[3] * p.step[1]
        self.direct = (across == 1 or p.columns == 1) and (down == p.columns or copies.rows == 1 == p.rows)
        wide = w.session.machine.registers >= 32
        positions = copies.rows * p.columns
        if wide:
            rows, vectors = {1: (1, 8), 2: (2, 6)}.get(w.out, (8, 3) if w.out > 4 else (4, 4))
        else:
            rows, vectors = 6, 2
        self.cut = evenly(w.out, rows), evenly(-(-positions // w.lanes), vectors)
        self.job = w.stack(tiles.JOB_BYTES)
        # What lasts for the whole kernel:
        self.table = w.take(self.steps * 8 // w.size)
        self.packed = w.take(w.spec.groups * w.out * self.steps) if w.spec.part == "input" else 0

    def reserve(self) -> None:
        w, positions = self.w, self.copies.rows * self.p.columns
        self.copied = 0 if self.copies.none else w.take(w.channels * self.copies.channel())
        self.gapless = 0 if self.direct else w.take(self.cut[0] * positions)
        self.biases = w.take(self.cut[0] * self.cut[1] * w.lanes) if w.bias else 0

    def prepare(self, scratch: Value) -> None:
        """What is done once: the table, the weights in the order of the tiles, the job."""
        w, size = self.w, self.w.size
        self.scratch = scratch
        table = bytes_on(scratch, self.table)
        w.fill_table(table, w.channels, self.copies.channel(), self.copies.offsets(self.p))
        self.a = w.weight
        if w.spec.part == "input":
            self.a = bytes_on(scratch, self.packed)
            self.turn_weights()
        positions = self.copies.rows * self.p.columns
        c_row = (w.to_strides[1] if self.direct else positions) * size
        fields: dict[int, Value | int] = {tiles.A_ROWS + r: (r + 1) * self.steps * size for r in range(4)}
        fields |= {tiles.A_STEP: size, tiles.B_STEP: 0, tiles.C_ROW: c_row, tiles.TABLE: 0}
        fields |= {tiles.D_ROW: self.cut[1] * w.lanes * size, tiles.ADDEND: int(w.bias is not None)}
        fields |= {tiles.ALPHA: w.code.const(1.0, "double"), tiles.BETA: w.code.const(1.0, "double")}
        for field, value in fields.items():
            w.set(self.job, field, value)
        self.job.offset(tiles.TABLE, "i64").store(table)

    def turn_weights(self) -> None:
        """a[c, o, tap] = w[o, c, tap], with the taps of this pass only."""
        w, spec = self.w, self.w.spec
        places = spec.kernel[0] * spec.kernel[1]

        def each(g: Value | int, c: Value | int, o: Value | int) -> None:
            source = w.go(w.go(w.go(w.weight, g, w.channels * w.out * places), o, w.out * places), c, places)
            to = w.go(w.go(w.go(self.a, g, w.out * self.steps), c, self.steps), o, len(self.p.taps))
            for n, tap in enumerate(self.p.taps):
                to.offset(n, w.kind).store(source.offset(tap.place, w.kind).load(w.kind))

        w.each(spec.groups, lambda g: w.each(w.out, lambda c: w.each(w.channels, lambda o: each(g, c, o))))

    def group(self, source: Value, result: Value, g: Value | int) -> None:
        w, p = self.w, self.p
        start_row, start_column = (at * s for at, s in zip(p.start, w.to_strides[2:]))
        result = bytes_on(result, (start_row + start_column) * w.size)
        for first, count, rows in parts(p.rows, self.copies.rows):

            def band(i: Value | int, first=first, rows=rows) -> None:
                start = i * self.copies.rows + first
                if self.copies.none:
                    b = w.go(source, start, p.columns)
                else:
                    b = bytes_on(self.scratch, self.copied)
                    if p.taps:
                        w.copy(p, self.copies, source, b, w.channels, start)
                self.band(b, w.go(result, start, p.step[0] * w.to_strides[2]), g, rows)

            w.each(count, band)

    def band(self, b: Value, result: Value, g: Value | int, rows: int) -> None:
        """``rows`` rows of all channels of the result."""
        w = self.w
        height, vectors = self.cut
        for first, count, tall in parts(w.out, height):

            def channels(i: Value | int, first=first, tall=tall) -> None:
                a = w.go(w.go(bytes_on(self.a, first * self.steps * w.size), i, height * self.steps), g, w.out * self.steps)
                c = w.go(bytes_on(result, first * w.to_strides[1] * w.size), i, height * w.to_strides[1])
                if w.bias:
                    self.spread_bias(w.go(w.go(bytes_on(w.bias, first * w.size), i, height), g, w.out), tall)
                self.tiles(a, b, c if self.direct else bytes_on(self.scratch, self.gapless), tall, rows)
                if not self.direct:
                    self.spread(c, tall, rows)

            w.each(count, channels)

    def tiles(self, a: Value, b: Value, c: Value, tall: int, rows: int) -> None:
        w, width = self.w, self.cut[1] * self.w.lanes
        d = bytes_on(self.scratch, self.biases)
        for first, count, columns in parts(rows * self.p.columns, width):
            rest = columns % w.lanes
            w.set(self.job, tiles.MASK, (1 << rest) - 1)
            name = tiles.tile(w.session, w.kind, tall, -(-columns // w.lanes), rest != 0, table=True)

            def some(i: Value | int, first=first, columns=columns, name=name) -> None:
                at = [w.go(bytes_on(x, first * w.size), i, columns) for x in (b, c)]
                w.perform(name, a, *at, d, self.steps, self.job)

            w.each(count, some)

    def spread_bias(self, bias: Value, tall: int) -> None:
        """Rows of one number each, for the tiles to add."""
        w = self.w
        for r in range(tall):
            number = bias.offset(r, w.kind).load(w.kind).splat(w.lanes)
            for v in range(self.cut[1]):
                place = bytes_on(self.scratch, self.biases).offset((r * self.cut[1] + v) * w.lanes, w.kind)
                place.store(number)

    def spread(self, c: Value, tall: int, rows: int) -> None:
        """From rows without gaps to their places in the result."""
        w, p = self.w, self.p
        part = packing.spread(w.session, w.kind)
        down, across = (s * x * w.size for s, x in zip(p.step, w.to_strides[2:]))

        def one(r: Value | int) -> None:
            source = w.go(bytes_on(self.scratch, self.gapless), r, self.copies.rows * p.columns)
            w.perform(part, w.go(c, r, w.to_strides[1]), source, rows, p.columns, down, across)

        w.each(tall, one)


class _Weight(_Convolution):
    """Writes the gradient of the weight: for each output channel and (channel, tap) an inner product over all positions.

    The positions are taken a *unit* at a time: several images, or a band of rows of one. Each unit adds to the result.
    """

    def write(self) -> None:
        spec, code = self.spec, self.code
        self.x, self.dy, self.dw = self.arguments(3)
        (self.p,) = passes(spec)
        self.out, self.channels = spec.o // spec.groups, spec.c // spec.groups
        self.columns = self.channels * len(self.p.taps)
        self.positions = self.p.rows * self.p.columns
        total = spec.groups * self.out * self.columns * self.size
        code.perform("llvm.memset.p0.i64", [self.dw, Value(code, "0", "i8", 0), code.index(total), Value(code, "false", "i1", 0)])
        if not (self.positions and spec.n and total):
            return
        self.copies = Copies(self.p, spec.h, spec.w, spec.x)
        self.copies.limit(self.channels, self.size)
        flat = spec.y[3] == 1 and spec.y[2] == self.p.columns
        self.gradients = None if flat else Copies(Pass(self.p.rows, self.p.columns, 1, 1, (Tap(0, 0, 0),)), *self.p[:2], spec.y)
        if self.gradients:
            self.gradients.none = False
            self.gradients.rows = self.copies.rows
        banded = self.copies.rows < self.p.rows
        image = (0 if self.copies.none else self.copies.channel() * self.channels) + self.out * self.positions
        self.together = 1 if banded else evenly(spec.n, max(1, 2 * COPIES // (image * self.size)))
        table = self.take(self.columns * 8 // self.size)
        copied = 0 if self.copies.none else self.take(self.together * self.channels * self.copies.channel())
        dense = self.take(self.together * self.out * self.gradients.channel()) if self.gradients else 0
        self.job = self.stack(tiles.JOB_BYTES)
        scratch, memory = self.heap(self.taken)
        self.table, self.copied, self.dense = (bytes_on(scratch, at) for at in (table, copied, dense))
        self.fill_table(self.table, self.channels, self.copies.channel(), self.copies.offsets(self.p))
        a_row = self.gradients.channel() if self.gradients else spec.y[1]
        fields = {tiles.A_ROWS + r: (r + 1) * a_row * self.size for r in range(4)}
        fields[tiles.C_ROW] = self.columns * self.size
        fields[tiles.A_IMAGE] = (self.out * a_row if self.gradients else spec.y[0]) * self.size
        fields[tiles.B_IMAGE] = (spec.x[0] if self.copies.none else self.channels * self.copies.channel()) * self.size
        for field, value in fields.items():
            self.set(self.job, field, value)
        self.each(spec.groups, self.group)
        self.release(memory)

    def group(self, g: Value | int) -> None:
        spec = self.spec
        x, dy = self.go(self.x, g, spec.x[1] * self.channels), self.go(self.dy, g, spec.y[1] * self.out)
        dw = self.go(self.dw, g, self.out * self.columns)
        for first, count, images in parts(spec.n, self.together):

            def unit(i: Value | int, first=first, images=images) -> None:
                at = [self.go(bytes_on(p, first * s[0] * self.size), i, self.together * s[0]) for p, s in ((x, spec.x), (dy, spec.y))]
                for start, bands, rows in parts(self.p.rows, self.copies.rows):
                    self.each(bands, lambda j: self.unit(*at, dw, images, j * self.copies.rows + start, rows))  # noqa: B023

            self.each(count, unit)

    def unit(self, x: Value, dy: Value, dw: Value, images: int, start: Value | int, rows: int) -> None:
        spec = self.spec
        if self.copies.none:
            b = self.go(x, start, self.p.columns)
        else:
            b = self.copied
            self.copy_images(self.p, self.copies, x, b, self.channels, images, start)
        if self.gradients:
            a = self.dense
            same = Pass(self.p.rows, self.p.columns, 1, 1, (Tap(0, 0, 0),))
            self.copy_images(same, self.gradients, dy, a, self.out, images, start)
            a_row = self.gradients.channel()
        else:
            a, a_row = self.go(dy, start, self.p.columns), spec.y[1]
        vectors, rest = divmod(rows * self.p.columns, self.lanes)
        self.set(self.job, tiles.MASK, (1 << rest) - 1)
        self.set(self.job, tiles.IMAGES, images)
        height, width = (4, 6) if self.session.machine.registers >= 32 else (2, 5)
        height, width = evenly(self.out, height), evenly(self.columns, width)
        for top, tall, high in parts(self.out, height):
            for left, long, wide in parts(self.columns, width):
                name = tiles.dot(self.session, self.kind, high, wide)

                def some(i: Value | int, j: Value | int, top=top, left=left, name=name) -> None:
                    a_at = self.go(bytes_on(a, top * a_row * self.size), i, height * a_row)
                    c_at = self.go(bytes_on(dw, (top * self.columns + left) * self.size), i, height * self.columns)
                    places = self.table.offset(left, "i64")
                    places = places.offset(j * width, "i64") if isinstance(j, Value) else places
                    self.job.offset(tiles.TABLE, "i64").store(places)
                    self.perform(name, a_at, b, self.go(c_at, j, width), vectors, self.job)

                self.each(tall, lambda i: self.each(long, lambda j: some(i, j)))  # noqa: B023

    def copy_images(
        self, p: Pass, copies: Copies, source: Value, to: Value, channels: int, images: int, start: Value | int
    ) -> None:
        def one(n: Value | int) -> None:
            place = self.go(to, n, channels * copies.channel())
            self.copy(p, copies, self.go(source, n, copies.strides[0]), place, channels, start)

        self.each(images, one)

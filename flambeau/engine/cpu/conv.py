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

The order of every sum depends on the shape alone, not on the number of threads. The zeros of the padding take part in the
sums: where a weight is infinite or NaN, so are the results at the border (PyTorch's blocked kernels leave them out).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flambeau.engine.cpu import packing, tiles
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import Frame, bytes_on, evenly, kernel, parameter, run_part
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

    def limit(self, channels: int, size: int, bands: int = 1) -> None:
        """Has the pass done in at least so many bands of rows, and in more if its copies would take too much memory."""
        self.rows = evenly(self.rows, max(1, -(-self.rows // bands)))
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
            at = next(
                i for i, x in enumerate(self.planes) if (x.remainder, x.shift) == (tap.row % p.row_step, tap.column)
            )
            found.append(starts[at] + (tap.row // p.row_step - self.planes[at].low) * self.columns)
        return found


def conv_kernel(spec: ConvSpec, session: Session | None = None) -> int:
    """The address of the kernel for ``spec``. Raises ``ValueError`` where there is none (see ``ConvSpec.supported``)."""
    session = session or process_session()
    if spec not in session.memo:
        if not spec.supported():
            raise ValueError(f"no kernel for this convolution: {spec}")
        writer = (_Weight if spec.part == "weight" else _Passes)(session, spec)
        writer.write()
        session.memo[spec] = kernel(session, "conv", spec, writer.outer.code, writer.code)
    address: int = session.memo[spec]
    return address


class _Convolution(Frame):
    """Writes ``part(context, first, last)``; ``outer`` is the kernel, which prepares what all parts share and runs them.

    The context has the kernel's arguments and the shared memory.
    """

    def __init__(self, session: Session, spec: ConvSpec, arguments: int) -> None:
        super().__init__(session, KINDS[spec.dtype.name])
        self.outer = Frame(session, self.kind)
        self.spec = spec
        args, self.shared = self.arguments(2)
        self.pointers = self.arguments(arguments, args)
        self.outer_pointers = self.outer.arguments(arguments)

    def finish(self, tasks: int, work: int, shared: Value, memory: Value) -> None:
        """Ends the kernel: runs the parts, gives the shared memory back."""
        outer = self.outer
        context = outer.code.allocate("ptr", 2)
        context.store(parameter(outer.code, "args"))
        context.offset(1, "ptr").store(shared)
        run_part(outer.code, context, tasks, divided=tasks > 1 and work >= WORTH_DIVIDING)
        outer.release(memory)

    def tasks(self, body: Callable[[Value], None]) -> None:
        """``body(task)`` for the tasks of this call."""
        first, last = (parameter(self.code, n, "i64") for n in ("first", "last"))
        self.between(first, last, body)

    def fill_table(self, table: Value, channels: int, stride: int, offsets: list[int]) -> None:
        """For each channel and tap where its row of B begins, in bytes. Part of ``outer``."""
        w = self.outer

        def channel(i: Value | int) -> None:
            base = w.code.index(0) + i * (stride * self.size)
            place = table.offset(i * len(offsets), "i64")
            for n, offset in enumerate(offsets):
                place.offset(n, "i64").store(base + offset * self.size)

        w.each(channels, channel)

    def copy(self, p: Pass, copies: Copies, source: Value, to: Value, channels: int, start: Value | int) -> None:
        """Copies the channels that begin at ``source`` for the band of rows that begins at ``start``."""
        code, size = self.code, self.size
        _, channel, down, across = copies.strides
        step = p.column_step if across == 1 and p.column_step <= 2 else None
        part = packing.pack_planes(self.session, self.kind, step)
        for plane, at in zip(copies.planes, copies.starts()):
            # The first and the last row, and the columns, that are inside of the source.
            first = -(plane.remainder // p.row_step) - plane.low
            last = -(-(copies.height - plane.remainder) // p.row_step) - plane.low
            low = min(max(-(plane.shift // p.column_step), 0), copies.columns)
            high = min(max(-(-(copies.width - plane.shift) // p.column_step), low), copies.columns)
            corner = (plane.low * p.row_step + plane.remainder) * down + plane.shift * across
            begin = self.go(bytes_on(source, corner * size), start, p.row_step * down)
            seen = [code.index(x) - start if isinstance(start, Value) else x - start for x in (first, last)]
            inside = [*seen, p.row_step * down * size, copies.columns, low, high, p.column_step * across * size]
            apart = [channels, copies.channel() * size, channel * size]
            self.perform(part, bytes_on(to, at * size), begin, *apart, copies.rows + plane.reach, *inside)


class _Passes(_Convolution):
    """Writes the passes of a convolution or of the gradient of its input."""

    def __init__(self, session: Session, spec: ConvSpec) -> None:
        super().__init__(session, spec, 4 if spec.bias else 3)
        forward = spec.part == "forward"
        self.from_strides, self.to_strides = (spec.x, spec.y) if forward else (spec.y, spec.x)
        self.channels, self.out = (spec.c // spec.groups, spec.o // spec.groups)[:: 1 if forward else -1]
        self.bias = self.pointers[3] if spec.bias else None

    def write(self) -> None:
        spec = self.spec
        source = spec.size() if spec.part == "input" else (spec.h, spec.w)
        todo = [p for p in passes(spec) if p.rows and p.columns and spec.n and self.out]
        if not todo:
            return
        work = spec.n * spec.groups * self.out * self.channels * sum(p.rows * p.columns * len(p.taps) for p in todo)
        bands = -(-8 // spec.n) if len(todo) == 1 and work >= WORTH_DIVIDING else 1  # tasks enough for some threads
        plans = [_Plan(self, p, Copies(p, *source, self.from_strides), bands) for p in todo]
        shared, memory = self.outer.heap()
        for plan in plans:
            plan.prepare(shared)
        most = 0
        for plan in plans:  # the copies of one pass are not needed by the next
            self.taken = 0
            plan.reserve()
            most = max(most, self.taken)
        self.taken = most
        self.scratch, own = self.heap()
        bands = plans[0].bands if len(plans) == 1 else 1
        self.tasks(lambda task: self.task(plans, task, bands))
        self.release(own)
        self.finish(spec.n * bands, work, shared, memory)

    def task(self, plans: list[_Plan], task: Value, bands: int) -> None:
        """An image, or a band of rows of one."""
        n, band = (task.binary("udiv", bands), task.binary("urem", bands)) if bands > 1 else (task, None)
        source, result = (
            self.go(self.pointers[0], n, self.from_strides[0]),
            self.go(self.pointers[2], n, self.to_strides[0]),
        )

        def group(g: Value | int) -> None:
            from_g = self.go(source, g, self.from_strides[1] * self.channels)
            to_g = self.go(result, g, self.to_strides[1] * self.out)
            for plan in plans:
                plan.group(from_g, to_g, g, band)

        self.each(self.spec.groups, group)


class _Plan:
    """One pass: its tiles, its place in the memory, and the code for one group of one image."""

    def __init__(self, w: _Passes, p: Pass, copies: Copies, bands: int) -> None:
        self.w = w
        self.p = p
        self.copies = copies
        copies.limit(w.channels, w.size, bands)
        self.bands = -(-p.rows // copies.rows)
        self.steps = w.channels * len(p.taps)
        down, across = w.to_strides[2] * p.step[0], w.to_strides[3] * p.step[1]
        self.direct = (across == 1 or p.columns == 1) and (down == p.columns or p.rows == 1)
        self.positions = copies.rows * p.columns
        self.cut = self.tile()
        self.job = w.stack(tiles.JOB_BYTES)
        # In the shared memory: where the rows of B lie, and the weights in the order of the tiles.
        self.table = w.outer.take(self.steps * 8 // w.size)
        self.packed = w.outer.take(w.spec.groups * w.out * self.steps) if w.spec.part == "input" else 0

    def tile(self) -> tuple[int, int]:
        """Rows and vectors of the tiles."""
        w, total = self.w, -(-self.positions // self.w.lanes)
        if w.session.machine.registers < 32:
            rows, vectors = 6, 2
        elif w.out <= 4:
            rows, vectors = 4, {1: 8, 2: 6}.get(w.out, 4)
        else:
            rows, vectors = (6, 4) if total % 4 == 0 and total % 3 else (8, 3)
        return evenly(w.out, rows), evenly(total, vectors)

    def prepare(self, shared: Value) -> None:
        """What is done once, as part of ``outer``: the table, and the weights in the order of the tiles."""
        w = self.w
        offsets = self.copies.offsets(self.p)
        w.fill_table(bytes_on(shared, self.table), w.channels, self.copies.channel(), offsets)
        if w.spec.part == "input":
            self.turn_weights(w.outer, w.outer_pointers[1], bytes_on(shared, self.packed))

    def turn_weights(self, w: Frame, weight: Value, to: Value) -> None:
        """a[c, o, tap] = w[o, c, tap], with the taps of this pass only."""
        spec, channels, out = self.w.spec, self.w.channels, self.w.out
        places = spec.kernel[0] * spec.kernel[1]

        def each(g: Value | int, c: Value | int, o: Value | int) -> None:
            source = w.go(w.go(w.go(weight, g, channels * out * places), o, out * places), c, places)
            target = w.go(w.go(w.go(to, g, out * self.steps), c, self.steps), o, len(self.p.taps))
            for n, tap in enumerate(self.p.taps):
                target.offset(n, w.kind).store(source.offset(tap.place, w.kind).load(w.kind))

        w.each(spec.groups, lambda g: w.each(out, lambda c: w.each(channels, lambda o: each(g, c, o))))

    def reserve(self) -> None:
        """Takes the memory that one part needs for itself, and fills in what its tiles have in common."""
        w, size = self.w, self.w.size
        self.copied = 0 if self.copies.none else w.take(w.channels * self.copies.channel())
        self.gapless = 0 if self.direct else w.take(self.cut[0] * self.positions)
        self.biases = w.take(self.cut[0] * self.cut[1] * w.lanes) if w.bias else 0
        self.a = bytes_on(w.shared, self.packed) if w.spec.part == "input" else w.pointers[1]
        one = w.code.const(1.0, "double")
        fields: dict[int, Value | int] = {tiles.A_ROWS + r: (r + 1) * self.steps * size for r in range(4)}
        fields |= {tiles.A_STEP: size, tiles.B_STEP: 0, tiles.TABLE: bytes_on(w.shared, self.table)}
        fields |= {tiles.C_ROW: (w.to_strides[1] if self.direct else self.positions) * size}
        fields |= {tiles.D_ROW: self.cut[1] * w.lanes * size, tiles.ADDEND: int(w.bias is not None)}
        for field, value in (fields | {tiles.ALPHA: one, tiles.BETA: one}).items():
            w.set(self.job, field, value)

    def group(self, source: Value, result: Value, g: Value | int, band: Value | None) -> None:
        """All bands of one group of one image, or that one."""
        w, p = self.w, self.p
        corner = sum(at * s for at, s in zip(p.start, w.to_strides[2:]))
        result = bytes_on(result, corner * w.size)

        def some(start: Value | int, rows: int) -> None:
            if self.copies.none:
                b = w.go(source, start, p.columns)
            else:
                b = bytes_on(w.scratch, self.copied)
                w.copy(p, self.copies, source, b, w.channels, start)
            self.band(b, w.go(result, start, p.step[0] * w.to_strides[2]), g, rows)

        if band is None:
            w.walk(p.rows, self.copies.rows, some)
            return
        rest = p.rows % self.copies.rows
        whole = p.rows // self.copies.rows
        start = band * self.copies.rows
        w.when(band.compare("ult", whole), lambda: some(start, self.copies.rows))
        if rest:
            w.when(band.compare("eq", whole), lambda: some(start, rest))

    def band(self, b: Value, result: Value, g: Value | int, rows: int) -> None:
        """``rows`` rows of all channels of the result."""
        w = self.w

        def channels(first: Value | int, tall: int) -> None:
            a = w.go(w.go(self.a, first, self.steps), g, w.out * self.steps)
            c = w.go(result, first, w.to_strides[1])
            if w.bias:
                self.spread_bias(w.go(w.go(w.bias, first, 1), g, w.out), tall)
            self.tiles(a, b, c if self.direct else bytes_on(w.scratch, self.gapless), tall, rows)
            if not self.direct:
                self.spread(c, tall, rows)

        w.walk(w.out, self.cut[0], channels)

    def tiles(self, a: Value, b: Value, c: Value, tall: int, rows: int) -> None:
        w = self.w
        d = bytes_on(w.scratch, self.biases)

        def some(first: Value | int, columns: int) -> None:
            rest = columns % w.lanes
            w.set(self.job, tiles.MASK, (1 << rest) - 1)
            name = tiles.tile(w.session, w.kind, tall, -(-columns // w.lanes), rest != 0, table=True)
            w.perform(name, a, w.go(b, first, 1), w.go(c, first, 1), d, self.steps, self.job)

        w.walk(rows * self.p.columns, self.cut[1] * w.lanes, some)

    def spread_bias(self, bias: Value, tall: int) -> None:
        """Rows of one number each, for the tiles to add."""
        w = self.w
        place = bytes_on(w.scratch, self.biases)
        for r in range(tall):
            number = bias.offset(r, w.kind).load(w.kind).splat(w.lanes)
            for v in range(self.cut[1]):
                place.offset((r * self.cut[1] + v) * w.lanes, w.kind).store(number)

    def spread(self, c: Value, tall: int, rows: int) -> None:
        """From rows without gaps to their places in the result."""
        w, p = self.w, self.p
        down, across = (s * x for s, x in zip(p.step, w.to_strides[2:]))
        part = packing.spread(w.session, w.kind, across if across <= 2 else None)

        def one(r: Value | int) -> None:
            source = w.go(bytes_on(w.scratch, self.gapless), r, self.positions)
            w.perform(part, w.go(c, r, w.to_strides[1]), source, rows, p.columns, down * w.size, across * w.size)

        w.each(tall, one)


_ITSELF = (Tap(0, 0, 0),)


class _Weight(_Convolution):
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

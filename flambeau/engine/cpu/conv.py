"""Convolutions, and their gradients, by register tiles.

``conv_kernel(spec)`` gives the address of ``void kernel(i8** args)``; ``args`` are ``{x, w, y[, bias]}`` forward,
``{dy, w, dx[, bias]}`` for the gradient of the input and ``{x, dy, dw}`` for that of the weight.

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

from flambeau.engine.cpu import packing, tiles
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.conv_copies import Convolution, Copies, Pass, passes
from flambeau.engine.cpu.conv_weight import weight_writer
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import Frame, bytes_on, evenly, kernel
from flambeau.engine.cpu.gemm import WORTH_DIVIDING
from flambeau.engine.cpu.specs import ConvSpec


def conv_kernel(spec: ConvSpec, session: Session | None = None) -> int:
    """The address of the kernel for ``spec``. Raises ``ValueError`` where there is none (see ``ConvSpec.supported``)."""
    session = session or process_session()
    if spec not in session.memo:
        if not spec.supported():
            raise ValueError(f"no kernel for this convolution: {spec}")
        writer = (weight_writer if spec.part == "weight" else _Passes)(session, spec)
        writer.write()
        session.memo[spec] = kernel(session, "conv", spec, writer.outer.code, writer.code)
    address: int = session.memo[spec]
    return address


class _Passes(Convolution):
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
            name = tiles.tile(w.session, w.kind, tall, -(-columns // w.lanes), rest != 0, True, w.spec.rectified)
            w.perform(name, a, w.go(b, first, 1), w.go(c, first, 1), d, self.steps, self.job)

        # As many tiles as needed, none much narrower than the others: narrow ones wait for their own sums.
        total = rows * self.p.columns
        vectors = -(-total // w.lanes)
        narrow, wide = divmod(vectors, -(-vectors // self.cut[1]))
        start = wide * (narrow + 1) * w.lanes
        w.walk(min(start, total), (narrow + 1) * w.lanes, some)
        w.walk(max(total - start, 0), narrow * w.lanes, lambda at, columns: some(at + start, columns))

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

"""Recurrent layers: all steps of a sequence, or of its gradient, in one kernel.

``recurrent_kernel(spec)`` gives the address of ``void kernel(i8** args)``; ``args`` are

    forward:  input, h, [c], w_ih, w_hh, [bias], [hidden_bias], outputs, inner, gates
    backward: [g], [ginner], [ggates], outputs, inner, gates, h, [c], [w_ih], w_hh, dx, dproduct, dinput, dh, dc

with the meaning that ``ops/recurrent.py`` gives them; what a kind of cell does not have is an empty result that is not
touched. The sequences of a batch do not need each other, so a task is some of them for all steps, and threads meet only at
the end. The weights are packed once, in the order in which register tiles read them. A step is the product of the state,
and the gates of the same rows while they are in the first cache; the products of the input are done for some steps at once,
shortly before or after, so that what they write or read is in the second cache.

The gradient of the first state is where the gradient of the state is carried from step to step.
"""

from __future__ import annotations

from collections.abc import Callable

from flambeau.engine.cpu import memory, packing, tiles, vmath
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import Frame, bytes_on, evenly, kernel, parameter, run_part
from flambeau.engine.cpu.gemm import WORTH_DIVIDING
from flambeau.engine.cpu.specs import KINDS, RecurrentSpec

ROWS = (8, 32)
"""Sequences of a task: few, for threads to share, unless the weights are so large that each step reads them from memory."""

LARGE = 3 << 19
"""Bytes of such weights."""

STEPS = 8
"""Steps whose inputs are multiplied at once."""


def recurrent_kernel(spec: RecurrentSpec, session: Session | None = None) -> int:
    """The address of the kernel for ``spec``."""
    session = session or process_session()
    if spec not in session.memo:
        writer = (_Forward if spec.part == "forward" else _Backward)(session, spec)
        writer.write()
        session.memo[spec] = kernel(session, "recurrent", spec, writer.outer.code, writer.code)
    address: int = session.memo[spec]
    return address


class _Panels:
    """A matrix (steps, columns) that is packed for tiles once, and multiplied from the left by a few rows at a time."""

    def __init__(self, frame: Frame, steps: int, columns: int, rows: int) -> None:
        self.frame = frame
        self.steps = steps
        self.columns = columns
        few = frame.session.machine.registers < 32
        self.rows = evenly(rows, 6 if few else 8)
        total = -(-columns // frame.lanes)
        self.vectors = min(total, 2 if few else 4 if self.rows <= 6 else 3)

    def elements(self) -> int:
        return -(-self.columns // self.frame.lanes) * self.frame.lanes * self.steps

    def pack(self, frame: Frame, to: Value, source: Value, down: int, across: int) -> None:
        """Copies the matrix with these strides, of which one is 1."""
        lanes, size = frame.lanes, frame.size

        def panel(first: Value | int, columns: int) -> None:
            vectors, rest = -(-columns // lanes), columns % lanes
            width = vectors * lanes * size
            target, begin = frame.go(to, first, self.steps), frame.go(source, first, across)
            if across == 1:
                part = packing.pack_rows(frame.session, frame.kind, vectors, rest != 0)
                frame.perform(part, target, begin, self.steps, down * size, (1 << rest) - 1, width)
                return

            def strip(left: Value | int, count: int) -> None:
                part = packing.pack_transposed(frame.session, frame.kind)
                from_, into = frame.go(begin, left, across), frame.go(target, left, 1)
                frame.perform(part, into, from_, self.steps, across * size, count, width)

            frame.walk(columns, lanes, strip)

        frame.walk(self.columns, self.vectors * lanes, panel)

    def job(self, a_row: int, c_row: int, d_row: int | None) -> Value:
        """What the tiles have in common: the strides of the rows; ``d_row`` is ``None`` without an addend."""
        frame, size = self.frame, self.frame.size
        job, one = frame.stack(tiles.JOB_BYTES), frame.code.const(1.0, "double")
        fields: dict[int, Value | int] = {tiles.A_ROWS + r: a_row * size * (r + 1) for r in range(4)}
        fields |= {tiles.A_STEP: size, tiles.C_ROW: c_row * size, tiles.ALPHA: one, tiles.BETA: one}
        fields |= {tiles.D_ROW: (d_row or 0) * size, tiles.ADDEND: int(d_row is not None)}
        for field, number in fields.items():
            frame.set(job, field, number)
        self.strides = (a_row, c_row, d_row or 0)
        return job

    def multiply(
        self,
        job: Value,
        packed: Value,
        a: Value,
        c: Value,
        d: Value,
        rows: int,
        times: int = 1,
        apart: tuple[int, int] = (0, 0),
    ) -> None:
        """``c = a @ matrix + d`` for that many rows, and for ``times`` such blocks of ``a`` and ``c`` that are ``apart``."""
        frame = self.frame

        def panel(first: Value | int, columns: int) -> None:
            vectors, rest = -(-columns // frame.lanes), columns % frame.lanes
            frame.set(job, tiles.MASK, (1 << rest) - 1)
            frame.set(job, tiles.B_STEP, vectors * frame.lanes * frame.size)
            b = frame.go(packed, first, self.steps)

            def block(i: Value | int) -> None:
                from_a, to = frame.go(a, i, apart[0]), frame.go(frame.go(c, i, apart[1]), first, 1)
                other = to if d is c else frame.go(d, first, 1)

                def tile(top: Value | int, high: int) -> None:
                    name = tiles.tile(frame.session, frame.kind, high, vectors, rest != 0)
                    x, y, z = (frame.go(p, top, s) for p, s in zip((from_a, to, other), self.strides, strict=True))
                    frame.perform(name, x, b, y, z, self.steps, job)

                frame.walk(rows, self.rows, tile)

            frame.each(times, block)

        frame.walk(self.columns, self.vectors * frame.lanes, panel)


class _Sequence(Frame):
    """Writes ``part(context, first, last)``; ``outer`` is the kernel, which packs the weight and runs the parts.

    The context has the kernel's arguments and the packed weight.
    """

    memory: Value

    def __init__(self, session: Session, spec: RecurrentSpec, names: list[str]) -> None:
        super().__init__(session, KINDS[spec.dtype.name])
        self.spec = spec
        self.outer = Frame(session, self.kind)
        args, self.packed = self.arguments(2)
        self.at = dict(zip(names, self.arguments(len(names), args)))
        self.outer_at = dict(zip(names, self.outer.arguments(len(names))))
        self.many = spec.gates * spec.width
        large = self.many * (spec.width + spec.features) * self.size > LARGE
        self.block = evenly(spec.batch, ROWS[large])

    def write(self) -> None:
        """Everything."""
        spec, outer, many, width, features = self.spec, self.outer, self.many, self.spec.width, self.spec.features
        if spec.part == "forward":
            self.own, self.ins = _Panels(self, width, many, self.block), _Panels(self, features, many, self.block)
            strides = (1, width), (1, features)
        else:
            self.own, self.ins = _Panels(self, many, width, self.block), _Panels(self, many, features, self.block)
            strides = (width, 1), (features, 1)
        outer.take(self.own.elements())
        start = outer.take(self.ins.elements())
        packed, held = outer.heap()
        self.own.pack(outer, packed, self.outer_at["w_hh"], *strides[0])
        if features:
            self.ins.pack(outer, bytes_on(packed, start), self.outer_at["w_ih"], *strides[1])
        self.packed_ins = bytes_on(self.packed, start)
        self.prepare()
        self.walk(spec.batch, self.block, self.sequences, divided=True)
        if self.taken:
            self.release(self.memory)
        context = outer.code.allocate("ptr", 2)
        context.store(parameter(outer.code, "args"))
        context.offset(1, "ptr").store(packed)
        tasks = -(-spec.batch // self.block)
        work = spec.steps * spec.batch * many * (width + features)
        run_part(outer.code, context, tasks, divided=tasks > 1 and work >= WORTH_DIVIDING)
        outer.release(held)

    def prepare(self) -> None:
        """What is the same for all tasks of a call."""
        raise NotImplementedError

    def sequences(self, top: Value | int, rows: int) -> None:
        """All steps of some sequences."""
        raise NotImplementedError

    def each_chunk(self, backwards: bool, body: Callable[[Value, Value, int], None]) -> None:
        """``body(count, low, steps)`` for some steps at once: how many have run before, and the first in the sequence."""
        code, total = self.code, self.spec.steps

        def chunk(start: Value | int, steps: int) -> None:
            count = start if isinstance(start, Value) else code.index(start)
            body(count, code.index(total - steps) - count if backwards else count, steps)

        self.walk(total, evenly(total, STEPS), chunk)

    def each_step(self, backwards: bool, low: Value, steps: int, body: Callable[[Value | int, Value], None]) -> None:
        """``body(place, at)`` for those steps: the place among them, and in the sequence."""

        def step(s: Value | int) -> None:
            place = steps - 1 - s if backwards else s
            body(place, low + place)

        self.each(steps, step)

    def rows_at(self, name: str, place: Value, top: Value | int, width: int) -> Value:
        """The rows of these sequences in a step of a value."""
        return self.go(self.go(self.at[name], place, self.spec.batch * width), top, width)

    def before(self, name: str, first: str, at: Value, begins: Value, top: Value | int) -> Value:
        """The rows of the step that ran before the one at ``at``; those of the first state where it ``begins``."""
        width = self.spec.width
        return begins.select(
            self.go(self.at[first], top, width), self.rows_at(name, at + (1 if self.spec.reverse else -1), top, width)
        )

    def elementwise(self, rows: int, pointers: list[tuple[Value, int]], body: Callable[..., None]) -> None:
        """``body(load, store)`` for the vectors of each row.

        ``pointers`` are the rows and their widths. ``load(k, gate)`` is a vector of the ``k``-th, of its part ``gate``;
        ``store(k, value, gate)`` writes one.
        """
        width, lanes, kind, code = self.spec.width, self.lanes, self.kind, self.code
        masked = width % lanes != 0

        def row(r: Value | int) -> None:
            at = [self.go(p, r, wide) for p, wide in pointers]

            def vector(j: Value, _: list[Value]) -> list[Value]:
                mask = None
                if masked:
                    mask = (j.splat(lanes) + code.vector(range(lanes), "i64")).compare("slt", width)

                def load(k: int, gate: int = 0) -> Value:
                    return memory.load(at[k].offset(j + gate * width, kind), kind, lanes, 1, mask)

                def store(k: int, value: Value, gate: int = 0) -> None:
                    memory.store(at[k].offset(j + gate * width, kind), value, 1, mask)

                body(load, store)
                return []

            code.loop(code.index(0), code.index(width), lanes, [], vector)

        self.each(rows, row)


class _Forward(_Sequence):
    """Writes the steps of a layer."""

    def __init__(self, session: Session, spec: RecurrentSpec) -> None:
        biases = [n for n, there in zip(("bias", "hidden_bias"), spec.biases, strict=True) if there]
        names = ["input", "h", *["c"] * (spec.mode == "LSTM"), "w_ih", "w_hh", *biases, "outputs", "inner", "gates"]
        super().__init__(session, spec, names)
        self.target = "outputs" if spec.mode.startswith("RNN") else "gates"  # where products go

    def prepare(self) -> None:
        width, many, (bias, hidden_bias) = self.spec.width, self.many, self.spec.biases
        self.ins_job = self.ins.job(self.spec.features, many, 0 if bias else None)
        if self.spec.mode == "GRU":  # its shares are not simply added
            self.own_job = self.own.job(width, many, 0 if hidden_bias else None)
            self.take(evenly(self.spec.steps, STEPS) * self.block * many)
            self.shares, self.memory = self.heap()
        else:
            self.own_job = self.own.job(width, many, many)

    def sequences(self, top: Value | int, rows: int) -> None:
        spec, many, features = self.spec, self.many, self.spec.features
        gru = spec.mode == "GRU"

        def chunk(count: Value, low: Value, steps: int) -> None:
            x = self.rows_at("input", low, top, features)
            to = self.shares if gru else self.rows_at(self.target, low, top, many)
            apart = (spec.batch * features, (rows if gru else spec.batch) * many)
            bias = self.at.get("bias", x)
            self.ins.multiply(self.ins_job, self.packed_ins, x, to, bias, rows, steps, apart)
            begins = count.compare("eq", 0)

            def step(place: Value | int, at: Value) -> None:
                here = place if isinstance(place, Value) else self.code.index(place)
                first = begins & here.compare("eq", steps - 1 if spec.reverse else 0)
                self.step(top, rows, at, first, self.go(self.shares, place, rows * many) if gru else to)

            self.each_step(spec.reverse, low, steps, step)

        self.each_chunk(spec.reverse, chunk)

    def step(self, top: Value | int, rows: int, at: Value, first: Value, shares: Value) -> None:
        width, many = self.spec.width, self.many
        h, out = self.before("outputs", "h", at, first, top), self.rows_at("outputs", at, top, width)
        target = self.rows_at(self.target, at, top, many)
        if self.spec.mode == "GRU":
            inner, bias = self.rows_at("inner", at, top, width), self.at.get("hidden_bias", h)
            self.own.multiply(self.own_job, self.packed, h, target, bias, rows)
            self.elementwise(rows, [(target, many), (shares, many), (h, width), (inner, width), (out, width)], self.gru)
            return
        self.own.multiply(self.own_job, self.packed, h, target, target, rows)
        if self.spec.mode == "LSTM":
            c, inner = self.before("inner", "c", at, first, top), self.rows_at("inner", at, top, width)
            self.elementwise(rows, [(target, many), (c, width), (inner, width), (out, width)], self.lstm)
        else:
            self.elementwise(rows, [(out, width)], self.plain)

    def plain(self, load: Callable, store: Callable) -> None:
        x = load(0)
        if self.spec.mode == "RNN_TANH":
            store(0, vmath.tanh(x))
        else:
            store(0, x.compare("olt", 0.0).select(0.0, x))  # NaN stays

    def lstm(self, load: Callable, store: Callable) -> None:
        enter, forget, leave = (vmath.sigmoid(load(0, k)) for k in (0, 1, 3))
        new = vmath.tanh(load(0, 2))
        c = forget * load(1) + enter * new
        for k, gate in enumerate((enter, forget, new, leave)):
            store(0, gate, k)
        store(2, c)
        store(3, leave * vmath.tanh(c))

    def gru(self, load: Callable, store: Callable) -> None:
        reset, update = (vmath.sigmoid(load(0, k) + load(1, k)) for k in (0, 1))
        inner = load(0, 2)
        new = vmath.tanh(load(1, 2) + inner * reset)
        for k, gate in enumerate((reset, update, new)):
            store(0, gate, k)
        store(3, inner)
        store(4, (load(2) - new) * update + new)


class _Backward(_Sequence):
    """Writes the steps of its gradient."""

    def __init__(self, session: Session, spec: RecurrentSpec) -> None:
        self.given = {n: s for n, s in zip(("g", "ginner", "ggates"), spec.given, strict=True) if s is not None}
        kept = [
            "outputs",
            "inner",
            "gates",
            "h",
            *["c"] * (spec.mode == "LSTM"),
            *["w_ih"] * (spec.features > 0),
            "w_hh",
        ]
        super().__init__(session, spec, [*self.given, *kept, "dx", "dproduct", "dinput", "dh", "dc"])

    def prepare(self) -> None:
        many, width = self.many, self.spec.width
        self.own_job = self.own.job(many, width, width if self.spec.mode == "GRU" else None)
        self.ins_job = self.ins.job(many, self.spec.features, None)

    def sequences(self, top: Value | int, rows: int) -> None:
        spec, at = self.spec, self.at
        width, many, features = spec.width, self.many, spec.features
        carried = [self.go(at[name], top, width) for name in (("dh", "dc") if spec.mode == "LSTM" else ("dh",))]
        zero, no = Value(self.code, "0", "i8", 0), Value(self.code, "false", "i1", 0)
        for pointer in carried:
            count = self.code.index(rows * width * self.size)
            self.code.perform("llvm.memset.p0.i64", [pointer, zero, count, no])
        wide = {"gates": many, "dx": many, "dproduct": many, **self.given}
        has = {"LSTM": ("outputs", "inner", "gates"), "GRU": ("outputs", "inner", "gates")}.get(spec.mode, ("outputs",))
        names = [n for n in ("g", "ginner", "ggates", *has, "dx") if n in at] + ["dproduct"] * (spec.mode == "GRU")

        def chunk(_: Value, low: Value, steps: int) -> None:
            self.each_step(not spec.reverse, low, steps, step)
            if features:
                d, to = self.rows_at("dx", low, top, many), self.rows_at("dinput", low, top, features)
                self.ins.multiply(
                    self.ins_job, self.packed_ins, d, to, to, rows, steps, (spec.batch * many, spec.batch * features)
                )

        def step(_: Value | int, place: Value) -> None:
            begins = place.compare("eq", spec.steps - 1 if spec.reverse else 0)
            pointers = {n: (self.rows_at(n, place, top, wide.get(n, width)), wide.get(n, width)) for n in names}
            pointers |= {n: (p, width) for n, p in zip(("dh", "dc"), carried)}
            if spec.mode == "LSTM":
                pointers["before"] = (self.before("inner", "c", place, begins, top), width)
            elif spec.mode == "GRU":
                pointers["before"] = (self.before("outputs", "h", place, begins, top), width)
            number = {n: k for k, n in enumerate(pointers)}
            back = {"LSTM": self.lstm, "GRU": self.gru}.get(spec.mode, self.plain)

            def body(load: Callable, store: Callable) -> None:
                def get(name: str, gate: int = 0) -> Value | None:
                    return load(number[name], gate) if name in number else None

                back(get, lambda name, value, gate=0: store(number[name], value, gate))

            self.elementwise(rows, list(pointers.values()), body)
            d = pointers["dproduct" if spec.mode == "GRU" else "dx"][0]
            self.own.multiply(self.own_job, self.packed, d, carried[0], carried[0], rows)

        self.each_chunk(not spec.reverse, chunk)

    def plain(self, get: Callable, put: Callable) -> None:
        dh, h = _plus(get("dh"), get("g")), get("outputs")
        put(
            "dx",
            dh * (1.0 - h * h) if self.spec.mode == "RNN_TANH" else dh * h.compare("ogt", 0.0).select(h.like(1.0), 0.0),
        )

    def lstm(self, get: Callable, put: Callable) -> None:
        dh, dc = _plus(get("dh"), get("g")), _plus(get("dc"), get("ginner"))
        enter, forget, new, leave = (get("gates", k) for k in range(4))
        shown = vmath.tanh(get("inner"))
        dc = dc + dh * leave * (1.0 - shown * shown)
        slopes = [dc * new, dc * get("before"), dc * enter, dh * shown]
        enter_, forget_, new_, leave_ = (_plus(s, get("ggates", k)) for k, s in enumerate(slopes))
        put("dx", enter_ * enter * (1.0 - enter), 0)
        put("dx", forget_ * forget * (1.0 - forget), 1)
        put("dx", new_ * (1.0 - new * new), 2)
        put("dx", leave_ * leave * (1.0 - leave), 3)
        put("dc", dc * forget)

    def gru(self, get: Callable, put: Callable) -> None:
        dh = _plus(get("dh"), get("g"))
        reset, update, new = (get("gates", k) for k in range(3))
        new_ = _plus(dh * (1.0 - update), get("ggates", 2))
        update_ = _plus(dh * (get("before") - new), get("ggates", 1))
        dnew = new_ * (1.0 - new * new)
        reset_ = _plus(dnew * get("inner"), get("ggates", 0))
        both = (reset_ * reset * (1.0 - reset), update_ * update * (1.0 - update))
        for name, third in (("dx", dnew), ("dproduct", _plus(dnew * reset, get("ginner")))):
            for k, value in enumerate((*both, third)):
                put(name, value, k)
        put("dh", dh * update)


def _plus(a: Value, b: Value | None) -> Value:
    return a if b is None else a + b

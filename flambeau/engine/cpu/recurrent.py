"""Recurrent layers: all steps of a sequence, or of its gradient, in one kernel.

``recurrent_kernel(spec)`` gives the address of ``void kernel(i8** args)``, and words. ``args`` are, before the words,

    forward:  input, h, [c], w_ih, w_hh, [bias], [hidden_bias], outputs, inner, gates
    backward: [g], [ginner], [ggates], outputs, inner, gates, h, [c], [w_ih], w_hh, dx, dproduct, dinput, dh, dc

with the meaning that ``ops/recurrent.py`` gives them; what a kind of cell does not have is an empty result that is not
touched. All sizes are among the words: a kernel serves all layers of its :class:`Form`.

The sequences of a batch do not need each other, so a task is some of them for all steps, and threads meet only at
the end. The weights are packed once, in the order in which register tiles read them. A step is the product of the state,
and the gates of the same rows while they are in the first cache; the products of the input are done for some steps at once,
shortly before or after, so that what they write or read is in the second cache.

The gradient of the first state is where the gradient of the state is carried from step to step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flambeau.engine.cpu import memory, packing, threads, vmath
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import Frame, Reader, bytes_on, evenly, kernel, lanes_of, parameter, run_divided, symbol_address
from flambeau.engine.cpu.gemm import WORTH_DIVIDING
from flambeau.engine.cpu.panels import PANEL, WORDS, Matrix, Product, cut
from flambeau.engine.cpu.specs import KINDS, RecurrentSpec

ROWS = (8, 32)
"""Sequences of a task: few, for threads to share, unless the weights are so large that each step reads them from memory."""

LARGE = 3 << 19
"""Bytes of such weights."""

STEPS = 8
"""Steps whose inputs are multiplied at once."""

# The words: these numbers; the bytes from row to row of the gradients that are given; what copies whole and narrow panels of the
# state's weight and of the input's, where these are not transposed; how the products with them are cut.
NUMBERS = "entry", "tasks", "steps", "batch", "features", "width", "block", "chunk"
GIVEN = "g", "ginner", "ggates"
COPIES = "own", "own_narrow", "ins", "ins_narrow"


class Form(NamedTuple):
    """What the text of a kernel depends on."""

    part: str
    mode: str
    kind: str
    reverse: bool
    biases: tuple[bool, bool]
    given: tuple[str, ...]
    features: bool  # whether the input has a share, or needs a gradient
    masked: bool  # whether the last vector of a state is not whole

    @property
    def gates(self) -> int:
        return {"LSTM": 4, "GRU": 3}.get(self.mode, 1)

    def names(self) -> list[str]:
        """Those of the numbers."""
        return [*NUMBERS, *self.given, *COPIES]


def recurrent_kernel(spec: RecurrentSpec, session: Session | None = None) -> tuple[int, list[int]]:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments."""
    session = session or process_session()
    kind = KINDS[spec.dtype.name]
    given = tuple([name for name, stride in zip(GIVEN, spec.given, strict=True) if stride is not None])
    masked = spec.width % lanes_of(session, kind) != 0
    form = Form(spec.part, spec.mode, kind, spec.reverse, spec.biases, given, spec.features > 0, masked)
    if form not in session.memo:
        writer = (_Forward if spec.part == "forward" else _Backward)(session, form)
        writer.write()
        session.memo[form] = kernel(session, "recurrent", form, writer.outer.code, writer.code)
    address: int = session.memo[form]
    return address, _words(session, form, spec)


def _words(session: Session, form: Form, spec: RecurrentSpec) -> list[int]:
    batch, features, width = spec.batch, spec.features, spec.width
    few, size, many = session.machine.registers < 32, spec.dtype.itemsize, form.gates * width
    block = evenly(batch, ROWS[many * (width + features) * size > LARGE])
    tasks, work = -(-batch // block), spec.steps * batch * many * (width + features)
    entry = threads.entry(False) if tasks > 1 and work >= WORTH_DIVIDING else 0
    rows = evenly(block, 6 if few else 8)
    vectors = 2 if few else 4 if rows <= 6 else 3
    words = [entry, tasks, spec.steps, batch, features, width, block, evenly(spec.steps, STEPS)]
    words += [size * stride for stride in spec.given if stride is not None]
    cuts: list[int] = []
    for columns in (many, many) if form.part == "forward" else (width, features):
        here = cut(session, form.kind, columns, rows, vectors, (block, batch % block)) if columns else [0] * WORDS
        words += [0, 0] if form.part == "forward" else _copies(session, form.kind, columns, here[PANEL])
        cuts += here
    return words + cuts


def _copies(session: Session, kind: str, columns: int, panel: int) -> list[int]:
    """The addresses of what copies whole panels, and the one that has fewer columns."""
    lanes = lanes_of(session, kind)
    wide = (panel if columns >= panel else 0, columns % panel) if columns else (0, 0)
    return [symbol_address(session, packing.pack_rows, kind, -(-n // lanes), n % lanes != 0) if n else 0 for n in wide]


class _Sequence(Frame):
    """Writes ``part(context, first, last)``; ``outer`` is the kernel, which packs the weight and runs the parts.

    The context has the kernel's arguments and the packed weight.
    """

    def __init__(self, session: Session, form: Form, arrays: list[str]) -> None:
        super().__init__(session, form.kind)
        self.form = form
        self.outer = Frame(session, self.kind)
        args, self.packed = self.arguments(2)
        self.at = dict(zip(arrays, self.arguments(len(arrays), args)))
        self.number, self.cuts = self._read(args, len(arrays))
        self.outer_at = dict(zip(arrays, self.outer.arguments(len(arrays))))
        self.outer_number, self.outer_cuts = self._read(parameter(self.outer.code, "args"), len(arrays))
        self.batch, self.features, self.width = (self.number(n) for n in ("batch", "features", "width"))
        self.many = self.width * form.gates
        self.x_row, self.row, self.gate_row = (n * self.size for n in (self.features, self.width, self.many))

    def _read(self, args: Value, arrays: int) -> tuple[Reader, list[Value]]:
        names, words = self.form.names(), args.offset(arrays, "i64")
        return Reader(words, names), [words.offset(len(names) + k * WORDS, "i64") for k in range(2)]

    def write(self) -> None:
        """Everything."""
        self._pack()
        self.prepare()
        size = self.number("block")

        def task(i: Value) -> None:
            top = i * size
            rows = (self.batch - top).intrinsic("smin", size)
            self.sequences(top, rows, rows.compare("ne", size).convert("zext", "i64"))

        self.between(parameter(self.code, "first", "i64"), parameter(self.code, "last", "i64"), task)
        self.finish()

    def _pack(self) -> None:
        """The kernel: packs the weights, and runs the parts."""
        outer, number, forward = self.outer, self.outer_number, self.form.part == "forward"
        features, width = number("features"), number("width")
        many = width * self.form.gates
        own, ins = (Matrix(outer, words) for words in self.outer_cuts)
        depth, rows = (width, features), (width * self.size, features * self.size)
        steps = depth if forward else (many, many)
        start = (own.vectors(own.columns) * steps[0] + 63) & -64
        packed, held = outer.heap(start + ins.vectors(ins.columns) * steps[1])
        matrices = [(own, "own", "w_hh", packed), *[(ins, "ins", "w_ih", bytes_on(packed, start))] * self.form.features]
        for k, (matrix, name, weight, to) in enumerate(matrices):
            copies = None if forward else [number(name, "ptr"), number(name + "_narrow", "ptr")]
            matrix.pack(to, self.outer_at[weight], steps[k], rows[k], copies)
        context = outer.code.allocate("ptr", 3)
        context.store(parameter(outer.code, "args"))
        context.offset(1, "ptr").store(packed)
        context.offset(2, "i64").store(start)
        run_divided(outer.code, context, number("tasks"), number("entry", "ptr"))
        outer.release(held)
        self.packed_ins = bytes_on(self.packed, parameter(self.code, "args").offset(2, "i64").load("i64"))

    def prepare(self) -> None:
        """What is the same for all tasks of a call."""
        raise NotImplementedError

    def sequences(self, top: Value, rows: Value, which: Value) -> None:
        """All steps of some sequences; ``which`` is 1 if there are fewer than in other tasks, else 0."""
        raise NotImplementedError

    def finish(self) -> None:
        """What comes after the tasks of a call."""

    def each_chunk(self, backwards: bool, body: Callable[[Value, Value, Value], None]) -> None:
        """``body(count, low, steps)`` for some steps at once: how many have run before, and the first in the sequence."""
        code, total, size = self.code, self.number("steps"), self.number("chunk")

        def chunk(count: Value, _: list[Value]) -> list[Value]:
            left = total - count
            steps = left.intrinsic("smin", size)
            body(count, left - steps if backwards else count, steps)
            return []

        code.loop(code.index(0), total, size, [], chunk)

    def each_step(self, backwards: bool, low: Value, steps: Value, body: Callable[[Value, Value], None]) -> None:
        """``body(place, at)`` for those steps: the place among them, and in the sequence."""

        def step(s: Value) -> None:
            place = steps - 1 - s if backwards else s
            body(place, low + place)

        self.between(self.code.index(0), steps, step)

    def rows_at(self, name: str, place: Value, top: Value, row: Value) -> Value:
        """The rows of these sequences in a step of a value whose rows are so many bytes apart."""
        return bytes_on(self.at[name], (place * self.batch + top) * row)

    def before(self, name: str, first: str, at: Value, begins: Value, top: Value) -> Value:
        """The rows of the step that ran before the one at ``at``; those of the first state where it ``begins``."""
        row, place = self.width * self.size, at + (1 if self.form.reverse else -1)
        return begins.select(bytes_on(self.at[first], top * row), self.rows_at(name, place, top, row))

    def elementwise(self, rows: Value, pointers: list[tuple[Value, Value]], body: Callable[..., None]) -> None:
        """``body(load, store)`` for the vectors of each row.

        ``pointers`` are the rows and the bytes from one to the next. ``load(k, gate)`` is a vector of the ``k``-th, of its part
        ``gate``; ``store(k, value, gate)`` writes one.
        """
        width, lanes, kind, code = self.width, self.lanes, self.kind, self.code
        gates = [width * gate for gate in range(self.form.gates)]

        def row(r: Value) -> None:
            at = [bytes_on(p, r * apart) for p, apart in pointers]

            def vector(j: Value, _: list[Value]) -> list[Value]:
                mask = None
                if self.form.masked:
                    mask = (j.splat(lanes) + code.vector(range(lanes), "i64")).compare("slt", width.splat(lanes))

                def place(k: int, gate: int) -> Value:
                    return at[k].offset(gates[gate] + j if gate else j, kind)

                def load(k: int, gate: int = 0) -> Value:
                    return memory.load(place(k, gate), kind, lanes, 1, mask)

                def store(k: int, value: Value, gate: int = 0) -> None:
                    memory.store(place(k, gate), value, 1, mask)

                body(load, store)
                return []

            code.loop(code.index(0), width, lanes, [], vector)

        self.between(code.index(0), rows, row)


class _Forward(_Sequence):
    """Writes the steps of a layer."""

    def __init__(self, session: Session, form: Form) -> None:
        biases = [n for n, there in zip(("bias", "hidden_bias"), form.biases, strict=True) if there]
        arrays = ["input", "h", *["c"] * (form.mode == "LSTM"), "w_ih", "w_hh", *biases, "outputs", "inner", "gates"]
        super().__init__(session, form, arrays)
        self.target = "outputs" if form.mode.startswith("RNN") else "gates"  # where products go

    def prepare(self) -> None:
        bias, hidden_bias = self.form.biases
        own_row: Value | int | None = self.gate_row
        if self.form.mode == "GRU":  # its shares are not simply added
            own_row = 0 if hidden_bias else None
            self.shares, self.held = self.heap(self.number("chunk") * self.number("block") * self.gate_row)
        own, ins = self.cuts
        self.own = Product(self, own, (self.row, self.size), self.gate_row, own_row, steps=self.width)
        self.ins = Product(self, ins, (self.x_row, self.size), self.gate_row, 0 if bias else None, steps=self.features)

    def finish(self) -> None:
        if self.form.mode == "GRU":
            self.release(self.held)

    def sequences(self, top: Value, rows: Value, which: Value) -> None:
        gru, reverse = self.form.mode == "GRU", self.form.reverse

        def chunk(count: Value, low: Value, steps: Value) -> None:
            x = self.rows_at("input", low, top, self.x_row)
            to = self.shares if gru else self.rows_at(self.target, low, top, self.gate_row)
            times = steps, self.batch * self.x_row, (rows if gru else self.batch) * self.gate_row
            self.ins.multiply(which, x, self.packed_ins, to, self.features, self.at.get("bias"), times=times)
            begins = count.compare("eq", 0)

            def step(place: Value, at: Value) -> None:
                first = begins & place.compare("eq", steps - 1 if reverse else 0)
                shares = bytes_on(self.shares, place * rows * self.gate_row) if gru else to
                self.step(top, rows, which, at, first, shares)

            self.each_step(reverse, low, steps, step)

        self.each_chunk(reverse, chunk)

    def step(self, top: Value, rows: Value, which: Value, at: Value, first: Value, shares: Value) -> None:
        row, many = self.row, self.gate_row
        h, out = self.before("outputs", "h", at, first, top), self.rows_at("outputs", at, top, row)
        target = self.rows_at(self.target, at, top, many)
        if self.form.mode == "GRU":
            inner = self.rows_at("inner", at, top, row)
            self.own.multiply(which, h, self.packed, target, self.width, self.at.get("hidden_bias"))
            self.elementwise(rows, [(target, many), (shares, many), (h, row), (inner, row), (out, row)], self.gru)
            return
        self.own.multiply(which, h, self.packed, target, self.width)
        if self.form.mode == "LSTM":
            c, inner = self.before("inner", "c", at, first, top), self.rows_at("inner", at, top, row)
            self.elementwise(rows, [(target, many), (c, row), (inner, row), (out, row)], self.lstm)
        else:
            self.elementwise(rows, [(out, row)], self.plain)

    def plain(self, load: Callable, store: Callable) -> None:
        x = load(0)
        if self.form.mode == "RNN_TANH":
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

    def __init__(self, session: Session, form: Form) -> None:
        states = ["h", *["c"] * (form.mode == "LSTM")]
        kept = ["outputs", "inner", "gates", *states, *["w_ih"] * form.features, "w_hh"]
        super().__init__(session, form, [*form.given, *kept, "dx", "dproduct", "dinput", "dh", "dc"])

    def prepare(self) -> None:
        own, ins = self.cuts
        a = self.gate_row, self.size
        self.own = Product(self, own, a, self.row, self.row if self.form.mode == "GRU" else None, steps=self.many)
        if self.form.features:
            self.ins = Product(self, ins, a, self.x_row, steps=self.many)

    def sequences(self, top: Value, rows: Value, which: Value) -> None:
        form, at, code, row = self.form, self.at, self.code, self.row
        carried = [bytes_on(at[name], top * row) for name in (("dh", "dc") if form.mode == "LSTM" else ("dh",))]
        zero, no = Value(code, "0", "i8", 0), Value(code, "false", "i1", 0)
        for pointer in carried:
            code.perform("llvm.memset.p0.i64", [pointer, zero, rows * row, no])
        wide = dict.fromkeys(("gates", "dx", "dproduct"), self.gate_row) | {n: self.number(n) for n in form.given}
        has = {"LSTM": ("outputs", "inner", "gates"), "GRU": ("outputs", "inner", "gates")}.get(form.mode, ("outputs",))
        names = [n for n in ("g", "ginner", "ggates", *has, "dx") if n in at] + ["dproduct"] * (form.mode == "GRU")

        def chunk(_: Value, low: Value, steps: Value) -> None:
            self.each_step(not form.reverse, low, steps, step)
            if form.features:
                d, to = self.rows_at("dx", low, top, self.gate_row), self.rows_at("dinput", low, top, self.x_row)
                times = steps, self.batch * self.gate_row, self.batch * self.x_row
                self.ins.multiply(which, d, self.packed_ins, to, self.many, times=times)

        def step(_: Value, place: Value) -> None:
            begins = place.compare("eq", self.number("steps") - 1 if form.reverse else 0)
            pointers = {n: (self.rows_at(n, place, top, wide.get(n, row)), wide.get(n, row)) for n in names}
            pointers |= {n: (p, row) for n, p in zip(("dh", "dc"), carried)}
            if form.mode == "LSTM":
                pointers["before"] = (self.before("inner", "c", place, begins, top), row)
            elif form.mode == "GRU":
                pointers["before"] = (self.before("outputs", "h", place, begins, top), row)
            number = {n: k for k, n in enumerate(pointers)}
            back = {"LSTM": self.lstm, "GRU": self.gru}.get(form.mode, self.plain)

            def body(load: Callable, store: Callable) -> None:
                def get(name: str, gate: int = 0) -> Value | None:
                    return load(number[name], gate) if name in number else None

                back(get, lambda name, value, gate=0: store(number[name], value, gate))

            self.elementwise(rows, list(pointers.values()), body)
            d = pointers["dproduct" if form.mode == "GRU" else "dx"][0]
            self.own.multiply(which, d, self.packed, carried[0], self.many)

        self.each_chunk(not form.reverse, chunk)

    def plain(self, get: Callable, put: Callable) -> None:
        dh, h = _plus(get("dh"), get("g")), get("outputs")
        put(
            "dx",
            dh * (1.0 - h * h) if self.form.mode == "RNN_TANH" else dh * h.compare("ogt", 0.0).select(h.like(1.0), 0.0),
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

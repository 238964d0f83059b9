"""Discrete Fourier transforms, a vector of lines at a time.

``fourier_kernel(spec)`` gives a kernel, ``void kernel(i8** args)`` with ``args = {x, result, words...}``, and the words. There is
one *stage* for each dim. It loads as many lines as a vector has lanes, so that each element of theirs is a vector of real parts
and one of imaginary parts (a *cell*), transforms these, and stores them. Lines that lie one after the other are transposed on the
way.

A line of ``n = 4 * 4 * 3`` elements takes a pass for each factor (Stockham's form of Cooley and Tukey's algorithm, "An algorithm
for the machine calculation of complex Fourier series", 1965): from one buffer to another, in the order in which the next one
reads. The way back is the way forth with real and imaginary parts in each other's place.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import partial
from math import cos, pi, prod, sin
from typing import NamedTuple

import numpy as np

from flambeau.core.size import contiguous_strides
from flambeau.engine.cpu import packing, threads
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.emit import BITS, Code, Value
from flambeau.engine.cpu.frame import Frame, Made, Reader, bytes_on, kernel, lanes_of, parameter, shared
from flambeau.engine.cpu.memory import load, store
from flambeau.engine.cpu.planes import NUMPY, WORTH_DIVIDING
from flambeau.engine.cpu.specs import KINDS, FourierSpec
from flambeau.engine.cpu.tiles import shuffle

LONGEST = 4096
"""Elements of a line whose buffers stay in the second cache."""
LONG = 1024
"""Longer ones are not worth while if there are few."""
_FACTORS = (4, 2, 3, 5, 7, 11, 13)
_OUTER = 3
"""Dims that are walked besides that of the line and that of the lanes."""


class Form(NamedTuple):
    """What the text of a stage depends on: how lines lie, as ``"rows"`` (element by element) or so that ``"lanes"`` are neighbours."""

    kind: str
    load: str
    store: str
    real_in: bool
    real_out: bool
    forward: bool


class Line(NamedTuple):
    """What a stage has of a dim: (extent, bytes between its elements where they come from, and where they go)."""

    extent: int
    source: int
    target: int


def factors_of(n: int) -> list[int] | None:
    """The factors of the passes; ``None`` where there is another prime number among them."""
    found = []
    for factor in _FACTORS:
        while n % factor == 0:
            found.append(factor)
            n //= factor
    return found if n == 1 else None


def fourier_kernel(spec: FourierSpec, session: Session | None = None) -> Made:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments.

    Raises ``ValueError`` where there is none (see :func:`stages`).
    """
    session = session or process_session()
    found = stages(spec, session)
    if found is None:
        raise ValueError(f"no kernel for this transform: {spec}")
    key = "fourier", "driver"
    if key not in session.memo:
        session.memo[key] = kernel(session, "fourier", key, _driver(session))
    address: int = session.memo[key]
    room = 0
    if spec.part == "c2r" and len(found) > 1:  # what is complex does not fit into the result
        room = 2 * spec.dtype.itemsize * prod(spec.shape)
    head, jobs = [len(found), room], list[int]()
    start = _HEAD + _ENTRY * len(found)
    for stage in found:
        divided = stage.tasks > 1 and stage.work >= WORTH_DIVIDING
        head += [_part(session, stage.form), 8 * (start + len(jobs)), stage.tasks, threads.entry(light=False) if divided else 0]
        jobs += [*(stage.numbers[name] for name in _WORDS), *_passes(session, stage.form.kind, stage.numbers["n"], stage.steps)]
    return address, (*head, *jobs)


_HEAD, _ENTRY = 2, 4
"""Words at the beginning: how many stages there are, and the bytes of memory between them; for each its part, where its job is,
how many tasks it has, and what divides these between threads."""


class Stage(NamedTuple):
    """The transforms along one dim: in so many tasks, by passes for these factors; ``work`` is how many numbers are moved."""

    form: Form
    tasks: int
    work: int
    steps: list[int]
    numbers: dict[str, int]


def stages(spec: FourierSpec, session: Session) -> list[Stage] | None:
    """What is done for ``spec``; ``None`` where lines are too long, of a length with a large prime factor, or lie in another way."""
    size, kind = spec.dtype.itemsize, KINDS[spec.dtype.name]
    lanes = lanes_of(session, kind)
    given = 1 if spec.part == "r2c" else 2  # numbers that an element is
    shape, strides, at = list(spec.shape), [s * size * given for s in spec.strides], 0
    order = spec.dims if spec.part == "c2r" else spec.dims[::-1]
    found: list[Stage] = []
    for k, axis in enumerate(order):
        real_in, real_out = spec.part == "r2c" and k == 0, spec.part == "c2r" and k == len(order) - 1
        n, item = spec.n if real_out else shape[axis], size * (1 if real_out else 2)
        made = [*shape]
        made[axis] = n // 2 + 1 if real_in else n
        targets = [s * item for s in contiguous_strides(tuple(made))]
        steps = factors_of(n)
        if steps is None or n > LONGEST or (real_out and shape[axis] != n // 2 + 1):
            return None
        walks = [Line(m, s, t) for d, (m, s, t) in enumerate(zip(made, strides, targets, strict=True)) if d != axis]
        line = Line(shape[axis], strides[axis], targets[axis])
        how = _how(line, walks, size * (1 if real_in else 2), item)
        if how is None or (n > LONG and how[2].extent * 8 < lanes):  # of so few lines most lanes would be idle
            return None
        reads, writes, across, outer = how
        cell, to = 2 * lanes * size, 2 if spec.part == "c2r" and not real_out else 1
        row = -(-(n if real_out else 2 * made[axis]) // lanes) * lanes * size
        factor = spec.factor if k == len(order) - 1 else 1.0
        numbers = {
            "from": at, "to": to, "n": n, "given": shape[axis], "made": made[axis], "factor": _bits(factor), "scaled": int(factor != 1.0),
            "step": line.source, "to_step": line.target, "lanes": across.extent, "lane": across.source, "to_lane": across.target,
            "room": 2 * n * cell + lanes * row, "row": row, "bytes": made[axis] * item, "passes": len(steps),
        }  # fmt: skip
        for d, walk in enumerate(outer):
            numbers |= {f"extent{d}": walk.extent, f"source{d}": walk.source, f"target{d}": walk.target}
        tasks = -(-across.extent // lanes) * prod([x.extent for x in outer])
        found.append(Stage(Form(kind, reads, writes, real_in, real_out, spec.forward), tasks, 4 * prod(made), steps, numbers))
        shape, strides, at = made, targets, to
    return found


_WORDS = (
    "from", "to", "n", "given", "made", "factor", "scaled", "step", "to_step", "lanes", "lane", "to_lane", "room", "row", "bytes", "passes",
    *(f"{what}{d}" for d in range(_OUTER) for what in ("extent", "source", "target")),
)  # fmt: skip


def _bits(number: float) -> int:
    found: int = struct.unpack("<q", struct.pack("<d", number))[0]
    return found


def _how(line: Line, walks: list[Line], read: int, written: int) -> tuple[str, str, Line, list[Line]] | None:
    """How lines are loaded and stored, what lanes run along, and what is walked besides; elements have so many bytes."""
    walks = [w for w in walks if w.extent != 1]
    across = Line(1, 0, 0)
    if line.target == written or line.extent == 1:
        writes = "rows"
        if walks:
            across = max(walks, key=lambda w: w.extent)
    else:
        writes, across = "lanes", next((w for w in walks if w.target == written), across)
        if across.target != written:
            return None
    reads = "rows" if line.source == read or line.extent == 1 else "lanes" if across.source == read else None
    outer: list[Line] = []
    for walk in (w for w in walks if w is not across):
        if outer and outer[-1][1:] == (walk.extent * walk.source, walk.extent * walk.target):
            walk = walk._replace(extent=walk.extent * outer.pop().extent)
        outer.append(walk)
    if reads is None or len(outer) > _OUTER:
        return None
    return reads, writes, across, [*outer, *[Line(1, 0, 0)] * (_OUTER - len(outer))]


# --- passes ------------------------------------------------------------------------------------------------------------


def _passes(session: Session, kind: str, n: int, steps: list[int]) -> list[int]:
    """For each pass its function, how many groups it makes, how many elements each has, and where its factors are."""
    words, elements, done = [], n, 1
    tables = session.memo.setdefault(("fourier", "tables"), {})
    for radix in steps:
        groups = elements // radix
        key = kind, radix, groups
        if key not in tables:
            turns = np.outer(np.arange(groups), np.arange(1, radix)) / elements
            table = np.exp(-2j * pi * turns).view(np.float64).astype(NUMPY[kind])
            tables[key] = np.ascontiguousarray(table)
        name = shared(session, f"flambeau_fourier_{kind}_{radix}", _PASS, partial(_pass, kind, radix))
        words += [session.memo[name], groups, done, tables[key].ctypes.data]
        elements, done = groups, done * radix
    return words


_PASS = "ptr %from, ptr %to, i64 %groups, i64 %done, ptr %table, i64 %real, i64 %imaginary"


def _pass(kind: str, radix: int, code: Code) -> None:
    """Makes transforms ``radix`` times as long of ones of ``done`` elements, and multiplies for the next pass."""
    source, target, table = (parameter(code, n) for n in ("from", "to", "table"))
    groups, done, real, imaginary = (parameter(code, n, "i64") for n in ("groups", "done", "real", "imaginary"))
    size = BITS[kind] // 8
    lanes = code.machine.vector_bytes // size
    cell = 2 * lanes * size

    def group(p: Value, _: list[Value]) -> list[Value]:
        turns = table.offset(p * (2 * (radix - 1)), kind)
        factors = [(turns.offset(2 * t, kind).load(kind).splat(lanes), turns.offset(2 * t + 1, kind).load(kind).splat(lanes))
                   for t in range(radix - 1)]  # fmt: skip

        def element(q: Value, _: list[Value]) -> list[Value]:
            values = []
            for i in range(radix):
                at = bytes_on(source, (q + done * (p + groups * i)) * cell)
                values.append(Pair(bytes_on(at, real).load(kind, lanes), bytes_on(at, imaginary).load(kind, lanes)))
            made = _butterfly(values)
            for t, value in enumerate(made):
                if t:
                    re, im = factors[t - 1]
                    value = Pair(value.re * re - value.im * im, value.re * im + value.im * re)
                at = bytes_on(target, (q + done * (p * radix + t)) * cell)
                bytes_on(at, real).store(value.re)
                bytes_on(at, imaginary).store(value.im)
            return []

        code.loop(code.index(0), done, 1, [], element)
        return []

    code.loop(code.index(0), groups, 1, [], group)


class Pair(NamedTuple):
    """Vectors of real and imaginary parts."""

    re: Value
    im: Value

    def plus(self, other: Pair) -> Pair:
        return Pair(self.re + other.re, self.im + other.im)

    def minus(self, other: Pair) -> Pair:
        return Pair(self.re - other.re, self.im - other.im)

    def turned(self, other: Pair) -> Pair:
        """This minus ``i`` times the other."""
        return Pair(self.re + other.im, self.im - other.re)

    def turned_back(self, other: Pair) -> Pair:
        return Pair(self.re - other.im, self.im + other.re)


def _butterfly(a: Sequence[Pair]) -> list[Pair]:
    """The transform of a few elements."""
    n = len(a)
    if n == 2:
        return [a[0].plus(a[1]), a[0].minus(a[1])]
    if n == 4:
        even, odd = (a[0].plus(a[2]), a[0].minus(a[2])), (a[1].plus(a[3]), a[1].minus(a[3]))
        return [even[0].plus(odd[0]), even[1].turned(odd[1]), even[0].minus(odd[0]), even[1].turned_back(odd[1])]
    sums = [a[j].plus(a[n - j]) for j in range(1, n // 2 + 1)]
    differences = [a[j].minus(a[n - j]) for j in range(1, n // 2 + 1)]
    made = [a[0]] * n
    for x in sums:
        made[0] = made[0].plus(x)
    for t in range(1, n // 2 + 1):
        c, s = a[0], None
        for j, (x, y) in enumerate(zip(sums, differences), 1):
            near, far = cos(2 * pi * j * t / n), sin(2 * pi * j * t / n)
            c = c.plus(Pair(x.re * near, x.im * near))
            part = Pair(y.re * far, y.im * far)
            s = part if s is None else s.plus(part)
        assert s is not None
        made[t], made[n - t] = c.turned(s), c.turned_back(s)
    return made


# --- stages ------------------------------------------------------------------------------------------------------------


def _driver(session: Session) -> Code:
    code = Code(session.machine)
    w, args = Frame(session, "double", code), parameter(code, "args")
    words = args.offset(2, "ptr")
    room = words.offset(1, "i64").load("i64")
    between, memory = w.heap(room)
    context = code.allocate("ptr", 4)
    for k, place in enumerate((args.load("ptr"), args.offset(1, "ptr").load("ptr"), between)):
        context.offset(k, "ptr").store(place)

    def stage(i: Value) -> None:
        entry = words.offset(i * _ENTRY + _HEAD, "i64")
        part, job, tasks, divide = (
            entry.load("ptr"),
            entry.offset(1, "i64"),
            entry.offset(2, "i64").load("i64"),
            entry.offset(3, "i64").load("ptr"),
        )
        context.offset(3, "ptr").store(bytes_on(words, job.load("i64")))
        alone = divide.compare("eq", Value(code, "null", "ptr", 0))
        w.when(alone, lambda: code.invoke(part, [context, code.index(0), tasks]))
        w.when(~alone, lambda: code.invoke(divide, [part, context, tasks]))

    w.times(words.load("i64"), stage)
    w.release(memory)
    return code


def _part(session: Session, form: Form) -> int:
    """The address of ``part(context, first, last)``, which does some of a stage's vectors of lines."""
    key = "fourier", form
    if key not in session.memo:
        packing.pack_transposed(session, form.kind)
        name = "flambeau_lines_" + "_".join(str(int(x) if isinstance(x, bool) else x) for x in form)
        shared(session, name, "ptr %args, i64 %first, i64 %last", lambda code: _Lines(session, form, code).write())
        session.memo[key] = session.memo[name]
    address: int = session.memo[key]
    return address


class _Lines(Frame):
    """Writes a stage."""

    def __init__(self, session: Session, form: Form, code: Code) -> None:
        super().__init__(session, form.kind, code)
        self.form = form
        self.cell = 2 * self.lanes * self.size
        self.pack = packing.pack_transposed(session, form.kind)

    def write(self) -> None:
        context = parameter(self.code, "args")
        job = context.offset(3, "ptr").load("ptr")
        self.n = n = Reader(job, _WORDS)
        self.table = job.offset(len(_WORDS), "i64")
        place, memory = self.heap(n("room"))
        length = n("n") * self.cell
        buffers = place, bytes_on(place, length), bytes_on(place, length * 2)
        source, target = (context.offset(n(name), "ptr").load("ptr") for name in ("from", "to"))
        blocks = (n("lanes") + (self.lanes - 1)).binary("udiv", self.lanes)

        def task(t: Value) -> None:
            first, rest = t.binary("urem", blocks) * self.lanes, t.binary("udiv", blocks)
            read, written = bytes_on(source, first * n("lane")), bytes_on(target, first * n("to_lane"))
            for d in reversed(range(_OUTER)):
                i, rest = rest.binary("urem", n(f"extent{d}")), rest.binary("udiv", n(f"extent{d}"))
                read, written = bytes_on(read, i * n(f"source{d}")), bytes_on(written, i * n(f"target{d}"))
            self.lines(read, written, (n("lanes") - first).intrinsic("umin", self.lanes), buffers)

        self.between(parameter(self.code, "first", "i64"), parameter(self.code, "last", "i64"), task)
        self.release(memory)

    def lines(self, source: Value, target: Value, count: Value, buffers: tuple[Value, ...]) -> None:
        code, n = self.code, self.n
        (self.load_rows if self.form.load == "rows" else self.load_lanes)(source, count, buffers[0])
        if self.form.real_out:
            self.mirror(buffers[0])
        real, imaginary = (0, self.lanes * self.size) if self.form.forward else (self.lanes * self.size, 0)

        def one(i: Value, at: list[Value]) -> list[Value]:
            words = self.table.offset(i * 4, "i64")
            function, groups, done, table = (
                words.load("ptr"),
                *(words.offset(k, "i64").load("i64") for k in (1, 2)),
                words.offset(3, "i64").load("ptr"),
            )
            code.invoke(function, [at[0], at[1], groups, done, table, code.index(real), code.index(imaginary)])
            return [at[1], at[0]]

        found = code.loop(code.index(0), n("passes"), 1, [buffers[0], buffers[1]], one)[0]
        self.when(n("scaled").compare("ne", 0), lambda: self.scale(found))
        if self.form.store == "rows":
            self.store_rows(found, target, count, buffers[2])
        else:
            self.store_lanes(found, target, count)

    def at(self, buffer: Value, k: Value) -> Pair:
        """Where the parts of element ``k`` are."""
        cell = bytes_on(buffer, k * self.cell)
        return Pair(cell, bytes_on(cell, self.lanes * self.size))

    def load_rows(self, source: Value, count: Value, buffer: Value) -> None:
        numbers, width = (self.n("given"), self.cell) if self.form.real_in else (self.n("given") * 2, self.cell // 2)
        self.perform(self.pack, buffer, source, numbers, self.n("lane"), count, width)
        if self.form.real_in:
            zero = self.code.const(0.0, self.kind, self.lanes)
            self.times(self.n("given"), lambda k: self.at(buffer, k).im.store(zero))

    def load_lanes(self, source: Value, count: Value, buffer: Value) -> None:
        kind, lanes, real = self.kind, self.lanes, self.form.real_in
        there = self.inside(count, lanes if real else 2 * lanes)

        def element(k: Value) -> None:
            at, to = bytes_on(source, k * self.n("step")), self.at(buffer, k)
            if real:
                to.re.store(load(at, kind, lanes, 1, there))
                to.im.store(self.code.const(0.0, kind, lanes))
                return
            both = load(at, kind, 2 * lanes, 1, there)
            to.re.store(shuffle(both, both, range(0, 2 * lanes, 2)))
            to.im.store(shuffle(both, both, range(1, 2 * lanes, 2)))

        self.times(self.n("given"), element)

    def inside(self, count: Value, lanes: int) -> Value:
        """Which numbers of a vector belong to lanes that are there."""
        numbers = count if lanes == self.lanes else count * 2
        return self.code.vector(range(lanes), "i64").compare("slt", numbers.splat(lanes))

    def mirror(self, buffer: Value) -> None:
        """The other half of a spectrum, whose elements are the conjugates of those of the first."""
        n, zero = self.n("n"), self.code.const(0.0, self.kind, self.lanes)
        self.at(buffer, self.code.index(0)).im.store(zero)
        half = n.binary("lshr", 1)
        self.when((n & 1).compare("eq", 0), lambda: self.at(buffer, half).im.store(zero))

        def element(k: Value) -> None:
            here, there = self.at(buffer, k), self.at(buffer, n - k)
            there.re.store(here.re.load(self.kind, self.lanes))
            there.im.store(-here.im.load(self.kind, self.lanes))

        self.between(self.code.index(1), (n + 1).binary("lshr", 1), element)

    def scale(self, buffer: Value) -> None:
        factor = self.n("factor", "double").convert("fptrunc", self.kind).splat(self.lanes)

        def element(k: Value) -> None:
            for place in self.at(buffer, k):
                place.store(place.load(self.kind, self.lanes) * factor)

        self.times(self.n("made"), element)

    def store_rows(self, buffer: Value, target: Value, count: Value, rows: Value) -> None:
        numbers, width = (self.n("made"), self.cell) if self.form.real_out else (self.n("made") * 2, self.cell // 2)
        self.perform(self.pack, rows, buffer, self.lanes, width, numbers, self.n("row"))

        def lane(i: Value) -> None:
            no = Value(self.code, "false", "i1", 0)
            places = [bytes_on(target, i * self.n("to_lane")), bytes_on(rows, i * self.n("row"))]
            self.code.perform("llvm.memcpy.p0.p0.i64", [*places, self.n("bytes"), no])

        self.times(count, lane)

    def store_lanes(self, buffer: Value, target: Value, count: Value) -> None:
        kind, lanes, real = self.kind, self.lanes, self.form.real_out
        there = self.inside(count, lanes if real else 2 * lanes)

        def element(k: Value) -> None:
            at, to = self.at(buffer, k), bytes_on(target, k * self.n("to_step"))
            value = at.re.load(kind, lanes)
            if not real:
                value = shuffle(value, at.im.load(kind, lanes), [k // 2 + k % 2 * lanes for k in range(2 * lanes)])
            store(to, value, 1, there)

        self.times(self.n("made"), element)

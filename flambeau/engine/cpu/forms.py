"""Kernels of loops whose extents and strides are given when they run.

What such a kernel is compiled for is a *form*: the body, dtypes, how many dimensions are walked outside and inside of a row,
which operand lies side by side along the lanes, how values are kept from pass to pass. Loops of all sizes that are scheduled
alike have the same form, so a program whose shapes change at every step has few of them.

A form's kernel gives bit for bit what the one gives that is compiled for a loop's own sizes, since the same
:class:`~flambeau.engine.cpu.schedule.Schedule` decides on the order of additions. What differs changes no bit: more lanes
than a short row has elements, more levels of blocks than a short sum needs (their sums are those of nothing), threads.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from flambeau.core.dtypes import FLOATING, float32, float64, int64
from flambeau.engine.cpu import operations, threads
from flambeau.engine.cpu.codegen import define, joined
from flambeau.engine.cpu.compiler import Machine, Session, session
from flambeau.engine.cpu.division import Finish, Parts, Rows
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.kernel import FAN, Kernel
from flambeau.engine.cpu.schedule import TILE, Schedule
from flambeau.engine.loops import Instr, Loop, numbers_of, text, verify
from flambeau.engine.sized import Sized, Sort

# The words behind the pointers in a kernel's arguments.
ENTRY, TASKS, STEPS, SLOTS, EXTENTS = range(5)

LANES = (4, 16)
"""Rows that are shorter than their vectors would be have vectors of so many lanes."""
LEVELS = (1, 2, 4, 5, 6)
"""In how many levels of blocks sums are made: of up to 64, 4,096, 16 million, 1 billion and 68 billion vectors."""

ROWS, SPLIT, WHOLE = "rows", "split", "whole"
"""What threads divide among them: rows, the reduction of each row, or nothing."""


class Bound(NamedTuple):
    """A loop's form, and what its kernel must be told of this loop: ``words`` follow the pointers among its arguments."""

    form: Form
    words: list[int]


class Form:
    """What a kernel for all sizes is compiled for; ``key`` says so, and the schedule is one of those that have this form.

    ``order``   the dimensions in the order in which their extents and strides are given: those of rows, then those inside
    ``varies``  of each operand, whether it differs along the dimensions inside
    ``steps``   of each operand, the stride from lane to lane: 0, 1, or 2 for any other
    ``levels``  of each dimension inside, in how many levels of blocks sums are made
    ``given``   constants that may follow from sizes, such as what a mean is divided by: they are given with these
    """

    def __init__(self, schedule: Schedule) -> None:
        loop = schedule.loop
        self.schedule = schedule
        self.order = [*schedule.kept, *schedule.reduced]
        accesses = [*loop.inputs, *(a for _, a in loop.outputs)]
        self.varies = [any(a.strides[d] for d in schedule.reduced) for a in accesses]
        lane = schedule.lane_dim
        self.steps = [1 if loop.shape[lane] == 1 else s if (s := a.strides[lane]) in (0, 1) else 2 for a in accesses]
        self.lanes = schedule.lanes
        self.how = SPLIT if schedule.split else WHOLE
        if not schedule.split and (schedule.kept or not loop.reduce) and self.order[0] not in loop.blocked:
            self.how = ROWS
        if not schedule.split:
            known = [n for n in (*LANES, schedule.full_lanes) if schedule.lanes <= n <= schedule.full_lanes]
            self.lanes = min(known, default=schedule.lanes)
        adds = any(i.op == "sum" and i.dtype.kind == FLOATING for i in loop.body)
        self.levels = [self._levels(d) if adds else 1 for d in schedule.reduced]
        places = {d: k for k, d in enumerate(self.order)}
        self.given = [i for i in loop.body if _is_given(i)]
        body = tuple([i._replace(const=places.get(i.const, -1)) if i.op == "index" else i for i in loop.body])  # type: ignore[arg-type]
        numbers = {i: len(loop.scalars) + k for k, i in enumerate(self.given)}
        body = tuple([Instr("scalar", i.dtype, (), numbers[i]) if _is_given(i) else i for i in body])
        flat = loop._replace(
            shape=(2,), reduce=0, block=0, body=body, scalars=(*loop.scalars, *[i.dtype for i in self.given]),
            inputs=tuple([a._replace(strides=(s,)) for a, s in zip(loop.inputs, self.steps)]),
            outputs=tuple([(v, a._replace(strides=(s,))) for (v, a), s in zip(loop.outputs, self.steps[len(loop.inputs) :])]),
        )  # fmt: skip
        fetched = None if schedule.fetching is None else [schedule.fetches(a) for a in accesses]
        self.key = repr((
            text(flat), len(self.given), len(schedule.kept), len(schedule.reduced), loop.reduce != 0, [places[d] for d in loop.blocked if d in places],
            schedule.across, schedule.tile is not None, self.how, self.lanes, self.levels, self.varies,
            schedule.rooms, schedule.fetching, fetched,
        ))  # fmt: skip

    def _levels(self, dim: int) -> int:
        steps = self.schedule.steps if self.schedule.split and dim == self.schedule.divided else self.schedule.trips(dim)
        return next((n for n in LEVELS if FAN**n >= steps), LEVELS[-1])  # nothing in memory is longer

    def trips(self, dim: int) -> int:
        """Steps of a walk over ``dim`` of the form's own schedule."""
        extent = self.schedule.loop.shape[dim]
        return (
            -(-extent // TILE) if dim == self.schedule.tile else extent // self.lanes if dim == self.schedule.lane_dim else extent
        )


def bind(loop: Loop, machine: Machine | None = None) -> Bound:
    """The form of ``loop``, and its sizes."""
    schedule = Schedule(loop, machine or session().machine)
    form = Form(schedule)
    accesses = [*loop.inputs, *(a for _, a in loop.outputs)]
    entry = 0 if schedule.divided is None else threads.entry(schedule.light)
    tasks = schedule.tasks if schedule.split else form.trips(form.order[0]) if form.how == ROWS else 1
    words = [entry, tasks, schedule.steps, schedule.slots() if schedule.split else 0]
    words += [loop.shape[d] for d in form.order]
    for access in accesses:
        words += [access.strides[d] for d in form.order]
    words += [_word(i) for i in form.given]
    return Bound(form, words)


def _is_given(instr: Instr) -> bool:
    """Whether an instruction is a constant that may follow from sizes: a whole number that is not one of the smallest."""
    value = instr.const
    if instr.op != "const" or value is None or instr.dtype not in (float32, float64, int64):
        return False
    return 2 < abs(value) < 1 << 53 and value == int(value)


def _word(instr: Instr) -> int:
    """A constant as it is given: a double, or an integer."""
    value: int = instr.const  # type: ignore[assignment]
    if instr.dtype is not int64:
        (value,) = struct.unpack("<q", struct.pack("<d", float(value)))
    return value


def _with_numbers(loop: Loop, numbers: Sequence) -> Loop:
    """A loop with other extents and strides."""
    rank = len(loop.shape)
    rows = iter([tuple(numbers[k : k + rank]) for k in range(0, len(numbers), rank)])
    shape = next(rows)
    inputs = tuple([a._replace(strides=next(rows)) for a in loop.inputs])
    return loop._replace(shape=shape, inputs=inputs, outputs=tuple([(v, a._replace(strides=next(rows))) for v, a in loop.outputs]))


def sized(loop: Loop, on: Session) -> Sized:
    """The :class:`~flambeau.engine.sized.Sized` of all loops that differ from ``loop`` in the numbers alone: extents and strides."""
    like = _with_numbers(loop, [0] * len(numbers_of(loop)))
    key = "sized " + text(like)
    sort: Sort | None = on.memo.get(key)
    if sort is None:

        def make(numbers: Sequence) -> tuple[Callable[[], int], Sequence[int]]:
            bound = bind(_with_numbers(like, numbers), on.machine)
            return partial(form_kernel, bound.form, on), bound.words

        sort = on.memo[key] = Sort(make)
    return Sized(sort)


def form_kernel(form: Form, on: Session | None = None) -> int:
    """The address of ``void kernel(i8** args)``, compiled if this session does not have it yet."""
    on = on or session()
    address = on.memo.get(form.key)
    if address is None:
        verify(form.schedule.loop)
        name = "form_" + sha256(form.key.encode()).hexdigest()[:24]
        address = on.memo[form.key] = on.compile_ir(form_ir(form, on.machine, name), name)
    return address


def form_ir(form: Form, machine: Machine, name: str) -> str:
    """The LLVM module whose function ``name`` is the kernel of a form."""
    kinds: dict[str, list[Callable[[Form], Kernel]]] = {ROWS: [_Rows], SPLIT: [_Parts, _Finish], WHOLE: [_Whole]}
    parts = [kind(form) for kind in kinds[form.how]]
    for part in parts:
        part.write()
    if form.how == WHOLE:
        return joined([parts[0].code], [define(name, "ptr %args", parts[0].code)])
    frame = Code(machine)
    args = Value(frame, "%args", "ptr", 0)
    first = _first_word(form)
    entry, tasks = args.offset(first + ENTRY, "ptr").load("ptr"), args.offset(first + TASKS, "i64").load("i64")
    if form.how == SPLIT:
        both = frame.allocate("ptr", 2)
        both.store(args)
        slots = args.offset(first + SLOTS, "i64").load("i64")
        accumulators = frame.call("malloc", [tasks * (slots * _slot_bytes(form))], "ptr", 0)
        both.offset(1, "ptr").store(accumulators)
        args = both
    function = f"@{name}.part"
    alone = entry.compare("eq", Value(frame, "null", "ptr", 0))
    frame.line(f"br i1 {alone.ref}, label %alone, label %divided")
    frame.lines += [
        "alone:", f"  call void {function}(ptr {args.ref}, i64 0, i64 {tasks.ref})", "  br label %done",
        "divided:", f"  call void {entry.ref}(ptr {function}, ptr {args.ref}, i64 {tasks.ref})", "  br label %done", "done:",
    ]  # fmt: skip
    functions = [define(f"{name}.part", "ptr %args, i64 %first, i64 %last", parts[0].code, "internal ")]
    if form.how == SPLIT:
        frame.line(f"call void @{name}.finish(ptr {args.ref})")
        frame.perform("free", [accumulators])
        functions.append(define(f"{name}.finish", "ptr %args", parts[1].code, "internal "))
    frame.line("ret void")
    return joined([frame, *(p.code for p in parts)], [*functions, define(name, "ptr %args", frame)])


def _first_word(form: Form) -> int:
    loop = form.schedule.loop
    return len(loop.inputs) + len(loop.outputs) + bool(loop.scalars)


def _slot_bytes(form: Form) -> int:
    """Bytes of a slot for each accumulator of a row."""
    return sum([form.schedule.loop.body[v].dtype.itemsize for v in form.schedule.passes[0][1]])


class _Whole(Kernel):
    """A loop whose extents and strides are read from the arguments."""

    def __init__(self, form: Form) -> None:
        super().__init__(form.schedule)
        self.form = form
        self.lanes = form.lanes

    def _begin(self, args: Value) -> None:
        """Reads what is given; vectors along strided lanes are made of it once."""
        form, order, count = self.form, self.form.order, len(self.form.order)
        first = _first_word(form)
        self.words = [args.offset(first + k, "i64").load("i64") for k in (TASKS, STEPS, SLOTS)]
        self.extents = {d: args.offset(first + EXTENTS + k, "i64").load("i64") for k, d in enumerate(order)}
        self.strides: dict[tuple[int, int], Value] = {}
        self.places: dict[int, Value] = {}
        lane = self.schedule.lane_dim
        for number in range(len(self.accesses)):
            for k, dim in enumerate(order):
                inside = dim in self.schedule.reduced
                if (inside and not form.varies[number]) or (dim == lane and form.steps[number] < 2):
                    continue
                self.strides[number, dim] = args.offset(first + EXTENTS + count * (number + 1) + k, "i64").load("i64")
            if form.steps[number] == 2:
                stride = self.strides[number, lane].convert("trunc", "i32").splat(self.lanes)
                self.places[number] = stride * self.code.vector(range(self.lanes), "i32")

        self.first_given = first + EXTENTS + count * (1 + len(self.accesses))
        self.args = args

    def _evaluate_once(self, instr: Instr) -> Value:
        if not _is_given(instr):
            return super()._evaluate_once(instr)
        place = self.args.offset(self.first_given + self.form.given.index(instr), "i64")
        return place.load("i64") if instr.dtype is int64 else place.load("double").convert("fptrunc", operations.kind(instr.dtype))

    def _is_empty(self) -> bool:
        return False

    def extent(self, dim: int) -> Value:
        return self.extents[dim]

    def stride(self, number: int, dim: int) -> int | Value:
        given = self.strides.get((number, dim))
        if given is not None:
            return given
        return self.form.steps[number] if dim == self.schedule.lane_dim else 0

    def lane_stride(self, number: int) -> int | Value:
        return self.places.get(number, self.form.steps[number])

    def levels(self, dim: int) -> int:
        return self.form.levels[self.schedule.reduced.index(dim)]

    def trips(self, dim: int) -> Value:
        extent = self.extents[dim]
        if dim == self.schedule.tile:
            return (extent + (TILE - 1)).binary("udiv", TILE)
        return extent.binary("udiv", self.lanes) if dim == self.schedule.lane_dim else extent

    def tasks(self) -> Value:
        return self.words[0]

    def steps(self) -> Value:
        return self.words[1]

    def slots(self) -> Value:
        return self.words[2]

    def part_bytes(self) -> Value:
        return self.words[2] * _slot_bytes(self.form)

    def _range(self, dim: int) -> tuple[Value, Value] | None:
        return None


class _Rows(Rows, _Whole):
    def _range(self, dim: int) -> tuple[Value, Value] | None:
        return super()._tasks() if dim == self.form.order[0] else None


class _Parts(Parts, _Whole):
    def levels(self, dim: int) -> int:
        return _Whole.levels(self, dim)


class _Finish(Finish, _Whole):
    pass

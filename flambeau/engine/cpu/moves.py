"""The parts that movements are made of, each compiled for a *form*, whatever the sizes are.

A kernel that moves elements calls such parts one after the other, from a table that stands in the words behind the pointers
among its arguments. So few of them serve all programs: what depends on sizes, which argument is read and which one is written
stands in a part's *job*, some of these words. Places of arguments and strides are in bytes, so copies know of no dtype.

A part is ``part(args, job, first, last)``, which walks along its outermost dim from ``first`` to before ``last``. The words are

    how many parts check indices, how many move, where the fault is, {part, job, last, entry, block, tasks}..., jobs

``job`` counts bytes from the first word on. Where ``entry`` is the address of what divides tasks between threads, each of ``tasks``
is ``block`` steps along the outermost dim; else it is 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import BITS, FLOATS, Code, Value
from flambeau.engine.cpu.frame import bytes_on, kernel, parameter, shared

HEAD, ENTRY = 3, 6
"""Words before the table, and of an entry of it."""

PART = "ptr %args, ptr %job, i64 %first, i64 %last"

ELEMENTS, PAIRS, VECTORS, FOLDED, ALL = "elements", "pairs", "vectors", "folded", "all"
"""How rows are moved: element by element; in two vectors, or in several, of which the last one may write again what the one
before has written; in vectors and what is left in shorter ones, nothing of it twice; by the library's ``memcpy``."""
UNROLLED = 4
"""Elements that are moved in one turn of a loop."""


class Index(NamedTuple):
    """What the code that looks up an entry depends on."""

    kind: str
    wraps: bool  # whether entries may count from the end


class Form(NamedTuple):
    """What the code of a part depends on.

    ``kind``    of the elements: floating point where these are folded in, else integers of their size
    ``rank``    how many dims are walked by loops; a row that is not moved element by element is one dim more
    ``row``     how rows are moved; ``width`` is that of its vectors, in bytes
    ``value``   where it comes from: ``"each"`` element of the source, on from where it begins or ``"back"`` from there; the first
                of each ``"row"``; ``"bits"`` in the job; or a number that is given as a ``"float"``, a ``"double"``, a truth value
                (``"i1"``) or an ``"i64"``
    ``looked``  after how many dims indices are looked up
    ``steps``   of elements, what is walked in the innermost loop (source, result, indices): 0 for nothing, 1 for neighbours, 2
    """

    kind: str
    rank: int
    row: str
    width: int = 0
    value: str = "each"
    fold: str = ""
    indices: tuple[Index, ...] = ()
    looked: int = 0
    reads: int = 0  # how many of the indices, which come first, say where to read
    steps: tuple[int, ...] = ()


class Words:
    """Reads the words of a job, one after the other."""

    def __init__(self, job: Value) -> None:
        self.job = job
        self.read = 0

    def __call__(self, kind: str = "i64") -> Value:
        self.read += 1
        return self.job.offset(self.read - 1, "i64").load(kind)


def argument(args: Value, place: Value) -> Value:
    """The pointer that stands ``place`` bytes behind the first one."""
    return bytes_on(args, place).load("ptr")


def movement_driver(session: Session, pointers: int) -> int:
    """The address of ``void kernel(i8** args)``, which calls parts; the words stand behind so many pointers."""
    key = "movement", pointers
    if key not in session.memo:
        session.memo[key] = kernel(session, "movement", key, _driver(session, pointers), _tasks(session))
    address: int = session.memo[key]
    return address


def _driver(session: Session, pointers: int) -> Code:
    code = Code(session.machine)
    args = parameter(code, "args")
    words = args.offset(pointers, "ptr")
    checks, moves, fault = (words.offset(k, "i64").load("i64") for k in range(HEAD))
    context = code.allocate("ptr", 5)

    def call(i: Value, _: list[Value]) -> list[Value]:
        entry = words.offset(i * ENTRY + HEAD, "i64")
        part, job = entry.load("ptr"), bytes_on(words, entry.offset(1, "i64").load("i64"))
        last, divide = entry.offset(2, "i64").load("i64"), entry.offset(3, "i64").load("ptr")
        alone = divide.compare("eq", Value(code, "null", "ptr", 0))

        def whole() -> list[Value]:
            code.invoke(part, [args, job, code.index(0), last])
            return []

        def divided() -> list[Value]:
            for k, given in enumerate((args, job, part, last, entry.offset(4, "i64").load("i64"))):
                context.offset(k, "i64").store(given)
            tasks = entry.offset(5, "i64").load("i64")
            code.invoke(divide, [Value(code, "@part", "ptr", 0), context, tasks])
            return []

        code.when(alone, [], whole)
        code.when(~alone, [], divided)
        return []

    code.loop(code.index(0), checks, 1, [], call)
    good = code.when(checks.compare("ne", 0), [code.const(True, "i1")],
                     lambda: [argument(args, fault).load("i64").compare("eq", 0)])[0]  # fmt: skip
    code.loop(checks, good.select(checks + moves, checks), 1, [], call)
    return code


def _tasks(session: Session) -> Code:
    """The part that runs tasks of a move: {args, job, part, last, block} is what it is given."""
    code = Code(session.machine)
    context = parameter(code, "args")
    args, job, part = (context.offset(k, "ptr").load("ptr") for k in range(3))
    most, block = (context.offset(k, "i64").load("i64") for k in (3, 4))
    first, last = (parameter(code, name, "i64") * block for name in ("first", "last"))
    code.invoke(part, [args, job, first, code.call("llvm.umin.i64", [last, most], "i64", 0)])
    return code


def part(session: Session, form: Form | tuple) -> int:
    """The address of a part of a form, compiled if this session does not have it yet."""
    if form not in session.memo:
        name = "movement_" + "_".join(str(x) for x in _flat(form))
        write: Callable[[Code], None] = _Part(form).write if isinstance(form, Form) else _OTHERS[form[0]](*form[1:])
        shared(session, name, PART, write)
        session.memo[form] = session.memo[name]
    address: int = session.memo[form]
    return address


def _flat(x: object) -> list:
    return [y for part in x for y in _flat(part)] if isinstance(x, tuple) else [int(x) if isinstance(x, bool) else x]


class _Part:
    """Writes a move. Its job is

    {the result, the source or number, and where in each it begins}, bytes of a row, or elements where they are folded in, bits,
    {place, extent, step} of each index, {extent, strides of the source, the result and each index} of each dim.
    """

    def __init__(self, form: Form) -> None:
        self.form = form
        self.size = BITS[form.kind] // 8
        self.lanes = form.width // self.size

    def write(self, code: Code) -> None:
        form, args, word = self.form, parameter(code, "args"), Words(parameter(code, "job"))
        self.code = code
        target = bytes_on(argument(args, word()), word())
        source = bytes_on(argument(args, word()), word())
        self.row, bits = word(), word()
        self.lookups = [(argument(args, word()), word(), word()) for _ in form.indices]
        self.dims = [[word() for _ in range(3 + len(form.indices))] for _ in range(form.rank)]
        self.value = self.given(source, bits)
        if self.value is not None and self.lanes:
            self.value = self.value.splat(self.lanes)
        at = [source, target, *(pointer for pointer, _, _ in self.lookups)]
        if form.rank:
            first = parameter(code, "first", "i64")
            at = [bytes_on(p, first * s) for p, s in zip(at, self.dims[0][1:], strict=True)]
            self.dims[0][0] = parameter(code, "last", "i64") - first
        self.walk(0, at)

    def given(self, number: Value, bits: Value) -> Value | None:
        """The element that is written everywhere, if it is one."""
        kind, how = self.form.kind, self.form.value
        if how == "bits":
            return bits.convert("trunc", kind)
        if how == "float":
            return number.load("double").convert("fptrunc", "float").bits()
        if how == "double":
            return number.load("double").bits()
        if how == "i1":
            return number.load("double").compare("une", 0.0).convert("zext", kind)
        return number.load("i64").convert("trunc", kind) if how == "i64" else None

    def walk(self, d: int, at: list[Value]) -> None:
        """The loops from dim ``d`` on; ``at`` are the places in the source and the result, and in indices that are still to be
        read."""
        form, code = self.form, self.code
        if d == form.looked and len(at) > 2:
            at = self.shifted(at)
        if d == form.rank:
            self.move(*at)
            return
        extent, *steps = self.dims[d]
        if form.row == ELEMENTS and d == form.rank - 1:
            self.elements(extent, at, steps)
            return

        def step(_: Value, at: list[Value]) -> list[Value]:
            self.walk(d + 1, at)
            return [bytes_on(p, s) for p, s in zip(at, steps)]

        code.loop(code.index(0), extent, 1, at, step)

    def elements(self, count: Value, at: list[Value], steps: list[Value]) -> None:
        """The innermost loop, where rows are no more than elements."""
        form, code = self.form, self.code
        kinds = [form.kind, form.kind, *(x.kind for x in form.indices)]
        far = [k for k in range(len(at)) if form.steps[k] == 2]

        def turn(many: int) -> Callable[[Value, list[Value]], list[Value]]:
            def step(i: Value, moved: list[Value]) -> list[Value]:
                for n in range(many):
                    now = [p.offset(i, kind).offset(n, kind) if how == 1 else p for p, kind, how in zip(at, kinds, form.steps)]
                    for k, p in zip(far, moved):
                        now[k] = p
                    self.walk(form.rank, now)
                    moved = [bytes_on(p, steps[k]) for k, p in zip(far, moved)]
                return moved

            return step

        most = count & -UNROLLED
        moved = code.loop(code.index(0), most, UNROLLED, [at[k] for k in far], turn(UNROLLED))
        code.loop(most, count, 1, moved, turn(1))

    def shifted(self, at: list[Value]) -> list[Value]:
        """The places in source and result with what the indices say."""
        ends = at[:2]
        for k, (pointer, index, (_, extent, step)) in enumerate(zip(at[2:], self.form.indices, self.lookups, strict=True)):
            i = pointer.load(index.kind).convert("sext", "i64")
            if index.wraps:
                i = i.compare("slt", 0).select(i + extent, i)
            i = i.compare("ult", extent).select(i, 0)  # whatever it is now that others have looked, it is no place outside
            which = 0 if k < self.form.reads else 1
            ends[which] = bytes_on(ends[which], i * step)
        return ends

    def move(self, source: Value, target: Value) -> None:
        """One row, or one element."""
        form, code, kind, lanes = self.form, self.code, self.form.kind, self.lanes
        if form.row == ALL:
            code.perform("llvm.memcpy.p0.p0.i64", [target, source, self.row, Value(code, "false", "i1", 0)])
        elif form.row == ELEMENTS:
            value = self.value or source.load(kind)
            target.store(self.folded(target.load(kind), value) if form.fold else value)
        elif form.row == FOLDED:
            self.fold(source, target)
        else:
            many = self.value or (source.load(kind).splat(lanes) if form.value == "row" else None)

            def vector(i: Value) -> None:
                if form.value == "back":
                    value = bytes_on(source, self.size - form.width - i).load(kind, lanes, align=1).reversed()
                else:
                    value = many or bytes_on(source, i).load(kind, lanes, align=1)
                bytes_on(target, i).store(value, align=1)

            last = self.row - form.width
            if form.row == PAIRS:
                vector(code.index(0))
            else:
                self.vectors(last, form.width, vector)
            vector(last)

    def folded(self, old: Value, new: Value) -> Value:
        """What becomes of what is there and one more."""
        if self.form.fold == "add":
            return old + new
        ordered = "o" if new.kind in FLOATS else "s"
        chosen = new.compare(ordered + ("gt" if self.form.fold == "max" else "lt"), old)
        if new.kind in FLOATS:  # NaN stays, whichever it is
            chosen = chosen | new.compare("uno", new)
        return chosen.select(new, old)

    def fold(self, source: Value, target: Value) -> None:
        """Folds a row in."""
        code, kind, spread = self.code, self.form.kind, self.form.value == "row"
        one = source.load(kind) if spread else None

        def vector(i: Value, lanes: int) -> None:
            value = source.offset(i, kind).load(kind, lanes) if one is None else one.splat(lanes)
            place = target.offset(i, kind)
            place.store(self.folded(place.load(kind, lanes), value), align=self.size)

        def rest(lanes: int) -> Callable[[], list[Value]]:
            def write() -> list[Value]:
                vector(self.row & -2 * lanes, lanes)
                return []

            return write

        def rests() -> list[Value]:
            lanes = self.lanes // 2
            while lanes:
                code.when((self.row & lanes).compare("ne", 0), [], rest(lanes))
                lanes //= 2
            return []

        self.vectors(self.row & -self.lanes, self.lanes, lambda i: vector(i, self.lanes))
        code.when((self.row & self.lanes - 1).compare("ne", 0), [], rests)

    def vectors(self, stop: Value, step: int, body: Callable[[Value], None]) -> None:
        def one(i: Value, _: list[Value]) -> list[Value]:
            body(i)
            return []

        self.code.loop(self.code.index(0), stop, step, [], one)


def _check(kind: str, rank: int, lanes: int) -> Callable[[Code], None]:
    """Sets the fault where an entry, plus the first of two numbers, is not below the second one: job {the fault, the index, the two
    numbers, {extent, stride} of each dim}. Along the innermost dim so many ``lanes`` are neighbours."""

    def write(code: Code) -> None:
        args, word = parameter(code, "args"), Words(parameter(code, "job"))
        fault, index = argument(args, word()), argument(args, word())
        low, limit = word(), word()
        dims = [(word(), word()) for _ in range(rank)]

        def beyond(pointer: Value, lanes: int = 0) -> Value:
            return (pointer.load(kind, lanes).convert("sext", "i64") + low.splat(lanes)).compare("uge", limit.splat(lanes))

        def walk(d: int, pointer: Value, wrong: Value) -> Value:
            if d == rank:
                return wrong | beyond(pointer)
            extent, stride = dims[d]
            start = code.index(0)
            if d == rank - 1 and lanes:
                start = extent & -lanes
                none = code.const(False, "i1", lanes)
                found = code.loop(code.index(0), start, lanes, [none], lambda i, c: [c[0] | beyond(pointer.offset(i, kind), lanes)])
                wrong, pointer = wrong | found[0].any(), pointer.offset(start, kind)

            def step(_: Value, carried: list[Value]) -> list[Value]:
                return [bytes_on(carried[0], stride), walk(d + 1, *carried)]

            return code.loop(start, extent, 1, [pointer, wrong], step)[1]

        def refuse() -> list[Value]:
            fault.store(code.index(1))
            return []

        code.when(walk(0, index, code.const(False, "i1")), [], refuse)

    return write


def _zeros() -> Callable[[Code], None]:
    """The whole result becomes zeros: job {result, bytes}."""

    def write(code: Code) -> None:
        word = Words(parameter(code, "job"))
        result = argument(parameter(code, "args"), word())
        code.perform("llvm.memset.p0.i64", [result, Value(code, "0", "i8", 0), word(), Value(code, "false", "i1", 0)])

    return write


def _base() -> Callable[[Code], None]:
    """The whole result becomes the first argument, which may lie in its memory: job {result, bytes}."""

    def write(code: Code) -> None:
        args, word = parameter(code, "args"), Words(parameter(code, "job"))
        result, base = argument(args, word()), args.load("ptr")

        def copy() -> list[Value]:
            code.perform("llvm.memcpy.p0.p0.i64", [result, base, word(), Value(code, "false", "i1", 0)])
            return []

        code.when(result.compare("ne", base), [], copy)

    return write


_OTHERS: dict[str, Callable[..., Callable[[Code], None]]] = {"check": _check, "zeros": _zeros, "base": _base}

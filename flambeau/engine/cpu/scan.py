"""Running sums, products and extremes.

``scan_kernel(spec)`` gives the address of ``void kernel(i8** args)`` with ``args = {input, result[, places], words...}``, and the
words, which say how large everything is. Floating-point numbers are added in double precision, one after the other, as the
interpreter does:
the result is the same bit for bit.

Lines that are neighbours in memory are done together, a vector of them. Extremes along neighbours are found for a vector of
elements at a time: mostly none of them is a new one, which one comparison tells; else each lane takes in those before it in
log2(lanes) steps.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from flambeau.core.dtypes import FLOATING
from flambeau.core.dtypes import dtype as DType
from flambeau.core.size import contiguous_strides
from flambeau.engine.cpu import memory, threads
from flambeau.engine.cpu.compiler import Session, session
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import Frame, bytes_on, kernel, parameter, run_divided
from flambeau.engine.cpu.operations import memory_kind
from flambeau.engine.cpu.specs import ScanSpec
from flambeau.engine.cpu.tiles import shuffle

EXTREMES = ("max", "min")
_MOST_LANES = 16
WORTH_DIVIDING = 1 << 16
"""Scans of this many elements are divided between threads."""


def scan_kernel(spec: ScanSpec) -> tuple[int, tuple[int, ...]]:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments."""
    size, targets = spec.dtype.itemsize, contiguous_strides(spec.shape)
    steps = [[s * size for s in spec.strides], [t * size for t in targets]]
    if spec.how in EXTREMES:
        steps.append([t * 8 for t in targets])
    walks = list(zip(spec.shape, *steps, strict=True))
    along = walks.pop(spec.dim)
    lines: list[tuple[int, ...]] = []
    for n, *apart in walks:
        if lines and list(lines[-1][1:]) == [n * s for s in apart]:
            n *= lines.pop()[0]
        if n > 1:
            lines.append((n, *apart))
    neighbours = [size, size, 8][: len(steps)]
    how = ""
    if lines and list(lines[-1][1:]) == neighbours and lines[-1][0] > 2:
        how = "lines"
    elif spec.how in EXTREMES and list(along[1:]) == neighbours:
        how = "elements"
    on = session()
    divided = prod(spec.shape) >= WORTH_DIVIDING and len(lines) > 0
    words = (threads.entry(light=False) if divided else 0, *[word for walk in (*lines, along) for word in walk])
    form = ("scan", spec.dtype, spec.how, len(lines), how)
    if form not in on.memo:
        on.memo[form] = _Scan(on, *form[1:]).kernel(form)
    return on.memo[form], words


class _Scan(Frame):
    """Writes the kernel for lines along ``rank`` dims. Its words are what divides it between threads, and {extent, bytes from
    element to element of each argument} of each of these dims and of the one along which it goes.

    ``vectors`` are of neighbouring ``"lines"``, or of ``"elements"`` of a line; ``""``: there are none.
    """

    def __init__(self, on: Session, dtype: DType, how: str, rank: int, vectors: str) -> None:
        super().__init__(on, memory_kind(dtype))
        self.lanes = min(self.lanes, _MOST_LANES)
        self.how, self.rank, self.vectors, self.floating = how, rank, vectors, dtype.kind == FLOATING
        self.pointers = 3 if how in EXTREMES else 2
        self.wide = "double" if self.floating else self.kind
        self.first = self._before(dtype)

    def _before(self, dtype: DType) -> float:
        """What a line begins with, such that nothing comes of it."""
        if self.how == "product":
            return 1
        if self.how == "sum":
            return -0.0 if self.floating else 0  # -0.0 + x is x, whatever x is
        if self.floating:
            return -np.inf if self.how == "max" else np.inf
        limits = np.iinfo(dtype.np)
        return int(limits.min if self.how == "max" else limits.max)

    def kernel(self, form: tuple) -> int:
        outer = Frame(self.session, self.kind)
        args = parameter(outer.code, "args")
        entry, tasks = args.offset(self.pointers, "ptr").load("ptr"), outer.code.index(1)
        if self.rank:
            tasks = args.offset(self.pointers + 1, "i64").load("i64")
            if self.rank == 1 and self.vectors == "lines":
                tasks = (tasks + (self.lanes - 1)).binary("udiv", self.lanes)
        run_divided(outer.code, args, tasks, entry)
        self.write()
        return kernel(self.session, "scan", form, outer.code, self.code)

    def write(self) -> None:
        code, args = self.code, parameter(self.code, "args")
        count = self.pointers + 1
        self.words = [args.offset(count + k, "i64").load("i64") for k in range(count * (self.rank + 1))]
        at = self.arguments(self.pointers, args)
        first, last = parameter(code, "first", "i64"), parameter(code, "last", "i64")
        if not self.rank:
            self.line(at)
        elif self.rank == 1 and self.vectors == "lines":
            self.some_lines(at, first * self.lanes, (last * self.lanes).intrinsic("smin", self.words[0]))
        else:
            self.walk(0, [bytes_on(p, first * s) for p, s in zip(at, self.words[1:count], strict=True)], first, last)

    def walk(self, d: int, at: list[Value], first: Value, last: Value) -> None:
        """The lines from ``first`` to ``last`` of dim ``d``, the first of which is ``at``."""
        count = self.pointers + 1
        steps = self.words[count * d + 1 : count * (d + 1)]

        def one(_: Value, at: list[Value]) -> list[Value]:
            if d + 1 == self.rank:
                self.line(at)
            elif d + 2 == self.rank and self.vectors == "lines":
                self.some_lines(at, self.code.index(0), self.words[count * (d + 1)])
            else:
                self.walk(d + 1, at, self.code.index(0), self.words[count * (d + 1)])
            return self.moved(at, steps)

        self.code.loop(first, last, 1, at, one)

    @property
    def along(self) -> tuple[Value, list[Value]]:
        """How many elements a line has, and how far apart they are."""
        extent, *steps = self.words[-self.pointers - 1 :]
        return extent, steps

    def moved(self, at: list[Value], steps: list[Value]) -> list[Value]:
        return [bytes_on(p, s) for p, s in zip(at, steps, strict=True)]

    def some_lines(self, at: list[Value], first: Value, last: Value) -> None:
        """Vectors of lines that are neighbours."""
        sizes, lanes = [self.size, self.size, 8][: self.pointers], self.lanes
        numbers = self.code.vector(range(lanes), "i64")

        def vector(u: Value, _: list[Value]) -> list[Value]:
            mask = (u.splat(lanes) + numbers).compare("slt", last.splat(lanes))
            here = [bytes_on(p, u * size) for p, size in zip(at, sizes, strict=True)]
            whole = (last - u).compare("sge", lanes)
            self.when(whole, lambda: self.line(here, lanes))
            self.when(~whole, lambda: self.line(here, lanes, mask))
            return []

        self.code.loop(first, last, lanes, [], vector)

    def line(self, at: list[Value], lanes: int = 0, mask: Value | None = None) -> None:
        """One line, or a vector of lines."""
        code, (extent, steps) = self.code, self.along

        def load(source: Value) -> Value:
            return memory.load(source, self.kind, lanes, 1, mask) if lanes else source.load(self.kind)

        def store(target: Value, value: Value) -> None:
            memory.store(target, value, 1, mask) if lanes else target.store(value)

        def element(_: Value, carried: list[Value]) -> list[Value]:
            *at, so_far = carried
            x = load(at[0]).convert("fpext", self.wide)
            total = so_far * x if self.how == "product" else so_far + x
            store(at[1], total.convert("fptrunc", self.kind))
            return [*self.moved(at, steps), total]

        def extreme(i: Value, carried: list[Value]) -> list[Value]:
            *at, best, which = carried
            best, which = self.newer(load(at[0]), i.splat(lanes), best, which)
            store(at[1], best)
            store(at[2], which)
            return [*self.moved(at, steps), best, which]

        if self.how not in EXTREMES:
            code.loop(code.index(0), extent, 1, [*at, code.const(self.first, self.wide, lanes)], element)
            return
        best, which = code.const(self.first, self.kind, lanes), code.const(0, "i64", lanes)
        if self.vectors == "elements":
            start, best, which = self.blocks(at, extent, best, which)
            at = [p.offset(start, kind) for p, kind in zip(at, (self.kind, self.kind, "i64"), strict=True)]
            code.loop(start, extent, 1, [*at, best, which], extreme)
        else:
            code.loop(code.index(0), extent, 1, [*at, best, which], extreme)

    def newer(self, x: Value, i: Value, best: Value, which: Value) -> tuple[Value, Value]:
        """The extreme and its place when element ``i`` has been looked at."""
        is_newer = self.reaches(x, best)
        if self.floating:
            is_newer = is_newer | x.compare("uno", x)  # NaN stays, and the last one is it
        return is_newer.select(x, best), is_newer.select(i, which)

    def reaches(self, x: Value, best: Value) -> Value:
        return x.compare(("o" if self.floating else "s") + ("ge" if self.how == "max" else "le"), best)

    def blocks(self, at: list[Value], extent: Value, best: Value, which: Value) -> tuple[Value, Value, Value]:
        """All vectors of elements that a line has whole: where they end, the extreme by then and its place."""
        code, lanes = self.code, self.lanes
        end = extent - (extent & (lanes - 1))

        def block(i: Value, carried: list[Value]) -> list[Value]:
            best, which = carried
            source, target, places = (p.offset(i, kind) for p, kind in zip(at, (self.kind, self.kind, "i64"), strict=True))
            x = source.load(self.kind, lanes)
            is_newer, is_nan = self.reaches(x, best.splat(lanes)), x.compare("uno", x) if self.floating else None
            some = is_newer.any() if is_nan is None else (is_newer | is_nan).any()

            def old() -> list[Value]:
                target.store(best.splat(lanes))
                places.store(which.splat(lanes))
                return []

            def among_numbers() -> list[Value]:
                values = self.prefix(x, self.first, self.later)
                values = self.later(best.splat(lanes), values)
                there = self.reaches(x, values).select(code.vector(range(lanes), "i32"), code.const(-1, "i32", lanes))
                last = self.prefix(there, -1, lambda a, b: a.intrinsic("smax", b)).convert("sext", "i64")
                found = last.compare("slt", 0).select(which.splat(lanes), last + i.splat(lanes))
                target.store(values)
                places.store(found)
                return [values.lane(lanes - 1), found.lane(lanes - 1)]

            def one_by_one() -> list[Value]:
                def element(k: Value, carried: list[Value]) -> list[Value]:
                    best, which = self.newer(source.offset(k, self.kind).load(self.kind), i + k, *carried)
                    target.offset(k, self.kind).store(best)
                    places.offset(k, "i64").store(which)
                    return [best, which]

                return code.loop(code.index(0), code.index(lanes), 1, [best, which], element)

            def changed() -> list[Value]:
                if is_nan is None:
                    return among_numbers()
                nan = is_nan.any()
                found = code.when(~nan, [best, which], among_numbers)
                return code.when(nan, found, one_by_one)

            code.when(~some, [], old)
            return code.when(some, [best, which], changed)

        best, which = code.loop(code.index(0), end, lanes, [best, which], block)
        return end, best, which

    def later(self, a: Value, b: Value) -> Value:
        """The extreme of what comes earlier and what comes later, of which the later one stands where they are equal."""
        beyond = a.compare(("o" if self.floating else "s") + ("gt" if self.how == "max" else "lt"), b)
        return beyond.select(a, b)

    def prefix(self, x: Value, nothing: float, combined: Callable[[Value, Value], Value]) -> Value:
        """Each lane combined with all before it."""
        before, step = self.code.const(nothing, x.kind, x.lanes), 1
        while step < x.lanes:
            x = combined(shuffle(before, x, range(x.lanes - step, 2 * x.lanes - step)), x)
            step *= 2
        return x

"""Pooling: windows that cover planes evenly, one after the other, and the gradient of maxima."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import bytes_on
from flambeau.engine.cpu.memory import store
from flambeau.engine.cpu.planes import SHARED, Planes, planes_kernel, shared_by
from flambeau.engine.cpu.specs import KINDS, BinSpec, ScatterSpec


class Form(NamedTuple):
    """What the text of these kernels depends on."""

    kind: str
    onward: bool = True  # whether columns lie one after the other
    whole: bool = False  # whether there is one window
    apart: bool = False  # whether windows do not overlap


def clear(w: Planes, memory: Value, count: Value) -> None:
    """Writes so many zeros."""
    code = w.code
    code.perform("llvm.memset.p0.i64", [memory, Value(code, "0", "i8", 0), count * w.size, Value(code, "false", "i1", 0)])


def bin_kernel(spec: BinSpec, session: Session) -> tuple[int, tuple[int, ...]]:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments."""
    words = {"size": spec.size[0] * spec.size[1], "windows": spec.outputs[0] * spec.outputs[1]}
    for end, n, m in zip(("_down", "_across"), spec.size, spec.outputs):
        words |= {"size" + end: n, "windows" + end: m, "whole" + end: n // m, "rest" + end: n % m}
    apart = all(n % m == 0 for n, m in zip(spec.size, spec.outputs))
    back = spec.part == "mean gradient"
    form = Form(KINDS[spec.dtype.name], spec.strides[3] > 0 or back, words["windows"] == 1 and not back, apart and back)
    writer = {"max": _BinMaxima, "mean": _BinMeans, "mean gradient": _BinGradient}[spec.part]
    return planes_kernel(session, writer, form, shared_by(spec, max(words["size"], words["windows"])) | words)


class _Bins(Planes):
    """One window after the other."""

    names = (
        *SHARED, "size", "windows", "size_down", "size_across", "windows_down", "windows_across",
        "whole_down", "whole_across", "rest_down", "rest_across",
    )  # fmt: skip

    def bins(self, end: str, body: Callable[[Value, Value, Value], None]) -> None:
        """``body(i, first, last)`` for each window along a dim, with the elements that it goes from and to.

        Number ``i`` begins with element ``i * n // m`` and goes to before ``-(-(i + 1) * n // m)``. Of the division by ``m`` the
        remainder is carried, so that nothing has to be divided.
        """
        code = self.code
        count, whole, rest = (getattr(self.n, f"{name}_{end}") for name in ("windows", "whole", "rest"))

        def step(i: Value, carried: list[Value]) -> list[Value]:
            first, left = carried
            left = left + rest
            over = left.compare("sge", count)
            after, left = first + whole + over.convert("zext", "i64"), over.select(left - count, left)
            body(i, first, after + left.compare("ne", 0).convert("zext", "i64"))
            return [after, left]

        code.loop(code.index(0), count, 1, [code.index(0), code.index(0)], step)

    def rows(self, at: Value, count: Value, carried: list[Value], body: Callable) -> list[Value]:
        """``carried = body(line, carried)`` for so many rows."""

        def row(_: Value, carried: list[Value]) -> list[Value]:
            line, *others = carried
            return [bytes_on(line, self.n.row), *body(line, others)]

        return self.code.loop(self.code.index(0), count, 1, [at, *carried], row)[1:]

    def columns(self, line: Value, end: Value, carried: list[Value], body: Callable) -> list[Value]:
        """``carried = body(at, carried)`` for the elements of a row; ``end`` is how far it goes, or how many there are."""
        column, zero = self.n.column, self.code.index(0)
        if self.form.onward:
            return self.code.loop(zero, end, column, carried, lambda i, carried: body(line.offset(i, self.kind), carried))
        return self.code.loop(zero, end, 1, carried, lambda i, carried: body(line.offset(i * column, self.kind), carried))

    def plane(self, x: Value, *others: Value) -> None:
        n, zero = self.n, self.code.index(0)
        if self.form.whole:
            end = n.size_across * n.column if self.form.onward else n.size_across
            self.window(x, zero, (n.size_down, n.size_across, end), zero, *others)
            return

        def row(t: Value, top: Value, bottom: Value) -> None:
            line, start = bytes_on(x, top * n.row), top * n.size_across

            def column(u: Value, left: Value, right: Value) -> None:
                corner, width = line.offset(left * n.column, self.kind), right - left
                extents = bottom - top, width, width * n.column if self.form.onward else width
                self.window(corner, start + left, extents, t * n.windows_across + u, *others)

            self.bins("across", column)

        self.bins("down", row)

    def window(self, corner: Value, start: Value, extents: tuple[Value, ...], to: Value, *others: Value) -> None:
        """The window whose first element lies at ``corner`` and is number ``start`` of the plane. It has so many rows and columns,
        and a row of it the ``end`` that :meth:`columns` is to be told."""
        raise NotImplementedError


class _BinMaxima(_Bins):
    made = (("", "windows"), ("i64", "windows"))

    def window(self, corner: Value, start: Value, extents: tuple[Value, ...], to: Value, *others: Value) -> None:
        lanes = 4  # all alike: of vectors the lanes are chosen without a detour

        def row(line: Value, carried: list[Value]) -> list[Value]:
            def column(at: Value, carried: list[Value]) -> list[Value]:
                place, best, which = carried
                value = at.load(self.kind).splat(lanes)
                newer = value.compare("ogt", best) | value.compare("uno", value)
                return [place + 1, newer.select(value, best), newer.select(place, which)]

            place, *rest = carried
            return [place + self.wide(self.n.size_across, lanes), *self.columns(line, extents[2], [place, *rest], column)[1:]]

        lowest, first = self.code.const(float("-inf"), self.kind, lanes), self.wide(start, lanes)
        _, best, which = self.rows(corner, extents[0], [first, lowest, first], row)
        others[0].offset(to, self.kind).store(best.lane(0))
        others[1].offset(to, "i64").store(which.lane(0).convert("sext", "i64"))


class _BinMeans(_Bins):
    made = (("", "windows"),)

    def window(self, corner: Value, start: Value, extents: tuple[Value, ...], to: Value, *others: Value) -> None:
        zero = self.code.const(0.0, self.kind)

        def row(line: Value, carried: list[Value]) -> list[Value]:
            return [carried[0] + self.columns(line, extents[2], [zero], lambda at, sums: [sums[0] + at.load(self.kind)])[0]]

        (total,) = self.rows(corner, extents[0], [zero], row)
        others[0].offset(to, self.kind).store(total / (extents[0] * extents[1]).convert("sitofp", self.kind))


class _BinGradient(_Bins):
    """For each element the sum of what each window that it is in gives to its elements.

    For a row of windows this is the same in all rows of the plane that they reach: the sums are made once, in a line.
    """

    made = (("", "size"),)

    def prepare(self) -> None:
        self.line, self.memory = self.heap((self.n.size_across + self.lanes) * self.size)

    def finish(self) -> None:
        self.release(self.memory)

    def plane(self, x: Value, *others: Value) -> None:
        code, n, kind = self.code, self.n, self.kind
        (to,) = others
        if not self.form.apart:
            clear(self, to, n.size)

        def row(t: Value, top: Value, bottom: Value) -> None:
            source = bytes_on(x, t * n.row)
            clear(self, self.line, n.size_across)

            def window(u: Value, left: Value, right: Value) -> None:
                value = source.offset(u * n.column, kind).load(kind)
                share = value / ((bottom - top) * (right - left)).convert("sitofp", kind)

                def column(c: Value) -> None:
                    place = self.line.offset(c, kind)
                    place.store(place.load(kind) + share)

                self.between(left, right, column)

            self.bins("across", window)

            def strip(u: Value, _: list[Value]) -> list[Value]:
                sums = self.line.offset(u, kind).load(kind, self.lanes)
                written = (u.splat(self.lanes) + self.iota(kind="i64")).compare("slt", n.size_across.splat(self.lanes))

                def put(_: Value, at: list[Value]) -> list[Value]:
                    value = sums if self.form.apart else self.masked(at[0], written, 0.0) + sums
                    store(at[0], value, 1, written)
                    return [bytes_on(at[0], n.size_across * self.size)]

                code.loop(top, bottom, 1, [to.offset(top * n.size_across + u, kind)], put)
                return []

            code.loop(code.index(0), n.size_across, self.lanes, [], strip)

        self.bins("down", row)


def scatter_kernel(spec: ScatterSpec, session: Session) -> tuple[int, tuple[int, ...]]:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments."""
    rows, columns = spec.outputs
    count = rows * columns
    if spec.strides[2] == columns * spec.strides[3]:
        rows, columns = 1, count
    words = {"size": spec.size, "windows": count, "windows_down": rows, "windows_across": columns}
    return planes_kernel(session, _Scatter, Form(KINDS[spec.dtype.name]), shared_by(spec, count) | words)


class _Scatter(Planes):
    names = (*SHARED, "size", "windows", "windows_down", "windows_across")
    made = (("i64", "windows"), ("", "size"))

    def plane(self, x: Value, *others: Value) -> None:
        indices, to = others
        code, n, kind = self.code, self.n, self.kind
        clear(self, to, n.size)
        step = n.column * self.size

        def row(_: Value, at: list[Value]) -> list[Value]:
            line, which = at

            def one(_: Value, at: list[Value]) -> list[Value]:
                source, which = at
                index = which.load("i64")

                def add() -> None:
                    place = to.offset(index, kind)
                    place.store(place.load(kind) + source.load(kind))

                self.when(index.compare("ult", n.size), add)  # whatever somebody has written to the indices
                return [bytes_on(source, step), which.offset(1, "i64")]

            _, which = code.loop(code.index(0), n.windows_across, 1, [line, which], one)
            return [bytes_on(line, n.row), which]

        code.loop(code.index(0), n.windows_down, 1, [x, indices], row)

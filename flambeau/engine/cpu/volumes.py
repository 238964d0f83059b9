"""Maxima and means of windows that slide over volumes, and the gradient of means.

Windows that are neighbours in a row are done together, a vector of them. Sums are made in the order that loops over a window's
slices, rows and columns make them, each row summed first, then each slice.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import NamedTuple

from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import bytes_on, lanes_of
from flambeau.engine.cpu.memory import store
from flambeau.engine.cpu.planes import SHARED, Planes, bits_of, gathers, planes_kernel, shared_by
from flambeau.engine.cpu.specs import KINDS, VolumeSpec

_UNROLLED = 4
"""Columns of a window that are code of their own."""
_DIMS = ("deep", "down", "across")
_NUMBERS = ("size", "windows", "kernel", "stride", "padding", "dilation")


class Form(NamedTuple):
    """What the text of a kernel depends on."""

    kind: str
    lanes: int
    columns: int  # of a window; 0 for a number that is given at run time
    stride: int  # of windows along a row, of a gradient; 0 likewise
    reads: str  # how neighbouring windows lie, see ``gathers``
    counts: bool  # whether the elements of each window are counted, or sums divided by a number
    padded: bool


def volume_kernel(spec: VolumeSpec, session: Session) -> tuple[int, tuple[int, ...]]:
    """The address of a kernel for maxima or means, and the words that follow the pointers among its arguments."""
    kind, back = KINDS[spec.dtype.name], spec.part == "mean gradient"
    made = spec.size if back else spec.outputs
    lanes = min(max(1 << (made[2] - 1).bit_length(), 4), lanes_of(session, kind))
    image, channel, deep, row, column = spec.strides
    form = Form(
        kind, lanes, spec.kernel[2] if spec.kernel[2] <= _UNROLLED else 0, spec.stride[2] if back and spec.stride[2] <= _UNROLLED else 0,
        "" if back else gathers(spec.stride[2] * column), spec.part != "max" and spec.divisor is None, spec.padded,
    )  # fmt: skip
    words = {"made": prod(made), "slice": deep * spec.dtype.itemsize}
    words |= {"divisor": bits_of(1 if spec.divisor is None else spec.divisor, kind)}
    for d, end in enumerate(_DIMS):
        for name, values in zip(
            _NUMBERS, (spec.size, spec.outputs, spec.kernel, spec.stride, spec.padding, spec.dilation), strict=True
        ):
            words[f"{name}_{end}"] = values[d]
    shared = shared_by(spec, prod(spec.outputs) * prod(spec.kernel), (image, channel, row, column))
    return planes_kernel(session, _WRITERS[spec.part], form, shared | words)


class _Volumes(Planes):
    """Planes are volumes here: the slices of one channel of one image."""

    names = (*SHARED, "made", "slice", *(f"{name}_{end}" for end in _DIMS for name in _NUMBERS), "divisor")
    fill = 0.0
    over = "windows"  # what results there are one of each
    form: Form

    def prepare(self) -> None:
        n, self.lanes = self.n, self.form.lanes
        if self.form.columns:
            n.kernel_across = self.code.index(self.form.columns)
        if self.form.stride:
            n.stride_across = self.code.index(self.form.stride)
        self.lanes_apart = self.apart(n.stride_across * n.column, self.form.reads)
        self.right = n.dilation_across * n.column

    def plane(self, x: Value, *others: Value) -> None:
        code, zero = self.code, self.code.index(0)
        deep, down, across = (self.number(self.over, end) for end in _DIMS)

        def slices(a: Value, to: list[Value]) -> list[Value]:
            def rows(b: Value, to: list[Value]) -> list[Value]:
                def strip(u: Value, _: list[Value]) -> list[Value]:
                    self.windows(x, a, b, u, to[0] + u, *others)
                    return []

                code.loop(zero, across, self.lanes, [], strip)
                return [to[0] + across]

            return code.loop(zero, down, 1, to, rows)

        code.loop(zero, deep, 1, [zero], slices)

    def windows(self, x: Value, a: Value, b: Value, u: Value, to: Value, *others: Value) -> None:
        """A vector of windows: those of slice ``a`` and row ``b`` from column ``u`` on."""
        raise NotImplementedError

    def number(self, name: str, end: str) -> Value:
        value: Value = getattr(self.n, f"{name}_{end}")
        return value

    def inside(self, which: Value, end: str) -> tuple[Value, Value, Value]:
        """Where a window begins along a dim, and which of its elements are inside of the volume: the first, and that after the
        last."""
        size, kernel, step = (self.number(name, end) for name in ("size", "kernel", "dilation"))
        start = self.begin(which, end)
        first = ((0 - start).intrinsic("smax", 0) + step - 1).binary("udiv", step)
        last = ((size - start).intrinsic("smax", 0) + step - 1).binary("udiv", step)
        return start, first, last.intrinsic("smin", kernel)

    def begin(self, which: Value, end: str) -> Value:
        """Where a window begins along a dim."""
        return which * self.number("stride", end) - self.number("padding", end)

    def divisor(self, deep: Value, down: Value, across: Value) -> Value:
        """What the sums of windows are divided by that begin with a slice, a row and some columns."""
        if not self.form.counts:
            return self.n.divisor.splat(self.lanes)
        lines = self.counted(self.wide(deep), "deep") * self.counted(self.wide(down), "down")
        return (lines * self.counted(across, "across")).convert("sitofp", self.kind)

    def counted(self, start: Value, end: str) -> Value:
        """How many elements count of the windows that begin with ``start`` along a dim."""
        kernel, size, padding = (self.wide(self.number(name, end)) for name in ("kernel", "size", "padding"))
        last = start + kernel
        if self.form.padded:
            return last.intrinsic("smin", size + padding) - start
        return last.intrinsic("smin", size) - start.intrinsic("smax", 0)

    def lines(self, x: Value, slices: tuple, rows: tuple, u: Value) -> Callable:
        """``line(i, j, carried, body)`` for row ``j`` of slice ``i`` of windows: ``carried = body(k, elements, carried)`` for each
        column."""
        code, n = self.code, self.n
        left = u * n.stride_across - n.padding_across
        start = self.wide(left) + self.iota() * self.wide(n.stride_across)
        written = self.along(u).compare("slt", self.wide(n.windows_across))
        corner = bytes_on(x, slices[0] * n.slice + rows[0] * n.row).offset(left * n.column, self.kind)
        deeper, below = n.slice * n.dilation_deep, n.row * n.dilation_down

        def line(i: Value, j: Value, carried: list[Value], body: Callable) -> list[Value]:
            place = bytes_on(corner, i * deeper + j * below)

            def column(k: Value, carried: list[Value]) -> list[Value]:
                at = start + self.wide(k * n.dilation_across)
                mask = at.compare("ult", self.wide(n.size_across)) & written
                return list(
                    body(k, self.masked(place.offset(k * self.right, self.kind), mask, self.fill, self.lanes_apart), carried)
                )

            if not self.form.columns:
                return code.loop(code.index(0), n.kernel_across, 1, carried, column)
            for k in range(self.form.columns):
                carried = column(code.index(k), carried)
            return carried

        self.start, self.written = start, written
        return line


class _Maxima(_Volumes):
    fill = float("-inf")
    made = (("", "made"), ("i64", "made"))

    def windows(self, x: Value, a: Value, b: Value, u: Value, to: Value, *others: Value) -> None:
        code, n, (y, indices) = self.code, self.n, others
        slices, rows = self.inside(a, "deep"), self.inside(b, "down")
        line = self.lines(x, slices, rows, u)
        step, before = self.wide(n.dilation_across), (0 - self.start).intrinsic("smax", 0)
        nearest = self.start + (before + (step - 1)).binary("udiv", step) * step  # the first column that is inside

        def place(i: Value, j: Value) -> Value:
            """Where a row of a window begins in the volume."""
            return ((slices[0] + i * n.dilation_deep) * n.size_down + rows[0] + j * n.dilation_down) * n.size_across

        def of_slice(i: Value, carried: list[Value]) -> list[Value]:
            def of_row(j: Value, carried: list[Value]) -> list[Value]:
                here = self.wide(place(i, j)) + self.start

                def element(k: Value, value: Value, carried: list[Value]) -> list[Value]:
                    best, which = carried
                    newer = value.compare("ogt", best) | value.compare("uno", value)
                    return [newer.select(value, best), newer.select(here + self.wide(k * n.dilation_across), which)]

                return line(i, j, carried, element)

            return code.loop(rows[1], rows[2], 1, carried, of_row)

        first = [code.const(self.fill, self.kind, self.lanes), self.wide(place(slices[1], rows[1])) + nearest]
        best, which = code.loop(slices[1], slices[2], 1, first, of_slice)
        store(y.offset(to, self.kind), best, 1, self.written)
        store(indices.offset(to, "i64"), which.convert("sext", "i64"), 1, self.written)


class _Means(_Volumes):
    made = (("", "made"),)

    def windows(self, x: Value, a: Value, b: Value, u: Value, to: Value, *others: Value) -> None:
        code, zero = self.code, self.code.const(0.0, self.kind, self.lanes)
        slices, rows = self.inside(a, "deep"), self.inside(b, "down")
        line = self.lines(x, slices, rows, u)

        def of_slice(i: Value, total: list[Value]) -> list[Value]:
            def of_row(j: Value, total: list[Value]) -> list[Value]:
                return [total[0] + line(i, j, [zero], lambda _, value, sums: [sums[0] + value])[0]]

            return [total[0] + code.loop(rows[1], rows[2], 1, [zero], of_row)[0]]

        (total,) = code.loop(slices[1], slices[2], 1, [zero], of_slice)
        store(others[0].offset(to, self.kind), total / self.divisor(slices[0], rows[0], self.start), 1, self.written)


class _MeanGradient(_Volumes):
    """For each element the gradients of the windows that it is in, each divided as the window's sum was.

    They are added as taps are, slices first, then rows, then columns, each from the first of a window on: from its last window
    back.
    """

    made = (("", "made"),)
    over = "size"

    def windows(self, x: Value, a: Value, b: Value, u: Value, to: Value, *others: Value) -> None:
        """A vector of elements: those of slice ``a`` and row ``b`` from column ``u`` on."""
        code, n, lanes = self.code, self.n, self.lanes
        zero, stride = code.const(0.0, self.kind, lanes), self.wide(n.stride_across)
        deep, down = self.around(a, "deep"), self.around(b, "down")
        column = self.along(u) + self.wide(n.padding_across)
        written = self.along(u).compare("slt", self.wide(n.size_across))

        def of_column(k: Value, total: list[Value]) -> list[Value]:
            ahead = column - self.wide(k)
            which = ahead.intrinsic("smax", 0).binary("udiv", stride)
            there = (which * stride).compare("eq", ahead) & which.compare("ult", self.wide(n.windows_across)) & written
            apart = which.convert("sext", "i64") * n.column.splat(lanes)
            start = which * stride - self.wide(n.padding_across)

            def of_row(j: Value, total: list[Value]) -> list[Value]:
                row = down[1] - j

                def of_slice(i: Value, total: list[Value]) -> list[Value]:
                    slice_ = deep[1] - i
                    value = self.masked(bytes_on(x, slice_ * n.slice + row * n.row), there, 0.0, apart)
                    by = self.divisor(self.begin(slice_, "deep"), self.begin(row, "down"), start)
                    return [total[0] + there.select(value / by, zero)]

                return [total[0] + code.loop(code.index(0), deep[1] - deep[0] + 1, 1, [zero], of_slice)[0]]

            return [total[0] + code.loop(code.index(0), down[1] - down[0] + 1, 1, [zero], of_row)[0]]

        total = [zero]
        if self.form.columns:
            for k in range(self.form.columns):
                total = of_column(code.index(k), total)
        else:
            total = code.loop(code.index(0), n.kernel_across, 1, total, of_column)
        store(others[0].offset(to, self.kind), total[0], 1, written)

    def around(self, at: Value, end: str) -> tuple[Value, Value]:
        """The first and the last window that an element is in, along a dim; the last is before the first where there is none."""
        kernel, stride, count = (self.number(name, end) for name in ("kernel", "stride", "windows"))
        ahead = at + self.number("padding", end)
        first = (ahead - kernel + stride).intrinsic("smax", 0).binary("udiv", stride)
        return first, ahead.binary("udiv", stride).intrinsic("smin", count - 1)


_WRITERS = {"max": _Maxima, "mean": _Means, "mean gradient": _MeanGradient}

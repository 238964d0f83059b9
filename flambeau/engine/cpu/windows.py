"""Maxima and means of windows that slide over planes.

Windows are done a vector of neighbours at a time: for each element of a window, the vector of those elements. Mostly each element
of a window is code of its own. Sums are made in the order that a loop over a window's rows makes them, each row summed first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import frexp, prod
from typing import NamedTuple

from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import bytes_on, lanes_of
from flambeau.engine.cpu.memory import store
from flambeau.engine.cpu.planes import SHARED, Planes, added, bits_of, gathers, planes_kernel, shared_by
from flambeau.engine.cpu.specs import KINDS, PoolSpec
from flambeau.engine.cpu.tiles import shuffle

UNROLLED, UNROLLED_GATHERS = 64, 4
"""Elements of a window that are code of their own; of windows that have more they are a loop. That is no loss where vectors are
gathered, which takes long, and nothing that rows or columns have in common would be made anew."""


class WindowForm(NamedTuple):
    """What the text of a kernel for maxima or means depends on."""

    kind: str
    kernel: tuple[int, int]  # (0, 0) for one that is given at run time
    dilation: tuple[int, int]
    stride: int  # from row to row of windows, 0 for one that is given at run time
    column: int  # the same, of columns of the plane; 0 unless they are neighbours
    reads: str  # how the columns of neighbouring windows lie: as "pairs", or see ``gathers``
    border: tuple[str, str]  # whether windows reach beyond the plane, by rows and by columns: at the "end", on "both" sides or not
    narrow: bool  # whether one vector holds a row of windows,
    flat: bool  # and whether there is but one row
    counts: str  # what sums are divided by, see ``counts_of``
    padded: bool


def window_kernel(spec: PoolSpec, session: Session) -> tuple[int, tuple[int, ...]]:
    """The address of a kernel for maxima or means, and the words that follow the pointers among its arguments."""
    kind, s = KINDS[spec.dtype.name], spec.stride[0]
    reads = gathers(spec.stride[1] * spec.strides[3])
    if spec.stride[1] == 2 and spec.strides[3] == 1 and prod(spec.kernel) <= UNROLLED:
        reads = "pairs"  # both halves of pairs are in windows: loaded once
    border = _border(spec, 0), _border(spec, 1)
    slides = spec.part == "mean" and s == 1  # rows of windows have rows of the plane in common
    looped = reads not in ("", "pairs") and not any(border) and not slides
    unrolled = prod(spec.kernel) <= (UNROLLED_GATHERS if looped else UNROLLED)
    counts = "" if spec.part == "max" else counts_of(spec)
    form = WindowForm(
        kind, spec.kernel if unrolled else (0, 0), spec.dilation, s if s <= 2 else 0, int(spec.strides[3] == 1),
        reads, border, spec.outputs[1] <= lanes_of(session, kind), spec.outputs[0] == 1,
        counts, spec.padded or counts in ("by", "times"),
    )  # fmt: skip
    work = spec.outputs[0] * spec.outputs[1] * spec.kernel[0] * spec.kernel[1]
    return planes_kernel(session, _Maxima if spec.part == "max" else _Means, form, shared_by(spec, work) | numbers_of(spec))


def _border(spec: PoolSpec, dim: int) -> str:
    n, o, k, s, p, d = (x[dim] for x in (spec.size, spec.outputs, spec.kernel, spec.stride, spec.padding, spec.dilation))
    return "both" if p else "end" if (o - 1) * s + d * (k - 1) >= n else ""


def counts_of(spec: PoolSpec) -> str:
    """What sums are divided by: a number (``"by"``), which is to multiply by its inverse if that is exact (``"times"``); or how
    many elements a window has, if that is not the same for all ``"rows"`` of windows, ``"columns"``, or both (``"rows columns"``).
    """
    varied = [name for dim, name in enumerate(("rows", "columns")) if not _are_alike(spec, dim)]
    if varied and spec.divisor is None:
        return " ".join(varied)
    divisor = abs(_divisor(spec))
    return "times" if 1 <= divisor <= 1 << 24 and frexp(divisor)[0] == 0.5 else "by"


def _are_alike(spec: PoolSpec, dim: int) -> bool:
    """Whether as many elements of all windows count, along a dim."""
    n, k, s, p = (x[dim] for x in (spec.size, spec.kernel, spec.stride, spec.padding))
    last = (spec.outputs[dim] - 1) * s - p + k
    return last <= n + p and (spec.padded or (p == 0 and last <= n))


def _divisor(spec: PoolSpec) -> float:
    return spec.kernel[0] * spec.kernel[1] if spec.divisor is None else spec.divisor


def numbers_of(spec: PoolSpec) -> dict[str, int]:
    """The words of a plane's windows."""
    found = {"made": spec.outputs[0] * spec.outputs[1]}
    dims = zip(spec.size, spec.outputs, spec.kernel, spec.stride, spec.padding)
    for end, (n, o, k, s, p) in zip(("_down", "_across"), dims):
        found |= {"size" + end: n, "windows" + end: o, "kernel" + end: k, "stride" + end: s, "padding" + end: p}
    if spec.part == "max":
        return found
    divisor, kind = _divisor(spec), KINDS[spec.dtype.name]
    return found | {"divisor": bits_of(1 / divisor if counts_of(spec) == "times" else divisor, kind)}


WINDOWS: tuple[str, ...] = (
    *SHARED, "made", "size_down", "size_across", "windows_down", "windows_across", "stride_down", "stride_across",
    "padding_down", "padding_across", "kernel_down", "kernel_across",
)  # fmt: skip


class _Windows(Planes):
    """Windows, a vector of neighbours at a time."""

    names = WINDOWS
    fill = 0.0
    form: WindowForm

    def prepare(self) -> None:
        n, code = self.n, self.code
        self.down, self.across = self.form.dilation
        self.below = n.row * self.down  # bytes from row to row of a window
        self.lanes_apart = None
        if self.form.stride:
            n.stride_down = code.index(self.form.stride)
        for end, border, width in zip(("down", "across"), self.form.border, self.form.kernel):
            if border != "both":
                setattr(n, f"padding_{end}", code.index(0))
            if width:
                setattr(n, f"kernel_{end}", code.index(width))
        if self.form.column:
            n.column = code.index(1)
        if self.form.reads not in ("", "pairs"):
            self.lanes_apart = self.apart(n.stride_across * n.column, self.form.reads)
            self.right = n.column * self.across
        else:
            n.stride_across = code.index(2 if self.form.reads else 1)
        if self.form.narrow:
            self.whole = self.strip(code.index(0))

    def inside(self, at: Value, size: Value) -> Value:
        return at.compare("ult", size)  # what is negative is a large number

    def plane(self, x: Value, *others: Value) -> None:
        code, n = self.code, self.n
        if self.form.narrow:
            self.whole(x, *others)
            return

        def strip(u: Value, _: list[Value]) -> list[Value]:
            self.strip(u)(x, *others)
            return []

        code.loop(code.index(0), n.windows_across, self.lanes, [], strip)

    def strip(self, u: Value) -> Callable[..., None]:
        """What does the windows of all rows in the vector of columns that begins with ``u``; what is the same for them is made
        once."""
        raise NotImplementedError

    def rows(self, x: Value, u: Value, body: Callable, known: Callable | None = None) -> None:
        """``carried = body(top, corner, to, carried)`` for each row of windows: the row of the plane that it begins with, the
        address of the first element of the window in column ``u``, and the place of its result. ``known(top, corner)`` is carried
        first."""
        code, n = self.code, self.n
        left = u * n.stride_across - n.padding_across
        column = left * n.column if self.lanes_apart is not None else left
        top, step = -n.padding_down, n.row * n.stride_down
        corner = bytes_on(x.offset(column, self.kind), top * n.row)

        def row(top: Value, at: list[Value]) -> list[Value]:
            corner, to, *carried = at
            return [bytes_on(corner, step), to + n.windows_across, *body(top, corner, to, carried)]

        start = [corner, u, *(known(top, corner) if known else ())]
        if self.form.flat:
            row(top, start)
        else:
            code.loop(top, n.windows_down * n.stride_down + top, n.stride_down, start, row)

    def start(self, u: Value) -> Value:
        """The columns that windows begin with, from column ``u`` of them on."""
        n = self.n
        return self.wide(u * n.stride_across - n.padding_across) + self.iota() * self.wide(n.stride_across)

    def over_rows(
        self, top: Value, corner: Value, carried: list[Value], body: Callable, rows: Sequence[int] | None = None
    ) -> list[Value]:
        """``carried = body(i, place, inside, carried)`` for each row of a window, or some of them: where it begins, and whether it
        is inside of the plane (``None``: they all are)."""

        def inside(top: Value) -> Value | None:
            return self.inside(top, self.n.size_down) if self.form.border[0] else None

        def row(i: Value, at: list[Value]) -> list[Value]:
            top, place, *carried = at
            return [top + self.down, bytes_on(place, self.below), *body(i, place, inside(top), carried)]

        if not self.form.kernel[0] and rows is None:
            return self.code.loop(self.code.index(0), self.n.kernel_down, 1, [top, corner, *carried], row)[2:]
        for i in range(self.form.kernel[0]) if rows is None else rows:
            place = bytes_on(corner, self.below * i) if i else corner
            carried = body(i, place, inside(top + self.down * i), carried)
        return carried

    def columns(self, u: Value, written: Value) -> Callable:
        """``columns(place, inside)(carried, body)``: ``carried = body(j, elements, carried)`` for each column of the windows in a
        row that begins at an address and is ``inside`` of the plane or not."""
        n, width, dilation = self.n, self.form.kernel[1], self.across
        if self.form.reads == "pairs":
            return self.pairs(u)
        right, mask_of = (self.right if self.lanes_apart is not None else dilation), lambda _: written
        if self.form.border[1]:
            start, size = self.start(u), self.wide(n.size_across)

            def mask_of(j: Value | int) -> Value:
                return self.inside(start + (self.wide(j * dilation) if isinstance(j, Value) else j * dilation), size) & written

        masks = [mask_of(j) for j in range(width)]

        def row(place: Value, inside: Value | None) -> Callable:
            def elements(mask: Value, at: Value) -> Value:
                return self.masked(at, mask if inside is None else mask & inside.splat(self.lanes), self.fill, self.lanes_apart)

            def column(body: Callable, j: Value, at: list[Value]) -> list[Value]:
                return [at[0].offset(right, self.kind), *body(j, elements(mask_of(j), at[0]), at[1:])]

            def over(carried: list[Value], body: Callable) -> list[Value]:
                if not width:
                    return self.code.loop(self.code.index(0), n.kernel_across, 1, [place, *carried], partial(column, body))[1:]
                for j in range(width):
                    carried = body(j, elements(masks[j], place.offset(right * j, self.kind)), carried)
                return carried

            return over

        return row

    def pairs(self, u: Value) -> Callable:
        """What walks over the rows of windows that are two columns apart."""
        n, width, dilation, lanes = self.n, self.form.kernel[1], self.across, self.lanes
        first, size = self.along(u * 2 - n.padding_across, 2 * lanes), self.wide(n.size_across, 2 * lanes)
        masks: dict[int, Value] = {}
        for base in sorted({j * dilation // 2 * 2 for j in range(width)}):
            inside = self.inside(first + base, size)
            masks[base], masks[base + 1] = inside.part(0, lanes), inside.part(lanes, 2 * lanes)

        def row(place: Value, inside: Value | None) -> Callable:
            loaded: dict[int, tuple[Value, Value]] = {}

            def half(base: int) -> Value:
                mask = masks[base] if inside is None else masks[base] & inside.splat(lanes)
                return self.masked(place.offset(base // 2 * 2 + base % 2 * lanes, self.kind), mask, self.fill)

            def over(carried: list[Value], body: Callable) -> list[Value]:
                for j in range(width):
                    base, odd = j * dilation // 2 * 2, j * dilation % 2
                    if base not in loaded:
                        loaded[base] = half(base), half(base + 1)
                    carried = body(j, shuffle(*loaded[base], range(odd, 2 * lanes, 2)), carried)
                return carried

            return over

        return row


class _Maxima(_Windows):
    fill = float("-inf")
    made = (("", "made"), ("i64", "made"))

    def prepare(self) -> None:
        down, across = self.form.kernel
        self.places: dict[tuple[Value | int, Value | int], Value] = {
            (i, j): self.far(i, j) for i in range(down) for j in range(across)
        }
        super().prepare()

    def far(self, i: Value | int, j: Value | int) -> Value:
        """How far an element of a window lies from the first one."""
        down, across = self.form.dilation
        return self.wide(self.n.size_across * (i * down) + j * across)

    def strip(self, u: Value) -> Callable[..., None]:
        code, n, border = self.code, self.n, self.form.border
        written, start = self.along(u).compare("slt", self.wide(n.windows_across)), self.start(u)
        columns = self.columns(u, written)
        nearest = self.first_inside(start, self.across) if border[1] == "both" else code.const(0, "i32", self.lanes)

        def row(y: Value, indices: Value, top: Value, corner: Value, to: Value, nothing: list[Value]) -> list[Value]:
            first, size = top.convert("trunc", "i32"), n.size_across.convert("trunc", "i32")
            which = nearest
            if border[0] == "both":
                which = nearest + (self.first_inside(first, self.down) * size).splat(self.lanes)

            def line(i: Value | int, place: Value, inside: Value | None, carried: list[Value]) -> list[Value]:
                def element(j: Value | int, value: Value, carried: list[Value]) -> list[Value]:
                    best, which = carried
                    newer = value.compare("ogt", best) | value.compare("uno", value)
                    return [newer.select(value, best), newer.select(self.places.get((i, j)) or self.far(i, j), which)]

                return columns(place, inside)(carried, element)

            best, which = self.over_rows(top, corner, [code.const(self.fill, self.kind, self.lanes), which], line)
            place = (first * size).splat(self.lanes) + start + which
            store(y.offset(to, self.kind), best, 1, written)
            store(indices.offset(to, "i64"), place.convert("sext", "i64"), 1, written)
            return nothing

        return lambda x, y, indices: self.rows(x, u, partial(row, y, indices))

    def first_inside(self, start: Value, dilation: int) -> Value:
        """How far from ``start`` the first element of a window lies that is not before the plane."""
        before = (0 - start).intrinsic("smax", 0)
        return before if dilation == 1 else (before + (dilation - 1)).binary("udiv", dilation) * dilation


class _Means(_Windows):
    names = (*WINDOWS, "divisor")
    made = (("", "made"),)

    def strip(self, u: Value) -> Callable[..., None]:
        written = self.along(u).compare("slt", self.wide(self.n.windows_across))
        columns, zero = self.columns(u, written), self.code.const(0.0, self.kind, self.lanes)
        by = Divisors(self, self.form.counts, self.form.padded, self.start(u))
        height, sliding = self.form.kernel[0], self.form.stride == 1 and not self.form.flat
        shared = max(height - 1, 0) if sliding else 0  # rows that a window has in common with the next one

        def added_to(sums: list[Value], value: Value) -> list[Value]:
            return [sums[0] + value] if sums else [value]

        def line(place: Value, inside: Value | None) -> Value:
            """The sum of a window's row."""
            return columns(place, inside)([] if height else [zero], lambda _, value, sums: added_to(sums, value))[0]

        def lines(top: Value, corner: Value, rows: range) -> list[Value]:
            return self.over_rows(top, corner, [], lambda _, place, inside, sums: [*sums, line(place, inside)], rows)

        def row(y: Value, top: Value, corner: Value, to: Value, known: list[Value]) -> list[Value]:
            each = [*known, *lines(top, corner, range(shared, height))]
            if not height:
                each = self.over_rows(top, corner, [zero], lambda _, place, inside, sums: added_to(sums, line(place, inside)))
            total = added(each) + 0.0  # the sum of negative zeros is 0, as it is of any that begin with 0
            store(y.offset(to, self.kind), by.divided(total, top), 1, written)
            return each[1:] if shared else []

        return lambda x, y: self.rows(x, u, partial(row, y), lambda top, corner: lines(top, corner, range(shared)))


class Divisors:
    """Divides sums of windows that begin in the columns ``start``. ``counts`` and ``padded`` are those of a form."""

    def __init__(self, w: Planes, counts: str, padded: bool, start: Value) -> None:
        self.w = w
        self.counts = counts
        self.padded = padded
        self.across = self.counted(start, "across") if "columns" in counts else w.wide(w.n.kernel_across)

    def counted(self, start: Value, end: str) -> Value:
        """How many elements of the windows that begin with ``start`` count, along one dim."""

        def number(name: str) -> Value:
            return getattr(self.w.n, f"{name}_{end}").convert("trunc", "i32").splat(start.lanes)

        last, size = start + number("kernel"), number("size")
        if self.padded:
            return last.intrinsic("smin", size + number("padding")) - start
        return last.intrinsic("smin", size) - start.intrinsic("smax", 0)

    def divided(self, total: Value, top: Value) -> Value:
        """``total`` of the windows whose first row is ``top``, divided."""
        w, lanes = self.w, self.w.lanes
        if self.counts in ("by", "times"):
            divisor = w.n.divisor.splat(lanes)
            return total / divisor if self.counts == "by" else total * divisor
        down = (
            self.counted(top.convert("trunc", "i32"), "down") if "rows" in self.counts else w.n.kernel_down.convert("trunc", "i32")
        )
        return total / (self.across * down.splat(lanes)).convert("sitofp", w.kind)

"""Pooling: maxima and means of windows, and their gradients.

``pool_kernel(spec)`` gives the address of ``void kernel(i8** args)``; ``args`` are ``{x, y, indices}`` for maxima, ``{x, y}``
for means, ``{dy, dx}`` for the gradient of means and ``{dy, indices, dx}`` for that of maxima.

Windows that slide are done a vector of neighbours at a time: for each element of a window, the vector of those elements.
Sums are made in the order that a loop over a window's rows makes them, each row summed first.
"""

from __future__ import annotations

from collections.abc import Callable

from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.memory import store
from flambeau.engine.cpu.planes import Planes
from flambeau.engine.cpu.specs import BinSpec, PoolSpec, ScatterSpec
from flambeau.engine.cpu.tiles import shuffle


def pool_kernel(spec: PoolSpec | BinSpec | ScatterSpec, session: Session | None = None) -> int:
    """The address of the kernel for ``spec``."""
    session = session or process_session()
    if spec not in session.memo:
        writer: Planes
        if isinstance(spec, ScatterSpec):
            writer = _Scatter(session, spec)
        elif isinstance(spec, BinSpec):
            writer = (_BinMaxima if spec.part == "max" else _BinMeans)(session, spec)
        else:
            writer = {"max": _Maxima, "mean": _Means, "mean gradient": _MeanGradient}[spec.part](session, spec)
        session.memo[spec] = writer.kernel("pool")
    address: int = session.memo[spec]
    return address


# --- windows that slide ------------------------------------------------------------------------------------------------


class _Windows(Planes):
    """Windows, a vector of neighbours at a time. ``border``: whether some reach beyond the plane, by rows and by columns."""

    fill = 0.0

    def __init__(self, session: Session, spec: PoolSpec) -> None:
        super().__init__(session, spec)
        made = spec.outputs[0] * spec.outputs[1]
        self.others = [(self.kind, made)]
        self.work = made * spec.kernel[0] * spec.kernel[1]
        each = zip(spec.size, spec.outputs, spec.kernel, spec.stride, spec.padding, spec.dilation, strict=True)
        self.border = [p > 0 or (o - 1) * s + d * (k - 1) - p >= n for n, o, k, s, p, d in each]

    def along(self, u: Value, lanes: int = 0) -> Value:
        """The numbers of the columns that begin with ``u``."""
        lanes = lanes or self.lanes
        return u.convert("trunc", "i32").splat(lanes) + self.code.vector(range(lanes), "i32")

    def inside(self, at: Value, size: int) -> Value:
        return at.compare("ult", size)  # what is negative is a large number

    def plane(self, x: Value, *others: Value) -> None:
        def strip(u: Value, _: list[Value]) -> list[Value]:
            self.strip(x, u, *others)
            return []

        self.code.loop(self.code.index(0), self.code.index(self.spec.outputs[1]), self.lanes, [], strip)

    def rows(self, body: Callable[[Value], None]) -> None:
        self.between(self.code.index(0), self.code.index(self.spec.outputs[0]), body)

    def strip(self, x: Value, u: Value, *others: Value) -> None:
        """The windows of all rows in the vector of columns that begins with ``u``: what is the same for them is made once."""
        raise NotImplementedError

    def reader(self, u: Value, written: Value) -> Callable[[Value, Value | None], Callable[[int], Value]]:
        """What reads the elements of windows: for a row, its number and whether it is inside, a function of the column."""
        spec = self.spec
        step, apart = spec.stride[1], spec.strides[3]
        corner = u * (step * apart) - spec.padding[1] * apart
        masks: dict[int, Value] = {}
        pairs = apart == 1 and step == 2  # both halves of pairs are in windows: loaded once
        if pairs:
            first = self.along(u * 2, 2 * self.lanes) - spec.padding[1]
            for base in sorted({j * spec.dilation[1] // 2 * 2 for j in range(spec.kernel[1])}):
                inside = self.inside(first + base, spec.size[1])
                masks[base], masks[base + 1] = inside.part(0, self.lanes), inside.part(self.lanes, 2 * self.lanes)
        else:
            start = self.along(u) * step - spec.padding[1]
            for j in range(spec.kernel[1]):
                at = start + j * spec.dilation[1]
                masks[j] = self.inside(at, spec.size[1]) & written if self.border[1] else written

        def row(pointer: Value, inside: Value | None) -> Callable[[int], Value]:
            loaded: dict[int, tuple[Value, Value]] = {}
            place = pointer.offset(corner, self.kind)

            def masked(at: Value, key: int, stride: int) -> Value:
                mask = masks[key] if inside is None else masks[key] & inside.splat(self.lanes)
                return self.masked(at, mask, self.fill, stride)

            def column(j: int) -> Value:
                at = j * spec.dilation[1]
                if not pairs:
                    return masked(place.offset(at * apart, self.kind), j, step * apart)
                base, odd = at // 2 * 2, at % 2
                if base not in loaded:
                    after = place.offset(base, self.kind)
                    loaded[base] = (masked(after, base, 1), masked(after.offset(self.lanes, self.kind), base + 1, 1))
                return shuffle(*loaded[base], range(odd, 2 * self.lanes, 2))

            return column

        return row

    def window_row(self, t: Value, i: int) -> tuple[Value, Value | None]:
        """The number of a window's ``i``-th row in the plane, and whether it is inside of it (``None``: they all are)."""
        spec = self.spec
        row = t * spec.stride[0] + (i * spec.dilation[0] - spec.padding[0])
        return row, self.inside(row, spec.size[0]) if self.border[0] else None


class _Maxima(_Windows):
    fill = float("-inf")

    def __init__(self, session: Session, spec: PoolSpec) -> None:
        super().__init__(session, spec)
        self.others.append(("i64", self.others[0][1]))

    def strip(self, x: Value, u: Value, *others: Value) -> None:
        y, indices = others
        spec, code, size = self.spec, self.code, self.spec.size[1]
        written = self.along(u).compare("slt", spec.outputs[1])
        read = self.reader(u, written)
        start = self.along(u) * spec.stride[1] - spec.padding[1]
        across = self.first_inside(start, spec.dilation[1]) if spec.padding[1] else code.const(0, "i32", self.lanes)

        def row(t: Value) -> None:
            best = code.const(self.fill, self.kind, self.lanes)
            top = (t * spec.stride[0] - spec.padding[0]).convert("trunc", "i32")
            down = self.first_inside(top, spec.dilation[0]) * size if spec.padding[0] else None
            which = across if down is None else across + down.splat(self.lanes)
            for i in range(spec.kernel[0]):
                at, inside = self.window_row(t, i)
                column = read(x.offset(at * spec.strides[2], self.kind), inside)
                for j in range(spec.kernel[1]):
                    value = column(j)
                    newer = value.compare("ogt", best) | value.compare("uno", value)
                    best = newer.select(value, best)
                    which = newer.select(which.like(i * spec.dilation[0] * size + j * spec.dilation[1]), which)
            place = (top * size).splat(self.lanes) + start + which
            to = t * spec.outputs[1] + u
            store(y.offset(to, self.kind), best, 1, written)
            store(indices.offset(to, "i64"), place.convert("sext", "i64"), 1, written)

        self.rows(row)

    def first_inside(self, start: Value, dilation: int) -> Value:
        """How far from ``start`` the first element of a window lies that is not before the plane."""
        before = (0 - start).intrinsic("smax", 0)
        return before if dilation == 1 else (before + (dilation - 1)).binary("udiv", dilation) * dilation


class _Means(_Windows):
    def strip(self, x: Value, u: Value, *others: Value) -> None:
        (y,) = others
        spec = self.spec
        written = self.along(u).compare("slt", spec.outputs[1])
        read = self.reader(u, written)
        across = counted(self, self.along(u), 1)

        def row(t: Value) -> None:
            sums = []
            for i in range(spec.kernel[0]):
                at, inside = self.window_row(t, i)
                column = read(x.offset(at * spec.strides[2], self.kind), inside)
                sums.append(added([column(j) for j in range(spec.kernel[1])]))
            total = added(sums) + 0.0  # the sum of negative zeros is 0, as it is of any that begin with 0
            store(y.offset(t * spec.outputs[1] + u, self.kind), total / divisor(self, t, across), 1, written)

        self.rows(row)


def added(values: list[Value]) -> Value:
    """Their sum, from the first on."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def counted(w: Planes, at: Value, dim: int) -> Value | int:
    """How many elements of the windows with these numbers count, along one dim."""
    spec: PoolSpec = w.spec
    n, k, s, p = (x[dim] for x in (spec.size, spec.kernel, spec.stride, spec.padding))
    last = (spec.outputs[dim] - 1) * s - p + k
    if last <= n + p and (spec.padded or (p == 0 and last <= n)):
        return k
    start = at * s - p
    end = (start + k).intrinsic("smin", n + p)
    if not spec.padded:
        start, end = start.intrinsic("smax", 0), end.intrinsic("smin", n)
    return end - start


def divisor(w: Planes, t: Value, across: Value | int) -> Value | float:
    """What the sums of the windows of row ``t`` are divided by."""
    if w.spec.divisor is not None:
        return w.code.const(w.spec.divisor, w.kind, w.lanes)
    down = counted(w, t.convert("trunc", "i32"), 0)
    if isinstance(down, int) and isinstance(across, int):
        return w.code.const(down * across, w.kind, w.lanes)
    wide = down.splat(w.lanes) if isinstance(down, Value) else down
    total = across * wide if isinstance(across, Value) else wide * across
    assert isinstance(total, Value)
    return total.convert("sitofp", w.kind)


class _MeanGradient(Planes):
    """For each element the gradients of the windows that it is in, ``kernel / stride`` of them along each dim at most.

    The window ``(y + padding) // stride`` is the last one that row ``y`` is in; it is the window's row
    ``(y + padding) % stride``, and that of the window before it ``stride`` further on, and so forth. Along columns a vector
    begins with a multiple of the stride, so that these numbers are constants.
    """

    def __init__(self, session: Session, spec: PoolSpec) -> None:
        super().__init__(session, spec)
        made = spec.size[0] * spec.size[1]
        self.others = [(self.kind, made)]
        self.work = made * -(-spec.kernel[0] // spec.stride[0]) * -(-spec.kernel[1] // spec.stride[1])

    def plane(self, x: Value, *others: Value) -> None:
        lanes, stride, size = self.lanes, self.spec.stride[1], self.spec.size[1]
        per = max(lanes // stride, 1) * stride  # columns that a step does, in one piece or several
        pieces = [(at, min(lanes, per - at)) for at in range(0, per, lanes)]

        def step(i: Value) -> None:
            for at, count in pieces:
                self.piece(x, others[0], i, at, count, per)

        self.between(self.code.index(0), self.code.index(-(-size // per)), step)

    def piece(self, x: Value, y: Value, step: Value, at: int, count: int, per: int) -> None:
        """``count`` columns from ``step * per + at`` on, of all rows."""
        spec, code, lanes = self.spec, self.code, self.lanes
        (kr, kc), (sr, sc), (pr, pc) = spec.kernel, spec.stride, spec.padding
        zero = code.const(0.0, self.kind, lanes)

        def numbers(first: Value) -> Value:
            return first.convert("trunc", "i32").splat(lanes) + code.vector(range(lanes), "i32")

        left = step * per + at
        written = numbers(left).compare("ult", spec.size[1]) & code.vector([k < count for k in range(lanes)], "i1")
        terms = []  # of each, the first window that a lane is in, which windows there are, their extent, those of the lanes
        for q in range(-(-kc // sc)):
            windows = [(at + k + pc) // sc - q for k in range(lanes)]
            met = [k < count and (at + k + pc) % sc + q * sc < kc for k in range(lanes)]
            first = step * (per // sc) + windows[0]
            order = [w - windows[0] if m else lanes for w, m in zip(windows, met, strict=True)]
            terms.append((first, numbers(first).compare("ult", spec.outputs[1]), counted(self, numbers(first), 1), order))

        def row(r: Value) -> None:
            newest, place = (r + pr).binary("udiv", sr), (r + pr).binary("urem", sr)
            sums = [[zero] for _ in terms]
            for back in range(-(-kr // sr)):
                t = newest - back
                inside = place.compare("slt", kr - back * sr) & t.compare("ult", spec.outputs[0])
                for found, (first, there, across, _) in zip(sums, terms, strict=True):
                    mask = there & inside.splat(lanes)
                    source = x.offset(t * spec.strides[2] + first * spec.strides[3], self.kind)
                    share = self.masked(source, mask, 0.0, spec.strides[3]) / divisor(self, t, across)
                    found.append(mask.select(share, zero))
            shares = [shuffle(added(found), zero, order) for found, (*_, order) in zip(sums, terms, strict=True)]
            store(y.offset(r * spec.size[1] + left, self.kind), added(shares), 1, written)

        self.between(code.index(0), code.index(spec.size[0]), row)


# --- windows that cover planes evenly ------------------------------------------------------------------------------------


class _Bins(Planes):
    """One window after the other."""

    def __init__(self, session: Session, spec: BinSpec) -> None:
        super().__init__(session, spec)
        back = spec.part == "mean gradient"
        self.source, self.target = (spec.outputs, spec.size) if back else (spec.size, spec.outputs)
        made = self.target[0] * self.target[1]
        self.others = [(self.kind, made)]
        self.work = max(made, spec.size[0] * spec.size[1])

    def bounds(self, i: Value, dim: int) -> tuple[Value, Value]:
        """The elements that number ``i`` of the result is made of. Those of a window, and the windows of one, are alike."""
        return bin_of(i, self.source[dim], self.target[dim])

    def plane(self, x: Value, *others: Value) -> None:
        def row(t: Value | int) -> None:
            self.each(self.target[1], lambda u: self.window(x, self.as_value(t), self.as_value(u), *others))

        self.each(self.target[0], row)

    def as_value(self, i: Value | int) -> Value:
        return i if isinstance(i, Value) else self.code.index(i)

    def window(self, x: Value, t: Value, u: Value, *others: Value) -> None:
        raise NotImplementedError

    def element(self, x: Value, r: Value, c: Value) -> Value:
        return x.offset(r * self.spec.strides[2] + c * self.spec.strides[3], self.kind).load(self.kind)


def bin_of(i: Value, n: int, m: int) -> tuple[Value, Value]:
    """Where bin ``i`` of ``m`` bins of ``n`` elements begins and ends."""
    return (i * n).binary("udiv", m), ((i + 1) * n + (m - 1)).binary("udiv", m)


class _BinMaxima(_Bins):
    def __init__(self, session: Session, spec: BinSpec) -> None:
        super().__init__(session, spec)
        self.others.append(("i64", self.others[0][1]))

    def window(self, x: Value, t: Value, u: Value, *others: Value) -> None:
        code, size = self.code, self.spec.size[1]
        (top, bottom), (left, right) = self.bounds(t, 0), self.bounds(u, 1)

        def row(r: Value, carried: list[Value]) -> list[Value]:
            def column(c: Value, carried: list[Value]) -> list[Value]:
                best, which = carried
                value = self.element(x, r, c)
                newer = value.compare("ogt", best) | value.compare("uno", value)
                return [newer.select(value, best), newer.select(r * size + c, which)]

            return code.loop(left, right, 1, carried, column)

        lowest = code.const(float("-inf"), self.kind)
        best, which = code.loop(top, bottom, 1, [lowest, top * size + left], row)
        at = t * self.target[1] + u
        others[0].offset(at, self.kind).store(best)
        others[1].offset(at, "i64").store(which)


class _BinMeans(_Bins):
    """Means of windows, or for each element the sum of what each window that it is in gives to its elements."""

    def window(self, x: Value, t: Value, u: Value, *others: Value) -> None:
        code, back = self.code, self.spec.part == "mean gradient"
        (top, bottom), (left, right) = self.bounds(t, 0), self.bounds(u, 1)

        def extent(i: Value, dim: int) -> Value:
            first, last = bin_of(i, self.spec.size[dim], self.spec.outputs[dim])
            return last - first

        def row(r: Value, carried: list[Value]) -> list[Value]:
            def column(c: Value, sums: list[Value]) -> list[Value]:
                value = self.element(x, r, c)
                if back:
                    value = value / (extent(r, 0) * extent(c, 1)).convert("sitofp", self.kind)
                return [sums[0] + value]

            return [carried[0] + code.loop(left, right, 1, [zero], column)[0]]

        zero = code.const(0.0, self.kind)
        (total,) = code.loop(top, bottom, 1, [zero], row)
        if not back:
            total = total / ((bottom - top) * (right - left)).convert("sitofp", self.kind)
        others[0].offset(t * self.target[1] + u, self.kind).store(total)


# --- the gradient of maxima ----------------------------------------------------------------------------------------------


class _Scatter(Planes):
    def __init__(self, session: Session, spec: ScatterSpec) -> None:
        super().__init__(session, spec)
        self.work = spec.outputs[0] * spec.outputs[1]
        self.others = [("i64", self.work), (self.kind, spec.size)]

    def plane(self, x: Value, *others: Value) -> None:
        indices, to = others
        spec, code = self.spec, self.code
        zero, no = Value(code, "0", "i8", 0), Value(code, "false", "i1", 0)
        code.perform("llvm.memset.p0.i64", [to, zero, code.index(spec.size * self.size), no])
        rows, columns = spec.outputs
        if spec.strides[2] == columns * spec.strides[3]:
            rows, columns = 1, rows * columns

        def row(r: Value | int) -> None:
            source, which = self.go(x, r, spec.strides[2]), indices.offset(r * columns, "i64")

            def one(c: Value | int) -> None:
                index = which.offset(c, "i64").load("i64")

                def add() -> None:
                    place = to.offset(index, self.kind)
                    place.store(place.load(self.kind) + self.go(source, c, spec.strides[3]).load(self.kind))

                self.when(index.compare("ult", spec.size), add)  # whatever somebody has written to the indices

            self.each(columns, one)

        self.each(rows, row)

"""The gradient of means of windows that slide over planes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import bytes_on, lanes_of
from flambeau.engine.cpu.memory import store
from flambeau.engine.cpu.planes import Planes, added, gathers, planes_kernel, shared_by
from flambeau.engine.cpu.specs import KINDS, PoolSpec
from flambeau.engine.cpu.tiles import shuffle
from flambeau.engine.cpu.windows import WINDOWS, Divisors, counts_of, numbers_of


class Form(NamedTuple):
    """What the text of a kernel for the gradient of means depends on."""

    kind: str
    rows: int  # windows that a row is in at most
    even: bool  # whether all are in as many
    down: int  # from row to row of windows, 0 for a number that is given at run time
    kernel: int  # columns of a window; their stride and padding. All are 0 if there is one window, with all columns
    stride: int
    padding: int
    reads: str
    narrow: bool
    counts: str
    padded: bool


def gradient_kernel(spec: PoolSpec, session: Session) -> tuple[int, tuple[int, ...]]:
    """The address of a kernel for the gradient of means, and the words that follow the pointers among its arguments."""
    (kr, kc), (sr, sc), (pr, pc) = spec.kernel, spec.stride, spec.padding
    kind, counts = KINDS[spec.dtype.name], counts_of(spec)
    columns = (0, 0, 0) if spec.outputs[1] == 1 and pc == 0 and kc >= spec.size[1] else (kc, sc, pc)
    narrow = spec.size[1] <= _columns_of_a_step(lanes_of(session, kind), columns[1])
    form = Form(
        kind,
        -(-kr // sr),
        kr % sr == 0,
        int(sr == 1),
        *columns,
        gathers(spec.strides[3]),
        narrow,
        counts,
        spec.padded or counts in ("by", "times"),
    )
    made = spec.size[0] * spec.size[1]
    words = shared_by(spec, made * -(-kr // sr) * -(-kc // sc)) | numbers_of(spec)
    return planes_kernel(session, _MeanGradient, form, words | {"made": made, "newest": pr // sr})


def _columns_of_a_step(lanes: int, stride: int) -> int:
    return max(lanes // stride, 1) * stride if stride else lanes  # in one piece or several


class _MeanGradient(Planes):
    """For each element the gradients of the windows that it is in, ``kernel / stride`` of them along each dim at most.

    The window ``(y + padding) // stride`` is the last one that row ``y`` is in; it is the window's row
    ``(y + padding) % stride``, and that of the window before it ``stride`` further on, and so forth. So rows that have the last
    window in common are alike, but that the first of them may be in one window more. Along columns a vector begins with a
    multiple of the stride, so that these numbers are constants.
    """

    names = (*WINDOWS, "divisor", "newest")
    made = (("", "made"),)
    form: Form

    def prepare(self) -> None:
        n = self.n
        self.lanes_apart = self.apart(n.column, self.form.reads)
        if self.form.stride:
            for name in ("kernel", "stride", "padding"):
                setattr(n, f"{name}_across", self.code.index(getattr(self.form, name)))
        if self.form.down:
            n.stride_down = self.code.index(self.form.down)
        self.height = n.kernel_down - n.stride_down * (self.form.rows - 1)  # rows that are in as many windows as can be
        self.columns = n.column * self.size
        self.across = _columns_of_a_step(self.lanes, self.form.stride)
        if self.form.narrow:
            self.whole = self.pieces(self.code.index(0), self.code.index(0))

    def plane(self, x: Value, *others: Value) -> None:
        code = self.code
        if self.form.narrow:
            for piece in self.whole:
                piece(x, *others)
            return

        def step(left: Value, number: list[Value]) -> list[Value]:
            for piece in self.pieces(left, *number):
                piece(x, *others)
            return [number[0] + self.across // self.form.stride if self.form.stride else number[0]]

        code.loop(code.index(0), self.n.size_across, self.across, [code.index(0)], step)

    def pieces(self, left: Value, number: Value) -> list[Callable[[Value, Value], None]]:
        """What does the columns of a step that begins with column ``left``, before which there are ``number`` windows."""
        whole, lanes = self.across, self.lanes
        return [self.piece(left + at if at else left, number, at, min(lanes, whole - at)) for at in range(0, whole, lanes)]

    def piece(self, left: Value, number: Value, at: int, count: int) -> Callable[[Value, Value], None]:
        """``count`` columns from ``left`` on, of all rows. It is the part from ``at`` on of a step before which there are
        ``number`` windows."""
        form, code, lanes, n = self.form, self.code, self.lanes, self.n
        zero = code.const(0.0, self.kind, lanes)
        written = self.along(left).compare("ult", self.wide(n.size_across)) & code.vector([k < count for k in range(lanes)], "i1")
        terms = []  # of each, where the first window is that a lane is in, which ones there are, their divisors, those of the lanes
        stride, kernel = form.stride or 1 << 31, form.kernel or 1 << 31
        for q in range(-(-kernel // stride)):
            windows = [(at + k + form.padding) // stride - q for k in range(lanes)]
            met = [k < count and (at + k + form.padding) % stride + q * stride < kernel for k in range(lanes)]
            first = number + windows[0]
            order = [w - windows[0] if m else lanes for w, m in zip(windows, met, strict=True)]
            there = self.along(first).compare("ult", self.wide(n.windows_across))
            start = self.along(first) * self.wide(n.stride_across) - self.wide(n.padding_across)
            terms.append((first * self.columns, there, Divisors(self, form.counts, form.padded, start), order))

        def given(x: Value, t: Value) -> list[Value]:
            """What the windows of row ``t`` give to their elements, for each of the terms."""
            here, top, inside = bytes_on(x, t * n.row), t * n.stride_down - n.padding_down, t.compare("ult", n.windows_down)
            found = []
            for begin, there, by, _ in terms:
                mask = there & inside.splat(lanes)
                values = self.masked(bytes_on(here, begin), mask, 0.0, self.lanes_apart)
                found.append(mask.select(by.divided(values, top), zero))
            return found

        def joined(rows: list[list[Value]]) -> Value:
            """The sum of what several rows of windows give."""
            shares = [shuffle(added([zero, *found]), zero, order) for found, (*_, order) in zip(zip(*rows), terms, strict=True)]
            return added(shares)

        def put(y: Value, first: Value, last: Value, value: Value) -> None:
            """Stores a value in rows ``first`` to before ``last`` of the plane."""

            def row(_: Value, to: list[Value]) -> list[Value]:
                store(to[0], value, 1, written)
                return [bytes_on(to[0], n.size_across * self.size)]

            start = y.offset(first * n.size_across + left, self.kind)
            code.loop(first, last, 1, [start], row) if form.down != 1 else row(first, [start])

        def rows(x: Value, y: Value) -> None:
            def period(begin: Value, carried: list[Value]) -> list[Value]:
                t, *others = carried
                newest, width = given(x, t), len(terms)
                each = [newest, *(others[k : k + width] for k in range(0, len(others), width))]
                first, end = begin, begin + n.stride_down
                if form.down != 1:
                    first, end = begin.intrinsic("smax", 0), end.intrinsic("smin", n.size_down)
                if not form.even:
                    middle = (begin + self.height).intrinsic("smin", n.size_down).intrinsic("smax", first)
                    put(y, middle, end, joined(each[:-1]) if form.rows > 1 else zero)
                    end = middle
                put(y, first, end, joined(each))
                return [t + 1, *newest, *others][: 1 + len(others)]

            earlier = [share for back in range(1, form.rows) for share in given(x, n.newest - back)]
            begin = n.newest * n.stride_down - n.padding_down
            code.loop(begin, n.size_down, n.stride_down, [n.newest, *earlier], period)

        return rows

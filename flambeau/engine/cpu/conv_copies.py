"""What convolutions read: copies of the source's channels, shifted such that the positions a tap reads follow each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from flambeau.engine.cpu import packing
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import Frame, bytes_on, evenly, parameter, run_part
from flambeau.engine.cpu.gemm import WORTH_DIVIDING
from flambeau.engine.cpu.specs import KINDS, ConvSpec

COPIES = 704 << 10
"""Bytes that the copies of the source may take: with what is read beside them they should stay in the second cache."""


class Tap(NamedTuple):
    """One element of the convolution's kernel: where its source lies for position (0, 0), and its place in the weight."""

    row: int
    column: int
    place: int


class Pass(NamedTuple):
    """See the module's text. The result goes to ``(start + t * step)``, for rows and for columns."""

    rows: int
    columns: int
    row_step: int
    column_step: int
    taps: tuple[Tap, ...]
    start: tuple[int, int] = (0, 0)
    step: tuple[int, int] = (1, 1)


def passes(spec: ConvSpec) -> list[Pass]:
    """The passes of a convolution, or of the gradient of its input."""
    kernel = [(i, j) for i in range(spec.kernel[0]) for j in range(spec.kernel[1])]
    (dr, dc), (pr, pc), (sr, sc) = spec.dilation, spec.padding, spec.stride
    if spec.part != "input":
        taps = tuple(Tap(i * dr - pr, j * dc - pc, n) for n, (i, j) in enumerate(kernel))
        return [Pass(*spec.size(), sr, sc, taps)]
    found = []
    for a in range(min(sr, spec.h)):
        for b in range(min(sc, spec.w)):
            shifts = [(a + pr - i * dr, b + pc - j * dc, n) for n, (i, j) in enumerate(kernel)]
            taps = tuple(Tap(i // sr, j // sc, n) for i, j, n in shifts if i % sr == 0 and j % sc == 0)
            found.append(Pass(-(-(spec.h - a) // sr), -(-(spec.w - b) // sc), 1, 1, taps, (a, b), (sr, sc)))
    return found


class Plane(NamedTuple):
    """One copy of a channel: row ``i`` is source row ``(i + low) * row_step + remainder``, its columns are shifted."""

    remainder: int
    low: int
    reach: int  # rows that it has beyond those of the result
    shift: int


class Copies:
    """How the copies of a source are laid out for ``rows`` rows of a pass at a time."""

    def __init__(self, p: Pass, height: int, width: int, strides: tuple[int, ...]) -> None:
        self.height = height
        self.width = width
        self.strides = strides
        offsets: dict[tuple[int, int], list[int]] = {}
        for tap in p.taps:
            offsets.setdefault((tap.row % p.row_step, tap.column), []).append(tap.row // p.row_step)
        self.planes = [Plane(r, min(e), max(e) - min(e), shift) for (r, shift), e in offsets.items()]
        below = all(0 <= t.row and t.row + p.rows <= height for t in p.taps)
        gapless = all(t.column == 0 for t in p.taps) and p.columns == width and (strides[2], strides[3]) == (width, 1)
        self.none = below and gapless and (p.row_step, p.column_step) == (1, 1)  # the source itself will do
        self.rows = p.rows
        self.columns = p.columns

    def limit(self, channels: int, size: int, bands: int = 1) -> None:
        """Has the pass done in at least so many bands of rows, and in more if its copies would take too much memory."""
        self.rows = evenly(self.rows, max(1, -(-self.rows // bands)))
        per_row = channels * len(self.planes) * self.columns * size
        if not self.none and self.channel() * channels * size > COPIES and per_row:
            reach = max(p.reach for p in self.planes)
            self.rows = evenly(self.rows, max(COPIES // per_row - reach, 1))

    def starts(self) -> list[int]:
        """Where the planes of a channel begin, and where the last one ends, in elements."""
        at = [0]
        for plane in self.planes:
            at.append(at[-1] + (self.rows + plane.reach) * self.columns)
        return at

    def channel(self) -> int:
        """Elements from channel to channel."""
        return self.strides[1] if self.none else self.starts()[-1]

    def offsets(self, p: Pass) -> list[int]:
        """Where the row of B for each tap begins, in elements."""
        if self.none:
            return [tap.row * self.columns for tap in p.taps]
        starts = self.starts()
        found = []
        for tap in p.taps:
            at = next(
                i for i, x in enumerate(self.planes) if (x.remainder, x.shift) == (tap.row % p.row_step, tap.column)
            )
            found.append(starts[at] + (tap.row // p.row_step - self.planes[at].low) * self.columns)
        return found


class Convolution(Frame):
    """Writes ``part(context, first, last)``; ``outer`` is the kernel, which prepares what all parts share and runs them.

    The context has the kernel's arguments and the shared memory.
    """

    def __init__(self, session: Session, spec: ConvSpec, arguments: int) -> None:
        super().__init__(session, KINDS[spec.dtype.name])
        self.outer = Frame(session, self.kind)
        self.spec = spec
        args, self.shared = self.arguments(2)
        self.pointers = self.arguments(arguments, args)
        self.outer_pointers = self.outer.arguments(arguments)

    def write(self) -> None:
        """Writes both."""
        raise NotImplementedError

    def finish(
        self, tasks: int, work: int, shared: Value, memory: Value, after: Callable[[], None] = lambda: None
    ) -> None:
        """Ends the kernel: runs the parts and what comes ``after`` them, gives the shared memory back."""
        outer = self.outer
        context = outer.code.allocate("ptr", 2)
        context.store(parameter(outer.code, "args"))
        context.offset(1, "ptr").store(shared)
        run_part(outer.code, context, tasks, divided=tasks > 1 and work >= WORTH_DIVIDING)
        after()
        outer.release(memory)

    def tasks(self, body: Callable[[Value], None]) -> None:
        """``body(task)`` for the tasks of this call."""
        first, last = (parameter(self.code, n, "i64") for n in ("first", "last"))
        self.between(first, last, body)

    def fill_table(self, table: Value, channels: int, stride: int, offsets: list[int]) -> None:
        """For each channel and tap where its row of B begins, in bytes. Part of ``outer``."""
        w = self.outer

        def channel(i: Value | int) -> None:
            base = w.code.index(0) + i * (stride * self.size)
            place = table.offset(i * len(offsets), "i64")
            for n, offset in enumerate(offsets):
                place.offset(n, "i64").store(base + offset * self.size)

        w.each(channels, channel)

    def copy(self, p: Pass, copies: Copies, source: Value, to: Value, channels: int, start: Value | int) -> None:
        """Copies the channels that begin at ``source`` for the band of rows that begins at ``start``."""
        code, size = self.code, self.size
        _, channel, down, across = copies.strides
        step = p.column_step if across == 1 and p.column_step <= 2 else None
        part = packing.pack_planes(self.session, self.kind, step)
        for plane, at in zip(copies.planes, copies.starts()):
            # The first and the last row, and the columns, that are inside of the source.
            first = -(plane.remainder // p.row_step) - plane.low
            last = -(-(copies.height - plane.remainder) // p.row_step) - plane.low
            low = min(max(-(plane.shift // p.column_step), 0), copies.columns)
            high = min(max(-(-(copies.width - plane.shift) // p.column_step), low), copies.columns)
            corner = (plane.low * p.row_step + plane.remainder) * down + plane.shift * across
            begin = self.go(bytes_on(source, corner * size), start, p.row_step * down)
            seen = [code.index(x) - start if isinstance(start, Value) else x - start for x in (first, last)]
            inside = [*seen, p.row_step * down * size, copies.columns, low, high, p.column_step * across * size]
            apart = [channels, copies.channel() * size, channel * size]
            self.perform(part, bytes_on(to, at * size), begin, *apart, copies.rows + plane.reach, *inside)

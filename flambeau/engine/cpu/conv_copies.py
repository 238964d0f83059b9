"""What convolutions read: copies of the source's channels, shifted such that the positions a tap reads follow each other.

Kernels are given all sizes when they run, as *words* behind the pointers among their arguments: records of numbers, each of which
is found by how many bytes it lies behind the first word. Distances in them are in bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from flambeau.engine.cpu import packing, threads
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import Value
from flambeau.engine.cpu.frame import Frame, Reader, bytes_on, evenly, kernel, parameter, run_divided
from flambeau.engine.cpu.gemm import WORTH_DIVIDING
from flambeau.engine.cpu.specs import ConvSpec

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
            at = next(i for i, x in enumerate(self.planes) if (x.remainder, x.shift) == (tap.row % p.row_step, tap.column))
            found.append(starts[at] + (tap.row // p.row_step - self.planes[at].low) * self.columns)
        return found


# --- words -------------------------------------------------------------------------------------------------------------


class Words:
    """The words of a kernel under construction: one record first, others behind it."""

    def __init__(self, first: Sequence[str]) -> None:
        self.start = 8 * len(first)
        self.others: list[int] = []

    def add(self, record: Iterable[int]) -> int:
        """Where a record is to be found."""
        at = self.start + 8 * len(self.others)
        self.others += record
        return at

    def behind(self, first: Iterable[int]) -> tuple[int, ...]:
        """All words, once it is known what the first record says."""
        return (*first, *self.others)


class Room:
    """Memory that a kernel is to get: parts of it begin with cache lines."""

    def __init__(self, element: int) -> None:
        self.element = element
        self.size = 0

    def take(self, elements: int) -> int:
        start = self.size
        self.size += -(-elements * self.element // 64) * 64
        return start


class Plain(NamedTuple):
    """A plane, as kernels read it: where it begins in a channel's copies and in the source, its rows, and those and the columns
    that are inside of the source."""

    at: int
    corner: int
    rows: int
    first: int
    last: int
    low: int
    high: int


class Copied(NamedTuple):
    """How a source is copied, as kernels read it; ``none`` is not 0 where it is not: then its rows are ``row`` bytes long.

    ``image`` and ``source`` are how far images and channels of the source are from each other, ``size`` and ``channel`` those of
    the copies.
    """

    none: int
    row: int
    image: int
    source: int
    size: int
    channel: int
    channels: int
    planes: int
    planes_at: int
    pack: int
    down: int
    columns: int
    across: int


def copied(words: Words, session: Session, kind: str, size: int, p: Pass, copies: Copies, channels: int) -> int:
    """Adds what says how the channels of a source are copied for a pass."""
    image, channel, down, across = copies.strides
    step = p.column_step if across == 1 and p.column_step <= 2 else None
    pack = session.memo[packing.pack_planes(session, kind, step)]
    planes: list[int] = []
    for plane, at in zip(copies.planes, copies.starts()):
        # The first and the last row, and the columns, that are inside of the source.
        first = -(plane.remainder // p.row_step) - plane.low
        last = -(-(copies.height - plane.remainder) // p.row_step) - plane.low
        low = min(max(-(plane.shift // p.column_step), 0), copies.columns)
        high = min(max(-(-(copies.width - plane.shift) // p.column_step), low), copies.columns)
        corner = (plane.low * p.row_step + plane.remainder) * down + plane.shift * across
        planes += Plain(at * size, corner * size, copies.rows + plane.reach, first, last, low, high)
    one = copies.channel()
    return words.add(Copied(
        int(copies.none), copies.columns * size, image * size, channel * size, channels * one * size, one * size, channels,
        len(copies.planes), words.add(planes), pack, p.row_step * down * size, copies.columns, p.column_step * across * size,
    ))  # fmt: skip


def taps(words: Words, p: Pass, copies: Copies, size: int) -> int:
    """Adds where the row of B for each tap begins."""
    return words.add([offset * size for offset in copies.offsets(p)])


def dividing(work: int) -> int:
    """What divides so much work between threads, if anything."""
    return threads.entry(False) if work >= WORTH_DIVIDING else 0


def written(session: Session, writer: type[Convolution], *form: Any) -> int:
    """The address of the kernel that a writer makes for a form, compiled when it is first asked for."""
    key = "convolution", writer.__name__, form
    if key not in session.memo:
        made = writer(session, *form)
        made.write()
        session.memo[key] = kernel(session, "conv", key[1:], made.outer.code, made.code)
    address: int = session.memo[key]
    return address


# --- kernels -----------------------------------------------------------------------------------------------------------


class Convolution(Frame):
    """Writes ``part(context, first, last)``; ``outer`` is the kernel, which prepares what all parts share and runs them.

    The context has the kernel's arguments and the shared memory. The first record of the words, with ``fields``, says how many
    ``tasks`` there are, what divides them (``entry``), and how much memory is ``shared`` and how much a part has for itself
    (``scratch``).
    """

    def __init__(self, session: Session, kind: str, arguments: int, fields: Sequence[str]) -> None:
        super().__init__(session, kind)
        self.outer = Frame(session, self.kind)
        args, self.shared = self.arguments(2)
        self.pointers = self.arguments(arguments, args)
        self.number = Reader(args.offset(arguments, "ptr"), fields)
        self.outer_pointers = self.outer.arguments(arguments)
        self.outer_number = Reader(parameter(self.outer.code, "args").offset(arguments, "ptr"), fields)

    def write(self) -> None:
        """Writes both."""
        outer, code, number = self.outer, self.outer.code, self.outer_number
        shared, memory = outer.heap(number("shared"))
        self.prepare(shared)
        self.scratch, own = self.heap(self.number("scratch"))
        self.between(parameter(self.code, "first", "i64"), parameter(self.code, "last", "i64"), self.task)
        self.release(own)
        context = code.allocate("ptr", 2)
        context.store(parameter(code, "args"))
        context.offset(1, "ptr").store(shared)
        run_divided(code, context, number("tasks"), number("entry", "ptr"))
        self.conclude(shared)
        outer.release(memory)

    def prepare(self, shared: Value) -> None:
        """What is done once, before all tasks. Part of ``outer``."""
        raise NotImplementedError

    def task(self, task: Value) -> None:
        raise NotImplementedError

    def conclude(self, shared: Value) -> None:
        """What is done once, after all tasks. Part of ``outer``."""

    def record(self, at: Value, fields: Sequence[str], of: Reader | None = None) -> Reader:
        """The record that lies there among the words."""
        return Reader(bytes_on((of or self.number).words, at), fields)

    def fill_table(self, table: Value, count: Value, channel: Value, taps: Value, taps_at: Value) -> None:
        """For each of ``count`` channels and each tap where its row of B begins. Part of ``outer``."""
        w = self.outer
        offsets = bytes_on(self.outer_number.words, taps_at)

        def one(i: Value) -> None:
            base, place = i * channel, table.offset(i * taps, "i64")
            w.times(taps, lambda n: place.offset(n, "i64").store(offsets.offset(n, "i64").load("i64") + base))

        w.times(count, one)

    def gather(self, c: Reader, source: Value, to: Value, start: Value, images: Value) -> tuple[Value, Value]:
        """Where the band of rows that begins at ``start`` lies, and how far it is from image to image: in the source itself, or
        copied."""
        none = c("none").compare("ne", 0)
        self.when(~none, lambda: self.times(images, lambda n: self.copy(
            c, bytes_on(source, n * c("image")), bytes_on(to, n * c("size")), start)))  # fmt: skip
        return none.select(bytes_on(source, start * c("row")), to), none.select(c("image"), c("size"))

    def copy(self, c: Reader, source: Value, to: Value, start: Value) -> None:
        """Copies the channels that begin at ``source`` for the band of rows that begins at ``start``."""

        def one(i: Value) -> None:
            p = self.record(c("planes_at") + i * (8 * len(Plain._fields)), Plain._fields)
            begin = bytes_on(bytes_on(source, p("corner")), start * c("down"))
            apart = c("channels"), c("channel"), c("source"), p("rows")
            inside = p("first") - start, p("last") - start, c("down"), c("columns"), p("low"), p("high"), c("across")
            self.code.invoke(c("pack", "ptr"), [bytes_on(to, p("at")), begin, *apart, *inside])

        self.times(c("planes"), one)

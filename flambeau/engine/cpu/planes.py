"""Kernels that do one plane of rows and columns after the other: pools, resizing.

There is one for each *form*. How many planes there are, how large they are and where they lie, it reads from words behind the
pointers among its arguments, so that images of other sizes need no other kernel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

import numpy as np

from flambeau.engine.cpu import threads
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.emit import BITS, Code, Value
from flambeau.engine.cpu.frame import Frame, Reader, bytes_on, kernel, parameter, run_divided

WORTH_DIVIDING = 1 << 18
"""Kernels that read this many elements are divided between threads."""

SHARED = ("planes", "entry", "channels", "image", "channel", "row", "column")
"""What all kernels read first: how many planes there are, what divides them between threads, how many of them an image has; then
how far images, channels and rows of what is read are apart, in bytes, and columns, in elements."""


def shared_by(spec, work: int, strides: Sequence[int] = ()) -> dict[str, int]:
    """The :data:`SHARED` words of a kernel that reads ``work`` elements for each plane; ``strides`` are the spec's unless given."""
    (images, channels), (*apart, column) = spec.planes, strides or spec.strides
    planes = images * channels
    divided = planes * work >= WORTH_DIVIDING and planes > 1
    image, channel, row = (s * spec.dtype.itemsize for s in apart)
    return dict(zip(SHARED, (planes, threads.entry(light=False) if divided else 0, channels, image, channel, row, column)))


NUMPY = {"float": np.float32, "double": np.float64}


def gathers(column: int) -> str:
    """How vectors of elements so far apart are read: ``""`` if these are neighbours, else with indices of which kind."""
    return "" if column == 1 else "i32" if abs(column) < 1 << 24 else "i64"


def bits_of(number: float, kind: str) -> int:
    """A word that begins with a number."""
    with np.errstate(over="ignore"):
        return int.from_bytes(np.array(number).astype(NUMPY[kind]).tobytes(), "little", signed=True)


def added(values: list[Value]) -> Value:
    """Their sum, from the first on."""
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def planes_kernel(
    session: Session, writer: type[Planes], form: tuple, words: Mapping[str, int], tables: Sequence[int] = ()
) -> tuple[int, tuple[int, ...]]:
    """The address of the kernel of a form, compiled when it is first asked for, and the words that it reads; ``tables`` come last."""
    key = writer.__name__, form
    if key not in session.memo:
        session.memo[key] = writer(session, form).kernel()
    return session.memo[key], (*[words[name] for name in writer.names], *tables)


class Planes(Frame):
    """Writes ``part(args, first, last)``, which does some of the planes. A form begins with the kind of the elements.

    ``names`` are those of the words. ``made`` are the arguments after the first: their kinds (``""`` for that of the elements), and
    which words say how many numbers of them belong to a plane.
    """

    names: tuple[str, ...] = SHARED
    made: tuple[tuple[str, str], ...] = ()

    def __init__(self, session: Session, form) -> None:
        super().__init__(session, form[0])
        self.form = form
        self.n = SimpleNamespace()  # the words by name; divisors are numbers of the elements' kind

    def write(self) -> None:
        code, n = self.code, self.n
        source, *others = self.arguments(1 + len(self.made))
        read = Reader(parameter(code, "args").offset(1 + len(self.made), "ptr"), self.names)
        self.tables = read.words.offset(len(self.names), "i64")
        for name in self.names:
            setattr(n, name, read(name, self.kind if name == "divisor" else "i64"))
        self.prepare()
        first, last = parameter(code, "first", "i64"), parameter(code, "last", "i64")
        image, channel = first.binary("udiv", n.channels), first.binary("urem", n.channels)
        sizes = [getattr(n, count) * (BITS[kind or self.kind] // 8) for kind, count in self.made]
        starts = [bytes_on(p, first * size) for p, size in zip(others, sizes, strict=True)]
        next_image = n.image - n.channel * (n.channels - 1)

        def plane(_: Value, at: list[Value]) -> list[Value]:
            channel, x, *others = at
            self.plane(x, *others)
            done = (channel + 1).compare("eq", n.channels)
            after = done.select(code.index(0), channel + 1), bytes_on(x, done.select(next_image, n.channel))
            return [*after, *(bytes_on(p, size) for p, size in zip(others, sizes, strict=True))]

        code.loop(first, last, 1, [channel, bytes_on(source, image * n.image + channel * n.channel), *starts], plane)
        self.finish()

    def prepare(self) -> None:
        """Writes what is the same for all planes."""

    def plane(self, x: Value, *others: Value) -> None:
        raise NotImplementedError

    def finish(self) -> None:
        """Writes what is to be done after the last plane."""

    def iota(self, lanes: int = 0, kind: str = "i32") -> Value:
        """The numbers of the lanes."""
        return self.code.vector(range(lanes or self.lanes), kind)

    def wide(self, x: Value, lanes: int = 0) -> Value:
        """An ``i64`` as a vector of ``i32``."""
        return x.convert("trunc", "i32").splat(lanes or self.lanes)

    def along(self, first: Value, lanes: int = 0) -> Value:
        """``first`` and the numbers after it."""
        return self.wide(first, lanes) + self.iota(lanes)

    def apart(self, stride: Value, kind: str) -> Value | None:
        """How far lanes are from the first one, in elements, where they are gathered; see :func:`gathers`."""
        return stride.convert("trunc", kind).splat(self.lanes) * self.iota(kind=kind) if kind else None

    def masked(self, pointer: Value, mask: Value, fill: float, apart: Value | None = None) -> Value:
        """Vectors from memory, with ``fill`` where the mask is not set: what lies there is not touched."""
        code, lanes, bits = self.code, mask.lanes, BITS[self.kind]
        name = f"llvm.masked.load.v{lanes}f{bits}.p0"
        if apart is not None:
            name = f"llvm.masked.gather.v{lanes}f{bits}.v{lanes}p0"
            pointer = pointer.offset(apart, self.kind)
        args = [pointer, code.const(self.size, "i32"), mask, code.const(fill, self.kind, lanes)]
        return code.call(name, args, self.kind, lanes)

    def kernel(self) -> int:
        """The address of the whole kernel."""
        self.write()
        outer = Code(self.session.machine)
        args = parameter(outer, "args")
        read = Reader(args.offset(1 + len(self.made), "ptr"), self.names)
        run_divided(outer, args, read("planes"), read("entry", "ptr"))
        return kernel(self.session, "planes" + type(self).__name__.lower(), self.form, outer, self.code)

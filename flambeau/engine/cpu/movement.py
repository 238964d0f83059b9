"""Elements moved from place to place: along strides, and to or from where index tensors say.

``movement_kernel(spec)`` gives the address of ``void kernel(i8** args)`` and the words that follow the pointers among its
arguments:
``args = {values..., result[, fault]...[, numbers], words...}``, where ``numbers`` points to those that are known only when the
kernel runs, as doubles or ``i64``. What is added to one place is added in the order of the move's shape, by one thread. Every
index is looked at before anything is written: where one is out of range, ``fault`` (an ``i64``) is set and nothing else happens.
In a kernel that is not ``checked``, since somebody else has looked at them, such an index means the first place: there is none that
leads outside of an argument.

All that depends on sizes is decided here and stands in the words; :mod:`flambeau.engine.cpu.moves` has the code.
"""

from __future__ import annotations

from math import prod

import numpy as np

from flambeau.core import dtypes
from flambeau.core.dtypes import dtype as DType
from flambeau.engine.cpu import threads
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.moves import (
    ALL,
    ELEMENTS,
    ENTRY,
    FOLDED,
    HEAD,
    PAIRS,
    VECTORS,
    Form,
    Index,
    movement_driver,
    part,
)
from flambeau.engine.cpu.specs import Lookup, Move, MovementSpec
from flambeau.engine.shapes import reach

_BY_SIZE = {1: "i8", 2: "i16", 4: "i32", 8: "i64"}

WORTH_DIVIDING = 1 << 21
"""Moves that read and write this many bytes are divided between threads, ..."""
BLOCK = 1 << 18
"""... who take this many at a time."""
LONG = 512
"""Rows of more bytes are copied by the library's ``memcpy``, which knows the machine."""


def movement_kernel(spec: MovementSpec, session: Session | None = None) -> tuple[int, tuple[int, ...]]:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments."""
    session = session or process_session()
    return movement_driver(session, spec.pointers), _Binding(session, spec).words()


class _Binding:
    """Makes the words of a kernel."""

    def __init__(self, session: Session, spec: MovementSpec) -> None:
        self.session = session
        self.spec = spec
        self.size = spec.dtype.itemsize
        self.result, self.fault, self.numbers = (8 * k for k in (spec.arguments, spec.arguments + 1, spec.pointers - 1))
        self.table: list[tuple[int, tuple[int, ...], int, int, int]] = []  # (part, job, last, block, tasks)

    def words(self) -> tuple[int, ...]:
        spec = self.spec
        moves = [m.collapsed() for m in spec.moves]
        if spec.checked:
            for lookup, shape in {x: m.shape for m in moves for x in m.lookups}.items():
                self.check(lookup, shape)
        checks = len(self.table)
        if spec.begin:
            self.call((spec.begin,), (self.result, spec.size * self.size))
        for move in moves:
            for piece in self.pieces(move):
                self.move(piece)
        place = 8 * (HEAD + ENTRY * len(self.table))
        rows: list[int] = [checks, len(self.table) - checks, self.fault]
        for address, job, last, block, tasks in self.table:
            rows += [address, place, last, threads.entry(light=False) if tasks > 1 else 0, block, tasks]
            place += 8 * len(job)
        return (*rows, *(word for _, job, *_ in self.table for word in job))

    def call(self, form: Form | tuple, job: tuple[int, ...], last: int = 1, block: int = 1, tasks: int = 1) -> None:
        self.table.append((part(self.session, form), job, last, block, tasks))

    def check(self, lookup: Lookup, shape: tuple[int, ...]) -> None:
        """Has a look at all entries of an index tensor."""
        walked = [(n, s) for n, s in zip(shape, lookup.strides, strict=True) if s]
        dims: list[tuple[int, int]] = []
        for n, s in walked:
            if dims and dims[-1][1] == n * s:
                n *= dims.pop()[0]
            dims.append((n, s))
        low = lookup.extent if lookup.wraps else 0
        size = lookup.dtype.itemsize
        job = self.fault, 8 * lookup.argument, low, low + lookup.extent
        lanes = self.session.machine.vector_bytes // 8 if dims and dims[-1][1] == 1 else 0
        self.call(("check", _BY_SIZE[size], len(dims), lanes), (*job, *(x for n, s in dims for x in (n, s * size))))

    # --- moves -------------------------------------------------------------------------------------------

    def pieces(self, move: Move) -> list[Move]:
        """A move as several, such that threads can divide it: one long row is cut."""
        if len(move.shape) != 1 or any(any(x.strides) for x in move.lookups) or not self.divides(move):
            return [move]
        (n,), most = move.shape, BLOCK // self.size
        cut = _with_dims(move, [(0, n // most, most), (0, most, 1)])
        rest = _with_dims(move, [(0, n % most, 1)])
        source, target = (start + (n - n % most) * s[0] for start, s in zip(move.starts, move.strides, strict=True))
        return [cut, rest._replace(starts=(source, target))] if n % most else [cut]

    def divides(self, move: Move) -> bool:
        """Whether a move is worth dividing, and steps along its outermost dim write to places of their own."""
        if 2 * prod(move.shape) * self.size < WORTH_DIVIDING or len(move.lookups) > move.reads:
            return False
        low, high = reach(move.shape[1:], move.strides[1][1:])
        return abs(move.strides[1][0]) > high - low

    def move(self, move: Move) -> None:
        """The part that does it, and its job."""
        size, shape = self.size, move.shape
        rank, lookups = len(shape), move.lookups
        looked = next((d for d in range(rank + 1) if not any(any(x.strides[d:]) for x in lookups)), 0)
        n, steps = (shape[-1], (move.strides[0][-1], move.strides[1][-1])) if rank > looked else (1, (0, 0))
        row, width, kind, value = self.row(move, n, steps)
        loops = rank if row == ELEMENTS else rank - 1
        walks = [*zip(move.strides, (size, size)), *((x.strides, x.dtype.itemsize) for x in lookups)]
        inner: tuple[int, ...] = ()
        if row == ELEMENTS and loops:
            walked = walks if looked == loops else walks[:2]
            inner = tuple([0 if s[-1] == 0 else 1 if s[-1] == 1 else 2 for s, _ in walked])
        indices = tuple([Index(_BY_SIZE[x.dtype.itemsize], x.wraps) for x in lookups])
        form = Form(kind, loops, row, width, value, move.fold, indices, looked, move.reads, inner)
        source = self.numbers if move.source < 0 else 8 * move.source
        if move.source < 0 and move.constant is not None:
            source = self.result  # nothing is read
        job = [self.result, move.starts[1] * size, source, move.starts[0] * size]
        job += [n if move.fold else n * size, 0 if move.constant is None else _bits(move.constant, self.spec.dtype)]
        for x in lookups:
            job += [8 * x.argument, x.extent, x.step * size]
        for d in range(loops):
            job += [shape[d], *(strides[d] * each for strides, each in walks)]
        last = block = tasks = 1
        if loops:
            last = shape[0]
            if self.divides(move):
                block = max(1, BLOCK // (prod(shape[1:]) * size))
                tasks = -(-last // block)
        self.call(form, tuple(job), last, block, tasks)

    def row(self, move: Move, n: int, steps: tuple[int, int]) -> tuple[str, int, str, str]:
        """How rows of ``n`` elements are moved, in vectors of how many bytes, as what kind of elements, and where the value comes
        from; see :class:`Form`."""
        size, kind, widest = self.size, _BY_SIZE[self.size], self.session.machine.vector_bytes
        along = n > 1 and steps[1] == 1
        if move.fold:
            if self.spec.dtype.kind == dtypes.FLOATING:
                kind = {4: "float", 8: "double"}[size]
            if not (along and steps[0] in (0, 1)):
                return ELEMENTS, 0, kind, "each"
            return FOLDED, widest, kind, "each" if steps[0] else "row"
        value = self.number(move) if move.source < 0 else "each" if steps[0] else "row"
        if along and move.source >= 0 and steps[0] == -1:
            widest = min(widest, 32) if size == 1 else widest  # few machines reverse more bytes in one instruction
            width = next((w for w in (64, 32, 16) if w <= min(widest, n * size)), 0)
            return (VECTORS, width, kind, "back") if width > size else (ELEMENTS, 0, kind, "each")
        if not along or (move.source >= 0 and steps[0] not in (0, 1)):
            return ELEMENTS, 0, kind, value if move.source < 0 else "each"
        if value != "each":
            width = next((w for w in (64, 32, 16) if w <= min(widest, n * size)), 0)
            return (VECTORS, width, kind, value) if width else (ELEMENTS, 0, kind, value if move.source < 0 else "each")
        if n * size > LONG:
            return ALL, 0, "i8", value
        width = next(w for w in (64, 32, 16, 8, 4, 2, 1) if w <= widest and w < n * size)
        return PAIRS if n * size <= 2 * width else VECTORS, width, _BY_SIZE[min(width, 8)], value

    def number(self, move: Move) -> str:
        if move.constant is not None:
            return "bits"
        return {"float32": "float", "float64": "double", "bool": "i1"}.get(self.spec.dtype.name, "i64")


def _with_dims(move: Move, dims: list[tuple[int, int, int]]) -> Move:
    """A move with other dims: of each, which one of the move's it is a part of, its extent, and how many of its steps are one."""

    def walk(strides: tuple[int, ...]) -> tuple[int, ...]:
        return tuple([strides[d] * steps for d, _, steps in dims])

    lookups = tuple([x._replace(strides=walk(x.strides)) for x in move.lookups])
    strides = walk(move.strides[0]), walk(move.strides[1])
    return move._replace(shape=tuple([n for _, n, _ in dims]), strides=strides, lookups=lookups)


def _bits(number: float, dtype: DType) -> int:
    """The representation of a number as an element."""
    if dtype.kind == dtypes.INTEGRAL:
        return int(number) & ((1 << 8 * dtype.itemsize) - 1)
    with np.errstate(over="ignore"):
        element = np.array(number).astype(dtype.np)
    return int.from_bytes(element.tobytes(), "little")

"""Samples of images at the places of a grid, and their gradients, a vector of places at a time.

``grid_kernel(spec)`` gives the address of ``void kernel(i8** args)`` with ``args = {operands..., result, words...}``, and the
words, which say how large everything is. Which elements are around the places of a vector, and what they weigh, is found once for
all channels. The operations are those of :mod:`flambeau.ops.grids`, in that order: the bits are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

from flambeau.engine.cpu import threads
from flambeau.engine.cpu.compiler import Session
from flambeau.engine.cpu.compiler import session as process_session
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.frame import Frame, Made, Reader, bytes_on, evenly, kernel, parameter, run_divided
from flambeau.engine.cpu.memory import load, store
from flambeau.engine.cpu.planes import WORTH_DIVIDING
from flambeau.engine.cpu.specs import KINDS, GridSpec

_BLOCK = 1 << 12
"""Places that are a task, at most, where several may write to one image's result."""


class Form(NamedTuple):
    """What the text of a kernel depends on."""

    part: str
    kind: str
    dims: int
    nearest: bool
    padding: str
    align_corners: bool
    steps: tuple[int, int]  # from place to place in the grid and in g, in elements; 2 for any that is not 0 or 1


class Corner(NamedTuple):
    """For a vector of places one of the elements around them."""

    ends: tuple[int, ...]  # which side of the place, along each dim
    element: Value  # where the elements are
    inside: Value  # whether they are in the image
    factors: list[Value]  # what each dim has them weigh

    def weight(self) -> Value | None:
        """What they weigh; ``None`` for all."""
        return _product(self.factors)


def _product(factors: list[Value]) -> Value | None:
    total = None
    for factor in factors:
        total = factor if total is None else total * factor
    return total


def grid_kernel(spec: GridSpec, session: Session | None = None) -> Made:
    """The address of a kernel for ``spec``, and the words that follow the pointers among its arguments."""
    session = session or process_session()
    step = [s if s in (0, 1) else 2 for s in (spec.grid[1], spec.g[2])]
    form = Form(
        spec.part, KINDS[spec.dtype.name], len(spec.sizes), spec.nearest, spec.padding, spec.align_corners, (step[0], step[1])
    )
    writer = {"sample": _Samples, "scatter": _Scatter, "slopes": _Slopes}[spec.part]
    key = "grid", form
    if key not in session.memo:
        session.memo[key] = writer(session, form).kernel()
    block = spec.places if writer is _Scatter else -(-evenly(spec.places, _BLOCK) // 64) * 64
    blocks, size = -(-spec.places // block), spec.dtype.itemsize
    tasks = spec.images * blocks
    around = 1 if spec.nearest else 1 << len(spec.sizes)
    divided = tasks > 1 and spec.images * spec.places * spec.channels * around >= WORTH_DIVIDING
    numbers = {
        "tasks": tasks, "entry": threads.entry(light=False) if divided else 0, "blocks": blocks, "block": block,
        "places": spec.places, "channels": spec.channels, "image": spec.image[0] * size, "channel": spec.image[1] * size,
        "grid": spec.grid[0] * size, "place": spec.grid[1], "coordinate": spec.grid[2] * size,
        "g_image": spec.g[0] * size, "g_channel": spec.g[1] * size, "g_place": spec.g[2],
    }  # fmt: skip
    words = [numbers[name] for name in _WORDS]
    address: int = session.memo[key]
    return address, (*words, *spec.sizes, *spec.image[2:])


_WORDS = (
    "tasks", "entry", "blocks", "block", "places", "channels", "image", "channel", "grid", "place", "coordinate", "g_image", "g_channel",
    "g_place",
)  # fmt: skip


class _Grid(Frame):
    """Writes ``part(args, first, last)``, which does some blocks of places."""

    operands = 2

    def __init__(self, session: Session, form: Form) -> None:
        super().__init__(session, form.kind)
        self.form = form

    def kernel(self) -> int:
        """The address of the whole kernel."""
        *operands, result = self.arguments(self.operands + 1)
        names = (*_WORDS, *(f"size{d}" for d in range(self.form.dims)), *(f"stride{d}" for d in range(self.form.dims)))
        read = self.n = Reader(parameter(self.code, "args").offset(self.operands + 1, "ptr"), names)
        count, block = read("blocks"), read("block")

        def task(i: Value) -> None:
            image, first = i.binary("udiv", count), i.binary("urem", count) * block
            last = (first + block).intrinsic("umin", read("places"))
            self.block(image, first, last, operands, result)

        self.between(parameter(self.code, "first", "i64"), parameter(self.code, "last", "i64"), task)
        outer = Code(self.session.machine)
        outside = Reader(parameter(outer, "args").offset(self.operands + 1, "ptr"), names)
        run_divided(outer, parameter(outer, "args"), outside("tasks"), outside("entry", "ptr"))
        return kernel(self.session, "grid", self.form, outer, self.code)

    def block(self, image: Value, first: Value, last: Value, operands: list[Value], result: Value) -> None:
        """Some places of one image."""
        n, code = self.n, self.code
        grid = bytes_on(operands[-1], image * n("grid"))

        def vector(p: Value, _: list[Value]) -> list[Value]:
            there = (p.splat(self.lanes) + code.vector(range(self.lanes), "i64")).compare("slt", last.splat(self.lanes))
            self.places(image, p, there, grid, operands, result)
            return []

        code.loop(first, last, self.lanes, [], vector)

    def places(self, image: Value, p: Value, there: Value, grid: Value, operands: list[Value], result: Value) -> None:
        """A vector of places from ``p`` on, as far as they are ``there``."""
        raise NotImplementedError

    def channels(self, body: Callable[[Value, list[Value]], list[Value]], carried: list[Value]) -> list[Value]:
        return self.code.loop(self.code.index(0), self.n("channels"), 1, carried, body)

    def step(self, which: int, word: str) -> int | Value:
        """The stride from place to place, as vectors are loaded with it."""
        how = self.form.steps[which]
        if how < 2:
            return how
        return self.n(word).splat(self.lanes) * self.code.vector(range(self.lanes), "i64")

    def at_place(self, pointer: Value, p: Value, which: int, word: str) -> Value:
        how = self.form.steps[which]
        return pointer.offset(p if how == 1 else p * self.n(word), self.kind) if how else pointer

    def loaded(self, pointer: Value, which: int, word: str, there: Value) -> Value:
        return load(pointer, self.kind, self.lanes, self.step(which, word), there)

    def number(self, value: Value) -> Value:
        """An integer as a vector."""
        return value.convert("sitofp", self.kind).splat(self.lanes)

    def coordinates(self, grid: Value, p: Value, there: Value) -> tuple[list[Value], list[Value]]:
        """The coordinates in the image, and how they change with the grid's."""
        form, found, slopes = self.form, [], []
        at = self.at_place(grid, p, 0, "place")
        for d in range(form.dims):
            pointer = bytes_on(at, self.n("coordinate") * (form.dims - 1 - d))
            n = self.number(self.n(f"size{d}"))
            x = self.loaded(pointer, 0, "place", there) + 1.0
            unit = (n - 1.0) * 0.5 if form.align_corners else n * 0.5
            x, slope = self.bounded(x * unit if form.align_corners else (x * n - 1.0) * 0.5, n)
            found.append(x)
            slopes.append(unit if slope is None else unit * slope)
        return found, slopes

    def bounded(self, x: Value, n: Value) -> tuple[Value, Value | None]:
        if self.form.padding == "zeros":
            return x, None
        slope = x.like(1.0)
        if self.form.padding == "reflection":
            x, slope = self.reflected(x, n)
        inner = x.compare("ogt", 0.0) & x.compare("olt", n - 1.0)
        x = x.compare("ogt", 0.0).select(x, 0.0)  # NaN too
        return x.compare("olt", n - 1.0).select(x, n - 1.0), inner.select(slope, 0.0)

    def reflected(self, x: Value, n: Value) -> tuple[Value, Value]:
        low, span = (x.like(0.0), n - 1.0) if self.form.align_corners else (x.like(-0.5), n)
        left, x = x.compare("olt", low), (x - low).abs()
        turns = (x / span).intrinsic("floor")
        rest = (-turns).fma(span, x)
        odd = (turns - (turns * 0.5).intrinsic("floor") * 2.0).compare("oeq", 1.0)
        folded = low + odd.select(span - rest, rest)
        slope = (left ^ odd).select(x.like(-1.0), 1.0)
        single = span.compare("oeq", 0.0)
        return single.select(0.0, folded), single.select(1.0, slope)

    def element(self, places: list[Value], there: Value) -> tuple[Value, Value]:
        """Where the elements at whole coordinates are, and which of them are inside of the image."""
        index, inside = None, there
        for d, x in enumerate(places):
            within = x.compare("oge", 0.0) & x.compare("ole", self.number(self.n(f"size{d}")) - 1.0)
            whole = within.select(x, 0.0).convert("fptosi", "i32")
            part = whole * self.n(f"stride{d}").convert("trunc", "i32").splat(self.lanes)
            index, inside = part if index is None else index + part, inside & within
        assert index is not None
        return index, inside

    def corners(self, coordinates: list[Value], there: Value) -> list[Corner]:
        if self.form.nearest:
            return [Corner((), *self.element([x.intrinsic("rint") for x in coordinates], there), [])]
        floors = [x.intrinsic("floor") for x in coordinates]
        found = []
        for ends in product((0, 1), repeat=self.form.dims):
            factors = [x - low if up else low + 1.0 - x for x, low, up in zip(coordinates, floors, ends, strict=True)]
            places = [low + 1.0 if up else low for low, up in zip(floors, ends, strict=True)]
            found.append(Corner(ends, *self.element(places, there), factors))
        return found

    def taken(self, image: Value, corner: Corner) -> Value:
        return load(image, self.kind, self.lanes, corner.element, corner.inside)


class _Samples(_Grid):
    def places(self, image: Value, p: Value, there: Value, grid: Value, operands: list[Value], result: Value) -> None:
        n = self.n
        corners = self.corners(self.coordinates(grid, p, there)[0], there)
        weights = [corner.weight() for corner in corners]
        source = bytes_on(operands[0], image * n("image"))
        target = result.offset(image * n("channels") * n("places") + p, self.kind)

        def channel(_: Value, at: list[Value]) -> list[Value]:
            total = None
            for corner, weight in zip(corners, weights, strict=True):
                part = self.taken(at[0], corner)
                part = part if weight is None else part * weight
                total = part if total is None else total + part
            assert total is not None
            store(at[1], total, 1, there)
            return [bytes_on(at[0], n("channel")), at[1].offset(n("places"), self.kind)]

        self.channels(channel, [source, target])


class _Scatter(_Grid):
    """The places of an image are one block. What is added to an element is added place by place."""

    def block(self, image: Value, first: Value, last: Value, operands: list[Value], result: Value) -> None:
        elements = self.elements()
        self.target = result.offset(image * self.n("channels") * elements, self.kind)
        self.clear(self.target, self.n("channels") * elements * self.size)
        around = 1 if self.form.nearest else 1 << self.form.dims
        self.numbers, self.shares = (self.stack(around * self.lanes * size) for size in (4, self.size))
        super().block(image, first, last, operands, result)

    def elements(self) -> Value:
        total = self.n("size0")
        for d in range(1, self.form.dims):
            total = total * self.n(f"size{d}")
        return total

    def places(self, image: Value, p: Value, there: Value, grid: Value, operands: list[Value], result: Value) -> None:
        n, lanes, kind = self.n, self.lanes, self.kind
        corners = self.corners(self.coordinates(grid, p, there)[0], there)
        weights = [corner.weight() for corner in corners]
        for k, corner in enumerate(corners):
            self.numbers.offset(k * lanes, "i32").store(corner.inside.select(corner.element, 0), align=4)
        g = self.at_place(bytes_on(operands[0], image * n("g_image")), p, 1, "g_place")
        elements = self.elements()

        def channel(_: Value, at: list[Value]) -> list[Value]:
            value = self.loaded(at[0], 1, "g_place", there)
            for k, (corner, weight) in enumerate(zip(corners, weights, strict=True)):
                part = value if weight is None else value * weight
                self.shares.offset(k * lanes, kind).store(corner.inside.select(part, 0.0))

            def lane(i: Value) -> None:
                for k in range(len(corners)):
                    index = self.numbers.offset(i + k * lanes, "i32").load("i32").convert("sext", "i64")
                    place = at[1].offset(index, kind)
                    place.store(place.load(kind) + self.shares.offset(i + k * lanes, kind).load(kind))  # 0 for what is outside

            self.times(self.code.index(lanes), lane)
            return [bytes_on(at[0], n("g_channel")), at[1].offset(elements, kind)]

        self.channels(channel, [g, self.target])


class _Slopes(_Grid):
    operands = 3

    def places(self, image: Value, p: Value, there: Value, grid: Value, operands: list[Value], result: Value) -> None:
        n, dims = self.n, self.form.dims
        coordinates, slopes = self.coordinates(grid, p, there)
        corners = self.corners(coordinates, there)
        g = self.at_place(bytes_on(operands[0], image * n("g_image")), p, 1, "g_place")
        source = bytes_on(operands[1], image * n("image"))

        def channel(_: Value, carried: list[Value]) -> list[Value]:
            at, from_, *sums = carried
            value = self.loaded(at, 1, "g_place", there)
            sums = [total + self.taken(from_, corner) * value for total, corner in zip(sums, corners, strict=True)]
            return [bytes_on(at, n("g_channel")), bytes_on(from_, n("channel")), *sums]

        zero = self.code.const(0.0, self.kind, self.lanes)
        sums = self.channels(channel, [g, source, *[zero] * len(corners)])[2:]
        target = result.offset((image * n("places") + p) * dims, self.kind)
        for d in range(dims):
            total = zero
            for corner, weight in zip(corners, sums, strict=True):
                rest = _product(corner.factors[:d] + corner.factors[d + 1 :])
                assert rest is not None
                total = total + (weight if corner.ends[d] else -weight) * rest
            store(target.offset(dims - 1 - d, self.kind), total * slopes[d], dims, there)

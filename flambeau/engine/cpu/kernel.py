"""The function of one loop: rows, passes over a row, points.

:class:`Kernel` writes all of a loop. What threads divide among them is in ``division.py``.
"""

from __future__ import annotations

from collections.abc import Callable

from flambeau.core.dtypes import BOOLEAN, FLOATING
from flambeau.engine.cpu import memory, operations
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.schedule import ONCE, TILE, Schedule
from flambeau.engine.loops import Instr

FAN = 64
"""No accumulator takes more than this many additions before it is added to the one of the next level, so that the
error of a sum grows like that of a pairwise one."""

LINE = 64
"""Bytes of a cache line."""

Step = Callable[[Value, list[Value]], list[Value]]
"""A loop's body: from the index and what the loop carries to what it carries on."""


class Kernel:
    """The function of one loop while it is written.

    ``once``     values that do not change, scalars
    ``row``      values of the current row: scalars, or vectors where lanes run across rows
    ``wide``     both of them, as the vectors that points need
    ``buffers``  pointers to the values kept from pass to pass
    ``indices``  of the dimensions being walked
    ``position`` of the current row among all, where somebody needs it
    ``begun``    of each kind of totals, bits that keep what there is already: none are set in the first row of a block
    """

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.loop = schedule.loop
        self.code = Code(schedule.machine)
        self.lanes = schedule.lanes
        self.once: dict[int, Value] = {}
        self.row: dict[int, Value] = {}
        self.wide: dict[int, Value] = {}
        self.buffers: dict[int, Value] = {}
        self.indices: dict[int, Value] = {}
        self.begun: dict[str, Value] = {}
        self.position: Value | None = None
        self.accesses = [*self.loop.inputs, *(a for _, a in self.loop.outputs)]

    # --- the geometry: numbers here, values where they are given at run time (see forms.py) -------------------

    def extent(self, dim: int) -> int | Value:
        """How many steps the loop goes along ``dim``."""
        return self.loop.shape[dim]

    def stride(self, number: int, dim: int) -> int | Value:
        """How far operand ``number`` goes with each of them, in elements."""
        return self.accesses[number].strides[dim] if self.loop.shape[dim] > 1 else 0

    def lane_stride(self, number: int) -> int | Value:
        """How far operand ``number`` goes from lane to lane, in elements: 0, 1, or something else; where there is one lane, any
        will do. As a value, how far each lane is from the first."""
        dim = self.schedule.lane_dim
        return self.accesses[number].strides[dim] if self.loop.shape[dim] > 1 else 1

    def levels(self, dim: int) -> int:
        """In how many levels of blocks sums along ``dim`` are made, at least: FAN ** levels steps go into so many."""
        return levels_of(self.schedule.trips(dim))

    def trips(self, dim: int) -> int | Value:
        """How many steps a walk over ``dim`` takes, along lanes without that of a rest."""
        return self.schedule.trips(dim)

    def tasks(self) -> int | Value:
        """Into how many a loop is divided, ..."""
        return self.schedule.tasks

    def steps(self) -> int | Value:
        """... each so many steps of a reduction."""
        return self.schedule.steps

    def part_bytes(self) -> int | Value:
        """Memory for the accumulators of a part."""
        return self.schedule.part_bytes()

    def slots(self) -> int | Value:
        """Elements of one of them."""
        return self.schedule.slots()

    def rounded(self, dim: int) -> int | Value:
        """``extent``, rounded up to whole vectors."""
        extent = self.extent(dim)
        if isinstance(extent, int):
            return _round_up(extent, self.lanes)
        return (extent + (self.lanes - 1)) & -self.lanes

    def count(self, number: int | Value) -> Value:
        return number if isinstance(number, Value) else self.code.index(number)

    # --- the frame ------------------------------------------------------------------------------------------

    def write(self) -> None:
        """Writes the body of the function."""
        loop = self.loop
        if not self._is_empty():
            args = self._arguments()
            self._begin(args)
            pointers = [args.offset(k, "ptr").load("ptr") for k in range(len(self.accesses))]
            if loop.scalars:
                self.scalars = args.offset(len(self.accesses), "ptr").load("ptr")
            for v, instr in enumerate(loop.body):
                if self.schedule.level[v] == ONCE:
                    self.once[v] = self._evaluate_once(instr)
                    self.wide[v] = self.once[v].splat(self.lanes)
            self._allocate_buffers()
            self._all_rows(pointers)
        self.code.line("ret void")

    def _is_empty(self) -> bool:
        """Whether there is no row."""
        loop = self.loop
        return 0 in loop.shape and (not loop.reduce or any(loop.shape[d] == 0 for d in self.schedule.kept))

    def _arguments(self) -> Value:
        return Value(self.code, "%args", "ptr", 0)

    def _begin(self, args: Value) -> None:
        """Reads what else is given."""

    def _evaluate_once(self, instr: Instr) -> Value:
        if instr.op == "const":
            return operations.constant(self.code, instr.const, instr.dtype)  # type: ignore[arg-type]
        if instr.op == "scalar":
            return self._scalar(instr)
        return self._evaluate(instr, self.once)

    def _scalar(self, instr: Instr) -> Value:
        place = self.scalars.offset(instr.const, "i64")  # type: ignore[arg-type]
        kind = operations.kind(instr.dtype)
        if instr.dtype.kind == FLOATING:
            return place.load("double").convert("fptrunc", kind)
        if instr.dtype.kind == BOOLEAN:
            return place.load("double").compare("une", 0.0)
        return place.load("i64").convert("trunc", kind)

    def _evaluate(self, instr: Instr, values: dict[int, Value]) -> Value:
        given = [self.loop.body[a].dtype for a in instr.args]
        return operations.evaluate(instr, [values[a] for a in instr.args], given)

    def _allocate_buffers(self) -> None:
        schedule = self.schedule
        points: int | Value = self.lanes if schedule.across else self.rounded(schedule.lane_dim)
        for d in schedule.reduced if schedule.across else schedule.reduced[:-1]:
            points = self.extent(d) * points
        for room in schedule.rooms:
            widest = max([self.loop.body[v].dtype for v in room], key=lambda dtype: dtype.itemsize)
            memory = self.code.allocate(operations.memory_kind(widest), points)
            self.buffers |= dict.fromkeys(room, memory)

    # --- rows -----------------------------------------------------------------------------------------------

    def _all_rows(self, pointers: list[Value]) -> None:
        self._rows(list(self.schedule.kept), pointers)

    def _rows(self, dims: list[int], pointers: list[Value]) -> None:
        """Walks the kept dimensions ``dims``, outermost first, and writes what one row needs."""
        if not dims:
            self._begin_row()
            self._row(pointers, None)
            return
        dim, before = dims[0], self.position

        def step(index: Value, _: list[Value]) -> list[Value]:
            self._advance_position(before, dim, index)
            self._rows(dims[1:], self._advance(pointers, dim, index))
            return []

        def vector(index: Value, mask: Value | None, _: list[Value]) -> list[Value]:
            self._advance_position(before, dim, index)
            self._row(self._advance(pointers, dim, index), mask)
            return []

        if self.schedule.across and len(dims) == 1:
            self._lanes(dim, [], vector, self.code.loop)
        else:
            self._walk(dim, [], step, self.code.loop)

    def _begin_row(self) -> None:
        """Finds out whether the block's totals have begun."""
        begun = self.code.const(False, "i1")
        for d in self.schedule.kept:
            if d in self.loop.blocked:
                begun = begun | self.indices[d].compare("ne", 0)
        for instr in self.loop.body:
            if instr.op == "total":
                kind = _bits(instr)
                self.begun[kind] = begun.convert("sext", kind).splat(self.lanes)

    def _advance_position(self, before: Value | None, dim: int, index: Value) -> None:
        if before is not None:
            schedule = self.schedule
            extent = self.rounded(dim) if schedule.across and dim == schedule.lane_dim else self.extent(dim)
            self.position = before * extent + index

    def _range(self, dim: int) -> tuple[Value, Value] | None:
        """The tasks to do, if it is ``dim`` that is divided."""
        return None

    def _walk(self, dim: int, carried: list[Value], body: Step, loop: Callable[..., list[Value]]) -> list[Value]:
        """A loop over ``dim``, of the kind ``loop``."""

        def step(index: Value, carried: list[Value]) -> list[Value]:
            self.indices[dim] = index
            return body(index, carried)

        start, stop = self._range(dim) or (self.code.index(0), self.count(self.extent(dim)))
        return loop(start, stop, 1, carried, step)

    def _lanes(
        self,
        dim: int,
        carried: list[Value],
        body: Callable[[Value, Value | None, list[Value]], list[Value]],
        loop: Callable[..., list[Value]],
    ) -> list[Value]:
        """Walks ``dim`` by vectors: ``body(index, mask, carried)``; the mask is ``None`` where all lanes count."""
        code, extent, lanes = self.code, self.extent(dim), self.lanes

        def step(index: Value, carried: list[Value]) -> list[Value]:
            self.indices[dim] = index
            return body(index, None, carried)

        def tail(carried: list[Value]) -> list[Value]:
            self.indices[dim] = self.count(full)
            return body(self.count(full), self._mask(extent - full), carried)

        tasks = self._range(dim)
        if isinstance(extent, Value):
            rest = extent & (lanes - 1)
            full: int | Value = extent - rest
            first, last = tasks or (code.index(0), None)
            carried = loop(first * lanes, full if last is None else last * lanes, lanes, carried, step)
            more = rest.compare("ne", 0)
            if last is not None:
                more = more & (last * lanes).compare("eq", full)
            return code.when(more, carried, lambda: tail(carried))
        full = extent - extent % lanes
        if tasks is not None:
            first, last = tasks
            carried = loop(first * lanes, last * lanes, lanes, carried, step)
            if full < extent:
                carried = code.when(last.compare("eq", full // lanes), carried, lambda: tail(carried))
            return carried
        if full == lanes:
            carried = step(code.index(0), carried)
        elif full:
            carried = loop(code.index(0), code.index(full), lanes, carried, step)
        return tail(carried) if full < extent else carried

    def _mask(self, count: int | Value) -> Value:
        """The first ``count`` lanes."""
        if isinstance(count, int):
            return self.code.vector([k < count for k in range(self.lanes)], "i1")
        numbers = self.code.vector(range(self.lanes), "i32")
        return numbers.compare("ult", count.convert("trunc", "i32").splat(self.lanes))

    def _advance(self, pointers: list[Value], dim: int, index: Value) -> list[Value]:
        result = []
        for number, (pointer, access) in enumerate(zip(pointers, self.accesses)):
            stride = self.stride(number, dim)
            if isinstance(stride, Value) or stride:
                step = index if stride == 1 else index * stride
                pointer = pointer.offset(step, operations.memory_kind(access.dtype))
            result.append(pointer)
        return result

    def _row(self, pointers: list[Value], mask: Value | None) -> None:
        """One row (a vector of rows, where lanes run across them): its passes, then what is stored once a row."""
        schedule, body = self.schedule, self.loop.body
        self.row = {}
        for number, (_, updates, _) in enumerate(schedule.passes):
            self._row_values(number, pointers, mask)
            for v, result in zip(updates, self._accumulators(number, pointers, mask)):
                self.row[v] = result if schedule.across else _across_lanes(body[v], result)
                self.wide[v] = self.row[v].splat(self.lanes)
        self._row_values(len(schedule.passes), pointers, mask)
        for k, (v, access) in enumerate(self.loop.outputs, len(self.loop.inputs)):
            if not schedule.at_points(v, access):
                pointer = pointers[k]
                values = self.wide if schedule.across else self.row | self.once
                value = operations.to_memory(values[v], access.dtype)
                if schedule.across:
                    memory.store(pointer, value, self.lane_stride(k), mask)
                else:
                    pointer.store(value)

    def _row_values(self, stage: int, pointers: list[Value], mask: Value | None) -> None:
        across = self.schedule.across
        for v in self.schedule.row_values(stage):
            instr = self.loop.body[v]
            if instr.op == "input":
                value = self._load(instr.const, pointers, mask, across)  # type: ignore[arg-type]
            elif instr.op == "index":
                value = self._index(instr.const, across)  # type: ignore[arg-type]
            else:
                value = self._evaluate(instr, self.wide if across else self.once | self.row)
            self.row[v] = value
            self.wide[v] = value.splat(self.lanes)

    # --- passes ---------------------------------------------------------------------------------------------

    def _accumulators(self, number: int, pointers: list[Value], mask: Value | None) -> list[Value]:
        """The results of pass ``number``, as vectors; makes the pass over the row."""
        _, updates, writes = self.schedule.passes[number]
        if not updates and not writes:
            return []
        if self.schedule.tile is not None:
            self._tiles(self.schedule.tile, pointers)
            return []
        starts = self._identities(number)
        return self._reduce(number, list(self.schedule.reduced), pointers, mask, starts, self.code.index(0))

    def _tiles(self, dim: int, pointers: list[Value]) -> None:
        """Walks ``dim`` and the lanes of a map in tiles."""
        code = self.code

        def tile(first: Value, _: list[Value]) -> list[Value]:
            stop = (first + TILE).intrinsic("smin", self.extent(dim))

            def vector(index: Value, mask: Value | None, _: list[Value]) -> list[Value]:
                def line(k: Value, _: list[Value]) -> list[Value]:
                    self.indices[dim] = k
                    return self._point(0, self._advance(pointers, dim, k), index, mask, [], index)

                return code.loop(first, stop, 1, [], line)

            return self._lanes(self.schedule.lane_dim, [], vector, code.loop)

        start, stop = self._range(dim) or (code.index(0), self.count(self.trips(dim)))
        code.loop(start * TILE, stop * TILE, TILE, [], tile)

    def _reduce(
        self,
        number: int,
        dims: list[int],
        pointers: list[Value],
        mask: Value | None,
        sums: list[Value],
        place: Value,
    ) -> list[Value]:
        """Walks the reduced dimensions ``dims``; ``place`` is where in the buffers the walk has come to."""
        if not dims:
            return self._point(number, pointers, None, mask, sums, place)
        dim, rest = dims[0], dims[1:]

        def cascade(start: Value, stop: Value, step: int, sums: list[Value], body: Step) -> list[Value]:
            if not self._adds(number):
                return self.code.loop(start, stop, step, sums, body)
            return self._cascade(number, start, stop, step, sums, body, self.levels(dim))

        def vector(index: Value, mask: Value | None, sums: list[Value]) -> list[Value]:
            return self._point(number, pointers, index, mask, sums, place + index if self.buffers else place)

        def step(index: Value, sums: list[Value]) -> list[Value]:
            inner = self._advance(pointers, dim, index)
            next_place = place + index * self._buffer_stride(rest) if self.buffers else place
            if not rest or not self._adds(number):
                return self._reduce(number, rest, inner, mask, sums, next_place)
            starts = self._identities(number)
            return self._combine(number, sums, self._reduce(number, rest, inner, mask, starts, next_place))

        if not rest and not self.schedule.across:
            return self._lanes(dim, sums, vector, cascade)
        return self._walk(dim, sums, step, cascade)

    def _buffer_stride(self, rest: list[int]) -> int | Value:
        """Buffers are row-major over the reduced dimensions, that of the lanes rounded up to whole vectors."""
        size: int | Value = self.lanes if self.schedule.across else 1
        for d in rest:
            size = (self.extent(d) if self.schedule.across or d != rest[-1] else self.rounded(d)) * size
        return size

    def _updated(self, number: int) -> list[Instr]:
        return [self.loop.body[v] for v in self.schedule.passes[number][1]]

    def _adds(self, number: int) -> bool:
        """Whether the pass adds floating-point numbers: then the order makes the error."""
        return any(i.op == "sum" and i.dtype.kind == FLOATING for i in self._updated(number))

    def _cascade(
        self, number: int, start: Value, stop: Value, step: int, sums: list[Value], body: Step, levels: int
    ) -> list[Value]:
        """A loop of at most FAN ** levels steps that adds, in blocks of blocks of at most FAN steps.

        Levels more than needed change no bit: ``sums`` are those of nothing, and to add what they are changes nothing.
        """
        if levels == 1:
            return self.code.loop(start, stop, step, sums, body)
        block = FAN ** (levels - 1)

        def outer(first: Value, sums: list[Value]) -> list[Value]:
            end = first + block * step
            end = end.compare("slt", stop).select(end, stop)
            starts = self._identities(number)
            return self._combine(number, sums, self._cascade(number, first, end, step, starts, body, levels - 1))

        return self.code.loop(start, stop, block * step, sums, outer)

    def _combine(self, number: int, sums: list[Value], others: list[Value]) -> list[Value]:
        return [operations.combine(i.op, a, b, i.dtype) for i, a, b in zip(self._updated(number), sums, others)]

    def _identities(self, number: int) -> list[Value]:
        return [self._identity(instr) for instr in self._updated(number)]

    def _identity(self, instr: Instr) -> Value:
        return operations.constant(self.code, operations.identity(instr.op, instr.dtype), instr.dtype, self.lanes)

    # --- points ---------------------------------------------------------------------------------------------

    def _point(
        self,
        number: int,
        pointers: list[Value],
        index: Value | None,
        mask: Value | None,
        sums: list[Value],
        place: Value,
    ) -> list[Value]:
        """A vector of points: evaluates what pass ``number`` needs, updates accumulators, stores."""
        schedule, loop = self.schedule, self.loop
        instrs, updates, writes = schedule.passes[number]
        if index is not None:
            pointers = self._advance(pointers, schedule.lane_dim, index)
        if number == schedule.fetching and mask is None:
            self._fetch(pointers)
        values = dict(self.wide)
        for v in instrs:
            instr = loop.body[v]
            buffer = self.buffers.get(v)
            if buffer is not None and schedule.stage[v] < number:
                values[v] = self._from_buffer(buffer, instr, place)
                continue
            if instr.op == "input":
                value = self._load(instr.const, pointers, mask, vector=True)  # type: ignore[arg-type]
            elif instr.op == "index":
                value = self._index(instr.const, vector=True)  # type: ignore[arg-type]
            else:
                value = self._evaluate(instr, values)
            values[v] = value
            if buffer is not None:
                self._to_buffer(buffer, instr, place, value)
        results = []
        for v, so_far in zip(updates, sums):
            instr = loop.body[v]
            value = values[instr.args[0]]
            if mask is not None and not schedule.across:
                value = mask.select(value, self._identity(instr))
            results.append(operations.combine(instr.op, so_far, value, instr.dtype))
        for k in writes:
            v, access = loop.outputs[k]
            number = len(loop.inputs) + k
            pointer, stride = pointers[number], self.lane_stride(number)
            if loop.is_total(v):
                instr = loop.body[v]
                kind = _bits(instr)
                so_far = memory.load(pointer, kind, self.lanes, stride, mask) & self.begun[kind]
                so_far = so_far.convert("bitcast", operations.kind(instr.dtype))
                value = operations.combine("sum", so_far, values[instr.args[0]], instr.dtype)
            else:
                value = operations.to_memory(values[v], access.dtype)
            memory.store(pointer, value, stride, mask)
        return results

    def _fetch(self, pointers: list[Value]) -> None:
        """Asks for what the next row reads and writes where this one has ``pointers``."""
        code = self.code
        for k, access in enumerate(self.accesses):
            if self.schedule.fetches(access):
                size, down = access.dtype.itemsize, self.stride(k, self.schedule.kept[-1])
                written = code.const(k >= len(self.loop.inputs), "i32")
                for line in range(0, self.lanes * size, LINE):
                    place = pointers[k].offset(down * size, "i8").offset(line, "i8")
                    code.perform("llvm.prefetch.p0", [place, written, code.const(3, "i32"), code.const(1, "i32")])

    def _from_buffer(self, buffer: Value, instr: Instr, place: Value) -> Value:
        kind = operations.memory_kind(instr.dtype)
        return operations.from_memory(buffer.offset(place, kind).load(kind, self.lanes), instr.dtype)

    def _to_buffer(self, buffer: Value, instr: Instr, place: Value, value: Value) -> None:
        kind = operations.memory_kind(instr.dtype)
        buffer.offset(place, kind).store(operations.to_memory(value, instr.dtype))

    def _index(self, dim: int, vector: bool) -> Value:
        index = self.indices.get(dim) or self.code.index(0)  # a dimension of extent 1 is not walked
        if not vector:
            return index
        wide = index.splat(self.lanes)
        return wide + self.code.vector(range(self.lanes), "i64") if dim == self.schedule.lane_dim else wide

    def _load(self, number: int, pointers: list[Value], mask: Value | None, vector: bool) -> Value:
        """Input ``number``, of this point or vector of points."""
        access = self.loop.inputs[number]
        kind, pointer = operations.memory_kind(access.dtype), pointers[number]
        if not vector:
            return operations.from_memory(pointer.load(kind), access.dtype)
        value = memory.load(pointer, kind, self.lanes, self.lane_stride(number), mask)
        return operations.from_memory(value, access.dtype)


def _across_lanes(instr: Instr, value: Value) -> Value:
    """The reduction of the lanes of ``value``, by halves."""
    lanes = value.lanes
    while lanes > 1:
        lanes //= 2
        value = operations.combine(instr.op, value.part(0, lanes), value.part(lanes, 2 * lanes), instr.dtype)
    return value.lane(0)


def _bits(instr: Instr) -> str:
    """The kind of integers that are as wide as the numbers of ``instr``."""
    return f"i{8 * instr.dtype.itemsize}"


def levels_of(steps: int) -> int:
    """How many levels of blocks of FAN there are in so many steps."""
    levels = 1
    while FAN**levels < steps:
        levels += 1
    return levels


def _round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple

"""Loops to kernels: from the loop IR to a function of LLVM IR."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from flambeau.core.dtypes import BOOLEAN, FLOATING
from flambeau.engine.cpu import operations
from flambeau.engine.cpu.compiler import Machine, Session, session
from flambeau.engine.cpu.emit import BITS, Code, Value
from flambeau.engine.cpu.schedule import ONCE, Schedule
from flambeau.engine.loops import Access, Instr, Loop, verify

FAN = 64
"""No accumulator takes more than this many additions before it is added to the one of the next level, so that the
error of a sum grows like that of a pairwise one."""


def loop_kernel(loop: Loop, on: Session | None = None) -> int:
    """The address of ``void kernel(i8** args)`` for ``loop``, compiled if this session does not have it yet."""
    on = on or session()
    text = str(loop)
    address = on.memo.get(text)
    if address is None:
        verify(loop)
        name = "loop_" + sha256(text.encode()).hexdigest()[:24]
        address = on.memo[text] = on.compile_ir(loop_ir(loop, on.machine, name), name)
    return address


def loop_ir(loop: Loop, machine: Machine, name: str) -> str:
    """The LLVM module whose function ``name`` is the kernel of ``loop``."""
    kernel = _Kernel(loop, machine)
    kernel.write()
    body = "\n".join(kernel.code.allocations + kernel.code.lines)
    declarations = "\n".join(kernel.code.declarations.values())
    return f"{declarations}\ndefine void @{name}(ptr %args) {{\nentry:\n{body}\n}}\n"


class _Kernel:
    """The kernel of one loop while it is written.

    ``once``    values that do not change, scalars
    ``row``     values of the current row: scalars, or vectors where lanes run across rows
    ``wide``    both of them, as the vectors that points need
    ``buffers`` pointers to the values kept from pass to pass
    """

    def __init__(self, loop: Loop, machine: Machine) -> None:
        self.loop = loop
        self.schedule = Schedule(loop, machine)
        self.code = Code(machine)
        self.lanes = self.schedule.lanes
        self.once: dict[int, Value] = {}
        self.row: dict[int, Value] = {}
        self.wide: dict[int, Value] = {}
        self.buffers: dict[int, Value] = {}
        self.indices: dict[int, Value] = {}  # of the dimensions being walked
        self.accesses = [*loop.inputs, *(a for _, a in loop.outputs)]

    # --- the frame ------------------------------------------------------------------------------------------

    def write(self) -> None:
        code, loop = self.code, self.loop
        if 0 in loop.shape and (not loop.reduce or any(loop.shape[d] == 0 for d in self.schedule.kept)):
            code.line("ret void")
            return
        args = Value(code, "%args", "ptr", 0)
        pointers = [args.offset(k, "ptr").load("ptr") for k in range(len(self.accesses))]
        if loop.scalars:
            self.scalars = args.offset(len(self.accesses), "ptr").load("ptr")
        for v, instr in enumerate(loop.body):
            if self.schedule.level[v] == ONCE:
                self.once[v] = self._evaluate_once(instr)
                self.wide[v] = self.once[v].splat(self.lanes)
        self._allocate_buffers()
        self._rows(list(self.schedule.kept), pointers)
        code.line("ret void")

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
        points = self.lanes if schedule.across else _round_up(self.loop.shape[schedule.lane_dim], self.lanes)
        for d in schedule.reduced if schedule.across else schedule.reduced[:-1]:
            points *= self.loop.shape[d]
        for v in sorted(schedule.buffered):
            kind = operations.memory_kind(self.loop.body[v].dtype)
            self.buffers[v] = self.code.allocate(kind, points)

    # --- rows -----------------------------------------------------------------------------------------------

    def _rows(self, dims: list[int], pointers: list[Value]) -> None:
        """Walks the kept dimensions ``dims``, outermost first, and writes what one row needs."""
        if self.schedule.across and len(dims) == 1:
            self._lanes(dims[0], [], lambda index, mask, _: self._row(self._advance(pointers, dims[0], index), mask))
        elif dims:
            self._walk(dims[0], pointers, [], lambda inner, _: self._rows(dims[1:], inner) or [])
        else:
            self._row(pointers, None)

    def _walk(
        self,
        dim: int,
        pointers: list[Value],
        carried: list[Value],
        body: Callable[[list[Value], list[Value]], list[Value]],
    ) -> list[Value]:
        """A loop over ``dim``."""

        def step(index: Value, carried: list[Value]) -> list[Value]:
            self.indices[dim] = index
            return body(self._advance(pointers, dim, index), carried)

        start, stop = self.code.index(0), self.code.index(self.loop.shape[dim])
        return self.code.loop(start, stop, 1, carried, step)

    def _advance(self, pointers: list[Value], dim: int, index: Value) -> list[Value]:
        result = []
        for pointer, access in zip(pointers, self.accesses):
            stride = access.strides[dim]
            if stride and self.loop.shape[dim] > 1:
                step = index if stride == 1 else index * stride
                pointer = pointer.offset(step, operations.memory_kind(access.dtype))
            result.append(pointer)
        return result

    def _lanes(
        self,
        dim: int,
        carried: list[Value],
        body: Callable[[Value, Value | None, list[Value]], list[Value]],
        walk: Callable[..., list[Value]] | None = None,
    ) -> list[Value]:
        """Walks ``dim`` by vectors: ``body(index, mask, carried)``; the mask is ``None`` where all lanes count."""
        code, extent = self.code, self.loop.shape[dim]
        full = extent - extent % self.lanes

        def step(index: Value, carried: list[Value]) -> list[Value]:
            self.indices[dim] = index
            return body(index, None, carried)

        if full == self.lanes:
            carried = step(code.index(0), carried)
        elif full:
            walk = walk or code.loop
            carried = walk(code.index(0), code.index(full), self.lanes, carried, step)
        if full < extent:
            self.indices[dim] = code.index(full)
            mask = code.vector([k < extent - full for k in range(self.lanes)], "i1")
            carried = body(code.index(full), mask, carried)
        return carried

    def _row(self, pointers: list[Value], mask: Value | None) -> list[Value]:
        """One row (a vector of rows, where lanes run across them): its passes, then what is stored once a row."""
        schedule, body = self.schedule, self.loop.body
        self.row = {}
        for number, (points, updates) in enumerate(schedule.passes):
            self._row_values(number, pointers, mask)
            starts = [self._identity(body[v]) for v in updates]
            results = self._pass(number, pointers, mask, starts)
            for v, result in zip(updates, results):
                self.row[v] = result if schedule.across else self._across_lanes(body[v], result)
                self.wide[v] = self.row[v].splat(self.lanes)
        self._row_values(len(schedule.passes), pointers, mask)
        for k, (v, access) in enumerate(self.loop.outputs):
            if not schedule.at_points(access):
                pointer = pointers[len(self.loop.inputs) + k]
                values = self.wide if schedule.across else self.row | self.once
                value = operations.to_memory(values[v], access.dtype)
                if schedule.across:
                    self._store_vector(pointer, value, self._lane_stride(access), mask)
                else:
                    pointer.store(value)
        return []

    def _row_values(self, stage: int, pointers: list[Value], mask: Value | None) -> None:
        schedule = self.schedule
        for v in schedule.row_values(stage):
            instr = self.loop.body[v]
            if instr.op == "input":
                k = instr.const
                value = self._load(pointers[k], self.loop.inputs[k], mask, vector=schedule.across)  # type: ignore[index]
            elif instr.op == "index":
                value = self._index(instr.const, vector=schedule.across)  # type: ignore[arg-type]
            else:
                value = self._evaluate(instr, self.wide if schedule.across else self.once | self.row)
            self.row[v] = value
            self.wide[v] = value.splat(self.lanes)

    # --- passes ---------------------------------------------------------------------------------------------

    def _pass(self, number: int, pointers: list[Value], mask: Value | None, starts: list[Value]) -> list[Value]:
        """One pass over the row; returns the accumulators."""
        points, updates = self.schedule.passes[number]
        if not points and not updates and not (self.schedule.stored and number == len(self.schedule.passes) - 1):
            return []
        return self._reduce(number, list(self.schedule.reduced), pointers, mask, starts, self.code.index(0))

    def _reduce(
        self,
        number: int,
        dims: list[int],
        pointers: list[Value],
        mask: Value | None,
        sums: list[Value],
        position: Value,
    ) -> list[Value]:
        """Walks the reduced dimensions ``dims``; ``position`` is where in the buffers the walk has come to."""
        if not dims:
            return self._point(number, pointers, None, mask, sums, position)
        dim, rest = dims[0], dims[1:]
        if not rest and not self.schedule.across:

            def vector(index: Value, mask: Value | None, sums: list[Value]) -> list[Value]:
                place = position + index if self.buffers else position
                return self._point(number, pointers, index, mask, sums, place)

            return self._lanes(dim, sums, vector, lambda *args: self._cascade(number, *args))

        def step(index: Value, sums: list[Value]) -> list[Value]:
            self.indices[dim] = index
            place = position
            if self.buffers:
                place = self._next_position(position, index, rest)
            inner = self._advance(pointers, dim, index)
            if not rest or not self._sums(number):
                return self._reduce(number, rest, inner, mask, sums, place)
            starts = [self._identity(self.loop.body[v]) for v in self.schedule.passes[number][1]]
            return self._combine(number, sums, self._reduce(number, rest, inner, mask, starts, place))

        return self._cascade(number, self.code.index(0), self.code.index(self.loop.shape[dim]), 1, sums, step)

    def _next_position(self, position: Value, index: Value, rest: list[int]) -> Value:
        """Positions in buffers are row-major over the reduced dimensions, the lanes' rounded up to whole vectors."""
        size = self.lanes if self.schedule.across else 1
        for d in rest:
            extent = self.loop.shape[d]
            size *= extent if self.schedule.across or d != rest[-1] else _round_up(extent, self.lanes)
        return position + index * size

    def _sums(self, number: int) -> bool:
        """Whether the pass adds floating-point numbers: then the order makes the error."""
        instrs = [self.loop.body[v] for v in self.schedule.passes[number][1]]
        return any(i.op == "sum" and i.dtype.kind == FLOATING for i in instrs)

    def _cascade(
        self,
        number: int,
        start: Value,
        stop: Value,
        step: int,
        sums: list[Value],
        body: Callable[[Value, list[Value]], list[Value]],
        most: int | None = None,
    ) -> list[Value]:
        """A loop that updates accumulators, in blocks of blocks of at most FAN steps (``most`` is the trip count)."""
        most = most or -(-(int(stop.ref) - int(start.ref)) // step)
        if most <= FAN or not self._sums(number):
            return self.code.loop(start, stop, step, sums, body)
        block = FAN
        while block * FAN < most:
            block *= FAN

        def outer(first: Value, sums: list[Value]) -> list[Value]:
            end = first + block * step
            end = end.compare("slt", stop).select(end, stop)
            starts = [self._identity(self.loop.body[v]) for v in self.schedule.passes[number][1]]
            return self._combine(number, sums, self._cascade(number, first, end, step, starts, body, block))

        return self.code.loop(start, stop, block * step, sums, outer)

    def _combine(self, number: int, sums: list[Value], others: list[Value]) -> list[Value]:
        instrs = [self.loop.body[v] for v in self.schedule.passes[number][1]]
        return [operations.combine(i.op, a, b, i.dtype) for i, a, b in zip(instrs, sums, others)]

    def _identity(self, instr: Instr) -> Value:
        return operations.constant(self.code, operations.identity(instr.op, instr.dtype), instr.dtype, self.lanes)

    def _across_lanes(self, instr: Instr, value: Value) -> Value:
        """The reduction of the lanes of ``value``, by halves."""
        lanes = value.lanes
        while lanes > 1:
            lanes //= 2
            halves = value.part(0, lanes), value.part(lanes, 2 * lanes)
            value = operations.combine(instr.op, *halves, instr.dtype)
        return value.lane(0)

    # --- points ---------------------------------------------------------------------------------------------

    def _point(
        self,
        number: int,
        pointers: list[Value],
        index: Value | None,
        mask: Value | None,
        sums: list[Value],
        position: Value,
    ) -> list[Value]:
        """A vector of points: evaluates what pass ``number`` needs, updates accumulators, stores."""
        schedule, loop = self.schedule, self.loop
        instrs, updates = schedule.passes[number]
        if index is not None:
            pointers = self._advance(pointers, schedule.lane_dim, index)
        values = dict(self.wide)
        for v in instrs:
            instr = loop.body[v]
            buffer = self.buffers.get(v)
            if buffer is not None and schedule.stage[v] < number:
                values[v] = self._from_buffer(buffer, instr, position)
                continue
            if instr.op == "input":
                k = instr.const
                value = self._load(pointers[k], loop.inputs[k], mask, vector=True)  # type: ignore[index]
            elif instr.op == "index":
                value = self._index(instr.const, vector=True)  # type: ignore[arg-type]
            else:
                value = self._evaluate(instr, values)
            values[v] = value
            if buffer is not None:
                self._to_buffer(buffer, instr, position, value)
        results = []
        for v, so_far in zip(updates, sums):
            instr = loop.body[v]
            value = values[instr.args[0]]
            if mask is not None and not schedule.across:
                value = mask.select(value, self._identity(instr))
            results.append(operations.combine(instr.op, so_far, value, instr.dtype))
        if number == len(schedule.passes) - 1:
            for k, v in schedule.stored:
                access = loop.outputs[k][1]
                value = operations.to_memory(values[v], access.dtype)
                self._store_vector(pointers[len(loop.inputs) + k], value, self._lane_stride(access), mask)
        return results

    def _from_buffer(self, buffer: Value, instr: Instr, position: Value) -> Value:
        kind = operations.memory_kind(instr.dtype)
        place = buffer.offset(position, kind)
        return operations.from_memory(place.load(kind, self.lanes), instr.dtype)

    def _to_buffer(self, buffer: Value, instr: Instr, position: Value, value: Value) -> None:
        place = buffer.offset(position, operations.memory_kind(instr.dtype))
        place.store(operations.to_memory(value, instr.dtype))

    def _index(self, dim: int, vector: bool) -> Value:
        index = self.indices.get(dim) or self.code.index(0)  # a dimension of extent 1 is not walked
        if not vector:
            return index
        wide = index.splat(self.lanes)
        return wide + self.code.vector(range(self.lanes), "i64") if dim == self.schedule.lane_dim else wide

    # --- memory ---------------------------------------------------------------------------------------------

    def _lane_stride(self, access: Access) -> int:
        """Elements between lanes; a dimension of extent 1 has one lane, so that any stride will do."""
        dim = self.schedule.lane_dim
        return access.strides[dim] if self.loop.shape[dim] > 1 else 1

    def _load(self, pointer: Value, access: Access, mask: Value | None, vector: bool) -> Value:
        kind, stride = operations.memory_kind(access.dtype), self._lane_stride(access)
        if not vector:
            value = pointer.load(kind)
        elif stride == 0:
            return operations.from_memory(pointer.load(kind), access.dtype).splat(self.lanes)
        elif stride != 1:
            value = self._gather(pointer, kind, stride, mask)
        elif mask is None:
            value = pointer.load(kind, self.lanes)
        else:
            name = f"llvm.masked.load.v{self.lanes}{_mangled(kind)}.p0"
            value = self.code.call(name, [pointer, *self._masking(kind, mask)], kind, self.lanes)
        return operations.from_memory(value, access.dtype)

    def _masking(self, kind: str, mask: Value, load: bool = True) -> list[Value]:
        align = self.code.const(BITS[kind] // 8, "i32")
        return [align, mask, self.code.const(0, kind, self.lanes)] if load else [align, mask]

    def _places(self, pointer: Value, kind: str, stride: int) -> Value:
        wide = "i32" if abs(stride) * self.lanes < 1 << 31 else "i64"
        steps = self.code.vector([k * stride for k in range(self.lanes)], wide)
        return pointer.offset(steps, kind)

    def _gather(self, pointer: Value, kind: str, stride: int, mask: Value | None) -> Value:
        everywhere = mask or self.code.const(True, "i1", self.lanes)
        name = f"llvm.masked.gather.v{self.lanes}{_mangled(kind)}.v{self.lanes}p0"
        places = self._places(pointer, kind, stride)
        return self.code.call(name, [places, *self._masking(kind, everywhere)], kind, self.lanes)

    def _store_vector(self, pointer: Value, value: Value, stride: int, mask: Value | None) -> None:
        kind, lanes = value.kind, self.lanes
        if stride == 1 and mask is None:
            pointer.store(value)
        elif stride == 1:
            name = f"llvm.masked.store.v{lanes}{_mangled(kind)}.p0"
            self.code.perform(name, [value, pointer, *self._masking(kind, mask, load=False)])  # type: ignore[arg-type]
        else:
            everywhere = mask or self.code.const(True, "i1", lanes)
            name = f"llvm.masked.scatter.v{lanes}{_mangled(kind)}.v{lanes}p0"
            places = self._places(pointer, kind, stride)
            self.code.perform(name, [value, places, *self._masking(kind, everywhere, load=False)])


def _mangled(kind: str) -> str:
    return {"float": "f32", "double": "f64"}.get(kind, kind)


def _round_up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple

"""Loops that threads divide among them.

:class:`Rows` writes a range of a loop's rows; or else :class:`Parts` a range of the parts of a long reduction, and
:class:`Finish` what is to be done when all have run.
"""

from __future__ import annotations

from flambeau.engine.cpu import operations
from flambeau.engine.cpu.emit import Code, Value
from flambeau.engine.cpu.kernel import Kernel, levels_of


class Rows(Kernel):
    """The rows ``%first`` to ``%last`` of the dimension that is divided."""

    def _range(self, dim: int) -> tuple[Value, Value] | None:
        return self._tasks() if dim == self.schedule.divided else None

    def _tasks(self) -> tuple[Value, Value]:
        return _tasks(self.code)


class _Split(Kernel):
    """A loop whose reduction is split: besides the kernel's arguments it gets memory for the accumulators."""

    scratch: Value

    def _arguments(self) -> Value:
        both = super()._arguments()
        self.scratch = both.offset(1, "ptr").load("ptr")
        return both.load("ptr")

    def _places(self, task: Value) -> list[Value]:
        """Where the accumulators of the current row and of part ``task`` are."""
        places: list[Value] = []
        part = self.scratch.offset(task * self.part_bytes(), "i8")
        assert self.position is not None
        position = self.position if self.schedule.across else self.position * self.lanes
        for instr in self._updated(0):
            kind = operations.memory_kind(instr.dtype)
            places.append(part.offset(position, kind))
            part = part.offset(self.slots() * instr.dtype.itemsize, "i8")
        return places


class Parts(_Split):
    """The parts ``%first`` to ``%last`` of the reduction of every row."""

    task: Value

    def _all_rows(self, pointers: list[Value]) -> None:
        def step(task: Value, _: list[Value]) -> list[Value]:
            self.task = task
            self.position = self.code.index(0)
            self._rows(list(self.schedule.kept), pointers)
            return []

        self.code.loop(*_tasks(self.code), 1, [], step)

    def _range(self, dim: int) -> tuple[Value, Value] | None:
        if dim != self.schedule.divided:
            return None
        first = self.task * self.steps()
        return first, (first + self.steps()).intrinsic("smin", self.trips(dim))

    def levels(self, dim: int) -> int:
        return levels_of(self.schedule.steps) if dim == self.schedule.divided else super().levels(dim)

    def _row(self, pointers: list[Value], mask: Value | None) -> None:
        self._row_values(0, pointers, mask)
        results = self._accumulators(0, pointers, mask)
        for place, instr, result in zip(self._places(self.task), self._updated(0), results):
            place.store(operations.to_memory(result, instr.dtype))


class Finish(_Split):
    """What remains then: the parts are combined in order, and the values of the row follow."""

    def _all_rows(self, pointers: list[Value]) -> None:
        self.position = self.code.index(0)
        Kernel._all_rows(self, pointers)

    def _accumulators(self, number: int, pointers: list[Value], mask: Value | None) -> list[Value]:
        def step(task: Value, sums: list[Value]) -> list[Value]:
            parts = []
            for place, instr in zip(self._places(task), self._updated(0)):
                value = place.load(operations.memory_kind(instr.dtype), self.lanes)
                parts.append(operations.from_memory(value, instr.dtype))
            return self._combine(0, sums, parts)

        start, stop = self.code.index(0), self.count(self.tasks())
        return self.code.loop(start, stop, 1, self._identities(0), step)


def _tasks(code: Code) -> tuple[Value, Value]:
    return Value(code, "%first", "i64", 0), Value(code, "%last", "i64", 0)

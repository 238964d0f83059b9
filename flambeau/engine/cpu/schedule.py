"""How a loop will be walked: which dimension goes to vector lanes, what is computed where, in how many passes.

Everything here is decided from the loop and the machine alone, so that the order of additions, and with it every
bit of a result, is the same however many threads there are. What decides on the order is what is summed, and not what else the
loop computes: so it is also the same in whatever loop the sum is.
"""

from __future__ import annotations

from collections.abc import Iterable

from flambeau.core.dtypes import BOOLEAN
from flambeau.engine.cpu.compiler import Machine
from flambeau.engine.loops import COSTS, Access, Loop, is_reduction
from flambeau.engine.symbols import whole

# Levels at which a value is computed: once, once a row, at every point.
ONCE, ROW, POINT = range(3)

BUFFER_BYTES = 1 << 18
"""Stack memory for rows of intermediate values kept for a later pass; what does not fit is recomputed."""

TILE = 16
TILED = 256
"""A strided walk of fewer steps finds its cache lines again when it is repeated, without tiles."""

LARGE = 25_000
"""Loops that take so many ns, by a rough estimate, are divided among threads, which are woken for it; ..."""
LIGHT = 4_000
"""... such loops among those that are awake; ..."""
PART = 5_000
"""... a long reduction into parts of so many ns at least."""
SUMMING = 0.1
"""... at so many ns a point."""
FEW = 8
"""Fewer rows than these do not make enough tasks."""
SPLIT_BYTES = 1 << 19
"""Memory for the accumulators of the parts."""
FAR = 1024
"""Bytes between rows from which on a walk down columns is slow: each row is on another page. Then few rows at a time."""

_STORE = 1
"""The cost of keeping a value for later passes, each of which then loads it."""


class Schedule:
    """The decisions for one loop.

    ``kept``       dimensions walked outside, one row for each of their points
    ``reduced``    dimensions walked inside every pass over a row; a map has that of its lanes, and the tiled one
    ``across``     whether lanes run along ``kept[-1]`` (a vector holds many rows) rather than ``reduced[-1]``
    ``lanes``      elements that one step of the innermost loop takes; ``full_lanes`` if it has as many
    ``tile``       the dimension of a map that is walked TILE steps at a time inside the walk over the lanes, so that
                   what a strided access brings to the cache is used up before it leaves
    ``level``      of every instruction: ONCE, ROW or POINT
    ``stage``      of every instruction: how many passes must be over before it can be computed
    ``passes``     what every pass computes at its points: (instructions in order, reductions to update, outputs to write)
    ``buffered``   instructions whose values at every point are kept for later passes; ``rooms`` are those of them that lie
                   in the same memory, one after the other, so that rows take less of the first cache
    ``fetching``   the pass over a row in which the next one is asked for, or ``None``
    ``divided``    the dimension that threads divide among them, or ``None`` where one does it all; ``tasks`` of them.
                   (``light`` if none of them is woken for it). It is the outermost kept one (counted in vectors if it has the
                   lanes), or
    ``split``      it is the outermost reduced one: every task reduces ``steps`` of it, and the results are combined
    """

    def __init__(self, loop: Loop, machine: Machine) -> None:
        self.loop = loop
        self.machine = machine
        self._arrange()
        self._classify()
        self._choose_lanes()
        self._choose_passes()
        self._divide()

    # --- dimensions -----------------------------------------------------------------------------------------

    def _arrange(self) -> None:
        loop = self.loop
        dims = [d for d, n in enumerate(loop.shape) if n != 1] or [loop.reduced[-1] if loop.reduce else 0]
        if loop.block and dims[-1] not in loop.reduced:  # points have lanes along the row, if it is but one point
            dims.append(loop.reduced[-1])
        self.kept = [d for d in dims if loop.reduce == 0 or d not in loop.reduced]
        self.reduced = [d for d in dims if d not in self.kept]
        self.across = False
        self.tile: int | None = None
        if loop.reduce == 0:
            lane = max(dims, key=lambda d: (self._ease(d), d))
            self.kept.remove(lane)
            self.reduced = [lane]
            self._tile(lane)
            return
        inside = max(self.reduced, key=lambda d: (self._ease(d), d), default=None)
        outside = max(self.kept, key=lambda d: (self._ease(d), d), default=None)
        if loop.block == 0 and outside is not None and (inside is None or self._ease(outside) > self._ease(inside)):
            self.across = True
            self.kept.remove(outside)
            self.kept.append(outside)
        elif inside is not None:
            self.reduced.remove(inside)
            self.reduced.append(inside)

    def _tile(self, lane: int) -> None:
        """Finds the dimension that is contiguous where that of a map's lanes is not: the one to walk by tiles."""
        if self.loop.shape[lane] < TILED:
            return
        for access in (*self.loop.inputs, *(a for _, a in self.loop.outputs)):
            if access.strides[lane] not in (0, 1):
                for d in self.kept:
                    if access.strides[d] == 1 and self.loop.shape[d] >= FEW:
                        self.kept.remove(d)
                        self.reduced, self.tile = [d, lane], d
                        return

    def _ease(self, dim: int) -> int:
        """How well lanes along ``dim`` suit the accesses."""
        ease = -4 if self.loop.shape[dim] < 8 else 0
        for weight, access in [(2, a) for a in self.loop.inputs] + [(3, a) for _, a in self.loop.outputs]:
            stride = access.strides[dim]
            if self.loop.reduce and not any([access.strides[d] for d in self.loop.reduced]):
                continue  # once a row
            ease += weight if stride == 1 else -2 * weight if stride else 0
        return ease

    @property
    def lane_dim(self) -> int:
        return self.kept[-1] if self.across else self.reduced[-1]

    # --- values ---------------------------------------------------------------------------------------------

    def _classify(self) -> None:
        self.level: list[int] = []
        self.stage: list[int] = []
        for instr in self.loop.body:
            level = max((self.level[a] for a in instr.args), default=ONCE)
            stage = max((self.stage[a] for a in instr.args), default=0)
            if instr.op == "input":
                strides = self.loop.inputs[instr.const].strides  # type: ignore[index]
                level = POINT if any(strides[d] for d in self.reduced) else ROW
            elif instr.op == "index":
                level = POINT if instr.const in self.reduced else ROW
            elif is_reduction(instr):
                level, stage = ROW, stage + 1
            elif instr.op == "total":
                level = POINT
            self.level.append(level)
            self.stage.append(stage)

    def at_points(self, value: int, access: Access) -> bool:
        """Whether an output of this value and access is stored at every point, rather than once a row."""
        varies = self.level[value] == POINT or any(access.strides[d] for d in self.reduced)
        return self.loop.reduce == 0 or varies

    def _choose_lanes(self) -> None:
        sizes: dict[int, int] = {}
        cost = 0
        gathers = False
        for instr, level in zip(self.loop.body, self.level):
            if level == POINT:
                cost += COSTS.get(instr.op, 1)
                if instr.dtype.kind != BOOLEAN:
                    sizes[instr.dtype.itemsize] = sizes.get(instr.dtype.itemsize, 0) + 1
        for access in (*self.loop.inputs, *(a for _, a in self.loop.outputs)):
            gathers |= access.strides[self.lane_dim] not in (0, 1)
        size = max(sizes, key=lambda s: (sizes[s], s), default=4)
        lanes = max(4, self.machine.vector_bytes // size)
        plenty = self.machine.registers >= 32
        if gathers:
            lanes = min(lanes, 16)
        elif self.loop.reduce and not self.across:  # each lane has a sum of its own
            lanes *= 2
        elif cost <= (12 if plenty else 6):
            lanes *= 4
        elif cost <= (60 if plenty else 20):
            lanes *= 2
        self.full_lanes = min(lanes, 64)
        extent = self.loop.shape[self.lane_dim]
        while lanes // 2 >= extent and lanes > 1:
            lanes //= 2
        self.lanes = min(lanes, 64)

    # --- passes ---------------------------------------------------------------------------------------------

    def _choose_passes(self) -> None:
        body = self.loop.body
        stored = [(n, v) for n, (v, a) in enumerate(self.loop.outputs) if self.at_points(v, a)]
        reductions = [v for v, instr in enumerate(body) if is_reduction(instr)]
        count = 1 + max([self.stage[v] - 1 for v in reductions] + [self.stage[v] for _, v in stored], default=0)
        # Stores wait for the last pass: an output may share memory with an input that every pass reads. Totals do not.
        writes: list[list[int]] = [[] for _ in range(count)]
        sinks: list[list[int]] = [[] for _ in range(count)]
        for n, v in stored:
            total = self.loop.is_total(v)
            writes[self.stage[v] if total else -1].append(n)
            sinks[self.stage[v] if total else -1].append(body[v].args[0] if total else v)
        updates = [[v for v in reductions if self.stage[v] == p + 1] for p in range(count)]
        for sink, changed in zip(sinks, updates):
            sink += [body[v].args[0] for v in changed]
        self.buffered: set[int] = set()
        self._choose_buffered(sinks)
        self.passes = [(self._slice(p, sinks[p]), updates[p], writes[p]) for p in range(count)]
        self._share_rooms()
        self._choose_fetching()

    def _slice(self, number: int, sinks: list[int]) -> list[int]:
        """What pass ``number`` evaluates at its points to have ``sinks``, in order."""
        needed: set[int] = set()
        todo = list(sinks)
        while todo:
            v = todo.pop()
            if v in needed or self.level[v] != POINT:
                continue
            needed.add(v)
            if v not in self.buffered or self.stage[v] >= number:
                todo.extend(self.loop.body[v].args)
        return sorted(needed)

    def _choose_buffered(self, sinks: list[list[int]]) -> None:
        points = self.lanes if self.across else 1
        for d in self.reduced:
            points *= self.loop.shape[d]
        room = BUFFER_BYTES
        slices = [self._slice(p, s) for p, s in enumerate(sinks)]
        for v in reversed(range(len(self.loop.body))):  # last ones first: their arguments are then not needed again
            stage = self.stage[v]
            size = points * self.loop.body[v].dtype.itemsize
            again = [p for p in range(stage + 1, len(sinks)) if v in slices[p]]
            if not again or v not in slices[stage] or size > room:
                continue
            cost = sum(self._cost(p, slices[p]) for p in again)
            self.buffered.add(v)
            shorter = {p: self._slice(p, sinks[p]) for p in again}
            if cost - sum(self._cost(p, s) for p, s in shorter.items()) > len(again) + _STORE:
                room -= size
                for p, s in shorter.items():
                    slices[p] = s
            else:
                self.buffered.discard(v)

    def _share_rooms(self) -> None:
        last = {v: max(p for p, (instrs, _, _) in enumerate(self.passes) if v in instrs) for v in self.buffered}
        self.rooms: list[list[int]] = []
        for v in sorted(self.buffered, key=lambda v: (self.stage[v], v)):
            for room in self.rooms:
                if (last[room[-1]], room[-1]) < (self.stage[v], v):  # at a point, what is read comes before what is kept
                    room.append(v)
                    break
            else:
                self.rooms.append([v])

    def _choose_fetching(self) -> None:
        """The pass with most to do, where there are several: memory would be idle in all but the first."""
        self.fetching: int | None = None
        accesses = [*self.loop.inputs, *(a for _, a in self.loop.outputs)]
        row = sum([a.dtype.itemsize for a in accesses if self.fetches(a)])
        for d in self.reduced:
            row *= self.loop.shape[d]
        if len(self.passes) > 1 and row <= BUFFER_BYTES:
            self.fetching = max(range(len(self.passes)), key=lambda p: self._cost(p, self.passes[p][0]))

    def fetches(self, access: Access) -> bool:
        """Whether the next row has other elements there, a vector of which lie side by side."""
        return not self.across and bool(self.kept) and access.strides[self.lane_dim] == 1 and access.strides[self.kept[-1]] != 0

    def _cost(self, number: int, instrs: list[int]) -> int:
        """What pass ``number`` spends on ``instrs``, but for what it finds in buffers."""
        body = self.loop.body
        return sum(COSTS.get(body[v].op, 1) for v in instrs if v not in self.buffered or self.stage[v] >= number)

    # --- threads --------------------------------------------------------------------------------------------

    def _divide(self) -> None:
        self.divided: int | None = None
        self.split = False
        self.tasks = self.steps = 1
        work = self._work()
        self.light = work < LARGE
        if work < LIGHT:
            return
        outer = self.kept[:-1] if self.across else [d for d in self.kept if d not in self.loop.blocked]
        if outer and self.loop.shape[outer[0]] < FEW:  # the order of rows is free
            longest = max(outer, key=lambda d: self.loop.shape[d])
            self.kept.remove(longest)
            self.kept.insert(0, longest)
        candidate = self.kept[0] if self.kept else self.reduced[0] if self.loop.reduce == 0 else None
        if candidate in self.loop.blocked:
            candidate = None
        tasks = self.trips(candidate) if candidate is not None else 1
        few = self._steps(candidate) < (4 * FEW if self.across else FEW) or (self.across and self._far())
        if few and len(self.passes) == 1 and self.passes[0][1]:
            # Whatever else is computed at the points, the same sum is split in the same way.
            trips = self.trips(self.reduced[0]) if self.reduced else 1
            parts = min(trips, whole(self._points(range(len(self.loop.shape))) * SUMMING / PART), SPLIT_BYTES // self._sums())
            if parts > max(tasks, 1):
                self.divided, self.split = self.reduced[0], True
                self.steps = -(-trips // parts)
                self.tasks = -(-trips // self.steps)
                return
        if tasks > 1:
            self.divided, self.tasks = candidate, tasks

    def _steps(self, dim: int | None) -> int:
        """About how many steps a walk over ``dim`` has, whatever is computed in each."""
        if dim is None:
            return 1
        return self.loop.shape[dim] // (self.machine.vector_bytes // 2) if dim == self.lane_dim else self.loop.shape[dim]

    def _sums(self) -> int:
        """About how many bytes the sums of a part are."""
        return 8 * self._points(self.kept) * (1 if self.across else self.lanes)

    def _far(self) -> bool:
        """Whether the reduced dimension of some input goes from page to page."""
        if not self.reduced:  # only dims of extent 1 are reduced
            return False
        down = self.reduced[0]
        return self.trips(down) >= 4 * FEW and any(a.strides[down] * a.dtype.itemsize >= FAR for a in self.loop.inputs)

    def trips(self, dim: int) -> int:
        """Steps of a walk over ``dim``; along lanes, full vectors; along the tiled one, tiles."""
        extent = self.loop.shape[dim]
        if dim == self.tile:
            return -(-extent // TILE)
        return extent // self.lanes if dim == self.lane_dim else extent

    def _work(self) -> float:
        """A rough estimate of the time that the loop takes, in ns."""
        count = len(self.loop.inputs) + len(self.loop.outputs)
        cost = sum(COSTS.get(i.op, 1) for i, level in zip(self.loop.body, self.level) if level == POINT)
        return self._points(range(len(self.loop.shape))) * (0.05 * count + 0.015 * cost)

    def _points(self, dims: Iterable[int]) -> int:
        points = 1
        for d in dims:
            points *= self.loop.shape[d]
        return points

    def slots(self) -> int:
        """Elements of one accumulator for all rows."""
        count = 1 if self.across else self.lanes
        for d in self.kept:
            extent = self.loop.shape[d]
            count *= -(-extent // self.lanes) * self.lanes if self.across and d == self.lane_dim else extent
        return count

    def part_bytes(self) -> int:
        """Memory for the accumulators of a part."""
        return self.slots() * sum(self.loop.body[v].dtype.itemsize for v in self.passes[0][1])

    # --- what the generator asks ------------------------------------------------------------------------------

    def row_values(self, stage: int) -> list[int]:
        """Instructions to evaluate once a row when ``stage`` passes are over, reductions left out."""
        return [
            v for v, instr in enumerate(self.loop.body)
            if self.level[v] == ROW and self.stage[v] == stage and not is_reduction(instr)
        ]  # fmt: skip

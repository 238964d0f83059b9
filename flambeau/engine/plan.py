"""Plans: a trace that has been seen before, compiled to one run of native kernels.

A trace is looked up by its signature: ops, settings, shapes, who reads whom, what is kept. What differs between two
steps of a training loop - the values of leaves and the Python numbers - is no part of it. A plan knows the memory of
every value beforehand: intermediates lie in an arena, kept results in arrays that are taken again when nobody holds
them any more, and what is written to a storage goes right into its memory where no one still needs the old content.
What has no native kernel runs by its NumPy meaning, between the others.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from array import array
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from flambeau.core import config
from flambeau.core.size import contiguous_strides
from flambeau.engine import flight, verify
from flambeau.engine.cpu import forms
from flambeau.engine.cpu.codegen import loop_kernel
from flambeau.engine.cpu.compiler import addresser, driver, session
from flambeau.engine.execution import Execution, address_of
from flambeau.engine.graph import Node, strided
from flambeau.engine.interpreter import ONE_HOLDER
from flambeau.engine.lowered import Lowered, Step
from flambeau.engine.passes import Passes
from flambeau.engine.sized import Sized, sized
from flambeau.engine.templates import Template
from flambeau.engine.trace import Trace

# --- where values are ----------------------------------------------------------------------------------------


class Output:
    """A kept result's memory: taken again for the next run when nobody holds it any more."""

    __slots__ = ("address", "array", "dtype", "shape")

    def __init__(self, shape, dtype) -> None:
        self.shape, self.dtype = tuple(shape), dtype
        self.array: tuple = ()
        self.address = 0

    def take(self) -> np.ndarray:
        if not self.array or sys.getrefcount(self.array[0]) > ONE_HOLDER:
            fresh = (np.empty(self.shape, self.dtype.np),)
            address = address_of(fresh[0])
            self.array, self.address = fresh, address
        return self.array[0]


class _Arena:
    """Memory for intermediates, shared by all plans: they run one at a time.

    It must not move while there are plans, so as many addresses are reserved as the machine has memory. The system gives
    memory to those that are used, and no more than the largest plan needs is.
    """

    memory = np.empty(0, np.uint8)
    used = 0
    """Bytes that the largest plan needs."""

    def take(self, size: int) -> np.ndarray:
        self.used = max(self.used, size)
        if size > self.memory.size:
            self.memory = _reserve(size)
        return self.memory


def _reserve(size: int) -> np.ndarray:
    """At least ``size`` bytes, from the start of a page on."""
    if sys.platform == "linux":
        everything = os.sysconf("SC_PHYS_PAGES") * mmap.PAGESIZE
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _MAP_NORESERVE
        with contextlib.suppress(OSError):  # where addresses are limited
            return np.frombuffer(mmap.mmap(-1, max(size, everything), flags), np.uint8)
    raw = np.empty(size + 64, np.uint8)
    start = -address_of(raw) % 64
    return raw[start : start + size]


_MAP_NORESERVE = 0x4000  # Python 3.13 has a name for it


arena = _Arena()


class Kernel(NamedTuple):
    """A step's kernel: its address (0: NumPy computes it), its arguments as (source, offset in bytes), and what follows them."""

    address: int
    arguments: Sequence[tuple]
    words: Sequence[int] = ()


_WORD = (1 << 64) - 1


def _masked(words: Sequence[int]) -> Sequence[int]:
    """Words as they are in memory, where negative ones are large. Those of a size that nobody can run may be too large for one."""
    return words if not words or min(words) >= 0 and max(words) <= _WORD else [word & _WORD for word in words]


class Plan:
    """A compiled trace."""

    recorded = 0
    """How many nodes its trace has."""
    runs = 0
    """How often it has run."""
    interpreted = 0.0
    """Seconds that its trace takes in the interpreter, about."""
    special_after = 0.0
    """How often it shall run before it gets kernels for its own sizes."""
    sampled = (0, 0.0)
    """How many of its runs were timed, and the seconds that these took."""
    flight: int | None = None
    """How many steps come before the last call, if that may fly: nothing in it may be refused, or is left to do after it."""
    state: tuple[array, int] | None = None
    """Two words for the next execution."""
    binder: Execution | None = None
    """Who is telling the kernels where values are."""
    outputs: dict[int, Output]
    fault: array
    dynamic: dict[int, tuple[tuple[int, int], ...]]
    all_native: bool

    def __init__(self, lowered: Lowered, sizes: Sequence[int] | None = None) -> None:
        """``sizes`` are those of the trace that it is for, where it was lowered for all; ``Unfit`` where they do not fit."""
        self.lowered = lowered
        self.drive, self.address_of = driver(), addresser()
        self.passes = passes = Passes(lowered.passes, self)
        self.groups, self.steps = lowered.groups, lowered.steps
        self.results, self.in_memory, self.checks = lowered.results, lowered.in_memory, lowered.checks
        self.makers, self.in_place, self.copies = lowered.makers, lowered.in_place, lowered.copies
        self.sizes = None if sizes is None else lowered.symbols.fit(sizes)  # type: ignore[union-attr]
        self.nodes, self.natives = lowered.nodes, lowered.natives
        if self.sizes is not None:
            values, varying = self.sizes, lowered.varying
            self.nodes = [node.at(values) if i in varying else node for i, node in enumerate(lowered.nodes)]
            self.natives = lowered.natives_at(self.nodes)
        self.bytes = lowered.bytes
        if lowered.lengths is not None:
            self.bytes = dict(zip(lowered.bytes, lowered.lengths(self.sizes)))  # type: ignore[arg-type]
        passes.done("sizes")
        kernels = [self._kernel(step) for step in self.steps]
        passes.done("kernels")
        self._lay_out(kernels)
        if len(self.in_place) < len(lowered.targets):  # storages copy what has been computed
            self.flight = None
        lowered.life = verify.verify_memory(self, lowered.life)
        if self.sizes is not None:  # there may be many such plans: of the nodes only those that NumPy computes are still needed
            inside = {step.node for step in self.steps if not step.compiled}
            self.nodes = [node if i in inside else lowered.nodes[i] for i, node in enumerate(self.nodes)]
            self.natives = lowered.natives
        passes.done("layout")

    def _kernel(self, step: Step) -> Kernel:
        """The kernel of a step; none where NumPy computes it."""
        if step.same is not None:
            return Kernel(*step.same)
        if not step.compiled:
            step.same = kernel = Kernel(0, [])
            return kernel
        arguments = step.arguments
        if step.given is not None:
            if step.sized is None:
                step.sized = self._sized(step)
            given, varies = step.given, False
            if self.sizes is not None:  # else there is nothing that gives others
                if step.extents is not None:
                    given, varies = step.extents(self.sizes), True
                if step.offsets is not None:
                    varies = True
                    arguments = [(source, offset) for (source, _), offset in zip(arguments, step.offsets(self.sizes))]
            address, words = step.sized.kernel(given)
        else:
            native = self.natives[step.node]
            address, words = native.kernel(native.spec)
            varies = step.node in self.lowered.varying
            if varies:
                arguments = self.lowered.arguments_of(step.node, native)
        kernel = Kernel(address, arguments, _masked(words))
        if not varies:
            step.same = kernel
        return kernel

    def _sized(self, step: Step) -> Sized:
        """The kernels of a step for all sizes."""
        on = session()
        if step.loop is not None:
            return forms.sized(step.loop, on)
        native = self.lowered.natives[step.node]
        return sized(native.kernel, native.spec, on.memo)

    def _value_of(self, x):
        """``x`` with numbers in place of symbols, if there are any."""
        return x if self.sizes is None else self.sizes.value_of(x)

    # --- memory ------------------------------------------------------------------------------------------

    def _lay_out(self, kernels: list[Kernel]) -> None:
        """Gives every materialized value its place and writes down what is the same in each run."""
        frame = self.lowered.frame
        self.outputs = {i: Output(self._value_of(self.nodes[i].shape), self.nodes[i].dtype) for i in frame.outputs}
        places = self._allocate()
        self.memory = arena.take(self.arena_size)
        self.cells = self._cells(places)
        base = address_of(self.memory)
        self.static: dict = {i: base + offset for i, offset in places.items()}
        self.static |= {i: address_of(cell) for i, cell in self.cells.items()}
        self.fault = array("q", [0] * (1 + len(self.checks)))  # of kernels of their own, and of each check in a loop
        self.static[None] = self.fault.buffer_info()[0]
        self.static |= {i: self.static[None] + 8 * k for k, i in enumerate(self.checks, 1)}
        self.arguments = array("Q")
        self.numbers = array("d", [0.0] * frame.numbers)
        self.number_order, self.integers = frame.number_order, frame.integers
        numbers = self.numbers.buffer_info()[0]
        starts = []
        static, more = self.static, self.arguments.extend
        for step, kernel in zip(self.steps, kernels, strict=True):
            starts.append(len(self.arguments))
            more([static[source] + offset if source in static else 0 for source, offset in kernel.arguments])
            if step.numbers:
                self.arguments.append(numbers)
                numbers += 8 * len(step.numbers)
            more(kernel.words)
        self.dynamic = {  # which Python need not look through for garbage
            source: tuple([(starts[k] + j, kernels[k].arguments[j][1]) for k, j in places]) for source, places in frame.told
        }
        self.fixed = self._value_of(frame.fixed)
        self.integer_view = memoryview(self.numbers).cast("B").cast("q")
        self._group_calls(starts, kernels)
        self.views = {}
        if not self.all_native:
            self.views = {i: self._view(self.nodes[i], self.cells.get(i, self.memory[offset:])) for i, offset in places.items()}
        self.known = dict.fromkeys(self.dynamic, 0)
        self.kept, self.bound, self.rewritten = frame.kept, frame.bound, frame.rewritten

    def _cells(self, places: dict[int, int]) -> dict[int, np.ndarray]:
        """With guards, memory of its own for each value that does not outlive a run; else they lie in the arena."""
        if not config.guard:
            return {}
        return {i: np.empty(max(self.bytes[i], self.nodes[i].dtype.itemsize), np.uint8) for i in places}

    def _view(self, node: Template, memory: np.ndarray) -> np.ndarray:
        """The value of a node that lies at the beginning of some memory."""
        shape = self._value_of(tuple(node.shape))
        return strided(memory, shape, contiguous_strides(shape), 0, node.dtype)

    def _allocate(self) -> dict[int, int]:
        """Offsets in the arena: first fit, each value from the step that writes it to the last that reads it."""
        alive: list[tuple[int, int, int]] = []  # (start, end, last step), by start
        places: dict[int, int] = {}
        self.arena_size = 0
        for i, first, last in self.lowered.frame.arena:
            size = -(-max(1, self.bytes[i]) // 64) * 64
            alive = [t for t in alive if t[2] >= first]
            start = at = 0
            for s, e, _ in alive:
                if start + size <= s:
                    break
                start, at = e, at + 1
            alive.insert(at, (start, start + size, last))
            places[i] = start
            self.arena_size = max(self.arena_size, start + size)
        return places

    def _group_calls(self, starts: list[int], kernels: list[Kernel]) -> None:
        """Runs of native steps become one call each: ``calls`` has (address of the list, count) or a node's number.

        One ends with a step that may refuse its values, so that nothing is written to leaves if it does.
        """
        ended = False
        self.special: list[int] = []  # the steps whose kernels are for all sizes: loops, until there are others for these alone
        self.entries = array("q", [-1] * len(self.steps))  # where the table has each step's kernel
        base = self.arguments.buffer_info()[0]
        table = array("Q")
        runs: list = []
        for k, (step, start, kernel) in enumerate(zip(self.steps, starts, kernels, strict=True)):
            if kernel.address:
                if not runs or isinstance(runs[-1], int) or ended:
                    runs.append([len(table) // 2, 0])
                runs[-1][1] += 1
                self.entries[k] = len(table)
                if step.loop is not None:
                    self.special.append(k)
                table.extend((kernel.address, base + 8 * start))
                ended = step.checked
            else:
                runs.append(step.node)
        self.table = table
        address = table.buffer_info()[0]
        self.calls: list = [run if isinstance(run, int) else (address + 16 * run[0], run[1]) for run in runs]
        self.all_native = all(call.__class__ is tuple for call in self.calls)
        last = self.calls[-1] if self.calls else 0
        if last.__class__ is tuple:
            first = len(self.steps) - last[1]
            if not any(step.checked for step in self.steps[first:]):
                self.flight = first

    # --- running -----------------------------------------------------------------------------------------

    def run(self, trace: Trace, journal, wanted: Node | None = None, worth: float | None = None) -> bool:
        """Binds the trace's values, runs the kernels, and gives the kept nodes their values; whether it could.

        From the first kernel on ``journal.execution`` is what can go on with it; ``journal.live`` says whether the trace is
        still to be run. See :meth:`Execution.go_on` for the rest.
        """
        execution = Execution()
        execution.plan, execution.trace, execution.values = self, trace, {}
        if not execution.bind() or not journal.live:
            return False
        journal.execution = execution  # no call between this and the line before
        return execution.go_on(wanted, worth)

    def specialise(self) -> None:
        """Puts kernels that are made for these sizes in the place of those for all: they give the same bits, sooner."""
        if flight.aloft is not None:
            flight.land()
        while self.special:
            k = self.special[-1]
            self.table[self.entries[k]] = loop_kernel(self._value_of(self.steps[k].loop))
            if self.special and self.special[-1] == k:  # no signal handler has done this meanwhile
                self.special.pop()

    def ready(self, launched: int, value: np.ndarray) -> int:
        """How many of the kernels behind step ``launched`` must have run until a result has its content."""
        for i, output in self.outputs.items():
            if output.array and output.array[0] is value:
                return self.makers[i] - launched
        return flight.ALL

    def tell(self, source: int, address: int) -> None:
        """Tells the kernels where a value is, if any of them needs to know."""
        places = self.dynamic.get(source)
        if places is not None:
            self.known[source] = 0  # until all of them have been told
            arguments = self.arguments
            for place, offset in places:
                arguments[place] = address + offset
            self.known[source] = address

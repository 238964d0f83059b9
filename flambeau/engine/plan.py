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
from collections.abc import Callable, Sequence
from functools import partial
from math import prod

import numpy as np

from flambeau.core import config, dtypes
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.size import contiguous_strides
from flambeau.engine import (
    attention,
    convolutions,
    flight,
    movement,
    pooling,
    products,
    recurrent,
    resizing,
    scans,
    verify,
)
from flambeau.engine.execution import Execution, address_of
from flambeau.engine.expansion import Part, expand
from flambeau.engine.fusion import join_rectifiers, lay_out_convolutions, turn_products
from flambeau.engine.graph import PROJECT, Node, strided
from flambeau.engine.grouping import Group, Grouper, Ref
from flambeau.engine.interpreter import ONE_HOLDER
from flambeau.engine.loops import Access, Instr, Loop
from flambeau.engine.natives import FAULT, Bound, Fault, Result
from flambeau.engine.report import Passes
from flambeau.engine.shapes import collapse
from flambeau.engine.templates import Template, templates
from flambeau.engine.trace import Trace

FORMS: dict[str, Callable] = {**products.FORMS, **attention.FORMS, **convolutions.FORMS, **pooling.FORMS, **resizing.FORMS, **recurrent.FORMS, **movement.FORMS, **scans.FORMS}
"""What makes a kernel of a node of its own, by the op's name; see :mod:`flambeau.engine.natives`."""


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


class _Step:
    """One kernel of a plan: native ones have ``kernel`` and arguments, others the template to compute in NumPy."""

    __slots__ = ("arguments", "checked", "kernel", "node", "numbers", "special", "words")

    def __init__(self, node: int = -1, kernel: int = 0) -> None:
        self.node = node
        self.kernel = kernel
        self.checked = False  # whether it may refuse its values
        self.arguments: list[tuple] = []  # (source, offset in bytes); the source is ``None`` for the plan's fault
        self.numbers: list[tuple[int, Dtype]] = []  # (which number, dtype)
        self.words: Sequence[int] = ()  # the sizes of a kernel for all of them
        self.special: Callable[[], int] | None = None  # makes the kernel for these sizes alone


_WORD = (1 << 64) - 1


def loop_of(group: Group, stored: list[int], nodes: list) -> Loop:
    """The loop of a group, of whose members those that are ``stored`` come into memory."""
    shape, body = group.shape, group.body
    assert body is not None
    order = sorted(range(len(shape)), key=lambda d: d in group.reduced)
    reduce = len(group.reduced)
    rest: tuple[int, ...] = ()
    if group.reduces and not group.reduced:  # only dims of extent 1, which groups do not have
        rest, reduce = (1,), 1
    if group.reduced and min(group.reduced) == 0 and max(group.reduced) == reduce - 1 and reduce < len(shape):
        order, reduce = list(range(len(shape))), -reduce  # leading dims: a sum of rows, column by column

    def permuted(strides: tuple[int, ...]) -> tuple[int, ...]:
        return tuple([strides[d] for d in order]) + (0,) * len(rest)

    inputs = tuple(Access(dtype, permuted(strides)) for _, _, strides, dtype in group.inputs)
    outputs = tuple(
        (group.values[i].number, Access(nodes[i].dtype, permuted(group.strides_of(i)))) for i in stored
    )
    scalars = tuple(dtype for _, dtype in group.scalars)
    extents = tuple([shape[d] for d in order]) + rest
    places = [permuted(strides) for strides in group.places]
    return collapse(Loop(extents, reduce, inputs, scalars, tuple(body.instrs), outputs, len(group.block)), places)


class Plan:
    """A compiled trace."""

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

    def __init__(self, trace: Trace) -> None:
        from flambeau.engine.cpu.compiler import addresser, driver  # LLVM is loaded with the first plan

        self.drive, self.address_of = driver(), addresser()
        done = (passes := Passes()).done
        self.passes = passes
        self.nodes = templates(trace)
        done("templates")
        self.slot_shapes = [(x.shape, x.dtype) for x in trace.leaves]
        order = turn_products(self.nodes, expand(self.nodes))
        order = join_rectifiers(self.nodes, lay_out_convolutions(self.nodes, order))
        verify.verify_nodes(self, order)
        done("expansion")
        grouper = Grouper(self.nodes, order)
        self.groups = grouper.groups
        verify.verify_groups(self, order)
        done("grouping")
        self._find_natives()
        self.checks = [i for i in order if self.nodes[i].op.__class__ is Part and self.nodes[i].op.checked]
        self.in_memory = self._find_materialized()
        done("natives")
        self.steps = [step for group in self.groups for step in self._steps_of(group)]
        done("kernels")
        self.makers: dict[int | None, int] = {}  # of a value that kernels make, how many steps must have run until it is there
        for k, step in enumerate(self.steps, 1):
            if step.kernel:
                for source, _ in step.arguments:
                    self.makers.setdefault(source, k)
        self.native_nodes = {i for group in self.groups if group.body is not None for i in group.members}
        self.native_nodes.update(i for results in self.results.values() for i in results)
        self.in_place = self._find_in_place(trace)
        self.copies = self._copy_to_storages(trace)
        self._lay_out(trace)
        if len(self.in_place) < len(trace.targets):  # storages copy what has been computed
            self.flight = None
        verify.verify_memory(self)
        verify.verify_targets(self)
        done("layout")

    # --- compiling ---------------------------------------------------------------------------------------

    def _find_natives(self) -> None:
        """The nodes that have a kernel of their own, and the nodes that stand for their results.

        A result of several that nobody reads has no node yet; it gets one, since the kernel writes it. Where all of them
        together are kept, for they are taken apart in a trace to come, NumPy's kernel makes them.
        """
        alone = [group.members[0] for group in self.groups if group.body is None]
        alone = [i for i in alone if not (self.nodes[i].kept and self.nodes[i].dtype.__class__ is tuple)]
        self.natives = {
            i: found for i in alone
            if (form := FORMS.get(self.nodes[i].op.name)) is not None and (found := form(self.nodes[i])) is not None
        }  # fmt: skip
        known: set[Bound] = set()
        for i in alone:  # in the order in which they run: what one has refused to go on without, later ones need not look at
            native = self.natives.get(i)
            if native is not None and native.trusting is not None and all(b.follows_from(known) for b in native.bounds):
                self.natives[i] = native.trusting
            elif native is not None:
                known |= native.bounds
        self.results: dict[int, list[int]] = {}
        for i in self.natives:
            node = self.nodes[i]
            if node.dtype.__class__ is not tuple:
                self.results[i] = [i]
                continue
            read = {
                n.attrs["index"]: k for k, n in enumerate(self.nodes)
                if n is not None and n.op is PROJECT and n.inputs[0].source == i
            }  # fmt: skip
            for index, (shape, dtype) in enumerate(zip(node.shape, node.dtype, strict=True)):
                if index not in read:
                    read[index] = len(self.nodes)
                    self.nodes.append(Template(PROJECT, {"index": index}, shape, dtype, [Ref(i, (), node.dtype)]))
            self.results[i] = [read[index] for index in range(len(node.shape))]

    def _find_materialized(self) -> set[int]:
        """The nodes whose value must be in memory: kept, or read from outside their group or through a view."""
        found = {i for i, node in enumerate(self.nodes) if node and node.kept and not node.is_view and i not in self.natives}
        found.update(self.checks)
        found.update(i for results in self.results.values() for i in results)
        for group in self.groups:
            if group.body is None:
                for ref in self.nodes[group.members[0]].inputs:
                    if isinstance(ref, Ref) and ref.source >= 0:
                        found.add(ref.source)
            else:
                found.update(source for source, *_ in group.inputs if source >= 0)
        return {i for i in found if i not in self.natives or self.results[i] == [i]}

    def _steps_of(self, group: Group) -> list[_Step]:
        if group.body is None:
            i = group.members[0]
            node = self.nodes[i]
            if node.op is PROJECT and node.inputs[0].source in self.natives:
                return []  # its memory is written by the kernel of the node that it is a result of
            step = _Step(i)
            if i in self.natives:
                native = self.natives[i]
                (step.kernel, step.words), step.checked = native.made(), FAULT in native.arguments
                step.arguments = [self._argument(i, x) for x in native.arguments]
                step.numbers = list(native.numbers)
            else:
                step.checked = node.op.checked
            return [step]
        stored = [i for i in group.members if i in self.in_memory]
        if not stored:
            return []
        step = self._loop_step(loop_of(group, stored, self.nodes))
        step.arguments = [(source, offset * dtype.itemsize) for source, offset, _, dtype in group.inputs]
        step.arguments += [(i, 0) for i in stored]
        step.numbers = list(group.scalars)
        step.checked = any([i in self.checks for i in stored])
        return [step]

    def _loop_step(self, loop: Loop) -> _Step:
        from flambeau.engine.cpu import codegen, forms  # LLVM is loaded with the first plan

        form, words = forms.bind(loop)
        step = _Step(kernel=forms.form_kernel(form))
        step.words, step.special = words, partial(codegen.loop_kernel, loop)
        return step

    def _argument(self, i: int, x: Ref | Result | Fault) -> tuple[int | None, int]:
        """Where an argument of node ``i``'s kernel is: (source, offset in bytes)."""
        if isinstance(x, Ref):
            return x.source, x.offset * x.dtype.itemsize
        return (None if isinstance(x, Fault) else self.results[i][x.index]), 0

    def _sources(self, step: _Step) -> list[int]:
        """The values that a step reads and, where it is native, writes."""
        if step.kernel:
            return [source for source, _ in step.arguments]
        return [r.source for r in self.nodes[step.node].inputs if isinstance(r, Ref)]

    def _find_in_place(self, trace: Trace) -> dict[int, int]:
        """Nodes that may be written right into the memory that a leaf's slot stands for: node -> slot."""
        found: dict[int, int] = {}
        # As long as a step may refuse its values, leaves are not written to: after an error the interpreter needs them.
        # A kernel of its own refuses before it writes, a loop when it has written.
        checked = [k + (s.node < 0) for k, s in enumerate(self.steps) if s.checked]
        last_use: dict[int, int] = {}  # of a value, the last step
        writers = {i: count - 1 for i, count in self.makers.items()}
        for k, step in enumerate(self.steps):
            for source in self._sources(step):
                last_use[source] = k
        group_of = {i: group for group in self.groups for i in group.members}
        taken: set[int] = set()
        for _, i, slot in trace.targets:
            if i not in self.native_nodes or slot in taken or self.slot_shapes[slot][0] != self.nodes[i].shape:
                continue
            last_read, writer = last_use.get(~slot, -1), writers.get(i, -1)
            same_element = True
            group = group_of[i]
            if group.body is None:
                arguments = self.steps[writer].arguments
                same_element = i in self.natives and self.natives[i].updates and arguments[0] == (~slot, 0)
                same_element = same_element and [source for source, _ in arguments].count(~slot) == 1
            else:  # a loop stores what belongs to a row in its last pass over that row
                natural = group.strides_of(i)
                for source, offset, strides, _ in group.inputs:
                    if source == ~slot and (offset or strides != natural):
                        same_element = False
            if checked and writer < checked[-1]:
                continue
            if last_read < writer or (last_read == writer and same_element):
                found[i] = slot
                taken.add(slot)
        return found

    def _copy_to_storages(self, trace: Trace) -> dict[int, int]:
        """Where the content of a storage is made while its memory is still needed, a copy in the end: node -> node of the copy."""
        copies: dict[int, int] = {}
        for _, i, slot in trace.targets:
            shape, dtype = self.slot_shapes[slot]
            done = i in copies or i in self.in_place or slot in self.in_place.values()
            if done or i not in self.native_nodes & self.in_memory or self.nodes[i].shape != shape or not prod(shape):
                continue
            every = Access(dtype, (1,))
            loop = Loop((prod(shape),), 0, (every,), (), (Instr("input", dtype, (), 0),), ((0, every),))
            step = self._loop_step(collapse(loop, []))
            copies[i] = j = len(self.nodes)
            step.arguments = [(i, 0), (j, 0)]
            self.nodes.append(self.nodes[i])
            self.native_nodes.add(j)
            self.in_place[j] = slot
            self.steps.append(step)
            self.makers[i] = len(self.steps)
        return copies

    # --- memory ------------------------------------------------------------------------------------------

    def _lay_out(self, trace: Trace) -> None:
        """Gives every materialized value its place and writes down what is the same in each run."""
        self.outputs = {
            i: Output(self.nodes[i].shape, self.nodes[i].dtype)
            for i in self.native_nodes & self.in_memory
            if self.nodes[i].kept and i not in self.in_place and i not in self.copies
        }
        arena_nodes = (self.in_memory & self.native_nodes).difference(self.checks)
        places = self._allocate([i for i in arena_nodes if not self.nodes[i].kept or i in self.copies])
        self.memory = arena.take(self.arena_size)
        self.cells = cells = self._cells(places)
        self.static: dict = {i: address_of(cell) for i, cell in cells.items()}
        self.fault = array("q", [0] * (1 + len(self.checks)))  # of kernels of their own, and of each check in a loop
        self.static[None] = self.fault.buffer_info()[0]
        self.static |= {i: self.static[None] + 8 * k for k, i in enumerate(self.checks, 1)}
        self.views = {
            i: strided(cell, self.nodes[i].shape, contiguous_strides(self.nodes[i].shape), 0, self.nodes[i].dtype)
            for i, cell in cells.items()
        }
        self.arguments = array("Q")
        self.dynamic: dict[int, list[tuple[int, int]]] = {}  # source -> [(place in arguments, offset in bytes)]
        self.numbers = array("d", [0.0] * sum(len(s.numbers) for s in self.steps))
        self.number_order: list[int] = []
        self.integers: list[tuple[int, int]] = []
        starts = []
        for step in self.steps:
            starts.append(len(self.arguments))
            if not step.kernel:
                continue
            for source, offset in step.arguments:
                if source in self.static:
                    self.arguments.append(self.static[source] + offset)
                else:
                    self.dynamic.setdefault(source, []).append((len(self.arguments), offset))
                    self.arguments.append(0)
            if step.numbers:
                self.arguments.append(self.numbers.buffer_info()[0] + 8 * len(self.number_order))
                for which, dtype in step.numbers:
                    if dtype.kind == dtypes.INTEGRAL:
                        self.integers.append((len(self.number_order), which))
                    self.number_order.append(which)
            self.arguments.extend([word & _WORD for word in step.words])
        self.integer_view = memoryview(self.numbers).cast("B").cast("q")
        self._group_calls(starts)
        self.known = dict.fromkeys(self.dynamic, 0)
        kept = [i for i, is_kept in enumerate(trace.key[1]) if is_kept]
        self.kept = [(i, self.copies.get(i, i), i in self.outputs or i in self.in_place or i in self.copies) for i in kept]
        self.bound = [(~source, source) for source in self.dynamic if source < 0]  # leaves whose address kernels need
        self.rewritten = [  # (which target, the node whose value it takes in place, the slot of its old content)
            (k, self.copies.get(i, i), slot)
            for k, (_, i, slot) in enumerate(trace.targets)
            if self.in_place.get(self.copies.get(i, i)) == slot
        ]

    def _cells(self, places: dict[int, int]) -> dict[int, np.ndarray]:
        """The memory of each value that does not outlive a run: the arena's from its place on, or, with guards, its own."""
        if config.guard:
            return {i: np.empty(max(1, prod(self.nodes[i].shape)) * self.nodes[i].dtype.itemsize, np.uint8) for i in places}
        return {i: self.memory[offset:] for i, offset in places.items()}

    def _allocate(self, nodes: list[int]) -> dict[int, int]:
        """Offsets in the arena: first fit, each value from the step that writes it to the last that reads it."""
        life: dict[int, list[int]] = {}
        for k, step in enumerate(self.steps):
            sources = self._sources(step)
            for source in sources:
                life.setdefault(source, [k, k])[1] = k
        alive: list[tuple[int, int, int]] = []  # (start, end, last step), by start
        places: dict[int, int] = {}
        self.arena_size = 0
        for i in sorted(nodes, key=lambda i: life[i][0]):
            size = -(-max(1, prod(self.nodes[i].shape)) * self.nodes[i].dtype.itemsize // 64) * 64
            first, last = life[i]
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

    def _group_calls(self, starts: list[int]) -> None:
        """Runs of native steps become one call each: ``calls`` has (address of the list, count) or a node's number.

        One ends with a step that may refuse its values, so that nothing is written to leaves if it does.
        """
        ended = False
        self.special: list[tuple[int, Callable[[], int]]] = []  # the kernels for all sizes: their places in the table, and others
        base = self.arguments.buffer_info()[0]
        table = array("Q")
        runs: list = []
        for step, start in zip(self.steps, starts, strict=True):
            if step.kernel:
                if not runs or isinstance(runs[-1], int) or ended:
                    runs.append([len(table) // 2, 0])
                runs[-1][1] += 1
                if step.special is not None:
                    self.special.append((len(table), step.special))
                table.extend((step.kernel, base + 8 * start))
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
            place, kernel = entry = self.special[-1]
            self.table[place] = kernel()
            if self.special and self.special[-1] is entry:  # no signal handler has done this meanwhile
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

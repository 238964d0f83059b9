"""What a plan does, decided from a trace: parts, groups, kernels of their own, which values must be in memory.

No kernel is made yet and no memory has its place, so it can be decided for all sizes at once: sizes are symbols then (see
:mod:`flambeau.engine.symbols`), and the table that :class:`Lowered` has of them says what they are in another trace of the same
form, if that may be run so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import prod
from typing import TYPE_CHECKING

from flambeau.core.dtypes import dtype as Dtype
from flambeau.engine import (
    attention,
    convolutions,
    movement,
    pairs,
    pooling,
    products,
    recurrent,
    resizing,
    scans,
    verify,
)
from flambeau.engine.expansion import Part
from flambeau.engine.frame import Frame
from flambeau.engine.graph import PROJECT
from flambeau.engine.grouping import Group, Grouper, Ref
from flambeau.engine.loops import Access, Instr, Loop, numbers_of
from flambeau.engine.natives import FAULT, Bound, Fault, Native, Result
from flambeau.engine.passes import Passes
from flambeau.engine.shapes import collapse
from flambeau.engine.sized import numbers_in
from flambeau.engine.symbols import Sizes, Symbol, Symbols, Unfit
from flambeau.engine.templates import Template, templates
from flambeau.engine.trace import Trace

if TYPE_CHECKING:
    from flambeau.engine.sized import Sized

FORMS: dict[str, Callable] = {
    **products.FORMS,
    **attention.FORMS,
    **convolutions.FORMS,
    **pooling.FORMS,
    **resizing.FORMS,
    **recurrent.FORMS,
    **movement.FORMS,
    **scans.FORMS,
    **pairs.FORMS,
}
"""What makes a kernel of a node of its own, by the op's name; see :mod:`flambeau.engine.natives`."""

SIZED = frozenset([*products.FORMS, *movement.FORMS, *attention.FORMS])
"""Those whose kernels are described where sizes are symbols, too; those of others are described anew for each size. Kernels that
refuse indices are among these, for which of them may trust others is decided for all sizes."""


class Step:
    """One kernel of a plan: that of a ``loop``, or of its own where it is ``native``; else ``node`` is computed in NumPy."""

    __slots__ = ("arguments", "checked", "extents", "given", "loop", "native", "node", "numbers", "offsets", "same", "sized")

    def __init__(self, node: int = -1, loop: Loop | None = None, native: bool = False) -> None:
        self.node = node
        self.loop = loop
        self.sized: Sized | None = None  # its kernels for all sizes, once there is one
        self.native = native
        self.checked = False  # whether it may refuse its values
        self.arguments: list[tuple] = []  # (source, offset in bytes); the source is ``None`` for the plan's fault
        self.numbers: list[tuple[int | tuple[Symbol], Dtype]] = []  # (which number, or a size, and its dtype)
        # The extents and strides of its loop, or the sizes by which its kernel is described; where they are symbols, what gives these
        # and the offsets of its arguments for other sizes.
        self.given: tuple | None = None
        self.extents: Callable[[Sizes], tuple] | None = None
        self.offsets: Callable[[Sizes], tuple] | None = None
        self.same: tuple | None = None  # its kernel, once it is known, if that is the same for all sizes

    @property
    def compiled(self) -> bool:
        return self.native or self.loop is not None


class Lowered:
    """The decisions of a plan.

    ``nodes``      the parts, by number; ``groups`` those that run together, in order; ``steps`` the kernels that this makes
    ``natives``    the nodes that have a kernel of their own, and ``results`` the nodes that stand for what each of them makes
    ``in_memory``  the nodes whose value must be in memory; ``checks`` those that are not 0 where an op refuses its values
    ``makers``     of a value that kernels make, how many steps must have run until it is there
    ``in_place``   nodes that are written right into the memory that a leaf's slot stands for: node -> slot
    ``copies``     of what is made elsewhere while that memory is still needed, a copy in the end: node -> node of the copy
    ``bytes``      how long the values are that kernels leave in memory
    ``symbols``    the table of the sizes, where they are symbols
    """

    def __init__(self, trace: Trace, sizes: Sequence[int] | None = None, varied: Iterable[int] | None = None) -> None:
        """With ``sizes``, those of the trace (see :meth:`Trace.form`), it is decided for others, too, in all places or in those that
        have ``varied``."""
        self.symbols = None if sizes is None else Symbols(sizes, varied)
        size_of = self.symbols.in_symbols if self.symbols is not None else None
        done = (passes := Passes()).done
        self.passes = passes
        self.targets = trace.structure.target_places
        self.kept = [i for i, is_kept in enumerate(trace.key[1]) if is_kept]
        self.nodes = templates(trace, size_of)
        self.slot_shapes = [(x.shape if size_of is None else size_of(x.shape), x.dtype) for x in trace.leaves]
        order = passes.rewrite(self)
        self.groups = Grouper(self.nodes, order).groups
        verify.verify_groups(self, order)
        done("grouping")
        self._find_natives()
        self.checks = [i for i in order if self.nodes[i].op.__class__ is Part and self.nodes[i].op.checked]
        self.in_memory = self._find_materialized()
        done("natives")
        self.steps = [step for group in self.groups for step in self._steps_of(group)]
        self.makers: dict[int | None, int] = {}
        for k, step in enumerate(self.steps, 1):
            if step.compiled:
                for source, _ in step.arguments:
                    self.makers.setdefault(source, k)
        self.native_nodes = {i for group in self.groups if group.body is not None for i in group.members}
        self.native_nodes.update(i for results in self.results.values() for i in results)
        self.in_place = self._find_in_place()
        self.copies = self._copy_to_storages()
        stored = self.native_nodes & self.in_memory
        self.bytes = {i: prod(self.nodes[i].shape) * self.nodes[i].dtype.itemsize for i in stored}
        verify.verify_targets(self)
        self.life: dict[int, list[int]] | None = (
            None  # of values, the first and the last step that know them, once that has been verified
        )
        self.frame = Frame(self)
        # Nodes of their own that are described anew for other sizes.
        self.varying = {i for i in self.alone() if not self._is_sized(i) and self.nodes[i].varies()}
        self.lengths = self._getter(tuple(self.bytes.values()))
        for step in self.steps:
            if step.loop is not None or self._is_sized(step.node):
                step.given = numbers_of(step.loop) if step.loop is not None else numbers_in(self.natives[step.node].spec)
                step.extents = self._getter(step.given)
                step.offsets = self._getter(tuple([offset for _, offset in step.arguments]))
        done("steps")

    def _getter(self, numbers: tuple) -> Callable[[Sizes], tuple] | None:
        """What gives ``numbers`` for other sizes; ``None`` where they are the same for all."""
        if all([n.__class__ is not Symbol for n in numbers]):
            return None
        return self.symbols.getter(numbers)  # type: ignore[union-attr]

    # --- other sizes -------------------------------------------------------------------------------------

    def natives_at(self, nodes: list[Template]) -> dict[int, Native]:
        """The kernels of their own that nodes with other sizes have; ``Unfit`` where these are used in another way."""
        found = dict(self.natives)
        for i in self.varying:
            native, before = _native(nodes[i]), self.natives.get(i)
            if before is None or native is None:
                if before is not native:
                    raise Unfit
                continue
            if native.numbers != before.numbers or native.updates != before.updates:
                raise Unfit
            if [_use(x) for x in native.arguments] != [_use(x) for x in before.arguments]:
                raise Unfit
            found[i] = native
        return found

    # --- kernels of their own ----------------------------------------------------------------------------

    def alone(self) -> list[int]:
        """The nodes that may have a kernel of their own."""
        alone = [group.members[0] for group in self.groups if group.body is None]
        return [i for i in alone if not (self.nodes[i].kept and self.nodes[i].dtype.__class__ is tuple)]

    def _is_sized(self, i: int) -> bool:
        """Whether a node has a kernel of its own that is described for all sizes."""
        return i in self.natives and self.nodes[i].op.name in SIZED

    def _find_natives(self) -> None:
        """The nodes that have a kernel of their own, and the nodes that stand for their results.

        A result of several that nobody reads has no node yet; it gets one, since the kernel writes it. Where all of them
        together are kept, for they are taken apart in a trace to come, NumPy's kernel makes them.
        """
        here = None if self.symbols is None else self.symbols.here()
        self.natives: dict[int, Native] = {}
        known: set[Bound] = set()
        for i in self.alone():  # in the order in which they run: what one has refused to go on without, later ones need not look at
            node = self.nodes[i]
            native = _native(node if here is None or node.op.name in SIZED else node.at(here))
            if native is None:
                continue
            if native.trusting is not None and all(b.follows_from(known) for b in native.bounds):
                native = native.trusting
            known |= native.bounds
            self.natives[i] = native
        self.results = {}
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

    def _steps_of(self, group: Group) -> list[Step]:
        if group.body is None:
            i = group.members[0]
            node = self.nodes[i]
            if node.op is PROJECT and node.inputs[0].source in self.natives:
                return []  # its memory is written by the kernel of the node that it is a result of
            step = Step(i, native=i in self.natives)
            if step.native:
                native = self.natives[i]
                step.checked = FAULT in native.arguments
                step.arguments = self.arguments_of(i, native)
                step.numbers = list(native.numbers)
            else:
                step.checked = node.op.checked
            return [step]
        stored = [i for i in group.members if i in self.in_memory]
        if not stored:
            return []
        step = Step(loop=self._loop(group, stored))
        step.arguments = [(source, offset * dtype.itemsize) for source, offset, _, dtype in group.inputs]
        step.arguments += [(i, 0) for i in stored]
        step.numbers = list(group.scalars)
        step.checked = any([i in self.checks for i in stored])
        return [step]

    def arguments_of(self, i: int, native: Native) -> list[tuple]:
        """Where the arguments of node ``i``'s kernel are: (source, offset in bytes)."""
        found: list[tuple] = []
        for x in native.arguments:
            if isinstance(x, Ref):
                found.append((x.source, x.offset * x.dtype.itemsize))
            else:
                found.append((None if isinstance(x, Fault) else self.results[i][x.index], 0))
        return found

    def _loop(self, group: Group, stored: list[int]) -> Loop:
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
        outputs = tuple((group.values[i].number, Access(self.nodes[i].dtype, permuted(group.strides_of(i)))) for i in stored)
        scalars = tuple(dtype for _, dtype in group.scalars)
        extents = tuple([shape[d] for d in order]) + rest
        places = [permuted(strides) for strides in group.places]
        loop = collapse(Loop(extents, reduce, inputs, scalars, tuple(body.instrs), outputs, len(group.block)), places)
        return _with_sizes_given(loop, group)

    def sources(self, step: Step) -> list[int]:
        """The values that a step reads and, where it is native, writes."""
        if step.compiled:
            return [source for source, _ in step.arguments]
        return [r.source for r in self.nodes[step.node].inputs if isinstance(r, Ref)]

    def _find_in_place(self) -> dict[int, int]:
        """Nodes that may be written right into the memory that a leaf's slot stands for: node -> slot."""
        found: dict[int, int] = {}
        # As long as a step may refuse its values, or find no memory as NumPy may, leaves are not written to: after an error the
        # interpreter needs them. A kernel of its own refuses before it writes, a loop when it has written.
        checked = [k + (s.node < 0) for k, s in enumerate(self.steps) if s.checked or not s.compiled]
        last_use: dict[int, int] = {}  # of a value, the last step
        writers = {i: count - 1 for i, count in self.makers.items()}
        for k, step in enumerate(self.steps):
            for source in self.sources(step):
                last_use[source] = k
        group_of = {i: group for group in self.groups for i in group.members}
        taken: set[int] = set()
        for i, slot in self.targets:
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

    def _copy_to_storages(self) -> dict[int, int]:
        """Where the content of a storage is made while its memory is still needed, a copy in the end: node -> node of the copy."""
        copies: dict[int, int] = {}
        for i, slot in self.targets:
            shape, dtype = self.slot_shapes[slot]
            done = i in copies or i in self.in_place or slot in self.in_place.values()
            if done or i not in self.native_nodes & self.in_memory or self.nodes[i].shape != shape or not prod(shape):
                continue
            every = Access(dtype, (1,))
            loop = Loop((prod(shape),), 0, (every,), (), (Instr("input", dtype, (), 0),), ((0, every),))
            step = Step(loop=collapse(loop, []))
            copies[i] = j = len(self.nodes)
            step.arguments = [(i, 0), (j, 0)]
            self.nodes.append(self.nodes[i])
            self.native_nodes.add(j)
            self.in_place[j] = slot
            self.steps.append(step)
            self.makers[i] = len(self.steps)
        return copies


def _with_sizes_given(loop: Loop, group: Group) -> Loop:
    """A loop with sizes among its constants, such as the stride that tells where a point is, as numbers given at run time."""
    if not any([instr.const.__class__ is Symbol for instr in loop.body]):
        return loop
    body = []
    for instr in loop.body:
        if instr.const.__class__ is Symbol:
            place = group.scalars.setdefault(((instr.const,), instr.dtype), len(group.scalars))
            instr = Instr("scalar", instr.dtype, (), place)
        body.append(instr)
    return loop._replace(body=tuple(body), scalars=tuple([dtype for _, dtype in group.scalars]))


def _native(node: Template) -> Native | None:
    """The kernel of its own that a node has, if there is one."""
    form = FORMS.get(node.op.name)
    return None if form is None else form(node)


def _use(x: Ref | Result | Fault) -> object:
    """What matters of an argument to how a kernel is used: whose memory it is, and whether it begins where that does."""
    return (x.source, x.offset == 0) if isinstance(x, Ref) else x

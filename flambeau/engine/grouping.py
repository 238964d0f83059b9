"""From a trace to groups of nodes that run as one loop each.

A group has an iteration shape and the dims that it reduces. A node joins a group that makes what it needs, or that reads
the same, if it can be computed there element by element (or row by row) and nothing that it needs waits for that group;
else it begins a new one. It uses values of its own group directly, and those of others from memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod

from flambeau.core import config, dtypes
from flambeau.core.size import contiguous_strides
from flambeau.engine.loops import COSTS
from flambeau.engine.lowering import Body, Refused, Val
from flambeau.engine.shapes import broadcast_strides, joined, refined, restride, split_dims, split_kept, split_strides
from flambeau.engine.symbols import Symbol, alike, hint_of

MAX_INPUTS = 20
MAX_INSTRUCTIONS = 160
MAX_COST = 320
"""What a loop's instructions may cost (see ``loops.COSTS``) when one more node joins, so that LLVM is done with it in a tenth of a
second."""
NEARBY = 12
"""How many of the newest groups are tried for a node that reads nothing that they read or make."""
SMALL = 1 << 14
"""How many elements such a node may have at most: joining a group saves one call, which matters for small nodes alone."""
BLOCK = 64, 8
"""The largest and the smallest number of rows that are added up before their sum goes to memory: a sum of more rows loses
accuracy, and sums of fewer cost much memory traffic."""
BLOCKS = 16
"""The number of blocks that are made before blocks get longer, so that threads have something to share."""
WIDE = 1 << 15
"""The largest number of elements of rows that are added up: totals of longer rows would leave the cache between one row and the
next."""
LONG = 1 << 17
"""The number of elements from which on a sum is divided between threads, if nothing in its loop waits for it."""
NATIVE = frozenset(d for d in dtypes.ALL if not d.is_complex and d.name not in ("uint16", "uint32", "uint64"))
"""The dtypes that loops take."""
_HALF = (dtypes.float16, dtypes.bfloat16)


class Ref:
    """How a step of a plan sees a value: which one, and through which view.

    ``source`` is a node's number, or ``~slot`` for a leaf.
    """

    __slots__ = ("dtype", "offset", "shape", "source", "strides", "view")

    def __init__(self, source: int, shape, dtype, strides=None, offset: int = 0, view: bool = False) -> None:
        self.source = source
        self.shape = tuple(shape)
        self.dtype = dtype
        self.strides = contiguous_strides(self.shape) if strides is None else tuple(strides)
        self.offset = offset
        self.view = view


class Static:
    """A Python number that is part of the kernel."""

    __slots__ = ("value",)

    def __init__(self, value) -> None:
        self.value = value


class Group:
    """Nodes that run together. ``body`` is ``None`` for a node that runs by its kernel in NumPy.

    ``shape`` has no dims of extent 1. It is as coarse as what is read allows, and is split where a node that joins needs
    that. ``reduced`` are the dims of it that are reduced; a group that ``reduces`` may have none of those left. ``block`` are
    the dims that ``totals`` of rows are made over.
    """

    __slots__ = ("block", "body", "by_row", "inputs", "late", "members", "places", "reduced", "reduces", "scalars", "shape",
                 "size", "totals", "values")  # fmt: skip

    def __init__(self, shape: tuple[int, ...], native: bool) -> None:
        self.shape = shape
        self.size = prod(shape)
        self.reduces = False
        self.reduced: frozenset[int] = frozenset()
        self.members: list[int] = []
        self.body = Body() if native else None
        self.inputs: dict[tuple, int] = {}  # (source, offset, strides over self.shape, dtype) -> input number
        self.scalars: dict[tuple, int] = {}  # (scalar's number, or a tuple with a size, dtype) -> scalar number
        self.places: dict[tuple, int] = {}  # strides over self.shape of an index -> its number
        self.values: dict[int, Val] = {}
        self.by_row: dict[int, bool] = {}  # whether a member has one element for each row
        self.late: set[int] = set()  # members that need what is reduced
        self.block: frozenset[int] = frozenset()
        self.totals: set[int] = set()  # members that hold sums over blocks of rows

    def row_shape(self) -> tuple[int, ...]:
        return tuple([n for d, n in enumerate(self.shape) if d not in self.reduced])

    def along_rows(self, values: Iterable[int]) -> tuple[int, ...]:
        """What there is one of for each dim of the rows, for each dim of ``shape``: 0 for those that are reduced."""
        return self._without(self.reduced, values)

    def _without(self, dims: frozenset[int], values: Iterable[int]) -> tuple[int, ...]:
        """``values`` of the dims of ``shape`` that are not among ``dims``, and 0 for those."""
        kept = iter(values)
        return tuple([0 if d in dims else next(kept) for d in range(len(self.shape))])

    def strides_of(self, node: int) -> tuple[int, ...]:
        """Strides over ``shape`` with which a member's value is stored."""
        if self.by_row[node]:
            return self.along_rows(contiguous_strides(self.row_shape()))
        if node in self.totals:
            shape = tuple([n for d, n in enumerate(self.shape) if d not in self.block])
            return self._without(self.block, contiguous_strides(shape))
        return contiguous_strides(self.shape)

    def is_row(self, strides: tuple[int, ...]) -> bool:
        """Whether what is read with ``strides`` is the same all along a row."""
        return self.reduces and not any([strides[d] for d in self.reduced])

    def is_long(self) -> bool:
        """Whether it has so many instructions, or such long ones, that nothing more should join."""
        assert self.body is not None
        instrs = self.body.instrs
        return len(instrs) > MAX_INSTRUCTIONS or sum([COSTS.get(i.op, 1) for i in instrs]) > MAX_COST

    def split(self, shape: tuple[int, ...]) -> None:
        """Takes on a shape that splits dims of the one it has."""
        old, self.shape = self.shape, shape
        if shape != old:
            self.reduced = split_dims(old, self.reduced, shape)
            self.block = split_dims(old, self.block, shape)
            self.inputs = {(k[0], k[1], split_strides(old, k[2], shape), k[3]): n for k, n in self.inputs.items()}
            self.places = {split_strides(old, strides, shape): n for strides, n in self.places.items()}

    def state(self) -> tuple:
        """What :meth:`restore` needs to undo what a node brought that could not stay."""
        assert self.body is not None
        size, shape = len(self.body.instrs), (self.shape, self.reduces, self.reduced, self.block)
        return size, shape, dict(self.inputs), dict(self.scalars), dict(self.places)

    def restore(self, state: tuple) -> None:
        size, (self.shape, self.reduces, self.reduced, self.block), self.inputs, self.scalars, self.places = state
        assert self.body is not None
        self.body.truncate(size)


class _Misfit(Exception):
    """A node cannot join this group."""


class _TooCoarse(Exception):
    """A node reads its place along a dim that had been joined with others."""


class _IterationSpace:
    """The shape that a node is computed in, and the strides in it of each input.

    It has no dims of extent 1, and neighbouring dims are joined where all inputs are walked as one, unless ``fine``.
    """

    __slots__ = ("form", "reduced", "shape", "size", "strides")

    def __init__(self, node, fine: bool = False) -> None:
        self.form = node.form
        strides = [broadcast_strides(r.shape, r.strides, self.form) if isinstance(r, Ref) else None for r in node.inputs]
        read = [s for s in strides if s is not None]
        reduced = [d in node.reduced for d in range(len(self.form))]
        self.shape, self.reduced = joined(self.form, reduced, None if fine else read)
        self.size = prod(self.shape)
        self.strides = [s if s is None else restride(self.form, s, self.shape) for s in strides]


class Grouper:
    """Groups the nodes of one trace, given as templates (see :mod:`flambeau.engine.templates`), in the given order.

    ``groups`` are then in an order in which they can run.
    """

    def __init__(self, nodes: list, order: Iterable[int]) -> None:
        self.nodes = nodes
        self.groups: list[Group] = []
        self.group_of: dict[int, int] = {}
        self.readers: dict[int, list[int]] = {}  # the groups that read a value from memory
        self.before: list[int] = []  # the groups that must run before each, as bits
        for i in order:
            if not nodes[i].is_view:
                self._place(i, nodes[i])
        self.groups = [self.groups[k] for k in self._order()]

    def _order(self) -> list[int]:
        """The groups in the order in which they were begun, but each after those that it needs."""
        done, order = 0, []
        for k, before in enumerate(self.before):
            if done >> k & 1:
                continue
            first = before & ~done
            if first:  # what must run before a group has fewer groups before it
                earlier = [j for j in range(len(self.groups)) if first >> j & 1]
                order += sorted(earlier, key=lambda j: self.before[j].bit_count())
            order.append(k)
            done |= first | 1 << k
        return order

    def _place(self, i: int, node) -> None:
        if node.native and node.reduced and getattr(node.op, "folds", None):
            self._fold(node)
        if node.native and node.reduced is not None and self._join(i, node):
            return
        group = Group((), native=False)
        self.groups.append(group)
        self.before.append(0)
        self._settle(i, node, len(self.groups) - 1)

    def _fold(self, node) -> None:
        """Lets a reduction begin in a group over rows that has what is reduced.

        That is one over more dims than those of the rows, of what the group makes; and the sum of all rows, of what it makes
        or reads: that of a block of rows is added up while they are there.
        """
        space, needed = _IterationSpace(node), self._needed(node)
        for number in self._candidates(node):
            group = self.groups[number]
            if group.body is None or not group.reduced or group.size != space.size:
                continue
            shape = refined(group.shape, space.shape)
            if shape is None:
                continue
            rows, dims = split_dims(group.shape, group.reduced, shape), split_dims(space.shape, space.reduced, shape)
            if rows < dims:
                begun = number in needed and self._begin(node, number, space, shape, rows, totals=False)
            elif node.op.folds is Body.sum and not rows & dims:
                shape, block = self._block(node, group, space, shape)
                begun = bool(block) and self._begin(node, number, space, shape, block, totals=True)
            else:
                begun = False
            if begun:
                return

    def _begin(self, node, number: int, space: _IterationSpace, shape: tuple[int, ...], some: frozenset[int], totals: bool) -> bool:
        """Reduces ``some`` of the dims of ``shape`` that a node reduces in a group, and the others later."""
        strides = [s if s is None else restride(space.shape, s, shape) for s in space.strides]
        first = node.begin_fold(shape, strides, some, totals)
        self.nodes.append(first)
        try:
            begun = self._try(len(self.nodes) - 1, first, number, _IterationSpace(first))
        except (Refused, _TooCoarse):
            begun = False
        if not begun:
            self.nodes.pop()
            return False
        dims = split_dims(space.shape, space.reduced, shape)
        kept = [d for d in range(len(shape)) if d not in some]
        node.end_fold(len(self.nodes) - 1, first.shape, frozenset([k for k, d in enumerate(kept) if d in dims]))
        return True

    def _block(self, node, group: Group, space: _IterationSpace, shape: tuple[int, ...]) -> tuple[tuple[int, ...], frozenset[int]]:
        """The dims over which a group that is split to ``shape`` can make totals for a node, and the shape that has them.

        Blocks are of equal size, and their rows follow each other. There are none where the rows are not the last dims, and
        where vectors run across them.
        """
        none: frozenset[int] = frozenset()
        rows, dims = split_dims(group.shape, group.reduced, shape), split_dims(space.shape, space.reduced, shape)
        last = len(shape) - len(rows) - 1  # of the dims that are not the rows'
        if last not in dims or min(rows) < last or hint_of(prod(shape[last + 1 :])) > WIDE:
            return shape, none
        if config.deterministic or any([n.__class__ is Symbol for n in shape]):  # no size of blocks divides all
            return shape, none
        if any(strides[-1] not in (0, 1) for _, _, strides, _ in group.inputs):
            return shape, none
        if group.block:
            block = split_dims(group.shape, group.block, shape)
            return shape, block if block <= dims else none
        most, least = BLOCK
        most = min(most, max(least, prod(shape[: last + 1]) // BLOCKS))
        fine = refined(shape, _IterationSpace(node, fine=True).shape) or shape  # that blocks do not straddle what others may walk
        for extent in (fine[len(fine) - len(split_dims(shape, rows, fine)) - 1], shape[last]):
            for size in range(most, least - 1, -1):
                if extent % size == 0 and size < prod(shape[: last + 1]):
                    blocks = tuple([n for n in (shape[last] // size,) if n > 1])
                    return (*shape[:last], *blocks, size, *shape[last + 1 :]), frozenset([last + len(blocks)])
        return shape, none

    def _needed(self, node) -> set[int]:
        """The groups that make what a node needs."""
        return {self.group_of[x.source] for x in node.inputs if isinstance(x, Ref) and x.source in self.group_of}

    def _settle(self, i: int, node, number: int) -> None:
        """Makes a node a member of a group."""
        self.groups[number].members.append(i)
        self.group_of[i] = number
        for x in node.inputs:
            if isinstance(x, Ref) and self.group_of.get(x.source) != number:
                readers = self.readers.setdefault(x.source, [])
                if number not in readers:
                    readers.append(number)
        new = 0
        for k in self._needed(node) - {number}:
            new |= self.before[k] | 1 << k
        if new & ~self.before[number]:
            for k, before in enumerate(self.before):
                if k == number or before >> number & 1:
                    self.before[k] |= new

    def _waiting(self, needed: set[int]) -> int:
        """The groups that must run before some of ``needed``, as bits: a node that needs these cannot join them."""
        waiting = 0
        for k in needed:
            waiting |= self.before[k]
        return waiting

    def _candidates(self, node, size: int = SMALL + 1) -> Iterator[int]:
        """The groups that a node of ``size`` elements might join, the best ones first."""
        needed = self._needed(node)
        waiting = self._waiting(needed)
        known = waiting  # the groups that would run before it anyway
        for k in needed:
            known |= 1 << k
        seen = set()
        related = [k for x in node.inputs if isinstance(x, Ref) for k in self.readers.get(x.source, ())]
        for k in (*sorted(needed), *related):
            if k not in seen and not waiting >> k & 1:
                seen.add(k)
                yield k
        if hint_of(size) <= SMALL:
            for k in range(max(0, len(self.groups) - 1 - NEARBY), len(self.groups) - 1):
                if k not in seen and not waiting >> k & 1 and not known & ~self.before[k]:
                    yield k

    def _join(self, i: int, node, fine: bool = False) -> bool:
        try:
            space = _IterationSpace(node, fine)
        except ValueError:  # inputs that do not broadcast to what is reduced
            return False
        coarse = False
        self.groups.append(Group(space.shape, native=True))
        self.before.append(0)
        try:
            for number in (*self._candidates(node, space.size), len(self.groups) - 1):
                if self._try(i, node, number, space):
                    return True
        except Refused:
            node.native = False
        except _TooCoarse:
            coarse = True
        finally:
            if not self.groups[-1].members:
                self.groups.pop()
                self.before.pop()
        return coarse and self._join(i, node, fine=True)

    def _try(self, i: int, node, number: int, space: _IterationSpace) -> bool:
        group = self.groups[number]
        if group.body is None or group.is_long():
            return False
        by_row = not alike(space.size, group.size)
        # What has a value for each row of a group that reduces is computed beside the rows' sums.
        if by_row and (not group.reduces or node.reduced or not alike(space.size, prod(group.row_shape()))):
            return False
        shape = refined(group.row_shape() if by_row else group.shape, space.shape)
        if shape is None:
            return False
        state = group.state()
        try:
            self._enter(group, number, i, node, space, shape, by_row)
        except (_Misfit, Refused, _TooCoarse) as reason:
            group.restore(state)
            if not isinstance(reason, _Misfit):
                raise
            return False
        return True

    def _enter(self, group: Group, number: int, i: int, node, space: _IterationSpace, shape: tuple[int, ...], by_row: bool) -> None:
        """Computes a node in a group whose shape, or that of its rows, is split to ``shape``."""
        body = group.body
        assert body is not None
        if by_row:
            group.split(split_kept(group.shape, group.reduced, shape))
        else:
            group.split(shape)
            if node.reduced:
                reduced = split_dims(space.shape, space.reduced, shape)
                if node.totals:
                    group.block = reduced
                elif group.reduces and group.reduced != reduced:
                    raise _Misfit
                else:
                    group.reduces, group.reduced = True, reduced

        def place(dim: int) -> Val:
            strides = restride(space.form, tuple([int(d == dim % len(space.form)) for d in range(len(space.form))]), shape)
            if strides is None:
                raise _TooCoarse
            strides = group.along_rows(strides) if by_row else strides
            n = group.places.setdefault(strides, len(group.places))
            return body.emit("index", dtypes.int64, (), n, row=by_row or group.is_row(strides))

        sources = []
        for x, s in zip(node.inputs, space.strides, strict=True):
            if s is not None:
                s = split_strides(space.shape, s, shape)
                x = self._source(group, number, x, group.along_rows(s) if by_row else s, by_row)
            sources.append(x)
        if len(group.inputs) + len({s for s in sources if isinstance(s, tuple)} - group.inputs.keys()) > MAX_INPUTS:
            raise _Misfit
        if by_row and not any(isinstance(s, Val) for s in sources):
            raise _Misfit  # nothing in common with this group
        late = any(isinstance(x, Ref) and x.source in group.late for x in node.inputs)
        if late and not by_row and hint_of(group.size) > LONG and not group.row_shape():
            raise _Misfit
        args = [self._load(group, s, node, by_row) for s in sources]
        body.place = place
        body.given = lambda number, dtype: group.scalars.setdefault(((number,), dtype), len(group.scalars))
        body.reducing, body.totals = bool(node.reduced), node.totals
        body.result = dtypes.float32 if node.dtype in _HALF else node.dtype
        body.count = prod(node.form[d] for d in node.reduced)
        value = body.cast(node.op.lower(body, *args, **node.attrs), node.dtype)
        if by_row and not value.row:
            raise AssertionError(f"{node.op.name}: an operation on rows gave a value for each element")
        group.values[i] = value
        if node.totals:
            group.totals.add(i)
        group.by_row[i] = by_row or (not node.totals and prod(node.shape) != group.size)
        if late or node.reduced:
            group.late.add(i)
        self._settle(i, node, number)

    def _source(self, group: Group, number: int, ref: Ref, strides: tuple[int, ...], by_row: bool) -> Val | tuple:
        """A value of the group itself, or the key of an input from memory."""
        if self.group_of.get(ref.source) != number:
            return (ref.source, ref.offset, strides, ref.dtype)
        if ref.source in group.totals:  # known when all rows are
            raise _Misfit
        value = group.values[ref.source]
        same = ref.offset == 0 and ref.dtype is self.nodes[ref.source].dtype and strides == group.strides_of(ref.source)
        if not same or (by_row and not value.row):
            raise _Misfit
        return value

    def _load(self, group: Group, source, node, by_row: bool):
        body = group.body
        assert body is not None
        if isinstance(source, Val):
            value = source
        elif isinstance(source, tuple):
            n = group.inputs.setdefault(source, len(group.inputs))
            value = body.emit("input", source[3], (), n, row=by_row or group.is_row(source[2]))
        elif source is None or source.__class__ is Static:
            return source and source.value
        else:  # a number, by its place among the plan's numbers
            n = group.scalars.setdefault((source, node.compute), len(group.scalars))
            return body.emit("scalar", node.compute, (), n)
        return body.cast(value, dtypes.float32) if value.dtype in _HALF else value


def reduced_dims(dims, ndim: int) -> tuple[int, ...] | None:
    """``dims``, as a record's ``reduces`` gives them, as numbers of ``ndim`` dims; ``None`` where there is no such dim."""
    if dims == ():
        return ()
    if dims is None:
        dims = range(ndim)
    elif isinstance(dims, int):
        dims = (dims % ndim,) if ndim else ()
    return tuple(dims) or None


def is_native(op, inputs: list, attrs: dict, shape, dtype) -> bool:
    """Whether a node can run in a loop: its op has a lowering, and its dtypes and extents are ones that loops take."""
    if getattr(op, "lower", None) is None or dtype.__class__ is tuple or dtype not in NATIVE:
        return False
    if prod(shape) == 0:
        return False
    refs = [r for r in inputs if isinstance(r, Ref)]
    return all(r.dtype in NATIVE and 0 not in r.shape for r in refs)

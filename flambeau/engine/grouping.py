"""From a trace to groups of nodes that run as one loop each.

A group has an iteration shape and the dims that it reduces. A node joins the earliest group after all that it needs
in which it can be computed element by element (or row by row); else it begins a new one. Groups run in order, so a node
may use any value of an earlier group from memory, and values of its own group directly.
"""

from __future__ import annotations

from math import prod

from flambeau.core import dtypes
from flambeau.core.size import contiguous_strides
from flambeau.engine.lowering import Body, Refused, Val

MAX_INPUTS = 20
MAX_INSTRUCTIONS = 160
NEARBY = 12
"""How many of the newest groups a node may join, besides its producers': keeps grouping linear."""
_NATIVE = frozenset(d for d in dtypes.ALL if not d.is_complex and d.name not in ("uint16", "uint32", "uint64"))
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
    """Nodes that run together. ``body`` is ``None`` for a node that runs by its kernel in NumPy."""

    __slots__ = ("body", "by_row", "inputs", "members", "reduced", "scalars", "shape", "values")

    def __init__(self, shape: tuple[int, ...], native: bool) -> None:
        self.shape = shape
        self.reduced: frozenset[int] = frozenset()
        self.members: list[int] = []
        self.body = Body() if native else None
        self.inputs: dict[tuple, int] = {}  # (source, offset, strides over self.shape, dtype) -> input number
        self.scalars: dict[tuple, int] = {}  # (scalar's number, dtype) -> scalar number
        self.values: dict[int, Val] = {}
        self.by_row: dict[int, bool] = {}  # whether a member has one element for each row

    def row_shape(self) -> tuple[int, ...]:
        return tuple(n for d, n in enumerate(self.shape) if d not in self.reduced)

    def row_strides(self) -> tuple[int, ...]:
        """Strides over ``shape`` of a value that there is one of for each row."""
        kept = iter(contiguous_strides(self.row_shape()))
        return tuple(0 if d in self.reduced else next(kept) for d in range(len(self.shape)))

    def strides_of(self, node: int) -> tuple[int, ...]:
        """Strides over ``shape`` with which a member's value is stored."""
        return self.row_strides() if self.by_row[node] else contiguous_strides(self.shape)


class Grouper:
    """Groups the nodes of one trace, given as templates (see :mod:`flambeau.engine.plan`)."""

    def __init__(self, nodes: list) -> None:
        self.nodes = nodes
        self.groups: list[Group] = []
        self.group_of: dict[int, int] = {}
        for i, node in enumerate(nodes):
            if node is not None and not node.is_view:
                self._place(i, node)

    def _place(self, i: int, node) -> None:
        if node.native:
            dims = _reduced_dims(node)
            shape = node.inputs[0].shape if dims else tuple(node.shape)
            if dims is not None and self._join(i, node, shape, frozenset(dims)):
                return
        group = Group((), native=False)
        group.members.append(i)
        self.group_of[i] = len(self.groups)
        self.groups.append(group)

    def _join(self, i: int, node, shape: tuple[int, ...], reduced: frozenset[int]) -> bool:
        first = 0
        for ref in node.inputs:
            if isinstance(ref, Ref) and ref.source in self.group_of:
                first = max(first, self.group_of[ref.source])
        last = len(self.groups)
        for number in dict.fromkeys([*range(first, min(first + 2, last)), *range(max(first, last - NEARBY), last)]):
            if not node.native:
                return False
            if self._try(i, node, number, shape, reduced):
                return True
        group = Group(shape, native=True)
        self.groups.append(group)
        if self._try(i, node, len(self.groups) - 1, shape, reduced):
            return True
        self.groups.pop()
        return False

    def _try(self, i: int, node, number: int, shape: tuple[int, ...], reduced: frozenset[int]) -> bool:
        group = self.groups[number]
        body = group.body
        if body is None or len(body.instrs) > MAX_INSTRUCTIONS:
            return False
        by_row = False
        if group.shape != shape or (reduced and group.reduced and group.reduced != reduced):
            # A value for each row of a group that reduces: computed beside the rows' sums.
            by_row = bool(group.reduced) and not reduced and _squeezed(group.row_shape()) == _squeezed(shape)
            if not by_row:
                return False
        before = group.reduced
        if reduced and not group.reduced:
            group.reduced = reduced
        sources = [self._source(group, number, ref, by_row) if isinstance(ref, Ref) else ref for ref in node.inputs]
        new = {s for s in sources if isinstance(s, tuple) and s not in group.inputs}
        if "no" in sources or len(group.inputs) + len(new) > MAX_INPUTS:
            group.reduced = before
            return False
        if by_row and not any(isinstance(s, Val) for s in sources):
            return False  # nothing in common with this group
        length, inputs, scalars = len(body.instrs), dict(group.inputs), dict(group.scalars)
        args = [self._load(group, s, node, by_row) for s in sources]
        body.reducing = bool(reduced)
        body.result = dtypes.float32 if node.dtype in _HALF else node.dtype
        body.count = prod(group.shape[d] for d in group.reduced)
        try:
            value = node.op.lower(body, *args, **node.attrs)
        except Refused:
            node.native = False
            group.reduced, group.inputs, group.scalars = before, inputs, scalars
            body.truncate(length)
            return False
        group.values[i] = body.cast(value, node.dtype)
        group.by_row[i] = prod(node.shape) != prod(group.shape)
        if by_row and not group.values[i].row:
            raise AssertionError(f"{node.op.name}: an operation on rows gave a value for each element")
        group.members.append(i)
        self.group_of[i] = number
        return True

    def _source(self, group: Group, number: int, ref: Ref, by_row: bool):
        """A value of the group itself, the key of an input from memory, or ``"no"``."""
        strides = self._strides_over(group, ref, by_row)
        if strides is None:
            return "no"
        if self.group_of.get(ref.source) == number:
            value = group.values[ref.source]
            if ref.offset == 0 and ref.dtype is self.nodes[ref.source].dtype and _same(
                strides, group.strides_of(ref.source), group.shape
            ):
                return value if value.row or not by_row else "no"
            return "no"
        return (ref.source, ref.offset, strides, ref.dtype)

    def _strides_over(self, group: Group, ref: Ref, by_row: bool) -> tuple[int, ...] | None:
        """The strides of ``ref`` over the group's iteration shape, 0 where it is broadcast."""
        if by_row:
            kept = iter(_match(ref, group.row_shape()) or ())
            if _match(ref, group.row_shape()) is None:
                return None
            return tuple(0 if d in group.reduced else next(kept) for d in range(len(group.shape)))
        return _match(ref, group.shape)

    def _load(self, group: Group, source, node, by_row: bool):
        body = group.body
        assert body is not None
        if isinstance(source, Val):
            value = source
        elif isinstance(source, tuple):
            n = group.inputs.setdefault(source, len(group.inputs))
            strides = source[2]
            row = bool(group.reduced) and all(
                s == 0 or n == 1 for d, (s, n) in enumerate(zip(strides, group.shape, strict=True)) if d in group.reduced
            )
            value = body.emit("input", source[3], (), n, row=by_row or row)
        elif source is None or source.__class__ is Static:
            return source and source.value
        else:  # a number, by its place among the plan's numbers
            n = group.scalars.setdefault((source, node.compute), len(group.scalars))
            return body.emit("scalar", node.compute, (), n)
        return body.cast(value, dtypes.float32) if value.dtype in _HALF else value


def _match(ref: Ref, shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Strides of ``ref`` broadcast to ``shape``; dims of size 1 may be dropped or added in front of others."""
    lead = len(shape) - len(ref.shape)
    if lead >= 0 and all(n in (1, m) for n, m in zip(ref.shape, shape[lead:], strict=True)):
        return (0,) * lead + tuple(
            0 if n == 1 and m != 1 else s for n, m, s in zip(ref.shape, shape[lead:], ref.strides, strict=True)
        )
    mine = [(n, s) for n, s in zip(ref.shape, ref.strides, strict=True) if n != 1]
    if [n for n, _ in mine] != [n for n in shape if n != 1]:
        return None
    left = iter(mine)
    return tuple(0 if n == 1 else next(left)[1] for n in shape)


def _same(a: tuple[int, ...], b: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return all(x == y or n == 1 for x, y, n in zip(a, b, shape, strict=True))


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(n for n in shape if n != 1)


def _reduced_dims(node) -> tuple[int, ...] | None:
    """The dims that a node reduces, ``()`` for elementwise ones; ``None`` where its kernel in NumPy must do it."""
    if node.op.reduces is None:
        return ()
    shape = node.inputs[0].shape
    dims = node.op.reduces(**node.attrs)
    if dims == ():
        return ()
    if dims is None:
        dims = range(len(shape))
    elif isinstance(dims, int):
        dims = (dims % len(shape),) if shape else ()
    return tuple(dims) or None


def is_native(op, inputs: list, attrs: dict, shape, dtype) -> bool:
    """Whether a node can run in a loop: its op has a lowering, and its dtypes and extents are ones that loops take."""
    if getattr(op, "lower", None) is None or dtype.__class__ is tuple or dtype not in _NATIVE:
        return False
    if prod(shape) == 0:
        return False
    refs = [r for r in inputs if isinstance(r, Ref)]
    return all(r.dtype in _NATIVE and 0 not in r.shape for r in refs)

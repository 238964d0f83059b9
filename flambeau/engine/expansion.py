"""Ops that are several loops' worth of work: each becomes parts, which the grouper fuses with everything else.

An op's ``expand`` rule is called when a plan is compiled, as ``expand(e, *inputs, **attrs)``, with an
:class:`Expansion` and the op's inputs, and returns the result, or a tuple of results:

    def _expand_standardized(e, x, shift, dim):
        mean = e.mean(x, (dim,))
        var = e.mean(e.map(lambda b, x, m: b.mul(b.sub(x, m), b.sub(x, m)), x, mean), (dim,))
        return e.map(lambda b, x, m, v, s: b.add(b.div(b.sub(x, m), b.sqrt(v)), s), x, mean, var, shift)

Inputs and values are :class:`~flambeau.engine.grouping.Ref`, with ``shape`` and ``dtype``; what is not there is
``None``; a number is a Python number where the op's numbers are ``static``, else a ``Number`` that is known at run time
and that ``map`` and ``reduce`` take as they take values. Parts in half precision compute in float32, and only the op's
results are rounded. A rule that does not cover its arguments calls ``e.refuse(why)``: the op then runs by its kernel.
Whatever no one reads of what a rule makes is dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod

from flambeau.core import dtypes
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.size import contiguous_strides
from flambeau.engine.graph import NO_ATTRS, PROJECT
from flambeau.engine.grouping import NATIVE, Ref, Static
from flambeau.engine.lowering import Body, Refused, Val
from flambeau.engine.shapes import common_shape, is_whole, restride
from flambeau.engine.templates import Part, Template


class Number:
    """A number that is given at run time, by its place among the plan's."""

    __slots__ = ("place",)

    def __init__(self, place: int) -> None:
        self.place = place


class Expansion:
    """Makes the parts of one node."""

    def __init__(self, node: Template, nodes: list) -> None:
        self.node = node
        self.nodes = nodes
        self.parts: list[int] = []
        self.finished: list[int] = []

    def refuse(self, why: str) -> None:
        raise Refused(why)

    def computing(self, x: Ref) -> Dtype:
        """The dtype that parts compute with ``x`` in."""
        return _computing(x.dtype)

    # --- values ------------------------------------------------------------------------------------------

    def map(self, lower: Callable, *inputs, shape: tuple[int, ...] = ()) -> Ref:
        """``lower(body, *values)`` at every point of ``inputs``, and of ``shape``, broadcast against each other."""
        return self._part(lower, inputs, None, True, shape)

    def reduce(self, lower: Callable, dims: tuple[int, ...], *inputs, keepdim: bool = True, shape: tuple[int, ...] = ()) -> Ref:
        """``lower(body, *values)``, which ends with reductions (``body.sum`` and its like) over ``dims`` of the shape that
        ``inputs`` have together."""
        return self._part(lower, inputs, tuple(dims), keepdim, shape)

    def check(self, lower: Callable, *inputs) -> None:
        """Lets the plan stop where ``lower`` is true anywhere; the op's own kernel then says what is wrong."""
        form = common_shape((), *[x.shape for x in inputs if isinstance(x, Ref)])
        if form == ():
            part = self.map(lambda b, *values: b.cast(lower(b, *values), dtypes.int64), *inputs)
        else:
            part = self.reduce(lambda b, *values: b.cast(b.any(lower(b, *values)), dtypes.int64), tuple(range(len(form))), *inputs)
        self.nodes[part.source].op.checked = True

    def fold(self, how: str, x: Ref, dims: tuple[int, ...], keepdim: bool = True) -> Ref:
        """``x`` reduced by one of the body's reductions, such as ``"sum"``; ``x`` itself where there are no ``dims``."""
        return self.fold_of(how, lambda b, x: x, dims, x, keepdim=keepdim) if dims else x

    def fold_of(self, how: str, lower: Callable, dims: tuple[int, ...], *inputs, keepdim: bool = True) -> Ref:
        """What ``lower`` makes of ``inputs``, reduced as by :meth:`fold`."""
        reduction = getattr(Body, how)
        result = self.reduce(lambda b, *values: reduction(b, lower(b, *values)), dims, *inputs, keepdim=keepdim)
        self.nodes[result.source].op.folds = reduction
        return result

    def sum(self, x: Ref, dims: tuple[int, ...], keepdim: bool = True) -> Ref:
        if not dims and x.dtype.kind == dtypes.FLOATING:
            return self.map(lambda b, x: b.add(x, 0), x)  # sums begin with 0: that of -0.0 is 0.0
        return self.fold("sum", x, dims, keepdim)

    def amax(self, x: Ref, dims: tuple[int, ...], keepdim: bool = True) -> Ref:
        return self.fold("amax", x, dims, keepdim)

    def mean(self, x: Ref, dims: tuple[int, ...], keepdim: bool = True) -> Ref:
        n = prod(x.shape[d] for d in dims)
        return self.map(lambda b, x: b.div(x, n), self.sum(x, dims, keepdim))

    def call(self, op, *inputs, **attrs) -> Ref:
        """Another op's lowering as a map; ``op`` is its public function."""
        lower = op.op.lower
        return self.map(lambda b, *values: lower(b, *values, **attrs), *inputs)

    def cast(self, x: Ref, dtype: Dtype) -> Ref:
        """``x`` converted; costs nothing where it has the dtype."""
        return x if x.dtype is dtype else self.map(lambda b, x: b.cast(x, dtype), x)

    def widened(self, *inputs, **attrs) -> Ref:
        """The op on half-precision inputs as float32, on short integers as int32, by the kernel that it has for these."""
        if self.node.dtype not in _WIDER:
            self.refuse("computed as it is")
        dtype = _WIDER[self.node.dtype]
        return self.node_of(
            self.node.op, self.node.shape, [self.cast(x, dtype) if isinstance(x, Ref) else x for x in inputs], attrs
        )

    def node_of(self, op, shape: tuple[int, ...], inputs: Sequence, attrs: dict) -> Ref:
        """What ``op``, a record, makes of inputs, the first of which has the dtype of the result."""
        dtype = next(x.dtype for x in inputs if isinstance(x, Ref))
        self.nodes.append(Template(op, attrs, shape, dtype, _operands(inputs)))
        self.parts.append(len(self.nodes) - 1)
        return Ref(self.parts[-1], shape, dtype)

    def view(self, x: Ref, shape) -> Ref:
        """``x`` in another shape; costs nothing where it lies in memory so that a view can show it."""
        strides = restride(x.shape, x.strides, tuple(shape))
        if strides is None:
            x = self.map(lambda b, x: x, x)
            strides = contiguous_strides(tuple(shape))
        return self.seen(x, shape, strides, x.offset)

    def seen(self, x: Ref, shape: tuple, strides: tuple, offset: int) -> Ref:
        """The memory that ``x`` is in, seen through a geometry of its own; ``offset`` counts elements from where that begins."""
        return Ref(x.source, shape, x.dtype, strides, offset, True)

    def _part(self, lower: Callable, inputs: tuple, dims: tuple[int, ...] | None, keepdim: bool, shape) -> Ref:
        refs = [x for x in inputs if isinstance(x, Ref)]
        form = common_shape(shape, *[r.shape for r in refs])
        operands = _operands(inputs)
        shape = form
        if dims is not None:
            shape = tuple(1 if d in dims else n for d, n in enumerate(form) if keepdim or d not in dims)
        dtype, compute = _tried(lower, inputs, dims, prod(form[d] for d in dims or ()))
        part = Template(Part(f"{self.node.op.name} part", lower, dims), NO_ATTRS, shape, dtype, operands)
        part.form, part.compute = form, compute
        self.parts.append(len(self.nodes))
        self.nodes.append(part)
        return Ref(self.parts[-1], shape, dtype)

    # --- results -----------------------------------------------------------------------------------------

    def finish(self, result: Ref, number: int, shape: tuple[int, ...], dtype: Dtype, kept: bool) -> None:
        """Makes ``result`` the node ``number``, which had been recorded with ``shape`` and ``dtype``."""
        result = self.cast(result, dtype)
        source = result.source
        whole = result.offset == 0 and is_whole(result.shape, result.strides)
        if source not in self.parts or source in self.finished or not whole or not _can_have(self.nodes[source], shape):
            result = self.map(lambda b, x: b.cast(x, dtype), result)
            source = result.source
        part = self.nodes[source]
        self.nodes[number], self.nodes[source] = part, None
        part.shape, part.kept = shape, kept
        self.finished.append(number)
        self.parts[self.parts.index(source)] = number
        for n in self.parts:
            for ref in self.nodes[n].inputs:
                if isinstance(ref, Ref) and ref.source == source:
                    ref.source = number


_WIDER = dict.fromkeys((dtypes.float16, dtypes.bfloat16), dtypes.float32)
_WIDER |= dict.fromkeys((dtypes.int8, dtypes.uint8, dtypes.int16), dtypes.int32)


def _can_have(part: Template, shape: tuple[int, ...]) -> bool:
    """Whether a part may be seen in another shape. What a kernel of its own makes depends on it, what loops make does not."""
    return prod(part.shape) == prod(shape) if part.op.__class__ is Part else tuple(part.shape) == tuple(shape)


def _operands(inputs: Sequence) -> list:
    """Inputs of a rule as those of a template."""
    return [x if x is None or isinstance(x, Ref) else x.place if isinstance(x, Number) else Static(x) for x in inputs]


def _computing(dtype: Dtype) -> Dtype:
    return dtypes.float32 if dtype in (dtypes.float16, dtypes.bfloat16) else dtype


def _tried(lower: Callable, inputs: tuple, dims: tuple[int, ...] | None, count: int) -> tuple[Dtype, Dtype]:
    """The dtype of a lowering's result and that of its numbers; refuses what it does."""
    body = Body()
    computes = [_computing(x.dtype) for x in inputs if isinstance(x, Ref)]
    body.reducing, body.totals, body.count, body.result = bool(dims), False, count, computes[0]
    values: list = []
    for place, x in enumerate(inputs):
        if isinstance(x, Ref):
            values.append(body.emit("input", computes.pop(0), (), place, row=False))
        elif isinstance(x, Number):
            values.append(body.emit("scalar", body.result, (), x.place))
        else:
            values.append(x)
    body.place = lambda dim: body.emit("index", dtypes.int64, (), 0, row=False)
    body.given = lambda number, dtype: 0
    result = lower(body, *values)
    assert isinstance(result, Val)
    return result.dtype, body.result


# --- the pass ------------------------------------------------------------------------------------------------


def expand(nodes: list, order: list[int]) -> list[int]:
    """Replaces the nodes whose op has an ``expand`` rule by their parts; returns the order in which nodes are computed.

    Results keep the numbers that nodes had; other parts are added to the list. What has been replaced is ``None``.
    """
    projections: dict[int, dict[int, int]] = {}
    for j, node in enumerate(nodes):
        if node is not None and node.op is PROJECT:
            projections.setdefault(node.inputs[0].source, {})[node.attrs["index"]] = j
    found: list[int] = []
    made: set[int] = set()
    for i in order:
        if nodes[i] is None or i in made:
            continue
        parts = _parts_of(nodes, i, projections.get(i, {}))
        found += parts or (i,)
        made.update(parts)
    return _alive(nodes, found)


def _parts_of(nodes: list, i: int, results: dict[int, int]) -> list[int]:
    """The numbers of the parts that a node has become; none where it stays."""
    node = nodes[i]
    rule = getattr(node.op, "expand", None)
    several = node.dtype.__class__ is tuple
    if rule is None or (several and node.kept):
        return []
    inputs = [Number(x) if x.__class__ is int else x.value if x.__class__ is Static else x for x in node.inputs]
    e, length = Expansion(node, nodes), len(nodes)
    try:
        if any(isinstance(x, Ref) and (x.dtype not in NATIVE or 0 in x.shape) for x in inputs):
            raise Refused("empty, or of a dtype that loops do not take")
        values = rule(e, *inputs, **node.attrs)
        if several:
            targets = [(k, j, node.shape[k], node.dtype[k], nodes[j].kept) for k, j in results.items()]
            if any(0 in shape or dtype not in NATIVE for _, _, shape, dtype, _ in targets):
                raise Refused("empty, or of a dtype that loops do not take")
            nodes[i] = None
        else:
            values, targets = (values,), [(0, i, node.shape, node.dtype, node.kept)]
        for k, number, shape, dtype, kept in targets:
            e.finish(values[k], number, shape, dtype, kept)
    except Refused:
        nodes[i] = node
        del nodes[length:]
        return []
    return e.parts


def _alive(nodes: list, order: list[int]) -> list[int]:
    """``order`` without the parts that no one reads."""
    read: set[int] = set()
    alive = []
    for i in reversed(order):
        node = nodes[i]
        if node.op.__class__ is Part and not (node.kept or node.op.checked or i in read):
            nodes[i] = None
            continue
        alive.append(i)
        read.update(r.source for r in node.inputs if isinstance(r, Ref))
    return alive[::-1]

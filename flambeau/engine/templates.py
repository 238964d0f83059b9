"""A trace without its values: the nodes as a plan sees them."""

from __future__ import annotations

from collections.abc import Callable

from flambeau.core import dtypes
from flambeau.core.dtypes import dtype as Dtype
from flambeau.engine.graph import NO_ATTRS, SIZES, VIEW, EngineOp, Node
from flambeau.engine.grouping import Ref, Static, is_native, reduced_dims
from flambeau.engine.symbols import Sizes, Symbols, has_symbols
from flambeau.engine.trace import Trace

COPY = EngineOp("copy", lambda x: x, lambda b, x: x)


class Part:
    """What a part of an expanded op computes: an op of the engine's own, with no meaning but its lowering.

    ``folds`` is the reduction that it ends with, such as ``Body.sum``, if it may be done in steps. One that is ``checked`` is
    no result: where it is not 0, the op refuses its values.
    """

    __slots__ = ("checked", "dims", "folds", "lower", "name")
    kernel = expand = None
    static = False

    def __init__(self, name: str, lower: Callable, dims: tuple[int, ...] | None) -> None:
        self.name = name
        self.lower = lower
        self.dims = dims
        self.checked = False
        self.folds: Callable | None = None

    @property
    def reduces(self) -> Callable | None:
        return None if self.dims is None else lambda: self.dims


class Template:
    """A node without its values: what a plan needs to know of it.

    ``form``      the shape that it is computed in, element by element; ``shape`` is what the value has in memory
    ``reduced``   the dims of ``form`` that it reduces, ``()`` for none, ``None`` where no loop can compute it
    ``compute``   the dtype of the numbers that it reads
    ``totals``    whether what it reduces are blocks of rows, in a loop over rows
    """

    __slots__ = ("attrs", "compute", "dtype", "form", "getters", "inputs", "is_view", "kept", "native", "op", "reduced", "shape",
                 "totals")  # fmt: skip

    def __init__(self, op, attrs: dict, shape, dtype, inputs: list, kept: bool = False) -> None:
        self.op, self.attrs = op, attrs
        self.shape, self.dtype = shape, dtype
        self.kept = kept
        self.inputs = inputs
        self.is_view = op is VIEW
        self.totals = False
        self.getters: tuple | None = None
        self.finish()

    def finish(self) -> None:
        self.native = not self.is_view and is_native(self.op, self.inputs, self.attrs, self.shape, self.dtype)
        self.form = tuple(self.shape)
        self.reduced: tuple[int, ...] | None = ()
        if self.native and self.op.reduces is not None:
            shape = next(x.shape for x in self.inputs if isinstance(x, Ref))  # what comes before may be numbers
            self.reduced = reduced_dims(self.op.reduces(**self.attrs), len(shape))
            if self.reduced:
                self.form = shape
        self.compute = computing(self.dtype, self.inputs)

    def varies(self) -> bool:
        """Whether it has symbols that other sizes would replace."""
        refs = [x for x in self.inputs if x.__class__ is Ref]
        return has_symbols((self.shape, self.form, *self.attrs.values(), *[(x.shape, x.strides, x.offset) for x in refs]))

    def at(self, sizes: Sizes) -> Template:
        """This node with numbers in place of symbols."""
        if self.getters is None:
            self.getters = self._getters(sizes.table)
        shape, form, attrs, inputs = self.getters
        new = object.__new__(Template)
        new.op, new.dtype, new.kept, new.is_view, new.totals = self.op, self.dtype, self.kept, self.is_view, self.totals
        new.native, new.reduced, new.compute, new.getters = self.native, self.reduced, self.compute, None
        new.shape, new.form = shape(sizes), form(sizes)
        new.attrs = {**self.attrs, **{name: value(sizes) for name, value in attrs}} if attrs else self.attrs
        new.inputs = [
            x if numbers is None else Ref(x.source, numbers[0](sizes), x.dtype, numbers[1](sizes), numbers[2](sizes)[0], x.view)
            for x, numbers in zip(self.inputs, inputs)
        ]
        return new

    def _getters(self, table: Symbols) -> tuple:
        """What gives shape, form, settings that are sizes, and the shape, strides and offset of each input, for other sizes."""
        get = table.getter
        attrs = [(name, get(value)) for name, value in self.attrs.items() if name in SIZES]
        inputs = [
            (get(tuple(x.shape)), get(tuple(x.strides)), get((x.offset,))) if x.__class__ is Ref else None for x in self.inputs
        ]
        return get(self.shape), get(self.form), attrs, inputs

    def begin_fold(self, shape: tuple[int, ...], strides: list, dims: frozenset[int], totals: bool) -> Template:
        """A template that reduces ``dims`` of what this one reduces, seen in ``shape``; these are blocks where it ``totals``."""
        inputs = [
            Ref(x.source, shape, x.dtype, s, x.offset, True) if isinstance(x, Ref) else x
            for x, s in zip(self.inputs, strides, strict=True)
        ]
        rows = tuple([n for d, n in enumerate(shape) if d not in dims])
        first = Template(Part(self.op.name, self.op.lower, tuple(dims)), NO_ATTRS, rows, self.dtype, inputs)
        first.form, first.compute, first.totals = shape, self.compute, totals
        return first

    def end_fold(self, source: int, shape: tuple[int, ...], dims: frozenset[int]) -> None:
        """Reduces ``dims`` of what another has begun, of ``shape``."""
        if not dims:  # it has done all
            self.op = Part(self.op.name, lambda b, x: x, None)
            self.inputs = [Ref(source, tuple(self.shape), self.dtype)]
            self.form, self.reduced = tuple(self.shape), ()
            return
        self.op = Part(self.op.name, self.op.folds, tuple(dims))
        self.inputs = [Ref(source, shape, self.dtype)]
        self.form, self.reduced = shape, tuple(dims)

    def materialize(self) -> None:
        """Turns a view into a copy with memory of its own."""
        source = self.inputs[0].source
        self.inputs = [Ref(source, self.attrs["shape"], self.attrs["dtype"], self.attrs["strides"], self.attrs["offset"], True)]
        self.op, self.attrs, self.is_view = COPY, NO_ATTRS, False
        self.finish()


def computing(dtype: Dtype, inputs: list) -> Dtype:
    """The dtype that a result of ``dtype`` is computed in."""
    if dtype is dtypes.bool:  # a comparison computes in the dtype of what it compares
        dtype = next((r.dtype for r in inputs if isinstance(r, Ref)), dtype)
    return dtypes.float32 if dtype in (dtypes.float16, dtypes.bfloat16) else dtype


def templates(trace: Trace, size_of: Callable | None = None) -> list[Template]:
    """The trace without its values; views are replaced by how their readers see what they show.

    ``size_of`` gives shapes and their like with symbols in place of sizes.
    """
    size_of = size_of or (lambda x: x)
    slots = {x: ~i for i, x in enumerate(trace.leaves)}
    found: list = []
    count = 0
    for i, node in enumerate(trace.nodes):
        if i in trace.dead:
            count += sum(x is not None and x.__class__ is not Node for x in node.inputs)
            found.append(None)
            continue
        inputs: list = []
        for x in node.inputs:
            if x.__class__ is not Node:
                static = x is not None and node.op.static
                inputs.append(None if x is None else Static(x) if static else count)
                count += x is not None
                continue
            source = x.number if x.op is not None else slots[x]
            if x.op is VIEW and not found[source].is_view:
                inputs.append(Ref(source, size_of(x.shape), x.dtype))  # a view that became a copy
            elif x.op is VIEW:
                if node.op is VIEW:
                    found[source].materialize()
                    inputs.append(Ref(source, size_of(x.shape), x.dtype))
                else:
                    base, a = found[source].inputs[0].source, found[source].attrs
                    inputs.append(Ref(base, a["shape"], a["dtype"], a["strides"], a["offset"], True))
            else:
                inputs.append(Ref(source, size_of(x.shape) if x.dtype.__class__ is not tuple else (), x.dtype))
        attrs, shape = node.attrs, size_of(node.shape)
        if not SIZES.isdisjoint(attrs):
            attrs = {name: size_of(value) if name in SIZES else value for name, value in attrs.items()}
        template = Template(node.op, attrs, shape, node.dtype, inputs, node.kept)
        if template.is_view and template.kept:
            template.materialize()
        found.append(template)
    return found

"""One entry of the tape, run backwards: from the gradients of its results to those of its inputs.

What an op's rule records follows from the entry's pattern and the layouts of the gradients. So a rule that runs a second time
on such gradients is written down, and from then on its nodes are recorded again on other values, without a call of an op.
This is where a pass whose structure is new finds what it has in common with others.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

from flambeau import dispatch
from flambeau.autograd.entries import OpBackward
from flambeau.autograd.graph import Node
from flambeau.autograd.saving import Saved, sort_of
from flambeau.core.size import Size
from flambeau.engine import graph
from flambeau.engine.flight import lock
from flambeau.engine.graph import VIEW
from flambeau.engine.graph import Node as Value
from flambeau.engine.segment import Segment
from flambeau.ops.views import summed_to
from flambeau.tensor.reading import geometry_of
from flambeau.tensor.recipes import WINDOW, whole
from flambeau.tensor.record import look_again
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import NO_GRAD, Tensor, make_tensor

_new = object.__new__

AT_FIRST_SIGHT = False
"""Whether a rule, or a pass, is written down when it first runs: else when a later pass does the same, as most of what comes once
never comes again. That a rule runs several times in one pass does not say that there will be another at these sizes."""
MAX_KEYS = 8
"""Of one pattern: layouts of gradients and saved numbers; and of one key: shapes of inputs."""


def run(entry: OpBackward, gs: list[Tensor | None], begun: int | None) -> Sequence[Tensor | None]:
    """The gradients of an op's inputs, each with the shape and dtype of its input; off the tape, and without hooks.

    ``begun`` is a number that only this pass has; ``None``: the pass is written down as a whole.
    """
    if begun is None:
        return _written(entry, gs)
    pattern, saved, g = entry.pattern, entry.saved, gs[0]
    if saved.__class__ is not tuple:  # it has gone, or comes when it is asked for
        return fitted(entry, entry.apply(gs))
    if not pattern.single:
        key, given = _key(saved, gs)  # type: ignore[arg-type]
    elif g._storage.exposed:  # type: ignore[union-attr]
        key = given = None
    else:
        key = g._layout or dispatch.layout_of(g)  # type: ignore[union-attr,arg-type]
        given = [None if key.memory is WINDOW else g._storage.node]  # type: ignore[union-attr]
        for item in saved:  # type: ignore[union-attr]
            given.append(item[1] if item.__class__ is tuple else item.node)
    if given is None or None in given:
        return fitted(entry, entry.apply(gs))
    known = pattern.recorded
    found = known.get(key)
    if found.__class__ is tuple:
        for rule in found:
            results = rule.record(gs, given, entry.edges)
            if results is not None:
                return results
        return _learn(entry, gs, key, found) if 0 < len(found) < MAX_KEYS else fitted(entry, entry.apply(gs))
    if found is None:
        if len(known) >= MAX_KEYS:
            known.clear()
        known[key] = begun
    if AT_FIRST_SIGHT or found is not None and found != begun:
        return _learn(entry, gs, key)
    return _written(entry, gs)


def _key(saved: tuple, gs: list[Tensor | None]) -> tuple[tuple, list | None]:
    """What the nodes of a rule depend on besides the pattern, and the values that it reads; ``None`` where that is not clear."""
    key: list = []
    given: list = []
    for g in gs:
        if g is None:
            key.append(None)
            continue
        if g._storage.exposed:
            return (), None
        layout = g._layout or dispatch.layout_of(g)
        if layout.memory is WINDOW:
            return (), None
        key.append(layout)
        given.append(g._storage.node)
    for item in saved:
        kind = item.__class__
        if kind is tuple:
            given.append(item[1])
        elif kind is Saved:
            given.append(item.node)
        elif kind is list:
            sorts = tuple([sort_of(x) for x in item])
            key.append(sorts)
            given += [x.node for x, sort in zip(item, sorts) if sort is None or x.__class__ is Saved]
        elif kind is int or kind is float:
            key.append((kind, repr(item)))
        else:
            return (), None
    return tuple(key), given


class RecordedRule:
    """What an entry's rule has recorded, to be recorded again on other values.

    ``segment``  the nodes, on the gradients and the saved values one by one
    ``results``  for each input that gets a gradient: its number, shape and dtype, then the gradient's layout and storage. That is a
                 new one on a result of the segment, or the one of the given gradient ``-1 - number``. Without a layout it is one
                 of the tensors that there are: the result ``number``, or that gradient itself
    """

    __slots__ = ("results", "segment")

    def __init__(self, gs: list, given: list[Value], saved: set, nodes: list[Value], results: Sequence, edges: Sequence) -> None:
        """``given`` are the nodes of the gradients ``gs`` and those ``saved``. Raises ``KeyError`` where it is not clear what
        happened."""
        wanted: list[Value] = []
        self.results: list = []
        for i, t in enumerate(results):
            if t is None:
                continue
            storage, layout = t._storage, t._layout or dispatch.layout_of(t)
            if t._grad_fn is not None or t._requires_grad or t._bits or layout.memory is WINDOW:
                raise KeyError("a gradient that is more than its values")
            target, output = edges[i]
            number = next((j for j, other in enumerate(results[:i]) if other is t), None)
            if number is None:
                number = next((-1 - j for j, g in enumerate(gs) if g is t), None)
            if number is not None:
                layout = None
            else:
                number = next((-1 - j for j, g in enumerate(gs) if g is not None and g._storage is storage), None)
            if number is None:
                if storage.version or storage.exposed or storage.node in saved or storage.node in wanted:
                    raise KeyError("memory that is somebody's already")
                number = len(wanted)
                wanted.append(storage.node)
            self.results.append((i, *target.metas[output], layout, number))
        self.segment = Segment(nodes, given, wanted, frozenset(graph.shared.values()), look_again)

    def record(self, gs: list, given: list[Value], edges: Sequence) -> list[Tensor | None] | None:
        """The results on other values; ``None`` where the inputs are of other shapes or dtypes."""
        described = self.results
        for i, shape, dtype, _, _ in described:
            target, output = edges[i]
            meta = target.metas[output]
            if meta[0] is not shape and meta[0] != shape or meta[1] is not dtype:
                return None
        values = self.segment.record(given)
        results: list[Tensor | None] = [None] * len(edges)
        for i, shape, dtype, layout, number in described:
            if layout is None:
                results[i] = results[number] if number >= 0 else gs[-1 - number]
                continue
            t = results[i] = _new(Tensor)
            t._shape, t._dtype, t._layout = shape, dtype, layout
            if number >= 0:
                t._storage = storage = _new(Storage)
                storage.node = values[number]
            else:
                g = gs[-1 - number]
                t._storage, t._base, t._creation = g._storage, g if g._base is None else g._base, NO_GRAD
            if layout.memory is not None:
                t._strides, t._offset = layout.strides, layout.offset
        return results


def _learn(entry: OpBackward, gs: list, key, known: tuple = ()) -> Sequence[Tensor | None]:
    """Runs a rule, and remembers what it records if that is clear."""
    apart = _apart(entry, gs)
    trace = graph.trace
    start = len(trace)
    last = trace[-1] if start else None
    results = _written(apart, gs)
    with lock:  # no other thread runs the trace meanwhile
        if len(trace) >= start and (not start or trace[start - 1] is last):  # nor has this one done so
            _, given = _key(apart.saved, gs)  # type: ignore[arg-type]
            try:
                if given is None or len(set(given)) < len(given):
                    raise KeyError("which of two gradients is it?")
                saved = set(given[sum([g is not None for g in gs]) :])
                known = (*known, RecordedRule(gs, given, saved, trace[start:], results, entry.edges))
            except KeyError:
                pass
            entry.pattern.recorded[key] = known
    return results


def _written(entry: OpBackward, gs: list) -> Sequence[Tensor | None]:
    """Runs a rule of which all that it records is written down, now or when it comes again."""
    try:
        whole.written = True
        return fitted(entry, entry.apply(gs))
    finally:
        whole.written = False  # not what it was before: that may be another thread's


def _apart(entry: OpBackward, gs: list) -> OpBackward:
    """The entry with another node in place of each saved value that is given more than once, as both factors of a square are.

    So what is recorded tells which of them is read where.
    """
    given = {g._storage.node for g in gs if g is not None}
    saved: list = []
    for item in entry.saved or ():
        kind = item.__class__
        node = item[1] if kind is tuple else item.node if kind is Saved else None
        if node is not None and node in given:
            node = Value(VIEW, (node,), geometry_of(make_tensor(Storage(node), node.shape, node.dtype)), node.shape, node.dtype)
            if kind is tuple:
                item = item[0], node
            else:
                item = copy(item)
                item.node = node
        given.add(node)
        saved.append(item)
    entry = copy(entry)
    entry.saved = tuple(saved)
    return entry


def fitted(node: Node, results: Sequence) -> Sequence[Tensor | None]:
    """Gradients with the shapes and dtypes of what they are the gradients of."""
    edges = node.edges
    if len(results) != len(edges):
        raise RuntimeError(
            f"function {node.name()} returned an incorrect number of gradients (expected {len(edges)}, got {len(results)})"
        )
    fitted: list[Tensor | None] = []
    for i, g in enumerate(results):
        edge = edges[i]
        if g is None or edge is None:
            fitted.append(None)
            continue
        meta = edge[0].metas[edge[1]]
        fitted.append(g if g._shape == meta[0] and g._dtype is meta[1] else fit(g, meta, node, i))
    return fitted


def fit(g: Tensor, meta: tuple, node: Node, i: int) -> Tensor:
    """``g`` with the shape and dtype of what it is the gradient of: summed where that was broadcast."""
    shape, dtype = meta
    if g._shape != shape:
        if not _expandable(shape, g._shape):
            raise RuntimeError(
                f"Function {node.name()} returned an invalid gradient at index {i} - got {list(g._shape)} but expected "
                f"shape compatible with {list(shape)}"
            )
        g = summed_to(g, shape)
    if g._dtype is not dtype:
        if g._dtype.is_complex and not dtype.is_complex:
            g = g.real
        if g._dtype is not dtype:
            g = g.to(dtype)
    return g


def _expandable(shape: Size, to: Size) -> bool:
    if len(shape) > len(to):
        return False
    return all(a in (1, b) for a, b in zip(reversed(shape), reversed(to), strict=False))

"""Backward passes that repeat.

What a backward pass records follows from the entries that it goes through, how they are connected, and which saved
values are the same; not from the values themselves. So the first pass of a kind is watched, and later ones record the
same nodes on their own saved values, without running the entries. Passes in which code of the user's has a part (hooks,
custom functions, saved values that are stored in another way) run in full.
"""

from __future__ import annotations

from collections.abc import Sequence

from flambeau import dispatch
from flambeau.autograd.graph import AccumulateGrad, Node
from flambeau.autograd.saving import Saved
from flambeau.core import config
from flambeau.engine import graph
from flambeau.engine.graph import Node as Value
from flambeau.engine.run import after_record
from flambeau.engine.segment import Segment
from flambeau.tensor.tensor import Tensor

MAX_PASSES = 256

_passes: dict[tuple, tuple[Segment, list[int]] | int] = {}
"""By key: what a pass recorded and the numbers of the leaves that its results belong to; or how often that was not clear."""


class Survey:
    """The entries that a pass would go through, in a fixed order, and the values that it would read."""

    __slots__ = ("entries", "given", "key")

    def __init__(self, key: tuple, entries: list[Node], given: list[Value]) -> None:
        self.key, self.entries, self.given = key, entries, given


def survey(roots: Sequence[tuple[Node, int]], grads: Sequence[Tensor]) -> Survey | None:
    """What identifies a pass; ``None`` where it cannot be repeated."""
    if config.eager or dispatch.autocast.cast is not None:
        return None
    entries: list[Node] = []
    places: dict[Node, int] = {}
    given: list[Value] = []
    numbers: dict[Value, int] = {}
    key: list = []
    add = key.append
    for (entry, number), g in zip(roots, grads, strict=True):
        node = g._storage.node
        if g._storage.exposed:
            return None
        place = places.get(entry)
        if place is None:
            place = places[entry] = len(entries)
            entries.append(entry)
        if node not in numbers:
            numbers[node] = len(given)
            given.append(node)
        key += (place, number, numbers[node], g._layout or dispatch.layout_of(g))
    for entry in entries:  # which grow
        if entry.__class__ is AccumulateGrad:
            variable = entry.variable
            if variable._hooks or "_post_accumulate_grad_hooks" in variable.__dict__ or entry.hooked:
                return None
            key += (variable._shape, variable._dtype)
            continue
        saved = entry.__dict__.get("saved")
        if entry.hooked or (saved.__class__ is not tuple and saved.__class__ is not list):
            return None
        add(entry.pattern)  # type: ignore[attr-defined]
        for item in saved:
            kind = item.__class__
            if kind is tuple:
                node = item[1]
            elif kind is Saved:
                node = item.node
            elif kind is int or kind is float:
                key += (kind, repr(item))
                continue
            else:
                return None
            if node is None:
                return None
            number = numbers.get(node)
            if number is None:
                number = numbers[node] = len(given)
                given.append(node)
            add(number)
        for edge in entry.edges:
            if edge is None:
                add(None)
            else:
                target, number = edge
                place = places.get(target)
                if place is None:
                    place = places[target] = len(entries)
                    entries.append(target)
                key += (place, number)
    return Survey(tuple(key), entries, given)


def repeat(found: Survey, retain_graph: bool) -> bool:
    """Records the pass again, if one of its kind has been watched."""
    known = _passes.get(found.key)
    if known is None or known.__class__ is int:
        return False
    segment, leaves = known  # type: ignore[misc]
    entries = found.entries
    for place, node in zip(leaves, segment.record(found.given)):
        entries[place].accumulate(node)  # type: ignore[attr-defined]
    if not retain_graph:
        for entry in entries:
            if entry.__class__ is not AccumulateGrad:
                entry.release()
    if len(graph.trace) >= config.max_pending_nodes:
        after_record()
    return True


def is_worth_watching(found: Survey) -> bool:
    """Whether a pass of this kind has not been watched in vain too often."""
    return _passes.get(found.key, 0) in (0, 1)


def remember(found: Survey, start: int, first: Value | None, gradients: Sequence[tuple[AccumulateGrad, Value]]) -> None:
    """Keeps what a pass has recorded since the trace had ``start`` nodes, of which ``first`` was the last."""
    trace = graph.trace
    intact = len(trace) >= start and (start == 0 or trace[start - 1] is first)
    if len(_passes) >= MAX_PASSES:
        _passes.clear()
    places = {entry: i for i, entry in enumerate(found.entries)}
    try:
        if not intact:
            raise KeyError
        segment = Segment(trace[start:], found.given, [node for _, node in gradients], frozenset(graph.shared.values()))
    except KeyError:
        _passes[found.key] = _passes.get(found.key, 0) + 1  # type: ignore[operator]
        return
    _passes[found.key] = segment, [places[entry] for entry, _ in gradients]

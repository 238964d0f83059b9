"""Backward passes that repeat.

What a backward pass records follows from the entries that it goes through, how they are connected, and which saved
values are the same; not from the values themselves. So the second pass of a kind is watched, and later ones record the
same nodes on their own saved values, without running the entries. A custom function's ``backward`` is the user's code, so
it is called each time: it divides a pass into stages. Under ``create_graph`` the entries that a pass has made are made
again as well. Passes with hooks, or saved values that are stored in another way, run in full. Passes from a loss to the
leaves get a function of their own if they repeat often: see :mod:`flambeau.autograd.following`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from flambeau import dispatch
from flambeau.autograd import rules
from flambeau.autograd.accumulation import Accumulation, accumulation_of
from flambeau.autograd.anomaly import anomaly
from flambeau.autograd.entries import OpBackward
from flambeau.autograd.following import MAX_ENTRIES, contents_of, follower
from flambeau.autograd.function import BackwardNode
from flambeau.autograd.graph import AccumulateGrad, Node, accumulate, edge_of, full_of, next_sequence
from flambeau.autograd.growth import Growth
from flambeau.autograd.saving import Saved, saving_hooks, sort_of
from flambeau.core import config, dtypes
from flambeau.dispatch import grad_mode
from flambeau.engine import graph
from flambeau.engine.flight import lock
from flambeau.engine.graph import Node as Value
from flambeau.engine.run import after_record
from flambeau.engine.segment import Segment
from flambeau.tensor.reading import read
from flambeau.tensor.record import look_again
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import Tensor, make_tensor

MAX_PASSES = 1024
MAX_SEEN = 4096


class Call(NamedTuple):
    """A call of a custom function's ``backward`` in a pass.

    ``entry`` is its place among the surveyed entries, ``metas`` shapes and dtypes of the gradients that it gets (``None``:
    there is none), ``results`` the layout of each of its results and the place of its node among the values that were known
    before (-1: it is new).
    """

    entry: int
    metas: tuple
    results: tuple


@dataclass(slots=True)
class Pass:
    """What a pass has recorded: a segment before each call, and one behind the last.

    A segment's results are the gradients that the call gets, or in the end those of ``leaves``, given by their places, and
    those that ``growth`` needs; and then what later segments read. ``ran`` has the places of the entries that have run.
    ``times`` is how often the pass has been repeated without a function of its own.
    """

    segments: list[Segment]
    calls: list[Call]
    leaves: list[tuple[int, Accumulation]]
    ran: list[int]
    growth: Growth
    times: int = 0


_passes: dict[tuple, Pass | int] = {}
"""By key; a number says how often it was not clear what a pass had recorded."""

_seen: set[int] = set()
"""The hashes of the keys of passes that came once: only what comes again is written down."""

OFTEN = 16
"""Repetitions after which a pass gets a function: compiling that costs about as much as some dozens of them."""
MAX_FOLLOWERS = 64
"""Of passes that begin alike."""
MAX_TRIED = 8
"""Of functions for passes of other lengths than the one that is to be followed."""

_followers: dict[tuple, list[tuple[int, Callable]]] = {}
"""By where passes that repeat often begin (see :func:`_begin_of`), their lengths and functions, the last one that was run first."""
MAX_BEGINS = 1024
DEPTH = 4


def forget() -> None:
    """Forgets all passes."""
    _passes.clear()
    _seen.clear()
    _followers.clear()


def follow(t: Tensor, retain_graph: bool) -> bool | dict[Node, Sequence]:
    """Does ``t.backward()``, and says so, if a function that has been made for passes of this kind can.

    Where it must run in full after all, what custom functions have returned already, by their entries.
    """
    entry = t.grad_fn
    begins = _begin_of(entry) if isinstance(entry, OpBackward) else ()
    candidates = _followers.get(begins)
    if candidates is None or config.eager or anomaly.enabled or dispatch.autocast.cast is not None or dispatch.watch is not None:
        return False
    length = _length(entry)
    previous = grad_mode.enabled
    try:
        grad_mode.off()
        for candidate in candidates if len(candidates) == 1 else _likely(candidates, length):
            done = candidate[1](t, entry, retain_graph)
            if done is not False:
                break
        else:
            return False
    finally:
        grad_mode.enabled = previous
    if candidate is not candidates[0] or candidate[0] != length:
        others = [other for other in candidates if other is not candidate]
        _followers[begins] = [(length, candidate[1]), *others]
    begin()
    if len(graph.trace) >= config.max_pending_nodes:
        after_record()
    return done


def begin() -> None:
    """Notes that what is put on the tape from now on belongs to the next pass."""
    global _begun
    _begun = next_sequence()


_begun = 0


def _length(entry: Node) -> int:
    """How many entries have been made since the last pass: that of this one is most likely one of as many entries."""
    return entry.sequence - _begun


def _begin_of(entry: Node) -> tuple:
    """The patterns of the first entries of a pass, one behind the other: steps of other sizes often have the same first one, a
    scalar's."""
    found: list = [entry.pattern]
    while len(found) < DEPTH and entry.edges:
        edge = entry.edges[0]
        if edge is None:
            break
        entry = edge[0]
        found.append(entry.pattern if isinstance(entry, OpBackward) else entry.__class__)
    return tuple(found)


def _likely(candidates: list[tuple[int, Callable]], length: int) -> list[tuple[int, Callable]]:
    """Those for passes of this length, and some others."""
    return [c for c in candidates if c[0] == length] + [c for c in candidates[:MAX_TRIED] if c[0] != length]


class Survey:
    """The entries that a pass would go through, in a fixed order, and the values that it would read.

    ``number`` is the output of the first entry where a plain pass begins: one from a single tensor to all leaves.
    """

    __slots__ = ("entries", "given", "key", "number")

    def __init__(self, key: tuple, entries: list[Node], given: list[Value], number: int | None) -> None:
        self.key, self.entries, self.given, self.number = key, entries, given, number


def survey(roots: Sequence[tuple[Node, int]], grads: Sequence[Tensor], inputs: Sequence[tuple[Node, int]] | None) -> Survey | None:
    """What identifies a pass; ``None`` where it cannot be repeated."""
    creates_graph = grad_mode.enabled
    if config.eager or dispatch.autocast.cast is not None or creates_graph and saving_hooks:
        return None
    entries: list[Node] = []
    places: dict[Node, int] = {}
    given: list[Value] = []
    numbers: dict[Value, int] = {}
    key: list = [creates_graph]
    add = key.append
    for (entry, number), g in zip(roots, grads, strict=True):
        node = g._storage.node
        if g._storage.exposed:
            return None
        place = places.setdefault(entry, len(entries))
        if place == len(entries):
            entries.append(entry)
        if node not in numbers:
            numbers[node] = len(given)
            given.append(node)
        key += (place, number, numbers[node], g._layout or dispatch.layout_of(g))
        edge = edge_of(g) if creates_graph else None
        if edge is not None:  # the pass may lead on to what the given gradient was made of
            place = places.setdefault(edge[0], len(entries))
            if place == len(entries):
                entries.append(edge[0])
            key += (place, edge[1])
    for entry in entries:  # which grow
        if entry.__class__ is AccumulateGrad:
            variable = entry.variable
            if variable._hooks or variable._post_accumulate_grad_hooks or entry.hooked:
                return None
            add(variable._shape)
            add(variable._dtype)
            continue
        if entry.hooked:
            return None
        if isinstance(entry, OpBackward):
            saved: Sequence | None = entry.saved
            if saved.__class__ is not tuple:  # it has gone, or comes when it is asked for
                return None
            add(entry.pattern)
            if entry.pattern.lists:
                saved = _flat(saved, key)  # type: ignore[arg-type]
        elif isinstance(entry, BackwardNode) and not creates_graph:
            saved = ()
            add(entry.__class__)
            add(entry.metas)
        else:
            return None
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
                continue
            target, number = edge
            place = places.get(target)
            if place is None:
                place = places[target] = len(entries)
                entries.append(target)
            add((place, number) if number else place)
    if inputs is not None:
        add(tuple([(places.get(entry), number) for entry, number in inputs]))
    plain = len(roots) == 1 and inputs is None and not creates_graph
    return Survey(tuple(key), entries, given, roots[0][1] if plain else None)


def _flat(saved: Sequence, key: list) -> list:
    """Saved values with those in lists one by one; the key gets what no pattern says about these."""
    found: list = []
    for item in saved:
        if item.__class__ is not list:
            found.append(item)
            continue
        sorts = tuple([sort_of(x) for x in item])
        key.append(sorts)
        found += [x for x, sort in zip(item, sorts) if sort is None or x.__class__ is Saved]
    return found


def repeat(found: Survey, retain_graph: bool) -> list[Tensor | None] | dict[Node, Sequence] | None:
    """Records the pass again and returns its results, if one of its kind has been watched.

    Where a custom function returns something else than it did then, the pass must run in full, with what the custom
    functions have returned already, by their entries.
    """
    known = _passes.pop(found.key, None)
    if known is not None:
        _passes[found.key] = known  # those that have not been met for the longest time come first
    if not isinstance(known, Pass):
        return None
    entries, given = found.entries, found.given
    segments, calls, growth = known.segments, known.calls, known.growth
    if found.number is not None:
        known.times += 1
        if known.times >= OFTEN:
            _learn(found, known)
    if calls:
        given = list(given)
        returned: dict[Node, Sequence] = {}
        for segment, call in zip(segments, calls):
            values = iter(segment.record(given))
            gs = [None if meta is None else make_tensor(Storage(next(values)), *meta) for meta in call.metas]
            given += values
            entry = entries[call.entry]
            results = returned[entry] = entry.apply(gs)
            contents = contents_of(results, call.results, given)
            if contents is None:
                return returned
            given += contents
    leaves = known.leaves
    values = segments[-1].record(given)
    accumulate([(entries[place], node) for (place, _), node in zip(leaves, values)])  # type: ignore[misc]
    results = growth.again(entries, values[len(leaves) :])
    if not retain_graph:
        for place in known.ran:
            entries[place].release()
    if len(graph.trace) >= config.max_pending_nodes:
        del values
        after_record()
    return results


def _learn(found: Survey, known: Pass) -> None:
    """Makes a function for passes of this kind, where they begin at a loss: its gradient is one."""
    known.times = 0
    entries, given, number = found.entries, found.given, found.number
    first = entries[0]
    if not isinstance(first, OpBackward) or number is None or len(entries) > MAX_ENTRIES:
        return
    shape, dtype = first.metas[number]
    one = full_of(1, (shape, dtype))
    is_given = given[0] is not one._storage.node or found.key[4] is not dispatch.layout_of(one)
    if shape.numel() == 1 and dtype.kind == dtypes.FLOATING and not is_given:
        function = follower(entries, number, given, known)
        begins = _begin_of(first)
        others = _followers.get(begins, ())
        if len(_followers) >= MAX_BEGINS:
            _followers.clear()
        _followers[begins] = [(_length(first), function), *others][:MAX_FOLLOWERS]


def _contents(results: Sequence) -> list[Value | None]:
    return [None if r is None else r._storage.node for r in results]


def _outcome(results: Sequence, contents: list[Value | None], given: list[Value]) -> tuple | None:
    """What later stages rely on in the results of a custom function; ``None`` where they cannot."""
    if any(r is not None and r._storage.exposed for r in results):
        return None
    places = {node: i for i, node in reversed([*enumerate(given)])}
    return tuple([
        None if r is None else (r._layout or dispatch.layout_of(r), places.get(node, -1))
        for r, node in zip(results, contents, strict=True)
    ])  # fmt: skip


def is_worth_watching(found: Survey) -> bool:
    """Whether a pass of this kind comes again, and has not been watched in vain too often."""
    key = hash(found.key)
    if key in _seen or rules.AT_FIRST_SIGHT:
        return _passes.get(found.key, 0) in (0, 1)
    if len(_seen) >= MAX_SEEN:
        _seen.clear()
    _seen.add(key)
    return False


class Watcher:
    """Sees a pass run: what is recorded between the calls of custom functions, and which gradients reach leaves."""

    def __init__(self, found: Survey) -> None:
        self.found = found
        self.since = next_sequence()
        self.start = len(graph.trace)
        self.last = graph.trace[-1] if self.start else None
        self.calls: list[tuple] = []  # entry, gradients' nodes and metas, where it began and ended, results and their nodes
        self.gradients: list[tuple[AccumulateGrad, Value]] = []
        self.ran: list[Node] = []

    def call(self, entry: Node, gs: list) -> Sequence:
        """Runs a custom function."""
        values = [None if g is None else read(g) for g in gs]
        metas = tuple([None if g is None else (g._shape, g._dtype) for g in gs])
        begin = len(graph.trace)
        results = entry.apply(gs)
        self.calls.append((entry, values, metas, begin, len(graph.trace), results, _contents(results)))
        return results

    def remember(self, results: Sequence[Tensor | None]) -> None:
        """Keeps what the pass has recorded and returned, if that is clear."""
        found = self.found
        if len(_passes) >= MAX_PASSES:
            _passes.pop(next(iter(_passes)), None)  # which another thread may have put at the end meanwhile
        try:
            with lock:  # no other thread runs the trace meanwhile
                _passes[found.key] = self._pass(results)
        except KeyError:
            times = _passes.get(found.key, 0)
            if isinstance(times, int):  # no other thread has watched one meanwhile
                _passes[found.key] = times + 1

    def _pass(self, returned: Sequence[Tensor | None]) -> Pass:
        trace, start = graph.trace, self.start
        if len(trace) < start or start and trace[start - 1] is not self.last or any(c[4] > len(trace) for c in self.calls):
            raise KeyError("the trace has run")
        places = {entry: i for i, entry in enumerate(self.found.entries)}
        stages = []
        for _, values, _, begin, end, *_ in self.calls:
            stages.append((trace[start:begin], [v for v in values if v is not None]))
            start = end
        given = list(self.found.given)
        before = set(given)
        if any(t is not None and t._storage.node in before for t in returned):
            raise KeyError("a tensor that was there before")
        values = [value for _, value in self.gradients]
        growth = Growth(self.found.entries, returned, self.since, values)
        stages.append((trace[start:], values))
        shared = frozenset(graph.shared.values())
        segments, calls = [], []
        for i, (nodes, wanted) in enumerate(stages):
            later = {x for n, _ in stages[i + 1 :] for node in n for x in node.inputs if x.__class__ is Value}
            later.update(x for _, w in stages[i + 1 :] for x in w)
            read_later = [node for node in nodes if node in later]
            segments.append(Segment(nodes, given, [*wanted, *read_later], shared, look_again))
            given += read_later
            if i < len(self.calls):
                entry, _, metas, _, _, results, contents = self.calls[i]
                outcome = _outcome(results, contents, given)
                if outcome is None:
                    raise KeyError("memory that somebody else may write to")
                calls.append(Call(places[entry], metas, outcome))
                given += [node for node in contents if node is not None]
        leaves = [(places[e], accumulation_of(value.shape, value.dtype)) for e, value in self.gradients]
        return Pass(segments, calls, leaves, [places[e] for e in self.ran], growth)

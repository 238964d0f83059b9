"""The functions that follow backward passes: straight-line code for passes that repeat often.

Where a pass is like one that has been watched, finding that out costs more than recording it again. So here nothing is
looked up and no loop is run: which entries lead where, which of them and which saved values are the same, what is recorded
is all known. As with recipes (:mod:`flambeau.tensor.following`), the text of such a function depends on the form only, so
passes of the same form share it; patterns, settings and the rest are its closure.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ref

from flambeau import dispatch
from flambeau.autograd.accumulation import Stores, accumulation_of
from flambeau.autograd.entries import OpBackward
from flambeau.autograd.graph import AccumulateGrad, Node, accumulate
from flambeau.autograd.saving import Saved, sort_of
from flambeau.core.generated import function_of
from flambeau.engine import graph
from flambeau.engine.graph import Node as Value
from flambeau.tensor.tensor import Tensor

if TYPE_CHECKING:
    from flambeau.autograd.repetition import Call, Pass

MAX_ENTRIES = 1000
"""Of a pass that is followed: compiling its function takes some milliseconds for a hundred entries."""

_FILE = os.path.join(os.path.dirname(__file__), "<backward>")
"""Where the functions are from: who looks for the user's line passes over what is flambeau's own."""


def follower(entries: Sequence[Node], number: int, given: Sequence[Value], known: Pass) -> Callable:
    """``follow(t, e0, retain_graph)``: does again what a backward pass from ``t``, whose entry is ``e0``, has recorded.

    It returns whether it did, which is if the tape is like that of the pass given here: ``entries`` are all that can be
    reached, in the order of a survey, and ``number`` is the first one's output that it began at, with a gradient of one,
    the first of the values ``given``. Where a custom function returns something else than it did then, it returns what the
    custom functions have returned, by their entries.
    """
    walk = _Walk(entries, given)
    first = entries[0].metas[number]
    walk.known.update(shape=first[0], dtype=first[1], v0=given[0])
    lines = [f"if t._output_nr != {number} or t._dtype is not dtype or t._shape != shape: return False"]
    for i, entry in enumerate(entries):
        if isinstance(entry, AccumulateGrad):
            lines += walk.leaf(i, entry)
        else:
            lines += walk.op(i, entry) if isinstance(entry, OpBackward) else walk.custom(i, entry)
    lines += walk.distinct()
    names = [f"v{i}" for i in range(len(given))]
    for k in range(len(known.calls)):
        recorded, results = known.segments[k].text(f"n{k}", names, walk.known)
        lines += recorded + _call(k, known.calls, names, results, walk.known)
    recorded, results = known.segments[-1].text("n", names, walk.known)
    lines += recorded
    if known.calls:  # the user's code may have done something to the leaves
        lines += [f"accumulate(({''.join(f'(e{i}, {value}), ' for (i, _), value in zip(known.leaves, results))}))"]
    elif known.leaves:
        lines += _added(known.leaves, results, walk.known)
    released = [f"e{i}.saved = " for i in known.ran if isinstance(e := entries[i], OpBackward) and e.pattern.holds]
    if released:
        lines += [f"if not retain_graph: {''.join(released)}None"]
    lines += [f"if not retain_graph: e{call.entry}.release()" for call in known.calls]
    return function_of("t, e0, retain_graph", lines, "True", walk.known, lambda: dict(_SCOPE), _FILE)


def _added(leaves: Sequence[tuple], values: Sequence[str], known: dict[str, Any]) -> list[str]:
    """Adds gradients to leaves. What is stored is made before, so that a signal handler finds all of it stored, or nothing.

    As :class:`Stores` does, where there is something to be looked at; else in lines that stand for its calls.
    """
    first = " and ".join([f"a{i}._grad is None and a{i}._strides is None" for i, _ in leaves])
    lines = [f"if {first}:"]
    for (i, accumulation), value in zip(leaves, values):
        known[f"gradient{i}"], known[f"prepare{i}"] = accumulation.tensor, accumulation.prepare
        lines += [f"    g{i} = gradient{i}({value})"]
    lines += [f"    a{i}._grad = g{i}" for i, _ in leaves]
    if all([accumulation.sum is not None for _, accumulation in leaves]):
        lines += [
            f"elif {' and '.join([f'(g{i} := a{i}._grad) is not None and g{i}._layout is layout{i}' for i, _ in leaves])} and ("
        ]
        storages = ", ".join([f"(s{i} := g{i}._storage)" for i, _ in leaves])
        lines += [f"    len({{{storages}}}) == {len(leaves)}", f") and not ({' or '.join([f's{i}.exposed' for i, _ in leaves])}):"]
        for (i, accumulation), value in zip(leaves, values):
            known[f"layout{i}"], known[f"sum{i}"] = accumulation.layout, accumulation.sum
            lines += [
                f"    n{i} = new(Node)",
                f"    n{i}.op, n{i}.attrs, n{i}.shape, n{i}.dtype, n{i}.kind = sum{i}",
                f"    n{i}.inputs = s{i}.node, {value}",
            ]
        lines += [f"    extend(({''.join([f'n{i}, ' for i, _ in leaves])}))"]
        ready = "s{0}.buffer is None or s{0}.windows or graph.fallible"  # if not, there is nothing to prepare
        lines += [f"    w{i} = s{i}.prepare() if {ready.format(i)} else (ref(s{i}),)" for i, _ in leaves]
        for i, _ in leaves:
            lines += [f"    s{i}.node = n{i}", f"    s{i}.version += 1"]
        lines += [f"    graph.written += {' + '.join([f'w{i}' for i, _ in leaves])}"]
    lines += ["else:", "    stores = Stores()"]
    lines += [f"    prepare{i}(a{i}, {value}, stores)" for (i, _), value in zip(leaves, values)]
    return [*lines, "    stores.store()"]


def _call(k: int, calls: Sequence[Call], names: list[str], values: list[str], known: dict[str, Any]) -> list[str]:
    """Calls a custom function on ``values``, of which those that are left over are only for later stages.

    ``names`` gets these and the nodes of what the function returns.
    """
    call, gs, left = calls[k], [], iter(values)
    for j, meta in enumerate(call.metas):
        if meta is not None:
            known[f"gradient{k}_{j}"] = accumulation_of(*meta).tensor
        gs.append("None" if meta is None else f"gradient{k}_{j}({next(left)})")
    names += left
    known[f"like{k}"] = call.results
    returned = ", ".join([f"e{c.entry}: results{i}" for i, c in enumerate(calls[: k + 1])])
    contents = [f"u{k}_{j}" for j, described in enumerate(call.results) if described is not None]
    lines = [
        f"results{k} = e{call.entry}.apply([{', '.join(gs)}])",
        f"contents = contents_of(results{k}, like{k}, ({', '.join(names)},))",
        f"if contents is None: return {{{returned}}}",
        f"[{', '.join(contents)}] = contents",
    ]
    names += contents
    return lines


class _Walk:
    """Writes down how a survey goes through the tape: entry ``i`` is called ``e{i}``, a leaf ``a{i}``, value ``i`` ``v{i}``.

    Entries of one pattern have as many edges and saved values, and these of the same sorts.
    """

    def __init__(self, entries: Sequence[Node], given: Sequence[Value]) -> None:
        self.places = {entry: i for i, entry in enumerate(entries)}
        self.numbers = {node: i for i, node in enumerate(given)}
        self.reached, self.read = {0}, {0}  # entries and values that have their names
        self.known: dict[str, Any] = {}
        self.refused: list[str] = []  # conditions under which it is another tape, not yet looked at
        self.alike: dict[Any, list[int]] = {}  # entries that may be one and the same in another pass

    def leaf(self, i: int, entry: AccumulateGrad) -> list[str]:
        variable = entry.variable
        self.alike.setdefault((variable._shape, variable._dtype), []).append(i)
        self.known[f"shape{i}"], self.known[f"dtype{i}"] = variable._shape, variable._dtype
        return self._refuse(f"(a{i} := variable_of(e{i}, shape{i}, dtype{i})) is None")

    def op(self, i: int, entry: OpBackward) -> list[str]:
        e, pattern = f"e{i}", entry.pattern
        self.alike.setdefault(pattern, []).append(i)
        self.known[f"p{i}"] = pattern
        names = "".join(f"s{i}_{j}, " for j in range(len(pattern.kept)))
        if names:  # what is saved may have gone, or come when it is asked for
            lines = self._refuse(f"{e}.pattern is not p{i}", f"{e}.hooked", f"(saved := {e}.saved).__class__ is not tuple")
            lines += [f"{names}= saved"]
        else:
            lines = self._refuse(f"{e}.pattern is not p{i}", f"{e}.hooked")
        for j, item in enumerate(entry.saved or ()):
            lines += self._saved(f"s{i}_{j}", item)
        targets = self._targets(entry)
        return [*lines, f"{', '.join([t or '_' for t in targets])}, = {e}.edges"]

    def custom(self, i: int, entry: Node) -> list[str]:
        e, sort = f"e{i}", (entry.__class__, entry.metas)
        self.alike.setdefault(sort, []).append(i)
        self.known[f"class{i}"], self.known[f"metas{i}"] = sort
        lines = self._refuse(
            f"{e}.__class__ is not class{i}", f"{e}.hooked", f"{e}.metas != metas{i}", f"len({e}.edges) != {len(entry.edges)}"
        )
        lines += [f"[{', '.join([f'x{j}' for j in range(len(entry.edges))])}] = {e}.edges"]
        lines += self._refuse(*[f"x{j} is {'not ' * (edge is None)}None" for j, edge in enumerate(entry.edges)])
        return lines + [f"{t} = x{j}" for j, t in enumerate(self._targets(entry)) if t is not None]

    def _saved(self, s: str, item) -> list[str]:
        kind = item.__class__
        if kind is list:
            self.known[f"sorts_{s}"] = tuple([sort_of(x) for x in item])
            nodes = [x.node for x in item if x.__class__ is Saved]
            names = [f"{s}_{j}" for j in range(len(nodes))]
            lines = self._refuse(f"({s} := listed({s}, sorts_{s})) is None") + [f"[{', '.join(names)}] = {s}"]
            return lines + [line for name, node in zip(names, nodes) for line in self._value(name, node)]
        if kind is int or kind is float:
            self.known[f"is_{s}"] = item
            return self._refuse(f"{s} is not is_{s} and differs({s}, is_{s})")
        node = item[1] if kind is tuple else item.node
        return self._value(f"{s}[1] if {s}.__class__ is tuple else {s}.node", node)

    def _value(self, text: str, node: Value) -> list[str]:
        """Gives the value that ``text`` stands for its name, or sees that it is the one which has that name."""
        number = self.numbers[node]
        if number in self.read:
            return self._refuse(f"({text}) is not v{number}")
        self.read.add(number)
        return self._refuse(f"(v{number} := {text}) is None")

    def _targets(self, entry: Node) -> list[str | None]:
        """What an entry's edges are taken apart into; what must hold of that is to be looked at afterwards."""
        targets: list[str | None] = []
        for j, edge in enumerate(entry.edges):
            if edge is None:
                targets.append(None)
                continue
            place, name = self.places[edge[0]], f"f{j}"
            if place in self.reached:
                self.refused.append(f"{name} is not e{place}")
            else:
                self.reached.add(place)
                name = f"e{place}"
            targets.append(f"({name}, o{j})")
            self.refused.append(f"o{j} != {edge[1]}" if edge[1] else f"o{j}")
        return targets

    def distinct(self) -> list[str]:
        """What was not the same entry must not be now."""
        found = [i for alike in self.alike.values() if len(alike) > 1 for i in alike]
        return self._refuse(f"len({{{', '.join(f'e{i}' for i in found)}}}) != {len(found)}") if found else self._refuse()

    def _refuse(self, *conditions: str) -> list[str]:
        """The line that refuses another tape, under these conditions and those that have been noted so far."""
        refused, self.refused = [*self.refused, *conditions], []
        return [f"if {' or '.join(refused)}: return False"] if refused else []


def _variable_of(entry: Node, shape, dtype) -> Tensor | None:
    """The leaf that ``entry`` adds to, if it is of this sort and nothing but adding is to be done."""
    if entry.__class__ is not AccumulateGrad or entry.hooked:
        return None
    t = entry.variable  # type: ignore[attr-defined]
    if t._hooks or t._post_accumulate_grad_hooks or not t._requires_grad or t._dtype is not dtype:
        return None
    return t if t._shape is shape or t._shape == shape else None


def _listed(saved: list, sorts: tuple) -> list[Value] | None:
    """The nodes of a saved list, if its elements are of these sorts."""
    if tuple([sort_of(x) for x in saved]) != sorts:
        return None
    return [x.node for x in saved if x.__class__ is Saved]


def contents_of(results: Sequence[Tensor | None], expected: tuple, given: Sequence[Value]) -> list[Value] | None:
    """The nodes of what a custom function has returned, if all is of the layouts, and the same values, as is expected."""
    found = []
    for r, described in zip(results, expected, strict=True):
        if r is None or described is None:
            if r is not described:
                return None
            continue
        layout, place = described
        node = r._storage.node
        if (r._layout or dispatch.layout_of(r)) is not layout or r._storage.exposed or place >= 0 and given[place] is not node:
            return None
        found.append(node)
    return found


def _differs(x, y) -> bool:
    """Whether saved numbers are not the same: of 1, 1.0 and True, and of 0.0 and -0.0, each is another."""
    return x.__class__ is not y.__class__ or repr(x) != repr(y)


_SCOPE: dict[str, Any] = {
    "new": object.__new__, "Node": Value, "extend": graph.trace.extend, "graph": graph, "ref": ref, "AccumulateGrad": AccumulateGrad, "differs": _differs,
    "accumulate": accumulate, "Stores": Stores, "contents_of": contents_of, "listed": _listed, "variable_of": _variable_of,
}  # fmt: skip
"""What the functions know by name."""

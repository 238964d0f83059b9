"""A trace's signature: what two steps of a program must have in common to run by the same plan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, gt, itemgetter
from sys import getrefcount

from flambeau.engine.graph import SIZES, Node

MAX_KINDS = 65536


class Kind:
    """What nodes of the same op, settings, shape and dtype have in common; equal ones are one object.

    Its ``parts`` are the same without sizes, and the sizes: the extents of its shape and, of a view, its strides and offset.
    """

    __slots__ = ("_key", "_names", "_parts")

    def __init__(self, key: tuple, names: tuple[str, ...]) -> None:
        self._key = key
        self._names = names  # of the settings
        self._parts: tuple | None = None

    def parts(self) -> tuple[object, tuple[int, ...]]:
        """The form, and the sizes."""
        if self._parts is None:
            op, shape, dtype, numbers, *settings = self._key
            sizes: list[int] = []
            form = [op, _sizes_apart(shape, sizes), dtype, numbers]
            settings = [
                _sizes_apart(_plain(x), sizes) if name in SIZES else x for name, x in zip(self._names, settings, strict=True)
            ]
            key = (*form, *settings)
            if len(_forms) >= MAX_KINDS:
                _forms.clear()
            self._parts = _forms.setdefault(key, key), tuple(sizes)
        return self._parts


_forms: dict[tuple, tuple] = {}


def _sizes_apart(x, sizes: list[int]):
    """``x`` with ``int`` in place of each size, which is appended to ``sizes``."""
    if x.__class__ is int:
        sizes.append(x)
        return int
    if isinstance(x, tuple) and _ints.issuperset(map(type, x)):
        sizes += x
        return (int,) * len(x)
    return tuple([_sizes_apart(part, sizes) for part in x]) if isinstance(x, tuple) else x


def _plain(x):
    """The setting that :func:`exact` made ``x`` of."""
    if x.__class__ is tuple and len(x) == 2 and (x[0] is None or x[0] is tuple):
        return x[1]
    return tuple([_plain(part) for part in x]) if x.__class__ is tuple else x


kinds: dict[tuple, Kind] = {}
"""By everything that matters of a node but who its inputs are: the object that stands for it in signatures."""


def kind_of(node: Node) -> object:
    """What ``node`` has in common with all nodes of the same op, settings, shape, dtype and sorts of numbers.

    Python takes 1, 1.0 and True, and 0.0 and -0.0, for equal; here they differ.
    """
    op = node.op
    numbers = tuple(
        [x is None if x is None or x.__class__ is Node else (x.__class__, repr(x)) if op.static else x.__class__
         for x in node.inputs]
    )  # fmt: skip
    key = (op, node.shape, node.dtype, numbers, *[exact(value) for value in node.attrs.values()])
    if len(kinds) >= MAX_KINDS:
        kinds.clear()  # a plan that is found by old ones is made again
    found = kinds.get(key)
    if found is None:
        found = kinds.setdefault(key, Kind(key, tuple(node.attrs)))
    node.kind = found
    return found


def exact(value):
    """A setting as a key in which what Python takes for equal, but is not the same, differs."""
    kind = value.__class__
    if kind is float:
        return float, repr(value)
    if kind is tuple:
        return (tuple, value) if _ints.issuperset(map(type, value)) else tuple([exact(v) for v in value])
    return bool if kind is bool else None, value


_ints = frozenset([int])


class Structure:
    """Who reads whom in traces of one signature: how often each node and each leaf is an input.

    ``leaves_of`` finds in few steps whether another trace has this structure too: all inputs of its nodes, one after
    the other, are compared with what stands in these places.
    """

    __slots__ = (
        "_firsts", "_layouts", "_new_targets", "_numbers", "_reads", "_sources", "_target_leaves", "_target_nodes",
        "key", "leaf_uses", "references", "signature", "target_places", "unseen", "uses",
    )  # fmt: skip

    def __init__(self, signature: tuple, nodes: list[Node], leaves: list[Node], targets: list[tuple]) -> None:
        self.signature = signature
        self.uses = [0] * len(nodes)
        self.leaf_uses = [0] * len(leaves)
        firsts: list[int] = []
        reads: list[int] = []
        sources: list[int] = []  # among the nodes, and the leaves behind them
        numbers: list[int] = []
        for place, x in enumerate(_inputs(nodes)):
            if x.__class__ is not Node:
                if x is not None:
                    numbers.append(place)
            elif x.op is not None:
                self.uses[x.number] += 1
                reads.append(place)
                sources.append(x.number)
            else:
                slot = ~x.number
                self.leaf_uses[slot] += 1
                if slot == len(firsts):
                    firsts.append(place)
                else:
                    reads.append(place)
                    sources.append(len(nodes) + slot)
        self.unseen = [n + _ALONE for n in self.uses]  # references to each node if nobody else can see it
        self.references: list[int] = []  # to each node of the last such trace, ...
        self.key: tuple | None = None  # ... and its key
        self.target_places = [(number, slot) for _, number, slot in targets]
        slots = [slot for _, _, slot in targets]
        self._new_targets = picker([slots.index(slot) for slot in range(len(firsts), len(leaves))])
        self._target_nodes = picker([number for _, number, _ in targets])
        self._target_leaves = picker(slots)
        self._layouts = [_layouts.setdefault(x, x) for x in map(_layout, leaves)]
        self._firsts, self._reads, self._sources, self._numbers = map(picker, (firsts, reads, sources, numbers))

    def matches(self, nodes: list[Node], storages: dict) -> tuple | None:
        """The leaves and the numbers of a trace of nodes of the same kinds; ``None`` where they, or storages, are not as here."""
        if len(storages) != len(self.target_places):
            return None
        inputs = _inputs(nodes)
        leaves, old = self._firsts(inputs), ()
        if storages:
            old = tuple(map(_content, storages))
            leaves += self._new_targets(old)
        if list(map(_layout, leaves)) != self._layouts or len(set(leaves)) != len(leaves):
            return None
        if self._reads(inputs) != self._sources((*nodes, *leaves)):
            return None
        if old and (tuple(storages.values()) != self._target_nodes(nodes) or old != self._target_leaves(leaves)):
            return None
        return leaves, self._numbers(inputs)


_kind, _content, _layout = attrgetter("kind"), attrgetter("leaf"), attrgetter("op", "shape", "dtype")
_layouts: dict[tuple, tuple] = {}
"""Of leaves: equal ones are one object."""


def _inputs(nodes: list[Node]) -> list:
    return [x for node in nodes for x in node.inputs]


def picker(places: Sequence[int]) -> Callable[[Sequence], tuple]:
    """What takes the items in these places out of a sequence."""
    if len(places) == 1:
        place = places[0]
        return lambda items: (items[place],)
    return itemgetter(*places) if places else lambda items: ()


def _has_slot(x: Node, leaves: list[Node]) -> bool:
    """Whether a leaf is among ``leaves``, in the place that its number says; the number may be from another trace."""
    slot = ~x.number
    return 0 <= slot < len(leaves) and leaves[slot] is x


def _references(nodes: list) -> list[int]:
    return list(map(getrefcount, nodes))


_ALONE = _references([object()])[0]

structures: dict[tuple, Structure] = {}
_latest: dict[tuple, Structure] = {}
"""By the kinds of the nodes: the structure of the last such trace, which the next is likely to have."""


def forget(used: set[Structure]) -> None:
    """Keeps only these structures, and the kinds of their nodes."""
    for signature in [signature for signature, structure in structures.items() if structure not in used]:
        del structures[signature]
    _latest.clear()
    _layouts.clear()
    kept = {kind for kinds, *_ in structures for kind in kinds}
    for key in [key for key, kind in kinds.items() if kind not in kept]:
        del kinds[key]


class Trace:
    """A trace, its leaves and numbers, its targets, and its signature: the structure, and which nodes are kept.

    As :func:`flambeau.engine.interpreter.mark_needed` does, this finds out from reference counts which results can still
    be seen; for a structure that is known, by comparing them with what they are where nobody looks.
    """

    __slots__ = ("cost", "dead", "key", "leaves", "nodes", "numbers", "structure", "targets")

    def __init__(self, nodes: list[Node], storages: dict, history: list) -> None:
        self.nodes = nodes
        self.cost = 0.0  # seconds that the interpreter takes for it, where that has been asked
        like = tuple(map(_kind, nodes))
        structure = _latest.get(like)
        if structure is None:  # some may have no kind yet
            like = tuple([node.kind or kind_of(node) for node in nodes])
            structure = _latest.get(like)
        found = structure.matches(nodes, storages) if structure is not None and not history else None
        if found is None or structure is None:
            structure = self._look(like, storages)
            _latest[like] = structure
        else:
            self.leaves, self.numbers = found
            self.targets = []
            if storages:
                self.targets = [(storage, *place) for storage, place in zip(storages, structure.target_places)]
        self.structure = structure
        del found
        references = _references(nodes)
        for _, node in history:  # it does not count: these are no results that somebody can see
            if node.op is not None:
                references[node.number] -= 1
        if structure.key is None or references != structure.references:
            key = structure, tuple(map(gt, references, structure.unseen))
            structure.references, structure.key = references, key
        self.key = structure.key

    def _look(self, kinds: tuple, storages: dict) -> Structure:
        """Finds leaves, numbers, targets and structure of any trace, whose nodes are of these kinds."""
        leaves: list[Node] = []
        numbers: list = []
        reads: list = []  # which node or leaf each input is, and then what the targets take
        add = reads.append
        targets: list[tuple] = []  # (storage, number of the node that it takes, slot of its old content)
        for i, node in enumerate(self.nodes):
            node.number = i
            for x in node.inputs:
                if x.__class__ is Node:
                    if x.op is None and not _has_slot(x, leaves):
                        x.number = ~len(leaves)
                        leaves.append(x)
                    add(x.number)
                elif x is not None:
                    numbers.append(x)
        for storage, node in storages.items():
            if node.op is None:
                continue
            old = storage.leaf
            if not _has_slot(old, leaves):
                old.number = ~len(leaves)
                leaves.append(old)
            targets.append((storage, node.number, ~old.number))
            reads += ("target", node.number, old.number)
        signature = kinds, tuple(reads), tuple([(x.shape, x.dtype) for x in leaves])
        structure = structures.get(signature)
        if structure is None:
            structure = structures[signature] = Structure(signature, self.nodes, leaves, targets)
        self.leaves, self.numbers, self.targets = leaves, numbers, targets
        return structure

    def form(self) -> tuple[tuple, list[int]]:
        """The signature without sizes, and the sizes, in the same order for all traces of that form."""
        kinds, reads, leaves = self.structure.signature
        forms: list = []
        sizes: list[int] = []
        for kind in kinds:
            form, more = kind.parts()
            forms.append(form)
            sizes += more
        return (self.key[1], tuple(forms), reads, *[(_sizes_apart(shape, sizes), dtype) for shape, dtype in leaves]), sizes

    def mark(self) -> None:
        """Marks the nodes that are kept, and finds those that nobody needs."""
        self.dead: set[int] = set()
        _, kept = self.key
        for i, node in enumerate(self.nodes):
            node.number = i
        uses = list(self.structure.uses)
        for i in range(len(uses) - 1, -1, -1):
            node = self.nodes[i]
            node.kept = kept[i]
            if not (kept[i] or uses[i] or node.op.checked):
                self.dead.add(i)
                for x in node.inputs:
                    if x.__class__ is Node and x.op is not None:
                        uses[x.number] -= 1

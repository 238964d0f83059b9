"""What a picture is drawn of: operations and leaves with their values and gradients, in boxes of modules and calls."""

from __future__ import annotations

from typing import Any, NamedTuple

from flambeau.autograd.entries import OpBackward
from flambeau.autograd.graph import AccumulateGrad, Node
from flambeau.pictures.formulas import of_real_numbers, rule_of
from flambeau.tensor import Tensor

Site = tuple[str, int]
"""A line of the user's: file and number."""


class Box:
    """What folds: the call of a module, or of an op that is made of others. ``parent`` is the box around it, -1 for none."""

    def __init__(self, id: int, parent: int, kind: str, name: str, title: str, formula: str = "", site: Site | None = None) -> None:
        self.id, self.parent, self.kind, self.name, self.title = id, parent, kind, name, title
        self.formula, self.site = formula, site


class Link(NamedTuple):
    """How the gradient goes on from an item: to which one, for which input, by which rule."""

    to: int
    name: str
    rule: str


class Item:
    """One operation, or a leaf (``op`` is ``""``): a tensor that comes from outside.

    ``inputs``  pairs of the argument's name and the item that it comes from, or a text for what is no tensor
    ``values``  copies of the results, one for each; ``None`` where they are not known
    ``entry``   its place on the tape; ``grads`` the gradients that arrived there, and ``links`` where they went
    ``made``    the ops that its rule called in the backward pass
    """

    def __init__(self, id: int, parent: int, op: str, title: str, formula: str = "", site: Site | None = None) -> None:
        self.id, self.parent, self.op, self.title, self.formula, self.site = id, parent, op, title, formula, site
        self.inputs: list[tuple[str, int | str]] = []
        self.values: list[Tensor | None] = []
        self.shapes: list[tuple[list[int], str]] = []
        self.entry: Node | None = None
        self.grads: list[Tensor | None] = []
        self.links: list[Link] = []
        self.made: list[str] = []
        self.error = ""


class Record:
    """A computation that was watched.

    ``calls``     the items of calls, in their order; ``outputs`` those that it gave; ``backward`` items in the order in which
                  gradients arrived there
    ``notes``     what must be said of it: that it was cut short, or where gradients came from
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.items: list[Item] = []
        self.boxes: list[Box] = []
        self.calls: list[int] = []
        self.outputs: list[int] = []
        self.backward: list[int] = []
        self.notes: list[Any] = []
        self.groups: list[Any] = []
        self.by_entry: dict[int, int] = {}
        """Items by the ids of their entries on the tape, which they keep alive."""

    def item(self, parent: int, op: str, title: str, formula: str = "", site: Site | None = None) -> Item:
        made = Item(len(self.items), parent, op, title, formula, site)
        self.items.append(made)
        return made

    def box(self, parent: int, kind: str, name: str, title: str, formula: str = "", site: Site | None = None) -> Box:
        made = Box(len(self.boxes), parent, kind, name, title, formula, site)
        self.boxes.append(made)
        return made

    def place(self, item: Item, entry: Node | None) -> None:
        """Says which entry of the tape is an item's. What writes in place has the newest one."""
        item.entry = entry
        if entry is not None:
            self.by_entry.setdefault(id(entry), item.id)

    def settle(self) -> None:
        """Puts nameless leaves that one operation alone reads, such as a mask of dropout, into its box."""
        readers: dict[int, list[Item]] = {}
        for item in self.items:
            for _, source in item.inputs:
                if isinstance(source, int):
                    readers.setdefault(source, []).append(item)
        for leaf in self.items:
            if not leaf.op and not leaf.title and len(readers.get(leaf.id, ())) == 1:
                leaf.parent = readers[leaf.id][0].parent

    def keep(self, ends: list[int]) -> None:
        """Forgets what the items ``ends`` do not depend on; what is left gets new numbers, in the same order."""
        needed: set[int] = set()
        waiting = list(ends)
        while waiting:
            i = waiting.pop()
            if i not in needed:
                needed.add(i)
                waiting += [source for _, source in self.items[i].inputs if isinstance(source, int)]
        number = {old: new for new, old in enumerate(sorted(needed))}
        self.items = [self.items[i] for i in sorted(needed)]
        for item in self.items:
            item.id = number[item.id]
            item.inputs = [(name, number[s] if isinstance(s, int) else s) for name, s in item.inputs]
            item.links = [link._replace(to=number.get(link.to, -1)) for link in item.links]
        self.outputs, self.backward, self.calls = (
            [number[i] for i in ids if i in number] for ids in (self.outputs, self.backward, self.calls)
        )
        self.by_entry = {id(item.entry): item.id for item in self.items if item.entry is not None}

    def link(self) -> None:
        """Writes down where gradients go from each item that has one."""
        for item in self.items:
            if item.entry is not None and not item.links:
                item.links = self._links(item.entry)

    def _links(self, entry: Node) -> list[Link]:
        found = []
        rules = _rules(entry)
        op = type(entry).op if isinstance(entry, OpBackward) else None
        names = () if op is None else op.tensors
        for i, edge in enumerate(entry.edges):
            if edge is None:
                continue
            to = self._reached(edge[0])
            name = names[i] if i < len(names) else names[-1] if names else ""
            found.append(Link(-1 if to is None else to, name.lstrip("*"), rules.get(i, rules.get("*", ""))))
        return found

    def _reached(self, entry: Node) -> int | None:
        """The item of ``entry``, or of the next entries behind it that have one: some entries are of no call."""
        for _ in range(16):
            known = self.by_entry.get(id(entry))
            following = [edge[0] for edge in entry.edges if edge is not None]
            if known is not None or len(following) != 1:
                return known
            entry = following[0]
        return None


def _rules(entry: Node) -> dict[int | str, str]:
    """The rules of an entry's gradients, by the numbers of its inputs."""
    if not isinstance(entry, OpBackward):
        function = getattr(type(entry), "_function", None)  # of a user's own
        return {} if function is None else {"*": rule_of(function.backward)}
    real = not any(meta[1].is_complex for meta in entry.metas)
    pattern = entry.pattern
    told = (lambda rule: of_real_numbers(rule)) if real else (lambda rule: rule)
    if pattern.joint is not None:
        return {"*": told(rule_of(pattern.joint[0]))}
    return {i: told(rule_of(function)) for i, function, _ in pattern.calls}


def is_leaf(entry: Node) -> bool:
    """Whether an entry is the end of the tape: a leaf's ``.grad``."""
    return isinstance(entry, AccumulateGrad)

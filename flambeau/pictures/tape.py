"""What the tape alone knows of a computation: of one that nobody has watched, or of an op of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flambeau.autograd.entries import OpBackward, unpacked
from flambeau.autograd.graph import AccumulateGrad, Node
from flambeau.ops.record import Op
from flambeau.pictures.formulas import formula_of
from flambeau.pictures.record import Item, Record, Site
from flambeau.pictures.values import copied, short_dtype
from flambeau.tensor import Tensor


def read_tape(record: Record, entry: Node, parent: int, site: Site | None, names: Mapping[int, str]) -> None:
    """Makes items of ``entry`` and of all entries behind it that have none yet, oldest first.

    Values are known where a rule for a gradient has kept them: a result by its own entry, or as an input by one that reads it.
    """
    found: dict[int, Node] = {}
    waiting = [entry]
    while waiting:
        node = waiting.pop()
        if id(node) in found or id(node) in record.by_entry:
            continue
        found[id(node)] = node
        waiting += [edge[0] for edge in node.edges if edge is not None]
    for node in sorted(found.values(), key=lambda node: (not isinstance(node, AccumulateGrad), node.sequence)):
        if isinstance(node, AccumulateGrad):
            variable = node.variable
            item = record.item(-1, "", names.get(id(variable), ""))
            item.values, item.shapes = [copied(variable)], [(list(variable.shape), short_dtype(variable.dtype))]
        else:
            item = _entry(record, node, parent, site)
        record.place(item, node)


def _entry(record: Record, node: Node, parent: int, site: Site | None) -> Item:
    op: Op | None = getattr(type(node), "op", None)
    function = getattr(type(node), "_function", None)
    if op is not None:
        item = record.item(parent, op.short_name, op.name, formula_of(op.check), site)
    elif function is not None:
        item = record.item(parent, function.__name__, function.__qualname__, formula_of(function), site)
    else:
        item = record.item(parent, type(node).__name__.removesuffix("Backward0"), node.name(), "", site)
    item.shapes = [(list(shape), short_dtype(dtype)) for shape, dtype in node.metas]
    item.values = [None] * len(node.metas)
    kept = _kept(node)
    names = op.tensors if op is not None else ()
    for i, edge in enumerate(node.edges):
        name = (names[i] if i < len(names) else names[-1]).lstrip("*") if names else ""
        if edge is not None:
            item.inputs.append((name, record.by_entry[id(edge[0])]))
            known = kept.get(i)
            before = record.items[record.by_entry[id(edge[0])]]
            if known is not None and edge[1] < len(before.values) and before.values[edge[1]] is None:
                before.values[edge[1]] = copied(known)
        elif isinstance(kept.get(i), Tensor):
            leaf = record.item(-1, "", "")
            leaf.values, leaf.shapes = [copied(kept[i])], [(list(kept[i].shape), short_dtype(kept[i].dtype))]
            item.inputs.append((name, leaf.id))
    for i, value in kept.items():
        if i < 0 and -1 - i < len(item.values):
            item.values[-1 - i] = copied(value)
    return item


def _kept(node: Node) -> dict[int, Any]:
    """Tensors that an entry has kept: by the numbers of its inputs, and ``-1 - number`` of its results."""
    if not isinstance(node, OpBackward) or node.saved is None:
        return {}
    found = {}
    for item, (_, index, layout) in zip(node.saved, node.pattern.kept):
        if index is not None and layout is not None:
            value = unpacked(item, index, layout, node)
            if isinstance(value, Tensor):
                found[index] = value.detach()
    return found

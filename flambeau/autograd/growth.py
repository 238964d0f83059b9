"""What a backward pass under ``create_graph`` adds to the tape, to be added again by passes that repeat."""

from __future__ import annotations

from collections.abc import Sequence

from flambeau import dispatch
from flambeau.autograd.entries import OpBackward
from flambeau.autograd.graph import Node, next_sequence
from flambeau.autograd.saving import Saved
from flambeau.engine.graph import Node as Value
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import Tensor, make_tensor

_new = object.__new__


class Growth:
    """The tensors that a pass has returned, and the entries that it has made for them.

    ``results``  for each result its value's number, its layout, and where its gradient goes
    ``entries``  for each new entry its pattern, its edges, and its saved values: a value's number (or the constant that it
                 is), the input's or output's number, and its layout; a list of these for a list

    An edge is the target's number among the surveyed entries and the new ones behind them, and the number of the output.
    """

    def __init__(self, surveyed: Sequence[Node], results: Sequence[Tensor | None], since: int, values: list[Value]) -> None:
        """``since`` is a number of the sequence from before the pass; ``values`` gets the nodes that all these hold.

        Raises ``KeyError`` where something has come about in a way that does not follow from the surveyed entries.
        """
        numbers: dict[Value, int] = {}
        new = _newer(results, since)
        places = {entry: i for i, entry in enumerate([*surveyed, *new])}
        self.entries = []
        for entry in new:
            if not isinstance(entry, OpBackward) or entry.hooked:
                raise KeyError(entry)
            saved: list = []
            for item, (_, index, layout) in zip(entry.saved or (), entry.pattern.kept, strict=True):
                if index is None:
                    saved.append([_listed(x, entry, numbers) for x in item])
                    continue
                node = item if layout is None else item[1] if item.__class__ is tuple else item.node
                saved.append((node if layout is None else _number(node, numbers), index, layout))
            edges = [None if edge is None else (places[edge[0]], edge[1]) for edge in entry.edges]
            self.entries.append((entry.pattern, edges, saved))
        self.results = []
        for t in results:
            if t is None:
                self.results.append(None)
                continue
            if t._requires_grad or t._storage.version:
                raise KeyError("a tensor that is not the pass's own")
            edge = None if t._grad_fn is None else (places[t._grad_fn], t._output_nr)
            self.results.append((_number(t._storage.node, numbers), t._layout or dispatch.layout_of(t), edge))
        values += numbers

    def again(self, surveyed: Sequence[Node], values: Sequence[Value]) -> list[Tensor | None]:
        """The results of another pass, with new entries, on the nodes that it has recorded."""
        storages = [Storage(value) for value in values]
        known = list(surveyed)
        for pattern, edges, saved in self.entries:
            entry = _new(pattern.type)
            entry.pattern, entry.metas = pattern, pattern.metas
            entry.edges = own = [edge and (known[edge[0]], edge[1]) for edge in edges]
            held: list = []
            for item in saved:
                if item.__class__ is list:
                    held.append([
                        x if layout is None else Saved.again(_tensor(storages[x], layout, None), values[x], layout, index)
                        for x, index, layout in item
                    ])  # fmt: skip
                    continue
                x, index, layout = item
                if layout is None:
                    held.append(x)
                elif index < 0:
                    held.append((storages[x], values[x]))
                else:
                    held.append((_tensor(storages[x], layout, own[index]), values[x]))
            entry.saved = tuple(held)
            entry.sequence = next_sequence()
            known.append(entry)
        made: dict[tuple, Tensor] = {}  # the same gradient for two inputs is one tensor
        found: list[Tensor | None] = []
        for described in self.results:
            t = None if described is None else made.get(described)
            if described is not None and t is None:
                number, layout, edge = described
                t = made[described] = _tensor(storages[number], layout, edge and (known[edge[0]], edge[1]))
            found.append(t)
        return found


def _newer(results: Sequence[Tensor | None], since: int) -> list[Node]:
    """The entries that lead to ``results`` and were made since then, oldest first."""
    found: set[Node] = set()
    stack = [t._grad_fn for t in results if t is not None and t._grad_fn is not None]
    while stack:
        entry = stack.pop()
        if entry.sequence > since and entry not in found:
            found.add(entry)
            stack += [edge[0] for edge in entry.edges if edge is not None]
    return sorted(found, key=lambda entry: entry.sequence)


def _number(node: Value, numbers: dict[Value, int]) -> int:
    return numbers.setdefault(node, len(numbers))


def _listed(item, entry: Node, numbers: dict[Value, int]) -> tuple:
    """An element of a saved list."""
    if item.__class__ is not Saved:
        return item, 0, None
    if entry.edges[item.index] is not None or item.node is None:
        raise KeyError(entry)
    return _number(item.node, numbers), item.index, dispatch.layout_of(item.restored())


def _tensor(storage: Storage, layout, edge: tuple | None) -> Tensor:
    t = make_tensor(storage, layout.shape, layout.dtype)
    if layout.memory is not None:
        t._strides, t._offset = layout.strides, layout.offset
    t._layout = layout
    if edge is not None:
        t._grad_fn, t._output_nr = edge
    return t

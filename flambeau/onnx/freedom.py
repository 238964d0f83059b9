"""Which shapes and numbers of a recorded module depend on sizes that shall be free, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from flambeau._C.graph import Graph, Value
from flambeau.core import nests
from flambeau.onnx.sizes import Size, UnknownSize, fitted, other_sizes
from flambeau.onnx.tracing import tensors_of, trace
from flambeau.onnx.writer import OnnxExporterError
from flambeau.ops.creation import zeros
from flambeau.tensor import Tensor


class Call(NamedTuple):
    """What is exported: a call of a model."""

    model: Any
    args: tuple
    kwargs: dict[str, Any]
    training: Any

    def graph(self, places: Mapping[tuple[int, int], Size], sizes: Mapping[str, int]) -> Graph:
        """The graph for arguments of other sizes; ``places`` says which dims of its tensors are free. Values are not looked at."""
        tensors = iter(range(len(tensors_of((self.args, self.kwargs)))))

        def resized(x: Any) -> Any:
            if not isinstance(x, Tensor):
                return x
            k = next(tensors)
            return zeros([places[k, d].at(sizes) if (k, d) in places else n for d, n in enumerate(x.shape)], dtype=x.dtype)

        args, kwargs = nests.tree_map(resized, (self.args, self.kwargs))
        return trace(self.model, args, kwargs, self.training)[0].graph


def free_values(
    graph: Graph, call: Call, names: Sequence[str], free: Mapping[str, Mapping[int, Size]], bounds: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, tuple[str, int]], dict[Value, Any]]:  # fmt: skip
    """Of which dim of which input each free size is, and what depends on them: shapes of values that are tensors, and numbers.

    ``free`` says which dims of the inputs with these ``names`` are free, and ``bounds`` of what sizes these are made.

    Raises :class:`OnnxExporterError` where the module does something else for other sizes, or what it does depends on them in a
    way that cannot be said.
    """
    tensors = tensors_of((call.args, call.kwargs))
    places: dict[tuple[int, int], Size] = {}
    symbols: dict[str, tuple[str, int]] = {}
    sizes: dict[str, int] = {}
    for k, name in enumerate(names):
        for d, size in free.get(name, {}).items():
            d %= max(tensors[k].dim(), 1)
            places[k, d] = size
            (symbol,) = size.symbols
            if size == Size(1, (symbol,), 0):
                symbols.setdefault(symbol, (name, d))
            n = (tensors[k].shape[d] - size.shift) // size.factor
            if sizes.setdefault(symbol, n) != n:
                raise OnnxExporterError(f"torch.onnx.export: dims that are called {symbol!r} have sizes {sizes[symbol]} and {n}")
    if symbols.keys() != sizes.keys():
        raise OnnxExporterError(f"torch.onnx.export: no input has a dim of the size {min(sizes.keys() - symbols.keys())!r} itself")
    others = other_sizes(sizes, bounds)
    changed = {s: _recorded(call, places, {**sizes, s: others[s]}) for s in sizes}
    return symbols, _compared(graph, changed, _recorded(call, places, others), sizes, others)


def _recorded(call: Call, places: Mapping[tuple[int, int], Size], sizes: Mapping[str, int]) -> Graph:
    try:
        return call.graph(places, sizes)
    except OnnxExporterError:
        raise
    except Exception as error:
        raise OnnxExporterError(
            f"torch.onnx.export: the module cannot be called where free dims have the sizes {dict(sizes)}: {error}"
        ) from error


def _compared(
    graph: Graph, changed: Mapping[str, Graph], all_changed: Graph, sizes: Mapping[str, int], others: Mapping[str, int]
) -> dict[Value, Any]:
    """What differs between the graphs."""
    rows = [list(g.nodes()) for g in (graph, *changed.values(), all_changed)]
    if any([n.kind() for n in row] != [n.kind() for n in rows[0]] for row in rows):
        raise OnnxExporterError(
            "torch.onnx.export: the module calls other operators where a dim that shall be free has another size"
        )

    def fit(values: Sequence[int]) -> int | Size | None:
        return fitted(values[0], dict(zip(changed, values[1:-1], strict=True)), values[-1], sizes, others)

    found: dict[Value, Any] = {}
    inputs = [list(g.inputs()) for g in (graph, *changed.values(), all_changed)]
    for same in zip(*inputs, strict=True):
        _note_shapes(found, same, fit)
    for nodes in zip(*rows, strict=True):
        if nodes[0].kind() != "prim::Constant":
            for same in zip(*[n.outputs() for n in nodes], strict=True):
                _note_shapes(found, same, fit)
            continue
        values = [n.output().toIValue() for n in nodes]
        if all(type(v) is int for v in values):
            size = fit(values)
            if size is None:
                raise OnnxExporterError(
                    f"torch.onnx.export: a number of the module ({values[0]}) depends on a size that shall be free in a way that is not written"
                )
            if isinstance(size, Size):
                found[nodes[0].output()] = size
        elif not all([_is_same(values[0], v) for v in values[1:]]):
            what = "constant" if isinstance(values[0], Tensor) else f"number of the module ({values[0]})"
            raise OnnxExporterError(f"torch.onnx.export: a {what} depends on the size of a dim that shall be free")
    return found


def _note_shapes(found: dict[Value, Any], same: Sequence[Value], fit: Any) -> None:
    shapes = [v.type().sizes() or [] for v in same]
    if all(s == shapes[0] for s in shapes):
        return
    if len({len(s) for s in shapes}) != 1:
        raise OnnxExporterError("torch.onnx.export: the number of dims of a value depends on a size that shall be free")
    sizes = [fit(values) for values in zip(*shapes, strict=True)]
    found[same[0]] = [UnknownSize() if s is None else s for s in sizes]


def _is_same(a: Any, b: Any) -> bool:
    """Whether two constants are one: the same memory, or the same values."""
    if not isinstance(a, Tensor) or not isinstance(b, Tensor):
        return type(a) is type(b) and bool(a == b)
    return (
        a._storage is b._storage
        and a.shape == b.shape
        or a.shape == b.shape
        and a.dtype == b.dtype
        and np.array_equal(a.numpy(), b.numpy())
    )

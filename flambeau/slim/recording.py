"""A call of a model, recorded on arguments whose values nobody knows yet.

Whatever would look at a value while the model runs is refused by name (:mod:`flambeau.export.unknown`), so what has been recorded
holds for all values, and is pending as it would be after any other call.
"""

from __future__ import annotations

import random as plain
from collections import namedtuple
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from flambeau import random
from flambeau.core import dtypes, nests
from flambeau.core.dtypes import dtype as Dtype
from flambeau.engine import graph
from flambeau.engine.graph import Node
from flambeau.engine.run import run_pending
from flambeau.engine.trace import Trace
from flambeau.export.exported_program import leaf_names
from flambeau.export.unknown import ARGUMENT, ExportError, names_of_arguments, unknown_values, with_unknown
from flambeau.nn import Module
from flambeau.tensor import Tensor


class Argument(NamedTuple):
    """An argument, or a result, that is a tensor."""

    name: str
    shape: tuple[int, ...]
    dtype: Dtype


class Weight(NamedTuple):
    """What the model reads besides its arguments: a parameter or buffer, or a constant without a name."""

    name: str
    value: np.ndarray
    dtype: Dtype


class Recording:
    """What a model does with arguments of given shapes and dtypes.

    ``trace``      the nodes, with those that make the result as the only ones that are kept
    ``inputs``     the arguments, and ``weights`` what else is read; ``slots`` says for each leaf of the trace which it is:
                   ``("input", i)`` or ``("weight", i)``
    ``outputs``    the numbers of the nodes that make the results, which are ``results``
    ``nest``       how the results are nested: lists, ``{"tuple": [...]}``, ``{"dict": [[key, ...], ...]}``, a number for the result
                   of that place, ``{"value": x}`` for what is no tensor
    """

    def __init__(self, model: Callable, args: tuple, kwargs: dict[str, Any]) -> None:
        given, spec = nests.tree_flatten((args, kwargs))
        names = leaf_names(names_of_arguments(model, args, kwargs), args, kwargs)
        values = {i: _value_of(x, names[i]) for i, x in enumerate(given) if isinstance(x, Tensor)}
        drawn = _random_state()
        with unknown_values(values, names) as unknown:
            args, kwargs = nests.tree_unflatten(with_unknown(given, unknown), spec)
            found, nest = nests.tree_flatten(model(*args, **kwargs))
            tensors = [_contiguous(x) for x in found if isinstance(x, Tensor)]
        if _random_state() != drawn:
            raise ExportError("the model draws random numbers, which would be the same at each call: call model.eval() first")
        if any(ref() is not None for ref in graph.written):
            run_pending()
            raise ExportError(
                "the model writes to tensors that it keeps, such as the statistics of a BatchNorm: call model.eval() first"
            )
        self.inputs = [Argument(names[i], tuple(x.shape), x.dtype) for i, x in unknown.items()]
        self.results = [Argument(f"output_{k}", tuple(t.shape), t.dtype) for k, t in enumerate(tensors)]
        self.nest = _plain(nest, iter(_places(found)))
        self.trace = Trace(list(graph.trace), {}, [])
        places = {node: i for i, node in enumerate(self.trace.nodes)}
        self.outputs = [places[t._storage.node] for t in tensors]
        structure, kept = self.trace.key
        self.trace.key = structure, tuple([i in self.outputs for i in range(len(kept))])
        self._sort_leaves(model, unknown)

    def _sort_leaves(self, model: Callable, unknown: dict[int, Node]) -> None:
        """Says what each leaf is. Weights are named as the model names them."""
        inputs = {node: k for k, node in enumerate(unknown.values())}
        names: dict[Node, str] = {}
        if isinstance(model, Module):
            for name, t in [*model.named_parameters(), *model.named_buffers()]:
                names.setdefault(t._storage.node, name)
        self.slots: list[tuple[str, int]] = []
        self.weights: list[Weight] = []
        for node in self.trace.leaves:
            if node in inputs:
                self.slots.append(("input", inputs[node]))
                continue
            self.slots.append(("weight", len(self.weights)))
            self.weights.append(Weight(names.get(node, ""), node.value, node.dtype))


class Weights:
    """The weights that several recordings of a model read, ``all`` of them once."""

    def __init__(self) -> None:
        self.all: list[Weight] = []
        self._places: dict[tuple, int] = {}

    def place(self, weight: Weight) -> int:
        """Which of them a weight is. Constants are one if their contents are, since each recording makes them anew."""
        key: tuple = (weight.name,)
        if not weight.name:
            content = np.ascontiguousarray(weight.value).reshape(-1).view(np.uint8)
            key = weight.dtype, weight.value.shape, sha256(content.data).digest()
        if key not in self._places:
            self._places[key] = len(self.all)
            self.all.append(weight if weight.name else weight._replace(name=f"constants/{len(self.all)}"))
        return self._places[key]


class Draws:
    """Python's and NumPy's generators as they stand now, so that a model which decides by them decides alike in each call of an
    export."""

    def __init__(self) -> None:
        self._plain, self._numpy = plain.getstate(), np.random.get_state()

    def again(self) -> None:
        plain.setstate(self._plain)
        np.random.set_state(self._numpy)


def _random_state() -> bytes:
    return bytes(random.get_rng_state().numpy())


def _value_of(t: Tensor, name: str) -> np.ndarray:
    if t.dtype not in _EXCHANGED:
        raise ExportError(
            f"argument {name!r} is of {t.dtype}, which NumPy does not have: give it as float32, and let the model cast it"
        )
    return np.array(t.detach().contiguous().numpy())


_EXCHANGED = (
    dtypes.float32, dtypes.float64, dtypes.float16, dtypes.int64, dtypes.int32, dtypes.int16, dtypes.int8, dtypes.uint8, dtypes.bool,
)  # fmt: skip


def _contiguous(t: Tensor) -> Tensor:
    """``t``, or a copy, as all of the memory of a node of the trace."""
    if t.dtype not in _EXCHANGED:
        raise ExportError(f"a result is of {t.dtype}, which NumPy does not have: let the model return it as float32")
    t = t.detach().contiguous()
    node = t._storage.node
    if node.op is None or node.op is ARGUMENT or t._bits or t._offset or node.shape != t.shape or node.dtype is not t.dtype:
        t = t.clone()
    return t


def _places(found: list) -> list:
    """For each leaf of a result the place that it has among the tensors, or its value."""
    places: list = []
    count = 0
    for x in found:
        if isinstance(x, Tensor):
            places.append(count)
            count += 1
        elif x is None or isinstance(x, (bool, int, float, str)):
            places.append({"value": x})
        else:
            raise ExportError(
                f"the model returns a {type(x).__name__}: tensors, numbers, text, tuples, lists and dicts can be exported"
            )
    return places


def _plain(spec: nests.TreeSpec, leaves: Any) -> Any:
    """How results are nested, for JSON."""
    if spec.type is None:
        return next(leaves)
    parts = [_plain(child, leaves) for child in spec.children_specs]
    if spec.type is list:
        return parts
    if spec.type is namedtuple or issubclass(spec.type, tuple):  # with names or without: a loader knows no classes
        return {"tuple": parts}
    if issubclass(spec.type, dict) and all(isinstance(key, str) for key in spec.context):
        return {"dict": [[key, part] for key, part in zip(spec.context, parts, strict=True)]}
    raise ExportError(
        f"the model returns a {spec.type.__name__}: tensors, numbers, text, tuples, lists and dicts with text as keys can be exported"
    )

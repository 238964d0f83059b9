"""What an export listens to: the calls of a module, on arguments whose values nobody knows.

Operators that are made of others and have no translation are taken apart. Writes in place are followed where they replace a whole
tensor; whoever reads memory after a part of it was written is refused, since values of ONNX's do not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np

from flambeau import random
from flambeau._C.graph import CONVOLUTIONS, Graph, Recorder, Value, record_graph
from flambeau.core import nests
from flambeau.engine.graph import Node
from flambeau.export.exported_program import leaf_names
from flambeau.export.unknown import ARGUMENT, ExportError, names_of_arguments, unknown_values, with_unknown
from flambeau.nn.modules.module import Module
from flambeau.onnx.translations import TRANSLATIONS
from flambeau.onnx.writer import OnnxExporterError
from flambeau.ops.record import Op, registry
from flambeau.tensor import Tensor


class Listener(Recorder):
    """Knows of each tensor at which version of its memory it has which value, and of each value a tensor that has it: ``tensors``."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.versions: dict[int, int] = {}
        self.contents: dict[int, Value] = {}
        self.nodes: list[Node] = []  # likewise kept
        self.tensors: dict[Value, Tensor] = {}

    def is_apart(self, op: Op) -> bool:
        """Translations are of operators that are made of others only where there is no other operator of that name."""
        name = op.short_name
        return op.form == "composite" and name not in CONVOLUTIONS and (name not in TRANSLATIONS or name in _primitives())

    def know(self, tensor: Tensor, value: Value) -> None:
        super().know(tensor, value)
        self.tensors[value] = tensor
        self.versions[id(tensor)] = tensor._storage.version
        if _is_whole(tensor):
            self.contents[id(tensor._storage.node)] = value
            self.nodes.append(tensor._storage.node)

    def argument(self, x: Any) -> Value:
        if isinstance(x, Tensor) and self.versions.get(id(x), x._storage.version) != x._storage.version:
            content = self.contents.get(id(x._storage.node)) if _is_whole(x) else None
            if content is None:
                raise OnnxExporterError(
                    f"torch.onnx.export: a tensor of shape {list(x.shape)} is read after a part of its memory was written in place, which is not "
                    "written: make the new values without an assignment, by torch.where, torch.cat or index_put"
                )
            self.know(x, content)
        elif isinstance(x, Tensor) and id(x) not in self.values:
            self._recognise(x)
        return super().argument(x)

    def _recognise(self, x: Tensor) -> None:
        """A tensor that no operator has given: another name of a value, as ``detach`` makes one, or a constant."""
        content = self.contents.get(id(x._storage.node)) if _is_whole(x) else None
        if content is not None:
            self.know(x, content)
        elif _depends_on_arguments(x._storage.node):
            raise OnnxExporterError(
                f"torch.onnx.export: where a tensor of shape {list(x.shape)} comes from is not known: it is made of arguments, but by no operator"
            )


def _depends_on_arguments(node: Node) -> bool:
    stack, seen = [node], {node}
    while stack:
        one = stack.pop()
        if one.op is ARGUMENT:
            return True
        more = [y for y in one.inputs if isinstance(y, Node) and y not in seen]
        seen.update(more)
        stack += more
    return False


@cache
def _primitives() -> frozenset[str]:
    return frozenset([op.short_name for op in registry.values() if op.form != "composite"])


def _is_whole(t: Tensor) -> bool:
    """Whether a tensor is all of its memory, in order."""
    return not t._offset and t._strides is None and tuple(t.shape) == tuple(t._storage.node.shape) and not t._bits


@contextmanager
def evaluation(model: Callable, training: Any) -> Iterator[None]:
    """Modules are in evaluation mode, unless ``training`` says otherwise."""
    stays = training is not None and getattr(training, "name", "") in ("TRAINING", "PRESERVE")
    modes = {m: m.training for m in model.modules()} if isinstance(model, Module) and not stays else {}
    for m in modes:
        m.training = False
    try:
        yield
    finally:
        for m, mode in modes.items():
            m.training = mode


def trace(model: Callable, args: tuple, kwargs: dict[str, Any] | None, training: Any) -> tuple[Listener, Any]:
    """A call that was listened to, in evaluation mode unless ``training`` says otherwise, and its result.

    Raises :class:`OnnxExporterError` where the model looks at values, or draws random numbers.
    """
    kwargs = kwargs or {}
    given, spec = nests.tree_flatten((args, kwargs))
    names = leaf_names(names_of_arguments(model, args, kwargs), args, kwargs)
    values = {i: np.array(x.detach().numpy()) for i, x in enumerate(given) if isinstance(x, Tensor)}
    drawn = bytes(random.get_rng_state().numpy())
    try:
        with evaluation(model, training), unknown_values(values, names) as unknown:
            args, kwargs = nests.tree_unflatten(with_unknown(given, unknown), spec)
            made = record_graph(Listener, model, args, kwargs)
    except ExportError as error:
        raise OnnxExporterError(f"torch.onnx.export: {error}") from None
    if bytes(random.get_rng_state().numpy()) != drawn:
        raise OnnxExporterError(
            "torch.onnx.export: the model draws random numbers, which would be the same in each run: call model.eval() first"
        )
    return made


def tensors_of(x: Any) -> list[Tensor]:
    """The tensors in nested arguments or results."""
    return [t for t in nests.tree_leaves(x) if isinstance(t, Tensor)]

"""``flambeau.onnx.load``: a file of ONNX's as a module."""

from __future__ import annotations

import os
import re
from typing import IO, Any

import numpy as np

from flambeau import nn
from flambeau.onnx.importing import (  # noqa: F401  (the rules)
    attention,
    elementwise,
    images,
    indexing,
    losses,
    norms,
    products,
    quantized,
    recurrent,
    reductions,
    sequences,
    shapes,
    windows,
)
from flambeau.onnx.importing.graph import Graph, held
from flambeau.onnx.importing.registry import OnnxError, to_tensor

__all__ = ["OnnxModule", "load"]


class OnnxModule(nn.Module):
    """A graph of ONNX's. It is called with its inputs in order, or by name, and returns its output, or a tuple of them.

    Weights are parameters, under their names in the file with ``_`` for what Python's names do not have; other constants are
    buffers. So the module can be trained on, saved by its ``state_dict``, and served.

    ``input_names``, ``output_names``: as in the file.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        opsets = {o.domain if o.domain != "ai.onnx" else "": o.version for o in model.opset_import}
        functions = {(f.domain, f.name): f for f in model.functions}
        self._graph = Graph(model.graph, opsets, functions)
        if missing := self._graph.operators():
            raise OnnxError(f"operators that flambeau has no rule for: {', '.join(sorted(missing))}")
        self.input_names = [name for name in self._graph.inputs if name not in self._graph.constants]
        self.output_names = list(self._graph.outputs)
        self._attributes: dict[str, str] = {}  # names in the file -> names here
        self._here: dict[str, np.ndarray] = {}
        for name, array in self._graph.constants.items():
            self._keep(name, held(array))

    def _keep(self, name: str, value: Any) -> None:
        if isinstance(value, np.ndarray):
            self._here[name] = value
            return
        attribute = re.sub(r"\W", "_", name) or "_"
        while hasattr(self, attribute):
            attribute += "_"
        self._attributes[name] = attribute
        if value.is_floating_point():
            self.register_parameter(attribute, nn.Parameter(value))
        else:
            self.register_buffer(attribute, value)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) > len(self.input_names) or kwargs.keys() - set(self.input_names[len(args) :]):
            raise TypeError(
                f"the model takes {', '.join(self.input_names)}; it was given {len(args)} by place, and {', '.join(kwargs) or 'none'} by name"
            )
        values: dict[str, Any] = {name: getattr(self, attribute) for name, attribute in self._attributes.items()}
        values |= self._here
        given = {**dict(zip(self.input_names, args)), **kwargs}
        for name in self.input_names:
            if name not in given:
                raise TypeError(f"the model's input {name!r} is missing; it takes {', '.join(self.input_names)}")
        outputs = [to_tensor(y) for y in self._graph.run(values | given)]
        return outputs[0] if len(outputs) == 1 else tuple(outputs)


def load(f: str | os.PathLike[str] | IO[bytes] | Any) -> OnnxModule:
    """A file of ONNX's as a module, in evaluation mode; ``f`` is a path, an open file, or a ``ModelProto`` of the package ``onnx``.

    Nothing of the file is run but the operators that its graph names. Weights that lie in files beside it are read with it.

    Raises:
        OnnxError: it has operators that flambeau has no rule for, all of which are named.

    >>> import flambeau as torch
    >>> model = torch.onnx.load("model.onnx")  # doctest: +SKIP
    >>> model(torch.randn(1, 3, 224, 224)).shape  # doctest: +SKIP
    torch.Size([1, 1000])
    """
    try:
        import onnx
    except ImportError:
        raise OnnxError("reading files of ONNX's takes the package onnx: pip install 'flambeau[onnx]'") from None
    model = f if isinstance(f, onnx.ModelProto) else onnx.load(f)
    return OnnxModule(model).eval()

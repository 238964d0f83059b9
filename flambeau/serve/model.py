"""One version of a model that is loaded: from arrays to arrays, on the compute thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

import flambeau as torch
from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.serve import loaders
from flambeau.serve.batching import Arrays, padded
from flambeau.serve.config import ModelConfig, ModelError, TensorSpec
from flambeau.serve.protocol import DATATYPES, RequestError, datatype_of

_REPETITIONS = 6
"""How often a batch of a size runs until nothing about it is new to the engine."""

_QUICK = 1e-3
"""Seconds for which the event loop may stand still: about what two changes of threads take on a busy machine."""

_HOOKS = ("load", "preprocess", "predict", "postprocess")


class Model:
    """A model with its signature.

    A handler file may define any of

    - ``load(folder: str) -> model``: instead of the file of weights;
    - ``preprocess(inputs: dict[str, ndarray]) -> dict[str, Tensor]``: of a whole batch; without it arrays become tensors;
    - ``predict(model, inputs: dict[str, Tensor])``: without it the model is called with the inputs;
    - ``postprocess(outputs: dict[str, Tensor]) -> dict[str, ndarray]``.

    Args:
        path: the file of weights, or ``None`` where the handler loads the model.
        handler: the handler file.

    Raises:
        ModelError: it cannot be loaded.
    """

    def __init__(self, name: str, version: str, path: Path | None, config: ModelConfig, handler: Path | None = None) -> None:
        self.name, self.version, self.config = name, version, config
        hooks = {} if handler is None else _hooks_of(handler)
        self._preprocess: Callable[[Arrays], Mapping[str, Any]] = hooks.get("preprocess", _as_tensors)
        self._postprocess: Callable[[dict[str, Any]], Mapping[str, Any]] | None = hooks.get("postprocess")
        if "load" in hooks:
            folder = path if path is not None else handler
            assert folder is not None
            loaded = loaders.Loaded(hooks["load"](str(folder.parent)))
        elif path is not None:
            loaded = loaders.load(path, config)
        else:
            raise ModelError(
                f"model {name!r}: there is neither a file that ends in {', '.join(loaders.LOADERS)} nor a handler with load()"
            )
        self.platform = "flambeau_handler" if path is None else f"flambeau_{path.suffix[1:]}"
        self.inputs = config.inputs or loaded.inputs
        self.outputs = config.outputs or loaded.outputs
        fixed = any(
            spec.shape and spec.shape[0] != -1 for spec in loaded.inputs
        )  # by the file: it runs as often as there are requests
        self.max_batch = 0 if fixed else config.max_batch
        # a handler's inputs may be others than the file's
        self._plans = None if hooks.keys() & {"preprocess", "predict"} else loaded.plans
        call = loaded.call
        predict = hooks.get("predict")
        self._predict: Callable[[Mapping[str, Any]], Any] = (
            (lambda inputs: call(*inputs.values())) if predict is None else lambda inputs: predict(call, inputs)
        )

        self._quickest: dict[int, float] = {}  # seconds, by the size of the batch
        self._is_own = not hooks  # what others have written may take any time

    def checked(self, inputs: Arrays) -> Arrays:
        """``inputs`` in the model's order, if they are what it takes.

        Raises:
            RequestError: one is missing, unknown, or of another datatype or shape.
        """
        if not self.inputs:
            return inputs
        unknown = inputs.keys() - {spec.name for spec in self.inputs}
        missing = [spec.name for spec in self.inputs if spec.name not in inputs]
        if unknown or missing:
            names = ", ".join(spec.name for spec in self.inputs)
            what = f"{min(unknown)!r} is none of them" if unknown else f"{missing[0]!r} is missing"
            raise RequestError(f"model {self.name!r} takes the inputs {names}: {what}")
        for spec in self.inputs:
            _check(spec, inputs[spec.name])
        ordered = {spec.name: inputs[spec.name] for spec in self.inputs}
        self._check_plans(ordered)
        return ordered

    def _check_plans(self, inputs: Arrays) -> None:
        """Refuses shapes that the file has no plan for, as they are when the request runs alone: here the request is at fault."""
        if self._plans is None:
            return
        shapes = [x.shape for x in inputs.values()]
        run = tuple((padded(s[0]), *s[1:]) if self.max_batch and s else s for s in shapes)
        if run not in self._plans:
            given = ", ".join(f"{name} {list(x.shape)}" for name, x in inputs.items())
            firsts = [shape[0] for plan in self._plans for shape in plan[:1] if shape]
            rows = f", and it has plans for {min(firsts)} to {max(firsts)} rows" if firsts else ""
            padding = ": rows are padded to a power of two" if self.max_batch else ""
            raise RequestError(f"model {self.name!r} has no plan for the inputs {given}{padding}{rows}")

    def predict(self, inputs: Arrays) -> Arrays:
        """The outputs by name. Only the compute thread calls this."""
        with torch.no_grad():
            outputs = _by_name(self._predict(self._preprocess(inputs)), [spec.name for spec in self.outputs])
            made = outputs if self._postprocess is None else self._postprocess(outputs)
            return {str(name): _as_array(value) for name, value in made.items()}

    def warm(self) -> int:
        """Runs every size of batch until it is compiled, before the first request; how many sizes there were.

        Where the inputs are not known in full, that is none. The outputs are noted, where nobody has said what they are.
        """
        specs = self.inputs
        if not specs or any(
            spec.shape is None or -1 in spec.shape[bool(self.max_batch) :] or spec.datatype == "BYTES" for spec in specs
        ):
            return 0
        sizes = _sizes(self.max_batch)
        for rows in sizes:
            for _ in range(_REPETITIONS):
                start = time.perf_counter()
                outputs = self.predict({spec.name: _example(spec, rows if self.max_batch else None) for spec in specs})
                self._quickest[rows] = min(time.perf_counter() - start, self._quickest.get(rows, math.inf))
        if not self.outputs or not all(spec.shape for spec in self.outputs):
            first = [-1] if self.max_batch else []
            self.outputs = tuple(
                TensorSpec(name, datatype_of(y.dtype), (*first, *y.shape[len(first) :])) for name, y in outputs.items()
            )
        return len(sizes)

    def is_quick(self, rows: int) -> bool:
        """Whether a batch of so many rows is known to take so little time that others need not wait for it on a thread of its own."""
        return self._is_own and self._quickest.get(padded(rows) if self.max_batch else 1, math.inf) < _QUICK

    def metadata(self, versions: list[str]) -> dict[str, Any]:
        """As the protocol describes a model."""
        return {
            "name": self.name,
            "versions": versions,
            "platform": self.platform,
            "inputs": [spec.described() for spec in self.inputs],
            "outputs": [spec.described() for spec in self.outputs],
        }


def _hooks_of(handler: Path) -> dict[str, Callable[..., Any]]:
    module = loaders.run_file(handler)
    found = {name: getattr(module, name) for name in _HOOKS if callable(getattr(module, name, None))}
    if not found:
        raise ModelError(f"{handler}: a handler defines one of {', '.join(_HOOKS)}")
    return found


def _sizes(max_batch: int) -> list[int]:
    if not max_batch:
        return [1]
    return [1 << i for i in range(padded(max_batch).bit_length())]


def _example(spec: TensorSpec, rows: int | None) -> np.ndarray:
    assert spec.shape is not None
    shape = spec.shape if rows is None else (rows, *spec.shape[1:])
    return np.zeros(shape, DATATYPES[spec.datatype or "FP32"])


def _check(spec: TensorSpec, array: np.ndarray) -> None:
    if spec.datatype is not None and array.dtype != DATATYPES[spec.datatype]:
        raise RequestError(f"input {spec.name!r}: expected {spec.datatype}, got {datatype_of(array.dtype)}")
    if spec.shape is not None and (
        array.ndim != len(spec.shape) or any(want not in (-1, have) for want, have in zip(spec.shape, array.shape))
    ):
        raise RequestError(f"input {spec.name!r}: expected the shape {list(spec.shape)} (-1: any size), got {list(array.shape)}")


def _as_tensors(inputs: Arrays) -> dict[str, Any]:
    made = {}
    for name, array in inputs.items():
        if array.dtype.hasobject:
            raise RequestError(f"input {name!r}: BYTES are read by a handler with preprocess(), and this model has none")
        own = (
            array if array.flags.writeable and array.flags.c_contiguous else np.array(array, order="C")
        )  # a request's bytes are nobody's to write
        made[name] = dispatch.wrap(own, dtypes.from_numpy(own.dtype))
    return made


def _by_name(result: Any, names: list[str]) -> dict[str, Any]:
    """What a model returned, by name: a tensor, a list or tuple of them, or a mapping."""
    if isinstance(result, Mapping):
        return dict(result)
    values = list(result) if isinstance(result, (list, tuple)) else [result]
    return dict(zip(_names(names, len(values)), values, strict=True))


def _names(names: list[str], count: int) -> Iterable[str]:
    if len(names) == count:
        return names
    return ["output"] if count == 1 else [f"output_{i}" for i in range(count)]


def _as_array(value: Any) -> np.ndarray:
    if not isinstance(value, torch.Tensor):
        return np.asarray(value)
    value = value.detach()
    if value.dtype is torch.bfloat16:
        return np.asarray(value.view(torch.uint16).numpy().view(ml_dtypes.bfloat16))
    return np.asarray(value.numpy())

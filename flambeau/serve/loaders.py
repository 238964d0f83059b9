"""Files of models, by their endings: how each becomes something that can be called.

Nothing of a file of weights is ever run. What is run are factories (``package.module:function``), handler files and slim models,
which hold machine code. The server takes them from the folder of models, too: who may write to that can run code in the server.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import flambeau as torch
from flambeau import nn
from flambeau.serve.batching import padded
from flambeau.serve.config import ModelConfig, ModelError, TensorSpec
from flambeau.serve.protocol import datatype_of
from flambeau.weights import load_file

HANDLER = "handler.py"


@dataclass
class Loaded:
    """What a file became: called with tensors in the order of ``inputs``; what it says itself of these and of its outputs.

    ``plans`` are the only shapes of all inputs that it takes, where these were fixed when the file was made.
    """

    call: Callable[..., Any]
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    plans: frozenset[tuple[tuple[int, ...], ...]] | None = None


Loader = Callable[[Path, ModelConfig], Loaded]


def _state_dict(path: Path, config: ModelConfig) -> Loaded:
    state = torch.load(path, map_location="cpu", weights_only=True, mmap=config.mmap or None)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    return _module(path, config, state)


def _safetensors(path: Path, config: ModelConfig) -> Loaded:
    return _module(path, config, load_file(path))


def _exported(path: Path, config: ModelConfig) -> Loaded:
    program = torch.export.load(path)
    return Loaded(program.module(), _specs_of(program))


def _slim(path: Path, config: ModelConfig) -> Loaded:
    model = torch.load_slim(path)
    rows = {shape[0] for shapes in model.sizes for shape in shapes[:1] if shape}
    free = any(x.shape and x.shape[0] is None for x in model.inputs)
    if free and not rows.issuperset(1 << k for k in range(padded(config.max_batch).bit_length())):
        raise ModelError(
            f"{path.name} has plans for {min(rows, default=0)} to {max(rows, default=0)} rows, not for batches of up to {config.max_batch}: see --max-batch"
        )
    inputs = tuple(TensorSpec(x.name, datatype_of(x.dtype), _with_any(x.shape)) for x in model.inputs)
    outputs = tuple(TensorSpec(x.name, datatype_of(x.dtype), _with_any(x.shape)) for x in model.outputs)
    return Loaded(lambda *tensors: model(*[t.numpy() for t in tensors]), inputs, outputs, frozenset(model.sizes))


def _with_any(shape: tuple[int | None, ...]) -> tuple[int, ...]:
    return tuple(-1 if n is None else n for n in shape)


def _onnx(path: Path, config: ModelConfig) -> Loaded:
    try:
        import onnx
    except ImportError:
        raise ModelError(f"{path.name}: reading it takes the package onnx: pip install 'flambeau[onnx]'") from None
    proto = onnx.load(path)
    module = torch.onnx.load(proto)
    given = {value.name: value.type.tensor_type for value in proto.graph.input}
    inputs = []
    for name in module.input_names:
        dims = given[name].shape.dim
        dtype = onnx.helper.tensor_dtype_to_np_dtype(given[name].elem_type)
        inputs.append(TensorSpec(name, datatype_of(dtype), tuple(d.dim_value if d.HasField("dim_value") else -1 for d in dims)))
    return Loaded(module, tuple(inputs), tuple(TensorSpec(name) for name in module.output_names))


LOADERS: dict[str, Loader] = {
    ".pt": _state_dict,
    ".pth": _state_dict,
    ".safetensors": _safetensors,
    ".pt2": _exported,
    ".onnx": _onnx,
    ".slim": _slim,
}
"""Ending of a file -> what loads it."""


def load(path: Path, config: ModelConfig) -> Loaded:
    """The model in a file.

    Raises:
        ModelError: there is no such file, its ending is not known, or it needs a factory and has none.
    """
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file")
    loader = LOADERS.get(path.suffix)
    if loader is None:
        raise ModelError(f"{path.name}: models are files that end in {', '.join(LOADERS)}")
    return loader(path, config)


def model_file(folder: Path) -> Path | None:
    """The one file of a model in a folder; ``None`` where there is none.

    Raises:
        ModelError: there are several.
    """
    found = sorted(p for p in folder.iterdir() if p.is_file() and p.suffix in LOADERS and not p.name.startswith("."))
    if len(found) > 1:
        raise ModelError(f"{folder}: several models, {', '.join(p.name for p in found)}; a folder holds one")
    return found[0] if found else None


def run_file(path: Path) -> ModuleType:
    """Runs a Python file as a module of its own, under a name that no other module has."""
    name = f"_flambeau_serve_{uuid.uuid4().hex}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and the like look for it while it runs
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    return module


def make_module(factory: str) -> nn.Module:
    """The module that ``package.module:function`` makes; the folder that the server was started in is looked at too."""
    module_name, _, function_name = factory.partition(":")
    if not module_name or not function_name:
        raise ModelError(f"factory {factory!r}: expected package.module:function")
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    try:
        made: Any = importlib.import_module(module_name)
        for part in function_name.split("."):
            made = getattr(made, part)
        made = made()
    except (ImportError, AttributeError) as error:
        raise ModelError(f"factory {factory!r}: {error}") from error
    if not isinstance(made, nn.Module):
        raise ModelError(f"factory {factory!r}: it made a {type(made).__name__}, not a torch.nn.Module")
    return made


def _module(path: Path, config: ModelConfig, state: Any) -> Loaded:
    if config.factory is None:
        raise ModelError(
            f"{path.name} holds weights: --factory package.module:function (or config.json) must say what makes the module that they are for"
        )
    if not isinstance(state, dict) or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise ModelError(f"{path.name}: expected a state dict, tensors by name (torch.save(model.state_dict(), path))")
    module = make_module(config.factory)
    try:
        module.load_state_dict(state, assign=config.mmap)
    except RuntimeError as error:
        raise ModelError(f"{path.name}: {error}") from error
    module.eval()
    return Loaded(module, tuple(TensorSpec(name) for name in _parameter_names(module.forward)))


def _parameter_names(function: Callable) -> list[str]:
    """The arguments that must be given."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in inspect.signature(function).parameters.values() if p.kind in kinds and p.default is p.empty]


def _specs_of(program: Any) -> tuple[TensorSpec, ...]:
    """An exported program's arguments: names, and sizes; dims that were said to be dynamic are -1."""
    recipe = program._recipe
    return tuple(
        TensorSpec(name, None, tuple(n if isinstance(n, int) else -1 for n in recipe.fixed[name])) for name in recipe.leaves if name in recipe.fixed
    )  # fmt: skip

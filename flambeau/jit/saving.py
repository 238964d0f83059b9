"""Archives that flambeau writes: a tree of modules with their state, and the code of what was traced or scripted."""

from __future__ import annotations

import io
import json
from typing import IO, Any

from flambeau.jit.modules import RecursiveScriptModule, ScriptFunction
from flambeau.jit.scripting import Script, is_builtin, methods_of
from flambeau.nn.modules.module import Module
from flambeau.serialization.archive import ArchiveWriter
from flambeau.serialization.files import OnlyWritten, file_path, replacing
from flambeau.serialization.pickler import CheckpointPickler
from flambeau.tensor import Tensor

__all__ = ["save"]

PLAIN = (bool, int, float, complex, str, type(None))


def save(m: Any, f: Any, _extra_files: dict[str, Any] | None = None) -> None:
    """Writes a traced, scripted or loaded module or function to ``f``, a path or a file."""
    if getattr(m, "_scripted", False):
        data, constants = scripted(m), []
    elif isinstance(m, (RecursiveScriptModule, ScriptFunction)):
        data, constants = m._written or traced(m), m._constants
    else:
        raise AttributeError(
            f"torch.jit.save: {type(m).__name__} is no ScriptModule or ScriptFunction; use torch.jit.trace or torch.jit.script first"
        )
    path = file_path(f)
    if path is None:
        _write(OnlyWritten(f), data, constants, _extra_files or {})  # type: ignore[arg-type]
    else:
        with replacing(path) as file:
            _write(file, data, constants, _extra_files or {})


def traced(m: Any) -> dict[str, Any]:
    """What is written of a trace."""
    code = (
        {name: method.source for name, method in m._methods.items()}
        if isinstance(m, RecursiveScriptModule)
        else {"forward": m.code}
    )
    if isinstance(m, RecursiveScriptModule) and m._full_name.startswith("__torch__."):
        raise RuntimeError("a module of an archive that PyTorch wrote is not written again: keep that file")
    return (
        tree_of(m, code)
        if isinstance(m, RecursiveScriptModule)
        else {"name": m.__name__, "code": code, "function": True, "functions": {}}
    )


def scripted(m: Any) -> dict[str, Any]:
    """What is written of a scripted module or function: the code of all its modules."""
    script = Script()
    if isinstance(m, Module):
        tree = script_tree(m, script)
    else:
        original = m.__wrapped__ if hasattr(m, "__wrapped__") else m
        tree = {"name": original.__name__, "code": {"forward": script.code(original, "forward")}, "function": True}
    return {**tree, "functions": script.functions}


def script_tree(module: Module, script: Script) -> dict[str, Any]:
    """A module with the code of its methods, or the name of its class where that is one of ``torch.nn``."""
    original = getattr(module, "_original_class", None)
    layer = is_builtin(module)
    code = {} if layer else methods_of(module, script)
    tree = tree_of(module, code, layer)
    tree["name"] = (original or type(module)).__name__
    tree["layer"] = layer
    tree["modules"] = {k: script_tree(v, script) if v is not None else None for k, v in module._modules.items()}
    return tree


def tree_of(module: Any, code: dict[str, str], layer: bool = False) -> dict[str, Any]:
    """A module as plain values: its name, code, parameters, buffers, other tensors and values, and submodules."""
    state = {k: v for k, v in module.__dict__.items() if k not in MACHINERY}
    values = {k: v for k, v in state.items() if (layer or not k.startswith("_")) and is_plain(v)}
    functions = {k: v.op.name for k, v in state.items() if hasattr(getattr(v, "op", None), "name")}
    return {
        "name": module.original_name if isinstance(module, RecursiveScriptModule) else type(module).__name__, "parameters": dict(module._parameters),
        "buffers": dict(module._buffers), "transient": sorted(module._non_persistent_buffers_set), "training": module.training,
        "tensors": {k: v for k, v in state.items() if isinstance(v, Tensor)}, "values": values, "operators": functions, "layer": False, "functions": {},
        "modules": {k: tree_of(v, {}) if v is not None else None for k, v in module._modules.items()}, "code": code,
    }  # fmt: skip


MACHINERY = frozenset(vars(Module()))
"""What every module has to be one."""


def is_plain(value: Any) -> bool:
    """Whether a value is of numbers, strings and nests of them."""
    if type(value) in (list, tuple):
        return all(is_plain(v) for v in value)
    if type(value) is dict:
        return all(is_plain(k) and is_plain(v) for k, v in value.items())
    return type(value) in PLAIN


def _write(file: IO[bytes], data: dict[str, Any], constants: list[Tensor], extra: dict[str, Any]) -> None:
    archive = ArchiveWriter(file)
    try:
        for name, value in (("data", data), ("constants", tuple(constants))):
            stream = io.BytesIO()
            pickler = CheckpointPickler(stream, 2, True)
            pickler.dump(value)
            archive.write(f"{name}.pkl", stream.getbuffer())
            for ref in pickler.storages:
                archive.write(f"{name}/{ref.key}", ref.bytes().data)
        for name, text in extra.items():
            archive.write(f"extra/{name}", text.encode() if isinstance(text, str) else text)
        archive.write("flambeau.json", json.dumps({"format": 1}).encode())
        archive.close()
    except BaseException:
        archive.abandon()
        raise

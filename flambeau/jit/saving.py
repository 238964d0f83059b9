"""Archives that flambeau writes: a tree of modules with their state, and the code of what was traced or scripted."""

from __future__ import annotations

import io
import json
from typing import IO, Any

from flambeau.jit.modules import RecursiveScriptModule, ScriptFunction
from flambeau.serialization.archive import ArchiveWriter
from flambeau.serialization.files import OnlyWritten, file_path, replacing
from flambeau.serialization.pickler import CheckpointPickler
from flambeau.tensor import Tensor

__all__ = ["save"]

PLAIN = (bool, int, float, complex, str, type(None))


def save(m: Any, f: Any, _extra_files: dict[str, Any] | None = None) -> None:
    """Writes a traced or loaded module or function to ``f``, a path or a file."""
    if not isinstance(m, (RecursiveScriptModule, ScriptFunction)):
        raise AttributeError(f"torch.jit.save: {type(m).__name__} is no ScriptModule or ScriptFunction; use torch.jit.trace or torch.jit.script first")
    source = m._source()
    path = file_path(f)
    if path is None:
        _write(OnlyWritten(f), m, source, _extra_files or {})
    else:
        with replacing(path) as file:
            _write(file, m, source, _extra_files or {})


def tree_of(module: Any, code: dict[str, str]) -> dict[str, Any]:
    """A module as plain values: its name, code, parameters, buffers, other tensors and values, and submodules."""
    tensors = {k: v for k, v in module.__dict__.items() if isinstance(v, Tensor)}
    values = {k: v for k, v in module.__dict__.items() if not k.startswith("_") and is_plain(v)}
    return {
        "name": module.original_name if isinstance(module, RecursiveScriptModule) else type(module).__name__,
        "parameters": dict(module._parameters), "buffers": dict(module._buffers), "transient": sorted(module._non_persistent_buffers_set),
        "tensors": tensors, "values": values, "modules": {k: tree_of(v, {}) if v is not None else None for k, v in module._modules.items()}, "code": code,
    }  # fmt: skip


def is_plain(value: Any) -> bool:
    """Whether a value is of numbers, strings and nests of them."""
    if type(value) in (list, tuple):
        return all(is_plain(v) for v in value)
    if type(value) is dict:
        return all(is_plain(k) and is_plain(v) for k, v in value.items())
    return type(value) in PLAIN


def _write(file: IO[bytes], m: Any, source: tuple[dict[str, str], list[Tensor]], extra: dict[str, Any]) -> None:
    code, constants = source
    tree = tree_of(m, code) if isinstance(m, RecursiveScriptModule) else {"name": m.__name__, "code": code, "function": True}
    archive = ArchiveWriter(file)
    try:
        for name, value in (("data", tree), ("constants", tuple(constants))):
            stream = io.BytesIO()
            pickler = CheckpointPickler(stream, 2, True)
            pickler.dump(value)
            archive.write(f"{name}.pkl", stream.getbuffer())
            for ref in pickler.storages:
                archive.write(f"{name}/{ref.key}", ref.bytes().data)
        for name, data in extra.items():
            archive.write(f"extra/{name}", data.encode() if isinstance(data, str) else data)
        archive.write("flambeau.json", json.dumps({"format": 1}).encode())
        archive.close()
    except BaseException:
        archive.abandon()
        raise



"""Weights in several files of safetensors, with an index that says which tensor is in which."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import flambeau as torch
from flambeau.core.progress import bar
from flambeau.serialization.files import replacing
from flambeau.weights.safe import load_file, save_file

NAME = "model"
_UNITS = {"KB": 10**3, "MB": 10**6, "GB": 10**9, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30}


def save_sharded(
    tensors: Mapping[str, torch.Tensor], folder: str | os.PathLike[str], max_shard_size: int | str = "5GB"
) -> list[str]:
    """Writes tensors to ``model-00001-of-0000N.safetensors`` and so on, each of at most ``max_shard_size`` bytes, and an index.

    What fits into one file is ``model.safetensors``, without an index. A tensor larger than that has a file of its own. The index
    is written last, so that whoever finds it finds the files that it names. Returns the names of the files.

    >>> import flambeau as torch, tempfile
    >>> save_sharded({"a": torch.ones(100), "b": torch.ones(100)}, tempfile.mkdtemp(), max_shard_size=500)
    ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
    """
    limit = _bytes(max_shard_size)
    shards: list[dict[str, torch.Tensor]] = [{}]
    size = 0
    for name, t in tensors.items():
        if shards[-1] and size + t.nbytes > limit:
            shards.append({})
            size = 0
        shards[-1][name] = t
        size += t.nbytes
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    files = (
        [f"{NAME}-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
        if len(shards) > 1
        else [f"{NAME}.safetensors"]
    )
    for file, shard in bar(list(zip(files, shards, strict=True)), "files of weights"):
        save_file(shard, place / file, metadata={"format": "pt"})
    index = place / f"{NAME}.safetensors.index.json"
    if len(shards) == 1:
        index.unlink(missing_ok=True)
        return files
    document = {
        "metadata": {"total_size": sum(t.nbytes for t in tensors.values())},
        "weight_map": {name: file for file, shard in zip(files, shards, strict=True) for name in shard},
    }
    with replacing(os.fspath(index)) as out:
        out.write(json.dumps(document, indent=2).encode())
    return files


def load_sharded(folder: str | os.PathLike[str]) -> dict[str, torch.Tensor]:
    """The tensors that :func:`save_sharded`, or another program, wrote to a folder.

    Raises:
        FileNotFoundError: there is neither an index nor ``model.safetensors``, or a file that the index names is missing.
        RuntimeError: the index names a file outside of the folder, or a tensor that is not where it should be.
    """
    place = Path(folder)
    index = place / f"{NAME}.safetensors.index.json"
    if not index.exists():
        return load_file(place / f"{NAME}.safetensors")
    where: dict[str, str] = json.loads(index.read_text())["weight_map"]
    files: dict[str, dict[str, torch.Tensor]] = {}
    for file in bar(sorted(set(where.values())), "files of weights"):
        if os.path.basename(file) != file:
            raise RuntimeError(f"{index}: {file!r} is not the name of a file beside it")
        files[file] = load_file(place / file)
    for name, file in where.items():
        if name not in files[file]:
            raise RuntimeError(f"{index}: {name!r} should be in {file}, but is not")
    return {name: files[file][name] for name, file in where.items()}


def _bytes(size: int | str) -> int:
    """A number of bytes, or one with a unit."""
    if isinstance(size, int):
        return size
    text = size.upper().strip()
    for unit, factor in _UNITS.items():
        if text.endswith(unit):
            try:
                return int(float(text.removesuffix(unit)) * factor)
            except ValueError:
                break
    raise ValueError(f"expected a size such as 500MB or 5GB, got {size!r}")

"""States that several processes save together and load into another number of processes.

Each process writes the parts that it has, each part once. Loading reads those parts that overlap with what the process wants to
have. All processes see the same folder. Source: https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
"""

from __future__ import annotations

import os
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from flambeau.autograd import no_grad
from flambeau.checkpoint.sharded.format import VERSION as CURRENT
from flambeau.checkpoint.sharded.format import (
    BytesStorageMetadata,
    CheckpointException,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    StorageInfo,
    StorageMeta,
    TensorProperties,
    TensorStorageMetadata,
    read_item,
    read_metadata,
    write_items,
    write_metadata,
)
from flambeau.checkpoint.sharded.nests import flattened, put
from flambeau.core.size import Size
from flambeau.distributed._group import ProcessGroup, is_initialized, member
from flambeau.distributed._objects import all_gather_object
from flambeau.distributed.tensor.dtensor import DTensor
from flambeau.distributed.tensor.redistribution import place_of
from flambeau.tensor import Tensor

__all__ = [
    "DefaultLoadPlanner",
    "DefaultSavePlanner",
    "FileSystemReader",
    "FileSystemWriter",
    "Stateful",
    "dcp_to_torch_save",
    "load",
    "save",
    "torch_save_to_dcp",
]


@runtime_checkable
class Stateful(Protocol):
    """What has a state: an object in a state that is saved or loaded."""

    def state_dict(self) -> dict[str, Any]:
        """Its state."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes a state."""


class _Folder:
    def __init__(self, path: str | os.PathLike, *args: Any, **settings: Any) -> None:
        self.path = Path(path)


class FileSystemWriter(_Folder):
    """Writes into a folder. How many files and threads there are is not chosen: each process writes one file."""


class FileSystemReader(_Folder):
    """Reads from a folder."""

    def read_metadata(self) -> Metadata:
        """The description of the checkpoint in it."""
        return read_metadata(self.path)


class DefaultSavePlanner:
    """Each part is written by one process that has it."""


class DefaultLoadPlanner:
    """Everything is loaded that the state has; with ``allow_partial_load`` what is not in the checkpoint stays as it is."""

    def __init__(
        self, flatten_state_dict: bool = True, flatten_sharded_tensors: bool = True, allow_partial_load: bool = False
    ) -> None:
        self.allow_partial_load = allow_partial_load


def _folder(checkpoint_id: Any, given: Any, kind: type[Any]) -> Path:
    if given is not None and not isinstance(given, kind):
        raise NotImplementedError(f"checkpoints lie in folders: give a {kind.__name__}, not {type(given).__name__}")
    if given is not None:
        return Path(given.path)
    if checkpoint_id is None:
        raise RuntimeError("`checkpoint_id` must be specified if storage_reader and storage_writer are None.")
    return Path(checkpoint_id)


class _Together:
    """The processes that save or load; one alone where there is no group."""

    def __init__(self, group: ProcessGroup | None, alone: bool) -> None:
        self._group = None if alone or not is_initialized() else member(group)
        if self._group is None and not alone:
            warnings.warn(
                "torch.distributed is disabled, unavailable or uninitialized, assuming the intent is to save in a single process.",
                stacklevel=4,
            )
        self.rank, self.size = (0, 1) if self._group is None else (self._group.rank(), self._group.size())

    def gathered(self, obj: Any) -> list[Any]:
        """The objects of all."""
        if self._group is None:
            return [obj]
        objects: list[Any] = [None] * self.size
        all_gather_object(objects, obj, self._group)
        return objects

    def run(self, what: str, work: Callable[[], Any]) -> list[Any]:
        """What ``work`` gives in all processes. If it fails in one it fails in all.

        Raises:
            CheckpointException: with what went wrong where.
        """
        result, error = None, None
        try:
            result = work()
        except Exception as wrong:
            error = wrong
        answers = self.gathered((result, None if error is None else f"{type(error).__name__}: {error}"))
        failures = {rank: text for rank, (_, text) in enumerate(answers) if text is not None}
        if failures:
            raise CheckpointException(f"{what} has failed", failures) from error
        return [answer for answer, _ in answers]


def _whole_state(state_dict: dict[str, Any]) -> dict[str, Any]:
    """The state with objects replaced by theirs."""
    return {name: value.state_dict() if _has_state(value) else value for name, value in state_dict.items()}


def _has_state(value: Any) -> bool:
    return not isinstance(value, (dict, Tensor)) and isinstance(value, Stateful)


def _place(t: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape and beginning of what this process has of a tensor."""
    if isinstance(t, DTensor):
        return place_of(t.shape, t.device_mesh, t.placements)
    return tuple(t.shape), (0,) * t.dim()


def _own(t: Tensor) -> Tensor:
    return (t.to_local() if isinstance(t, DTensor) else t).detach()


def save(
    state_dict: dict[str, Any], *, checkpoint_id: str | os.PathLike | None = None, storage_writer: Any = None, planner: Any = None,
    process_group: ProcessGroup | None = None, no_dist: bool = False, use_collectives: bool = True,
) -> Metadata:  # fmt: skip
    """Saves a state: nested dicts and lists of tensors, DTensors and other values, and objects with a ``state_dict``.

    All processes of the group call this. The checkpoint is there once it has returned; before, the folder has no ``.metadata``.

    >>> import tempfile
    >>> import flambeau as torch
    >>> from flambeau.distributed import checkpoint
    >>> folder = tempfile.mkdtemp()
    >>> _ = checkpoint.save({"model": {"w": torch.ones(2)}, "step": 3}, checkpoint_id=folder, no_dist=True)
    >>> state = {"model": {"w": torch.zeros(2)}, "step": 0}
    >>> checkpoint.load(state, checkpoint_id=folder, no_dist=True)
    >>> state
    {'model': {'w': tensor([1., 1.])}, 'step': 3}

    Raises:
        CheckpointException: in all processes, if something goes wrong in one.
    """
    if planner is not None and not isinstance(planner, DefaultSavePlanner):
        raise NotImplementedError("checkpoint.save: planners of one's own are not there yet")
    folder = _folder(checkpoint_id, storage_writer, FileSystemWriter)
    together = _Together(process_group, no_dist)
    values, paths = flattened(_whole_state(state_dict))

    def offers() -> list[tuple[str, Any, int, tuple[int, ...] | None]]:
        folder.mkdir(parents=True, exist_ok=True)
        parts: list[tuple[str, Any, int, tuple[int, ...] | None]] = []
        for name, value in values.items():
            if isinstance(value, Tensor):
                sizes, begins = _place(value)
                if 0 not in sizes or 0 in value.shape:  # a part without elements is nobody's
                    size = value.element_size() * Size(sizes).numel()
                    parts.append((name, begins, size, (sizes, tuple(value.shape), value.dtype)))  # type: ignore[arg-type]
            else:
                parts.append((name, None, 0, None))
        return parts

    everywhere = together.run("checkpoint.save: planning", offers)
    writers = _writers(everywhere)
    mine = [key for key, rank in writers.items() if rank == together.rank]
    file = f"__{together.rank}_0.distcp"

    def write() -> dict[tuple, StorageInfo]:
        if not mine:
            return {}
        chosen = (_own(v).clone() if isinstance(v := values[name], Tensor) else v for name, _ in mine)
        return dict(zip(mine, write_items(folder, file, chosen), strict=True))

    places = {key: place for part in together.run("checkpoint.save: writing", write) for key, place in part.items()}
    all_paths = {name: path for part in together.gathered(paths) for name, path in part.items()}
    metadata = _metadata(everywhere, places, all_paths, folder)
    together.run(
        "checkpoint.save: writing the description", lambda: write_metadata(folder, metadata) if together.rank == 0 else None
    )
    return metadata


def _writers(everywhere: list[list[tuple]]) -> dict[tuple, int]:
    """Which process writes each part: of those that have it the one with fewest bytes so far."""
    owners: dict[tuple, tuple[int, list[int]]] = {}
    for rank, parts in enumerate(everywhere):
        for name, begins, size, _ in parts:
            owners.setdefault((name, begins), (size, []))[1].append(rank)
    loads, writers = [0] * len(everywhere), {}
    for key, (size, ranks) in owners.items():
        rank = min(ranks, key=lambda r: loads[r])
        writers[key] = rank
        loads[rank] += size
    return writers


def _metadata(everywhere: list[list[tuple]], places: dict[tuple, StorageInfo], paths: dict[str, tuple], folder: Path) -> Metadata:
    described: dict[str, Any] = {}
    stored: dict[MetadataIndex, StorageInfo] = {}
    for parts in everywhere:
        for name, begins, _, tensor in parts:
            place = places.pop((name, begins), None)
            if place is None:
                continue
            if tensor is None:
                described[name] = BytesStorageMetadata()
                stored[MetadataIndex(name)] = place
                continue
            sizes, shape, dtype = tensor
            entry = described.setdefault(name, TensorStorageMetadata(TensorProperties(dtype), Size(shape), []))
            stored[MetadataIndex(name, Size(begins), len(entry.chunks))] = place
            entry.chunks.append(ChunkStorageMetadata(Size(begins), Size(sizes)))
    return Metadata(described, paths, stored, StorageMeta(str(folder), str(uuid.uuid4())), CURRENT)


def load(
    state_dict: dict[str, Any], *, checkpoint_id: str | os.PathLike | None = None, storage_reader: Any = None, planner: Any = None,
    process_group: ProcessGroup | None = None, no_dist: bool = False,
) -> None:  # fmt: skip
    """Loads into a state, in place: tensors get new values, each process its part of DTensors; other values are replaced, and
    objects with a ``load_state_dict`` get theirs. The state says what is loaded; it may lie on other processes than when it was
    saved.

    Raises:
        CheckpointException: in all processes, if something goes wrong in one: there is no checkpoint, it lacks something, or
            tensors have other shapes.
    """
    if planner is not None and not isinstance(planner, DefaultLoadPlanner):
        raise NotImplementedError("checkpoint.load: planners of one's own are not there yet")
    folder = _folder(checkpoint_id, storage_reader, FileSystemReader)
    together = _Together(process_group, no_dist)
    partial = planner is not None and planner.allow_partial_load
    whole = _whole_state(state_dict)
    together.run("checkpoint.load", lambda: _read_into(whole, folder, partial))
    for name, value in state_dict.items():
        if _has_state(value):
            value.load_state_dict(whole[name])
        else:
            state_dict[name] = whole[name]


def _read_into(state: dict[str, Any], folder: Path, partial: bool) -> None:
    metadata = read_metadata(folder)
    values, paths = flattened(state)
    missing = [name for name in values if name not in metadata.state_dict_metadata]
    if missing and not partial:
        raise RuntimeError(f"Missing key in checkpoint state_dict: {', '.join(missing)}.")
    for name, value in values.items():
        described = metadata.state_dict_metadata.get(name)
        if described is None:
            continue
        if not isinstance(described, TensorStorageMetadata):
            put(state, paths[name], read_item(folder, metadata.storage_data[MetadataIndex(name)]))
        elif isinstance(value, Tensor):
            _read_tensor(value, name, described, metadata, folder)
        else:
            raise ValueError(f"{name} is a tensor in the checkpoint, and a {type(value).__name__} in the state")


def _read_tensor(t: Tensor, name: str, described: TensorStorageMetadata, metadata: Metadata, folder: Path) -> None:
    """Writes those parts of a saved tensor into ``t`` that this process has."""
    if tuple(described.size) != tuple(t.shape):
        raise ValueError(f"Size mismatch between saved {described.size} and current: {t.shape} for {name}")
    sizes, begins = _place(t)
    into = _own(t)
    for number, chunk in enumerate(described.chunks):
        first = [max(a, b) for a, b in zip(begins, chunk.offsets, strict=True)]
        last = [min(a + n, b + m) for a, n, b, m in zip(begins, sizes, chunk.offsets, chunk.sizes, strict=True)]
        if any(a >= b for a, b in zip(first, last, strict=True)):
            continue
        part = read_item(folder, metadata.storage_data[MetadataIndex(name, Size(chunk.offsets), number)])
        target = into
        for dim, (a, b) in enumerate(zip(first, last, strict=True)):
            part = part.narrow(dim, a - chunk.offsets[dim], b - a)
            target = target.narrow(dim, a - begins[dim], b - a)
        with no_grad():
            target.copy_(part)


def dcp_to_torch_save(dcp_checkpoint_dir: str | os.PathLike, torch_save_path: str | os.PathLike) -> None:
    """Makes one file of ``torch.save`` of a checkpoint, in one process."""
    from flambeau import ops, serialization

    folder = Path(dcp_checkpoint_dir)
    metadata = read_metadata(folder)
    state: dict[str, Any] = {}
    for name, described in metadata.state_dict_metadata.items():
        if isinstance(described, TensorStorageMetadata):
            value = ops.empty(tuple(described.size), dtype=described.properties.dtype)
            _read_tensor(value, name, described, metadata, folder)
        else:
            value = read_item(folder, metadata.storage_data[MetadataIndex(name)])
        _put_new(state, (metadata.planner_data or {}).get(name, (name,)), value)
    serialization.save(_lists(state), torch_save_path)


class _Row(dict):
    """A list that is being made."""


def _put_new(state: dict, path: tuple, value: Any) -> None:
    for key, after in zip(path[:-1], path[1:], strict=True):
        state = state.setdefault(key, _Row() if isinstance(after, int) and not isinstance(after, bool) else {})
    state[path[-1]] = value


def _lists(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    members = {key: _lists(member) for key, member in value.items()}
    if isinstance(value, _Row) and sorted(members) == list(range(len(members))):
        return [members[i] for i in range(len(members))]
    return members


def torch_save_to_dcp(torch_save_path: str | os.PathLike, dcp_checkpoint_dir: str | os.PathLike) -> None:
    """Makes a checkpoint of a file of ``torch.save``, in one process."""
    from flambeau import serialization

    save(serialization.load(torch_save_path), checkpoint_id=dcp_checkpoint_dir, no_dist=True)

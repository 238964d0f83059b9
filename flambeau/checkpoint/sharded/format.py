"""The folder of a checkpoint: files with the parts of tensors, and ``.metadata``, which says where they are. It is PyTorch's.

``.metadata`` is a pickle of a few classes, which are read by a table of names that allows nothing else. ``__0_0.distcp`` and its
like hold files of ``torch.save`` one after the other, one for each part.

Source: https://docs.pytorch.org/docs/stable/distributed.checkpoint.html
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from types import FunctionType
from typing import Any

from flambeau import serialization
from flambeau.core import dtypes
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.size import Size
from flambeau.serialization.files import replacing

__all__ = [
    "BytesStorageMetadata", "CheckpointException", "ChunkStorageMetadata", "Metadata", "MetadataIndex", "StorageInfo", "StorageMeta",
    "TensorProperties", "TensorStorageMetadata", "read_item", "read_metadata", "write_items", "write_metadata",
]  # fmt: skip

METADATA, VERSION = ".metadata", "1.0.0"


class CheckpointException(RuntimeError):
    """Saving or loading has failed in some processes; ``failures`` says in which, and how."""

    def __init__(self, message: str, failures: dict[int, str] | None = None) -> None:
        self.failures = failures or {}
        super().__init__(message + "".join(f"\nrank {rank}: {text}" for rank, text in self.failures.items()))


@dataclass
class ChunkStorageMetadata:
    """A part of a tensor: where it begins, and its shape."""

    offsets: Size
    sizes: Size


class MemoryFormat(Enum):
    """The order in memory, as a number in the file."""

    TORCH_CONTIGUOUS_FORMAT = 0
    TORCH_CHANNELS_LAST = 1
    TORCH_PRESERVE_FORMAT = 2


class _Strided:
    """The layout of dense tensors, in the file."""


def _get_layout(name: str) -> type:
    return _Strided


@dataclass
class TensorProperties:
    """What a tensor is beside its shape. All but the dtype is there for older versions of PyTorch."""

    dtype: Dtype

    def __getstate__(self) -> tuple:
        return self.dtype, _Strided, False, MemoryFormat.TORCH_CONTIGUOUS_FORMAT, False

    def __setstate__(self, state: tuple) -> None:
        self.dtype = state[0]


@dataclass
class TensorStorageMetadata:
    """A tensor, and the parts that make it up."""

    properties: TensorProperties
    size: Size
    chunks: list[ChunkStorageMetadata]


@dataclass
class BytesStorageMetadata:
    """Something that is no tensor."""


@dataclass
class StorageMeta:
    """By whom the checkpoint was written."""

    checkpoint_id: Any = None
    save_id: str | None = None
    load_id: str | None = None
    modules: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class MetadataIndex:
    """What is looked for: a name, and where a part of a tensor begins."""

    fqn: str
    offset: Size | None = None
    index: int | None = field(hash=False, compare=False, default=None)


@dataclass
class StorageInfo:
    """Where something stands: a file, and a range of bytes."""

    relative_path: str
    offset: int
    length: int
    transform_descriptors: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if value is not None}


@dataclass
class Metadata:
    """What is in a checkpoint: by name, in ``planner_data`` the path to it in nested dicts, in ``storage_data`` where it stands."""

    state_dict_metadata: dict[str, Any]
    planner_data: Any = None
    storage_data: Any = None
    storage_meta: StorageMeta | None = None
    version: str | None = None


# --- the pickle --------------------------------------------------------------------------------------------------

_META = "torch.distributed.checkpoint.metadata"
_NAMES: dict[Any, tuple[str, str]] = {
    **{
        cls: (_META, cls.__name__)
        for cls in (
            ChunkStorageMetadata,
            TensorProperties,
            TensorStorageMetadata,
            BytesStorageMetadata,
            StorageMeta,
            MetadataIndex,
            Metadata,
        )
    },
    MemoryFormat: (_META, "_MEM_FORMAT_ENCODING"),
    StorageInfo: ("torch.distributed.checkpoint.filesystem", "_StorageInfo"),
    Size: ("torch", "Size"),
    _get_layout: ("torch.serialization", "_get_layout"),
}


_PythonPickler: Any = pickle._Pickler  # type: ignore[attr-defined]  # the one in Python, which lets names be chosen


class _Pickler(_PythonPickler):
    def save_global(self, obj: Any, name: str | None = None) -> None:
        place = ("torch", str(obj).removeprefix("torch.")) if isinstance(obj, Dtype) else _NAMES.get(obj)
        if place is None:
            super().save_global(obj, name)
            return
        self.save(place[0])
        self.save(place[1])
        self.write(pickle.STACK_GLOBAL)
        self.memoize(obj)

    dispatch = {**pickle._Pickler.dispatch, FunctionType: save_global}  # type: ignore[attr-defined,dict-item]

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, Dtype):
            return str(obj)
        if isinstance(obj, Size):
            return Size, (tuple(obj),)
        if obj is _Strided:
            return _get_layout, ("torch.strided",)
        if isinstance(obj, MemoryFormat):
            return getattr, (MemoryFormat, obj.name)
        return NotImplemented


def _member(cls: Any, name: str) -> Any:
    """``getattr``, as pickles use it for members of enumerations."""
    if cls is not MemoryFormat:
        raise pickle.UnpicklingError(f"getattr of {cls!r}")
    return MemoryFormat[name]


_KNOWN: dict[tuple[str, str], Any] = {place: obj for obj, place in _NAMES.items()} | {("builtins", "getattr"): _member}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        found = _KNOWN.get((module, name))
        if found is not None:
            return found
        if module == "torch" and isinstance(dtype := getattr(dtypes, name, None), Dtype):
            return dtype
        if module.partition(".")[0] == "pathlib":
            return _joined
        if (module, name) == ("collections", "OrderedDict"):
            return dict
        raise pickle.UnpicklingError(f"{module}.{name} is nothing that the description of a checkpoint has")


def _joined(*parts: str) -> str:
    return os.path.join(*parts)


def write_metadata(folder: Path, metadata: Metadata) -> None:
    """Writes the description, whole or not at all: a folder with one holds a whole checkpoint."""
    with replacing(str(folder / METADATA)) as file:
        _Pickler(file, 4).dump(metadata)


def read_metadata(folder: Path) -> Metadata:
    """The description of a checkpoint.

    Raises:
        CheckpointException: there is none, or it is nothing that describes a checkpoint.
    """
    try:
        with open(folder / METADATA, "rb") as file:
            metadata = _Unpickler(file).load()
    except FileNotFoundError:
        raise CheckpointException(
            f"{folder} holds no checkpoint: there is no file {METADATA} in it, which is written last"
        ) from None
    except (pickle.UnpicklingError, EOFError, AttributeError, ValueError, TypeError) as error:
        raise CheckpointException(f"{folder / METADATA} does not describe a checkpoint: {error}") from error
    if not isinstance(metadata, Metadata):
        raise CheckpointException(f"{folder / METADATA} does not describe a checkpoint, it holds a {type(metadata).__name__}")
    return metadata


# --- the parts ---------------------------------------------------------------------------------------------------


def write_items(folder: Path, name: str, values: Iterable[Any]) -> list[StorageInfo]:
    """Writes values into one file; gives where each stands."""
    places: list[StorageInfo] = []
    offset = 0
    with replacing(str(folder / name)) as file:
        for value in values:
            part = io.BytesIO()
            serialization.save(value, part)
            length = file.write(part.getbuffer())
            places.append(StorageInfo(name, offset, length))
            offset += length
    return places


def read_item(folder: Path, place: StorageInfo) -> Any:
    """What stands at a place."""
    if place.transform_descriptors:
        raise CheckpointException(f"{place.relative_path} is compressed ({place.transform_descriptors}), which is not there yet")
    if os.path.isabs(place.relative_path) or ".." in Path(place.relative_path).parts:
        raise CheckpointException(f"{place.relative_path!r} is outside of the folder of the checkpoint")
    with open(folder / place.relative_path, "rb") as file:
        file.seek(place.offset)
        data = file.read(place.length)
    if len(data) != place.length:
        raise CheckpointException(
            f"{folder / place.relative_path} is too short: bytes {place.offset} to {place.offset + place.length} are not all there"
        )
    return serialization.load(io.BytesIO(data))

"""Files of safetensors: a header in JSON, and the bytes of each tensor, which are mapped into memory rather than read.

The package ``safetensors`` writes them, and checks them before anything is read.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np

import flambeau as torch
from flambeau.core import dtypes
from flambeau.serialization.files import replacing
from flambeau.tensor.storage import Storage
from flambeau.tensor.storages import UntypedStorage

Tensor = torch.Tensor

KINDS: dict[str, dtypes.dtype] = {
    "BOOL": dtypes.bool, "U8": dtypes.uint8, "I8": dtypes.int8, "U16": dtypes.uint16, "I16": dtypes.int16, "U32": dtypes.uint32,
    "I32": dtypes.int32, "U64": dtypes.uint64, "I64": dtypes.int64, "F16": dtypes.float16, "BF16": dtypes.bfloat16, "F32": dtypes.float32,
    "F64": dtypes.float64, "C64": dtypes.complex64, "F8_E4M3": dtypes.float8_e4m3fn, "F8_E5M2": dtypes.float8_e5m2,
    "F8_E4M3FNUZ": dtypes.float8_e4m3fnuz, "F8_E5M2FNUZ": dtypes.float8_e5m2fnuz,
}  # fmt: skip
"""What the format calls dtypes."""


def save(tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """Tensors by name as the content of a file.

    Raises:
        RuntimeError: two tensors share memory, as tied weights do: loaded again they would be two. Leave one of the names out.
    """
    from safetensors import TensorSpec, serialize

    held = {name: t.detach().contiguous() for name, t in tensors.items()}
    _refuse_shared(held)
    specs = {
        name: TensorSpec(dtype=t.dtype.name, shape=list(t.shape), data_ptr=t.data_ptr(), data_len=t.nbytes)
        for name, t in held.items()
    }
    return bytes(serialize(specs, metadata=metadata))


def save_file(tensors: Mapping[str, Tensor], filename: str | os.PathLike[str], metadata: dict[str, str] | None = None) -> None:
    """Writes tensors by name to a file, whole or not at all; see :func:`save`."""
    content = save(tensors, metadata)
    with replacing(os.fspath(filename)) as file:
        file.write(content)


def load(data: bytes) -> dict[str, Tensor]:
    """The tensors in the content of a file."""
    from safetensors import deserialize

    deserialize(data)  # checks it
    return dict(_tensors(bytearray(data)))


def load_file(filename: str | os.PathLike[str], device: str = "cpu") -> dict[str, Tensor]:
    """The tensors of a file. They are mapped: what is not read takes no memory, and writes to them do not change the file."""
    with safe_open(filename) as f:
        return {name: f.get_tensor(name).to(device) for name in f.keys()}


class Slice:
    """A tensor of a file of which parts are looked up: only these are read."""

    def __init__(self, tensor: Tensor, kind: str) -> None:
        self._tensor, self._kind = tensor, kind

    def get_shape(self) -> list[int]:
        return list(self._tensor.shape)

    def get_dtype(self) -> str:
        """As the format calls it: ``"F32"``."""
        return self._kind

    def __getitem__(self, index: Any) -> Tensor:
        return self._tensor[index].clone()


class SafeFile:
    """A file that is open; what :func:`safe_open` returns.

    Raises:
        safetensors.SafetensorError: it is not such a file, or is damaged.
    """

    def __init__(self, filename: str | os.PathLike[str]) -> None:
        import safetensors

        path = os.fspath(filename)
        with safetensors.safe_open(path, "np") as checked:
            self._metadata: dict[str, str] | None = checked.metadata()
        with open(path, "rb") as file:
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        self._found = dict(_tensors(data))
        self._kinds = {name: next(kind for kind, dtype in KINDS.items() if dtype is t.dtype) for name, t in self._found.items()}

    def keys(self) -> list[str]:
        """The names of the tensors."""
        return sorted(self._found)

    def metadata(self) -> dict[str, str] | None:
        return self._metadata

    def get_tensor(self, name: str) -> Tensor:
        """A tensor, mapped."""
        if name not in self._found:
            raise KeyError(f"the file has no tensor {name!r}")
        return self._found[name]

    def get_slice(self, name: str) -> Slice:
        return Slice(self.get_tensor(name), self._kinds[name])

    def __enter__(self) -> SafeFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._found = {}


def safe_open(filename: str | os.PathLike[str], framework: str = "pt", device: str = "cpu") -> SafeFile:
    """Opens a file to look at its tensors one by one; its arguments are those of ``safetensors.safe_open``."""
    if framework not in ("pt", "torch", "pytorch") or str(device) != "cpu":
        raise ValueError(f"flambeau's safe_open gives flambeau's tensors on the CPU, not {framework!r} on {device!r}")
    return SafeFile(filename)


def _tensors(data: bytearray | mmap.mmap) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a file that has been checked, on its own memory."""
    end = 8 + int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8:end]).items():
        if name == "__metadata__":
            continue
        if entry["dtype"] not in KINDS:
            raise RuntimeError(f"tensor {name!r} has the dtype {entry['dtype']}, which flambeau does not have")
        kind, (first, last) = KINDS[entry["dtype"]], entry["data_offsets"]
        if first == last:
            yield name, torch.empty(entry["shape"], dtype=kind)
            continue
        raw = np.frombuffer(data, np.uint8, last - first, end + first)
        if raw.ctypes.data % kind.itemsize:
            raw = raw.copy()  # the header of other writers need not end where numbers may begin
        storage = UntypedStorage._of(Storage.from_numpy(raw.view(kind.np), kind))
        yield name, storage.as_tensor(kind).reshape(entry["shape"])


def _refuse_shared(tensors: Mapping[str, Tensor]) -> None:
    places = sorted((t.data_ptr(), t.data_ptr() + t.nbytes, name) for name, t in tensors.items() if t.nbytes)
    for (_, end, one), (start, _, other) in zip(places, places[1:]):
        if start < end:
            raise RuntimeError(
                f"Some tensors share memory: {one!r} and {other!r}. Loaded again they would be two; leave one of the names out, or clone it"
            )

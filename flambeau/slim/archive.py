"""The file of a slim model: a zip archive of members that are not compressed, such that what is mapped into memory lies well."""

from __future__ import annotations

import json
import os
import struct
import zipfile
from collections.abc import Iterable
from hashlib import sha256
from typing import Any

import numpy as np

from flambeau.core import dtypes
from flambeau.core.dtypes import dtype as Dtype
from flambeau.serialization.files import replacing
from flambeau.slim.recording import ExportError, Weight
from flambeau_slim import COMMENT

ALIGNED = 64
"""Members, and the weights in theirs, begin at multiples of so many bytes."""
_LOCAL, _LARGE, _PADDING = (
    30,
    20,
    0xD935,
)  # bytes of a member's head, of what tells a large size, and the kind of a field to be skipped
_NAMES = {
    dtypes.float64: "F64", dtypes.float32: "F32", dtypes.float16: "F16", dtypes.bfloat16: "BF16", dtypes.int64: "I64", dtypes.int32: "I32", dtypes.int16: "I16",
    dtypes.int8: "I8", dtypes.uint8: "U8", dtypes.uint16: "U16", dtypes.uint32: "U32", dtypes.uint64: "U64", dtypes.bool: "BOOL",
}  # fmt: skip


def write(path: str | os.PathLike, manifest: dict[str, Any], members: dict[str, list[bytes]]) -> str:
    """Writes the file whole, or not at all; each member is given as pieces. Returns the digest, which is that of the manifest."""
    hashes = {name: _hash(pieces) for name, pieces in members.items()}
    first = [json.dumps(manifest | {"members": hashes}, indent=1).encode()]
    digest = _hash(first)
    with replacing(os.fspath(path)) as file, zipfile.ZipFile(file, "w") as archive:
        for name, pieces in {"manifest.json": first, **members}.items():
            _add(archive, file.tell(), name, pieces)
        archive.comment = COMMENT + digest.encode()
    return digest


def _hash(pieces: Iterable[bytes]) -> str:
    found = sha256()
    for piece in pieces:
        found.update(piece)
    return found.hexdigest()


def _add(archive: zipfile.ZipFile, start: int, name: str, pieces: list[bytes]) -> None:
    """Appends a member, whose bytes begin at a multiple of ``ALIGNED``."""
    entry = zipfile.ZipInfo(name)  # of 1980: the same model makes the same file
    entry.file_size = sum(map(len, pieces))
    large = entry.file_size > 0xF0000000
    room = -(start + _LOCAL + len(name.encode()) + _LARGE * large + 4) % ALIGNED
    entry.extra = struct.pack("<2H", _PADDING, room) + bytes(room)
    with archive.open(entry, "w", force_zip64=large) as member:
        for piece in pieces:
            member.write(piece)


def safetensors(weights: list[Weight]) -> list[bytes]:
    """Weights in the format of `safetensors <https://github.com/huggingface/safetensors>`_, as pieces.

    There may be no gaps, so those come first after which the next begins at a multiple of ``ALIGNED``, then those of large
    elements.
    """
    for weight in weights:
        if weight.dtype not in _NAMES:
            raise ExportError(f"the weight {weight.name!r} is of {weight.dtype}, which files of weights do not have")
    order = sorted(weights, key=lambda w: (w.value.nbytes % ALIGNED != 0, -w.dtype.itemsize))
    header: dict[str, Any] = {}
    end = 0
    for weight in order:
        start, end = end, end + weight.value.nbytes
        header[weight.name] = {"dtype": _NAMES[weight.dtype], "shape": list(weight.value.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % ALIGNED)
    return [len(text).to_bytes(8, "little"), text, *(_bytes(w.value, w.dtype) for w in order)]


def _bytes(value: np.ndarray, dtype: Dtype) -> bytes:
    return np.ascontiguousarray(value).reshape(-1).view(np.uint8).tobytes()

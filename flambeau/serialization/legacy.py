"""The format of ``torch.save`` before PyTorch 1.6: five pickles, one after the other, then the storages' bytes."""

from __future__ import annotations

import io
import pickle
import pickletools
import sys
from pickle import UnpicklingError
from typing import IO, Any

import numpy as np

from flambeau.serialization.pickler import CheckpointPickler
from flambeau.serialization.rebuilding import as_text
from flambeau.serialization.storages import MapLocation, parse_id, place, typed
from flambeau.serialization.unpickler import Unpickler
from flambeau.serialization.vocabulary import Vocabulary
from flambeau.tensor.storage import Storage
from flambeau.tensor.storages import AnyStorage, UntypedStorage

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001


def write(file: IO[bytes], pickled: memoryview, pickler: CheckpointPickler) -> None:
    """Writes what ``pickler`` has pickled."""
    sizes = {"short": 2, "int": 4, "long": 4}
    system = {"protocol_version": _PROTOCOL, "little_endian": sys.byteorder == "little", "type_sizes": sizes}
    for value in (_MAGIC, _PROTOCOL, system):
        file.write(pickle.dumps(value, pickler.protocol))
    file.write(pickled)
    refs = sorted(pickler.storages, key=lambda ref: ref.key)
    file.write(pickle.dumps([ref.key for ref in refs], pickler.protocol))
    for ref in refs:
        file.write(ref.persistent_id()[4].to_bytes(8, "little"))
        file.write(ref.bytes().data)
    file.flush()


def read(file: IO[bytes], vocabulary: Vocabulary, map_location: MapLocation, encoding: str) -> Any:
    """The object in ``file``, which is left just behind it. The sizes of its storages are checked against the size of the file
    beforehand."""
    start = file.tell()
    stream = io.BytesIO(file.read())
    size = len(stream.getbuffer())

    def plain() -> Any:
        return Unpickler(stream, Vocabulary(weights_only=True, size=size), parse_id).load()

    try:
        magic = plain()
    except UnpicklingError:
        if vocabulary.weights_only or not _is_pickle(stream):
            raise
        magic = None  # it may be anything else: with weights_only=False, PyTorch would have made it before looking
    if type(magic) is not int or magic != _MAGIC:
        if vocabulary.weights_only and stream.getvalue()[:2] > b"\x80\x02":
            raise UnpicklingError(
                "the file is a pickle of protocol 3 or later, but not one of torch.save; read it with the pickle module"
            )
        raise RuntimeError("Invalid magic number; corrupt file? It was not written by torch.save")
    protocol, system, arrays, unread = plain(), plain(), {}, size
    if type(protocol) is not int or protocol != _PROTOCOL:
        raise RuntimeError(f"Invalid protocol version: expected {_PROTOCOL}")
    if type(system) is not dict or not system.get("little_endian", True):
        raise RuntimeError("the file was written on a big-endian machine, or is corrupted")
    storages: dict[str, AnyStorage] = {}

    def storage(id: Any) -> AnyStorage:
        nonlocal unread
        kind, key, location, count = parse_id(id)
        dtype = kind.dtype
        if key not in storages:
            unread -= count * dtype.itemsize
            if unread < 0:
                raise RuntimeError(f"the storages need more bytes than the {size} of the file: it is truncated or hostile")
            arrays[key] = np.empty(count, dtype.np)
            made = UntypedStorage._of(Storage.from_numpy(arrays[key], dtype))
            storages[key] = typed(place(made, location, map_location), kind)
        return storages[key] if len(id) < 6 or id[5] is None else _part(storages, kind, key, id[5])

    result = Unpickler(stream, vocabulary, storage, encoding).load()
    keys = plain()
    if type(keys) is not list or any(type(key) is not str for key in keys) or not set(arrays) <= set(keys):
        raise RuntimeError("the list of storages does not name those that the tensors need: the file is corrupted")
    for key in keys:
        count = int.from_bytes(stream.read(8), "little", signed=True)
        if key not in arrays or count != len(arrays[key]):
            raise RuntimeError(f"storage {key!r:.40} has {count} elements, which its tensors do not expect: corrupted file")
        target = arrays[key].view(np.uint8)
        if stream.readinto(target.data) != target.size:
            raise RuntimeError(f"storage {key!r:.40} ends early: the file is truncated")
    file.seek(start + stream.tell())  # other objects may follow in the same file
    return result


def _part(storages: dict[str, AnyStorage], kind: Any, key: str, described: Any) -> AnyStorage:
    """The part of a storage that PyTorch before 0.4 wrote as a storage of its own, on the same memory."""
    if type(described) is not tuple or [type(as_text(x)) for x in described] != [str, int, int]:
        raise UnpicklingError("a part of a storage is named by a key, an offset and a number of elements")
    name, offset, count = map(as_text, described)
    if min(offset, count) < 0 or (offset + count) * kind.dtype.itemsize > storages[key].nbytes():
        raise UnpicklingError(f"a storage of {storages[key].nbytes()} bytes has no {count} elements from {offset} on")
    if name not in storages:
        start, stop = [n * kind.dtype.itemsize for n in (offset, offset + count)]
        storages[name] = typed(UntypedStorage._of(storages[key]._storage)[start:stop], kind)
    return storages[name]


def _is_pickle(stream: io.BytesIO) -> bool:
    """Whether ``stream`` begins with a whole pickle, of whatever."""
    stream.seek(0)
    try:
        for _ in pickletools.genops(stream):
            pass
    except (ValueError, OverflowError):
        return False
    return True

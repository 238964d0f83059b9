"""``torch.save`` and ``torch.load``: PyTorch's files, written atomically and read without running anything in them.

Source: https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import nullcontext
from pickle import UnpicklingError
from typing import IO, Any

import numpy as np

from flambeau.serialization import legacy
from flambeau.serialization.archive import (
    ArchiveReader,
    ArchiveWriter,
    LoadEndianness,
    get_default_load_endianness,
    set_default_load_endianness,
)
from flambeau.serialization.files import OnlyWritten, Seekable, file_path, replacing
from flambeau.serialization.locations import (
    SourceChangeWarning,
    check_module_version_greater_or_equal,
    default_restore_location,
    get_crc32_options,
    get_default_mmap_options,
    location_tag,
    register_package,
    set_crc32_options,
    set_default_mmap_options,
    settings,
    skip_data,
    validate_cuda_device,
)  # fmt: skip
from flambeau.serialization.pickler import CheckpointPickler
from flambeau.serialization.storages import MapLocation, parse_id, place, typed
from flambeau.serialization.unpickler import Unpickler, globals_of
from flambeau.serialization.vocabulary import (
    Vocabulary,
    add_safe_globals,
    clear_safe_globals,
    get_safe_globals,
    safe_globals,
)
from flambeau.tensor.storage import Storage
from flambeau.tensor.storages import AnyStorage, UntypedStorage

__all__ = [
    "LoadEndianness",
    "add_safe_globals",
    "clear_safe_globals",
    "get_default_load_endianness",
    "get_safe_globals",
    "get_unsafe_globals_in_checkpoint",
    "load",
    "safe_globals",
    "save",
    "set_default_load_endianness",
]

DEFAULT_PROTOCOL = 2
"""The version of pickle's format in which files are written."""

_ZIP_START = b"PK\x03\x04"

MAP_LOCATION = MapLocation
_PICKLE_MODULES = frozenset(("pickle", "_pickle", "dill", "cloudpickle", "cloudpickle.cloudpickle"))
"""Modules whose files are plain pickles: flambeau's own reader reads what it may of them."""


def save(
    obj: object,
    f: str | os.PathLike[str] | IO[bytes],
    pickle_module: Any = None,
    pickle_protocol: int = DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Writes ``obj`` to ``f``, a path or an open binary file, in PyTorch's format (the zip format of 1.6 and later).

    With ``_use_new_zipfile_serialization=False`` it is the format before that, which earlier versions read.

    Tensors that share a storage share it again after :func:`load`; the whole of a storage is written, even where a
    tensor shows only part of it. A path is written atomically: the new file takes the old one's place when it is
    complete and on the disk, and an error (a full disk, an object that cannot be pickled) leaves the old one alone.

    >>> import flambeau as torch, io
    >>> f = io.BytesIO()
    >>> torch.save({"weight": torch.ones(2), "epoch": 3}, f)
    >>> _ = f.seek(0)
    >>> torch.load(f)
    {'weight': tensor([1., 1.]), 'epoch': 3}

    Source: https://docs.pytorch.org/docs/stable/generated/torch.save.html
    """
    path = file_path(f)
    if path is None and not hasattr(f, "write"):
        raise AttributeError("expected 'f' to be string, path, or a file-like object with a 'write' attribute")
    stream = io.BytesIO()
    pickler = CheckpointPickler(stream, pickle_protocol, _use_new_zipfile_serialization)
    pickler.dump(obj)
    write = _write if _use_new_zipfile_serialization else legacy.write
    if path is None:
        write(OnlyWritten(f), stream.getbuffer(), pickler)  # type: ignore[arg-type]
    else:
        with replacing(path) as file:
            write(file, stream.getbuffer(), pickler)


def _write(file: IO[bytes], pickled: memoryview, pickler: CheckpointPickler) -> None:
    archive = ArchiveWriter(file)
    try:
        archive.write("data.pkl", pickled)
        archive.write(".format_version", b"1")
        archive.write(".storage_alignment", b"64")
        archive.write("byteorder", sys.byteorder.encode())
        for ref in pickler.storages:
            data = ref.bytes()
            archive.write(f"data/{ref.key}", bytes(data.size) if settings.skip_data else data.data)
        archive.close()
    except BaseException:
        archive.abandon()
        raise


def load(
    f: str | os.PathLike[str] | IO[bytes],
    map_location: MapLocation = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Reads what ``torch.save`` wrote, flambeau's or PyTorch's, from a path or an open binary file that can seek.

    Nothing in a file is ever run. With ``weights_only`` (the default) it may hold tensors, parameters, sizes, dtypes,
    numbers, strings and plain containers, and what :func:`add_safe_globals` has declared safe. With
    ``weights_only=False`` it may also hold NumPy arrays, a few harmless types of Python's library, and modules whose
    classes the running program has defined; the objects are filled without any of their code being called. Anything
    else raises ``pickle.UnpicklingError``, which names it.

    ``map_location``: a device, a dictionary from the locations in the file to others, or a function of (storage,
    location) that returns the storage; needed to read tensors that were saved on a GPU. ``mmap=True`` maps the storages
    of a file given by its path into memory instead of reading them; writing to them does not change the file.

    ``pickle_module`` only says that ``weights_only`` is not wanted: it is ``pickle``, ``dill`` or ``cloudpickle``, whose
    files are read by flambeau's own unpickler too. With any other ``RuntimeError`` is raised.

    >>> import flambeau as torch
    >>> state = torch.load("model.pt", map_location="cpu")  # doctest: +SKIP

    Source: https://docs.pytorch.org/docs/stable/generated/torch.load.html
    """
    if pickle_module is not None and weights_only:
        raise RuntimeError("Can not safely load weights when explicit pickle_module is specified")
    if getattr(pickle_module, "__name__", "pickle") not in _PICKLE_MODULES:
        raise RuntimeError(
            f"torch.load cannot use pickle_module={pickle_module!r:.80}: flambeau reads files with an unpickler of its own, which runs "
            "nothing of them. Leave it out; weights_only=False and torch.serialization.add_safe_globals let more be read"
        )
    weights_only = pickle_module is None if weights_only is None else weights_only
    encoding = pickle_load_args.pop("encoding", "utf-8")
    if pickle_load_args:
        raise TypeError(f"load() got an unexpected keyword argument {next(iter(pickle_load_args))!r}")
    path = file_path(f)
    if path is not None:
        with open(path, "rb") as file:
            return _read(file, map_location, weights_only, encoding, path if mmap else None)
    if mmap:
        raise ValueError("f must be a file path in order to use the mmap argument")
    for method in ("seek", "read", "tell"):
        if not hasattr(f, method):
            raise AttributeError(
                f"{type(f).__name__!r} object has no attribute {method!r}. You can only torch.load from a file that is "
                "seekable. Please pre-load the data into a buffer like io.BytesIO and try to load from it instead."
            )
    return _read(Seekable.of(f), map_location, weights_only, encoding, None)  # type: ignore[arg-type]


def _read(file: IO[bytes], map_location: MapLocation, weights_only: bool, encoding: str, mapped: str | None) -> Any:
    start = file.tell()
    magic = file.read(len(_ZIP_START))
    if not magic:
        raise EOFError("Ran out of input: the file is empty")
    vocabulary = Vocabulary(weights_only, file.seek(0, os.SEEK_END) - start)
    file.seek(start)
    try:
        if magic != _ZIP_START:
            if mapped is not None:
                raise RuntimeError(
                    "mmap can only be used with files saved with `torch.save(_use_new_zipfile_serialization=True)`, "
                    "please torch.save your checkpoint with this option in order to use mmap."
                )
            return legacy.read(file, vocabulary, map_location, encoding)
        archive = ArchiveReader(file, mapped)
        if "constants.pkl" in archive:
            raise RuntimeError("the file is a TorchScript archive (torch.jit.save), not one of torch.save")
        storages: dict[str, AnyStorage] = {}

        def storage(id: Any) -> AnyStorage:
            kind, key, location, count = parse_id(id)
            if key not in storages:
                read = archive.array if not settings.skip_data else _without_data
                array = read(f"data/{key}", kind.dtype.np, count)
                made = UntypedStorage._of(Storage.from_numpy(array, kind.dtype))
                storages[key] = typed(place(made, location, map_location), kind)
            return storages[key]

        return Unpickler(io.BytesIO(archive.read("data.pkl")), vocabulary, storage, encoding).load()
    except UnpicklingError as error:
        raise UnpicklingError(_refusal(error, weights_only)) from error


def _without_data(name: str, dtype: np.dtype, count: int) -> np.ndarray:
    return np.zeros(count, dtype)


def _refusal(error: UnpicklingError, weights_only: bool) -> str:
    if weights_only:
        return (
            "Weights only load failed. flambeau builds only tensors and plain containers from a file, and has run nothing "
            "of this one. A file with NumPy arrays or whole modules (torch.save(model)) may load with weights_only=False, "
            "which runs nothing either; save model.state_dict() to need neither.\n"
            f"\tWeightsUnpickler error: {error}"
        )
    return (
        "Load failed. With weights_only=False too flambeau runs no code from a file: it builds tensors, plain containers, "
        "NumPy arrays, and modules whose classes the program has already defined or imported. Nothing has been run.\n"
        f"\tUnpickler error: {error}"
    )


def get_unsafe_globals_in_checkpoint(f: str | os.PathLike[str] | IO[bytes]) -> list[str]:
    """The names in a zip file of ``torch.save`` for which :func:`load` would refuse it. Builds nothing.

    >>> import flambeau as torch, fractions, io
    >>> f = io.BytesIO()
    >>> torch.save({"ratio": fractions.Fraction(1, 2), "weight": torch.ones(1)}, f)
    >>> _ = f.seek(0)
    >>> torch.serialization.get_unsafe_globals_in_checkpoint(f)
    ['fractions.Fraction']
    """
    path = file_path(f)
    opened: Any = nullcontext(f) if path is None else open(path, "rb")
    with opened as file:
        start = file.tell()
        if file.read(len(_ZIP_START)) != _ZIP_START:
            raise ValueError("Expected input to be a checkpoint returned by torch.save in its zip format")
        file.seek(start)
        names = globals_of(io.BytesIO(ArchiveReader(file).read("data.pkl")))
    vocabulary = Vocabulary(weights_only=True)
    return sorted(".".join(name) for name in names if not vocabulary.knows(*name))

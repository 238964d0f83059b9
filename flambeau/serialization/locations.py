"""Where storages are: what files say of it (``torch.serialization.register_package``), and settings of saving and loading.

Source: https://docs.pytorch.org/docs/stable/notes/serialization.html
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from mmap import MAP_PRIVATE, MAP_SHARED
from typing import Any

from flambeau.core import device as devices
from flambeau.tensor.storage import MetaStorage
from flambeau.tensor.storages import UntypedStorage

__all__ = [
    "SourceChangeWarning", "check_module_version_greater_or_equal", "default_restore_location", "get_crc32_options", "get_default_mmap_options", "location_tag",
    "register_package", "set_crc32_options", "set_default_mmap_options", "skip_data",
]  # fmt: skip

_NO_CUDA = (
    "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If you are running on a CPU-only machine, "
    "please use torch.load with map_location=torch.device('cpu') to map your storages to the CPU."
)


def _restore_cuda(storage: Any, location: str) -> None:
    if location.partition(":")[0] == "cuda":
        raise RuntimeError(_NO_CUDA)


def _restore_meta(storage: Any, location: str) -> Any:
    return UntypedStorage._of(MetaStorage(storage._storage.size, storage._storage.dtype)) if location == "meta" else None


_registry: list[tuple[int, Callable, Callable]] = [
    (
        10,
        lambda storage: "cpu" if storage.device is devices.CPU else None,
        lambda storage, location: storage if location.partition(":")[0] == "cpu" else None,
    ),
    (20, lambda storage: None, _restore_cuda),
    (22, lambda storage: "meta" if storage.device is devices.META else None, _restore_meta),
]


def register_package(priority: int, tagger: Callable[[Any], str | None], deserializer: Callable[[Any, str], Any]) -> None:
    """Registers how files name the place of a storage, and how one is put there.

    Args:
        priority: those with lower numbers are asked first; the CPU's is 10.
        tagger: ``tagger(storage)``, the name of its place, or ``None``.
        deserializer: ``deserializer(storage, location)``, the storage that takes its place there, or ``None``.
    """
    _registry.append((priority, tagger, deserializer))
    _registry.sort(key=lambda entry: entry[0])


def location_tag(storage: Any) -> str:
    """How files name the place of a storage.

    >>> import flambeau as torch
    >>> torch.serialization.location_tag(torch.ones(2).untyped_storage())
    'cpu'
    """
    for _, tagger, _ in _registry:
        location = tagger(storage)
        if location:
            return location
    raise RuntimeError(f"don't know how to determine data location of torch.storage.{type(storage).__name__}")


def default_restore_location(storage: Any, location: str) -> Any:
    """The storage that takes the place of one that was saved at ``location``."""
    for _, _, deserializer in _registry:
        found = deserializer(storage, location)
        if found is not None:
            return found
    raise RuntimeError(
        f"don't know how to restore data location of torch.storage.UntypedStorage (tagged with {location:.40}): "
        "flambeau computes on the CPU; use map_location='cpu'"
    )


def validate_cuda_device(location: str) -> int:
    """Refuses: there is no such device."""
    raise RuntimeError(_NO_CUDA)


class SourceChangeWarning(Warning):
    """That the source of a module is not what it was when it was saved. Files hold no source, so it is never given."""


def check_module_version_greater_or_equal(module: Any, req_version_tuple: tuple, error_if_malformed: bool = True) -> bool:
    """Whether ``module.__version__`` is at least a version, given by its parts.

    >>> import numpy
    >>> check_module_version_greater_or_equal(numpy, (1, 0))
    True
    """
    try:
        parts = module.__version__.split(".")
        return tuple([type(wanted)(parts[i]) for i, wanted in enumerate(req_version_tuple)]) >= req_version_tuple
    except Exception as error:
        problem = f"'{module.__name__}' module version string is malformed '{module.__version__}' and cannot be compared with tuple {req_version_tuple!s}"
        if error_if_malformed:
            raise RuntimeError(problem) from error
        warnings.warn(problem + ", but continuing assuming that requirement is met", stacklevel=2)
        return True


# --- settings ----------------------------------------------------------------------------------------------------


class _Settings(threading.local):
    skip_data = False


settings = _Settings()
_crc32 = True


def get_crc32_options() -> bool:
    """Whether the program wants checksums in the files that it saves."""
    return _crc32


def set_crc32_options(compute_crc32: bool) -> None:
    """Says whether checksums are wanted. flambeau writes them in any case: readers of zip files insist on them."""
    global _crc32
    _crc32 = bool(compute_crc32)


def get_default_mmap_options() -> int:
    """``mmap.MAP_PRIVATE``: how ``torch.load(mmap=True)`` maps files; what is written to tensors stays in memory."""
    return MAP_PRIVATE


class set_default_mmap_options:  # noqa: N801  # PyTorch's name
    """Says how ``torch.load(mmap=True)`` maps files: by ``mmap.MAP_PRIVATE``. ``mmap.MAP_SHARED`` is refused."""

    def __init__(self, flags: int) -> None:
        if flags not in (MAP_PRIVATE, MAP_SHARED):
            raise ValueError(
                f"Invalid argument in function set_default_mmap_options, expected mmap.MAP_PRIVATE or mmap.MAP_SHARED, but got {flags}"
            )
        if flags == MAP_SHARED:
            raise NotImplementedError(
                "set_default_mmap_options: flambeau checks the checksums in a file, which do not follow what is written to mapped tensors. "
                "UntypedStorage.from_file(..., shared=True) shares the memory of a file"
            )

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass


class skip_data:  # noqa: N801
    """Inside, ``torch.save`` leaves empty space (zeros) for the bytes of storages, and ``torch.load`` does not read them.

    >>> import flambeau as torch, io
    >>> f = io.BytesIO()
    >>> with torch.serialization.skip_data():
    ...     torch.save(torch.ones(2), f)
    >>> _ = f.seek(0)
    >>> torch.load(f)
    tensor([0., 0.])
    """

    def __init__(self, materialize_fake_tensors: bool = False) -> None:
        self.materialize_fake_tensors = materialize_fake_tensors

    def __enter__(self) -> None:
        self._before, settings.skip_data = settings.skip_data, True

    def __exit__(self, *exc: object) -> None:
        settings.skip_data = self._before

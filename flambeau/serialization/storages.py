"""Storages as files name them: ``("storage", type, key, location, count)``; and where ``map_location`` puts them."""

from __future__ import annotations

from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

from flambeau.core.device import device
from flambeau.serialization.locations import default_restore_location
from flambeau.serialization.rebuilding import as_text
from flambeau.tensor.storages import AnyStorage, UntypedStorage
from flambeau.tensor.typed_storages import TypedStorage

MapLocation = Callable[[UntypedStorage, str], Any] | device | str | dict[str, str] | None


def parse_id(id: Any) -> tuple[Any, str, str, int]:
    """The class, key, location and number of elements of the storage that an id in a file stands for."""
    if type(id) is not tuple or len(id) < 5 or as_text(id[0]) != "storage":
        raise UnpicklingError(f"Only persistent_load of storage is allowed, but got {type(id).__name__}")
    _, storage_type, key, location, count = id[:5]
    key, location = as_text(key), as_text(location)
    if not (isinstance(storage_type, type) and issubclass(storage_type, AnyStorage)) or [
        type(x) for x in (key, location, count)
    ] != [str, str, int]:
        raise UnpicklingError("a storage is named by a storage type, a key, a location and a number of elements")
    if count < 0:
        raise UnpicklingError(f"a storage cannot have {count} elements")
    return storage_type, key, location, count


def typed(storage: UntypedStorage, storage_type: Any) -> AnyStorage:
    """``storage`` as one of a class that a file names."""
    return storage if storage_type is UntypedStorage else TypedStorage._of(storage._storage, storage_type.dtype)


def place(storage: UntypedStorage, location: str, map_location: MapLocation) -> UntypedStorage:
    """``storage``, which was saved at ``location``, where the user wants it; an error where nothing can be."""
    if isinstance(map_location, dict):
        location = map_location.get(location, location)
    elif isinstance(map_location, (str, device)):
        location = str(map_location)
    elif map_location is not None:
        placed = map_location(storage, location)
        if isinstance(placed, UntypedStorage):
            return placed
    return default_restore_location(storage, location)

"""Pickles of Python's own (``pickle.dumps(tensor)``) in PyTorch's words, where ``torch`` means flambeau: each library loads the
other's.

``flambeau.core.config.pickled`` is :func:`reduced` then, and what classes here give to ``pickle`` comes from it. A storage becomes
the bytes of a file of its own, in the older format, and is shared by what is pickled together. Loading a pickle runs what is in
it: that is Python's ``pickle``, and the user's own choice; :func:`torch.load` never does.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from flambeau import serialization
from flambeau.core.device import device
from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.memory_format import layout, memory_format
from flambeau.core.qscheme import qscheme
from flambeau.core.results import ReturnType
from flambeau.core.size import Size
from flambeau.core.weak import WeakValues
from flambeau.serialization import rebuilding
from flambeau.serialization.pickler import tensor_as_call
from flambeau.serialization.rebuilding import STORAGE_TYPES
from flambeau.tensor import Tensor
from flambeau.tensor.storage import Storage
from flambeau.tensor.storages import AnyStorage, UntypedStorage
from flambeau.tensor.typed_storages import TypedStorage

_storages: WeakValues[AnyStorage] = WeakValues()
"""One object for each storage and dtype, as long as a pickle that is being written holds it: so it is written once."""


def _storage_of(storage: Storage, dtype: Dtype) -> AnyStorage:
    known = _storages.get((id(storage), dtype))
    if known is not None and known._storage is storage:
        return known
    made = TypedStorage._of(storage, dtype) if dtype in STORAGE_TYPES else UntypedStorage._of(storage)
    return _storages.add((id(storage), dtype), made) if known is None else made


def _load_from_bytes(b: bytes) -> Any:
    """The storage in a file that is given as its bytes."""
    return serialization.load(io.BytesIO(b))


def _bytes_of(storage: AnyStorage) -> tuple[Callable, tuple]:
    file = io.BytesIO()
    serialization.save(storage, file, _use_new_zipfile_serialization=False)
    return _load_from_bytes, (file.getvalue(),)


def reduced(obj: Any) -> str | tuple:
    """``obj.__reduce_ex__()``, by functions and classes that PyTorch has under the same names."""
    if isinstance(obj, Tensor):
        return tensor_as_call(obj, _storage_of, lambda make, args: make(*args))
    if isinstance(obj, AnyStorage):
        return _bytes_of(obj)
    if isinstance(obj, (Dtype, qscheme)):
        return obj.name
    if isinstance(obj, layout):
        return rebuilding._get_layout, (repr(obj),)
    if isinstance(obj, memory_format):
        return repr(obj)
    if isinstance(obj, device):
        return device, (obj.type,) if obj.index is None else (obj.type, obj.index)
    assert isinstance(obj, (Size, ReturnType)), type(obj)
    return type(obj), (tuple(obj),)

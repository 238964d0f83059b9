"""How tensors are pickled by Python's ``pickle`` (and ``multiprocessing``); ``torch.save`` has a format of its own.

Tensors that share a storage in a pickle share it again after loading, whatever their strides and offsets.
"""

from __future__ import annotations

import copyreg
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.core.dtypes import dtype as Dtype
from flambeau.tensor.storage import InferenceStorage, MetaStorage, Storage
from flambeau.tensor.storages import UntypedStorage
from flambeau.tensor.tensor import Tensor
from flambeau.tensor.typed_storages import TypedStorage


def user_attributes(t: Tensor) -> dict[str, Any]:
    """What a program has set on ``t`` itself."""
    return dict(vars(t))


def reduce_tensor(t: Tensor) -> tuple:
    """``t.__reduce_ex__()``. A tensor on the tape comes back as a leaf that requires grad, as in PyTorch."""
    t = t.resolve_conj().resolve_neg()
    cls = None if type(t) is Tensor else type(t)
    args = (cls, t._storage, t.dtype, tuple(t.shape), t.stride(), t.storage_offset(), t.requires_grad)
    return rebuild_tensor, args, user_attributes(t) or None


def rebuild_tensor(
    cls: type | None, storage: Storage, dtype: Dtype, shape: tuple, strides: tuple, offset: int, requires_grad: bool
) -> Tensor:
    """The tensor that :func:`reduce_tensor` took apart."""
    return Tensor._make_subclass(cls or Tensor, Tensor._from_storage(storage, dtype, shape, strides, offset), requires_grad)


def reduce_storage(storage: Storage) -> tuple[Callable, tuple]:
    """A storage as a copy of what it contains."""
    return _rebuild_storage, (storage.array().view(np.uint8), storage.dtype, tuple(storage.node.shape))


def _rebuild_storage(data: np.ndarray, dtype: Dtype, shape: tuple[int, ...] = (-1,)) -> Storage:
    return Storage.from_numpy(data.view(dtype.np).reshape(shape), dtype)


def rebuild_untyped(storage: Storage) -> UntypedStorage:
    return UntypedStorage._of(storage)


def rebuild_typed(storage: Storage, dtype: Dtype) -> TypedStorage:
    return TypedStorage._of(storage, dtype)


copyreg.pickle(Storage, reduce_storage)
copyreg.pickle(InferenceStorage, reduce_storage)
copyreg.pickle(MetaStorage, lambda storage: (MetaStorage, (storage.size, storage.dtype)))

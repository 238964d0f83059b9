"""How tensors go to other processes: as the memory itself, not as a copy of it (``torch.multiprocessing.reductions``).

Python's queues, pipes and processes pickle with ``ForkingPickler``, which asks the functions here. A tensor's storage is moved
into shared memory (:meth:`flambeau.tensor.storage.Storage.share`), and what is sent is its file descriptor. Whoever gets the
same memory twice gets the same storage.
"""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.reduction import DupFd, ForkingPickler  # type: ignore[attr-defined]
from typing import Any

from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.shared_memory import Segment
from flambeau.core.weak import WeakValues
from flambeau.tensor import pickling
from flambeau.tensor.storage import InferenceStorage, Storage
from flambeau.tensor.tensor import Tensor

__all__ = ["init_reductions", "reduce_storage", "reduce_tensor", "rebuild_storage"]

_known: WeakValues[Storage] = WeakValues()


def reduce_tensor(tensor: Tensor) -> tuple:
    """A tensor as it is sent to another process: its place in a storage, and the storage.

    Raises:
        RuntimeError: for a result on the tape, which the other process could not go back along.
    """
    if tensor.requires_grad and not tensor.is_leaf:
        raise RuntimeError(
            "Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does not support crossing "
            "process boundaries.  If you just want to transfer the data, call detach() on the tensor before serializing "
            "(e.g., putting it on the queue)."
        )
    return pickling.reduce_tensor(tensor)


def reduce_storage(storage: Storage) -> tuple[Callable, tuple]:
    """A storage as a file descriptor of its memory, which is shared from now on."""
    segment = storage.share()
    _known.add(segment.key, storage)
    return rebuild_storage, (DupFd(segment.fd), segment.size, tuple(storage.node.shape), storage.dtype)


def rebuild_storage(handle: Any, size: int, shape: tuple[int, ...], dtype: Dtype) -> Storage:
    """The storage on the memory that :func:`reduce_storage` has sent."""
    segment = Segment(handle.detach(), size)
    key = segment.key
    storage = _known.get(key)
    if storage is None:
        storage = _known.add(key, Storage.on_segment(segment, shape, dtype))
    return storage


def init_reductions() -> None:
    """Has everything that Python's multiprocessing sends use the functions here."""
    ForkingPickler.register(Tensor, reduce_tensor)
    ForkingPickler.register(Storage, reduce_storage)
    ForkingPickler.register(InferenceStorage, reduce_storage)


init_reductions()

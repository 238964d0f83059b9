"""``torch._C._functorch``: what a tensor is inside of :func:`torch.vmap`.

>>> import flambeau as torch
>>> from flambeau._C import _functorch
>>> torch.vmap(lambda x: x * int(_functorch.is_batchedtensor(x)))(torch.tensor([2.0, 3.0]))
tensor([2., 3.])
"""

from __future__ import annotations

from flambeau.batching.batched import Batched, Level, batched
from flambeau.batching.interception import interception
from flambeau.tensor import Tensor

__all__ = ["_add_batch_dim", "_remove_batch_dim", "get_unwrapped", "is_batchedtensor", "is_functorch_wrapped_tensor", "is_gradtrackingtensor", "is_legacy_batchedtensor", "maybe_get_bdim", "maybe_get_level"]  # fmt: skip


def is_batchedtensor(tensor: Tensor) -> bool:
    """Whether it is one sample of many, inside of ``vmap``."""
    return isinstance(tensor, Batched)


def is_legacy_batchedtensor(tensor: Tensor) -> bool:
    """Whether it is a sample of PyTorch's first ``vmap``: never, flambeau has it not."""
    return False


def is_gradtrackingtensor(tensor: Tensor) -> bool:
    """Whether it wraps another for the gradients of ``func.grad``: no tensor does that here, they are on the one tape."""
    return False


def is_functorch_wrapped_tensor(tensor: Tensor) -> bool:
    """Whether it stands for more than one can see of it."""
    return is_batchedtensor(tensor)


def maybe_get_level(tensor: Tensor) -> int:
    """The number of the ``vmap`` that it belongs to, counted from the outermost; -1 without one."""
    return tensor._level.depth if isinstance(tensor, Batched) else -1


def maybe_get_bdim(tensor: Tensor) -> int:
    """The dim along which all samples lie in what :func:`get_unwrapped` gives; -1: it is no batched tensor."""
    return 0 if isinstance(tensor, Batched) else -1


def get_unwrapped(tensor: Tensor) -> Tensor:
    """The tensor that holds all samples.

    Raises:
        RuntimeError: there is one sample only.
    """
    if not isinstance(tensor, Batched):
        raise RuntimeError("No wrappers present!")
    return tensor._value


def _level(number: int) -> Level:
    for level in interception.levels:
        if level.depth == number:
            return level
    raise RuntimeError(f"there is no vmap of level {number} around this call: levels are counted from 1, the outermost")


def _add_batch_dim(tensor: Tensor, batch_dim: int, level: int) -> Tensor:
    """One sample of ``tensor``, whose samples lie along ``batch_dim``, inside of a ``vmap`` of that level."""
    return batched(tensor.movedim(batch_dim, 0), _level(level))


def _remove_batch_dim(tensor: Tensor, level: int, batch_size: int, out_dim: int) -> Tensor:
    """The tensor of all samples along ``out_dim``; of a tensor that is no sample, the same for each of them."""
    return _level(level).expanded(tensor).movedim(0, out_dim)

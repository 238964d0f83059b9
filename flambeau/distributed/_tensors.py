"""Tensors as arrays that can be sent, and arrays that come back as values of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.core.dtypes import dtype as Dtype
from flambeau.core.size import Size
from flambeau.dispatch import grad_mode
from flambeau.engine import flight
from flambeau.engine.graph import VIEW
from flambeau.engine.run import run_ahead
from flambeau.tensor import Tensor
from flambeau.tensor.storage import Storage
from flambeau.tensor.tensor import make_tensor

__all__ = ["array_of", "check_tensor", "check_tensors", "joined", "settled", "tensor_of", "write"]


def check_tensor(x: Any, name: str) -> None:
    """``TypeError`` where ``x`` is no tensor."""
    if not isinstance(x, Tensor):
        raise TypeError(
            f"Invalid function argument. Expected parameter `{name}` of type torch.Tensor\n             but got {type(x)} instead."
        )


def check_tensors(x: Any, name: str) -> None:
    """``TypeError`` where ``x`` is no list of tensors."""
    if not isinstance(x, list) or not all(isinstance(t, Tensor) for t in x):
        raise TypeError(
            f"Invalid function argument. Expected parameter `{name}` of type List[torch.Tensor]\n             but got {type(x)} instead."
        )


def check_dtypes(*tensors: Tensor) -> None:
    """``ValueError`` where tensors have different dtypes."""
    for t in tensors[1:]:
        if t.dtype != tensors[0].dtype:
            raise ValueError(f"Invalid usage of tensors with different dtypesFound {tensors[0].dtype} and  {t.dtype}")


def array_of(t: Tensor, copied: bool = False) -> np.ndarray:
    """The values of ``t`` in a flat array, which is not for writing: perhaps it is the tensor's memory."""
    values = t._array()
    return values.flatten() if copied else np.ascontiguousarray(values).reshape(-1)


def settled(t: Tensor) -> np.ndarray:
    """As :func:`array_of`, waiting for nothing but these values: what has been recorded after them may still be computed
    (``engine.flight``)."""
    node = t._storage.node
    if node.value is None:
        run_ahead(node)
        node = t._storage.node
    value = node.value
    if not isinstance(value, np.ndarray) or t._bits or value.dtype != t.dtype.np:
        return array_of(t)
    flight.settle(value)
    return np.ascontiguousarray(VIEW.kernel(value.reshape(-1), t.shape, t.stride(), t.storage_offset(), t.dtype)).reshape(-1)


def joined(tensors: Sequence[Tensor]) -> np.ndarray:
    """The values of several tensors in one flat array."""
    return np.concatenate([array_of(t) for t in tensors]) if len(tensors) > 1 else array_of(tensors[0], copied=True)


def tensor_of(array: np.ndarray, shape: Sequence[int], dtype: Dtype) -> Tensor:
    """A tensor on the memory of a flat array that nobody else uses."""
    return make_tensor(Storage.from_numpy(array, dtype), Size(shape), dtype)


def write(t: Tensor, array: np.ndarray) -> None:
    """Gives ``t`` the values in a flat array, which nobody else uses afterwards."""
    before = grad_mode.enabled
    grad_mode.enabled = False
    try:
        t.copy_(tensor_of(array, t.shape, t.dtype))
    finally:
        grad_mode.enabled = before

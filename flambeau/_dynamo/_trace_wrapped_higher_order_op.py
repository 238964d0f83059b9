"""Indices that are tensors inside of ``vmap``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.overrides import TorchFunctionMode
from flambeau.tensor import Tensor

__all__ = ["TransformGetItemToIndex"]


class TransformGetItemToIndex(TorchFunctionMode):
    """Inside, ``x[i]`` with a tensor ``i`` of one number looks it up, instead of asking for the number.

    So ``i`` may be a sample of a batch, as in the functions that say which positions of a sequence attend to which.

    >>> import flambeau as torch
    >>> x = torch.tensor([10, 20, 30])
    >>> with TransformGetItemToIndex():
    ...     print(torch.vmap(lambda i: x[i])(torch.tensor([2, 0])))
    tensor([30, 10])
    """

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        if func is Tensor.__getitem__:
            x, index = args
            indices = index if isinstance(index, tuple) else (index,)
            if indices and all(
                [isinstance(i, Tensor) and not i.dim() and not i.is_floating_point() and not i.is_complex() for i in indices]
            ):
                return x[tuple([i.unsqueeze(0).long() for i in indices])].squeeze(0)
        return func(*args, **(kwargs or {}))

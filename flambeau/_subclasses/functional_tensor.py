"""Tensors whose writes PyTorch's compiler turns into new tensors. There are none here: what is recorded has no writes."""

from __future__ import annotations

from typing import Any, NoReturn

__all__ = ["FunctionalTensor", "mb_unwrap_functional_tensor"]


class FunctionalTensor:
    """For ``isinstance``, which says that nothing is one."""

    def __init__(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotImplementedError(
            "FunctionalTensor: flambeau records no writes, so it needs no such tensors; torch.func.functionalize() takes a function as it is"
        )


def mb_unwrap_functional_tensor(tensor: Any) -> Any:
    """The tensor itself."""
    return tensor

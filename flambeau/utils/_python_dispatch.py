"""Where libraries ask what a class of tensors is made of."""

from __future__ import annotations

from typing import Any, NoReturn

from flambeau.tensor import Tensor
from flambeau.tensor.tensor import no_torch_dispatch

__all__ = ["TorchDispatchMode", "is_traceable_wrapper_subclass", "is_traceable_wrapper_subclass_type"]


class TorchDispatchMode:
    """A mode that would be asked for each operation of ATen. Classes may be made of it; entering one raises ``NotImplementedError``."""

    def __init__(self, _dispatch_key: Any = None) -> None:
        pass

    def __enter__(self) -> NoReturn:
        raise no_torch_dispatch(type(self).__name__)

    def __exit__(self, *exc: object) -> None:
        pass


def is_traceable_wrapper_subclass(t: Any) -> bool:
    """Whether a tensor says which tensors it is made of: its class has ``__tensor_flatten__`` and ``__tensor_unflatten__``."""
    return isinstance(t, Tensor) and type(t) is not Tensor and is_traceable_wrapper_subclass_type(type(t))


def is_traceable_wrapper_subclass_type(t: type) -> bool:
    """The same of a class."""
    return issubclass(t, Tensor) and t is not Tensor and hasattr(t, "__tensor_flatten__") and hasattr(t, "__tensor_unflatten__")

"""Where libraries ask what a class of tensors is made of."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from typing import Self

__all__ = ["TorchDispatchMode", "is_traceable_wrapper_subclass", "is_traceable_wrapper_subclass_type"]


class TorchDispatchMode:
    """A mode that is asked for each operator of ATen that a program comes to, in backward passes too; see :mod:`flambeau.library.dispatching`.

    >>> import flambeau as torch
    >>> class Log(TorchDispatchMode):
    ...     def __torch_dispatch__(self, func, types, args=(), kwargs=None):
    ...         print(func)
    ...         return func(*args, **(kwargs or {}))
    >>> x, w = torch.ones(1, 2), torch.ones(3, 2)
    >>> with Log():
    ...     y = torch.nn.functional.linear(x, w).relu()
    aten.t.default
    aten.mm.default
    aten.relu.default
    """

    def __init__(self, _dispatch_key: Any = None) -> None:
        pass

    def __torch_dispatch__(self, func: Any, types: tuple, args: tuple = (), kwargs: dict[str, Any] | None = None) -> Any:
        raise NotImplementedError(f"{type(self).__name__} has no __torch_dispatch__")

    def __enter__(self) -> Self:
        importlib.import_module("flambeau.library.dispatching").dispatching.push(self)
        return self

    def __exit__(self, *exc: object) -> None:
        importlib.import_module("flambeau.library.dispatching").dispatching.pop()


def is_traceable_wrapper_subclass(t: Any) -> bool:
    """Whether a tensor says which tensors it is made of: its class has ``__tensor_flatten__`` and ``__tensor_unflatten__``."""
    return isinstance(t, Tensor) and type(t) is not Tensor and is_traceable_wrapper_subclass_type(type(t))


def is_traceable_wrapper_subclass_type(t: type) -> bool:
    """The same of a class."""
    return issubclass(t, Tensor) and t is not Tensor and hasattr(t, "__tensor_flatten__") and hasattr(t, "__tensor_unflatten__")

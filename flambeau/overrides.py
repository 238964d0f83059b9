"""``torch.overrides``: no type overrides the functions here, and programs may ask whether one does."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flambeau.tensor import Tensor

__all__ = [
    "handle_torch_function", "has_torch_function", "has_torch_function_unary", "has_torch_function_variadic",
    "is_tensor_like", "is_tensor_method_or_property",
]  # fmt: skip


def has_torch_function(relevant_args: Iterable[Any]) -> bool:
    """Whether a type among the arguments has a ``__torch_function__`` of its own (then :func:`handle_torch_function` calls it)."""
    return any(_own(a) is not None for a in relevant_args)


def has_torch_function_unary(arg: Any) -> bool:
    return has_torch_function((arg,))


def has_torch_function_variadic(*args: Any) -> bool:
    return has_torch_function(args)


def _own(arg: Any) -> Callable | None:
    """The ``__torch_function__`` of a type that is not a tensor."""
    return None if isinstance(arg, Tensor) else getattr(type(arg), "__torch_function__", None)


def handle_torch_function(public_api: Callable, relevant_args: Iterable[Any], *args: Any, **kwargs: Any) -> Any:
    """Calls ``__torch_function__`` of the first argument that has one."""
    overloaded = [a for a in relevant_args if _own(a) is not None]
    types = tuple(dict.fromkeys(type(a) for a in overloaded))
    for a in overloaded:
        result = a.__torch_function__(public_api, types, args, kwargs)
        if result is not NotImplemented:
            return result
    raise TypeError(f"no implementation found for '{public_api.__module__}.{public_api.__name__}' on types {list(types)}")


def is_tensor_like(inp: Any) -> bool:
    """Whether it is a tensor, or has a ``__torch_function__``."""
    return isinstance(inp, Tensor) or hasattr(inp, "__torch_function__")


def is_tensor_method_or_property(func: Callable) -> bool:
    """Whether ``func`` is a method of tensors."""
    return getattr(Tensor, getattr(func, "__name__", ""), None) is func

"""Where libraries ask what a class of tensors is made of."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from flambeau.tensor import Tensor

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "TorchDispatchMode",
    "is_traceable_wrapper_subclass",
    "is_traceable_wrapper_subclass_type",
    "return_and_correct_aliasing",
]


class TorchDispatchMode:
    """A mode that is asked for each operator of ATen that a program comes to, in backward passes too; see
    :mod:`flambeau.library.dispatching`.

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
    """Whether tensors of a class say which tensors they are made of."""
    return issubclass(t, Tensor) and t is not Tensor and hasattr(t, "__tensor_flatten__") and hasattr(t, "__tensor_unflatten__")


def return_and_correct_aliasing(func: Any, args: tuple, kwargs: dict[str, Any], out: Any) -> Any:
    """What a class with a ``__torch_dispatch__`` returns of an operator: the argument itself where the operator writes to it.

    ``out`` is what the class has made. Views need nothing more: a wrapper has no memory of its own that others could share.

    >>> import flambeau as torch
    >>> x, fresh = torch.ones(2), torch.zeros(2)
    >>> return_and_correct_aliasing(torch.ops.aten.add_.Tensor, (x, 1), {}, fresh) is x
    True
    >>> return_and_correct_aliasing(torch.ops.aten.add.Tensor, (x, 1), {}, fresh) is fresh
    True

    Source: https://docs.pytorch.org/docs/stable/notes/extending.html
    """
    schema = func._schema
    given = {**{a.name: x for a, x in zip(schema.arguments, args, strict=False)}, **kwargs}
    written = {a.alias_info.written: given[a.name] for a in schema.arguments if a.is_write and a.name in given}
    results = [r.alias_info.written for r in schema.returns if r.alias_info is not None and r.is_write]
    if not results:
        return out
    return written[results[0]] if len(schema.returns) == 1 else type(out)([written[r] for r in results])

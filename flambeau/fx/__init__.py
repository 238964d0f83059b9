"""``torch.fx`` without its tracer: only what programs use to mark and to recognise what is traced."""

from __future__ import annotations

from typing import Any

from flambeau.fx import _pytree

__all__ = ["Proxy", "_pytree", "wrap"]


class Proxy:
    """What stands for a value while a program is traced; there are none, so ``isinstance(x, Proxy)`` is False."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError("torch.fx.Proxy: flambeau has no tracer; call the function with tensors")


def wrap(fn_or_name: Any) -> Any:
    """Returns the function, or the name, as it is: there is no tracer to look into it."""
    return fn_or_name

"""The arguments of calls in one form."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from flambeau.fx.node import ArgsKwargsPair
from flambeau.nn.modules.module import Module

__all__ = ["ArgsKwargsPair", "normalize_function", "normalize_module"]


def _normalized(target: Callable, args: tuple, kwargs: dict | None, by_name: bool) -> ArgsKwargsPair | None:
    try:
        signature = inspect.signature(getattr(target, "__wrapped__", target))
        bound = signature.bind(*args, **(kwargs or {}))
    except (TypeError, ValueError):
        return None
    bound.apply_defaults()
    if by_name:
        return ArgsKwargsPair((), dict(bound.arguments))
    names = list(bound.arguments)
    return ArgsKwargsPair(
        tuple(bound.arguments[n] for n in names[: len(args)]), {n: bound.arguments[n] for n in names[len(args) :]}
    )


def normalize_function(
    target: Callable,
    args: tuple,
    kwargs: dict[str, Any] | None = None,
    arg_types: Any = None,
    kwarg_types: Any = None,
    normalize_to_only_use_kwargs: bool = False,
) -> ArgsKwargsPair | None:
    """The arguments of a call of a function, with those by name that have one; ``None`` where it does not say what it takes.

    >>> import flambeau as torch
    >>> from flambeau.fx.operator_schemas import normalize_function
    >>> normalize_function(torch.nn.functional.relu, (1,), normalize_to_only_use_kwargs=True).kwargs
    {'input': 1, 'inplace': False}
    """
    return _normalized(target, args, kwargs, normalize_to_only_use_kwargs)


def normalize_module(
    root: Module, target: str, args: tuple, kwargs: dict[str, Any] | None = None, normalize_to_only_use_kwargs: bool = False
) -> ArgsKwargsPair | None:
    """The arguments of a call of a submodule, with those by name that have one."""
    return _normalized(root.get_submodule(target).forward, args, kwargs, normalize_to_only_use_kwargs)

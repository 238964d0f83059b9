"""Tensors that are given where an op takes numbers: a tensor with one element stands for it, as in PyTorch.

``x.tril(torch.tensor(-1))``, ``x.split(lengths[0])`` and ``F.group_norm(x, groups)`` read the number when they are called. Which
arguments of an op are numbers is said by the annotations of its function. Calls that follow a recipe never come here: a call that
has looked at values has none (see :mod:`flambeau.tensor.recipes`).
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import CO_VARARGS
from operator import index
from typing import Any

from flambeau import dispatch

_WHOLE = {"int", "Sequence[int]"}
_REAL = {"int", "float", "Sequence[float]"}
_ANY = {"Number", "complex"}


def number_places(check: Callable, tensors: tuple[str, ...]) -> dict[str, tuple[int, str, bool]]:
    """The arguments of an op that are numbers: by name the place, what PyTorch calls them, ``int``, ``float`` or ``Number``, and
    whether they are given by name only.

    ``""`` stands for whole numbers or sequences of them, and a ``*`` before the name for all that are left. Of arguments that may
    be tensors the op itself knows what they mean.
    """
    code, found = check.__code__, {}  # type: ignore[attr-defined]
    for place, name in enumerate(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]):
        kinds = set(check.__annotations__.get(name, "").split(" | ")) - {"None"}
        by_name = place >= code.co_argcount
        if not kinds or name in tensors:
            continue
        if kinds <= _WHOLE:
            found[name] = place, "int" if kinds == {"int"} else "", by_name
        elif kinds <= _REAL:
            found[name] = place, "float", by_name
        elif kinds == _ANY:
            found[name] = place, "Number", by_name
    if code.co_flags & CO_VARARGS and check.__annotations__.get(rest := _rest(code), "") == "int | Sequence[int]":
        found["*" + rest] = code.co_argcount, "", False
    return found


def _rest(code: Any) -> str:
    """The name of ``*args`` among the names of a function's code."""
    return code.co_varnames[code.co_argcount + code.co_kwonlyargcount]


def as_numbers(name: str, places: dict[str, tuple[int, str, bool]], args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """The arguments of a call with numbers for the tensors that stand where the op takes numbers.

    Raises:
        TypeError: such a tensor has several elements, needs a gradient, or is not of integers where they are asked for.
    """
    for argument, (place, kind, by_name) in places.items():
        if argument[0] == "*":
            if any([isinstance(x, dispatch.Tensor) for x in args[place:]]):
                args = (
                    *args[:place],
                    *[_number(x, kind, name) if isinstance(x, dispatch.Tensor) else x for x in args[place:]],
                )
            continue
        is_placed = place < len(args) and not by_name
        given = args[place] if is_placed else kwargs.get(argument)
        if isinstance(given, dispatch.Tensor):
            number = _number(given, kind, f"{name}(): argument '{argument}' (position {place + 1})")
        elif given.__class__ in (tuple, list) and not kind and any([isinstance(x, dispatch.Tensor) for x in given]):
            number = type(given)([index(x) if isinstance(x, dispatch.Tensor) else x for x in given])
        else:
            continue
        if is_placed:
            args = (*args[:place], number, *args[place + 1 :])
        else:
            kwargs = {**kwargs, argument: number}
    return args, kwargs


def _number(given: Any, kind: str, where: str) -> Any:
    """The number that a tensor stands for."""
    integers = not (given.dtype.is_floating_point or given.dtype.is_complex)
    if kind in ("", "int"):
        if integers and given.numel() == 1:
            return index(given)
        if not kind:
            return given  # a sequence of several numbers, which the op reads or refuses
    elif given.ndim == 0 and not given.requires_grad:
        return float(given) if kind == "float" else given.item()
    raise TypeError(f"{where} must be {kind}, not Tensor")

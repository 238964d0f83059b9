"""The error for a call in which a setting of an op (a dim, a size, a flag) is of another type than it says, in PyTorch's words.

As for tensors (:mod:`flambeau.ops.wrong_tensors`), it is looked for where a call has failed, so calls that work pay nothing:
whatever the op found wrong with such a value, PyTorch does not come so far. Types that are not known here, such as the proxies of
a trace, are never judged.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from types import NoneType
from typing import Any

from flambeau import dispatch
from flambeau.ops.wrong_tensors import given_to, name_in_errors, type_name

_SETTINGS = {"int": "int", "bool": "bool", "float": "float", "Sequence[int]": "tuple of ints"}
_JUDGED = (bool, float, complex, dict, list, tuple)
NO_FLAGS = frozenset([int, float, complex, str, NoneType, dict, list, tuple])
"""Classes of what PyTorch takes for no ``bool``, though Python would ask for its truth: an op would run with it."""

_INT64 = range(-(2**63), 2**63)


def wrong_setting(function: Callable, args: tuple, kwargs: dict) -> Exception | None:
    """The error for the first setting that does not fit what the op's function says of it; ``None`` where all do.

    ``TypeError`` for another type, ``ValueError`` for an integer that is beyond 64 bits.
    """
    op = function.op  # type: ignore[attr-defined]
    if op.short_name.startswith("_"):
        return None  # it is part of a public op, which knows what the user wrote
    exact = bool(flags_of(op))
    for place, argument, kind, given in given_to(op.check, args, kwargs):
        wanted = _wanted(kind)
        if not wanted:
            continue
        if isinstance(given, int) and given not in _INT64 and "int" in wanted:
            return ValueError("Overflow when unpacking long long")
        if not _fits(given, wanted) or exact and kind == "bool" and type(given) in NO_FLAGS:
            name, is_method = name_in_errors(function)
            where = "" if place is None else f" (position {place + (not is_method)})"
            said = _SETTINGS["Sequence[int]" if "Sequence[int]" in wanted else next(iter(wanted))]
            return TypeError(f"{name}(): argument '{argument}'{where} must be {said}, not {type_name(given)}")
    return None


def flags_of(op: Any) -> tuple[tuple[int, str], ...]:
    """The places and names of an op's arguments that are a ``bool`` and nothing else; one given by name alone has a place that
    no call reaches. ``nn.functional`` and torchvision are largely Python, which takes anything for true or false: they have none."""
    if op.name.startswith(("nn.functional.", "torchvision.")):
        return ()
    code, kinds = op.check.__code__, op.check.__annotations__
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return tuple([(i if i < code.co_argcount else 1 << 30, name) for i, name in enumerate(names) if kinds.get(name) == "bool"])


@lru_cache(256)
def _wanted(kind: str) -> frozenset[str]:
    """The types that an annotation names, if they are settings alone."""
    parts = frozenset(kind.split(" | ")) - {"None"}
    return parts if parts <= _SETTINGS.keys() else frozenset()


def _fits(given: Any, wanted: frozenset[str]) -> bool:
    if isinstance(given, dispatch.Tensor):  # of one element, which is an integer where one is wanted
        return given.numel() == 1 and (
            "float" in wanted or "int" in wanted and not given.dtype.is_floating_point and not given.dtype.is_complex
        )
    if type(given) not in _JUDGED:
        return True
    if isinstance(given, bool):
        return "bool" in wanted or "float" in wanted
    if isinstance(given, float):
        return "float" in wanted
    return isinstance(given, (list, tuple)) and "Sequence[int]" in wanted and all(_fits(x, frozenset(["int"])) for x in given)

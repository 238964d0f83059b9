"""Nests of tuples, lists and dicts, and their leaves in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any


def leaves(nest: Any) -> Iterator[Any]:
    if isinstance(nest, dict):
        nest = nest.values()
    elif not isinstance(nest, (tuple, list)):
        yield nest
        return
    for part in nest:
        yield from leaves(part)


def mapped(function: Callable, nest: Any) -> Any:
    """The nest of ``function(leaf)``."""
    if isinstance(nest, dict):
        made = {k: mapped(function, v) for k, v in nest.items()}
        if nest.__class__ is dict:
            return made
        result = nest.copy()  # what else it is (its order, its default) stays
        result.update(made)
        return result
    if isinstance(nest, (tuple, list)):
        parts = [mapped(function, v) for v in nest]
        return type(nest)(*parts) if hasattr(nest, "_fields") else type(nest)(parts)
    return function(nest)


def rebuilt(nest: Any, found: Sequence[Any]) -> Any:
    """A nest of the same structure, with other leaves."""
    rest = iter(found)
    return mapped(lambda _: next(rest), nest)


def spread(prefix: Any, nest: Any) -> list | None:
    """For each leaf of ``nest`` the leaf of ``prefix`` that stands for it, itself or as a part of the nest; ``None`` where the
    structures do not fit."""
    if not isinstance(prefix, (tuple, list, dict)):
        return [prefix] * sum(1 for _ in leaves(nest))
    if type(prefix) is not type(nest) or len(prefix) != len(nest):
        return None
    if isinstance(prefix, dict):
        if prefix.keys() != nest.keys():
            return None
        pairs = [(prefix[k], v) for k, v in nest.items()]
    else:
        pairs = list(zip(prefix, nest, strict=True))
    found: list = []
    for part, inner in pairs:
        more = spread(part, inner)
        if more is None:
            return None
        found.extend(more)
    return found

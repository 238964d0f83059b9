"""Tensors in what modules are given and give back: tuples, lists, dicts, named tuples, data classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from flambeau.tensor import Tensor

__all__ = ["mapped", "tensors_in"]


def mapped(values: Any, change: Callable[[Tensor], Any]) -> Any:
    """The nest ``values`` with all tensors changed; what is nothing of the kind is kept as it is."""
    if isinstance(values, Tensor):
        return change(values)
    if isinstance(values, tuple):
        parts = [mapped(value, change) for value in values]
        return type(values)(*parts) if hasattr(values, "_fields") else type(values)(parts)
    if isinstance(values, list):
        return type(values)([mapped(value, change) for value in values])
    if dataclasses.is_dataclass(values) and not isinstance(values, type):
        return dataclasses.replace(
            values, **{f.name: mapped(getattr(values, f.name), change) for f in dataclasses.fields(values) if f.init}
        )
    if isinstance(values, dict):
        return type(values)({key: mapped(value, change) for key, value in values.items()})
    return values


def tensors_in(values: Any) -> list[Tensor]:
    """The tensors in a nest."""
    found: list[Tensor] = []

    def note(t: Tensor) -> Tensor:
        found.append(t)
        return t

    mapped(values, note)
    return found

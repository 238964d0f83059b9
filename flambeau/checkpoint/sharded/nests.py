"""Nested states as flat ones, with a name for each value, and the paths that lead back.

>>> flattened({"model": {"w": 1}, "steps": [2, {"a": 3}], "betas": [0.9, 0.99]})
({'model.w': 1, 'steps.0': 2, 'steps.1.a': 3, 'betas': [0.9, 0.99]}, {'model.w': ('model', 'w'), 'steps.0': ('steps', 0),
'steps.1.a': ('steps', 1, 'a'), 'betas': ('betas',)})
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flambeau.tensor import Tensor

__all__ = ["flattened", "put"]

Path = tuple[Any, ...]


def _goes_deeper(value: Any) -> bool:
    """Whether a value is taken apart: dicts are, and lists of which a member is a tensor or is taken apart."""
    if isinstance(value, Mapping):
        return bool(value)
    return isinstance(value, list) and any(isinstance(member, Tensor) or _goes_deeper(member) for member in value)


def flattened(state: Any) -> tuple[dict[str, Any], dict[str, Path]]:
    """The values of a state by name, and their paths.

    Raises:
        ValueError: two paths have the same name.
    """
    values: dict[str, Any] = {}
    paths: dict[str, Path] = {}

    def visit(value: Any, path: Path) -> None:
        if _goes_deeper(value):
            for key, member in value.items() if isinstance(value, Mapping) else enumerate(value):
                visit(member, (*path, key))
            return
        name = ".".join(map(str, path))
        if name in values:
            raise ValueError(f"duplicated flatten key {name}")
        values[name], paths[name] = value, path

    for key, value in state.items():
        visit(value, (key,))
    return values, paths


def put(state: Any, path: Path, value: Any) -> None:
    """Puts a value where ``path`` leads."""
    for key in path[:-1]:
        state = state[key]
    state[path[-1]] = value

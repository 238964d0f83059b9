"""Sizes that may be others when an exported program is called."""

from __future__ import annotations

import sys
from typing import Any

from flambeau.core import nests
from flambeau.tensor import Tensor

__all__ = ["Dim", "ShapesCollection", "dims", "places"]


class _Hint:
    """A dim without a name: dynamic for sure, if it can be, or not at all."""

    def __init__(self, name: str, min: int | None = None, max: int | None = None) -> None:
        self.__name__, self.min, self.max = name, min, max

    def __call__(self, min: int | None = None, max: int | None = None) -> _Hint:
        return _Hint(self.__name__, min, max)

    def __repr__(self) -> str:
        return f"Dim.{self.__name__}"


class Dim:
    """The name and the bounds of a size: dims with one name are equal.

    >>> import flambeau as torch
    >>> torch.export.Dim("batch", min=1, max=64)
    Dim('batch', min=1, max=64)

    Source: https://docs.pytorch.org/docs/stable/export/api_reference.html#torch.export.dynamic_shapes.Dim
    """

    AUTO = _Hint("AUTO")
    DYNAMIC = _Hint("DYNAMIC")
    STATIC = _Hint("STATIC")

    def __init__(self, name: str, *, min: int | None = None, max: int | None = None) -> None:
        if not name.isidentifier():
            raise AssertionError(f"Dim name must be a valid identifier, got {name}")
        self.__name__, self.min, self.max = name, 0 if min is None else min, sys.maxsize - 1 if max is None else max
        if self.max <= self.min:
            raise AssertionError(f"Cannot create Dim with inconsistent min={min}, max={max}")
        self.factor, self.shift = 1, 0

    def _derived(self, factor: int, shift: int) -> Dim:
        made = object.__new__(Dim)
        made.__name__, made.min, made.max, made.factor, made.shift = (
            self.__name__,
            self.min,
            self.max,
            self.factor * factor,
            self.shift * factor + shift,
        )
        return made

    def __mul__(self, other: int) -> Dim:
        return self._derived(other, 0)

    __rmul__ = __mul__

    def __add__(self, other: int) -> Dim:
        return self._derived(1, other)

    __radd__ = __add__

    def __sub__(self, other: int) -> Dim:
        return self._derived(1, -other)

    def size(self, root: int) -> int:
        """The size where the named dim has size ``root``."""
        return self.factor * root + self.shift

    def root(self, size: int) -> int:
        """The other way round; ``ValueError`` where there is none."""
        root, rest = divmod(size - self.shift, self.factor)
        if rest:
            raise ValueError(f"a size {size} does not fit {self.factor}*{self.__name__}")
        return root

    def __repr__(self) -> str:
        bounds = (f", min={self.min}" if self.min else "") + (f", max={self.max}" if self.max != sys.maxsize - 1 else "")
        return f"Dim('{self.__name__}'{bounds})"


def dims(*names: str, min: int | None = None, max: int | None = None) -> tuple[Dim, ...]:
    """Several of :class:`Dim`."""
    return tuple(Dim(name, min=min, max=max) for name in names)


class ShapesCollection:
    """Shapes by tensor, instead of by where these are among the arguments."""

    def __init__(self) -> None:
        self._shapes: list[tuple[Tensor, Any]] = []

    def __setitem__(self, t: Tensor, shape: Any) -> None:
        self._shapes.append((t, shape))

    def __len__(self) -> int:
        return len(self._shapes)

    def of(self, t: Any) -> Any:
        return next((shape for known, shape in self._shapes if known is t), None)


def places(names: list[str], args: tuple, kwargs: dict, spec: Any) -> list[dict[int, Any]]:
    """For each leaf of ``(args, kwargs)`` its dynamic dims: what ``dynamic_shapes`` says, by number of the dim."""
    leaves = nests.tree_leaves((args, kwargs))
    if spec is None:
        return [{} for _ in leaves]
    if isinstance(spec, ShapesCollection):
        return [_dims(spec.of(x), x) for x in leaves]
    given = dict(zip(names, args))
    given.update(kwargs)
    if isinstance(spec, (tuple, list)):
        parts = list(spec)
        if len(parts) != len(given):
            raise ValueError(f"dynamic_shapes has {len(parts)} entries, the function is given {len(given)} arguments")
        named = dict(zip(given, parts))
    else:
        named = dict(spec)
        if set(named) != set(given):
            raise ValueError(
                f"When `dynamic_shapes` is specified as a dict, its top-level keys must be the arg names {list(given)} of `inputs`, but here they are {list(named)}"
            )
    found: list[dict[int, Any]] = []
    for name, value in given.items():
        _walk(value, named[name], found)
    return found


def _walk(value: Any, spec: Any, found: list) -> None:
    if isinstance(value, Tensor) or not isinstance(value, (tuple, list, dict)):
        found.append(_dims(spec, value))
        return
    keys: Any = list(value) if isinstance(value, dict) else range(len(value))
    for key in keys:
        _walk(value[key], None if spec is None else spec[key], found)


def _dims(spec: Any, value: Any) -> dict[int, Any]:
    if spec is None or not isinstance(value, Tensor):
        return {}
    entries = spec.items() if isinstance(spec, dict) else enumerate(spec)
    found: dict[int, Any] = {}
    for dim, what in entries:
        if what is None or isinstance(what, int) or isinstance(what, _Hint) and what.__name__ == "STATIC":
            continue
        found[dim % value.dim()] = what
    return found

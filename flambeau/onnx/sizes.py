"""Sizes that are free, found by recording the module at several sizes.

A module is recorded once more for each free size, which is another one then. What has changed from a number to another is taken for
``factor * a * b * ... + shift`` of the free sizes ``a``, ``b`` that it changed with; recording with all of them at once must
confirm that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Size:
    """``factor`` times the product of ``symbols``, plus ``shift``. No number: who computes with it as with one fails."""

    factor: int
    symbols: tuple[str, ...]
    shift: int

    def at(self, sizes: Mapping[str, int]) -> int:
        """Its value where the free sizes have these values."""
        return self.factor * prod([sizes[s] for s in self.symbols]) + self.shift


class UnknownSize:
    """A size that depends on free ones in a way that is not known."""


def times(size: int | Size, n: int) -> int | Size:
    """``n`` times a size."""
    return Size(size.factor * n, size.symbols, size.shift * n) if isinstance(size, Size) else size * n


def fitted(
    value: int, changed: Mapping[str, int], all_changed: int, sizes: Mapping[str, int], others: Mapping[str, int]
) -> int | Size | None:
    """What a number is, of which ``value`` is known at ``sizes``, ``changed`` where one of them is another one, and
    ``all_changed`` where all are.

    ``None``: no such expression gives these values.

    >>> fitted(6, {"a": 9, "b": 10}, 15, {"a": 2, "b": 3}, {"a": 3, "b": 5})
    Size(factor=1, symbols=('a', 'b'), shift=0)
    >>> fitted(1, {"a": 2, "b": 1}, 2, {"a": 2, "b": 3}, {"a": 3, "b": 5})
    Size(factor=1, symbols=('a',), shift=-1)
    >>> fitted(1, {"a": 1, "b": 2}, 2, {"a": 2, "b": 3}, {"a": 3, "b": 6})  # b // 2
    """
    symbols = tuple([s for s in sizes if changed[s] != value])
    if not symbols:
        return value if all_changed == value else None
    steps = {(changed[s] - value, (others[s] - sizes[s]) * prod([sizes[t] for t in symbols if t != s])) for s in symbols}
    factors = {divmod(change, step) for change, step in steps}
    if len(factors) != 1 or any(rest for _, rest in factors):
        return None
    ((factor, _),) = factors
    size = Size(factor, symbols, value - factor * prod([sizes[s] for s in symbols]))
    return size if size.at(others) == all_changed else None


def other_sizes(sizes: Mapping[str, int], bounds: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """For each free size another one, within its bounds: larger, no multiple of it, and no two by as much, if it may be."""
    found = {}
    for k, (name, size) in enumerate(sizes.items()):
        least, most = bounds.get(name, (0, 1 << 62))
        wanted = 2 * size + 3 + 2 * k
        found[name] = wanted if least <= wanted <= most else next(n for n in (most, least, size) if n != size or least == most)
    return found

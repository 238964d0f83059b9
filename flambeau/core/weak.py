"""Objects that are known as long as somebody else holds them.

The dicts and sets of the ``weakref`` module take away what has died by a function of Python's, which is called wherever the
last reference goes. If a signal has come meanwhile, its handler runs in there, and what it raises is printed and lost. Nothing
is called here: what has died is forgotten when there has come to be as much again.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar
from weakref import ref

T = TypeVar("T")

FEW = 64


class WeakValues(Generic[T]):
    """Objects by keys. Other threads, and handlers of signals, may look up and add to it at any time."""

    __slots__ = ("_crowded", "_refs")

    def __init__(self) -> None:
        self._refs: dict[Hashable, ref[T]] = {}
        self._crowded = FEW

    def get(self, key: Hashable) -> T | None:
        """What is known by ``key``, if it still lives."""
        found = self._refs.get(key)
        return None if found is None else found()

    def add(self, key: Hashable, value: T) -> T:
        """What is known by ``key``, which is ``value`` if there was nothing."""
        refs, new = self._refs, ref(value)
        if len(refs) >= self._crowded:
            self._prune()
        while True:
            old = refs.get(key)
            found = None if old is None else old()
            if found is not None:
                return found
            if (refs[key] if key in refs else None) is old:  # no call from here on
                refs[key] = new
                return value

    def _prune(self) -> None:
        refs = self._refs
        for key, old in list(refs.items()):
            if old() is None and key in refs and refs[key] is old:  # no call from here on
                del refs[key]
        self._crowded = max(FEW, 2 * len(refs))

    def values(self) -> list[T]:
        """All that live."""
        return [value for value in [found() for found in list(self._refs.values())] if value is not None]

    def clear(self) -> None:
        self._refs.clear()

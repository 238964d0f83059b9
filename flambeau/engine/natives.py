"""Nodes that one kernel of their own computes: products, convolutions and their like.

Each family has a module with ``FORMS``: by an op's name, the function that makes a :class:`Native` of a node (a
:class:`~flambeau.engine.plan.Template`), or ``None`` where no kernel takes it and its meaning in NumPy runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from flambeau.core.dtypes import dtype as Dtype
from flambeau.engine.grouping import Ref


class Result(NamedTuple):
    """Stands for the memory of one of a node's results, among a kernel's arguments."""

    index: int = 0  # type: ignore[assignment]  # tuples have a method of that name


RESULT = Result()

RECTIFIED = "rectified"
"""The setting of a node that its rectifier has become one with: what is less than 0 becomes 0."""


ORDER = "order"
"""The setting of a node whose result has its dims in another order than the op makes them: which ones they are."""


class Fault:
    """Among a kernel's arguments: an ``i64`` that it sets where it refuses its values, before it has written anything.

    The plan then gives up, and the interpreter finds out what is wrong.
    """


FAULT = Fault()


class Bound(NamedTuple):
    """What a kernel refuses its indices for: that the elements which are ``seen`` lie in ``[0, extent)``.

    If it ``wraps`` they may also count from the end, from ``-extent`` on.
    """

    seen: tuple
    extent: int
    wraps: bool

    def follows_from(self, known: Iterable[Bound]) -> bool:
        return any(b.seen == self.seen and b.extent <= self.extent and self.wraps >= b.wraps for b in known)


class Native(NamedTuple):
    """``kernel(spec)`` compiles, once, and returns the address of a function of pointers to ``arguments``, with the words that are
    to follow them.

    If it ``updates``, its first argument may lie in the very memory of its result. ``numbers`` are Python numbers, by their
    places among the plan's, and the dtypes that they are given in; one pointer more leads to them. A kernel that may refuse
    its indices does so unless all of ``bounds`` hold; ``trusting`` is the one for plans that know so by then.
    """

    kernel: Callable[[Any], tuple[int, Sequence[int]]]
    spec: Any
    arguments: tuple[Ref | Result | Fault, ...]
    updates: bool = False
    numbers: tuple[tuple[int, Dtype], ...] = ()
    bounds: frozenset[Bound] = frozenset()
    trusting: Native | None = None

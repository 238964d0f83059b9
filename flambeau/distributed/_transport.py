"""What moves arrays between the processes of a group.

A transport works on flat arrays that fill their memory. Its methods start something and give a :class:`Pending` of what comes out,
so that whoever waits can keep a deadline. What they are called with must stay as it is until then.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.distributed._reduction import ReduceOp

__all__ = ["Alone", "Pending", "Transport"]


class Pending:
    """Something that has been started: ``result`` is there once :meth:`test` says so, and ``source``, who has sent it.

    It depends on ``peer``, or on all processes of the group.
    """

    source = 0

    def __init__(self, result: Any = None, peer: int | None = None) -> None:
        self.result, self.peer = result, peer

    def test(self) -> bool:
        """Whether it is done; moves it on where nobody else does."""
        return True


class Transport:
    """A way between ``size`` processes, of which this is number ``rank``. Roots, sources and destinations are such numbers."""

    rank: int
    size: int

    def lost(self, peer: int | None) -> str | None:
        """Says that ``peer`` has ended, or who of the group has, if somebody has without having done its part."""
        return None

    def close(self) -> None:
        """Gives back what the transport has taken; its processes do not use it any more."""

    def barrier(self) -> Pending:
        """Nothing, once all are here."""
        raise NotImplementedError

    def all_reduce(self, array: np.ndarray, op: ReduceOp, in_place: bool = False) -> Pending:
        """The arrays of all, reduced; of an average, their sum. ``in_place``: in the memory of ``array``."""
        raise NotImplementedError

    def reduce(self, array: np.ndarray, op: ReduceOp, root: int) -> Pending:
        """The arrays of all, reduced, for the process ``root``; ``None`` for the others."""
        raise NotImplementedError

    def reduce_scatter(self, array: np.ndarray, op: ReduceOp) -> Pending:
        """A part of what :meth:`all_reduce` gives, as many as there are processes, for each."""
        raise NotImplementedError

    def broadcast(self, array: np.ndarray, root: int) -> Pending:
        """The array of one, which is written into those of the others."""
        raise NotImplementedError

    def all_gather(self, array: np.ndarray) -> Pending:
        """The arrays of all, one after the other."""
        raise NotImplementedError

    def gather(self, array: np.ndarray, root: int) -> Pending:
        """The arrays of all, one after the other, for the process ``root``; ``None`` for the others."""
        raise NotImplementedError

    def scatter(self, array: np.ndarray | None, like: np.ndarray, root: int) -> Pending:
        """A part of the array of one for each, which is written to ``like``."""
        raise NotImplementedError

    def all_to_all(self, array: np.ndarray, sends: list[int], receives: list[int]) -> Pending:
        """``sends[i]`` elements from each to ``i``, one after the other; ``receives[i]`` come from there."""
        raise NotImplementedError

    def send(self, array: np.ndarray, to: int, tag: int) -> Pending:
        """Nothing, once ``array`` may change."""
        raise NotImplementedError

    def receive(self, array: np.ndarray, source: int | None, tag: int) -> Pending:
        """``array``, filled with what ``source`` sends, or whoever does."""
        raise NotImplementedError


class Alone(Transport):
    """The way of a process to itself."""

    rank, size = 0, 1

    def barrier(self) -> Pending:
        return Pending()

    def all_reduce(self, array: np.ndarray, op: ReduceOp, in_place: bool = False) -> Pending:
        return Pending(array)

    def reduce(self, array: np.ndarray, op: ReduceOp, root: int) -> Pending:
        return Pending(array)

    def reduce_scatter(self, array: np.ndarray, op: ReduceOp) -> Pending:
        return Pending(array)

    def broadcast(self, array: np.ndarray, root: int) -> Pending:
        return Pending(array)

    def all_gather(self, array: np.ndarray) -> Pending:
        return Pending(array)

    def gather(self, array: np.ndarray, root: int) -> Pending:
        return Pending(array)

    def scatter(self, array: np.ndarray | None, like: np.ndarray, root: int) -> Pending:
        return Pending(array)

    def all_to_all(self, array: np.ndarray, sends: list[int], receives: list[int]) -> Pending:
        return Pending(array)

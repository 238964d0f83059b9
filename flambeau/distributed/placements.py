"""How a tensor lies on several processes: values that say so.

Source: https://docs.pytorch.org/docs/stable/distributed.tensor.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Partial", "Placement", "Replicate", "Shard"]


class Placement:
    """How a tensor lies on the processes along one dim of a mesh of them."""

    def is_shard(self, dim: int | None = None) -> bool:
        """Whether each has a part of it, cut along ``dim``."""
        return isinstance(self, Shard) and (dim is None or self.dim == dim)

    def is_replicate(self) -> bool:
        """Whether each has all of it."""
        return isinstance(self, Replicate)

    def is_partial(self, reduce_op: Any = None) -> bool:
        """Whether each has numbers of which it is, say, the sum."""
        return isinstance(self, Partial) and (reduce_op is None or self.reduce_op == reduce_op)


@dataclass(frozen=True)
class Shard(Placement):
    """Each process has a part, cut along ``dim``.

    >>> from flambeau.distributed.placements import Replicate, Shard
    >>> Shard(0).is_shard(0), Shard(0) == Shard(1), Replicate().is_replicate()
    (True, False, True)
    """

    dim: int


@dataclass(frozen=True)
class Replicate(Placement):
    """Each process has all."""


@dataclass(frozen=True)
class Partial(Placement):
    """The tensor is the sum of what the processes have, or what ``reduce_op`` says."""

    reduce_op: str = "sum"


@dataclass(frozen=True)
class _StridedShard(Shard):
    """As :class:`Shard`, of what is cut in ``split_factor`` parts already."""

    split_factor: int = 1

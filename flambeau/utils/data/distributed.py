"""A sampler that gives each of several processes its share of a dataset."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

from flambeau.core.random import Generator
from flambeau.utils.data.sampler import Sampler, shuffled

__all__ = ["DistributedSampler"]


class DistributedSampler(Sampler[int]):
    """Every ``num_replicas``-th index, beginning with ``rank``, of an order that all replicas share.

    Where ``num_replicas`` or ``rank`` is not given it is that of ``torch.distributed``. All replicas get equally many: the first
    indices are repeated at the end, or with ``drop_last`` the last ones are left out. The order is shuffled by ``seed`` plus the
    epoch: call :meth:`set_epoch` before each.

    Raises ``ValueError`` for a ``rank`` that is not below ``num_replicas``.

    >>> from flambeau.utils.data import DistributedSampler
    >>> list(DistributedSampler(range(5), num_replicas=2, rank=1, shuffle=False))
    [1, 3, 0]

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.distributed.DistributedSampler
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ) -> None:
        if num_replicas is None or rank is None:
            from flambeau import distributed  # only here: most programs do without

            num_replicas = distributed.get_world_size() if num_replicas is None else num_replicas
            rank = distributed.get_rank() if rank is None else rank
        if not 0 <= rank < num_replicas:
            raise ValueError(f"Invalid rank {rank}, rank should be in the interval [0, {num_replicas - 1}]")
        self.dataset = dataset
        self.num_replicas = num_replicas
        self.rank = rank
        self.epoch = 0
        self.drop_last = drop_last
        full, rest = divmod(len(dataset), num_replicas)
        self.num_samples = full + (rest > 0 and not drop_last)
        self.total_size = self.num_samples * num_replicas
        self.shuffle = shuffle
        self.seed = seed

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        if self.shuffle:
            order = shuffled(n, Generator().manual_seed(self.seed + self.epoch))
        else:
            order = list(range(n))
        repeated = order * max(1, math.ceil(self.total_size / n)) if n else order
        return iter(repeated[self.rank : self.total_size : self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, which changes the order of a shuffling sampler."""
        self.epoch = epoch

"""Samplers: the order in which a loader visits the samples of a dataset. Random ones draw PyTorch's random numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from itertools import chain, islice, repeat
from typing import Generic, TypeVar

from flambeau.core import random
from flambeau.core.dtypes import float64
from flambeau.core.random import Generator, default_generator
from flambeau.tensor.exchange import as_tensor

__all__ = [
    "BatchSampler",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
]

T = TypeVar("T", covariant=True)
_DRAWS_AT_ONCE = 32  # as PyTorch does, since a generator's numbers depend on how many are drawn together


def draw_seed(generator: Generator | None = None) -> int:
    """One 64-bit draw from ``generator``, or from the default one."""
    return int(random.random(generator or default_generator, ()))


def shuffled(n: int, generator: Generator | None = None) -> list[int]:
    """``range(n)`` in the order of ``torch.randperm``."""
    return random.permutation(generator or default_generator, n).tolist()


def _check_count(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError(f"{name} should be a positive integer value, but got {name}={value}")


class Sampler(Generic[T]):
    """Base of samplers: subclasses define ``__iter__``, over indices or lists of them, and usually ``__len__``.

    Raises ``NotImplementedError`` when it is iterated over without an ``__iter__`` of its own.

    >>> import flambeau as torch
    >>> class Evens(torch.utils.data.Sampler):
    ...     def __iter__(self):
    ...         return iter(range(0, 6, 2))
    >>> list(Evens())
    [0, 2, 4]

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.Sampler
    """

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError


class SequentialSampler(Sampler[int]):
    """All indices in order.

    >>> import flambeau as torch
    >>> list(torch.utils.data.SequentialSampler("abc"))
    [0, 1, 2]

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.SequentialSampler
    """

    def __init__(self, data_source: Sized) -> None:
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler[int]):
    """``num_samples`` indices (all of them) in random order, or with ``replacement`` each drawn from all.

    Without a ``generator`` every pass seeds one of its own with a draw from the default generator.

    Raises ``TypeError`` for a ``replacement`` that is no bool, ``ValueError`` for a ``num_samples`` that is not positive.

    >>> import flambeau as torch
    >>> sorted(torch.utils.data.RandomSampler(range(4)))
    [0, 1, 2, 3]

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.RandomSampler
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Generator | None = None,
    ) -> None:
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(replacement, bool):
            raise TypeError(f"replacement should be a boolean value, but got replacement={replacement}")
        _check_count("num_samples", self.num_samples)

    @property
    def num_samples(self) -> int:
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        n, generator = len(self.data_source), self.generator
        if generator is None:
            generator = Generator().manual_seed(draw_seed())
        full, rest = divmod(self.num_samples, _DRAWS_AT_ONCE if self.replacement else n)
        if self.replacement:
            for count in chain(repeat(_DRAWS_AT_ONCE, full), (rest,)):
                yield from random.integers(generator, (count,), 0, n).tolist()
        else:
            for count in chain(repeat(n, full), (rest,)):
                yield from shuffled(n, generator)[:count]

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler[int]):
    """The given indices in random order.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> list(torch.utils.data.SubsetRandomSampler([10, 20, 30]))
    [30, 10, 20]

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.SubsetRandomSampler
    """

    def __init__(self, indices: Sequence[int], generator: Generator | None = None) -> None:
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        for i in shuffled(len(self.indices), self.generator):
            yield self.indices[i]

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler[int]):
    """``num_samples`` indices, each drawn with a probability proportional to its weight.

    Raises ``ValueError`` for weights that are no vector and for a ``num_samples`` that is not positive.

    >>> import flambeau as torch
    >>> _ = torch.manual_seed(0)
    >>> list(torch.utils.data.WeightedRandomSampler([0.9, 0.0, 0.1], num_samples=5))
    [2, 0, 0, 2, 0]

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.WeightedRandomSampler
    """

    def __init__(
        self,
        weights: Sequence[float],
        num_samples: int,
        replacement: bool = True,
        generator: Generator | None = None,
    ) -> None:
        _check_count("num_samples", num_samples)
        if not isinstance(replacement, bool):
            raise ValueError(f"replacement should be a boolean value, but got replacement={replacement}")
        self.weights = as_tensor(weights, dtype=float64)
        if self.weights.ndim != 1:
            raise ValueError(f"weights should be a 1d sequence but given weights have shape {tuple(self.weights.shape)}")
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        generator = self.generator or default_generator
        yield from random.multinomial(generator, self.weights.numpy(), self.num_samples, self.replacement).tolist()

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler[list[int]]):
    """Lists of ``batch_size`` indices from another sampler; the last may be shorter, unless ``drop_last``.

    Raises ``ValueError`` for a ``batch_size`` that is not positive and a ``drop_last`` that is no bool.

    >>> from flambeau.utils.data import BatchSampler
    >>> list(BatchSampler(range(5), batch_size=2, drop_last=False))
    [[0, 1], [2, 3], [4]]

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.BatchSampler
    """

    def __init__(self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool) -> None:
        _check_count("batch_size", batch_size)
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[int]]:
        indices = iter(self.sampler)
        least = self.batch_size if self.drop_last else 1
        while len(batch := list(islice(indices, self.batch_size))) >= least:
            yield batch

    def __len__(self) -> int:
        full, rest = divmod(len(self.sampler), self.batch_size)  # type: ignore[arg-type]
        return full + (rest > 0 and not self.drop_last)

"""Datasets: by index (:class:`Dataset`) or one after the other (:class:`IterableDataset`), and combinations of them."""

from __future__ import annotations

import math
import warnings
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar

import numpy as np

from flambeau import dispatch
from flambeau.core.random import Generator, default_generator
from flambeau.tensor import Tensor
from flambeau.tensor.reading import is_plain
from flambeau.tensor.record import known
from flambeau.utils.data.sampler import shuffled

__all__ = [
    "ChainDataset",
    "ConcatDataset",
    "Dataset",
    "IterableDataset",
    "StackDataset",
    "Subset",
    "TensorDataset",
    "random_split",
]

T = TypeVar("T")


class Dataset(Generic[T]):
    """Samples that are found by key: subclasses define ``__getitem__``, and ``__len__`` where a sampler needs it.

    A subclass may define ``__getitems__(indices)``, which gets a list of samples at once. ``a + b`` concatenates.

    Raises ``NotImplementedError`` where a subclass has no ``__getitem__``.

    >>> from flambeau.utils.data import Dataset
    >>> class Squares(Dataset):
    ...     def __getitem__(self, i):
    ...         return i * i
    ...     def __len__(self):
    ...         return 4
    >>> both = Squares() + Squares()
    >>> len(both), both[5]
    (8, 1)

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.Dataset
    """

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[T]) -> ConcatDataset[T]:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T], Iterable[T]):
    """Samples that come in an order of their own: subclasses define ``__iter__``. ``a + b`` chains.

    Where a :class:`DataLoader` has workers, each of them iterates over all of its copy: divide the samples among them
    in ``__iter__`` with :func:`get_worker_info`.

    >>> import flambeau as torch
    >>> class Count(torch.utils.data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(3))
    >>> list(torch.utils.data.DataLoader(Count(), batch_size=2))
    [tensor([0, 1]), tensor([2])]

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.IterableDataset
    """

    def __add__(self, other: Dataset[T]) -> ChainDataset:  # type: ignore[override]
        return ChainDataset([self, other])


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Sample ``i`` is ``(a[i], b[i], ...)`` of tensors that have the same first dimension.

    Raises ``AssertionError`` for tensors of different first dimensions.

    >>> import flambeau as torch
    >>> torch.utils.data.TensorDataset(torch.arange(3), torch.zeros(3))[1]
    (tensor(1), tensor(0.))

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.TensorDataset
    """

    tensors: tuple[Tensor, ...]

    def __init__(self, *tensors: Tensor) -> None:
        if any(t.size(0) != tensors[0].size(0) for t in tensors):
            shapes = ", ".join(str(list(t.shape)) for t in tensors)
            raise AssertionError(f"Size mismatch between tensors: their first dimensions must be equal, got {shapes}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple([tensor[index] for tensor in self.tensors])

    def __len__(self) -> int:
        return self.tensors[0].size(0)


def columns_at(dataset: Any, indices: Any) -> list[Tensor] | None:
    """The batch of a :class:`TensorDataset`, or a :class:`Subset` of one, in one step: what stacking its samples would give.

    ``None`` where something else has a say: a subclass, the tape, indices that are no numbers or out of range.
    """
    if type(dataset) is Subset:
        inner = dataset.indices
        if type(indices) is not list or type(inner) not in (list, range) or not all([type(i) is int for i in indices]):
            return None
        if not all([-len(inner) <= i < len(inner) for i in indices]):
            return None
        return columns_at(dataset.dataset, [inner[i] for i in indices])
    if type(dataset) is not TensorDataset or type(indices) is not list or not indices:
        return None
    tensors, n = dataset.tensors, len(dataset)
    if not all([type(t) is Tensor and not t.requires_grad and len(t) == n for t in tensors]):
        return None
    if not all([type(i) is int and -n <= i < n for i in indices]):
        return None
    return [dispatch.wrap(_values(t)[indices], t.dtype) for t in tensors]


def _values(t: Tensor) -> np.ndarray:
    """The values of ``t``, without waiting for kernels that do something else where that can be."""
    values = known(t) if is_plain(t) else None
    return t._array() if values is None else values


class StackDataset(Dataset):
    """Sample ``i`` is a tuple, or with keywords a dictionary, of the samples ``i`` of datasets of equal length.

    Raises ``ValueError`` for no datasets and for datasets of different lengths.

    >>> from flambeau.utils.data import StackDataset
    >>> StackDataset(image=["a", "b"], text=["c", "d"])[1]
    {'image': 'b', 'text': 'd'}

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.StackDataset
    """

    datasets: tuple | dict

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if args and kwargs:
            raise ValueError(
                "Supported either ``tuple``- (via ``args``) or ``dict``- (via ``kwargs``) like input/output, but both "
                "types are given."
            )
        if not args and not kwargs:
            raise ValueError("At least one dataset should be passed")
        self.datasets = args or kwargs
        lengths = [len(dataset) for dataset in self._parts()]
        if len(set(lengths)) > 1:
            raise ValueError(f"Size mismatch between datasets: expected equal lengths, got {lengths}")
        self._length = lengths[0]

    def _parts(self) -> list:
        return list(self.datasets.values() if isinstance(self.datasets, dict) else self.datasets)

    def _sample(self, parts: Iterable) -> tuple | dict:
        return dict(zip(self.datasets, parts, strict=True)) if isinstance(self.datasets, dict) else tuple(parts)

    def __getitem__(self, index: Any) -> tuple | dict:
        return self._sample([dataset[index] for dataset in self._parts()])

    def __getitems__(self, indices: list) -> list:
        columns = [_get_items(dataset, indices) for dataset in self._parts()]
        for column in columns:
            if len(column) != len(indices):
                raise ValueError(f"Nested dataset's output size mismatch. Expected {len(indices)}, got {len(column)}")
        return [self._sample(row) for row in zip(*columns, strict=True)]

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset[T]):
    """Datasets one after the other, as one.

    Raises ``AssertionError`` for no datasets and for iterable ones.

    >>> from flambeau.utils.data import ConcatDataset
    >>> both = ConcatDataset([["a", "b"], ["c"]])
    >>> len(both), both[2]
    (3, 'c')

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.ConcatDataset
    """

    datasets: list[Dataset[T]]
    cumulative_sizes: list[int]

    def __init__(self, datasets: Iterable[Dataset]) -> None:
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("datasets should not be an empty iterable")
        if any(isinstance(dataset, IterableDataset) for dataset in self.datasets):
            raise AssertionError("ConcatDataset does not support IterableDataset: use ChainDataset")
        self.cumulative_sizes = list(accumulate(map(len, self.datasets)))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]

    def __getitem__(self, idx: int) -> T:
        n = len(self)
        if idx < -n:
            raise ValueError(f"absolute value of index should not exceed dataset length: got {idx}, length {n}")
        if idx < 0:
            idx += n
        which = bisect_right(self.cumulative_sizes, idx)
        return self.datasets[which][idx - (self.cumulative_sizes[which - 1] if which else 0)]


class ChainDataset(IterableDataset):
    """Iterable datasets one after the other, as one.

    Raises ``AssertionError`` for a dataset that is not iterable.

    >>> import flambeau as torch
    >>> class Count(torch.utils.data.IterableDataset):
    ...     def __iter__(self):
    ...         return iter(range(2))
    >>> list(torch.utils.data.ChainDataset([Count(), Count()]))
    [0, 1, 0, 1]

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.ChainDataset
    """

    def __init__(self, datasets: Iterable[Dataset]) -> None:
        self.datasets = datasets

    def _checked(self) -> Iterator[Dataset]:
        for dataset in self.datasets:
            if not isinstance(dataset, IterableDataset):
                raise AssertionError(f"ChainDataset only supports IterableDataset, not {type(dataset).__name__}")
            yield dataset

    def __iter__(self) -> Iterator:
        for dataset in self._checked():
            yield from dataset  # type: ignore[misc]

    def __len__(self) -> int:
        return sum(map(len, self._checked()))  # type: ignore[arg-type]


class Subset(Dataset[T]):
    """The samples of a dataset at some indices.

    A subclass that defines ``__getitem__`` must define ``__getitems__`` too, which a loader prefers.

    Raises ``NotImplementedError`` for a subclass that defines one of the two alone.

    >>> import flambeau as torch
    >>> subset = torch.utils.data.Subset(["a", "b", "c"], [2, 0])
    >>> len(subset), subset[0]
    (2, 'c')

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.Subset
    """

    dataset: Dataset[T]
    indices: Sequence[int]

    def __init__(self, dataset: Dataset[T], indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = indices
        cls = type(self)
        if cls.__getitem__ is not Subset.__getitem__ and cls.__getitems__ is Subset.__getitems__:
            raise NotImplementedError(
                f"{cls.__name__} overrides __getitem__ but not __getitems__. A DataLoader asks for many samples at once, "
                "so define that too, for example:\n\n"
                "def __getitems__(self, indices):\n    return [self.__getitem__(idx) for idx in indices]"
            )

    def __getitem__(self, idx: Any) -> T:
        if isinstance(idx, list):
            return self.dataset[[self.indices[i] for i in idx]]
        return self.dataset[self.indices[idx]]

    def __getitems__(self, indices: list[int]) -> list[T]:
        return _get_items(self.dataset, [self.indices[i] for i in indices])

    def __len__(self) -> int:
        return len(self.indices)


def _get_items(dataset: Any, indices: list) -> list:
    if callable(getattr(dataset, "__getitems__", None)):
        return dataset.__getitems__(indices)
    return [dataset[i] for i in indices]


def random_split(
    dataset: Dataset[T], lengths: Sequence[int | float], generator: Generator | None = default_generator
) -> list[Subset[T]]:
    """Divides a dataset at random into subsets of the given lengths, or of the given fractions of its length.

    Fractions, which must sum to 1, are rounded down; what is left goes to the subsets in turn, one each.

    >>> import flambeau as torch
    >>> parts = torch.utils.data.random_split(range(10), [0.7, 0.3], torch.Generator().manual_seed(0))
    >>> [len(part) for part in parts]
    [7, 3]

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.random_split
    """
    total = len(dataset)  # type: ignore[arg-type]
    if math.isclose(sum(lengths), 1) and sum(lengths) <= 1:
        lengths = _lengths_of_fractions(total, lengths)
    if sum(lengths) != total:
        raise ValueError(
            "Sum of input lengths does not equal the length of the input dataset! "
            f"The lengths {list(lengths)} sum to {sum(lengths)}, the dataset has {total} samples"
        )
    order = shuffled(total, generator)
    ends = [int(end) for end in accumulate(lengths)]
    return [Subset(dataset, order[start:end]) for start, end in zip([0, *ends], ends)]  # type: ignore[misc]


def _lengths_of_fractions(total: int, fractions: Sequence[float]) -> list[int]:
    for i, fraction in enumerate(fractions):
        if not 0 <= fraction <= 1:
            raise ValueError(f"Fraction at index {i} is not between 0 and 1: {fraction}")
    lengths = [math.floor(total * fraction) for fraction in fractions]
    for i in range(total - sum(lengths)):
        lengths[i % len(lengths)] += 1
    for i, length in enumerate(lengths):
        if length == 0:
            warnings.warn(f"Length of split at index {i} is 0. This might result in an empty dataset.", stacklevel=3)
    return lengths

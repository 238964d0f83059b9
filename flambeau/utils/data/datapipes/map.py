"""Pipes of elements that are found by key."""

from __future__ import annotations

import copy
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from flambeau.utils.data.datapipes.datapipe import DataChunk, MapDataPipe, Shuffling, functional_datapipe

__all__ = ["Batcher", "Concater", "Mapper", "SequenceWrapper", "Shuffler", "Zipper"]


class SequenceWrapper(MapDataPipe):
    """The elements of a list, or the values of a dict; of a copy, unless ``deepcopy=False``."""

    def __init__(self, sequence: Any, deepcopy: bool = True) -> None:
        self.sequence = copy.deepcopy(sequence) if deepcopy else sequence

    def __getitem__(self, index: Any) -> Any:
        return self.sequence[index]

    def __len__(self) -> int:
        return len(self.sequence)


@functional_datapipe("map")
class Mapper(MapDataPipe):
    """``fn`` of each element."""

    def __init__(self, datapipe: MapDataPipe, fn: Callable = lambda x: x) -> None:
        self.datapipe, self.fn = datapipe, fn

    def __getitem__(self, index: Any) -> Any:
        return self.fn(self.datapipe[index])

    def __len__(self) -> int:
        return len(self.datapipe)  # type: ignore[arg-type]


@functional_datapipe("concat")
class Concater(MapDataPipe):
    """The elements of one pipe, then those of the next: the keys are numbers."""

    def __init__(self, *datapipes: MapDataPipe) -> None:
        if not datapipes:
            raise ValueError("Expected at least one DataPipe, but got nothing")
        self.datapipes = datapipes

    def __getitem__(self, index: int) -> Any:
        ends = list(accumulate(len(p) for p in self.datapipes))  # type: ignore[arg-type]
        which = bisect_right(ends, index)
        if which == len(ends):
            raise IndexError(f"Index {index} is out of range.")
        return self.datapipes[which][index - (ends[which - 1] if which else 0)]

    def __len__(self) -> int:
        return sum(len(p) for p in self.datapipes)  # type: ignore[arg-type, misc]


@functional_datapipe("zip")
class Zipper(MapDataPipe):
    """Tuples of one element of each pipe."""

    def __init__(self, *datapipes: MapDataPipe) -> None:
        if not datapipes:
            raise ValueError("Expected at least one DataPipe, but got nothing")
        self.datapipes = datapipes

    def __getitem__(self, index: Any) -> tuple:
        return tuple([p[index] for p in self.datapipes])

    def __len__(self) -> int:
        return min(len(p) for p in self.datapipes)  # type: ignore[arg-type, type-var, return-value]


@functional_datapipe("batch")
class Batcher(MapDataPipe):
    """Lists of ``batch_size`` elements; the last may be shorter, unless ``drop_last``."""

    def __init__(self, datapipe: MapDataPipe, batch_size: int, drop_last: bool = False, wrapper_class: type = DataChunk) -> None:
        if batch_size <= 0:
            raise AssertionError("Batch size is required to be larger than 0!")
        self.datapipe, self.batch_size, self.drop_last, self.wrapper_class = datapipe, batch_size, drop_last, wrapper_class

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"Index {index} is out of bound.")
        end = min((index + 1) * self.batch_size, len(self.datapipe))  # type: ignore[arg-type]
        return self.wrapper_class([self.datapipe[i] for i in range(index * self.batch_size, end)])

    def __len__(self) -> int:
        n = len(self.datapipe)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


class Shuffler(Shuffling):
    """The elements in another order, one after the other."""

    def __init__(self, datapipe: MapDataPipe, *, indices: Sequence | None = None) -> None:
        super().__init__()
        self.datapipe = datapipe
        self.indices = list(range(len(datapipe))) if indices is None else indices  # type: ignore[arg-type]

    def __iter__(self) -> Iterator:
        for i in (
            reversed(self._rng.sample(self.indices, len(self.indices))) if self._enabled else self.indices
        ):  # from the end, as PyTorch
            yield self.datapipe[i]

    def __len__(self) -> int:
        return len(self.datapipe)  # type: ignore[arg-type]


MapDataPipe.register_datapipe_as_function("shuffle", Shuffler)

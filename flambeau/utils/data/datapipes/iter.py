"""Pipes of elements that come one after the other.

Names and arguments are PyTorch's: ``Mapper(pipe, fn)`` is ``pipe.map(fn)``, and so on, by the name in the decorator.
"""

from __future__ import annotations

import copy
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from fnmatch import fnmatch
from typing import Any

from flambeau.utils.data.collate import default_collate
from flambeau.utils.data.datapipes.datapipe import DataChunk, IterDataPipe, Shuffling, functional_datapipe
from flambeau.utils.data.sampler import Sampler as _Sampler
from flambeau.utils.data.sampler import SequentialSampler

__all__ = [
    "Batcher", "Collator", "Concater", "Demultiplexer", "FileLister", "FileOpener", "Filter", "Forker", "Grouper", "IterableWrapper", "Mapper",
    "Multiplexer", "Sampler", "ShardingFilter", "Shuffler", "StreamReader", "UnBatcher", "Zipper",
]  # fmt: skip


class IterableWrapper(IterDataPipe):
    """The elements of something that can be iterated over, of which each round takes a copy (``deepcopy=False``: of which it does
    not)."""

    def __init__(self, iterable: Iterable, deepcopy: bool = True) -> None:
        self.iterable, self.deepcopy = iterable, deepcopy

    def __iter__(self) -> Iterator:
        yield from copy.deepcopy(self.iterable) if self.deepcopy else self.iterable

    def __len__(self) -> int:
        return len(self.iterable)  # type: ignore[arg-type]


@functional_datapipe("map")
class Mapper(IterDataPipe):
    """``fn`` of each element; of its part ``input_col`` alone, where that is given, put in the place ``output_col``.

    >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
    >>> list(IterableWrapper([(1, 2), (3, 4)]).map(lambda x: -x, input_col=1))
    [(1, -2), (3, -4)]
    """

    def __init__(self, datapipe: Iterable, fn: Callable, input_col: Any = None, output_col: Any = None) -> None:
        if input_col is None and output_col is not None:
            raise ValueError("`output_col` must be None when `input_col` is None.")
        if isinstance(output_col, (list, tuple)):
            if len(output_col) > 1:
                raise ValueError("`output_col` must be a single-element list or tuple")
            output_col = output_col[0]
        self.datapipe, self.fn, self.input_col, self.output_col = datapipe, fn, input_col, output_col

    def _apply(self, element: Any) -> Any:
        if self.input_col is None:
            return self.fn(element)
        several = isinstance(self.input_col, (list, tuple))
        result = self.fn(*[element[c] for c in self.input_col]) if several else self.fn(element[self.input_col])
        parts = copy.copy(element) if isinstance(element, dict) else list(element)
        if self.output_col is None:
            place = self.input_col[0] if several else self.input_col
            parts[place] = result
            for other in sorted(self.input_col[1:], reverse=True) if several else ():
                del parts[other]
        elif self.output_col == -1 and isinstance(parts, list):
            parts.append(result)
        else:
            parts[self.output_col] = result
        return tuple(parts) if isinstance(element, tuple) else parts

    def __iter__(self) -> Iterator:
        for element in self.datapipe:
            yield self._apply(element)

    def __len__(self) -> int:
        return len(self.datapipe)  # type: ignore[arg-type]


@functional_datapipe("collate")
class Collator(Mapper):
    """Batches as tensors, by ``collate_fn``."""

    def __init__(self, datapipe: Iterable, conversion: Any = None, collate_fn: Callable | None = None) -> None:
        if conversion is not None and not callable(conversion):
            raise NotImplementedError(
                "collate(): conversions by the names of columns are those of data frames, which flambeau does not have; give a function"
            )
        super().__init__(datapipe, conversion or collate_fn or default_collate)


@functional_datapipe("filter")
class Filter(IterDataPipe):
    """The elements for which ``filter_fn`` is true, of their part ``input_col`` where that is given."""

    def __init__(self, datapipe: Iterable, filter_fn: Callable, input_col: Any = None) -> None:
        self.datapipe, self.filter_fn, self.input_col = datapipe, filter_fn, input_col

    def __iter__(self) -> Iterator:
        c = self.input_col
        for element in self.datapipe:
            given = (element,) if c is None else [element[i] for i in c] if isinstance(c, (list, tuple)) else (element[c],)
            kept = self.filter_fn(*given)
            if not isinstance(kept, bool):
                raise ValueError(f"Boolean output is required for `filter_fn` of FilterIterDataPipe, got {type(kept)}")
            if kept:
                yield element


@functional_datapipe("batch")
class Batcher(IterDataPipe):
    """Lists of ``batch_size`` elements; the last may be shorter, unless ``drop_last``."""

    def __init__(self, datapipe: Iterable, batch_size: int, drop_last: bool = False, wrapper_class: type = DataChunk) -> None:
        if batch_size <= 0:
            raise AssertionError("Batch size is required to be larger than 0!")
        self.datapipe, self.batch_size, self.drop_last, self.wrapper_class = datapipe, batch_size, drop_last, wrapper_class

    def __iter__(self) -> Iterator:
        batch: list = []
        for element in self.datapipe:
            batch.append(element)
            if len(batch) == self.batch_size:
                yield self.wrapper_class(batch)
                batch = []
        if batch and not self.drop_last:
            yield self.wrapper_class(batch)

    def __len__(self) -> int:
        n = len(self.datapipe)  # type: ignore[arg-type]
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)


@functional_datapipe("unbatch")
class UnBatcher(IterDataPipe):
    """The elements of batches, ``unbatch_level`` deep; ``-1``: as deep as there are batches."""

    def __init__(self, datapipe: Iterable, unbatch_level: int = 1) -> None:
        if unbatch_level < -1:
            raise ValueError("unbatch_level must be -1 or >= 0")
        self.datapipe, self.unbatch_level = datapipe, unbatch_level

    def __iter__(self) -> Iterator:
        for element in self.datapipe:
            yield from self._elements(element, self.unbatch_level)

    def _elements(self, element: Any, level: int) -> Iterator:
        is_batch = isinstance(element, (list, DataChunk))
        if level == 0 or level < 0 and not is_batch:
            yield element
            return
        if not is_batch:
            raise IndexError(f"unbatch_level {self.unbatch_level} exceeds the depth of the DataPipe")
        for inner in element:
            yield from self._elements(inner, level - 1 if level > 0 else level)


@functional_datapipe("groupby")
class Grouper(IterDataPipe):
    """Lists of elements with one key, at most ``group_size`` long; of ``buffer_size`` elements that wait, the largest group goes
    first."""

    def __init__(
        self, datapipe: Iterable, group_key_fn: Callable, *, keep_key: bool = False, buffer_size: int = 10000, group_size: int | None = None,
        guaranteed_group_size: int | None = None, drop_remaining: bool = False,
    ) -> None:  # fmt: skip
        self.datapipe, self.group_key_fn, self.keep_key, self.buffer_size, self.group_size = (
            datapipe,
            group_key_fn,
            keep_key,
            buffer_size,
            group_size,
        )
        self.guaranteed_group_size = (
            group_size
            if guaranteed_group_size is None and group_size is not None and 0 < group_size <= buffer_size
            else guaranteed_group_size
        )
        self.drop_remaining = drop_remaining

    def __iter__(self) -> Iterator:
        groups: dict[Any, list] = {}
        waiting = 0
        for element in self.datapipe:
            key = self.group_key_fn(element)
            groups.setdefault(key, []).append(element)
            waiting += 1
            if self.group_size is not None and len(groups[key]) == self.group_size:
                waiting -= len(groups[key])
                yield self._group(key, groups.pop(key))
            if waiting == self.buffer_size:
                largest = max(groups, key=lambda k: len(groups[k]))
                found = groups.pop(largest)
                waiting -= len(found)
                if self.guaranteed_group_size is not None and len(found) < self.guaranteed_group_size and not self.drop_remaining:
                    raise RuntimeError(f"Failed to group items {found}")
                if self.guaranteed_group_size is None or len(found) >= self.guaranteed_group_size:
                    yield self._group(largest, found)
        for key, found in groups.items():
            yield self._group(key, found)

    def _group(self, key: Any, elements: list) -> Any:
        chunk = DataChunk(elements)
        return (key, chunk) if self.keep_key else chunk


@functional_datapipe("shuffle")
class Shuffler(Shuffling):
    """The elements in another order: each is one of ``buffer_size`` that wait."""

    def __init__(self, datapipe: Iterable, *, buffer_size: int = 10000, unbatch_level: int = 0) -> None:
        if buffer_size <= 0:
            raise ValueError("buffer_size should be larger than 0")
        super().__init__()
        self.datapipe = datapipe.unbatch(unbatch_level=unbatch_level) if unbatch_level else datapipe  # type: ignore[attr-defined]
        self.buffer_size = buffer_size

    def __iter__(self) -> Iterator:
        if not self._enabled:
            yield from self.datapipe
            return
        waiting: list = []
        for element in self.datapipe:
            if len(waiting) < self.buffer_size:
                waiting.append(element)
                continue
            i = self._rng.randint(0, len(waiting) - 1)
            chosen, waiting[i] = waiting[i], element
            yield chosen
        while waiting:
            yield waiting.pop(self._rng.randint(0, len(waiting) - 1))

    def __len__(self) -> int:
        return len(self.datapipe)  # type: ignore[arg-type]


class Sampler(IterDataPipe):
    """What a sampler of the elements' numbers gives: by default the numbers in order."""

    def __init__(
        self,
        datapipe: Any,
        sampler: type[_Sampler] = SequentialSampler,
        sampler_args: tuple = (),
        sampler_kwargs: dict | None = None,
    ) -> None:
        self.datapipe = datapipe
        self.sampler = sampler(*sampler_args, **{"data_source": datapipe, **(sampler_kwargs or {})})

    def __iter__(self) -> Iterator:
        return iter(self.sampler)

    def __len__(self) -> int:
        return len(self.sampler)  # type: ignore[arg-type]


@functional_datapipe("concat")
class Concater(IterDataPipe):
    """The elements of one pipe, then those of the next."""

    def __init__(self, *datapipes: IterDataPipe) -> None:
        if not datapipes:
            raise ValueError("Expected at least one DataPipe, but got nothing")
        self.datapipes = datapipes

    def __iter__(self) -> Iterator:
        for pipe in self.datapipes:
            yield from pipe

    def __len__(self) -> int:
        return sum(len(p) for p in self.datapipes)  # type: ignore[arg-type, misc]


@functional_datapipe("zip")
class Zipper(IterDataPipe):
    """Tuples of one element of each pipe, as long as all have one."""

    def __init__(self, *datapipes: IterDataPipe) -> None:
        self.datapipes = datapipes

    def __iter__(self) -> Iterator:
        yield from zip(*self.datapipes)  # noqa: B905  # the shortest ends it

    def __len__(self) -> int:
        return min(len(p) for p in self.datapipes)  # type: ignore[arg-type, type-var, return-value]


@functional_datapipe("mux")
class Multiplexer(Zipper):
    """An element of the first pipe, one of the second, and so on, until one has no more."""

    def __iter__(self) -> Iterator:
        for row in zip(*self.datapipes):  # noqa: B905  # the shortest ends it
            yield from row

    def __len__(self) -> int:
        return super().__len__() * len(self.datapipes)


class _Branch(IterDataPipe):
    """One of several pipes with one source: see :class:`Forker` and :class:`Demultiplexer`."""

    def __init__(self, main: Branching, number: int) -> None:
        self.main, self.number = main, number

    def __iter__(self) -> Iterator:
        yield from self.main.elements(self.number, self._round)

    def __len__(self) -> int:
        if not self.main.same:
            raise TypeError(f"{type(self).__name__} instance doesn't have valid length: how many elements are whose is not known")
        return len(self.main.datapipe)  # type: ignore[arg-type]


class Branching:
    """Reads a source once for several pipes; what one has had and another has not waits, ``buffer_size`` elements at most.

    ``branches`` says which of them have an element; without, all have it.
    """

    def __init__(
        self, datapipe: Iterable, count: int, buffer_size: int, branches: Callable[[Any], Sequence[int]] | None = None
    ) -> None:
        self.same = branches is None
        self.datapipe, self.count, self.buffer_size, self.branches = (
            datapipe,
            count,
            buffer_size,
            branches or (lambda element: range(count)),
        )
        self.rounds = [0] * count
        self.source: Iterator | None = None
        self.waiting: list[deque] = []

    def elements(self, number: int, round: int) -> Iterator:
        """The elements of one of the pipes. A pipe that is begun again begins the source again, and ends the others' rounds."""
        if self.source is None or self.rounds[number]:
            self.source, self.waiting, self.rounds = iter(self.datapipe), [deque() for _ in range(self.count)], [0] * self.count
        source, waiting = self.source, self.waiting
        self.rounds[number] = round
        while True:
            if source is not self.source:
                raise RuntimeError(
                    "This iterator has been invalidated, because a new iterator has been created from one of the ChildDataPipes"
                )
            if waiting[number]:
                yield waiting[number].popleft()
                continue
            try:
                element = next(source)
            except StopIteration:
                return
            for branch in self.branches(element):
                waiting[branch].append(element)
            if 0 <= self.buffer_size < max(map(len, waiting)):
                raise BufferError(
                    f"buffer_size {self.buffer_size} is too small: one of the pipes is that far behind the others (-1: no limit)"
                )


@functional_datapipe("fork")
class Forker(IterDataPipe):
    """``num_instances`` pipes with the same elements, of a source that is read once.

    >>> from flambeau.utils.data.datapipes.iter import IterableWrapper
    >>> a, b = IterableWrapper(range(3)).fork(2)
    >>> list(a), list(b)
    ([0, 1, 2], [0, 1, 2])
    """

    def __new__(cls, datapipe: IterDataPipe, num_instances: int, buffer_size: int = 1000, copy: str | None = None) -> Any:
        if num_instances < 1:
            raise ValueError(f"Expected `num_instances` larger than 0, but {num_instances} is found")
        main = Branching(datapipe, num_instances, buffer_size)
        return [_Branch(main, i) for i in range(num_instances)]


@functional_datapipe("demux")
class Demultiplexer(IterDataPipe):
    """``num_instances`` pipes, of which each has the elements that ``classifier_fn`` gives its number; ``None``: an error, or
    dropped with ``drop_none``."""

    def __new__(
        cls, datapipe: IterDataPipe, num_instances: int, classifier_fn: Callable, drop_none: bool = False, buffer_size: int = 1000
    ) -> Any:
        if num_instances < 1:
            raise ValueError(f"Expected `num_instances` larger than 0, but {num_instances} is found")

        def branches(element: Any) -> list[int]:
            number = classifier_fn(element)
            if number is None and drop_none:
                return []
            if number is None or not 0 <= number < num_instances:
                raise ValueError(
                    f"Output of the classification fn should be between 0 and {num_instances - 1}. {number} is returned."
                )
            return [number]

        main = Branching(datapipe, num_instances, buffer_size, branches)
        return [_Branch(main, i) for i in range(num_instances)]


@functional_datapipe("sharding_filter")
class ShardingFilter(IterDataPipe):
    """Every n-th element, where n processes share the work: a ``DataLoader`` with workers says so by ``apply_sharding``."""

    def __init__(self, source_datapipe: Iterable, sharding_group_filter: Any = None) -> None:
        self.source_datapipe, self.sharding_group_filter = source_datapipe, sharding_group_filter
        self.num_of_instances, self.instance_id = 1, 0

    def apply_sharding(self, num_of_instances: int, instance_id: int, sharding_group: Any = None) -> None:
        """There are ``num_of_instances`` processes, and this is the one with number ``instance_id``."""
        if instance_id >= num_of_instances:
            raise ValueError(f"instance_id({instance_id}) should be smaller than num_of_instances({num_of_instances})")
        self.num_of_instances, self.instance_id = num_of_instances, instance_id

    def is_shardable(self) -> bool:
        """True."""
        return True

    def __iter__(self) -> Iterator:
        for i, element in enumerate(self.source_datapipe):
            if i % self.num_of_instances == self.instance_id:
                yield element

    def __len__(self) -> int:
        n = len(self.source_datapipe)  # type: ignore[arg-type]
        return n // self.num_of_instances + (self.instance_id < n % self.num_of_instances)


@functional_datapipe("list_files")
class FileLister(IterDataPipe):
    """The paths of the files in folders, those that match ``masks`` alone, in the order of their names."""

    def __init__(
        self,
        root: Any = ".",
        masks: str | Sequence[str] = "",
        *,
        recursive: bool = False,
        abspath: bool = False,
        non_deterministic: bool = False,
        length: int = -1,
    ) -> None:
        self.datapipe = root if isinstance(root, IterDataPipe) else IterableWrapper([root] if isinstance(root, str) else root)
        self.masks, self.recursive, self.abspath, self.length = masks, recursive, abspath, length

    def __iter__(self) -> Iterator[str]:
        masks = [self.masks] if isinstance(self.masks, str) else list(self.masks)
        for root in self.datapipe:
            for folder, folders, files in os.walk(os.path.abspath(root) if self.abspath else root):
                folders.sort()
                for name in sorted(files):
                    if not any(masks) or any(fnmatch(name, mask) for mask in masks):
                        yield os.path.join(folder, name)
                if not self.recursive:
                    break

    def __len__(self) -> int:
        if self.length < 0:
            raise TypeError(f"{type(self).__name__} instance doesn't have valid length")
        return self.length


@functional_datapipe("open_files")
class FileOpener(IterDataPipe):
    """Pairs of a path and the file there, opened with ``mode``."""

    def __init__(self, datapipe: Iterable[str], mode: str = "r", encoding: str | None = None, length: int = -1) -> None:
        self.datapipe, self.mode, self.encoding = datapipe, mode, encoding

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for path in self.datapipe:
            yield path, open(path, self.mode, encoding=self.encoding)  # noqa: SIM115  # the reader closes it

    def __len__(self) -> int:
        return len(self.datapipe)  # type: ignore[arg-type]


@functional_datapipe("read_from_stream")
class StreamReader(IterDataPipe):
    """Of pairs of a path and a file, pairs of the path and ``chunk`` bytes of the file, or all of it."""

    def __init__(self, datapipe: Iterable[tuple[str, Any]], chunk: int | None = None) -> None:
        self.datapipe, self.chunk = datapipe, chunk

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        for path, file in self.datapipe:
            while data := file.read() if self.chunk is None else file.read(self.chunk):
                yield path, data
            file.close()

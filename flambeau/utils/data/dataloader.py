"""DataLoader: batches of a dataset, in the order of a sampler."""

from __future__ import annotations

import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from typing import Any, Generic, TypeVar

from flambeau.core.random import Generator
from flambeau.engine.run import run_ahead
from flambeau.utils.data.collate import default_collate, default_convert
from flambeau.utils.data.dataset import Dataset, IterableDataset
from flambeau.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    draw_seed,
)
from flambeau.utils.data.worker import Worker, get_worker_info, make_fetch

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

T = TypeVar("T")
_FIXED = frozenset(("batch_size", "batch_sampler", "sampler", "drop_last", "dataset", "persistent_workers"))


class _Endless(Sampler[Any]):
    """The sampler of an iterable dataset, which needs no indices."""

    def __iter__(self) -> Iterator[None]:
        while True:
            yield None


class DataLoader(Generic[T]):
    """Iterates over batches of a dataset; every pass consumes random numbers exactly as PyTorch's does.

    ``batch_size``: samples of a batch; ``None`` gives single samples. ``shuffle``: a new random order every pass.
    ``sampler``, ``batch_sampler``: iterables of indices, or of lists of them, that decide the order themselves.
    ``collate_fn``: makes a batch of a list of samples (:func:`default_collate`). ``drop_last``: leaves out a last batch
    that is not full. ``generator``: draws the order and the seeds. ``num_workers``: with more than 0, samples are loaded
    by workers, in turn, with the seeds, ``worker_init_fn`` and ``get_worker_info`` that PyTorch's worker processes have;
    they share the program's process, so the batches are the same and come no faster. What only matters to processes
    (``timeout``, ``multiprocessing_context``, ``pin_memory``, ``in_order``) is accepted and checked.

    >>> import flambeau as torch
    >>> data = torch.utils.data.TensorDataset(torch.arange(5))
    >>> for (batch,) in torch.utils.data.DataLoader(data, batch_size=2):
    ...     print(batch)
    tensor([0, 1])
    tensor([2, 3])
    tensor([4])

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.DataLoader
    """

    dataset: Dataset[T]
    batch_size: int | None
    num_workers: int
    drop_last: bool
    sampler: Sampler | Iterable
    batch_sampler: Sampler[list] | Iterable[list] | None
    _initialized = False

    def __init__(
        self,
        dataset: Dataset[T],
        batch_size: int | None = 1,
        shuffle: bool | None = None,
        sampler: Sampler | Iterable | None = None,
        batch_sampler: Sampler[list] | Iterable[list] | None = None,
        num_workers: int = 0,
        collate_fn: Callable[[list], Any] | None = None,
        pin_memory: bool = False,
        drop_last: bool = False,
        timeout: float = 0,
        worker_init_fn: Callable[[int], None] | None = None,
        multiprocessing_context: Any = None,
        generator: Generator | None = None,
        *,
        prefetch_factor: int | None = None,
        persistent_workers: bool = False,
        pin_memory_device: str = "",
        in_order: bool = True,
    ) -> None:
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers, multiprocessing_context)
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable:
            given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
            for name, value in given.items():
                if value is not None:
                    raise ValueError(
                        f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}"
                    )
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError(
                    "batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last"
                )
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            if self._iterable:
                sampler = _Endless()
            elif shuffle:
                sampler = RandomSampler(dataset, generator=generator)  # type: ignore[arg-type]
            else:
                sampler = SequentialSampler(dataset)  # type: ignore[arg-type]
        if batch_size is not None:
            batch_sampler = BatchSampler(sampler, batch_size, drop_last)

        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = 2 if num_workers > 0 and prefetch_factor is None else prefetch_factor
        self.pin_memory = pin_memory
        self.pin_memory_device = pin_memory_device
        self.timeout = timeout
        self.worker_init_fn = worker_init_fn
        self.multiprocessing_context = multiprocessing_context
        self.in_order = in_order
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.sampler = sampler
        self.batch_sampler = batch_sampler
        self.generator = generator
        self.collate_fn = collate_fn or (default_convert if batch_sampler is None else default_collate)
        self.persistent_workers = persistent_workers
        self._length_told: int | None = None
        self._workers: list[Worker] | None = None
        self._initialized = True

    def __setattr__(self, name: str, value: Any) -> None:
        if self._initialized and name in _FIXED:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    @property
    def _index_sampler(self) -> Any:
        return self.sampler if self.batch_sampler is None else self.batch_sampler

    def __iter__(self) -> Iterator[Any]:
        if self.pin_memory:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be "
                "used.",
                stacklevel=2,
            )
        return _WorkersIter(self) if self.num_workers else _Iter(self)

    def __len__(self) -> int:
        if not self._iterable:
            return len(self._index_sampler)
        length = self._length_told = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is not None:
            length = (length if self.drop_last else length + self.batch_size - 1) // self.batch_size
        return length


def _check_workers(
    num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool, context: Any
) -> None:
    if num_workers < 0:
        raise ValueError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
    if timeout < 0:
        raise ValueError("timeout option should be non-negative")
    if num_workers == 0 and prefetch_factor is not None:
        raise ValueError(
            "prefetch_factor option could only be specified in multiprocessing."
            "let num_workers > 0 to enable multiprocessing, otherwise set prefetch_factor to None."
        )
    if prefetch_factor is not None and prefetch_factor < 0:
        raise ValueError("prefetch_factor option should be non-negative")
    if persistent and num_workers == 0:
        raise ValueError("persistent_workers option needs num_workers > 0")
    if context is not None and num_workers == 0:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading (num_workers > 0), but got "
            f"num_workers={num_workers}"
        )
    if isinstance(context, str):
        from multiprocessing import get_all_start_methods  # slow to import, and only wanted here

        if context not in get_all_start_methods():
            raise ValueError(
                "multiprocessing_context option should specify a valid start method in "
                f"{get_all_start_methods()!r}, but got multiprocessing_context={context!r}"
            )


class _Iter:
    """One pass over a loader without workers."""

    def __init__(self, loader: DataLoader) -> None:
        self._loader = loader
        self._indices = iter(loader._index_sampler)
        self._length_told = loader._length_told
        self._yielded = 0
        self._start()

    def _start(self) -> None:
        draw_seed(self._loader.generator)  # the workers' seed, drawn whether or not there are workers
        self._fetch = self._make_fetch(self._loader.dataset)

    def _make_fetch(self, dataset: Any) -> Callable[[Any], Any]:
        loader = self._loader
        batched = loader.batch_sampler is not None
        return make_fetch(dataset, loader._iterable, batched, loader.collate_fn, loader.drop_last)

    def __iter__(self) -> _Iter:
        return self

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __next__(self) -> Any:
        run_ahead()  # what is done with a batch is a trace of its own, whatever making the next one takes
        data = self._next_data()
        self._yielded += 1
        if self._length_told is not None and self._yielded > self._length_told:
            warnings.warn(
                f"Length of IterableDataset {self._loader.dataset} was reported to be {self._length_told}"
                f"(when accessing len(dataloader)), but {self._yielded} samples have been fetched. ",
                stacklevel=2,
            )
        return data

    def _next_data(self) -> Any:
        return self._fetch(next(self._indices))


class _WorkersIter(_Iter):
    """One pass over a loader with workers: batches go round the workers that still have samples."""

    def _start(self) -> None:
        loader = self._loader
        workers = loader._workers
        if workers is None:
            workers = self._new_workers(draw_seed(loader.generator))
            self._indices = iter(loader._index_sampler)  # a second time, as PyTorch does before its workers' first pass
            if loader.persistent_workers:
                loader._workers = workers
        self._workers = workers
        self._fetches = []
        for worker in workers:
            worker.active = True
            with worker.at_work():
                self._fetches.append(self._make_fetch(worker.info.dataset))
        self._turns = cycle(range(len(workers)))
        self._tasks: deque[tuple[int, Any]] = deque()
        # A sampler is asked ahead of time, as far as PyTorch's workers load ahead: a random one draws that much earlier.
        for _ in range(loader.prefetch_factor * loader.num_workers):  # type: ignore[operator]
            self._add_task()

    def _new_workers(self, base_seed: int) -> list[Worker]:
        loader = self._loader
        workers = [Worker(i, loader.num_workers, base_seed, loader.dataset) for i in range(loader.num_workers)]
        if loader.worker_init_fn is not None:
            for worker in workers:
                with worker.at_work():
                    loader.worker_init_fn(worker.info.id)
        return workers

    def _add_task(self) -> None:
        try:
            index = next(self._indices)
        except StopIteration:
            return
        if any(worker.active for worker in self._workers):
            self._tasks.append((next(w for w in self._turns if self._workers[w].active), index))

    def _next_data(self) -> Any:
        while self._tasks:
            which, index = self._tasks.popleft()
            worker = self._workers[which]
            if not worker.active:
                continue
            try:
                with worker.at_work():
                    data = self._fetches[which](index)
            except StopIteration:
                if not self._loader._iterable:
                    raise
                worker.active = False
                self._add_task()
                continue
            self._add_task()
            return data
        raise StopIteration

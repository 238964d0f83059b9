"""DataLoader: batches of a dataset, in the order of a sampler."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

from flambeau.core.errors import warn
from flambeau.core.random import Generator
from flambeau.utils.data.collate import default_collate, default_convert
from flambeau.utils.data.datapipes.datapipe import IterDataPipe
from flambeau.utils.data.dataset import Dataset, IterableDataset
from flambeau.utils.data.fetching import _DatasetKind
from flambeau.utils.data.info import get_worker_info
from flambeau.utils.data.iteration import Iter
from flambeau.utils.data.iteration import Iter as _BaseDataLoaderIter  # noqa: F401  (libraries ask whether something is one)
from flambeau.utils.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

T = TypeVar("T")
_collate_fn_t = Callable[[list[T]], Any]
_worker_init_fn_t = Callable[[int], None]
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
    that is not full. ``generator``: draws the order and the seeds.

    ``num_workers``: with more than 0, so many processes load batches ahead, ``prefetch_factor`` (2) each, and pass them through
    shared memory. They are started by ``multiprocessing_context`` (``"fork"``, ``"spawn"``, ``"forkserver"``, or a context),
    call ``worker_init_fn(id)`` first, and see :func:`get_worker_info`; worker ``id`` seeds ``torch`` and ``random`` with the
    loader's seed + ``id``. ``persistent_workers``: they serve all passes, instead of one. ``timeout``: seconds after which a
    batch that has not come is an error. ``in_order=False``: batches come as they are ready. An exception in a worker is raised
    here, with its traceback; a worker that ends otherwise is an error at once. Workers pay where a sample takes much longer to
    load than to be sent, some 10 us. ``pin_memory`` is accepted: there is nothing to pin memory for.

    Raises ``ValueError`` for options that exclude each other (a ``sampler`` and ``shuffle``) and where one is set
    afterwards.

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
        _check_workers(num_workers, timeout, prefetch_factor, persistent_workers)
        iterable = isinstance(dataset, IterableDataset)
        self._dataset_kind = _DatasetKind.Iterable if iterable else _DatasetKind.Map
        if iterable:
            if isinstance(dataset, IterDataPipe) and shuffle is not None:
                from flambeau.utils.data.graph_settings import apply_shuffle_settings

                dataset, shuffle = apply_shuffle_settings(dataset, shuffle), None
            given = {"shuffle": shuffle or None, "sampler": sampler, "batch_sampler": batch_sampler}
            for name, value in given.items():
                if value is not None:
                    raise ValueError(f"DataLoader with IterableDataset: expected unspecified {name} option, but got {name}={value}")
        if sampler is not None and shuffle:
            raise ValueError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ValueError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
            batch_size = None
        elif batch_size is None and drop_last:
            raise ValueError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if sampler is None:
            if iterable:
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
        self._IterableDataset_len_called: int | None = None
        self._iterator: Any = None  # that of persistent workers
        self._initialized = True
        self.check_worker_number_rationality()

    def __setattr__(self, name: str, value: Any) -> None:
        if self._initialized and name in _FIXED:
            raise ValueError(f"{name} attribute should not be set after {type(self).__name__} is initialized")
        super().__setattr__(name, value)

    @property
    def _auto_collation(self) -> bool:
        return self.batch_sampler is not None

    @property
    def _index_sampler(self) -> Any:
        return self.batch_sampler if self._auto_collation else self.sampler

    def __iter__(self) -> Iterator[Any]:
        if self.pin_memory:
            warnings.warn(
                "'pin_memory' argument is set as true but no accelerator is found, then device pinned memory won't be used.",
                stacklevel=2,
            )
        if not self.num_workers:
            return Iter(self)
        if self._iterator is not None and self._iterator.usable:
            self._iterator.restart()
            return self._iterator
        self.check_worker_number_rationality()
        from flambeau.utils.data.processes import WorkersIter  # multiprocessing, which most programs do without

        started = WorkersIter(self)
        if self.persistent_workers:
            self._iterator = started
        return started

    @property
    def multiprocessing_context(self) -> Any:
        """The context that starts workers; ``None``: Python's default."""
        return self._multiprocessing_context

    @multiprocessing_context.setter
    def multiprocessing_context(self, context: Any) -> None:
        self._multiprocessing_context = None if context is None else _checked_context(context, self.num_workers)

    def check_worker_number_rationality(self) -> None:
        """Warns where there are more workers than CPUs that this process may use."""
        aware = hasattr(os, "sched_getaffinity")
        cpus = len(os.sched_getaffinity(0)) if aware else os.cpu_count() or 1
        if self.num_workers > cpus:
            unknown = "" if aware else " (`cpuset` is not taken into account)"
            warn(
                f"This DataLoader will create {self.num_workers} worker processes in total. Our suggested max number of "
                f"worker in current system is {cpus}{unknown}, which is smaller than what this DataLoader is going to create. "
                "Please be aware that excessive worker creation might get DataLoader running slow or even freeze, lower the "
                "worker number to avoid potential slowness/freeze if necessary."
            )

    def __len__(self) -> int:
        if self._dataset_kind == _DatasetKind.Map:
            return len(self._index_sampler)
        length = self._IterableDataset_len_called = len(self.dataset)  # type: ignore[arg-type]
        if self.batch_size is not None:
            length = (length if self.drop_last else length + self.batch_size - 1) // self.batch_size
        return length


def _check_workers(num_workers: int, timeout: float, prefetch_factor: int | None, persistent: bool) -> None:
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


def _checked_context(context: Any, num_workers: int) -> Any:
    if num_workers == 0:
        raise ValueError(
            "multiprocessing_context can only be used with multi-process loading (num_workers > 0), but got "
            f"num_workers={num_workers}"
        )
    from multiprocessing import context as contexts
    from multiprocessing import get_all_start_methods, get_context

    if isinstance(context, str):
        if context not in get_all_start_methods():
            raise ValueError(
                "multiprocessing_context option should specify a valid start method in "
                f"{get_all_start_methods()!r}, but got multiprocessing_context={context!r}"
            )
        return get_context(context)
    if not isinstance(context, contexts.BaseContext):
        raise TypeError(
            "multiprocessing_context option should be a valid context object or a string specifying the start method, but "
            f"got multiprocessing_context={context}"
        )
    return context


def __getattr__(name: str) -> Any:
    if name == "_MultiProcessingDataLoaderIter":
        from flambeau.utils.data.processes import WorkersIter  # which imports multiprocessing

        return WorkersIter
    if name == "_SingleProcessDataLoaderIter":
        return Iter
    raise AttributeError(f"module 'torch.utils.data.dataloader' has no attribute '{name}'", name=name)

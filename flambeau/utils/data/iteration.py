"""A pass over a loader, and one without workers."""

from __future__ import annotations

import warnings
from itertools import islice
from typing import TYPE_CHECKING, Any

from flambeau.engine.run import run_ahead
from flambeau.utils.data.datapipes.datapipe import IterDataPipe
from flambeau.utils.data.fetching import _DatasetKind
from flambeau.utils.data.sampler import draw_seed

if TYPE_CHECKING:
    from flambeau.utils.data.dataloader import DataLoader


def seed_pipes(dataset: Any, seed: int) -> None:
    """Gives the data pipes that draw seeds of their own, the same in all processes that are told the same."""
    from flambeau.core.random import Generator
    from flambeau.utils.data.graph_settings import apply_random_seed

    apply_random_seed(dataset, Generator().manual_seed(seed))


class Iter:
    """One pass over a loader without workers."""

    def __init__(self, loader: DataLoader) -> None:
        self._loader = loader
        self._begin()
        self._base_seed = draw_seed(loader.generator)  # the workers' seed, drawn whether or not there are workers
        self._start()

    def _begin(self) -> None:
        self._indices = iter(self._loader._index_sampler)
        self._length_told = self._loader._IterableDataset_len_called
        self._yielded = 0
        dataset = self._loader.dataset
        self._pipe_seed = draw_seed(self._loader.generator) if isinstance(dataset, IterDataPipe) else None
        if self._pipe_seed is not None:
            seed_pipes(dataset, self._pipe_seed)

    def _start(self) -> None:
        if self._loader.timeout:
            raise AssertionError("_SingleProcessDataLoaderIter requires timeout == 0: only workers can be late")
        loader = self._loader
        fetcher = _DatasetKind.create_fetcher(
            loader._dataset_kind, loader.dataset, loader._auto_collation, loader.collate_fn, loader.drop_last
        )
        self._fetch = fetcher.fetch

    def __iter__(self) -> Iter:
        return self

    def __len__(self) -> int:
        return len(self._loader._index_sampler)

    def __getstate__(self) -> Any:
        raise NotImplementedError(f"{type(self).__name__} cannot be pickled")

    def __next__(self) -> Any:
        run_ahead()  # what is done with a batch is a trace of its own, whatever making the next one takes
        data = self._next_data()
        self._yielded += 1
        if self._length_told is not None and self._yielded > self._length_told:
            self._warn_of_length()
        return data

    def skip(self, count: int) -> None:
        """Passes over ``count`` batches. Where this process looks up samples by their index, only the sampler is asked for them."""
        looked_up = self._loader._dataset_kind == _DatasetKind.Map and not self._loader.num_workers
        for _ in islice(self._indices if looked_up else self, count):
            pass

    def _warn_of_length(self) -> None:
        message = (
            f"Length of IterableDataset {self._loader.dataset} was reported to be {self._length_told}"
            f"(when accessing len(dataloader)), but {self._yielded} samples have been fetched. "
        )
        if self._loader.num_workers:
            message += (
                "For multiprocessing data-loading, this could be caused by not properly configuring the IterableDataset "
                "replica at each worker. Please see https://pytorch.org/docs/stable/data.html#torch.utils.data."
                "IterableDataset for examples."
            )
        warnings.warn(message, stacklevel=3)

    def _next_data(self) -> Any:
        return self._fetch(next(self._indices))

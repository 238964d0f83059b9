"""From indices to batches: what a loader does in its own process, and each of its workers in theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flambeau.utils.data.collate import default_collate, default_collate_fn_map
from flambeau.utils.data.dataset import columns_at

_MAP = dict(default_collate_fn_map)
"""As it is where no program has added to it."""

Fetch = Callable[[Any], Any]


class _MapDatasetFetcher:
    """``fetch`` gets the batch, or the sample where there is no ``auto_collation``, of a list of indices or of one."""

    def __init__(self, dataset: Any, auto_collation: bool, collate_fn: Callable, drop_last: bool) -> None:
        self.fetch: Fetch = _fetch_by_index(dataset, auto_collation, collate_fn)


class _IterableDatasetFetcher:
    """``fetch`` gets as many of the next samples as it is given indices; which ones does not matter."""

    def __init__(self, dataset: Any, auto_collation: bool, collate_fn: Callable, drop_last: bool) -> None:
        self.fetch: Fetch = _fetch_next(iter(dataset), auto_collation, collate_fn, drop_last)


class _DatasetKind:
    """Whether samples of a dataset are got by their index, or one after the other."""

    Map = 0
    Iterable = 1

    @staticmethod
    def create_fetcher(
        kind: int, dataset: Any, auto_collation: bool, collate_fn: Callable, drop_last: bool
    ) -> _MapDatasetFetcher | _IterableDatasetFetcher:
        """What fetches from a dataset of that kind."""
        fetcher = _MapDatasetFetcher if kind == _DatasetKind.Map else _IterableDatasetFetcher
        return fetcher(dataset, auto_collation, collate_fn, drop_last)


def _fetch_by_index(dataset: Any, batched: bool, collate_fn: Callable) -> Fetch:
    plain = collate_fn is default_collate and default_collate_fn_map == _MAP

    def sample(index: Any) -> Any:
        try:
            return dataset[index]
        except Exception as error:
            error.add_note(f"It was raised by the sample at index {index!r}.")
            raise

    def fetch(index: Any) -> Any:
        if not batched:
            return collate_fn(sample(index))
        if plain and (columns := columns_at(dataset, index)) is not None:
            return columns
        many = getattr(dataset, "__getitems__", None)
        return collate_fn(many(index) if many else [sample(i) for i in index])

    return fetch


def _fetch_next(samples: Iterator, batched: bool, collate_fn: Callable, drop_last: bool) -> Fetch:
    ended = False

    def fetch(index: Any) -> Any:
        nonlocal ended
        if ended:
            raise StopIteration
        if not batched:
            return collate_fn(next(samples))
        batch = []
        for _ in index:
            try:
                batch.append(next(samples))
            except StopIteration:
                ended = True
                break
        if not batch or drop_last and len(batch) < len(index):
            raise StopIteration
        return collate_fn(batch)

    return fetch

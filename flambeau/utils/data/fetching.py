"""From indices to batches: what a loader does in its own process, and each of its workers in theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flambeau.utils.data.collate import default_collate, default_collate_fn_map
from flambeau.utils.data.dataset import columns_at

_MAP = dict(default_collate_fn_map)
"""As it is where no program has added to it."""

Fetch = Callable[[Any], Any]


def make_fetch(dataset: Any, iterable: bool, batched: bool, collate_fn: Callable, drop_last: bool) -> Fetch:
    """The function that gets a batch of ``dataset``, or a sample if not ``batched``, for an index or a list of them."""
    if not iterable:
        return _fetch_by_index(dataset, batched, collate_fn)
    return _fetch_next(iter(dataset), batched, collate_fn, drop_last)


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

"""The workers of a loader. Here they take turns in the process of the program, each with random streams of its own.

A worker sees what one of PyTorch's worker processes sees: its own seeds for ``torch``, ``random`` and ``numpy.random``,
its own copy of the dataset object (a shallow one: what the dataset refers to is shared), ``worker_init_fn`` and
:func:`get_worker_info`. So batches and their order are PyTorch's; they are made when they are asked for, not ahead.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

import numpy as np

from flambeau.core.random import default_generator
from flambeau.utils.data.collate import default_collate, default_collate_fn_map
from flambeau.utils.data.dataset import Dataset, columns_at

_MAP = dict(default_collate_fn_map)
"""As it is where no program has added to it."""

_current: WorkerInfo | None = None


class WorkerInfo:
    """What :func:`get_worker_info` tells: ``id``, ``num_workers``, ``seed`` and ``dataset`` (this worker's copy)."""

    def __init__(self, id: int, num_workers: int, seed: int, dataset: Any) -> None:
        self.id = id
        self.num_workers = num_workers
        self.seed = seed
        self.dataset = dataset

    def __repr__(self) -> str:
        return f"WorkerInfo(id={self.id}, num_workers={self.num_workers}, seed={self.seed}, dataset={self.dataset})"


def get_worker_info() -> WorkerInfo | None:
    """The worker that is loading a sample now; ``None`` in a loader without workers, and outside of loading.

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.get_worker_info
    """
    return _current


class Worker:
    """Loads samples as worker ``id`` of ``num_workers``."""

    def __init__(self, id: int, num_workers: int, base_seed: int, dataset: Any) -> None:
        own = copy(dataset) if isinstance(dataset, Dataset) else dataset
        self.info = WorkerInfo(id, num_workers, base_seed + id, own)
        self.active = True
        self._states: tuple | None = None
        self._base_seed = base_seed

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """For the length of a ``with`` block, this worker's random streams and :func:`get_worker_info`."""
        global _current
        before, outside = _current, _random_states()
        _current = self.info
        if self._states is None:
            self._seed()
        else:
            _set_random_states(self._states)
        try:
            yield
        finally:
            self._states = _random_states()
            _set_random_states(outside)
            _current = before

    def _seed(self) -> None:
        random.seed(self.info.seed)
        default_generator.manual_seed(self.info.seed)
        words = [self.info.id, self._base_seed & 0xFFFFFFFF, self._base_seed >> 32, 0]
        np.random.seed(np.random.SeedSequence(words).generate_state(4))


def _random_states() -> tuple:
    return random.getstate(), np.random.get_state(), default_generator.get_state()


def _set_random_states(states: tuple) -> None:
    python, numpy, torch = states
    random.setstate(python)
    np.random.set_state(numpy)
    default_generator.set_state(torch)


Fetch = Callable[[Any], Any]


def make_fetch(dataset: Any, iterable: bool, batched: bool, collate_fn: Callable, drop_last: bool) -> Fetch:
    """The function that gets a batch of ``dataset``, or a sample if not ``batched``, for an index or a list of them."""
    if not iterable:
        return _fetch_by_index(dataset, batched, collate_fn)
    return _fetch_next(iter(dataset), batched, collate_fn, drop_last)


def _fetch_by_index(dataset: Any, batched: bool, collate_fn: Callable) -> Fetch:
    plain = collate_fn is default_collate and default_collate_fn_map == _MAP

    def fetch(index: Any) -> Any:
        if not batched:
            return collate_fn(dataset[index])
        if plain and (columns := columns_at(dataset, index)) is not None:
            return columns
        many = getattr(dataset, "__getitems__", None)
        return collate_fn(many(index) if many else [dataset[i] for i in index])

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

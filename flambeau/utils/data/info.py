"""What a worker process knows about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_current: WorkerInfo | None = None


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What :func:`get_worker_info` tells: ``id``, ``num_workers``, ``seed`` and ``dataset`` (this worker's copy)."""

    id: int
    num_workers: int
    seed: int
    dataset: Any
    rng: Any = None
    worker_method: str | None = "multiprocessing"


def get_worker_info() -> WorkerInfo | None:
    """The worker that this process is; ``None`` in the program's own process.

    >>> import flambeau as torch
    >>> print(torch.utils.data.get_worker_info())
    None

    Source: https://docs.pytorch.org/docs/stable/data.html#torch.utils.data.get_worker_info
    """
    return _current


def set_worker_info(info: WorkerInfo) -> None:
    """Says that this process is a worker."""
    global _current
    _current = info

"""``torch.multiprocessing``: Python's own. Tensors are pickled as copies, not shared."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing import *  # noqa: F403
from typing import Any

__all__ = [*multiprocessing.__all__, "get_all_sharing_strategies", "get_sharing_strategy", "set_sharing_strategy", "spawn"]


def set_sharing_strategy(new_strategy: str) -> None:
    """Checks the name: nothing is shared."""
    if new_strategy not in get_all_sharing_strategies():
        raise AssertionError(f"no sharing strategy {new_strategy!r}")


def get_sharing_strategy() -> str:
    return "file_system"


def get_all_sharing_strategies() -> set[str]:
    return {"file_system"}


def spawn(
    fn: Callable, args: tuple = (), nprocs: int = 1, join: bool = True, daemon: bool = False, start_method: str = "spawn"
) -> Any:
    """Runs ``fn(i, *args)`` in ``nprocs`` processes; with ``join``, waits and raises if one failed."""
    context = multiprocessing.get_context(start_method)
    processes = [context.Process(target=fn, args=(i, *args), daemon=daemon) for i in range(nprocs)]  # type: ignore[attr-defined]
    for process in processes:
        process.start()
    if not join:
        return processes
    for process in processes:
        process.join()
    failed = [i for i, process in enumerate(processes) if process.exitcode]
    if failed:
        raise RuntimeError(f"process {failed[0]} terminated with exit code {processes[failed[0]].exitcode}")
    return None

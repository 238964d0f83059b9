"""``torch.multiprocessing``: Python's ``multiprocessing``, whose queues, pipes and processes share the memory of tensors.

Once this is imported, a tensor that is sent to another process is moved into shared memory and seen by both, as after
:meth:`Tensor.share_memory_`. Workers that train the parameters of one model without locks ("Hogwild") need no more than that.

Source: https://docs.pytorch.org/docs/stable/multiprocessing.html
"""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing import *  # noqa: F403

from flambeau.multiprocessing.spawn import (
    ProcessContext,
    ProcessException,
    ProcessExitedException,
    ProcessRaisedException,
    SpawnContext,
    spawn,
    start_processes,
)
from flambeau.tensor import sharing

__all__ = ["set_sharing_strategy", "get_sharing_strategy", "get_all_sharing_strategies", *multiprocessing.__all__]

_strategies = {"file_system"} if sys.platform in ("darwin", "win32") else {"file_descriptor", "file_system"}
_strategy = "file_system" if len(_strategies) == 1 else "file_descriptor"


def set_sharing_strategy(new_strategy: str) -> None:
    """Sets what :func:`get_sharing_strategy` gives. The memory is always without a name, so there is nothing to choose."""
    global _strategy
    if new_strategy not in _strategies:
        raise AssertionError(f"invalid sharing strategy {new_strategy!r}, expected one of {_strategies}")
    _strategy = new_strategy


def get_sharing_strategy() -> str:
    """The strategy for sharing tensors by which programs know it."""
    return _strategy


def get_all_sharing_strategies() -> set[str]:
    """The names that :func:`set_sharing_strategy` takes."""
    return _strategies

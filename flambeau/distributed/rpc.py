"""``torch.distributed.rpc``: calls of functions in other processes, which are not there: what needs them is refused when it is
called.

Source: https://docs.pytorch.org/docs/stable/rpc.html
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from enum import Enum
from typing import Any, NoReturn

__all__ = [
    "BackendType", "RRef", "TensorPipeRpcBackendOptions", "WorkerInfo", "get_worker_info", "init_rpc", "is_available", "remote", "rpc_async", "rpc_sync", "shutdown",
]  # fmt: skip

_NONE = "flambeau calls no functions in other processes; torch.distributed exchanges tensors and objects"


class BackendType(Enum):
    """What calls go through."""

    TENSORPIPE = "TENSORPIPE"


class WorkerInfo:
    """The name and number of a process; nobody makes one."""


class RRef:
    """A reference to a value of another process."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"torch.distributed.rpc.RRef: {_NONE}")


class TensorPipeRpcBackendOptions:
    """Options of :func:`init_rpc`."""

    def __init__(self, **options: Any) -> None:
        self.__dict__.update(options)


def is_available() -> bool:
    """False."""
    return False


def _refused(name: str) -> Callable[..., NoReturn]:
    def call(*args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(f"torch.distributed.rpc.{name}: {_NONE}")

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"Raises ``RuntimeError``: {_NONE}."
    return call


init_rpc, rpc_sync, rpc_async, remote, get_worker_info, shutdown, _all_gather = map(
    _refused, ("init_rpc", "rpc_sync", "rpc_async", "remote", "get_worker_info", "shutdown", "_all_gather")
)


def _require_initialized(func: Callable) -> Callable:
    """Refuses calls of a function that needs :func:`init_rpc`, which cannot be called."""

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError("RPC has not been initialized. Call torch.distributed.rpc.init_rpc first.")

    return wrapper


def _is_current_rpc_agent_set() -> bool:
    return False


api = sys.modules[__name__]

"""``torch.distributed``: processes that work together, on one machine or several.

Data goes through MPI (mpi4py; ``pip install 'flambeau[distributed]'``), whatever has started the processes: torchrun,
``multiprocessing.spawn``, two shells, ``mpiexec``, ``srun``. They meet in a *store* (``_store``, ``_tcp_store``, found by
``rendezvous``), which also answers MPI's questions to its launcher (``_pmi``). Layers, from below: a *transport* moves arrays
(``_transport``; ``_mpi`` between processes), *works* are waited for (``_work``), *groups* are made (``_group``), and tensors
(``_collectives``, ``_messages``) and objects (``_objects``) are exchanged. One process alone needs no MPI.

An operation runs when it is called, and waits for its operands: it is no node of the recorded graph.
Source: https://docs.pytorch.org/docs/stable/distributed.html
"""

from __future__ import annotations

import importlib
from typing import Any

from flambeau.distributed import (
    _collectives,
    _errors,
    _group,
    _messages,
    _objects,
    _postponed,
    _reduction,
    _store,
    _tcp_store,
    _work,
)
from flambeau.distributed import rendezvous as _rendezvous
from flambeau.distributed._collectives import *  # noqa: F403
from flambeau.distributed._errors import *  # noqa: F403
from flambeau.distributed._group import *  # noqa: F403
from flambeau.distributed._group import member as _get_default_group
from flambeau.distributed._messages import *  # noqa: F403
from flambeau.distributed._objects import *  # noqa: F403
from flambeau.distributed._reduction import *  # noqa: F403
from flambeau.distributed._store import *  # noqa: F403
from flambeau.distributed._tcp_store import *  # noqa: F403
from flambeau.distributed._work import *  # noqa: F403
from flambeau.distributed.rendezvous import *  # noqa: F403

_ROOMS = (_collectives, _errors, _group, _messages, _objects, _reduction, _rendezvous, _store, _tcp_store, _work)
__all__ = [*(name for room in _ROOMS for name in room.__all__), "is_available"]

_postponed.postpone()

_LAZY = frozenset(
    ("algorithms", "checkpoint", "device_mesh", "elastic", "fsdp", "launch", "nn", "optim", "rpc", "run", "tensor", "utils")
)


def is_available() -> bool:
    """Whether there are groups of processes: always."""
    return True


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f"flambeau.distributed.{name}")
    if name == "GradBucket":
        from flambeau.distributed.reducer import GradBucket

        return GradBucket
    if name in ("DeviceMesh", "init_device_mesh"):
        return getattr(importlib.import_module("flambeau.distributed.device_mesh"), name)
    raise AttributeError(f"module 'torch.distributed' has no attribute '{name}'", name=name)

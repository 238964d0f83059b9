"""``torch.distributed`` for one process: a group of it alone can be made, and collective operations are what they are over one.

flambeau computes in one process, on all of its threads. Programs that are written for several processes run as the only one
of a group (``world_size=1``); a larger group is refused when it is made, and what needs another process when it is called.
Source: https://docs.pytorch.org/docs/stable/distributed.html
"""

from __future__ import annotations

import importlib
from types import ModuleType

from flambeau.distributed import _collectives, _group
from flambeau.distributed._collectives import *  # noqa: F403
from flambeau.distributed._group import *  # noqa: F403
from flambeau.distributed._group import GroupMember as GroupMember

__all__ = [*_group.__all__, *_collectives.__all__, "is_available"]

_LAZY = frozenset(("algorithms", "checkpoint", "device_mesh", "elastic", "fsdp", "nn", "optim", "rpc", "tensor"))


def is_available() -> bool:
    """False: there are no other processes to talk to. Programs that ask do without, which is what they do on one device."""
    return False


def __getattr__(name: str) -> ModuleType:
    if name in _LAZY:
        return importlib.import_module(f"flambeau.distributed.{name}")
    raise AttributeError(f"module 'torch.distributed' has no attribute '{name}'", name=name)

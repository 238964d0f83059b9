"""``torch.distributed.fsdp``: models that are divided among processes."""

from __future__ import annotations

import importlib
from typing import Any

from flambeau.distributed._refused import refused_names
from flambeau.distributed.fsdp.fully_shard import FSDPModule, UnshardHandle, fully_shard, register_fsdp_forward_method
from flambeau.distributed.fsdp.policies import CPUOffloadPolicy, MixedPrecisionPolicy, OffloadPolicy
from flambeau.distributed.fsdp.wrap import *  # noqa: F403

_NAMES = refused_names(
    __name__,
    "DataParallelMeshDims FlatParameter LocalOptimStateDictConfig LocalStateDictConfig OptimStateKeyType ShardedGradScaler StateDictSettings",
    "enable_wrap share_comm_ctx",
)
globals().update(_NAMES)
__all__ = [
    *_NAMES, "CPUOffloadPolicy", "FSDPModule", "MixedPrecisionPolicy", "OffloadPolicy", "UnshardHandle", "fully_shard", "register_fsdp_forward_method",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # The class that wraps modules is a module itself, and so lives one floor above.
    if not name.startswith("__"):
        above = importlib.import_module("flambeau.nn.parallel.fully_sharded")
        if name in above.__all__:
            return getattr(above, name)
    raise AttributeError(f"module 'torch.distributed.fsdp' has no attribute '{name}'", name=name)

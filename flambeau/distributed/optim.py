"""``torch.distributed.optim``: optimizers whose state is divided among processes."""

from __future__ import annotations

import importlib
from typing import Any

from flambeau.distributed._refused import refused_names

_NAMES = refused_names(__name__, "DistributedOptimizer PostLocalSGDOptimizer")
globals().update(_NAMES)
__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if name == "ZeroRedundancyOptimizer":  # which is an optimizer, and so lives floors above
        return importlib.import_module("flambeau.optim.zero_redundancy").ZeroRedundancyOptimizer
    raise AttributeError(f"module 'torch.distributed.optim' has no attribute '{name}'", name=name)

"""``torch.distributed.optim``: optimizers whose state is divided among processes. See :mod:`flambeau.distributed._refused`."""

from __future__ import annotations

from flambeau.distributed._refused import refused_names

_NAMES = refused_names(__name__, "DistributedOptimizer PostLocalSGDOptimizer ZeroRedundancyOptimizer")
globals().update(_NAMES)
__all__ = list(_NAMES)

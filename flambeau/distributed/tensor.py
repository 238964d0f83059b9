"""``torch.distributed.tensor``: tensors that are divided among processes. See :mod:`flambeau.distributed._refused`."""

from __future__ import annotations

from flambeau.distributed._refused import refused_names
from flambeau.distributed.placements import Partial, Placement, Replicate, Shard

_NAMES = refused_names(
    __name__,
    "DTensor ParallelStyle ColwiseParallel RowwiseParallel SequenceParallel PrepareModuleInput PrepareModuleOutput",
    "parallelize_module loss_parallel compute_local_shape_and_global_offset distribute_tensor distribute_module empty full ones rand randn zeros",
)
globals().update(_NAMES)
__all__ = [*_NAMES, "Partial", "Placement", "Replicate", "Shard"]

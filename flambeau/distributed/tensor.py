"""``torch.distributed.tensor``: tensors that are divided among processes. See :mod:`flambeau.distributed._refused`."""

from __future__ import annotations

from flambeau.distributed._refused import refused_names

_NAMES = refused_names(
    __name__,
    "DTensor Placement Shard Replicate Partial",
    "distribute_tensor distribute_module empty full ones rand randn zeros",
)
globals().update(_NAMES)
__all__ = list(_NAMES)

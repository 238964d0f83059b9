"""``torch.distributed.tensor.experimental``: more about divided tensors. See :mod:`flambeau.distributed._refused`."""

from __future__ import annotations

from flambeau.distributed._refused import refused_names

_NAMES = refused_names(
    "flambeau.distributed.tensor.experimental",
    "",
    "context_parallel implicit_replication local_map set_rotate_method register_sharding",
)
globals().update(_NAMES)
__all__ = list(_NAMES)

"""``torch.distributed.checkpoint``: states that several processes save together. See :mod:`flambeau.distributed._refused`."""

from __future__ import annotations

from flambeau.distributed._refused import refused_names

_NAMES = refused_names(
    __name__,
    "FileSystemReader FileSystemWriter DefaultLoadPlanner DefaultSavePlanner StorageReader StorageWriter LoadPlanner SavePlanner Metadata",
    "save load async_save load_state_dict save_state_dict",
)
globals().update(_NAMES)
__all__ = list(_NAMES)

"""``torch.distributed.checkpoint``: states that several processes save together, from ``flambeau.checkpoint.sharded``."""

from __future__ import annotations

import importlib
from typing import Any

from flambeau.distributed._refused import refused_names

_NAMES = refused_names(
    __name__,
    "StorageReader StorageWriter LoadPlanner SavePlanner HuggingFaceStorageReader HuggingFaceStorageWriter _EmptyStateDictLoadPlanner",
    "_load_state_dict load_sharded_optimizer_state_dict consolidate_safetensors_files async_save load_state_dict save_state_dict",
)
globals().update(_NAMES)
__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    if not name.startswith("__"):
        above = importlib.import_module("flambeau.checkpoint.sharded")  # it saves by what lives floors above
        if name in above.__all__:
            return getattr(above, name)
    raise AttributeError(f"module 'torch.distributed.checkpoint' has no attribute '{name}'", name=name)

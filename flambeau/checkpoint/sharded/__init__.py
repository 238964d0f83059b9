"""Checkpoints that several processes save together: ``torch.distributed.checkpoint``."""

from flambeau.checkpoint.sharded.format import (
    BytesStorageMetadata,
    CheckpointException,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from flambeau.checkpoint.sharded.saving import *  # noqa: F403
from flambeau.checkpoint.sharded.saving import __all__ as _saving
from flambeau.checkpoint.sharded.states import *  # noqa: F403
from flambeau.checkpoint.sharded.states import __all__ as _states

__all__ = [
    "BytesStorageMetadata", "CheckpointException", "ChunkStorageMetadata", "Metadata", "MetadataIndex", "TensorProperties", "TensorStorageMetadata",
    *_saving, *_states,
]  # fmt: skip

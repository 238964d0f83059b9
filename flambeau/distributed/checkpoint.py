"""``torch.distributed.checkpoint``: states that several processes save together. See :mod:`flambeau.distributed._refused`."""

from __future__ import annotations

from flambeau.distributed._refused import refused_names

_NAMES = refused_names(
    __name__,
    "FileSystemReader FileSystemWriter DefaultLoadPlanner DefaultSavePlanner StorageReader StorageWriter LoadPlanner SavePlanner Metadata StateDictOptions HuggingFaceStorageReader HuggingFaceStorageWriter _EmptyStateDictLoadPlanner",
    "get_model_state_dict get_optimizer_state_dict get_state_dict set_model_state_dict set_optimizer_state_dict set_state_dict _load_state_dict load_sharded_optimizer_state_dict consolidate_safetensors_files dcp_to_torch_save torch_save_to_dcp save load async_save load_state_dict save_state_dict",
)
globals().update(_NAMES)
__all__ = list(_NAMES)

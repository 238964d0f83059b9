"""``torch.distributed.fsdp``: models that are divided among processes. See :mod:`flambeau.distributed._refused`."""

from __future__ import annotations

from flambeau.distributed._refused import refused_names

_NAMES = refused_names(
    __name__,
    "FullyShardedDataParallel FSDPModule MixedPrecision MixedPrecisionPolicy CPUOffload CPUOffloadPolicy OffloadPolicy BackwardPrefetch ShardingStrategy StateDictType FullStateDictConfig FullOptimStateDictConfig ShardedStateDictConfig ShardedOptimStateDictConfig LocalStateDictConfig StateDictConfig OptimStateDictConfig FlatParameter OptimStateKeyType ModuleWrapPolicy CustomPolicy ShardedGradScaler",
    "size_based_auto_wrap_policy transformer_auto_wrap_policy lambda_auto_wrap_policy always_wrap_policy _or_policy enable_wrap wrap fully_shard register_fsdp_forward_method share_comm_ctx",
)
globals().update(_NAMES)
__all__ = list(_NAMES)

"""``torch.distributed.algorithms.ddp_comm_hooks``: how gradients are sent between processes."""

from __future__ import annotations

from enum import Enum
from functools import partial
from typing import Any

from flambeau.distributed.algorithms.ddp_comm_hooks import debugging_hooks, default_hooks, powerSGD_hook
from flambeau.distributed.algorithms.ddp_comm_hooks.powerSGD_hook import PowerSGDState

__all__ = ["DDPCommHookType", "register_ddp_comm_hook"]


def _register(hook: Any, model: Any, state: Any) -> None:
    model.register_comm_hook(state, hook)


def _register_approximation(hook: Any, rank: int, model: Any, state: Any) -> None:
    model.register_comm_hook(PowerSGDState(state, matrix_approximation_rank=rank), hook)


class DDPCommHookType(Enum):
    """The hooks by name. A value registers one: it is called with ``model`` and ``state``, the group."""

    ALLREDUCE = partial(_register, default_hooks.allreduce_hook)
    FP16_COMPRESS = partial(_register, default_hooks.fp16_compress_hook)
    BF16_COMPRESS = partial(_register, default_hooks.bf16_compress_hook)
    POWER_SGD = partial(_register_approximation, powerSGD_hook.powerSGD_hook, 1)
    POWER_SGD_RANK2 = partial(_register_approximation, powerSGD_hook.powerSGD_hook, 2)
    BATCHED_POWER_SGD = partial(_register_approximation, powerSGD_hook.batched_powerSGD_hook, 1)
    BATCHED_POWER_SGD_RANK2 = partial(_register_approximation, powerSGD_hook.batched_powerSGD_hook, 2)
    NOOP = partial(_register, debugging_hooks.noop_hook)


def register_ddp_comm_hook(comm_hook_type: DDPCommHookType, model: Any, state: Any = None) -> None:
    """Registers a hook with a ``DistributedDataParallel``; ``state`` is the group, by default all processes."""
    comm_hook_type.value(model=model, state=state)

"""Settings of sharded modules.

Source: https://docs.pytorch.org/docs/stable/distributed.fsdp.fully_shard.html
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flambeau.core.dtypes import dtype as Dtype
from flambeau.distributed.fsdp.nests import mapped

__all__ = ["CPUOffloadPolicy", "MixedPrecisionPolicy", "OffloadPolicy"]


@dataclass(frozen=True)
class MixedPrecisionPolicy:
    """In which dtypes a module computes: ``param_dtype`` is that of gathered parameters and, with ``cast_forward_inputs``, of
    inputs, ``reduce_dtype`` that in which gradients are added up (by default that of the parameters), ``output_dtype`` that of
    outputs. Parameters stay in their dtype, and so do their gradients."""

    param_dtype: Dtype | None = None
    reduce_dtype: Dtype | None = None
    output_dtype: Dtype | None = None
    cast_forward_inputs: bool = True


@dataclass
class OffloadPolicy:
    """Where parameters lie that are not in use: where they are."""


@dataclass
class CPUOffloadPolicy(OffloadPolicy):
    """In the memory of the CPU, where they are anyway."""

    pin_memory: bool = True


def casted(values: Any, dtype: Dtype | None) -> Any:
    """Nests in which tensors of floating-point numbers have ``dtype``."""
    return values if dtype is None else mapped(values, lambda t: t.to(dtype) if t.is_floating_point() and t.dtype != dtype else t)

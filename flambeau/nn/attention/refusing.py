"""A mode that refuses some attention: where PyTorch's ``sdpa_kernel`` leaves no kernel for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import flambeau
from flambeau.overrides import TorchFunctionMode

__all__ = ["WithoutMath"]


class WithoutMath(TorchFunctionMode):
    """Refuses the attention for which PyTorch has no kernel on the CPU but ``MATH``, which is not asked for."""

    def __init__(self, flash: bool) -> None:
        super().__init__()
        self.flash = flash

    def __torch_function__(
        self, func: Callable, types: Iterable[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        attention = flambeau.nn.functional.scaled_dot_product_attention
        if func is attention:
            given = inspect.signature(attention).bind(*args, **(kwargs or {})).arguments
            if not self.flash:
                raise RuntimeError(
                    "No viable backend for scaled_dot_product_attention was found. This is likely due to turning off both the math "
                    "kernel and the fused kernels: on the CPU there are SDPBackend.MATH and SDPBackend.FLASH_ATTENTION"
                )
            if given["query"].dim() != 4 or given.get("dropout_p"):
                raise RuntimeError(
                    "No available kernel. Aborting execution: FLASH_ATTENTION takes tensors of four dims and no dropout; allow SDPBackend.MATH too"
                )
        return func(*args, **(kwargs or {}))

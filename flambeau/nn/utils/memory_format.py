"""Weights of convolutions in another order in memory."""

from __future__ import annotations

from typing import TypeVar

from flambeau.core.memory_format import memory_format as MemoryFormat
from flambeau.nn.modules.conv import Conv2d, Conv3d, ConvTranspose2d, ConvTranspose3d
from flambeau.nn.modules.module import Module

__all__ = ["convert_conv2d_weight_memory_format", "convert_conv3d_weight_memory_format"]

M = TypeVar("M", bound=Module)


def _convert(module: Module, kinds: tuple[type, ...], memory_format: MemoryFormat) -> None:
    for part in module.modules():
        if isinstance(part, kinds):
            part.weight.data = part.weight.detach().clone(memory_format=memory_format)


def convert_conv2d_weight_memory_format(module: M, memory_format: MemoryFormat) -> M:
    """Lays the weights of all 2-d convolutions of ``module`` out as ``memory_format`` says; returns ``module``."""
    _convert(module, (Conv2d, ConvTranspose2d), memory_format)
    return module


def convert_conv3d_weight_memory_format(module: M, memory_format: MemoryFormat) -> M:
    """Lays the weights of all 3-d convolutions of ``module`` out as ``memory_format`` says; returns ``module``."""
    _convert(module, (Conv3d, ConvTranspose3d), memory_format)
    return module

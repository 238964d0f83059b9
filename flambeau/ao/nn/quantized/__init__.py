"""``torch.ao.nn.quantized``: layers of quantized tensors.

Source: https://docs.pytorch.org/docs/stable/quantization-support.html#torch-ao-nn-quantized
"""

from importlib import import_module
from typing import Any

from flambeau.ao.nn.quantized.functional_modules import FloatFunctional, FXFloatFunctional, QFunctional
from flambeau.ao.nn.quantized.layers import (
    ELU,
    BatchNorm2d,
    BatchNorm3d,
    DeQuantize,
    Dropout,
    Embedding,
    EmbeddingBag,
    GroupNorm,
    Hardswish,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
    LayerNorm,
    LeakyReLU,
    MaxPool2d,
    PReLU,
    Quantize,
    ReLU6,
    Sigmoid,
    Softmax,
)
from flambeau.ao.nn.quantized.weights import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
    Linear,
    LinearPackedParams,
)

__all__ = [
    "ELU", "BatchNorm2d", "BatchNorm3d", "Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "DeQuantize", "Dropout",
    "Embedding", "EmbeddingBag", "FXFloatFunctional", "FloatFunctional", "GroupNorm", "Hardswish", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d",
    "LayerNorm", "LeakyReLU", "Linear", "LinearPackedParams", "MaxPool2d", "PReLU", "QFunctional", "Quantize", "ReLU6", "Sigmoid", "Softmax",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in ("dynamic",):  # it is made of what stands here
        return import_module(f"flambeau.ao.nn.quantized.{name}")
    raise AttributeError(f"module 'torch.ao.nn.quantized' has no attribute '{name}': flambeau does not have it", name=name)

"""``torch.ao.nn.intrinsic.quantized``: quantized layers with a ReLU or its like."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from flambeau.ao.nn import quantized
from flambeau.ao.nn.quantized.layers import _of
from flambeau.nn import functional
from flambeau.quantized import products

F: Any = functional
__all__ = ["BNReLU2d", "BNReLU3d", "ConvReLU1d", "ConvReLU2d", "ConvReLU3d", "LinearLeakyReLU", "LinearReLU", "LinearTanh"]


def _with_relu(base: Any, name: str) -> Any:
    body = {
        "_relu": True,
        "_name": f"Quantized{name}",
        "__doc__": f"{base.__name__} and ReLU, of quantized tensors.",
        "__module__": __name__,
    }
    return type(name, (base,), body)


ConvReLU1d, ConvReLU2d, ConvReLU3d = [_with_relu(getattr(quantized, f"Conv{n}d"), f"ConvReLU{n}d") for n in (1, 2, 3)]
BNReLU2d, BNReLU3d = _with_relu(quantized.BatchNorm2d, "BNReLU2d"), _with_relu(quantized.BatchNorm3d, "BNReLU3d")
LinearReLU = _with_relu(quantized.Linear, "LinearReLU")


class LinearLeakyReLU(quantized.Linear):
    """A linear layer and a leaky ReLU, of quantized tensors."""

    _name = "QuantizedLinearLeakyReLU"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        negative_slope: float = 0.01,
        bias: bool = True,
        dtype: Any = products.dtypes.qint8,
    ) -> None:
        super().__init__(in_features, out_features, bias, dtype)
        self.negative_slope = negative_slope

    def forward(self, x: Any) -> Any:
        return _of(F.leaky_relu)(super().forward(x), self.negative_slope, **self._static)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        made = super().from_float(mod)
        made.negative_slope = mod[1].negative_slope
        return made


class LinearTanh(quantized.Linear):
    """A linear layer and tanh, of quantized tensors."""

    _name = "QuantizedLinearTanh"

    def forward(self, x: Any) -> Any:
        return _of(F.tanh)(super().forward(x), **self._static)


def __getattr__(name: str) -> Any:
    if name in ("dynamic",):  # it is made of what stands here
        return import_module(f"flambeau.ao.nn.intrinsic.quantized.{name}")
    raise AttributeError(
        f"module 'torch.ao.nn.intrinsic.quantized' has no attribute '{name}': flambeau does not have it", name=name
    )

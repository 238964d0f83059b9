"""``torch.ao.nn.intrinsic.qat``: layers that belong together, trained with weights that are rounded as if they were integers.

A convolution and the batch normalisation behind it are rounded as the one convolution that they will be: its weight is scaled by
the running deviation before it is rounded, and the result scaled back before it is normalised.

Source: https://docs.pytorch.org/docs/stable/quantization-support.html#torch-ao-nn-intrinsic-qat
"""

from __future__ import annotations

from typing import Any

from flambeau.ao.nn import qat
from flambeau.ao.nn.intrinsic import _FusedModule
from flambeau.nn import functional, init
from flambeau.nn.modules import batchnorm

F: Any = functional
__all__ = [
    "ConvBn1d", "ConvBn2d", "ConvBn3d", "ConvBnReLU1d", "ConvBnReLU2d", "ConvBnReLU3d", "ConvReLU1d", "ConvReLU2d", "ConvReLU3d", "LinearBn1d",
    "LinearReLU", "freeze_bn_stats", "update_bn_stats",
]  # fmt: skip


class _Bn:
    """Mixed into a rounded layer: batch normalisation follows."""

    _bn: Any
    _relu = False

    def __init__(self, *args: Any, freeze_bn: bool = False, eps: float = 1e-5, momentum: float = 0.1, **settings: Any) -> None:
        super().__init__(*args, **settings)
        mine: Any = self
        rounding = mine._modules.pop("weight_fake_quant")
        self.bn = self._bn(mine.weight.shape[0], eps, momentum, True, True)
        init.uniform_(self.bn.weight)
        self.weight_fake_quant = rounding
        self.freeze_bn = freeze_bn

    def forward(self, input: Any) -> Any:
        mine: Any = self
        factor = mine.bn.weight / (mine.bn.running_var + mine.bn.eps).sqrt()
        outputs, channels = [-1, *[1] * (mine.weight.dim() - 1)], [1, -1, *[1] * (mine.weight.dim() - 2)]
        weight = mine.weight_fake_quant(mine.weight * factor.reshape(outputs))
        product = mine._conv_forward(input, weight, None) if hasattr(mine, "_conv_forward") else F.linear(input, weight)
        product = product / factor.reshape(channels)
        if mine.bias is not None:
            product = product + mine.bias.reshape(channels)
        normalized = mine.bn(product)
        return F.relu(normalized) if self._relu else normalized

    def update_bn_stats(self) -> Any:
        """Lets the normalisation take part in training again."""
        self.freeze_bn, self.bn.training = False, True
        return self

    def freeze_bn_stats(self) -> Any:
        """Keeps the normalisation as in evaluation, whatever :meth:`train` is told."""
        self.freeze_bn, self.bn.training = True, False
        return self

    def train(self, mode: bool = True) -> Any:
        mine: Any = self
        mine.training = mode
        if not self.freeze_bn:
            for child in mine.children():
                child.train(mode)
        return self

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """Of the fused layers."""
        layer, bn = mod[0], mod[1]
        made: Any = cls(*cls._shape_of(layer), qconfig=mod.qconfig, eps=bn.eps, momentum=bn.momentum, **cls._settings_of(layer))  # type: ignore[attr-defined]
        made.weight, made.bias = layer.weight, layer.bias
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(made.bn, name, getattr(bn, name))
        return made


class _Relu:
    """Mixed into a rounded layer: ReLU follows."""

    def forward(self, input: Any) -> Any:
        return F.relu(super().forward(input))  # type: ignore[misc]


def _made(name: str, mixin: Any, base: Any, **more: Any) -> Any:
    doc = f"``torch.ao.nn.intrinsic.{name}`` with a rounded weight."
    return type(name, (mixin, base, _FusedModule), {"__doc__": doc, "__module__": __name__, **more})


_NORMS = {n: getattr(batchnorm, f"BatchNorm{n}d") for n in (1, 2, 3)}
_CONVS = {n: getattr(qat, f"Conv{n}d") for n in (1, 2, 3)}
ConvBn1d, ConvBn2d, ConvBn3d = [_made(f"ConvBn{n}d", _Bn, _CONVS[n], _bn=_NORMS[n]) for n in _NORMS]
ConvBnReLU1d, ConvBnReLU2d, ConvBnReLU3d = [_made(f"ConvBnReLU{n}d", _Bn, _CONVS[n], _bn=_NORMS[n], _relu=True) for n in _NORMS]
ConvReLU1d, ConvReLU2d, ConvReLU3d = [_made(f"ConvReLU{n}d", _Relu, _CONVS[n]) for n in _NORMS]
LinearReLU = _made("LinearReLU", _Relu, qat.Linear)
LinearBn1d = _made("LinearBn1d", _Bn, qat.Linear, _bn=batchnorm.BatchNorm1d)


def update_bn_stats(mod: Any) -> None:
    """Lets a layer's normalisation take part in training again. For ``model.apply``."""
    if isinstance(mod, _Bn):
        mod.update_bn_stats()


def freeze_bn_stats(mod: Any) -> None:
    """Keeps a layer's normalisation as in evaluation. For ``model.apply``."""
    if isinstance(mod, _Bn):
        mod.freeze_bn_stats()

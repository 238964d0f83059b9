"""``torch.ao.nn.quantized.dynamic``: layers of numbers that are quantized as they go; their weights are integers.

Source: https://docs.pytorch.org/docs/stable/quantization-support.html#torch-ao-nn-quantized-dynamic
"""

from __future__ import annotations

from typing import Any

from flambeau.ao.nn import quantized
from flambeau.ao.nn.quantized.dynamic.recurrent import GRU, LSTM, GRUCell, LSTMCell, RNNCell
from flambeau.ao.nn.quantized.weights import layer_of, qint8, quantized_weight
from flambeau.core import dtypes
from flambeau.quantized import products
from flambeau.tensor import Tensor

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "GRU",
    "GRUCell",
    "LSTM",
    "LSTMCell",
    "Linear",
    "RNNCell",
]


class Linear(quantized.Linear):
    """A linear layer with a weight of 8-bit integers or in half precision. Its input is quantized by its least and greatest number.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ao.nn.quantized.dynamic.Linear.html
    """

    _version = 4
    _name = "DynamicQuantizedLinear"

    def forward(self, x: Tensor) -> Tensor:
        return products.dynamic(x, self._packed_params._packed_params, True, self._relu).to(x.dtype)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        text = f"in_features={self.in_features}, out_features={self.out_features}, dtype={self._packed_params.dtype}"
        return text + f", qscheme={self.weight().qscheme()}" if self._packed_params.dtype is qint8 else text

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The layer of one in floating point with a configuration."""
        outer, mod = mod, layer_of(mod)
        config = getattr(outer, "qconfig", None) or mod.qconfig
        observer = config.weight()
        if observer.dtype not in (qint8, dtypes.float16):
            raise AssertionError(
                f"The only supported dtypes for dynamic quantized linear are qint8 and float16, got: {observer.dtype}"
            )
        observer(mod.weight)
        made = cls(mod.in_features, mod.out_features, dtype=observer.dtype)
        weight = quantized_weight(mod.weight, observer) if observer.dtype is qint8 else mod.weight.detach().float()
        made.set_weight_bias(weight, mod.bias)
        return made


def _convolution(base: Any) -> Any:
    def forward(self: Any, input: Tensor, reduce_range: bool = True) -> Tensor:
        return products.dynamic(self._padded(input), self._packed_params, reduce_range)

    doc = f"``torch.nn.{base.__name__}`` with a weight of integers, for numbers that are quantized as they come."
    return type(
        base.__name__,
        (base,),
        {"forward": forward, "_name": f"DynamicQuantized{base.__name__}", "__doc__": doc, "__module__": __name__},
    )


Conv1d, Conv2d, Conv3d = map(_convolution, (quantized.Conv1d, quantized.Conv2d, quantized.Conv3d))
ConvTranspose1d, ConvTranspose2d, ConvTranspose3d = map(
    _convolution, (quantized.ConvTranspose1d, quantized.ConvTranspose2d, quantized.ConvTranspose3d)
)

"""Linear and convolutional layers whose weights are integers.

Their products are of whole float32 numbers, by the kernels of all other products, and exact: where a sum could reach ``2 ** 24``,
they are of float64. What is made of the sums is PyTorch's arithmetic, so that results are its to the last bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from flambeau.core import dtypes
from flambeau.nn import functional
from flambeau.ops.quantization import FLOAT32_EXACT, choose_quantization, multiply_add, whole_numbers
from flambeau.quantized.arithmetic import requantized
from flambeau.quantized.tensor import QuantizedTensor, per_channel, per_tensor
from flambeau.tensor.tensor import Tensor

F: Any = functional

__all__ = ["ConvWeight", "HalfWeight", "LinearWeight", "dynamic", "static"]


class LinearWeight:
    """The weight and the bias of a linear layer, as its products take them. A weight has one scale or one for each output."""

    kind = "LinearPackedParamsBase"

    def __init__(self, weight: QuantizedTensor, bias: Tensor | None = None) -> None:
        if weight.dtype.name != "qint8":
            raise RuntimeError(f"quantized weights must be of torch.qint8, got {weight.dtype}")
        self.ints, self.bias = weight._ints.contiguous(), bias
        self.zero, self.axis = weight._zero, weight._axis
        self.factor: Any = float(np.float32(weight._scale)) if self.axis is None else weight._scale.float()
        array = self.ints._array().astype(np.int64)
        zero = np.asarray(self.zero if self.axis is None else self.zero._array())
        offsets = np.abs(array - zero.reshape([-1 if d == self.axis else 1 for d in range(array.ndim)]))
        self.bound = int(self._sums(offsets).max()) * 255 if array.size else 0

    def _sums(self, offsets: np.ndarray) -> np.ndarray:
        """Along what is summed for one output."""
        return offsets.reshape(len(offsets), -1).sum(1)

    @property
    def weight(self) -> QuantizedTensor:
        """The weight as a quantized tensor."""
        if self.axis is None:
            return per_tensor(self.ints, self.factor, self.zero, dtypes.qint8, integers=True)
        return per_channel(self.ints, self.factor, self.zero, self.axis, dtypes.qint8, integers=True)

    def unpack(self) -> tuple[QuantizedTensor, Tensor | None]:
        """The weight and the bias."""
        return self.weight, self.bias

    __getstate__ = unpack

    def __setstate__(self, state: tuple) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __deepcopy__(self, memo: dict) -> LinearWeight:
        return self  # nobody writes to it

    def sums(self, offsets: Tensor) -> Tensor:
        """The products of whole numbers, exact before they are rounded to float32."""
        exact = dtypes.float32 if self.bound < FLOAT32_EXACT else dtypes.float64
        weight = self.ints.to(exact)
        if self.axis is not None and self.zero._array().any() or self.axis is None and self.zero:
            weight = self.weight._offsets().to(exact)
        return self.product(offsets.to(exact), weight).float()

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        return x @ weight.t()  # type: ignore[no-any-return]

    def along_outputs(self, values: Any, x: Tensor) -> Any:
        """Values for each output, so that they broadcast to results."""
        return values

    def product_of_scales(self, scale: Any) -> Any:
        """What one of the sums is in numbers, for an input of this scale."""
        scale = scale if isinstance(scale, Tensor) else float(np.float32(scale))
        if isinstance(self.factor, Tensor) or isinstance(scale, Tensor):
            return scale * self.factor
        return float(np.float32(scale) * np.float32(self.factor))


class ConvWeight(LinearWeight):
    """The weight and the bias of a convolution, transposed or not, in 1, 2 or 3 dims."""

    def __init__(
        self, weight: QuantizedTensor, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int, transposed: bool = False,
        output_padding: Any = None,
    ) -> None:  # fmt: skip
        self.transposed, self.groups = transposed, groups
        self.dims = weight.dim() - 2
        self.stride, self.padding, self.dilation = list(stride), list(padding), list(dilation)
        self.output_padding = [0] * self.dims if output_padding is None else list(output_padding)
        super().__init__(weight, bias)
        self.kind = f"Conv{max(2, self.dims)}dPackedParamsBase"

    def __getstate__(self) -> tuple:  # type: ignore[override]
        return (*self.unpack(), self.stride, self.padding, self.dilation, self.groups, self.transposed, self.output_padding)

    def _sums(self, offsets: np.ndarray) -> np.ndarray:
        if not self.transposed:
            return super()._sums(offsets)
        return offsets.reshape(len(offsets), offsets.shape[1], -1).sum((0, 2))

    def product(self, x: Tensor, weight: Tensor) -> Tensor:
        name = f"conv_transpose{self.dims}d" if self.transposed else f"conv{self.dims}d"
        more = {"output_padding": self.output_padding} if self.transposed else {}
        settings = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups, **more}
        return getattr(F, name)(x, weight, None, **settings)  # type: ignore[no-any-return]

    def along_outputs(self, values: Any, x: Tensor) -> Any:
        return values.reshape(-1, *[1] * self.dims) if isinstance(values, Tensor) and values.dim() else values


class HalfWeight:
    """A weight in half precision, with which products are computed in float32."""

    kind = "LinearPackedParamsBase"

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        largest = 65504.0
        self.half, self.bias = weight.detach().clamp(-largest, largest).half(), bias

    def unpack(self) -> tuple[Tensor, Tensor | None]:
        """The weight in float32, and the bias."""
        return self.half.float(), self.bias

    __getstate__ = unpack

    def __setstate__(self, state: tuple) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __deepcopy__(self, memo: dict) -> HalfWeight:
        return self


def dynamic(x: Tensor, packed: LinearWeight | HalfWeight, reduce_range: bool = False, relu: bool = False) -> Tensor:
    """A layer of float32 numbers, which are quantized to 8 bits for the product.

    Args:
        reduce_range: to 7 bits, as PyTorch does by default, whose older kernels add pairs of products in 16 bits.
    """
    x = x.detach()
    if isinstance(packed, HalfWeight):
        y = F.linear(x, packed.half.float(), None if packed.bias is None else packed.bias.detach())
    else:
        scale, inverse, zero_point = choose_quantization(x, 0, 127 if reduce_range else 255)
        offsets = whole_numbers(x, inverse, zero_point, 0, 255) - zero_point
        sums = packed.sums(offsets)
        factor = packed.along_outputs(packed.product_of_scales(scale), sums)
        bias = None if packed.bias is None else packed.along_outputs(packed.bias.detach(), sums)
        y = sums * factor if bias is None else multiply_add(sums, factor, bias)
    return y.clamp_min(0) if relu else y  # type: ignore[no-any-return]


def static(q: QuantizedTensor, packed: LinearWeight, scale: float, zero_point: int, relu: bool = False) -> QuantizedTensor:
    """A layer of quantized numbers, whose results are quantized with this scale and zero point."""
    if not isinstance(q, QuantizedTensor):
        raise NotImplementedError(
            "Could not run 'quantized::linear' with arguments from the 'CPU' backend: the input must be quantized; see QuantStub"
        )
    sums = packed.sums(q._offsets())
    act = packed.product_of_scales(q._scale)
    if packed.bias is not None:
        sums = sums + packed.along_outputs(packed.bias.detach() / act, sums)
    factor = act / float(np.float32(scale)) if isinstance(act, Tensor) else float(np.float32(act) / np.float32(scale))
    return requantized(sums, packed.along_outputs(factor, sums), zero_point, scale, q.dtype, relu)

"""Layers with weights of integers: linear ones and convolutions."""

from __future__ import annotations

from typing import Any, ClassVar

import flambeau
from flambeau.core import dtypes
from flambeau.core.qscheme import per_channel_affine_float_qparams, per_tensor_affine, per_tensor_symmetric
from flambeau.nn import functional
from flambeau.nn.modules import conv as float_conv
from flambeau.nn.modules.module import Module
from flambeau.nn.utils.fusion import fuse_conv_bn_weights, fuse_linear_bn_weights
from flambeau.quantized import products
from flambeau.quantized.creation import _empty_affine_quantized, quantize_per_channel, quantize_per_tensor
from flambeau.quantized.products import ConvWeight, HalfWeight, LinearWeight
from flambeau.tensor import Tensor

F: Any = functional
qint8 = dtypes.qint8


def quantized_weight(weight: Tensor, observer: Any) -> Tensor:
    """A weight quantized by what an observer has found."""
    scale, zero_point = observer.calculate_qparams()
    weight = weight.detach().float()
    if observer.qscheme in (per_tensor_symmetric, per_tensor_affine):
        return quantize_per_tensor(weight, float(scale), int(zero_point), qint8)  # type: ignore[no-any-return]
    if observer.qscheme is per_channel_affine_float_qparams:
        return quantize_per_channel(weight, scale.float(), zero_point.float(), observer.ch_axis, observer.dtype)
    return quantize_per_channel(weight, scale.double(), zero_point.to(dtypes.int64), observer.ch_axis, qint8)


def observed(weight: Tensor, observer: Any) -> Any:
    """An observer that has seen a weight; ``AssertionError`` where it is of another dtype than the layers here take."""
    observer(weight)
    if observer.dtype is not qint8:
        raise AssertionError(f"Weight observer must have dtype torch.qint8, got {observer.dtype}")
    return observer


def found(mod: Module) -> tuple[float, int]:
    """The scale and zero point of a layer's results."""
    scale, zero_point = mod.activation_post_process.calculate_qparams()  # type: ignore[operator, union-attr]
    return float(scale), int(zero_point)


def layer_of(mod: Any) -> Any:
    """The layer with the weight: a module itself, or the first of those that are fused."""
    return mod if hasattr(mod, "weight") else mod[0]


class WithScale(Module):
    """Base of layers whose results have a scale and a zero point, which are numbers, and in the state tensors."""

    scale: Any
    zero_point: Any

    def _set_scale(self, scale: Any, zero_point: Any) -> None:
        self.scale, self.zero_point = float(scale), int(zero_point)

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "scale"] = flambeau.tensor(self.scale)
        destination[prefix + "zero_point"] = flambeau.tensor(self.zero_point)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: dict, strict: bool, *found: Any) -> None:
        self._set_scale(state_dict.pop(prefix + "scale"), state_dict.pop(prefix + "zero_point"))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, False, *found)

    @property
    def _static(self) -> dict[str, Any]:
        return {"scale": self.scale, "zero_point": self.zero_point}


class LinearPackedParams(Module):
    """The weight and the bias of a linear layer; in the state, a pair of tensors."""

    _version = 3

    def __init__(self, dtype: Any = qint8) -> None:
        super().__init__()
        self.dtype = dtype
        half = dtype is dtypes.float16
        self.set_weight_bias(
            flambeau.zeros(1, 1) if half else _empty_affine_quantized([1, 1], scale=1.0, zero_point=0, dtype=qint8), None
        )

    def set_weight_bias(self, weight: Any, bias: Any) -> None:
        if self.dtype not in (qint8, dtypes.float16):
            raise RuntimeError("Unsupported dtype on dynamic quantized linear!")
        self._packed_params: Any = LinearWeight(weight, bias) if self.dtype is qint8 else HalfWeight(weight, bias)

    def _weight_bias(self) -> tuple:
        return self._packed_params.unpack()  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return x

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination[prefix + "dtype"] = self.dtype
        destination[prefix + "_packed_params"] = self._weight_bias()

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: dict, strict: bool, *found: Any) -> None:
        self.dtype = state_dict.pop(prefix + "dtype", qint8)
        if prefix + "_packed_params" in state_dict:
            weight, bias = state_dict.pop(prefix + "_packed_params")
        else:
            weight, bias = state_dict.pop(prefix + "weight"), state_dict.pop(prefix + "bias")
        self.set_weight_bias(weight, bias)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, False, *found)

    def __repr__(self) -> str:
        return repr(self._weight_bias())


class Linear(WithScale):
    """A linear layer of quantized tensors. :meth:`from_float` makes one of a layer that observers have looked at.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.ao.nn.quantized.Linear.html
    """

    _version = 3
    _relu: ClassVar[bool] = False
    _name: ClassVar[str] = "QuantizedLinear"

    def __init__(self, in_features: int, out_features: int, bias_: bool = True, dtype: Any = qint8) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.scale, self.zero_point = 1.0, 0
        half = dtype is dtypes.float16
        size = [out_features, in_features]
        self._packed_params = LinearPackedParams(dtype)
        weight = flambeau.zeros(*size) if half else _empty_affine_quantized(size, scale=1, zero_point=0, dtype=qint8)
        self._packed_params.set_weight_bias(weight, flambeau.zeros(out_features) if bias_ else None)

    def _get_name(self) -> str:
        return self._name

    def extra_repr(self) -> str:
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, scale={self.scale}, zero_point={self.zero_point}, "
            f"qscheme={self.weight().qscheme()}"
        )

    def __repr__(self) -> str:
        return f"{self._get_name()}({self.extra_repr()})"  # without the packed weight

    def forward(self, x: Any) -> Any:
        return products.static(x, self._packed_params._packed_params, self.scale, self.zero_point, self._relu)

    def weight(self) -> Any:
        """The quantized weight."""
        return self._packed_params._weight_bias()[0]

    def bias(self) -> Any:
        """The bias, in float32."""
        return self._packed_params._weight_bias()[1]

    def set_weight_bias(self, w: Any, b: Any) -> None:
        self._packed_params.set_weight_bias(w, b)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The layer of one in floating point with observers."""
        outer = mod
        if hasattr(mod, "bn") and hasattr(mod, "weight_fake_quant"):
            weight, bias = fuse_linear_bn_weights(
                mod.weight, mod.bias, mod.bn.running_mean, mod.bn.running_var, mod.bn.eps, mod.bn.weight, mod.bn.bias
            )
        else:
            mod = layer_of(mod)
            weight, bias = mod.weight, mod.bias
        observer = outer.weight_fake_quant if hasattr(outer, "weight_fake_quant") else outer.qconfig.weight()
        made = cls(mod.in_features, mod.out_features)
        made.set_weight_bias(quantized_weight(weight, observed(weight, observer)), bias)
        made._set_scale(*found(outer))
        return made


class _Conv(WithScale):
    """Base of the convolutions."""

    _float: ClassVar[Any]
    _relu: ClassVar[bool] = False
    _name: ClassVar[str]
    _version = 3
    padding: Any

    def __init__(self, *args: Any, bias: bool = True, **settings: Any) -> None:
        super().__init__()
        like = self._float(*args, bias=bias, **settings, device="meta")
        for name in ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "transposed", "output_padding", "groups",
                     "padding_mode", "_reversed_padding_repeated_twice"):  # fmt: skip
            setattr(self, name, getattr(like, name))
        if isinstance(self.padding, str):
            self.padding = tuple(like._reversed_padding_repeated_twice[::-2])
        self.scale, self.zero_point = 1.0, 0
        weight = _empty_affine_quantized(like.weight.shape, scale=1, zero_point=0, dtype=qint8)
        self.set_weight_bias(weight, flambeau.zeros(self.out_channels) if bias else None)

    def set_weight_bias(self, w: Any, b: Any) -> None:
        padding = self.padding if self.padding_mode == "zeros" else (0,) * len(self.stride)
        self._packed_params: Any = ConvWeight(
            w, b, self.stride, padding, self.dilation, self.groups, self.transposed, self.output_padding
        )

    def _weight_bias(self) -> tuple:
        return self._packed_params.unpack()  # type: ignore[no-any-return]

    def weight(self) -> Any:
        """The quantized weight."""
        return self._weight_bias()[0]

    def bias(self) -> Any:
        """The bias, in float32."""
        return self._weight_bias()[1]

    def _padded(self, x: Any) -> Any:
        return x if self.padding_mode == "zeros" else F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode)

    def forward(self, input: Any) -> Any:
        return products.static(self._padded(input), self._packed_params, self.scale, self.zero_point, self._relu)

    def _get_name(self) -> str:
        return self._name

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}, scale={self.scale}, "
            f"zero_point={self.zero_point}"
        )
        zeros, ones = (0,) * len(self.stride), (1,) * len(self.stride)
        for name, usual in (("padding", zeros), ("dilation", ones), ("output_padding", zeros), ("groups", 1)):
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        return text if self.bias() is not None else text + ", bias=False"

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        destination[prefix + "weight"], destination[prefix + "bias"] = self._weight_bias()
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: dict, strict: bool, *found: Any) -> None:
        self.set_weight_bias(state_dict.pop(prefix + "weight"), state_dict.pop(prefix + "bias"))
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, *found)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        """The layer of one in floating point with observers."""
        outer, bn = mod, getattr(mod, "bn", None)
        mod = layer_of(mod)
        weight, bias = mod.weight, mod.bias
        if bn is not None:
            weight, bias = fuse_conv_bn_weights(weight, bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
        observer = outer.weight_fake_quant if hasattr(outer, "weight_fake_quant") else mod.qconfig.weight()
        settings = {"output_padding": mod.output_padding} if cls._float._transposed else {}
        made = cls(
            mod.in_channels, mod.out_channels, mod.kernel_size, mod.stride, mod.padding, groups=mod.groups, bias=bias is not None,
            dilation=mod.dilation, padding_mode=mod.padding_mode, **settings,
        )  # fmt: skip
        made.set_weight_bias(quantized_weight(weight, observed(weight, observer)), bias)
        if (
            hasattr(outer, "activation_post_process")
            and getattr(outer.activation_post_process, "dtype", None) is not dtypes.float32
        ):
            made._set_scale(*_found_by(outer))
        return made


def _found_by(mod: Any) -> tuple[float, int]:
    return found(mod) if hasattr(mod.activation_post_process, "calculate_qparams") else (1.0, 0)


def _convolution(kind: Any) -> type[_Conv]:
    """The class of quantized layers for a class of convolutions."""
    doc = f"``torch.nn.{kind.__name__}`` of quantized tensors, with a weight of integers."
    body = {"_float": kind, "_name": f"Quantized{kind.__name__}", "__doc__": doc, "__module__": __name__}
    return type(kind.__name__, (_Conv,), body)


Conv1d, Conv2d, Conv3d = map(_convolution, (float_conv.Conv1d, float_conv.Conv2d, float_conv.Conv3d))
ConvTranspose1d, ConvTranspose2d, ConvTranspose3d = map(
    _convolution, (float_conv.ConvTranspose1d, float_conv.ConvTranspose2d, float_conv.ConvTranspose3d)
)

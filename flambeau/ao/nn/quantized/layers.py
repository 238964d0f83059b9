"""Layers of quantized tensors that have no weight of integers."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.ao.nn.quantized.weights import WithScale, found, layer_of, quantized_weight
from flambeau.core import dtypes
from flambeau.nn import functional
from flambeau.nn.modules import activation, batchnorm, dropout, instancenorm, normalization, pooling
from flambeau.nn.modules.module import Module
from flambeau.ops.quantization import multiply_add
from flambeau.quantized import arithmetic
from flambeau.quantized.creation import quantize_per_channel, quantize_per_tensor
from flambeau.tensor import Tensor

F: Any = functional
_of = arithmetic.of_numbers


class Quantize(Module):
    """Where numbers become integers, with one scale and zero point.

    >>> import flambeau as torch
    >>> torch.ao.nn.quantized.Quantize(0.5, 1, torch.quint8)(torch.tensor([1.0, 2.1])).int_repr()
    tensor([3, 5], dtype=torch.uint8)
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(self, scale: Any, zero_point: Any, dtype: Any, factory_kwargs: dict | None = None) -> None:
        super().__init__()
        self.register_buffer("scale", flambeau.tensor([float(scale)]))
        self.register_buffer("zero_point", flambeau.tensor([int(zero_point)], dtype=dtypes.int64))
        self.dtype = dtype

    def forward(self, X: Tensor) -> Any:
        return quantize_per_tensor(X, float(self.scale), int(self.zero_point), self.dtype)

    @staticmethod
    def from_float(mod: Any, use_precomputed_fake_quant: bool = False) -> Quantize:
        """Of a :class:`~torch.ao.quantization.QuantStub` with an observer."""
        return Quantize(*found(mod), mod.activation_post_process.dtype)

    def extra_repr(self) -> str:
        return f"scale={self.scale}, zero_point={self.zero_point}, dtype={self.dtype}"


class DeQuantize(Module):
    """Where integers become numbers again."""

    def forward(self, Xq: Any) -> Tensor:
        return Xq.dequantize()  # type: ignore[no-any-return]

    @staticmethod
    def from_float(mod: Any, use_precomputed_fake_quant: bool = False) -> DeQuantize:
        return DeQuantize()


class _WithBuffers:
    """Mixed into a float layer: it has a scale and a zero point for its results, as buffers."""

    scale: Tensor
    zero_point: Tensor

    def _set_scale(self, scale: float, zero_point: int) -> None:
        self.register_buffer("scale", flambeau.tensor(float(scale)))  # type: ignore[attr-defined]
        self.register_buffer("zero_point", flambeau.tensor(int(zero_point)))  # type: ignore[attr-defined]

    def _get_name(self) -> str:
        return f"Quantized{type(self).__name__}"

    @property
    def _how(self) -> dict[str, Any]:
        return {"scale": float(self.scale), "zero_point": int(self.zero_point)}


class _Norm(_WithBuffers):
    """Of normalisations: the layer's own weight and bias stay numbers."""

    def __init__(
        self, *args: Any, weight: Any = None, bias: Any = None, scale: float = 1.0, zero_point: int = 0, **settings: Any
    ) -> None:
        super().__init__(*args, **settings)
        self.weight, self.bias = weight, bias
        self._set_scale(scale, zero_point)


class LayerNorm(_Norm, normalization.LayerNorm):  # type: ignore[misc]
    """``torch.nn.LayerNorm`` of quantized tensors."""

    def forward(self, input: Any) -> Any:
        return _of(F.layer_norm)(input, self.normalized_shape, self.weight, self.bias, self.eps, **self._how)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> LayerNorm:
        scale, zero_point = found(mod)
        return cls(
            mod.normalized_shape,
            weight=mod.weight,
            bias=mod.bias,
            scale=scale,
            zero_point=zero_point,
            eps=mod.eps,
            elementwise_affine=mod.elementwise_affine,
        )


class GroupNorm(_Norm, normalization.GroupNorm):  # type: ignore[misc]
    """``torch.nn.GroupNorm`` of quantized tensors."""

    def forward(self, input: Any) -> Any:
        return _of(F.group_norm)(input, self.num_groups, self.weight, self.bias, self.eps, **self._how)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> GroupNorm:
        scale, zero_point = found(mod)
        return cls(
            mod.num_groups,
            mod.num_channels,
            weight=mod.weight,
            bias=mod.bias,
            scale=scale,
            zero_point=zero_point,
            eps=mod.eps,
            affine=mod.affine,
        )


class _InstanceNorm(_Norm):
    def forward(self, input: Any) -> Any:
        def normalized(x: Tensor) -> Tensor:
            return F.instance_norm(x, None, None, self.weight, self.bias, eps=self.eps)  # type: ignore[attr-defined, no-any-return]

        return _of(normalized)(input, **self._how)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        scale, zero_point = found(mod)
        return cls(
            mod.num_features, weight=mod.weight, bias=mod.bias, scale=scale, zero_point=zero_point, eps=mod.eps, affine=mod.affine
        )


class InstanceNorm1d(_InstanceNorm, instancenorm.InstanceNorm1d):  # type: ignore[misc]
    """``torch.nn.InstanceNorm1d`` of quantized tensors."""


class InstanceNorm2d(_InstanceNorm, instancenorm.InstanceNorm2d):  # type: ignore[misc]
    """``torch.nn.InstanceNorm2d`` of quantized tensors."""


class InstanceNorm3d(_InstanceNorm, instancenorm.InstanceNorm3d):  # type: ignore[misc]
    """``torch.nn.InstanceNorm3d`` of quantized tensors."""


class _BatchNorm(_WithBuffers):
    _relu = False

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1, **settings: Any) -> None:
        super().__init__(num_features, eps, momentum, **settings)  # type: ignore[call-arg]
        self._set_scale(1.0, 0)

    def forward(self, input: Any) -> Any:
        mine: Any = self
        return arithmetic.batch_norm(
            input, mine.weight, mine.bias, mine.running_mean, mine.running_var, mine.eps, **self._how, relu=self._relu
        )

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        outer, mod = mod, layer_of(mod)
        made: Any = cls(mod.num_features, mod.eps)
        made.weight, made.bias, made.running_mean, made.running_var = mod.weight, mod.bias, mod.running_mean, mod.running_var
        made._set_scale(*found(outer))
        return made


class BatchNorm2d(_BatchNorm, batchnorm.BatchNorm2d):  # type: ignore[misc]
    """``torch.nn.BatchNorm2d`` of quantized tensors."""


class BatchNorm3d(_BatchNorm, batchnorm.BatchNorm3d):  # type: ignore[misc]
    """``torch.nn.BatchNorm3d`` of quantized tensors."""


class Hardswish(_WithBuffers, activation.Hardswish):  # type: ignore[misc]
    """``torch.nn.Hardswish`` of quantized tensors."""

    def __init__(self, scale: float, zero_point: int, **settings: Any) -> None:
        super().__init__()
        self._set_scale(scale, zero_point)

    def forward(self, input: Any) -> Any:
        return _of(F.hardswish)(input, **self._how)

    @staticmethod
    def from_float(mod: Any, use_precomputed_fake_quant: bool = False) -> Hardswish:
        return Hardswish(*found(mod))


class LeakyReLU(_WithBuffers, activation.LeakyReLU):  # type: ignore[misc]
    """``torch.nn.LeakyReLU`` of quantized tensors."""

    def __init__(self, scale: float, zero_point: int, negative_slope: float = 1e-2, inplace: bool = False, **settings: Any) -> None:
        super().__init__(negative_slope, inplace)
        self._set_scale(scale, zero_point)

    def forward(self, input: Any) -> Any:
        return _of(F.leaky_relu)(input, self.negative_slope, **self._how)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> LeakyReLU:
        return cls(*found(mod), mod.negative_slope, mod.inplace)


class _WithNumbers:
    """Mixed into a float layer: its scale and zero point are plain attributes, which are not part of the state."""

    scale: float
    zero_point: int

    def _get_name(self) -> str:
        return f"Quantized{type(self).__name__}"


class ELU(_WithNumbers, activation.ELU):  # type: ignore[misc]
    """``torch.nn.ELU`` of quantized tensors."""

    def __init__(self, scale: float, zero_point: int, alpha: float = 1.0) -> None:
        super().__init__(alpha)
        self.scale, self.zero_point = float(scale), int(zero_point)

    def forward(self, input: Any) -> Any:
        return _of(F.elu)(input, self.alpha, scale=self.scale, zero_point=self.zero_point)

    @staticmethod
    def from_float(mod: Any, use_precomputed_fake_quant: bool = False) -> ELU:
        return ELU(*found(mod), mod.alpha)


class Sigmoid(_WithNumbers, activation.Sigmoid):  # type: ignore[misc]
    """``torch.nn.Sigmoid`` of quantized tensors."""

    def __init__(self, output_scale: float, output_zero_point: int) -> None:
        super().__init__()
        self.output_scale, self.output_zero_point = output_scale, output_zero_point

    def forward(self, input: Any) -> Any:
        return _of(F.sigmoid)(input, scale=self.output_scale, zero_point=self.output_zero_point)

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Sigmoid:
        return cls(*found(mod))


class Softmax(_WithNumbers, activation.Softmax):  # type: ignore[misc]
    """``torch.nn.Softmax`` of quantized tensors."""

    def __init__(self, dim: int | None = None, scale: float = 1.0, zero_point: int = 0) -> None:
        super().__init__(dim)
        self.scale, self.zero_point = scale, zero_point

    def forward(self, input: Any) -> Any:
        return _of(F.softmax)(input, self.dim, scale=self.scale, zero_point=self.zero_point)

    @staticmethod
    def from_float(mod: Any, use_precomputed_fake_quant: bool = False) -> Softmax:
        return Softmax(mod.dim, *found(mod))


class PReLU(WithScale):
    """``torch.nn.PReLU`` of quantized tensors; the slopes are quantized too."""

    def __init__(self, output_scale: float, output_zero_point: int, num_parameters: int = 1) -> None:
        super().__init__()
        self.num_parameters, self.scale, self.zero_point = num_parameters, output_scale, output_zero_point
        self.set_weight(flambeau.randn(num_parameters))

    def set_weight(self, w: Tensor) -> None:
        self.weight: Any = quantize_per_tensor(w.detach(), 1.0, 0, dtypes.quint8)

    def forward(self, input: Any) -> Any:
        return _of(F.prelu)(input, self.weight.dequantize(), scale=self.scale, zero_point=self.zero_point)

    def _get_name(self) -> str:
        return "QuantizedPReLU"

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> PReLU:
        made = cls(*found(mod), mod.num_parameters)
        observer = mod.qconfig.weight()
        observer(mod.weight.detach().float())
        scale, zero_point = observer.calculate_qparams()
        made.weight = quantize_per_tensor(mod.weight.detach().float(), float(scale), int(zero_point), dtypes.quint8)
        return made


class ReLU6(activation.ReLU6):
    """``torch.nn.ReLU6``: of quantized tensors too."""

    def _get_name(self) -> str:
        return "QuantizedReLU6"

    @staticmethod
    def from_float(mod: Any, use_precomputed_fake_quant: bool = False) -> ReLU6:
        return ReLU6(mod.inplace)


class Dropout(dropout.Dropout):
    """``torch.nn.Dropout``, which does nothing in evaluation."""

    def forward(self, input: Any) -> Any:
        return input

    def _get_name(self) -> str:
        return "QuantizedDropout"

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Dropout:
        return cls(mod.p, mod.inplace)


MaxPool2d = pooling.MaxPool2d


class EmbeddingPackedParams(Module):
    """The weight of an embedding; in the state, a tensor."""

    _version = 1

    def __init__(self, num_embeddings: int, embedding_dim: int, dtype: Any) -> None:
        super().__init__()
        self.dtype = dtype
        zeros = flambeau.zeros(num_embeddings, embedding_dim)
        self.set_weight(quantize_per_channel(zeros, flambeau.ones(num_embeddings), flambeau.ones(num_embeddings), 0, dtype))

    def set_weight(self, weight: Any) -> None:
        self._packed_weight: Any = weight

    def forward(self, x: Tensor) -> Tensor:
        return x

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        destination[prefix + "dtype"], destination[prefix + "_packed_weight"] = self.dtype, self._packed_weight

    def _load_from_state_dict(self, state_dict: dict, prefix: str, local_metadata: dict, strict: bool, *found: Any) -> None:
        self.dtype = state_dict.pop(prefix + "dtype")
        self.set_weight(state_dict.pop(prefix + "_packed_weight"))


class Embedding(Module):
    """A table of integers of 8 bits whose rows are looked up, and given as numbers."""

    _version = 1

    def __init__(self, num_embeddings: int, embedding_dim: int, *args: Any, dtype: Any = dtypes.quint8, **settings: Any) -> None:
        super().__init__()
        if dtype is not dtypes.quint8:
            raise NotImplementedError(f"Unsupported dtype for quantized embedding: {dtype}. Supports quint8")
        self.num_embeddings, self.embedding_dim, self.dtype = num_embeddings, embedding_dim, dtype
        self._packed_params = EmbeddingPackedParams(num_embeddings, embedding_dim, dtype)

    def weight(self) -> Any:
        """The quantized table."""
        return self._packed_params._packed_weight

    def set_weight(self, w: Any) -> None:
        self._packed_params.set_weight(w)

    def _rows(self, indices: Tensor) -> Tensor:
        """The numbers of some rows: only what is looked up is made a number."""
        q = self.weight()
        ints = q._ints.index_select(0, indices.reshape(-1)).float()
        scale, zero = [t.float().index_select(0, indices.reshape(-1)).unsqueeze(1) for t in (q._scale, q._zero)]
        return multiply_add(ints, scale, -zero * scale).reshape(*indices.shape, self.embedding_dim)  # type: ignore[no-any-return]

    def forward(self, indices: Tensor) -> Tensor:
        return self._rows(indices)

    def _get_name(self) -> str:
        return f"Quantized{type(self).__name__}"

    def __repr__(self) -> str:
        return f"{self._get_name()}({self.extra_repr()})"

    def extra_repr(self) -> str:
        return f"num_embeddings={self.num_embeddings}, embedding_dim={self.embedding_dim}, dtype={self.dtype}, qscheme={self.weight().qscheme()}"

    @classmethod
    def from_float(cls, mod: Any, use_precomputed_fake_quant: bool = False) -> Any:
        observer = mod.weight_fake_quant if hasattr(mod, "weight_fake_quant") else mod.qconfig.weight()
        observer(mod.weight)
        made = cls(mod.num_embeddings, mod.embedding_dim, **cls._settings(mod))
        made.set_weight(quantized_weight(mod.weight, observer))
        return made

    @staticmethod
    def _settings(mod: Any) -> dict[str, Any]:
        return {}


class EmbeddingBag(Embedding):
    """The sums of bags of rows of such a table."""

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *args: Any,
        mode: str = "sum",
        include_last_offset: bool = False,
        **settings: Any,
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, **settings)
        self.mode, self.include_last_offset = mode, include_last_offset

    def forward(
        self, indices: Tensor, offsets: Any = None, per_sample_weights: Any = None, compressed_indices_mapping: Any = None
    ) -> Tensor:  # type: ignore[override]
        if indices.dim() == 2:
            offsets = flambeau.arange(0, indices.numel(), indices.shape[1])
        flat = indices.reshape(-1)
        weights = None if per_sample_weights is None else per_sample_weights.reshape(-1)
        places = flambeau.arange(flat.numel())
        return F.embedding_bag(  # type: ignore[no-any-return]
            places,
            self._rows(flat),
            offsets,
            mode=self.mode,
            per_sample_weights=weights,
            include_last_offset=self.include_last_offset,
        )

    @staticmethod
    def _settings(mod: Any) -> dict[str, Any]:
        return {"mode": mod.mode, "include_last_offset": mod.include_last_offset}

"""Which layers become which when a model is quantized.

Source: https://docs.pytorch.org/docs/stable/quantization-support.html
"""

from __future__ import annotations

import copy
from typing import Any

from flambeau.ao.nn import intrinsic, qat
from flambeau.ao.nn import quantized as static
from flambeau.ao.nn.intrinsic import qat as fused_qat
from flambeau.ao.nn.intrinsic import quantized as fused
from flambeau.ao.nn.intrinsic.quantized import dynamic as fused_dynamic
from flambeau.ao.nn.quantized import dynamic
from flambeau.ao.quantization.fake_quantize import (
    default_fixed_qparams_range_0to1_fake_quant,
    default_fixed_qparams_range_neg1to1_fake_quant,
)
from flambeau.ao.quantization.stubs import DeQuantStub, QuantStub
from flambeau.nn import modules as nn
from flambeau.nn.modules.linear import NonDynamicallyQuantizableLinear

__all__ = [
    "DEFAULT_DYNAMIC_QUANT_MODULE_MAPPINGS", "DEFAULT_MODULE_TO_ACT_POST_PROCESS", "DEFAULT_QAT_MODULE_MAPPINGS", "DEFAULT_STATIC_QUANT_MODULE_MAPPINGS",
    "get_default_dynamic_quant_module_mappings", "get_default_qat_module_mappings", "get_default_qconfig_propagation_list",
    "get_default_static_quant_module_mappings", "get_dynamic_quant_module_class", "get_embedding_qat_module_mappings",
    "get_embedding_static_quant_module_mappings", "get_static_quant_module_class",
]  # fmt: skip

_SAME = (
    "BatchNorm2d BatchNorm3d Dropout Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d ELU Embedding EmbeddingBag GroupNorm "
    "Hardswish InstanceNorm1d InstanceNorm2d InstanceNorm3d LayerNorm LeakyReLU Linear ReLU6 PReLU".split()
)


def _of(module: Any, name: str) -> Any:
    return getattr(module, name)


DEFAULT_STATIC_QUANT_MODULE_MAPPINGS: dict[Any, Any] = {
    QuantStub: static.Quantize, DeQuantStub: static.DeQuantize, NonDynamicallyQuantizableLinear: static.Linear,
    **{_of(nn, name): _of(static, name) for name in _SAME}, static.FloatFunctional: static.QFunctional,
    **{_of(intrinsic, name): _of(fused, name) for name in fused.__all__},
    **{_of(fused_qat, f"ConvBn{n}d"): _of(static, f"Conv{n}d") for n in (1, 2, 3)},
    **{_of(fused_qat, f"ConvBnReLU{n}d"): _of(fused, f"ConvReLU{n}d") for n in (1, 2, 3)},
    **{_of(fused_qat, f"ConvReLU{n}d"): _of(fused, f"ConvReLU{n}d") for n in (1, 2, 3)},
    fused_qat.LinearReLU: fused.LinearReLU, fused_qat.LinearBn1d: static.Linear,
    **{_of(qat, name): _of(static, name) for name in ("Linear", "Conv1d", "Conv2d", "Conv3d")},
}  # fmt: skip
DEFAULT_QAT_MODULE_MAPPINGS: dict[Any, Any] = {
    **{_of(nn, name): _of(qat, name) for name in ("Conv2d", "Conv3d", "Linear")}, NonDynamicallyQuantizableLinear: qat.Linear,
    **{_of(intrinsic, name): _of(fused_qat, name) for name in fused_qat.__all__ if name[0].isupper()},
}  # fmt: skip
DEFAULT_DYNAMIC_QUANT_MODULE_MAPPINGS: dict[Any, Any] = {
    **{_of(nn, name): _of(dynamic, name) for name in ("GRUCell", "Linear", "LSTM", "GRU", "LSTMCell", "RNNCell")},
    NonDynamicallyQuantizableLinear: dynamic.Linear, intrinsic.LinearReLU: fused_dynamic.LinearReLU,  # type: ignore[attr-defined]
    nn.EmbeddingBag: static.EmbeddingBag, nn.Embedding: static.Embedding,
}  # fmt: skip
DEFAULT_MODULE_TO_ACT_POST_PROCESS: dict[Any, Any] = {
    nn.Hardsigmoid: default_fixed_qparams_range_0to1_fake_quant, nn.Sigmoid: default_fixed_qparams_range_0to1_fake_quant,
    nn.Softmax: default_fixed_qparams_range_0to1_fake_quant, nn.Tanh: default_fixed_qparams_range_neg1to1_fake_quant,
}  # fmt: skip


def get_default_static_quant_module_mappings() -> dict[Any, Any]:
    """For a model whose activations have been looked at."""
    return copy.copy(DEFAULT_STATIC_QUANT_MODULE_MAPPINGS)


def get_default_dynamic_quant_module_mappings() -> dict[Any, Any]:
    """For a model that quantizes as it goes."""
    return copy.copy(DEFAULT_DYNAMIC_QUANT_MODULE_MAPPINGS)


def get_default_qat_module_mappings() -> dict[Any, Any]:
    """For a model that is to be trained."""
    return copy.copy(DEFAULT_QAT_MODULE_MAPPINGS)


def get_embedding_static_quant_module_mappings() -> dict[Any, Any]:
    """For a trained model, its embeddings too."""
    return {**DEFAULT_STATIC_QUANT_MODULE_MAPPINGS, qat.EmbeddingBag: static.EmbeddingBag, qat.Embedding: static.Embedding}


def get_embedding_qat_module_mappings() -> dict[Any, Any]:
    """For a model that is to be trained, its embeddings too."""
    return {**DEFAULT_QAT_MODULE_MAPPINGS, nn.EmbeddingBag: qat.EmbeddingBag, nn.Embedding: qat.Embedding}


def get_default_qconfig_propagation_list() -> set[Any]:
    """The layers that observers are put behind."""
    return {
        *DEFAULT_STATIC_QUANT_MODULE_MAPPINGS,
        *DEFAULT_QAT_MODULE_MAPPINGS,
        *DEFAULT_DYNAMIC_QUANT_MODULE_MAPPINGS,
        nn.Sequential,
    }


def _class_for(mappings: dict, kind: Any, more: dict | None) -> Any:
    found = {**mappings, **(more or {})}.get(kind)
    if found is None:
        raise AssertionError(f"Floating point module class {kind} does not have a corresponding quantized module class")
    return copy.deepcopy(found)


def get_static_quant_module_class(
    float_module_class: Any, additional_static_quant_mapping: dict | None = None, is_reference: bool = False
) -> Any:
    """The quantized class for a class of layers."""
    return _class_for(DEFAULT_STATIC_QUANT_MODULE_MAPPINGS, float_module_class, additional_static_quant_mapping)


def get_dynamic_quant_module_class(float_module_class: Any, additional_dynamic_quant_mapping: dict | None = None) -> Any:
    """The class that quantizes as it goes, for a class of layers."""
    return _class_for(DEFAULT_DYNAMIC_QUANT_MODULE_MAPPINGS, float_module_class, additional_dynamic_quant_mapping)

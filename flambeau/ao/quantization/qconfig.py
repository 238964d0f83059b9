"""Configurations of quantisation: by which observers activations and weights are looked at.

Source: https://docs.pytorch.org/docs/stable/quantization-support.html#torch-ao-quantization-qconfig
"""

from __future__ import annotations

from collections import namedtuple
from typing import Any

from flambeau.ao.quantization import fake_quantize as fake
from flambeau.ao.quantization import observer as seen
from flambeau.ao.quantization.fake_quantize import FakeQuantize, FusedMovingAvgObsFakeQuantize
from flambeau.ao.quantization.observer import (
    HistogramObserver,
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    NoopObserver,
    PlaceholderObserver,
    RecordingObserver,
    ReuseInputObserver,
    qint8,
)
from flambeau.core import dtypes
from flambeau.nn.modules.linear import Identity

__all__ = ["QConfig", "QConfigAny", "QConfigDynamic", "get_default_qat_qconfig", "get_default_qconfig", "qconfig_equals"]


class QConfig(namedtuple("QConfig", ["activation", "weight"])):
    """Two classes of observers, or of modules that round, or such with arguments given: for activations and for weights.

    >>> import flambeau as torch
    >>> q = torch.ao.quantization
    >>> config = q.QConfig(activation=q.MinMaxObserver, weight=q.default_weight_observer)
    >>> config.weight().dtype
    torch.qint8
    """

    __slots__ = ()

    def __new__(cls, activation: Any, weight: Any) -> QConfig:
        if isinstance(activation, seen.Module) or isinstance(weight, seen.Module):
            raise ValueError(
                "QConfig received observer instance, please pass observer class instead. Use MyObserver.with_args(x=1) to override arguments"
            )
        return super().__new__(cls, activation, weight)


class QConfigDynamic(namedtuple("QConfigDynamic", ["activation", "weight"])):
    """Two classes of observers for layers that quantize as they go; deprecated for :class:`QConfig`."""

    __slots__ = ()

    def __new__(cls, activation: Any = Identity, weight: Any = Identity) -> QConfigDynamic:
        if isinstance(weight, seen.Module):
            raise ValueError("QConfigDynamic received observer instance, please pass observer class instead.")
        return super().__new__(cls, activation, weight)


QConfigAny = QConfig | None

default_qconfig = QConfig(activation=seen.default_observer, weight=seen.default_weight_observer)
default_per_channel_qconfig = QConfig(activation=seen.default_observer, weight=seen.default_per_channel_weight_observer)
default_debug_qconfig = QConfig(weight=seen.default_weight_observer, activation=RecordingObserver)
default_quint8_weight_qconfig = QConfig(activation=HistogramObserver, weight=MinMaxObserver)
default_dynamic_qconfig = QConfig(activation=seen.default_dynamic_quant_observer, weight=seen.default_weight_observer)
per_channel_dynamic_qconfig = QConfig(
    activation=seen.default_dynamic_quant_observer, weight=seen.default_per_channel_weight_observer
)
float16_dynamic_qconfig = QConfig(
    activation=PlaceholderObserver.with_args(dtype=dtypes.float16, is_dynamic=True),
    weight=PlaceholderObserver.with_args(dtype=dtypes.float16),
)
float16_static_qconfig = QConfig(
    activation=PlaceholderObserver.with_args(dtype=dtypes.float16), weight=PlaceholderObserver.with_args(dtype=dtypes.float16)
)
float_qparams_weight_only_qconfig = QConfig(activation=PlaceholderObserver, weight=seen.default_float_qparams_observer)
default_qat_qconfig = QConfig(activation=fake.default_fake_quant, weight=fake.default_weight_fake_quant)
default_dynamic_qat_qconfig = QConfig(activation=fake.default_dynamic_fake_quant, weight=fake.default_weight_fake_quant)
default_weight_only_qconfig = QConfig(activation=Identity, weight=fake.default_weight_fake_quant)
default_activation_only_qconfig = QConfig(activation=fake.default_fake_quant, weight=Identity)
default_qat_qconfig_v2 = QConfig(activation=fake.default_fused_act_fake_quant, weight=fake.default_fused_wt_fake_quant)
default_reuse_input_qconfig = QConfig(activation=ReuseInputObserver, weight=NoopObserver)
default_embedding_qat_qconfig = QConfig(
    activation=NoopObserver.with_args(dtype=dtypes.float32), weight=fake.default_embedding_fake_quant
)
_signed = HistogramObserver.with_args(dtype=qint8, reduce_range=False, eps=2**-12)
default_symmetric_qnnpack_qconfig = QConfig(activation=_signed, weight=seen.weight_observer_range_neg_127_to_127)
default_per_channel_symmetric_qnnpack_qconfig = QConfig(
    activation=_signed, weight=seen.per_channel_weight_observer_range_neg_127_to_127
)
_signed_fake = FusedMovingAvgObsFakeQuantize.with_args(
    observer=MovingAverageMinMaxObserver, quant_min=-128, quant_max=127, dtype=qint8, reduce_range=False, eps=2**-12
)
default_symmetric_qnnpack_qat_qconfig = QConfig(activation=_signed_fake, weight=fake.fused_wt_fake_quant_range_neg_127_to_127)
default_per_channel_symmetric_qnnpack_qat_qconfig = QConfig(
    activation=_signed_fake, weight=fake.fused_per_channel_wt_fake_quant_range_neg_127_to_127
)
_BACKENDS = ("fbgemm", "x86", "qnnpack", "onednn")


def _check(backend: str) -> None:
    if backend not in _BACKENDS:
        raise AssertionError(f"backend: {backend} not supported. backend must be one of {list(_BACKENDS)}")


def get_default_qconfig(backend: str = "x86", version: int = 0) -> QConfig:
    """The configuration that PyTorch quantizes a trained model with, for one of its libraries; here all compute alike."""
    _check(backend)
    if version != 0:
        raise AssertionError(f"Version number: {version} in get_default_qconfig is not supported. Version number must be 0")
    weight = seen.default_weight_observer if backend == "qnnpack" else seen.default_per_channel_weight_observer
    return QConfig(activation=HistogramObserver.with_args(reduce_range=backend in ("fbgemm", "x86")), weight=weight)


def get_default_qat_qconfig(backend: str = "x86", version: int = 1) -> QConfig:
    """The configuration that PyTorch trains a model with that is to be quantized, for one of its libraries."""
    _check(backend)
    if version not in (0, 1):
        raise AssertionError(
            f"Version number: {version} in get_default_qat_qconfig is not supported. Version number must be 0 or 1"
        )
    cls = (FakeQuantize, FusedMovingAvgObsFakeQuantize)[version]
    reduced = {} if backend == "onednn" else {"reduce_range": backend != "qnnpack"}
    activation = cls.with_args(observer=MovingAverageMinMaxObserver, quant_min=0, quant_max=255, **reduced)
    of_channels = (fake.default_per_channel_weight_fake_quant, fake.default_fused_per_channel_wt_fake_quant)
    of_all = (fake.default_weight_fake_quant, fake.default_fused_wt_fake_quant)
    return QConfig(activation=activation, weight=(of_all if backend == "qnnpack" else of_channels)[version])


def qconfig_equals(q1: Any, q2: Any) -> bool:
    """Whether two configurations make the same."""

    def described(q: Any) -> Any:
        return None if q is None else [(p.p.func, p.p.args, p.p.keywords) if hasattr(p, "p") else p for p in q]

    return bool(described(q1) == described(q2))

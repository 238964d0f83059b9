"""Modules that round numbers to what integers can say, so that a model is trained for them.

Source: https://docs.pytorch.org/docs/stable/quantization-support.html#torch-ao-quantization-fake-quantize
"""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.ao.quantization.observer import (
    _RANGES,
    FixedQParamsObserver,
    HistogramObserver,
    MovingAverageMinMaxObserver,
    MovingAveragePerChannelMinMaxObserver,
    _with_args,
    default_fixed_qparams_range_0to1_observer,
    default_fixed_qparams_range_neg1to1_observer,
    qint8,
    quint8,
)
from flambeau.core import dtypes
from flambeau.core.qscheme import (
    per_channel_affine,
    per_channel_affine_float_qparams,
    per_channel_symmetric,
    per_tensor_affine,
    per_tensor_symmetric,
)
from flambeau.nn.modules.module import Module
from flambeau.ops.quantization import choose, fake_quantize_per_channel_affine, fake_quantize_per_tensor_affine
from flambeau.tensor import Tensor

__all__ = [
    "FakeQuantize", "FakeQuantizeBase", "FixedQParamsFakeQuantize", "FusedMovingAvgObsFakeQuantize", "disable_fake_quant", "disable_observer",
    "enable_fake_quant", "enable_observer",
]  # fmt: skip


class FakeQuantizeBase(Module):
    """Base class: rounding and observing can be switched, by tensors that are part of the state."""

    fake_quant_enabled: Tensor
    observer_enabled: Tensor
    with_args = classmethod(_with_args)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("fake_quant_enabled", flambeau.tensor([1], dtype=dtypes.uint8))
        self.register_buffer("observer_enabled", flambeau.tensor([1], dtype=dtypes.uint8))

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} needs a forward")

    def calculate_qparams(self, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs calculate_qparams")

    def enable_fake_quant(self, enabled: bool = True) -> None:
        """Whether numbers are rounded."""
        self.fake_quant_enabled[0] = 1 if enabled else 0

    def disable_fake_quant(self) -> None:
        self.enable_fake_quant(False)

    def enable_observer(self, enabled: bool = True) -> None:
        """Whether numbers are looked at."""
        self.observer_enabled[0] = 1 if enabled else 0

    def disable_observer(self) -> None:
        self.enable_observer(False)


class FakeQuantize(FakeQuantizeBase):
    """Looks at numbers by an observer, and rounds them by its scale and zero point; gradients pass where nothing is cut off.

    Args:
        observer: a class of observers, or one with arguments given.
        quant_min, quant_max: the least and greatest integer.
        observer_kwargs: further arguments for the observer.

    >>> import flambeau as torch
    >>> fake = torch.ao.quantization.FakeQuantize(quant_min=0, quant_max=3)
    >>> fake(torch.tensor([0.0, 0.7, 3.0]))
    tensor([0., 1., 3.])
    """

    scale: Tensor
    zero_point: Tensor

    def __init__(
        self, observer: Any = MovingAverageMinMaxObserver, quant_min: int | None = None, quant_max: int | None = None, is_dynamic: bool = False,
        **observer_kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__()
        if quant_min is not None and quant_max is not None:
            if quant_min > quant_max:
                raise AssertionError("quant_min must be less than or equal to quant_max")
            given = getattr(getattr(observer, "p", None), "keywords", {})
            low, high = _RANGES[given.get("dtype", observer_kwargs.get("dtype", quint8))]
            if low > quant_min:
                raise AssertionError("quant_min out of bound")
            if quant_max > high:
                raise AssertionError("quant_max out of bound")
            observer_kwargs |= {"quant_min": quant_min, "quant_max": quant_max}
        seen = self.activation_post_process = observer(**observer_kwargs, is_dynamic=is_dynamic)
        self.quant_min, self.quant_max, self.is_dynamic = seen.quant_min, seen.quant_max, seen.is_dynamic
        floating = seen.qscheme is per_channel_affine_float_qparams
        self.register_buffer("scale", flambeau.tensor([1.0]))
        self.register_buffer("zero_point", flambeau.tensor([0], dtype=dtypes.float32 if floating else dtypes.int32))
        self.dtype, self.qscheme, self.ch_axis = seen.dtype, seen.qscheme, getattr(seen, "ch_axis", -1)
        self.is_per_channel = self.qscheme in (per_channel_affine, per_channel_symmetric, per_channel_affine_float_qparams)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return self.activation_post_process.calculate_qparams()  # type: ignore[no-any-return]

    def forward(self, X: Tensor) -> Tensor:
        if self.observer_enabled[0] == 1:
            self.activation_post_process(X.detach())
            for kept, value in zip((self.scale, self.zero_point), self.calculate_qparams(), strict=True):
                kept.resize_(value.shape)
                kept.copy_(value)
        if self.fake_quant_enabled[0] != 1:
            return X
        limits = self.activation_post_process.quant_min, self.activation_post_process.quant_max
        if self.is_per_channel:
            return fake_quantize_per_channel_affine(X, self.scale, self.zero_point, self.ch_axis, *limits)  # type: ignore[no-any-return]
        return fake_quantize_per_tensor_affine(X, self.scale, self.zero_point, *limits)  # type: ignore[no-any-return]

    def extra_repr(self) -> str:
        seen = self.activation_post_process
        return (
            f"fake_quant_enabled={self.fake_quant_enabled}, observer_enabled={self.observer_enabled}, quant_min={seen.quant_min}, "
            f"quant_max={seen.quant_max}, dtype={self.dtype}, qscheme={self.qscheme}, ch_axis={self.ch_axis}, scale={self.scale}, "
            f"zero_point={self.zero_point}"
        )

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        for name in ("scale", "zero_point"):
            if prefix + name in state_dict:
                getattr(self, name).resize_(state_dict[prefix + name].shape)
        super()._load_from_state_dict(state_dict, prefix, *args)


class FixedQParamsFakeQuantize(FakeQuantize):
    """Rounds by a scale and a zero point that are known beforehand."""

    def __init__(self, observer: Any) -> None:
        super().__init__(observer=observer)
        if type(self.activation_post_process) is not FixedQParamsObserver:
            raise AssertionError(
                f"FixedQParamsFakeQuantize takes an observer of fixed parameters, got {type(self.activation_post_process)}"
            )
        self.scale, self.zero_point = self.activation_post_process.scale, self.activation_post_process.zero_point

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return self.scale, self.zero_point

    def extra_repr(self) -> str:
        seen = self.activation_post_process
        return (
            f"fake_quant_enabled={self.fake_quant_enabled}, observer_enabled={self.observer_enabled}, scale={self.scale}, "
            f"zero_point={self.zero_point}, dtype={self.dtype}, quant_min={seen.quant_min}, quant_max={seen.quant_max}, qscheme={self.qscheme}"
        )


class FusedMovingAvgObsFakeQuantize(FakeQuantize):
    """A :class:`FakeQuantize` with an observer of moving averages, which PyTorch has a kernel of its own for."""

    def __init__(
        self, observer: Any = MovingAverageMinMaxObserver, quant_min: int = 0, quant_max: int = 255, **observer_kwargs: Any
    ) -> None:
        super().__init__(observer, quant_min, quant_max, **observer_kwargs)
        if not isinstance(self.activation_post_process, (MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver)):
            raise AssertionError("Fused observer+fake_quant module only works with MovingAverageMinMaxObserver")
        self.register_buffer("fake_quant_enabled", flambeau.tensor([1], dtype=dtypes.int64))
        self.register_buffer("observer_enabled", flambeau.tensor([1], dtype=dtypes.int64))
        self.is_symmetric_quant = self.qscheme in (per_tensor_symmetric, per_channel_symmetric)

    def forward(self, X: Tensor) -> Tensor:
        seen = self.activation_post_process
        return fused_moving_avg_obs_fake_quant(
            X, self.observer_enabled, self.fake_quant_enabled, seen.min_val, seen.max_val, self.scale, self.zero_point, seen.averaging_constant,
            seen.quant_min, seen.quant_max, self.ch_axis, self.is_per_channel, self.is_symmetric_quant,
        )  # fmt: skip

    def extra_repr(self) -> str:
        seen = self.activation_post_process
        return (
            f"fake_quant_enabled={self.fake_quant_enabled}, observer_enabled={self.observer_enabled}, scale={self.scale}, "
            f"zero_point={self.zero_point}, dtype={self.dtype}, quant_min={seen.quant_min}, quant_max={seen.quant_max}, "
            f"qscheme={self.qscheme}, reduce_range={seen.reduce_range}"
        )


def fused_moving_avg_obs_fake_quant(
    input: Tensor, observer_on: Tensor, fake_quant_on: Tensor, running_min: Tensor, running_max: Tensor, scale: Tensor, zero_point: Tensor,
    averaging_const: float, quant_min: int, quant_max: int, ch_axis: int, per_row_fake_quant: bool = False, symmetric_quant: bool = False,
) -> Tensor:  # fmt: skip
    """Moving averages of the least and greatest numbers, the scale and zero point that follow, and rounding by these.

    All tensors but ``input`` are written to. Source:
    https://docs.pytorch.org/docs/stable/generated/torch.fused_moving_avg_obs_fake_quant.html
    """
    if observer_on.item():
        rows = input.detach().movedim(ch_axis, 0).flatten(1) if per_row_fake_quant else input.detach().reshape(1, -1)
        for running, now in ((running_min, rows.amin(1)), (running_max, rows.amax(1))):
            now = now.reshape(now.shape if per_row_fake_quant else ())
            first = not running.numel() or bool(running.isinf().any())
            value = now if first else running + averaging_const * (now - running)
            running.resize_(value.shape)
            running.copy_(value)
        limits = zip(running_min.reshape(-1).tolist(), running_max.reshape(-1).tolist(), strict=True)
        found = [choose(low, high, quant_min, quant_max, symmetric_quant) for low, high in limits]
        for kept, values in zip((scale, zero_point), zip(*found, strict=True), strict=True):
            kept.resize_(len(values))
            kept.copy_(flambeau.tensor(values))
    if not fake_quant_on.item():
        return input
    if per_row_fake_quant:
        return fake_quantize_per_channel_affine(input, scale, zero_point, ch_axis, quant_min, quant_max)  # type: ignore[no-any-return]
    return fake_quantize_per_tensor_affine(input, scale, zero_point, quant_min, quant_max)  # type: ignore[no-any-return]


def _switch(name: str, doc: str) -> Any:
    def switch(mod: Module) -> None:
        if isinstance(mod, FakeQuantizeBase):
            getattr(mod, name)()

    switch.__name__ = switch.__qualname__ = name
    switch.__doc__ = doc + " For ``model.apply``."
    return switch


enable_fake_quant = _switch("enable_fake_quant", "Rounding begins.")
disable_fake_quant = _switch("disable_fake_quant", "Rounding ends.")
enable_observer = _switch("enable_observer", "Observing begins.")
disable_observer = _switch("disable_observer", "Observing ends.")

# --- what configurations are made of --------------------------------------------------------------------------

_Mean, _MeanOfChannels = MovingAverageMinMaxObserver, MovingAveragePerChannelMinMaxObserver
_weight: dict[str, Any] = {"quant_min": -128, "quant_max": 127, "dtype": qint8}
_symmetric_channels: dict[str, Any] = {"observer": _MeanOfChannels, **_weight, "qscheme": per_channel_symmetric}
default_fake_quant = FakeQuantize.with_args(
    observer=_Mean, quant_min=0, quant_max=255, dtype=quint8, qscheme=per_tensor_affine, reduce_range=True
)
default_weight_fake_quant = FakeQuantize.with_args(observer=_Mean, **_weight, qscheme=per_tensor_symmetric, reduce_range=False)
default_dynamic_fake_quant = FakeQuantize.with_args(
    observer=_Mean, quant_min=0, quant_max=255, is_dynamic=True, dtype=quint8, averaging_constant=1
)
default_fixed_qparams_range_neg1to1_fake_quant = FixedQParamsFakeQuantize.with_args(
    observer=default_fixed_qparams_range_neg1to1_observer
)
default_fixed_qparams_range_0to1_fake_quant = FixedQParamsFakeQuantize.with_args(observer=default_fixed_qparams_range_0to1_observer)
default_symmetric_fixed_qparams_fake_quant = default_fixed_qparams_range_neg1to1_fake_quant
default_affine_fixed_qparams_fake_quant = default_fixed_qparams_range_0to1_fake_quant
default_per_channel_weight_fake_quant = FakeQuantize.with_args(**_symmetric_channels, reduce_range=False, ch_axis=0)
default_embedding_fake_quant = FakeQuantize.with_args(
    observer=_MeanOfChannels,
    qscheme=per_channel_affine_float_qparams,
    dtype=quint8,
    quant_min=0,
    quant_max=255,
    ch_axis=0,
    averaging_constant=1,
)
default_histogram_fake_quant = FakeQuantize.with_args(
    observer=HistogramObserver, quant_min=0, quant_max=255, dtype=quint8, qscheme=per_tensor_affine, reduce_range=True
)
default_fused_act_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(observer=_Mean, quant_min=0, quant_max=255, dtype=quint8)
default_fused_wt_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(observer=_Mean, **_weight, qscheme=per_tensor_symmetric)
default_fused_per_channel_wt_fake_quant = FusedMovingAvgObsFakeQuantize.with_args(**_symmetric_channels)
_narrow: dict[str, Any] = {"quant_min": -127, "quant_max": 127, "dtype": qint8}
fused_wt_fake_quant_range_neg_127_to_127 = FusedMovingAvgObsFakeQuantize.with_args(
    observer=_Mean, **_narrow, qscheme=per_tensor_symmetric, eps=2**-12
)
fused_per_channel_wt_fake_quant_range_neg_127_to_127 = FusedMovingAvgObsFakeQuantize.with_args(
    observer=_MeanOfChannels, **_narrow, qscheme=per_channel_symmetric, eps=2**-12
)

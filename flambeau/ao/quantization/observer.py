"""Observers: modules that numbers pass through, and that then know by which scale and zero point these become integers.

Source: https://docs.pytorch.org/docs/stable/quantization-support.html#torch-ao-quantization-observer
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import flambeau
from flambeau.core import dtypes
from flambeau.core.qscheme import (
    per_channel_affine,
    per_channel_affine_float_qparams,
    per_channel_symmetric,
    per_tensor_affine,
    per_tensor_symmetric,
)
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor

__all__ = [
    "FixedQParamsObserver", "HistogramObserver", "MinMaxObserver", "MovingAverageMinMaxObserver", "MovingAveragePerChannelMinMaxObserver",
    "NoopObserver", "ObserverBase", "PerChannelMinMaxObserver", "PlaceholderObserver", "RecordingObserver", "ReuseInputObserver",
    "UniformQuantizationObserverBase", "get_observer_state_dict", "load_observer_state_dict",
]  # fmt: skip

qint8, quint8, qint32 = dtypes.qint8, dtypes.quint8, dtypes.qint32
_EPS = float(np.finfo(np.float32).eps)
_RANGES = {
    qint8: (-128, 127), dtypes.int8: (-128, 127), quint8: (0, 255), dtypes.uint8: (0, 255), qint32: (-(2**31), 2**31 - 1),
    dtypes.int32: (-(2**31), 2**31 - 1), dtypes.int16: (-(2**15), 2**15 - 1), dtypes.uint16: (0, 2**16 - 1), dtypes.by_name("quint4x2"): (0, 15),
}  # fmt: skip


class _PartialWrapper:
    """A class with some arguments given, as ``MinMaxObserver.with_args(dtype=torch.qint8)``."""

    def __init__(self, p: functools.partial) -> None:
        self.p = p
        self.callable_args: dict[str, Callable] = {}

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        made = {name: function() for name, function in self.callable_args.items() if name not in keywords}
        return self.p(*args, **made, **keywords)

    def __repr__(self) -> str:
        return repr(self.p) + repr(self.callable_args)

    def with_args(self, **kwargs: Any) -> _PartialWrapper:
        """This maker of observers with more arguments given."""
        return _with_args(self, **kwargs)

    def with_callable_args(self, **kwargs: Callable) -> _PartialWrapper:
        """This maker of observers with arguments that are made anew at each call."""
        result = self.with_args()
        result.callable_args = {**self.callable_args, **kwargs}
        return result


def _with_args(self: Any, **kwargs: Any) -> _PartialWrapper:
    return _PartialWrapper(functools.partial(self, **kwargs))


def _with_callable_args(self: Any, **kwargs: Callable) -> _PartialWrapper:
    return _with_args(self).with_callable_args(**kwargs)


class ObserverBase(Module):
    """Base class of observers: ``forward`` looks at a tensor and returns it, ``calculate_qparams`` gives scale and zero point."""

    with_args = classmethod(_with_args)
    with_callable_args = classmethod(_with_callable_args)

    def __init__(self, dtype: Any, is_dynamic: bool = False) -> None:
        super().__init__()
        self.dtype, self.is_dynamic = dtype, is_dynamic

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} needs a forward")

    def calculate_qparams(self, **kwargs: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} needs calculate_qparams")


class UniformQuantizationObserverBase(ObserverBase):
    """Base class of observers whose integers stand at even distances.

    Args:
        dtype: of the integers.
        qscheme: one scale for all or for each channel, and whether zero is in the middle.
        reduce_range: half as many integers, as products on older CPUs need.
        quant_min, quant_max: the least and greatest integer, where not those of ``dtype``.
        eps: the least scale.
    """

    _version = 3

    def __init__(
        self, dtype: Any = quint8, qscheme: Any = per_tensor_affine, reduce_range: bool = False, quant_min: int | None = None,
        quant_max: int | None = None, factory_kwargs: dict | None = None, eps: float = _EPS, is_dynamic: bool = False, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(dtype, is_dynamic, **kwargs)
        if dtype not in _RANGES:
            raise AssertionError(f"Default Observer only works for qint8, quint8, quint4x2, ... data type, got {dtype}")
        self.qscheme, self.reduce_range = qscheme, reduce_range
        self.register_buffer("eps", flambeau.tensor([eps]))
        self.has_customized_qrange = quant_min is not None and quant_max is not None
        low, high = (quant_min, quant_max) if self.has_customized_qrange else _RANGES[dtype]
        if not low <= 0 <= high and self.has_customized_qrange or low >= high:  # type: ignore[operator]
            raise AssertionError("Used-specified quantization range must include 0, and qmin must be less than qmax.")
        if reduce_range:
            low, high = low // 2, (high - 1) // 2 if not self.has_customized_qrange else high // 2  # type: ignore[operator]
        self.quant_min, self.quant_max = low, high

    @property
    def _by_channel(self) -> bool:
        return self.qscheme in (per_channel_affine, per_channel_symmetric, per_channel_affine_float_qparams)

    def _calculate_qparams(self, min_val: Tensor, max_val: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and zero point for numbers between ``min_val`` and ``max_val``, for all or for each channel."""
        if not min_val.numel() or bool((min_val == float("inf")).all()) and bool((max_val == float("-inf")).all()):
            warnings.warn("must run observer before calling calculate_qparams. Returning default values.", stacklevel=3)
            return flambeau.tensor([1.0]), flambeau.tensor([0])
        if not bool((min_val <= max_val).all()):
            raise AssertionError(f"min {min_val} should be less than max {max_val}")
        low, high = min_val.clamp(max=0), max_val.clamp(min=0)
        steps = float(self.quant_max - self.quant_min)  # type: ignore[operator]
        zero_point = flambeau.zeros(low.shape, dtype=dtypes.int64)
        if self.qscheme in (per_tensor_symmetric, per_channel_symmetric):
            scale = flambeau.maximum(-low, high).div(steps / 2).maximum(self.eps)
            if self.dtype in (quint8, dtypes.uint8):
                middle = (self.quant_min + self.quant_max) // 2 if self.has_customized_qrange else 128  # type: ignore[operator]
                zero_point = zero_point + middle
        elif self.qscheme is per_channel_affine_float_qparams:
            scale = (max_val - min_val) / steps
            scale = flambeau.where(scale > self.eps, scale, flambeau.ones_like(scale))
            zero_point = -min_val / scale
        else:
            scale = ((high - low) / steps).maximum(self.eps)
            bounds: Any = self.quant_min, self.quant_max
            zero_point = (bounds[0] - flambeau.round(low / scale).to(dtypes.int32)).clamp(*bounds)
        return scale.reshape(-1), zero_point.reshape(-1)

    def reset_min_max_vals(self) -> None:
        """Forgets what has been seen."""
        raise NotImplementedError(f"{type(self).__name__} has no reset_min_max_vals")


class MinMaxObserver(UniformQuantizationObserverBase):
    """Keeps the least and the greatest number seen.

    >>> import flambeau as torch
    >>> observer = torch.ao.quantization.MinMaxObserver()
    >>> _ = observer(torch.tensor([-1.0, 1.55]))
    >>> observer.calculate_qparams()
    (tensor([0.0100]), tensor([100], dtype=torch.int32))
    """

    min_val: Tensor
    max_val: Tensor

    def __init__(self, *args: Any, factory_kwargs: dict | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self._by_channel:
            raise NotImplementedError(
                "MinMaxObserver's qscheme only support torch.per_tensor_symmetric and torch.per_tensor_affine."
            )
        settings = factory_kwargs or {}
        self.register_buffer("min_val", flambeau.tensor(float("inf"), **settings))
        self.register_buffer("max_val", flambeau.tensor(float("-inf"), **settings))

    def _merged(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The limits after another tensor with these has been seen."""
        return flambeau.minimum(low, self.min_val), flambeau.maximum(high, self.max_val)

    def forward(self, x_orig: Tensor) -> Tensor:
        if x_orig.numel():
            x = x_orig.detach().to(self.min_val.dtype)
            low, high = self._merged(x.min(), x.max())
            self.min_val.copy_(low)
            self.max_val.copy_(high)
        return x_orig

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return self._calculate_qparams(self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"

    def reset_min_max_vals(self) -> None:
        self.min_val.fill_(float("inf"))
        self.max_val.fill_(float("-inf"))


class MovingAverageMinMaxObserver(MinMaxObserver):
    """Keeps moving averages of the least and greatest numbers.

    Args:
        averaging_constant: how much the newest counts.
    """

    def __init__(self, averaging_constant: float = 0.01, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.averaging_constant = averaging_constant

    def _merged(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        if self.min_val == float("inf") and self.max_val == float("-inf"):
            return low, high
        c = self.averaging_constant
        return self.min_val + c * (low - self.min_val), self.max_val + c * (high - self.max_val)


class PerChannelMinMaxObserver(UniformQuantizationObserverBase):
    """Keeps the least and greatest numbers of each channel.

    Args:
        ch_axis: the dim of the channels.
    """

    min_val: Tensor
    max_val: Tensor

    def __init__(self, ch_axis: int = 0, dtype: Any = quint8, qscheme: Any = per_channel_affine, **kwargs: Any) -> None:
        super().__init__(dtype, qscheme, **kwargs)
        if not self._by_channel:
            raise NotImplementedError("PerChannelMinMaxObserver's qscheme only support torch.per_channel_symmetric, torch.per_channel_affine and "
                                      "torch.per_channel_affine_float_qparams.")  # fmt: skip
        self.ch_axis = ch_axis
        self.register_buffer("min_val", flambeau.tensor([]))
        self.register_buffer("max_val", flambeau.tensor([]))

    def _merged(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        return flambeau.minimum(low, self.min_val), flambeau.maximum(high, self.max_val)

    def forward(self, x_orig: Tensor) -> Tensor:
        if x_orig.numel():
            x = x_orig.detach().to(self.min_val.dtype).movedim(self.ch_axis, 0).flatten(1)
            low, high = x.amin(1), x.amax(1)
            if self.min_val.numel():
                low, high = self._merged(low, high)
            for buffer, value in ((self.min_val, low), (self.max_val, high)):
                buffer.resize_(value.shape)
                buffer.copy_(value)
        return x_orig

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return self._calculate_qparams(self.min_val, self.max_val)

    def extra_repr(self) -> str:
        return f"min_val={self.min_val}, max_val={self.max_val}"

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        for name in ("min_val", "max_val"):
            if prefix + name in state_dict:
                getattr(self, name).resize_(state_dict[prefix + name].shape)
        super()._load_from_state_dict(state_dict, prefix, *args)

    def reset_min_max_vals(self) -> None:
        self.min_val, self.max_val = flambeau.rand(0), flambeau.rand(0)


class MovingAveragePerChannelMinMaxObserver(PerChannelMinMaxObserver):
    """Keeps moving averages of the least and greatest numbers of each channel."""

    def __init__(self, averaging_constant: float = 0.01, ch_axis: int = 0, **kwargs: Any) -> None:
        super().__init__(ch_axis, **kwargs)
        self.averaging_constant = averaging_constant

    def _merged(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        c = self.averaging_constant
        return self.min_val + c * (low - self.min_val), self.max_val + c * (high - self.max_val)


class HistogramObserver(MinMaxObserver):
    """Keeps a histogram of the numbers, and cuts off its ends as long as that makes the error of quantisation less.

    Args:
        bins: of the histogram.
    """

    histogram: Tensor

    def __init__(self, bins: int = 2048, *args: Any, is_dynamic: bool = False, **kwargs: Any) -> None:
        if is_dynamic:
            raise NotImplementedError("HistogramObserver doesn't support dynamic quantization")
        super().__init__(*args, **kwargs)
        self.bins = bins
        self._buffers = {"eps": self.eps, "histogram": flambeau.zeros(bins), "min_val": self.min_val, "max_val": self.max_val}
        self.dst_nbins = 2 ** (8 * self.dtype.itemsize)
        self.upsample_rate = 16

    def forward(self, x_orig: Tensor) -> Tensor:
        if not x_orig.numel():
            return x_orig
        x = x_orig.detach()
        infinite = flambeau.isinf(x)
        if infinite.any():
            warnings.warn("torch.inf detected in input tensor, ignoring input", stacklevel=2)
            x = x[~infinite]
            if not x.numel():
                return x_orig
        low, high = x.min(), x.max()
        before = (
            None if self.min_val == float("inf") or self.max_val == float("-inf") else (self.min_val.clone(), self.max_val.clone())
        )
        if before is not None:
            low, high = flambeau.minimum(low, before[0]), flambeau.maximum(high, before[1])
        seen = flambeau.histc(x, self.bins, min=low.item(), max=high.item())
        if before is not None:
            seen = seen + self._within(self.histogram, *before, low, high)
        self.histogram.copy_(seen)
        self.min_val.copy_(low)
        self.max_val.copy_(high)
        return x_orig

    def _within(self, histogram: Tensor, low: Tensor, high: Tensor, new_low: Tensor, new_high: Tensor) -> Tensor:
        """A histogram between ``low`` and ``high`` as one between wider limits: each bin is cut in 16, which go to where their
        middles lie."""
        if low == new_low and high == new_high:
            return histogram
        if low == high:
            return flambeau.histc(low, self.bins, min=new_low.item(), max=new_high.item()) * histogram.sum()
        parts = self.bins * self.upsample_rate
        weights = histogram.repeat_interleave(self.upsample_rate) / self.upsample_rate
        middles = flambeau.linspace(low.item(), high.item(), parts + 1)[:-1] + 0.5 * ((high - low) / parts)
        borders = flambeau.linspace(new_low.item(), new_high.item(), self.bins + 1)
        places = (flambeau.bucketize(middles, borders, right=True) - 1).clamp(0, self.bins - 1)
        return flambeau.bincount(places, weights, self.bins)

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        if self.min_val == float("inf") and self.max_val == float("-inf"):
            return super().calculate_qparams()
        first, last = self._best_bins()
        width = (self.max_val - self.min_val) / self.bins
        return self._calculate_qparams(self.min_val + width * first, self.min_val + width * (last + 1))

    def _best_bins(self) -> tuple[int, int]:
        """The first and the last bin that are kept: from one side or the other some 1e-5 of the numbers are cut off, until the
        error grows."""
        sums, step = self.histogram.cumsum(0)._array(), 1e-5
        total = float(self.histogram.sum().item())
        below, above, best = 0.0, 1.0, float("inf")
        first, last = 0, self.bins - 1
        while below < above:
            left, right = first, last
            while left < last and sums[left] < (below + step) * total:
                left += 1
            while right > first and sums[right] > (above - step) * total:
                right -= 1
            if left - first > last - right:
                below, after = below + step, (left, last)
            else:
                above, after = above - step, (first, right)
            if after == (first, last):
                continue
            error = self._error(*after)
            if error > best:
                break
            best, (first, last) = error, after
        return first, last

    def _error(self, first: int, last: int) -> float:
        """The mean square of what numbers change by, if those between two bins become integers; in a bin they are spread evenly."""
        width = (float(self.max_val.item()) - float(self.min_val.item())) / self.bins
        step = width * (last - first + 1) / self.dst_nbins
        if step == 0:
            return 0.0
        histogram = self.histogram._array()
        begin = ((np.arange(self.bins) - first) * width).astype(np.float32)
        end = (begin + np.float32(width)).astype(np.float32)
        density = histogram / np.float32(width)
        of_begin, of_end = (np.clip(np.floor(x / np.float32(step)), 0, self.dst_nbins - 1).astype(np.float32) for x in (begin, end))
        half = np.float32(step / 2)

        def norm(a: Any, b: Any) -> Any:
            return density * ((b * b * b - a * a * a) / np.float32(3))

        found = norm(begin - (of_begin + np.float32(0.5)) * np.float32(step), half) + (of_end - of_begin - 1) * norm(-half, half)
        found = found + norm(-half, end - (of_end * np.float32(step) + half))
        return float(flambeau.from_numpy(found.astype(np.float32)).sum().item())


class FixedQParamsObserver(ObserverBase):
    """Gives a scale and a zero point that are known beforehand, and looks at nothing."""

    scale: Tensor
    zero_point: Tensor

    def __init__(
        self, scale: float, zero_point: int, dtype: Any = quint8, qscheme: Any = per_tensor_affine, quant_min: int = 0, quant_max: int = 255,
        is_dynamic: bool = False, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(dtype, is_dynamic, **kwargs)
        self.quant_min, self.quant_max, self.qscheme = quant_min, quant_max, qscheme
        self.register_buffer("scale", flambeau.tensor([scale]))
        self.register_buffer("zero_point", flambeau.tensor([zero_point], dtype=dtypes.int32))

    def forward(self, X: Tensor) -> Tensor:
        return X

    def calculate_qparams(self) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return self.scale, self.zero_point


class PlaceholderObserver(ObserverBase):
    """Looks at nothing: it only says to which dtype something is converted."""

    def __init__(
        self, dtype: Any = dtypes.float32, custom_op_name: str = "", compute_dtype: Any = None, quant_min: int | None = None,
        quant_max: int | None = None, qscheme: Any = None, eps: float | None = None, is_dynamic: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(dtype, is_dynamic or bool(compute_dtype))
        self.custom_op, self.quant_min, self.quant_max = custom_op_name, quant_min, quant_max
        self.qscheme = per_tensor_affine if qscheme is None else qscheme
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return x

    def extra_repr(self) -> str:
        return f"dtype={self.dtype}, is_dynamic={self.is_dynamic}"

    def calculate_qparams(self) -> Any:  # type: ignore[override]
        raise Exception("calculate_qparams should not be called for PlaceholderObserver")  # noqa: TRY002


class RecordingObserver(ObserverBase):
    """Keeps the tensors themselves, to look at them."""

    def __init__(self, dtype: Any = quint8) -> None:
        super().__init__(dtype)
        self.tensor_val: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.tensor_val.append(x.clone())
        return x

    def calculate_qparams(self) -> Any:  # type: ignore[override]
        raise Exception("calculate_qparams should not be called for RecordingObserver")  # noqa: TRY002

    def get_tensor_value(self) -> list[Tensor]:
        """The tensors seen."""
        return self.tensor_val


class NoopObserver(ObserverBase):
    """Looks at nothing: what it stands for is not quantized."""

    def __init__(self, dtype: Any = dtypes.float16, custom_op_name: str = "") -> None:
        super().__init__(dtype)
        self.custom_op = custom_op_name

    def forward(self, x: Tensor) -> Tensor:
        return x

    def calculate_qparams(self) -> Any:  # type: ignore[override]
        raise Exception("calculate_qparams should not be called for NoopObserver")  # noqa: TRY002


class ReuseInputObserver(NoopObserver):
    """Says that results have the scale and zero point of the input."""

    def __init__(self) -> None:
        super().__init__(quint8)


def get_observer_state_dict(mod: Module) -> dict[str, Any]:
    """The entries of observers in a module's state."""
    return {name: value for name, value in mod.state_dict().items() if "activation_post_process" in name}


def load_observer_state_dict(mod: Module, obs_dict: dict[str, Any]) -> None:
    """Gives a module's observers the state of others."""
    found = mod.load_state_dict({**mod.state_dict(), **obs_dict}, strict=False)
    if found.unexpected_keys:
        raise RuntimeError(f"Unexpected keys for state_dict {found.unexpected_keys}")


# --- what configurations are made of --------------------------------------------------------------------------

default_observer = MinMaxObserver.with_args(quant_min=0, quant_max=127)
default_placeholder_observer = PlaceholderObserver
default_debug_observer = RecordingObserver
default_weight_observer = MinMaxObserver.with_args(dtype=qint8, qscheme=per_tensor_symmetric)
weight_observer_range_neg_127_to_127 = MinMaxObserver.with_args(
    dtype=qint8, qscheme=per_tensor_symmetric, quant_min=-127, quant_max=127, eps=2**-12
)
default_histogram_observer = HistogramObserver.with_args(quant_min=0, quant_max=127)
default_per_channel_weight_observer = PerChannelMinMaxObserver.with_args(dtype=qint8, qscheme=per_channel_symmetric)
per_channel_weight_observer_range_neg_127_to_127 = PerChannelMinMaxObserver.with_args(
    dtype=qint8, qscheme=per_channel_symmetric, quant_min=-127, quant_max=127, eps=2**-12
)
default_dynamic_quant_observer = PlaceholderObserver.with_args(dtype=quint8, quant_min=0, quant_max=255, is_dynamic=True)
default_float_qparams_observer = PerChannelMinMaxObserver.with_args(
    dtype=quint8, qscheme=per_channel_affine_float_qparams, ch_axis=0
)
default_fixed_qparams_range_neg1to1_observer = FixedQParamsObserver.with_args(
    scale=2.0 / 256, zero_point=128, dtype=quint8, quant_min=0, quant_max=255
)
default_fixed_qparams_range_0to1_observer = FixedQParamsObserver.with_args(
    scale=1.0 / 256, zero_point=0, dtype=quint8, quant_min=0, quant_max=255
)
default_symmetric_fixed_qparams_observer = default_fixed_qparams_range_neg1to1_observer
default_affine_fixed_qparams_observer = default_fixed_qparams_range_0to1_observer
default_reuse_input_observer = ReuseInputObserver

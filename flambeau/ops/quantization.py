"""Numbers between floating point and a few integers: the arithmetic of quantized tensors and layers, and of training for them.

A number :math:`x` stands as the integer :math:`q = round(x / scale) + zero\\_point`, cut to what the integer type has. Here
integers are whole float32 numbers, so that they run in the same loops and products as everything else: a product of whole numbers
is exact as long as no sum reaches :math:`2^{24}`. The file is imported when something of it is first used.

Source: https://docs.pytorch.org/docs/stable/quantization.html
"""

from __future__ import annotations

import numpy as np

from flambeau.core import dtypes
from flambeau.ops.record import ErrorSample, Sample, composite, op, pointwise
from flambeau.ops.views import unsqueeze

FLOAT32_EXACT = 1 << 24
"""Sums of whole float32 numbers are exact below it."""


def inverse_of(scale: float) -> float:
    """What numbers are multiplied by instead of divided by their scale, in float32 as PyTorch does."""
    return float(np.float32(1) / np.float32(scale))


# --- to integers and back ------------------------------------------------------------------------------------


def _once(x, y, z):
    """``x * y + z`` of float32 numbers, rounded once."""
    x, y, z = [np.asarray(a, np.float32).astype(np.float64) for a in (x, y, z)]
    return (x * y + z).astype(np.float32)


def _whole(x, inverse, zero_point, low, high):
    q = np.clip(np.rint(_once(x, inverse, zero_point)), low, high)
    return np.where(np.isnan(q), np.float32(high), q)


@pointwise(
    name="_whole_numbers",
    kernel=_whole,
    lower=lambda b, x, inverse, zero_point, low, high: b.select(
        b.isnan(x), float(high), b.fmin(b.fmax(b.rint(b.fma(x, inverse, zero_point)), float(low)), float(high))
    ),
    tensors="input inverse zero_point",
    method=False,
)
def whole_numbers(input, inverse, zero_point, low, high):
    """``input`` as whole numbers between ``low`` and ``high``; NaN becomes the highest."""
    return (input, inverse, zero_point), {"low": low, "high": high}


@pointwise(
    name="_multiply_add", kernel=_once, lower=lambda b, x, y, z: b.fma(x, y, z), tensors="input factor addend", method=False,
    samples=lambda make: [Sample(*[make(3, 4, dtype=dtypes.float32, requires_grad=False) for _ in range(3)])],
)  # fmt: skip
def multiply_add(input, factor, addend):
    """``input * factor + addend``, rounded once."""
    return (input, factor, addend), {}


def choose(lowest: float, highest: float, low: int, high: int, symmetric: bool = False) -> tuple[float, int]:
    """The scale and zero point by which the numbers between ``lowest`` and ``highest`` become integers between ``low`` and
    ``high``.

    Zero is always one of the numbers that are exact; ``symmetric``: it is the middle one, if there are numbers on both sides.
    """
    symmetric = symmetric and lowest < 0 < highest
    if symmetric:
        above = (high - low) // 2
        step = max(abs(lowest / (above + 1)), abs(highest / above))
        lowest, highest = -step * (above + 1), step * above
    lowest, highest = min(lowest, 0.0), max(highest, 0.0)
    scale = (highest - lowest) / (high - low)
    if np.float32(scale) == 0 or scale * 3.4e38 < 1:  # also where one over it would be infinite
        scale = 0.1
    if np.float32(scale) < _SMALLEST:
        before, scale = scale, float(_SMALLEST)
        if lowest == 0:
            highest = scale * (high - low)
        elif highest == 0:
            lowest = -scale * (high - low)
        else:
            lowest, highest = lowest * scale / before, highest * scale / before
    if symmetric:
        return scale, int((low + high) / 2)
    at_low, at_high = lowest / scale, highest / scale
    zero_point = low - at_low if abs(low) - abs(at_low) < abs(high) - abs(at_high) else high - at_high
    return scale, int(min(max(np.rint(zero_point), low), high))


_SMALLEST = np.float32(6.1e-5)


def _chosen(x, low, high):
    if not x.size:
        scale, zero_point = 0.1, 0
    else:
        scale, zero_point = choose(float(x.min()), float(x.max()), low, high)
    rounded = np.float32(scale)
    return rounded, np.float32(1) / rounded, np.float32(zero_point)


@op(name="_choose_quantization", kernel=_chosen, outputs=("scale", "inverse", "zero_point"), method=False)
def choose_quantization(input, low, high):
    """The scale, one over it, and the zero point for the numbers of ``input``; see :func:`choose`."""
    return ((), (), ()), (dtypes.float32,) * 3, (input,), {"low": low, "high": high}


# --- as if numbers were integers: training for quantisation --------------------------------------------------


def _faked(x, scale, inverse, zero_point, low, high):
    q = np.rint(x * inverse) + zero_point
    q = np.where(np.isnan(q), x.dtype.type(low), np.clip(q, low, high))
    return (q - zero_point) * scale


def _within(g, input, inverse, zero_point, low, high):
    """The gradient flows where a number is not cut off."""
    q = (input * inverse).round() + zero_point
    return g * ((q >= low) & (q <= high)).to(g.dtype)


@pointwise(
    name="_fake_quantize",
    kernel=_faked,
    lower=lambda b, x, scale, inverse, zero_point, low, high: b.mul(
        b.sub(b.fmin(b.fmax(b.add(b.rint(b.mul(x, inverse)), zero_point), float(low)), float(high)), zero_point), scale
    ),
    tensors="input scale inverse zero_point",
    grad={"input": _within},
    backward_name="FakeQuantizePerTensorAffineCachemaskBackward0",
    method=False,
)
def _fake_quantize(input, scale, inverse, zero_point, low, high):
    """``input`` rounded to the numbers that integers between ``low`` and ``high`` stand for."""
    return (input, scale, inverse, zero_point), {"low": low, "high": high}


def _check_limits(low: int, high: int) -> None:
    if low > high:
        raise RuntimeError("`quant_min` should be less than or equal to `quant_max`.")


@composite(
    method=False,
    samples=lambda make: [Sample(make(3, 4, dtype=dtypes.float32, requires_grad=False), 0.1, 3, 0, 255)],
    errors=lambda make: [ErrorSample(RuntimeError, "`quant_min` should be less", make(2, dtype=dtypes.float32), 0.1, 0, 3, 1)],
)
def fake_quantize_per_tensor_affine(input, scale, zero_point, quant_min, quant_max):
    r"""``input`` rounded to what integers between ``quant_min`` and ``quant_max`` can say:
    :math:`(clamp(round(x / scale) + zero\_point) - zero\_point) \cdot scale`.

    The gradient is passed on where a number is not cut off. ``scale`` and ``zero_point`` are numbers, or tensors of one.

    Raises ``RuntimeError`` for a ``zero_point`` that is not from ``quant_min`` to ``quant_max``.

    >>> import flambeau as torch
    >>> torch.fake_quantize_per_tensor_affine(torch.tensor([0.05, 0.26, 99.0]), 0.1, 0, 0, 255)
    tensor([ 0.0000,  0.3000, 25.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fake_quantize_per_tensor_affine.html
    """
    _check_limits(quant_min, quant_max)
    if hasattr(scale, "reciprocal"):
        scale, inverse, zero_point = scale.reshape(()), scale.reshape(()).reciprocal(), zero_point.reshape(()).to(scale.dtype)
    else:
        if not quant_min <= zero_point <= quant_max:
            raise RuntimeError("`zero_point` must be between `quant_min` and `quant_max`.")
        scale, inverse, zero_point = float(np.float32(scale)), inverse_of(scale), float(zero_point)
    return _fake_quantize(input, scale, inverse, zero_point, quant_min, quant_max)


@composite(method=False)
def fake_quantize_per_channel_affine(input, scale, zero_point, axis, quant_min, quant_max):
    """As :func:`fake_quantize_per_tensor_affine`, with a scale and a zero point for each index along the dim ``axis``.

    Raises ``RuntimeError`` for scales and zero points that are not one for each channel.

    >>> import flambeau as torch
    >>> x = torch.tensor([[0.26], [0.26]])
    >>> torch.fake_quantize_per_channel_affine(x, torch.tensor([0.1, 0.5]), torch.tensor([0, 0], dtype=torch.int32), 0, 0, 255)
    tensor([[0.3000],
            [0.5000]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.fake_quantize_per_channel_affine.html
    """
    _check_limits(quant_min, quant_max)
    if scale.dim() != 1 or zero_point.shape != scale.shape or scale.shape[0] != input.shape[axis]:
        raise RuntimeError("dimensions of scale and zero-point are not consistent with input tensor")
    scale, zero_point = along(scale, input, axis), along(zero_point.to(scale.dtype), input, axis)
    return _fake_quantize(input, scale, scale.reciprocal(), zero_point, quant_min, quant_max)


def along(values, input, axis: int):
    """One value for each index along a dim, so that they broadcast to ``input``."""
    for _ in range(input.dim() - 1 - axis % input.dim()):
        values = unsqueeze(values, -1)
    return values

"""Arithmetic between quantized tensors, whose results have scales and zero points of their own.

PyTorch computes in vectors, which round a little otherwise than :func:`flambeau.quantize_per_tensor`: a number is
``q * scale - zero_point * scale`` rounded once, and the zero point is added after a result is rounded. So do these, to the last
integer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import flambeau
from flambeau.core import dtypes
from flambeau.nn import functional
from flambeau.ops.quantization import inverse_of, multiply_add
from flambeau.quantized.tensor import INTEGERS, QuantizedTensor, limits, per_tensor
from flambeau.tensor.tensor import Tensor

F: Any = functional

__all__ = ["add", "add_scalar", "batch_norm", "cat", "matmul", "mul", "mul_scalar", "numbers", "of_numbers", "requantized"]


def numbers(q: QuantizedTensor) -> Tensor:
    """What the integers of a tensor stand for, as vectors compute it."""
    if q._axis is not None:
        return q.dequantize()
    scale = np.float32(q._scale)
    return multiply_add(q._ints.float(), float(scale), float(-q._zero * scale))  # type: ignore[no-any-return]


def requantized(x: Tensor, factor: Any, zero_point: int, scale: float, dtype: Any, relu: bool = False) -> QuantizedTensor:
    """``round(x * factor) + zero_point`` as the integers of a tensor with this scale; ``relu``: none stands for a number below
    zero."""
    low, high = limits(dtype)
    whole = (x * factor).round() + float(zero_point)
    whole = whole.clamp(max(low, zero_point) if relu else low, high)
    return per_tensor(whole.to(INTEGERS[dtype]), scale, zero_point, dtype, integers=True)


def _again(x: Tensor, scale: float, zero_point: int, dtype: Any, relu: bool = False) -> QuantizedTensor:
    return requantized(x, inverse_of(scale), zero_point, scale, dtype, relu)


def of_numbers(function: Callable) -> Callable:
    """An op of the numbers of one tensor: ``(q, *settings, scale, zero_point)``."""

    def call(q: QuantizedTensor, *args: Any, scale: float, zero_point: int, **settings: Any) -> QuantizedTensor:
        return _again(function(numbers(q), *args, **settings), scale, zero_point, q.dtype)

    return call


def _same_dtype(a: QuantizedTensor, b: QuantizedTensor, name: str) -> None:
    if a.qscheme() is not b.qscheme() or a.dtype is not b.dtype:
        raise RuntimeError(f"{name} operands should have same data type and quantizer, got {a.dtype} and {b.dtype}")


def add(qa: QuantizedTensor, qb: QuantizedTensor, scale: float, zero_point: int, relu: bool = False) -> QuantizedTensor:
    """The sum, quantized anew."""
    _same_dtype(qa, qb, "Add")
    return _again(numbers(qa) + numbers(qb), scale, zero_point, qa.dtype, relu)


def mul(qa: QuantizedTensor, qb: QuantizedTensor, scale: float, zero_point: int, relu: bool = False) -> QuantizedTensor:
    """The product of the integers, which is exact, and then quantized anew."""
    _same_dtype(qa, qb, "Mul")
    factor = np.float32(qa._scale) * np.float32(qb._scale) * (np.float32(1) / np.float32(scale))
    return requantized(qa._offsets() * qb._offsets(), float(factor), zero_point, scale, qa.dtype, relu)


def add_scalar(q: QuantizedTensor, number: float, relu: bool = False) -> QuantizedTensor:
    """The sum with a number: another zero point, or another scale where that would not fit."""
    low, high = limits(q.dtype)
    shift = int(np.rint(float(number) / q._scale))
    zero, scale = q._zero, q._scale
    at_low, at_high = low - (zero - shift), high - (zero - shift)  # what the integers would be, from the new zero point
    zero_point = zero - shift
    if low <= zero_point <= high:
        if not relu:
            return per_tensor(q._ints, scale, zero_point, q.dtype, integers=True)
        return per_tensor(q._ints.clamp_min(zero_point), scale, zero_point, q.dtype, integers=True)
    if zero_point < low:
        fitting, anew = (at_high / (high - low)) * scale, low
    else:
        fitting, anew = (-at_low / (high - low)) * scale, high
    shifted = (q._ints.to(dtypes.int32) - zero_point).float()
    return requantized(shifted, float(np.float32(scale / fitting)), anew, fitting, q.dtype, relu)


def mul_scalar(q: QuantizedTensor, number: float, relu: bool = False) -> QuantizedTensor:
    """The product with a number: another scale, with the integers the other way round where it is negative."""
    low, high = limits(q.dtype)
    number = float(number)
    if number == 0:
        return per_tensor(flambeau.zeros_like(q._ints), 1.0, 0, q.dtype, integers=True)
    scale, zero, ints = q._scale * abs(number), q._zero, q._ints
    if number < 0:
        zero, ints = high + low - zero, (high + low - ints.to(dtypes.int32)).to(ints.dtype)
    return per_tensor(ints.clamp_min(zero) if relu else ints.clone(), scale, zero, q.dtype, integers=True)


def cat(
    tensors: Any, dim: int = 0, scale: float | None = None, zero_point: int | None = None, relu: bool = False
) -> QuantizedTensor:
    """Joined; with the scale and zero point given, or those of the first."""
    first = tensors[0]
    joined = flambeau.cat([q.dequantize() for q in tensors], dim)
    scale, zero_point = first._scale if scale is None else scale, first._zero if zero_point is None else zero_point
    return per_tensor(joined.relu() if relu else joined, scale, zero_point, first.dtype)


def matmul(qa: QuantizedTensor, qb: QuantizedTensor, scale: float, zero_point: int) -> QuantizedTensor:
    """The product of matrices of integers, quantized anew."""
    act = np.float32(qa._scale) * np.float32(qb._scale)
    wide = dtypes.float64 if qa.shape[-1] * 255 * 255 >= 1 << 24 else dtypes.float32
    product = (qa._offsets().to(wide) @ qb._offsets().to(wide)).float()
    return requantized(product, float(act / np.float32(scale)), zero_point, scale, qa.dtype)


def batch_norm(
    q: QuantizedTensor,
    weight: Any,
    bias: Any,
    mean: Tensor,
    var: Tensor,
    eps: float,
    scale: float,
    zero_point: int,
    relu: bool = False,
) -> QuantizedTensor:
    """Normalised by known means and variances, and quantized anew."""
    return _again(F.batch_norm(numbers(q), mean, var, weight, bias, False, 0.0, eps), scale, zero_point, q.dtype, relu)

"""Rules of operators on integers that stand for numbers."""

from __future__ import annotations

from typing import Any

import flambeau as torch
from flambeau.onnx.importing.registry import dtype_of, rule
from flambeau.onnx.importing.windows import conv

Tensor = torch.Tensor


def _along(t: Tensor, x: Tensor, axis: int, block: int) -> Tensor:
    """A scale or zero point, of all, of each place of ``axis`` or of each block of these, for each element of ``x``."""
    if t.numel() == 1 and t.dim() < 2:
        return t.reshape(())
    if block:
        return t.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    return t.reshape(-1, *[1] * (x.dim() - 1 - axis % x.dim())) if t.dim() == 1 else t


@rule("QuantizeLinear")
def quantize_linear(
    x: Tensor,
    scale: Tensor,
    zero: Tensor | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Tensor:
    kind = zero.dtype if zero is not None else dtype_of(output_dtype) if output_dtype else torch.uint8
    y = x / _along(scale, x, axis, block_size)
    if kind.is_floating_point:
        return y.to(kind)
    y = torch.round(y) + (0 if zero is None else _along(zero, x, axis, block_size).to(y.dtype))
    limits = torch.iinfo(kind)
    return torch.clamp(y, limits.min, limits.max).to(kind)


@rule("DequantizeLinear")
def dequantize_linear(
    x: Tensor, scale: Tensor, zero: Tensor | None = None, *, axis: int = 1, block_size: int = 0, output_dtype: int = 0
) -> Tensor:
    factor = _along(scale, x, axis, block_size)
    y = x.to(torch.float32)
    if zero is not None:
        y = y - _along(zero, x, axis, block_size).to(torch.float32)
    return (y * factor.to(torch.float32)).to(dtype_of(output_dtype) if output_dtype else scale.dtype)


@rule("DynamicQuantizeLinear")
def dynamic_quantize_linear(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    low, high = torch.clamp(x.min(), max=0), torch.clamp(x.max(), min=0)
    scale = (high - low) / 255
    zero = torch.clamp(torch.round(-low / scale), 0, 255)
    y = torch.clamp(torch.round(x / scale) + zero, 0, 255)
    return y.to(torch.uint8), scale, zero.to(torch.uint8)


def _centered(x: Tensor, zero: Tensor | None, axis: int, dtype: torch.dtype) -> Tensor:
    y = x.to(dtype)
    return y if zero is None else y - _along(zero, x, axis, 0).to(dtype)


@rule("MatMulInteger")
def matmul_integer(a: Tensor, b: Tensor, a_zero: Tensor | None = None, b_zero: Tensor | None = None) -> Tensor:
    return _centered(a, a_zero, -2, torch.int32) @ _centered(b, b_zero, -1, torch.int32)


@rule("ConvInteger")
def conv_integer(x: Tensor, w: Tensor, x_zero: Tensor | None = None, w_zero: Tensor | None = None, **settings: Any) -> Tensor:
    """In float64, which holds sums of products of bytes exactly."""
    return conv(_centered(x, x_zero, 1, torch.float64), _centered(w, w_zero, 0, torch.float64), **settings).to(torch.int32)


@rule("QLinearMatMul")
def qlinear_matmul(
    a: Tensor, a_scale: Tensor, a_zero: Tensor, b: Tensor, b_scale: Tensor, b_zero: Tensor, y_scale: Tensor, y_zero: Tensor
) -> Tensor:
    exact = _centered(a, a_zero, -2, torch.float64) @ _centered(b, b_zero, -1, torch.float64)
    factor = _along(a_scale, a, -2, 0).to(torch.float64) * _along(b_scale, b, -1, 0).to(torch.float64) / y_scale.to(torch.float64)
    return _requantized(exact * factor, y_zero)


@rule("QLinearConv")
def qlinear_conv(
    x: Tensor, x_scale: Tensor, x_zero: Tensor, w: Tensor, w_scale: Tensor, w_zero: Tensor, y_scale: Tensor, y_zero: Tensor, b: Tensor | None = None,
    **settings: Any,
) -> Tensor:  # fmt: skip
    bias = None if b is None else b.to(torch.float64)
    exact = conv(_centered(x, x_zero, 1, torch.float64), _centered(w, w_zero, 0, torch.float64), bias, **settings)
    channels = w_scale.reshape(-1, *[1] * (x.dim() - 2)).to(torch.float64)
    return _requantized(exact * channels * x_scale.to(torch.float64) / y_scale.to(torch.float64), y_zero)


def _requantized(y: Tensor, zero: Tensor) -> Tensor:
    limits = torch.iinfo(zero.dtype)
    return torch.clamp(torch.round(y) + zero.to(y.dtype), limits.min, limits.max).to(zero.dtype)

"""Functions that make quantized tensors: ``torch.quantize_per_tensor`` and its like."""

from __future__ import annotations

from typing import Any

import flambeau
from flambeau.core import dtypes
from flambeau.ops.quantization import choose
from flambeau.quantized.tensor import INTEGERS, QuantizedTensor, limits, per_channel, per_tensor
from flambeau.tensor.tensor import Tensor

__all__ = [
    "_choose_qparams_per_tensor", "_empty_affine_quantized", "_make_per_channel_quantized_tensor", "_make_per_tensor_quantized_tensor", "dequantize",
    "int_repr", "q_per_channel_axis", "q_per_channel_scales", "q_per_channel_zero_points", "q_scale", "q_zero_point",
    "quantize_per_channel", "quantize_per_tensor", "quantize_per_tensor_dynamic",
]  # fmt: skip


def _float32(x: Tensor, name: str) -> Tensor:
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(x).__name__}")
    if x.dtype is not dtypes.float32:
        raise RuntimeError(f"Quantize only works on Float Tensor, got {dtypes.scalar_name(x.dtype)}")
    return x


def quantize_per_tensor(input: Any, scale: Any, zero_point: Any, dtype: Any) -> Any:
    r"""A float32 tensor as integers: :math:`q = round(x / scale) + zero\_point`, cut to the range of ``dtype``.

    ``input`` may be a list, with tensors of as many scales and zero points.

    >>> import flambeau as torch
    >>> q = torch.quantize_per_tensor(torch.tensor([-1.0, 0.0, 1.0, 2.0]), 0.1, 10, torch.quint8)
    >>> q
    tensor([-1.,  0.,  1.,  2.], size=(4,), dtype=torch.quint8,
           quantization_scheme=torch.per_tensor_affine, scale=0.1, zero_point=10)
    >>> q.int_repr()
    tensor([ 0, 10, 20, 30], dtype=torch.uint8)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.quantize_per_tensor.html
    """
    if isinstance(input, (list, tuple)):
        return tuple(quantize_per_tensor(x, scale[i], zero_point[i], dtype) for i, x in enumerate(input))
    scale, zero_point = [v.item() if isinstance(v, Tensor) else v for v in (scale, zero_point)]
    limits(dtype)
    return per_tensor(_float32(input, "quantize_per_tensor"), scale, zero_point, dtype)


def quantize_per_channel(input: Tensor, scales: Tensor, zero_points: Tensor, axis: int, dtype: Any) -> Tensor:
    """A float32 tensor as integers, with a scale and a zero point for each index along the dim ``axis``.

    >>> import flambeau as torch
    >>> x = torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    >>> torch.quantize_per_channel(x, torch.tensor([0.1, 0.5]), torch.tensor([0, 0]), 0, torch.qint8).int_repr()
    tensor([[10, 20],
            [ 2,  4]], dtype=torch.int8)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.quantize_per_channel.html
    """
    if scales.dim() != 1 or zero_points.shape != scales.shape:
        raise RuntimeError("scale tensor and zero_points must be one-dimensional, and of one length")
    if scales.numel() != input.shape[axis]:
        raise RuntimeError(f"length of scales must equal to channel, expected {input.shape[axis]} got, {scales.numel()}")
    return per_channel(_float32(input, "quantize_per_channel"), scales, zero_points, axis % input.dim(), dtype)


def quantize_per_tensor_dynamic(input: Tensor, dtype: Any, reduce_range: bool) -> Tensor:
    """Quantized with the scale and zero point that fit the numbers there are; ``reduce_range``: with one bit less."""
    low, high = limits(dtype)
    if reduce_range:
        low, high = low // 2, high // 2
    x = _float32(input, "quantize_per_tensor_dynamic")
    scale, zero_point = choose(x.min().item(), x.max().item(), low, high) if x.numel() else (1.0, 0)
    return per_tensor(x, scale, zero_point, dtype)


def _choose_qparams_per_tensor(input: Tensor, reduce_range: bool = False) -> tuple[float, int]:
    """The scale and the zero point that fit the numbers of ``input``, for integers of 8 bits without a sign."""
    return choose(input.min().item(), input.max().item(), 0, 127 if reduce_range else 255)


def dequantize(input: Any) -> Any:
    """The numbers that quantized tensors stand for: of one tensor, or of each of a list.

    >>> import flambeau as torch
    >>> torch.dequantize(torch.quantize_per_tensor(torch.tensor([0.34]), 0.1, 0, torch.qint8))
    tensor([0.3000])
    """
    if isinstance(input, (list, tuple)):
        return tuple(map(dequantize, input))
    return input.dequantize()


def _reader(name: str) -> Any:
    def read(input: Tensor) -> Any:
        return getattr(input, name)()

    read.__name__ = read.__qualname__ = name
    read.__doc__ = f"``input.{name}()``."
    return read


int_repr, q_scale, q_zero_point = map(_reader, ("int_repr", "q_scale", "q_zero_point"))
q_per_channel_scales, q_per_channel_zero_points, q_per_channel_axis = [
    _reader(f"q_per_channel_{name}") for name in ("scales", "zero_points", "axis")
]


def _by_integers(x: Tensor) -> Any:
    return next((q for q, d in INTEGERS.items() if d is x.dtype), None)


def _make_per_tensor_quantized_tensor(input: Tensor, scale: float, zero_point: int) -> Tensor:
    """A quantized tensor of its integers."""
    return per_tensor(input.clone(), scale, zero_point, _by_integers(input), integers=True)


def _make_per_channel_quantized_tensor(input: Tensor, scale: Tensor, zero_point: Tensor, axis: int) -> Tensor:
    """A quantized tensor of its integers, with a scale for each channel."""
    return per_channel(input.clone(), scale, zero_point, axis, _by_integers(input), integers=True)


def _empty_affine_quantized(
    size: Any, *, scale: float = 1.0, zero_point: int = 0, dtype: Any = None, **settings: Any
) -> QuantizedTensor:
    """A quantized tensor whose content is not promised."""
    limits(dtype)
    return per_tensor(flambeau.zeros(tuple(size), dtype=INTEGERS[dtype]), scale, zero_point, dtype, integers=True)

"""Functions of quantized tensors that PyTorch has under ``torch``.

Source: https://docs.pytorch.org/docs/stable/generated/torch.quantized_max_pool2d.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import ops
from flambeau.core.memory_format import channels_last
from flambeau.quantized.tensor import QuantizedTensor, per_tensor
from flambeau.tensor.tensor import Tensor

__all__ = ["quantized_batch_norm", "quantized_max_pool1d", "quantized_max_pool2d", "quantized_max_pool3d"]


def _quantized(name: str, input: Any) -> QuantizedTensor:
    if not isinstance(input, QuantizedTensor):
        raise NotImplementedError(
            f"Could not run 'aten::{name}' with arguments from the 'CPU' backend: it takes a quantized tensor; see torch.quantize_per_tensor"
        )
    return input


def _max_pool(n: int) -> Callable:
    name = f"quantized_max_pool{n}d"
    pool: Any = ops.namespace("nn.functional")[f"max_pool{n}d"]

    def pooled(
        input: Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
    ) -> Tensor:
        return pool(_quantized(name, input), kernel_size, stride or None, padding, dilation, ceil_mode)

    pooled.__name__ = pooled.__qualname__ = name
    pooled.__doc__ = f"""The greatest of each window of a quantized tensor; see :func:`torch.nn.functional.max_pool{n}d`."""
    return pooled


quantized_max_pool1d, quantized_max_pool2d, quantized_max_pool3d = map(_max_pool, (1, 2, 3))


def quantized_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor,
    var: Tensor,
    eps: float,
    output_scale: float,
    output_zero_point: int,
) -> Tensor:
    """A quantized tensor normalized by given statistics, quantized with another scale and zero point.

    >>> import flambeau as torch
    >>> q = torch.quantize_per_tensor(torch.tensor([[[[2.0]], [[8.0]]]]), 0.5, 0, torch.quint8)
    >>> torch.quantized_batch_norm(q, torch.ones(2), torch.zeros(2), torch.ones(2), torch.ones(2), 0.0, 0.25, 0).dequantize().flatten()
    tensor([1., 7.])
    """
    x = _quantized("quantized_batch_norm", input)
    batch_norm: Any = ops.namespace("nn.functional")["batch_norm"]
    normed = batch_norm(x.dequantize(), mean, var, weight, bias, False, 0.0, eps).contiguous(memory_format=channels_last)
    return per_tensor(normed, float(output_scale), int(output_zero_point), x.dtype)

"""``make_tensor``: random tensors for tests."""

from __future__ import annotations

import math
from typing import Any

from flambeau import ops
from flambeau.core import dtypes
from flambeau.core.dtypes import dtype as Dtype
from flambeau.tensor import Tensor

__all__ = ["make_tensor"]


def make_tensor(
    *shape: Any, dtype: Dtype, device: Any = None, low: float | None = None, high: float | None = None,
    requires_grad: bool = False, noncontiguous: bool = False, exclude_zero: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """A tensor of random values in ``[low, high)``, by default in ``[-9, 9)`` (uint8: ``[0, 10)``, integers: ``[-9, 10)``).

    >>> import flambeau as torch
    >>> torch.testing.make_tensor((2, 3), dtype=torch.int64, device="cpu", low=0, high=5).shape
    torch.Size([2, 3])

    Source: https://docs.pytorch.org/docs/stable/testing.html#torch.testing.make_tensor
    """
    size = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else tuple(shape)
    if noncontiguous and memory_format is not None:
        raise ValueError(
            f"The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got noncontiguous={noncontiguous} "
            f"and memory_format={memory_format}"
        )
    if requires_grad and not (dtype.is_floating_point or dtype.is_complex):
        raise ValueError(f"`requires_grad=True` is not supported for boolean and integral dtypes, but got dtype={dtype}")
    if noncontiguous and math.prod(size) > 1:
        result = _values((*size[:-1], 2 * size[-1]), dtype, low, high)[..., 1::2]
    else:
        result = _values(size, dtype, low, high)
    if memory_format is not None:
        result = result.clone(memory_format=memory_format)
    if exclude_zero:
        one = 1 if not dtype.is_floating_point and not dtype.is_complex else dtypes.finfo(dtype).tiny
        result[result == 0] = one
    return result.requires_grad_(requires_grad)


def _values(size: tuple, dtype: Dtype, low: float | None, high: float | None) -> Tensor:
    if dtype is dtypes.bool:
        low, high = _bounds(low, high, 0, 2, 0, 2)
        return ops.randint(int(low), int(high), size, dtype=dtype)
    if not dtype.is_floating_point and not dtype.is_complex:
        info = dtypes.iinfo(dtype)
        default = (0, 10) if dtype is dtypes.uint8 else (-9, 10)
        low, high = _bounds(low, high, *default, info.min, info.max + 1)
        return ops.randint(math.ceil(low), math.ceil(high), size, dtype=dtype)
    limits = dtypes.finfo(dtype)
    low, high = _bounds(low, high, -9, 9, limits.min, limits.max)
    result = ops.empty(size, dtype=dtype)
    parts = ops.view_as_real(result) if dtype.is_complex else result
    parts.uniform_(low, high)
    return result


def _bounds(low: Any, high: Any, lowest: float, highest: float, least: float, most: float) -> tuple:
    low, high = lowest if low is None else low, highest if high is None else high
    if any(isinstance(v, float) and math.isnan(v) for v in (low, high)):
        raise ValueError(f"`low` and `high` cannot be NaN, but got low={low} and high={high}")
    low, high = max(low, least), min(high, most)
    if low > high:
        raise ValueError(f"`low` must be less than or equal to `high`, but got {low} > {high}")
    return low, high

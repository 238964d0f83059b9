"""``torch.onnx.operators``: functions whose results an export to ONNX would follow.

Source: https://docs.pytorch.org/docs/stable/onnx.html
"""

from __future__ import annotations

from collections.abc import Sequence

from flambeau.tensor import Tensor
from flambeau.tensor.exchange import tensor

__all__ = ["reshape_from_tensor_shape", "shape_as_tensor"]


def shape_as_tensor(x: Tensor) -> Tensor:
    """The shape as an int64 tensor.

    >>> import flambeau as torch
    >>> shape_as_tensor(torch.ones(2, 3))
    tensor([2, 3])
    """
    from flambeau.core.dtypes import int64

    return tensor(list(x.shape), dtype=int64)


def reshape_from_tensor_shape(x: Tensor, shape: Sequence | Tensor) -> Tensor:
    """``x`` in the shape that is given as a tensor."""
    return x.reshape([int(n) for n in shape])

"""A number that stands for the elements of a tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import dtypes
from flambeau.ops.record import ErrorSample, Sample, op
from flambeau.ops.reduction import reduced_shape, wrap_dims
from flambeau.ops.refusals import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor


def _xor_kernel(x, dim, keepdim):
    wide = np.float64 if x.dtype.kind not in "biu" else np.uint64 if x.dtype == np.uint64 else np.int64
    bits = x.astype(wide).view(np.uint64)
    return np.bitwise_xor.reduce(bits, axis=dim, keepdims=keepdim) if dim else bits


@op(
    kernel=_xor_kernel,
    out="same",
    samples=lambda make: [
        Sample(make(3, 4, requires_grad=False)),
        Sample(make(3, 4, requires_grad=False).long(), (0, 1), keepdim=True),
        Sample(make(requires_grad=False)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "Unknown hash_tensor mode: 1", make(2), mode=1),
        ErrorSample(RuntimeError, "Specify the reduction dim with the 'dim' argument", make(0)),
        ErrorSample(IndexError, "Expected reduction dim 0 to have non-zero size", make(0, 3), 0),
    ],
)
def hash_tensor(input: Tensor, dim: int | Sequence[int] = (), *, keepdim: bool = False, mode: int = 0):
    """A hash of the elements, in all or along ``dim``: the exclusive or of their bits, as ``float64`` or ``int64``; of dtype
    ``uint64``.

    Raises ``RuntimeError`` for another ``mode`` and for an empty tensor.

    >>> import flambeau as torch
    >>> torch.hash_tensor(torch.tensor([[1, 2], [3, 3]]), 1)
    tensor([3, 0], dtype=torch.uint64)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.hash_tensor.html
    """
    refuse("xor_sum_cpu", input)
    if mode != 0:
        raise RuntimeError(f"Unknown hash_tensor mode: {mode}")
    dims = wrap_dims(None if dim == () else dim, input.dim())
    if not input.numel():
        if dim in ((), None):
            raise RuntimeError(
                "hash_tensor: Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument."
            )
        for d in dims:
            if input.shape[d] == 0:
                raise IndexError(f"hash_tensor: Expected reduction dim {d} to have non-zero size.")
    return reduced_shape(input.shape, dims, keepdim), dtypes.uint64, (input,), {"dim": dims, "keepdim": bool(keepdim)}

"""Tensors made from a pattern: the identity, indices of triangles, grids of coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau.core import dtypes
from flambeau.ops.creation import finish
from flambeau.ops.record import ErrorSample, Sample, composite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.core.dtypes import dtype
    from flambeau.core.memory_format import layout
    from flambeau.tensor.types import Device, Tensor

# --- patterns ------------------------------------------------------------------------------------------------


@composite(
    tensors="", method=False, out="dtype", samples=lambda make: [Sample(3), Sample(2, 4)],
    errors=lambda make: [ErrorSample(RuntimeError, "n must be greater or equal to 0", -1)],
)  # fmt: skip
def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    pin_memory: bool | None = False,
) -> Tensor:
    """Ones on the diagonal, zeros elsewhere.

    Raises ``RuntimeError`` for negative sizes, ``TypeError`` for sizes that are no ints.

    >>> import flambeau as torch
    >>> torch.eye(2, 3)
    tensor([[1., 0., 0.],
            [0., 1., 0.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.eye.html
    """
    for name, size in (("n", n), ("m", m)):
        if size is not None and not hasattr(size, "__index__"):
            raise TypeError(f"eye(): argument '{name}' must be int, not {type(size).__name__}")
        if size is not None and size < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {size}")
    d = dtype or dtypes.get_default_dtype()
    if d is dtypes.complex32:
        raise NotImplementedError("\"eye\" not implemented for 'ComplexHalf'")
    return finish(np.eye(n, m, dtype=np.uint8).astype(d.np), d, device, requires_grad)


def _triangle_indices(pick, row, col, offset, dtype, device):
    d = dtype or dtypes.int64
    mask = pick(np.ones((row, col), np.bool_), offset)
    return finish(np.stack(np.nonzero(mask)).astype(d.np), d, device, False)


@composite(tensors="", method=False, samples=lambda make: [Sample(3, 3), Sample(2, 4, 1)])
def tril_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: dtype | None = None,
    device: Device = None,
    layout: layout | None = None,
) -> Tensor:
    """Row and column numbers of the lower triangle, as a (2, n) tensor.

    >>> import flambeau as torch
    >>> torch.tril_indices(2, 3)
    tensor([[0, 1, 1],
            [0, 0, 1]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.tril_indices.html
    """
    return _triangle_indices(np.tril, row, col, offset, dtype, device)


@composite(tensors="", method=False, samples=lambda make: [Sample(3, 3), Sample(2, 4, 1)])
def triu_indices(
    row: int,
    col: int,
    offset: int = 0,
    *,
    dtype: dtype | None = None,
    device: Device = None,
    layout: layout | None = None,
) -> Tensor:
    """Row and column numbers of the upper triangle, as a (2, n) tensor.

    >>> import flambeau as torch
    >>> torch.triu_indices(2, 3)
    tensor([[0, 0, 0, 1, 1],
            [0, 1, 2, 1, 2]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.triu_indices.html
    """
    return _triangle_indices(np.triu, row, col, offset, dtype, device)


@composite(method=False, samples=lambda make: [Sample(make(2), make(3)), Sample(make(2), make(3), indexing="xy")])
def meshgrid(*tensors: Tensor | Sequence[Tensor], indexing: str | None = "ij"):
    """Grids of coordinates: views of each 1-d tensor expanded along the others' dims.

    Raises ``RuntimeError`` for tensors of more than one dim or of different dtypes, and for another ``indexing``.

    >>> import flambeau as torch
    >>> rows, columns = torch.meshgrid(torch.tensor([1, 2]), torch.tensor([3, 4, 5]), indexing="ij")
    >>> rows
    tensor([[1, 1, 1],
            [2, 2, 2]])
    >>> columns
    tensor([[3, 4, 5],
            [3, 4, 5]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.meshgrid.html
    """
    listed: tuple[Any, ...] = tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    if indexing not in ("ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    if not listed:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for t in listed:
        if t.dim() > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {list(t.shape)}")
        if t.dtype is not listed[0].dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    flat = [t.reshape(-1) for t in listed]
    swap = indexing == "xy" and len(flat) >= 2
    if swap:
        flat[0], flat[1] = flat[1], flat[0]
    shape = tuple(t.shape[0] for t in flat)
    grids = [t.view((1,) * i + (-1,) + (1,) * (len(flat) - 1 - i)).expand(shape) for i, t in enumerate(flat)]
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)

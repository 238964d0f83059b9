"""Elements chosen by truth: where a mask holds, and where a tensor is not zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import dtypes
from flambeau.core.size import broadcast_shapes
from flambeau.ops import layouts
from flambeau.ops.indexing import expand_masks, index
from flambeau.ops.record import Sample, composite, op

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- masks ---------------------------------------------------------------------------------------------------


@composite(out="same", samples=lambda make: [Sample(make(2, 3), make.mask(2, 3)), Sample(make(2, 3), make.mask(3))])
def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` is true, as one row.

    Raises ``RuntimeError`` for a mask of another dtype than bool.

    >>> import flambeau as torch
    >>> torch.masked_select(torch.tensor([1, 2, 3]), torch.tensor([True, False, True]))
    tensor([1, 3])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.masked_select.html
    """
    if mask.dtype is not dtypes.bool:
        raise RuntimeError(f"masked_select: expected BoolTensor for mask, got {mask.dtype}")
    shape = broadcast_shapes(input.shape, mask.shape)
    input, mask = input.expand(shape), mask.expand(shape)
    if not shape:
        return input.reshape(1)[mask.reshape(1)]
    return index(input, expand_masks(input, (mask,)))


def _masked_scatter_kernel(x, mask, source):
    out = np.array(np.broadcast_to(x, np.broadcast_shapes(x.shape, mask.shape)), order="C")
    mask = np.broadcast_to(mask, out.shape)
    n = int(mask.sum())
    if source.size < n:
        raise RuntimeError(f"Number of elements of source < number of ones in mask: {n} are masked, source has {source.size}")
    out[mask] = source.reshape(-1)[:n]
    return out


def _masked_scatter_source_gradient(g, mask, source_shape):
    picked = g.masked_select(mask.expand(g.shape))
    n = source_shape.numel()
    row = g.new_zeros(n)
    row[: picked.shape[0]] = picked
    return row.reshape(source_shape)


@op(
    tensors="input mask source",
    inplace=True,
    checked=True,
    kernel=_masked_scatter_kernel,
    grad={"input": lambda g, mask: g.masked_fill(mask, 0), "source": _masked_scatter_source_gradient},
    samples=lambda make: [Sample(make(2, 3), make.mask(2, 3), make(6))],
)
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor):
    """``input`` with ``source``'s elements, in order, where ``mask`` is true.

    Raises ``RuntimeError`` for a mask of another dtype than bool, and for a ``source`` of another dtype.

    >>> import flambeau as torch
    >>> torch.masked_scatter(torch.zeros(3), torch.tensor([True, False, True]), torch.tensor([1.0, 2.0]))
    tensor([1., 0., 2.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.Tensor.masked_scatter.html
    """
    if mask.dtype is not dtypes.bool:
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {mask.dtype}")
    if source.dtype is not input.dtype:
        raise RuntimeError(f"masked_scatter: expected self and source to have same dtypes but got {input.dtype} and {source.dtype}")
    return tuple(broadcast_shapes(input.shape, mask.shape)), input.dtype, (input, mask, source), {}


def _nonzero_kernel(x):
    if x.ndim == 1:
        return x.nonzero()[0][:, None]
    return np.array(x.nonzero()).T if x.ndim else np.zeros((int(bool(x)), 0), np.int64)


@op(
    layout=layouts.columns,
    name="_nonzero",
    method=False,
    eager=True,
    kernel=_nonzero_kernel,
)
def _nonzero(input: Tensor):
    """The indices of all elements that are not zero, as rows."""
    return None, dtypes.int64, (input,), {}


@composite(out="same", samples=lambda make: [Sample(make(2, 3)), Sample(make.mask(3), as_tuple=True)])
def nonzero(input: Tensor, *, as_tuple: bool = False):
    """The indices of all elements that are not zero: as rows of one tensor, or one tensor a dim.

    >>> import flambeau as torch
    >>> torch.nonzero(torch.tensor([[0, 1], [2, 0]]))
    tensor([[0, 1],
            [1, 0]])
    >>> torch.nonzero(torch.tensor([[0, 1], [2, 0]]), as_tuple=True)
    (tensor([0, 1]), tensor([1, 0]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nonzero.html
    """
    rows = _nonzero(input)
    if not as_tuple:
        return rows
    return tuple(rows.unbind(1)) if input.dim() else tuple(_nonzero(input.reshape(1)).unbind(1))


@composite(samples=lambda make: [Sample(make(2, 3))])
def argwhere(input: Tensor) -> Tensor:
    """:func:`nonzero` as rows.

    >>> import flambeau as torch
    >>> torch.argwhere(torch.tensor([0, 5, 0, 7]))
    tensor([[1],
            [3]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.argwhere.html
    """
    return _nonzero(input)

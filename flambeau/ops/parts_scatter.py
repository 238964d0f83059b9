"""Copies of tensors with a part of them replaced: ``select_scatter`` and its like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from flambeau.core.size import wrap_dim
from flambeau.ops import layouts
from flambeau.ops.parts import slice_, with_part
from flambeau.ops.record import Sample, composite

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor


@composite(samples=lambda make: [Sample(make(2, 3), make(3), 0, 1)])
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of ``input`` with ``src`` written at ``index`` of ``dim``.

    >>> import flambeau as torch
    >>> torch.select_scatter(torch.zeros(2, 2), torch.ones(2), 0, 1)
    tensor([[0., 0.],
            [1., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.select_scatter.html
    """
    return with_part(input, src, lambda out: out.select(dim, index))


@composite(out="same", samples=lambda make: [Sample(make(4, 3), make(2, 3), 0, 1, 3), Sample(make(4), make(2), step=2)])
def slice_scatter(
    input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Tensor:
    """A copy of ``input`` with ``src`` written at ``start:end:step`` of ``dim``.

    >>> import flambeau as torch
    >>> torch.slice_scatter(torch.zeros(4), torch.ones(2), start=1, end=3)
    tensor([0., 1., 1., 0.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.slice_scatter.html
    """
    return with_part(input, src, lambda out: slice_(out, wrap_dim(dim, out.dim()), start, end, step))


@composite(samples=lambda make: [Sample(make(3, 3), make(3)), Sample(make(3, 3), make(2), 1)])
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of ``input`` with ``src`` written on a diagonal.

    >>> import flambeau as torch
    >>> torch.diagonal_scatter(torch.zeros(2, 2), torch.ones(2))
    tensor([[1., 0.],
            [0., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.diagonal_scatter.html
    """
    return with_part(input, src, lambda out: out.diagonal(offset, dim1, dim2))


@composite(layout=layouts.as_first, samples=lambda make: [Sample(make(3, 3), make(2, 2), (2, 2), (1, 2))])
def as_strided_scatter(
    input: Tensor, src: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A copy of ``input`` with ``src`` written where ``as_strided`` would look.

    >>> import flambeau as torch
    >>> torch.as_strided_scatter(torch.zeros(4), torch.ones(2), (2,), (2,))
    tensor([1., 0., 1., 0.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.as_strided_scatter.html
    """
    return with_part(input.contiguous(), src, lambda out: out.as_strided(size, stride, storage_offset))

"""Lookups in tables whose gradients are sparse: only the rows that were looked up."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.function import Function
from flambeau.sparse.tensor import coo, from_array
from flambeau.tensor.interception import Presence
from flambeau.tensor.tensor import Tensor

__all__ = ["lookup"]


class Embedding(Function):
    """The rows of a table; the gradient of the table has coordinates, one for each row that was looked up."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, indices: Tensor, rows: Any, padding_idx: int, scale: bool) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(indices)  # as they are now, whatever is written to them
        ctx.shape, ctx.padding_idx, ctx.scale = weight.shape, padding_idx, scale
        ctx.presence = Presence()  # until the gradient is computed, or the tape let go
        return rows(weight, indices)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple:  # type: ignore[override]
        indices = (
            ctx.saved_tensors[0].reshape(-1).long().clone()
        )  # the gradient stays as it is when the program writes to its indices
        values = g.reshape(indices.numel(), ctx.shape[1])
        if not values.numel():
            indices, values = indices[:0], values[:0]
        if ctx.padding_idx >= 0:
            kept = from_array((indices._array() != ctx.padding_idx).nonzero()[0])
            indices, values = indices[kept], values[kept]
        if ctx.scale:
            values = values / indices.bincount(minlength=ctx.shape[0])[indices].unsqueeze(1)
        return coo(indices.unsqueeze(0), values, ctx.shape), None, None, None, None


def lookup(weight: Tensor, indices: Tensor, rows: Any, padding_idx: int, scale: bool) -> Tensor:
    """``rows(weight, indices)``, with a sparse gradient of ``weight``."""
    return Embedding.apply(weight, indices, rows, padding_idx, scale)  # type: ignore[no-any-return]

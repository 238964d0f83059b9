"""Parts of tensors on several processes: who has which, and how they are exchanged.

A tensor lies on a mesh by one placement for each dim of the mesh, applied from the first to the last. ``Shard(d)`` cuts dim ``d``
as ``chunk`` does: all parts have :math:`\\lceil n / k \\rceil` rows but the last ones, which have what is left, perhaps nothing.

Source: https://docs.pytorch.org/docs/stable/distributed.tensor.html
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau import ops
from flambeau.autograd.function import Function
from flambeau.distributed._collectives import all_gather_into_tensor, all_reduce
from flambeau.distributed._group import ProcessGroup
from flambeau.distributed._reduction import ReduceOp
from flambeau.distributed.device_mesh import DeviceMesh
from flambeau.distributed.placements import Partial, Placement, Replicate, Shard
from flambeau.tensor import Tensor

__all__ = ["Placements", "extent", "gathered", "moved", "part_of", "place_of", "redistribute"]

Placements = tuple[Placement, ...]
_REDUCTIONS = {"sum": ReduceOp.SUM, "avg": ReduceOp.AVG, "max": ReduceOp.MAX, "min": ReduceOp.MIN, "product": ReduceOp.PRODUCT}


def extent(length: int, count: int, index: int) -> tuple[int, int]:
    """Where the ``index``-th of ``count`` parts of a dim begins, and its length.

    >>> [extent(5, 4, i) for i in range(4)]
    [(0, 2), (2, 2), (4, 1), (5, 0)]
    """
    size = -(-length // count)
    begin = min(length, index * size)
    return begin, min(length, begin + size) - begin


def place_of(shape: Sequence[int], mesh: DeviceMesh, placements: Sequence[Placement]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The shape of what this process has of a tensor, and where that begins in it."""
    sizes, begins = list(shape), [0] * len(shape)
    for mesh_dim, placement in enumerate(placements):
        if isinstance(placement, Shard):
            begin, sizes[placement.dim] = extent(sizes[placement.dim], mesh.size(mesh_dim), _coordinate(mesh)[mesh_dim])
            begins[placement.dim] += begin
    return tuple(sizes), tuple(begins)


def _coordinate(mesh: DeviceMesh) -> list[int]:
    place = mesh.get_coordinate()
    if place is None:
        raise RuntimeError("this process is not in the mesh of the tensor")
    return place


def part_of(t: Tensor, dim: int, count: int, index: int) -> Tensor:
    """A part of a tensor, in memory of its own."""
    begin, length = extent(t.shape[dim], count, index)
    return t.narrow(dim, begin, length).clone(memory_format=None).contiguous()


def gathered(part: Tensor, dim: int, length: int, group: ProcessGroup) -> Tensor:
    """The whole of which each process of ``group`` has a part along ``dim``, of ``length``."""
    count = group.size()
    if count == 1:
        return part
    size = -(-length // count)
    rows = part.movedim(dim, 0)
    if rows.shape[0] < size:
        rows = ops.cat([rows, rows.new_zeros((size - rows.shape[0], *rows.shape[1:]))])
    out = rows.new_empty((count * size, *rows.shape[1:]))
    all_gather_into_tensor(out, rows.contiguous(), group)
    return out[:length].movedim(0, dim)


def moved(local: Tensor, shape: Sequence[int], mesh: DeviceMesh, source: Placements, target: Placements) -> Tensor:
    """What this process has of a tensor when it lies by ``target``, from what it has when it lies by ``source``. All processes
    call this."""
    changed = {i for i in range(mesh.ndim) if source[i] != target[i]}
    dims = {p.dim for i in changed for p in (source[i], target[i]) if isinstance(p, Shard)}
    changed |= {
        i for i in range(mesh.ndim) for p in (source[i],) if isinstance(p, Shard) and p.dim in dims
    }  # which are cut in the same dim
    for i in sorted(changed, reverse=True):
        placement, group = source[i], mesh.get_group(i)
        if isinstance(placement, Partial):
            local = local.clone()
            all_reduce(local, _REDUCTIONS[placement.reduce_op], group)
        elif isinstance(placement, Shard):
            length = place_of(shape, mesh, source[:i])[0][placement.dim]
            local = gathered(local, placement.dim, length, group)
    for i in sorted(changed):
        placement, index = target[i], _coordinate(mesh)[i]
        if isinstance(placement, Shard):
            local = part_of(local, placement.dim, mesh.size(i), index)
        elif isinstance(placement, Partial) and not isinstance(source[i], Partial):
            if placement.reduce_op not in ("sum", "avg"):
                raise RuntimeError(f"a tensor is made {placement} from sums only")
            if placement.reduce_op == "sum" and index:
                local = ops.zeros_like(local)
    return local


def _of_gradient(placements: Placements) -> Placements:
    """How the gradient lies of a tensor that lies by ``placements``: the gradient of a sum is that of all its parts."""
    return tuple(Replicate() if isinstance(p, Partial) else p for p in placements)


class redistribute(Function):
    """:func:`moved`, through which gradients move back."""

    @staticmethod
    def forward(ctx: Any, local: Tensor, shape: Sequence[int], mesh: DeviceMesh, source: Placements, target: Placements) -> Tensor:
        ctx.rest = shape, mesh, _of_gradient(target), _of_gradient(source)
        out = moved(local, shape, mesh, source, target)
        return out.view_as(out) if out is local else out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        return redistribute.apply(gradient.contiguous(), *ctx.rest), None, None, None, None

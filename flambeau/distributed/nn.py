"""``torch.distributed.nn``: collective operations through which gradients pass.

The gradient of each is the operation that brings what came out back to where it came from: all processes run the backward pass
together too.

Source: https://docs.pytorch.org/docs/stable/distributed.html#autograd-enabled-communication-primitives
"""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.autograd.function import Function
from flambeau.distributed import _collectives as collectives
from flambeau.distributed._group import member
from flambeau.distributed._reduction import ReduceOp
from flambeau.tensor import Tensor

__all__ = ["all_gather", "all_reduce", "all_to_all", "broadcast", "gather", "reduce", "reduce_scatter", "scatter"]


class _AllReduce(Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, op: Any, group: Any) -> Tensor:
        ctx.op, ctx.group = op, group
        out = tensor.clone()
        collectives.all_reduce(out, op, group)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return _AllReduce.apply(grad, ctx.op, ctx.group), None, None


class _Broadcast(Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, src: int, group: Any) -> Tensor:
        ctx.src, ctx.group = src, group
        out = tensor.clone()
        collectives.broadcast(out, src, group)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        summed = _Reduce.apply(grad, ctx.src, ReduceOp.SUM, ctx.group)
        return summed if member(ctx.group).rank() == ctx.src else ops.zeros_like(grad), None, None


class _Reduce(Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, dst: int, op: Any, group: Any) -> Tensor:
        ctx.dst, ctx.group = dst, group
        out = tensor.clone()
        collectives.reduce(out, dst, op, group)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return _Broadcast.apply(grad, ctx.dst, ctx.group), None, None, None


class _AllToAll(Function):
    @staticmethod
    def forward(ctx: Any, group: Any, shapes: list, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.group, ctx.shapes = group, [t.shape for t in tensors]
        out = [tensors[0].new_empty(shape) for shape in shapes]
        collectives.all_to_all(out, list(tensors), group)
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        return None, None, *_AllToAll.apply(ctx.group, ctx.shapes, *[g.contiguous() for g in grads])


class _Gather(Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, dst: int, group: Any) -> tuple[Tensor, ...]:
        ctx.dst, ctx.group = dst, group
        of = member(group)
        out = [ops.zeros_like(tensor) for _ in range(of.size())]
        collectives.gather(tensor, out if of.rank() == of.number_of(dst) else None, dst, group)
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        return _Scatter.apply(ctx.dst, ctx.group, *grads), None, None


class _Scatter(Function):
    @staticmethod
    def forward(ctx: Any, src: int, group: Any, *tensors: Tensor) -> Tensor:
        ctx.src, ctx.group = src, group
        of = member(group)
        out = ops.zeros_like(tensors[0])
        collectives.scatter(out, list(tensors) if of.rank() == of.number_of(src) else None, src, group)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return None, None, *_Gather.apply(grad, ctx.src, ctx.group)


class _ReduceScatter(Function):
    @staticmethod
    def forward(ctx: Any, op: Any, group: Any, *tensors: Tensor) -> Tensor:
        ctx.group = group
        out = ops.zeros_like(tensors[member(group).rank()])
        collectives.reduce_scatter(out, list(tensors), op, group)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple:
        return None, None, *_AllGather.apply(grad, ctx.group)


class _AllGather(Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor, group: Any) -> tuple[Tensor, ...]:
        ctx.group = group
        out = [ops.zeros_like(tensor) for _ in range(member(group).size())]
        collectives.all_gather(out, tensor, group)
        return tuple(out)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple:
        return _ReduceScatter.apply(ReduceOp.SUM, ctx.group, *[g.contiguous() for g in grads]), None


def all_reduce(tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The sum over all processes; gradients are summed too."""
    return _AllReduce.apply(tensor, op, group)


def all_gather(tensor: Tensor, group: Any = None) -> tuple[Tensor, ...]:
    """The tensors of all processes."""
    return _AllGather.apply(tensor, group)


def broadcast(tensor: Tensor, src: int, group: Any = None) -> Tensor:
    """The tensor of one process."""
    return _Broadcast.apply(tensor, src, group)


def reduce(tensor: Tensor, dst: int, op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The sum over all processes, for one of them."""
    return _Reduce.apply(tensor, dst, op, group)


def gather(tensor: Tensor, dst: int = 0, group: Any = None) -> tuple[Tensor, ...]:
    """The tensors of all processes, for one of them."""
    return _Gather.apply(tensor, dst, group)


def scatter(tensors: list[Tensor], src: int = 0, group: Any = None) -> Tensor:
    """A tensor of the list of one process for each."""
    return _Scatter.apply(src, group, *tensors)


def reduce_scatter(output: Tensor, input_list: list[Tensor], op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """A tensor of the sums over all processes for each."""
    return _ReduceScatter.apply(op, group, *input_list)


def all_to_all(output_tensor_list: list[Tensor], input_tensor_list: list[Tensor], group: Any = None) -> tuple[Tensor, ...]:
    """A tensor of each process's list for each."""
    return _AllToAll.apply(group, [t.shape for t in output_tensor_list], *input_tensor_list)

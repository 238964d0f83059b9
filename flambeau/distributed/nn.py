"""``torch.distributed.nn``: collective operations through which gradients pass; of one process they are the identity."""

from __future__ import annotations

from typing import Any

from flambeau.distributed._group import ReduceOp, member
from flambeau.tensor import Tensor

__all__ = ["all_gather", "all_reduce", "all_to_all", "broadcast", "gather", "reduce", "reduce_scatter", "scatter"]


def all_reduce(tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The sum over all processes."""
    member(group)
    return tensor.clone()


def all_gather(tensor: Tensor, group: Any = None) -> tuple[Tensor, ...]:
    """The tensors of all processes."""
    member(group)
    return (tensor.clone(),)


def broadcast(tensor: Tensor, src: int, group: Any = None) -> Tensor:
    """The tensor of one process."""
    return all_reduce(tensor, group=group)


def reduce(tensor: Tensor, dst: int, op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """The sum over all processes, for one of them."""
    return all_reduce(tensor, op, group)


def gather(tensor: Tensor, dst: int = 0, group: Any = None) -> tuple[Tensor, ...]:
    """The tensors of all processes, for one of them."""
    return all_gather(tensor, group)


def scatter(tensors: list[Tensor], src: int = 0, group: Any = None) -> Tensor:
    """A tensor of the list of one process for each."""
    member(group)
    return tensors[0].clone()


def reduce_scatter(output: Tensor, input_list: list[Tensor], op: Any = ReduceOp.SUM, group: Any = None) -> Tensor:
    """A tensor of the sums over all processes for each."""
    return scatter(input_list, 0, group)


def all_to_all(output_tensor_list: list[Tensor], input_tensor_list: list[Tensor], group: Any = None) -> tuple[Tensor, ...]:
    """A tensor of each process's list for each."""
    member(group)
    return tuple([t.clone() for t in input_tensor_list])

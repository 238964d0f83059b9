"""What processes do together, done by one: each operation as it is defined, over a group of one.

Source: https://docs.pytorch.org/docs/stable/distributed.html#collective-functions
"""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

from flambeau.distributed._group import ReduceOp, Work, member, refuse_peer
from flambeau.tensor import Tensor

__all__ = [
    "all_gather", "all_gather_coalesced", "all_gather_into_tensor", "all_gather_object", "all_reduce", "all_reduce_coalesced", "all_to_all",
    "all_to_all_single", "barrier", "batch_isend_irecv", "broadcast", "broadcast_object_list", "gather", "gather_object", "irecv", "isend",
    "monitored_barrier", "recv", "recv_object_list", "reduce", "reduce_scatter", "reduce_scatter_tensor", "scatter", "scatter_object_list", "send",
    "send_object_list",
]  # fmt: skip


def _tensor(x: Any, name: str) -> None:
    if not isinstance(x, Tensor):
        raise TypeError(f"Invalid function argument. Expected parameter `{name}` of type torch.Tensor but got {type(x)} instead.")


def _tensors(x: Any, name: str) -> None:
    if not isinstance(x, list) or not all(isinstance(t, Tensor) for t in x):
        raise TypeError(f"Invalid function argument. Expected parameter `{name}` of type List[torch.Tensor] but got {type(x)} instead.")


def _root(rank: int | None) -> None:
    if rank not in (None, 0):
        raise RuntimeError(f"rank {rank} is not in the group, whose only rank is 0")


def _copy(to: Tensor, source: Tensor) -> None:
    if to.shape != source.shape:
        raise ValueError(f"tensors of one operation must have the same size, not {list(to.shape)} and {list(source.shape)}")
    with _no_grad():
        to.copy_(source)


def _no_grad() -> Any:
    from flambeau.autograd import no_grad

    return no_grad()


def _done(async_op: bool, result: Any = None) -> Work | None:
    return Work(result) if async_op else None


def all_reduce(tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Work | None:
    """Reduces ``tensor`` over all processes, in place: of one it stays what it is.

    >>> import flambeau as torch
    >>> from flambeau import distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> t = torch.ones(2)
    >>> dist.all_reduce(t)
    >>> t
    tensor([1., 1.])
    >>> dist.destroy_process_group()
    """
    _tensor(tensor, "tensor")
    member(group)
    return _done(async_op, [tensor])


def all_reduce_coalesced(tensors: list[Tensor], op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Work | None:
    """:func:`all_reduce` of several tensors."""
    _tensors(tensors, "tensors")
    member(group)
    return _done(async_op, tensors)


def reduce(tensor: Tensor, dst: int | None = None, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False, group_dst: int | None = None) -> Work | None:
    """Reduces ``tensor`` over all processes, for one of them."""
    _tensor(tensor, "tensor")
    member(group)
    _root(dst)
    return _done(async_op, [tensor])


def broadcast(tensor: Tensor, src: int | None = None, group: Any = None, async_op: bool = False, group_src: int | None = None) -> Work | None:
    """Gives all processes the ``tensor`` of one."""
    _tensor(tensor, "tensor")
    member(group)
    _root(src)
    return _done(async_op, [tensor])


def all_gather(tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False) -> Work | None:
    """Writes the ``tensor`` of each process into ``tensor_list``."""
    _tensors(tensor_list, "tensor_list")
    _tensor(tensor, "tensor")
    member(group)
    if len(tensor_list) != 1:
        raise ValueError(f"tensor_list must have as many tensors as there are processes, 1, not {len(tensor_list)}")
    _copy(tensor_list[0], tensor)
    return _done(async_op, tensor_list)


def all_gather_coalesced(output_tensor_lists: list[list[Tensor]], input_tensor_list: list[Tensor], group: Any = None, async_op: bool = False) -> Work | None:
    """:func:`all_gather` of several tensors: a list of theirs for each process."""
    member(group)
    for to, source in zip(output_tensor_lists[0], input_tensor_list, strict=True):
        _copy(to, source)
    return _done(async_op, output_tensor_lists)


def all_gather_into_tensor(output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False) -> Work | None:
    """Writes the tensors of all processes into one, joined or stacked."""
    _tensor(output_tensor, "output_tensor")
    _tensor(input_tensor, "input_tensor")
    member(group)
    _copy(output_tensor.view(input_tensor.shape), input_tensor)
    return _done(async_op, output_tensor)


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Writes copies of the objects of all processes into ``object_list``."""
    member(group)
    object_list[0] = copy.deepcopy(obj)


def gather(tensor: Tensor, gather_list: list[Tensor] | None = None, dst: int | None = None, group: Any = None, async_op: bool = False, group_dst: int | None = None) -> Work | None:
    """Writes the ``tensor`` of each process into the list of one."""
    _tensor(tensor, "tensor")
    member(group)
    _root(dst)
    if not gather_list:
        raise ValueError("Argument ``gather_list`` must be specified on destination rank.")
    _copy(gather_list[0], tensor)
    return _done(async_op, gather_list)


def gather_object(obj: Any, object_gather_list: list[Any] | None = None, dst: int | None = None, group: Any = None, group_dst: int | None = None) -> None:
    """Writes copies of the objects of all processes into the list of one."""
    member(group)
    _root(dst)
    if object_gather_list is None:
        raise ValueError("Argument ``object_gather_list`` must be specified on destination rank.")
    object_gather_list[0] = copy.deepcopy(obj)


def scatter(tensor: Tensor, scatter_list: list[Tensor] | None = None, src: int | None = None, group: Any = None, async_op: bool = False, group_src: int | None = None) -> Work | None:
    """Writes one of the tensors in the list of one process into the ``tensor`` of each."""
    _tensor(tensor, "tensor")
    member(group)
    _root(src)
    if not scatter_list:
        raise ValueError("Argument ``scatter_list`` must be specified on source rank.")
    _copy(tensor, scatter_list[0])
    return _done(async_op, tensor)


def scatter_object_list(scatter_object_output_list: list[Any], scatter_object_input_list: list[Any] | None = None, src: int | None = None, group: Any = None, group_src: int | None = None) -> None:
    """Writes one of the objects in the list of one process into the first place of each process's list."""
    member(group)
    _root(src)
    if not scatter_object_input_list:
        raise ValueError("source rank must provide non-None scatter_object_input_list")
    scatter_object_output_list[0] = copy.deepcopy(scatter_object_input_list[0])


def broadcast_object_list(object_list: list[Any], src: int | None = None, group: Any = None, device: Any = None, group_src: int | None = None) -> None:
    """Gives all processes the objects of one."""
    member(group)
    _root(src)


def reduce_scatter(output: Tensor, input_list: list[Tensor], op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Work | None:
    """Reduces a list of tensors over all processes, of which each gets one."""
    _tensor(output, "output")
    _tensors(input_list, "input_list")
    member(group)
    _copy(output, input_list[0])
    return _done(async_op, output)


def reduce_scatter_tensor(output: Tensor, input: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Work | None:
    """Reduces a tensor over all processes, of which each gets a part."""
    _tensor(output, "output")
    _tensor(input, "input")
    member(group)
    _copy(output, input.view(output.shape))
    return _done(async_op, output)


def all_to_all(output_tensor_list: list[Tensor], input_tensor_list: list[Tensor], group: Any = None, async_op: bool = False) -> Work | None:
    """Each process gives one tensor of its list to each."""
    _tensors(output_tensor_list, "output_tensor_list")
    _tensors(input_tensor_list, "input_tensor_list")
    member(group)
    _copy(output_tensor_list[0], input_tensor_list[0])
    return _done(async_op, output_tensor_list)


def all_to_all_single(output: Tensor, input: Tensor, output_split_sizes: list[int] | None = None, input_split_sizes: list[int] | None = None, group: Any = None, async_op: bool = False) -> Work | None:
    """Each process gives a part of its tensor to each."""
    _tensor(output, "output")
    _tensor(input, "input")
    member(group)
    _copy(output, input)
    return _done(async_op, output)


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Waits until all processes are here."""
    member(group)
    return _done(async_op)


def monitored_barrier(group: Any = None, timeout: timedelta | None = None, wait_all_ranks: bool = False) -> None:
    """Waits until all processes are here."""
    member(group)


def send(tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0, group_dst: int | None = None) -> None:
    """Refuses: there is nobody to send to."""
    refuse_peer("send")


def recv(tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0, group_src: int | None = None) -> None:
    """Refuses: there is nobody to receive from."""
    refuse_peer("recv")


def isend(tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0, group_dst: int | None = None) -> None:
    """Refuses: there is nobody to send to."""
    refuse_peer("isend")


def irecv(tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0, group_src: int | None = None) -> None:
    """Refuses: there is nobody to receive from."""
    refuse_peer("irecv")


def send_object_list(object_list: list[Any], dst: int | None = None, *args: Any, **kwargs: Any) -> None:
    """Refuses: there is nobody to send to."""
    refuse_peer("send_object_list")


def recv_object_list(object_list: list[Any], src: int | None = None, *args: Any, **kwargs: Any) -> None:
    """Refuses: there is nobody to receive from."""
    refuse_peer("recv_object_list")


def batch_isend_irecv(p2p_op_list: list[Any]) -> None:
    """Refuses: there is nobody to send to or receive from."""
    refuse_peer("batch_isend_irecv")

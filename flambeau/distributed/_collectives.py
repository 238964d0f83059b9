"""What processes do together with tensors.

All of a group call the same operations in the same order. An operation is started when it is called; with ``async_op`` it gives a
:class:`Work` to wait for, and without it waits by itself.

Source: https://docs.pytorch.org/docs/stable/distributed.html#collective-functions
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.distributed._group import GroupMember, ProcessGroup, get_rank, member
from flambeau.distributed._progress import move_on
from flambeau.distributed._reduction import ReduceOp, check_reduction
from flambeau.distributed._tensors import array_of, check_dtypes, check_tensor, check_tensors, joined, write
from flambeau.distributed._transport import Pending
from flambeau.distributed._work import Together, Work
from flambeau.tensor import Tensor

__all__ = [
    "all_gather", "all_gather_coalesced", "all_gather_into_tensor", "all_gather_single", "all_reduce", "all_reduce_coalesced", "all_to_all",
    "all_to_all_single", "barrier", "broadcast", "gather", "reduce", "reduce_scatter", "reduce_scatter_single", "reduce_scatter_tensor", "scatter",
]  # fmt: skip


def group_for(group: Any, name: str) -> ProcessGroup | None:
    """The group that an operation is for; ``None``, and a warning, where this process is not in it."""
    if group is GroupMember.NON_GROUP_MEMBER:
        warnings.warn(f"Running {name} on global rank {get_rank()} which does not belong to the given group.", stacklevel=3)
        return None
    return member(group)


def root_of(group: ProcessGroup, rank: int | None, group_rank: int | None, default: int | None = None) -> int:
    """The number in the group of a process that is given by its rank among all, or by that number."""
    if rank is not None and group_rank is not None:
        raise ValueError("Can't specify both group_rank and global_rank")
    if group_rank is not None:
        if not 0 <= group_rank < group.size():
            raise ValueError(f"Group rank {group_rank} is not part of group {group}")
        return group_rank
    if rank is None:
        if default is None:
            raise ValueError("Must specify global_rank or group_rank")
        return default
    number = group.number_of(rank)
    if not 0 <= number < group.size():
        raise RuntimeError(f"invalid root rank: {rank}, of {group.size()} processes")
    return number


def started(group: ProcessGroup, name: str, pending: Pending, finish: Callable[[Any], Any] | None, async_op: bool) -> Work | None:
    """The work that has been started; waits for it unless ``async_op``. ``finish`` is called with the result, in the program's
    thread."""
    work = Work(group, name, pending, finish)
    for earlier in list(group.outstanding):  # nobody may ever wait for them
        earlier.is_completed()
    if async_op:
        group.outstanding.add(work)
        move_on(pending)
        return work
    work.wait()
    return None


def writing(*tensors: Tensor) -> Callable[[np.ndarray | None], list[Tensor]]:
    """Takes a result apart and writes it into tensors."""

    def finish(result: np.ndarray | None) -> list[Tensor]:
        if result is not None:
            position = 0
            for t in tensors:
                write(t, result[position : position + t.numel()])
                position += t.numel()
        return list(tensors)

    return finish


def _averaging(finish: Callable[[Any], Any], op: ReduceOp, size: int, *tensors: Tensor) -> Callable[[Any], Any]:
    """Divides what ``finish`` has written, where ``op`` wants an average."""
    if op is not ReduceOp.AVG:
        return finish

    def average(result: np.ndarray | None) -> Any:
        from flambeau.autograd import no_grad

        written = finish(result)
        if result is not None:
            with no_grad():
                for t in tensors:
                    t.div_(size)
        return written

    return average


def all_reduce(tensor: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Work | None:
    """Reduces ``tensor`` over all processes, in place: all get the same.

    Of bools, sums and products are "or" and "and". Half precision is rounded after each step.

    >>> import flambeau as torch
    >>> from flambeau import distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> t = torch.ones(2)
    >>> dist.all_reduce(t)
    >>> t
    tensor([1., 1.])
    >>> dist.destroy_process_group()

    Raises:
        RuntimeError: ``op`` is not defined for the dtype.
        DistBackendError: another process has ended, or does not come in time.
    """
    check_tensor(tensor, "tensor")
    of = group_for(group, "all_reduce")
    if of is None:
        return None
    op = check_reduction(op, tensor.dtype, "all_reduce")
    finish = _averaging(writing(tensor), op, of.size(), tensor)
    return started(of, "all_reduce", of.transport.all_reduce(array_of(tensor, async_op), op), finish, async_op)


def _together(works: list[Work | None], result: Any) -> Work | None:
    return Together([work for work in works if work is not None], result) if works and works[0] is not None else None


def all_reduce_coalesced(tensors: list[Tensor], op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False) -> Work | None:
    """:func:`all_reduce` of several tensors."""
    tensors = [tensors] if isinstance(tensors, Tensor) else tensors
    check_tensors(tensors, "tensor")
    check_dtypes(*tensors)
    of = group_for(group, "all_reduce_coalesced")
    if of is None or not tensors:
        return None
    op = check_reduction(op, tensors[0].dtype, "all_reduce")
    finish = _averaging(writing(*tensors), op, of.size(), *tensors)
    return started(of, "all_reduce", of.transport.all_reduce(joined(tensors), op), finish, async_op)


def reduce(
    tensor: Tensor,
    dst: int | None = None,
    op: Any = ReduceOp.SUM,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Reduces ``tensor`` over all processes, for one of them."""
    check_tensor(tensor, "tensor")
    of = group_for(group, "reduce")
    if of is None:
        return None
    root = root_of(of, dst, group_dst)
    op = check_reduction(op, tensor.dtype, "reduce")
    finish = _averaging(writing(tensor), op, of.size(), tensor)
    return started(of, "reduce", of.transport.reduce(array_of(tensor, async_op), op, root), finish, async_op)


def broadcast(
    tensor: Tensor, src: int | None = None, group: Any = None, async_op: bool = False, group_src: int | None = None
) -> Work | None:
    """Gives all processes the ``tensor`` of one."""
    check_tensor(tensor, "tensor")
    of = group_for(group, "broadcast")
    if of is None:
        return None
    root = root_of(of, src, group_src)
    sends = of.rank() == root
    array = array_of(tensor, async_op) if sends else np.empty(tensor.numel(), tensor.dtype.np)
    finish = (lambda _: [tensor]) if sends else writing(tensor)
    return started(of, "broadcast", of.transport.broadcast(array, root), finish, async_op)


def _check_sizes(name: str, tensors: list[Tensor], like: Tensor, count: int, what: str) -> None:
    if len(tensors) != count:
        raise RuntimeError(
            f"ProcessGroupGloo::{name}: invalid {what} list at index 0 (expected length {count}, got {len(tensors)})"
        )
    check_dtypes(like, *tensors)
    for i, t in enumerate(tensors):
        if t.numel() != like.numel():
            raise RuntimeError(
                f"ProcessGroupGloo::{name}: invalid tensor size at index {i} (expected {list(like.shape)}, got {list(t.shape)})"
            )


def all_gather(tensor_list: list[Tensor], tensor: Tensor, group: Any = None, async_op: bool = False) -> Work | None:
    """Writes the ``tensor`` of each process into ``tensor_list``."""
    check_tensors(tensor_list, "tensor_list")
    check_tensor(tensor, "tensor")
    check_dtypes(*tensor_list, tensor)
    of = group_for(group, "all_gather")
    if of is None:
        return None
    _check_sizes("allgather", tensor_list, tensor, of.size(), "output tensor")
    return started(of, "all_gather", of.transport.all_gather(array_of(tensor, async_op)), writing(*tensor_list), async_op)


def all_gather_coalesced(
    output_tensor_lists: list[list[Tensor]], input_tensor_list: list[Tensor], group: Any = None, async_op: bool = False
) -> Work | None:
    """:func:`all_gather` of several tensors: a list of theirs for each process."""
    check_tensors(input_tensor_list, "input_tensor_list")
    of = group_for(group, "all_gather_coalesced")
    if of is None:
        return None
    if len(output_tensor_lists) != of.size():
        raise ValueError(f"output lists should be equal to world size, {of.size()}, not {len(output_tensor_lists)}")
    works = [all_gather([each[i] for each in output_tensor_lists], t, of, async_op) for i, t in enumerate(input_tensor_list)]
    return _together(works, output_tensor_lists)


def all_gather_into_tensor(output_tensor: Tensor, input_tensor: Tensor, group: Any = None, async_op: bool = False) -> Work | None:
    """Writes the tensors of all processes into one, joined or stacked."""
    check_tensor(input_tensor, "input_tensor")
    check_tensor(output_tensor, "output_tensor")
    of = group_for(group, "all_gather_into_tensor")
    if of is None:
        return None
    if output_tensor.dtype != input_tensor.dtype:
        raise RuntimeError("output tensor must have the same type as input tensor")
    if output_tensor.numel() != input_tensor.numel() * of.size():
        raise RuntimeError("output tensor size must be equal to world_size times input tensor size")
    return started(of, "all_gather", of.transport.all_gather(array_of(input_tensor, async_op)), writing(output_tensor), async_op)


def gather(
    tensor: Tensor,
    gather_list: list[Tensor] | None = None,
    dst: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_dst: int | None = None,
) -> Work | None:
    """Writes the ``tensor`` of each process into the list of one."""
    check_tensor(tensor, "tensor")
    if gather_list:
        check_tensors(gather_list, "gather_list")
        check_dtypes(*gather_list, tensor)
    of = group_for(group, "gather")
    if of is None:
        return None
    root = root_of(of, dst, group_dst, default=0)
    if of.rank() == root:
        if not gather_list:
            raise ValueError("Argument ``gather_list`` must be specified on destination rank.")
        _check_sizes("gather", gather_list, tensor, of.size(), "output tensor")
    elif gather_list:
        raise ValueError("Argument ``gather_list`` must NOT be specified on non-destination ranks.")
    return started(of, "gather", of.transport.gather(array_of(tensor, async_op), root), writing(*gather_list or ()), async_op)


def scatter(
    tensor: Tensor,
    scatter_list: list[Tensor] | None = None,
    src: int | None = None,
    group: Any = None,
    async_op: bool = False,
    group_src: int | None = None,
) -> Work | None:
    """Writes one of the tensors in the list of one process into the ``tensor`` of each."""
    check_tensor(tensor, "tensor")
    if scatter_list:
        check_tensors(scatter_list, "scatter_list")
        check_dtypes(*scatter_list, tensor)
    of = group_for(group, "scatter")
    if of is None:
        return None
    root = root_of(of, src, group_src, default=0)
    source = None
    if of.rank() == root:
        if not scatter_list:
            raise ValueError("Argument ``scatter_list`` must be specified on source rank.")
        _check_sizes("scatter", scatter_list, tensor, of.size(), "input tensor")
        source = joined(scatter_list)
    elif scatter_list:
        raise ValueError("Argument ``scatter_list`` must NOT be specified on non-source ranks.")
    into = np.empty(tensor.numel(), tensor.dtype.np)
    return started(of, "scatter", of.transport.scatter(source, into, root), writing(tensor), async_op)


def reduce_scatter(
    output: Tensor, input_list: list[Tensor], op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """Reduces a list of tensors over all processes, of which each gets one."""
    check_tensor(output, "output")
    check_tensors(input_list, "input_list")
    check_dtypes(*input_list, output)
    of = group_for(group, "reduce_scatter")
    if of is None:
        return None
    _check_sizes("reduce_scatter", input_list, output, of.size(), "input tensor")
    return _reduce_scatter(of, output, joined(input_list), op, async_op)


def _reduce_scatter(of: ProcessGroup, output: Tensor, values: np.ndarray, op: Any, async_op: bool) -> Work | None:
    op = check_reduction(op, output.dtype, "reduce_scatter")
    finish = _averaging(writing(output), op, of.size(), output)
    return started(of, "reduce_scatter", of.transport.reduce_scatter(values, op), finish, async_op)


def reduce_scatter_tensor(
    output: Tensor, input: Tensor, op: Any = ReduceOp.SUM, group: Any = None, async_op: bool = False
) -> Work | None:
    """Reduces a tensor over all processes, of which each gets a part."""
    check_tensor(output, "output")
    check_tensor(input, "input")
    of = group_for(group, "reduce_scatter_tensor")
    if of is None:
        return None
    if output.dtype != input.dtype:
        raise RuntimeError("input tensor must be the same type as the output tensor.")
    if input.numel() != output.numel() * of.size():
        raise RuntimeError("input tensor must be the same size as output size times world size")
    return _reduce_scatter(of, output, array_of(input, async_op), op, async_op)


def all_to_all(
    output_tensor_list: list[Tensor], input_tensor_list: list[Tensor], group: Any = None, async_op: bool = False
) -> Work | None:
    """Each process gives one tensor of its list to each."""
    check_tensors(output_tensor_list, "output_tensor_list")
    check_tensors(input_tensor_list, "input_tensor_list")
    check_dtypes(*output_tensor_list, *input_tensor_list)
    of = group_for(group, "all_to_all")
    if of is None:
        return None
    for tensors, name in ((output_tensor_list, "output"), (input_tensor_list, "input")):
        if len(tensors) != of.size():
            raise RuntimeError(f"Number of {name} tensors must equal the number of processes, {of.size()}, not {len(tensors)}")
    sends, receives = ([t.numel() for t in tensors] for tensors in (input_tensor_list, output_tensor_list))
    pending = of.transport.all_to_all(joined(input_tensor_list), sends, receives)
    return started(of, "all_to_all", pending, writing(*output_tensor_list), async_op)


def _split(t: Tensor, sizes: list[int] | None, of: ProcessGroup) -> list[int]:
    """How many elements of ``t`` belong to each process."""
    rows = t.shape[0] if t.dim() else 1
    if not sizes:
        if rows % of.size():
            raise RuntimeError("Tensor's dim 0 does not divide equally across group size")
        return [t.numel() // of.size()] * of.size()
    if len(sizes) != of.size():
        raise RuntimeError("Number of tensor splits not equal to group size")
    if sum(sizes) != rows:
        raise RuntimeError("Split sizes doesn't match total dim 0 size")
    width = t.numel() // rows if rows else 0
    return [size * width for size in sizes]


def all_to_all_single(
    output: Tensor,
    input: Tensor,
    output_split_sizes: list[int] | None = None,
    input_split_sizes: list[int] | None = None,
    group: Any = None,
    async_op: bool = False,
) -> Work | None:
    """Each process gives a part of its tensor, some rows, to each."""
    check_tensor(output, "output")
    check_tensor(input, "input")
    check_dtypes(output, input)
    of = group_for(group, "all_to_all_single")
    if of is None:
        return None
    sends, receives = _split(input, input_split_sizes, of), _split(output, output_split_sizes, of)
    return started(of, "all_to_all", of.transport.all_to_all(array_of(input, async_op), sends, receives), writing(output), async_op)


def barrier(group: Any = None, async_op: bool = False, device_ids: Any = None) -> Work | None:
    """Waits until all processes are here."""
    of = group_for(group, "barrier")
    if of is None:
        return None
    if device_ids is not None and not isinstance(device_ids, list):
        raise TypeError("Invalid function argument: device_ids type should be List[int]")
    return started(of, "barrier", of.transport.barrier(), None, async_op)


all_gather_single, reduce_scatter_single = all_gather_into_tensor, reduce_scatter_tensor

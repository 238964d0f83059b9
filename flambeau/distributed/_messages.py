"""Tensors that one process sends to another.

Source: https://docs.pytorch.org/docs/stable/distributed.html#point-to-point-communication
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np

from flambeau.distributed._collectives import group_for, root_of, started, writing
from flambeau.distributed._group import ProcessGroup, member
from flambeau.distributed._tensors import array_of, check_tensor
from flambeau.distributed._transport import Pending
from flambeau.distributed._work import Work
from flambeau.tensor import Tensor

__all__ = ["P2POp", "batch_isend_irecv", "irecv", "isend", "monitored_barrier", "recv", "send"]

_HERE, _GO_ON = 1 << 20, (1 << 20) + 1  # tags that programs are not likely to use


def _send(name: str, tensor: Tensor, dst: int | None, group: Any, tag: int, group_dst: int | None, async_op: bool) -> Work | None:
    check_tensor(tensor, "tensor")
    of = group_for(group, name)
    if of is None:
        return None
    to = root_of(of, dst, group_dst)
    if to == of.rank():
        raise ValueError("Invalid destination rank: destination rank should not be the same as the rank of the current process.")
    return started(of, name, of.transport.send(array_of(tensor, async_op), to, tag), None, async_op)


def send(tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0, group_dst: int | None = None) -> None:
    """Sends ``tensor`` to the process ``dst``, which calls :func:`recv`."""
    _send("send", tensor, dst, group, tag, group_dst, async_op=False)


def isend(tensor: Tensor, dst: int | None = None, group: Any = None, tag: int = 0, group_dst: int | None = None) -> Work | None:
    """Starts :func:`send`."""
    return _send("isend", tensor, dst, group, tag, group_dst, async_op=True)


def irecv(tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0, group_src: int | None = None) -> Work | None:
    """Starts :func:`recv`."""
    check_tensor(tensor, "tensor")
    of = group_for(group, "irecv")
    return None if of is None else started(of, "recv", _receive(of, tensor, src, tag, group_src), writing(tensor), async_op=True)


def _receive(of: ProcessGroup, tensor: Tensor, src: int | None, tag: int, group_src: int | None) -> Pending:
    source = None if src is None and group_src is None else root_of(of, src, group_src)
    return of.transport.receive(np.empty(tensor.numel(), tensor.dtype.np), source, tag)


def recv(tensor: Tensor, src: int | None = None, group: Any = None, tag: int = 0, group_src: int | None = None) -> int:
    """Writes what the process ``src`` sends, or any if not given, into ``tensor``; gives the rank of the sender, or -1 outside of
    the group."""
    check_tensor(tensor, "tensor")
    of = group_for(group, "recv")
    if of is None:
        return -1
    work = Work(of, "recv", _receive(of, tensor, src, tag, group_src), writing(tensor))
    work.wait()
    return of.ranks[work.source_rank()]


class P2POp:
    """A message for :func:`batch_isend_irecv`: ``op`` is :func:`isend` or :func:`irecv`, ``peer`` the other process."""

    def __init__(
        self, op: Callable, tensor: Tensor, peer: int | None = None, group: Any = None, tag: int = 0, group_peer: int | None = None
    ) -> None:
        if op not in (isend, irecv):
            raise ValueError(
                "Invalid ``op``. Expected ``op`` to be of type ``torch.distributed.isend`` or ``torch.distributed.irecv``."
            )
        check_tensor(tensor, "tensor")
        self.op, self.tensor, self.group, self.tag = op, tensor, member(group), tag
        self.group_peer = root_of(self.group, peer, group_peer)
        self.peer = self.group.ranks[self.group_peer]


def batch_isend_irecv(p2p_op_list: list[P2POp]) -> list[Work]:
    """Starts several messages; gives their works."""
    if not isinstance(p2p_op_list, list) or not all(isinstance(op, P2POp) for op in p2p_op_list):
        raise ValueError("Invalid ``p2p_op_list``. Each op is expected to to be of type ``torch.distributed.P2POp``.")
    if not p2p_op_list:
        raise IndexError("list index out of range: ``p2p_op_list`` is empty")
    works = [
        op.op(op.tensor, group=op.group, tag=op.tag, **{"group_dst" if op.op is isend else "group_src": op.group_peer})
        for op in p2p_op_list
    ]
    return [work for work in works if work is not None]


def monitored_barrier(group: Any = None, timeout: timedelta | None = None, wait_all_ranks: bool = False) -> None:
    """Waits until all processes are here, and says which are not.

    Raises:
        RuntimeError: in rank 0, after ``timeout``, with the first process that has not come, or all with ``wait_all_ranks``.
    """
    of = group_for(group, "monitored_barrier")
    if of is None or of.size() == 1:
        return
    limit = timeout or of.timeout
    token = np.zeros(1, np.uint8)
    if of.rank():
        started(of, "monitored_barrier", of.transport.send(token, 0, _HERE), None, async_op=False)
        work = started(of, "monitored_barrier", of.transport.receive(token, 0, _GO_ON), None, async_op=True)
        assert work is not None
        work.wait(limit)
        return
    missing = _missing(of, limit, wait_all_ranks)
    if missing:
        milliseconds = int(limit.total_seconds() * 1000)
        raise RuntimeError(f"[Rank 0]: Ranks {', '.join(map(str, missing))} failed to pass monitoredBarrier in {milliseconds} ms")
    for rank in range(1, of.size()):
        started(of, "monitored_barrier", of.transport.send(token, rank, _GO_ON), None, async_op=False)


def _missing(of: ProcessGroup, limit: timedelta, all_of_them: bool) -> list[int]:
    """The ranks that have not told rank 0 in time that they are here."""
    waiting = {rank: of.transport.receive(np.zeros(1, np.uint8), rank, _HERE) for rank in range(1, of.size())}
    end = time.monotonic() + limit.total_seconds()
    while waiting and time.monotonic() < end:
        waiting = {rank: pending for rank, pending in waiting.items() if not pending.test()}
        time.sleep(0.001)
    return list(waiting) if all_of_them else list(waiting)[:1]

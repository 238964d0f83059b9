"""Python objects that processes exchange: pickled, with their lengths sent ahead.

What comes is unpickled, so the other processes must be trusted, as those of one program are.

Source: https://docs.pytorch.org/docs/stable/distributed.html#collective-functions
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.distributed._collectives import group_for, root_of
from flambeau.distributed._group import ProcessGroup
from flambeau.distributed._transport import Pending
from flambeau.distributed._work import wait_for

__all__ = [
    "all_gather_object", "broadcast_object_list", "gather_object", "recv_object_list", "scatter_object_list", "send_object_list",
]  # fmt: skip


def _packed(objects: Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
    """The pickles of objects, one after the other, and their lengths."""
    pickles = [pickle.dumps(obj) for obj in objects]
    return np.frombuffer(b"".join(pickles), np.uint8), np.array([len(each) for each in pickles], np.int64)


def _unpacked(data: np.ndarray, lengths: Sequence[int]) -> list[Any]:
    ends = np.cumsum(lengths)
    return [pickle.loads(data[end - length : end].tobytes()) for end, length in zip(ends, lengths, strict=True)]


def _now(of: ProcessGroup, name: str, pending: Pending) -> Any:
    wait_for(pending, of, name, of.timeout)
    return pending.result


def all_gather_object(object_list: list[Any], obj: Any, group: Any = None) -> None:
    """Writes copies of the objects of all processes into ``object_list``."""
    of = group_for(group, "all_gather_object")
    if of is None:
        return
    data, length = _packed([obj])
    lengths = _now(of, "all_gather_object", of.transport.all_gather(length)).tolist()
    longest = max(lengths)
    padded = np.zeros(longest, np.uint8)
    padded[: data.size] = data
    gathered = _now(of, "all_gather_object", of.transport.all_gather(padded))
    for i, length in enumerate(lengths):
        object_list[i] = pickle.loads(gathered[i * longest : i * longest + length].tobytes())


def gather_object(
    obj: Any, object_gather_list: list[Any] | None = None, dst: int | None = None, group: Any = None, group_dst: int | None = None
) -> None:
    """Writes copies of the objects of all processes into the list of one."""
    of = group_for(group, "gather_object")
    if of is None:
        return
    root = root_of(of, dst, group_dst, default=0)
    receives = of.rank() == root
    if receives and not object_gather_list:
        raise ValueError("Argument ``object_gather_list`` must be specified on destination rank.")
    if not receives and object_gather_list:
        raise ValueError("Argument ``object_gather_list`` must NOT be specified on non-destination ranks.")
    data, length = _packed([obj])
    lengths = _now(of, "gather_object", of.transport.all_gather(length)).tolist()
    sends = [data.size if i == root else 0 for i in range(of.size())]
    data = _now(of, "gather_object", of.transport.all_to_all(data, sends, lengths if receives else [0] * of.size()))
    if receives and object_gather_list is not None:
        object_gather_list[: of.size()] = _unpacked(data, lengths)


def scatter_object_list(
    scatter_object_output_list: list[Any],
    scatter_object_input_list: list[Any] | None = None,
    src: int | None = None,
    group: Any = None,
    group_src: int | None = None,
) -> None:
    """Writes one of the objects in the list of one process into the first place of each process's list."""
    of = group_for(group, "scatter_object_list")
    if of is None:
        return
    if not isinstance(scatter_object_output_list, list) or not scatter_object_output_list:
        raise ValueError("Expected argument scatter_object_output_list to be a list of size at least 1.")
    root = root_of(of, src, group_src, default=0)
    data, lengths = np.zeros(0, np.uint8), np.zeros(of.size(), np.int64)
    if of.rank() == root:
        if not scatter_object_input_list:
            raise ValueError("source rank must provide non-None scatter_object_input_list")
        data, lengths = _packed(scatter_object_input_list)
        if lengths.size != of.size():
            raise ValueError(
                f"scatter_object_input_list must have as many objects as there are processes, {of.size()}, not {lengths.size}"
            )
    length = int(_now(of, "scatter_object_list", of.transport.scatter(lengths, np.zeros(1, np.int64), root))[0])
    receives = [length if i == root else 0 for i in range(of.size())]
    data = _now(
        of,
        "scatter_object_list",
        of.transport.all_to_all(data, lengths.tolist() if of.rank() == root else [0] * of.size(), receives),
    )
    scatter_object_output_list[0] = _unpacked(data, [length])[0]


def broadcast_object_list(
    object_list: list[Any], src: int | None = None, group: Any = None, device: Any = None, group_src: int | None = None
) -> None:
    """Gives all processes the objects of one."""
    of = group_for(group, "broadcast_object_list")
    if of is None:
        return
    root = root_of(of, src, group_src, default=0)
    data, lengths = _packed(object_list) if of.rank() == root else (None, np.zeros(len(object_list), np.int64))
    lengths = _now(of, "broadcast_object_list", of.transport.broadcast(lengths, root))
    data = np.empty(int(lengths.sum()), np.uint8) if data is None else data
    data = _now(of, "broadcast_object_list", of.transport.broadcast(data, root))
    if of.rank() != root:
        object_list[:] = _unpacked(data, lengths.tolist())


def send_object_list(
    object_list: list[Any],
    dst: int | None = None,
    group: Any = None,
    device: Any = None,
    group_dst: int | None = None,
    use_batch: bool = False,
) -> None:
    """Sends objects to the process ``dst``, which calls :func:`recv_object_list`."""
    of = group_for(group, "send_object_list")
    if of is None:
        return
    to = root_of(of, dst, group_dst)
    if to == of.rank():
        raise ValueError("Invalid destination rank: destination rank should not be the same as the rank of the current process.")
    data, lengths = _packed(object_list)
    for array in (lengths, data):
        _now(of, "send_object_list", of.transport.send(array, to, 0))


def recv_object_list(
    object_list: list[Any],
    src: int | None = None,
    group: Any = None,
    device: Any = None,
    group_src: int | None = None,
    use_batch: bool = False,
) -> int:
    """Writes objects that the process ``src`` sends, or any if not given, into ``object_list``; gives the rank of the sender."""
    of = group_for(group, "recv_object_list")
    if of is None:
        return -1
    source = None if src is None and group_src is None else root_of(of, src, group_src)
    first = of.transport.receive(np.zeros(len(object_list), np.int64), source, 0)
    lengths = _now(of, "recv_object_list", first)
    source = first.source if source is None else source
    data = _now(of, "recv_object_list", of.transport.receive(np.empty(int(lengths.sum()), np.uint8), source, 0))
    object_list[:] = _unpacked(data, lengths.tolist())
    return of.ranks[source]

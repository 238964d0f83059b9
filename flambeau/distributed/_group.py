"""The group of processes that a program is one of: this process alone."""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from enum import Enum
from typing import Any

__all__ = [
    "Backend", "DebugLevel", "DistBackendError", "DistError", "DistNetworkError", "DistStoreError", "FileStore", "GroupMember", "HashStore",
    "P2POp", "PrefixStore", "ProcessGroup", "ReduceOp", "Store", "TCPStore", "Work", "default_pg_timeout", "destroy_process_group", "get_backend",
    "get_backend_config", "get_debug_level", "get_global_rank", "get_group_rank", "get_node_local_rank", "get_process_group_ranks", "get_rank",
    "get_world_size", "group", "init_process_group", "is_gloo_available", "is_initialized", "is_mpi_available", "is_nccl_available",
    "is_torchelastic_launched", "is_ucc_available", "is_xccl_available", "new_group", "new_subgroups",
]  # fmt: skip

default_pg_timeout = timedelta(minutes=30)


class DistError(RuntimeError):
    """What goes wrong between processes."""


class DistBackendError(DistError):
    """The library that connects processes has failed."""


class DistNetworkError(DistError):
    """The network has failed."""


class DistStoreError(DistError):
    """A store has failed."""


class ReduceOp(Enum):
    """How values of several processes become one; of one process the value itself."""

    SUM = 0
    AVG = 1
    PRODUCT = 2
    MIN = 3
    MAX = 4
    BAND = 5
    BOR = 6
    BXOR = 7
    PREMUL_SUM = 8

    RedOpType = property(lambda self: ReduceOp)


class DebugLevel(Enum):
    """How much is told."""

    OFF = 0
    INFO = 1
    DETAIL = 2


class Backend(str):
    """The name of a library that connects processes, in lower case."""

    UNDEFINED = "undefined"
    GLOO = "gloo"
    NCCL = "nccl"
    UCC = "ucc"
    MPI = "mpi"
    XCCL = "xccl"
    FAKE = "fake"
    backend_list = [UNDEFINED, GLOO, NCCL, XCCL, UCC, MPI, FAKE]

    def __new__(cls, name: str) -> Backend:
        if not isinstance(name, str):
            raise ValueError("Backend constructor parameter must be string-ish")
        return super().__new__(cls, name.lower())


class Store:
    """Bytes by key, for the processes of a group to find each other: in the memory of this one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._values: dict[str, bytes] = {}
        self._changed = threading.Condition()
        self._timeout = timedelta(minutes=5)

    @property
    def timeout(self) -> timedelta:
        return self._timeout

    def set_timeout(self, timeout: timedelta) -> None:
        self._timeout = timeout

    def set(self, key: str, value: str | bytes) -> None:
        with self._changed:
            self._values[key] = value.encode() if isinstance(value, str) else bytes(value)
            self._changed.notify_all()

    def get(self, key: str) -> bytes:
        """The value of ``key``, once it has one; ``DistStoreError`` after the timeout."""
        self.wait([key])
        return self._values[key]

    def wait(self, keys: list[str], timeout: timedelta | None = None) -> None:
        seconds = (timeout or self._timeout).total_seconds()
        with self._changed:
            if not self._changed.wait_for(lambda: all(key in self._values for key in keys), seconds):
                raise DistStoreError(f"wait timeout after {int(seconds * 1000)}ms, keys: {', '.join(keys)}")

    def add(self, key: str, amount: int) -> int:
        with self._changed:
            value = int(self._values.get(key, b"0")) + amount
            self._values[key] = str(value).encode()
            self._changed.notify_all()
            return value

    def append(self, key: str, value: str | bytes) -> None:
        with self._changed:
            self._values[key] = self._values.get(key, b"") + (value.encode() if isinstance(value, str) else value)
            self._changed.notify_all()

    def compare_set(self, key: str, expected_value: str, desired_value: str) -> bytes:
        with self._changed:
            now = self._values.get(key)
            if now is None and not expected_value or now == expected_value.encode():
                self._values[key] = now = desired_value.encode()
                self._changed.notify_all()
            return now if now is not None else expected_value.encode()

    def check(self, keys: list[str]) -> bool:
        return all(key in self._values for key in keys)

    def delete_key(self, key: str) -> bool:
        return self._values.pop(key, None) is not None

    def num_keys(self) -> int:
        return len(self._values)


class HashStore(Store):
    """A store in memory."""


class FileStore(Store):
    """A store that PyTorch keeps in a file; of one process nobody else would read it."""

    def __init__(self, file_name: str, world_size: int = -1) -> None:
        _alone(world_size)
        super().__init__()
        self.path = file_name


class TCPStore(Store):
    """A store that PyTorch keeps at a port; of one process nobody else would connect."""

    def __init__(
        self, host_name: str, port: int, world_size: int | None = None, is_master: bool = False, timeout: timedelta = timedelta(seconds=300),
        wait_for_workers: bool = True, **settings: Any,
    ) -> None:  # fmt: skip
        _alone(world_size or 1)
        if not is_master:
            raise DistNetworkError("The client socket cannot connect: flambeau computes in one process, which must be the master.")
        super().__init__()
        self.host, self.port, self._timeout = host_name, port, timeout


class PrefixStore(Store):
    """A store whose keys get a prefix in another."""

    def __init__(self, prefix: str, store: Store) -> None:
        super().__init__()
        self._prefix, self.underlying_store = prefix, store

    def __getattribute__(self, name: str) -> Any:
        if name in ("set", "get", "add", "append", "compare_set", "delete_key"):
            store, prefix = self.underlying_store, self._prefix
            return lambda key, *args: getattr(store, name)(f"{prefix}/{key}", *args)
        return super().__getattribute__(name)


class ProcessGroup:
    """A group of processes: this one."""

    def __init__(self, backend: str, name: str = "0", store: Store | None = None) -> None:
        self._backend, self.group_name, self.store = Backend(backend), name, store
        self.group_desc = "default_pg" if name == "0" else "undefined"

    def rank(self) -> int:
        return 0

    def size(self) -> int:
        return 1

    def name(self) -> str:
        return str(self._backend)


class _NonMember:
    """Stands for a group that the process is no member of."""


class GroupMember:
    """Groups that stand for others."""

    WORLD: ProcessGroup | None = None
    NON_GROUP_MEMBER = _NonMember()


class _World(type):
    @property
    def WORLD(cls) -> ProcessGroup | None:
        return GroupMember.WORLD

    @WORLD.setter
    def WORLD(cls, value: ProcessGroup | None) -> None:
        GroupMember.WORLD = value


class group(metaclass=_World):
    """``group.WORLD`` is the group of all processes."""


class Work:
    """An operation that has been done already."""

    def __init__(self, result: Any = None) -> None:
        self._result = result

    def wait(self, timeout: timedelta | None = None) -> bool:
        return True

    def is_completed(self) -> bool:
        return True

    def is_success(self) -> bool:
        return True

    def exception(self) -> None:
        return None

    def result(self) -> Any:
        return self._result

    def get_future(self) -> Any:
        """A future of the result, which is there."""
        from flambeau.futures import Future

        future: Future = Future()
        future.set_result(self._result)
        return future


class P2POp:
    """A message to another process; there is none, so making one is refused."""

    def __init__(self, op: Any, tensor: Any, peer: int | None = None, *args: Any, **kwargs: Any) -> None:
        refuse_peer(getattr(op, "__name__", "P2POp"))


def refuse_peer(name: str) -> None:
    """A process alone has nobody to write to or hear from."""
    member()
    raise ValueError(f"{name}: there is no other process in the group: flambeau computes in one.")


def _alone(world_size: Any) -> None:
    if world_size is not None and int(world_size) > 1:
        raise RuntimeError(
            f"world_size={world_size}: flambeau computes in one process, so a group has world_size=1. All threads of this process are used already."
        )


def member(of: Any = None) -> ProcessGroup:
    """The group ``of``, by default that of all processes; ``ValueError`` where there is none."""
    if isinstance(of, ProcessGroup):
        return of
    if GroupMember.WORLD is None:
        raise ValueError("Default process group has not been initialized, please make sure to call init_process_group.")
    return GroupMember.WORLD


def init_process_group(
    backend: str | None = None, init_method: str | None = None, timeout: timedelta | None = None, world_size: int = -1, rank: int = -1,
    store: Store | None = None, group_name: str = "", pg_options: Any = None, device_id: Any = None,
) -> None:  # fmt: skip
    """Makes this process a group of one, after which the collective operations can be called.

    ``world_size`` and ``rank``, or the environment's ``WORLD_SIZE`` and ``RANK``, must be 1 and 0.

    >>> from flambeau import distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> dist.get_rank(), dist.get_world_size(), dist.get_backend()
    (0, 1, 'gloo')
    >>> dist.destroy_process_group()

    Source: https://docs.pytorch.org/docs/stable/distributed.html
    """
    if GroupMember.WORLD is not None:
        raise ValueError("trying to initialize the default process group twice!")
    name = Backend(backend or "gloo")
    names = name.split(",") if ":" in name else [f"cpu:{name}"]
    chosen = dict(part.split(":") for part in names).get("cpu", "gloo")
    if chosen in (Backend.NCCL, Backend.XCCL):
        raise RuntimeError(f"Distributed package doesn't have {chosen.upper()} built in: it connects GPUs; use backend='gloo'.")
    from_environment = store is None and (init_method is None or init_method.startswith("env://"))
    if from_environment:
        for key, value in (("RANK", rank), ("WORLD_SIZE", world_size)):
            if value == -1 and key not in os.environ:
                raise ValueError(f"Error initializing torch.distributed using env:// rendezvous: environment variable {key} expected, but not set")
        world_size = int(os.environ["WORLD_SIZE"]) if world_size == -1 else world_size
        rank = int(os.environ["RANK"]) if rank == -1 else rank
    _alone(world_size)
    if rank > 0:
        raise RuntimeError(f"rank={rank}: flambeau computes in one process, whose rank is 0.")
    GroupMember.WORLD = ProcessGroup(chosen, "0", store or HashStore())


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """Ends the group."""
    pg = member(group)
    if pg is GroupMember.WORLD:
        GroupMember.WORLD = None


def is_initialized() -> bool:
    """Whether :func:`init_process_group` has been called."""
    return GroupMember.WORLD is not None


def new_group(ranks: list[int] | None = None, *args: Any, **kwargs: Any) -> Any:
    """A group of ``ranks``; where that is not this process, a mark that says so."""
    world = member()
    if ranks is not None and any(r != 0 for r in ranks):
        raise ValueError("the new group's rank should be within the world_size set by init_process_group")
    if ranks == []:
        return GroupMember.NON_GROUP_MEMBER
    return ProcessGroup(kwargs.get("backend") or world.name(), "1", world.store)


def new_subgroups(group_size: int | None = None, group: Any = None, *args: Any, **kwargs: Any) -> tuple[Any, list[Any]]:
    """Groups of ``group_size``, and the one of this process."""
    member(group)
    if group_size not in (None, 1):
        raise ValueError(f"The arg 'group_size' ({group_size}) must not exceed the world size (1)")
    found = new_group([0])
    return found, [found]


def get_rank(group: ProcessGroup | None = None) -> int:
    """0; -1 in a group that the process is no member of."""
    if isinstance(group, _NonMember):
        return -1
    return member(group).rank()


def get_world_size(group: ProcessGroup | None = None) -> int:
    """1; -1 for a group that the process is no member of."""
    if isinstance(group, _NonMember):
        return -1
    return member(group).size()


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """``LOCAL_RANK`` of the environment."""
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    if fallback_rank is not None:
        return int(fallback_rank)
    raise RuntimeError("LOCAL_RANK is not in the environment. Consider passing fallback_rank to allow `get_node_local_rank` to work.")


def get_backend(group: ProcessGroup | None = None) -> Backend:
    """The name of the library that would connect the processes."""
    return member(group)._backend


def get_backend_config(group: ProcessGroup | None = None) -> str:
    return f"cpu:{member(group).name()},cuda:{member(group).name()}"


def get_global_rank(group: ProcessGroup, group_rank: int) -> int:
    """The rank in the group of all processes."""
    member(group)
    if group_rank:
        raise ValueError(f"Group rank {group_rank} is not part of group {group}")
    return 0


def get_group_rank(group: ProcessGroup, global_rank: int) -> int:
    """The rank in ``group``."""
    member(group)
    if global_rank:
        raise ValueError(f"Global rank {global_rank} is not part of group {group}")
    return 0


def get_process_group_ranks(group: ProcessGroup | None) -> list[int]:
    """``[0]``."""
    member(group)
    return [0]


def get_debug_level() -> DebugLevel:
    return DebugLevel.OFF


def is_gloo_available() -> bool:
    """Whether a group may be called one of gloo's."""
    return True


def is_nccl_available() -> bool:
    """False: it connects GPUs."""
    return False


is_mpi_available = is_ucc_available = is_xccl_available = is_nccl_available


def is_torchelastic_launched() -> bool:
    """Whether torchrun has started the process."""
    return "TORCHELASTIC_RUN_ID" in os.environ

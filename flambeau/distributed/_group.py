"""Groups of processes: making them, and who is in them.

Source: https://docs.pytorch.org/docs/stable/distributed.html
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from enum import Enum
from typing import Any

from flambeau.distributed import _mpi
from flambeau.distributed._errors import DistBackendError
from flambeau.distributed._store import HashStore, PrefixStore, Store
from flambeau.distributed._transport import Alone, Transport
from flambeau.distributed._work import Work
from flambeau.distributed.rendezvous import rendezvous

__all__ = [
    "Backend", "DebugLevel", "GroupMember", "ProcessGroup", "default_pg_timeout", "destroy_process_group", "get_backend", "get_backend_config",
    "get_debug_level", "get_default_backend_for_device", "get_global_rank", "get_group_rank", "get_node_local_rank", "get_pg_count",
    "get_process_group_ranks", "get_rank", "get_world_size", "group", "init_process_group", "is_backend_available", "is_gloo_available",
    "is_initialized", "is_mpi_available", "is_nccl_available", "is_torchelastic_launched", "is_ucc_available", "is_xccl_available", "new_group",
    "new_subgroups", "new_subgroups_by_enumeration", "set_debug_level", "set_debug_level_from_env", "shrink_group", "split_group",
]  # fmt: skip

default_pg_timeout = timedelta(minutes=30)


class DebugLevel(Enum):
    """How much is told."""

    OFF = 0
    INFO = 1
    DETAIL = 2


class Backend(str):
    """The name of a library that connects processes, in lower case. Both "gloo" and "mpi" are MPI here."""

    UNDEFINED = "undefined"
    GLOO = "gloo"
    NCCL = "nccl"
    UCC = "ucc"
    MPI = "mpi"
    XCCL = "xccl"
    FAKE = "fake"
    backend_list = [UNDEFINED, GLOO, NCCL, XCCL, UCC, MPI, FAKE]
    default_device_backend_map = {"cpu": GLOO, "cuda": NCCL, "xpu": XCCL, "mps": GLOO}
    """The backend of each device where a program names none."""
    backend_capability = {GLOO: ["cpu"], MPI: ["cpu"]}

    def __new__(cls, name: str) -> Backend:
        if not isinstance(name, str):
            raise ValueError("Backend constructor parameter must be string-ish")
        return super().__new__(cls, name.lower())


class ProcessGroup:
    """Processes that work together: ``ranks`` of all, connected by ``transport``."""

    def __init__(
        self, backend: str, transport: Transport, ranks: Sequence[int], store: Store, name: str = "0", timeout: timedelta = default_pg_timeout,
        description: str | None = None,
    ) -> None:  # fmt: skip
        self._backend, self.transport, self.ranks = Backend(backend), transport, list(ranks)
        self.store, self.group_name, self.timeout = store, name, timeout
        self.group_desc = description or "undefined"
        self.outstanding: set[Work] = set()

    def rank(self) -> int:
        """The number of this process in the group."""
        return self.transport.rank

    def size(self) -> int:
        """How many processes there are."""
        return self.transport.size

    def name(self) -> str:
        """The name of the backend."""
        return str(self._backend)

    def get_group_store(self) -> Store:
        """The store in which the processes have met."""
        return self.store

    def set_timeout(self, timeout: timedelta) -> None:
        """Sets how long operations wait for the other processes."""
        self.timeout = timeout

    def number_of(self, rank: int) -> int:
        """The number in the group of a process that is ``rank`` of all; in the group of all the same, whether there is one or not."""
        if self is GroupMember.WORLD:
            return rank
        try:
            return self.ranks.index(rank)
        except ValueError:
            raise ValueError(f"Global rank {rank} is not part of group {self}") from None

    def fail(self, problem: str) -> DistBackendError:
        """Notes that the processes are no longer connected, and gives the error that says so."""
        if isinstance(self.transport, _mpi.MPITransport):
            self.transport.world.failed = problem
        return DistBackendError(f"[rank {self.rank()}] {problem}")


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


_groups: list[ProcessGroup] = []
_inits = 0
_made: Counter[str] = Counter()


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
    """Makes the group of all processes, after which the collective operations can be called.

    They find each other through ``store``, by the URL ``init_method`` (see :func:`rendezvous`) or by the environment that torchrun
    sets (``RANK``, ``WORLD_SIZE``, ``MASTER_ADDR``, ``MASTER_PORT``). Programs that ``mpiexec`` or ``srun`` has started and that
    say neither are ranks of MPI's. ``timeout`` is how long each operation waits for the others, 30 minutes if not given.

    >>> from flambeau import distributed as dist
    >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    >>> dist.get_rank(), dist.get_world_size(), dist.get_backend()
    (0, 1, 'gloo')
    >>> dist.destroy_process_group()

    Raises:
        ValueError: there is such a group already, or the environment does not say enough.
        RuntimeError: the backend connects GPUs, or several processes are wanted and mpi4py is not installed.

    Source: https://docs.pytorch.org/docs/stable/distributed.html
    """
    global _inits
    if GroupMember.WORLD is not None:
        raise ValueError("trying to initialize the default process group twice!")
    if store is not None and init_method is not None:
        raise AssertionError("Cannot specify both init_method and store.")
    if timeout is not None and not isinstance(timeout, timedelta):
        raise TypeError(f"Expected timeout argument to be of type datetime.timedelta, got {timeout}")
    chosen = _backend_of(backend)
    limit = timeout or default_pg_timeout
    if store is not None:
        if world_size <= 0 or rank < 0:
            raise ValueError(
                "world_size must be positive if using store" if world_size <= 0 else "rank must be non-negative if using store"
            )
    elif init_method is None and "RANK" not in os.environ and (rank == -1 or world_size == -1) and _mpi.launched():
        store, rank, world_size = _of_launcher(limit)
    else:
        store, rank, world_size = next(rendezvous(init_method or "env://", rank, world_size, timeout=limit))
    store.set_timeout(limit)
    if not 0 <= rank < world_size:
        raise RuntimeError(f"rank < size. {rank} vs {world_size}: ranks are counted from 0")
    transport: Transport = Alone()
    if world_size > 1:
        world = _mpi.world(PrefixStore("mpi", store), rank, world_size, limit)
        transport = _mpi.MPITransport.of_all(world, rank)
        _share_cores(world)
    _inits += 1
    GroupMember.WORLD = ProcessGroup(
        chosen, transport, range(world_size), PrefixStore(f"default_pg/{_inits}", store), "0", limit, "default_pg"
    )


def _backend_of(name: str | None) -> Backend:
    """The backend for the CPU in ``name``, which may also say "cpu:gloo,cuda:nccl"."""
    name = Backend(name or "gloo")
    parts = dict(part.partition(":")[::2] for part in name.split(",")) if ":" in name else {"cpu": str(name)}
    chosen = Backend(parts.get("cpu", "gloo"))
    if chosen in (Backend.NCCL, Backend.XCCL, Backend.UCC):
        raise RuntimeError(f"Distributed package doesn't have {chosen.upper()} built in: it connects GPUs; use backend='gloo'.")
    if chosen not in (Backend.GLOO, Backend.MPI, Backend.UNDEFINED):
        raise ValueError(f"Unknown backend {chosen}: backends are 'gloo' and 'mpi', which are the same here")
    return chosen


def _of_launcher(timeout: timedelta) -> tuple[Store, int, int]:
    """Rank and size as MPI's launcher has given them."""
    world = _mpi.world(HashStore(), -1, -1, timeout)
    return HashStore(), world.rank, world.size


def _share_cores(world: _mpi.World) -> None:
    """Divides the cores of a machine among its processes; who wants fewer threads keeps them."""
    from flambeau import threads
    from flambeau.core import config

    here = sum(peer.host == world.me.host for peer in world.peers)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if here > 1 and config.num_threads > cores // here:
        threads.set_num_threads(max(1, cores // here))


def destroy_process_group(group: ProcessGroup | None = None) -> None:
    """Ends a group, that of all processes and with it all others by default."""
    if isinstance(group, _NonMember):
        return
    ended = member(group)
    closing = [*_groups, ended] if ended is GroupMember.WORLD else [ended]
    for each in closing:
        each.outstanding.clear()
        each.transport.close()
        if each in _groups:
            _groups.remove(each)
    if ended is GroupMember.WORLD:
        GroupMember.WORLD = None


def is_initialized() -> bool:
    """Whether :func:`init_process_group` has been called."""
    return GroupMember.WORLD is not None


def new_group(
    ranks: Iterable[int] | None = None, timeout: timedelta | None = None, backend: str | None = None, pg_options: Any = None,
    use_local_synchronization: bool = False, group_desc: str | None = None, device_id: Any = None, group_name: str | None = None,
) -> Any:  # fmt: skip
    """A group of ``ranks``, by default of all. All processes call this, in the same order; who is not in it gets a mark that says
    so.

    With ``use_local_synchronization`` only those in the group call it.
    """
    world = member()
    chosen = list(range(world.size())) if ranks is None else sorted(ranks)
    if len(set(chosen)) != len(chosen):
        raise ValueError(f"group rank list contains duplicates: {chosen}")
    if any(not 0 <= rank < world.size() for rank in chosen):
        raise ValueError("the new group's rank should be within the world_size set by init_process_group")
    if len(chosen) > world.size():
        raise ValueError("the new group's world size should be less or equal to the world size set by init_process_group")
    name = _name_of(chosen, use_local_synchronization)
    if world.rank() not in chosen:
        return GroupMember.NON_GROUP_MEMBER
    limit = timeout or world.timeout
    transport: Transport = Alone()
    if len(chosen) > 1:
        assert isinstance(world.transport, _mpi.MPITransport)
        if not world.transport.world.launched:  # MPI would wait for the others for ever
            PrefixStore("new", world.store).barrier(name, len(chosen), limit)
        transport = world.transport.among(chosen)
    made = ProcessGroup(backend or world.name(), transport, chosen, PrefixStore(name, world.store), name, limit, group_desc)
    _groups.append(made)
    return made


def _name_of(ranks: list[int], local: bool) -> str:
    """A name that all processes give to the group that they make now: they have made the same ones, of all or of the same ranks."""
    kind = "-".join(map(str, ranks)) if local else "all"
    _made[kind] += 1
    return f"{kind}#{_made[kind]}"


def new_subgroups_by_enumeration(
    ranks_per_subgroup_list: Sequence[Sequence[int]], timeout: timedelta | None = None, backend: str | None = None, pg_options: Any = None,
    group_desc: str | None = None,
) -> tuple[Any, list[Any]]:  # fmt: skip
    """A group for each list of ranks, which have none in common, and that of this process."""
    if not ranks_per_subgroup_list:
        raise ValueError("The arg 'ranks_per_subgroup_list' cannot be empty")
    seen: set[int] = set()
    for ranks in ranks_per_subgroup_list:
        if seen.intersection(ranks):
            raise ValueError(f"Rank {min(seen.intersection(ranks))} has appeared in both subgroups")
        seen.update(ranks)
    groups = [new_group(ranks, timeout, backend, pg_options, group_desc=group_desc) for ranks in ranks_per_subgroup_list]
    own = next((made for made, ranks in zip(groups, ranks_per_subgroup_list, strict=True) if get_rank() in ranks), None)
    return own, groups


def new_subgroups(
    group_size: int | None = None, group: Any = None, timeout: timedelta | None = None, backend: str | None = None, pg_options: Any = None,
    group_desc: str | None = None,
) -> tuple[Any, list[Any]]:  # fmt: skip
    """Groups of ``group_size`` neighbours, and the one of this process."""
    size = get_world_size()
    if group_size is None:
        group_size = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if group_size <= 0:
        raise ValueError(f"The arg 'group_size' ({group_size}) must be positive")
    if size < group_size:
        raise ValueError(f"The arg 'group_size' ({group_size}) must not exceed the world size ({size})")
    if size % group_size:
        raise ValueError(f"The world size ({size}) must be divisible by 'group_size={group_size}'")
    parts = [list(range(first, first + group_size)) for first in range(0, size, group_size)]
    return new_subgroups_by_enumeration(parts, timeout, backend, pg_options, group_desc)


def split_group(
    parent_pg: ProcessGroup | None = None, split_ranks: Sequence[Sequence[int]] | None = None, timeout: timedelta | None = None,
    pg_options: Any = None, group_desc: str | None = None,
) -> Any:  # fmt: skip
    """The group of this process of those into which ``parent_pg`` is divided by ``split_ranks``, which are ranks in it; or
    ``None``."""
    parent = member(parent_pg)
    if not split_ranks:
        raise ValueError("split_ranks cannot be None or empty")
    own, _ = new_subgroups_by_enumeration(
        [[parent.ranks[i] for i in ranks] for ranks in split_ranks], timeout, group_desc=group_desc
    )
    return own


def shrink_group(
    ranks_to_exclude: Sequence[int], group: ProcessGroup | None = None, shrink_flags: int = 0, pg_options: Any = None
) -> Any:
    """The group without some of its ranks, which only the others call."""
    parent = member(group)
    kept = [rank for i, rank in enumerate(parent.ranks) if i not in set(ranks_to_exclude)]
    return new_group(kept, parent.timeout, use_local_synchronization=True)


def get_rank(group: ProcessGroup | None = None) -> int:
    """The number of this process in a group; -1 where it is no member."""
    if isinstance(group, _NonMember):
        return -1
    return member(group).rank()


def get_world_size(group: ProcessGroup | None = None) -> int:
    """How many processes are in a group; -1 where this is no member."""
    if isinstance(group, _NonMember):
        return -1
    return member(group).size()


def get_node_local_rank(fallback_rank: int | None = None) -> int:
    """``LOCAL_RANK`` of the environment."""
    if "LOCAL_RANK" in os.environ:
        return int(os.environ["LOCAL_RANK"])
    if fallback_rank is not None:
        return int(fallback_rank)
    raise RuntimeError(
        "LOCAL_RANK is not in the environment. Consider passing fallback_rank to allow `get_node_local_rank` to work."
    )


def get_backend(group: ProcessGroup | None = None) -> Backend:
    """The name by which the program has asked for the connection."""
    if isinstance(group, _NonMember):
        raise ValueError("Invalid process group specified")
    return member(group)._backend


def get_backend_config(group: ProcessGroup | None = None) -> str:
    """The names of the backends by device."""
    return f"cpu:{member(group).name()},cuda:{member(group).name()}"


def get_default_backend_for_device(device: Any) -> str:
    """The name of the backend for tensors of ``device``."""
    return Backend.GLOO


def get_global_rank(group: ProcessGroup, group_rank: int) -> int:
    """The number of a process among all, from that in ``group``."""
    of = member(group)
    if of is GroupMember.WORLD:
        return group_rank
    if not 0 <= group_rank < of.size():
        raise ValueError(f"Group rank {group_rank} is not part of group {group}")
    return of.ranks[group_rank]


def get_group_rank(group: ProcessGroup, global_rank: int) -> int:
    """The number of a process in ``group``, from that among all."""
    return member(group).number_of(global_rank)


def get_process_group_ranks(group: ProcessGroup | None) -> list[int]:
    """The numbers among all of the processes in ``group``."""
    return list(member(group).ranks)


def get_pg_count() -> int:
    """How many groups there are."""
    return len(_groups) + (GroupMember.WORLD is not None)


_debug_level = DebugLevel.OFF


def get_debug_level() -> DebugLevel:
    """What :func:`set_debug_level` has set."""
    return _debug_level


def set_debug_level(level: DebugLevel) -> None:
    """Sets what :func:`get_debug_level` gives; errors say as much at every level."""
    global _debug_level
    _debug_level = level


def set_debug_level_from_env() -> None:
    """Sets the level that ``TORCH_DISTRIBUTED_DEBUG`` names."""
    name = os.environ.get("TORCH_DISTRIBUTED_DEBUG", "OFF").upper()
    if name not in DebugLevel.__members__:
        raise ValueError(f"The value of TORCH_DISTRIBUTED_DEBUG must be one of OFF, INFO or DETAIL, not {name}")
    set_debug_level(DebugLevel[name])


def is_gloo_available() -> bool:
    """Whether a group may be called one of gloo's."""
    return True


def is_mpi_available() -> bool:
    """Whether mpi4py is installed."""
    return _mpi.is_installed()


def is_nccl_available() -> bool:
    """False: it connects GPUs."""
    return False


is_ucc_available = is_xccl_available = is_nccl_available


def is_backend_available(backend: str) -> bool:
    """Whether :func:`init_process_group` takes the backend."""
    return backend.lower() in (Backend.GLOO, Backend.MPI)


def is_torchelastic_launched() -> bool:
    """Whether torchrun has started the process."""
    return "TORCHELASTIC_RUN_ID" in os.environ

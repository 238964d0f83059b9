"""Groups of processes on MPI, through mpi4py.

MPI is started once in a process, for a fixed set of processes, and stays until the process ends: see :func:`world`. Nothing here
waits in MPI: what it starts is asked, again and again, whether it is done, so that time-outs can be kept.

Source: https://mpi4py.readthedocs.io
"""

from __future__ import annotations

import atexit
import ctypes
import multiprocessing.util
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

import numpy as np

from flambeau.core import dtypes
from flambeau.distributed import _progress, _shared_memory
from flambeau.distributed._errors import DistBackendError, DistError
from flambeau.distributed._peers import Peer
from flambeau.distributed._pmi import Gateway, process_mapping
from flambeau.distributed._postponed import LAUNCHERS
from flambeau.distributed._reduction import ReduceOp
from flambeau.distributed._store import Store
from flambeau.distributed._transport import Pending, Transport

__all__ = ["MPITransport", "World", "is_installed", "launched", "world"]

_THREADS = 3  # MPI_THREAD_MULTIPLE: any thread may call at any time
_HALVES = (np.dtype(np.float16), dtypes.bfloat16.np)
_UFUNCS = {
    ReduceOp.SUM: np.add,
    ReduceOp.AVG: np.add,
    ReduceOp.PRODUCT: np.multiply,
    ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum,
}
_OF_BOOLS = {ReduceOp.SUM: "BOR", ReduceOp.MAX: "BOR", ReduceOp.PRODUCT: "BAND", ReduceOp.MIN: "BAND"}
_OF_NUMBERS = {ReduceOp.PRODUCT: "PROD", ReduceOp.AVG: "SUM"}
_LEAVING = 5.0
"""Seconds that a process waits at its end for the others to end too."""
_LOOK = 0.2
"""Seconds between looks whether the others are still there, while MPI starts."""


def is_installed() -> bool:
    """Whether mpi4py is there."""
    from importlib.util import find_spec

    return find_spec("mpi4py") is not None


def launched() -> bool:
    """Whether a launcher of MPI's (``mpiexec``, ``srun``) has started this process, or the program has started MPI already."""
    if _world is not None:
        return _world.launched
    return any(name in os.environ for name in LAUNCHERS) or _started_by_program()


def _started_by_program() -> bool:
    mpi = sys.modules.get("mpi4py.MPI")
    return mpi is not None and mpi.Is_initialized() and not mpi.Is_finalized()


def _mpi4py() -> Any:
    """mpi4py, which does not start MPI by itself when its module MPI is imported."""
    try:
        import mpi4py
    except ImportError:
        raise RuntimeError(
            "Groups of several processes need MPI: pip install 'flambeau[distributed]' (mpi4py and mpich, no compiler needed)"
        ) from None
    if not _started_by_program():
        mpi4py.rc.initialize = False
    mpi4py.rc.finalize = False
    return mpi4py


class World:
    """All processes that MPI connects. ``failed`` is why it cannot be used any more, if that is so."""

    def __init__(self, mpi: Any, launched: bool) -> None:
        self.mpi, self.launched = mpi, launched
        self.rank: int = mpi.COMM_WORLD.rank
        self.size: int = mpi.COMM_WORLD.size
        self.me = Peer.myself()
        self.peers: list[Peer] = []
        self.failed: str | None = None
        self.store: Store | None = None
        self._operations: dict[tuple[ReduceOp, np.dtype], Any] = {}
        mpi.COMM_WORLD.Set_errhandler(mpi.ERRORS_RETURN)  # which is inherited

    def operation(self, op: ReduceOp, dtype: np.dtype) -> Any:
        """MPI's operation for ``op``. Half precision is reduced here, step by step: MPI knows one kind of it only."""
        if dtype == np.bool_:
            return getattr(self.mpi, _OF_BOOLS.get(op, op.name))
        if dtype not in _HALVES:
            return getattr(self.mpi, _OF_NUMBERS.get(op, op.name))
        found = self._operations.get((op, dtype))
        if found is None:
            ufunc = _UFUNCS[op]

            def reduce(source: Any, into: Any, _: Any) -> None:
                a, b = np.frombuffer(source, dtype), np.frombuffer(into, dtype)
                b[...] = ufunc(a.astype(np.float32), b.astype(np.float32))

            found = self._operations[op, dtype] = self.mpi.Op.Create(reduce, commute=True)
        return found

    def leave(self) -> None:
        """Waits at the end of the process until the others are at theirs, so that whatever they wait for still comes.

        Who ends by an error does not: the others shall see at once that it has gone. What a launcher has started ends MPI too. The
        others just end, which leaves nothing behind: MPI would ask the gateway once more when Python and its threads have gone
        already.
        """
        if os.getpid() != self.me.pid:
            return
        _progress.stop()
        if self.failed is not None or getattr(sys, "last_value", None) is not None:
            return
        if self.launched:
            self.mpi.Finalize()
        elif self.store is not None:
            self._await_others(self.store)

    def _await_others(self, store: Store) -> None:
        end = time.monotonic() + _LEAVING
        names = [f"left/{rank}" for rank in range(self.size)]
        try:
            store.set(names[self.rank], b"")
            while not store.check(names) and time.monotonic() < end and not any(peer.has_ended(self.me) for peer in self.peers):
                self.mpi.COMM_WORLD.Iprobe()  # which moves on what others may still wait for
                time.sleep(0.01)
        except DistError:  # who kept the store has gone
            pass

    def lost(self, ranks: Iterable[int]) -> str | None:
        """Says who of ``ranks`` has ended without having done its part, if somebody has."""
        for rank in ranks if self.peers else ():
            peer = self.peers[rank]
            if peer.has_ended(self.me) and not self._has_left(rank):
                return f"Connection closed by peer: rank {rank} (process {peer.pid}) has ended"
        return None

    def _has_left(self, rank: int) -> bool:
        try:
            return self.store is not None and self.store.check([f"left/{rank}"])
        except DistError:  # the store has gone with it
            return False


_world: World | None = None
_broken: str | None = None


def world(store: Store, rank: int, size: int, timeout: timedelta) -> World:
    """The processes that MPI connects: those that a launcher has started, or those that have met in ``store``.

    ``size`` -1: as many as the launcher has started.

    Raises:
        RuntimeError: mpi4py is not installed, or MPI runs with another number of processes already.
    """
    global _world
    if _world is None:
        mpi4py = _mpi4py()
        if launched():
            from mpi4py import MPI

            if not MPI.Is_initialized():
                MPI.Init_thread(_THREADS)
            _world = World(MPI, launched=True)
        else:
            _world = _start(mpi4py, store, rank, size, timeout)
        _at_exit(_world.leave)
    if size != -1 and (_world.size != size or not _world.launched and _world.rank != rank):
        raise RuntimeError(
            f"rank {rank} of {size}: this process is rank {_world.rank} of {_world.size} for MPI already, which cannot change before it ends"
        )
    return _world


def _at_exit(function: Callable[[], None]) -> None:
    """Has ``function`` called at the end of the process."""
    if multiprocessing.parent_process() is None:
        atexit.register(function)
    else:  # where atexit may not be asked
        multiprocessing.util.Finalize(None, function, exitpriority=0)


def _start(mpi4py: Any, store: Store, rank: int, size: int, timeout: timedelta) -> World:
    """Starts MPI in processes that meet in ``store``. What goes wrong meanwhile leaves it unusable in this process."""
    global _broken
    if _broken is not None:
        raise DistBackendError(f"MPI could not be started in this process before: {_broken}")
    _shared_memory.sweep()
    me = Peer.myself()
    if rank == 0:
        store.set("name", f"flambeau_{os.urandom(8).hex()}")
    store.set(f"peer/{rank}", str(me))
    store.wait([f"peer/{i}" for i in range(size)], timeout)
    peers = [Peer.parse(text.decode()) for text in store.multi_get([f"peer/{i}" for i in range(size)])]
    known = {"PMI_process_mapping": process_mapping(peer.host for peer in peers)}
    gateway = Gateway(store, rank, size, store.get("name").decode(), known)
    before = dict(os.environ)
    os.environ.update(gateway.environment())
    try:
        from mpi4py import MPI

        _initialize(MPI, me, peers, timeout)
        store.barrier("started", size, timeout)
    except DistError as error:
        _broken = str(error)
        gateway.stop()
        _shared_memory.unlink_mapped()
        _shared_memory.sweep(wait=True)
        _at_exit(_shared_memory.unlink_mapped)  # MPI may have gone on until it asked the gateway for more
        raise
    finally:
        for name in gateway.environment():  # programs that this one starts are no part of the group
            os.environ.pop(name, None)
            if name in before:
                os.environ[name] = before[name]
    _shared_memory.unlink_mapped()
    made = World(MPI, launched=False)
    made.peers, made.store = peers, store
    return made


def _initialize(mpi: Any, me: Peer, peers: list[Peer], timeout: timedelta) -> None:
    """Starts MPI, in a thread of its own: it waits for the others, for ever if one has ended.

    By ctypes, since mpi4py would keep other threads of Python from running, and the gateway is one.
    """
    codes: list[int] = []
    provided = ctypes.c_int()
    library = ctypes.CDLL(mpi.__file__)
    thread = threading.Thread(
        target=lambda: codes.append(library.MPI_Init_thread(None, None, _THREADS, ctypes.byref(provided))),
        name="flambeau-mpi",
        daemon=True,
    )
    thread.start()
    end = time.monotonic() + timeout.total_seconds()
    while thread.is_alive():
        thread.join(_LOOK)
        for rank, peer in enumerate(peers):
            if thread.is_alive() and peer.has_ended(me):
                raise DistBackendError(
                    f"Connection closed by peer: rank {rank} (process {peer.pid}) has ended, while MPI was started"
                )
        if thread.is_alive() and time.monotonic() > end:
            raise DistBackendError(f"Timed out waiting {int(timeout.total_seconds() * 1000)}ms for MPI to start")
    if codes != [0]:
        raise DistBackendError("MPI_Init_thread failed")


def _numbers(array: np.ndarray) -> np.ndarray:
    """``array`` in a dtype that MPI reduces: complex numbers as pairs, and bits for what it does not know."""
    if array.dtype.kind == "c":
        return array.view(array.real.dtype)
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    return array.view(np.uint16) if array.dtype in _HALVES else array


class _Request(Pending):
    """A request of MPI's; ``held`` is the memory that it works on."""

    def __init__(self, transport: MPITransport, request: Any, result: Any, held: tuple, peer: int | None) -> None:
        super().__init__(result, peer)
        self._transport, self._request, self._held = transport, request, held
        self._status = transport.mpi.Status()
        self._done = False
        self._error: DistBackendError | None = None
        self._asking = threading.Lock()

    def test(self) -> bool:
        if not self._done and self._asking.acquire(blocking=False):  # else another thread is about to find out
            try:
                self._ask()
            finally:
                self._asking.release()
        if self._error is not None:
            raise self._error
        return self._done

    def _ask(self) -> None:
        if self._done or self._error is not None:
            return
        if self._transport.world.failed is not None:
            self._error = DistBackendError(f"the processes are no longer connected: {self._transport.world.failed}")
            return
        try:
            done = self._request.Test(self._status)
        except self._transport.mpi.Exception as error:
            self._error = DistBackendError(f"MPI: {error}")
            return
        if done:
            self.source, self._held = self._status.Get_source(), ()
            self._done = True


class MPITransport(Transport):
    """The way between processes of a communicator of MPI's, which are those of ``ranks`` in the world."""

    def __init__(self, world: World, comm: Any, ranks: list[int]) -> None:
        self.world, self.mpi, self._comm, self._ranks = world, world.mpi, comm, ranks
        self.rank, self.size = comm.rank, comm.size

    @staticmethod
    def of_all(world: World, rank: int) -> MPITransport:
        """Between all processes, in the order of the ranks that they say they have."""
        comm = world.mpi.COMM_WORLD.Split(0, rank)
        return MPITransport(world, comm, list(range(comm.size)))

    def among(self, ranks: list[int]) -> MPITransport:
        """Between some of the processes, which all call this."""
        group = self._comm.group.Incl(ranks)
        return MPITransport(self.world, self._comm.Create_group(group), [self._ranks[rank] for rank in ranks])

    def close(self) -> None:
        if self.world.failed is None and not self.mpi.Is_finalized():
            self._comm.Free()

    def lost(self, peer: int | None) -> str | None:
        return self.world.lost(self._ranks if peer is None else (self._ranks[peer],))

    def _start(self, function: Any, *arguments: Any, result: Any = None, peer: int | None = None) -> Pending:
        if self.world.failed is not None:
            raise DistBackendError(f"the processes are no longer connected: {self.world.failed}")
        try:
            return _Request(self, function(*arguments), result, arguments, peer)
        except self.mpi.Exception as error:
            raise DistBackendError(f"MPI: {error}") from error

    def _bytes(self, array: np.ndarray) -> list:
        return [array.view(np.uint8), self.mpi.BYTE]

    def barrier(self) -> Pending:
        return self._start(self._comm.Ibarrier)

    def all_reduce(self, array: np.ndarray, op: ReduceOp, in_place: bool = False) -> Pending:
        out = array if in_place else np.empty_like(array)
        source = self.mpi.IN_PLACE if in_place else _numbers(array)
        return self._start(self._comm.Iallreduce, source, _numbers(out), self.world.operation(op, array.dtype), result=out)

    def reduce(self, array: np.ndarray, op: ReduceOp, root: int) -> Pending:
        out = np.empty_like(array) if self.rank == root else None
        into = None if out is None else _numbers(out)
        return self._start(self._comm.Ireduce, _numbers(array), into, self.world.operation(op, array.dtype), root, result=out)

    def reduce_scatter(self, array: np.ndarray, op: ReduceOp) -> Pending:
        out = np.empty(array.size // self.size, array.dtype)
        operation = self.world.operation(op, array.dtype)
        return self._start(self._comm.Ireduce_scatter_block, _numbers(array), _numbers(out), operation, result=out)

    def broadcast(self, array: np.ndarray, root: int) -> Pending:
        return self._start(self._comm.Ibcast, self._bytes(array), root, result=array)

    def all_gather(self, array: np.ndarray) -> Pending:
        out = np.empty(array.size * self.size, array.dtype)
        return self._start(self._comm.Iallgather, self._bytes(array), self._bytes(out), result=out)

    def gather(self, array: np.ndarray, root: int) -> Pending:
        out = np.empty(array.size * self.size, array.dtype) if self.rank == root else None
        into = None if out is None else self._bytes(out)
        return self._start(self._comm.Igather, self._bytes(array), into, root, result=out)

    def scatter(self, array: np.ndarray | None, like: np.ndarray, root: int) -> Pending:
        source = None if array is None else self._bytes(array)
        return self._start(self._comm.Iscatter, source, self._bytes(like), root, result=like)

    def all_to_all(self, array: np.ndarray, sends: list[int], receives: list[int]) -> Pending:
        out = np.empty(sum(receives), array.dtype)
        size = array.itemsize
        source = [array.view(np.uint8), [n * size for n in sends], self.mpi.BYTE]
        into = [out.view(np.uint8), [n * size for n in receives], self.mpi.BYTE]
        return self._start(self._comm.Ialltoallv, source, into, result=out)

    def send(self, array: np.ndarray, to: int, tag: int) -> Pending:
        return self._start(self._comm.Isend, self._bytes(array), to, tag, peer=to)

    def receive(self, array: np.ndarray, source: int | None, tag: int) -> Pending:
        start = self.mpi.ANY_SOURCE if source is None else source
        return self._start(self._comm.Irecv, self._bytes(array), start, tag, result=array, peer=source)

"""What torchrun does on a machine: it meets the other machines' agents in a store, starts workers, watches and restarts them.

One store serves all: agents count themselves in it, and workers find it at ``MASTER_ADDR`` and ``MASTER_PORT``. If a worker fails,
its agent says so in the store, and all agents begin the next round.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import Any

from flambeau.distributed._errors import DistError
from flambeau.distributed._store import PrefixStore, Store
from flambeau.distributed._tcp_store import TCPStore
from flambeau.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from flambeau.distributed.elastic.workers import Output, Workers

__all__ = ["Agent", "Place", "Settings", "SignalException"]


class SignalException(Exception):
    """torchrun has been told to end."""

    def __init__(self, number: int) -> None:
        self.sigval = signal.Signals(number)
        super().__init__(f"Process {os.getpid()} got signal: {number}")


@dataclass
class Settings:
    """What torchrun was asked for."""

    command: Sequence[str]
    name: str
    workers: int
    log_dir: str
    run_id: str
    nodes: tuple[int, int] = (1, 1)
    node_rank: int | None = None
    role: str = "default"
    max_restarts: int = 0
    interval: float = 0.1
    signals: Sequence[str] = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT")
    output: Output = field(default_factory=Output)
    join_timeout: float = 600.0
    last_call: float = 30.0


@dataclass
class Place:
    """Where an agent stands in a round: its number among the agents, and how many workers each of them has."""

    number: int
    workers: list[int]

    @property
    def first(self) -> int:
        """The rank of its first worker."""
        return sum(self.workers[: self.number])


class Agent:
    """Runs the workers of one machine. ``host`` and ``port`` are of the store, which the agent keeps if it ``serves``."""

    def __init__(self, settings: Settings, host: str, port: int, serves: bool) -> None:
        self._settings, self._host = settings, host
        limit = timedelta(seconds=settings.join_timeout)
        self._tcp = TCPStore(host, port, None, serves, limit, wait_for_workers=False)
        self._serves, self._port = serves, self._tcp.port
        self._store: Store = PrefixStore(f"agents/{settings.run_id}", self._tcp)

    def run(self) -> None:
        """Runs the workers until all have ended.

        Raises:
            ChildFailedError: one has failed, and there are no restarts left.
            SignalException: the agent was told to end.
        """
        with _signals_raised(self._settings.signals):
            for attempt in range(self._settings.max_restarts + 1):
                place = self._join(attempt)
                workers = self._start(attempt, place)
                try:
                    failures = self._watch(workers, attempt, place)
                except SignalException as told:
                    workers.stop(told.sigval)
                    raise
                finally:
                    workers.stop()
                if failures is None:
                    self._part(attempt, place)
                    return
                if attempt < self._settings.max_restarts:
                    left = self._settings.max_restarts - attempt
                    print(f"torchrun: a worker has failed; {left} restarts left; all workers are started again", file=sys.stderr)
            self._part(attempt, place)
            raise ChildFailedError(self._settings.name, failures or _elsewhere(place))

    def _join(self, attempt: int) -> Place:
        """Waits for the other agents."""
        least, most = self._settings.nodes
        store = PrefixStore(f"round_{attempt}", self._store)
        number = self._settings.node_rank
        if least == most and number is not None:
            store.set(f"node/{number}", str(self._settings.workers))
            store.wait([f"node/{i}" for i in range(most)])
            return Place(number, [int(store.get(f"node/{i}")) for i in range(most)])
        number = store.add("joined", 1) - 1
        if number >= most:
            raise RuntimeError(f"{most} machines have joined already")
        store.set(f"node/{number}", str(self._settings.workers))
        if number == 0:  # the first one says when it is enough
            store.set("count", str(self._count(store, least, most)))
        count = int(store.get("count"))
        if number >= count:
            raise RuntimeError(f"this machine came after {count} others had begun")
        store.wait([f"node/{i}" for i in range(count)])
        return Place(number, [int(store.get(f"node/{i}")) for i in range(count)])

    def _count(self, store: Store, least: int, most: int) -> int:
        """How many agents have joined: all, or enough and a while later."""
        end = time.monotonic() + self._settings.join_timeout
        enough: float | None = None
        while (count := store.add("joined", 0)) < most:
            now = time.monotonic()
            if count >= least:
                enough = enough or now
                if now - enough > self._settings.last_call:
                    break
            elif now > end:
                raise DistError(f"{count} of at least {least} machines have joined after {self._settings.join_timeout:.0f} seconds")
            time.sleep(0.05)
        return min(count, most)

    def _start(self, attempt: int, place: Place) -> Workers:
        settings = self._settings
        size = sum(place.workers)
        common = {
            "WORLD_SIZE": size, "ROLE_WORLD_SIZE": size, "LOCAL_WORLD_SIZE": settings.workers, "GROUP_RANK": place.number,
            "GROUP_WORLD_SIZE": len(place.workers), "ROLE_NAME": settings.role, "MASTER_ADDR": self._host, "MASTER_PORT": self._port,
            "TORCHELASTIC_RUN_ID": settings.run_id, "TORCHELASTIC_RESTART_COUNT": attempt, "TORCHELASTIC_MAX_RESTARTS": settings.max_restarts,
            "TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_SIGNALS_TO_HANDLE": ",".join(settings.signals),
            "TORCH_NCCL_ASYNC_ERROR_HANDLING": os.environ.get("TORCH_NCCL_ASYNC_ERROR_HANDLING", 1), "PYTHONUNBUFFERED": 1,
        }  # fmt: skip
        if settings.workers > 1 and "OMP_NUM_THREADS" not in os.environ:
            common["OMP_NUM_THREADS"] = 1
        environments = [
            {
                name: str(value)
                for name, value in {**common, "LOCAL_RANK": i, "RANK": place.first + i, "ROLE_RANK": place.first + i}.items()
            }
            for i in range(settings.workers)
        ]
        return Workers(
            settings.command, environments, os.path.join(settings.log_dir, f"attempt_{attempt}"), settings.output, settings.role
        )

    def _watch(self, workers: Workers, attempt: int, place: Place) -> dict[int, ProcessFailure] | None:
        """Waits until all workers have ended well (``None``), or one has not, here or at another machine; those of here that have
        not."""
        several = len(place.workers) > 1
        while True:
            codes = workers.poll()
            if any(codes):
                self._store.set(f"failed_{attempt}", b"")
                return workers.failures(place.first)
            if several and self._store.check([f"failed_{attempt}"]):
                return {}
            if all(code == 0 for code in codes):
                return None
            time.sleep(self._settings.interval)

    def _part(self, attempt: int, place: Place) -> None:
        """Waits for the other agents, so that the store stays as long as their workers need it."""
        if len(place.workers) > 1:
            try:
                self._store.barrier(f"end_{attempt}", len(place.workers), timedelta(seconds=300))
                if self._serves:
                    time.sleep(0.5)  # for the others' answers
            except DistError:
                pass


def _elsewhere(place: Place) -> dict[int, ProcessFailure]:
    """In place of the failure of a worker of another machine, which tells of it."""
    return {place.first: ProcessFailure(0, os.getpid(), 1, "", int(time.time()))}


@contextmanager
def _signals_raised(names: Sequence[str]) -> Iterator[None]:
    """Has signals raise :class:`SignalException` inside."""

    def handler(number: int, frame: FrameType | None) -> None:
        raise SignalException(number)

    before: dict[Any, Any] = {}
    try:
        for name in names:
            number = getattr(signal, name.strip(), None)
            if number is None:
                raise ValueError(f"Signal {name} is not available on this platform")
            before[number] = signal.signal(number, handler)
    except ValueError:  # not in the main thread: whoever calls this handles signals
        if not before and names and hasattr(signal, names[0].strip()):
            yield
            return
        raise
    try:
        yield
    finally:
        for number, handled in before.items():
            signal.signal(number, handled)

"""A worker process: it loads the batches that it is told to, with random streams of its own, until its loader is gone."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import random
import select
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from flambeau._utils import ExceptionWrapper
from flambeau.core.random import default_generator
from flambeau.threads import set_num_threads
from flambeau.utils.data.channel import Channel, Message, pickle_by_value
from flambeau.utils.data.datapipes.datapipe import IterDataPipe
from flambeau.utils.data.fetching import Fetch, _DatasetKind
from flambeau.utils.data.info import WorkerInfo, set_worker_info
from flambeau.utils.data.iteration import seed_pipes

LOOK = 1000
"""Milliseconds after which a worker looks whether its parent is still there, where it is not told."""


@dataclass
class Job:
    """What all workers of a loader are to do."""

    dataset: Any
    kind: int
    batched: bool
    collate_fn: Callable
    drop_last: bool
    base_seed: int
    init_fn: Callable[[int], None] | None
    num_workers: int

    def __reduce__(self) -> tuple:
        """To a process that is started anew it goes by value, so that no tensor of the dataset costs a file descriptor."""
        fields = tuple(getattr(self, name) for name in self.__dataclass_fields__)
        return _unpickle_job, (pickle_by_value(fields, keep_shared=True),)


def _unpickle_job(data: bytes) -> Job:
    return Job(*pickle.loads(data))


@dataclass
class Task:
    """A batch to be loaded: in which pass over the dataset, its number in that pass, its indices, and the seed of data pipes in
    that pass."""

    epoch: int
    number: int
    index: Any
    seed: int | None = None


@dataclass
class Reply:
    """What has become of a task: its ``data``, a :class:`Caught`, or ``ENDED``; and the seconds that loading it took."""

    epoch: int
    number: int
    data: Any
    seconds: float


class _Ended:
    def __reduce__(self) -> str:
        return "ENDED"


ENDED = _Ended()
"""The worker's copy of an iterable dataset has no more samples."""


class Caught(ExceptionWrapper):
    """An exception on its way from a worker."""

    def __init__(self, error: Exception, worker: int) -> None:
        super().__init__((type(error), error, error.__traceback__), f"in DataLoader worker process {worker}")
        try:
            pickle.loads(pickle.dumps(self.exc_type))
        except Exception:  # of a class that only the worker knows
            self.exc_type = RuntimeError


def run(end: socket.socket, job: Job, id: int) -> None:
    """The life of worker ``id``: tasks come through ``end``, and replies go there."""
    # Ctrl-C goes to all processes of a terminal, and is the parent's business: it tells its workers. The parent's other handlers
    # are not meant for them.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    parent = _Parent(Channel(end))
    _set_up(job, id)
    loader = _Loader(job, id)
    last = (0, -1)
    while (task := parent.next_task()) is not None:
        place = task.epoch, task.number
        if place <= last:  # sent twice, by a parent that was interrupted
            continue
        last = place
        start = perf_counter()
        data = loader.load(task)
        if data is None:
            continue
        reply = Reply(task.epoch, task.number, data[0], perf_counter() - start)
        try:
            message = Message(reply)
        except Exception as error:
            reply.data = Caught(error, id)
            message = Message(reply)
        if not parent.send(message):
            return
        del data, reply, message, task  # what may be large, while this waits


def _generate_state(base_seed: int, worker_id: int) -> list[int]:
    """What NumPy's generator is seeded with in a worker: four words that are unlike those of any other."""
    words = [worker_id, base_seed & 0xFFFFFFFF, base_seed >> 32, 0]
    return np.random.SeedSequence(words).generate_state(4).tolist()


def _set_up(job: Job, id: int) -> None:
    seed = job.base_seed + id
    set_num_threads(1)  # the other cores are other workers'
    random.seed(seed)
    default_generator.manual_seed(seed)
    np.random.seed(_generate_state(job.base_seed, id))
    set_worker_info(WorkerInfo(id, job.num_workers, seed, job.dataset))


class _Loader:
    """What a worker loads with; errors of starting are the first task's."""

    def __init__(self, job: Job, id: int) -> None:
        self.job = job
        self.id = id
        self.epoch = 0
        self.ended = False
        self.fetch: Fetch | None = None
        self.problem: Caught | None = None
        try:
            if isinstance(job.dataset, IterDataPipe):
                from flambeau.utils.data.graph_settings import apply_sharding

                apply_sharding(job.dataset, job.num_workers, id)
            if job.init_fn is not None:
                job.init_fn(id)
            self.fetch = self._new_fetch()
        except Exception as error:
            self.problem = Caught(error, id)

    def _new_fetch(self) -> Fetch:
        job = self.job
        return _DatasetKind.create_fetcher(job.kind, job.dataset, job.batched, job.collate_fn, job.drop_last).fetch

    def load(self, task: Task) -> tuple[Any] | None:
        """The data of a task, in a tuple; ``None`` where there is nothing to be said."""
        try:
            if task.epoch != self.epoch:
                self.epoch, self.ended = task.epoch, False
                self.fetch = None
                if task.seed is not None:
                    seed_pipes(self.job.dataset, task.seed)
                self.fetch = self._new_fetch()
            if self.problem is not None:
                found, self.problem = self.problem, None
                return (found,)
            if self.ended:
                return None
            if self.fetch is None:
                raise RuntimeError("the worker could not begin to load: see its first error")
            return (self.fetch(task.index),)
        except StopIteration as error:
            if self.job.kind == _DatasetKind.Map:
                return (Caught(error, self.id),)
            self.ended = True
            return (ENDED,)
        except Exception as error:
            return (Caught(error, self.id),)


class _Parent:
    """The worker's way to its parent."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()

    def next_task(self) -> Task | None:
        """The next task; ``None`` if there will be none."""
        while True:
            try:
                task = self._channel.peek()
                self._channel.drop()
                return task
            except BlockingIOError:
                self._wait(select.POLLIN)
            except EOFError:
                return None

    def send(self, message: Message) -> bool:
        """Whether ``message`` has been sent: the parent wants no more if not."""
        try:
            while not self._channel.send(message):
                self._wait(select.POLLOUT)
        except ConnectionError:
            return False
        return True

    def _wait(self, event: int) -> None:
        poll = select.poll()
        poll.register(self._channel, event)
        poll.poll()


def _end_with_parent(pid: int) -> None:
    """Ends this process when its parent has ended, however that was, and whatever is being loaded."""
    poll = select.poll()
    parent = multiprocessing.parent_process()
    if parent is not None:
        poll.register(parent.sentinel, select.POLLIN)
    while not poll.poll(LOOK) and os.getppid() == pid:
        pass
    os._exit(1)

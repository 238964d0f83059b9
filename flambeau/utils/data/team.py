"""The worker processes of one loader, as their parent sees them."""

from __future__ import annotations

import _thread
import os
import pickle
import select
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable
from multiprocessing import forkserver, resource_tracker
from time import monotonic, perf_counter
from typing import Any

from flambeau.engine import flight
from flambeau.utils.data.channel import Channel, Message, connect
from flambeau.utils.data.worker import Job, Reply, Task, run

PATIENCE = 5.0
"""Seconds that a worker has to end by itself once it is told to, and to be gone once it is ended by force."""


class Team:
    """``job.num_workers`` processes that load what they are told to; started by ``context``, one of multiprocessing's."""

    def __init__(self, context: Any, job: Job) -> None:
        start = perf_counter()
        self._owner = os.getpid()
        self.processes: list[Any] = []
        self._channels: list[Channel] = []
        self._outboxes: list[deque[Message]] = []
        self._poll = select.poll()
        self._who: dict[int, tuple[int, bool]] = {}  # by file descriptor: the worker, and whether it is its channel
        self._failure: str | None = None
        self._told, self.stopped = False, False
        flight.land()  # here and not in a fork, which would lose what a signal handler raises meanwhile
        try:
            _prepare(context.get_start_method())
            for id in range(job.num_workers):
                self._start(context, job, id)
        except BaseException:
            self.stop()
            raise
        self.starting = perf_counter() - start

    def _start(self, context: Any, job: Job, id: int) -> None:
        channel, theirs = connect()
        self._channels.append(channel)
        process = context.Process(target=run, args=(theirs, job, id), daemon=True)
        # A worker takes no notice of Ctrl-C; until it has said so, the signal waits. A handler of another signal may raise after
        # any call, so the mask is known before it is changed, and set again before anything else.
        try:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
            try:
                signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
                process.start()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
        except (TypeError, AttributeError, pickle.PicklingError):
            warnings.warn(
                "Got pickle error when attempting to start a worker Process. This might be because the worker Process "
                "arguments are not picklable. Python 3.14+ changed the multiprocessing start method in non-Mac POSIX "
                "platforms to 'forkserver', which requires the worker Process arguments to be picklable. You can also try "
                "multiprocessing.set_start_method('fork').",
                stacklevel=2,
            )
            raise
        finally:
            if process.pid is not None:
                self.processes.append(process)
            theirs.close()
        self._outboxes.append(deque())
        self._poll.register(channel, select.POLLIN)
        self._poll.register(process.sentinel, select.POLLIN)
        self._who[channel.fileno()] = id, True
        self._who[process.sentinel] = id, False

    @property
    def usable(self) -> bool:
        """Whether the workers are there, and this process's."""
        return not self._told and os.getpid() == self._owner

    # --- messages --------------------------------------------------------------------------------------------

    def post(self, worker: int, task: Task) -> None:
        """Sends ``task`` to a worker, now or once it has room for it."""
        self._outboxes[worker].append(Message(task))
        self._flush(worker)

    def discard(self) -> None:
        """Forgets what has not been sent yet."""
        for outbox in self._outboxes:
            outbox.clear()

    def _flush(self, worker: int) -> None:
        channel, outbox = self._channels[worker], self._outboxes[worker]
        if channel.fileno() not in self._who:
            return
        try:
            while outbox and channel.send(outbox[0]):
                outbox.popleft()
        except ConnectionError:  # it has ended; whoever waits for it is told
            outbox.clear()
        self._poll.modify(channel, select.POLLIN | select.POLLOUT if outbox else select.POLLIN)

    def wait(self, timeout: float) -> tuple[int, Reply]:
        """A worker and its next reply, which stays its next until :meth:`drop`; after ``timeout`` seconds, if not 0, an error.

        Raises:
            RuntimeError: nothing came in time, or a worker has ended.
        """
        if self._failure is not None:
            raise RuntimeError(self._failure)
        if not self.usable:
            raise RuntimeError("the workers of this DataLoader's iterator are another process's, or have ended: begin a new pass")
        deadline = monotonic() + timeout if timeout else None
        while True:
            left = None if deadline is None else max(0.0, deadline - monotonic())
            ready = self._poll.poll(None if left is None else left * 1000)
            ended = None
            for fd, event in ready:
                worker, is_channel = self._who[fd]
                if not is_channel:
                    ended = worker
                    continue
                if event & select.POLLOUT:
                    self._flush(worker)
                if event & ~select.POLLOUT:
                    try:
                        return worker, self._channels[worker].peek()
                    except BlockingIOError:
                        continue
                    except EOFError:
                        ended = worker
            if ended is not None:
                self._fail(ended)
            if not ready and left is not None and monotonic() >= deadline:  # type: ignore[operator]
                raise RuntimeError(f"DataLoader timed out after {timeout} seconds")

    def drop(self, worker: int) -> None:
        """Takes away the reply that :meth:`wait` has given."""
        self._channels[worker].drop()

    # --- ends ------------------------------------------------------------------------------------------------

    def _fail(self, worker: int) -> None:
        """Ends all workers, since one has ended, and says how."""
        process = self.processes[worker]
        process.join(PATIENCE)
        code, who = process.exitcode, f"DataLoader worker (pid {process.pid})"
        if code is not None and code < 0:
            self._failure = f"{who} is killed by signal: {signal.strsignal(-code)}. "
            if -code == signal.SIGBUS:
                self._failure += (
                    "It is possible that dataloader's workers are out of shared memory. Please try to raise your shared "
                    "memory limit."
                )
        elif code:
            self._failure = (
                f"{who} exited unexpectedly with exit code {code}. Details are lost due to multiprocessing. Rerunning with "
                "num_workers=0 may give better error trace."
            )
        else:
            self._failure = f"DataLoader worker (pid(s) {process.pid}) exited unexpectedly"
        self.stop()
        raise RuntimeError(self._failure)

    def stop(self) -> None:
        """Ends the workers: those that do not end by themselves, because they are busy, by force."""
        if self.stopped or os.getpid() != self._owner:  # a child has a copy of this, but not the processes
            return
        self._told = True
        end = monotonic() + PATIENCE
        try:
            self._close()
            for process in self.processes:
                process.join(max(0.0, end - monotonic()))
        finally:
            self._close()
            self._force()
            self.processes = []
            self.stopped = True

    def _close(self) -> None:
        for channel in self._channels:
            channel.close()  # which tells the workers
        self._who.clear()

    def _force(self) -> None:
        for end in ("terminate", "kill"):
            for process in self.processes:
                if process.is_alive():
                    getattr(process, end)()
            for process in self.processes:
                process.join(PATIENCE)

    def __del__(self) -> None:
        if not getattr(self, "stopped", True):
            _in_finalizer(self.stop)


class _Hurry(BaseException):
    """A signal has come: nobody is to be waited for."""


def _in_finalizer(stop: Callable[[], None]) -> None:
    """Calls ``stop`` where an exception would be lost: what signals' handlers raise is raised afterwards, and soon.

    ``stop`` is interrupted by the first signal, and called again.
    """
    if threading.current_thread() is not threading.main_thread() or sys.is_finalizing():
        return stop()
    caught: list[int] = []

    def note(number: int, frame: object) -> None:
        caught.append(number)
        if len(caught) == 1:
            raise _Hurry

    handlers = {number: handler for number in signal.valid_signals() if callable(handler := signal.getsignal(number))}
    try:
        for number in handlers:
            signal.signal(number, note)
        stop()
    except _Hurry:
        stop()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for again in caught:  # again, from a thread: it comes once this one has left the finalizer
            _thread.start_new_thread(os.kill, (os.getpid(), again))


def _prepare(method: str) -> None:
    """Starts what multiprocessing starts with its first process: that is not to get the signals of a worker."""
    if method == "spawn":
        resource_tracker.ensure_running()
    elif method == "forkserver":
        forkserver.ensure_running()

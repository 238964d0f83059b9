"""Requests that wait while a batch runs are the next batch.

There is no timer: a request that finds the model idle runs at once, and batches form by themselves when more requests come than the
model answers. What is in a batch together has the same inputs but for the number of rows; it is padded to a power of two, so that a
few sizes come again and again and are compiled.

Everything here runs on the event loop but for the model, which runs on the compute thread. A batch that is known to take less than
a change of threads matters (see :meth:`~flambeau.serve.model.Model.is_quick`) runs on the loop too, where nothing runs on that
thread.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flambeau.serve.protocol import RequestError

Arrays = dict[str, np.ndarray]


class ComputeThread(ThreadPoolExecutor):
    """The one thread on which models are loaded and run."""

    def __init__(self) -> None:
        super().__init__(1, thread_name_prefix="flambeau computes")
        self._last: Future[Any] | None = None

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self._last = super().submit(fn, *args, **kwargs)
        return self._last

    @property
    def is_idle(self) -> bool:
        """Whether all that it was given is done: until the event loop gives it more, tensors may be used there."""
        return self._last is None or self._last.done()


@dataclass(eq=False)
class Job:
    """One request in the queue."""

    inputs: Arrays
    rows: int
    answer: asyncio.Future[Arrays]
    came: float = field(default_factory=time.monotonic)

    def fits(self, other: Job) -> bool:
        """Whether both can be rows of one batch."""
        return self.inputs.keys() == other.inputs.keys() and all(
            a.dtype == b.dtype and a.shape[1:] == b.shape[1:]
            for a, b in ((x, other.inputs[name]) for name, x in self.inputs.items())
        )


class Batcher:
    """The queue of one version of a model.

    Args:
        predict: the model; called on ``thread`` with arrays whose first dim are the rows of one or more requests.
        max_batch: the most rows in a batch; 0: requests have no rows, and each runs alone.
        max_queue: how many requests may wait; one more is refused with 503.
        max_delay: how many seconds a batch that is not full waits for more.
        quick: whether a batch of so many rows is done so soon that it may run on the event loop.
        seen: told of each batch that ran: its rows, seconds that its oldest request waited, and seconds that it took.
    """

    def __init__(
        self,
        name: str,
        predict: Callable[[Arrays], Arrays],
        thread: ComputeThread,
        max_batch: int = 32,
        max_queue: int = 256,
        max_delay: float = 0.0,
        seen: Callable[[int, float, float], None] = lambda rows, waited, took: None,
        quick: Callable[[int], bool] = lambda rows: False,
    ) -> None:
        self._name, self._predict, self._thread, self._seen, self._quick = name, predict, thread, seen, quick
        self.max_batch, self.max_queue, self.max_delay = max_batch, max_queue, max_delay
        self._queue: deque[Job] = deque()
        self._running: asyncio.Task[None] | None = None
        self._draining = False
        self._pace = 0.0  # seconds a request, lately

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def submit(self, inputs: Arrays) -> asyncio.Future[Arrays]:
        """The model's outputs for ``inputs``, when they are there. A request whose future is cancelled leaves the queue.

        Raises:
            RequestError: the queue is full, or the inputs have no common number of rows.
        """
        rows = self._rows(inputs)
        if len(self._queue) >= self.max_queue:
            seconds = min(60, max(1, math.ceil(self._pace * len(self._queue))))
            raise RequestError(f"model {self._name!r} is busy: {len(self._queue)} requests wait", 503, seconds)
        job = Job(inputs, rows, asyncio.get_running_loop().create_future())
        job.answer.add_done_callback(lambda answer: self._leave(job) if answer.cancelled() else None)
        self._queue.append(job)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return job.answer

    def _leave(self, job: Job) -> None:
        if job in self._queue:
            self._queue.remove(job)

    async def drain(self) -> None:
        """Returns when all requests are answered, of which no more must come; batches wait for no more rows."""
        self._draining = True
        if self._running is not None:
            await self._running

    def _rows(self, inputs: Arrays) -> int:
        if not self.max_batch:
            return 1
        counts = {x.shape[0] if x.ndim else -1 for x in inputs.values()}
        if len(counts) != 1 or -1 in counts:
            shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in inputs.items())
            raise RequestError(
                f"model {self._name!r} takes batches: the first dim of all inputs must be the number of rows, got {shapes or 'no inputs'}"
            )
        return counts.pop()

    async def _run(self) -> None:
        while self._queue:
            if self.max_delay and self.max_batch:
                await self._gather()
            batch = self._take()
            if batch:
                await self._answer(batch)
                if self._queue:
                    await asyncio.sleep(0)  # answers go out, and requests come in, before the next batch
        self._running = None

    async def _gather(self) -> None:
        """Waits until there is a full batch, or the oldest request has waited long enough."""
        until = self._queue[0].came + self.max_delay
        while (
            self._queue
            and not self._draining
            and sum(job.rows for job in self._queue) < self.max_batch
            and time.monotonic() < until
        ):
            await asyncio.sleep(min(0.001, self.max_delay))

    def _take(self) -> list[Job]:
        """The oldest request, and those behind it that fit to it and into the batch."""
        batch: list[Job] = []
        rows = 0
        left: list[Job] = []
        while self._queue and (not batch or self.max_batch and rows < self.max_batch):
            job = self._queue.popleft()
            if job.answer.done():  # its client has gone
                continue
            if batch and (rows + job.rows > self.max_batch or not job.fits(batch[0])):
                left.append(job)
                continue
            batch.append(job)
            rows += job.rows
        self._queue.extendleft(reversed(left))
        return batch

    async def _answer(self, batch: list[Job]) -> None:
        start = time.monotonic()
        results: list[Arrays | Exception]
        try:
            if self._thread.is_idle and self._quick(sum(job.rows for job in batch)):
                results = list(self._compute(batch))
            else:
                results = list(await asyncio.get_running_loop().run_in_executor(self._thread, self._compute, batch))
        except Exception as error:
            if len(batch) > 1:  # whose fault it is shows when each runs alone
                for job in batch:
                    if not job.answer.done():
                        await self._answer([job])
                return
            results = [error]
        took = time.monotonic() - start
        self._pace = 0.8 * self._pace + 0.2 * took / len(batch)
        self._seen(sum(job.rows for job in batch), start - batch[0].came, took)
        for job, result in zip(batch, results, strict=True):
            if not job.answer.done():
                if isinstance(result, Exception):
                    job.answer.set_exception(result)
                else:
                    job.answer.set_result(result)

    def _compute(self, batch: list[Job]) -> list[Arrays]:
        """The outputs for each request of a batch."""
        if not self.max_batch:
            return [self._predict(batch[0].inputs)]
        rows = sum(job.rows for job in batch)
        outputs = self._predict(joined([job.inputs for job in batch], padded(rows)))
        for name, y in outputs.items():
            if y.ndim == 0 or y.shape[0] != padded(rows):
                raise RuntimeError(
                    f"output {name!r} of model {self._name!r} has the shape {list(y.shape)} for a batch of {padded(rows)}: its first dim must be "
                    "that of the inputs. A model without rows is served with max_batch 0"
                )
        answers, at = [], 0
        for job in batch:
            answers.append({name: y[at : at + job.rows] for name, y in outputs.items()})
            at += job.rows
        return answers


def padded(rows: int) -> int:
    """The size of a batch in which ``rows`` rows run: the next power of two.

    >>> [padded(n) for n in (0, 1, 2, 3, 32, 33)]
    [0, 1, 2, 4, 32, 64]
    """
    return 1 << (rows - 1).bit_length() if rows else 0


def joined(parts: list[Arrays], rows: int) -> Arrays:
    """Requests one behind the other, as new arrays of ``rows`` rows; the last row is repeated where there are fewer."""
    made: Arrays = {}
    for name, first in parts[0].items():
        whole = np.empty((rows, *first.shape[1:]), first.dtype)
        at = 0
        for part in parts:
            x = part[name]
            whole[at : at + len(x)] = x
            at += len(x)
        if at:
            whole[at:] = whole[at - 1]
        made[name] = whole
    return made

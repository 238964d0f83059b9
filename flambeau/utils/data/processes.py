"""Passes over a loader whose batches are made by worker processes."""

from __future__ import annotations

import logging
import multiprocessing
from itertools import cycle
from time import perf_counter
from typing import Any

from flambeau.engine.run import run_pending
from flambeau.utils.data.iteration import Iter
from flambeau.utils.data.team import Team
from flambeau.utils.data.worker import ENDED, Caught, Job, Task


class WorkersIter(Iter):
    """Passes over a loader with workers: batches go round those that still have samples, ``prefetch_factor`` each ahead."""

    def _start(self) -> None:
        loader = self._loader
        if not loader.prefetch_factor:
            raise AssertionError("prefetch_factor must be greater than 0 for MultiProcessingDataLoaderIter")
        run_pending()  # or a forked worker would
        job = Job(
            loader.dataset, loader._dataset_kind, loader._auto_collation, loader.collate_fn, loader.drop_last,
            self._base_seed, loader.worker_init_fn, loader.num_workers,
        )  # fmt: skip
        self._team = Team(loader.multiprocessing_context or multiprocessing, job)
        self._epoch = 0
        self._costs = Costs(self._team.starting)
        self._begin()  # a second time, as PyTorch does before its workers' first pass
        self._send_ahead()

    @property
    def usable(self) -> bool:
        """Whether there can be another pass: the workers are there."""
        return self._team.usable

    @property
    def _workers(self) -> list[Any]:
        return self._team.processes

    def restart(self) -> None:
        """Begins another pass, with the same workers."""
        self._begin()
        self._epoch += 1
        self._team.discard()
        self._send_ahead()

    def _send_ahead(self) -> None:
        workers = self._loader.num_workers
        self._sent = self._wanted = 0  # the numbers of the next task to be sent, and of the next to be returned
        self._tasks: dict[int, int] = {}  # the worker of each task that has not been returned
        self._arrived: dict[int, Any] = {}
        self._drawn: tuple[Any] | None = None
        self._active = [True] * workers
        self._turns = cycle(range(workers))
        for _ in range(self._loader.prefetch_factor * workers):  # type: ignore[operator]
            self._add_task()

    def _add_task(self) -> bool:
        """Sends the sampler's next index to the worker whose turn it is; whether there was one.

        A handler's exception may end this anywhere. What was begun is done again next time, and a worker takes a task once.
        """
        if self._drawn is None:
            try:
                self._drawn = (next(self._indices),)
            except StopIteration:
                return False
        loader = self._loader
        for _ in self._active:
            worker = next(self._turns)
            if not self._active[worker]:
                continue
            most = loader.prefetch_factor * loader.num_workers // sum(self._active)  # type: ignore[operator]
            if loader.in_order or list(self._tasks.values()).count(worker) < most:
                break
        else:
            return False
        number = self._sent
        self._tasks[number] = worker
        self._team.post(worker, Task(self._epoch, number, self._drawn[0], self._pipe_seed))
        self._sent, self._drawn = number + 1, None  # both or none: no handler runs within a statement without calls
        return True

    def _next_data(self) -> Any:
        start = perf_counter()
        while True:
            while self._wanted < self._sent:
                worker = self._tasks.get(self._wanted)
                if worker is not None:
                    if self._wanted in self._arrived or self._active[worker]:
                        break
                    del self._tasks[self._wanted]
                self._wanted += 1
            else:
                if self._add_task():  # one that was not sent in time
                    continue
                self._end()
                raise StopIteration
            if self._wanted in self._arrived:
                number = self._wanted
                break
            if self._arrived and not self._loader.in_order:
                number = next(iter(self._arrived))
                break
            self._receive()
        del self._tasks[number]
        data = self._arrived.pop(number)
        self._costs.spent += perf_counter() - start
        self._add_task()
        if isinstance(data, Caught):
            data.reraise()
        return data

    def _receive(self) -> None:
        """Takes the next reply. An exception may come in between any two steps, from a signal's handler: nothing is lost then."""
        worker, reply = self._team.wait(self._loader.timeout)
        number = reply.number
        if reply.epoch == self._epoch and number in self._tasks and number not in self._arrived:
            if reply.data is not ENDED:
                self._arrived[number] = reply.data
                self._costs.loading += reply.seconds
                self._costs.batches += 1
            elif self._active[worker]:
                self._active[worker] = False
                self._add_task()
        self._team.drop(worker)

    def _end(self) -> None:
        if not self._loader.persistent_workers:
            self._team.stop()
        self._costs.tell(self._loader.num_workers)


class Costs:
    """What workers cost a program, and what they save it; where they cost more, that is said once."""

    TOLERATED = 0.5
    """Seconds that a program may lose before it is told."""
    lost = 0.0
    told = False

    def __init__(self, starting: float) -> None:
        self.spent = starting  # seconds of the program's: starting workers, waiting for batches and taking them
        self.loading = 0.0  # seconds of the workers': the program's, if it had none
        self.batches = 0

    def tell(self, workers: int) -> None:
        """At the end of a pass: adds up what has been lost, and says so once it is too much."""
        if self.spent > 2 * self.loading:
            Costs.lost += self.spent - self.loading
            if not Costs.told and Costs.lost > self.TOLERATED:
                Costs.told = True
                logging.getLogger("flambeau").warning(
                    f"DataLoader: num_workers={workers} slows this program down. Its workers took {1e3 * self.loading:.0f} ms to "
                    f"load {self.batches} batches; starting them and getting the batches took {1e3 * self.spent:.0f} ms. "
                    "Processes pay where a sample takes much longer to load than to be sent: try num_workers=0."
                )
        self.spent, self.loading, self.batches = 0.0, 0.0, 0

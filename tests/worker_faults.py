"""Everything that can go wrong in a worker of a DataLoader, in every kind of worker; ``python -m tests.worker_faults`` runs it all.

Each fault must be an error in the program, in time, of the right class and words; and afterwards no process, no zombie and no
open file may be left of the loader.
"""

from __future__ import annotations

import faulthandler
import gc
import os
import re
import signal
import sys
import time
import warnings
from itertools import product

import flambeau as torch
from flambeau.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info, team

METHODS = "fork", "spawn", "forkserver"
LENGTH, WHERE = 8, 5


class TwoArguments(Exception):
    """Cannot be made of a message."""

    def __init__(self, code, text):
        super().__init__(code, text)


def _raise(error):
    raise error


def _raise_local():
    class Local(Exception):
        """Only this process knows it."""

    raise Local("oops")


def _hang():
    while True:
        time.sleep(1000)


def _bus():
    faulthandler.disable()  # pytest's
    os.kill(os.getpid(), signal.SIGBUS)


def _lambda():
    return lambda: None


class _Unpicklable:
    def __reduce__(self):
        raise ValueError("not to be sent")


CAUGHT = "Caught {} in DataLoader worker process [01]\\.\n(?s:.*){}"
DIED = "DataLoader worker \\(pid \\d+\\) {}"
FAULTS = {
    # what happens at a sample: the function, the class of the error, its message
    "raise": (lambda: _raise(RuntimeError("oops")), RuntimeError, CAUGHT.format("RuntimeError", "oops")),
    "raise a key": (lambda: _raise(KeyError("oops")), KeyError, CAUGHT.format("KeyError", "oops")),
    "raise two": (lambda: _raise(TwoArguments(1, "oops")), RuntimeError, CAUGHT.format("TwoArguments", "oops")),
    "raise local": (_raise_local, RuntimeError, CAUGHT.format("Local", "oops")),
    "raise unicode": (
        lambda: b"\xff".decode(), RuntimeError, CAUGHT.format("UnicodeDecodeError", "invalid start byte")),
    "no memory": (lambda: _raise(MemoryError("oops")), MemoryError, CAUGHT.format("MemoryError", "oops")),
    "assert": (lambda: _raise(AssertionError()), AssertionError, CAUGHT.format("AssertionError", "")),
    "recurse": (lambda: _recurse(), RecursionError, CAUGHT.format("RecursionError", "maximum recursion depth")),
    "exit 0": (lambda: os._exit(0), RuntimeError, "DataLoader worker \\(pid\\(s\\) \\d+\\) exited unexpectedly"),
    "exit 3": (lambda: os._exit(3), RuntimeError, DIED.format("exited unexpectedly with exit code 3")),
    "sys.exit": (lambda: sys.exit(4), RuntimeError, DIED.format("exited unexpectedly with exit code 4")),
    "kill": (lambda: os.kill(os.getpid(), signal.SIGKILL), RuntimeError, DIED.format("is killed by signal: Killed\\. ")),
    "terminate": (
        lambda: os.kill(os.getpid(), signal.SIGTERM), RuntimeError, DIED.format("is killed by signal: Terminated\\. ")),
    "bus": (_bus, RuntimeError, DIED.format("is killed by signal: Bus error\\. It is")),
    "hang": (_hang, RuntimeError, "DataLoader timed out after [\\d.]+ seconds"),
    "stop": (lambda: os.kill(os.getpid(), signal.SIGSTOP), RuntimeError, "DataLoader timed out after [\\d.]+ seconds"),
    "close files": (lambda: os.closerange(3, 1000), RuntimeError, "exited unexpectedly|timed out"),
    "data": (_lambda, Exception, CAUGHT.format("\\w+", "pickle")),
    "refusing data": (_Unpicklable, ValueError, CAUGHT.format("ValueError", "not to be sent")),
    "on the tape": (
        lambda: torch.ones(1, requires_grad=True) * 2, RuntimeError, CAUGHT.format("RuntimeError", "Cowardly refusing")),
}  # fmt: skip
PLACES = "sample", "collate", "init", "start"
"""Where it happens: at a sample, in ``collate_fn``, in ``worker_init_fn``, or where a worker begins (``__iter__``, ``__len__``)."""


def _recurse():
    return _recurse()


class Faulty:
    """Does what a fault says, where it should happen; picklable, for processes that are started anew."""

    def __init__(self, fault, place):
        self.fault, self.place = fault, place

    def at(self, place, otherwise):
        return FAULTS[self.fault][0]() if place == self.place and get_worker_info() is not None else otherwise

    def collate(self, batch):
        return self.at("collate", batch) if WHERE in batch else batch

    def init(self, worker):
        self.at("init", None)


class ByIndex(Faulty, Dataset):
    def __len__(self):
        return LENGTH

    def __getitem__(self, i):
        return self.at("sample", i) if i == WHERE else i


class OneByOne(Faulty, IterableDataset):
    def __iter__(self):
        self.at("start", None)
        info = get_worker_info()
        for i in range(info.id, LENGTH, info.num_workers):
            yield self.at("sample", i) if i == WHERE else i


def cases():
    """(fault, place, by index or not, method, persistent)"""
    for fault, place, kind, method, persistent in product(FAULTS, PLACES, (ByIndex, OneByOne), METHODS, (False, True)):
        returns = FAULTS[fault][0] in (_lambda, _Unpicklable) or fault == "on the tape"
        if place == "start" and kind is ByIndex or returns and place in ("init", "start"):
            continue
        yield fault, place, kind, method, persistent


def run(fault, place, kind, method, persistent, timeout=2) -> None:
    """Runs a case, and raises ``AssertionError`` where it is not as it should be."""
    data = kind(fault, place)
    loader = DataLoader(
        data, batch_size=2, num_workers=2, collate_fn=data.collate, worker_init_fn=data.init, persistent_workers=persistent,
        multiprocessing_context=method, timeout=timeout if fault in ("hang", "stop") else 60,
    )  # fmt: skip
    error, message = FAULTS[fault][1:]
    batches = iter(loader)
    pids = [process.pid for process in batches._workers]
    try:
        found = list(batches)
    except Exception as raised:
        assert isinstance(raised, error), f"{error.__name__} was to be raised, and not {raised!r}"
        assert re.search(message, str(raised)), str(raised)
        if place == "sample" and kind is ByIndex and "Caught" in message and "data" not in fault and "tape" not in fault:
            assert f"sample at index {WHERE}" in str(raised)
    else:
        raise AssertionError(f"no error, but {found}")
    found = None
    del batches, loader, data
    gc.collect()
    left = [pid for pid in pids if os.path.exists(f"/proc/{pid}")]
    assert not left, f"processes {left} are left"


def open_files() -> list[str]:
    """What the files are that this process has open."""
    gc.collect()
    files = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            files.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            pass
    return [name for name in files if name.startswith(("socket", "/memfd", "pipe"))]


def main() -> int:
    team.PATIENCE = 0.5
    failures, before = 0, None
    all_cases = list(cases())
    for n, case in enumerate(all_cases):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                run(*case)
            if n >= 6:  # fork server and resource tracker have their files
                before = before or open_files()
                assert len(open_files()) <= len(before), f"open files: {open_files()}, before: {before}"
        except AssertionError as error:
            failures += 1
            print("WRONG", case[0], case[1], case[2].__name__, *case[3:], error, flush=True)
    print(f"{len(all_cases)} faults, {failures} wrong")
    return bool(failures)


if __name__ == "__main__":
    from tests import worker_faults  # by its name: new processes import it

    sys.exit(worker_faults.main())

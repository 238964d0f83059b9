"""The worker processes of a DataLoader: what they load, how they fail, and that nothing of them is left."""

from __future__ import annotations

import gc
import logging
import os
import signal
import subprocess
import sys
import time
from itertools import count

import numpy as np
import pytest

import flambeau as torch
from flambeau.core import dtypes
from flambeau.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info, processes, team
from flambeau.utils.data import channel as channels
from tests import worker_faults
from tests.worker_faults import METHODS, OneByOne, open_files

WAIT = 120  # seconds for what takes milliseconds


@pytest.fixture(autouse=True)
def few_seconds(monkeypatch):
    """A hang is an error, and nobody waits long for workers that do not end by themselves."""
    monkeypatch.setattr(team, "PATIENCE", 0.3)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(WAIT)
    yield
    signal.alarm(0)


class Squares(Dataset):
    def __init__(self, n=12):
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return i * i


class Slow(Squares):
    """The first sample takes until the others have been loaded."""

    def __init__(self, n, loaded):
        super().__init__(n)
        self.loaded = loaded

    def __getitem__(self, i):
        while i == 0 and self.loaded.sum() < self.n - self.n // 2:
            time.sleep(0.001)
        self.loaded[i] = 1
        return i


def lists(loader) -> list:
    return [batch.tolist() for batch in loader]


# --- faults --------------------------------------------------------------------------------------------------


def some_cases():
    """Every fault, place and kind of dataset in forked workers, and a few in processes that are started anew."""
    everything = [case for case in worker_faults.cases() if case[0] not in ("hang", "stop") or case[1] == "sample"]
    forked = [case for case in everything if case[3] == "fork"]
    anew = [case for case in everything if case[3] != "fork" and case[:2] in (("raise", "sample"), ("kill", "init"))]
    return [case for n, case in enumerate(forked) if n % 4 in (0, 3)] + [case for n, case in enumerate(anew) if n % 3 == 0]


@pytest.mark.parametrize("case", some_cases(), ids=lambda case: " ".join(str(getattr(x, "__name__", x)) for x in case))
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_faults(case, capfd):
    worker_faults.run(*case, timeout=0.3)


def test_no_file_is_left_open():
    def epoch():
        loader = DataLoader(Squares(), batch_size=2, num_workers=2, collate_fn=lambda batch: torch.zeros(10_000))
        assert len(list(loader)) == 6
        next(iter(loader))

    epoch()
    before = open_files()
    for _ in range(3):
        epoch()
    assert len(open_files()) <= len(before)


def test_batches_keep_no_file_open():
    loader = DataLoader(Squares(300), num_workers=1, collate_fn=lambda batch: torch.zeros(5_000) + batch[0])
    before = len(open_files())
    batches = list(loader)
    assert len(open_files()) <= before + 8
    assert [batch[-1].item() for batch in batches] == [i * i for i in range(300)]


PROGRAM = """
import os, signal, sys, time
from flambeau.utils.data import DataLoader, Dataset
class Data(Dataset):
    def __len__(self): return 100
    def __getitem__(self, i):
        while i > 30: time.sleep(0.01)  # busy when it happens
        return "x" * 10_000
def collate(batch): return batch
if __name__ == "__main__":
    loader = DataLoader(Data(), num_workers=2, prefetch_factor=30, multiprocessing_context=sys.argv[1], persistent_workers=True)
    batches = iter(loader)
    for _ in range(20): next(batches)
    print(*[p.pid for p in batches._workers], flush=True)
    {end}
"""


def gone(pid) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] == "Z"  # where nobody adopts children, as in a container
    except FileNotFoundError:
        return True


KILL = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(
    ("method", "end"),
    [("spawn", KILL), ("forkserver", KILL), *[("fork", end) for end in (KILL, "os._exit(0)", "pass", "1 / 0", "sys.exit(3)")]],
)
def test_workers_end_with_their_parent(method, end, tmp_path):
    """However it ends."""
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(end=end))
    done = subprocess.run([sys.executable, script, method], capture_output=True, text=True, timeout=WAIT)
    pids = done.stdout.split()
    assert len(pids) == 2, done.stderr
    while not all(gone(pid) for pid in pids):
        time.sleep(0.05)
    assert "Traceback" not in done.stderr.replace("Traceback", "", end == "1 / 0"), done.stderr


# --- interrupts of the parent --------------------------------------------------------------------------------


class Interrupt(Exception):
    pass


@pytest.mark.parametrize(("persistent", "first"), [(False, 1), (True, 8)])
def test_interrupted_anywhere(persistent, first):
    """An exception of a signal's handler may come between any two lines of the loader's: it goes on afterwards, in order, and what
    is missing is at most the batch that was being returned."""
    files = {module.__file__ for module in (processes, team, sys.modules["flambeau.utils.data.channel"])}
    loader = DataLoader(Squares(), batch_size=2, num_workers=2, persistent_workers=persistent)
    for moment in count(first, 15):
        lines = 0

        def trace(frame, event, argument, moment=moment):
            nonlocal lines
            if frame.f_code.co_filename not in files or frame.f_code.co_name in ("stop", "_force", "__del__"):
                return None
            if event == "line":
                lines += 1
                if lines == moment:
                    raise Interrupt
            return trace

        batches, found, interrupted = iter(loader), [], False
        for _ in range(20):
            sys.settrace(trace)
            try:
                found.append(next(batches).tolist())
            except Interrupt:
                interrupted = True
            except StopIteration:
                break
            finally:
                sys.settrace(None)
        else:
            raise AssertionError(f"it did not end: {found}")
        wanted = [[i * i, (i + 1) ** 2] for i in range(0, 12, 2)]
        assert [batch for batch in wanted if batch in found] == found and len(found) >= len(wanted) - interrupted
        if not interrupted:
            assert moment > 100
            break


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1])
def test_signals_of_the_parent_while_it_waits(number):
    """A handler that raises ends the waiting, and workers know nothing of it."""
    loaded = torch.zeros(8).share_memory_()
    loader = DataLoader(Slow(8, loaded), num_workers=2, prefetch_factor=1, persistent_workers=True)
    before = signal.signal(number, lambda *_: (_ for _ in ()).throw(Interrupt()))
    try:
        batches = iter(loader)
        for _ in range(3):
            signal.setitimer(signal.ITIMER_REAL, 0)
            pid = os.fork()
            if not pid:
                time.sleep(0.05)
                os.kill(os.getppid(), number)
                os._exit(0)
            with pytest.raises(Interrupt):
                next(batches)
            os.waitpid(pid, 0)
        loaded.fill_(1)
        assert lists(batches) == [[i] for i in range(8)]
        for process in batches._workers:
            os.kill(process.pid, signal.SIGINT)
        assert lists(loader) == [[i] for i in range(8)]
    finally:
        signal.signal(number, before)


def test_signals_while_workers_are_left(monkeypatch):
    """Where a loop is left, its iterator's finalizer waits for the workers: a handler's exception is not lost in it."""
    monkeypatch.setattr(team, "PATIENCE", WAIT)
    before = signal.signal(signal.SIGUSR1, lambda *_: (_ for _ in ()).throw(Interrupt()))
    try:
        batches = iter(DataLoader(Slow(8, torch.zeros(8).share_memory_()), num_workers=1))
        pids = [process.pid for process in batches._workers]
        pid = os.fork()
        if not pid:
            time.sleep(0.1)
            os.kill(os.getppid(), signal.SIGUSR1)
            os._exit(0)
        with pytest.raises(Interrupt):
            del batches
            os.waitpid(pid, 0)
            time.sleep(WAIT)
        assert all(gone(pid) for pid in pids)
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_a_forked_child_leaves_the_workers_alone():
    loader = DataLoader(Squares(), num_workers=2, persistent_workers=True)
    batches = iter(loader)
    next(batches)
    pid = os.fork()
    if not pid:
        try:
            with pytest.raises(RuntimeError, match="are another process's"):
                list(batches)
            assert len(list(DataLoader(Squares(), num_workers=1))) == len(list(loader)) == 12
            del batches, loader
            gc.collect()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert len(list(batches)) == 11 and len(list(loader)) == 12


# --- what they load ------------------------------------------------------------------------------------------


class Everything(Dataset):
    """Samples of all kinds and sizes."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        tensors = [torch.full((i, 2), 1).to(dtype) for dtype in dtypes.ALL]
        large = torch.arange(100_000.0).reshape(100, 1000) * i
        arrays = {"a": np.arange(5_000) + i, "b": np.zeros((0, 3)), "c": np.asfortranarray(np.ones((40, 50)))}
        return (
            tensors,
            large.t(),
            large[3:5],
            arrays,
            "text" * 10_000,
            b"bytes",
            None,
            i,
            {"x": (1.5, [i])},
            torch.nn.Parameter(large),
        )


@pytest.mark.parametrize("method", METHODS)
def test_samples_of_all_kinds(method):
    alone = list(DataLoader(Everything(), batch_size=None))
    together = list(DataLoader(Everything(), batch_size=None, num_workers=2, multiprocessing_context=method))

    def plain(value):
        if isinstance(value, torch.Tensor):
            return type(value), value.dtype, value.requires_grad, tuple(value.shape), value.tolist()
        if isinstance(value, dict):
            return {key: plain(v) for key, v in value.items()}
        if isinstance(value, (tuple, list)):
            return [plain(v) for v in value]
        return type(value), value

    assert plain(together) == plain(alone)
    for tensor in together[1][1:3]:
        tensor.add_(1)  # the batch is the program's own
        tensor.numpy()[...] = 3
        assert tensor[0, 0].item() == 3


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("factor", [1, 3])
def test_order(workers, factor):
    options = {"batch_size": 2, "num_workers": workers, "prefetch_factor": factor}
    assert lists(DataLoader(Squares(13), **options)) == lists(DataLoader(Squares(13), batch_size=2))
    if workers == 2:
        slow = Slow(8, torch.zeros(8).share_memory_())
        assert lists(DataLoader(slow, **options | {"prefetch_factor": 8})) == [[i, i + 1] for i in range(0, 8, 2)]


def test_out_of_order():
    loaded = torch.zeros(8).share_memory_()
    found = lists(DataLoader(Slow(8, loaded), num_workers=2, in_order=False))
    assert sorted(found) == [[i] for i in range(8)] and found[0] != [0]


def test_large_lists_of_indices():
    class Numbers(Dataset):
        def __getitem__(self, i):
            return i

        def __getitems__(self, indices):
            return [len(indices)]

    sampler = [list(range(200_000))] * 9
    assert lists(DataLoader(Numbers(), batch_sampler=sampler, num_workers=1, prefetch_factor=9)) == [[200_000]] * 9


def test_a_pass_that_is_left_early_leaves_no_batches():
    loader = DataLoader(Squares(), num_workers=2, persistent_workers=True, prefetch_factor=4)
    for taken in (1, 3, 0):
        batches = iter(loader)
        for i in range(taken):
            assert next(batches).tolist() == [i * i]
    assert lists(loader) == [[i * i] for i in range(12)]
    endless = DataLoader(OneByOne("raise", "nowhere"), num_workers=2, persistent_workers=True)
    next(iter(endless))
    assert sorted(lists(endless)) == [[i] for i in range(8)]


def test_persistent_workers_are_replaced_where_they_are_gone():
    loader = DataLoader(Squares(), num_workers=2, persistent_workers=True)
    batches = iter(loader)
    assert iter(loader) is batches
    os.kill(batches._workers[0].pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="is killed by signal: Killed"):
        list(batches)
    with pytest.raises(RuntimeError, match="is killed by signal: Killed"):
        next(batches)
    assert len(list(loader)) == 12


def test_a_late_batch_may_still_come():
    loaded = torch.zeros(4).share_memory_()
    batches = iter(DataLoader(Slow(4, loaded), num_workers=1, timeout=0.1))
    with pytest.raises(RuntimeError, match="DataLoader timed out after 0.1 seconds"):
        next(batches)
    loaded.fill_(1)
    while True:
        try:
            assert next(batches).tolist() == [0]
            break
        except RuntimeError:
            continue


class Trained(Dataset):
    """Samples that take a network, and gradients, to make."""

    def __len__(self):
        return 6

    def __getitem__(self, i):
        torch.manual_seed(i)
        net = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
        update = torch.optim.Adam(net.parameters())
        for _ in range(4):
            update.zero_grad()
            loss = net(torch.randn(256, 64)).square().mean()
            loss.backward()
            update.step()
        return loss.item()


@pytest.mark.parametrize("method", METHODS)
def test_workers_compute(method, monkeypatch):
    """A worker that is forked from a process with threads, kernels in the air and a pending trace computes what it would alone."""
    alone = lists(DataLoader(Trained()))
    net = torch.nn.Linear(300, 300)
    update = torch.optim.SGD(net.parameters(), lr=1e-3)
    found = []
    for _ in range(3 if method == "fork" else 1):
        update.zero_grad()
        net(torch.ones(500, 300)).square().mean().backward()
        update.step()
        found = lists(DataLoader(Trained(), num_workers=2, multiprocessing_context=method))
    np.testing.assert_allclose(found, alone, rtol=1e-5)


class Cached(Dataset):
    def __init__(self, cache):
        self.cache = cache

    def __len__(self):
        return len(self.cache)

    def __getitem__(self, i):
        self.cache[i] += i
        return i


@pytest.mark.parametrize("method", METHODS)
def test_memory_that_is_shared_stays_shared(method):
    cache, other = torch.zeros(6).share_memory_(), torch.zeros(6)
    for data in (cache, other):
        list(DataLoader(Cached(data), num_workers=2, multiprocessing_context=method))
    assert cache.tolist() == [0, 1, 2, 3, 4, 5] and not other.any() and not other.is_shared()


def test_what_cannot_be_sent_to_a_new_process():
    data = Squares()
    data.function = lambda: None
    with pytest.warns(UserWarning, match="Got pickle error when attempting to start a worker Process"):
        with pytest.raises((AttributeError, TypeError)):
            iter(DataLoader(data, num_workers=2, multiprocessing_context="spawn"))
    assert lists(DataLoader(data, num_workers=1))[1] == [1]


def test_contexts():
    import multiprocessing

    context = multiprocessing.get_context("fork")
    loader = DataLoader(Squares(), num_workers=1, multiprocessing_context=context)
    assert loader.multiprocessing_context is context and len(list(loader)) == 12
    loader.multiprocessing_context = "spawn"
    assert loader.multiprocessing_context.get_start_method() == "spawn"
    with pytest.raises(TypeError, match="should be a valid context object or a string specifying the start method"):
        loader.multiprocessing_context = 3


def test_more_workers_than_cpus_are_warned_of():
    with pytest.warns(UserWarning, match="This DataLoader will create 4000 worker processes in total"):
        DataLoader(Squares(), num_workers=4000)


def test_iterators_are_not_pickled():
    import copy

    for workers in (0, 1):
        with pytest.raises(NotImplementedError, match="cannot be pickled"):
            copy.copy(iter(DataLoader(Squares(), num_workers=workers)))


@pytest.mark.parametrize(("spent", "loading", "said"), [(3.0, 1.0, True), (1.9, 1.0, False), (0.3, 0.1, False)])
def test_workers_that_do_not_pay(spent, loading, said, caplog, monkeypatch):
    """It is said once, when they have cost a program half a second."""
    monkeypatch.setattr(processes.Costs, "lost", 0.0)
    monkeypatch.setattr(processes.Costs, "told", False)
    with caplog.at_level(logging.WARNING, "flambeau"):
        for _ in range(2):
            costs = processes.Costs(spent)
            costs.loading, costs.batches = loading, 7
            costs.tell(2)
    assert len(caplog.records) == said
    if said:
        assert "num_workers=2 slows this program down" in caplog.text and "to load 7 batches" in caplog.text


def test_workers_of_one_tensor_dataset():
    data = TensorDataset(torch.arange(10.0), torch.arange(10))
    found = [[t.tolist() for t in batch] for batch in DataLoader(data, batch_size=4, num_workers=2, drop_last=True)]
    assert found == [[[0.0, 1.0, 2.0, 3.0], [0, 1, 2, 3]], [[4.0, 5.0, 6.0, 7.0], [4, 5, 6, 7]]]


def test_each_worker_iterates_over_all_of_its_copy():
    class Same(IterableDataset):
        def __iter__(self):
            return iter([get_worker_info().id] * 2)

    assert lists(DataLoader(Same(), num_workers=2)) == [[0], [1], [0], [1]]


@pytest.mark.parametrize("call", range(1, 4))
def test_a_handler_that_raises_while_a_worker_starts_leaves_no_signal_blocked(call, monkeypatch):
    """As where a handler raises when the signal mask has just been read, or changed."""
    change, calls = signal.pthread_sigmask, []

    def interrupted(*args):
        before = change(*args)
        calls.append(args)
        if len(calls) == call:
            raise TimeoutError
        return before

    before = change(signal.SIG_BLOCK, [])
    monkeypatch.setattr(signal, "pthread_sigmask", interrupted)
    with pytest.raises(TimeoutError):
        iter(DataLoader(list(range(4)), num_workers=1))
    assert change(signal.SIG_BLOCK, []) == before


def test_what_has_come_can_be_dropped_when_the_sender_has_ended():
    """It has ended without reading all that it was sent."""
    channel, theirs = channels.connect()
    other = channels.Channel(theirs)
    other.send(channels.Message("reply"))
    assert channel.peek() == "reply"
    channel.send(channels.Message("task"))
    other.close()
    channel.drop()
    with pytest.raises(EOFError):
        channel.peek()
    channel.close()

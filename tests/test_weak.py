"""Dicts of what lives only as long as somebody else holds it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading

import pytest

import flambeau as torch
from flambeau.core.shared_memory import Segment
from flambeau.core.weak import FEW, WeakValues


class Thing:
    pass


def test_what_lives_is_found_and_what_has_died_is_forgotten():
    known: WeakValues[Thing] = WeakValues()
    held = {k: known.add(k, Thing()) for k in range(3 * FEW)}
    assert all(known.get(k) is thing for k, thing in held.items())
    assert known.add(5, Thing()) is held[5]
    for k in range(1000, 1000 + 100 * FEW):
        known.add(k, Thing())
    assert known.get(1000) is None
    assert sorted(map(id, known.values())) == sorted(map(id, held.values()))
    assert len(known._refs) <= 2 * len(held) + 1
    known.clear()
    assert known.get(5) is None and not known.values()


def test_all_threads_get_the_same():
    known: WeakValues[Thing] = WeakValues()
    found: list[list[Thing]] = [[], [], []]
    start = threading.Barrier(3)

    def add(mine: list[Thing]) -> None:
        start.wait()
        mine.extend(known.add(k, Thing()) for k in range(2000))

    threads = [threading.Thread(target=add, args=(mine,)) for mine in found]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert found[0] == found[1] == found[2]


@pytest.fixture
def unraisable(monkeypatch):
    """What was raised where it is lost."""
    lost: list = []
    monkeypatch.setattr("sys.unraisablehook", lambda args: lost.append(args.exc_value))
    return lost


def _rows():
    data = torch.arange(20.0).reshape(10, 2) + 0
    data.sum().item()
    window = data[2:4] * 1
    return lambda: window.sum().item()


def _segment():
    box = [Segment.create(10)]
    return box.clear


def _hooked():
    x = torch.ones(2, requires_grad=True)
    y = (x * 2).sum()
    torch.autograd.graph.register_multi_grad_hook([x], lambda grads: None)
    return y.backward


@pytest.mark.parametrize("make", [_rows, _segment, _hooked])
def test_nothing_that_dies_runs_python_code(make, unraisable):
    """Handlers run in such code, and what they raise is lost."""
    before = gc.isenabled()
    gc.disable()
    act = make()
    called: list[str] = []

    def profile(frame, event: str, arg) -> None:
        name = frame.f_code.co_filename
        if event == "call" and ("weakref.py" in name or "_weakrefset.py" in name or frame.f_code.co_name == "__del__"):
            called.append(f"{name}: {frame.f_code.co_name}")

    sys.setprofile(profile)
    try:
        act()
    finally:
        sys.setprofile(None)
        if before:
            gc.enable()
    assert not called and not unraisable


def test_a_descriptor_is_closed_once():
    segment = Segment.create(10)
    fd = segment.fd
    segment.close()
    with pytest.raises(OSError):
        os.fstat(fd)
    again = os.dup(0)  # likely of the same number
    del segment
    os.fstat(again)
    os.close(again)


FORK = """
import ctypes, os, signal, threading
from functools import partial

if __name__ == "__main__":
    # As if the signal had come while the system was forking: it is there when the first function is called afterwards.
    os.register_at_fork(after_in_parent=partial(ctypes.CDLL(None).kill, os.getpid(), signal.SIGTERM))
    import flambeau as torch

    class Raised(Exception):
        pass

    def handler(number, frame):
        raise Raised

    def draw():
        torch.rand(5).sum().item()
        done.set()

    signal.signal(signal.SIGTERM, handler)
    torch.rand(5).sum().item()
    for _ in range(3):
        try:
            child = os.fork()
            if child == 0:
                torch.rand(5).sum().item()
                os._exit(0)
            print("lost")
        except Raised:
            assert os.wait()[1] == 0
            done = threading.Event()
            threading.Thread(target=draw, daemon=True).start()
            print("raised" if done.wait(60) else "locked", flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_signal_during_a_fork_is_raised_behind_it_and_locks_nothing():
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], capture_output=True, text=True, timeout=300)
    assert done.stdout.split() == ["raised"] * 3
    assert done.stderr == ""


EXIT = """
import flambeau as torch

def forever():
    try:
        while True:
            yield torch.ones(3) * 2
    finally:
        print((torch.ones(3) * 3).sum().item())

if __name__ == "__main__":
    values = forever()
    next(values)
"""


def test_a_generator_that_ends_with_the_interpreter_may_compute():
    done = subprocess.run([sys.executable, "-c", EXIT], capture_output=True, text=True, timeout=300)
    assert (done.stdout.strip(), done.stderr) == ("9.0", "")


class Full:
    """Memory that cannot be copied."""

    def __init__(self, value) -> None:
        self.value = value

    def copy(self):
        raise MemoryError


def test_a_write_that_finds_no_memory_for_what_others_see_is_not_done(monkeypatch):
    data = torch.arange(20000.0).reshape(10000, 2) + 0
    data.sum().item()
    sums = data[2:9000] * 1
    (window,) = data._storage.windows.values()
    value, window.value = window.value, Full(window.value)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        data.add_(1)
    window.value = value
    data.add_(1)
    assert sums[:2].tolist() == [[4.0, 5.0], [6.0, 7.0]]
    assert data[2].tolist() == [5.0, 6.0]

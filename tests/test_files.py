"""Files that are written whole or not at all: full disks, killed processes, folders and files that refuse."""

from __future__ import annotations

import errno
import gc
import io
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

import flambeau as torch
from flambeau.serialization import files

STATE = {"a": torch.arange(3000.0), "b": torch.ones(70), "c": "text" * 50}


@contextmanager
def nothing_ignored(monkeypatch, but=()):
    """Python prints an exception that it cannot raise ("Exception ignored in ..."); here it is an error."""
    ignored = []
    with monkeypatch.context() as patch:
        patch.setattr(sys, "unraisablehook", ignored.append)
        yield
        gc.collect()
    ignored = [one.exc_value for one in ignored if not isinstance(one.exc_value, but)]
    assert not ignored


@contextmanager
def file_size_limit(size):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_disk_that_is_full_at_any_place(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    torch.save(STATE, path)
    whole = path.stat().st_size
    torch.save("old", path)
    for limit in [*range(0, 1500, 149), *range(1500, whole - 1600, 4009), *range(whole - 1600, whole, 149), whole - 1]:
        with nothing_ignored(monkeypatch), pytest.raises(OSError, match="File too large"), file_size_limit(limit):
            torch.save(STATE, path)
        assert os.listdir(tmp_path) == ["x.pt"]
    assert torch.load(path) == "old"
    with file_size_limit(whole):
        torch.save(STATE, path)
    assert torch.load(path)["a"].sum() == STATE["a"].sum()


class Failing(io.RawIOBase):
    """A file object that raises ``error`` at one of its writes."""

    def __init__(self, turn, error):
        self.turns, self.turn, self.error = 0, turn, error

    def writable(self):
        return True

    def write(self, data):
        self.turns += 1
        if self.turns == self.turn:
            raise self.error
        return len(data)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError("closed"), MemoryError()], ids=type
)
def test_a_file_object_that_fails_at_any_write(error, monkeypatch):
    counter = Failing(0, error)
    torch.save(STATE, counter)
    assert counter.turns > 20
    with nothing_ignored(monkeypatch):
        for turn in range(1, counter.turns + 1):
            with pytest.raises(type(error)):
                torch.save(STATE, Failing(turn, error))


def test_an_interrupt_at_any_line(tmp_path, monkeypatch):
    """Whatever line of the saving is interrupted: the file is the old one or the new one, and there is no other."""
    path = tmp_path / "x.pt"
    torch.save("old", path)
    lines = 0
    seen = set()

    def trace(frame, event, argument):
        nonlocal lines
        if frame.f_code.co_filename != files.__file__:
            return None
        if event == "line":
            lines += 1
            if lines == stop:
                raise KeyboardInterrupt
        return trace

    monkeypatch.setattr(os, "fsync", lambda handle: None)  # takes its time
    with nothing_ignored(monkeypatch, but=ResourceWarning):  # at the end of a "with" nothing can help
        for stop in range(1, 200):
            lines = 0
            sys.settrace(trace)
            try:
                torch.save("new", path)
            except KeyboardInterrupt:
                pass
            finally:
                sys.settrace(None)
            seen.add(torch.load(path))
            left = set(os.listdir(tmp_path)) - {"x.pt"}
            assert not left or lines >= stop, left
            if lines < stop:
                break
            torch.save("old", path)
            assert os.listdir(tmp_path) == ["x.pt"]
    assert seen == {"old", "new"} and 20 < stop < 199


KILLED = """
import os, signal, sys, threading
import flambeau as torch
from flambeau.serialization import files
path, steps = sys.argv[1], int(sys.argv[2])

def trace(frame, event, argument):
    global steps
    if frame.f_code.co_filename == files.__file__ and event == "line":
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return trace

sys.settrace(trace)
torch.save(torch.ones(1000), path)
"""


def test_what_a_killed_process_leaves_is_removed_by_the_next_save(tmp_path):
    path, other = tmp_path / "x.pt", tmp_path / "x.pt.1"
    torch.save(torch.zeros(1000), path)
    torch.save("other", other)
    left = set()
    for steps in (30, 36):
        result = subprocess.run([sys.executable, "-c", KILLED, path, str(steps)], check=False)
        assert result.returncode == -signal.SIGKILL
        assert torch.load(path).sum() in (0, 1000)
        left |= {name for name in os.listdir(tmp_path) if name.startswith(".")}
    assert left and all(name.startswith(".x.pt.") and name.endswith(".unfinished") for name in left)
    torch.save("again", other)
    torch.save("new", path)
    assert sorted(os.listdir(tmp_path)) == ["x.pt", "x.pt.1"] and torch.load(path) == "new"


def test_nobody_removes_what_is_being_written(tmp_path):
    """Several threads save the same file at once, and each of them ends well."""
    path = str(tmp_path / "x.pt")
    errors = []

    def work(k):
        try:
            for _ in range(20):
                torch.save([k] * 100, path)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and os.listdir(tmp_path) == ["x.pt"] and len(set(torch.load(path))) == 1


def test_only_files_of_this_target_are_removed(tmp_path):
    keep = [".y.pt.0123456789ab.unfinished", ".x.pt.0123456789ab.tmp", ".x.pt.unfinished", ".x.pt.0123.unfinished",
            "x.pt.0123456789ab.unfinished", ".x.pt.1.0123456789ab.unfinished", ".xapt.0123456789ab.unfinished"]  # fmt: skip
    for name in keep:
        (tmp_path / name).write_text("")
    (tmp_path / ".x.pt.0123456789ab.unfinished").write_text("")
    os.mkfifo(tmp_path / ".x.pt.aaaaaaaaaaaa.unfinished")
    torch.save(1, tmp_path / "x.pt")
    assert set(keep) | {"x.pt"} == set(os.listdir(tmp_path))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_in_which_nothing_can_be_made(tmp_path, monkeypatch, number):
    """A file that can be written is written all the same; one that is not there cannot be made."""
    path = tmp_path / "x.pt"
    torch.save("old" * 1000, path)
    before = path.stat().st_ino

    def no_new_file(name, mode="r", **options):
        if mode == "xb":
            raise OSError(number, os.strerror(number), name)
        return open(name, mode, **options)

    monkeypatch.setattr(files, "open", no_new_file, raising=False)
    torch.save("new", path)
    assert torch.load(path) == "new" and path.stat().st_ino == before
    with pytest.raises(OSError, match=os.strerror(number)):
        torch.save("new", tmp_path / "y.pt")
    assert os.listdir(tmp_path) == ["x.pt"]


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EPERM, errno.EACCES])
def test_a_file_that_cannot_be_replaced(tmp_path, monkeypatch, number):
    """A mount point, or another user's file in a folder such as /tmp."""
    path = tmp_path / "x.pt"
    torch.save("old" * 1000, path)

    def cannot(*names):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", cannot)
    torch.save("new", path)
    assert torch.load(path) == "new" and os.listdir(tmp_path) == ["x.pt"]
    with pytest.raises(OSError, match=os.strerror(number)):
        torch.save("new", tmp_path / "y.pt")
    assert os.listdir(tmp_path) == ["x.pt"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(tmp_path):
    path = tmp_path / "x.pt"
    torch.save("old", path)
    os.chown(path, 12345, 23456)
    path.chmod(0o640)
    torch.save("new", path)
    status = path.stat()
    assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (12345, 23456, 0o640)


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "é" + "x" * 250])
def test_long_names(tmp_path, name):
    torch.save(1, tmp_path / name)
    torch.save(2, tmp_path / name)
    assert torch.load(tmp_path / name) == 2 and os.listdir(tmp_path) == [name]

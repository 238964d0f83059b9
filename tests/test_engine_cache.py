"""Machine code on disk: kept between sessions and processes, bounded, and never trusted when damaged."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from hashlib import blake2b, sha256

import numpy as np
import pytest

pytest.importorskip("llvmlite")

from flambeau.core import config
from flambeau.core import dtypes as D
from flambeau.engine.cpu import compiler
from flambeau.engine.cpu.cache import Cache
from flambeau.engine.cpu.codegen import loop_ir, loop_kernel
from flambeau.engine.loops import Access, Instr, Loop

ACCESS = Access(D.float32, (1,))


def square(n):
    body = (Instr("input", D.float32, (), 0), Instr("mul", D.float32, (0, 0)))
    return Loop((n,), 0, (ACCESS,), (), body, ((1, ACCESS),))


def check_square(n, session):
    x = np.arange(n, dtype=np.float32)
    y = np.empty_like(x)
    args = (ctypes.c_void_p * 3)(x.ctypes.data, y.ctypes.data, 0)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(loop_kernel(square(n), session))(ctypes.addressof(args))
    np.testing.assert_array_equal(y, x * x)


def new_session(directory, level=""):
    return compiler.Session(compiler.machine(level), Cache(directory))


def test_second_session_loads(tmp_path):
    first, second = new_session(tmp_path), new_session(tmp_path)
    check_square(20, first)
    check_square(20, first)
    assert (first.stats.compiled, first.stats.loaded) == (1, 0)
    check_square(20, second)
    assert (second.stats.compiled, second.stats.loaded) == (0, 1)
    check_square(21, second)
    assert (second.stats.compiled, second.stats.loaded) == (1, 1)


def test_machines_have_entries_of_their_own(tmp_path):
    for level in ("", "generic"):
        session = new_session(tmp_path, level)
        check_square(20, session)
        assert (session.stats.compiled, session.stats.loaded) == (1, 0)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "foreign"])
def test_damaged_entries_are_compiled_again(tmp_path, damage):
    check_square(20, new_session(tmp_path))
    (entry,) = tmp_path.glob("*/*.o")
    content = entry.read_bytes()
    middle = len(content) // 2
    entry.write_bytes({
        "empty": b"",
        "cut": content[:middle],
        "flipped": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "foreign": b"not machine code at all" * 100,
    }[damage])  # fmt: skip
    session = new_session(tmp_path)
    check_square(20, session)
    assert (session.stats.compiled, session.stats.loaded) == (1, 0)
    assert entry.read_bytes() == content


def test_size_is_bounded(tmp_path):
    """A shard that takes more than its share of the limit loses the entries that were not used for longest."""
    cache = Cache(tmp_path, limit=256 * 10 * 4096)
    keys = [f"ab{k:x}" for k in range(1, 13)]
    for k, key in enumerate(keys):
        cache.store(key, bytes(1000))
        os.utime(tmp_path / "ab" / f"{key}.o", (k, k))
    assert cache.size() == (12, 12 * 4096)  # a small file takes a block of the disk
    assert cache.load(keys[0]) == bytes(1000)  # used again just now
    cache.store("ab0", bytes(1000))  # one key in 16 looks at the size
    left = {path.stem for path in (tmp_path / "ab").iterdir()}
    assert left == {"ab0", keys[0], *keys[-3:]}
    assert cache.load(keys[1]) is None
    assert cache.size() == (5, 5 * 4096)


def test_no_directory_no_cache(tmp_path, monkeypatch):
    """Where the disk refuses, programs run all the same."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLAMBEAU_CACHE_DIR", str(tmp_path / "file"))
    assert Cache.default() is None
    gone = Cache(tmp_path / "never made")
    gone.store("00aa", b"code")
    assert gone.load("00aa") is None and gone.size() == (0, 0)
    check_square(20, compiler.Session(compiler.machine(), gone))


# --- what somebody else could have put there ---


def _replace(path, content=None, mode=0o600):
    path.unlink()
    if content is not None:
        path.write_bytes(content)
        path.chmod(mode)


def _pipe(entry):
    _replace(entry)
    os.mkfifo(entry, 0o600)


def _directory(entry):
    _replace(entry)
    entry.mkdir(0o700)


def _link(entry):
    elsewhere = entry.parent.parent / "elsewhere.o"
    entry.rename(elsewhere)
    entry.symlink_to(elsewhere)


def _linked_shard(entry):
    elsewhere = entry.parent.parent / "elsewhere"
    entry.parent.rename(elsewhere)
    entry.parent.symlink_to(elsewhere)


def _other_name(entry):
    """The code of another kernel under this one's name: it is whole, and of this user."""
    other = next(path for path in entry.parent.parent.glob("*/*.o") if path != entry)
    _replace(entry, other.read_bytes())


def _digest_without_secret(entry):
    payload = b"not machine code" * 100
    for digest in (sha256(payload), blake2b(payload, digest_size=32), blake2b(entry.stem.encode() + payload, digest_size=32)):
        _replace(entry, digest.digest() + payload)
        assert Cache(entry.parent.parent).load(entry.stem) is None


HOSTILE = {
    "a pipe": _pipe,
    "a directory": _directory,
    "a link": _link,
    "a shard that is a link": _linked_shard,
    "a link to nothing": lambda entry: (_replace(entry), entry.symlink_to("nothing")),
    "a device": lambda entry: (_replace(entry), entry.symlink_to("/dev/zero")),
    "a file that others may write": lambda entry: entry.chmod(0o602),
    "a file that the group may write": lambda entry: entry.chmod(0o620),
    "a shard that others may write": lambda entry: entry.parent.chmod(0o707),
    "a shard that anybody may add to": lambda entry: entry.parent.chmod(0o1777),
    "a directory that the group may write": lambda entry: entry.parent.parent.chmod(0o770),
    "a directory that others may write": lambda entry: entry.parent.parent.chmod(0o703),
    "a parent that others may write": lambda entry: entry.parent.parent.parent.chmod(0o707),
    "the code of another kernel": _other_name,
    "a digest that anybody can compute": _digest_without_secret,
    "a secret that others can read": lambda entry: (entry.parent.parent / "secret").chmod(0o644),
    "another secret": lambda entry: _replace(entry.parent.parent / "secret", bytes(32)),
    "a short secret": lambda entry: _replace(entry.parent.parent / "secret", b"short"),
    "no secret": lambda entry: _replace(entry.parent.parent / "secret"),
    "a secret that is a pipe": lambda entry: _pipe(entry.parent.parent / "secret"),
    "a secret that is a directory": lambda entry: _directory(entry.parent.parent / "secret"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_only_what_this_user_wrote_is_executed(tmp_path, kind):
    directory = tmp_path / "above" / "code"
    directory.mkdir(0o700, parents=True)
    session = new_session(directory)
    check_square(20, session)
    (entry,) = directory.glob("*/*.o")
    check_square(30, session)
    HOSTILE[kind](entry)
    session = new_session(directory)
    check_square(20, session)
    assert (session.stats.compiled, session.stats.loaded) == (1, 0)


@pytest.mark.parametrize("target", ["entry", "shard", "code"])
def test_what_another_user_owns_is_not_executed(tmp_path, monkeypatch, target):
    check_square(20, new_session(tmp_path))
    (entry,) = tmp_path.glob("*/*.o")
    foreign = {"entry": entry, "shard": entry.parent, "code": tmp_path}[target].stat().st_ino
    fstat = os.fstat

    def of_somebody_else(handle):
        status = fstat(handle)
        return os.stat_result([*status[:4], status.st_uid + 1, *status[5:]]) if status.st_ino == foreign else status

    monkeypatch.setattr(os, "fstat", of_somebody_else)
    session = new_session(tmp_path)
    check_square(20, session)
    assert (session.stats.compiled, session.stats.loaded) == (1, 0)
    if target == "code":
        assert "it belongs to user" in Cache(tmp_path).refusal()
        assert not session.disk.load(entry.stem) and session.disk.size() == (0, 0)


def test_whoever_writes_the_secret_is_the_only_one_to_read_it(tmp_path):
    Cache(tmp_path).store("00aa", b"code")
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600
    assert len((tmp_path / "secret").read_bytes()) == 32
    assert Cache(tmp_path).load("00aa") == b"code"


def test_garbage_that_this_user_stored_is_not_executed(tmp_path):
    """LLVM reads whatever it is given, and dies of what is no object file."""
    session = new_session(tmp_path)
    check_square(20, session)
    (entry,) = tmp_path.glob("*/*.o")
    code = session.disk.load(entry.stem)
    rng = np.random.default_rng(0)
    lengths = [0, 1, 4, 63, 64, *rng.integers(0, len(code), 20).tolist()]
    cut = [code[:n] for n in lengths]
    for garbage in [
        *cut,
        *[rng.bytes(n) for n in lengths],
        *[code[:4] + rng.bytes(n) for n in lengths],
        code + b"x",
        bytes(len(code)),
    ]:
        session.disk.store(entry.stem, garbage)
        again = new_session(tmp_path)
        check_square(20, again)
        assert (again.stats.compiled, again.stats.loaded) == (1, 0)
        assert again.disk.load(entry.stem) == code


PROCESS = """
import sys
import numpy as np
from flambeau.engine.cpu import compiler
sys.path.insert(0, {tests!r})
from test_engine_cache import check_square
for n in range(2, 12):
    check_square(n, compiler.session())
stats = compiler.session().stats
print(stats.compiled, stats.loaded)
"""


@pytest.mark.skipif(config.guard, reason="the guards' own kernel is counted, too")
def test_several_processes_at_once(tmp_path):
    """They write the same entries at the same time; a later one finds all of them, whole."""
    environment = os.environ | {"FLAMBEAU_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", PROCESS.format(tests=os.path.dirname(__file__))]

    def start():
        return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)

    processes = [start() for _ in range(3)]
    counts = [tuple(map(int, p.communicate()[0].split())) for p in processes]
    assert all(sum(c) == 10 for c in counts)
    assert start().communicate()[0].split() == ["0", "10"]
    files = list((tmp_path / "code").glob("*/*"))
    assert len(files) == 10 and all(f.suffix == ".o" for f in files), "something temporary was left"
    for directory in (tmp_path / "code", *(tmp_path / "code").iterdir()):  # shards, and the secret
        assert directory.stat().st_mode & 0o077 == 0, "others can put machine code there"


def test_abandoned_temporary_files_go(tmp_path):
    """What a killed process left half written is removed in time."""
    (tmp_path / "ab").mkdir()
    old = tmp_path / "ab" / "abandoned.tmp"
    old.write_bytes(bytes(100))
    hours_ago = time.time() - 7200
    os.utime(old, (hours_ago, hours_ago))
    fresh = tmp_path / "ab" / "fresh.tmp"
    fresh.write_bytes(bytes(100))
    Cache(tmp_path).prune("ab")
    assert not old.exists() and fresh.exists()


def test_driver_runs_calls_in_order():
    n = 16
    x = np.arange(n, dtype=np.float32)
    y, z = np.empty_like(x), np.empty_like(x)
    kernel = loop_kernel(square(n))
    first = (ctypes.c_void_p * 3)(x.ctypes.data, y.ctypes.data, 0)
    second = (ctypes.c_void_p * 3)(y.ctypes.data, z.ctypes.data, 0)
    calls = (ctypes.c_void_p * 4)(kernel, ctypes.addressof(first), kernel, ctypes.addressof(second))
    state = (ctypes.c_int64 * 2)(ctypes.addressof(calls), 0)
    run = compiler.driver()

    def run_until(count):
        while state[1] < count:  # it comes back before when a moment has passed
            before = state[1]
            assert run(ctypes.addressof(state), count) is None
            assert before < state[1] <= count

    z[:] = -1
    run_until(1)
    np.testing.assert_array_equal(y, x**2)
    assert state[1] == 1 and (z == -1).all()
    y[:] = x + 1  # what has been called is not called again
    run_until(2)
    np.testing.assert_array_equal(y, x + 1)
    np.testing.assert_array_equal(z, (x + 1) ** 2)
    assert run(ctypes.addressof(state), 0) is None and state[:] == [ctypes.addressof(calls), 2]
    state[1], y[:], z[:] = 0, -1, -1
    assert run(ctypes.addressof(state), 0) is None and state[1] == 0 and (y == -1).all()
    run_until(2)
    np.testing.assert_array_equal(y, x**2)
    np.testing.assert_array_equal(z, x**4)
    for wrong in [(), (1,), ("a", 1), (1, "a"), (-1, 2**70)]:
        with pytest.raises((TypeError, OverflowError)):
            run(*wrong)


def test_machines():
    with pytest.raises(ValueError, match="'sse9' is no level of this CPU"):
        compiler.machine("sse9")
    assert compiler.machine().vector_bytes in (16, 32, 64)


def test_code_reaches_its_constants_however_far_away_they_lie():
    """A program that maps much memory may have them more than 2 GiB apart."""
    session = compiler.session()
    body = (Instr("input", D.float32, (), 0), Instr("exp", D.float32, (0,)))
    assembly = session.assembly(loop_ir(Loop((64,), 0, (ACCESS,), (), body, ((1, ACCESS),)), session.machine, "far"))
    assert ".LCPI" in assembly  # it has constants in memory
    assert "(%rip)" not in assembly

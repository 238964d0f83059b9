"""Machine code kept on disk between runs, for any number of processes at once.

What is found here is executed, so it must come from this user. An entry is believed if all of this holds:

- The directory, the shard and the file belong to the user that the process runs as, and nobody else may write to them.
  They are opened first and looked at afterwards, so that nothing can be exchanged in between; links and whatever is not
  a regular file (a pipe, a device) are refused.
- The entry begins with a digest of its key and its payload under a secret that only this user can read. So it was
  written by this user, under this name, and is whole.

Whoever can write as this user, or as root, is trusted; they could change the program itself. Everything else that stands
in the directory counts as absent. The cache must not fail a program: where the disk refuses, there is no cache.

Entries are written under a name of their own and renamed, so a reader sees all of one or nothing. They are spread over
shards, directories named by the first two digits of the key, and each shard is kept below its share of the limit. So a
look at the size is one at a few hundred files.
"""

from __future__ import annotations

import os
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path

LIMIT = 256 << 20
"""Bytes that the cache may take before the entries that were not used for longest go."""

_SHARDS = 256
_BLOCK = 4096  # what a file takes is a multiple of this
_DIGEST = 32
_ABANDONED = 3600  # seconds after which an unfinished file is that of a process that was killed
_SECRET = "secret"
# A pipe must not keep the reader waiting, nor a link lead elsewhere.
_READ = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)


class Cache:
    """A directory of entries; keys are hexadecimal digits."""

    def __init__(self, directory: Path, limit: int = LIMIT) -> None:
        self.directory = directory
        self.limit = limit
        self._secret = b""

    @classmethod
    def default(cls) -> Cache | None:
        """The cache in ``FLAMBEAU_CACHE_DIR`` or ``~/.cache/flambeau``; ``None`` if there can be no directory."""
        named = os.environ.get("FLAMBEAU_CACHE_DIR")
        try:
            directory = Path(named) if named else Path.home() / ".cache" / "flambeau"
            directory = directory.resolve() / "code"
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (OSError, RuntimeError):
            return None
        return cls(directory)

    def refusal(self) -> str | None:
        """Why nothing is read or written here; ``None`` where all is well.

        >>> Cache(Path("/nowhere")).refusal()
        "[Errno 2] No such file or directory: '/nowhere'"
        """
        try:
            with self._opened():
                return None
        except OSError as error:
            return str(error)

    def load(self, key: str) -> bytes | None:
        """The payload stored under ``key``, or ``None``."""
        try:
            with self._opened(key[:2]) as shard:
                content = _read(f"{key}.o", shard)
        except OSError:
            return None
        payload = content[_DIGEST:]
        return payload if self._digest(key, payload) == content[:_DIGEST] else None

    def store(self, key: str, payload: bytes) -> None:
        """Keeps ``payload`` under ``key``."""
        try:
            with self._opened() as directory, suppress(FileExistsError):
                os.mkdir(key[:2], 0o700, dir_fd=directory)
            with self._opened(key[:2]) as shard:
                _write(f"{key}.o", self._digest(key, payload) + payload, shard)
        except OSError:
            return
        if key[2] == "0":  # one in 16
            self.prune(key[:2])

    def prune(self, shard: str) -> None:
        """Removes a shard's entries used least recently until the rest takes half of its share, if it is over it."""
        with suppress(OSError), self._opened(shard) as directory:
            entries = []
            abandoned = time.time() - _ABANDONED
            for name, status in _files(directory):
                if not name.endswith(".tmp"):
                    entries.append((status.st_mtime, _occupied(status), name))
                elif status.st_mtime < abandoned:
                    _remove(name, directory)
            total, share = sum(size for _, size, _ in entries), self.limit // _SHARDS
            if total <= share:
                return
            for _, size, name in sorted(entries):
                _remove(name, directory)
                total -= size
                if total <= share // 2:
                    return

    def size(self) -> tuple[int, int]:
        """How many entries there are, and how many bytes they take on disk."""
        sizes = []
        for n in range(_SHARDS):
            with suppress(OSError), self._opened(f"{n:02x}") as shard:
                sizes += [_occupied(status) for name, status in _files(shard) if name.endswith(".o")]
        return len(sizes), sum(sizes)

    def _digest(self, key: str, payload: bytes) -> bytes:
        digest = blake2b(key.encode(), digest_size=_DIGEST, key=self._secret)
        digest.update(payload)
        return digest.digest()

    @contextmanager
    def _opened(self, shard: str = "") -> Iterator[int]:
        """The directory, or one of its shards, open; ``OSError`` where it is not this user's alone."""
        if shard and not self._secret:
            with self._opened():
                pass
        handle = _open_private(f"{self.directory}/{shard}" if shard else str(self.directory), os.O_DIRECTORY)
        try:
            if not self._secret:
                _check_parents(self.directory)
                self._secret = _secret(handle)
            yield handle
        finally:
            os.close(handle)


def _open_private(name: str, kind: int = 0, directory: int | None = None, others: int = 0o022) -> int:
    """Opens a file or, with ``kind`` ``O_DIRECTORY``, a directory; ``OSError`` unless it is this user's alone.

    ``others``: the bits of the mode that must not be set.
    """
    handle = os.open(name, _READ | kind, dir_fd=directory)
    status = os.fstat(handle)
    problem = None
    if not (kind or stat.S_ISREG(status.st_mode)):
        problem = "it is no regular file"
    elif status.st_uid != os.geteuid():
        problem = f"it belongs to user {status.st_uid}, and this program runs as user {os.geteuid()}"
    elif status.st_mode & others:
        problem = f"other users may {'write to' if status.st_mode & 0o022 else 'read'} it"
    if problem:
        os.close(handle)
        raise PermissionError(f"{name} is not used: {problem}")
    return handle


def _check_parents(directory: Path) -> None:
    """``OSError`` where anybody may put another directory in the place of one above this one."""
    for parent in directory.parents:
        mode = os.stat(parent).st_mode
        if mode & 0o002 and not mode & stat.S_ISVTX:
            raise PermissionError(f"{directory} is not used: other users may write to {parent}")


def _read(name: str, directory: int, others: int = 0o022) -> bytes:
    with open(_open_private(name, 0, directory, others), "rb", buffering=0) as file:
        content = file.read()
        with suppress(OSError):
            os.utime(file.fileno())  # used just now
    return content


def _write(name: str, content: bytes, directory: int, replace: bool = True) -> None:
    """Makes the file; with ``replace=False`` an earlier one stays."""
    temporary = f"{name}.{os.getpid()}.{threading.get_ident()}.tmp"
    handle = os.open(temporary, _CREATE, 0o600, dir_fd=directory)
    try:
        with open(handle, "wb") as file:
            file.write(content)
        if replace:
            os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        else:
            with suppress(FileExistsError):
                os.link(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
            os.unlink(temporary, dir_fd=directory)
    except BaseException:
        _remove(temporary, directory)
        raise


def _secret(directory: int) -> bytes:
    """The secret of this user's cache, made when it is first needed."""
    with suppress(OSError):
        secret = _read(_SECRET, directory, others=0o077)
        if len(secret) == _DIGEST:
            return secret
    _remove(_SECRET, directory)
    _write(_SECRET, os.urandom(_DIGEST), directory, replace=False)  # of several processes one is the first
    return _read(_SECRET, directory, others=0o077)


def _files(directory: int) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(directory) as files:
        for file in files:
            with suppress(OSError):  # another process removes files too
                yield file.name, file.stat(follow_symlinks=False)


def _occupied(status: os.stat_result) -> int:
    return -(-status.st_size // _BLOCK) * _BLOCK


def _remove(name: str, directory: int) -> None:
    with suppress(OSError):
        os.unlink(name, dir_fd=directory)

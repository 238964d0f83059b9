"""Machine code kept on disk between runs, for any number of processes at once.

Every entry is a file of its own, named by its key: a digest of the payload, then the payload. Files are written
under a name of their own and renamed, so a reader sees all of an entry or nothing. An entry that is damaged counts
as absent. The cache must not fail a program: where the disk refuses, there is no cache.

Entries are spread over shards, directories named by the first two digits of the key, and each shard is kept below its
share of the limit. So a look at the size is one at a few hundred files.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

LIMIT = 256 << 20
"""Bytes that the cache may take before the entries that were not used for longest go."""

_SHARDS = 256
_BLOCK = 4096  # what a file takes is a multiple of this
_DIGEST = 32
_ABANDONED = 3600  # seconds after which an unfinished file is that of a process that was killed


class Cache:
    """A directory of entries; keys are hexadecimal digits."""

    def __init__(self, directory: Path, limit: int = LIMIT) -> None:
        self.directory = directory
        self.limit = limit

    @classmethod
    def default(cls) -> Cache | None:
        """The cache in ``FLAMBEAU_CACHE_DIR`` or ``~/.cache/flambeau``; ``None`` if there can be no directory."""
        named = os.environ.get("FLAMBEAU_CACHE_DIR")
        try:
            directory = Path(named) if named else Path.home() / ".cache" / "flambeau"
            directory = directory / "code"
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (OSError, RuntimeError):
            return None
        return cls(directory)

    def load(self, key: str) -> bytes | None:
        """The payload stored under ``key``, or ``None``."""
        path = f"{self.directory}/{key[:2]}/{key}.o"
        try:
            with open(path, "rb") as file:
                content = file.read()
        except OSError:
            return None
        payload = content[_DIGEST:]
        if sha256(payload).digest() != content[:_DIGEST]:
            return None
        try:
            os.utime(path)  # used just now
        except OSError:
            pass
        return payload

    def store(self, key: str, payload: bytes) -> None:
        """Keeps ``payload`` under ``key``."""
        shard = f"{self.directory}/{key[:2]}"
        try:
            try:
                os.mkdir(shard, 0o700)
            except FileExistsError:
                pass
            name = f"{shard}/{key}.{os.getpid()}.{threading.get_ident()}.tmp"
            handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(sha256(payload).digest() + payload)
                os.replace(name, f"{shard}/{key}.o")
            except BaseException:
                os.unlink(name)
                raise
        except OSError:
            return
        if key[2] == "0":  # one in 16
            self.prune(key[:2])

    def prune(self, shard: str) -> None:
        """Removes a shard's entries used least recently until the rest takes half of its share, if it is over it."""
        entries = []
        abandoned = time.time() - _ABANDONED
        for path, status in self._files(shard):
            if path.endswith(".tmp"):
                if status.st_mtime < abandoned:
                    _remove(path)
            else:
                entries.append((status.st_mtime, _occupied(status), path))
        total, share = sum(size for _, size, _ in entries), self.limit // _SHARDS
        if total <= share:
            return
        for _, size, path in sorted(entries):
            _remove(path)
            total -= size
            if total <= share // 2:
                return

    def size(self) -> tuple[int, int]:
        """How many entries there are, and how many bytes they take on disk."""
        sizes = [
            _occupied(status) for n in range(_SHARDS) for path, status in self._files(f"{n:02x}") if path.endswith(".o")
        ]
        return len(sizes), sum(sizes)

    def _files(self, shard: str) -> Iterator[tuple[str, os.stat_result]]:
        try:
            with os.scandir(f"{self.directory}/{shard}") as files:
                for file in files:
                    try:
                        yield file.path, file.stat()
                    except OSError:  # another process removes files too
                        continue
        except OSError:
            return


def _occupied(status: os.stat_result) -> int:
    return -(-status.st_size // _BLOCK) * _BLOCK


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass

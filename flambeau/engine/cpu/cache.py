"""Machine code kept on disk between runs, for any number of processes at once.

Every entry is a file of its own, named by its key: a digest of the payload, then the payload. Files are written
under a name of their own and renamed, so a reader sees all of an entry or nothing. An entry that is damaged counts
as absent. The cache must not fail a program: where the disk refuses, there is no cache.
"""

from __future__ import annotations

import os
import tempfile
import time
from hashlib import sha256
from pathlib import Path

LIMIT = 256 << 20
"""Bytes that the cache may take before the entries that were not used for longest go."""

_CHECK_EVERY = 64  # stores of a process between two looks at the size
_DIGEST = 32
_ABANDONED = 3600  # seconds after which an unfinished file is that of a process that was killed


class Cache:
    """A directory of entries."""

    def __init__(self, directory: Path, limit: int = LIMIT) -> None:
        self.directory = directory
        self.limit = limit
        self._stores = 0

    @classmethod
    def default(cls) -> Cache | None:
        """The cache in ``FLAMBEAU_CACHE_DIR`` or ``~/.cache/flambeau``; ``None`` if there can be no directory."""
        named = os.environ.get("FLAMBEAU_CACHE_DIR")
        try:
            directory = Path(named) if named else Path.home() / ".cache" / "flambeau"
            directory = directory / "kernels"
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except (OSError, RuntimeError):
            return None
        return cls(directory)

    def _path(self, key: str) -> Path:
        return self.directory / f"{key}.o"

    def load(self, key: str) -> bytes | None:
        """The payload stored under ``key``, or ``None``."""
        path = self._path(key)
        try:
            content = path.read_bytes()
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
        try:
            handle, name = tempfile.mkstemp(dir=self.directory, suffix=".tmp")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(sha256(payload).digest() + payload)
                os.replace(name, self._path(key))
            except BaseException:
                os.unlink(name)
                raise
        except OSError:
            return
        if self._stores % _CHECK_EVERY == 0:
            self.prune()
        self._stores += 1

    def prune(self) -> None:
        """Removes the entries used least recently until the rest takes at most half of the limit, if it is over."""
        entries = []
        abandoned = time.time() - _ABANDONED
        try:
            with os.scandir(self.directory) as files:
                for file in files:
                    status = file.stat()
                    if not file.name.endswith(".tmp"):
                        entries.append((status.st_mtime, status.st_size, file.path))
                    elif status.st_mtime < abandoned:
                        os.unlink(file.path)
        except OSError:  # another process removes files too
            return
        total = sum(size for _, size, _ in entries)
        if total <= self.limit:
            return
        for _, size, path in sorted(entries):
            try:
                os.unlink(path)
            except OSError:
                continue
            total -= size
            if total <= self.limit // 2:
                return

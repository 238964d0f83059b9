"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any

try:
    import fcntl
except ImportError:  # a system without locks: what a killed process has left stays there
    fcntl = None  # type: ignore[assignment]

_UNFINISHED = ".unfinished"
_NOT_REPLACEABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV)
_LONGEST = 200  # bytes of the target's name, so that the longer name is one that file systems take


@contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """A new file that takes the place of ``path`` when the block ends well.

    Until then, and after any failure (a full disk, an interrupt), ``path`` is as it was and nothing else is left behind.
    A process that is killed leaves ``.NAME.XXXX.unfinished`` beside it, which the next one that writes ``path`` removes.

    Where ``path`` may be written but not replaced (nothing can be made in its folder, it is a device or a mount point),
    its content is overwritten, and an error in the middle leaves it damaged.
    """
    path = os.path.realpath(path)  # a link stays a link: what it points to is replaced
    folder, name = os.path.split(path)
    if not os.path.isdir(folder):
        raise RuntimeError(f"Parent directory {folder} does not exist.")
    there = os.path.lexists(path)
    replaceable = not there or os.path.isfile(path)
    if replaceable:
        _remove_abandoned(folder, name)
    while replaceable:
        unfinished = os.path.join(folder, f".{_short(name)}.{os.urandom(6).hex()}{_UNFINISHED}")
        made = False
        try:
            with open(unfinished, "xb") as file:
                _lock(file.fileno(), wait=True)
                if not os.path.exists(unfinished):
                    continue  # somebody locked it first, and removed it
                made = True
                yield file
                file.flush()
                os.fsync(file.fileno())
                if there:
                    _take_after(path, unfinished)
                _move(unfinished, path)  # while the file is locked: nobody takes it for one that was abandoned
        except BaseException as error:
            if not made and there and isinstance(error, OSError) and error.errno in _NOT_REPLACEABLE:
                break
            with suppress(FileNotFoundError):
                os.unlink(unfinished)
            raise
        _settle(folder)
        return
    with open(path, "wb") as file:
        yield file


def _settle(folder: str) -> None:
    """Brings the new name to the disk too, where the system can open folders."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _lock(handle: int, wait: bool) -> bool:
    """Whether the file is locked now, and not by somebody else."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:  # locked, or in a file system that has no locks
        return False
    return True


def _remove_abandoned(folder: str, name: str) -> None:
    """Removes what killed processes have left of ``name``: nobody holds a lock on it."""
    left = re.compile(rf"\.{re.escape(_short(name))}\.[0-9a-f]{{12}}{re.escape(_UNFINISHED)}")
    with suppress(OSError):  # a folder may be writable but not readable
        for other in os.listdir(folder):
            if left.fullmatch(other):
                with suppress(OSError), open(os.path.join(folder, other), "rb", opener=_at_once) as file:
                    if _lock(file.fileno(), wait=False):
                        os.unlink(file.name)


def _at_once(path: str, flags: int) -> int:
    """Opens without waiting for the other end of a pipe, and no other file than this one."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0))


def _take_after(path: str, new: str) -> None:
    """Gives the new file the mode of the old one, and its owner where this user may."""
    status = os.stat(path)
    with suppress(OSError):
        os.chown(new, status.st_uid, status.st_gid)
    shutil.copymode(path, new)


def _move(new: str, path: str) -> None:
    try:
        os.replace(new, path)
    except OSError as error:
        if error.errno not in _NOT_REPLACEABLE or not os.path.exists(path):
            raise
        shutil.copyfile(new, path)  # a mount point, or somebody else's file in a folder such as /tmp
        os.unlink(new)


def _short(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:_LONGEST])


class OnlyWritten:
    """A user's file object of which only ``write`` and ``flush`` are asked, as it may have nothing else."""

    def __init__(self, file: Any) -> None:
        self.write = file.write
        self._flush = getattr(file, "flush", None)

    def flush(self) -> None:
        if self._flush is not None:
            self._flush()


class Seekable:
    """A user's file object that has ``read``, ``seek`` and ``tell``, with the few other methods that ``zipfile`` asks for."""

    def __init__(self, file: Any) -> None:
        self.tell, self._seek, self._read = file.tell, file.seek, file.read
        self._readinto = getattr(file, "readinto", None)

    def read(self, size: int = -1) -> bytes:
        """So many bytes, or all that are left; through ``readinto`` where the file has it, which may be faster."""
        if self._readinto is None:
            return self._read(size)  # type: ignore[no-any-return]
        if size < 0:
            here = self.tell()
            size = self.seek(0, os.SEEK_END) - here
            self.seek(here)
        data = bytearray(size)
        return bytes(data[: self._readinto(data)])

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._seek(offset, whence)  # which may return nothing
        position: int = self.tell()
        return position

    def seekable(self) -> bool:
        return True

    @staticmethod
    def of(file: Any) -> Any:
        """``file`` itself where it has all that is needed."""
        return file if isinstance(file, io.IOBase) else Seekable(file)


def file_path(f: Any) -> str | None:
    """``f`` as a path, or ``None`` where it is an open file."""
    return os.fsdecode(f) if isinstance(f, (str, bytes, os.PathLike)) else None

"""Memory that several processes may map. It has no name: the kernel frees it with the last of its users, however they end."""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
from collections.abc import Callable
from functools import cache, partial
from operator import attrgetter

import numpy as np

_MAP_FIXED = 0x10  # of Linux, macOS and the BSDs


class Segment:
    """A file descriptor of ``size`` bytes of memory; closed with this object. What has been mapped of it stays mapped."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size
        self._release: Callable[[], object] = partial(os.close, fd)

    @staticmethod
    def create(size: int) -> Segment:
        """New memory, all zeros.

        Raises:
            OSError: the system has no such memory, or not so much.
        """
        if hasattr(os, "memfd_create"):
            segment = Segment(os.memfd_create("flambeau"), size)
        else:
            with tempfile.TemporaryFile() as file:
                segment = Segment(os.dup(file.fileno()), size)
        os.ftruncate(segment.fd, max(size, 1))
        return segment

    def map(self) -> np.ndarray:
        """The memory as bytes, which are shared with whoever else maps it."""
        return map_memory(self.fd, self.size)

    def write(self, data: memoryview | bytes, offset: int) -> None:
        """Copies ``data`` to the bytes from ``offset`` on."""
        rest = memoryview(data)
        while rest:
            done = os.pwrite(self.fd, rest, offset)
            rest, offset = rest[done:], offset + done

    @property
    def key(self) -> tuple[int, int]:
        """What this memory is known by in every process, as long as it is there."""
        found = os.fstat(self.fd)
        return found.st_dev, found.st_ino

    def close(self) -> None:
        release, self.fd, self._release = self._release, -1, int
        release()

    # A function of Python's would run signal handlers, and lose what they raise and perhaps the descriptor.
    __del__ = property(attrgetter("_release"))


def map_memory(fd: int, size: int) -> np.ndarray:
    """The memory of a descriptor as bytes; unmapped with the last array on it, without any Python code that a signal could stop.

    An ``mmap`` of a descriptor would keep a copy of that open. So one of no file has the addresses, and the memory is mapped there.
    """
    place = mmap.mmap(-1, max(size, 1))
    memory = np.frombuffer(place, np.uint8)
    address = memory.__array_interface__["data"][0]
    found = _libc().mmap(address, memory.size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED | _MAP_FIXED, fd, 0)
    if found != address:
        code = ctypes.get_errno()
        raise OSError(code, f"cannot map {size} bytes of shared memory: {os.strerror(code)}")
    return memory[:size]


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    return libc

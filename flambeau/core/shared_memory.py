"""Memory that several processes may map. It has no name: the kernel frees it with the last of its users, however they end."""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
from functools import cache

import numpy as np

_FAILED = ctypes.c_void_p(-1).value


class Segment:
    """A file descriptor of ``size`` bytes of memory; closed with this object. What has been mapped of it stays mapped."""

    def __init__(self, fd: int, size: int) -> None:
        self.fd = fd
        self.size = size

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
        return np.asarray(_Mapping(self.fd, self.size))

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
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __del__(self) -> None:
        self.close()


class _Mapping:
    """Mapped memory, as NumPy asks for it. (``mmap.mmap`` would keep one more file descriptor for each.)"""

    def __init__(self, fd: int, size: int) -> None:
        self.size = max(size, 1)
        self.address = _libc().mmap(None, self.size, mmap.PROT_READ | mmap.PROT_WRITE, mmap.MAP_SHARED, fd, 0)
        if self.address == _FAILED:
            self.address, code = None, ctypes.get_errno()
            raise OSError(code, f"cannot map {size} bytes of shared memory: {os.strerror(code)}")
        self.__array_interface__ = {"data": (self.address, False), "shape": (size,), "typestr": "|u1", "version": 3}
        self._unmap = _libc().munmap  # held, since modules may be gone when this goes

    def __del__(self) -> None:
        if self.address is not None:
            self._unmap(self.address, self.size)


@cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    return libc

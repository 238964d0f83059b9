"""Messages between a loader and its workers: objects, by value, over a socket.

Python pickles an object; arrays and tensors of some size are left out of the pickle, and their bytes go through memory without
a name (:class:`~flambeau.core.shared_memory.Segment`), with the pickle where it is long. The message itself is short then, and
has the file descriptor of that memory. The reader maps it and closes the descriptor: so a batch costs one copy, no reader keeps
files open, and nothing is left of a message that nobody reads, since the kernel frees what only a socket holds.

Nothing here waits. A socket is asked whether there is room, or a message.
"""

from __future__ import annotations

import errno
import io
import os
import pickle
import socket
import struct
import sys
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np

from flambeau.core.shared_memory import Segment, map_memory
from flambeau.core.weak import WeakValues
from flambeau.nn.parameter import Parameter
from flambeau.tensor import Tensor, pickling, sharing
from flambeau.tensor.storage import InferenceStorage, Storage

_LINUX = sys.platform == "linux"
_MOST = 16 << 10 if _LINUX else 1 << 10
"""Bytes of a message without shared memory, such as always find room in a socket at once."""
_APART = 4 << 10
"""Bytes from which on an array is left out of the pickle."""
_ALIGNMENT = 64
_HEAD = struct.Struct("=BQQQ")  # whether there is shared memory: its size, where the pickle begins, and where the table of arrays
_INT = struct.Struct("@i")
_FLAGS = socket.MSG_PEEK | getattr(socket, "MSG_CMSG_CLOEXEC", 0)


class Message:
    """An object that is ready to be sent."""

    def __init__(self, value: Any) -> None:
        buffers: list[memoryview] = []

        def keep_in(buffer: pickle.PickleBuffer) -> bool:
            data = buffer.raw()
            if data.nbytes < _APART:
                return True
            buffers.append(data)
            return False

        pickled = pickle_by_value(value, keep_in)
        self.segment: Segment | None = None
        if not buffers and len(pickled) + 1 <= _MOST:
            self.data = b"\0" + pickled
            return
        places, end = [], 0
        for data in buffers:
            places.append((end, data.nbytes))
            end += data.nbytes + -data.nbytes % _ALIGNMENT
        table = pickle.dumps(places)
        size = end + len(pickled) + len(table)
        self.segment = Segment.create(size)
        for (start, _), data in zip(places, buffers, strict=True):
            self.segment.write(data, start)
        self.segment.write(pickled, end)
        self.segment.write(table, end + len(pickled))
        self.data = _HEAD.pack(1, size, end, end + len(pickled))


def _read(data: bytes, fds: list[int]) -> Any:
    if not data[0]:
        return pickle.loads(memoryview(data)[1:])
    _, size, start, table = _HEAD.unpack(data)
    if not fds:  # the kernel could not make a descriptor of them
        raise RuntimeError(
            "Too many open files. Communication with the workers is no longer possible. Please increase the limit using "
            "`ulimit -n` in the shell, or close files"
        )
    try:
        memory = map_memory(fds[0], size)
    finally:
        os.close(fds[0])
    places = pickle.loads(memory[table:].tobytes())
    return pickle.loads(memory[start:table].tobytes(), buffers=[memory[at : at + n] for at, n in places])


def pickle_by_value(value: Any, buffer_callback: Any = None, *, keep_shared: bool = False) -> bytes:
    """``value`` pickled as multiprocessing does, but tensors as what they contain; of what is shared, with ``keep_shared``, the
    memory itself."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, 5, buffer_callback=buffer_callback)
    table = dict(ForkingPickler(file).dispatch_table)
    table[Tensor] = table[Parameter] = _reduce_shared if keep_shared else _reduce_tensor
    table[Storage] = table[InferenceStorage] = _reduce_shared_storage if keep_shared else pickling.reduce_storage
    pickler.dispatch_table = table
    pickler.dump(value)
    return file.getvalue()


def _reduce_tensor(tensor: Tensor) -> tuple:
    function, (cls, storage, dtype, shape, strides, offset, requires_grad), state = sharing.reduce_tensor(tensor)
    if tensor.numel() < storage.size:  # not the whole dataset with each row of it
        values = np.array(tensor.detach()._array(), order="C")
        storage, strides, offset = Storage.from_numpy(values, dtype), tensor.detach().contiguous().stride(), 0
    return function, (cls, storage, dtype, shape, strides, offset, requires_grad), state


def _reduce_shared(tensor: Tensor) -> tuple:
    return sharing.reduce_tensor(tensor) if tensor.is_shared() else _reduce_tensor(tensor)


def _reduce_shared_storage(storage: Storage) -> tuple:
    return pickling.reduce_storage(storage) if storage.segment is None else sharing.reduce_storage(storage)


class Channel:
    """One end of a connection to another process."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end

    def fileno(self) -> int:
        return self._end.fileno()

    def send(self, message: Message) -> bool:
        """Whether there was room for ``message``.

        Raises:
            ConnectionError: nobody will read it.
        """
        fds = [] if message.segment is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, _INT.pack(message.segment.fd))]
        try:
            self._end.sendmsg([message.data], fds)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                return False
            raise
        return True

    def peek(self) -> Any:
        """The next object; it stays the next until :meth:`drop`, so that none is lost where an exception comes in between.

        Raises:
            BlockingIOError: there is none yet.
            EOFError: there will be none.
        """
        try:
            data, extra, _, _ = self._end.recvmsg(_MOST, socket.CMSG_LEN(_INT.size), _FLAGS)
        except ConnectionError:
            raise EOFError from None
        if not data:
            raise EOFError
        fds = [_INT.unpack(rights[: _INT.size])[0] for _, kind, rights in extra if kind == socket.SCM_RIGHTS and rights]
        return _read(data, fds)

    def drop(self) -> None:
        """Takes away what :meth:`peek` has given."""
        try:
            self._end.recv(1)
        except ConnectionError:  # the other side has ended without reading all, which is told once, before what it has sent
            self._end.recv(1)

    def close(self) -> None:
        self._end.close()


def connect() -> tuple[Channel, socket.socket]:
    """Both ends of a new connection: a channel for this process, and a socket for another to make one of.

    Only this process has the channel: a child that is forked from it closes its copy, so that the other side sees the end of it.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET if _LINUX else socket.SOCK_DGRAM)
    channel = Channel(ours)
    _own.add(id(channel), channel)
    return channel, theirs


def _close_inherited() -> None:
    for channel in _own.values():
        channel.close()
    _own.clear()


_own: WeakValues[Channel] = WeakValues()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_inherited)

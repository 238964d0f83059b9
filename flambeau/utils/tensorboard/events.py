"""Event files: rows of records, each between its length and checksums (CRC-32C).

Source: https://github.com/tensorflow/tensorboard (``record_writer.py``, ``event_file_writer.py``)
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from itertools import count
from typing import Any, BinaryIO

from flambeau.utils.tensorboard import messages as m

__all__ = ["EventFileWriter", "RecordWriter", "masked_crc"]


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def masked_crc(data: bytes) -> int:
    """The CRC-32C of ``data``, rotated and shifted as record files have it."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


class RecordWriter:
    """Writes records to an open file.

    >>> import io
    >>> file = io.BytesIO()
    >>> RecordWriter(file).write(b"ab")
    >>> file.getvalue()[:8], len(file.getvalue())
    (b'\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00', 18)
    """

    def __init__(self, writer: BinaryIO) -> None:
        self._writer = writer

    def write(self, data: bytes) -> None:
        """Writes a record: the length, its checksum, ``data``, its checksum."""
        length = struct.pack("<Q", len(data))
        self._writer.write(length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data)))

    def flush(self) -> None:
        """Hands everything to the operating system."""
        self._writer.flush()

    def close(self) -> None:
        """Closes the file."""
        self._writer.close()

    @property
    def closed(self) -> bool:
        return self._writer.closed


_files = count()


class EventFileWriter:
    """Writes events to a new file in a folder.

    They are on the disk once ``max_queue`` are waiting, and ``flush_secs`` after the first of them at the latest.
    """

    def __init__(self, logdir: str, max_queue_size: int = 10, flush_secs: float = 120, filename_suffix: str = "") -> None:
        self._logdir, self._max_queue, self._flush_secs, self._suffix = logdir, max_queue_size, flush_secs, filename_suffix
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None
        self._waiting = 0
        self._open()

    def _open(self) -> None:
        os.makedirs(self._logdir, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_files)}{self._suffix}"
        self._records = RecordWriter(open(os.path.join(self._logdir, name), "wb"))
        self.add_event(m.Event(wall_time=time.time(), file_version="brain.Event:2"))
        self.flush()

    def get_logdir(self) -> str:
        """The folder."""
        return self._logdir

    def add_event(self, event: Any) -> None:
        """Writes an event, a message of ours or of TensorBoard's own.

        Raises:
            TypeError: it is no message.
        """
        if not hasattr(event, "SerializeToString"):
            raise TypeError(f"Expected an event_pb2.Event proto,  but got {type(event)}")
        with self._lock:
            self._records.write(event.SerializeToString())
            self._waiting += 1
            if self._waiting > self._max_queue:
                self.flush()
            elif self._timer is None:
                self._timer = threading.Timer(self._flush_secs, self.flush)
                self._timer.daemon = True
                self._timer.start()

    def flush(self) -> None:
        """Writes everything that is waiting to the disk."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._waiting = None, 0
            if not self._records.closed:
                self._records.flush()

    def close(self) -> None:
        """Writes everything, and closes the file."""
        with self._lock:
            self.flush()
            self._records.close()

    def reopen(self) -> None:
        """Begins another file where the last one was closed."""
        with self._lock:
            if self._records.closed:
                self._open()

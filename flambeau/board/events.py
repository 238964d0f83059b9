"""Reading event files while they grow: records, and the messages of protocol buffers that they hold.

Sources: https://github.com/tensorflow/tensorboard (``record_writer.py``, ``summary.proto``);
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from flambeau.utils.tensorboard.events import masked_crc

Fields = dict[int, list[Any]]
"""The fields of a message by number: ints, floats, or bytes of texts and of messages inside."""

_HEAD, _TAIL = 12, 4
_LARGEST = 1 << 31


class Damaged(Exception):
    """What a file has here is no record."""


def fields(data: bytes) -> Fields:
    """The fields of a message.

    >>> from flambeau.utils.tensorboard import messages as m
    >>> fields(m.Value(tag="loss", simple_value=0.5).SerializeToString())
    {1: [b'loss'], 2: [0.5]}

    Raises:
        Damaged: it is none.
    """
    found: Fields = {}
    at, end = 0, len(data)
    try:
        while at < end:
            key, at = _varint(data, at)
            kind = key & 7
            value: Any
            if kind == 2:
                size, at = _varint(data, at)
                value = data[at : at + size]
                at += size
                if at > end:
                    raise Damaged("a field ends behind its message")
            elif kind == 0:
                value, at = _varint(data, at)
            elif kind == 1:
                (value,) = _DOUBLE.unpack_from(data, at)
                at += 8
            elif kind == 5:
                (value,) = _FLOAT.unpack_from(data, at)
                at += 4
            else:
                raise Damaged(f"a field of kind {kind}")
            found.setdefault(key >> 3, []).append(value)
    except (IndexError, struct.error):
        raise Damaged("a message that ends too early") from None
    return found


_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of variable length, and where it ends."""
    byte = data[at]
    if byte < 0x80:
        return byte, at + 1
    n, shift = byte & 0x7F, 7
    while True:
        at += 1
        byte = data[at]
        n |= (byte & 0x7F) << shift
        if byte < 0x80:
            return n, at + 1
        shift += 7
        if shift > 63:
            raise Damaged("a number of more than 64 bits")


def signed(n: int) -> int:
    """A 64-bit number whose first bit is its sign."""
    return n - (1 << 64) if n >> 63 else n


class Record(NamedTuple):
    """The bytes of a record, and where in the file they begin."""

    data: bytes
    place: int


class EventFile:
    """One event file, read from where the last reading ended. ``damaged`` says what was wrong, after which nothing more is read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.place = 0
        self.damaged = ""

    def records(self, most: int = 1 << 22) -> Iterator[Record]:
        """The records that are complete, in about ``most`` bytes; what is still being written comes the next time."""
        if self.damaged:
            return
        with self.path.open("rb") as file:
            file.seek(self.place)
            data = file.read(most)
            size = int.from_bytes(data[:8], "little") + _HEAD + _TAIL
            if len(data) >= _HEAD and most < size < _LARGEST:  # one record that is longer than all that was to be read
                data += file.read(size - len(data))
        start, at = self.place, 0
        while at + _HEAD <= len(data):
            length, check = struct.unpack_from("<QI", data, at)
            if check != masked_crc(data[at : at + 8]):
                self.damaged = f"no record at byte {start + at}"
                return
            end = at + _HEAD + length
            if end + _TAIL > len(data):
                return
            self.place = start + end + _TAIL
            yield Record(data[at + _HEAD : end], start + at + _HEAD)
            at = end + _TAIL

    def read(self, place: int, size: int) -> bytes:
        """Some bytes of the file."""
        with self.path.open("rb") as file:
            file.seek(place)
            return file.read(size)

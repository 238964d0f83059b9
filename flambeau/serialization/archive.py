"""PyTorch's file format: a zip archive of uncompressed records, each aligned to 64 bytes.

``data.pkl`` describes the object, ``data/0``, ``data/1``, ... are the bytes of its storages, ``byteorder`` says how to
read them. Alignment lets a reader map the file into memory. Source:
https://docs.pytorch.org/docs/stable/notes/serialization.html#serialized-file-format-for-torch-save
"""

from __future__ import annotations

import mmap
import os
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import IO

import numpy as np

_ALIGNMENT = 64
_CHUNK = 16 << 20
_MOST_CODE = 64 << 20  # bytes of one record of code
_LOCAL_HEADER = 30  # bytes before the name of a record
_NOT_READABLE = "PytorchStreamReader failed reading zip archive: "


class LoadEndianness(Enum):
    """In which order a file has the bytes of its numbers: as this machine, the lowest first, or the highest first."""

    NATIVE = 1
    LITTLE = 2
    BIG = 3


_load_endianness: LoadEndianness | None = None


def get_default_load_endianness() -> LoadEndianness | None:
    """What :func:`set_default_load_endianness` set."""
    return _load_endianness


def set_default_load_endianness(endianness: LoadEndianness | None) -> None:
    """How files are read that do not say their order of bytes (those of PyTorch before 2.1); ``None``: as this machine.

    >>> import flambeau as torch
    >>> torch.serialization.set_default_load_endianness(torch.serialization.LoadEndianness.BIG)
    >>> torch.serialization.get_default_load_endianness()
    <LoadEndianness.BIG: 3>
    >>> torch.serialization.set_default_load_endianness(None)

    Source: https://docs.pytorch.org/docs/stable/notes/serialization.html
    """
    global _load_endianness
    if endianness is not None and not isinstance(endianness, LoadEndianness):
        raise TypeError("Invalid argument type in function set_default_load_endianness")
    _load_endianness = endianness


def _default_order() -> str:
    if _load_endianness in (None, LoadEndianness.NATIVE):
        return sys.byteorder
    return "little" if _load_endianness is LoadEndianness.LITTLE else "big"


class ArchiveWriter:
    """Writes records to a file that can be written; reading back what was written is not needed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._zip = zipfile.ZipFile(file, "w", zipfile.ZIP_STORED)
        self._checksum = 0

    def write(self, name: str, data: bytes | memoryview) -> None:
        """Adds the record ``name``."""
        size = len(data)
        self._checksum = zlib.crc32(name.encode() + size.to_bytes(8, "little"), self._checksum)
        info = zipfile.ZipInfo(f"archive/{name}")
        info.file_size = size
        zip64 = size * 1.05 > zipfile.ZIP64_LIMIT  # where zipfile itself insists on the longer header
        header = _LOCAL_HEADER + len(info.filename) + 4 + (20 if zip64 else 0)
        padding = -(self._zip.start_dir + header) % _ALIGNMENT
        info.extra = struct.pack("<HH", 0x4246, padding) + b"Z" * padding
        with self._zip.open(info, "w", force_zip64=zip64) as record:
            for start in range(0, size, _CHUNK):
                record.write(data[start : start + _CHUNK])

    def close(self) -> None:
        """Writes the last records and the table of contents."""
        self.write("version", b"3\n")
        self.write(".data/serialization_id", f"{self._checksum:040d}".encode())
        self._zip.close()

    def abandon(self) -> None:
        """Writes nothing more, after an error: otherwise ``zipfile`` would finish the archive when it is collected."""
        self._zip.fp = None


class ArchiveReader:
    """Reads records; what the archive says of itself is checked before anything is believed.

    ``path``: where given, storages are mapped from that file instead of being read. ``code``: it may have code, as archives of
    ``torch.jit.save`` do, whose records are compressed.
    """

    def __init__(self, file: IO[bytes], path: str | None = None, code: bool = False) -> None:
        self._file = file
        size = file.seek(0, os.SEEK_END)
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, struct.error) as error:
            raise RuntimeError(
                f"{_NOT_READABLE}failed finding central directory: the file is truncated or corrupted ({error})"
            ) from error
        entries = self._zip.infolist()
        if not entries or "/" not in entries[0].filename:
            raise RuntimeError(f"{_NOT_READABLE}its records are not in a folder, as those of torch.save are")
        self._code = code
        if sum(entry.file_size for entry in entries if not self._is_code(entry)) > size:
            raise RuntimeError(
                f"{_NOT_READABLE}its {len(entries)} records claim more bytes than the {size} bytes of the file, so it is "
                "compressed, corrupted or hostile; torch.save writes records uncompressed"
            )
        root = entries[0].filename.partition("/")[0] + "/"
        self._entries = {entry.filename.removeprefix(root): entry for entry in entries}
        if len(self._entries) != len(entries):
            raise RuntimeError(f"{_NOT_READABLE}two records have the same name")
        if "version" not in self and not (code and ".data/version" in self):
            raise RuntimeError('Expected hasRecord("version") to be true, but got false: it was not written by torch.save')
        self._map = None
        if path is not None:
            with open(path, "rb") as whole:
                self._map = mmap.mmap(whole.fileno(), 0, access=mmap.ACCESS_COPY)
        order = self.read("byteorder").decode("ascii", "replace") if "byteorder" in self else _default_order()
        if order not in ("little", "big"):
            raise RuntimeError(f"Invalid load endianness: expected 'little' or 'big', got {order!r:.40}")
        self._swapped = order != sys.byteorder

    def _is_code(self, entry: zipfile.ZipInfo) -> bool:
        return self._code and entry.filename.partition("/")[2].startswith("code/")

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def names(self) -> list[str]:
        """The names of all records."""
        return list(self._entries)

    def _entry(self, name: str) -> zipfile.ZipInfo:
        entry = self._entries.get(name)
        if entry is None:
            raise RuntimeError(f"PytorchStreamReader failed locating file {name}: file not found")
        if entry.compress_type == zipfile.ZIP_DEFLATED and self._is_code(entry) and entry.file_size <= _MOST_CODE:
            return entry
        if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
            raise RuntimeError(f"{_NOT_READABLE}record {name} is compressed or encrypted; torch.save does neither")
        return entry

    def _fill(self, entry: zipfile.ZipInfo, target: memoryview) -> None:
        with self._errors(entry), self._zip.open(entry) as record:
            position = 0
            while position < len(target):
                count = record.readinto(target[position : position + _CHUNK])  # type: ignore[attr-defined]
                if not count:
                    raise EOFError(f"{len(target)} bytes expected, {position} found")
                position += count
            record.read(1)  # an empty record has its checksum checked too

    def read(self, name: str) -> bytes:
        """The bytes of the record ``name``."""
        entry = self._entry(name)
        data = bytearray(entry.file_size)
        self._fill(entry, memoryview(data))
        return bytes(data)

    def array(self, name: str, dtype: np.dtype, count: int) -> np.ndarray:
        """The record ``name`` as a flat array, which must have ``count`` elements."""
        entry = self._entry(name)
        if entry.file_size // dtype.itemsize != count:
            raise RuntimeError(
                f"storage {name} should have {count} elements of {dtype.itemsize} bytes, but its record has "
                f"{entry.file_size} bytes: the file is corrupted"
            )
        mapped = self._mapped(entry)
        if mapped is None:
            mapped = np.empty(entry.file_size, np.uint8)
            self._fill(entry, mapped.data)
        array = mapped[: count * dtype.itemsize].view(dtype)
        if self._swapped:
            word = dtype.itemsize // 2 if dtype.kind == "c" else dtype.itemsize
            mapped.view(f"u{word}").byteswap(inplace=True)
        return array

    def _mapped(self, entry: zipfile.ZipInfo) -> np.ndarray | None:
        if self._map is None or not entry.file_size:
            return None
        with self._errors(entry):
            self._zip.open(entry).close()  # checks that the record starts where the table of contents says
            lengths = self._map[entry.header_offset + 26 : entry.header_offset + _LOCAL_HEADER]
            start = entry.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", lengths))
        if start % _ALIGNMENT or start + entry.file_size > len(self._map):
            return None  # not written for mapping: read it, with all the checks
        return np.frombuffer(self._map, np.uint8, entry.file_size, start)

    @contextmanager
    def _errors(self, entry: zipfile.ZipInfo) -> Iterator[None]:
        """What ``zipfile`` raises for a damaged record, in PyTorch's words."""
        try:
            yield
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, EOFError, struct.error) as error:
            raise RuntimeError(f"{_NOT_READABLE}record {entry.filename!r:.80} is corrupted: {error}") from error

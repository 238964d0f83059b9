"""Event files for TensorBoard: scalars, histograms, text and images, written without TensorBoard.

A file is a row of records, each an ``Event`` message in protocol buffers' encoding between its length and checksums
(CRC-32C). Source: https://github.com/tensorflow/tensorboard (event.proto, summary.proto);
https://docs.pytorch.org/docs/stable/tensorboard.html
"""

from __future__ import annotations

import os
import socket
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

import numpy as np

from flambeau.tensor import Tensor

__all__ = ["SummaryWriter"]


# --- records -----------------------------------------------------------------------------------------------------


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


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc(length)) + data + struct.pack("<I", masked_crc(data))


# --- messages ----------------------------------------------------------------------------------------------------


def _varint(n: int) -> bytes:
    n &= (1 << 64) - 1
    out = bytearray()
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)


def _bytes(field: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _histogram(values: np.ndarray, bins: Any) -> bytes:
    values = values.astype(np.float64).ravel()
    if not values.size:
        raise ValueError("The input has no element.")
    counts, limits = np.histogram(values, bins=_exponential_bins() if bins == "tensorflow" else bins)
    filled = np.flatnonzero(counts)
    first, last = (filled[0], filled[-1] + 1) if filled.size else (0, 1)
    buckets = np.concatenate([[0.0], counts[first:last]]).tobytes()  # an empty one says where the first begins
    edges = limits[first : last + 1].astype(np.float64).tobytes()
    numbers = (values.min(), values.max(), values.size, values.sum(), values.dot(values))
    return b"".join(_double(i + 1, n) for i, n in enumerate(numbers)) + _bytes(6, edges) + _bytes(7, buckets)


def _exponential_bins() -> np.ndarray:
    positive = 1e-12 * 1.1 ** np.arange(774)
    return np.concatenate([-positive[::-1], [0.0], positive])


def _png(image: np.ndarray) -> bytes:
    """An image (height, width, channels) of bytes as a PNG file."""
    height, width, channels = image.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.tobytes() for row in image)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def _array(x: Any) -> np.ndarray:
    return x.detach().numpy() if isinstance(x, Tensor) else np.asarray(x)


# --- the writer --------------------------------------------------------------------------------------------------

_files = count()


class _EventFile:
    def __init__(self, folder: str, suffix: str) -> None:
        os.makedirs(folder, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_files)}{suffix}"
        self.file = open(os.path.join(folder, name), "wb")
        self.write(_bytes(3, "brain.Event:2"), None, None)

    def write(self, what: bytes, step: int | None, walltime: float | None) -> None:
        event = _double(1, time.time() if walltime is None else walltime)
        if step is not None:
            event += _integer(2, int(step))
        self.file.write(_record(event + what))


class SummaryWriter:
    """Writes what a training run tells of itself to an event file in ``log_dir``, which TensorBoard shows.

    Without ``log_dir`` it is ``runs/<date>_<host><comment>``.

    >>> import tempfile
    >>> from flambeau.utils.tensorboard import SummaryWriter
    >>> with tempfile.TemporaryDirectory() as folder, SummaryWriter(folder) as writer:
    ...     writer.add_scalar("loss", 0.5, 1)
    """

    def __init__(
        self, log_dir: str | os.PathLike | None = None, comment: str = "", purge_step: int | None = None,
        max_queue: int = 10, flush_secs: int = 120, filename_suffix: str = "",
    ) -> None:  # fmt: skip
        if not log_dir:
            log_dir = os.path.join("runs", f"{time.strftime('%b%d_%H-%M-%S')}_{socket.gethostname()}{comment}")
        self.log_dir = os.fspath(log_dir)
        self._suffix = filename_suffix
        self._files = {"": _EventFile(self.log_dir, filename_suffix)}

    def get_logdir(self) -> str:
        return self.log_dir

    def _add(self, value: bytes, step: int | None, walltime: float | None, run: str = "") -> None:
        file = self._files.get(run)
        if file is None:
            file = self._files[run] = _EventFile(os.path.join(self.log_dir, run), self._suffix)
        file.write(_bytes(5, _bytes(1, value)), step, walltime)

    def add_scalar(
        self, tag: str, scalar_value: Any, global_step: int | None = None, walltime: float | None = None,
        new_style: bool = False, double_precision: bool = False,
    ) -> None:  # fmt: skip
        """Adds one point of the curve ``tag``."""
        self._add(_bytes(1, tag) + _float(2, float(_array(scalar_value))), global_step, walltime)

    def add_scalars(
        self, main_tag: str, tag_scalar_dict: Mapping[str, Any], global_step: int | None = None, walltime: float | None = None
    ) -> None:
        """Adds a point to each of several curves in one diagram; each is a run of its own in a folder of that name."""
        for tag, value in tag_scalar_dict.items():
            run = f"{main_tag.replace('/', '_')}_{tag}"
            self._add(_bytes(1, main_tag) + _float(2, float(_array(value))), global_step, walltime, run)

    def add_histogram(
        self, tag: str, values: Any, global_step: int | None = None, bins: Any = "tensorflow", walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:  # fmt: skip
        """Adds how often values occur; ``bins`` as in ``numpy.histogram``, or ``"tensorflow"`` for exponential ones."""
        self._add(_bytes(1, tag) + _bytes(5, _histogram(_array(values), bins)), global_step, walltime)

    def add_text(self, tag: str, text_string: str, global_step: int | None = None, walltime: float | None = None) -> None:
        """Adds a text in Markdown."""
        metadata = _bytes(1, _bytes(1, "text"))
        shape = _bytes(2, _integer(1, 1))
        tensor = _integer(1, 7) + _bytes(2, shape) + _bytes(8, text_string)  # 7: strings
        self._add(_bytes(1, f"{tag}/text_summary") + _bytes(9, metadata) + _bytes(8, tensor), global_step, walltime)

    def add_image(
        self, tag: str, img_tensor: Any, global_step: int | None = None, walltime: float | None = None, dataformats: str = "CHW"
    ) -> None:
        """Adds an image of bytes, or of floating-point numbers from 0 to 1; ``dataformats`` names its dimensions."""
        image = _array(img_tensor)
        if image.ndim != len(dataformats):
            raise AssertionError(
                f"size of input tensor and input format are different. tensor shape: {image.shape}, input_format: {dataformats}"
            )
        image = image.transpose([dataformats.index(d) for d in "HWC" if d in dataformats])
        image = image[:, :, None] if image.ndim == 2 else image
        if image.dtype != np.uint8:
            image = np.clip(image * 255.0, 0, 255).astype(np.uint8)
        height, width, channels = image.shape
        sizes = _integer(1, height) + _integer(2, width) + _integer(3, channels)
        self._add(_bytes(1, tag) + _bytes(4, sizes + _bytes(4, _png(np.ascontiguousarray(image)))), global_step, walltime)

    def add_images(
        self, tag: str, img_tensor: Any, global_step: int | None = None, walltime: float | None = None, dataformats: str = "NCHW"
    ) -> None:
        """Adds a batch of images beside each other, in rows of eight."""
        images = _array(img_tensor).transpose([dataformats.index(d) for d in "NHWC"])
        n, height, width, channels = images.shape
        columns = min(n, 8)
        rows = -(-n // columns)
        grid = np.zeros((rows, columns, height, width, channels), images.dtype)
        grid.reshape(-1, height, width, channels)[:n] = images
        whole = grid.transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)
        self.add_image(tag, whole, global_step, walltime, "HWC")

    def add_hparams(
        self, hparam_dict: Mapping[str, Any], metric_dict: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> None:
        """Adds the settings as a table of text, and each metric as a scalar."""
        rows = "\n".join(f"| {name} | {value} |" for name, value in hparam_dict.items())
        self.add_text("hparams", f"| setting | value |\n|---|---|\n{rows}")
        for name, value in metric_dict.items():
            self.add_scalar(name, value)

    def flush(self) -> None:
        """Writes everything to the disk."""
        for file in self._open():
            file.flush()

    def close(self) -> None:
        for file in self._open():
            file.close()

    def _open(self) -> Iterator[Any]:
        return (f.file for f in self._files.values() if not f.file.closed)

    def __enter__(self) -> SummaryWriter:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

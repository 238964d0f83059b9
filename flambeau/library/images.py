"""``torch.ops.image``: files of images, read and written by Pillow in place of torchvision's compiled library.

Source: https://docs.pytorch.org/vision/stable/io.html
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.library import operators
from flambeau.library.schema import parse_schema
from flambeau.tensor import Tensor

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # torchvision.io.ImageReadMode; 0: as the file has it


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise RuntimeError("torchvision.io reads and writes images with Pillow here: pip install pillow") from None
    return Image


def _tensor(array: np.ndarray, dtype: Any = dtypes.uint8) -> Tensor:
    return dispatch.wrap(np.ascontiguousarray(array), dtype)


def _bytes(data: Tensor) -> bytes:
    if data.dtype is not dtypes.uint8:
        raise RuntimeError("Expected a torch.uint8 tensor")
    if data.dim() != 1 or not data.numel():
        raise RuntimeError("Expected a non empty 1-dimensional tensor")
    return data.numpy().tobytes()


def read_file(filename: str) -> Tensor:
    try:
        with open(filename, "rb") as file:
            content = file.read()
    except OSError as error:
        raise RuntimeError(f"[Errno {error.errno}] {error.strerror}: '{filename}'") from None
    return _tensor(np.frombuffer(content, np.uint8).copy())


def write_file(filename: str, data: Tensor) -> None:
    if data.dtype is not dtypes.uint8:
        raise RuntimeError("Input tensor dtype should be uint8")
    if data.dim() != 1:
        raise RuntimeError("Input data should be a 1-dimensional tensor")
    with open(filename, "wb") as file:
        file.write(data.numpy().tobytes())


def _turned(image: Any, exif: bool) -> Any:
    if not exif:
        return image
    from PIL import ImageOps

    return ImageOps.exif_transpose(image)


def _planes(image: Any, mode: int) -> Tensor:
    """An image as (C, H, W) in one of torchvision's modes; those of 16 bits as uint16."""
    wide = image.mode.startswith("I")
    if wide and mode in (0, 1):
        return _tensor(np.asarray(image)[None].astype(np.uint16), dtypes.uint16)
    if mode:
        image = image.convert(_MODES[mode])
    elif image.mode in ("P", "1", "CMYK", "YCbCr", "LAB", "HSV"):
        image = image.convert("L" if image.mode == "1" else "RGBA" if "transparency" in image.info else "RGB")
    array = np.asarray(image)
    return _tensor(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def _decoder(*formats: str) -> Callable:
    def decode(data: Tensor, mode: int = 0, apply_exif_orientation: bool = False) -> Tensor:
        content = _bytes(data)
        try:
            image = _pillow().open(io.BytesIO(content), formats=formats or None)
        except Exception as error:
            what = " or ".join(formats) if formats else "jpeg, png, gif, or webp"
            raise RuntimeError(f"Content is not {what.lower()}, or is corrupted: {error}") from None
        if image.format == "GIF":
            return decode_gif(data)
        try:
            return _planes(_turned(image, apply_exif_orientation), mode)
        except OSError as error:
            raise RuntimeError(f"the image is corrupted: {error}") from None

    return decode


def decode_gif(data: Tensor) -> Tensor:
    from PIL import ImageSequence

    image = _pillow().open(io.BytesIO(_bytes(data)), formats=["GIF"])
    frames = [np.asarray(frame.convert("RGB")).transpose(2, 0, 1) for frame in ImageSequence.Iterator(image)]
    return _tensor(frames[0] if len(frames) == 1 else np.stack(frames))


def _encoded(data: Tensor, format: str, **settings: Any) -> Tensor:
    if data.dtype is not dtypes.uint8:
        raise RuntimeError("Input tensor dtype should be uint8")
    if data.dim() != 3:
        raise RuntimeError("Input data should be a 3-dimensional tensor")
    if data.shape[0] not in (1, 3):
        raise RuntimeError(f"The number of channels should be 1 or 3, got: {data.shape[0]}")
    array = data.numpy()
    image = _pillow().fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0)))
    file = io.BytesIO()
    image.save(file, format, **settings)
    return _tensor(np.frombuffer(file.getvalue(), np.uint8).copy())


def encode_png(data: Tensor, compression_level: int) -> Tensor:
    if not 0 <= compression_level <= 9:
        raise RuntimeError("Compression level should be between 0 and 9")
    return _encoded(data, "PNG", compress_level=compression_level)


def encode_jpeg(data: Tensor, quality: int) -> Tensor:
    if not 1 <= quality <= 100:
        raise RuntimeError("Image quality should be a positive number between 1 and 100")
    return _encoded(data, "JPEG", quality=quality)


def _on_gpu(*args: Any) -> Any:
    raise RuntimeError("Expected all images to be on CUDA, but there is no GPU here: use the CPU's decode_jpeg and encode_jpeg")


_DECODE = "(Tensor data, int mode, bool apply_exif_orientation=False) -> Tensor"
_OPERATORS: dict[str, Callable] = {
    "read_file(str filename) -> Tensor": read_file,
    "write_file(str filename, Tensor data) -> ()": write_file,
    f"decode_png{_DECODE}": _decoder("PNG"),
    f"decode_jpeg{_DECODE}": _decoder("JPEG"),
    f"decode_image{_DECODE}": _decoder(),
    "decode_webp(Tensor encoded_data, int mode) -> Tensor": _decoder("WEBP"),
    "decode_gif(Tensor data) -> Tensor": decode_gif,
    "encode_png(Tensor data, int compression_level) -> Tensor": encode_png,
    "encode_jpeg(Tensor data, int quality) -> Tensor": encode_jpeg,
    "decode_jpegs_cuda(Tensor[] encoded_images, int mode, Device device) -> Tensor[]": _on_gpu,
    "encode_jpegs_cuda(Tensor[] decoded_images, int quality) -> Tensor[]": _on_gpu,
    "_jpeg_version() -> int": lambda: -1,
    "_is_compiled_against_turbo() -> bool": lambda: False,
}


def define() -> None:
    """Defines the operators."""
    for schema, function in _OPERATORS.items():
        operators.define(parse_schema(schema, "image")).kernels["CompositeExplicitAutograd"] = function

"""Pictures for TensorBoard: arrays in any order of dimensions as PNG files, figures as arrays, batches as one picture."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.core import dtypes
from flambeau.tensor import Tensor

__all__ = ["as_bytes", "convert_to_HWC", "figure_to_image", "make_grid", "make_np", "png"]


def make_np(x: Any) -> np.ndarray:
    """The values of a tensor, an array or a number as an array; bfloat16 as float16.

    Raises:
        NotImplementedError: it is something else.
    """
    if isinstance(x, np.ndarray):
        return x
    if np.isscalar(x):
        return np.array([x])
    if isinstance(x, Tensor):
        return (x.to(dtypes.float16) if x.dtype is dtypes.bfloat16 else x).detach().cpu().numpy()
    raise NotImplementedError(f"Got {type(x)}, but numpy array or torch tensor are expected.")


def make_grid(I: np.ndarray, ncols: int = 8) -> np.ndarray:  # noqa: E741  (PyTorch's name)
    """Images (n, channels, height, width) beside each other, in rows of ``ncols``."""
    images = np.concatenate([I, I, I], 1) if I.shape[1] == 1 else I
    if images.ndim != 4 or images.shape[1] != 3:
        raise AssertionError("Input should be a 4D numpy array with 3 channels")
    n, channels, height, width = images.shape
    columns = min(n, ncols)
    rows = -(-n // columns)
    grid = np.zeros((rows * columns, channels, height, width), images.dtype)
    grid[:n] = images
    return (
        grid.reshape(rows, columns, channels, height, width)
        .transpose(2, 0, 3, 1, 4)
        .reshape(channels, rows * height, columns * width)
    )


def convert_to_HWC(tensor: np.ndarray, input_format: str) -> np.ndarray:
    """A picture whose dimensions ``input_format`` names as (height, width, channels); of a batch, all pictures in one."""
    if len(set(input_format)) != len(input_format):
        raise AssertionError(f"You can not use the same dimension shorthand twice.         input_format: {input_format}")
    if tensor.ndim != len(input_format):
        raise AssertionError(
            f"size of input tensor and input format are different.         tensor shape: {tensor.shape}, input_format: {input_format}"
        )
    input_format = input_format.upper()
    if len(input_format) == 4:
        return make_grid(tensor.transpose([input_format.find(d) for d in "NCHW"])).transpose(1, 2, 0)
    image = tensor.transpose([input_format.find(d) for d in "HWC"[: len(input_format)]])
    image = image[:, :, None] if image.ndim == 2 else image
    return np.concatenate([image, image, image], 2) if image.shape[2] == 1 else image


def as_bytes(image: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 1 as bytes; bytes as they are."""
    if image.dtype == np.uint8:
        return image
    return (image.astype(np.float32) * 255).clip(0, 255).astype(np.uint8)


def png(image: np.ndarray) -> bytes:
    """A picture (height, width, channels) of bytes as a PNG file. Source: https://www.w3.org/TR/png/"""
    height, width, channels = image.shape
    kind = {1: 0, 3: 2, 4: 6}[channels]
    rows = b"".join(b"\0" + row.tobytes() for row in image)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def figure_to_image(figures: Any, close: bool = True) -> np.ndarray:
    """A figure of matplotlib as a picture (channels, height, width), or several as a batch."""
    import matplotlib.backends.backend_agg as agg
    import matplotlib.pyplot as plt

    def render(figure: Any) -> np.ndarray:
        canvas = agg.FigureCanvasAgg(figure)
        canvas.draw()
        width, height = figure.canvas.get_width_height()
        pixels = np.frombuffer(canvas.buffer_rgba(), dtype=np.uint8).reshape(height, width, 4)
        if close:
            plt.close(figure)
        return np.moveaxis(pixels[:, :, :3], 2, 0)

    return np.stack([render(figure) for figure in figures]) if isinstance(figures, list) else render(figures)


def draw_boxes(image: np.ndarray, boxes: np.ndarray, labels: Sequence[str] | None = None) -> np.ndarray:
    """A picture of bytes with red frames (x of the left, y of the top, x of the right, y of the bottom) and their labels on them;
    needs Pillow."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(image)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default()
    for i, box in enumerate(boxes):
        left, top, right, bottom = (float(x) for x in box)
        draw.line([(left, top), (left, bottom), (right, bottom), (right, top), (left, top)], width=2, fill="Red")
        if labels is not None and labels[i]:
            x0, y0, x1, y1 = font.getbbox(labels[i])
            width, height = x1 - x0, y1 - y0
            margin = np.ceil(0.05 * height)
            draw.rectangle([(left, bottom - height - 2 * margin), (left + width, bottom)], fill="Red")
            draw.text((left + margin, bottom - height - margin), labels[i], fill="black", font=font)
    return np.asarray(picture)


def resized(image: np.ndarray, rescale: float) -> np.ndarray:
    """A picture of bytes, ``rescale`` times as large; needs Pillow."""
    from PIL import Image

    size = int(image.shape[1] * rescale), int(image.shape[0] * rescale)
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))


def frames_of(videos: np.ndarray) -> np.ndarray:
    """Videos (n, time, channels, height, width) as one (time, height, width, channels), which shows all of them in a grid."""
    n, time, channels, height, width = videos.shape
    whole = 1 << max(n - 1, 0).bit_length()
    rows = 1 << (n.bit_length() - 1) // 2
    filled = np.concatenate([videos, np.zeros((whole - n, time, channels, height, width), videos.dtype)])
    grid = filled.reshape(rows, whole // rows, time, channels, height, width).transpose(2, 0, 4, 1, 5, 3)
    return grid.reshape(time, rows * height, whole // rows * width, channels)


def gif(frames: np.ndarray, fps: float) -> bytes:
    """A video (time, height, width, channels) of bytes as a GIF file; needs Pillow."""
    import io

    from PIL import Image

    pictures = [Image.fromarray(frame.squeeze(-1) if frame.shape[-1] == 1 else frame) for frame in frames]
    file = io.BytesIO()
    pictures[0].save(file, format="GIF", save_all=True, append_images=pictures[1:], duration=1000 / fps, loop=0)
    return file.getvalue()

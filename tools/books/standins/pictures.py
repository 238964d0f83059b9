"""Pictures from fixed seeds: smooth colours with a shape that depends on the class."""

from __future__ import annotations

import io

import numpy as np


def arrays(count: int, side: int, channels: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """``count`` pictures (count, side, side, channels) of uint8 and their classes; a class brightens a stripe of its own."""
    stream = np.random.RandomState(seed)
    labels = stream.randint(0, classes, count)
    values = stream.randint(0, 120, (count, side, side, channels))
    for picture, label in zip(values, labels):
        start = label * side // classes
        picture[start : start + max(side // classes, 1), :, label % channels] += 120
    return values.astype(np.uint8), labels


def encoded(array: np.ndarray, form: str = "PNG") -> bytes:
    """A picture (H, W, 3) or (H, W) as the bytes of a file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(array).save(file, form)
    return file.getvalue()


def files(count: int, side: int, seed: int, form: str = "PNG") -> list[bytes]:
    """``count`` coloured pictures as files."""
    return [encoded(array, form) for array in arrays(count, side, 3, 10, seed)[0]]

"""Which elements along a dim a resized image's results are made of, with which weights."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np


def _scale(n: int, output: int, factor: float | None, align_corners: bool) -> float:
    """How far apart, in elements of the input, neighbouring results are."""
    if align_corners:
        return (n - 1) / (output - 1) if output > 1 else 0.0
    return 1.0 / factor if factor else n / output


def _cubic(x: np.ndarray, a: float) -> np.ndarray:
    """Keys' cubic convolution kernel."""
    x = np.abs(x)
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


_FILTERS = {
    "linear": (1, lambda x: np.maximum(1 - np.abs(x), 0)),
    "cubic": (2, lambda x: _cubic(x, -0.5)),
    "lanczos": (3, lambda x: np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)),
}
"""For antialiasing: a filter's radius and the filter."""


def _antialiased(kind: str, n: int, output: int, scale: float):
    radius, weight = _FILTERS[kind]
    stretch = max(scale, 1.0)
    centre = scale * (np.arange(output) + 0.5)
    first = np.maximum((centre - radius * stretch + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + radius * stretch + 0.5).astype(np.int64), n)
    taps = first[:, None] + np.arange(max(int((last - first).max(initial=1)), 1))
    weights = weight((taps - centre[:, None] + 0.5) / stretch)
    weights = np.where(taps < last[:, None], weights, 0)
    total = weights.sum(1, keepdims=True)
    weights = np.divide(weights, total, out=weights, where=total != 0)
    return np.minimum(taps, np.maximum(last - 1, 0)[:, None]), weights


@lru_cache(128)
def taps_of(kind: str, n: int, output: int, factor: float | None, align_corners: bool, antialias: bool, precise: bool):
    """For each result along a dim, the elements (output, taps) that it is made of, and their weights."""
    real: Any = np.float64 if precise else np.float32
    scale = real(_scale(n, output, factor, align_corners))
    if antialias:
        return _antialiased(kind, n, output, float(scale))
    at = np.arange(output, dtype=real)
    if kind.startswith("nearest"):
        source = np.floor((at + real(0.5)) * scale if kind == "nearest-exact" else at * scale)
        return np.minimum(source.astype(np.int64), n - 1)[:, None], np.ones((output, 1), real)
    source = at * scale if align_corners else (at + real(0.5)) * scale - real(0.5)
    if kind == "linear":
        source = np.maximum(source, 0)
    first = np.minimum(np.floor(source).astype(np.int64), n - 1)
    rest = np.clip(source - first, 0, 1)
    if kind == "linear":
        return np.stack([first, np.minimum(first + 1, n - 1)], 1), np.stack([1 - rest, rest], 1)
    offsets = np.arange(-1, 3)
    return np.clip(first[:, None] + offsets, 0, n - 1), _cubic(rest[:, None] - offsets.astype(real), -0.75)

"""Pools, padding and pictures: operators of PyTorch's as ONNX's.

Source: https://onnx.ai/onnx/operators/ (opset 18)
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from flambeau.onnx.translations.registry import translates


@translates("max_pool1d", "max_pool2d", "max_pool3d")
def _max_pool(
    w: Any,
    x: Any,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    n = int(w.name[-2])
    kernel, padding, dilation = each(kernel, n), each(padding, n), each(dilation, n)
    settings = {"strides": each(stride or kernel, n), "pads": padding * 2, "dilations": dilation, "ceil_mode": int(ceil_mode)}
    return largest(w, x, kernel, settings, return_indices or len(w.results) == 2)


def largest(w: Any, x: Any, kernel: Sequence[int], settings: dict[str, Any], indices: bool) -> Any:
    """The largest of windows and, if wanted, where it is: ONNX counts through the whole tensor, PyTorch through a picture."""
    n = len(kernel)
    batch = x if len(x.shape) == n + 2 else w.op("Unsqueeze", x, w.ints([0]))
    made = w.op("MaxPool", batch, kernel_shape=list(kernel), outputs=1 + indices, **settings)
    parts = list(made) if indices else [made]
    if indices:
        parts[1] = w.op("Mod", parts[1], w.constant(prod(x.shape[-n:]), "int64"), dtype="int64")
    if batch is not x:
        parts = [w.op("Squeeze", part, w.ints([0]), dtype=part.dtype) for part in parts]
    return tuple(parts) if indices else parts[0]


@translates("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _avg_pool(
    w: Any,
    x: Any,
    kernel: Any,
    stride: Any = (),
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: Any = None,
) -> Any:
    n = int(w.name[-2])
    kernel, padding = each(kernel, n), each(padding, n)
    settings = {"strides": each(stride or kernel, n), "pads": padding * 2, "ceil_mode": int(ceil_mode)}
    if divisor_override and (ceil_mode or any(padding) and not count_include_pad):
        w.refuse("avg_pool with divisor_override beside ceil_mode or count_include_pad=False")
    out = mean_of(w, x, n, kernel_shape=kernel, count_include_pad=int(count_include_pad), **settings)
    return out if not divisor_override else w.op("Mul", out, w.number(prod(kernel) / divisor_override, x))


def mean_of(w: Any, x: Any, n: int, **settings: Any) -> Any:
    """Means of windows of ``n`` dims, with or without a batch."""
    if len(x.shape) == n + 2:
        return w.op("AveragePool", x, **settings)
    return w.op("Squeeze", w.op("AveragePool", w.op("Unsqueeze", x, w.ints([0])), **settings), w.ints([0]))


@translates(
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "_adaptive_avg_pool1d",
    "_adaptive_avg_pool2d",
    "_adaptive_avg_pool3d",
)
def _adaptive_avg_pool(w: Any, x: Any, size: Any) -> Any:
    """Of one window the mean; of windows of one size a pool; else a product with a matrix of shares for each dim."""
    n = int(w.name[-2])
    inner, wanted = x.shape[-n:], each(size, n)
    wanted = [size if k is None else k for size, k in zip(inner, wanted, strict=True)]
    if all(k == 1 for k in wanted):
        return w.op("ReduceMean", x, w.ints(list(range(-n, 0))), keepdims=1)
    if not any([size % k for size, k in zip(inner, wanted, strict=True)]):
        kernel = [size // k for size, k in zip(inner, wanted, strict=True)]
        return mean_of(w, x, n, kernel_shape=kernel, strides=kernel)
    rank = len(x.shape)
    for d, (size, k) in enumerate(zip(inner, wanted, strict=True), rank - n):
        shares = np.zeros((size, k))
        for j in range(k):
            start, end = j * size // k, -(-(j + 1) * size // k)
            shares[start:end, j] = 1 / (end - start)
        order = [*range(d), *range(d + 1, rank), d]
        x = w.op("MatMul", w.op("Transpose", x, perm=order), w.constant(shares, x.dtype))
        x = w.op("Transpose", x, perm=[*range(d), rank - 1, *range(d, rank - 1)])
    return x


@translates("_adaptive_max_pool1d", "_adaptive_max_pool2d", "_adaptive_max_pool3d")
def _adaptive_max_pool(w: Any, x: Any, size: Any, *rest: Any) -> Any:
    n = int(w.name[-2])
    inner, wanted = x.shape[-n:], each(size, n)
    if any([size % k for size, k in zip(inner, wanted, strict=True)]):
        w.refuse(f"adaptive_max_pool of {inner} to {wanted}, whose windows are of several sizes")
    kernel = [size // k for size, k in zip(inner, wanted, strict=True)]
    return largest(w, x, kernel, {"strides": kernel}, len(w.results) == 2)


@translates("pad", "constant_pad_nd")
def _pad(w: Any, x: Any, pad: Sequence[int], *rest: Any) -> Any:
    mode, value = (
        ("constant", rest[0] if rest else 0)
        if w.name == "constant_pad_nd"
        else (rest[0] if rest else "constant", rest[1] if len(rest) > 1 else None)
    )
    pairs = [(0, 0)] * (len(x.shape) - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    sizes = w.ints([a for a, _ in pairs] + [b for _, b in pairs])
    if mode == "constant":
        return w.op("Pad", x, sizes, w.number(value or 0, x), mode="constant")
    if mode != "circular":
        return w.op("Pad", x, sizes, mode={"replicate": "edge"}.get(mode, mode))
    for d, (before, after) in enumerate(pairs):  # what ONNX calls wrap is younger than opset 18
        n = x.shape[d]
        if before or after:
            x = w.op("Gather", x, w.constant(np.arange(-before, n + after) % n, "int64"), axis=d)
    return x


def each(x: Any, n: int) -> list:
    """A setting for each of ``n`` dims."""
    return list(x) if isinstance(x, (list, tuple)) else [x] * n

"""Sizes and indices: what is computed of shapes alone stays in NumPy, so that no trace must run before a size is known.

A value is *here* when it is an array of NumPy's: the result of ``Shape`` and ``Size``, small integer constants, and whatever the
operators below make of these. All else are tensors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

LARGEST = 64
"""Constants of more elements are tensors."""


def _gather(x: np.ndarray, indices: np.ndarray, axis: int = 0) -> np.ndarray:
    return np.take(x, indices, axis)


def _slice(x: np.ndarray, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> np.ndarray:
    starts, ends = np.ravel(starts), np.ravel(ends)
    axes = range(len(starts)) if axes is None else np.ravel(axes)
    steps = [1] * len(starts) if steps is None else np.ravel(steps)
    index = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps):
        chosen = range(*slice(int(start), int(end), int(step)).indices(x.shape[axis]))
        stop = chosen.stop if chosen.step > 0 or chosen.stop >= 0 else None
        index[axis] = slice(chosen.start, stop, chosen.step)
    return x[tuple(index)]


def _unsqueeze(x: np.ndarray, axes: Any) -> np.ndarray:
    return np.expand_dims(x, tuple(int(a) for a in np.ravel(axes)))


def _squeeze(x: np.ndarray, axes: Any = None) -> np.ndarray:
    return np.squeeze(x, None if axes is None else tuple(int(a) for a in np.ravel(axes)))


def _reshape(x: np.ndarray, shape: np.ndarray, allowzero: int = 0) -> np.ndarray:
    sizes = [int(n) for n in shape]
    return x.reshape(sizes if allowzero else [x.shape[i] if n == 0 else n for i, n in enumerate(sizes)])


def _div(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Rounds towards zero, in integers of any size."""
    quotient = np.floor_divide(x, y)
    return np.where((quotient < 0) & (quotient * y != x), quotient + 1, quotient).astype(x.dtype)


def _reduced(function: Callable[..., Any]) -> Callable[..., np.ndarray]:
    def reduce(x: np.ndarray, axes: Any = None, keepdims: int = 1, noop_with_empty_axes: int = 0) -> np.ndarray:
        chosen = None if axes is None or not np.size(axes) else tuple(int(a) for a in np.ravel(axes))
        if chosen is None and noop_with_empty_axes:
            return x
        return np.asarray(function(x, axis=chosen, keepdims=bool(keepdims)), x.dtype)

    return reduce


HOST: dict[str, Callable[..., Any]] = {
    "Add": np.add,
    "Concat": lambda *parts, axis: np.concatenate(parts, axis),
    "Div": _div,
    "Equal": np.equal,
    "Gather": _gather,
    "Greater": np.greater,
    "Identity": lambda x: x,
    "Less": np.less,
    "Max": lambda *xs: np.maximum.reduce(xs),
    "Min": lambda *xs: np.minimum.reduce(xs),
    "Mul": np.multiply,
    "Neg": np.negative,
    "Not": np.logical_not,
    "ReduceMax": _reduced(np.max),
    "ReduceMin": _reduced(np.min),
    "ReduceProd": _reduced(np.prod),
    "ReduceSum": _reduced(np.sum),
    "Reshape": _reshape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": np.subtract,
    "Transpose": lambda x, perm=None: np.transpose(x, perm),
    "Unsqueeze": _unsqueeze,
    "Where": np.where,
}
"""What is computed here if all inputs are here."""

"""What is told of a tensor's values: statistics, a histogram, and small ones in full."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from flambeau import no_grad
from flambeau.core import dtypes
from flambeau.tensor import Tensor

IN_FULL = 64
"""So many elements at most are shown one by one."""
BINS = 16
"""Bars of a histogram."""
LOOKED_AT = 1 << 20
"""Of larger tensors the histogram is of so many elements, spread evenly."""


def copied(tensor: Tensor) -> Tensor | None:
    """The values of ``tensor`` as they are now, off the tape; ``None`` where it has none (of the device ``meta``, or sparse)."""
    if tensor.is_meta or hasattr(type(tensor), "_intercept"):
        return None
    with no_grad():
        return tensor.detach().clone()


def short_dtype(dtype: dtypes.dtype) -> str:
    """``float32`` for ``torch.float32``."""
    return str(dtype).removeprefix("torch.")


def numbers_of(tensor: Tensor) -> np.ndarray:
    """The elements as numbers that NumPy computes with; of complex ones the absolute values."""
    values = tensor.detach().resolve_conj().resolve_neg()
    if tensor.is_complex():
        values = values.abs()
    array: np.ndarray = values.float().numpy() if values.dtype in (dtypes.float16, dtypes.bfloat16) else values.numpy()
    return array


def described(tensor: Tensor) -> dict[str, Any]:
    """Shape, dtype, statistics, histogram and, of up to :data:`IN_FULL` elements, all values, as JSON can hold them.

    ``min``, ``max``, ``mean`` and ``std`` are of the finite elements; ``odd`` counts the others, ``zeros`` those that are 0.

    >>> import flambeau as torch
    >>> found = described(torch.tensor([0.0, 1.0, float("nan")]))
    >>> found["shape"], found["mean"], found["odd"], found["zeros"], found["full"]
    ([3], 0.5, 1, 1, [0.0, 1.0, 'nan'])
    """
    found: dict[str, Any] = {"shape": list(tensor.shape), "dtype": short_dtype(tensor.dtype)}
    if tensor.is_meta:
        return found
    array = numbers_of(tensor)
    flat = array.reshape(-1)
    if flat.size <= IN_FULL:
        found["full"] = _plain(array.tolist())
    numbers = flat.astype(np.float64)
    finite = numbers[np.isfinite(numbers)]
    found |= {"count": int(flat.size), "odd": int(flat.size - finite.size), "zeros": int((numbers == 0).sum())}
    if finite.size:
        with np.errstate(all="ignore"):
            found |= {name: float(f(finite)) for name, f in (("min", np.min), ("max", np.max), ("mean", np.mean), ("std", np.std))}
        found["bars"] = _bars(finite, found["min"], found["max"])
    shown: dict[str, Any] = _plain(found)
    return shown


def _bars(values: np.ndarray, low: float, high: float) -> list[int]:
    """How many values lie in each of :data:`BINS` equal parts of what they span."""
    looked = values[:: max(1, -(-values.size // LOOKED_AT))]
    width = high - low
    if not width or not math.isfinite(width):
        return [int(looked.size)]
    places = np.minimum(((looked - low) / width * BINS).astype(np.int64), BINS - 1)
    counts: list[int] = np.bincount(places, minlength=BINS).tolist()
    return counts


def _plain(x: Any) -> Any:
    """``x`` with texts in place of what JSON has no number for."""
    if isinstance(x, float) and not math.isfinite(x):
        return str(x)
    if isinstance(x, list):
        return [_plain(e) for e in x]
    if isinstance(x, dict):
        return {name: _plain(e) for name, e in x.items()}
    return x

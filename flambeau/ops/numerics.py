"""What NumPy kernels of special functions share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def in_double(kernel: Callable) -> Callable:
    """``kernel`` computed in float64 where its arrays are float32; the engine rounds the result.

    Numbers are rounded to float32 first: that is what they would be in float32.
    """

    def wide(*args, **attrs):
        if any(getattr(x, "dtype", None) == np.float32 for x in args):
            args = [x.astype(np.float64) if isinstance(x, np.ndarray) else float(np.float32(x)) for x in args]
        return kernel(*args, **attrs)

    return wide


_UNSIGNED = {np.dtype(f"i{n}"): np.dtype(f"u{n}") for n in (1, 2, 4, 8)}


def all_below(index: np.ndarray, n: int) -> bool:
    """Whether all of an array of integers are in ``[0, n)``; in one pass, since negative ones are large without their sign."""
    unsigned = index.view(_UNSIGNED.get(index.dtype, index.dtype))
    return not index.size or bool(np.maximum.reduce(unsigned, axis=None) < n)


_BLOCK = 8192


def in_blocks(kernel: Callable) -> Callable:
    """``kernel`` on a part of the elements at a time, so that its many temporaries stay in the processor's cache."""

    def blocked(*arrays):
        arrays = np.broadcast_arrays(*arrays)
        flat = [a.reshape(-1) for a in arrays]
        out = np.empty(arrays[0].shape, arrays[0].dtype)
        result = out.reshape(-1)
        for i in range(0, result.size, _BLOCK):
            result[i : i + _BLOCK] = kernel(*[a[i : i + _BLOCK] for a in flat])
        return out

    return blocked


def polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    r""":math:`\sum_k c_k x^k`, by Horner's rule."""
    y = np.full_like(x, coefficients[-1])
    for c in coefficients[-2::-1]:
        y *= x
        y += x.dtype.type(c)
    return y


def chebyshev(coefficients: tuple[float, ...], t: np.ndarray) -> np.ndarray:
    r""":math:`\sum_k c_k T_k(t)` of Chebyshev polynomials on :math:`[-1, 1]`, by Clenshaw's recurrence."""
    double = 2 * t
    b1 = np.full_like(t, coefficients[-1])
    b2 = np.zeros_like(t)
    for c in coefficients[-2:0:-1]:
        b1, b2 = double * b1 - b2 + c, b1
    return t * b1 - b2 + coefficients[0]


def select(condition: np.ndarray, x, y):
    """``numpy.where``, on the bits of the values: without branches, an irregular condition costs nothing."""
    dtype = np.result_type(x, y)
    if dtype.itemsize not in (4, 8):
        return np.where(condition, x, y)
    bits = np.dtype(f"i{dtype.itemsize}")
    mask = -condition.astype(bits)
    if y.__class__ is int and y == 0:
        return (np.asarray(x, dtype).view(bits) & mask).view(dtype)
    if x.__class__ is int and x == 0:
        return (np.asarray(y, dtype).view(bits) & ~mask).view(dtype)
    x, y = np.asarray(x, dtype).view(bits), np.asarray(y, dtype).view(bits)
    return (((x ^ y) & mask) ^ y).view(dtype)

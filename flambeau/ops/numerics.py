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
            wider = [x.astype(np.float64) if isinstance(x, np.ndarray) else float(np.float32(x)) for x in args]
            return kernel(*wider, **attrs)
        return kernel(*args, **attrs)

    return wide


def fused_multiply_add(a, b, c) -> np.ndarray:
    """``a * b + c``, of float32 or of float64, rounded once.

    The product is split into what it is rounded to and its error (Dekker, "A floating-point technique for extending the
    available precision", 1971), likewise the sum. What is left over is rounded to odd, so that the last rounding is that of
    the exact value (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", 2008).
    """
    a, b, c = np.asarray(a), np.asarray(b), np.asarray(c)
    if a.dtype == np.float32:  # the product is exact in float64
        product, c = np.multiply(a, b, dtype=np.float64), c.astype(np.float64)
        total = c + product
        return (_to_odd(*_two_sum(c, product)) if _is_near_halfway(total) else total).astype(np.float32)
    product = a * b
    (a0, a1), (b0, b1) = _halves(a), _halves(b)
    error = ((a0 * b0 - product) + a0 * b1 + a1 * b0) + a1 * b1
    total, rest = _two_sum(c, product)
    exact = total + _to_odd(*_two_sum(rest, error))
    return np.where(np.isfinite(exact), exact, a * b + c)


def _is_near_halfway(x: np.ndarray) -> bool:
    """Whether the error of a float64 number could change what float32 number it is rounded to: where it lies between two of them."""
    bits = np.asarray(x).view(np.uint64)
    if ((bits & _BEYOND_FLOAT32) == _HALF).any():
        return True
    return bool((((bits << _ONE) - _ONE) < _SMALL).any())  # those of subnormals lie elsewhere; 0 becomes the greatest


_ONE, _BEYOND_FLOAT32, _HALF = np.uint64(1), np.uint64((1 << 29) - 1), np.uint64(1 << 28)
_SMALL = np.uint64((1023 - 126) << 53)  # the least normal float32 number, without its sign


def _two_sum(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``a + b``, and the error of its rounding."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _halves(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The leading 26 bits of float64 numbers, and the rest."""
    scaled = x * 134217729.0
    high = scaled - (scaled - x)
    return high, x - high


def _to_odd(x: np.ndarray, error: np.ndarray) -> np.ndarray:
    """``x + error`` as a float64 number whose last bit is set where it is not exact."""
    even = np.asarray(x).view(np.int64) & 1 == 0
    return np.where((error != 0) & even, np.nextafter(x, np.where(error > 0, np.inf, -np.inf)), x)


_UNSIGNED = {np.dtype(f"i{n}"): np.dtype(f"u{n}") for n in (1, 2, 4, 8)}


_FEW = 16
"""Of so many elements Python finds the extremes sooner than NumPy does."""


def all_below(index: np.ndarray, n: int) -> bool:
    """Whether all of an array of integers are in ``[0, n)``; in one pass, since negative ones are large without their sign."""
    if 0 < index.size <= _FEW:
        values = index.reshape(-1).tolist()
        return min(values) >= 0 and max(values) < n
    if 0 in index.strides:  # expanded: each is there many times
        index = index[tuple([slice(None) if s else slice(1) for s in index.strides])]
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

"""From uniform numbers to normal ones, in the arithmetic of PyTorch's CPU kernels.

Box and Muller (Annals of Mathematical Statistics 29, 1958): with u and v uniform, ``sqrt(-2 log u)`` times the cosine
and the sine of ``2 pi v`` are two independent normal samples.

In ``float32`` PyTorch evaluates log, sin and cos by the polynomials of the Cephes library (S. Moshier, *Methods and
Programs for Mathematical Functions*, 1989; ``logf``, ``sinf``, ``cosf``), with fused multiply-adds. The same steps with
the same roundings give the same bits, on any machine.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_f32 = np.float32

SQRT_HALF = _f32(0.707106781186547524)
LOG = tuple(
    map(
        _f32,
        (
            7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
            -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
        ),
    )
)  # fmt: skip
LN2_HIGH, LN2_LOW = _f32(0.693359375), _f32(-2.12194440e-4)

FOUR_OVER_PI = _f32(1.27323954473516)
PI_OVER_FOUR = tuple(map(_f32, (0.78515625, 2.4187564849853515625e-4, 3.77489497744594108e-8)))  # in three parts
SIN = tuple(map(_f32, (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)))
COS = tuple(map(_f32, (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2)))

_TWO_PI = 2 * math.pi
_BLOCKS = 2048  # blocks of 16 worked on at a time, so that the intermediate arrays stay in the cache


def fma(a: np.ndarray, b: Any, c: Any) -> np.ndarray:
    """``a * b + c`` rounded once, for ``float32`` or ``float64`` arrays ``a`` and scalars or arrays ``b`` and ``c``."""
    with np.errstate(over="ignore", invalid="ignore"):
        if a.dtype == np.float32:
            return _fma32(a, b, c)
        # float64: the product's and the sum's rounding errors, exactly (Dekker 1971, Knuth 1969), then added back.
        product, total = a * b, a * b + c
        a_high, b_high = _upper_half(a), _upper_half(np.float64(b))
        a_low, b_low = a - a_high, b - b_high
        product_error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low
        shadow = total - product
        total_error = (product - (total - shadow)) + (c - shadow)
        result: np.ndarray = total + (product_error + total_error)
    result[~np.isfinite(result)] = total[~np.isfinite(result)]
    return result


def _fma32(a: np.ndarray, b: Any, c: Any) -> np.ndarray:
    exact = np.multiply(a, b, dtype=np.float64)
    return _rounded(exact + c, exact, c)


_LOST, _HALF = np.int64((1 << 29) - 1), np.int64(1 << 28)  # the digits that float32 does not have; half of its last one


def _rounded(total: np.ndarray, product: np.ndarray, c: Any) -> np.ndarray:
    """``product + c`` as ``float32``, given the sum as ``float64``.

    Rounding twice is like rounding once, unless the first time ends half-way between two ``float32`` numbers: there what was
    lost decides.
    """
    rounded = total.astype(np.float32)
    half = (total.view(np.int64) & _LOST) == _HALF
    if np.count_nonzero(half):
        total, product, c = total[half], product[half], np.broadcast_to(c, half.shape)[half]
        shadow = total - product
        error = (product - (total - shadow)) + (c - shadow)
        rounded[half] = np.nextafter(total, np.where(error == 0, total, np.copysign(np.inf, error))).astype(np.float32)
    return rounded


def _upper_half(x: Any) -> Any:
    """The leading 26 bits of a ``float64``."""
    shifted = x * 134217729.0  # 2**27 + 1
    return shifted - (shifted - x)


def _horner(coefficients: tuple[np.float32, ...], x: np.ndarray) -> np.ndarray:
    """The polynomial with these coefficients, highest first, of ``float32`` numbers: a fused multiply-add a step."""
    wide = x.astype(np.float64)
    value = np.full(x.shape, coefficients[0])
    for c in coefficients[1:]:
        product = wide * value
        value = _rounded(product + c, product, c)
    return value


def _log(x: np.ndarray) -> np.ndarray:
    """The natural logarithm of positive ``float32`` numbers."""
    bits = x.view(np.int32)
    exponent = (bits >> 23) - 126
    x = ((bits & 0x7F_FFFF) | 0x3F00_0000).view(_f32)  # the fraction, in [1/2, 1)
    small = x < SQRT_HALF
    e = (exponent - small).astype(_f32)
    x = np.where(small, x + x, x) - _f32(1)
    z = x * x
    y = _fma32(_horner(LOG, x) * x, z, e * LN2_LOW)
    log: np.ndarray = (x + (y - z * _f32(0.5))) + e * LN2_HIGH
    return log


def _sin_cos(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The sine and cosine of ``float32`` numbers from 0 to 2 pi."""
    octant = ((x * FOUR_OVER_PI).astype(np.int32) + 1) & ~1
    j = octant.astype(_f32)
    high, middle, low = PI_OVER_FOUR
    x = _fma32(j, -low, x - j * high - j * middle)  # the first two products are exact
    z = x * x
    cos = _fma32(_horner(COS, z) * z, z, z * _f32(-0.5)) + _f32(1)
    sin = _fma32(_horner(SIN, z) * z, x, x)
    swap = (octant & 2) != 0
    sin, cos = np.where(swap, cos, sin), np.where(swap, sin, cos)
    return np.where(octant & 4, -sin, sin), np.where((octant + 2) & 4, -cos, cos)


def _pairs32(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius = np.sqrt(_log(u) * _f32(-2))
    sin, cos = _sin_cos(v * _f32(_TWO_PI))
    return radius * cos, radius * sin


def _pairs64(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius = np.sqrt(-2 * np.log(u))
    angle = _TWO_PI * v
    return radius * np.cos(angle), radius * np.sin(angle)


def by_sixteen(uniform: np.ndarray, mean: float, std: float) -> np.ndarray:
    """Normal samples from uniform ones, 16 at a time: the first 8 of each block give radii, the last 8 angles.

    ``uniform``: ``float32`` or ``float64``, one-dimensional, its length a multiple of 16. The result is as long.
    """
    scalar = uniform.dtype.type
    blocks = uniform.reshape(-1, 2, 8)
    result = np.empty_like(blocks)
    pairs = _pairs32 if scalar is np.float32 else _pairs64
    for start in range(0, len(blocks), _BLOCKS):
        part = blocks[start : start + _BLOCKS]
        first, second = pairs(1 - part[:, 0], part[:, 1])  # [0, 1) becomes (0, 1], whose logarithm is finite
        result[start : start + _BLOCKS, 0] = first
        result[start : start + _BLOCKS, 1] = second
    result = result.reshape(-1)
    return result + scalar(mean) if std == 1 else fma(result, scalar(std), scalar(mean))


def by_pairs(uniform: np.ndarray) -> np.ndarray:
    """Normal samples from ``float64`` uniform ones, as the serial kernel makes them: cosine, sine, cosine, ..."""
    if len(uniform) <= 16:
        return np.array(_few_by_pairs(uniform.tolist()))
    u, v = uniform[0::2], uniform[1::2]
    radius = np.log1p(-v)
    radius *= -2
    np.sqrt(radius, out=radius)
    angle = _TWO_PI * u
    samples = np.empty_like(uniform)
    np.multiply(radius, np.cos(angle), out=samples[0::2])
    np.multiply(radius, np.sin(angle), out=samples[1::2])
    return samples


def _few_by_pairs(uniform: list[float]) -> list[float]:
    samples: list[float] = []
    for u, v in zip(uniform[0::2], uniform[1::2], strict=True):
        radius, angle = math.sqrt(-2 * math.log1p(-v)), _TWO_PI * u
        samples += (radius * math.cos(angle), radius * math.sin(angle))
    return samples

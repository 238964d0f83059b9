"""Distributions whose samples each take a fixed number of random words, drawn as whole NumPy arrays.

``size`` is an int or a tuple, ``dtype`` a NumPy dtype; results are in C order. Every function checks its parameters with
PyTorch's errors and draws nothing for an empty result.
"""

from __future__ import annotations

import math
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from flambeau.core.dtypes import complex32, scalar_name

from .boxmuller import by_pairs, by_sixteen, fma
from .generator import Generator

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

Size = int | tuple[int, ...]
BFLOAT16, HALF, FLOAT, DOUBLE = map(np.dtype, (ml_dtypes.bfloat16, np.float16, np.float32, np.float64))
DIGITS: dict[np.dtype, int] = {DOUBLE: 53, FLOAT: 24, HALF: 11, BFLOAT16: 8}
_LARGEST = {d: float(ml_dtypes.finfo(d).max) for d in DIGITS}
_REAL: dict[np.dtype, np.dtype] = {complex32.np: HALF, np.dtype(np.complex64): FLOAT, np.dtype(np.complex128): DOUBLE}
_WIDE_UNSIGNED = frozenset(map(np.dtype, (np.uint16, np.uint32, np.uint64)))  # most kernels do not know them
_INT64_MIN, _INT64_MAX = -(1 << 63), (1 << 63) - 1


def unsupported(kernel: str, dtype: np.dtype) -> NotImplementedError:
    """The error of a kernel that PyTorch does not have for a dtype."""
    return NotImplementedError(f"\"{kernel}\" not implemented for '{scalar_name(dtype)}'")


def _floating(kernel: str, dtype: DTypeLike) -> np.dtype:
    dtype = np.dtype(dtype)
    if dtype not in DIGITS:
        raise unsupported(kernel, dtype)
    return dtype


def _count(size: Size) -> int:
    return size if isinstance(size, int) else math.prod(size)


def shaped(values: np.ndarray, size: Size, dtype: np.dtype) -> np.ndarray:
    """``values`` in another dtype and shape."""
    if dtype.itemsize == 2 and dtype in (HALF, BFLOAT16):
        values = values.astype(np.float32)  # PyTorch rounds to 16 bits by way of float32
    return values.astype(dtype, copy=False).reshape(size)


# --- uniform and normal ------------------------------------------------------------------------------------------


def uniform(generator: Generator, size: Size, low: float = 0.0, high: float = 1.0, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Samples of the uniform distribution on [low, high), of a floating or complex dtype.

    ``float64`` samples have 53 random bits, all others 24. Complex ones are two real samples each.
    """
    dtype = np.dtype(dtype)
    if dtype in _REAL:
        parts = uniform(generator, 2 * _count(size), low, high, _REAL[dtype])
        return parts.view(dtype).reshape(size)
    dtype = _floating("check_uniform_bounds", dtype)
    if low != 0 or high != 1:
        _check_bounds(low, high, dtype)
    if dtype is FLOAT:
        values = np.empty(size, FLOAT)
        if generator.native("floats", values, low, high):
            return values
    n = _count(size)
    values = generator.doubles(n) if dtype == DOUBLE else generator.floats(n)
    low, high = values.dtype.type(low), values.dtype.type(high)
    if low == 0:
        if high != 1:
            values *= high
    else:
        values = fma(values, high - low, low)
    values = shaped(values, size, dtype)
    if dtype.itemsize == 2 or high != 1:  # rounding may reach the open end of the range
        values[values == dtype.type(high)] = dtype.type(low)
    return values


def _check_bounds(low: float, high: float, dtype: np.dtype) -> None:
    limit = _LARGEST[dtype]
    for name, value in (("from", low), ("to", high)):
        if not -limit <= value <= limit:
            raise RuntimeError(f"{name} is out of bounds for {dtype.name}: expected at most {limit:g} in size, got {value:g}")
    if not low <= high:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}")
    if high - low > limit:
        raise RuntimeError(
            f"uniform_ expects to-from <= std::numeric_limits<{scalar_name(dtype)}>::max(), "
            f"but found to={high:g} and from={low:g} which result in to-from to exceed the limit"
        )


def normal(
    generator: Generator,
    size: Size,
    mean: float | np.ndarray = 0.0,
    std: float | np.ndarray = 1.0,
    dtype: DTypeLike = np.float32,
    contiguous: bool = True,
) -> np.ndarray:
    """Samples of the normal distribution, of a floating or complex dtype.

    ``mean`` and ``std`` may be arrays that broadcast with ``size``. A complex sample's variance ``std**2`` is shared by
    its real and imaginary part. PyTorch has two kernels: one for 16 samples or more, and a serial one, which keeps the
    second sample of a Box-Muller pair for later, for fewer, or where the tensor to be filled is not ``contiguous``.
    """
    dtype = np.dtype(dtype)
    if isinstance(std, np.ndarray):
        if std.dtype.kind == "c":
            raise RuntimeError("normal expects standard deviation to be non-complex")
        if std.size and not std.min() >= 0:
            raise RuntimeError(f"normal expects all elements of std >= 0.0, but the smallest is {std.min()}")
        samples: np.ndarray = normal(generator, size, 0.0, 1.0, dtype) * std.astype(dtype) + np.asarray(mean, dtype)
        return samples
    if isinstance(mean, np.ndarray):
        samples = normal(generator, size, 0.0, std, dtype) + mean.astype(dtype)
        return samples
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")
    if dtype in _REAL:
        parts = normal(generator, 2 * _count(size), mean, std / math.sqrt(2), _REAL[dtype], contiguous)
        return parts.view(dtype).reshape(size)
    dtype = _floating("normal_kernel_cpu", dtype)
    n = _count(size)
    if n < 16 or not contiguous:
        values = _serial_normal(generator, n)
        if std == 1:
            values += float(mean)
        else:
            values = fma(values, float(std), float(mean))
        return shaped(values, size, dtype)
    whole = n - n % 16
    # The last n % 16 samples belong to a block of 16 made anew from 16 more uniform numbers, which overwrites the end of
    # what was there. In float32 and float64 the uniform numbers that would have made the partial block are drawn in vain.
    if dtype.itemsize == 2:
        values = np.empty(n, FLOAT)
        values[:whole] = normal(generator, whole, mean, std)
        if whole < n:
            values[-16:] = normal(generator, 16, mean, std)
        return shaped(values, size, dtype)
    values = np.empty(size, dtype)
    if dtype is FLOAT and generator.native("normals", values, mean, std):
        return values
    draw = generator.doubles if dtype == DOUBLE else generator.floats
    flat = values.reshape(-1)
    flat[:whole] = by_sixteen(draw(n)[:whole], mean, std)
    if whole < n:
        flat[-16:] = by_sixteen(draw(16), mean, std)
    return values


def _serial_normal(generator: Generator, n: int) -> np.ndarray:
    """``n`` standard normal samples as ``float64``; an odd sample is kept for the next call."""
    if n == 0:
        return np.empty(0)
    kept, generator.next_normal = generator.next_normal, None
    missing = n if kept is None else n - 1
    samples = by_pairs(generator.doubles(missing + missing % 2))
    if kept is not None:
        samples = np.concatenate(([kept], samples))
    if len(samples) == n:
        return samples
    generator.next_normal = float(samples[n])
    return samples[:n]


# --- integers ----------------------------------------------------------------------------------------------------


def integers(generator: Generator, size: Size, low: int = 0, high: int | None = None, dtype: DTypeLike = np.int64) -> np.ndarray:
    """Uniform integers from ``low`` to ``high - 1``, of any real dtype (``randint``, ``random_(from, to)``).

    ``high=None`` means as far as the dtype counts: its largest integer, or 2**digits for a floating one. A range of
    2**28 or more takes 64 bits a sample, a smaller one 32.
    """
    dtype = np.dtype(dtype)
    if dtype in _REAL:
        raise RuntimeError("check_random_bounds handles only integral, floating-point and boolean types")
    digits = DIGITS.get(dtype)
    if high is None and low == _INT64_MIN:
        return _all_of_64_bits(generator, size, dtype)
    if high is not None:
        if not low < high:
            raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
        if digits:
            low, high = _up_to_representable(low, dtype), _down_to_representable(high, dtype)
            if not low < high:
                raise RuntimeError(
                    f"random_ expects 'from' casted to dtype to be less than 'to' casted to dtype, but got from={low} >= to={high}"
                )
        last = high - 1
    elif digits:
        last = 1 << digits
        low = _up_to_representable(low, dtype)
        if not low < last:
            raise RuntimeError(
                "random_ expects 'from' casted to dtype to be less than or equal to 'to_inc' casted to dtype, "
                f"but got from={low} > to_inc={last}"
            )
    else:
        _, last = _whole_range(dtype)
    _check_range(low, last, dtype)
    span = last - low + 1
    if span >= 1 << 28:
        words = generator.raw64(_count(size)) % np.uint64(span)
    else:
        values = np.empty(size, np.int64)  # kernels take float64 parameters, exact below 2**53
        if abs(low) < 1 << 53 and generator.native("integers", values, low, span):
            return shaped(values, size, dtype)
        words = (generator.raw32(_count(size)) % np.uint32(span)).astype(np.uint64)
    words += np.uint64(low & 0xFFFF_FFFF_FFFF_FFFF)
    return shaped(words.view(np.int64), size, dtype)


def _check_range(low: int, last: int, dtype: np.dtype) -> None:
    first, limit = _whole_range(dtype)
    limit = min(limit, _INT64_MAX) if dtype.kind == "u" else limit
    digits = DIGITS.get(dtype)
    if not digits and first <= low <= limit and first <= last <= limit:
        return
    for name, value in (("from", low), ("to - 1", last)):
        if not first <= value <= limit:
            raise RuntimeError(f"{name} is out of bounds for {dtype.name}: expected from {first} to {limit}, got {value}")
        if digits and abs(value) > 1 << digits:
            warnings.warn(
                f"{name} is out of bounds [-(2^{digits}), 2^{digits}]. Due to precision limitations {dtype.name} can support "
                "discrete uniform distribution only within this range.",
                stacklevel=4,
            )


@cache
def _whole_range(dtype: np.dtype) -> tuple[Any, Any]:
    """The smallest and the largest number of a real dtype."""
    if dtype in DIGITS:
        return -_LARGEST[dtype], _LARGEST[dtype]
    if dtype.kind == "b":
        return 0, 1
    info = np.iinfo(dtype)
    return int(info.min), int(info.max)


def _round(value: int, dtype: np.dtype) -> int:
    """``value`` as the dtype holds it; beyond 64 bits PyTorch's conversion gives the lowest integer."""
    with np.errstate(over="ignore"):
        rounded = float(np.float32(value).astype(dtype)) if dtype.itemsize < 8 else float(value)
    return int(rounded) if _INT64_MIN <= rounded <= _INT64_MAX else _INT64_MIN


def _up_to_representable(low: int, dtype: np.dtype) -> int:
    rounded = _round(low + 1, dtype)
    if rounded < low:
        low = rounded + (1 << (abs(low + 1).bit_length() - DIGITS[dtype]))
    return low


def _down_to_representable(high: int, dtype: np.dtype) -> int:
    rounded = _round(high - 1, dtype)
    if rounded >= high:
        high = rounded - (1 << (abs(high - 1).bit_length() - DIGITS[dtype]))
    return high


def _all_of_64_bits(generator: Generator, size: Size, dtype: np.dtype) -> np.ndarray:
    kernel = "random_full_64_bits_range_kernel_cpu"
    if dtype == HALF or dtype.kind == "b" or dtype in _WIDE_UNSIGNED:
        raise unsupported(kernel, dtype)
    if dtype.kind in "iu" and dtype != np.int64:
        raise RuntimeError(f"{kernel} handles only int64, double, float and bfloat16, got {dtype.name}")
    return shaped(generator.raw64(_count(size)).view(np.int64), size, dtype)


def random(generator: Generator, size: Size, dtype: DTypeLike = np.int64) -> np.ndarray:
    """Uniform integers over all that the dtype counts: [0, max] for integers, [0, 2**digits] for floats (``random_()``)."""
    dtype = np.dtype(dtype)
    n = _count(size)
    if dtype.kind == "b":
        modulus = 2
    elif dtype in DIGITS:
        modulus = (1 << DIGITS[dtype]) + 1
    elif dtype.kind in "iu" and dtype not in _WIDE_UNSIGNED:
        modulus = int(np.iinfo(dtype).max) + 1
    else:
        raise unsupported("random_kernel_cpu", dtype)
    if dtype == np.int64 or dtype == DOUBLE:
        return shaped(generator.raw64(n) % np.uint64(modulus), size, dtype)
    return shaped(generator.raw32(n) % np.uint32(modulus), size, dtype)


def permutation(generator: Generator, n: int, dtype: DTypeLike = np.int64) -> np.ndarray:
    """A random order of ``0 .. n - 1`` by Fisher and Yates's shuffle (``randperm``)."""
    dtype = np.dtype(dtype)
    if dtype.kind in "bc" or dtype in _WIDE_UNSIGNED:
        raise unsupported("randperm", dtype)
    if n < 0:
        raise RuntimeError(f"Trying to create tensor with negative dimension {n}: [{n}]")
    if dtype in DIGITS and n > (1 << DIGITS[dtype]) + 1:
        raise RuntimeError(f"n cannot be greater than {(1 << DIGITS[dtype]) + 1} for {scalar_name(dtype)} type.")
    if dtype.kind in "iu" and n > int(np.iinfo(dtype).max) + 1:
        raise RuntimeError(f"value cannot be converted to type {dtype.name}_t without overflow")
    if n < 0xFFFF_FFFF // 20:
        order = np.empty(n, np.int64)
        if generator.native("permutation", order):
            return shaped(order, n, dtype)
        steps, left = np.arange(n), np.arange(n, 1, -1)
        partners = steps.copy()
        partners[: len(left)] += generator.raw32(len(left)) % left
        return shaped(_shuffle(partners), n, dtype)
    partners = generator.raw64(n) % np.arange(1, n + 1, dtype=np.uint64)  # 32 bits would not be uniform
    return shaped(_shuffle_inside_out(partners.view(np.int64)), n, dtype)


def _shuffle(partners: np.ndarray) -> np.ndarray:
    """``0 .. n - 1`` after the swaps of ``i`` with ``partners[i] >= i``, for i = 0, 1, ...: without a loop over i.

    Step ``i`` puts at ``i``, for good, what then stands at its partner: what an earlier step moved there, from its own
    place, or else the partner's own number. So following those moves back to their origin gives the result.
    """
    n = len(partners)
    steps = np.arange(n)
    in_order = np.sort(partners << 32 | steps)  # by place, then by step
    place, step = in_order >> 32, in_order & 0xFFFF_FFFF
    again = place[1:] == place[:-1]
    previous = np.full(n, -1)  # the last step before i with the same partner
    previous[step[1:]] = np.where(again, step[:-1], -1)
    final = np.append(~again, True)[:n]
    place, step = place[final], step[final]
    step = np.where(step == place, previous[place], step)  # the last step before place that moved something there
    origin = steps.copy()
    origin[place] = np.where(step < 0, place, step)
    while True:
        further = origin[origin]
        if np.array_equal(further, origin):
            break
        origin = further
    return np.where(previous < 0, partners, origin[previous])


def _shuffle_inside_out(partners: np.ndarray) -> np.ndarray:
    """``0 .. n - 1`` after the swaps of ``i`` with ``partners[i] <= i``, for i = 0, 1, ...

    Backwards and with the positions mirrored these are the other shuffle's swaps, which make the inverse permutation.
    """
    last = len(partners) - 1
    order = np.empty_like(partners)
    order[(last - _shuffle(last - partners[::-1]))[::-1]] = np.arange(last + 1)
    return order


# --- chances and continuous distributions ------------------------------------------------------------------------


def bernoulli(generator: Generator, size: Size, p: float | np.ndarray, dtype: DTypeLike = np.float32, one: float = 1) -> np.ndarray:
    """``one`` with probability ``p``, else 0. ``p``: a number, or an array that broadcasts to ``size``.

    A number or a ``float64`` array is compared with 53 random bits, an array of another floating dtype with 24.
    """
    dtype = np.dtype(dtype)
    kernel = "bernoulli_tensor_cpu_self_" if isinstance(p, np.ndarray) else "bernoulli_scalar_cpu_"
    if dtype.kind == "c" or dtype in _WIDE_UNSIGNED:
        raise unsupported(kernel, dtype)
    if not isinstance(p, np.ndarray):
        if not 0 <= p <= 1:
            raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")
        if dtype is FLOAT:
            values = np.empty(size, FLOAT)
            if generator.native("chances", values, p, one):
                return values
        return _with(one, generator.doubles(_count(size)).reshape(size) < p, dtype)
    n = _count(size)
    kind = _floating("bernoulli_tensor_cpu_p_", p.dtype)
    if n and p.size:
        smallest, largest = _extremes(p)
        if not (smallest >= 0 and largest <= 1):
            raise RuntimeError(
                f"Expected p_in >= 0 && p_in <= 1 to be true, but got false: probabilities from {smallest} to {largest}"
            )
    draws = generator.doubles(n) if kind == DOUBLE else generator.floats(n)
    return _with(one, draws.reshape(size) < p.astype(draws.dtype), dtype)


def _extremes(p: np.ndarray) -> tuple[Any, Any]:
    """The smallest and the largest element; NaN if there is one."""
    return np.minimum.reduce(p, None), np.maximum.reduce(p, None)


def _with(one: float, chosen: np.ndarray, dtype: np.dtype) -> np.ndarray:
    values = chosen.astype(dtype)
    return values if one == 1 else values * dtype.type(one)


def exponential(generator: Generator, size: Size, rate: float = 1.0, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Samples of the exponential distribution: ``-log(1 - u) / rate``."""
    dtype = np.dtype(dtype)
    if not rate > 0:
        raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={rate:g}")
    if dtype not in DIGITS:
        raise RuntimeError(
            "Exponential distribution is a continuous probability distribution. "
            f"dtype must be a floating point but you specified {scalar_name(dtype)}"
        )
    values = generator.doubles(_count(size))
    np.negative(values, out=values)
    np.log1p(values, out=values)
    values *= -1.0 / rate
    return shaped(values, size, dtype)


def geometric(generator: Generator, size: Size, p: float, dtype: DTypeLike = np.float32) -> np.ndarray:
    """How many trials with chance ``p`` it takes to succeed: ``ceil(log(u) / log(1 - p))``."""
    dtype = np.dtype(dtype)
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
    if dtype.kind in "bc" or dtype in _WIDE_UNSIGNED:
        raise unsupported("geometric_cpu", dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        return shaped(np.ceil(np.log(generator.doubles(_count(size))) / math.log1p(-p)), size, dtype)


def cauchy(generator: Generator, size: Size, median: float = 0.0, sigma: float = 1.0, dtype: DTypeLike = np.float32) -> np.ndarray:
    """Samples of the Cauchy distribution: ``median + sigma * tan(pi * (u - 1/2))``."""
    dtype = np.dtype(dtype)
    if not sigma > 0:
        raise RuntimeError(f"cauchy_ expects sigma > 0.0, but found sigma={sigma:g}")
    if dtype not in DIGITS:
        raise RuntimeError(
            "Cauchy distribution is a continuous probability distribution. "
            f"dtype must be a floating point but you specified {dtype.name}"
        )
    tangent = np.tan(math.pi * (generator.doubles(_count(size)) - 0.5))
    with np.errstate(over="ignore"):
        return shaped(fma(tangent, float(sigma), float(median)), size, dtype)


def log_normal(generator: Generator, size: Size, mean: float = 1.0, std: float = 2.0, dtype: DTypeLike = np.float32) -> np.ndarray:
    """The exponential function of normal samples, always drawn serially."""
    if not std > 0:
        raise RuntimeError(f"log_normal_ expects std > 0.0, but found std={std:g}")
    dtype = _floating("log_normal_cpu", dtype)
    with np.errstate(over="ignore"):
        return shaped(np.exp(fma(_serial_normal(generator, _count(size)), float(std), float(mean))), size, dtype)


def multinomial(generator: Generator, p: np.ndarray, n: int, replacement: bool = False) -> np.ndarray:
    """``n`` indices from each row of ``p``, drawn in proportion to its entries: ``int64`` of shape ``(..., n)``.

    ``p``: one or two dimensions, of a floating dtype. Without replacement (or for one sample) these are the ``n`` largest of
    ``p / q`` with ``q`` exponential (equal ones, likely only in 16 bits, in the order of their indices, where PyTorch's
    order is not defined); with replacement a uniform number is looked up in the cumulative sums.
    """
    if p.dtype not in DIGITS:
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {scalar_name(p.dtype)}")
    if p.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, got {p.ndim} dimensions of shape {p.shape}")
    if n <= 0:
        raise RuntimeError(f"cannot sample n_sample <= 0 samples, got {n}")
    categories = p.shape[-1]
    if not replacement and n > categories:
        raise RuntimeError(
            f"cannot sample n_sample > prob_dist.size(-1) samples without replacement: {n} samples of {categories} categories"
        )
    if p.ndim == 2 and len(p) == 0:
        return np.empty((0, n), np.int64)
    if categories == 0:
        raise RuntimeError(_SUMS_TO_NOTHING)
    if replacement and n > 1:
        return _with_replacement(generator, p, n)
    smallest, largest = _extremes(p)
    if not (smallest >= 0 and largest < np.inf):
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if not np.add.reduce(p, -1).all():
        raise RuntimeError(_SUMS_TO_NOTHING)
    # PyTorch fills q, laid out as p is, in the order of memory.
    by_columns = p.ndim == 2 and 0 < p.strides[0] < p.strides[1]
    q = exponential(generator, p.T.shape if by_columns else p.shape, 1.0, p.dtype)
    with np.errstate(divide="ignore", invalid="ignore"):
        keys: np.ndarray = p / (q.T if by_columns else q)
    if n == 1:
        return keys.argmax(-1)[..., None]
    return _largest(keys, n)


def _largest(keys: np.ndarray, n: int) -> np.ndarray:
    """Where the ``n`` largest numbers of each row are, from the largest on; equal ones in their order."""
    falling = -keys
    if 2 * n < falling.shape[-1]:
        chosen = np.sort(np.argpartition(falling, n - 1, axis=-1)[..., :n], axis=-1)
        values = np.take_along_axis(falling, chosen, -1)
        if ((falling <= values.max(-1, keepdims=True)).sum(-1) == n).all():  # else which of some equal ones were taken is chance
            return np.take_along_axis(chosen, np.argsort(values, axis=-1, kind="stable"), -1)
    return np.argsort(falling, axis=-1, kind="stable")[..., :n]


_SUMS_TO_NOTHING = "invalid multinomial distribution (sum of probabilities <= 0)"


def _with_replacement(generator: Generator, p: np.ndarray, n: int) -> np.ndarray:
    smallest, largest = _extremes(p)
    if not smallest >= 0:
        raise RuntimeError("invalid multinomial distribution (encountering probability entry < 0)")
    if not largest < np.inf:
        raise RuntimeError("invalid multinomial distribution (encountering probability entry = infinity or NaN)")
    rows = (p if p.dtype.itemsize > 2 else p.astype(np.float32)).reshape(-1, p.shape[-1])
    cumulative = np.cumsum(rows, axis=-1, dtype=rows.dtype)  # one addition after the other, as PyTorch's
    totals = cumulative[:, -1:]
    if not (totals > 0).all():
        raise RuntimeError(_SUMS_TO_NOTHING)
    cumulative = (cumulative / totals).astype(np.float64)
    cumulative[:, -1] = 1
    draws = generator.doubles(len(rows) * n).reshape(len(rows), n)
    found = np.empty((len(rows), n), np.int64)
    for row, c, d in zip(found, cumulative, draws, strict=True):
        row[:] = c.searchsorted(d)
    return found.reshape(*p.shape[:-1], n)

"""Numbers in a row: ``arange``, ``linspace`` and their like, with PyTorch's rounding.

PyTorch's loops are compiled with fused multiply-adds, and ``arange`` fills whole vectors from the first of their elements. Both
decide last bits, and a last bit decides whether ``arange(-8.0, 8.0, 0.1)`` has a zero in the middle.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import config, dtypes
from flambeau.core.errors import warn
from flambeau.core.scalars import as_python, fitting
from flambeau.ops.creation import finish
from flambeau.ops.numerics import fused_multiply_add
from flambeau.ops.record import ErrorSample, Sample, composite

if TYPE_CHECKING:
    from flambeau.core.dtypes import dtype
    from flambeau.core.memory_format import layout
    from flambeau.tensor.types import Device, Number, Tensor

_VECTOR = 16 if platform.machine().lower() in ("aarch64", "arm64") else 32
"""Bytes of the vectors in which PyTorch's ``arange`` counts: those of AVX2, also where the processor has wider ones."""
_FAR = 1 << 62
"""Integers below it may be added, or be turned into int64."""
_GRAIN = 32768
"""PyTorch shares the work among its threads in parts of at least so many elements."""


def _number(x, name: str, argument: str):
    if isinstance(x, dispatch.Tensor):
        return x.item()
    if not isinstance(x, (int, float, complex, np.number)):
        raise TypeError(f"{name}(): argument '{argument}' must be Number, not {type(x).__name__}")
    return as_python(x)


def _real(x):
    """``RuntimeError`` where a number has an imaginary part."""
    if isinstance(x, complex):
        raise RuntimeError(f"value cannot be converted to type double without overflow: {x}")
    return x


def _refuse_bool(name: str, dtype: dtypes.dtype, *, complex: bool = False) -> None:
    if dtype is dtypes.bool or dtype.is_stored or complex and dtype.is_complex:
        raise NotImplementedError(f"\"{name}_cpu\" not implemented for '{dtypes.scalar_name(dtype)}'")


def _in_vectors(make: Callable, of_vector: Callable, n: int, dtype: dtypes.dtype) -> np.ndarray:
    """``make(indices)``; in whole pairs of vectors what ``of_vector(first, lane)`` makes of each vector's first element."""
    values = make(np.arange(n)).astype(dtype.np)
    lanes = _VECTOR // dtype.itemsize
    parts = min(config.num_threads, -(-n // _GRAIN)) if n > _GRAIN else 1
    size = max(1, -(-n // parts))
    for start in range(0, n, size):
        part = values[start : start + size]
        whole = len(part) // (2 * lanes) * (2 * lanes)
        part[:whole] = of_vector(part[:whole:lanes, None], np.arange(lanes)).astype(dtype.np).reshape(-1)
    return values


@composite(
    tensors="", method=False, out="row",
    samples=lambda make: [Sample(5), Sample(1, 7, 2), Sample(0.0, 1.0, 0.3), Sample(3, 0, -1), Sample(0.0, 5.0, 0.1)],
    errors=lambda make: [
        ErrorSample(RuntimeError, "step must be nonzero", 0, 1, 0),
        ErrorSample(RuntimeError, "upper bound and lower bound inconsistent with step sign", 0, 1, -1),
        ErrorSample(RuntimeError, "unsupported range", 0, float("inf"), 1),
    ],
)  # fmt: skip
def arange(
    *bounds: Any,
    start: Number | complex = 0,
    end: Number | complex | None = None,
    step: Number | complex = 1,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    pin_memory: bool | None = False,
) -> Tensor:
    """``start, start + step, ...`` below ``end``; ``int64`` where all are integers, else the default dtype.

    Raises ``TypeError`` for no bound or more than three.

    >>> import flambeau as torch
    >>> torch.arange(5)
    tensor([0, 1, 2, 3, 4])
    >>> torch.arange(1, 2, 0.25)
    tensor([1.0000, 1.2500, 1.5000, 1.7500])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.arange.html
    """
    if len(bounds) == 1 and end is not None:
        (start,) = bounds
    elif len(bounds) == 1:
        (end,) = bounds
    elif len(bounds) == 2:
        start, end = bounds
    elif len(bounds) == 3:
        start, end, step = bounds
    if end is None:
        raise TypeError(
            "arange() received an invalid combination of arguments - expected (end), (start, end) or (start, end, step)"
        )
    if start.__class__ is end.__class__ is step.__class__ is int and dtype is None and 0 <= start <= end < _FAR and 0 < step < _FAR:
        values = np.arange(start, end, step, dtype=np.int64)  # nothing can be wrong with these
        return finish(values, dtypes.int64, device, requires_grad)
    first: Any
    by: Any
    first, end, by = (_number(v, "arange", n) for v, n in ((start, "start"), (end, "end"), (step, "step")))
    whole = all([isinstance(v, int) for v in (first, end, by)])
    d = dtype or (dtypes.int64 if whole else dtypes.get_default_dtype())
    _refuse_bool("arange", d, complex=True)
    n = _count(_real(first), _real(end), _real(by), d)
    if d.kind == dtypes.INTEGRAL:
        values = np.arange(n, dtype=np.int64)
        if int(by) != 1:
            values *= int(by)
        if int(first):
            values += int(first)
        return finish(values.astype(d.np, copy=False), d, device, requires_grad)
    scalar = np.float32 if d.itemsize == 2 else np.float64
    first, by = scalar(first), scalar(by)
    with np.errstate(over="ignore", invalid="ignore"):
        values = _in_vectors(
            lambda index: fused_multiply_add(by, index.astype(scalar), first),
            lambda start, lane: fused_multiply_add(lane.astype(scalar), by, start.astype(scalar)),
            n, d,
        )  # fmt: skip
    return finish(values, d, device, requires_grad)


def _count(start, end, step, dtype: dtypes.dtype) -> int:
    """How many numbers there are in ``[start, end)``; raises what is wrong with them."""
    if not (step > 0 or step < 0):
        raise RuntimeError("step must be nonzero")
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError(f"upper bound and lower bound inconsistent with step sign: {start} -> {end} by {step}")
    counted = dtypes.int64 if dtype.kind == dtypes.INTEGRAL else dtypes.float32 if dtype.itemsize == 2 else dtypes.float64
    first, last, by = (fitting(x, counted) for x in (start, end, step))
    if dtype is not dtypes.int64:
        return math.ceil((float(end) - float(start)) / float(step))
    if not by:
        raise ValueError("step must be nonzero")
    return max(0, -((first - last) // by))


@composite(method=False, tensors="", name="range", out="row")
def range_(
    start: Number | complex = 0,
    end: Number | complex | None = None,
    step: Number | complex = 1,
    *,
    dtype: dtype | None = None,
    device: Device = None,
    requires_grad: bool = False,
    layout: layout | None = None,
    out: Any = None,
):
    """As :func:`arange` with ``end`` included (deprecated in PyTorch).

    >>> import flambeau as torch
    >>> torch.linspace(1, 3, 3).tolist()  # what range(1, 3) is
    [1.0, 2.0, 3.0]

    Source: https://docs.pytorch.org/docs/stable/generated/torch.range.html
    """
    warn(
        "torch.range is deprecated and will be removed in a future release because its behavior is inconsistent with "
        "Python's range builtin. Instead, use torch.arange, which produces values in [start, end).",
    )
    if end is None:
        start, end = 0, start
    many: Any = (end - start) / step
    n = math.floor(many) + 1
    d = dtype or dtypes.get_default_dtype()
    return finish((start + np.arange(n, dtype=np.float64) * step).astype(d.np), d, device, requires_grad)


def _bounds(name: str, start, end, steps, dtype) -> tuple:
    """The arguments of :func:`linspace` as numbers, and the result's dtype."""
    if isinstance(steps, dispatch.Tensor):
        steps = steps.item()
    if not hasattr(steps, "__index__"):
        raise TypeError(f"{name}(): argument 'steps' must be int, not {type(steps).__name__}")
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    start, end = _number(start, name, "start"), _number(end, name, "end")
    default = dtypes.get_default_dtype()
    inferred = default.to_complex() if complex in (type(start), type(end)) else default
    if dtype is not None and inferred.is_complex and not dtype.is_complex:
        raise RuntimeError(
            f"torch.{name}(): inferred dtype {dtypes.c_name(inferred)} can't be safely cast to passed dtype {dtypes.c_name(dtype)}"
        )
    d = dtype or inferred
    _refuse_bool(name, d)
    return fitting(start, d), fitting(end, d), steps.__index__(), d


@composite(
    tensors="", method=False, out="row",
    samples=lambda make: [Sample(0, 1, 5), Sample(-3.0, 2.0, 1), Sample(0, 10, 4, dtype=dtypes.int64), Sample(1, 2, 0)],
    errors=lambda make: [
        ErrorSample(RuntimeError, "number of steps must be non-negative", 0, 1, -1),
        ErrorSample(RuntimeError, "value cannot be converted to type uint8_t without overflow", 0, 300, 2, dtype=dtypes.uint8),
    ],
)  # fmt: skip
def linspace(
    start: Tensor | Number | complex,
    end: Tensor | Number | complex,
    steps: int,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    pin_memory: bool | None = False,
) -> Tensor:
    """``steps`` numbers from ``start`` to ``end``, both included, evenly spaced.

    >>> import flambeau as torch
    >>> torch.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.linspace.html
    """
    start, end, steps, d = _bounds("linspace", start, end, steps, dtype)
    if steps == 1:
        return finish(np.array([start], d.np), d, device, requires_grad)
    with np.errstate(over="ignore", invalid="ignore"):
        if d.is_complex:
            values = np.empty(steps, d.np)
            values.real = _spaced(complex(start).real, complex(end).real, steps, d.to_real())
            values.imag = _spaced(complex(start).imag, complex(end).imag, steps, d.to_real())
        else:
            values = _spaced(start, end, steps, d)
    return finish(values, d, device, requires_grad)


def _spaced(start, end, steps: int, dtype: dtypes.dtype) -> np.ndarray:
    """Real numbers, evenly spaced: from both ends towards the middle."""
    gaps, half = max(steps - 1, 1), steps // 2
    if dtype.itemsize == 2 and dtype.is_floating_point:  # each operation is rounded
        start, end = _rounded(start, dtype), _rounded(end, dtype)
        step = _rounded(_rounded(end - start, dtype) / _rounded(gaps, dtype), dtype)
        forward = start + _rounded(step * _rounded(np.arange(half), dtype), dtype)
        backward = end - _rounded(step * _rounded(np.arange(steps - half)[::-1], dtype), dtype)
        return np.concatenate([forward, backward]).astype(dtype.np)
    scalar = dtype.np.type if dtype.is_floating_point else np.float64
    start, end = scalar(start), scalar(end)
    step = (end - start) / scalar(gaps)
    values = np.empty(steps, dtype.np)
    for low in range(0, half, _BLOCK):
        high = min(low + _BLOCK, half)
        values[low:high] = fused_multiply_add(step, np.arange(low, high).astype(scalar), start)
    for low in range(half, steps, _BLOCK):
        high = min(low + _BLOCK, steps)
        values[low:high] = fused_multiply_add(-step, np.arange(steps - 1 - low, steps - 1 - high, -1).astype(scalar), end)
    return values


_BLOCK = 8192
"""Numbers that are made at a time, so that what they are made of stays in the cache."""


def _rounded(x, dtype: dtypes.dtype) -> np.ndarray:
    """``x`` as float32, to the precision of a half-precision ``dtype``."""
    return np.asarray(x).astype(np.float32).astype(dtype.np).astype(np.float32)


@composite(
    tensors="", method=False, out="row",
    samples=lambda make: [Sample(0, 2, 3), Sample(-1.0, 1.0, 4, base=2.0), Sample(0, 4, 5, dtype=dtypes.int32)],
    errors=lambda make: [ErrorSample(RuntimeError, "number of steps must be non-negative", 0, 1, -1)],
)  # fmt: skip
def logspace(
    start: Tensor | Number | complex,
    end: Tensor | Number | complex,
    steps: int,
    base: float = 10.0,
    *,
    dtype: dtype | None = None,
    layout: layout | None = None,
    device: Device = None,
    requires_grad: bool = False,
    pin_memory: bool | None = False,
) -> Tensor:
    """``base`` to the powers of :func:`linspace`.

    >>> import flambeau as torch
    >>> torch.logspace(0, 3, 4)
    tensor([   1.,   10.,  100., 1000.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.logspace.html
    """
    start, end, steps, d = _bounds("logspace", start, end, steps, dtype)
    base = _number(base, "logspace", "base")
    wide = np.clongdouble if d.is_complex else np.longdouble  # whose powers, rounded once more, are right to the last bit
    exact = np.complex128 if d.is_complex else np.float64
    with np.errstate(all="ignore"):
        ends = np.array([start, end]).astype(d.np)
        if d.kind == dtypes.INTEGRAL:
            ends = ends.astype(exact)
        first, last = ends.astype(exact)
        step = np.subtract(ends[1:], ends[:1]).astype(exact) / max(steps - 1, 1)
        index = np.arange(steps)
        exponents = np.where(index < max(steps // 2, steps == 1), first + step * index, last - step * (steps - 1 - index))
        values = np.power(wide(exact(base)), exponents.astype(wide)).astype(exact)
        if d.itemsize == 2 and d.is_floating_point:
            values = values.astype(np.float32)
        return finish(values.astype(d.np), d, device, requires_grad)

"""What convolution, pooling and unfolding share: settings per dimension, and windows that slide over an array."""

from __future__ import annotations

import numpy as np

_COUNTS = ("zero", "one", "two", "three")


def per_dim(value, dims: int, what: str, op: str) -> tuple[int, ...]:
    """A setting such as a stride as one int for each of ``dims`` dimensions; one int counts for all."""
    if isinstance(value, (tuple, list)):
        value = tuple([_index(v, what, op) for v in value])
        if len(value) == 1:
            return value * dims
        if len(value) != dims:
            raise RuntimeError(f"{op}: {what} must either be a single int, or a tuple of {_COUNTS[dims]} ints, but got {value}")
        return value
    return (_index(value, what, op),) * dims


def _index(value, what: str, op: str) -> int:
    try:
        return value.__index__()
    except (AttributeError, TypeError):
        raise TypeError(f"{op}(): argument '{what}' must be tuple of ints, not {type(value).__name__}") from None


def padded(x: np.ndarray, pads: tuple[tuple[int, int], ...], fill=0) -> np.ndarray:
    """``x`` with ``(before, after)`` elements of ``fill`` around its last dims; ``x`` itself where there are none.

    Negative numbers cut elements off.
    """
    lead = x.ndim - len(pads)
    if not any(map(any, pads)):
        return x
    shape = (*x.shape[:lead], *[n + a + b for n, (a, b) in zip(x.shape[lead:], pads, strict=True)])
    out = np.full(shape, fill, x.dtype) if fill else np.zeros(shape, x.dtype)
    to, of = [slice(None)] * lead, [slice(None)] * lead
    for n, (a, b) in zip(x.shape[lead:], pads, strict=True):
        to.append(slice(max(a, 0), max(a, 0) + n + min(a, 0) + min(b, 0)))
        of.append(slice(max(-a, 0), n - max(-b, 0)))
    out[tuple(to)] = x[tuple(of)]
    return out


def sliding(x: np.ndarray, kernel, stride, dilation, outputs) -> np.ndarray:
    """A read-only view (..., *kernel, *outputs) of the elements under a kernel that slides over the last dims."""
    dims = len(kernel)
    steps = x.strides[x.ndim - dims :]
    shape = (*x.shape[: x.ndim - dims], *kernel, *outputs)
    strides = (
        *x.strides[: x.ndim - dims],
        *[s * d for s, d in zip(steps, dilation, strict=True)],
        *[s * t for s, t in zip(steps, stride, strict=True)],
    )
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)


def tap(t: int, stride: int, dilation: int, outputs: int) -> slice:
    """Where the ``t``-th element of the kernel is, at each of ``outputs`` places, along one dim."""
    start = t * dilation
    return slice(start, start + (outputs - 1) * stride + 1, stride)


def require_elements(name: str, input, first: int = 1) -> None:
    """Raises where a dim of ``input`` is empty, of those from ``first`` on."""
    shape = input._shape
    for d in range(first, len(shape)):
        if not shape[d]:
            raise RuntimeError(
                f"{name}(): Expected input to have non-zero size for non-batch dimensions, but input has sizes {list(shape)} "
                f"with dimension {d} being empty"
            )

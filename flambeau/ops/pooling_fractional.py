"""Fractional max pooling: maxima of windows at pseudo-random places."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import dtypes
from flambeau.ops.pooling import max_pool_grad
from flambeau.ops.random import rand
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.windows import per_dim, require_elements

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor


def _starts(samples: np.ndarray, n: int, pool: int, output: int) -> np.ndarray:
    """Where the windows (..., output) along a dim begin, for random numbers (...)."""
    starts = np.full((*samples.shape, output), n - pool)
    if output > 1:
        step = samples.dtype.type((n - pool) / (output - 1))
        moved = ((np.arange(output - 1, dtype=samples.dtype) + samples[..., None]) * step).astype(np.int64)
        starts[..., :-1] = moved - (samples * step).astype(np.int64)[..., None]
    return starts


def _fractional_kernel(x, samples, kernel, outputs):
    dims = len(kernel)
    sizes = x.shape[-dims:]
    lead = x.shape[:-dims]
    place = np.zeros((*lead, *[1] * (2 * dims)), np.int64)  # (..., *outputs, *kernel): places in the flattened plane
    for d, (n, k, o) in enumerate(zip(sizes, kernel, outputs, strict=True)):
        # PyTorch's two-dimensional form takes the random numbers of the last dim first.
        start = _starts(samples[..., 1 - d if dims == 2 else d], n, k, o).reshape(
            lead + (1,) * d + (o,) + (1,) * (2 * dims - d - 1)
        )
        offset = np.arange(k).reshape((k,) + (1,) * (dims - d - 1))
        place = place * n + start + offset
    flat = place.reshape(*lead, *outputs, prod(kernel))
    plane = x.reshape(*lead, prod(sizes))
    values: np.ndarray = np.take_along_axis(plane, flat.reshape(*lead, prod(flat.shape[len(lead) :])), -1).reshape(flat.shape)
    best = values.argmax(-1)
    if np.isnan(values).any():  # the last NaN wins
        reverse = np.isnan(values)[..., ::-1]
        best = np.where(reverse.any(-1), values.shape[-1] - 1 - reverse.argmax(-1), best)
    best = best[..., None]
    return np.take_along_axis(values, best, -1)[..., 0], np.take_along_axis(flat, best, -1)[..., 0]


@op(
    name="_fractional_max_pool",
    tensors="input samples",
    kernel=_fractional_kernel,
    grad={"input": lambda g, indices, input_shape, outputs: max_pool_grad(g, indices, input_shape[-len(outputs) :])},
    outputs=("out", "indices"),
    method=False,
    backward_name="FractionalMaxPoolBackward0",
)
def _fractional_max_pool(input: Tensor, samples: Tensor, kernel, outputs):
    """Maxima of windows at random places, and where they are in the plane."""
    shape = (*input._shape[: -len(kernel)], *outputs)
    return (shape, shape), (input._dtype, dtypes.int64), (input, samples), {"kernel": kernel, "outputs": outputs}


def _fractional(dims: int, input, kernel_size, output_size, output_ratio, return_indices: bool, samples):
    name = f"fractional_max_pool{dims}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    shape = input._shape
    if len(shape) not in (dims + 1, dims + 2):
        raise RuntimeError(f"{name}: Expected {dims + 1}D or {dims + 2}D tensor, but got: {list(shape)}")
    for what, given in (("kernel_size", kernel_size), ("output_size", output_size)):
        if isinstance(given, (tuple, list)) and len(given) != dims:
            raise RuntimeError(f"{name}: {what} must either be a single Int or tuple of {dims} Ints")
    kernel = per_dim(kernel_size, dims, "kernel_size", name)
    require_elements(name, input)
    if output_size is None:
        ratios = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * dims
        if len(ratios) != dims:
            raise ValueError(f"{name} requires output_ratio to either be a single Int or tuple of Ints.")
        output_size = [int(n * r) for n, r in zip(shape[-dims:], ratios, strict=True)]
    outputs = per_dim(output_size, dims, "output_size", name)
    for what, n, k, o in zip(("time", "height", "width")[-dims:], shape[-dims:], kernel, outputs, strict=True):
        if o + k - 1 > n:
            raise RuntimeError(f"{name}(): pool {what} {k} too large relative to input {what} {n} (output {o})")
    batched = len(shape) == dims + 2
    if samples is None:
        samples = rand(shape[0] if batched else 1, shape[-dims - 1], dims, dtype=input._dtype)
    elif samples._shape != (wanted := (shape[0] if batched else 1, shape[-dims - 1], dims)):
        counted = ("batch size", "number of channels", "number of spatial dims")
        wrong = next((i for i, (a, b) in enumerate(zip(samples._shape, wanted)) if a != b), 0)
        raise RuntimeError(
            f"Expect _random_samples.size({wrong}) equals to input {counted[wrong]}: they are of shape {list(samples._shape)}, "
            f"not {list(wanted)}"
        )
    samples = samples if batched else samples.reshape(samples._shape[-2:])
    out, indices = _fractional_max_pool(input, samples, kernel, outputs)
    return (out, indices) if return_indices else out


def _samples(dims: int):
    return lambda make: [
        Sample(make(2, *[4] * dims), 2, output_size=2, _random_samples=make(1, 2, dims, low=0, high=1, requires_grad=False)),
    ]


def _errors(dims: int):
    return lambda make: [
        ErrorSample(ValueError, "either an output_size or an output_ratio", make(2, *[4] * dims), 2),
        ErrorSample(RuntimeError, "too large relative to input", make(2, *[4] * dims), 2, output_size=4),
    ]


@composite(name="nn.functional.fractional_max_pool2d", samples=_samples(2), errors=_errors(2))
def fractional_max_pool2d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Tensor:
    """Maxima of windows of ``kernel_size`` that stand at pseudo-random steps, so that the size shrinks by any ratio.

    Input (N, C, H, W) or (C, H, W). Either ``output_size`` or ``output_ratio`` says how many windows there are.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.fractional_max_pool2d(torch.ones(1, 7, 7), 2, output_size=5).shape
    torch.Size([1, 5, 5])

    Source: Graham, Fractional Max-Pooling (2014), https://arxiv.org/abs/1412.6071
    """
    return _fractional(2, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)


@composite(name="nn.functional.fractional_max_pool3d", samples=_samples(3), errors=_errors(3))
def fractional_max_pool3d(
    input: Tensor,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Tensor:
    """:func:`fractional_max_pool2d` of an input (N, C, D, H, W) or (C, D, H, W).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.fractional_max_pool3d(torch.ones(1, 7, 7, 7), 2, output_size=5).shape
    torch.Size([1, 5, 5, 5])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool3d.html
    """
    return _fractional(3, input, kernel_size, output_size, output_ratio, return_indices, _random_samples)


@composite(name="nn.functional.fractional_max_pool2d_with_indices")
def fractional_max_pool2d_with_indices(
    input: Tensor,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = True,
    _random_samples: Tensor | None = None,
):
    """:func:`fractional_max_pool2d`, and the places of the maxima.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> values, places = F.fractional_max_pool2d_with_indices(torch.ones(1, 7, 7), 2, output_size=5)
    >>> places.shape, places.dtype
    (torch.Size([1, 5, 5]), torch.int64)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool2d_with_indices.html
    """
    return _fractional(2, input, kernel_size, output_size, output_ratio, True, _random_samples)


@composite(name="nn.functional.fractional_max_pool3d_with_indices")
def fractional_max_pool3d_with_indices(
    input: Tensor,
    kernel_size: int | Sequence[int],
    output_size: int | Sequence[int] | None = None,
    output_ratio: float | Sequence[float] | None = None,
    return_indices: bool = True,
    _random_samples: Tensor | None = None,
):
    """:func:`fractional_max_pool3d`, and the places of the maxima.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> values, places = F.fractional_max_pool3d_with_indices(torch.ones(1, 7, 7, 7), 2, output_size=5)
    >>> places.shape, places.dtype
    (torch.Size([1, 5, 5, 5]), torch.int64)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.fractional_max_pool3d_with_indices.html
    """
    return _fractional(3, input, kernel_size, output_size, output_ratio, True, _random_samples)

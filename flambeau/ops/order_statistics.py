"""Statistics of sorted values: median, mode, quantiles."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.size import wrap_dim
from flambeau.ops.ranking import picked, places_at, stable_order
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.reduction_extremes import even_gradient, pick, select_check, selected_gradient
from flambeau.ops.refusals import refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- order statistics ----------------------------------------------------------------------------------------


def _count_numbers(x, axis):
    return np.count_nonzero(x == x, axis=axis, keepdims=True)


def _median_place(count, n):
    """Where the median stands in sorted order: the lower of two, or the first NaN, which sorts last."""
    return np.where(count < n, count, (n - 1) // 2)


def _nanmedian_place(count, n):
    return np.maximum((count - 1) // 2, 0)


def _median_kernels(place):
    def along(x, dim, keepdim):
        if x.ndim == 0:
            return x, np.zeros((), np.int64)
        at = place(_count_numbers(x, dim), x.shape[dim])
        return pick(x, places_at(x, at, dim), dim, keepdim)

    def whole(x):
        if x.size == 0:
            return np.full((), np.nan)
        x = x.ravel()
        at = int(place(_count_numbers(x, 0), x.size)[0])
        return np.partition(x, at)[at]

    return along, whole


_median_along, _median_whole = _median_kernels(_median_place)
_nanmedian_along, _nanmedian_whole = _median_kernels(_nanmedian_place)


@op(kernel=_median_whole, name="aten.median_all", backward_name="MedianBackward0", grad={"input": even_gradient})
def _median_all(input: Tensor):
    """The median of all elements: what ``median(input)`` records."""
    if input.numel():
        refuse("median_cpu", input)
    return (), input.dtype, (input,), {}


@op(
    kernel=_nanmedian_whole,
    name="aten.nanmedian_all",
    backward_name="NanmedianBackward0",
    grad={"input": even_gradient},
)
def _nanmedian_all(input: Tensor):
    """The median of all elements that are not NaN: what ``nanmedian(input)`` records."""
    if input.numel():
        refuse("median_cpu", input)
    return (), input.dtype, (input,), {}


_PICKED: dict[str, Any] = {
    "outputs": ("values", "indices"),
    "nondifferentiable": ("indices",),
    "grad": {"input": selected_gradient},
}


@op(kernel=_median_along, name="aten.median", backward_name="MedianBackward1", **_PICKED)
def _median_dim(input: Tensor, dim: int, keepdim: bool = False):
    """The medians along ``dim``: what ``median(input, dim)`` records."""
    return select_check("median", input, dim, keepdim)


@op(kernel=_nanmedian_along, name="aten.nanmedian", backward_name="NanmedianBackward1", **_PICKED)
def _nanmedian_dim(input: Tensor, dim: int, keepdim: bool = False):
    """The medians along ``dim`` of what is not NaN: what ``nanmedian(input, dim)`` records."""
    return select_check("nanmedian", input, dim, keepdim)


def _median_samples(make):
    return [Sample(make(5)), Sample(make(3, 4), 1), Sample(make(3, 4), dim=0, keepdim=True), Sample(make(), 0)]


@composite(
    out=True,
    samples=_median_samples,
    errors=lambda make: [ErrorSample(IndexError, "Expected reduction dim 0 to have non-zero size", make(0, 3), 0)],
)
def median(input: Tensor, dim: int | None = None, keepdim: bool = False):
    """The median of all elements, or ``(values, indices)`` along ``dim``. Of two middle elements, the lower; NaN if one
    is NaN.

    >>> import flambeau as torch
    >>> torch.tensor([4.0, 1.0, 3.0, 2.0]).median()
    tensor(2.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.median.html
    """
    return _median_all(input) if dim is None else _median_dim(input, dim, keepdim)


@composite(out=True, samples=_median_samples)
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False):
    """The median of the elements that are not NaN. See :func:`median`.

    >>> import flambeau as torch
    >>> torch.nanmedian(torch.tensor([1.0, torch.nan, 3.0]))
    tensor(1.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nanmedian.html
    """
    return _nanmedian_all(input) if dim is None else _nanmedian_dim(input, dim, keepdim)


def _mode_kernel(x, dim, keepdim):
    if x.ndim == 0:
        return x, np.zeros((), np.int64)
    order = stable_order(x, dim)
    ranked = np.moveaxis(picked(x, order, dim), dim, -1)
    place = np.arange(ranked.shape[-1])
    start = np.zeros(ranked.shape, np.int64)
    start[..., 1:] = np.where(ranked[..., 1:] != ranked[..., :-1], place[1:], 0)
    run = place - np.maximum.accumulate(start, axis=-1)
    last = np.moveaxis(np.argmax(run, axis=-1, keepdims=True), -1, dim)  # the end of the first of the longest runs
    return pick(x, np.take_along_axis(order, last, dim), dim, keepdim)


@op(
    kernel=_mode_kernel,
    out="same",
    samples=lambda make: [Sample(make(5)), Sample(make(3, 4), 0), Sample(make(3, 4), -1, keepdim=True)],
    errors=lambda make: [ErrorSample(IndexError, "Expected reduction dim 0 to have non-zero size", make(0, 3), 0)],
    **_PICKED,
)
def mode(input: Tensor, dim: int = -1, keepdim: bool = False):
    """The most frequent value along ``dim`` (the least of several), and the last index where it stands.

    >>> import flambeau as torch
    >>> torch.mode(torch.tensor([1, 2, 2, 3, 3]))
    torch.return_types.mode(
    values=tensor(2),
    indices=tensor(2))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.mode.html
    """
    return select_check("mode", input, dim, keepdim)


_ROUNDING = {
    "linear": lambda ranks: ranks,
    "midpoint": lambda ranks: ranks,
    "lower": lambda ranks: ranks.floor(),
    "higher": lambda ranks: ranks.ceil(),
    "nearest": lambda ranks: ranks.round(),
}


def _quantile(name: str, input, q, dim, keepdim, interpolation, ignore_nan: bool):
    if interpolation not in _ROUNDING:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if input.dtype not in (dtypes.float32, dtypes.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype, got {input.dtype}")
    if input.numel() == 0:
        raise RuntimeError(f"{name}() input tensor must be non-empty, its shape is {list(input.shape)}")
    if not isinstance(q, dispatch.Tensor):
        if not 0 <= q <= 1:
            raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q:g}")
        q = dispatch.wrap(np.array(q, input.dtype.np))
    elif q.dim() > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor, got shape {list(q.shape)}")
    elif q.dtype is not input.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor: {q.dtype} and {input.dtype}")
    elif not q._opaque and bool(((q < 0) | (q > 1)).any()):
        raise RuntimeError(f"{name}() q values must be in the range [0, 1]")

    shape = input.shape
    d = None if dim is None else wrap_dim(dim, input.dim())
    rows = input.reshape(-1) if d is None or not shape else input.movedim(d, -1)
    ranked = rows.sort(dim=-1).values
    n = ranked.shape[-1]
    numbers = (~ranked.isnan()).sum(-1, keepdim=True)
    if ignore_nan:
        ranks = q * (numbers - 1).clamp(min=0).to(q.dtype)
    else:
        ranks = (q * (n - 1)).expand((*ranked.shape[:-1], q.numel())).masked_fill(numbers < n, n - 1)
    ranks = _ROUNDING[interpolation](ranks)
    below = ranks.floor()
    result = ranked.gather(-1, below.long())
    if interpolation in ("linear", "midpoint"):
        weight = below.new_full(below.shape, 0.5) if interpolation == "midpoint" else ranks - below
        result = result.lerp(ranked.gather(-1, ranks.ceil().long()), weight)
    result = result.movedim(-1, 0)  # the dim of q comes first
    if keepdim and shape:
        result = result.reshape((-1,) + (1,) * len(shape)) if d is None else result.unsqueeze(d + 1)
    return result if q.dim() else result.squeeze(0)


def _quantile_samples(make):
    return [
        Sample(make(5), 0.3),
        Sample(make(3, 4), 0.5, dim=1),
        Sample(make(3, 4), dispatch.wrap(np.array([0.1, 0.6])), dim=0, keepdim=True),
        Sample(make(2, 3), 0.4, interpolation="midpoint"),
    ]


@composite(
    out="same",
    samples=_quantile_samples,
    errors=lambda make: [
        ErrorSample(RuntimeError, r"q must be in the range \[0, 1\] but got 1.5", make(3), 1.5),
        ErrorSample(RuntimeError, "interpolation must be one of", make(3), 0.5, interpolation="cubic"),
        ErrorSample(RuntimeError, "input tensor must be non-empty", make(0), 0.5),
    ],
)
def quantile(
    input: Tensor, q: Tensor | float, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The ``q``-th quantiles (``q`` a number or a 1-D tensor, whose dim comes first in the result) over ``dim``.

    ``interpolation`` between two elements: ``linear``, ``lower``, ``higher``, ``midpoint`` or ``nearest``. NaN if one
    is NaN.

    >>> import flambeau as torch
    >>> torch.quantile(torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([0.25, 0.5]))
    tensor([0.7500, 1.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.quantile.html
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@composite(out="same", samples=_quantile_samples)
def nanquantile(
    input: Tensor, q: Tensor | float, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The quantiles of what is not NaN. See :func:`quantile`.

    >>> import flambeau as torch
    >>> torch.nanquantile(torch.tensor([1.0, torch.nan, 3.0]), 0.5)
    tensor(2.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nanquantile.html
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)

"""Counting: how often each integer comes, and how many elements are in each bin of a histogram."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.core.results import return_type
from flambeau.ops.numerics import all_below
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Number, Tensor


def _bincount_kernel(x, weights, minlength):
    x = x.astype(np.int64, copy=False)
    most = np.iinfo(np.int64).max
    if not all_below(x, most):  # of the greatest number NumPy counts one more, and writes outside of its result
        if x.min() < 0:
            raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
        raise RuntimeError(f"maximum value of input overflowed, it should be < {most} but got {most}")
    return np.bincount(x, weights, minlength)


@op(
    kernel=_bincount_kernel,
    tensors="input weights",
    eager=True,
    samples=lambda make: [
        Sample(make(5, low=0, high=4).long()),
        Sample(make(3, low=0, high=4).long(), make(3, requires_grad=False), minlength=6),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "bincount only supports 1-d non-negative integral inputs", make(2, 2)),
        ErrorSample(RuntimeError, "maximum value of input overflowed", make(2).long() * 0 + (2**63 - 1)),
    ],
)
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0):
    """How often each of 0, 1, ... occurs in a 1-D integer tensor, or the sum of the ``weights`` where it occurs.

    Raises ``RuntimeError`` for what is not 1-d or negative, and for weights of another length.

    >>> import flambeau as torch
    >>> torch.bincount(torch.tensor([0, 2, 2]))
    tensor([1, 0, 2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.bincount.html
    """
    if minlength < 0:
        raise RuntimeError(f"minlength should be >= 0, got {minlength}")
    if input.dim() != 1:
        raise RuntimeError(f"bincount only supports 1-d non-negative integral inputs. Got shape {list(input.shape)}.")
    if input.dtype.kind != dtypes.INTEGRAL:
        raise NotImplementedError(f"\"bincount_cpu\" not implemented for '{scalar_name(input.dtype)}'")
    dtype = dtypes.int64
    if weights is not None:
        if weights.shape != input.shape:
            raise RuntimeError(
                f"weights should be 1-d and have the same length as input, got shapes {list(weights.shape)} and {list(input.shape)}"
            )
        if input.numel():  # else there is nothing that is weighted
            dtype = weights.dtype if weights.dtype is dtypes.float32 else dtypes.float64
    return None, dtype, (input, weights), {"minlength": int(minlength)}


def _bounds(x: np.ndarray, low: float, high: float, margin: float, given: bool = False) -> tuple[float, float]:
    """The range of a histogram: the data's where none is given, widened by ``margin`` where it is one point."""
    if not given and low == high and x.size:
        low, high = float(x.min()), float(x.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"range of [{low:g}, {high:g}] is not finite")
    return (low - margin, high + margin) if low == high else (low, high)


def _histc_kernel(x, bins, low, high):
    low, high = _bounds(x, low, high, 1)
    kind = x.dtype.type if x.dtype.kind == "f" else np.float64
    x = x[(x >= low) & (x <= high)].astype(kind)
    place = ((x - kind(low)) * kind(bins) / kind(high - low)).astype(np.int64)
    return np.bincount(np.minimum(place, bins - 1), minlength=bins)


@op(
    kernel=_histc_kernel,
    checked=True,
    out="same",
    samples=lambda make: [Sample(make(2, 5), 4), Sample(make(6), bins=3, min=-1, max=1)],
    errors=lambda make: [ErrorSample(RuntimeError, "bins must be > 0", make(3), 0)],
)
def histc(input: Tensor, bins: int = 100, min: Number | complex = 0, max: Number | complex = 0):
    """How many elements fall into each of ``bins`` equal intervals of [``min``, ``max``]; of the data's range without it.

    Raises ``RuntimeError`` for less than one bin and for ``max`` below ``min``.

    >>> import flambeau as torch
    >>> torch.histc(torch.tensor([1.0, 2.0, 1.0, 4.0]), bins=4, min=0, max=4)
    tensor([0., 2., 1., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.histc.html
    """
    if input.dtype.kind != dtypes.FLOATING:
        raise NotImplementedError(f"\"histogram_cpu\" not implemented for '{scalar_name(input.dtype)}'")
    if bins <= 0:
        raise RuntimeError(f"torch.histc(): bins must be > 0, but got {bins}")
    low: Any = min
    high: Any = max
    if low > high:
        raise RuntimeError(f"torch.histc: max must be larger than min, got min={min} and max={max}")
    return (int(bins),), input.dtype, (input,), {"bins": int(bins), "low": float(low), "high": float(high)}


def _places(x: np.ndarray, edges: np.ndarray, equal: bool) -> tuple[np.ndarray, np.ndarray]:
    """The bin between ``edges`` that each element falls in, and whether it falls in one. The last includes its end."""
    bins = len(edges) - 1
    low, high = edges[0], edges[-1]
    inside = (x >= low) & (x <= high)
    x = np.where(inside, x, low)
    if not equal:
        return np.minimum(np.searchsorted(edges, x, "right") - 1, bins - 1), inside
    place = np.minimum(((x - low) * (bins / (high - low))).astype(np.int64), bins - 1)
    # The quotient may round across an edge: the edges decide.
    return place - (x < edges[place]) + ((x >= edges[place + 1]) & (place < bins - 1)), inside


def _density(counts: np.ndarray, edges: list[np.ndarray]) -> np.ndarray:
    volume = np.ones((), counts.dtype)
    for e in edges:
        volume = volume[..., None] * np.diff(e)
    return counts / (counts.sum() * volume)


def _bin_edges_kernel(x, bins, low, high, given):
    if x.size == 0 and not given:
        return np.linspace(0, 1, bins + 1)
    return np.linspace(*_bounds(x, low, high, 0.5, given), bins + 1, dtype=x.dtype)


@op(kernel=_bin_edges_kernel, name="aten.bin_edges", checked=True)
def _bin_edges(input: Tensor, bins, bounds):
    """The edges of equal bins over the bounds, or over the data's range: what ``histogram`` records first."""
    low, high = bounds or (0.0, 0.0)
    if low > high:
        raise RuntimeError(f"torch.histogramdd: max {high} should not be less than min {low}")
    return (bins + 1,), input.dtype, (input,), {"bins": bins, "low": float(low), "high": float(high), "given": bounds is not None}


def _bin_counts_kernel(x, weight, *edges, equal, density):
    x = x.reshape((-1, len(edges)))
    found = [_places(x[:, i], e, equal) for i, e in enumerate(edges)]
    inside = np.logical_and.reduce([f[1] for f in found])
    shape = tuple([len(e) - 1 for e in edges])
    place = np.ravel_multi_index([f[0] for f in found], shape)
    weight = inside if weight is None else weight.ravel() * inside
    counts = np.bincount(place, weight, int(np.prod(shape))).reshape(shape)
    return _density(counts, list(edges)) if density else counts


@op(kernel=_bin_counts_kernel, name="aten.bin_counts", tensors="input weight *edges")
def _bin_counts(input: Tensor, weight: Tensor, edges: Sequence[Tensor], equal, density):
    """How many samples, the last dim of ``input``, fall in each cell between the edges: what ``histogram`` records then."""
    shape = tuple([e.shape[0] - 1 for e in edges])
    return shape, input.dtype, (input, weight, *edges), {"equal": equal, "density": bool(density)}


_Histogram = return_type("histogram", "hist", "bin_edges")
_HistogramDD = return_type("histogramdd", "hist", "bin_edges")


def _refuse_histogram(name: str, input, weight) -> None:
    if not input.dtype.is_floating_point:
        raise NotImplementedError(f"\"{name}\" not implemented for '{scalar_name(input.dtype)}'")
    if weight is not None and weight.dtype is not input.dtype:
        raise RuntimeError(
            f"torch.{name}: if weight tensor is provided, input tensor and weight tensor should have the same dtype, but got "
            f"input {input.dtype}, and weight {weight.dtype}"
        )


@composite(
    out=True,
    samples=lambda make: [
        Sample(make(6), 3),
        Sample(make(6), make(4).sort()[0]),
        Sample(make(5), 4, range=(-1.0, 1.0), density=True),
    ],
)
def histogram(
    input: Tensor,
    bins: Tensor | int = 100,
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
):
    """Counts of elements (or sums of their ``weight``) in bins, and the bins' edges, as ``(hist, bin_edges)``.

    ``bins`` is a number of equal bins, over ``range`` or the data's, or the edges themselves. ``density`` divides so
    that the integral is 1.

    >>> import flambeau as torch
    >>> torch.histogram(torch.tensor([1.0, 2.0, 1.0, 4.0]), bins=2, range=(0.0, 4.0))
    torch.return_types.histogram(
    hist=tensor([2., 2.]),
    bin_edges=tensor([0., 2., 4.]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.histogram.html
    """
    _refuse_histogram("histogram", input, weight)
    equal = not isinstance(bins, dispatch.Tensor)
    edges = _bin_edges(input, int(bins), range) if equal else bins
    return _Histogram((_bin_counts(input.reshape((-1, 1)), weight, [edges], equal, density), edges))


@composite(
    method=False,
    samples=lambda make: [
        Sample(make(6, 2), [2, 3]),
        Sample(make(5, 2), 2, density=True),
        Sample(make(4, 1), (make(4).sort()[0],)),
    ],
)
def histogramdd(
    input: Tensor,
    bins: int | Sequence[int] | Sequence[Tensor],
    *,
    range: Sequence[float] | None = None,
    weight: Tensor | None = None,
    density: bool = False,
):
    """The histogram of samples of several coordinates (the last dim of ``input``): ``(hist, bin_edges)``.

    ``bins`` is the number of equal bins of each coordinate (or one number for all), over ``range`` (the coordinates'
    bounds, in one list) or the data's; or the edges of each coordinate.

    Raises ``RuntimeError`` for another number of ``bins`` than coordinates.

    >>> import flambeau as torch
    >>> torch.histogramdd(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), bins=[2, 2]).hist
    tensor([[1., 0.],
            [0., 1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.histogramdd.html
    """
    _refuse_histogram("histogramdd", input, weight)
    columns = input.reshape((-1, input.shape[-1])).unbind(1)
    edges: list[Any] = [bins] * len(columns) if isinstance(bins, int) else list(bins)
    if len(edges) != len(columns):
        raise RuntimeError(
            "histogramdd(): The size of bins must be equal to the innermost dimension of the input: got "
            f"{len(edges)} for {len(columns)}"
        )
    equal = not isinstance(edges[0], dispatch.Tensor)
    if equal:
        bounds = [None] * len(edges) if range is None else list(zip(range[::2], range[1::2], strict=True))
        edges = [_bin_edges(c, int(n), b) for c, n, b in zip(columns, edges, bounds, strict=True)]
    return _HistogramDD((_bin_counts(input, weight, edges, equal, density), tuple(edges)))

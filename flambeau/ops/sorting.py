"""Order: sorting, the greatest elements, distinct elements, searching sorted sequences, counting into bins."""

from __future__ import annotations

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.core.errors import describe
from flambeau.core.results import return_type
from flambeau.core.size import wrap_dim
from flambeau.ops import layouts
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.reduction import pick, select_check, selected_gradient
from flambeau.ops.refusals import no_derivative, refuse, refuse_complex
from flambeau.ops.selection import topk_places

# --- sorting -------------------------------------------------------------------------------------------------


def _argsort(x: np.ndarray, dim: int, descending: bool) -> np.ndarray:
    """The stable order of the elements along ``dim``; NaN counts as greatest."""
    if not descending:
        return np.argsort(x, axis=dim, kind="stable")
    # Sorted backwards and read backwards, equal elements keep their order.
    order = np.flip(np.argsort(np.flip(x, dim), axis=dim, kind="stable"), dim)
    return x.shape[dim] - 1 - order


def _sort_kernel(x, dim, descending):
    if x.ndim == 0:
        return x, np.zeros((), np.int64)
    order = _argsort(x, dim, descending)
    return np.take_along_axis(x, order, dim), order


def _placed_gradient(g, input_shape, indices, dim):
    return selected_gradient(g, input_shape, indices, dim, True)


def _sort_samples(make):
    return [
        Sample(make(5)),
        Sample(make(3, 4), 0, True),
        Sample(make(3, 4), dim=1, stable=True),
        Sample(make()),
    ]


_SORTED = {"outputs": ("values", "indices"), "nondifferentiable": ("indices",)}


@op(
    layout=layouts.as_first,
    kernel=_sort_kernel,
    out="same",
    grad={"input": _placed_gradient},
    samples=_sort_samples,
    errors=lambda make: [ErrorSample(IndexError, "Dimension out of range", make(2, 3), 2)],
    **_SORTED,
)
def sort(input, dim=-1, descending=False, *, stable=None):
    """Sorts along ``dim``: ``(values, indices)``. Equal elements keep their order; NaN counts as greatest.

    >>> import flambeau as torch
    >>> torch.tensor([3, 1, 2]).sort(descending=True).indices
    tensor([0, 2, 1])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.sort.html
    """
    attrs = {"dim": wrap_dim(dim, input.dim()), "descending": bool(descending)}
    refuse_complex("sort", input)
    return (input.shape, input.shape), (input.dtype, dtypes.int64), (input,), attrs


@composite(samples=_sort_samples)
def argsort(input, dim=-1, descending=False, *, stable=False):
    """The indices that sort ``input`` along ``dim``: the second result of :func:`sort`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.argsort.html
    """
    return sort(input, dim, descending)[1]


@composite(out="same", samples=lambda make: [Sample(make(3, 2))])
def msort(input):
    """``input`` sorted along its first dim.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.msort.html
    """
    return sort(input, 0)[0]


_FULL_SORT = 1024


def _topk_kernel(x, k, dim, largest, sorted):
    if x.ndim == 0:
        return x, np.zeros((), np.int64)
    n = x.shape[dim]
    if not k or not x.size:
        return np.take(x, range(k), axis=dim), np.zeros((*x.shape[:dim], k, *x.shape[dim + 1 :]), np.int64)
    apart = False
    if n > _FULL_SORT and 0 < k <= n // 8:
        # Few of many: find them by partition, in the order of their places, and sort only these.
        few = _beyond(x.reshape(-1), k, largest) if x.size == n else None
        if few is not None:
            apart, few = True, few.reshape([k if m == n else 1 for m in x.shape])
        else:
            part = np.argpartition(x, n - k if largest else k - 1, axis=dim)
            few = np.sort(np.take(part, range(n - k, n) if largest else range(k), axis=dim), axis=dim)
        order = np.take_along_axis(few, _argsort(np.take_along_axis(x, few, dim), dim, largest), dim)
    else:
        order = np.take(_argsort(x, dim, largest), range(k), axis=dim)
    if x.size <= _MANY_TIES:
        order = _as_selected(x, order, dim, largest, sorted, apart)
    return np.take_along_axis(x, order, dim), order


def _beyond(row: np.ndarray, k: int, largest: bool) -> np.ndarray | None:
    """The places of the ``k`` greatest (or least) elements; ``None`` where these are not clear, for others are equal, or for NaN."""
    at = row.size - k if largest else k - 1
    edge = np.partition(row, at)[at]
    places = np.flatnonzero(row >= edge if largest else row <= edge)
    return places if places.size == k else None


_MANY_TIES = 1 << 16
"""Elements among which equal ones are picked as PyTorch picks them; of more, the first ones are."""


def _as_selected(x: np.ndarray, order: np.ndarray, dim: int, largest: bool, in_order: bool, apart: bool) -> np.ndarray:
    """The places of the elements picked, where some are equal (or in no order) those that PyTorch's selection gives.

    ``apart``: none of the others is equal to one that is picked.
    """
    k, n = order.shape[dim], x.shape[dim]
    rows = np.moveaxis(x, dim, -1).reshape(-1, n)
    places = np.moveaxis(order, dim, -1).reshape(-1, k).copy()
    picked = np.take_along_axis(rows, places, 1)
    if apart:
        tied = np.zeros(len(rows), bool)
    else:
        last = picked[:, -1:]
        equal = (rows == last) | ((rows != rows) & (last != last))
        tied = equal.sum(1) > 1
    if k > 1:
        a, b = picked[:, 1:], picked[:, :-1]
        tied |= ((a == b) | ((a != a) & (b != b))).any(1)
    for i in np.flatnonzero(tied | (not in_order)):
        places[i] = topk_places(rows[i], k, largest, in_order)
    shape = (*x.shape[:dim], *x.shape[dim + 1 :], k)
    return np.moveaxis(places.reshape(shape), -1, dim)


@op(
    kernel=_topk_kernel,
    out="same",
    grad={"input": _placed_gradient},
    samples=lambda make: [
        Sample(make(5), 3),
        Sample(make(3, 4), 2, 0, largest=False),
        Sample(make(2, 3), 0),
        Sample(make(), 1),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "selected index k out of range", make(3), 4)],
    **_SORTED,
)
def topk(input, k, dim=-1, largest=True, sorted=True):
    """The ``k`` greatest (or least) elements along ``dim``, in order: ``(values, indices)``.

    >>> import flambeau as torch
    >>> torch.tensor([3, 1, 2]).topk(2).values
    tensor([3, 2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.topk.html
    """
    if isinstance(k, bool) or not hasattr(k, "__index__"):
        raise TypeError(f"topk(): argument 'k' (position 2) must be int, not {describe(k)}")
    k = k.__index__()
    dim = wrap_dim(dim, input.dim())
    size = input.shape[dim] if input.dim() else 1
    if not 0 <= k <= size:
        raise RuntimeError(
            f"selected index k out of range: k is {k}, but dim {dim} of shape {list(input.shape)} has {size} elements"
        )
    refuse_complex("topk", input)
    shape = (*input.shape[:dim], k, *input.shape[dim + 1 :]) if input.dim() else ()
    attrs = {"k": k, "dim": dim, "largest": bool(largest), "sorted": bool(sorted)}
    return (shape, shape), (input.dtype, dtypes.int64), (input,), attrs


def _kthvalue_kernel(x, k, dim, keepdim):
    if x.ndim == 0:
        return x, np.zeros((), np.int64)
    return pick(x, np.take(_argsort(x, dim, False), [k - 1], axis=dim), dim, keepdim)


@op(
    kernel=_kthvalue_kernel,
    out="same",
    grad={"input": selected_gradient},
    samples=lambda make: [Sample(make(5), 2), Sample(make(3, 4), 3, 0, True), Sample(make(), 1)],
    errors=lambda make: [
        ErrorSample(RuntimeError, r"kthvalue\(\): selected number k out of range for dimension 0", make(3), 4)
    ],
    **_SORTED,
)
def kthvalue(input, k, dim=-1, keepdim=False):
    """The ``k``-th least element along ``dim`` (``k`` counts from 1): ``(values, indices)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.kthvalue.html
    """
    shapes, types, inputs, attrs = select_check("kthvalue", input, dim, keepdim)
    size = input.shape[attrs["dim"]] if input.dim() else 1
    if not 1 <= k <= size:
        raise RuntimeError(
            f"kthvalue(): selected number k out of range for dimension {attrs['dim']}: k is {k}, the dim has {size} elements"
        )
    return shapes, types, inputs, {"k": int(k), **attrs}


# --- distinct elements ---------------------------------------------------------------------------------------


def _unique_kernel(x, dim):
    # As a sequence of elements, or of slices along ``dim`` that are compared as a whole.
    if dim is None:
        values, inverse, counts = np.unique(x.ravel(), return_inverse=True, return_counts=True, equal_nan=False)
        return values, inverse.reshape(x.shape), counts
    values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True, equal_nan=False, axis=dim)
    return values, inverse.ravel(), counts


def _unique_consecutive_kernel(x, dim):
    rows = x.ravel() if dim is None else np.moveaxis(x, dim, 0)
    n = len(rows)
    starts = np.ones(n, bool)
    differs = rows[1:] != rows[:-1]
    starts[1:] = differs.reshape(len(differs), -1).any(axis=1) if n > 1 else False
    inverse = np.cumsum(starts) - 1
    values = rows[starts]
    places = np.append(np.flatnonzero(starts), n)
    if dim is None:
        return values, inverse.reshape(x.shape), np.diff(places)
    return np.moveaxis(values, 0, dim), inverse, np.diff(places)


def _unique_check(name: str, input, dim):
    refuse("unique" if dim is None else "unique_dim", input)
    if dim is not None:
        dim = wrap_dim(dim, input.dim())
        if input.shape[dim] == 0 and input.numel() == 0 and any(n == 0 for d, n in enumerate(input.shape) if d != dim):
            raise RuntimeError(
                "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied: "
                f"dim {dim} of shape {list(input.shape)}"
            )
    return None, (input.dtype, dtypes.int64, dtypes.int64), (input,), {"dim": dim}


def _unique_settings(name: str, backward_name: str) -> dict:
    return {
        "eager": True, "outputs": ("output", "inverse_indices", "counts"), "nondifferentiable": ("inverse_indices", "counts"),
        "tensors": "input", "grad": {"input": no_derivative(name)}, "backward_name": backward_name,
    }  # fmt: skip


@op(kernel=_unique_kernel, name="aten.unique", **_unique_settings("_unique2", "Unique2Backward0"))
def _unique(input, dim):
    """The distinct elements, where each element went, and how many went there: what ``unique`` records."""
    return _unique_check("unique", input, dim)


@op(kernel=_unique_kernel, name="aten.unique_dim", **_unique_settings("unique_dim", "UniqueDimBackward0"))
def _unique_dim(input, dim):
    """The same for slices along a dim."""
    return _unique_check("unique", input, dim)


@op(
    kernel=_unique_consecutive_kernel,
    name="aten.unique_consecutive",
    **_unique_settings("unique_consecutive", "UniqueConsecutiveBackward0"),
)
def _unique_consecutive(input, dim):
    """The same for runs of equal elements: what ``unique_consecutive`` records."""
    return _unique_check("unique_consecutive", input, dim)


def _asked(results, return_inverse: bool, return_counts: bool):
    values, inverse, counts = results
    if not (return_inverse or return_counts):
        return values
    return (values, *([inverse] if return_inverse else []), *([counts] if return_counts else []))


@composite(
    samples=lambda make: [
        Sample(make(5)),
        Sample(make(3, 2), return_inverse=True, return_counts=True),
        Sample(make(3, 2), dim=0),
    ]
)
def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """The distinct elements, ascending; along ``dim``, the distinct slices. Optionally the index in the result of each
    element, and how often each occurs.

    >>> import flambeau as torch
    >>> torch.tensor([2, 1, 2]).unique(return_counts=True)
    (tensor([1, 2]), tensor([1, 2]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.unique.html
    """
    return _asked((_unique if dim is None else _unique_dim)(input, dim), return_inverse, return_counts)


@composite(samples=lambda make: [Sample(make(5)), Sample(make(3, 2), return_inverse=True, dim=0)])
def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """The first of each run of equal elements; along ``dim``, of equal slices. See :func:`unique`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.unique_consecutive.html
    """
    return _asked(_unique_consecutive(input, dim), return_inverse, return_counts)


# --- searching -----------------------------------------------------------------------------------------------


def _searchsorted_kernel(sequence, values, sorter, right):
    if sorter is not None:
        sequence = np.take_along_axis(sequence, sorter, -1)
    if sequence.ndim == 1:
        return np.searchsorted(sequence, values, "right" if right else "left")
    # Each row of values has its own sequence: one bisection for all.
    low = np.zeros(values.shape, np.int64)
    high = np.full(values.shape, sequence.shape[-1])
    for _ in range(int(sequence.shape[-1]).bit_length()):
        middle = (low + high) // 2
        at = np.take_along_axis(sequence, np.minimum(middle, sequence.shape[-1] - 1), -1)
        beyond = ~(at > values) if right else ~(at >= values)
        open_ = low < high
        low = np.where(open_ & beyond, middle + 1, low)
        high = np.where(open_ & ~beyond, middle, high)
    return low


def _search(name: str, sequence, values, out_int32, right, side, sorter):
    if side is not None:
        if side not in ("left", "right"):
            raise RuntimeError(f"{name}(): side can only be 'left' or 'right' but got {side}")
        if right and side == "left":
            raise RuntimeError(
                f"{name}(): side and right can't be set to opposites, got side of left while right was True"
            )
        right = side == "right"
    refuse("searchsorted_out_cpu", sequence, values)
    if not isinstance(values, dispatch.Tensor):
        if sequence.dim() != 1:
            raise RuntimeError(
                f"{name}(): input value can be a scalar only when boundaries tensor dimension is 1, but we got boundaries "
                f"tensor dim({sequence.dim()})"
            )
        values = dispatch.wrap(np.array(values))
        common = dispatch.result_type(sequence, values)
        sequence, values = sequence.to(common), values.to(common)
    elif values.dtype is not sequence.dtype:
        common = dispatch.result_type(sequence, values)
        sequence, values = sequence.to(common), values.to(common)
    if sequence.dim() == 0:
        raise RuntimeError(f"{name}(): boundaries tensor should have positive dimension, but got 0 dimension")
    if sequence.dim() > 1 and sequence.shape[:-1] != values.shape[:-1]:
        raise RuntimeError(
            f"{name}(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input "
            f"value tensor must match, but we got boundaries tensor {list(sequence.shape)} and input value tensor "
            f"{list(values.shape)}"
        )
    if sorter is not None and sorter.shape != sequence.shape:
        raise RuntimeError(
            f"{name}(): boundary and sorter must have the same size, but got boundary tensor {list(sequence.shape)} and "
            f"got sorter tensor {list(sorter.shape)}"
        )
    dtype = dtypes.int32 if out_int32 else dtypes.int64
    return values.shape, dtype, (sequence, values, sorter), {"right": bool(right)}


@op(
    kernel=_searchsorted_kernel,
    tensors="sorted_sequence input sorter",
    method=False,
    out="same",
    samples=lambda make: [Sample(make(5).sort()[0], make(2, 3)), Sample(make(2, 4).sort()[0], make(2, 3), right=True)],
    errors=lambda make: [ErrorSample(RuntimeError, "first N-1 dimensions", make(2, 3), make(3, 3))],
)
def searchsorted(sorted_sequence, input, *, out_int32=False, right=False, side=None, sorter=None):
    """Where elements of ``input`` belong in sequences that ascend along the last dim, so that these stay sorted.

    Before equal elements, or after them where ``right`` (or ``side="right"``). ``sorter`` sorts the sequence.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.searchsorted.html
    """
    return _search("torch.searchsorted", sorted_sequence, input, out_int32, right, side, sorter)


@op(
    kernel=_searchsorted_kernel,
    tensors="boundaries input sorter",
    method=False,
    out="same",
    samples=lambda make: [Sample(make(2, 3), make(5).sort()[0]), Sample(make(3), make(4).sort()[0], right=True)],
)
def bucketize(input, boundaries, *, out_int32=False, right=False):
    """Which of the buckets between ascending ``boundaries`` (1-D) each element of ``input`` falls in.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.bucketize.html
    """
    if boundaries.dim() != 1:
        raise RuntimeError(f"bucketize(): boundaries tensor must be 1 dimension, but got dim({boundaries.dim()})")
    return _search("bucketize", boundaries, input, out_int32, right, None, None)


# --- counting ------------------------------------------------------------------------------------------------


def _bincount_kernel(x, weights, minlength):
    if x.size and x.min() < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    x = x.astype(np.int64)
    most = np.iinfo(np.int64).max
    if x.size and x.max() == most:  # NumPy counts one more, and writes outside of its result
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
def bincount(input, weights=None, minlength=0):
    """How often each of 0, 1, ... occurs in a 1-D integer tensor, or the sum of the ``weights`` where it occurs.

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
                f"weights should be 1-d and have the same length as input, got shapes {list(weights.shape)} and "
                f"{list(input.shape)}"
            )
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
def histc(input, bins=100, min=0, max=0):
    """How many elements fall into each of ``bins`` equal intervals of [``min``, ``max``]; of the data's range without it.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.histc.html
    """
    if input.dtype.kind != dtypes.FLOATING:
        raise NotImplementedError(f"\"histogram_cpu\" not implemented for '{scalar_name(input.dtype)}'")
    if bins <= 0:
        raise RuntimeError(f"torch.histc(): bins must be > 0, but got {bins}")
    if min > max:
        raise RuntimeError(f"torch.histc: max must be larger than min, got min={min} and max={max}")
    return (int(bins),), input.dtype, (input,), {"bins": int(bins), "low": float(min), "high": float(max)}


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
def _bin_edges(input, bins, bounds):
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
    return _density(counts, edges) if density else counts


@op(kernel=_bin_counts_kernel, name="aten.bin_counts", tensors="input weight *edges")
def _bin_counts(input, weight, edges, equal, density):
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
def histogram(input, bins, *, range=None, weight=None, density=False):
    """Counts of elements (or sums of their ``weight``) in bins, and the bins' edges, as ``(hist, bin_edges)``.

    ``bins`` is a number of equal bins, over ``range`` or the data's, or the edges themselves. ``density`` divides so
    that the integral is 1.

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
def histogramdd(input, bins, *, range=None, weight=None, density=False):
    """The histogram of samples of several coordinates (the last dim of ``input``): ``(hist, bin_edges)``.

    ``bins`` is the number of equal bins of each coordinate (or one number for all), over ``range`` (the coordinates'
    bounds, in one list) or the data's; or the edges of each coordinate.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.histogramdd.html
    """
    _refuse_histogram("histogramdd", input, weight)
    columns = input.reshape((-1, input.shape[-1])).unbind(1)
    bins = [bins] * len(columns) if isinstance(bins, int) else list(bins)
    if len(bins) != len(columns):
        raise RuntimeError(
            "histogramdd(): The size of bins must be equal to the innermost dimension of the input: got "
            f"{len(bins)} for {len(columns)}"
        )
    equal = not isinstance(bins[0], dispatch.Tensor)
    if equal:
        bounds = [None] * len(bins) if range is None else list(zip(range[::2], range[1::2], strict=True))
        bins = [_bin_edges(c, int(n), b) for c, n, b in zip(columns, bins, bounds, strict=True)]
    return _HistogramDD((_bin_counts(input, weight, bins, equal, density), tuple(bins)))

"""Order: sorting, the greatest elements, distinct elements, searching sorted sequences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.errors import describe
from flambeau.core.size import wrap_dim
from flambeau.ops import layouts
from flambeau.ops.ranking import FEW, picked, places, places_at, ranks, stable_order
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.reduction_extremes import pick, select_check, selected_gradient
from flambeau.ops.refusals import no_derivative, refuse, refuse_complex
from flambeau.ops.selection import topk_places

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor

# --- sorting -------------------------------------------------------------------------------------------------


def _sort_kernel(x, dim, descending):
    if x.ndim == 0:
        return x, np.zeros((), np.int64)
    order = stable_order(x, dim, descending)
    return picked(x, order, dim), order


def _placed_gradient(g, input_shape, indices, dim):
    return selected_gradient(g, input_shape, indices, dim, True)


def _sort_samples(make):
    return [
        Sample(make(5)),
        Sample(make(3, 4), 0, True),
        Sample(make(3, 4), dim=1, stable=True),
        Sample(make()),
    ]


_SORTED: dict[str, Any] = {"outputs": ("values", "indices"), "nondifferentiable": ("indices",)}


@op(
    layout=layouts.as_first,
    kernel=_sort_kernel,
    out="same",
    grad={"input": _placed_gradient},
    samples=_sort_samples,
    errors=lambda make: [ErrorSample(IndexError, "Dimension out of range", make(2, 3), 2)],
    **_SORTED,
)
def sort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool | None = None):
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
def argsort(input: Tensor, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Tensor:
    """The indices that sort ``input`` along ``dim``: the second result of :func:`sort`.

    >>> import flambeau as torch
    >>> torch.argsort(torch.tensor([3, 1, 2]))
    tensor([1, 2, 0])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.argsort.html
    """
    return sort(input, dim, descending)[1]


@composite(out="same", samples=lambda make: [Sample(make(3, 2))])
def msort(input: Tensor) -> Tensor:
    """``input`` sorted along its first dim.

    >>> import flambeau as torch
    >>> torch.msort(torch.tensor([[3, 1], [2, 4]]))
    tensor([[2, 1],
            [3, 4]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.msort.html
    """
    return sort(input, 0)[0]


_MANY = 1 << 13
"""Elements of one row of which few are sorted only if they are not beyond the last that is picked."""
_FEWEST_PARTS = 1 << 9
"""Into which such a row is divided: many vectors of them, and few elements beyond the edge."""
_MANY_TIES = 1 << 16
"""Elements among which equal ones are picked as PyTorch picks them; of more, the first ones are."""


def _topk_kernel(x, k, dim, largest, sorted):
    if x.ndim == 0:
        return x, np.zeros((), np.int64)
    if not k or not x.size:
        return np.take(x, range(k), axis=dim), np.zeros((*x.shape[:dim], k, *x.shape[dim + 1 :]), np.int64)
    rows = x.swapaxes(dim, -1)
    first = _first_places(rows, k, largest)
    chosen = picked(rows, first, -1)
    order, values = first[..., :k], chosen[..., :k]
    if x.size <= _MANY_TIES:
        a, b = chosen[..., 1:], chosen[..., :-1]
        tied = ((a == b) | ((a != a) & (b != b))).any(-1)
        if tied.any() or not sorted:
            order = _as_selected(rows, order, largest, sorted, tied)
            values = picked(rows, order, -1)
    return values.swapaxes(dim, -1), order.swapaxes(dim, -1)


def _first_places(rows: np.ndarray, k: int, largest: bool) -> np.ndarray:
    """The places of the ``k`` greatest (or least) elements of each row in order, and of the one after them, which tells whether it
    could have been picked as well; without it where it is known to be another."""
    n = rows.shape[-1]
    some = min(k + 1, n)
    if rows.size == n and n >= _MANY and k <= n // 8:
        row = rows.reshape(-1)
        few = _candidates(row, k, largest)
        if few is not None:
            return few[stable_order(row[few], 0, largest)[:some]].reshape((*rows.shape[:-1], -1))
    if rows.size > FEW and rows.dtype in (np.float32, np.float64) and some < n // 8:
        chosen = _distinct_candidates(rows, some, largest)
        if chosen is not None:
            return chosen
    found = ranks(rows, -1, largest) if rows.size > FEW else None
    if found is None:
        return stable_order(rows, -1, largest)[..., :some]
    if some < n:
        found = np.partition(found, some - 1, axis=-1)[..., :some]
    return places(np.sort(found, axis=-1), n)


def _candidates(row: np.ndarray, k: int, largest: bool) -> np.ndarray | None:
    """Places among which those of the ``k`` greatest (or least) elements are; ``None`` where there is a NaN.

    The greatest elements of some parts of the row are found in one pass. The ``k``-th of these is not beyond the ``k``-th of all.
    """
    best = np.maximum.reduce if largest else np.minimum.reduce
    parts = min(max(8 * k, _FEWEST_PARTS), row.size)
    whole = row.size - row.size % parts
    edges = best(row[:whole].reshape(-1, parts))
    rest = row[whole:]
    if np.isnan(best(edges)) or rest.size and np.isnan(best(rest)):
        return None
    at = parts - k if largest else k - 1
    edge = np.partition(edges, at)[at]
    return np.flatnonzero(row >= edge if largest else row <= edge)


def _distinct_candidates(rows: np.ndarray, k: int, largest: bool) -> np.ndarray | None:
    """The places of the ``k`` greatest (or least) elements of each row in order; ``None`` where one more is equal to these, or NaN."""
    at = rows.shape[-1] - k if largest else k - 1
    parted = np.partition(rows, at, axis=-1)
    if largest and np.isnan(parted[..., at:]).any():
        return None
    edges = parted[..., at : at + 1]
    found = np.flatnonzero(rows >= edges if largest else rows <= edges)
    lines = rows.size // rows.shape[-1]
    if found.size != lines * k:
        return None
    line, place = np.divmod(found.reshape(lines, k), rows.shape[-1])
    if (line != np.arange(lines)[:, None]).any():
        return None
    values = rows.reshape(-1)[found].reshape(lines, k)
    return picked(place, stable_order(values, -1, largest), -1).reshape((*rows.shape[:-1], k))


def _as_selected(rows: np.ndarray, order: np.ndarray, largest: bool, in_order: bool, tied: np.ndarray) -> np.ndarray:
    """The places of the elements picked; in rows that are ``tied``, or if they shall be in no order, those that PyTorch's
    selection gives."""
    found = order.copy()
    flat, lines = found.reshape(-1, found.shape[-1]), rows.reshape(-1, rows.shape[-1])
    for i in np.flatnonzero(tied | (not in_order)):
        flat[i] = topk_places(lines[i], flat.shape[-1], largest, in_order)
    return found


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
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True):
    """The ``k`` greatest (or least) elements along ``dim``, in order: ``(values, indices)``.

    Raises ``RuntimeError`` for a ``k`` greater than the dim.

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
    at = np.full([1 if d == dim else n for d, n in enumerate(x.shape)], k - 1)
    return pick(x, places_at(x, at, dim), dim, keepdim)


@op(
    kernel=_kthvalue_kernel,
    out="same",
    grad={"input": selected_gradient},
    samples=lambda make: [Sample(make(5), 2), Sample(make(3, 4), 3, 0, True), Sample(make(), 1)],
    errors=lambda make: [ErrorSample(RuntimeError, r"kthvalue\(\): selected number k out of range for dimension 0", make(3), 4)],
    **_SORTED,
)
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False):
    """The ``k``-th least element along ``dim`` (``k`` counts from 1): ``(values, indices)``.

    Raises ``RuntimeError`` for a ``k`` that is less than 1 or more than there are.

    >>> import flambeau as torch
    >>> torch.kthvalue(torch.tensor([30, 10, 20]), 2)
    torch.return_types.kthvalue(
    values=tensor(20),
    indices=tensor(2))

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
    if dim is None and (counted := _counted(x)) is not None:
        return counted
    if dim is None:
        values, inverse, counts = np.unique(x.ravel(), return_inverse=True, return_counts=True, equal_nan=False)
        return values, inverse.reshape(x.shape), counts
    values, inverse, counts = np.unique(x, return_inverse=True, return_counts=True, equal_nan=False, axis=dim)
    return values, inverse.ravel(), counts


_DENSE = 4
"""So many numbers for each element are counted sooner than the elements are sorted."""


def _counted(x: np.ndarray) -> tuple | None:
    """The distinct integers, where they lie so near to each other that each may be counted; else ``None``."""
    if x.dtype.kind not in "iu" or not x.size:
        return None
    low, high = int(x.min()), int(x.max())
    span = high - low + 1
    if span > _DENSE * x.size or high > np.iinfo(np.int64).max:
        return None
    at = x.reshape(-1).astype(np.int64) - low
    found = np.bincount(at, minlength=span)
    present = np.flatnonzero(found)
    numbers = np.empty(span, np.int64)
    numbers[present] = np.arange(len(present))
    return (present + low).astype(x.dtype), numbers.take(at).reshape(x.shape), found[present]


def _unique_consecutive_kernel(x, dim):
    rows = x.ravel() if dim is None else np.moveaxis(x, dim, 0)
    n = len(rows)
    differs = rows[1:] != rows[:-1]
    starts = np.ones(n, bool)
    starts[1:] = differs if differs.ndim == 1 else differs.reshape(len(differs), -1).any(axis=1) if n > 1 else False
    first = np.flatnonzero(starts)
    places = np.append(first, n)
    values, inverse = rows.take(first, axis=0), np.repeat(np.arange(len(first)), np.diff(places))
    if dim is None:
        return values, inverse.reshape(x.shape), np.diff(places)
    return np.moveaxis(values, 0, dim), inverse, np.diff(places)


def _unique_check(name: str, input, dim):
    refuse("unique" if dim is None else "unique_dim", input)
    if dim is not None:
        if not input.dim():
            raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
        dim = wrap_dim(dim, input.dim())
        if any(n == 0 for d, n in enumerate(input.shape) if d != dim):
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
def _unique(input: Tensor, dim: int):
    """The distinct elements, where each element went, and how many went there: what ``unique`` records."""
    return _unique_check("unique", input, dim)


@op(kernel=_unique_kernel, name="aten.unique_dim", **_unique_settings("unique_dim", "UniqueDimBackward0"))
def _unique_dim(input: Tensor, dim: int):
    """The distinct slices along a dim, where each went, and how many went there: what ``unique`` with ``dim`` records."""
    return _unique_check("unique", input, dim)


@op(
    kernel=_unique_consecutive_kernel,
    name="aten.unique_consecutive",
    **_unique_settings("unique_consecutive", "UniqueConsecutiveBackward0"),
)
def _unique_consecutive(input: Tensor, dim: int | None):
    """The first of each run of equal elements, where each went, and how many went there: what ``unique_consecutive`` records."""
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
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
):
    """The distinct elements, ascending; along ``dim``, the distinct slices. Optionally the index in the result of each
    element, and how often each occurs.

    >>> import flambeau as torch
    >>> torch.tensor([2, 1, 2]).unique(return_counts=True)
    (tensor([1, 2]), tensor([1, 2]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.unique.html
    """
    return _asked((_unique if dim is None else _unique_dim)(input, dim), return_inverse, return_counts)


@composite(samples=lambda make: [Sample(make(5)), Sample(make(3, 2), return_inverse=True, dim=0)])
def unique_consecutive(input: Tensor, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None):
    """The first of each run of equal elements; along ``dim``, of equal slices. See :func:`unique`.

    >>> import flambeau as torch
    >>> torch.unique_consecutive(torch.tensor([1, 1, 2, 1]), return_counts=True)
    (tensor([1, 2, 1]), tensor([2, 1, 1]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.unique_consecutive.html
    """
    return _asked(_unique_consecutive(input, dim), return_inverse, return_counts)


# --- searching -----------------------------------------------------------------------------------------------


_LONG_ROWS = 16
"""Values of a row from which on rows are searched one by one."""


def _searchsorted_kernel(sequence, values, sorter, right):
    if sorter is not None:
        sequence = np.take_along_axis(sequence, sorter, -1)
    side: Any = "right" if right else "left"
    if sequence.ndim == 1:
        return np.searchsorted(sequence, values, side)
    if values.shape[-1] >= _LONG_ROWS and values.size:
        pairs = zip(sequence.reshape(-1, sequence.shape[-1]), values.reshape(-1, values.shape[-1]), strict=True)
        return np.concatenate([row.searchsorted(v, side) for row, v in pairs]).reshape(values.shape)
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
            raise RuntimeError(f"{name}(): side and right can't be set to opposites, got side of left while right was True")
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
def searchsorted(
    sorted_sequence: Tensor,
    input: Tensor | Number | complex,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Tensor | None = None,
):
    """Where elements of ``input`` belong in sequences that ascend along the last dim, so that these stay sorted.

    Before equal elements, or after them where ``right`` (or ``side="right"``). ``sorter`` sorts the sequence.

    >>> import flambeau as torch
    >>> torch.searchsorted(torch.tensor([1, 3, 5]), torch.tensor([3, 4]))
    tensor([1, 2])

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
def bucketize(input: Tensor | Number | complex, boundaries: Tensor, *, out_int32: bool = False, right: bool = False):
    """Which of the buckets between ascending ``boundaries`` (1-D) each element of ``input`` falls in.

    Raises ``RuntimeError`` for boundaries of other than one dim.

    >>> import flambeau as torch
    >>> torch.bucketize(torch.tensor([1, 4, 9]), torch.tensor([2, 5]))
    tensor([0, 1, 2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.bucketize.html
    """
    if boundaries.dim() != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.dim()})")
    return _search("bucketize", boundaries, input, out_int32, right, None, None)

"""Reductions of the segments of a dim, which may be of different lengths."""

from __future__ import annotations

from math import inf, nan
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.errors import describe
from flambeau.core.size import Size, wrap_dim
from flambeau.ops.comparison import where
from flambeau.ops.creation import ones_like
from flambeau.ops.joining import cat
from flambeau.ops.record import ErrorSample, Sample, op
from flambeau.ops.refusals import ALL_BUT_FLOATING, refuse
from flambeau.ops.sorting import searchsorted

if TYPE_CHECKING:
    from flambeau.tensor.types import Number, Tensor

_REDUCTIONS = {
    "sum": (np.add, 0.0),
    "mean": (np.add, 0.0),
    "prod": (np.multiply, 1.0),
    "max": (np.maximum, -inf),
    "min": (np.minimum, inf),
}
"""For each reduction how two elements are joined, and what a segment without elements gives."""


def _kernel(x, offsets, reduce, axis, initial):
    """All segments are reduced in one call: the elements between the first and the last of each, one segment after the other."""
    combine, identity = _REDUCTIONS[reduce]
    batch, rest = offsets.shape[:-1], x.shape[axis + 1 :]
    rows = x.reshape(-1, int(np.prod(rest, dtype=int)))
    base = np.arange(int(np.prod(batch, dtype=int))).reshape(*batch, 1) * x.shape[axis]
    begins, ends = [np.ravel(o) for o in (offsets[..., :-1] + base, offsets[..., 1:] + base)]
    filled = begins < ends
    out = np.full((len(begins), rows.shape[1]), identity if initial is None else initial, x.dtype)
    if filled.any():
        closed = np.concatenate([rows, np.full((1, rows.shape[1]), identity, x.dtype)])  # so that the last end is a row too
        places = np.stack([begins[filled], ends[filled]], 1).ravel()
        out[filled] = combine(out[filled], combine.reduceat(closed, places, axis=0)[::2])
    if reduce == "mean":
        with np.errstate(invalid="ignore"):
            lengths = (ends - begins)[:, None]
            out = np.where(lengths > 0, out / lengths, nan if initial is None else out).astype(x.dtype)
    return out.reshape(*batch, -1, *rest)


def _spread(values, offsets, axis: int, size: int):
    """For each element of the dim the value of its segment; zero for those that are in none."""
    n, rest = values.shape[axis], (1,) * (values.dim() - axis - 1)
    position = dispatch.wrap(np.arange(size)).expand(*offsets.shape[:-1], size).contiguous()
    segment = searchsorted(offsets[..., 1:].contiguous(), position, right=True)
    within = (position >= offsets[..., :1]) & (segment < n)
    shape = (*values.shape[:axis], size, *values.shape[axis + 1 :])
    index = segment.clamp(0, n - 1).reshape(*segment.shape, *rest).expand(shape)
    return values.gather(axis, index).masked_fill(~within.reshape(*within.shape, *rest), 0)


def _gradient(g, data, offsets, out, reduce, axis, initial):
    size = data.shape[axis]
    if not out.shape[axis]:
        return data * 0

    def spread(values):
        return _spread(values, offsets, axis, size)

    def total(values, reduce="sum", initial=None):
        return segment_reduce(values, reduce, offsets=offsets, axis=axis, unsafe=True, initial=initial)

    if reduce == "sum":
        return spread(g)
    if reduce == "mean":
        return spread(g / total(ones_like(data)).clamp(min=1))
    if reduce in ("max", "min"):
        chosen = (data == spread(out)) | data.isnan()  # those that are the result share its gradient
        return (spread(g / total(chosen.to(data.dtype)).clamp(min=1))).masked_fill(~chosen, 0)
    zero, unknown = data == 0, data.isnan()
    special = zero | unknown
    others = spread(total(where(special, 1, data), "prod", initial)) / where(special, 1, data)
    others = others.masked_fill(spread(total(zero.to(data.dtype))) > zero, 0)  # another is zero
    return spread(g) * others.masked_fill(spread(total(unknown.to(data.dtype))) > unknown, nan)


def _samples(make):
    def lengths(*values):
        return dispatch.wrap(np.array(values))

    return [
        *[Sample(make(6, 2), reduce, lengths=lengths(1, 2, 3)) for reduce in _REDUCTIONS],
        *[Sample(make(5), reduce, lengths=lengths(2, 0, 3), initial=1.5) for reduce in _REDUCTIONS],
        *[Sample(make(2, 4, 2), reduce, lengths=lengths([1, 3], [2, 2]), axis=1) for reduce in _REDUCTIONS],
        *[Sample(make(6), reduce, offsets=lengths(1, 3, 5)) for reduce in _REDUCTIONS],
        Sample(make(2, 6).t(), "sum", lengths=lengths(1, 5)),
        Sample(make(6), "sum", lengths=lengths(1, 2), unsafe=True),
        Sample(make(0, 2), "sum", lengths=lengths(0, 0)),
    ]


def _errors(make):
    def lengths(*values, dtype=np.int64):
        return dispatch.wrap(np.array(values, dtype))

    d = make(6, 2)
    return [
        ErrorSample(
            RuntimeError, "reduce argument must be either sum, prod, mean, amax or amin, got most", d, "most", lengths=lengths(6)
        ),
        ErrorSample(RuntimeError, "Either lengths or offsets must be defined", d, "sum"),
        ErrorSample(RuntimeError, "indices based reduction is not supported yet", d, "sum", indices=lengths(6)),
        ErrorSample(RuntimeError, "Expected all rows of lengths along axis to sum to data.size", d, "sum", lengths=lengths(5)),
        ErrorSample(RuntimeError, "lengths contains negative value!", d, "sum", lengths=lengths(7, -1)),
        ErrorSample(RuntimeError, "Expected segment_length >= 0", d, "sum", lengths=lengths(2, -1), unsafe=True),
        ErrorSample(RuntimeError, "Expected segment_length >= 0", d, "sum", offsets=lengths(0, 5, 3)),
        ErrorSample(RuntimeError, "outside of the 6 elements", d, "sum", offsets=lengths(0, 3, 7)),
        ErrorSample(RuntimeError, "outside of the 6 elements", d, "sum", lengths=lengths(7), unsafe=True),
        ErrorSample(
            RuntimeError, "Expected axis to be the last dimension of lengths but got 1", d, "sum", lengths=lengths(1, 1), axis=1
        ),
        ErrorSample(RuntimeError, "must match the size", d, "sum", lengths=lengths([1, 1]), axis=1),
        ErrorSample(NotImplementedError, "not implemented for 'Float'", d, "sum", lengths=lengths(5, 1, dtype=np.float32)),
        ErrorSample(
            NotImplementedError,
            "_segment_reduce_cpu\" not implemented for 'Long'",
            make(6, dtype=dtypes.int64),
            "sum",
            lengths=lengths(6),
        ),
        ErrorSample(RuntimeError, "lengths_value.dim.. to be true, but got false", make(), "sum", lengths=lengths(1)),
        ErrorSample(TypeError, "argument 'lengths' must be Tensor, not list", d, "sum", lengths=[6]),
        ErrorSample(IndexError, "Dimension out of range", d, "sum", lengths=lengths(6), axis=5),
    ]


@op(
    kernel=_kernel,
    tensors="data offsets",
    grad={"data": _gradient},
    nondifferentiable=("offsets",),
    method=False,
    samples=_samples,
    errors=_errors,
)
def segment_reduce(
    data: Tensor,
    reduce: str,
    *,
    lengths: Tensor | None = None,
    indices: Tensor | None = None,
    offsets: Tensor | None = None,
    axis: int = 0,
    unsafe: bool = False,
    initial: Number | complex | None = None,
):
    r"""Reduces each segment of the dim ``axis``; the segments may be of different lengths.

    Args:
        reduce: ``"sum"``, ``"mean"``, ``"prod"``, ``"max"`` or ``"min"``. The largest (or smallest) elements of a segment share
            its gradient.
        lengths: how long each segment is, along its last dim; the dims before it are those of ``data`` before ``axis``.
        offsets: instead of ``lengths`` where each segment begins, and where the last one ends.
        unsafe: whether the lengths may leave elements at the end.
        initial: what each segment begins with. Without it, one of no elements gives 0, NaN, 1, minus infinity or infinity.

    Raises ``RuntimeError`` for another ``reduce``, and for segments that do not make up the dim.

    >>> import flambeau as torch
    >>> torch.segment_reduce(torch.tensor([1.0, 2.0, 3.0, 4.0]), "mean", lengths=torch.tensor([1, 3]))
    tensor([1., 3.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.segment_reduce.html
    """
    axis = wrap_dim(axis, data.dim())
    if reduce not in _REDUCTIONS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    if indices is not None:
        raise RuntimeError("segment_reduce(): indices based reduction is not supported yet.")
    given, name = (offsets, "offsets") if offsets is not None else (lengths, "lengths")
    if given is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    if not isinstance(given, dispatch.Tensor):
        raise TypeError(f"segment_reduce(): argument '{name}' must be Tensor, not {describe(given)}")
    if data.dim() < given.dim():
        raise RuntimeError(f"Expected data.dim() >= {name}_value.dim() to be true, but got false.")
    refuse("_segment_reduce_cpu", data, kinds=ALL_BUT_FLOATING)
    if given.dtype.kind != dtypes.INTEGRAL:
        refuse(f"_segment_reduce_{name}_cpu_kernel1", given, kinds=(given.dtype.kind,))
    if given.dim() - 1 != axis:
        raise RuntimeError(f"segment_reduce(): Expected axis to be the last dimension of {name} but got {axis}.")
    if given.shape[:-1] != data.shape[:axis]:
        raise RuntimeError(
            f"segment_reduce(): The size of {name} before its last dim must match the size of data before axis, but they have "
            f"the shapes {list(given.shape)} and {list(data.shape)}"
        )
    given, size = given.to(dtypes.int64), data.shape[axis]
    if name == "lengths":
        if not unsafe and given.numel() and not given._storage.is_meta:
            if bool((given < 0).any()):
                raise RuntimeError("lengths contains negative value!")
            if not bool((given.sum(-1) == size).all()):
                raise RuntimeError(
                    "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) when !unsafe."
                )
        given = cat([given.new_zeros(*given.shape[:-1], 1), given.cumsum(-1)], -1)
    if given._storage.is_meta:
        pass
    elif bool((given[..., 1:] < given[..., :-1]).any()):
        raise RuntimeError("Expected segment_length >= 0 to be true, but got false.")
    elif given.numel() and bool(((given[..., 0] < 0) | (given[..., -1] > size)).any()):
        raise RuntimeError(f"segment_reduce(): A segment is outside of the {size} elements that data has along axis {axis}")
    shape = Size((*data.shape[:axis], max(given.shape[-1] - 1, 0), *data.shape[axis + 1 :]))
    return shape, data.dtype, (data, given), {"reduce": reduce, "axis": axis, "initial": initial}


_segment_reduce = segment_reduce
"""PyTorch's operator behind it, which packages call too."""

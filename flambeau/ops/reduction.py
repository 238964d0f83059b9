"""Reductions over dims: sums, means, counts and truth; and what all reductions share."""

from __future__ import annotations

from math import prod as product
from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.core.size import wrap_dim
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.views import reshaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.core.dtypes import dtype
    from flambeau.tensor.types import Tensor

# --- what reductions share -----------------------------------------------------------------------------------


def wrap_dims(dim, ndim: int) -> tuple[int, ...]:
    """``dim`` (``None`` or empty: all) as ascending dims counted from the front."""
    if dim is None:
        return tuple(range(ndim))
    if not isinstance(dim, (tuple, list)):
        return (wrap_dim(dim, ndim),) if ndim else _zero_dim(dim)
    dims = [wrap_dim(d, ndim) for d in dim]
    for d in dims:
        if dims.count(d) > 1:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return tuple(sorted(dims)) if ndim and dims else tuple(range(ndim))


def _zero_dim(dim: int) -> tuple[int, ...]:
    wrap_dim(dim, 0)
    return ()


def one_dim(name: str, dim, ndim: int) -> int:
    """``dim``, which must be one int, counted from the front."""
    if not hasattr(dim, "__index__"):
        raise TypeError(f"{name}(): argument 'dim' must be int, not {type(dim).__name__}")
    return wrap_dim(dim.__index__(), ndim)


def reduced_shape(shape, dims: tuple[int, ...], keepdim: bool) -> tuple[int, ...]:
    """``shape`` without ``dims``, or with 1 in their places."""
    if keepdim:
        return tuple([1 if d in dims else n for d, n in enumerate(shape)])
    return tuple([n for d, n in enumerate(shape) if d not in dims])


def restore(t, shape, dims: tuple[int, ...], keepdim: bool):
    """A reduced tensor with its dims back, of size 1, so that it broadcasts against ``shape``."""
    if keepdim or t.dim() == 0 or len(dims) == 0:
        return t
    return reshaped(t, reduced_shape(shape, dims, True))


def spread(g, input_shape, dim, keepdim):
    """The gradient of a sum: ``g`` at every element that was added."""
    return restore(g, input_shape, dim, keepdim).expand(input_shape)


_BLOCK = 64


def accurate_sum(x: np.ndarray, axis: tuple[int, ...], keepdims: bool = False) -> np.ndarray:
    """``x.sum(axis)``, with an error that grows with the logarithm of the number of terms.

    NumPy adds pairwise along the axis that is contiguous in memory, and one by one along others: these are first
    summed in blocks.
    """
    if x.dtype.char in "fF" and x.size > _BLOCK:
        tail = tuple(range(x.ndim - len(axis), x.ndim))
        if axis != tail or not x.flags.c_contiguous:
            inner = min(range(x.ndim), key=lambda d: abs(x.strides[d]) if x.shape[d] > 1 else x.nbytes)
            for d in axis:
                while d != inner and x.shape[d] > 2 * _BLOCK:
                    x = _block_sums(x, d)
    return x.sum(axis=axis, keepdims=keepdims)


def _block_sums(x: np.ndarray, axis: int) -> np.ndarray:
    """The sums of runs of ``_BLOCK`` elements along ``axis``."""
    x = np.moveaxis(x, axis, 0)
    blocks, rest = divmod(len(x), _BLOCK)
    sums = np.empty((blocks + (rest > 0), *x.shape[1:]), x.dtype)
    whole = x[: blocks * _BLOCK]
    np.sum(whole.reshape((blocks, _BLOCK, *x.shape[1:])), axis=1, out=sums[:blocks])
    if rest:
        np.sum(x[blocks * _BLOCK :], axis=0, out=sums[blocks])
    return np.moveaxis(sums, 0, axis)


def require_elements(name: str, shape, dims: tuple[int, ...]) -> None:
    """Refuses to reduce an empty dim where the reduction has no identity."""
    for d in dims:
        if shape[d] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {d} to have non-zero size. The input's shape is {list(shape)}.")


def require_specified(name: str, input, error: type[Exception] = RuntimeError) -> None:
    if input.numel() == 0:
        raise error(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with "
            f"the 'dim' argument. The input's shape is {list(input.shape)}."
        )


def reduction_samples(make):
    """Samples for a reduction that takes ``dim`` and ``keepdim``."""
    return [
        Sample(make(3, 4)),
        Sample(make(2, 3, 4), dim=1),
        Sample(make(2, 3, 4), dim=(0, -1), keepdim=True),
        Sample(make(4, 3).t(), dim=0),
        Sample(make()),
        Sample(make(), dim=0),
    ]


def one_dim_samples(make):
    return [
        Sample(make(3, 4), dim=0),
        Sample(make(2, 3, 4), dim=-1, keepdim=True),
        Sample(make(4, 3).t(), dim=1),
        Sample(make(), dim=0),
    ]


def _dim_errors(make):
    return [
        ErrorSample(IndexError, "Dimension out of range", make(2, 3), dim=2),
        ErrorSample(RuntimeError, "appears multiple times", make(2, 3), dim=(0, -2)),
    ]


def of_dims(inputs: tuple, attrs: dict) -> int:
    """The overload of a reduction: 1 where it was given dims."""
    return int(attrs["keepdim"] or len(attrs["dim"]) < inputs[0].dim())


# --- sums ----------------------------------------------------------------------------------------------------


def _sum_kernel(x, dim, keepdim):
    if x.dtype == bool:
        return np.count_nonzero(x, axis=dim, keepdims=keepdim) if dim else x
    return accurate_sum(x, dim, keepdim)


def _expand_sum(e, x, dim, keepdim):
    return e.sum(x if e.node.dtype.kind == dtypes.FLOATING else e.cast(x, e.node.dtype), dim, keepdim)


@op(
    expand=_expand_sum,
    kernel=_sum_kernel,
    out="dtype",
    samples=reduction_samples,
    errors=_dim_errors,
    grad={"input": spread},
    overload=of_dims,
)
def sum_(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: dtype | None = None):
    """The sum over ``dim`` (an int or a tuple of ints; all dims without it).

    Integers and booleans add up to ``int64`` unless ``dtype`` says otherwise; other inputs keep their dtype.

    >>> import flambeau as torch
    >>> torch.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(dim=1)
    tensor([3., 7.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.sum.html
    """
    dims = wrap_dims(dim, input.dim())
    if dtype is None:
        dtype = input.dtype if input.dtype.kind >= dtypes.FLOATING else dtypes.int64
    if input.dtype is not dtypes.bool or dtype.kind != dtypes.INTEGRAL:
        input = input.to(dtype)
    return reduced_shape(input.shape, dims, keepdim), dtype, (input,), {"dim": dims, "keepdim": bool(keepdim)}


def _nansum_kernel(x, dim, keepdim):
    return _sum_kernel(np.where(np.isnan(x), x.dtype.type(0), x) if x.dtype.kind == "f" else x, dim, keepdim)


def _nansum_gradient(g, input, dim, keepdim):
    return spread(g, input.shape, dim, keepdim) * (~input.isnan()).to(g.dtype)


@op(kernel=_nansum_kernel, out="dtype", samples=reduction_samples, grad={"input": _nansum_gradient})
def nansum(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: dtype | None = None):
    """The sum over ``dim``, where NaN counts as zero.

    Raises ``RuntimeError`` for complex numbers.

    >>> import flambeau as torch
    >>> torch.nansum(torch.tensor([1.0, torch.nan, 2.0]))
    tensor(3.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nansum.html
    """
    if input.dtype.is_complex:
        raise RuntimeError(f"nansum on CPU does not support complex inputs, got {input.dtype}")
    return sum_.op.check(input, dim, keepdim, dtype=dtype)


def mean_kernel(x, dim, keepdim):
    n = product([x.shape[d] for d in dim])
    return accurate_sum(x, dim, keepdim) / x.dtype.type(n)


def _mean_gradient(g, input_shape, dim, keepdim):
    n = product([input_shape[d] for d in dim])
    return spread(g, input_shape, dim, keepdim) / n


@op(
    expand=lambda e, x, dim, keepdim: e.mean(x, dim, keepdim),
    kernel=mean_kernel,
    out="dtype",
    samples=reduction_samples,
    errors=_dim_errors,
    grad={"input": _mean_gradient},
    overload=of_dims,
)
def mean(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: dtype | None = None):
    r"""The mean over ``dim`` (all dims without it): :math:`\frac1n \sum_i x_i`. The input must be floating or complex.

    Raises ``RuntimeError`` for integers and bools without a floating ``dtype``.

    >>> import flambeau as torch
    >>> torch.tensor([1.0, 2.0, 6.0]).mean()
    tensor(3.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.mean.html
    """
    what, kind = ("Input", input.dtype) if dtype is None else ("Optional", dtype)
    if kind.kind < dtypes.FLOATING:
        raise RuntimeError(
            f"mean(): could not infer output dtype. {what} dtype must be either a floating point or complex dtype. "
            f"Got: {scalar_name(kind)}. Convert the input first, for example with .float(), "
            "or pass dtype=torch.float32."
        )
    dims = wrap_dims(dim, input.dim())
    shape = reduced_shape(input.shape, dims, keepdim)
    return shape, kind, (input.to(kind),), {"dim": dims, "keepdim": bool(keepdim)}


@composite(out=True, samples=reduction_samples)
def nanmean(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: dtype | None = None) -> Tensor:
    """The mean over ``dim`` of the elements that are not NaN.

    Raises ``RuntimeError`` for integers and bools.

    >>> import flambeau as torch
    >>> torch.nanmean(torch.tensor([1.0, torch.nan, 2.0]))
    tensor(1.5000)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nanmean.html
    """
    if input.dtype.kind < dtypes.FLOATING:
        raise RuntimeError(f"nanmean(): expected input to have floating point or complex dtype but got {input.dtype}")
    count = (~input.isnan()).sum(dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / count


@op(expand=lambda e, x, dim: e.sum(e.map(lambda b, x: b.cast(b.truth(x), dtypes.int64), x), dim, False), kernel=lambda x, dim: np.count_nonzero(x, axis=dim) if dim else x != 0, samples=lambda make: [
    Sample(make(3, 4).relu()), Sample(make(3, 4).relu(), dim=1), Sample(make(2, 3, 4), dim=(0, 2)), Sample(make()),
])  # fmt: skip
def count_nonzero(input: Tensor, dim: int | Sequence[int] | None = None):
    """How many elements are not zero, over ``dim``.

    >>> import flambeau as torch
    >>> torch.count_nonzero(torch.tensor([[0, 1], [2, 3]]), dim=0)
    tensor([1, 2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.count_nonzero.html
    """
    dims = wrap_dims(dim, input.dim())
    return reduced_shape(input.shape, dims, False), dtypes.int64, (input,), {"dim": dims}


# --- truth ---------------------------------------------------------------------------------------------------


def _truth_check(input, dim, keepdim):
    dims = () if dim.__class__ in (list, tuple) and not dim else wrap_dims(dim, input.dim())  # no dims: each element
    dtype = dtypes.uint8 if input.dtype is dtypes.uint8 else dtypes.bool
    return reduced_shape(input.shape, dims, keepdim), dtype, (input,), {"dim": dims, "keepdim": bool(keepdim)}


@op(
    lower=lambda b, x, dim, keepdim: b.all(b.truth(x)),
    reduces=lambda dim, keepdim: dim,
    kernel=lambda x, dim, keepdim: np.all(x, axis=dim, keepdims=keepdim),
    out=True,
    samples=reduction_samples,
)
def all_(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False):
    """Whether every element over ``dim`` is true (not zero). ``uint8`` stays ``uint8``, as in PyTorch.

    >>> import flambeau as torch
    >>> torch.all(torch.tensor([[True, False], [True, True]]), dim=1)
    tensor([False,  True])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.all.html
    """
    return _truth_check(input, dim, keepdim)


@op(
    lower=lambda b, x, dim, keepdim: b.any(b.truth(x)),
    reduces=lambda dim, keepdim: dim,
    kernel=lambda x, dim, keepdim: np.any(x, axis=dim, keepdims=keepdim),
    out=True,
    samples=reduction_samples,
)
def any_(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False):
    """Whether some element over ``dim`` is true (not zero). ``uint8`` stays ``uint8``, as in PyTorch.

    >>> import flambeau as torch
    >>> torch.any(torch.tensor([[True, False], [False, False]]), dim=1)
    tensor([ True, False])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.any.html
    """
    return _truth_check(input, dim, keepdim)

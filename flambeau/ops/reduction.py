"""Reductions: sums, means, extremes, and truth over dims."""

from __future__ import annotations

from math import prod as product
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.core.size import wrap_dim
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import refuse, refuse_complex
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
            raise IndexError(
                f"{name}(): Expected reduction dim {d} to have non-zero size. The input's shape is {list(shape)}."
            )


def _require_specified(name: str, input, error: type[Exception] = RuntimeError) -> None:
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


@op(expand=_expand_sum, kernel=_sum_kernel, out="dtype", samples=reduction_samples, errors=_dim_errors, grad={"input": spread}, overload=of_dims)
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


@op(expand=lambda e, x, dim, keepdim: e.mean(x, dim, keepdim), kernel=mean_kernel, out="dtype", samples=reduction_samples, errors=_dim_errors, grad={"input": _mean_gradient}, overload=of_dims)
def mean(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: dtype | None = None):
    r"""The mean over ``dim`` (all dims without it): :math:`\frac1n \sum_i x_i`. The input must be floating or complex.

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
def nanmean(
    input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False, *, dtype: dtype | None = None
) -> Tensor:
    """The mean over ``dim`` of the elements that are not NaN.

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

    Source: https://docs.pytorch.org/docs/stable/generated/torch.count_nonzero.html
    """
    dims = wrap_dims(dim, input.dim())
    return reduced_shape(input.shape, dims, False), dtypes.int64, (input,), {"dim": dims}


# --- extremes ------------------------------------------------------------------------------------------------


def _extreme_gradient(g, input, out, dim, keepdim):
    """Evenly to all elements that equal the extreme."""
    mask = input == restore(out, input.shape, dim, keepdim)
    return restore(g, input.shape, dim, keepdim) * mask / mask.sum(dim, keepdim=True)


def even_gradient(g, input, out):
    """Of a reduction of all elements to one of them: evenly to all that equal it, NaN included."""
    mask = input == out
    if input.dtype.is_floating_point:
        mask = mask | (input.isnan() & out.isnan())
    return g / mask.sum() * mask


_KERNELS = {"amax": "max_values_cpu", "amin": "min_values_cpu", "max": "max_all", "min": "min_all", "kthvalue": "kthvalue_cpu", "median": "median_out", "nanmedian": "median_out", "mode": "mode_cpu"}
"""The kernels of PyTorch's that refuse complex numbers."""


def _extreme_check(name: str, input, dim, keepdim):
    dims = wrap_dims(dim, input.dim())
    if dim is None or dim == () or dim == []:
        _require_specified(name, input)
    require_elements(name, input.shape, dims)
    refuse(_KERNELS[name], input)
    shape = reduced_shape(input.shape, dims, keepdim)
    return shape, input.dtype, (input,), {"dim": dims, "keepdim": bool(keepdim)}


def _extreme_errors(make):
    return [
        ErrorSample(RuntimeError, "Expected reduction dim to be specified", make(0)),
        ErrorSample(IndexError, "Expected reduction dim 0 to have non-zero size", make(0, 3), dim=0),
        ErrorSample(IndexError, "Dimension out of range", make(2, 3), dim=2),
    ]


def _max_kernel(x, dim, keepdim):
    return np.max(x, axis=dim, keepdims=keepdim)


def _min_kernel(x, dim, keepdim):
    return np.min(x, axis=dim, keepdims=keepdim)


def _expand_max(e, x, dim, keepdim):
    return e.fold("amax", x, dim, keepdim)


def _expand_min(e, x, dim, keepdim):
    return e.fold("amin", x, dim, keepdim)


def _expand_place(e, how, x, dim):
    """The extreme elements along ``dim``, and the first place of each: NaN's, if it is NaN."""
    if not x.shape:
        e.refuse("a number")
    n = x.shape[dim]
    extreme = e.fold(how, x, (dim,))

    def place(b, x, extreme):
        found = b.eq(x, extreme)
        if x.dtype.kind == dtypes.FLOATING:
            found = b.or_(found, b.isnan(x))
        return b.amin(b.select(found, b.index(dim), n))

    return extreme, e.reduce(place, (dim,), x, extreme)


@op(expand=_expand_max, kernel=_max_kernel, out="same", grad={"input": _extreme_gradient}, samples=reduction_samples, errors=_extreme_errors)
def amax(input: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False):
    """The greatest element over ``dim``; NaN if one is NaN. Elements that tie share the gradient evenly.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.amax.html
    """
    return _extreme_check("amax", input, dim, keepdim)


@op(expand=_expand_min, kernel=_min_kernel, out="same", grad={"input": _extreme_gradient}, samples=reduction_samples, errors=_extreme_errors)
def amin(input: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False):
    """The least element over ``dim``; NaN if one is NaN. Elements that tie share the gradient evenly.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.amin.html
    """
    return _extreme_check("amin", input, dim, keepdim)


@op(expand=_expand_max, kernel=_max_kernel, grad={"input": even_gradient}, name="aten.max_all", backward_name="MaxBackward1")
def _max_all(input: Tensor):
    """The greatest element of all: what ``max(input)`` records."""
    refuse("max_all", input)
    return _extreme_check("max", input, None, False)


@op(expand=_expand_min, kernel=_min_kernel, grad={"input": even_gradient}, name="aten.min_all", backward_name="MinBackward1")
def _min_all(input: Tensor):
    """The least element of all: what ``min(input)`` records."""
    refuse("min_all", input)
    return _extreme_check("min", input, None, False)


def pick(x: np.ndarray, index: np.ndarray, dim: int, keepdim: bool) -> tuple[np.ndarray, np.ndarray]:
    """The elements of ``x`` at ``index`` (of size 1 along ``dim``), and the index."""
    values = np.take_along_axis(x, index, dim)
    return (values, index) if keepdim else (values.squeeze(dim), index.squeeze(dim))


def selected_gradient(g, input_shape, indices, dim, keepdim):
    """The gradient of values that were picked along ``dim``: to the indices, zero elsewhere."""
    if not input_shape:
        return g
    if not keepdim:
        g, indices = g.unsqueeze(dim), indices.unsqueeze(dim)
    return g.new_zeros(input_shape).scatter(dim, indices, g)


def select_check(name: str, input, dim, keepdim):
    """What reductions to (values, indices) along one dim record."""
    dim = one_dim(name, dim, input.dim())
    dims = (dim,) if input.dim() else ()
    require_elements(name, input.shape, dims)
    refuse_complex(name, input, None if name in ("max", "min") else _KERNELS[name])
    shape = reduced_shape(input.shape, dims, keepdim)
    return (shape, shape), (input.dtype, dtypes.int64), (input,), {"dim": dim, "keepdim": bool(keepdim)}


def _selecting(arg):
    def kernel(x, dim, keepdim):
        if x.ndim == 0:
            return x, np.zeros((), np.int64)
        return pick(x, arg(x, axis=dim, keepdims=True), dim, keepdim)

    return kernel


@op(
    expand=lambda e, x, dim, keepdim: _expand_place(e, "amax", x, dim),
    kernel=_selecting(np.argmax),
    name="aten.max",
    outputs=("values", "indices"),
    nondifferentiable=("indices",),
    grad={"input": selected_gradient},
)
def _max_dim(input: Tensor, dim: int, keepdim: bool = False):
    """The greatest elements along ``dim`` and where they are: what ``max(input, dim)`` records."""
    return select_check("max", input, dim, keepdim)


@op(
    expand=lambda e, x, dim, keepdim: _expand_place(e, "amin", x, dim),
    kernel=_selecting(np.argmin),
    name="aten.min",
    outputs=("values", "indices"),
    nondifferentiable=("indices",),
    grad={"input": selected_gradient},
)
def _min_dim(input: Tensor, dim: int, keepdim: bool = False):
    """The least elements along ``dim`` and where they are: what ``min(input, dim)`` records."""
    return select_check("min", input, dim, keepdim)


_three_forms = lambda make: [Sample(make(3, 4)), *one_dim_samples(make), Sample(make(3, 1), make(4))]  # noqa: E731


@composite(out=True, samples=_three_forms, errors=_extreme_errors)
def max_(input: Tensor, dim: Tensor | int | None = None, keepdim: bool = False, *, other: Tensor | None = None):
    """The greatest element: of all (``max(x)``), along a dim (``max(x, dim)`` gives ``(values, indices)``), or of each
    pair (``max(x, other)``, as :func:`maximum`).

    NaN counts as greatest. Along a dim the first of equal elements is taken, and has the gradient; ``max(x)`` shares
    it evenly.

    >>> import flambeau as torch
    >>> torch.tensor([[1, 5], [7, 2]]).max(dim=1).indices
    tensor([1, 0])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.max.html
    """
    if isinstance(dim, dispatch.Tensor) or other is not None:
        return input.maximum(dim if other is None else other)
    return _max_all(input) if dim is None else _max_dim(input, dim, keepdim)


@composite(out=True, samples=_three_forms, errors=_extreme_errors)
def min_(input: Tensor, dim: Tensor | int | None = None, keepdim: bool = False, *, other: Tensor | None = None):
    """The least element: of all (``min(x)``), along a dim (``min(x, dim)`` gives ``(values, indices)``), or of each
    pair (``min(x, other)``, as :func:`minimum`). See :func:`max`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.min.html
    """
    if isinstance(dim, dispatch.Tensor) or other is not None:
        return input.minimum(dim if other is None else other)
    return _min_all(input) if dim is None else _min_dim(input, dim, keepdim)


def _aminmax_gradient(gs, input, min, max, dim, keepdim):
    total = None
    for g, extreme in zip(gs, (min, max), strict=True):
        if g is not None:
            part = _extreme_gradient(g, input, extreme, dim, keepdim)
            total = part if total is None else total + part
    return total


@op(
    expand=lambda e, x, dim, keepdim: (_expand_min(e, x, dim, keepdim), _expand_max(e, x, dim, keepdim)),
    kernel=lambda x, dim, keepdim: (_min_kernel(x, dim, keepdim), _max_kernel(x, dim, keepdim)),
    outputs=("min", "max"),
    out="same",
    grad={"input": _aminmax_gradient},
    samples=lambda make: [Sample(make(3, 4)), Sample(make(3, 4), dim=1), Sample(make(2, 3), dim=0, keepdim=True)],
)
def aminmax(input: Tensor, *, dim: int | None = None, keepdim: bool = False):
    """The least and the greatest element, of all or along ``dim``, as ``(min, max)``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.aminmax.html
    """
    dims = wrap_dims(dim, input.dim())
    if product([input.shape[d] for d in dims]) == 0:
        raise RuntimeError(
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity. "
            f"The input's shape is {list(input.shape)}."
        )
    refuse("aminmax_cpu", input)
    shape = reduced_shape(input.shape, dims, keepdim)
    return (shape, shape), (input.dtype, input.dtype), (input,), {"dim": dims, "keepdim": bool(keepdim)}


def _arg_check(name: str, input, dim, keepdim):
    refuse_complex(name, input)
    if dim is None:
        _require_specified(name, input, IndexError)
        shape = (1,) * input.dim() if keepdim else ()
    else:
        dim = one_dim(name, dim, input.dim())
        dims = (dim,) if input.dim() else ()
        require_elements(name, input.shape, dims)
        shape = reduced_shape(input.shape, dims, keepdim)
    return shape, dtypes.int64, (input,), {"dim": dim, "keepdim": bool(keepdim)}


def _arg_kernel(arg):
    def kernel(x, dim, keepdim):
        return arg(x, axis=dim, keepdims=keepdim) if x.ndim else np.zeros((), np.int64)

    return kernel


def _expand_arg(how):
    def expand(e, x, dim, keepdim):
        flat = x if dim is not None else e.view(x, (product(x.shape),))
        return _expand_place(e, how, flat, dim or 0)[1]

    return expand


@op(expand=_expand_arg("amax"), kernel=_arg_kernel(np.argmax), out="same", samples=lambda make: [Sample(make(3, 4)), *one_dim_samples(make)])
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False):
    """The index of the greatest element: along ``dim``, or in the flattened input. NaN counts as greatest.

    >>> import flambeau as torch
    >>> torch.tensor([[0.1, 0.9], [0.8, 0.2]]).argmax(dim=1)
    tensor([1, 0])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.argmax.html
    """
    return _arg_check("argmax", input, dim, keepdim)


@op(expand=_expand_arg("amin"), kernel=_arg_kernel(np.argmin), out="same", samples=lambda make: [Sample(make(3, 4)), *one_dim_samples(make)])
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False):
    """The index of the least element: along ``dim``, or in the flattened input. NaN counts as least.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.argmin.html
    """
    return _arg_check("argmin", input, dim, keepdim)


# --- truth ---------------------------------------------------------------------------------------------------


def _truth_check(input, dim, keepdim):
    dims = () if dim.__class__ in (list, tuple) and not dim else wrap_dims(dim, input.dim())  # no dims: each element
    dtype = dtypes.uint8 if input.dtype is dtypes.uint8 else dtypes.bool
    return reduced_shape(input.shape, dims, keepdim), dtype, (input,), {"dim": dims, "keepdim": bool(keepdim)}


@op(lower=lambda b, x, dim, keepdim: b.all(b.truth(x)), reduces=lambda dim, keepdim: dim, kernel=lambda x, dim, keepdim: np.all(x, axis=dim, keepdims=keepdim), out=True, samples=reduction_samples)
def all_(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False):
    """Whether every element over ``dim`` is true (not zero). ``uint8`` stays ``uint8``, as in PyTorch.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.all.html
    """
    return _truth_check(input, dim, keepdim)


@op(lower=lambda b, x, dim, keepdim: b.any(b.truth(x)), reduces=lambda dim, keepdim: dim, kernel=lambda x, dim, keepdim: np.any(x, axis=dim, keepdims=keepdim), out=True, samples=reduction_samples)
def any_(input: Tensor, dim: int | Sequence[int] | None = None, keepdim: bool = False):
    """Whether some element over ``dim`` is true (not zero). ``uint8`` stays ``uint8``, as in PyTorch.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.any.html
    """
    return _truth_check(input, dim, keepdim)

"""Reductions to the largest or smallest element, and to where it stands."""

from __future__ import annotations

from math import prod as product
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.reduction import (
    one_dim,
    one_dim_samples,
    reduced_shape,
    reduction_samples,
    require_elements,
    require_specified,
    restore,
    wrap_dims,
)
from flambeau.ops.refusals import refuse, refuse_complex

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor

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


_KERNELS = {
    "amax": "max_values_cpu",
    "amin": "min_values_cpu",
    "max": "max_all",
    "min": "min_all",
    "kthvalue": "kthvalue_cpu",
    "median": "median_out",
    "nanmedian": "median_out",
    "mode": "mode_cpu",
}
"""The kernels of PyTorch's that refuse complex numbers."""


def _extreme_check(name: str, input, dim, keepdim):
    dims = wrap_dims(dim, input.dim())
    if dim is None or dim == () or dim == []:
        require_specified(name, input)
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


@op(
    expand=_expand_max,
    kernel=_max_kernel,
    out="same",
    grad={"input": _extreme_gradient},
    samples=reduction_samples,
    errors=_extreme_errors,
)
def amax(input: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False):
    """The greatest element over ``dim``; NaN if one is NaN. Elements that tie share the gradient evenly.

    >>> import flambeau as torch
    >>> torch.amax(torch.tensor([[1, 5], [4, 2]]), dim=1)
    tensor([5, 4])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.amax.html
    """
    return _extreme_check("amax", input, dim, keepdim)


@op(
    expand=_expand_min,
    kernel=_min_kernel,
    out="same",
    grad={"input": _extreme_gradient},
    samples=reduction_samples,
    errors=_extreme_errors,
)
def amin(input: Tensor, dim: int | Sequence[int] = (), keepdim: bool = False):
    """The least element over ``dim``; NaN if one is NaN. Elements that tie share the gradient evenly.

    >>> import flambeau as torch
    >>> torch.amin(torch.tensor([[1, 5], [4, 2]]), dim=1)
    tensor([1, 2])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.amin.html
    """
    return _extreme_check("amin", input, dim, keepdim)


@op(
    expand=_expand_max,
    kernel=_max_kernel,
    grad={"input": even_gradient},
    name="aten.max_all",
    backward_name="MaxBackward1",
)
def _max_all(input: Tensor):
    """The greatest element of all: what ``max(input)`` records."""
    refuse("max_all", input)
    return _extreme_check("max", input, None, False)


@op(
    expand=_expand_min,
    kernel=_min_kernel,
    grad={"input": even_gradient},
    name="aten.min_all",
    backward_name="MinBackward1",
)
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
        second: Any = dim if other is None else other
        return input.maximum(second)
    return _max_all(input) if dim is None else _max_dim(input, dim, keepdim)


@composite(out=True, samples=_three_forms, errors=_extreme_errors)
def min_(input: Tensor, dim: Tensor | int | None = None, keepdim: bool = False, *, other: Tensor | None = None):
    """The least element: of all (``min(x)``), along a dim (``min(x, dim)`` gives ``(values, indices)``), or of each
    pair (``min(x, other)``, as :func:`minimum`). See :func:`max`.

    >>> import flambeau as torch
    >>> torch.min(torch.tensor([[3, 1], [4, 6]]), 1)
    torch.return_types.min(
    values=tensor([1, 4]),
    indices=tensor([1, 0]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.min.html
    """
    if isinstance(dim, dispatch.Tensor) or other is not None:
        second: Any = dim if other is None else other
        return input.minimum(second)
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

    Raises ``RuntimeError`` for a tensor without elements, and ``IndexError`` for a dim without.

    >>> import flambeau as torch
    >>> torch.aminmax(torch.tensor([3, 1, 2]))
    torch.return_types.aminmax(
    min=tensor(1),
    max=tensor(3))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.aminmax.html
    """
    dims = wrap_dims(dim, input.dim())
    if product([input.shape[d] for d in dims]) == 0:
        if dim is not None:
            raise IndexError(f"aminmax: Expected reduction dim {dims[0]} to have non-zero size. The shape is {list(input.shape)}.")
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
        require_specified(name, input, IndexError)
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


@op(
    expand=_expand_arg("amax"),
    kernel=_arg_kernel(np.argmax),
    out="same",
    samples=lambda make: [Sample(make(3, 4)), *one_dim_samples(make)],
)
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False):
    """The index of the greatest element: along ``dim``, or in the flattened input. NaN counts as greatest.

    >>> import flambeau as torch
    >>> torch.tensor([[0.1, 0.9], [0.8, 0.2]]).argmax(dim=1)
    tensor([1, 0])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.argmax.html
    """
    return _arg_check("argmax", input, dim, keepdim)


@op(
    expand=_expand_arg("amin"),
    kernel=_arg_kernel(np.argmin),
    out="same",
    samples=lambda make: [Sample(make(3, 4)), *one_dim_samples(make)],
)
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False):
    """The index of the least element: along ``dim``, or in the flattened input. NaN counts as least.

    >>> import flambeau as torch
    >>> torch.argmin(torch.tensor([[3, 1], [4, 0]]))
    tensor(3)
    >>> torch.argmin(torch.tensor([[3, 1], [4, 0]]), dim=1)
    tensor([1, 1])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.argmin.html
    """
    return _arg_check("argmin", input, dim, keepdim)

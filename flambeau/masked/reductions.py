r"""Reductions and normalizations of the elements that a mask selects.

Elements where ``mask`` is False count as the operation's identity (0 for sums, 1 for products, minus infinity for the
greatest) or not at all (means, variances). The mask broadcasts with the input. Normalizations and running sums leave at
the places masked out what the identity makes of them; such places have no meaning.

Source: https://docs.pytorch.org/docs/stable/masked.html
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any

from flambeau import ops
from flambeau.core import dtypes
from flambeau.core.dtypes import dtype as Dtype
from flambeau.masked.tensor import MaskedTensor
from flambeau.ops.reduction import wrap_dims
from flambeau.tensor import Tensor

__all__ = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp", "logsumexp", "mean", "median",
    "norm", "normalize", "prod", "softmax", "softmin", "std", "sum", "var",
]  # fmt: skip

Dims = Any


def _given(function: Callable) -> Callable:
    """Takes a :class:`MaskedTensor` for its data and its mask."""

    @wraps(function)
    def call(input: Tensor, *args: Any, mask: Tensor | None = None, **kwargs: Any) -> Any:
        if isinstance(input, MaskedTensor):
            own = input.get_mask()
            input, mask = input.get_data(), own if mask is None else own & mask
        return function(input, *args, mask=mask, **kwargs)

    return call


def _dims(input: Tensor, dim: Dims) -> tuple[int, ...]:
    if dim is None or dim == ():
        return tuple(range(input.dim()))
    return wrap_dims(dim, input.dim())


def _counted(dtype: Dtype) -> bool:
    return not dtype.is_floating_point and not dtype.is_complex


def _filled(input: Tensor, mask: Tensor | None, value: Any) -> Tensor:
    return input if mask is None else ops.where(mask, input, input.new_full((), value))


def _least(dtype: Dtype) -> Any:
    return dtypes.iinfo(dtype).min if _counted(dtype) else -math.inf


def _most(dtype: Dtype) -> Any:
    return dtypes.iinfo(dtype).max if _counted(dtype) else math.inf


def _typed(input: Tensor, dtype: Dtype | None, widen: bool = False) -> Tensor:
    if dtype is None and widen and _counted(input.dtype):
        dtype = dtypes.int64
    return input if dtype is None else input.to(dtype)


@_given
def sum(input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: Dtype | None = None, mask: Tensor | None = None):
    """The sum of the elements that ``mask`` selects.

    >>> import flambeau as torch
    >>> torch.masked.sum(torch.tensor([1.0, 2.0, 4.0]), 0, mask=torch.tensor([True, False, True]))
    tensor(5.)
    """
    x = _filled(_typed(input, dtype, widen=True), mask, 0)
    return x.sum(_dims(x, dim), keepdim) if x.dim() else x.clone()


@_given
def prod(input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: Dtype | None = None, mask: Tensor | None = None):
    """The product of the elements that ``mask`` selects."""
    x = _filled(_typed(input, dtype, widen=True), mask, 1)
    for d in sorted(_dims(x, dim), reverse=True):
        x = x.prod(d, keepdim)
    return x


@_given
def amax(input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: Dtype | None = None, mask: Tensor | None = None):
    """The greatest of the elements that ``mask`` selects."""
    x = _typed(input, dtype)
    return _filled(x, mask, _least(x.dtype)).amax(_dims(x, dim), keepdim)


@_given
def amin(input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: Dtype | None = None, mask: Tensor | None = None):
    """The least of the elements that ``mask`` selects."""
    x = _typed(input, dtype)
    return _filled(x, mask, _most(x.dtype)).amin(_dims(x, dim), keepdim)


@_given
def argmax(input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: Dtype | None = None, mask: Tensor | None = None):
    """Where the greatest of the elements that ``mask`` selects is."""
    x = _typed(input, dtype)
    return _filled(x, mask, _least(x.dtype)).argmax(dim, keepdim).to(x.dtype)


@_given
def argmin(input: Tensor, dim: int | None = None, *, keepdim: bool = False, dtype: Dtype | None = None, mask: Tensor | None = None):
    """Where the least of the elements that ``mask`` selects is."""
    x = _typed(input, dtype)
    return _filled(x, mask, _most(x.dtype)).argmin(dim, keepdim).to(x.dtype)


@_given
def cumsum(input: Tensor, dim: int, *, dtype: Dtype | None = None, mask: Tensor | None = None):
    """Running sums of the elements that ``mask`` selects."""
    return _filled(_typed(input, dtype), mask, 0).cumsum(dim)


@_given
def cumprod(input: Tensor, dim: int, *, dtype: Dtype | None = None, mask: Tensor | None = None):
    """Running products of the elements that ``mask`` selects."""
    return _filled(_typed(input, dtype), mask, 1).cumprod(dim)


@_given
def softmax(input: Tensor, dim: int, *, dtype: Dtype | None = None, mask: Tensor | None = None):
    """The softmax over the elements that ``mask`` selects.

    >>> import flambeau as torch
    >>> torch.masked.softmax(torch.zeros(3), 0, mask=torch.tensor([True, True, False]))
    tensor([0.5000, 0.5000, 0.0000])
    """
    return _filled(_typed(input, dtype), mask, -math.inf).softmax(dim)


@_given
def log_softmax(input: Tensor, dim: int, *, dtype: Dtype | None = None, mask: Tensor | None = None):
    """The logarithm of the softmax over the elements that ``mask`` selects."""
    return _filled(_typed(input, dtype), mask, -math.inf).log_softmax(dim)


@_given
def softmin(input: Tensor, dim: int, *, dtype: Dtype | None = None, mask: Tensor | None = None):
    """The softmax of the negative elements that ``mask`` selects."""
    return ops.namespace("nn.functional")["softmin"](_filled(_typed(input, dtype), mask, math.inf), dim)


@_given
def logsumexp(input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: Dtype | None = None, mask: Tensor | None = None):
    """The logarithm of the sum of the exponentials of the elements that ``mask`` selects."""
    x = _typed(input, dtype)
    return _filled(x, mask, _least(x.dtype)).logsumexp(_dims(x, dim), keepdim).to(x.dtype)


def logaddexp(
    input: Tensor, other: Tensor, *, dtype: Dtype | None = None, input_mask: Tensor | None = None,
    other_mask: Tensor | None = None,
):  # fmt: skip
    """``log(exp(input) + exp(other))``, without the parts that a mask takes out."""
    a, b = (_typed(x, dtype) for x in (input, other))
    return ops.logaddexp(_filled(a, input_mask, -math.inf), _filled(b, other_mask, -math.inf))


def _how_many(input: Tensor, dims: tuple, keepdim: bool, mask: Tensor | None) -> Tensor:
    ones = ops.ones(input.shape, dtype=dtypes.int64) if mask is None else mask.expand(input.shape).to(dtypes.int64)
    return ones.sum(dims, keepdim) if input.dim() else ones


@_given
def mean(input: Tensor, dim: Dims = None, *, keepdim: bool = False, dtype: Dtype | None = None, mask: Tensor | None = None):
    """The mean of the elements that ``mask`` selects; NaN where it selects none.

    >>> import flambeau as torch
    >>> torch.masked.mean(torch.tensor([1.0, 2.0, 4.0]), 0, mask=torch.tensor([True, False, True]))
    tensor(2.5000)
    """
    x = _typed(input, dtype)
    if _counted(x.dtype):
        raise ValueError("mean expects a floating point or complex input")
    return sum(x, dim, keepdim=keepdim, mask=mask) / _how_many(x, _dims(x, dim), keepdim, mask)


@_given
def median(input: Tensor, dim: int = -1, *, keepdim: bool = False, dtype: Dtype | None = None, mask: Tensor | None = None):
    """The lower median of the elements that ``mask`` selects."""
    x = _typed(input, dtype)
    floats = x if x.is_floating_point() else x.double()
    return _filled(floats, mask, math.nan).nanmedian(dim, keepdim).values.to(x.dtype)


@_given
def norm(
    input: Tensor, ord: float | None = 2.0, dim: Dims = None, *, keepdim: bool = False, dtype: Dtype | None = None,
    mask: Tensor | None = None,
):  # fmt: skip
    """The vector norm of the elements that ``mask`` selects."""
    x = _typed(input, dtype)
    outside = math.inf if ord == -math.inf else 0
    order = 2.0 if ord is None else ord
    return ops.namespace("linalg")["vector_norm"](_filled(x, mask, outside), order, _dims(x, dim), keepdim)


@_given
def normalize(input: Tensor, ord: float, dim: int, *, eps: float = 1e-12, dtype: Dtype | None = None, mask: Tensor | None = None):
    """The elements that ``mask`` selects, divided by their norm (or ``eps``, if that is greater)."""
    x = _typed(input, dtype)
    length = norm(x, ord, dim, keepdim=True, mask=mask)
    return _filled(x, mask, 0) / length.clamp(min=eps)


def _correction(unbiased: bool | None, correction: float | None) -> float:
    if unbiased is not None and correction is not None:
        raise ValueError("Only one of unbiased and correction may be given")
    if correction is not None:
        return correction
    return 1 if unbiased is None or unbiased else 0


@_given
def var(
    input: Tensor, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None,
    keepdim: bool = False, dtype: Dtype | None = None, mask: Tensor | None = None,
):  # fmt: skip
    """The variance of the elements that ``mask`` selects; ``correction`` (1) is taken from their number."""
    x = _typed(input, dtype)
    if _counted(x.dtype):
        x = x.to(dtypes.get_default_dtype())
    dims = _dims(x, dim)
    count = _how_many(x, dims, True, mask)
    away = x - sum(x, dims, keepdim=True, mask=mask) / count
    squares = (away * away.conj_physical()).real if x.is_complex() else away * away
    total = sum(squares, dims, keepdim=keepdim, mask=mask)
    count = _how_many(x, dims, keepdim, mask)
    return (total / (count - _correction(unbiased, correction)).clamp(min=0)).to(x.dtype)


@_given
def std(
    input: Tensor, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None,
    keepdim: bool = False, dtype: Dtype | None = None, mask: Tensor | None = None,
):  # fmt: skip
    """The square root of :func:`var`."""
    return var(input, dim, unbiased, correction=correction, keepdim=keepdim, dtype=dtype, mask=mask).sqrt()

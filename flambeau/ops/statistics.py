"""Statistics over dims: variance, median, mode, quantiles, log-sum-exp."""

from __future__ import annotations

from math import inf, prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.errors import warn
from flambeau.core.size import wrap_dim
from flambeau.ops.ranking import picked, places_at, stable_order
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.reduction import (
    accurate_sum,
    even_gradient,
    mean,
    mean_kernel,
    pick,
    reduced_shape,
    restore,
    select_check,
    selected_gradient,
    spread,
    wrap_dims,
)
from flambeau.ops.refusals import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Number, Tensor

# --- variance ------------------------------------------------------------------------------------------------


def _var_kernel(x, dim, keepdim, correction):
    """Two passes in double precision."""
    wide = np.complex128 if x.dtype.kind == "c" else np.float64
    n = prod([x.shape[d] for d in dim])
    x = x.astype(wide)
    x -= x.sum(axis=dim, keepdims=True) / np.float64(n)
    square = (x * x.conj()).real if wide is np.complex128 else np.multiply(x, x, out=x)
    return square.sum(axis=dim, keepdims=keepdim) / np.float64(max(n - correction, 0))


def _expand_var(e, x, dim, keepdim, correction):
    if not dim:
        e.refuse("a number has no other to vary from")
    n = prod([x.shape[d] for d in dim])

    def square(b, x, mean):
        centred = b.sub(x, mean)
        return b.mul(centred, centred)

    total = e.fold_of("sum", square, dim, x, e.mean(x, dim), keepdim=keepdim)
    return e.map(lambda b, total: b.div(total, max(n - correction, 0)), total)


def _expand_std(e, x, dim, keepdim, correction):
    return e.map(lambda b, var: b.sqrt(var), _expand_var(e, x, dim, keepdim, correction))


def _std_kernel(x, dim, keepdim, correction):
    return np.sqrt(_var_kernel(x, dim, keepdim, correction))


def _var_gradient(g, input, dim, keepdim, correction):
    freedom = prod([input.shape[d] for d in dim]) - correction
    centred = input - mean(input, dim, keepdim=True)
    return restore(g, input.shape, dim, keepdim) * (2 / freedom if freedom else inf) * centred


def _std_gradient(g, input, out, dim, keepdim, correction):
    return _var_gradient((g / (2 * out)).masked_fill(out == 0, 0), input, dim, keepdim, correction)


def _var_check(name: str, input, dim, unbiased, keepdim, correction):
    if input.dtype.kind < dtypes.FLOATING:
        raise RuntimeError(
            f"std and var only support floating point and complex dtypes, got {input.dtype}; use .float()"
        )
    if unbiased is not None and correction is not None:
        raise TypeError("std and var take either unbiased or correction, got both")
    if isinstance(dim, bool):  # var(x, unbiased)
        dim, unbiased = None, dim
    dims = wrap_dims(dim, input.dim())
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    attrs = {"dim": dims, "keepdim": bool(keepdim), "correction": correction}
    if (prod([input.shape[d] for d in dims]) if input.numel() else 0) <= correction:
        for _ in range(1 + input.dtype.is_complex):  # PyTorch computes the real and the imaginary part one by one
            warn(
                f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor "
                "(input numel divided by output numel)."
            )
    return reduced_shape(input.shape, dims, keepdim), input.dtype.to_real(), (input,), attrs


def _var_samples(make):
    return [
        Sample(make(3, 4)),
        Sample(make(3, 4), False),
        Sample(make(2, 3, 4), dim=1, keepdim=True),
        Sample(make(2, 3, 4), dim=(0, 2), correction=0),
        Sample(make(4, 3).t(), 0, True),
    ]


def _var_errors(make):
    return [ErrorSample(IndexError, "Dimension out of range", make(2, 3), dim=2)]


@op(expand=_expand_var, kernel=_var_kernel, out=True, grad={"input": _var_gradient}, samples=_var_samples, errors=_var_errors)
def var(
    input: Tensor,
    dim: int | Sequence[int] | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Number | complex | None = None,
):
    r"""The variance over ``dim`` (all dims without it): :math:`\frac{1}{n - c} \sum_i |x_i - \bar x|^2`.

    ``correction`` is :math:`c`, 1 by default; ``unbiased=False`` means 0.

    >>> import flambeau as torch
    >>> torch.tensor([1.0, 2.0, 3.0]).var()
    tensor(1.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.var.html
    """
    return _var_check("var", input, dim, unbiased, keepdim, correction)


@op(expand=_expand_std, kernel=_std_kernel, out=True, grad={"input": _std_gradient}, samples=_var_samples, errors=_var_errors)
def std(
    input: Tensor,
    dim: int | Sequence[int] | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Number | complex | None = None,
):
    """The standard deviation over ``dim``: the square root of :func:`var`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.std.html
    """
    return _var_check("std", input, dim, unbiased, keepdim, correction)


def _two_gradients(of_first):
    """The gradient of a statistic and the mean, which are computed together."""

    def gradient(gs, input, first, mean, dim, keepdim, correction):
        g, of_mean = gs
        total = None if g is None else of_first(g, input, first, dim, keepdim, correction)
        if of_mean is None:
            return total
        part = spread(of_mean, input.shape, dim, keepdim) / prod([input.shape[d] for d in dim])
        return part if total is None else total + part

    return gradient


def _and_mean(name: str, kernel, expand, of_first):
    """The record of a statistic with the mean."""

    def check(input: Tensor, dim: int, unbiased, keepdim: bool, correction: Number | complex):
        """The statistic and the mean over ``dim``."""
        shape, dtype, inputs, attrs = _var_check(f"{name}_mean", input, dim, unbiased, keepdim, correction)
        return (shape, shape), (dtype, input.dtype), inputs, attrs

    return op(
        check,
        name=f"_{name}_mean",
        method=False,
        tensors="input",
        kernel=lambda x, dim, keepdim, correction: (kernel(x, dim, keepdim, correction), mean_kernel(x, dim, keepdim)),
        expand=lambda e, x, dim, keepdim, correction: (expand(e, x, dim, keepdim, correction), e.mean(x, dim, keepdim)),
        grad={"input": _two_gradients(of_first)},
        outputs=("first", "mean"),
        backward_name=f"{name.capitalize()}MeanBackward0",
    )


_var_mean = _and_mean("var", _var_kernel, _expand_var, lambda g, x, out, *rest: _var_gradient(g, x, *rest))
_std_mean = _and_mean("std", _std_kernel, _expand_std, _std_gradient)


@composite(method=False, out=True, samples=_var_samples)
def var_mean(
    input: Tensor,
    dim: int | Sequence[int] | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Number | complex | None = None,
):
    """The variance and the mean over ``dim``, as a tuple. See :func:`var`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.var_mean.html
    """
    return tuple(_var_mean(input, dim, unbiased, keepdim, correction))


@composite(method=False, out=True, samples=_var_samples)
def std_mean(
    input: Tensor,
    dim: int | Sequence[int] | None = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: Number | complex | None = None,
):
    """The standard deviation and the mean over ``dim``, as a tuple. See :func:`std`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.std_mean.html
    """
    return tuple(_std_mean(input, dim, unbiased, keepdim, correction))


@composite(
    samples=lambda make: [
        Sample(make(2, 4)),
        Sample(make(5), correction=0),
        Sample(
            make(2, 3),
            fweights=dispatch.wrap(np.array([1, 2, 1])),
            aweights=make(3, low=0.5, high=1.5, requires_grad=False),
        ),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "expected input to have two or fewer dimensions", make(2, 2, 2))],
)
def cov(
    input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None
) -> Tensor:
    r"""The covariance matrix of variables (rows) from observations (columns).

    .. math:: \frac{1}{w - c} \sum_j w_j (x_j - \bar x)(x_j - \bar x)^H

    Observations count ``fweights`` times, and with importance ``aweights``.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cov.html
    """
    if input.dim() > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
    if input.dtype is dtypes.bool:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = input.reshape((1, -1)) if input.dim() < 2 else input
    n = x.shape[1]
    weights = None
    for name, w in (("fweights", fweights), ("aweights", aweights)):
        if w is None:
            continue
        if w.dim() > 1 or w.numel() != n:
            raise RuntimeError(
                f"cov(): expected {name} to have one or fewer dimensions and one element for each of {n} observations, got "
                f"shape {list(w.shape)}"
            )
        weights = w if weights is None else weights * w
    total = n if weights is None else weights.sum()
    average = (x if weights is None else x * weights).sum(1) / total
    if aweights is None or correction == 0:
        freedom = total - correction
        if weights is None and freedom <= 0:
            warn("cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.")
    else:
        freedom = total - correction * (weights * aweights).sum() / total
    freedom = freedom.clamp(min=0) if isinstance(freedom, dispatch.Tensor) else max(freedom, 0)
    centred = x - average.unsqueeze(1)
    weighted = centred if weights is None else centred * weights
    product = weighted @ (centred.conj_physical() if centred.dtype.is_complex else centred).t()
    return (product / freedom).squeeze()


@composite(samples=lambda make: [Sample(make(3, 4)), Sample(make(5))])
def corrcoef(input: Tensor) -> Tensor:
    r"""The correlations of variables (rows) from observations (columns): covariances divided by both deviations.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.corrcoef.html
    """
    if input.dim() > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions"
        )
    c = cov(input)
    if c.dim() == 0:
        return c / c
    deviation = (c.diagonal().real if c.dtype.is_complex else c.diagonal()).sqrt()
    c = c / deviation.unsqueeze(1) / deviation
    if c.dtype.is_complex:
        return c.real.clamp(-1, 1) + 1j * c.imag.clamp(-1, 1)
    return c.clamp(-1, 1)


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


_PICKED = {"outputs": ("values", "indices"), "nondifferentiable": ("indices",), "grad": {"input": selected_gradient}}


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
        ranks = (q * (n - 1)).expand((*ranked.shape[:-1], max(q.numel(), 1))).masked_fill(numbers < n, n - 1)
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

    Source: https://docs.pytorch.org/docs/stable/generated/torch.quantile.html
    """
    return _quantile("quantile", input, q, dim, keepdim, interpolation, False)


@composite(out="same", samples=_quantile_samples)
def nanquantile(
    input: Tensor, q: Tensor | float, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"
) -> Tensor:
    """The quantiles of what is not NaN. See :func:`quantile`.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nanquantile.html
    """
    return _quantile("nanquantile", input, q, dim, keepdim, interpolation, True)


# --- log-sum-exp ---------------------------------------------------------------------------------------------


def _logsumexp_kernel(x, dim, keepdim):
    if x.size == 0:
        return np.log(x.sum(axis=dim, keepdims=keepdim))
    top = np.max(x.real, axis=dim, keepdims=True)
    top = np.where(np.isinf(top), 0, top).astype(top.dtype)
    total = np.log(accurate_sum(np.exp(x - top), dim, True)) + top
    return total if keepdim else total.squeeze(dim)


def _logsumexp_gradient(g, input, out, dim, keepdim):
    out = restore(out, input.shape, dim, keepdim)
    weights = (input - out).exp()
    return restore(g, input.shape, dim, keepdim) * (weights.conj_physical() if weights.dtype.is_complex else weights)


def _expand_logsumexp(e, x, dim, keepdim):
    top = e.map(lambda b, top: b.select(b.eq(b.abs(top), inf), 0, top), e.amax(x, dim))
    total = e.fold_of("sum", lambda b, x, top: b.exp(b.sub(x, top)), dim, x, top)
    return e.map(lambda b, total, top: b.add(b.log(total), top), total, top)


@op(
    expand=_expand_logsumexp,
    kernel=_logsumexp_kernel,
    out=True,
    grad={"input": _logsumexp_gradient},
    aliases=("special.logsumexp",),
    samples=lambda make: [Sample(make(3, 4), 0), Sample(make(2, 3, 2), (0, 2), keepdim=True), Sample(make(), 0)],
    errors=lambda make: [ErrorSample(IndexError, "Dimension out of range", make(2, 3), 2)],
)
def logsumexp(input: Tensor, dim: int | Sequence[int], keepdim: bool = False):
    r"""The logarithm of the sum of exponentials over ``dim``, without overflow: :math:`\log \sum_i e^{x_i}`.

    >>> import flambeau as torch
    >>> torch.tensor([1000.0, 1000.0]).logsumexp(0)
    tensor(1000.6932)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.logsumexp.html
    """
    if input.dtype.kind < dtypes.FLOATING:
        input = input.to(dtypes.get_default_dtype())
    dims = wrap_dims(dim, input.dim())
    return reduced_shape(input.shape, dims, keepdim), input.dtype, (input,), {"dim": dims, "keepdim": bool(keepdim)}

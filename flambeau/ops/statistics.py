"""Statistics over dims: variance, standard deviation, covariance, correlation, log-sum-exp."""

from __future__ import annotations

from math import inf, prod
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.errors import warn
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.reduction import accurate_sum, mean, mean_kernel, reduced_shape, restore, spread, wrap_dims

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
        raise RuntimeError(f"std and var only support floating point and complex dtypes, got {input.dtype}; use .float()")
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

    >>> import flambeau as torch
    >>> torch.std(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    tensor(1.2910)

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

    >>> import flambeau as torch
    >>> torch.var_mean(torch.tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))

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

    >>> import flambeau as torch
    >>> torch.std_mean(torch.tensor([1.0, 2.0, 3.0]))
    (tensor(1.), tensor(2.))

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
def cov(input: Tensor, *, correction: int = 1, fweights: Tensor | None = None, aweights: Tensor | None = None) -> Tensor:
    r"""The covariance matrix of variables (rows) from observations (columns).

    .. math:: \frac{1}{w - c} \sum_j w_j (x_j - \bar x)(x_j - \bar x)^H

    Observations count ``fweights`` times, and with importance ``aweights``.

    Raises ``RuntimeError`` for more than 2 dims, for bools, and for weights of another number of observations.

    >>> import flambeau as torch
    >>> torch.cov(torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cov.html
    """
    if input.dim() > 2:
        raise RuntimeError(f"cov(): expected input to have two or fewer dimensions but got an input with {input.dim()} dimensions")
    if input.dtype is dtypes.bool:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = input.reshape((1, -1)) if input.dim() < 2 else input
    n = x.shape[1]
    weights: Any = None
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
    if weights is not None and not total:
        raise RuntimeError("cov(): weights sum to zero, can't be normalized")
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

    Raises ``RuntimeError`` for more than 2 dims.

    >>> import flambeau as torch
    >>> torch.corrcoef(torch.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]])

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

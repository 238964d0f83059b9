"""Scans: running sums, products and extremes along a dim, differences, and integrals by the trapezoidal rule."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.size import wrap_dim
from flambeau.ops.joining import cat
from flambeau.ops.products import leave_one_out
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.core.dtypes import dtype
    from flambeau.tensor.types import Number, Tensor

# --- running sums and products -------------------------------------------------------------------------------


def _running_total(accumulate):
    """Sums and products are kept in double precision on the way, as PyTorch's are on the CPU."""

    def kernel(x, dim):
        if x.ndim == 0:
            return x
        total = x.astype({"f": np.float64, "F": np.complex128}.get(x.dtype.char, x.dtype))
        return accumulate(total, axis=dim, out=total)

    return kernel


def _scan_check(input, dim, dtype):
    if dtype is None:
        dtype = input.dtype if input.dtype.kind >= dtypes.FLOATING else dtypes.int64
    return input.shape, dtype, (input.to(dtype),), {"dim": wrap_dim(dim, input.dim())}


def _scan_samples(make):
    return [
        Sample(make(5), 0),
        Sample(make(2, 3), -1),
        Sample(make(3, 2).t(), 0),
        Sample(make(), 0),
        Sample(make(0, 2), 0),
    ]


def _dim_errors(make):
    return [ErrorSample(IndexError, "Dimension out of range", make(2, 3), 2)]


def _reversed_cumsum(x, dim):
    return x.flip(dim).cumsum(dim).flip(dim)


@op(
    kernel=_running_total(np.cumsum),
    out="dtype",
    inplace=True,
    grad={"input": lambda g, dim: _reversed_cumsum(g, dim) if g.dim() else g},
    samples=_scan_samples,
    errors=_dim_errors,
)
def cumsum(input: Tensor, dim: int, *, dtype: dtype | None = None):
    r"""The running sum along ``dim``: :math:`y_i = \sum_{j \le i} x_j`. Integers and booleans give ``int64``.

    >>> import flambeau as torch
    >>> torch.tensor([1, 2, 3]).cumsum(0)
    tensor([1, 3, 6])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cumsum.html
    """
    return _scan_check(input, dim, dtype)


def _cumprod_gradient(g, input, out, dim):
    if not input.dim():
        return g
    g = g.conj_physical() if g.dtype.is_complex else g
    if dispatch.grad_mode.enabled:
        gradient = _cumprod_gradient_any_order(g, input, out, dim)
    else:
        gradient = _cumprod_gradient_once(g, input, out, dim)
    return gradient.conj_physical() if gradient.dtype.is_complex else gradient


def _cumprod_gradient_any_order(g, input, out, dim):
    """Differentiable to every order: out / x only where no element is zero, else from the products without each."""
    if not bool((input.detach() == 0).any()):
        return _reversed_cumsum(g * out, dim) / input
    others = leave_one_out(input, dim).cumprod(dim + 1)
    n = input.shape[dim]
    later = dispatch.wrap(np.triu(np.ones((n, n), bool))).reshape((n, n) + (1,) * (input.dim() - dim - 1))
    return (g.unsqueeze(dim) * others.masked_fill(~later, 0)).sum(dim + 1)


def _cumprod_gradient_once(g, input, out, dim):
    """The gradient of ``cumprod`` in linear time, not to be differentiated where elements are zero.

    Before the first zero: the sum of ``g * out / x``. At it: the products with 1 in its place, up to the next zero.
    After it: nothing.
    """
    zero = input == 0
    zeros = zero.cumsum(dim)
    before, first = zeros == 0, zero & (zeros == 1)
    without = input.masked_fill(first, 1).cumprod(dim)
    at_first = _reversed_cumsum((g * without).masked_fill(zeros != 1, 0), dim)
    ahead = _reversed_cumsum((g * out).masked_fill(~before, 0), dim) / input.masked_fill(zero, 1)
    return ahead.masked_fill(~before, 0) + at_first.masked_fill(~first, 0)


@op(
    kernel=_running_total(np.cumprod),
    out="dtype",
    inplace=True,
    grad={"input": _cumprod_gradient},
    samples=lambda make: [*_scan_samples(make), Sample(make(2, 4).relu(), 1)],
    errors=_dim_errors,
)
def cumprod(input: Tensor, dim: int, *, dtype: dtype | None = None):
    r"""The running product along ``dim``: :math:`y_i = \prod_{j \le i} x_j`. The gradient is right where elements are 0.

    >>> import flambeau as torch
    >>> torch.cumprod(torch.tensor([1, 2, 3, 4]), 0)
    tensor([ 1,  2,  6, 24])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cumprod.html
    """
    return _scan_check(input, dim, dtype)


def _logcumsumexp_kernel(x, dim):
    if x.ndim == 0:
        return x
    if x.dtype.kind != "c":
        return np.logaddexp.accumulate(x, axis=dim)
    top = np.maximum.accumulate(x.real, axis=dim)
    shift = np.max(top, axis=dim, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(shift), shift, 0)
    sums = np.log(np.cumsum(np.exp(x - shift), axis=dim, dtype=np.complex128)) + shift
    infinite = np.isposinf(x.real)
    if infinite.any():  # a single one stands for the sum, its angle too
        alone = (np.cumsum(infinite, axis=dim) == 1) & ~np.isnan(sums.real)
        sums.imag[alone] = np.cumsum(np.where(infinite, x.imag, 0), axis=dim)[alone]
    return sums


def _logcumsumexp_gradient(g, input, out, dim):
    r""":math:`\sum_{i \ge j} g_i e^{x_j - y_i}`."""
    if not input.dim():
        return g
    if dispatch.grad_mode.enabled:
        # Differentiable everywhere, at the price of overflow where the range of ``input`` is large.
        top = input.detach().amax(dim, keepdim=True) if not input.dtype.is_complex else 0
        weights = g * (top - out).exp().conj_physical()
        return _reversed_cumsum(weights, dim) * (input - top).exp().conj_physical()

    def part(log_g):
        """Summed as logarithms, which positive and negative numbers have apart."""
        return ((log_g - out).flip(dim).logcumsumexp(dim).flip(dim) + input).exp()

    if g.dtype.is_complex:
        return part(g.conj_physical().log()).conj_physical()
    return part(g.log().masked_fill(g <= 0, -inf)) - part((-g).log().masked_fill(g >= 0, -inf))


@op(
    kernel=_logcumsumexp_kernel,
    out="same",
    grad={"input": _logcumsumexp_gradient},
    samples=lambda make: [Sample(make(5), 0), Sample(make(2, 3), -1), Sample(make(3, 2).t(), 0)],
    errors=_dim_errors,
)
def logcumsumexp(input: Tensor, dim: int):
    r"""The logarithm of the running sum of exponentials: :math:`y_i = \log \sum_{j \le i} e^{x_j}`.

    >>> import flambeau as torch
    >>> torch.logcumsumexp(torch.tensor([0.0, 0.0, 0.0]), 0)
    tensor([0.0000, 0.6931, 1.0986])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.logcumsumexp.html
    """
    refuse("logcumsumexp_out_cpu", input, kinds=(dtypes.BOOLEAN, dtypes.INTEGRAL))
    return input.shape, input.dtype, (input,), {"dim": wrap_dim(dim, input.dim())}


# --- running extremes ----------------------------------------------------------------------------------------


def _running(accumulate):
    def kernel(x, dim):
        if x.ndim == 0:
            return x, np.zeros((), np.int64)
        values = accumulate(x, axis=dim)
        place = np.arange(x.shape[dim]).reshape((-1,) + (1,) * (x.ndim - dim - 1))
        # A new extreme, the same again, or NaN: there the index moves on.
        moved = np.where((x == values) | (x != x), place, 0)
        return values, np.maximum.accumulate(moved, axis=dim)

    return kernel


def _running_gradient(g, input_shape, indices, dim):
    if not input_shape:
        return g
    return g.new_zeros(input_shape).scatter_add(dim, indices, g)


def _running_check(name: str, input, dim):
    refuse(f"{name}_cpu", input)
    dim = wrap_dim(dim, input.dim())
    return (input.shape, input.shape), (input.dtype, dtypes.int64), (input,), {"dim": dim}


_PICKED: dict[str, Any] = {
    "outputs": ("values", "indices"),
    "nondifferentiable": ("indices",),
    "grad": {"input": _running_gradient},
}


@op(kernel=_running(np.maximum.accumulate), out="same", samples=_scan_samples, errors=_dim_errors, **_PICKED)
def cummax(input: Tensor, dim: int):
    """The greatest element so far along ``dim``, and the last index where it stands, as ``(values, indices)``.

    >>> import flambeau as torch
    >>> torch.cummax(torch.tensor([1, 3, 2]), 0)
    torch.return_types.cummax(
    values=tensor([1, 3, 3]),
    indices=tensor([0, 1, 1]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cummax.html
    """
    return _running_check("cummax", input, dim)


@op(kernel=_running(np.minimum.accumulate), out="same", samples=_scan_samples, errors=_dim_errors, **_PICKED)
def cummin(input: Tensor, dim: int):
    """The least element so far along ``dim``, and the last index where it stands, as ``(values, indices)``.

    >>> import flambeau as torch
    >>> torch.cummin(torch.tensor([3, 1, 2]), 0)
    torch.return_types.cummin(
    values=tensor([3, 1, 1]),
    indices=tensor([0, 1, 1]))

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cummin.html
    """
    return _running_check("cummin", input, dim)


# --- differences and integrals -------------------------------------------------------------------------------


@composite(
    out=True,
    samples=lambda make: [
        Sample(make(5)),
        Sample(make(2, 4), n=2),
        Sample(make(3, 2), dim=0, prepend=make(1, 2), append=make(2, 2)),
        Sample(make(3), n=4),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "diff expects input to be at least one-dimensional", make())],
)
def diff(input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    """The ``n``-th differences along ``dim``: ``input[i + 1] - input[i]``; booleans give where they differ.

    Raises ``RuntimeError`` for a tensor without dims and for a negative ``n``.

    >>> import flambeau as torch
    >>> torch.diff(torch.tensor([1, 4, 9, 16]))
    tensor([3, 5, 7])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.diff.html
    """
    if input.dim() == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional, got a 0-dim tensor")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    dim = wrap_dim(dim, input.dim())
    parts = [x for x in (prepend, input, append) if x is not None]
    x = cat(parts, dim) if len(parts) > 1 else input
    for _ in range(min(n, x.shape[dim])):
        last = x.shape[dim] - 1
        later, earlier = x.narrow(dim, 1, last), x.narrow(dim, 0, last)
        x = later.logical_xor(earlier) if x.dtype is dtypes.bool else later - earlier
    return x if n else x.clone()


def _steps(name: str, y, x, dx, dim):
    """The sums of neighbours of ``y``, and the widths between them."""
    if x is not None and dx is not None:
        raise RuntimeError(f"{name}() takes either x or dx, got both")
    if y.dtype is dtypes.bool:
        raise RuntimeError(f"{name}: received a bool input for `y`, but bool is not supported")
    dim = wrap_dim(dim, y.dim())
    n = y.shape[dim]
    sums = y.narrow(dim, 1, max(n - 1, 0)) + y.narrow(dim, 0, max(n - 1, 0)) if n else y
    if x is None:
        return sums, 1 if dx is None else dx, dim
    if x.dim() == 1:
        if x.shape[0] != n:
            raise RuntimeError(
                f"{name}: There must be one `x` value for each sample point, got {x.shape[0]} for {n} samples along dim {dim}"
            )
        return sums, x.diff().reshape((-1,) + (1,) * (y.dim() - dim - 1)), dim
    if x.dim() < y.dim():
        x = x.reshape((1,) * (y.dim() - x.dim()) + tuple(x.shape))
    return sums, x.diff(dim=dim), dim


def _trapezoid_samples(make):
    return [
        Sample(make(5)),
        Sample(make(2, 4), dx=0.5),
        Sample(make(3, 2), make(3), dim=0),
        Sample(make(2, 3), make(2, 3)),
    ]


@composite(method=False, samples=_trapezoid_samples, aliases=("trapz",))
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Number | complex | None = None, dim: int = -1) -> Tensor:
    r"""The integral by the trapezoidal rule along ``dim``: :math:`\sum_i \frac{y_i + y_{i+1}}{2} (x_{i+1} - x_i)`.

    The points are ``x``, or ``dx`` (1 by default) apart.

    >>> import flambeau as torch
    >>> torch.trapezoid(torch.tensor([0.0, 1.0, 2.0]))
    tensor(2.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.trapezoid.html
    """
    sums, widths, dim = _steps("trapezoid", y, x, dx, dim)
    return (sums * widths).sum(dim) / 2


@composite(method=False, samples=_trapezoid_samples)
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Number | complex | None = None, dim: int = -1) -> Tensor:
    """The running integral by the trapezoidal rule along ``dim``: one element less than ``y``. See :func:`trapezoid`.

    >>> import flambeau as torch
    >>> torch.cumulative_trapezoid(torch.tensor([0.0, 1.0, 2.0]))
    tensor([0.5000, 2.0000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.cumulative_trapezoid.html
    """
    sums, widths, dim = _steps("cumulative_trapezoid", y, x, dx, dim)
    return (sums * widths).cumsum(dim) / 2


def _gradient_along(x, dim: int, coordinates, edge_order: int):
    """Central differences inside, one-sided ones at the ends; of second order where ``edge_order`` is 2.

    Source: https://docs.pytorch.org/docs/stable/generated/torch.gradient.html
    """
    n = x.shape[dim]

    def at(i: int):
        return x.narrow(dim, i, 1)

    def inner(i: int):
        return x.narrow(dim, i, n - 2)

    if not isinstance(coordinates, dispatch.Tensor):
        h = coordinates
        middle = (inner(2) - inner(0)) / (2 * h)
        if edge_order == 1:
            first, last = (at(1) - at(0)) / h, (at(n - 1) - at(n - 2)) / h
        else:
            first = (-1.5 * at(0) + 2 * at(1) - 0.5 * at(2)) / h
            last = (0.5 * at(n - 3) - 2 * at(n - 2) + 1.5 * at(n - 1)) / h
        return cat([first, middle, last], dim)

    steps = coordinates.diff()
    column = (-1,) + (1,) * (x.dim() - dim - 1)
    left, right = steps[:-1].reshape(column), steps[1:].reshape(column)
    middle = (
        inner(0) * (-right / (left * (left + right)))
        + inner(1) * ((right - left) / (left * right))
        + inner(2) * (left / (right * (left + right)))
    )
    if edge_order == 1:
        first, last = (at(1) - at(0)) / steps[0], (at(n - 1) - at(n - 2)) / steps[-1]
    else:
        a, b = steps[0], steps[1]
        first = -(2 * a + b) / (a * (a + b)) * at(0) + (a + b) / (a * b) * at(1) - a / (b * (a + b)) * at(2)
        a, b = steps[-2], steps[-1]
        last = b / (a * (a + b)) * at(n - 3) - (a + b) / (a * b) * at(n - 2) + (2 * b + a) / (b * (a + b)) * at(n - 1)
    return cat([first, middle, last], dim)


@composite(
    method=False,
    samples=lambda make: [
        Sample(make(5)),
        Sample(make(3, 4), spacing=2.0, edge_order=2),
        Sample(make(4, 3), spacing=(make(4, low=0.5, high=1.0).cumsum(0),), dim=0, edge_order=2),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "each dimension size to be at least edge_order\\+1", make(1))],
)
def gradient(
    input: Tensor,
    *,
    spacing: Number | complex | Sequence[Number | complex] | Sequence[Tensor] | None = None,
    dim: int | Sequence[int] | None = None,
    edge_order: int = 1,
):
    """Numerical derivatives of sampled values, one tensor for each of ``dim`` (all without it), as a list.

    ``spacing`` is the distance of samples (1 by default), or for each dim a distance or a tensor of coordinates.

    Raises ``RuntimeError`` for another ``edge_order`` than 1 and 2, and for fewer samples than ``edge_order + 1``.

    >>> import flambeau as torch
    >>> torch.gradient(torch.tensor([0.0, 1.0, 4.0, 9.0]))
    (tensor([1., 2., 4., 5.]),)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.gradient.html
    """
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    given = list(range(input.dim())) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    dims = [wrap_dim(d, input.dim()) for d in given]
    spacing = 1 if spacing is None else spacing.item() if isinstance(spacing, dispatch.Tensor) else spacing
    spacings = list(spacing) if isinstance(spacing, (tuple, list)) else [spacing] * len(dims)
    if len(spacings) != len(dims):
        raise RuntimeError(
            f"torch.gradient expected spacing to be unspecified, a scalar or a list of length {len(dims)}, one for each "
            f"dim, but got a list of length {len(spacings)}."
        )
    for d in dims:
        if input.shape[d] < edge_order + 1:
            raise RuntimeError(
                "torch.gradient expected each dimension size to be at least edge_order+1: "
                f"dim {d} of shape {list(input.shape)} is less than {edge_order + 1}"
            )
    if input.dtype.kind < dtypes.FLOATING:
        input = input.to(dtypes.get_default_dtype())
    return tuple([_gradient_along(input, d, s, edge_order) for d, s in zip(dims, spacings, strict=True)])

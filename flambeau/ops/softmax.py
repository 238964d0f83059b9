"""Softmax and its logarithm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau.core import dtypes
from flambeau.core.errors import warn
from flambeau.core.size import wrap_dim
from flambeau.ops.creation import empty_like, zeros_like
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.reduction import accurate_sum
from flambeau.ops.refusals import ALL_BUT_FLOATING, refuse

if TYPE_CHECKING:
    from flambeau.core.dtypes import dtype
    from flambeau.tensor.types import Tensor


def _shifted(x, dim):
    """``x`` minus its maximum along ``dim``: exponentials of it do not overflow."""
    return x - x.max(axis=dim, keepdims=True)


def _softmax_kernel(x, dim):
    if x.size == 0 or x.ndim == 0:
        return x if x.size == 0 else np.where(np.isfinite(x), 1, np.nan)
    z = _shifted(x, dim)
    np.exp(z, out=z)
    z /= accurate_sum(z, (dim,), keepdims=True)
    return z


def _log_softmax_kernel(x, dim):
    if x.size == 0 or x.ndim == 0:
        return x if x.size == 0 else x - x
    z = _shifted(x, dim)
    total = accurate_sum(np.exp(z), (dim,), keepdims=True)
    z -= np.log(total.astype(np.float64)).astype(z.dtype)
    return z


def _lower_softmax(b, x, dim):
    e = b.exp(b.sub(x, b.amax(x)))
    return b.div(e, b.sum(e))


def _lower_log_softmax(b, x, dim):
    z = b.sub(x, b.amax(x))
    return b.sub(z, b.log(b.sum(b.exp(z))))


def _checked(kernel: str, input, dim: int, dtype):
    if dtype is not None and dtype is not input._dtype:
        input = input.to(dtype)
    refuse(f"{kernel}_lastdim_kernel_impl", input, kinds=ALL_BUT_FLOATING)
    return input._shape, input._dtype, (input,), {"dim": wrap_dim(dim, len(input._shape))}


def _samples(make):
    return [
        Sample(make(3, 4), 1),
        Sample(make(4, 3).t(), 0),
        Sample(make(2, 3, 2), dim=-2),
        Sample(make(), 0),
        Sample(make(0, 3), 1),
        Sample(make(3), 0, dtype=dtypes.float64),
    ]


def _errors(make):
    return [
        ErrorSample(IndexError, "Dimension out of range", make(2, 3), 2),
        ErrorSample(NotImplementedError, "not implemented for 'Long'", make(2).long(), 0),
    ]


def _grad_of_softmax(g, out, dim):
    return (g - (g * out).sum(dim, keepdim=True)) * out


@op(
    lower=_lower_softmax,
    reduces=lambda dim: dim,
    kernel=_softmax_kernel,
    grad={"input": _grad_of_softmax},
    out="same",
    aliases=("special.softmax",),
    samples=_samples,
    errors=_errors,
)
def softmax(input: Tensor, dim: int, dtype: dtype | None = None):
    r""":math:`\frac{e^{x_i}}{\sum_j e^{x_j}}` along ``dim``: positive numbers that sum to 1.

    ``dtype``: what ``input`` is converted to first.

    >>> import flambeau as torch
    >>> torch.softmax(torch.tensor([0.0, 0.0]), 0)
    tensor([0.5000, 0.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.softmax.html
    """
    return _checked("softmax", input, dim, dtype)


def _grad_of_log_softmax(g, out, dim):
    return g - out.exp() * g.sum(dim, keepdim=True)


@op(
    lower=_lower_log_softmax,
    reduces=lambda dim: dim,
    kernel=_log_softmax_kernel,
    grad={"input": _grad_of_log_softmax},
    out="same",
    aliases=("special.log_softmax",),
    samples=_samples,
    errors=_errors,
)
def log_softmax(input: Tensor, dim: int, dtype: dtype | None = None):
    r""":math:`\ln(\mathrm{softmax}(x))` along ``dim``, more accurate than the logarithm of the softmax.

    >>> import flambeau as torch
    >>> torch.log_softmax(torch.tensor([0.0, 1000.0]), 0)
    tensor([-1000.,     0.])

    Source: PyTorch's operator ``aten::log_softmax``.
    """
    return _checked("log_softmax", input, dim, dtype)


# --- nn.functional -------------------------------------------------------------------------------------------


def _implicit_dim(name: str, ndim: int, dim: int | None) -> int:
    """PyTorch's old rule for calls without ``dim``."""
    if dim is not None:
        return dim
    warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
    )
    return 0 if ndim in (0, 1, 3) else 1


def _functional_samples(make):
    single = make(3, dtype=dtypes.float32, requires_grad=False)
    return [Sample(make(3, 4), dim=1), Sample(make(2, 3), -1), Sample(single, 0, dtype=dtypes.float64)]


@composite(name="nn.functional.softmax", samples=_functional_samples)
def functional_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    """:func:`torch.softmax`. ``dim`` should be given; ``None`` means 0 for inputs with 0, 1 or 3 dims, else 1.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.softmax(torch.tensor([[0.0, 0.0], [0.0, 100.0]]), dim=1)
    tensor([[5.0000e-01, 5.0000e-01],
            [3.7835e-44, 1.0000e+00]])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softmax.html
    """
    return softmax(input, _implicit_dim("softmax", len(input._shape), dim), dtype)


@composite(name="nn.functional.log_softmax", samples=_functional_samples)
def functional_log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    """:func:`torch.log_softmax`. ``dim`` should be given; ``None`` means 0 for inputs with 0, 1 or 3 dims, else 1.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.log_softmax(torch.tensor([0.0, 0.0]), dim=0)
    tensor([-0.6931, -0.6931])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.log_softmax.html
    """
    return log_softmax(input, _implicit_dim("log_softmax", len(input._shape), dim), dtype)


@composite(name="nn.functional.softmin", samples=_functional_samples)
def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtype | None = None) -> Tensor:
    r""":math:`\mathrm{softmax}(-x)` along ``dim``: the smallest element gets the largest share.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.softmin(torch.tensor([0.0, 100.0]), dim=0)
    tensor([1.0000e+00, 3.7835e-44])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.softmin.html
    """
    return softmax(-input, _implicit_dim("softmin", len(input._shape), dim), dtype)


@composite(name="nn.functional.gumbel_softmax")
def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1):
    r"""A sample of the Gumbel-softmax distribution: :math:`\mathrm{softmax}((x + gumbel) / tau)` along ``dim``.

    ``hard=True`` gives one-hot samples, with the gradient of the soft ones.

    Jang, Gu, Poole (2017), "Categorical reparameterization with Gumbel-softmax".

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> _ = torch.manual_seed(0)
    >>> F.gumbel_softmax(torch.tensor([1.0, 2.0, 3.0]), hard=True)
    tensor([0., 0., 1.])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.gumbel_softmax.html
    """
    if eps != 1e-10:
        warn("`eps` parameter is deprecated and has no effect.")
    gumbels = -empty_like(logits).exponential_().log()
    soft = softmax((logits + gumbels) / tau, dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    return zeros_like(logits).scatter_(dim, index, 1.0) - soft.detach() + soft

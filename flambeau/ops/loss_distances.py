"""Losses that are distances between predictions and targets: squared, absolute, and what lies between them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau.ops import layouts
from flambeau.ops.loss_reductions import (
    checked_reduction,
    paired,
    pairs,
    per_element,
    reduced,
    reducing,
    reducing_parts,
    warn_of_sizes,
    weighted,
    wrong_reduction,
)
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- distances -----------------------------------------------------------------------------------------------


def _squared(x, y):
    d = x - y
    return np.multiply(d, d, out=d) if d.ndim else d * d


def _grad_of_square(g, reduction, input, target):
    d = input - target
    return d * (g * (2 / max(d.numel(), 1) if reduction == "mean" else 2))


def _lower_squared(b, x, y):
    difference = b.sub(x, y)
    return b.mul(difference, difference)


@op(
    layout=layouts.as_inputs,
    expand=reducing_parts(_lower_squared),
    name="_mse_loss",
    tensors="input target",
    kernel=reducing(_squared),
    grad={
        "input": _grad_of_square,
        "target": lambda g, reduction, input, target: _grad_of_square(g, reduction, target, input),
    },
    method=False,
    backward_name="MseLossBackward0",
    samples=lambda make: [Sample(make(3, 4), make(3, 4), r) for r in ("none", "mean", "sum")],
)
def _mse_loss(input: Tensor, target: Tensor, reduction: str):
    """:func:`mse_loss` without its weight."""
    return paired("mse_cpu", reduction, input, target)


@composite(
    name="nn.functional.mse_loss",
    samples=lambda make: [*pairs(make), Sample(make(3, 4), make(3, 4), weight=make(3, 4, low=0.5, high=1.0))],
    errors=wrong_reduction,
)
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    r"""Squared error :math:`(input - target)^2`.

    With ``weight`` (of the input's shape) each element is weighted, and the mean is the weighted mean. A target of
    another shape broadcasts, with a warning.

    >>> import flambeau as torch
    >>> torch.nn.functional.mse_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    tensor(2.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.mse_loss.html
    """
    warn_of_sizes("mse_loss", input, target)
    reduction = checked_reduction(reduction, size_average, reduce)
    if weight is not None:
        return weighted(_mse_loss(input, target, "none"), weight, input, reduction)
    return _mse_loss(input, target, reduction)


@composite(
    name="nn.functional.l1_loss",
    samples=lambda make: [*pairs(make), Sample(make(3, 4), make(3, 4), weight=make(3, 4, low=0.5, high=1.0))],
    errors=wrong_reduction,
)
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    r"""Absolute error :math:`|input - target|`; ``weight`` as in :func:`mse_loss`.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.l1_loss(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0]))
    tensor(1.5000)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.l1_loss.html
    """
    warn_of_sizes("l1_loss", input, target)
    reduction = checked_reduction(reduction, size_average, reduce)
    loss = (input - target).abs()
    return reduced(loss, reduction) if weight is None else weighted(loss, weight, input, reduction)


def _smooth_l1(x, y, beta):
    z = np.abs(x - y)
    return np.where(z < beta, 0.5 * z * z / beta, z - 0.5 * beta)


def _grad_of_smooth_l1(g, reduction, beta, input, target):
    d = input - target
    return (d / beta).clamp(-1, 1) * per_element(g, reduction, d)


def _lower_smooth_l1(b, x, y, beta):
    z = b.abs(b.sub(x, y))
    return b.select(b.lt(z, beta), b.div(b.mul(b.mul(0.5, z), z), beta), b.sub(z, 0.5 * beta))


@op(
    layout=layouts.as_inputs,
    expand=reducing_parts(_lower_smooth_l1),
    name="_smooth_l1_loss",
    tensors="input target",
    kernel=reducing(_smooth_l1),
    grad={
        "input": _grad_of_smooth_l1,
        "target": lambda g, reduction, beta, input, target: _grad_of_smooth_l1(g, reduction, beta, target, input),
    },
    method=False,
    backward_name="SmoothL1LossBackward0",
    samples=lambda make: [Sample(make(3, 4), make(3, 4), r, 0.5) for r in ("none", "mean", "sum")],
)
def _smooth_l1_loss(input: Tensor, target: Tensor, reduction: str, beta):
    """:func:`smooth_l1_loss` for a positive ``beta``."""
    return paired("smooth_l1_cpu", reduction, input, target, beta=beta)


@composite(
    name="nn.functional.smooth_l1_loss",
    samples=lambda make: [*pairs(make), Sample(make(3), make(3), beta=0.5), Sample(make(3), make(3), beta=0)],
    errors=lambda make: [*wrong_reduction(make), ErrorSample(RuntimeError, "negative", make(3), make(3), beta=-1.0)],
)
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    r"""With :math:`d = |input - target|`: :math:`d^2 / (2\,beta)` where :math:`d < beta`, else :math:`d - beta / 2`.

    Raises ``RuntimeError`` for a negative ``beta``.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.smooth_l1_loss(torch.tensor([0.0, 0.0]), torch.tensor([0.5, 3.0]), reduction="none")
    tensor([0.1250, 2.5000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.smooth_l1_loss.html
    """
    warn_of_sizes("smooth_l1_loss", input, target)
    reduction = checked_reduction(reduction, size_average, reduce)
    if beta < 0:
        raise RuntimeError(f"smooth_l1_loss does not support negative values for beta. Got beta={beta}")
    if beta == 0:
        return reduced((input - target).abs(), reduction)
    return _smooth_l1_loss(input, target, reduction, float(beta))


def _huber(x, y, delta):
    z = np.abs(x - y)
    return np.where(z < delta, 0.5 * z * z, delta * (z - 0.5 * delta))


def _grad_of_huber(g, reduction, delta, input, target):
    d = input - target
    return d.clamp(-delta, delta) * per_element(g, reduction, d)


def _lower_huber(b, x, y, delta):
    z = b.abs(b.sub(x, y))
    return b.select(b.lt(z, delta), b.mul(b.mul(0.5, z), z), b.mul(delta, b.sub(z, 0.5 * delta)))


@op(
    layout=layouts.as_inputs,
    expand=reducing_parts(_lower_huber),
    name="_huber_loss",
    tensors="input target",
    kernel=reducing(_huber),
    grad={
        "input": _grad_of_huber,
        "target": lambda g, reduction, delta, input, target: _grad_of_huber(g, reduction, delta, target, input),
    },
    method=False,
    backward_name="HuberLossBackward0",
    samples=lambda make: [Sample(make(3, 4), make(3, 4), r, 0.5) for r in ("none", "mean", "sum")],
)
def _huber_loss(input: Tensor, target: Tensor, reduction: str, delta):
    """:func:`huber_loss` without its weight."""
    return paired("huber_cpu", reduction, input, target, delta=delta)


@composite(
    name="nn.functional.huber_loss",
    samples=lambda make: [
        *pairs(make),
        Sample(make(3), make(3), delta=0.5),
        Sample(make(3), make(3), weight=make(3, low=0.5, high=1.0)),
    ],
    errors=lambda make: [*wrong_reduction(make), ErrorSample(RuntimeError, "delta", make(3), make(3), delta=0.0)],
)
def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None) -> Tensor:
    r"""With :math:`d = |input - target|`: :math:`d^2 / 2` where :math:`d < delta`, else :math:`delta (d - delta / 2)`.

    ``weight`` multiplies each element's loss; the mean is over the elements, not their weights.

    Raises ``RuntimeError`` for a ``delta`` that is not positive, ``ValueError`` for weights of another shape.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.huber_loss(torch.tensor([0.0, 0.0]), torch.tensor([0.5, 3.0]), reduction="none")
    tensor([0.1250, 2.5000])

    Source: Huber, Robust Estimation of a Location Parameter (1964).
    """
    warn_of_sizes("huber_loss", input, target)
    reduction = checked_reduction(reduction)
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta. Got delta={delta}")
    if weight is None:
        return _huber_loss(input, target, reduction, float(delta))
    if weight._shape != input._shape:
        raise ValueError(f"Weights and input must have the same size. Got {weight._shape} and {input._shape}")
    return reduced(_huber_loss(input, target, "none", float(delta)) * weight, reduction)

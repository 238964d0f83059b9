"""Losses that are negative log-likelihoods: cross entropies of two classes, Kullback-Leibler, Poisson and Gaussian."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import scalar_name
from flambeau.core.errors import warn
from flambeau.core.size import broadcast_shapes
from flambeau.ops import layouts
from flambeau.ops.activation import logsigmoid
from flambeau.ops.limits import are_probabilities
from flambeau.ops.loss_reductions import (
    checked_reduction,
    paired,
    pairs,
    per_element,
    reduced,
    reducing,
    reducing_parts,
    wrong_reduction,
)
from flambeau.ops.product_helpers import require_tensors
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import NOT_FLOATING, refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- probabilities -------------------------------------------------------------------------------------------


def _binary_entropy(x, y, weight):
    if not ((x >= 0) & (x <= 1)).all():
        raise RuntimeError(
            "all elements of input should be between 0 and 1: binary_cross_entropy takes probabilities, and some here "
            f"are in [{x.min()}, {x.max()}] or NaN; binary_cross_entropy_with_logits takes unbounded scores"
        )
    if not ((y >= 0) & (y <= 1)).all():
        raise RuntimeError("all elements of target should be between 0 and 1")
    loss = (y - 1) * np.maximum(np.log1p(-x), -100) - y * np.maximum(np.log(x), -100)
    return loss if weight is None else loss * weight


def _grad_of_binary_entropy(g, reduction, input, target, weight):
    g = per_element(g, reduction, input)
    loss = (input - target) / ((1 - input) * input).clamp(min=1e-12) * g
    return loss if weight is None else loss * weight


def _grad_of_binary_target(g, reduction, input, weight):
    g = per_element(g, reduction, input)
    loss = ((-input).log1p().clamp(min=-100) - input.log().clamp(min=-100)) * g
    return loss if weight is None else loss * weight


def _lower_binary_entropy(b, x, y, weight):
    no, yes = b.max(b.log1p(b.neg(x)), -100), b.max(b.log(x), -100)
    loss = b.sub(b.mul(b.sub(y, 1), no), b.mul(y, yes))
    return loss if weight is None else b.mul(loss, weight)


def _expand_binary_entropy(e, x, y, weight, reduction):
    def is_outside(b, x, y):
        return b.not_(b.and_(b.and_(b.ge(x, 0), b.le(x, 1)), b.and_(b.ge(y, 0), b.le(y, 1))))

    e.check(is_outside, x, y)
    return reducing_parts(_lower_binary_entropy)(e, x, y, weight, reduction=reduction)


@op(
    layout=layouts.as_inputs,
    expand=_expand_binary_entropy,
    name="_binary_cross_entropy",
    tensors="input target weight",
    kernel=reducing(_binary_entropy),
    grad={"input": _grad_of_binary_entropy, "target": _grad_of_binary_target},
    checked=True,
    sure=are_probabilities,
    method=False,
    backward_name="BinaryCrossEntropyBackward0",
)
def _binary_cross_entropy(input: Tensor, target: Tensor, weight: Tensor, reduction: str):
    """:func:`binary_cross_entropy` after the checks."""
    refuse("binary_cross_entropy", input, kinds=NOT_FLOATING)
    for x in (target, weight):
        if x is not None and x._dtype is not input._dtype:
            raise RuntimeError(f"Found dtype {scalar_name(x._dtype)} but expected {scalar_name(input._dtype)}")
    shape = input._shape if reduction == "none" else ()
    return shape, input._dtype, (input, target, weight), {"reduction": reduction}


def _probability_pairs(make) -> list[Sample]:
    def p(*shape):
        return make(*shape, low=0.1, high=0.9)

    return [
        Sample(p(3, 4), p(3, 4)),
        Sample(p(4, 3).t(), p(3, 4), reduction="sum"),
        Sample(p(3, 4), p(3, 4), reduction="none"),
        Sample(p(3, 4), p(3, 4), weight=make(3, 4, requires_grad=False)),
        Sample(p(3, 4), p(3, 4), weight=make(4, requires_grad=False), reduction="none"),
        Sample(p(), p()),
    ]


@composite(
    name="nn.functional.binary_cross_entropy",
    samples=_probability_pairs,
    errors=lambda make: [
        ErrorSample(ValueError, "Using a target size", make(3, low=0, high=1), make(4, low=0, high=1)),
        *wrong_reduction(make),
    ],
)
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r""":math:`-w\,(t \log x + (1 - t) \log(1 - x))` of probabilities ``input`` and targets in [0, 1].

    The logarithms are not less than -100, so the loss is finite at 0 and 1. ``RuntimeError`` for an input outside
    [0, 1]. ``binary_cross_entropy_with_logits`` is more exact where scores are at hand.

    Raises ``ValueError`` for a target of another shape.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.binary_cross_entropy(torch.tensor([0.5, 0.9]), torch.tensor([1.0, 1.0]), reduction="none")
    tensor([0.6931, 0.1054])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy.html
    """
    require_tensors("binary_cross_entropy", input=input, target=target)
    reduction = checked_reduction(reduction, size_average, reduce)
    if target._shape != input._shape:
        raise ValueError(
            f"Using a target size ({target._shape}) that is different to the input size ({input._shape}) is deprecated. "
            "Please ensure they have the same size."
        )
    if weight is not None:
        weight = weight.expand(broadcast_shapes(target._shape, weight._shape))
    return _binary_cross_entropy(input, target, weight, reduction)


def _logistic_entropy(x, y, weight, pos_weight):
    # log(1 + exp(-x)) = max(-x, 0) + log(1 + exp(-|x|)), which does not overflow.
    softplus = np.log1p(np.exp(-np.abs(x))) - np.minimum(x, 0)
    if pos_weight is not None:
        softplus = ((pos_weight - 1) * y + 1) * softplus
    loss = (1 - y) * x + softplus
    return loss if weight is None else loss * weight


def _grad_of_logits(g, reduction, input, target, weight, pos_weight):
    g = per_element(g, reduction, input)
    if pos_weight is None:
        loss = (input.sigmoid() - target) * g
    else:
        positive = pos_weight * target
        loss = ((positive + 1 - target) * input.sigmoid() - positive) * g
    return loss if weight is None else loss * weight


def _grad_of_logistic_target(g, reduction, input, weight, pos_weight):
    g = per_element(g, reduction, input)
    loss = -input * g if pos_weight is None else (logsigmoid(-input) - pos_weight * logsigmoid(input)) * g
    return loss if weight is None else loss * weight


def _lower_logistic_entropy(b, x, y, weight, pos_weight):
    softplus = b.sub(b.log1p(b.exp(b.neg(b.abs(x)))), b.min(x, 0))
    if pos_weight is not None:
        softplus = b.mul(b.add(b.mul(b.sub(pos_weight, 1), y), 1), softplus)
    loss = b.add(b.mul(b.sub(1, y), x), softplus)
    return loss if weight is None else b.mul(loss, weight)


@op(
    layout=layouts.second_first,
    expand=reducing_parts(_lower_logistic_entropy),
    name="_binary_cross_entropy_with_logits",
    tensors="input target weight pos_weight",
    kernel=reducing(_logistic_entropy),
    grad={"input": _grad_of_logits, "target": _grad_of_logistic_target},
    method=False,
    backward_name="BinaryCrossEntropyWithLogitsBackward0",
)
def _binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Tensor, pos_weight: Tensor, reduction: str):
    """:func:`binary_cross_entropy_with_logits` after the checks."""
    return paired("binary_cross_entropy_with_logits", reduction, input, target, weight, pos_weight)


@composite(
    name="nn.functional.binary_cross_entropy_with_logits",
    samples=lambda make: [
        *pairs(make),
        Sample(make(3, 4), make(3, 4, low=0, high=1), weight=make(4, requires_grad=False)),
        Sample(make(3, 4), make(3, 4, low=0, high=1), pos_weight=make(4, low=0.5, high=2, requires_grad=False)),
    ],
    errors=lambda make: [ErrorSample(ValueError, "must be the same as input size", make(3), make(3, 1))],
)
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    r""":func:`binary_cross_entropy` of ``sigmoid(input)``, computed without overflow.

    :math:`w\,((1 - t)\,x + (1 + (p - 1)\,t) \log(1 + e^{-x}))`; ``pos_weight`` :math:`p` weights the positive targets.

    Raises ``ValueError`` for a target of another shape.

    >>> import flambeau as torch
    >>> torch.nn.functional.binary_cross_entropy_with_logits(torch.zeros(3), torch.ones(3))
    tensor(0.6931)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.binary_cross_entropy_with_logits.html
    """
    require_tensors("binary_cross_entropy_with_logits", input=input, target=target)
    reduction = checked_reduction(reduction, size_average, reduce)
    if target._shape != input._shape:
        raise ValueError(f"Target size ({target._shape}) must be the same as input size ({input._shape})")
    return _binary_cross_entropy_with_logits(input, target, weight, pos_weight, reduction)


@composite(
    name="nn.functional.kl_div",
    samples=lambda make: [
        *[
            Sample(make(3, 4), make(3, 4, low=0.1, high=0.9), reduction=r, log_target=log_target)
            for r in ("none", "sum", "batchmean")
            for log_target in (False, True)
        ],
        Sample(make(3, 4), make(4, low=0.1, high=0.9), reduction="sum"),
    ],
    errors=lambda make: [ErrorSample(ValueError, "is not a valid value", make(3), make(3), reduction="max")],
)
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    r"""Kullback-Leibler divergence :math:`t (\log t - x)` of log-probabilities ``input`` from probabilities ``target``.

    ``log_target``: the target holds log-probabilities too. ``reduction="batchmean"`` divides the sum by the first
    extent, which is the divergence's definition; ``"mean"`` divides by the number of elements.

    Raises ``RuntimeError`` for integers.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> log_p = torch.tensor([[0.5, 0.5]]).log()
    >>> F.kl_div(log_p, torch.tensor([[0.75, 0.25]]), reduction="batchmean")
    tensor(0.1308)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.kl_div.html
    """
    if size_average is not None or reduce is not None or reduction not in ("mean", "batchmean"):
        reduction = checked_reduction(reduction, size_average, reduce)
    elif reduction == "mean":
        warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math definition."
            "'mean' will be changed to behave the same as 'batchmean' in the next major release.",
        )
    if input._dtype.kind < dtypes.FLOATING and target._dtype.kind < dtypes.FLOATING:
        raise RuntimeError("kl_div: Integral inputs not supported.")
    loss = target.exp() * (target - input) if log_target else target.xlogy(target) - target * input
    if reduction == "batchmean":
        return loss.sum() / input._shape[0] if input._shape else loss.sum()
    return reduced(loss, reduction)


@composite(
    name="nn.functional.poisson_nll_loss",
    samples=lambda make: [
        Sample(make(3, 4, low=0.5, high=2), make(3, 4, low=1.5, high=4), log_input, full, reduction=r)
        for log_input in (True, False)
        for full in (False, True)
        for r in ("mean", "none")
    ],
    errors=wrong_reduction,
)
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Negative log-likelihood of Poisson counts: :math:`e^x - t x`, or :math:`x - t \log(x + eps)` unless ``log_input``.

    ``full`` adds Stirling's approximation of :math:`\log t!` for targets above 1.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.poisson_nll_loss(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 2.0]), reduction="none")
    tensor([1.0000, 0.7183])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.poisson_nll_loss.html
    """
    reduction = checked_reduction(reduction, size_average, reduce)
    loss = input.exp() - target * input if log_input else input - target * (input + eps).log()
    if full:
        stirling = target * target.log() - target + 0.5 * (2 * np.pi * target).log()
        loss = loss + stirling.masked_fill(target <= 1, 0)
    return reduced(loss, reduction)


@composite(
    name="nn.functional.gaussian_nll_loss",
    samples=lambda make: [
        Sample(make(3, 4), make(3, 4), make(3, 4, low=0.5, high=2)),
        Sample(make(3, 4), make(3, 4), make(3, 1, low=0.5, high=2), full=True, reduction="sum"),
        Sample(make(3, 4), make(3, 4), make(3, low=0.5, high=2), reduction="none"),
        Sample(make(3, 4), make(3, 4), 1.5),
    ],
    errors=lambda make: [
        ErrorSample(ValueError, "var is of incorrect size", make(3, 4), make(3, 4), make(2, 7, low=0.5, high=1)),
        ErrorSample(ValueError, "negative", make(3, 4), make(3, 4), -1.0),
    ],
)
def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    r"""Negative log-likelihood :math:`\frac12 (\log v + (x - t)^2 / v)` under a normal distribution.

    ``var`` :math:`v`, not less than ``eps``: of the input's shape, without its last dim, or with 1 there. ``full`` adds
    :math:`\frac12 \log 2\pi`.

    Raises ``ValueError`` for a negative ``var`` and for shapes that do not fit.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.gaussian_nll_loss(torch.tensor([0.0]), torch.tensor([2.0]), torch.tensor([4.0]))
    tensor(1.1931)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.gaussian_nll_loss.html
    """
    if not isinstance(var, dispatch.Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = input.new_full(input._shape, var)
    elif (var < 0).any():
        raise ValueError("var has negative entry/entries")
    if var._shape != input._shape:
        if input._shape[:-1] == var._shape:
            var = var.unsqueeze(-1)
        elif input._shape[:-1] != var._shape[:-1] or var._shape[-1] != 1:
            broadcast = [a for a, b in zip(input._shape, var._shape, strict=False) if b not in (1, a)]
            if len(input._shape) != len(var._shape) or broadcast:
                raise ValueError(f"var is of incorrect size: {var._shape} for an input of size {input._shape}")
    reduction = checked_reduction(reduction)
    var = var + (var.detach().clamp(min=eps) - var.detach())  # the gradient passes the bound
    loss = 0.5 * (var.log() + (input - target) ** 2 / var)
    if full:
        loss = loss + 0.5 * np.log(2 * np.pi).item()
    return reduced(loss, reduction)

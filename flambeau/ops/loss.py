"""Losses: distances between predictions and targets, and classification losses.

Every loss has ``reduction``: ``"mean"`` (one number, the default), ``"sum"`` (one number) or ``"none"`` (one for each
element or sample). ``size_average`` and ``reduce`` are PyTorch's older way of saying the same.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.core.dtypes import promote_types, scalar_name
from flambeau.core.errors import warn
from flambeau.core.size import broadcast_shapes
from flambeau.ops import layouts
from flambeau.ops.activation import logsigmoid
from flambeau.ops.limits import are_probabilities
from flambeau.ops.matmul import require_tensors
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import NOT_FLOATING, refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- reductions ----------------------------------------------------------------------------------------------


def checked_reduction(reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> str:
    """``reduction``, or what the older arguments ask for, with a warning."""
    if size_average is not None or reduce is not None:
        size_average, reduce = size_average is None or size_average, reduce is None or reduce
        reduction = ("mean" if size_average else "sum") if reduce else "none"
        warn(
            f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.",
        )
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction: use 'none', 'mean' or 'sum'")
    return reduction


def reduced(loss, reduction: str):
    """The tensor ``loss`` reduced."""
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def reducing(elementwise):
    """The kernel that reduces the result of ``elementwise``."""

    def kernel(*arrays, reduction: str, **attrs):
        loss = elementwise(*arrays, **attrs)
        if reduction == "none":
            return loss
        return loss.sum() / loss.dtype.type(loss.size) if reduction == "mean" else loss.sum()

    return kernel


def reducing_parts(lower):
    """The expansion of the same: ``lower`` gives an element's loss."""

    def expand(e, *inputs, reduction: str, **attrs):
        def loss(b, *values):
            return lower(b, *values, **attrs)

        shape = broadcast_shapes(*[x.shape for x in inputs if x is not None])
        if reduction == "none" or not shape:
            return e.map(loss, *inputs)
        total = e.fold_of("sum", loss, tuple(range(len(shape))), *inputs)
        return total if reduction == "sum" else e.map(lambda b, total: b.div(total, prod(shape)), total)

    return expand


def per_element(g, reduction: str, like):
    """The gradient of each element's loss, where ``g`` is that of the reduced loss; ``like`` has the elements' shape."""
    return g / like.numel() if reduction == "mean" else g


def paired(kernel: str, input, target, *others):
    """Shape and common dtype of operands that broadcast, and the operands in that dtype."""
    operands = (input, target, *others)
    dtype = input._dtype
    for x in operands:
        if x is not None:
            dtype = promote_types(dtype, x._dtype)
    if dtype.kind != dtypes.FLOATING:
        raise NotImplementedError(
            f"\"{kernel}\" not implemented for '{scalar_name(dtype)}': the loss needs floating-point tensors"
        )
    shape = broadcast_shapes(*[x._shape for x in operands if x is not None])
    return shape, dtype, tuple([x if x is None or x._dtype is dtype else x.to(dtype) for x in operands])


def _check_sizes(name: str, input, target) -> None:
    """Warns of a target that broadcasts: most often a missing or an extra dimension."""
    require_tensors(name, input=input, target=target)
    if input._shape != target._shape:
        warn(
            f"Using a target size ({target._shape}) that is different to the input size ({input._shape}). "
            "This will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
        )


def _weighted(loss, weight, input, reduction: str):
    if weight._shape != input._shape:
        raise ValueError(
            f"Weights and input must have the same size. Got weight of size {weight._shape}, input of size {input._shape}"
        )
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else reduced(loss, reduction)


def _pairs(make) -> list[Sample]:
    return [
        Sample(make(3, 4), make(3, 4)),
        Sample(make(4, 3).t(), make(3, 4), reduction="sum"),
        Sample(make(3, 4), make(3, 4), reduction="none"),
        Sample(make(), make()),
        Sample(make(0, 2), make(0, 2), reduction="sum"),
    ]


def _wrong_reduction(make) -> list[ErrorSample]:
    return [ErrorSample(ValueError, "is not a valid value for reduction", make(3), make(3), reduction="max")]


# --- distances -----------------------------------------------------------------------------------------------


def _squared(x, y):
    d = x - y
    return np.multiply(d, d, out=d) if d.ndim else d * d


def _grad_of_square(g, reduction, input, target):
    d = input - target
    return d * (g * (2 / d.numel() if reduction == "mean" else 2))


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
    shape, dtype, inputs = paired("mse_cpu", input, target)
    return shape if reduction == "none" else (), dtype, inputs, {"reduction": reduction}


@composite(
    name="nn.functional.mse_loss",
    samples=lambda make: [*_pairs(make), Sample(make(3, 4), make(3, 4), weight=make(3, 4, low=0.5, high=1.0))],
    errors=_wrong_reduction,
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
    _check_sizes("mse_loss", input, target)
    reduction = checked_reduction(reduction, size_average, reduce)
    if weight is not None:
        return _weighted(_mse_loss(input, target, "none"), weight, input, reduction)
    return _mse_loss(input, target, reduction)


@composite(
    name="nn.functional.l1_loss",
    samples=lambda make: [*_pairs(make), Sample(make(3, 4), make(3, 4), weight=make(3, 4, low=0.5, high=1.0))],
    errors=_wrong_reduction,
)
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    r"""Absolute error :math:`|input - target|`; ``weight`` as in :func:`mse_loss`."""
    _check_sizes("l1_loss", input, target)
    reduction = checked_reduction(reduction, size_average, reduce)
    loss = (input - target).abs()
    return reduced(loss, reduction) if weight is None else _weighted(loss, weight, input, reduction)


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
    shape, dtype, inputs = paired("smooth_l1_cpu", input, target)
    return shape if reduction == "none" else (), dtype, inputs, {"reduction": reduction, "beta": beta}


@composite(
    name="nn.functional.smooth_l1_loss",
    samples=lambda make: [*_pairs(make), Sample(make(3), make(3), beta=0.5), Sample(make(3), make(3), beta=0)],
    errors=lambda make: [*_wrong_reduction(make), ErrorSample(RuntimeError, "negative", make(3), make(3), beta=-1.0)],
)
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    r"""With :math:`d = |input - target|`: :math:`d^2 / (2\,beta)` where :math:`d < beta`, else :math:`d - beta / 2`."""
    _check_sizes("smooth_l1_loss", input, target)
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
    shape, dtype, inputs = paired("huber_cpu", input, target)
    return shape if reduction == "none" else (), dtype, inputs, {"reduction": reduction, "delta": delta}


@composite(
    name="nn.functional.huber_loss",
    samples=lambda make: [
        *_pairs(make),
        Sample(make(3), make(3), delta=0.5),
        Sample(make(3), make(3), weight=make(3, low=0.5, high=1.0)),
    ],
    errors=lambda make: [*_wrong_reduction(make), ErrorSample(RuntimeError, "delta", make(3), make(3), delta=0.0)],
)
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    r"""With :math:`d = |input - target|`: :math:`d^2 / 2` where :math:`d < delta`, else :math:`delta (d - delta / 2)`.

    ``weight`` multiplies each element's loss; the mean is over the elements, not their weights.
    Source: Huber, Robust Estimation of a Location Parameter (1964).
    """
    _check_sizes("huber_loss", input, target)
    reduction = checked_reduction(reduction)
    if delta <= 0:
        raise RuntimeError(f"huber_loss does not support non-positive values for delta. Got delta={delta}")
    if weight is None:
        return _huber_loss(input, target, reduction, float(delta))
    if weight._shape != input._shape:
        raise ValueError(f"Weights and input must have the same size. Got {weight._shape} and {input._shape}")
    return reduced(_huber_loss(input, target, "none", float(delta)) * weight, reduction)


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
        *_wrong_reduction(make),
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
def _binary_cross_entropy_with_logits(
    input: Tensor, target: Tensor, weight: Tensor, pos_weight: Tensor, reduction: str
):
    """:func:`binary_cross_entropy_with_logits` after the checks."""
    shape, dtype, inputs = paired("binary_cross_entropy_with_logits", input, target, weight, pos_weight)
    return shape if reduction == "none" else (), dtype, inputs, {"reduction": reduction}


@composite(
    name="nn.functional.binary_cross_entropy_with_logits",
    samples=lambda make: [
        *_pairs(make),
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

    >>> import flambeau as torch
    >>> torch.nn.functional.binary_cross_entropy_with_logits(torch.zeros(3), torch.ones(3))
    tensor(0.6931)
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
    errors=_wrong_reduction,
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

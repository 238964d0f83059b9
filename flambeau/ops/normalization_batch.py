"""Normalisation over a batch: batch norm, with its running statistics, and instance norm."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.dispatch import grad_mode
from flambeau.ops import layouts
from flambeau.ops import normalization_kernels as kernels
from flambeau.ops.normalization import batch_norm_of_channels, check_parameters, require_more_than_one_value
from flambeau.ops.product_helpers import require_tensors
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import NOT_FLOATING, refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- batch norm, instance norm -------------------------------------------------------------------------------


def _scaled(x, weight, bias, mean, var, eps):
    shape = (-1,) + (1,) * (x.ndim - 2)
    scale = 1 / np.sqrt(var + var.dtype.type(eps))
    if weight is not None:
        scale = scale * weight
    shift = -mean * scale
    if bias is not None:
        shift = shift + bias
    return x * scale.reshape(shape) + shift.reshape(shape)


def _grad_of_scaled(g, needs, input, weight, running_mean, running_var, eps):
    shape = (-1,) + (1,) * (input.dim() - 2)
    dims = tuple(d for d in range(input.dim()) if d != 1)
    rstd = (running_var + eps).rsqrt()
    scale = rstd if weight is None else rstd * weight
    return (
        g * scale.reshape(shape) if needs[0] else None,
        (g * (input - running_mean.reshape(shape))).sum(dims) * rstd if needs[1] else None,
        g.sum(dims) if needs[2] else None,
        None,
        None,
    )


@op(
    layout=layouts.normalised,
    expand=kernels.expand_inference,
    name="_batch_norm_inference",
    tensors="input weight bias running_mean running_var",
    kernel=_scaled,
    grad={"*": _grad_of_scaled},
    nondifferentiable=("running_mean", "running_var"),
    method=False,
    backward_name="NativeBatchNormBackward0",
)
def _batch_norm_inference(input: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, eps: float):
    """Batch norm with given mean and variance."""
    return input._shape, input._dtype, (input, weight, bias, running_mean, running_var), {"eps": eps}


def _check_channels(input, running_mean, running_var, weight, bias) -> tuple:
    """Refuses what has not one element for each channel; returns weight and bias in one dim."""
    if input.dim() < 2 and input.numel():
        raise RuntimeError(f"expected at least 2 dimensions (N, C, ...), got input of shape {list(input._shape)}")
    c = input._shape[1] if input.dim() > 1 else 0
    named = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    for name, t in named.items():
        if t is not None and t.numel() != c:
            raise RuntimeError(f"{name} should contain {c} elements not {t.numel()}: the input has shape {list(input._shape)}")
        if t is not None and t.dim() != 1 and name.startswith("running"):
            raise RuntimeError(f"TensorAccessor expected 1 dims but tensor has {t.dim()}: {name} has shape {list(t._shape)}")
    refuse("batch_norm", input, kinds=NOT_FLOATING)
    check_parameters("batch_norm", input, *named.values())
    return tuple([t if t is None or t.dim() == 1 else t.reshape(-1) for t in (weight, bias)])


def _move(*moves: tuple) -> None:
    """Moves running statistics towards the batch's, in place and off the tape.

    Each is ``(running, value, momentum, factor)``: towards ``factor`` times ``value``, if ``running`` is given.
    """
    enabled = grad_mode.enabled
    try:
        grad_mode.off()
        moved = [
            (running, (running * (1 - momentum)).add(value.view(running._shape), alpha=momentum * factor))
            for running, value, momentum, factor in moves
            if running is not None
        ]
        for running, result in moved:
            dispatch.assign(running, result)
    finally:
        grad_mode.enabled = enabled


def _unbiased(n: int) -> float:
    """What the variance of ``n`` numbers is multiplied by to be free of bias."""
    return n / (n - 1)


def _normalised_batch(input, running_mean, running_var, weight, bias, momentum, eps):
    """The normalised batch, its mean and its variance (1, C, 1), after the running statistics have been updated."""
    n, c = input._shape[:2]
    form = (n, c, prod(input._shape[2:]))
    out, mean, var = batch_norm_of_channels(input, weight, bias, form, (0, 2), (1, c, 1), float(eps))
    _move((running_mean, mean, momentum, 1.0), (running_var, var, momentum, _unbiased(n * form[2])))
    return out, mean, var


@composite(
    name="nn.functional.batch_norm",
    samples=lambda make: [
        Sample(make(4, 3), None, None, training=True),
        Sample(make(2, 3, 2), None, None, make(3), make(3), training=True),
        Sample(make(2, 2, 2, 2), None, None, make(2), training=True, eps=0.5),
        Sample(make(2, 2, 2, 2), None, None, make(2, 1), make(1, 2), training=True),
        Sample(make(4, 3), make(3, requires_grad=False), make(3, low=0.5, high=2, requires_grad=False)),
        Sample(make(2, 3, 2), make(3, requires_grad=False), make(3, low=0.5, high=2, requires_grad=False), make(3), make(3)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "running_mean must be defined in evaluation mode", make(4, 3), None, None),
        ErrorSample(RuntimeError, "running_mean should contain 3 elements not 2", make(4, 3), make(2), make(2)),
        ErrorSample(RuntimeError, "weight should contain 3", make(4, 3), None, None, make(2), training=True),
        ErrorSample(RuntimeError, "expected 1 dims but tensor has 2", make(4, 3), make(3, 1), make(3)),
        ErrorSample(ValueError, "more than 1 value per channel", make(1, 3), None, None, training=True),
    ],
)
def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    r""":math:`(x - mean) / \sqrt{var + eps}\,w + b` for each channel of an input (N, C, ...).

    In training mean and variance are the batch's, over all dims but the channels', and ``running_mean`` and
    ``running_var`` (C,), if given, are updated in place: ``running = (1 - momentum) * running + momentum * batch``, with
    the unbiased variance. Else they are the running ones.

    Raises ``RuntimeError`` without running statistics where not ``training``, ``ValueError`` for one value a channel.

    >>> import flambeau as torch
    >>> torch.nn.functional.batch_norm(torch.tensor([[1.0], [3.0]]), None, None, training=True)
    tensor([[-1.0000],
            [ 1.0000]])

    Source: Ioffe and Szegedy, Batch Normalization (2015), https://arxiv.org/abs/1502.03167
    """
    require_tensors("batch_norm", input=input)
    if training:
        if input.dim() > 1:
            require_more_than_one_value(input._shape)
    elif running_mean is None or running_var is None:
        missing = "running_mean" if running_mean is None else "running_var"
        raise RuntimeError(f"{missing} must be defined in evaluation mode")
    weight, bias = _check_channels(input, running_mean, running_var, weight, bias)
    if not input.numel():
        form = (1, -1, *[1] * (input.dim() - 2))
        out = input.clone() if weight is None else input * weight.reshape(form)
        return out if bias is None else out + bias.reshape(form)
    if not training:
        return _batch_norm_inference(input, weight, bias, running_mean, running_var, float(eps))
    return _normalised_batch(input, running_mean, running_var, weight, bias, momentum, eps)[0]


@composite(
    layout=layouts.row_major,
    name="nn.functional.instance_norm",
    samples=lambda make: [
        Sample(make(2, 2, 3)),
        Sample(make(2, 3, 2, 2), weight=make(3), bias=make(3), eps=0.5),
        Sample(
            make(2, 2, 3),
            make(2, requires_grad=False),
            make(2, low=0.5, high=2, requires_grad=False),
            use_input_stats=False,
        ),
    ],  # fmt: skip
    errors=lambda make: [
        ErrorSample(ValueError, "more than 1 spatial element", make(2, 3, 1)),
        ErrorSample(RuntimeError, "to be defined when use_input_stats is false", make(2, 3, 4), use_input_stats=False),
    ],
)
def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """:func:`batch_norm` with mean and variance of each sample's channel, over the other dims.

    Raises ``ValueError`` where a channel has but one element.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.instance_norm(torch.tensor([[[1.0, 3.0], [10.0, 30.0]]]))
    tensor([[[-1.0000,  1.0000],
             [-1.0000,  1.0000]]])

    Source: Ulyanov et al., Instance Normalization (2016), https://arxiv.org/abs/1607.08022
    """
    require_tensors("instance_norm", input=input)
    if use_input_stats:
        if prod(input._shape[2:]) == 1:
            raise ValueError(f"Expected more than 1 spatial element when training, got input size {input._shape}")
    elif running_mean is None or running_var is None:
        raise RuntimeError("Expected running_mean and running_var to be defined when use_input_stats is false")
    weight, bias = _check_channels(input, running_mean, running_var, weight, bias)
    if not use_input_stats:
        return _batch_norm_inference(input, weight, bias, running_mean, running_var, float(eps))
    n, c = input._shape[:2]
    form = (n, c, prod(input._shape[2:]))
    out, mean, var = batch_norm_of_channels(input, weight, bias, form, (2,), (1, c, 1), float(eps))
    if running_mean is not None or running_var is not None:
        mean, var = mean.reshape(n, c).mean(0), var.reshape(n, c).mean(0)
        _move((running_mean, mean, momentum, 1.0), (running_var, var, momentum, _unbiased(form[2])))
    return out


@composite(
    method=False,
    out=True,
    samples=lambda make: [
        Sample(make(4, 3), make(3), make(3), None, None, True, 0.1, 1e-5),
        Sample(
            make(4, 3),
            None,
            None,
            make(3, requires_grad=False),
            make(3, low=0.5, high=2, requires_grad=False),
            False,
            0.1,
            1e-5,
        ),
    ],  # fmt: skip
)
def native_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
):
    """:func:`batch_norm`, with the mean and the reciprocal standard deviation of a training batch.

    >>> import flambeau as torch
    >>> torch.native_batch_norm(torch.tensor([[1.0], [3.0]]), None, None, None, None, True, 0.1, 1e-5)[1]
    tensor([2.])

    Source: PyTorch's operator ``aten::native_batch_norm``.
    """
    if not training:
        out = batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        return out, input.new_empty(0), input.new_empty(0)
    weight, bias = _check_channels(input, running_mean, running_var, weight, bias)
    out, mean, var = _normalised_batch(input, running_mean, running_var, weight, bias, momentum, eps)
    mean, var = mean.view(-1), var.view(-1)
    return out, mean.to(out._dtype), (var + eps).rsqrt().to(out._dtype)

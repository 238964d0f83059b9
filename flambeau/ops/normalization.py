"""Normalisation: batch, layer, group, instance and RMS norms, and local response normalisation.

Batch, layer, group and instance norm are one computation, :math:`(x - mean) / \\sqrt{var + eps}\\,w + b`, over different
elements. Each describes which with a ``form`` (the input's shape, reshaped), the ``axes`` of it that mean and variance
are taken over, and ``affine``, the shape in which weight and bias broadcast against it.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from flambeau import dispatch
from flambeau.core import dtypes
from flambeau.dispatch import grad_mode
from flambeau.ops import layouts
from flambeau.ops import normalization_kernels as kernels
from flambeau.ops.matmul import require_tensors
from flambeau.ops.padding import pad
from flambeau.ops.pooling import avg_pool2d
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import NOT_FLOATING, refuse

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flambeau.tensor.types import Tensor

# --- the computation -----------------------------------------------------------------------------------------


def _grad_of_norm(gs, needs, input, mean, var, weight, bias_shape, form, axes, affine, eps):
    grads = [None, None, None]
    if gs[0] is not None:
        made = _normalization_grad(gs[0], input, mean, var, weight, form, axes, affine, eps, needs)
        grads = [g if needed else None for g, needed in zip(made, needs, strict=True)]
        if needs[1]:
            grads[1] = grads[1].reshape(weight._shape)
        if needs[2]:
            grads[2] = grads[2].reshape(bias_shape)
    if needs[0] and (gs[1] is not None or gs[2] is not None):
        # How mean and variance depend on the input; only second derivatives get here.
        n = prod(form[a] for a in axes)
        grad = 0 if gs[1] is None else gs[1] / n
        if gs[2] is not None:
            grad = grad + (input.reshape(form) - mean) * (gs[2] * (2 / n))
        grad = grad.expand(form).reshape(input._shape)
        grads[0] = grad if grads[0] is None else grads[0] + grad
    return tuple(grads)


def _grad_of_norm_grad(gs, needs, grad, input, mean, var, weight, form, axes, affine, eps):
    """The derivative of :func:`kernels.backward`, for gradients ``gs`` of what it gives for input, weight and bias."""
    of_input, of_weight, of_bias = gs
    g = grad.reshape(form)
    rstd = (var + eps).rsqrt()
    centred = input.reshape(form) - mean
    y = centred * rstd
    grad_g = grad_y = grad_weight = grad_rstd = None

    def mean_of(t):
        return t.mean(axes, keepdim=True)

    def project(t):
        return rstd * (t - mean_of(t) - y * mean_of(t * y))

    if of_input is not None:
        u = of_input.reshape(form)
        scaled = g if weight is None else g * weight.reshape(affine)
        projected = project(u)  # what the gradient is, as a function of ``scaled``, is symmetric
        grad_g = projected if weight is None else projected * weight.reshape(affine)
        if weight is not None:
            grad_weight = (g * projected).sum_to_size(affine).reshape(weight._shape)
        grad_y = -rstd * (u * mean_of(scaled * y) + scaled * mean_of(u * y))
        grad_rstd = (u * project(scaled)).sum(axes, keepdim=True) / rstd
    if of_weight is not None:
        v = of_weight
        grad_g = v * y if grad_g is None else grad_g + v * y
        grad_y = v * g if grad_y is None else grad_y + v * g
    if of_bias is not None:
        v = of_bias.expand(form)
        grad_g = v if grad_g is None else grad_g + v
    grad_g = None if grad_g is None else grad_g.reshape(grad._shape)
    if grad_y is None:
        return grad_g, None, None, None, grad_weight
    from_y = (grad_y * centred).sum(axes, keepdim=True)
    grad_rstd = from_y if grad_rstd is None else grad_rstd + from_y
    grad_centred = grad_y * rstd
    grad_var = grad_rstd * (-0.5) * rstd * rstd * rstd
    return (
        grad_g,
        grad_centred.reshape(input._shape),
        -grad_centred.sum(axes, keepdim=True),
        grad_var,
        grad_weight,
    )


@op(
    layout=(layouts.normalised, None, None),
    name="_normalization_grad",
    tensors="grad input mean var weight",
    kernel=kernels.backward,
    expand=kernels.expand_backward,
    grad={"*": _grad_of_norm_grad},
    outputs=("grad_input", "grad_weight", "grad_bias"),
    method=False,
)
def _normalization_grad(
    grad: Tensor, input: Tensor, mean: Tensor, var: Tensor, weight: Tensor, form, axes, affine, eps: float, needs
):
    """The gradients of a normalisation for input, weight and bias. What is not needed may be empty or 0."""
    shape = input._shape if needs[0] else (0,)
    attrs = {"form": form, "axes": axes, "affine": affine, "eps": eps, "needs": needs}
    shapes = (shape, tuple(affine), tuple(affine))
    return shapes, (input._dtype, mean._dtype, mean._dtype), (grad, input, mean, var, weight), attrs


def _norm_record(name: str, backward_name: str, layout=None):
    """A record of the computation; PyTorch names the gradients of the norms apart."""

    def check(input: Tensor, weight: Tensor, bias: Tensor, form, axes, affine, eps: float):
        """Normalises ``input`` in the shape ``form`` over ``axes``; returns also mean and variance."""
        stats = tuple([1 if i in axes else n for i, n in enumerate(form)])
        # Mean and variance of half-precision inputs are kept in full.
        precise = input._dtype if input._dtype.itemsize > 2 else dtypes.float32
        attrs = {"form": tuple(form), "axes": axes, "affine": tuple(affine), "eps": eps}
        return (input._shape, stats, stats), (input._dtype, precise, precise), (input, weight, bias), attrs

    return op(
        check,
        name=name,
        tensors="input weight bias",
        kernel=kernels.forward,
        expand=kernels.expand_forward,
        grad={"*": _grad_of_norm},
        outputs=("out", "mean", "var"),
        layout=layout,
        method=False,
        backward_name=backward_name,
    )


_layer_norm = _norm_record("_layer_norm", "NativeLayerNormBackward0")
_group_norm = _norm_record("_group_norm", "NativeGroupNormBackward0", (layouts.channels_last, None, None))
_batch_norm = _norm_record("_batch_norm", "NativeBatchNormBackward0", (layouts.normalised, None, None))

# --- layer norm, RMS norm ------------------------------------------------------------------------------------


def _normalized_dims(name: str, input, normalized_shape, weight, bias=None, star: str = "*, ") -> int:
    """How many of the last dims are normalised over; refuses shapes that do not fit."""
    require_tensors(name, input=input)
    if not isinstance(normalized_shape, (tuple, list)):
        kind = type(normalized_shape).__name__
        raise TypeError(f"{name}(): argument 'normalized_shape' (position 2) must be tuple of ints, not {kind}")
    expected = tuple(normalized_shape)
    if not expected:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            "normalized_shape = []"
        )
    for what, t in (("weight", weight), ("bias", bias)):
        if t is not None and t._shape != expected:
            raise RuntimeError(
                f"Expected {what} to be of same shape as normalized_shape, but got {what} of shape {list(t._shape)} and "
                f"normalized_shape = {list(expected)}"
            )
    if input._shape[-len(expected) :] != expected:
        raise RuntimeError(
            f"Given normalized_shape={list(expected)}, expected input with shape [{star}{', '.join(map(str, expected))}], "
            f"but got input of size{list(input._shape)}"
        )
    return len(expected)


def _check_parameters(name: str, input, *parameters) -> None:
    """Parameters have the input's dtype, or float32 for an input in half precision."""
    refuse(name, input, kinds=NOT_FLOATING)
    for p in parameters:
        if (
            p is not None
            and p._dtype is not input._dtype
            and not (input._dtype.itemsize == 2 and p._dtype is dtypes.float32)
        ):
            raise RuntimeError(
                f"mixed dtype (CPU): expect parameter to have scalar type of Float: the input is {input._dtype}, a parameter "
                f"{p._dtype}; all inputs must share same datatype"
            )


@composite(
    name="nn.functional.layer_norm",
    samples=lambda make: [
        Sample(make(2, 3, 4), (4,)),
        Sample(make(3, 4), (4,), make(4), make(4)),
        Sample(make(2, 2, 3), (2, 3), make(2, 3), make(2, 3), 0.5),
        Sample(make(3, 4), (4,), make(4)),
        Sample(make(3, 4), (4,), None, make(4)),
        Sample(make(0, 4), (4,)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "Given normalized_shape", make(3, 4), (3,)),
        ErrorSample(RuntimeError, "Expected normalized_shape to be at least", make(3, 4), ()),
        ErrorSample(RuntimeError, "Expected weight to be of same shape", make(3, 4), (4,), make(3)),
        ErrorSample(TypeError, "must be tuple of ints", make(3, 4), 4),
    ],
)
def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    r""":math:`(x - mean) / \sqrt{var + eps}\,w + b` over the last dims, which have ``normalized_shape``.

    The variance is the biased one. ``weight`` and ``bias`` have ``normalized_shape``.

    >>> import flambeau as torch
    >>> torch.nn.functional.layer_norm(torch.tensor([[1.0, 2.0, 3.0]]), [3])
    tensor([[-1.2247,  0.0000,  1.2247]])

    Source: Ba et al., Layer Normalization (2016), https://arxiv.org/abs/1607.06450
    """
    return _layer_normalised(input, normalized_shape, weight, bias, eps)[0]


def _layer_normalised(input, normalized_shape, weight, bias, eps):
    dims = _normalized_dims("layer_norm", input, normalized_shape, weight, bias)
    _check_parameters("LayerNormKernelImpl", input, weight, bias)
    n = prod(normalized_shape)
    form = (prod(input._shape[:-dims]), n)
    return _layer_norm(input, weight, bias, form, (1,), (1, n), float(eps))


@composite(
    method=False,
    samples=lambda make: [Sample(make(3, 4), (4,), make(4), make(4), 1e-5), Sample(make(2, 4), (4,), None, None, 1e-5)],
)
def native_layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
):
    """:func:`layer_norm`, with mean and reciprocal standard deviation."""
    out, mean, var = _layer_normalised(input, normalized_shape, weight, bias, eps)
    stats = (*input._shape[: -len(normalized_shape)], *[1] * len(normalized_shape))
    return out, mean.reshape(stats).to(out._dtype), (var + eps).rsqrt().reshape(stats).to(out._dtype)


@composite(
    layout=layouts.row_major,
    name="nn.functional.rms_norm",
    aliases=("rms_norm",),
    samples=lambda make: [
        Sample(make(2, 3, 4), (4,)),
        Sample(make(3, 4), (4,), make(4), 0.5),
        Sample(make(2, 2, 3), (2, 3), make(2, 3)),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "Given normalized_shape", make(3, 4), (3,))],
)
def rms_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, eps: float | None = None
) -> Tensor:
    r""":math:`x / \sqrt{mean(x^2) + eps}\,w` over the last dims, which have ``normalized_shape``.

    ``eps`` is by default the dtype's machine epsilon.
    Source: Zhang and Sennrich, Root Mean Square Layer Normalization (2019), https://arxiv.org/abs/1910.07467
    """
    dims = tuple(range(-_normalized_dims("rms_norm", input, normalized_shape, weight, star="*"), 0))
    eps = dtypes.finfo(input._dtype).eps if eps is None else eps
    x = input.float() if input._dtype.itemsize == 2 else input
    y = x * ((x * x).mean(dims, keepdim=True) + eps).rsqrt()
    return (y if weight is None else y * weight).to(input._dtype)


# --- group norm ----------------------------------------------------------------------------------------------


@composite(
    name="nn.functional.group_norm",
    samples=lambda make: [
        Sample(make(2, 4, 3), 2),
        Sample(make(2, 4, 2, 1), 2, make(4), make(4), 0.5),
        Sample(make(3, 4), 1, make(4)),
        Sample(make(2, 4, 3), 4, None, make(4)),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "divisible by num_groups", make(2, 4, 3), 3),
        ErrorSample(RuntimeError, "Expected weight to be a vector", make(2, 4, 3), 2, make(3)),
        ErrorSample(RuntimeError, "Expected at least 2 dimensions", make(4), 2),
        ErrorSample(ValueError, "more than 1 value per channel", make(1, 2, 1), 2),
    ],
)
def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """:func:`layer_norm` of each of ``num_groups`` groups of channels: input (N, C, ...), weight and bias (C,).

    Source: Wu and He, Group Normalization (2018), https://arxiv.org/abs/1803.08494
    """
    require_tensors("group_norm", input=input)
    shape = input._shape
    if len(shape) < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {len(shape)}")
    n, c = shape[:2]
    if num_groups <= 0:
        raise RuntimeError(f"Expected num groups to be greater than 0, got {num_groups}")
    if c % num_groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape {list(shape)} "
            f"and num_groups={num_groups}"
        )
    for what, t in (("weight", weight), ("bias", bias)):
        if t is not None and t._shape != (c,):
            raise RuntimeError(
                f"Expected {what} to be a vector of size equal to the number of channels in input, but got {what} of "
                f"shape {list(t._shape)} and input of shape {list(shape)}"
            )
    _more_than_one_value((n * c // num_groups, num_groups, *shape[2:]))
    _check_parameters("GroupNormKernelImpl", input, weight, bias)
    form = (n, num_groups, c // num_groups, prod(shape[2:]))
    return _group_norm(input, weight, bias, form, (2, 3), (1, *form[1:3], 1), float(eps))[0]


@composite(
    method=False,
    samples=lambda make: [
        Sample(make(2, 4, 3), make(4), make(4), 2, 4, 3, 2, 1e-5),
        Sample(make(2, 4, 3), None, None, 2, 4, 3, 1, 1e-5),
    ],
)
def native_group_norm(
    input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int, eps: float
):
    """:func:`group_norm` of (N, C, HxW), with the means and reciprocal standard deviations (N, group)."""
    given = {"input": input, "weight": weight, "bias": bias}
    require_tensors("native_group_norm", **{name: x for name, x in given.items() if x is not None})
    form = (N, group, C // group, HxW)
    out, mean, var = _group_norm(input, weight, bias, form, (2, 3), (1, *form[1:3], 1), float(eps))
    return out, mean.reshape(N, group).to(out._dtype), (var + eps).rsqrt().reshape(N, group).to(out._dtype)


# --- batch norm, instance norm -------------------------------------------------------------------------------


def _more_than_one_value(shape) -> None:
    if shape[0] * prod(shape[2:]) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {shape}: the variance of one value "
            "is 0; use larger batches, or eval mode"
        )


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
def _batch_norm_inference(
    input: Tensor, weight: Tensor, bias: Tensor, running_mean: Tensor, running_var: Tensor, eps: float
):
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
            raise RuntimeError(
                f"{name} should contain {c} elements not {t.numel()}: the input has shape {list(input._shape)}"
            )
        if t is not None and t.dim() != 1 and name.startswith("running"):
            raise RuntimeError(f"TensorAccessor expected 1 dims but tensor has {t.dim()}: {name} has shape {list(t._shape)}")
    refuse("batch_norm", input, kinds=NOT_FLOATING)
    _check_parameters("batch_norm", input, *named.values())
    return tuple([t if t is None or t.dim() == 1 else t.reshape(-1) for t in (weight, bias)])


def _move(*moves: tuple) -> None:
    """Moves running statistics towards the batch's, in place and off the tape.

    Each is ``(running, value, momentum, factor)``: towards ``factor`` times ``value``, if ``running`` is given.
    """
    enabled = grad_mode.enabled
    grad_mode.enabled = enabled and False
    try:
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
    out, mean, var = _batch_norm(input, weight, bias, form, (0, 2), (1, c, 1), float(eps))
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
        Sample(
            make(2, 3, 2), make(3, requires_grad=False), make(3, low=0.5, high=2, requires_grad=False), make(3), make(3)
        ),
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

    >>> import flambeau as torch
    >>> torch.nn.functional.batch_norm(torch.tensor([[1.0], [3.0]]), None, None, training=True)
    tensor([[-1.0000],
            [ 1.0000]])

    Source: Ioffe and Szegedy, Batch Normalization (2015), https://arxiv.org/abs/1502.03167
    """
    require_tensors("batch_norm", input=input)
    if training:
        if input.dim() > 1:
            _more_than_one_value(input._shape)
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
    out, mean, var = _batch_norm(input, weight, bias, form, (2,), (1, c, 1), float(eps))
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
    """:func:`batch_norm`, with the mean and the reciprocal standard deviation of a training batch."""
    if not training:
        out = batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
        return out, input.new_empty(0), input.new_empty(0)
    weight, bias = _check_channels(input, running_mean, running_var, weight, bias)
    out, mean, var = _normalised_batch(input, running_mean, running_var, weight, bias, momentum, eps)
    mean, var = mean.view(-1), var.view(-1)
    return out, mean.to(out._dtype), (var + eps).rsqrt().to(out._dtype)


# --- local response --------------------------------------------------------------------------------------------------


@composite(
    name="nn.functional.local_response_norm",
    samples=lambda make: [Sample(make(2, 4, 3), 2), Sample(make(1, 4, 2, 2), 3, alpha=0.5, beta=0.5, k=2.0)],
    errors=lambda make: [ErrorSample(ValueError, "Expected 3D or higher dimensionality", make(3, 4), 2)],
)
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    r""":math:`x_c / (k + alpha \cdot mean(x_{c'}^2))^{beta}`, with the mean over ``size`` neighbouring channels.

    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks (2012)
    """
    if input.dim() < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality                          input (got {input.dim()} dimensions)"
        )
    if not input.numel():
        return input
    n, c = input._shape[:2]
    squares = (input * input).reshape(n, 1, c, prod(input._shape[2:]))
    squares = pad(squares, (0, 0, size // 2, (size - 1) // 2))
    means = avg_pool2d(squares, (size, 1), stride=1).reshape(input._shape)
    return input / (means * alpha + k) ** beta

"""What norms share, and those over groups of channels and over neighbouring channels.

Batch, layer, group and instance norm are one computation, :math:`(x - mean) / \\sqrt{var + eps}\\,w + b`, over different
elements. Each describes which with a ``form`` (the input's shape, reshaped), the ``axes`` of it that mean and variance
are taken over, and ``affine``, the shape in which weight and bias broadcast against it.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from flambeau.core import dtypes
from flambeau.ops import layouts
from flambeau.ops import normalization_kernels as kernels
from flambeau.ops.padding import pad
from flambeau.ops.pooling import avg_pool2d
from flambeau.ops.product_helpers import require_tensors
from flambeau.ops.record import ErrorSample, Sample, composite, op
from flambeau.ops.refusals import NOT_FLOATING, refuse

if TYPE_CHECKING:
    from flambeau.tensor.types import Tensor

# --- the computation -----------------------------------------------------------------------------------------


def _grad_of_norm(gs, needs, input, mean, var, weight, bias_shape, form, axes, affine, eps):
    grads: list[Any] = [None, None, None]
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
        grad: Any = 0 if gs[1] is None else gs[1] / n
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


layer_norm_of_rows = _norm_record("_layer_norm", "NativeLayerNormBackward0")
group_norm_of_channels = _norm_record("_group_norm", "NativeGroupNormBackward0", (layouts.channels_last, None, None))
batch_norm_of_channels = _norm_record("_batch_norm", "NativeBatchNormBackward0", (layouts.normalised, None, None))


def check_parameters(name: str, input, *parameters) -> None:
    """Parameters have the input's dtype, or float32 for an input in half precision."""
    refuse(name, input, kinds=NOT_FLOATING)
    for p in parameters:
        if p is not None and p._dtype is not input._dtype and not (input._dtype.itemsize == 2 and p._dtype is dtypes.float32):
            raise RuntimeError(
                f"mixed dtype (CPU): expect parameter to have scalar type of Float: the input is {input._dtype}, a parameter "
                f"{p._dtype}; all inputs must share same datatype"
            )


def require_more_than_one_value(shape) -> None:
    if shape[0] * prod(shape[2:]) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {shape}: the variance of one value "
            "is 0; use larger batches, or eval mode"
        )


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

    Raises ``RuntimeError`` for channels that ``num_groups`` does not divide.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.group_norm(torch.tensor([[1.0, 3.0, 10.0, 30.0]]), num_groups=2)
    tensor([[-1.0000,  1.0000, -1.0000,  1.0000]])

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
    require_more_than_one_value((n * c // num_groups, num_groups, *shape[2:]))
    check_parameters("GroupNormKernelImpl", input, weight, bias)
    form = (n, num_groups, c // num_groups, prod(shape[2:]))
    return group_norm_of_channels(input, weight, bias, form, (2, 3), (1, *form[1:3], 1), float(eps))[0]


@composite(
    method=False,
    samples=lambda make: [
        Sample(make(2, 4, 3), make(4), make(4), 2, 4, 3, 2, 1e-5),
        Sample(make(2, 4, 3), None, None, 2, 4, 3, 1, 1e-5),
    ],
)
def native_group_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, N: int, C: int, HxW: int, group: int, eps: float):
    """:func:`group_norm` of (N, C, HxW), with the means and reciprocal standard deviations (N, group).

    Raises ``RuntimeError`` where ``input`` has not ``N * C * HxW`` elements.

    >>> import flambeau as torch
    >>> torch.native_group_norm(torch.tensor([[[1.0, 3.0]]]), None, None, 1, 1, 2, 1, 1e-5)[1]
    tensor([[2.]])

    Source: PyTorch's operator ``aten::native_group_norm``.
    """
    given = {"input": input, "weight": weight, "bias": bias}
    require_tensors("native_group_norm", **{name: x for name, x in given.items() if x is not None})
    if input.numel() != N * C * HxW:
        raise RuntimeError(
            f"Expected X.numel() == N * C * HxW to be true, but got false: {input.numel()} elements for {N} x {C} x {HxW}"
        )
    form = (N, group, C // group, HxW)
    out, mean, var = group_norm_of_channels(input, weight, bias, form, (2, 3), (1, *form[1:3], 1), float(eps))
    return out, mean.reshape(N, group).to(out._dtype), (var + eps).rsqrt().reshape(N, group).to(out._dtype)


# --- local response --------------------------------------------------------------------------------------------------


@composite(
    name="nn.functional.local_response_norm",
    samples=lambda make: [Sample(make(2, 4, 3), 2), Sample(make(1, 4, 2, 2), 3, alpha=0.5, beta=0.5, k=2.0)],
    errors=lambda make: [ErrorSample(ValueError, "Expected 3D or higher dimensionality", make(3, 4), 2)],
)
def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    r""":math:`x_c / (k + alpha \cdot mean(x_{c'}^2))^{beta}`, with the mean over ``size`` neighbouring channels.

    Raises ``ValueError`` for fewer than 3 dims.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.local_response_norm(torch.ones(1, 2, 1), size=2, alpha=1.0).flatten()
    tensor([0.7378, 0.5946])

    Source: Krizhevsky et al., ImageNet Classification with Deep Convolutional Neural Networks (2012)
    """
    if input.dim() < 3:
        raise ValueError(f"Expected 3D or higher dimensionality                          input (got {input.dim()} dimensions)")
    if not input.numel():
        return input
    n, c = input._shape[:2]
    squares = (input * input).reshape(n, 1, c, prod(input._shape[2:]))
    squares = pad(squares, (0, 0, size // 2, (size - 1) // 2))
    means = avg_pool2d(squares, (size, 1), stride=1).reshape(input._shape)
    return input / (means * alpha + k) ** beta

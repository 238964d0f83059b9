"""The operators of ``torch.ops.aten`` that are gradients of others, and those whose gradients need their table.

What PyTorch's tape calls, and programs that write down what it does: ``threshold_backward``, ``native_layer_norm_backward``. Most
are what the tape gives for the function that they belong to.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flambeau
from flambeau.nn import functional
from flambeau.tensor import Tensor

F: Any = functional
_REDUCTIONS = ("none", "mean", "sum")


def _gradients(function: Callable, g: Tensor, *inputs: Tensor) -> tuple:
    """The gradients of ``function(*inputs)``; they are on the tape themselves where they would be in PyTorch."""
    create = flambeau.is_grad_enabled() and any(t.requires_grad for t in (g, *inputs))
    with flambeau.enable_grad():
        leaves = [x if create and x.requires_grad else x.detach().requires_grad_() for x in inputs]
        return flambeau.autograd.grad(function(*leaves), leaves, g, create_graph=create)


def _of_input(function: Callable) -> Callable:
    """``function(x, *settings)`` -> the operator ``(g, x, *settings)``."""
    return lambda g, x, *settings, **named: _gradients(lambda x: function(x, *settings, **named), g, x)[0]


def _of_loss(function: Callable, *names: str) -> Callable:
    """The operator ``(g, x, target, reduction, *settings)`` of a loss that has settings of these names."""

    def backward(g: Tensor, x: Tensor, target: Tensor, reduction: int, *settings: Any) -> Tensor:
        named = dict(zip(names, settings, strict=True))
        return _gradients(lambda x: function(x, target, reduction=_REDUCTIONS[reduction], **named), g, x)[0]

    return backward


def _asked(gradients: Callable) -> Callable:
    """An operator whose last argument says which of its results are wanted; the others are ``None``."""

    def backward(*args: Any) -> tuple:
        *args, mask = args  # type: ignore[assignment]
        return tuple(found if wanted else None for found, wanted in zip(gradients(*args), mask, strict=True))

    return backward


def _elu(g: Tensor, alpha: float, scale: float, input_scale: float, is_result: bool, x: Tensor) -> Tensor:
    below = input_scale * (x + alpha * scale) if is_result else input_scale * alpha * scale * (x * input_scale).exp()
    return g * below.where(x <= 0, x.new_full((), scale))


def _softmax(g: Tensor, out: Tensor, dim: int, dtype: Any) -> Tensor:
    return (g * out - out * (g * out).sum(dim, keepdim=True)).to(dtype)


def _log_softmax(g: Tensor, out: Tensor, dim: int, dtype: Any) -> Tensor:
    return (g - out.exp() * g.sum(dim, keepdim=True)).to(dtype)


def _binary_cross_entropy(g: Tensor, x: Tensor, target: Tensor, weight: Any = None, reduction: int = 1) -> Tensor:
    return _gradients(lambda x: F.binary_cross_entropy(x, target, weight, reduction=_REDUCTIONS[reduction]), g, x)[0]


def _nll_loss(g: Tensor, x: Tensor, target: Tensor, weight: Any, reduction: int, ignored: int, total: Tensor) -> Tensor:
    return _gradients(lambda x: F.nll_loss(x, target, weight, reduction=_REDUCTIONS[reduction], ignore_index=ignored), g, x)[0]


def _multi_margin(g: Tensor, x: Tensor, target: Tensor, p: float, margin: float, weight: Any = None, reduction: int = 1) -> Tensor:
    return _gradients(lambda x: F.multi_margin_loss(x, target, p, margin, weight, reduction=_REDUCTIONS[reduction]), g, x)[0]


def _multilabel_margin(g: Tensor, x: Tensor, target: Tensor, reduction: int, is_target: Tensor) -> Tensor:
    return _gradients(lambda x: F.multilabel_margin_loss(x, target, reduction=_REDUCTIONS[reduction]), g, x)[0]


def _normalised(g: Tensor, x: Tensor, mean: Tensor, scale: Tensor, dims: list[int], weight: Any) -> Tensor:
    """The gradient of a normalisation along ``dims``, by mean and scale as the forward pass has kept them."""
    if weight is not None:
        g = g * weight
    shape = [1 if d in dims else n for d, n in enumerate(x.shape)]
    mean, scale = mean.reshape(shape), scale.reshape(shape)
    unit = (x - mean) * scale
    return (scale * (g - g.mean(dims, keepdim=True) - unit * (g * unit).mean(dims, keepdim=True))).to(x.dtype)


@_asked
def _layer_norm(g: Tensor, x: Tensor, shape: list[int], mean: Tensor, scale: Tensor, weight: Any, bias: Any) -> tuple:
    lead = x.dim() - len(shape)
    dims, rows = list(range(lead, x.dim())), list(range(lead))
    unit = (x - mean) * scale
    of_weight, of_bias = (g * unit).sum(rows) if rows else g * unit, g.sum(rows) if rows else g
    return _normalised(g, x, mean, scale, dims, weight), of_weight.to(x.dtype), of_bias


@_asked
def _group_norm(g: Tensor, x: Tensor, mean: Tensor, scale: Tensor, weight: Any, n: int, c: int, hw: int, group: int) -> tuple:
    parts = (n, group, c // group, hw)
    unit = (x.reshape(parts) - mean.reshape(n, group, 1, 1)) * scale.reshape(n, group, 1, 1)
    of_input = _normalised(
        g.reshape(parts), x.reshape(parts), mean, scale, [2, 3], None if weight is None else weight.reshape(1, group, -1, 1)
    )
    of_weight = (g.reshape(parts) * unit).sum([0, 3]).reshape(c)
    return of_input.reshape(x.shape), of_weight.to(x.dtype), g.reshape(n, c, hw).sum([0, 2])


@_asked
def _batch_norm(
    g: Tensor, x: Tensor, weight: Any, running_mean: Any, running_var: Any, mean: Any, scale: Any, train: bool, eps: float
) -> tuple:
    dims, shape = [0, *range(2, x.dim())], [1, -1, *[1] * (x.dim() - 2)]
    if not train:
        mean, scale = running_mean, (running_var + eps).rsqrt()
    factor = None if weight is None else weight.reshape(shape)
    unit = (x - mean.reshape(shape)) * scale.reshape(shape)
    if train:
        of_input = _normalised(g, x, mean, scale, dims, factor)
    else:
        of_input = (g if factor is None else g * factor) * scale.reshape(shape)
    return of_input, (g * unit).sum(dims), g.sum(dims)


def _to_indices(dims: int) -> Callable:
    """The gradient of a pool that has kept where it found its maxima in each plane, its last argument."""

    def backward(g: Tensor, x: Tensor, *settings: Any) -> Tensor:
        indices = settings[-1]
        return flambeau.zeros_like(x).flatten(-dims).scatter_add(-1, indices.flatten(-dims), g.flatten(-dims)).reshape(x.shape)

    return backward


def _pool(function: Callable) -> Callable:
    """The operator ``(g, x, kernel, stride, ...)`` of an average pool, for which no stride is an empty list."""
    return _of_input(lambda x, kernel, stride, *rest: function(x, kernel, stride or None, *rest))


def upsampled(mode: str, dims: int, corners: bool, antialias: bool = False) -> Callable:
    """The operator that resizes images of so many dims; ``corners``: whether it has the argument ``align_corners``."""

    def run(x: Tensor, size: list[int] | None, *rest: Any) -> Tensor:
        align, scales = (bool(rest[0]), rest[1:]) if corners and rest else (None, rest)
        if len(scales) == 1 and isinstance(scales[0], list | tuple):
            scales = tuple(scales[0])
        settings = {"mode": mode, "align_corners": align, "antialias": antialias}
        if len(scales) == dims and None not in scales:
            return F.interpolate(x, scale_factor=tuple(scales), **settings)
        assert size is not None
        return F.interpolate(x, size=tuple(size), **settings)

    return run


def _upsampling(function: Callable) -> Callable:
    def backward(g: Tensor, size: list[int], input_size: list[int], *rest: Any) -> Tensor:
        return _gradients(lambda x: function(x, size, *rest), g, g.new_zeros(input_size))[0]

    return backward


def _padding(mode: str) -> Callable:
    return _of_input(lambda x, padding: F.pad(x, tuple(padding), mode))


@_asked
def _grid_sampler(g: Tensor, x: Tensor, grid: Tensor, mode: int, padding: int, corners: bool) -> tuple:
    settings = ("bilinear", "nearest", "bicubic")[mode], ("zeros", "border", "reflection")[padding], corners
    return _gradients(lambda x, grid: F.grid_sample(x, grid, *settings), g, x, grid)


@_asked
def _linear(x: Tensor, g: Tensor, weight: Tensor) -> tuple:
    rows = g.reshape(-1, g.shape[-1])
    return g @ weight, rows.mT @ x.reshape(-1, x.shape[-1]), rows.sum(0)


def _embedding(g: Tensor, indices: Tensor, rows: int, padding: int, by_frequency: bool, sparse: bool = False) -> Tensor:
    settings = {"padding_idx": padding if padding >= 0 else None, "scale_grad_by_freq": by_frequency, "sparse": sparse}
    return _gradients(lambda w: F.embedding(indices, w, **settings), g, g.new_zeros(rows, g.shape[-1]))[0]


def _of_part(part: Callable) -> Callable:
    """The operator ``(g, sizes, ...)``: zeros of these sizes, with `g` where ``part`` looks."""

    def backward(g: Tensor, sizes: list[int], *where: Any) -> Tensor:
        return _gradients(lambda x: part(x, *where), g, g.new_zeros(sizes))[0]

    return backward


def _cdist(g: Tensor, a: Tensor, b: Tensor, p: float, out: Tensor) -> Tensor:
    a = a.expand(*out.shape[:-2], *a.shape[-2:])  # not summed over what is broadcast
    return _gradients(lambda a: flambeau.cdist(a, b, p), g, a)[0]


def _sliced(x: Tensor, dim: int, start: int, end: int, step: int) -> Tensor:
    return x[(slice(None),) * (dim % x.dim()) + (slice(start, end, step),)]


def _selected(g: Tensor, dim: int, indices: Tensor, sizes: list[int], keepdim: bool) -> Tensor:
    """The gradient of ``max(dim)`` and its like."""
    if sizes and not keepdim:
        g, indices = g.unsqueeze(dim), indices.unsqueeze(dim)
    return g.new_zeros(sizes).scatter(dim, indices, g)


UPSAMPLING: dict[str, Callable] = {
    "upsample_linear1d": upsampled("linear", 1, True), "upsample_bilinear2d": upsampled("bilinear", 2, True),
    "upsample_bicubic2d": upsampled("bicubic", 2, True), "upsample_trilinear3d": upsampled("trilinear", 3, True),
    "upsample_nearest1d": upsampled("nearest", 1, False), "upsample_nearest2d": upsampled("nearest", 2, False),
    "upsample_nearest3d": upsampled("nearest", 3, False), "_upsample_nearest_exact1d": upsampled("nearest-exact", 1, False),
    "_upsample_nearest_exact2d": upsampled("nearest-exact", 2, False), "_upsample_nearest_exact3d": upsampled("nearest-exact", 3, False),
    "_upsample_bilinear2d_aa": upsampled("bilinear", 2, True, antialias=True), "_upsample_bicubic2d_aa": upsampled("bicubic", 2, True, antialias=True),
}  # fmt: skip
"""The operators that resize."""

BACKWARD: dict[str, Callable] = {
    "threshold_backward": lambda g, x, t: g.masked_fill(x <= t, 0),
    "leaky_relu_backward": lambda g, x, slope, is_result: g.where(x > 0, g * slope),
    "elu_backward": _elu, "gelu_backward": _of_input(F.gelu), "silu_backward": _of_input(F.silu), "mish_backward": _of_input(F.mish),
    "hardswish_backward": _of_input(F.hardswish), "hardsigmoid_backward": _of_input(F.hardsigmoid), "hardtanh_backward": _of_input(F.hardtanh),
    "hardshrink_backward": _of_input(F.hardshrink), "softshrink_backward": _of_input(F.softshrink), "softplus_backward": _of_input(F.softplus),
    "logit_backward": _of_input(lambda x, eps=None: flambeau.logit(x, eps)), "log_sigmoid_backward": _of_input(lambda x, buffer: F.logsigmoid(x)),
    "glu_backward": _of_input(F.glu), "sigmoid_backward": lambda g, out: g * (1 - out) * out, "tanh_backward": lambda g, out: g * (1 - out * out),
    "_prelu_kernel_backward": lambda g, x, w: (g.where(x > 0, w * g), (x * g).masked_fill(x > 0, 0)),
    "_softmax_backward_data": _softmax, "_log_softmax_backward_data": _log_softmax,
    "mse_loss_backward": _of_loss(F.mse_loss), "soft_margin_loss_backward": _of_loss(F.soft_margin_loss),
    "smooth_l1_loss_backward": _of_loss(F.smooth_l1_loss, "beta"), "huber_loss_backward": _of_loss(F.huber_loss, "delta"),
    "binary_cross_entropy_backward": _binary_cross_entropy, "nll_loss_backward": _nll_loss, "nll_loss2d_backward": _nll_loss,
    "multi_margin_loss_backward": _multi_margin, "multilabel_margin_loss_backward": _multilabel_margin,
    "native_layer_norm_backward": _layer_norm, "native_group_norm_backward": _group_norm, "native_batch_norm_backward": _batch_norm,
    "native_dropout_backward": lambda g, mask, scale: g * mask * scale,
    "avg_pool2d_backward": _pool(F.avg_pool2d), "avg_pool3d_backward": _pool(F.avg_pool3d),
    "_adaptive_avg_pool2d_backward": lambda g, x: _gradients(lambda x: F.adaptive_avg_pool2d(x, g.shape[-2:]), g, x)[0],
    "_adaptive_avg_pool3d_backward": lambda g, x: _gradients(lambda x: F.adaptive_avg_pool3d(x, g.shape[-3:]), g, x)[0],
    "max_pool2d_with_indices_backward": _to_indices(2), "max_pool3d_with_indices_backward": _to_indices(3),
    "adaptive_max_pool2d_backward": _to_indices(2), "adaptive_max_pool3d_backward": _to_indices(3),
    "fractional_max_pool2d_backward": _to_indices(2), "fractional_max_pool3d_backward": _to_indices(3),
    **{f"{name}_backward": _upsampling(function) for name, function in UPSAMPLING.items()},
    **{f"{mode}ion_pad{n}d_backward": _padding(mode if mode == "reflect" else "replicate") for mode in ("reflect", "replicat") for n in (1, 2, 3)},
    "grid_sampler_2d_backward": _grid_sampler, "grid_sampler_3d_backward": _grid_sampler, "linear_backward": _linear,
    "embedding_backward": _embedding, "embedding_dense_backward": _embedding,
    "select_backward": _of_part(lambda x, dim, index: x.select(dim, index)), "slice_backward": _of_part(_sliced),
    "diagonal_backward": _of_part(lambda x, *where: x.diagonal(*where)), "unfold_backward": _of_part(lambda x, *where: x.unfold(*where)),
    "trace_backward": _of_part(lambda x: x.trace()), "index_select_backward": _of_part(lambda x, dim, index: x.index_select(dim, index)),
    "masked_select_backward": _of_input(lambda x, mask: x.masked_select(mask)), "gather_backward": _of_input(lambda x, dim, index, sparse: x.gather(dim, index)),
    "value_selecting_reduction_backward": _selected, "_cdist_backward": _cdist,
}  # fmt: skip
"""The operators that are gradients of others."""

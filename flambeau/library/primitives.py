"""What flambeau's own primitives, which PyTorch does not have under these names, are in ATen's operators."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from flambeau.library import operators
from flambeau.library.dispatching import matmul
from flambeau.tensor import Tensor

__all__ = ["in_aten"]

A: Any = operators.ops.namespace("aten")
_CODES = ("none", "mean", "sum")


def _named(name: str, overload: str = "default") -> Callable:
    return lambda *args: getattr(getattr(A, name), overload)(*args)


def _loss(name: str) -> Callable:
    return lambda input, target, reduction, *rest: getattr(A, name).default(input, target, _CODES.index(reduction), *rest)


def _slope(name: str) -> Callable:
    """The derivative of an elementwise function, by the operator of its backward pass."""
    return lambda input: getattr(A, name).default(A.ones_like.default(input), input)


def _divided(input: Any, other: Any) -> Any:
    return A.div.Tensor(input, other) if isinstance(input, Tensor) else A.mul.Tensor(A.reciprocal.default(other), input)


def _nll_loss(input: Tensor, target: Tensor, weight: Any, ignore_index: int, reduction: str) -> Any:
    return A.nll_loss_forward.default(input, target, weight, _CODES.index(reduction), ignore_index)[0]


def _nll_loss_grad(grad: Tensor, target: Tensor, weight: Any, shape: Any, ignore_index: int, reduction: str) -> Any:
    code, zeros = _CODES.index(reduction), A.new_zeros.default(grad, list(shape))
    total = A.nll_loss_forward.default(zeros, target, weight, code, ignore_index)[1]
    return A.nll_loss_backward.default(grad, zeros, target, weight, code, ignore_index, total)


def _first_of(name: str) -> Callable:
    return lambda input, *args: getattr(A, name).default(input, *args)[0]


def _normalized_shape(input: Tensor, n: int) -> list[int]:
    """The last dims, of ``n`` elements."""
    dims = next(k for k in range(1, input.dim() + 1) if prod(input.shape[-k:]) == n)
    return list(input.shape[-dims:])


def _layer_norm(input: Tensor, weight: Any, bias: Any, form: Any, axes: Any, affine: Any, eps: float) -> Any:
    out, mean, scale = A.native_layer_norm.default(input, _normalized_shape(input, form[1]), weight, bias, eps)
    variance = A.sub.Tensor(A.pow.Tensor_Scalar(scale, -2), eps)
    return out, *[A.view.default(x, [form[0], 1]) for x in (mean, variance)]


def _normalization_grad(
    grad: Tensor, input: Tensor, mean: Tensor, var: Tensor, weight: Any, form: Any, axes: Any, affine: Any, eps: float, needs: Any
) -> Any:
    if tuple(axes) != (1,) or len(form) != 2:
        return NotImplemented  # of a group or a batch
    shape = _normalized_shape(input, form[1])
    stats = [*input.shape[: -len(shape)], *[1] * len(shape)]
    scale = A.rsqrt.default(A.add.Tensor(var, eps))
    mask = [needs[0], needs[1] and weight is not None, needs[2]]
    mean, scale = A.view.default(mean, stats), A.view.default(scale, stats)
    of_input, of_weight, of_bias = A.native_layer_norm_backward.default(grad, input, shape, mean, scale, weight, weight, mask)
    return of_input, *[x if x is None else A.view.default(x, list(affine)) for x in (of_weight, of_bias)]


_IN_ATEN: dict[str, Callable] = {
    **{f"_{name}": _named(name) for name in ("silu", "mish", "hardswish", "hardsigmoid", "leaky_relu", "hardtanh", "elu")},
    **{f"_{name}": _loss(name) for name in ("mse_loss", "soft_margin_loss", "smooth_l1_loss", "huber_loss")},
    "_binary_cross_entropy": lambda input, target, weight, reduction: A.binary_cross_entropy.default(input, target, weight, _CODES.index(reduction)),
    "_binary_cross_entropy_with_logits": lambda input, target, weight, pos_weight, reduction: A.binary_cross_entropy_with_logits.default(
        input, target, weight, pos_weight, _CODES.index(reduction)
    ),
    "_nll_loss": _nll_loss, "_nll_loss2d": _nll_loss, "_nll_loss_grad": _nll_loss_grad,
    "_silu_slope": _slope("silu_backward"), "_mish_slope": _slope("mish_backward"),
    "_gelu_slope": lambda input, tanh: A.gelu_backward.default(A.ones_like.default(input), input, approximate="tanh" if tanh else "none"),
    "true_divide": _divided, "aten.max_all": _named("max"), "aten.min_all": _named("min"), "aten.median_all": _named("median"),
    "aten.matmul": matmul, "_alias": _named("alias"), "_where": _named("where", "self"), "_nonzero": _named("nonzero"),
    "_index_put": lambda input, indices, values, accumulate: A.index_put.default(input, list(indices), values, accumulate),
    "_copy": lambda input, src: A.copy.default(input, src), "_neg_view": _named("neg"), "_conj": _named("conj_physical"),
    "_layer_norm": _layer_norm, "_normalization_grad": _normalization_grad,
    "_strided_scatter": lambda g_in, size, strides, offset: A.as_strided_scatter.default(A.new_zeros.default(g_in, list(size)), g_in, list(g_in.shape), list(strides), offset),
    "linalg.inv": _first_of("linalg_inv_ex"), "linalg.det": lambda A_: A._linalg_det.default(A_)[0],
    "nn.functional.logsigmoid": _first_of("log_sigmoid_forward"), "_polygamma": lambda input, n: A.polygamma.default(n, input),
    "_adaptive_avg_pool2d": lambda input, outputs: A._adaptive_avg_pool2d.default(input, list(outputs)),
    "_embedding": lambda weight, indices, padding_idx, scale_grad_by_freq, *in_bags: A.embedding.default(weight, indices, padding_idx, scale_grad_by_freq),
    "_embedding_grad": lambda grad, indices, rows, padding_idx: A.embedding_dense_backward.default(grad, indices, rows, padding_idx, False),
}  # fmt: skip


def in_aten(name: str, args: tuple, kwargs: dict[str, Any]) -> Any:
    """A call of the primitive ``name``, by operators; ``NotImplemented`` where there are none for it."""
    kernel = _IN_ATEN.get(name)
    return NotImplemented if kernel is None or kwargs else kernel(*args)

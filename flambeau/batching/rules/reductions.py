"""Reductions, over some of a sample's dims or all of them."""

from __future__ import annotations

from typing import Any

from flambeau import ops
from flambeau.batching.rules.families import Call, along, rule
from flambeau.tensor.tensor import Tensor


@rule(
    "sum", "nansum", "mean", "count_nonzero", "amax", "amin", "var", "std", "_var_mean", "_std_mean", "linalg.vector_norm", "all",
    "any",
)  # fmt: skip
def over_dims(call: Call) -> Any:
    dim = call.dim
    if dim is True or dim is False:  # var(unbiased) rather than var(dim)
        call.arguments["unbiased"], dim = dim, None
    if dim is None or dim == () or dim == []:
        call.arguments["dim"] = tuple(range(_first(call).dim() or 1))
    return along(call, "dim")


def _first(call: Call) -> Tensor:
    return next(x for x in call.arguments.values() if isinstance(x, Tensor))


@rule("prod", "argmax", "argmin", "aminmax")
def over_one_dim(call: Call) -> Any:
    """Along one dim, or all elements as if they were in one."""
    if call.dim is not None:
        return along(call, "dim")
    x = call.input
    results = call(input=x._value.reshape(call.level.size, x.numel()), dim=1)
    if call.arguments.get("keepdim"):
        shape = (call.level.size, *(1,) * x.dim())
        results = results.view(shape) if isinstance(results, Tensor) else results.__class__([r.view(shape) for r in results])
    return call.level.wrap(results)


@rule("aten.max_all", "aten.min_all")
def extreme(call: Call) -> Any:
    x = call.input
    reduce = ops.amax if "max" in call.function.op.name else ops.amin
    return call.level.wrap(reduce(x._value.reshape(call.level.size, x.numel()), 1))


@rule("aten.median_all", "aten.nanmedian_all")
def median(call: Call) -> Any:
    x = call.input
    reduce = ops.nanmedian if "nan" in call.function.op.name else ops.median
    return call.level.wrap(reduce(x._value.reshape(call.level.size, x.numel()), 1)[0])


@rule("roll")
def roll(call: Call) -> Any:
    x, dims = call.input, call.dims
    if dims is None or dims == ():
        flat = x._value.reshape(call.level.size, x.numel())
        return call.level.wrap(call(input=flat, dims=1).view(x._value.shape))
    return along(call, "dims")


@rule(
    "_mse_loss", "_smooth_l1_loss", "_huber_loss", "_binary_cross_entropy", "_binary_cross_entropy_with_logits", "_soft_margin_loss"
)
def loss(call: Call) -> Any:
    """Elementwise losses: those of all elements, which are then summed or averaged for each sample."""
    level = call.level
    tensors = {k: x for k, x in call.arguments.items() if isinstance(x, Tensor)}
    n = max([x.dim() for x in tensors.values()])
    every = {k: level.aligned(x, n) for k, x in tensors.items()}
    shape = ops.broadcast_tensors(*every.values())[0].shape
    found = call(**{k: v.expand(shape) for k, v in every.items()}, reduction="none")
    return level.wrap(reduced(found, call.reduction))


def reduced(values: Tensor, reduction: str) -> Tensor:
    """The sum, or the mean, of each sample's values."""
    dims = tuple(range(1, values.dim()))
    if reduction == "none" or not dims:
        return values
    return values.sum(dims) if reduction == "sum" else values.mean(dims)

"""What losses share: ``reduction``, kernels that reduce, operands that broadcast.

Every loss has ``reduction``: ``"mean"`` (one number, the default), ``"sum"`` (one number) or ``"none"`` (one for each
element or sample). ``size_average`` and ``reduce`` are PyTorch's older way of saying it.
"""

from __future__ import annotations

from math import prod

from flambeau.core import dtypes
from flambeau.core.dtypes import promote_types, scalar_name
from flambeau.core.errors import warn
from flambeau.core.size import broadcast_shapes
from flambeau.ops.product_helpers import require_tensors
from flambeau.ops.record import ErrorSample, Sample

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


def paired(kernel: str, reduction: str, input, target, *others, **settings):
    """What a record of a loss of operands that broadcast gives: the shape after the reduction, their common dtype, the operands in
    it."""
    operands = (input, target, *others)
    dtype = input._dtype
    for x in operands:
        if x is not None:
            dtype = promote_types(dtype, x._dtype)
    if dtype.kind != dtypes.FLOATING:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{scalar_name(dtype)}': the loss needs floating-point tensors")
    shape = broadcast_shapes(*[x._shape for x in operands if x is not None])
    inputs = tuple([x if x is None or x._dtype is dtype else x.to(dtype) for x in operands])
    return shape if reduction == "none" else (), dtype, inputs, {"reduction": reduction, **settings}


def warn_of_sizes(name: str, input, target) -> None:
    """Warns of a target that broadcasts: most often a missing or an extra dimension."""
    require_tensors(name, input=input, target=target)
    if input._shape != target._shape:
        warn(
            f"Using a target size ({target._shape}) that is different to the input size ({input._shape}). "
            "This will likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
        )


def weighted(loss, weight, input, reduction: str):
    if weight._shape != input._shape:
        raise ValueError(
            f"Weights and input must have the same size. Got weight of size {weight._shape}, input of size {input._shape}"
        )
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else reduced(loss, reduction)


def pairs(make) -> list[Sample]:
    return [
        Sample(make(3, 4), make(3, 4)),
        Sample(make(4, 3).t(), make(3, 4), reduction="sum"),
        Sample(make(3, 4), make(3, 4), reduction="none"),
        Sample(make(), make()),
        Sample(make(0, 2), make(0, 2), reduction="sum"),
    ]


def wrong_reduction(make) -> list[ErrorSample]:
    return [ErrorSample(ValueError, "is not a valid value for reduction", make(3), make(3), reduction="max")]

"""Ranking and embedding losses: hinges on scores, similarities and distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flambeau.core.size import broadcast_shapes
from flambeau.ops import (
    layouts,
    loss_ctc,  # noqa: F401  (the loss that is left)
)
from flambeau.ops.distance import pairwise_distance
from flambeau.ops.loss_reductions import checked_reduction, paired, per_element, reduced, reducing
from flambeau.ops.record import ErrorSample, Sample, composite, op

if TYPE_CHECKING:
    from collections.abc import Callable

    from flambeau.tensor.types import Tensor


def _signs(make, *shape):
    """Targets of 1 and -1."""
    return (make(*shape, requires_grad=False) > 0).double() * 2 - 1


@composite(
    name="nn.functional.margin_ranking_loss",
    samples=lambda make: [
        Sample(make(3, 4), make(3, 4), _signs(make, 3, 4), margin=2.5),
        Sample(make(3), make(3), _signs(make, 3), margin=2.5, reduction="none"),
        Sample(make(3), make(3), _signs(make, 3), margin=-2.5, reduction="sum"),
    ],
    errors=lambda make: [ErrorSample(RuntimeError, "margin_ranking_loss", make(3, 4), make(3, 4), make(3))],
)
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r""":math:`\max(0, -t (x_1 - x_2) + margin)`: targets of 1 ask for :math:`x_1 > x_2`, targets of -1 for the reverse.

    Raises ``RuntimeError`` for tensors of different numbers of dims.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.margin_ranking_loss(torch.tensor([1.0]), torch.tensor([3.0]), torch.tensor([1.0]))
    tensor(2.)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.margin_ranking_loss.html
    """
    reduction = checked_reduction(reduction, size_average, reduce)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1._shape}, input2: {input2._shape}, target: {target._shape} "
        )
    return reduced((-target * (input1 - input2) + margin).clamp(min=0), reduction)


@composite(
    layout=layouts.as_inputs,
    name="nn.functional.hinge_embedding_loss",
    samples=lambda make: [
        Sample(make(3, 4), _signs(make, 3, 4), margin=3.0),
        Sample(make(3, 4), _signs(make, 4), margin=3.0, reduction="none"),
    ],
)
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r""":math:`x` where the target is 1, :math:`\max(0, margin - x)` where it is -1.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.hinge_embedding_loss(torch.tensor([0.3, 0.3]), torch.tensor([1.0, -1.0]), reduction="none")
    tensor([0.3000, 0.7000])

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.hinge_embedding_loss.html
    """
    reduction = checked_reduction(reduction, size_average, reduce)
    apart = (margin - input).clamp(min=0).masked_fill(target == 1, 0)
    return reduced((apart + input.masked_fill(target == -1, 0)).to(input.dtype), reduction)


@composite(
    name="nn.functional.cosine_embedding_loss",
    samples=lambda make: [
        Sample(make(3, 4), make(3, 4), _signs(make, 3), margin=-0.99),
        Sample(make(4), make(4), _signs(make), margin=-0.99),
        Sample(make(3, 4), make(1, 4), _signs(make, 3), margin=-0.99, reduction="none"),
    ],
    errors=lambda make: [
        ErrorSample(RuntimeError, "multi-target not supported", make(3, 4), make(3, 4), make(3, 4)),
        ErrorSample(RuntimeError, "1D target tensor expects 2D input tensors", make(4), make(4), make(3)),
        ErrorSample(RuntimeError, "0D target tensor expects 1D input tensors", make(3, 4), make(3, 4), make()),
    ],
)
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r""":math:`1 - \cos(x_1, x_2)` where the target is 1, :math:`\max(0, \cos(x_1, x_2) - margin)` where it is -1.

    ``input1`` and ``input2`` (N, D) and ``target`` (N,); or (D,) and ().

    Raises ``RuntimeError`` for targets that have not one dim less than the inputs.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> a, b = torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0])
    >>> F.cosine_embedding_loss(a, b, torch.tensor(1))
    tensor(0.2929)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.cosine_embedding_loss.html
    """
    reduction = checked_reduction(reduction, size_average, reduce)
    if target.dim() > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if not input1.dim() == input2.dim() == target.dim() + 1:
        raise RuntimeError(
            f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but found inputs with sizes "
            f"{list(input1._shape)} and {list(input2._shape)}."
        )
    epsilon = 1e-12
    dot = (input1 * input2).sum(-1)
    squares = ((input1 * input1).sum(-1) + epsilon) * ((input2 * input2).sum(-1) + epsilon)
    cosine = dot / squares.sqrt()
    alike = (1 - cosine).masked_fill(target != 1, 0)
    apart = (cosine - margin).clamp(min=0).masked_fill(target != -1, 0)
    return reduced(alike + apart, reduction)


def _hinge_of_triplet(anchor, positive, negative, distance, margin, swap, reduction):
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = far.minimum(distance(positive, negative))
    return reduced((margin + near - far).clamp(min=0), reduction)


def _check_triplet(anchor, positive, negative, margin) -> None:
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    a, p, n = anchor.dim(), positive.dim(), negative.dim()
    if not a == p == n:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {a}D, positive {p}D, and negative {n}D inputs"
        )


@composite(
    name="nn.functional.triplet_margin_loss",
    samples=lambda make: [
        Sample(make(3, 4), make(3, 4), make(3, 4), margin=9.0),
        Sample(make(3, 4), make(3, 4), make(1, 4), margin=9.0, swap=True, reduction="none"),
        Sample(make(4), make(4), make(4), margin=9.0, p=3),
    ],
    errors=lambda make: [
        ErrorSample(ValueError, "margin must be greater than 0", make(3, 4), make(3, 4), make(3, 4), margin=-1.0),
        ErrorSample(RuntimeError, "same number of dimensions", make(3, 4), make(3, 4), make(4)),
    ],
)
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r""":math:`\max(0, margin + d(a, p) - d(a, n))` with the p-norm distance along the last dim.

    ``swap``: uses :math:`d(p, n)` where that is less than :math:`d(a, n)`.

    Raises ``RuntimeError`` for tensors of different numbers of dims, ``ValueError`` for a margin that is not positive.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> anchor, near, far = torch.tensor([[0.0]]), torch.tensor([[1.0]]), torch.tensor([[1.5]])
    >>> F.triplet_margin_loss(anchor, near, far)
    tensor(0.5000)

    Source: Balntas et al., Learning local feature descriptors with triplets and shallow convolutional neural networks.
    """
    reduction = checked_reduction(reduction, size_average, reduce)
    _check_triplet(anchor, positive, negative, margin)
    return _hinge_of_triplet(anchor, positive, negative, lambda x, y: pairwise_distance(x, y, p, eps), margin, swap, reduction)


@composite(
    name="nn.functional.triplet_margin_with_distance_loss",
    samples=lambda make: [
        Sample(make(3, 4), make(3, 4), make(3, 4), margin=9.0),
        Sample(make(3, 4), make(3, 4), make(3, 4), margin=9.0, distance_function=lambda x, y: (x - y).square().sum(-1)),
    ],
)
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """:func:`triplet_margin_loss` with a distance of one's own (by default :func:`pairwise_distance`).

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> anchor, near, far = torch.tensor([[0.0]]), torch.tensor([[1.0]]), torch.tensor([[1.5]])
    >>> F.triplet_margin_with_distance_loss(anchor, near, far, distance_function=lambda a, b: (a - b).abs().sum(-1))
    tensor(0.5000)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.triplet_margin_with_distance_loss.html
    """
    reduction = checked_reduction(reduction)
    _check_triplet(anchor, positive, negative, margin)
    distance = distance_function or pairwise_distance
    return _hinge_of_triplet(anchor, positive, negative, distance, margin, swap, reduction)


def _grad_of_soft_margin(g, reduction, input, target):
    z = (-target * input).exp()
    return -target * z / (z + 1) * per_element(g, reduction, z)


@op(
    layout=layouts.as_inputs,
    name="_soft_margin_loss",
    tensors="input target",
    kernel=reducing(lambda x, y: np.log1p(np.exp(-y * x))),
    grad={"input": _grad_of_soft_margin},
    method=False,
    backward_name="SoftMarginLossBackward0",
)
def _soft_margin_loss(input: Tensor, target: Tensor, reduction: str):
    """:func:`soft_margin_loss` after the checks."""
    return paired("soft_margin_loss", reduction, input, target)


@composite(
    name="nn.functional.soft_margin_loss",
    samples=lambda make: [
        *[Sample(make(3, 4), _signs(make, 3, 4), reduction=r) for r in ("none", "mean", "sum")],
        Sample(make(3, 4), _signs(make, 4)),
    ],
)
def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    r"""Logistic loss :math:`\log(1 + e^{-t x})` for targets of 1 and -1.

    Raises ``RuntimeError`` for targets that do not broadcast to the input's shape.

    >>> import flambeau as torch
    >>> from flambeau.nn import functional as F
    >>> F.soft_margin_loss(torch.tensor([0.0, 100.0]), torch.tensor([1.0, 1.0]))
    tensor(0.3466)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.soft_margin_loss.html
    """
    broadcast = broadcast_shapes(input.shape, target.shape)
    if broadcast != input.shape:
        raise RuntimeError(f"output with shape {list(input.shape)} doesn't match the broadcast shape {list(broadcast)}")
    return _soft_margin_loss(input, target, checked_reduction(reduction, size_average, reduce))

"""Cross entropy of a linear layer's output, with the layer inside."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from flambeau.nn import functional as F
from flambeau.nn.modules._losses import _WeightedLoss
from flambeau.nn.modules.linear import Linear
from flambeau.tensor import Tensor

__all__ = ["LinearCrossEntropyLoss", "LinearCrossEntropyOptions"]


@dataclasses.dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How PyTorch computes :func:`nn.functional.linear_cross_entropy` in pieces. Here it is computed as a whole: nothing is chosen
    by them.

    >>> import flambeau as torch
    >>> torch.nn.LinearCrossEntropyOptions(batch_chunk_size=128).chunking_method
    'auto'

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.linear_cross_entropy.html
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: Any = None


class LinearCrossEntropyLoss(_WeightedLoss):
    """``CrossEntropyLoss`` of x W^T + b: input (N, in_features) or (in_features) and a target.

    With ``out_features`` the scores of one sample are (num_classes, *out_features). ``options`` is
    kept for PyTorch's signature: it chooses how the same number is computed.

    >>> import flambeau as torch
    >>> loss = torch.nn.LinearCrossEntropyLoss(4, 5)
    >>> loss(torch.zeros(3, 4), torch.tensor([0, 1, 4]))
    tensor(1.6094, grad_fn=<NllLossBackward0>)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.nn.LinearCrossEntropyLoss.html
    """

    __constants__ = ["num_classes", "out_features", "reduction", "ignore_index", "label_smoothing"]

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: Sequence[int] = (),
        bias: bool = False,
        device: Any = None,
        dtype: Any = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
    ) -> None:
        super().__init__(weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = tuple(out_features)
        rows = num_classes * math.prod(self.out_features)
        self.linear = Linear(in_features, rows, bias=bias, device=device, dtype=dtype)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        scores = self.linear(input)
        scores = scores.reshape(*scores.shape[:-1], self.num_classes, *self.out_features)
        return F.cross_entropy(
            scores,
            target,
            weight=self.weight,
            ignore_index=-100 if self.ignore_index is None else self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, "
            f"out_features={self.out_features}, bias={self.linear.bias is not None}, "
            f"reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )

"""Rules of losses."""

from __future__ import annotations

from typing import Any

import flambeau as torch
from flambeau.nn import functional as F
from flambeau.onnx.importing.registry import rule

Tensor = torch.Tensor

_NO_CLASS = -(10**9)


@rule("NegativeLogLikelihoodLoss")
def negative_log_likelihood(
    x: Tensor, target: Tensor, weight: Tensor | None = None, *, ignore_index: int = _NO_CLASS, reduction: str = "mean"
) -> Tensor:
    return F.nll_loss(x, target.to(torch.int64), weight, ignore_index=ignore_index, reduction=reduction)


@rule("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy(
    scores: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    *,
    ignore_index: int = _NO_CLASS,
    reduction: str = "mean",
    outputs: int,
) -> Any:
    chances = F.log_softmax(scores, 1)
    loss = negative_log_likelihood(chances, target, weight, ignore_index=ignore_index, reduction=reduction)
    return loss if outputs == 1 else (loss, chances)

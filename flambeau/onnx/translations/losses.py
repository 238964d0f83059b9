"""Losses: operators of PyTorch's as ONNX's.

Source: https://onnx.ai/onnx/operators/ (opset 18)
"""

from __future__ import annotations

from typing import Any

from flambeau.onnx.translations.registry import translates


@translates("_nll_loss", "_nll_loss2d")
def _nll_loss(w: Any, x: Any, target: Any, weight: Any, ignore_index: int, reduction: str) -> Any:
    rows = x if len(x.shape) > 1 else w.op("Unsqueeze", x, w.ints([0]))
    classes = target if len(x.shape) > 1 else w.op("Unsqueeze", target, w.ints([0]))
    given = [rows, classes] if weight is None else [rows, classes, weight]
    out = w.op("NegativeLogLikelihoodLoss", *given, ignore_index=ignore_index, reduction=reduction)
    return out if len(x.shape) > 1 or reduction != "none" else w.op("Squeeze", out, w.ints([0]))


def _reduced(w: Any, x: Any, reduction: str) -> Any:
    return x if reduction == "none" else w.op("ReduceMean" if reduction == "mean" else "ReduceSum", x, keepdims=0)


@translates("_mse_loss")
def _mse_loss(w: Any, x: Any, y: Any, reduction: str) -> Any:
    change = w.op("Sub", *w.alike(x, y))
    return _reduced(w, w.op("Mul", change, change), reduction)


@translates("_smooth_l1_loss", "_huber_loss")
def _smooth_loss(w: Any, x: Any, y: Any, reduction: str, width: float) -> Any:
    """A square within ``width`` of 0 and a line beyond; Huber's is ``width`` times as large."""
    change = w.op("Abs", w.op("Sub", *w.alike(x, y)))
    if not width:
        return _reduced(w, change, reduction)
    half, bound = w.number(0.5, change), w.number(width, change)
    square = w.op("Mul", half, w.op("Mul", change, change))
    line = w.op("Sub", change, w.op("Mul", half, bound))
    if w.name == "_smooth_l1_loss":
        square = w.op("Div", square, bound)
    else:
        line = w.op("Mul", line, bound)
    return _reduced(w, w.op("Where", w.op("Less", change, bound), square, line), reduction)


@translates("_binary_cross_entropy_with_logits")
def _binary_cross_entropy_with_logits(w: Any, x: Any, target: Any, weight: Any, positive: Any, reduction: str) -> Any:
    if positive is not None:
        w.refuse("binary_cross_entropy_with_logits with pos_weight")
    loss = w.op("Sub", w.op("Softplus", x), w.op("Mul", x, target))
    return _reduced(w, loss if weight is None else w.op("Mul", loss, weight), reduction)

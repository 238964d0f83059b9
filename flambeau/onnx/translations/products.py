"""Products of matrices, convolutions and attention: operators of PyTorch's as ONNX's.

Source: https://onnx.ai/onnx/operators/ (opset 18)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from flambeau.onnx.sizes import Size
from flambeau.onnx.translations.registry import translates


@translates("matmul", "mm", "bmm", "mv", "dot")
def _matmul(w: Any, a: Any, b: Any) -> Any:
    return w.op("MatMul", a, b)


@translates("addmv")
def _addmv(w: Any, x: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Any:
    scaled = [y if s == 1 else w.op("Mul", y, w.number(s, x)) for y, s in ((x, beta), (w.op("MatMul", a, b), alpha))]
    return w.op("Add", *scaled)


@translates("linear")
def _linear(w: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    if len(x.shape) == 2 and bias is not None:
        return w.op("Gemm", x, weight, bias, transB=1)
    if len(weight.shape) == 1:
        return w.op("MatMul", x, weight)
    out = w.op("MatMul", x, w.op("Transpose", weight, perm=[1, 0]))
    return out if bias is None else w.op("Add", out, bias)


@translates("addmm")
def _addmm(w: Any, x: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Any:
    if not x.dtype.startswith("float"):
        return _addmv(w, x, a, b, beta, alpha)
    return w.op("Gemm", a, b, x, alpha=float(alpha), beta=float(beta))


@translates("baddbmm")
def _baddbmm(w: Any, x: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Any:
    scaled = [w.op("Mul", y, w.number(s, x)) if s != 1 else y for y, s in ((x, beta), (w.op("MatMul", a, b), alpha))]
    return w.op("Add", *scaled)


@translates("_convolution")
def _convolution(
    w: Any,
    x: Any,
    weight: Any,
    bias: Any,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
    *rest: Any,
) -> Any:
    given = [x, weight] if bias is None else [x, weight, bias]
    settings = {"strides": list(stride), "pads": [*padding, *padding], "dilations": list(dilation), "group": groups}
    return (
        w.op("ConvTranspose", *given, output_padding=list(output_padding), **settings)
        if transposed
        else w.op("Conv", *given, **settings)
    )


@translates("scaled_dot_product_attention")
def _attention(
    w: Any,
    q: Any,
    k: Any,
    v: Any,
    mask: Any = None,
    dropout: float = 0.0,
    causal: bool = False,
    scale: float | None = None,
    gqa: bool = False,
) -> Any:
    if dropout or gqa:
        w.refuse("attention with dropout or with groups of heads")
    if isinstance(q.shape[-1], Size):
        w.refuse("attention whose number of features is free")
    rank, factor = len(q.shape), 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    turned = w.op("Transpose", k, perm=[*range(rank - 2), rank - 1, rank - 2])
    scores = w.op("Mul", w.op("MatMul", q, turned), w.constant(factor, q.dtype))
    if causal:
        all_places = w.op("Expand", w.number(1, q), w.ints([w.size(q.shape[-2]), w.size(k.shape[-2])]), shape=[1, 1])
        below = w.cast(w.op("Trilu", all_places, upper=0, shape=[1, 1]), "bool")
        scores = w.op("Where", below, scores, w.constant(-math.inf, q.dtype))
    elif mask is not None:
        scores = w.op("Where", mask, scores, w.constant(-math.inf, q.dtype)) if mask.dtype == "bool" else w.op("Add", scores, mask)
    return w.op("MatMul", w.op("Softmax", scores, axis=-1), v)

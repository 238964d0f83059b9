"""Normalisation and softmax: operators of PyTorch's as ONNX's.

Source: https://onnx.ai/onnx/operators/ (opset 18)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from flambeau.onnx.translations.registry import translates


@translates("batch_norm")
def _batch_norm(
    w: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float, *rest: Any
) -> Any:
    if training or mean is None:
        w.refuse("batch_norm by the batch's own statistics: call model.eval() first")
    n = x.shape[1]
    weight = w.constant(np.ones(n), x.dtype) if weight is None else weight
    bias = w.constant(np.zeros(n), x.dtype) if bias is None else bias
    return w.op("BatchNormalization", x, weight, bias, mean, var, epsilon=float(eps))


@translates("layer_norm")
def _layer_norm(w: Any, x: Any, shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5, *rest: Any) -> Any:
    weight = w.constant(np.ones(shape), x.dtype) if weight is None else weight
    return w.op("LayerNormalization", *[x, weight] if bias is None else [x, weight, bias], axis=-len(shape), epsilon=float(eps))


@translates("group_norm")
def _group_norm(w: Any, x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *rest: Any) -> Any:
    rows = w.reshape(x, [0, groups, -1])
    out = w.op(
        "InstanceNormalization",
        rows,
        w.constant(np.ones(groups), x.dtype),
        w.constant(np.zeros(groups), x.dtype),
        epsilon=float(eps),
    )
    out = w.op("Reshape", out, w.op("Shape", x))
    for op, y in (("Mul", weight), ("Add", bias)):
        out = out if y is None else w.op(op, out, w.reshape(y, [-1, *[1] * (len(x.shape) - 2)]))
    return out


@translates("instance_norm")
def _instance_norm(
    w: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, use_input_stats: bool, momentum: float, eps: float, *rest: Any
) -> Any:
    if not use_input_stats:
        return _batch_norm(w, x, weight, bias, mean, var, False, momentum, eps)
    n = x.shape[1]
    weight = w.constant(np.ones(n), x.dtype) if weight is None else weight
    return w.op("InstanceNormalization", x, weight, w.constant(np.zeros(n), x.dtype) if bias is None else bias, epsilon=float(eps))


@translates("softmax", "log_softmax")
def _softmax(w: Any, x: Any, dim: int, dtype: Any = None) -> Any:
    return w.op("Softmax" if w.name == "softmax" else "LogSoftmax", w.cast(x, w.result.dtype), axis=dim)

"""What PyTorch's operators are in ONNX: for each a function that writes nodes with a :class:`~flambeau.onnx.exporter.Writer`.

Tensors come as names of values (:class:`~flambeau.onnx.exporter.Ref`), everything else as it was given.

Source: https://onnx.ai/onnx/operators/ (opset 18)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from flambeau.onnx.recurrent import recurrence

TRANSLATIONS: dict[str, Callable] = {}
"""By the operator's name, as ``relu``."""


def _translates(*names: str) -> Callable[[Callable], Callable]:
    def decorate(function: Callable) -> Callable:
        TRANSLATIONS.update(dict.fromkeys(names, function))
        return function

    return decorate


# --- elementwise -----------------------------------------------------------------------------------------------------

_UNARY = (
    "relu Relu sigmoid Sigmoid tanh Tanh exp Exp log Log sqrt Sqrt abs Abs neg Neg floor Floor ceil Ceil round Round sin Sin cos Cos tan Tan asin Asin acos Acos atan Atan sinh Sinh "
    "cosh Cosh asinh Asinh acosh Acosh atanh Atanh erf Erf reciprocal Reciprocal sign Sign logical_not Not isnan IsNaN mish Mish softsign Softsign hardswish HardSwish"
).split()
for _name, _op in zip(_UNARY[::2], _UNARY[1::2], strict=True):
    TRANSLATIONS[_name] = lambda w, x, *rest, op=_op: w.op(op, x)

_BINARY = "mul Mul maximum Max minimum Min eq Equal lt Less gt Greater le LessOrEqual ge GreaterOrEqual logical_and And logical_or Or logical_xor Xor".split()
for _name, _op in zip(_BINARY[::2], _BINARY[1::2], strict=True):
    TRANSLATIONS[_name] = lambda w, x, y, *rest, op=_op: w.op(op, *w.alike(x, y))

for _name in ("contiguous", "clone", "detach", "alias", "dropout", "feature_dropout", "alpha_dropout"):
    TRANSLATIONS[_name] = lambda w, x, *rest: _kept(w, x, *rest)


def _kept(w: Any, x: Any, *rest: Any) -> Any:
    """The value as it is: dropout in evaluation, a copy."""
    if len(rest) == 2 and rest[1] is True and rest[0]:
        w.refuse("dropout in training mode: call model.eval() first")
    return x


@_translates("add", "sub")
def _add(w: Any, x: Any, y: Any, alpha: Any = 1) -> Any:
    a, b = w.alike(x, y)
    if alpha != 1:
        b = w.op("Mul", b, w.constant(alpha, w.result.dtype))
    return w.op("Add" if w.name == "add" else "Sub", a, b)


@_translates("rsub")
def _rsub(w: Any, x: Any, y: Any, alpha: Any = 1) -> Any:
    b, a = w.alike(x, y)
    return w.op("Sub", a, b if alpha == 1 else w.op("Mul", b, w.constant(alpha, w.result.dtype)))


@_translates("div")
def _div(w: Any, x: Any, y: Any, rounding_mode: str | None = None) -> Any:
    out = w.op("Div", *w.alike(x, y, w.result.dtype))
    return out if rounding_mode is None else w.op("Floor", out) if rounding_mode == "floor" else w.refuse("div with rounding_mode='trunc'")


@_translates("ne")
def _ne(w: Any, x: Any, y: Any) -> Any:
    return w.op("Not", w.op("Equal", *w.alike(x, y)))


@_translates("pow")
def _pow(w: Any, x: Any, y: Any) -> Any:
    return w.op("Pow", *w.alike(x, y))


@_translates("square")
def _square(w: Any, x: Any) -> Any:
    return w.op("Mul", x, x)


@_translates("rsqrt")
def _rsqrt(w: Any, x: Any) -> Any:
    return w.op("Reciprocal", w.op("Sqrt", x))


@_translates("silu")
def _silu(w: Any, x: Any, *rest: Any) -> Any:
    return w.op("Mul", x, w.op("Sigmoid", x))


@_translates("gelu")
def _gelu(w: Any, x: Any, approximate: str = "none") -> Any:
    number = lambda value: w.constant(value, x.dtype)  # noqa: E731
    if approximate == "none":
        inner = w.op("Erf", w.op("Mul", x, number(math.sqrt(0.5))))
    else:
        cubic = w.op("Mul", w.op("Mul", x, w.op("Mul", x, x)), number(0.044715))
        inner = w.op("Tanh", w.op("Mul", w.op("Add", x, cubic), number(math.sqrt(2 / math.pi))))
    return w.op("Mul", w.op("Mul", x, number(0.5)), w.op("Add", inner, number(1.0)))


@_translates("leaky_relu")
def _leaky_relu(w: Any, x: Any, negative_slope: float = 0.01, *rest: Any) -> Any:
    return w.op("LeakyRelu", x, alpha=float(negative_slope))


@_translates("elu", "celu")
def _elu(w: Any, x: Any, alpha: float = 1.0, *rest: Any) -> Any:
    return w.op(w.name.capitalize(), x, alpha=float(alpha))


@_translates("selu")
def _selu(w: Any, x: Any, *rest: Any) -> Any:
    return w.op("Selu", x)


@_translates("prelu")
def _prelu(w: Any, x: Any, weight: Any) -> Any:
    shaped = weight if len(weight.shape) != 1 or len(x.shape) < 3 else w.reshape(weight, [-1, *[1] * (len(x.shape) - 2)])
    return w.op("PRelu", x, shaped)


@_translates("softplus")
def _softplus(w: Any, x: Any, beta: float = 1, threshold: float = 20) -> Any:
    if beta == 1:
        return w.op("Softplus", x)
    return w.op("Div", w.op("Softplus", w.op("Mul", x, w.constant(beta, x.dtype))), w.constant(beta, x.dtype))


@_translates("log_sigmoid", "logsigmoid")
def _log_sigmoid(w: Any, x: Any) -> Any:
    return w.op("Neg", w.op("Softplus", w.op("Neg", x)))


@_translates("hardsigmoid")
def _hardsigmoid(w: Any, x: Any, *rest: Any) -> Any:
    return w.op("HardSigmoid", x, alpha=1 / 6, beta=0.5)


@_translates("relu6")
def _relu6(w: Any, x: Any, *rest: Any) -> Any:
    return _clamp(w, x, 0.0, 6.0)


@_translates("clamp", "clip", "hardtanh", "clamp_min")
def _clamp(w: Any, x: Any, min: Any = None, max: Any = None, *rest: Any) -> Any:
    if w.name == "hardtanh":
        min, max = -1.0 if min is None else min, 1.0 if max is None else max
    bounds = ["" if bound is None else bound if isinstance(bound, str) else w.constant(bound, x.dtype) for bound in (min, max)]
    return w.op("Clip", x, *bounds)


@_translates("where")
def _where(w: Any, condition: Any, x: Any, y: Any) -> Any:
    return w.op("Where", condition, *w.alike(x, y, w.result.dtype))


@_translates("masked_fill")
def _masked_fill(w: Any, x: Any, mask: Any, value: Any) -> Any:
    return w.op("Where", mask, value if isinstance(value, str) else w.constant(value, x.dtype), x)


@_translates("to", "type", "float", "double", "half", "long", "int", "bool", "_to_copy")
def _cast(w: Any, x: Any, *rest: Any) -> Any:
    return x if w.result.dtype == x.dtype else w.cast(x, w.result.dtype)


# --- products ----------------------------------------------------------------------------------------------------------


@_translates("matmul", "mm", "bmm", "mv", "dot")
def _matmul(w: Any, a: Any, b: Any) -> Any:
    return w.op("MatMul", a, b)


@_translates("linear")
def _linear(w: Any, x: Any, weight: Any, bias: Any = None) -> Any:
    if len(x.shape) == 2 and bias is not None:
        return w.op("Gemm", x, weight, bias, transB=1)
    out = w.op("MatMul", x, w.op("Transpose", weight, perm=[1, 0]))
    return out if bias is None else w.op("Add", out, bias)


@_translates("addmm")
def _addmm(w: Any, x: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Any:
    return w.op("Gemm", a, b, x, alpha=float(alpha), beta=float(beta))


@_translates("baddbmm")
def _baddbmm(w: Any, x: Any, a: Any, b: Any, beta: float = 1, alpha: float = 1) -> Any:
    scaled = [w.op("Mul", y, w.constant(s, x.dtype)) if s != 1 else y for y, s in ((x, beta), (w.op("MatMul", a, b), alpha))]
    return w.op("Add", *scaled)


@_translates("_convolution")
def _convolution(
    w: Any, x: Any, weight: Any, bias: Any, stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], transposed: bool, output_padding: Sequence[int], groups: int, *rest: Any
) -> Any:
    given = [x, weight] if bias is None else [x, weight, bias]
    settings = {"strides": list(stride), "pads": [*padding, *padding], "dilations": list(dilation), "group": groups}
    return w.op("ConvTranspose", *given, output_padding=list(output_padding), **settings) if transposed else w.op("Conv", *given, **settings)


@_translates("scaled_dot_product_attention")
def _attention(w: Any, q: Any, k: Any, v: Any, mask: Any = None, dropout: float = 0.0, causal: bool = False, scale: float | None = None, gqa: bool = False) -> Any:
    if dropout or gqa:
        w.refuse("attention with dropout or with groups of heads")
    rank, factor = len(q.shape), 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    turned = w.op("Transpose", k, perm=[*range(rank - 2), rank - 1, rank - 2])
    scores = w.op("Mul", w.op("MatMul", q, turned), w.constant(factor, q.dtype))
    if causal:
        below = np.tril(np.ones((q.shape[-2], k.shape[-2]), bool))
        scores = w.op("Where", w.constant(below), scores, w.constant(-math.inf, q.dtype))
    elif mask is not None:
        scores = w.op("Where", mask, scores, w.constant(-math.inf, q.dtype)) if mask.dtype == "bool" else w.op("Add", scores, mask)
    return w.op("MatMul", w.op("Softmax", scores, axis=-1), v)


# --- normalisation -------------------------------------------------------------------------------------------------------


@_translates("batch_norm")
def _batch_norm(w: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float, *rest: Any) -> Any:
    if training or mean is None:
        w.refuse("batch_norm by the batch's own statistics: call model.eval() first")
    n = x.shape[1]
    weight = w.constant(np.ones(n), x.dtype) if weight is None else weight
    bias = w.constant(np.zeros(n), x.dtype) if bias is None else bias
    return w.op("BatchNormalization", x, weight, bias, mean, var, epsilon=float(eps))


@_translates("layer_norm")
def _layer_norm(w: Any, x: Any, shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-5, *rest: Any) -> Any:
    weight = w.constant(np.ones(shape), x.dtype) if weight is None else weight
    return w.op("LayerNormalization", *[x, weight] if bias is None else [x, weight, bias], axis=-len(shape), epsilon=float(eps))


@_translates("group_norm")
def _group_norm(w: Any, x: Any, groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5, *rest: Any) -> Any:
    rows = w.reshape(x, [0, groups, -1])
    out = w.op("InstanceNormalization", rows, w.constant(np.ones(groups), x.dtype), w.constant(np.zeros(groups), x.dtype), epsilon=float(eps))
    out = w.op("Reshape", out, w.op("Shape", x))
    for op, y in (("Mul", weight), ("Add", bias)):
        out = out if y is None else w.op(op, out, w.reshape(y, [-1, *[1] * (len(x.shape) - 2)]))
    return out


@_translates("instance_norm")
def _instance_norm(w: Any, x: Any, weight: Any, bias: Any, mean: Any, var: Any, use_input_stats: bool, momentum: float, eps: float, *rest: Any) -> Any:
    if not use_input_stats:
        return _batch_norm(w, x, weight, bias, mean, var, False, momentum, eps)
    n = x.shape[1]
    weight = w.constant(np.ones(n), x.dtype) if weight is None else weight
    return w.op("InstanceNormalization", x, weight, w.constant(np.zeros(n), x.dtype) if bias is None else bias, epsilon=float(eps))


@_translates("softmax", "log_softmax")
def _softmax(w: Any, x: Any, dim: int, dtype: Any = None) -> Any:
    return w.op("Softmax" if w.name == "softmax" else "LogSoftmax", _cast(w, x), axis=dim)


# --- reductions ------------------------------------------------------------------------------------------------------------


@_translates("mean", "sum", "amax", "amin", "prod")
def _reduce(w: Any, x: Any, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    op = {"mean": "ReduceMean", "sum": "ReduceSum", "amax": "ReduceMax", "amin": "ReduceMin", "prod": "ReduceProd"}[w.name]
    dims = [dim] if isinstance(dim, int) else list(dim or [])
    given = [_cast(w, x)] + ([w.constant(np.array(dims, np.int64))] if dims else [])
    return w.op(op, *given, keepdims=int(keepdim))


@_translates("max", "min")
def _extreme(w: Any, x: Any, dim: Any = None, keepdim: bool = False) -> Any:
    if isinstance(dim, str):
        return w.op(w.name.capitalize(), x, dim)
    op = "Max" if w.name == "max" else "Min"
    if dim is None:
        return w.op(f"Reduce{op}", x, keepdims=0)
    return w.op(f"Reduce{op}", x, w.constant(np.array([dim], np.int64)), keepdims=int(keepdim)), w.op(f"Arg{op}", x, axis=dim, keepdims=int(keepdim))


@_translates("argmax", "argmin")
def _arg(w: Any, x: Any, dim: int | None = None, keepdim: bool = False) -> Any:
    op = "ArgMax" if w.name == "argmax" else "ArgMin"
    return w.op(op, w.reshape(x, [-1]), axis=0, keepdims=0) if dim is None else w.op(op, x, axis=dim, keepdims=int(keepdim))


@_translates("cumsum")
def _cumsum(w: Any, x: Any, dim: int, dtype: Any = None) -> Any:
    return w.op("CumSum", _cast(w, x), w.constant(np.array(dim, np.int64)))


# --- windows -----------------------------------------------------------------------------------------------------------------


@_translates("max_pool1d", "max_pool2d", "max_pool3d")
def _max_pool(w: Any, x: Any, kernel: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False) -> Any:
    n = int(w.name[-2])
    kernel, padding, dilation = _each(kernel, n), _each(padding, n), _each(dilation, n)
    return w.op("MaxPool", x, kernel_shape=kernel, strides=_each(stride, n) or kernel, pads=padding * 2, dilations=dilation, ceil_mode=int(ceil_mode))


@_translates("avg_pool1d", "avg_pool2d", "avg_pool3d")
def _avg_pool(w: Any, x: Any, kernel: Any, stride: Any = (), padding: Any = 0, ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: Any = None) -> Any:
    if divisor_override:
        w.refuse("avg_pool with divisor_override")
    n = int(w.name[-2])
    kernel, padding = _each(kernel, n), _each(padding, n)
    settings = {"strides": _each(stride, n) or kernel, "pads": padding * 2, "ceil_mode": int(ceil_mode)}
    return w.op("AveragePool", x, kernel_shape=kernel, count_include_pad=int(count_include_pad), **settings)


@_translates("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d")
def _adaptive_avg_pool(w: Any, x: Any, size: Any) -> Any:
    n = int(w.name[-2])
    inner, wanted = x.shape[-n:], _each(size, n)
    if all(k == 1 for k in wanted):
        return w.op("GlobalAveragePool", x)
    if any(k is None or size % k for size, k in zip(inner, wanted, strict=True)):
        w.refuse(f"adaptive_avg_pool of {inner} to {wanted}, whose windows are of several sizes")
    kernel = [size // k for size, k in zip(inner, wanted, strict=True)]
    return w.op("AveragePool", x, kernel_shape=kernel, strides=kernel)


@_translates("pad", "constant_pad_nd")
def _pad(w: Any, x: Any, pad: Sequence[int], *rest: Any) -> Any:
    mode, value = ("constant", rest[0] if rest else 0) if w.name == "constant_pad_nd" else (rest[0] if rest else "constant", rest[1] if len(rest) > 1 else None)
    pairs = [(0, 0)] * (len(x.shape) - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    sizes = w.constant(np.array([a for a, _ in pairs] + [b for _, b in pairs], np.int64))
    if mode == "constant":
        return w.op("Pad", x, sizes, w.constant(value or 0, x.dtype), mode="constant")
    return w.op("Pad", x, sizes, mode={"replicate": "edge"}.get(mode, mode))


@_translates("pixel_shuffle")
def _pixel_shuffle(w: Any, x: Any, factor: int) -> Any:
    return w.op("DepthToSpace", x, blocksize=factor, mode="CRD")


def _each(x: Any, n: int) -> list:
    return list(x) if isinstance(x, (list, tuple)) else [x] * n


# --- shapes ------------------------------------------------------------------------------------------------------------------


@_translates("view", "reshape", "unflatten", "view_as", "reshape_as")
def _reshape(w: Any, x: Any, *rest: Any) -> Any:
    return w.reshape(x, w.sizes_of_result())


@_translates("flatten")
def _flatten(w: Any, x: Any, start: int = 0, end: int = -1) -> Any:
    rank = len(x.shape)
    start, end = start % max(rank, 1), end % max(rank, 1)
    return w.reshape(x, [*[0] * start, -1, *x.shape[end + 1 :]])


@_translates("unsqueeze")
def _unsqueeze(w: Any, x: Any, dim: int) -> Any:
    return w.op("Unsqueeze", x, w.constant(np.array([dim], np.int64)))


@_translates("squeeze")
def _squeeze(w: Any, x: Any, dim: Any = None) -> Any:
    dims = [i for i in ([dim] if isinstance(dim, int) else dim if dim is not None else range(len(x.shape))) if x.shape[i] == 1]
    return w.op("Squeeze", x, w.constant(np.array(dims, np.int64))) if dims else x


@_translates("permute")
def _permute(w: Any, x: Any, dims: Sequence[int]) -> Any:
    return w.op("Transpose", x, perm=[d % len(dims) for d in dims])


@_translates("transpose", "swapaxes", "t")
def _transpose(w: Any, x: Any, a: int = 0, b: int = 1) -> Any:
    order = list(range(len(x.shape)))
    order[a], order[b] = order[b], order[a]
    return w.op("Transpose", x, perm=order)


@_translates("expand", "expand_as", "broadcast_to")
def _expand(w: Any, x: Any, *rest: Any) -> Any:
    return w.op("Expand", x, w.constant(np.array(w.sizes_of_result(w.result.shape), np.int64)))


@_translates("repeat")
def _repeat(w: Any, x: Any, repeats: Sequence[int]) -> Any:
    return w.op("Tile", w.reshape(x, [*[1] * (len(repeats) - len(x.shape)), *x.shape]), w.constant(np.array(repeats, np.int64)))


@_translates("cat", "concat")
def _cat(w: Any, tensors: Sequence, dim: int = 0) -> Any:
    return w.op("Concat", *tensors, axis=dim)


@_translates("stack")
def _stack(w: Any, tensors: Sequence, dim: int = 0) -> Any:
    at = w.constant(np.array([dim], np.int64))
    return w.op("Concat", *[w.op("Unsqueeze", t, at) for t in tensors], axis=dim)


@_translates("split", "chunk", "split_with_sizes", "unbind")
def _split(w: Any, x: Any, *rest: Any) -> Any:
    dim = rest[-1] if w.name == "unbind" and rest else rest[1] if len(rest) > 1 else 0
    sizes = [1 if w.name == "unbind" else r.shape[dim] for r in w.results]
    parts = w.op("Split", x, w.constant(np.array(sizes, np.int64)), axis=dim, outputs=len(sizes))
    parts = parts if isinstance(parts, tuple) else (parts,)
    return tuple(w.op("Squeeze", p, w.constant(np.array([dim], np.int64))) for p in parts) if w.name == "unbind" else parts


@_translates("slice", "narrow")
def _slice(w: Any, x: Any, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> Any:
    start, last = start or 0, (1 << 63) - 1 if end is None else end
    last = start + end if w.name == "narrow" else last
    return w.op("Slice", x, *[w.constant(np.array([n], np.int64)) for n in (start, last, dim, step or 1)])


@_translates("select")
def _select(w: Any, x: Any, dim: int, index: int) -> Any:
    return w.op("Gather", x, w.constant(np.array(index, np.int64)), axis=dim)


@_translates("embedding")
def _embedding(w: Any, weight: Any, indices: Any, *rest: Any) -> Any:
    return w.op("Gather", weight, indices)


@_translates("index_select")
def _index_select(w: Any, x: Any, dim: int, index: Any) -> Any:
    return w.op("Gather", x, index, axis=dim)


@_translates("gather")
def _gather(w: Any, x: Any, dim: int, index: Any, *rest: Any) -> Any:
    return w.op("GatherElements", x, index, axis=dim)


@_translates("tril", "triu")
def _triangle(w: Any, x: Any, diagonal: int = 0) -> Any:
    return w.op("Trilu", x, w.constant(np.array(diagonal, np.int64)), upper=int(w.name == "triu"))


TRANSLATIONS["_recurrence"] = recurrence

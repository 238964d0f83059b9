"""Numbers one by one: operators of PyTorch's as ONNX's.

Source: https://onnx.ai/onnx/operators/ (opset 18)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from flambeau.onnx.translations.integers import floored_quotient, truncated_quotient
from flambeau.onnx.translations.registry import TRANSLATIONS, translates

_UNARY = (
    "relu Relu sigmoid Sigmoid tanh Tanh exp Exp log Log sqrt Sqrt abs Abs neg Neg floor Floor ceil Ceil round Round sin Sin cos Cos tan Tan asin Asin acos Acos atan Atan sinh Sinh "
    "cosh Cosh asinh Asinh acosh Acosh atanh Atanh erf Erf reciprocal Reciprocal sign Sign logical_not Not isnan IsNaN mish Mish softsign Softsign hardswish HardSwish"
).split()
for _name, _op in zip(_UNARY[::2], _UNARY[1::2], strict=True):
    TRANSLATIONS[_name] = lambda w, x, *rest, op=_op: w.op(op, x if w.result.dtype == "bool" else w.cast(x, w.result.dtype))

_FORMULAS: dict[str, Callable] = {
    "log2": lambda w, x: w.op("Div", w.op("Log", x), w.number(math.log(2), x)),
    "log10": lambda w, x: w.op("Div", w.op("Log", x), w.number(math.log(10), x)),
    "log1p": lambda w, x: w.op("Log", w.op("Add", x, w.number(1, x))),
    "exp2": lambda w, x: w.op("Pow", w.number(2, x), x),
    "expm1": lambda w, x: w.op("Sub", w.op("Exp", x), w.number(1, x)),
    "erfc": lambda w, x: w.op("Sub", w.number(1, x), w.op("Erf", x)),
    "square": lambda w, x: w.op("Mul", x, x),
    "rsqrt": lambda w, x: w.op("Reciprocal", w.op("Sqrt", x)),
    "silu": lambda w, x: w.op("Mul", x, w.op("Sigmoid", x)),
    "selu": lambda w, x: w.op("Selu", x),
    "hardsigmoid": lambda w, x: w.op("HardSigmoid", x, alpha=1 / 6, beta=0.5),
    "relu6": lambda w, x: w.op("Clip", x, w.number(0, x), w.number(6, x)),
    "log_sigmoid": lambda w, x: w.op("Neg", w.op("Softplus", w.op("Neg", x))),
    "trunc": lambda w, x: _truncated(w, x),
    "frac": lambda w, x: w.op("Sub", x, _truncated(w, x)),
    "deg2rad": lambda w, x: w.op("Mul", x, w.number(math.pi / 180, x)),
    "rad2deg": lambda w, x: w.op("Mul", x, w.number(180 / math.pi, x)),
}
_FORMULAS |= {"logsigmoid": _FORMULAS["log_sigmoid"], "fix": _FORMULAS["trunc"], "sgn": lambda w, x: w.op("Sign", x)}
for _name, _formula in _FORMULAS.items():
    TRANSLATIONS[_name] = lambda w, x, *rest, formula=_formula: formula(w, w.cast(x, w.result.dtype))

_BINARY = "mul Mul maximum Max minimum Min eq Equal lt Less gt Greater le LessOrEqual ge GreaterOrEqual logical_and And logical_or Or logical_xor Xor".split()
for _name, _op in zip(_BINARY[::2], _BINARY[1::2], strict=True):
    TRANSLATIONS[_name] = lambda w, x, y, *rest, op=_op: w.op(op, *w.alike(x, y))

for _name in (
    "contiguous",
    "clone",
    "_clone",
    "detach",
    "alias",
    "_alias",
    "resolve_conj",
    "resolve_neg",
    "dropout",
    "feature_dropout",
    "alpha_dropout",
):
    TRANSLATIONS[_name] = lambda w, x, *rest: _kept(w, x, *rest)


def _kept(w: Any, x: Any, *rest: Any) -> Any:
    """The value as it is: dropout in evaluation, a copy."""
    if len(rest) == 2 and rest[1] is True and rest[0]:
        w.refuse("dropout in training mode: call model.eval() first")
    return x


@translates("add", "sub")
def _add(w: Any, x: Any, y: Any, alpha: Any = 1) -> Any:
    a, b = w.alike(x, y)
    if alpha != 1:
        b = w.op("Mul", b, w.number(alpha, w.result))
    return w.op("Add" if w.name == "add" else "Sub", a, b)


@translates("rsub")
def _rsub(w: Any, x: Any, y: Any, alpha: Any = 1) -> Any:
    b, a = w.alike(x, y)
    return w.op("Sub", a, b if alpha == 1 else w.op("Mul", b, w.number(alpha, w.result)))


@translates("div", "true_divide")
def _div(w: Any, x: Any, y: Any, rounding_mode: str | None = None) -> Any:
    return (
        {"floor": floored_quotient, "trunc": truncated_quotient}[rounding_mode](w, x, y)
        if rounding_mode
        else w.op("Div", *w.alike(x, y, w.result.dtype))
    )


def _truncated(w: Any, x: Any) -> Any:
    return w.op("Mul", w.op("Sign", x), w.op("Floor", w.op("Abs", x)))


@translates("ne")
def _ne(w: Any, x: Any, y: Any) -> Any:
    return w.op("Not", w.op("Equal", *w.alike(x, y)))


@translates("pow", "float_power")
def _pow(w: Any, x: Any, y: Any) -> Any:
    return w.op("Pow", *w.alike(x, y))


@translates("isinf", "isfinite", "isposinf", "isneginf")
def _is_infinite(w: Any, x: Any) -> Any:
    x = x if x.dtype in ("float32", "float64") else w.cast(x, "float32")
    infinite = w.op("IsInf", x, detect_negative=int(w.name != "isposinf"), detect_positive=int(w.name != "isneginf"))
    return infinite if w.name != "isfinite" else _is_finite(w, x)


@translates("isclose")
def _isclose(w: Any, x: Any, y: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    if not x.dtype.startswith("float"):
        x, y = w.cast(x, "float64"), w.cast(y, "float64")
    bound = w.op("Add", w.number(atol, y), w.op("Mul", w.number(rtol, y), w.op("Abs", y, dtype=y.dtype)))
    near = w.op("And", w.op("LessOrEqual", w.op("Abs", w.op("Sub", x, y)), bound), _is_finite(w, y))
    near = w.op("Or", near, w.op("Equal", x, y))
    return near if not equal_nan else w.op("Or", near, w.op("And", w.op("IsNaN", x), w.op("IsNaN", y)))


def _is_finite(w: Any, x: Any) -> Any:
    return w.op("Not", w.op("Or", w.op("IsInf", x), w.op("IsNaN", x)))


@translates("lerp")
def _lerp(w: Any, x: Any, end: Any, weight: Any) -> Any:
    return w.op("Add", x, w.op("Mul", w.number(weight, x), w.op("Sub", end, x)))


@translates("addcmul", "addcdiv")
def _with_product(w: Any, x: Any, a: Any, b: Any, value: Any = 1) -> Any:
    change = w.op("Mul" if w.name == "addcmul" else "Div", *w.alike(a, b))
    return w.op("Add", w.number(x, w.result), w.op("Mul", change, w.number(value, w.result)))


@translates("logaddexp")
def _logaddexp(w: Any, x: Any, y: Any) -> Any:
    return w.op(
        "ReduceLogSumExp",
        w.op("Concat", *[w.op("Unsqueeze", v, w.ints([0])) for v in _broadcast(w, x, y)], axis=0),
        w.ints([0]),
        keepdims=0,
    )


@translates("hypot")
def _hypot(w: Any, x: Any, y: Any) -> Any:
    return w.op(
        "ReduceL2",
        w.op("Concat", *[w.op("Unsqueeze", v, w.ints([0])) for v in _broadcast(w, x, y)], axis=0),
        w.ints([0]),
        keepdims=0,
    )


def _broadcast(w: Any, x: Any, y: Any) -> Any:
    return [w.op("Expand", v, w.ints(w.sizes())) for v in w.alike(x, y)]


@translates("atan2")
def _atan2(w: Any, y: Any, x: Any) -> Any:
    y, x = w.alike(y, x)
    zero, turn = w.number(0, x), w.number(math.pi, x)
    angle = w.op("Atan", w.op("Div", y, x))
    other_side = w.op("Where", w.op("Less", y, zero), w.op("Sub", angle, turn), w.op("Add", angle, turn))
    found = w.op("Where", w.op("Less", x, zero), other_side, angle)
    at_origin = w.op("And", w.op("Equal", x, zero), w.op("Equal", y, zero))
    return w.op("Where", at_origin, w.op("Mul", x, y), found)


@translates("xlogy")
def _xlogy(w: Any, x: Any, y: Any) -> Any:
    x, y = w.alike(x, y)
    zero = w.number(0, x)
    nothing = w.op("And", w.op("Equal", x, zero), w.op("Not", w.op("IsNaN", y)))
    return w.op("Where", nothing, zero, w.op("Mul", x, w.op("Log", y)))


@translates("heaviside")
def _heaviside(w: Any, x: Any, values: Any) -> Any:
    x, values = w.alike(x, values)
    zero = w.number(0, x)
    return w.op("Where", w.op("Equal", x, zero), values, w.op("Where", w.op("Less", x, zero), zero, w.number(1, x)))


@translates("logit")
def _logit(w: Any, x: Any, eps: float | None = None) -> Any:
    x = x if eps is None else w.op("Clip", x, w.number(eps, x), w.number(1 - eps, x))
    return w.op("Log", w.op("Div", x, w.op("Sub", w.number(1, x), x)))


@translates("nan_to_num")
def _nan_to_num(w: Any, x: Any, nan: float | None = None, posinf: float | None = None, neginf: float | None = None) -> Any:
    if not x.dtype.startswith("float"):
        return x
    least, most = float(np.finfo(x.dtype).min), float(np.finfo(x.dtype).max)
    bounded = w.op("Where", w.op("Equal", x, w.number(math.inf, x)), w.number(most if posinf is None else posinf, x), x)
    bounded = w.op("Where", w.op("Equal", x, w.number(-math.inf, x)), w.number(least if neginf is None else neginf, x), bounded)
    return w.op("Where", w.op("IsNaN", x), w.number(nan or 0.0, x), bounded)


@translates("threshold")
def _threshold(w: Any, x: Any, threshold: float, value: float, *rest: Any) -> Any:
    return w.op("Where", w.op("Greater", x, w.number(threshold, x)), x, w.number(value, x))


@translates("hardshrink", "softshrink")
def _shrink(w: Any, x: Any, lambd: float = 0.5) -> Any:
    return w.op("Shrink", x, lambd=float(lambd), bias=float(lambd) if w.name == "softshrink" else 0.0)


@translates("gelu")
def _gelu(w: Any, x: Any, approximate: str = "none") -> Any:
    number = lambda value: w.constant(value, x.dtype)  # noqa: E731
    if approximate == "none":
        inner = w.op("Erf", w.op("Mul", x, number(math.sqrt(0.5))))
    else:
        cubic = w.op("Mul", w.op("Mul", x, w.op("Mul", x, x)), number(0.044715))
        inner = w.op("Tanh", w.op("Mul", w.op("Add", x, cubic), number(math.sqrt(2 / math.pi))))
    return w.op("Mul", w.op("Mul", x, number(0.5)), w.op("Add", inner, number(1.0)))


@translates("leaky_relu", "_leaky_relu")
def _leaky_relu(w: Any, x: Any, negative_slope: float = 0.01, *rest: Any) -> Any:
    return w.op("LeakyRelu", x, alpha=float(negative_slope))


@translates("elu", "celu")
def _elu(w: Any, x: Any, alpha: float = 1.0, *rest: Any) -> Any:
    return w.op(w.name.capitalize(), x, alpha=float(alpha))


@translates("prelu", "_prelu")
def _prelu(w: Any, x: Any, weight: Any) -> Any:
    shaped = (
        weight
        if len(weight.shape) != 1 or weight.shape == [1] or len(x.shape) < 3
        else w.reshape(weight, [-1, *[1] * (len(x.shape) - 2)])
    )
    return w.op("PRelu", x, shaped)


@translates("softplus")
def _softplus(w: Any, x: Any, beta: float = 1, threshold: float = 20) -> Any:
    if beta == 1:
        return w.op("Softplus", x)
    return w.op("Div", w.op("Softplus", w.op("Mul", x, w.constant(beta, x.dtype))), w.constant(beta, x.dtype))


@translates("clamp", "clip", "hardtanh", "clamp_min", "clamp_max")
def _clamp(w: Any, x: Any, min: Any = None, max: Any = None, *rest: Any) -> Any:
    if w.name == "hardtanh":
        min, max = -1.0 if min is None else min, 1.0 if max is None else max
    if w.name == "clamp_max":
        min, max = None, min
    x = w.cast(x, w.result.dtype)
    for op, bound in (("Max", min), ("Min", max)):
        x = x if bound is None else w.op(op, x, w.number(bound, x))
    return x


@translates("where", "_where")
def _where(w: Any, condition: Any, x: Any, y: Any) -> Any:
    return w.op("Where", condition, *w.alike(x, y, w.result.dtype))


@translates("masked_fill")
def _masked_fill(w: Any, x: Any, mask: Any, value: Any) -> Any:
    return w.op("Where", mask, w.number(value, x), x)


@translates("to", "type", "float", "double", "half", "long", "int", "bool", "_to_copy", "_to_dtype")
def _cast(w: Any, x: Any, *rest: Any) -> Any:
    return w.cast(x, w.result.dtype)

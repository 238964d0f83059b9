"""Rules of operators that work element by element."""

from __future__ import annotations

from functools import reduce
from typing import Any

import flambeau as torch
from flambeau.nn import functional as F
from flambeau.onnx.importing.registry import RULES, Rule, dtype_of, rule

Tensor = torch.Tensor

for _name, _function in {
    "Abs": torch.abs, "Acos": torch.acos, "Acosh": torch.acosh, "And": torch.logical_and, "Asin": torch.asin, "Asinh": torch.asinh,
    "Atan": torch.atan, "Atanh": torch.atanh, "BitwiseAnd": torch.bitwise_and, "BitwiseNot": torch.bitwise_not,
    "BitwiseOr": torch.bitwise_or, "BitwiseXor": torch.bitwise_xor, "Ceil": torch.ceil, "Cos": torch.cos, "Cosh": torch.cosh,
    "Equal": torch.eq, "Erf": torch.erf, "Exp": torch.exp, "Floor": torch.floor, "Greater": torch.gt, "GreaterOrEqual": torch.ge,
    "IsNaN": torch.isnan, "Less": torch.lt, "LessOrEqual": torch.le, "Log": torch.log, "Mish": F.mish, "Neg": torch.neg,
    "Not": torch.logical_not, "Or": torch.logical_or, "Reciprocal": torch.reciprocal, "Relu": torch.relu, "Round": torch.round,
    "Sigmoid": torch.sigmoid, "Sign": torch.sign, "Sin": torch.sin, "Sinh": torch.sinh, "Softplus": F.softplus,
    "Softsign": F.softsign, "Sqrt": torch.sqrt, "Tan": torch.tan, "Tanh": torch.tanh, "Where": torch.where, "Xor": torch.logical_xor,
}.items():  # fmt: skip
    RULES[_name] = Rule(lambda *xs, f=_function: f(*xs), frozenset())


def _aligned(x: Tensor, y: Tensor, broadcast: int, axis: int | None) -> Tensor:
    """``y`` with dims of size 1 behind its own, where old versions say to which dims of ``x`` it belongs."""
    if not broadcast or axis is None:
        return y
    return y.reshape(*y.shape, *[1] * (x.dim() - axis % x.dim() - y.dim()))


@rule("Add")
def add(x: Tensor, y: Tensor, *, broadcast: int = 0, axis: int | None = None) -> Tensor:
    return x + _aligned(x, y, broadcast, axis)


@rule("Sub")
def sub(x: Tensor, y: Tensor, *, broadcast: int = 0, axis: int | None = None) -> Tensor:
    return x - _aligned(x, y, broadcast, axis)


@rule("Mul")
def mul(x: Tensor, y: Tensor, *, broadcast: int = 0, axis: int | None = None) -> Tensor:
    return x * _aligned(x, y, broadcast, axis)


@rule("Div")
def div(x: Tensor, y: Tensor, *, broadcast: int = 0, axis: int | None = None) -> Tensor:
    y = _aligned(x, y, broadcast, axis)
    return x / y if x.is_floating_point() else torch.div(x, y, rounding_mode="trunc")


@rule("Mod")
def mod(x: Tensor, y: Tensor, *, fmod: int = 0) -> Tensor:
    return torch.fmod(x, y) if fmod else torch.remainder(x, y)


@rule("Pow")
def power(x: Tensor, y: Tensor) -> Tensor:
    return torch.pow(x, y).to(x.dtype)


@rule("Max")
def maximum(*xs: Tensor) -> Tensor:
    return reduce(torch.maximum, xs)


@rule("Min")
def minimum(*xs: Tensor) -> Tensor:
    return reduce(torch.minimum, xs)


@rule("Sum")
def total(*xs: Tensor) -> Tensor:
    return reduce(torch.add, xs)


@rule("Mean")
def mean(*xs: Tensor) -> Tensor:
    return reduce(torch.add, xs) / len(xs)


@rule("BitShift")
def bit_shift(x: Tensor, y: Tensor, *, direction: str) -> Tensor:
    wide = x.to(torch.int64), y.to(torch.int64)
    shifted = torch.bitwise_left_shift(*wide) if direction == "LEFT" else torch.bitwise_right_shift(*wide)
    return shifted.to(x.dtype)


@rule("BitCast")
def bit_cast(x: Tensor, *, to: int) -> Tensor:
    return x.view(dtype_of(to))


@rule("Identity")
def identity(x: Any) -> Any:
    return x


@rule("Cast")
def cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    return _converted(x, dtype_of(to), saturate)


@rule("CastLike")
def cast_like(x: Tensor, like: Tensor, *, saturate: int = 1, round_mode: str = "up") -> Tensor:
    return _converted(x, like.dtype, saturate)


def _converted(x: Tensor, kind: torch.dtype, saturate: int) -> Tensor:
    """``x`` in another dtype; in one of 8 bits, what is too large becomes the largest number, infinities too."""
    if saturate and kind.is_floating_point and kind.itemsize == 1 and x.is_floating_point():
        largest = torch.finfo(kind).max
        x = x.to(torch.promote_types(torch.float32, x.dtype) if x.dtype.itemsize > 1 else torch.float32).clamp(-largest, largest)
    return x.to(kind)


@rule("Clip")
def clip(x: Tensor, min: Any = None, max: Any = None) -> Tensor:
    return x if min is max is None else torch.clamp(x, min, max)


@rule("LeakyRelu")
def leaky_relu(x: Tensor, *, alpha: float = 0.01) -> Tensor:
    return F.leaky_relu(x, alpha)


@rule("PRelu")
def prelu(x: Tensor, slope: Tensor) -> Tensor:
    return torch.where(x < 0, x * slope, x)


@rule("Elu")
def elu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.elu(x, alpha)


@rule("Celu")
def celu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.celu(x, alpha)


@rule("Selu")
def selu(x: Tensor, *, alpha: float = 1.67326319217681884765625, gamma: float = 1.05070102214813232421875) -> Tensor:
    return gamma * F.elu(x, alpha)


@rule("ThresholdedRelu")
def thresholded_relu(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return torch.where(x > alpha, x, torch.zeros_like(x))


@rule("HardSigmoid")
def hard_sigmoid(x: Tensor, *, alpha: float = 0.2, beta: float = 0.5) -> Tensor:
    return torch.clamp(alpha * x + beta, 0, 1)


@rule("HardSwish")
def hard_swish(x: Tensor) -> Tensor:
    return F.hardswish(x)


@rule("Gelu")
def gelu(x: Tensor, *, approximate: str = "none") -> Tensor:
    return F.gelu(x, approximate=approximate)


@rule("Swish")
def swish(x: Tensor, *, alpha: float = 1.0) -> Tensor:
    return F.silu(x) if alpha == 1.0 else x * torch.sigmoid(alpha * x)


@rule("Shrink")
def shrink(x: Tensor, *, bias: float = 0.0, lambd: float = 0.5) -> Tensor:
    shrunk = torch.where(x > lambd, x - bias, torch.zeros_like(x))
    return torch.where(x < -lambd, x + bias, shrunk).to(x.dtype)


@rule("IsInf")
def is_inf(x: Tensor, *, detect_negative: int = 1, detect_positive: int = 1) -> Tensor:
    found = torch.zeros_like(x, dtype=torch.bool)
    if detect_negative:
        found = found | torch.isneginf(x)
    if detect_positive:
        found = found | torch.isposinf(x)
    return found


def _coerced(x: Tensor, axis: int, function: Any) -> Tensor:
    """``function`` along the last of two dims, as versions before 13 have it: all dims from ``axis`` on are one."""
    axis %= x.dim()
    rows = x.shape[:axis].numel()
    return function(x.reshape(rows, -1), -1).reshape(x.shape)


@rule("Softmax")
def softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    return (
        torch.softmax(x, -1 if axis is None else axis) if opset >= 13 else _coerced(x, 1 if axis is None else axis, torch.softmax)
    )


@rule("LogSoftmax")
def log_softmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    return (
        torch.log_softmax(x, -1 if axis is None else axis)
        if opset >= 13
        else _coerced(x, 1 if axis is None else axis, torch.log_softmax)
    )


@rule("Hardmax")
def hardmax(x: Tensor, *, axis: int | None = None, opset: int) -> Tensor:
    def one_hot(x: Tensor, dim: int) -> Tensor:
        return torch.zeros_like(x).scatter(dim, x.argmax(dim, keepdim=True), 1.0)

    return one_hot(x, -1 if axis is None else axis) if opset >= 13 else _coerced(x, 1 if axis is None else axis, one_hot)


@rule("Dropout")
def dropout(x: Tensor, ratio: Any = None, training_mode: Any = None, *, seed: int = 0, is_test: int = 0, outputs: int) -> Any:
    training = training_mode is not None and bool(training_mode)
    rate = 0.5 if ratio is None else float(ratio)
    if not training or rate == 0:
        return x if outputs == 1 else (x, torch.ones_like(x, dtype=torch.bool))
    mask = torch.rand(x.shape) >= rate
    y = torch.where(mask, x / (1 - rate), torch.zeros_like(x))
    return y if outputs == 1 else (y, mask)


@rule("Bernoulli")
def bernoulli(x: Tensor, *, dtype: int | None = None, seed: float = 0.0) -> Tensor:
    return torch.bernoulli(x).to(x.dtype if dtype is None else dtype_of(dtype))


@rule("RandomUniformLike")
def random_uniform_like(x: Tensor, *, dtype: int | None = None, high: float = 1.0, low: float = 0.0, seed: float = 0.0) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype if dtype is None else dtype_of(dtype)).uniform_(low, high)


@rule("RandomNormalLike")
def random_normal_like(x: Tensor, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float = 0.0) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype if dtype is None else dtype_of(dtype)).normal_(mean, scale)


@rule("RandomUniform")
def random_uniform(*, shape: list[int], dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float = 0.0) -> Tensor:
    return torch.empty(shape, dtype=dtype_of(dtype)).uniform_(low, high)


@rule("RandomNormal")
def random_normal(*, shape: list[int], dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float = 0.0) -> Tensor:
    return torch.empty(shape, dtype=dtype_of(dtype)).normal_(mean, scale)

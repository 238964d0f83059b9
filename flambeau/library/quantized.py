"""``torch.ops.quantized``: operators of quantized tensors, by :mod:`flambeau.quantized`.

Packed weights, in PyTorch objects of C++, are those of :mod:`flambeau.quantized.products`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from flambeau.library import operators
from flambeau.library.schema import parse_schema
from flambeau.nn import functional
from flambeau.quantized import arithmetic, products
from flambeau.quantized.products import ConvWeight, HalfWeight, LinearWeight

F: Any = functional
_OUT = "float output_scale, int output_zero_point"
_CONV = "Tensor weight, Tensor? bias, int[] stride, int[] padding, {}int[] dilation, int groups"
_BATCH_NORM = f"Tensor qx, Tensor? weight, Tensor? bias, Tensor mean, Tensor var, float eps, {_OUT}"


def _of_numbers(function: Callable) -> Callable:
    """An op of numbers whose last two arguments say how results are quantized."""
    of = arithmetic.of_numbers(function)
    return lambda q, *args: of(q, *args[:-2], scale=args[-2], zero_point=args[-1])


def _leaky_relu(q: Any, slope: float, inplace: bool, scale: float, zero_point: int) -> Any:
    return arithmetic.of_numbers(F.leaky_relu)(q, slope, scale=scale, zero_point=zero_point)


def _elu(q: Any, output_scale: float, output_zero_point: int, alpha: float = 1, scale: float = 1, input_scale: float = 1) -> Any:
    if (scale, input_scale) != (1, 1):
        raise NotImplementedError("quantized::elu: flambeau takes the scales 1 only")
    return arithmetic.of_numbers(F.elu)(q, alpha, scale=output_scale, zero_point=output_zero_point)


def _linear_leaky_relu(q: Any, packed: Any, scale: float, zero_point: int, slope: float) -> Any:
    of = arithmetic.of_numbers(F.leaky_relu)
    return of(products.static(q, packed, scale, zero_point), slope, scale=scale, zero_point=zero_point)


def _unpack(packed: Any) -> tuple:
    return packed.unpack()  # type: ignore[no-any-return]


def _with_relu(function: Callable) -> Callable:
    return lambda *args: function(*args, relu=True)


def _operators() -> Iterator[tuple[str, Callable]]:
    """The schemas, and what they do."""
    yield "linear_prepack(Tensor W, Tensor? B=None) -> Any", LinearWeight
    yield "linear_prepack_fp16(Tensor W, Tensor? B=None) -> Any", HalfWeight
    yield "linear_unpack(Any W_prepack) -> (Tensor W_origin, Tensor? B_origin)", _unpack
    yield "linear_unpack_fp16(Any W_prepack) -> (Tensor W_origin, Tensor? B_origin)", _unpack
    yield f"linear_leaky_relu(Tensor X, Any W_prepack, {_OUT}, float negative_slope) -> Tensor", _linear_leaky_relu
    for relu in ("", "_relu"):
        wrap = _with_relu if relu else lambda function: function
        yield f"linear{relu}(Tensor X, Any W_prepack, {_OUT}) -> Tensor", wrap(products.static)
        yield f"linear{relu}_dynamic(Tensor X, Any W_prepack, bool reduce_range=False) -> Tensor", wrap(products.dynamic)
        yield f"linear{relu}_dynamic_fp16(Tensor X, Any W_prepack) -> Tensor", wrap(products.dynamic)
        for dims in (1, 2, 3):
            yield f"conv{dims}d{relu}(Tensor qx, Any packed_weight, {_OUT}) -> Tensor", wrap(products.static)
            yield f"batch_norm{dims}d{relu}({_BATCH_NORM}) -> Tensor", wrap(arithmetic.batch_norm)
        for name, function in (("add", arithmetic.add), ("mul", arithmetic.mul)):
            yield f"{name}{relu}(Tensor qa, Tensor qb, float scale, int zero_point) -> Tensor", wrap(function)
        for name, by_number in (("add", arithmetic.add_scalar), ("mul", arithmetic.mul_scalar)):
            yield f"{name}{relu}.Scalar(Tensor qa, Scalar b) -> Tensor", wrap(by_number)
            yield f"{name}_scalar{relu}(Tensor qa, Scalar b) -> Tensor", wrap(by_number)
        yield f"cat{relu}(Tensor[] qx, int dim, float? scale, int? zero_point) -> Tensor", wrap(arithmetic.cat)
    for dims in (1, 2, 3):
        yield f"conv{dims}d_prepack({_CONV.format('')}) -> Any", ConvWeight
        yield f"conv{dims}d_unpack(Any packed_weights) -> (Tensor unpacked_weights, Tensor? B_origin)", _unpack
        yield f"conv{dims}d_dynamic(Tensor qx, Any packed_weight, bool reduce_range=False) -> Tensor", products.dynamic
        yield f"conv_transpose{dims}d_prepack({_CONV.format('int[] output_padding, ')}) -> Any", _transposed
        yield f"conv_transpose{dims}d_unpack(Any packed_weights) -> (Tensor unpacked_weights, Tensor? B_origin)", _unpack
        yield f"conv_transpose{dims}d(Tensor qx, Any packed_weight, {_OUT}) -> Tensor", products.static
        yield f"conv_transpose{dims}d_dynamic(Tensor qx, Any packed_weight, bool reduce_range=False) -> Tensor", products.dynamic
    yield "matmul(Tensor qa, Tensor qb, float scale, int zero_point) -> Tensor", arithmetic.matmul
    for name, function, more in (
        ("sigmoid", F.sigmoid, ""), ("hardswish", F.hardswish, ""), ("softmax", F.softmax, "int dim, "),
    ):  # fmt: skip
        yield f"{name}(Tensor qx, {more}{_OUT}) -> Tensor", _of_numbers(function)
    yield f"leaky_relu(Tensor qx, Scalar negative_slope, bool inplace, {_OUT}) -> Tensor", _leaky_relu
    yield f"elu(Tensor self, {_OUT}, Scalar alpha=1, Scalar scale=1, Scalar input_scale=1) -> Tensor", _elu
    yield f"prelu(Tensor qx, Tensor weight, {_OUT}) -> Tensor", _of_numbers(lambda x, weight: F.prelu(x, weight.dequantize()))
    yield (
        f"layer_norm(Tensor input, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps, {_OUT}) -> Tensor",
        _of_numbers(F.layer_norm),
    )
    yield (
        f"group_norm(Tensor qx, int num_groups, Tensor? weight, Tensor? bias, float eps, {_OUT}) -> Tensor",
        _of_numbers(F.group_norm),
    )
    yield (
        f"instance_norm(Tensor input, Tensor? weight, Tensor? bias, float eps, {_OUT}) -> Tensor",
        _of_numbers(lambda x, weight, bias, eps: F.instance_norm(x, None, None, weight, bias, eps=eps)),
    )
    yield "relu6(Tensor qx, bool inplace=False) -> Tensor", lambda q, inplace=False: F.relu6(q)
    yield "clamp(Tensor qx, Scalar? min=None, Scalar? max=None) -> Tensor", lambda q, min=None, max=None: q.clamp(min, max)
    yield (
        "threshold(Tensor qx, Scalar threshold, Scalar value) -> Tensor",
        lambda q, threshold, value: F.threshold(q, threshold, value),
    )


def _transposed(
    weight: Any, bias: Any, stride: list, padding: list, output_padding: list, dilation: list, groups: int
) -> ConvWeight:
    return ConvWeight(weight, bias, stride, padding, dilation, groups, True, output_padding)


def define() -> None:
    """Defines the operators."""
    for schema, function in _operators():
        overload = operators.define(parse_schema(schema, "quantized"))
        overload.kernels["CPU"] = function

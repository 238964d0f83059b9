"""Quotients that are whole numbers, remainders, and bits: operators of PyTorch's as ONNX's.

Source: https://onnx.ai/onnx/operators/ (opset 18)
"""

from __future__ import annotations

from typing import Any

from flambeau.onnx.translations.registry import TRANSLATIONS, translates


@translates("floor_divide", "_floored_quotient")
def floored_quotient(w: Any, x: Any, y: Any) -> Any:
    """``x // y``, rounded down: of integers by the remainder, since ONNX rounds their quotient towards 0."""
    x, y = w.alike(x, y)
    if x.dtype.startswith("float"):
        return w.op("Floor", w.op("Div", x, y))
    return w.op("Div", w.op("Sub", x, w.op("Mod", x, y)), y)


@translates("_truncated_divide")
def truncated_quotient(w: Any, x: Any, y: Any) -> Any:
    """``x / y``, rounded towards 0."""
    out = w.op("Div", *w.alike(x, y))
    return out if not out.dtype.startswith("float") else w.op("Mul", w.op("Sign", out), w.op("Floor", w.op("Abs", out)))


@translates("remainder", "fmod")
def _remainder(w: Any, x: Any, y: Any) -> Any:
    x, y = w.alike(x, y)
    if w.name == "fmod":
        return w.op("Mod", x, y, fmod=1)
    if not x.dtype.startswith("float"):
        return w.op("Mod", x, y)
    return w.op("Sub", x, w.op("Mul", w.op("Floor", w.op("Div", x, y)), y))


for _name, _of_bits, _of_truths in (
    ("bitwise_and", "BitwiseAnd", "And"),
    ("bitwise_or", "BitwiseOr", "Or"),
    ("bitwise_xor", "BitwiseXor", "Xor"),
):
    TRANSLATIONS[_name] = lambda w, x, y, ops=(_of_bits, _of_truths): w.op(
        ops[w.result.dtype == "bool"], *w.alike(x, y, w.result.dtype)
    )


@translates("bitwise_not")
def _bitwise_not(w: Any, x: Any) -> Any:
    return w.op("Not" if x.dtype == "bool" else "BitwiseNot", x)


@translates("bitwise_left_shift", "bitwise_right_shift", "__lshift__", "__rshift__")
def _shift(w: Any, x: Any, y: Any) -> Any:
    """By products and quotients, since ONNX shifts numbers without a sign only."""
    x, y = w.alike(x, y)
    power = w.op("Pow", w.number(2, x), y)
    return w.op("Mul", x, power) if "left" in w.name or "lshift" in w.name else floored_quotient(w, x, power)

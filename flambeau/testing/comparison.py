"""``assert_close``: equal within tolerances, or an error that says where and by how much not."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from numbers import Number
from typing import Any

import numpy as np

from flambeau.core import dtypes
from flambeau.core.dtypes import dtype as Dtype
from flambeau.tensor import Tensor
from flambeau.tensor.exchange import as_tensor, tensor

__all__ = ["assert_allclose", "assert_close"]

_TOLERANCES = {
    dtypes.float16: (1e-3, 1e-5), dtypes.bfloat16: (1.6e-2, 1e-5), dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7), dtypes.complex64: (1.3e-6, 1e-5), dtypes.complex128: (1e-7, 1e-7),
}  # fmt: skip
_EXACT = (0.0, 0.0)


class _Unequal(Exception):
    """A difference, and the item of the nest that it was found in."""

    def __init__(self, message: str, path: tuple = (), error: type[Exception] = AssertionError) -> None:
        super().__init__(message)
        self.message, self.path, self.error = message, path, error


def assert_close(
    actual: Any, expected: Any, *, allow_subclasses: bool = True, rtol: float | None = None, atol: float | None = None,
    equal_nan: bool = False, check_device: bool = True, check_dtype: bool = True, check_layout: bool = True,
    check_stride: bool = False, msg: str | Callable[[str], str] | None = None,
) -> None:  # fmt: skip
    r"""Asserts :math:`|actual - expected| \leq atol + rtol \cdot |expected|`, elementwise, and equal shapes and dtypes.

    Numbers, tensors, NumPy arrays, and nests of them in sequences and mappings. Without ``rtol`` and ``atol`` they follow
    from the dtype: 1.3e-6 and 1e-5 for float32, 1e-7 and 1e-7 for float64, 0 and 0 for integers.

    >>> import flambeau as torch
    >>> torch.testing.assert_close(torch.tensor([1.0]), torch.tensor([1.0 + 1e-6]))
    >>> torch.testing.assert_close(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]))
    Traceback (most recent call last):
    AssertionError: Tensor-likes are not close!
    <BLANKLINE>
    Mismatched elements: 1 / 2 (50.0%)
    Greatest absolute difference: 0.5 at index (1,) (up to 1e-05 allowed)
    Greatest relative difference: 0.20000000298023224 at index (1,) (up to 1.3e-06 allowed)

    Raises:
        AssertionError: a value, shape or dtype differs.
        TypeError: two things are of kinds that cannot be compared.
        ValueError: only one of ``rtol`` and ``atol`` is given.

    Source: https://docs.pytorch.org/docs/stable/testing.html#torch.testing.assert_close
    """
    if (rtol is None) != (atol is None):
        raise ValueError(
            f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {'rtol' if rtol is None else 'atol'}."
        )
    tolerances = None if rtol is None or atol is None else (rtol, atol)
    check = {"dtype": check_dtype, "stride()": check_stride}
    try:
        _compare(actual, expected, tolerances, equal_nan, check)
    except _Unequal as difference:
        message = difference.message
        if difference.path:
            message += "\n\nThe failure occurred for item " + "".join(f"[{key!r}]" for key in difference.path)
        if msg is not None and difference.error is AssertionError:
            message = msg(message) if callable(msg) else msg
        raise difference.error(message) from None


def assert_allclose(
    actual: Any, expected: Any, rtol: float | None = None, atol: float | None = None, equal_nan: bool = True, msg: str = ""
) -> None:
    """The old form of :func:`assert_close`: dtypes may differ, and NaN equals NaN."""
    warnings.warn(
        "`torch.testing.assert_allclose()` is deprecated since 1.12; use `torch.testing.assert_close()` instead.",
        FutureWarning,
        stacklevel=2,
    )
    actual, expected = (x if isinstance(x, Tensor) else tensor(x) for x in (actual, expected))
    if rtol is None and atol is None:
        pairs = [_TOLERANCES.get(x.dtype, _EXACT) for x in (actual, expected)]
        rtol, atol = (max(values) for values in zip(*pairs, strict=True))
    assert_close(
        actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False, check_stride=False, msg=msg or None
    )


def _compare(actual: Any, expected: Any, tolerances: tuple | None, equal_nan: bool, check: dict) -> None:
    kinds = (actual, expected)

    def both(*types: type) -> bool:
        return all(isinstance(x, types) for x in kinds)

    def inside(key: Any, a: Any, e: Any) -> None:
        try:
            _compare(a, e, tolerances, equal_nan, check)
        except _Unequal as difference:
            difference.path = (key, *difference.path)
            raise

    if both(Sequence) and not any(isinstance(x, str) for x in kinds):
        if len(actual) != len(expected):
            raise _Unequal(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}")
        for i, (a, e) in enumerate(zip(actual, expected, strict=True)):
            inside(i, a, e)
    elif both(Mapping):
        missing, extra = expected.keys() - actual.keys(), actual.keys() - expected.keys()
        if missing or extra:
            raise _Unequal(
                "The keys of the mappings do not match:\n"
                f"Missing keys in the actual mapping: {sorted(missing, key=str)}\n"
                f"Additional keys in the actual mapping: {sorted(extra, key=str)}"
            )
        for key in sorted(actual, key=str):
            inside(key, actual[key], expected[key])
    elif actual is None or expected is None:
        if actual is not expected:
            raise _Unequal(f"None mismatch: {actual} is not {expected}")
    elif both(bool, np.bool_):
        if actual != expected:
            raise _Unequal(f"Booleans mismatch: {actual} is not {expected}")
    elif both(Number, np.number):
        if actual is not expected:
            _compare_numbers(actual, expected, tolerances, equal_nan)
    elif both(Tensor, np.ndarray) and (both(Tensor) or both(np.ndarray)):
        _compare_tensors(as_tensor(actual).detach(), as_tensor(expected).detach(), tolerances, equal_nan, check)
    else:
        raise _Unequal(f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}.", (), TypeError)


def _tolerances(given: tuple | None, *found: Dtype) -> tuple[float, float]:
    if given is not None:
        return given
    pairs = [_TOLERANCES.get(d, _EXACT) for d in found]
    return max(p[0] for p in pairs), max(p[1] for p in pairs)


def _number_dtype(x: Any) -> Dtype:
    if isinstance(x, (int, np.integer)):
        return dtypes.int64
    return dtypes.float64 if isinstance(x, (float, np.floating)) else dtypes.complex128


def _close(a: np.ndarray, e: np.ndarray, rtol: float, atol: float, equal_nan: bool) -> np.ndarray:
    if not rtol and not atol and a.dtype.kind in "biu":
        return np.asarray(a == e)
    return np.isclose(a, e, rtol=rtol, atol=atol, equal_nan=equal_nan)


def _compare_numbers(actual: Any, expected: Any, given: tuple | None, equal_nan: bool) -> None:
    rtol, atol = _tolerances(given, _number_dtype(actual), _number_dtype(expected))
    with np.errstate(all="ignore"):
        if np.isclose(actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan):
            return
    raise _Unequal(_scalar_message(actual, expected, rtol, atol))


def _scalar_message(actual: Any, expected: Any, rtol: float, atol: float) -> str:
    absolute = abs(actual - expected)
    relative = absolute / abs(expected) if expected else float("inf")
    exact = not rtol and not atol

    def allowed(bound: float) -> str:
        return "" if exact else f" (up to {bound} allowed)"

    return (
        f"Scalars are not {'equal' if exact else 'close'}!\n\nExpected {expected} but got {actual}.\n"
        f"Absolute difference: {absolute}{allowed(atol)}\nRelative difference: {relative}{allowed(rtol)}"
    )


def _compare_tensors(actual: Tensor, expected: Tensor, given: tuple | None, equal_nan: bool, check: dict) -> None:
    def same(name: str, a: Any, e: Any) -> None:
        if a != e:
            raise _Unequal(f"The values for attribute '{name}' do not match: {a} != {e}.")

    same("shape", actual.shape, expected.shape)
    if check["dtype"]:
        same("dtype", actual.dtype, expected.dtype)
    if check["stride()"]:
        same("stride()", actual.stride(), expected.stride())
    rtol, atol = _tolerances(given, actual.dtype, expected.dtype)
    dtype = dtypes.promote_types(actual.dtype, expected.dtype)
    a, e = (_as_numpy(x, dtype) for x in (actual, expected))
    with np.errstate(all="ignore"):
        close = _close(a, e, rtol, atol, equal_nan)
        if close.all():
            return
        raise _Unequal(_tensor_message(a, e, close, rtol, atol))


def _as_numpy(x: Tensor, dtype: Dtype) -> np.ndarray:
    x = x.to(dtype)
    return x.to(dtypes.float32).numpy() if dtype in (dtypes.bfloat16, dtypes.float16) else x.numpy()


def _tensor_message(a: np.ndarray, e: np.ndarray, close: np.ndarray, rtol: float, atol: float) -> str:
    exact = not rtol and not atol
    if a.dtype.kind in "biu":
        a, e = a.astype(np.int64), e.astype(np.int64)
    if not a.shape:
        return _scalar_message(a.item(), e.item(), rtol, atol)
    absolute = np.where(close, 0, np.abs(a - e))  # where close, a difference is of no interest
    relative = np.where(close, 0, absolute / np.abs(e.astype(np.float32) if a.dtype.kind == "i" else e))
    if a.dtype.kind == "i":
        relative = relative.astype(np.float32)
    wrong = int((~close).sum())

    def greatest(differences: np.ndarray, bound: float) -> str:
        index = np.unravel_index(int(differences.argmax()), differences.shape)  # argmax: NaN is the greatest
        allowed = "" if exact else f" (up to {bound} allowed)"
        return f"{differences[index].item()} at index {tuple(int(i) for i in index)}{allowed}"

    return (
        f"Tensor-likes are not {'equal' if exact else 'close'}!\n\n"
        f"Mismatched elements: {wrong} / {a.size} ({wrong / a.size:.1%})\n"
        f"Greatest absolute difference: {greatest(absolute, atol)}\n"
        f"Greatest relative difference: {greatest(relative, rtol)}"
    )

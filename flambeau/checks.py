"""Checks that programs write: ``torch._check(x.dim() == 2, lambda: "...")`` and its relatives, each with its exception.

Source: https://docs.pytorch.org/docs/stable/compile/programming_model.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.core import dtypes
from flambeau.tensor import Tensor

__all__: list[str] = []


def _check_with(error_type: type[Exception], cond: Any, message: Callable[[], Any] | None) -> None:
    """Raises ``error_type`` with ``message()`` where ``cond``, a bool, is False.

    Raises:
        TypeError: ``cond`` is no bool, or ``message`` no function.
    """
    if not isinstance(cond, bool) and type(cond).__name__ not in ("SymBool",):
        raise TypeError(f"cond must be a bool, but got {type(cond)}")
    if cond:
        return
    if message is None:
        text = "Expected cond to be True, but got False. (Could this error message be improved? If so, please report an enhancement request to PyTorch.)"
    else:
        if not callable(message):
            raise TypeError("message must be a callable")
        text = str(message())
    raise error_type(text)


def _check_tensor_all_with(error_type: type[Exception], cond: Any, message: Callable[[], Any] | None = None) -> None:
    """Raises ``error_type`` where an element of ``cond``, a tensor of bools, is False.

    Raises:
        TypeError: ``cond`` is no tensor of bools.
    """
    if not isinstance(cond, Tensor):
        raise TypeError(f"cond must be a tensor, but got {type(cond)}")
    if cond.dtype is not dtypes.bool:
        raise TypeError(f"cond tensor must have dtype torch.bool, but got {cond.dtype}")
    _check_with(error_type, bool(cond.all()), message)


def _check(cond: Any, message: Callable[[], Any] | None = None) -> None:
    """Raises a ``RuntimeError`` where ``cond`` is False."""
    _check_with(RuntimeError, cond, message)


def _check_is_size(i: Any, message: Callable[[], Any] | None = None, *, max: int | None = None) -> None:
    """Raises a ``RuntimeError`` where a size is negative, or above ``max``."""
    _check(i >= 0, message)
    if max is not None:
        _check(i <= max, message)


def _check_index(cond: Any, message: Callable[[], Any] | None = None) -> None:
    """Raises an ``IndexError`` where ``cond`` is False."""
    _check_with(IndexError, cond, message)


def _check_value(cond: Any, message: Callable[[], Any] | None = None) -> None:
    """Raises a ``ValueError`` where ``cond`` is False."""
    _check_with(ValueError, cond, message)


def _check_type(cond: Any, message: Callable[[], Any] | None = None) -> None:
    """Raises a ``TypeError`` where ``cond`` is False."""
    _check_with(TypeError, cond, message)


def _check_not_implemented(cond: Any, message: Callable[[], Any] | None = None) -> None:
    """Raises a ``NotImplementedError`` where ``cond`` is False."""
    _check_with(NotImplementedError, cond, message)


def _check_tensor_all(cond: Any, message: Callable[[], Any] | None = None) -> None:
    """Raises a ``RuntimeError`` where an element of ``cond``, a tensor of bools, is False."""
    if not isinstance(cond, Tensor):
        raise TypeError(f"cond must be a tensor, but got {type(cond)}")
    if str(cond.dtype) != "torch.bool":
        raise TypeError(f"cond tensor must have dtype torch.bool, but got {cond.dtype}")
    _check_with(RuntimeError, bool(cond.all()), message)


def _assert_async(input: Tensor, assert_msg: str = "") -> None:
    """Raises a ``RuntimeError`` where a tensor of one element is zero."""
    if not bool(input):
        raise RuntimeError(assert_msg or "Expected Tensor with single nonzero value, but got zero")


def _shape_as_tensor(self: Tensor) -> Tensor:
    """The shape as an int64 tensor."""
    from flambeau.onnx.operators import shape_as_tensor

    return shape_as_tensor(self)


def _assert(condition: Any, message: str) -> None:
    """``assert condition, message`` as a function, which symbolic tracing can follow."""
    if not isinstance(condition, Tensor) and hasattr(type(condition), "__torch_function__"):
        from flambeau.overrides import handle_torch_function

        handle_torch_function(_assert, (condition,), condition, message)
        return
    assert condition, message

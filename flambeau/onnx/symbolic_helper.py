"""``torch.onnx.symbolic_helper``: what functions that describe an export are written with. Nothing is exported, so none is called."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["parse_args", "quantized_args"]


def parse_args(*arg_descriptors: str) -> Callable[[Callable], Callable]:
    """A decorator that says what the arguments of a function that describes an export are: values, integers, lists.

    Raises:
        ValueError: an argument is none of these.
    """
    for kind in arg_descriptors:
        if kind not in ("v", "i", "is", "f", "fs", "b", "s", "t", "none"):
            raise ValueError(f"Casting to {kind} is not supported")

    def decorator(function: Callable) -> Callable:
        function._arg_descriptors = arg_descriptors  # type: ignore[attr-defined]
        return function

    return decorator


def quantized_args(*arg_q_descriptors: bool, **settings: object) -> Callable[[Callable], Callable]:
    """A decorator that says which arguments of such a function may be quantized."""

    def decorator(function: Callable) -> Callable:
        function._quantized_args = arg_q_descriptors  # type: ignore[attr-defined]
        return function

    return decorator

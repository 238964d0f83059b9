"""How the errors of a program that torchrun has started are told: by their tracebacks, as always."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["record"]


def record(fn: Callable, error_handler: Any = None) -> Callable:
    """``fn``, whose error torchrun would be told of in a file; of one process its traceback is printed."""
    return fn

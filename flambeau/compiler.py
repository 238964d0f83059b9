"""``torch.compiler``: marks for PyTorch's compiler, of which there is none; functions stay what they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = [
    "allow_in_graph", "assume_constant_result", "compile", "cudagraph_mark_step_begin", "disable", "is_compiling",
    "is_dynamo_compiling", "is_exporting", "list_backends", "reset",
]  # fmt: skip


def compile(
    model: Any = None, *, fullgraph: bool = False, dynamic: bool | None = None, backend: Any = "inductor",
    mode: str | None = None, options: Any = None, disable: bool = False,
) -> Any:  # fmt: skip
    """Returns ``model`` as it is, or a decorator that does: every program is recorded and planned without being asked.

    >>> import flambeau as torch
    >>> torch.compile(torch.sin) is torch.sin
    True
    """
    return model if model is not None else lambda function: function


def disable(fn: Callable | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """Returns ``fn`` as it is, or a decorator that does."""
    return fn if fn is not None else lambda function: function


def allow_in_graph(fn: Any) -> Any:
    return fn


assume_constant_result = allow_in_graph


def is_compiling() -> bool:
    """False."""
    return False


is_dynamo_compiling = is_exporting = is_compiling


def list_backends(exclude_tags: Any = ()) -> list[str]:
    """No backends."""
    return []


def reset() -> None:
    """There is nothing to forget."""


def cudagraph_mark_step_begin() -> None:
    """There are no CUDA graphs."""

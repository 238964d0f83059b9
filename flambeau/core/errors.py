"""Errors that say what was expected, what came, and where."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def is_own_file(path: str) -> bool:
    """Whether a source file is flambeau's."""
    return path.startswith(_PACKAGE)


def caller_site() -> str:
    """The innermost line outside flambeau, as ``file, line n``."""
    frame = sys._getframe(1)
    while frame is not None and is_own_file(frame.f_code.co_filename):
        frame = frame.f_back  # type: ignore[assignment]
    return f"{frame.f_code.co_filename}, line {frame.f_lineno}" if frame is not None else "an unknown line"


warned = 0
"""How often :func:`warn` has been called."""


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warns of the innermost line outside flambeau."""
    global warned
    warned += 1
    level, frame = 1, sys._getframe(0)
    while frame is not None and is_own_file(frame.f_code.co_filename):
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    warnings.warn(message, category, stacklevel=level)


def describe(value: object) -> str:
    """A value's type as an error message names it: ``Tensor``, ``int``, ``tuple of (int, int)``."""
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list) and value:
        return f"{type(value).__name__} of ({', '.join(describe(v) for v in value[:6])}{', ...' if len(value) > 6 else ''})"
    return type(value).__name__


def out_of_memory(error: MemoryError) -> RuntimeError:
    """The error that PyTorch raises where memory cannot be had."""
    return RuntimeError(f"DefaultCPUAllocator: can't allocate memory: {error}")


def explain_arguments(name: str, function: Callable, args: tuple, kwargs: dict, error: TypeError) -> TypeError:
    """The error for a call whose arguments ``function`` does not take."""
    import inspect

    got = ", ".join([*map(describe, args), *(f"{k}={describe(v)}" for k, v in kwargs.items())])
    signature = inspect.signature(function)
    plain = signature.replace(
        parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values()],
        return_annotation=signature.empty,
    )
    reason = str(error).partition("() ")[2]
    return TypeError(
        f"{name}() received an invalid combination of arguments - got ({got}), but expected {name}{plain} ({reason})"
    )

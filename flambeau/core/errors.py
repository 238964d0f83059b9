"""Errors that say what was expected, what came, and where."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from math import prod

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
    shape, dtype = getattr(error, "shape", None), getattr(error, "dtype", None)  # of NumPy's
    told = str(error) if shape is None or dtype is None else f"you tried to allocate {prod(shape) * dtype.itemsize} bytes"
    return RuntimeError(
        f"[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: {told}. "
        "Error code 12 (Cannot allocate memory)"
    )


def is_passing(error: BaseException, *called: object) -> bool:
    """Whether an error says nothing about what was being done: the next time it may not come.

    So it is for memory and stack that ran out, and for what the user's code raised in the middle of it: a signal handler, or
    another thread that throws something into this one. ``called`` are functions of others' that were being called.
    """
    if isinstance(error, (MemoryError, RecursionError, TimeoutError, InterruptedError)) or not isinstance(error, Exception):
        return True
    known = {getattr(function, "__module__", None) for function in called}
    if not _is_known(type(error).__module__, known):
        return True
    trace = error.__traceback__
    while trace is not None:
        if not _is_known(trace.tb_frame.f_globals.get("__name__", ""), known):
            return True
        trace = trace.tb_next
    return False


def _is_known(module: str, known: set) -> bool:
    """Whether code of a module runs when flambeau's does."""
    root = module.partition(".")[0]
    return not root or root in _ROOTS or root in sys.stdlib_module_names or module in known


_ROOTS = ("flambeau", "numpy", "ml_dtypes", "llvmlite", "scipy")


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

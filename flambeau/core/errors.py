"""Errors that say what was expected, what came, and where."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from copy import copy
from math import prod
from types import FrameType

from flambeau.core.keywords import meant

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def is_own_file(path: str) -> bool:
    """Whether a source file is flambeau's."""
    return path.startswith(_PACKAGE)


def caller_frame() -> FrameType | None:
    """The innermost frame outside flambeau."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_own_file(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def caller_site() -> str:
    """The innermost line outside flambeau, as ``file, line n``."""
    frame = caller_frame()
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


warn_always = False
"""Whether :func:`warn_once` warns each time."""
_said: set[str] = set()


def warn_once(message: str) -> None:
    """Warns where nobody has been told the same before, in this process."""
    if warn_always or message not in _said:
        _said.add(message)
        warn(message)


def set_warn_always(b: bool) -> None:
    """Whether warnings that usually appear once in a process, such as that of typed storages, appear each time.

    >>> import flambeau as torch
    >>> torch.set_warn_always(True)
    >>> torch.is_warn_always_enabled()
    True
    >>> torch.set_warn_always(False)

    Source: https://docs.pytorch.org/docs/stable/generated/torch.set_warn_always.html
    """
    global warn_always
    if not isinstance(b, bool):
        raise RuntimeError(f"setWarnOnlyOnce expects a bool, but got {type(b).__name__}")
    warn_always = b


def is_warn_always_enabled() -> bool:
    """Whether :func:`set_warn_always` is on."""
    return warn_always


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


def raise_first(errors: list, hides: bool = False) -> None:
    """Raises the first of ``errors`` that is none of ``None``; with ``hides`` it does not say while which other it came up.

    The list is emptied, and no frame that the error goes through holds it in a variable. The two would be a ring, in which all
    tensors of the frames above live until the collector of garbage comes: an error of memory that ran out would keep it.
    """
    error = next((error for error in errors if error is not None), None)
    errors.clear()
    if error is None:
        return
    try:
        if hides:
            raise error from None
        raise error
    finally:
        del error


def fresh(error: Exception) -> Exception:
    """A copy of an error that has not been raised: it knows no frames."""
    try:
        other = copy(error)
    except Exception:  # of a class that cannot be made from its arguments
        other = error
    return other.with_traceback(None)


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
    unknown = reason.partition("unexpected keyword argument '")[2].partition("'")[0]
    if unknown and "Did you mean" not in reason and (close := meant(unknown, list(signature.parameters))):
        reason += f". Did you mean '{close}'?"
    return TypeError(f"{name}() received an invalid combination of arguments - got ({got}), but expected {name}{plain} ({reason})")

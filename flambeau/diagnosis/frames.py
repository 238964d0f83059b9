"""Which lines of a traceback are the user's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from types import TracebackType

import flambeau

_PACKAGE = os.path.dirname(flambeau.__file__) + os.sep
_EXAMPLES = os.path.join(_PACKAGE, "examples") + os.sep


def entries(traceback: TracebackType | None) -> Iterator[TracebackType]:
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def is_ours(file: str) -> bool:
    """Whether code is flambeau's, or that of Python's import system."""
    return (file.startswith(_PACKAGE) and not file.startswith(_EXAMPLES)) or file.startswith("<frozen ")


def keep_user_frames(error: BaseException | None) -> None:
    """Drops flambeau's frames, and those of Python's own import system, from ``error`` and from what caused it.

    An error that no line of the user's led to keeps its frames, unless it is what caused another.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        kept: TracebackType | None = None
        for entry in reversed(list(entries(error.__traceback__))):
            if not is_ours(entry.tb_frame.f_code.co_filename):
                kept = TracebackType(kept, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
        if kept is not None or isinstance(error, SyntaxError) or len(seen) > 1:
            error.__traceback__ = kept
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)

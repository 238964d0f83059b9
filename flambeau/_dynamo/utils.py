"""Where programs look for what can be compiled, and what has been counted."""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from flambeau._dynamo import is_compile_supported

__all__ = ["counters", "is_compile_supported", "warn_once"]

counters: defaultdict[str, Counter[str]] = defaultdict(Counter)
"""What PyTorch's compiler counts by subject. Here :func:`flambeau.engine_stats` counts, and these stay empty."""


@contextmanager
def disable_cache_limit() -> Iterator[None]:
    """Inside of the block functions may be compiled for as many kinds of arguments as there are, as elsewhere: there is no limit."""
    yield


@cache
def warn_once(msg: str, stacklevel: int = 1) -> None:
    """Warns, the first time that it is called with a text."""
    warnings.warn(msg, stacklevel=stacklevel + 1)

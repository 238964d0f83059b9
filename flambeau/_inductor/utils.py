"""Helpers that tests and benchmarks of compiled programs use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.compiler import reset

__all__ = ["clear_caches", "fresh_cache", "fresh_inductor_cache", "run_and_get_code"]


def clear_caches() -> None:
    """Forgets what compiled functions have captured."""
    reset()


@contextmanager
def fresh_cache(cache_entries: dict[str, Any] | None = None, dir: str | None = None, delete: bool = True) -> Iterator[None]:
    """Nothing that was captured before counts inside, nor afterwards what was captured inside."""
    reset()
    try:
        yield
    finally:
        reset()


fresh_inductor_cache = fresh_cache


def run_and_get_code(fn: Callable, *args: Any, **kwargs: Any) -> Any:
    """Refuses: kernels are made from a program's traces, by LLVM, and there is no source of them to be shown.

    ``FLAMBEAU_LOG=plan`` prints what becomes of a trace.
    """
    raise NotImplementedError("run_and_get_code: kernels have no source code here; FLAMBEAU_LOG=plan prints what is run")

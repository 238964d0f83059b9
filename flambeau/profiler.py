"""``torch.profiler``: only the marks that programs leave in their code. To measure, use Python's ``cProfile``."""

from __future__ import annotations

from contextlib import ContextDecorator
from typing import Any

__all__ = ["record_function"]


class record_function(ContextDecorator):
    """Names a stretch of code for a profile; no profile is made here, and the code runs as it is."""

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args

    def __enter__(self) -> record_function:
        return self

    def __exit__(self, *exc: Any) -> None:
        pass

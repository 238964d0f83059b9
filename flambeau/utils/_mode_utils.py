"""Where libraries turn classes of tensors off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["no_dispatch"]


@contextmanager
def no_dispatch() -> Iterator[None]:
    """Inside, no class of tensors is asked by its ``__torch_dispatch__``."""
    from flambeau.library.dispatched import off

    before, off.on = off.on, True
    try:
        yield
    finally:
        off.on = before

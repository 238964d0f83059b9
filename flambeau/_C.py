"""Names that libraries take from PyTorch's compiled part."""

from __future__ import annotations

from flambeau.core.device import device
from flambeau.core.dtypes import dtype
from flambeau.core.memory_format import layout, memory_format
from flambeau.core.random import Generator
from flambeau.core.size import Size

__all__ = ["Generator", "Size", "device", "dtype", "layout", "memory_format"]


def _log_api_usage_once(event: str) -> None:
    """Nothing is logged."""


def _get_tracing_state() -> None:
    """None: nothing is traced."""

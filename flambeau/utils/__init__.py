"""``torch.utils``: what helps programs around their networks. Data loading is in :mod:`flambeau.utils.data`."""

from __future__ import annotations

import importlib
from typing import Any

from flambeau.utils import data

__all__ = ["data"]


def __getattr__(name: str) -> Any:
    if name in ("_device", "checkpoint", "dlpack"):
        return importlib.import_module(f"flambeau.utils.{name}")
    raise AttributeError(f"module 'torch.utils' has no attribute '{name}'", name=name)

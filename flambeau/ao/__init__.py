"""``torch.ao``: what models are made of so that they can be quantized."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("nn", "quantization"):
        return import_module(f"flambeau.ao.{name}")
    raise AttributeError(f"module 'torch.ao' has no attribute '{name}': flambeau does not have it", name=name)

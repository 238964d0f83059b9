"""``torch._subclasses.fake_tensor``: whether a tensor is a fake one, which programs ask before they look at values."""

from __future__ import annotations

from typing import Any

__all__ = ["is_fake"]


def is_fake(x: Any) -> bool:
    """Whether ``x`` is a fake tensor, as PyTorch's exporter makes them. Here none is made."""
    return False

"""``torch.accelerator`` on a machine without one: programs ask :func:`is_available` first."""

from __future__ import annotations

from typing import Any

from flambeau.core import device as devices

__all__ = ["current_accelerator", "device_count", "is_available", "synchronize"]


def is_available() -> bool:
    """False: flambeau computes on the CPU."""
    return False


def device_count() -> int:
    return 0


def current_accelerator(check_available: bool = False) -> devices.device | None:
    """None."""
    return None


def _absent(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("Cannot access accelerator device when none is available: use the CPU.")


current_device_index = set_device_index = current_stream = set_stream = synchronize = _absent
current_device_idx, set_device_idx = current_device_index, set_device_index


def empty_cache() -> None:
    """Nothing is cached on a device that is absent."""

"""``torch.mps``: a kind of device that flambeau does not compute on."""

from __future__ import annotations

__all__ = ["device_count", "empty_cache", "is_available", "manual_seed"]


def is_available() -> bool:
    """False: flambeau computes on the CPU."""
    return False


def device_count() -> int:
    return 0


def manual_seed(seed: int) -> None:
    """Seeds a device that there is none of: nothing happens."""


def empty_cache() -> None:
    """Nothing is cached on a device that is absent."""

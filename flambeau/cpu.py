"""``torch.cpu``: the device that flambeau computes on, asked in the way of ``torch.cuda``."""

from __future__ import annotations

from typing import Any

from flambeau.engine.run import run_pending

__all__ = ["current_device", "device_count", "is_available", "is_initialized", "set_device", "synchronize"]


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    return True


def device_count() -> int:
    return 1


def current_device() -> str:
    return "cpu"


def set_device(device: Any) -> None:
    """There is only one."""


def synchronize(device: Any = None) -> None:
    """Waits until all that has been recorded has run, as :func:`torch.synchronize` does."""
    run_pending()

"""``torch.accelerator`` on a machine without one: programs ask :func:`is_available` first."""

from __future__ import annotations

from typing import Any

from flambeau.core import device as devices
from flambeau.engine.run import run_pending

__all__ = ["current_accelerator", "device_count", "is_available", "synchronize"]


def is_available() -> bool:
    """False: flambeau computes on the CPU."""
    return False


def device_count() -> int:
    return 0


def current_accelerator(check_available: bool = False) -> devices.device | None:
    """None."""
    return None


def synchronize(device: Any = None) -> None:
    """Waits until all that has been recorded has run, as :func:`torch.synchronize` does.

    PyTorch refuses it without an accelerator; who times a training step by the clock is to get the time of the whole step.
    """
    run_pending()


def _absent(*args: Any, **kwargs: Any) -> None:
    raise RuntimeError("Cannot access accelerator device when none is available: use the CPU.")


current_device_index = set_device_index = current_stream = set_stream = _absent
current_device_idx, set_device_idx = current_device_index, set_device_index


def empty_cache() -> None:
    """Nothing is cached on a device that is absent."""

"""``torch.accelerator`` on a machine without one: programs ask :func:`is_available` first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.core import device as devices
from flambeau.core.absent import AbsentDevice, count_of_none, does_nothing, empty_dict
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


def _refusing(name: str) -> Callable:
    def refused(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("Cannot access accelerator device when none is available: use the CPU.")

    refused.__name__ = refused.__qualname__ = name
    refused.__doc__ = "Refuses: there is no accelerator."
    return refused


current_device_index, set_device_index = _refusing("current_device_index"), _refusing("set_device_index")
current_stream, set_stream = _refusing("current_stream"), _refusing("set_stream")
get_device_capability, get_memory_info = _refusing("get_device_capability"), _refusing("get_memory_info")
current_device_idx, set_device_idx = current_device_index, set_device_index

for _name in "empty_cache empty_host_cache reset_peak_memory_stats reset_accumulated_memory_stats".split():
    globals()[_name] = does_nothing(_name, __name__)
for _name in "memory_allocated max_memory_allocated memory_reserved max_memory_reserved".split():
    globals()[_name] = count_of_none(_name, __name__)
memory_stats = empty_dict("memory_stats", __name__)


class device_index(AbsentDevice):
    """``with torch.accelerator.device_index(i):`` changes nothing: there is none."""

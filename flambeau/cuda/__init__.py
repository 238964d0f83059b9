"""``torch.cuda`` on a machine without CUDA: nothing is available, and asking for a device says so."""

from __future__ import annotations

import importlib
from types import ModuleType

from flambeau.core import device as devices


def is_available() -> bool:
    """False: flambeau computes on the CPU."""
    return False


def device_count() -> int:
    return 0


def is_initialized() -> bool:
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    return False


def _absent(*args, **kwargs):
    devices.check("cuda")


current_device = get_device_name = get_device_properties = get_device_capability = set_device = _absent
synchronize = current_stream = memory_stats = Stream = Event = _absent


def manual_seed(seed: int) -> None:
    """Seeds a device that there is none of: nothing happens, as in PyTorch."""


def manual_seed_all(seed: int) -> None:
    """Seeds the devices, of which there are none."""


def empty_cache() -> None:
    """Nothing is cached on a device that is absent."""


def memory_allocated(device=None) -> int:
    return 0


max_memory_allocated = memory_reserved = max_memory_reserved = memory_allocated


def reset_peak_memory_stats(device=None) -> None:
    """Nothing to reset."""


def __getattr__(name: str) -> ModuleType:
    if name == "amp":
        return importlib.import_module("flambeau.cuda.amp")
    raise AttributeError(f"module 'torch.cuda' has no attribute '{name}'", name=name)

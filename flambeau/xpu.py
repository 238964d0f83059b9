"""``torch.xpu``: a kind of device that flambeau does not compute on."""

from __future__ import annotations

from typing import Any

from flambeau.core.absent import AbsentDevice, count_of_none, does_nothing, empty_dict, refusing, refusing_class

_HERE = __name__


def is_available() -> bool:
    """False: flambeau computes on the CPU."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False."""
    return False


def is_tf32_supported() -> bool:
    """False."""
    return False


def get_arch_list() -> list[str]:
    return []


def get_gencode_flags() -> str:
    return ""


def get_rng_state_all() -> list:
    """The states of no generators."""
    return []


default_generators: tuple = ()

for _name in (
    "can_device_access_peer current_device current_stream get_device_capability get_device_name get_device_properties get_rng_state "
    "get_stream_from_external init initial_seed is_current_stream_capturing mem_get_info set_device set_rng_state synchronize "
    "set_per_process_memory_fraction get_per_process_memory_fraction make_graphed_callables graph_pool_handle memory_snapshot"
).split():
    globals()[_name] = refusing(_name, _HERE, "xpu")
for _name in "empty_cache manual_seed manual_seed_all seed seed_all reset_peak_memory_stats reset_accumulated_memory_stats set_stream set_rng_state_all".split():
    globals()[_name] = does_nothing(_name, _HERE)
for _name in "memory_allocated max_memory_allocated memory_reserved max_memory_reserved".split():
    globals()[_name] = count_of_none(_name, _HERE)
for _name in "memory_stats memory_stats_as_nested_dict".split():
    globals()[_name] = empty_dict(_name, _HERE)
for _name in "Event Stream MemPool XPUGraph".split():
    globals()[_name] = refusing_class(_name, _HERE, "xpu")


class device(AbsentDevice):
    """``with torch.xpu.device(i):`` changes nothing: there is none."""


class device_of(AbsentDevice):
    """``with torch.xpu.device_of(tensor):`` changes nothing: it is on the CPU."""


class StreamContext(AbsentDevice):
    """``with torch.xpu.stream(s):`` changes nothing: there is none."""


def stream(stream: Any) -> StreamContext:
    """``with torch.xpu.stream(None):`` changes nothing."""
    return StreamContext(stream)

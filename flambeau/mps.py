"""``torch.mps``: a kind of device that flambeau does not compute on."""

from __future__ import annotations

from flambeau.core.absent import count_of_none, does_nothing, refusing, refusing_class

_HERE = __name__


def is_available() -> bool:
    """False: flambeau computes on the CPU."""
    return False


def device_count() -> int:
    """0."""
    return 0


for _name in "synchronize get_rng_state set_rng_state compile_shader load_metallib".split():
    globals()[_name] = refusing(_name, _HERE, "mps")
for _name in "manual_seed seed empty_cache set_per_process_memory_fraction".split():
    globals()[_name] = does_nothing(_name, _HERE)
for _name in "current_allocated_memory driver_allocated_memory recommended_max_memory".split():
    globals()[_name] = count_of_none(_name, _HERE)
Event = refusing_class("Event", _HERE, "mps")

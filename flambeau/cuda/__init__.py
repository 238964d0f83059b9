"""``torch.cuda`` on a machine without CUDA: what counts says none, what seeds or frees does nothing, what needs a device says so.

As PyTorch's build for CPUs: programs ask :func:`is_available` first, and those that do not are told.
Source: https://docs.pytorch.org/docs/stable/cuda.html
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from flambeau.core.absent import AbsentDevice, count_of_none, does_nothing, empty_dict, refusing, refusing_class

_HERE = __name__
_initialized = False  # which checkpoints of other libraries look at before they keep states of devices


def is_available() -> bool:
    """False: flambeau computes on the CPU."""
    return False


def device_count() -> int:
    """0."""
    return 0


def is_initialized() -> bool:
    """False."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False."""
    return False


def is_tf32_supported() -> bool:
    """False."""
    return False


def get_arch_list() -> list[str]:
    """No architectures have been compiled for."""
    return []


def get_gencode_flags() -> str:
    return ""


def get_rng_state_all() -> list:
    """The states of no generators."""
    return []


def set_rng_state_all(new_states: Any) -> None:
    """Sets the states of no generators."""


def list_gpu_processes(device: Any = None) -> str:
    return "no GPU: nothing runs there"


default_generators: tuple = ()
has_half = has_magma = False

for _name in (
    "can_device_access_peer current_blas_handle current_device current_stream cudart default_stream get_allocator_backend get_device_capability "
    "get_device_name get_device_properties get_rng_state get_stream_from_external get_sync_debug_mode init initial_seed ipc_collect is_current_stream_capturing "
    "mem_get_info memory_snapshot memory_summary set_device set_per_process_memory_fraction get_per_process_memory_fraction set_rng_state "
    "set_sync_debug_mode synchronize utilization temperature power_draw clock_rate memory_usage graph_pool_handle make_graphed_callables "
    "change_current_allocator caching_allocator_alloc caching_allocator_delete device_memory_used check_error"
).split():
    globals()[_name] = refusing(_name, _HERE, "cuda")
for _name in "empty_cache manual_seed manual_seed_all seed seed_all reset_peak_memory_stats reset_max_memory_allocated reset_max_memory_cached reset_accumulated_memory_stats reset_peak_host_memory_stats reset_accumulated_host_memory_stats set_stream".split():
    globals()[_name] = does_nothing(_name, _HERE)
for _name in "memory_allocated max_memory_allocated memory_reserved max_memory_reserved memory_cached max_memory_cached".split():
    globals()[_name] = count_of_none(_name, _HERE)
for _name in "memory_stats memory_stats_as_nested_dict host_memory_stats host_memory_stats_as_nested_dict".split():
    globals()[_name] = empty_dict(_name, _HERE)
for _name in "CUDAGraph Event ExternalStream MemPool MemPoolContext Stream CUDAPluggableAllocator GreenContext".split():
    globals()[_name] = refusing_class(_name, _HERE, "cuda")


class device(AbsentDevice):
    """``with torch.cuda.device(i):`` would select a device; there is none to be selected, so nothing changes."""


class device_of(AbsentDevice):
    """``with torch.cuda.device_of(tensor):`` would select the device of a tensor, which is the CPU: nothing changes."""


class StreamContext(AbsentDevice):
    """``with torch.cuda.stream(s):`` would queue work on a stream; there is none, so nothing changes."""


def stream(stream: Any) -> StreamContext:
    """``with torch.cuda.stream(None):`` changes nothing, as in PyTorch; no stream can be made."""
    return StreamContext(stream)


class graph:
    """Would record work on a GPU: refused."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        refusing("graph", _HERE, "cuda")()


class OutOfMemoryError(RuntimeError):
    """A GPU's memory is full: never raised here, but programs catch it."""


class DeferredCudaCallError(Exception):
    """A call that was put off has failed: never raised here."""


class CudaError(RuntimeError):
    """An error of CUDA's: never raised here."""


def __getattr__(name: str) -> ModuleType | type:
    if name in ("amp", "comm", "jiterator", "memory", "nccl", "nvtx", "profiler", "random", "streams", "tunable"):
        try:
            return importlib.import_module(f"flambeau.cuda.{name}")
        except ModuleNotFoundError:
            pass
    if name.endswith("Tensor"):
        import flambeau

        if hasattr(flambeau, name):
            return refusing_class(name, _HERE, "cuda")
    raise AttributeError(f"module 'torch.cuda' has no attribute '{name}'", name=name)

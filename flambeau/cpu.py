"""``torch.cpu``: the device that flambeau computes on, asked in the way of ``torch.cuda``."""

from __future__ import annotations

import time
from typing import Any

from flambeau.engine.run import run_pending

__all__ = [
    "Event",
    "Stream",
    "StreamContext",
    "current_device",
    "current_stream",
    "device_count",
    "get_capabilities",
    "is_available",
    "is_initialized",
    "set_device",
    "stream",
    "synchronize",
]


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    return True


def device_count() -> int:
    return 1


def current_device() -> str:
    return "cpu"


_FEATURES = (
    "sse sse2 sse3 ssse3 sse4_1 sse4_2 sse4a avx avx2 avx512_f avx512_cd avx512_dq avx512_bw avx512_vl avx512_ifma avx512_vbmi avx512_vbmi2 avx512_bitalg "
    "avx512_vpopcntdq avx512_vnni avx512_bf16 avx512_fp16 avx512_vp2intersect avx_vnni avx_vnni_int8 avx_vnni_int16 avx_ne_convert amx_bf16 amx_tile amx_int8 "
    "amx_fp16 fma4 f16c lzcnt popcnt bmi bmi2 aes sha clflushopt clwb".split()
)


def get_capabilities() -> dict[str, Any]:
    """What the processor has: its instructions, by PyTorch's names for them, its caches and cores.

    >>> get_capabilities()["num_logical_cores"] >= 1
    True
    """
    import os
    import platform

    cpu_name, known = _processor()
    features = {name.lower().replace("-", "").replace(".", "").replace("_", ""): there for name, there in known.items()}
    found: dict[str, Any] = {
        "architecture": platform.machine(),
        "cpu_name": cpu_name,
        "fma3": bool(features.get("fma") or features.get("fma3")),
    }
    found |= {name: bool(features.get(name.replace("_", ""))) for name in _FEATURES}
    sizes = {"l1d_cache_size": "SC_LEVEL1_DCACHE_SIZE", "l2_cache_size": "SC_LEVEL2_CACHE_SIZE"}
    found |= {name: os.sysconf(key) for name, key in sizes.items() if key in os.sysconf_names}
    found["num_logical_cores"] = os.cpu_count()
    return found


def _processor() -> tuple[str, dict[str, bool]]:
    """The processor's name, and which features it has by their names: LLVM's, or those fewer that NumPy knows."""
    try:
        import llvmlite.binding as llvm
    except ImportError:
        import platform

        from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

        return platform.processor() or platform.machine(), _multiarray_umath.__cpu_features__
    return llvm.get_host_cpu_name(), llvm.get_host_cpu_features()


def set_device(device: Any) -> None:
    """There is only one."""


def synchronize(device: Any = None) -> None:
    """Waits until all that has been recorded has run, as :func:`torch.synchronize` does."""
    run_pending()


class Stream:
    """A queue of work: the CPU has one, in which everything is done in order."""

    def __init__(self, priority: int = -1) -> None:
        self.priority = priority

    def wait_stream(self, stream: Stream) -> None:
        """What the other stream has to do comes first anyhow."""

    def wait_event(self, event: Event) -> None:
        """What comes before the event comes first anyhow."""

    def record_event(self, event: Event | None = None) -> Event:
        """An event after all that has been asked for."""
        event = event or Event()
        event.record()
        return event

    def synchronize(self) -> None:
        """Waits until all that has been recorded has run."""
        run_pending()

    def query(self) -> bool:
        """Whether all work is done: it is afterwards."""
        run_pending()
        return True


class Event:
    """A point in the program; waiting for it is waiting for all work."""

    def __init__(self, enable_timing: bool = False) -> None:
        self.enable_timing = enable_timing
        self._time: float | None = None

    def record(self, stream: Stream | None = None) -> None:
        """The event is here."""
        run_pending()
        self._time = time.perf_counter()

    def wait(self, stream: Stream | None = None) -> None:
        """Work that comes later is done later anyhow."""

    def query(self) -> bool:
        """Whether what comes before it is done."""
        return True

    def synchronize(self) -> None:
        """Waits until what comes before it is done."""
        run_pending()

    def elapsed_time(self, end_event: Event) -> float:
        """The milliseconds from this event to another; both must have been made with ``enable_timing``."""
        if not self.enable_timing or not end_event.enable_timing or self._time is None or end_event._time is None:
            raise RuntimeError("elapsed_time: both events must have been recorded, with enable_timing=True")
        return (end_event._time - self._time) * 1000


_stream = Stream()


def current_stream(device: Any = None) -> Stream:
    """The one queue that there is."""
    return _stream


class StreamContext:
    """``with torch.cpu.stream(s):`` changes nothing: all work is done in order."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: Any) -> None:
        return None


def stream(stream: Stream | None) -> StreamContext:
    """A ``with`` block that changes nothing."""
    return StreamContext(stream)

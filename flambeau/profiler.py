"""``torch.profiler`` and ``torch.autograd.profiler``: how long the stretches of a program that :class:`record_function` names take.

Single operations are not listed, since they are recorded and run together; Python's ``cProfile`` tells of functions.
Source: https://docs.pytorch.org/docs/stable/profiler.html
"""

from __future__ import annotations

import json
import os
import time
import warnings
from collections.abc import Callable, Iterable
from contextlib import ContextDecorator
from enum import Enum
from typing import Any

__all__ = [
    "ProfilerAction", "ProfilerActivity", "emit_itt", "emit_nvtx", "kineto_available", "profile", "record_function", "schedule",
    "supported_activities", "tensorboard_trace_handler",
]  # fmt: skip


class ProfilerActivity(Enum):
    """What PyTorch's profiler can watch."""

    CPU = 0
    XPU = 1
    CUDA = 2


class ProfilerAction(Enum):
    """What a profile does in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


_active: list[profile] = []


class record_function(ContextDecorator):
    """Names a stretch of code; a :class:`profile` that is on takes its time.

    >>> from flambeau.profiler import profile, record_function
    >>> with profile() as p:
    ...     with record_function("sum"):
    ...         total = sum(range(10))
    >>> [(row.key, row.count) for row in p.key_averages()]
    [('sum', 1)]
    """

    def __init__(self, name: str, args: str | None = None) -> None:
        self.name, self.args = name, args
        self._starts: list[int] = []

    def __enter__(self) -> record_function:
        self._starts.append(time.perf_counter_ns())
        return self

    def __exit__(self, *exc: Any) -> None:
        start = self._starts.pop()
        for p in _active:
            if p.recording:
                p.stretches.append((self.name, start, time.perf_counter_ns()))


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
) -> Callable[[int], ProfilerAction]:
    """In cycles: ``wait`` steps of nothing, ``warmup`` steps, ``active`` steps that are recorded; ``repeat`` times."""

    def action(step: int) -> ProfilerAction:
        step -= skip_first
        if step < 0:
            return ProfilerAction.NONE
        step += wait if skip_first_wait else 0
        cycle, at = divmod(step, wait + warmup + active)
        if repeat and cycle >= repeat or at < wait:
            return ProfilerAction.NONE
        if at < wait + warmup:
            return ProfilerAction.WARMUP
        last = at == wait + warmup + active - 1
        return ProfilerAction.RECORD_AND_SAVE if last else ProfilerAction.RECORD

    return action


class Average:
    """The times of all stretches of one name, in microseconds."""

    def __init__(self, key: str, times: list[float]) -> None:
        self.key, self.count = key, len(times)
        self.cpu_time_total = sum(times)
        self.cpu_time = self.cpu_time_total / self.count


class Averages(list):
    """A list of :class:`Average` that prints as a table."""

    def table(self, sort_by: str | None = None, row_limit: int = 100, **settings: Any) -> str:
        rows = sorted(self, key=lambda r: -r.cpu_time_total) if sort_by else self
        lines = [f"{'Name':40} {'CPU total':>12} {'CPU time avg':>12} {'# of Calls':>10}"]
        lines += [f"{r.key[:40]:40} {r.cpu_time_total:10.3f}us {r.cpu_time:10.3f}us {r.count:10}" for r in rows[:row_limit]]
        return "\n".join(lines)


_NOT_LISTED = "the profiler takes the times of what record_function names; single operations, which run together, are not listed"
_OF_OPERATIONS = ("acc_events", "profile_memory", "record_shapes", "with_flops", "with_modules", "with_stack")
_SETTINGS = frozenset(
    (*_OF_OPERATIONS, "custom_trace_id_callback", "execution_trace_observer", "experimental_config", "post_processing_timeout_s")
    + ("use_cpu", "use_cuda", "use_device", "use_kineto")
)
"""What PyTorch's profilers may be told besides."""


class profile:
    """Takes the times of the named stretches of code inside, in the steps that ``schedule`` picks.

    Settings that are about single operations are taken, with a warning: none is listed.
    """

    def __init__(
        self, *args: Any, activities: Iterable[ProfilerActivity] | None = None, schedule: Callable | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None, enabled: bool = True, **settings: Any,
    ) -> None:  # fmt: skip
        unknown = next((name for name in settings if name not in _SETTINGS), None)
        if unknown is not None or len(args) > 1:
            raise TypeError(f"profile() got an unexpected {f'keyword argument {unknown!r}' if unknown else 'positional argument'}")
        wanted = [name for name in _OF_OPERATIONS if settings.get(name)]
        if wanted:
            warnings.warn(f"{wanted[0]}=True has no effect: {_NOT_LISTED}", stacklevel=2)
        if settings.get("use_cuda") or settings.get("use_device") or ProfilerActivity.CUDA in (activities or ()):
            warnings.warn("CUDA is not available, disabling CUDA profiling", stacklevel=2)
        self.enabled = args[0] if args and isinstance(args[0], bool) else enabled  # of torch.autograd.profiler; else activities
        self.schedule, self.on_trace_ready = schedule, on_trace_ready
        self.step_num = 0
        self.stretches: list[tuple[str, int, int]] = []
        self.recording = False

    def __getattr__(self, name: str) -> Any:
        if name in ("events", "export_memory_timeline", "export_stacks", "function_events", "kineto_results", "self_cpu_time_total", "total_average"):
            raise AttributeError(f"a profile has no {name!r}: {_NOT_LISTED}")
        raise AttributeError(f"'profile' object has no attribute {name!r}")

    def _action(self) -> ProfilerAction:
        if not self.enabled:
            return ProfilerAction.NONE
        return self.schedule(self.step_num) if self.schedule is not None else ProfilerAction.RECORD

    def start(self) -> None:
        self.recording = self._action() in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)
        _active.append(self)

    def stop(self) -> None:
        _active.remove(self)
        if self.recording and self.on_trace_ready is not None:
            self.on_trace_ready(self)
        self.recording = False

    def step(self) -> None:
        """Says that the program's next step begins."""
        saved = self._action() is ProfilerAction.RECORD_AND_SAVE
        if saved and self.on_trace_ready is not None:
            self.on_trace_ready(self)
        self.step_num += 1
        if saved:
            self.stretches = []
        self.recording = self._action() in (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self.stop()

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, **settings: Any) -> Averages:
        """The times by name, in the order of the first stretch of each."""
        times: dict[str, list[float]] = {}
        for name, start, end in self.stretches:
            times.setdefault(name, []).append((end - start) / 1000)
        return Averages(Average(name, found) for name, found in times.items())

    def table(self, sort_by: str | None = None, row_limit: int = 100, **settings: Any) -> str:
        """:meth:`key_averages` as text."""
        return self.key_averages().table(sort_by, row_limit)

    def export_chrome_trace(self, path: str | os.PathLike) -> None:
        """Writes the stretches for ``chrome://tracing``."""
        events = [
            {"name": name, "ph": "X", "ts": start / 1000, "dur": (end - start) / 1000, "pid": os.getpid(), "tid": 0}
            for name, start, end in self.stretches
        ]
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events}, file)


def tensorboard_trace_handler(dir_name: str, worker_name: str | None = None, use_gzip: bool = False) -> Callable[[profile], None]:
    """For ``on_trace_ready``: writes each trace to a file in ``dir_name``."""

    def handler(p: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        name = f"{worker_name or f'flambeau_{os.getpid()}'}.{time.time_ns()}.pt.trace.json"
        p.export_chrome_trace(os.path.join(dir_name, name))

    return handler


def kineto_available() -> bool:
    """Whether PyTorch's library for profiling is there: it is not, and nothing is lost without it."""
    return False


def supported_activities() -> set[ProfilerActivity]:
    """What can be watched."""
    return {ProfilerActivity.CPU}


class emit_nvtx:
    """Marks for NVIDIA's tools, which there are none of without a GPU: ``NotImplementedError``."""

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        raise NotImplementedError(f"{type(self).__name__} is for another tool's timeline, which flambeau does not write to; use profile()")


class emit_itt(emit_nvtx):
    """Marks for Intel's tools: ``NotImplementedError``."""

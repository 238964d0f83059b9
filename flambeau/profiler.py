"""``torch.profiler`` and ``torch.autograd.profiler``: how long ops take, and the stretches of a program that :class:`record_function` names.

Without a profile ops are recorded, fused and run together, so there is no time that is one op's. While a profile records, each op runs
by itself as soon as it is called, and that is the time it gets: it tells which ops a program calls, on what, and how they compare, not
how long the fused program takes. ``torch.utils.benchmark`` and ``flambeau.engine_stats`` tell of that.

Source: https://docs.pytorch.org/docs/stable/profiler.html
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterable
from contextlib import ContextDecorator
from enum import Enum
from typing import Any

from flambeau.autograd.profiler_util import EventList, FunctionEvent, FunctionEventAvg
from flambeau.engine.run import run_pending
from flambeau.ops.record import Op
from flambeau.tensor import Tensor
from flambeau.tensor.observing import Observer

__all__ = [
    "EventList", "FunctionEvent", "FunctionEventAvg", "ProfilerAction", "ProfilerActivity", "emit_itt", "emit_nvtx", "kineto_available", "profile", "record_function", "schedule",
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


class _Thread(threading.local):
    def __init__(self) -> None:
        self.open: list[FunctionEvent] = []
        """The events on their way, from the outermost to the innermost."""


class Recorder(Observer):
    """Makes an event of each call of an op, which runs at once."""

    def __init__(self, shapes: bool) -> None:
        super().__init__()
        self.shapes, self.events = shapes, EventList(note=_NOTE)
        self._origin = time.perf_counter_ns()
        self._thread = _Thread()

    def _now(self) -> float:
        return (time.perf_counter_ns() - self._origin) / 1e3

    def begin(self, name: str, shapes: list | None = None, is_user_annotation: bool = False) -> FunctionEvent:
        run_pending()  # what an open composite has waiting is not this one's
        event = FunctionEvent(len(self.events) + 1, name, threading.get_ident(), 0.0, 0.0, shapes, is_user_annotation=is_user_annotation)
        if self._thread.open:
            self._thread.open[-1].append_cpu_child(event)
            event.set_cpu_parent(self._thread.open[-1])
        self._thread.open.append(event)
        self.events.append(event)
        event.time_range.start = event.time_range.end = self._now()
        return event

    def end(self, event: FunctionEvent) -> None:
        try:
            run_pending()
        finally:
            event.time_range.end = self._now()
            if event in self._thread.open:
                del self._thread.open[self._thread.open.index(event) :]

    def called(self, op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
        name = ("flambeau::" if op.short_name.startswith("_") else "aten::") + op.short_name
        if self._thread.open and self._thread.open[-1].name == name:  # nn.functional.relu is torch.relu
            return self.run(op, args, kwargs)
        event = self.begin(name, _shapes(args, kwargs) if self.shapes else None)
        try:
            return self.run(op, args, kwargs)
        finally:
            self.end(event)


def _shapes(args: tuple, kwargs: dict[str, Any]) -> list:
    """The sizes of tensors, lists of them for lists, and ``[]`` for what has none."""

    def of(x: Any) -> list:
        if isinstance(x, Tensor):
            return list(x.shape)
        return [of(e) for e in x] if isinstance(x, (tuple, list)) and any([isinstance(e, Tensor) for e in x]) else []

    return [of(x) for x in (*args, *kwargs.values())]


_NOTE = "Each op ran by itself while it was profiled; otherwise ops run fused."

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
        self._begun: list[list[tuple[Recorder, FunctionEvent]]] = []

    def __enter__(self) -> record_function:
        self._begun.append([(p.recorder, p.recorder.begin(self.name, None, True)) for p in _active if p.recorder is not None])
        return self

    def __exit__(self, *exc: Any) -> None:
        for recorder, event in self._begun.pop():
            recorder.end(event)


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


_NOT_MEASURED = "memory, stacks, modules and numbers of operations are not measured"
_IGNORED = ("profile_memory", "with_flops", "with_modules", "with_stack")
_SETTINGS = frozenset(
    (*_IGNORED, "custom_trace_id_callback", "execution_trace_observer", "experimental_config", "post_processing_timeout_s")
    + ("use_cpu", "use_cuda", "use_device", "use_kineto")
)
"""What PyTorch's profilers may be told besides."""


class profile:
    """Takes the times of ops, and of named stretches of code, in the steps that ``schedule`` picks.

    Args:
        schedule: from the number of a step to a :class:`ProfilerAction`, see :func:`schedule`; :meth:`step` begins the next.
        on_trace_ready: called with the profile when what was to be recorded is.
        record_shapes: whether events have the shapes of what ops were called with.
        acc_events: whether events of earlier cycles of the schedule are kept.

    Each op runs by itself while a profile records (see :mod:`flambeau.profiler`). Ops that an op is made of are events inside of its own;
    those of a backward pass are events too, its entries are not, and neither is reading a value. Memory, stacks and modules are not
    measured: asking for them warns.

    >>> import flambeau as torch
    >>> with profile(record_shapes=True) as p:
    ...     y = torch.ones(2, 3).relu()
    >>> [(e.name, e.input_shapes) for e in p.events() if e.name == "aten::relu"]
    [('aten::relu', [[2, 3]])]
    """

    def __init__(
        self, *args: Any, activities: Iterable[ProfilerActivity] | None = None, schedule: Callable | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None, enabled: bool = True, record_shapes: bool = False, acc_events: bool = False,
        **settings: Any,
    ) -> None:  # fmt: skip
        unknown = next((name for name in settings if name not in _SETTINGS), None)
        if unknown is not None or len(args) > 1:
            raise TypeError(f"profile() got an unexpected {f'keyword argument {unknown!r}' if unknown else 'positional argument'}")
        wanted = [name for name in _IGNORED if settings.get(name)]
        if wanted:
            warnings.warn(f"{wanted[0]}=True has no effect: {_NOT_MEASURED}", stacklevel=2)
        if settings.get("use_cuda") or settings.get("use_device") or ProfilerActivity.CUDA in (activities or ()):
            warnings.warn("CUDA is not available, disabling CUDA profiling", stacklevel=2)
        self.enabled = args[0] if args and isinstance(args[0], bool) else enabled  # of torch.autograd.profiler; else activities
        self.schedule, self.on_trace_ready, self.record_shapes, self.acc_events = schedule, on_trace_ready, record_shapes, acc_events
        self.step_num = 0
        self.recorder: Recorder | None = None
        self._last: Recorder | None = None  # which has the events
        self._metadata: dict[str, Any] = {}
        self._trace_id: str | None = None
        self._make_trace_id: Callable[[], str] = settings.get("custom_trace_id_callback") or (lambda: uuid.uuid4().hex.upper())

    def __getattr__(self, name: str) -> Any:
        if name in ("export_memory_timeline", "export_stacks", "kineto_results", "toggle_collection_dynamic"):
            raise AttributeError(f"a profile has no {name!r}: {_NOT_MEASURED}")
        raise AttributeError(f"'profile' object has no attribute {name!r}")

    def _action(self) -> ProfilerAction:
        if not self.enabled:
            return ProfilerAction.NONE
        return self.schedule(self.step_num) if self.schedule is not None else ProfilerAction.RECORD

    def _record(self, wanted: bool) -> None:
        """Begins to record, or ends."""
        if wanted and self.recorder is None:
            run_pending()  # what was called before
            if self._last is None or not self.acc_events:
                self._last = Recorder(self.record_shapes)
            self.recorder = self._last
            self._trace_id = self._make_trace_id()
            self.recorder.open()
        elif not wanted and self.recorder is not None:
            run_pending()
            self.recorder.close()
            self.recorder = None

    def start(self) -> None:
        """Begins."""
        _active.append(self)
        self._record(self._action() in _RECORDING)

    def stop(self) -> None:
        """Ends; what was recorded is ready."""
        _active.remove(self)
        recorded = self.recorder is not None
        self._record(False)
        if recorded and self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def step(self) -> None:
        """Says that the program's next step begins."""
        if self._action() is ProfilerAction.RECORD_AND_SAVE:
            self._record(False)
            if self.on_trace_ready is not None:
                self.on_trace_ready(self)
        self.step_num += 1
        self._record(self._action() in _RECORDING)

    def __enter__(self) -> profile:
        self.start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self.stop()

    def events(self) -> EventList:
        """What was recorded last, in the order in which it began."""
        return EventList(note=_NOTE) if self._last is None else self._last.events

    @property
    def function_events(self) -> EventList:
        """The same."""
        return self.events()

    @property
    def self_cpu_time_total(self) -> float:
        """The microseconds of all events."""
        return self.events().self_cpu_time_total

    def total_average(self) -> FunctionEventAvg:
        """All events as one."""
        return self.events().total_average()

    def key_averages(self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, group_by_overload_name: bool = False) -> EventList:
        """The times by name, and by shapes if ``group_by_input_shape``, in the order of the first event of each."""
        return self.events().key_averages(group_by_input_shape)

    def __str__(self) -> str:
        return self.table()

    def table(self, sort_by: str | None = None, row_limit: int = 100, **settings: Any) -> str:
        """The events as text, see :meth:`EventList.table`."""
        return self.events().table(sort_by, row_limit, **settings)

    def export_chrome_trace(self, path: str | os.PathLike) -> None:
        """Writes the events for ``chrome://tracing``, and what :meth:`add_metadata` has noted."""
        self.events().export_chrome_trace(path)
        if self._metadata:
            with open(path, encoding="utf-8") as file:
                trace = json.load(file)
            with open(path, "w", encoding="utf-8") as file:
                json.dump({**trace, **self._metadata}, file)

    def add_metadata(self, key: str, value: str) -> None:
        """Notes a text for the file that :meth:`export_chrome_trace` writes."""
        self._metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """The same for a value that is given as JSON."""
        self._metadata[key] = json.loads(value)

    preset_metadata_json = add_metadata_json

    def get_trace_id(self) -> str | None:
        """The name of the last recording; ``None`` before there was one."""
        return self._trace_id

    def set_custom_trace_id_callback(self, callback: Callable[[], str]) -> None:
        """Says what names recordings from the next one on."""
        self._make_trace_id = callback

    def prepare_trace(self) -> None:
        """Nothing has to be prepared."""

    def start_trace(self) -> None:
        """Begins to record, whatever the schedule says."""
        self._record(True)

    def stop_trace(self) -> None:
        """Ends what :meth:`start_trace` began."""
        self._record(False)


_RECORDING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


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

"""``torch.profiler`` and ``torch.autograd.profiler``: how long ops take, and the stretches of a program that
:class:`record_function` names.

Ops are recorded, fused and computed later, as without a profile. The time that a call gets is that of recording it, and its part
of the kernels that computed it: of a loop that computes several ops, the same part for each. What is left of running (finding a
plan, compiling what is new) is the row ``flambeau::run``, inside of whatever asked for a value. Kernels run one after the other,
which costs some 1 us each. Results that nobody reads, of a forward pass that is only profiled, are computed too, as PyTorch would.

Source: https://docs.pytorch.org/docs/stable/profiler.html
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterable
from contextlib import ContextDecorator
from enum import Enum
from importlib import import_module
from typing import Any

from flambeau.autograd.graph import current_task
from flambeau.autograd.profiler_util import EventList, FunctionEvent, FunctionEventAvg, KernelEvent
from flambeau.core.errors import is_own_file
from flambeau.engine import graph, run, timing
from flambeau.engine.run import run_pending
from flambeau.ops.record import Op
from flambeau.tensor import Tensor
from flambeau.tensor.observing import Observer
from flambeau.tensor.watching import tensors_in

__all__ = [
    "EventList", "FunctionEvent", "FunctionEventAvg", "ProfilerAction", "ProfilerActivity", "emit_itt", "emit_nvtx", "kineto_available", "profile", "record_function", "schedule",
    "supported_activities", "tensorboard_trace_handler",
]  # fmt: skip


class ProfilerActivity(Enum):
    """What PyTorch's profiler can watch."""

    CPU = 0
    XPU = 1
    CUDA = 2
    HPU = 3
    MTIA = 4
    PrivateUse1 = 5


class ProfilerAction(Enum):
    """What a profile does in a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def _default_schedule_fn(_: int) -> ProfilerAction:
    """The schedule of a profile that was given none: every step is watched."""
    return ProfilerAction.RECORD


class _Thread(threading.local):
    def __init__(self) -> None:
        self.open: list[FunctionEvent] = []
        """The events on their way, from the outermost to the innermost."""


class Recorder(Observer):
    """Makes an event of each call of an op, and gives it its part of the kernels that compute what it has recorded."""

    def __init__(self, shapes: bool, stacks: bool) -> None:
        super().__init__()
        self.shapes, self.stacks, self.events = shapes, stacks, EventList(note=_NOTE)
        self._origin = time.perf_counter()
        self._thread = _Thread()
        self._owners: dict[int, FunctionEvent] = {}
        """Whose each node of the trace is, by its place; of the trace that is recorded now."""
        self._trace = -1
        """Which that is."""
        self._unread: dict[int, Tensor] = {}
        """Results that no call has read so far. They are held until what is pending runs: a program that only calls its net for a
        profile wants to know what that takes, though without it nothing would be computed."""
        self._began: dict[FunctionEvent, tuple[int, int]] = {}
        """Of each event on its way, the trace that was recorded when it began, and how many nodes that had."""

    def open(self) -> None:
        super().open()
        timing.listen(self._has_run)

    def close(self) -> None:
        timing.forget(self._has_run)
        super().close()

    def _now(self) -> float:
        return self._since(time.perf_counter())

    def _since(self, when: float) -> float:
        return (when - self._origin) * 1e6

    def _event(self, name: str, shapes: list | None, is_user_annotation: bool, start: float, end: float) -> FunctionEvent:
        event = FunctionEvent(
            len(self.events) + 1,
            name,
            threading.get_ident(),
            start,
            end,
            shapes,
            _stack() if self.stacks else (),
            is_user_annotation,
        )
        if self._thread.open:
            self._thread.open[-1].append_cpu_child(event)
            event.set_cpu_parent(self._thread.open[-1])
        self.events.append(event)
        return event

    def begin(self, name: str, shapes: list | None = None, is_user_annotation: bool = False) -> FunctionEvent:
        event = self._event(name, shapes, is_user_annotation, 0.0, 0.0)
        self._thread.open.append(event)
        self._began[event] = run.taken, len(graph.trace)
        event.time_range.start = event.time_range.end = self._now()
        return event

    def end(self, event: FunctionEvent) -> None:
        event.time_range.end = self._now()
        self._claim(event, len(graph.trace))
        self._began.pop(event, None)
        if event in self._thread.open:
            del self._thread.open[self._thread.open.index(event) :]

    def _claim(self, event: FunctionEvent, count: int) -> None:
        """Says that nodes which were recorded since an event began, up to the ``count``-th, are its, if they are nobody's inside
        of it."""
        if run.taken != self._trace:
            self._owners, self._trace = {}, run.taken
        trace, begun = self._began.get(event, (run.taken, 0))
        for place in range(begun if trace == run.taken else 0, count):
            self._owners.setdefault(place, event)

    def _has_run(self, ran: timing.Ran) -> None:
        owners = self._owners if self._trace == ran.number else {}
        for event in reversed(self._thread.open):  # a call that asks for a value before it is over
            trace, begun = self._began.get(event, (-1, 0))
            for place in range(begun, len(ran.names)) if trace == ran.number else ():
                owners.setdefault(place, event)
        self._unread.clear()
        if not ran.names:  # memory took what had been computed before
            return
        whole = self._event("flambeau::run", None, False, self._since(ran.start), self._since(ran.end))
        for kernel in ran.kernels:
            if not kernel.seconds:
                continue
            us = kernel.seconds * 1e6
            places = kernel.nodes if kernel.kind == "loop" else kernel.nodes[:1]
            calls = [owners[place] for place in places if place in owners]
            for event in calls:
                event.kernel_us += us / len(calls)
            whole.kernel_us -= us if calls else 0.0
            self.events.ran.append(
                KernelEvent(
                    ", ".join(kernel.ops), kernel.kind, self._since(kernel.start), us, sorted({event.id for event in calls})
                )
            )

    def called(self, op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
        name = ("flambeau::" if op.short_name.startswith("_") else "aten::") + op.short_name
        if self._thread.open and self._thread.open[-1].name == name:  # nn.functional.relu is torch.relu
            return self.run(op, args, kwargs)
        event = self.begin(name, _shapes(args, kwargs) if self.shapes else None)
        try:
            result = self.run(op, args, kwargs)
        finally:
            self.end(event)
        if current_task() is None and all(outer.is_user_annotation for outer in self._thread.open):
            for t in tensors_in((*args, *kwargs.values())):
                self._unread.pop(id(t), None)
            self._unread.update({id(t): t for t in tensors_in(result if isinstance(result, tuple) else (result,))})
        return result


def _stack() -> list[str]:
    """The lines of the program that are being run, the innermost first."""
    frame = sys._getframe(1)
    found: list[str] = []
    while frame is not None and len(found) < 8:
        code = frame.f_code
        if not is_own_file(code.co_filename):
            found.append(f"{code.co_filename}({frame.f_lineno}): {code.co_name}")
        frame = frame.f_back  # type: ignore[assignment]
    return found


def _shapes(args: tuple, kwargs: dict[str, Any]) -> list:
    """The sizes of tensors, lists of them for lists, and ``[]`` for what has none."""

    def of(x: Any) -> list:
        if isinstance(x, Tensor):
            return list(x.shape)
        return [of(e) for e in x] if isinstance(x, (tuple, list)) and any([isinstance(e, Tensor) for e in x]) else []

    return [of(x) for x in (*args, *kwargs.values())]


_NOTE = "Times are those of recording and of kernels; the time of a loop is divided among its ops."

_active: list[profile] = []


class record_function(ContextDecorator):
    """Names a stretch of code; a :class:`profile` that is on takes its time.

    >>> from flambeau.profiler import profile, record_function
    >>> with profile() as p:
    ...     with record_function("sum"):
    ...         total = sum(range(10))
    >>> [(row.key, row.count) for row in p.key_averages() if row.key == "sum"]
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


_NOT_MEASURED = "memory, modules and numbers of operations are not measured"
_IGNORED = ("profile_memory", "with_flops", "with_modules")
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
        with_stack: whether events have the lines of the program that made them, for ``key_averages(group_by_stack_n=1)``.
        acc_events: whether events of earlier cycles of the schedule are kept.

    What is recorded runs later and fused, as without a profile, and calls get their part of that (see :mod:`flambeau.profiler`).
    Ops that an op is made of are events inside of its own; those of a backward pass are events too, its entries are not. Memory
    and modules are not
    measured: asking for them warns.

    >>> import flambeau as torch
    >>> with profile(record_shapes=True) as p:
    ...     y = torch.ones(2, 3).relu()
    >>> [(e.name, e.input_shapes) for e in p.events() if e.name == "aten::relu"]
    [('aten::relu', [[2, 3]])]
    """

    def __init__(
        self, *args: Any, activities: Iterable[ProfilerActivity] | None = None, schedule: Callable | None = None,
        on_trace_ready: Callable[[profile], Any] | None = None, enabled: bool = True, record_shapes: bool = False, acc_events: bool = False, with_stack: bool = False,
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
        self.schedule, self.on_trace_ready, self.record_shapes, self.acc_events = (
            schedule,
            on_trace_ready,
            record_shapes,
            acc_events,
        )
        self.with_stack = with_stack
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
                self._last = Recorder(self.record_shapes, self.with_stack)
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
        """Another name of :meth:`events`."""
        return self.events()

    @property
    def self_cpu_time_total(self) -> float:
        """The microseconds of all events."""
        return self.events().self_cpu_time_total

    def total_average(self) -> FunctionEventAvg:
        """All events as one."""
        return self.events().total_average()

    def key_averages(
        self, group_by_input_shape: bool = False, group_by_stack_n: int = 0, group_by_overload_name: bool = False
    ) -> EventList:
        """The times by name, and by shapes if ``group_by_input_shape``, by the ``group_by_stack_n`` innermost lines of the program
        (see ``with_stack``), in the order of the first event of each."""
        return self.events().key_averages(group_by_input_shape, group_by_stack_n)

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

    def export_html(self, path: str | os.PathLike) -> None:
        """Writes a page that shows the calls and the kernels along the time, and sums by op, line and loop. It needs nothing else."""
        page = import_module("flambeau.pictures.timeline").timeline(self.events())
        with open(path, "w", encoding="utf-8") as file:
            file.write(page)

    def add_metadata(self, key: str, value: str) -> None:
        """Notes a text for the file that :meth:`export_chrome_trace` writes."""
        self._metadata[key] = value

    def add_metadata_json(self, key: str, value: str) -> None:
        """Notes a value that is given as JSON for the file that :meth:`export_chrome_trace` writes."""
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


def _profiler_enabled() -> bool:
    """Whether a profile is being made: programs that start one ask first."""
    return bool(_active)


def _disable_profiler() -> None:
    """Stops the profile that was started last.

    Raises:
        RuntimeError: there is none.
    """
    if not _active:
        raise RuntimeError("Can't disable the profiler when it's not running")
    _active[-1].stop()


def kineto_available() -> bool:
    """Whether PyTorch's library for profiling is there: it is not, and nothing is lost without it."""
    return False


def supported_activities() -> set[ProfilerActivity]:
    """What can be watched."""
    return {ProfilerActivity.CPU}


class emit_nvtx:
    """Marks for NVIDIA's tools, which there are none of without a GPU: ``NotImplementedError``."""

    def __init__(self, enabled: bool = True, record_shapes: bool = False) -> None:
        raise NotImplementedError(
            f"{type(self).__name__} is for another tool's timeline, which flambeau does not write to; use profile()"
        )


class emit_itt(emit_nvtx):
    """Marks for Intel's tools: ``NotImplementedError``."""

"""What a profiler has seen: events, lists of them, averages, and their tables.

Source: https://docs.pytorch.org/docs/stable/autograd.html#profiler
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

__all__ = ["EventList", "FormattedTimesMixin", "FunctionEvent", "FunctionEventAvg", "Interval", "KernelEvent"]


def _format_time(us: float) -> str:
    """A time in the unit that suits it."""
    if us >= 1e6:
        return f"{us / 1e6:.3f}s"
    return f"{us / 1e3:.3f}ms" if us >= 1e3 else f"{us:.3f}us"


def _format_time_share(us: float, total_us: float) -> str:
    """Its part of a total."""
    return f"{us * 100.0 / total_us:.2f}%" if total_us else "NaN"


def _format_memory(nbytes: int) -> str:
    """A number of bytes in the unit that suits it."""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "KB")):
        if abs(nbytes) >= 1024**power:
            return f"{nbytes / 1024**power:.2f} {unit}"
    return f"{nbytes} B"


class Interval:
    """From ``start`` to ``end``, in microseconds."""

    def __init__(self, start: float, end: float) -> None:
        self.start, self.end = start, end

    def elapsed_us(self) -> float:
        """How long it is."""
        return self.end - self.start


def _as_text(name: str) -> Any:
    return property(lambda self: _format_time(getattr(self, name)))


class FormattedTimesMixin:
    """What events and averages have in common: their times as text, and nothing on a device or in memory, which nobody measures."""

    count: int
    cpu_time_total: float
    device_time = device_time_total = self_device_time_total = 0.0
    cpu_memory_usage = self_cpu_memory_usage = device_memory_usage = self_device_memory_usage = flops = 0
    node_id = -1
    use_device: str | None = None
    overload_name = ""
    is_async = is_remote = is_legacy = False
    device_type = "CPU"
    cpu_time_str = _as_text("cpu_time")
    cpu_time_total_str = _as_text("cpu_time_total")
    self_cpu_time_total_str = _as_text("self_cpu_time_total")
    device_time_str = _as_text("device_time")
    device_time_total_str = _as_text("device_time_total")
    self_device_time_total_str = _as_text("self_device_time_total")

    @property
    def cpu_time(self) -> float:
        """The mean."""
        return self.cpu_time_total / self.count if self.count else 0.0


class FunctionEvent(FormattedTimesMixin):
    """A call of an op, or a stretch of code that :class:`~torch.profiler.record_function` names.

    Times are in microseconds since the profile began. ``cpu_children`` are those inside it. ``time_range`` is when the call was
    made; what it asked for was computed later, perhaps in one loop with others: ``kernel_us`` is its part of that, and counts to
    its times.
    """

    count = 1

    def __init__(self, id: int, name: str, thread: int, start_us: float, end_us: float, input_shapes: list | None = None,
                 stack: Iterable[str] = (), is_user_annotation: bool = False) -> None:  # fmt: skip
        self.id, self.name, self.key, self.trace_name, self.thread = id, name, name, name, thread
        self.time_range = Interval(start_us, end_us)
        self.input_shapes = [] if input_shapes is None else input_shapes
        self.is_user_annotation = is_user_annotation
        self.stack = list(stack)
        self.kernels: list[Any] = []
        self.cpu_children: list[FunctionEvent] = []
        self.cpu_parent: FunctionEvent | None = None
        self.kernel_us = 0.0

    def append_cpu_child(self, child: FunctionEvent) -> None:
        """Says that ``child`` ran inside."""
        self.cpu_children.append(child)

    def set_cpu_parent(self, parent: FunctionEvent) -> None:
        """Says what this ran inside of."""
        self.cpu_parent = parent

    @property
    def cpu_time_total(self) -> float:  # type: ignore[override]
        """With everything inside."""
        return self.self_cpu_time_total + sum([child.cpu_time_total for child in self.cpu_children])

    @property
    def self_cpu_time_total(self) -> float:
        """Without what is inside."""
        return self.time_range.elapsed_us() - sum([child.time_range.elapsed_us() for child in self.cpu_children]) + self.kernel_us

    def __repr__(self) -> str:
        return (
            f"<FunctionEvent id={self.id} name={self.name} cpu_time={self.cpu_time_str} start_us={self.time_range.start} end_us={self.time_range.end} "
            f"cpu_children={[child.id for child in self.cpu_children]} thread={self.thread} input_shapes={self.input_shapes}>"
        )


class FunctionEventAvg(FormattedTimesMixin):
    """All events of one key."""

    def __init__(self) -> None:
        self.key: str | None = None
        self.count = 0
        self.cpu_time_total = self.self_cpu_time_total = 0.0
        self.input_shapes: list | None = None
        self.stack: list[str] = []
        self.cpu_children: list[FunctionEvent] = []
        self.cpu_parent: FunctionEvent | None = None
        self.is_user_annotation = False

    def add(self, other: FunctionEvent | FunctionEventAvg) -> FunctionEventAvg:
        """Takes in another event, or average, of the key."""
        if self.key is None:
            self.key, self.input_shapes, self.cpu_parent, self.stack = other.key, other.input_shapes, other.cpu_parent, other.stack
            self.is_user_annotation = other.is_user_annotation
        self.cpu_time_total += other.cpu_time_total
        self.self_cpu_time_total += other.self_cpu_time_total
        self.count += other.count
        return self

    def __iadd__(self, other: FunctionEvent | FunctionEventAvg) -> FunctionEventAvg:
        return self.add(other)

    def __repr__(self) -> str:
        return (
            f"<FunctionEventAvg key={self.key} self_cpu_time={self.self_cpu_time_total_str} cpu_time={self.cpu_time_str} "
            f"input_shapes={self.input_shapes}>"
        )


class KernelEvent(NamedTuple):
    """A kernel that ran: what it computed, a ``"loop"``, a ``"kernel"`` of its own or one in ``"NumPy"``, and for which calls.

    Times are in microseconds since the profile began; ``events`` are the ids of the calls.
    """

    name: str
    kind: str
    start: float
    us: float
    events: list[int]


class EventList(list):
    """Events, or averages of them.

    >>> events = EventList([FunctionEvent(i, "aten::mm", 1, 10.0 * i, 10.0 * i + 4) for i in range(3)])
    >>> [(row.key, row.count, row.cpu_time_total) for row in events.key_averages()]
    [('aten::mm', 3, 12.0)]
    """

    def __init__(
        self, *args: Any, use_device: str | None = None, profile_memory: bool = False, with_flops: bool = False, note: str = ""
    ) -> None:
        super().__init__(*args)
        self._use_device, self._profile_memory, self._with_flops, self._note = use_device, profile_memory, with_flops, note
        self._tree_built = False
        self.ran: list[KernelEvent] = []
        """The kernels that ran, one after the other."""

    def __str__(self) -> str:
        return self.table()

    @property
    def self_cpu_time_total(self) -> float:
        """The sum over the events."""
        return sum([event.self_cpu_time_total for event in self])

    def key_averages(
        self, group_by_input_shapes: bool = False, group_by_stack_n: int = 0, group_by_overload_name: bool = False
    ) -> EventList:
        """One :class:`FunctionEventAvg` for each name; for each name and shapes where ``group_by_input_shapes``, and for each that
        the ``group_by_stack_n`` innermost lines of the program differ in."""
        found: dict[tuple, FunctionEventAvg] = {}
        for event in self:
            key = (
                event.key,
                event.is_user_annotation,
                str(event.input_shapes) if group_by_input_shapes else "",
                *event.stack[:group_by_stack_n],
            )
            found.setdefault(key, FunctionEventAvg()).add(event)
        for row in found.values():
            if not group_by_input_shapes:
                row.input_shapes = []
            row.stack = row.stack[:group_by_stack_n]
        return EventList(found.values(), note=self._note)

    def total_average(self) -> FunctionEventAvg:
        """All events as one, ``Total``."""
        total = FunctionEventAvg()
        for event in self:
            total += event
        total.key, total.input_shapes = "Total", None
        return total

    def table(self, sort_by: str | None = None, row_limit: int = 100, max_src_column_width: int | None = 75, max_name_column_width: int | None = 55,
              max_shapes_column_width: int | None = 80, header: str | None = None, top_level_events_only: bool = False,
              time_unit: str | None = None) -> str:  # fmt: skip
        """The events as text, one a line.

        Args:
            sort_by: ``cpu_time``, ``cpu_time_total``, ``self_cpu_time_total``, ``count`` and their like: the largest come first.
            time_unit: ``"s"``, ``"ms"`` or ``"us"``; what suits each time by default.
        """
        if not self:
            return ""
        events = list(self)
        if sort_by is not None:
            name = sort_by.replace("cuda", "device").replace("xpu", "device").replace("privateuse1", "device")
            events.sort(key=lambda event: -getattr(event, name))
        whole = sum([event.self_cpu_time_total for event in events])
        shown = [event for event in events if not (top_level_events_only and event.cpu_parent is not None)]
        if row_limit >= 0:
            shown = shown[:row_limit]

        def time(us: float) -> str:
            scale = {"s": 1e6, "ms": 1e3, "us": 1.0}.get(time_unit or "")
            return _format_time(us) if scale is None else f"{us / scale:.3f}{time_unit}"

        def width(texts: Iterable[str], limit: int | None) -> int:
            longest = max(map(len, texts)) + 4
            return longest if limit is None else min(longest, limit)

        def name_of(event: Any) -> str:
            limit = max_name_column_width
            return event.key if limit is None or len(event.key) < limit - 3 else event.key[: limit - 3] + "..."

        columns: list[tuple[str, int, Callable[[Any], str]]] = [
            ("Name", width([event.key for event in events], max_name_column_width), name_of),
            ("Self CPU %", 12, lambda e: _format_time_share(e.self_cpu_time_total, whole)),
            ("Self CPU", 12, lambda e: time(e.self_cpu_time_total)),
            ("CPU total %", 12, lambda e: _format_time_share(e.cpu_time_total, whole)),
            ("CPU total", 12, lambda e: time(e.cpu_time_total)),
            ("CPU time avg", 12, lambda e: time(e.cpu_time)),
            ("# of Calls", 12, lambda e: str(e.count)),
        ]
        if any(event.input_shapes for event in events):
            columns.append(
                (
                    "Input Shapes",
                    width([str(event.input_shapes) for event in events], max_shapes_column_width),
                    lambda e: str(e.input_shapes),
                )
            )
        if any(event.stack for event in events):
            source = [event.stack[0] if event.stack else "" for event in events]
            columns.append(("Source Location", width(source, max_src_column_width), lambda e: e.stack[0] if e.stack else ""))
        rule = "  ".join(["-" * w for _, w, _ in columns]) + "  "

        double = "=" * (len(rule) - 2)

        def line(cells: Iterable[str]) -> str:
            return "  ".join([c[:w].rjust(w) for c, (_, w, _) in zip(cells, columns, strict=True)]) + "  "

        lines = [] if header is None else [double, header]
        if top_level_events_only:
            lines += [double, "This report only display top-level ops statistics"]
        lines += [
            rule,
            line([title for title, _, _ in columns]),
            rule,
            *[line([of(event) for _, _, of in columns]) for event in shown],
            rule,
        ]
        lines.append(f"Self CPU time total: {time(whole)}")
        if self._note:
            lines.append(self._note)
        return "\n".join(lines) + "\n"

    def export_chrome_trace(self, path: str | os.PathLike) -> None:
        """Writes the events for ``chrome://tracing`` and Perfetto; kernels, which run later than they are asked for, have a row of
        their own."""
        events: list[dict[str, Any]] = []
        for e in self:
            what: dict[str, Any] = {"Input Dims": e.input_shapes} if e.input_shapes else {}
            if e.stack:
                what["Call stack"] = ";".join(e.stack)
            kind = "user_annotation" if e.is_user_annotation else "cpu_op"
            at = {"pid": os.getpid(), "tid": e.thread, "ts": e.time_range.start, "dur": e.time_range.elapsed_us()}
            events.append(
                {"ph": "X", "cat": kind, "name": e.name, **at, "args": {"External id": e.id, "kernel us": e.kernel_us, **what}}
            )
        for k in self.ran:
            place = {"pid": os.getpid(), "tid": "kernels", "ts": k.start, "dur": k.us}
            events.append({"ph": "X", "cat": "kernel", "name": k.name, **place, "args": {"kind": k.kind, "External ids": k.events}})
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"schemaVersion": 1, "displayTimeUnit": "ms", "traceEvents": events}, file)

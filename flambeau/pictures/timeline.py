"""A profile as a page: calls and kernels along the time, and their sums by op, by line and by loop."""

from __future__ import annotations

from typing import Any

from flambeau.autograd.profiler_util import EventList, FunctionEvent
from flambeau.pictures.page import assembled

MOST = 200_000
"""How many calls a page shows at most, the first ones."""


def timeline(events: EventList) -> str:
    """The page of ``profile.export_html``."""
    depth: dict[int, int] = {}
    calls, shown = [], list(events)[:MOST]
    for event in shown:
        depth[event.id] = 0 if event.cpu_parent is None else depth.get(event.cpu_parent.id, 0) + 1
        calls.append([event.id, event.name, round(event.time_range.start, 2), round(event.time_range.elapsed_us(), 2), depth[event.id],
                      round(event.kernel_us, 2), event.stack[0] if event.stack else "", str(event.input_shapes) if event.input_shapes else ""])  # fmt: skip
    kernels = [[k.name, k.kind, round(k.start, 2), round(k.us, 2), k.events[:200]] for k in events.ran[:MOST]]
    tables = {
        "ops": _sums([(event.name, event) for event in shown]),
        "lines": _sums([(event.stack[0], event) for event in shown if event.stack]),
    }
    return assembled("timeline", "flambeau profile", {"calls": calls, "kernels": kernels, "tables": tables})


def _sums(rows: list[tuple[str, FunctionEvent]]) -> list[list[Any]]:
    """By name: how often, the microseconds of recording, and those of kernels; what takes longest comes first."""
    found: dict[str, list[Any]] = {}
    for name, event in rows:
        row = found.setdefault(name, [name, 0, 0.0, 0.0])
        row[1] += 1
        row[2] += event.self_cpu_time_total - event.kernel_us if event.name != "flambeau::run" else event.self_cpu_time_total
        row[3] += event.kernel_us if event.name != "flambeau::run" else 0.0
    for row in found.values():
        row[2:] = [round(us, 2) for us in row[2:]]
    return sorted(found.values(), key=lambda row: -(row[2] + row[3]))

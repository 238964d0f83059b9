"""``torch.monitor``: events that programs log, and statistics that log themselves.

>>> import datetime
>>> import flambeau.monitor as monitor
>>> handle = monitor.register_event_handler(lambda event: print(event.name, event.data))
>>> monitor.log_event(monitor.Event("epoch", datetime.datetime.now(), {"loss": 0.5}))
epoch {'loss': 0.5}
>>> monitor.unregister_event_handler(handle)

Source: https://docs.pytorch.org/docs/stable/monitor.html
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

__all__ = [
    "Aggregation", "Event", "EventHandlerHandle", "Stat", "TensorboardEventHandler", "data_value_t", "log_event", "register_event_handler",
    "unregister_event_handler",
]  # fmt: skip

STAT_EVENT = "torch.monitor.Stat"


class data_value_t:  # noqa: N801  # PyTorch's name
    """What the values of an event's data are: ``str``, ``float``, ``int`` or ``bool``."""


class Aggregation(Enum):
    """What a :class:`Stat` says of the numbers that were added."""

    VALUE = 0
    MEAN = 2
    COUNT = 3
    SUM = 4
    MAX = 5
    MIN = 6


VALUE, MEAN, COUNT, SUM, MAX, MIN = Aggregation
_OF: dict[Aggregation, Callable[[list[float]], float]] = {
    VALUE: lambda values: values[-1] if values else 0, MEAN: lambda values: sum(values) / len(values) if values else 0,
    COUNT: len, SUM: sum, MAX: lambda values: max(values, default=0), MIN: lambda values: min(values, default=0),
}  # fmt: skip


class Event:
    """Something that happened: events of one kind have the same ``name``."""

    def __init__(self, name: str, timestamp: datetime, data: dict[str, Any]) -> None:
        for key, value in data.items():
            if not isinstance(value, (str, int, float, bool)):
                raise TypeError(f"Event: data must be str, float, int or bool, but {key!r} is {type(value).__name__}")
        self.name, self.timestamp, self.data = name, timestamp, dict(data)


class EventHandlerHandle:
    """What :func:`register_event_handler` gives."""

    def __init__(self, callback: Callable[[Event], Any]) -> None:
        self._callback = callback


_handlers: list[EventHandlerHandle] = []


def register_event_handler(callback: Callable[[Event], Any]) -> EventHandlerHandle:
    """Has ``callback(event)`` called for each event that is logged from now on."""
    _handlers.append(EventHandlerHandle(callback))
    return _handlers[-1]


def unregister_event_handler(handler: EventHandlerHandle) -> None:
    """Ends that."""
    if handler in _handlers:
        _handlers.remove(handler)


def log_event(event: Event) -> None:
    """Tells all handlers of an event."""
    for handler in list(_handlers):
        handler._callback(event)


class Stat:
    """Numbers by kinds of aggregation, logged as an event at the end of each stretch of time.

    Args:
        name: of the statistic; the event's data are named ``name.sum``, ``name.count``, ...
        aggregations: what is said of the numbers.
        window_size: how long a stretch is; it ends with the first number after it, or when the statistic is let go of.
        max_samples: the most numbers of a stretch; others are left out.
    """

    def __init__(
        self, name: str, aggregations: Iterable[Aggregation], window_size: timedelta, max_samples: int | None = None
    ) -> None:
        self.name = name
        self._aggregations, self._window, self._most = list(aggregations), window_size.total_seconds(), max_samples
        self._values: list[float] = []
        self._last: list[float] = []
        self._begun, self._full = time.monotonic(), False
        self._lock = threading.Lock()

    @property
    def count(self) -> int:
        """How many numbers there are in this stretch."""
        return len(self._values)

    def add(self, v: float) -> None:
        """Adds a number."""
        events = []
        with self._lock:
            if time.monotonic() - self._begun >= self._window:
                if self._values:
                    events.append(self._end())
                self._begun, self._full = time.monotonic(), False
            if not self._full:
                self._values.append(float(v))
                if self._most is not None and len(self._values) >= self._most:
                    events.append(self._end())
                    self._full = True
        for event in events:
            log_event(event)

    def get(self) -> dict[Aggregation, float]:
        """What is to be said of the last stretch."""
        return {aggregation: float(_OF[aggregation](self._last)) for aggregation in self._aggregations}

    def _end(self) -> Event:
        """Ends a stretch, and returns its event."""
        self._last, self._values = self._values, []
        return Event(STAT_EVENT, datetime.now(), {f"{self.name}.{a.name.lower()}": v for a, v in self.get().items()})

    def __del__(self) -> None:
        if getattr(self, "_values", None):
            log_event(self._end())


class TensorboardEventHandler:
    """For :func:`register_event_handler`: writes the numbers of statistics to a ``SummaryWriter``."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer

    def __call__(self, event: Event) -> None:
        if event.name == STAT_EVENT:
            for name, value in event.data.items():
                self._writer.add_scalar(name, value, walltime=event.timestamp.timestamp())

"""What was timed, and how long it took."""

from __future__ import annotations

import dataclasses
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from flambeau.core.errors import warn
from flambeau.threads import get_num_threads, set_num_threads

__all__ = ["Measurement", "TaskSpec", "ordered_unique", "select_unit", "set_torch_threads", "trim_sigfig", "unit_to_english"]

_MAX_SIGNIFICANT_FIGURES = 4
_MIN_CONFIDENCE_INTERVAL = 25e-9  # a clock says no more
_IQR_WARN_THRESHOLD, _IQR_GROSS_WARN_THRESHOLD = 0.1, 0.25

_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
_ENGLISH = {"ns": "nanosecond", "us": "microsecond", "ms": "millisecond", "s": "second"}


@dataclasses.dataclass(init=True, repr=False, eq=True, frozen=True)
class TaskSpec:
    """What a :class:`Timer` was told of what it times; equal ones are of the same task."""

    stmt: str
    setup: str
    global_setup: str = ""
    label: str | None = None
    sub_label: str | None = None
    description: str | None = None
    env: str | None = None
    num_threads: int = 1

    @property
    def title(self) -> str:
        """The best text for a title that there is."""
        if self.label is not None:
            return self.label + (f": {self.sub_label}" if self.sub_label else "")
        if "\n" not in self.stmt:
            return self.stmt + (f": {self.sub_label}" if self.sub_label else "")
        return f"stmt:{f' ({self.sub_label})' if self.sub_label else ''}\n{textwrap.indent(self.stmt, '  ')}"

    def setup_str(self) -> str:
        if not self.setup or self.setup == "pass":
            return ""
        return f"setup:\n{textwrap.indent(self.setup, '  ')}" if "\n" in self.setup else f"setup: {self.setup}"

    def summarize(self) -> str:
        """Title, description and setup, a line each."""
        words = [self.title, self.description or "", self.setup_str()]
        parts = [word for word in words if word]
        return "\n".join(parts)


_TASKSPEC_FIELDS = tuple(field.name for field in dataclasses.fields(TaskSpec))


@dataclasses.dataclass(init=True, repr=False)
class Measurement:
    """How long runs of a statement took: ``raw_times`` are seconds for ``number_per_run`` executions each.

    >>> from flambeau.utils.benchmark import Measurement, TaskSpec
    >>> m = Measurement(10, [1e-4, 1.1e-4, 1.2e-4], TaskSpec("x + y", "pass"))
    >>> round(m.median * 1e6, 3), round(m.mean * 1e6, 3), len(m)
    (11.0, 11.0, 3)
    """

    number_per_run: int
    raw_times: list[float]
    task_spec: TaskSpec
    metadata: dict[Any, Any] | None = None

    def __post_init__(self) -> None:
        self._sorted: np.ndarray = np.empty(0)
        self._warnings: tuple[str, ...] = ()

    def __getattr__(self, name: str) -> Any:
        if name in _TASKSPEC_FIELDS:  # a measurement may be asked for what its task may
            return getattr(self.task_spec, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def times(self) -> list[float]:
        """The seconds of one execution, in each run."""
        return [t / self.number_per_run for t in self.raw_times]

    def _values(self) -> np.ndarray:
        if not self.raw_times:
            raise ValueError("No measurements")
        if len(self._sorted) != len(self.raw_times):
            self._sorted = np.sort(np.array(self.times))
        return self._sorted

    @property
    def median(self) -> float:
        return float(np.median(self._values()))

    @property
    def mean(self) -> float:
        return float(np.mean(self._values()))

    @property
    def iqr(self) -> float:
        """The range between the first and third quartile."""
        low, high = np.quantile(self._values(), [0.25, 0.75])
        return float(high - low)

    @property
    def significant_figures(self) -> int:
        """How many digits of the median mean something, by the spread of the middle half."""
        values = self._values()
        n = len(values)
        middle = values[n // 4 : -(-3 * n // 4)]
        interval = max(1.645 * float(np.std(middle)) / len(middle) ** 0.5, _MIN_CONFIDENCE_INTERVAL)
        return min(max(int(np.floor(np.log10(max(self.median, 1e-15) / interval))), 1), _MAX_SIGNIFICANT_FIGURES)

    @property
    def has_warnings(self) -> bool:
        """Whether the spread is so large that the median says little."""
        return self.iqr > _IQR_WARN_THRESHOLD * self.median

    def meets_confidence(self, threshold: float = _IQR_WARN_THRESHOLD) -> bool:
        return self.iqr / self.median < threshold

    @property
    def title(self) -> str:
        return self.task_spec.title

    @property
    def env(self) -> str:
        return "Unspecified env" if self.task_spec.env is None else self.task_spec.env

    @property
    def as_row_name(self) -> str:
        return self.sub_label or self.stmt or "[Unknown]"

    def __len__(self) -> int:
        return len(self.raw_times)

    def __repr__(self) -> str:
        unit, scale = select_unit(self.median)
        lines = [super().__repr__().replace("\n", ""), *self.task_spec.summarize().splitlines()]
        number = self.median / scale
        if len(self) == 1:
            lines += [
                f"  {number:.2f} {unit}",
                f"  1 measurement, {self.number_per_run} runs , {self.num_threads} thread{'s' * (self.num_threads > 1)}",
            ]
        else:
            low, high = np.quantile(self._values(), [0.25, 0.75])
            lines += [f"  Median: {number:.2f} {unit}"]
            if len(self) > 3:
                lines += [f"  IQR:    {self.iqr / scale:.2f} {unit} ({low / scale:.2f} to {high / scale:.2f})"]
            lines += [
                f"  {len(self)} measurements, {self.number_per_run} runs per measurement, {self.num_threads} thread{'s' * (self.num_threads > 1)}"
            ]
            if self.has_warnings:
                share = self.iqr / self.median * 100
                gross = self.iqr > _IQR_GROSS_WARN_THRESHOLD * self.median
                lines.append(f"  WARNING: Interquartile range is {share:.1f}% of the median measurement.")
                lines.append(
                    f"           This {'suggests significant environmental influence' if gross else 'could indicate system fluctuation'}."
                )
        return "\n".join(lines)

    @staticmethod
    def merge(measurements: Iterable[Measurement]) -> list[Measurement]:
        """One measurement for each task, with the times of all."""
        groups: defaultdict[TaskSpec, list[Measurement]] = defaultdict(list)
        for m in measurements:
            groups[m.task_spec].append(m)

        def one(group: list[Measurement]) -> Measurement:
            number = group[0].number_per_run
            times = [t * (1 if m.number_per_run == number else number / m.number_per_run) for m in group for t in m.raw_times]
            return Measurement(number, times, group[0].task_spec)

        return [one(group) for group in groups.values()]


def select_unit(t: float) -> tuple[str, float]:
    """The unit in which so many seconds are best told, and its length.

    >>> select_unit(3e-5)
    ('us', 1e-06)
    """
    found = [unit for unit, length in _UNITS.items() if t >= length] or ["ns"]
    return found[-1], _UNITS[found[-1]]


def unit_to_english(u: str) -> str:
    """The name of a unit."""
    return _ENGLISH[u]


def trim_sigfig(x: float, n: int) -> float:
    """``x`` to ``n`` significant figures.

    >>> trim_sigfig(123.456, 2)
    120.0
    """
    if n != int(n) or not x:
        return x
    scale = 10 ** (int(np.ceil(np.log10(abs(x)))) - int(n))
    return float(np.round(x / scale) * scale)


def ordered_unique(elements: Iterable[Any]) -> list[Any]:
    """The elements without repetitions, in the order in which they come first."""
    return list(dict.fromkeys(elements))


@contextmanager
def set_torch_threads(n: int) -> Iterator[None]:
    """Inside, ``n`` threads compute."""
    before = get_num_threads()
    try:
        set_num_threads(n)
        yield
    finally:
        set_num_threads(before)


def warn_of_spread(measurement: Measurement) -> None:
    """Says that a measurement that was to be steady is not."""
    if not measurement.meets_confidence():
        warn("the times vary much: " + repr(measurement).splitlines()[-1].strip())

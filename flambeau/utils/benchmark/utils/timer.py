"""Timing of statements: what they have recorded is run before the clock is read."""

from __future__ import annotations

import enum
import timeit
from collections.abc import Callable
from time import perf_counter
from typing import Any, NoReturn

from flambeau.engine.run import run_pending
from flambeau.utils.benchmark.utils.common import Measurement, TaskSpec, set_torch_threads

__all__ = ["Language", "Timer", "timer"]


def timer() -> float:
    """The clock, read after all that has been recorded has run."""
    run_pending()
    return perf_counter()


class Language(enum.Enum):
    """In which language a statement is written."""

    PYTHON = 0
    CPP = 1


class Timer:
    """Times ``stmt``, by default on one thread.

    Args:
        stmt, setup: Python statements; ``setup`` runs once before each run of ``stmt``.
        globals: the names that they may use.
        label, sub_label, description, env: what :class:`Compare` makes titles, rows and columns of.
        num_threads: how many threads compute meanwhile.

    >>> import flambeau as torch
    >>> from flambeau.utils.benchmark import Timer
    >>> t = Timer("x * 2", globals={"x": torch.ones(3)}, label="double")
    >>> m = t.timeit(20)
    >>> m.number_per_run, m.title, m.median > 0
    (20, 'double', True)
    """

    _timer_cls = timeit.Timer

    def __init__(
        self, stmt: str = "pass", setup: str = "pass", global_setup: str = "", timer: Callable[[], float] = timer,
        globals: dict[str, Any] | None = None, label: str | None = None, sub_label: str | None = None, description: str | None = None,
        env: str | None = None, num_threads: int = 1, language: Language | str = Language.PYTHON,
    ) -> None:  # fmt: skip
        if not isinstance(stmt, str):
            raise ValueError("Currently only a `str` stmt is supported.")
        if language not in (Language.PYTHON, "py", "python"):
            raise ValueError(f"flambeau times Python statements only, not {language}: there is no C++ library to compile against.")
        if global_setup:
            raise ValueError(
                f"global_setup is C++ only, got `{global_setup}`. Most likely this code can simply be moved to `setup`."
            )
        import flambeau

        import textwrap  # isort: skip

        names = {"torch": flambeau, **(globals or {})}
        stmt, setup = textwrap.dedent(stmt).strip("\n"), textwrap.dedent(setup).strip("\n")
        self._globals = dict(names)
        self._timer = self._timer_cls(stmt=stmt, setup=setup, timer=timer, globals=names)
        self._task_spec = TaskSpec(stmt, setup, global_setup, label, sub_label, description, env, num_threads)

    def _time(self, number: int) -> float:
        return max(self._timer.timeit(number), 1e-9)  # a clock that has not moved on would make rates infinite

    def timeit(self, number: int = 1000000) -> Measurement:
        """One run of ``number`` executions, after a few that are not counted."""
        with set_torch_threads(self._task_spec.num_threads):
            self._time(max(int(number // 100), 2))
            return Measurement(number, [self._time(number)], self._task_spec)

    def repeat(self, repeat: int = -1, number: int = -1) -> NoReturn:
        """Not there, as in PyTorch: :meth:`blocked_autorange` is meant."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def autorange(self, callback: Callable | None = None) -> NoReturn:
        """Not there, as in PyTorch: :meth:`blocked_autorange` is meant."""
        raise NotImplementedError("See `Timer.blocked_autorange.`")

    def _block_size(self, min_run_time: float) -> int:
        """So many executions that the clock's own time is less than a thousandth of theirs."""
        with set_torch_threads(self._task_spec.num_threads):
            overhead = sorted(self._time(0) for _ in range(5))[2]
            number = 1
            while True:
                taken = self._time(number)
                if overhead / taken <= 1e-4 and taken >= min_run_time / 1000 or taken > min_run_time or number * 10 > 2147483647:
                    return number
                number *= 10

    def blocked_autorange(self, callback: Callable[[int, float], NoReturn] | None = None, min_run_time: float = 0.2) -> Measurement:
        """Runs of so many executions that the clock does not matter, until ``min_run_time`` seconds have gone by."""
        number = self._block_size(min_run_time)
        return self._runs(number, min_run_time, min_run_time, lambda times: True, callback)

    def adaptive_autorange(
        self, threshold: float = 0.1, *, min_run_time: float = 0.01, max_run_time: float = 10.0,
        callback: Callable[[int, float], NoReturn] | None = None,
    ) -> Measurement:  # fmt: skip
        """As :meth:`blocked_autorange`, until the middle half of the times lies within ``threshold`` of the median."""
        number = self._block_size(0.05)

        def steady(times: list[float]) -> bool:
            return len(times) > 3 and Measurement(number, times, self._task_spec).meets_confidence(threshold)

        return self._runs(number, min_run_time, max_run_time, steady, callback)

    def _runs(self, number: int, least: float, most: float, enough: Callable, callback: Callable | None) -> Measurement:
        times: list[float] = []
        total = 0.0
        with set_torch_threads(self._task_spec.num_threads):
            while True:
                taken = self._time(number)
                times.append(taken)
                total += taken
                if callback is not None:
                    callback(number, taken)
                if total >= most or total >= least and enough(times):
                    return Measurement(number, times, self._task_spec)

    def collect_callgrind(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Refuses: Valgrind counts instructions of PyTorch's C++, and here the machine code is made while the program runs."""
        raise NotImplementedError(
            "collect_callgrind() counts instructions with Valgrind, which cannot see code that is compiled while it runs; use timeit()."
        )

"""How the errors of programs that torchrun has started are told: each in a file, of which the earliest is shown.

Source: https://docs.pytorch.org/docs/stable/elastic/errors.html
"""

from __future__ import annotations

import functools
import json
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["ChildFailedError", "ErrorHandler", "ProcessFailure", "record"]


class ProcessFailure(NamedTuple):
    """A process that has failed: ``exitcode`` is negative for a signal; ``error_file`` is what :func:`record` has written, if it
    has."""

    local_rank: int
    pid: int
    exitcode: int
    error_file: str
    timestamp: int

    def described(self) -> dict[str, Any]:
        """What the process has noted of its error: ``message`` and, in it, ``extraInfo``."""
        try:
            with open(self.error_file) as file:
                return json.load(file)["message"]
        except (OSError, ValueError, KeyError):
            return {}

    @property
    def message(self) -> str:
        """The error in a few words, or the signal."""
        noted = self.described().get("message")
        if noted:
            return noted
        if self.exitcode < 0:
            return f"Signal {-self.exitcode} ({self.signal_name()}) received by PID {self.pid}"
        return "To enable traceback see: https://pytorch.org/docs/stable/elastic/errors.html"

    def signal_name(self) -> str:
        """The name of the signal that has ended the process."""
        try:
            return signal.Signals(-self.exitcode).name
        except ValueError:
            return "N/A"

    def timestamp_isoformat(self) -> str:
        """When it was seen."""
        return time.strftime("%Y-%m-%d_%H:%M:%S", time.localtime(self.timestamp))


class ChildFailedError(Exception):
    """A worker has failed. ``failures`` are those of all workers, by their ranks; the earliest is taken for the cause."""

    def __init__(self, name: str, failures: dict[int, ProcessFailure]) -> None:
        self.name, self.failures = name, failures
        super().__init__(self.format_msg())

    def get_first_failure(self) -> tuple[int, ProcessFailure]:
        """Rank and failure of the first that has failed."""
        rank = min(self.failures, key=lambda r: self.failures[r].timestamp)
        return rank, self.failures[rank]

    def format_msg(self) -> str:
        """The report that torchrun prints."""
        root, first = self.get_first_failure()
        others = [self._entry(i, rank, f) for i, (rank, f) in enumerate((r, f) for r, f in self.failures.items() if r != root)]
        wide, thin = "=" * 60, "-" * 60
        lines = ["", wide, f"{self.name} FAILED", thin, "Failures:", "\n".join(others) or "  <NO_OTHER_FAILURES>", thin]
        return "\n".join([*lines, "Root Cause (first observed failure):", self._entry(0, root, first), wide])

    @staticmethod
    def _entry(number: int, rank: int, failure: ProcessFailure) -> str:
        trace = failure.described().get("extraInfo", {}).get("py_callstack") or failure.message
        return "\n".join(
            [
                f"[{number}]:",
                f"  time      : {failure.timestamp_isoformat()}",
                f"  host      : {socket.gethostname()}",
                f"  rank      : {rank} (local_rank: {failure.local_rank})",
                f"  exitcode  : {failure.exitcode} (pid: {failure.pid})",
                f"  error_file: {failure.error_file if os.path.isfile(failure.error_file) else '<N/A>'}",
                "  traceback : " + trace.rstrip().replace("\n", "\n  "),
            ]
        )


class ErrorHandler:
    """Writes errors into the file that ``TORCHELASTIC_ERROR_FILE`` names."""

    def initialize(self) -> None:
        """Nothing is to be prepared."""

    def record_exception(self, error: BaseException) -> None:
        """Writes ``error`` with its traceback."""
        path = os.environ.get("TORCHELASTIC_ERROR_FILE")
        if path is None:
            return
        information = {"py_callstack": "".join(traceback.format_exception(error)), "timestamp": str(int(time.time()))}
        text = json.dumps({"message": {"message": f"{type(error).__name__}: {error}", "extraInfo": information}})
        with open(path, "w") as file:
            file.write(text)


def record(fn: Callable, error_handler: ErrorHandler | None = None) -> Callable:
    """``fn``, whose error is written where torchrun looks for it, and raised.

    >>> from flambeau.distributed.elastic.multiprocessing.errors import record
    >>> @record
    ... def main():
    ...     return 3
    >>> main()
    3
    """
    handler = error_handler or ErrorHandler()

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        handler.initialize()
        try:
            return fn(*args, **kwargs)
        except SystemExit as error:
            if error.code:
                handler.record_exception(error)
            raise
        except Exception as error:
            handler.record_exception(error)
            raise

    return wrapper

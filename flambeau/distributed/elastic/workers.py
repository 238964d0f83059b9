"""The processes that torchrun starts on one machine: with their environment, output and error files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO, TextIO

from flambeau.distributed.elastic.multiprocessing.errors import ProcessFailure

__all__ = ["Output", "Workers"]

_GRACE = 30.0
"""Seconds that workers have to end once they are told to, before they are killed."""


class Output:
    """What becomes of what workers print: ``redirects`` and ``tee`` say for all or by local rank what goes into files (1: stdout,
    2: stderr, 3: both), instead of the terminal or as well; ``shown`` are the local ranks that may print."""

    def __init__(self, redirects: str = "0", tee: str = "0", shown: str = "") -> None:
        self._redirects, self._tee = self._parsed(redirects), self._parsed(tee)
        self._shown = {int(rank) for rank in shown.split(",")} if shown else None

    @staticmethod
    def _parsed(text: str) -> dict[int | None, int]:
        """The numbers by local rank; ``None`` for all."""
        try:
            if ":" not in text:
                return {None: int(text)}
            return {int(rank): int(number) for rank, number in (part.split(":") for part in text.split(","))}
        except ValueError:
            raise ValueError(f"std mapping format should be number or rank:number,...: {text}") from None

    def of(self, rank: int, which: int) -> tuple[bool, bool]:
        """Whether stdout (1) or stderr (2) of a worker goes into a file, and whether it is printed."""
        teed, redirected = (bool(chosen.get(rank, chosen.get(None, 0)) & which) for chosen in (self._tee, self._redirects))
        return teed or redirected, (teed or not redirected) and (self._shown is None or rank in self._shown)


class Workers:
    """Processes that run one command, each with its own variables of the environment. ``folder`` is for their files."""

    def __init__(
        self, command: Sequence[str], environments: Sequence[Mapping[str, str]], folder: str, output: Output, role: str
    ) -> None:
        self._processes: list[subprocess.Popen] = []
        self._ended: dict[int, int] = {}
        self._threads: list[threading.Thread] = []
        self._folders = [os.path.join(folder, str(rank)) for rank in range(len(environments))]
        try:
            for rank, environment in enumerate(environments):
                os.makedirs(self._folders[rank], exist_ok=True)
                self._start(
                    rank, command, {**os.environ, **environment, "TORCHELASTIC_ERROR_FILE": self._error_file(rank)}, output, role
                )
        except BaseException:
            self.stop()
            raise

    def _error_file(self, rank: int) -> str:
        return os.path.join(self._folders[rank], "error.json")

    def _start(self, rank: int, command: Sequence[str], environment: Mapping[str, str], output: Output, role: str) -> None:
        streams: dict[str, int | IO] = {}
        copies = []
        for which, name in ((1, "stdout"), (2, "stderr")):
            filed, shown = output.of(rank, which)
            if filed:
                file = open(os.path.join(self._folders[rank], f"{name}.log"), "wb")  # noqa: SIM115
                streams[name] = subprocess.PIPE if shown else file
                copies.append((name, file, shown))
            elif not shown:
                streams[name] = subprocess.DEVNULL
        process = subprocess.Popen(list(command), env=dict(environment), **streams)  # type: ignore[call-overload]
        self._processes.append(process)
        for name, file, shown in copies:
            if shown:
                arguments = getattr(process, name), file, f"[{role}{rank}]:".encode(), getattr(sys, name)
                self._threads.append(threading.Thread(target=_copy, args=arguments, daemon=True))
                self._threads[-1].start()
            else:
                file.close()

    def poll(self) -> list[int | None]:
        """The exit codes, ``None`` for those that run."""
        for rank, process in enumerate(self._processes):
            if process.poll() is not None and rank not in self._ended:
                self._ended[rank] = int(time.time())
        return [process.returncode for process in self._processes]

    def failures(self, first: int) -> dict[int, ProcessFailure]:
        """The workers that have failed by themselves, by their ranks, which begin with ``first``."""
        return {
            first + rank: ProcessFailure(rank, process.pid, process.returncode, self._error_file(rank), self._ended[rank])
            for rank, process in enumerate(self._processes)
            if rank in self._ended and process.returncode
        }

    def stop(self, number: int = signal.SIGTERM, grace: float = _GRACE) -> None:
        """Ends those that run: by a signal, and by force after ``grace`` seconds."""
        running = [process for process in self._processes if process.poll() is None]
        for process in running:
            process.send_signal(number)
        end = time.monotonic() + grace
        for process in running:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for thread in self._threads:
            thread.join(1.0)  # what processes of theirs still print is not waited for


def _copy(source: IO[bytes], file: IO[bytes], prefix: bytes, to: TextIO) -> None:
    with source, file:
        for line in source:
            file.write(line)
            file.flush()
            to.buffer.write(prefix + line)
            to.flush()

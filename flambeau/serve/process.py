"""The server's processes: one, or several behind one port; how they start, and how they end.

A process that is told to end (SIGTERM, Ctrl-C) says that it is not ready, takes no new connections, answers what it was asked, and
goes. Several workers are forked before anything is loaded, and each listens on the port itself (``SO_REUSEPORT``). One that dies is
named in the log and replaced; one that cannot start ends the server, with the cause in the same log.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from flambeau.core.loopback import is_loopback
from flambeau.serve.config import ModelConfig
from flambeau.serve.front import JsonLines, Limits

if TYPE_CHECKING:
    from flambeau.serve.app import Server

log = logging.getLogger("flambeau.serve")

_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"
_ENDS = (signal.SIGTERM, signal.SIGINT)
_START = 5.0  # seconds: a worker that ends sooner could not start


@dataclass(frozen=True)
class Options:
    """What ``flambeau serve`` was asked for.

    Attributes:
        root: a folder of models, or the file of one.
        workers: how many processes answer.
        drain: seconds for which a process that ends goes on answering new connections, while it says that it is not ready.
        grace: seconds after which requests that are still running are given up.
        access: whether each request is written to the log.
        grpc: the port at which there is gRPC too.
    """

    root: Path
    config: ModelConfig
    limits: Limits
    name: str | None = None
    handler: Path | None = None
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    poll: float = 2.0
    control: bool = True
    drain: float = 0.0
    grace: float = 30.0
    access: bool = True
    grpc: int | None = None


def serve(options: Options) -> int:
    """Runs until the process is told to end; the exit status."""
    _log_to_stderr(options.access)
    with _socket(options) as bound:
        host, port = bound.getsockname()[:2]
        if options.limits.token is None and not is_loopback(host):
            log.warning("anybody who reaches this address can use the models: there is no token", extra={"fields": {"host": host}})
        log.info(
            "starting",
            extra={"fields": {"address": f"http://{host}:{port}", "models": str(options.root), "workers": options.workers}},
        )
        if options.workers == 1:
            bound.listen(2048)
            return _answer(options, bound)
        return _supervise(options, port)


def _socket(options: Options) -> socket.socket:
    family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
    made = socket.socket(
        family, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # named, or asyncio leaves answers to wait for 40 ms (TCP_NODELAY)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if options.workers > 1:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind((options.host, options.port))
    except OSError as error:
        made.close()
        raise OSError(error.errno, f"cannot listen on {options.host}:{options.port}: {error.strerror}") from None
    return made


class _Uvicorn(uvicorn.Server):
    """uvicorn's server, which here says that it is not ready before it stops to listen."""

    def __init__(self, config: uvicorn.Config, server: Server, drain: float) -> None:
        super().__init__(config)
        self._server, self._drain = server, drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        first = self._server.ready
        self._server.ready = False
        if first and self._drain:
            log.info("draining", extra={"fields": {"seconds": self._drain}})
            signal.signal(signal.SIGALRM, lambda *_: super(_Uvicorn, self).handle_exit(sig, frame))
            signal.setitimer(signal.ITIMER_REAL, self._drain)
        else:
            super().handle_exit(sig, frame)


def _answer(options: Options, listening: socket.socket) -> int:
    """One process that answers, until it is told to end."""
    told: list[int] = []  # before uvicorn listens to signals; and uvicorn sends itself again what it was sent
    for number in _ENDS:
        signal.signal(number, lambda sig, frame: told.append(sig))
    from flambeau.serve.app import Server

    host = f"[{options.host}]" if ":" in options.host else options.host
    server = Server(
        options.root, options.config, options.limits, options.name, options.handler, options.poll, options.control and options.workers == 1,
        None if options.grpc is None else f"{host}:{options.grpc}",
    )  # fmt: skip
    config = uvicorn.Config(
        server.app, log_config=None, access_log=False, lifespan="on", timeout_graceful_shutdown=int(options.grace) or None, server_header=False,
    )  # fmt: skip
    running = _Uvicorn(config, server, options.drain)
    running.should_exit = bool(told)
    running.run(sockets=[listening])
    if not running.started:
        return 3
    log.info("stopped", extra={"fields": {"pid": os.getpid()}})
    return 0


def _supervise(options: Options, port: int) -> int:
    """Starts the workers and replaces those that die."""
    os.environ[_MULTIPROCESS] = figures = tempfile.mkdtemp(prefix="flambeau-serve-")
    lifeline = os.pipe()  # the supervisor alone holds the end that is written to: its workers see when it is no more
    ending = False
    workers: dict[int, float] = {}  # process id -> when it started

    def end(number: int, frame: FrameType | None) -> None:
        nonlocal ending
        ending = True
        for process in workers:
            os.kill(process, signal.SIGTERM)

    def start() -> None:
        old = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)  # none is missed between the fork and the note of it
        try:
            workers[_fork(lambda: _worker(options, port, lifeline))] = time.monotonic()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, old)

    for number in _ENDS:
        signal.signal(number, end)
    status = 0
    try:
        while not ending and len(workers) < options.workers:
            start()
        while workers:
            process, how = os.wait()
            started = workers.pop(process)
            if ending:
                continue
            code = os.waitstatus_to_exitcode(how)
            fields = {"pid": process, "signal" if code < 0 else "status": abs(code)}
            if time.monotonic() - started < _START:
                log.error("a worker could not start: the server ends", extra={"fields": fields})
                status = 3
                end(0, None)
            else:
                log.error("a worker died, and is replaced", extra={"fields": fields})
                start()
    finally:
        shutil.rmtree(figures, ignore_errors=True)
    return status


def _worker(options: Options, port: int, lifeline: tuple[int, int]) -> int:
    for number in _ENDS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
    os.close(lifeline[1])
    threading.Thread(target=_end_with_supervisor, args=(lifeline[0],), daemon=True).start()
    with _socket(dataclasses.replace(options, port=port)) as listening:
        listening.listen(2048)
        return _answer(options, listening)


def _end_with_supervisor(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.kill(os.getpid(), signal.SIGTERM)


def _fork(work: Callable[[], int]) -> int:
    """A child that does ``work`` and ends with the status that it returns; its process id."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        status = work()
    except SystemExit as end:  # uvicorn's way to say that it could not start
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        log.error("worker failed", exc_info=True)
    finally:
        sys.stderr.flush()
        os._exit(status)


def _log_to_stderr(access: bool) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines())
    for name in ("flambeau.serve", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(logging.INFO if name == "flambeau.serve" else logging.WARNING)
    logging.getLogger("flambeau.serve.access").setLevel(logging.INFO if access else logging.WARNING)

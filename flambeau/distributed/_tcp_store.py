"""A store that one process keeps at a port and others ask: requests and answers are lines of JSON.

Bytes are written as text of the characters 0 to 255. The server keeps the values in a :class:`HashStore` and has a thread for
each connection, which may wait in ``get``.
"""

from __future__ import annotations

import json
import socket
import threading
import time
import weakref
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, BinaryIO

from flambeau.distributed import _errors
from flambeau.distributed._errors import DistNetworkError, DistStoreError
from flambeau.distributed._store import HashStore, Store, as_bytes

__all__ = ["TCPStore"]

_METHODS = frozenset(
    "set get wait add append compare_set check delete_key list_keys num_keys queue_push queue_pop queue_len".split()
)
_WAITING = frozenset(("get", "wait", "queue_pop"))
_SLACK = 5.0
"""Seconds that an answer may come later than the time-out that the server keeps."""


class Server:
    """Answers requests at a port until :meth:`close`."""

    def __init__(self, host: str, port: int, fd: int | None = None) -> None:
        self._memory = HashStore()
        self._connections: set[socket.socket] = set()
        if fd is not None:
            self._socket = socket.socket(fileno=fd)
        else:
            try:
                self._socket = socket.create_server((host, port), backlog=1024)
            except OSError as error:
                raise DistNetworkError(
                    f"The server socket has failed to listen on any local network address. port: {port}: {error.strerror}"
                ) from error
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, name="flambeau-store", daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # closed
                return
            self._connections.add(connection)
            threading.Thread(target=self._serve, args=(connection,), name="flambeau-store", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    connection.sendall(json.dumps(self._answer(*json.loads(line))).encode() + b"\n")
        except (OSError, ValueError, TypeError):  # it has gone, or is none of ours
            pass
        finally:
            self._connections.discard(connection)

    def _answer(self, name: str, arguments: list, seconds: float) -> list:
        """``[result]``, or the class and text of an error."""
        if name not in _METHODS:
            return ["DistStoreError", f"a store has no {name}"]
        values = [a.encode("latin-1") if i and isinstance(a, str) else a for i, a in enumerate(arguments)]
        limit = {"timeout": timedelta(seconds=seconds)} if name in _WAITING else {}
        try:
            result = getattr(self._memory, name)(*values, **limit)
        except (DistStoreError, ValueError) as error:
            return [type(error).__name__, str(error)]
        return [result.decode("latin-1") if isinstance(result, bytes) else result]

    def close(self) -> None:
        """Ends the connections and frees the port."""
        for end in (self._socket, *list(self._connections)):
            try:
                end.shutdown(socket.SHUT_RDWR)  # which wakes the thread that listens there
            except OSError:
                pass
        self._socket.close()


_servers: dict[int, Server] = {}
"""Servers that live as long as the process, by their ports: those of stores that say ``multi_tenant``."""


def _serving(host: str, port: int, fd: int | None, shared: bool) -> Server:
    if shared and port in _servers:
        return _servers[port]
    server = Server("" if host not in ("localhost", "127.0.0.1") else "127.0.0.1", port, fd)
    if shared:
        _servers[server.port] = server
    return server


def _hang_up(lines: BinaryIO, connection: socket.socket) -> None:
    lines.close()
    connection.close()


class TCPStore(Store):
    """A store at a port: the one with ``is_master`` keeps the values, the others ask it.

    ``port`` 0 is any free one; ``port`` of the store says which. The master waits until ``world_size`` stores are there,
    itself included, unless ``wait_for_workers`` is false. With ``multi_tenant`` stores of one process share a port.

    >>> from flambeau.distributed import TCPStore
    >>> server = TCPStore("127.0.0.1", 0, is_master=True)
    >>> client = TCPStore("127.0.0.1", server.port)
    >>> client.set("key", "value")
    >>> server.get("key")
    b'value'

    Raises:
        DistNetworkError: nobody answers at the port within ``timeout``, or the connection has broken.
        DistStoreError: a key, or a worker, has not come in time.
    """

    def __init__(
        self, host_name: str, port: int, world_size: int | None = None, is_master: bool = False, timeout: timedelta = timedelta(seconds=300),
        wait_for_workers: bool = True, multi_tenant: bool = False, master_listen_fd: int | None = None, use_libuv: bool = True,
    ) -> None:  # fmt: skip
        self._timeout, self.host = timeout, host_name
        self.libuvBackend = use_libuv
        self._lock = threading.Lock()
        if is_master:
            server = _serving(host_name, port, master_listen_fd, multi_tenant)
            port = server.port
            if not multi_tenant:
                weakref.finalize(self, server.close)
        self.port = port
        self._socket = self._connect("127.0.0.1" if is_master else host_name)
        self._lines = self._socket.makefile("rb")
        weakref.finalize(self, _hang_up, self._lines, self._socket)
        if world_size and wait_for_workers:
            self._await_workers(world_size, is_master)

    def _connect(self, host: str) -> socket.socket:
        seconds = self._timeout.total_seconds()
        end, pause = time.monotonic() + seconds, 0.01
        while True:
            try:
                connection = socket.create_connection((host, self.port), max(0.001, end - time.monotonic()))
                break
            except OSError as error:
                if time.monotonic() + pause > end:
                    raise DistNetworkError(
                        f"The client socket has timed out after {int(seconds * 1000)}ms while trying to connect to ({host}, {self.port})."
                    ) from error
            time.sleep(pause)
            pause = min(0.5, pause * 1.5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def _await_workers(self, world_size: int, is_master: bool) -> None:
        come = self.add("init/", 1)
        if come % world_size == 0:
            self.set(f"init/{come // world_size}", b"")
        if is_master:
            try:
                self.wait([f"init/{-(-come // world_size)}"])
            except DistStoreError:
                seconds = max(1, round(self._timeout.total_seconds()))
                there = self.add("init/", 0) % world_size
                raise DistStoreError(
                    f"Timed out after {seconds} seconds waiting for clients. {there}/{world_size} clients joined."
                ) from None

    def _ask(self, name: str, *arguments: Any, timeout: timedelta | None = None) -> Any:
        """What the server answers."""
        seconds = (timeout or self._timeout).total_seconds()
        sent = [a.decode("latin-1") if isinstance(a, bytes) else a for a in arguments]
        with self._lock:
            try:
                self._socket.settimeout(seconds + _SLACK)
                self._socket.sendall(json.dumps([name, sent, seconds]).encode() + b"\n")
                line = self._lines.readline()
            except OSError as error:
                raise DistNetworkError(
                    f"{error}: the process that keeps the store at {self.host}:{self.port} does not answer"
                ) from error
        if not line:
            raise DistNetworkError(
                "Failed to recv, got 0 bytes. Connection was likely closed. Did the remote server shutdown or crash?"
            )
        answer = json.loads(line)
        if len(answer) == 2:
            kind, text = answer
            raise getattr(_errors, kind, ValueError)(text)
        return answer[0]

    def _late(self, keys: Sequence[str], timeout: timedelta | None) -> DistStoreError:
        milliseconds = int((timeout or self._timeout).total_seconds() * 1000)
        return DistStoreError(f"wait timeout after {milliseconds}ms, keys: {', '.join('/' + key for key in keys)}")

    def set(self, key: str, value: str | bytes) -> None:
        self._ask("set", key, as_bytes(value))

    def get(self, key: str) -> bytes:
        try:
            return self._ask("get", key).encode("latin-1")
        except DistStoreError:
            raise self._late([key], None) from None

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        try:
            self._ask("wait", list(keys), timeout=timeout)
        except DistStoreError:
            raise self._late(keys, timeout) from None

    def add(self, key: str, amount: int) -> int:
        return self._ask("add", key, int(amount))

    def append(self, key: str, value: str | bytes) -> None:
        self._ask("append", key, as_bytes(value))

    def compare_set(self, key: str, expected_value: str, desired_value: str) -> bytes:
        return self._ask("compare_set", key, as_bytes(expected_value), as_bytes(desired_value)).encode("latin-1")

    def check(self, keys: Sequence[str]) -> bool:
        return self._ask("check", list(keys))

    def delete_key(self, key: str) -> bool:
        return self._ask("delete_key", key)

    def list_keys(self) -> list[str]:
        return self._ask("list_keys")

    def num_keys(self) -> int:
        return self._ask("num_keys")

    def queue_push(self, key: str, value: str | bytes) -> None:
        self._ask("queue_push", key, as_bytes(value))

    def queue_pop(self, key: str, block: bool = True) -> bytes:
        return self._ask("queue_pop", key, block).encode("latin-1")

    def queue_len(self, key: str) -> int:
        return self._ask("queue_len", key)

    def clone(self) -> TCPStore:
        return TCPStore("127.0.0.1" if self.port in _servers else self.host, self.port, timeout=self._timeout)

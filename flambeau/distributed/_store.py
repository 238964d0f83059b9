"""Stores: bytes by key, through which the processes of a group find each other.

Source: https://docs.pytorch.org/docs/stable/distributed.html#distributed-key-value-store
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from flambeau.distributed._errors import DistStoreError, QueueEmptyError

__all__ = ["FileStore", "HashStore", "PrefixStore", "Store"]

T = TypeVar("T")


def as_bytes(value: str | bytes) -> bytes:
    """A value as it is stored."""
    return value.encode() if isinstance(value, str) else bytes(value)


def next_sum(value: bytes | None, amount: int) -> int:
    """``value``, which is a number in digits, and ``amount``."""
    try:
        return int(value or b"0") + amount
    except ValueError:
        raise ValueError("stoll") from None


class Store:
    """Bytes by key. Keys are text; values are text or bytes, and come back as bytes."""

    _timeout = timedelta(minutes=5)

    @property
    def timeout(self) -> timedelta:
        """How long :meth:`get` and :meth:`wait` wait for keys."""
        return self._timeout

    def set_timeout(self, timeout: timedelta) -> None:
        """Sets :attr:`timeout`."""
        self._timeout = timeout

    def set(self, key: str, value: str | bytes) -> None:
        """Stores ``value``."""
        raise NotImplementedError("set is not implemented.")

    def get(self, key: str) -> bytes:
        """The value of ``key``, once it has one; ``DistStoreError`` after the timeout."""
        raise NotImplementedError("get is not implemented.")

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        """Waits until all ``keys`` have values; ``DistStoreError`` after the timeout."""
        raise NotImplementedError("wait is not implemented.")

    def add(self, key: str, amount: int) -> int:
        """Adds ``amount`` to the number at ``key``, 0 if there is none, and gives the sum."""
        raise NotImplementedError("add is not implemented.")

    def append(self, key: str, value: str | bytes) -> None:
        """Adds ``value`` to the end of the value of ``key``."""
        raise NotImplementedError("append is not implemented.")

    def compare_set(self, key: str, expected_value: str, desired_value: str) -> bytes:
        """Stores ``desired_value`` where ``expected_value`` was ("" for none); gives what is there afterwards."""
        raise NotImplementedError("compare_set is not implemented.")

    def check(self, keys: Sequence[str]) -> bool:
        """Whether all ``keys`` have values."""
        raise NotImplementedError("check is not implemented.")

    def delete_key(self, key: str) -> bool:
        """Forgets ``key``; whether it had a value."""
        raise NotImplementedError("delete_key is not implemented.")

    def list_keys(self) -> list[str]:
        """All keys, in no order."""
        raise NotImplementedError("list_keys is not implemented.")

    def num_keys(self) -> int:
        """How many keys there are."""
        return len(self.list_keys())

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        """The values of several keys."""
        return [self.get(key) for key in keys]

    def multi_set(self, keys: Sequence[str], values: Sequence[str | bytes]) -> None:
        """Stores several values."""
        for key, value in zip(keys, values, strict=True):
            self.set(key, value)

    def queue_push(self, key: str, value: str | bytes) -> None:
        """Puts ``value`` at the end of the queue ``key``."""
        raise NotImplementedError("queue support is not implemented.")

    def queue_pop(self, key: str, block: bool = True) -> bytes:
        """Takes the first value out of the queue ``key``; where it is empty, waits, or raises ``QueueEmptyError``."""
        raise NotImplementedError("queue support is not implemented.")

    def queue_len(self, key: str) -> int:
        """How many values are in the queue ``key``."""
        raise NotImplementedError("queue support is not implemented.")

    def has_extended_api(self) -> bool:
        """Whether there are ``append``, ``multi_get`` and ``multi_set``."""
        return True

    def barrier(self, key: str, world_size: int, timeout: timedelta | None = None) -> None:
        """Waits until ``world_size`` callers are here."""
        if self.add(f"{key}/count", 1) == world_size:
            self.set(f"{key}/open", b"1")
        self.wait([f"{key}/open"], *() if timeout is None else (timeout,))

    def clone(self) -> Store:
        """Another access to the same values."""
        return self


class HashStore(Store):
    """A store in the memory of the process, for its threads.

    >>> from flambeau.distributed import HashStore
    >>> store = HashStore()
    >>> store.set("name", "flambeau")
    >>> store.get("name"), store.add("count", 2), store.check(["name", "other"])
    (b'flambeau', 2, False)
    """

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._queues: dict[str, list[bytes]] = {}
        self._changed = threading.Condition()

    def _wait_for(self, found: Callable[[], T], timeout: timedelta | None = None) -> T:
        """What ``found()`` gives once it is true; the lock is held."""
        if not self._changed.wait_for(found, (timeout or self._timeout).total_seconds()):
            raise DistStoreError("Wait timeout")
        return found()

    def set(self, key: str, value: str | bytes) -> None:
        with self._changed:
            self._values[key] = as_bytes(value)
            self._changed.notify_all()

    def get(self, key: str, timeout: timedelta | None = None) -> bytes:
        with self._changed:
            self._wait_for(lambda: key in self._values, timeout)
            return self._values[key]

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        with self._changed:
            self._wait_for(lambda: all(key in self._values for key in keys), timeout)

    def add(self, key: str, amount: int) -> int:
        with self._changed:
            value = next_sum(self._values.get(key), amount)
            self.set(key, str(value))
            return value

    def append(self, key: str, value: str | bytes) -> None:
        with self._changed:
            self.set(key, self._values.get(key, b"") + as_bytes(value))

    def compare_set(self, key: str, expected_value: str, desired_value: str) -> bytes:
        with self._changed:
            now = self._values.get(key)
            if now == as_bytes(expected_value) or now is None and not expected_value:
                self.set(key, desired_value)
            return self._values.get(key, as_bytes(expected_value))

    def check(self, keys: Sequence[str]) -> bool:
        with self._changed:
            return all(key in self._values for key in keys)

    def delete_key(self, key: str) -> bool:
        with self._changed:
            return self._values.pop(key, None) is not None

    def list_keys(self) -> list[str]:
        with self._changed:
            return list(self._values)

    def queue_push(self, key: str, value: str | bytes) -> None:
        with self._changed:
            self._queues.setdefault(key, []).append(as_bytes(value))
            self._changed.notify_all()

    def queue_pop(self, key: str, block: bool = True, timeout: timedelta | None = None) -> bytes:
        with self._changed:
            if not block and not self._queues.get(key):
                raise QueueEmptyError("queue is empty")
            return self._wait_for(lambda: self._queues.get(key), timeout).pop(0)  # type: ignore[union-attr]

    def queue_len(self, key: str) -> int:
        with self._changed:
            return len(self._queues.get(key, ()))


class FileStore(Store):
    """A store in a file, which every process on a machine (or on a network's file system with locks) can open.

    The file is a log of what was stored, a line each; whoever reads goes on from where it has read to. The last one of
    those that have opened it deletes it.
    """

    _POLL = 0.01
    _USERS = "efcount/"

    def __init__(self, file_name: str, world_size: int = -1) -> None:
        self.path = str(file_name)
        self._values: dict[str, bytes] = {}
        self._position = 0
        self._lock = threading.RLock()
        self._pid = os.getpid()
        self.add(self._USERS, 1)

    def __del__(self) -> None:
        if getattr(self, "_pid", None) != os.getpid():  # it was never opened, or by the parent
            return
        try:
            if self.add(self._USERS, -1) == 0:
                os.unlink(self.path)
        except OSError:
            pass

    @contextmanager
    def _read(self) -> Iterator[Callable[[str, bytes | None], None]]:
        """Brings the values up to date, and gives a function that stores one; nobody else does in the meantime."""
        with self._lock, open(self.path, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(self._position)
            for line in file:
                self._note(*json.loads(line))
            self._position = file.tell()

            def store(key: str, value: bytes | None) -> None:
                text = None if value is None else value.decode("latin-1")
                file.write(json.dumps([key, text]).encode() + b"\n")
                file.flush()
                self._position = file.tell()
                self._note(key, text)

            yield store

    def _note(self, key: str, text: str | None) -> None:
        if text is None:
            self._values.pop(key, None)
        else:
            self._values[key] = text.encode("latin-1")

    def set(self, key: str, value: str | bytes) -> None:
        with self._read() as store:
            store(key, as_bytes(value))

    def get(self, key: str) -> bytes:
        try:
            self.wait([key])
        except DistStoreError:
            raise DistStoreError(f"Timeout waiting for key: {key} after {int(self._timeout.total_seconds() * 1000)} ms") from None
        return self._values[key]

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        end = time.monotonic() + (timeout or self._timeout).total_seconds()
        while not self.check(keys):
            if time.monotonic() > end:
                raise DistStoreError("Wait timeout")
            time.sleep(self._POLL)

    def add(self, key: str, amount: int) -> int:
        with self._read() as store:
            value = next_sum(self._values.get(key), amount)
            store(key, str(value).encode())
            return value

    def append(self, key: str, value: str | bytes) -> None:
        with self._read() as store:
            store(key, self._values.get(key, b"") + as_bytes(value))

    def compare_set(self, key: str, expected_value: str, desired_value: str) -> bytes:
        with self._read() as store:
            now = self._values.get(key)
            if now == as_bytes(expected_value) or now is None and not expected_value:
                store(key, as_bytes(desired_value))
            return self._values.get(key, as_bytes(expected_value))

    def check(self, keys: Sequence[str]) -> bool:
        with self._read():
            return all(key in self._values for key in keys)

    def delete_key(self, key: str) -> bool:
        with self._read() as store:
            there = key in self._values
            store(key, None)
            return there

    def list_keys(self) -> list[str]:
        with self._read():
            return list(self._values)

    def has_extended_api(self) -> bool:
        return False


class PrefixStore(Store):
    """Another store, whose keys get a prefix.

    >>> from flambeau.distributed import HashStore, PrefixStore
    >>> store = HashStore()
    >>> PrefixStore("first", store).set("key", "value")
    >>> store.get("first/key")
    b'value'
    """

    def __init__(self, prefix: str, store: Store) -> None:
        self._prefix, self.underlying_store = prefix, store

    @property
    def timeout(self) -> timedelta:
        return self.underlying_store.timeout

    def set_timeout(self, timeout: timedelta) -> None:
        self.underlying_store.set_timeout(timeout)

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}"

    def set(self, key: str, value: str | bytes) -> None:
        self.underlying_store.set(self._key(key), value)

    def get(self, key: str) -> bytes:
        return self.underlying_store.get(self._key(key))

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        self.underlying_store.wait([self._key(key) for key in keys], *() if timeout is None else (timeout,))

    def add(self, key: str, amount: int) -> int:
        return self.underlying_store.add(self._key(key), amount)

    def append(self, key: str, value: str | bytes) -> None:
        self.underlying_store.append(self._key(key), value)

    def compare_set(self, key: str, expected_value: str, desired_value: str) -> bytes:
        return self.underlying_store.compare_set(self._key(key), expected_value, desired_value)

    def check(self, keys: Sequence[str]) -> bool:
        return self.underlying_store.check([self._key(key) for key in keys])

    def delete_key(self, key: str) -> bool:
        return self.underlying_store.delete_key(self._key(key))

    def list_keys(self) -> list[str]:
        start = self._key("")
        return [key.removeprefix(start) for key in self.underlying_store.list_keys() if key.startswith(start)]

    def num_keys(self) -> int:
        return self.underlying_store.num_keys()  # as in PyTorch: of the store below

    def queue_push(self, key: str, value: str | bytes) -> None:
        self.underlying_store.queue_push(self._key(key), value)

    def queue_pop(self, key: str, block: bool = True) -> bytes:
        return self.underlying_store.queue_pop(self._key(key), block)

    def queue_len(self, key: str) -> int:
        return self.underlying_store.queue_len(self._key(key))

    def has_extended_api(self) -> bool:
        return self.underlying_store.has_extended_api()

    def clone(self) -> Store:
        return PrefixStore(self._prefix, self.underlying_store.clone())

    @property
    def _underlying_non_prefix_store(self) -> Any:
        below = self.underlying_store
        return below._underlying_non_prefix_store if isinstance(below, PrefixStore) else below

"""``torch.futures``: results that are still to come, set by other threads.

Source: https://docs.pytorch.org/docs/stable/futures.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

__all__ = ["Future", "collect_all", "wait_all"]

T = TypeVar("T")


class Future(Generic[T]):
    """A value that somebody will set, or an error.

    >>> import flambeau as torch
    >>> f = torch.futures.Future()
    >>> g = f.then(lambda f: f.wait() + 1)
    >>> f.set_result(2)
    >>> g.wait(), f.done()
    (3, True)
    """

    def __init__(self, *, devices: Any = None) -> None:
        self._ready = threading.Event()
        self._lock = threading.Lock()
        self._result: Any = None
        self._error: BaseException | None = None
        self._callbacks: list[Callable[[Future], Any]] = []

    def done(self) -> bool:
        """Whether there is a value or an error."""
        return self._ready.is_set()

    def wait(self) -> T:
        """The value, once it is there; raises the error if that has come."""
        self._ready.wait()
        return self.value()

    def value(self) -> T:
        """The value; ``RuntimeError`` before it is there."""
        if not self.done():
            raise RuntimeError("Future is not completed: wait() waits until it is.")
        if self._error is not None:
            raise self._error
        return self._result

    def _complete(self, result: Any, error: BaseException | None) -> None:
        with self._lock:
            if self.done():
                raise RuntimeError("Future can only be marked completed once: it has a value or an error already.")
            self._result, self._error = result, error
            callbacks, self._callbacks = self._callbacks, []
            self._ready.set()
        for callback in callbacks:
            callback(self)

    def set_result(self, result: T) -> None:
        """Says what the value is, which runs the callbacks."""
        self._complete(result, None)

    def set_exception(self, result: BaseException) -> None:
        """Says that there will be no value: ``wait`` raises the error."""
        if not isinstance(result, Exception):
            raise AssertionError(f"{result} is of type {type(result)}, not an Exception.")
        self._complete(None, result)

    def add_done_callback(self, callback: Callable[[Future[T]], None]) -> None:
        """Calls ``callback`` with this future when there is a value or an error; at once if there is already."""

        def quiet(future: Future) -> None:
            try:
                callback(future)
            except Exception as error:  # which nobody waits for
                import logging

                logging.getLogger(__name__).error("Got the following error when running the callback: %r", error)

        self._when_done(quiet)

    def _when_done(self, callback: Callable[[Future], None]) -> None:
        with self._lock:
            if not self.done():
                self._callbacks.append(callback)
                return
        callback(self)

    def then(self, callback: Callable[[Future[T]], Any]) -> Future:
        """A future of what ``callback`` returns, which is called with this one when it is done."""
        following: Future = Future()

        def run(future: Future) -> None:
            try:
                result = callback(future)
            except Exception as error:
                following.set_exception(
                    RuntimeError(f"{type(error).__name__}: {error}")
                )  # as what PyTorch's threads tell each other
            else:
                following.set_result(result)

        self._when_done(run)
        return following


def collect_all(futures: list[Future]) -> Future[list[Future]]:
    """A future of the list of all ``futures``, which is there when all of them are done."""
    collected: Future[list[Future]] = Future()
    left = len(futures)
    lock = threading.Lock()

    def one(_: Future) -> None:
        nonlocal left
        with lock:
            left -= 1
            last = not left
        if last:
            failed = next((f._error for f in futures if f._error is not None), None)
            collected._complete(futures, failed)

    if not futures:
        collected.set_result([])
    for future in futures:
        future._when_done(one)
    return collected


def wait_all(futures: list[Future]) -> list:
    """The values of all ``futures``, once all are there; raises the first error."""
    return [future.wait() for future in collect_all(futures).wait()]

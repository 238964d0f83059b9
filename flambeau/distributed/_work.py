"""Operations that have been started, and waiting for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from flambeau.distributed._errors import DistBackendError
from flambeau.distributed._transport import Pending
from flambeau.futures import Future

if TYPE_CHECKING:
    from flambeau.distributed._group import ProcessGroup

__all__ = ["Work"]

_SPINS = 200
_SHORTEST_NAP, _LONGEST_NAP = 20e-6, 0.001
_NAPS = 20
"""Who has waited for so many times as long sleeps: a message takes hardly longer for it, and long waits cost nothing."""
_LOOK = 0.5
"""Seconds between looks whether the others are still there."""


def wait_for(pending: Pending, group: ProcessGroup, name: str, timeout: timedelta) -> None:
    """Returns once ``pending`` is done.

    It asks often at first and then sleeps in between, so that processes that share few cores do not take them from each other.

    Raises:
        DistBackendError: the time is over, or a process of the group has ended. The group cannot be used any more.
    """
    for _ in range(_SPINS):
        if pending.test():
            return
    begun = time.monotonic()
    end, look = begun + timeout.total_seconds(), begun + _LOOK
    while not pending.test():
        now = time.monotonic()
        if now > end:
            raise group.fail(f"Timed out waiting {int(timeout.total_seconds() * 1000)}ms for {name} operation to complete")
        if now > look:
            look = now + _LOOK
            lost = group.transport.lost(pending.peer)
            if lost is not None and not pending.test():
                raise group.fail(f"{lost}, while this process waited in {name}")
        time.sleep(min(_LONGEST_NAP, max(_SHORTEST_NAP, (now - begun) / _NAPS)))


class Work:
    """An operation that has been started; :meth:`wait` ends it. Only then the tensors that it is to write have new values."""

    def __init__(self, group: ProcessGroup, name: str, pending: Pending, finish: Callable[[Any], Any] | None = None) -> None:
        self._group, self._name, self._pending, self._finish = group, name, pending, finish
        self._result: Any = None
        self._error: DistBackendError | None = None
        self._done = False

    def wait(self, timeout: timedelta | None = None) -> bool:
        """Waits until the operation is done, as long as the group's time-out says; true.

        Raises:
            DistBackendError: it will not be, since another process has ended or does not come.
        """
        if self._error is not None:
            raise self._error
        if not self._done:
            try:
                wait_for(self._pending, self._group, self._name, timeout or self._group.timeout)
            except DistBackendError as error:
                self._error = error
                raise
            self._complete()
        return True

    def _complete(self) -> None:
        self._done = True
        self._group.outstanding.discard(self)
        finish, self._finish = self._finish, None
        if finish is not None:
            self._result = finish(self._pending.result)

    def synchronize(self) -> None:
        """Another name of :meth:`wait`."""
        self.wait()

    def is_completed(self) -> bool:
        """Whether the operation is done."""
        if not self._done and self._error is None and self._pending.test():
            self._complete()
        return self._done or self._error is not None

    def is_success(self) -> bool:
        """Whether it is done, and has not failed."""
        return self.is_completed() and self._error is None

    def exception(self) -> DistBackendError | None:
        """Why it has failed, if it has."""
        return self._error

    def source_rank(self) -> int:
        """The rank in the group of who has sent what was received."""
        return self._pending.source

    _source_rank = source_rank

    def result(self) -> Any:
        """The tensors that were written."""
        self.wait()
        return self._result

    def get_future(self) -> Future:
        """A future of :meth:`result`. Whoever waits for it waits for the operation."""
        return WorkFuture(self)


class Together(Work):
    """Several operations that are waited for as one."""

    def __init__(self, works: Sequence[Work], result: Any) -> None:
        self._works, self._result = works, result

    def wait(self, timeout: timedelta | None = None) -> bool:
        return all([work.wait(timeout) for work in self._works])

    def is_completed(self) -> bool:
        return all([work.is_completed() for work in self._works])

    def is_success(self) -> bool:
        return all([work.is_success() for work in self._works])

    def exception(self) -> DistBackendError | None:
        return next((error for error in (work.exception() for work in self._works) if error is not None), None)


class WorkFuture(Future):
    """A future that is driven by who waits for it: no other thread runs what comes after a :class:`Work`."""

    def __init__(self, work: Any) -> None:
        super().__init__()
        self._work, self._settling = work, False

    def _settle(self) -> None:
        if super().done() or self._settling:
            return
        self._settling = True
        try:
            result = self._work.result()
        except Exception as error:
            self.set_exception(error)
        else:
            self.set_result(result)

    def done(self) -> bool:
        if not super().done() and not self._settling and self._work.is_completed():
            self._settle()
        return super().done()

    def wait(self) -> Any:
        self._settle()
        return super().value()

    def then(self, callback: Callable[[Future], Any]) -> Future:
        """A future of what ``callback`` returns for this one, which runs when somebody waits."""
        return WorkFuture(_Following(self, callback))


class _Following:
    """What comes after a future, in the form of a work."""

    def __init__(self, before: WorkFuture, callback: Callable[[Future], Any]) -> None:
        self._before, self._callback = before, callback

    def is_completed(self) -> bool:
        return self._before.done()

    def result(self) -> Any:
        self._before._settle()
        return self._callback(self._before)

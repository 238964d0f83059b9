"""Watching the calls of ops, those of a program and those that they, and backward passes, make in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import dispatch
from flambeau.ops.record import Op
from flambeau.tensor.overriding import offering
from flambeau.tensor.watching import Watcher


class Observer(Watcher):
    """Fills ``dispatch.watch`` while it is open: every call of an op comes to :meth:`called`, which makes it by :meth:`run`.

    Modes with a ``__torch_function__`` are offered calls first, and several observers see the same calls.
    """

    def open(self) -> None:
        slots, name = (offering, "before") if dispatch.watch is offering else (dispatch, "watch")
        before = getattr(slots, name)
        self.before = None if getattr(before, "learns", False) else before  # a composite, in another thread
        setattr(slots, name, self)

    def close(self) -> None:
        above = next((w for w in self._chain() if w.before is self), None)
        if above is not None:  # another was opened later
            above.before = self.before
        elif dispatch.watch is self:
            dispatch.watch = self.before

    def _chain(self) -> list[Any]:
        """Those that calls come to first, in this order."""
        found: list[Any] = []
        watch = dispatch.watch
        while watch is not None and watch is not self and hasattr(watch, "before"):
            found.append(watch)
            watch = watch.before
        return found

    def called(self, op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
        return self.run(op, args, kwargs)

    def __call__(self, function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        return self.called(function.op, args, kwargs)  # type: ignore[attr-defined]

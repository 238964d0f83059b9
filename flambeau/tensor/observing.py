"""Watching the calls of ops, those of a program and those that they, and backward passes, make in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau import dispatch
from flambeau.ops.record import Op, public_function
from flambeau.tensor.overriding import offering
from flambeau.tensor.tensor import Tensor


class _Beneath:
    """The slots of ``dispatch`` as an op that an observer runs sees them."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    @property
    def watch(self) -> Any:
        return self._observer.before

    def __getattr__(self, name: str) -> Any:
        return getattr(dispatch, name)


class Observer:
    """Fills ``dispatch.watch`` while it is open: every call of an op comes to :meth:`called`, which makes it by :meth:`run`.

    Modes with a ``__torch_function__`` are offered calls first, and several observers see the same calls.
    """

    whole = True  # composites come here too

    def __init__(self) -> None:
        self.before: Any = None
        self._beneath = _Beneath(self)
        self._own: dict[Op, Callable] = {}

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

    def note_write(self, input: Tensor, result: Tensor) -> None:
        if self.before is not None:
            self.before.note_write(input, result)

    def run(self, op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The call of ``op``."""
        own = self._own.get(op)
        if own is None:
            own = self._own[op] = public_function(op, self._beneath)
        return own(*args, **kwargs)

    def called(self, op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
        return self.run(op, args, kwargs)

    def __call__(self, function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        return self.called(function.op, args, kwargs)  # type: ignore[attr-defined]

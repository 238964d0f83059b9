"""What fills ``dispatch.watch``: everybody who is told of calls of ops has another one, or nobody, beneath."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from flambeau import dispatch
from flambeau.ops.record import Op, public_function
from flambeau.tensor.tensor import Tensor


def tensors_in(values: Iterable) -> Iterator[Tensor]:
    """The tensors among arguments or results, those in lists and tuples too."""
    for x in values:
        if isinstance(x, Tensor):
            yield x
        elif isinstance(x, (tuple, list)):
            yield from tensors_in(x)


class _Beneath:
    """The slots of ``dispatch`` as an op that a watcher runs sees them: its call comes to who is beneath, if anybody."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher

    @property
    def watch(self) -> Any:
        return self._watcher.before

    def __getattr__(self, name: str) -> Any:
        return getattr(dispatch, name)


class Watcher:
    """Base of those who are told of every call; ``before`` is who was told until this one was."""

    whole = True  # composites come here too

    def __init__(self) -> None:
        self.before: Any = None
        self._beneath = _Beneath(self)
        self._own: dict[Op, Any] = {}

    def run(self, op: Op, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The call of ``op``, of which this one is not told."""
        own = self._own.get(op)
        if own is None:
            own = self._own[op] = public_function(op, self._beneath)
        return own(*args, **kwargs)

    def note_write(self, input: Tensor, result: Tensor) -> None:
        if self.before is not None:
            self.before.note_write(input, result)

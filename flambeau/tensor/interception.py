"""How calls of ops come to arguments that are not what ops compute with: proxies of traces, sparse tensors.

As long as there are such objects, calls are looked at: where one is among the arguments, its class is asked
(``_intercept(function, types, args, kwargs)``). While there are none, nothing is to be done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from flambeau import dispatch
from flambeau.tensor.watching import Watcher

__all__ = ["Interception", "Presence", "ask", "interception", "overriding", "rules_in"]


def overriding(args: Any, found: list) -> list:
    """What calls are to be asked of among arguments; nests are searched too."""
    for a in args:
        kind = type(a)
        if kind in (list, tuple):
            overriding(a, found)
        elif kind is dict:
            overriding(a.values(), found)
        elif kind is slice:
            overriding((a.start, a.stop, a.step), found)
        elif hasattr(kind, "_intercept"):
            found.append(a)
    return found


class Interception(Watcher):
    """Fills ``dispatch.watch`` and ``dispatch.inplace`` while there are such objects, and asks these for what they are given to."""

    def __init__(self) -> None:
        super().__init__()
        self.living = 0
        self.inplace: Callable | None = None

    def enter(self) -> None:
        """There is one more such object."""
        self.living += 1
        if self.inplace is None:
            self.inplace, dispatch.inplace = dispatch.inplace, self._in_place
        if not self._is_reached():
            before = dispatch.watch
            if hasattr(before, "abandon"):
                before.abandon()
                before = None
            self.before, dispatch.watch = before, self

    def _is_reached(self) -> bool:
        """Whether calls come here, perhaps from others who are told of them first."""
        watch = dispatch.watch
        while watch is not None and watch is not self:
            watch = getattr(watch, "before", None)
        return watch is self

    def leave(self) -> None:
        """There is one less."""
        self.living -= 1
        if not self.living:
            if dispatch.watch is self:
                dispatch.watch = self.before
            if self.inplace is not None and dispatch.inplace == self._in_place:
                dispatch.inplace, self.inplace = self.inplace, None

    def __call__(self, function: Callable, args: tuple, kwargs: dict) -> Any:
        found = overriding(args, [])
        if kwargs:
            overriding(kwargs.values(), found)
        if found:
            return ask(function, found, _spread(function, args), kwargs)
        op = function.op  # type: ignore[attr-defined]
        if function is not op.function:  # as somebody runs it who is told before this one
            return self.run(op, args, kwargs)
        before = self.before
        dispatch.watch = before
        try:
            return function(*args, **kwargs)
        finally:
            dispatch.watch = self if self.living else before

    def _in_place(self, function: Callable, input: Any, args: tuple, kwargs: dict) -> Any:
        found = overriding((input, *args, *kwargs.values()), [])
        if found:
            return ask(_in_place_form(function), found, (input, *args), kwargs)
        assert self.inplace is not None
        return self.inplace(function, input, args, kwargs)


def _spread(function: Callable, args: tuple) -> tuple:
    """The arguments of ``einsum`` one by one, where they came as a list."""
    if function.__name__ == "einsum" and len(args) == 2 and isinstance(args[1], (list, tuple)):
        return args[0], *args[1]
    return args


def _in_place_form(function: Callable) -> Callable:
    """``torch.add_`` for ``torch.add``."""
    from flambeau.tensor.methods import inplace_function

    op = function.op  # type: ignore[attr-defined]
    if op not in _in_place_forms:
        public = sys.modules["flambeau"]  # which has one under that name already
        _in_place_forms[op] = getattr(public, op.short_name + "_", None) or inplace_function(op, op.short_name)
    return _in_place_forms[op]


_in_place_forms: dict[Any, Callable] = {}


def ask(function: Callable, found: list, args: tuple, kwargs: dict) -> Any:
    """What the first of ``found`` that knows makes of the call."""
    types = tuple(dict.fromkeys(type(a) for a in found))
    for a in found:
        result = type(a)._intercept(function, types, args, kwargs)
        if result is not NotImplemented:
            return result
    raise TypeError(
        f"no implementation found for '{function.__module__}.{function.__name__}' on types that implement __torch_function__: {list(types)}"
    )


interception = Interception()


class Presence:
    """Has calls looked at as long as it is there: each such object holds one, or shares that of what it was made of."""

    __slots__ = ()

    def __init__(self) -> None:
        interception.enter()

    def __del__(self) -> None:
        interception.leave()


def rules_in(table: dict[str, Callable]) -> Callable[..., Callable[[Callable], Callable]]:
    """A decorator that puts a function into ``table`` under the names of the ops that it stands for."""

    def rule(*names: str) -> Callable[[Callable], Callable]:
        def note(function: Callable) -> Callable:
            table.update(dict.fromkeys(names, function))
            return function

        return note

    return rule

"""Repeating a composite: the calls of other ops that it made once are made again, and its own Python is left out.

What a composite does with its arguments depends on their layouts and on the settings alone, unless it looks at values,
draws random numbers, writes what the tape must know of, or warns. So when a call comes a second time, the primitives that
it calls are noted: how they are followed (see :mod:`flambeau.tensor.recipes`), and which of their arguments are the
composite's, results of earlier calls, or constants. From then on these recipes are followed one after the other. A composite
inside a composite counts as the primitives that it calls. Of what cannot be said in this way it is remembered that it cannot.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident

from flambeau import dispatch
from flambeau.core import config, errors
from flambeau.core.random import Generator, default_generator
from flambeau.core.results import ReturnType
from flambeau.ops.record import Op, plain
from flambeau.tensor.following import Call, composite_follower
from flambeau.tensor.meta import on_meta, run_inside
from flambeau.tensor.order import is_strided, laid_out
from flambeau.tensor.reading import WINDOW
from flambeau.tensor.recipes import (
    MAX_RECIPES,
    comes_again,
    given,
    is_new,
    key_of,
    layout_of,
    layout_or_class,
    skip,
    whole,
)
from flambeau.tensor.storage import MetaStorage, Storage, looks
from flambeau.tensor.tensor import Tensor

MAX_CALLS = 64
"""Of a composite that is remembered."""


def compose(op: Op, args: tuple, kwargs: dict):
    """The result of a composite: by the calls that it made of like arguments before, or by running it."""
    if op.layout is not None and (op.always_laid_out or is_strided((*args, *kwargs.values()))):
        return in_full(op, args, kwargs)
    if not op.patience or dispatch.watch is not None or whole.written:
        return in_full(op, args, kwargs)
    if is_new(op, args):
        skip(op)
        return op.run_check(args, kwargs)
    key = key_of(op, args, kwargs)
    follow = op.recipes.get(key)
    if follow is not None:
        result = follow(given(op, args, kwargs) if kwargs or op.listed is not None else args)
        if result is not None:
            return result
    elif key is not None and _has_room(op):
        follow = op.recipes[key] = _seen
    again = follow in _TRIES and (follow is not _seen or comes_again(op, key))  # type: ignore[arg-type]
    if again and not config.eager and dispatch.autocast.cast is None:
        return _learn(op, key, args, kwargs)  # type: ignore[arg-type]
    if key is None and any([x.__class__ not in plain for x in args if isinstance(x, Tensor)]):
        return op.run_check(args, kwargs)
    if key is None and MetaStorage.some and on_meta(*args, *kwargs.values()) is not None:
        return in_full(op, args, kwargs)
    if key is None or follow is _never:
        _lose_patience(op)
    return op.run_check(args, kwargs)


def _seen(args: tuple) -> None:
    """In place of a recipe: there was such a call, once."""


def _tried(args: tuple) -> None:
    """In place of a recipe: one such call could not be remembered. That may be because of what was not known yet."""


def _never(args: tuple) -> None:
    """In place of a recipe: such calls cannot be remembered."""


def in_full(op: Op, args: tuple, kwargs: dict):
    """The result of a composite by running it as it is written."""
    if MetaStorage.some and on_meta(*args, *kwargs.values()) is not None:
        result = run_inside(op.run_check, (args, kwargs), {})
    else:
        result = op.run_check(args, kwargs)
    return result if op.layout is None else laid_out(op, (*args, *kwargs.values()), result)


_TRIES = {_seen: _tried, _tried: _never}


def _learn(op: Op, key: tuple, args: tuple, kwargs: dict):
    """Runs a composite, and remembers what it calls."""
    watch = dispatch.watch = Watch(given(op, args, kwargs))
    try:
        result = op.run_check(args, kwargs)
    finally:
        if dispatch.watch is watch:
            dispatch.watch = None
    follow = watch.follower(result)
    if follow is None:
        before = op.recipes.get(key)
        if before in _TRIES:  # no other thread has learned more
            op.recipes[key] = _TRIES[before]
        return result
    op.recipes[key] = follow
    if not kwargs and len(args) <= 3:
        _shorten(op, args, follow)
    return result


def _shorten(op: Op, args: tuple, follow: Callable) -> None:
    """Lets like calls be found by the short key that the public function makes, in which settings are their classes."""
    settings = [(i, x, repr(x)) for i, x in enumerate(args) if x is not None and not isinstance(x, Tensor)]
    if any([x.__class__ not in (int, float, bool, str) for _, x, _ in settings]):
        return

    def guarded(args: tuple):
        for i, value, text in settings:
            x = args[i]
            if x != value or not x and repr(x) != text:  # 0.0 is not -0.0
                return None
        return follow(args)

    op.recipes[(*[layout_or_class(x) for x in args], dispatch.grad_mode.enabled)] = guarded if settings else follow
    op.by_layout = max(op.by_layout, len(args))


def _lose_patience(op: Op) -> None:
    """Counts a call that cannot be remembered, of an op of which none was or may still be."""
    if all([follow is _never or follow is _tried for follow in list(op.recipes.values())]):
        op.patience -= 1
        if not op.patience:
            op.recipes.clear()


def _has_room(op: Op) -> bool:
    """Forgets the calls of an op that has many; where none came twice, that is how it is called, and no more are remembered."""
    if len(op.recipes) >= MAX_RECIPES:
        if all([follow is _seen for follow in list(op.recipes.values())]):
            op.patience = 0
        op.recipes.clear()
    return op.patience > 0


class Watch:
    """What a composite calls while it runs; fills ``dispatch.watch``."""

    learns = True

    def __init__(self, arguments: tuple) -> None:
        self._thread = get_ident()
        self._clear = True  # whether all that was seen can be repeated
        self._calls: list[Call] = []
        self._constants: list = []
        self._texts: dict[int, str] = {}  # by id: what tensors, and tuples of them, are called
        self._known: list[tuple] = []  # those that must stay as they are: (tensor, layout, version without the writes below)
        self._writes: list[tuple[str, str]] = []  # off the tape: of which into which
        self._written: dict[Storage, int] = {}  # how often
        self._count = len(arguments)
        self._tensors = [i for i, x in enumerate(arguments) if isinstance(x, Tensor)]
        for i in self._tensors:
            self._know(arguments[i], f"a{i}")
        self._clear = len(self._known) == len(self._texts)  # no argument was given twice
        self._effects = _effects()

    def abandon(self) -> None:
        """Another one takes the place: what was seen cannot be repeated."""
        self._clear = False

    def __call__(self, function: Callable, args: tuple, kwargs: dict):
        """The result of a primitive's call, which is noted."""
        if get_ident() != self._thread:
            self._clear = False
            dispatch.watch = None
            return function(*args, **kwargs)
        dispatch.watch = None
        before = _effects()
        try:
            result = function(*args, **kwargs)
        finally:
            dispatch.watch = self
        self._note(function.op, args, kwargs, result)  # type: ignore[attr-defined]
        # What a call looks at is its own business: it is looked at again whenever that call is followed.
        self._effects = [own + after - start for own, after, start in zip(self._effects, _effects(), before, strict=True)]
        return result

    def _note(self, op: Op, args: tuple, kwargs: dict, result) -> None:
        key = key_of(op, args, kwargs) if "out" not in kwargs else None
        follow = op.recipes.get(key)
        arguments = given(op, args, kwargs)
        texts = [self._argument(x) for x in arguments]
        if follow is None or None in texts or self._writes or len(self._calls) >= MAX_CALLS:
            self._clear = False  # also after a write: a call that cannot be followed must find all as it was
            return
        name = f"r{len(self._calls)}"
        self._calls.append(Call(follow, tuple(texts)))  # type: ignore[arg-type]
        if isinstance(result, Tensor):
            self._know_result(result, name)
        else:
            self._texts[id(result)] = name
            self._known.append((result, None, 0))
            for i, t in enumerate(result):
                self._know_result(t, f"{name}[{i}]")

    def note_write(self, input: Tensor, result: Tensor) -> None:
        """Notes what is about to be assigned."""
        target, value = self._texts.get(id(input)), self._texts.get(id(result))
        if target is None or value is None or dispatch.grad_mode.enabled or get_ident() != self._thread:
            self._clear = False
        else:
            self._writes.append((target, value))
            self._written[input._storage] = self._written.get(input._storage, 0) + 1

    def _know(self, t: Tensor, text: str) -> None:
        self._texts[id(t)] = text
        self._known.append((t, t._layout or layout_of(t), t._storage.version))

    def _know_result(self, t: Tensor, text: str) -> None:
        self._know(t, text)
        if (t._layout or layout_of(t)).memory is WINDOW:
            return
        for x, layout, _ in self._known:  # windows are alike wherever they begin, and what they are seen as otherwise is not
            if layout is not None and layout.memory is WINDOW and x._storage is t._storage:
                self._clear = False

    def _argument(self, x) -> str | None:
        """What the argument of a call is called; ``None`` for a tensor of unknown origin."""
        if isinstance(x, Tensor):
            return self._texts.get(id(x))
        if x.__class__ not in (int, float, bool, complex):
            return "None"  # a setting: it is part of the recipe
        self._constants.append(x)
        return f"c{len(self._constants) - 1}"

    def follower(self, result) -> Callable | None:
        """``follow(args)`` that does the same again; ``None`` where that cannot be said."""
        if not self._clear or _effects() != self._effects:
            return None
        for t, layout, version in self._known:
            if layout is None:
                continue  # a tuple
            if t._storage.version != version + self._written.get(t._storage, 0) or (t._layout or layout_of(t)) is not layout:
                return None  # changed in some other way
        text = self._result(result)
        if text is None or text == "None":
            return None
        return composite_follower(self._count, self._tensors, self._calls, self._constants, self._writes, text)

    def _result(self, x) -> str | None:
        """What makes a result from those of the calls."""
        known = self._texts.get(id(x))
        if known is not None or x is None:
            return known or "None"
        if x.__class__ is not tuple and x.__class__ is not list and not isinstance(x, ReturnType):
            return None
        parts = [self._result(part) for part in x]
        if None in parts:
            return None
        if isinstance(x, ReturnType):
            self._constants.append(x.__class__)
            return f"c{len(self._constants) - 1}(({''.join(f'{part}, ' for part in parts)}))"
        listed = "".join(f"{part}, " for part in parts)
        return f"[{listed}]" if x.__class__ is list else f"({listed})"


def _effects() -> list[int]:
    """What counts the effects that a recipe would leave out: looks at values, random numbers drawn, warnings."""
    return [looks.count, Generator.draws, default_generator.next_normal is None, errors.warned]


dispatch.compose = compose

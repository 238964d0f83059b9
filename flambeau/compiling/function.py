"""The wrapper around a function that is captured."""

from __future__ import annotations

import functools
import sys
import threading
from collections.abc import Callable
from typing import Any

from flambeau import dispatch
from flambeau.autograd.anomaly import anomaly
from flambeau.autograd.saving import saving_hooks
from flambeau.compiling.arguments import Arguments
from flambeau.compiling.errors import Unsupported
from flambeau.compiling.extent import extent
from flambeau.compiling.guards import Miss, State
from flambeau.compiling.replay import Before, capture
from flambeau.compiling.watch import LIMITS, Refused, Watch, watching
from flambeau.core import config, dtypes
from flambeau.core.weak import WeakValues
from flambeau.engine import graph, report
from flambeau.nn.modules.module import Module

MAX_CAPTURES = 8
"""Of one function, as PyTorch's recompile limit; calls of other forms then run as they are written."""
MAX_WATCHED = 128
"""Calls that are watched, which makes them slow, before a function that never repeats itself is left alone."""
CAPTURING = ("default", "eager_then_compile", "aot_eager_then_compile")
"""Stances in which functions are captured."""
MAX_FAILURES = 3
"""How often a function is tried in vain on calls of one form."""

one_at_a_time = threading.Lock()
_all: WeakValues[Captures] = WeakValues()


class _Stance:
    """What programs have said of compiled functions: see :func:`flambeau.compiler.set_stance`."""

    name = "default"


stance = _Stance()


class Captures:
    """What is known of one function: its captures, newest last, and the surveys of calls that were run once."""

    def __init__(self, function: Callable, name: str, fullgraph: bool) -> None:
        self.function, self.name, self.fullgraph = function, name, fullgraph
        self.replays: list[Callable] = []
        self.surveys: dict[tuple, Survey] = {}
        self.failures: dict[tuple, int] = {}
        self.watched = 0  # how many calls were watched
        self.aside: list[Callable] = []  # the captures, while nothing is to be compiled
        _all.add(id(self), self)

    def forget(self) -> None:
        self.replays.clear()
        self.aside = []
        self.surveys.clear()
        self.failures.clear()
        self.watched = 0

    def call(self, args: tuple, kwargs: dict, misses: list[Miss]) -> Any:
        """Runs the function, and captures what it does where that is possible. It is told that it is compiled, whether it is
        captured or not."""
        if stance.name == "force_eager":
            return self.function(*args, **kwargs)
        extent.compiled += 1
        try:
            return self.answer(args, kwargs, misses)
        finally:
            extent.compiled -= 1

    def answer(self, args: tuple, kwargs: dict, misses: list[Miss]) -> Any:
        """What a call gives for which there is no capture."""
        self.refuse_new_forms(args, kwargs, misses)
        if stance.name not in CAPTURING or self.must_be_plain() or not one_at_a_time.acquire(blocking=False):
            return self.function(*args, **kwargs)
        try:
            watched = self._prepare(args, kwargs, misses)
            if watched is not None:
                return watched()
        finally:
            one_at_a_time.release()
        return self.function(*args, **kwargs)

    def refuse_new_forms(self, args: tuple, kwargs: dict, misses: list[Miss]) -> None:
        """Raises where the stance asks for it and no call of this form has come before."""
        if stance.name == "fail_on_recompile" and not self._is_known(args, kwargs):
            reasons = "".join(f"\n  - capture {k}: {miss.reason}" for k, miss in enumerate(misses))
            raise RuntimeError(f"Detected recompile when torch.compile stance is 'fail_on_recompile': {self.name}{reasons}")

    def key(self, arguments: Arguments, args: tuple) -> tuple:
        """What is equal for calls of one form."""
        return arguments.key, dispatch.grad_mode.enabled, dtypes.get_default_dtype(), _training(self.function, args)

    def _is_known(self, args: tuple, kwargs: dict) -> bool:
        """Whether a call of this form has come before, without being captured yet, or for good."""
        try:
            key = self.key(Arguments(args, kwargs), args)
        except Refused:
            return True
        return key in self.surveys or key in self.failures

    def must_be_plain(self) -> bool:
        """Whether functions are to run as they are written at the moment, or this one for good."""
        return bool(
            watching or config.eager or saving_hooks or anomaly.enabled or dispatch.autocast.cast is not None
            or dispatch.watch is not None  # a dual level: each op is called
            or sys.getprofile() is not None or len(self.replays) >= MAX_CAPTURES or self.watched >= MAX_WATCHED
        )  # fmt: skip

    def _prepare(self, args: tuple, kwargs: dict, misses: list[Miss]) -> Callable | None:
        try:
            arguments = Arguments(args, kwargs)
        except Refused as refused:
            self._refused(("arguments",), str(refused))
            return None
        key = self.key(arguments, args)
        if self.failures.get(key, 0) >= MAX_FAILURES:
            return None
        for k, miss in enumerate(misses):
            report.write("guards", f"{self.name}: capture {k} does not fit: {miss.reason}")
        self.watched += 1
        survey = self.surveys.get(key)
        if survey is None:
            return lambda: self._survey(key, arguments)
        changed = survey.changed(args, kwargs)
        if changed is not None:
            self._refused(key, f"what it reads changes from call to call: {changed}", again=True)
            return lambda: self._survey(key, arguments)
        return lambda: self._capture(key, arguments, survey)

    def _survey(self, key: tuple, arguments: Arguments) -> Any:
        """The first call of a form: finds out what the function reads."""
        watch = Watch()
        result = watch.call(self.function, arguments.args, arguments.kwargs)
        try:
            self.surveys[key] = Survey(self.function, watch, arguments)
            if len(self.surveys) > 4 * MAX_CAPTURES:
                self.surveys.pop(next(iter(self.surveys)))
        except Refused as refused:
            self._refused(key, str(refused))
        return result

    def _capture(self, key: tuple, arguments: Arguments, survey: Survey) -> Any:
        """The second call: what the function reads is known, so it shows whether it leaves all that as it was."""
        state = State(survey.watch, self.function, arguments.objects)
        _separate(arguments, state)
        before = Before(arguments, state)
        watch = Watch()
        result = watch.call(self.function, arguments.args, arguments.kwargs)
        del self.surveys[key]
        try:
            if watch.reason is not None:
                raise Refused(watch.reason)
            if watch.user.keys() != survey.watch.user.keys() or watch.layers.keys() - survey.watch.layers.keys():
                raise Refused("it runs other code than before")
            changed = survey.changed(arguments.args, arguments.kwargs)
            if changed is not None or not arguments.unchanged():
                raise Refused(f"it changes what it reads: {changed or 'its arguments'}")
            self.replays.append(capture(watch, before, result))
            self.failures.pop(key, None)
            report.write("guards", f"{self.name}: captured ({len(self.replays)})")
        except Refused as refused:
            self._refused(key, str(refused))
        return result

    def _refused(self, key: tuple, reason: str, again: bool = False) -> None:
        self.failures[key] = self.failures.get(key, 0) + 1
        report.write("guards", f"{self.name}: not captured: {reason}")
        if self.fullgraph and not again and reason not in LIMITS:
            raise Unsupported(f"{self.name} cannot be captured as a whole, as fullgraph=True asks: {reason}")


class Survey:
    """What a call read: its guards, to see whether a later call finds and leaves everything as it was."""

    def __init__(self, function: Callable, watch: Watch, arguments: Arguments) -> None:
        if watch.reason is not None:
            raise Refused(watch.reason)
        self.watch = watch
        watch.leaves.clear()
        watch.snapshots.clear()
        state = State(watch, function, arguments.objects)
        self.tensors = list(state.tensors.values())  # that it reads besides its arguments
        self._check = state.function("check", "args, kwargs", state.lines, ["return None"])

    def changed(self, args: tuple, kwargs: dict) -> str | None:
        """What is no longer as it was."""
        miss = self._check(args, kwargs)
        return None if miss is None else miss.reason


def _separate(arguments: Arguments, state: State) -> None:
    """Sees to it that no two tensors, nor a tensor and a constant, have one node between them."""
    seen = set(graph.shared.values())
    for storage in {t._storage for t in (*arguments.tensors, *state.tensors.values())}:
        if storage.node in seen:
            storage.array()
        seen.add(storage.node)


def _training(function: Any, args: tuple) -> tuple:
    """The train flags of the modules that the call obviously uses."""
    modules = [x for x in (getattr(function, "__self__", function), *args) if isinstance(x, Module)]
    return tuple([m.training for root in modules for m in root.modules()])


def compiled_function(
    function: Callable, fullgraph: bool = False, name: str | None = None, kind: Callable[..., Captures] = Captures
) -> Callable:
    """A function that does what ``function`` does, and is captured; ``kind``: how."""
    captures = kind(function, name or str(getattr(function, "__qualname__", type(function).__name__)), fullgraph)
    replays = captures.replays

    def compiled(*args: Any, **kwargs: Any) -> Any:
        misses = []
        for replay in replays:
            result = replay(args, kwargs)
            if result.__class__ is not Miss:
                return result
            misses.append(result)
        return captures.call(args, kwargs, misses)

    functools.update_wrapper(compiled, function, updated=())
    compiled._torchdynamo_orig_callable = function  # type: ignore[attr-defined]
    compiled.captures = captures  # type: ignore[attr-defined]
    return compiled


def set_stance(name: str) -> None:
    """Sets the stance; captures are laid aside while functions are to run as they are written."""
    stance.name = name
    for captures in _all.values():
        if name == "force_eager":
            captures.aside += captures.replays
            captures.replays.clear()
        elif captures.aside:
            captures.replays[:0] = captures.aside
            captures.aside = []


def forget_all() -> None:
    """Forgets all captures."""
    for captures in _all.values():
        captures.forget()

"""What can be seen where an error was raised: the user's line, the names there, and the tensors of the call that failed."""

from __future__ import annotations

import linecache
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from types import FrameType
from typing import Any, NamedTuple

from flambeau.diagnosis.frames import entries, is_ours
from flambeau.tensor import Tensor


class Operand(NamedTuple):
    """A tensor of the call that failed, by the name that the user's line, a module or the call has for it."""

    name: str
    value: Tensor

    def __str__(self) -> str:
        from flambeau.nn.parameter import is_lazy

        if is_lazy(self.value):
            return f"{self.name} (a lazy layer's, not made yet)"
        return f"{self.name} {str(self.value.dtype).removeprefix('torch.')} {list(self.value.shape)}"


class Scene:
    """``error``, and the innermost line of the user's that led to it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self.message = str(error)
        frames = [(entry.tb_frame, entry.tb_lineno) for entry in entries(error.__traceback__)]
        users = [i for i, (frame, _) in enumerate(frames) if not is_ours(frame.f_code.co_filename)]
        last = users[-1] if users else -1
        self.frame: FrameType | None = frames[last][0] if users else None
        self._line = frames[last][1] if users else 0
        self._user_frames = [frames[i][0] for i in users]
        self._our_frames = [frame for frame, _ in frames[last + 1 :]]

    @cached_property
    def line(self) -> str:
        """The text of the user's line."""
        if isinstance(self.error, SyntaxError):
            return (self.error.text or "").rstrip("\n")
        if self.frame is None:
            return ""
        return linecache.getline(self.frame.f_code.co_filename, self._line, self.frame.f_globals).strip()

    def search(self, pattern: str) -> re.Match[str] | None:
        """The first match in a line of the user's file."""
        if self.frame is None:
            return None
        lines = linecache.getlines(self.frame.f_code.co_filename, self.frame.f_globals)
        return next((found for line in lines if (found := re.search(pattern, line))), None)

    def has(self, pattern: str) -> bool:
        """Whether any line of the user's file matches."""
        return self.search(pattern) is not None

    @property
    def site(self) -> tuple[str, int] | None:
        """The file and the number of the user's line."""
        return None if self.frame is None else (self.frame.f_code.co_filename, self._line)

    @cached_property
    def names(self) -> Mapping[str, Any]:
        """What the names on the user's line stand for."""
        return {**self.frame.f_globals, **self.frame.f_locals} if self.frame is not None else {}

    def value(self, path: str) -> Any:
        """The value of a dotted name there; ``...`` where it cannot be told."""
        first, *rest = path.split(".")
        value = self.names.get(first, ...)
        for name in rest:
            value = getattr(value, name, ...)
        return value

    def found(self, pattern: str) -> re.Match[str] | None:
        return re.search(pattern, self.message)

    @cached_property
    def operands(self) -> list[Operand]:
        """The tensors that were given to the function that failed: as seen from where most of them have names."""
        best: list[Operand] = []
        most = -1
        for frame in reversed(self._our_frames):
            named = [(self._name(tensor), name, tensor) for name, tensor in _tensors(frame)]
            known = sum(found is not None for found, _, _ in named)
            if named and known > most:
                most, best = known, [Operand(found or name, tensor) for found, name, tensor in named]
        return best[:6]

    def operand(self, name: str) -> Operand | None:
        """The operand that one of flambeau's functions on the way to the error calls so."""
        for frame in reversed(self._our_frames):
            tensor = dict(_tensors(frame)).get(name)
            if tensor is not None:
                return Operand(self._name(tensor) or name, tensor)
        return None

    def given(self, name: str) -> Any:
        """The argument ``name`` of the innermost of flambeau's functions that has one, tensor or not."""
        for frame in reversed(self._our_frames):
            if name in frame.f_code.co_varnames[: frame.f_code.co_argcount]:
                return frame.f_locals.get(name)
        return None

    def _name(self, tensor: Tensor) -> str | None:
        from flambeau.nn import Module

        modules: dict[str, Module] = {}
        for frame in reversed(self._user_frames):
            for name, value in frame.f_locals.items():
                if value is tensor and not name.startswith("_"):
                    return name
                if isinstance(value, Module):
                    modules[name] = value
        for owner, module in reversed(modules.items()):  # the outermost first: the longest paths
            for name, value in (*_named(module, "named_parameters"), *_named(module, "named_buffers")):
                if value is tensor:
                    return f"{owner}.{name}"
        return None


def _named(module: Any, kind: str) -> Iterator[tuple[str, Tensor]]:
    if "_parameters" in vars(module) and "_modules" in vars(module):  # one whose __init__ was not called has none
        yield from getattr(module, kind)()


def _tensors(frame: FrameType) -> Iterator[tuple[str, Tensor]]:
    code = frame.f_code
    for name in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        value = frame.f_locals.get(name)
        if isinstance(value, Tensor):
            yield name, value
        elif isinstance(value, (list, tuple)):
            yield from ((f"{name}[{i}]", item) for i, item in enumerate(value) if isinstance(item, Tensor))

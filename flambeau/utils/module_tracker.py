"""``torch.utils.module_tracker``: which modules a program is inside of."""

from __future__ import annotations

import weakref
from typing import Any

from flambeau.nn.modules._hooks import register_module_forward_hook, register_module_forward_pre_hook
from flambeau.nn.modules.module import Module

__all__ = ["ModuleTracker"]


class ModuleTracker:
    """While it is entered, ``parents`` has the names of all modules whose ``forward`` is running, and ``"Global"``.

    Names are those that the outermost module gives its parts, behind its class's name.

    >>> import flambeau as torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2))
    >>> seen = []
    >>> hook = net[0].register_forward_pre_hook(lambda *_: seen.append(sorted(tracker.parents)))
    >>> with ModuleTracker() as tracker:
    ...     y = net(torch.ones(1, 2))
    >>> seen
    [['Global', 'Sequential', 'Sequential.0']]

    Backward passes are not followed: ``is_bw`` is False.
    """

    def __init__(self) -> None:
        self.parents = {"Global"}
        self._names: weakref.WeakKeyDictionary[Module, str] = weakref.WeakKeyDictionary()
        self._handles: list[Any] = []
        self._stack: list[str] = []

    @property
    def is_bw(self) -> bool:
        return False

    def name_of(self, module: Module) -> str:
        """The name of a module, which names all of its parts when it is met first."""
        if module not in self._names:
            top = type(module).__name__
            for name, part in module.named_modules():
                self._names.setdefault(part, f"{top}.{name}" if name else top)
        return self._names[module]

    def _enter(self, module: Module, inputs: Any) -> None:
        name = self.name_of(module)
        self._stack.append(name)
        self.parents.add(name)

    def _leave(self, module: Module, inputs: Any, output: Any) -> None:
        name = self.name_of(module)
        if name in self._stack:
            del self._stack[len(self._stack) - 1 - self._stack[::-1].index(name) :]
        self.parents = {"Global", *self._stack}

    def __enter__(self) -> ModuleTracker:
        self._handles = [register_module_forward_pre_hook(self._enter), register_module_forward_hook(self._leave, always_call=True)]
        return self

    def __exit__(self, *exc: Any) -> None:
        for handle in self._handles:
            handle.remove()
        self.parents, self._stack = {"Global"}, []

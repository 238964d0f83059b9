"""``torch.utils.module_tracker``: which modules a program is inside of."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

from flambeau.autograd.graph import current_task, queue_callback, register_multi_grad_hook
from flambeau.nn.modules._hooks import register_module_forward_hook, register_module_forward_pre_hook
from flambeau.nn.modules.module import Module
from flambeau.tensor import Tensor
from flambeau.utils._pytree import tree_leaves

__all__ = ["ModuleTracker"]


class ModuleTracker:
    """While it is entered, ``parents`` has the names of all modules whose ``forward`` is running, or whose gradients are made, and
    ``"Global"``.

    Names are those that the outermost module gives its parts, behind its class's name.

    >>> import flambeau as torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2))
    >>> seen = []
    >>> hook = net[0].register_forward_pre_hook(lambda *_: seen.append(sorted(tracker.parents)))
    >>> with ModuleTracker() as tracker:
    ...     y = net(torch.ones(1, 2))
    >>> seen
    [['Global', 'Sequential', 'Sequential.0']]

    In a backward pass a module is entered when the gradients of its results have been made, and left when those of its inputs have
    been: at the end of the pass where no input needs one.
    """

    def __init__(self) -> None:
        self.parents = {"Global"}
        self._names: weakref.WeakKeyDictionary[Module, str] = weakref.WeakKeyDictionary()
        self._handles: list[Any] = []
        self._hooks: list[Any] = []
        self._will_reset = False

    @property
    def is_bw(self) -> bool:
        """Whether a backward pass is running."""
        return current_task() is not None

    def name_of(self, module: Module) -> str:
        """The name of a module, which names all of its parts when it is met first."""
        if module not in self._names:
            top = type(module).__name__
            for name, part in module.named_modules():
                self._names.setdefault(part, f"{top}.{name}" if name else top)
        return self._names[module]

    def _enter(self, module: Module, inputs: Any) -> None:
        name = self.name_of(module)
        self.parents.add(name)
        self._when_made(inputs, lambda *_: self.parents.discard(name))

    def _leave(self, module: Module, inputs: Any, output: Any) -> None:
        name = self.name_of(module)
        self.parents.discard(name)

        def enter(*_: Any) -> None:
            if not self._will_reset:
                self._will_reset = True
                queue_callback(self._reset)
            self.parents.add(name)

        self._when_made(output, enter)

    def _when_made(self, tensors: Any, hook: Callable) -> None:
        """Calls ``hook`` when the gradients of tensors have been made."""
        needing = [t for t in tree_leaves(tensors) if isinstance(t, Tensor) and t.requires_grad]
        if needing:
            self._hooks.append(register_multi_grad_hook(needing, hook))

    def _reset(self) -> None:
        self.parents, self._will_reset = {"Global"}, False

    def __enter__(self) -> ModuleTracker:
        self._handles = [register_module_forward_pre_hook(self._enter), register_module_forward_hook(self._leave, always_call=True)]
        return self

    def __exit__(self, *exc: Any) -> None:
        for handle in (*self._handles, *self._hooks):
            handle.remove()
        self._hooks.clear()
        self._reset()

"""Hooks of optimizers: functions that run before and after steps, saving and loading; of one optimizer, or of all."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable
from itertools import chain

from flambeau.core.hooks import RemovableHandle
from flambeau.engine.run import run_ahead
from flambeau.nn.modules._hooks import add_hook

_global_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
_global_post_hooks: OrderedDict[int, Callable] = OrderedDict()


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """Registers ``hook(optimizer, args, kwargs)`` to run before each step of every optimizer.

    It returns None, or new ``(args, kwargs)`` for the step. ``args[0]`` is the optimizer.
    """
    return add_hook(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """Registers ``hook(optimizer, args, kwargs)`` to run after each step of every optimizer."""
    return add_hook(_global_post_hooks, hook)


class Hooked:
    """What optimizers have of hooks."""

    def _init_hooks(self) -> None:
        self._optimizer_step_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._optimizer_step_post_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._optimizer_state_dict_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._optimizer_state_dict_post_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._optimizer_load_state_dict_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._optimizer_load_state_dict_post_hooks: OrderedDict[int, Callable] = OrderedDict()

    @staticmethod
    def profile_hook_step(func: Callable) -> Callable:
        """Wraps a ``step`` method so that it runs the step hooks; ``step`` of subclasses is
        wrapped by itself.

        What has been recorded runs in the end: a step is a trace of its own, also where a program looks at its loss
        only now and then, so that one plan is for all of them.
        """

        @functools.wraps(func)
        def wrapper(*args, **kwargs):
            self = args[0]
            if type(self).step is not wrapper:  # reached through super().step(): hooks are running
                return func(*args, **kwargs)
            if not (self._optimizer_step_pre_hooks or self._optimizer_step_post_hooks or _global_pre_hooks or _global_post_hooks):
                out = func(*args, **kwargs)
                run_ahead()
                return out
            for hook in chain(_global_pre_hooks.values(), self._optimizer_step_pre_hooks.values()):
                result = hook(self, args, kwargs)
                if result is None:
                    continue
                if not (isinstance(result, tuple) and len(result) == 2):
                    raise RuntimeError(f"{func} must return None or a tuple of (new_args, new_kwargs), but got {result}.")
                args, kwargs = result
            out = func(*args, **kwargs)
            for hook in chain(self._optimizer_step_post_hooks.values(), _global_post_hooks.values()):
                hook(self, args, kwargs)
            run_ahead()
            return out

        wrapper.hooked = True  # type: ignore[attr-defined]
        return wrapper

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Registers ``hook(optimizer, args, kwargs)`` to run before each step.

        It returns None, or new ``(args, kwargs)`` for the step. ``args[0]`` is the optimizer.
        """
        return add_hook(self._optimizer_step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Registers ``hook(optimizer, args, kwargs)`` to run after each step."""
        return add_hook(self._optimizer_step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Registers ``hook(optimizer)`` to run before :meth:`state_dict`."""
        return add_hook(self._optimizer_state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Registers ``hook(optimizer, state_dict)``, which may edit what :meth:`state_dict`
        returns, or return something else in its place."""
        return add_hook(self._optimizer_state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Registers ``hook(optimizer, state_dict)``, which may edit the (shallow copy of the)
        dict to be loaded, or return another."""
        return add_hook(self._optimizer_load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Registers ``hook(optimizer)`` to run after :meth:`load_state_dict`."""
        return add_hook(self._optimizer_load_state_dict_post_hooks, hook, prepend)

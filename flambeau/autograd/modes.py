"""Whether operations are put on the tape: ``no_grad``, ``enable_grad``, ``set_grad_enabled``, ``inference_mode``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flambeau.core.contexts import _DecoratorContextManager, _NoParamDecoratorContextManager
from flambeau.dispatch import grad_mode


def _switch(on: bool) -> tuple:
    """Turns the tape on or off, which inference mode keeps off; returns what was before."""
    previous = grad_mode.enabled, grad_mode.asked
    grad_mode.asked = on
    if previous[0] is not None:
        grad_mode.enabled = on
    return previous


class no_grad(_NoParamDecoratorContextManager):
    """Operations inside are not put on the tape.

    >>> import flambeau as torch
    >>> x = torch.ones(2, requires_grad=True)
    >>> with torch.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False

    Source: https://docs.pytorch.org/docs/stable/generated/torch.no_grad.html
    """

    mode = False

    def __enter__(self) -> None:
        self.previous = grad_mode.enabled, grad_mode.asked
        grad_mode.asked = self.mode
        if self.previous[0] is not None:  # no call from here to the block, for a signal handler may raise after one
            grad_mode.enabled = self.mode

    def __exit__(self, *exc) -> None:
        grad_mode.enabled, grad_mode.asked = self.previous


class enable_grad(no_grad):
    """Operations inside are put on the tape, also within :class:`no_grad`."""

    mode = True


class set_grad_enabled(_DecoratorContextManager):
    """Turns the tape on or off, at once when called as a function, and back at the end of a ``with``."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self.previous = _switch(self.mode)

    def __call__(self, function: Callable) -> Callable:
        self.__exit__()
        return super().__call__(function)

    def __enter__(self) -> None:
        _switch(self.mode)

    def __exit__(self, *exc) -> None:
        grad_mode.enabled, grad_mode.asked = self.previous

    def clone(self) -> set_grad_enabled:
        return type(self)(self.mode)

    def __repr__(self) -> str:
        return f"torch.autograd.grad_mode.set_grad_enabled(mode={self.mode})"


class inference_mode(_DecoratorContextManager):
    """As :class:`no_grad`, for code whose results never take part in a gradient."""

    mode: bool

    def __new__(cls, mode: Any = True) -> Any:
        self = object.__new__(cls)
        if callable(mode):
            self.mode = True
            return self(mode)
        self.mode = bool(mode)
        return self

    def __enter__(self) -> None:
        self.previous = grad_mode.enabled, grad_mode.asked, grad_mode.inference
        grad_mode.enabled, grad_mode.asked, grad_mode.inference = None if self.mode else True, not self.mode, self.mode

    def __exit__(self, *exc) -> None:
        grad_mode.enabled, grad_mode.asked, grad_mode.inference = self.previous

    def clone(self) -> inference_mode:
        return type(self)(self.mode)


class set_multithreading_enabled(_DecoratorContextManager):
    """Whether a backward pass may use threads. It runs in the thread that calls it, whatever is said: its kernels have their own."""

    def __init__(self, mode: bool) -> None:
        self.mode = bool(mode)
        self.previous, grad_mode.threads = grad_mode.threads, self.mode

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc) -> None:
        grad_mode.threads = self.previous

    def __call__(self, function: Callable) -> Callable:
        grad_mode.threads = self.previous
        return super().__call__(function)

    def clone(self) -> set_multithreading_enabled:
        return type(self)(self.mode)


def is_multithreading_enabled() -> bool:
    """What :class:`set_multithreading_enabled` was last told."""
    return grad_mode.threads


def is_grad_enabled() -> bool:
    """Whether operations are put on the tape now; in inference mode what was asked for inside of it."""
    return grad_mode.asked if grad_mode.enabled is None else grad_mode.enabled


def is_inference_mode_enabled() -> bool:
    return grad_mode.inference

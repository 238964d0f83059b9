"""Context managers that are decorators too: of functions, and of generators, whose steps they surround one by one."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Generator
from typing import Any

__all__ = ["context_decorator"]


def context_decorator(ctx: Any, func: Callable) -> Callable:
    """``func`` inside of a context: ``ctx`` is a context manager that can be entered again and again, or makes one for each call.

    Raises:
        AssertionError: it could be both.
        RuntimeError: ``func`` is a class.
    """
    if callable(ctx) and hasattr(ctx, "__enter__"):
        raise AssertionError(
            f"Passed in {ctx} is both callable and also a valid context manager (has __enter__), making it ambiguous which interface to use: "
            "pass a function that makes context managers, or one that cannot be called"
        )
    make = ctx if callable(ctx) else lambda: ctx
    if inspect.isclass(func):
        raise RuntimeError(
            "Cannot decorate classes; it is ambiguous whether or not only the constructor or all methods should have the context manager "
            "applied: decorate each method"
        )
    if inspect.isgeneratorfunction(func):

        @functools.wraps(func)
        def generating(*args: Any, **kwargs: Any) -> Any:
            return (yield from _under(make, func(*args, **kwargs)))

        return generating

    @functools.wraps(func)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        with make():
            return func(*args, **kwargs)

    return wrapped


def _under(make: Callable[[], Any], generator: Generator) -> Any:
    """Runs each step of ``generator`` in a context, and the code between the steps in its own."""
    step: Callable = generator.send
    given: Any = None
    while True:
        try:
            with make():
                value = step(given)
        except StopIteration as stop:
            return stop.value
        try:
            given = yield value
            step = generator.send
        except GeneratorExit:
            with make():
                generator.close()
            raise
        except BaseException as error:  # thrown in, to be raised where the generator waits
            given, step = error, generator.throw


class _DecoratorContextManager:
    """Base of context managers that decorate: each call of the function is in a context of its own, which :meth:`clone` makes."""

    def __call__(self, orig_func: Callable) -> Callable:
        if inspect.isclass(orig_func):
            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You should only decorate functions or methods. "
                "To preserve the current behavior of class decoration, you can directly decorate the `__init__` method and nothing else.",
                FutureWarning,
                stacklevel=2,
            )
            return context_decorator(self.clone, lambda *args, **kwargs: orig_func(*args, **kwargs))
        return context_decorator(self.clone, orig_func)

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> Any:
        raise NotImplementedError

    def clone(self) -> Any:
        """Another one like this; subclasses whose ``__init__`` has parameters have a ``clone`` of their own."""
        return type(self)()


class _NoParamDecoratorContextManager(_DecoratorContextManager):
    """One that decorates with and without parentheses."""

    def __new__(cls, orig_func: Callable | None = None) -> Any:
        self = object.__new__(cls)
        return self if orig_func is None else self(orig_func)

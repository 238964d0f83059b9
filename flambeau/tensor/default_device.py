"""Where tensors are made that are made from nothing: ``with torch.device("meta")``, and ``torch.set_default_device``.

Source: https://docs.pytorch.org/docs/stable/generated/torch.set_default_device.html
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flambeau.core import device as devices
from flambeau.core.device import device
from flambeau.ops.record import registry
from flambeau.tensor import exchange
from flambeau.tensor.overriding import pop, push, state


class _Entered(threading.local):
    """The contexts that were entered, per thread; and the default that was set."""

    contexts: tuple = ()
    default: Any = None


_entered = _Entered()


def factories() -> set[Callable]:
    """The functions that make tensors from nothing."""
    if not _factories:
        ops = {id(op): op for op in registry.values()}.values()
        found = [op.function for op in ops if not op.tensors and not op.method and "device" in op.check.__code__.co_varnames]
        _factories.update(found, [exchange.tensor, exchange.as_tensor, exchange.asarray])
    return _factories


_factories: set[Callable] = set()


class DeviceContext:
    """A mode inside of which :func:`factories` make their tensors on ``device``, unless they are told where."""

    def __init__(self, where: Any) -> None:
        self.device = device(where)

    def __enter__(self) -> DeviceContext:
        push(self)
        return self

    def __exit__(self, *exc: object) -> None:
        pop(self)

    def __torch_function__(self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("device") is None and func in factories():
            kwargs = {**kwargs, "device": self.device}
        return func(*args, **kwargs)


def _enter(d: device) -> None:
    """``with d:``. On the CPU, where nothing else was said, there is nothing to do."""
    devices.check(d)
    context = None
    if d.type != "cpu" or any([isinstance(mode, DeviceContext) for mode in state.modes]):
        context = DeviceContext(d)
        push(context)
    _entered.contexts = (*_entered.contexts, (d, context))


def _leave() -> None:
    _, context = _entered.contexts[-1]
    _entered.contexts = _entered.contexts[:-1]
    if context is not None:
        pop(context)


def set_default_device(d: Any) -> None:
    """Sets where tensors are made that are not told where; ``None``: on the CPU.

    >>> import flambeau as torch
    >>> torch.set_default_device("meta")
    >>> torch.ones(2)
    tensor(..., device='meta', size=(2,))
    >>> torch.set_default_device(None)
    """
    if d is not None:
        devices.check(d)
    if _entered.default is not None:
        pop(_entered.default)
    _entered.default = None
    if d is not None and device(d).type != "cpu":
        _entered.default = DeviceContext(d)
        push(_entered.default, at_bottom=True)


def get_default_device() -> device:
    """Where tensors are made that are not told where: that of the innermost ``with`` block, or the one set."""
    if _entered.contexts:
        return _entered.contexts[-1][0]
    return devices.CPU if _entered.default is None else _entered.default.device


devices.enter, devices.leave = _enter, _leave

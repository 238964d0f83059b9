"""What the modules of devices that are not there are made of: ``torch.cuda``, ``torch.xpu``, ``torch.mps``.

PyTorch's build for CPUs has the same names, of which some count nothing, some do nothing, and the rest refuse.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau.core import device as devices

__all__ = ["AbsentDevice", "count_of_none", "does_nothing", "empty_dict", "refusing", "refusing_class"]


def _named(function: Callable, name: str, module: str, doc: str) -> Callable:
    function.__name__ = function.__qualname__ = name
    function.__module__, function.__doc__ = module, doc
    return function


def refusing(name: str, module: str, kind: str) -> Callable:
    """A function that says that there is no such device."""

    def refused(*args: Any, **kwargs: Any) -> None:
        devices.check(kind)

    return _named(refused, name, module, f"Refuses: there is no device of the kind {kind!r}.")


def does_nothing(name: str, module: str) -> Callable:
    """A function of devices that there are none of: nothing is left to do."""

    def nothing(*args: Any, **kwargs: Any) -> None:
        return None

    return _named(nothing, name, module, "Does what it says to each device, of which there is none.")


def count_of_none(name: str, module: str) -> Callable:
    """A function that counts what is on a device."""

    def count(*args: Any, **kwargs: Any) -> int:
        return 0

    return _named(count, name, module, "0: there is no device that could hold anything.")


def empty_dict(name: str, module: str) -> Callable:
    """A function that tells of a device by name."""

    def nothing(*args: Any, **kwargs: Any) -> OrderedDict:
        return OrderedDict()

    return _named(nothing, name, module, "No figures: there is no device.")


def refusing_class(name: str, module: str, kind: str) -> type:
    """A class of which nothing can be made, and so nothing is an instance."""

    def __new__(cls: type, *args: Any, **kwargs: Any) -> Any:
        devices.check(kind)

    doc = f"Something on a device of the kind {kind!r}, of which there is none: making one is refused."
    return type(name, (), {"__new__": __new__, "__module__": module, "__doc__": doc})


class AbsentDevice:
    """A ``with`` block that would be about another device, and changes nothing since there is none."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: Any) -> None:
        return None

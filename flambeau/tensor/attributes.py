"""A tensor's dictionary: all that it has of its own, and the part of it that programs see."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import cache
from typing import Any


class TensorBase:
    """Gives tensors their dictionary, of which programs see a part."""


TensorBase.__module__ = "torch._C"
contents_of: Callable[[Any], dict] = TensorBase.__dict__["__dict__"].__get__
"""``contents_of(tensor)``: all that an instance has of its own."""


class Attributes(MutableMapping):
    """``tensor.__dict__``: what programs have set on a tensor, and not what makes it one."""

    __slots__ = ("_contents",)

    def __init__(self, contents: dict) -> None:
        self._contents = contents

    def __getitem__(self, name: str) -> Any:
        if name in _internal_names():
            raise KeyError(name)
        return self._contents[name]

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in _internal_names():
            self._contents[name] = value

    def __delitem__(self, name: str) -> None:
        del self._contents[name]

    def __iter__(self) -> Iterator[str]:
        hidden = _internal_names()
        return iter([name for name in self._contents if name not in hidden])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def copy(self) -> dict:
        return dict(self)

    def __repr__(self) -> str:
        return repr(dict(self))


def _show(tensor: Any) -> Attributes:
    """What programs have set on the tensor."""
    return Attributes(contents_of(tensor))


def _replace(tensor: Any, value: Mapping[str, Any]) -> None:
    attributes = Attributes(contents_of(tensor))
    attributes.clear()
    attributes.update(value)


shown = property(_show, _replace)
"""``tensor.__dict__``."""


def show_part(cls: Any) -> None:
    """Has a class whose first base is no tensor's, such as ``class Tagged(Mixin, Tensor)``, show what tensors show: its
    ``__dict__`` is the mixin's, which has all of it. (A metaclass could put another into the class, and would cost each
    ``isinstance`` 70 ns.)"""
    if next(c for c in cls.__mro__ if "__dict__" in c.__dict__).__dict__["__dict__"] is shown:
        return
    get, put = cls.__getattribute__, cls.__setattr__
    if getattr(get, "shows_part", False):  # that of a base
        return

    def __getattribute__(self: Any, name: str) -> Any:
        return _show(self) if name == "__dict__" else get(self, name)

    def __setattr__(self: Any, name: str, value: Any) -> None:
        if name == "__dict__":
            _replace(self, value)
        else:
            put(self, name, value)

    __getattribute__.shows_part = True  # type: ignore[attr-defined]
    cls.__getattribute__, cls.__setattr__ = __getattribute__, __setattr__


@cache
def _internal_names() -> frozenset[str]:
    from flambeau.tensor.tensor import Tensor  # the class is made of what is here

    names = [name for name in Tensor.__dict__ if name[0] == "_" and name[:2] != "__"]
    return frozenset([*names, "_storage", "_shape", "_dtype", "_value", "_level", "_memory", "_presence"])

"""The form of a call's arguments: all of them but the values in tensors and which tensors these are."""

from __future__ import annotations

from typing import Any

from flambeau import dispatch
from flambeau.compiling.guards import CONSTANTS, TENSORS, Guards
from flambeau.compiling.watch import SUBCLASS, Refused
from flambeau.core.size import Size
from flambeau.tensor.tensor import Tensor


class Arguments:
    """``key`` is equal for calls of the same form; ``tensors`` are those among the arguments, each once.

    ``objects`` are all arguments that stand for themselves, with the text that leads to them.
    """

    def __init__(self, args: tuple, kwargs: dict) -> None:
        self.args, self.kwargs = args, kwargs
        self.tensors: list[Tensor] = []
        self.texts: list[str] = []  # for each tensor, how to get at it
        self.exposed: list[bool] = []
        self.objects: list[tuple[Any, str, str]] = []
        self.containers: set[int] = set()
        self._descriptions: list[tuple] = []
        self._places: dict[int, int] = {}
        self._checks: list[tuple[str, str]] = []  # conditions and what it means where they do not hold
        self._constants: list[tuple[Any, str, str]] = []
        self._key: list = []
        self._checks.append((f"len(args) == {len(args)} and len(kwargs) == {len(kwargs)}", "the number of arguments"))
        if len(kwargs) > 1:
            self._checks.append((f"[*kwargs] == {[*kwargs]!r}", "the order of the arguments"))
        for i, x in enumerate(args):
            self._add(x, f"args[{i}]", f"argument {i}")
        for name, x in kwargs.items():
            if not name.isidentifier():
                raise Refused("an argument's name is unusual")
            self._key.append(name)
            self._add(x, f"kwargs[{name!r}]", f"argument {name}")
        memory = [t._storage for t in self.tensors]
        # Where in NumPy's memory a tensor begins makes no difference: what is read is a copy.
        self.movable = [
            i for i, t in enumerate(self.tensors) if self.exposed[i] and not t.requires_grad and memory.count(t._storage) == 1
        ]  # fmt: skip
        for i in self.movable:
            t = self.tensors[i]
            self._key[self._key.index(self._descriptions[i])] = (t._shape, t._strides, t._dtype, t._storage.dtype, t._base is None)
        storages: dict[int, int] = {}
        for t in self.tensors:
            self._key.append(storages.setdefault(id(t._storage), len(storages)))
        self.key = tuple(self._key)

    def _add(self, x: Any, text: str, what: str) -> None:
        add = self._key.append
        kind = x.__class__
        add(kind)
        if isinstance(x, Tensor):
            if kind not in TENSORS:
                raise Refused(SUBCLASS)
            place = self._places.get(id(x))
            if place is not None:
                add(place)
                self._checks.append((f"{text} is x{place}", f"{what} is another tensor"))
                return
            add(None)
            place = self._places[id(x)] = len(self.tensors)
            storage = x._storage
            exposed = storage.exposed and storage.is_shared()
            description = place, x.requires_grad and x.is_leaf, dispatch.layout_of(x), x._offset, exposed
            self._descriptions.append(description)
            add(description)
            self.tensors.append(x)
            self.texts.append(text)
            self.exposed.append(exposed)
            self._checks.append(("tensor", str(place)))
        elif kind in CONSTANTS or kind is Size:
            add(repr(x))
            self._constants.append((x, text, what))
        elif kind is tuple or kind is list:
            if kind is list:
                self.containers.add(id(x))
            add(len(x))
            self._checks.append((f"{text}.__class__ is {kind.__name__} and len({text}) == {len(x)}", f"{what} has another length"))
            for i, y in enumerate(x):
                self._add(y, f"{text}[{i}]", f"{what}[{i}]")
        elif kind is dict:
            self.containers.add(id(x))
            if any(y.__class__ is not str for y in x):
                raise Refused(f"{what} has unusual keys")
            add(tuple(x))
            self._checks.append((f"{text}.__class__ is dict and [*{text}] == {[*x]!r}", f"{what} has other keys"))
            for key, y in x.items():
                self._add(y, f"{text}[{key!r}]", f"{what}[{key!r}]")
        else:
            add(id(x))
            self.objects.append((x, text, what))

    def guard(self, guards: Guards) -> None:
        """Adds the conditions; afterwards ``x0``, ``x1``, ... are the tensors and ``s0``, ``s1``, ... their storages."""
        for condition, what in self._checks:
            if condition != "tensor":
                guards.require(condition, what)
                continue
            i = int(what)
            t, text = self.tensors[i], self.texts[i]
            layout = guards.name(dispatch.layout_of(t), "L")
            guards.lines.append(f"x{i} = {text}")
            guards.require(f"x{i}.__class__ is {guards.name(t.__class__)}", f"{text} is no {t.__class__.__name__}")
            guards.lines.append(f"s{i} = x{i}._storage")
            if i in self.movable:
                same = f"x{i}._shape == {guards.name(t._shape)} and x{i}._strides == {guards.name(t._strides)}"
                same += f" and x{i}._dtype is {guards.name(t._dtype)} and s{i}.node.dtype is {guards.name(t._storage.dtype)}"
                same += f" and not x{i}._requires_grad and x{i}._grad_fn is None"
                same += f" and x{i}._base is {'None' if t._base is None else 'not None'}"
                guards.require(same, f"shape, strides, dtype or tape of {text}")
            else:
                same = f"(x{i}._layout or layout_of(x{i})) is {layout} and x{i}._offset == {t._offset}"
                guards.require(same, f"shape, strides, dtype or tape of {text}")
            if self.exposed[i]:
                guards.require(f"s{i}.exposed", f"NumPy no longer shares the memory of {text}")
            else:
                guards.refuse_if(f"s{i}.exposed and s{i}.is_shared()", f"NumPy shares the memory of {text}")
            if t._base is not None:
                guards.require(f"x{i}._history == s{i}.history", f"{text} is a view of what has been written to")
            if t.requires_grad:
                guards.require(f"x{i}._requires_grad is {t._requires_grad}", f"{text} is a leaf of the tape, or no longer is")
        for x, text, what in self._constants:
            guards.constant(x, text, what)
        n = len(self.tensors)
        for i in range(n):
            for j in range(i):
                if self.tensors[i]._storage is self.tensors[j]._storage:
                    guards.require(f"s{i} is s{j} and x{i} is not x{j}", "which arguments share memory")
        if n > 1 and len({id(t._storage) for t in self.tensors}) == n:
            if n == 2:
                guards.require("s0 is not s1", "which arguments share memory")
            else:
                guards.require(f"len({{{', '.join(f's{i}' for i in range(n))}}}) == {n}", "which arguments share memory")
        elif n > 1:
            distinct = len({id(t._storage) for t in self.tensors})
            guards.require(f"len({{{', '.join(f's{i}' for i in range(n))}}}) == {distinct}", "which arguments share memory")

    def unchanged(self) -> bool:
        """Whether the arguments still have this form, and are the same tensors on the same memory."""
        try:
            now = Arguments(self.args, self.kwargs)
        except Refused:
            return False
        return now.key == self.key and all(a is b for a, b in zip(now.tensors, self.tensors, strict=True))

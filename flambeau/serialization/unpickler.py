"""A pickle reader that only ever builds what its vocabulary allows.

A pickle is a program for a small stack machine. This is that machine with the dangerous half left out: a name in the
file never imports anything, it is looked up in a :class:`~flambeau.serialization.vocabulary.Vocabulary`; calls, new
objects and their state go through the vocabulary too. Source: the ``pickletools`` module of Python, which documents
and decodes the instructions.
"""

from __future__ import annotations

import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from pickle import UnpicklingError
from typing import IO, Any

import numpy as np

from flambeau.serialization.vocabulary import Vocabulary

_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_LITERALS = frozenset(
    "BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8".split()
)
_IGNORED = frozenset(("PROTO", "FRAME", "STOP"))
_MAX_KEY_PARTS = 1000
_DAMAGE = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError)


class Unpickler:
    """Reads one pickle from ``stream``, which is left just behind it.

    ``persistent_load(id)`` gives the storage that an id in the file stands for. ``encoding`` is that of strings
    written by Python 2; ``"bytes"`` leaves them bytes.
    """

    def __init__(
        self,
        stream: IO[bytes],
        vocabulary: Vocabulary,
        persistent_load: Callable[[Any], Any],
        encoding: str = "utf-8",
    ) -> None:
        self.stream = stream
        self.vocabulary = vocabulary
        self.persistent_load = persistent_load
        self.encoding = encoding
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self._dtype_keys: dict[int, int] = {}  # where NumPy's dtypes stand in the memo

    def load(self) -> Any:
        """The object that the pickle describes; ``pickle.UnpicklingError`` where it may not or cannot be built."""
        stack = self.stack
        try:
            for instruction, argument, _ in pickletools.genops(self.stream):
                name = instruction.name
                if name in _LITERALS:
                    stack.append(argument)
                elif name in _CONSTANTS:
                    stack.append(_CONSTANTS[name])
                elif name in _ACTIONS:
                    _ACTIONS[name](self, argument)
                elif name not in _IGNORED:
                    raise UnpicklingError(f"Unsupported operand {name}: no file of tensors needs this instruction")
            result = self._pop()
            if stack:
                raise ValueError(f"{len(stack)} values are left over")
        except _DAMAGE as error:
            raise UnpicklingError(f"the pickle is damaged: {type(error).__name__}: {error!s:.300}") from error
        return result

    # --- the stack ---

    def _pop_to_mark(self) -> list[Any]:
        stack = self.stack
        place = len(stack) - 1
        while stack[place] is not _MARK:
            place -= 1
            if place < 0:
                raise ValueError("no mark on the stack")
        items = stack[place + 1 :]
        del stack[place:]
        return items

    def _pop(self) -> Any:
        item = self.stack.pop()
        if item is _MARK:
            raise ValueError("a mark where a value should be")
        return item

    def _mark(self, _: None) -> None:
        self.stack.append(_MARK)

    def _pop_one(self, _: None) -> None:
        self.stack.pop()

    def _put(self, key: int) -> None:
        self.memo[key] = item = self.stack[-1]
        if isinstance(item, np.dtype):
            self._dtype_keys[id(item)] = key

    def _memoize(self, _: None) -> None:
        self._put(len(self.memo))

    def _get(self, key: int) -> None:
        self.stack.append(self.memo[key])

    # --- containers ---

    def _old_string(self, text: str) -> None:
        data = text.encode("latin-1")
        self.stack.append(data if self.encoding == "bytes" else data.decode(self.encoding))

    def _empty_list(self, _: None) -> None:
        self.stack.append([])

    def _empty_dict(self, _: None) -> None:
        self.stack.append({})

    def _empty_set(self, _: None) -> None:
        self.stack.append(set())

    def _tuple(self, _: None) -> None:
        self.stack.append(tuple(self._pop_to_mark()))

    def _tuple1(self, _: None) -> None:
        self.stack[-1:] = [(self.stack[-1],)]

    def _tuple2(self, _: None) -> None:
        self.stack[-2:] = [tuple(self.stack[-2:])]

    def _tuple3(self, _: None) -> None:
        self.stack[-3:] = [tuple(self.stack[-3:])]

    def _frozenset(self, _: None) -> None:
        self.stack.append(frozenset(map(_checked_key, self._pop_to_mark())))

    def _extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is not list:
            raise UnpicklingError(f"Can only extend lists, but got {type(target)}")
        target.extend(items)

    def _append(self, _: None) -> None:
        self._extend([self._pop()])

    def _appends(self, _: None) -> None:
        self._extend(self._pop_to_mark())

    def _add_items(self, _: None) -> None:
        items = self._pop_to_mark()
        target = self.stack[-1]
        if type(target) is not set:
            raise UnpicklingError(f"Can only add to sets, but got {type(target)}")
        target.update(map(_checked_key, items))

    def _set(self, items: list[Any]) -> None:
        target = self.stack[-1]
        self.vocabulary.check_fillable(target)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_checked_key(key)] = value

    def _set_item(self, _: None) -> None:
        value, key = self._pop(), self._pop()
        self._set([key, value])

    def _set_items(self, _: None) -> None:
        self._set(self._pop_to_mark())

    # --- everything that a file could misuse: the vocabulary decides ---

    def _global(self, full_name: str) -> None:
        module, _, name = full_name.partition(" ")
        self._find(module, name)

    def _stack_global(self, _: None) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError("the name of a global must be two strings")
        self._find(module, name)

    def _find(self, module: str, name: str) -> None:
        self.stack.append(self.vocabulary.find(*_modern_name(module, name)))

    def _reduce(self, _: None) -> None:
        args, function = self._pop(), self._pop()
        self.stack.append(self.vocabulary.call(function, args))

    def _new_object(self, _: None) -> None:
        args, cls = self._pop(), self._pop()
        self.stack.append(self.vocabulary.new(cls, args))

    def _build(self, _: None) -> None:
        state = self._pop()
        obj = self.stack[-1]
        built = self.vocabulary.build(obj, state)
        if built is not obj:
            self.stack[-1] = built
            key = self._dtype_keys.get(id(obj))
            if key is not None and self.memo[key] is obj:
                self._put(key)

    def _persistent(self, _: None) -> None:
        self.stack.append(self.persistent_load(self._pop()))


_ACTIONS: dict[str, Callable[[Unpickler, Any], None]] = {
    "MARK": Unpickler._mark,
    "POP": Unpickler._pop_one,
    "BINPUT": Unpickler._put,
    "LONG_BINPUT": Unpickler._put,
    "MEMOIZE": Unpickler._memoize,
    "BINGET": Unpickler._get,
    "LONG_BINGET": Unpickler._get,
    "BINSTRING": Unpickler._old_string,
    "SHORT_BINSTRING": Unpickler._old_string,
    "EMPTY_LIST": Unpickler._empty_list,
    "EMPTY_DICT": Unpickler._empty_dict,
    "EMPTY_SET": Unpickler._empty_set,
    "TUPLE": Unpickler._tuple,
    "TUPLE1": Unpickler._tuple1,
    "TUPLE2": Unpickler._tuple2,
    "TUPLE3": Unpickler._tuple3,
    "FROZENSET": Unpickler._frozenset,
    "APPEND": Unpickler._append,
    "APPENDS": Unpickler._appends,
    "ADDITEMS": Unpickler._add_items,
    "SETITEM": Unpickler._set_item,
    "SETITEMS": Unpickler._set_items,
    "GLOBAL": Unpickler._global,
    "STACK_GLOBAL": Unpickler._stack_global,
    "REDUCE": Unpickler._reduce,
    "NEWOBJ": Unpickler._new_object,
    "BUILD": Unpickler._build,
    "BINPERSID": Unpickler._persistent,
}


def _modern_name(module: str, name: str) -> tuple[str, str]:
    """The name in Python 3 of what a file, which Python 2 could read too, calls ``module.name``."""
    return NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))


_TEXTS = (pickletools.pyunicode, pickletools.pybytes_or_str)


def globals_of(stream: IO[bytes]) -> set[tuple[str, str]]:
    """The modules and names that a pickle uses. Builds nothing: only the strings on its stack are followed.

    A name that the pickle computes is ``"(computed)"``.
    """
    names: set[tuple[str, str]] = set()
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    argument: Any
    for instruction, argument, _ in pickletools.genops(stream):
        name = instruction.name
        if name in ("GLOBAL", "INST"):
            names.add(_modern_name(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            module, attribute = [part if type(part) is str else "(computed)" for part in ["", "", *stack][-2:]]
            names.add(_modern_name(module, attribute))
        if name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if argument is None else argument] = stack[-1] if stack else None
            continue
        before, after = instruction.stack_before, instruction.stack_after
        if pickletools.markobject in before:
            while stack and stack.pop() is not _MARK:
                pass
            before = before[: before.index(pickletools.markobject)]
        if name == "DUP":
            stack += stack[-1:]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo.get(argument))
        else:
            del stack[max(len(stack) - len(before), 0) :]
            stack += [_MARK if kind is pickletools.markobject else argument if kind in _TEXTS else None for kind in after]
    return names


def _checked_key(key: Any) -> Any:
    """``key``, unless hashing it would take for ever: a short pickle can nest tuples of exponential size."""
    parts = [key]
    for part in parts:
        if isinstance(part, (tuple, frozenset)):
            parts.extend(part)
            if len(parts) > _MAX_KEY_PARTS:
                raise ValueError(f"a key of more than {_MAX_KEY_PARTS} parts")
    return key

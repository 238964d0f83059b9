"""Schemas of operators: ``mylib::scale(Tensor x, float by=1., *, int[2] size) -> Tensor`` as objects, and made of annotations.

Source: https://docs.pytorch.org/docs/stable/library.html
"""

from __future__ import annotations

import collections.abc
import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flambeau.core import dtypes
from flambeau.core.device import device
from flambeau.library.schema_types import FloatType, ListType, OptionalType, Type, simple_type
from flambeau.tensor import Tensor

__all__ = ["Argument", "FunctionSchema", "infer_schema", "parse_schema"]


class AliasInfo:
    """Which memory an argument or a result shares, and whether the operator writes to it: ``(a!)``."""

    __slots__ = ("after_set", "before_set", "is_write", "written")

    def __init__(self, written: str) -> None:
        before, _, after = written.partition("->")
        self.written = written
        self.is_write = "!" in before
        self.before_set = {name.strip(" !") for name in before.split("|")}
        self.after_set = {name.strip(" !") for name in (after or before).split("|")}


class Argument:
    """One argument, or one result, of a schema."""

    __slots__ = ("N", "_default", "alias_info", "kwarg_only", "name", "real_type", "type", "written")

    def __init__(self, name: str, type: Type, written: str, alias: AliasInfo | None, default: Any, kwarg_only: bool) -> None:
        self.name, self.type, self.real_type, self.written = name, type, type, written
        self.alias_info, self._default, self.kwarg_only = alias, default, kwarg_only
        listed = type.element if isinstance(type, OptionalType) else type
        self.N = listed.size if isinstance(listed, ListType) else None

    @property
    def default_value(self) -> Any:
        return None if self._default is _NO_DEFAULT else self._default

    @property
    def is_write(self) -> bool:
        return self.alias_info is not None and self.alias_info.is_write

    @property
    def is_out(self) -> bool:
        return self.kwarg_only and self.is_write

    def has_default_value(self) -> bool:
        return self._default is not _NO_DEFAULT

    def __str__(self) -> str:
        named = f"{self.written} {self.name}" if self.name else self.written
        return f"{named}={_printed(self._default, self)}" if self.has_default_value() else named

    __repr__ = __str__


_NO_DEFAULT = object()


def _printed(value: Any, argument: Argument) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, float):
        text = f"{value:.17g}"
        return text if any(c in text for c in ".en") else text + "."
    if isinstance(value, list):
        if argument.N is not None and len(value) > 1 and all(v == value[0] for v in value) and "SymInt" not in argument.written:
            return str(value[0])
        return f"[{', '.join(map(str, value))}]"
    return str(value)


class FunctionSchema:
    """A schema: ``name``, ``overload_name``, ``arguments`` and ``returns``.

    >>> schema = parse_schema("mylib::scale(Tensor x, float by=1.0, *, int[2] size) -> Tensor")
    >>> schema
    mylib::scale(Tensor x, float by=1., *, int[2] size) -> Tensor
    >>> [(a.name, str(a.type), a.kwarg_only) for a in schema.arguments]
    [('x', 'Tensor', False), ('by', 'float', False), ('size', 'List[int]', True)]
    """

    def __init__(self, name: str, overload_name: str, arguments: list[Argument], returns: list[Argument]) -> None:
        self.name, self.overload_name, self.arguments, self.returns = name, overload_name, arguments, returns
        self.is_vararg = self.is_varret = False

    @property
    def is_mutable(self) -> bool:
        return any(a.is_write for a in self.arguments)

    @property
    def positional(self) -> list[Argument]:
        return [a for a in self.arguments if not a.kwarg_only]

    def __str__(self) -> str:
        texts: list[str] = []
        for a in self.arguments:
            if a.kwarg_only and "*" not in texts:
                texts.append("*")
            texts.append(str(a))
        returns = ", ".join(map(str, self.returns))
        if len(self.returns) != 1:
            returns = f"({returns})"
        full = f"{self.name}.{self.overload_name}" if self.overload_name else self.name
        return f"{full}({', '.join(texts)}) -> {returns}"

    __repr__ = __str__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FunctionSchema) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def bind(self, args: tuple, kwargs: dict[str, Any]) -> tuple[list, dict[str, Any]]:
        """The arguments as a kernel gets them: converted, in order, what is at the end and equals its default left out.

        Raises:
            RuntimeError: they do not fit; PyTorch's words.
        """
        short = f"{self.name}()"
        if len(args) > len(self.positional):
            kind = "positional argument(s)" if len(self.positional) < len(self.arguments) else "argument(s)"
            if kind == "argument(s)":
                raise RuntimeError(
                    f"{short} expected at most {len(self.positional)} argument(s) but received {len(args)} argument(s). "
                    f"Declaration: {self}"
                )
            raise RuntimeError(f"{short} takes {len(self.positional)} {kind} but {len(args)} was/were given.  Declaration: {self}")
        bound: list = []
        named: dict[str, Any] = {}
        used = 0
        for place, a in enumerate(self.arguments):
            if not a.kwarg_only and place < len(args):
                value = args[place]
            elif a.name in kwargs:
                value = kwargs[a.name]
                used += 1
            elif a.has_default_value():
                value = a.default_value
                if a.kwarg_only:
                    named[a.name] = value
                else:
                    bound.append(value)
                continue
            else:
                raise RuntimeError(f"{short} is missing value for argument '{a.name}'. Declaration: {self}")
            if not a.type.accepts(value):
                raise RuntimeError(
                    f"{short} Expected a value of type '{a.type}' for argument '{a.name}' but instead found type "
                    f"'{type(value).__name__}'.\nPosition: {place}\nValue: {value!r}\nDeclaration: {self}"
                )
            value = a.type.convert(value)
            if a.kwarg_only:
                named[a.name] = value
            else:
                bound.append(value)
        if used < len(kwargs):
            names = [a.name for a in self.arguments]
            for name in kwargs:
                if name not in names:
                    raise RuntimeError(f"Unknown keyword argument '{name}' for operator '{self.name}'. Schema: {self}")
            name = next(n for n in kwargs if names.index(n) < len(args))
            raise RuntimeError(f"{short} got multiple values for argument '{name}'. Declaration: {self}")
        return bound, named

    def without_defaults(self, args: list, kwargs: dict[str, Any]) -> tuple[list, dict[str, Any]]:
        """The bound arguments without those at the end that equal their defaults, which a kernel knows itself."""
        n = len(args)
        while n and _is_default(args[n - 1], self.positional[n - 1]):
            n -= 1
        return args[:n], {a.name: kwargs[a.name] for a in self.arguments if a.kwarg_only and not _is_default(kwargs[a.name], a)}


def _is_default(value: Any, a: Argument) -> bool:
    if not a.has_default_value() or isinstance(value, Tensor):
        return False
    return type(value) is type(a.default_value) and value == a.default_value


# --- texts ---------------------------------------------------------------------------------------------------

_WORDS = re.compile(
    r"""\s*(?:(?P<string>"[^"]*"|'[^']*')|(?P<number>-?(?:inf|\d+(?:\.\d*)?(?:e[+-]?\d+)?)(?![\w.]))|(?P<name>[A-Za-z_][\w.]*)|(?P<sign>->|\.\.\.|[^\s\w]))""",
    re.VERBOSE,
)
_CONSTANTS = {"None": None, "True": True, "False": False}


class _Words:
    """The words of a text, read one after the other."""

    def __init__(self, text: str) -> None:
        self.text, self.words = text, [m.group().strip() for m in _WORDS.finditer(text)]
        self.place = 0

    def next(self) -> str:
        return self.words[self.place] if self.place < len(self.words) else ""

    def take(self, *expected: str) -> str:
        word = self.next()
        if expected and word not in expected or not word:
            raise RuntimeError(f"expected {' or '.join(expected) or 'a word'} but found '{word}' in the schema:\n{self.text}")
        self.place += 1
        return word

    def skip(self, word: str) -> bool:
        if self.next() == word:
            self.place += 1
            return True
        return False


def parse_schema(text: str, namespace: str | None = None) -> FunctionSchema:
    """The schema that is written as ``text``; ``namespace`` is that of a name without one.

    Raises:
        RuntimeError: it is none.
    """
    found = re.match(r"\s*(?:(?P<space>[\w.]+)::)?(?P<name>[A-Za-z_]\w*)(?:\.(?P<overload>\w*))?\s*(?=\()", text)
    if found is None:
        raise RuntimeError(f"expected an operator's name and its arguments in parentheses, but got the schema:\n{text}")
    space = found["space"] or namespace
    words = _Words(text[found.end() :])
    arguments: list[Argument] = []
    kwarg_only = False
    words.take("(")
    while not words.skip(")"):
        if words.skip("*"):
            kwarg_only = True
        elif words.skip("..."):
            pass
        else:
            arguments.append(_argument(words, kwarg_only))
        if words.next() != ")":
            words.take(",")
    words.take("->")
    returns = list(_returns(words))
    if words.next():
        raise RuntimeError(f"unexpected '{words.next()}' after the schema:\n{text}")
    name = f"{space}::{found['name']}" if space else found["name"]
    return FunctionSchema(name, found["overload"] or "", arguments, returns)


def _returns(words: _Words) -> Iterator[Argument]:
    if words.skip("..."):
        return
    if not words.skip("("):
        type, written, alias = _type(words)
        yield Argument(words.take() if words.next() else "", type, written, alias, _NO_DEFAULT, False)
        return
    while not words.skip(")"):
        if words.skip("..."):
            continue
        type, written, alias = _type(words)
        name = words.take() if words.next() not in (",", ")") else ""
        yield Argument(name, type, written, alias, _NO_DEFAULT, False)
        if words.next() != ")":
            words.take(",")


def _type(words: _Words) -> tuple[Type, str, AliasInfo | None]:
    """The type that comes next, how it is written with what it shares, and that."""
    if words.next() == "(":  # a tuple
        parts = list(_returns(words))
        text = f"({', '.join(map(str, parts))})"
        return Type(text, f"Tuple[{', '.join(str(p.type) for p in parts)}]", lambda v: isinstance(v, tuple)), text, None
    name = words.take()
    alias = None
    shared = ""
    if words.next() == "(":
        words.take()
        depth, inside = 1, ""
        while depth:
            word = words.take()
            depth += (word == "(") - (word == ")")
            if depth:
                inside += f" {word} " if word == "->" else word + (", " if word == "," else "")
        if name in ("Dict", "Future", "Await", "RRef", "Union"):
            name += f"({inside.replace(',  ', ', ')})"
        else:
            alias, shared = AliasInfo(inside), f"({inside})"
    type = simple_type(name)
    written = type.written + shared
    while words.next() in ("[", "?"):
        if words.skip("?"):
            type, written = OptionalType(type), written + "?"
            continue
        words.take("[")
        size = None if words.next() == "]" else int(words.take())
        words.take("]")
        type, written = ListType(type, size), written + f"[{'' if size is None else size}]"
    if words.next() == "(" and alias is None:  # Tensor[](a!)
        words.take("(")
        inside = ""
        while not words.skip(")"):
            inside += words.take()
        alias, written = AliasInfo(inside), f"{written}({inside})"
    return type, written, alias


def _argument(words: _Words, kwarg_only: bool) -> Argument:
    type, written, alias = _type(words)
    name = words.take()
    default: Any = _NO_DEFAULT
    if words.skip("="):
        default = _default(words, type)
    return Argument(name, type, written, alias, default, kwarg_only)


def _default(words: _Words, type: Type) -> Any:
    inner = type.element if isinstance(type, OptionalType) else type
    if words.skip("["):
        values = []
        while not words.skip("]"):
            values.append(_default(words, inner.element if isinstance(inner, ListType) else inner))
            words.skip(",")
        return values
    word = words.take()
    if word in _CONSTANTS:
        return _CONSTANTS[word]
    if word[0] in "\"'":
        return word[1:-1]
    if word[0].isdigit() or word[0] == "-" or word == "inf":
        if isinstance(inner, ListType):
            number = float(word) if isinstance(inner.element, FloatType) else int(word)
            return [number] * (inner.size or 1)
        if isinstance(inner, FloatType) or any(c in word for c in ".en"):
            return float(word)
        return int(word)
    return _named_constant(word)


_NUMBERS = {"Mean": 1, "Sum": 2, "contiguous_format": 0, "preserve_format": 1, "channels_last": 2, "strided": 0}


def _named_constant(word: str) -> Any:
    """The number that PyTorch has for ``long``, ``contiguous_format``, ``Mean`` and the like."""
    if word in _NUMBERS:
        return _NUMBERS[word]
    found = {d.name: d for d in dtypes.ALL} | dtypes.ALIASES
    if word in found:
        return found[word].code
    raise RuntimeError(f"Unknown default value: {word}")


# --- annotations ---------------------------------------------------------------------------------------------


def _kinds() -> dict[Any, str]:
    """What is written for annotations that are no lists and not optional."""
    return {
        Tensor: "Tensor", int: "SymInt", float: "float", bool: "bool", str: "str", dtypes.dtype: "ScalarType", device: "Device",
    }  # fmt: skip


def _written(annotation: Any) -> str | None:
    """An annotation as a schema writes it; ``None`` where there is no such type."""
    kinds = _kinds()
    if isinstance(annotation, collections.abc.Hashable) and annotation in kinds:
        return kinds[annotation]
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        rest = [a for a in inner if a is not type(None)]
        found = "Scalar" if set(rest) == {int, float, bool} else _written(rest[0]) if len(rest) == 1 else None
        if found is None or found.endswith("?"):
            return None
        return found + "?" if len(rest) < len(inner) else found
    if origin in (list, collections.abc.Sequence) and len(inner) == 1:
        found = _written(inner[0])
        return None if found is None or found.endswith("]") else found + "[]"
    return None


_RETURNS = ("Tensor", "Tensor[]", "int", "SymInt", "float", "bool", "Scalar")


def infer_schema(prototype_function: Callable, /, *, mutates_args: str | Iterable[str], op_name: str | None = None) -> str:
    """The schema of a function with annotations, as :func:`~flambeau.library.custom_op` makes it.

    Args:
        mutates_args: the names of the arguments that it writes to, or ``"unknown"``: perhaps all tensors.
        op_name: the name that is written before the arguments.

    Raises:
        ValueError: an annotation is missing, or there is no such type.

    >>> import flambeau as torch
    >>> def scale(x: torch.Tensor, by: float = 2.0, *, out: torch.Tensor | None = None) -> torch.Tensor: ...
    >>> infer_schema(scale, mutates_args={"out"})
    '(Tensor x, float by=2.0, *, Tensor(a2!)? out=None) -> Tensor'
    """
    signature = inspect.signature(prototype_function)
    annotations = _annotations(prototype_function)

    def fail(what: str) -> ValueError:
        return ValueError(f"infer_schema(func): {what} Got func with signature {signature})")

    texts: list[str] = []
    names = set(signature.parameters)
    if not isinstance(mutates_args, str):
        mutates_args = set(mutates_args)
    for place, (name, parameter) in enumerate(signature.parameters.items()):
        if parameter.kind in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD, inspect.Parameter.POSITIONAL_ONLY):
            raise fail(f"We do not support positional-only args, varargs, or varkwargs: {name}.")
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and "*" not in texts:
            texts.append("*")
        if parameter.annotation is inspect.Parameter.empty:
            raise fail(f"Parameter {name} must have a type annotation.")
        annotation = annotations.get(name, parameter.annotation)
        written = _written(annotation)
        if written is None:
            if annotation in (list, tuple) or typing.get_origin(annotation) is tuple:
                raise fail(f"Parameter {name} has unsupported type {annotation}. Use typing.List[...] instead, for example.")
            raise fail(
                f"Parameter {name} has unsupported type {annotation}. The valid types are: {[*_kinds()]} and lists and Optional of them."
            )
        if mutates_args == "unknown" and written.startswith("Tensor") or mutates_args != "unknown" and name in mutates_args:
            if not written.startswith("Tensor"):
                raise fail(f"Parameter {name} is in mutable_args but only Tensors or collections of Tensors can be mutated")
            written = written.replace("Tensor", f"Tensor(a{place}!)", 1)
        if parameter.default is inspect.Parameter.empty:
            texts.append(f"{written} {name}")
        elif parameter.default is None or isinstance(parameter.default, (int, float, bool)):
            texts.append(f"{written} {name}={parameter.default}")
        elif isinstance(parameter.default, str):
            texts.append(f'{written} {name}="{parameter.default}"')
        elif isinstance(parameter.default, dtypes.dtype):
            texts.append(f"{written} {name}={str(parameter.default).removeprefix('torch.')}")
        elif isinstance(parameter.default, device):
            texts.append(f'{written} {name}="{parameter.default}"')
        else:
            raise fail(
                f"Parameter {name} has an unsupported default value type {type(parameter.default)}. Please file an issue on "
                "GitHub so we can prioritize this."
            )
    if mutates_args != "unknown" and (extra := set(mutates_args) - names):
        raise fail(
            f"{extra} in mutates_args were not found in the custom op's signature. mutates_args should contain the names of all "
            "args that the custom op mutates, or just the string 'unknown' if you don't know."
        )
    returned = annotations.get("return", signature.return_annotation)
    if returned is inspect.Signature.empty:
        raise fail("No return type annotation was provided. Please add one.")
    if returned is None or returned is type(None):
        result = "()"
    elif typing.get_origin(returned) is tuple:
        parts = [_written(a) for a in typing.get_args(returned)]
        if any(p not in _RETURNS for p in parts):
            raise fail(f"Return has unsupported type {returned}. The valid types are: {list(_RETURNS)} and tuples of them.")
        result = f"({', '.join(p for p in parts if p)})"
    else:
        found = _written(returned)
        if found not in _RETURNS:
            raise fail(f"Return has unsupported type {returned}. The valid types are: {list(_RETURNS)} and tuples of them.")
        result = str(found)
    return f"{op_name or ''}({', '.join(texts)}) -> {result}"


def _annotations(function: Callable) -> dict[str, Any]:
    """The annotations as objects, those of modules under ``from __future__ import annotations`` too."""
    try:
        return typing.get_type_hints(function)
    except (NameError, TypeError) as error:
        raise ValueError(
            f"infer_schema(func): Unsupported type annotation: it is not a type. ({error}). With 'from __future__ import annotations' "
            "they are looked up among the names of the function's module"
        ) from None
